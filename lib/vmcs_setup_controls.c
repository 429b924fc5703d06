/* SPDX-License-Identifier: Apache-2.0 */
/* The control fields of a VMCS: the words themselves, and the fields that they make matter. */
#include "internal/vmcs_setup.h"
#include "vmxcore/defs/vmcs.h"

#define TSC_MULTIPLIER_ONE VMXC_BIT(48) /* fixed point with 48 fraction bits */
#define ALL_LEAVES         UINT64_MAX

/* Nothing counts, nothing is listed, nothing is injected. */
static const struct vmxc_field_value neutral[] = {
    {VMXC_VMCS_PAGE_FAULT_ERROR_CODE_MASK, 0},
    {VMXC_VMCS_PAGE_FAULT_ERROR_CODE_MATCH, 0},
    {VMXC_VMCS_CR3_TARGET_COUNT, 0},
    {VMXC_VMCS_VM_EXIT_MSR_STORE_COUNT, 0},
    {VMXC_VMCS_VM_EXIT_MSR_LOAD_COUNT, 0},
    {VMXC_VMCS_VM_ENTRY_MSR_LOAD_COUNT, 0},
    {VMXC_VMCS_VM_ENTRY_INTERRUPTION_INFO, 0},
    {VMXC_VMCS_VM_ENTRY_EXCEPTION_ERROR_CODE, 0},
    {VMXC_VMCS_VM_ENTRY_INSTRUCTION_LENGTH, 0},
    {VMXC_VMCS_TSC_OFFSET, 0},
};

/* Fields that matter under one control, with a value under which the control has no effect of its own. */
static const struct {
    enum vmxc_control_word word;
    uint64_t control;
    struct vmxc_field_value field;
} dependent[] = {
    {VMXC_CONTROL_WORD_SECONDARY,
     VMXC_SECONDARY_USE_TSC_SCALING,
     {VMXC_VMCS_TSC_MULTIPLIER, TSC_MULTIPLIER_ONE}},
    {VMXC_CONTROL_WORD_SECONDARY,
     VMXC_SECONDARY_ENABLE_XSAVES_XRSTORS,
     {VMXC_VMCS_XSS_EXITING_BITMAP, 0}},
    {VMXC_CONTROL_WORD_SECONDARY,
     VMXC_SECONDARY_ENABLE_ENCLS_EXITING,
     {VMXC_VMCS_ENCLS_EXITING_BITMAP, ALL_LEAVES}},
    {VMXC_CONTROL_WORD_SECONDARY,
     VMXC_SECONDARY_ENABLE_ENCLV_EXITING,
     {VMXC_VMCS_ENCLV_EXITING_BITMAP, ALL_LEAVES}},
    {VMXC_CONTROL_WORD_SECONDARY,
     VMXC_SECONDARY_ENABLE_PCONFIG,
     {VMXC_VMCS_PCONFIG_EXITING_BITMAP, ALL_LEAVES}},
    {VMXC_CONTROL_WORD_SECONDARY,
     VMXC_SECONDARY_ENABLE_VM_FUNCTIONS,
     {VMXC_VMCS_VM_FUNCTION_CONTROLS, 0}},
    {VMXC_CONTROL_WORD_PIN,
     VMXC_PIN_ACTIVATE_PREEMPTION_TIMER,
     {VMXC_VMCS_PREEMPTION_TIMER_VALUE, UINT32_MAX}},
};
#define DEPENDENT_FIELDS (sizeof(dependent) / sizeof(dependent[0]))

/* A word that is not activated may not even have a field. */
static bool is_active(const struct vmxc_vmcs_controls *controls, enum vmxc_control_word word)
{
    switch (word) {
    case VMXC_CONTROL_WORD_SECONDARY:
        return vmxc_has_control(controls, VMXC_CONTROL_WORD_PRIMARY,
                                VMXC_PRIMARY_ACTIVATE_SECONDARY_CONTROLS);
    case VMXC_CONTROL_WORD_TERTIARY:
        return vmxc_has_control(controls, VMXC_CONTROL_WORD_PRIMARY,
                                VMXC_PRIMARY_ACTIVATE_TERTIARY_CONTROLS);
    case VMXC_CONTROL_WORD_SECONDARY_EXIT:
        return vmxc_has_control(controls, VMXC_CONTROL_WORD_EXIT,
                                VMXC_EXIT_ACTIVATE_SECONDARY_CONTROLS);
    default:
        return true;
    }
}

static enum vmxc_status write_words(const struct vmxc_insn_ops *ops,
                                    const struct vmxc_vmcs_controls *controls)
{
    for (unsigned i = 0; i < VMXC_CONTROL_WORD_COUNT; i++) {
        const enum vmxc_control_word word = (enum vmxc_control_word)i;
        if (is_active(controls, word))
            VMXC_TRY(
                vmxc_insn_write(ops, vmxc_caps_control_word(word)->encoding, controls->word[i]));
    }
    return VMXC_OK;
}

static enum vmxc_status write_dependent(const struct vmxc_insn_ops *ops,
                                        const struct vmxc_vmcs_controls *controls)
{
    for (size_t i = 0; i < DEPENDENT_FIELDS; i++) {
        if (vmxc_has_control(controls, dependent[i].word, dependent[i].control))
            VMXC_TRY(vmxc_write_fields(ops, &dependent[i].field, 1));
    }
    return VMXC_OK;
}

static enum vmxc_status write_bitmaps(const struct vmxc_insn_ops *ops,
                                      const struct vmxc_vmcs_setup *setup)
{
    vmxc_hpa_t a_hpa;
    vmxc_hpa_t b_hpa;

    if (setup->io_bitmap != NULL) {
        VMXC_TRY(vmxc_io_bitmap_hpa(setup->io_bitmap, &a_hpa, &b_hpa));
        VMXC_TRY(vmxc_insn_write(ops, VMXC_VMCS_IO_BITMAP_A_ADDRESS, a_hpa));
        VMXC_TRY(vmxc_insn_write(ops, VMXC_VMCS_IO_BITMAP_B_ADDRESS, b_hpa));
    }
    if (setup->msr_bitmap != NULL) {
        VMXC_TRY(vmxc_msr_bitmap_hpa(setup->msr_bitmap, &a_hpa));
        VMXC_TRY(vmxc_insn_write(ops, VMXC_VMCS_MSR_BITMAP_ADDRESS, a_hpa));
    }
    return VMXC_OK;
}

enum vmxc_status vmxc_vmcs_setup_controls(const struct vmxc_insn_ops *ops,
                                          const struct vmxc_vmcs_setup *setup,
                                          const struct vmxc_vmcs_controls *controls)
{
    VMXC_TRY(write_words(ops, controls));
    VMXC_TRY(vmxc_write_fields(ops, neutral, sizeof(neutral) / sizeof(neutral[0])));
    VMXC_TRY(vmxc_insn_write(ops, VMXC_VMCS_EXCEPTION_BITMAP, setup->exception_bitmap));
    VMXC_TRY(write_bitmaps(ops, setup));
    if (setup->eptp != 0)
        VMXC_TRY(vmxc_insn_write(ops, VMXC_VMCS_EPT_POINTER, setup->eptp));
    if (setup->vpid != 0)
        VMXC_TRY(vmxc_insn_write(ops, VMXC_VMCS_VPID, setup->vpid));
    return write_dependent(ops, controls);
}
