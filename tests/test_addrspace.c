/* SPDX-License-Identifier: Apache-2.0 */
/* The address space: mapping, replacing, unmapping, protecting; order of invalidation, cost, trace. */
#include <check.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "support/space.h"
#include "support/suite.h"

#define GPA  UINT64_C(0x40000000)
#define PAGE SPACE_PAGE

static const struct vmxc_area *nth_area(struct space *s, size_t n)
{
    static struct vmxc_area area;
    vmxc_gpa_t gpa = 0;

    for (size_t i = 0; i <= n; i++) {
        ck_assert_int_eq(vmxc_area_set_find_from(&s->space.areas, gpa, &area), VMXC_OK);
        gpa = area.base + area.size;
    }
    return &area;
}

static void assert_page(struct space *s, vmxc_gpa_t gpa, vmxc_hpa_t hpa, uint64_t page_size,
                        vmxc_map_flags flags)
{
    struct vmxc_translation translation;

    ck_assert_int_eq(vmxc_addrspace_translate(&s->space, gpa, &translation), VMXC_OK);
    ck_assert_uint_eq(translation.hpa, hpa);
    ck_assert_uint_eq(translation.page_size, page_size);
    ck_assert_uint_eq(translation.flags, flags);
}

static void assert_nothing_at(struct space *s, vmxc_gpa_t gpa)
{
    struct vmxc_translation translation;

    ck_assert_int_eq(vmxc_addrspace_translate(&s->space, gpa, &translation), VMXC_NOT_FOUND);
}

/* ---- Mapping ---- */

START_TEST(linear_host_addresses_may_lie_above_and_below_guest_addresses)
{
    static const struct {
        uint64_t gpa, hpa, page_size;
    } cases[] = {
        {0, UINT64_C(1) << 45, SPACE_1G},               /* far above */
        {UINT64_C(1) << 39, 0, SPACE_1G},               /* far below, and host address 0 */
        {SPACE_1G + SPACE_2M, SPACE_2M, SPACE_2M},      /* 2-MByte alignment only */
        {4 * SPACE_1G + PAGE, 8 * SPACE_1G, SPACE_PAGE} /* none */
    };
    struct space *s = space_create(2000);

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        OK(vmxc_addrspace_map_linear(&s->space, cases[i].gpa, cases[i].hpa,
                                     cases[i].page_size == PAGE ? 4 * PAGE : SPACE_1G, SPACE_RW));
        assert_page(s, cases[i].gpa, cases[i].hpa, cases[i].page_size, SPACE_RW);
        assert_page(s, cases[i].gpa + 0x2345, cases[i].hpa + 0x2345, cases[i].page_size, SPACE_RW);
    }
    space_destroy(s);
}
END_TEST

START_TEST(a_lazy_area_takes_neither_table_nor_frame)
{
    struct space *s = space_create(64);
    struct vmxc_translation translation;

    OK(vmxc_addrspace_map_alloc(&s->space, 0, 4 * PAGE, SPACE_RW, false));
    const uint64_t before = s->hal->frames_in_use; /* root and one node of areas */
    ck_assert_uint_eq(before, 2);
    OK(vmxc_addrspace_map_alloc(&s->space, GPA, UINT64_C(1) << 38, SPACE_RW, false));
    ck_assert_uint_eq(s->hal->frames_in_use, before);
    ck_assert_int_eq(vmxc_addrspace_translate(&s->space, GPA, &translation), VMXC_NOT_BACKED);
    space_destroy(s);
}
END_TEST

START_TEST(populated_pages_are_zeroed_and_distinct)
{
    struct space *s = space_create(64);

    OK(vmxc_addrspace_map_alloc(&s->space, GPA, 8 * PAGE, SPACE_RW, true));
    for (uint64_t i = 0; i < 8; i++) {
        for (uint64_t offset = 0; offset < PAGE; offset += 8)
            ck_assert_uint_eq(space_read(s, GPA + i * PAGE + offset), 0);
        space_write(s, GPA + i * PAGE, i + 1);
    }
    for (uint64_t i = 0; i < 8; i++)
        ck_assert_uint_eq(space_read(s, GPA + i * PAGE), i + 1);
    space_destroy(s);
}
END_TEST

