/* SPDX-License-Identifier: Apache-2.0 */
/* The area set: lookups, and the frames its nodes live in. */
#include "vmxcore/area_set.h"

#include "internal/area_set.h"
#include "vmxcore/frame.h"

void vmxc_area_set_init(struct vmxc_area_set *set, const struct vmxc_hal *hal)
{
    *set = (struct vmxc_area_set){.hal = hal};
}

/* ---- Descent ---- */

/*
 * Each node routes by the greatest key that is not above the address. For 0x5000, which area B may hold:
 *
 *                 root        [ 0x1000   0x4000   0x9000 ]
 *                                 |    .---^  |       |
 *                 leaf       [..]     [ 0x4000 A  0x4800 B ]     [ 0x9000 C .. ]
 *
 * and since keys are exact, the key to the right of the way taken (0x9000, on the lowest level that has one) is
 * the base of the area after B.
 */
void vmxc_area_path_find(const struct vmxc_area_set *set, vmxc_gpa_t gpa, struct area_path *path)
{
    vmxc_hpa_t hpa = set->root_hpa;

    for (uint32_t level = set->height; level-- > 0;) {
        struct area_node *node = area_node_at(set, hpa);
        if (level == 0)
            area_leaf_prefetch(node);
        const uint32_t slot = area_node_search(node, gpa);

        path->step[level] = (struct area_step){.node = node, .hpa = hpa, .slot = slot};
        if (level > 0)
            hpa = node->u.inner.child_hpa[slot];
    }
}

vmxc_gpa_t vmxc_area_path_next_base(const struct vmxc_area_set *set, const struct area_path *path)
{
    for (uint32_t level = 0; level < set->height; level++) {
        const struct area_step *step = &path->step[level];

        if (step->slot + 1 < step->node->count)
            return step->node->u.key[step->slot + 1];
    }
    return AREA_NO_BASE;
}

/*
 * The leaf and slot of the last area whose base is not above `gpa` (of the first area if there is none) and the base
 * of the area after it, or AREA_NO_BASE. The same way as above without the notes. The set is not empty.
 */
static inline const struct area_node *find_leaf(const struct vmxc_area_set *set, vmxc_gpa_t gpa,
                                                uint32_t *slot, vmxc_gpa_t *next_base)
{
    vmxc_gpa_t next = AREA_NO_BASE;
    vmxc_hpa_t hpa = set->root_hpa;

    for (uint32_t level = set->height - 1;; level--) {
        const struct area_node *node = area_node_at(set, hpa);
        if (level == 0)
            area_leaf_prefetch(node);
        const uint32_t at = area_node_search(node, gpa);

        if (at + 1 < node->count)
            next = node->u.key[at + 1];
        if (level == 0) {
            *slot = at;
            *next_base = next;
            return node;
        }
        hpa = node->u.inner.child_hpa[at];
    }
}

static bool holds(const struct area_node *leaf, uint32_t slot, vmxc_gpa_t gpa)
{
    const vmxc_gpa_t base = leaf->u.key[slot];

    return gpa >= base && gpa - base < leaf->u.leaf.tail[slot].size;
}

enum vmxc_status vmxc_area_set_find(const struct vmxc_area_set *set, vmxc_gpa_t gpa,
                                    struct vmxc_area *area)
{
    if (set->height == 0)
        return VMXC_NOT_FOUND;

    uint32_t slot;
    vmxc_gpa_t next_base;
    const struct area_node *leaf = find_leaf(set, gpa, &slot, &next_base);
    if (!holds(leaf, slot, gpa))
        return VMXC_NOT_FOUND;
    *area = area_node_area(leaf, slot);
    return VMXC_OK;
}

enum vmxc_status vmxc_area_set_find_from(const struct vmxc_area_set *set, vmxc_gpa_t gpa,
                                         struct vmxc_area *area)
{
    if (set->height == 0)
        return VMXC_NOT_FOUND;

    uint32_t slot;
    vmxc_gpa_t next_base;
    const struct area_node *leaf = find_leaf(set, gpa, &slot, &next_base);
    if (gpa < leaf->u.key[slot] || holds(leaf, slot, gpa)) {
        *area = area_node_area(leaf, slot);
        return VMXC_OK;
    }
    if (slot + 1 < leaf->count) {
        *area = area_node_area(leaf, slot + 1);
        return VMXC_OK;
    }
    if (next_base == AREA_NO_BASE)
        return VMXC_NOT_FOUND;
    return vmxc_area_set_find(set, next_base, area);
}

