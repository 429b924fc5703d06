/* SPDX-License-Identifier: Apache-2.0 */
/* EPT: arguments, rights, memory types, mapping and reading. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "internal/ept.h"
#include "support/ept_fixture.h"
#include "support/suite.h"

#define HOST (4 * GB) /* where the tests map to */

/* ---- Refused ---------------------------------------------------------------------------------------- */

START_TEST(a_bad_configuration_is_refused)
{
    struct test_hal *const hal = test_hal_create(1);
    const struct vmxc_ept_config good = ept_fixture_config();
    struct vmxc_ept_config bad[10];
    struct vmxc_ept ept = {.root_hpa = 42};

    for (size_t i = 0; i < 10; i++)
        bad[i] = good;
    bad[0].levels = 3;
    bad[1].levels = 6;
    bad[2].maxphyaddr = 31;
    bad[3].maxphyaddr = 53;
    bad[4].largest_page = 0;
    bad[5].largest_page = 4;
    bad[6].table_memory_type = VMXC_MEMORY_TYPE_WC;
    bad[7].table_memory_type = VMXC_MEMORY_TYPE_WT;
    bad[8].table_memory_type = 8;
    bad[9].levels = 0;
    for (size_t i = 0; i < 10; i++)
        ck_assert_int_eq(vmxc_ept_init(&ept, &hal->hal, &bad[i]), VMXC_INVALID_INPUT);
    ck_assert_int_eq(vmxc_ept_init(&ept, NULL, &good), VMXC_INVALID_INPUT);
    ck_assert_uint_eq(ept.root_hpa, 42);
    ck_assert_uint_eq(hal->allocations, 0);
    test_hal_destroy(hal);
}
END_TEST

START_TEST(a_root_that_cannot_be_is_refused_and_given_back)
{
    struct test_hal *const hal = test_hal_create(1);
    const struct vmxc_ept_config config = ept_fixture_config();
    struct vmxc_ept ept = {.root_hpa = 42};

    hal->oddity = (enum test_hal_oddity)_i;
    ck_assert_int_eq(vmxc_ept_init(&ept, &hal->hal, &config), VMXC_BAD_STATE);
    ck_assert_uint_eq(hal->odd_frames_returned, 1);
    ck_assert_uint_eq(ept.root_hpa, 42);
    hal->oddity = TEST_HAL_SOUND;
    hal->fail_at = 1;
    ck_assert_int_eq(vmxc_ept_init(&ept, &hal->hal, &config), VMXC_NO_MEMORY);
    ck_assert_uint_eq(ept.root_hpa, 42);
    test_hal_destroy(hal);
}
END_TEST

static enum vmxc_status visit_nothing(void *context, const struct vmxc_ept_mapping *mapping)
{
    (void)context;
    ck_abort_msg("visited %#llx", (unsigned long long)mapping->gpa);
}

static enum vmxc_status supply_nothing(void *context, vmxc_gpa_t gpa, vmxc_hpa_t *page_hpa)
{
    (void)context;
    (void)page_hpa;
    ck_abort_msg("asked for %#llx", (unsigned long long)gpa);
}

/* Every call that takes a range answers `expected`. */
static void assert_range_status(struct vmxc_ept *ept, uint64_t gpa, uint64_t size,
                                enum vmxc_status expected)
{
    ck_assert_int_eq(vmxc_ept_map(ept, gpa, HOST, size, RW), expected);
    ck_assert_int_eq(vmxc_ept_map_region(ept, gpa, size, RW, supply_nothing, NULL, NULL), expected);
    ck_assert_int_eq(vmxc_ept_remap(ept, gpa, HOST, size, RW, NULL, NULL), expected);
    ck_assert_int_eq(vmxc_ept_remap_region(ept, gpa, size, RW, supply_nothing, NULL, NULL, NULL),
                     expected);
    ck_assert_int_eq(vmxc_ept_unmap(ept, gpa, size, NULL, NULL), expected);
    ck_assert_int_eq(vmxc_ept_protect(ept, gpa, size, RW), expected);
    ck_assert_int_eq(vmxc_ept_merge(ept, gpa, size), expected);
    ck_assert_int_eq(vmxc_ept_walk(ept, gpa, size, visit_nothing, NULL), expected);
}

START_TEST(an_uninitialized_hierarchy_answers_with_a_status)
{
    struct vmxc_ept ept = {.hal = NULL};
    struct vmxc_ept_mapping mapping;

    assert_range_status(&ept, 0, 4 * KB, VMXC_BAD_STATE);
    ck_assert_int_eq(vmxc_ept_query(&ept, 0, &mapping), VMXC_BAD_STATE);
    ck_assert_uint_eq(vmxc_ept_eptp(&ept), 0);
    ck_assert_uint_eq(vmxc_ept_span(&ept), 0);
    ck_assert_uint_eq(vmxc_ept_count_tables(&ept), 0);
    ck_assert(!vmxc_ept_is_valid(&ept));
    vmxc_ept_fini(&ept, NULL, NULL);
}
END_TEST

