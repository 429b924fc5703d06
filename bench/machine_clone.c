/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_machine: clones of a machine in which every page of 1 GiB has been written. `frames` counts 4-KByte pages of host memory
 * that belong to this process alone, by what the host says.
 */
#include <stdio.h>

#include "machine.h"

enum { WRITES = 4096 }; /* pages of a clone that are written */

static struct {
    struct machine machine;
    struct vmxsim_memory *clone;
    uint64_t pages_before, pages;
} at;

/* Of this process; 0 where the host does not say. */
static uint64_t private_pages(void)
{
    FILE *const file = fopen("/proc/self/status", "r");
    unsigned long long kilobytes = 0;
    char line[200];

    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        if (sscanf(line, "RssAnon: %llu", &kilobytes) == 1)
            break;
    }
    if (file != NULL)
        (void)fclose(file);
    return kilobytes / (VMXC_PAGE_SIZE / 1024);
}

static void count_pages(void)
{
    const uint64_t now = private_pages();
    at.pages = now > at.pages_before ? now - at.pages_before : 0;
}

/* A machine that was never cloned. */
static void populate(void *context, uint64_t argument)
{
    (void)context;
    (void)argument;
    vmxsim_memory_reset(at.machine.memory);
    for (uint64_t hpa = 0; hpa < GIB; hpa += VMXC_PAGE_SIZE)
        vmxsim_memory_write64(at.machine.memory, hpa, machine_fresh());
    at.pages_before = private_pages();
}

static void write_some(void *context, uint64_t pages)
{
    (void)context;
    for (uint64_t i = 0; i < pages; i++)
        vmxsim_memory_write64(at.machine.memory, machine_page(i, pages, GIB), machine_fresh());
    at.pages_before = private_pages();
}

static void clone(void *context, uint64_t argument)
{
    (void)context;
    (void)argument;
    bench_require(vmxsim_memory_clone(at.machine.memory, &at.clone, NULL) == VMXC_OK, "no clone");
}

static void end(void *context, uint64_t argument)
{
    (void)context;
    (void)argument;
    count_pages();
    vmxsim_memory_destroy(at.clone);
}

static void make_clone(void *context, uint64_t argument)
{
    clone(context, argument);
    at.pages_before = private_pages();
}

static void write_clone(void *context, uint64_t argument)
{
    (void)context;
    (void)argument;
    for (uint64_t i = 0; i < WRITES; i++)
        vmxsim_memory_write64(at.clone, machine_page(i, WRITES, GIB), machine_fresh());
}

static void destroy_clone(void *context, uint64_t argument)
{
    (void)context;
    (void)argument;
    vmxsim_memory_destroy(at.clone);
}

static const struct bench_case cases[] = {
    {.name = "first clone, 1 GiB populated",
     .unit = "call",
     .units = 1,
     .prepare = populate,
     .run = clone,
     .finish = end,
     .frames = &at.pages},
    {.name = "next clone, 1 GiB populated",
     .unit = "call",
     .units = 1,
     .repeats = 10,
     .prepare = write_some,
     .run = clone,
     .finish = end,
     .frames = &at.pages},
    {.name = "next clone, 1 GiB populated, 64 pages written since",
     .unit = "call",
     .units = 1,
     .repeats = 10,
     .prepare = write_some,
     .run = clone,
     .finish = end,
     .argument = 64,
     .frames = &at.pages},
    {.name = "end of a clone, 1 GiB populated",
     .unit = "call",
     .units = 1,
     .repeats = 10,
     .prepare = make_clone,
     .run = destroy_clone},
    {.name = "first write to a page of a clone",
     .unit = "page",
     .units = WRITES,
     .prepare = make_clone,
     .run = write_clone,
     .finish = end,
     .frames = &at.pages},
};

void machine_measure_clones(struct bench *bench)
{
    const size_t count = sizeof cases / sizeof cases[0];

    if (!bench_wants(bench, cases, count))
        return;
    at.machine = machine_make(GIB);
    bench_measure(bench, cases, count, NULL);
    machine_destroy(&at.machine);
}
