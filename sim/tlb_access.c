/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Accesses that are repeated without a walk: the same page, the same kind of access, and nothing has changed that either depends
 * on. The outcome is put together from what it was the last time; data are moved anew.
 */
#include "internal/tlb.h"

#include <string.h>

static uint64_t tag_of(const struct vmxsim_access *access, uint64_t linear)
{
    return (linear & ~VMXC_PAGE_MASK) | (access->implicit ? 1u << 2 : 0) | (uint64_t)access->type;
}

/* A page that is read and written has two entries. */
static struct tlb_fast *fast_of(struct vmxsim_tlb *tlb, const struct vmxsim_access *access,
                                uint64_t linear)
{
    const uint64_t page = linear >> VMXC_PAGE_SHIFT;

    return &tlb->fast[(page + (uint64_t)access->type * (TLB_FAST / 4)) % TLB_FAST];
}

static bool is_plain(const struct vmxsim_access *access)
{
    return (unsigned)access->type <= VMXSIM_ACCESS_RMW && access->size - 1 < VMXSIM_ACCESS_MAX_SIZE &&
           !access->shadow_stack && !access->event_delivery;
}

/* Most accesses have the size of a register: constant sizes are one load and one store. */
static inline void copy(uint8_t *to, const uint8_t *from, uint32_t size)
{
    switch (size) {
    case 1:
        *to = *from;
        break;
    case 2:
        memcpy(to, from, 2);
        break;
    case 4:
        memcpy(to, from, 4);
        break;
    case 8:
        memcpy(to, from, 8);
        break;
    default:
        memcpy(to, from, size);
    }
}

/* As vmxsim_memory_read and vmxsim_memory_write do it where all is in one range. */
static inline void move_data(struct vmxsim_cpu *cpu, const struct tlb_fast *fast,
                             const struct vmxsim_access *access, struct vmxsim_outcome *outcome)
{
    const uint64_t hpa = outcome->page[0].hpa;
    const uint64_t offset = hpa - fast->range->base;
    uint8_t *const bytes = fast->range->bytes + offset;

    if (access->type != VMXSIM_ACCESS_WRITE) {
        vmxsim_region_watch_see(cpu->memory, hpa, access->size, false);
        copy(outcome->data, bytes, access->size);
    }
    if (access->type >= VMXSIM_ACCESS_WRITE) {
        vmxsim_range_touch(fast->range, offset, access->size);
        copy(bytes, access->data, access->size);
        vmxsim_region_watch_see(cpu->memory, hpa, access->size, true);
    }
}

bool vmxsim_tlb_repeat(struct vmxsim_cpu *cpu, const struct vmxsim_access *access,
                       struct vmxsim_outcome *outcome)
{
    const uint64_t offset = access->linear & VMXC_PAGE_MASK;
    const struct tlb_fast *const fast = fast_of(cpu->tlb, access, access->linear);

    if (fast->stamp != cpu->tlb->stamp || fast->tag != tag_of(access, access->linear) ||
        !is_plain(access) || offset + access->size > VMXC_PAGE_SIZE)
        return false;
    memset(outcome, 0, sizeof *outcome);
    outcome->page_count = 1;
    outcome->page[0] = fast->page;
    outcome->page[0].linear += offset;
    outcome->page[0].gpa += offset;
    outcome->page[0].hpa += offset;
    outcome->page[0].length = access->size;
    move_data(cpu, fast, access, outcome);
    return true;
}

void vmxsim_tlb_remember(struct walk *walk, const struct vmxsim_access *access)
{
    const struct tlb_mapping *const mapping = walk->mapping;
    const struct vmxsim_page_translation *const page = &walk->outcome->page[0];
    const uint64_t offset = page->hpa & VMXC_PAGE_MASK;

    if (mapping == NULL || mapping->stale || mapping->epoch != walk->cpu->memory->table_epoch ||
        walk->outcome->page_count != 1 || walk->virtual_apic || !is_plain(access))
        return;
    struct vmxsim_ram_range *const range = vmxsim_memory_find(walk->cpu->memory, page->hpa);
    if (range == NULL)
        return;
    struct tlb_fast *const fast = fast_of(walk->tlb, access, page->linear);
    *fast = (struct tlb_fast){.tag = tag_of(access, page->linear),
                              .stamp = walk->tlb->stamp,
                              .range = range,
                              .page = *page};
    fast->page.linear -= offset;
    fast->page.gpa -= offset;
    fast->page.hpa -= offset;
}