START_TEST(a_bad_guest_range_is_refused)
{
    struct vmxc_ept_config config = ept_fixture_config();
    config.maxphyaddr = _i == 0 ? 46 : 52;
    config.levels = _i == 2 ? 5 : 4;
    struct ept_fixture f = ept_fixture_begin_with(&config);
    const uint64_t span = _i == 0   ? UINT64_C(1) << 46
                          : _i == 1 ? UINT64_C(1) << 48
                                    : UINT64_C(1) << 52;
    const uint64_t bad[][2] = {
        {1, 4 * KB},
        {0x800, 4 * KB},
        {0, 1},
        {0, 4 * KB + 8},
        {0, 0},
        {4 * KB, 0},
        {span, 4 * KB},
        {span - 4 * KB, 8 * KB},
        {0, span + 4 * KB},
        {4 * KB, span},
        {4 * KB, UINT64_MAX & ~VMXC_PAGE_MASK},
        {UINT64_MAX & ~VMXC_PAGE_MASK, 4 * KB},
        {UINT64_MAX & ~VMXC_PAGE_MASK, 8 * KB},
        {UINT64_C(1) << 63, UINT64_C(1) << 63},
        {UINT64_C(1) << 57, 4 * KB},
    };
    struct vmxc_ept_mapping mapping;

    ck_assert_uint_eq(vmxc_ept_span(&f.ept), span);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_range_status(&f.ept, bad[i][0], bad[i][1], VMXC_INVALID_INPUT);
    ck_assert_int_eq(vmxc_ept_query(&f.ept, span, &mapping), VMXC_INVALID_INPUT);
    ck_assert_int_eq(vmxc_ept_query(&f.ept, UINT64_MAX, &mapping), VMXC_INVALID_INPUT);
    ck_assert_int_eq(vmxc_ept_query(&f.ept, span - 1, &mapping), VMXC_NOT_FOUND);
    ck_assert_uint_eq(f.hal->allocations, 1);
    ck_assert_uint_eq(f.hal->invalidations, 0);
    ept_fixture_end(&f);
}
END_TEST

START_TEST(a_bad_host_range_is_refused)
{
    struct ept_fixture f = ept_fixture_begin();
    const uint64_t limit = UINT64_C(1) << 46;
    const uint64_t bad[][2] = {
        {HOST + 1, 4 * KB},
        {HOST + 0x800, 4 * KB},
        {limit, 4 * KB},
        {limit - 4 * KB, 8 * KB},
        {UINT64_C(1) << 51, 4 * KB},
        {UINT64_C(1) << 52, 4 * KB},
        {UINT64_MAX & ~VMXC_PAGE_MASK, 4 * KB},
        {UINT64_MAX & ~VMXC_PAGE_MASK, 8 * KB},
    };

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        ck_assert_int_eq(vmxc_ept_map(&f.ept, GB, bad[i][0], bad[i][1], RW), VMXC_INVALID_INPUT);
        ck_assert_int_eq(vmxc_ept_remap(&f.ept, GB, bad[i][0], bad[i][1], RW, NULL, NULL),
                         VMXC_INVALID_INPUT);
    }
    ck_assert_uint_eq(f.hal->allocations, 1);
    ept_fixture_map(&f, GB, limit - 4 * KB, 4 * KB, RW); /* the last page there is */
    ept_fixture_assert_mapped(&f, GB, limit - 4 * KB, 4 * KB, RW | WB);
    ept_fixture_end(&f);
}
END_TEST

START_TEST(a_missing_supplier_is_refused)
{
    struct ept_fixture f = ept_fixture_begin();

    ck_assert_int_eq(vmxc_ept_map_region(&f.ept, 0, 4 * KB, RW, NULL, NULL, NULL),
                     VMXC_INVALID_INPUT);
    ck_assert_int_eq(vmxc_ept_remap_region(&f.ept, 0, 4 * KB, RW, NULL, NULL, NULL, NULL),
                     VMXC_INVALID_INPUT);
    ept_fixture_end(&f);
}
END_TEST

/* ---- Rights and types ------------------------------------------------------------------------------- */

#define OK VMXC_OK
#define IN VMXC_INVALID_INPUT
#define UN VMXC_UNSUPPORTED

