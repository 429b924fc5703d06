/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Entries that may be used although memory has changed.
 *
 *     read:   present value, and each cached one that this walk can use      --> a choice, if they differ
 *
 *             usable:  its linear address is the page's, or in the region    (TLB, paging-structure cache)
 *                      not older than what was read above it                 (caches hold the beginning of a walk)
 *                      under a leaf out of the TLB: whatever was cached      (a translation is used as a whole)
 *
 * A write that a cached entry allows without having its dirty flag set comes to nothing: to set the flag, a processor walks
 * again.
 *
 * Source: Intel SDM volume 3, "Caching Translation Information", "Operations that Invalidate Cached Mappings"; "Caching
 * Translations in TLBs", "Caches for Paging Structures", "Operations that Invalidate TLBs and Paging-Structure Caches".
 */
#include "internal/stale.h"

#include "internal/insn.h"
#include "vmxcore/defs/controls.h"

#define NOW UINT32_MAX /* the time of a value that is read from memory */

enum invept_type { INVEPT_SINGLE = 1 };
enum invvpid_type { INVVPID_ADDRESS, INVVPID_SINGLE, INVVPID_ALL, INVVPID_SINGLE_GLOBALS };

/* ---- Runs ---- */

void vmxsim_stale_init(struct stale *stale)
{
    stale->made = 0;
    stale->known = 0;
    stale->discarded = false;
    stale->overflow = false;
}

void vmxsim_stale_start(struct stale *stale, struct vmxsim_cpu *cpu)
{
    stale->count = 0;
    stale->time = 1;
    stale->made = 0;
    stale->guest_floor = 0;
    stale->ept_floor = 0;
    stale->leaf_from_tlb = false;
    stale->discarded = false;
    cpu->stale = stale;
}

/* The last choice that has another option takes it; those behind it start again. */
bool vmxsim_stale_next(struct stale *stale)
{
    uint32_t i = stale->made;

    while (i > 0 && stale->choice[i - 1] + 1 == stale->options[i - 1])
        i--;
    if (i == 0)
        return false;
    stale->choice[i - 1]++;
    stale->known = i;
    return true;
}

static uint32_t choose(struct stale *stale, uint32_t options)
{
    if (options == 1)
        return 0;
    if (stale->made == STALE_CHOICES) {
        stale->overflow = true;
        return 0;
    }
    if (stale->made >= stale->known) {
        stale->choice[stale->made] = 0;
        stale->known = stale->made + 1;
    }
    stale->options[stale->made] = options;
    return stale->choice[stale->made++];
}

/* ---- Reading ---- */

/* What an entry may be read as, and since when it may have been cached so. */
struct option {
    uint64_t value;
    uint32_t first_time, last_time;
};

struct options {
    struct option option[STALE_OPTIONS];
    uint32_t count;
};

static uint64_t load(struct vmxsim_memory *memory, const struct stale_reading *reading)
{
    return reading->four_bytes ? vmxsim_memory_read32(memory, reading->hpa)
                               : vmxsim_memory_read64(memory, reading->hpa);
}

static bool contains(uint64_t first, uint64_t last, uint64_t linear)
{
    return first <= linear && linear <= last;
}

/* Nothing is cached before its accessed flag is set; that may have been cleared since. */
static bool is_accessed(const struct walk *walk, const struct stale_entry *entry)
{
    if (entry->guest)
        return entry->value & VMXC_PTE_ACCESSED;
    return !walk->cpu->ept.accessed_dirty || (entry->value & VMXC_EPT_ACCESSED);
}

static bool serves(const struct walk *walk, const struct stale_entry *entry)
{
    if (!entry->guest || contains(entry->page_first, entry->page_last, walk->linear))
        return true;
    return entry->structure && !entry->leaf &&
           contains(entry->region_first, entry->region_last, walk->linear);
}

static void add_option(struct stale *stale, struct options *options, uint64_t value,
                       uint32_t first_time, uint32_t last_time)
{
    for (uint32_t i = 0; i < options->count; i++) {
        struct option *const option = &options->option[i];
        if (option->value != value)
            continue;
        option->first_time = first_time < option->first_time ? first_time : option->first_time;
        option->last_time = last_time > option->last_time ? last_time : option->last_time;
        return;
    }
    if (options->count == STALE_OPTIONS) {
        stale->overflow = true;
        return;
    }
    options->option[options->count++] = (struct option){value, first_time, last_time};
}

