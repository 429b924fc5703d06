/* SPDX-License-Identifier: Apache-2.0 */
#include "support/machine.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/require.h"

const char *const guest_mode_names[GUEST_MODES] = {"no paging", "32-bit", "PAE", "4-level",
                                                   "5-level"};

unsigned guest_levels(enum guest_mode mode)
{
    static const unsigned levels[GUEST_MODES] = {0, 2, 2, 4, 5};
    return levels[mode];
}

/* ---- Profiles: the JSON form of "everything" with numbers changed ---- */

static void clear_hex(json_t *holder, const char *key, uint64_t mask)
{
    const char *text = json_string_value(json_object_get(holder, key));
    require(text != NULL, "the profile has no %s", key);
    char changed[32];
    snprintf(changed, sizeof(changed), "0x%" PRIx64, (uint64_t)strtoull(text, NULL, 16) & ~mask);
    json_object_set_new(holder, key, json_string(changed));
}

static void clear_cpuid(json_t *cpu, const char *leaf, size_t index, uint32_t mask)
{
    json_t *registers = json_object_get(json_object_get(cpu, "cpuid"), leaf);
    require(json_is_array(registers), "the profile has no CPUID leaf %s", leaf);
    const uint64_t value = strtoull(json_string_value(json_array_get(registers, index)), NULL, 16);
    char changed[32];
    snprintf(changed, sizeof(changed), "0x%" PRIx64, value & ~(uint64_t)mask);
    json_array_set_new(registers, index, json_string(changed));
}

static void set_maxphyaddr(json_t *cpu, unsigned bits)
{
    json_object_set_new(cpu, "maxphyaddr", json_integer(bits));
    json_t *registers = json_object_get(json_object_get(cpu, "cpuid"), "0x80000008.0");
    require(json_is_array(registers), "the profile has no CPUID leaf 80000008H");
    const uint64_t eax = strtoull(json_string_value(json_array_get(registers, 0)), NULL, 16);
    char changed[32];
    snprintf(changed, sizeof(changed), "0x%" PRIx64, (eax & ~UINT64_C(0xff)) | bits);
    json_array_set_new(registers, 0, json_string(changed));
}

struct vmxsim_profile *profile_from_text(const char *text)
{
    struct vmxsim_profile *profile = NULL;
    struct vmxsim_error error = {0};
    require(vmxsim_profile_from_json(text, strlen(text), "test", &profile, &error) == VMXC_OK, "%s",
            error.text);
    return profile;
}

struct vmxsim_profile *profile_make(const struct profile_changes *changes)
{
    char *text = vmxsim_profile_to_json(vmxsim_profile_builtin("everything"));
    json_t *cpu = json_loads(text, 0, NULL);
    require_that(cpu != NULL);
    free(text);

    json_t *msrs = json_object_get(cpu, "msr");
    clear_hex(msrs, "0x48c", changes->ept_cap_clear);
    clear_hex(msrs, "0x48b", changes->secondary_clear << 32);
    if (changes->maxphyaddr != 0)
        set_maxphyaddr(cpu, changes->maxphyaddr);
    clear_cpuid(cpu, "0x1.0", 3, changes->cpuid_1_edx_clear);
    clear_cpuid(cpu, "0x80000001.0", 3, changes->cpuid_80000001_edx_clear);

    text = json_dumps(cpu, JSON_COMPACT);
    struct vmxsim_profile *const profile = profile_from_text(text);
    free(text);
    json_decref(cpu);
    return profile;
}

/* ---- Machine ---- */

