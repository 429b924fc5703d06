/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Splitting large pages at the boundaries of a range.
 *
 *        gpa                      end
 *         |                        |
 *     [ 1-GByte page          ] [ 2-MByte page ]
 *     [2M][2M][2M][2M] ... [2M] [4K][4K]...[4K]
 *         ^ one split, or two if gpa is not 2-MByte aligned
 *
 * A child table is complete before one store replaces the page by it. Every address keeps its translation, but
 * the page size of a present entry changes, so an invalidation is due.
 */
#include "internal/ept.h"

static bool is_inside(vmxc_gpa_t boundary, unsigned level)
{
    return (boundary & (VMXC_EPT_ENTRY_SPAN(level) - 1)) != 0;
}

/* Finds the table whose entry for `boundary` is a page that lies on both sides of it. */
static bool find_crossing(const struct vmxc_ept *ept, vmxc_gpa_t boundary,
                          struct vmxc_ept_node *node)
{
    if (!is_inside(boundary, VMXC_PAGE_LEVEL_1G))
        return false; /* a multiple of 1 GByte lies in no page */
    return vmxc_ept_descend(ept, boundary, node) != 0 && is_inside(boundary, node->level);
}

/* The level of the page that lies on both sides of `boundary`; 1 if there is none. */
static unsigned crossing_level(const struct vmxc_ept *ept, vmxc_gpa_t boundary)
{
    struct vmxc_ept_node node;

    return find_crossing(ept, boundary, &node) ? node.level : 1;
}

/* How many tables cutting at `gpa` and `end` takes; a table that serves both cuts counts once. */
static unsigned tables_needed(const struct vmxc_ept *ept, vmxc_gpa_t gpa, vmxc_gpa_t end)
{
    const unsigned gpa_level = crossing_level(ept, gpa);
    const unsigned end_level = crossing_level(ept, end);
    unsigned count = 0;

    for (unsigned level = VMXC_PAGE_LEVEL_2M; level <= VMXC_PAGE_LEVEL_1G; level++) {
        const bool cut_gpa = level <= gpa_level && is_inside(gpa, level);
        const bool cut_end = level <= end_level && is_inside(end, level);
        const bool same = (gpa ^ end) < VMXC_EPT_ENTRY_SPAN(level);
        count += cut_gpa && cut_end && same ? 1u : (unsigned)cut_gpa + (unsigned)cut_end;
    }
    return count;
}

enum vmxc_status vmxc_ept_reserve(const struct vmxc_ept *ept, vmxc_gpa_t gpa, vmxc_gpa_t end,
                                  struct vmxc_ept_reserve *reserve)
{
    const unsigned needed = tables_needed(ept, gpa, end);

    for (reserve->count = 0; reserve->count < needed; reserve->count++) {
        const enum vmxc_status status = vmxc_ept_alloc_table(ept, &reserve->tables[reserve->count]);
        if (status == VMXC_OK)
            continue;
        while (reserve->count > 0)
            vmxc_hal_free_frame(ept->hal, reserve->tables[--reserve->count]);
        return status;
    }
    return VMXC_OK;
}

/* Fills `child` with the pages that the large page `raw` consists of: same rights, type and flags. */
static void fill_with_parts(const struct vmxc_ept *ept, const struct vmxc_ept_node *child,
                            uint64_t raw)
{
    uint64_t part = child->level == 1 ? raw & ~VMXC_EPT_LARGE_PAGE : raw;

    vmxc_hal_mark_dirty(ept->hal, child->hpa, VMXC_PAGE_SIZE);
    for (unsigned i = 0; i < VMXC_EPT_ENTRIES_PER_TABLE; i++) {
        child->entries[i] = part;
        part += VMXC_EPT_ENTRY_SPAN(child->level);
    }
}

/* Replaces the large page at `gpa` by a table of its parts. True if it was present. */
static bool split_page(const struct vmxc_ept *ept, const struct vmxc_ept_node *node, vmxc_gpa_t gpa,
                       vmxc_hpa_t table_hpa)
{
    const struct vmxc_ept_node child = vmxc_ept_node_at(ept, table_hpa, node->level - 1u, false);
    const uint64_t span = VMXC_EPT_ENTRY_SPAN(node->level);
    const unsigned index = vmxc_ept_index(gpa, node->level);
    uint64_t raw = vmxc_ept_load(node, index);

    do
        fill_with_parts(ept, &child, raw);
    while (!vmxc_ept_replace(ept, node, index, &raw, vmxc_ept_table_entry(ept, table_hpa)));
    VMXC_HAL_TRACE(ept->hal, .kind = VMXC_TRACE_SPLIT, .gpa = gpa & ~(span - 1), .hpa = table_hpa,
                   .size = span);
    return vmxc_ept_is_present(ept, raw);
}

static bool split_at(const struct vmxc_ept *ept, vmxc_gpa_t boundary,
                     struct vmxc_ept_reserve *reserve)
{
    struct vmxc_ept_node node;
    bool was_present = false;

    while (find_crossing(ept, boundary, &node))
        was_present |= split_page(ept, &node, boundary, reserve->tables[--reserve->count]);
    return was_present;
}

bool vmxc_ept_split(const struct vmxc_ept *ept, vmxc_gpa_t gpa, vmxc_gpa_t end,
                    struct vmxc_ept_reserve *reserve)
{
    if (reserve->count == 0)
        return false;
    const bool at_gpa = split_at(ept, gpa, reserve);
    const bool at_end = split_at(ept, end, reserve);
    return at_gpa || at_end;
}
