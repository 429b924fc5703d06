/* SPDX-License-Identifier: Apache-2.0 */
#include "support/space_check.h"

#include "support/machine.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAGE_OF(address) ((address) & ~VMXC_PAGE_MASK)

bool space_check_fail(struct space_check *check, const char *format, ...)
{
    va_list arguments;
    if (check->message[0] != '\0')
        return false;
    va_start(arguments, format);
    vsnprintf(check->message, sizeof(check->message), format, arguments);
    va_end(arguments);
    return false;
}

uint64_t space_check_stamp(uint64_t gpa)
{
    return PAGE_OF(gpa) * UINT64_C(0x9e3779b97f4a7c15) + 1;
}

/* ---- What the flags mean in an EPT entry ---- */

static uint32_t type_of(uint32_t flags)
{
    if ((flags & VMXC_MAP_TYPED) != 0)
        return (flags & VMXC_MAP_TYPE_MASK) >> VMXC_MAP_TYPE_SHIFT;
    return (flags & (VMXC_MAP_DEVICE | VMXC_MAP_UNCACHED)) != 0 ? VMXC_MEMORY_TYPE_UC
                                                                : VMXC_MEMORY_TYPE_WB;
}

/* Rights, explicit type and ignore-PAT: what a mapping with these flags comes to. */
static uint32_t effective(uint32_t flags)
{
    return (flags & (VMXC_MAP_ACCESS | VMXC_MAP_IGNORE_PAT)) | VMXC_MAP_TYPE(type_of(flags));
}

/* Bits 6:3 of the qualification for these rights. */
static uint64_t entry_bits(const struct space_check *check, uint32_t flags)
{
    return ((flags & VMXC_MAP_READ) != 0 ? VMXC_EPT_VIOLATION_ENTRY_READ : 0) |
           ((flags & VMXC_MAP_WRITE) != 0 ? VMXC_EPT_VIOLATION_ENTRY_WRITE : 0) |
           ((flags & VMXC_MAP_EXECUTE) != 0 ? VMXC_EPT_VIOLATION_ENTRY_EXECUTE : 0) |
           (check->mode_based && (flags & VMXC_MAP_USER) != 0
                ? VMXC_EPT_VIOLATION_ENTRY_USER_EXECUTE
                : 0);
}

/* ---- The cache ---- */

static void on_invalidate(void *context, uint64_t eptp)
{
    struct space_check *check = context;
    if (eptp != vmxc_addrspace_eptp(check->space))
        space_check_fail(check, "invalidation of EPTP %#" PRIx64 ", which is not this space's",
                         eptp);
    memset(check->cache, 0, sizeof(check->cache));
}

static bool refers_to(const struct cached_translation *entry, uint64_t hpa)
{
    for (unsigned i = 0; i < entry->table_count; i++)
        if (entry->tables[i] == hpa)
            return true;
    return entry->hpa == hpa;
}

static void on_trace(void *context, const struct vmxc_trace_event *event)
{
    struct space_check *check = context;
    check->splits += event->kind == VMXC_TRACE_SPLIT;
    check->merges += event->kind == VMXC_TRACE_MERGE;
    if (event->kind != VMXC_TRACE_FRAME_FREE)
        return;
    for (unsigned i = 0; i < CACHE_ENTRIES; i++)
        if (check->cache[i].valid && refers_to(&check->cache[i], event->hpa))
            space_check_fail(check,
                             "frame %#" PRIx64 " given back before the translation of %#" PRIx64
                             " was invalidated",
                             event->hpa, check->cache[i].gpa);
}

