/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs a case of kind `instructions`: VMX instructions and helpers one after the other on a processor that starts outside
 * VMX operation. What a step comes to is put into the words of `expect` and compared key by key; the first step
 * that differs ends the case, because the states have parted there.
 *
 * Where several VM-entry rules are broken, the manual leaves open which one a processor finds first. If the recording's
 * outcome is one of those that the rules allow, the model takes the same turn, so that later steps compare.
 */
#include "internal/insn.h"
#include "internal/replay.h"
#include "internal/writer.h"

#include <inttypes.h>
#include <string.h>

/* What a step came to, as `expect` says it. */
struct step_outcome {
    const char *status;
    bool has_value, has_exit_reason, has_qualification;
    struct vmxsim_insn_result result;
};

struct step {
    struct vmxsim_vector_file *file;
    const json_t *value, *expect;
};

typedef enum vmxc_status run_step(const struct step *step, struct step_outcome *outcome);

static uint64_t number(const json_t *object, const char *key)
{
    uint64_t value = 0;

    (void)vmxsim_checked_find(object, key, &value);
    return value;
}

/* ---- Instructions ---- */

static enum vmxc_status run_vmxon(const struct step *step, struct step_outcome *outcome)
{
    return vmxsim_insn_vmxon(step->file->cpu, number(step->value, "address"), &outcome->result);
}

static enum vmxc_status run_vmxoff(const struct step *step, struct step_outcome *outcome)
{
    return vmxsim_insn_vmxoff(step->file->cpu, &outcome->result);
}

static enum vmxc_status run_vmclear(const struct step *step, struct step_outcome *outcome)
{
    return vmxsim_insn_vmclear(step->file->cpu, number(step->value, "address"), &outcome->result);
}

static enum vmxc_status run_vmptrld(const struct step *step, struct step_outcome *outcome)
{
    return vmxsim_insn_vmptrld(step->file->cpu, number(step->value, "address"), &outcome->result);
}

/* The recording has no operand in memory unless it names one. */
static enum vmxc_status run_vmptrst(const struct step *step, struct step_outcome *outcome)
{
    uint64_t hpa;

    VMXC_TRY(vmxsim_insn_vmptrst(step->file->cpu, &outcome->result));
    outcome->has_value = true;
    if (outcome->result.kind == VMXSIM_INSN_SUCCEEDED &&
        vmxsim_checked_find(step->value, "address", &hpa))
        vmxsim_memory_write64(step->file->memory, hpa, outcome->result.value);
    return VMXC_OK;
}

static enum vmxc_status run_vmread(const struct step *step, struct step_outcome *outcome)
{
    outcome->has_value = true;
    return vmxsim_insn_vmread(step->file->cpu, number(step->value, "field"), &outcome->result);
}

static enum vmxc_status run_vmwrite(const struct step *step, struct step_outcome *outcome)
{
    return vmxsim_insn_vmwrite(step->file->cpu, number(step->value, "field"),
                               number(step->value, "value"), &outcome->result);
}

static enum vmxc_status run_vmcall(const struct step *step, struct step_outcome *outcome)
{
    return vmxsim_insn_vmcall(step->file->cpu, &outcome->result);
}

static enum vmxc_status run_vmfunc(const struct step *step, struct step_outcome *outcome)
{
    return vmxsim_insn_vmfunc(step->file->cpu, 0, 0, &outcome->result);
}

static void read_descriptor(const json_t *step, uint64_t descriptor[2])
{
    const json_t *const quadwords = json_object_get(step, "descriptor");

    for (size_t i = 0; i < 2; i++)
        descriptor[i] = vmxsim_checked_hex(json_array_get(quadwords, i));
}

static enum vmxc_status run_invept(const struct step *step, struct step_outcome *outcome)
{
    uint64_t descriptor[2];

    read_descriptor(step->value, descriptor);
    return vmxsim_insn_invept(step->file->cpu, number(step->value, "type"), descriptor,
                              &outcome->result);
}

static enum vmxc_status run_invvpid(const struct step *step, struct step_outcome *outcome)
{
    uint64_t descriptor[2];

    read_descriptor(step->value, descriptor);
    return vmxsim_insn_invvpid(step->file->cpu, number(step->value, "type"), descriptor,
                               &outcome->result);
}

/* ---- VM entries ---- */

/* The outcome of the VM-entry checks that `expect` stands for. */
static struct vmxsim_entry_outcome expected_entry(const json_t *expect)
{
    const char *const status = json_string_value(json_object_get(expect, "status"));
    struct vmxsim_entry_outcome outcome = {.kind = VMXSIM_ENTRY_ENTERED};

