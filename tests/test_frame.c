/* SPDX-License-Identifier: Apache-2.0 */
#include <check.h>
#include <string.h>

#include "internal/hal.h"
#include "internal/text.h"
#include "support/suite.h"
#include "support/test_hal.h"
#include "vmxcore/frame.h"
#include "vmxcore/status.h"

#define LABEL "test frame"

START_TEST(an_uninitialized_frame_answers_with_a_status)
{
    struct vmxc_frame frame = vmxc_frame_uninit();
    vmxc_hpa_t hpa = 7;
    void *pointer = &frame;

    ck_assert(!vmxc_frame_is_allocated(&frame));
    ck_assert_uint_eq(frame.hpa, 0);
    ck_assert_int_eq(vmxc_frame_hpa(&frame, &hpa), VMXC_BAD_STATE);
    ck_assert_int_eq(vmxc_frame_ptr(&frame, &pointer), VMXC_BAD_STATE);
    ck_assert_int_eq(vmxc_frame_fill(&frame, 1), VMXC_BAD_STATE);
    ck_assert_uint_eq(hpa, 7);
    ck_assert_ptr_eq(pointer, &frame);
    vmxc_frame_fini(&frame);
    vmxc_frame_fini(&frame);
    ck_assert(!vmxc_frame_is_allocated(&frame));
}
END_TEST

START_TEST(an_odd_frame_is_refused_and_given_back)
{
    struct test_hal *const hal = test_hal_create(2);
    struct vmxc_frame frame = vmxc_frame_uninit();

    test_hal_set_window(hal, _i % 2 != 0);
    hal->oddity = (enum test_hal_oddity)(TEST_HAL_ADDRESS_ZERO + _i / 2);
    ck_assert_int_eq(vmxc_frame_alloc(&hal->hal, LABEL, &frame), VMXC_BAD_STATE);
    ck_assert_int_eq(vmxc_frame_alloc_zeroed(&hal->hal, LABEL, &frame), VMXC_BAD_STATE);
    ck_assert_uint_eq(hal->odd_frames_returned, 2);
    ck_assert(!vmxc_frame_is_allocated(&frame));
    ck_assert_uint_eq(hal->traced[VMXC_TRACE_FRAME_ALLOC], 0);
    ck_assert_uint_eq(hal->traced[VMXC_TRACE_FRAME_FREE], 0);
    test_hal_destroy(hal);
}
END_TEST

static void *map_anything(void *context, vmxc_hpa_t hpa)
{
    const struct test_hal *const hal = context;

    (void)hpa;
    return hal->arena;
}

/* Memory at address 0 exists; 0 in an entry or a VMCS field means "none" all the same. */
START_TEST(address_zero_is_refused_even_where_it_can_be_mapped)
{
    struct test_hal *const hal = test_hal_create(1);
    struct vmxc_frame frame = vmxc_frame_uninit();

    test_hal_set_window(hal, false);
    hal->hal.phys_to_virt = map_anything;
    hal->oddity = TEST_HAL_ADDRESS_ZERO;
    ck_assert_int_eq(vmxc_frame_alloc(&hal->hal, LABEL, &frame), VMXC_BAD_STATE);
    ck_assert_uint_eq(hal->odd_frames_returned, 1);
    ck_assert(!vmxc_frame_is_allocated(&frame));
    test_hal_destroy(hal);
}
END_TEST

START_TEST(an_incomplete_hal_is_refused)
{
    struct test_hal *const hal = test_hal_create(1);
    struct vmxc_frame frame = vmxc_frame_uninit();
    struct vmxc_hal broken[6];

    for (size_t i = 0; i < 6; i++)
        broken[i] = hal->hal;
    broken[0].alloc_frame = NULL;
    broken[1].dealloc_frame = NULL;
    broken[2].phys_to_virt = NULL;
    broken[3].virt_to_phys = NULL;
    broken[4].invalidate_ept = NULL;
    broken[5].window.base = 0x800; /* no frame starts there */
    for (size_t i = 0; i < 6; i++)
        ck_assert_int_eq(vmxc_frame_alloc(&broken[i], LABEL, &frame), VMXC_INVALID_INPUT);
    ck_assert_int_eq(vmxc_frame_alloc_zeroed(NULL, LABEL, &frame), VMXC_INVALID_INPUT);
    ck_assert_uint_eq(hal->allocations, 0);
    test_hal_destroy(hal);
}
END_TEST

START_TEST(no_memory_leaves_the_frame_untouched)
{
    struct test_hal *const hal = test_hal_create(1);
    struct vmxc_frame first, second = {.hal = NULL, .hpa = 42};

    ck_assert_int_eq(vmxc_frame_alloc(&hal->hal, LABEL, &first), VMXC_OK);
    ck_assert_int_eq(vmxc_frame_alloc(&hal->hal, LABEL, &second), VMXC_NO_MEMORY);
    ck_assert_int_eq(vmxc_frame_alloc_zeroed(&hal->hal, LABEL, &second), VMXC_NO_MEMORY);
    ck_assert_uint_eq(second.hpa, 42);
    vmxc_frame_fini(&first);
    test_hal_destroy(hal);
}
END_TEST

