/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Unmapping: revoke, invalidate, sweep.
 *
 * Revoking takes the rights from the topmost entries that lie wholly in the range, one store for a whole
 * table, and from tables that would be left empty. The sweep then follows the held entries and gives back what
 * hangs from them; whatever it reaches, no processor can reach any more.
 */
#include "internal/ept.h"

/* True if an entry of `node` other than [first, last] is used. Looks at the neighbours first. */
static bool is_used_outside(const struct vmxc_ept_node *node, unsigned first, unsigned last)
{
    unsigned below = first;
    unsigned above = last + 1;

    while (below > 0 || above < VMXC_EPT_ENTRIES_PER_TABLE) {
        if (below > 0 && vmxc_ept_load(node, --below) != 0)
            return true;
        if (above < VMXC_EPT_ENTRIES_PER_TABLE && vmxc_ept_load(node, above++) != 0)
            return true;
    }
    return false;
}

/*
 * Takes everything in [gpa, end) out of the processor's sight; *due says whether anything was in it.
 * Returns true if the table maps something outside the range, so that it must stay.
 */
static bool revoke(const struct vmxc_ept *ept, const struct vmxc_ept_node *node, vmxc_gpa_t gpa,
                   vmxc_gpa_t end, bool *due)
{
    const unsigned first = vmxc_ept_index(gpa, node->level);
    const unsigned last = vmxc_ept_index(end - 1, node->level);
    bool remains = false;

    for (vmxc_gpa_t next; gpa < end; gpa = next) {
        next = vmxc_ept_part_end(gpa, end, node->level);
        const unsigned index = vmxc_ept_index(gpa, node->level);
        const uint64_t raw = vmxc_ept_load(node, index);
        if (!vmxc_ept_is_present(ept, raw))
            continue; /* empty, or a held leaf: out of sight already */
        if (next - gpa != VMXC_EPT_ENTRY_SPAN(node->level)) {
            const struct vmxc_ept_node child = vmxc_ept_child(ept, node, raw);
            if (revoke(ept, &child, gpa, next, due)) {
                remains = true;
                continue;
            }
        }
        vmxc_ept_store(ept, node, index, vmxc_ept_hold(ept, raw));
        *due = true;
    }
    return remains || is_used_outside(node, first, last);
}

/* The 4-KByte pages of a range: the innermost loop of unmapping. */
static void sweep_pages(const struct vmxc_ept *ept, const struct vmxc_ept_node *node,
                        vmxc_gpa_t gpa, vmxc_gpa_t end, vmxc_ept_release_fn release, void *context)
{
    for (unsigned index = vmxc_ept_index(gpa, 1); gpa < end; gpa += VMXC_PAGE_SIZE, index++) {
        const uint64_t raw = vmxc_ept_load(node, index);
        if (raw == 0)
            continue;
        if (release != NULL)
            release(context, gpa, raw & VMXC_EPT_ADDRESS, VMXC_PAGE_SIZE);
        if (node->reachable)
            vmxc_ept_store(ept, node, index, 0);
    }
}

void vmxc_ept_sweep(const struct vmxc_ept *ept, const struct vmxc_ept_node *node, vmxc_gpa_t gpa,
                    vmxc_gpa_t end, vmxc_ept_release_fn release, void *context)
{
    if (node->level == 1) {
        /* A table that goes with all its entries needs no sweep if nobody asks for the pages. */
        if (node->reachable || release != NULL)
            sweep_pages(ept, node, gpa, end, release, context);
        return;
    }
    for (vmxc_gpa_t next; gpa < end; gpa = next) {
        next = vmxc_ept_part_end(gpa, end, node->level);
        const unsigned index = vmxc_ept_index(gpa, node->level);
        const uint64_t raw = vmxc_ept_load(node, index);
        if (raw == 0)
            continue;
        if (!vmxc_ept_is_leaf(raw, node->level)) {
            const struct vmxc_ept_node child = vmxc_ept_child(ept, node, raw);
            vmxc_ept_sweep(ept, &child, gpa, next, release, context);
            if (child.reachable)
                continue; /* it maps something outside the range */
            vmxc_hal_free_frame(ept->hal, child.hpa);
        } else if (release != NULL) {
            release(context, gpa, raw & VMXC_EPT_ADDRESS, VMXC_EPT_ENTRY_SPAN(node->level));
        }
        if (node->reachable)
            vmxc_ept_store(ept, node, index, 0);
    }
}

enum vmxc_status vmxc_ept_unmap(struct vmxc_ept *ept, vmxc_gpa_t gpa, uint64_t size,
                                vmxc_ept_release_fn release, void *context)
{
    struct vmxc_ept_reserve reserve;
    vmxc_gpa_t end = 0;

    VMXC_TRY(vmxc_ept_check_range(ept, gpa, size, &end));
    VMXC_TRY(vmxc_ept_reserve(ept, gpa, end, &reserve));
    vmxc_ept_forget(ept);
    const struct vmxc_ept_node root = vmxc_ept_root_node(ept);
    bool due = vmxc_ept_split(ept, gpa, end, &reserve);
    (void)revoke(ept, &root, gpa, end, &due); /* the root stays in any case */
    if (due)
        vmxc_ept_invalidate(ept);
    vmxc_ept_sweep(ept, &root, gpa, end, release, context);
    return VMXC_OK;
}
