/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sub-page write permissions: writes to 128-byte parts of a page that EPT makes readable but not writable.
 *
 *   SPPTP --> [ L4 ] -> [ L3 ] -> [ L2 ] -> [ L1 ] --> vector: bit 2 * n is 1 if sub-page n may be written
 *   indexed with bits 47:39    38:30     29:21     20:12 of the guest-physical address
 *
 *   per entry:   not valid?                    -> SPP-related VM exit, miss (levels 4 to 2)
 *                reserved bit?                 -> SPP-related VM exit, misconfiguration
 *   the vector:  the sub-page's bit is 0?      -> EPT violation, as if there were no such permissions
 *
 * Source: Intel SDM volume 3, "Sub-Page Write Permissions".
 */
#include "internal/walk.h"

#define SPPT_LEVELS   4u
#define SPPT_WIDTH    48u /* bits of an address that the table translates */
#define INDEX_BITS    9u
#define TABLE_ENTRIES (1u << INDEX_BITS)

static uint64_t sub_page(uint64_t gpa)
{
    return (gpa & VMXC_PAGE_MASK) / VMXC_SUB_PAGE_SIZE;
}

static bool is_in_one_sub_page(const struct ept_request *request)
{
    return sub_page(request->gpa) == sub_page(request->gpa + request->length - 1);
}

/*
 * Only the translation of a linear address is eligible: neither page walks nor the flags that they set. What an
 * access does on one page is one write here; it must not span sub-pages.
 */
bool vmxsim_spp_applies(const struct walk *walk, const struct ept_request *request, uint64_t rights,
                        uint64_t leaf, unsigned leaf_level)
{
    const bool write = request->access & VMXC_EPT_VIOLATION_WRITE;
    const bool read_only = (rights & (VMXC_EPT_READ | VMXC_EPT_WRITE)) == VMXC_EPT_READ;

    return walk->cpu->ept.sub_page_permissions && leaf_level == 1 &&
           (leaf & VMXC_EPT_SUB_PAGE_WRITE) && write && read_only && walk->linear_valid &&
           request->guest_level == 0 && is_in_one_sub_page(request) &&
           request->gpa >> SPPT_WIDTH == 0;
}

static uint64_t read_entry(struct walk *walk, uint64_t gpa, uint64_t table, unsigned level)
{
    const uint64_t index = (gpa >> (VMXC_PAGE_SHIFT + INDEX_BITS * (level - 1))) % TABLE_ENTRIES;
    const uint64_t hpa = table + 8 * index;
    const uint64_t value = vmxsim_memory_read64(walk->cpu->memory, hpa);
    struct vmxsim_trail_entry *step =
        vmxsim_trail_add(walk, VMXSIM_TRAIL_SPPT_ENTRY, hpa, gpa, value);

    if (step) {
        step->level = (uint8_t)level;
        step->leaf = level == 1;
    }
    return value;
}

static bool end_with_event(struct walk *walk, enum vmxsim_walk_rule rule, uint64_t gpa,
                           uint64_t offending)
{
    vmxsim_trail_verdict(walk, rule, offending);
    return vmxsim_end_with_spp_event(walk, rule, gpa);
}

/* The vector of the page at `gpa`. False: the access has ended. */
static bool find_vector(struct walk *walk, uint64_t gpa, uint64_t *vector)
{
    const struct ept_state *ept = &walk->cpu->ept;
    uint64_t table = ept->sppt_root;

    for (unsigned level = SPPT_LEVELS; level > 1; level--) {
        const uint64_t entry = read_entry(walk, gpa, table, level);

        if (!(entry & VMXC_SPPT_VALID))
            return end_with_event(walk, VMXSIM_RULE_EPT_SPP_MISS, gpa, VMXC_SPPT_VALID);
        if (entry & ept->sppt_reserved)
            return end_with_event(walk, VMXSIM_RULE_EPT_SPP_MC, gpa, entry & ept->sppt_reserved);
        table = entry & VMXC_SPPT_ADDRESS;
    }
    *vector = read_entry(walk, gpa, table, 1);
    if (*vector & VMXC_SPPT_VECTOR_RESERVED)
        return end_with_event(walk, VMXSIM_RULE_EPT_SPP_MC, gpa,
                              *vector & VMXC_SPPT_VECTOR_RESERVED);
    return true;
}

bool vmxsim_walk_spp(struct walk *walk, const struct ept_request *request, uint64_t rights,
                     uint64_t leaf)
{
    const uint64_t bit = UINT64_C(1) << (2 * sub_page(request->gpa));
    uint64_t vector = 0;

    if (!find_vector(walk, request->gpa, &vector))
        return false;
    if (vector & bit)
        return true;
    vmxsim_trail_verdict(walk, VMXSIM_RULE_EPT_SPP_DENIED, bit);
    return vmxsim_end_with_ept_violation(walk, VMXSIM_RULE_EPT_SPP_DENIED, request, rights, leaf,
                                         true);
}
