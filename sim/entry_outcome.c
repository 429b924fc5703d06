/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From the broken rules to what a processor may report.
 *
 *     basic rules      the first broken one decides
 *     controls, host   any order: error 7 if a control rule is broken, 8 if a host rule is; both are lawful if both are
 *     guest state      any order: exit reason 33, with the qualification of any broken rule
 *     MSR loading      the first entry of the list that fails
 *
 * Each stage is reached only if those before it pass. Source: Intel SDM volume 3, "VM Entries", "VM Instruction Error Numbers" (note
 * on the order of checks), "VM-Entry Failures During or After Loading Guest State".
 */
#include "internal/entry.h"
#include "vmxcore/defs/exit_reason.h"
#include "vmxcore/defs/vm_error.h"

static struct vmxsim_entry_outcome basic_outcome(const struct vmxsim_entry_input *input,
                                                 enum vmxsim_entry_rule rule)
{
    const bool resume = input->processor->vmresume;

    switch (rule) {
    case VMXSIM_ENTRY_ENT_UD_MODE:
        return (struct vmxsim_entry_outcome){VMXSIM_ENTRY_EXCEPTION, VMXC_VECTOR_UD, 0};
    case VMXSIM_ENTRY_ENT_EXIT_NONROOT:
        return (struct vmxsim_entry_outcome){
            VMXSIM_ENTRY_VM_EXIT, resume ? VMXC_EXIT_REASON_VMRESUME : VMXC_EXIT_REASON_VMLAUNCH,
            0};
    case VMXSIM_ENTRY_ENT_GP_CPL:
        return (struct vmxsim_entry_outcome){VMXSIM_ENTRY_EXCEPTION, VMXC_VECTOR_GP, 0};
    case VMXSIM_ENTRY_ENT_MOVSS:
        return (struct vmxsim_entry_outcome){VMXSIM_ENTRY_VMFAIL_VALID, 26, 0};
    case VMXSIM_ENTRY_ENT_LAUNCH_CLEAR:
        return (struct vmxsim_entry_outcome){VMXSIM_ENTRY_VMFAIL_VALID, 4, 0};
    case VMXSIM_ENTRY_ENT_RESUME_LAUNCHED:
        return (struct vmxsim_entry_outcome){VMXSIM_ENTRY_VMFAIL_VALID, 5, 0};
    default: /* no current VMCS, or a shadow VMCS */
        return (struct vmxsim_entry_outcome){VMXSIM_ENTRY_VMFAIL_INVALID, 0, 0};
    }
}

/* What breaking this rule alone leads to. */
static struct vmxsim_entry_outcome outcome_of(const struct vmxsim_entry_input *input,
                                              const struct vmxsim_entry_violation *violation)
{
    static const struct {
        enum vmxsim_entry_outcome_kind kind;
        uint32_t number;
    } groups[VMXSIM_ENTRY_GROUP_COUNT] = {
#define AS_STATED     VMXSIM_ENTRY_ENTERED
#define VMFAIL_VALID  VMXSIM_ENTRY_VMFAIL_VALID
#define ENTRY_FAILURE VMXSIM_ENTRY_FAILURE
#define VMXSIM_ENTRY_GROUP(name, section, outcome, number) \
    [VMXSIM_ENTRY_GROUP_##name] = {outcome, number},
#include "vmxsim/entry_rules.def"
#undef AS_STATED
#undef VMFAIL_VALID
#undef ENTRY_FAILURE
    };
    const enum vmxsim_entry_group group = vmxsim_entry_rule_info(violation->rule)->group;

    if (group == VMXSIM_ENTRY_GROUP_BASIC)
        return basic_outcome(input, violation->rule);
    return (struct vmxsim_entry_outcome){groups[group].kind, groups[group].number,
                                         violation->qualification};
}

/* Stages of a VM entry, in order; later ones are not reached if an earlier one fails. */
enum stage { STAGE_BASIC, STAGE_CONTROLS_AND_HOST, STAGE_GUEST, STAGE_MSR_LOAD };

static enum stage stage_of(enum vmxsim_entry_rule rule)
{
    const enum vmxsim_entry_group group = vmxsim_entry_rule_info(rule)->group;

    if (group == VMXSIM_ENTRY_GROUP_BASIC)
        return STAGE_BASIC;
    if (group <= VMXSIM_ENTRY_GROUP_HOST_SIZE)
        return STAGE_CONTROLS_AND_HOST;
    return group == VMXSIM_ENTRY_GROUP_MSR_LOAD ? STAGE_MSR_LOAD : STAGE_GUEST;
}

static void add_outcome(struct vmxsim_entry_report *report, struct vmxsim_entry_outcome outcome)
{
    for (uint32_t i = 0; i < report->outcome_count; i++) {
        const struct vmxsim_entry_outcome *known = &report->outcome[i];
        if (known->kind == outcome.kind && known->number == outcome.number &&
            known->qualification == outcome.qualification)
            return;
    }
    if (report->outcome_count < VMXSIM_ENTRY_MAX_OUTCOMES)
        report->outcome[report->outcome_count++] = outcome;
}

/* The list is processed in order: the entry with the lowest number fails. */
static void add_msr_load_outcome(const struct vmxsim_entry_input *input,
                                 struct vmxsim_entry_report *report)
{
    const struct vmxsim_entry_violation *lowest = &report->violation[0];

    for (uint32_t i = 1; i < report->violation_count; i++) {
        if (report->violation[i].qualification < lowest->qualification)
            lowest = &report->violation[i];
    }
    add_outcome(report, outcome_of(input, lowest));
    if (lowest->qualification_varies)
        add_outcome(report, (struct vmxsim_entry_outcome){VMXSIM_ENTRY_ENTERED, 0, 0});
}

/* Every rule of the stage may be the one that a processor finds first. */
static void add_stage_outcomes(const struct vmxsim_entry_input *input,
                               struct vmxsim_entry_report *report, enum stage stage)
{
    bool only_optional = true;

    for (uint32_t i = 0; i < report->violation_count; i++) {
        const struct vmxsim_entry_violation *violation = &report->violation[i];
        if (stage_of(violation->rule) != stage)
            break;
        add_outcome(report, outcome_of(input, violation));
        only_optional = only_optional && violation->qualification_varies;
        if (violation->qualification_varies)
            add_outcome(report, (struct vmxsim_entry_outcome){VMXSIM_ENTRY_FAILURE, 33, 0});
    }
    if (only_optional)
        add_outcome(report, (struct vmxsim_entry_outcome){VMXSIM_ENTRY_ENTERED, 0, 0});
}

void entry_outcomes(const struct vmxsim_entry_input *input, struct vmxsim_entry_report *report)
{
    report->outcome_count = 0;
    if (report->violation_count == 0) {
        add_outcome(report, (struct vmxsim_entry_outcome){VMXSIM_ENTRY_ENTERED, 0, 0});
        return;
    }
    const enum stage stage = stage_of(report->violation[0].rule);
    if (stage == STAGE_BASIC)
        add_outcome(report, outcome_of(input, &report->violation[0]));
    else if (stage == STAGE_MSR_LOAD)
        add_msr_load_outcome(input, report);
    else
        add_stage_outcomes(input, report, stage);
}
