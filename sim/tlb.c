/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A processor's cache of translations: which mappings there are.
 * Source: Intel SDM volume 3, "Information That May Be Cached", "Creating and Using Cached Translation Information".
 */
#include "internal/tlb.h"

#include <stdlib.h>
#include <string.h>

#include "vmxcore/defs/controls.h"

const char *vmxsim_tlb_mode_name(enum vmxsim_tlb_mode mode)
{
    static const char *const names[VMXSIM_TLB_MODE_COUNT] = {"off", "exact", "lazy"};

    return (unsigned)mode < VMXSIM_TLB_MODE_COUNT ? names[mode] : "";
}

/* ---- A tlb as a whole ---- */

static struct vmxsim_tlb *create(struct vmxsim_memory *memory)
{
    struct vmxsim_tlb *const tlb = calloc(1, sizeof *tlb);

    if (tlb == NULL)
        return NULL;
    tlb->memory = memory;
    tlb->stamp = 1; /* no fast entry has it */
    tlb->generation = 1;
    tlb->next = memory->tlbs;
    memory->tlbs = tlb;
    return tlb;
}

static void drop_all(struct vmxsim_tlb *tlb)
{
    tlb->stamp++;
    tlb->generation++;
    tlb->shifts = 0;
}

enum vmxc_status vmxsim_cpu_set_tlb(struct vmxsim_cpu *cpu, enum vmxsim_tlb_mode mode)
{
    if ((unsigned)mode >= VMXSIM_TLB_MODE_COUNT)
        return VMXC_INVALID_INPUT;
    if (cpu->tlb == NULL && mode == VMXSIM_TLB_OFF)
        return VMXC_OK;
    if (cpu->tlb == NULL)
        cpu->tlb = create(cpu->memory);
    if (cpu->tlb == NULL)
        return VMXC_NO_MEMORY;
    drop_all(cpu->tlb);
    cpu->tlb->mode = mode;
    cpu->tlb->stats = (struct vmxsim_tlb_stats){.walks = 0};
    return VMXC_OK;
}

enum vmxsim_tlb_mode vmxsim_cpu_tlb(const struct vmxsim_cpu *cpu)
{
    return cpu->tlb != NULL ? cpu->tlb->mode : VMXSIM_TLB_OFF;
}

void vmxsim_tlb_destroy(struct vmxsim_cpu *cpu)
{
    struct vmxsim_tlb **link = &cpu->memory->tlbs;

    if (cpu->tlb == NULL)
        return;
    while (*link != cpu->tlb)
        link = &(*link)->next;
    *link = cpu->tlb->next;
    free(cpu->tlb->kept);
    free(cpu->tlb);
    cpu->tlb = NULL;
}

void vmxsim_tlb_state_changed(struct vmxsim_cpu *cpu)
{
    if (cpu->tlb != NULL)
        cpu->tlb->stamp++;
}

void vmxsim_tlb_tables_changed(struct vmxsim_memory *memory)
{
    for (struct vmxsim_tlb *tlb = memory->tlbs; tlb != NULL; tlb = tlb->next)
        tlb->stamp++;
}

void vmxsim_tlb_reset(struct vmxsim_cpu *cpu)
{
    if (cpu->tlb != NULL)
        drop_all(cpu->tlb);
}

/* ---- Which mappings exist ---- */

static size_t set_of(uint64_t page, unsigned shift)
{
    return (size_t)((page >> shift) * UINT64_C(0x9e3779b97f4a7c15) >> 32) % TLB_SETS;
}

static unsigned shift_of(uint64_t size)
{
    return (unsigned)__builtin_ctzll(size);
}

static bool exists(const struct vmxsim_tlb *tlb, const struct tlb_mapping *mapping)
{
    return mapping->generation == tlb->generation;
}

struct vmxsim_tlb_stats vmxsim_cpu_tlb_stats(const struct vmxsim_cpu *cpu)
{
    struct vmxsim_tlb_stats stats = {.walks = 0};

    if (!tlb_is_on(cpu))
        return stats;
    stats = cpu->tlb->stats;
    for (size_t i = 0; i < TLB_MAPPINGS; i++)
        stats.mappings += exists(cpu->tlb, &cpu->tlb->mapping[i]);
    return stats;
}

/* ---- Tags ---- */

