/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every operation of an address space and of an EPT hierarchy with the n-th allocation failing, for every n until it
 * succeeds: the status is VMXC_NO_MEMORY, and everything is as it was: areas, mappings, frames, and the content of
 * every frame in use.
 */
#include "support/machine.h"
#include "vmxcore/addrspace.h"

#include <check.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#define RW  (VMXC_MAP_READ | VMXC_MAP_WRITE)
#define RWX VMXC_MAP_RWX

#define K4 VMXC_PAGE_SIZE_4K
#define M2 VMXC_PAGE_SIZE_2M
#define G1 VMXC_PAGE_SIZE_1G

static struct vmxsim_memory *memory;
static const struct vmxc_hal *hal;
static struct vmxc_addrspace space;

static const struct vmxc_ept_config config = {.levels = 4,
                                              .maxphyaddr = 46,
                                              .largest_page = VMXC_PAGE_LEVEL_1G,
                                              .table_memory_type = VMXC_MEMORY_TYPE_WB};

static void set_up(void)
{
    const struct vmxsim_range ram = {.base = 0, .length = UINT64_C(256) << 20};
    const struct vmxsim_memory_config memory_config = {.ram = &ram, .ram_count = 1};
    ck_assert_int_eq(vmxsim_memory_create(&memory_config, &memory, NULL), VMXC_OK);
    hal = vmxsim_memory_hal(memory);
}

static void tear_down(void)
{
    vmxsim_memory_destroy(memory);
}

/* ---- The complete state, as one number and some counts ---- */

struct state {
    XXH64_hash_t digest; /* frames in use with their content, areas, mappings */
    uint64_t frames, tables;
};

static void mix(struct state *state, const void *data, size_t size)
{
    state->digest = XXH64(data, size, state->digest);
}

static void mix_frame(void *context, uint64_t hpa, const char *label)
{
    uint8_t content[VMXC_PAGE_SIZE];
    vmxsim_memory_read(memory, hpa, content, sizeof(content));
    mix(context, &hpa, sizeof(hpa));
    mix(context, label, strlen(label));
    mix(context, content, sizeof(content));
}

static enum vmxc_status mix_area(void *context, const struct vmxc_area *area)
{
    const uint64_t words[] = {area->base, area->size, area->hpa, area->flags, area->lazy};
    mix(context, words, sizeof(words));
    return VMXC_OK;
}

static enum vmxc_status mix_run(void *context, const struct vmxc_mapping_run *run)
{
    const uint64_t words[] = {run->gpa, run->hpa, run->size, run->page_size, run->flags};
    mix(context, words, sizeof(words));
    return VMXC_OK;
}

static struct state observe(void)
{
    struct state state = {0};
    state.frames = vmxsim_memory_leaks(memory, mix_frame, &state);
    if (space.ept.hal == NULL)
        return state;
    ck_assert_int_eq(vmxc_addrspace_for_each_area(&space, mix_area, &state), VMXC_OK);
    ck_assert_int_eq(vmxc_addrspace_for_each_mapping(&space, mix_run, &state), VMXC_OK);
    ck_assert(vmxc_addrspace_is_valid(&space));
    state.tables = vmxc_ept_count_tables(&space.ept);
    return state;
}

/* ---- Where operations start from ---- */

static void nothing(void)
{
    memset(&space, 0, sizeof(space));
}

static void empty(void)
{
    ck_assert_int_eq(vmxc_addrspace_init(&space, hal, &config, 0, UINT64_C(1) << 46), VMXC_OK);
}

/* A 1-GByte page at 1 GByte, and a 2-MByte page at 2 GBytes. */
static void large_pages(void)
{
    empty();
    ck_assert_int_eq(vmxc_addrspace_map_linear(&space, G1, 8 * G1, G1, RWX), VMXC_OK);
    ck_assert_int_eq(vmxc_addrspace_map_linear(&space, 2 * G1, 12 * G1, M2, RWX), VMXC_OK);
}

/* The 1-GByte page is in pieces already. */
static void split_pages(void)
{
    large_pages();
    ck_assert_int_eq(vmxc_addrspace_unmap(&space, G1 + 3 * M2 + 5 * K4, 2 * K4), VMXC_OK);
}

