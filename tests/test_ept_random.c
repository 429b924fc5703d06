/* SPDX-License-Identifier: Apache-2.0 */
/*
 * EPT: random sequences of all operations against a plain array with one element per 4-KByte page.
 *
 * After every operation the array, the library's walk and the raw tables agree, and the frames in use are exactly
 * the tables. In small regions a processor that caches all it may watches too (see ept_check.h), and every store
 * must have been announced.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "support/ept_fixture.h"
#include "support/require.h"
#include "support/rng.h"

#define SEED UINT64_C(0x5eed0e97)

struct page {
    uint64_t hpa;
    vmxc_map_flags flags; /* as a query reports them; 0: not mapped */
    bool dirty;           /* the processor has written through this mapping */
};

struct run {
    struct ept_fixture f;
    struct ept_cache cache;
    struct rng rng;
    bool is_watched;
    uint64_t base, pages;
    struct page *shadow;
    uint64_t
        generation; /* one per mapping, part of its host address: no two mappings overlap there */
    uint64_t begin, count, hpa; /* the current operation: pages, and where to */
    vmxc_map_flags flags;
    uint64_t released; /* pages that the current operation has given back */
    uint64_t supplied; /* pages that it was given by callback */
};

static uint64_t gpa_of(const struct run *run, uint64_t page)
{
    return run->base + page * VMXC_PAGE_SIZE;
}

/* ---- Choosing --------------------------------------------------------------------------------------- */

/* Ranges of all orders of magnitude, half of them aligned to their order. */
static void choose_range(struct run *run)
{
    static const unsigned shifts[] = {0, 0, 2, 5, 9, 9, 12, 18};
    const unsigned shift = shifts[rng_below(&run->rng, 8)];
    const uint64_t most = UINT64_C(1) << shift < run->pages ? UINT64_C(1) << shift : run->pages;

    run->begin = rng_below(&run->rng, run->pages);
    run->count = rng_chance(&run->rng, 50) ? most : 1 + rng_below(&run->rng, most);
    if (rng_chance(&run->rng, 50)) {
        const uint64_t absolute = (gpa_of(run, run->begin) >> VMXC_PAGE_SHIFT >> shift) << shift;
        const uint64_t first = run->base >> VMXC_PAGE_SHIFT;
        run->begin = absolute > first ? absolute - first : 0;
    }
    if (run->count > run->pages - run->begin)
        run->count = run->pages - run->begin;
}

static vmxc_map_flags choose_flags(struct run *run)
{
    static const vmxc_map_flags rights[] = {
        VMXC_MAP_NONE, VMXC_MAP_READ, RW, RWX, VMXC_MAP_READ | VMXC_MAP_EXECUTE, RWX};
    static const vmxc_map_flags types[] = {6, 6, 6, 0, 1, 4, 5, 6};

    return rights[rng_below(&run->rng, 6)] | VMXC_MAP_TYPE(types[rng_below(&run->rng, 8)]) |
           (rng_chance(&run->rng, 10) ? VMXC_MAP_IGNORE_PAT : 0);
}

/* A host range of its own; aligned like the guest's in most cases, so that large pages are possible. */
static uint64_t choose_hpa(struct run *run)
{
    const uint64_t skew = rng_chance(&run->rng, 75) ? 0 : rng_below(&run->rng, 3) * VMXC_PAGE_SIZE;

    run->generation++;
    require(run->generation < 4096, "too many mappings for unique host addresses");
    return (run->generation << 40) + gpa_of(run, run->begin) + skew;
}

/* ---- The array -------------------------------------------------------------------------------------- */

static bool is_mapped(const struct run *run, uint64_t page)
{
    return run->shadow[page].flags != 0; /* VMXC_MAP_TYPED is set in every mapping */
}

static uint64_t count_mapped(const struct run *run)
{
    uint64_t mapped = 0;

    for (uint64_t page = run->begin; page < run->begin + run->count; page++)
        mapped += is_mapped(run, page);
    return mapped;
}

