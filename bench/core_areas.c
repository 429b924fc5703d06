/* SPDX-License-Identifier: Apache-2.0 */
/* bench_core: address spaces with many areas. */
#include "core.h"

enum {
    AREAS_MAX = 100000,
    AREA_PAGES = 4,    /* of each area, and of the hole behind it */
    OPERATIONS = 1000, /* per run, on as many different areas */
};

#define AREA_SIZE   (AREA_PAGES * VMXC_PAGE_SIZE)
#define AREA_STRIDE (2 * AREA_SIZE)

/* A bijection of 0 ... 2^17 - 1, so that areas come in no order, each once. */
static uint64_t scatter(uint64_t i)
{
    return i * 76543 % (1 << 17);
}

static void start_empty(void *context, uint64_t areas)
{
    (void)areas;
    core_start(context, VMXC_PAGE_LEVEL_4K);
}

/* Lazy areas, which take no tables, so that the area set is all there is to time. */
static void insert(void *context, uint64_t areas)
{
    (void)context;
    for (uint64_t i = 0, done = 0; done < areas; i++) {
        if (scatter(i) >= areas)
            continue;
        core_require_ok(vmxc_addrspace_map_alloc(&core.space, scatter(i) * AREA_STRIDE, AREA_SIZE,
                                                 VMXC_MAP_RWX, false));
        done++;
    }
    core.frames = arena_in_use(&core.arena);
}

static void start_full(void *context, uint64_t areas)
{
    core_start(context, VMXC_PAGE_LEVEL_4K);
    for (uint64_t i = 0; i < areas; i++)
        core_require_ok(vmxc_addrspace_map_linear(
            &core.space, i * AREA_STRIDE, LINEAR_HPA + i * AREA_STRIDE, AREA_SIZE, VMXC_MAP_RWX));
    core.frames = arena_in_use(&core.arena);
}

static void start_lookups(void *context, uint64_t areas)
{
    start_full(context, areas);
    for (uint64_t i = 0; i < LOOKUPS; i++)
        core.at[i] =
            bench_random(&core.random, areas) * AREA_STRIDE + bench_random(&core.random, AREA_SIZE);
}

/* What any set of areas must load, however it searches: a key, and what is kept of the area, as packed as can be. */
static struct {
    uint64_t key[AREAS_MAX]; /* leads to the area */
    struct {
        uint64_t size, backend, hpa, flags;
    } area[AREAS_MAX];
} packed;

static void start_floor(void *context, uint64_t areas)
{
    start_lookups(context, areas);
    for (uint64_t i = 0; i < areas; i++) {
        packed.key[i] = i;
        packed.area[i].hpa = LINEAR_HPA + i * AREA_STRIDE;
    }
}

/* No search: areas lie at regular distances here. One load depends on the other; the table is walked beside them. */
static void floor_find(void *context, uint64_t areas)
{
    (void)context;
    (void)areas;
    for (uint64_t i = 0; i < LOOKUPS; i++) {
        const uint64_t key = packed.key[core.at[i] / AREA_STRIDE];
        core.found[i] = core_load_leaf(core.at[i]) + packed.area[key].hpa;
    }
}

static void find(void *context, uint64_t areas)
{
    struct vmxc_translation translation;
    (void)context;
    (void)areas;
    for (uint64_t i = 0; i < LOOKUPS; i++) {
        core_require_ok(vmxc_addrspace_translate(&core.space, core.at[i], &translation));
        core.found[i] = translation.hpa;
    }
}

/* The first address of area number `i` of those that are changed: all over the space, each once. */
static vmxc_gpa_t chosen(uint64_t i, uint64_t areas)
{
    return i * (areas / OPERATIONS) * 7 % areas * AREA_STRIDE;
}

static void unmap_one(void *context, uint64_t areas)
{
    (void)context;
    for (uint64_t i = 0; i < OPERATIONS; i++)
        core_require_ok(vmxc_addrspace_unmap(&core.space, chosen(i, areas), AREA_SIZE));
}

static void split_one(void *context, uint64_t areas)
{
    (void)context;
    for (uint64_t i = 0; i < OPERATIONS; i++)
        core_require_ok(
            vmxc_addrspace_unmap(&core.space, chosen(i, areas) + VMXC_PAGE_SIZE, VMXC_PAGE_SIZE));
}

#define FLOOR_FIND(areas) "floor: key, area, 4 loads, " areas " areas"

#define AREAS(text, per, how_many, before, function, number)                          \
    .name = text, .unit = per, .units = how_many, .prepare = before, .run = function, \
    .finish = core_stop, .argument = number

static const struct bench_case area_cases[] = {
    {AREAS("insert, 10,000 areas", "area", 10000, start_empty, insert, 10000),
     .frames = &core.frames},
    {AREAS("insert, 100,000 areas", "area", 100000, start_empty, insert, 100000),
     .frames = &core.frames},
    {AREAS(FLOOR_FIND("10,000"), "lookup", LOOKUPS, start_floor, floor_find, 10000)},
    {AREAS("find + translate, 10,000 areas", "lookup", LOOKUPS, start_lookups, find, 10000),
     .floor = FLOOR_FIND("10,000"), .frames = &core.frames},
    {AREAS(FLOOR_FIND("100,000"), "lookup", LOOKUPS, start_floor, floor_find, AREAS_MAX)},
    {AREAS("find + translate, 100,000 areas", "lookup", LOOKUPS, start_lookups, find, AREAS_MAX),
     .floor = FLOOR_FIND("100,000"), .target_kind = BENCH_NANOSECONDS, .target = 60,
     .frames = &core.frames},
    {AREAS("unmap one of 10,000 areas", "area", OPERATIONS, start_full, unmap_one, 10000)},
    {AREAS("unmap one of 100,000 areas", "area", OPERATIONS, start_full, unmap_one, 100000),
     .target_kind = BENCH_NANOSECONDS, .target = 500},
    {AREAS("split one of 10,000 areas", "area", OPERATIONS, start_full, split_one, 10000)},
    {AREAS("split one of 100,000 areas", "area", OPERATIONS, start_full, split_one, 100000),
     .target_kind = BENCH_NANOSECONDS, .target = 500},
};

void core_measure_areas(struct bench *bench)
{
    bench_measure(bench, area_cases, sizeof(area_cases) / sizeof(area_cases[0]), NULL);
}
