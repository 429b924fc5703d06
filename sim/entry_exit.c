/* SPDX-License-Identifier: Apache-2.0 */
/* Source: Intel SDM volume 3, "VM-Exit Control Fields" (checks on VMX controls). */
#include "internal/entry.h"

void check_exit_controls(struct entry_check *check)
{
    require_capable(check, VMXSIM_ENTRY_CTL_EXIT_RSVD, F(PRIMARY_VM_EXIT_CONTROLS),
                    VMXC_MSR_VMX_EXIT_CTLS, VMXC_MSR_VMX_TRUE_EXIT_CTLS);

    rule(check, VMXSIM_ENTRY_CTL_EXIT2_RSVD);
    const uint64_t excess = secondary_exit(check) & ~capability(check, VMXC_MSR_VMX_EXIT_CTLS2);
    if (excess)
        violated(check, clear_bits(check, F(SECONDARY_VM_EXIT_CONTROLS), excess));

    rule(check, VMXSIM_ENTRY_CTL_EXIT_PREEMPT);
    if ((exit_controls(check) & VMXC_EXIT_SAVE_PREEMPTION_TIMER) &&
        !(pin(check) & VMXC_PIN_ACTIVATE_PREEMPTION_TIMER))
        violated(check,
                 clear_bits(check, F(PRIMARY_VM_EXIT_CONTROLS), VMXC_EXIT_SAVE_PREEMPTION_TIMER));

    require_msr_list(check, VMXSIM_ENTRY_CTL_EXIT_MSRST_ADDR, VMXSIM_ENTRY_CTL_EXIT_MSRST_LAST,
                     F(VM_EXIT_MSR_STORE_ADDRESS), F(VM_EXIT_MSR_STORE_COUNT));
    require_msr_list(check, VMXSIM_ENTRY_CTL_EXIT_MSRLD_ADDR, VMXSIM_ENTRY_CTL_EXIT_MSRLD_LAST,
                     F(VM_EXIT_MSR_LOAD_ADDRESS), F(VM_EXIT_MSR_LOAD_COUNT));
}
