/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Source: Intel SDM volume 3, "Loading Guest Control Registers, Debug Registers, and MSRs", "Saving Control Registers,
 * Debug Registers, and MSRs", "Loading Host Control Registers, Debug Registers, MSRs", "Saving MSRs", "Loading
 * MSRs".
 */
#include "internal/msr_switch.h"

#include "internal/profile.h"
#include "vmxcore/defs/controls.h"
#include "vmxcore/defs/msr.h"

#define F(name) VMXC_VMCS_ORDINAL_##name
#define NONE    VMXC_VMCS_FIELD_COUNT /* no field: a VM exit clears the MSR */
#define ALWAYS  UINT64_MAX

/* An MSR with its fields, and the VM-entry, VM-exit and VM-exit controls that load the guest's, save it, load the host's value. */
static const struct switched_msr {
    uint32_t msr;
    uint16_t guest, host;
    uint64_t entry_load, exit_save, exit_load;
} switched[] = {
    {VMXC_MSR_SYSENTER_CS, F(GUEST_SYSENTER_CS), F(HOST_SYSENTER_CS), ALWAYS, ALWAYS, ALWAYS},
    {VMXC_MSR_SYSENTER_ESP, F(GUEST_SYSENTER_ESP), F(HOST_SYSENTER_ESP), ALWAYS, ALWAYS, ALWAYS},
    {VMXC_MSR_SYSENTER_EIP, F(GUEST_SYSENTER_EIP), F(HOST_SYSENTER_EIP), ALWAYS, ALWAYS, ALWAYS},
    {VMXC_MSR_FS_BASE, F(GUEST_FS_BASE), F(HOST_FS_BASE), ALWAYS, ALWAYS, ALWAYS},
    {VMXC_MSR_GS_BASE, F(GUEST_GS_BASE), F(HOST_GS_BASE), ALWAYS, ALWAYS, ALWAYS},
    {VMXC_MSR_DEBUGCTL, F(GUEST_IA32_DEBUGCTL), NONE, VMXC_ENTRY_LOAD_DEBUG_CONTROLS,
     VMXC_EXIT_SAVE_DEBUG_CONTROLS, ALWAYS},
    {VMXC_MSR_PERF_GLOBAL_CTRL, F(GUEST_IA32_PERF_GLOBAL_CTRL), F(HOST_IA32_PERF_GLOBAL_CTRL),
     VMXC_ENTRY_LOAD_PERF_GLOBAL_CTRL, VMXC_EXIT_SAVE_PERF_GLOBAL_CTRL,
     VMXC_EXIT_LOAD_PERF_GLOBAL_CTRL},
    {VMXC_MSR_PAT, F(GUEST_IA32_PAT), F(HOST_IA32_PAT), VMXC_ENTRY_LOAD_PAT, VMXC_EXIT_SAVE_PAT,
     VMXC_EXIT_LOAD_PAT},
    {VMXC_MSR_BNDCFGS, F(GUEST_IA32_BNDCFGS), NONE, VMXC_ENTRY_LOAD_BNDCFGS, ALWAYS,
     VMXC_EXIT_CLEAR_BNDCFGS},
    {VMXC_MSR_RTIT_CTL, F(GUEST_IA32_RTIT_CTL), NONE, VMXC_ENTRY_LOAD_RTIT_CTL, ALWAYS,
     VMXC_EXIT_CLEAR_RTIT_CTL},
    {VMXC_MSR_LBR_CTL, F(GUEST_IA32_LBR_CTL), NONE, VMXC_ENTRY_LOAD_LBR_CTL, ALWAYS,
     VMXC_EXIT_CLEAR_LBR_CTL},
    {VMXC_MSR_PKRS, F(GUEST_IA32_PKRS), F(HOST_IA32_PKRS), VMXC_ENTRY_LOAD_PKRS, ALWAYS,
     VMXC_EXIT_LOAD_PKRS},
    {VMXC_MSR_S_CET, F(GUEST_S_CET), F(HOST_S_CET), VMXC_ENTRY_LOAD_CET, ALWAYS,
     VMXC_EXIT_LOAD_CET},
    {VMXC_MSR_INTERRUPT_SSP_TABLE, F(GUEST_INTERRUPT_SSP_TABLE), F(HOST_INTERRUPT_SSP_TABLE),
     VMXC_ENTRY_LOAD_CET, ALWAYS, VMXC_EXIT_LOAD_CET},
};

enum { SWITCHED_COUNT = sizeof(switched) / sizeof(switched[0]), ENTRY_SIZE = 16 };

/* ---- Fields ---- */

static bool is_on(uint64_t controls, uint64_t mask)
{
    return mask == ALWAYS || (controls & mask);
}

enum vmxc_status vmxsim_msr_switch_load_guest(struct vmxsim_cpu *cpu)
{
    const struct vmxsim_vmcs *vmcs = &cpu->vmx.vmcs.fields;
    const uint64_t controls = VMXSIM_VMCS(vmcs, VM_ENTRY_CONTROLS);

