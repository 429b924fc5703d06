/* SPDX-License-Identifier: Apache-2.0 */
/*
 * MSRs of the processor: the profile's values, and on top of them what was written since the reset. EFER lives with the
 * control registers, because guest and host have one each.
 */
#include "internal/cpu.h"
#include "internal/entry.h"

/* Commands: they can be written, not read. */
#define MSR_PRED_CMD  UINT32_C(0x49)
#define MSR_FLUSH_CMD UINT32_C(0x10b)

/* Source: SDM, "Processor State Following Power-up, Reset, or INIT". */
#define PAT_AT_RESET UINT64_C(0x0007040600070406)

static bool in_guest(const struct vmxsim_cpu *cpu)
{
    return cpu->vmx.mode == VMXSIM_VMX_NON_ROOT;
}

static uint32_t find_written(const struct msr_overlay *msrs, uint32_t msr)
{
    uint32_t place = 0;

    while (place < msrs->count && msrs->written[place].index != msr)
        place++;
    return place;
}

uint64_t vmxsim_cpu_capability(const struct vmxsim_cpu *cpu, uint32_t msr)
{
    uint64_t value = 0;

    return vmxsim_profile_msr(cpu->profile, msr, &value) == VMXC_OK ? value : 0;
}

/* An MSR that the profile does not list exists if WRMSR accepts 0; it is as it was at the reset. */
static bool read_unlisted(const struct vmxsim_cpu *cpu, uint32_t msr, uint64_t *value)
{
    *value = msr == VMXC_MSR_PAT ? PAT_AT_RESET : 0;
    return msr != MSR_PRED_CMD && msr != MSR_FLUSH_CMD && vmxsim_cpu_accepts_msr(cpu, msr, 0);
}

bool vmxsim_cpu_read_msr(const struct vmxsim_cpu *cpu, uint32_t msr, uint64_t *value)
{
    const uint32_t place = find_written(&cpu->msrs, msr);

    if (msr == VMXC_MSR_EFER)
        *value = in_guest(cpu) ? cpu->guest.efer : cpu->root.efer;
    else if (place < cpu->msrs.count)
        *value = cpu->msrs.written[place].value;
    else if (vmxsim_profile_msr(cpu->profile, msr, value) != VMXC_OK)
        return read_unlisted(cpu, msr, value);
    return true;
}

static bool feature_control_is_locked(const struct vmxsim_cpu *cpu)
{
    uint64_t value;

    return vmxsim_cpu_read_msr(cpu, VMXC_MSR_FEATURE_CONTROL, &value) &&
           (value & VMXC_FEATURE_CONTROL_LOCK);
}

/* The processor is never in SMM. */
static bool is_written_in_smm_only(uint32_t msr)
{
    return msr == VMXC_MSR_SMM_MONITOR_CTL || msr == VMXC_MSR_SMRR_PHYSBASE ||
           msr == VMXC_MSR_SMRR_PHYSMASK;
}

/* The rules on the VM-entry MSR-load list say what WRMSR accepts, given the guest state of a VMCS. */
bool vmxsim_cpu_accepts_msr(const struct vmxsim_cpu *cpu, uint32_t msr, uint64_t value)
{
    const uint64_t cr0 = in_guest(cpu) ? cpu->guest.cr0 : cpu->root.cr0;
    const uint64_t efer = in_guest(cpu) ? cpu->guest.efer : cpu->root.efer;
    struct vmxsim_vmcs state; /* the two fields that WRMSR depends on */
    const struct vmxsim_entry_input input = {.vmcs = &state, .profile = cpu->profile};
    struct entry_check check;

    if (is_written_in_smm_only(msr))
        return false;
    if (msr == VMXC_MSR_FEATURE_CONTROL && feature_control_is_locked(cpu))
        return false;
    VMXSIM_VMCS(&state, GUEST_CR0) = cr0;
    VMXSIM_VMCS(&state, VM_ENTRY_CONTROLS) =
        (efer & VMXC_EFER_LME) ? VMXC_ENTRY_IA32E_MODE_GUEST : 0;
    start_check(&check, &input, NULL);
    return wrmsr_succeeds(&check, msr, value);
}

/* LMA follows from LME and paging; what is written to it does not matter. */
static void write_efer(struct vmxsim_cpu *cpu, uint64_t value)
{
    uint64_t *efer = in_guest(cpu) ? &cpu->guest.efer : &cpu->root.efer;

    *efer = (value & ~VMXC_EFER_LMA) | (*efer & VMXC_EFER_LMA);
}

/* Copies that the walk uses. */
static void update_guest(struct vmxsim_cpu *cpu, uint32_t msr, uint64_t value)
{
    if (msr == VMXC_MSR_EFER)
        vmxsim_cpu_update_guest_paging(cpu);
    else if (msr == VMXC_MSR_PAT)
        cpu->guest.pat = value;
    else if (msr == VMXC_MSR_PKRS)
        cpu->guest.pkrs = (uint32_t)value;
    vmxsim_tlb_state_changed(cpu);
}

enum vmxc_status vmxsim_cpu_write_msr(struct vmxsim_cpu *cpu, uint32_t msr, uint64_t value)
{
    const uint32_t place = find_written(&cpu->msrs, msr);

    if (msr == VMXC_MSR_EFER) {
        write_efer(cpu, value);
    } else {
        if (place == MSR_OVERLAY_CAPACITY)
            return VMXC_NO_SPACE;
        if (place == cpu->msrs.count)
            cpu->msrs.count++;
        cpu->msrs.written[place].index = msr;
        cpu->msrs.written[place].value = value;
    }
    if (in_guest(cpu))
        update_guest(cpu, msr, value);
    return VMXC_OK;
}
