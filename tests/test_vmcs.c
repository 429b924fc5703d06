/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The VMCS field table at run time: every possible encoding, names both ways, widths.
 */
#include "vmxcore/vmcs.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "support/suite.h"

/* Encodings that no field has: HIGH of fields that are not 64-bit, holes, reserved bits. */
static const uint32_t unknown[] = {
    0x0001,  0x0801,     0x000c,     0x0816,     0x0c0e,     0x1000,     0x2046, 0x2048, 0x2054,
    0x2406,  0x282a,     0x4001,     0x4028,     0x4410,     0x482c,     0x4830, 0x4c02, 0x6001,
    0x6010,  0x640c,     0x682e,     0x6c1e,     0x7ffe,     0x7fff,     0x8000, 0xa000, 0xffff,
    0x10000, 0x00012000, 0x80004000, 0xffff6800, 0xfffffffe, 0xffffffff,
};

START_TEST(an_encoding_without_a_field_is_not_found)
{
    ck_assert_ptr_null(vmxc_vmcs_field_find(unknown[_i]));
    ck_assert_ptr_null(vmxc_vmcs_field_name(unknown[_i]));
    ck_assert(!vmxc_vmcs_field_is_read_only(unknown[_i]));
    ck_assert_uint_eq(vmxc_vmcs_field_mask(unknown[_i]), 0);
}
END_TEST

START_TEST(a_name_without_a_field_is_not_found)
{
    static const char *const names[] = {
        "",          "GUEST_CR",   "GUEST_CR00",         "guest_cr0",
        "GUEST_CR1", "GUEST_CR0 ", "VMXC_VMCS_GUEST_CR0"};

    for (int i = 0; i < COUNT(names); i++)
        ck_assert_ptr_null(vmxc_vmcs_field_lookup(names[i]));
}
END_TEST

/* Written down from the manual's appendix. */
static const struct {
    uint32_t encoding;
    const char *name;
    bool read_only;
    uint64_t mask;
} known[] = {
    {0x0000, "VPID", false, 0xffff},
    {0x0812, "PML_INDEX", false, 0xffff},
    {0x0c0c, "HOST_TR_SELECTOR", false, 0xffff},
    {0x2000, "IO_BITMAP_A_ADDRESS", false, UINT64_MAX},
    {0x2001, "IO_BITMAP_A_ADDRESS", false, 0xffffffff},
    {0x201a, "EPT_POINTER", false, UINT64_MAX},
    {0x201b, "EPT_POINTER", false, 0xffffffff},
    {0x2034, "TERTIARY_PROCESSOR_BASED_CONTROLS", false, UINT64_MAX},
    {0x2400, "GUEST_PHYSICAL_ADDRESS", true, UINT64_MAX},
    {0x2401, "GUEST_PHYSICAL_ADDRESS", true, 0xffffffff},
    {0x2806, "GUEST_IA32_EFER", false, UINT64_MAX},
    {0x4000, "PIN_BASED_CONTROLS", false, 0xffffffff},
    {0x4400, "VM_INSTRUCTION_ERROR", true, 0xffffffff},
    {0x4402, "EXIT_REASON", true, 0xffffffff},
    {0x482e, "PREEMPTION_TIMER_VALUE", false, 0xffffffff},
    {0x4c00, "HOST_SYSENTER_CS", false, 0xffffffff},
    {0x6400, "EXIT_QUALIFICATION", true, UINT64_MAX},
    {0x6800, "GUEST_CR0", false, UINT64_MAX},
    {0x6c16, "HOST_RIP", false, UINT64_MAX},
    {0x6c1c, "HOST_INTERRUPT_SSP_TABLE", false, UINT64_MAX},
};

START_TEST(a_known_field_is_what_the_manual_says)
{
    const struct vmxc_vmcs_field_info *field = vmxc_vmcs_field_lookup(known[_i].name);

    ck_assert_ptr_nonnull(field);
    ck_assert_uint_eq(field->encoding, known[_i].encoding & ~UINT32_C(1));
    ck_assert_ptr_eq(vmxc_vmcs_field_find(known[_i].encoding), field);
    ck_assert_str_eq(vmxc_vmcs_field_name(known[_i].encoding), known[_i].name);
    ck_assert_int_eq(vmxc_vmcs_field_is_read_only(known[_i].encoding), known[_i].read_only);
    ck_assert_uint_eq(vmxc_vmcs_field_mask(known[_i].encoding), known[_i].mask);
}
END_TEST

/* 206 fields, of which 78 have a second encoding, within all encodings of 17 bits. */
START_TEST(there_are_284_encodings_and_no_more)
{
    unsigned full = 0, high = 0;

    for (uint32_t encoding = 0; encoding <= 0x1ffff; encoding++) {
        const struct vmxc_vmcs_field_info *field = vmxc_vmcs_field_find(encoding);

        if (field == NULL)
            continue;
        if (field->encoding != (encoding & ~UINT32_C(1)))
            ck_abort_msg("%#x leads to %#x", encoding, field->encoding);
        *(encoding & 1 ? &high : &full) += 1;
    }
    ck_assert_uint_eq(full, 206);
    ck_assert_uint_eq(high, 78);
}
END_TEST

START_TEST(rows_ascend_and_are_found_by_encoding_and_by_name)
{
    for (size_t i = 0; i < VMXC_VMCS_FIELD_COUNT; i++) {
        const struct vmxc_vmcs_field_info *field = vmxc_vmcs_field_at(i);

        ck_assert_ptr_nonnull(field);
        if (i > 0)
            ck_assert_uint_gt(field->encoding, vmxc_vmcs_field_at(i - 1)->encoding);
        ck_assert_ptr_eq(vmxc_vmcs_field_find(field->encoding), field);
        ck_assert_ptr_eq(vmxc_vmcs_field_lookup(field->name), field);
        ck_assert_uint_eq((unsigned)field->width, field->encoding >> 13 & 3);
        ck_assert_uint_eq((unsigned)field->type, field->encoding >> 10 & 3);
    }
    ck_assert_ptr_null(vmxc_vmcs_field_at(VMXC_VMCS_FIELD_COUNT));
    ck_assert_ptr_null(vmxc_vmcs_field_at(SIZE_MAX));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("vmcs");
    TCase *tests = tcase_create("field table");

    suite_add_tcase(suite, tests);
    tcase_add_loop_test(tests, an_encoding_without_a_field_is_not_found, 0, COUNT(unknown));
    tcase_add_test(tests, a_name_without_a_field_is_not_found);
    tcase_add_loop_test(tests, a_known_field_is_what_the_manual_says, 0, COUNT(known));
    tcase_add_test(tests, there_are_284_encodings_and_no_more);
    tcase_add_test(tests, rows_ascend_and_are_found_by_encoding_and_by_name);
    return run_suite(suite);
}
