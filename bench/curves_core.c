/* SPDX-License-Identifier: Apache-2.0 */
/* curves: libvmxcore, per page from 1 MiB to 64 GiB of 4-KByte pages, per area from 1 to 100,000. */
#include "arena.h"
#include "curves.h"
#include "vmxcore/addrspace.h"
#include "vmxcore/status.h"

#define LINEAR_HPA  UINT64_C(0x10000000000)
#define AREA_SIZE   (4 * VMXC_PAGE_SIZE)
#define AREA_STRIDE (2 * AREA_SIZE)

enum {
    FRAMES = 40 << 10,
    AREAS_MOST = 100000,
    LOOKUPS = 1 << 16, /* per run; fresh ones each time */
    CHANGES = 1000,    /* at most, per run */
};

static struct {
    struct arena arena;
    struct vmxc_addrspace space;
    uint64_t random, sum;
    vmxc_gpa_t at[LOOKUPS];
    vmxc_gpa_t area[AREAS_MOST];
} core;

static void require_ok(enum vmxc_status status)
{
    bench_require(status == VMXC_OK, vmxc_status_name(status));
}

static uint64_t lookups(uint64_t x)
{
    (void)x;
    return LOOKUPS;
}

/* ---- Spaces ---- */

static void start(void *context, uint64_t x)
{
    const struct vmxc_ept_config config = {.levels = 4,
                                           .maxphyaddr = 46,
                                           .largest_page = VMXC_PAGE_LEVEL_4K,
                                           .accessed_dirty = true,
                                           .table_memory_type = VMXC_MEMORY_TYPE_WB};
    (void)context;
    (void)x;
    arena_sort(&core.arena);
    require_ok(vmxc_addrspace_init(&core.space, &core.arena.hal, &config, 0, UINT64_C(1) << 40));
}

static void stop(void *context, uint64_t x)
{
    (void)context;
    (void)x;
    vmxc_addrspace_fini(&core.space);
}

static void translate(void *context, uint64_t x)
{
    struct vmxc_translation translation;
    (void)context;
    (void)x;
    for (size_t i = 0; i < LOOKUPS; i++) {
        require_ok(vmxc_addrspace_translate(&core.space, core.at[i], &translation));
        core.sum += translation.hpa;
    }
}

/* ---- Pages: x is the size of the mapping in bytes ---- */

static uint64_t pages(uint64_t size)
{
    return size / VMXC_PAGE_SIZE;
}

static void map(void *context, uint64_t size)
{
    (void)context;
    require_ok(vmxc_addrspace_map_linear(&core.space, 0, LINEAR_HPA, size, VMXC_MAP_RWX));
}

static void start_mapped(void *context, uint64_t size)
{
    start(context, size);
    map(context, size);
}

static void start_random(void *context, uint64_t size)
{
    start_mapped(context, size);
    for (size_t i = 0; i < LOOKUPS; i++)
        core.at[i] = bench_random(&core.random, size);
}

static void start_sequential(void *context, uint64_t size)
{
    start_mapped(context, size);
    for (size_t i = 0; i < LOOKUPS; i++)
        core.at[i] = i % pages(size) * VMXC_PAGE_SIZE;
}

static void protect(void *context, uint64_t size)
{
    (void)context;
    require_ok(vmxc_addrspace_protect(&core.space, 0, size, VMXC_MAP_READ));
}

static void unmap(void *context, uint64_t size)
{
    (void)context;
    require_ok(vmxc_addrspace_unmap(&core.space, 0, size));
}

static const struct curve page_curves[] = {
    {"pages: map_linear", "page", start, map, stop, pages},
    {"pages: protect", "page", start_mapped, protect, stop, pages},
    {"pages: unmap", "page", start_mapped, unmap, stop, pages},
    {"pages: translate, sequential", "lookup", start_sequential, translate, stop, lookups},
    {"pages: translate, random", "lookup", start_random, translate, stop, lookups},
};

