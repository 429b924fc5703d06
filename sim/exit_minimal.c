/* SPDX-License-Identifier: Apache-2.0 */
/*
 * As much of a VM exit as the instructions need: the VM exits of VMX instructions in a guest, and the end of a VM-entry
 * failure. Source: Intel SDM volume 3, "VM Exits".
 */
#include "internal/insn.h"
#include "internal/msr_switch.h"
#include "vmxcore/defs/controls.h"

/* VMX-abort indicators. */
enum { ABORT_SAVING_MSRS = 1, ABORT_LOADING_MSRS = 4 };

/* CR0 bits that a VM exit never changes: those that a VM entry does not change either. */
#define CR0_KEPT                                                                       \
    (VMXC_BIT(4) | VMXC_BITS(15, 6) | VMXC_BIT(17) | VMXC_BITS(28, 19) | VMXC_CR0_NW | \
     VMXC_CR0_CD | VMXC_BITS(63, 32))

static enum vmxc_status abort_with(struct vmxsim_cpu *cpu, uint32_t indicator)
{
    vmxsim_vmcs_region_set_abort(cpu->memory, cpu->vmx.current, indicator);
    cpu->vmx.aborted = true;
    return VMXC_OK;
}

static uint64_t host_efer(const struct vmxsim_cpu *cpu, const struct vmxsim_vmcs *vmcs)
{
    const uint64_t controls = VMXSIM_VMCS(vmcs, PRIMARY_VM_EXIT_CONTROLS);
    const uint64_t ia32e = VMXC_EFER_LMA | VMXC_EFER_LME;

    if (controls & VMXC_EXIT_LOAD_EFER)
        return VMXSIM_VMCS(vmcs, HOST_IA32_EFER);
    return (cpu->root.efer & ~ia32e) | ((controls & VMXC_EXIT_HOST_ADDRESS_SPACE_SIZE) ? ia32e : 0);
}

/* PAE is 1 in a 64-bit host, PCIDE is 0 in another. */
static uint64_t host_cr4(const struct vmxsim_vmcs *vmcs, bool host_64bit)
{
    const uint64_t cr4 = VMXSIM_VMCS(vmcs, HOST_CR4);

    return host_64bit ? cr4 | VMXC_CR4_PAE : cr4 & ~VMXC_CR4_PCIDE;
}

static void load_host_registers(struct vmxsim_cpu *cpu)
{
    const struct vmxsim_vmcs *vmcs = &cpu->vmx.vmcs.fields;
    const bool host_64bit =
        VMXSIM_VMCS(vmcs, PRIMARY_VM_EXIT_CONTROLS) & VMXC_EXIT_HOST_ADDRESS_SPACE_SIZE;

    cpu->root.cr0 = (VMXSIM_VMCS(vmcs, HOST_CR0) & ~CR0_KEPT) | (cpu->root.cr0 & CR0_KEPT);
    cpu->root.cr4 = host_cr4(vmcs, host_64bit);
    cpu->root.efer = host_efer(cpu, vmcs);
    cpu->root_cr3 = VMXSIM_VMCS(vmcs, HOST_CR3);
    cpu->execution = (struct vmxsim_execution_state){
        .rflags = VMXC_RFLAGS_1,
        .code_64bit = host_64bit,
    };
}

/* There is one CR0 and one EFER: what a VM exit does not change in them is the guest's. */
static void take_over_guest_registers(struct vmxsim_cpu *cpu)
{
    cpu->root.cr0 = cpu->guest.cr0;
    cpu->root.efer = cpu->guest.efer;
}

enum vmxc_status vmxsim_load_host_state(struct vmxsim_cpu *cpu)
{
    bool loaded;

    if (cpu->vmx.mode == VMXSIM_VMX_NON_ROOT)
        take_over_guest_registers(cpu);
    cpu->vmx.mode = VMXSIM_VMX_ROOT;
    cpu->in_guest = false;
    load_host_registers(cpu);
    VMXC_TRY(vmxsim_msr_switch_load_host(cpu));
    VMXC_TRY(vmxsim_msr_switch_load_exit_area(cpu, &loaded));
    return loaded ? VMXC_OK : abort_with(cpu, ABORT_LOADING_MSRS);
}

/* An instruction that causes a VM exit has not been resumed: RF is saved as 0. */
static void save_guest_registers(struct vmxsim_cpu *cpu)
{
    struct vmxsim_vmcs *vmcs = &cpu->vmx.vmcs.fields;
    const struct guest_state *guest = &cpu->guest;
    const uint64_t controls = VMXSIM_VMCS(vmcs, PRIMARY_VM_EXIT_CONTROLS);

    VMXSIM_VMCS(vmcs, GUEST_CR0) = guest->cr0;
    VMXSIM_VMCS(vmcs, GUEST_CR3) = guest->cr3;
    VMXSIM_VMCS(vmcs, GUEST_CR4) = guest->cr4;
    VMXSIM_VMCS(vmcs, GUEST_RFLAGS) = guest->rflags & ~VMXC_RFLAGS_RF;
    if (controls & VMXC_EXIT_SAVE_EFER)
        VMXSIM_VMCS(vmcs, GUEST_IA32_EFER) = guest->efer;
    if (cpu->exits.pml)
        VMXSIM_VMCS(vmcs, PML_INDEX) = cpu->exits.pml_index;
}

static void record_exit(struct vmxsim_vmcs *vmcs, uint16_t reason, uint64_t qualification,
                        uint32_t instruction_length)
{
    VMXSIM_VMCS(vmcs, EXIT_REASON) = reason;
    VMXSIM_VMCS(vmcs, EXIT_QUALIFICATION) = qualification;
    VMXSIM_VMCS(vmcs, VM_EXIT_INTERRUPTION_INFO) = 0;
    VMXSIM_VMCS(vmcs, IDT_VECTORING_INFO) = 0;
    VMXSIM_VMCS(vmcs, VM_EXIT_INSTRUCTION_LENGTH) = instruction_length;
    VMXSIM_VMCS(vmcs, VM_ENTRY_INTERRUPTION_INFO) &= ~VMXC_INTERRUPTION_VALID;
}

enum vmxc_status vmxsim_minimal_vm_exit(struct vmxsim_cpu *cpu, uint16_t reason,
                                        uint64_t qualification, uint32_t instruction_length)
{
    record_exit(&cpu->vmx.vmcs.fields, reason, qualification, instruction_length);
    save_guest_registers(cpu);
    vmxsim_msr_switch_save_guest(cpu);
    if (!vmxsim_msr_switch_store_exit_area(cpu))
        return abort_with(cpu, ABORT_SAVING_MSRS);
    return vmxsim_load_host_state(cpu);
}
