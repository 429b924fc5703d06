/* SPDX-License-Identifier: Apache-2.0 */
/*
 * I/O bitmaps: every port, every access size, positions in the frames, borders.
 */
#include "vmxcore/io_bitmap.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "support/frame_hal.h"

#define PORTS 0x10000u

static struct frame_hal frames;
static struct vmxc_io_bitmap bitmap;
static vmxc_hpa_t a_hpa, b_hpa;
static const uint32_t sizes[] = {1, 2, 4};

static void setup(void)
{
    frame_hal_init(&frames);
    ck_assert_int_eq(vmxc_io_bitmap_init(&bitmap, &frames.hal, VMXC_PASSTHROUGH), VMXC_OK);
    ck_assert_int_eq(vmxc_io_bitmap_hpa(&bitmap, &a_hpa, &b_hpa), VMXC_OK);
}

static void teardown(void)
{
    frame_hal_check_announced(&frames);
    vmxc_io_bitmap_fini(&bitmap);
    ck_assert_uint_eq(frames.live, 0);
}

/* Both frames as the processor sees them, A in front of B. */
struct image {
    uint8_t bytes[2 * VMXC_PAGE_SIZE];
};

/* Check notes each assertion that passes, which costs more than these tests do: only failures are told to it. */
#define REQUIRE(condition, ...)        \
    do {                               \
        if (!(condition))              \
            ck_abort_msg(__VA_ARGS__); \
    } while (0)

static void set(uint32_t port, uint32_t size, enum vmxc_intercept intercept)
{
    REQUIRE(vmxc_io_bitmap_set(&bitmap, (uint16_t)port, size, intercept) == VMXC_OK,
            "set %#x, %u bytes", port, size);
}

static void flip(struct image *image, uint32_t first, uint32_t last)
{
    for (uint32_t port = first; port <= last; port++)
        image->bytes[port >> 3] ^= (uint8_t)(1u << (port & 7));
}

static void check_image(const struct image *expected, uint32_t first, uint32_t last)
{
    REQUIRE(memcmp(frame_hal_bytes(&frames, a_hpa), expected->bytes, VMXC_PAGE_SIZE) == 0 &&
                memcmp(frame_hal_bytes(&frames, b_hpa), expected->bytes + VMXC_PAGE_SIZE,
                       VMXC_PAGE_SIZE) == 0,
            "ports %#x-%#x changed other bits than their own", first, last);
}

static uint32_t count_ones(void)
{
    const uint8_t *a = frame_hal_bytes(&frames, a_hpa), *b = frame_hal_bytes(&frames, b_hpa);
    uint32_t ones = 0;

    for (size_t i = 0; i < VMXC_PAGE_SIZE; i++)
        ones += (uint32_t)(__builtin_popcount(a[i]) + __builtin_popcount(b[i]));
    return ones;
}

START_TEST(bad_sizes_and_ranges_are_refused_and_change_nothing)
{
    static const uint32_t bad_sizes[] = {0, 3, 5, 8, 0x10000, UINT32_MAX};
    const enum vmxc_intercept unknown = (enum vmxc_intercept)2;
    bool exits = false;

    for (size_t i = 0; i < sizeof(bad_sizes) / sizeof(bad_sizes[0]); i++) {
        ck_assert_int_eq(vmxc_io_bitmap_set(&bitmap, 0x60, bad_sizes[i], VMXC_INTERCEPT),
                         VMXC_INVALID_INPUT);
        ck_assert_int_eq(vmxc_io_bitmap_query(&bitmap, 0x60, bad_sizes[i], &exits),
                         VMXC_INVALID_INPUT);
        ck_assert(!exits);
        ck_assert(vmxc_io_bitmap_exits(&bitmap, 0x60, bad_sizes[i]));
    }
    ck_assert_int_eq(vmxc_io_bitmap_set_range(&bitmap, 0x61, 0x60, VMXC_INTERCEPT),
                     VMXC_INVALID_INPUT);
    ck_assert_int_eq(vmxc_io_bitmap_set_range(&bitmap, 0x60, 0x61, unknown), VMXC_INVALID_INPUT);
    ck_assert_int_eq(vmxc_io_bitmap_set(&bitmap, 0x60, 1, unknown), VMXC_INVALID_INPUT);
    ck_assert_uint_eq(count_ones(), 0);
}
END_TEST

