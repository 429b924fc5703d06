/* SPDX-License-Identifier: Apache-2.0 */
/* Rounding events and non-register state: the injected event decides, the rest of the state follows it. */
#include "internal/entry_round.h"

#define INFO_VECTOR     VMXC_BITS(7, 0)
#define INFO_TYPE       VMXC_BITS(10, 8)
#define INFO_ERROR_CODE VMXC_BIT(11)
#define INFO_VALID      VMXC_BIT(31)

enum { EXTERNAL = 0, RESERVED = 1, NMI = 2, HARDWARE = 3, OTHER = 7 };

static bool injects(const struct entry_round *round, uint64_t type)
{
    const uint64_t info = FIELD(round, VM_ENTRY_INTERRUPTION_INFO);

    return (info & INFO_VALID) && VMXC_FIELD_GET(info, INFO_TYPE) == type;
}

/* Exceptions that push an error code, up to #AC; #CP is left out by round_vector. */
static bool has_error_code(uint64_t vector)
{
    const uint32_t vectors = 1u << VMXC_VECTOR_DF | 1u << VMXC_VECTOR_TS | 1u << VMXC_VECTOR_NP |
                             1u << VMXC_VECTOR_SS | 1u << VMXC_VECTOR_GP | 1u << VMXC_VECTOR_PF |
                             1u << VMXC_VECTOR_AC;

    return vectors >> vector & 1;
}

static uint64_t round_vector(uint64_t type, uint64_t vector)
{
    switch (type) {
    case NMI:
        return VMXC_VECTOR_NMI;
    case HARDWARE:
        vector &= 31;
        return vector == VMXC_VECTOR_CP ? VMXC_VECTOR_GP : vector;
    case OTHER:
        return 0;
    default:
        return vector;
    }
}

static void round_injection(struct entry_round *round)
{
    uint64_t *const info = &FIELD(round, VM_ENTRY_INTERRUPTION_INFO);
    uint64_t *const length = &FIELD(round, VM_ENTRY_INSTRUCTION_LENGTH);
    const bool protected_mode = FIELD(round, GUEST_CR0) & VMXC_CR0_PE;
    const struct control_settings primary =
        vmxsim_round_settings(round->profile, VMXC_VMCS_ORDINAL_PRIMARY_PROCESSOR_BASED_CONTROLS);
    const bool any_code =
        vmxsim_round_msr(round->profile, VMXC_MSR_VMX_BASIC) & VMXC_VMX_BASIC_ANY_ERROR_CODE;
    uint64_t type = VMXC_FIELD_GET(*info, INFO_TYPE), code = *info & INFO_ERROR_CODE;

    if (type == RESERVED || (type == OTHER && !(primary.may_be_1 & VMXC_PRIMARY_MONITOR_TRAP_FLAG)))
        type = HARDWARE;
    const uint64_t vector = round_vector(type, *info & INFO_VECTOR);
    if (type != HARDWARE || !protected_mode)
        code = 0;
    else if (!any_code)
        code = has_error_code(vector) ? INFO_ERROR_CODE : 0;
    *info = (*info & INFO_VALID) | code | VMXC_FIELD_MAKE(type, INFO_TYPE) | vector;
    FIELD(round, VM_ENTRY_EXCEPTION_ERROR_CODE) &= 0xffff;
    if (*length < 1 || *length > 15)
        *length = 1 + *length % 15;
}

