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

bool has_feature(const struct entry_check *check, enum cpuid_feature feature)
{
    static const struct {
        uint32_t leaf;
        uint8_t subleaf, reg, bit;
    } where[CPUID_FEATURE_COUNT] = {
#define CPUID_FEATURE(name, leaf, subleaf, reg, bit) [CPUID_##name] = {leaf, subleaf, reg, bit},
#include "internal/cpuid_features.def"
    };
    const uint32_t value =
        cpuid(check, where[feature].leaf, where[feature].subleaf, where[feature].reg);

    return value >> where[feature].bit & 1;
}
