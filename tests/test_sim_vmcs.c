/* SPDX-License-Identifier: Apache-2.0 */
/* The content of a VMCS as a value: encodings, widths, HIGH halves. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "vmxsim/vmcs.h"

static const struct {
    uint32_t encoding;
    const char *width, *name;
} rows[] = {
#define VMXC_VMCS_FIELD(encoding, width, type, name, feature) {encoding, #width, #name},
#include "vmxcore/defs/vmcs_fields.def"
};

enum { ROWS = sizeof rows / sizeof rows[0] };

static bool is_64_bit(const char *width)
{
    return strcmp(width, "W64") == 0;
}

static uint64_t expected_mask(const char *width)
{
    if (strcmp(width, "W16") == 0)
        return 0xffff;
    return strcmp(width, "W32") == 0 ? 0xffffffff : UINT64_MAX;
}

/* ---- Encodings that are none ---- */

/* Each encoding of 16 bits, and some beyond: exactly the table's rows and their HIGH halves exist. */
START_TEST(no_encoding_exists_but_those_of_the_table)
{
    static bool full[0x10000], high[0x10000];
    for (size_t i = 0; i < ROWS; i++) {
        full[rows[i].encoding] = true;
        high[rows[i].encoding | 1] = is_64_bit(rows[i].width);
    }
    struct vmxsim_vmcs vmcs = {0};
    for (uint32_t encoding = 0; encoding < 0x10000; encoding++) {
        const bool exists = full[encoding] || high[encoding];
        uint64_t value = 0x5a;
        ck_assert_msg((vmxsim_vmcs_ordinal(encoding) < VMXC_VMCS_FIELD_COUNT) == full[encoding],
                      "ordinal of %#x", encoding);
        ck_assert_msg((vmxsim_vmcs_get(&vmcs, encoding, &value) == VMXC_OK) == exists, "get %#x",
                      encoding);
        ck_assert_uint_eq(value, exists ? 0 : 0x5a);
        ck_assert_msg((vmxsim_vmcs_set(&vmcs, encoding, 0) == VMXC_OK) == exists, "set %#x",
                      encoding);
    }
}
END_TEST

START_TEST(reserved_bits_of_an_encoding_are_not_ignored)
{
    static const uint32_t reserved[] = {0x1000, 0x8000, 0x10000, 0x80000000};
    struct vmxsim_vmcs vmcs = {0};
    for (size_t i = 0; i < sizeof reserved / sizeof reserved[0]; i++) {
        uint64_t value;
        const uint32_t encoding = VMXC_VMCS_GUEST_CR0 | reserved[i];
        ck_assert_uint_eq(vmxsim_vmcs_ordinal(encoding), VMXC_VMCS_FIELD_COUNT);
        ck_assert_int_eq(vmxsim_vmcs_get(&vmcs, encoding, &value), VMXC_NOT_FOUND);
        ck_assert_int_eq(vmxsim_vmcs_set(&vmcs, encoding, 1), VMXC_NOT_FOUND);
    }
}
END_TEST

/* ---- Each field ---- */

START_TEST(ordinal_encoding_and_name_belong_together)
{
    ck_assert_uint_eq(ROWS, VMXC_VMCS_FIELD_COUNT);
    ck_assert_uint_eq(vmxsim_vmcs_ordinal(rows[_i].encoding), (size_t)_i);
    ck_assert_uint_eq(vmxsim_vmcs_encoding((size_t)_i), rows[_i].encoding);
    ck_assert_str_eq(vmxsim_vmcs_name((size_t)_i), rows[_i].name);
}
END_TEST

START_TEST(a_value_is_cut_to_the_width_of_its_field)
{
    struct vmxsim_vmcs vmcs = {0};
    const uint64_t mask = expected_mask(rows[_i].width);
    uint64_t value = 0;
    ck_assert_uint_eq(vmxsim_vmcs_width_mask(rows[_i].encoding), mask);
    ck_assert_int_eq(vmxsim_vmcs_set(&vmcs, rows[_i].encoding, UINT64_MAX), VMXC_OK);
    ck_assert_int_eq(vmxsim_vmcs_get(&vmcs, rows[_i].encoding, &value), VMXC_OK);
    ck_assert_uint_eq(value, mask);

    for (size_t other = 0; other < VMXC_VMCS_FIELD_COUNT; other++)
        ck_assert_uint_eq(vmcs.value[other], other == (size_t)_i ? mask : 0);
}
END_TEST

START_TEST(high_is_the_upper_half_of_64_bit_fields_only)
{
    struct vmxsim_vmcs vmcs = {0};
    const uint32_t high = rows[_i].encoding | 1;
    uint64_t value = 0;
    ck_assert_int_eq(vmxsim_vmcs_set(&vmcs, rows[_i].encoding, UINT64_C(0x1122334455667788)),
                     VMXC_OK);
    if (!is_64_bit(rows[_i].width)) {
        ck_assert_int_eq(vmxsim_vmcs_get(&vmcs, high, &value), VMXC_NOT_FOUND);
        ck_assert_int_eq(vmxsim_vmcs_set(&vmcs, high, 1), VMXC_NOT_FOUND);
        return;
    }
    ck_assert_int_eq(vmxsim_vmcs_get(&vmcs, high, &value), VMXC_OK);
    ck_assert_uint_eq(value, 0x11223344);
    ck_assert_int_eq(vmxsim_vmcs_set(&vmcs, high, UINT64_C(0xffffffffaabbccdd)), VMXC_OK);
    ck_assert_int_eq(vmxsim_vmcs_get(&vmcs, rows[_i].encoding, &value), VMXC_OK);
    ck_assert_uint_eq(value, UINT64_C(0xaabbccdd55667788));
    ck_assert_uint_eq(vmxsim_vmcs_width_mask(high), 0xffffffff);
}
END_TEST

START_TEST(the_macro_reaches_the_same_slot)
{
    struct vmxsim_vmcs vmcs = {0};
    ck_assert_int_eq(vmxsim_vmcs_set(&vmcs, 0x6800, 0x80000031), VMXC_OK);
    ck_assert_uint_eq(VMXSIM_VMCS(&vmcs, GUEST_CR0), 0x80000031);
}
END_TEST

static Suite *vmcs_suite(void)
{
    Suite *suite = suite_create("sim_vmcs");
    TCase *refused = tcase_create("no such encoding");
    tcase_add_test(refused, no_encoding_exists_but_those_of_the_table);
    tcase_add_test(refused, reserved_bits_of_an_encoding_are_not_ignored);
    suite_add_tcase(suite, refused);

    TCase *fields = tcase_create("each field");
    tcase_add_loop_test(fields, ordinal_encoding_and_name_belong_together, 0, ROWS);
    tcase_add_loop_test(fields, a_value_is_cut_to_the_width_of_its_field, 0, ROWS);
    tcase_add_loop_test(fields, high_is_the_upper_half_of_64_bit_fields_only, 0, ROWS);
    tcase_add_test(fields, the_macro_reaches_the_same_slot);
    suite_add_tcase(suite, fields);
    return suite;
}

int main(void)
{
    SRunner *runner = srunner_create(vmcs_suite());
    srunner_run_all(runner, CK_NORMAL);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
