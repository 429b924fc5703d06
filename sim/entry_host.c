/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Source: Intel SDM volume 3, "Checks on Host Control Registers, MSRs, and SSP", "Checks on Host Segment and
 * Descriptor-Table Registers", "Checks Related to Address-Space Size".
 */
#include "internal/entry.h"
#include "vmxcore/defs/segments.h"

#define EXIT_CONTROLS  F(PRIMARY_VM_EXIT_CONTROLS)
#define ENTRY_CONTROLS F(VM_ENTRY_CONTROLS)
#define UPPER_HALF     VMXC_BITS(63, 32)

/* After a VM exit the processor is in 64-bit mode, or else outside IA-32e mode. */
static bool host_is_64bit(struct entry_check *check)
{
    return exit_controls(check) & VMXC_EXIT_HOST_ADDRESS_SPACE_SIZE;
}

/* ---- Checks on Host Control Registers, MSRs, and SSP ---- */

static void check_control_registers(struct entry_check *check)
{
    /* VM exits do not change these two. */
    const uint64_t unchecked = VMXC_CR0_NW | VMXC_CR0_CD;

    require_allowed(check, VMXSIM_ENTRY_HOST_CR0_FIXED, F(HOST_CR0),
                    capability(check, VMXC_MSR_VMX_CR0_FIXED0) & ~unchecked,
                    capability(check, VMXC_MSR_VMX_CR0_FIXED1) | unchecked);
    require_allowed(check, VMXSIM_ENTRY_HOST_CR4_FIXED, F(HOST_CR4),
                    capability(check, VMXC_MSR_VMX_CR4_FIXED0),
                    capability(check, VMXC_MSR_VMX_CR4_FIXED1));

    rule(check, VMXSIM_ENTRY_HOST_CR4_CET_WP);
    if (value(check, F(HOST_CR4)) & VMXC_CR4_CET)
        must_have(check, F(HOST_CR0), VMXC_CR0_WP);

    const uint64_t lam = has_feature(check, CPUID_LAM) ? VMXC_CR3_LAM_U48 | VMXC_CR3_LAM_U57 : 0;
    require_zero(check, VMXSIM_ENTRY_HOST_CR3_WIDTH, F(HOST_CR3), beyond_physical(check) & ~lam);
}

static void check_msrs(struct entry_check *check)
{
    require_canonical(check, VMXSIM_ENTRY_HOST_SYSENTER_ESP_CANON, F(HOST_SYSENTER_ESP));
    require_canonical(check, VMXSIM_ENTRY_HOST_SYSENTER_EIP_CANON, F(HOST_SYSENTER_EIP));

    rule(check, VMXSIM_ENTRY_HOST_PGC_RSVD);
    if (exit_controls(check) & VMXC_EXIT_LOAD_PERF_GLOBAL_CTRL)
        must_lack(check, F(HOST_IA32_PERF_GLOBAL_CTRL), reserved_in_perf_global_ctrl(check));

    rule(check, VMXSIM_ENTRY_HOST_PAT_TYPE);
    if (exit_controls(check) & VMXC_EXIT_LOAD_PAT)
        must_equal(check, F(HOST_IA32_PAT), nearest_pat(value(check, F(HOST_IA32_PAT))));
}

static void check_efer(struct entry_check *check)
{
    const uint64_t both = VMXC_EFER_LMA | VMXC_EFER_LME;

    rule(check, VMXSIM_ENTRY_HOST_EFER_RSVD);
    if (exit_controls(check) & VMXC_EXIT_LOAD_EFER)
        must_lack(check, F(HOST_IA32_EFER), reserved_in_efer(check));

    rule(check, VMXSIM_ENTRY_HOST_EFER_LMA_LME);
    if (!(exit_controls(check) & VMXC_EXIT_LOAD_EFER))
        return;
    if (host_is_64bit(check))
        must_have(check, F(HOST_IA32_EFER), both);
    else
        must_lack(check, F(HOST_IA32_EFER), both);
}

/* An address that the host uses after the VM exit: as wide as the host's mode makes it. */
static void must_be_host_address(struct entry_check *check, uint16_t ordinal)
{
    if (host_is_64bit(check))
        must_be_canonical(check, ordinal);
    else
        must_lack(check, ordinal, UPPER_HALF);
}

