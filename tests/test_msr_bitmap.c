/* SPDX-License-Identifier: Apache-2.0 */
/*
 * MSR bitmaps: every MSR of both ranges in both directions, positions in the frame, MSRs outside.
 */
#include "vmxcore/msr_bitmap.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "support/frame_hal.h"

#define READ  VMXC_MSR_ACCESS_READ
#define WRITE VMXC_MSR_ACCESS_WRITE

static struct frame_hal frames;
static struct vmxc_msr_bitmap bitmap;
static vmxc_hpa_t bitmap_hpa;

static void setup(void)
{
    frame_hal_init(&frames);
    ck_assert_int_eq(vmxc_msr_bitmap_init(&bitmap, &frames.hal, VMXC_PASSTHROUGH), VMXC_OK);
    ck_assert_int_eq(vmxc_msr_bitmap_hpa(&bitmap, &bitmap_hpa), VMXC_OK);
}

static void teardown(void)
{
    frame_hal_check_announced(&frames);
    vmxc_msr_bitmap_fini(&bitmap);
    ck_assert_uint_eq(frames.live, 0);
}

/* Check notes each assertion that passes, which costs more than these tests do: only failures are told to it. */
#define REQUIRE(condition, ...)        \
    do {                               \
        if (!(condition))              \
            ck_abort_msg(__VA_ARGS__); \
    } while (0)

static void set(uint32_t msr, uint32_t access, enum vmxc_intercept intercept)
{
    REQUIRE(vmxc_msr_bitmap_set(&bitmap, msr, access, intercept) == VMXC_OK,
            "set MSR %#x, access %u", msr, access);
}

static void check_image(const uint8_t expected[VMXC_PAGE_SIZE], uint32_t msr, uint32_t access)
{
    REQUIRE(memcmp(frame_hal_bytes(&frames, bitmap_hpa), expected, VMXC_PAGE_SIZE) == 0,
            "MSR %#x, access %u changed other bits than its own", msr, access);
}

static uint32_t count_ones(void)
{
    const uint8_t *bytes = frame_hal_bytes(&frames, bitmap_hpa);
    uint32_t ones = 0;

    for (size_t i = 0; i < VMXC_PAGE_SIZE; i++)
        ones += (uint32_t)__builtin_popcount(bytes[i]);
    return ones;
}

/* MSRs without a bit, next to the ranges and far from them. */
static const uint32_t outside[] = {
    0x00002000, 0x00002001, 0x00003fff, 0x00010000, 0x40000000, 0x7fffffff, 0x80000000,
    0xbfffe000, 0xbfffffff, 0xc0002000, 0xc0002001, 0xc0010000, 0xe0000000, 0xffffffff,
};

START_TEST(an_msr_outside_both_ranges_is_refused_and_always_exits)
{
    const uint32_t msr = outside[_i];

    for (uint32_t access = READ; access <= (READ | WRITE); access++) {
        bool exits = false;

        ck_assert_int_eq(vmxc_msr_bitmap_set(&bitmap, msr, access, VMXC_INTERCEPT),
                         VMXC_INVALID_INPUT);
        ck_assert_int_eq(vmxc_msr_bitmap_set(&bitmap, msr, access, VMXC_PASSTHROUGH),
                         VMXC_INVALID_INPUT);
        ck_assert_int_eq(vmxc_msr_bitmap_query(&bitmap, msr, access, &exits), VMXC_INVALID_INPUT);
        ck_assert(!exits);
        ck_assert(vmxc_msr_bitmap_exits(&bitmap, msr, access));
    }
    ck_assert(!vmxc_msr_bitmap_covers(msr));
    ck_assert_uint_eq(count_ones(), 0);
}
END_TEST