/* Rows: rights as r, w, x, u = 1, 2, 4, 8. Columns: nothing, execute-only, mode-based execute, both. */
static const enum vmxc_status rights_matrix[16][4] = {
    {OK, OK, OK, OK}, /* ---- */
    {OK, OK, OK, OK}, /* r--- */
    {IN, IN, IN, IN}, /* -w-- */
    {OK, OK, OK, OK}, /* rw-- */
    {UN, OK, UN, OK}, /* --x- */
    {OK, OK, OK, OK}, /* r-x- */
    {IN, IN, IN, IN}, /* -wx- */
    {OK, OK, OK, OK}, /* rwx- */
    {UN, UN, UN, OK}, /* ---u */
    {UN, UN, OK, OK}, /* r--u */
    {IN, IN, IN, IN}, /* -w-u */
    {UN, UN, OK, OK}, /* rw-u */
    {UN, UN, UN, OK}, /* --xu */
    {UN, UN, OK, OK}, /* r-xu */
    {IN, IN, IN, IN}, /* -wxu */
    {UN, UN, OK, OK}, /* rwxu */
};

START_TEST(rights_are_given_exactly_or_refused)
{
    struct vmxc_ept_config config = ept_fixture_config();
    config.execute_only = (_i & 1) != 0;
    config.mode_based_execute = (_i & 2) != 0;
    struct ept_fixture f = ept_fixture_begin_with(&config);

    for (vmxc_map_flags rights = 0; rights < 16; rights++) {
        const enum vmxc_status expected = rights_matrix[rights][_i];
        const uint64_t gpa = rights * GB;
        ck_assert_msg(vmxc_ept_map(&f.ept, gpa, HOST + gpa, 2 * MB + 4 * KB, rights) == expected,
                      "rights %u, configuration %d", rights, _i);
        if (expected != VMXC_OK) {
            ck_assert_int_eq(vmxc_ept_protect(&f.ept, 0, 4 * KB, rights), expected);
            ck_assert_int_eq(vmxc_ept_remap(&f.ept, gpa, HOST, 4 * KB, rights, NULL, NULL),
                             expected);
            ept_fixture_assert_unmapped(&f, gpa);
            continue;
        }
        ept_fixture_assert_mapped(&f, gpa, HOST + gpa, 2 * MB, rights | WB);
        ept_fixture_assert_mapped(&f, gpa + 2 * MB, HOST + gpa + 2 * MB, 4 * KB, rights | WB);
    }
    ept_fixture_end(&f);
}
END_TEST

START_TEST(memory_types_and_ignore_pat_are_kept)
{
    static const vmxc_map_flags types[] = {0, 1, 4, 5, 6};
    struct ept_fixture f = ept_fixture_begin();

    for (size_t i = 0; i < 10; i++) {
        const vmxc_map_flags ipat = i < 5 ? 0 : VMXC_MAP_IGNORE_PAT;
        const vmxc_map_flags flags = RW | VMXC_MAP_TYPE(types[i % 5]) | ipat;
        const uint64_t gpa = i * GB;
        ept_fixture_map(&f, gpa, HOST + gpa, 2 * MB + 4 * KB, flags);
        ept_fixture_assert_mapped(&f, gpa, HOST + gpa, 2 * MB, flags);
        ept_fixture_assert_mapped(&f, gpa + 2 * MB, HOST + gpa + 2 * MB, 4 * KB, flags);
        const uint64_t entry = ept_check_walk(f.hal, &f.ept, gpa).entry;
        ck_assert_uint_eq(entry, (HOST + gpa) | 0x80 | (ipat ? 0x40 : 0) | types[i % 5] << 3 | 3);
    }
    ept_fixture_map(&f, 20 * GB, HOST, 4 * KB, RW | VMXC_MAP_DEVICE);
    ept_fixture_assert_mapped(&f, 20 * GB, HOST, 4 * KB, RW | VMXC_MAP_TYPE(0));
    ck_assert_int_eq(vmxc_ept_map(&f.ept, 21 * GB, HOST, 4 * KB, RW | VMXC_MAP_TYPE(2)),
                     VMXC_INVALID_INPUT);
    ck_assert_int_eq(vmxc_ept_protect(&f.ept, 20 * GB, 4 * KB, VMXC_MAP_DEVICE | WB),
                     VMXC_INVALID_INPUT);
    ept_fixture_end(&f);
}
END_TEST