    if (strcmp(status, "vmfail_valid") == 0) {
        outcome.kind = VMXSIM_ENTRY_VMFAIL_VALID;
        outcome.number = (uint32_t)number(expect, "error");
    } else if (strcmp(status, "entry_failure") == 0) {
        outcome.kind = VMXSIM_ENTRY_FAILURE;
        outcome.number = (uint32_t)number(expect, "exit_reason");
        outcome.qualification = number(expect, "qualification");
    }
    return outcome;
}

/* The guest's first instruction is VMCALL. */
static enum vmxc_status run_entry(const struct step *step, bool vmresume,
                                  struct step_outcome *outcome)
{
    struct vmxsim_vector_file *const file = step->file;
    struct vmxsim_entry_outcome preferred = {.kind = VMXSIM_ENTRY_ENTERED};

    if (step->expect != NULL)
        preferred = expected_entry(step->expect);
    VMXC_TRY(vmxsim_insn_enter(file->cpu, vmresume, step->expect != NULL ? &preferred : NULL,
                               &file->entry_report, &outcome->result));
    outcome->has_qualification = outcome->result.kind == VMXSIM_INSN_ENTRY_FAILURE;
    if (outcome->result.kind == VMXSIM_INSN_ENTERED)
        VMXC_TRY(vmxsim_insn_vmcall(file->cpu, &outcome->result));
    outcome->has_exit_reason = outcome->result.kind == VMXSIM_INSN_ENTRY_FAILURE ||
                               outcome->result.kind == VMXSIM_INSN_VM_EXIT;
    return VMXC_OK;
}

static enum vmxc_status run_vmlaunch(const struct step *step, struct step_outcome *outcome)
{
    return run_entry(step, false, outcome);
}

static enum vmxc_status run_vmresume(const struct step *step, struct step_outcome *outcome)
{
    return run_entry(step, true, outcome);
}

/* ---- Helpers ---- */

static enum vmxc_status run_poke(const struct step *step, struct step_outcome *outcome)
{
    const uint64_t value = number(step->value, "value");
    uint8_t bytes[8];

    for (unsigned i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(value >> 8 * i);
    vmxsim_memory_write(step->file->memory, number(step->value, "address"), bytes,
                        (size_t)number(step->value, "size"));
    return vmxsim_insn_complete(&outcome->result);
}

static enum vmxc_status run_peek(const struct step *step, struct step_outcome *outcome)
{
    uint8_t bytes[8] = {0};

    vmxsim_memory_read(step->file->memory, number(step->value, "address"), bytes,
                       (size_t)number(step->value, "size"));
    for (unsigned i = 0; i < sizeof bytes; i++)
        outcome->result.value |= (uint64_t)bytes[i] << 8 * i;
    outcome->has_value = true;
    return vmxsim_insn_complete(&outcome->result);
}

static enum vmxc_status run_set_cr0(const struct step *step, struct step_outcome *outcome)
{
    return vmxsim_insn_mov_to_cr0(step->file->cpu, number(step->value, "value"), &outcome->result);
}

static enum vmxc_status run_set_cr4(const struct step *step, struct step_outcome *outcome)
{
    return vmxsim_insn_mov_to_cr4(step->file->cpu, number(step->value, "value"), &outcome->result);
}

static enum vmxc_status run_rdmsr(const struct step *step, struct step_outcome *outcome)
{
    outcome->has_value = true;
    return vmxsim_insn_rdmsr(step->file->cpu, (uint32_t)number(step->value, "msr"),
                             &outcome->result);
}

static enum vmxc_status run_wrmsr(const struct step *step, struct step_outcome *outcome)
{
    return vmxsim_insn_wrmsr(step->file->cpu, (uint32_t)number(step->value, "msr"),
                             number(step->value, "value"), &outcome->result);
}

static enum vmxc_status fill_fields(struct vmxsim_cpu *cpu, json_t *fields)
{
    struct vmxsim_insn_result ignored;
    const char *key;
    json_t *value;

    json_object_foreach(fields, key, value)
    {
        VMXC_TRY(vmxsim_insn_vmwrite(cpu, vmxsim_checked_hex_key(key), vmxsim_checked_hex(value),
                                     &ignored));
    }
    return VMXC_OK;
}

/* Every field that the template or the changes name; without a current VMCS nothing comes of it. */
static enum vmxc_status run_fill(const struct step *step, struct step_outcome *outcome)
{
    const json_t *const reference = json_object_get(step->value, "vmcs");
    const char *const name = json_string_value(json_array_get(reference, 0));

