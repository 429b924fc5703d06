/* SPDX-License-Identifier: Apache-2.0 */
/* Source: Intel SDM volume 3, "Checks on Guest Control Registers, Debug Registers, and MSRs". */
#include "internal/entry.h"

#define UPPER_HALF VMXC_BITS(63, 32)

static bool ia32e_guest(struct entry_check *check)
{
    return entry_controls(check) & VMXC_ENTRY_IA32E_MODE_GUEST;
}

/* Does the VM entry load the register that goes with this control? */
static bool loads(struct entry_check *check, uint64_t control)
{
    return entry_controls(check) & control;
}

/* ---- Control and debug registers ---- */

static void check_cr0(struct entry_check *check)
{
    rule(check, VMXSIM_ENTRY_GUEST_CR0_FIXED);
    /* VM entry does not change NW and CD; an unrestricted guest may be without protection and paging. */
    const bool unrestricted = secondary(check) & VMXC_SECONDARY_UNRESTRICTED_GUEST;
    const uint64_t unchecked = VMXC_CR0_NW | VMXC_CR0_CD;
    const uint64_t optional = unchecked | (unrestricted ? VMXC_CR0_PE | VMXC_CR0_PG : 0);
    const uint64_t must_be_1 = capability(check, VMXC_MSR_VMX_CR0_FIXED0) & ~optional;
    const uint64_t may_be_1 = capability(check, VMXC_MSR_VMX_CR0_FIXED1) | optional;
    must_equal(check, F(GUEST_CR0), (value(check, F(GUEST_CR0)) | must_be_1) & may_be_1);

    rule(check, VMXSIM_ENTRY_GUEST_CR0_PG_PE);
    if (value(check, F(GUEST_CR0)) & VMXC_CR0_PG)
        must_have(check, F(GUEST_CR0), VMXC_CR0_PE);
}

static void check_cr4(struct entry_check *check)
{
    require_allowed(check, VMXSIM_ENTRY_GUEST_CR4_FIXED, F(GUEST_CR4),
                    capability(check, VMXC_MSR_VMX_CR4_FIXED0),
                    capability(check, VMXC_MSR_VMX_CR4_FIXED1));

    rule(check, VMXSIM_ENTRY_GUEST_CR4_CET_WP);
    if (value(check, F(GUEST_CR4)) & VMXC_CR4_CET)
        must_have(check, F(GUEST_CR0), VMXC_CR0_WP);
}

static void check_debugctl(struct entry_check *check)
{
    rule(check, VMXSIM_ENTRY_GUEST_DEBUGCTL_RSVD);
    if (loads(check, VMXC_ENTRY_LOAD_DEBUG_CONTROLS))
        must_lack(check, F(GUEST_IA32_DEBUGCTL), reserved_in_debugctl(check));
}

static void check_mode(struct entry_check *check)
{
    rule(check, VMXSIM_ENTRY_GUEST_IA32E_PG);
    if (ia32e_guest(check))
        must_have(check, F(GUEST_CR0), VMXC_CR0_PG);

    rule(check, VMXSIM_ENTRY_GUEST_IA32E_PAE);
    if (ia32e_guest(check))
        must_have(check, F(GUEST_CR4), VMXC_CR4_PAE);

    rule(check, VMXSIM_ENTRY_GUEST_CR4_PCIDE);
    if (!ia32e_guest(check))
        must_lack(check, F(GUEST_CR4), VMXC_CR4_PCIDE);

    rule(check, VMXSIM_ENTRY_GUEST_CR4_FRED);
    if (!ia32e_guest(check))
        must_lack(check, F(GUEST_CR4), VMXC_CR4_FRED);
}

static void check_cr3_and_dr7(struct entry_check *check)
{
    const uint64_t lam = has_feature(check, CPUID_LAM) ? VMXC_CR3_LAM_U48 | VMXC_CR3_LAM_U57 : 0;

    require_zero(check, VMXSIM_ENTRY_GUEST_CR3_WIDTH, F(GUEST_CR3), beyond_physical(check) & ~lam);

    rule(check, VMXSIM_ENTRY_GUEST_DR7_HI);
    if (loads(check, VMXC_ENTRY_LOAD_DEBUG_CONTROLS))
        must_lack(check, F(GUEST_DR7), UPPER_HALF);
}

/* ---- MSRs ---- */

static void check_s_cet(struct entry_check *check)
{
    const uint64_t both = VMXC_CET_SUPPRESS | VMXC_CET_TRACKER;

    rule(check, VMXSIM_ENTRY_GUEST_S_CET_RSVD);
    if (loads(check, VMXC_ENTRY_LOAD_CET)) {
        must_lack(check, F(GUEST_S_CET), reserved_in_cet(check));
        if ((value(check, F(GUEST_S_CET)) & both) == both)
            violated(check, clear_bits(check, F(GUEST_S_CET), VMXC_CET_SUPPRESS));
    }

    rule(check, VMXSIM_ENTRY_GUEST_S_CET_CANON);
    if (loads(check, VMXC_ENTRY_LOAD_CET)) {
        if (ia32e_guest(check))
            must_be_canonical(check, F(GUEST_S_CET));
        else
            must_lack(check, F(GUEST_S_CET), UPPER_HALF);
    }

    rule(check, VMXSIM_ENTRY_GUEST_ISST_CANON);
    if (loads(check, VMXC_ENTRY_LOAD_CET))
        must_be_canonical(check, F(GUEST_INTERRUPT_SSP_TABLE));
}