START_TEST(mapping_needs_no_invalidation)
{
    struct space *s = space_create(64);

    OK(vmxc_addrspace_map_alloc(&s->space, GPA, 8 * PAGE, SPACE_RW, true));
    OK(vmxc_addrspace_map_linear(&s->space, 0, 0, SPACE_2M, SPACE_RW));
    OK(vmxc_addrspace_map_alloc(&s->space, 2 * GPA, 8 * PAGE, SPACE_RW, false));
    ck_assert_int_eq(FAULT(s, 2 * GPA, VMXC_MAP_READ), VMXC_FAULT_MAPPED);
    ck_assert_uint_eq(test_hal_count(s->hal, TEST_HAL_INVALIDATE), 0);
    space_destroy(s);
}
END_TEST

/* ---- Unmapping ---- */

START_TEST(unmapping_part_of_a_large_page_keeps_the_rest)
{
    static const uint64_t page_sizes[] = {SPACE_2M, SPACE_1G};
    struct space *s = space_create(64);
    const uint64_t size = page_sizes[_i];

    OK(vmxc_addrspace_map_linear(&s->space, GPA, 4 * SPACE_1G, size, SPACE_RW));
    assert_page(s, GPA, 4 * SPACE_1G, size, SPACE_RW);
    test_hal_clear_log(s->hal);
    OK(vmxc_addrspace_unmap(&s->space, GPA + 5 * PAGE, PAGE));
    ck_assert_uint_eq(test_hal_count(s->hal, TEST_HAL_INVALIDATE), 1);
    assert_nothing_at(s, GPA + 5 * PAGE);
    assert_page(s, GPA + 5 * PAGE - 1, 4 * SPACE_1G + 5 * PAGE - 1, PAGE, SPACE_RW);
    assert_page(s, GPA + 6 * PAGE, 4 * SPACE_1G + 6 * PAGE, PAGE, SPACE_RW);
    assert_page(s, GPA + size - 1, 4 * SPACE_1G + size - 1, size == SPACE_1G ? SPACE_2M : PAGE,
                SPACE_RW);
    ck_assert_uint_eq(s->space.areas.count, 2);
    ck_assert_uint_eq(nth_area(s, 0)->size, 5 * PAGE);
    ck_assert_uint_eq(nth_area(s, 1)->size, size - 6 * PAGE);
    ck_assert_uint_eq(nth_area(s, 1)->hpa, 4 * SPACE_1G + 6 * PAGE);
    space_destroy(s);
}
END_TEST

START_TEST(unmapping_spans_areas_and_holes_with_one_invalidation)
{
    struct space *s = space_create(256);

    OK(vmxc_addrspace_map_alloc(&s->space, GPA, 8 * PAGE, SPACE_RW, true));
    OK(vmxc_addrspace_map_linear(&s->space, GPA + 8 * PAGE, 0, 8 * PAGE, VMXC_MAP_READ));
    OK(vmxc_addrspace_map_alloc(&s->space, GPA + 20 * PAGE, 8 * PAGE, SPACE_RW, false));
    OK(vmxc_addrspace_map_alloc(&s->space, GPA + 40 * PAGE, 8 * PAGE, SPACE_RW, true));
    ck_assert_int_eq(FAULT(s, GPA + 21 * PAGE, VMXC_MAP_READ), VMXC_FAULT_MAPPED);
    test_hal_clear_log(s->hal);
    OK(vmxc_addrspace_unmap(&s->space, GPA + 2 * PAGE, 42 * PAGE));
    ck_assert_uint_eq(test_hal_count(s->hal, TEST_HAL_INVALIDATE), 1);
    /* Six pages of the first area, the lazy one that was touched, four of the last. */
    ck_assert_uint_eq(test_hal_count(s->hal, TEST_HAL_FREE), 11);
    ck_assert(space_freed_after_invalidation(s));
    ck_assert_uint_eq(s->space.areas.count, 2);
    ck_assert_uint_eq(nth_area(s, 0)->size, 2 * PAGE);
    ck_assert_uint_eq(nth_area(s, 1)->base, GPA + 44 * PAGE);
    ck_assert_uint_eq(nth_area(s, 1)->size, 4 * PAGE);
    space_destroy(s);
}
END_TEST

