/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Nodes of the area set's B+ tree. A node is exactly one frame:
 *
 *     offset  leaf (level 0)                        inner node (level 1 and up)
 *     0       next: link of the spare list          the same
 *     8       count, level                          the same
 *     16      102 keys: each area's base            255 keys: the smallest base below each child
 *     832     102 tails: the rest of each area
 *     2056                                          255 children: host addresses of nodes
 *
 * Keys are packed, so that a binary search touches few cache lines, and lie at the same place in both kinds, so
 * that one search serves both. A tail is half a cache line and never crosses one.
 *
 * Keys of inner nodes are exact: each equals the first key of its child. The greatest key that is not above an
 * address therefore always leads to the area that may hold the address, and the key after it, on whatever level
 * there is one, is the base of the next area: leaves need no links.
 */
#ifndef VMXC_INTERNAL_AREA_SET_H
#define VMXC_INTERNAL_AREA_SET_H

#include "internal/hal.h"
#include "internal/string.h"
#include "vmxcore/area_set.h"

#define AREA_LEAF_CAPACITY  102u
#define AREA_INNER_CAPACITY 255u

/*
 * There are at most 2^52 areas (bases are 64-bit addresses of 4-KByte pages). With every node but the root at
 * least a quarter full, ten levels would hold 2 * 63^8 * 25 > 2^52 of them.
 */
#define AREA_SET_MAX_HEIGHT 9u

_Static_assert(VMXC_AREA_SET_RESERVE_LIMIT <= AREA_LEAF_CAPACITY / 4,
               "either part of a split node has room for all that can be reserved");

/* Bytes; where it is something else, prefetching is less of a help. */
#define AREA_CACHE_LINE 64u

/* "There is no such area": no base of an area has low bits. */
#define AREA_NO_BASE UINT64_MAX

/* What a leaf keeps of an area besides its base. */
struct area_tail {
    uint64_t size;
    const struct vmxc_backend_ops *backend;
    vmxc_hpa_t hpa;
    vmxc_map_flags flags;
    bool lazy;
};

struct area_node {
    vmxc_hpa_t next_hpa; /* used while the node is in a list of frames, 0 in the tree */
    uint32_t count;      /* entries */
    uint32_t level;      /* 0: leaf */
    union {
        uint64_t key[AREA_INNER_CAPACITY]; /* of either kind; a leaf uses the first 102 */
        struct {
            uint64_t key[AREA_LEAF_CAPACITY];
            struct area_tail tail[AREA_LEAF_CAPACITY];
        } leaf;
        struct {
            uint64_t key[AREA_INNER_CAPACITY];
            vmxc_hpa_t child_hpa[AREA_INNER_CAPACITY];
        } inner;
    } u;
};

_Static_assert(sizeof(struct area_tail) == 32, "a tail is half a cache line");
_Static_assert(sizeof(struct area_node) == VMXC_PAGE_SIZE, "a node is one frame");
_Static_assert(offsetof(struct area_node, u.leaf.tail) % sizeof(struct area_tail) == 0,
               "no tail crosses a cache line");
_Static_assert(offsetof(struct area_node, u.leaf.key) == offsetof(struct area_node, u.key) &&
                   offsetof(struct area_node, u.inner.key) == offsetof(struct area_node, u.key),
               "keys of both kinds lie at the same place");

/* One entry of a node, outside it. */
struct area_entry {
    uint64_t key;
    union {
        struct area_tail tail; /* of a leaf */
        vmxc_hpa_t child_hpa;  /* of an inner node */
    } u;
};

/* The node at `hpa`. The tree holds only frames that the HAL can map. */
static inline struct area_node *area_node_at(const struct vmxc_area_set *set, vmxc_hpa_t hpa)
{
    return vmxc_hal_frame_pointer(set->hal, hpa);
}

/* Asks for all keys of a leaf at once: a search would wait for memory at each of its first steps. */
static inline void area_leaf_prefetch(const struct area_node *leaf)
{
    const uint8_t *const bytes = (const uint8_t *)leaf;

    for (size_t line = 0; line < offsetof(struct area_node, u.leaf.tail); line += AREA_CACHE_LINE)
        vmxc_prefetch(bytes + line);
}

static inline uint32_t area_node_capacity(uint32_t level)
{
    return level == 0 ? AREA_LEAF_CAPACITY : AREA_INNER_CAPACITY;
}

/*
 * Index of the greatest key that is not above `gpa`, or 0 if all are above it. count > 0. The comparison may become a
 * branch: while keys come from memory, a processor that guesses is ahead of one that waits.
 */
static inline uint32_t area_node_search(const struct area_node *node, vmxc_gpa_t gpa)
{
    uint32_t first = 0;

    for (uint32_t candidates = node->count; candidates > 1;) {
        const uint32_t half = candidates / 2;
        first += node->u.key[first + half] <= gpa ? half : 0;
        candidates -= half;
    }
    return first;
}

