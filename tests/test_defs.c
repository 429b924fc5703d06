/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The definition tables: counts that the manual's tables give, uniqueness, values written down by hand.
 */
#include <check.h>
#include <stdint.h>
#include <string.h>

#include "vmxcore/defs/controls.h"
#include "vmxcore/defs/ept.h"
#include "vmxcore/defs/exit_info.h"
#include "vmxcore/defs/exit_reason.h"
#include "vmxcore/defs/guest_state.h"
#include "vmxcore/defs/msr.h"
#include "vmxcore/defs/paging.h"
#include "vmxcore/defs/segments.h"
#include "vmxcore/defs/types.h"
#include "vmxcore/defs/vm_error.h"
#include "vmxcore/defs/vmcs.h"

#include "support/suite.h"

struct row {
    uint32_t number;
    const char *name, *text;
};

/* Numbers ascend (and so are unique); names and texts are there and unique. */
static void check_rows(const struct row *rows, int count)
{
    for (int i = 0; i < count; i++) {
        ck_assert_msg(rows[i].name[0] != '\0' && rows[i].text[0] != '\0', "row %d", i);
        if (i > 0)
            ck_assert_msg(rows[i].number > rows[i - 1].number, "%s", rows[i].name);
        for (int j = 0; j < i; j++) {
            ck_assert_str_ne(rows[i].name, rows[j].name);
            ck_assert_str_ne(rows[i].text, rows[j].text);
        }
    }
}

/* ---- VMCS fields ---- */

static const struct row fields[] = {
#define VMXC_VMCS_FIELD(encoding, width, type, name, feature) {encoding, #name, #feature},
#include "vmxcore/defs/vmcs_fields.def"
};

START_TEST(there_are_206_fields_of_which_78_have_64_bits)
{
    int wide = 0;

    for (int i = 0; i < COUNT(fields); i++)
        wide += (fields[i].number >> 13 & 3) == VMXC_VMCS_WIDTH_W64;
    ck_assert_int_eq(COUNT(fields), 206);
    ck_assert_int_eq(VMXC_VMCS_FIELD_COUNT, 206);
    ck_assert_int_eq(wide, 78);
    ck_assert_int_eq(COUNT(fields) + wide, 284);
}
END_TEST

/* By width (16-, 64-, 32-bit, natural) and type (control, read-only, guest, host). */
START_TEST(each_group_has_as_many_fields_as_the_manual_lists)
{
    static const int expected[4][4] = {
        {6, 0, 11, 7},
        {39, 3, 23, 13},
        {20, 8, 23, 1},
        {8, 6, 23, 15},
    };
    int groups[4][4] = {{0}};

    for (int i = 0; i < COUNT(fields); i++)
        groups[fields[i].number >> 13 & 3][fields[i].number >> 10 & 3]++;
    for (int width = 0; width < 4; width++) {
        for (int type = 0; type < 4; type++)
            ck_assert_msg(groups[width][type] == expected[width][type],
                          "width %d, type %d: %d fields, not %d", width, type, groups[width][type],
                          expected[width][type]);
    }
}
END_TEST

START_TEST(encodings_ascend_within_the_table_and_names_are_unique)
{
    for (int i = 0; i < COUNT(fields); i++) {
        ck_assert_uint_eq(fields[i].number & 1, 0);
        if (i > 0)
            ck_assert_msg(fields[i].number > fields[i - 1].number, "%s", fields[i].name);
        for (int j = 0; j < i; j++)
            ck_assert_str_ne(fields[i].name, fields[j].name);
    }
}
END_TEST

/* ---- Exit reasons and errors ---- */

static const struct row reasons[] = {
#define VMXC_EXIT_REASON(number, name, manual_name) {number, #name, manual_name},
#include "vmxcore/defs/exit_reasons.def"
};