static void remember(struct space_check *check, const struct vmxsim_outcome *outcome,
                     const struct vmxsim_trail *trail, uint32_t flags)
{
    struct cached_translation *entry = &check->cache[rng_below(&check->rng, CACHE_ENTRIES)];
    *entry = (struct cached_translation){.valid = true,
                                         .gpa = PAGE_OF(outcome->page[0].gpa),
                                         .hpa = PAGE_OF(outcome->page[0].hpa),
                                         .page_size = outcome->page[0].ept_page_size,
                                         .flags = effective(flags)};
    for (unsigned i = 0; i < trail->count && entry->table_count < CACHE_TABLES; i++)
        if (trail->entry[i].kind == VMXSIM_TRAIL_EPT_ENTRY)
            entry->tables[entry->table_count++] = PAGE_OF(trail->entry[i].hpa);
}

bool space_check_cache(struct space_check *check)
{
    for (unsigned i = 0; i < CACHE_ENTRIES; i++) {
        const struct cached_translation *entry = &check->cache[i];
        struct vmxc_ept_mapping now;
        if (!entry->valid)
            continue;
        const bool same = vmxc_ept_query(&check->space->ept, entry->gpa, &now) == VMXC_OK &&
                          now.hpa + (entry->gpa - now.gpa) == entry->hpa &&
                          now.page_size == entry->page_size &&
                          ((now.flags ^ entry->flags) & ~VMXC_MAP_ACCESS) == 0 &&
                          (entry->flags & VMXC_MAP_ACCESS & ~now.flags) == 0;
        if (!same)
            return space_check_fail(check,
                                    "stale translation of %#" PRIx64 " to %#" PRIx64
                                    " (flags %#x, page %#" PRIx64 "): no invalidation",
                                    entry->gpa, entry->hpa, entry->flags, entry->page_size);
    }
    return check->message[0] == '\0';
}

/* ---- One address ---- */

static bool check_library(struct space_check *check, uint64_t gpa, const struct shadow_area *area,
                          bool backed, uint64_t hpa, uint64_t *page_size)
{
    struct vmxc_translation translation;
    struct vmxc_ept_mapping mapping;
    const enum vmxc_status expected = backed         ? VMXC_OK
                                      : area != NULL ? VMXC_NOT_BACKED
                                                     : VMXC_NOT_FOUND;
    const enum vmxc_status status = vmxc_addrspace_translate(check->space, gpa, &translation);
    if (status != expected)
        return space_check_fail(check, "translate %#" PRIx64 ": status %d, shadow says %d", gpa,
                                status, expected);
    const enum vmxc_status found = vmxc_ept_query(&check->space->ept, gpa, &mapping);
    if (found != (backed ? VMXC_OK : VMXC_NOT_FOUND))
        return space_check_fail(check, "query %#" PRIx64 ": status %d, shadow says backed %d", gpa,
                                found, backed);
    if (!backed)
        return true;
    if (translation.hpa != hpa || translation.flags != area->flags)
        return space_check_fail(
            check, "translate %#" PRIx64 ": %#" PRIx64 " flags %#x, shadow %#" PRIx64 " flags %#x",
            gpa, translation.hpa, translation.flags, hpa, area->flags);
    if (mapping.hpa + (gpa - mapping.gpa) != hpa || mapping.flags != effective(area->flags) ||
        mapping.page_size != translation.page_size)
        return space_check_fail(check,
                                "query %#" PRIx64 ": %#" PRIx64 " flags %#x page %#" PRIx64
                                ", shadow %#" PRIx64 " flags %#x",
                                gpa, mapping.hpa + (gpa - mapping.gpa), mapping.flags,
                                mapping.page_size, hpa, effective(area->flags));
    *page_size = mapping.page_size;
    return true;
}

