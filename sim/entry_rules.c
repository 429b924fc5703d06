/* SPDX-License-Identifier: Apache-2.0 */
/* The rules of a VM entry as text. */
#include <string.h>

#include "vmxsim/entry.h"

static const char *const sections[VMXSIM_ENTRY_GROUP_COUNT] = {
#define VMXSIM_ENTRY_GROUP(name, section, outcome, number) [VMXSIM_ENTRY_GROUP_##name] = section,
#include "vmxsim/entry_rules.def"
};

static const struct vmxsim_entry_rule_info rules[VMXSIM_ENTRY_RULE_COUNT] = {
#define VMXSIM_ENTRY_RULE(name, id_, group_, sentence_) \
    [VMXSIM_ENTRY_##                                    \
        name] = {.id = id_, .sentence = sentence_, .group = VMXSIM_ENTRY_GROUP_##group_},
#include "vmxsim/entry_rules.def"
};

const struct vmxsim_entry_rule_info *vmxsim_entry_rule_info(enum vmxsim_entry_rule rule)
{
    return (unsigned)rule < VMXSIM_ENTRY_RULE_COUNT ? &rules[rule] : NULL;
}

const char *vmxsim_entry_group_section(enum vmxsim_entry_group group)
{
    return (unsigned)group < VMXSIM_ENTRY_GROUP_COUNT ? sections[group] : "";
}

enum vmxsim_entry_rule vmxsim_entry_rule_by_id(const char *id)
{
    for (unsigned rule = 0; rule < VMXSIM_ENTRY_RULE_COUNT; rule++) {
        if (strcmp(rules[rule].id, id) == 0)
            return (enum vmxsim_entry_rule)rule;
    }
    return VMXSIM_ENTRY_RULE_COUNT;
}
