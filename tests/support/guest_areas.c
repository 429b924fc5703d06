/* SPDX-License-Identifier: Apache-2.0 */
#include "support/guest_areas.h"

#include <string.h>

struct vmxsim_memory *memory;
static struct vmxc_hal hal;
struct vmxc_addrspace space;
uint8_t buffer[LONG_SIZE];
struct dirty_log dirty;

/* Remembers what the range held when its store was announced. */
static void on_dirty(void *context, vmxc_hpa_t hpa, uint64_t length)
{
    (void)context;
    dirty.calls++;
    dirty.bytes += length;
    dirty.hpa = hpa;
    dirty.first_word = vmxsim_memory_read64(memory, hpa & ~UINT64_C(7));
}

static void map_linear(vmxc_gpa_t gpa, vmxc_hpa_t hpa, uint64_t size, vmxc_map_flags flags)
{
    ck_assert_int_eq(vmxc_addrspace_map_linear(&space, gpa, hpa, size, flags), VMXC_OK);
}

static void map_lazy(vmxc_gpa_t gpa, uint64_t size)
{
    ck_assert_int_eq(vmxc_addrspace_map_alloc(&space, gpa, size, RW, false), VMXC_OK);
}

void setup(void)
{
    const struct vmxsim_range ram = {0, MB(64)};
    const struct vmxsim_memory_config config = {
        .ram = &ram, .ram_count = 1, .frames = {MB(1), MB(16)}};
    const struct vmxc_ept_config ept = {.levels = 4,
                                        .maxphyaddr = 46,
                                        .largest_page = VMXC_PAGE_LEVEL_2M,
                                        .execute_only = true,
                                        .mode_based_execute = true,
                                        .table_memory_type = VMXC_MEMORY_TYPE_WB};

    ck_assert_int_eq(vmxsim_memory_create(&config, &memory, NULL), VMXC_OK);
    hal = *vmxsim_memory_hal(memory);
    hal.mark_dirty = on_dirty;
    ck_assert_int_eq(vmxc_addrspace_init(&space, &hal, &ept, 0, SPACE_SIZE), VMXC_OK);
    map_linear(LINEAR_GPA, LINEAR_HPA, 0x4000, RW);
    map_lazy(LAZY_GPA, 0x4000);
    map_linear(R_O_GPA, R_O_HPA, 0x1000, VMXC_MAP_READ);
    map_linear(NONE_GPA, R_O_HPA, 0x1000, VMXC_MAP_NONE);
    map_linear(X_O_GPA, X_O_HPA, 0x1000, VMXC_MAP_EXECUTE);
    map_linear(DEVICE_GPA, DEVICE_HPA, 0x1000, RW | VMXC_MAP_DEVICE);
    map_lazy(LONG_GPA, LONG_SIZE);
    memset(&dirty, 0, sizeof dirty);
}

void teardown(void)
{
    vmxc_addrspace_fini(&space);
    ck_assert_uint_eq(vmxsim_memory_leaks(memory, NULL, NULL), 0);
    vmxsim_memory_destroy(memory);
}

bool all_bytes_are(const uint8_t *bytes, size_t length, uint8_t byte)
{
    for (size_t i = 0; i < length; i++) {
        if (bytes[i] != byte)
            return false;
    }
    return true;
}
