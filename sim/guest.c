/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What guest actions have in common, and guest registers by VMCS field.
 * Source: Intel SDM volume 3, "Relative Priority of Faults and VM Exits", "Event Blocking".
 */
#include "internal/guest.h"

#include <string.h>

#include "internal/exit.h"
#include "vmxcore/defs/guest_state.h"
#include "vmxcore/defs/segments.h"

/* ---- Beginnings ---- */

enum vmxc_status vmxsim_guest_start(struct walk *walk, struct vmxsim_cpu *cpu,
                                    struct vmxsim_outcome *outcome)
{
    if (!cpu->in_guest || cpu->vmx.aborted)
        return VMXC_BAD_STATE;
    vmxsim_outcome_clear(outcome);
    *walk = (struct walk){.cpu = cpu, .outcome = outcome};
    return VMXC_OK;
}

enum vmxc_status vmxsim_guest_begin(struct walk *walk, struct vmxsim_cpu *cpu,
                                    struct vmxsim_outcome *outcome)
{
    VMXC_TRY(vmxsim_guest_start(walk, cpu, outcome));
    return VMXSIM_VMCS(guest_vmcs(cpu), GUEST_ACTIVITY_STATE) == VMXC_ACTIVITY_ACTIVE
               ? VMXC_OK
               : VMXC_BAD_STATE;
}

/* ---- Requirements ---- */

bool vmxsim_guest_require_cpl0(struct walk *walk)
{
    if (walk->cpu->guest.cpl > 0)
        (void)vmxsim_guest_fault(walk, VMXSIM_RULE_GP_PRIVILEGE, VMXC_VECTOR_GP);
    return walk->cpu->guest.cpl == 0;
}

bool vmxsim_guest_require(struct walk *walk, bool condition, enum vmxsim_walk_rule rule)
{
    if (!condition)
        (void)vmxsim_guest_fault(walk, rule, VMXC_VECTOR_UD);
    return condition;
}

/* ---- Ends ---- */

enum vmxc_status vmxsim_guest_complete(struct walk *walk)
{
    VMXSIM_VMCS(guest_vmcs(walk->cpu), GUEST_INTERRUPTIBILITY_STATE) &=
        ~(VMXC_INTERRUPTIBILITY_STI | VMXC_INTERRUPTIBILITY_MOV_SS);
    return VMXC_OK;
}

/* Error codes exist in protected mode only. */
enum vmxc_status vmxsim_guest_fault(struct walk *walk, enum vmxsim_walk_rule rule, uint8_t vector)
{
    const bool has_error_code = vector == VMXC_VECTOR_GP && (walk->cpu->guest.cr0 & VMXC_CR0_PE);

    (void)vmxsim_end_with_exception(walk, rule, vector, has_error_code, 0);
    return VMXC_OK;
}

enum vmxc_status vmxsim_guest_exit(struct walk *walk, enum vmxsim_walk_rule rule, uint16_t reason,
                                   uint64_t qualification)
{
    (void)vmxsim_end_with_exit(walk, rule, reason, qualification);
    return VMXC_OK;
}

enum vmxc_status vmxsim_guest_hold(struct walk *walk)
{
    walk->outcome->rule = VMXSIM_RULE_EVENT_BLOCKED;
    return VMXC_OK;
}

/* ---- Registers by field ---- */

/* Fields that stand for an MSR, whose value a VM entry moves to the MSR. */
static bool is_msr_field(size_t ordinal)
{
    switch (ordinal) {
    case VMXC_VMCS_ORDINAL_GUEST_IA32_DEBUGCTL:
    case VMXC_VMCS_ORDINAL_GUEST_IA32_PAT:
    case VMXC_VMCS_ORDINAL_GUEST_IA32_EFER:
    case VMXC_VMCS_ORDINAL_GUEST_IA32_PERF_GLOBAL_CTRL:
    case VMXC_VMCS_ORDINAL_GUEST_IA32_BNDCFGS:
    case VMXC_VMCS_ORDINAL_GUEST_IA32_RTIT_CTL:
    case VMXC_VMCS_ORDINAL_GUEST_IA32_LBR_CTL:
    case VMXC_VMCS_ORDINAL_GUEST_IA32_PKRS:
    case VMXC_VMCS_ORDINAL_GUEST_IA32_SPEC_CTRL:
    case VMXC_VMCS_ORDINAL_GUEST_FS_BASE:
    case VMXC_VMCS_ORDINAL_GUEST_GS_BASE:
    case VMXC_VMCS_ORDINAL_GUEST_SYSENTER_CS:
    case VMXC_VMCS_ORDINAL_GUEST_SYSENTER_ESP:
    case VMXC_VMCS_ORDINAL_GUEST_SYSENTER_EIP:
    case VMXC_VMCS_ORDINAL_GUEST_S_CET:
    case VMXC_VMCS_ORDINAL_GUEST_INTERRUPT_SSP_TABLE:
        return true;
    default:
        return false;
    }
}