/* Settings under which entries of EPT were read. Those of a change without INVEPT are not used, which is allowed. */
static uint32_t ept_format(const struct ept_state *ept)
{
    return (uint32_t)ept->levels << 4 | (uint32_t)ept->accessed_dirty << 3 |
           (uint32_t)ept->mode_based_execute << 2 | (uint32_t)ept->shadow_stack << 1 |
           (uint32_t)ept->sub_page_permissions;
}

static uint32_t paging_format(const struct guest_state *guest)
{
    return (uint32_t)guest->mode << 4 | (uint32_t)((guest->cr4 & VMXC_CR4_PSE) != 0) << 1 |
           (uint32_t)((guest->efer & VMXC_EFER_NXE) != 0);
}

static void update_tags(struct vmxsim_cpu *cpu)
{
    const bool has_vpid = cpu->exits.secondary & VMXC_SECONDARY_ENABLE_VPID;
    const bool has_pcid = cpu->guest.cr4 & VMXC_CR4_PCIDE;
    const struct vmxsim_vmcs *vmcs = &cpu->vmx.vmcs.fields;

    cpu->tlb->tags_stamp = cpu->tlb->stamp;
    cpu->tlb->tags = (struct tlb_tags){
        .format = ept_format(&cpu->ept) | paging_format(&cpu->guest) << 16,
        .vpid = has_vpid ? (uint16_t)VMXSIM_VMCS(vmcs, VPID) : 0,
        .pcid = has_pcid ? (uint16_t)(cpu->guest.cr3 & VMXC_PAGE_MASK) : 0,
        .root = cpu->guest.mode == PAGING_NONE ? 0 : cpu->guest.cr3 & ~VMXC_PAGE_MASK,
        .ept_root = cpu->ept.enabled ? cpu->ept.root : 0,
    };
}

struct tlb_tags vmxsim_tlb_tags(struct vmxsim_cpu *cpu, enum tlb_kind kind, uint64_t address)
{
    struct vmxsim_tlb *const tlb = cpu->tlb;

    if (tlb->tags_stamp != tlb->stamp)
        update_tags(cpu);
    if (kind == TLB_GUEST_PHYSICAL)
        return (struct tlb_tags){.format = ept_format(&cpu->ept), .ept_root = cpu->ept.root};
    struct tlb_tags tags = tlb->tags;
    if (cpu->guest.mode == PAGING_PAE)
        tags.root = cpu->guest.pdpte[address >> 30 & 3];
    return tags;
}

/* Lazy: as the manual has it. Exact: as the tables are now. */
static bool tags_agree(const struct vmxsim_tlb *tlb, const struct tlb_mapping *mapping,
                       const struct tlb_tags *tags)
{
    if (mapping->tags.format != tags->format || mapping->tags.ept_root != tags->ept_root)
        return false;
    if (tlb->mode == VMXSIM_TLB_EXACT)
        return mapping->tags.root == tags->root;
    return mapping->tags.vpid == tags->vpid &&
           (mapping->global || mapping->tags.pcid == tags->pcid);
}

/* ---- Finding and adding ---- */

static struct tlb_mapping *find(struct vmxsim_tlb *tlb, enum tlb_kind kind, uint64_t page,
                                unsigned shift, const struct tlb_tags *tags)
{
    struct tlb_mapping *const set = &tlb->mapping[set_of(page, shift) * TLB_WAYS];

    for (size_t way = 0; way < TLB_WAYS; way++) {
        struct tlb_mapping *const mapping = &set[way];
        if (exists(tlb, mapping) && mapping->page == page && mapping->kind == kind &&
            mapping->size == UINT64_C(1) << shift && tags_agree(tlb, mapping, tags))
            return mapping;
    }
    return NULL;
}

struct tlb_mapping *vmxsim_tlb_find(struct vmxsim_cpu *cpu, enum tlb_kind kind, uint64_t address)
{
    struct vmxsim_tlb *const tlb = cpu->tlb;
    const struct tlb_tags tags = vmxsim_tlb_tags(cpu, kind, address);

    for (uint64_t shifts = tlb->shifts; shifts != 0; shifts &= shifts - 1) {
        const unsigned shift = shift_of(shifts);
        struct tlb_mapping *const mapping =
            find(tlb, kind, address >> shift << shift, shift, &tags);
        if (mapping != NULL)
            return mapping;
    }
    return NULL;
}

