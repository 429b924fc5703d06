/* SPDX-License-Identifier: Apache-2.0 */
/* The address space: mapping, replacing, unmapping, protecting; what is refused and what a refusal leaves. */
#include <check.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "support/space.h"

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

#define OK(call)              ck_assert_int_eq((call), VMXC_OK)
#define FAULT(s, gpa, access) vmxc_addrspace_handle_page_fault(&(s)->space, (gpa), (access))

/* ---- Life cycle ---- */

START_TEST(init_refuses_what_cannot_be_a_space)
{
    static const struct {
        uint64_t base, size;
    } bad[] = {
        {0, 0},
        {1, PAGE},
        {0, PAGE + 1},
        {0, (UINT64_C(1) << 46) + PAGE},        /* beyond MAXPHYADDR */
        {(UINT64_C(1) << 46) - PAGE, 2 * PAGE}, /* across it */
        {UINT64_MAX - PAGE + 1, PAGE},          /* ends at 2^64 */
        {PAGE, UINT64_MAX - PAGE + 1},          /* wraps */
    };
    struct probe *probe = probe_create(16, true);
    struct vmxc_addrspace space;
    struct vmxc_addrspace untouched;

    memset(&space, 0x5a, sizeof(space));
    memcpy(&untouched, &space, sizeof(space));
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        ck_assert_int_eq(
            vmxc_addrspace_init(&space, &probe->hal, &space_config, bad[i].base, bad[i].size),
            VMXC_INVALID_INPUT);
    vmxsim_memory_fail_nth(probe->memory, 1);
    ck_assert_int_eq(vmxc_addrspace_init(&space, &probe->hal, &space_config, 0, PAGE),
                     VMXC_NO_MEMORY);
    ck_assert_mem_eq(&space, &untouched, sizeof(space));
    probe_destroy(probe);
}
END_TEST

START_TEST(an_uninitialized_space_answers)
{
    struct vmxc_addrspace space = {.base = 0};
    struct vmxc_translation translation;
    struct vmxc_translation_limit limit;
    struct vmxc_guest_segment segment;
    size_t count;
    char text[64];

    ck_assert_int_eq(vmxc_addrspace_map_linear(&space, 0, 0, PAGE, VMXC_MAP_READ), VMXC_BAD_STATE);
    ck_assert_int_eq(vmxc_addrspace_map_alloc(&space, 0, PAGE, VMXC_MAP_READ, true),
                     VMXC_BAD_STATE);
    ck_assert_int_eq(vmxc_addrspace_replace_linear(&space, 0, 0, PAGE, VMXC_MAP_READ),
                     VMXC_BAD_STATE);
    ck_assert_int_eq(vmxc_addrspace_replace_alloc(&space, 0, PAGE, VMXC_MAP_READ, true),
                     VMXC_BAD_STATE);
    ck_assert_int_eq(vmxc_addrspace_unmap(&space, 0, PAGE), VMXC_BAD_STATE);
    ck_assert_int_eq(vmxc_addrspace_protect(&space, 0, PAGE, VMXC_MAP_READ), VMXC_BAD_STATE);
    ck_assert_int_eq(vmxc_addrspace_clear(&space), VMXC_BAD_STATE);
    ck_assert_int_eq(vmxc_addrspace_translate(&space, 0, &translation), VMXC_BAD_STATE);
    ck_assert_int_eq(vmxc_addrspace_translate_with_limit(&space, 0, &limit), VMXC_BAD_STATE);
    ck_assert_int_eq(vmxc_addrspace_buffer(&space, 0, 1, VMXC_MAP_READ, &segment, 1, &count),
                     VMXC_BAD_STATE);
    ck_assert_int_eq(vmxc_addrspace_for_each_area(&space, NULL, NULL), VMXC_BAD_STATE);
    ck_assert_int_eq(vmxc_addrspace_for_each_mapping(&space, NULL, NULL), VMXC_BAD_STATE);
    ck_assert_int_eq(vmxc_addrspace_handle_page_fault(&space, 0, VMXC_MAP_READ),
                     VMXC_FAULT_NO_AREA);
    ck_assert(!vmxc_addrspace_is_valid(&space));
    ck_assert_uint_eq(vmxc_addrspace_eptp(&space), 0);
    ck_assert_uint_eq(vmxc_addrspace_format(&space, text, sizeof(text)), strlen(text));
    ck_assert_str_eq(text, "address space (uninitialized)\n");
    vmxc_addrspace_fini(&space);
}
END_TEST