static void shadow_map(struct run *run)
{
    for (uint64_t i = 0; i < run->count; i++)
        run->shadow[run->begin + i] =
            (struct page){.hpa = run->hpa + i * VMXC_PAGE_SIZE, .flags = run->flags};
}

static void shadow_unmap(struct run *run)
{
    for (uint64_t i = 0; i < run->count; i++)
        run->shadow[run->begin + i] = (struct page){.flags = 0};
}

static void shadow_protect(struct run *run)
{
    for (uint64_t page = run->begin; page < run->begin + run->count; page++)
        if (is_mapped(run, page))
            run->shadow[page].flags = run->flags;
}

/* ---- Operations ------------------------------------------------------------------------------------- */

static enum vmxc_status supply(void *context, vmxc_gpa_t gpa, vmxc_hpa_t *page_hpa)
{
    struct run *const run = context;

    *page_hpa = run->hpa + (gpa - gpa_of(run, run->begin));
    run->supplied++;
    return VMXC_OK;
}

static void undo(void *context, uint64_t gpa, uint64_t hpa, uint64_t size)
{
    struct run *const run = context;

    require(hpa == run->hpa + (gpa - gpa_of(run, run->begin)), "%#llx was not supplied",
            (unsigned long long)hpa);
    require(size == VMXC_PAGE_SIZE, "supplied pages have 4 KBytes");
    run->supplied--;
}

/* The array still holds what was mapped before the operation. */
static void release(void *context, uint64_t gpa, uint64_t hpa, uint64_t size)
{
    struct run *const run = context;
    const uint64_t first = (gpa - run->base) / VMXC_PAGE_SIZE;

    for (uint64_t i = 0; i < size / VMXC_PAGE_SIZE; i++)
        require(is_mapped(run, first + i) && run->shadow[first + i].hpa == hpa + i * VMXC_PAGE_SIZE,
                "%#llx was released for %#llx", (unsigned long long)hpa, (unsigned long long)gpa);
    run->released += size / VMXC_PAGE_SIZE;
    if (run->is_watched)
        test_hal_release(run->f.hal, gpa, hpa, size);
}

static enum vmxc_status do_map(struct run *run)
{
    struct vmxc_ept *const ept = &run->f.ept;
    const uint64_t gpa = gpa_of(run, run->begin), size = run->count * VMXC_PAGE_SIZE;
    const uint64_t mapped = count_mapped(run);
    enum vmxc_status status;

    run->hpa = choose_hpa(run);
    if (rng_chance(&run->rng, 70))
        status = vmxc_ept_map(ept, gpa, run->hpa, size, run->flags);
    else
        status = vmxc_ept_map_region(ept, gpa, size, run->flags, supply, undo, run);
    require((status == VMXC_ALREADY_EXISTS) == (mapped != 0), "overlap seen wrongly");
    require(run->f.hal->invalidations == 0, "mapping has invalidated");
    require(status == VMXC_OK || run->supplied == 0, "supplied pages were kept");
    if (status == VMXC_OK)
        shadow_map(run);
    return status;
}

static enum vmxc_status do_remap(struct run *run)
{
    struct vmxc_ept *const ept = &run->f.ept;
    const uint64_t gpa = gpa_of(run, run->begin), size = run->count * VMXC_PAGE_SIZE;
    enum vmxc_status status;

    run->hpa = choose_hpa(run);
    if (rng_chance(&run->rng, 70))
        status = vmxc_ept_remap(ept, gpa, run->hpa, size, run->flags, release, run);
    else
        status = vmxc_ept_remap_region(ept, gpa, size, run->flags, supply, undo, release, run);
    require(run->released == (status == VMXC_OK ? count_mapped(run) : 0), "released wrongly");
    require(status == VMXC_OK || run->supplied == 0, "supplied pages were kept");
    if (status == VMXC_OK)
        shadow_map(run);
    return status;
}

static enum vmxc_status do_unmap(struct run *run)
{
    const enum vmxc_status status = vmxc_ept_unmap(&run->f.ept, gpa_of(run, run->begin),
                                                   run->count * VMXC_PAGE_SIZE, release, run);