START_TEST(frames_go_back_after_invalidation)
{
    struct space *s = space_create(256);

    OK(vmxc_addrspace_map_alloc(&s->space, GPA, 16 * PAGE, SPACE_RW, true));
    test_hal_clear_log(s->hal);
    OK(vmxc_addrspace_unmap(&s->space, GPA, 4 * PAGE));
    ck_assert(space_freed_after_invalidation(s));
    ck_assert_uint_eq(test_hal_count(s->hal, TEST_HAL_FREE), 4);

    test_hal_clear_log(s->hal);
    OK(vmxc_addrspace_replace_alloc(&s->space, GPA + 4 * PAGE, 4 * PAGE, SPACE_RW, true));
    ck_assert(space_freed_after_invalidation(s));
    ck_assert_uint_eq(test_hal_count(s->hal, TEST_HAL_INVALIDATE), 1);

    test_hal_clear_log(s->hal);
    OK(vmxc_addrspace_replace_linear(&s->space, GPA + 4 * PAGE, 0, 4 * PAGE, SPACE_RW));
    ck_assert(space_freed_after_invalidation(s));

    test_hal_clear_log(s->hal);
    OK(vmxc_addrspace_replace_alloc(&s->space, GPA + 8 * PAGE, 4 * PAGE, SPACE_RW, false));
    ck_assert(space_freed_after_invalidation(s));
    ck_assert_uint_eq(test_hal_count(s->hal, TEST_HAL_FREE), 4);

    test_hal_clear_log(s->hal);
    OK(vmxc_addrspace_clear(&s->space));
    ck_assert(space_freed_after_invalidation(s));
    ck_assert_uint_eq(test_hal_count(s->hal, TEST_HAL_INVALIDATE), 1);
    ck_assert_uint_eq(s->hal->frames_in_use, 1); /* the root table */

    OK(vmxc_addrspace_map_alloc(&s->space, GPA, 4 * PAGE, SPACE_RW, true));
    test_hal_clear_log(s->hal);
    vmxc_addrspace_fini(&s->space);
    ck_assert(space_freed_after_invalidation(s));
    ck_assert_uint_eq(s->hal->frames_in_use, 0);
    test_hal_destroy(s->hal);
    free(s);
}
END_TEST

START_TEST(never_touched_lazy_pages_unmap_without_work)
{
    struct space *s = space_create(64);

    OK(vmxc_addrspace_map_alloc(&s->space, GPA, SPACE_1G, SPACE_RW, false));
    test_hal_clear_log(s->hal);
    OK(vmxc_addrspace_unmap(&s->space, GPA + PAGE, SPACE_2M));
    ck_assert_uint_eq(test_hal_count(s->hal, TEST_HAL_INVALIDATE), 0);
    ck_assert_uint_eq(s->space.areas.count, 2);
    OK(vmxc_addrspace_unmap(&s->space, 0, UINT64_C(1) << 40));
    ck_assert_uint_eq(s->space.areas.count, 0);
    ck_assert_uint_eq(s->hal->frames_in_use, 1);
    space_destroy(s);
}
END_TEST

