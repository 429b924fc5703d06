/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a walk meets the cache of translations.
 *
 *     a mapping is used   if it suffices: a write needs dirty flags that are known to be set; with sub-page permissions a missing
 *                         right is the walk's business; shadow-stack accesses always walk
 *     rights are checked  against the registers as they are now. One missing: the access ends. With the lazy cache the tables may
 *                         say otherwise by then; a processor may fault all the same, and the fault drops the mapping
 *     a walk that went through becomes a mapping
 *
 * Source: Intel SDM volume 3, "Details of TLB Use", "Creating and Using Cached Translation Information".
 */
#include "internal/tlb.h"

static enum tlb_kind linear_kind(const struct vmxsim_cpu *cpu)
{
    return cpu->ept.enabled ? TLB_COMBINED : TLB_LINEAR;
}

/* 0: nothing translates, so that there is nothing to cache. */
static uint64_t mapping_size(uint64_t guest_page_size, uint64_t ept_page_size)
{
    if (guest_page_size == 0 || ept_page_size == 0)
        return guest_page_size | ept_page_size;
    return guest_page_size < ept_page_size ? guest_page_size : ept_page_size;
}

static bool lacks_ept_rights(const struct walk *walk, const struct ept_request *request,
                             const struct tlb_mapping *mapping)
{
    return walk->cpu->ept.enabled &&
           vmxsim_ept_missing_rights(walk->cpu, request, mapping->ept.rights) != 0;
}

/* ---- Linear addresses ---- */

static bool suffices(const struct walk *walk, const struct ept_request *request,
                     const struct tlb_mapping *mapping)
{
    return (!walk->write || mapping->dirty) &&
           (!walk->cpu->ept.sub_page_permissions || !lacks_ept_rights(walk, request, mapping));
}

bool vmxsim_walk_cached(struct walk *walk, uint32_t length, struct linear_translation *linear,
                        struct ept_translation *ept, bool *ended)
{
    *ended = false;
    walk->mapping = NULL;
    if (walk->tlb == NULL || walk->shadow_stack)
        return false;
    struct tlb_mapping *const mapping =
        vmxsim_tlb_find(walk->cpu, linear_kind(walk->cpu), walk->linear);
    if (mapping == NULL)
        return false;

    const uint64_t offset = walk->linear - mapping->page;
    const struct ept_request request = {
        .gpa = mapping->linear.gpa + offset,
        .access = vmxsim_walk_ept_access(walk),
        .linear = &mapping->linear.rights,
        .length = length,
    };
    if (!suffices(walk, &request, mapping) || !vmxsim_tlb_compare(walk->cpu, mapping))
        return false;
    vmxsim_tlb_use(walk, mapping);
    *linear = mapping->linear;
    *ept = mapping->ept;
    linear->gpa += offset;
    ept->hpa += offset;
    *ended = (walk->cpu->guest.mode != PAGING_NONE &&
              !vmxsim_paging_check_rights(walk, &linear->rights)) ||
             (walk->cpu->ept.enabled && !vmxsim_ept_check_cached(walk, &request, ept));
    walk->mapping = mapping;
    return true;
}

void vmxsim_walk_cache(struct walk *walk, uint32_t first, const struct linear_translation *linear,
                       const struct ept_translation *ept)
{
    const uint64_t size = mapping_size(linear->page_size, ept->page_size);

    if (walk->tlb == NULL)
        return;
    walk->tlb->stats.walks++;
    if (walk->shadow_stack || size == 0)
        return;
    const uint64_t offset = walk->linear & (size - 1);
    struct tlb_mapping mapping = {
        .page = walk->linear - offset,
        .size = size,
        .kind = (uint8_t)linear_kind(walk->cpu),
        .global = linear->global && (walk->cpu->guest.cr4 & VMXC_CR4_PGE),
        .tags = vmxsim_tlb_tags(walk->cpu, linear_kind(walk->cpu), walk->linear),
        .linear = *linear,
        .ept = *ept,
    };
    mapping.linear.gpa -= offset;
    mapping.ept.hpa -= offset;
    walk->mapping = vmxsim_tlb_add(walk, &mapping, first);
}

/* ---- Guest-physical addresses: mappings of their own only if they may be wrong, else they would save nothing ---- */

static bool has_guest_physical(const struct walk *walk)
{
    return walk->tlb != NULL && walk->tlb->mode == VMXSIM_TLB_LAZY && !walk->shadow_stack;
}

bool vmxsim_walk_cached_ept(struct walk *walk, const struct ept_request *request,
                            struct ept_translation *ept, bool *ended)
{
    const struct ept_state *state = &walk->cpu->ept;
    const bool write = request->access & VMXC_EPT_VIOLATION_WRITE;

    *ended = false;
    if (!has_guest_physical(walk))
        return false;
    struct tlb_mapping *const mapping =
        vmxsim_tlb_find(walk->cpu, TLB_GUEST_PHYSICAL, request->gpa);
    if (mapping == NULL || (write && state->accessed_dirty && !mapping->dirty) ||
        (state->sub_page_permissions && lacks_ept_rights(walk, request, mapping)) ||
        !vmxsim_tlb_compare(walk->cpu, mapping))
        return false;
    vmxsim_tlb_use(walk, mapping);
    *ept = mapping->ept;
    ept->hpa += request->gpa - mapping->page;
    *ended = !vmxsim_ept_check_cached(walk, request, ept);
    return true;
}

void vmxsim_walk_cache_ept(struct walk *walk, uint32_t first, const struct ept_request *request,
                           const struct ept_translation *ept)
{
    const uint64_t offset = request->gpa & (ept->page_size - 1);

    if (!has_guest_physical(walk))
        return;
    struct tlb_mapping mapping = {
        .page = request->gpa - offset,
        .size = ept->page_size,
        .kind = TLB_GUEST_PHYSICAL,
        .tags = vmxsim_tlb_tags(walk->cpu, TLB_GUEST_PHYSICAL, request->gpa),
        .ept = *ept,
    };
    mapping.ept.hpa -= offset;
    (void)vmxsim_tlb_add(walk, &mapping, first);
}
