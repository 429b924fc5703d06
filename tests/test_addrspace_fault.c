/* SPDX-License-Identifier: Apache-2.0 */
/* The address space: EPT violations, translations, guest buffers, runs of mappings, text. */
#include <check.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "support/space.h"
#include "support/suite.h"

#define GPA  UINT64_C(0x40000000)
#define PAGE SPACE_PAGE

/* ---- Faults ---- */

START_TEST(a_fault_is_answered_by_precedence)
{
    static const struct {
        vmxc_gpa_t gpa;
        vmxc_map_flags access;
        enum vmxc_fault_result result;
    } cases[] = {
        {GPA - 1, VMXC_MAP_READ, VMXC_FAULT_NO_AREA},
        {GPA - 1, 0, VMXC_FAULT_NO_AREA},
        {UINT64_C(1) << 40, VMXC_MAP_READ, VMXC_FAULT_NO_AREA}, /* outside the space */
        {UINT64_MAX, VMXC_MAP_READ, VMXC_FAULT_NO_AREA},
        {(UINT64_C(1) << 48) + GPA, VMXC_MAP_READ, VMXC_FAULT_NO_AREA}, /* not an alias of GPA */
        {GPA, 0, VMXC_FAULT_DENIED},                                    /* no access named */
        {GPA, VMXC_MAP_EXECUTE, VMXC_FAULT_DENIED},
        {GPA, VMXC_MAP_READ | VMXC_MAP_EXECUTE, VMXC_FAULT_DENIED},
        {GPA, VMXC_MAP_READ | VMXC_MAP_DEVICE, VMXC_FAULT_DENIED}, /* not a right */
        {GPA, VMXC_MAP_READ | (vmxc_map_flags)1u << 20, VMXC_FAULT_DENIED},
        {GPA + PAGE, VMXC_MAP_USER, VMXC_FAULT_DENIED},
        {GPA + PAGE, VMXC_MAP_READ, VMXC_FAULT_ALREADY_BACKED},
        {GPA + PAGE, VMXC_MAP_EXECUTE, VMXC_FAULT_DENIED}, /* before "already backed" */
        {GPA + 4 * PAGE, VMXC_MAP_READ, VMXC_FAULT_ALREADY_BACKED},
        {GPA + 4 * PAGE, VMXC_MAP_WRITE, VMXC_FAULT_DENIED},
        {GPA + 8 * PAGE, VMXC_MAP_READ, VMXC_FAULT_ALREADY_BACKED},
        {GPA + 12 * PAGE, VMXC_MAP_READ, VMXC_FAULT_DENIED}, /* no rights at all, never touched */
    };
    struct space *s = space_create(64);

    OK(vmxc_addrspace_map_alloc(&s->space, GPA, 4 * PAGE, SPACE_RW, false));
    OK(vmxc_addrspace_map_linear(&s->space, GPA + 4 * PAGE, 0, 4 * PAGE, VMXC_MAP_READ));
    OK(vmxc_addrspace_map_alloc(&s->space, GPA + 8 * PAGE, 4 * PAGE, SPACE_RW, true));
    OK(vmxc_addrspace_map_alloc(&s->space, GPA + 12 * PAGE, 4 * PAGE, VMXC_MAP_NONE, false));
    ck_assert_int_eq(FAULT(s, GPA + PAGE, VMXC_MAP_READ), VMXC_FAULT_MAPPED);
    char *before = space_dump(s);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        ck_assert_msg(FAULT(s, cases[i].gpa, cases[i].access) == cases[i].result, "case %zu", i);
    space_assert_same(s, before, "a fault that supplies nothing");
    space_destroy(s);
}
END_TEST

START_TEST(a_second_fault_keeps_the_frame)
{
    struct space *s = space_create(64);

    OK(vmxc_addrspace_map_alloc(&s->space, GPA, 4 * PAGE, SPACE_RW, false));
    ck_assert_int_eq(FAULT(s, GPA + PAGE + 0x123, VMXC_MAP_WRITE), VMXC_FAULT_MAPPED);
    const vmxc_hpa_t hpa = space_hpa(s, GPA + PAGE);
    const uint64_t frames = s->hal->frames_in_use;
    space_write(s, GPA + PAGE, 0xabcdef);
    for (unsigned offset = 0; offset < PAGE; offset += 0x333)
        ck_assert_int_eq(FAULT(s, GPA + PAGE + offset, SPACE_RW), VMXC_FAULT_ALREADY_BACKED);
    ck_assert_uint_eq(space_hpa(s, GPA + PAGE), hpa);
    ck_assert_uint_eq(space_read(s, GPA + PAGE), 0xabcdef);
    ck_assert_uint_eq(s->hal->frames_in_use, frames);
    /* "Already backed" needs no frame either. */
    s->hal->fail_at = 1;
    ck_assert_int_eq(FAULT(s, GPA + PAGE, SPACE_RW), VMXC_FAULT_ALREADY_BACKED);
    s->hal->fail_at = 0;
    space_destroy(s);
}
END_TEST

