/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random operations on a guest address space: libvmxcore's own queries, the model's walk and a shadow map must agree on
 * every touched page after each operation, on the whole map at the end, and no frame may be left, lost or given back twice.
 * Whoever supplies the choices decides what is done: a seed in the differential test, bytes in a fuzz harness.
 */
#ifndef VMXSIM_TESTS_SPACE_SEQUENCE_H
#define VMXSIM_TESTS_SPACE_SEQUENCE_H

#include "support/space_check.h"

#define SPACE_SEQUENCE_MAX     4096u
#define SPACE_SEQUENCE_CONFIGS 6u

extern const struct vmxc_ept_config space_sequence_configs[SPACE_SEQUENCE_CONFIGS];

enum space_operation_kind {
    MAP_LINEAR,
    MAP_ALLOC,
    REPLACE_LINEAR,
    REPLACE_ALLOC,
    UNMAP,
    PROTECT,
    FAULT,
    BUFFER,
    MERGE,
    CLEAR,
    SPACE_OPERATIONS
};

struct space_operation {
    enum space_operation_kind kind;
    uint64_t gpa, size, hpa;
    uint32_t flags;
    bool populate;
    uint64_t fail_nth; /* 0: no injected failure */
    int result;        /* status, or fault result */
    bool protects;     /* MERGE: the range got RWX first */
    bool refused;      /* the result is none of those that were expected ... */
    int expected;      /* ... of which this is one */
};

/* How often each operation came to each result: a run in which nothing succeeds would prove little. */
#define SPACE_RESULTS 16
struct space_tally {
    uint64_t results[SPACE_OPERATIONS][SPACE_RESULTS];
    uint64_t splits, merges;
};

/* Zeroed by the caller before the first run; too large for the stack. */
struct space_sequence {
    struct rng rng;
    const struct vmxc_ept_config *config;
    struct vmxsim_memory *memory;
    struct vmxc_addrspace space;
    struct shadow shadow;
    struct space_check check;
    bool inject;
    uint64_t end; /* of the space */
    uint64_t frames_before, invalidations_before;
    size_t count;
    struct space_operation log[SPACE_SEQUENCE_MAX];
    struct space_tally tally; /* of all runs */
};

/*
 * One sequence on a memory that it resets: `choices` says what is done, `looks` where it is looked at besides. Ends after
 * `operations`, or when the choices are spent. False: run->check.message says what differs.
 */
bool space_sequence_run(struct space_sequence *run, struct vmxsim_memory *memory,
                        struct vmxsim_cpu *cpu, const struct vmxc_ept_config *config,
                        struct rng choices, struct rng looks, uint64_t operations);

/* The difference, the configuration and every operation of the last run. */
void space_sequence_print(const struct space_sequence *run);
void space_tally_print(const struct space_tally *tally);

/* The profile of a processor that has what the configuration uses and no more; the caller destroys it. */
struct vmxsim_profile *space_sequence_profile(const struct vmxc_ept_config *config);

#endif
