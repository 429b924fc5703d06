/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which bits of an MSR are reserved is a property of the processor: here the profile's CPUID leaves are turned into
 * masks. A processor that does not have the MSR at all reserves every bit of it.
 * Source: Intel SDM volume 4, "Architectural MSRs"; volume 3, "IA32_DEBUGCTL MSR", "IA32_RTIT_CTL MSR",
 * "Architectural Performance Monitoring", "Last Branch Records".
 */
#include "internal/array.h"
#include "internal/entry.h"

/* A bit (or several) of an MSR that exists with a CPUID feature. */
struct msr_bit {
    enum cpuid_feature feature;
    uint64_t bits;
};

static uint64_t bits_with_features(const struct entry_check *check, const struct msr_bit *table,
                                   size_t count)
{
    uint64_t bits = 0;

    for (size_t i = 0; i < count; i++) {
        if (has_feature(check, table[i].feature))
            bits |= table[i].bits;
    }
    return bits;
}

/* ---- IA32_DEBUGCTL ---- */

/* The bits that freeze counters came with version 2 of performance monitoring and its capabilities MSR. */
static uint64_t freeze_bits(const struct entry_check *check)
{
    const uint64_t on_pmi = VMXC_DEBUGCTL_FREEZE_LBRS_ON_PMI | VMXC_DEBUGCTL_FREEZE_PERFMON_ON_PMI;
    const uint64_t smm_freeze = VMXC_BIT(12); /* of IA32_PERF_CAPABILITIES */
    uint64_t capabilities, bits = 0;

    if (!has_feature(check, CPUID_PDCM))
        return 0;
    if ((cpuid(check, 0xa, 0, CPUID_EAX) & 0xff) > 1)
        bits |= on_pmi;
    /* A profile need not list IA32_PERF_CAPABILITIES; what it does not say is not held against the guest. */
    if (vmxsim_profile_msr(check->input->profile, VMXC_MSR_PERF_CAPABILITIES, &capabilities) !=
            VMXC_OK ||
        (capabilities & smm_freeze))
        bits |= VMXC_DEBUGCTL_FREEZE_WHILE_SMM;
    return bits;
}

uint64_t reserved_in_debugctl(const struct entry_check *check)
{
    static const struct msr_bit table[] = {
        {CPUID_BUS_LOCK, VMXC_DEBUGCTL_BUS_LOCK_DETECT},
        {CPUID_DS, VMXC_DEBUGCTL_TR | VMXC_DEBUGCTL_BTS | VMXC_DEBUGCTL_BTINT},
        {CPUID_DS_CPL, VMXC_DEBUGCTL_BTS_OFF_OS | VMXC_DEBUGCTL_BTS_OFF_USR},
        {CPUID_RTM, VMXC_DEBUGCTL_RTM_DEBUG},
    };
    /* Not enumerated: a processor that has VMX has them. */
    const uint64_t always = VMXC_DEBUGCTL_LBR | VMXC_DEBUGCTL_BTF | VMXC_DEBUGCTL_ENABLE_UNCORE_PMI;

    return ~(always | freeze_bits(check) | bits_with_features(check, table, COUNT_OF(table)));
}

/* ---- IA32_EFER, IA32_S_CET, IA32_SPEC_CTRL, IA32_XSS ---- */

uint64_t reserved_in_efer(const struct entry_check *check)
{
    static const struct msr_bit table[] = {
        {CPUID_SYSCALL, VMXC_EFER_SCE},
        {CPUID_INTEL64, VMXC_EFER_LME | VMXC_EFER_LMA},
        {CPUID_NX, VMXC_EFER_NXE},
    };

    return ~bits_with_features(check, table, COUNT_OF(table));
}

uint64_t reserved_in_cet(const struct entry_check *check)
{
    static const struct msr_bit table[] = {
        {CPUID_CET_SS, VMXC_CET_SHADOW_STACK | VMXC_CET_WRITE_SHADOW_STACK},
        {CPUID_CET_IBT, VMXC_CET_ENDBRANCH | VMXC_CET_LEGACY_INTERWORKING | VMXC_CET_NO_TRACK |
                            VMXC_CET_SUPPRESS_DISABLE | VMXC_CET_SUPPRESS | VMXC_CET_TRACKER |
                            VMXC_CET_LEGACY_BITMAP},
    };

    return ~bits_with_features(check, table, COUNT_OF(table));
}

uint64_t reserved_in_spec_ctrl(const struct entry_check *check)
{
    static const struct msr_bit table[] = {
        {CPUID_IBRS, VMXC_SPEC_CTRL_IBRS},
        {CPUID_STIBP, VMXC_SPEC_CTRL_STIBP},
        {CPUID_SSBD, VMXC_SPEC_CTRL_SSBD},
        {CPUID_IPRED_CTRL, VMXC_SPEC_CTRL_IPRED_DIS_U | VMXC_SPEC_CTRL_IPRED_DIS_S},
        {CPUID_RRSBA_CTRL, VMXC_SPEC_CTRL_RRSBA_DIS_U | VMXC_SPEC_CTRL_RRSBA_DIS_S},
        {CPUID_PSFD, VMXC_SPEC_CTRL_PSFD},
        {CPUID_DDPD_U, VMXC_SPEC_CTRL_DDPD_U},
        {CPUID_BHI_CTRL, VMXC_SPEC_CTRL_BHI_DIS_S},
    };

    return ~bits_with_features(check, table, COUNT_OF(table));
}

uint64_t reserved_in_xss(const struct entry_check *check)
{
    if (!has_feature(check, CPUID_XSAVES))
        return UINT64_MAX;
    return ~((uint64_t)cpuid(check, 0xd, 1, CPUID_EDX) << 32 | cpuid(check, 0xd, 1, CPUID_ECX));
}

