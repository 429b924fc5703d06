/* SPDX-License-Identifier: Apache-2.0 */
/* Source: Intel SDM volume 3, "VM-Entry Control Fields" (checks on VMX controls). */
#include "internal/entry.h"
#include "vmxcore/defs/exit_reason.h"

#define INFO       F(VM_ENTRY_INTERRUPTION_INFO)
#define RTIT_CTL   UINT32_C(0x570)
#define RTIT_TRACE VMXC_BIT(0)
#define INFO_SPARE VMXC_BITS(30, 12)

/* ---- Event injection ---- */

static bool injects(struct entry_check *check)
{
    return value(check, INFO) & VMXC_INTERRUPTION_VALID;
}

static uint64_t type(struct entry_check *check)
{
    return VMXC_FIELD_GET(value(check, INFO), VMXC_INTERRUPTION_TYPE);
}

static uint64_t vector(struct entry_check *check)
{
    return VMXC_FIELD_GET(value(check, INFO), VMXC_INTERRUPTION_VECTOR);
}

static struct entry_fault with_field(struct entry_check *check, uint64_t mask, uint64_t to)
{
    return change_to(check, INFO, (value(check, INFO) & ~mask) | VMXC_FIELD_MAKE(to, mask));
}

/* A control may be 1 if its bit among the allowed 1-settings (upper half of the MSR) is 1. */
static bool may_be_1(const struct entry_check *check, uint32_t msr, uint32_t true_msr, uint64_t bit)
{
    const bool has_true = capability(check, VMXC_MSR_VMX_BASIC) & VMXC_VMX_BASIC_TRUE_CONTROLS;

    return (capability(check, has_true ? true_msr : msr) >> 32) & bit;
}

static bool supports_fred(const struct entry_check *check)
{
    return may_be_1(check, VMXC_MSR_VMX_ENTRY_CTLS, VMXC_MSR_VMX_TRUE_ENTRY_CTLS,
                    VMXC_ENTRY_LOAD_FRED);
}

static bool supports_monitor_trap(const struct entry_check *check)
{
    return may_be_1(check, VMXC_MSR_VMX_PROCBASED_CTLS, VMXC_MSR_VMX_TRUE_PROCBASED_CTLS,
                    VMXC_PRIMARY_MONITOR_TRAP_FLAG);
}

static void check_type(struct entry_check *check)
{
    rule(check, VMXSIM_ENTRY_CTL_INJ_TYPE);
    if (!injects(check))
        return;
    const bool reserved =
        type(check) == 1 || (type(check) == VMXC_INTERRUPTION_TYPE_OTHER &&
                             !supports_monitor_trap(check) && !supports_fred(check));
    if (reserved)
        violated(check, clear_bits(check, INFO, VMXC_INTERRUPTION_VALID));
}

static void check_vector(struct entry_check *check)
{
    rule(check, VMXSIM_ENTRY_CTL_INJ_VEC_NMI);
    if (injects(check) && type(check) == VMXC_INTERRUPTION_TYPE_NMI &&
        vector(check) != VMXC_VECTOR_NMI)
        violated(check, with_field(check, VMXC_INTERRUPTION_VECTOR, VMXC_VECTOR_NMI));

    rule(check, VMXSIM_ENTRY_CTL_INJ_VEC_HWEXC);
    if (injects(check) && type(check) == VMXC_INTERRUPTION_TYPE_HARDWARE_EXCEPTION &&
        vector(check) > 31)
        violated(check, with_field(check, VMXC_INTERRUPTION_VECTOR, vector(check) & 31));

    rule(check, VMXSIM_ENTRY_CTL_INJ_VEC_OTHER);
    if (injects(check) && type(check) == VMXC_INTERRUPTION_TYPE_OTHER &&
        vector(check) > (supports_fred(check) ? 2u : 0u))
        violated(check, with_field(check, VMXC_INTERRUPTION_VECTOR, 0));
}

/* Error codes are delivered in protected mode only; without unrestricted guest there is no other. */
static bool in_protected_mode(struct entry_check *check)
{
    return !(secondary(check) & VMXC_SECONDARY_UNRESTRICTED_GUEST) ||
           (value(check, F(GUEST_CR0)) & VMXC_CR0_PE);
}

static bool has_error_code(const struct entry_check *check, uint64_t exception)
{
    const uint64_t always = VMXC_BIT(VMXC_VECTOR_DF) | VMXC_BIT(VMXC_VECTOR_TS) |
                            VMXC_BIT(VMXC_VECTOR_NP) | VMXC_BIT(VMXC_VECTOR_SS) |
                            VMXC_BIT(VMXC_VECTOR_GP) | VMXC_BIT(VMXC_VECTOR_PF) |
                            VMXC_BIT(VMXC_VECTOR_AC);
    const bool cet = capability(check, VMXC_MSR_VMX_CR4_FIXED1) & VMXC_CR4_CET;

    return exception < 32 && ((always | (cet ? VMXC_BIT(VMXC_VECTOR_CP) : 0)) >> exception & 1);
}

