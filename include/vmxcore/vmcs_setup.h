/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Filling a new VMCS so that it enters: controls the processor accepts, the host state as it is, a guest at its first
 * instruction.
 *
 *     vmxc_vmcs_load(ops, &region);                          VMCLEAR, VMPTRLD
 *     vmxc_vmcs_setup(ops, &setup, &controls, &missing);     every field that the controls make matter
 *     ops->vmlaunch(ops->context, &gprs);
 *
 * Where the processor lacks something that was required, the status is VMXC_UNSUPPORTED and `missing` says which
 * bits of which field; vmxc_vmcs_missing_format makes a sentence of it.
 *
 * A VMCS that was never used holds anything. The set-up writes every field that a VM entry reads under controls that
 * it knows: EPT, VPID, I/O and MSR bitmaps, unrestricted guest, PAT, EFER, debug controls, performance counters, and
 * those that only enable an instruction. Who asks for others (virtual APIC, PML, shadow VMCS ...) writes their
 * fields afterwards.
 *
 * Source: Intel SDM volume 3, "VM Entries", "Preparation and Launching a Virtual Machine", "Algorithms for
 * Determining VMX Capabilities".
 */
#ifndef VMXC_VMCS_SETUP_H
#define VMXC_VMCS_SETUP_H

#include "vmxcore/caps.h"
#include "vmxcore/insn_ops.h"
#include "vmxcore/io_bitmap.h"
#include "vmxcore/msr_bitmap.h"
#include "vmxcore/region.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The control words as negotiated; a word that is not activated is 0. */
struct vmxc_vmcs_controls {
    uint64_t word[VMXC_CONTROL_WORD_COUNT];
};

/* Bits of a field that were needed and cannot be had. */
struct vmxc_vmcs_missing {
    uint32_t field; /* encoding */
    uint64_t bits;
};

/* How the guest begins. All modes are at CPL 0 with interrupts off. */
enum vmxc_guest_mode {
    VMXC_GUEST_REAL,      /* real-address mode; needs EPT and "unrestricted guest" */
    VMXC_GUEST_PROTECTED, /* 32-bit protected mode without paging; needs the same */
    VMXC_GUEST_PAGED_32,  /* 32-bit protected mode with 32-bit paging (4-KByte and 4-MByte pages) */
    VMXC_GUEST_LONG_64,   /* 64-bit mode with 4-level paging */
    VMXC_GUEST_MODE_COUNT
};

struct vmxc_guest_start {
    enum vmxc_guest_mode mode;
    uint64_t rip, rsp;
    uint64_t cr3; /* modes with paging: guest-physical address of the top table */
    uint16_t
        real_segment; /* real-address mode: every segment register; the base is 16 times that */
};

struct vmxc_vmcs_setup {
    /* Beyond what the other members need. The set-up wants PAT and EFER switched by itself. */
    struct vmxc_caps_control_request request[VMXC_CONTROL_WORD_COUNT];
    struct vmxc_guest_start guest;
    uint64_t eptp;                            /* 0: no EPT */
    uint16_t vpid;                            /* 0: no VPID */
    const struct vmxc_io_bitmap *io_bitmap;   /* NULL: not used */
    const struct vmxc_msr_bitmap *msr_bitmap; /* NULL: not used */
    uint32_t exception_bitmap;                /* bit n: exception n causes a VM exit */
};

/* Makes the region the current VMCS with launch state clear. Errors: VMXC_BAD_STATE, or as vmxc_insn_status. */
VMXC_MUST_CHECK enum vmxc_status vmxc_vmcs_load(const struct vmxc_insn_ops *ops,
                                                const struct vmxc_region *region);

/*
 * Negotiates all words of controls with the processor's capability MSRs. A request for bits of the secondary or
 * tertiary VM-execution or the secondary VM-exit controls activates the word where the processor has it.
 * Errors: VMXC_UNSUPPORTED with `missing` (which must not be NULL); VMXC_INVALID_INPUT (see vmxc_caps_negotiate).
 */
VMXC_MUST_CHECK enum vmxc_status
vmxc_vmcs_negotiate(const struct vmxc_insn_ops *ops,
                    const struct vmxc_caps_control_request request[VMXC_CONTROL_WORD_COUNT],
                    struct vmxc_vmcs_controls *controls, struct vmxc_vmcs_missing *missing);

/*
 * Fills the current VMCS: controls, host state, guest state. `controls` receives the controls as negotiated. On
 * failure part of the fields may have been written. `missing` must not be NULL; it means something with
 * VMXC_UNSUPPORTED and VMXC_INVALID_INPUT.
 * Errors: VMXC_UNSUPPORTED (the processor cannot do it), VMXC_INVALID_INPUT (the guest's start contradicts its mode
 * or the processor's address widths: field and bits at fault; EPT is on, by the guest's mode or by request, and there is no
 * EPT pointer; host segment selectors with RPL or TI that are not 0: load others first), VMXC_BAD_STATE (no current VMCS, bitmap not initialized).
 */
VMXC_MUST_CHECK enum vmxc_status vmxc_vmcs_setup(const struct vmxc_insn_ops *ops,
                                                 const struct vmxc_vmcs_setup *setup,
                                                 struct vmxc_vmcs_controls *controls,
                                                 struct vmxc_vmcs_missing *missing);

/* ---- The parts, for those who arrange them otherwise ---- */

/* What `setup` asks of the controls, all told. */
void vmxc_vmcs_setup_request(const struct vmxc_insn_ops *ops, const struct vmxc_vmcs_setup *setup,
                             struct vmxc_caps_control_request request[VMXC_CONTROL_WORD_COUNT]);

/* Controls, bitmaps, EPT pointer, and zeros in the other control fields. Errors: as vmxc_vmcs_setup. */
VMXC_MUST_CHECK enum vmxc_status
vmxc_vmcs_setup_controls(const struct vmxc_insn_ops *ops, const struct vmxc_vmcs_setup *setup,
                         const struct vmxc_vmcs_controls *controls);

/* The host state: what the registers hold now, RIP and RSP excepted. Errors: as vmxc_vmcs_setup. */
VMXC_MUST_CHECK enum vmxc_status vmxc_vmcs_setup_host(const struct vmxc_insn_ops *ops,
                                                      const struct vmxc_vmcs_controls *controls,
                                                      struct vmxc_vmcs_missing *missing);

/* The guest state, and the guest/host masks of CR0 and CR4. Errors: as vmxc_vmcs_setup. */
VMXC_MUST_CHECK enum vmxc_status vmxc_vmcs_setup_guest(const struct vmxc_insn_ops *ops,
                                                       const struct vmxc_guest_start *start,
                                                       const struct vmxc_vmcs_controls *controls,
                                                       struct vmxc_vmcs_missing *missing);

/*
 * "SECONDARY_PROCESSOR_BASED_CONTROLS: 0x80 (Unrestricted guest)", as vmxc_frame_format does; returns the length.
 * Bits of control words are named.
 */
size_t vmxc_vmcs_missing_format(const struct vmxc_vmcs_missing *missing, char *buffer, size_t size);

#ifdef __cplusplus
}
#endif

#endif
