/* SPDX-License-Identifier: Apache-2.0 */
/* The area set: operations that add an entry, and what nodes do when they are full. */
#include "internal/area_set.h"

/* Opens a gap at `slot` and fills it. The node has room. */
static void put(struct area_node *node, uint32_t slot, const struct area_entry *entry)
{
    area_node_move(node, slot + 1, node, slot, node->count - slot);
    area_node_store(node, slot, entry);
    node->count++;
}

/*
 * How many entries a full node gives away when it is split. Few of them if the new one goes to the end: areas often
 * come in ascending order, and nodes that all stay half full would be twice as many.
 */
static uint32_t entries_to_move(const struct area_node *node, uint32_t slot)
{
    return slot == node->count ? node->count / 4 : node->count / 2;
}

/*
 * Adds an entry to a full node by moving the upper part of it to a new right sibling. Returns the entry that the
 * parent needs for that sibling.
 *
 *     [ a b c d e f ]  +  x   ->   [ a b x c ]  [ d e f ]
 */
static struct area_entry split_node(struct vmxc_area_set *set, struct area_node *left,
                                    uint32_t slot, const struct area_entry *entry)
{
    const struct area_step right = vmxc_area_set_take_node(set, left->level);
    const uint32_t moved = entries_to_move(left, slot);

    left->count -= moved;
    area_node_move(right.node, 0, left, left->count, moved);
    right.node->count = moved;
    if (slot <= left->count)
        put(left, slot, entry);
    else
        put(right.node, slot - left->count, entry);
    return (struct area_entry){.key = right.node->u.key[0], .u.child_hpa = right.hpa};
}

/* Makes a root of one entry, of whatever kind the level says. */
static struct area_node *new_root(struct vmxc_area_set *set, const struct area_entry *entry)
{
    const struct area_step root = vmxc_area_set_take_node(set, set->height);

    put(root.node, 0, entry);
    set->root_hpa = root.hpa;
    set->height++;
    return root.node;
}

/* A base below all others becomes the first key of every node on the left edge. */
static void lower_left_edge(struct vmxc_area_set *set, struct area_path *path, vmxc_gpa_t base)
{
    for (uint32_t level = 1; level < set->height; level++) {
        area_node_touch(set, path->step[level].hpa);
        path->step[level].node->u.key[0] = base;
    }
}

/*
 * Adds an entry to the path's leaf at its slot, and a sibling to each parent whose child was split. The frames this
 * takes are spare.
 */
static void add_entry(struct vmxc_area_set *set, struct area_path *path, struct area_entry entry)
{
    uint32_t slot = path->step[0].slot;

    if (slot == 0)
        lower_left_edge(set, path, entry.key);
    for (uint32_t level = 0; level < set->height; level++) {
        struct area_node *node = path->step[level].node;

        area_node_touch(set, path->step[level].hpa);
        if (node->count < area_node_capacity(level)) {
            put(node, slot, &entry);
            return;
        }
        entry = split_node(set, node, slot, &entry);
        slot = level + 1 < set->height ? path->step[level + 1].slot + 1 : 0;
    }

    const struct area_step *old = &path->step[set->height - 1];
    const struct area_entry lower = {.key = old->node->u.key[0], .u.child_hpa = old->hpa};
    put(new_root(set, &lower), 1, &entry);
}

/* Moves the path's slot from the area that precedes `area` to the place for `area`, if that is free. */
static enum vmxc_status find_place(const struct vmxc_area_set *set, struct area_path *path,
                                   const struct vmxc_area *area)
{
    struct area_step *leaf = &path->step[0];
    const vmxc_gpa_t base = leaf->node->u.key[leaf->slot];

    if (base > area->base)
        return base - area->base < area->size ? VMXC_ALREADY_EXISTS : VMXC_OK;
    if (area->base - base < leaf->node->u.leaf.tail[leaf->slot].size ||
        vmxc_area_path_next_base(set, path) - area->base < area->size)
        return VMXC_ALREADY_EXISTS;
    leaf->slot++;
    return VMXC_OK;
}

enum vmxc_status vmxc_area_set_insert(struct vmxc_area_set *set, const struct vmxc_area *area)
{
    const struct area_entry entry = area_entry_of(area);
    struct area_path path;

    if (!area_is_range_valid(area))
        return VMXC_INVALID_INPUT;
    vmxc_area_path_find(set, area->base, &path);
    if (set->height != 0)
        VMXC_TRY(find_place(set, &path, area));
    VMXC_TRY(vmxc_area_set_stock(set, vmxc_area_path_need(set, &path, 1)));
    if (set->height == 0)
        new_root(set, &entry);
    else
        add_entry(set, &path, entry);
    set->count++;
    return VMXC_OK;
}

enum vmxc_status vmxc_area_set_split(struct vmxc_area_set *set, vmxc_gpa_t gpa)
{
    struct area_path path;

    if ((gpa & VMXC_PAGE_MASK) != 0)
        return VMXC_INVALID_INPUT;
    if (set->height == 0)
        return VMXC_OK;
    vmxc_area_path_find(set, gpa, &path);
    struct vmxc_area upper = area_node_area(path.step[0].node, path.step[0].slot);
    if (gpa <= upper.base || gpa - upper.base >= upper.size)
        return VMXC_OK;

    const uint64_t lower_size = gpa - upper.base;
    upper.base = gpa;
    upper.size -= lower_size;
    if (upper.hpa != VMXC_AREA_NO_HPA)
        upper.hpa += lower_size;

    VMXC_TRY(vmxc_area_set_stock(set, vmxc_area_path_need(set, &path, 1)));
    vmxc_area_set_forget(set);
    area_node_touch(set, path.step[0].hpa);
    path.step[0].node->u.leaf.tail[path.step[0].slot].size = lower_size;
    path.step[0].slot++;
    add_entry(set, &path, area_entry_of(&upper));
    set->count++;
    return VMXC_OK;
}
