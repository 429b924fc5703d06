/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether the instruction may execute at all. These rules are ordered: each is evaluated only if those before it hold.
 * Source: Intel SDM volume 3, "Basic VM-Entry Checks"; volume 3, "VMLAUNCH/VMRESUME - Launch/Resume Virtual Machine".
 */
#include "internal/entry.h"

/* Ends with true if the rule is broken, so that what follows is not evaluated. */
static bool fails(struct entry_check *check, enum vmxsim_entry_rule id, bool broken)
{
    rule(check, id);
    if (broken)
        violated(check, no_single_field());
    return broken;
}

static bool mode_allows_vmx(const struct vmxsim_entry_processor *processor)
{
    const bool compatibility = (processor->efer & VMXC_EFER_LMA) && !processor->code_64bit;

    return processor->in_vmx && (processor->cr0 & VMXC_CR0_PE) &&
           !(processor->rflags & VMXC_RFLAGS_VM) && !compatibility;
}

void check_basic(struct entry_check *check)
{
    const struct vmxsim_entry_processor *processor = check->input->processor;

    if (fails(check, VMXSIM_ENTRY_ENT_UD_MODE, !mode_allows_vmx(processor)) ||
        fails(check, VMXSIM_ENTRY_ENT_EXIT_NONROOT, processor->in_non_root) ||
        fails(check, VMXSIM_ENTRY_ENT_GP_CPL, processor->cpl > 0) ||
        fails(check, VMXSIM_ENTRY_ENT_NOVMCS, !processor->has_current) ||
        fails(check, VMXSIM_ENTRY_ENT_SHADOWCUR, processor->current_is_shadow) ||
        fails(check, VMXSIM_ENTRY_ENT_MOVSS, processor->blocking_by_mov_ss))
        return;
    if (processor->vmresume)
        (void)fails(check, VMXSIM_ENTRY_ENT_RESUME_LAUNCHED, !processor->launched);
    else
        (void)fails(check, VMXSIM_ENTRY_ENT_LAUNCH_CLEAR, processor->launched);
}
