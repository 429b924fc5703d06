/* SPDX-License-Identifier: Apache-2.0 */
/* Generating states for VM entry: a valid one. */
#include "vmxsim/entry_generate.h"

#include "internal/entry_round.h"

uint64_t vmxsim_round_within_width(const struct vmxsim_profile *profile)
{
    const bool short_addresses =
        vmxsim_round_msr(profile, VMXC_MSR_VMX_BASIC) & VMXC_VMX_BASIC_ADDRESS_32;
    const unsigned width = short_addresses ? 32 : vmxsim_profile_features(profile)->maxphyaddr;

    return VMXC_BIT(width) - 1;
}

void vmxsim_entry_round(const struct vmxsim_profile *profile,
                        const struct vmxsim_entry_processor *processor, struct vmxsim_vmcs *vmcs)
{
    struct entry_round round = {
        .profile = profile,
        .features = vmxsim_profile_features(profile),
        .processor = processor,
        .vmcs = vmcs,
        .within_width = vmxsim_round_within_width(profile),
    };

    for (size_t i = 0; i < VMXC_VMCS_FIELD_COUNT; i++)
        vmcs->value[i] &= vmxsim_vmcs_width_mask(vmxsim_vmcs_encoding(i));
    vmxsim_round_controls(&round);
    vmxsim_round_host(&round);
    vmxsim_round_guest_registers(&round);
    vmxsim_round_guest_segments(&round);
    vmxsim_round_guest_events(&round);
}
