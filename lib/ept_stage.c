/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Building a mapping out of the processor's sight, and bringing it into sight.
 *
 *     reachable table            fresh table, complete before it is published
 *     +---------------+          +---------------+
 *     | table         |  +------>| leaf (final)  |
 *     | held table ---|--+       | leaf (final)  |      publish: held -> present, topmost entries only
 *     | held leaf     |          | ...           |
 *     +---------------+          +---------------+
 */
#include "internal/ept.h"

bool vmxc_ept_is_empty(const struct vmxc_ept *ept, const struct vmxc_ept_node *node, vmxc_gpa_t gpa,
                       vmxc_gpa_t end)
{
    for (vmxc_gpa_t next; gpa < end; gpa = next) {
        next = vmxc_ept_part_end(gpa, end, node->level);
        const uint64_t raw = vmxc_ept_load(node, vmxc_ept_index(gpa, node->level));
        if (raw == 0)
            continue;
        if (vmxc_ept_is_leaf(raw, node->level) || next - gpa == VMXC_EPT_ENTRY_SPAN(node->level))
            return false; /* a table is never empty */
        const struct vmxc_ept_node child = vmxc_ept_child(ept, node, raw);
        if (!vmxc_ept_is_empty(ept, &child, gpa, next))
            return false;
    }
    return true;
}

/* What to write for `raw` now: as it is where no processor can see it, held otherwise. */
static uint64_t staged(const struct vmxc_ept *ept, const struct vmxc_ept_node *node, uint64_t raw)
{
    return node->reachable ? vmxc_ept_hold(ept, raw) : raw;
}

/* The 4-KByte leaves of a linear range: the innermost loop of mapping. */
static void stage_linear(const struct vmxc_ept *ept, const struct vmxc_ept_node *node,
                         vmxc_gpa_t gpa, vmxc_gpa_t end, const struct vmxc_ept_source *source)
{
    uint64_t raw = staged(ept, node, source->leaf | (gpa + source->offset));
    const unsigned first = vmxc_ept_index(gpa, 1);
    const unsigned count = (unsigned)((end - gpa) >> VMXC_PAGE_SHIFT);
    _Atomic uint64_t *const entries = (_Atomic uint64_t *)&node->entries[first];

    vmxc_hal_mark_dirty(ept->hal, node->hpa + first * sizeof(raw), count * sizeof(raw));
    for (unsigned i = 0; i < count; i++, raw += VMXC_PAGE_SIZE)
        atomic_store_explicit(&entries[i], raw, memory_order_release);
}

enum vmxc_status vmxc_ept_supply_page(const struct vmxc_ept *ept, vmxc_gpa_t gpa,
                                      const struct vmxc_ept_source *source, vmxc_hpa_t *page_hpa)
{
    vmxc_hpa_t hpa = 0;

    VMXC_TRY(source->supply(source->context, gpa, &hpa));
    if (!vmxc_ept_is_host_range(ept, hpa, VMXC_PAGE_SIZE)) {
        if (source->release != NULL)
            source->release(source->context, gpa, hpa, VMXC_PAGE_SIZE);
        return VMXC_INVALID_INPUT;
    }
    *page_hpa = hpa;
    return VMXC_OK;
}

static enum vmxc_status stage_supplied(const struct vmxc_ept *ept, const struct vmxc_ept_node *node,
                                       vmxc_gpa_t gpa, vmxc_gpa_t end,
                                       const struct vmxc_ept_source *source)
{
    for (; gpa < end; gpa += VMXC_PAGE_SIZE) {
        vmxc_hpa_t page_hpa = 0;
        VMXC_TRY(vmxc_ept_supply_page(ept, gpa, source, &page_hpa));
        vmxc_ept_store(ept, node, vmxc_ept_index(gpa, 1),
                       staged(ept, node, source->leaf | page_hpa));
    }
    return VMXC_OK;
}

/* True if one entry at `level` (above 1) can map all of [gpa, next). */
static bool fits_large(const struct vmxc_ept_source *source, unsigned level, vmxc_gpa_t gpa,
                       vmxc_gpa_t next)
{
    const uint64_t span = VMXC_EPT_ENTRY_SPAN(level);

    return level <= source->largest_page && next - gpa == span &&
           ((gpa + source->offset) & (span - 1)) == 0;
}

