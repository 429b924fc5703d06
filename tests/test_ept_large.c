/* SPDX-License-Identifier: Apache-2.0 */
/* EPT: splitting large pages, and merging small ones. */
#include <check.h>
#include <stdlib.h>

#include "support/ept_fixture.h"

#define HOST (4 * GB)
#define AD   UINT64_C(0x300) /* accessed and dirty */

/* ---- Splitting -------------------------------------------------------------------------------------- */

/* One cut out of the 1-GByte page at GB. */
static const struct {
    uint64_t begin, end; /* offsets into the page */
    uint64_t tables;     /* that the cut takes */
} cuts[] = {
    {0, 512 * MB, 1},
    {512 * MB, GB, 1},
    {2 * MB, 4 * MB, 1},
    {0, 4 * KB, 2},
    {GB - 4 * KB, GB, 2},
    {4 * KB, GB, 2},
    {512 * MB + 4 * KB, 512 * MB + 8 * KB, 2},
    {512 * MB - 4 * KB, 512 * MB + 4 * KB, 3},
    {4 * KB, GB - 4 * KB, 3},
    {2 * MB, 4 * MB + 4 * KB, 2},
    {2 * MB + 4 * KB, 4 * MB, 2},
};

#define CUTS ((int)(sizeof(cuts) / sizeof(cuts[0])))

/* The byte at GB + offset is still mapped as it was, but for the page size. */
static void assert_kept(const struct ept_fixture *f, uint64_t offset)
{
    struct vmxc_ept_mapping mapping;

    ck_assert_int_eq(vmxc_ept_query(&f->ept, GB + offset, &mapping), VMXC_OK);
    ept_fixture_assert_mapped(f, GB + offset, HOST + offset, mapping.page_size, RWX | WB);
}

START_TEST(unmapping_part_of_a_large_page_keeps_the_rest)
{
    struct ept_fixture f = ept_fixture_begin();
    const uint64_t begin = cuts[_i].begin, end = cuts[_i].end;

    ept_fixture_map(&f, GB, HOST, GB, RWX);
    const uint64_t tables = f.hal->frames_in_use;
    const uint64_t allocations = f.hal->allocations;
    test_hal_clear_log(f.hal);
    ept_fixture_unmap(&f, GB + begin, end - begin);
    ck_assert_uint_eq(f.hal->allocations - allocations, cuts[_i].tables);
    ck_assert_uint_eq(f.hal->traced[VMXC_TRACE_SPLIT], cuts[_i].tables);
    test_hal_assert_invalidated_first(f.hal);
    ck_assert_uint_eq(f.hal->invalidations, 1);
    ck_assert_uint_le(f.hal->frames_in_use, tables + cuts[_i].tables);
    for (uint64_t offset = 0; offset < GB; offset += 2 * MB)
        if (offset + 2 * MB <= begin || offset >= end)
            assert_kept(&f, offset);
    if (begin > 0)
        assert_kept(&f, begin - 1);
    if (end < GB)
        assert_kept(&f, end);
    ept_fixture_assert_unmapped(&f, GB + begin);
    ept_fixture_assert_unmapped(&f, GB + end - 1);
    ept_fixture_check(&f);
    /* What was released is exactly the cut. */
    uint64_t released = 0;
    for (uint64_t i = 0; i < f.hal->log_count; i++)
        if (f.hal->log[i].call == TEST_HAL_RELEASE) {
            ck_assert_uint_ge(f.hal->log[i].gpa, GB + begin);
            ck_assert_uint_eq(f.hal->log[i].value, HOST + f.hal->log[i].gpa - GB);
            released += f.hal->log[i].size;
        }
    ck_assert_uint_eq(released, end - begin);
    ept_fixture_end(&f);
}
END_TEST

