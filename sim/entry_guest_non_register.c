/* SPDX-License-Identifier: Apache-2.0 */
/* Source: Intel SDM volume 3, "Checks on Guest Non-Register State". */
#include "internal/entry.h"
#include "vmxcore/defs/exit_reason.h"
#include "vmxcore/defs/guest_state.h"
#include "vmxcore/defs/segments.h"

#define ACTIVITY         F(GUEST_ACTIVITY_STATE)
#define INTERRUPTIBILITY F(GUEST_INTERRUPTIBILITY_STATE)
#define PENDING          F(GUEST_PENDING_DEBUG_EXCEPTIONS)
#define LINK             F(VMCS_LINK_POINTER)

#define BLOCKING_BY_INSTRUCTION (VMXC_INTERRUPTIBILITY_STI | VMXC_INTERRUPTIBILITY_MOV_SS)

/* Exit qualifications of an entry failure due to invalid guest state. */
enum { QUALIFICATION_NMI_STI = 3, QUALIFICATION_LINK = 4 };

/* ---- What the rules ask ---- */

static bool injects(struct entry_check *check)
{
    return value(check, F(VM_ENTRY_INTERRUPTION_INFO)) & VMXC_INTERRUPTION_VALID;
}

static bool injects_type(struct entry_check *check, enum vmxc_interruption_type type)
{
    return injects(check) && VMXC_FIELD_GET(value(check, F(VM_ENTRY_INTERRUPTION_INFO)),
                                            VMXC_INTERRUPTION_TYPE) == (uint64_t)type;
}

static bool injects_event(struct entry_check *check, enum vmxc_interruption_type type,
                          uint64_t vector)
{
    return injects_type(check, type) && VMXC_FIELD_GET(value(check, F(VM_ENTRY_INTERRUPTION_INFO)),
                                                       VMXC_INTERRUPTION_VECTOR) == vector;
}

static bool is_in(struct entry_check *check, enum vmxc_activity activity)
{
    return value(check, ACTIVITY) == (uint64_t)activity;
}

static bool blocks(struct entry_check *check, uint64_t bits)
{
    return value(check, INTERRUPTIBILITY) & bits;
}

static bool enters_smm(struct entry_check *check)
{
    return entry_controls(check) & VMXC_ENTRY_ENTRY_TO_SMM;
}

/* The active state goes with everything. */
static struct entry_fault make_active(struct entry_check *check)
{
    return replace_by(check, ACTIVITY, VMXC_ACTIVITY_ACTIVE);
}

/* ---- Activity state ---- */

static bool supports_activity(const struct entry_check *check, uint64_t activity)
{
    const uint64_t misc = capability(check, VMXC_MSR_VMX_MISC);

    switch (activity) {
    case VMXC_ACTIVITY_ACTIVE:
        return true;
    case VMXC_ACTIVITY_HLT:
        return misc & VMXC_VMX_MISC_ACTIVITY_HLT;
    case VMXC_ACTIVITY_SHUTDOWN:
        return misc & VMXC_VMX_MISC_ACTIVITY_SHUTDOWN;
    case VMXC_ACTIVITY_WAIT_FOR_SIPI:
        return misc & VMXC_VMX_MISC_ACTIVITY_WAIT_FOR_SIPI;
    default:
        return false;
    }
}

static void check_activity(struct entry_check *check)
{
    rule(check, VMXSIM_ENTRY_ACT_RANGE);
    if (!supports_activity(check, value(check, ACTIVITY)))
        violated(check, make_active(check));

    rule(check, VMXSIM_ENTRY_ACT_HLT_DPL);
    if (is_in(check, VMXC_ACTIVITY_HLT) &&
        (value(check, F(GUEST_SS_ACCESS_RIGHTS)) & VMXC_SEGMENT_DPL))
        violated(check, make_active(check));

    rule(check, VMXSIM_ENTRY_ACT_BLOCK);
    if (blocks(check, BLOCKING_BY_INSTRUCTION) && !is_in(check, VMXC_ACTIVITY_ACTIVE))
        violated(check, make_active(check));
}

static bool may_wake_from_hlt(struct entry_check *check)
{
    return injects_type(check, VMXC_INTERRUPTION_TYPE_EXTERNAL) ||
           injects_type(check, VMXC_INTERRUPTION_TYPE_NMI) ||
           injects_event(check, VMXC_INTERRUPTION_TYPE_HARDWARE_EXCEPTION, VMXC_VECTOR_DB) ||
           injects_event(check, VMXC_INTERRUPTION_TYPE_HARDWARE_EXCEPTION, VMXC_VECTOR_MC) ||
           injects_event(check, VMXC_INTERRUPTION_TYPE_OTHER, 0); /* pending MTF VM exit */
}

