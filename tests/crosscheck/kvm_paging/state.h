/* SPDX-License-Identifier: Apache-2.0 */
/* The processor state that an experiment needs, from the VMCS of a vector. */
#ifndef KVM_PAGING_STATE_H
#define KVM_PAGING_STATE_H

#include <stdbool.h>
#include <stdint.h>

enum paging_mode { PAGING_32BIT, PAGING_PAE, PAGING_4_LEVEL, PAGING_5_LEVEL };

struct state {
    uint64_t cr0, cr3, cr4, efer;
    uint64_t pdpte[4]; /* PAE paging */
    enum paging_mode mode;
    bool mode_64bit; /* of the code */
    bool user;       /* CPL 3, otherwise 0 */
    bool alignment_check;
    uint32_t pkru;
};

/* Levels of paging structures; PAE paging counts its PDPTE registers. */
unsigned state_levels(const struct state *state);
unsigned state_entry_size(const struct state *state);
unsigned state_index_bits(const struct state *state);
/* Lowest bit of the linear address that selects an entry of `level`. */
unsigned state_shift(const struct state *state, unsigned level);
/* Where the top paging structure lies. */
uint64_t state_root(const struct state *state);

#endif
