/* SPDX-License-Identifier: Apache-2.0 */
/* EPT: when an invalidation is due, how often, and in which order to what is given back. */
#include <check.h>

#include "support/ept_fixture.h"
#include "support/suite.h"

#define HOST (4 * GB)
#define R    VMXC_MAP_READ
#define UC   VMXC_MAP_TYPE(VMXC_MEMORY_TYPE_UC)
#define IPAT VMXC_MAP_IGNORE_PAT

static uint64_t begin_count(struct ept_fixture *f)
{
    test_hal_clear_log(f->hal);
    return f->hal->frames_in_use;
}

/* ---- Never due -------------------------------------------------------------------------------------- */

static enum vmxc_status supply(void *context, vmxc_gpa_t gpa, vmxc_hpa_t *page_hpa)
{
    (void)context;
    *page_hpa = HOST + gpa;
    return VMXC_OK;
}

START_TEST(mapping_needs_none)
{
    struct ept_fixture f = ept_fixture_begin();

    ept_fixture_map(&f, 0, HOST, 4 * KB, RWX);
    ept_fixture_map(&f, 4 * KB, HOST, GB + 2 * MB, RWX);
    ept_fixture_map(&f, 4 * GB, HOST, GB, VMXC_MAP_NONE);
    ck_assert_int_eq(vmxc_ept_map_region(&f.ept, 8 * GB, 3 * MB, R, supply, NULL, NULL), VMXC_OK);
    ck_assert_uint_eq(f.hal->invalidations, 0);
    ept_fixture_end(&f);
}
END_TEST

START_TEST(reading_and_doing_nothing_need_none)
{
    struct ept_fixture f = ept_fixture_begin();
    struct vmxc_ept_mapping mapping;

    ept_fixture_map(&f, GB, HOST, 2 * MB, RWX);
    ck_assert_int_eq(vmxc_ept_query(&f.ept, GB, &mapping), VMXC_OK);
    ept_fixture_unmap(&f, 2 * GB, GB);
    ept_fixture_protect(&f, 2 * GB, GB, R);
    ept_fixture_protect(&f, GB, 2 * MB, RWX);
    ck_assert_int_eq(vmxc_ept_merge(&f.ept, 0, 4 * GB), VMXC_OK);
    ck_assert_int_eq(vmxc_ept_remap(&f.ept, 4 * GB, HOST, GB, R, NULL, NULL), VMXC_OK);
    ck_assert_uint_eq(f.hal->invalidations, 0);
    ept_fixture_end(&f);
}
END_TEST

/* ---- Protecting ------------------------------------------------------------------------------------- */

static const struct {
    vmxc_map_flags from, to;
    unsigned invalidations;
} changes[] = {
    {R, RW, 0},
    {R, RWX, 0},
    {RW, RWX, 0},
    {VMXC_MAP_NONE, R, 0},
    {VMXC_MAP_NONE, RWX | UC | IPAT, 0},
    {VMXC_MAP_NONE, VMXC_MAP_NONE | UC, 0},
    {VMXC_MAP_EXECUTE, R | VMXC_MAP_EXECUTE, 0},
    {RWX, RWX, 0},
    {RW | VMXC_MAP_USER, RWX | VMXC_MAP_USER, 0},
    {RW, R, 1},
    {RWX, RW, 1},
    {RWX, R | VMXC_MAP_EXECUTE, 1},
    {R, VMXC_MAP_NONE, 1},
    {RW, R | VMXC_MAP_EXECUTE, 1}, /* one grows, one shrinks */
    {RWX | VMXC_MAP_USER, RWX, 1},
    {R, R | UC, 1},
    {R, RW | UC, 1}, /* rights grow, the type changes */
    {R | UC, R | VMXC_MAP_TYPE(1), 1},
    {RW, RW | IPAT, 1},
    {RW | IPAT, RWX, 1},
};

#define CHANGES ((int)(sizeof(changes) / sizeof(changes[0])))

START_TEST(protecting_needs_one_if_anything_shrinks_or_changes)
{
    struct vmxc_ept_config config = ept_fixture_config();
    config.execute_only = true;
    config.mode_based_execute = true;
    struct ept_fixture f = ept_fixture_begin_with(&config);
    struct ept_cache cache;

    ept_fixture_map(&f, GB - 4 * KB, HOST - 4 * KB, GB + 8 * KB, changes[_i].from);
    ept_cache_begin(&cache, f.hal, &f.ept);
    ept_fixture_protect(&f, GB - 4 * KB, GB + 8 * KB, changes[_i].to);
    ck_assert_uint_eq(f.hal->invalidations, changes[_i].invalidations);
    ept_cache_check(&cache);
    ept_cache_end(&cache);
    ept_fixture_end(&f);
}
END_TEST