void machine_init(struct machine *machine, const struct profile_changes *changes)
{
    static const struct profile_changes none;
    const struct vmxsim_range ram = {.base = 0, .length = MACHINE_RAM};
    const struct vmxsim_memory_config config = {.ram = &ram, .ram_count = 1};
    struct vmxsim_error error;

    memset(machine, 0, sizeof(*machine));
    enum vmxc_status status = vmxsim_memory_create(&config, &machine->memory, &error);
    require(status == VMXC_OK, "%s", error.text);
    machine->profile = profile_make(changes != NULL ? changes : &none);
    status = vmxsim_cpu_create(machine->memory, machine->profile, &machine->cpu);
    require_that(status == VMXC_OK);
    machine->next_table = MACHINE_TABLES;
    VMXSIM_VMCS(&machine->vmcs, VMCS_LINK_POINTER) = ~UINT64_C(0);
}

void machine_fini(struct machine *machine)
{
    vmxsim_cpu_destroy(machine->cpu);
    vmxsim_profile_destroy(machine->profile);
    vmxsim_memory_destroy(machine->memory);
    memset(machine, 0, sizeof(*machine));
}

uint64_t machine_new_table(struct machine *machine)
{
    static const uint8_t zeros[VMXC_PAGE_SIZE];
    const uint64_t hpa = machine->next_table;
    vmxsim_memory_write(machine->memory, hpa, zeros, sizeof(zeros));
    machine->next_table += VMXC_PAGE_SIZE;
    return hpa;
}

uint64_t machine_read(struct machine *machine, uint64_t hpa)
{
    return vmxsim_memory_read64(machine->memory, hpa);
}

void machine_write(struct machine *machine, uint64_t hpa, uint64_t value)
{
    vmxsim_memory_write64(machine->memory, hpa, value);
}

/* ---- EPT ---- */

void machine_new_ept(struct machine *machine, unsigned levels, uint64_t eptp_bits)
{
    machine->ept_levels = levels;
    machine->ept_root = machine_new_table(machine);
    VMXSIM_VMCS(&machine->vmcs, EPT_POINTER) =
        machine->ept_root | eptp_bits | ((uint64_t)(levels - 1) << 3) | VMXC_MEMORY_TYPE_WB;
    VMXSIM_VMCS(&machine->vmcs, PRIMARY_PROCESSOR_BASED_CONTROLS) |= CTL_SECONDARY;
    VMXSIM_VMCS(&machine->vmcs, SECONDARY_PROCESSOR_BASED_CONTROLS) |= CTL2_EPT | CTL2_UNRESTRICTED;
}

uint64_t machine_ept_entry(struct machine *machine, uint64_t gpa, unsigned level)
{
    uint64_t table = machine->ept_root;
    for (unsigned at = machine->ept_levels;; at--) {
        const uint64_t entry = table + 8 * ((gpa >> (12 + 9 * (at - 1))) & 511);
        if (at == level)
            return entry;
        if (machine_read(machine, entry) == 0)
            machine_write(machine, entry, machine_new_table(machine) | EPT_ALL);
        table = machine_read(machine, entry) & VMXC_EPT_ADDRESS;
    }
}

void machine_ept_map(struct machine *machine, uint64_t gpa, uint64_t hpa, unsigned level)
{
    const uint64_t large = level > 1 ? VMXC_EPT_LARGE_PAGE : 0;
    machine_write(machine, machine_ept_entry(machine, gpa, level),
                  hpa | EPT_ALL | large | ((uint64_t)VMXC_MEMORY_TYPE_WB << 3));
}

/* ---- Guest ---- */

