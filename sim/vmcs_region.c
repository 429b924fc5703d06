/* SPDX-License-Identifier: Apache-2.0 */
#include "internal/vmcs_region.h"
#include "internal/region_watch.h"

enum { ABORT_OFFSET = 4, LAUNCH_STATE_OFFSET = 8, FIELDS_OFFSET = 64 };

_Static_assert(FIELDS_OFFSET + 8 * VMXC_VMCS_FIELD_COUNT <= VMXC_PAGE_SIZE,
               "the fields fit in a region of 4 KBytes");

static uint64_t field_hpa(uint64_t hpa, size_t ordinal)
{
    return hpa + FIELDS_OFFSET + 8 * ordinal;
}

/* ---- What a processor does here is no hazard; each function below stands between begin and end ---- */

static uint64_t read_field(struct vmxsim_memory *memory, uint64_t hpa, size_t ordinal)
{
    /* Whatever software has put there, a field is never wider than it can be. */
    return vmxsim_memory_read64(memory, field_hpa(hpa, ordinal)) &
           vmxsim_vmcs_width_mask(vmxsim_vmcs_encoding(ordinal));
}

static void write_word(struct vmxsim_memory *memory, uint64_t hpa, unsigned offset, uint32_t value)
{
    vmxsim_region_watch_begin(memory, hpa);
    vmxsim_memory_write32(memory, hpa + offset, value);
    vmxsim_region_watch_end(memory, hpa);
}

uint32_t vmxsim_vmcs_region_header(struct vmxsim_memory *memory, uint64_t hpa)
{
    vmxsim_region_watch_begin(memory, hpa);
    const uint32_t header = vmxsim_memory_read32(memory, hpa);
    vmxsim_region_watch_end(memory, hpa);
    return header;
}

uint64_t vmxsim_vmcs_region_read_field(struct vmxsim_memory *memory, uint64_t hpa, size_t ordinal)
{
    vmxsim_region_watch_begin(memory, hpa);
    const uint64_t value = read_field(memory, hpa, ordinal);
    vmxsim_region_watch_end(memory, hpa);
    return value;
}

void vmxsim_vmcs_region_write_field(struct vmxsim_memory *memory, uint64_t hpa, size_t ordinal,
                                    uint64_t value)
{
    vmxsim_region_watch_begin(memory, hpa);
    vmxsim_memory_write64(memory, field_hpa(hpa, ordinal), value);
    vmxsim_region_watch_end(memory, hpa);
}

void vmxsim_vmcs_region_load(struct vmxsim_memory *memory, uint64_t hpa, struct vmcs_data *data)
{
    vmxsim_region_watch_begin(memory, hpa);
    data->launched = vmxsim_memory_read32(memory, hpa + LAUNCH_STATE_OFFSET) == 1;
    for (size_t ordinal = 0; ordinal < VMXC_VMCS_FIELD_COUNT; ordinal++)
        data->fields.value[ordinal] = read_field(memory, hpa, ordinal);
    vmxsim_region_watch_end(memory, hpa);
}

void vmxsim_vmcs_region_store(struct vmxsim_memory *memory, uint64_t hpa,
                              const struct vmcs_data *data)
{
    vmxsim_region_watch_begin(memory, hpa);
    vmxsim_memory_write32(memory, hpa + LAUNCH_STATE_OFFSET, data->launched);
    for (size_t ordinal = 0; ordinal < VMXC_VMCS_FIELD_COUNT; ordinal++)
        vmxsim_memory_write64(memory, field_hpa(hpa, ordinal), data->fields.value[ordinal]);
    vmxsim_region_watch_end(memory, hpa);
}

void vmxsim_vmcs_region_clear(struct vmxsim_memory *memory, uint64_t hpa)
{
    write_word(memory, hpa, LAUNCH_STATE_OFFSET, 0);
}

void vmxsim_vmcs_region_set_abort(struct vmxsim_memory *memory, uint64_t hpa, uint32_t indicator)
{
    write_word(memory, hpa, ABORT_OFFSET, indicator);
}
