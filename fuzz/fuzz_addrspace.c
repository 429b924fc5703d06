/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sequences of operations on a guest address space, with allocation failures: libvmxcore's own queries, the model's
 * walk and a shadow map agree after each step, and the accounting is exact (tests/support/space_sequence.h).
 *
 * Input: configuration (1 byte), then the choices that the operations take, as many as there are.
 */
#include "harness.h"

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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t nothing[1];

    if (run == NULL)
        set_up();
    const unsigned config = size > 0 ? data[0] % SPACE_SEQUENCE_CONFIGS : 0;
    const struct rng choices =
        size > 1 ? rng_from_bytes(data + 1, size - 1) : rng_from_bytes(nothing, 0);
    if (!space_sequence_run(run, memory, cpus[config], &space_sequence_configs[config], choices,
                            rng_seeded(LOOKS_SEED), OPERATIONS)) {
        space_sequence_print(run);
        REQUIRE(false, "%s", run->check.message);
    }
    return 0;
}