static void round_interruptibility(struct entry_round *round)
{
    const bool smm = round->processor->in_smm;
    const bool sgx = vmxsim_round_cpuid(round->profile, 7, 1) & VMXC_BIT(2);
    const bool fred_user = (FIELD(round, GUEST_CR4) & VMXC_CR4_FRED) &&
                           (FIELD(round, GUEST_SS_ACCESS_RIGHTS) & VMXC_SEGMENT_DPL);
    uint64_t *const blocking = &FIELD(round, GUEST_INTERRUPTIBILITY_STATE);
    uint64_t none = VMXC_INTERRUPTIBILITY_RESERVED;

    if (!(FIELD(round, GUEST_RFLAGS) & VMXC_RFLAGS_IF) || fred_user)
        none |= VMXC_INTERRUPTIBILITY_STI;
    if (injects(round, EXTERNAL) || injects(round, NMI))
        none |= VMXC_INTERRUPTIBILITY_STI | VMXC_INTERRUPTIBILITY_MOV_SS;
    if (injects(round, NMI) && (FIELD(round, PIN_BASED_CONTROLS) & VMXC_PIN_VIRTUAL_NMIS))
        none |= VMXC_INTERRUPTIBILITY_NMI;
    if (!smm)
        none |= VMXC_INTERRUPTIBILITY_SMI;
    *blocking &= ~none;
    if (*blocking & VMXC_INTERRUPTIBILITY_STI)
        *blocking &= ~VMXC_INTERRUPTIBILITY_MOV_SS;
    if (!sgx || (*blocking & VMXC_INTERRUPTIBILITY_MOV_SS))
        *blocking &= ~VMXC_INTERRUPTIBILITY_ENCLAVE;
    if (FIELD(round, VM_ENTRY_CONTROLS) & VMXC_ENTRY_ENTRY_TO_SMM)
        *blocking |= VMXC_INTERRUPTIBILITY_SMI;
}

static bool is_blocked(const struct entry_round *round)
{
    return FIELD(round, GUEST_INTERRUPTIBILITY_STATE) &
           (VMXC_INTERRUPTIBILITY_STI | VMXC_INTERRUPTIBILITY_MOV_SS);
}

/* An event may be injected in every state only if it is an NMI, or nothing at all. */
static void round_activity(struct entry_round *round)
{
    const uint64_t misc = vmxsim_round_msr(round->profile, VMXC_MSR_VMX_MISC);
    uint64_t *const activity = &FIELD(round, GUEST_ACTIVITY_STATE);
    const bool any = FIELD(round, VM_ENTRY_INTERRUPTION_INFO) & INFO_VALID;
    const bool user = FIELD(round, GUEST_SS_ACCESS_RIGHTS) & VMXC_SEGMENT_DPL;
    const bool to_smm = FIELD(round, VM_ENTRY_CONTROLS) & VMXC_ENTRY_ENTRY_TO_SMM;

    *activity &= 3;
    const bool offered = *activity == VMXC_ACTIVITY_ACTIVE || (misc >> (5 + *activity) & 1);
    if (!offered || is_blocked(round) || (any && !injects(round, NMI)) ||
        (*activity == VMXC_ACTIVITY_HLT && user) ||
        (*activity == VMXC_ACTIVITY_WAIT_FOR_SIPI && (any || to_smm)))
        *activity = VMXC_ACTIVITY_ACTIVE;
}

static void round_pending_debug(struct entry_round *round)
{
    const bool stepping = (FIELD(round, GUEST_RFLAGS) & VMXC_RFLAGS_TF) &&
                          !(FIELD(round, GUEST_IA32_DEBUGCTL) & VMXC_BIT(1));
    uint64_t *const pending = &FIELD(round, GUEST_PENDING_DEBUG_EXCEPTIONS);

    *pending &= VMXC_PENDING_DEBUG_BREAKPOINTS | VMXC_PENDING_DEBUG_ENABLED_BREAKPOINT |
                VMXC_PENDING_DEBUG_SINGLE_STEP;
    if (!is_blocked(round) && FIELD(round, GUEST_ACTIVITY_STATE) != VMXC_ACTIVITY_HLT)
        return;
    *pending &= ~VMXC_PENDING_DEBUG_SINGLE_STEP;
    if (stepping)
        *pending |= VMXC_PENDING_DEBUG_SINGLE_STEP;
}

void vmxsim_round_guest_events(struct entry_round *round)
{
    const bool fred_user = (FIELD(round, GUEST_CR4) & VMXC_CR4_FRED) &&
                           (FIELD(round, GUEST_SS_ACCESS_RIGHTS) & VMXC_SEGMENT_DPL);

    round_injection(round);
    if (injects(round, EXTERNAL))
        FIELD(round, GUEST_RFLAGS) |= VMXC_RFLAGS_IF;
    if (fred_user)
        FIELD(round, GUEST_RFLAGS) &= ~VMXC_BITS(13, 12); /* IOPL */
    round_interruptibility(round);
    round_activity(round);
    round_pending_debug(round);
    FIELD(round, VMCS_LINK_POINTER) = VMXC_VMCS_POINTER_NONE;
}
