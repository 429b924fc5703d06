/* SPDX-License-Identifier: Apache-2.0 */
/*
 * States for experiments with VM entry, out of the library's own generator and mutator.
 *
 *     entry_states PROFILE.json SEED COUNT < templates.json         COUNT states
 *     entry_states PROFILE.json SEED COUNT each < templates.json    up to COUNT states for each rule, which is broken alone
 *
 * Standard input is an object of VMCS templates as in a vector header. Each line of the output is one state: the template, every
 * field that is not zero, the words of the scratch area that are not zero if a field points there, and the rules that were
 * broken. A state is a template with some guest fields and control bits changed at random, rounded to a valid state, and then
 * broken; what only the host would notice stays as it is.
 */
#include "internal/random.h"
#include "vmxsim/entry_generate.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Memory that the templates do not use, and the current VMCS of the header. */
#define SCRATCH_HPA      UINT64_C(0x3300000)
#define CURRENT_VMCS_HPA UINT64_C(0x3204000)

/* States that are tried for a rule before it counts as one that cannot be broken. */
#define ATTEMPTS 4000u

static uint32_t below(uint64_t *random, uint32_t limit)
{
    return (uint32_t)(vmxsim_next_random(random) % limit);
}

struct generator {
    const struct vmxsim_profile *profile;
    const json_t *templates;
    struct vmxsim_memory *memory;
    uint64_t random;
};

/* A state that is made: of which template, what is broken. */
struct made_state {
    const char *name;
    struct vmxsim_vmcs vmcs;
    struct vmxsim_entry_broken broken;
};

/* ---- Templates ---- */

static void load_template(const json_t *fields, struct vmxsim_vmcs *vmcs)
{
    const char *key;
    json_t *value;

    memset(vmcs, 0, sizeof *vmcs);
    json_object_foreach((json_t *)(uintptr_t)fields, key, value)
    {
        const size_t ordinal = vmxsim_vmcs_ordinal((uint32_t)strtoul(key, NULL, 16));
        vmcs->value[ordinal] = strtoull(json_string_value(value), NULL, 16);
    }
}

/* ---- Changes before rounding ---- */

static const uint32_t control_words[] = {
    VMXC_VMCS_PIN_BASED_CONTROLS, VMXC_VMCS_PRIMARY_PROCESSOR_BASED_CONTROLS,
    VMXC_VMCS_SECONDARY_PROCESSOR_BASED_CONTROLS, VMXC_VMCS_PRIMARY_VM_EXIT_CONTROLS,
    VMXC_VMCS_VM_ENTRY_CONTROLS};

/* Guest state, and the event to inject: fields that no address of memory that the processor writes comes from. */
static bool may_change(uint32_t encoding)
{
    return VMXC_FIELD_GET((uint64_t)encoding, VMXC_VMCS_ENCODING_TYPE) == VMXC_VMCS_TYPE_GUEST ||
           encoding == VMXC_VMCS_VM_ENTRY_INTERRUPTION_INFO;
}

static uint64_t random_value(uint64_t *random, uint64_t before)
{
    switch (below(random, 4)) {
    case 0:
        return before ^ UINT64_C(1) << below(random, 64);
    case 1:
        return below(random, 256);
    case 2:
        return vmxsim_next_random(random) & vmxsim_next_random(random);
    default:
        return vmxsim_next_random(random);
    }
}

static void change_field(const struct vmxsim_profile *profile, struct vmxsim_vmcs *vmcs,
                         uint64_t *random)
{
    const size_t ordinal = below(random, VMXC_VMCS_FIELD_COUNT);
    const uint32_t encoding = vmxsim_vmcs_encoding(ordinal);

    if (may_change(encoding) && vmxsim_profile_has_field(profile, encoding))
        vmcs->value[ordinal] =
            random_value(random, vmcs->value[ordinal]) & vmxsim_vmcs_width_mask(encoding);
}

static void change_control(struct vmxsim_vmcs *vmcs, uint64_t *random)
{
    const uint32_t count = sizeof control_words / sizeof control_words[0];
    const size_t ordinal = vmxsim_vmcs_ordinal(control_words[below(random, count)]);

    vmcs->value[ordinal] ^= UINT64_C(1) << below(random, 32);
}

static void change(const struct vmxsim_profile *profile, struct vmxsim_vmcs *vmcs, uint64_t *random)
{
    for (uint32_t i = below(random, 24); i > 0; i--)
        change_field(profile, vmcs, random);
    for (uint32_t i = below(random, 3); i > 0; i--)
        change_control(vmcs, random);
}

/* ---- Output ---- */

static json_t *fields_of(const struct vmxsim_profile *profile, const struct vmxsim_vmcs *vmcs)
{
    json_t *const fields = json_object();

    for (size_t i = 0; i < VMXC_VMCS_FIELD_COUNT; i++) {
        char key[sizeof "0x01234567"];
        const uint32_t encoding = vmxsim_vmcs_encoding(i);
        (void)snprintf(key, sizeof key, "0x%" PRIx32, encoding);
        if (vmcs->value[i] != 0 && vmxsim_profile_has_field(profile, encoding))
            (void)json_object_set_new(fields, key, json_sprintf("0x%" PRIx64, vmcs->value[i]));
    }
    return fields;
}

static bool points_to_scratch(const struct vmxsim_vmcs *vmcs)
{
    for (size_t i = 0; i < VMXC_VMCS_FIELD_COUNT; i++) {
        if (vmcs->value[i] - SCRATCH_HPA < VMXSIM_ENTRY_SCRATCH_SIZE)
            return true;
    }
    return false;
}