    require(run->released == (status == VMXC_OK ? count_mapped(run) : 0), "released wrongly");
    if (status == VMXC_OK)
        shadow_unmap(run);
    return status;
}

static enum vmxc_status do_protect(struct run *run)
{
    const enum vmxc_status status = vmxc_ept_protect(&run->f.ept, gpa_of(run, run->begin),
                                                     run->count * VMXC_PAGE_SIZE, run->flags);

    if (status == VMXC_OK)
        shadow_protect(run);
    return status;
}

static enum vmxc_status do_merge(struct run *run)
{
    return vmxc_ept_merge(&run->f.ept, gpa_of(run, run->begin), run->count * VMXC_PAGE_SIZE);
}

/* The guest writes to a page, if it is there. */
static enum vmxc_status do_touch(struct run *run)
{
    const uint64_t gpa = gpa_of(run, run->begin);

    if (ept_check_walk(run->f.hal, &run->f.ept, gpa).is_mapped) {
        const uint64_t slot = ept_check_slot(run->f.hal, &run->f.ept, gpa);
        test_hal_write64(run->f.hal, slot, test_hal_read64(run->f.hal, slot) | 0x300);
        run->shadow[run->begin].dirty = true;
    }
    return VMXC_OK;
}

static enum vmxc_status (*const operations[])(struct run *run) = {
    do_map, do_map, do_map, do_unmap, do_unmap, do_protect, do_remap, do_merge, do_touch,
};

/* ---- Checking --------------------------------------------------------------------------------------- */

struct comparison {
    struct run *run;
    uint64_t next; /* the page from which on nothing was reported yet */
};

static void expect_hole(const struct comparison *comparison, uint64_t end)
{
    for (uint64_t page = comparison->next; page < end; page++)
        require(!is_mapped(comparison->run, page), "page %llu is not mapped",
                (unsigned long long)page);
}

static enum vmxc_status compare(void *context, const struct vmxc_ept_mapping *mapping)
{
    struct comparison *const comparison = context;
    const struct run *const run = comparison->run;
    const uint64_t first = (mapping->gpa - run->base) / VMXC_PAGE_SIZE;
    const uint64_t count = mapping->page_size / VMXC_PAGE_SIZE;

    require(mapping->gpa >= run->base && first + count <= run->pages, "mapped outside");
    expect_hole(comparison, first);
    for (uint64_t i = 0; i < count; i++) {
        const struct page *const page = &run->shadow[first + i];
        require(page->flags == mapping->flags && page->hpa == mapping->hpa + i * VMXC_PAGE_SIZE &&
                    (mapping->dirty || !page->dirty),
                "page %llu: flags %#x to %#llx, expected %#x to %#llx",
                (unsigned long long)(first + i), mapping->flags,
                (unsigned long long)(mapping->hpa + i * VMXC_PAGE_SIZE), page->flags,
                (unsigned long long)page->hpa);
    }
    comparison->next = first + count;
    return VMXC_OK;
}

/* The processor's own walk agrees with the array at some pages. */
static void check_samples(struct run *run)
{
    for (int i = 0; i < 16; i++) {
        const uint64_t index = i == 0   ? run->begin
                               : i == 1 ? run->begin + run->count - 1
                                        : rng_below(&run->rng, run->pages);
        const struct page *const page = &run->shadow[index];
        const struct ept_walk walk = ept_check_walk(run->f.hal, &run->f.ept, gpa_of(run, index));
        require(walk.is_mapped == ((page->flags & VMXC_MAP_ACCESS) != 0), "present wrongly");
        if (walk.is_mapped)
            require(walk.hpa == page->hpa && (walk.rights & 7) == (page->flags & 7) &&
                        (walk.entry >> 3 & 7) == page->flags >> VMXC_MAP_TYPE_SHIFT,
                    "the processor sees another page");
    }
}

