/* SPDX-License-Identifier: Apache-2.0 */
#include "support/mock_ops.h"

#include <check.h>
#include <string.h>

#include "vmxcore/defs/msr.h"
#include "vmxsim/profile.h"
#include "vmxsim/vmcs.h"

static enum vmxc_insn_result answer(struct mock_ops *mock, enum mock_insn insn, uint64_t operand)
{
    mock->calls[insn]++;
    mock->operand[insn] = operand;
    return mock->result[insn];
}

static enum vmxc_insn_result mock_vmxon(void *context, vmxc_hpa_t region_hpa)
{
    return answer(context, MOCK_VMXON, region_hpa);
}

static enum vmxc_insn_result mock_vmxoff(void *context)
{
    return answer(context, MOCK_VMXOFF, 0);
}

static enum vmxc_insn_result mock_vmclear(void *context, vmxc_hpa_t region_hpa)
{
    return answer(context, MOCK_VMCLEAR, region_hpa);
}

static enum vmxc_insn_result mock_vmptrld(void *context, vmxc_hpa_t region_hpa)
{
    return answer(context, MOCK_VMPTRLD, region_hpa);
}

uint64_t *mock_field(struct mock_ops *mock, uint32_t encoding)
{
    const size_t ordinal = vmxsim_vmcs_ordinal(encoding);

    ck_assert_msg(ordinal < VMXC_VMCS_FIELD_COUNT, "no field 0x%x", encoding);
    return &mock->field[ordinal];
}

static enum vmxc_insn_result fail_valid(struct mock_ops *mock, enum vmxc_vm_error error)
{
    *mock_field(mock, VMXC_VMCS_VM_INSTRUCTION_ERROR) = error;
    return VMXC_INSN_FAIL_VALID;
}

static enum vmxc_insn_result mock_vmread(void *context, uint32_t field, uint64_t *value)
{
    struct mock_ops *const mock = context;

    if (field == mock->absent_field)
        return fail_valid(mock, VMXC_VM_ERROR_UNSUPPORTED_FIELD);
    *value = *mock_field(mock, field);
    return VMXC_INSN_SUCCEEDED;
}

static enum vmxc_insn_result mock_vmwrite(void *context, uint32_t field, uint64_t value)
{
    struct mock_ops *const mock = context;
    const enum vmxc_insn_result result = answer(mock, MOCK_VMWRITE, value);

    if (field == mock->absent_field)
        return fail_valid(mock, VMXC_VM_ERROR_UNSUPPORTED_FIELD);
    if (result != VMXC_INSN_SUCCEEDED)
        return result;
    *mock_field(mock, field) = value;
    mock->written[vmxsim_vmcs_ordinal(field)] = true;
    return VMXC_INSN_SUCCEEDED;
}

static enum vmxc_insn_result mock_invept(void *context, uint64_t type, uint64_t eptp)
{
    struct mock_ops *const mock = context;

    mock->invept_eptp = eptp;
    return answer(mock, MOCK_INVEPT, type);
}

/* ---- Registers ---- */

static uint32_t find_msr(const struct mock_ops *mock, uint32_t index)
{
    uint32_t place = 0;

    while (place < mock->msr_count && mock->msr[place].index != index)
        place++;
    return place;
}

uint64_t mock_msr(const struct mock_ops *mock, uint32_t index)
{
    const uint32_t place = find_msr(mock, index);

    ck_assert_msg(place < mock->msr_count, "no MSR 0x%x", index);
    return mock->msr[place].value;
}

void mock_set_msr(struct mock_ops *mock, uint32_t index, uint64_t value)
{
    const uint32_t place = find_msr(mock, index);

    ck_assert(place < MOCK_MSRS);
    if (place == mock->msr_count)
        mock->msr_count++;
    mock->msr[place].index = index;
    mock->msr[place].value = value;
}

void mock_remove_msr(struct mock_ops *mock, uint32_t index)
{
    const uint32_t place = find_msr(mock, index);

    ck_assert(place < mock->msr_count);
    mock->msr[place] = mock->msr[--mock->msr_count];
}

static enum vmxc_insn_result mock_rdmsr(void *context, uint32_t msr, uint64_t *value)
{
    const struct mock_ops *const mock = context;
    const uint32_t place = find_msr(mock, msr);

    if (place == mock->msr_count)
        return VMXC_INSN_EXCEPTION;
    *value = mock->msr[place].value;
    return VMXC_INSN_SUCCEEDED;
}

