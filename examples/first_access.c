/* SPDX-License-Identifier: Apache-2.0 */
/* The example of the README: one lazy page, one EPT violation, one explained access. */
#include <stdio.h>
#include <stdlib.h>

#include "vmxcore/addrspace.h"
#include "vmxcore/defs/controls.h"
#include "vmxsim/explain.h"

int main(void)
{
    /* A machine: 64 MBytes of RAM and one processor. */
    const struct vmxsim_range ram = {.base = 0, .length = 64 << 20};
    const struct vmxsim_memory_config memory_config = {.ram = &ram, .ram_count = 1};
    const struct vmxsim_profile *profile = vmxsim_profile_builtin("icelake");
    struct vmxsim_memory *memory;
    struct vmxsim_cpu *cpu;
    if (vmxsim_memory_create(&memory_config, &memory, NULL) != VMXC_OK ||
        vmxsim_cpu_create(memory, profile, &cpu) != VMXC_OK)
        return EXIT_FAILURE;

    /* Your hypervisor's side: a guest with 16 MBytes that are backed on demand. */
    const struct vmxc_ept_config ept_config = {.levels = 4,
                                               .maxphyaddr = 40,
                                               .largest_page = VMXC_PAGE_LEVEL_1G,
                                               .table_memory_type = VMXC_MEMORY_TYPE_WB};
    struct vmxc_addrspace space;
    if (vmxc_addrspace_init(&space, vmxsim_memory_hal(memory), &ept_config, 0, 16 << 20) !=
            VMXC_OK ||
        vmxc_addrspace_map_alloc(&space, 0, 16 << 20, VMXC_MAP_RWX, false) != VMXC_OK)
        return EXIT_FAILURE;

    /* The guest: no paging, EPT on. */
    struct vmxsim_vmcs vmcs = {0};
    VMXSIM_VMCS(&vmcs, PRIMARY_PROCESSOR_BASED_CONTROLS) = VMXC_PRIMARY_ACTIVATE_SECONDARY_CONTROLS;
    VMXSIM_VMCS(&vmcs, SECONDARY_PROCESSOR_BASED_CONTROLS) = VMXC_SECONDARY_ENABLE_EPT;
    VMXSIM_VMCS(&vmcs, EPT_POINTER) = vmxc_addrspace_eptp(&space);
    VMXSIM_VMCS(&vmcs, GUEST_CR0) = 0x31; /* PE, ET, NE */
    if (vmxsim_cpu_load_guest(cpu, &vmcs, NULL) != VMXC_OK)
        return EXIT_FAILURE;

    /* It reads; the hypervisor handles the EPT violation; it reads again. */
    const struct vmxsim_access access = {.type = VMXSIM_ACCESS_READ, .linear = 0x5008, .size = 8};
    struct vmxsim_outcome outcome;
    struct vmxsim_trail trail;
    do {
        if (vmxsim_guest_access(cpu, &access, &outcome, &trail) != VMXC_OK)
            return EXIT_FAILURE;
        char *text = vmxsim_explain_access(&access, &outcome, &trail);
        puts(text ? text : "out of memory");
        free(text);
    } while (outcome.kind == VMXSIM_OUTCOME_VM_EXIT &&
             vmxc_addrspace_handle_page_fault(&space, outcome.guest_physical, VMXC_MAP_READ) ==
                 VMXC_FAULT_MAPPED);

    vmxc_addrspace_fini(&space);
    printf("frames leaked: %llu\n", (unsigned long long)vmxsim_memory_stats(memory).frames_in_use);
    vmxsim_cpu_destroy(cpu);
    vmxsim_memory_destroy(memory);
    return outcome.kind == VMXSIM_OUTCOME_COMPLETE ? EXIT_SUCCESS : EXIT_FAILURE;
}
