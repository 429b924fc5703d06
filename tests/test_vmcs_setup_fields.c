/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the parts of the VMCS set-up write, field by field: each value written here from the manual, each conditional
 * field with its control alone and with every control but it. The processor only remembers.
 */
#include "vmxcore/vmcs_setup.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "support/mock_ops.h"
#include "support/suite.h"

#define GARBAGE UINT64_C(0xa5a5a5a5a5a5a5a5)
#define ALWAYS  64

static struct mock_ops mock;
static struct vmxc_vmcs_controls controls;
static struct vmxc_vmcs_missing missing;
static struct vmxc_vmcs_setup plan;

static void set_up(void)
{
    mock_ops_init(&mock);
    memset(mock.field, 0xa5, sizeof(mock.field));
    controls = (struct vmxc_vmcs_controls){{0}};
    plan = (struct vmxc_vmcs_setup){.guest = {.mode = VMXC_GUEST_LONG_64}};
}

/* One bit of a word, or all others. Words that must be activated are. */
static void choose(enum vmxc_control_word word, unsigned bit, bool alone)
{
    const uint64_t control = bit == ALWAYS ? 0 : UINT64_C(1) << bit;

    controls.word[VMXC_CONTROL_WORD_PRIMARY] = UINT64_C(1) << 31 | UINT64_C(1) << 17;
    controls.word[VMXC_CONTROL_WORD_EXIT] = UINT64_C(1) << 31;
    controls.word[word] |= alone ? control : 0xffffffff & ~control;
}

static void expect_field(uint32_t encoding, bool written, uint64_t value)
{
    ck_assert_msg(*mock_field(&mock, encoding) == (written ? value : GARBAGE),
                  "field 0x%x is 0x%llx, not 0x%llx", encoding,
                  (unsigned long long)*mock_field(&mock, encoding),
                  (unsigned long long)(written ? value : GARBAGE));
}

/* ---- Controls ---- */

/* Fields that matter under one control: word, bit, field, value. */
static const struct {
    enum vmxc_control_word word;
    unsigned bit;
    uint32_t field;
    uint64_t value;
} dependent[] = {
    {VMXC_CONTROL_WORD_PIN, 6, VMXC_VMCS_PREEMPTION_TIMER_VALUE, 0xffffffff},
    {VMXC_CONTROL_WORD_SECONDARY, 13, VMXC_VMCS_VM_FUNCTION_CONTROLS, 0},
    {VMXC_CONTROL_WORD_SECONDARY, 15, VMXC_VMCS_ENCLS_EXITING_BITMAP, UINT64_MAX},
    {VMXC_CONTROL_WORD_SECONDARY, 20, VMXC_VMCS_XSS_EXITING_BITMAP, 0},
    {VMXC_CONTROL_WORD_SECONDARY, 25, VMXC_VMCS_TSC_MULTIPLIER, UINT64_C(1) << 48},
    {VMXC_CONTROL_WORD_SECONDARY, 27, VMXC_VMCS_PCONFIG_EXITING_BITMAP, UINT64_MAX},
    {VMXC_CONTROL_WORD_SECONDARY, 28, VMXC_VMCS_ENCLV_EXITING_BITMAP, UINT64_MAX},
};

START_TEST(a_field_is_written_if_its_control_makes_it_matter)
{
    for (int alone = 0; alone < 2; alone++) {
        set_up();
        choose(dependent[_i].word, dependent[_i].bit, alone);
        ck_assert_int_eq(vmxc_vmcs_setup_controls(&mock.ops, &plan, &controls), VMXC_OK);
        expect_field(dependent[_i].field, alone, dependent[_i].value);
    }
}
END_TEST

