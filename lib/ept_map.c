/* SPDX-License-Identifier: Apache-2.0 */
/* Mapping an empty range, and replacing whatever a range maps. */
#include "internal/ept.h"

/* ---- Sources ---------------------------------------------------------------------------------------- */

static enum vmxc_status linear_source(const struct vmxc_ept *ept, vmxc_gpa_t gpa, vmxc_hpa_t hpa,
                                      uint64_t size, vmxc_map_flags flags,
                                      struct vmxc_ept_source *source)
{
    if (!vmxc_ept_is_host_range(ept, hpa, size))
        return VMXC_INVALID_INPUT;
    *source =
        (struct vmxc_ept_source){.offset = hpa - gpa, .largest_page = ept->config.largest_page};
    return vmxc_ept_encode(ept, flags, &source->leaf);
}

static enum vmxc_status supplied_source(const struct vmxc_ept *ept, vmxc_map_flags flags,
                                        vmxc_ept_supply_fn supply, vmxc_ept_release_fn release,
                                        void *context, struct vmxc_ept_source *source)
{
    if (supply == NULL)
        return VMXC_INVALID_INPUT;
    *source = (struct vmxc_ept_source){.largest_page = VMXC_PAGE_LEVEL_4K,
                                       .supply = supply,
                                       .release = release,
                                       .context = context};
    return vmxc_ept_encode(ept, flags, &source->leaf);
}

/* ---- Mapping an empty range ------------------------------------------------------------------------- */

static enum vmxc_status stage_and_publish(const struct vmxc_ept *ept,
                                          const struct vmxc_ept_node *node, vmxc_gpa_t gpa,
                                          vmxc_gpa_t end, const struct vmxc_ept_source *source)
{
    VMXC_TRY(vmxc_ept_stage(ept, node, gpa, end, source));
    vmxc_ept_publish(ept, node, gpa, end, source->leaf);
    return VMXC_OK;
}

/* Where the table exists already, one store is all that is visible. */
static enum vmxc_status map_page(const struct vmxc_ept *ept, vmxc_gpa_t gpa,
                                 const struct vmxc_ept_source *source)
{
    struct vmxc_ept_node node;
    vmxc_hpa_t page_hpa = gpa + source->offset;

    if (vmxc_ept_descend(ept, gpa, &node) != 0)
        return VMXC_ALREADY_EXISTS;
    if (node.level > 1)
        return stage_and_publish(ept, &node, gpa, gpa + VMXC_PAGE_SIZE, source);
    if (source->supply != NULL)
        VMXC_TRY(vmxc_ept_supply_page(ept, gpa, source, &page_hpa));
    vmxc_ept_store(ept, &node, vmxc_ept_index(gpa, 1), source->leaf | page_hpa);
    return VMXC_OK;
}

static enum vmxc_status map_range(const struct vmxc_ept *ept, vmxc_gpa_t gpa, vmxc_gpa_t end,
                                  const struct vmxc_ept_source *source)
{
    if (end - gpa == VMXC_PAGE_SIZE)
        return map_page(ept, gpa, source);
    struct vmxc_ept_node node = vmxc_ept_narrowest(ept, gpa, end);
    if (!vmxc_ept_is_empty(ept, &node, gpa, end))
        return VMXC_ALREADY_EXISTS;
    if (node.level == 1 && source->supply == NULL) {
        node.reachable = false; /* nothing here can fail, so the entries are final at once */
        return vmxc_ept_stage(ept, &node, gpa, end, source);
    }
    return stage_and_publish(ept, &node, gpa, end, source);
}

enum vmxc_status vmxc_ept_map(struct vmxc_ept *ept, vmxc_gpa_t gpa, vmxc_hpa_t hpa, uint64_t size,
                              vmxc_map_flags flags)
{
    struct vmxc_ept_source source;
    vmxc_gpa_t end = 0;

    VMXC_TRY(vmxc_ept_check_range(ept, gpa, size, &end));
    VMXC_TRY(linear_source(ept, gpa, hpa, size, flags, &source));
    return map_range(ept, gpa, end, &source);
}

enum vmxc_status vmxc_ept_map_region(struct vmxc_ept *ept, vmxc_gpa_t gpa, uint64_t size,
                                     vmxc_map_flags flags, vmxc_ept_supply_fn supply,
                                     vmxc_ept_release_fn release, void *context)
{
    struct vmxc_ept_source source;
    vmxc_gpa_t end = 0;

    VMXC_TRY(vmxc_ept_check_range(ept, gpa, size, &end));
    VMXC_TRY(supplied_source(ept, flags, supply, release, context, &source));
    return map_range(ept, gpa, end, &source);
}

/* ---- Replacing -------------------------------------------------------------------------------------- */