START_TEST(a_supplied_page_is_zero_even_if_its_frame_was_used)
{
    struct space *s = space_create(16);

    OK(vmxc_addrspace_map_alloc(&s->space, GPA, PAGE, SPACE_RW, false));
    for (int round = 0; round < 40; round++) { /* more rounds than frames: they are used again */
        ck_assert_int_eq(FAULT(s, GPA + 8, VMXC_MAP_WRITE), VMXC_FAULT_MAPPED);
        for (uint64_t offset = 0; offset < PAGE; offset += 8) {
            ck_assert_uint_eq(space_read(s, GPA + offset), 0);
            space_write(s, GPA + offset, UINT64_MAX);
        }
        OK(vmxc_addrspace_unmap(&s->space, GPA, PAGE));
        OK(vmxc_addrspace_map_alloc(&s->space, GPA, PAGE, SPACE_RW, false));
    }
    space_destroy(s);
}
END_TEST

static unsigned publications; /* stores that were checked */

/* When the entry becomes visible the frame must be zero already: the store of the entry is announced. */
static void check_zero_before_publication(void *context, vmxc_hpa_t hpa, uint64_t length)
{
    struct space *s = context;
    const struct test_hal_entry *last = NULL;

    (void)length;
    for (size_t i = 0; i < s->hal->log_count; i++)
        if (s->hal->log[i].call == TEST_HAL_ALLOC &&
            strcmp(s->hal->log[i].label, "guest page") == 0)
            last = &s->hal->log[i];
    if (last == NULL || (hpa & ~VMXC_PAGE_MASK) == last->value)
        return;
    publications++;
    for (uint64_t offset = 0; offset < PAGE; offset += 8)
        ck_assert_uint_eq(vmxsim_memory_read64(s->hal->memory, last->value + offset), 0);
}

START_TEST(a_frame_is_zero_before_an_entry_leads_to_it)
{
    struct space *s = space_create(64);

    OK(vmxc_addrspace_map_alloc(&s->space, GPA, 2 * PAGE, SPACE_RW, false));
    ck_assert_int_eq(FAULT(s, GPA + PAGE, VMXC_MAP_READ), VMXC_FAULT_MAPPED); /* tables are there */
    test_hal_clear_log(s->hal);
    s->hal->on_dirty = check_zero_before_publication;
    s->hal->on_dirty_context = s;
    ck_assert_int_eq(FAULT(s, GPA, VMXC_MAP_READ), VMXC_FAULT_MAPPED);
    s->hal->on_dirty = NULL;
    ck_assert_uint_gt(publications, 0);
    space_destroy(s);
}
END_TEST

START_TEST(a_frame_that_cannot_be_used_is_given_back)
{
    struct space *s = space_create_with(&space_config, 64, false);

    OK(vmxc_addrspace_map_alloc(&s->space, GPA, 4 * PAGE, SPACE_RW, false));
    char *before = space_dump(s);
    s->hal->refuse_from = SPACE_FRAMES_BASE + 2 * PAGE; /* the HAL hands out what it cannot map */
    ck_assert_int_eq(FAULT(s, GPA, VMXC_MAP_READ), VMXC_FAULT_NO_MEMORY);
    s->hal->refuse_from = 0;
    space_assert_same(s, before, "a refused frame");
    space_destroy(s);
}
END_TEST

START_TEST(a_page_missing_from_an_area_that_is_not_lazy_is_reported)
{
    struct space *s = space_create(64);
    struct vmxc_guest_segment segment;
    size_t count = 7;

    OK(vmxc_addrspace_map_linear(&s->space, GPA, 0, 2 * PAGE, SPACE_RW));
    OK(vmxc_addrspace_map_alloc(&s->space, GPA + 2 * PAGE, 2 * PAGE, SPACE_RW, true));
    const vmxc_hpa_t lost = space_hpa(s, GPA + 2 * PAGE);
    ck_assert(vmxc_addrspace_is_valid(&s->space));
    /* Behind the space's back, which its documentation forbids. */
    OK(vmxc_ept_unmap(vmxc_addrspace_ept(&s->space), GPA + PAGE, 2 * PAGE, NULL, NULL));
    ck_assert(!vmxc_addrspace_is_valid(&s->space));
    ck_assert_int_eq(FAULT(s, GPA + PAGE, VMXC_MAP_READ), VMXC_FAULT_NOT_LAZY);
    ck_assert_int_eq(FAULT(s, GPA + 2 * PAGE, VMXC_MAP_READ), VMXC_FAULT_NOT_LAZY);
    ck_assert_int_eq(
        vmxc_addrspace_buffer(&s->space, GPA + 2 * PAGE, 1, VMXC_MAP_READ, &segment, 1, &count),
        VMXC_NOT_BACKED);
    ck_assert_uint_eq(count, 7);
    OK(vmxc_ept_map(vmxc_addrspace_ept(&s->space), GPA + PAGE, PAGE, PAGE, SPACE_RW));
    OK(vmxc_ept_map(vmxc_addrspace_ept(&s->space), GPA + 2 * PAGE, lost, PAGE, SPACE_RW));
    space_destroy(s);
}
END_TEST