/* Every control field that counts, lists or injects is 0 at first. */
static const uint32_t neutral[] = {
    VMXC_VMCS_PAGE_FAULT_ERROR_CODE_MASK,
    VMXC_VMCS_PAGE_FAULT_ERROR_CODE_MATCH,
    VMXC_VMCS_CR3_TARGET_COUNT,
    VMXC_VMCS_VM_EXIT_MSR_STORE_COUNT,
    VMXC_VMCS_VM_EXIT_MSR_LOAD_COUNT,
    VMXC_VMCS_VM_ENTRY_MSR_LOAD_COUNT,
    VMXC_VMCS_VM_ENTRY_INTERRUPTION_INFO,
    VMXC_VMCS_VM_ENTRY_EXCEPTION_ERROR_CODE,
    VMXC_VMCS_VM_ENTRY_INSTRUCTION_LENGTH,
    VMXC_VMCS_TSC_OFFSET,
};

START_TEST(nothing_counts_lists_or_injects)
{
    ck_assert_int_eq(vmxc_vmcs_setup_controls(&mock.ops, &plan, &controls), VMXC_OK);
    for (size_t i = 0; i < COUNT(neutral); i++)
        expect_field(neutral[i], true, 0);
}
END_TEST

/* Words with the word and the bit that activate them; a word is written if its processor has it at all. */
static const struct {
    enum vmxc_control_word word, by;
    unsigned bit;
    uint32_t field;
} words[] = {
    {VMXC_CONTROL_WORD_PIN, VMXC_CONTROL_WORD_PIN, ALWAYS, VMXC_VMCS_PIN_BASED_CONTROLS},
    {VMXC_CONTROL_WORD_PRIMARY, VMXC_CONTROL_WORD_PRIMARY, ALWAYS,
     VMXC_VMCS_PRIMARY_PROCESSOR_BASED_CONTROLS},
    {VMXC_CONTROL_WORD_SECONDARY, VMXC_CONTROL_WORD_PRIMARY, 31,
     VMXC_VMCS_SECONDARY_PROCESSOR_BASED_CONTROLS},
    {VMXC_CONTROL_WORD_TERTIARY, VMXC_CONTROL_WORD_PRIMARY, 17,
     VMXC_VMCS_TERTIARY_PROCESSOR_BASED_CONTROLS},
    {VMXC_CONTROL_WORD_EXIT, VMXC_CONTROL_WORD_EXIT, ALWAYS, VMXC_VMCS_PRIMARY_VM_EXIT_CONTROLS},
    {VMXC_CONTROL_WORD_SECONDARY_EXIT, VMXC_CONTROL_WORD_EXIT, 31,
     VMXC_VMCS_SECONDARY_VM_EXIT_CONTROLS},
    {VMXC_CONTROL_WORD_ENTRY, VMXC_CONTROL_WORD_ENTRY, ALWAYS, VMXC_VMCS_VM_ENTRY_CONTROLS},
};

START_TEST(a_word_is_written_if_it_is_activated)
{
    for (int on = 0; on < 2; on++) {
        set_up();
        if (words[_i].bit != ALWAYS)
            controls.word[words[_i].by] = on ? UINT64_C(1) << words[_i].bit : 0;
        controls.word[words[_i].word] |= 0x10;
        ck_assert_int_eq(vmxc_vmcs_setup_controls(&mock.ops, &plan, &controls), VMXC_OK);
        expect_field(words[_i].field, on || words[_i].bit == ALWAYS, 0x10);
    }
}
END_TEST

START_TEST(pointer_and_identifier_are_written_if_there_are_any)
{
    ck_assert_int_eq(vmxc_vmcs_setup_controls(&mock.ops, &plan, &controls), VMXC_OK);
    expect_field(VMXC_VMCS_EPT_POINTER, false, 0);
    expect_field(VMXC_VMCS_VPID, false, 0);
    plan.eptp = 0x601e;
    plan.vpid = 1;
    plan.exception_bitmap = 0x4002;
    ck_assert_int_eq(vmxc_vmcs_setup_controls(&mock.ops, &plan, &controls), VMXC_OK);
    expect_field(VMXC_VMCS_EPT_POINTER, true, 0x601e);
    expect_field(VMXC_VMCS_VPID, true, 1);
    expect_field(VMXC_VMCS_EXCEPTION_BITMAP, true, 0x4002);
}
END_TEST