    VMXC_TRY(fill_fields(step->file->cpu, json_object_get(step->file->vmcs_fields, name)));
    VMXC_TRY(fill_fields(step->file->cpu, json_array_get(reference, 1)));
    return vmxsim_insn_complete(&outcome->result);
}

static const struct {
    const char *name;
    run_step *run;
} operations[] = {
    {"vmxon", run_vmxon},     {"vmxoff", run_vmxoff},     {"vmclear", run_vmclear},
    {"vmptrld", run_vmptrld}, {"vmptrst", run_vmptrst},   {"vmread", run_vmread},
    {"vmwrite", run_vmwrite}, {"vmlaunch", run_vmlaunch}, {"vmresume", run_vmresume},
    {"vmcall", run_vmcall},   {"vmfunc", run_vmfunc},     {"invept", run_invept},
    {"invvpid", run_invvpid}, {"poke", run_poke},         {"peek", run_peek},
    {"set_cr0", run_set_cr0}, {"set_cr4", run_set_cr4},   {"rdmsr", run_rdmsr},
    {"wrmsr", run_wrmsr},     {"fill", run_fill},
};

static run_step *find_operation(const char *name)
{
    size_t i = 0;

    while (strcmp(operations[i].name, name) != 0) /* the case was checked: it is there */
        i++;
    return operations[i].run;
}

/* ---- Comparison ---- */

static const char *status_of(const struct vmxsim_insn_result *result)
{
    switch (result->kind) {
    case VMXSIM_INSN_SUCCEEDED:
    case VMXSIM_INSN_ENTERED:
    case VMXSIM_INSN_VM_EXIT: /* of the guest that was entered */
        return "ok";
    case VMXSIM_INSN_FAIL_INVALID:
        return "vmfail_invalid";
    case VMXSIM_INSN_FAIL_VALID:
        return "vmfail_valid";
    case VMXSIM_INSN_EXCEPTION:
        return "exception";
    case VMXSIM_INSN_ENTRY_FAILURE:
        return "entry_failure";
    case VMXSIM_INSN_UNDECIDED:
        break;
    }
    return "?";
}

static void add_why(struct vmxsim_text *text, const struct vmxsim_insn_result *result)
{
    if (result->rule == VMXSIM_INSN_NONE)
        return;
    if (result->rule == VMXSIM_INSN_ENTRY) {
        const struct vmxsim_entry_rule_info *info = vmxsim_entry_rule_info(result->entry_rule);
        vmxsim_text_add(text, " by %s: %s", info->id, info->sentence);
    } else {
        const struct vmxsim_insn_rule_info *info = vmxsim_insn_rule_info(result->rule);
        vmxsim_text_add(text, " by %s: %s", info->id, info->sentence);
    }
}

/* One key of `expect`; true if it is not there or agrees. */
static bool agrees(const struct step *step, const char *key, bool exists, uint64_t observed)
{
    struct vmxsim_text *const text = &step->file->reason;
    uint64_t expected;

    if (!vmxsim_checked_find(step->expect, key, &expected))
        return true;
    const uint64_t open = number(json_object_get(step->expect, "open"), key);
    if (exists && ((expected ^ observed) & ~open) == 0)
        return true;
    vmxsim_text_add(text, "%s: expected 0x%" PRIx64 ", observed ", key, expected);
    if (exists)
        vmxsim_text_add(text, "0x%" PRIx64, observed);
    else
        vmxsim_text_add(text, "none");
    return false;
}

static bool compare(const struct step *step, const struct step_outcome *outcome)
{
    const struct vmxsim_insn_result *const result = &outcome->result;
    const char *const expected = json_string_value(json_object_get(step->expect, "status"));
    bool same = strcmp(expected, outcome->status) == 0;

    if (!same)
        vmxsim_text_add(&step->file->reason, "status: expected %s, observed %s", expected,
                        outcome->status);
    same = same && agrees(step, "error", result->kind == VMXSIM_INSN_FAIL_VALID, result->error) &&
           agrees(step, "vector", result->kind == VMXSIM_INSN_EXCEPTION, result->vector) &&
           agrees(step, "error_code", result->has_error_code, result->error_code) &&
           agrees(step, "value", outcome->has_value, result->value) &&
           agrees(step, "exit_reason", outcome->has_exit_reason, result->exit_reason) &&
           agrees(step, "qualification", outcome->has_qualification, result->qualification);
    if (!same)
        add_why(&step->file->reason, result);
    return same;
}

/* ---- Recording ---- */

/* The step's outcome as an element of `expect`. A value exists only where the step succeeds. */
static json_t *record(const struct step_outcome *outcome)
{
    const struct vmxsim_insn_result *const result = &outcome->result;
    json_t *const object = json_object();

    (void)json_object_set_new(object, "status", json_string(outcome->status));
    vmxsim_add_number(object, "error", result->kind == VMXSIM_INSN_FAIL_VALID, result->error);
    vmxsim_add_number(object, "vector", result->kind == VMXSIM_INSN_EXCEPTION, result->vector);
    vmxsim_add_hex(object, "error_code", result->has_error_code, result->error_code);
    vmxsim_add_hex(object, "value", outcome->has_value && result->kind == VMXSIM_INSN_SUCCEEDED,
                   result->value);
    vmxsim_add_number(object, "exit_reason", outcome->has_exit_reason, result->exit_reason);
    vmxsim_add_hex(object, "qualification", outcome->has_qualification, result->qualification);
    return object;
}

static void trace(struct vmxsim_vector_file *file, const struct vmxsim_insn_result *result)
{
    if (result->rule == VMXSIM_INSN_ENTRY)
        vmxsim_trace_rule(file, vmxsim_entry_rule_info(result->entry_rule)->id);
    else if (result->rule != VMXSIM_INSN_NONE)
        vmxsim_trace_rule(file, vmxsim_insn_rule_info(result->rule)->id);
}

/* ---- The case ---- */

/* Errors of the model; none that a case can lead to but an abort. */
static enum vmxc_status run_one(const struct step *step, size_t index, bool *same)
{
    const char *const op = json_string_value(json_object_get(step->value, "op"));
    struct step_outcome outcome = {.status = "?"};

