/* SPDX-License-Identifier: Apache-2.0 */
#include "modes.h"

#include "harness.h"

#include "vmxcore/defs/paging.h"

#define TRIAL_RAM  (16u * PAGE_SIZE)
#define TRIAL_ROOT PAGE_SIZE
#define TRIAL_CR0  (VMXC_CR0_PG | VMXC_CR0_PE | VMXC_CR0_ET | VMXC_CR0_NE)
#define LONG_MODE  (VMXC_EFER_LME | VMXC_EFER_LMA)

static const struct trial {
    const char *name;
    struct state state;
} trials[] = {
    {"32-bit", {.cr0 = TRIAL_CR0, .cr3 = TRIAL_ROOT, .mode = PAGING_32BIT}},
    {"PAE", {.cr0 = TRIAL_CR0, .cr3 = TRIAL_ROOT, .cr4 = VMXC_CR4_PAE, .mode = PAGING_PAE}},
    {"4-level",
     {.cr0 = TRIAL_CR0,
      .cr3 = TRIAL_ROOT,
      .cr4 = VMXC_CR4_PAE,
      .efer = LONG_MODE,
      .mode = PAGING_4_LEVEL,
      .mode_64bit = true}},
    {"5-level",
     {.cr0 = TRIAL_CR0,
      .cr3 = TRIAL_ROOT,
      .cr4 = VMXC_CR4_PAE | VMXC_CR4_LA57,
      .efer = LONG_MODE,
      .mode = PAGING_5_LEVEL,
      .mode_64bit = true}},
};

/* A read through an empty table must end with a page fault. */
static bool mode_works(struct machine *machine, const struct state *state)
{
    const struct access access = {.type = ACCESS_READ, .linear = 0, .size = 1};
    struct harness_slot slot;
    struct ending ending;
    struct reason why;
    uint8_t data[16];

    return machine_clear(machine, &why) &&
           harness_install(machine, state, &access, 1, &slot, &why) &&
           harness_access(machine, state, &slot, &access, &ending, data, &why) &&
           !ending.complete && ending.vector == VECTOR_PF;
}

json_t *modes_find(struct machine *machine, struct reason *why)
{
    if (!machine_add_ram(machine, 0, TRIAL_RAM, why) ||
        !machine_add_harness(machine, HARNESS_GPA, HARNESS_SIZE, why))
        return NULL;
    harness_fill(machine);
    json_t *const modes = json_array();
    for (size_t i = 0; i < sizeof trials / sizeof trials[0]; i++) {
        if (mode_works(machine, &trials[i].state))
            (void)json_array_append_new(modes, json_string(trials[i].name));
    }
    return modes;
}
