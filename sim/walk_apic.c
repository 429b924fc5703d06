/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The APIC-access page.
 *
 *   translated to the page, every page fault and EPT violation excluded, flags set
 *       |
 *       +-- data that virtual_apic.c redirects --> the virtual-APIC page instead; after a write: APIC-write emulation
 *       `-- everything else --> VM exit
 *
 * Guest-physical accesses (paging structures, PDPTE loads) always exit, as they are met. Without EPT the entries of
 * paging structures are reached by physical accesses, for which a VM exit is optional: there is none here.
 *
 * Source: Intel SDM volume 3, "Virtualizing Memory-Mapped APIC Accesses", "Exit Qualification for APIC-Access VM Exits from
 * Linear Accesses and Guest-Physical Accesses".
 */
#include "internal/virtual_apic.h"
#include "vmxcore/defs/controls.h"
#include "vmxcore/defs/exit_reason.h"
#include "vmxcore/defs/msr.h"

/* Bits 15:12 of the qualification. */
enum access_type {
    LINEAR_READ = 0,
    LINEAR_WRITE = 1,
    LINEAR_FETCH = 2,
    LINEAR_DELIVERY = 3, /* read or write, while an event is delivered */
    PHYSICAL_DELIVERY = 10,
    PHYSICAL = 15, /* for a fetch or during the execution of an instruction */
};

#define ACCESS_TYPE VMXC_BITS(15, 12)

static const struct vmxsim_vmcs *controls(const struct walk *walk)
{
    return &walk->cpu->vmx.vmcs.fields;
}

bool vmxsim_is_apic_access_page(const struct walk *walk, uint64_t hpa)
{
    return (walk->cpu->exits.secondary & VMXC_SECONDARY_VIRTUALIZE_APIC_ACCESSES) &&
           (hpa & ~VMXC_PAGE_MASK) == VMXSIM_VMCS(controls(walk), APIC_ACCESS_ADDRESS);
}

/* The offset is undefined for guest-physical accesses, and 0 here. */
bool vmxsim_end_with_physical_apic_access(struct walk *walk)
{
    const enum access_type type = walk->event_delivery ? PHYSICAL_DELIVERY : PHYSICAL;

    vmxsim_trail_verdict(walk, VMXSIM_RULE_EXIT_APIC_PHYSICAL, 0);
    return vmxsim_end_with_exit(walk, VMXSIM_RULE_EXIT_APIC_PHYSICAL, VMXC_EXIT_REASON_APIC_ACCESS,
                                VMXC_FIELD_MAKE((uint64_t)type, ACCESS_TYPE));
}

static bool end_with_linear_access(struct walk *walk, uint32_t page, enum access_type type)
{
    const uint64_t offset = walk->outcome->page[page].hpa & VMXC_PAGE_MASK;

    if (page + 1 ==
        walk->outcome->page_count) /* the last entry of the trail belongs to this page */
        vmxsim_trail_verdict(walk, VMXSIM_RULE_EXIT_APIC, 0);
    return vmxsim_end_with_exit(walk, VMXSIM_RULE_EXIT_APIC, VMXC_EXIT_REASON_APIC_ACCESS,
                                offset | VMXC_FIELD_MAKE((uint64_t)type, ACCESS_TYPE));
}

/* A read-modify-write reads first. False: the access may go to the virtual-APIC page. */
static bool find_exit(const struct walk *walk, uint64_t offset, uint32_t size,
                      enum access_type *type)
{
    if (walk->fetch)
        *type = LINEAR_FETCH;
    else if (walk->read && !vmxsim_virtual_apic_redirects(walk->cpu, offset, size, false))
        *type = LINEAR_READ;
    else if (walk->write && !vmxsim_virtual_apic_redirects(walk->cpu, offset, size, true))
        *type = LINEAR_WRITE;
    else
        return false;
    if (walk->event_delivery)
        *type = LINEAR_DELIVERY;
    return true;
}

static void redirect(const struct walk *walk, struct vmxsim_page_translation *page)
{
    const uint64_t basic = vmxsim_cpu_capability(walk->cpu, VMXC_MSR_VMX_BASIC);

    page->hpa = VMXSIM_VMCS(controls(walk), VIRTUAL_APIC_ADDRESS) + (page->hpa & VMXC_PAGE_MASK);
    page->memory_type = (enum vmxc_memory_type)VMXC_FIELD_GET(basic, VMXC_VMX_BASIC_MEMORY_TYPE);
}

bool vmxsim_walk_apic(struct walk *walk, uint32_t size)
{
    struct vmxsim_outcome *outcome = walk->outcome;
    enum access_type type;

    for (uint32_t i = 0; i < outcome->page_count; i++) {
        struct vmxsim_page_translation *page = &outcome->page[i];

        if (!vmxsim_is_apic_access_page(walk, page->hpa))
            continue;
        if (find_exit(walk, page->hpa & VMXC_PAGE_MASK, size, &type))
            return end_with_linear_access(walk, i, type);
        redirect(walk, page);
        walk->virtual_apic = true;
    }
    return true;
}