START_TEST(mapping_the_cut_again_and_merging_restores_the_large_page)
{
    struct ept_fixture f = ept_fixture_begin();
    const uint64_t begin = cuts[_i].begin, end = cuts[_i].end;

    ept_fixture_map(&f, GB, HOST, GB, RWX);
    const uint64_t tables = f.hal->frames_in_use;
    ept_fixture_unmap(&f, GB + begin, end - begin);
    ck_assert_int_eq(vmxc_ept_merge(&f.ept, 0, 4 * GB), VMXC_OK);
    ck_assert_uint_gt(f.hal->frames_in_use, tables); /* there is a hole */
    ept_fixture_map(&f, GB + begin, HOST + begin, end - begin, RWX);
    ck_assert_int_eq(vmxc_ept_merge(&f.ept, GB, GB), VMXC_OK);
    ck_assert_uint_eq(f.hal->frames_in_use, tables);
    ept_fixture_assert_mapped(&f, GB, HOST, GB, RWX | WB);
    ept_fixture_end(&f);
}
END_TEST

START_TEST(protecting_part_of_a_large_page_splits_it)
{
    struct ept_fixture f = ept_fixture_begin();
    const uint64_t begin = cuts[_i].begin, end = cuts[_i].end;
    struct vmxc_ept_mapping mapping;

    ept_fixture_map(&f, GB, HOST, GB, RWX);
    ept_fixture_protect(&f, GB + begin, end - begin, VMXC_MAP_READ | VMXC_MAP_TYPE(1));
    ck_assert_uint_eq(f.hal->traced[VMXC_TRACE_SPLIT], cuts[_i].tables);
    ck_assert_uint_eq(f.hal->invalidations, 1);
    for (uint64_t offset = 0; offset < GB; offset += 2 * MB) {
        ck_assert_int_eq(vmxc_ept_query(&f.ept, GB + offset, &mapping), VMXC_OK);
        ck_assert_uint_eq(mapping.hpa, HOST + offset);
        ck_assert_uint_eq(mapping.flags, offset >= begin && offset < end
                                             ? VMXC_MAP_READ | VMXC_MAP_TYPE(1)
                                             : RWX | WB);
    }
    ept_fixture_protect(&f, GB, GB, RWX);
    ck_assert_int_eq(vmxc_ept_merge(&f.ept, GB, GB), VMXC_OK);
    ept_fixture_assert_mapped(&f, GB, HOST, GB, RWX | WB);
    ept_fixture_end(&f);
}
END_TEST

START_TEST(the_parts_of_a_split_page_inherit_everything)
{
    struct ept_fixture f = ept_fixture_begin();
    const vmxc_map_flags flags = RW | VMXC_MAP_TYPE(5) | VMXC_MAP_IGNORE_PAT;
    struct vmxc_ept_mapping mapping;

    ept_fixture_map(&f, GB, HOST, GB, flags);
    const uint64_t slot = ept_check_slot(f.hal, &f.ept, GB);
    test_hal_write64(f.hal, slot, test_hal_read64(f.hal, slot) | AD);
    ept_fixture_unmap(&f, GB, 4 * KB);
    for (uint64_t gpa = GB + 4 * KB; gpa < 2 * GB; gpa += gpa < GB + 2 * MB ? 4 * KB : 2 * MB) {
        ept_fixture_assert_mapped(&f, gpa, HOST + gpa - GB, gpa < GB + 2 * MB ? 4 * KB : 2 * MB,
                                  flags);
        ck_assert_int_eq(vmxc_ept_query(&f.ept, gpa, &mapping), VMXC_OK);
        ck_assert(mapping.accessed && mapping.dirty);
    }
    ept_fixture_end(&f);
}
END_TEST