START_TEST(splitting_to_protect_needs_one_even_if_rights_grow)
{
    struct ept_fixture f = ept_fixture_begin();
    struct ept_cache cache;

    ept_fixture_map(&f, GB, HOST, GB, R);
    ept_cache_begin(&cache, f.hal, &f.ept);
    ept_fixture_protect(&f, GB + 4 * KB, 4 * KB, RW);
    ck_assert_uint_eq(f.hal->invalidations, 1);
    ept_cache_check(&cache);
    ept_cache_end(&cache);
    ept_fixture_end(&f);
}
END_TEST

/* ---- Unmapping -------------------------------------------------------------------------------------- */

/* At the time of the invalidation, nothing in [GB, GB + size) can be reached and nothing is given back yet. */
struct moment {
    struct ept_fixture *f;
    uint64_t size, frames;
    unsigned calls;
};

static void assert_cleared_not_freed(void *context)
{
    struct moment *const moment = context;

    for (uint64_t gpa = GB; gpa < GB + moment->size; gpa += 4 * KB)
        if (ept_check_walk(moment->f->hal, &moment->f->ept, gpa).is_mapped)
            ck_abort_msg("%#llx is still mapped", (unsigned long long)gpa);
    ck_assert_uint_ge(moment->f->hal->frames_in_use, moment->frames);
    ck_assert_uint_eq(test_hal_count(moment->f->hal, TEST_HAL_RELEASE), 0);
    moment->calls++;
}

START_TEST(unmapping_clears_then_invalidates_once_then_frees)
{
    static const uint64_t sizes[] = {4 * KB, 2 * MB, 2 * MB + 4 * KB, 7 * MB, 1023 * MB, GB};
    struct ept_fixture f = ept_fixture_begin();
    struct ept_cache cache;

    ept_fixture_map(&f, GB, HOST, _i / 2 == 0 ? 2 * MB + 4 * KB : GB, RWX);
    if (_i % 2 != 0)
        ept_fixture_protect(&f, GB + 4 * KB, 4 * KB, R);
    struct moment moment = {.f = &f, .size = sizes[_i % 6], .frames = begin_count(&f), .calls = 0};
    f.hal->on_invalidate = assert_cleared_not_freed;
    f.hal->on_invalidate_context = &moment;
    ept_fixture_unmap(&f, GB, moment.size);
    ck_assert_uint_eq(moment.calls, 1);
    ck_assert_uint_ge(test_hal_count(f.hal, TEST_HAL_RELEASE), 1);
    test_hal_assert_invalidated_first(f.hal);
    ept_cache_begin(&cache, f.hal, &f.ept);
    ept_fixture_unmap(&f, 0, 4 * GB);
    ept_cache_check(&cache);
    ept_cache_end(&cache);
    ck_assert_uint_eq(f.hal->frames_in_use, 1);
    ept_fixture_end(&f);
}
END_TEST

START_TEST(a_table_of_not_present_pages_is_reachable_all_the_same)
{
    struct ept_fixture f = ept_fixture_begin();
    struct ept_cache cache;

    ept_fixture_map(&f, GB, HOST, 8 * KB, VMXC_MAP_NONE);
    ept_cache_begin(&cache, f.hal, &f.ept);
    ept_fixture_unmap(&f, GB, 4 * KB); /* the tables stay, and no page was reachable */
    ck_assert_uint_eq(f.hal->invalidations, 0);
    ept_cache_check(&cache);
    const uint64_t frames = begin_count(&f);
    ept_fixture_unmap(&f, GB + 4 * KB, 4 * KB); /* the tables go */
    ck_assert_uint_eq(f.hal->invalidations, 1);
    ck_assert_uint_eq(frames - f.hal->frames_in_use, 3);
    test_hal_assert_invalidated_first(f.hal);
    ept_cache_check(&cache);
    ept_cache_end(&cache);
    ept_fixture_end(&f);
}
END_TEST

START_TEST(tables_at_the_edges_of_the_range_go_only_after_invalidation)
{
    struct ept_fixture f = ept_fixture_begin();
    struct ept_cache cache;

    /* The range covers no table wholly, and leaves some empty and some not. */
    ept_fixture_map(&f, 2 * MB - 4 * KB, HOST, 8 * KB, RWX);
    ept_fixture_map(&f, GB + 2 * MB - 8 * KB, HOST, 16 * KB, RWX);
    ept_cache_begin(&cache, f.hal, &f.ept);
    ept_fixture_unmap(&f, 2 * MB - 4 * KB, GB + 4 * KB);
    ck_assert_uint_eq(f.hal->invalidations, 1);
    test_hal_assert_invalidated_first(f.hal);
    ept_cache_check(&cache);
    ck_assert_uint_eq(f.hal->frames_in_use, 4); /* root, PDPT, PD and PT of the last two pages */
    ept_fixture_unmap(&f, 0, UINT64_C(1) << 46);
    ept_cache_check(&cache);
    ck_assert_uint_eq(f.hal->frames_in_use, 1);
    ept_cache_end(&cache);
    ept_fixture_end(&f);
}
END_TEST