START_TEST(accessors_tell_the_extent)
{
    struct probe *probe = probe_create(16, true);
    struct vmxc_addrspace space;

    OK(vmxc_addrspace_init(&space, &probe->hal, &space_config, 0x10000, 0x8000));
    ck_assert_uint_eq(vmxc_addrspace_base(&space), 0x10000);
    ck_assert_uint_eq(vmxc_addrspace_size(&space), 0x8000);
    ck_assert_uint_eq(vmxc_addrspace_end(&space), 0x18000);
    ck_assert(vmxc_addrspace_contains(&space, 0x10000, 0x8000));
    ck_assert(vmxc_addrspace_contains(&space, 0x17fff, 1));
    ck_assert(!vmxc_addrspace_contains(&space, 0x17fff, 2));
    ck_assert(!vmxc_addrspace_contains(&space, 0xffff, 1));
    ck_assert(!vmxc_addrspace_contains(&space, 0xffff, 2));
    ck_assert(!vmxc_addrspace_contains(&space, 0x18000, 1));
    ck_assert(!vmxc_addrspace_contains(&space, 0x12000, 0));
    ck_assert(!vmxc_addrspace_contains(&space, 0x12000, UINT64_MAX));
    ck_assert_uint_eq(vmxc_addrspace_eptp(&space) & VMXC_EPTP_ADDRESS, vmxc_addrspace_root(&space));
    ck_assert_ptr_eq(vmxc_addrspace_ept(&space), &space.ept);
    vmxc_addrspace_fini(&space);
    vmxc_addrspace_fini(&space);
    ck_assert_uint_eq(vmxc_addrspace_size(&space), 0);
    probe_destroy(probe);
}
END_TEST

/* ---- Refusals ---- */

static const struct {
    uint64_t gpa, size;
} bad_ranges[] = {
    {GPA, 0},
    {GPA + 1, PAGE},
    {GPA, PAGE - 1},
    {UINT64_C(1) << 40, PAGE},              /* behind the space */
    {(UINT64_C(1) << 40) - PAGE, 2 * PAGE}, /* across its end */
    {UINT64_MAX - PAGE + 1, PAGE},          /* address + size is 2^64 */
    {GPA, UINT64_MAX - PAGE + 1},           /* address + size overflows */
    {UINT64_C(1) << 48, PAGE},              /* would alias 0 if it were truncated */
};

START_TEST(a_bad_range_is_refused_by_every_operation)
{
    struct space *s = space_create(64);
    const uint64_t gpa = bad_ranges[_i].gpa;
    const uint64_t size = bad_ranges[_i].size;
    struct vmxc_addrspace *space = &s->space;

    OK(vmxc_addrspace_map_alloc(space, 0, 4 * PAGE, SPACE_RW, true));
    OK(vmxc_addrspace_map_alloc(space, (UINT64_C(1) << 40) - PAGE, PAGE, SPACE_RW, false));
    char *before = space_dump(s);
    ck_assert_int_eq(vmxc_addrspace_map_linear(space, gpa, 0, size, SPACE_RW), VMXC_INVALID_INPUT);
    for (int populate = 0; populate < 2; populate++) {
        ck_assert_int_eq(vmxc_addrspace_map_alloc(space, gpa, size, SPACE_RW, populate),
                         VMXC_INVALID_INPUT);
        ck_assert_int_eq(vmxc_addrspace_replace_alloc(space, gpa, size, SPACE_RW, populate),
                         VMXC_INVALID_INPUT);
    }
    ck_assert_int_eq(vmxc_addrspace_replace_linear(space, gpa, 0, size, SPACE_RW),
                     VMXC_INVALID_INPUT);
    ck_assert_int_eq(vmxc_addrspace_unmap(space, gpa, size), VMXC_INVALID_INPUT);
    ck_assert_int_eq(vmxc_addrspace_protect(space, gpa, size, SPACE_RW), VMXC_INVALID_INPUT);
    space_assert_same(s, before, "a refused call");
    space_destroy(s);
}
END_TEST

