/* SPDX-License-Identifier: Apache-2.0 */
#include "support/layout.h"

#include <string.h>

#define GUEST_BUILT (VMXC_PTE_PRESENT | VMXC_PTE_WRITE | VMXC_PTE_USER)

static const uint64_t linear_addresses[GUEST_MODES] = {
    0, /* no paging: the page's guest-physical address */
    0x80c03000, 0x80c03000, 0x0000123456789000, 0x0056123456789000};

static unsigned entry_size(enum guest_mode mode)
{
    return mode == GUEST_32BIT ? 4 : 8;
}

static unsigned index_bits(enum guest_mode mode)
{
    return mode == GUEST_32BIT ? 10 : 9;
}

static uint64_t guest_index(enum guest_mode mode, uint64_t linear, unsigned level)
{
    const unsigned bits = index_bits(mode);
    return (linear >> (12 + bits * (level - 1))) & ((1u << bits) - 1);
}

/* Below the distance of two regions every index is different from 0 and from its neighbours. */
static void place_regions(struct layout *layout)
{
    const bool narrow = layout->mode == GUEST_NONE || layout->mode == GUEST_32BIT;
    const uint64_t distance = narrow                    ? UINT64_C(1) << 30
                              : layout->ept_levels == 4 ? UINT64_C(1) << 39
                                                        : UINT64_C(1) << 48;
    const uint64_t within = narrow                    ? UINT64_C(0x00403000)
                            : layout->ept_levels == 4 ? UINT64_C(0x0040403000)
                                                      : UINT64_C(0x20040403000);
    for (unsigned region = 0; region < layout->region_count; region++) {
        const uint64_t span = UINT64_C(1) << (12 + 9 * (layout->ept_leaf - 1));
        const uint64_t host_base = ((uint64_t)region + 1) << 30;
        const uint64_t host_page = layout->ept_leaf == 3   ? host_base
                                   : layout->ept_leaf == 2 ? host_base + 0xc00000
                                                           : host_base + 0xc05000;
        layout->gpa[region] = region * distance + within;
        layout->hpa[region] = host_page + (layout->gpa[region] & (span - 1));
    }
    layout->top_own_level = layout->mode == GUEST_32BIT ? 3 : layout->ept_levels;
}

static void build_ept(struct layout *layout, struct machine *machine)
{
    for (unsigned region = 0; region < layout->region_count; region++) {
        const uint64_t span = UINT64_C(1) << (12 + 9 * (layout->ept_leaf - 1));
        machine_ept_map(machine, layout->gpa[region], layout->hpa[region] & ~(span - 1),
                        layout->ept_leaf);
        for (unsigned level = layout->ept_leaf; level <= layout->ept_levels; level++) {
            layout->ept_entry[region][level] =
                machine_ept_entry(machine, layout->gpa[region], level);
            layout->ept_value[region][level] =
                machine_read(machine, layout->ept_entry[region][level]);
        }
    }
}

static void build_guest(struct layout *layout, bool flags_set)
{
    const uint64_t flags = flags_set ? VMXC_PTE_ACCESSED | VMXC_PTE_DIRTY : 0;
    for (unsigned level = 1; level < layout->region_count; level++) {
        const uint64_t index = guest_index(layout->mode, layout->linear, level);
        layout->guest_entry[level] = layout->hpa[level] + index * entry_size(layout->mode);
        /* The entry of level n refers to the table of level n - 1; the entry of level 1 to the page. */
        layout->guest_value[level] =
            layout->gpa[level - 1] | GUEST_BUILT | (level == 1 ? flags : flags & VMXC_PTE_ACCESSED);
    }
}

static void point_guest_at_tables(const struct layout *layout, struct machine *machine)
{
    struct vmxsim_vmcs *vmcs = &machine->vmcs;
    if (layout->mode == GUEST_PAE) {
        /* Linear address bits 31:30 are 2. */
        VMXSIM_VMCS(vmcs, GUEST_PDPTE2) = layout->gpa[2] | VMXC_PTE_PRESENT;
        VMXSIM_VMCS(vmcs, GUEST_CR3) = 0;
    } else if (layout->mode != GUEST_NONE) {
        VMXSIM_VMCS(vmcs, GUEST_CR3) = layout->gpa[layout->region_count - 1];
    }
}

void layout_build(struct layout *layout, struct machine *machine,
                  const struct layout_options *options)
{
    memset(layout, 0, sizeof(*layout));
    layout->mode = options->mode;
    layout->ept_levels = options->ept_levels;
    layout->ept_leaf = options->ept_leaf;
    layout->region_count = 1 + guest_levels(options->mode);

    machine->next_table = MACHINE_TABLES;
    machine_new_ept(machine, options->ept_levels,
                    options->accessed_dirty ? VMXC_EPTP_ACCESSED_DIRTY : 0);
    place_regions(layout);
    build_ept(layout, machine);
    layout->linear =
        (options->mode == GUEST_NONE ? layout->gpa[0] : linear_addresses[options->mode]) +
        LAYOUT_PAGE_OFFSET;
    build_guest(layout, options->guest_flags_set);
    if (!options->unset_mode)
        machine_set_mode(machine, options->mode);
    point_guest_at_tables(layout, machine);
    layout_reset(layout, machine);
}

void layout_reset(const struct layout *layout, struct machine *machine)
{
    for (unsigned region = 0; region < layout->region_count; region++) {
        for (unsigned level = layout->ept_leaf; level <= layout->ept_levels; level++)
            machine_write(machine, layout->ept_entry[region][level],
                          layout->ept_value[region][level]);
    }
    for (unsigned level = 1; level < layout->region_count; level++)
        layout_set_guest_entry(layout, machine, level, layout->guest_value[level]);
    machine_write(machine, layout_access_hpa(layout, 0), 0);
}

uint64_t layout_access_gpa(const struct layout *layout, unsigned region)
{
    if (region == 0)
        return layout->gpa[0] + LAYOUT_PAGE_OFFSET;
    return layout->gpa[region] + (layout->guest_entry[region] & VMXC_PAGE_MASK);
}

uint64_t layout_access_hpa(const struct layout *layout, unsigned region)
{
    return region == 0 ? layout->hpa[0] + LAYOUT_PAGE_OFFSET : layout->guest_entry[region];
}

void layout_set_guest_entry(const struct layout *layout, struct machine *machine, unsigned level,
                            uint64_t value)
{
    if (layout->mode == GUEST_32BIT)
        vmxsim_memory_write32(machine->memory, layout->guest_entry[level], (uint32_t)value);
    else
        machine_write(machine, layout->guest_entry[level], value);
}

uint64_t layout_get_guest_entry(const struct layout *layout, struct machine *machine,
                                unsigned level)
{
    if (layout->mode == GUEST_32BIT)
        return vmxsim_memory_read32(machine->memory, layout->guest_entry[level]);
    return machine_read(machine, layout->guest_entry[level]);
}
