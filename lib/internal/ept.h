/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the EPT module share: entries, nodes, and the steps that operations are made of.
 *
 * An entry is in one of three states.
 *
 *     empty     raw is 0
 *     present   gives a right; the processor uses it
 *     held      gives no right, so the processor ignores it, but it carries an address; bit 11 marks it
 *
 * Held entries serve two ends. A mapping without rights (VMXC_MAP_NONE) is a held leaf. And within one
 * operation, whatever is not yet or no longer reachable hangs from held entries:
 *
 *     map      stage ------------------------------> publish
 *                    \-- on failure --> sweep
 *     unmap    split -> revoke -> invalidate -> sweep
 *     remap    stage aside -> split -> exchange -> invalidate -> publish, sweep what was exchanged
 *     protect  split -> rewrite -> invalidate
 *     merge    rewrite -> invalidate -> free
 *
 * `stage` and `split` may run out of memory, and do all they need before anything reachable changes; no
 * other step can fail. Between operations a table is never held, and never empty unless it is the root.
 */
#ifndef VMXC_INTERNAL_EPT_H
#define VMXC_INTERNAL_EPT_H

#include <stdatomic.h>

#include "internal/hal.h"
#include "vmxcore/ept.h"

#define VMXC_EPT_HELD VMXC_EPT_IGNORED_11

/* The bits of a leaf that a processor sets by itself. */
#define VMXC_EPT_USE (VMXC_EPT_ACCESSED | VMXC_EPT_DIRTY)

/* ---- Geometry -------------------------------------------------------------------------------------- */

static inline unsigned vmxc_ept_index(vmxc_gpa_t gpa, unsigned level)
{
    return (unsigned)(gpa >> (VMXC_PAGE_SHIFT + 9u * (level - 1u))) &
           (VMXC_EPT_ENTRIES_PER_TABLE - 1u);
}

/* The end of the part of [gpa, end) that lies in the entry of `gpa` at `level`. */
static inline vmxc_gpa_t vmxc_ept_part_end(vmxc_gpa_t gpa, vmxc_gpa_t end, unsigned level)
{
    const vmxc_gpa_t entry_end = (gpa | (VMXC_EPT_ENTRY_SPAN(level) - 1)) + 1;

    return entry_end < end ? entry_end : end;
}

/* ---- Entries --------------------------------------------------------------------------------------- */

/* Which bits of an entry give a right. */
static inline uint64_t vmxc_ept_rights_mask(const struct vmxc_ept *ept)
{
    return ept->config.mode_based_execute ? VMXC_EPT_RWX | VMXC_EPT_USER_EXECUTE : VMXC_EPT_RWX;
}

static inline bool vmxc_ept_is_present(const struct vmxc_ept *ept, uint64_t raw)
{
    return (raw & vmxc_ept_rights_mask(ept)) != 0;
}

/* True if a non-empty entry at `level` maps a page, false if it leads to a table. */
static inline bool vmxc_ept_is_leaf(uint64_t raw, unsigned level)
{
    return level == 1 || (raw & VMXC_EPT_LARGE_PAGE) != 0;
}

/* The same entry, out of the processor's sight. */
static inline uint64_t vmxc_ept_hold(const struct vmxc_ept *ept, uint64_t raw)
{
    return (raw & ~vmxc_ept_rights_mask(ept)) | VMXC_EPT_HELD;
}

/* The same entry with `rights`; without any it stays held. */
static inline uint64_t vmxc_ept_grant(const struct vmxc_ept *ept, uint64_t raw, uint64_t rights)
{
    return rights == 0 ? vmxc_ept_hold(ept, raw)
                       : (vmxc_ept_hold(ept, raw) & ~VMXC_EPT_HELD) | rights;
}

/* An entry that leads to a table; rights are decided in the leaves alone. */
static inline uint64_t vmxc_ept_table_entry(const struct vmxc_ept *ept, vmxc_hpa_t table_hpa)
{
    return table_hpa | vmxc_ept_rights_mask(ept);
}

/* ---- Nodes: tables in use --------------------------------------------------------------------------- */

/* One table during an operation. */
struct vmxc_ept_node {
    uint64_t *entries; /* read and written through vmxc_ept_load and vmxc_ept_store */
    vmxc_hpa_t hpa;
    unsigned level; /* of its entries: 1 = PTE ... 5 = PML5E */
    bool reachable; /* a processor may walk into it */
};

/* The processor may set accessed and dirty flags at any time, so entries are read and written whole. */
static inline uint64_t vmxc_ept_load_entry(const uint64_t *entry)
{
    return atomic_load_explicit((const _Atomic uint64_t *)entry, memory_order_acquire);
}

