/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random sequences of operations on a guest address space: libvmxcore's own queries, the model's walk and a shadow map
 * must agree on every touched page after each operation, on the whole map at the end of each sequence, and no frame may
 * be left, lost or given back twice.
 *
 *     test_differential [--sequences N] [--first K] [--operations N] [--seed S]
 *
 * The environment variable VMXSIM_SEED sets the seed too. Sequence K of a seed is the same however many run before it,
 * so ranges of sequences can run side by side, and `--first K --sequences 1` repeats one.
 */
#include "support/machine.h"
#include "support/space_sequence.h"

#include <check.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct {
    uint64_t sequences, first, operations, seed;
} options = {.sequences = 300, .operations = 200, .seed = 20260101};

/* Sequence `number` of the seed: the same however many run before it. */
static bool run_sequence(struct space_sequence *run, struct vmxsim_memory *memory,
                         struct vmxsim_cpu *const cpus[SPACE_SEQUENCE_CONFIGS], uint64_t number)
{
    const size_t config = number % SPACE_SEQUENCE_CONFIGS;

    return space_sequence_run(run, memory, cpus[config], &space_sequence_configs[config],
                              rng_for_sequence(options.seed, number),
                              rng_for_sequence(~options.seed, number), options.operations);
}

START_TEST(all_views_agree)
{
    struct vmxsim_profile *profiles[SPACE_SEQUENCE_CONFIGS];
    struct vmxsim_cpu *cpus[SPACE_SEQUENCE_CONFIGS];
    struct machine machine;
    struct space_sequence *const run = calloc(1, sizeof(*run)); /* too large for the stack */

    ck_assert_ptr_nonnull(run);
    machine_init(&machine, NULL);
    for (size_t i = 0; i < SPACE_SEQUENCE_CONFIGS; i++) {
        profiles[i] = space_sequence_profile(&space_sequence_configs[i]);
        ck_assert_int_eq(vmxsim_cpu_create(machine.memory, profiles[i], &cpus[i]), VMXC_OK);
    }
    const uint64_t last = options.first + options.sequences;
    for (uint64_t number = options.first; number < last; number++) {
        if (!run_sequence(run, machine.memory, cpus, number)) {
            printf("\nseed %" PRIu64 ", sequence %" PRIu64 ", operation %zu: ", options.seed,
                   number, run->count);
            space_sequence_print(run);
            ck_abort_msg("sequence %" PRIu64 ": %s", number, run->check.message);
        }
    }
    space_tally_print(&run->tally);
    free(run);
    for (size_t i = 0; i < SPACE_SEQUENCE_CONFIGS; i++) {
        vmxsim_cpu_destroy(cpus[i]);
        vmxsim_profile_destroy(profiles[i]);
    }
    machine_fini(&machine);
}
END_TEST

/* ---- Command line ---- */

static bool parse(int count, char **arguments)
{
    const struct {
        const char *name;
        uint64_t *value;
    } known[] = {{"--sequences", &options.sequences},
                 {"--first", &options.first},
                 {"--operations", &options.operations},
                 {"--seed", &options.seed}};
    for (int i = 1; i < count; i++) {
        bool found = false;
        for (size_t k = 0; k < sizeof(known) / sizeof(known[0]) && i + 1 < count; k++) {
            char *end;
            if (strcmp(arguments[i], known[k].name) != 0)
                continue;
            *known[k].value = strtoull(arguments[++i], &end, 0);
            found = *end == '\0';
            break;
        }
        if (!found)
            return false;
    }
    return true;
}

int main(int count, char **arguments)
{
    const char *seed = getenv("VMXSIM_SEED");
    if (seed != NULL)
        options.seed = strtoull(seed, NULL, 0);
    if (!parse(count, arguments)) {
        fprintf(stderr, "usage: %s [--sequences N] [--first K] [--operations N] [--seed S]\n",
                arguments[0]);
        return 2;
    }
    printf("seed %" PRIu64 ", sequences %" PRIu64 " to %" PRIu64 ", %" PRIu64 " operations each\n",
           options.seed, options.first, options.first + options.sequences - 1, options.operations);

    Suite *s = suite_create("differential");
    TCase *sequences = tcase_create("sequences");
    tcase_add_test(sequences, all_views_agree);
    suite_add_tcase(s, sequences);
    SRunner *runner = srunner_create(s);
    srunner_set_fork_status(runner, CK_NOFORK); /* a run may take minutes */
    srunner_run_all(runner, CK_NORMAL);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