START_TEST(a_bad_host_address_is_refused)
{
    static const uint64_t bad[] = {1, UINT64_C(1) << 46, (UINT64_C(1) << 46) - PAGE,
                                   UINT64_MAX - PAGE + 1, UINT64_MAX};
    struct space *s = space_create(64);

    OK(vmxc_addrspace_map_alloc(&s->space, GPA, 2 * PAGE, SPACE_RW, true));
    char *before = space_dump(s);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        ck_assert_int_eq(vmxc_addrspace_map_linear(&s->space, 0, bad[i], 2 * PAGE, SPACE_RW),
                         VMXC_INVALID_INPUT);
        ck_assert_int_eq(vmxc_addrspace_replace_linear(&s->space, GPA, bad[i], 2 * PAGE, SPACE_RW),
                         VMXC_INVALID_INPUT);
    }
    space_assert_same(s, before, "a refused call");
    space_destroy(s);
}
END_TEST

START_TEST(flags_are_checked_when_a_lazy_area_is_mapped)
{
    static const struct {
        vmxc_map_flags flags;
        enum vmxc_status status;
    } bad[] = {
        {VMXC_MAP_WRITE, VMXC_INVALID_INPUT},
        {VMXC_MAP_WRITE | VMXC_MAP_EXECUTE, VMXC_INVALID_INPUT},
        {VMXC_MAP_EXECUTE, VMXC_UNSUPPORTED},
        {VMXC_MAP_READ | VMXC_MAP_USER, VMXC_UNSUPPORTED},
        {VMXC_MAP_READ | (vmxc_map_flags)1u << 20, VMXC_INVALID_INPUT},
        {VMXC_MAP_READ | VMXC_MAP_TYPE(2), VMXC_INVALID_INPUT},
        {VMXC_MAP_READ | VMXC_MAP_DEVICE | VMXC_MAP_TYPE(VMXC_MEMORY_TYPE_WB), VMXC_INVALID_INPUT},
    };
    struct space *s = space_create(64);

    OK(vmxc_addrspace_map_alloc(&s->space, GPA, 2 * PAGE, SPACE_RW, true));
    char *before = space_dump(s);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        const vmxc_map_flags flags = bad[i].flags;
        for (int populate = 0; populate < 2; populate++) {
            ck_assert_int_eq(vmxc_addrspace_map_alloc(&s->space, 0, PAGE, flags, populate),
                             bad[i].status);
            ck_assert_int_eq(vmxc_addrspace_replace_alloc(&s->space, GPA, PAGE, flags, populate),
                             bad[i].status);
        }
        ck_assert_int_eq(vmxc_addrspace_map_linear(&s->space, 0, 0, PAGE, flags), bad[i].status);
        ck_assert_int_eq(vmxc_addrspace_replace_linear(&s->space, GPA, 0, PAGE, flags),
                         bad[i].status);
        ck_assert_int_eq(vmxc_addrspace_protect(&s->space, GPA, PAGE, flags), bad[i].status);
    }
    space_assert_same(s, before, "a refused call");
    space_destroy(s);
}
END_TEST

START_TEST(an_overlapping_map_is_refused)
{
    struct space *s = space_create(64);

    OK(vmxc_addrspace_map_linear(&s->space, GPA, 0, 4 * PAGE, SPACE_RW));
    OK(vmxc_addrspace_map_alloc(&s->space, GPA + 8 * PAGE, 4 * PAGE, SPACE_RW, false));
    char *before = space_dump(s);
    for (int populate = 0; populate < 2; populate++)
        for (uint64_t page = 0; page < 14; page++) {
            const bool is_free = (page >= 5 && page <= 7) || page >= 13; /* page - 1 and page */
            if (!is_free)
                ck_assert_int_eq(vmxc_addrspace_map_alloc(&s->space, GPA + (page - 1) * PAGE,
                                                          2 * PAGE, SPACE_RW, populate),
                                 VMXC_ALREADY_EXISTS);
        }
    ck_assert_int_eq(vmxc_addrspace_map_linear(&s->space, 0, 0, 2 * SPACE_1G, SPACE_RW),
                     VMXC_ALREADY_EXISTS);
    space_assert_same(s, before, "a refused call");
    OK(vmxc_addrspace_map_alloc(&s->space, GPA + 4 * PAGE, 4 * PAGE, SPACE_RW, true));
    space_destroy(s);
}
END_TEST

