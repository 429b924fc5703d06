/* SPDX-License-Identifier: Apache-2.0 */
/* VMCALL and VMFUNC. Source also: Intel SDM volume 3, "VM Functions". */
#include "internal/insn.h"
#include "vmxcore/defs/controls.h"

enum { FUNCTION_COUNT = 64, FUNCTION_EPTP_SWITCHING = 0, EPTP_LIST_ENTRIES = 512 };

/* A guest calls from any mode and any privilege level; a host finds no SMM-transfer monitor. */
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
