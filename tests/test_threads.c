/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Machines in threads of their own: as many as there are threads, each with its memory, processor and address space, all
 * with the same built-in profiles. A thread sees what it sees when it runs alone; the tsan configuration watches for
 * data they might share. So do clones of one machine, which share pages. One machine used from two threads is wrong
 * (memory.h), and not tested.
 */
#include <check.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/machine.h"
#include "support/require.h"
#include "support/space_sequence.h"
#include "support/suite.h"
#include "vmxsim/entry_generate.h"
#include "vmxsim/explain.h"
#include "vmxsim/snapshot.h"

#define SEED UINT64_C(0x74687265)

enum { THREADS = 8, SEQUENCES = 6, OPERATIONS = 60, STATES = 40, CLONED_PAGES = 256 };

/* What one thread does, and what came of it. */
struct job {
    uint64_t number;
    struct vmxsim_digest digest; /* of all memory that it used */
    uint64_t violations;
    bool agrees;
};

static void add_digest(struct job *job, const struct vmxsim_memory *memory)
{
    const struct vmxsim_digest digest = vmxsim_memory_digest(memory);

    job->digest.low = job->digest.low * 31 + digest.low;
    job->digest.high = job->digest.high * 31 + digest.high;
}

/* Operations on an address space, watched by the model and a shadow map. */
static void run_sequences(struct job *job)
{
    const struct vmxsim_range ram = {.base = 0, .length = MACHINE_RAM};
    const struct vmxsim_memory_config config = {.ram = &ram, .ram_count = 1};
    const struct vmxc_ept_config *ept =
        &space_sequence_configs[job->number % SPACE_SEQUENCE_CONFIGS];
    struct vmxsim_profile *const profile = space_sequence_profile(ept);
    struct space_sequence *const run = calloc(1, sizeof(*run));
    struct vmxsim_memory *memory;
    struct vmxsim_cpu *cpu;

    require_that(run != NULL && vmxsim_memory_create(&config, &memory, NULL) == VMXC_OK &&
                 vmxsim_cpu_create(memory, profile, &cpu) == VMXC_OK);
    for (uint64_t i = 0; i < SEQUENCES; i++) {
        const uint64_t index = job->number << 32 | i;
        job->agrees =
            job->agrees && space_sequence_run(run, memory, cpu, ept, rng_for_sequence(SEED, index),
                                              rng_for_sequence(~SEED, index), OPERATIONS);
        add_digest(job, memory);
    }
    vmxsim_cpu_destroy(cpu);
    vmxsim_memory_destroy(memory);
    vmxsim_profile_destroy(profile);
    free(run);
}

/* Valid states, broken in up to four ways, checked and explained. */
static void run_checks(struct job *job)
{
    static const char *const profiles[] = {"icelake", "skylake", "tigerlake", "everything"};
    const struct vmxsim_profile *profile = vmxsim_profile_builtin(profiles[job->number % 4]);
    const struct vmxsim_entry_processor processor = vmxsim_entry_processor_default(0x1000);
    struct vmxsim_entry_report *const report = malloc(sizeof(*report));
    uint64_t random = SEED + job->number;

    require_that(report != NULL);
    for (uint32_t i = 0; i < STATES; i++) {
        struct vmxsim_vmcs vmcs;
        struct vmxsim_entry_broken broken;
        memset(&vmcs, (int)i, sizeof(vmcs));
        vmxsim_entry_round(profile, &processor, &vmcs);
        vmxsim_entry_break(profile, &vmcs, i % 5, &random, &broken);
        const struct vmxsim_entry_input input = {
            .vmcs = &vmcs, .profile = profile, .processor = &processor};
        vmxsim_entry_check(&input, report);
        char *const text = vmxsim_explain_entry(&input, report);
        job->violations += report->violation_count + (text != NULL ? strlen(text) : 0);
        free(text);
    }
    free(report);
}

static void *run_job(void *context)
{
    struct job *const job = context;

    job->agrees = true;
    run_checks(job);
    run_sequences(job);
    return NULL;
}

