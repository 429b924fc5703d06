/* SPDX-License-Identifier: Apache-2.0 */
#include "open_flags.h"

#include "vector.h"
#include "vmxcore/defs/paging.h"

static void add_mask(json_t *open, uint64_t entry_gpa, uint64_t flags)
{
    const uint64_t word = entry_gpa & ~UINT64_C(7);
    uint64_t mask = flags << 8 * (entry_gpa - word);
    const json_t *const known = json_object_get(open, vector_hex(word).text);

    if (known)
        mask |= vector_number(known);
    (void)json_object_set_new(open, vector_hex(word).text, json_string(vector_hex(mask).text));
}

static bool maps_page(const struct state *state, uint64_t entry, unsigned level)
{
    if (level == 1)
        return true;
    if (level > 3 || !(entry & VMXC_PTE_PAGE_SIZE))
        return false;
    return state->mode != PAGING_32BIT || (state->cr4 & VMXC_CR4_PSE);
}

/* PAE paging: the PDPTE is a register, the walk in memory starts below it. */
static uint64_t first_table(const struct state *state, uint64_t linear, unsigned *level)
{
    *level = state_levels(state);
    if (state->mode != PAGING_PAE)
        return state_root(state);
    *level = 2;
    return state->pdpte[linear >> 30 & 3] & VMXC_PTE_ADDRESS;
}

static void add_page(struct machine *machine, const struct state *state, uint64_t linear,
                     uint64_t leaf_flags, json_t *open)
{
    const unsigned size = state_entry_size(state);
    const uint64_t index_mask = (UINT64_C(1) << state_index_bits(state)) - 1;
    unsigned level;
    uint64_t table = first_table(state, linear, &level);

    for (;; level--) {
        const uint64_t gpa = table + size * (linear >> state_shift(state, level) & index_mask);
        const uint8_t *const bytes = machine_ram(machine, gpa, size);
        const uint64_t entry = bytes ? vector_load(bytes, size) : 0;
        const bool leaf = maps_page(state, entry, level);
        if (!(entry & VMXC_PTE_PRESENT))
            return;
        add_mask(open, gpa, leaf ? leaf_flags : VMXC_PTE_ACCESSED);
        if (leaf)
            return;
        table = entry & VMXC_PTE_ADDRESS;
    }
}

/*
 * The page that faulted, and if there are two, the other: it may have been translated before. A first page may
 * have been marked as written, too.
 */
void open_flags_add(struct machine *machine, const struct state *state, const struct access *access,
                    uint64_t fault, json_t *open)
{
    const uint64_t last = access->linear + access->size - 1;

    add_page(machine, state, access->linear,
             fault == access->linear ? VMXC_PTE_ACCESSED : VMXC_PTE_ACCESSED | VMXC_PTE_DIRTY,
             open);
    if (access->linear / PAGE_SIZE != last / PAGE_SIZE)
        add_page(machine, state, last, VMXC_PTE_ACCESSED, open);
}
