/* SPDX-License-Identifier: Apache-2.0 */
/* What the changes that a violation suggests come to. */
#include <string.h>

#include "vmxsim/entry.h"

enum { KNOWN_WORDS = (VMXC_VMCS_FIELD_COUNT + 63) / 64 };

void vmxsim_entry_apply(const struct vmxsim_entry_violation *violation, struct vmxsim_vmcs *vmcs)
{
    for (unsigned i = 0; i < violation->change_count; i++)
        vmcs->value[violation->change[i].ordinal] = violation->change[i].value;
}

/* A check of the changed VMCS, in which the changed fields are known. */
static void check_changed(const struct vmxsim_entry_input *input,
                          const struct vmxsim_entry_violation *violation,
                          struct vmxsim_entry_report *report)
{
    struct vmxsim_vmcs vmcs = *input->vmcs;
    struct vmxsim_entry_input changed = *input;
    uint64_t known[KNOWN_WORDS];

    vmxsim_entry_apply(violation, &vmcs);
    changed.vmcs = &vmcs;
    if (input->known) {
        memcpy(known, input->known, sizeof(known));
        for (unsigned i = 0; i < violation->change_count; i++)
            known[violation->change[i].ordinal / 64] |= VMXC_BIT(violation->change[i].ordinal % 64);
        changed.known = known;
    }
    vmxsim_entry_check(&changed, report);
}

uint32_t vmxsim_entry_newly_broken(const struct vmxsim_entry_input *input,
                                   const struct vmxsim_entry_report *report,
                                   const struct vmxsim_entry_violation *violation,
                                   enum vmxsim_entry_rule broken[VMXSIM_ENTRY_RULE_COUNT])
{
    struct vmxsim_entry_report after;
    uint32_t count = 0, before = 0;

    check_changed(input, violation, &after);
    for (uint32_t i = 0; i < after.violation_count; i++) {
        const enum vmxsim_entry_rule rule = after.violation[i].rule;
        while (before < report->violation_count && report->violation[before].rule < rule)
            before++;
        if (before < report->violation_count && report->violation[before].rule == rule)
            continue;
        if (broken)
            broken[count] = rule;
        count++;
    }
    return count;
}
