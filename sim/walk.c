/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest access as a whole.
 *
 *   access --> page 1: guest paging --> EPT --.
 *          `-> page 2: guest paging --> EPT --+--> every page translated: data moves, complete
 *                         |              |
 *                         v              v
 *                     exception   violation, misconfiguration, log full   (nothing has moved)
 *
 * Pages are translated in ascending order and no data moves before all of them are.
 */
#include <string.h>

#include "internal/tlb.h"
#include "internal/virtual_apic.h"

static bool access_is_valid(const struct guest_state *guest, const struct vmxsim_access *access)
{
    if ((access->shadow_stack || access->event_delivery) && access->type == VMXSIM_ACCESS_FETCH)
        return false;
    if (access->shadow_stack && !(guest->cr4 & VMXC_CR4_CET))
        return false;
    return access->size >= 1 && access->size <= VMXSIM_ACCESS_MAX_SIZE &&
           (unsigned)access->type <= VMXSIM_ACCESS_RMW;
}

/*
 * In compatibility mode, too, descriptor tables and TSS lie at bases of 64 bits. Source: SDM, "Segment Descriptor Tables in
 * IA-32e Mode".
 */
static bool has_64bit_address(const struct guest_state *guest, const struct vmxsim_access *access)
{
    return guest->mode_64bit || (access->implicit && (guest->efer & VMXC_EFER_LMA));
}

/* Other linear addresses have 32 bits and wrap. */
static uint64_t linear_at(const struct guest_state *guest, const struct vmxsim_access *access,
                          uint64_t offset)
{
    const uint64_t linear = access->linear + offset;

    return has_64bit_address(guest, access) ? linear : linear & UINT32_MAX;
}

/* Bits 63 to width - 1 are all alike. */
static bool is_canonical(const struct guest_state *guest, uint64_t linear)
{
    const uint64_t upper = linear >> (guest->linear_width - 1u);

    return upper == 0 || upper == UINT64_MAX >> (guest->linear_width - 1u);
}

/* Source: SDM, "Canonical Addressing". The stack-segment variant (#SS) is the caller's business. */
static bool check_canonical(struct walk *walk, const struct vmxsim_access *access)
{
    const struct guest_state *guest = &walk->cpu->guest;
    const uint64_t last = linear_at(guest, access, access->size - 1);

    if (!has_64bit_address(guest, access) ||
        (is_canonical(guest, access->linear) && is_canonical(guest, last)))
        return true;
    return vmxsim_end_with_exception(walk, VMXSIM_RULE_PG_CANONICAL, VMXC_VECTOR_GP, true, 0);
}

/* What EPT is asked for: a read-modify-write is one access that is both a read and a write. */
uint64_t vmxsim_walk_ept_access(const struct walk *walk)
{
    return (walk->read ? VMXC_EPT_VIOLATION_READ : 0) |
           (walk->write ? VMXC_EPT_VIOLATION_WRITE : 0) |
           (walk->fetch ? VMXC_EPT_VIOLATION_FETCH : 0);
}

static bool walk_tables(struct walk *walk, uint32_t length, struct linear_translation *linear,
                        struct ept_translation *ept)
{
    const uint32_t first = walk->trail != NULL ? walk->trail->count : 0;

    if (!vmxsim_walk_paging(walk, linear))
        return false;
    const struct ept_request request = {
        .gpa = linear->gpa,
        .access = vmxsim_walk_ept_access(walk),
        .linear = &linear->rights,
        .length = length,
    };
    if (!vmxsim_walk_ept(walk, &request, ept))
        return false;
    vmxsim_walk_cache(walk, first, linear, ept);
    return true;
}

static bool translate_page(struct walk *walk, uint32_t length)
{
    struct vmxsim_outcome *outcome = walk->outcome;
    struct linear_translation linear;
    struct ept_translation ept;
    bool ended;

    if (!vmxsim_walk_cached(walk, length, &linear, &ept, &ended))
        ended = !walk_tables(walk, length, &linear, &ept);
    if (ended)
        return false;
    outcome->page[outcome->page_count++] = (struct vmxsim_page_translation){
        .linear = walk->linear,
        .gpa = linear.gpa,
        .hpa = ept.hpa,
        .length = length,
        .guest_page_size = linear.page_size,
        .ept_page_size = ept.page_size,
        .ept_rights = (uint8_t)(ept.rights & VMXC_EPT_RWX),
        .ept_user_execute = (ept.rights & VMXC_EPT_USER_EXECUTE) != 0,
        .user = linear.rights.user,
        .writable = linear.rights.writable,
        .no_execute = linear.rights.no_execute,
        .protection_key = linear.rights.protection_key,
        .memory_type = vmxsim_effective_memory_type(walk->cpu, &linear, &ept),
    };
    return true;
}

static bool translate_pages(struct walk *walk, const struct vmxsim_access *access)
{
    const struct guest_state *guest = &walk->cpu->guest;
    const uint32_t to_page_end = (uint32_t)(VMXC_PAGE_SIZE - (access->linear & VMXC_PAGE_MASK));
    const uint32_t first = access->size < to_page_end ? access->size : to_page_end;

    if (!translate_page(walk, first))
        return false;
    if (first == access->size)
        return true;
    walk->page = 1;
    walk->linear = linear_at(guest, access, first);
    return translate_page(walk, access->size - first);
}

/* Every page is translated: read what is there, then store. */
enum vmxc_status vmxsim_walk_move_data(struct vmxsim_memory *memory,
                                       const struct vmxsim_access *access,
                                       struct vmxsim_outcome *outcome)
{
    size_t done = 0;

    for (uint32_t i = 0; i < outcome->page_count; i++) {
        const struct vmxsim_page_translation *page = &outcome->page[i];
        if (access->type != VMXSIM_ACCESS_WRITE)
            vmxsim_memory_read(memory, page->hpa, outcome->data + done, page->length);
        if (access->type >= VMXSIM_ACCESS_WRITE)
            vmxsim_memory_write(memory, page->hpa, access->data + done, page->length);
        done += page->length;
    }
    return VMXC_OK;
}

/* A mapping is made from a trail. Where the caller wants one, what is cached exactly is left alone: tables are read. */
static void start(struct walk *walk, struct vmxsim_cpu *cpu, struct vmxsim_outcome *outcome,
                  struct vmxsim_trail *trail)
{
    const bool uses_tlb = tlb_is_on(cpu) && !cpu->stale && (!trail || tlb_is_lazy(cpu));

    vmxsim_outcome_clear(outcome);
    *walk = (struct walk){.cpu = cpu, .outcome = outcome, .trail = trail};
    if (uses_tlb) {
        walk->tlb = cpu->tlb;
        walk->trail = trail ? trail : &cpu->tlb->trail;
    }
    if (walk->trail)
        walk->trail->count = 0;
}

enum vmxc_status vmxsim_walk_access(struct vmxsim_cpu *cpu, const struct vmxsim_access *access,
                                    struct vmxsim_outcome *outcome, struct vmxsim_trail *trail)
{
    struct walk walk;

    if (!cpu->in_guest)
        return VMXC_BAD_STATE;
    if (cpu->unsupported)
        return VMXC_UNSUPPORTED;
    if (!access_is_valid(&cpu->guest, access))
        return VMXC_INVALID_INPUT;
    start(&walk, cpu, outcome, trail);
    walk.linear = linear_at(&cpu->guest, access, 0);
    walk.linear_valid = true;
    walk.fetch = access->type == VMXSIM_ACCESS_FETCH;
    walk.read = access->type == VMXSIM_ACCESS_READ || access->type == VMXSIM_ACCESS_RMW;
    walk.write = access->type == VMXSIM_ACCESS_WRITE || access->type == VMXSIM_ACCESS_RMW;
    walk.implicit = access->implicit;
    walk.shadow_stack = access->shadow_stack;
    walk.event_delivery = access->event_delivery;
    walk.user = cpu->guest.cpl == 3 && !access->implicit;
    if (!check_canonical(&walk, access) || !translate_pages(&walk, access) ||
        !vmxsim_walk_apic(&walk, access->size))
        return VMXC_OK;
    if (walk.mapping)
        vmxsim_tlb_remember(&walk, access);
    const enum vmxc_status status = vmxsim_walk_move_data(cpu->memory, access, outcome);
    if (walk.virtual_apic && walk.write)
        vmxsim_virtual_apic_emulate_write(&walk, outcome->page[0].hpa & VMXC_PAGE_MASK);
    return status;
}

static uint64_t access_of_rights(uint64_t rights)
{
    return ((rights & VMXC_EPT_READ) ? VMXC_EPT_VIOLATION_READ : 0) |
           ((rights & VMXC_EPT_WRITE) ? VMXC_EPT_VIOLATION_WRITE : 0) |
           ((rights & (VMXC_EPT_EXECUTE | VMXC_EPT_USER_EXECUTE)) ? VMXC_EPT_VIOLATION_FETCH : 0);
}

static bool rights_are_valid(const struct ept_state *ept, uint64_t gpa, uint64_t rights)
{
    const uint64_t execute = rights & (VMXC_EPT_EXECUTE | VMXC_EPT_USER_EXECUTE);
    const uint64_t known =
        ept->mode_based_execute ? VMXC_EPT_RWX | VMXC_EPT_USER_EXECUTE : VMXC_EPT_RWX;

    return rights != 0 && (rights & ~known) == 0 &&
           execute != (VMXC_EPT_EXECUTE | VMXC_EPT_USER_EXECUTE) &&
           gpa >> VMXC_MAXPHYADDR_LIMIT == 0;
}

enum vmxc_status vmxsim_guest_physical_access(struct vmxsim_cpu *cpu, uint64_t gpa, uint64_t rights,
                                              struct vmxsim_outcome *outcome,
                                              struct vmxsim_trail *trail)
{
    struct walk walk;
    struct ept_translation translation;

    if (!cpu->in_guest || !cpu->ept.enabled)
        return VMXC_BAD_STATE;
    if (cpu->unsupported)
        return VMXC_UNSUPPORTED;
    if (!rights_are_valid(&cpu->ept, gpa, rights))
        return VMXC_INVALID_INPUT;
    start(&walk, cpu, outcome, trail);

    const struct linear_rights linear = {.user = (rights & VMXC_EPT_USER_EXECUTE) != 0};
    const struct ept_request request = {
        .gpa = gpa, .access = access_of_rights(rights), .linear = &linear};
    if (!vmxsim_walk_ept(&walk, &request, &translation))
        return VMXC_OK;
    outcome->page_count = 1;
    outcome->page[0] = (struct vmxsim_page_translation){
        .gpa = gpa,
        .hpa = translation.hpa,
        .ept_page_size = translation.page_size,
        .ept_rights = (uint8_t)(translation.rights & VMXC_EPT_RWX),
        .ept_user_execute = (translation.rights & VMXC_EPT_USER_EXECUTE) != 0,
        .memory_type =
            (enum vmxc_memory_type)VMXC_FIELD_GET(translation.leaf, VMXC_EPT_MEMORY_TYPE),
    };
    return VMXC_OK;
}