START_TEST(protecting_a_range_with_a_hole_changes_nothing)
{
    struct space *s = space_create(64);

    OK(vmxc_addrspace_map_linear(&s->space, GPA, 0, 4 * PAGE, SPACE_RW));
    OK(vmxc_addrspace_map_linear(&s->space, GPA + 5 * PAGE, 0, 4 * PAGE, SPACE_RW));
    char *before = space_dump(s);
    ck_assert_int_eq(vmxc_addrspace_protect(&s->space, GPA, 9 * PAGE, VMXC_MAP_READ),
                     VMXC_NOT_FOUND);
    ck_assert_int_eq(vmxc_addrspace_protect(&s->space, GPA - PAGE, 2 * PAGE, VMXC_MAP_READ),
                     VMXC_NOT_FOUND);
    ck_assert_int_eq(vmxc_addrspace_protect(&s->space, GPA + 8 * PAGE, 2 * PAGE, VMXC_MAP_READ),
                     VMXC_NOT_FOUND);
    ck_assert_int_eq(vmxc_addrspace_unmap(&s->space, 0, GPA), VMXC_NOT_FOUND);
    space_assert_same(s, before, "a refused call");
    space_destroy(s);
}
END_TEST

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
    const uint64_t before = probe_frames_in_use(s->probe); /* root and one node of areas */
    ck_assert_uint_eq(before, 2);
    OK(vmxc_addrspace_map_alloc(&s->space, GPA, UINT64_C(1) << 38, SPACE_RW, false));
    ck_assert_uint_eq(probe_frames_in_use(s->probe), before);
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
    ck_assert_uint_eq(probe_count_events(s->probe, PROBE_INVALIDATE), 0);
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
    probe_clear_log(s->probe);
    OK(vmxc_addrspace_unmap(&s->space, GPA + 5 * PAGE, PAGE));
    ck_assert_uint_eq(probe_count_events(s->probe, PROBE_INVALIDATE), 1);
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
    probe_clear_log(s->probe);
    OK(vmxc_addrspace_unmap(&s->space, GPA + 2 * PAGE, 42 * PAGE));
    ck_assert_uint_eq(probe_count_events(s->probe, PROBE_INVALIDATE), 1);
    /* Six pages of the first area, the lazy one that was touched, four of the last. */
    ck_assert_uint_eq(probe_count_events(s->probe, PROBE_FREE), 11);
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
    probe_clear_log(s->probe);
    OK(vmxc_addrspace_unmap(&s->space, GPA, 4 * PAGE));
    ck_assert(space_freed_after_invalidation(s));
    ck_assert_uint_eq(probe_count_events(s->probe, PROBE_FREE), 4);

    probe_clear_log(s->probe);
    OK(vmxc_addrspace_replace_alloc(&s->space, GPA + 4 * PAGE, 4 * PAGE, SPACE_RW, true));
    ck_assert(space_freed_after_invalidation(s));
    ck_assert_uint_eq(probe_count_events(s->probe, PROBE_INVALIDATE), 1);

    probe_clear_log(s->probe);
    OK(vmxc_addrspace_replace_linear(&s->space, GPA + 4 * PAGE, 0, 4 * PAGE, SPACE_RW));
    ck_assert(space_freed_after_invalidation(s));

    probe_clear_log(s->probe);
    OK(vmxc_addrspace_replace_alloc(&s->space, GPA + 8 * PAGE, 4 * PAGE, SPACE_RW, false));
    ck_assert(space_freed_after_invalidation(s));
    ck_assert_uint_eq(probe_count_events(s->probe, PROBE_FREE), 4);

    probe_clear_log(s->probe);
    OK(vmxc_addrspace_clear(&s->space));
    ck_assert(space_freed_after_invalidation(s));
    ck_assert_uint_eq(probe_count_events(s->probe, PROBE_INVALIDATE), 1);
    ck_assert_uint_eq(probe_frames_in_use(s->probe), 1); /* the root table */

    OK(vmxc_addrspace_map_alloc(&s->space, GPA, 4 * PAGE, SPACE_RW, true));
    probe_clear_log(s->probe);
    vmxc_addrspace_fini(&s->space);
    ck_assert(space_freed_after_invalidation(s));
    ck_assert_uint_eq(probe_frames_in_use(s->probe), 0);
    probe_destroy(s->probe);
    free(s);
}
END_TEST