START_TEST(a_mapping_without_access_is_a_mapping)
{
    struct ept_fixture f = ept_fixture_begin();
    const uint64_t size = _i == 0 ? 4 * KB : _i == 1 ? 2 * MB : GB;
    struct vmxc_ept_mapping mapping;

    /* Host address 0 and type UC: nothing but the software bit makes the entry non-zero. */
    ept_fixture_map(&f, 0, 0, size, VMXC_MAP_NONE | VMXC_MAP_DEVICE);
    ept_fixture_assert_mapped(&f, 0, 0, size, VMXC_MAP_TYPE(0));
    ck_assert(!ept_check_walk(f.hal, &f.ept, 0).is_mapped);
    ck_assert_int_eq(vmxc_ept_map(&f.ept, 0, HOST, 4 * KB, RW), VMXC_ALREADY_EXISTS);

    ept_fixture_protect(&f, 0, size, RW);
    ept_fixture_assert_mapped(&f, 0, 0, size, RW | WB);
    ept_fixture_protect(&f, 0, size, VMXC_MAP_NONE);
    ept_fixture_assert_mapped(&f, 0, 0, size, WB);

    test_hal_clear_log(f.hal);
    ept_fixture_unmap(&f, 0, size);
    ck_assert_uint_eq(test_hal_count(f.hal, TEST_HAL_RELEASE), 1);
    ck_assert_int_eq(vmxc_ept_query(&f.ept, 0, &mapping), VMXC_NOT_FOUND);
    ck_assert_uint_eq(f.hal->frames_in_use, 1);
    ept_fixture_end(&f);
}
END_TEST

/* ---- Mapping ---------------------------------------------------------------------------------------- */

START_TEST(the_largest_pages_are_used_that_alignment_and_configuration_allow)
{
    struct vmxc_ept_config config = ept_fixture_config();
    config.largest_page = (uint8_t)_i;
    struct ept_fixture f = ept_fixture_begin_with(&config);
    const uint64_t largest = VMXC_EPT_ENTRY_SPAN(_i);
    const uint64_t gpa = GB - 2 * MB - 4 * KB;
    const uint64_t size = GB + 4 * MB + 8 * KB;

    ept_fixture_map(&f, gpa, HOST + gpa, size, RWX);
    const uint64_t expected_sizes[][2] = {
        {gpa, 4 * KB},       {GB - 2 * MB, 2 * MB}, {GB, GB},
        {GB + 512 * MB, GB}, {2 * GB, 2 * MB},      {2 * GB + 2 * MB, 4 * KB},
    };
    for (size_t i = 0; i < 6; i++) {
        const uint64_t at = expected_sizes[i][0];
        const uint64_t page = expected_sizes[i][1] < largest ? expected_sizes[i][1] : largest;
        ept_fixture_assert_mapped(&f, at + 0x123, HOST + at + 0x123, page, RWX | WB);
    }
    ept_fixture_assert_unmapped(&f, gpa - 1);
    ept_fixture_assert_unmapped(&f, gpa + size);
    ept_fixture_end(&f);
}
END_TEST

START_TEST(a_host_address_that_is_less_aligned_gets_smaller_pages)
{
    struct ept_fixture f = ept_fixture_begin();

    ept_fixture_map(&f, GB, HOST + 2 * MB, GB, RW);
    ept_fixture_assert_mapped(&f, GB, HOST + 2 * MB, 2 * MB, RW | WB);
    ept_fixture_map(&f, 2 * GB, 6 * GB + 4 * KB, 2 * MB, RW);
    ept_fixture_assert_mapped(&f, 2 * GB + 4 * KB, 6 * GB + 8 * KB, 4 * KB, RW | WB);
    /* A host address far below and far above the guest's: the distance wraps, the sum does not. */
    ept_fixture_map(&f, 4 * GB, 0, 4 * KB, RW);
    ept_fixture_assert_mapped(&f, 4 * GB, 0, 4 * KB, RW | WB);
    ept_fixture_map(&f, 5 * GB, (UINT64_C(1) << 46) - GB, GB, RW);
    ept_fixture_assert_mapped(&f, 6 * GB - 1, (UINT64_C(1) << 46) - 1, GB, RW | WB);
    ept_fixture_end(&f);
}
END_TEST

START_TEST(both_walk_lengths_reach_their_last_page)
{
    struct vmxc_ept_config config = ept_fixture_config();
    config.levels = (uint8_t)(4 + _i / 2);
    config.maxphyaddr = 52;
    struct ept_fixture f = ept_fixture_begin_with(&config);
    const uint64_t last = vmxc_ept_span(&f.ept) - 4 * KB;

    test_hal_set_window(f.hal, _i % 2 != 0);
    ck_assert_uint_eq(vmxc_ept_eptp(&f.ept), f.ept.root_hpa | (_i / 2 ? 4 : 3) << 3 | 6 | 0x40);
    ept_fixture_map(&f, last, 0xffffffffff000, 4 * KB, RW);
    ept_fixture_map(&f, 0, HOST, 4 * KB, RW);
    ept_fixture_assert_mapped(&f, last + 0xfff, 0xfffffffffffff, 4 * KB, RW | WB);
    ept_fixture_assert_mapped(&f, 0, HOST, 4 * KB, RW | WB);
    ck_assert_uint_eq(vmxc_ept_count_tables(&f.ept), 2 * config.levels - 1);
    ept_fixture_check(&f);
    ept_fixture_unmap(&f, 0, vmxc_ept_span(&f.ept));
    ck_assert_uint_eq(test_hal_count(f.hal, TEST_HAL_RELEASE), 2);
    ck_assert_uint_eq(f.hal->frames_in_use, 1);
    ept_fixture_end(&f);
}
END_TEST

