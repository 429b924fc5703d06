/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The address space: random operations against a shadow with one record per page, with and without failing
 * allocations. Status, areas, translations, content and the number of frames must agree throughout.
 */
#include <check.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/rng.h"
#include "support/space.h"

#define PAGE     SPACE_PAGE
#define PAGES    1536u                             /* three 2-MByte pages ... */
#define BASE     (UINT64_C(0x40000000) - SPACE_2M) /* ... around a 1-GByte boundary */
#define SEQUENCE 300u

enum kind { NOTHING, LINEAR, EAGER, LAZY };

struct page {
    enum kind kind;
    bool first;  /* of its area */
    bool backed; /* a page of the EPT maps it */
    vmxc_map_flags flags;
    vmxc_hpa_t hpa;   /* of a linear page; otherwise what was seen when it was backed */
    uint64_t content; /* of the first eight bytes of a backed page that is not linear */
};

struct shadow {
    struct page pages[PAGES];
    uint64_t backed; /* frames that belong to pages */
};

struct run {
    struct space *s;
    struct rng rng;
    struct shadow shadow;
    bool may_fail;    /* allocations fail at random */
    bool unreachable; /* the range of this step held nothing that a processor could use */
};

static const vmxc_map_flags some_flags[] = {
    VMXC_MAP_NONE,
    VMXC_MAP_READ,
    SPACE_RW,
    VMXC_MAP_RWX,
    VMXC_MAP_READ | VMXC_MAP_EXECUTE,
    SPACE_RW | VMXC_MAP_DEVICE,
    SPACE_RW | VMXC_MAP_TYPE(VMXC_MEMORY_TYPE_WC),
    SPACE_RW | VMXC_MAP_IGNORE_PAT,
};

static vmxc_map_flags random_flags(struct run *run)
{
    return some_flags[rng_below(&run->rng, sizeof(some_flags) / sizeof(some_flags[0]))];
}

/* A range in pages: often short, sometimes long, sometimes made of whole 2-MByte pages. */
static void random_range(struct run *run, uint64_t *first, uint64_t *count)
{
    const uint64_t way = rng_below(&run->rng, 4);

    *first = way == 0 ? 512 * rng_below(&run->rng, 3) : rng_below(&run->rng, PAGES);
    *count = way == 0   ? 512
             : way == 1 ? 1 + rng_below(&run->rng, 600)
                        : 1 + rng_below(&run->rng, 12);
    if (*count > PAGES - *first)
        *count = PAGES - *first;
}

static vmxc_gpa_t gpa_of(uint64_t page)
{
    return BASE + page * PAGE;
}

/* ---- The shadow ---- */

static bool is_any_used(const struct shadow *shadow, uint64_t first, uint64_t count)
{
    for (uint64_t i = first; i < first + count; i++)
        if (shadow->pages[i].kind != NOTHING)
            return true;
    return false;
}

/* Pages without rights are not present, so taking them away needs no invalidation. */
static bool is_any_reachable(const struct shadow *shadow, uint64_t first, uint64_t count)
{
    for (uint64_t i = first; i < first + count; i++)
        if (shadow->pages[i].backed && (shadow->pages[i].flags & VMXC_MAP_ACCESS) != 0)
            return true;
    return false;
}

static bool is_all_used(const struct shadow *shadow, uint64_t first, uint64_t count)
{
    for (uint64_t i = first; i < first + count; i++)
        if (shadow->pages[i].kind == NOTHING)
            return false;
    return true;
}

/* The page behind a range that is cut out begins an area of its own. */
static void shadow_cut(struct shadow *shadow, uint64_t first, uint64_t count)
{
    if (first + count < PAGES && shadow->pages[first + count].kind != NOTHING)
        shadow->pages[first + count].first = true;
}

static void shadow_clear(struct shadow *shadow, uint64_t first, uint64_t count)
{
    shadow_cut(shadow, first, count);
    for (uint64_t i = first; i < first + count; i++) {
        shadow->backed -= shadow->pages[i].backed && shadow->pages[i].kind != LINEAR;
        shadow->pages[i] = (struct page){.kind = NOTHING};
    }
}

/* A page that is not linear came to be: remember where, and that it was zero. */
static void shadow_back(struct run *run, uint64_t page)
{
    struct page *p = &run->shadow.pages[page];

    p->backed = true;
    p->hpa = space_hpa(run->s, gpa_of(page));
    p->content = rng_next(&run->rng);
    run->shadow.backed++;
    ck_assert_uint_eq(space_read(run->s, gpa_of(page)), 0);
    ck_assert_uint_eq(space_read(run->s, gpa_of(page) + PAGE - 8), 0);
    space_write(run->s, gpa_of(page), p->content);
}