static void check_s_cet(struct entry_check *check)
{
    const uint64_t both = VMXC_CET_SUPPRESS | VMXC_CET_TRACKER;

    rule(check, VMXSIM_ENTRY_HOST_S_CET_RSVD);
    if (exit_controls(check) & VMXC_EXIT_LOAD_CET) {
        must_lack(check, F(HOST_S_CET), reserved_in_cet(check));
        if ((value(check, F(HOST_S_CET)) & both) == both)
            violated(check, clear_bits(check, F(HOST_S_CET), VMXC_CET_SUPPRESS));
    }

    rule(check, VMXSIM_ENTRY_HOST_S_CET_CANON);
    if (exit_controls(check) & VMXC_EXIT_LOAD_CET)
        must_be_host_address(check, F(HOST_S_CET));
}

static void check_shadow_stack_pointers(struct entry_check *check)
{
    rule(check, VMXSIM_ENTRY_HOST_SSP_ALIGN);
    if (exit_controls(check) & VMXC_EXIT_LOAD_CET)
        must_lack(check, F(HOST_SSP), VMXC_SSP_ALIGNMENT);

    rule(check, VMXSIM_ENTRY_HOST_SSP_CANON);
    if (exit_controls(check) & VMXC_EXIT_LOAD_CET)
        must_be_host_address(check, F(HOST_SSP));

    rule(check, VMXSIM_ENTRY_HOST_ISST_CANON);
    if (exit_controls(check) & VMXC_EXIT_LOAD_CET)
        must_be_canonical(check, F(HOST_INTERRUPT_SSP_TABLE));
}

static void check_fred(struct entry_check *check)
{
    rule(check, VMXSIM_ENTRY_HOST_FRED);
    if (!(secondary_exit(check) & VMXC_SECONDARY_EXIT_LOAD_FRED))
        return;
    must_lack(check, F(HOST_FRED_CONFIG), VMXC_FRED_CONFIG_RESERVED);
    must_be_canonical(check, F(HOST_FRED_CONFIG));
    for (uint16_t rsp = F(HOST_FRED_RSP1); rsp <= F(HOST_FRED_RSP3); rsp++) {
        must_lack(check, rsp, VMXC_FRED_RSP_ALIGNMENT);
        must_be_canonical(check, rsp);
    }
    for (uint16_t ssp = F(HOST_FRED_SSP1); ssp <= F(HOST_FRED_SSP3); ssp++) {
        must_lack(check, ssp, VMXC_FRED_SSP_ALIGNMENT);
        must_be_canonical(check, ssp);
    }
}

void check_host_registers(struct entry_check *check)
{
    check_control_registers(check);
    check_msrs(check);
    check_efer(check);
    check_s_cet(check);
    check_shadow_stack_pointers(check);

    rule(check, VMXSIM_ENTRY_HOST_PKRS_HI);
    if (exit_controls(check) & VMXC_EXIT_LOAD_PKRS)
        must_lack(check, F(HOST_IA32_PKRS), UPPER_HALF);

    check_fred(check);

    rule(check, VMXSIM_ENTRY_HOST_SPEC_CTRL);
    if (secondary_exit(check) & VMXC_SECONDARY_EXIT_LOAD_SPEC_CTRL)
        must_lack(check, F(HOST_IA32_SPEC_CTRL), reserved_in_spec_ctrl(check));
}

/* ---- Checks on Host Segment and Descriptor-Table Registers ---- */

static void check_privilege_and_table(struct entry_check *check)
{
    const uint64_t rpl_and_ti = VMXC_SELECTOR_RPL | VMXC_SELECTOR_TI;

    require_zero(check, VMXSIM_ENTRY_HOST_SEL_CS_RPLTI, F(HOST_CS_SELECTOR), rpl_and_ti);
    require_zero(check, VMXSIM_ENTRY_HOST_SEL_SS_RPLTI, F(HOST_SS_SELECTOR), rpl_and_ti);
    require_zero(check, VMXSIM_ENTRY_HOST_SEL_DS_RPLTI, F(HOST_DS_SELECTOR), rpl_and_ti);
    require_zero(check, VMXSIM_ENTRY_HOST_SEL_ES_RPLTI, F(HOST_ES_SELECTOR), rpl_and_ti);
    require_zero(check, VMXSIM_ENTRY_HOST_SEL_FS_RPLTI, F(HOST_FS_SELECTOR), rpl_and_ti);
    require_zero(check, VMXSIM_ENTRY_HOST_SEL_GS_RPLTI, F(HOST_GS_SELECTOR), rpl_and_ti);
    require_zero(check, VMXSIM_ENTRY_HOST_SEL_TR_RPLTI, F(HOST_TR_SELECTOR), rpl_and_ti);
}