    vmxsim_text_add(&step->file->reason, "steps[%zu] %s: ", index, op);
    const enum vmxc_status status = find_operation(op)(step, &outcome);
    if (status != VMXC_OK)
        return status;
    outcome.status = status_of(&outcome.result);
    if (step->file->recording) {
        (void)json_array_append_new(step->file->answer, record(&outcome));
        trace(step->file, &outcome.result);
    }
    *same = step->file->recording || compare(step, &outcome);
    if (*same)
        vmxsim_text_clear(&step->file->reason);
    else
        vmxsim_text_add(&step->file->reason, "\n");
    return VMXC_OK;
}

/* Errors: VMXC_NO_MEMORY. What the model does not have leaves the case without a verdict. */
static enum vmxc_status run_steps(struct vmxsim_vector_file *file,
                                  const struct vmxsim_vector_case *vector,
                                  enum vmxsim_case_verdict *verdict)
{
    const json_t *const steps = json_object_get(vector->value, "steps");
    bool same = true;

    for (size_t i = 0; i < json_array_size(steps) && same; i++) {
        const struct step step = {.file = file,
                                  .value = json_array_get(steps, i),
                                  .expect = json_array_get(vector->verdict, i)};
        const enum vmxc_status status = run_one(&step, i, &same);
        if (status == VMXC_NO_MEMORY)
            return status;
        if (status != VMXC_OK) {
            vmxsim_text_add(&file->reason, "%s\n", vmxsim_status_name(status));
            *verdict = VMXSIM_CASE_UNSUPPORTED;
            return VMXC_OK;
        }
    }
    *verdict = same ? VMXSIM_CASE_AGREES : VMXSIM_CASE_DIFFERS;
    return VMXC_OK;
}

enum vmxc_status vmxsim_run_instructions(struct vmxsim_vector_file *file,
                                         const struct vmxsim_vector_case *vector,
                                         vmxsim_access_visit *visit, void *context,
                                         enum vmxsim_case_verdict *verdict,
                                         struct vmxsim_error *error)
{
    (void)visit;
    (void)context;
    vmxsim_build_memory(file, json_object_get(vector->value, "memory"));
    vmxsim_cpu_reset(file->cpu, vector->root);
    if (file->recording)
        vmxsim_answer(file, json_array());
    const enum vmxc_status status = run_steps(file, vector, verdict);
    vmxsim_cpu_reset(file->cpu, vector->root); /* the next case may be of another kind */
    return status == VMXC_OK
               ? VMXC_OK
               : vmxsim_error_set(error, status, "%s: no host memory left", file->document);
}
