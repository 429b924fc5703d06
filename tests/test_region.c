/* SPDX-License-Identifier: Apache-2.0 */
/*
 * VMXON and VMCS regions: revision identifier, shadow indicator, frame ownership.
 */
#include "vmxcore/region.h"

#include <check.h>

#include "support/suite.h"
#include "support/test_hal.h"

/* IA32_VMX_BASIC: 4096 bytes, write-back, true controls, revision 4. */
#define BASIC_TYPICAL UINT64_C(0x00d8100000000004)

static struct test_hal *hal;

static void setup(void)
{
    hal = test_hal_create(8);
    test_hal_set_window(hal, false);
    test_hal_watch_stores(hal);
}

static void teardown(void)
{
    ck_assert_uint_eq(hal->frames_in_use, 0);
    test_hal_destroy(hal);
}

static uint32_t word_at(vmxc_hpa_t hpa)
{
    const uint8_t *bytes = test_hal_bytes(hal, hpa);

    return (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 |
           (uint32_t)bytes[3] << 24;
}

START_TEST(a_revision_with_bit_31_is_refused)
{
    struct vmxc_region region = {.frame = {.hpa = 77}};

    ck_assert_int_eq(vmxc_region_init(&region, &hal->hal, 0x80000004, VMXC_REGION_ORDINARY),
                     VMXC_INVALID_INPUT);
    ck_assert_int_eq(vmxc_region_init(&region, &hal->hal, 0x80000004, VMXC_REGION_SHADOW),
                     VMXC_INVALID_INPUT);
    ck_assert_int_eq(vmxc_region_init(&region, &hal->hal, 4, (enum vmxc_region_kind)2),
                     VMXC_INVALID_INPUT);
    ck_assert_int_eq(vmxc_region_init(&region, NULL, 4, VMXC_REGION_ORDINARY), VMXC_INVALID_INPUT);
    ck_assert_uint_eq(hal->requests, 0);
    ck_assert_uint_eq(region.frame.hpa, 77);
}
END_TEST

START_TEST(no_memory_leaves_the_region_untouched)
{
    struct vmxc_region region = {.frame = {.hpa = 77}};

    hal->fail_at = 1;
    ck_assert_int_eq(vmxc_region_init(&region, &hal->hal, 4, VMXC_REGION_ORDINARY), VMXC_NO_MEMORY);
    ck_assert_int_eq(vmxc_region_init_for(&region, &hal->hal, BASIC_TYPICAL, VMXC_REGION_ORDINARY),
                     VMXC_OK);
    vmxc_region_fini(&region);
}
END_TEST

/* The frame is mapped once to be accepted and zeroed; the second use fails. */
START_TEST(a_frame_that_stops_being_mapped_is_given_back)
{
    struct vmxc_region region = {.frame = {.hpa = 77}};

    for (uint32_t maps = 0; maps < 2; maps++) {
        hal->maps_left = maps;
        ck_assert_int_eq(vmxc_region_init(&region, &hal->hal, 4, VMXC_REGION_ORDINARY),
                         VMXC_BAD_STATE);
        ck_assert_uint_eq(hal->frames_in_use, 0);
        ck_assert_uint_eq(region.frame.hpa, 77);
    }
}
END_TEST

START_TEST(an_uninitialized_region_answers_with_a_status)
{
    struct vmxc_region region = {0};
    enum vmxc_region_kind kind = VMXC_REGION_SHADOW;
    vmxc_hpa_t hpa = 77;
    uint32_t word = 77;

    ck_assert_int_eq(vmxc_region_hpa(&region, &hpa), VMXC_BAD_STATE);
    ck_assert_int_eq(vmxc_region_revision(&region, &word), VMXC_BAD_STATE);
    ck_assert_int_eq(vmxc_region_kind(&region, &kind), VMXC_BAD_STATE);
    ck_assert_int_eq(vmxc_region_abort_indicator(&region, &word), VMXC_BAD_STATE);
    vmxc_region_fini(&region);
    ck_assert_uint_eq(hpa, 77);
    ck_assert_uint_eq(word, 77);
    ck_assert_int_eq(kind, VMXC_REGION_SHADOW);
}
END_TEST

/* Region size in bits 44:32: 4096 is the largest that fits. */
static const struct {
    uint64_t vmx_basic;
    enum vmxc_status status;
} basics[] = {
    {UINT64_C(0x00d8100000000004), VMXC_OK},
    {UINT64_C(0x00d8040000000004), VMXC_OK},
    {UINT64_C(0x00d8000100000004), VMXC_OK},
    {UINT64_C(0x00d8100100000004), VMXC_UNSUPPORTED},
    {UINT64_C(0x00d81fff00000004), VMXC_UNSUPPORTED},
    {UINT64_C(0x00d8000000000004), VMXC_INVALID_INPUT}, /* size 0 */
    {UINT64_C(0x00d8100080000004), VMXC_INVALID_INPUT}, /* bit 31 is always 0 */
};

START_TEST(only_regions_of_up_to_4096_bytes_are_supported)
{
    struct vmxc_region region = {0};

    ck_assert_int_eq(
        vmxc_region_init_for(&region, &hal->hal, basics[_i].vmx_basic, VMXC_REGION_ORDINARY),
        basics[_i].status);
    ck_assert_uint_eq(hal->frames_in_use, basics[_i].status == VMXC_OK ? 1 : 0);
    vmxc_region_fini(&region);
}
END_TEST

START_TEST(a_frame_above_4_gbytes_is_refused_where_addresses_have_32_bits)
{
    const uint64_t basic_32 = BASIC_TYPICAL | UINT64_C(1) << 48;
    struct vmxc_region region = {0};

    struct test_hal *const high = test_hal_create_at(UINT64_C(0x100000000), 8, 0);
    struct test_hal *const low = test_hal_create_at(UINT64_C(0xfffff000), 8, 0);
    ck_assert_int_eq(vmxc_region_init_for(&region, &high->hal, basic_32, VMXC_REGION_ORDINARY),
                     VMXC_BAD_STATE);
    ck_assert_uint_eq(high->frames_in_use, 0);
    ck_assert_int_eq(vmxc_region_init_for(&region, &high->hal, BASIC_TYPICAL, VMXC_REGION_ORDINARY),
                     VMXC_OK);
    vmxc_region_fini(&region);
    ck_assert_int_eq(vmxc_region_init_for(&region, &low->hal, basic_32, VMXC_REGION_ORDINARY),
                     VMXC_OK);
    vmxc_region_fini(&region);
    test_hal_destroy(low);
    test_hal_destroy(high);
}
END_TEST

static const struct {
    uint32_t revision;
    enum vmxc_region_kind kind;
    uint32_t first_word;
} contents[] = {
    {0x00000000, VMXC_REGION_ORDINARY, 0x00000000}, {0x00000004, VMXC_REGION_ORDINARY, 0x00000004},
    {0x7fffffff, VMXC_REGION_ORDINARY, 0x7fffffff}, {0x00000000, VMXC_REGION_SHADOW, 0x80000000},
    {0x12345678, VMXC_REGION_SHADOW, 0x92345678},   {0x7fffffff, VMXC_REGION_SHADOW, 0xffffffff},
};

START_TEST(the_first_word_holds_revision_and_shadow_indicator_and_the_rest_is_zero)
{
    struct vmxc_region region;
    enum vmxc_region_kind kind;
    vmxc_hpa_t hpa;
    uint32_t word;

    ck_assert_int_eq(vmxc_region_init(&region, &hal->hal, contents[_i].revision, contents[_i].kind),
                     VMXC_OK);
    ck_assert_int_eq(vmxc_region_hpa(&region, &hpa), VMXC_OK);
    ck_assert_uint_eq(word_at(hpa), contents[_i].first_word);
    for (uint32_t offset = 4; offset < VMXC_PAGE_SIZE; offset += 4)
        ck_assert_uint_eq(word_at(hpa + offset), 0);
    ck_assert_int_eq(vmxc_region_revision(&region, &word), VMXC_OK);
    ck_assert_uint_eq(word, contents[_i].revision);
    ck_assert_int_eq(vmxc_region_kind(&region, &kind), VMXC_OK);
    ck_assert_int_eq(kind, contents[_i].kind);
    test_hal_assert_announced(hal);
    vmxc_region_fini(&region);
    vmxc_region_fini(&region);
}
END_TEST

START_TEST(the_abort_indicator_is_what_the_processor_wrote)
{
    struct vmxc_region region;
    uint32_t indicator = 77;

    ck_assert_int_eq(vmxc_region_init(&region, &hal->hal, 4, VMXC_REGION_ORDINARY), VMXC_OK);
    ck_assert_int_eq(vmxc_region_abort_indicator(&region, &indicator), VMXC_OK);
    ck_assert_uint_eq(indicator, 0);
    test_hal_write64(hal, TEST_HAL_BASE, UINT64_C(2) << 32 | 4);
    ck_assert_int_eq(vmxc_region_abort_indicator(&region, &indicator), VMXC_OK);
    ck_assert_uint_eq(indicator, 2);
    vmxc_region_fini(&region);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("region");
    TCase *tests = tcase_create("region");

    suite_add_tcase(suite, tests);
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, a_revision_with_bit_31_is_refused);
    tcase_add_test(tests, no_memory_leaves_the_region_untouched);
    tcase_add_test(tests, a_frame_that_stops_being_mapped_is_given_back);
    tcase_add_test(tests, an_uninitialized_region_answers_with_a_status);
    tcase_add_loop_test(tests, only_regions_of_up_to_4096_bytes_are_supported, 0,
                        (int)(sizeof(basics) / sizeof(basics[0])));
    tcase_add_test(tests, a_frame_above_4_gbytes_is_refused_where_addresses_have_32_bits);
    tcase_add_loop_test(tests,
                        the_first_word_holds_revision_and_shadow_indicator_and_the_rest_is_zero, 0,
                        (int)(sizeof(contents) / sizeof(contents[0])));
    tcase_add_test(tests, the_abort_indicator_is_what_the_processor_wrote);
    return run_suite(suite);
}