START_TEST(an_access_that_wraps_cannot_be_set_and_always_exits)
{
    static const struct {
        uint16_t port;
        uint32_t size;
        bool wraps;
    } accesses[] = {
        {0xffff, 1, false}, {0xffff, 2, true}, {0xffff, 4, true},  {0xfffe, 2, false},
        {0xfffe, 4, true},  {0xfffd, 4, true}, {0xfffc, 4, false},
    };

    for (size_t i = 0; i < sizeof(accesses) / sizeof(accesses[0]); i++) {
        const enum vmxc_status status =
            vmxc_io_bitmap_set(&bitmap, accesses[i].port, accesses[i].size, VMXC_PASSTHROUGH);
        bool exits = !accesses[i].wraps;

        ck_assert_int_eq(status, accesses[i].wraps ? VMXC_INVALID_INPUT : VMXC_OK);
        ck_assert_int_eq(vmxc_io_bitmap_query(&bitmap, accesses[i].port, accesses[i].size, &exits),
                         VMXC_OK);
        ck_assert_int_eq(exits, accesses[i].wraps);
    }
}
END_TEST

START_TEST(an_uninitialized_bitmap_answers_with_a_status)
{
    struct vmxc_io_bitmap none = {0};
    vmxc_hpa_t a = 77, b = 78;
    bool exits = false;

    ck_assert_int_eq(vmxc_io_bitmap_hpa(&none, &a, &b), VMXC_BAD_STATE);
    ck_assert_int_eq(vmxc_io_bitmap_set(&none, 0, 1, VMXC_INTERCEPT), VMXC_BAD_STATE);
    ck_assert_int_eq(vmxc_io_bitmap_set_range(&none, 0, 1, VMXC_INTERCEPT), VMXC_BAD_STATE);
    ck_assert_int_eq(vmxc_io_bitmap_intercept_all(&none), VMXC_BAD_STATE);
    ck_assert_int_eq(vmxc_io_bitmap_passthrough_all(&none), VMXC_BAD_STATE);
    ck_assert_int_eq(vmxc_io_bitmap_query(&none, 0, 1, &exits), VMXC_BAD_STATE);
    ck_assert(vmxc_io_bitmap_exits(&none, 0, 1));
    vmxc_io_bitmap_fini(&none);
    ck_assert(a == 77 && b == 78 && !exits);
}
END_TEST

START_TEST(each_allocation_may_fail_without_a_leak)
{
    struct vmxc_io_bitmap other = {.a = {.hpa = 77}};

    for (uint32_t nth = 0; nth < 2; nth++) {
        frames.fail_allocation = frames.allocations + nth;
        ck_assert_int_eq(vmxc_io_bitmap_init(&other, &frames.hal, VMXC_INTERCEPT), VMXC_NO_MEMORY);
        ck_assert_uint_eq(frames.live, 2);
    }
    ck_assert_int_eq(vmxc_io_bitmap_init(&other, NULL, VMXC_INTERCEPT), VMXC_INVALID_INPUT);
    ck_assert_int_eq(vmxc_io_bitmap_init(&other, &frames.hal, (enum vmxc_intercept)7),
                     VMXC_INVALID_INPUT);
    ck_assert_uint_eq(other.a.hpa, 77);
}
END_TEST

START_TEST(a_frame_that_stops_being_mapped_is_a_status)
{
    struct vmxc_io_bitmap other = {.a = {.hpa = 77}};
    bool exits = false;

    for (uint32_t maps = 0; maps < 4; maps++) {
        frames.maps_left = maps;
        ck_assert_int_eq(vmxc_io_bitmap_init(&other, &frames.hal, VMXC_INTERCEPT), VMXC_BAD_STATE);
        ck_assert_uint_eq(frames.live, 2);
    }
    ck_assert_uint_eq(other.a.hpa, 77);
    frames.maps_left = 0;
    ck_assert_int_eq(vmxc_io_bitmap_set(&bitmap, 0x7fff, 2, VMXC_INTERCEPT), VMXC_BAD_STATE);
    ck_assert_int_eq(vmxc_io_bitmap_query(&bitmap, 0x7fff, 2, &exits), VMXC_BAD_STATE);
    ck_assert(vmxc_io_bitmap_exits(&bitmap, 0x7fff, 2));
    ck_assert(!exits);
}
END_TEST

START_TEST(all_ports_start_as_asked_for)
{
    struct vmxc_io_bitmap other;
    vmxc_hpa_t other_a, other_b;

    ck_assert_uint_eq(count_ones(), 0);
    ck_assert_int_eq(vmxc_io_bitmap_init(&other, &frames.hal, VMXC_INTERCEPT), VMXC_OK);
    ck_assert_int_eq(vmxc_io_bitmap_hpa(&other, &other_a, &other_b), VMXC_OK);
    ck_assert_uint_ne(other_a, other_b);
    for (uint32_t port = 0; port < PORTS; port++)
        REQUIRE(vmxc_io_bitmap_exits(&other, (uint16_t)port, 1), "port %#x", port);
    for (size_t i = 0; i < VMXC_PAGE_SIZE; i++)
        REQUIRE(frame_hal_bytes(&frames, other_a)[i] == 0xff &&
                    frame_hal_bytes(&frames, other_b)[i] == 0xff,
                "byte %#zx", i);
    vmxc_io_bitmap_fini(&other);
    vmxc_io_bitmap_fini(&other);
    ck_assert_int_eq(vmxc_io_bitmap_intercept_all(&bitmap), VMXC_OK);
    ck_assert_uint_eq(count_ones(), PORTS);
    ck_assert_int_eq(vmxc_io_bitmap_passthrough_all(&bitmap), VMXC_OK);
    ck_assert_uint_eq(count_ones(), 0);
}
END_TEST