START_TEST(results_have_names)
{
    ck_assert_str_eq(vmxc_fault_result_name(VMXC_FAULT_MAPPED), "mapped");
    ck_assert_str_eq(vmxc_fault_result_name(VMXC_FAULT_ALREADY_BACKED), "already backed");
    ck_assert_str_eq(vmxc_fault_result_name(VMXC_FAULT_NO_AREA), "no area");
    ck_assert_str_eq(vmxc_fault_result_name(VMXC_FAULT_DENIED), "denied");
    ck_assert_str_eq(vmxc_fault_result_name(VMXC_FAULT_NOT_LAZY), "not lazy");
    ck_assert_str_eq(vmxc_fault_result_name(VMXC_FAULT_NO_MEMORY), "no memory");
    ck_assert_str_eq(vmxc_fault_result_name((enum vmxc_fault_result)99), "unknown");
}
END_TEST

/* ---- Translation ---- */

START_TEST(the_length_of_a_translation_is_what_is_left)
{
    struct space *s = space_create(256);
    struct vmxc_translation_limit limit;

    OK(vmxc_addrspace_map_linear(&s->space, GPA, SPACE_1G, 4 * SPACE_2M + PAGE, SPACE_RW));
    OK(vmxc_addrspace_map_linear(&s->space, GPA + 4 * SPACE_2M + PAGE,
                                 SPACE_1G + 4 * SPACE_2M + PAGE, PAGE, VMXC_MAP_READ));
    static const uint64_t offsets[] = {
        0, 1, 0xfff, SPACE_2M + 5, 4 * SPACE_2M, 4 * SPACE_2M + 0xfff};
    for (size_t i = 0; i < sizeof(offsets) / sizeof(offsets[0]); i++) {
        OK(vmxc_addrspace_translate_with_limit(&s->space, GPA + offsets[i], &limit));
        ck_assert_uint_eq(limit.area_base, GPA);
        ck_assert_uint_eq(limit.area_size, 4 * SPACE_2M + PAGE);
        ck_assert_uint_eq(limit.contiguous, 4 * SPACE_2M + PAGE - offsets[i]);
        ck_assert_uint_eq(limit.translation.hpa, SPACE_1G + offsets[i]);
        ck_assert_uint_eq(limit.translation.flags, SPACE_RW);
    }
    ck_assert_int_eq(vmxc_addrspace_translate_with_limit(&s->space, UINT64_C(1) << 40, &limit),
                     VMXC_INVALID_INPUT);
    ck_assert_int_eq(vmxc_addrspace_translate_with_limit(&s->space, 0, &limit), VMXC_NOT_FOUND);
    space_destroy(s);
}
END_TEST

START_TEST(the_reach_in_an_alloc_area_ends_where_frames_do)
{
    struct space *s = space_create(256);
    struct vmxc_translation_limit limit;
    const uint64_t pages = 40;

    OK(vmxc_addrspace_map_alloc(&s->space, GPA, pages * PAGE, SPACE_RW, false));
    /* In an order that leaves some neighbours contiguous and others not; page 30 stays missing. */
    for (uint64_t i = 0; i < 8; i++)
        ck_assert_int_eq(FAULT(s, GPA + i * PAGE, VMXC_MAP_READ), VMXC_FAULT_MAPPED);
    for (uint64_t i = 16; i-- > 8;)
        ck_assert_int_eq(FAULT(s, GPA + i * PAGE, VMXC_MAP_READ), VMXC_FAULT_MAPPED);
    for (uint64_t i = 16; i < pages; i++)
        if (i != 30)
            ck_assert_int_eq(FAULT(s, GPA + i * PAGE, VMXC_MAP_READ), VMXC_FAULT_MAPPED);
    bool seen_more_than_a_page = false;
    for (uint64_t i = 0; i < pages; i++) {
        if (i == 30) {
            ck_assert_int_eq(vmxc_addrspace_translate_with_limit(&s->space, GPA + i * PAGE, &limit),
                             VMXC_NOT_BACKED);
            continue;
        }
        uint64_t end = i + 1;
        while (end < pages && end != 30 && end - i <= VMXC_TRANSLATE_SCAN / PAGE &&
               space_hpa(s, GPA + end * PAGE) == space_hpa(s, GPA + i * PAGE) + (end - i) * PAGE)
            end++;
        OK(vmxc_addrspace_translate_with_limit(&s->space, GPA + i * PAGE + 9, &limit));
        ck_assert_uint_eq(limit.contiguous, (end - i) * PAGE - 9);
        seen_more_than_a_page = seen_more_than_a_page || end > i + 1;
    }
    ck_assert(seen_more_than_a_page);
    space_destroy(s);
}
END_TEST

