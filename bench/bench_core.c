/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Times of libvmxcore on a plain machine: mapping, faults, unmapping and changing; core_lookup.c: translation;
 * core_areas.c: many areas. The floors are raw loads over the very tables that libvmxcore has built, and memset of the
 * frames it fills.
 */
#include <string.h>

#include "core.h"
#include "vmxcore/status.h"

struct core core;

void core_require_ok(enum vmxc_status status)
{
    bench_require(status == VMXC_OK, vmxc_status_name(status));
}

/* ---- Address spaces ---- */

void core_make_space(struct vmxc_addrspace *space, uint64_t largest_page)
{
    const struct vmxc_ept_config config = {.levels = 4,
                                           .maxphyaddr = 46,
                                           .largest_page = (uint8_t)largest_page,
                                           .accessed_dirty = true,
                                           .table_memory_type = VMXC_MEMORY_TYPE_WB};
    core_require_ok(vmxc_addrspace_init(space, &core.arena.hal, &config, 0, UINT64_C(1) << 40));
}

void core_start(void *context, uint64_t largest_page)
{
    (void)context;
    arena_sort(&core.arena);
    core_make_space(&core.space, largest_page);
}

void core_stop(void *context, uint64_t argument)
{
    (void)context;
    (void)argument;
    vmxc_addrspace_fini(&core.space);
    arena_zero_pages(&core.arena, true);
}

static void count_frames(void)
{
    core.frames = arena_in_use(&core.arena);
}

/* ---- Mapping ---- */

static void map_linear(void *context, uint64_t largest_page)
{
    (void)context;
    (void)largest_page; /* core_start has set it */
    core_require_ok(vmxc_addrspace_map_linear(&core.space, 0, LINEAR_HPA, GIB, VMXC_MAP_RWX));
    count_frames();
}

/* `zeroed`: the zeroing of guest pages is carried out. */
static void start_4k(void *context, uint64_t zeroed)
{
    core_start(context, VMXC_PAGE_LEVEL_4K);
    arena_zero_pages(&core.arena, zeroed != 0);
}

static void map_eager(void *context, uint64_t zeroed)
{
    (void)context;
    (void)zeroed; /* start_4k has set it */
    core_require_ok(vmxc_addrspace_map_alloc(&core.space, 0, 256 * MIB, VMXC_MAP_RWX, true));
    count_frames();
}

static void start_many(void *context, uint64_t argument)
{
    (void)context;
    (void)argument;
    arena_sort(&core.arena);
    for (size_t i = 0; i < SPACES; i++)
        core_make_space(&core.many[i], VMXC_PAGE_LEVEL_1G);
}

static void map_lazy(void *context, uint64_t argument)
{
    (void)context;
    (void)argument;
    for (size_t i = 0; i < SPACES; i++)
        core_require_ok(vmxc_addrspace_map_alloc(&core.many[i], 0, GIB, VMXC_MAP_RWX, false));
    core.frames = arena_in_use(&core.arena) / SPACES;
}

static void stop_many(void *context, uint64_t argument)
{
    (void)context;
    (void)argument;
    for (size_t i = 0; i < SPACES; i++) {
        bench_require(vmxc_ept_count_tables(vmxc_addrspace_ept(&core.many[i])) == 1,
                      "a lazy area takes a table");
        vmxc_addrspace_fini(&core.many[i]);
    }
}

static void fill_frames(void *context, uint64_t argument)
{
    uint8_t *first = core.arena.bytes + (core.arena.pages.base - core.arena.hal.window.base);
    (void)context;
    (void)argument;
    for (uint64_t i = 0; i < PAGE_FRAMES; i++)
        memset(first + i * VMXC_PAGE_SIZE, 0, VMXC_PAGE_SIZE);
}

#define FLOOR_FILL "floor: memset of a frame"