START_TEST(never_touched_lazy_pages_unmap_without_work)
{
    struct space *s = space_create(64);

    OK(vmxc_addrspace_map_alloc(&s->space, GPA, SPACE_1G, SPACE_RW, false));
    probe_clear_log(s->probe);
    OK(vmxc_addrspace_unmap(&s->space, GPA + PAGE, SPACE_2M));
    ck_assert_uint_eq(probe_count_events(s->probe, PROBE_INVALIDATE), 0);
    ck_assert_uint_eq(s->space.areas.count, 2);
    OK(vmxc_addrspace_unmap(&s->space, 0, UINT64_C(1) << 40));
    ck_assert_uint_eq(s->space.areas.count, 0);
    ck_assert_uint_eq(probe_frames_in_use(s->probe), 1);
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
    ck_assert_uint_eq(probe_frames_in_use(s->probe), 1);
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
static struct {
    uint64_t handed_out;
    bool is_back[1024];
} run_pages;

static enum vmxc_status alloc_from_run(void *context, const char *label, vmxc_hpa_t *frame_hpa)
{
    struct probe *probe = context;
    const struct vmxc_hal *hal = vmxsim_memory_hal(probe->memory);

    if (strcmp(label, "guest page") != 0)
        return hal->alloc_frame(hal->context, label, frame_hpa);
    *frame_hpa = SPACE_2M + run_pages.handed_out++ * PAGE;
    return VMXC_OK;
}

static void dealloc_to_run(void *context, vmxc_hpa_t frame_hpa)
{
    struct probe *probe = context;
    const struct vmxc_hal *hal = vmxsim_memory_hal(probe->memory);
    const uint64_t index = (frame_hpa - SPACE_2M) / PAGE;

    if (index >= run_pages.handed_out) {
        hal->dealloc_frame(hal->context, frame_hpa);
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

    memset(&run_pages, 0, sizeof(run_pages));
    s->probe->hal.alloc_frame = alloc_from_run;
    s->probe->hal.dealloc_frame = dealloc_to_run;
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
    memset(&run_pages, 0, sizeof(run_pages));
    OK(vmxc_addrspace_map_alloc(&s->space, GPA, half, SPACE_RW, true));
    OK(vmxc_addrspace_map_alloc(&s->space, GPA + half, half, SPACE_RW, true));
    OK(vmxc_ept_merge(vmxc_addrspace_ept(&s->space), GPA, SPACE_2M));
    assert_page(s, GPA, SPACE_2M, SPACE_2M, SPACE_RW);
    OK(vmxc_addrspace_unmap(&s->space, 0, 4 * GPA));
    ck_assert_uint_eq(count_pages_back(), 512);

    /* Half of it the caller's memory, which stays the caller's. */
    for (int linear_first = 0; linear_first < 2; linear_first++) {
        const uint64_t linear = linear_first ? 0 : half;
        memset(&run_pages, 0, sizeof(run_pages));
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
    probe_clear_log(s->probe);
    OK(vmxc_addrspace_protect(&s->space, GPA + 2 * PAGE, 4 * PAGE, VMXC_MAP_NONE));
    ck_assert_uint_eq(probe_count_events(s->probe, PROBE_INVALIDATE), 1);
    ck_assert_uint_eq(s->space.areas.count, 3);
    ck_assert_int_eq(FAULT(s, GPA + 2 * PAGE, VMXC_MAP_READ), VMXC_FAULT_DENIED);
    ck_assert_int_eq(FAULT(s, GPA + 3 * PAGE, VMXC_MAP_READ),
                     VMXC_FAULT_DENIED); /* never touched */
    ck_assert_int_eq(FAULT(s, GPA, VMXC_MAP_WRITE), VMXC_FAULT_ALREADY_BACKED);

    probe_clear_log(s->probe);
    OK(vmxc_addrspace_protect(&s->space, GPA, 8 * PAGE, SPACE_RW));       /* over three areas */
    ck_assert_uint_eq(probe_count_events(s->probe, PROBE_INVALIDATE), 0); /* rights only grow */
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
    probe_clear_log(s->probe);
    OK(vmxc_addrspace_protect(&s->space, SPACE_2M, SPACE_2M, device));
    ck_assert_uint_eq(probe_count_events(s->probe, PROBE_INVALIDATE), 1);
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
    ck_assert_uint_eq(probe_count_events(s->probe, PROBE_INVALIDATE), 0);
    ck_assert_uint_eq(probe_count_traces(s->probe, VMXC_TRACE_UNMAP), 0);
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

/* ---- Failing allocations ---- */

/* A space with a bit of everything, in front of each operation below. */
static struct space *mixed_space(void)
{
    struct space *s = space_create(4096);

    OK(vmxc_addrspace_map_linear(&s->space, 0, SPACE_1G, SPACE_1G, VMXC_MAP_RWX));
    OK(vmxc_addrspace_map_alloc(&s->space, GPA, 16 * PAGE, SPACE_RW, true));
    OK(vmxc_addrspace_map_alloc(&s->space, GPA + 16 * PAGE, 16 * PAGE, VMXC_MAP_READ, false));
    ck_assert_int_eq(FAULT(s, GPA + 17 * PAGE, VMXC_MAP_READ), VMXC_FAULT_MAPPED);
    OK(vmxc_addrspace_map_linear(&s->space, GPA + SPACE_2M, 0, 2 * SPACE_2M, SPACE_RW));
    /* Fill the one leaf of areas, so that cuts and insertions need nodes. */
    for (uint64_t i = 0; s->space.areas.count < 102; i++)
        OK(vmxc_addrspace_map_alloc(&s->space, 8 * SPACE_1G + 2 * i * PAGE, PAGE, SPACE_RW, false));
    return s;
}

static enum vmxc_status do_map_linear(struct vmxc_addrspace *space)
{
    return vmxc_addrspace_map_linear(space, 4 * SPACE_1G + PAGE, 0, 2 * SPACE_1G, SPACE_RW);
}

static enum vmxc_status do_map_eager(struct vmxc_addrspace *space)
{
    return vmxc_addrspace_map_alloc(space, 4 * SPACE_1G - 4 * PAGE, 40 * PAGE, SPACE_RW, true);
}

static enum vmxc_status do_map_lazy(struct vmxc_addrspace *space)
{
    return vmxc_addrspace_map_alloc(space, 4 * SPACE_1G, 40 * PAGE, SPACE_RW, false);
}

static enum vmxc_status do_replace_linear(struct vmxc_addrspace *space)
{
    return vmxc_addrspace_replace_linear(space, SPACE_1G - 3 * PAGE, PAGE, 8 * PAGE, SPACE_RW);
}

static enum vmxc_status do_replace_eager(struct vmxc_addrspace *space)
{
    return vmxc_addrspace_replace_alloc(space, GPA + 5 * PAGE, SPACE_2M, SPACE_RW, true);
}

static enum vmxc_status do_replace_lazy(struct vmxc_addrspace *space)
{
    return vmxc_addrspace_replace_alloc(space, SPACE_2M + PAGE, PAGE, SPACE_RW, false);
}

static enum vmxc_status do_replace_hole(struct vmxc_addrspace *space)
{
    return vmxc_addrspace_replace_alloc(space, 4 * SPACE_1G, 3 * PAGE, SPACE_RW, true);
}

static enum vmxc_status do_unmap(struct vmxc_addrspace *space)
{
    return vmxc_addrspace_unmap(space, SPACE_2M + PAGE, SPACE_1G + PAGE);
}

static enum vmxc_status do_unmap_middle(struct vmxc_addrspace *space)
{
    return vmxc_addrspace_unmap(space, 3 * PAGE, PAGE);
}

static enum vmxc_status do_protect(struct vmxc_addrspace *space)
{
    return vmxc_addrspace_protect(space, SPACE_1G - PAGE, 20 * PAGE, VMXC_MAP_READ);
}

static enum vmxc_status do_fault(struct vmxc_addrspace *space)
{
    const enum vmxc_fault_result result =
        vmxc_addrspace_handle_page_fault(space, 8 * SPACE_1G + 123, VMXC_MAP_WRITE);

    ck_assert(result == VMXC_FAULT_MAPPED || result == VMXC_FAULT_NO_MEMORY);
    return result == VMXC_FAULT_MAPPED ? VMXC_OK : VMXC_NO_MEMORY;
}

static enum vmxc_status do_buffer(struct vmxc_addrspace *space)
{
    struct vmxc_guest_segment segments[4];
    size_t count = 99;
    const enum vmxc_status status =
        vmxc_addrspace_buffer(space, 8 * SPACE_1G + 123, 8, VMXC_MAP_READ, segments, 4, &count);
    ck_assert_uint_eq(count, status == VMXC_OK ? 1 : 99);
    return status;
}

static const struct {
    const char *name;
    enum vmxc_status (*run)(struct vmxc_addrspace *space);
    unsigned least_failures; /* allocations that the operation makes at least */
} operations[] = {
    {"map linear", do_map_linear, 4},
    {"map eager", do_map_eager, 44},
    {"map lazy", do_map_lazy, 2},
    {"replace linear", do_replace_linear, 4},
    {"replace eager", do_replace_eager, 513},
    {"replace lazy", do_replace_lazy, 4},
    {"replace a hole", do_replace_hole, 5},
    {"unmap", do_unmap, 4},
    {"unmap in the middle", do_unmap_middle, 4},
    {"protect", do_protect, 4},
    {"fault", do_fault, 2},
    {"buffer", do_buffer, 2},
};

START_TEST(an_operation_without_memory_changes_nothing)
{
    struct space *s = mixed_space();
    unsigned failures = 0;

    for (uint64_t n = 1;; n++) {
        char *before = space_dump(s);

        vmxsim_memory_fail_nth(s->probe->memory, n);
        probe_clear_log(s->probe);
        const enum vmxc_status status = operations[_i].run(&s->space);
        vmxsim_memory_fail_nth(s->probe->memory, 0);
        if (status == VMXC_OK) {
            free(before);
            break;
        }
        failures++;
        ck_assert_int_eq(status, VMXC_NO_MEMORY);
        ck_assert_uint_eq(probe_count_events(s->probe, PROBE_INVALIDATE), 0);
        space_assert_same(s, before, operations[_i].name);
    }
    ck_assert_msg(failures >= operations[_i].least_failures, "%s: only %u allocations",
                  operations[_i].name, failures);
    space_destroy(s);
}
END_TEST

START_TEST(unmapping_whole_areas_needs_no_memory)
{
    struct space *s = mixed_space();

    vmxsim_memory_fail_randomly(s->probe->memory, 1, 1000000);
    OK(vmxc_addrspace_unmap(&s->space, GPA, 16 * PAGE));
    OK(vmxc_addrspace_unmap(&s->space, 0, 7 * SPACE_1G));
    OK(vmxc_addrspace_clear(&s->space));
    ck_assert_uint_eq(probe_frames_in_use(s->probe), 1);
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
        s->probe->lookups = 0;
        OK(vmxc_addrspace_unmap(&s->space, 4 * i * PAGE + PAGE, PAGE)); /* cut one in three */
        worst = s->probe->lookups > worst ? s->probe->lookups : worst;
        s->probe->lookups = 0;
        OK(vmxc_addrspace_unmap(&s->space, 4 * i * PAGE + 2 * PAGE, PAGE)); /* drop one */
        worst = s->probe->lookups > worst ? s->probe->lookups : worst;
        s->probe->lookups = 0;
        OK(vmxc_addrspace_protect(&s->space, 4 * i * PAGE, PAGE, VMXC_MAP_READ));
        worst = s->probe->lookups > worst ? s->probe->lookups : worst;
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
    for (size_t i = 0; i < s->probe->trace_count; i++) {
        const struct vmxc_trace_event *event = &s->probe->traces[i];
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
    TCase *refusals = tcase_create("refusals");
    TCase *changes = tcase_create("changes");
    TCase *memory = tcase_create("memory");

    tcase_add_test(refusals, init_refuses_what_cannot_be_a_space);
    tcase_add_test(refusals, an_uninitialized_space_answers);
    tcase_add_loop_test(refusals, a_bad_range_is_refused_by_every_operation, 0,
                        (int)(sizeof(bad_ranges) / sizeof(bad_ranges[0])));
    tcase_add_test(refusals, a_bad_host_address_is_refused);
    tcase_add_test(refusals, flags_are_checked_when_a_lazy_area_is_mapped);
    tcase_add_test(refusals, an_overlapping_map_is_refused);
    tcase_add_test(refusals, protecting_a_range_with_a_hole_changes_nothing);
    tcase_add_test(changes, accessors_tell_the_extent);
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
    tcase_add_test(changes, operations_are_traced);
    tcase_add_test(changes, unmapping_one_of_100000_areas_costs_as_much_as_one_of_few);
    tcase_add_loop_test(memory, an_operation_without_memory_changes_nothing, 0,
                        (int)(sizeof(operations) / sizeof(operations[0])));
    tcase_add_test(memory, unmapping_whole_areas_needs_no_memory);
    tcase_set_timeout(changes, 120);
    tcase_set_timeout(memory, 120);
    suite_add_tcase(suite, refusals);
    suite_add_tcase(suite, changes);
    suite_add_tcase(suite, memory);
    return suite;
}

int main(void)
{
    SRunner *runner = srunner_create(addrspace_suite());
    srunner_run_all(runner, CK_NORMAL);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
