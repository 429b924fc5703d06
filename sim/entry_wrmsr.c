/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether WRMSR of a value succeeds at CPL 0 in the state that the VM entry has established. The table is
 * internal/wrmsr.def. Of an MSR that it lacks, the profile decides: one that the profile lists exists, and the model has
 * nothing against any value; one that it does not list is taken not to exist, and WRMSR faults.
 */
#include "internal/entry.h"

enum kind {
    PLAIN,
    READ_ONLY,
    CANONICAL,
    APIC_BASE,
    FEATURE_CONTROL,
    SPEC_CTRL,
    COUNTER,
    DEBUGCTL,
    MTRR_RANGE,
    MTRR_FIXED,
    MTRR_DEFAULT,
    PAT,
    PERF_GLOBAL,
    RTIT_CTL,
    CET,
    XSS,
    LBR_CTL,
    EFER,
};

struct writable {
    uint32_t first, last;
    int feature; /* enum cpuid_feature, or CPUID_NONE */
    enum kind kind;
    uint64_t reserved;
};

enum { CPUID_NONE = CPUID_FEATURE_COUNT };

static const struct writable table[] = {
#define WRMSR(first, last, feature, kind, reserved) {first, last, CPUID_##feature, kind, reserved},
#include "internal/wrmsr.def"
};

/* The table is sorted by index. */
static const struct writable *find(uint32_t msr)
{
    size_t low = 0, high = sizeof table / sizeof table[0];

    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (msr > table[middle].last)
            low = middle + 1;
        else if (msr < table[middle].first)
            high = middle;
        else
            return &table[middle];
    }
    return NULL;
}

/* ---- MSRs with a rule of their own ---- */

/* An MSR of which every bit is reserved does not exist: not even 0 can be written. */
static bool fits(uint64_t value, uint64_t reserved)
{
    return reserved != UINT64_MAX && !(value & reserved);
}

static bool is_mtrr_type(uint64_t type)
{
    return type <= 6 && type != 2 && type != 3;
}

static bool are_mtrr_types(uint64_t value)
{
    for (unsigned byte = 0; byte < 8; byte++) {
        if (!is_mtrr_type(value >> 8 * byte & 0xff))
            return false;
    }
    return true;
}

/* Base registers have even indices and a memory type, mask registers odd ones and a valid bit. */
static bool accepts_mtrr_range(const struct entry_check *check, uint32_t msr, uint64_t value)
{
    if (value & beyond_physical(check))
        return false;
    return (msr & 1) ? !(value & VMXC_BITS(10, 0))
                     : !(value & VMXC_BITS(11, 8)) && is_mtrr_type(value & 0xff);
}

static bool accepts_apic_base(const struct entry_check *check, uint64_t value)
{
    const uint64_t x2apic = has_feature(check, CPUID_X2APIC) ? 0 : VMXC_BIT(10);

    return !(value & (x2apic | beyond_physical(check)));
}

/* Firmware locks IA32_FEATURE_CONTROL; as long as it has not, what can be set depends on the processor's features. */
static bool accepts_feature_control(const struct entry_check *check, uint64_t value)
{
    const uint64_t known = VMXC_FEATURE_CONTROL_LOCK | VMXC_FEATURE_CONTROL_VMX_IN_SMX |
                           VMXC_FEATURE_CONTROL_VMX_OUTSIDE_SMX |
                           VMXC_FEATURE_CONTROL_SENTER_LOCAL | VMXC_FEATURE_CONTROL_SENTER_GLOBAL |
                           VMXC_FEATURE_CONTROL_SGX_LAUNCH_CONTROL | VMXC_FEATURE_CONTROL_SGX |
                           VMXC_FEATURE_CONTROL_LMCE;

    return !(capability(check, VMXC_MSR_FEATURE_CONTROL) & VMXC_FEATURE_CONTROL_LOCK) &&
           !(value & ~known);
}

static bool accepts_counter(const struct entry_check *check, uint32_t offset)
{
    return offset < (cpuid(check, 0xa, 0, CPUID_EAX) >> 8 & 0xff);
}

static bool accepts_cet(const struct entry_check *check, uint64_t value)
{
    const uint64_t both = VMXC_CET_SUPPRESS | VMXC_CET_TRACKER;

    return fits(value, reserved_in_cet(check)) && (value & both) != both &&
           is_canonical(check, value);
}

/*
 * With paging on, LME cannot change; the VM entry has made it "IA-32e mode guest" then. LMA is not writable: what is
 * written to it does not matter.
 */
static bool accepts_efer(struct entry_check *check, uint64_t value_written)
{
    const bool paging = value(check, F(GUEST_CR0)) & VMXC_CR0_PG;
    const bool lme = entry_controls(check) & VMXC_ENTRY_IA32E_MODE_GUEST;
    const bool lme_written = value_written & VMXC_EFER_LME;

    return fits(value_written, reserved_in_efer(check)) && (!paging || lme == lme_written);
}

/* ---- All MSRs ---- */

static bool accepts(struct entry_check *check, const struct writable *row, uint32_t msr,
                    uint64_t value)
{
    switch (row->kind) {
    case READ_ONLY:
        return false;
    case CANONICAL:
        return is_canonical(check, value);
    case APIC_BASE:
        return accepts_apic_base(check, value);
    case FEATURE_CONTROL:
        return accepts_feature_control(check, value);
    case SPEC_CTRL:
        return fits(value, reserved_in_spec_ctrl(check));
    case COUNTER:
        return accepts_counter(check, msr - row->first);
    case DEBUGCTL:
        return fits(value, reserved_in_debugctl(check));
    case MTRR_RANGE:
        return accepts_mtrr_range(check, msr, value);
    case MTRR_FIXED:
        return are_mtrr_types(value);
    case MTRR_DEFAULT:
        return is_mtrr_type(value & 0xff);
    case PAT:
        return nearest_pat(value) == value;
    case PERF_GLOBAL:
        return fits(value, reserved_in_perf_global_ctrl(check));
    case RTIT_CTL:
        return fits(value, reserved_in_rtit_ctl(check, value));
    case CET:
        return accepts_cet(check, value);
    case XSS:
        return !(value & reserved_in_xss(check)); /* the MSR exists even if no bit of it does */
    case LBR_CTL:
        return fits(value, reserved_in_lbr_ctl(check));
    case EFER:
        return accepts_efer(check, value);
    case PLAIN:
        break;
    }
    return true;
}

bool wrmsr_succeeds(struct entry_check *check, uint32_t msr, uint64_t value)
{
    const struct writable *row = find(msr);
    uint64_t listed;

    if (!row)
        return vmxsim_profile_msr(check->input->profile, msr, &listed) == VMXC_OK;
    if (row->feature != CPUID_NONE && !has_feature(check, (enum cpuid_feature)row->feature))
        return false;
    return !(value & row->reserved) && accepts(check, row, msr, value);
}
