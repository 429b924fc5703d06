/* SPDX-License-Identifier: Apache-2.0 */
/*
 * INVEPT and INVVPID. Bits 127:64 of an INVEPT descriptor are reserved, but no failure is defined for them.
 */
#include "internal/insn.h"
#include "internal/tlb.h"
#include "vmxcore/defs/controls.h"

enum { INVEPT_SINGLE_CONTEXT = 1 };
enum { INVVPID_ADDRESS = 0, INVVPID_ALL_CONTEXTS = 2, INVVPID_TYPES = 4 };

static bool has(const struct vmxsim_cpu *cpu, uint64_t bits)
{
    return (vmxsim_cpu_capability(cpu, VMXC_MSR_VMX_EPT_VPID_CAP) & bits) == bits;
}

/* In 64-bit mode the whole register counts. */
static uint64_t type_operand(const struct vmxsim_cpu *cpu, uint64_t type)
{
    return vmxsim_insn_mode(cpu).code_64bit ? type : type & UINT32_MAX;
}

/* An instruction comes with the secondary control whose translations it invalidates; without it, it is undefined. */
static bool has_instruction(const struct vmxsim_cpu *cpu, uint64_t control, uint64_t capability)
{
    const uint64_t settings = vmxsim_cpu_capability(cpu, VMXC_MSR_VMX_PROCBASED_CTLS2);

    return (VMXC_FIELD_GET(settings, VMXC_VMX_CTLS_ALLOWED1) & control) && has(cpu, capability);
}

/* ---- INVEPT ---- */

static bool has_invept_type(const struct vmxsim_cpu *cpu, uint64_t type)
{
    static const uint64_t types[] = {0, VMXC_EPT_VPID_CAP_INVEPT_SINGLE,
                                     VMXC_EPT_VPID_CAP_INVEPT_ALL};

    return type >= 1 && type < sizeof(types) / sizeof(types[0]) && has(cpu, types[type]);
}

bool vmxsim_insn_invept_is_valid(const struct vmxsim_cpu *cpu, uint64_t type,
                                 const uint64_t descriptor[2])
{
    return has_instruction(cpu, VMXC_SECONDARY_ENABLE_EPT, VMXC_EPT_VPID_CAP_INVEPT) &&
           has_invept_type(cpu, type) &&
           (type != INVEPT_SINGLE_CONTEXT || vmxsim_insn_is_eptp(cpu, descriptor[0]));
}

enum vmxc_status vmxsim_insn_invept(struct vmxsim_cpu *cpu, uint64_t type,
                                    const uint64_t descriptor[2], struct vmxsim_insn_result *result)
{
    const uint64_t invept_type = type_operand(cpu, type);

    VMXC_TRY(vmxsim_insn_start(cpu, result));
    if (!has_instruction(cpu, VMXC_SECONDARY_ENABLE_EPT, VMXC_EPT_VPID_CAP_INVEPT))
        return vmxsim_insn_undefined(result, VMXSIM_INSN_INVEPT_UNSUPPORTED);
    VMXC_TRY(vmxsim_insn_begin(cpu, VMXC_EXIT_REASON_INVEPT, result));
    if (vmxsim_insn_is_decided(result))
        return VMXC_OK;
    if (!has_invept_type(cpu, invept_type))
        return vmxsim_insn_fail(cpu, result, VMXC_VM_ERROR_INVALID_INVALIDATION,
                                VMXSIM_INSN_INVEPT_TYPE);
    if (invept_type == INVEPT_SINGLE_CONTEXT && !vmxsim_insn_is_eptp(cpu, descriptor[0]))
        return vmxsim_insn_fail(cpu, result, VMXC_VM_ERROR_INVALID_INVALIDATION,
                                VMXSIM_INSN_INVEPT_EPTP);
    vmxsim_tlb_invalidate_ept(
        cpu, invept_type == INVEPT_SINGLE_CONTEXT ? TLB_INVEPT_SINGLE : TLB_INVEPT_ALL,
        descriptor[0]);
    return vmxsim_insn_succeed(cpu, result);
}

/* ---- INVVPID ---- */

static bool has_invvpid_type(const struct vmxsim_cpu *cpu, uint64_t type)
{
    static const uint64_t types[] = {
        VMXC_EPT_VPID_CAP_INVVPID_ADDRESS, VMXC_EPT_VPID_CAP_INVVPID_SINGLE,
        VMXC_EPT_VPID_CAP_INVVPID_ALL, VMXC_EPT_VPID_CAP_INVVPID_SINGLE_GLOBALS};

    return type < sizeof(types) / sizeof(types[0]) && has(cpu, types[type]);
}

static bool is_canonical(const struct vmxsim_cpu *cpu, uint64_t address)
{
    const unsigned width = vmxsim_profile_features(cpu->profile)->linear_width;
    const uint64_t upper = address >> (width - 1);

    return upper == 0 || upper == UINT64_MAX >> (width - 1);
}

static enum vmxsim_insn_rule find_invvpid_fault(const struct vmxsim_cpu *cpu, uint64_t type,
                                                const uint64_t descriptor[2])
{
    if (!has_invvpid_type(cpu, type))
        return VMXSIM_INSN_INVVPID_TYPE;
    if (descriptor[0] >> 16)
        return VMXSIM_INSN_INVVPID_RESERVED;
    if (type != INVVPID_ALL_CONTEXTS && descriptor[0] == 0)
        return VMXSIM_INSN_INVVPID_ZERO;
    if (type == INVVPID_ADDRESS && !is_canonical(cpu, descriptor[1]))
        return VMXSIM_INSN_INVVPID_CANONICAL;
    return VMXSIM_INSN_NONE;
}

bool vmxsim_insn_invvpid_is_valid(const struct vmxsim_cpu *cpu, uint64_t type,
                                  const uint64_t descriptor[2])
{
    return has_instruction(cpu, VMXC_SECONDARY_ENABLE_VPID, VMXC_EPT_VPID_CAP_INVVPID) &&
           find_invvpid_fault(cpu, type, descriptor) == VMXSIM_INSN_NONE;
}

enum vmxc_status vmxsim_insn_invvpid(struct vmxsim_cpu *cpu, uint64_t type,
                                     const uint64_t descriptor[2],
                                     struct vmxsim_insn_result *result)
{
    static const enum tlb_rule rules[INVVPID_TYPES] = {TLB_INVVPID_ADDRESS, TLB_INVVPID_SINGLE,
                                                       TLB_INVVPID_ALL, TLB_INVVPID_GLOBALS};
    const enum vmxsim_insn_rule fault =
        find_invvpid_fault(cpu, type_operand(cpu, type), descriptor);

    VMXC_TRY(vmxsim_insn_start(cpu, result));
    if (!has_instruction(cpu, VMXC_SECONDARY_ENABLE_VPID, VMXC_EPT_VPID_CAP_INVVPID))
        return vmxsim_insn_undefined(result, VMXSIM_INSN_INVVPID_UNSUPPORTED);
    VMXC_TRY(vmxsim_insn_begin(cpu, VMXC_EXIT_REASON_INVVPID, result));
    if (vmxsim_insn_is_decided(result))
        return VMXC_OK;
    if (fault != VMXSIM_INSN_NONE)
        return vmxsim_insn_fail(cpu, result, VMXC_VM_ERROR_INVALID_INVALIDATION, fault);
    vmxsim_tlb_invalidate_vpid(cpu, rules[type_operand(cpu, type)], (uint16_t)descriptor[0],
                               descriptor[1]);
    return vmxsim_insn_succeed(cpu, result);
}