static inline uint64_t vmxc_ept_load(const struct vmxc_ept_node *node, unsigned index)
{
    return vmxc_ept_load_entry(&node->entries[index]);
}

/* Release: a processor that sees the entry sees what it leads to. */
static inline void vmxc_ept_store(const struct vmxc_ept *ept, const struct vmxc_ept_node *node,
                                  unsigned index, uint64_t raw)
{
    vmxc_hal_mark_dirty(ept->hal, node->hpa + index * sizeof(raw), sizeof(raw));
    atomic_store_explicit((_Atomic uint64_t *)&node->entries[index], raw, memory_order_release);
}

/*
 * Replaces `*expected` by `raw` unless the processor has set a flag meanwhile; then *expected is what is
 * there now, and the caller tries again.
 */
static inline bool vmxc_ept_replace(const struct vmxc_ept *ept, const struct vmxc_ept_node *node,
                                    unsigned index, uint64_t *expected, uint64_t raw)
{
    vmxc_hal_mark_dirty(ept->hal, node->hpa + index * sizeof(raw), sizeof(raw));
    return atomic_compare_exchange_strong_explicit((_Atomic uint64_t *)&node->entries[index],
                                                   expected, raw, memory_order_release,
                                                   memory_order_acquire);
}

static inline struct vmxc_ept_node vmxc_ept_node_at(const struct vmxc_ept *ept, vmxc_hpa_t hpa,
                                                    unsigned level, bool reachable)
{
    return (struct vmxc_ept_node){.entries = vmxc_hal_frame_pointer(ept->hal, hpa),
                                  .hpa = hpa,
                                  .level = level,
                                  .reachable = reachable};
}

static inline struct vmxc_ept_node vmxc_ept_root_node(const struct vmxc_ept *ept)
{
    return vmxc_ept_node_at(ept, ept->root_hpa, ept->config.levels, true);
}

/* The table that the table entry `raw` of `node` leads to. */
static inline struct vmxc_ept_node vmxc_ept_child(const struct vmxc_ept *ept,
                                                  const struct vmxc_ept_node *node, uint64_t raw)
{
    return vmxc_ept_node_at(ept, raw & VMXC_EPT_ADDRESS, node->level - 1u,
                            node->reachable && vmxc_ept_is_present(ept, raw));
}

/*
 * Descends to the entry that decides about `gpa`: a leaf, or an empty one. Returns it; *node is its table. Between
 * operations no table is held, so all on the way are reachable.
 */
static inline uint64_t vmxc_ept_descend(const struct vmxc_ept *ept, vmxc_gpa_t gpa,
                                        struct vmxc_ept_node *node)
{
    vmxc_hpa_t table_hpa = ept->root_hpa;
    unsigned level = ept->config.levels;

    for (;;) {
        const struct vmxc_ept_node table = vmxc_ept_node_at(ept, table_hpa, level, true);
        const uint64_t raw = vmxc_ept_load(&table, vmxc_ept_index(gpa, level));
        if (raw == 0 || vmxc_ept_is_leaf(raw, level)) {
            *node = table;
            return raw;
        }
        table_hpa = raw & VMXC_EPT_ADDRESS;
        level--;
    }
}

/*
 * The table of 2-MByte entries that was passed last: most faults follow one that passed the same. So
 *
 *     if (vmxc_ept_is_near(ept, gpa) || vmxc_ept_approach(ept, gpa))
 *         raw = vmxc_ept_descend_near(ept, gpa, &node);
 *
 * takes the last two steps of vmxc_ept_descend. It is forgotten before any table may be given back.
 */
static inline void vmxc_ept_forget(struct vmxc_ept *ept)
{
    ept->near_gpa = UINT64_MAX; /* beyond every span */
}

static inline bool vmxc_ept_is_near(const struct vmxc_ept *ept, vmxc_gpa_t gpa)
{
    return (gpa ^ ept->near_gpa) < VMXC_EPT_ENTRY_SPAN(VMXC_PAGE_LEVEL_1G);
}

/* Goes there for the first time. False if there is no such table: nothing, or a 1-GByte page. */
bool vmxc_ept_approach(struct vmxc_ept *ept, vmxc_gpa_t gpa);