START_TEST(the_eptp_says_what_was_configured)
{
    struct vmxc_ept_config config = ept_fixture_config();
    config.accessed_dirty = false;
    config.table_memory_type = VMXC_MEMORY_TYPE_UC;
    struct ept_fixture f = ept_fixture_begin_with(&config);

    ck_assert_uint_eq(vmxc_ept_eptp(&f.ept), f.ept.root_hpa | 3 << 3);
    ept_fixture_end(&f);
}
END_TEST

START_TEST(overlap_is_refused_wherever_it_lies)
{
    struct ept_fixture f = ept_fixture_begin();

    ept_fixture_map(&f, GB, HOST, GB, RW);
    ept_fixture_map(&f, 2 * GB + 2 * MB, HOST, 2 * MB, RW);
    ept_fixture_map(&f, 3 * GB + 12 * KB, HOST, 4 * KB, RW);
    uint8_t *const before = test_hal_snapshot(f.hal);
    const uint64_t overlapping[][2] = {
        {0, 4 * GB},
        {GB - 4 * KB, 8 * KB},
        {2 * GB - 4 * KB, 8 * KB},
        {GB + 4 * KB, 4 * KB},
        {2 * GB, 4 * MB},
        {2 * GB + 2 * MB + 4 * KB, 4 * KB},
        {3 * GB, 16 * KB},
        {3 * GB + 12 * KB, GB},
        {3 * GB + 12 * KB, 4 * KB},
        {0, UINT64_C(1) << 45},
        {3 * GB, 2 * MB},
        {3 * GB + 4 * KB, 2 * MB},
    };
    for (size_t i = 0; i < sizeof(overlapping) / sizeof(overlapping[0]); i++) {
        ck_assert_int_eq(vmxc_ept_map(&f.ept, overlapping[i][0], HOST, overlapping[i][1], RW),
                         VMXC_ALREADY_EXISTS);
        ck_assert_int_eq(vmxc_ept_map_region(&f.ept, overlapping[i][0], overlapping[i][1], RW,
                                             supply_nothing, NULL, NULL),
                         VMXC_ALREADY_EXISTS);
        ck_assert(test_hal_equals(f.hal, before));
    }
    free(before);
    ept_fixture_map(&f, 2 * GB, HOST, 2 * MB, RW);
    ept_fixture_map(&f, 3 * GB, HOST, 12 * KB, RW);
    ck_assert_uint_eq(f.hal->invalidations, 0);
    ept_fixture_end(&f);
}
END_TEST

START_TEST(an_empty_table_is_given_back_so_that_a_large_page_fits_later)
{
    struct ept_fixture f = ept_fixture_begin();

    for (uint64_t gpa = GB; gpa < GB + 2 * MB; gpa += 4 * KB)
        ept_fixture_map(&f, gpa, HOST + gpa, 4 * KB, RW);
    for (uint64_t gpa = GB; gpa < GB + 2 * MB; gpa += 4 * KB) {
        ck_assert_uint_eq(f.hal->frames_in_use, 4);
        ept_fixture_unmap(&f, gpa, 4 * KB);
    }
    ck_assert_uint_eq(f.hal->frames_in_use, 1);
    ept_fixture_map(&f, GB, HOST, GB, RW);
    ept_fixture_assert_mapped(&f, GB, HOST, GB, RW | WB);
    ept_fixture_end(&f);
}
END_TEST

START_TEST(a_page_into_an_existing_table_costs_one_store)
{
    struct ept_fixture f = ept_fixture_begin();

    ept_fixture_map(&f, 0, HOST, 4 * KB, RW);
    uint8_t *const before = test_hal_snapshot(f.hal);
    const uint64_t allocations = f.hal->allocations;
    test_hal_watch_stores(f.hal);
    ept_fixture_map(&f, 4 * KB, HOST + 4 * KB, 4 * KB, RW);
    ck_assert_uint_eq(f.hal->allocations, allocations);
    ck_assert_uint_eq(f.hal->announced, 1);
    test_hal_assert_announced(f.hal);
    test_hal_write64(f.hal, ept_check_slot(f.hal, &f.ept, 4 * KB), 0);
    ck_assert(test_hal_equals(f.hal, before)); /* nothing but the one entry had changed */
    free(before);
    ept_fixture_end(&f);
}
END_TEST

/* ---- Pages named by a callback ---------------------------------------------------------------------- */

struct supplier {
    struct test_hal *hal;
    uint64_t base_gpa, calls, fail_at, odd_at, odd_hpa;
};