/* Some lazy pages of [16 MBytes, +64 pages) are there. */
static void lazy_pages(void)
{
    empty();
    ck_assert_int_eq(vmxc_addrspace_map_alloc(&space, 8 * M2, 64 * K4, RW, false), VMXC_OK);
    for (unsigned i = 0; i < 64; i += 9)
        ck_assert_int_eq(vmxc_addrspace_handle_page_fault(&space, 8 * M2 + i * K4, VMXC_MAP_WRITE),
                         VMXC_FAULT_MAPPED);
}

static void eager_pages(void)
{
    empty();
    ck_assert_int_eq(vmxc_addrspace_map_alloc(&space, 8 * M2 - 4 * K4, 8 * K4, RW, true), VMXC_OK);
}

/* `count` lazy areas of 3 pages with a hole after each: nodes of the area set are in every state of filling. */
static void many_areas(unsigned count)
{
    empty();
    for (unsigned i = 0; i < count; i++)
        ck_assert_int_eq(vmxc_addrspace_map_alloc(&space, i * 4 * K4, 3 * K4, RW, false), VMXC_OK);
}

/* Adds areas until the next one would need a frame for the area set: a node is full. */
static void full_node(void)
{
    many_areas(1);
    for (unsigned i = 1;; i++) {
        ck_assert_uint_lt(i, 10000);
        vmxsim_memory_fail_nth(memory, 1);
        const enum vmxc_status status =
            vmxc_addrspace_map_alloc(&space, i * 4 * K4, 3 * K4, RW, false);
        vmxsim_memory_fail_nth(memory, 0);
        if (status == VMXC_NO_MEMORY)
            return;
        ck_assert_int_eq(status, VMXC_OK);
    }
}

static void some_areas(void)
{
    many_areas(50);
}

/* ---- Operations ---- */

static int op_init(void)
{
    return vmxc_addrspace_init(&space, hal, &config, 0, G1);
}

static int op_map_small(void)
{
    return vmxc_addrspace_map_linear(&space, 3 * G1 + 5 * K4, G1, 3 * K4, RWX);
}

/* 4-KByte, 2-MByte and 1-GByte pages in one call. */
static int op_map_mixed(void)
{
    return vmxc_addrspace_map_linear(&space, 4 * G1 - M2 - 2 * K4, 20 * G1 - M2 - 2 * K4,
                                     G1 + 2 * M2 + 3 * K4, RWX);
}

static int op_map_eager(void)
{
    return vmxc_addrspace_map_alloc(&space, 3 * G1 - 20 * K4, 40 * K4, RW, true);
}

static int op_map_lazy_behind(void)
{
    return vmxc_addrspace_map_alloc(&space, UINT64_C(1) << 40, 3 * K4, RW, false);
}

static int op_replace_inside_large(void)
{
    return vmxc_addrspace_replace_linear(&space, G1 + 7 * M2 + 3 * K4, 30 * G1, 5 * K4, RW);
}

static int op_replace_large_by_pages(void)
{
    return vmxc_addrspace_replace_alloc(&space, G1 + M2 - 2 * K4, 4 * K4, RW, true);
}

static int op_replace_lazy_by_eager(void)
{
    return vmxc_addrspace_replace_alloc(&space, 8 * M2 + 5 * K4, 12 * K4, RW, true);
}

static int op_replace_eager_by_large(void)
{
    return vmxc_addrspace_replace_linear(&space, 7 * M2, G1 + 7 * M2, 2 * M2, RWX);
}

static int op_unmap_inside_1g(void)
{
    return vmxc_addrspace_unmap(&space, G1 + 9 * M2 + K4, K4);
}

static int op_unmap_both_ends(void)
{
    return vmxc_addrspace_unmap(&space, G1 + 9 * M2 + K4, G1 - 9 * M2);
}

static int op_unmap_middle_of_area(void)
{
    return vmxc_addrspace_unmap(&space, 10 * 4 * K4 + K4, K4);
}

static int op_protect_inside_1g(void)
{
    return vmxc_addrspace_protect(&space, G1 + 9 * M2 + K4, 3 * M2, VMXC_MAP_READ);
}

