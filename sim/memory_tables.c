/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Words of tables that translations were cached from.
 *
 *     vmxsim_memory_watch_word    a cached translation depends on the word: its page is a member of range->tables
 *     vmxsim_range_touch          a member will be written: it leaves the set, a new epoch begins
 *
 * What was cached in an older epoch is compared with memory before it is used, which makes its pages members again. Pages that
 * are written without a word, now or later, cannot be watched.
 */
#include "internal/memory.h"

static bool make(struct vmxsim_page_set *set, const struct vmxsim_ram_range *range)
{
    return set->levels != 0 || vmxsim_page_set_init(set, range->length / VMXC_PAGE_SIZE) == VMXC_OK;
}

void vmxsim_tables_changed(struct vmxsim_memory *memory)
{
    memory->table_epoch++;
    vmxsim_tlb_tables_changed(memory);
}

void vmxsim_tables_written(struct vmxsim_ram_range *range, uint64_t page)
{
    vmxsim_page_set_remove(&range->tables, page);
    vmxsim_tables_changed(range->memory);
}

/* ---- Pages that are written without a word ---- */

void vmxsim_tables_note_raw(struct vmxsim_ram_range *range, uint64_t page)
{
    if (!make(&range->raw, range))
        range->memory->all_raw = true;
    else
        vmxsim_page_set_insert(&range->raw, page);
}

void vmxsim_tables_reset(struct vmxsim_memory *memory)
{
    for (size_t i = 0; i < memory->range_count; i++) {
        struct vmxsim_page_set *const raw = &memory->ranges[i].raw;
        for (uint64_t page = 0; raw->levels != 0 && vmxsim_page_set_next(raw, page, &page); page++)
            vmxsim_page_set_remove(raw, page);
    }
    vmxsim_tables_changed(memory);
}

void vmxsim_tables_fini(struct vmxsim_ram_range *range)
{
    vmxsim_page_set_fini(&range->tables);
    vmxsim_page_set_fini(&range->raw);
}

static bool is_handed_out(const struct vmxsim_memory *memory, uint64_t page_hpa)
{
    for (size_t i = 0; i < memory->handed_out_count; i++) {
        const struct vmxsim_handed_out *const out = &memory->handed_out[i];
        if (out->hpa < page_hpa + VMXC_PAGE_SIZE && page_hpa < out->hpa + out->length)
            return true;
    }
    return false;
}

static bool is_raw(const struct vmxsim_ram_range *range, uint64_t page)
{
    return range->memory->all_raw ||
           (range->raw.levels != 0 && vmxsim_page_set_contains(&range->raw, page)) ||
           is_handed_out(range->memory, range->base + page * VMXC_PAGE_SIZE);
}

/* ---- Watching ---- */

static uint64_t load(const uint8_t *bytes, unsigned size)
{
    return size == 8 ? vmxsim_load64(bytes) : vmxsim_load32(bytes);
}

void vmxsim_memory_peek_word(struct vmxsim_memory *memory, uint64_t hpa, unsigned size,
                             uint64_t *value)
{
    const struct vmxsim_ram_range *const range = vmxsim_memory_find(memory, hpa);

    if (range != NULL)
        *value = load(range->bytes + (hpa - range->base), size);
}

enum vmxsim_watch vmxsim_memory_watch_word(struct vmxsim_memory *memory, uint64_t hpa,
                                           unsigned size, uint64_t *value)
{
    struct vmxsim_ram_range *const range = vmxsim_memory_find(memory, hpa);

    if (range == NULL || !make(&range->tables, range) ||
        vmxsim_region_watch_covers(&memory->regions, hpa))
        return VMXSIM_WATCH_REFUSED;
    const uint64_t page = (hpa - range->base) / VMXC_PAGE_SIZE;
    *value = load(range->bytes + (hpa - range->base), size);
    if (vmxsim_page_set_contains(&range->tables, page))
        return VMXSIM_WATCHED; /* no raw page is */
    if (is_raw(range, page))
        return VMXSIM_WATCH_RAW;
    vmxsim_page_set_insert(&range->tables, page);
    return VMXSIM_WATCHED;
}