static const struct bench_case mapping_cases[] = {
    {.name = FLOOR_FILL, .unit = "page", .units = PAGE_FRAMES, .run = fill_frames},
    {.name = "map_linear 1 GiB, 4K",
     .unit = "page",
     .units = GIB / VMXC_PAGE_SIZE_4K,
     .prepare = core_start,
     .run = map_linear,
     .finish = core_stop,
     .argument = VMXC_PAGE_LEVEL_4K,
     .target_kind = BENCH_NANOSECONDS,
     .target = 4,
     .frames = &core.frames},
    {.name = "map_linear 1 GiB, 2M",
     .unit = "page",
     .units = GIB / VMXC_PAGE_SIZE_2M,
     .prepare = core_start,
     .run = map_linear,
     .finish = core_stop,
     .argument = VMXC_PAGE_LEVEL_2M,
     .frames = &core.frames},
    {.name = "map_linear 1 GiB, 1G",
     .unit = "page",
     .units = GIB / VMXC_PAGE_SIZE_1G,
     .prepare = core_start,
     .run = map_linear,
     .finish = core_stop,
     .argument = VMXC_PAGE_LEVEL_1G,
     .frames = &core.frames},
    {.name = "map_alloc eager 256 MiB",
     .unit = "page",
     .units = PAGE_FRAMES,
     .prepare = start_4k,
     .run = map_eager,
     .finish = core_stop,
     .argument = true,
     .floor = FLOOR_FILL,
     .frames = &core.frames},
    {.name = "map_alloc eager 256 MiB, zeroing excluded",
     .unit = "page",
     .units = PAGE_FRAMES,
     .prepare = start_4k,
     .run = map_eager,
     .finish = core_stop,
     .argument = false,
     .target_kind = BENCH_NANOSECONDS,
     .target = 6},
    {.name = "map_alloc lazy 1 GiB",
     .unit = "call",
     .units = SPACES,
     .prepare = start_many,
     .run = map_lazy,
     .finish = stop_many,
     .target_kind = BENCH_NANOSECONDS,
     .target = 1000,
     .frames = &core.frames},
};

/* ---- Faults on a lazy area of 256 MiB ---- */

enum fault_order {
    FAULT_SEQUENTIAL = 0,
    FAULT_RANDOM = 1,
    FAULT_ZEROED = 2, /* besides one of these */
};

static void shuffle(vmxc_gpa_t *gpas, uint64_t count)
{
    for (uint64_t i = count - 1; i > 0; i--) {
        const uint64_t other = bench_random(&core.random, i + 1);
        const vmxc_gpa_t gpa = gpas[i];
        gpas[i] = gpas[other];
        gpas[other] = gpa;
    }
}

static void start_lazy(void *context, uint64_t order)
{
    start_4k(context, order & FAULT_ZEROED);
    core_require_ok(vmxc_addrspace_map_alloc(&core.space, 0, 256 * MIB, VMXC_MAP_RWX, false));
    for (uint64_t i = 0; i < PAGE_FRAMES; i++)
        core.at[i] = i * VMXC_PAGE_SIZE;
    if (order & FAULT_RANDOM)
        shuffle(core.at, PAGE_FRAMES);
}

static void fault_all(void *context, uint64_t order)
{
    (void)context;
    (void)order;
    for (uint64_t i = 0; i < PAGE_FRAMES; i++)
        bench_require(vmxc_addrspace_handle_page_fault(&core.space, core.at[i], VMXC_MAP_WRITE) ==
                          VMXC_FAULT_MAPPED,
                      "a page is not supplied");
    count_frames();
}

static const struct bench_case fault_cases[] = {
    {.name = FLOOR_FILL " (lazy)", .unit = "page", .units = PAGE_FRAMES, .run = fill_frames},
    {.name = "fault, sequential",
     .unit = "page",
     .units = PAGE_FRAMES,
     .prepare = start_lazy,
     .run = fault_all,
     .finish = core_stop,
     .argument = FAULT_SEQUENTIAL | FAULT_ZEROED,
     .floor = FLOOR_FILL " (lazy)",
     .frames = &core.frames},
    {.name = "fault, sequential, zeroing excluded",
     .unit = "page",
     .units = PAGE_FRAMES,
     .prepare = start_lazy,
     .run = fault_all,
     .finish = core_stop,
     .argument = FAULT_SEQUENTIAL,
     .target_kind = BENCH_NANOSECONDS,
     .target = 7},
    {.name = "fault, random",
     .unit = "page",
     .units = PAGE_FRAMES,
     .prepare = start_lazy,
     .run = fault_all,
     .finish = core_stop,
     .argument = FAULT_RANDOM | FAULT_ZEROED,
     .floor = FLOOR_FILL " (lazy)",
     .frames = &core.frames},
    {.name = "fault, random, zeroing excluded",
     .unit = "page",
     .units = PAGE_FRAMES,
     .prepare = start_lazy,
     .run = fault_all,
     .finish = core_stop,
     .argument = FAULT_RANDOM,
     .target_kind = BENCH_NANOSECONDS,
     .target = 10},
};

