/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a VM exit saves of the guest. Registers that neither accesses nor decisions need often (segments, RIP, RSP ...) stay in
 * the guest-state area while the guest runs: saving them is a matter of bits that a VM exit never stores.
 *
 * Source: Intel SDM volume 3, "Saving Guest State", "Recording VM-Exit Information and Updating VM-entry Control Fields".
 */
#include "internal/exit.h"
#include "internal/msr_switch.h"
#include "vmxcore/defs/controls.h"
#include "vmxcore/defs/exit_reason.h"
#include "vmxcore/defs/guest_state.h"
#include "vmxcore/defs/msr.h"
#include "vmxcore/defs/segments.h"

/* ---- Registers that the processor holds elsewhere ---- */

static void write_back_pdptes(const struct vmxsim_cpu *cpu, struct vmxsim_vmcs *vmcs)
{
    if (!cpu->ept.enabled || cpu->guest.mode != PAGING_PAE)
        return;
    VMXSIM_VMCS(vmcs, GUEST_PDPTE0) = cpu->guest.pdpte[0];
    VMXSIM_VMCS(vmcs, GUEST_PDPTE1) = cpu->guest.pdpte[1];
    VMXSIM_VMCS(vmcs, GUEST_PDPTE2) = cpu->guest.pdpte[2];
    VMXSIM_VMCS(vmcs, GUEST_PDPTE3) = cpu->guest.pdpte[3];
}

void vmxsim_exit_write_back(const struct vmxsim_cpu *cpu, struct vmxsim_vmcs *vmcs)
{
    VMXSIM_VMCS(vmcs, GUEST_CR0) = cpu->guest.cr0;
    VMXSIM_VMCS(vmcs, GUEST_CR3) = cpu->guest.cr3;
    VMXSIM_VMCS(vmcs, GUEST_CR4) = cpu->guest.cr4;
    VMXSIM_VMCS(vmcs, GUEST_RFLAGS) = cpu->guest.rflags;
    if (cpu->exits.pml)
        VMXSIM_VMCS(vmcs, PML_INDEX) = cpu->exits.pml_index;
    write_back_pdptes(cpu, vmcs);
}

/* Registers with a VM-exit control of their own. */
static void save_by_control(const struct vmxsim_cpu *cpu, struct vmxsim_vmcs *vmcs)
{
    const uint64_t controls = VMXSIM_VMCS(vmcs, PRIMARY_VM_EXIT_CONTROLS);

    if (controls & VMXC_EXIT_SAVE_DEBUG_CONTROLS)
        VMXSIM_VMCS(vmcs, GUEST_DR7) = cpu->dr[7];
    if (controls & VMXC_EXIT_SAVE_EFER)
        VMXSIM_VMCS(vmcs, GUEST_IA32_EFER) = cpu->guest.efer;
    if (controls & VMXC_EXIT_SAVE_PREEMPTION_TIMER)
        VMXSIM_VMCS(vmcs, PREEMPTION_TIMER_VALUE) = cpu->preemption_timer;
}

/* ---- Segments ---- */

static uint64_t canonical(const struct vmxsim_cpu *cpu, uint64_t address)
{
    const unsigned width = vmxsim_profile_features(cpu->profile)->linear_width;
    const uint64_t upper = VMXC_BITS(63, width);

    return (address >> (width - 1) & 1) ? address | upper : address & ~upper;
}

/*
 * Of an unusable register base, limit and most rights are undefined: the model keeps what is there, except where the
 * manual promises zeros or a canonical base. Ordinals of the eight registers follow each other.
 */
static void normalise_segment(const struct vmxsim_cpu *cpu, struct vmxsim_vmcs *vmcs,
                              enum vmxsim_segment_register segment)
{
    uint64_t *const rights = &vmcs->value[VMXC_VMCS_ORDINAL_GUEST_ES_ACCESS_RIGHTS + segment];
    uint64_t *const base = &vmcs->value[VMXC_VMCS_ORDINAL_GUEST_ES_BASE + segment];

    *rights &= ~VMXC_SEGMENT_RESERVED;
    if (!(*rights & VMXC_SEGMENT_UNUSABLE))
        return;
    if (segment == VMXSIM_SS || segment == VMXSIM_DS || segment == VMXSIM_ES)
        *base &= VMXC_BITS(31, 0);
    else if (segment == VMXSIM_LDTR)
        *base = canonical(cpu, *base);
}

/* ---- RFLAGS.RF ---- */

/* Of a hardware exception: faults push RF = 1; #DB, #DF, #MC and traps push it as it is. */
static bool is_fault(uint8_t vector)
{
    switch (vector) {
    case VMXC_VECTOR_DB:
    case VMXC_VECTOR_BP:
    case VMXC_VECTOR_OF:
    case VMXC_VECTOR_DF:
    case VMXC_VECTOR_MC:
        return false;
    default:
        return true;
    }
}

static bool is_hardware_exception(uint32_t interruption_info)
{
    return VMXC_FIELD_GET(interruption_info, VMXC_INTERRUPTION_TYPE) ==
           VMXC_INTERRUPTION_TYPE_HARDWARE_EXCEPTION;
}

