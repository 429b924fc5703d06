/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One walk of guest paging structures by libvmxcore's software walk and by the model, on registers and tables that somebody
 * chooses: a seed in the differential test, bytes in a fuzz harness. Outcome, address, rights, error code and the
 * accessed and dirty flags must agree.
 */
#ifndef VMXSIM_TESTS_WALK_TRIAL_H
#define VMXSIM_TESTS_WALK_TRIAL_H

#include "support/machine.h"
#include "support/rng.h"
#include "vmxcore/guest_paging.h"

/* Processors that reserve different bits. */
#define WALK_TRIAL_VARIANTS 5u

/* One random situation. */
struct walk_situation {
    enum guest_mode mode;
    struct vmxc_guest_registers registers;
    struct vmxsim_access access;
    unsigned entries;      /* in memory */
    uint64_t entry_gpa[5]; /* top first */
    uint64_t entry[5];
};

enum walk_ending {
    WALK_TRANSLATED,
    WALK_PAGE_FAULT,
    WALK_NON_CANONICAL,
    WALK_TABLE_MISSING,
    WALK_OTHER
};

/* What a walk came to, in terms of both halves. */
struct walk_result {
    enum walk_ending ending;
    uint64_t gpa; /* of the byte, or of the missing table's entry */
    bool detailed;
    uint64_t page_size;
    bool user, writable, no_execute;
    unsigned protection_key;
    uint32_t error_code;
    uint64_t cr2;
    uint64_t entry[5]; /* afterwards */
};

/* A situation and what both made of it. */
struct walk_trial {
    struct walk_situation situation;
    struct walk_result library, model;
    struct vmxsim_outcome outcome; /* the model's own words */
};

/* The machine of the trials that follow, in the state in which every start finds it; ends with all of them. */
void walk_trial_start(unsigned variant);
void walk_trial_end(void);

/* False: they disagree. */
bool walk_trial_run(struct walk_trial *trial, enum guest_mode mode, struct rng *rng);
void walk_trial_print(const struct walk_trial *trial);

#endif