static void shadow_map(struct run *run, uint64_t first, uint64_t count, enum kind kind,
                       vmxc_map_flags flags, vmxc_hpa_t hpa)
{
    shadow_clear(&run->shadow, first, count);
    for (uint64_t i = first; i < first + count; i++) {
        struct page *page = &run->shadow.pages[i];
        *page = (struct page){.kind = kind, .first = i == first, .flags = flags};
        if (kind == LINEAR) {
            page->backed = true;
            page->hpa = hpa + (i - first) * PAGE;
        }
    }
    for (uint64_t i = first; kind == EAGER && i < first + count; i++)
        shadow_back(run, i);
}

/* ---- Operations ---- */

/* True if the call succeeded; otherwise it failed as expected, or for want of memory where that may be. */
static bool is_done(const struct run *run, enum vmxc_status status, enum vmxc_status expected)
{
    if (status == VMXC_NO_MEMORY && run->may_fail)
        return false;
    ck_assert_int_eq(status, expected);
    return status == VMXC_OK;
}

static void do_map(struct run *run)
{
    const enum kind kind = LINEAR + (enum kind)rng_below(&run->rng, 3);
    const bool replace = rng_chance(&run->rng, 40);
    const vmxc_map_flags flags = random_flags(run);
    struct vmxc_addrspace *space = &run->s->space;
    enum vmxc_status status;
    uint64_t first, count;

    random_range(run, &first, &count);
    if (kind == EAGER && count > 40)
        count = 40;
    const vmxc_hpa_t hpa = rng_chance(&run->rng, 50)
                               ? first * PAGE + SPACE_2M * rng_below(&run->rng, 8)
                               : rng_below(&run->rng, 4096) * PAGE;
    const vmxc_gpa_t gpa = gpa_of(first);
    const uint64_t size = count * PAGE;

    run->unreachable = !is_any_reachable(&run->shadow, first, count);
    if (kind == LINEAR)
        status = replace ? vmxc_addrspace_replace_linear(space, gpa, hpa, size, flags)
                         : vmxc_addrspace_map_linear(space, gpa, hpa, size, flags);
    else
        status = replace ? vmxc_addrspace_replace_alloc(space, gpa, size, flags, kind == EAGER)
                         : vmxc_addrspace_map_alloc(space, gpa, size, flags, kind == EAGER);
    const bool taken = !replace && is_any_used(&run->shadow, first, count);
    if (is_done(run, status, taken ? VMXC_ALREADY_EXISTS : VMXC_OK))
        shadow_map(run, first, count, kind, flags, hpa);
}

static void do_unmap(struct run *run)
{
    uint64_t first, count;

    random_range(run, &first, &count);
    const bool any = is_any_used(&run->shadow, first, count);
    run->unreachable = !is_any_reachable(&run->shadow, first, count);
    if (is_done(run, vmxc_addrspace_unmap(&run->s->space, gpa_of(first), count * PAGE),
                any ? VMXC_OK : VMXC_NOT_FOUND))
        shadow_clear(&run->shadow, first, count);
}

static void do_protect(struct run *run)
{
    const vmxc_map_flags flags = random_flags(run);
    uint64_t first, count;

    random_range(run, &first, &count);
    const bool all = is_all_used(&run->shadow, first, count);
    if (!is_done(run, vmxc_addrspace_protect(&run->s->space, gpa_of(first), count * PAGE, flags),
                 all ? VMXC_OK : VMXC_NOT_FOUND))
        return;
    shadow_cut(&run->shadow, first, count);
    run->shadow.pages[first].first = true;
    for (uint64_t i = first; i < first + count; i++)
        run->shadow.pages[i].flags = flags;
}

