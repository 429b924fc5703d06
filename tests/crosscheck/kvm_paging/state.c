/* SPDX-License-Identifier: Apache-2.0 */
/* Source: Intel SDM volume 3, "Hierarchical Paging Structures: an Overview", "Use of CR3 with ..." tables. */
#include "state.h"

#include "vmxcore/defs/paging.h"

unsigned state_levels(const struct state *state)
{
    static const unsigned levels[] = {
        [PAGING_32BIT] = 2, [PAGING_PAE] = 3, [PAGING_4_LEVEL] = 4, [PAGING_5_LEVEL] = 5};

    return levels[state->mode];
}

unsigned state_entry_size(const struct state *state)
{
    return state->mode == PAGING_32BIT ? 4 : 8;
}

unsigned state_index_bits(const struct state *state)
{
    return state->mode == PAGING_32BIT ? 10 : 9;
}

unsigned state_shift(const struct state *state, unsigned level)
{
    return 12 + state_index_bits(state) * (level - 1);
}

uint64_t state_root(const struct state *state)
{
    switch (state->mode) {
    case PAGING_32BIT:
        return state->cr3 & VMXC_BITS(31, 12);
    case PAGING_PAE:
        return state->cr3 & VMXC_BITS(31, 5);
    default:
        return state->cr3 & VMXC_PTE_ADDRESS;
    }
}