/* ---- IA32_PERF_GLOBAL_CTRL ---- */

uint64_t reserved_in_perf_global_ctrl(const struct entry_check *check)
{
    const uint32_t eax = cpuid(check, 0xa, 0, CPUID_EAX);
    const uint32_t version = eax & 0xff, general = eax >> 8 & 0xff;
    const uint32_t contiguous = cpuid(check, 0xa, 0, CPUID_EDX) & 0x1f;
    uint64_t fixed = VMXC_BIT(contiguous) - 1, metrics = 0;

    if (version < 2)
        return UINT64_MAX; /* version 1 has no such MSR */
    if (version >= 5)
        fixed |= cpuid(check, 0xa, 0, CPUID_ECX);
    if (capability(check, VMXC_MSR_PERF_CAPABILITIES) & VMXC_BIT(15))
        metrics = VMXC_PERF_GLOBAL_CTRL_METRICS;
    return ~((general < 32 ? VMXC_BIT(general) - 1 : UINT32_MAX) | fixed << 32 | metrics);
}

/* ---- IA32_LBR_CTL, IA32_RTIT_CTL ---- */

uint64_t reserved_in_lbr_ctl(const struct entry_check *check)
{
    static const struct msr_bit table[] = {
        {CPUID_ARCH_LBR, VMXC_LBR_CTL_ENABLE},
        {CPUID_LBR_CPL, VMXC_LBR_CTL_OS | VMXC_LBR_CTL_USER},
        {CPUID_LBR_FILTER, VMXC_LBR_CTL_FILTERS},
        {CPUID_LBR_CALL_STACK, VMXC_LBR_CTL_CALL_STACK},
    };

    return ~bits_with_features(check, table, COUNT_OF(table));
}

/* `field` of `value`, if its value is not in the set: bit n of `supported` stands for value n. 0 is always in it. */
static uint64_t unsupported_encoding(uint64_t value, uint64_t field, uint32_t supported)
{
    const uint64_t encoding = VMXC_FIELD_GET(value, field);

    return encoding == 0 || (supported >> encoding & 1) ? 0 : value & field;
}

/* Frequencies and thresholds have sets of encodings; address filters have 0, 1 and 2 each. */
static uint64_t unsupported_encodings(const struct entry_check *check, uint64_t value)
{
    const uint32_t eax = cpuid(check, 0x14, 1, CPUID_EAX), ebx = cpuid(check, 0x14, 1, CPUID_EBX);
    const uint32_t ranges = eax & 7;
    uint64_t bits = unsupported_encoding(value, VMXC_RTIT_CTL_MTC_FREQ, eax >> 16) |
                    unsupported_encoding(value, VMXC_RTIT_CTL_CYC_THRESH, ebx & 0xffff) |
                    unsupported_encoding(value, VMXC_RTIT_CTL_PSB_FREQ, ebx >> 16);

    for (unsigned range = 0; range < 4; range++) {
        const uint64_t field = VMXC_BITS(35, 32) << 4 * range;
        bits |= unsupported_encoding(value, field, range < ranges ? 7 : 1);
    }
    return bits;
}

uint64_t reserved_in_rtit_ctl(const struct entry_check *check, uint64_t value)
{
    static const struct msr_bit table[] = {
        {CPUID_PT, VMXC_RTIT_CTL_TRACE_EN | VMXC_RTIT_CTL_OS | VMXC_RTIT_CTL_USER |
                       VMXC_RTIT_CTL_TSC_EN | VMXC_RTIT_CTL_DIS_RETC | VMXC_RTIT_CTL_BRANCH_EN |
                       VMXC_RTIT_CTL_ADDR_CFG},
        {CPUID_PT_CR3_FILTER, VMXC_RTIT_CTL_CR3_FILTER},
        {CPUID_PT_CYC, VMXC_RTIT_CTL_CYC_EN | VMXC_RTIT_CTL_CYC_THRESH | VMXC_RTIT_CTL_PSB_FREQ},
        {CPUID_PT_MTC, VMXC_RTIT_CTL_MTC_EN | VMXC_RTIT_CTL_MTC_FREQ},
        {CPUID_PT_PTWRITE, VMXC_RTIT_CTL_PTW_EN | VMXC_RTIT_CTL_FUP_ON_PTW},
        {CPUID_PT_POWER, VMXC_RTIT_CTL_PWR_EVT_EN},
        {CPUID_PT_PSB_PMI, VMXC_RTIT_CTL_INJECT_PSB},
        {CPUID_PT_EVENT, VMXC_RTIT_CTL_EVENT_EN},
        {CPUID_PT_TNT_DISABLE, VMXC_RTIT_CTL_DIS_TNT},
        {CPUID_PT_TOPA, VMXC_RTIT_CTL_TOPA},
        {CPUID_PT_FABRIC, VMXC_RTIT_CTL_FABRIC_EN},
    };

    return ~bits_with_features(check, table, COUNT_OF(table)) | unsupported_encodings(check, value);
}

/* ---- Addresses and memory types ---- */

uint64_t beyond_physical(const struct entry_check *check)
{
    return ~UINT64_C(0) << check->features->maxphyaddr;
}

/* Memory types are 0, 1 and 4 to 7: bits 7:3 are 0, and bit 1 only where bit 2 is 1. */
uint64_t nearest_pat(uint64_t value)
{
    const uint64_t low_bits = UINT64_C(0x0707070707070707), bit_1 = UINT64_C(0x0202020202020202);
    const uint64_t with_bit_2 = value >> 1 & bit_1; /* bit 2 of each byte, moved to bit 1 */

    return value & low_bits & (~bit_1 | with_bit_2);
}