START_TEST(a_mapping_without_access_can_be_protected_and_unmapped)
{
    struct space *s = space_create(64);

    OK(vmxc_addrspace_map_linear(&s->space, GPA, 0x4000, 4 * PAGE, VMXC_MAP_NONE));
    OK(vmxc_addrspace_map_alloc(&s->space, GPA + 4 * PAGE, 4 * PAGE, VMXC_MAP_NONE, true));
    assert_page(s, GPA + PAGE, 0x5000, PAGE, VMXC_MAP_NONE);
    ck_assert_int_eq(FAULT(s, GPA, VMXC_MAP_READ), VMXC_FAULT_DENIED);
    ck_assert_int_eq(FAULT(s, GPA + 4 * PAGE, VMXC_MAP_READ), VMXC_FAULT_DENIED);
    OK(vmxc_addrspace_protect(&s->space, GPA + 5 * PAGE, PAGE, SPACE_RW));
    OK(vmxc_addrspace_unmap(&s->space, GPA, 7 * PAGE));
    ck_assert_uint_eq(s->space.areas.count, 1);
    OK(vmxc_addrspace_unmap(&s->space, GPA, 8 * PAGE));
    ck_assert_uint_eq(s->hal->frames_in_use, 1);
    space_destroy(s);
}
END_TEST

START_TEST(a_page_merged_across_areas_goes_back_to_each_areas_backend)
{
    struct space *s = space_create(2000);
    const uint64_t half = SPACE_2M / 2;

    /* One 2-MByte page over two linear areas. */
    OK(vmxc_addrspace_map_linear(&s->space, GPA, SPACE_2M, half, SPACE_RW));
    OK(vmxc_addrspace_map_linear(&s->space, GPA + half, SPACE_2M + half, half, SPACE_RW));
    OK(vmxc_ept_merge(vmxc_addrspace_ept(&s->space), GPA, SPACE_2M));
    assert_page(s, GPA + half, SPACE_2M + half, SPACE_2M, SPACE_RW);
    ck_assert(vmxc_addrspace_is_valid(&s->space));
    OK(vmxc_addrspace_unmap(&s->space, GPA, half));
    assert_nothing_at(s, GPA + half - 1);
    assert_page(s, GPA + half, SPACE_2M + half, PAGE, SPACE_RW);
    space_destroy(s);
}
END_TEST

/* Pages that are handed out one behind the other, so that they can be merged; each must come back once. */
static struct run_pages {
    struct vmxc_hal inner; /* where all other frames come from */
    uint64_t handed_out;
    bool is_back[1024];
} run_pages;

static enum vmxc_status alloc_from_run(void *context, const char *label, vmxc_hpa_t *frame_hpa)
{
    if (strcmp(label, "guest page") != 0)
        return run_pages.inner.alloc_frame(context, label, frame_hpa);
    *frame_hpa = SPACE_2M + run_pages.handed_out++ * PAGE;
    return VMXC_OK;
}

static void dealloc_to_run(void *context, vmxc_hpa_t frame_hpa)
{
    const uint64_t index = (frame_hpa - SPACE_2M) / PAGE;

    if (index >= run_pages.handed_out) {
        run_pages.inner.dealloc_frame(context, frame_hpa);
        return;
    }
    ck_assert(!run_pages.is_back[index]);
    run_pages.is_back[index] = true;
}

static uint64_t count_pages_back(void)
{
    uint64_t count = 0;

    for (uint64_t i = 0; i < run_pages.handed_out; i++)
        count += run_pages.is_back[i];
    return count;
}

