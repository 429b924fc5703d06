/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two independent readings of the manual's paging chapter against each other: libvmxcore's software walk and the model's
 * walk, on random registers and random guest tables.
 */
#include <check.h>
#include <inttypes.h>
#include <stdio.h>

#include "support/suite.h"
#include "support/walk_trial.h"

#define SEED           UINT64_C(0x6775657374)
#define WALKS_PER_MODE 100000u

struct counts {
    unsigned ending[WALK_OTHER + 1];
    unsigned disagreements;
};

static void run_trial(enum guest_mode mode, uint64_t index, struct counts *counts)
{
    struct rng rng = rng_for_sequence(SEED + (uint64_t)mode, index);
    struct walk_trial trial;
    const bool agree = walk_trial_run(&trial, mode, &rng);

    counts->ending[trial.library.ending]++;
    if (agree)
        return;
    counts->disagreements++;
    if (counts->disagreements <= 5) {
        printf("walk %" PRIu64 ": ", index);
        walk_trial_print(&trial);
    }
}

START_TEST(library_and_model_agree)
{
    const enum guest_mode mode = (enum guest_mode)_i;
    struct counts counts = {.disagreements = 0};

    for (unsigned variant = 0; variant < WALK_TRIAL_VARIANTS; variant++) {
        walk_trial_start(variant);
        for (unsigned i = 0; i < WALKS_PER_MODE / WALK_TRIAL_VARIANTS; i++)
            run_trial(mode, (uint64_t)variant << 32 | i, &counts);
        walk_trial_end();
    }
    printf("%s: seed %#" PRIx64
           ", %u walks: %u translated, %u page faults, %u non-canonical, %u tables missing\n",
           guest_mode_names[mode], SEED, WALKS_PER_MODE, counts.ending[WALK_TRANSLATED],
           counts.ending[WALK_PAGE_FAULT], counts.ending[WALK_NON_CANONICAL],
           counts.ending[WALK_TABLE_MISSING]);
    ck_assert_msg(counts.disagreements == 0, "%u walks disagree", counts.disagreements);
    /* A test in which nothing translates, or everything does, would prove little. */
    ck_assert_uint_gt(counts.ending[WALK_TRANSLATED], WALKS_PER_MODE / 20);
    if (mode != GUEST_NONE)
        ck_assert_uint_gt(counts.ending[WALK_PAGE_FAULT], WALKS_PER_MODE / 20);
}
END_TEST

static Suite *suite(void)
{
    Suite *const s = suite_create("guest_walk_diff");
    TCase *const t = tcase_create("diff");

    tcase_set_timeout(t, 600);
    tcase_add_loop_test(t, library_and_model_agree, 0, GUEST_MODES);
    suite_add_tcase(s, t);
    return s;
}

int main(void)
{
    return run_suite(suite());
}