static void add_cached(struct walk *walk, const struct stale_reading *reading, uint32_t floor,
                       struct options *options)
{
    struct stale *const stale = walk->cpu->stale;

    for (uint32_t i = 0; i < stale->count; i++) {
        const struct stale_entry *const entry = &stale->entry[i];
        if (entry->hpa != reading->hpa || entry->guest != reading->guest ||
            entry->last_time < floor || !serves(walk, entry) || !is_accessed(walk, entry))
            continue;
        const uint32_t first = entry->first_time > floor ? entry->first_time : floor;
        add_option(stale, options, entry->value, first, entry->last_time);
    }
}

uint64_t vmxsim_stale_read(struct walk *walk, const struct stale_reading *reading)
{
    struct stale *const stale = walk->cpu->stale;
    uint32_t *const floor = reading->guest ? &stale->guest_floor : &stale->ept_floor;
    const uint64_t present = load(walk->cpu->memory, reading);
    struct options options = {.count = 0};

    if (reading->first)
        *floor = 0;
    if (reading->first && reading->guest)
        stale->leaf_from_tlb = false;
    const bool only_cached = reading->page && stale->leaf_from_tlb;
    if (!only_cached)
        add_option(stale, &options, present, NOW, NOW);
    add_cached(walk, reading, *floor, &options);
    if (options.count == 0)
        add_option(stale, &options, present, NOW, NOW);
    const struct option *const chosen = &options.option[choose(stale, options.count)];
    *floor = chosen->first_time;
    if (reading->guest)
        stale->leaf_from_tlb = chosen->value != present;
    return chosen->value;
}

void vmxsim_stale_set_flags(struct walk *walk, uint64_t hpa, bool four_bytes, uint64_t value)
{
    const struct stale_reading reading = {.hpa = hpa, .four_bytes = four_bytes};

    if (walk->cpu->stale && load(walk->cpu->memory, &reading) != value)
        walk->cpu->stale->discarded = true;
}

/* ---- What is cached ---- */

static bool is_same(const struct stale_entry *a, const struct stale_entry *b)
{
    return a->hpa == b->hpa && a->value == b->value && a->guest == b->guest &&
           a->page_first == b->page_first && a->page_last == b->page_last &&
           a->global == b->global && a->structure == b->structure;
}

static void add_entry(struct stale *stale, const struct stale_entry *added)
{
    for (uint32_t i = 0; i < stale->count; i++) {
        if (is_same(&stale->entry[i], added)) {
            stale->entry[i].last_time = added->last_time;
            return;
        }
    }
    if (stale->count == STALE_ENTRIES) {
        stale->overflow = true;
        return;
    }
    stale->entry[stale->count++] = *added;
}

/* The aligned range of 1 << `shift` bytes around an address. */
static void set_range(uint64_t linear, unsigned shift, uint64_t *first, uint64_t *last)
{
    const uint64_t size = UINT64_C(1) << shift;

    *first = linear & ~(size - 1);
    *last = *first + (size - 1);
}

static void note_guest_entry(struct stale_entry *entry, const struct vmxsim_cpu *cpu,
                             const struct vmxsim_page_translation *page, unsigned level)
{
    const unsigned bits = cpu->guest.mode == PAGING_32BIT ? 10 : 9;

    entry->structure = !entry->leaf;
    entry->page_first = page->linear & ~(page->guest_page_size - 1);
    entry->page_last = entry->page_first + (page->guest_page_size - 1);
    set_range(page->linear, VMXC_PAGE_SHIFT + bits * (level - 1), &entry->region_first,
              &entry->region_last);
}

/* The leaf says of all entries on the way to it whether the translation is global. */
static bool is_global(const struct vmxsim_cpu *cpu, const struct vmxsim_trail *trail, uint8_t page)
{
    for (uint32_t i = 0; i < trail->count; i++) {
        const struct vmxsim_trail_entry *const step = &trail->entry[i];
        if (step->kind == VMXSIM_TRAIL_GUEST_ENTRY && step->page == page && step->leaf)
            return (step->value & VMXC_PTE_GLOBAL) && (cpu->guest.cr4 & VMXC_CR4_PGE);
    }
    return false;
}

