/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Many look-ups at a time.
 *
 *     one by one     [PML4 PDPT PD PT............wait]                 [PML4 PDPT PD PT............wait]
 *
 *     interleaved    PML4 PML4 .. PDPT PDPT .. PD PD .. PT PT PT PT ..
 *                                                       [wait         ]
 *                                                          [wait         ]
 *
 *     near           PT PT PT ..       the table of the last look-up, as long as addresses stay in its range
 *
 * A group descends level by level, and each step asks for the entry of the next: a processor has many of these in flight,
 * while one look-up alone would wait for memory at each level. Sorted and clustered addresses need no descent at all.
 */
#include "internal/ept.h"

/* Addresses in flight: more than a core has outstanding misses, so that each has come when it is needed. */
#define LANES 64u

/* The answer for one address, whose deciding entry at `level` is `raw`. True if it is mapped. */
static bool answer(uint64_t raw, unsigned level, vmxc_gpa_t gpa, struct vmxc_ept_mapping *mapping,
                   enum vmxc_status *status)
{
    *status = raw == 0 ? VMXC_NOT_FOUND : VMXC_OK;
    if (raw == 0)
        return false;
    *mapping = vmxc_ept_decode(raw, level, gpa);
    return true;
}

/* ---- Interleaved ---- */

/* Where the next entry of each look-up lies; NULL: it is answered. */
struct group {
    const uint64_t *entry[LANES];
};

static inline void set_entry(const struct vmxc_ept *ept, struct group *group, unsigned lane,
                             vmxc_hpa_t table_hpa, unsigned index)
{
    const uint64_t *const entries = vmxc_hal_frame_pointer(ept->hal, table_hpa);

    group->entry[lane] = &entries[index];
    vmxc_prefetch(group->entry[lane]);
}

static void start_group(const struct vmxc_ept *ept, const vmxc_gpa_t *gpas, unsigned count,
                        struct group *group, enum vmxc_status *statuses)
{
    const uint64_t span = vmxc_ept_span(ept);

    for (unsigned lane = 0; lane < count; lane++) {
        group->entry[lane] = NULL;
        if (gpas[lane] < span)
            set_entry(ept, group, lane, ept->root_hpa,
                      vmxc_ept_index(gpas[lane], ept->config.levels));
        else
            statuses[lane] = VMXC_INVALID_INPUT;
    }
}

static size_t query_interleaved(const struct vmxc_ept *ept, const vmxc_gpa_t *gpas, unsigned count,
                                struct vmxc_ept_mapping *mappings, enum vmxc_status *statuses)
{
    struct group group;
    size_t mapped = 0;

    start_group(ept, gpas, count, &group, statuses);
    for (unsigned level = ept->config.levels; level > 0; level--) {
        for (unsigned lane = 0; lane < count; lane++) {
            if (group.entry[lane] == NULL)
                continue;
            const uint64_t raw = vmxc_ept_load_entry(group.entry[lane]);
            if (raw == 0 || vmxc_ept_is_leaf(raw, level)) {
                mapped += answer(raw, level, gpas[lane], &mappings[lane], &statuses[lane]);
                group.entry[lane] = NULL;
            } else {
                set_entry(ept, &group, lane, raw & VMXC_EPT_ADDRESS,
                          vmxc_ept_index(gpas[lane], level - 1));
            }
        }
    }
    return mapped;
}

/* ---- Near ---- */

/* The table that decided about the last address. */
struct near {
    struct vmxc_ept_node table; /* entries NULL: none yet */
    vmxc_gpa_t gpa;
};

static inline bool is_in_table(const struct near *near, vmxc_gpa_t gpa)
{
    return near->table.entries != NULL &&
           (gpa ^ near->gpa) < VMXC_EPT_ENTRY_SPAN(near->table.level + 1u);
}

/* The entry that decides about `gpa`, from the table at hand if that holds it. */
static inline uint64_t find_near(const struct vmxc_ept *ept, vmxc_gpa_t gpa, struct near *near)
{
    if (is_in_table(near, gpa)) {
        const unsigned level = near->table.level;
        const uint64_t raw = vmxc_ept_load(&near->table, vmxc_ept_index(gpa, level));
        if (raw == 0 || vmxc_ept_is_leaf(raw, level))
            return raw;
    }
    near->gpa = gpa;
    return vmxc_ept_descend(ept, gpa, &near->table);
}

static size_t query_near(const struct vmxc_ept *ept, const vmxc_gpa_t *gpas, unsigned count,
                         struct near *near, struct vmxc_ept_mapping *mappings,
                         enum vmxc_status *statuses)
{
    const uint64_t span = vmxc_ept_span(ept);
    size_t mapped = 0;

    for (unsigned i = 0; i < count; i++) {
        if (gpas[i] >= span) {
            statuses[i] = VMXC_INVALID_INPUT;
            continue;
        }
        const uint64_t raw = find_near(ept, gpas[i], near);
        mapped += answer(raw, near->table.level, gpas[i], &mappings[i], &statuses[i]);
    }
    return mapped;
}

/* ---- Groups ---- */

/* True if most addresses share the lowest table of the one before. */
static bool is_clustered(const vmxc_gpa_t *gpas, unsigned count)
{
    unsigned shared = 0;

    for (unsigned i = 1; i < count; i++)
        shared += (gpas[i] ^ gpas[i - 1]) < VMXC_PAGE_SIZE_2M;
    return 2 * shared >= count;
}

size_t vmxc_ept_query_many(const struct vmxc_ept *ept, const vmxc_gpa_t *gpas, size_t count,
                           struct vmxc_ept_mapping *mappings, enum vmxc_status *statuses)
{
    struct near near = {.gpa = 0};
    size_t mapped = 0;

    if (ept->hal == NULL) {
        for (size_t i = 0; i < count; i++)
            statuses[i] = VMXC_BAD_STATE;
        return 0;
    }
    for (size_t first = 0; first < count; first += LANES) {
        const unsigned lanes = count - first < LANES ? (unsigned)(count - first) : LANES;
        mapped +=
            is_clustered(&gpas[first], lanes)
                ? query_near(ept, &gpas[first], lanes, &near, &mappings[first], &statuses[first])
                : query_interleaved(ept, &gpas[first], lanes, &mappings[first], &statuses[first]);
    }
    return mapped;
}