START_TEST(a_large_mapping_without_access_splits_and_merges_too)
{
    struct ept_fixture f = ept_fixture_begin();

    ept_fixture_map(&f, GB, HOST, GB, VMXC_MAP_NONE);
    test_hal_clear_log(f.hal);
    ept_fixture_protect(&f, GB + 4 * KB, 4 * KB, RW);
    ck_assert_uint_eq(f.hal->invalidations, 0); /* nothing present became less */
    ept_fixture_assert_mapped(&f, GB, HOST, 4 * KB, WB);
    ept_fixture_assert_mapped(&f, GB + 4 * KB, HOST + 4 * KB, 4 * KB, RW | WB);
    ept_fixture_assert_mapped(&f, GB + 2 * MB, HOST + 2 * MB, 2 * MB, WB);
    ept_fixture_check(&f);
    ept_fixture_protect(&f, GB, GB, VMXC_MAP_NONE);
    ck_assert_int_eq(vmxc_ept_merge(&f.ept, GB, GB), VMXC_OK);
    ept_fixture_assert_mapped(&f, GB, HOST, GB, WB);
    ept_fixture_unmap(&f, GB, 2 * MB);
    ept_fixture_assert_unmapped(&f, GB);
    ept_fixture_assert_mapped(&f, GB + 2 * MB, HOST + 2 * MB, 2 * MB, WB);
    ept_fixture_end(&f);
}
END_TEST

/* A processor that sets flags in the entry between the library's load and its compare-and-exchange. */
struct race {
    struct test_hal *hal;
    uint64_t slot;
};

static struct race race;

static void set_flags_meanwhile(void *context, vmxc_hpa_t hpa, uint64_t length)
{
    (void)context;
    if (race.slot != 0 && race.slot - hpa < length) {
        const uint64_t slot = race.slot;
        race.slot = 0;
        test_hal_write64(race.hal, slot, test_hal_read64(race.hal, slot) | AD);
    }
}

START_TEST(flags_that_a_processor_sets_meanwhile_are_not_lost)
{
    struct ept_fixture f = ept_fixture_begin();
    struct vmxc_ept_mapping mapping;

    ept_fixture_map(&f, GB, HOST, _i == 0 ? 4 * KB : 2 * MB, RW);
    f.hal->hal.mark_dirty = set_flags_meanwhile;
    race = (struct race){.hal = f.hal, .slot = ept_check_slot(f.hal, &f.ept, GB)};
    if (_i < 2)
        ept_fixture_protect(&f, GB, _i == 0 ? 4 * KB : 2 * MB, VMXC_MAP_READ);
    else
        ept_fixture_unmap(&f, GB + 4 * KB, 4 * KB);
    ck_assert_uint_eq(race.slot, 0);
    ck_assert_int_eq(vmxc_ept_query(&f.ept, GB, &mapping), VMXC_OK);
    ck_assert(mapping.accessed && mapping.dirty);
    ck_assert_uint_eq(mapping.flags, (_i < 2 ? VMXC_MAP_READ : RW) | WB);
    f.hal->hal.mark_dirty = NULL;
    ept_fixture_end(&f);
}
END_TEST

/* ---- Merging ---------------------------------------------------------------------------------------- */

/* Maps [GB, GB + size) with 4-KByte pages, whatever the configuration says. */
static void map_small(struct ept_fixture *f, uint64_t size)
{
    const uint8_t largest = f->ept.config.largest_page;

    f->ept.config.largest_page = VMXC_PAGE_LEVEL_4K;
    ept_fixture_map(f, GB, HOST, size, RW);
    f->ept.config.largest_page = largest;
}