/* ---- Frames ---- */

/* Puts a frame at the head of the list. */
static void push_frame(const struct vmxc_area_set *set, vmxc_hpa_t *list_hpa, vmxc_hpa_t hpa)
{
    vmxc_hal_mark_dirty(set->hal, hpa, sizeof(vmxc_hpa_t));
    area_node_at(set, hpa)->next_hpa = *list_hpa;
    *list_hpa = hpa;
}

static vmxc_hpa_t pop_frame(const struct vmxc_area_set *set, vmxc_hpa_t *list_hpa)
{
    const vmxc_hpa_t hpa = *list_hpa;

    *list_hpa = area_node_at(set, hpa)->next_hpa;
    return hpa;
}

void vmxc_area_set_drop_node(struct vmxc_area_set *set, vmxc_hpa_t hpa)
{
    vmxc_hal_free_frame(set->hal, hpa);
}

static void drop_spares_above(struct vmxc_area_set *set, uint32_t count)
{
    for (; set->spare_count > count; set->spare_count--)
        vmxc_area_set_drop_node(set, pop_frame(set, &set->spare_hpa));
}

enum vmxc_status vmxc_area_set_stock(struct vmxc_area_set *set, uint32_t wanted)
{
    const uint32_t before = set->spare_count;

    while (set->spare_count < wanted) {
        struct vmxc_frame frame;
        const enum vmxc_status status = vmxc_frame_alloc(set->hal, "area set node", &frame);

        if (status != VMXC_OK) {
            drop_spares_above(set, before);
            return status;
        }
        push_frame(set, &set->spare_hpa, frame.hpa);
        set->spare_count++;
    }
    return VMXC_OK;
}

struct area_step vmxc_area_set_take_node(struct vmxc_area_set *set, uint32_t level)
{
    const vmxc_hpa_t hpa = pop_frame(set, &set->spare_hpa);
    struct area_node *node = area_node_at(set, hpa);

    set->spare_count--;
    area_node_touch(set, hpa);
    node->next_hpa = 0;
    node->count = 0;
    node->level = level;
    return (struct area_step){.node = node, .hpa = hpa, .slot = 0};
}

/*
 * A node that `insertions` more entries may fill is split, which gives its parent one more entry; a split root gets
 * a new root above it. Both parts have room for all insertions that can be reserved, so none is split twice.
 */
uint32_t vmxc_area_path_need(const struct vmxc_area_set *set, const struct area_path *path,
                             uint32_t insertions)
{
    for (uint32_t level = 0; level < set->height; level++)
        if (path->step[level].node->count + insertions <= area_node_capacity(level))
            return level;
    return set->height + 1;
}

/*
 * Each reservation counts the nodes on its own way that would overflow if all pending insertions met there. That
 * covers ways that share nodes: among the reservations whose splits reach a common ancestor, the last one saw
 * at least as many pending insertions as splits reach it, and has counted it.
 */
enum vmxc_status vmxc_area_set_reserve(struct vmxc_area_set *set, vmxc_gpa_t gpa,
                                       uint32_t insertions)
{
    if (insertions > VMXC_AREA_SET_RESERVE_LIMIT - set->pending)
        return VMXC_INVALID_INPUT;

    struct area_path path;
    vmxc_area_path_find(set, gpa, &path);
    const uint32_t need = vmxc_area_path_need(set, &path, set->pending + insertions);
    VMXC_TRY(vmxc_area_set_stock(set, set->spare_count + need));
    set->pending += insertions;
    return VMXC_OK;
}

void vmxc_area_set_trim(struct vmxc_area_set *set)
{
    drop_spares_above(set, 0);
    set->pending = 0;
}

/* Nodes are listed through their link as they are met, so that the tree needs no stack to be taken down. */
void vmxc_area_set_fini(struct vmxc_area_set *set)
{
    vmxc_hpa_t list_hpa = 0;

    vmxc_area_set_trim(set);
    if (set->height != 0)
        push_frame(set, &list_hpa, set->root_hpa);
    while (list_hpa != 0) {
        const vmxc_hpa_t hpa = pop_frame(set, &list_hpa);
        const struct area_node *node = area_node_at(set, hpa);

        for (uint32_t slot = 0; node->level != 0 && slot < node->count; slot++)
            push_frame(set, &list_hpa, node->u.inner.child_hpa[slot]);
        vmxc_area_set_drop_node(set, hpa);
    }
    vmxc_area_set_init(set, set->hal);
}