START_TEST(there_are_80_exit_reasons_and_six_unused_numbers)
{
    static const uint32_t unused[] = {35, 38, 42, 71, 82, 83};

    ck_assert_int_eq(COUNT(reasons), 80);
    check_rows(reasons, COUNT(reasons));
    ck_assert_uint_eq(reasons[COUNT(reasons) - 1].number, 85);
    for (int i = 0; i < COUNT(reasons); i++) {
        for (int j = 0; j < COUNT(unused); j++)
            ck_assert_uint_ne(reasons[i].number, unused[j]);
    }
}
END_TEST

START_TEST(exit_reasons_have_the_numbers_of_the_manual)
{
    ck_assert_uint_eq(VMXC_EXIT_REASON_EXCEPTION_OR_NMI, 0);
    ck_assert_uint_eq(VMXC_EXIT_REASON_TASK_SWITCH, 9);
    ck_assert_uint_eq(VMXC_EXIT_REASON_VMXON, 27);
    ck_assert_uint_eq(VMXC_EXIT_REASON_IO_INSTRUCTION, 30);
    ck_assert_uint_eq(VMXC_EXIT_REASON_ENTRY_FAILURE_GUEST_STATE, 33);
    ck_assert_uint_eq(VMXC_EXIT_REASON_EPT_VIOLATION, 48);
    ck_assert_uint_eq(VMXC_EXIT_REASON_EPT_MISCONFIGURATION, 49);
    ck_assert_uint_eq(VMXC_EXIT_REASON_PREEMPTION_TIMER, 52);
    ck_assert_uint_eq(VMXC_EXIT_REASON_PAGE_MODIFICATION_LOG_FULL, 62);
    ck_assert_uint_eq(VMXC_EXIT_REASON_SPP_RELATED, 66);
    ck_assert_uint_eq(VMXC_EXIT_REASON_TDCALL, 77);
    ck_assert_uint_eq(VMXC_EXIT_REASON_WRMSRNS_IMMEDIATE, 85);
}
END_TEST

START_TEST(exit_reason_and_interruption_bits_do_not_overlap)
{
    ck_assert_uint_eq(VMXC_EXIT_REASON_ENTRY_FAILURE, 0x80000000);
    ck_assert_uint_eq(VMXC_EXIT_REASON_BASIC | VMXC_EXIT_REASON_SHADOW_STACK_BUSY |
                          VMXC_EXIT_REASON_BUS_LOCK_ASSERTED | VMXC_EXIT_REASON_ENCLAVE_MODE |
                          VMXC_EXIT_REASON_PENDING_MTF | VMXC_EXIT_REASON_FROM_ROOT |
                          VMXC_EXIT_REASON_ENTRY_FAILURE,
                      0xbe00ffff);
    ck_assert_uint_eq(VMXC_INTERRUPTION_VALID | VMXC_INTERRUPTION_NESTED |
                          VMXC_INTERRUPTION_NMI_UNBLOCKING | VMXC_INTERRUPTION_ERROR_CODE |
                          VMXC_INTERRUPTION_TYPE | VMXC_INTERRUPTION_VECTOR,
                      0x80003fff);
    /* A page fault with its error code, as every hypervisor writes it. */
    ck_assert_uint_eq(
        VMXC_INTERRUPTION_VALID | VMXC_INTERRUPTION_ERROR_CODE |
            VMXC_FIELD_MAKE(VMXC_INTERRUPTION_TYPE_HARDWARE_EXCEPTION, VMXC_INTERRUPTION_TYPE) | 14,
        0x80000b0e);
}
END_TEST

static const struct row errors[] = {
#define VMXC_VM_ERROR(number, name, sentence) {number, #name, sentence},
#include "vmxcore/defs/vm_errors.def"
};