START_TEST(a_merged_page_goes_back_frame_by_frame)
{
    struct space *s = space_create(64);
    const uint64_t half = SPACE_2M / 2;
    struct vmxc_translation_limit limit;

    run_pages = (struct run_pages){.inner = s->hal->hal};
    s->hal->hal.alloc_frame = alloc_from_run;
    s->hal->hal.dealloc_frame = dealloc_to_run;
    OK(vmxc_addrspace_map_alloc(&s->space, GPA, half, SPACE_RW, true));
    OK(vmxc_addrspace_map_alloc(&s->space, GPA + half, half + 20 * PAGE, SPACE_RW, true));
    OK(vmxc_ept_merge(vmxc_addrspace_ept(&s->space), GPA, SPACE_2M));
    assert_page(s, GPA + half, SPACE_2M + half, SPACE_2M, SPACE_RW);

    /* A translation reaches to the end of its area, and some way beyond the page. */
    OK(vmxc_addrspace_translate_with_limit(&s->space, GPA + 5, &limit));
    ck_assert_uint_eq(limit.contiguous, half - 5);
    OK(vmxc_addrspace_translate_with_limit(&s->space, GPA + half, &limit));
    ck_assert_uint_eq(limit.contiguous, half + VMXC_TRANSLATE_SCAN);

    OK(vmxc_addrspace_unmap(&s->space, GPA + half, SPACE_2M));
    ck_assert_uint_eq(count_pages_back(), 256 + 20);
    ck_assert(!run_pages.is_back[255] && run_pages.is_back[256]);
    OK(vmxc_addrspace_clear(&s->space));
    ck_assert_uint_eq(count_pages_back(), run_pages.handed_out);

    /* All of a merged page at once, two areas of it. */
    run_pages = (struct run_pages){.inner = run_pages.inner};
    OK(vmxc_addrspace_map_alloc(&s->space, GPA, half, SPACE_RW, true));
    OK(vmxc_addrspace_map_alloc(&s->space, GPA + half, half, SPACE_RW, true));
    OK(vmxc_ept_merge(vmxc_addrspace_ept(&s->space), GPA, SPACE_2M));
    assert_page(s, GPA, SPACE_2M, SPACE_2M, SPACE_RW);
    OK(vmxc_addrspace_unmap(&s->space, 0, 4 * GPA));
    ck_assert_uint_eq(count_pages_back(), 512);

    /* Half of it the caller's memory, which stays the caller's. */
    for (int linear_first = 0; linear_first < 2; linear_first++) {
        const uint64_t linear = linear_first ? 0 : half;
        run_pages = (struct run_pages){.inner = run_pages.inner};
        run_pages.handed_out = linear_first ? 256 : 0;
        OK(vmxc_addrspace_map_linear(&s->space, GPA + linear, SPACE_2M + linear, half, SPACE_RW));
        OK(vmxc_addrspace_map_alloc(&s->space, GPA + half - linear, half, SPACE_RW, true));
        OK(vmxc_ept_merge(vmxc_addrspace_ept(&s->space), GPA, SPACE_2M));
        assert_page(s, GPA, SPACE_2M, SPACE_2M, SPACE_RW);
        OK(vmxc_addrspace_unmap(&s->space, GPA, SPACE_2M));
        ck_assert_uint_eq(count_pages_back(), 256);
        ck_assert(run_pages.is_back[linear_first ? 256 : 0]);
    }
    space_destroy(s);
}
END_TEST

/* ---- Protecting ---- */