static enum vmxc_status supply(void *context, vmxc_gpa_t gpa, vmxc_hpa_t *page_hpa)
{
    struct supplier *const supplier = context;

    ck_assert_uint_eq(gpa,
                      supplier->base_gpa + supplier->calls * 4 * KB); /* ascending, once each */
    if (++supplier->calls == supplier->fail_at)
        return VMXC_BUSY;
    *page_hpa = supplier->calls == supplier->odd_at ? supplier->odd_hpa : HOST + 3 * gpa;
    return VMXC_OK;
}

static void take_back(void *context, uint64_t gpa, uint64_t hpa, uint64_t size)
{
    struct supplier *const supplier = context;

    test_hal_release(supplier->hal, gpa, hpa, size);
}

START_TEST(pages_are_where_the_supplier_said)
{
    struct ept_fixture f = ept_fixture_begin();
    struct supplier supplier = {.hal = f.hal, .base_gpa = 2 * MB - 8 * KB};
    const uint64_t size = 4 * MB;

    ck_assert_int_eq(
        vmxc_ept_map_region(&f.ept, supplier.base_gpa, size, RW, supply, take_back, &supplier),
        VMXC_OK);
    ck_assert_uint_eq(supplier.calls, size / (4 * KB));
    for (uint64_t gpa = supplier.base_gpa; gpa < supplier.base_gpa + size; gpa += 4 * KB)
        ept_fixture_assert_mapped(&f, gpa, HOST + 3 * gpa, 4 * KB, RW | WB);
    ck_assert_uint_eq(test_hal_count(f.hal, TEST_HAL_RELEASE), 0);
    ept_fixture_end(&f);
}
END_TEST

/* The first `count` pages of the supplier went back, each once, and none other. */
static void assert_taken_back(const struct test_hal *hal, const struct supplier *supplier,
                              uint64_t count)
{
    ck_assert_uint_eq(test_hal_count(hal, TEST_HAL_RELEASE), count);
    for (uint64_t page = 0; page < count; page++) {
        const uint64_t gpa = supplier->base_gpa + page * 4 * KB;
        const uint64_t hpa = page + 1 == supplier->odd_at ? supplier->odd_hpa : HOST + 3 * gpa;
        uint64_t found = 0;
        for (uint64_t i = 0; i < hal->log_count; i++)
            found += hal->log[i].call == TEST_HAL_RELEASE && hal->log[i].gpa == gpa &&
                     hal->log[i].value == hpa && hal->log[i].size == 4 * KB;
        ck_assert_uint_eq(found, 1);
    }
}

START_TEST(a_supplier_that_fails_gets_its_pages_back_and_nothing_stays)
{
    struct ept_fixture f = ept_fixture_begin();
    /* Across tables, the first of which exists, or within that one. */
    const uint64_t gpa = _i == 0 ? 2 * MB - 8 * KB : 64 * KB;

    ept_fixture_map(&f, gpa - 4 * KB, HOST, 4 * KB, RW);
    uint8_t *const before = test_hal_snapshot(f.hal);
    for (uint64_t n = 1; n <= 6; n++) {
        struct supplier supplier = {.hal = f.hal, .base_gpa = gpa, .fail_at = n};
        test_hal_clear_log(f.hal);
        ck_assert_int_eq(
            vmxc_ept_map_region(&f.ept, gpa, 24 * KB, RW, supply, take_back, &supplier), VMXC_BUSY);
        assert_taken_back(f.hal, &supplier, n - 1);
        ck_assert(test_hal_equals(f.hal, before));
        ck_assert_uint_eq(f.hal->invalidations, 0);
        supplier.calls = 0;
        ck_assert_int_eq(vmxc_ept_map_region(&f.ept, gpa, 24 * KB, RW, supply, NULL, &supplier),
                         VMXC_BUSY);
        ck_assert(test_hal_equals(f.hal, before));
    }
    free(before);
    ept_fixture_end(&f);
}
END_TEST

START_TEST(an_impossible_page_is_refused_and_given_back)
{
    static const uint64_t odd[] = {HOST + 1, HOST + 0x800, UINT64_C(1) << 46, UINT64_MAX};
    struct ept_fixture f = ept_fixture_begin();

    for (size_t i = 0; i < 4; i++) {
        struct supplier supplier = {.hal = f.hal, .odd_at = 3, .odd_hpa = odd[i]};
        test_hal_clear_log(f.hal);
        ck_assert_int_eq(vmxc_ept_map_region(&f.ept, 0, 16 * KB, RW, supply, take_back, &supplier),
                         VMXC_INVALID_INPUT);
        assert_taken_back(f.hal, &supplier, 3);
        supplier.calls = 0;
        ck_assert_int_eq(vmxc_ept_map_region(&f.ept, 0, 16 * KB, RW, supply, NULL, &supplier),
                         VMXC_INVALID_INPUT);
        ck_assert_uint_eq(f.hal->frames_in_use, 1);
    }
    ept_fixture_end(&f);
}
END_TEST

