/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Accesses that are repeated without a walk: the same page, the same kind of access, and nothing has changed that either depends
 * on. The outcome is put together from what it was the last time; data are moved anew.
 */
#include "internal/tlb.h"

#include <string.h>

static uint64_t tag_of(const struct vmxsim_access *access, uint64_t linear)
{
    return (linear & ~VMXC_PAGE_MASK) | (uint64_t)access->type;
}

/* A page that is read and written has two entries. */
static struct tlb_fast *fast_of(struct vmxsim_tlb *tlb, const struct vmxsim_access *access,
                                uint64_t linear)
{
    const uint64_t page = linear >> VMXC_PAGE_SHIFT;

    return &tlb->fast[(page + (uint64_t)access->type * (TLB_FAST / 4)) % TLB_FAST];
}

/* Only accesses like these are remembered. */
static bool is_plain(const struct vmxsim_access *access)
{
    return !(access->implicit | access->shadow_stack | access->event_delivery);
}

/* A word may begin before the regions and reach into them. */
static inline bool is_watched(const struct vmxsim_memory *memory, uint64_t hpa)
{
    return hpa < memory->regions.end && hpa + sizeof(uint64_t) > memory->regions.begin;
}

/* Most accesses read a register's worth that nobody watches: one load and one store. False: it is not one of them. */
static inline bool read_word(const struct vmxsim_memory *memory, const struct tlb_fast *fast,
                             const struct vmxsim_access *access, uint64_t hpa, uint8_t *data)
{
    const uint8_t *const bytes = fast->bytes + (hpa & VMXC_PAGE_MASK);

    if (access->type > VMXSIM_ACCESS_READ || is_watched(memory, hpa))
        return false;
    switch (access->size) {
    case 1:
        *data = *bytes;
        return true;
    case 4:
        memcpy(data, bytes, 4);
        return true;
    case 8:
        memcpy(data, bytes, 8);
        return true;
    default:
        return false;
    }
}

static inline const struct tlb_fast *find(struct vmxsim_tlb *tlb,
                                          const struct vmxsim_access *access)
{
    const struct tlb_fast *const fast = fast_of(tlb, access, access->linear);
    const bool found = fast->stamp == tlb->stamp && fast->tag == tag_of(access, access->linear) &&
                       is_plain(access) && (unsigned)access->type <= VMXSIM_ACCESS_RMW &&
                       access->size - 1 < VMXSIM_ACCESS_MAX_SIZE &&
                       (access->linear & VMXC_PAGE_MASK) + access->size <= VMXC_PAGE_SIZE;

    return found ? fast : NULL;
}

enum vmxc_status vmxsim_guest_access(struct vmxsim_cpu *cpu, const struct vmxsim_access *access,
                                     struct vmxsim_outcome *outcome, struct vmxsim_trail *trail)
{
    const struct tlb_fast *const fast =
        trail == NULL && cpu->tlb != NULL ? find(cpu->tlb, access) : NULL;

    if (fast == NULL)
        return vmxsim_walk_access(cpu, access, outcome, trail);

    const uint64_t offset = access->linear & VMXC_PAGE_MASK;
    const uint64_t hpa = fast->page.hpa + offset;
    vmxsim_outcome_clear_around_page(outcome);
    outcome->page_count = 1;
    outcome->page[0] = fast->page;
    outcome->page[0].linear = access->linear;
    outcome->page[0].gpa = fast->page.gpa + offset;
    outcome->page[0].hpa = hpa;
    outcome->page[0].length = access->size;
    if (read_word(cpu->memory, fast, access, hpa, outcome->data))
        return VMXC_OK;
    return vmxsim_walk_move_data(cpu->memory, access, outcome);
}

void vmxsim_tlb_remember(struct walk *walk, const struct vmxsim_access *access)
{
    const struct tlb_mapping *const mapping = walk->mapping;
    const struct vmxsim_page_translation *const page = &walk->outcome->page[0];
    const uint64_t offset = page->hpa & VMXC_PAGE_MASK;

    if (mapping == NULL || mapping->stale || mapping->epoch != walk->cpu->memory->table_epoch ||
        walk->outcome->page_count != 1 || walk->virtual_apic || !is_plain(access))
        return;
    const struct vmxsim_ram_range *const range = vmxsim_memory_find(walk->cpu->memory, page->hpa);
    if (range == NULL)
        return;
    struct tlb_fast *const fast = fast_of(walk->tlb, access, page->linear);
    *fast = (struct tlb_fast){.tag = tag_of(access, page->linear),
                              .stamp = walk->tlb->stamp,
                              .bytes = range->bytes + (page->hpa - offset - range->base),
                              .page = *page};
    fast->page.linear -= offset;
    fast->page.gpa -= offset;
    fast->page.hpa -= offset;
}
