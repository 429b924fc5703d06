/* SPDX-License-Identifier: Apache-2.0 */
#include "vmxcore/vmcs.h"

/* Ascending by encoding, as vmcs_fields.def is; the binary search relies on it and a test checks it. */
static const struct vmxc_vmcs_field_info fields[VMXC_VMCS_FIELD_COUNT] = {
#define VMXC_VMCS_FIELD(field_encoding, field_width, field_type, field_name, feature) \
    {                                                                                 \
        .name = #field_name,                                                          \
        .encoding = (field_encoding),                                                 \
        .width = VMXC_VMCS_WIDTH_##field_width,                                       \
        .type = VMXC_VMCS_TYPE_##field_type,                                          \
    },
#include "vmxcore/defs/vmcs_fields.def"
};

static bool is_high_access(uint32_t encoding)
{
    return (encoding & VMXC_VMCS_ENCODING_HIGH) != 0;
}

const struct vmxc_vmcs_field_info *vmxc_vmcs_field_at(size_t ordinal)
{
    return ordinal < VMXC_VMCS_FIELD_COUNT ? &fields[ordinal] : NULL;
}

/* Row of a full encoding. */
static const struct vmxc_vmcs_field_info *find_full(uint32_t encoding)
{
    size_t low = 0, high = VMXC_VMCS_FIELD_COUNT;

    while (low < high) {
        const size_t middle = low + (high - low) / 2;

        if (fields[middle].encoding == encoding)
            return &fields[middle];
        if (fields[middle].encoding < encoding)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

const struct vmxc_vmcs_field_info *vmxc_vmcs_field_find(uint32_t encoding)
{
    const struct vmxc_vmcs_field_info *field =
        find_full(encoding & (uint32_t)~VMXC_VMCS_ENCODING_HIGH);

    if (field != NULL && is_high_access(encoding) && field->width != VMXC_VMCS_WIDTH_W64)
        return NULL;
    return field;
}

static bool is_same_text(const char *left, const char *right)
{
    while (*left != '\0' && *left == *right) {
        left++;
        right++;
    }
    return *left == *right;
}

const struct vmxc_vmcs_field_info *vmxc_vmcs_field_lookup(const char *name)
{
    for (size_t i = 0; i < VMXC_VMCS_FIELD_COUNT; i++) {
        if (is_same_text(fields[i].name, name))
            return &fields[i];
    }
    return NULL;
}

const char *vmxc_vmcs_field_name(uint32_t encoding)
{
    const struct vmxc_vmcs_field_info *field = vmxc_vmcs_field_find(encoding);

    return field != NULL ? field->name : NULL;
}

bool vmxc_vmcs_field_is_read_only(uint32_t encoding)
{
    const struct vmxc_vmcs_field_info *field = vmxc_vmcs_field_find(encoding);

    return field != NULL && field->type == VMXC_VMCS_TYPE_READ_ONLY;
}

uint64_t vmxc_vmcs_field_mask(uint32_t encoding)
{
    const struct vmxc_vmcs_field_info *field = vmxc_vmcs_field_find(encoding);

    if (field == NULL)
        return 0;
    switch (field->width) {
    case VMXC_VMCS_WIDTH_W16:
        return UINT16_MAX;
    case VMXC_VMCS_WIDTH_W32:
        return UINT32_MAX;
    case VMXC_VMCS_WIDTH_W64:
        return is_high_access(encoding) ? UINT32_MAX : UINT64_MAX;
    case VMXC_VMCS_WIDTH_NATURAL:
        break;
    }
    return UINT64_MAX;
}