/* The threads come first: the built-in profiles are parsed by whoever needs them first. */
START_TEST(threads_do_not_see_each_other)
{
    struct job together[THREADS], alone[THREADS];
    pthread_t threads[THREADS];

    memset(together, 0, sizeof(together));
    memset(alone, 0, sizeof(alone));
    for (unsigned i = 0; i < THREADS; i++) {
        together[i].number = alone[i].number = i;
        ck_assert_int_eq(pthread_create(&threads[i], NULL, run_job, &together[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    for (unsigned i = 0; i < THREADS; i++) {
        (void)run_job(&alone[i]);
        ck_assert_msg(together[i].agrees, "thread %u: its views of memory disagree", i);
        ck_assert_uint_eq(together[i].violations, alone[i].violations);
        ck_assert_uint_eq(together[i].digest.low, alone[i].digest.low);
        ck_assert_uint_eq(together[i].digest.high, alone[i].digest.high);
    }
}
END_TEST

/* What two machines write all the time is never on one cache line; where a machine begins tells. */
START_TEST(machines_share_no_cache_line)
{
    enum { LINE = 64 };
    const struct vmxsim_range ram = {.base = 0, .length = MACHINE_RAM};
    const struct vmxsim_memory_config config = {.ram = &ram, .ram_count = 1};
    struct vmxsim_memory *memory[THREADS];
    struct vmxsim_cpu *cpu[THREADS];

    for (unsigned i = 0; i < THREADS; i++) {
        require_that(vmxsim_memory_create(&config, &memory[i], NULL) == VMXC_OK);
        require_that(vmxsim_cpu_create(memory[i], vmxsim_profile_builtin("icelake"), &cpu[i]) ==
                     VMXC_OK);
        ck_assert_uint_eq((uintptr_t)memory[i] % LINE, 0);
        ck_assert_uint_eq((uintptr_t)cpu[i] % LINE, 0);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        vmxsim_cpu_destroy(cpu[i]);
        vmxsim_memory_destroy(memory[i]);
    }
}
END_TEST

/* ---- Clones, which share pages that nobody has written ---- */

struct cloned {
    uint64_t number;
    struct vmxsim_memory *memory;
    bool right;
};

/* Writes to a clone, clones it, and destroys it before the clone's clone. */
static void *use_clone(void *context)
{
    struct cloned *const job = context;
    struct vmxsim_memory *clone;

    for (uint64_t page = job->number; page < CLONED_PAGES; page += THREADS)
        vmxsim_memory_write64(job->memory, page * VMXC_PAGE_SIZE, ~page);
    require_that(vmxsim_memory_clone(job->memory, &clone, NULL) == VMXC_OK);
    vmxsim_memory_destroy(job->memory);
    job->right = true;
    for (uint64_t page = 0; page < CLONED_PAGES; page++) {
        const uint64_t value = vmxsim_memory_read64(clone, page * VMXC_PAGE_SIZE);
        job->right &= value == (page % THREADS == job->number ? ~page : page);
    }
    vmxsim_memory_destroy(clone);
    return NULL;
}

START_TEST(clones_of_one_machine_do_not_see_each_other)
{
    const struct vmxsim_range ram = {.base = 0, .length = CLONED_PAGES * VMXC_PAGE_SIZE};
    const struct vmxsim_memory_config config = {.ram = &ram, .ram_count = 1};
    struct vmxsim_memory *memory;
    struct cloned jobs[THREADS];
    pthread_t threads[THREADS];

    require_that(vmxsim_memory_create(&config, &memory, NULL) == VMXC_OK);
    for (uint64_t page = 0; page < CLONED_PAGES; page++)
        vmxsim_memory_write64(memory, page * VMXC_PAGE_SIZE, page);
    for (unsigned i = 0; i < THREADS; i++) {
        jobs[i] = (struct cloned){.number = i};
        require_that(vmxsim_memory_clone(memory, &jobs[i].memory, NULL) == VMXC_OK);
        ck_assert_int_eq(pthread_create(&threads[i], NULL, use_clone, &jobs[i]), 0);
    }
    vmxsim_memory_destroy(memory);
    for (unsigned i = 0; i < THREADS; i++) {
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
        ck_assert_msg(jobs[i].right, "thread %u: a page is not what it wrote", i);
    }
}
END_TEST

int main(void)
{
    Suite *const suite = suite_create("threads");
    TCase *const tests = tcase_create("threads");

    tcase_add_test(tests, threads_do_not_see_each_other);
    tcase_add_test(tests, machines_share_no_cache_line);
    tcase_add_test(tests, clones_of_one_machine_do_not_see_each_other);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