static inline uint64_t vmxc_ept_descend_near(const struct vmxc_ept *ept, vmxc_gpa_t gpa,
                                             struct vmxc_ept_node *node)
{
    *node = vmxc_ept_node_at(ept, ept->near_hpa, VMXC_PAGE_LEVEL_2M, true);
    const uint64_t raw = vmxc_ept_load(node, vmxc_ept_index(gpa, VMXC_PAGE_LEVEL_2M));
    if (raw == 0 || vmxc_ept_is_leaf(raw, VMXC_PAGE_LEVEL_2M))
        return raw;
    *node = vmxc_ept_node_at(ept, raw & VMXC_EPT_ADDRESS, VMXC_PAGE_LEVEL_4K, true);
    return vmxc_ept_load(node, vmxc_ept_index(gpa, VMXC_PAGE_LEVEL_4K));
}

/* The lowest table that the whole range [gpa, end) lies in. */
struct vmxc_ept_node vmxc_ept_narrowest(const struct vmxc_ept *ept, vmxc_gpa_t gpa, vmxc_gpa_t end);

/* A zeroed table. Errors: VMXC_NO_MEMORY, VMXC_BAD_STATE (unusable, or wider than maxphyaddr). */
VMXC_MUST_CHECK enum vmxc_status vmxc_ept_alloc_table(const struct vmxc_ept *ept,
                                                      vmxc_hpa_t *table_hpa);

/* ---- Arguments -------------------------------------------------------------------------------------- */

/*
 * Checks that `ept` is initialized and that [gpa, gpa + size) is aligned, not empty and within the span;
 * *end is its end. Errors: VMXC_BAD_STATE, VMXC_INVALID_INPUT.
 */
VMXC_MUST_CHECK enum vmxc_status vmxc_ept_check_range(const struct vmxc_ept *ept, vmxc_gpa_t gpa,
                                                      uint64_t size, vmxc_gpa_t *end);

/* True if [hpa, hpa + size) is aligned and fits in maxphyaddr bits. */
static inline bool vmxc_ept_is_host_range(const struct vmxc_ept *ept, vmxc_hpa_t hpa, uint64_t size)
{
    const uint64_t limit = UINT64_C(1) << ept->config.maxphyaddr;

    return (hpa & VMXC_PAGE_MASK) == 0 && hpa < limit && size <= limit - hpa;
}

/* The same for one frame, which is aligned. */
static inline bool vmxc_ept_is_host_frame(const struct vmxc_ept *ept, vmxc_hpa_t hpa)
{
    return hpa >> ept->config.maxphyaddr == 0;
}

/* Three rights have the same bit on both sides. */
_Static_assert(VMXC_MAP_READ == VMXC_EPT_READ && VMXC_MAP_WRITE == VMXC_EPT_WRITE &&
                   VMXC_MAP_EXECUTE == VMXC_EPT_EXECUTE,
               "rights are copied");

/* The bits that `flags` mean in a leaf: rights (or held), memory type, ignore-PAT. Errors: see vmxc_ept_map. */
VMXC_MUST_CHECK enum vmxc_status vmxc_ept_encode(const struct vmxc_ept *ept, vmxc_map_flags flags,
                                                 uint64_t *leaf);

_Static_assert(VMXC_MAP_IGNORE_PAT == VMXC_EPT_IGNORE_PAT, "it is copied");

/* The same for flags that vmxc_ept_encode has accepted, those of an area for instance. */
static inline uint64_t vmxc_ept_leaf_of(vmxc_map_flags flags)
{
    uint64_t leaf = flags & (VMXC_MAP_RWX | VMXC_MAP_IGNORE_PAT);

    if ((flags & VMXC_MAP_TYPED) != 0)
        leaf |= VMXC_FIELD_MAKE((flags & VMXC_MAP_TYPE_MASK) >> VMXC_MAP_TYPE_SHIFT,
                                VMXC_EPT_MEMORY_TYPE);
    else if ((flags & (VMXC_MAP_DEVICE | VMXC_MAP_UNCACHED)) == 0)
        leaf |= VMXC_FIELD_MAKE(VMXC_MEMORY_TYPE_WB, VMXC_EPT_MEMORY_TYPE);
    if ((flags & VMXC_MAP_USER) != 0)
        leaf |= VMXC_EPT_USER_EXECUTE;
    if ((flags & VMXC_MAP_ACCESS) == 0)
        leaf |= VMXC_EPT_HELD;
    return leaf;
}

