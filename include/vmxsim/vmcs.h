/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The content of a VMCS as a plain value: one 64-bit slot per field, addressed by encoding.
 * Source: Intel SDM volume 3, "Field Encoding in VMCS", "Reading, Writing, and Clearing VMCS Fields".
 */
#ifndef VMXSIM_VMCS_H
#define VMXSIM_VMCS_H

#include "vmxcore/defs/status.h"
#include "vmxcore/defs/types.h"
#include "vmxcore/defs/vmcs.h"

#ifdef __cplusplus
extern "C" {
#endif

struct vmxsim_vmcs {
    uint64_t value[VMXC_VMCS_FIELD_COUNT]; /* by ordinal, never wider than the field */
};

/* Reads a known field without a search: VMXSIM_VMCS(vmcs, GUEST_CR0). */
#define VMXSIM_VMCS(vmcs, name) ((vmcs)->value[VMXC_VMCS_ORDINAL_##name])

/* Ordinal of a full (even) encoding; VMXC_VMCS_FIELD_COUNT if there is no such field. */
size_t vmxsim_vmcs_ordinal(uint32_t encoding);

/* Full encoding and name of a row of the field table; ordinal < VMXC_VMCS_FIELD_COUNT. */
uint32_t vmxsim_vmcs_encoding(size_t ordinal);
const char *vmxsim_vmcs_name(size_t ordinal); /* "GUEST_CR0" */

/* The bits a field of this encoding can hold (natural width: 64). */
uint64_t vmxsim_vmcs_width_mask(uint32_t encoding);

/*
 * Reads or writes by encoding, full or HIGH. A value wider than the field is cut, as VMWRITE does.
 * Errors: VMXC_NOT_FOUND (no such field, or a HIGH access to a field that is not 64-bit).
 */
VMXC_MUST_CHECK enum vmxc_status vmxsim_vmcs_get(const struct vmxsim_vmcs *vmcs, uint32_t encoding,
                                                 uint64_t *value);
VMXC_MUST_CHECK enum vmxc_status vmxsim_vmcs_set(struct vmxsim_vmcs *vmcs, uint32_t encoding,
                                                 uint64_t value);

#ifdef __cplusplus
}
#endif

#endif
