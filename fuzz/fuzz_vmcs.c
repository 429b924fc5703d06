/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random and near-valid VMCSs: check, explain, enter, exit.
 *
 *  - A state that was rounded to a valid one and then broken in k ways breaks exactly those k rules.
 *  - Applying the change that a violation suggests removes that violation.
 *  - VMLAUNCH or VMRESUME of that VMCS does what the check says, and a guest that was entered can leave.
 *
 * Input: profile (1 byte), processor (2), rules to break (1), seed (8), then fields to set, each an ordinal (1) and a
 * value (vmxsim_fuzz_value). Odd processor bytes turn rounding off.
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
} machines[PROFILES];

struct experiment {
    struct machine *machine;
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

static struct machine *machine_at(unsigned index)
{
    struct machine *const machine = &machines[index];
    const struct vmxsim_range ram = {.base = 0, .length = RAM_SIZE};
    const struct vmxsim_memory_config config = {.ram = &ram, .ram_count = 1, .no_poison = true};

    if (machine->cpu != NULL)
        return machine;
    machine->profile = vmxsim_profile_builtin(vmxsim_profile_builtin_name(index));
    REQUIRE(vmxsim_memory_create(&config, &machine->memory, NULL) == VMXC_OK &&
                vmxsim_cpu_create(machine->memory, machine->profile, &machine->cpu) == VMXC_OK,
            "no machine");
    return machine;
}

/* Fields that VMWRITE reaches: others of a VMCS in use are 0. */
static bool is_writable(const struct machine *machine, size_t ordinal)
{
    const uint32_t encoding = vmxsim_vmcs_encoding(ordinal);
    return vmxsim_profile_has_field(machine->profile, encoding) &&
           VMXC_FIELD_GET((uint64_t)encoding, VMXC_VMCS_ENCODING_TYPE) != VMXC_VMCS_TYPE_READ_ONLY;
}

static void set_field(struct experiment *experiment, size_t ordinal, uint64_t value)
{
    if (is_writable(experiment->machine, ordinal))
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

/* ---- Checking ---- */

static void check(const struct experiment *experiment, const struct vmxsim_vmcs *vmcs,
                  struct vmxsim_entry_report *report)
{
    const struct vmxsim_entry_input input = {.vmcs = vmcs,
                                             .profile = experiment->machine->profile,
                                             .processor = &experiment->processor,
                                             .memory = experiment->machine->memory};
    vmxsim_entry_check(&input, report);
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

/* What was broken by recipe is what is reported, where the processor itself breaks nothing. */
static void compare_with_broken(const struct experiment *experiment,
                                const struct vmxsim_entry_report *report)
{
    if (!experiment->rounded || experiment->changed || experiment->processor.blocking_by_mov_ss)
        return;
    for (uint32_t i = 0; i < experiment->broken.count; i++)
        REQUIRE(reports(report, experiment->broken.rule[i]), "%s was broken and is not reported",
                rule_id(experiment->broken.rule[i]));
    REQUIRE(report->violation_count == experiment->broken.count,
            "%" PRIu32 " rules were broken, %" PRIu32 " are reported, the first is %s",
            experiment->broken.count, report->violation_count, rule_id(report->violation[0].rule));
}

static void apply_changes(const struct experiment *experiment,
                          const struct vmxsim_entry_report *report)
{
    static struct vmxsim_entry_report after;

    for (uint32_t i = 0; i < report->violation_count; i++) {
        const struct vmxsim_entry_violation *violation = &report->violation[i];
        if (violation->change_count == 0)
            continue;
        for (unsigned k = 0; k < violation->change_count; k++) {
            const struct vmxsim_entry_change *change = &violation->change[k];
            const uint32_t encoding = vmxsim_vmcs_encoding(change->ordinal);
            REQUIRE((change->value & ~vmxsim_vmcs_width_mask(encoding)) == 0,
                    "%s suggests %#" PRIx64 " for a narrower field", rule_id(violation->rule),
                    change->value);
        }
        struct vmxsim_vmcs vmcs = experiment->vmcs;
        vmxsim_entry_apply(violation, &vmcs);
        check(experiment, &vmcs, &after);
        REQUIRE(!reports(&after, violation->rule),
                "%s is still broken after its changes, the first of field %#" PRIx32,
                rule_id(violation->rule), vmxsim_vmcs_encoding(violation->change[0].ordinal));
    }
}

static void explain(const struct experiment *experiment, const struct vmxsim_entry_report *report)
{
    const struct vmxsim_entry_input input = {.vmcs = &experiment->vmcs,
                                             .profile = experiment->machine->profile,
                                             .processor = &experiment->processor,
                                             .memory = experiment->machine->memory};
    char *const text = vmxsim_explain_entry(&input, report);
    REQUIRE(text != NULL, "no explanation");
    for (uint32_t i = 0; i < report->violation_count; i++)
        REQUIRE(strstr(text, rule_id(report->violation[i].rule)) != NULL, "%s is not explained",
                rule_id(report->violation[i].rule));
    free(text);
}

/* ---- Entering ---- */

static struct vmxsim_insn_result last;

static void must_succeed(enum vmxc_status status, const char *what)
{
    REQUIRE(status == VMXC_OK && last.kind == VMXSIM_INSN_SUCCEEDED, "%s", what);
}

static void make_current(struct machine *machine)
{
    uint64_t basic = 0;
    struct vmxsim_cpu *const cpu = machine->cpu;
    const struct vmxsim_root_state root = {.cr0 = 0x80000031, .cr4 = 0x2020, .efer = 0x500};

    REQUIRE(vmxsim_profile_msr(machine->profile, VMXC_MSR_VMX_BASIC, &basic) == VMXC_OK, "no VMX");
    vmxsim_memory_reset(machine->memory);
    vmxsim_cpu_reset(cpu, &root);
    vmxsim_memory_write32(machine->memory, VMXON_HPA, (uint32_t)(basic & VMXC_VMX_BASIC_REVISION));
    vmxsim_memory_write32(machine->memory, VMCS_HPA, (uint32_t)(basic & VMXC_VMX_BASIC_REVISION));
    must_succeed(vmxsim_insn_vmxon(cpu, VMXON_HPA, &last), "VMXON");
    must_succeed(vmxsim_insn_vmclear(cpu, VMCS_HPA, &last), "VMCLEAR");
    must_succeed(vmxsim_insn_vmptrld(cpu, VMCS_HPA, &last), "VMPTRLD");
}

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

static void enter_and_leave(const struct experiment *experiment,
                            const struct vmxsim_entry_report *expected)
{
    struct machine *const machine = experiment->machine;
    static struct vmxsim_entry_report report;

    if (experiment->processor.vmresume || experiment->processor.blocking_by_mov_ss)
        return;
    make_current(machine);
    for (size_t i = 0; i < VMXC_VMCS_FIELD_COUNT; i++) {
        if (is_writable(machine, i))
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
    make_current(experiment.machine);
    check(&experiment, &experiment.vmcs, &report);
    compare_with_broken(&experiment, &report);
    explain(&experiment, &report);
    apply_changes(&experiment, &report);
    enter_and_leave(&experiment, &report);
    return 0;
}