START_TEST(pat_and_efer_are_wanted_in_both_directions)
{
    struct vmxc_caps_control_request request[VMXC_CONTROL_WORD_COUNT];
    vmxc_vmcs_setup_request(&mock.ops, &plan, request);
    ck_assert_uint_eq(request[VMXC_CONTROL_WORD_EXIT].wanted, UINT64_C(0xf) << 18);
    ck_assert_uint_eq(request[VMXC_CONTROL_WORD_ENTRY].wanted, UINT64_C(3) << 14);
}
END_TEST

/* ---- Host ---- */

/* MSRs with their host fields, and the VM-exit control that loads them. */
static const struct {
    uint32_t msr, field;
    unsigned bit;
} host_msrs[] = {
    {0xc0000100, VMXC_VMCS_HOST_FS_BASE, ALWAYS}, {0xc0000101, VMXC_VMCS_HOST_GS_BASE, ALWAYS},
    {0x174, VMXC_VMCS_HOST_SYSENTER_CS, ALWAYS},  {0x175, VMXC_VMCS_HOST_SYSENTER_ESP, ALWAYS},
    {0x176, VMXC_VMCS_HOST_SYSENTER_EIP, ALWAYS}, {0x38f, VMXC_VMCS_HOST_IA32_PERF_GLOBAL_CTRL, 12},
    {0x277, VMXC_VMCS_HOST_IA32_PAT, 19},         {0xc0000080, VMXC_VMCS_HOST_IA32_EFER, 21},
    {0x6e1, VMXC_VMCS_HOST_IA32_PKRS, 29},
};

START_TEST(host_msrs_stay_as_they_are)
{
    for (int alone = 0; alone < 2; alone++) {
        set_up();
        for (size_t i = 0; i < COUNT(host_msrs); i++)
            mock_set_msr(&mock, host_msrs[i].msr, 0x1000 + i);
        choose(VMXC_CONTROL_WORD_EXIT, host_msrs[_i].bit, alone);
        ck_assert_int_eq(vmxc_vmcs_setup_host(&mock.ops, &controls, &missing), VMXC_OK);
        expect_field(host_msrs[_i].field, alone || host_msrs[_i].bit == ALWAYS,
                     0x1000 + (uint64_t)_i);
    }
}
END_TEST

START_TEST(host_registers_stay_as_they_are)
{
    mock.cr0 = 0x80000033;
    mock.cr3 = 0x12345000;
    mock.cr4 = 0x2668;
    mock.segments = (struct vmxc_host_segments){.es = 0x18,
                                                .cs = 0x20,
                                                .ss = 0x28,
                                                .ds = 0x30,
                                                .fs = 0x38,
                                                .gs = 0x40,
                                                .tr = 0x48,
                                                .tr_base = 0x111000,
                                                .gdtr_base = 0x222000,
                                                .idtr_base = 0x333000};
    const struct vmxc_host_segments *now = &mock.segments;
    ck_assert_int_eq(vmxc_vmcs_setup_host(&mock.ops, &controls, &missing), VMXC_OK);
    expect_field(VMXC_VMCS_HOST_CR0, true, mock.cr0);
    expect_field(VMXC_VMCS_HOST_CR3, true, mock.cr3);
    expect_field(VMXC_VMCS_HOST_CR4, true, mock.cr4);
    expect_field(VMXC_VMCS_HOST_ES_SELECTOR, true, now->es);
    expect_field(VMXC_VMCS_HOST_CS_SELECTOR, true, now->cs);
    expect_field(VMXC_VMCS_HOST_SS_SELECTOR, true, now->ss);
    expect_field(VMXC_VMCS_HOST_DS_SELECTOR, true, now->ds);
    expect_field(VMXC_VMCS_HOST_FS_SELECTOR, true, now->fs);
    expect_field(VMXC_VMCS_HOST_GS_SELECTOR, true, now->gs);
    expect_field(VMXC_VMCS_HOST_TR_SELECTOR, true, now->tr);
    expect_field(VMXC_VMCS_HOST_TR_BASE, true, now->tr_base);
    expect_field(VMXC_VMCS_HOST_GDTR_BASE, true, now->gdtr_base);
    expect_field(VMXC_VMCS_HOST_IDTR_BASE, true, now->idtr_base);
}
END_TEST

