/* SPDX-License-Identifier: Apache-2.0 */
/* A program that lets libvmxcore build tables in the memory of libvmxsim. */
#include <stdio.h>

#include <vmxcore/addrspace.h>
#include <vmxsim/memory.h>
#include <vmxsim/profile.h>

static const struct vmxc_ept_config config = {
    .levels = 4,
    .maxphyaddr = 46,
    .largest_page = VMXC_PAGE_LEVEL_2M,
    .table_memory_type = VMXC_MEMORY_TYPE_WB,
};

static int use_space(struct vmxsim_memory *memory)
{
    struct vmxc_addrspace space;
    if (vmxc_addrspace_init(&space, vmxsim_memory_hal(memory), &config, 0, UINT64_C(1) << 30) !=
        VMXC_OK)
        return 1;

    struct vmxc_translation found = {0};
    const enum vmxc_status mapped = vmxc_addrspace_map_alloc(&space, 0x1000, 2 * VMXC_PAGE_SIZE,
                                                             VMXC_MAP_READ | VMXC_MAP_WRITE, true);
    const enum vmxc_status translated = vmxc_addrspace_translate(&space, 0x2008, &found);
    printf("guest 0x2008 is host 0x%llx\n", (unsigned long long)found.hpa);
    vmxc_addrspace_fini(&space);
    return mapped == VMXC_OK && translated == VMXC_OK && found.hpa % VMXC_PAGE_SIZE == 8 ? 0 : 1;
}

int main(void)
{
    const struct vmxsim_range ram = {.base = 0x100000, .length = 0x1000000};
    const struct vmxsim_memory_config ram_config = {.ram = &ram, .ram_count = 1};
    struct vmxsim_memory *memory = NULL;
    struct vmxsim_error error;

    if (vmxsim_memory_create(&ram_config, &memory, &error) != VMXC_OK) {
        fprintf(stderr, "%s\n", error.text);
        return 1;
    }
    int result = use_space(memory);
    if (vmxsim_memory_stats(memory).frames_in_use != 0) {
        fprintf(stderr, "frames leaked\n");
        result = 1;
    }
    vmxsim_memory_destroy(memory);
    return result != 0 || vmxsim_profile_builtin("everything") == NULL;
}
