/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Performing a VM exit: the second half of what a guest action comes to. An outcome (cpu.h) says that the guest exits and
 * with which information; vmxsim_vm_exit makes the processor do it.
 *
 *     information fields -> guest state saved -> MSRs stored -> host state loaded -> MSRs loaded -> VMX root operation
 *
 * Source: Intel SDM volume 3, "VM Exits".
 */
#ifndef VMXSIM_EXIT_H
#define VMXSIM_EXIT_H

#include "vmxcore/defs/exit_info.h"
#include "vmxsim/cpu.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What the caller knows of a VM exit and an outcome does not say. Zeros: nothing of it. */
struct vmxsim_exit_context {
    uint8_t
        instruction_length; /* of the instruction at RIP, 0 to 15 bytes; used where the field is defined */
    uint32_t idt_vectoring_info; /* the event that was being delivered; bit 31 set: there was one */
    uint32_t idt_vectoring_error_code;
    bool nmi_unblocking; /* the fault or exit was met by an IRET that had ended NMI blocking */
};

/*
 * The current VMCS; after vmxsim_cpu_load_guest, the processor's copy of what it was given. While the guest runs, the
 * guest-state area holds those registers that vmxsim_guest_get would read; read those with that call.
 */
const struct vmxsim_vmcs *vmxsim_exit_vmcs(const struct vmxsim_cpu *cpu);

/*
 * The processor makes the VM exit of `outcome`. `context` may be NULL. `*abort` tells of a VMX abort (VMXC_VMX_ABORT_NONE:
 * none): the indicator has been written to the VMCS region, and the processor has shut down.
 * Errors: VMXC_BAD_STATE (not in VMX non-root operation), VMXC_INVALID_INPUT (the outcome is no VM exit; the instruction is
 * longer than 15 bytes), VMXC_UNSUPPORTED (a VM-exit control that is not modelled is 1; nothing has changed), VMXC_NO_SPACE
 * (more MSRs than the model has room for).
 */
VMXC_MUST_CHECK enum vmxc_status vmxsim_vm_exit(struct vmxsim_cpu *cpu,
                                                const struct vmxsim_outcome *outcome,
                                                const struct vmxsim_exit_context *context,
                                                enum vmxc_vmx_abort *abort);

/* ---- Host state that is no part of struct vmxsim_root_state ---- */

struct vmxsim_segment {
    uint16_t selector;
    uint64_t base;
    uint32_t limit;         /* bytes */
    uint32_t access_rights; /* as a VMCS holds them */
};

/* Segment registers in the order in which the VMCS has them. */
enum vmxsim_segment_register {
    VMXSIM_ES,
    VMXSIM_CS,
    VMXSIM_SS,
    VMXSIM_DS,
    VMXSIM_FS,
    VMXSIM_GS,
    VMXSIM_LDTR,
    VMXSIM_TR,
    VMXSIM_SEGMENT_COUNT
};

struct vmxsim_host_state {
    uint64_t cr3, rip, rsp, ssp, dr7;
    uint64_t gdtr_base, idtr_base;
    uint32_t gdtr_limit, idtr_limit;
    struct vmxsim_segment segment[VMXSIM_SEGMENT_COUNT];
    uint64_t pdpte[4]; /* a host with PAE paging */
};

/* As the last VM exit or VM-entry failure loaded it; zeros before the first. */
const struct vmxsim_host_state *vmxsim_cpu_host_state(const struct vmxsim_cpu *cpu);

#ifdef __cplusplus
}
#endif

#endif