/* ---- Guest ---- */

/* What each mode begins with: real, protected, 32-bit paging, 64-bit. */
static const struct {
    uint32_t field;
    uint64_t value[VMXC_GUEST_MODE_COUNT];
} starts[] = {
    {VMXC_VMCS_CR0_READ_SHADOW, {0x10, 0x11, 0x80010011, 0x80010011}},
    {VMXC_VMCS_CR4_READ_SHADOW, {0, 0, 0x10, 0x20}},
    {VMXC_VMCS_GUEST_CR3, {0x5000, 0x5000, 0x5000, 0x5000}},
    {VMXC_VMCS_GUEST_RIP, {0x7c00, 0x7c00, 0x7c00, 0x7c00}},
    {VMXC_VMCS_GUEST_RSP, {0x7000, 0x7000, 0x7000, 0x7000}},
    {VMXC_VMCS_GUEST_RFLAGS, {2, 2, 2, 2}},
    {VMXC_VMCS_GUEST_CS_SELECTOR, {0x1230, 8, 8, 8}},
    {VMXC_VMCS_GUEST_CS_BASE, {0x12300, 0, 0, 0}},
    {VMXC_VMCS_GUEST_CS_LIMIT, {0xffff, 0xffffffff, 0xffffffff, 0xffffffff}},
    {VMXC_VMCS_GUEST_CS_ACCESS_RIGHTS, {0x9b, 0xc09b, 0xc09b, 0xa09b}},
    {VMXC_VMCS_GUEST_ES_SELECTOR, {0x1230, 0x10, 0x10, 0x10}},
    {VMXC_VMCS_GUEST_ES_ACCESS_RIGHTS, {0x93, 0xc093, 0xc093, 0xc093}},
    {VMXC_VMCS_GUEST_SS_SELECTOR, {0x1230, 0x10, 0x10, 0x10}},
    {VMXC_VMCS_GUEST_SS_BASE, {0x12300, 0, 0, 0}},
    {VMXC_VMCS_GUEST_SS_LIMIT, {0xffff, 0xffffffff, 0xffffffff, 0xffffffff}},
    {VMXC_VMCS_GUEST_SS_ACCESS_RIGHTS, {0x93, 0xc093, 0xc093, 0xc093}},
    {VMXC_VMCS_GUEST_DS_ACCESS_RIGHTS, {0x93, 0xc093, 0xc093, 0xc093}},
    {VMXC_VMCS_GUEST_FS_ACCESS_RIGHTS, {0x93, 0xc093, 0xc093, 0xc093}},
    {VMXC_VMCS_GUEST_GS_ACCESS_RIGHTS, {0x93, 0xc093, 0xc093, 0xc093}},
    {VMXC_VMCS_GUEST_GS_LIMIT, {0xffff, 0xffffffff, 0xffffffff, 0xffffffff}},
    {VMXC_VMCS_GUEST_LDTR_SELECTOR, {0, 0, 0, 0}},
    {VMXC_VMCS_GUEST_LDTR_ACCESS_RIGHTS, {0x10000, 0x10000, 0x10000, 0x10000}},
    {VMXC_VMCS_GUEST_TR_SELECTOR, {0, 0, 0, 0}},
    {VMXC_VMCS_GUEST_TR_BASE, {0, 0, 0, 0}},
    {VMXC_VMCS_GUEST_TR_LIMIT, {0x67, 0x67, 0x67, 0x67}},
    {VMXC_VMCS_GUEST_TR_ACCESS_RIGHTS, {0x8b, 0x8b, 0x8b, 0x8b}},
    {VMXC_VMCS_GUEST_GDTR_BASE, {0, 0, 0, 0}},
    {VMXC_VMCS_GUEST_GDTR_LIMIT, {0xffff, 0xffff, 0xffff, 0xffff}},
    {VMXC_VMCS_GUEST_IDTR_BASE, {0, 0, 0, 0}},
    {VMXC_VMCS_GUEST_IDTR_LIMIT, {0xffff, 0xffff, 0xffff, 0xffff}},
    {VMXC_VMCS_GUEST_DR7, {0x400, 0x400, 0x400, 0x400}},
    {VMXC_VMCS_GUEST_IA32_DEBUGCTL, {0, 0, 0, 0}},
    {VMXC_VMCS_GUEST_SYSENTER_CS, {0, 0, 0, 0}},
    {VMXC_VMCS_GUEST_SYSENTER_ESP, {0, 0, 0, 0}},
    {VMXC_VMCS_GUEST_SYSENTER_EIP, {0, 0, 0, 0}},
    {VMXC_VMCS_GUEST_ACTIVITY_STATE, {0, 0, 0, 0}},
    {VMXC_VMCS_GUEST_INTERRUPTIBILITY_STATE, {0, 0, 0, 0}},
    {VMXC_VMCS_GUEST_PENDING_DEBUG_EXCEPTIONS, {0, 0, 0, 0}},
    {VMXC_VMCS_VMCS_LINK_POINTER, {UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX}},
};