START_TEST(bad_directions_ranges_and_values_are_refused)
{
    static const uint32_t bad_access[] = {0, 4, 5, 7, 0x80000001};
    static const struct {
        uint32_t first, last;
    } bad_ranges[] = {
        {1, 0},
        {0xc0000001, 0xc0000000},
        {0x1fff, 0x2000},
        {0xbfffffff, 0xc0000000},
        {0xc0001fff, 0xc0002000},
        {0, 0xc0000000},
        {0xc0000000, 0x1fff},
        {0, 0xffffffff},
    };
    bool exits = false;

    for (size_t i = 0; i < sizeof(bad_access) / sizeof(bad_access[0]); i++) {
        ck_assert_int_eq(vmxc_msr_bitmap_set(&bitmap, 0x10, bad_access[i], VMXC_INTERCEPT),
                         VMXC_INVALID_INPUT);
        ck_assert_int_eq(vmxc_msr_bitmap_query(&bitmap, 0x10, bad_access[i], &exits),
                         VMXC_INVALID_INPUT);
        ck_assert(vmxc_msr_bitmap_exits(&bitmap, 0x10, bad_access[i]));
    }
    for (size_t i = 0; i < sizeof(bad_ranges) / sizeof(bad_ranges[0]); i++)
        ck_assert_int_eq(vmxc_msr_bitmap_set_range(&bitmap, bad_ranges[i].first, bad_ranges[i].last,
                                                   READ, VMXC_INTERCEPT),
                         VMXC_INVALID_INPUT);
    ck_assert_int_eq(vmxc_msr_bitmap_set(&bitmap, 0x10, READ, (enum vmxc_intercept)2),
                     VMXC_INVALID_INPUT);
    ck_assert(!exits);
    ck_assert_uint_eq(count_ones(), 0);
}
END_TEST

START_TEST(an_uninitialized_bitmap_answers_with_a_status)
{
    struct vmxc_msr_bitmap none = {0};
    vmxc_hpa_t hpa = 77;
    bool exits = false;

    ck_assert_int_eq(vmxc_msr_bitmap_hpa(&none, &hpa), VMXC_BAD_STATE);
    ck_assert_int_eq(vmxc_msr_bitmap_set(&none, 0x10, READ, VMXC_INTERCEPT), VMXC_BAD_STATE);
    ck_assert_int_eq(vmxc_msr_bitmap_set_range(&none, 0x10, 0x20, READ, VMXC_INTERCEPT),
                     VMXC_BAD_STATE);
    ck_assert_int_eq(vmxc_msr_bitmap_intercept_all(&none), VMXC_BAD_STATE);
    ck_assert_int_eq(vmxc_msr_bitmap_passthrough_all(&none), VMXC_BAD_STATE);
    ck_assert_int_eq(vmxc_msr_bitmap_query(&none, 0x10, READ, &exits), VMXC_BAD_STATE);
    ck_assert(vmxc_msr_bitmap_exits(&none, 0x10, READ));
    vmxc_msr_bitmap_fini(&none);
    ck_assert(hpa == 77 && !exits);
}
END_TEST

START_TEST(a_failing_hal_is_a_status_and_leaks_nothing)
{
    struct vmxc_msr_bitmap other = {.frame = {.hpa = 77}};
    bool exits = false;

    frames.fail_allocation = frames.allocations;
    ck_assert_int_eq(vmxc_msr_bitmap_init(&other, &frames.hal, VMXC_INTERCEPT), VMXC_NO_MEMORY);
    ck_assert_int_eq(vmxc_msr_bitmap_init(&other, NULL, VMXC_INTERCEPT), VMXC_INVALID_INPUT);
    ck_assert_int_eq(vmxc_msr_bitmap_init(&other, &frames.hal, (enum vmxc_intercept)2),
                     VMXC_INVALID_INPUT);
    for (uint32_t maps = 0; maps < 2; maps++) {
        frames.maps_left = maps;
        ck_assert_int_eq(vmxc_msr_bitmap_init(&other, &frames.hal, VMXC_INTERCEPT), VMXC_BAD_STATE);
        ck_assert_uint_eq(frames.live, 1);
    }
    ck_assert_uint_eq(other.frame.hpa, 77);
    frames.maps_left = 0;
    for (uint32_t access = READ; access <= WRITE; access++) {
        ck_assert_int_eq(vmxc_msr_bitmap_set(&bitmap, 0x10, access, VMXC_INTERCEPT),
                         VMXC_BAD_STATE);
        ck_assert_int_eq(vmxc_msr_bitmap_query(&bitmap, 0x10, access, &exits), VMXC_BAD_STATE);
        ck_assert(vmxc_msr_bitmap_exits(&bitmap, 0x10, access));
    }
    ck_assert(!exits);
}
END_TEST

