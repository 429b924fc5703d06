/* SPDX-License-Identifier: Apache-2.0 */
/*
 * VMLAUNCH and VMRESUME: the VM-entry checks decide, and this file does what follows from the outcome.
 *
 *     entered         guest state, MSRs, launch state
 *     VMfail          flags, VM-instruction error
 *     entry failure   exit reason with bit 31, qualification, host state; and nothing else
 *
 * Source: Intel SDM volume 3, "VM Entries", "VM-Entry Failures During or After Loading Guest State".
 */
#include "internal/exit.h"
#include "internal/insn.h"
#include "internal/msr_switch.h"
#include "vmxcore/defs/controls.h"

static struct vmxsim_entry_processor entry_processor(const struct vmxsim_cpu *cpu, bool vmresume)
{
    const struct insn_mode mode = vmxsim_insn_mode(cpu);

    return (struct vmxsim_entry_processor){
        .cr0 = mode.cr0,
        .cr4 = mode.cr4,
        .efer = mode.efer,
        .rflags = mode.rflags,
        .cpl = mode.cpl,
        .in_vmx = cpu->vmx.mode != VMXSIM_VMX_OFF,
        .in_non_root = cpu->vmx.mode == VMXSIM_VMX_NON_ROOT,
        .code_64bit = mode.code_64bit,
        .blocking_by_mov_ss = cpu->execution.blocking_by_mov_ss,
        .vmresume = vmresume,
        .launched = cpu->vmx.vmcs.launched,
        .current_is_shadow = cpu->vmx.current_is_shadow,
        .has_current = cpu->vmx.current != VMXC_VMCS_POINTER_NONE,
        .current_vmcs = cpu->vmx.current,
    };
}

/* ---- What follows from an outcome ---- */

/* `msr_count`: entries of the VM-entry MSR-load area that are loaded. */
static enum vmxc_status load_guest(struct vmxsim_cpu *cpu, uint64_t msr_count)
{
    const struct vmxsim_vmcs *vmcs = &cpu->vmx.vmcs.fields;

    vmxsim_cpu_load_guest_state(cpu, vmcs);
    cpu->vmx.mode = VMXSIM_VMX_NON_ROOT;
    VMXC_TRY(vmxsim_msr_switch_load_guest(cpu));
    return vmxsim_msr_switch_load_area(cpu, VMXSIM_VMCS(vmcs, VM_ENTRY_MSR_LOAD_ADDRESS),
                                       msr_count);
}

static enum vmxc_status complete_entry(struct vmxsim_cpu *cpu, struct vmxsim_insn_result *result)
{
    VMXC_TRY(load_guest(cpu, VMXSIM_VMCS(&cpu->vmx.vmcs.fields, VM_ENTRY_MSR_LOAD_COUNT)));
    cpu->vmx.vmcs.launched = true;
    result->kind = VMXSIM_INSN_ENTERED;
    return VMXC_OK;
}

/* MSR loading fails when guest state, and the entries before the one at fault, have been loaded. */
static enum vmxc_status fail_entry(struct vmxsim_cpu *cpu,
                                   const struct vmxsim_entry_outcome *outcome,
                                   struct vmxsim_insn_result *result)
{
    struct vmxsim_vmcs *vmcs = &cpu->vmx.vmcs.fields;
    enum vmxc_vmx_abort abort; /* noted in the processor's state */

    if (outcome->number == VMXC_EXIT_REASON_ENTRY_FAILURE_MSR_LOADING)
        VMXC_TRY(load_guest(cpu, outcome->qualification - 1));
    VMXSIM_VMCS(vmcs, EXIT_REASON) = VMXC_EXIT_REASON_ENTRY_FAILURE | outcome->number;
    VMXSIM_VMCS(vmcs, EXIT_QUALIFICATION) = outcome->qualification;
    VMXC_TRY(vmxsim_exit_enter_root(cpu, &abort));
    result->kind = VMXSIM_INSN_ENTRY_FAILURE;
    result->exit_reason = (uint16_t)outcome->number;
    result->qualification = outcome->qualification;
    return VMXC_OK;
}

static enum vmxc_status apply(struct vmxsim_cpu *cpu, const struct vmxsim_entry_outcome *outcome,
                              struct vmxsim_insn_result *result)
{
    switch (outcome->kind) {
    case VMXSIM_ENTRY_ENTERED:
        return complete_entry(cpu, result);
    case VMXSIM_ENTRY_EXCEPTION:
        return outcome->number == VMXC_VECTOR_UD
                   ? vmxsim_insn_undefined(result, VMXSIM_INSN_ENTRY)
                   : vmxsim_insn_protection(result, VMXSIM_INSN_ENTRY);
    case VMXSIM_ENTRY_VM_EXIT:
        return vmxsim_insn_exit(cpu, result, (uint16_t)outcome->number, VMXSIM_INSN_ENTRY);
    case VMXSIM_ENTRY_VMFAIL_INVALID:
        return vmxsim_insn_fail_invalid(cpu, result, VMXSIM_INSN_ENTRY);
    case VMXSIM_ENTRY_VMFAIL_VALID:
        return vmxsim_insn_fail(cpu, result, (enum vmxc_vm_error)outcome->number,
                                VMXSIM_INSN_ENTRY);
    case VMXSIM_ENTRY_FAILURE:
        break;
    }
    return fail_entry(cpu, outcome, result);
}

/* ---- The instructions ---- */

static const struct vmxsim_entry_outcome *choose(const struct vmxsim_entry_report *report,
                                                 const struct vmxsim_entry_outcome *preferred)
{
    for (uint32_t i = 0; preferred && i < report->outcome_count; i++) {
        const struct vmxsim_entry_outcome *outcome = &report->outcome[i];
        if (outcome->kind == preferred->kind && outcome->number == preferred->number &&
            outcome->qualification == preferred->qualification)
            return outcome;
    }
    return &report->outcome[0];
}

enum vmxc_status vmxsim_insn_enter(struct vmxsim_cpu *cpu, bool vmresume,
                                   const struct vmxsim_entry_outcome *preferred,
                                   struct vmxsim_entry_report *report,
                                   struct vmxsim_insn_result *result)
{
    const struct vmxsim_entry_processor processor = entry_processor(cpu, vmresume);
    const struct vmxsim_entry_input input = {
        .vmcs = &cpu->vmx.vmcs.fields,
        .profile = cpu->profile,
        .processor = &processor,
        .memory = cpu->memory,
    };

    VMXC_TRY(vmxsim_insn_start(cpu, result));
    vmxsim_entry_check(&input, report);
    if (report->violation_count > 0) {
        result->rule = VMXSIM_INSN_ENTRY;
        result->entry_rule = report->violation[0].rule;
    }
    return apply(cpu, choose(report, preferred), result);
}

static enum vmxc_status enter(struct vmxsim_cpu *cpu, bool vmresume,
                              struct vmxsim_entry_report *report, struct vmxsim_insn_result *result)
{
    struct vmxsim_entry_report own;

    return vmxsim_insn_enter(cpu, vmresume, NULL, report ? report : &own, result);
}

enum vmxc_status vmxsim_insn_vmlaunch(struct vmxsim_cpu *cpu, struct vmxsim_entry_report *report,
                                      struct vmxsim_insn_result *result)
{
    return enter(cpu, false, report, result);
}

enum vmxc_status vmxsim_insn_vmresume(struct vmxsim_cpu *cpu, struct vmxsim_entry_report *report,
                                      struct vmxsim_insn_result *result)
{
    return enter(cpu, true, report, result);
}
