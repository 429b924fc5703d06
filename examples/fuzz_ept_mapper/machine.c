/* SPDX-License-Identifier: Apache-2.0 */
#include "machine.h"

#include <stdio.h>
#include <stdlib.h>

#include "vmxcore/defs/controls.h"
#include "vmxsim/explain.h"

#define RAM_SIZE   UINT64_C(0x800000)
#define TABLES_HPA UINT64_C(0x1000)
#define TABLES_END UINT64_C(0x20000)

static struct vmxsim_memory *memory;
static struct vmxsim_cpu *cpu;

static void must(bool holds)
{
    if (!holds)
        abort();
}

static uint64_t *table(uint64_t hpa)
{
    return vmxsim_memory_pointer(memory, hpa);
}

static void create(void)
{
    const struct vmxsim_range ram = {.base = 0, .length = RAM_SIZE};
    const struct vmxsim_memory_config config = {.ram = &ram, .ram_count = 1};

    must(vmxsim_memory_create(&config, &memory, NULL) == VMXC_OK);
    must(vmxsim_cpu_create(memory, vmxsim_profile_builtin("icelake"), &cpu) == VMXC_OK);
}

struct mapper *machine_start(void)
{
    static struct mapper mapper;
    struct vmxsim_vmcs vmcs = {0};

    if (memory == NULL)
        create();
    vmxsim_memory_reset(memory);
    must(mapper_init(&mapper, table, TABLES_HPA, TABLES_END));
    VMXSIM_VMCS(&vmcs, PRIMARY_PROCESSOR_BASED_CONTROLS) = VMXC_PRIMARY_ACTIVATE_SECONDARY_CONTROLS;
    VMXSIM_VMCS(&vmcs, SECONDARY_PROCESSOR_BASED_CONTROLS) =
        VMXC_SECONDARY_ENABLE_EPT | VMXC_SECONDARY_UNRESTRICTED_GUEST;
    VMXSIM_VMCS(&vmcs, EPT_POINTER) = mapper_eptp(&mapper);
    VMXSIM_VMCS(&vmcs, GUEST_CR0) = 0x31; /* PE, ET, NE: protected mode, no paging */
    must(vmxsim_cpu_load_guest(cpu, &vmcs, NULL) == VMXC_OK);
    return &mapper;
}

bool machine_allows(unsigned page, enum vmxsim_access_type type)
{
    const struct vmxsim_access access = {.type = type, .linear = (uint64_t)page << 12, .size = 1};
    struct vmxsim_outcome outcome;

    must(vmxsim_guest_access(cpu, &access, &outcome, NULL) == VMXC_OK);
    return outcome.kind == VMXSIM_OUTCOME_COMPLETE;
}

void machine_explain(unsigned page)
{
    const struct vmxsim_access access = {
        .type = VMXSIM_ACCESS_WRITE, .linear = (uint64_t)page << 12, .size = 1};
    struct vmxsim_outcome outcome;
    struct vmxsim_trail trail;

    must(vmxsim_guest_access(cpu, &access, &outcome, &trail) == VMXC_OK);
    char *const text = vmxsim_explain_access(&access, &outcome, &trail);
    (void)fprintf(stderr, "the page is not as the mapper was asked:\n%s\n", text ? text : "");
    free(text);
}
