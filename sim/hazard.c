/* SPDX-License-Identifier: Apache-2.0 */
#include "vmxsim/hazard.h"

#include "internal/memory.h"

const struct vmxsim_hazard_rule_info *vmxsim_hazard_rule_info(enum vmxsim_hazard_rule rule)
{
    static const struct vmxsim_hazard_rule_info rules[VMXSIM_HAZARD_RULE_COUNT + 1] = {
#define VMXSIM_HAZARD_RULE(name, id, section, sentence) \
    [VMXSIM_HAZARD_##name] = {id, section, sentence},
#include "vmxsim/hazard_rules.def"
        [VMXSIM_HAZARD_RULE_COUNT] = {"", "", ""},
    };

    return &rules[(unsigned)rule < VMXSIM_HAZARD_RULE_COUNT ? rule : VMXSIM_HAZARD_RULE_COUNT];
}

void vmxsim_hazard_report(struct vmxsim_hazard_log *log, const struct vmxsim_hazard *hazard)
{
    log->last[log->count++ % VMXSIM_HAZARDS_KEPT] = *hazard;
    if (log->on_hazard != NULL)
        log->on_hazard(log->context, hazard);
}

uint64_t vmxsim_hazard_count(const struct vmxsim_memory *memory)
{
    return memory->hazards.count;
}

uint32_t vmxsim_hazards_last(const struct vmxsim_memory *memory, struct vmxsim_hazard *hazards,
                             uint32_t capacity)
{
    const struct vmxsim_hazard_log *log = &memory->hazards;
    const uint32_t kept =
        log->count < VMXSIM_HAZARDS_KEPT ? (uint32_t)log->count : VMXSIM_HAZARDS_KEPT;
    const uint32_t count = kept < capacity ? kept : capacity;

    for (uint32_t i = 0; i < count; i++)
        hazards[i] = log->last[(log->count - count + i) % VMXSIM_HAZARDS_KEPT];
    return count;
}

void vmxsim_hazards_forget(struct vmxsim_memory *memory)
{
    memory->hazards.count = 0;
}

void vmxsim_memory_on_hazard(struct vmxsim_memory *memory,
                             void (*callback)(void *context, const struct vmxsim_hazard *hazard),
                             void *context)
{
    memory->hazards.on_hazard = callback;
    memory->hazards.context = context;
}
