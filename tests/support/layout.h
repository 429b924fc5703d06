/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One linear address of a guest, laid out so that every EPT entry on the way to the page or to any of the guest's
 * paging structures can be changed without touching the others.
 *
 * Region 0 holds the page, region n the guest paging structure whose entry of level n is used. Regions lie so far
 * apart that they share no EPT entry below the root table:
 *
 *     guest           distance of regions                 entries of their own
 *     4-, 5-level,    2^39 (EPT of 4 levels: one PML4E)   all
 *     PAE             2^48 (EPT of 5 levels: one PML5E)   all
 *     32-bit          2^30 (one PDPTE)                    levels 1 to 3; those above are shared by all regions
 *     no paging       one region                          all
 */
#ifndef VMXSIM_TESTS_LAYOUT_H
#define VMXSIM_TESTS_LAYOUT_H

#include "support/machine.h"

#define LAYOUT_REGIONS     6u
#define LAYOUT_PAGE_OFFSET 0x128u

struct layout {
    enum guest_mode mode;
    unsigned ept_levels;
    unsigned ept_leaf; /* level of the EPT entries that map pages: 1, 2 or 3 */
    uint64_t linear;
    unsigned region_count;  /* 1 + guest levels */
    unsigned top_own_level; /* EPT entries up to this level belong to one region alone */

    uint64_t gpa[LAYOUT_REGIONS]; /* of the 4-KByte page or table */
    uint64_t hpa[LAYOUT_REGIONS];
    uint64_t ept_entry[LAYOUT_REGIONS][6]; /* host address of the EPT entry, by level */
    uint64_t ept_value[LAYOUT_REGIONS][6]; /* as built, accessed and dirty flags clear */
    uint64_t guest_entry[LAYOUT_REGIONS];  /* host address of the guest entry, by level */
    uint64_t
        guest_value[LAYOUT_REGIONS]; /* as built: present, writable, user; flags as asked for */
};

struct layout_options {
    enum guest_mode mode;
    unsigned ept_levels;
    unsigned ept_leaf;
    bool accessed_dirty;  /* EPTP bit 6 */
    bool guest_flags_set; /* guest entries have their accessed and dirty flags set already */
    bool unset_mode;      /* leave the guest registers alone */
};

/* Builds everything in `machine` (a new EPT each time) and points the VMCS at it. */
void layout_build(struct layout *layout, struct machine *machine,
                  const struct layout_options *options);

/* Writes every entry of the layout back to what it was after layout_build, and zero into the page's first words. */
void layout_reset(const struct layout *layout, struct machine *machine);

/* Guest-physical and host-physical address of the access itself, or of the guest entry of `region`. */
uint64_t layout_access_gpa(const struct layout *layout, unsigned region);
uint64_t layout_access_hpa(const struct layout *layout, unsigned region);

/* Stores to, or reads, the guest entry of a level (4 bytes in 32-bit paging, otherwise 8). */
void layout_set_guest_entry(const struct layout *layout, struct machine *machine, unsigned level,
                            uint64_t value);
uint64_t layout_get_guest_entry(const struct layout *layout, struct machine *machine,
                                unsigned level);

#endif