/* ---- Buffers ---- */

#define SEGMENTS 64u

static struct vmxc_guest_segment segments[SEGMENTS];

static enum vmxc_status buffer(struct space *s, vmxc_gpa_t gpa, uint64_t length,
                               vmxc_map_flags access, size_t *count)
{
    return vmxc_addrspace_buffer(&s->space, gpa, length, access, segments, SEGMENTS, count);
}

/* Every byte of the segments is the byte of the guest address it stands for. */
static void assert_segments_right(struct space *s, vmxc_gpa_t gpa, uint64_t length, size_t count)
{
    uint64_t seen = 0;

    for (size_t i = 0; i < count; i++) {
        ck_assert_uint_gt(segments[i].length, 0);
        for (uint64_t at = 0; at < segments[i].length; at++, seen++) {
            const vmxc_hpa_t hpa = space_hpa(s, gpa + seen);
            ck_assert_uint_eq(segments[i].hpa + at, hpa);
            ck_assert_ptr_eq((uint8_t *)segments[i].pointer + at,
                             vmxsim_memory_pointer(s->hal->memory, hpa));
        }
    }
    ck_assert_uint_eq(seen, length);
}

START_TEST(a_bad_buffer_is_refused)
{
    struct space *s = space_create(64);
    size_t count = 77;

    OK(vmxc_addrspace_map_alloc(&s->space, 0, 4 * PAGE, SPACE_RW, true));
    OK(vmxc_addrspace_map_alloc(&s->space, (UINT64_C(1) << 40) - PAGE, PAGE, SPACE_RW, true));
    ck_assert_int_eq(buffer(s, 0, 0, VMXC_MAP_READ, &count), VMXC_INVALID_INPUT);
    ck_assert_int_eq(buffer(s, 0, 8, 0, &count), VMXC_INVALID_INPUT);
    ck_assert_int_eq(buffer(s, 0, 8, VMXC_MAP_READ | VMXC_MAP_DEVICE, &count), VMXC_INVALID_INPUT);
    ck_assert_int_eq(buffer(s, (UINT64_C(1) << 40) - 8, 16, VMXC_MAP_READ, &count),
                     VMXC_INVALID_INPUT);
    ck_assert_int_eq(buffer(s, 8, UINT64_MAX, VMXC_MAP_READ, &count), VMXC_INVALID_INPUT);
    ck_assert_int_eq(buffer(s, 4 * PAGE, 1, VMXC_MAP_READ, &count), VMXC_NOT_FOUND);
    ck_assert_int_eq(buffer(s, 4 * PAGE - 1, 2, VMXC_MAP_READ, &count), VMXC_NOT_FOUND);
    ck_assert_int_eq(vmxc_addrspace_buffer(&s->space, 0, 8, VMXC_MAP_READ, NULL, 0, &count),
                     VMXC_NO_SPACE);
    ck_assert_uint_eq(count, 77);
    space_destroy(s);
}
END_TEST

START_TEST(a_buffer_respects_the_flags_of_each_area)
{
    struct space *s = space_create(64);
    size_t count = 77;

    OK(vmxc_addrspace_map_linear(&s->space, GPA, 0, 2 * PAGE, SPACE_RW));
    OK(vmxc_addrspace_map_linear(&s->space, GPA + 2 * PAGE, 2 * PAGE, 2 * PAGE, VMXC_MAP_READ));
    OK(vmxc_addrspace_map_linear(&s->space, GPA + 4 * PAGE, 4 * PAGE, 2 * PAGE, VMXC_MAP_NONE));
    ck_assert_int_eq(buffer(s, GPA + 2 * PAGE - 4, 8, VMXC_MAP_WRITE, &count), VMXC_DENIED);
    ck_assert_int_eq(buffer(s, GPA + 2 * PAGE - 4, 8, SPACE_RW, &count), VMXC_DENIED);
    ck_assert_int_eq(buffer(s, GPA + 4 * PAGE - 1, 2, VMXC_MAP_READ, &count), VMXC_DENIED);
    ck_assert_int_eq(buffer(s, GPA, 4, VMXC_MAP_EXECUTE, &count), VMXC_DENIED);
    ck_assert_uint_eq(count, 77);
    /* To the last byte that is allowed, and over areas that are contiguous in host memory. */
    OK(buffer(s, GPA + 2 * PAGE - 4, 4, VMXC_MAP_WRITE, &count));
    OK(buffer(s, GPA + 100, 4 * PAGE - 100, VMXC_MAP_READ, &count));
    assert_segments_right(s, GPA + 100, 4 * PAGE - 100, count);
    space_destroy(s);
}
END_TEST