START_TEST(a_frame_is_one_page_that_the_hal_named)
{
    struct test_hal *const hal = test_hal_create(2);
    struct vmxc_frame frame;
    vmxc_hpa_t hpa = 0;
    void *pointer = NULL;

    test_hal_set_window(hal, _i != 0);
    ck_assert_int_eq(vmxc_frame_alloc(&hal->hal, LABEL, &frame), VMXC_OK);
    ck_assert_uint_eq(hal->traced[VMXC_TRACE_FRAME_ALLOC], 1);
    ck_assert_str_eq(hal->last_event.label, LABEL);
    ck_assert_str_eq(hal->labels[0], LABEL);
    ck_assert_int_eq(vmxc_frame_hpa(&frame, &hpa), VMXC_OK);
    ck_assert_uint_eq(hpa, TEST_HAL_BASE);
    ck_assert_uint_eq(hal->last_event.hpa, hpa);
    ck_assert_int_eq(vmxc_frame_ptr(&frame, &pointer), VMXC_OK);
    ck_assert_ptr_eq(pointer, hal->arena);
    vmxc_frame_fini(&frame);
    ck_assert_uint_eq(hal->traced[VMXC_TRACE_FRAME_FREE], 1);
    ck_assert_uint_eq(hal->last_event.hpa, hpa);
    vmxc_frame_fini(&frame);
    ck_assert_uint_eq(hal->frees, 1);
    ck_assert_int_eq(vmxc_frame_hpa(&frame, &hpa), VMXC_BAD_STATE);
    test_hal_destroy(hal);
}
END_TEST

START_TEST(filling_announces_and_sets_all_bytes_and_no_other)
{
    struct test_hal *const hal = test_hal_create(3);
    struct vmxc_frame before, frame, behind;

    test_hal_watch_stores(hal);
    ck_assert_int_eq(vmxc_frame_alloc(&hal->hal, LABEL, &before), VMXC_OK);
    ck_assert_int_eq(vmxc_frame_alloc_zeroed(&hal->hal, LABEL, &frame), VMXC_OK);
    ck_assert_int_eq(vmxc_frame_alloc(&hal->hal, LABEL, &behind), VMXC_OK);
    for (int byte = 0; byte < 256; byte += 51) {
        if (byte != 0)
            ck_assert_int_eq(vmxc_frame_fill(&frame, (uint8_t)byte), VMXC_OK);
        test_hal_assert_announced(hal);
        for (size_t i = 0; i < 3 * VMXC_PAGE_SIZE; i++)
            ck_assert_int_eq(hal->arena[i], i / VMXC_PAGE_SIZE == 1 ? byte : TEST_HAL_POISON);
    }
    vmxc_frame_fini(&before);
    vmxc_frame_fini(&frame);
    vmxc_frame_fini(&behind);
    test_hal_destroy(hal);
}
END_TEST

START_TEST(a_hal_that_stops_mapping_is_reported_and_nothing_leaks)
{
    struct test_hal *const hal = test_hal_create(1);
    struct vmxc_frame frame;
    void *pointer = NULL;

    test_hal_set_window(hal, false);
    hal->maps_left = 0;
    ck_assert_int_eq(vmxc_frame_alloc_zeroed(&hal->hal, LABEL, &frame), VMXC_BAD_STATE);
    ck_assert_uint_eq(hal->frames_in_use, 0);
    hal->maps_left = 1; /* asked for once: it cannot stop in between */
    ck_assert_int_eq(vmxc_frame_alloc_zeroed(&hal->hal, LABEL, &frame), VMXC_OK);
    vmxc_frame_fini(&frame);
    hal->maps_left = 1;
    ck_assert_int_eq(vmxc_frame_alloc(&hal->hal, LABEL, &frame), VMXC_OK);
    hal->maps_left = 0;
    ck_assert_int_eq(vmxc_frame_ptr(&frame, &pointer), VMXC_BAD_STATE);
    ck_assert_ptr_null(pointer);
    vmxc_frame_fini(&frame);
    test_hal_destroy(hal);
}
END_TEST

START_TEST(the_window_is_used_only_for_frames_that_lie_in_it_wholly)
{
    struct test_hal *const hal = test_hal_create(4);
    uint8_t other[2 * 4096];

    /* The window ends in the middle of a frame, and points elsewhere, so that its use shows. */
    hal->hal.window = (struct vmxc_hal_window){
        .base = TEST_HAL_BASE + 0x1000, .length = 2 * VMXC_PAGE_SIZE - 1, .pointer = other};
    ck_assert_ptr_eq(vmxc_hal_frame_pointer(&hal->hal, TEST_HAL_BASE), hal->arena);
    ck_assert_ptr_eq(vmxc_hal_frame_pointer(&hal->hal, TEST_HAL_BASE + 0x1000), other);
    ck_assert_ptr_eq(vmxc_hal_frame_pointer(&hal->hal, TEST_HAL_BASE + 0x2000),
                     hal->arena + 0x2000);
    ck_assert_ptr_eq(vmxc_hal_pointer(&hal->hal, TEST_HAL_BASE + 0x1234), other + 0x234);
    ck_assert_ptr_eq(vmxc_hal_pointer(&hal->hal, TEST_HAL_BASE + 0x2345), hal->arena + 0x2345);
    ck_assert_ptr_null(vmxc_hal_pointer(&hal->hal, 0x123));
    hal->hal.window.length++;
    ck_assert_ptr_eq(vmxc_hal_frame_pointer(&hal->hal, TEST_HAL_BASE + 0x2000), other + 0x1000);
    hal->hal.window = (struct vmxc_hal_window){.length = VMXC_PAGE_SIZE - 1, .pointer = other};
    ck_assert_ptr_null(vmxc_hal_frame_pointer(&hal->hal, 0));
    test_hal_destroy(hal);
}
END_TEST