START_TEST(protection_keeps_content_and_cuts_areas)
{
    struct space *s = space_create(256);

    OK(vmxc_addrspace_map_alloc(&s->space, GPA, 8 * PAGE, SPACE_RW, false));
    for (uint64_t i = 0; i < 8; i += 2) {
        ck_assert_int_eq(FAULT(s, GPA + i * PAGE, VMXC_MAP_WRITE), VMXC_FAULT_MAPPED);
        space_write(s, GPA + i * PAGE, 0x1111 * (i + 1));
    }
    test_hal_clear_log(s->hal);
    OK(vmxc_addrspace_protect(&s->space, GPA + 2 * PAGE, 4 * PAGE, VMXC_MAP_NONE));
    ck_assert_uint_eq(test_hal_count(s->hal, TEST_HAL_INVALIDATE), 1);
    ck_assert_uint_eq(s->space.areas.count, 3);
    ck_assert_int_eq(FAULT(s, GPA + 2 * PAGE, VMXC_MAP_READ), VMXC_FAULT_DENIED);
    ck_assert_int_eq(FAULT(s, GPA + 3 * PAGE, VMXC_MAP_READ),
                     VMXC_FAULT_DENIED); /* never touched */
    ck_assert_int_eq(FAULT(s, GPA, VMXC_MAP_WRITE), VMXC_FAULT_ALREADY_BACKED);

    test_hal_clear_log(s->hal);
    OK(vmxc_addrspace_protect(&s->space, GPA, 8 * PAGE, SPACE_RW));    /* over three areas */
    ck_assert_uint_eq(test_hal_count(s->hal, TEST_HAL_INVALIDATE), 0); /* rights only grow */
    ck_assert_uint_eq(s->space.areas.count, 3);
    for (uint64_t i = 0; i < 8; i += 2)
        ck_assert_uint_eq(space_read(s, GPA + i * PAGE), 0x1111 * (i + 1));
    ck_assert_int_eq(FAULT(s, GPA + 3 * PAGE, VMXC_MAP_READ), VMXC_FAULT_MAPPED);
    ck_assert_uint_eq(space_read(s, GPA + 3 * PAGE), 0);
    space_destroy(s);
}
END_TEST

START_TEST(protecting_part_of_a_large_page_splits_it)
{
    struct space *s = space_create(64);
    const vmxc_map_flags device = VMXC_MAP_READ | VMXC_MAP_DEVICE;

    OK(vmxc_addrspace_map_linear(&s->space, 0, SPACE_1G, SPACE_1G, VMXC_MAP_RWX));
    test_hal_clear_log(s->hal);
    OK(vmxc_addrspace_protect(&s->space, SPACE_2M, SPACE_2M, device));
    ck_assert_uint_eq(test_hal_count(s->hal, TEST_HAL_INVALIDATE), 1);
    assert_page(s, 0, SPACE_1G, SPACE_2M, VMXC_MAP_RWX);
    assert_page(s, SPACE_2M, SPACE_1G + SPACE_2M, SPACE_2M, device);
    assert_page(s, 2 * SPACE_2M, SPACE_1G + 2 * SPACE_2M, SPACE_2M, VMXC_MAP_RWX);
    space_destroy(s);
}
END_TEST

/* ---- Replacing ---- */

START_TEST(replacing_takes_the_middle_of_what_was_there)
{
    struct space *s = space_create(256);

    OK(vmxc_addrspace_map_alloc(&s->space, GPA, 8 * PAGE, SPACE_RW, true));
    OK(vmxc_addrspace_map_alloc(&s->space, GPA + 10 * PAGE, 2 * PAGE, SPACE_RW, true));
    OK(vmxc_addrspace_map_alloc(&s->space, GPA + 12 * PAGE, 8 * PAGE, SPACE_RW, true));
    space_write(s, GPA, 11);
    space_write(s, GPA + 19 * PAGE, 22);
    OK(vmxc_addrspace_replace_linear(&s->space, GPA + 4 * PAGE, 0x200000, 12 * PAGE,
                                     VMXC_MAP_READ));
    ck_assert_uint_eq(s->space.areas.count, 3);
    ck_assert_uint_eq(nth_area(s, 1)->base, GPA + 4 * PAGE);
    ck_assert_uint_eq(nth_area(s, 1)->size, 12 * PAGE);
    assert_page(s, GPA + 4 * PAGE, 0x200000, PAGE, VMXC_MAP_READ);
    assert_page(s, GPA + 15 * PAGE, 0x200000 + 11 * PAGE, PAGE, VMXC_MAP_READ);
    ck_assert_uint_eq(space_read(s, GPA), 11);
    ck_assert_uint_eq(space_read(s, GPA + 19 * PAGE), 22);
    space_destroy(s);
}
END_TEST

