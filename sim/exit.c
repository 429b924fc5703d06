/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A VM exit from its first step to its last.
 *
 *     exit-information fields
 *     guest state                    exit_save.c
 *     VM-exit MSR-store area         fails: VMX abort 1
 *     host state                     IA-32e mode before, 32-bit host: VMX abort 6
 *     host PDPTEs                    exit_load.c; fails: VMX abort 2
 *     VM-exit MSR-load area          fails: VMX abort 4
 *
 * Source: Intel SDM volume 3, "VM Exits", "VMX Aborts".
 */
#include "internal/exit.h"
#include "internal/msr_switch.h"
#include "internal/tlb.h"
#include "vmxcore/defs/controls.h"
#include "vmxcore/defs/ept.h"
#include "vmxcore/defs/exit_reason.h"
#include "vmxcore/defs/guest_state.h"

enum { MAX_INSTRUCTION_LENGTH = 15 };

const struct vmxsim_vmcs *vmxsim_exit_vmcs(const struct vmxsim_cpu *cpu)
{
    return &cpu->vmx.vmcs.fields;
}

const struct vmxsim_host_state *vmxsim_cpu_host_state(const struct vmxsim_cpu *cpu)
{
    return &cpu->host;
}

/* ---- Information ---- */

static uint64_t interruption_type(const struct vmxsim_outcome *outcome)
{
    return VMXC_FIELD_GET(outcome->interruption_info, VMXC_INTERRUPTION_TYPE);
}

/* Software events have the length of the instruction that caused them; so has whatever is met while one is delivered. */
static bool is_software_event(uint64_t type)
{
    return type >= VMXC_INTERRUPTION_TYPE_SOFTWARE_INTERRUPT &&
           type <= VMXC_INTERRUPTION_TYPE_SOFTWARE_EXCEPTION;
}

static bool delivers_software_event(const struct vmxsim_exit_context *context)
{
    return (context->idt_vectoring_info & VMXC_INTERRUPTION_VALID) &&
           is_software_event(VMXC_FIELD_GET(context->idt_vectoring_info, VMXC_INTERRUPTION_TYPE));
}

/* VM exits that an attempt to execute an instruction causes. */
static bool is_instruction_exit(const struct vmxsim_outcome *outcome)
{
    switch (outcome->exit_reason) {
    case VMXC_EXIT_REASON_EXCEPTION_OR_NMI:
        return is_software_event(interruption_type(outcome));
    case VMXC_EXIT_REASON_TASK_SWITCH:
        return VMXC_FIELD_GET(outcome->qualification, VMXC_QUALIFICATION_TASK_SOURCE) !=
               VMXC_TASK_SOURCE_IDT_GATE;
    case VMXC_EXIT_REASON_EXTERNAL_INTERRUPT:
    case VMXC_EXIT_REASON_TRIPLE_FAULT:
    case VMXC_EXIT_REASON_INIT_SIGNAL:
    case VMXC_EXIT_REASON_STARTUP_IPI:
    case VMXC_EXIT_REASON_INTERRUPT_WINDOW:
    case VMXC_EXIT_REASON_NMI_WINDOW:
    case VMXC_EXIT_REASON_MONITOR_TRAP_FLAG:
    case VMXC_EXIT_REASON_TPR_BELOW_THRESHOLD:
    case VMXC_EXIT_REASON_APIC_ACCESS:
    case VMXC_EXIT_REASON_VIRTUALIZED_EOI:
    case VMXC_EXIT_REASON_APIC_WRITE:
    case VMXC_EXIT_REASON_EPT_VIOLATION:
    case VMXC_EXIT_REASON_EPT_MISCONFIGURATION:
    case VMXC_EXIT_REASON_PREEMPTION_TIMER:
    case VMXC_EXIT_REASON_PAGE_MODIFICATION_LOG_FULL:
    case VMXC_EXIT_REASON_SPP_RELATED:
        return false;
    default:
        return true;
    }
}

static bool has_unblocking_qualification(uint16_t reason)
{
    return reason == VMXC_EXIT_REASON_EPT_VIOLATION ||
           reason == VMXC_EXIT_REASON_PAGE_MODIFICATION_LOG_FULL ||
           reason == VMXC_EXIT_REASON_SPP_RELATED;
}

/* NMI unblocking due to IRET is reported unless another event was being delivered, and not with #DF. */
static uint64_t unblocking_bit(const struct vmxsim_exit_context *context, uint64_t bit)
{
    const bool vectoring = context->idt_vectoring_info & VMXC_INTERRUPTION_VALID;

    return context->nmi_unblocking && !vectoring ? bit : 0;
}

static uint64_t interruption_info(const struct vmxsim_outcome *outcome,
                                  const struct vmxsim_exit_context *context)
{
    const bool exception = outcome->exit_reason == VMXC_EXIT_REASON_EXCEPTION_OR_NMI &&
                           interruption_type(outcome) != VMXC_INTERRUPTION_TYPE_NMI &&
                           outcome->vector != VMXC_VECTOR_DF;

    return outcome->interruption_info |
           (exception ? unblocking_bit(context, VMXC_INTERRUPTION_NMI_UNBLOCKING) : 0);
}

static uint64_t qualification(const struct vmxsim_outcome *outcome,
                              const struct vmxsim_exit_context *context)
{
    return outcome->qualification |
           (has_unblocking_qualification(outcome->exit_reason)
                ? unblocking_bit(context, VMXC_QUALIFICATION_NMI_UNBLOCKING)
                : 0);
}