static void check_perf_global_ctrl_and_pat(struct entry_check *check)
{
    rule(check, VMXSIM_ENTRY_GUEST_PGC_RSVD);
    if (loads(check, VMXC_ENTRY_LOAD_PERF_GLOBAL_CTRL))
        must_lack(check, F(GUEST_IA32_PERF_GLOBAL_CTRL), reserved_in_perf_global_ctrl(check));

    rule(check, VMXSIM_ENTRY_GUEST_PAT_TYPE);
    if (loads(check, VMXC_ENTRY_LOAD_PAT))
        must_equal(check, F(GUEST_IA32_PAT), nearest_pat(value(check, F(GUEST_IA32_PAT))));
}

/* The given bits are all 1 or all 0. */
static void must_hold_if(struct entry_check *check, uint16_t ordinal, uint64_t bits, bool set)
{
    if (set)
        must_have(check, ordinal, bits);
    else
        must_lack(check, ordinal, bits);
}

static void check_efer(struct entry_check *check)
{
    rule(check, VMXSIM_ENTRY_GUEST_EFER_RSVD);
    if (loads(check, VMXC_ENTRY_LOAD_EFER))
        must_lack(check, F(GUEST_IA32_EFER), reserved_in_efer(check));

    rule(check, VMXSIM_ENTRY_GUEST_EFER_LMA);
    if (loads(check, VMXC_ENTRY_LOAD_EFER))
        must_hold_if(check, F(GUEST_IA32_EFER), VMXC_EFER_LMA, ia32e_guest(check));

    rule(check, VMXSIM_ENTRY_GUEST_EFER_LME);
    if (loads(check, VMXC_ENTRY_LOAD_EFER) && (value(check, F(GUEST_CR0)) & VMXC_CR0_PG))
        must_hold_if(check, F(GUEST_IA32_EFER), VMXC_EFER_LME,
                     value(check, F(GUEST_IA32_EFER)) & VMXC_EFER_LMA);
}

static void check_bndcfgs(struct entry_check *check)
{
    rule(check, VMXSIM_ENTRY_GUEST_BNDCFGS_RSVD);
    if (loads(check, VMXC_ENTRY_LOAD_BNDCFGS))
        must_lack(check, F(GUEST_IA32_BNDCFGS), VMXC_BNDCFGS_RESERVED);

    rule(check, VMXSIM_ENTRY_GUEST_BNDCFGS_CANON);
    if (loads(check, VMXC_ENTRY_LOAD_BNDCFGS))
        must_be_canonical(check, F(GUEST_IA32_BNDCFGS));
}

static void check_trace_and_keys(struct entry_check *check)
{
    rule(check, VMXSIM_ENTRY_GUEST_RTIT_RSVD);
    if (loads(check, VMXC_ENTRY_LOAD_RTIT_CTL))
        must_lack(check, F(GUEST_IA32_RTIT_CTL),
                  reserved_in_rtit_ctl(check, value(check, F(GUEST_IA32_RTIT_CTL))));

    rule(check, VMXSIM_ENTRY_GUEST_PKRS_HI);
    if (loads(check, VMXC_ENTRY_LOAD_PKRS))
        must_lack(check, F(GUEST_IA32_PKRS), UPPER_HALF);

    rule(check, VMXSIM_ENTRY_GUEST_LBR_RSVD);
    if (loads(check, VMXC_ENTRY_LOAD_LBR_CTL))
        must_lack(check, F(GUEST_IA32_LBR_CTL), reserved_in_lbr_ctl(check));

    rule(check, VMXSIM_ENTRY_GUEST_UINV_HI);
    if (loads(check, VMXC_ENTRY_LOAD_UINV))
        must_lack(check, F(GUEST_UINV), VMXC_BITS(15, 8));
}

static void check_fred(struct entry_check *check)
{
    rule(check, VMXSIM_ENTRY_GUEST_FRED);
    if (!loads(check, VMXC_ENTRY_LOAD_FRED))
        return;
    must_lack(check, F(GUEST_FRED_CONFIG), VMXC_FRED_CONFIG_RESERVED);
    must_be_canonical(check, F(GUEST_FRED_CONFIG));
    for (uint16_t rsp = F(GUEST_FRED_RSP1); rsp <= F(GUEST_FRED_RSP3); rsp++) {
        must_lack(check, rsp, VMXC_FRED_RSP_ALIGNMENT);
        must_be_canonical(check, rsp);
    }
    for (uint16_t ssp = F(GUEST_FRED_SSP1); ssp <= F(GUEST_FRED_SSP3); ssp++) {
        must_lack(check, ssp, VMXC_FRED_SSP_ALIGNMENT);
        must_be_canonical(check, ssp);
    }
}

void check_guest_registers(struct entry_check *check)
{
    check_cr0(check);
    check_cr4(check);
    check_debugctl(check);
    check_mode(check);
    check_cr3_and_dr7(check);
    require_canonical(check, VMXSIM_ENTRY_GUEST_SYSENTER_ESP_CANON, F(GUEST_SYSENTER_ESP));
    require_canonical(check, VMXSIM_ENTRY_GUEST_SYSENTER_EIP_CANON, F(GUEST_SYSENTER_EIP));
    check_s_cet(check);
    check_perf_global_ctrl_and_pat(check);
    check_efer(check);
    check_bndcfgs(check);
    check_trace_and_keys(check);
    check_fred(check);

    rule(check, VMXSIM_ENTRY_GUEST_SPEC_CTRL);
    if (loads(check, VMXC_ENTRY_LOAD_SPEC_CTRL))
        must_lack(check, F(GUEST_IA32_SPEC_CTRL), reserved_in_spec_ctrl(check));
}