static int op_protect_lazy_middle(void)
{
    return vmxc_addrspace_protect(&space, 8 * M2 + 7 * K4, 9 * K4, VMXC_MAP_READ);
}

static int op_protect_middle_of_area(void)
{
    return vmxc_addrspace_protect(&space, 10 * 4 * K4 + K4, K4, VMXC_MAP_READ);
}

static int op_fault_first(void)
{
    return vmxc_addrspace_handle_page_fault(&space, 5, VMXC_MAP_READ);
}

static int op_fault_in_table(void)
{
    return vmxc_addrspace_handle_page_fault(&space, 8 * M2 + 5 * K4, VMXC_MAP_WRITE);
}

static int op_buffer(void)
{
    struct vmxc_guest_segment segments[16];
    size_t count;
    return vmxc_addrspace_buffer(&space, 8 * M2 + 100, 12 * K4, VMXC_MAP_READ, segments, 16,
                                 &count);
}

static int op_clear(void)
{
    return vmxc_addrspace_clear(&space);
}

static int op_unmap_everything(void)
{
    return vmxc_addrspace_unmap(&space, 0, UINT64_C(1) << 46);
}

static int op_merge(void)
{
    return vmxc_ept_merge(&space.ept, G1, G1);
}

/* The same on the hierarchy alone; its areas do not matter to it. */
static int op_ept_map(void)
{
    return vmxc_ept_map(&space.ept, 6 * G1 - K4, 9 * G1 - K4, M2 + 2 * K4, RWX);
}

static uint64_t next_page;

static enum vmxc_status supply(void *context, vmxc_gpa_t gpa, vmxc_hpa_t *page_hpa)
{
    (void)context;
    (void)gpa;
    next_page += K4;
    *page_hpa = next_page;
    return VMXC_OK;
}

static void take_back(void *context, vmxc_gpa_t gpa, vmxc_hpa_t hpa, uint64_t size)
{
    (void)context;
    (void)gpa;
    (void)hpa;
    next_page -= size;
}

/* Pages that were supplied before the failure come back one by one. */
static int op_ept_map_region(void)
{
    next_page = 16 * G1;
    const enum vmxc_status status =
        vmxc_ept_map_region(&space.ept, 6 * G1 - 300 * K4, 600 * K4, RWX, supply, take_back, NULL);
    ck_assert_uint_eq(next_page, status == VMXC_OK ? 16 * G1 + 600 * K4 : 16 * G1);
    return status;
}

static void not_released(void *context, vmxc_gpa_t gpa, vmxc_hpa_t hpa, uint64_t size)
{
    unsigned *calls = context;
    (void)gpa;
    (void)hpa;
    (void)size;
    (*calls)++;
}

static int op_ept_remap(void)
{
    unsigned calls = 0;
    const enum vmxc_status status =
        vmxc_ept_remap(&space.ept, G1 + M2 + K4, 9 * G1 + K4, M2, RWX, not_released, &calls);
    ck_assert(status == VMXC_OK || calls == 0);
    return status;
}

static int op_ept_unmap(void)
{
    unsigned calls = 0;
    const enum vmxc_status status =
        vmxc_ept_unmap(&space.ept, G1 + M2 + K4, M2, not_released, &calls);
    ck_assert(status == VMXC_OK || calls == 0);
    return status;
}

static int op_ept_protect(void)
{
    return vmxc_ept_protect(&space.ept, G1 + M2 + K4, M2, VMXC_MAP_READ);
}

/* ---- Scenarios ---- */

enum needs { ALLOCATES, MAY_ALLOCATE, NEEDS_NOTHING };

#define FAULT_RESULT    1u /* the operation returns an enum vmxc_fault_result */
#define SUPPLIED_REMAIN 2u /* lazy pages supplied before the failure stay */
#define BREAKS_AREAS \
    4u /* works behind the address space's back: the state cannot be judged after success */

