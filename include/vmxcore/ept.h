/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Extended page tables: building, changing and reading one EPT hierarchy.
 *
 * Guarantees
 *  - All or nothing: a call that fails leaves every mapping, table and frame as it was.
 *  - Build first, publish last: new tables are complete before a present entry leads to them.
 *  - When something goes away: the entry is cleared, vmxc_hal.invalidate_ept is called once, and only then
 *    are tables and pages given back. Invalidation is due when rights shrink, when the address, memory type,
 *    ignore-PAT or page-size bit of a present entry changes, and before a reachable table is freed, even
 *    if every leaf in it was not present. It is never due for not-present -> present or for growing rights.
 *  - Unmapping and protecting allocate only to split large pages, and before any change.
 *
 * A mapping without any access right (VMXC_MAP_NONE) is kept in a not-present entry, so it can be found,
 * protected and unmapped like any other.
 *
 * Calls on an uninitialized hierarchy answer with VMXC_BAD_STATE; so does one whose HAL hands out a frame that
 * is refused (see vmxc_frame_alloc) or whose address is wider than maxphyaddr.
 *
 * Source: Intel SDM volume 3, "The Extended Page Table Mechanism (EPT)", "Guidelines for Use of the
 * INVEPT Instruction".
 */
#ifndef VMXC_EPT_H
#define VMXC_EPT_H

#include "vmxcore/hal.h"
#include "vmxcore/map_flags.h"

