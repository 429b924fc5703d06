/* SPDX-License-Identifier: Apache-2.0 */
/* bench_core: translation over 4-KByte mappings, beside raw loads from the same tables. */
#include "core.h"
#include "vmxcore/defs/ept.h"

enum order { RANDOM, SEQUENTIAL, CLUSTERED };

enum {
    LANES = 64,   /* of the interleaved floor */
    CLUSTER = 64, /* lookups within 2 MBytes */
};

static void choose(void *context, uint64_t order)
{
    const uint64_t pages = core.mapped / VMXC_PAGE_SIZE;
    const uint64_t first = bench_random(&core.random, pages - LOOKUPS + 1);
    uint64_t cluster = 0;
    (void)context;
    for (uint64_t i = 0; i < LOOKUPS; i++) {
        if (i % CLUSTER == 0)
            cluster = bench_random(&core.random, pages / 512) * 512;
        const uint64_t page = order == RANDOM       ? bench_random(&core.random, pages)
                              : order == SEQUENTIAL ? first + i
                                                    : cluster + bench_random(&core.random, 512);
        core.at[i] = page * VMXC_PAGE_SIZE;
    }
}

/* ---- Floors: four loads each, nothing else ---- */

/* What an entry of `table` leads to, as a pointer. */
static inline const uint64_t *next_table(const uint64_t *table, vmxc_gpa_t gpa, unsigned level)
{
    const uint64_t raw = table[gpa >> (VMXC_PAGE_SHIFT + 9 * (level - 1)) & 511];
    const uint8_t *window = core.arena.hal.window.pointer;
    return (const uint64_t *)(const void *)(window + ((raw & VMXC_EPT_ADDRESS) -
                                                      core.arena.hal.window.base));
}

static inline const uint64_t *root_table(void)
{
    const uint8_t *window = core.arena.hal.window.pointer;
    return (const uint64_t *)(const void *)(window + (vmxc_addrspace_root(&core.space) -
                                                      core.arena.hal.window.base));
}

static inline uint64_t load_leaf(vmxc_gpa_t gpa)
{
    const uint64_t *table = root_table();
    for (unsigned level = 4; level > 1; level--)
        table = next_table(table, gpa, level);
    return table[gpa >> VMXC_PAGE_SHIFT & 511];
}

uint64_t core_load_leaf(vmxc_gpa_t gpa)
{
    return load_leaf(gpa);
}

static void floor_plain(void *context, uint64_t order)
{
    (void)context;
    (void)order;
    for (uint64_t i = 0; i < LOOKUPS; i++)
        core.found[i] = load_leaf(core.at[i]);
}

/* Bit 63 is clear in all entries and addresses, which the compiler does not know: each lookup waits for the last. */
static void floor_dependent(void *context, uint64_t order)
{
    uint64_t carry = 0;
    (void)context;
    (void)order;
    for (uint64_t i = 0; i < LOOKUPS; i++)
        carry = load_leaf(core.at[i] + carry) >> 63;
    core.sum += carry;
}

static void floor_interleaved(void *context, uint64_t order)
{
    (void)context;
    (void)order;
    for (uint64_t i = 0; i < LOOKUPS; i += LANES) {
        const uint64_t *table[LANES];
        const vmxc_gpa_t *at = &core.at[i];
        for (unsigned lane = 0; lane < LANES; lane++)
            table[lane] = root_table();
        for (unsigned level = 4; level > 1; level--)
            for (unsigned lane = 0; lane < LANES; lane++)
                table[lane] = next_table(table[lane], at[lane], level);
        for (unsigned lane = 0; lane < LANES; lane++)
            core.found[i + lane] = table[lane][at[lane] >> VMXC_PAGE_SHIFT & 511];
    }
}

/* ---- Lookups ---- */

static void translate(void *context, uint64_t order)
{
    struct vmxc_translation translation;
    (void)context;
    (void)order;
    for (uint64_t i = 0; i < LOOKUPS; i++) {
        core_require_ok(vmxc_addrspace_translate(&core.space, core.at[i], &translation));
        core.found[i] = translation.hpa;
    }
}