static enum vmxc_insn_result mock_wrmsr(void *context, uint32_t msr, uint64_t value)
{
    struct mock_ops *const mock = context;
    const enum vmxc_insn_result result = answer(mock, MOCK_WRMSR, value);

    if (result == VMXC_INSN_SUCCEEDED && !mock->wrmsr_ignored)
        mock_set_msr(mock, msr, value);
    return result;
}

static uint64_t mock_read_cr0(void *context)
{
    return ((const struct mock_ops *)context)->cr0;
}

static uint64_t mock_read_cr3(void *context)
{
    return ((const struct mock_ops *)context)->cr3;
}

static uint64_t mock_read_cr4(void *context)
{
    return ((const struct mock_ops *)context)->cr4;
}

static enum vmxc_insn_result mock_write_cr0(void *context, uint64_t value)
{
    struct mock_ops *const mock = context;
    const enum vmxc_insn_result result = answer(mock, MOCK_WRITE_CR0, value);

    if (result == VMXC_INSN_SUCCEEDED)
        mock->cr0 = value;
    return result;
}

static enum vmxc_insn_result mock_write_cr4(void *context, uint64_t value)
{
    struct mock_ops *const mock = context;
    const enum vmxc_insn_result result = answer(mock, MOCK_WRITE_CR4, value);

    if (result == VMXC_INSN_SUCCEEDED)
        mock->cr4 = value;
    return result;
}

static void mock_cpuid(void *context, uint32_t leaf, uint32_t subleaf, uint32_t registers[4])
{
    const struct mock_ops *const mock = context;

    (void)subleaf;
    memset(registers, 0, 4 * sizeof(registers[0]));
    if (leaf == 1)
        registers[2] = mock->cpuid_1_ecx;
    if (leaf == 0x80000008)
        registers[0] = mock->cpuid_widths;
}

static void mock_segments(void *context, struct vmxc_host_segments *segments)
{
    *segments = ((const struct mock_ops *)context)->segments;
}

/* ---- The processor ---- */

static void copy_capabilities(struct mock_ops *mock)
{
    const struct vmxsim_profile *const profile = vmxsim_profile_builtin("icelake");
    uint64_t value;

    for (uint32_t msr = VMXC_MSR_VMX_BASIC; msr <= VMXC_MSR_VMX_EXIT_CTLS2; msr++) {
        if (vmxsim_profile_msr(profile, msr, &value) == VMXC_OK)
            mock_set_msr(mock, msr, value);
    }
}

void mock_ops_init(struct mock_ops *mock)
{
    static const uint32_t zero_msrs[] = {
        VMXC_MSR_FEATURE_CONTROL, VMXC_MSR_FS_BASE,      VMXC_MSR_GS_BASE,
        VMXC_MSR_SYSENTER_CS,     VMXC_MSR_SYSENTER_ESP, VMXC_MSR_SYSENTER_EIP,
    };

    *mock = (struct mock_ops){
        .cr0 = 0x80010031,
        .cr3 = 0x7000,
        .cr4 = 0x20,
        .cpuid_1_ecx = 1u << 5,
        .absent_field = MOCK_NO_FIELD,
        .cpuid_widths = 48u << 8 | 40,
        .segments = {.es = 0x10, .cs = 0x8, .ss = 0x10, .ds = 0x10, .tr = 0x18},
        .ops = {.context = mock,
                .vmxon = mock_vmxon,
                .vmxoff = mock_vmxoff,
                .vmclear = mock_vmclear,
                .vmptrld = mock_vmptrld,
                .vmread = mock_vmread,
                .vmwrite = mock_vmwrite,
                .invept = mock_invept,
                .rdmsr = mock_rdmsr,
                .wrmsr = mock_wrmsr,
                .read_cr0 = mock_read_cr0,
                .read_cr3 = mock_read_cr3,
                .read_cr4 = mock_read_cr4,
                .write_cr0 = mock_write_cr0,
                .write_cr4 = mock_write_cr4,
                .cpuid = mock_cpuid,
                .segments = mock_segments},
    };
    copy_capabilities(mock);
    for (size_t i = 0; i < sizeof(zero_msrs) / sizeof(zero_msrs[0]); i++)
        mock_set_msr(mock, zero_msrs[i], 0);
    mock_set_msr(mock, VMXC_MSR_EFER, 0x500);
    mock_set_msr(mock, VMXC_MSR_PAT, UINT64_C(0x0007040600070406));
}
