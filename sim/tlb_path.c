/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The entries that a mapping was made from: whether they are still what they were, and what it means if they are not.
 * Source: Intel SDM volume 3, "Recommended Invalidation", "Guidelines for Use of the INVEPT Instruction".
 */
#include "internal/tlb.h"

/* ---- Recording ---- */

static uint8_t size_of(const struct vmxsim_cpu *cpu, const struct vmxsim_trail_entry *entry)
{
    if (entry->is_register)
        return 0;
    return entry->kind == VMXSIM_TRAIL_GUEST_ENTRY && cpu->guest.mode == PAGING_32BIT ? 4 : 8;
}

static bool is_translation(const struct vmxsim_trail_entry *entry)
{
    return entry->kind == VMXSIM_TRAIL_EPT_ENTRY || entry->kind == VMXSIM_TRAIL_GUEST_ENTRY;
}

static uint64_t dirty_flag(const struct vmxsim_cpu *cpu, const struct tlb_step *step)
{
    if (!step->leaf)
        return 0;
    if (step->kind == VMXSIM_TRAIL_GUEST_ENTRY)
        return VMXC_PTE_DIRTY;
    return cpu->ept.accessed_dirty ? VMXC_EPT_DIRTY : 0;
}

/* Entries that a write to the page marks dirty. */
static bool maps_the_page(const struct tlb_step *step, enum tlb_kind kind)
{
    return kind == TLB_GUEST_PHYSICAL || step->kind == VMXSIM_TRAIL_GUEST_ENTRY ||
           step->guest_level == 0;
}

static bool add_step(const struct walk *walk, const struct vmxsim_trail_entry *entry,
                     struct tlb_mapping *mapping)
{
    struct tlb_step *const step = &mapping->step[mapping->step_count++];
    enum vmxsim_watch watch = VMXSIM_WATCHED;
    uint64_t now = entry->updated;

    *step = (struct tlb_step){
        .hpa = entry->hpa,
        .gpa = entry->gpa,
        .value = entry->updated,
        .kind = (uint8_t)entry->kind,
        .level = entry->level,
        .guest_level = entry->guest_level,
        .size = size_of(walk->cpu, entry),
        .leaf = entry->leaf,
    };
    const uint64_t dirty = dirty_flag(walk->cpu, step);
    if (dirty && !(step->value & dirty) && maps_the_page(step, (enum tlb_kind)mapping->kind))
        mapping->dirty = false;
    if (step->size != 0)
        watch = vmxsim_memory_watch_word(walk->cpu->memory, step->hpa, step->size, &now);
    if (watch == VMXSIM_WATCH_RAW && walk->tlb->mode == VMXSIM_TLB_LAZY)
        mapping->epoch = 0;
    else if (watch != VMXSIM_WATCHED)
        return false;
    return now == entry->updated; /* otherwise the walk has changed what it had read */
}

bool vmxsim_tlb_record(const struct walk *walk, uint32_t first, struct tlb_mapping *mapping)
{
    const struct vmxsim_trail *const trail = walk->trail;

    mapping->dirty = true;
    mapping->stale = false;
    mapping->epoch = walk->cpu->memory->table_epoch;
    for (uint32_t i = first; i < trail->count; i++) {
        const struct vmxsim_trail_entry *const entry = &trail->entry[i];
        if (entry->kind == VMXSIM_TRAIL_PML_WRITE)
            continue;
        if (!is_translation(entry) || mapping->step_count == TLB_STEPS ||
            !add_step(walk, entry, mapping))
            return false;
    }
    return mapping->step_count != 0;
}

/* ---- Comparing ---- */

/* Without an invalidation the guest may go on as before. Setting bits of permissions, and clearing flags, is different. */
static bool paging_change_matters(const struct tlb_step *step, uint64_t now)
{
    const uint64_t lost = VMXC_PTE_PRESENT | VMXC_PTE_WRITE | VMXC_PTE_USER;
    const uint64_t upper = step->size == 8 ? VMXC_PTE_NO_EXECUTE : 0;
    const uint64_t leaf = VMXC_PTE_PWT | VMXC_PTE_PCD | VMXC_PTE_PROTECTION_KEY |
                          (step->level == 1 ? VMXC_PTE_PAT : VMXC_PTE_LARGE_PAT);
    const uint64_t any =
        VMXC_PTE_ADDRESS | (step->level > 1 ? VMXC_PTE_PAGE_SIZE : 0) | (step->leaf ? leaf : 0);

    return (step->value & ~now & lost) || (~step->value & now & upper) ||
           ((step->value ^ now) & any);
}

