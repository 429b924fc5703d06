/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What drops which mappings: tlb_rules.def says so. A cache that is off or exact has nothing to drop: what is cached exactly is
 * never used after it has become wrong.
 *
 * Source: Intel SDM volume 3, "Operations that Invalidate TLBs and Paging-Structure Caches", "Operations that Invalidate Cached
 * Mappings".
 */
#include "internal/tlb.h"
#include "vmxcore/defs/controls.h"

/* Kinds */
enum { L = 1u << TLB_LINEAR, C = 1u << TLB_COMBINED, G = 1u << TLB_GUEST_PHYSICAL };
/* Agreement */
enum { VPID = 1, PCID = 2, EP4TA = 4, ADDRESS = 8, NOT_GLOBAL = 16, NOT_VPID0 = 32 };

static const struct {
    uint8_t kinds, agreement;
} rules[TLB_RULE_COUNT] = {
#define TLB_RULE(name, kinds, agreement, section) [TLB_##name] = {kinds, agreement},
#include "internal/tlb_rules.def"
};

/* A page of the guest's may have been cached in parts: all of them go. */
static bool covers(const struct tlb_mapping *mapping, uint64_t address)
{
    const uint64_t size =
        mapping->linear.page_size > mapping->size ? mapping->linear.page_size : mapping->size;

    return ((mapping->page ^ address) & ~(size - 1)) == 0;
}

static bool agrees(const struct tlb_mapping *mapping, unsigned agreement,
                   const struct tlb_tags *tags, uint64_t address)
{
    if ((agreement & VPID) && mapping->tags.vpid != tags->vpid)
        return false;
    if ((agreement & PCID) && mapping->tags.pcid != tags->pcid && !mapping->global)
        return false;
    if ((agreement & EP4TA) && mapping->tags.ept_root != tags->ept_root)
        return false;
    if ((agreement & NOT_GLOBAL) && mapping->global)
        return false;
    if ((agreement & NOT_VPID0) && mapping->tags.vpid == 0)
        return false;
    return !(agreement & ADDRESS) || covers(mapping, address);
}

static void drop(struct vmxsim_tlb *tlb, enum tlb_rule rule, const struct tlb_tags *tags,
                 uint64_t address)
{
    tlb->stamp++;
    for (size_t i = 0; i < TLB_MAPPINGS; i++) {
        struct tlb_mapping *const mapping = &tlb->mapping[i];
        if (mapping->generation == tlb->generation && (rules[rule].kinds >> mapping->kind & 1) &&
            agrees(mapping, rules[rule].agreement, tags, address))
            mapping->generation = 0;
    }
}

void vmxsim_tlb_invalidate(struct vmxsim_cpu *cpu, enum tlb_rule rule, uint64_t address)
{
    if (!tlb_is_lazy(cpu))
        return;
    const struct tlb_tags tags = vmxsim_tlb_tags(cpu, TLB_COMBINED, address);
    drop(cpu->tlb, rule, &tags, address);
}

void vmxsim_tlb_invalidate_vpid(struct vmxsim_cpu *cpu, enum tlb_rule rule, uint16_t vpid,
                                uint64_t linear)
{
    const struct tlb_tags tags = {.vpid = vpid};

    if (tlb_is_lazy(cpu))
        drop(cpu->tlb, rule, &tags, linear);
}

void vmxsim_tlb_invalidate_ept(struct vmxsim_cpu *cpu, enum tlb_rule rule, uint64_t eptp)
{
    const struct tlb_tags tags = {.ept_root = eptp & VMXC_EPTP_ADDRESS};

    if (tlb_is_lazy(cpu))
        drop(cpu->tlb, rule, &tags, 0);
}

void vmxsim_tlb_invalidate_everywhere(struct vmxsim_memory *memory, uint64_t eptp)
{
    const struct tlb_tags tags = {.ept_root = eptp & VMXC_EPTP_ADDRESS};

    for (struct vmxsim_tlb *tlb = memory->tlbs; tlb != NULL; tlb = tlb->next) {
        if (tlb->mode == VMXSIM_TLB_LAZY)
            drop(tlb, TLB_INVEPT_SINGLE, &tags, 0);
    }
}

void vmxsim_tlb_transition(struct vmxsim_cpu *cpu)
{
    vmxsim_tlb_state_changed(cpu);
    if (!(cpu->exits.secondary & VMXC_SECONDARY_ENABLE_VPID))
        vmxsim_tlb_invalidate_vpid(cpu, TLB_VMX_TRANSITION, 0, 0);
}

void vmxsim_tlb_moved_to_cr(struct vmxsim_cpu *cpu, uint64_t old_cr0, uint64_t old_cr4)
{
    const uint64_t cr0_lost = old_cr0 & ~cpu->guest.cr0;
    const uint64_t cr4_changed = old_cr4 ^ cpu->guest.cr4;
    const uint64_t cr4_lost = old_cr4 & ~cpu->guest.cr4;
    const uint64_t cr4_gained = ~old_cr4 & cpu->guest.cr4;

    if ((cr0_lost & VMXC_CR0_PG) || (cr4_changed & VMXC_CR4_PGE) || (cr4_lost & VMXC_CR4_PCIDE))
        vmxsim_tlb_invalidate(cpu, TLB_ALL_PCIDS, 0);
    else if ((cr4_changed & VMXC_CR4_PAE) || (cr4_gained & VMXC_CR4_SMEP))
        vmxsim_tlb_invalidate(cpu, TLB_ONE_PCID, 0);
}

void vmxsim_tlb_moved_to_cr3(struct vmxsim_cpu *cpu, uint64_t value)
{
    const bool keeps = (cpu->guest.cr4 & VMXC_CR4_PCIDE) && (value & VMXC_BIT(63));

    if (!keeps)
        vmxsim_tlb_invalidate(cpu, TLB_MOV_TO_CR3, 0);
}

/* ---- Faults drop what may have caused them, so that they do not come again ---- */

void vmxsim_tlb_page_fault(struct walk *walk)
{
    vmxsim_tlb_invalidate(walk->cpu, TLB_PAGE_FAULT, walk->linear);
}

void vmxsim_tlb_ept_violation(struct walk *walk, const struct ept_request *request)
{
    vmxsim_tlb_invalidate(walk->cpu, TLB_EPT_VIOLATION, request->gpa);
    if (request->linear != NULL && walk->linear_valid)
        vmxsim_tlb_invalidate(walk->cpu, TLB_EPT_VIOLATION_LINEAR, walk->linear);
}