static void do_fault(struct run *run)
{
    const uint64_t page = rng_below(&run->rng, PAGES);
    const vmxc_map_flags access = (vmxc_map_flags)rng_below(&run->rng, 16);
    const struct page *p = &run->shadow.pages[page];
    enum vmxc_fault_result expected = VMXC_FAULT_MAPPED;

    if (p->kind == NOTHING)
        expected = VMXC_FAULT_NO_AREA;
    else if (access == 0 || (access & ~p->flags) != 0)
        expected = VMXC_FAULT_DENIED;
    else if (p->backed)
        expected = VMXC_FAULT_ALREADY_BACKED;
    const enum vmxc_fault_result result = vmxc_addrspace_handle_page_fault(
        &run->s->space, gpa_of(page) + rng_below(&run->rng, PAGE), access);
    if (result == VMXC_FAULT_NO_MEMORY && expected == VMXC_FAULT_MAPPED && run->may_fail)
        return;
    ck_assert_int_eq(result, expected);
    if (result == VMXC_FAULT_MAPPED)
        shadow_back(run, page);
}

/* A merge may invalidate several times, so its log is not looked at. */
static void do_merge(struct run *run)
{
    ck_assert_int_eq(vmxc_ept_merge(vmxc_addrspace_ept(&run->s->space), BASE, PAGES * PAGE),
                     VMXC_OK);
    probe_clear_log(run->s->probe);
}

static enum vmxc_status expected_buffer(const struct run *run, vmxc_gpa_t gpa, uint64_t length,
                                        vmxc_map_flags access)
{
    for (uint64_t i = (gpa - BASE) / PAGE; i <= (gpa + length - 1 - BASE) / PAGE; i++) {
        if (run->shadow.pages[i].kind == NOTHING)
            return VMXC_NOT_FOUND;
        if ((access & ~run->shadow.pages[i].flags) != 0)
            return VMXC_DENIED;
    }
    return VMXC_OK;
}

/* Pages that a buffer call supplied, also one that failed. */
static void note_supplied(struct run *run, vmxc_gpa_t gpa, uint64_t length)
{
    struct vmxc_translation translation;

    for (uint64_t i = (gpa - BASE) / PAGE; i <= (gpa + length - 1 - BASE) / PAGE; i++)
        if (run->shadow.pages[i].kind == LAZY && !run->shadow.pages[i].backed &&
            vmxc_addrspace_translate(&run->s->space, gpa_of(i), &translation) == VMXC_OK)
            shadow_back(run, i);
}

static void do_buffer(struct run *run)
{
    struct vmxc_guest_segment segments[16];
    const vmxc_gpa_t gpa = gpa_of(rng_below(&run->rng, PAGES - 8)) + rng_below(&run->rng, PAGE);
    const uint64_t length = 1 + rng_below(&run->rng, 6 * PAGE);
    const vmxc_map_flags access = rng_chance(&run->rng, 50) ? VMXC_MAP_READ : SPACE_RW;
    size_t count = 0;
    uint64_t at = 0;

    const enum vmxc_status status =
        vmxc_addrspace_buffer(&run->s->space, gpa, length, access, segments, 16, &count);
    const bool done = is_done(run, status, expected_buffer(run, gpa, length, access));
    note_supplied(run, gpa, length);
    for (size_t i = 0; done && i < count; at += segments[i++].length)
        for (uint64_t k = 0; k < segments[i].length;
             k += k + PAGE < segments[i].length ? PAGE : 1) {
            const vmxc_hpa_t hpa = space_hpa(run->s, gpa + at + k);
            ck_assert_uint_eq(segments[i].hpa + k, hpa);
            ck_assert_ptr_eq((uint8_t *)segments[i].pointer + k,
                             vmxsim_memory_pointer(run->s->probe->memory, hpa));
        }
    ck_assert(!done || at == length);
}

/* ---- Comparison ---- */

static uint64_t area_end(const struct shadow *shadow, uint64_t page)
{
    do
        page++;
    while (page < PAGES && shadow->pages[page].kind != NOTHING && !shadow->pages[page].first);
    return page;
}

static void check_page(struct run *run, uint64_t page)
{
    const struct page *p = &run->shadow.pages[page];
    const uint64_t offset = rng_below(&run->rng, PAGE);
    struct vmxc_translation_limit limit;
    const enum vmxc_status status =
        vmxc_addrspace_translate_with_limit(&run->s->space, gpa_of(page) + offset, &limit);

    if (p->kind == NOTHING || !p->backed) {
        ck_assert_int_eq(status, p->kind == NOTHING ? VMXC_NOT_FOUND : VMXC_NOT_BACKED);
        return;
    }
    ck_assert_int_eq(status, VMXC_OK);
    ck_assert_uint_eq(limit.translation.hpa, p->hpa + offset);
    ck_assert_uint_eq(limit.translation.flags, p->flags);
    ck_assert_uint_le(limit.area_base, gpa_of(page));
    ck_assert_uint_eq(limit.area_base + limit.area_size, gpa_of(area_end(&run->shadow, page)));
    ck_assert_uint_ge(limit.contiguous, PAGE - offset);
    ck_assert_uint_le(gpa_of(page) + offset + limit.contiguous, limit.area_base + limit.area_size);
    if (p->kind == LINEAR)
        ck_assert_uint_eq(gpa_of(page) + offset + limit.contiguous,
                          limit.area_base + limit.area_size);
    else
        ck_assert_uint_eq(vmxsim_memory_read64(run->s->probe->memory, p->hpa), p->content);
}