START_TEST(a_buffer_at_the_end_of_an_area_stays_in_its_frames)
{
    struct space *s = space_create(64);
    size_t count;

    OK(vmxc_addrspace_map_alloc(&s->space, GPA, PAGE, SPACE_RW, true));
    OK(vmxc_addrspace_map_linear(&s->space, GPA + PAGE, 0x40000, PAGE, SPACE_RW));
    OK(buffer(s, GPA + PAGE - 3, 6, SPACE_RW, &count));
    ck_assert_uint_eq(count, 2);
    ck_assert_uint_eq(segments[0].length, 3);
    ck_assert_uint_eq(segments[0].hpa, space_hpa(s, GPA) + PAGE - 3);
    ck_assert_uint_eq(segments[1].length, 3);
    ck_assert_uint_eq(segments[1].hpa, 0x40000);
    assert_segments_right(s, GPA + PAGE - 3, 6, count);
    ck_assert_int_eq(buffer(s, GPA + 2 * PAGE - 3, 4, SPACE_RW, &count), VMXC_NOT_FOUND);
    space_destroy(s);
}
END_TEST

START_TEST(a_buffer_supplies_lazy_pages)
{
    struct space *s = space_create(64);
    size_t count = 0;

    OK(vmxc_addrspace_map_alloc(&s->space, GPA, 8 * PAGE, SPACE_RW, false));
    OK(buffer(s, GPA + PAGE + 5, 3 * PAGE, SPACE_RW, &count));
    assert_segments_right(s, GPA + PAGE + 5, 3 * PAGE, count);
    ck_assert_uint_eq(space_read(s, GPA + 4 * PAGE), 0);
    ck_assert_int_eq(FAULT(s, GPA + 5 * PAGE, VMXC_MAP_READ), VMXC_FAULT_MAPPED); /* no more */
    s->hal->fail_at = 2;
    count = 77;
    ck_assert_int_eq(buffer(s, GPA + 6 * PAGE, 2 * PAGE, SPACE_RW, &count), VMXC_NO_MEMORY);
    ck_assert_uint_eq(count, 77);
    space_destroy(s);
}
END_TEST

START_TEST(capacity_is_checked)
{
    struct space *s = space_create(64);
    size_t count = 77;

    for (uint64_t i = 0; i < 4; i++) /* descending host addresses: nothing to join */
        OK(vmxc_addrspace_map_linear(&s->space, GPA + i * PAGE, (8 - 2 * i) * PAGE, PAGE,
                                     SPACE_RW));
    ck_assert_int_eq(vmxc_addrspace_buffer(&s->space, GPA, 4 * PAGE, SPACE_RW, segments, 3, &count),
                     VMXC_NO_SPACE);
    ck_assert_uint_eq(count, 77);
    OK(vmxc_addrspace_buffer(&s->space, GPA, 4 * PAGE, SPACE_RW, segments, 4, &count));
    ck_assert_uint_eq(count, 4);
    assert_segments_right(s, GPA, 4 * PAGE, count);
    space_destroy(s);
}
END_TEST

START_TEST(the_window_gives_one_segment_for_all_it_covers)
{
    struct space *s = space_create(1024);
    size_t count;

    /* Linear over frames of the window that nobody uses. */
    OK(vmxc_addrspace_map_linear(&s->space, GPA, SPACE_FRAMES_BASE + SPACE_2M, SPACE_2M, SPACE_RW));
    OK(buffer(s, GPA + 7, SPACE_2M - 7, SPACE_RW, &count));
    ck_assert_uint_eq(count, 1);
    ck_assert_uint_eq(segments[0].length, SPACE_2M - 7);
    ck_assert_ptr_eq(segments[0].pointer, s->hal->hal.window.pointer + SPACE_2M + 7);
    /* Beyond the window's end each frame is looked up; what is no memory there has no pointer. */
    OK(vmxc_addrspace_map_linear(&s->space, 2 * GPA, SPACE_FRAMES_BASE + 1023 * PAGE, 3 * PAGE,
                                 SPACE_RW));
    OK(buffer(s, 2 * GPA + 8, 3 * PAGE - 8, SPACE_RW, &count));
    ck_assert_uint_eq(count, 2);
    ck_assert_uint_eq(segments[0].length, PAGE - 8);
    ck_assert_ptr_nonnull(segments[0].pointer);
    ck_assert_uint_eq(segments[1].length, 2 * PAGE);
    ck_assert_ptr_null(segments[1].pointer);
    space_destroy(s);
}
END_TEST