/* The changes that call for INVEPT. */
static bool ept_change_matters(const struct vmxsim_cpu *cpu, const struct tlb_step *step,
                               uint64_t now)
{
    const struct ept_state *ept = &cpu->ept;
    const uint64_t flags =
        ept->accessed_dirty ? VMXC_EPT_ACCESSED | (step->leaf ? VMXC_EPT_DIRTY : 0) : 0;
    const uint64_t lost =
        VMXC_EPT_RWX | (ept->mode_based_execute ? VMXC_EPT_USER_EXECUTE : 0) | flags;
    const uint64_t any = VMXC_EPT_ADDRESS |
                         (step->level == 2 || step->level == 3 ? VMXC_EPT_LARGE_PAGE : 0) |
                         (step->leaf ? VMXC_EPT_MEMORY_TYPE | VMXC_EPT_IGNORE_PAT : 0);

    return (step->value & ~now & lost) || ((step->value ^ now) & any);
}

static bool change_matters(const struct vmxsim_cpu *cpu, const struct tlb_step *step, uint64_t now)
{
    return step->kind == VMXSIM_TRAIL_GUEST_ENTRY ? paging_change_matters(step, now)
                                                  : ept_change_matters(cpu, step, now);
}

/* A dirty flag that was clear says nothing about accesses that may use the mapping. */
static bool is_unchanged(const struct vmxsim_cpu *cpu, const struct tlb_step *step, uint64_t now)
{
    const uint64_t open = ~step->value & dirty_flag(cpu, step);

    return ((step->value ^ now) & ~open) == 0;
}

static bool compare_exactly(struct vmxsim_cpu *cpu, struct tlb_mapping *mapping)
{
    for (size_t i = 0; i < mapping->step_count; i++) {
        const struct tlb_step *const step = &mapping->step[i];
        uint64_t now;
        if (step->size == 0)
            continue; /* the register is in the tags */
        if (vmxsim_memory_watch_word(cpu->memory, step->hpa, step->size, &now) != VMXSIM_WATCHED ||
            !is_unchanged(cpu, step, now)) {
            mapping->generation = 0;
            return false;
        }
    }
    mapping->epoch = cpu->memory->table_epoch;
    return true;
}

static bool compare_lazily(struct vmxsim_cpu *cpu, struct tlb_mapping *mapping)
{
    mapping->stale = false;
    mapping->epoch = cpu->memory->table_epoch;
    for (size_t i = 0; i < mapping->step_count; i++) {
        const struct tlb_step *const step = &mapping->step[i];
        uint64_t now = step->value;
        if (step->size != 0 &&
            vmxsim_memory_watch_word(cpu->memory, step->hpa, step->size, &now) != VMXSIM_WATCHED)
            mapping->epoch = 0;
        mapping->stale |= change_matters(cpu, step, now);
    }
    return true;
}

bool vmxsim_tlb_compare(struct vmxsim_cpu *cpu, struct tlb_mapping *mapping)
{
    if (mapping->epoch == cpu->memory->table_epoch)
        return true;
    return cpu->tlb->mode == VMXSIM_TLB_EXACT ? compare_exactly(cpu, mapping)
                                              : compare_lazily(cpu, mapping);
}

/* ---- Using ---- */

/* The first entry that has changed. */
static void report(struct walk *walk, const struct tlb_step *step, uint64_t now)
{
    const struct vmxsim_hazard hazard = {
        .rule =
            step->kind == VMXSIM_TRAIL_EPT_ENTRY ? VMXSIM_HAZARD_TLB_EPT : VMXSIM_HAZARD_TLB_PAGING,
        .processor = walk->cpu->number,
        .hpa = step->hpa,
        .length = step->size,
        .level = step->level,
        .address = step->kind == VMXSIM_TRAIL_EPT_ENTRY ? step->gpa : walk->linear,
        .cached = step->value,
        .now = now,
    };

    walk->tlb->stats.stale++;
    vmxsim_hazard_report(&walk->cpu->memory->hazards, &hazard);
}

void vmxsim_tlb_use(struct walk *walk, const struct tlb_mapping *mapping)
{
    bool reported = false;

    for (size_t i = 0; i < mapping->step_count; i++) {
        const struct tlb_step *const step = &mapping->step[i];
        struct vmxsim_trail_entry *const entry = vmxsim_trail_add(
            walk, (enum vmxsim_trail_kind)step->kind, step->hpa, step->gpa, step->value);
        uint64_t now = step->value;
        if (entry != NULL) {
            entry->level = step->level;
            entry->guest_level = step->guest_level;
            entry->leaf = step->leaf;
            entry->is_register = step->size == 0;
            entry->cached = true;
        }
        if (!mapping->stale || step->size == 0)
            continue;
        vmxsim_memory_peek_word(walk->cpu->memory, step->hpa, step->size, &now);
        if (!change_matters(walk->cpu, step, now))
            continue;
        if (!reported)
            report(walk, step, now);
        reported = true;
        if (entry != NULL) {
            entry->stale = true;
            entry->now = now;
        }
    }
}
