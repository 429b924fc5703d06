/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_machine: returning to a snapshot and taking the next one, by pages written and by the size of the machine. The floor is
 * memcpy of as many pages, written and read at the same places of a machine of the same size.
 *
 *     machine     [ . . x . . . . . x . . . . . x . . . ]     x: written before each restore
 *     plain         memcpy from here to there, page by page, and nothing else
 */
#include <string.h>

#include "machine.h"

enum { PAGES_MOST = 1024 };

static struct {
    struct machine machine;
    struct vmxsim_memory *plain, *source;
    uint8_t *to;
    const uint8_t *from;
    uint64_t ram, restored;
} at;

/* ---- What is timed ---- */

static void write_pages(void *context, uint64_t pages)
{
    (void)context;
    for (uint64_t i = 0; i < pages; i++)
        vmxsim_memory_write64(at.machine.memory, machine_page(i, pages, at.ram), machine_fresh());
}

static void restore(void *context, uint64_t pages)
{
    (void)context;
    (void)pages;
    bench_require(vmxsim_snapshot_restore(at.machine.memory, &at.restored) == VMXC_OK,
                  "no restore");
}

static void check_restore(void *context, uint64_t pages)
{
    (void)context;
    bench_require(at.restored == pages, "not as many pages are restored as were written");
}

static void take(void *context, uint64_t pages)
{
    (void)context;
    (void)pages;
    vmxsim_snapshot_drop(at.machine.memory);
    bench_require(vmxsim_snapshot_take(at.machine.memory) == VMXC_OK, "no snapshot");
}

static void write_plain(void *context, uint64_t pages)
{
    (void)context;
    for (uint64_t i = 0; i < pages; i++) {
        const uint64_t value = machine_fresh();
        memcpy(at.to + machine_page(i, pages, at.ram), &value, sizeof value);
    }
}

static void copy_plain(void *context, uint64_t pages)
{
    (void)context;
    for (uint64_t i = 0; i < pages; i++) {
        const uint64_t page = machine_page(i, pages, at.ram);
        memcpy(at.to + page, at.from + page, VMXC_PAGE_SIZE);
    }
}

static void write_and_restore(void *context, uint64_t pages)
{
    write_pages(context, pages);
    restore(context, pages);
}

/* ---- Cases ---- */

/* clang-format off */
#define OPERATION(text, how_often, before, function, pages)                            \
    .name = text, .unit = "call", .units = 1, .repeats = how_often, .prepare = before, \
    .run = function, .argument = pages

#define FLOOR(pages, size) "floor: memcpy of " #pages " pages, " size

#define FLOOR_CASE(pages, how_often, size) \
    OPERATION(FLOOR(pages, size), how_often, write_plain, copy_plain, pages)

#define RESTORE_CASE(pages, how_often, size)                                                       \
    OPERATION("restore, " #pages " dirty pages, " size, how_often, write_pages, restore, pages), \
    .finish = check_restore

#define TAKE_CASE(pages, how_often, size) \
    OPERATION("snapshot, " #pages " dirty pages, " size, how_often, write_pages, take, pages)

#define WRITE_CASE(text, before)                                                         \
    .name = text, .unit = "page", .units = PAGES_MOST, .repeats = 10, .prepare = before, \
    .run = write_pages, .finish = restore, .argument = PAGES_MOST

#define SNAPSHOT_CASES(size)                                                        \
    {                                                                               \
        {RESTORE_CASE(0, 200, size)},                                               \
        {FLOOR_CASE(8, 200, size)},                                                 \
        {RESTORE_CASE(8, 200, size), .floor = FLOOR(8, size),                       \
         .target_kind = BENCH_RATIO, .target = 2, .target_plus = 1000},             \
        {FLOOR_CASE(64, 100, size)},                                                \
        {RESTORE_CASE(64, 100, size), .floor = FLOOR(64, size)},                    \
        {FLOOR_CASE(1024, 10, size)},                                               \
        {RESTORE_CASE(1024, 10, size), .floor = FLOOR(1024, size)},                 \
        {TAKE_CASE(0, 200, size)},                                                   \
        {TAKE_CASE(8, 200, size)},                                                   \
        {TAKE_CASE(64, 100, size)},                                                  \
        {TAKE_CASE(1024, 10, size)},                                                \
        {WRITE_CASE("first write to a page after a restore, " size, write_and_restore)}, \
        {WRITE_CASE("first write to a page after a snapshot, " size, take)},        \
    }

static const struct bench_case small_cases[] = SNAPSHOT_CASES("64 MiB");
static const struct bench_case middle_cases[] = SNAPSHOT_CASES("1 GiB");
static const struct bench_case large_cases[] = SNAPSHOT_CASES("16 GiB");
/* clang-format on */

#define CASES (sizeof(small_cases) / sizeof(small_cases[0]))

/* All pages that are written later have been written before: what the host does at the first write is not timed. */
static void start(uint64_t ram)
{
    at.ram = ram;
    at.machine = machine_make(ram);
    struct machine plain = machine_make(ram), source = machine_make(ram);
    at.plain = plain.memory;
    at.source = source.memory;
    vmxsim_cpu_destroy(plain.cpu);
    vmxsim_cpu_destroy(source.cpu);
    at.to = vmxsim_memory_pointer(at.plain, 0);
    at.from = vmxsim_memory_pointer(at.source, 0);
    for (uint64_t pages = 8; pages <= PAGES_MOST; pages *= 2) {
        for (uint64_t i = 0; i < pages; i++)
            vmxsim_memory_write64(at.source, machine_page(i, pages, ram), 1);
    }
    write_pages(NULL, PAGES_MOST);
    bench_require(vmxsim_snapshot_take(at.machine.memory) == VMXC_OK, "no snapshot");
}

static void measure_size(struct bench *bench, const struct bench_case *cases, uint64_t ram)
{
    if (!bench_wants(bench, cases, CASES))
        return;
    start(ram);
    bench_measure(bench, cases, CASES, NULL);
    vmxsim_memory_destroy(at.plain);
    vmxsim_memory_destroy(at.source);
    machine_destroy(&at.machine);
}

void machine_measure_snapshots(struct bench *bench)
{
    measure_size(bench, small_cases, 64 * MIB);
    measure_size(bench, middle_cases, GIB);
    measure_size(bench, large_cases, 16 * GIB);
}
