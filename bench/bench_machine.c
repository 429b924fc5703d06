/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Times of whole machines: creation and end; machine_snapshot.c: snapshots; machine_clone.c: clones; machine_threads.c: several at
 * a time; machine_replay.c: recordings.
 */
#include "machine.h"

enum { MACHINES = 20 }; /* per run */

struct machine machine_make(uint64_t ram)
{
    const struct vmxsim_range range = {.base = 0, .length = ram};
    const struct vmxsim_memory_config config = {.ram = &range, .ram_count = 1, .no_poison = true};
    struct machine machine;

    bench_require(vmxsim_memory_create(&config, &machine.memory, NULL) == VMXC_OK, "no memory");
    bench_require(vmxsim_cpu_create(machine.memory, vmxsim_profile_builtin("icelake"),
                                    &machine.cpu) == VMXC_OK,
                  "no processor");
    return machine;
}

void machine_destroy(struct machine *machine)
{
    vmxsim_cpu_destroy(machine->cpu);
    vmxsim_memory_destroy(machine->memory);
}

/* Distances that are powers of two would put all pages into the same sets of caches. */
uint64_t machine_page(uint64_t i, uint64_t count, uint64_t ram)
{
    const uint64_t stride = ram / VMXC_PAGE_SIZE / count;
    return i * (stride > 1 ? (stride - 1) | 1 : 1) * VMXC_PAGE_SIZE;
}

uint64_t machine_fresh(void)
{
    static uint64_t value;
    return ++value;
}

static void make_and_destroy(void *context, uint64_t ram)
{
    (void)context;
    for (unsigned i = 0; i < MACHINES; i++) {
        struct machine machine = machine_make(ram);
        machine_destroy(&machine);
    }
}

#define LIFE(text, ram)                                                                      \
    {                                                                                        \
        .name = "create and destroy a machine, " text, .unit = "machine", .units = MACHINES, \
        .run = make_and_destroy, .argument = (ram)                                           \
    }

/* clang-format off */
static const struct bench_case cases[] = {
    LIFE("64 MiB", 64 * MIB),
    LIFE("1 GiB", GIB),
    LIFE("16 GiB", 16 * GIB),
};
/* clang-format on */

int main(int argc, char **argv)
{
    struct bench *bench =
        bench_start(argc, argv, "bench_machine",
                    "Times of whole machines: creation, snapshots, clones, several at a time, "
                    "recordings replayed.");
    bench_measure(bench, cases, sizeof(cases) / sizeof(cases[0]), NULL);
    machine_measure_snapshots(bench);
    machine_measure_clones(bench);
    machine_measure_threads(bench);
    machine_measure_replay(bench);
    return bench_end(bench);
}