    for (unsigned i = 0; i < SWITCHED_COUNT; i++) {
        const struct switched_msr *msr = &switched[i];
        if (is_on(controls, msr->entry_load))
            VMXC_TRY(vmxsim_cpu_write_msr(cpu, msr->msr, vmcs->value[msr->guest]));
    }
    return VMXC_OK;
}

enum vmxc_status vmxsim_msr_switch_load_host(struct vmxsim_cpu *cpu)
{
    const struct vmxsim_vmcs *vmcs = &cpu->vmx.vmcs.fields;
    const uint64_t controls = VMXSIM_VMCS(vmcs, PRIMARY_VM_EXIT_CONTROLS);

    for (unsigned i = 0; i < SWITCHED_COUNT; i++) {
        const struct switched_msr *msr = &switched[i];
        const uint64_t value = msr->host == NONE ? 0 : vmcs->value[msr->host];
        if (is_on(controls, msr->exit_load))
            VMXC_TRY(vmxsim_cpu_write_msr(cpu, msr->msr, value));
    }
    return VMXC_OK;
}

void vmxsim_msr_switch_save_guest(struct vmxsim_cpu *cpu)
{
    struct vmxsim_vmcs *vmcs = &cpu->vmx.vmcs.fields;
    const uint64_t controls = VMXSIM_VMCS(vmcs, PRIMARY_VM_EXIT_CONTROLS);
    uint64_t value;

    for (unsigned i = 0; i < SWITCHED_COUNT; i++) {
        const struct switched_msr *msr = &switched[i];
        if (is_on(controls, msr->exit_save) && cpu->profile->has_field[msr->guest] &&
            vmxsim_cpu_read_msr(cpu, msr->msr, &value))
            vmcs->value[msr->guest] = value;
    }
}

/* ---- Areas: index, a reserved doubleword, value ---- */

enum vmxc_status vmxsim_msr_switch_load_area(struct vmxsim_cpu *cpu, uint64_t hpa, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        const uint64_t entry_hpa = hpa + ENTRY_SIZE * i;
        VMXC_TRY(vmxsim_cpu_write_msr(cpu, vmxsim_memory_read32(cpu->memory, entry_hpa),
                                      vmxsim_memory_read64(cpu->memory, entry_hpa + 8)));
    }
    return VMXC_OK;
}

static bool is_x2apic(uint32_t msr)
{
    return msr >= VMXC_MSR_X2APIC_FIRST && msr <= VMXC_MSR_X2APIC_LAST;
}

bool vmxsim_msr_switch_store_exit_area(struct vmxsim_cpu *cpu)
{
    const struct vmxsim_vmcs *vmcs = &cpu->vmx.vmcs.fields;
    const uint64_t hpa = VMXSIM_VMCS(vmcs, VM_EXIT_MSR_STORE_ADDRESS);
    const uint64_t count = VMXSIM_VMCS(vmcs, VM_EXIT_MSR_STORE_COUNT);
    uint64_t value;

    for (uint64_t i = 0; i < count; i++) {
        const uint64_t head = vmxsim_memory_read64(cpu->memory, hpa + ENTRY_SIZE * i);
        if (head >> 32 || is_x2apic((uint32_t)head) || head == VMXC_MSR_SMBASE ||
            !vmxsim_cpu_read_msr(cpu, (uint32_t)head, &value))
            return false;
        vmxsim_memory_write64(cpu->memory, hpa + ENTRY_SIZE * i + 8, value);
    }
    return true;
}

static bool can_load(const struct vmxsim_cpu *cpu, uint64_t head, uint64_t value)
{
    const uint32_t msr = (uint32_t)head;

    return !(head >> 32) && !is_x2apic(msr) && msr != VMXC_MSR_FS_BASE && msr != VMXC_MSR_GS_BASE &&
           vmxsim_cpu_accepts_msr(cpu, msr, value);
}

enum vmxc_status vmxsim_msr_switch_load_exit_area(struct vmxsim_cpu *cpu, bool *loaded)
{
    const struct vmxsim_vmcs *vmcs = &cpu->vmx.vmcs.fields;
    const uint64_t hpa = VMXSIM_VMCS(vmcs, VM_EXIT_MSR_LOAD_ADDRESS);
    const uint64_t count = VMXSIM_VMCS(vmcs, VM_EXIT_MSR_LOAD_COUNT);

    *loaded = true;
    for (uint64_t i = 0; i < count && *loaded; i++) {
        const uint64_t entry_hpa = hpa + ENTRY_SIZE * i;
        *loaded = can_load(cpu, vmxsim_memory_read64(cpu->memory, entry_hpa),
                           vmxsim_memory_read64(cpu->memory, entry_hpa + 8));
        if (*loaded)
            VMXC_TRY(vmxsim_msr_switch_load_area(cpu, entry_hpa, 1));
    }
    return VMXC_OK;
}
