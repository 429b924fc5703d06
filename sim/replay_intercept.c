/* SPDX-License-Identifier: Apache-2.0 */
/* Runs a case of kind `intercept`: VM entry from the templates, one instruction, what became of it. */
#include "internal/replay.h"

#include "vmxsim/intercept.h"

#include <string.h>

static uint64_t number(const json_t *instruction, const char *key)
{
    uint64_t value = 0;

    (void)vmxsim_checked_find(instruction, key, &value);
    return value;
}

static struct vmxsim_io read_io(const json_t *instruction, const char *op)
{
    return (struct vmxsim_io){
        .port = (uint16_t)number(instruction, "port"),
        .size = (uint8_t)number(instruction, "size"),
        .in = strcmp(op, "in") == 0 || strcmp(op, "ins") == 0,
        .string = strcmp(op, "ins") == 0 || strcmp(op, "outs") == 0,
        .immediate = json_is_true(json_object_get(instruction, "immediate")),
        .rep = json_is_true(json_object_get(instruction, "rep")),
        .count = number(instruction, "count"),
        .linear = number(instruction, "linear"),
        .address_size = (uint8_t)number(instruction, "address_size"),
        .segment = (uint8_t)number(instruction, "segment"),
    };
}

static enum vmxc_status execute(struct vmxsim_cpu *cpu, const json_t *instruction,
                                struct vmxsim_outcome *outcome)
{
    const char *const op = json_string_value(json_object_get(instruction, "op"));

    if (vmxsim_is_named_instruction(instruction))
        return vmxsim_run_named_instruction(cpu, instruction, outcome);
    if (strcmp(op, "rdmsr") == 0)
        return vmxsim_guest_rdmsr(cpu, (uint32_t)number(instruction, "msr"), outcome);
    if (strcmp(op, "wrmsr") == 0)
        return vmxsim_guest_wrmsr(cpu, (uint32_t)number(instruction, "msr"),
                                  number(instruction, "value"), outcome);
    const struct vmxsim_io io = read_io(instruction, op);
    return vmxsim_guest_io(cpu, &io, outcome);
}

enum vmxc_status vmxsim_run_intercept(struct vmxsim_vector_file *file,
                                      const struct vmxsim_vector_case *vector,
                                      vmxsim_access_visit *visit, void *context,
                                      enum vmxsim_case_verdict *verdict, struct vmxsim_error *error)
{
    struct vmxsim_outcome outcome;
    uint64_t matched;

    (void)visit;
    (void)context;
    *verdict = VMXSIM_CASE_UNSUPPORTED;
    vmxsim_prepare_memory(file, json_object_get(vector->value, "memory"));
    if (file->run.failed)
        return vmxsim_error_set(error, VMXC_NO_MEMORY, "%s: no host memory left", file->document);
    if (vmxsim_case_entry(file, vector).kind != VMXSIM_ENTRY_ENTERED) {
        *verdict = vmxsim_entry_verdict(file, vector);
        return VMXC_OK;
    }
    if (!vmxsim_prepare_guest(file, vector))
        return VMXC_OK;
    switch (execute(file->cpu, json_object_get(vector->value, "instruction"), &outcome)) {
    case VMXC_OK:
        break;
    case VMXC_UNSUPPORTED:
        vmxsim_text_add(&file->reason, "what the instruction does is not modelled");
        return VMXC_OK;
    default:
        vmxsim_text_add(&file->reason, "no guest can execute the instruction with these operands");
        return VMXC_OK;
    }
    if (file->recording) {
        vmxsim_answer_outcome(file, vector, &outcome, VMXSIM_ACCESS_FETCH, NULL);
        *verdict = VMXSIM_CASE_AGREES;
        return VMXC_OK;
    }
    *verdict = vmxsim_access_matches(file, vector, &outcome, &matched) ? VMXSIM_CASE_AGREES
                                                                       : VMXSIM_CASE_DIFFERS;
    return VMXC_OK;
}