/* Ways in which 512 pages at GB are not one large page. */
static const char *spoil(struct ept_fixture *f, int way)
{
    const uint64_t gpa = GB + 0x123000;

    switch (way) {
    case 0:
        ept_fixture_unmap(f, gpa, 4 * KB);
        return "a hole";
    case 1:
        ept_fixture_protect(f, gpa, 4 * KB, RWX);
        return "other rights";
    case 2:
        ept_fixture_protect(f, gpa, 4 * KB, RW | VMXC_MAP_TYPE(4));
        return "another memory type";
    case 3:
        ept_fixture_protect(f, gpa, 4 * KB, RW | VMXC_MAP_IGNORE_PAT);
        return "ignore-PAT";
    case 4:
        ept_fixture_protect(f, GB, 4 * KB, VMXC_MAP_NONE);
        return "no access";
    case 5:
        ept_fixture_unmap(f, gpa, 4 * KB);
        ept_fixture_map(f, gpa, HOST, 4 * KB, RW);
        return "not contiguous";
    case 6:
        ept_fixture_unmap(f, GB, 2 * MB);
        ept_fixture_map(f, GB, HOST + 4 * KB, 2 * MB, RW);
        return "contiguous, but not aligned";
    case 7:
        ept_fixture_unmap(f, GB, 4 * KB);
        return "a hole at the start";
    default:
        f->ept.config.largest_page = VMXC_PAGE_LEVEL_4K;
        return "not wanted by the configuration";
    }
}

START_TEST(pages_that_are_not_one_large_page_are_left_alone)
{
    struct ept_fixture f = ept_fixture_begin();

    map_small(&f, 2 * MB);
    const char *const way = spoil(&f, _i);
    uint8_t *const before = test_hal_snapshot(f.hal);
    test_hal_clear_log(f.hal);
    ck_assert_int_eq(vmxc_ept_merge(&f.ept, 0, 4 * GB), VMXC_OK);
    ck_assert_msg(test_hal_equals(f.hal, before), "%s", way);
    ck_assert_uint_eq(f.hal->invalidations, 0);
    free(before);
    ept_fixture_end(&f);
}
END_TEST

START_TEST(only_tables_wholly_in_the_range_are_merged)
{
    struct ept_fixture f = ept_fixture_begin();

    map_small(&f, 6 * MB);
    ck_assert_int_eq(vmxc_ept_merge(&f.ept, GB + 4 * KB, 6 * MB - 8 * KB), VMXC_OK);
    ept_fixture_assert_mapped(&f, GB, HOST, 4 * KB, RW | WB);
    ept_fixture_assert_mapped(&f, GB + 2 * MB, HOST + 2 * MB, 2 * MB, RW | WB);
    ept_fixture_assert_mapped(&f, GB + 4 * MB, HOST + 4 * MB, 4 * KB, RW | WB);
    ck_assert_uint_eq(f.hal->traced[VMXC_TRACE_MERGE], 1);
    ck_assert_uint_eq(f.hal->last_event.kind, VMXC_TRACE_FRAME_FREE);
    ept_fixture_end(&f);
}
END_TEST

START_TEST(small_pages_become_a_gigabyte_in_one_call)
{
    struct ept_fixture f = ept_fixture_begin();
    const bool huge = _i != 0;

    f.ept.config.largest_page = huge ? VMXC_PAGE_LEVEL_1G : VMXC_PAGE_LEVEL_2M;
    map_small(&f, GB);
    ck_assert_uint_eq(f.hal->frames_in_use, 3 + 512);
    test_hal_clear_log(f.hal);
    ck_assert_int_eq(vmxc_ept_merge(&f.ept, GB, GB), VMXC_OK);
    ept_fixture_assert_mapped(&f, GB, HOST, huge ? GB : 2 * MB, RW | WB);
    ept_fixture_assert_mapped(&f, 2 * GB - 1, HOST + GB - 1, huge ? GB : 2 * MB, RW | WB);
    ck_assert_uint_eq(f.hal->frames_in_use, huge ? 2 : 3);
    const uint64_t tables = huge ? 513 : 512;
    ck_assert_uint_eq(f.hal->traced[VMXC_TRACE_MERGE], tables);
    ck_assert_uint_eq(f.hal->invalidations,
                      (tables + VMXC_EPT_MERGE_BATCH - 1) / VMXC_EPT_MERGE_BATCH);
    test_hal_assert_invalidated_first(f.hal);
    ept_fixture_end(&f);
}
END_TEST

