/* SPDX-License-Identifier: Apache-2.0 */
/*
 * MOV to CR0 and CR4, RDMSR and WRMSR outside VMX non-root operation. Which bits of CR4 exist follows from
 * IA32_VMX_CR4_FIXED1: it has every bit that the processor supports.
 * Source: Intel SDM volume 2, "MOV - Move to/from Control Registers", "RDMSR", "WRMSR"; volume 3, "Restrictions on VMX Operation".
 */
#include "internal/insn.h"

#define CR0_DEFINED                                                                      \
    (VMXC_CR0_PE | VMXC_CR0_MP | VMXC_CR0_EM | VMXC_CR0_TS | VMXC_CR0_NE | VMXC_CR0_WP | \
     VMXC_CR0_AM | VMXC_CR0_NW | VMXC_CR0_CD | VMXC_CR0_PG)
#define CR3_LOW VMXC_BITS(11, 0)

static enum vmxc_status begin(const struct vmxsim_cpu *cpu, struct vmxsim_insn_result *result)
{
    VMXC_TRY(vmxsim_insn_start(cpu, result));
    if (cpu->vmx.mode == VMXSIM_VMX_NON_ROOT)
        return VMXC_UNSUPPORTED;
    vmxsim_insn_require_cpl0(cpu, result);
    return VMXC_OK;
}

static bool in_vmx(const struct vmxsim_cpu *cpu)
{
    return cpu->vmx.mode != VMXSIM_VMX_OFF;
}

static bool in_ia32e(const struct vmxsim_cpu *cpu)
{
    return cpu->root.efer & VMXC_EFER_LMA;
}

/* ---- CR0 ---- */

/* Paging needs protected mode, goes on into IA-32e mode from 32-bit code with PAE, and off from 32-bit code without PCIDs. */
static bool paging_change_is_legal(const struct vmxsim_cpu *cpu, uint64_t cr0)
{
    const bool is_on = cpu->root.cr0 & VMXC_CR0_PG;
    const bool will_be_on = cr0 & VMXC_CR0_PG;
    const bool ia32e = cpu->root.efer & VMXC_EFER_LME;

    if (will_be_on && !(cr0 & VMXC_CR0_PE))
        return false;
    if (will_be_on && !is_on && ia32e)
        return (cpu->root.cr4 & VMXC_CR4_PAE) && !cpu->execution.code_64bit;
    if (!will_be_on && is_on)
        return !vmxsim_insn_mode(cpu).code_64bit && !(cpu->root.cr4 & VMXC_CR4_PCIDE);
    return true;
}

static enum vmxsim_insn_rule find_cr0_fault(const struct vmxsim_cpu *cpu, uint64_t cr0)
{
    if (cr0 >> 32)
        return VMXSIM_INSN_CR0_RESERVED;
    if (!paging_change_is_legal(cpu, cr0))
        return VMXSIM_INSN_CR0_PAGING;
    if ((cr0 & VMXC_CR0_NW) && !(cr0 & VMXC_CR0_CD))
        return VMXSIM_INSN_CR0_CACHING;
    if ((cpu->root.cr4 & VMXC_CR4_CET) && !(cr0 & VMXC_CR0_WP))
        return VMXSIM_INSN_CR0_CET;
    if (in_vmx(cpu) && !vmxsim_insn_is_fixed(cpu, cr0, VMXC_MSR_VMX_CR0_FIXED0))
        return VMXSIM_INSN_CR0_FIXED;
    return VMXSIM_INSN_NONE;
}

/* ET is always 1; other bits that have no meaning are not kept. */
static void write_cr0(struct vmxsim_cpu *cpu, uint64_t cr0)
{
    const bool ia32e = (cr0 & VMXC_CR0_PG) && (cpu->root.efer & VMXC_EFER_LME);

    cpu->root.cr0 = (cr0 & CR0_DEFINED) | VMXC_CR0_ET;
    cpu->root.efer = (cpu->root.efer & ~VMXC_EFER_LMA) | (ia32e ? VMXC_EFER_LMA : 0);
}

