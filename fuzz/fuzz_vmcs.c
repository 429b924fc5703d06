/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random and near-valid VMCSs: check, explain, enter, exit.
 *
 *  - A state that was rounded to a valid one and then broken in k ways breaks exactly those k rules.
 *  - Applying the change that a violation suggests removes that violation.
 *  - VMLAUNCH or VMRESUME of that VMCS does what the check says, and a guest that was entered can leave.
 *
 * Input: profile (1 byte), processor (2), rules to break (1), seed (8), then fields to set, each an ordinal (2) and a
 * value (vmxsim_fuzz_value). Odd processor bytes turn rounding off; bits 5:4 say what is looked at after the check, as any of
 * it takes longer than the check: 0: VM entry, 1: the changes that one violation suggests, 2: the explanation.
 */
#include "harness.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "support/rng.h"
#include "vmxcore/defs/msr.h"
#include "vmxsim/entry_generate.h"
#include "vmxsim/explain.h"
#include "vmxsim/insn.h"

#define VMXON_HPA UINT64_C(0x1000)
#define VMCS_HPA  UINT64_C(0x2000)
#define RAM_SIZE  (UINT64_C(16) << 20)

enum { PROFILES = 4 };

/* A machine per profile, made once. */
static struct machine {
    const struct vmxsim_profile *profile;
    struct vmxsim_memory *memory;
    struct vmxsim_cpu *cpu;
    struct vmxsim_fuzz_loop loop;
    bool writable
        [VMXC_VMCS_FIELD_COUNT]; /* fields that VMWRITE reaches: others of a VMCS in use are 0 */
} machines[PROFILES];

enum look { LOOK_AT_ENTRY, LOOK_AT_CHANGES, LOOK_AT_EXPLANATION };

struct experiment {
    struct machine *machine;
    enum look look;
    uint32_t choice; /* of the violation whose changes are made */
    struct vmxsim_entry_processor processor;
    struct vmxsim_vmcs vmcs;
    bool rounded, changed; /* changed: fields were set after the rules were broken */
    struct vmxsim_entry_broken broken;
};

static const char *rule_id(enum vmxsim_entry_rule rule)
{
    return vmxsim_entry_rule_info(rule)->id;
}

/* ---- Set-up ---- */

static struct vmxsim_insn_result last;

static void must_succeed(enum vmxc_status status, const char *what)
{
    REQUIRE(status == VMXC_OK && last.kind == VMXSIM_INSN_SUCCEEDED, "%s", what);
}

/* Where every input begins: in VMX operation, the current VMCS holds zeros. */
static void make_current(const struct machine *machine)
{
    uint64_t basic = 0;
    struct vmxsim_cpu *const cpu = machine->cpu;
    const struct vmxsim_root_state root = {.cr0 = 0x80000031, .cr4 = 0x2020, .efer = 0x500};

    REQUIRE(vmxsim_profile_msr(machine->profile, VMXC_MSR_VMX_BASIC, &basic) == VMXC_OK, "no VMX");
    vmxsim_cpu_reset(cpu, &root);
    vmxsim_memory_write32(machine->memory, VMXON_HPA, (uint32_t)(basic & VMXC_VMX_BASIC_REVISION));
    vmxsim_memory_write32(machine->memory, VMCS_HPA, (uint32_t)(basic & VMXC_VMX_BASIC_REVISION));
    must_succeed(vmxsim_insn_vmxon(cpu, VMXON_HPA, &last), "VMXON");
    must_succeed(vmxsim_insn_vmclear(cpu, VMCS_HPA, &last), "VMCLEAR");
    must_succeed(vmxsim_insn_vmptrld(cpu, VMCS_HPA, &last), "VMPTRLD");
}

static void find_writable(struct machine *machine)
{
    for (size_t i = 0; i < VMXC_VMCS_FIELD_COUNT; i++) {
        const uint32_t encoding = vmxsim_vmcs_encoding(i);
        machine->writable[i] =
            vmxsim_profile_has_field(machine->profile, encoding) &&
            VMXC_FIELD_GET((uint64_t)encoding, VMXC_VMCS_ENCODING_TYPE) != VMXC_VMCS_TYPE_READ_ONLY;
    }
}

static struct machine *machine_at(unsigned index)
{
    struct machine *const machine = &machines[index];

    if (machine->cpu != NULL)
        return machine;
    machine->profile = vmxsim_profile_builtin(vmxsim_profile_builtin_name(index));
    machine->memory = harness_memory(RAM_SIZE);
    machine->cpu = harness_processor(machine->memory, machine->profile);
    find_writable(machine);
    make_current(machine);
    REQUIRE(vmxsim_fuzz_loop_begin(&machine->loop, machine->memory, NULL, 0) == VMXC_OK,
            "no snapshot");
    return machine;
}

