/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Values that a guest's control registers can have. These faults come after VM exits: a value that is intercepted is for
 * the hypervisor to judge.
 *
 * Source: Intel SDM volume 2, "MOV - Move to/from Control Registers"; volume 3, "Restrictions on VMX Operation", "Changes to
 * Instruction Behavior in VMX Non-Root Operation".
 */
#include "internal/guest.h"
#include "internal/insn.h"
#include "vmxcore/defs/controls.h"
#include "vmxcore/defs/segments.h"

static bool in_ia32e(const struct guest_state *guest)
{
    return guest->efer & VMXC_EFER_LMA;
}

/* Paging needs protected mode; IA-32e mode is entered from 32-bit code with PAE, and left from such code without PCIDs. */
static bool paging_change_is_legal(const struct guest_state *guest, bool code_64bit, uint64_t cr0)
{
    const bool was_on = guest->cr0 & VMXC_CR0_PG;
    const bool will_be_on = cr0 & VMXC_CR0_PG;

    if (will_be_on && !(cr0 & VMXC_CR0_PE))
        return false;
    if (will_be_on && !was_on && (guest->efer & VMXC_EFER_LME))
        return (guest->cr4 & VMXC_CR4_PAE) && !code_64bit;
    if (!will_be_on && was_on)
        return !guest->mode_64bit && !(guest->cr4 & VMXC_CR4_PCIDE);
    return true;
}

/* PE and PG of an unrestricted guest are free. */
static bool cr0_is_fixed(const struct vmxsim_cpu *cpu, uint64_t cr0)
{
    const uint64_t free_bits =
        (cpu->exits.secondary & VMXC_SECONDARY_UNRESTRICTED_GUEST) ? VMXC_CR0_PE | VMXC_CR0_PG : 0;

    return vmxsim_insn_is_fixed(
        cpu, cr0 | (free_bits & vmxsim_cpu_capability(cpu, VMXC_MSR_VMX_CR0_FIXED0)),
        VMXC_MSR_VMX_CR0_FIXED0);
}

enum vmxsim_walk_rule vmxsim_guest_check_cr0(const struct vmxsim_cpu *cpu, uint64_t value)
{
    const bool code_64bit =
        VMXSIM_VMCS(&cpu->vmx.vmcs.fields, GUEST_CS_ACCESS_RIGHTS) & VMXC_SEGMENT_L;
    const bool legal = !(value >> 32) && paging_change_is_legal(&cpu->guest, code_64bit, value) &&
                       (!(value & VMXC_CR0_NW) || (value & VMXC_CR0_CD)) &&
                       ((value & VMXC_CR0_WP) || !(cpu->guest.cr4 & VMXC_CR4_CET)) &&
                       cr0_is_fixed(cpu, value);

    return legal ? VMXSIM_RULE_NONE : VMXSIM_RULE_CR_VALUE;
}

/* Outside IA-32e mode the register has 32 bits that matter, none of them reserved. Bit 63 is a command with PCIDs. */
enum vmxsim_walk_rule vmxsim_guest_check_cr3(const struct vmxsim_cpu *cpu, uint64_t value)
{
    const unsigned width = vmxsim_profile_features(cpu->profile)->maxphyaddr;
    const uint64_t command = (cpu->guest.cr4 & VMXC_CR4_PCIDE) ? VMXC_BIT(63) : 0;
    const uint64_t reserved =
        in_ia32e(&cpu->guest) ? VMXC_BITS(63, width) & ~command : VMXC_BITS(63, 32);

    return (value & reserved) ? VMXSIM_RULE_CR_VALUE : VMXSIM_RULE_NONE;
}

static bool turns_on(const struct guest_state *guest, uint64_t cr4, uint64_t bit)
{
    return (cr4 & bit) && !(guest->cr4 & bit);
}

enum vmxsim_walk_rule vmxsim_guest_check_cr4(const struct vmxsim_cpu *cpu, uint64_t value)
{
    const struct guest_state *guest = &cpu->guest;
    const bool ia32e = in_ia32e(guest);
    const bool illegal =
        !vmxsim_insn_is_fixed(cpu, value, VMXC_MSR_VMX_CR4_FIXED0) ||
        (ia32e && (!(value & VMXC_CR4_PAE) || ((value ^ guest->cr4) & VMXC_CR4_LA57))) ||
        (turns_on(guest, value, VMXC_CR4_PCIDE) && (!ia32e || (guest->cr3 & VMXC_BITS(11, 0)))) ||
        ((value & VMXC_CR4_CET) && !(guest->cr0 & VMXC_CR0_WP));

    return illegal ? VMXSIM_RULE_CR_VALUE : VMXSIM_RULE_NONE;
}
