/* SPDX-License-Identifier: Apache-2.0 */
/* curves: snapshots, per dirty page from 1 to 16,384, in a machine of 64 MiB and in one of 16 GiB. x is the number of pages. */
#include <string.h>

#include "curves.h"
#include "vmxsim/snapshot.h"

static struct {
    struct vmxsim_memory *memory, *source, *target;
    uint8_t *to;
    const uint8_t *from;
    uint64_t ram, value;
} at;

static struct vmxsim_memory *make(uint64_t length)
{
    const struct vmxsim_range ram = {.base = 0, .length = length};
    const struct vmxsim_memory_config config = {.ram = &ram, .ram_count = 1, .no_poison = true};
    struct vmxsim_memory *memory;

    bench_require(vmxsim_memory_create(&config, &memory, NULL) == VMXC_OK, "no memory");
    return memory;
}

static uint64_t pages(uint64_t x)
{
    return x;
}

/* The i-th of `count` pages all over the machine; distances that are powers of two would share sets of caches. */
static uint64_t page_of(uint64_t i, uint64_t count)
{
    const uint64_t stride = at.ram / VMXC_PAGE_SIZE / count;
    return i * (stride > 1 ? (stride - 1) | 1 : 1) * VMXC_PAGE_SIZE;
}

static void write_pages(void *context, uint64_t count)
{
    (void)context;
    at.value++;
    for (uint64_t i = 0; i < count; i++)
        vmxsim_memory_write64(at.memory, page_of(i, count), at.value);
}

static void restore(void *context, uint64_t count)
{
    (void)context;
    (void)count;
    bench_require(vmxsim_snapshot_restore(at.memory, NULL) == VMXC_OK, "no restore");
}

static void take(void *context, uint64_t count)
{
    (void)context;
    (void)count;
    vmxsim_snapshot_drop(at.memory);
    bench_require(vmxsim_snapshot_take(at.memory) == VMXC_OK, "no snapshot");
}

static void write_plain(void *context, uint64_t count)
{
    (void)context;
    at.value++;
    for (uint64_t i = 0; i < count; i++)
        memcpy(at.to + page_of(i, count), &at.value, sizeof at.value);
}

static void copy_plain(void *context, uint64_t count)
{
    (void)context;
    for (uint64_t i = 0; i < count; i++)
        memcpy(at.to + page_of(i, count), at.from + page_of(i, count), VMXC_PAGE_SIZE);
}

static void measure(struct bench *bench, uint64_t ram, const struct curve *curves, size_t count)
{
    static const uint64_t x[] = {1, 4, 16, 64, 256, 1024, 4096, 16384};
    const size_t points = sizeof x / sizeof x[0];

    at.ram = ram;
    at.memory = make(ram);
    at.source = make(ram);
    at.target = make(ram);
    at.to = vmxsim_memory_pointer(at.target, 0);
    at.from = vmxsim_memory_pointer(at.source, 0);
    for (size_t point = 0; point < points; point++)
        for (uint64_t i = 0; i < x[point]; i++)
            vmxsim_memory_write64(at.source, page_of(i, x[point]), 1);
    write_pages(NULL, x[points - 1]);
    bench_require(vmxsim_snapshot_take(at.memory) == VMXC_OK, "no snapshot");
    for (size_t i = 0; i < count; i++)
        curve_measure(bench, &curves[i], x, points);
    vmxsim_memory_destroy(at.memory);
    vmxsim_memory_destroy(at.source);
    vmxsim_memory_destroy(at.target);
}

static const struct curve small[] = {
    {"dirty pages: memcpy, 64 MiB", "page", write_plain, copy_plain, NULL, pages},
    {"dirty pages: restore, 64 MiB", "page", write_pages, restore, NULL, pages},
    {"dirty pages: snapshot, 64 MiB", "page", write_pages, take, NULL, pages},
};

static const struct curve large[] = {
    {"dirty pages: memcpy, 16 GiB", "page", write_plain, copy_plain, NULL, pages},
    {"dirty pages: restore, 16 GiB", "page", write_pages, restore, NULL, pages},
    {"dirty pages: snapshot, 16 GiB", "page", write_pages, take, NULL, pages},
};

void curves_measure_dirty_pages(struct bench *bench)
{
    measure(bench, 64 * MIB, small, sizeof small / sizeof small[0]);
    measure(bench, 16 * GIB, large, sizeof large / sizeof large[0]);
}