START_TEST(replacing_nothing_is_mapping)
{
    struct space *s = space_create(256);

    OK(vmxc_addrspace_replace_linear(&s->space, GPA, 0, 4 * PAGE, SPACE_RW));
    OK(vmxc_addrspace_replace_alloc(&s->space, 0, 4 * PAGE, SPACE_RW, true));
    OK(vmxc_addrspace_replace_alloc(&s->space, 2 * GPA, 4 * PAGE, SPACE_RW, false));
    ck_assert_uint_eq(s->space.areas.count, 3);
    ck_assert_uint_eq(test_hal_count(s->hal, TEST_HAL_INVALIDATE), 0);
    ck_assert_uint_eq(s->hal->traced[VMXC_TRACE_UNMAP], 0);
    space_destroy(s);
}
END_TEST

START_TEST(replaced_pages_start_from_zero)
{
    struct space *s = space_create(256);

    for (int populate = 0; populate < 2; populate++) {
        OK(vmxc_addrspace_replace_alloc(&s->space, GPA, 4 * PAGE, SPACE_RW, true));
        space_write(s, GPA + PAGE, 77);
        OK(vmxc_addrspace_replace_alloc(&s->space, GPA, 4 * PAGE, SPACE_RW, populate));
        ck_assert_int_eq(FAULT(s, GPA + PAGE, VMXC_MAP_READ),
                         populate ? VMXC_FAULT_ALREADY_BACKED : VMXC_FAULT_MAPPED);
        ck_assert_uint_eq(space_read(s, GPA + PAGE), 0);
    }
    space_destroy(s);
}
END_TEST

/* ---- Cost ---- */

START_TEST(unmapping_one_of_100000_areas_costs_as_much_as_one_of_few)
{
    struct space *s = space_create_with(&space_config, 8000, false);
    const uint64_t count = 100000;
    uint64_t worst = 0;

    for (uint64_t i = 0; i < count; i++)
        OK(vmxc_addrspace_map_alloc(&s->space, 4 * i * PAGE, 3 * PAGE, SPACE_RW, false));
    for (uint64_t i = 0; i < count; i += 1013) {
        s->hal->lookups = 0;
        OK(vmxc_addrspace_unmap(&s->space, 4 * i * PAGE + PAGE, PAGE)); /* cut one in three */
        worst = s->hal->lookups > worst ? s->hal->lookups : worst;
        s->hal->lookups = 0;
        OK(vmxc_addrspace_unmap(&s->space, 4 * i * PAGE + 2 * PAGE, PAGE)); /* drop one */
        worst = s->hal->lookups > worst ? s->hal->lookups : worst;
        s->hal->lookups = 0;
        OK(vmxc_addrspace_protect(&s->space, 4 * i * PAGE, PAGE, VMXC_MAP_READ));
        worst = s->hal->lookups > worst ? s->hal->lookups : worst;
    }
    /* About a dozen descents of three nodes, the EPT's walk, and now and then a node that is split. */
    ck_assert_uint_le(worst, 80);
    space_destroy(s);
}
END_TEST

/* ---- Trace ---- */

