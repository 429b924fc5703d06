/* SPDX-License-Identifier: Apache-2.0 */
/* VMCALL and VMFUNC. Source also: Intel SDM volume 3, "VM Functions", "Activating the Dual-Monitor Treatment". */
#include "internal/entry.h"
#include "internal/insn.h"
#include "vmxcore/defs/controls.h"

enum { FUNCTION_COUNT = 64, FUNCTION_EPTP_SWITCHING = 0, EPTP_LIST_ENTRIES = 512 };

/*
 * ---- VMCALL ----
 *
 * A guest calls from any mode and any privilege level. A host calls an SMM-transfer monitor; if SMM code has registered one, the call
 * starts dual-monitor treatment. Up to there the model follows; the treatment itself takes SMM, which it does not have.
 */

/* Fields of the MSEG header. */
#define MSEG_REVISION         0u
#define MSEG_FEATURES         4u
#define MSEG_FEATURE_IA32E    VMXC_BIT(0)
#define MSEG_FEATURE_RESERVED VMXC_BITS(31, 1)

static uint64_t smm_monitor_ctl(const struct vmxsim_cpu *cpu)
{
    uint64_t value = 0;

    return vmxsim_cpu_read_msr(cpu, VMXC_MSR_SMM_MONITOR_CTL, &value) ? value : 0;
}

static bool has_smm_monitor(const struct vmxsim_cpu *cpu)
{
    return (vmxsim_cpu_capability(cpu, VMXC_MSR_VMX_BASIC) & VMXC_VMX_BASIC_DUAL_MONITOR) &&
           (smm_monitor_ctl(cpu) & VMXC_SMM_MONITOR_CTL_VALID);
}

/* Of the rules that VM entry has for VM-exit control fields, VMCALL asks these. */
static bool is_asked_by_vmcall(enum vmxsim_entry_rule rule)
{
    switch (rule) {
    case VMXSIM_ENTRY_CTL_EXIT_RSVD:
    case VMXSIM_ENTRY_CTL_EXIT2_RSVD:
    case VMXSIM_ENTRY_CTL_EXIT_MSRST_ADDR:
    case VMXSIM_ENTRY_CTL_EXIT_MSRST_LAST:
        return true;
    default:
        return false;
    }
}

static bool exit_controls_are_valid(const struct vmxsim_cpu *cpu)
{
    const struct vmxsim_entry_processor processor =
        vmxsim_entry_processor_default(cpu->vmx.current);
    const struct vmxsim_entry_input input = {
        .vmcs = &cpu->vmx.vmcs.fields,
        .profile = cpu->profile,
        .processor = &processor,
        .memory = cpu->memory,
    };
    struct vmxsim_entry_report report;

    vmxsim_entry_check(&input, &report);
    for (uint32_t i = 0; i < report.violation_count; i++) {
        if (is_asked_by_vmcall(report.violation[i].rule))
            return false;
    }
    return true;
}

static uint64_t mseg_hpa(const struct vmxsim_cpu *cpu)
{
    return smm_monitor_ctl(cpu) & VMXC_SMM_MONITOR_CTL_MSEG_BASE;
}

static bool is_mseg_revision_right(const struct vmxsim_cpu *cpu)
{
    return vmxsim_memory_read32(cpu->memory, mseg_hpa(cpu) + MSEG_REVISION) ==
           VMXC_FIELD_GET(vmxsim_cpu_capability(cpu, VMXC_MSR_VMX_MISC),
                          VMXC_VMX_MISC_MSEG_REVISION);
}

static bool has_intel64(const struct vmxsim_cpu *cpu)
{
    const struct vmxsim_entry_input input = {.profile = cpu->profile};
    const struct entry_check check = {.input = &input};

    return has_feature(&check, CPUID_INTEL64);
}

static bool are_monitor_features_right(const struct vmxsim_cpu *cpu)
{
    const uint32_t features = vmxsim_memory_read32(cpu->memory, mseg_hpa(cpu) + MSEG_FEATURES);
    const struct insn_mode mode = vmxsim_insn_mode(cpu);
    const bool in_64bit_mode = (mode.efer & VMXC_EFER_LMA) && mode.code_64bit;

    if (features & MSEG_FEATURE_IA32E)
        return !(features & MSEG_FEATURE_RESERVED) && has_intel64(cpu);
    return !(features & MSEG_FEATURE_RESERVED) && !in_64bit_mode;
}

