/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Scripted guest actions: the guest executes an instruction, or an event arrives, and the model says what a processor
 * would make of it: it completes, the guest takes an exception or an interrupt, or there is a VM exit.
 *
 * These calls decide; vmxsim_vm_exit (exit.h) performs the VM exit. What an instruction changes when it completes is said
 * with its call; RIP and general-purpose registers are the caller's. An instruction that completes ends blocking by
 * STI and by MOV SS. Memory accesses are in cpu.h; I/O instructions and RDMSR and WRMSR in intercept.h.
 *
 * Errors, of every call: VMXC_BAD_STATE (no guest is running; for instructions also: its activity state is not active),
 * VMXC_INVALID_INPUT (an operand that no instruction or event can have). The outcome is then undefined.
 *
 * Source: Intel SDM volume 3, "VMX Non-Root Operation", "VM Exits".
 */
#ifndef VMXSIM_GUEST_H
#define VMXSIM_GUEST_H

#include "vmxcore/defs/exit_info.h"
#include "vmxcore/defs/exit_reason.h"
#include "vmxsim/cpu.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Guest registers by VMCS field: as a VM exit would save them now ---- */

/*
 * Guest-state fields with their full encoding. Fields that MSRs stand behind (names with IA32, SYSENTER, FS and GS base)
 * are refused with VMXC_UNSUPPORTED, as are, for setting, CR0, CR3, CR4, DR7, PDPTEs, PML index and the preemption timer, which
 * the guest changes by actions. Nothing checks what is set.
 */
VMXC_MUST_CHECK enum vmxc_status vmxsim_guest_get(struct vmxsim_cpu *cpu, uint32_t encoding,
                                                  uint64_t *value);
VMXC_MUST_CHECK enum vmxc_status vmxsim_guest_set(struct vmxsim_cpu *cpu, uint32_t encoding,
                                                  uint64_t value);

/* ---- Instructions ---- */

enum vmxsim_instruction {
#define VMXSIM_INSTRUCTION(name, reason, exists, privilege, word, bit, layout, identity) \
    VMXSIM_INSTRUCTION_##name,
#include "vmxsim/guest_instructions.def"
    VMXSIM_INSTRUCTION_COUNT
};

/* Operands as decoded. Numbers are those that the instruction-information field uses: registers 0 RAX to 15 R15. */
struct vmxsim_operands {
    bool register_form; /* the operand that could be in memory is register1 */
    uint8_t register1, register2;
    uint8_t operand_size; /* 0: 16 bits, 1: 32, 2: 64 */
    uint8_t scale;        /* the index is multiplied by 1 << scale */
    uint8_t address_size; /* 0: 16 bits, 1: 32, 2: 64 */
    uint8_t segment;      /* ES, CS, SS, DS, FS, GS: 0 to 5 */
    uint8_t index, base;
    bool no_index, no_base;
    uint64_t displacement; /* sign-extended; with RIP-relative addressing, RIP is added */
};

/*
 * `operands` may be NULL for instructions without instruction information. HLT that completes makes the activity state
 * HLT. Errors: VMXC_UNSUPPORTED (VMREAD and VMWRITE with VMCS shadowing: vmxsim_insn_vmread decides; PAUSE at CPL 0 with
 * PAUSE-loop exiting and without PAUSE exiting: vmxsim_guest_pause decides).
 */
VMXC_MUST_CHECK enum vmxc_status vmxsim_guest_instruction(struct vmxsim_cpu *cpu,
                                                          enum vmxsim_instruction instruction,
                                                          const struct vmxsim_operands *operands,
                                                          struct vmxsim_outcome *outcome);

VMXC_MUST_CHECK enum vmxc_status vmxsim_guest_invlpg(struct vmxsim_cpu *cpu, uint64_t linear,
                                                     struct vmxsim_outcome *outcome);
/* `armed`: a MONITOR has armed the address-range monitoring hardware. */
VMXC_MUST_CHECK enum vmxc_status vmxsim_guest_mwait(struct vmxsim_cpu *cpu, bool armed,
                                                    struct vmxsim_outcome *outcome);
/*
 * PAUSE when a counter that runs at the rate of the TSC stands at `tsc`: PAUSE-loop exiting compares times with PLE_Gap and
 * PLE_Window. Errors: VMXC_INVALID_INPUT (the counter went back since the last PAUSE that was timed).
 */
VMXC_MUST_CHECK enum vmxc_status vmxsim_guest_pause(struct vmxsim_cpu *cpu, uint64_t tsc,
                                                    struct vmxsim_outcome *outcome);
/* `mask` is EDX:EAX. */
VMXC_MUST_CHECK enum vmxc_status vmxsim_guest_xsaves(struct vmxsim_cpu *cpu, uint64_t mask,
                                                     const struct vmxsim_operands *operands,
                                                     struct vmxsim_outcome *outcome);
VMXC_MUST_CHECK enum vmxc_status vmxsim_guest_xrstors(struct vmxsim_cpu *cpu, uint64_t mask,
                                                      const struct vmxsim_operands *operands,
                                                      struct vmxsim_outcome *outcome);

/*
 * ---- Control and debug registers ----
 *
 * A move that completes has changed the register, guest paging and EFER.LMA accordingly; `outcome->value` is what a read
 * gives the guest, guest/host masks and read shadows applied. `gpr` is the general-purpose register operand.
 * Errors: VMXC_INVALID_INPUT (a register that does not exist; CR8 outside 64-bit mode), VMXC_UNSUPPORTED (a value that
 * turns on what guest accesses do not model). Nothing has changed then.
 */

