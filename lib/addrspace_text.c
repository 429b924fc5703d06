/* SPDX-License-Identifier: Apache-2.0 */
/* The address space: text form. */
#include "internal/addrspace.h"
#include "internal/text.h"

/* "[0x0, 0x80000000)" */
static void add_range(struct vmxc_text *text, vmxc_gpa_t base, uint64_t size)
{
    vmxc_text_char(text, '[');
    vmxc_text_hex(text, base);
    vmxc_text_string(text, ", ");
    vmxc_text_hex(text, base + size);
    vmxc_text_char(text, ')');
}

/* "[0x0, 0x80000000) linear -> 0x100000000 rwx- WB" */
static void add_area(struct vmxc_text *text, const struct vmxc_area *area)
{
    char flags[64];

    add_range(text, area->base, area->size);
    vmxc_text_char(text, ' ');
    vmxc_text_string(text, area->backend != NULL ? area->backend->name : "no backend");
    if (area->hpa != VMXC_AREA_NO_HPA) {
        vmxc_text_string(text, " -> ");
        vmxc_text_hex(text, area->hpa);
    }
    if (area->lazy)
        vmxc_text_string(text, " lazy");
    vmxc_map_flags_format(area->flags, flags, sizeof(flags));
    vmxc_text_char(text, ' ');
    vmxc_text_string(text, flags);
}

size_t vmxc_area_format(const struct vmxc_area *area, char *buffer, size_t size)
{
    struct vmxc_text text = vmxc_text_begin(buffer, size);

    add_area(&text, area);
    return vmxc_text_end(&text);
}

static enum vmxc_status add_area_line(void *context, const struct vmxc_area *area)
{
    struct vmxc_text *text = context;

    vmxc_text_string(text, "  ");
    add_area(text, area);
    vmxc_text_char(text, '\n');
    return VMXC_OK;
}

size_t vmxc_addrspace_format(const struct vmxc_addrspace *space, char *buffer, size_t size)
{
    struct vmxc_text text = vmxc_text_begin(buffer, size);

    vmxc_text_string(&text, "address space ");
    if (!vmxc_addrspace_is_initialized(space)) {
        vmxc_text_string(&text, "(uninitialized)\n");
        return vmxc_text_end(&text);
    }
    add_range(&text, space->base, space->size);
    vmxc_text_string(&text, " EPTP ");
    vmxc_text_hex(&text, vmxc_addrspace_eptp(space));
    vmxc_text_string(&text, ", ");
    vmxc_text_decimal(&text, space->areas.count);
    vmxc_text_string(&text, space->areas.count == 1 ? " area\n" : " areas\n");
    const enum vmxc_status status = vmxc_addrspace_for_each_area(space, add_area_line, &text);
    (void)status; /* adding text does not fail */
    return vmxc_text_end(&text);
}
