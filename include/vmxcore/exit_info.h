/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a VM exit says, decoded; and the answers every hypervisor needs: skipping an instruction, injecting an event,
 * resuming an event that the exit interrupted.
 *
 * Decoders take raw numbers, so that they serve recorded exits as well. None of them trusts its input: encodings
 * that no processor reports are VMXC_BAD_FORMAT.
 *
 * Source: Intel SDM volume 3, "VM-Exit Information Fields", "Recording VM-Exit Information and Updating VM-entry
 * Control Fields", "Event Injection", "Handling of VM Exits Due to Exceptions", "Resumption of Guest Software".
 */
#ifndef VMXC_EXIT_INFO_H
#define VMXC_EXIT_INFO_H

#include "vmxcore/defs/exit_info.h"
#include "vmxcore/defs/exit_reason.h"
#include "vmxcore/insn_ops.h"
#include "vmxcore/map_flags.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- The exit ---- */

/* Fields of the current VMCS that describe the last VM exit, and what the reason field says. */
struct vmxc_exit {
    uint16_t reason;    /* basic exit reason: enum vmxc_exit_reason */
    bool entry_failure; /* the VM entry failed; the guest has not run */
    bool enclave_mode;  /* the guest was in an enclave */
    bool bus_lock;      /* a bus lock was asserted before the exit */
    uint64_t qualification;
    uint32_t instruction_length; /* bytes; means something for exits that instructions cause */
    uint32_t instruction_info;   /* vmxc_exit_instruction decodes it */
    uint32_t interruption_info, interruption_error_code;
    uint32_t idt_vectoring_info, idt_vectoring_error_code;
};

/* Reads it by VMREAD. Errors: as vmxc_insn_status. */
VMXC_MUST_CHECK enum vmxc_status vmxc_exit_read(const struct vmxc_insn_ops *ops,
                                                struct vmxc_exit *exit);

/* How the manual writes a basic exit reason ("EPT violation"); NULL for a number that is none. Static. */
const char *vmxc_exit_reason_text(uint16_t reason);

/* ---- Exit qualifications ---- */

/* I/O instructions. */
struct vmxc_exit_io {
    uint16_t port;
    uint8_t size; /* bytes: 1, 2 or 4 */
    bool in;      /* IN or INS */
    bool string;  /* INS or OUTS */
    bool rep;
    bool immediate; /* the port is an immediate operand */
};
VMXC_MUST_CHECK enum vmxc_status vmxc_exit_io(uint64_t qualification, struct vmxc_exit_io *io);

/* Control-register accesses. */
struct vmxc_exit_cr {
    enum vmxc_cr_access access;
    uint8_t cr;           /* 0, 3, 4 or 8; CLTS and LMSW: 0 */
    enum vmxc_gpr gpr;    /* MOV: the other operand */
    uint16_t lmsw_source; /* LMSW: the source data */
    bool lmsw_memory;     /* LMSW: the source is in memory, at the guest-linear address */
};
VMXC_MUST_CHECK enum vmxc_status vmxc_exit_cr(uint64_t qualification, struct vmxc_exit_cr *cr);

/* MOV DR. */
struct vmxc_exit_dr {
    uint8_t dr;
    bool from_dr;
    enum vmxc_gpr gpr;
};
struct vmxc_exit_dr vmxc_exit_dr(uint64_t qualification);

/* Task switches. */
struct vmxc_exit_task_switch {
    uint16_t selector; /* of the new TSS */
    enum vmxc_task_source source;
};
struct vmxc_exit_task_switch vmxc_exit_task_switch(uint64_t qualification);

enum vmxc_apic_access {
    VMXC_APIC_ACCESS_LINEAR_READ = 0,
    VMXC_APIC_ACCESS_LINEAR_WRITE = 1,
    VMXC_APIC_ACCESS_LINEAR_FETCH = 2,
    VMXC_APIC_ACCESS_LINEAR_EVENT = 3,    /* during event delivery */
    VMXC_APIC_ACCESS_MONITORING = 4,      /* of guest physical addresses by MONITOR or UMONITOR */
    VMXC_APIC_ACCESS_PHYSICAL_EVENT = 10, /* guest-physical access during event delivery */
    VMXC_APIC_ACCESS_PHYSICAL_TRACE = 11, /* by monitoring or trace */
    VMXC_APIC_ACCESS_PHYSICAL = 15,       /* fetch or execution of an instruction */
};

/* Accesses to the APIC-access page. */
struct vmxc_exit_apic_access {
    enum vmxc_apic_access access;
    uint16_t offset;   /* within the page; of linear accesses only */
    bool asynchronous; /* not part of the instruction's execution or of event delivery */
};
VMXC_MUST_CHECK enum vmxc_status vmxc_exit_apic_access(uint64_t qualification,
                                                       struct vmxc_exit_apic_access *access);

/* ---- Instruction information ---- */

/* A memory operand. Its displacement is the exit qualification (RIP-relative addressing: RIP is added already). */
struct vmxc_exit_operand {
    uint8_t segment;      /* ES, CS, SS, DS, FS, GS: 0 to 5 */
    uint8_t address_size; /* bytes: 2, 4 or 8 */
    bool has_base, has_index;
    enum vmxc_gpr base, index; /* if there is one */
    uint8_t scale;             /* the index is multiplied by 1, 2, 4 or 8 */
};

/* Operands of an instruction that caused a VM exit; what it does not have is zero. */
struct vmxc_exit_instruction {
    bool memory; /* `operand` is one; otherwise it is reg1, or there is none */
    struct vmxc_exit_operand operand;
    enum vmxc_gpr reg1; /* LOADIWKEY: number of the first XMM register */
    enum vmxc_gpr reg2; /* VMREAD, VMWRITE: holds the field's encoding; LOADIWKEY: as reg1 */
    uint8_t
        operand_size; /* bytes; of RDRAND and its like, and LGDT and its like outside 64-bit mode */
    uint8_t identity; /* SGDT, SIDT, LGDT, LIDT: 0 to 3; SLDT, STR, LLDT, LTR: 0 to 3 */
};