/* A HAL whose pointers are contiguous within a frame only. */
static uint8_t scattered[8][2 * VMXC_PAGE_SIZE];

static void *scattered_phys_to_virt(void *context, vmxc_hpa_t hpa)
{
    struct test_hal *hal = context;

    if (hpa >= 8 * PAGE)
        return vmxsim_memory_pointer(hal->memory, hpa);
    return &scattered[hpa / PAGE][hpa & VMXC_PAGE_MASK];
}

START_TEST(a_segment_ends_where_its_pointer_is_not_contiguous)
{
    struct space *s = space_create_with(&space_config, 64, false);
    size_t count;

    OK(vmxc_addrspace_map_linear(&s->space, GPA, 0, 8 * PAGE, SPACE_RW));
    OK(buffer(s, GPA + 5, 4 * PAGE, SPACE_RW, &count)); /* these pointers are contiguous */
    ck_assert_uint_eq(count, 1);
    s->hal->hal.phys_to_virt = scattered_phys_to_virt;
    OK(buffer(s, GPA + 5, 4 * PAGE, SPACE_RW, &count));
    ck_assert_uint_eq(count, 5);
    for (size_t i = 0; i < count; i++) {
        ck_assert_ptr_eq(segments[i].pointer, &scattered[i][i == 0 ? 5 : 0]);
        ck_assert_uint_eq(segments[i].length, i == 0 ? PAGE - 5 : i == 4 ? 5 : PAGE);
    }
    space_destroy(s);
}
END_TEST

/* ---- Iteration and text ---- */

struct collected {
    struct vmxc_mapping_run runs[16];
    struct vmxc_area areas[16];
    size_t count, limit;
};

static enum vmxc_status collect_run(void *context, const struct vmxc_mapping_run *run)
{
    struct collected *collected = context;

    if (collected->count == collected->limit)
        return VMXC_BUSY;
    collected->runs[collected->count++] = *run;
    return VMXC_OK;
}

static enum vmxc_status collect_area(void *context, const struct vmxc_area *area)
{
    struct collected *collected = context;

    if (collected->count == collected->limit)
        return VMXC_BUSY;
    collected->areas[collected->count++] = *area;
    return VMXC_OK;
}

START_TEST(mappings_come_as_maximal_runs)
{
    static const struct {
        uint64_t gpa, hpa, size, page_size;
        vmxc_map_flags rights;
    } expected[] = {
        {GPA - 2 * PAGE, SPACE_1G - 2 * PAGE, 2 * PAGE, PAGE, SPACE_RW},
        {GPA, SPACE_1G, 2 * SPACE_2M, SPACE_2M, SPACE_RW}, /* the page size differs */
        {GPA + 2 * SPACE_2M, SPACE_1G + 2 * SPACE_2M, 3 * PAGE, PAGE, SPACE_RW}, /* two areas */
        {GPA + 2 * SPACE_2M + 3 * PAGE, SPACE_1G + 2 * SPACE_2M + 3 * PAGE, PAGE, PAGE,
         VMXC_MAP_READ}, /* the flags differ */
        {GPA + 2 * SPACE_2M + 4 * PAGE, 0, PAGE, PAGE,
         VMXC_MAP_READ}, /* so does the host address */
        {GPA + 2 * SPACE_2M + 6 * PAGE, 2 * PAGE, PAGE, PAGE, VMXC_MAP_READ}, /* a hole between */
    };
    const vmxc_gpa_t tail = GPA + 2 * SPACE_2M;
    struct space *s = space_create(64);
    struct collected seen = {.limit = 16};

    OK(vmxc_addrspace_for_each_mapping(&s->space, collect_run, &seen));
    ck_assert_uint_eq(seen.count, 0);
    OK(vmxc_addrspace_map_linear(&s->space, GPA - 2 * PAGE, SPACE_1G - 2 * PAGE,
                                 2 * SPACE_2M + 3 * PAGE, SPACE_RW));
    OK(vmxc_addrspace_map_linear(&s->space, tail + PAGE, SPACE_1G + 2 * SPACE_2M + PAGE, 3 * PAGE,
                                 SPACE_RW));
    OK(vmxc_addrspace_protect(&s->space, tail + 3 * PAGE, PAGE, VMXC_MAP_READ));
    OK(vmxc_addrspace_map_linear(&s->space, tail + 4 * PAGE, 0, PAGE, VMXC_MAP_READ));
    OK(vmxc_addrspace_map_linear(&s->space, tail + 6 * PAGE, 2 * PAGE, PAGE, VMXC_MAP_READ));
    OK(vmxc_addrspace_for_each_mapping(&s->space, collect_run, &seen));
    ck_assert_uint_eq(seen.count, 6);
    for (size_t i = 0; i < seen.count; i++) {
        ck_assert_uint_eq(seen.runs[i].gpa, expected[i].gpa);
        ck_assert_uint_eq(seen.runs[i].hpa, expected[i].hpa);
        ck_assert_uint_eq(seen.runs[i].size, expected[i].size);
        ck_assert_uint_eq(seen.runs[i].page_size, expected[i].page_size);
        ck_assert_uint_eq(seen.runs[i].flags,
                          expected[i].rights | VMXC_MAP_TYPE(VMXC_MEMORY_TYPE_WB));
    }
    for (size_t limit = 0; limit < 6; limit++) {
        seen = (struct collected){.limit = limit};
        ck_assert_int_eq(vmxc_addrspace_for_each_mapping(&s->space, collect_run, &seen), VMXC_BUSY);
    }
    space_destroy(s);
}
END_TEST