/* The table below entry `index`; hangs an empty one there if there is none. */
static enum vmxc_status stage_table(const struct vmxc_ept *ept, const struct vmxc_ept_node *node,
                                    unsigned index, struct vmxc_ept_node *child)
{
    uint64_t raw = vmxc_ept_load(node, index);

    if (raw == 0) {
        vmxc_hpa_t table_hpa = 0;
        VMXC_TRY(vmxc_ept_alloc_table(ept, &table_hpa));
        raw = staged(ept, node, vmxc_ept_table_entry(ept, table_hpa));
        vmxc_ept_store(ept, node, index, raw);
    }
    *child = vmxc_ept_child(ept, node, raw);
    return VMXC_OK;
}

static enum vmxc_status stage_tables(const struct vmxc_ept *ept, const struct vmxc_ept_node *node,
                                     vmxc_gpa_t gpa, vmxc_gpa_t end,
                                     const struct vmxc_ept_source *source);

static enum vmxc_status stage_range(const struct vmxc_ept *ept, const struct vmxc_ept_node *node,
                                    vmxc_gpa_t gpa, vmxc_gpa_t end,
                                    const struct vmxc_ept_source *source)
{
    if (node->level > 1)
        return stage_tables(ept, node, gpa, end, source);
    if (source->supply != NULL)
        return stage_supplied(ept, node, gpa, end, source);
    stage_linear(ept, node, gpa, end, source);
    return VMXC_OK;
}

static enum vmxc_status stage_tables(const struct vmxc_ept *ept, const struct vmxc_ept_node *node,
                                     vmxc_gpa_t gpa, vmxc_gpa_t end,
                                     const struct vmxc_ept_source *source)
{
    for (vmxc_gpa_t next; gpa < end; gpa = next) {
        next = vmxc_ept_part_end(gpa, end, node->level);
        const unsigned index = vmxc_ept_index(gpa, node->level);
        if (fits_large(source, node->level, gpa, next)) {
            const uint64_t raw = source->leaf | (gpa + source->offset) | VMXC_EPT_LARGE_PAGE;
            vmxc_ept_store(ept, node, index, staged(ept, node, raw));
            continue;
        }
        struct vmxc_ept_node child;
        VMXC_TRY(stage_table(ept, node, index, &child));
        VMXC_TRY(stage_range(ept, &child, gpa, next, source));
    }
    return VMXC_OK;
}

enum vmxc_status vmxc_ept_stage(const struct vmxc_ept *ept, const struct vmxc_ept_node *node,
                                vmxc_gpa_t gpa, vmxc_gpa_t end,
                                const struct vmxc_ept_source *source)
{
    const enum vmxc_status status = stage_range(ept, node, gpa, end, source);

    /* The range was empty, so whatever is in it now was staged by this call. */
    if (status != VMXC_OK)
        vmxc_ept_sweep(ept, node, gpa, end, source->release, source->context);
    return status;
}

void vmxc_ept_publish(const struct vmxc_ept *ept, const struct vmxc_ept_node *node, vmxc_gpa_t gpa,
                      vmxc_gpa_t end, uint64_t leaf)
{
    const uint64_t all_rights = vmxc_ept_rights_mask(ept);

    for (vmxc_gpa_t next; gpa < end; gpa = next) {
        next = vmxc_ept_part_end(gpa, end, node->level);
        const unsigned index = vmxc_ept_index(gpa, node->level);
        const uint64_t raw = vmxc_ept_load(node, index);
        if (vmxc_ept_is_leaf(raw, node->level)) {
            vmxc_ept_store(ept, node, index, vmxc_ept_grant(ept, raw, leaf & all_rights));
        } else if (!vmxc_ept_is_present(ept, raw)) {
            vmxc_ept_store(ept, node, index, vmxc_ept_grant(ept, raw, all_rights));
        } else {
            const struct vmxc_ept_node child = vmxc_ept_child(ept, node, raw);
            vmxc_ept_publish(ept, &child, gpa, next, leaf);
        }
    }
}