/* ---- Reading ---------------------------------------------------------------------------------------- */

struct visits {
    struct vmxc_ept_mapping seen[16];
    size_t count, stop_at;
};

static enum vmxc_status visit(void *context, const struct vmxc_ept_mapping *mapping)
{
    struct visits *const visits = context;

    ck_assert_uint_lt(visits->count, 16);
    visits->seen[visits->count++] = *mapping;
    return visits->count == visits->stop_at ? VMXC_NO_SPACE : VMXC_OK;
}

START_TEST(a_walk_visits_what_the_range_touches_in_order)
{
    struct ept_fixture f = ept_fixture_begin();
    struct visits visits = {.count = 0};

    ept_fixture_map(&f, GB, HOST, GB, RWX);
    ept_fixture_map(&f, 2 * GB + 2 * MB, HOST, 2 * MB, VMXC_MAP_NONE);
    ept_fixture_map(&f, 2 * GB + 4 * MB, HOST, 8 * KB, RW);
    ept_fixture_map(&f, 5 * GB, HOST, 4 * KB, RW);
    ck_assert_int_eq(
        vmxc_ept_walk(&f.ept, 2 * GB - 4 * KB, 4 * KB + 4 * MB + 4 * KB, visit, &visits), VMXC_OK);
    ck_assert_uint_eq(visits.count, 3);
    ck_assert_uint_eq(visits.seen[0].gpa, GB);
    ck_assert_uint_eq(visits.seen[0].page_size, GB);
    ck_assert_uint_eq(visits.seen[1].gpa, 2 * GB + 2 * MB);
    ck_assert_uint_eq(visits.seen[1].flags, WB);
    ck_assert_uint_eq(visits.seen[2].gpa, 2 * GB + 4 * MB);
    ck_assert_uint_eq(visits.seen[2].flags, RW | WB);

    visits = (struct visits){.stop_at = 2};
    ck_assert_int_eq(vmxc_ept_walk(&f.ept, 0, UINT64_C(1) << 46, visit, &visits), VMXC_NO_SPACE);
    ck_assert_uint_eq(visits.count, 2);
    visits = (struct visits){.count = 0};
    ck_assert_int_eq(vmxc_ept_walk(&f.ept, 0, UINT64_C(1) << 46, visit, &visits), VMXC_OK);
    ck_assert_uint_eq(visits.count, 5);
    ept_fixture_end(&f);
}
END_TEST

START_TEST(a_query_reports_accessed_and_dirty)
{
    struct ept_fixture f = ept_fixture_begin();
    struct vmxc_ept_mapping mapping;

    ept_fixture_map(&f, 0, HOST, 4 * KB, RW);
    const uint64_t slot = ept_check_slot(f.hal, &f.ept, 0);
    const uint64_t entry = test_hal_read64(f.hal, slot);
    for (unsigned use = 0; use < 4; use++) {
        test_hal_write64(f.hal, slot, entry | use << 8);
        ck_assert_int_eq(vmxc_ept_query(&f.ept, 0, &mapping), VMXC_OK);
        ck_assert_int_eq(mapping.accessed, (use & 1) != 0);
        ck_assert_int_eq(mapping.dirty, (use & 2) != 0);
        ck_assert_uint_eq(mapping.hpa, HOST);
        ck_assert_uint_eq(mapping.flags, RW | WB);
    }
    ept_fixture_end(&f);
}
END_TEST

START_TEST(fini_gives_pages_and_tables_back_after_invalidation)
{
    struct ept_fixture f = ept_fixture_begin();
    const uint64_t eptp = vmxc_ept_eptp(&f.ept);

    ept_fixture_map(&f, GB, HOST + GB, GB + 2 * MB + 4 * KB, RW);
    test_hal_clear_log(f.hal);
    vmxc_ept_fini(&f.ept, test_hal_release, f.hal);
    test_hal_assert_invalidated_first(f.hal);
    ck_assert_uint_eq(f.hal->invalidations, 1);
    ck_assert_uint_eq(f.hal->log[0].value, eptp);
    ck_assert_uint_eq(test_hal_count(f.hal, TEST_HAL_RELEASE), 3);
    ck_assert_uint_eq(f.hal->frames_in_use, 0);
    vmxc_ept_fini(&f.ept, test_hal_release, f.hal);
    ck_assert_uint_eq(f.hal->invalidations, 1);
    ck_assert(!vmxc_ept_is_valid(&f.ept));
    test_hal_destroy(f.hal);
}
END_TEST

/* ---- The table that is remembered ------------------------------------------------------------------- */

