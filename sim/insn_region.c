/* SPDX-License-Identifier: Apache-2.0 */
/*
 * VMXON, VMXOFF and the instructions that change the current VMCS.
 *
 *                VMPTRLD                       VMCLEAR, VMPTRLD of another, VMXOFF
 *     region in memory  ---->  fields in the processor  ---->  region in memory
 */
#include "internal/insn.h"
#include "internal/region_watch.h"
#include "vmxcore/defs/controls.h"

#define NO_VMCS VMXC_VMCS_POINTER_NONE

static uint32_t revision(const struct vmxsim_cpu *cpu)
{
    return (uint32_t)(vmxsim_cpu_capability(cpu, VMXC_MSR_VMX_BASIC) & VMXC_VMX_BASIC_REVISION);
}

/* The region is in use by this processor until further notice. Errors: VMXC_NO_MEMORY. */
static enum vmxc_status use_region(struct vmxsim_cpu *cpu, uint64_t address,
                                   enum vmxsim_region_role role)
{
    const uint64_t size =
        VMXC_FIELD_GET(vmxsim_cpu_capability(cpu, VMXC_MSR_VMX_BASIC), VMXC_VMX_BASIC_REGION_SIZE);
    const bool is_size = size > 0 && size <= VMXC_PAGE_SIZE;

    return vmxsim_region_watch_add(
        cpu->memory, &(struct vmxsim_watched_region){.hpa = address,
                                                     .length = is_size ? size : VMXC_PAGE_SIZE,
                                                     .processor = cpu->number,
                                                     .role = role});
}

/* What the processor holds of the current VMCS goes back to memory; none is current then. */
static void release_current(struct vmxsim_cpu *cpu)
{
    if (cpu->vmx.current != NO_VMCS)
        vmxsim_vmcs_region_store(cpu->memory, cpu->vmx.current, &cpu->vmx.vmcs);
    cpu->vmx.current = NO_VMCS;
    cpu->vmx.vmcs.launched = false;
    cpu->vmx.current_is_shadow = false;
}

/* ---- VMXON, VMXOFF ---- */

/* The #GP conditions of VMXON outside VMX operation, besides privilege. */
static enum vmxsim_insn_rule find_vmxon_protection(const struct vmxsim_cpu *cpu)
{
    uint64_t control = 0;

    (void)vmxsim_cpu_read_msr(cpu, VMXC_MSR_FEATURE_CONTROL, &control);
    if (!vmxsim_insn_is_fixed(cpu, cpu->root.cr0, VMXC_MSR_VMX_CR0_FIXED0))
        return VMXSIM_INSN_VMXON_CR0;
    if (!vmxsim_insn_is_fixed(cpu, cpu->root.cr4, VMXC_MSR_VMX_CR4_FIXED0))
        return VMXSIM_INSN_VMXON_CR4;
    if (!(control & VMXC_FEATURE_CONTROL_LOCK))
        return VMXSIM_INSN_VMXON_UNLOCKED;
    if (!(control & VMXC_FEATURE_CONTROL_VMX_OUTSIDE_SMX))
        return VMXSIM_INSN_VMXON_DISABLED;
    return VMXSIM_INSN_NONE;
}

static enum vmxc_status enter_vmx(struct vmxsim_cpu *cpu, uint64_t address,
                                  struct vmxsim_insn_result *result)
{
    if (!vmxsim_insn_is_region_address(cpu, address))
        return vmxsim_insn_fail_invalid(cpu, result, VMXSIM_INSN_VMXON_ADDRESS);
    if (vmxsim_vmcs_region_header(cpu->memory, address) !=
        revision(cpu)) /* bit 31 must be 0, too */
        return vmxsim_insn_fail_invalid(cpu, result, VMXSIM_INSN_VMXON_REVISION);
    VMXC_TRY(use_region(cpu, address, VMXSIM_REGION_VMXON));
    cpu->vmx.mode = VMXSIM_VMX_ROOT;
    cpu->vmx.vmxon_pointer = address;
    cpu->vmx.current = NO_VMCS;
    return vmxsim_insn_succeed(cpu, result);
}

enum vmxc_status vmxsim_insn_vmxon(struct vmxsim_cpu *cpu, uint64_t address,
                                   struct vmxsim_insn_result *result)
{
    VMXC_TRY(vmxsim_insn_start(cpu, result));
    if (!vmxsim_insn_mode_has_vmx(cpu))
        return vmxsim_insn_undefined(result, VMXSIM_INSN_UD_MODE);
    if (!(vmxsim_insn_mode(cpu).cr4 & VMXC_CR4_VMXE))
        return vmxsim_insn_undefined(result, VMXSIM_INSN_VMXON_VMXE);
    if (cpu->vmx.mode == VMXSIM_VMX_NON_ROOT)
        return vmxsim_insn_exit(cpu, result, VMXC_EXIT_REASON_VMXON, VMXSIM_INSN_NON_ROOT);
    vmxsim_insn_require_cpl0(cpu, result);
    if (vmxsim_insn_is_decided(result))
        return VMXC_OK;
    if (cpu->vmx.mode == VMXSIM_VMX_ROOT)
        return vmxsim_insn_fail(cpu, result, VMXC_VM_ERROR_VMXON_IN_ROOT,
                                VMXSIM_INSN_VMXON_IN_ROOT);

