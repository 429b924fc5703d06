/* SPDX-License-Identifier: Apache-2.0 */
/* Rounding the host-state area, and what host and guest have in common. */
#include "internal/entry_round.h"

uint64_t vmxsim_round_msr(const struct vmxsim_profile *profile, uint32_t index)
{
    uint64_t value = 0;

    return vmxsim_profile_msr(profile, index, &value) == VMXC_OK ? value : 0;
}

uint32_t vmxsim_round_cpuid(const struct vmxsim_profile *profile, uint32_t leaf, unsigned index)
{
    uint32_t registers[4] = {0, 0, 0, 0};

    return vmxsim_profile_cpuid(profile, leaf, 0, registers) == VMXC_OK ? registers[index] : 0;
}

uint64_t vmxsim_round_canonical(uint64_t address, unsigned width)
{
    const uint64_t upper = ~UINT64_C(0) << (width - 1);

    return (address & VMXC_BIT(width - 1)) ? address | upper : address & ~upper;
}

uint64_t vmxsim_round_perf_global_ctrl(const struct vmxsim_profile *profile)
{
    const uint32_t general = vmxsim_round_cpuid(profile, 0xa, 0) >> 8 & 0xff;
    const uint32_t fixed = vmxsim_round_cpuid(profile, 0xa, 3) & 0x1f;

    return (VMXC_BIT(general) - 1) | (VMXC_BIT(fixed) - 1) << 32;
}

uint64_t vmxsim_round_spec_ctrl(const struct vmxsim_profile *profile)
{
    const uint32_t edx = vmxsim_round_cpuid(profile, 7, 3);

    return (uint64_t)((edx >> 26 & 1) | (edx >> 27 & 1) << 1 | (edx >> 31 & 1) << 2);
}

uint64_t vmxsim_round_pat(uint64_t pat)
{
    for (unsigned shift = 0; shift < 64; shift += 8) {
        const uint64_t type = pat >> shift & 7;
        pat &= ~(UINT64_C(0xff) << shift);
        pat |= (type == 2 || type == 3 ? type - 2 : type) << shift;
    }
    return pat;
}

uint64_t vmxsim_round_s_cet(uint64_t s_cet, unsigned width)
{
    s_cet = vmxsim_round_canonical(s_cet & ~VMXC_BITS(9, 6), width);
    if (s_cet & VMXC_BIT(10))
        s_cet &= ~VMXC_BIT(11);
    return s_cet;
}

uint64_t vmxsim_round_cr3(const struct entry_round *round, uint64_t cr3)
{
    uint32_t leaf_7_1[4] = {0, 0, 0, 0};
    const bool lam = vmxsim_profile_cpuid(round->profile, 7, 1, leaf_7_1) == VMXC_OK &&
                     (leaf_7_1[0] & VMXC_BIT(26));
    uint64_t allowed = VMXC_BITS(round->features->maxphyaddr - 1, 0);

    if (lam)
        allowed |= VMXC_CR3_LAM_U48 | VMXC_CR3_LAM_U57;
    return cr3 & allowed;
}

void vmxsim_round_fred(const struct entry_round *round, uint16_t config, uint16_t rsp1,
                       uint16_t ssp1)
{
    const uint64_t config_reserved = VMXC_BIT(2) | VMXC_BITS(5, 4) | VMXC_BIT(11);
    const unsigned width = round->features->linear_width;
    uint64_t *const value = round->vmcs->value;

    value[config] = vmxsim_round_canonical(value[config] & ~config_reserved, width);
    for (uint16_t i = 0; i < 3; i++) {
        value[rsp1 + i] = vmxsim_round_canonical(value[rsp1 + i] & ~VMXC_BITS(5, 0), width);
        value[ssp1 + i] = vmxsim_round_canonical(value[ssp1 + i] & ~VMXC_BITS(2, 0), width);
    }
}

