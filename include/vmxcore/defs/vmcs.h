/* SPDX-License-Identifier: Apache-2.0 */
/*
 * VMCS field encodings as enum vmxc_vmcs_field, and the parts of an encoding.
 * Source: Intel SDM volume 3, "Field Encoding in VMCS".
 *
 *      31            15 14  13 12 11  10 9            1   0
 *     +----------------+------+--+------+--------------+------+
 *     |  reserved (0)  | width| 0| type |    index     | HIGH |
 *     +----------------+------+--+------+--------------+------+
 */
#ifndef VMXC_DEFS_VMCS_H
#define VMXC_DEFS_VMCS_H

#include "vmxcore/defs/bits.h"

#define VMXC_VMCS_ENCODING_HIGH     VMXC_BIT(0) /* the upper half of a 64-bit field */
#define VMXC_VMCS_ENCODING_INDEX    VMXC_BITS(9, 1)
#define VMXC_VMCS_ENCODING_TYPE     VMXC_BITS(11, 10)
#define VMXC_VMCS_ENCODING_WIDTH    VMXC_BITS(14, 13)
#define VMXC_VMCS_ENCODING_RESERVED (VMXC_BIT(12) | VMXC_BITS(31, 15))

enum vmxc_vmcs_width {
    VMXC_VMCS_WIDTH_W16 = 0,
    VMXC_VMCS_WIDTH_W64 = 1,
    VMXC_VMCS_WIDTH_W32 = 2,
    VMXC_VMCS_WIDTH_NATURAL = 3,
};

enum vmxc_vmcs_type {
    VMXC_VMCS_TYPE_CONTROL = 0,
    VMXC_VMCS_TYPE_READ_ONLY = 1,
    VMXC_VMCS_TYPE_GUEST = 2,
    VMXC_VMCS_TYPE_HOST = 3,
};

enum vmxc_vmcs_field {
#define VMXC_VMCS_FIELD(encoding, width, type, name, feature) VMXC_VMCS_##name = (encoding),
#include "vmxcore/defs/vmcs_fields.def"
};

enum {
#define VMXC_VMCS_FIELD(encoding, width, type, name, feature) VMXC_VMCS_ORDINAL_##name,
#include "vmxcore/defs/vmcs_fields.def"
    VMXC_VMCS_FIELD_COUNT /* rows of the table; ordinals are 0 .. count - 1 */
};

/* The table's redundant columns agree with its encodings. */
#ifdef __cplusplus
#define VMXC_VMCS_ASSERT_ static_assert
#else
#define VMXC_VMCS_ASSERT_ _Static_assert
#endif
#define VMXC_VMCS_FIELD(encoding, width, type, name, feature)                                   \
    VMXC_VMCS_ASSERT_(((encoding) & (VMXC_VMCS_ENCODING_RESERVED | VMXC_VMCS_ENCODING_HIGH)) == \
                              0 &&                                                              \
                          VMXC_FIELD_GET((uint64_t)(encoding), VMXC_VMCS_ENCODING_WIDTH) ==     \
                              (uint64_t)VMXC_VMCS_WIDTH_##width &&                              \
                          VMXC_FIELD_GET((uint64_t)(encoding), VMXC_VMCS_ENCODING_TYPE) ==      \
                              (uint64_t)VMXC_VMCS_TYPE_##type,                                  \
                      "width and type columns of " #name " disagree with its encoding");
#include "vmxcore/defs/vmcs_fields.def"

#endif