/* True for a range that an area may have. */
static inline bool area_is_range_valid(const struct vmxc_area *area)
{
    return area->size != 0 && ((area->base | area->size) & VMXC_PAGE_MASK) == 0 &&
           area->size <= UINT64_MAX - area->base;
}

/* The area in a leaf's slot, and back. */
static inline struct vmxc_area area_node_area(const struct area_node *leaf, uint32_t slot)
{
    const struct area_tail *tail = &leaf->u.leaf.tail[slot];

    return (struct vmxc_area){
        .base = leaf->u.key[slot],
        .size = tail->size,
        .backend = tail->backend,
        .hpa = tail->hpa,
        .flags = tail->flags,
        .lazy = tail->lazy,
    };
}

static inline struct area_entry area_entry_of(const struct vmxc_area *area)
{
    return (struct area_entry){
        .key = area->base,
        .u.tail = {.size = area->size,
                   .backend = area->backend,
                   .hpa = area->hpa,
                   .flags = area->flags,
                   .lazy = area->lazy},
    };
}

/* Where a descent passed a node. */
struct area_step {
    struct area_node *node;
    vmxc_hpa_t hpa;
    uint32_t slot;
};

/* A descent: step[0] is in the leaf, step[height - 1] in the root. */
struct area_path {
    struct area_step step[AREA_SET_MAX_HEIGHT];
};

/* Follows `gpa` from root to leaf; each slot is that of area_node_search. In an empty set there is nothing to follow. */
void vmxc_area_path_find(const struct vmxc_area_set *set, vmxc_gpa_t gpa, struct area_path *path);

/* The base of the area after the path's slot, or AREA_NO_BASE: the key to the right on the lowest level with one. */
vmxc_gpa_t vmxc_area_path_next_base(const struct vmxc_area_set *set, const struct area_path *path);

/* Makes sure that `wanted` frames are spare. Errors: as vmxc_frame_alloc; nothing changed then. */
VMXC_MUST_CHECK enum vmxc_status vmxc_area_set_stock(struct vmxc_area_set *set, uint32_t wanted);

/* Frames that insertions below the path's leaf can take if at most `insertions` are made in the whole set. */
uint32_t vmxc_area_path_need(const struct vmxc_area_set *set, const struct area_path *path,
                             uint32_t insertions);

/* Takes a spare frame as an empty node. There is one: vmxc_area_set_stock came before. */
struct area_step vmxc_area_set_take_node(struct vmxc_area_set *set, uint32_t level);

/* Gives a node's frame back to the HAL. */
void vmxc_area_set_drop_node(struct vmxc_area_set *set, vmxc_hpa_t hpa);

/*
 * As vmxc_area_set_find, and remembers the area, so that it costs little where the last one holds `gpa` too. The
 * result is good until the set changes; NULL: no area holds `gpa`.
 */
static inline const struct vmxc_area *vmxc_area_set_recall(struct vmxc_area_set *set,
                                                           vmxc_gpa_t gpa)
{
    if (gpa - set->recent.base < set->recent.size)
        return &set->recent;
    return vmxc_area_set_find(set, gpa, &set->recent) == VMXC_OK ? &set->recent : NULL;
}

/* Before any change but an insertion, which leaves all other areas as they are. */
static inline void vmxc_area_set_forget(struct vmxc_area_set *set)
{
    set->recent.size = 0;
}

/* Announces stores anywhere in a node. */
static inline void area_node_touch(const struct vmxc_area_set *set, vmxc_hpa_t hpa)
{
    vmxc_hal_mark_dirty(set->hal, hpa, VMXC_PAGE_SIZE);
}

/* Copies `count` entries between nodes of one level, or within one; the ranges may overlap. */
static inline void area_node_move(struct area_node *to, uint32_t at, const struct area_node *from,
                                  uint32_t first, uint32_t count)
{
    memmove(&to->u.key[at], &from->u.key[first], count * sizeof(to->u.key[0]));
    if (to->level == 0)
        memmove(&to->u.leaf.tail[at], &from->u.leaf.tail[first],
                count * sizeof(to->u.leaf.tail[0]));
    else
        memmove(&to->u.inner.child_hpa[at], &from->u.inner.child_hpa[first],
                count * sizeof(to->u.inner.child_hpa[0]));
}

static inline void area_node_store(struct area_node *node, uint32_t slot,
                                   const struct area_entry *entry)
{
    node->u.key[slot] = entry->key;
    if (node->level == 0)
        node->u.leaf.tail[slot] = entry->u.tail;
    else
        node->u.inner.child_hpa[slot] = entry->u.child_hpa;
}

#endif