START_TEST(operations_are_traced)
{
    struct space *s = space_create(64);
    static const struct {
        enum vmxc_trace_kind kind;
        uint64_t gpa, hpa, size, value;
    } expected[] = {
        {VMXC_TRACE_MAP, GPA, 0x4000, 4 * PAGE, 0},
        {VMXC_TRACE_MAP, 2 * GPA, 0, 4 * PAGE, 0},
        {VMXC_TRACE_PAGE_FAULT, 2 * GPA + 5, 0, 0, VMXC_FAULT_MAPPED},
        {VMXC_TRACE_PAGE_FAULT, 3 * GPA + 7, 0, 0, VMXC_FAULT_NO_AREA},
        {VMXC_TRACE_PROTECT, GPA + PAGE, 0, PAGE, 0},
        {VMXC_TRACE_UNMAP, GPA + 2 * PAGE, 0, PAGE, 0},
        {VMXC_TRACE_UNMAP, 0, 0, UINT64_C(1) << 40, 0},
    };
    size_t seen = 0;

    OK(vmxc_addrspace_map_linear(&s->space, GPA, 0x4000, 4 * PAGE, SPACE_RW));
    OK(vmxc_addrspace_map_alloc(&s->space, 2 * GPA, 4 * PAGE, SPACE_RW, false));
    ck_assert_int_eq(FAULT(s, 2 * GPA + 5, VMXC_MAP_READ), VMXC_FAULT_MAPPED);
    ck_assert_int_eq(FAULT(s, 3 * GPA + 7, VMXC_MAP_READ), VMXC_FAULT_NO_AREA);
    OK(vmxc_addrspace_protect(&s->space, GPA + PAGE, PAGE, VMXC_MAP_READ));
    OK(vmxc_addrspace_unmap(&s->space, GPA + 2 * PAGE, PAGE));
    OK(vmxc_addrspace_clear(&s->space));
    for (size_t i = 0; i < s->hal->trace_count; i++) {
        const struct vmxc_trace_event *event = &s->hal->traces[i];
        if (event->kind != VMXC_TRACE_MAP && event->kind != VMXC_TRACE_UNMAP &&
            event->kind != VMXC_TRACE_PROTECT && event->kind != VMXC_TRACE_PAGE_FAULT)
            continue;
        ck_assert_uint_lt(seen, 7);
        ck_assert_int_eq(event->kind, expected[seen].kind);
        ck_assert_uint_eq(event->gpa, expected[seen].gpa);
        ck_assert_uint_eq(event->hpa, expected[seen].hpa);
        ck_assert_uint_eq(event->size, expected[seen].size);
        ck_assert_uint_eq(event->value, expected[seen].value);
        seen++;
    }
    ck_assert_uint_eq(seen, 7);
    space_destroy(s);
}
END_TEST

static Suite *addrspace_suite(void)
{
    Suite *suite = suite_create("addrspace");
    TCase *changes = tcase_create("changes");
    TCase *cost = tcase_create("cost");
    TCase *trace = tcase_create("trace");

    tcase_add_test(changes, linear_host_addresses_may_lie_above_and_below_guest_addresses);
    tcase_add_test(changes, a_lazy_area_takes_neither_table_nor_frame);
    tcase_add_test(changes, populated_pages_are_zeroed_and_distinct);
    tcase_add_test(changes, mapping_needs_no_invalidation);
    tcase_add_loop_test(changes, unmapping_part_of_a_large_page_keeps_the_rest, 0, 2);
    tcase_add_test(changes, unmapping_spans_areas_and_holes_with_one_invalidation);
    tcase_add_test(changes, frames_go_back_after_invalidation);
    tcase_add_test(changes, never_touched_lazy_pages_unmap_without_work);
    tcase_add_test(changes, a_mapping_without_access_can_be_protected_and_unmapped);
    tcase_add_test(changes, a_page_merged_across_areas_goes_back_to_each_areas_backend);
    tcase_add_test(changes, a_merged_page_goes_back_frame_by_frame);
    tcase_add_test(changes, protection_keeps_content_and_cuts_areas);
    tcase_add_test(changes, protecting_part_of_a_large_page_splits_it);
    tcase_add_test(changes, replacing_takes_the_middle_of_what_was_there);
    tcase_add_test(changes, replacing_nothing_is_mapping);
    tcase_add_test(changes, replaced_pages_start_from_zero);
    tcase_set_timeout(changes, 120);
    suite_add_tcase(suite, changes);
    tcase_add_test(cost, unmapping_one_of_100000_areas_costs_as_much_as_one_of_few);
    tcase_set_timeout(cost, 120);
    suite_add_tcase(suite, cost);
    tcase_add_test(trace, operations_are_traced);
    tcase_set_timeout(trace, 120);
    suite_add_tcase(suite, trace);
    return suite;
}

int main(void)
{
    return run_suite(addrspace_suite());
}