/* Fields that are undefined after this VM exit become 0. */
static void record_information(struct vmxsim_cpu *cpu, const struct vmxsim_outcome *outcome,
                               const struct vmxsim_exit_context *context)
{
    struct vmxsim_vmcs *vmcs = &cpu->vmx.vmcs.fields;
    const bool has_length = is_instruction_exit(outcome) || delivers_software_event(context);
    const uint64_t natural = cpu->guest.mode_64bit ? UINT64_MAX : UINT32_MAX;

    VMXSIM_VMCS(vmcs, EXIT_REASON) = outcome->exit_reason;
    VMXSIM_VMCS(vmcs, EXIT_QUALIFICATION) = qualification(outcome, context);
    VMXSIM_VMCS(vmcs, GUEST_LINEAR_ADDRESS) = outcome->guest_linear & natural;
    VMXSIM_VMCS(vmcs, GUEST_PHYSICAL_ADDRESS) = outcome->guest_physical;
    VMXSIM_VMCS(vmcs, VM_EXIT_INTERRUPTION_INFO) = interruption_info(outcome, context);
    VMXSIM_VMCS(vmcs, VM_EXIT_INTERRUPTION_ERROR_CODE) = outcome->interruption_error_code;
    VMXSIM_VMCS(vmcs, IDT_VECTORING_INFO) = context->idt_vectoring_info;
    VMXSIM_VMCS(vmcs, IDT_VECTORING_ERROR_CODE) = context->idt_vectoring_error_code;
    VMXSIM_VMCS(vmcs, VM_EXIT_INSTRUCTION_LENGTH) = has_length ? context->instruction_length : 0;
    VMXSIM_VMCS(vmcs, VM_EXIT_INSTRUCTION_INFO) = outcome->instruction_info;
}

/* ---- The exit ---- */

static enum vmxc_status abort_with(struct vmxsim_cpu *cpu, enum vmxc_vmx_abort indicator,
                                   enum vmxc_vmx_abort *abort)
{
    if (cpu->vmx.current != VMXC_VMCS_POINTER_NONE)
        vmxsim_vmcs_region_set_abort(cpu->memory, cpu->vmx.current, indicator);
    cpu->vmx.aborted = true;
    *abort = indicator;
    return VMXC_OK;
}

enum vmxc_status vmxsim_exit_enter_root(struct vmxsim_cpu *cpu, enum vmxc_vmx_abort *abort)
{
    const bool host_64bit = VMXSIM_VMCS(&cpu->vmx.vmcs.fields, PRIMARY_VM_EXIT_CONTROLS) &
                            VMXC_EXIT_HOST_ADDRESS_SPACE_SIZE;
    const bool was_ia32e = cpu->in_guest && (cpu->guest.efer & VMXC_EFER_LMA);
    bool loaded;

    *abort = VMXC_VMX_ABORT_NONE;
    vmxsim_exit_load_host(cpu);
    cpu->vmx.mode = VMXSIM_VMX_ROOT;
    cpu->in_guest = false;
    vmxsim_tlb_transition(cpu);
    if (was_ia32e && !host_64bit)
        return abort_with(cpu, VMXC_VMX_ABORT_HOST_ADDRESS_SPACE, abort);
    if (!vmxsim_exit_load_host_pdptes(cpu))
        return abort_with(cpu, VMXC_VMX_ABORT_HOST_PDPTES, abort);
    VMXC_TRY(vmxsim_msr_switch_load_host(cpu));
    VMXC_TRY(vmxsim_msr_switch_load_exit_area(cpu, &loaded));
    return loaded ? VMXC_OK : abort_with(cpu, VMXC_VMX_ABORT_LOADING_MSRS, abort);
}

/* The model has no FRED and does not virtualize IA32_SPEC_CTRL. Busy shadow stacks are a matter of event delivery. */
static bool is_modelled(const struct vmxsim_vmcs *vmcs)
{
    const bool active =
        VMXSIM_VMCS(vmcs, PRIMARY_VM_EXIT_CONTROLS) & VMXC_EXIT_ACTIVATE_SECONDARY_CONTROLS;

    return !active || !(VMXSIM_VMCS(vmcs, SECONDARY_VM_EXIT_CONTROLS) &
                        ~VMXC_SECONDARY_EXIT_PREMATURELY_BUSY_SHADOW_STACK);
}

enum vmxc_status vmxsim_exit_perform(struct vmxsim_cpu *cpu, const struct vmxsim_outcome *outcome,
                                     const struct vmxsim_exit_context *context,
                                     enum vmxc_vmx_abort *abort)
{
    static const struct vmxsim_exit_context nothing;
    const struct vmxsim_exit_context *known = context ? context : &nothing;

    *abort = VMXC_VMX_ABORT_NONE;
    if (!is_modelled(&cpu->vmx.vmcs.fields))
        return VMXC_UNSUPPORTED;
    record_information(cpu, outcome, known);
    vmxsim_exit_save_guest(cpu, outcome, known->idt_vectoring_info & VMXC_INTERRUPTION_VALID);
    if (!vmxsim_msr_switch_store_exit_area(cpu))
        return abort_with(cpu, VMXC_VMX_ABORT_SAVING_MSRS, abort);
    return vmxsim_exit_enter_root(cpu, abort);
}

enum vmxc_status vmxsim_vm_exit(struct vmxsim_cpu *cpu, const struct vmxsim_outcome *outcome,
                                const struct vmxsim_exit_context *context,
                                enum vmxc_vmx_abort *abort)
{
    if (!cpu->in_guest || cpu->vmx.mode != VMXSIM_VMX_NON_ROOT || cpu->vmx.aborted)
        return VMXC_BAD_STATE;
    if (outcome->kind != VMXSIM_OUTCOME_VM_EXIT ||
        (context && context->instruction_length > MAX_INSTRUCTION_LENGTH))
        return VMXC_INVALID_INPUT;
    return vmxsim_exit_perform(cpu, outcome, context, abort);
}