START_TEST(there_are_25_errors_and_three_unused_numbers)
{
    ck_assert_int_eq(COUNT(errors), 25);
    check_rows(errors, COUNT(errors));
    ck_assert_uint_eq(errors[0].number, 1);
    ck_assert_uint_eq(errors[24].number, 28);
    for (int i = 0; i < COUNT(errors); i++)
        ck_assert(errors[i].number != 14 && errors[i].number != 21 && errors[i].number != 27);
    ck_assert_uint_eq(VMXC_VM_ERROR_NONE, 0);
    ck_assert_uint_eq(VMXC_VM_ERROR_ENTRY_CONTROL_FIELDS, 7);
    ck_assert_uint_eq(VMXC_VM_ERROR_ENTRY_HOST_STATE, 8);
    ck_assert_uint_eq(VMXC_VM_ERROR_UNSUPPORTED_FIELD, 12);
    ck_assert_uint_eq(VMXC_VM_ERROR_ENTRY_MOV_SS, 26);
}
END_TEST

/* ---- Controls ---- */

static const struct {
    enum vmxc_control_word word;
    unsigned bit;
    uint64_t mask;
    const char *name, *text;
} controls[] = {
#define VMXC_CONTROL(word, bit, name, manual_name) \
    {VMXC_CONTROL_WORD_##word, bit, VMXC_##word##_##name, #name, manual_name},
#include "vmxcore/defs/controls.def"

};

/* The bits of section "VM-Execution Control Fields" and its two siblings, as one mask per word. */
static const uint64_t defined_bits[VMXC_CONTROL_WORD_COUNT] = {
    [VMXC_CONTROL_WORD_PIN] = 0xe9,
    [VMXC_CONTROL_WORD_PRIMARY] = 0xfbfb9e8c,
    [VMXC_CONTROL_WORD_SECONDARY] = 0xdfffffff,
    [VMXC_CONTROL_WORD_TERTIARY] = 0x1df,
    [VMXC_CONTROL_WORD_EXIT] = 0xfffc9204,
    [VMXC_CONTROL_WORD_SECONDARY_EXIT] = 0xf,
    [VMXC_CONTROL_WORD_ENTRY] = 0x1ffee04,
};

START_TEST(control_bits_are_unique_and_those_of_the_manual)
{
    uint64_t seen[VMXC_CONTROL_WORD_COUNT] = {0};

    ck_assert_int_eq(COUNT(controls), VMXC_CONTROL_COUNT);
    for (int i = 0; i < COUNT(controls); i++) {
        ck_assert_uint_eq(controls[i].mask, UINT64_C(1) << controls[i].bit);
        ck_assert_msg((seen[controls[i].word] & controls[i].mask) == 0, "%s", controls[i].name);
        seen[controls[i].word] |= controls[i].mask;
        ck_assert_msg(controls[i].text[0] != '\0', "%s", controls[i].name);
    }
    ck_assert_mem_eq(seen, defined_bits, sizeof(seen));
}
END_TEST

START_TEST(control_names_are_unique_within_their_word)
{
    for (int i = 0; i < COUNT(controls); i++) {
        for (int j = 0; j < i; j++) {
            if (controls[i].word != controls[j].word)
                continue;
            ck_assert_str_ne(controls[i].name, controls[j].name);
            ck_assert_str_ne(controls[i].text, controls[j].text);
        }
    }
}
END_TEST

/* The allowed-0 settings that processors without the IA32_VMX_TRUE_*_CTLS MSRs report. */
START_TEST(the_default1_classes_are_those_of_the_manual)
{
    ck_assert_uint_eq(VMXC_PIN_DEFAULT1, 0x16);
    ck_assert_uint_eq(VMXC_PRIMARY_DEFAULT1, 0x0401e172);
    ck_assert_uint_eq(VMXC_EXIT_DEFAULT1, 0x36dff);
    ck_assert_uint_eq(VMXC_ENTRY_DEFAULT1, 0x11ff);
}
END_TEST

START_TEST(msr_indices_are_those_of_the_manual)
{
    ck_assert_uint_eq(VMXC_MSR_FEATURE_CONTROL, 0x3a);
    ck_assert_uint_eq(VMXC_MSR_PAT, 0x277);
    ck_assert_uint_eq(VMXC_MSR_VMX_BASIC, 0x480);
    ck_assert_uint_eq(VMXC_MSR_VMX_PROCBASED_CTLS2, 0x48b);
    ck_assert_uint_eq(VMXC_MSR_VMX_EPT_VPID_CAP, 0x48c);
    ck_assert_uint_eq(VMXC_MSR_VMX_TRUE_ENTRY_CTLS, 0x490);
    ck_assert_uint_eq(VMXC_MSR_VMX_EXIT_CTLS2, 0x493);
    ck_assert_uint_eq(VMXC_MSR_S_CET, 0x6a2);
    ck_assert_uint_eq(VMXC_MSR_PKRS, 0x6e1);
    ck_assert_uint_eq(VMXC_MSR_EFER, 0xc0000080);
}
END_TEST

/* ---- Bit positions and numbers ---- */

START_TEST(definitions_are_those_of_the_manual)
{
    static const struct {
        const char *name;
        uint64_t defined, expected;
    } rows[] = {
#define BIT(name, n) {#name, (uint64_t)(VMXC_##name), UINT64_C(1) << (n)},
#define FIELD(name, hi, lo) \
    {#name, (uint64_t)(VMXC_##name), (UINT64_MAX >> (63 - (hi))) & (UINT64_MAX << (lo))},
#define NUMBER(name, value) {#name, (uint64_t)(VMXC_##name), (value)},
#include "data/definitions.def"
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        ck_assert_msg(rows[i].defined == rows[i].expected, "%s is 0x%llx, not 0x%llx", rows[i].name,
                      (unsigned long long)rows[i].defined, (unsigned long long)rows[i].expected);
}
END_TEST

START_TEST(fields_are_cut_out_and_put_in)
{
    ck_assert_uint_eq(VMXC_FIELD_GET(UINT64_C(0x123456789abcdef0), VMXC_BITS(19, 12)), 0xcd);
    ck_assert_uint_eq(VMXC_FIELD_GET(UINT64_MAX, VMXC_BIT(63)), 1);
    ck_assert_uint_eq(VMXC_FIELD_GET(UINT64_C(0x123456789abcdef0), VMXC_BITS(63, 0)),
                      UINT64_C(0x123456789abcdef0));
    ck_assert_uint_eq(VMXC_FIELD_MAKE(0xcd, VMXC_BITS(19, 12)), 0xcd000);
    ck_assert_uint_eq(VMXC_FIELD_MAKE(0x1cd, VMXC_BITS(19, 12)),
                      0xcd000); /* what does not fit is cut */
    ck_assert_uint_eq(VMXC_FIELD_MAKE(1, VMXC_BIT(63)), UINT64_C(1) << 63);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("defs");
    TCase *tests = tcase_create("tables");

    suite_add_tcase(suite, tests);
    tcase_add_test(tests, there_are_206_fields_of_which_78_have_64_bits);
    tcase_add_test(tests, each_group_has_as_many_fields_as_the_manual_lists);
    tcase_add_test(tests, encodings_ascend_within_the_table_and_names_are_unique);
    tcase_add_test(tests, there_are_80_exit_reasons_and_six_unused_numbers);
    tcase_add_test(tests, exit_reasons_have_the_numbers_of_the_manual);
    tcase_add_test(tests, exit_reason_and_interruption_bits_do_not_overlap);
    tcase_add_test(tests, there_are_25_errors_and_three_unused_numbers);
    tcase_add_test(tests, control_bits_are_unique_and_those_of_the_manual);
    tcase_add_test(tests, control_names_are_unique_within_their_word);
    tcase_add_test(tests, the_default1_classes_are_those_of_the_manual);
    tcase_add_test(tests, msr_indices_are_those_of_the_manual);
    tcase_add_test(tests, definitions_are_those_of_the_manual);
    tcase_add_test(tests, fields_are_cut_out_and_put_in);
    return run_suite(suite);
}