/* VM exits that are no attempt to execute an instruction keep RF, or set it. */
static uint64_t saved_rf(uint64_t rf, const struct vmxsim_outcome *outcome, bool during_delivery)
{
    switch (outcome->exit_reason) {
    case VMXC_EXIT_REASON_EXCEPTION_OR_NMI:
        return is_hardware_exception(outcome->interruption_info) && is_fault(outcome->vector)
                   ? VMXC_RFLAGS_RF
                   : rf;
    case VMXC_EXIT_REASON_APIC_ACCESS:
    case VMXC_EXIT_REASON_EPT_VIOLATION:
    case VMXC_EXIT_REASON_EPT_MISCONFIGURATION:
    case VMXC_EXIT_REASON_PAGE_MODIFICATION_LOG_FULL:
    case VMXC_EXIT_REASON_SPP_RELATED:
        return during_delivery ? rf : VMXC_RFLAGS_RF;
    case VMXC_EXIT_REASON_EXTERNAL_INTERRUPT:
    case VMXC_EXIT_REASON_TRIPLE_FAULT:
    case VMXC_EXIT_REASON_INIT_SIGNAL:
    case VMXC_EXIT_REASON_STARTUP_IPI:
    case VMXC_EXIT_REASON_INTERRUPT_WINDOW:
    case VMXC_EXIT_REASON_NMI_WINDOW:
    case VMXC_EXIT_REASON_TASK_SWITCH:
    case VMXC_EXIT_REASON_MONITOR_TRAP_FLAG:
    case VMXC_EXIT_REASON_TPR_BELOW_THRESHOLD:
    case VMXC_EXIT_REASON_VIRTUALIZED_EOI:
    case VMXC_EXIT_REASON_APIC_WRITE:
    case VMXC_EXIT_REASON_PREEMPTION_TIMER:
    case VMXC_EXIT_REASON_BUS_LOCK:
        return rf;
    default:
        return 0;
    }
}

/* ---- Non-register state ---- */

static bool keeps_pending_debug(const struct vmxsim_vmcs *vmcs,
                                const struct vmxsim_outcome *outcome)
{
    const bool exception = outcome->exit_reason == VMXC_EXIT_REASON_EXCEPTION_OR_NMI;

    switch (outcome->exit_reason) {
    case VMXC_EXIT_REASON_INIT_SIGNAL:
    case VMXC_EXIT_REASON_TPR_BELOW_THRESHOLD:
    case VMXC_EXIT_REASON_VIRTUALIZED_EOI:
    case VMXC_EXIT_REASON_APIC_WRITE:
    case VMXC_EXIT_REASON_MONITOR_TRAP_FLAG:
    case VMXC_EXIT_REASON_BUS_LOCK:
        return true;
    default:
        break;
    }
    if (exception && outcome->vector == VMXC_VECTOR_MC)
        return true;
    return (VMXSIM_VMCS(vmcs, GUEST_INTERRUPTIBILITY_STATE) & VMXC_INTERRUPTIBILITY_MOV_SS) &&
           !(exception && outcome->vector == VMXC_VECTOR_DB);
}

static void save_non_register(struct vmxsim_vmcs *vmcs, const struct vmxsim_outcome *outcome)
{
    VMXSIM_VMCS(vmcs, GUEST_INTERRUPTIBILITY_STATE) &=
        ~(VMXC_INTERRUPTIBILITY_SMI | VMXC_INTERRUPTIBILITY_RESERVED);
    if (keeps_pending_debug(vmcs, outcome))
        VMXSIM_VMCS(vmcs, GUEST_PENDING_DEBUG_EXCEPTIONS) &= ~VMXC_PENDING_DEBUG_RESERVED;
    else
        VMXSIM_VMCS(vmcs, GUEST_PENDING_DEBUG_EXCEPTIONS) = 0;
}

/* Source: SDM, "Recording VM-Exit Information and Updating VM-entry Control Fields". */
static void update_entry_controls(const struct vmxsim_cpu *cpu, struct vmxsim_vmcs *vmcs)
{
    VMXSIM_VMCS(vmcs, VM_ENTRY_INTERRUPTION_INFO) &= ~VMXC_INTERRUPTION_VALID;
    if (!(vmxsim_cpu_capability(cpu, VMXC_MSR_VMX_MISC) & VMXC_VMX_MISC_SAVES_LMA))
        return;
    if (cpu->guest.efer & VMXC_EFER_LMA)
        VMXSIM_VMCS(vmcs, VM_ENTRY_CONTROLS) |= VMXC_ENTRY_IA32E_MODE_GUEST;
    else
        VMXSIM_VMCS(vmcs, VM_ENTRY_CONTROLS) &= ~VMXC_ENTRY_IA32E_MODE_GUEST;
}

void vmxsim_exit_save_guest(struct vmxsim_cpu *cpu, const struct vmxsim_outcome *outcome,
                            bool during_delivery)
{
    struct vmxsim_vmcs *vmcs = &cpu->vmx.vmcs.fields;

    vmxsim_exit_write_back(cpu, vmcs);
    save_by_control(cpu, vmcs);
    VMXSIM_VMCS(vmcs, GUEST_RFLAGS) =
        (cpu->guest.rflags & ~VMXC_RFLAGS_RF) |
        saved_rf(cpu->guest.rflags & VMXC_RFLAGS_RF, outcome, during_delivery);
    for (int segment = VMXSIM_ES; segment < VMXSIM_SEGMENT_COUNT; segment++)
        normalise_segment(cpu, vmcs, (enum vmxsim_segment_register)segment);
    save_non_register(vmcs, outcome);
    vmxsim_msr_switch_save_guest(cpu);
    update_entry_controls(cpu, vmcs);
}
