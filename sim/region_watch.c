/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which regions are in use by processors, and what happens to them behind the processors' backs.
 * Source: Intel SDM volume 3, "Software Use of Virtual-Machine Control Structures", "VMXON Region".
 */
#include "internal/region_watch.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "internal/memory.h"
#include "vmxcore/defs/guest_state.h"

/* The revision identifier with the shadow-VMCS indicator, and the VMX-abort indicator: no VMCS data. */
enum { HEADER_SIZE = 4, VMCS_DATA_OFFSET = 8 };

uint32_t vmxsim_region_watch_number(struct vmxsim_memory *memory)
{
    return memory->processor_count++;
}

void vmxsim_region_watch_fini(struct vmxsim_region_watch *watch)
{
    free(watch->entry);
}

/* ---- The set ---- */

/* Index of the first entry that lies at `hpa` or above. */
static size_t first_at(const struct vmxsim_region_watch *watch, uint64_t hpa)
{
    size_t low = 0, high = watch->count;

    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (watch->entry[middle].hpa < hpa)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

bool vmxsim_region_watch_covers(const struct vmxsim_region_watch *watch, uint64_t hpa)
{
    const uint64_t page_hpa = hpa & ~VMXC_PAGE_MASK;

    if (hpa >= watch->end || hpa < watch->begin)
        return false;
    const size_t i = first_at(watch, page_hpa);
    return i < watch->count && watch->entry[i].hpa == page_hpa;
}

/* Regions are no longer than the page they begin. */
static void set_bounds(struct vmxsim_region_watch *watch)
{
    watch->begin = watch->count ? watch->entry[0].hpa : 0;
    watch->end = watch->count ? watch->entry[watch->count - 1].hpa + VMXC_PAGE_SIZE : 0;
}

static enum vmxc_status reserve(struct vmxsim_region_watch *watch)
{
    if (watch->count < watch->capacity)
        return VMXC_OK;
    const size_t capacity = watch->capacity ? 2 * watch->capacity : 8;
    struct vmxsim_watched_region *entry = realloc(watch->entry, capacity * sizeof *entry);
    if (entry == NULL)
        return VMXC_NO_MEMORY;
    watch->entry = entry;
    watch->capacity = capacity;
    return VMXC_OK;
}

static void remove_at(struct vmxsim_region_watch *watch, size_t index)
{
    struct vmxsim_watched_region *entry = &watch->entry[index];

    watch->count--;
    memmove(entry, entry + 1, (watch->count - index) * sizeof *entry);
    set_bounds(watch);
}

/* ---- Snapshots and clones ---- */

enum vmxc_status vmxsim_region_watch_keep(const struct vmxsim_region_watch *watch,
                                          struct vmxsim_region_watch *kept)
{
    const size_t size = watch->count * sizeof *watch->entry;
    struct vmxsim_watched_region *const entry = malloc(size != 0 ? size : 1);

    if (entry == NULL)
        return VMXC_NO_MEMORY;
    if (size != 0)
        memcpy(entry, watch->entry, size);
    *kept = (struct vmxsim_region_watch){
        .entry = entry, .count = watch->count, .capacity = watch->count};
    return VMXC_OK;
}

/* There is room: what has been kept came from here, and the array never shrinks. */
void vmxsim_region_watch_return(struct vmxsim_region_watch *watch,
                                const struct vmxsim_region_watch *kept)
{
    if (kept->count != 0)
        memcpy(watch->entry, kept->entry, kept->count * sizeof *kept->entry);
    watch->count = kept->count;
    set_bounds(watch);
}

enum vmxc_status vmxsim_region_watch_copy(const struct vmxsim_memory *from, uint32_t of,
                                          struct vmxsim_memory *memory, uint32_t processor)
{
    for (size_t i = 0; i < from->regions.count; i++) {
        struct vmxsim_watched_region region = from->regions.entry[i];
        if (region.processor != of)
            continue;
        region.processor = processor;
        VMXC_TRY(vmxsim_region_watch_add(memory, &region));
    }
    return VMXC_OK;
}

/* ---- Content ---- */

static uint64_t data_offset(const struct vmxsim_watched_region *region)
{
    return region->role == VMXSIM_REGION_VMCS ? VMCS_DATA_OFFSET : 0;
}

static uint64_t digest_of(struct vmxsim_memory *memory, const struct vmxsim_watched_region *region)
{
    uint8_t bytes[VMXC_PAGE_SIZE];
    const uint64_t offset = data_offset(region);

    vmxsim_memory_read(memory, region->hpa + offset, bytes, region->length - offset);
    return XXH3_64bits(bytes, region->length - offset);
}

static void take_note(struct vmxsim_memory *memory, struct vmxsim_watched_region *region)
{
    region->written = false;
    region->header = vmxsim_memory_read32(memory, region->hpa);
    region->digest = digest_of(memory, region);
}

/* ---- Reports ---- */

static void report(struct vmxsim_memory *memory, const struct vmxsim_watched_region *region,
                   struct vmxsim_hazard hazard)
{
    hazard.processor = region->processor;
    hazard.region_hpa = region->hpa;
    vmxsim_hazard_report(&memory->hazards, &hazard);
}

static enum vmxsim_hazard_rule access_rule(const struct vmxsim_watched_region *region, bool write)
{
    if (region->role == VMXSIM_REGION_VMXON)
        return VMXSIM_HAZARD_VMXON_ACCESS;
    return write ? VMXSIM_HAZARD_VMCS_WRITE : VMXSIM_HAZARD_VMCS_READ;
}

static void check_indicator(struct vmxsim_memory *memory, struct vmxsim_watched_region *region,
                            bool found_later)
{
    const uint32_t header = vmxsim_memory_read32(memory, region->hpa);
    const bool changed = (header ^ region->header) & VMXC_VMCS_REGION_SHADOW;

    region->header = header;
    if (region->role == VMXSIM_REGION_VMCS && changed)
        report(memory, region,
               (struct vmxsim_hazard){.rule = VMXSIM_HAZARD_VMCS_INDICATOR,
                                      .hpa = region->hpa,
                                      .length = HEADER_SIZE,
                                      .write = true,
                                      .found_later = found_later});
}

/* What has been written since the last note was taken, if nothing reported it. */
static void check_content(struct vmxsim_memory *memory, struct vmxsim_watched_region *region)
{
    const uint64_t offset = data_offset(region);

    check_indicator(memory, region, true);
    if (region->written || digest_of(memory, region) == region->digest)
        return;
    region->written = true;
    report(memory, region,
           (struct vmxsim_hazard){.rule = access_rule(region, true),
                                  .hpa = region->hpa + offset,
                                  .length = region->length - offset,
                                  .write = true,
                                  .found_later = true});
}

/* The part of an access that lies in the data of the region. */
static void check_access(struct vmxsim_memory *memory, struct vmxsim_watched_region *region,
                         uint64_t hpa, uint64_t length, bool write)
{
    const uint64_t data = region->hpa + data_offset(region);
    const uint64_t end = region->hpa + region->length;
    const uint64_t from = hpa > data ? hpa : data;
    const uint64_t to = hpa >= end || length > end - hpa ? end : hpa + length;

    if (write && hpa < region->hpa + HEADER_SIZE)
        check_indicator(memory, region, false);
    if (from >= to)
        return;
    region->written |= write;
    report(
        memory, region,
        (struct vmxsim_hazard){
            .rule = access_rule(region, write), .hpa = from, .length = to - from, .write = write});
}

void vmxsim_region_watch_report(struct vmxsim_memory *memory, uint64_t hpa, uint64_t length,
                                bool write)
{
    struct vmxsim_region_watch *watch = &memory->regions;

    if (watch->paused)
        return;
    watch->paused = true;
    for (size_t i = first_at(watch, hpa & ~VMXC_PAGE_MASK); i < watch->count; i++) {
        struct vmxsim_watched_region *region = &watch->entry[i];
        if (region->hpa > hpa && region->hpa - hpa >= length)
            break;
        check_access(memory, region, hpa, length, write);
    }
    watch->paused = false;
}

/* ---- What processors do in regions ---- */

void vmxsim_region_watch_begin(struct vmxsim_memory *memory, uint64_t hpa)
{
    struct vmxsim_region_watch *watch = &memory->regions;

    watch->paused = true;
    for (size_t i = first_at(watch, hpa); i < watch->count && watch->entry[i].hpa == hpa; i++)
        check_content(memory, &watch->entry[i]);
}

void vmxsim_region_watch_end(struct vmxsim_memory *memory, uint64_t hpa)
{
    struct vmxsim_region_watch *watch = &memory->regions;

    for (size_t i = first_at(watch, hpa); i < watch->count && watch->entry[i].hpa == hpa; i++)
        take_note(memory, &watch->entry[i]);
    watch->paused = false;
}

void vmxsim_region_watch_accept(struct vmxsim_memory *memory)
{
    struct vmxsim_region_watch *watch = &memory->regions;

    watch->paused = true;
    for (size_t i = 0; i < watch->count; i++)
        take_note(memory, &watch->entry[i]);
    watch->paused = false;
}

/* ---- Which regions are in use ---- */

/* A second processor uses the region: what that is, by what it makes of it and what the first one does. */
static void report_sharing(struct vmxsim_memory *memory, const struct vmxsim_watched_region *used,
                           uint32_t processor, enum vmxsim_region_role role)
{
    struct vmxsim_hazard hazard = {.by_processor = true, .other_processor = processor};

    if (used->role == VMXSIM_REGION_VMXON)
        hazard.rule =
            role == VMXSIM_REGION_VMXON ? VMXSIM_HAZARD_VMXON_SHARED : VMXSIM_HAZARD_VMXON_ACCESS;
    else if (role == VMXSIM_REGION_VMCS)
        hazard.rule = VMXSIM_HAZARD_VMCS_SHARED;
    else
        return; /* a VMXON region on another processor's VMCS: accesses will tell */
    report(memory, used, hazard);
}

static bool is_in_use(const struct vmxsim_region_watch *watch,
                      const struct vmxsim_watched_region *region)
{
    for (size_t i = first_at(watch, region->hpa);
         i < watch->count && watch->entry[i].hpa == region->hpa; i++) {
        if (watch->entry[i].processor == region->processor)
            return true;
    }
    return false;
}

enum vmxc_status vmxsim_region_watch_add(struct vmxsim_memory *memory,
                                         const struct vmxsim_watched_region *region)
{
    struct vmxsim_region_watch *watch = &memory->regions;
    size_t index = first_at(watch, region->hpa);

    if (is_in_use(watch, region))
        return VMXC_OK;
    VMXC_TRY(reserve(watch));
    for (; index < watch->count && watch->entry[index].hpa == region->hpa; index++)
        report_sharing(memory, &watch->entry[index], region->processor, region->role);

    struct vmxsim_watched_region *entry = &watch->entry[index];
    memmove(entry + 1, entry, (watch->count - index) * sizeof *entry);
    *entry = *region;
    watch->count++;
    set_bounds(watch);
    watch->paused = true;
    take_note(memory, entry);
    watch->paused = false;
    vmxsim_tables_changed(memory);
    return VMXC_OK;
}

void vmxsim_region_watch_leave(struct vmxsim_memory *memory, uint32_t processor)
{
    struct vmxsim_region_watch *watch = &memory->regions;

    watch->paused = true;
    for (size_t i = 0; i < watch->count; i++) {
        struct vmxsim_watched_region *region = &watch->entry[i];
        if (region->processor != processor)
            continue;
        check_content(memory, region);
        if (region->role == VMXSIM_REGION_VMCS)
            report(memory, region, (struct vmxsim_hazard){.rule = VMXSIM_HAZARD_VMCS_VMXOFF});
    }
    watch->paused = false;
    vmxsim_region_watch_drop(memory, processor);
}

void vmxsim_region_watch_drop(struct vmxsim_memory *memory, uint32_t processor)
{
    struct vmxsim_region_watch *watch = &memory->regions;

    for (size_t i = watch->count; i > 0; i--) {
        if (watch->entry[i - 1].processor == processor)
            remove_at(watch, i - 1);
    }
}

void vmxsim_region_watch_cleared(struct vmxsim_memory *memory, uint32_t processor, uint64_t hpa)
{
    struct vmxsim_region_watch *watch = &memory->regions;
    size_t i = first_at(watch, hpa);

    while (i < watch->count && watch->entry[i].hpa == hpa) {
        const struct vmxsim_watched_region *region = &watch->entry[i];
        if (region->processor == processor) {
            remove_at(watch, i);
            continue;
        }
        if (region->role == VMXSIM_REGION_VMXON)
            report_sharing(memory, region, processor, VMXSIM_REGION_VMCS);
        i++;
    }
}