START_TEST(areas_come_in_order)
{
    struct space *s = space_create(64);
    struct collected seen = {.limit = 16};

    OK(vmxc_addrspace_map_linear(&s->space, (UINT64_C(1) << 40) - PAGE, 0, PAGE, SPACE_RW));
    OK(vmxc_addrspace_map_alloc(&s->space, 0, PAGE, SPACE_RW, false));
    OK(vmxc_addrspace_map_alloc(&s->space, GPA, PAGE, SPACE_RW, true));
    OK(vmxc_addrspace_for_each_area(&s->space, collect_area, &seen));
    ck_assert_uint_eq(seen.count, 3);
    ck_assert_uint_eq(seen.areas[0].base, 0);
    ck_assert(seen.areas[0].lazy);
    ck_assert_uint_eq(seen.areas[1].base, GPA);
    ck_assert_ptr_eq(seen.areas[1].backend, &vmxc_backend_alloc);
    ck_assert_uint_eq(seen.areas[2].base, (UINT64_C(1) << 40) - PAGE);
    ck_assert_ptr_eq(seen.areas[2].backend, &vmxc_backend_linear);
    seen = (struct collected){.limit = 2};
    ck_assert_int_eq(vmxc_addrspace_for_each_area(&s->space, collect_area, &seen), VMXC_BUSY);
    space_destroy(s);
}
END_TEST

START_TEST(text_shows_every_area)
{
    struct space *s = space_create(64);
    char text[600];
    char expected[600];
    char small[20];

    OK(vmxc_addrspace_map_linear(&s->space, 0, UINT64_C(0x100000000), UINT64_C(0x80000000),
                                 VMXC_MAP_RWX));
    snprintf(expected, sizeof(expected),
             "address space [0x0, 0x10000000000) EPTP 0x%" PRIx64 ", 1 area\n"
             "  [0x0, 0x80000000) linear -> 0x100000000 rwx- WB\n",
             vmxc_addrspace_eptp(&s->space));
    vmxc_addrspace_format(&s->space, text, sizeof(text));
    ck_assert_str_eq(text, expected);

    OK(vmxc_addrspace_map_alloc(&s->space, UINT64_C(0x80000000), 0x4000, SPACE_RW, true));
    OK(vmxc_addrspace_map_alloc(&s->space, UINT64_C(0x90000000), 0x4000,
                                VMXC_MAP_READ | VMXC_MAP_DEVICE, false));
    snprintf(expected, sizeof(expected),
             "address space [0x0, 0x10000000000) EPTP 0x%" PRIx64 ", 3 areas\n"
             "  [0x0, 0x80000000) linear -> 0x100000000 rwx- WB\n"
             "  [0x80000000, 0x80004000) alloc rw-- WB\n"
             "  [0x90000000, 0x90004000) alloc lazy r--- UC device\n",
             vmxc_addrspace_eptp(&s->space));
    ck_assert_uint_eq(vmxc_addrspace_format(&s->space, text, sizeof(text)), strlen(expected));
    ck_assert_str_eq(text, expected);
    ck_assert_uint_eq(vmxc_addrspace_format(&s->space, NULL, 0), strlen(expected));
    ck_assert_uint_eq(vmxc_addrspace_format(&s->space, small, sizeof(small)), strlen(expected));
    ck_assert_uint_eq(strlen(small), sizeof(small) - 1);
    ck_assert_int_eq(strncmp(small, expected, sizeof(small) - 1), 0);

    const struct vmxc_area bare = {.base = 0x1000, .size = 0x1000, .hpa = VMXC_AREA_NO_HPA};
    ck_assert_uint_eq(vmxc_area_format(&bare, text, sizeof(text)), strlen(text));
    ck_assert_str_eq(text, "[0x1000, 0x2000) no backend ---- WB");
    space_destroy(s);
}
END_TEST

