/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a case came to on the model, in the words of `expect`: the counterpart of the comparison, for recording. Without
 * host memory the answer is NULL, or lacks a member that jansson had none for (CAVEATS.md).
 */
#include "internal/deliver.h"
#include "internal/replay.h"

#include "vmxcore/defs/controls.h"
#include "vmxcore/defs/exit_reason.h"
#include "vmxcore/defs/paging.h"
#include "vmxsim/guest.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

void vmxsim_answer(struct vmxsim_vector_file *file, json_t *answer)
{
    json_decref(file->answer);
    file->answer = answer;
}

json_t *vmxsim_hex(uint64_t value)
{
    return json_sprintf("0x%" PRIx64, value);
}

void vmxsim_add_hex(json_t *object, const char *key, bool exists, uint64_t value)
{
    if (exists)
        (void)json_object_set_new(object, key, vmxsim_hex(value));
}

void vmxsim_add_number(json_t *object, const char *key, bool exists, uint64_t value)
{
    if (exists)
        (void)json_object_set_new(object, key, json_integer((json_int_t)value));
}

static json_t *result_named(const char *name)
{
    return json_pack("{s:s}", "result", name);
}

/* ---- What led to it ---- */

static void add_to_trace(struct vmxsim_vector_file *file, const char *key, json_t *element)
{
    if (json_object_get(file->trace, key) == NULL)
        (void)json_object_set_new(file->trace, key, json_array());
    (void)json_array_append_new(json_object_get(file->trace, key), element);
}

void vmxsim_trace_rule(struct vmxsim_vector_file *file, const char *id)
{
    add_to_trace(file, "rules", json_string(id));
}

/* A log write follows the EPT entries of the address that it is about, which it cuts to the page. */
void vmxsim_trace_access(struct vmxsim_vector_file *file, size_t index,
                         const struct vmxsim_trail *trail)
{
    (void)json_object_set_new(file->trace, "access", json_integer((json_int_t)index));
    for (uint32_t i = 1; i < trail->count; i++) {
        if (trail->entry[i].kind == VMXSIM_TRAIL_PML_WRITE)
            add_to_trace(file, "logged", vmxsim_hex(trail->entry[i - 1].gpa));
    }
}

/* The paging-structure entries that the last access read, in order. */
static void trace_entries(struct vmxsim_vector_file *file, const struct vmxsim_trail *trail)
{
    for (uint32_t i = 0; i < trail->count; i++) {
        const struct vmxsim_trail_entry *const entry = &trail->entry[i];
        const bool guest = entry->kind == VMXSIM_TRAIL_GUEST_ENTRY;
        if ((!guest && entry->kind != VMXSIM_TRAIL_EPT_ENTRY) || entry->is_register)
            continue;
        add_to_trace(file, guest ? "guest_entries" : "ept_entries",
                     json_pack("{s:I,s:I,s:b,s:o,s:o}", "page", (json_int_t)entry->page, "level",
                               (json_int_t)entry->level, "leaf", (int)entry->leaf, "address",
                               vmxsim_hex(entry->hpa), "value", vmxsim_hex(entry->value)));
    }
}

/* ---- VM entries ---- */

static json_t *entry_outcome(const struct vmxsim_entry_outcome *outcome)
{
    switch (outcome->kind) {
    case VMXSIM_ENTRY_ENTERED:
        return result_named("entered");
    case VMXSIM_ENTRY_VMFAIL_INVALID:
        return json_pack("{s:s,s:s}", "result", "vmfail", "kind", "invalid");
    case VMXSIM_ENTRY_VMFAIL_VALID:
        return json_pack("{s:s,s:s,s:I}", "result", "vmfail", "kind", "valid", "error",
                         (json_int_t)outcome->number);
    case VMXSIM_ENTRY_FAILURE:
        return json_pack("{s:s,s:I,s:o}", "result", "entry_failure", "exit_reason",
                         (json_int_t)outcome->number, "qualification",
                         vmxsim_hex(outcome->qualification));
    case VMXSIM_ENTRY_EXCEPTION:
    case VMXSIM_ENTRY_VM_EXIT:
        break; /* `expect` has no words for them: nobody asks */
    }
    return NULL;
}