/* What gives the table at [GB, 2 * GB) back. */
static enum vmxc_status unmap_near(struct vmxc_ept *ept)
{
    return vmxc_ept_unmap(ept, GB, GB, NULL, NULL);
}

static enum vmxc_status remap_near(struct vmxc_ept *ept)
{
    return vmxc_ept_remap(ept, 0, 2 * HOST, 4 * GB, RWX, NULL, NULL);
}

static enum vmxc_status merge_near(struct vmxc_ept *ept)
{
    return vmxc_ept_merge(ept, GB, GB);
}

static enum vmxc_status (*const giving_back[])(struct vmxc_ept *) = {unmap_near, remap_near,
                                                                     merge_near};

START_TEST(a_table_that_is_given_back_is_not_remembered)
{
    struct ept_fixture f = ept_fixture_begin();
    struct vmxc_ept_node node;

    ck_assert(!vmxc_ept_is_near(&f.ept, 0));
    ck_assert(!vmxc_ept_approach(&f.ept, GB));
    ept_fixture_map(&f, GB, HOST, GB / 2, RWX);
    ept_fixture_map(&f, GB + GB / 2, HOST + GB / 2, GB / 2, RWX);
    ck_assert(vmxc_ept_approach(&f.ept, GB + 5 * MB));
    ck_assert(vmxc_ept_is_near(&f.ept, 2 * GB - 1));
    ck_assert(!vmxc_ept_is_near(&f.ept, 2 * GB));
    ck_assert(!vmxc_ept_is_near(&f.ept, GB - 1));
    ck_assert_uint_eq(vmxc_ept_descend_near(&f.ept, GB + 6 * MB, &node) & VMXC_EPT_ADDRESS,
                      HOST + 6 * MB);
    ck_assert_uint_eq(node.level, VMXC_PAGE_LEVEL_2M);
    const uint64_t tables = vmxc_ept_count_tables(&f.ept);
    ck_assert_int_eq(giving_back[_i](&f.ept), VMXC_OK);
    ck_assert_uint_lt(vmxc_ept_count_tables(&f.ept), tables);
    ck_assert(!vmxc_ept_is_near(&f.ept, GB));
    ck_assert(!vmxc_ept_approach(&f.ept, GB)); /* nothing, or a 1-GByte page */
    ept_fixture_end(&f);
}
END_TEST

int main(void)
{
    Suite *const suite = suite_create("ept");
    TCase *const tcase = tcase_create("ept");

    suite_add_tcase(suite, tcase);
    tcase_add_test(tcase, a_bad_configuration_is_refused);
    tcase_add_loop_test(tcase, a_root_that_cannot_be_is_refused_and_given_back,
                        TEST_HAL_ADDRESS_ZERO, TEST_HAL_TOO_WIDE + 1);
    tcase_add_test(tcase, an_uninitialized_hierarchy_answers_with_a_status);
    tcase_add_loop_test(tcase, a_bad_guest_range_is_refused, 0, 3);
    tcase_add_test(tcase, a_bad_host_range_is_refused);
    tcase_add_test(tcase, a_missing_supplier_is_refused);
    tcase_add_loop_test(tcase, rights_are_given_exactly_or_refused, 0, 4);
    tcase_add_test(tcase, memory_types_and_ignore_pat_are_kept);
    tcase_add_loop_test(tcase, a_mapping_without_access_is_a_mapping, 0, 3);
    tcase_add_loop_test(tcase, the_largest_pages_are_used_that_alignment_and_configuration_allow, 1,
                        4);
    tcase_add_test(tcase, a_host_address_that_is_less_aligned_gets_smaller_pages);
    tcase_add_loop_test(tcase, both_walk_lengths_reach_their_last_page, 0, 4);
    tcase_add_test(tcase, the_eptp_says_what_was_configured);
    tcase_add_test(tcase, overlap_is_refused_wherever_it_lies);
    tcase_add_test(tcase, an_empty_table_is_given_back_so_that_a_large_page_fits_later);
    tcase_add_test(tcase, a_page_into_an_existing_table_costs_one_store);
    tcase_add_test(tcase, pages_are_where_the_supplier_said);
    tcase_add_loop_test(tcase, a_supplier_that_fails_gets_its_pages_back_and_nothing_stays, 0, 2);
    tcase_add_test(tcase, an_impossible_page_is_refused_and_given_back);
    tcase_add_test(tcase, a_walk_visits_what_the_range_touches_in_order);
    tcase_add_test(tcase, a_query_reports_accessed_and_dirty);
    tcase_add_test(tcase, fini_gives_pages_and_tables_back_after_invalidation);
    tcase_add_loop_test(tcase, a_table_that_is_given_back_is_not_remembered, 0, 3);
    return run_suite(suite);
}