static void set_field(struct experiment *experiment, size_t ordinal, uint64_t value)
{
    if (experiment->machine->writable[ordinal])
        experiment->vmcs.value[ordinal] =
            value & vmxsim_vmcs_width_mask(vmxsim_vmcs_encoding(ordinal));
}

static void decode(struct vmxsim_fuzz_input *input, struct experiment *experiment)
{
    memset(experiment, 0, sizeof *experiment);
    experiment->machine = machine_at(vmxsim_fuzz_below(input, PROFILES));
    experiment->processor = vmxsim_entry_processor_default(VMCS_HPA);
    const uint32_t processor = (uint32_t)vmxsim_fuzz_take(input, 2);
    experiment->rounded = (processor & 1) == 0;
    experiment->look = (enum look)(processor >> 4 & 3);
    experiment->choice = processor >> 6;
    experiment->processor.vmresume = (processor & 2) != 0;
    experiment->processor.blocking_by_mov_ss = (processor & 0xf00) == 0x100;
    experiment->processor.launched = experiment->processor.vmresume;
    const uint32_t to_break = vmxsim_fuzz_below(input, VMXSIM_ENTRY_MAX_BROKEN + 1);
    struct rng random = rng_seeded(vmxsim_fuzz_take(input, 8));

    for (size_t i = 0; i < VMXC_VMCS_FIELD_COUNT; i++)
        set_field(experiment, i, random.state != 0 ? rng_next(&random) : 0);
    if (experiment->rounded) {
        vmxsim_entry_round(experiment->machine->profile, &experiment->processor, &experiment->vmcs);
        vmxsim_entry_break(experiment->machine->profile, &experiment->vmcs, to_break, &random.state,
                           &experiment->broken);
    }
    for (; input->left > 0; experiment->changed = true) {
        const size_t ordinal = vmxsim_fuzz_below(input, VMXC_VMCS_FIELD_COUNT);
        set_field(experiment, ordinal, vmxsim_fuzz_value(input));
    }
}

/* ---- Notes ---- */

static void note_processor(const struct vmxsim_entry_processor *processor)
{
    reproduce_value("struct vmxsim_entry_processor", "processor");
    reproduce_member("processor", "cr0", processor->cr0);
    reproduce_member("processor", "cr4", processor->cr4);
    reproduce_member("processor", "efer", processor->efer);
    reproduce_member("processor", "rflags", processor->rflags);
    reproduce_member("processor", "cpl", processor->cpl);
    reproduce_member("processor", "in_vmx", processor->in_vmx);
    reproduce_member("processor", "code_64bit", processor->code_64bit);
    reproduce_member("processor", "blocking_by_mov_ss", processor->blocking_by_mov_ss);
    reproduce_member("processor", "vmresume", processor->vmresume);
    reproduce_member("processor", "launched", processor->launched);
    reproduce_member("processor", "has_current", processor->has_current);
    reproduce_member("processor", "current_vmcs", processor->current_vmcs);
}

static void note_experiment(const struct experiment *experiment)
{
    const struct machine *const machine = experiment->machine;
    const char *const profile = vmxsim_profile_name(machine->profile);

    reproduce_machine(RAM_SIZE, profile, true);
    note_processor(&experiment->processor);
    reproduce_value("struct vmxsim_vmcs", "vmcs");
    reproduce_value("struct vmxsim_entry_input", "given");
    reproduce_value("struct vmxsim_entry_report", "report");
    reproduce_value("struct vmxsim_insn_result", "result");
    REPRODUCE("vmxsim_memory_write32(memory, 0x1000, 0x%" PRIx32 ")",
              vmxsim_memory_read32(machine->memory, VMXON_HPA));
    REPRODUCE("vmxsim_memory_write32(memory, 0x2000, 0x%" PRIx32 ")",
              vmxsim_memory_read32(machine->memory, VMCS_HPA));
    reproduce_elements("vmcs", "value", experiment->vmcs.value, VMXC_VMCS_FIELD_COUNT);
    REPRODUCE("given.vmcs = &vmcs");
    REPRODUCE("given.profile = vmxsim_profile_builtin(\"%s\")", profile);
    REPRODUCE("given.processor = &processor");
    REPRODUCE("given.memory = memory");
}

/* The last check: all is decided, and these rules are broken or are not. */
static void note_check(const struct vmxsim_entry_report *report)
{
    REPRODUCE("vmxsim_entry_check(&given, &report)");
    reproduce_look_begin();
    REPRODUCE_LOOK(0, "report.undecided_count");
    REPRODUCE_LOOK(report->violation_count == 0, "report.outcome[0].kind == %d",
                   VMXSIM_ENTRY_ENTERED);
}

/* ---- Checking ---- */