/* ---- Areas: x is their number ---- */

/* A bijection of 0 ... 2^17 - 1, so that areas come in no order, each once. */
static uint64_t scatter(uint64_t i)
{
    return i * 76543 % (1 << 17);
}

static uint64_t all_areas(uint64_t areas)
{
    return areas;
}

static uint64_t some_areas(uint64_t areas)
{
    return areas < CHANGES ? areas : CHANGES;
}

static void start_inserting(void *context, uint64_t areas)
{
    size_t count = 0;
    start(context, areas);
    for (uint64_t i = 0; count < areas; i++)
        if (scatter(i) < areas)
            core.area[count++] = scatter(i) * AREA_STRIDE;
}

static void insert(void *context, uint64_t areas)
{
    (void)context;
    for (uint64_t i = 0; i < areas; i++)
        require_ok(
            vmxc_addrspace_map_alloc(&core.space, core.area[i], AREA_SIZE, VMXC_MAP_RWX, false));
}

static void start_areas(void *context, uint64_t areas)
{
    start(context, areas);
    for (uint64_t i = 0; i < areas; i++)
        require_ok(vmxc_addrspace_map_linear(
            &core.space, i * AREA_STRIDE, LINEAR_HPA + i * AREA_STRIDE, AREA_SIZE, VMXC_MAP_RWX));
}

static void start_finding(void *context, uint64_t areas)
{
    start_areas(context, areas);
    for (size_t i = 0; i < LOOKUPS; i++)
        core.at[i] =
            bench_random(&core.random, areas) * AREA_STRIDE + bench_random(&core.random, AREA_SIZE);
}

/* The first address of the i-th area of those that are changed: all over the space, each once. */
static vmxc_gpa_t chosen(uint64_t i, uint64_t areas)
{
    return areas / some_areas(areas) * i * AREA_STRIDE;
}

static void unmap_areas(void *context, uint64_t areas)
{
    (void)context;
    for (uint64_t i = 0; i < some_areas(areas); i++)
        require_ok(vmxc_addrspace_unmap(&core.space, chosen(i, areas), AREA_SIZE));
}

static void split_areas(void *context, uint64_t areas)
{
    (void)context;
    for (uint64_t i = 0; i < some_areas(areas); i++)
        require_ok(
            vmxc_addrspace_unmap(&core.space, chosen(i, areas) + VMXC_PAGE_SIZE, VMXC_PAGE_SIZE));
}

static const struct curve area_curves[] = {
    {"areas: insert", "area", start_inserting, insert, stop, all_areas},
    {"areas: find + translate, random", "lookup", start_finding, translate, stop, lookups},
    {"areas: unmap one", "area", start_areas, unmap_areas, stop, some_areas},
    {"areas: split one", "area", start_areas, split_areas, stop, some_areas},
};

/* ---- Measuring ---- */

static void measure(struct bench *bench, const struct curve *curves, size_t count,
                    const uint64_t *x, size_t points)
{
    core.random = 1;
    arena_init(&core.arena, 1, FRAMES);
    for (size_t i = 0; i < count; i++)
        curve_measure(bench, &curves[i], x, points);
    arena_fini(&core.arena);
}

void curves_measure_pages(struct bench *bench)
{
    static const uint64_t sizes[] = {MIB, 4 * MIB, 16 * MIB, 64 * MIB, 256 * MIB,
                                     GIB, 4 * GIB, 16 * GIB, 64 * GIB};
    measure(bench, page_curves, sizeof page_curves / sizeof page_curves[0], sizes,
            sizeof sizes / sizeof sizes[0]);
}

void curves_measure_areas(struct bench *bench)
{
    static const uint64_t counts[] = {1, 3, 10, 30, 100, 300, 1000, 3000, 10000, 30000, AREAS_MOST};
    measure(bench, area_curves, sizeof area_curves / sizeof area_curves[0], counts,
            sizeof counts / sizeof counts[0]);
}