/* ---- Replacing -------------------------------------------------------------------------------------- */

START_TEST(replacing_invalidates_once_between_old_and_new)
{
    static const uint64_t sizes[] = {4 * KB, 2 * MB, 2 * MB + 4 * KB, GB};
    struct ept_fixture f = ept_fixture_begin();
    const uint64_t size = sizes[_i];
    struct ept_cache cache;

    ept_fixture_map(&f, GB - 8 * KB, HOST - 8 * KB, GB + 2 * MB, RWX);
    struct moment moment = {.f = &f, .size = size, .frames = begin_count(&f), .calls = 0};
    f.hal->on_invalidate = assert_cleared_not_freed;
    f.hal->on_invalidate_context = &moment;
    ck_assert_int_eq(
        vmxc_ept_remap(&f.ept, GB, 2 * HOST + 2 * MB, size, R, test_hal_release, f.hal), VMXC_OK);
    ck_assert_uint_eq(moment.calls, 1);
    test_hal_assert_invalidated_first(f.hal);
    ept_fixture_assert_mapped(&f, GB, 2 * HOST + 2 * MB, size < 2 * MB ? 4 * KB : 2 * MB, R | WB);
    struct vmxc_ept_mapping mapping;
    ck_assert_int_eq(vmxc_ept_query(&f.ept, GB + size, &mapping), VMXC_OK);
    ck_assert_uint_eq(mapping.flags, RWX | WB);
    ept_fixture_assert_mapped(&f, GB - 1, HOST - 1, 4 * KB, RWX | WB);
    ept_cache_begin(&cache, f.hal, &f.ept);
    ck_assert_int_eq(vmxc_ept_remap_region(&f.ept, GB - 4 * KB, size + 8 * KB, RW, supply, NULL,
                                           test_hal_release, f.hal),
                     VMXC_OK);
    ck_assert_uint_eq(f.hal->invalidations, 1);
    ept_cache_check(&cache);
    ept_fixture_assert_mapped(&f, GB - 4 * KB, HOST + GB - 4 * KB, 4 * KB, RW | WB);
    ept_fixture_assert_mapped(&f, GB + size, HOST + GB + size, 4 * KB, RW | WB);
    ept_cache_end(&cache);
    ept_fixture_end(&f);
}
END_TEST

START_TEST(replacing_releases_each_old_page_once_and_no_new_one)
{
    struct ept_fixture f = ept_fixture_begin();
    uint64_t released = 0;

    ept_fixture_map(&f, GB, HOST + GB, GB, RWX);
    ept_fixture_map(&f, 2 * GB + 8 * KB, HOST + 2 * GB + 8 * KB, 4 * KB, VMXC_MAP_NONE);
    test_hal_clear_log(f.hal);
    ck_assert_int_eq(vmxc_ept_remap(&f.ept, GB + 4 * KB, 32 * GB, GB + 8 * KB, VMXC_MAP_NONE,
                                    test_hal_release, f.hal),
                     VMXC_OK);
    for (uint64_t i = 0; i < f.hal->log_count; i++)
        if (f.hal->log[i].call == TEST_HAL_RELEASE) {
            ck_assert_uint_eq(f.hal->log[i].value, HOST + f.hal->log[i].gpa);
            released += f.hal->log[i].size;
        }
    ck_assert_uint_eq(released, GB - 4 * KB + 4 * KB);
    ept_fixture_assert_mapped(&f, GB, HOST + GB, 4 * KB, RWX | WB);
    ept_fixture_assert_mapped(&f, 2 * GB + 8 * KB, 33 * GB + 4 * KB, 4 * KB, WB);
    ept_fixture_end(&f);
}
END_TEST

START_TEST(replacing_without_a_release_callback_keeps_the_pages)
{
    struct ept_fixture f = ept_fixture_begin();

    ept_fixture_map(&f, GB, HOST, 4 * MB, RWX);
    ck_assert_int_eq(vmxc_ept_remap(&f.ept, GB, 2 * HOST, 4 * MB, RWX, NULL, NULL), VMXC_OK);
    ck_assert_uint_eq(test_hal_count(f.hal, TEST_HAL_RELEASE), 0);
    ept_fixture_assert_mapped(&f, GB + 2 * MB, 2 * HOST + 2 * MB, 2 * MB, RWX | WB);
    ept_fixture_end(&f);
}
END_TEST