static void translate_dependent(void *context, uint64_t order)
{
    struct vmxc_translation translation = {.hpa = 0};
    (void)context;
    (void)order;
    for (uint64_t i = 0; i < LOOKUPS; i++)
        core_require_ok(vmxc_addrspace_translate(&core.space, core.at[i] + (translation.hpa >> 63),
                                                 &translation));
    core.sum += translation.hpa;
}

static void query(void *context, uint64_t order)
{
    (void)context;
    (void)order;
    for (uint64_t i = 0; i < LOOKUPS; i++)
        core.status[i] =
            vmxc_ept_query(vmxc_addrspace_ept(&core.space), core.at[i], &core.mapping[i]);
}

static void query_many(void *context, uint64_t order)
{
    (void)context;
    (void)order;
    bench_require(vmxc_ept_query_many(vmxc_addrspace_ept(&core.space), core.at, LOOKUPS,
                                      core.mapping, core.status) == LOOKUPS,
                  "an address is not mapped");
}

/* ---- Groups: 1 GiB, 64 GiB ---- */

#define LOOKUP(text, function, with_order)                                                \
    .name = text, .unit = "lookup", .units = LOOKUPS, .prepare = choose, .run = function, \
    .argument = with_order

#define LOOKUP_CASES(size, kind, dependent_target, many_target)                          \
    {                                                                                    \
        {LOOKUP("floor: 4 dependent loads, " size, floor_dependent, RANDOM)},            \
            {LOOKUP("floor: 4 loads, plain loop, " size, floor_plain, RANDOM)},          \
            {LOOKUP("floor: 4 loads, interleaved, " size, floor_interleaved, RANDOM)},   \
            {LOOKUP("translate, dependent, random, " size, translate_dependent, RANDOM), \
             .floor = "floor: 4 dependent loads, " size, .target_kind = kind,            \
             .target = dependent_target},                                                \
            {LOOKUP("translate, random, " size, translate, RANDOM),                      \
             .floor = "floor: 4 loads, plain loop, " size},                              \
            {LOOKUP("translate, sequential, " size, translate, SEQUENTIAL)},             \
            {LOOKUP("query, random, " size, query, RANDOM),                              \
             .floor = "floor: 4 loads, plain loop, " size},                              \
            {LOOKUP("query, clustered, " size, query, CLUSTERED)},                       \
            {LOOKUP("query, sequential, " size, query, SEQUENTIAL)},                     \
            {LOOKUP("query_many, random, " size, query_many, RANDOM),                    \
             .floor = "floor: 4 loads, interleaved, " size, .target_kind = kind,         \
             .target = many_target},                                                     \
            {LOOKUP("query_many, clustered, " size, query_many, CLUSTERED),              \
             .floor = "query, clustered, " size},                                        \
            {LOOKUP("query_many, sequential, " size, query_many, SEQUENTIAL),            \
             .floor = "query, sequential, " size},                                       \
    }

/* clang-format off */
static const struct bench_case small_cases[] = LOOKUP_CASES("1 GiB", BENCH_NO_TARGET, 0, 0);
static const struct bench_case large_cases[] = LOOKUP_CASES("64 GiB", BENCH_RATIO, 1.05, 1.2);
/* clang-format on */

#define CASES (sizeof(small_cases) / sizeof(small_cases[0]))

static void measure_size(struct bench *bench, const struct bench_case *cases, uint64_t size)
{
    if (!bench_wants(bench, cases, CASES))
        return;
    core_start(NULL, VMXC_PAGE_LEVEL_4K);
    core_require_ok(vmxc_addrspace_map_linear(&core.space, 0, LINEAR_HPA, size, VMXC_MAP_RWX));
    core.mapped = size;
    bench_measure(bench, cases, CASES, NULL);
    core_stop(NULL, 0);
}

void core_measure_lookups(struct bench *bench)
{
    measure_size(bench, small_cases, GIB);
    measure_size(bench, large_cases, 64 * GIB);
}