static void trace_violation(struct vmxsim_vector_file *file,
                            const struct vmxsim_entry_violation *violation)
{
    const char *const id = vmxsim_entry_rule_info(violation->rule)->id;

    vmxsim_trace_rule(file, id);
    add_to_trace(
        file, "violated",
        json_pack("{s:s,s:o}", "rule", id, "qualification", vmxsim_hex(violation->qualification)));
}

void vmxsim_answer_entry(struct vmxsim_vector_file *file)
{
    const struct vmxsim_entry_report *const report = &file->entry_report;
    json_t *const alternatives = json_array();

    for (uint32_t i = 0; i < report->violation_count; i++)
        trace_violation(file, &report->violation[i]);
    if (report->outcome_count == 1) {
        json_decref(alternatives);
        vmxsim_answer(file, entry_outcome(&report->outcome[0]));
        return;
    }
    for (uint32_t i = 0; i < report->outcome_count; i++)
        (void)json_array_append_new(alternatives, entry_outcome(&report->outcome[i]));
    vmxsim_answer(file, json_pack("{s:o}", "any_of", alternatives));
}

/* ---- Accesses and instructions ---- */

static json_t *exit_of(const struct vmxsim_outcome *outcome)
{
    const bool event = outcome->exit_reason == VMXC_EXIT_REASON_EXCEPTION_OR_NMI;
    const bool ept = outcome->exit_reason == VMXC_EXIT_REASON_EPT_VIOLATION ||
                     outcome->exit_reason == VMXC_EXIT_REASON_EPT_MISCONFIGURATION;
    json_t *const exit = result_named("exit");

    vmxsim_add_number(exit, "exit_reason", true, outcome->exit_reason);
    vmxsim_add_hex(exit, "qualification", outcome->qualification_defined, outcome->qualification);
    vmxsim_add_hex(exit, "guest_physical", ept && outcome->guest_physical_valid,
                   outcome->guest_physical);
    vmxsim_add_hex(exit, "guest_linear", ept && outcome->guest_linear_valid, outcome->guest_linear);
    vmxsim_add_hex(exit, "intr_info", event, outcome->interruption_info);
    vmxsim_add_hex(exit, "intr_error_code", event && outcome->has_error_code,
                   outcome->interruption_error_code);
    return exit;
}

static json_t *exception_of(const struct vmxsim_outcome *outcome)
{
    json_t *const exception = result_named("guest_exception");

    vmxsim_add_number(exception, "vector", true, outcome->vector);
    vmxsim_add_hex(exception, "error_code", outcome->has_error_code, outcome->error_code);
    vmxsim_add_hex(exception, "cr2", outcome->vector == VMXC_VECTOR_PF, outcome->cr2);
    return exception;
}

/* ---- Instructions ---- */

static void add_guest_register(const struct vmxsim_vector_file *file, json_t *answer,
                               const char *key, uint32_t encoding)
{
    uint64_t value = 0;
    const bool known = vmxsim_guest_get(file->cpu, encoding, &value) == VMXC_OK;

    vmxsim_add_hex(answer, key, known, value);
}

static void add_completion(const struct vmxsim_vector_file *file, json_t *answer,
                           const json_t *instruction, const struct vmxsim_outcome *outcome)
{
    vmxsim_add_hex(answer, "value", vmxsim_reads_register(instruction), outcome->value);
    add_guest_register(file, answer, "cr0", VMXC_VMCS_GUEST_CR0);
    add_guest_register(file, answer, "cr3", VMXC_VMCS_GUEST_CR3);
    add_guest_register(file, answer, "cr4", VMXC_VMCS_GUEST_CR4);
}

/* Undefined bits are open. */
static void add_exit_of_instruction(json_t *answer, uint64_t length,
                                    const struct vmxsim_outcome *outcome)
{
    json_t *const open = json_object();

    vmxsim_add_number(answer, "instruction_length", vmxsim_exit_has_length(outcome), length);
    vmxsim_add_hex(answer, "instruction_info", outcome->instruction_info_defined,
                   outcome->instruction_info);
    vmxsim_add_hex(answer, "guest_linear", outcome->guest_linear_valid, outcome->guest_linear);
    vmxsim_add_hex(open, "instruction_info", outcome->instruction_info_undefined != 0,
                   outcome->instruction_info_undefined);
    vmxsim_add_hex(open, "qualification", outcome->qualification_undefined != 0,
                   outcome->qualification_undefined);
    if (json_object_size(open) != 0)
        (void)json_object_set(answer, "open", open);
    json_decref(open);
}