/* Written down from the manual: A holds ports 0-7FFFH, B 8000H-FFFFH, the lowest port is bit 0 of byte 0. */
static const struct {
    uint16_t port;
    char frame;
    uint16_t byte;
    uint8_t mask;
} positions[] = {
    {0x0000, 'A', 0x000, 0x01}, {0x0001, 'A', 0x000, 0x02}, {0x0007, 'A', 0x000, 0x80},
    {0x0008, 'A', 0x001, 0x01}, {0x0060, 'A', 0x00c, 0x01}, {0x0064, 'A', 0x00c, 0x10},
    {0x00a1, 'A', 0x014, 0x02}, {0x03f8, 'A', 0x07f, 0x01}, {0x03fd, 'A', 0x07f, 0x20},
    {0x0cf8, 'A', 0x19f, 0x01}, {0x0cfc, 'A', 0x19f, 0x10}, {0x1fff, 'A', 0x3ff, 0x80},
    {0x2000, 'A', 0x400, 0x01}, {0x7ffe, 'A', 0xfff, 0x40}, {0x7fff, 'A', 0xfff, 0x80},
    {0x8000, 'B', 0x000, 0x01}, {0x8001, 'B', 0x000, 0x02}, {0x8008, 'B', 0x001, 0x01},
    {0xb004, 'B', 0x600, 0x10}, {0xfffe, 'B', 0xfff, 0x40}, {0xffff, 'B', 0xfff, 0x80},
};

START_TEST(a_port_has_the_bit_that_the_manual_gives_it)
{
    const vmxc_hpa_t hpa = positions[_i].frame == 'A' ? a_hpa : b_hpa;

    ck_assert_int_eq(vmxc_io_bitmap_set(&bitmap, positions[_i].port, 1, VMXC_INTERCEPT), VMXC_OK);
    ck_assert_uint_eq(*frame_hal_bytes(&frames, hpa + positions[_i].byte), positions[_i].mask);
    ck_assert_uint_eq(count_ones(), 1);
    ck_assert_int_eq(vmxc_io_bitmap_set(&bitmap, positions[_i].port, 1, VMXC_PASSTHROUGH), VMXC_OK);
    ck_assert_uint_eq(count_ones(), 0);
    *frame_hal_bytes(&frames, hpa + positions[_i].byte) = positions[_i].mask;
    ck_assert(vmxc_io_bitmap_exits(&bitmap, positions[_i].port, 1));
    *frame_hal_bytes(&frames, hpa + positions[_i].byte) = (uint8_t)~positions[_i].mask;
    ck_assert(!vmxc_io_bitmap_exits(&bitmap, positions[_i].port, 1));
    *frame_hal_bytes(&frames, hpa + positions[_i].byte) = 0;
}
END_TEST

/* Every access that can touch the intercepted ports [first, last], and those next to it. */
static void check_neighbours(uint32_t first, uint32_t last)
{
    const uint32_t from = first < 5 ? 0 : first - 5;
    const uint32_t to = last + 2 < PORTS ? last + 2 : PORTS - 1;

    for (uint32_t port = from; port <= to; port++) {
        for (size_t i = 0; i < 3; i++) {
            const uint32_t end = port + sizes[i] - 1;
            const bool expected = end >= PORTS || (port <= last && end >= first);

            REQUIRE(vmxc_io_bitmap_exits(&bitmap, (uint16_t)port, sizes[i]) == expected,
                    "ports %#x-%#x intercepted: access of %u at %#x", first, last, sizes[i], port);
        }
    }
}

START_TEST(every_port_and_size_changes_its_own_bits_only)
{
    const uint32_t size = sizes[_i];
    struct image expected = {{0}};

    for (uint32_t port = 0; port + size <= PORTS; port++) {
        const uint32_t last = port + size - 1;

        set(port, size, VMXC_INTERCEPT);
        flip(&expected, port, last);
        check_image(&expected, port, last);
        check_neighbours(port, last);
        set(port, size, VMXC_PASSTHROUGH);
        flip(&expected, port, last);
    }
    ck_assert_uint_eq(count_ones(), 0);
}
END_TEST