START_TEST(a_guest_begins_as_its_mode_says)
{
    const struct vmxc_guest_start start = {.mode = (enum vmxc_guest_mode)_i,
                                           .rip = 0x7c00,
                                           .rsp = 0x7000,
                                           .cr3 = 0x5000,
                                           .real_segment = 0x1230};
    ck_assert_int_eq(vmxc_vmcs_setup_guest(&mock.ops, &start, &controls, &missing), VMXC_OK);
    for (size_t i = 0; i < COUNT(starts); i++)
        expect_field(starts[i].field, true, starts[i].value[_i]);
}
END_TEST

/* MSRs that a VM entry loads by a control: field, control, value with a 64-bit guest. */
static const struct {
    uint32_t field;
    unsigned bit;
    uint64_t value;
} guest_msrs[] = {
    {VMXC_VMCS_GUEST_IA32_PERF_GLOBAL_CTRL, 13, 0},
    {VMXC_VMCS_GUEST_IA32_PAT, 14, 0x0007040600070406},
    {VMXC_VMCS_GUEST_IA32_EFER, 15, 0x500},
    {VMXC_VMCS_GUEST_IA32_BNDCFGS, 16, 0},
    {VMXC_VMCS_GUEST_IA32_PKRS, 22, 0},
};

START_TEST(guest_msrs_are_as_after_a_reset)
{
    for (int alone = 0; alone < 2; alone++) {
        set_up();
        choose(VMXC_CONTROL_WORD_ENTRY, guest_msrs[_i].bit, alone);
        ck_assert_int_eq(vmxc_vmcs_setup_guest(&mock.ops, &plan.guest, &controls, &missing),
                         VMXC_OK);
        expect_field(guest_msrs[_i].field, alone, guest_msrs[_i].value);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("vmcs_setup_fields");
    TCase *control = suite_case(suite, "controls", set_up, NULL);
    TCase *host = suite_case(suite, "host", set_up, NULL);
    TCase *guest = suite_case(suite, "guest", set_up, NULL);

    tcase_add_loop_test(control, a_field_is_written_if_its_control_makes_it_matter, 0,
                        COUNT(dependent));
    tcase_add_test(control, nothing_counts_lists_or_injects);
    tcase_add_loop_test(control, a_word_is_written_if_it_is_activated, 0, COUNT(words));
    tcase_add_test(control, pointer_and_identifier_are_written_if_there_are_any);
    tcase_add_test(control, pat_and_efer_are_wanted_in_both_directions);

    tcase_add_loop_test(host, host_msrs_stay_as_they_are, 0, COUNT(host_msrs));
    tcase_add_test(host, host_registers_stay_as_they_are);

    tcase_add_loop_test(guest, a_guest_begins_as_its_mode_says, 0, VMXC_GUEST_MODE_COUNT);
    tcase_add_loop_test(guest, guest_msrs_are_as_after_a_reset, 0, COUNT(guest_msrs));

    return run_suite(suite);
}