void machine_set_mode(struct machine *machine, enum guest_mode mode)
{
    struct vmxsim_vmcs *vmcs = &machine->vmcs;
    const bool long_mode = mode == GUEST_4LEVEL || mode == GUEST_5LEVEL;
    const bool pae = long_mode || mode == GUEST_PAE;

    machine->mode = mode;
    VMXSIM_VMCS(vmcs, GUEST_CR0) =
        VMXC_CR0_PE | VMXC_CR0_NE | VMXC_CR0_ET | (mode == GUEST_NONE ? 0 : VMXC_CR0_PG);
    VMXSIM_VMCS(vmcs, GUEST_CR4) = VMXC_CR4_VMXE | (mode == GUEST_32BIT ? VMXC_CR4_PSE : 0) |
                                   (pae ? VMXC_CR4_PAE : 0) |
                                   (mode == GUEST_5LEVEL ? VMXC_CR4_LA57 : 0);
    VMXSIM_VMCS(vmcs, GUEST_IA32_EFER) =
        (pae ? VMXC_EFER_NXE : 0) | (long_mode ? VMXC_EFER_LME | VMXC_EFER_LMA : 0);
    VMXSIM_VMCS(vmcs, VM_ENTRY_CONTROLS) =
        ENTRY_LOAD_PAT | ENTRY_LOAD_EFER | ENTRY_LOAD_PKRS | (long_mode ? ENTRY_IA32E : 0);
    VMXSIM_VMCS(vmcs, GUEST_IA32_PAT) = PAT_VALUE;
    VMXSIM_VMCS(vmcs, GUEST_RFLAGS) = 2;
    VMXSIM_VMCS(vmcs, GUEST_CS_ACCESS_RIGHTS) = long_mode ? 0xa09b : 0xc09b;
    machine_set_cpl(machine, 0);
}

void machine_set_cpl(struct machine *machine, unsigned cpl)
{
    VMXSIM_VMCS(&machine->vmcs, GUEST_SS_ACCESS_RIGHTS) = 0xc093 | (uint64_t)cpl << 5;
    VMXSIM_VMCS(&machine->vmcs, GUEST_SS_SELECTOR) = 0x10 | cpl;
    uint64_t *cs = &VMXSIM_VMCS(&machine->vmcs, GUEST_CS_ACCESS_RIGHTS);
    *cs = (*cs & ~UINT64_C(0x60)) | (uint64_t)cpl << 5;
}

void machine_load(struct machine *machine)
{
    struct vmxsim_error error;
    const enum vmxc_status status = vmxsim_cpu_load_guest(machine->cpu, &machine->vmcs, &error);
    if (status != VMXC_OK)
        require(false, "the processor refuses the guest: %s", error.text);
}

struct vmxsim_outcome machine_access(struct machine *machine, enum vmxsim_access_type type,
                                     uint64_t linear, uint32_t size)
{
    struct vmxsim_access access = {.type = type, .linear = linear, .size = size};
    memset(access.data, 0xa5, size);
    return machine_access_as(machine, &access, NULL);
}

struct vmxsim_outcome machine_access_as(struct machine *machine, const struct vmxsim_access *access,
                                        struct vmxsim_trail *trail)
{
    struct vmxsim_outcome outcome;
    const enum vmxc_status status = vmxsim_guest_access(machine->cpu, access, &outcome, trail);
    if (status != VMXC_OK)
        require(false, "the access was refused: status %d", (int)status);
    return outcome;
}

const char *machine_outcome_text(const struct vmxsim_outcome *outcome)
{
    static char text[256];
    const char *id =
        outcome->rule == VMXSIM_RULE_NONE ? "none" : vmxsim_walk_rule_info(outcome->rule)->id;
    switch (outcome->kind) {
    case VMXSIM_OUTCOME_COMPLETE:
        snprintf(text, sizeof(text), "complete, hpa %#" PRIx64, outcome->page[0].hpa);
        break;
    case VMXSIM_OUTCOME_GUEST_EXCEPTION:
        snprintf(text, sizeof(text), "exception %u, error %#x, CR2 %#" PRIx64 ", rule %s",
                 outcome->vector, outcome->error_code, outcome->cr2, id);
        break;
    case VMXSIM_OUTCOME_VM_EXIT:
        snprintf(text, sizeof(text),
                 "exit %u, qualification %#" PRIx64 ", gpa %#" PRIx64 ", linear %#" PRIx64
                 ", rule %s",
                 outcome->exit_reason, outcome->qualification, outcome->guest_physical,
                 outcome->guest_linear, id);
        break;
    }
    return text;
}