VMXC_MUST_CHECK enum vmxc_status vmxsim_guest_mov_to_cr(struct vmxsim_cpu *cpu, uint8_t cr,
                                                        uint8_t gpr, uint64_t value,
                                                        struct vmxsim_outcome *outcome);
VMXC_MUST_CHECK enum vmxc_status vmxsim_guest_mov_from_cr(struct vmxsim_cpu *cpu, uint8_t cr,
                                                          uint8_t gpr,
                                                          struct vmxsim_outcome *outcome);
VMXC_MUST_CHECK enum vmxc_status vmxsim_guest_clts(struct vmxsim_cpu *cpu,
                                                   struct vmxsim_outcome *outcome);
/* `linear`: where the source was read; NULL: it is a register. The caller has made the read, which comes first. */
VMXC_MUST_CHECK enum vmxc_status vmxsim_guest_lmsw(struct vmxsim_cpu *cpu, uint16_t source,
                                                   const uint64_t *linear,
                                                   struct vmxsim_outcome *outcome);
/* The value is all of CR0 as the guest sees it; how much is stored depends on the operand. */
VMXC_MUST_CHECK enum vmxc_status vmxsim_guest_smsw(struct vmxsim_cpu *cpu,
                                                   struct vmxsim_outcome *outcome);
VMXC_MUST_CHECK enum vmxc_status vmxsim_guest_mov_to_dr(struct vmxsim_cpu *cpu, uint8_t dr,
                                                        uint8_t gpr, uint64_t value,
                                                        struct vmxsim_outcome *outcome);
VMXC_MUST_CHECK enum vmxc_status vmxsim_guest_mov_from_dr(struct vmxsim_cpu *cpu, uint8_t dr,
                                                          uint8_t gpr,
                                                          struct vmxsim_outcome *outcome);

/*
 * ---- Events ----
 *
 * An event that the guest takes is an outcome of kind GUEST_EXCEPTION; delivery through the IDT is not modelled. An event that
 * is blocked, or discarded, completes with the rule EVENT_BLOCKED. Errors, of interrupts that the guest takes, virtual ones
 * included: VMXC_UNSUPPORTED (CR4.UINTR = 1 in IA-32e mode, and it may be the notification of a user interrupt).
 */

struct vmxsim_event {
    uint8_t vector;
    enum vmxc_interruption_type type; /* hardware exception, INT n, INT1, INT3 and INTO */
    bool has_error_code;
    uint32_t error_code;
    uint64_t detail; /* #PF: linear address; #DB: causes, as an exit qualification has them */
};

VMXC_MUST_CHECK enum vmxc_status vmxsim_guest_exception(struct vmxsim_cpu *cpu,
                                                        const struct vmxsim_event *event,
                                                        struct vmxsim_outcome *outcome);
VMXC_MUST_CHECK enum vmxc_status vmxsim_guest_nmi(struct vmxsim_cpu *cpu,
                                                  struct vmxsim_outcome *outcome);
/*
 * An interrupt with the posted-interrupt notification vector, if posted interrupts are processed, completes with the rule
 * POSTED_INTERRUPT; a virtual interrupt that it leads to is delivered at the next boundary.
 */
VMXC_MUST_CHECK enum vmxc_status vmxsim_guest_external_interrupt(struct vmxsim_cpu *cpu,
                                                                 uint8_t vector,
                                                                 struct vmxsim_outcome *outcome);
/* Errors: VMXC_INVALID_INPUT (also: IA-32e mode, which has no task switches). */
VMXC_MUST_CHECK enum vmxc_status vmxsim_guest_task_switch(struct vmxsim_cpu *cpu, uint16_t selector,
                                                          enum vmxc_task_source source,
                                                          struct vmxsim_outcome *outcome);
VMXC_MUST_CHECK enum vmxc_status vmxsim_guest_triple_fault(struct vmxsim_cpu *cpu,
                                                           struct vmxsim_outcome *outcome);
VMXC_MUST_CHECK enum vmxc_status vmxsim_guest_init(struct vmxsim_cpu *cpu,
                                                   struct vmxsim_outcome *outcome);
VMXC_MUST_CHECK enum vmxc_status vmxsim_guest_sipi(struct vmxsim_cpu *cpu, uint8_t vector,
                                                   struct vmxsim_outcome *outcome);

/* The VMX-preemption timer counts down, never below 0, and not in the wait-for-SIPI state. Errors: VMXC_BAD_STATE. */
VMXC_MUST_CHECK enum vmxc_status vmxsim_guest_advance_timer(struct vmxsim_cpu *cpu,
                                                            uint32_t counts);

/* What waits for the guest at the boundary between two instructions. */
struct vmxsim_pending {
    bool init, sipi, nmi, interrupt;
    uint8_t sipi_vector, interrupt_vector;
    bool
        instruction_done; /* since the last boundary the guest executed one; an injected MTF counts as one */
    uint64_t debug_causes; /* of a #DB trap, as an exit qualification has them; 0: none */
};

/*
 * The one that comes first: TPR below threshold after VM entry, INIT, SIPI, monitor trap flag, #DB trap, preemption timer, NMI
 * window, NMI, interrupt window or virtual interrupt (rule VIRTUAL_INTERRUPT), external interrupt. VM entry is followed by a
 * boundary. Completes if nothing happens, with the rule EVENT_BLOCKED if something waits.
 */
VMXC_MUST_CHECK enum vmxc_status vmxsim_guest_boundary(struct vmxsim_cpu *cpu,
                                                       const struct vmxsim_pending *pending,
                                                       struct vmxsim_outcome *outcome);

#ifdef __cplusplus
}
#endif

#endif