/* One right of one address, as the model's walk sees it. `flags`: the rights the shadow gives; 0 if unmapped. */
static bool check_model(struct space_check *check, uint64_t gpa, uint32_t right, uint32_t flags,
                        uint64_t hpa, uint64_t page_size)
{
    static const uint64_t ept_rights[] = {[VMXC_MAP_READ] = VMXC_EPT_READ,
                                          [VMXC_MAP_WRITE] = VMXC_EPT_WRITE,
                                          [VMXC_MAP_EXECUTE] = VMXC_EPT_EXECUTE,
                                          [VMXC_MAP_USER] = VMXC_EPT_USER_EXECUTE};
    struct vmxsim_outcome outcome;
    struct vmxsim_trail trail;
    const bool cached = rng_chance(&check->rng, 25);
    if (vmxsim_guest_physical_access(check->cpu, gpa, ept_rights[right], &outcome,
                                     cached ? &trail : NULL) != VMXC_OK)
        return space_check_fail(check, "the model refuses the access to %#" PRIx64, gpa);
    if ((flags & right) != 0) {
        if (outcome.kind != VMXSIM_OUTCOME_COMPLETE || outcome.page[0].hpa != hpa ||
            outcome.page[0].ept_page_size != page_size)
            return space_check_fail(
                check, "model, right %#x of %#" PRIx64 ": %s, shadow %#" PRIx64 " page %#" PRIx64,
                right, gpa, machine_outcome_text(&outcome), hpa, page_size);
        if (cached)
            remember(check, &outcome, &trail, flags);
        return true;
    }
    if (outcome.kind != VMXSIM_OUTCOME_VM_EXIT || outcome.exit_reason != EXIT_EPT_VIOLATION ||
        (outcome.qualification & 0x78) != entry_bits(check, flags) || outcome.guest_physical != gpa)
        return space_check_fail(check, "model, right %#x of %#" PRIx64 ": %s, shadow flags %#x",
                                right, gpa, machine_outcome_text(&outcome), flags);
    return true;
}

bool space_check_page(struct space_check *check, uint64_t gpa)
{
    uint64_t hpa = 0, page_size = 0;
    const struct shadow_area *area = shadow_find(check->shadow, gpa);
    const bool backed = shadow_translate(check->shadow, gpa, &hpa);
    if (!check_library(check, gpa, area, backed, hpa, &page_size))
        return false;
    const uint32_t flags = backed ? area->flags : 0;
    const unsigned rights = check->mode_based ? 4 : 3;
    const uint32_t other = UINT32_C(1) << (1 + rng_below(&check->rng, rights - 1));
    if (!check_model(check, gpa, VMXC_MAP_READ, flags, hpa, page_size) ||
        !check_model(check, gpa, other, flags, hpa, page_size))
        return false;
    if (backed && !area->linear &&
        vmxsim_memory_read64(check->memory, PAGE_OF(hpa)) != space_check_stamp(gpa))
        return space_check_fail(check,
                                "the content of page %#" PRIx64 " (frame %#" PRIx64 ") changed",
                                PAGE_OF(gpa), PAGE_OF(hpa));
    return true;
}

bool space_check_limit(struct space_check *check, uint64_t gpa)
{
    struct vmxc_translation_limit limit;
    const struct shadow_area *area = shadow_find(check->shadow, gpa);
    const uint64_t contiguous = shadow_contiguous(check->shadow, gpa);
    const enum vmxc_status status = vmxc_addrspace_translate_with_limit(check->space, gpa, &limit);
    if ((status == VMXC_OK) != (contiguous != 0))
        return space_check_fail(check, "limit of %#" PRIx64 ": status %d", gpa, status);
    if (status != VMXC_OK)
        return true;
    const uint64_t rest_of_page = VMXC_PAGE_SIZE - (gpa & VMXC_PAGE_MASK);
    const uint64_t least = area->linear ? contiguous : rest_of_page;
    if (limit.area_base != area->base || limit.area_size != area->size ||
        limit.contiguous > contiguous || limit.contiguous < least)
        return space_check_fail(check,
                                "limit of %#" PRIx64 ": area %#" PRIx64 "+%#" PRIx64 ", %#" PRIx64
                                " contiguous; shadow %#" PRIx64 "+%#" PRIx64 ", %#" PRIx64,
                                gpa, limit.area_base, limit.area_size, limit.contiguous, area->base,
                                area->size, contiguous);
    return true;
}

/* ---- Everything ---- */