static void check(const struct experiment *experiment, const struct vmxsim_vmcs *vmcs,
                  struct vmxsim_entry_report *report)
{
    const struct vmxsim_entry_input input = {.vmcs = vmcs,
                                             .profile = experiment->machine->profile,
                                             .processor = &experiment->processor,
                                             .memory = experiment->machine->memory};
    vmxsim_entry_check(&input, report);
    note_check(report);
    REQUIRE(report->undecided_count == 0, "%s is undecided though all is known",
            rule_id(report->undecided[0].rule));
    REQUIRE(report->outcome_count > 0, "no outcome");
    REQUIRE((report->violation_count == 0) ==
                (report->outcome_count == 1 && report->outcome[0].kind == VMXSIM_ENTRY_ENTERED),
            "%" PRIu32 " violations, outcome %d", report->violation_count, report->outcome[0].kind);
    for (uint32_t i = 1; i < report->violation_count; i++)
        REQUIRE(report->violation[i - 1].rule < report->violation[i].rule, "%s after %s",
                rule_id(report->violation[i].rule), rule_id(report->violation[i - 1].rule));
}

static bool reports(const struct vmxsim_entry_report *report, enum vmxsim_entry_rule rule)
{
    for (uint32_t i = 0; i < report->violation_count; i++) {
        if (report->violation[i].rule == rule)
            return true;
    }
    return false;
}

/* Rules are reported in ascending order. */
static void note_broken(const struct vmxsim_entry_broken *broken)
{
    uint32_t at = 0;

    reproduce_look_begin();
    REPRODUCE_LOOK(broken->count, "report.violation_count");
    for (uint32_t rule = 0; rule < VMXSIM_ENTRY_RULE_COUNT; rule++) {
        for (uint32_t i = 0; i < broken->count; i++) {
            if ((uint32_t)broken->rule[i] == rule)
                REPRODUCE_LOOK(rule, "report.violation[%" PRIu32 "].rule", at++);
        }
    }
}

/* What was broken by recipe is what is reported, where the processor itself breaks nothing. */
static void compare_with_broken(const struct experiment *experiment,
                                const struct vmxsim_entry_report *report)
{
    if (!experiment->rounded || experiment->changed || experiment->processor.blocking_by_mov_ss)
        return;
    note_broken(&experiment->broken);
    for (uint32_t i = 0; i < experiment->broken.count; i++)
        REQUIRE(reports(report, experiment->broken.rule[i]), "%s was broken and is not reported",
                rule_id(experiment->broken.rule[i]));
    REQUIRE(report->violation_count == experiment->broken.count,
            "%" PRIu32 " rules were broken, %" PRIu32 " are reported, the first is %s",
            experiment->broken.count, report->violation_count, rule_id(report->violation[0].rule));
}

static void apply_changes(const struct experiment *experiment,
                          const struct vmxsim_entry_report *report, uint32_t index)
{
    const struct vmxsim_entry_violation *const violation = &report->violation[index];
    static struct vmxsim_entry_report after;
    struct vmxsim_vmcs vmcs = experiment->vmcs;

    for (unsigned k = 0; k < violation->change_count; k++) {
        const struct vmxsim_entry_change *change = &violation->change[k];
        const uint32_t encoding = vmxsim_vmcs_encoding(change->ordinal);
        REQUIRE((change->value & ~vmxsim_vmcs_width_mask(encoding)) == 0,
                "%s suggests %#" PRIx64 " for a narrower field", rule_id(violation->rule),
                change->value);
    }
    if (violation->change_count == 0)
        return;
    REPRODUCE("vmxsim_entry_apply(report.violation + %u, &vmcs)", index);
    vmxsim_entry_apply(violation, &vmcs);
    check(experiment, &vmcs, &after);
    reproduce_look_begin();
    for (uint32_t i = 0; i < after.violation_count; i++)
        REPRODUCE_LOOK(true, "report.violation[%" PRIu32 "].rule != %d", i, violation->rule);
    REQUIRE(!reports(&after, violation->rule),
            "%s is still broken after its changes, the first of field %#" PRIx32,
            rule_id(violation->rule), vmxsim_vmcs_encoding(violation->change[0].ordinal));
}

/* Each violation takes a check of its own. */
enum { EXPLAINED_VIOLATIONS = 4 };

static void explain(const struct experiment *experiment, const struct vmxsim_entry_report *report)
{
    const struct vmxsim_entry_input input = {.vmcs = &experiment->vmcs,
                                             .profile = experiment->machine->profile,
                                             .processor = &experiment->processor,
                                             .memory = experiment->machine->memory};

    if (report->violation_count > EXPLAINED_VIOLATIONS)
        return;
    char *const text = vmxsim_explain_entry(&input, report);
    REQUIRE(text != NULL, "no explanation");
    for (uint32_t i = 0; i < report->violation_count; i++)
        REQUIRE(strstr(text, rule_id(report->violation[i].rule)) != NULL, "%s is not explained",
                rule_id(report->violation[i].rule));
    free(text);
}