/* The inverse: what the leaf `raw` at `level` says about the page that holds `gpa`. */
static inline struct vmxc_ept_mapping vmxc_ept_decode(uint64_t raw, unsigned level, vmxc_gpa_t gpa)
{
    const uint64_t page_size = VMXC_EPT_ENTRY_SPAN(level);
    vmxc_map_flags flags = VMXC_MAP_TYPE(VMXC_FIELD_GET(raw, VMXC_EPT_MEMORY_TYPE));

    flags |= (vmxc_map_flags)(raw & VMXC_EPT_RWX);
    flags |= (raw & VMXC_EPT_USER_EXECUTE) != 0 ? VMXC_MAP_USER : 0;
    flags |= (raw & VMXC_EPT_IGNORE_PAT) != 0 ? VMXC_MAP_IGNORE_PAT : 0;
    return (struct vmxc_ept_mapping){.gpa = gpa & ~(page_size - 1),
                                     .hpa = raw & VMXC_EPT_ADDRESS,
                                     .page_size = page_size,
                                     .flags = flags,
                                     .accessed = (raw & VMXC_EPT_ACCESSED) != 0,
                                     .dirty = (raw & VMXC_EPT_DIRTY) != 0};
}

/* ---- Steps: building (ept_stage.c) ------------------------------------------------------------------ */

/* What a range is to be mapped to. */
struct vmxc_ept_source {
    uint64_t leaf; /* from vmxc_ept_encode */
    /* Linear: the page at gpa goes to gpa + offset (modulo 2^64), with pages up to `largest_page`. */
    uint64_t offset;
    unsigned largest_page;
    /* If not NULL: pages are named one by one, all 4 KBytes. */
    vmxc_ept_supply_fn supply;
    vmxc_ept_release_fn release; /* takes supplied pages back; may be NULL */
    void *context;
};

/* True if nothing is mapped in the range. */
bool vmxc_ept_is_empty(const struct vmxc_ept *ept, const struct vmxc_ept_node *node, vmxc_gpa_t gpa,
                       vmxc_gpa_t end);

/*
 * Maps the empty range [gpa, end) below `node`, out of the processor's sight: what hangs directly from
 * reachable tables is held, everything below is final. On failure nothing is left behind.
 */
VMXC_MUST_CHECK enum vmxc_status vmxc_ept_stage(const struct vmxc_ept *ept,
                                                const struct vmxc_ept_node *node, vmxc_gpa_t gpa,
                                                vmxc_gpa_t end,
                                                const struct vmxc_ept_source *source);

/*
 * Asks a source that names pages one by one for the one at `gpa`; a page with an impossible address goes straight back.
 * Errors: VMXC_INVALID_INPUT, or what `supply` returned.
 */
VMXC_MUST_CHECK enum vmxc_status vmxc_ept_supply_page(const struct vmxc_ept *ept, vmxc_gpa_t gpa,
                                                      const struct vmxc_ept_source *source,
                                                      vmxc_hpa_t *page_hpa);

/* Makes what is staged in the range reachable; `leaf` as in the source. */
void vmxc_ept_publish(const struct vmxc_ept *ept, const struct vmxc_ept_node *node, vmxc_gpa_t gpa,
                      vmxc_gpa_t end, uint64_t leaf);

/* ---- Steps: taking down (ept_unmap.c) --------------------------------------------------------------- */

/*
 * Gives back everything in the range that is out of the processor's sight: pages to `release` (may be NULL),
 * tables to the HAL. Present entries of reachable tables must lead to tables only.
 */
void vmxc_ept_sweep(const struct vmxc_ept *ept, const struct vmxc_ept_node *node, vmxc_gpa_t gpa,
                    vmxc_gpa_t end, vmxc_ept_release_fn release, void *context);

/* Drops what processors may have cached of this hierarchy. */
void vmxc_ept_invalidate(const struct vmxc_ept *ept);

/* ---- Steps: splitting (ept_split.c) ----------------------------------------------------------------- */

/* Two boundaries cut at most one 1-GByte and one 2-MByte page each. */
#define VMXC_EPT_RESERVE_MAX 4u

struct vmxc_ept_reserve {
    vmxc_hpa_t tables[VMXC_EPT_RESERVE_MAX];
    unsigned count;
};

/* Takes the tables that vmxc_ept_split needs for [gpa, end), no more. On failure none is kept. */
VMXC_MUST_CHECK enum vmxc_status vmxc_ept_reserve(const struct vmxc_ept *ept, vmxc_gpa_t gpa,
                                                  vmxc_gpa_t end, struct vmxc_ept_reserve *reserve);

/*
 * Splits the large pages that lie partly in [gpa, end), so that no page crosses either boundary. Uses the
 * whole reserve. Every address stays mapped throughout. True if a present page was split.
 */
bool vmxc_ept_split(const struct vmxc_ept *ept, vmxc_gpa_t gpa, vmxc_gpa_t end,
                    struct vmxc_ept_reserve *reserve);

#endif