/* Each EPT page of the area once: the model says how far one reaches. */
static bool check_area(struct space_check *check, const struct shadow_area *area)
{
    const uint64_t end = area->base + area->size;
    if (!space_check_page(check, end - VMXC_PAGE_SIZE))
        return false;
    if (!area->linear && area->lazy && area->size > 64 * VMXC_PAGE_SIZE)
        return space_check_page(check, area->base);
    for (uint64_t gpa = area->base; gpa < end;) {
        struct vmxc_translation translation;
        if (!space_check_page(check, gpa))
            return false;
        uint64_t step = VMXC_PAGE_SIZE;
        if (vmxc_addrspace_translate(check->space, gpa, &translation) == VMXC_OK)
            step = translation.page_size;
        gpa = (gpa & ~(step - 1)) + step;
    }
    return true;
}

struct listing {
    struct space_check *check;
    struct vmxc_mapping_run previous;
    size_t areas;
    uint64_t bytes;
};

static enum vmxc_status compare_area(void *context, const struct vmxc_area *area)
{
    struct listing *listing = context;
    const struct shadow *shadow = listing->check->shadow;
    const struct shadow_area *expected = &shadow->area[listing->areas];
    if (listing->areas++ >= shadow->area_count || area->base != expected->base ||
        area->size != expected->size || area->flags != expected->flags ||
        (area->backend == &vmxc_backend_linear) != expected->linear ||
        (expected->linear && area->hpa != expected->hpa)) {
        space_check_fail(listing->check, "area %zu is [%#" PRIx64 ", +%#" PRIx64 ")",
                         listing->areas - 1, area->base, area->size);
        return VMXC_BAD_STATE;
    }
    return VMXC_OK;
}

static enum vmxc_status compare_run(void *context, const struct vmxc_mapping_run *run)
{
    struct listing *listing = context;
    uint64_t first = 0, last = 0;
    const struct vmxc_mapping_run *previous = &listing->previous;
    listing->bytes += run->size;
    if (previous->size != 0 && previous->gpa + previous->size == run->gpa &&
        previous->hpa + previous->size == run->hpa && previous->flags == run->flags &&
        previous->page_size == run->page_size) {
        space_check_fail(listing->check, "the run at %#" PRIx64 " is not maximal", previous->gpa);
        return VMXC_BAD_STATE;
    }
    listing->previous = *run;
    if (!shadow_translate(listing->check->shadow, run->gpa, &first) || first != run->hpa ||
        !shadow_translate(listing->check->shadow, run->gpa + run->size - 1, &last) ||
        last != run->hpa + run->size - 1) {
        space_check_fail(listing->check, "run [%#" PRIx64 ", +%#" PRIx64 ") at %#" PRIx64, run->gpa,
                         run->size, run->hpa);
        return VMXC_BAD_STATE;
    }
    return VMXC_OK;
}

/* Runs of the right addresses that add up to exactly the bytes the shadow has are the whole map. */
static bool check_listing(struct space_check *check)
{
    struct listing listing = {.check = check};
    uint64_t bytes = check->shadow->page_count * VMXC_PAGE_SIZE;
    for (size_t i = 0; i < check->shadow->area_count; i++)
        bytes += check->shadow->area[i].linear ? check->shadow->area[i].size : 0;
    if (vmxc_addrspace_for_each_area(check->space, compare_area, &listing) != VMXC_OK ||
        listing.areas != check->shadow->area_count)
        return space_check_fail(check, "%zu areas listed, shadow has %zu", listing.areas,
                                check->shadow->area_count);
    if (vmxc_addrspace_for_each_mapping(check->space, compare_run, &listing) != VMXC_OK ||
        listing.bytes != bytes)
        return space_check_fail(check, "%#" PRIx64 " bytes listed, shadow has %#" PRIx64,
                                listing.bytes, bytes);
    return true;
}