static const struct scenario {
    const char *name;
    void (*prepare)(void);
    int (*operate)(void);
    enum needs needs;
    unsigned traits;
} scenarios[] = {
    {"init", nothing, op_init, ALLOCATES, 0},
    {"map 4K into nothing", empty, op_map_small, ALLOCATES, 0},
    {"map all page sizes", empty, op_map_mixed, ALLOCATES, 0},
    {"map all page sizes beside others", large_pages, op_map_mixed, ALLOCATES, 0},
    {"map eager pages", empty, op_map_eager, ALLOCATES, 0},
    {"map eager pages beside others", split_pages, op_map_eager, ALLOCATES, 0},
    {"first area", empty, op_map_lazy_behind, ALLOCATES, 0},
    {"area into a full node", full_node, op_map_lazy_behind, ALLOCATES, 0},
    {"replace inside a 1G page", large_pages, op_replace_inside_large, ALLOCATES, 0},
    {"replace inside a split 1G page", split_pages, op_replace_inside_large, ALLOCATES, 0},
    {"replace a large page by eager pages", large_pages, op_replace_large_by_pages, ALLOCATES, 0},
    {"replace lazy pages by eager ones", lazy_pages, op_replace_lazy_by_eager, ALLOCATES, 0},
    {"replace eager pages by large ones", eager_pages, op_replace_eager_by_large, MAY_ALLOCATE, 0},
    {"unmap inside a 1G page", large_pages, op_unmap_inside_1g, ALLOCATES, 0},
    {"unmap inside a split 1G page", split_pages, op_unmap_inside_1g, ALLOCATES, 0},
    {"unmap from one large page into another", large_pages, op_unmap_both_ends, ALLOCATES, 0},
    {"unmap the middle of an area", some_areas, op_unmap_middle_of_area, NEEDS_NOTHING, 0},
    {"unmap the middle of an area in a full node", full_node, op_unmap_middle_of_area, ALLOCATES,
     0},
    {"unmap everything", split_pages, op_unmap_everything, NEEDS_NOTHING, 0},
    {"unmap everything of many areas", full_node, op_unmap_everything, NEEDS_NOTHING, 0},
    {"clear", lazy_pages, op_clear, NEEDS_NOTHING, 0},
    {"protect inside a 1G page", large_pages, op_protect_inside_1g, ALLOCATES, 0},
    {"protect lazy pages", lazy_pages, op_protect_lazy_middle, NEEDS_NOTHING, 0},
    {"protect the middle of an area in a full node", full_node, op_protect_middle_of_area,
     ALLOCATES, 0},
    {"first fault", some_areas, op_fault_first, ALLOCATES, FAULT_RESULT},
    {"fault in a table that exists", lazy_pages, op_fault_in_table, ALLOCATES, FAULT_RESULT},
    {"buffer over lazy pages", lazy_pages, op_buffer, ALLOCATES, SUPPLIED_REMAIN},
    {"merge", split_pages, op_merge, NEEDS_NOTHING, 0},
    {"EPT map", empty, op_ept_map, ALLOCATES, BREAKS_AREAS},
    {"EPT map beside others", split_pages, op_ept_map, ALLOCATES, BREAKS_AREAS},
    {"EPT map_region", empty, op_ept_map_region, ALLOCATES, BREAKS_AREAS},
    {"EPT remap over a 1G page", large_pages, op_ept_remap, ALLOCATES, BREAKS_AREAS},
    {"EPT remap over a split page", split_pages, op_ept_remap, ALLOCATES, BREAKS_AREAS},
    {"EPT unmap in a 1G page", large_pages, op_ept_unmap, ALLOCATES, BREAKS_AREAS},
    {"EPT protect in a 1G page", large_pages, op_ept_protect, ALLOCATES, BREAKS_AREAS},
};
#define SCENARIOS (sizeof(scenarios) / sizeof(scenarios[0]))

static int success(const struct scenario *s)
{
    return (s->traits & FAULT_RESULT) != 0 ? (int)VMXC_FAULT_MAPPED : (int)VMXC_OK;
}

static int no_memory(const struct scenario *s)
{
    return (s->traits & FAULT_RESULT) != 0 ? (int)VMXC_FAULT_NO_MEMORY : (int)VMXC_NO_MEMORY;
}

