/* SPDX-License-Identifier: Apache-2.0 */
/* The rules that can end a guest access, as text. */
#include "vmxsim/cpu.h"

static const struct vmxsim_walk_rule_info rules[VMXSIM_WALK_RULE_COUNT] = {
    [VMXSIM_RULE_NONE] = {"", "", ""},
#define VMXSIM_WALK_RULE(name, id, section, sentence) \
    [VMXSIM_RULE_##name] = {id, section, sentence},
#include "vmxsim/walk_rules.def"
};

const struct vmxsim_walk_rule_info *vmxsim_walk_rule_info(enum vmxsim_walk_rule rule)
{
    return (unsigned)rule < VMXSIM_WALK_RULE_COUNT ? &rules[rule] : &rules[VMXSIM_RULE_NONE];
}
