/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_machine: as many machines as threads, each used by one. An experiment: eight pages are written, a VM entry is checked, the
 * machine returns to its snapshot. Beside it stand steps of copying as many pages and of arithmetic for about as long as a
 * check, which say what the host gives to four threads.
 */
#include <pthread.h>
#include <stdalign.h>
#include <string.h>

#include "machine.h"
#include "vmxsim/entry_generate.h"

#define RAM       (64 * MIB)
#define VMCS_PAGE UINT64_C(0x11000)

enum { THREADS = 4, EXPERIMENTS = 20000, PAGES = 8, STEPS = EXPERIMENTS, NUMBERS = 400 };

struct worker {
    alignas(128) struct machine machine; /* no cache line belongs to two of them */
    struct vmxsim_vmcs vmcs;
    struct vmxsim_entry_processor processor;
    struct vmxsim_entry_report report;
    uint64_t random;
    uint8_t from[PAGES][VMXC_PAGE_SIZE], to[PAGES][VMXC_PAGE_SIZE];
};

static struct worker workers[THREADS];

/* ---- What a thread does ---- */

static void *experiment(void *context)
{
    struct worker *const worker = context;
    struct vmxsim_memory *const memory = worker->machine.memory;
    const struct vmxsim_entry_input input = {.vmcs = &worker->vmcs,
                                             .profile = vmxsim_profile_builtin("icelake"),
                                             .processor = &worker->processor,
                                             .memory = memory};

    for (unsigned i = 0; i < EXPERIMENTS; i++) {
        for (uint64_t page = 0; page < PAGES; page++)
            vmxsim_memory_write64(memory, machine_page(page, PAGES, RAM), i);
        vmxsim_entry_check(&input, &worker->report);
        bench_require(worker->report.violation_count == 0, "the valid VMCS breaks a rule");
        bench_require(vmxsim_snapshot_restore(memory, NULL) == VMXC_OK, "no restore");
    }
    return NULL;
}

static void *copy_and_calculate(void *context)
{
    struct worker *const worker = context;

    for (unsigned i = 0; i < STEPS; i++) {
        for (unsigned page = 0; page < PAGES; page++)
            memcpy(worker->to[page], worker->from[page], VMXC_PAGE_SIZE);
        for (unsigned number = 0; number < NUMBERS; number++)
            (void)bench_random(&worker->random, 2);
        worker->from[i % PAGES][0] = (uint8_t)(worker->to[0][0] + worker->random);
    }
    return NULL;
}

/* ---- Threads ---- */

static void run(void *(*what)(void *), uint64_t threads)
{
    pthread_t thread[THREADS];

    for (uint64_t i = 1; i < threads; i++)
        bench_require(pthread_create(&thread[i], NULL, what, &workers[i]) == 0, "no thread");
    (void)what(&workers[0]);
    for (uint64_t i = 1; i < threads; i++)
        bench_require(pthread_join(thread[i], NULL) == 0, "no end of a thread");
}

static void run_experiments(void *context, uint64_t threads)
{
    (void)context;
    run(experiment, threads);
}

static void run_plain(void *context, uint64_t threads)
{
    (void)context;
    run(copy_and_calculate, threads);
}

#define ONE_LOOP  "floor: copying and arithmetic, 1 thread"
#define MANY_LOOP "floor: copying and arithmetic, 4 threads"
#define ONE       "experiments, 1 machine"

static const struct bench_case cases[] = {
    {.name = ONE_LOOP, .unit = "step", .units = STEPS, .run = run_plain, .argument = 1},
    {.name = MANY_LOOP,
     .unit = "step",
     .units = (uint64_t)THREADS * STEPS,
     .run = run_plain,
     .argument = THREADS,
     .floor = ONE_LOOP},
    {.name = ONE,
     .unit = "experiment",
     .units = EXPERIMENTS,
     .run = run_experiments,
     .argument = 1},
    {.name = "experiments, 4 machines in 4 threads",
     .unit = "experiment",
     .units = (uint64_t)THREADS * EXPERIMENTS,
     .run = run_experiments,
     .argument = THREADS,
     .floor = ONE,
     .target_kind = BENCH_RATIO,
     .target = 1 / 3.7,
     .given = MANY_LOOP},
};

static void make_worker(struct worker *worker)
{
    worker->machine = machine_make(RAM);
    worker->processor = vmxsim_entry_processor_default(VMCS_PAGE);
    vmxsim_entry_round(vmxsim_profile_builtin("icelake"), &worker->processor, &worker->vmcs);
    bench_require(vmxsim_snapshot_take(worker->machine.memory) == VMXC_OK, "no snapshot");
}

void machine_measure_threads(struct bench *bench)
{
    const size_t count = sizeof cases / sizeof cases[0];

    if (!bench_wants(bench, cases, count))
        return;
    for (unsigned i = 0; i < THREADS; i++)
        make_worker(&workers[i]);
    bench_measure(bench, cases, count, NULL);
    for (unsigned i = 0; i < THREADS; i++)
        machine_destroy(&workers[i].machine);
}