static bool may_wake_from_shutdown(struct entry_check *check)
{
    return injects_type(check, VMXC_INTERRUPTION_TYPE_NMI) ||
           injects_event(check, VMXC_INTERRUPTION_TYPE_HARDWARE_EXCEPTION, VMXC_VECTOR_MC);
}

static void check_injection_into_activity(struct entry_check *check)
{
    rule(check, VMXSIM_ENTRY_ACT_HLT_INJ);
    if (is_in(check, VMXC_ACTIVITY_HLT) && injects(check) && !may_wake_from_hlt(check))
        violated(check, make_active(check));

    rule(check, VMXSIM_ENTRY_ACT_SHUT_INJ);
    if (is_in(check, VMXC_ACTIVITY_SHUTDOWN) && injects(check) && !may_wake_from_shutdown(check))
        violated(check, make_active(check));

    rule(check, VMXSIM_ENTRY_ACT_SIPI_INJ);
    if (is_in(check, VMXC_ACTIVITY_WAIT_FOR_SIPI) && injects(check))
        violated(check, make_active(check));

    rule(check, VMXSIM_ENTRY_ACT_SMM);
    if (is_in(check, VMXC_ACTIVITY_WAIT_FOR_SIPI) && enters_smm(check))
        violated(check, make_active(check));
}

/* ---- Interruptibility state ---- */

static void check_blocking(struct entry_check *check)
{
    require_zero(check, VMXSIM_ENTRY_INTR_RSVD, INTERRUPTIBILITY, VMXC_INTERRUPTIBILITY_RESERVED);

    rule(check, VMXSIM_ENTRY_INTR_STI_MOVSS);
    if (blocks(check, VMXC_INTERRUPTIBILITY_MOV_SS))
        must_lack(check, INTERRUPTIBILITY, VMXC_INTERRUPTIBILITY_STI);

    rule(check, VMXSIM_ENTRY_INTR_STI_IF);
    if (!(value(check, F(GUEST_RFLAGS)) & VMXC_RFLAGS_IF))
        must_lack(check, INTERRUPTIBILITY, VMXC_INTERRUPTIBILITY_STI);
}

static void check_blocking_of_injected_event(struct entry_check *check)
{
    rule(check, VMXSIM_ENTRY_INTR_EXTINT);
    if (injects_type(check, VMXC_INTERRUPTION_TYPE_EXTERNAL))
        must_lack(check, INTERRUPTIBILITY, BLOCKING_BY_INSTRUCTION);

    rule(check, VMXSIM_ENTRY_INTR_NMI_MOVSS);
    if (injects_type(check, VMXC_INTERRUPTION_TYPE_NMI))
        must_lack(check, INTERRUPTIBILITY, VMXC_INTERRUPTIBILITY_MOV_SS);

    /* "A processor may require": some let such an NMI through, and the model requires it. */
    rule(check, VMXSIM_ENTRY_INTR_NMI_STI);
    if (injects_type(check, VMXC_INTERRUPTION_TYPE_NMI) && blocks(check, VMXC_INTERRUPTIBILITY_STI))
        violated_with(check, clear_bits(check, INTERRUPTIBILITY, VMXC_INTERRUPTIBILITY_STI),
                      QUALIFICATION_NMI_STI, true);
}

static void check_blocking_of_smi_and_nmi(struct entry_check *check)
{
    rule(check, VMXSIM_ENTRY_INTR_SMI);
    if (!check->input->processor->in_smm)
        must_lack(check, INTERRUPTIBILITY, VMXC_INTERRUPTIBILITY_SMI);

    rule(check, VMXSIM_ENTRY_INTR_SMI_ENTRY);
    if (enters_smm(check))
        must_have(check, INTERRUPTIBILITY, VMXC_INTERRUPTIBILITY_SMI);

    rule(check, VMXSIM_ENTRY_INTR_VNMI);
    if ((pin(check) & VMXC_PIN_VIRTUAL_NMIS) && injects_type(check, VMXC_INTERRUPTION_TYPE_NMI))
        must_lack(check, INTERRUPTIBILITY, VMXC_INTERRUPTIBILITY_NMI);

    rule(check, VMXSIM_ENTRY_INTR_ENCLAVE);
    if (blocks(check, VMXC_INTERRUPTIBILITY_MOV_SS) || !has_feature(check, CPUID_SGX))
        must_lack(check, INTERRUPTIBILITY, VMXC_INTERRUPTIBILITY_ENCLAVE);
}

/* ---- Pending debug exceptions ---- */

/* A trap of the last instruction is pending only where something held it back. */
static bool may_hold_single_step(struct entry_check *check)
{
    return blocks(check, BLOCKING_BY_INSTRUCTION) || is_in(check, VMXC_ACTIVITY_HLT);
}

