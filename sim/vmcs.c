/* SPDX-License-Identifier: Apache-2.0 */
#include "vmxsim/vmcs.h"

/*
 * An encoding names its field directly: four bits of width and type, and an index. Two small tables turn
 * that into an ordinal and back, so no access searches.
 *
 *      14  13 12 11  10 9            1   0
 *     +------+--+------+--------------+------+
 *     | width| 0| type |    index     | HIGH |
 *     +------+--+------+--------------+------+
 *       `----- group -'
 */
enum { GROUP_COUNT = 16, INDEX_COUNT = 64 };

#define GROUP_OF(encoding)                                                 \
    (VMXC_FIELD_GET((uint64_t)(encoding), VMXC_VMCS_ENCODING_WIDTH) * 4u + \
     VMXC_FIELD_GET((uint64_t)(encoding), VMXC_VMCS_ENCODING_TYPE))
#define INDEX_OF(encoding) VMXC_FIELD_GET((uint64_t)(encoding), VMXC_VMCS_ENCODING_INDEX)

#define VMXC_VMCS_FIELD(encoding, width, type, name, feature) \
    _Static_assert(INDEX_OF(encoding) < INDEX_COUNT, "index of " #name " does not fit the table");
#include "vmxcore/defs/vmcs_fields.def"
_Static_assert(VMXC_VMCS_FIELD_COUNT < UINT8_MAX, "ordinals plus one fit in a byte");

/* Ordinal plus one; 0: no such field. */
static const uint8_t ordinal_plus_one[GROUP_COUNT][INDEX_COUNT] = {
#define VMXC_VMCS_FIELD(encoding, width, type, name, feature) \
    [GROUP_OF(encoding)][INDEX_OF(encoding)] = VMXC_VMCS_ORDINAL_##name + 1,
#include "vmxcore/defs/vmcs_fields.def"
};

static const struct {
    uint16_t encoding;
    const char *name;
} fields[VMXC_VMCS_FIELD_COUNT] = {
#define VMXC_VMCS_FIELD(encoding, width, type, name, feature) {encoding, #name},
#include "vmxcore/defs/vmcs_fields.def"
};

size_t vmxsim_vmcs_ordinal(uint32_t encoding)
{
    if ((encoding & (VMXC_VMCS_ENCODING_RESERVED | VMXC_VMCS_ENCODING_HIGH)) != 0)
        return VMXC_VMCS_FIELD_COUNT;
    if (INDEX_OF(encoding) >= INDEX_COUNT)
        return VMXC_VMCS_FIELD_COUNT;
    const uint8_t found = ordinal_plus_one[GROUP_OF(encoding)][INDEX_OF(encoding)];
    return found != 0 ? found - 1u : VMXC_VMCS_FIELD_COUNT;
}

uint32_t vmxsim_vmcs_encoding(size_t ordinal)
{
    return fields[ordinal].encoding;
}

const char *vmxsim_vmcs_name(size_t ordinal)
{
    return fields[ordinal].name;
}

uint64_t vmxsim_vmcs_width_mask(uint32_t encoding)
{
    if ((encoding & VMXC_VMCS_ENCODING_HIGH) != 0)
        return UINT32_MAX;
    switch ((enum vmxc_vmcs_width)VMXC_FIELD_GET(encoding, VMXC_VMCS_ENCODING_WIDTH)) {
    case VMXC_VMCS_WIDTH_W16:
        return UINT16_MAX;
    case VMXC_VMCS_WIDTH_W32:
        return UINT32_MAX;
    case VMXC_VMCS_WIDTH_W64:
    case VMXC_VMCS_WIDTH_NATURAL:
        break;
    }
    return UINT64_MAX;
}

/* Finds the field that a full or HIGH access means; HIGH exists for 64-bit fields only. */
static enum vmxc_status find_field(uint32_t encoding, size_t *ordinal, bool *high)
{
    const bool wants_high = (encoding & VMXC_VMCS_ENCODING_HIGH) != 0;
    if (wants_high && VMXC_FIELD_GET(encoding, VMXC_VMCS_ENCODING_WIDTH) != VMXC_VMCS_WIDTH_W64)
        return VMXC_NOT_FOUND;
    const size_t found = vmxsim_vmcs_ordinal(encoding & ~(uint32_t)VMXC_VMCS_ENCODING_HIGH);
    if (found == VMXC_VMCS_FIELD_COUNT)
        return VMXC_NOT_FOUND;
    *ordinal = found;
    *high = wants_high;
    return VMXC_OK;
}

enum vmxc_status vmxsim_vmcs_get(const struct vmxsim_vmcs *vmcs, uint32_t encoding, uint64_t *value)
{
    size_t ordinal;
    bool high;
    VMXC_TRY(find_field(encoding, &ordinal, &high));
    *value = high ? vmcs->value[ordinal] >> 32 : vmcs->value[ordinal];
    return VMXC_OK;
}

enum vmxc_status vmxsim_vmcs_set(struct vmxsim_vmcs *vmcs, uint32_t encoding, uint64_t value)
{
    size_t ordinal;
    bool high;
    VMXC_TRY(find_field(encoding, &ordinal, &high));
    const uint64_t cut = value & vmxsim_vmcs_width_mask(encoding);
    if (high)
        vmcs->value[ordinal] = (vmcs->value[ordinal] & UINT32_MAX) | cut << 32;
    else
        vmcs->value[ordinal] = cut;
    return VMXC_OK;
}