/* Written down from the manual: four quarters of 400H bytes, the lowest MSR of each is bit 0 of its first byte. */
static const struct {
    uint32_t msr, access;
    uint16_t byte;
    uint8_t mask;
} positions[] = {
    {0x00000000, READ, 0x000, 0x01},  {0x00000000, WRITE, 0x800, 0x01},
    {0x00000007, READ, 0x000, 0x80},  {0x00000008, READ, 0x001, 0x01},
    {0x00000010, READ, 0x002, 0x01},  {0x0000001b, READ, 0x003, 0x08},
    {0x0000001b, WRITE, 0x803, 0x08}, {0x0000003a, READ, 0x007, 0x04},
    {0x00000277, WRITE, 0x84e, 0x80}, {0x000006e0, WRITE, 0x8dc, 0x01},
    {0x00000808, WRITE, 0x901, 0x01}, {0x00001ffe, READ, 0x3ff, 0x40},
    {0x00001fff, READ, 0x3ff, 0x80},  {0x00001fff, WRITE, 0xbff, 0x80},
    {0xc0000000, READ, 0x400, 0x01},  {0xc0000000, WRITE, 0xc00, 0x01},
    {0xc0000080, READ, 0x410, 0x01},  {0xc0000080, WRITE, 0xc10, 0x01},
    {0xc0000101, READ, 0x420, 0x02},  {0xc0000101, WRITE, 0xc20, 0x02},
    {0xc0001ffe, WRITE, 0xfff, 0x40}, {0xc0001fff, READ, 0x7ff, 0x80},
    {0xc0001fff, WRITE, 0xfff, 0x80},
};

START_TEST(an_access_has_the_bit_that_the_manual_gives_it)
{
    const uint32_t msr = positions[_i].msr, access = positions[_i].access;
    uint8_t *byte = frame_hal_bytes(&frames, bitmap_hpa + positions[_i].byte);

    ck_assert_int_eq(vmxc_msr_bitmap_set(&bitmap, msr, access, VMXC_INTERCEPT), VMXC_OK);
    ck_assert_uint_eq(*byte, positions[_i].mask);
    ck_assert_uint_eq(count_ones(), 1);
    ck_assert(vmxc_msr_bitmap_exits(&bitmap, msr, access));
    ck_assert(vmxc_msr_bitmap_exits(&bitmap, msr, READ | WRITE));
    ck_assert(!vmxc_msr_bitmap_exits(&bitmap, msr, access ^ (READ | WRITE)));
    *byte = (uint8_t)~positions[_i].mask;
    ck_assert(!vmxc_msr_bitmap_exits(&bitmap, msr, access));
    *byte = positions[_i].mask;
    ck_assert_int_eq(vmxc_msr_bitmap_set(&bitmap, msr, access, VMXC_PASSTHROUGH), VMXC_OK);
    ck_assert_uint_eq(count_ones(), 0);
}
END_TEST

/* The expected frame: the bit of one MSR in the directions of `access` is flipped. */
static void flip(uint8_t image[VMXC_PAGE_SIZE], uint32_t msr, uint32_t access)
{
    const uint32_t quarter = msr >= 0xc0000000 ? 0x400 : 0;
    const uint32_t byte = quarter + ((msr & 0x1fff) >> 3);
    const uint8_t mask = (uint8_t)(1u << (msr & 7));

    if (access & READ)
        image[byte] ^= mask;
    if (access & WRITE)
        image[0x800 + byte] ^= mask;
}

/* The three MSRs around `msr`, which alone is intercepted, in the directions of `access`. */
static void check_neighbours(uint32_t msr, uint32_t access)
{
    for (uint32_t other = msr - 1; other != msr + 2; other++) {
        for (uint32_t asked = READ; asked <= (READ | WRITE); asked++) {
            const bool inside =
                (other & 0x3fffffff) < 0x2000 && (other >> 30 == 0 || other >> 30 == 3);
            const bool expected = !inside || (other == msr && (asked & access) != 0);

            REQUIRE(vmxc_msr_bitmap_exits(&bitmap, other, asked) == expected,
                    "MSR %#x intercepted for %u: MSR %#x, access %u", msr, access, other, asked);
        }
    }
}

static const struct {
    uint32_t first, last;
} both_ranges[] = {{0, 0x1fff}, {0xc0000000, 0xc0001fff}};

START_TEST(every_msr_and_direction_changes_its_own_bits_only)
{
    uint8_t expected[VMXC_PAGE_SIZE] = {0};

    for (uint32_t msr = both_ranges[_i].first; msr <= both_ranges[_i].last; msr++) {
        REQUIRE(vmxc_msr_bitmap_covers(msr), "MSR %#x", msr);
        for (uint32_t access = READ; access <= (READ | WRITE); access++) {
            set(msr, access, VMXC_INTERCEPT);
            flip(expected, msr, access);
            check_image(expected, msr, access);
            check_neighbours(msr, access);
            set(msr, access, VMXC_PASSTHROUGH);
            flip(expected, msr, access);
        }
    }
    ck_assert_uint_eq(count_ones(), 0);
}
END_TEST

