/* SPDX-License-Identifier: Apache-2.0 */
/*
 * States for experiments with VM entry, out of the library's own generator and mutator.
 *
 *     entry_states PROFILE.json SEED COUNT < templates.json
 *
 * Standard input is an object of VMCS templates as in a vector header. Each line of the output is one state: the template, every
 * field that is not zero, and the rules that were broken. A state is a template with some guest fields and control bits
 * changed at random, rounded to a valid state, and then broken; what only the host would notice stays as it is.
 */
#include "vmxsim/entry_generate.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A state of 64 bits, and a multiplication by 2^64 / golden ratio per step (SplitMix). */
static uint64_t next_random(uint64_t *state)
{
    uint64_t mixed = *state += UINT64_C(0x9e3779b97f4a7c15);

    mixed = (mixed ^ mixed >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    mixed = (mixed ^ mixed >> 27) * UINT64_C(0x94d049bb133111eb);
    return mixed ^ mixed >> 31;
}

static uint32_t below(uint64_t *random, uint32_t limit)
{
    return (uint32_t)(next_random(random) % limit);
}

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
        return next_random(random) & next_random(random);
    default:
        return next_random(random);
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

static void print_state(const struct vmxsim_profile *profile, const char *name,
                        const struct vmxsim_vmcs *vmcs, const struct vmxsim_entry_broken *broken)
{
    json_t *const rules = json_array();

    for (uint32_t i = 0; i < broken->count; i++)
        (void)json_array_append_new(rules,
                                    json_string(vmxsim_entry_rule_info(broken->rule[i])->id));
    json_t *const line = json_pack("{s:s,s:o,s:o}", "template", name, "fields",
                                   fields_of(profile, vmcs), "rules", rules);
    (void)json_dumpf(line, stdout, JSON_COMPACT);
    (void)putchar('\n');
    json_decref(line);
}

/* No rule, one, two; one most often. */
static uint32_t rules_to_break(uint64_t *random)
{
    static const uint32_t counts[] = {0, 0, 1, 1, 1, 1, 1, 2};

    return counts[below(random, sizeof counts / sizeof counts[0])];
}

static void generate(const struct vmxsim_profile *profile, json_t *templates, uint64_t *random)
{
    const struct vmxsim_entry_processor processor = vmxsim_entry_processor_default(0x3204000);
    struct vmxsim_entry_broken broken = {.count = 0};
    uint32_t skip = below(random, (uint32_t)json_object_size(templates));
    void *member = json_object_iter(templates);
    struct vmxsim_vmcs vmcs;

    while (skip-- > 0)
        member = json_object_iter_next(templates, member);
    load_template(json_object_iter_value(member), &vmcs);
    change(profile, &vmcs, random);
    vmxsim_entry_round(profile, &processor, &vmcs);
    const uint32_t count = rules_to_break(random);
    if (count != 0)
        vmxsim_entry_break(profile, &vmcs, count, random, &broken);
    print_state(profile, json_object_iter_key(member), &vmcs, &broken);
}

int main(int argc, char **argv)
{
    struct vmxsim_profile *profile = NULL;
    struct vmxsim_error error;

    if (argc != 4) {
        (void)fputs("usage: entry_states PROFILE.json SEED COUNT < templates.json\n", stderr);
        return 2;
    }
    json_t *const templates = json_loadf(stdin, 0, NULL);
    if (templates == NULL || vmxsim_profile_from_file(argv[1], &profile, &error) != VMXC_OK) {
        (void)fprintf(stderr, "entry_states: %s\n",
                      templates == NULL ? "no templates" : error.text);
        json_decref(templates);
        return 2;
    }
    uint64_t random = strtoull(argv[2], NULL, 0);
    for (unsigned long count = strtoul(argv[3], NULL, 0); count > 0; count--)
        generate(profile, templates, &random);
    vmxsim_profile_destroy(profile);
    json_decref(templates);
    return 0;
}
