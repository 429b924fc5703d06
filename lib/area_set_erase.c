/* SPDX-License-Identifier: Apache-2.0 */
/* The area set: operations that change or remove an entry, and what nodes do when they run low. */
#include "internal/area_set.h"

static uint32_t least_fill(uint32_t level)
{
    return area_node_capacity(level) / 4;
}

static void take_out(struct area_node *node, uint32_t slot)
{
    node->count--;
    area_node_move(node, slot, node, slot + 1, node->count - slot);
}

/* After the leaf's first key changed: the keys that lead to it from above, up to where it is not the first. */
static void renew_keys(struct vmxc_area_set *set, struct area_path *path)
{
    const vmxc_gpa_t base = path->step[0].node->u.key[0];

    for (uint32_t level = 1; level < set->height && path->step[level - 1].slot == 0; level++) {
        const struct area_step *step = &path->step[level];
        area_node_touch(set, step->hpa);
        step->node->u.key[step->slot] = base;
    }
}

/* A root that has lost its last area, or all its children but one, goes; what is below it takes its place. */
static void shrink_root(struct vmxc_area_set *set)
{
    const struct area_node *root = area_node_at(set, set->root_hpa);
    const vmxc_hpa_t old_hpa = set->root_hpa;

    if (root->count > (root->level == 0 ? 0u : 1u))
        return;
    set->root_hpa = root->level == 0 ? 0 : root->u.inner.child_hpa[0];
    set->height--;
    vmxc_area_set_drop_node(set, old_hpa);
}

/* Two neighbours below one parent; the right one is the parent's child in `slot`. */
struct siblings {
    struct area_node *left, *right;
    vmxc_hpa_t left_hpa, right_hpa;
    struct area_node *parent;
    uint32_t slot;
};

static struct siblings siblings_of(const struct vmxc_area_set *set, const struct area_step *parent)
{
    struct siblings pair = {.parent = parent->node, .slot = parent->slot == 0 ? 1 : parent->slot};

    pair.left_hpa = pair.parent->u.inner.child_hpa[pair.slot - 1];
    pair.right_hpa = pair.parent->u.inner.child_hpa[pair.slot];
    pair.left = area_node_at(set, pair.left_hpa);
    pair.right = area_node_at(set, pair.right_hpa);
    return pair;
}

/* Moves one entry from the fuller of the two to the other. */
static void even_out(const struct siblings *pair)
{
    struct area_node *left = pair->left;
    struct area_node *right = pair->right;

    if (left->count > right->count) {
        area_node_move(right, 1, right, 0, right->count);
        area_node_move(right, 0, left, left->count - 1, 1);
        left->count--;
        right->count++;
    } else {
        area_node_move(left, left->count, right, 0, 1);
        left->count++;
        take_out(right, 0);
    }
    pair->parent->u.key[pair->slot] = right->u.key[0];
}

/* Moves all of the right node to the left one; the caller gives the right one's frame back. */
static void merge(const struct siblings *pair)
{
    area_node_move(pair->left, pair->left->count, pair->right, 0, pair->right->count);
    pair->left->count += pair->right->count;
    take_out(pair->parent, pair->slot);
}

/*
 * Brings the path's nodes that are less than a quarter full back to it, from the leaf up: a sibling that can spare an
 * entry gives one; otherwise the two together fit one node and become one, and the parent has an entry less.
 */
static void refill(struct vmxc_area_set *set, struct area_path *path)
{
    for (uint32_t level = 0; level + 1 < set->height; level++) {
        if (path->step[level].node->count >= least_fill(level))
            return;

        const struct siblings pair = siblings_of(set, &path->step[level + 1]);
        area_node_touch(set, pair.left_hpa);
        area_node_touch(set, pair.right_hpa);
        area_node_touch(set, path->step[level + 1].hpa);
        if (pair.left->count + pair.right->count >= 2 * least_fill(level)) {
            even_out(&pair);
            return;
        }
        merge(&pair);
        vmxc_area_set_drop_node(set, pair.right_hpa);
    }
    shrink_root(set);
}

/* The way to the area that starts exactly at `base`. */
static enum vmxc_status find_exact(const struct vmxc_area_set *set, vmxc_gpa_t base,
                                   struct area_path *path)
{
    if (set->height == 0)
        return VMXC_NOT_FOUND;
    vmxc_area_path_find(set, base, path);
    return path->step[0].node->u.key[path->step[0].slot] == base ? VMXC_OK : VMXC_NOT_FOUND;
}

enum vmxc_status vmxc_area_set_erase(struct vmxc_area_set *set, vmxc_gpa_t base)
{
    struct area_path path;

    VMXC_TRY(find_exact(set, base, &path));
    vmxc_area_set_forget(set);
    area_node_touch(set, path.step[0].hpa);
    take_out(path.step[0].node, path.step[0].slot);
    set->count--;
    if (path.step[0].slot == 0)
        renew_keys(set, &path);
    refill(set, &path);
    return VMXC_OK;
}

enum vmxc_status vmxc_area_set_update(struct vmxc_area_set *set, vmxc_gpa_t base,
                                      const struct vmxc_area *area)
{
    const struct area_entry entry = area_entry_of(area);
    struct vmxc_area first;
    struct area_path path;

    if (!area_is_range_valid(area))
        return VMXC_INVALID_INPUT;
    VMXC_TRY(find_exact(set, base, &path));
    VMXC_TRY(vmxc_area_set_find_from(set, area->base < base ? area->base : base, &first));
    if (first.base != base || vmxc_area_path_next_base(set, &path) < area->base + area->size)
        return VMXC_ALREADY_EXISTS;

    vmxc_area_set_forget(set);
    area_node_touch(set, path.step[0].hpa);
    area_node_store(path.step[0].node, path.step[0].slot, &entry);
    if (path.step[0].slot == 0)
        renew_keys(set, &path);
    return VMXC_OK;
}
