/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of the VMCS set-up share. */
#ifndef VMXC_INTERNAL_VMCS_SETUP_H
#define VMXC_INTERNAL_VMCS_SETUP_H

#include "vmxcore/vmcs_setup.h"

/* The power-on value of IA32_PAT: WB, WT, UC-, UC, twice. */
#define VMXC_PAT_RESET UINT64_C(0x0007040600070406)

struct vmxc_field_value {
    uint32_t field;
    uint64_t value;
};

/* VMWRITEs `count` fields in order; stops at the first that fails. */
VMXC_MUST_CHECK enum vmxc_status vmxc_write_fields(const struct vmxc_insn_ops *ops,
                                                   const struct vmxc_field_value *fields,
                                                   size_t count);

/* Writes the bits of `field` down and returns `status`. */
enum vmxc_status vmxc_vmcs_miss(struct vmxc_vmcs_missing *missing, uint32_t field, uint64_t bits,
                                enum vmxc_status status);

/* True if all of `bits` are 1 in a word of controls. */
static inline bool vmxc_has_control(const struct vmxc_vmcs_controls *controls,
                                    enum vmxc_control_word word, uint64_t bits)
{
    return (controls->word[word] & bits) == bits;
}

#endif