/* Any selector that is not null will do; the first one behind the null descriptor is the smallest. */
static void must_not_be_null(struct entry_check *check, uint16_t ordinal)
{
    const uint64_t first_selector = 8;

    if (value(check, ordinal) == 0)
        violated(check, replace_by(check, ordinal, first_selector));
}

static void check_null_selectors(struct entry_check *check)
{
    rule(check, VMXSIM_ENTRY_HOST_SEL_CS_NULL);
    must_not_be_null(check, F(HOST_CS_SELECTOR));

    rule(check, VMXSIM_ENTRY_HOST_SEL_TR_NULL);
    must_not_be_null(check, F(HOST_TR_SELECTOR));

    rule(check, VMXSIM_ENTRY_HOST_SEL_SS_NULL);
    if (!host_is_64bit(check))
        must_not_be_null(check, F(HOST_SS_SELECTOR));
}

void check_host_segments(struct entry_check *check)
{
    check_privilege_and_table(check);
    check_null_selectors(check);
    require_canonical(check, VMXSIM_ENTRY_HOST_BASE_FS_CANON, F(HOST_FS_BASE));
    require_canonical(check, VMXSIM_ENTRY_HOST_BASE_GS_CANON, F(HOST_GS_BASE));
    require_canonical(check, VMXSIM_ENTRY_HOST_BASE_TR_CANON, F(HOST_TR_BASE));
    require_canonical(check, VMXSIM_ENTRY_HOST_BASE_GDTR_CANON, F(HOST_GDTR_BASE));
    require_canonical(check, VMXSIM_ENTRY_HOST_BASE_IDTR_CANON, F(HOST_IDTR_BASE));
}

/* ---- Checks Related to Address-Space Size ---- */

static void check_current_mode(struct entry_check *check)
{
    const bool in_ia32e = check->input->processor->efer & VMXC_EFER_LMA;

    rule(check, VMXSIM_ENTRY_HOST_LMA0_HAS);
    if (!in_ia32e) {
        must_lack(check, EXIT_CONTROLS, VMXC_EXIT_HOST_ADDRESS_SPACE_SIZE);
        must_lack(check, ENTRY_CONTROLS, VMXC_ENTRY_IA32E_MODE_GUEST);
    }

    rule(check, VMXSIM_ENTRY_HOST_LMA1_HAS);
    if (in_ia32e)
        must_have(check, EXIT_CONTROLS, VMXC_EXIT_HOST_ADDRESS_SPACE_SIZE);
}

static void check_32bit_host(struct entry_check *check)
{
    rule(check, VMXSIM_ENTRY_HOST_HAS0_IA32E);
    if (!host_is_64bit(check))
        must_lack(check, ENTRY_CONTROLS, VMXC_ENTRY_IA32E_MODE_GUEST);

    rule(check, VMXSIM_ENTRY_HOST_HAS0_PCIDE);
    if (!host_is_64bit(check))
        must_lack(check, F(HOST_CR4), VMXC_CR4_PCIDE | VMXC_CR4_FRED);

    rule(check, VMXSIM_ENTRY_HOST_HAS0_RIP);
    if (!host_is_64bit(check))
        must_lack(check, F(HOST_RIP), UPPER_HALF);
}

static void check_64bit_host(struct entry_check *check)
{
    rule(check, VMXSIM_ENTRY_HOST_HAS1_PAE);
    if (host_is_64bit(check))
        must_have(check, F(HOST_CR4), VMXC_CR4_PAE);

    /* A VM exit may change CR4.LA57, so the width that counts is the one that the exit establishes. */
    rule(check, VMXSIM_ENTRY_HOST_HAS1_RIP);
    if (host_is_64bit(check)) {
        const unsigned int width = (value(check, F(HOST_CR4)) & VMXC_CR4_LA57) ? 57 : 48;
        must_equal(check, F(HOST_RIP), sign_extended(value(check, F(HOST_RIP)), width));
    }
}

void check_host_size(struct entry_check *check)
{
    check_current_mode(check);
    check_32bit_host(check);
    check_64bit_host(check);
}
