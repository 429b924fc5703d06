/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The VMCS field table at run time: names, widths and types by encoding, encodings by name.
 *
 * A 64-bit field has two encodings: the full one (even) and, for 32-bit code, the HIGH one (odd) that accesses
 * bits 63:32. Calls that take an encoding accept both.
 *
 * Source: Intel SDM volume 3, "Field Encoding in VMCS" (appendix).
 */
#ifndef VMXC_VMCS_H
#define VMXC_VMCS_H

#include "vmxcore/defs/types.h"
#include "vmxcore/defs/vmcs.h"

#ifdef __cplusplus
extern "C" {
#endif

/* One row. Rows are static and live as long as the program. */
struct vmxc_vmcs_field_info {
    const char *name;  /* "GUEST_CR0" */
    uint32_t encoding; /* of the full access */
    enum vmxc_vmcs_width width;
    enum vmxc_vmcs_type type;
};

/* Row by ordinal, 0 to VMXC_VMCS_FIELD_COUNT - 1, in ascending order of encoding. NULL behind the last. */
const struct vmxc_vmcs_field_info *vmxc_vmcs_field_at(size_t ordinal);

/* Row of an encoding, full or HIGH. NULL: there is no such field, or no HIGH access to it. O(log n). */
const struct vmxc_vmcs_field_info *vmxc_vmcs_field_find(uint32_t encoding);

/* Row by name, case matters. NULL: there is no such field. */
const struct vmxc_vmcs_field_info *vmxc_vmcs_field_lookup(const char *name);

/* Name of an encoding, full or HIGH. NULL: there is no such field. */
const char *vmxc_vmcs_field_name(uint32_t encoding);

/* True if the field exists and belongs to the read-only data fields (VM-exit information). */
bool vmxc_vmcs_field_is_read_only(uint32_t encoding);

/*
 * The bits that a VMREAD with this encoding can return on a processor with 64-bit natural width: FFFFH for 16-bit
 * fields, FFFFFFFFH for 32-bit fields and HIGH accesses, all ones otherwise. 0: there is no such field.
 */
uint64_t vmxc_vmcs_field_mask(uint32_t encoding);

#ifdef __cplusplus
}
#endif

#endif
