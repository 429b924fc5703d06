/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What vmxsim_entry_check found, for people:
 *
 *     what the processor reports, or the set it may choose from
 *     stage: section of the manual
 *       rule: what must hold
 *         fields with their values, the bits at fault by name, the smallest change
 *     what could not be decided, by the field that is missing
 *     counts
 */
#include "internal/explain.h"
#include "internal/words.h"
#include "vmxcore/defs/paging.h"
#include "vmxsim/entry_evidence.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define NO_FIELD VMXC_VMCS_FIELD_COUNT

/* ---- Stages and groups ---- */

struct group {
    const char *outcome;
    enum { OUTCOME_AS_STATED, OUTCOME_VMFAIL_VALID, OUTCOME_ENTRY_FAILURE } kind;
    uint32_t number;
};

static const struct group groups[VMXSIM_ENTRY_GROUP_COUNT] = {
#define AS_STATED_TEXT(number)     "as its sentence says"
#define VMFAIL_VALID_TEXT(number)  "VM-instruction error " #number
#define ENTRY_FAILURE_TEXT(number) "exit reason " #number
#define VMXSIM_ENTRY_GROUP(name, section, outcome, number) \
    [VMXSIM_ENTRY_GROUP_##name] = {outcome##_TEXT(number), OUTCOME_##outcome, number},
#include "vmxsim/entry_rules.def"
};

const char *vmxsim_entry_group_outcome(enum vmxsim_entry_group group)
{
    return (unsigned)group < VMXSIM_ENTRY_GROUP_COUNT ? groups[group].outcome : "";
}

static enum vmxsim_entry_group group_of(enum vmxsim_entry_rule rule)
{
    return vmxsim_entry_rule_info(rule)->group;
}

static const char *stage_name(enum vmxsim_entry_group group)
{
    if (group == VMXSIM_ENTRY_GROUP_BASIC)
        return "basic checks";
    if (group <= VMXSIM_ENTRY_GROUP_HOST_SIZE)
        return "controls and host state";
    return group == VMXSIM_ENTRY_GROUP_MSR_LOAD ? "loading MSRs" : "guest state";
}

/* ---- Outcomes ---- */

static void add_vmfail(struct vmxsim_text *text, uint32_t number)
{
    const char *const meaning = vmxsim_vm_instruction_error_text(number);

    vmxsim_text_add(text, "VMfailValid(%" PRIu32 "): %s", number, meaning != NULL ? meaning : "?");
}

static void add_exception(struct vmxsim_text *text, uint32_t vector)
{
    const char *const name = vmxsim_vector_name((uint8_t)vector);

    vmxsim_text_add(text, "exception %s%s", name != NULL ? name : "?",
                    vector == VMXC_VECTOR_UD ? "" : " with error code 0");
}

static void phrase_outcome(struct vmxsim_text *text, const struct vmxsim_entry_outcome *outcome)
{
    switch (outcome->kind) {
    case VMXSIM_ENTRY_ENTERED:
        vmxsim_text_add(text, "success: the guest runs");
        break;
    case VMXSIM_ENTRY_EXCEPTION:
        add_exception(text, outcome->number);
        break;
    case VMXSIM_ENTRY_VM_EXIT:
        vmxsim_text_add(text, "VM exit, reason ");
        vmxsim_phrase_exit_reason(text, outcome->number);
        break;
    case VMXSIM_ENTRY_VMFAIL_INVALID:
        vmxsim_text_add(text, "VMfailInvalid");
        break;
    case VMXSIM_ENTRY_VMFAIL_VALID:
        add_vmfail(text, outcome->number);
        break;
    case VMXSIM_ENTRY_FAILURE:
        vmxsim_text_add(text, "VM-entry failure, exit reason ");
        vmxsim_phrase_exit_reason(text, outcome->number);
        vmxsim_text_add(text, ", qualification 0x%" PRIx64, outcome->qualification);
        break;
    }
}

/* Undecided rules that, if broken, come before what was found: they could change the outcome. */
static uint32_t count_open(const struct vmxsim_entry_report *report)
{
    uint32_t open = 0;

    for (uint32_t i = 0; i < report->undecided_count; i++) {
        const enum vmxsim_entry_group group = group_of(report->undecided[i].rule);
        open += report->violation_count == 0 || group <= group_of(report->violation[0].rule) ||
                stage_name(group) == stage_name(group_of(report->violation[0].rule));
    }
    return open;
}

static void add_outcomes(struct vmxsim_text *text, const struct vmxsim_entry_report *report)
{
    const uint32_t open = count_open(report);

    vmxsim_text_add(text, "The processor reports");
    if (report->outcome_count > 1)
        vmxsim_text_add(text, " one of these, depending on the order of its checks");
    for (uint32_t i = 0; i < report->outcome_count; i++) {
        vmxsim_text_add(text, report->outcome_count > 1 ? "%s\n  " : "%s ", i == 0 ? ":" : "");
        phrase_outcome(text, &report->outcome[i]);
    }
    vmxsim_text_add(text, "\n");
    if (open > 0)
        vmxsim_text_add(text,
                        "unless one of the %" PRIu32
                        " rules is broken that come no later and could not be decided\n",
                        open);
}

/* ---- Violations ---- */

static void add_field(struct vmxsim_text *text, const struct vmxsim_entry_input *input,
                      uint16_t ordinal)
{
    vmxsim_text_add(text, "      %s", vmxsim_vmcs_name(ordinal));
    vmxsim_text_pad(text, 46);
    vmxsim_text_add(text, " 0x%" PRIx64, input->vmcs->value[ordinal]);
}

static void add_offending(struct vmxsim_text *text, const struct vmxsim_entry_violation *violation)
{
    if (violation->offending == 0)
        return;
    vmxsim_text_add(text, "; at fault: ");
    vmxsim_phrase_field_bits(text, violation->field[0], violation->offending);
}

static void add_change(struct vmxsim_text *text, const struct vmxsim_entry_input *input,
                       const struct vmxsim_entry_change *change)
{
    vmxsim_text_add(text, "      change: %s = 0x%" PRIx64, vmxsim_vmcs_name(change->ordinal),
                    change->value);
    if (vmxsim_field_has_names(change->ordinal)) {
        vmxsim_text_add(text, " (");
        vmxsim_phrase_field_change(text, change->ordinal, input->vmcs->value[change->ordinal],
                                   change->value);
        vmxsim_text_add(text, ")");
    }
    vmxsim_text_add(text, "\n");
}

/* The changes, and which rules they would break in turn. */
static void add_changes(struct vmxsim_text *text, const struct vmxsim_entry_input *input,
                        const struct vmxsim_entry_report *report,
                        const struct vmxsim_entry_violation *violation)
{
    enum vmxsim_entry_rule broken[VMXSIM_ENTRY_RULE_COUNT];

    if (violation->change_count == 0) {
        vmxsim_text_add(text, "      change: no field can satisfy it\n");
        return;
    }
    for (unsigned i = 0; i < violation->change_count; i++)
        add_change(text, input, &violation->change[i]);
    const uint32_t count = vmxsim_entry_newly_broken(input, report, violation, broken);
    for (uint32_t i = 0; i < count; i++)
        vmxsim_text_add(text, "%s%s%s", i == 0 ? "      which breaks " : ", ",
                        vmxsim_entry_rule_info(broken[i])->id, i + 1 == count ? "\n" : "");
}

static void add_violation(struct vmxsim_text *text, const struct vmxsim_entry_input *input,
                          const struct vmxsim_entry_report *report,
                          const struct vmxsim_entry_violation *violation)
{
    const struct vmxsim_entry_rule_info *const info = vmxsim_entry_rule_info(violation->rule);
    const bool fails = groups[info->group].kind == OUTCOME_ENTRY_FAILURE;

    vmxsim_text_add(text, "  %s: %s\n", info->id, info->sentence);
    for (unsigned i = 0; i < violation->field_count; i++) {
        add_field(text, input, violation->field[i]);
        if (i == 0)
            add_offending(text, violation);
        vmxsim_text_add(text, "\n");
    }
    add_changes(text, input, report, violation);
    if (fails && violation->qualification != 0)
        vmxsim_text_add(text, "      alone, it leads to qualification 0x%" PRIx64 "\n",
                        violation->qualification);
    if (violation->qualification_varies)
        vmxsim_text_add(text, "      processors may report another qualification, or accept it\n");
}

static void add_violations(struct vmxsim_text *text, const struct vmxsim_entry_input *input,
                           const struct vmxsim_entry_report *report)
{
    enum vmxsim_entry_group current = VMXSIM_ENTRY_GROUP_COUNT;

    for (uint32_t i = 0; i < report->violation_count; i++) {
        const enum vmxsim_entry_group group = group_of(report->violation[i].rule);
        if (group != current)
            vmxsim_text_add(text, "\n%s: %s (%s)\n", stage_name(group),
                            vmxsim_entry_group_section(group), groups[group].outcome);
        current = group;
        add_violation(text, input, report, &report->violation[i]);
    }
}

/* ---- What could not be decided ---- */

static void add_undecided_of(struct vmxsim_text *text, const struct vmxsim_entry_report *report,
                             uint16_t ordinal)
{
    const char *separator = ": ";

    vmxsim_text_add(text, "  %s",
                    ordinal == NO_FIELD ? "memory or processor state" : vmxsim_vmcs_name(ordinal));
    for (uint32_t i = 0; i < report->undecided_count; i++) {
        if (report->undecided[i].ordinal != ordinal)
            continue;
        vmxsim_text_add(text, "%s%s", separator,
                        vmxsim_entry_rule_info(report->undecided[i].rule)->id);
        separator = ", ";
    }
    vmxsim_text_add(text, "\n");
}

static void add_undecided(struct vmxsim_text *text, const struct vmxsim_entry_report *report)
{
    if (report->undecided_count == 0)
        return;
    vmxsim_text_add(text, "\nnot decidable, because this is not known:\n");
    for (uint32_t i = 0; i < report->undecided_count; i++) {
        const uint16_t ordinal = report->undecided[i].ordinal;
        uint32_t first = 0;
        while (report->undecided[first].ordinal != ordinal)
            first++;
        if (first == i)
            add_undecided_of(text, report, ordinal);
    }
}

char *vmxsim_explain_entry(const struct vmxsim_entry_input *input,
                           const struct vmxsim_entry_report *report)
{
    struct vmxsim_text text = {.failed = false};

    add_outcomes(&text, report);
    add_violations(&text, input, report);
    add_undecided(&text, report);
    vmxsim_text_add(&text, "\n%" PRIu32 " of %d rules violated, %" PRIu32 " not decidable\n",
                    report->violation_count, (int)VMXSIM_ENTRY_RULE_COUNT, report->undecided_count);
    return vmxsim_text_take(&text);
}

/* ---- Rules ---- */

static void add_engine(struct vmxsim_text *text, const struct vmxsim_entry_engine *engine)
{
    vmxsim_text_add(text, "    %s %s%s%s (%s): ", engine->name, engine->version,
                    engine->model[0] == '\0' ? "" : " ", engine->model, engine->how);
}

static void add_evidence(struct vmxsim_text *text, enum vmxsim_entry_rule rule)
{
    const struct vmxsim_entry_engine *engine;

    vmxsim_text_add(text, "  cross-check: %s\n",
                    vmxsim_entry_standing_name(vmxsim_entry_standing(rule)));
    for (unsigned i = 0; (engine = vmxsim_entry_engine(i)) != NULL; i++) {
        const struct vmxsim_entry_evidence *const evidence = vmxsim_entry_evidence(rule, i);
        add_engine(text, engine);
        vmxsim_text_add(
            text, "%" PRIu32 " with this rule alone, %" PRIu32 " with others, %" PRIu32 " against",
            evidence->alone, evidence->together, evidence->contradicted);
        if (evidence->contradicted != 0)
            vmxsim_text_add(text, ": %s", evidence->deviations);
        if (vmxsim_entry_unreachable(rule, i) != NULL)
            vmxsim_text_add(text, "; not reachable alone: %s", vmxsim_entry_unreachable(rule, i));
        vmxsim_text_add(text, "\n");
    }
}

static void add_tests(struct vmxsim_text *text, enum vmxsim_entry_rule rule)
{
    const struct vmxsim_entry_tests *const tests = vmxsim_entry_tests(rule);

    vmxsim_text_add(text, "  tests: entry_rules (breaking cases: %u, holding: %u)", tests->broken,
                    tests->holding);
    if (tests->recipes != 0)
        vmxsim_text_add(text, ", entry_generate (recipes: %u)", tests->recipes);
    if (tests->suites[0] != '\0')
        vmxsim_text_add(text, ", %s", tests->suites);
    vmxsim_text_add(text, "\n");
}

char *vmxsim_explain_entry_rule(enum vmxsim_entry_rule rule)
{
    const struct vmxsim_entry_rule_info *const info = vmxsim_entry_rule_info(rule);
    struct vmxsim_text text = {.failed = false};

    vmxsim_text_add(&text, "%s: %s\n  section: %s\n  stage: %s\n  if broken: %s\n", info->id,
                    info->sentence, vmxsim_entry_group_section(info->group),
                    stage_name(info->group), groups[info->group].outcome);
    add_evidence(&text, rule);
    add_tests(&text, rule);
    return vmxsim_text_take(&text);
}

/* ---- JSON ---- */

static const char *outcome_name(enum vmxsim_entry_outcome_kind kind)
{
    static const char *const names[] = {
        [VMXSIM_ENTRY_ENTERED] = "entered",
        [VMXSIM_ENTRY_EXCEPTION] = "exception",
        [VMXSIM_ENTRY_VM_EXIT] = "exit",
        [VMXSIM_ENTRY_VMFAIL_INVALID] = "vmfail_invalid",
        [VMXSIM_ENTRY_VMFAIL_VALID] = "vmfail_valid",
        [VMXSIM_ENTRY_FAILURE] = "entry_failure",
    };

    return names[kind];
}

static void write_phrase(struct vmxsim_writer *writer, const char *key, struct vmxsim_text *phrase)
{
    char *const bytes = vmxsim_text_take(phrase);

    if (bytes == NULL)
        writer->text.failed = true;
    else
        vmxsim_write_string(writer, key, bytes);
    free(bytes);
}

static void write_outcome(struct vmxsim_writer *writer, const struct vmxsim_entry_outcome *outcome)
{
    static const char *const number_names[] = {
        [VMXSIM_ENTRY_EXCEPTION] = "vector",
        [VMXSIM_ENTRY_VM_EXIT] = "exit_reason",
        [VMXSIM_ENTRY_VMFAIL_VALID] = "error",
        [VMXSIM_ENTRY_FAILURE] = "exit_reason",
    };
    struct vmxsim_text phrase = {.failed = false};

    vmxsim_write_begin(writer, NULL, '{');
    vmxsim_write_string(writer, "result", outcome_name(outcome->kind));
    if (number_names[outcome->kind] != NULL)
        vmxsim_write_number(writer, number_names[outcome->kind], outcome->number);
    if (outcome->kind == VMXSIM_ENTRY_FAILURE)
        vmxsim_write_hex(writer, "qualification", outcome->qualification);
    phrase_outcome(&phrase, outcome);
    write_phrase(writer, "meaning", &phrase);
    vmxsim_write_end(writer, '}');
}

static void write_rule_members(struct vmxsim_writer *writer, enum vmxsim_entry_rule rule)
{
    const struct vmxsim_entry_rule_info *const info = vmxsim_entry_rule_info(rule);

    vmxsim_write_string(writer, "rule", info->id);
    vmxsim_write_string(writer, "stage", stage_name(info->group));
    vmxsim_write_string(writer, "section", vmxsim_entry_group_section(info->group));
    vmxsim_write_string(writer, "outcome", groups[info->group].outcome);
    vmxsim_write_string(writer, "sentence", info->sentence);
}

static void write_fields(struct vmxsim_writer *writer, const struct vmxsim_entry_input *input,
                         const struct vmxsim_entry_violation *violation)
{
    vmxsim_write_begin(writer, "fields", '[');
    for (unsigned i = 0; i < violation->field_count; i++) {
        vmxsim_write_begin(writer, NULL, '{');
        vmxsim_write_string(writer, "name", vmxsim_vmcs_name(violation->field[i]));
        vmxsim_write_hex(writer, "encoding", vmxsim_vmcs_encoding(violation->field[i]));
        vmxsim_write_hex(writer, "value", input->vmcs->value[violation->field[i]]);
        vmxsim_write_end(writer, '}');
    }
    vmxsim_write_end(writer, ']');
}

static void write_changes(struct vmxsim_writer *writer, const struct vmxsim_entry_input *input,
                          const struct vmxsim_entry_report *report,
                          const struct vmxsim_entry_violation *violation)
{
    enum vmxsim_entry_rule broken[VMXSIM_ENTRY_RULE_COUNT];

    if (violation->change_count == 0)
        return;
    vmxsim_write_begin(writer, "changes", '[');
    for (unsigned i = 0; i < violation->change_count; i++) {
        vmxsim_write_begin(writer, NULL, '{');
        vmxsim_write_string(writer, "field", vmxsim_vmcs_name(violation->change[i].ordinal));
        vmxsim_write_hex(writer, "value", violation->change[i].value);
        vmxsim_write_end(writer, '}');
    }
    vmxsim_write_end(writer, ']');
    const uint32_t count = vmxsim_entry_newly_broken(input, report, violation, broken);
    if (count == 0)
        return;
    vmxsim_write_begin(writer, "changes_break", '[');
    for (uint32_t i = 0; i < count; i++)
        vmxsim_write_string(writer, NULL, vmxsim_entry_rule_info(broken[i])->id);
    vmxsim_write_end(writer, ']');
}

static void write_violation(struct vmxsim_writer *writer, const struct vmxsim_entry_input *input,
                            const struct vmxsim_entry_report *report,
                            const struct vmxsim_entry_violation *violation)
{
    struct vmxsim_text bits = {.failed = false};

    vmxsim_write_begin(writer, NULL, '{');
    write_rule_members(writer, violation->rule);
    write_fields(writer, input, violation);
    if (violation->offending != 0) {
        vmxsim_write_hex(writer, "offending", violation->offending);
        vmxsim_phrase_field_bits(&bits, violation->field[0], violation->offending);
        write_phrase(writer, "offending_bits", &bits);
    }
    write_changes(writer, input, report, violation);
    if (groups[group_of(violation->rule)].kind == OUTCOME_ENTRY_FAILURE)
        vmxsim_write_hex(writer, "qualification", violation->qualification);
    if (violation->qualification_varies)
        vmxsim_write_bool(writer, "qualification_varies", true);
    vmxsim_write_end(writer, '}');
}

static void write_undecided(struct vmxsim_writer *writer,
                            const struct vmxsim_entry_undecided *undecided)
{
    vmxsim_write_begin(writer, NULL, '{');
    vmxsim_write_string(writer, "rule", vmxsim_entry_rule_info(undecided->rule)->id);
    if (undecided->ordinal != NO_FIELD)
        vmxsim_write_string(writer, "field", vmxsim_vmcs_name(undecided->ordinal));
    vmxsim_write_end(writer, '}');
}

char *vmxsim_explain_entry_json(const struct vmxsim_entry_input *input,
                                const struct vmxsim_entry_report *report)
{
    struct vmxsim_writer writer = {.depth = 0};

    vmxsim_write_begin(&writer, NULL, '{');
    vmxsim_write_begin(&writer, "outcomes", '[');
    for (uint32_t i = 0; i < report->outcome_count; i++)
        write_outcome(&writer, &report->outcome[i]);
    vmxsim_write_end(&writer, ']');
    vmxsim_write_number(&writer, "undecided_before_outcome", count_open(report));
    vmxsim_write_begin(&writer, "violations", '[');
    for (uint32_t i = 0; i < report->violation_count; i++)
        write_violation(&writer, input, report, &report->violation[i]);
    vmxsim_write_end(&writer, ']');
    vmxsim_write_begin(&writer, "undecided", '[');
    for (uint32_t i = 0; i < report->undecided_count; i++)
        write_undecided(&writer, &report->undecided[i]);
    vmxsim_write_end(&writer, ']');
    vmxsim_write_number(&writer, "rules", VMXSIM_ENTRY_RULE_COUNT);
    vmxsim_write_end(&writer, '}');
    return vmxsim_text_take(&writer.text);
}

static void write_engine_evidence(struct vmxsim_writer *writer, enum vmxsim_entry_rule rule,
                                  unsigned number)
{
    const struct vmxsim_entry_engine *const engine = vmxsim_entry_engine(number);
    const struct vmxsim_entry_evidence *const evidence = vmxsim_entry_evidence(rule, number);
    const char *const why = vmxsim_entry_unreachable(rule, number);

    vmxsim_write_begin(writer, NULL, '{');
    vmxsim_write_string(writer, "engine", engine->name);
    vmxsim_write_string(writer, "version", engine->version);
    vmxsim_write_string(writer, "model", engine->model);
    vmxsim_write_string(writer, "how", engine->how);
    vmxsim_write_number(writer, "alone", evidence->alone);
    vmxsim_write_number(writer, "together", evidence->together);
    vmxsim_write_number(writer, "contradicted", evidence->contradicted);
    if (evidence->contradicted != 0)
        vmxsim_write_string(writer, "deviations", evidence->deviations);
    if (why != NULL)
        vmxsim_write_string(writer, "unreachable", why);
    vmxsim_write_end(writer, '}');
}

static void write_evidence(struct vmxsim_writer *writer, enum vmxsim_entry_rule rule)
{
    vmxsim_write_begin(writer, "cross_check", '{');
    vmxsim_write_string(writer, "standing",
                        vmxsim_entry_standing_name(vmxsim_entry_standing(rule)));
    vmxsim_write_begin(writer, "engines", '[');
    for (unsigned i = 0; vmxsim_entry_engine(i) != NULL; i++)
        write_engine_evidence(writer, rule, i);
    vmxsim_write_end(writer, ']');
    vmxsim_write_end(writer, '}');
}

/* Names separated by spaces, as an array. */
static void write_names(struct vmxsim_writer *writer, const char *key, const char *names)
{
    vmxsim_write_begin(writer, key, '[');
    while (*names != '\0') {
        struct vmxsim_text name = {.failed = false};
        const size_t length = strcspn(names, " ");
        vmxsim_text_add(&name, "%.*s", (int)length, names);
        write_phrase(writer, NULL, &name);
        names += length + (names[length] != '\0');
    }
    vmxsim_write_end(writer, ']');
}

static void write_tests(struct vmxsim_writer *writer, enum vmxsim_entry_rule rule)
{
    const struct vmxsim_entry_tests *const tests = vmxsim_entry_tests(rule);

    vmxsim_write_begin(writer, "tests", '{');
    vmxsim_write_number(writer, "broken", tests->broken);
    vmxsim_write_number(writer, "holding", tests->holding);
    vmxsim_write_number(writer, "recipes", tests->recipes);
    write_names(writer, "other_suites", tests->suites);
    vmxsim_write_end(writer, '}');
}

char *vmxsim_explain_entry_rule_json(enum vmxsim_entry_rule rule)
{
    struct vmxsim_writer writer = {.depth = 0};

    vmxsim_write_begin(&writer, NULL, '{');
    write_rule_members(&writer, rule);
    write_evidence(&writer, rule);
    write_tests(&writer, rule);
    vmxsim_write_end(&writer, '}');
    return vmxsim_text_take(&writer.text);
}
