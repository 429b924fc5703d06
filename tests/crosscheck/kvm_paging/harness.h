/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What runs in the guest around an experiment: one instruction that makes the access, descriptor tables, and a
 * handler that halts for each vector.
 *
 * All of it lies in pages that are not RAM of the experiment, behind one entry of the guest's top paging structure
 * that the experiment cannot reach (harness_choose_slot). That entry is put there for the run and taken away again.
 * All its accessed and dirty flags are 1 from the start, so nothing of it changes.
 *
 *   page  0..3  paging structures, levels 1..4      page 7  stack
 *         4     GDT and TSS                              8  code, supervisor page
 *         5     IDT                                      9  the same code, user page
 *         6     handlers
 */
#ifndef KVM_PAGING_HARNESS_H
#define KVM_PAGING_HARNESS_H

#include "machine.h"
#include "state.h"

#define HARNESS_GPA   UINT64_C(0xf0000000) /* below 4 GBytes, for 32-bit paging */
#define HARNESS_PAGES 9u                   /* physical; the last is mapped twice */
#define HARNESS_SIZE  (HARNESS_PAGES * PAGE_SIZE)

#define VECTOR_BP 3u
#define VECTOR_GP 13u
#define VECTOR_PF 14u

/* One access of a case. */
struct access {
    enum { ACCESS_FETCH, ACCESS_READ, ACCESS_WRITE, ACCESS_RMW } type;
    uint64_t linear;
    unsigned size;
    uint8_t value[16]; /* what is stored, little-endian */
};

/* The entry of the top paging structure that leads to the harness. */
struct harness_slot {
    uint64_t entry_gpa; /* where the entry lies */
    uint64_t linear;    /* first address it maps */
    uint64_t saved;     /* what the experiment has there */
    unsigned index;
};

/* How the guest's code ended. */
struct ending {
    bool complete; /* or, by an exception: */
    unsigned vector;
    uint32_t error_code; /* meaningful if the vector has one */
    uint64_t cr2;
};

/* Whether delivery of this exception pushes an error code. */
bool harness_has_error_code(unsigned vector);

/* Fills the pages that do not depend on the experiment. */
void harness_fill(struct machine *machine);

/* Fills what depends on the paging mode, and puts the slot's entry into the guest's tables. */
bool harness_install(struct machine *machine, const struct state *state,
                     const struct access *accesses, size_t count, struct harness_slot *slot,
                     struct reason *why);
/* Takes the entry away; false: the run has changed it. */
bool harness_remove(struct machine *machine, const struct state *state,
                    const struct harness_slot *slot, struct reason *why);

/* Makes one access. `data` receives what a read got. False: it cannot be made, or ended in an unknown way. */
bool harness_access(struct machine *machine, const struct state *state,
                    const struct harness_slot *slot, const struct access *access,
                    struct ending *ending, uint8_t data[16], struct reason *why);

/* Loads PKRU with the instruction for it. */
bool harness_load_pkru(struct machine *machine, const struct state *state,
                       const struct harness_slot *slot, struct reason *why);

#endif