/* ---- Unmapping and changing ---- */

static void start_linear(void *context, uint64_t largest_page)
{
    core_start(context, largest_page);
    map_linear(context, largest_page);
}

static void start_eager(void *context, uint64_t argument)
{
    start_4k(context, false);
    map_eager(context, argument);
}

static void unmap(void *context, uint64_t size)
{
    (void)context;
    core_require_ok(vmxc_addrspace_unmap(&core.space, 0, size));
    count_frames();
}

static void unmap_linear(void *context, uint64_t largest_page)
{
    (void)largest_page; /* start_linear has set it */
    unmap(context, GIB);
}

static void unmap_eager(void *context, uint64_t argument)
{
    (void)argument;
    unmap(context, 256 * MIB);
}

static void protect(void *context, uint64_t largest_page)
{
    (void)context;
    (void)largest_page; /* start_linear has set it */
    core_require_ok(vmxc_addrspace_protect(&core.space, 0, GIB, VMXC_MAP_READ));
    count_frames();
}

static const struct bench_case change_cases[] = {
    {.name = "unmap linear 1 GiB, 4K",
     .unit = "page",
     .units = GIB / VMXC_PAGE_SIZE_4K,
     .prepare = start_linear,
     .run = unmap_linear,
     .finish = core_stop,
     .argument = VMXC_PAGE_LEVEL_4K,
     .target_kind = BENCH_NANOSECONDS,
     .target = 3,
     .frames = &core.frames},
    {.name = "unmap linear 1 GiB, 2M",
     .unit = "page",
     .units = GIB / VMXC_PAGE_SIZE_2M,
     .prepare = start_linear,
     .run = unmap_linear,
     .finish = core_stop,
     .argument = VMXC_PAGE_LEVEL_2M,
     .frames = &core.frames},
    {.name = "unmap populated 256 MiB",
     .unit = "page",
     .units = PAGE_FRAMES,
     .prepare = start_eager,
     .run = unmap_eager,
     .finish = core_stop,
     .target_kind = BENCH_NANOSECONDS,
     .target = 3,
     .frames = &core.frames},
    {.name = "protect 1 GiB, 4K",
     .unit = "page",
     .units = GIB / VMXC_PAGE_SIZE_4K,
     .prepare = start_linear,
     .run = protect,
     .finish = core_stop,
     .argument = VMXC_PAGE_LEVEL_4K,
     .frames = &core.frames},
    {.name = "protect 1 GiB, 2M",
     .unit = "page",
     .units = GIB / VMXC_PAGE_SIZE_2M,
     .prepare = start_linear,
     .run = protect,
     .finish = core_stop,
     .argument = VMXC_PAGE_LEVEL_2M,
     .frames = &core.frames},
};

#define MEASURE(bench, cases) \
    bench_measure((bench), (cases), sizeof(cases) / sizeof((cases)[0]), NULL)

int main(int argc, char **argv)
{
    struct bench *bench = bench_start(argc, argv, "bench_core",
                                      "Times of libvmxcore on a plain machine, beside floors.");
    core.random = 1;
    arena_init(&core.arena, PAGE_FRAMES, OTHER_FRAMES);
    MEASURE(bench, mapping_cases);
    MEASURE(bench, fault_cases);
    MEASURE(bench, change_cases);
    core_measure_lookups(bench);
    core_measure_areas(bench);
    arena_fini(&core.arena);
    return bench_end(bench);
}
