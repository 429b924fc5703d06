/* SPDX-License-Identifier: Apache-2.0 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "vmxcore/map_flags.h"

static const struct {
    vmxc_map_flags flags;
    enum vmxc_status status;
    enum vmxc_memory_type type;
    const char *text;
} cases[] = {
    /* Refused. */
    {1u << 11, VMXC_INVALID_INPUT, 0, "---- invalid 0x800"},
    {1u << 31, VMXC_INVALID_INPUT, 0, "---- invalid 0x80000000"},
    {VMXC_MAP_READ | 4u << 8, VMXC_INVALID_INPUT, 0, "r--- invalid 0x401"},
    {VMXC_MAP_TYPE(2), VMXC_INVALID_INPUT, 0, "---- invalid 0x280"},
    {VMXC_MAP_TYPE(3), VMXC_INVALID_INPUT, 0, "---- invalid 0x380"},
    {VMXC_MAP_TYPE(7), VMXC_INVALID_INPUT, 0, "---- invalid 0x780"},
    {VMXC_MAP_DEVICE | VMXC_MAP_TYPE(6), VMXC_INVALID_INPUT, 0, "---- invalid 0x690"},
    {VMXC_MAP_DEVICE | VMXC_MAP_TYPE(1), VMXC_INVALID_INPUT, 0, "---- invalid 0x190"},
    {VMXC_MAP_UNCACHED | VMXC_MAP_TYPE(5), VMXC_INVALID_INPUT, 0, "---- invalid 0x5a0"},
    /* Accepted. */
    {VMXC_MAP_NONE, VMXC_OK, VMXC_MEMORY_TYPE_WB, "---- WB"},
    {VMXC_MAP_RWX, VMXC_OK, VMXC_MEMORY_TYPE_WB, "rwx- WB"},
    {VMXC_MAP_ACCESS, VMXC_OK, VMXC_MEMORY_TYPE_WB, "rwxu WB"},
    {VMXC_MAP_WRITE | VMXC_MAP_USER, VMXC_OK, VMXC_MEMORY_TYPE_WB, "-w-u WB"},
    {VMXC_MAP_DEVICE, VMXC_OK, VMXC_MEMORY_TYPE_UC, "---- UC device"},
    {VMXC_MAP_UNCACHED, VMXC_OK, VMXC_MEMORY_TYPE_UC, "---- UC uncached"},
    {VMXC_MAP_DEVICE | VMXC_MAP_UNCACHED | VMXC_MAP_TYPE(0), VMXC_OK, VMXC_MEMORY_TYPE_UC,
     "---- UC device uncached"},
    {VMXC_MAP_READ | VMXC_MAP_DEVICE | VMXC_MAP_IGNORE_PAT, VMXC_OK, VMXC_MEMORY_TYPE_UC,
     "r--- UC ipat device"},
    {VMXC_MAP_TYPE(0), VMXC_OK, VMXC_MEMORY_TYPE_UC, "---- UC"},
    {VMXC_MAP_TYPE(1), VMXC_OK, VMXC_MEMORY_TYPE_WC, "---- WC"},
    {VMXC_MAP_TYPE(4), VMXC_OK, VMXC_MEMORY_TYPE_WT, "---- WT"},
    {VMXC_MAP_TYPE(5), VMXC_OK, VMXC_MEMORY_TYPE_WP, "---- WP"},
    {VMXC_MAP_TYPE(6) | VMXC_MAP_IGNORE_PAT, VMXC_OK, VMXC_MEMORY_TYPE_WB, "---- WB ipat"},
};

#define CASES ((int)(sizeof(cases) / sizeof(cases[0])))

START_TEST(flags_mean_one_memory_type_or_are_refused)
{
    enum vmxc_memory_type type = VMXC_MEMORY_TYPE_UC_MINUS;

    ck_assert_msg(vmxc_map_flags_memory_type(cases[_i].flags, &type) == cases[_i].status, "%s",
                  cases[_i].text);
    if (cases[_i].status == VMXC_OK)
        ck_assert_int_eq(type, cases[_i].type);
    else
        ck_assert_int_eq(type, VMXC_MEMORY_TYPE_UC_MINUS); /* untouched */
}
END_TEST

START_TEST(flags_have_a_text_form)
{
    char text[64];

    ck_assert_uint_eq(vmxc_map_flags_format(cases[_i].flags, text, sizeof(text)),
                      strlen(cases[_i].text));
    ck_assert_str_eq(text, cases[_i].text);
    ck_assert_uint_eq(vmxc_map_flags_format(cases[_i].flags, text, 4), strlen(cases[_i].text));
    ck_assert_uint_eq(strlen(text), 3);
    ck_assert_uint_eq(vmxc_map_flags_format(cases[_i].flags, NULL, 0), strlen(cases[_i].text));
}
END_TEST

int main(void)
{
    Suite *const suite = suite_create("map_flags");
    TCase *const tcase = tcase_create("map_flags");

    suite_add_tcase(suite, tcase);
    tcase_add_loop_test(tcase, flags_mean_one_memory_type_or_are_refused, 0, CASES);
    tcase_add_loop_test(tcase, flags_have_a_text_form, 0, CASES);
    SRunner *const runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