static void expect_unchanged(const struct scenario *s, uint64_t n, const struct state *before)
{
    const struct state after = observe();
    if ((s->traits & SUPPLIED_REMAIN) != 0) {
        ck_assert_uint_ge(after.frames, before->frames);
        return;
    }
    ck_assert_msg(after.frames == before->frames && after.tables == before->tables,
                  "%s, allocation %" PRIu64 ": %" PRIu64 " frames and %" PRIu64
                  " tables became %" PRIu64 " and %" PRIu64,
                  s->name, n, before->frames, before->tables, after.frames, after.tables);
    ck_assert_msg(after.digest == before->digest,
                  "%s, allocation %" PRIu64 ": the content of some frame, area or mapping changed",
                  s->name, n);
}

static void finish(const struct scenario *s)
{
    if ((s->traits & BREAKS_AREAS) != 0) {
        vmxc_area_set_fini(&space.areas);
        vmxc_ept_fini(&space.ept, NULL, NULL);
    } else {
        vmxc_addrspace_fini(&space);
    }
    const struct vmxsim_memory_stats stats = vmxsim_memory_stats(memory);
    ck_assert_msg(stats.frames_in_use == 0 && stats.double_frees == 0 && stats.foreign_frees == 0,
                  "%s: %" PRIu64 " frames left", s->name, stats.frames_in_use);
}

/* One attempt on a fresh state; true if the operation succeeded. */
static bool attempt(const struct scenario *s, uint64_t n)
{
    vmxsim_memory_reset(memory);
    s->prepare();
    const struct state before = observe();
    const uint64_t failed_before = vmxsim_memory_stats(memory).failed;
    vmxsim_memory_fail_nth(memory, n);
    const int result = s->operate();
    vmxsim_memory_fail_nth(memory, 0);
    const bool injected = vmxsim_memory_stats(memory).failed != failed_before;

    ck_assert_msg(result == (injected ? no_memory(s) : success(s)),
                  "%s, allocation %" PRIu64 " %s: returned %d", s->name, n,
                  injected ? "failed" : "was not reached", result);
    if (injected) {
        expect_unchanged(s, n, &before);
        /* The same call, with memory, works now: the failure left nothing in its way. */
        ck_assert_int_eq(s->operate(), success(s));
    }
    finish(s);
    return !injected;
}

START_TEST(each_failing_allocation_changes_nothing)
{
    const struct scenario *s = &scenarios[_i];
    uint64_t n = 1;
    while (!attempt(s, n))
        n++;
    ck_assert_msg(s->needs == MAY_ALLOCATE || (n > 1) == (s->needs == ALLOCATES),
                  "%s: %" PRIu64 " allocations", s->name, n - 1);
    printf("%s: %" PRIu64 " allocations\n", s->name, n - 1);
}
END_TEST

/* No memory at all: what must allocate fails, what need not works. */
START_TEST(without_any_memory_only_what_needs_none_works)
{
    const struct scenario *s = &scenarios[_i];
    vmxsim_memory_reset(memory);
    s->prepare();
    const struct state before = observe();
    vmxsim_memory_fail_randomly(memory, 1, 1000000);
    const int result = s->operate();
    vmxsim_memory_fail_randomly(memory, 1, 0);
    if (s->needs != MAY_ALLOCATE)
        ck_assert_msg(result == (s->needs == ALLOCATES ? no_memory(s) : success(s)),
                      "%s without memory: returned %d", s->name, result);
    if (result == no_memory(s))
        expect_unchanged(s, 0, &before);
    finish(s);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("alloc_failure");
    TCase *failures = tcase_create("failures");
    tcase_add_checked_fixture(failures, set_up, tear_down);
    tcase_set_timeout(failures, 300);
    tcase_add_loop_test(failures, each_failing_allocation_changes_nothing, 0, (int)SCENARIOS);
    tcase_add_loop_test(failures, without_any_memory_only_what_needs_none_works, 0, (int)SCENARIOS);
    suite_add_tcase(s, failures);
    return s;
}

int main(void)
{
    SRunner *runner = srunner_create(suite());
    srunner_run_all(runner, CK_NORMAL);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