START_TEST(every_port_can_be_passed_through_alone)
{
    const uint32_t size = sizes[_i];
    struct image expected;

    memset(&expected, 0xff, sizeof(expected));
    ck_assert_int_eq(vmxc_io_bitmap_intercept_all(&bitmap), VMXC_OK);
    for (uint32_t port = 0; port + size <= PORTS; port++) {
        const uint32_t last = port + size - 1;

        set(port, size, VMXC_PASSTHROUGH);
        flip(&expected, port, last);
        check_image(&expected, port, last);
        REQUIRE(!vmxc_io_bitmap_exits(&bitmap, (uint16_t)port, size), "%#x-%#x exits", port, last);
        set(port, size, VMXC_INTERCEPT);
        flip(&expected, port, last);
    }
    ck_assert_uint_eq(count_ones(), PORTS);
}
END_TEST

/* Ends of bytes, of the 1FFFH and 7FFFH borders and of the port space. */
static const struct {
    uint16_t first, last;
} ranges[] = {
    {0, 0},           {0, 7},           {0, 8},           {1, 6},           {7, 8},
    {3, 0x1fff},      {0x1ffe, 0x2001}, {0x7ff8, 0x7fff}, {0x7fff, 0x7fff}, {0x7fff, 0x8000},
    {0x7ffd, 0x8002}, {0x8000, 0x8000}, {0x8000, 0x8007}, {0, 0x7fff},      {0x8000, 0xffff},
    {0xffff, 0xffff}, {0xfff9, 0xffff}, {0x1234, 0xffff}, {1, 0xfffe},      {0, 0xffff},
};

START_TEST(a_range_holds_both_its_ends)
{
    const uint16_t first = ranges[_i].first, last = ranges[_i].last;
    struct image expected = {{0}};

    ck_assert_int_eq(vmxc_io_bitmap_set_range(&bitmap, first, last, VMXC_INTERCEPT), VMXC_OK);
    flip(&expected, first, last);
    check_image(&expected, first, last);
    check_neighbours(first, last);
    memset(&expected, 0xff, sizeof(expected));
    ck_assert_int_eq(vmxc_io_bitmap_intercept_all(&bitmap), VMXC_OK);
    ck_assert_int_eq(vmxc_io_bitmap_set_range(&bitmap, first, last, VMXC_PASSTHROUGH), VMXC_OK);
    flip(&expected, first, last);
    check_image(&expected, first, last);
}
END_TEST

START_TEST(a_store_announces_its_bytes_and_no_others)
{
    frame_hal_settle(&frames);
    ck_assert_int_eq(vmxc_io_bitmap_set_range(&bitmap, 0x7ff0, 0x8007, VMXC_INTERCEPT), VMXC_OK);
    for (size_t frame = 0; frame < FRAME_HAL_FRAMES; frame++) {
        for (size_t byte = 0; byte < VMXC_PAGE_SIZE; byte++) {
            const vmxc_hpa_t hpa = FRAME_HAL_BASE + frame * VMXC_PAGE_SIZE + byte;
            const bool stored = hpa == a_hpa + 0xffe || hpa == a_hpa + 0xfff || hpa == b_hpa;

            REQUIRE(frames.announced[frame][byte] == stored, "0x%jx", (uintmax_t)hpa);
        }
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("io_bitmap");
    TCase *tests = tcase_create("io_bitmap");
    SRunner *runner = srunner_create(suite);
    int failed;

    suite_add_tcase(suite, tests);
    tcase_set_timeout(tests, 120);
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, bad_sizes_and_ranges_are_refused_and_change_nothing);
    tcase_add_test(tests, an_access_that_wraps_cannot_be_set_and_always_exits);
    tcase_add_test(tests, an_uninitialized_bitmap_answers_with_a_status);
    tcase_add_test(tests, each_allocation_may_fail_without_a_leak);
    tcase_add_test(tests, a_frame_that_stops_being_mapped_is_a_status);
    tcase_add_test(tests, all_ports_start_as_asked_for);
    tcase_add_loop_test(tests, a_port_has_the_bit_that_the_manual_gives_it, 0,
                        (int)(sizeof(positions) / sizeof(positions[0])));
    tcase_add_loop_test(tests, every_port_and_size_changes_its_own_bits_only, 0, 3);
    tcase_add_loop_test(tests, every_port_can_be_passed_through_alone, 0, 3);
    tcase_add_loop_test(tests, a_range_holds_both_its_ends, 0,
                        (int)(sizeof(ranges) / sizeof(ranges[0])));
    tcase_add_test(tests, a_store_announces_its_bytes_and_no_others);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