static void check_error_code_bit(struct entry_check *check)
{
    const bool any = capability(check, VMXC_MSR_VMX_BASIC) & VMXC_VMX_BASIC_ANY_ERROR_CODE;

    rule(check, VMXSIM_ENTRY_CTL_INJ_EC_NONHW);
    if (injects(check) && (value(check, INFO) & VMXC_INTERRUPTION_ERROR_CODE) &&
        (type(check) != VMXC_INTERRUPTION_TYPE_HARDWARE_EXCEPTION || !in_protected_mode(check)))
        violated(check, clear_bits(check, INFO, VMXC_INTERRUPTION_ERROR_CODE));

    rule(check, VMXSIM_ENTRY_CTL_INJ_EC_VECTOR);
    if (any || !injects(check) || type(check) != VMXC_INTERRUPTION_TYPE_HARDWARE_EXCEPTION ||
        !in_protected_mode(check))
        return;
    const bool delivers = value(check, INFO) & VMXC_INTERRUPTION_ERROR_CODE;
    if (delivers != has_error_code(check, vector(check)))
        violated(check, with_field(check, VMXC_INTERRUPTION_ERROR_CODE, !delivers));
}

static void check_reserved(struct entry_check *check)
{
    const uint64_t reserved =
        supports_fred(check) ? INFO_SPARE & ~VMXC_INTERRUPTION_NESTED : INFO_SPARE;

    rule(check, VMXSIM_ENTRY_CTL_INJ_RSVD);
    if (injects(check) && (value(check, INFO) & reserved))
        violated(check, clear_bits(check, INFO, reserved));
}

static void check_error_code(struct entry_check *check)
{
    const uint16_t error_code = F(VM_ENTRY_EXCEPTION_ERROR_CODE);

    rule(check, VMXSIM_ENTRY_CTL_INJ_EC_HI);
    if (injects(check) && (value(check, INFO) & VMXC_INTERRUPTION_ERROR_CODE) &&
        (value(check, error_code) & VMXC_BITS(31, 16)))
        violated(check, clear_bits(check, error_code, VMXC_BITS(31, 16)));
}

static bool is_software_event(uint64_t event_type)
{
    return event_type == VMXC_INTERRUPTION_TYPE_SOFTWARE_INTERRUPT ||
           event_type == VMXC_INTERRUPTION_TYPE_PRIVILEGED_SOFTWARE_EXCEPTION ||
           event_type == VMXC_INTERRUPTION_TYPE_SOFTWARE_EXCEPTION;
}

static void check_instruction_length(struct entry_check *check)
{
    const bool zero_allowed =
        capability(check, VMXC_MSR_VMX_MISC) & VMXC_VMX_MISC_ZERO_LENGTH_INJECTION;

    rule(check, VMXSIM_ENTRY_CTL_INJ_ILEN);
    if (!injects(check) || !is_software_event(type(check)))
        return;
    const uint64_t length = value(check, F(VM_ENTRY_INSTRUCTION_LENGTH));
    if (length > 15)
        violated(check, change_to(check, F(VM_ENTRY_INSTRUCTION_LENGTH), 15));
    else if (length == 0 && !zero_allowed)
        violated(check, change_to(check, F(VM_ENTRY_INSTRUCTION_LENGTH), 1));
}

static void check_injection(struct entry_check *check)
{
    check_type(check);
    check_vector(check);
    check_error_code_bit(check);
    check_reserved(check);
    check_error_code(check);
    check_instruction_length(check);
}

/* ---- The rest ---- */

static void check_smm(struct entry_check *check)
{
    const uint64_t smm = VMXC_ENTRY_ENTRY_TO_SMM | VMXC_ENTRY_DEACTIVATE_DUAL_MONITOR;

    rule(check, VMXSIM_ENTRY_CTL_ENTRY_SMM_OUT);
    if (!check->input->processor->in_smm && (entry_controls(check) & smm))
        violated(check, clear_bits(check, F(VM_ENTRY_CONTROLS), smm));

    rule(check, VMXSIM_ENTRY_CTL_ENTRY_SMM_BOTH);
    if ((entry_controls(check) & smm) == smm)
        violated(check,
                 clear_bits(check, F(VM_ENTRY_CONTROLS), VMXC_ENTRY_DEACTIVATE_DUAL_MONITOR));
}

static void check_intel_pt(struct entry_check *check)
{
    rule(check, VMXSIM_ENTRY_CTL_ENTRY_PT);
    if ((capability(check, RTIT_CTL) & RTIT_TRACE) &&
        (entry_controls(check) & VMXC_ENTRY_LOAD_RTIT_CTL))
        violated(check, clear_bits(check, F(VM_ENTRY_CONTROLS), VMXC_ENTRY_LOAD_RTIT_CTL));
}

void check_entry_controls(struct entry_check *check)
{
    require_capable(check, VMXSIM_ENTRY_CTL_ENTRY_RSVD, F(VM_ENTRY_CONTROLS),
                    VMXC_MSR_VMX_ENTRY_CTLS, VMXC_MSR_VMX_TRUE_ENTRY_CTLS);
    check_injection(check);
    require_msr_list(check, VMXSIM_ENTRY_CTL_ENTRY_MSRLD_ADDR, VMXSIM_ENTRY_CTL_ENTRY_MSRLD_LAST,
                     F(VM_ENTRY_MSR_LOAD_ADDRESS), F(VM_ENTRY_MSR_LOAD_COUNT));
    check_smm(check);
    check_intel_pt(check);
}