START_TEST(every_msr_can_be_passed_through_alone)
{
    uint8_t expected[VMXC_PAGE_SIZE];

    memset(expected, 0xff, sizeof(expected));
    ck_assert_int_eq(vmxc_msr_bitmap_intercept_all(&bitmap), VMXC_OK);
    for (uint32_t msr = both_ranges[_i].first; msr <= both_ranges[_i].last; msr++) {
        for (uint32_t access = READ; access <= (READ | WRITE); access++) {
            set(msr, access, VMXC_PASSTHROUGH);
            flip(expected, msr, access);
            check_image(expected, msr, access);
            REQUIRE(vmxc_msr_bitmap_exits(&bitmap, msr, READ) == !(access & READ), "MSR %#x", msr);
            REQUIRE(vmxc_msr_bitmap_exits(&bitmap, msr, WRITE) == !(access & WRITE), "MSR %#x",
                    msr);
            set(msr, access, VMXC_INTERCEPT);
            flip(expected, msr, access);
        }
    }
    ck_assert_uint_eq(count_ones(), 4 * 0x2000);
}
END_TEST

START_TEST(a_range_holds_both_its_ends)
{
    static const struct {
        uint32_t first, last;
    } ranges[] = {
        {0x800, 0x8ff},   {0x174, 0x176},           {0, 0x1fff},
        {0x1fff, 0x1fff}, {0xc0000000, 0xc0001fff}, {0xc0000081, 0xc0000084},
    };

    for (size_t i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++) {
        for (uint32_t access = READ; access <= (READ | WRITE); access++) {
            uint8_t expected[VMXC_PAGE_SIZE] = {0};

            for (uint32_t msr = ranges[i].first; msr <= ranges[i].last; msr++)
                flip(expected, msr, access);
            ck_assert_int_eq(vmxc_msr_bitmap_set_range(&bitmap, ranges[i].first, ranges[i].last,
                                                       access, VMXC_INTERCEPT),
                             VMXC_OK);
            ck_assert_mem_eq(frame_hal_bytes(&frames, bitmap_hpa), expected, sizeof(expected));
            ck_assert_int_eq(vmxc_msr_bitmap_passthrough_all(&bitmap), VMXC_OK);
            ck_assert_uint_eq(count_ones(), 0);
        }
    }
}
END_TEST

START_TEST(all_msrs_start_as_asked_for)
{
    struct vmxc_msr_bitmap other;
    vmxc_hpa_t hpa;

    ck_assert_uint_eq(count_ones(), 0);
    ck_assert_int_eq(vmxc_msr_bitmap_init(&other, &frames.hal, VMXC_INTERCEPT), VMXC_OK);
    ck_assert_int_eq(vmxc_msr_bitmap_hpa(&other, &hpa), VMXC_OK);
    for (size_t i = 0; i < VMXC_PAGE_SIZE; i++)
        ck_assert_uint_eq(frame_hal_bytes(&frames, hpa)[i], 0xff);
    vmxc_msr_bitmap_fini(&other);
    vmxc_msr_bitmap_fini(&other);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("msr_bitmap");
    TCase *tests = tcase_create("msr_bitmap");
    SRunner *runner = srunner_create(suite);
    int failed;

    suite_add_tcase(suite, tests);
    tcase_set_timeout(tests, 120);
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_loop_test(tests, an_msr_outside_both_ranges_is_refused_and_always_exits, 0,
                        (int)(sizeof(outside) / sizeof(outside[0])));
    tcase_add_test(tests, bad_directions_ranges_and_values_are_refused);
    tcase_add_test(tests, an_uninitialized_bitmap_answers_with_a_status);
    tcase_add_test(tests, a_failing_hal_is_a_status_and_leaks_nothing);
    tcase_add_loop_test(tests, an_access_has_the_bit_that_the_manual_gives_it, 0,
                        (int)(sizeof(positions) / sizeof(positions[0])));
    tcase_add_loop_test(tests, every_msr_and_direction_changes_its_own_bits_only, 0, 2);
    tcase_add_loop_test(tests, every_msr_can_be_passed_through_alone, 0, 2);
    tcase_add_test(tests, a_range_holds_both_its_ends);
    tcase_add_test(tests, all_msrs_start_as_asked_for);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