static void round_host_registers(struct entry_round *round)
{
    const struct vmxsim_profile *profile = round->profile;
    const uint64_t not_checked = VMXC_CR0_NW | VMXC_CR0_CD;
    uint64_t *const cr0 = &FIELD(round, HOST_CR0), *const cr4 = &FIELD(round, HOST_CR4);

    *cr0 = (*cr0 | vmxsim_round_msr(profile, VMXC_MSR_VMX_CR0_FIXED0)) &
           (vmxsim_round_msr(profile, VMXC_MSR_VMX_CR0_FIXED1) | not_checked);
    *cr4 = (*cr4 | vmxsim_round_msr(profile, VMXC_MSR_VMX_CR4_FIXED0)) &
           vmxsim_round_msr(profile, VMXC_MSR_VMX_CR4_FIXED1);
    if (round->host_64)
        *cr4 |= VMXC_CR4_PAE;
    else
        *cr4 &= ~(VMXC_CR4_PCIDE | VMXC_CR4_FRED);
    if (*cr4 & VMXC_CR4_CET)
        *cr0 |= VMXC_CR0_WP;
    FIELD(round, HOST_CR3) = vmxsim_round_cr3(round, FIELD(round, HOST_CR3));
    FIELD(round, HOST_RIP) =
        round->host_64
            ? vmxsim_round_canonical(FIELD(round, HOST_RIP), (*cr4 & VMXC_CR4_LA57) ? 57 : 48)
            : FIELD(round, HOST_RIP) & UINT32_MAX;
}

static void round_host_msrs(struct entry_round *round)
{
    const unsigned width = round->features->linear_width;
    uint64_t *const efer = &FIELD(round, HOST_IA32_EFER);

    FIELD(round, HOST_IA32_PERF_GLOBAL_CTRL) &= vmxsim_round_perf_global_ctrl(round->profile);
    FIELD(round, HOST_IA32_PAT) = vmxsim_round_pat(FIELD(round, HOST_IA32_PAT));
    *efer &= VMXC_EFER_SCE | VMXC_EFER_NXE;
    if (round->host_64)
        *efer |= VMXC_EFER_LME | VMXC_EFER_LMA;
    FIELD(round, HOST_S_CET) = vmxsim_round_s_cet(FIELD(round, HOST_S_CET), width);
    FIELD(round, HOST_SSP) =
        vmxsim_round_canonical(FIELD(round, HOST_SSP) & ~VMXC_BITS(1, 0), width);
    if (!round->host_64) {
        FIELD(round, HOST_S_CET) &= UINT32_MAX;
        FIELD(round, HOST_SSP) &= UINT32_MAX;
    }
    FIELD(round, HOST_IA32_PKRS) &= UINT32_MAX;
    FIELD(round, HOST_IA32_SPEC_CTRL) &= vmxsim_round_spec_ctrl(round->profile);
    vmxsim_round_fred(round, VMXC_VMCS_ORDINAL_HOST_FRED_CONFIG, VMXC_VMCS_ORDINAL_HOST_FRED_RSP1,
                      VMXC_VMCS_ORDINAL_HOST_FRED_SSP1);
}

static void round_host_segments(struct entry_round *round)
{
    static const uint16_t selectors[] = {
        VMXC_VMCS_ORDINAL_HOST_ES_SELECTOR, VMXC_VMCS_ORDINAL_HOST_CS_SELECTOR,
        VMXC_VMCS_ORDINAL_HOST_SS_SELECTOR, VMXC_VMCS_ORDINAL_HOST_DS_SELECTOR,
        VMXC_VMCS_ORDINAL_HOST_FS_SELECTOR, VMXC_VMCS_ORDINAL_HOST_GS_SELECTOR,
        VMXC_VMCS_ORDINAL_HOST_TR_SELECTOR,
    };
    static const uint16_t addresses[] = {
        VMXC_VMCS_ORDINAL_HOST_FS_BASE,      VMXC_VMCS_ORDINAL_HOST_GS_BASE,
        VMXC_VMCS_ORDINAL_HOST_TR_BASE,      VMXC_VMCS_ORDINAL_HOST_GDTR_BASE,
        VMXC_VMCS_ORDINAL_HOST_IDTR_BASE,    VMXC_VMCS_ORDINAL_HOST_SYSENTER_ESP,
        VMXC_VMCS_ORDINAL_HOST_SYSENTER_EIP, VMXC_VMCS_ORDINAL_HOST_INTERRUPT_SSP_TABLE,
    };
    uint64_t *const value = round->vmcs->value;

    /* No selector is null: what may be null may be something else too. */
    for (size_t i = 0; i < sizeof(selectors) / sizeof(selectors[0]); i++) {
        value[selectors[i]] &= ~(VMXC_SELECTOR_RPL | VMXC_SELECTOR_TI);
        if (value[selectors[i]] == 0)
            value[selectors[i]] = 8;
    }
    for (size_t i = 0; i < sizeof(addresses) / sizeof(addresses[0]); i++)
        value[addresses[i]] =
            vmxsim_round_canonical(value[addresses[i]], round->features->linear_width);
}

void vmxsim_round_host(struct entry_round *round)
{
    round_host_registers(round);
    round_host_msrs(round);
    round_host_segments(round);
}