/* Look-ups of many addresses at a time answer as those of one do. */
static bool check_many(struct space_check *check)
{
    enum { MOST = 64 };
    const struct shadow *shadow = check->shadow;
    vmxc_gpa_t gpas[MOST] = {0};
    enum vmxc_status statuses[MOST];
    struct vmxc_ept_mapping mappings[MOST], one;
    size_t count = 0, mapped = 0;

    for (size_t i = 0; i < shadow->area_count && count + 2 <= MOST; i++) {
        gpas[count++] = shadow->area[i].base + shadow->area[i].size - 1;
        gpas[count++] = shadow->area[i].base;
    }
    const size_t found = vmxc_ept_query_many(&check->space->ept, gpas, count, mappings, statuses);
    for (size_t i = 0; i < count; i++) {
        const enum vmxc_status status = vmxc_ept_query(&check->space->ept, gpas[i], &one);
        mapped += status == VMXC_OK;
        if (status != statuses[i] ||
            (status == VMXC_OK &&
             (one.gpa != mappings[i].gpa || one.hpa != mappings[i].hpa ||
              one.page_size != mappings[i].page_size || one.flags != mappings[i].flags)))
            return space_check_fail(check, "%#" PRIx64 " of many is found otherwise than alone",
                                    gpas[i]);
    }
    return found == mapped || space_check_fail(check, "%zu of %zu are mapped", found, mapped);
}

bool space_check_all(struct space_check *check)
{
    const struct shadow *shadow = check->shadow;
    const uint64_t base = vmxc_addrspace_base(check->space), end = vmxc_addrspace_end(check->space);
    for (size_t i = 0; i < shadow->area_count; i++) {
        const struct shadow_area *area = &shadow->area[i];
        if (!check_area(check, area) || !space_check_limit(check, area->base))
            return false;
        if (area->base > base && !space_check_page(check, area->base - VMXC_PAGE_SIZE))
            return false;
        if (area->base + area->size < end && !space_check_page(check, area->base + area->size))
            return false;
    }
    for (size_t i = 0; i < shadow->page_count; i++)
        if (!space_check_page(check, shadow->page[i].gpa))
            return false;
    if (!vmxc_addrspace_is_valid(check->space))
        return space_check_fail(check, "vmxc_addrspace_is_valid says no");
    return check_many(check) && check_listing(check);
}

/* ---- Beginning and end ---- */

void space_check_begin(struct space_check *check, const struct vmxc_ept_config *config)
{
    struct vmxsim_vmcs vmcs;
    struct vmxsim_error error;
    memset(&vmcs, 0, sizeof(vmcs));
    memset(check->cache, 0, sizeof(check->cache));
    check->message[0] = '\0';
    check->mode_based = config->mode_based_execute;
    VMXSIM_VMCS(&vmcs, PRIMARY_PROCESSOR_BASED_CONTROLS) = CTL_SECONDARY;
    VMXSIM_VMCS(&vmcs, SECONDARY_PROCESSOR_BASED_CONTROLS) =
        CTL2_EPT | CTL2_UNRESTRICTED | (check->mode_based ? CTL2_MODE_BASED_EXEC : 0);
    VMXSIM_VMCS(&vmcs, EPT_POINTER) = vmxc_addrspace_eptp(check->space);
    VMXSIM_VMCS(&vmcs, GUEST_CR0) = VMXC_CR0_PE | VMXC_CR0_NE;
    VMXSIM_VMCS(&vmcs, VMCS_LINK_POINTER) = ~UINT64_C(0);
    if (vmxsim_cpu_load_guest(check->cpu, &vmcs, &error) != VMXC_OK)
        space_check_fail(check, "the processor refuses the guest: %s", error.text);
    vmxsim_memory_on_invalidate(check->memory, on_invalidate, check);
    vmxsim_memory_on_trace(check->memory, on_trace, check);
}

void space_check_end(struct space_check *check)
{
    vmxsim_memory_on_invalidate(check->memory, NULL, NULL);
    vmxsim_memory_on_trace(check->memory, NULL, NULL);
}