static void check_all(struct run *run)
{
    const struct space *s = run->s;
    uint64_t areas = 0;

    ck_assert(vmxc_addrspace_is_valid(&s->space));
    for (uint64_t i = 0; i < PAGES; i++) {
        areas += run->shadow.pages[i].kind != NOTHING && run->shadow.pages[i].first;
        check_page(run, i);
    }
    ck_assert_uint_eq(s->space.areas.count, areas);
    ck_assert_uint_eq(s->space.areas.spare_count, 0);
}

/* Frames in use are pages, tables and nodes of areas: at most two levels here. */
static void check_frames(struct run *run)
{
    const struct space *s = run->s;
    const uint64_t others = run->shadow.backed + vmxc_ept_count_tables(&s->space.ept);
    const uint64_t used = probe_frames_in_use(s->probe);

    ck_assert_uint_ge(used, others + (s->space.areas.height != 0));
    ck_assert_uint_le(used, others + 1 + s->space.areas.count / 51);
}

static void step(struct run *run)
{
    const uint64_t what = rng_below(&run->rng, 100);

    run->unreachable = false;
    if (what < 25)
        do_map(run);
    else if (what < 40)
        do_unmap(run);
    else if (what < 55)
        do_protect(run);
    else if (what < 85)
        do_fault(run);
    else if (what < 97)
        do_buffer(run);
    else
        do_merge(run);
}

static void run_sequences(uint64_t seed, uint64_t count, bool may_fail, unsigned largest_page,
                          bool window)
{
    struct vmxc_ept_config config = space_config;
    struct run *run = calloc(1, sizeof(*run));

    config.largest_page = (uint8_t)largest_page;
    printf("addrspace: seed %" PRIu64 ", %" PRIu64 " sequences of %u\n", seed, count, SEQUENCE);
    fflush(stdout); /* each test is a process of its own */
    for (uint64_t sequence = 0; sequence < count; sequence++) {
        *run = (struct run){.rng = rng_for_sequence(seed, sequence), .may_fail = may_fail};
        run->s = space_create_with(&config, 4096, window);
        for (unsigned i = 0; i < SEQUENCE; i++) {
            if (may_fail)
                vmxsim_memory_fail_randomly(run->s->probe->memory, rng_next(&run->rng), 100000);
            probe_clear_log(run->s->probe);
            step(run);
            ck_assert_msg(run->unreachable || space_freed_after_invalidation(run->s),
                          "seed %" PRIu64 " sequence %" PRIu64 " step %u", seed, sequence, i);
            vmxsim_memory_fail_randomly(run->s->probe->memory, 0, 0);
            check_page(run, rng_below(&run->rng, PAGES));
            if (i % 30 == 29) {
                check_all(run);
                check_frames(run);
            }
        }
        space_destroy(run->s);
    }
    free(run);
}

START_TEST(random_operations_agree_with_a_shadow)
{
    run_sequences(0xa5ea, 25, false, VMXC_PAGE_LEVEL_2M, true);
}
END_TEST

START_TEST(random_operations_with_failing_allocations_agree_with_a_shadow)
{
    run_sequences(0xfa11, 25, true, VMXC_PAGE_LEVEL_1G, true);
}
END_TEST

START_TEST(random_operations_without_window_and_large_pages_agree_with_a_shadow)
{
    run_sequences(0x4444, 10, true, VMXC_PAGE_LEVEL_4K, false);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("addrspace_random");
    TCase *random = tcase_create("random");

    tcase_set_timeout(random, 300);
    tcase_add_test(random, random_operations_agree_with_a_shadow);
    tcase_add_test(random, random_operations_with_failing_allocations_agree_with_a_shadow);
    tcase_add_test(random, random_operations_without_window_and_large_pages_agree_with_a_shadow);
    suite_add_tcase(suite, random);

    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
