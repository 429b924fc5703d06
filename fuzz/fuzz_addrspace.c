/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sequences of operations on a guest address space, with allocation failures: libvmxcore's own queries, the model's
 * walk and a shadow map agree after each step, and the accounting is exact (tests/support/space_sequence.h).
 *
 * Input: configuration (1 byte), then the choices that the operations take, as many as there are.
 */
#include "harness.h"

#include <inttypes.h>
#include <stdlib.h>

#include "support/machine.h"
#include "support/space_sequence.h"

enum { OPERATIONS = 64 };

/* Where a sequence looks besides the pages that an operation touches; the same in every run. */
#define LOOKS_SEED UINT64_C(0x6c6f6f6b)

static struct vmxsim_memory *memory;
static struct vmxsim_cpu *cpus[SPACE_SEQUENCE_CONFIGS];
static struct space_sequence *run;

static void set_up(void)
{
    const struct vmxsim_range ram = {.base = 0, .length = MACHINE_RAM};
    const struct vmxsim_memory_config config = {.ram = &ram, .ram_count = 1};

    run = calloc(1, sizeof *run);
    REQUIRE(run != NULL && vmxsim_memory_create(&config, &memory, NULL) == VMXC_OK, "no memory");
    for (unsigned i = 0; i < SPACE_SEQUENCE_CONFIGS; i++) {
        struct vmxsim_profile *const profile = space_sequence_profile(&space_sequence_configs[i]);
        REQUIRE(vmxsim_cpu_create(memory, profile, &cpus[i]) == VMXC_OK, "no processor");
    }
}

/* ---- Notes ---- */

static void note_space(void)
{
    const struct vmxc_ept_config *const config = run->config;

    reproduce_machine(MACHINE_RAM, "everything", false);
    reproduce_value("struct vmxc_ept_config", "ept");
    reproduce_value("struct vmxc_addrspace", "space");
    reproduce_value("struct vmxc_translation", "translation");
    reproduce_array("struct vmxc_guest_segment", "segments", 8);
    reproduce_array("size_t", "count", 1);
    reproduce_member("ept", "levels", config->levels);
    reproduce_member("ept", "maxphyaddr", config->maxphyaddr);
    reproduce_member("ept", "largest_page", config->largest_page);
    reproduce_member("ept", "execute_only", config->execute_only);
    reproduce_member("ept", "mode_based_execute", config->mode_based_execute);
    reproduce_member("ept", "accessed_dirty", config->accessed_dirty);
    reproduce_member("ept", "table_memory_type", config->table_memory_type);
    REPRODUCE_CALL(VMXC_OK,
                   "vmxc_addrspace_init(&space, vmxsim_memory_hal(memory), &ept, 0, 0x%llx)",
                   (unsigned long long)run->end);
}

static void note_call(const struct space_operation *o)
{
    const unsigned long long gpa = o->gpa, size = o->size, hpa = o->hpa;
    const int64_t result = o->refused ? o->expected : o->result;
    const char *const verb =
        o->kind == REPLACE_LINEAR || o->kind == REPLACE_ALLOC ? "replace" : "map";

    switch (o->kind) {
    case MAP_LINEAR:
    case REPLACE_LINEAR:
        REPRODUCE_CALL(result, "vmxc_addrspace_%s_linear(&space, 0x%llx, 0x%llx, 0x%llx, %u)", verb,
                       gpa, hpa, size, o->flags);
        break;
    case MAP_ALLOC:
    case REPLACE_ALLOC:
        REPRODUCE_CALL(result, "vmxc_addrspace_%s_alloc(&space, 0x%llx, 0x%llx, %u, %d)", verb, gpa,
                       size, o->flags, o->populate);
        break;
    case UNMAP:
        REPRODUCE_CALL(result, "vmxc_addrspace_unmap(&space, 0x%llx, 0x%llx)", gpa, size);
        break;
    case PROTECT:
        REPRODUCE_CALL(result, "vmxc_addrspace_protect(&space, 0x%llx, 0x%llx, %u)", gpa, size,
                       o->flags);
        break;
    case FAULT:
        REPRODUCE_CALL(result, "vmxc_addrspace_handle_page_fault(&space, 0x%llx, %u)", gpa,
                       o->flags);
        break;
    case BUFFER:
        REPRODUCE_CALL(result,
                       "vmxc_addrspace_buffer(&space, 0x%llx, 0x%llx, %u, segments, 8, count)", gpa,
                       size, o->flags);
        break;
    case MERGE:
        REPRODUCE_CALL(result, "vmxc_ept_merge(vmxc_addrspace_ept(&space), 0x%llx, 0x%llx)", gpa,
                       size);
        break;
    default:
        REPRODUCE_CALL(result, "vmxc_addrspace_clear(&space)");
    }
}

/* The rights that a merge asks for are an operation of its own here. */
static void note_operation(const struct space_operation *o)
{
    struct space_operation rights = *o;

    REPRODUCE("vmxsim_memory_fail_nth(memory, %" PRIu64 ")", o->fail_nth);
    rights.kind = PROTECT;
    rights.result = o->result == VMXC_NO_MEMORY ? VMXC_NO_MEMORY : VMXC_OK;
    rights.refused = false;
    if (o->protects)
        note_call(&rights);
    if (!o->protects || rights.result == VMXC_OK)
        note_call(o);
    REPRODUCE("vmxsim_memory_fail_nth(memory, 0)");
}

static void look_at_page(uint64_t gpa)
{
    uint64_t hpa = 0;
    const bool mapped = shadow_translate(&run->shadow, gpa, &hpa);

    REPRODUCE_LOOK(mapped ? VMXC_OK : VMXC_NOT_FOUND,
                   "vmxc_addrspace_translate(&space, 0x%" PRIx64 ", &translation)", gpa);
    if (mapped)
        REPRODUCE_LOOK(hpa, "translation.hpa");
}

/* The operations as they were, and the first and the last byte of each area as they should be. */
static void note_sequence(void)
{
    note_space();
    for (size_t i = 0; i < run->count; i++)
        note_operation(&run->log[i]);
    if (run->count > 0 && run->log[run->count - 1].refused)
        return; /* its result is what is wrong */
    reproduce_look_begin();
    REPRODUCE_LOOK(true, "vmxc_addrspace_is_valid(&space)");
    for (size_t i = 0; i < run->shadow.area_count; i++) {
        const struct shadow_area *const area = &run->shadow.area[i];
        look_at_page(area->base);
        look_at_page(area->base + area->size - 1);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t nothing[1];

    if (run == NULL)
        set_up();
    harness_reproduces(data, size);
    const unsigned config = size > 0 ? data[0] % SPACE_SEQUENCE_CONFIGS : 0;
    const struct rng choices =
        size > 1 ? rng_from_bytes(data + 1, size - 1) : rng_from_bytes(nothing, 0);
    if (!space_sequence_run(run, memory, cpus[config], &space_sequence_configs[config], choices,
                            rng_seeded(LOOKS_SEED), OPERATIONS)) {
        if (reproducing)
            note_sequence();
        else
            space_sequence_print(run);
        REQUIRE(false, "%s", run->check.message);
    }
    return 0;
}