/* What version 2 says of the execution of an instruction whose length is known. */
static void add_instruction(const struct vmxsim_vector_file *file, json_t *answer,
                            const json_t *instruction, const struct vmxsim_outcome *outcome)
{
    uint64_t length = 0;

    if (!vmxsim_checked_find(instruction, "length", &length))
        return;
    if (outcome->kind == VMXSIM_OUTCOME_COMPLETE)
        add_completion(file, answer, instruction, outcome);
    else if (outcome->kind == VMXSIM_OUTCOME_VM_EXIT)
        add_exit_of_instruction(answer, length, outcome);
}

/* ---- Values and memory ---- */

/* Little-endian bytes as a hexadecimal string of any length. */
static json_t *wide_hex(const uint8_t *bytes, size_t size)
{
    char text[sizeof "0x" + (size_t)2 * VMXSIM_ACCESS_MAX_SIZE] = "0x0";
    size_t used = 2;

    while (size > 1 && bytes[size - 1] == 0)
        size--;
    used += (size_t)snprintf(text + used, sizeof text - used, "%x", bytes[size - 1]);
    for (size_t i = size - 1; i-- > 0;)
        used += (size_t)snprintf(text + used, sizeof text - used, "%02x", bytes[i]);
    return json_string(text);
}

/* Where the first byte on each page lies. */
static json_t *places_of(const struct vmxsim_outcome *outcome)
{
    json_t *const places = json_array();

    for (uint32_t i = 0; i < outcome->page_count; i++)
        (void)json_array_append_new(places, vmxsim_hex(outcome->page[i].hpa));
    return places;
}

void vmxsim_trace_fetch(struct vmxsim_vector_file *file, const struct vmxsim_outcome *outcome,
                        uint32_t size)
{
    if (outcome->kind == VMXSIM_OUTCOME_COMPLETE)
        add_to_trace(file, "fetched", wide_hex(outcome->data, size));
    if (outcome->page_count != 0)
        add_to_trace(file, "fetched_at", places_of(outcome));
}

static json_t *values_of(const struct vmxsim_vector_file *file, const json_t *accesses)
{
    json_t *const values = json_array();

    for (size_t i = 0; i < json_array_size(accesses); i++) {
        const json_t *const access = json_array_get(accesses, i);
        const char *const type = json_string_value(json_object_get(access, "type"));
        uint64_t size = 1;
        (void)vmxsim_checked_find(access, "size", &size);
        (void)json_array_append_new(values, strcmp(type, "read") == 0
                                                ? wide_hex(file->run.data[i], (size_t)size)
                                                : json_null());
    }
    return values;
}

/* VMXON and VMCS regions are described by their first doubleword alone, which no guest changes here. */
static bool is_in_region(const struct vmxsim_vector_file *file, uint64_t hpa)
{
    const uint64_t page = hpa & ~VMXC_PAGE_MASK;

    return (file->has_vmxon_pointer && page == file->vmxon_pointer) ||
           (file->has_vmcs_pointer && page == file->vmcs_pointer);
}

static json_t *changes_of(const struct vmxsim_vector_file *file)
{
    json_t *const words = json_object();

    for (size_t i = 0; i < file->run.change_count; i++) {
        const struct vmxsim_changed_word *const change = &file->run.changes[i];
        char key[sizeof "0x0123456789abcdef"];
        (void)snprintf(key, sizeof key, "0x%" PRIx64, change->hpa);
        if (!is_in_region(file, change->hpa))
            (void)json_object_set_new(words, key, vmxsim_hex(change->after));
    }
    return words;
}

static bool logs_pages(const struct vmxsim_vmcs *vmcs)
{
    return (VMXSIM_VMCS(vmcs, PRIMARY_PROCESSOR_BASED_CONTROLS) &
            VMXC_PRIMARY_ACTIVATE_SECONDARY_CONTROLS) &&
           (VMXSIM_VMCS(vmcs, SECONDARY_PROCESSOR_BASED_CONTROLS) & VMXC_SECONDARY_ENABLE_PML);
}