/*
 * Swaps what `node` and `aside` have in the range. What comes into `node` stays held, so that no processor
 * uses an old and a new translation of one page at the same time. True if anything present went out.
 */
static bool exchange(const struct vmxc_ept *ept, const struct vmxc_ept_node *node,
                     const struct vmxc_ept_node *aside, vmxc_gpa_t gpa, vmxc_gpa_t end)
{
    bool was_present = false;

    for (vmxc_gpa_t next; gpa < end; gpa = next) {
        next = vmxc_ept_part_end(gpa, end, node->level);
        const unsigned index = vmxc_ept_index(gpa, node->level);
        const uint64_t old = vmxc_ept_load(node, index);
        const uint64_t new = vmxc_ept_load(aside, index);
        if (old == 0 || next - gpa == VMXC_EPT_ENTRY_SPAN(node->level)) {
            vmxc_ept_store(ept, node, index, vmxc_ept_hold(ept, new));
            vmxc_ept_store(ept, aside, index, old);
            was_present |= vmxc_ept_is_present(ept, old);
        } else {
            /* Partly in the range, and no page crosses its boundaries: both lead to tables. */
            const struct vmxc_ept_node child = vmxc_ept_child(ept, node, old);
            const struct vmxc_ept_node aside_child = vmxc_ept_child(ept, aside, new);
            was_present |= exchange(ept, &child, &aside_child, gpa, next);
        }
    }
    return was_present;
}

/* Builds the new mapping below `aside` and takes what splitting needs; after it nothing can fail. */
static enum vmxc_status prepare_remap(const struct vmxc_ept *ept, const struct vmxc_ept_node *aside,
                                      vmxc_gpa_t gpa, vmxc_gpa_t end,
                                      const struct vmxc_ept_source *source,
                                      struct vmxc_ept_reserve *reserve)
{
    VMXC_TRY(vmxc_ept_stage(ept, aside, gpa, end, source));
    const enum vmxc_status status = vmxc_ept_reserve(ept, gpa, end, reserve);
    if (status != VMXC_OK)
        vmxc_ept_sweep(ept, aside, gpa, end, source->release, source->context);
    return status;
}

static enum vmxc_status remap_range(struct vmxc_ept *ept, vmxc_gpa_t gpa, vmxc_gpa_t end,
                                    const struct vmxc_ept_source *source,
                                    vmxc_ept_release_fn release, void *context)
{
    const struct vmxc_ept_node node = vmxc_ept_narrowest(ept, gpa, end);
    struct vmxc_ept_reserve reserve;
    vmxc_hpa_t aside_hpa = 0;

    VMXC_TRY(vmxc_ept_alloc_table(ept, &aside_hpa));
    vmxc_ept_forget(ept);
    const struct vmxc_ept_node aside = vmxc_ept_node_at(ept, aside_hpa, node.level, false);
    const enum vmxc_status status = prepare_remap(ept, &aside, gpa, end, source, &reserve);
    if (status == VMXC_OK) {
        (void)vmxc_ept_split(ept, gpa, end, &reserve); /* a part of what it splits goes out below */
        if (exchange(ept, &node, &aside, gpa, end))
            vmxc_ept_invalidate(ept);
        vmxc_ept_publish(ept, &node, gpa, end, source->leaf);
        vmxc_ept_sweep(ept, &aside, gpa, end, release, context);
    }
    vmxc_hal_free_frame(ept->hal, aside_hpa);
    return status;
}

enum vmxc_status vmxc_ept_remap(struct vmxc_ept *ept, vmxc_gpa_t gpa, vmxc_hpa_t hpa, uint64_t size,
                                vmxc_map_flags flags, vmxc_ept_release_fn release, void *context)
{
    struct vmxc_ept_source source;
    vmxc_gpa_t end = 0;

    VMXC_TRY(vmxc_ept_check_range(ept, gpa, size, &end));
    VMXC_TRY(linear_source(ept, gpa, hpa, size, flags, &source));
    return remap_range(ept, gpa, end, &source, release, context);
}

enum vmxc_status vmxc_ept_remap_region(struct vmxc_ept *ept, vmxc_gpa_t gpa, uint64_t size,
                                       vmxc_map_flags flags, vmxc_ept_supply_fn supply,
                                       vmxc_ept_release_fn undo, vmxc_ept_release_fn release,
                                       void *context)
{
    struct vmxc_ept_source source;
    vmxc_gpa_t end = 0;

    VMXC_TRY(vmxc_ept_check_range(ept, gpa, size, &end));
    VMXC_TRY(supplied_source(ept, flags, supply, undo, context, &source));
    return remap_range(ept, gpa, end, &source, release, context);
}
