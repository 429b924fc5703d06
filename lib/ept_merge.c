/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Merging: the inverse of splitting, where 512 pages are contiguous and alike.
 *
 * A replaced table stays intact until processors have dropped what they cached of it: they may translate
 * through it, and set flags in it, until then. Replaced tables therefore wait in a batch, and one invalidation
 * serves the whole batch.
 */
#include "internal/ept.h"

/* One large page and the table that it replaced. */
struct merged {
    struct vmxc_ept_node node; /* the table of the large page's entry */
    unsigned index;
    vmxc_hpa_t table_hpa;
};

struct batch {
    struct merged merged[VMXC_EPT_MERGE_BATCH];
    unsigned count;
};

/* Accessed and dirty flags that are set in any entry of the table. */
static uint64_t collect_use(const struct vmxc_ept_node *table)
{
    uint64_t use = 0;

    for (unsigned i = 0; i < VMXC_EPT_ENTRIES_PER_TABLE; i++)
        use |= vmxc_ept_load(table, i);
    return use & VMXC_EPT_USE;
}

/* Adds flags to a leaf that a processor may be changing too. */
static void add_use(const struct vmxc_ept *ept, const struct vmxc_ept_node *node, unsigned index,
                    uint64_t use)
{
    uint64_t raw = vmxc_ept_load(node, index);

    while ((raw & use) != use && !vmxc_ept_replace(ept, node, index, &raw, raw | use))
        continue;
}

/* Invalidates, then gives the replaced tables back; flags that were set in them meanwhile are kept. */
static void finish(const struct vmxc_ept *ept, struct batch *batch)
{
    if (batch->count == 0)
        return;
    vmxc_ept_invalidate(ept);
    for (unsigned i = 0; i < batch->count; i++) {
        const struct merged *const merged = &batch->merged[i];
        const struct vmxc_ept_node table =
            vmxc_ept_node_at(ept, merged->table_hpa, merged->node.level - 1u, false);
        add_use(ept, &merged->node, merged->index, collect_use(&table));
        vmxc_hal_free_frame(ept->hal, table.hpa);
    }
    batch->count = 0;
}

/*
 * True if the entries of `table` are the parts of one large page; *large is its entry, without the accessed and
 * dirty flags, which `finish` collects once they are final.
 */
static bool is_one_page(const struct vmxc_ept_node *table, uint64_t *large)
{
    const uint64_t step = VMXC_EPT_ENTRY_SPAN(table->level);
    const uint64_t first = vmxc_ept_load(table, 0) & ~VMXC_EPT_USE;

    if (first == 0 || !vmxc_ept_is_leaf(first, table->level))
        return false;
    if ((first & VMXC_EPT_ADDRESS & (VMXC_EPT_ENTRY_SPAN(table->level + 1u) - 1)) != 0)
        return false;
    for (unsigned i = 1; i < VMXC_EPT_ENTRIES_PER_TABLE; i++)
        if ((vmxc_ept_load(table, i) & ~VMXC_EPT_USE) != first + i * step)
            return false;
    *large = first | VMXC_EPT_LARGE_PAGE;
    return true;
}

static void merge_table(const struct vmxc_ept *ept, const struct vmxc_ept_node *node,
                        vmxc_gpa_t gpa, const struct vmxc_ept_node *table, struct batch *batch)
{
    const unsigned index = vmxc_ept_index(gpa, node->level);
    uint64_t large = 0;

    if (!is_one_page(table, &large))
        return;
    if (batch->count == VMXC_EPT_MERGE_BATCH)
        finish(ept, batch);
    vmxc_ept_store(ept, node, index, large);
    VMXC_HAL_TRACE(ept->hal, .kind = VMXC_TRACE_MERGE, .gpa = gpa, .hpa = table->hpa,
                   .size = VMXC_EPT_ENTRY_SPAN(node->level));
    batch->merged[batch->count++] =
        (struct merged){.node = *node, .index = index, .table_hpa = table->hpa};
}

/* Lower levels first, so that 4-KByte pages can become a 1-GByte page in one call. */
static void merge_range(const struct vmxc_ept *ept, const struct vmxc_ept_node *node,
                        vmxc_gpa_t gpa, vmxc_gpa_t end, struct batch *batch)
{
    for (vmxc_gpa_t next; gpa < end; gpa = next) {
        next = vmxc_ept_part_end(gpa, end, node->level);
        const uint64_t raw = vmxc_ept_load(node, vmxc_ept_index(gpa, node->level));
        if (raw == 0 || vmxc_ept_is_leaf(raw, node->level))
            continue;
        const struct vmxc_ept_node table = vmxc_ept_child(ept, node, raw);
        if (table.level > 1)
            merge_range(ept, &table, gpa, next, batch);
        if (node->level <= ept->config.largest_page &&
            next - gpa == VMXC_EPT_ENTRY_SPAN(node->level))
            merge_table(ept, node, gpa, &table, batch);
    }
}

enum vmxc_status vmxc_ept_merge(struct vmxc_ept *ept, vmxc_gpa_t gpa, uint64_t size)
{
    struct batch batch = {.count = 0};
    vmxc_gpa_t end = 0;

    VMXC_TRY(vmxc_ept_check_range(ept, gpa, size, &end));
    vmxc_ept_forget(ept);
    const struct vmxc_ept_node root = vmxc_ept_root_node(ept);
    merge_range(ept, &root, gpa, end, &batch);
    finish(ept, &batch);
    return VMXC_OK;
}