static void check_all(struct run *run)
{
    struct comparison comparison = {.run = run};

    ck_assert_int_eq(
        vmxc_ept_walk(&run->f.ept, 0, vmxc_ept_span(&run->f.ept), compare, &comparison), VMXC_OK);
    expect_hole(&comparison, run->pages);
    check_samples(run);
    ept_fixture_check(&run->f);
    if (run->is_watched) {
        ept_cache_check(&run->cache);
        test_hal_assert_announced(run->f.hal);
    }
}

/* ---- Runs ------------------------------------------------------------------------------------------- */

static void step(struct run *run)
{
    const uint64_t frames = run->f.hal->frames_in_use;

    choose_range(run);
    run->flags = choose_flags(run);
    run->released = run->supplied = 0;
    test_hal_clear_log(run->f.hal);
    run->f.hal->fail_at = rng_chance(&run->rng, 15) ? 1 + rng_below(&run->rng, 5) : 0;
    const bool armed = run->f.hal->fail_at != 0;
    const enum vmxc_status status = operations[rng_below(&run->rng, 9)](run);
    const bool failed = armed && run->f.hal->fail_at == 0;
    run->f.hal->fail_at = 0;
    require((status == VMXC_NO_MEMORY) == failed, "status %d", status);
    require(status == VMXC_OK || run->f.hal->frames_in_use == frames, "frames leaked");
    check_all(run);
}

static const struct {
    const char *name;
    uint64_t base, size;
    uint8_t levels, largest_page;
    bool is_watched, has_window;
    unsigned steps;
} runs[] = {
    {"small pages", GB - 2 * MB, 5 * MB, 4, VMXC_PAGE_LEVEL_4K, true, true, 1500},
    {"2-MByte pages", GB - 3 * MB, 9 * MB, 4, VMXC_PAGE_LEVEL_2M, true, true, 2000},
    {"2-MByte pages, 5 levels", 512 * GB - 3 * MB, 9 * MB, 5, VMXC_PAGE_LEVEL_1G, true, false,
     1500},
    {"1-GByte pages", GB - 4 * MB, GB + 9 * MB, 4, VMXC_PAGE_LEVEL_1G, false, true, 1200},
    {"1-GByte pages, 5 levels", 512 * GB - 5 * MB, GB + 5 * MB, 5, VMXC_PAGE_LEVEL_1G, false, false,
     1200},
};

START_TEST(all_views_agree_after_every_operation)
{
    const struct vmxc_ept_config config = {.levels = runs[_i].levels,
                                           .maxphyaddr = 52,
                                           .largest_page = runs[_i].largest_page,
                                           .execute_only = true,
                                           .accessed_dirty = true,
                                           .table_memory_type = VMXC_MEMORY_TYPE_WB};
    struct run run = {.f = ept_fixture_begin_with(&config),
                      .rng = rng_for_sequence(SEED, (uint64_t)_i),
                      .is_watched = runs[_i].is_watched,
                      .base = runs[_i].base,
                      .pages = runs[_i].size / VMXC_PAGE_SIZE};

    printf("%s: seed %#llx, sequence %d, %u steps\n", runs[_i].name, (unsigned long long)SEED, _i,
           runs[_i].steps);
    run.shadow = calloc(run.pages, sizeof(*run.shadow));
    ck_assert_ptr_nonnull(run.shadow);
    test_hal_set_window(run.f.hal, runs[_i].has_window);
    if (run.is_watched) {
        ept_cache_begin(&run.cache, run.f.hal, &run.f.ept);
        test_hal_watch_stores(run.f.hal);
    }
    for (unsigned i = 0; i < runs[_i].steps; i++)
        step(&run);
    if (run.is_watched)
        ept_cache_end(&run.cache);
    free(run.shadow);
    ept_fixture_end(&run.f);
}
END_TEST

int main(void)
{
    Suite *const suite = suite_create("ept_random");
    TCase *const tcase = tcase_create("ept_random");

    suite_add_tcase(suite, tcase);
    tcase_set_timeout(tcase, 600);
    tcase_add_loop_test(tcase, all_views_agree_after_every_operation, 0,
                        (int)(sizeof(runs) / sizeof(runs[0])));
    SRunner *const runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