void vmxsim_stale_note(struct stale *stale, const struct vmxsim_cpu *cpu,
                       const struct vmxsim_outcome *outcome, const struct vmxsim_trail *trail)
{
    for (uint32_t i = 0; i < trail->count; i++) {
        const struct vmxsim_trail_entry *const step = &trail->entry[i];
        const bool guest = step->kind == VMXSIM_TRAIL_GUEST_ENTRY;
        if ((!guest && step->kind != VMXSIM_TRAIL_EPT_ENTRY) || step->is_register)
            continue;
        struct stale_entry entry = {.hpa = step->hpa,
                                    .value = step->updated,
                                    .guest = guest,
                                    .leaf = step->leaf,
                                    .first_time = stale->time,
                                    .last_time = stale->time};
        if (guest) {
            note_guest_entry(&entry, cpu, &outcome->page[step->page], step->level);
            entry.global = is_global(cpu, trail, step->page);
        }
        add_entry(stale, &entry);
    }
    stale->time++;
}

/* ---- Invalidation ---- */

/* The last entry takes the place: who goes through all of them goes backwards. */
static void drop(struct stale *stale, uint32_t index)
{
    stale->entry[index] = stale->entry[--stale->count];
}

/* Guest entries, those of global translations perhaps not: they stay in TLBs. */
static void drop_guest_entries(struct stale *stale, bool keep_globals)
{
    for (uint32_t i = stale->count; i-- > 0;) {
        struct stale_entry *const entry = &stale->entry[i];
        if (!entry->guest)
            continue;
        entry->structure = false;
        if (!keep_globals || !entry->global)
            drop(stale, i);
    }
}

/* What translates this address. `all_structures`: nothing stays in paging-structure caches. */
static void drop_address(struct stale *stale, uint64_t linear, bool all_structures)
{
    for (uint32_t i = stale->count; i-- > 0;) {
        struct stale_entry *const entry = &stale->entry[i];
        if (!entry->guest)
            continue;
        if (all_structures || contains(entry->region_first, entry->region_last, linear))
            entry->structure = false;
        if (contains(entry->page_first, entry->page_last, linear))
            drop(stale, i);
    }
}

static bool uses_vpid(const struct vmxsim_vmcs *vmcs)
{
    return (VMXSIM_VMCS(vmcs, PRIMARY_PROCESSOR_BASED_CONTROLS) &
            VMXC_PRIMARY_ACTIVATE_SECONDARY_CONTROLS) &&
           (VMXSIM_VMCS(vmcs, SECONDARY_PROCESSOR_BASED_CONTROLS) & VMXC_SECONDARY_ENABLE_VPID);
}

/* Without VPIDs, VM exits and VM entries invalidate what is associated with VPID 0. */
void vmxsim_stale_leave_guest(struct stale *stale, const struct vmxsim_vmcs *vmcs)
{
    if (!uses_vpid(vmcs))
        drop_guest_entries(stale, false);
}

/* Bits 51:12 of the EPT pointer say whose mappings they are. */
void vmxsim_stale_invept(struct stale *stale, const struct vmxsim_cpu *cpu,
                         const struct vmxsim_vmcs *vmcs, uint64_t type,
                         const uint64_t descriptor[2])
{
    const uint64_t differs = descriptor[0] ^ VMXSIM_VMCS(vmcs, EPT_POINTER);

    if (!vmxsim_insn_invept_is_valid(cpu, type, descriptor))
        return;
    if (type != INVEPT_SINGLE || !(differs & VMXC_EPT_ADDRESS))
        stale->count = 0;
}

void vmxsim_stale_invvpid(struct stale *stale, const struct vmxsim_cpu *cpu,
                          const struct vmxsim_vmcs *vmcs, uint64_t type,
                          const uint64_t descriptor[2])
{
    const bool ours = uses_vpid(vmcs) && descriptor[0] == VMXSIM_VMCS(vmcs, VPID);

    if (!vmxsim_insn_invvpid_is_valid(cpu, type, descriptor))
        return;
    if (type == INVVPID_ALL)
        drop_guest_entries(stale, false);
    else if (type == INVVPID_ADDRESS && ours)
        drop_address(stale, descriptor[1], false);
    else if (ours)
        drop_guest_entries(stale, type == INVVPID_SINGLE_GLOBALS);
}

/* Of paging-structure caches everything, whatever the address. */
void vmxsim_stale_invlpg(struct stale *stale, uint64_t linear)
{
    drop_address(stale, linear, true);
}

void vmxsim_stale_mov_to_cr3(struct stale *stale)
{
    drop_guest_entries(stale, true);
}