/* Source: SDM, "Activating the Dual-Monitor Treatment". */
static enum vmxc_status start_dual_monitor(struct vmxsim_cpu *cpu,
                                           struct vmxsim_insn_result *result)
{
    if (cpu->vmx.current == VMXC_VMCS_POINTER_NONE)
        return vmxsim_insn_fail_invalid(cpu, result, VMXSIM_INSN_VMCALL_CURRENT);
    if (cpu->vmx.vmcs.launched)
        return vmxsim_insn_fail(cpu, result, VMXC_VM_ERROR_VMCALL_NOT_CLEAR,
                                VMXSIM_INSN_VMCALL_LAUNCHED);
    if (!exit_controls_are_valid(cpu))
        return vmxsim_insn_fail(cpu, result, VMXC_VM_ERROR_VMCALL_EXIT_CONTROLS,
                                VMXSIM_INSN_VMCALL_EXIT_CONTROLS);
    if (!is_mseg_revision_right(cpu))
        return vmxsim_insn_fail(cpu, result, VMXC_VM_ERROR_VMCALL_MSEG_REVISION,
                                VMXSIM_INSN_VMCALL_MSEG_REVISION);
    if (!are_monitor_features_right(cpu))
        return vmxsim_insn_fail(cpu, result, VMXC_VM_ERROR_VMCALL_MONITOR_FEATURES,
                                VMXSIM_INSN_VMCALL_MONITOR_FEATURES);
    return VMXC_UNSUPPORTED;
}

enum vmxc_status vmxsim_insn_vmcall(struct vmxsim_cpu *cpu, struct vmxsim_insn_result *result)
{
    VMXC_TRY(vmxsim_insn_start(cpu, result));
    if (cpu->vmx.mode == VMXSIM_VMX_NON_ROOT)
        return vmxsim_insn_exit(cpu, result, VMXC_EXIT_REASON_VMCALL, VMXSIM_INSN_NON_ROOT);
    vmxsim_insn_require_vmx(cpu, result);
    if (!vmxsim_insn_is_decided(result))
        vmxsim_insn_require_cpl0(cpu, result);
    if (vmxsim_insn_is_decided(result))
        return VMXC_OK;
    if (has_smm_monitor(cpu))
        return start_dual_monitor(cpu, result);
    return vmxsim_insn_fail(cpu, result, VMXC_VM_ERROR_VMCALL_IN_ROOT,
                            VMXSIM_INSN_VMCALL_NO_MONITOR);
}

/* ---- VMFUNC ---- */

static bool vm_functions_are_on(const struct vmxsim_cpu *cpu)
{
    const struct vmxsim_vmcs *vmcs = &cpu->vmx.vmcs.fields;

    return cpu->vmx.mode == VMXSIM_VMX_NON_ROOT &&
           (VMXSIM_VMCS(vmcs, PRIMARY_PROCESSOR_BASED_CONTROLS) &
            VMXC_PRIMARY_ACTIVATE_SECONDARY_CONTROLS) &&
           (VMXSIM_VMCS(vmcs, SECONDARY_PROCESSOR_BASED_CONTROLS) &
            VMXC_SECONDARY_ENABLE_VM_FUNCTIONS);
}

/* The EPTP index is there for virtualization exceptions: it exists where they do. */
static void switch_eptp(struct vmxsim_cpu *cpu, uint64_t eptp, uint32_t index)
{
    struct vmxsim_vmcs *vmcs = &cpu->vmx.vmcs.fields;

    VMXSIM_VMCS(vmcs, EPT_POINTER) = eptp;
    if (vmxsim_profile_has_field(cpu->profile, VMXC_VMCS_EPTP_INDEX))
        VMXSIM_VMCS(vmcs, EPTP_INDEX) = index;
    vmxsim_cpu_update_ept(cpu, vmcs);
}

enum vmxc_status vmxsim_insn_vmfunc(struct vmxsim_cpu *cpu, uint32_t eax, uint32_t ecx,
                                    struct vmxsim_insn_result *result)
{
    const struct vmxsim_vmcs *vmcs = &cpu->vmx.vmcs.fields;
    const uint16_t reason = VMXC_EXIT_REASON_VMFUNC;

    VMXC_TRY(vmxsim_insn_start(cpu, result));
    if (!vm_functions_are_on(cpu) || eax >= FUNCTION_COUNT)
        return vmxsim_insn_undefined(result, VMXSIM_INSN_VMFUNC_UD);
    if (!(VMXSIM_VMCS(vmcs, VM_FUNCTION_CONTROLS) >> eax & 1) || eax != FUNCTION_EPTP_SWITCHING)
        return vmxsim_insn_exit(cpu, result, reason, VMXSIM_INSN_VMFUNC_DISABLED);
    if (ecx >= EPTP_LIST_ENTRIES)
        return vmxsim_insn_exit(cpu, result, reason, VMXSIM_INSN_VMFUNC_INDEX);

    const uint64_t entry_hpa = VMXSIM_VMCS(vmcs, EPTP_LIST_ADDRESS) + UINT64_C(8) * ecx;
    const uint64_t eptp = vmxsim_memory_read64(cpu->memory, entry_hpa);
    if (!vmxsim_insn_is_eptp(cpu, eptp))
        return vmxsim_insn_exit(cpu, result, reason, VMXSIM_INSN_VMFUNC_EPTP);
    switch_eptp(cpu, eptp, ecx);
    return vmxsim_insn_complete(result);
}