START_TEST(a_merged_page_is_used_if_any_part_was)
{
    static const uint64_t parts[4][2] = {{0, 0}, {0x100, 0}, {0, 0x200}, {0x100, 0x300}};
    struct ept_fixture f = ept_fixture_begin();

    map_small(&f, 2 * MB);
    const uint64_t first = ept_check_slot(f.hal, &f.ept, GB);
    const uint64_t last = ept_check_slot(f.hal, &f.ept, GB + 2 * MB - 1);
    test_hal_write64(f.hal, first, test_hal_read64(f.hal, first) | parts[_i][0]);
    test_hal_write64(f.hal, last, test_hal_read64(f.hal, last) | parts[_i][1]);
    ck_assert_int_eq(vmxc_ept_merge(&f.ept, GB, 2 * MB), VMXC_OK);
    ept_fixture_assert_mapped(&f, GB, HOST, 2 * MB, RW | WB);
    ck_assert_uint_eq(ept_check_walk(f.hal, &f.ept, GB).entry & AD, parts[_i][0] | parts[_i][1]);
    ept_fixture_end(&f);
}
END_TEST

/* Sets the dirty flag through a stale translation, as long as no invalidation has forbidden it. */
static void write_through_old_table(void *context)
{
    struct test_hal *const hal = context;

    test_hal_write64(hal, race.slot, test_hal_read64(hal, race.slot) | AD);
}

START_TEST(a_write_through_a_table_being_merged_is_not_lost)
{
    struct ept_fixture f = ept_fixture_begin();

    /* 512 tables become 2-MByte pages, and these one page of 1 GByte. */
    map_small(&f, _i == 0 ? 2 * MB : GB);
    race.slot = ept_check_slot(f.hal, &f.ept, _i == 0 ? GB + 0x42000 : 2 * GB - 4 * KB);
    if (_i != 0) {
        ck_assert_int_eq(vmxc_ept_merge(&f.ept, GB, GB - 2 * MB), VMXC_OK);
        race.slot = ept_check_slot(f.hal, &f.ept, 2 * GB - 4 * KB);
    }
    f.hal->on_invalidate = write_through_old_table;
    f.hal->on_invalidate_context = f.hal;
    ck_assert_int_eq(vmxc_ept_merge(&f.ept, GB, _i == 0 ? 2 * MB : GB), VMXC_OK);
    f.hal->on_invalidate = NULL;
    ck_assert_uint_eq(ept_check_walk(f.hal, &f.ept, GB).level, _i == 0 ? 2 : 3);
    ck_assert_uint_eq(ept_check_walk(f.hal, &f.ept, GB).entry & AD, AD);
    ept_fixture_end(&f);
}
END_TEST

int main(void)
{
    Suite *const suite = suite_create("ept_large");
    TCase *const tcase = tcase_create("ept_large");

    suite_add_tcase(suite, tcase);
    tcase_set_timeout(tcase, 60);
    tcase_add_loop_test(tcase, pages_that_are_not_one_large_page_are_left_alone, 0, 9);
    tcase_add_test(tcase, only_tables_wholly_in_the_range_are_merged);
    tcase_add_loop_test(tcase, unmapping_part_of_a_large_page_keeps_the_rest, 0, CUTS);
    tcase_add_loop_test(tcase, mapping_the_cut_again_and_merging_restores_the_large_page, 0, CUTS);
    tcase_add_loop_test(tcase, protecting_part_of_a_large_page_splits_it, 0, CUTS);
    tcase_add_test(tcase, the_parts_of_a_split_page_inherit_everything);
    tcase_add_test(tcase, a_large_mapping_without_access_splits_and_merges_too);
    tcase_add_loop_test(tcase, flags_that_a_processor_sets_meanwhile_are_not_lost, 0, 3);
    tcase_add_loop_test(tcase, small_pages_become_a_gigabyte_in_one_call, 0, 2);
    tcase_add_loop_test(tcase, a_merged_page_is_used_if_any_part_was, 0, 4);
    tcase_add_loop_test(tcase, a_write_through_a_table_being_merged_is_not_lost, 0, 2);
    SRunner *const runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