START_TEST(the_text_form_is_cut_like_snprintf_cuts)
{
    struct test_hal *const hal = test_hal_create(1);
    struct vmxc_frame frame;
    char text[32];

    ck_assert_int_eq(vmxc_frame_alloc(&hal->hal, LABEL, &frame), VMXC_OK);
    ck_assert_uint_eq(vmxc_frame_format(&frame, text, sizeof(text)), 15);
    ck_assert_str_eq(text, "frame 0x4000000");
    for (size_t size = 1; size <= 16; size++) {
        memset(text, 'z', sizeof(text));
        ck_assert_uint_eq(vmxc_frame_format(&frame, text, size), 15);
        ck_assert_uint_eq(strlen(text), size - 1);
        ck_assert_int_eq(strncmp(text, "frame 0x4000000", size - 1), 0);
        ck_assert_int_eq(text[size], 'z');
    }
    ck_assert_uint_eq(vmxc_frame_format(&frame, NULL, 0), 15);
    vmxc_frame_fini(&frame);
    ck_assert_uint_eq(vmxc_frame_format(&frame, text, sizeof(text)), 21);
    ck_assert_str_eq(text, "frame (uninitialized)");
    test_hal_destroy(hal);
}
END_TEST

START_TEST(numbers_have_all_their_digits_and_no_more)
{
    static const struct {
        uint64_t value;
        const char *text;
    } cases[] = {
        {0, "0 0x0"},
        {9, "9 0x9"},
        {10, "10 0xa"},
        {UINT64_MAX, "18446744073709551615 0xffffffffffffffff"},
        {UINT64_C(1) << 63, "9223372036854775808 0x8000000000000000"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char buffer[64];
        struct vmxc_text text = vmxc_text_begin(buffer, sizeof(buffer));
        vmxc_text_decimal(&text, cases[i].value);
        vmxc_text_char(&text, ' ');
        vmxc_text_hex(&text, cases[i].value);
        ck_assert_uint_eq(vmxc_text_end(&text), strlen(cases[i].text));
        ck_assert_str_eq(buffer, cases[i].text);
    }
}
END_TEST

START_TEST(every_status_has_a_name_and_a_sentence)
{
    ck_assert_str_eq(vmxc_status_name(VMXC_OK), "OK");
    ck_assert_str_eq(vmxc_status_name(VMXC_NO_MEMORY), "NO_MEMORY");
    ck_assert_str_eq(vmxc_status_text(VMXC_NOT_FOUND), "nothing is there");
    for (int i = 0; i <= VMXC_BAD_FORMAT; i++)
        for (int j = 0; j < i; j++) {
            ck_assert_str_ne(vmxc_status_name((enum vmxc_status)i),
                             vmxc_status_name((enum vmxc_status)j));
            ck_assert_str_ne(vmxc_status_text((enum vmxc_status)i),
                             vmxc_status_text((enum vmxc_status)j));
        }
    ck_assert_str_eq(vmxc_status_name((enum vmxc_status)999), "?");
    ck_assert_str_eq(vmxc_status_text((enum vmxc_status)999), "unknown status");
}
END_TEST

int main(void)
{
    Suite *const suite = suite_create("frame");
    TCase *const tcase = tcase_create("frame");

    suite_add_tcase(suite, tcase);
    tcase_add_test(tcase, an_uninitialized_frame_answers_with_a_status);
    tcase_add_loop_test(tcase, an_odd_frame_is_refused_and_given_back, 0, 6);
    tcase_add_test(tcase, address_zero_is_refused_even_where_it_can_be_mapped);
    tcase_add_test(tcase, an_incomplete_hal_is_refused);
    tcase_add_test(tcase, no_memory_leaves_the_frame_untouched);
    tcase_add_loop_test(tcase, a_frame_is_one_page_that_the_hal_named, 0, 2);
    tcase_add_test(tcase, filling_announces_and_sets_all_bytes_and_no_other);
    tcase_add_test(tcase, a_hal_that_stops_mapping_is_reported_and_nothing_leaks);
    tcase_add_test(tcase, the_window_is_used_only_for_frames_that_lie_in_it_wholly);
    tcase_add_test(tcase, the_text_form_is_cut_like_snprintf_cuts);
    tcase_add_test(tcase, numbers_have_all_their_digits_and_no_more);
    tcase_add_test(tcase, every_status_has_a_name_and_a_sentence);
    return run_suite(suite);
}
