/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How guest actions are written down: reasons to end in the order in which a processor asks for them, and after the last
 * the completion.
 *
 *     VMXC_TRY(vmxsim_guest_begin(&walk, cpu, outcome));
 *     if (!vmxsim_guest_require_cpl0(&walk))
 *         return VMXC_OK;
 *     if (<intercepted>)
 *         return vmxsim_guest_exit(&walk, VMXSIM_RULE_EXIT_CONTROL, VMXC_EXIT_REASON_HLT, 0);
 *     return vmxsim_guest_complete(&walk);
 *
 * Requirements return false if they have ended the action. Ends return VMXC_OK: the model has done what it was asked for.
 */
#ifndef VMXSIM_INTERNAL_GUEST_H
#define VMXSIM_INTERNAL_GUEST_H

#include "internal/walk.h"
#include "vmxsim/guest.h"

/* The VMCS that controls the guest. */
static inline struct vmxsim_vmcs *guest_vmcs(struct vmxsim_cpu *cpu)
{
    return &cpu->vmx.vmcs.fields;
}

/* ---- Beginnings. Errors: VMXC_BAD_STATE ---- */

/* An event: any activity state. */
VMXC_MUST_CHECK enum vmxc_status vmxsim_guest_start(struct walk *walk, struct vmxsim_cpu *cpu,
                                                    struct vmxsim_outcome *outcome);
/* An instruction: the activity state is active. */
VMXC_MUST_CHECK enum vmxc_status vmxsim_guest_begin(struct walk *walk, struct vmxsim_cpu *cpu,
                                                    struct vmxsim_outcome *outcome);

/* ---- Requirements ---- */

bool vmxsim_guest_require_cpl0(struct walk *walk); /* otherwise #GP */
bool vmxsim_guest_require(struct walk *walk, bool condition, enum vmxsim_walk_rule rule); /* #UD */

/* ---- Ends ---- */

/* The instruction is done; blocking by STI and by MOV SS ends. */
enum vmxc_status vmxsim_guest_complete(struct walk *walk);
enum vmxc_status vmxsim_guest_fault(struct walk *walk, enum vmxsim_walk_rule rule, uint8_t vector);
enum vmxc_status vmxsim_guest_exit(struct walk *walk, enum vmxsim_walk_rule rule, uint16_t reason,
                                   uint64_t qualification);
/* An event: it does not arrive now, or at all. */
enum vmxc_status vmxsim_guest_hold(struct walk *walk);

/* guest_instruction.c: fills in the instruction information and the displacement of a VM exit. */
void vmxsim_guest_describe(struct vmxsim_outcome *outcome, enum vmxc_instruction_layout layout,
                           unsigned identity, const struct vmxsim_operands *operands);

/* guest_cr_value.c: 0, or the rule that the new value of a control register breaks. */
enum vmxsim_walk_rule vmxsim_guest_check_cr0(const struct vmxsim_cpu *cpu, uint64_t value);
enum vmxsim_walk_rule vmxsim_guest_check_cr3(const struct vmxsim_cpu *cpu, uint64_t value);
enum vmxsim_walk_rule vmxsim_guest_check_cr4(const struct vmxsim_cpu *cpu, uint64_t value);

#endif
