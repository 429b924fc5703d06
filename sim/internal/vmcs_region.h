/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A VMCS region in memory. The manual fixes the first two doublewords; the rest is the processor's own business:
 *
 *       0  revision identifier (30:0), shadow indicator (31)
 *       4  VMX-abort indicator
 *       8  launch state: 0 clear, 1 launched
 *      64  one quadword per field, in the order of vmcs_fields.def
 *
 * A region of zeros is clear, with zero in every field. Source: Intel SDM volume 3, "Format of the VMCS Region".
 */
#ifndef VMXSIM_INTERNAL_VMCS_REGION_H
#define VMXSIM_INTERNAL_VMCS_REGION_H

#include "vmxsim/memory.h"
#include "vmxsim/vmcs.h"

/* What the processor keeps of the VMCS that is current. */
struct vmcs_data {
    bool launched;
    struct vmxsim_vmcs fields;
};

/* The first doubleword. */
uint32_t vmxsim_vmcs_region_header(struct vmxsim_memory *memory, uint64_t hpa);

void vmxsim_vmcs_region_load(struct vmxsim_memory *memory, uint64_t hpa, struct vmcs_data *data);
/* The first two doublewords stay as they are. */
void vmxsim_vmcs_region_store(struct vmxsim_memory *memory, uint64_t hpa,
                              const struct vmcs_data *data);

/* Makes the launch state clear. */
void vmxsim_vmcs_region_clear(struct vmxsim_memory *memory, uint64_t hpa);
void vmxsim_vmcs_region_set_abort(struct vmxsim_memory *memory, uint64_t hpa, uint32_t indicator);

/* One field of a VMCS that is not current. */
uint64_t vmxsim_vmcs_region_read_field(struct vmxsim_memory *memory, uint64_t hpa, size_t ordinal);
void vmxsim_vmcs_region_write_field(struct vmxsim_memory *memory, uint64_t hpa, size_t ordinal,
                                    uint64_t value);

#endif
