/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The APIC-access page.
 *
 *   translated to the page, every page fault and EPT violation excluded, flags set
 *       |
 *       +-- with a TPR shadow: data, at most 4 bytes, offset 80H --> the virtual-APIC page instead
 *       |                                                            after a write: bytes 3:1 of VTPR := 0, TPR threshold
 *       `-- everything else --> VM exit
 *
 * Guest-physical accesses (paging structures, PDPTE loads) always exit, as they are met. Without EPT the entries of
 * paging structures are reached by physical accesses, for which a VM exit is optional: there is none here.
 *
 * Source: Intel SDM volume 3, "Virtualizing Memory-Mapped APIC Accesses", "TPR Virtualization", "Exit Qualification
 * for APIC-Access VM Exits from Linear Accesses and Guest-Physical Accesses".
 */
#include "internal/walk.h"
#include "vmxcore/defs/controls.h"
#include "vmxcore/defs/exit_reason.h"
#include "vmxcore/defs/msr.h"

#define VTPR       0x80u
#define VTPR_CLASS VMXC_BITS(7, 4)
#define THRESHOLD  VMXC_BITS(3, 0)

/* Bits 15:12 of the qualification. */
enum access_type {
    LINEAR_READ = 0,
    LINEAR_WRITE = 1,
    LINEAR_FETCH = 2,
    PHYSICAL = 15, /* for a fetch or during the execution of an instruction */
};

#define ACCESS_TYPE      VMXC_BITS(15, 12)
#define MAX_VIRTUAL_SIZE 4u

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
    vmxsim_trail_verdict(walk, VMXSIM_RULE_EXIT_APIC_PHYSICAL, 0);
    return vmxsim_end_with_exit(walk, VMXSIM_RULE_EXIT_APIC_PHYSICAL, VMXC_EXIT_REASON_APIC_ACCESS,
                                VMXC_FIELD_MAKE((uint64_t)PHYSICAL, ACCESS_TYPE));
}

/* A read-modify-write reads first. */
static enum access_type linear_access_type(const struct walk *walk)
{
    if (walk->fetch)
        return LINEAR_FETCH;
    return walk->read ? LINEAR_READ : LINEAR_WRITE;
}

static bool end_with_linear_access(struct walk *walk, uint32_t page, uint64_t offset)
{
    if (page + 1 ==
        walk->outcome->page_count) /* the last entry of the trail belongs to this page */
        vmxsim_trail_verdict(walk, VMXSIM_RULE_EXIT_APIC, 0);
    return vmxsim_end_with_exit(
        walk, VMXSIM_RULE_EXIT_APIC, VMXC_EXIT_REASON_APIC_ACCESS,
        offset | VMXC_FIELD_MAKE((uint64_t)linear_access_type(walk), ACCESS_TYPE));
}

static bool is_virtualized(const struct walk *walk, uint64_t offset, uint32_t size)
{
    return (walk->cpu->exits.primary & VMXC_PRIMARY_USE_TPR_SHADOW) && !walk->fetch &&
           size <= MAX_VIRTUAL_SIZE && offset == VTPR;
}

static void redirect(const struct walk *walk, struct vmxsim_page_translation *page)
{
    const uint64_t basic = vmxsim_cpu_capability(walk->cpu, VMXC_MSR_VMX_BASIC);

    page->hpa = VMXSIM_VMCS(controls(walk), VIRTUAL_APIC_ADDRESS) + VTPR;
    page->memory_type = (enum vmxc_memory_type)VMXC_FIELD_GET(basic, VMXC_VMX_BASIC_MEMORY_TYPE);
}

bool vmxsim_walk_apic(struct walk *walk, uint32_t size)
{
    struct vmxsim_outcome *outcome = walk->outcome;

    for (uint32_t i = 0; i < outcome->page_count; i++) {
        struct vmxsim_page_translation *page = &outcome->page[i];
        const uint64_t offset = page->hpa & VMXC_PAGE_MASK;

        if (!vmxsim_is_apic_access_page(walk, page->hpa))
            continue;
        if (!is_virtualized(walk, offset, size))
            return end_with_linear_access(walk, i, offset);
        redirect(walk, page);
        walk->virtual_tpr = true;
    }
    return true;
}

/* APIC-write emulation for the task priority, then TPR virtualization. The VM exit comes after the write. */
void vmxsim_emulate_tpr_write(struct walk *walk)
{
    const uint64_t hpa = VMXSIM_VMCS(controls(walk), VIRTUAL_APIC_ADDRESS) + VTPR;
    const uint64_t threshold =
        VMXC_FIELD_GET(VMXSIM_VMCS(controls(walk), TPR_THRESHOLD), THRESHOLD);
    const uint32_t tpr = vmxsim_memory_read32(walk->cpu->memory, hpa) & 0xffu;

    vmxsim_memory_write32(walk->cpu->memory, hpa, tpr);
    if (VMXC_FIELD_GET(tpr, VTPR_CLASS) < threshold)
        (void)vmxsim_end_with_exit(walk, VMXSIM_RULE_EXIT_TPR_THRESHOLD,
                                   VMXC_EXIT_REASON_TPR_BELOW_THRESHOLD, 0);
}
