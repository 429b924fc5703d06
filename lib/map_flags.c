/* SPDX-License-Identifier: Apache-2.0 */
#include "vmxcore/map_flags.h"

#include "internal/text.h"

/* The names of the types that an EPT entry can hold; NULL for encodings that it reserves. */
static const char *const type_names[8] = {
    [VMXC_MEMORY_TYPE_UC] = "UC", [VMXC_MEMORY_TYPE_WC] = "WC", [VMXC_MEMORY_TYPE_WT] = "WT",
    [VMXC_MEMORY_TYPE_WP] = "WP", [VMXC_MEMORY_TYPE_WB] = "WB",
};

enum vmxc_status vmxc_map_flags_memory_type(vmxc_map_flags flags, enum vmxc_memory_type *type)
{
    const bool typed = (flags & VMXC_MAP_TYPED) != 0;
    const bool uncached = (flags & (VMXC_MAP_DEVICE | VMXC_MAP_UNCACHED)) != 0;
    const unsigned explicit_type = (flags & VMXC_MAP_TYPE_MASK) >> VMXC_MAP_TYPE_SHIFT;

    if ((flags & ~VMXC_MAP_ALL) != 0)
        return VMXC_INVALID_INPUT;
    if (!typed && explicit_type != 0)
        return VMXC_INVALID_INPUT;
    if (typed && type_names[explicit_type] == NULL)
        return VMXC_INVALID_INPUT;
    if (typed && uncached && explicit_type != VMXC_MEMORY_TYPE_UC)
        return VMXC_INVALID_INPUT;
    if (typed)
        *type = (enum vmxc_memory_type)explicit_type;
    else
        *type = uncached ? VMXC_MEMORY_TYPE_UC : VMXC_MEMORY_TYPE_WB;
    return VMXC_OK;
}

static void format_rights(struct vmxc_text *text, vmxc_map_flags flags)
{
    vmxc_text_char(text, (flags & VMXC_MAP_READ) != 0 ? 'r' : '-');
    vmxc_text_char(text, (flags & VMXC_MAP_WRITE) != 0 ? 'w' : '-');
    vmxc_text_char(text, (flags & VMXC_MAP_EXECUTE) != 0 ? 'x' : '-');
    vmxc_text_char(text, (flags & VMXC_MAP_USER) != 0 ? 'u' : '-');
}

size_t vmxc_map_flags_format(vmxc_map_flags flags, char *buffer, size_t size)
{
    struct vmxc_text text = vmxc_text_begin(buffer, size);
    enum vmxc_memory_type type = VMXC_MEMORY_TYPE_UC;

    format_rights(&text, flags);
    if (vmxc_map_flags_memory_type(flags, &type) != VMXC_OK) {
        vmxc_text_string(&text, " invalid ");
        vmxc_text_hex(&text, flags);
        return vmxc_text_end(&text);
    }
    vmxc_text_char(&text, ' ');
    vmxc_text_string(&text, type_names[type]);
    if ((flags & VMXC_MAP_IGNORE_PAT) != 0)
        vmxc_text_string(&text, " ipat");
    if ((flags & VMXC_MAP_DEVICE) != 0)
        vmxc_text_string(&text, " device");
    if ((flags & VMXC_MAP_UNCACHED) != 0)
        vmxc_text_string(&text, " uncached");
    return vmxc_text_end(&text);
}