static bool is_set_by_actions(size_t ordinal)
{
    switch (ordinal) {
    case VMXC_VMCS_ORDINAL_GUEST_CR0:
    case VMXC_VMCS_ORDINAL_GUEST_CR3:
    case VMXC_VMCS_ORDINAL_GUEST_CR4:
    case VMXC_VMCS_ORDINAL_GUEST_DR7:
    case VMXC_VMCS_ORDINAL_GUEST_PDPTE0:
    case VMXC_VMCS_ORDINAL_GUEST_PDPTE1:
    case VMXC_VMCS_ORDINAL_GUEST_PDPTE2:
    case VMXC_VMCS_ORDINAL_GUEST_PDPTE3:
    case VMXC_VMCS_ORDINAL_PML_INDEX:
    case VMXC_VMCS_ORDINAL_PREEMPTION_TIMER_VALUE:
        return true;
    default:
        return false;
    }
}

static enum vmxc_status find_field(const struct vmxsim_cpu *cpu, uint32_t encoding, size_t *ordinal)
{
    const size_t found = vmxsim_vmcs_ordinal(encoding);

    if (!cpu->in_guest)
        return VMXC_BAD_STATE;
    if (found == VMXC_VMCS_FIELD_COUNT ||
        VMXC_FIELD_GET((uint64_t)encoding, VMXC_VMCS_ENCODING_TYPE) != VMXC_VMCS_TYPE_GUEST)
        return VMXC_INVALID_INPUT;
    *ordinal = found;
    return is_msr_field(found) ? VMXC_UNSUPPORTED : VMXC_OK;
}

enum vmxc_status vmxsim_guest_get(struct vmxsim_cpu *cpu, uint32_t encoding, uint64_t *value)
{
    size_t ordinal;

    VMXC_TRY(find_field(cpu, encoding, &ordinal));
    if (ordinal == VMXC_VMCS_ORDINAL_GUEST_DR7) {
        *value = cpu->dr[7];
        return VMXC_OK;
    }
    if (ordinal == VMXC_VMCS_ORDINAL_PREEMPTION_TIMER_VALUE) {
        *value = cpu->preemption_timer;
        return VMXC_OK;
    }
    vmxsim_exit_write_back(cpu, guest_vmcs(cpu));
    *value = guest_vmcs(cpu)->value[ordinal];
    return VMXC_OK;
}

/* Copies that accesses and decisions use. */
static void update_copies(struct vmxsim_cpu *cpu)
{
    const struct vmxsim_vmcs *vmcs = guest_vmcs(cpu);
    struct guest_state *guest = &cpu->guest;

    guest->cpl =
        (uint8_t)VMXC_FIELD_GET(VMXSIM_VMCS(vmcs, GUEST_SS_ACCESS_RIGHTS), VMXC_SEGMENT_DPL);
    guest->mode_64bit = (guest->efer & VMXC_EFER_LMA) &&
                        (VMXSIM_VMCS(vmcs, GUEST_CS_ACCESS_RIGHTS) & VMXC_SEGMENT_L);
    guest->tr_base = VMXSIM_VMCS(vmcs, GUEST_TR_BASE);
    guest->tr_limit = (uint32_t)VMXSIM_VMCS(vmcs, GUEST_TR_LIMIT);
    guest->tr_access_rights = (uint32_t)VMXSIM_VMCS(vmcs, GUEST_TR_ACCESS_RIGHTS);
    vmxsim_tlb_state_changed(cpu);
}

enum vmxc_status vmxsim_guest_set(struct vmxsim_cpu *cpu, uint32_t encoding, uint64_t value)
{
    size_t ordinal;

    VMXC_TRY(find_field(cpu, encoding, &ordinal));
    if (is_set_by_actions(ordinal))
        return VMXC_UNSUPPORTED;
    if (value & ~vmxsim_vmcs_width_mask(encoding))
        return VMXC_INVALID_INPUT;
    guest_vmcs(cpu)->value[ordinal] = value;
    if (ordinal == VMXC_VMCS_ORDINAL_GUEST_RFLAGS)
        cpu->guest.rflags = value;
    update_copies(cpu);
    return VMXC_OK;
}