#ifdef __cplusplus
extern "C" {
#endif

/* One EPT entry as the processor reads it. */
struct vmxc_ept_entry {
    uint64_t raw;
};

/* Pages that one entry can map; the value is the level of that entry. */
enum vmxc_page_level {
    VMXC_PAGE_LEVEL_4K = 1,
    VMXC_PAGE_LEVEL_2M = 2,
    VMXC_PAGE_LEVEL_1G = 3,
};

/* Bytes that one entry at `level` (1 = PTE ... 5 = PML5E) covers. */
#define VMXC_EPT_ENTRY_SPAN(level) (UINT64_C(1) << (VMXC_PAGE_SHIFT + 9u * ((level)-1u)))

/*
 * What the processor offers and which of it to use. vmxc_caps_ept_config (caps.h) fills one from the
 * capability MSRs.
 */
struct vmxc_ept_config {
    uint8_t levels;            /* 4 or 5: the page-walk length */
    uint8_t maxphyaddr;        /* width of host-physical addresses in bits, 32 to 52 */
    uint8_t largest_page;      /* enum vmxc_page_level: the largest page to map with */
    bool execute_only;         /* execute-only translations are supported */
    bool mode_based_execute;   /* the VM runs with mode-based execute control */
    bool accessed_dirty;       /* set EPTP bit 6 */
    uint8_t table_memory_type; /* EPTP bits 2:0: VMXC_MEMORY_TYPE_WB or _UC */
};

/* One EPT hierarchy. A plain value; initialized by vmxc_ept_init, released by vmxc_ept_fini. */
struct vmxc_ept {
    const struct vmxc_hal *hal; /* NULL: uninitialized */
    struct vmxc_ept_config config;
    vmxc_hpa_t root_hpa;
    /* An address and the table of 2-MByte entries that serves it, where the last fault was; UINT64_MAX: none. */
    vmxc_gpa_t near_gpa;
    vmxc_hpa_t near_hpa;
};

/* What stands behind one guest-physical address. */
struct vmxc_ept_mapping {
    vmxc_gpa_t gpa;       /* first address of the page */
    vmxc_hpa_t hpa;       /* host address of that page */
    uint64_t page_size;   /* VMXC_PAGE_SIZE_4K, _2M or _1G */
    vmxc_map_flags flags; /* rights, explicit memory type, ignore-PAT */
    bool accessed, dirty; /* EPT accessed and dirty flags of the leaf */
};

/*
 * Supplies the host address of the 4-KByte page at `gpa`. On any status but VMXC_OK the whole map call
 * fails with that status, after `release` was called for each page supplied so far. So it does, with
 * VMXC_INVALID_INPUT, if an address is misaligned or wider than maxphyaddr.
 */
typedef enum vmxc_status (*vmxc_ept_supply_fn)(void *context, vmxc_gpa_t gpa, vmxc_hpa_t *page_hpa);

/* Takes back one page [hpa, hpa + size) that is no longer mapped and no longer reachable. */
typedef void (*vmxc_ept_release_fn)(void *context, vmxc_gpa_t gpa, vmxc_hpa_t hpa, uint64_t size);

/* Called per mapped page in ascending order; any status but VMXC_OK ends the walk with that status. */
typedef enum vmxc_status (*vmxc_ept_visit_fn)(void *context,
                                              const struct vmxc_ept_mapping *mapping);

/*
 * Creates an empty hierarchy: one zeroed root table, owned by `ept`.
 * Errors: VMXC_INVALID_INPUT (bad configuration), VMXC_NO_MEMORY, VMXC_BAD_STATE (the HAL's frame was
 * refused, or its address is wider than maxphyaddr).
 */
VMXC_MUST_CHECK enum vmxc_status vmxc_ept_init(struct vmxc_ept *ept, const struct vmxc_hal *hal,
                                               const struct vmxc_ept_config *config);

/*
 * Gives back every table after an invalidation: the root was reachable through the EPTP. Mapped pages go to `release`, which may
 * be NULL if the caller keeps track of them. Twice is harmless.
 */
void vmxc_ept_fini(struct vmxc_ept *ept, vmxc_ept_release_fn release, void *context);

/* True if the object is initialized and its configuration is consistent. */
bool vmxc_ept_is_valid(const struct vmxc_ept *ept);

/* The EPT pointer for the VMCS; 0 if uninitialized. Source: SDM, "Extended-Page-Table Pointer (EPTP)". */
uint64_t vmxc_ept_eptp(const struct vmxc_ept *ept);

/* Bytes of guest-physical address space the walk covers: 2^48 or 2^57, limited to 2^maxphyaddr; 0 if uninitialized. */
uint64_t vmxc_ept_span(const struct vmxc_ept *ept);

/*
 * Maps [gpa, gpa + size) to [hpa, hpa + size) with the largest pages that alignment and the configuration
 * allow. gpa, hpa and size are multiples of 4 KBytes.
 * Errors: VMXC_INVALID_INPUT (misaligned, empty, overflowing, beyond the walk's span or MAXPHYADDR, write
 * without read, contradictory flags), VMXC_UNSUPPORTED (execute-only or user execute where the
 * configuration lacks it), VMXC_ALREADY_EXISTS (any page of the range is mapped), VMXC_NO_MEMORY.
 */
VMXC_MUST_CHECK enum vmxc_status vmxc_ept_map(struct vmxc_ept *ept, vmxc_gpa_t gpa, vmxc_hpa_t hpa,
                                              uint64_t size, vmxc_map_flags flags);

/*
 * Maps [gpa, gpa + size) with 4-KByte pages that `supply` names one by one. `release` takes them back if the
 * call fails. Errors: as vmxc_ept_map, or what `supply` returned.
 */
VMXC_MUST_CHECK enum vmxc_status vmxc_ept_map_region(struct vmxc_ept *ept, vmxc_gpa_t gpa,
                                                     uint64_t size, vmxc_map_flags flags,
                                                     vmxc_ept_supply_fn supply,
                                                     vmxc_ept_release_fn release, void *context);

/*
 * As vmxc_ept_map, but whatever was mapped in the range before is replaced; replaced pages go to `release`
 * (which may be NULL) after invalidation. Between clearing the old entries and publishing the new ones the
 * range is not present, as the manual recommends for a change of address and page size: a guest that runs
 * meanwhile may cause an EPT violation, which need only be retried.
 * Errors: as vmxc_ept_map without VMXC_ALREADY_EXISTS.
 */
VMXC_MUST_CHECK enum vmxc_status vmxc_ept_remap(struct vmxc_ept *ept, vmxc_gpa_t gpa,
                                                vmxc_hpa_t hpa, uint64_t size, vmxc_map_flags flags,
                                                vmxc_ept_release_fn release, void *context);

/*
 * As vmxc_ept_map_region, but whatever was mapped in the range before is replaced. `undo` takes supplied
 * pages back if the call fails; replaced pages go to `release` after invalidation. Both may be NULL.
 */
VMXC_MUST_CHECK enum vmxc_status vmxc_ept_remap_region(struct vmxc_ept *ept, vmxc_gpa_t gpa,
                                                       uint64_t size, vmxc_map_flags flags,
                                                       vmxc_ept_supply_fn supply,
                                                       vmxc_ept_release_fn undo,
                                                       vmxc_ept_release_fn release, void *context);

/*
 * Unmaps whatever is mapped in the range; holes are fine. Large pages that lie partly in the range are
 * split; the rest of them stays mapped throughout. Tables that become empty are given back. Each page goes
 * to `release` (which may be NULL) after invalidation.
 * Errors: VMXC_INVALID_INPUT, VMXC_NO_MEMORY (a split needed a table).
 */
VMXC_MUST_CHECK enum vmxc_status vmxc_ept_unmap(struct vmxc_ept *ept, vmxc_gpa_t gpa, uint64_t size,
                                                vmxc_ept_release_fn release, void *context);

/*
 * Gives every page mapped in the range new rights, memory type and ignore-PAT; holes stay holes. Large pages
 * that lie partly in the range are split. Errors: VMXC_INVALID_INPUT, VMXC_UNSUPPORTED, VMXC_NO_MEMORY.
 */
VMXC_MUST_CHECK enum vmxc_status vmxc_ept_protect(struct vmxc_ept *ept, vmxc_gpa_t gpa,
                                                  uint64_t size, vmxc_map_flags flags);

/* How many tables vmxc_ept_merge replaces before it invalidates and gives them back. */
#define VMXC_EPT_MERGE_BATCH 32u

/*
 * Replaces tables in the range whose pages are contiguous and alike by large pages where the configuration
 * allows, and gives the tables back. The mapping of every address stays the same throughout. A page's accessed
 * and dirty flags are the OR of its parts'. One invalidation serves up to VMXC_EPT_MERGE_BATCH tables.
 * Errors: VMXC_INVALID_INPUT.
 */
VMXC_MUST_CHECK enum vmxc_status vmxc_ept_merge(struct vmxc_ept *ept, vmxc_gpa_t gpa,
                                                uint64_t size);

/* What is mapped at `gpa` (any alignment). Errors: VMXC_NOT_FOUND, VMXC_INVALID_INPUT (beyond the span). */
VMXC_MUST_CHECK enum vmxc_status vmxc_ept_query(const struct vmxc_ept *ept, vmxc_gpa_t gpa,
                                                struct vmxc_ept_mapping *mapping);

/*
 * As vmxc_ept_query for each of gpas[count], in any order, repetitions included: statuses[i] is what it answers for
 * gpas[i], and mappings[i] what it fills in (untouched unless statuses[i] is VMXC_OK). Returns how many are mapped.
 * Look-ups are interleaved, so that many loads are in flight; addresses near the ones before them are found
 * without a walk. The arrays may not overlap.
 */
size_t vmxc_ept_query_many(const struct vmxc_ept *ept, const vmxc_gpa_t *gpas, size_t count,
                           struct vmxc_ept_mapping *mappings, enum vmxc_status *statuses);

/*
 * Calls `visit` for each page that lies in the range, wholly or partly, in ascending order. The visitor must
 * not change the hierarchy. Errors: VMXC_INVALID_INPUT, or what `visit` returned.
 */
VMXC_MUST_CHECK enum vmxc_status vmxc_ept_walk(const struct vmxc_ept *ept, vmxc_gpa_t gpa,
                                               uint64_t size, vmxc_ept_visit_fn visit,
                                               void *context);

/* Number of tables (root included) of the hierarchy; for accounting and tests. */
uint64_t vmxc_ept_count_tables(const struct vmxc_ept *ept);

#ifdef __cplusplus
}
#endif

#endif