enum vmxc_status vmxsim_insn_mov_to_cr0(struct vmxsim_cpu *cpu, uint64_t value,
                                        struct vmxsim_insn_result *result)
{
    VMXC_TRY(begin(cpu, result));
    if (vmxsim_insn_is_decided(result))
        return VMXC_OK;
    const enum vmxsim_insn_rule fault = find_cr0_fault(cpu, value);
    if (fault != VMXSIM_INSN_NONE)
        return vmxsim_insn_protection(result, fault);
    write_cr0(cpu, value);
    return vmxsim_insn_complete(result);
}

/* ---- CR4 ---- */

static bool turns_on(const struct vmxsim_cpu *cpu, uint64_t cr4, uint64_t bit)
{
    return (cr4 & bit) && !(cpu->root.cr4 & bit);
}

static enum vmxsim_insn_rule find_cr4_fault(const struct vmxsim_cpu *cpu, uint64_t cr4)
{
    const uint64_t changed = cpu->root.cr4 ^ cr4;

    if (cr4 & ~vmxsim_cpu_capability(cpu, VMXC_MSR_VMX_CR4_FIXED1))
        return VMXSIM_INSN_CR4_RESERVED;
    if (in_ia32e(cpu) && (!(cr4 & VMXC_CR4_PAE) || (changed & VMXC_CR4_LA57)))
        return VMXSIM_INSN_CR4_IA32E;
    if (turns_on(cpu, cr4, VMXC_CR4_PCIDE) && (!in_ia32e(cpu) || (cpu->root_cr3 & CR3_LOW)))
        return VMXSIM_INSN_CR4_PCIDE;
    if ((cr4 & VMXC_CR4_CET) && !(cpu->root.cr0 & VMXC_CR0_WP))
        return VMXSIM_INSN_CR4_CET;
    if (in_vmx(cpu) && !vmxsim_insn_is_fixed(cpu, cr4, VMXC_MSR_VMX_CR4_FIXED0))
        return VMXSIM_INSN_CR4_FIXED;
    return VMXSIM_INSN_NONE;
}

enum vmxc_status vmxsim_insn_mov_to_cr4(struct vmxsim_cpu *cpu, uint64_t value,
                                        struct vmxsim_insn_result *result)
{
    VMXC_TRY(begin(cpu, result));
    if (vmxsim_insn_is_decided(result))
        return VMXC_OK;
    const enum vmxsim_insn_rule fault = find_cr4_fault(cpu, value);
    if (fault != VMXSIM_INSN_NONE)
        return vmxsim_insn_protection(result, fault);
    cpu->root.cr4 = value;
    return vmxsim_insn_complete(result);
}

/* ---- MSRs ---- */

enum vmxc_status vmxsim_insn_rdmsr(struct vmxsim_cpu *cpu, uint32_t msr,
                                   struct vmxsim_insn_result *result)
{
    VMXC_TRY(begin(cpu, result));
    if (vmxsim_insn_is_decided(result))
        return VMXC_OK;
    if (!vmxsim_cpu_read_msr(cpu, msr, &result->value))
        return vmxsim_insn_protection(result, VMXSIM_INSN_RDMSR_UNKNOWN);
    return vmxsim_insn_complete(result);
}

enum vmxc_status vmxsim_insn_wrmsr(struct vmxsim_cpu *cpu, uint32_t msr, uint64_t value,
                                   struct vmxsim_insn_result *result)
{
    VMXC_TRY(begin(cpu, result));
    if (vmxsim_insn_is_decided(result))
        return VMXC_OK;
    if (!vmxsim_cpu_accepts_msr(cpu, msr, value))
        return vmxsim_insn_protection(result, VMXSIM_INSN_WRMSR_VALUE);
    VMXC_TRY(vmxsim_cpu_write_msr(cpu, msr, value));
    return vmxsim_insn_complete(result);
}