    const enum vmxsim_insn_rule rule = find_vmxon_protection(cpu);
    if (rule != VMXSIM_INSN_NONE)
        return vmxsim_insn_protection(result, rule);
    return enter_vmx(cpu, address, result);
}

/* What becomes of a VMCS that is active when VMX operation ends is open; here it is as if it had been replaced. */
enum vmxc_status vmxsim_insn_vmxoff(struct vmxsim_cpu *cpu, struct vmxsim_insn_result *result)
{
    VMXC_TRY(vmxsim_insn_begin(cpu, VMXC_EXIT_REASON_VMXOFF, result));
    if (vmxsim_insn_is_decided(result))
        return VMXC_OK;
    release_current(cpu);
    vmxsim_region_watch_leave(cpu->memory, cpu->number);
    cpu->vmx.mode = VMXSIM_VMX_OFF;
    cpu->vmx.vmxon_pointer = NO_VMCS;
    return vmxsim_insn_succeed(cpu, result);
}

/* ---- VMCLEAR, VMPTRLD, VMPTRST ---- */

enum vmxc_status vmxsim_insn_vmclear(struct vmxsim_cpu *cpu, uint64_t address,
                                     struct vmxsim_insn_result *result)
{
    VMXC_TRY(vmxsim_insn_begin(cpu, VMXC_EXIT_REASON_VMCLEAR, result));
    if (vmxsim_insn_is_decided(result))
        return VMXC_OK;
    if (!vmxsim_insn_is_region_address(cpu, address))
        return vmxsim_insn_fail(cpu, result, VMXC_VM_ERROR_VMCLEAR_ADDRESS,
                                VMXSIM_INSN_VMCLEAR_ADDRESS);
    if (address == cpu->vmx.vmxon_pointer)
        return vmxsim_insn_fail(cpu, result, VMXC_VM_ERROR_VMCLEAR_VMXON_POINTER,
                                VMXSIM_INSN_VMCLEAR_VMXON);
    if (address == cpu->vmx.current)
        release_current(cpu);
    vmxsim_vmcs_region_clear(cpu->memory, address);
    vmxsim_region_watch_cleared(cpu->memory, cpu->number, address);
    return vmxsim_insn_succeed(cpu, result);
}

/* Which rule forbids a region with this first doubleword to be current. */
static enum vmxsim_insn_rule find_header_fault(const struct vmxsim_cpu *cpu, uint32_t header)
{
    const uint64_t secondary = vmxsim_cpu_capability(cpu, VMXC_MSR_VMX_PROCBASED_CTLS2);
    const bool shadowing = secondary >> 32 & VMXC_SECONDARY_VMCS_SHADOWING;

    if ((header & VMXC_VMX_BASIC_REVISION) != revision(cpu))
        return VMXSIM_INSN_VMPTRLD_REVISION;
    if ((header & VMXC_VMCS_REGION_SHADOW) && !shadowing)
        return VMXSIM_INSN_VMPTRLD_SHADOW;
    return VMXSIM_INSN_NONE;
}

static void make_current(struct vmxsim_cpu *cpu, uint64_t address, uint32_t header)
{
    if (address != cpu->vmx.current) {
        release_current(cpu);
        vmxsim_vmcs_region_load(cpu->memory, address, &cpu->vmx.vmcs);
        cpu->vmx.current = address;
    }
    cpu->vmx.current_is_shadow = header & VMXC_VMCS_REGION_SHADOW;
}

enum vmxc_status vmxsim_insn_vmptrld(struct vmxsim_cpu *cpu, uint64_t address,
                                     struct vmxsim_insn_result *result)
{
    VMXC_TRY(vmxsim_insn_begin(cpu, VMXC_EXIT_REASON_VMPTRLD, result));
    if (vmxsim_insn_is_decided(result))
        return VMXC_OK;
    if (!vmxsim_insn_is_region_address(cpu, address))
        return vmxsim_insn_fail(cpu, result, VMXC_VM_ERROR_VMPTRLD_ADDRESS,
                                VMXSIM_INSN_VMPTRLD_ADDRESS);
    if (address == cpu->vmx.vmxon_pointer)
        return vmxsim_insn_fail(cpu, result, VMXC_VM_ERROR_VMPTRLD_VMXON_POINTER,
                                VMXSIM_INSN_VMPTRLD_VMXON);

    const uint32_t header = vmxsim_vmcs_region_header(cpu->memory, address);
    const enum vmxsim_insn_rule rule = find_header_fault(cpu, header);
    if (rule != VMXSIM_INSN_NONE)
        return vmxsim_insn_fail(cpu, result, VMXC_VM_ERROR_VMPTRLD_REVISION, rule);
    VMXC_TRY(use_region(cpu, address, VMXSIM_REGION_VMCS));
    make_current(cpu, address, header);
    return vmxsim_insn_succeed(cpu, result);
}

enum vmxc_status vmxsim_insn_vmptrst(struct vmxsim_cpu *cpu, struct vmxsim_insn_result *result)
{
    VMXC_TRY(vmxsim_insn_begin(cpu, VMXC_EXIT_REASON_VMPTRST, result));
    if (vmxsim_insn_is_decided(result))
        return VMXC_OK;
    result->value = cpu->vmx.current;
    return vmxsim_insn_succeed(cpu, result);
}