/* The field of IA32_DEBUGCTL counts, whether the VM entry loads the register or not. */
static bool single_steps(struct entry_check *check)
{
    return (value(check, F(GUEST_RFLAGS)) & VMXC_RFLAGS_TF) &&
           !(value(check, F(GUEST_IA32_DEBUGCTL)) & VMXC_DEBUGCTL_BTF);
}

static void check_pending_debug(struct entry_check *check)
{
    const uint64_t bus_lock = has_feature(check, CPUID_BUS_LOCK) ? 0 : VMXC_PENDING_DEBUG_BUS_LOCK;

    require_zero(check, VMXSIM_ENTRY_PDBG_RSVD, PENDING, VMXC_PENDING_DEBUG_RESERVED | bus_lock);

    rule(check, VMXSIM_ENTRY_PDBG_BS_SET);
    if (may_hold_single_step(check) && single_steps(check))
        must_have(check, PENDING, VMXC_PENDING_DEBUG_SINGLE_STEP);

    rule(check, VMXSIM_ENTRY_PDBG_BS_CLEAR);
    if (may_hold_single_step(check) && !single_steps(check))
        must_lack(check, PENDING, VMXC_PENDING_DEBUG_SINGLE_STEP);
}

/* A debug exception in a transactional region comes alone, with "enabled breakpoint". */
static void check_pending_rtm(struct entry_check *check)
{
    const uint64_t rest = ~(VMXC_PENDING_DEBUG_RTM | VMXC_PENDING_DEBUG_ENABLED_BREAKPOINT);

    rule(check, VMXSIM_ENTRY_PDBG_RTM);
    if (!(value(check, PENDING) & VMXC_PENDING_DEBUG_RTM))
        return;
    const bool alone = !(value(check, PENDING) & rest) &&
                       (value(check, PENDING) & VMXC_PENDING_DEBUG_ENABLED_BREAKPOINT);
    if (!alone || !has_feature(check, CPUID_RTM) || blocks(check, VMXC_INTERRUPTIBILITY_MOV_SS))
        violated(check, clear_bits(check, PENDING, VMXC_PENDING_DEBUG_RTM));
}

/* ---- VMCS link pointer ---- */

static void link_violated(struct entry_check *check, struct entry_fault fault)
{
    violated_with(check, fault, QUALIFICATION_LINK, false);
}

/* A guest without a link pointer is always right. */
static struct entry_fault no_link(struct entry_check *check)
{
    return replace_by(check, LINK, VMXC_VMCS_POINTER_NONE);
}

static bool has_link(struct entry_check *check)
{
    return value(check, LINK) != VMXC_VMCS_POINTER_NONE;
}

/* True if there is a region at the address: the rules on its content may be evaluated. */
static bool check_link_address(struct entry_check *check)
{
    bool valid;

    rule(check, VMXSIM_ENTRY_LINK_ALIGN);
    if (has_link(check) && (value(check, LINK) & VMXC_BITS(11, 0)))
        link_violated(check, clear_bits(check, LINK, VMXC_BITS(11, 0)));
    valid = holds(check);

    rule(check, VMXSIM_ENTRY_LINK_WIDTH);
    if (has_link(check) && (value(check, LINK) & check->beyond_width))
        link_violated(check, clear_bits(check, LINK, check->beyond_width));
    return valid && holds(check) && has_link(check);
}

static void check_link_region(struct entry_check *check)
{
    rule(check, VMXSIM_ENTRY_LINK_REV);
    const uint64_t revision = capability(check, VMXC_MSR_VMX_BASIC) & VMXC_VMX_BASIC_REVISION;
    const uint32_t header = region_header(check, value(check, LINK));
    if ((header & VMXC_VMX_BASIC_REVISION) != revision)
        link_violated(check, no_link(check));

    rule(check, VMXSIM_ENTRY_LINK_SHADOW);
    const bool must_be_shadow = secondary(check) & VMXC_SECONDARY_VMCS_SHADOWING;
    const bool is_shadow = region_header(check, value(check, LINK)) & VMXC_VMCS_REGION_SHADOW;
    if (is_shadow != must_be_shadow)
        link_violated(check, no_link(check));
}

static void check_link_identity(struct entry_check *check)
{
    rule(check, VMXSIM_ENTRY_LINK_CURRENT);
    const struct vmxsim_entry_processor *processor = check->input->processor;
    const uint64_t other = !processor->in_smm || enters_smm(check)
                               ? processor->current_vmcs
                               : value(check, F(EXECUTIVE_VMCS_POINTER));
    if (value(check, LINK) == other)
        link_violated(check, no_link(check));
}

void check_guest_non_register(struct entry_check *check)
{
    check_activity(check);
    check_injection_into_activity(check);
    check_blocking(check);
    check_blocking_of_injected_event(check);
    check_blocking_of_smi_and_nmi(check);
    check_pending_debug(check);
    check_pending_rtm(check);
    if (check_link_address(check)) {
        check_link_region(check);
        check_link_identity(check);
    }
}
