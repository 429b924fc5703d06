/* SPDX-License-Identifier: Apache-2.0 */
/* The host-state area: the processor after a VM exit shall be as it is now. RIP and RSP are insn_ops' business. */
#include "internal/vmcs_setup.h"
#include "vmxcore/defs/msr.h"
#include "vmxcore/defs/segments.h"
#include "vmxcore/defs/vmcs.h"

/* MSRs that every VM exit loads. */
static const struct {
    uint32_t msr, field;
} always[] = {
    {VMXC_MSR_FS_BASE, VMXC_VMCS_HOST_FS_BASE},
    {VMXC_MSR_GS_BASE, VMXC_VMCS_HOST_GS_BASE},
    {VMXC_MSR_SYSENTER_CS, VMXC_VMCS_HOST_SYSENTER_CS},
    {VMXC_MSR_SYSENTER_ESP, VMXC_VMCS_HOST_SYSENTER_ESP},
    {VMXC_MSR_SYSENTER_EIP, VMXC_VMCS_HOST_SYSENTER_EIP},
};

/* MSRs that a VM-exit control makes it load. */
static const struct {
    uint64_t control;
    uint32_t msr, field;
} controlled[] = {
    {VMXC_EXIT_LOAD_PERF_GLOBAL_CTRL, VMXC_MSR_PERF_GLOBAL_CTRL,
     VMXC_VMCS_HOST_IA32_PERF_GLOBAL_CTRL},
    {VMXC_EXIT_LOAD_PAT, VMXC_MSR_PAT, VMXC_VMCS_HOST_IA32_PAT},
    {VMXC_EXIT_LOAD_EFER, VMXC_MSR_EFER, VMXC_VMCS_HOST_IA32_EFER},
    {VMXC_EXIT_LOAD_PKRS, VMXC_MSR_PKRS, VMXC_VMCS_HOST_IA32_PKRS},
};

static enum vmxc_status copy_msr(const struct vmxc_insn_ops *ops, uint32_t msr, uint32_t field)
{
    uint64_t value;

    VMXC_TRY(vmxc_insn_read_msr(ops, msr, &value));
    return vmxc_insn_write(ops, field, value);
}

static enum vmxc_status write_msrs(const struct vmxc_insn_ops *ops,
                                   const struct vmxc_vmcs_controls *controls)
{
    for (size_t i = 0; i < sizeof(always) / sizeof(always[0]); i++)
        VMXC_TRY(copy_msr(ops, always[i].msr, always[i].field));
    for (size_t i = 0; i < sizeof(controlled) / sizeof(controlled[0]); i++) {
        if (vmxc_has_control(controls, VMXC_CONTROL_WORD_EXIT, controlled[i].control))
            VMXC_TRY(copy_msr(ops, controlled[i].msr, controlled[i].field));
    }
    return VMXC_OK;
}

static enum vmxc_status write_selectors(const struct vmxc_insn_ops *ops,
                                        const struct vmxc_host_segments *now,
                                        struct vmxc_vmcs_missing *missing)
{
    const struct vmxc_field_value selectors[] = {
        {VMXC_VMCS_HOST_ES_SELECTOR, now->es}, {VMXC_VMCS_HOST_CS_SELECTOR, now->cs},
        {VMXC_VMCS_HOST_SS_SELECTOR, now->ss}, {VMXC_VMCS_HOST_DS_SELECTOR, now->ds},
        {VMXC_VMCS_HOST_FS_SELECTOR, now->fs}, {VMXC_VMCS_HOST_GS_SELECTOR, now->gs},
        {VMXC_VMCS_HOST_TR_SELECTOR, now->tr},
    };
    const size_t count = sizeof(selectors) / sizeof(selectors[0]);

    for (size_t i = 0; i < count; i++) {
        const uint64_t wrong = selectors[i].value & (VMXC_SELECTOR_RPL | VMXC_SELECTOR_TI);
        if (wrong != 0)
            return vmxc_vmcs_miss(missing, selectors[i].field, wrong, VMXC_INVALID_INPUT);
    }
    return vmxc_write_fields(ops, selectors, count);
}

enum vmxc_status vmxc_vmcs_setup_host(const struct vmxc_insn_ops *ops,
                                      const struct vmxc_vmcs_controls *controls,
                                      struct vmxc_vmcs_missing *missing)
{
    struct vmxc_host_segments now;

    ops->segments(ops->context, &now);
    const struct vmxc_field_value registers[] = {
        {VMXC_VMCS_HOST_CR0, ops->read_cr0(ops->context)},
        {VMXC_VMCS_HOST_CR3, ops->read_cr3(ops->context)},
        {VMXC_VMCS_HOST_CR4, ops->read_cr4(ops->context)},
        {VMXC_VMCS_HOST_TR_BASE, now.tr_base},
        {VMXC_VMCS_HOST_GDTR_BASE, now.gdtr_base},
        {VMXC_VMCS_HOST_IDTR_BASE, now.idtr_base},
    };

    VMXC_TRY(write_selectors(ops, &now, missing));
    VMXC_TRY(vmxc_write_fields(ops, registers, sizeof(registers) / sizeof(registers[0])));
    return write_msrs(ops, controls);
}