/* Where a new mapping goes: in place of the same, or of none, or of one after the other. */
static struct tlb_mapping *place_for(struct vmxsim_tlb *tlb, const struct tlb_mapping *mapping)
{
    const unsigned shift = shift_of(mapping->size);
    struct tlb_mapping *const set = &tlb->mapping[set_of(mapping->page, shift) * TLB_WAYS];
    struct tlb_mapping *const same =
        find(tlb, (enum tlb_kind)mapping->kind, mapping->page, shift, &mapping->tags);

    if (same != NULL)
        return same;
    for (size_t way = 0; way < TLB_WAYS; way++) {
        if (!exists(tlb, &set[way]))
            return &set[way];
    }
    return &set[tlb->victim++ % TLB_WAYS];
}

struct tlb_mapping *vmxsim_tlb_add(struct walk *walk, const struct tlb_mapping *mapping,
                                   uint32_t first)
{
    struct vmxsim_tlb *const tlb = walk->tlb;
    struct tlb_mapping *const place = place_for(tlb, mapping);

    memcpy(place, mapping, offsetof(struct tlb_mapping, step));
    place->generation = 0;
    place->step_count = 0;
    if (!vmxsim_tlb_record(walk, first, place))
        return NULL;
    place->generation = tlb->generation;
    tlb->shifts |= place->size;
    return place;
}

/* ---- Snapshots and clones ---- */

static size_t count_of(const struct vmxsim_tlb *tlb)
{
    size_t count = 0;

    for (size_t i = 0; i < TLB_MAPPINGS; i++)
        count += exists(tlb, &tlb->mapping[i]);
    return count;
}

/* What is cached exactly need not be kept: it is compared with memory anyway. */
static enum vmxc_status keep(struct vmxsim_tlb *tlb)
{
    const size_t count = tlb->mode == VMXSIM_TLB_LAZY ? count_of(tlb) : 0;

    tlb->kept_victim = tlb->victim;
    if (count == 0)
        return VMXC_OK;
    tlb->kept = malloc(count * sizeof *tlb->kept);
    if (tlb->kept == NULL)
        return VMXC_NO_MEMORY;
    for (size_t i = 0; i < TLB_MAPPINGS; i++) {
        if (exists(tlb, &tlb->mapping[i]))
            tlb->kept[tlb->kept_count++] =
                (struct tlb_kept){.place = i, .mapping = tlb->mapping[i]};
    }
    return VMXC_OK;
}

static void put(struct vmxsim_tlb *tlb, size_t place, const struct tlb_mapping *mapping)
{
    tlb->mapping[place] = *mapping;
    tlb->mapping[place].generation = tlb->generation;
    tlb->mapping[place].epoch = 0;
    tlb->shifts |= mapping->size;
}

enum vmxc_status vmxsim_tlb_keep(struct vmxsim_memory *memory)
{
    for (struct vmxsim_tlb *tlb = memory->tlbs; tlb != NULL; tlb = tlb->next)
        VMXC_TRY(keep(tlb));
    return VMXC_OK;
}

void vmxsim_tlb_return(struct vmxsim_memory *memory)
{
    for (struct vmxsim_tlb *tlb = memory->tlbs; tlb != NULL; tlb = tlb->next) {
        tlb->stamp++;
        if (tlb->mode != VMXSIM_TLB_LAZY)
            continue;
        drop_all(tlb);
        tlb->victim = tlb->kept_victim;
        for (size_t i = 0; i < tlb->kept_count; i++)
            put(tlb, tlb->kept[i].place, &tlb->kept[i].mapping);
    }
}

void vmxsim_tlb_forget(struct vmxsim_memory *memory)
{
    for (struct vmxsim_tlb *tlb = memory->tlbs; tlb != NULL; tlb = tlb->next) {
        free(tlb->kept);
        tlb->kept = NULL;
        tlb->kept_count = 0;
    }
}

enum vmxc_status vmxsim_tlb_clone(const struct vmxsim_cpu *cpu, struct vmxsim_cpu *clone)
{
    const struct vmxsim_tlb *const tlb = cpu->tlb;

    VMXC_TRY(vmxsim_cpu_set_tlb(clone, vmxsim_cpu_tlb(cpu)));
    if (!tlb_is_lazy(cpu))
        return VMXC_OK;
    clone->tlb->victim = tlb->victim;
    for (size_t i = 0; i < TLB_MAPPINGS; i++) {
        if (exists(tlb, &tlb->mapping[i]))
            put(clone->tlb, i, &tlb->mapping[i]);
    }
    return VMXC_OK;
}