/*
 * Decodes VM-exit instruction information. INS and OUTS: `operand` has the address size and, OUTS only, the segment;
 * its address is in the guest-linear address field. Errors: VMXC_NOT_FOUND (exits for this reason have no instruction
 * information), VMXC_BAD_FORMAT. `instruction` is untouched then.
 */
VMXC_MUST_CHECK enum vmxc_status vmxc_exit_instruction(uint16_t reason, uint32_t info,
                                                       struct vmxc_exit_instruction *instruction);

/* ---- EPT violations ---- */

/* What the qualification's meaning depends on. */
struct vmxc_ept_mode {
    bool mode_based_execute; /* the guest runs with mode-based execute control */
    bool advanced_info; /* the processor gives advanced VM-exit information for EPT violations */
};

/* A nested page fault: an access to guest-physical memory that EPT does not allow. */
struct vmxc_nested_fault {
    vmxc_gpa_t gpa;
    vmxc_map_flags access;  /* what was needed, as vmxc_addrspace_handle_page_fault takes it */
    vmxc_map_flags allowed; /* what all entries give together; none: one was not present */
    bool linear_valid;      /* the next two mean something */
    vmxc_gva_t linear;
    bool
        paging_structure; /* not the access itself, but its translation, or an update of A/D flags */
    /*
     * A fetch under mode-based execute control, on a processor that does not say whether the linear address is one of
     * user mode: `access` asks for EXECUTE. The guest's paging structures decide (guest_paging.h).
     */
    bool user_unknown;
    bool nmi_unblocking; /* set NMI blocking again before the guest is resumed */
    bool shadow_stack;   /* a shadow-stack access */
    bool asynchronous;   /* not part of the instruction's execution or of event delivery */
};

struct vmxc_nested_fault vmxc_exit_nested_fault(uint64_t qualification, vmxc_gpa_t gpa,
                                                vmxc_gva_t linear, struct vmxc_ept_mode mode);

/* The same, with everything read from the current VMCS. Errors: as vmxc_insn_status. */
VMXC_MUST_CHECK enum vmxc_status vmxc_exit_read_nested_fault(const struct vmxc_insn_ops *ops,
                                                             struct vmxc_ept_mode mode,
                                                             struct vmxc_nested_fault *fault);

/* ---- Events ---- */

/* An event as the interruption-information fields describe it. */
struct vmxc_event {
    enum vmxc_interruption_type type;
    uint8_t vector;
    bool has_error_code;
    uint32_t error_code;
    uint8_t instruction_length; /* injection of software events: bytes of the instruction */
};

/*
 * Decodes VM-exit interruption information or IDT-vectoring information with its error code. `*valid` says whether
 * there is an event at all; `event` is untouched if not. Errors: VMXC_BAD_FORMAT (type 1).
 */
VMXC_MUST_CHECK enum vmxc_status vmxc_event_decode(uint32_t info, uint32_t error_code, bool *valid,
                                                   struct vmxc_event *event);

/* True if a hardware exception with this vector delivers an error code in protected mode. */
bool vmxc_event_vector_has_error_code(uint8_t vector);

/*
 * The VM-entry interruption information for an event. Errors: VMXC_INVALID_INPUT, where a VM entry would fail: type
 * 1 or above 7; NMI with a vector other than 2; hardware exception with a vector above 31; OTHER (a pending monitor
 * trap flag) with a vector other than 0; an error code with what is no hardware exception, or for a vector that has
 * none, or wider than 16 bits; a software event with a length above 15 bytes. Whether the guest's mode wants the
 * error code (not in real-address mode), and whether it can take the event now, is for the caller to say.
 */
VMXC_MUST_CHECK enum vmxc_status vmxc_event_encode(const struct vmxc_event *event, uint32_t *info);

/* Makes the next VM entry deliver `event`. Errors: as vmxc_event_encode and vmxc_insn_status. */
VMXC_MUST_CHECK enum vmxc_status vmxc_event_inject(const struct vmxc_insn_ops *ops,
                                                   const struct vmxc_event *event);

/*
 * If the VM exit interrupted the delivery of an event, makes the next VM entry deliver it again; `*injected` says
 * whether there was one. Errors: as vmxc_insn_status, VMXC_BAD_FORMAT.
 */
VMXC_MUST_CHECK enum vmxc_status vmxc_event_reinject(const struct vmxc_insn_ops *ops,
                                                     const struct vmxc_exit *exit, bool *injected);

/* ---- The guest, between exit and entry ---- */

/*
 * True in *can if an external interrupt could be injected now: RFLAGS.IF is 1, nothing is blocked by STI or MOV SS, no
 * event waits for the next VM entry.
 */
VMXC_MUST_CHECK enum vmxc_status vmxc_guest_can_take_interrupt(const struct vmxc_insn_ops *ops,
                                                               bool *can);

/*
 * Moves the guest behind the instruction that caused the exit, as if it had completed: RIP, RFLAGS.RF, blocking by
 * STI and MOV SS, and the single-step trap that TF asks for. Errors: VMXC_INVALID_INPUT (the length is 0 or above
 * 15), as vmxc_insn_status.
 */
VMXC_MUST_CHECK enum vmxc_status vmxc_guest_skip(const struct vmxc_insn_ops *ops,
                                                 const struct vmxc_exit *exit);

#ifdef __cplusplus
}
#endif

#endif