/* ---- Entering ---- */

static bool is_outcome(const struct vmxsim_insn_result *result,
                       const struct vmxsim_entry_outcome *outcome)
{
    switch (outcome->kind) {
    case VMXSIM_ENTRY_ENTERED:
        return result->kind == VMXSIM_INSN_ENTERED;
    case VMXSIM_ENTRY_VMFAIL_VALID:
        return result->kind == VMXSIM_INSN_FAIL_VALID && result->error == outcome->number;
    case VMXSIM_ENTRY_FAILURE:
        return result->kind == VMXSIM_INSN_ENTRY_FAILURE &&
               result->exit_reason == outcome->number &&
               result->qualification == outcome->qualification;
    default:
        return false;
    }
}

/* VMLAUNCH, and what the check says of it. */
static void note_entry(const struct experiment *experiment,
                       const struct vmxsim_entry_report *expected)
{
    REPRODUCE_CALL(VMXC_OK, "vmxsim_insn_vmxon(cpu, 0x1000, &result)");
    REPRODUCE_CALL(VMXC_OK, "vmxsim_insn_vmclear(cpu, 0x2000, &result)");
    REPRODUCE_CALL(VMXC_OK, "vmxsim_insn_vmptrld(cpu, 0x2000, &result)");
    for (size_t i = 0; i < VMXC_VMCS_FIELD_COUNT; i++) {
        if (experiment->machine->writable[i] && experiment->vmcs.value[i] != 0)
            REPRODUCE_CALL(VMXC_OK,
                           "vmxsim_insn_vmwrite(cpu, 0x%" PRIx32 ", 0x%" PRIx64 ", &result)",
                           vmxsim_vmcs_encoding(i), experiment->vmcs.value[i]);
    }
    reproduce_look_begin();
    REPRODUCE_LOOK(VMXC_OK, "vmxsim_insn_vmlaunch(cpu, &report, &result)");
    REPRODUCE_LOOK(expected->violation_count, "report.violation_count");
    if (expected->violation_count == 0)
        REPRODUCE_LOOK(VMXSIM_INSN_ENTERED, "result.kind");
}

static void enter_and_leave(const struct experiment *experiment,
                            const struct vmxsim_entry_report *expected)
{
    const struct machine *const machine = experiment->machine;
    static struct vmxsim_entry_report report;

    if (experiment->processor.vmresume || experiment->processor.blocking_by_mov_ss)
        return;
    note_entry(experiment, expected);
    for (size_t i = 0; i < VMXC_VMCS_FIELD_COUNT; i++) {
        if (machine->writable[i] && experiment->vmcs.value[i] != 0)
            must_succeed(vmxsim_insn_vmwrite(machine->cpu, vmxsim_vmcs_encoding(i),
                                             experiment->vmcs.value[i], &last),
                         "VMWRITE");
    }
    const enum vmxc_status status = vmxsim_insn_vmlaunch(machine->cpu, &report, &last);
    if (status == VMXC_UNSUPPORTED)
        return; /* the model refuses a control */
    REQUIRE(status == VMXC_OK, "VMLAUNCH: status %d", status);
    REQUIRE(report.violation_count == expected->violation_count,
            "VMLAUNCH finds %" PRIu32 " violations, the check %" PRIu32, report.violation_count,
            expected->violation_count);
    REQUIRE(is_outcome(&last, &expected->outcome[0]), "VMLAUNCH comes to kind %d, not %d",
            last.kind, expected->outcome[0].kind);
    if (last.kind != VMXSIM_INSN_ENTERED)
        return;
    const enum vmxc_status left = vmxsim_insn_vmcall(machine->cpu, &last);
    REQUIRE(left == VMXC_UNSUPPORTED || left == VMXC_OK, "VMCALL: status %d", left);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct vmxsim_entry_report report;
    struct vmxsim_fuzz_input input = {.next = data, .left = size};
    struct experiment experiment;

    decode(&input, &experiment);
    harness_next(&experiment.machine->loop);
    harness_reproduces(data, size);
    if (reproducing)
        note_experiment(&experiment);
    check(&experiment, &experiment.vmcs, &report);
    compare_with_broken(&experiment, &report);
    if (experiment.look == LOOK_AT_ENTRY)
        enter_and_leave(&experiment, &report);
    else if (experiment.look == LOOK_AT_CHANGES && report.violation_count > 0)
        apply_changes(&experiment, &report, experiment.choice % report.violation_count);
    else if (experiment.look == LOOK_AT_EXPLANATION)
        explain(&experiment, &report);
    return 0;
}