static json_t *memory_of(struct vmxsim_memory *memory, const struct vmxsim_vmcs *vmcs)
{
    json_t *const words = json_object();

    for (uint64_t offset = 0; points_to_scratch(vmcs) && offset < VMXSIM_ENTRY_SCRATCH_SIZE;
         offset += 8) {
        char key[sizeof "0x0123456789abcdef"];
        const uint64_t value = vmxsim_memory_read64(memory, SCRATCH_HPA + offset);
        (void)snprintf(key, sizeof key, "0x%" PRIx64, SCRATCH_HPA + offset);
        if (value != 0)
            (void)json_object_set_new(words, key, json_sprintf("0x%" PRIx64, value));
    }
    return words;
}

static void print_state(const struct generator *generator, const struct made_state *state)
{
    json_t *const rules = json_array();

    for (uint32_t i = 0; i < state->broken.count; i++)
        (void)json_array_append_new(rules,
                                    json_string(vmxsim_entry_rule_info(state->broken.rule[i])->id));
    json_t *const line = json_pack("{s:s,s:o,s:o,s:o}", "template", state->name, "fields",
                                   fields_of(generator->profile, &state->vmcs), "memory",
                                   memory_of(generator->memory, &state->vmcs), "rules", rules);
    (void)json_dumpf(line, stdout, JSON_COMPACT);
    (void)putchar('\n');
    json_decref(line);
}

/* ---- States ---- */

/* No rule, one, two; one most often. */
static uint32_t rules_to_break(uint64_t *random)
{
    static const uint32_t counts[] = {0, 0, 1, 1, 1, 1, 1, 2};

    return counts[below(random, sizeof counts / sizeof counts[0])];
}

static void make_valid(struct generator *generator, struct made_state *state)
{
    const struct vmxsim_entry_processor processor =
        vmxsim_entry_processor_default(CURRENT_VMCS_HPA);
    uint32_t skip = below(&generator->random, (uint32_t)json_object_size(generator->templates));
    void *member = json_object_iter((json_t *)(uintptr_t)generator->templates);

    while (skip-- > 0)
        member = json_object_iter_next((json_t *)(uintptr_t)generator->templates, member);
    state->name = json_object_iter_key(member);
    state->broken.count = 0;
    load_template(json_object_iter_value(member), &state->vmcs);
    change(generator->profile, &state->vmcs, &generator->random);
    vmxsim_entry_round(generator->profile, &processor, &state->vmcs);
}

static void generate(struct generator *generator)
{
    struct made_state state;

    make_valid(generator, &state);
    const uint32_t count = rules_to_break(&generator->random);
    if (count != 0)
        vmxsim_entry_break(generator->profile, &state.vmcs, count, &generator->random,
                           &state.broken);
    print_state(generator, &state);
}

/*
 * Breaks the rule in one more state. False: no recipe of it fits, or only one that needs a processor in another state than the
 * payload has at a VM entry.
 */
static bool generate_broken(struct generator *generator, enum vmxsim_entry_rule rule)
{
    const struct vmxsim_entry_processor before = vmxsim_entry_processor_default(CURRENT_VMCS_HPA);
    struct vmxsim_entry_processor processor = before;
    struct made_state made;

    make_valid(generator, &made);
    const struct vmxsim_entry_state state = {&made.vmcs, &processor, generator->memory,
                                             SCRATCH_HPA};
    if (!vmxsim_entry_break_rule(generator->profile, &state, rule, &generator->random) ||
        memcmp(&processor, &before, sizeof before) != 0)
        return false;
    made.broken = (struct vmxsim_entry_broken){.count = 1, .rule = {rule}};
    print_state(generator, &made);
    return true;
}

static void generate_each(struct generator *generator, unsigned long count)
{
    for (unsigned rule = 0; rule < VMXSIM_ENTRY_RULE_COUNT; rule++) {
        unsigned long made = 0;
        for (unsigned i = 0; i < ATTEMPTS && made < count; i++)
            made += generate_broken(generator, (enum vmxsim_entry_rule)rule) ? 1 : 0;
    }
}

static struct vmxsim_memory *scratch_memory(struct vmxsim_error *error)
{
    const struct vmxsim_range ram = {SCRATCH_HPA, VMXSIM_ENTRY_SCRATCH_SIZE};
    const struct vmxsim_memory_config config = {.ram = &ram, .ram_count = 1};
    struct vmxsim_memory *memory = NULL;

    return vmxsim_memory_create(&config, &memory, error) == VMXC_OK ? memory : NULL;
}

int main(int argc, char **argv)
{
    struct vmxsim_profile *profile = NULL;
    struct vmxsim_error error;

    if (argc != 4 && !(argc == 5 && strcmp(argv[4], "each") == 0)) {
        (void)fputs("usage: entry_states PROFILE.json SEED COUNT [each] < templates.json\n",
                    stderr);
        return 2;
    }
    json_t *const templates = json_loadf(stdin, 0, NULL);
    struct vmxsim_memory *const memory = scratch_memory(&error);
    if (templates == NULL || memory == NULL ||
        vmxsim_profile_from_file(argv[1], &profile, &error) != VMXC_OK) {
        (void)fprintf(stderr, "entry_states: %s\n",
                      templates == NULL ? "no templates" : error.text);
        json_decref(templates);
        vmxsim_memory_destroy(memory);
        return 2;
    }
    struct generator generator = {profile, templates, memory, strtoull(argv[2], NULL, 0)};
    const unsigned long count = strtoul(argv[3], NULL, 0);
    if (argc == 5)
        generate_each(&generator, count);
    for (unsigned long i = 0; argc == 4 && i < count; i++)
        generate(&generator);
    vmxsim_profile_destroy(profile);
    vmxsim_memory_destroy(memory);
    json_decref(templates);
    return 0;
}