/* ---- Merging, and the trace ------------------------------------------------------------------------- */

START_TEST(merging_needs_one_even_if_no_page_is_present)
{
    struct ept_fixture f = ept_fixture_begin();
    struct ept_cache cache;

    ept_fixture_map(&f, GB, HOST, 2 * MB, R);
    ept_fixture_protect(&f, GB, 4 * KB, RW);
    ept_fixture_protect(&f, GB, 2 * MB, VMXC_MAP_NONE);
    ept_cache_begin(&cache, f.hal, &f.ept);
    ck_assert_int_eq(vmxc_ept_merge(&f.ept, GB, 2 * MB), VMXC_OK);
    ck_assert_uint_eq(f.hal->invalidations, 1);
    test_hal_assert_invalidated_first(f.hal);
    ept_cache_check(&cache);
    ept_cache_end(&cache);
    ept_fixture_assert_mapped(&f, GB, HOST, 2 * MB, WB);
    ept_fixture_end(&f);
}
END_TEST

START_TEST(each_event_is_traced_with_its_facts)
{
    struct ept_fixture f = ept_fixture_begin();

    ept_fixture_map(&f, 2 * MB, HOST, 2 * MB, RW);
    ck_assert_uint_eq(f.hal->traced[VMXC_TRACE_FRAME_ALLOC], 2); /* the root was there before */
    ept_fixture_protect(&f, 2 * MB + 20 * KB, 4 * KB, R);
    ck_assert_uint_eq(f.hal->traced[VMXC_TRACE_SPLIT], 1);
    const struct vmxc_trace_event *const split = &f.hal->last_of[VMXC_TRACE_SPLIT];
    ck_assert_uint_eq(split->gpa, 2 * MB);
    ck_assert_uint_eq(split->size, 2 * MB);
    ck_assert_uint_eq(split->hpa, f.hal->last_of[VMXC_TRACE_FRAME_ALLOC].hpa);
    ck_assert_uint_eq(f.hal->traced[VMXC_TRACE_INVALIDATE_EPT], 1);
    ck_assert_uint_eq(f.hal->last_event.value, vmxc_ept_eptp(&f.ept));
    ept_fixture_protect(&f, 2 * MB + 20 * KB, 4 * KB, RW);
    ck_assert_int_eq(vmxc_ept_merge(&f.ept, 0, 4 * MB), VMXC_OK);
    ck_assert_uint_eq(f.hal->traced[VMXC_TRACE_MERGE], 1);
    ck_assert_uint_eq(f.hal->traced[VMXC_TRACE_FRAME_FREE], 1);
    const struct vmxc_trace_event *const merge = &f.hal->last_of[VMXC_TRACE_MERGE];
    ck_assert_uint_eq(merge->gpa, 2 * MB);
    ck_assert_uint_eq(merge->size, 2 * MB);
    ck_assert_uint_eq(merge->hpa, f.hal->last_of[VMXC_TRACE_FRAME_FREE].hpa);
    ept_fixture_end(&f);
}
END_TEST

int main(void)
{
    Suite *const suite = suite_create("ept_invalidate");
    TCase *const tcase = tcase_create("ept_invalidate");

    suite_add_tcase(suite, tcase);
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, mapping_needs_none);
    tcase_add_test(tcase, reading_and_doing_nothing_need_none);
    tcase_add_loop_test(tcase, protecting_needs_one_if_anything_shrinks_or_changes, 0, CHANGES);
    tcase_add_test(tcase, splitting_to_protect_needs_one_even_if_rights_grow);
    tcase_add_loop_test(tcase, unmapping_clears_then_invalidates_once_then_frees, 0, 12);
    tcase_add_test(tcase, a_table_of_not_present_pages_is_reachable_all_the_same);
    tcase_add_test(tcase, tables_at_the_edges_of_the_range_go_only_after_invalidation);
    tcase_add_loop_test(tcase, replacing_invalidates_once_between_old_and_new, 0, 4);
    tcase_add_test(tcase, replacing_releases_each_old_page_once_and_no_new_one);
    tcase_add_test(tcase, replacing_without_a_release_callback_keeps_the_pages);
    tcase_add_test(tcase, merging_needs_one_even_if_no_page_is_present);
    tcase_add_test(tcase, each_event_is_traced_with_its_facts);
    return run_suite(suite);
}
