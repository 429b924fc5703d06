/* SPDX-License-Identifier: Apache-2.0 */
#include "internal/entry.h"

uint32_t cpuid(const struct entry_check *check, uint32_t leaf, uint32_t subleaf,
               enum cpuid_register reg)
{
    uint32_t registers[4];

    if (vmxsim_profile_cpuid(check->input->profile, leaf, subleaf, registers) != VMXC_OK)
        return 0;
    return registers[reg];
}