/* ---- The validity check itself ---- */

static bool is_valid_with(struct space *s, const struct vmxc_area *changed)
{
    struct vmxc_area kept;

    OK(vmxc_area_set_find(&s->space.areas, GPA, &kept));
    OK(vmxc_area_set_update(&s->space.areas, kept.base, changed));
    const bool valid = vmxc_addrspace_is_valid(&s->space);
    OK(vmxc_area_set_update(&s->space.areas, changed->base, &kept));
    ck_assert(vmxc_addrspace_is_valid(&s->space));
    return valid;
}

START_TEST(the_validity_check_sees_disagreement)
{
    struct space *s = space_create(64);
    struct vmxc_area area;

    OK(vmxc_addrspace_map_linear(&s->space, GPA, 0x8000, 4 * PAGE, SPACE_RW));
    OK(vmxc_area_set_find(&s->space.areas, GPA, &area));
    struct vmxc_area changed = area;
    ck_assert(is_valid_with(s, &changed));
    changed.flags = VMXC_MAP_READ;
    ck_assert(!is_valid_with(s, &changed));
    changed.flags = SPACE_RW | VMXC_MAP_UNCACHED;
    ck_assert(!is_valid_with(s, &changed));
    changed = area;
    changed.hpa += PAGE;
    ck_assert(!is_valid_with(s, &changed));
    changed = area;
    changed.size -= PAGE; /* a page without area */
    ck_assert(!is_valid_with(s, &changed));
    changed.size += 2 * PAGE; /* an area without a page */
    ck_assert(!is_valid_with(s, &changed));
    changed = area;
    changed.backend = NULL;
    ck_assert(!is_valid_with(s, &changed));
    /* Pages of a lazy area are not counted, but must look like it. */
    OK(vmxc_addrspace_replace_alloc(&s->space, GPA, 4 * PAGE, SPACE_RW, false));
    ck_assert_int_eq(vmxc_addrspace_handle_page_fault(&s->space, GPA, VMXC_MAP_READ),
                     VMXC_FAULT_MAPPED);
    OK(vmxc_area_set_find(&s->space.areas, GPA, &area));
    changed = area;
    ck_assert(is_valid_with(s, &changed));
    changed.flags = VMXC_MAP_READ;
    ck_assert(!is_valid_with(s, &changed));
    s->space.base = GPA + PAGE; /* an area outside the space */
    ck_assert(!vmxc_addrspace_is_valid(&s->space));
    s->space.base = 0;
    space_destroy(s);
}
END_TEST

static Suite *fault_suite(void)
{
    Suite *suite = suite_create("addrspace_fault");
    TCase *faults = tcase_create("faults");
    TCase *translation = tcase_create("translation");
    TCase *buffers = tcase_create("buffers");
    TCase *text = tcase_create("text");

    tcase_add_test(faults, a_fault_is_answered_by_precedence);
    tcase_add_test(faults, a_second_fault_keeps_the_frame);
    tcase_add_test(faults, a_supplied_page_is_zero_even_if_its_frame_was_used);
    tcase_add_test(faults, a_frame_is_zero_before_an_entry_leads_to_it);
    tcase_add_test(faults, a_frame_that_cannot_be_used_is_given_back);
    tcase_add_test(faults, a_page_missing_from_an_area_that_is_not_lazy_is_reported);
    tcase_add_test(faults, results_have_names);
    tcase_add_test(translation, the_length_of_a_translation_is_what_is_left);
    tcase_add_test(translation, the_reach_in_an_alloc_area_ends_where_frames_do);
    tcase_add_test(buffers, a_bad_buffer_is_refused);
    tcase_add_test(buffers, a_buffer_respects_the_flags_of_each_area);
    tcase_add_test(buffers, a_buffer_at_the_end_of_an_area_stays_in_its_frames);
    tcase_add_test(buffers, a_buffer_supplies_lazy_pages);
    tcase_add_test(buffers, capacity_is_checked);
    tcase_add_test(buffers, the_window_gives_one_segment_for_all_it_covers);
    tcase_add_test(buffers, a_segment_ends_where_its_pointer_is_not_contiguous);
    tcase_add_test(text, mappings_come_as_maximal_runs);
    tcase_add_test(text, areas_come_in_order);
    tcase_add_test(text, text_shows_every_area);
    tcase_add_test(text, the_validity_check_sees_disagreement);
    suite_add_tcase(suite, faults);
    suite_add_tcase(suite, translation);
    suite_add_tcase(suite, buffers);
    suite_add_tcase(suite, text);
    return suite;
}

int main(void)
{
    return run_suite(fault_suite());
}