/* Of accesses: what memory is like afterwards, and what about it is open. */
static void add_memory(struct vmxsim_vector_file *file, json_t *answer,
                       const struct vmxsim_outcome *outcome, enum vmxsim_access_type type,
                       const struct vmxsim_trail *trail)
{
    json_t *open = NULL;
    bool log_open = false;

    if (outcome->kind != VMXSIM_OUTCOME_COMPLETE)
        open = vmxsim_open_of(file, outcome, type, trail, &log_open);
    if (!log_open) {
        vmxsim_add_number(answer, "pml_index", logs_pages(&file->entry_vmcs),
                          vmxsim_cpu_pml_index(file->cpu));
        (void)json_object_set_new(answer, "memory", changes_of(file));
    }
    if (open != NULL)
        (void)json_object_set_new(answer, "open", open);
}

static json_t *result_of(const struct vmxsim_outcome *outcome)
{
    switch (outcome->kind) {
    case VMXSIM_OUTCOME_COMPLETE:
        return result_named("complete");
    case VMXSIM_OUTCOME_GUEST_EXCEPTION:
        return exception_of(outcome);
    case VMXSIM_OUTCOME_VM_EXIT:
        return exit_of(outcome);
    }
    return NULL;
}

void vmxsim_answer_outcome(struct vmxsim_vector_file *file, const struct vmxsim_vector_case *vector,
                           const struct vmxsim_outcome *outcome, enum vmxsim_access_type type,
                           const struct vmxsim_trail *trail)
{
    const json_t *const accesses = json_object_get(vector->value, "accesses");
    json_t *const answer = result_of(outcome);

    if (outcome->rule != VMXSIM_RULE_NONE)
        vmxsim_trace_rule(file, vmxsim_walk_rule_info(outcome->rule)->id);
    if (trail != NULL && outcome->kind == VMXSIM_OUTCOME_COMPLETE)
        (void)json_object_set_new(answer, "values", values_of(file, accesses));
    if (trail != NULL && (outcome->kind != VMXSIM_OUTCOME_COMPLETE ||
                          json_object_get(vector->value, "pkru") != NULL))
        trace_entries(file, trail);
    if (trail != NULL)
        add_memory(file, answer, outcome, type, trail);
    if (trail == NULL)
        add_instruction(file, answer, json_object_get(vector->value, "instruction"), outcome);
    vmxsim_answer(file, answer);
}

/* ---- Events ---- */

static json_t *arrival_of(const struct delivery *delivery)
{
    json_t *const answer = result_named("delivered");

    vmxsim_add_hex(answer, "rip", true, delivery->rip);
    vmxsim_add_hex(answer, "rsp", true, delivery->rsp);
    vmxsim_add_hex(answer, "rflags", true, delivery->rflags);
    vmxsim_add_hex(answer, "cs", true, delivery->cs);
    vmxsim_add_hex(answer, "ss", true, delivery->ss);
    vmxsim_add_hex(answer, "interruptibility", true, delivery->interruptibility);
    vmxsim_add_hex(answer, "cr2", true, delivery->cr2);
    return answer;
}

static json_t *exit_on_the_way(const struct delivery *delivery,
                               const struct vmxsim_outcome *outcome)
{
    json_t *const answer = exit_of(outcome);

    vmxsim_add_hex(answer, "vectoring_info", true, delivery->vectoring_info);
    vmxsim_add_hex(answer, "vectoring_error_code",
                   delivery->vectoring_info & VMXC_INTERRUPTION_ERROR_CODE,
                   delivery->vectoring_error_code);
    return answer;
}

void vmxsim_answer_delivery(struct vmxsim_vector_file *file, const struct vmxsim_outcome *outcome)
{
    const struct delivery *const delivery = file->delivery;
    json_t *const answer =
        delivery->done ? arrival_of(delivery) : exit_on_the_way(delivery, outcome);

    if (outcome->rule != VMXSIM_RULE_NONE)
        vmxsim_trace_rule(file, vmxsim_walk_rule_info(outcome->rule)->id);
    if (delivery->done)
        (void)json_object_set_new(file->trace, "delivered",
                                  json_pack("{s:I,s:b}", "vector", (json_int_t)delivery->vector,
                                            "nested", (int)delivery->nested));
    (void)json_object_set_new(answer, "memory", changes_of(file));
    vmxsim_answer(file, answer);
}
