/* SPDX-License-Identifier: Apache-2.0 */
/* The area set: what must be true of the tree, checked node by node. */
#include "internal/area_set.h"

/* What the check has seen so far. */
struct check {
    const struct vmxc_area_set *set;
    struct area_path path; /* where it is; slot: the next entry to look at */
    uint64_t areas;
    vmxc_gpa_t end; /* of the last area */
};

/* The fill and the order of the keys of one node; its first key is the one that led to it. */
static bool is_node_valid(const struct check *check, const struct area_node *node, uint32_t level,
                          const uint64_t *key)
{
    const uint32_t capacity = area_node_capacity(level);
    const bool is_root = level + 1 == check->set->height;
    const uint32_t least = !is_root ? capacity / 4 : level == 0 ? 1 : 2;

    if (node == NULL || node->level != level || node->count < least || node->count > capacity)
        return false;
    if (key != NULL && node->u.key[0] != *key)
        return false;
    for (uint32_t slot = 1; slot < node->count; slot++)
        if (node->u.key[slot - 1] >= node->u.key[slot])
            return false;
    return true;
}

/* Puts the node at `hpa` on the path. */
static bool enter_node(struct check *check, uint32_t level, vmxc_hpa_t hpa, const uint64_t *key)
{
    struct area_node *node = area_node_at(check->set, hpa);

    if (!is_node_valid(check, node, level, key))
        return false;
    check->path.step[level] = (struct area_step){.node = node, .hpa = hpa, .slot = 0};
    return true;
}

/* The areas of one leaf: ranges that are valid and lie behind one another. */
static bool check_leaf(struct check *check, const struct area_node *leaf)
{
    for (uint32_t slot = 0; slot < leaf->count; slot++) {
        const struct vmxc_area area = area_node_area(leaf, slot);

        if (!area_is_range_valid(&area) || area.base < check->end)
            return false;
        check->end = area.base + area.size;
    }
    check->areas += leaf->count;
    return true;
}

static bool check_spares(const struct vmxc_area_set *set)
{
    vmxc_hpa_t hpa = set->spare_hpa;

    for (uint32_t left = set->spare_count; left > 0; left--) {
        const struct area_node *node = hpa == 0 ? NULL : area_node_at(set, hpa);
        if (node == NULL)
            return false;
        hpa = node->next_hpa;
    }
    return hpa == 0;
}

/* Visits every node, children before the next sibling. */
static bool check_tree(struct check *check)
{
    const uint32_t height = check->set->height;
    uint32_t level = height - 1;

    if (!enter_node(check, level, check->set->root_hpa, NULL))
        return false;
    while (level < height) {
        struct area_step *step = &check->path.step[level];

        if (level > 0 && step->slot < step->node->count) {
            const uint32_t slot = step->slot++;
            level--;
            if (!enter_node(check, level, step->node->u.inner.child_hpa[slot],
                            &step->node->u.key[slot]))
                return false;
        } else {
            if (level == 0 && !check_leaf(check, step->node))
                return false;
            level++;
        }
    }
    return check->areas == check->set->count;
}

bool vmxc_area_set_is_valid(const struct vmxc_area_set *set)
{
    struct check check = {.set = set};

    if (set->hal == NULL || set->height > AREA_SET_MAX_HEIGHT || !check_spares(set))
        return false;
    if (set->height == 0)
        return set->root_hpa == 0 && set->count == 0;
    return check_tree(&check);
}
