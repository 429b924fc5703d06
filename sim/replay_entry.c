/* SPDX-License-Identifier: Apache-2.0 */
/*
 * VM entries of a recording: cases of kind `entry`, and the entry before what the guest of other kinds does.
 *
 * The model makes one choice where the manual leaves the order of checks open; a case lists every answer that counts.
 */
#include "internal/replay.h"

#include "vmxcore/defs/paging.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define REGION_SHADOW_INDICATOR VMXC_BIT(31)

static bool is_string(const json_t *object, const char *key, const char *text)
{
    const char *const value = json_string_value(json_object_get(object, key));

    return value != NULL && strcmp(value, text) == 0;
}

/* Kinds `access` and `intercept` name no VM-entry instruction: theirs is a VMLAUNCH with a clear VMCS. */
static struct vmxsim_entry_processor processor_of(struct vmxsim_vector_file *file,
                                                  const struct vmxsim_vector_case *vector)
{
    const struct vmxsim_root_state *const root = vector->root;
    struct vmxsim_entry_processor processor = vmxsim_entry_processor_default(file->vmcs_pointer);

    processor.cr0 = root->cr0;
    processor.cr4 = root->cr4;
    processor.efer = root->efer;
    processor.code_64bit = root->efer & VMXC_EFER_LMA;
    processor.launched = is_string(vector->value, "launch_state", "launched");
    processor.vmresume = is_string(vector->value, "instruction", "vmresume");
    processor.current_is_shadow =
        vmxsim_memory_read32(file->memory, file->vmcs_pointer) & REGION_SHADOW_INDICATOR;
    return processor;
}

struct vmxsim_entry_outcome vmxsim_case_entry(struct vmxsim_vector_file *file,
                                              const struct vmxsim_vector_case *vector)
{
    file->entry_processor = processor_of(file, vector);
    vmxsim_build_vmcs(file, json_object_get(vector->value, "vmcs"), &file->entry_vmcs);
    file->entry_input = (struct vmxsim_entry_input){.vmcs = &file->entry_vmcs,
                                                    .profile = file->profile,
                                                    .processor = &file->entry_processor,
                                                    .memory = file->memory};
    vmxsim_entry_check(&file->entry_input, &file->entry_report);
    return file->entry_report.outcome[0];
}

/* ---- Comparison ---- */

/* What an alternative does not say is not compared. */
static bool string_agrees(const json_t *expect, const char *key, const char *observed)
{
    return json_object_get(expect, key) == NULL || is_string(expect, key, observed);
}

static bool number_agrees(const json_t *expect, const char *key, uint64_t observed, uint64_t open)
{
    uint64_t expected;

    return !vmxsim_checked_find(expect, key, &expected) || ((expected ^ observed) & ~open) == 0;
}

static uint64_t open_qualification(const json_t *verdict)
{
    uint64_t mask = 0;

    (void)vmxsim_checked_find(json_object_get(verdict, "open"), "qualification", &mask);
    return mask;
}

/* `outer_open`: bits of the qualification that are open in every alternative. */
static bool same_outcome(const json_t *expect, uint64_t outer_open,
                         const struct vmxsim_entry_outcome *outcome)
{
    const uint64_t open = outer_open | open_qualification(expect);

    switch (outcome->kind) {
    case VMXSIM_ENTRY_ENTERED:
        return is_string(expect, "result", "entered");
    case VMXSIM_ENTRY_VMFAIL_INVALID:
        return is_string(expect, "result", "vmfail") && string_agrees(expect, "kind", "invalid") &&
               json_object_get(expect, "error") == NULL;
    case VMXSIM_ENTRY_VMFAIL_VALID:
        return is_string(expect, "result", "vmfail") && string_agrees(expect, "kind", "valid") &&
               number_agrees(expect, "error", outcome->number, 0);
    case VMXSIM_ENTRY_FAILURE:
        return is_string(expect, "result", "entry_failure") &&
               number_agrees(expect, "exit_reason", outcome->number, 0) &&
               number_agrees(expect, "qualification", outcome->qualification, open);
    default:
        return false; /* exceptions and VM exits cannot be expected of these kinds */
    }
}

static void add_outcome(struct vmxsim_text *text, const struct vmxsim_entry_outcome *outcome)
{
    switch (outcome->kind) {
    case VMXSIM_ENTRY_ENTERED:
        vmxsim_text_add(text, "entered");
        break;
    case VMXSIM_ENTRY_EXCEPTION:
        vmxsim_text_add(text, "exception %" PRIu32, outcome->number);
        break;
    case VMXSIM_ENTRY_VM_EXIT:
        vmxsim_text_add(text, "VM exit %" PRIu32, outcome->number);
        break;
    case VMXSIM_ENTRY_VMFAIL_INVALID:
        vmxsim_text_add(text, "VMfailInvalid");
        break;
    case VMXSIM_ENTRY_VMFAIL_VALID:
        vmxsim_text_add(text, "VMfailValid(%" PRIu32 ")", outcome->number);
        break;
    case VMXSIM_ENTRY_FAILURE:
        vmxsim_text_add(text, "entry failure %" PRIu32 ", qualification 0x%" PRIx64,
                        outcome->number, outcome->qualification);
        break;
    }
}

static void add_difference(struct vmxsim_vector_file *file, const json_t *verdict)
{
    const struct vmxsim_entry_report *const report = &file->entry_report;

    vmxsim_text_add(&file->reason, "VM entry: expected ");
    vmxsim_text_add_json(&file->reason, verdict, JSON_COMPACT | JSON_PRESERVE_ORDER);
    vmxsim_text_add(&file->reason, ", observed ");
    add_outcome(&file->reason, &report->outcome[0]);
    vmxsim_text_add(&file->reason, "\n");
    for (uint32_t i = 0; i < report->violation_count; i++) {
        const struct vmxsim_entry_rule_info *const rule =
            vmxsim_entry_rule_info(report->violation[i].rule);
        vmxsim_text_add(&file->reason, "violated: %s: %s\n", rule->id, rule->sentence);
    }
}

static bool agrees(struct vmxsim_vector_file *file, const struct vmxsim_vector_case *vector)
{
    const struct vmxsim_entry_outcome *const outcome = &file->entry_report.outcome[0];
    const json_t *const alternatives = json_object_get(vector->verdict, "any_of");

    if (alternatives == NULL && same_outcome(vector->verdict, 0, outcome))
        return true;
    for (size_t i = 0; i < json_array_size(alternatives); i++) {
        if (same_outcome(json_array_get(alternatives, i), open_qualification(vector->verdict),
                         outcome))
            return true;
    }
    add_difference(file, vector->verdict);
    return false;
}

/* No `expect` has words for a VM entry that is not even tried; that of kind `intercept` has none for one that fails either. */
static bool can_be_expected(const struct vmxsim_vector_case *vector,
                            const struct vmxsim_entry_outcome *outcome)
{
    return vector->kind != VMXSIM_CASE_INTERCEPT && outcome->kind != VMXSIM_ENTRY_EXCEPTION &&
           outcome->kind != VMXSIM_ENTRY_VM_EXIT;
}

static enum vmxsim_case_verdict record_answer(struct vmxsim_vector_file *file,
                                              const struct vmxsim_vector_case *vector)
{
    const struct vmxsim_entry_outcome *const outcome = &file->entry_report.outcome[0];

    if (can_be_expected(vector, outcome)) {
        vmxsim_answer_entry(file);
        return VMXSIM_CASE_AGREES;
    }
    vmxsim_text_add(&file->reason, "VM entry: ");
    add_outcome(&file->reason, outcome);
    return VMXSIM_CASE_UNSUPPORTED;
}

enum vmxsim_case_verdict vmxsim_entry_verdict(struct vmxsim_vector_file *file,
                                              const struct vmxsim_vector_case *vector)
{
    if (file->recording)
        return record_answer(file, vector);
    return agrees(file, vector) ? VMXSIM_CASE_AGREES : VMXSIM_CASE_DIFFERS;
}

enum vmxc_status vmxsim_run_entry(struct vmxsim_vector_file *file,
                                  const struct vmxsim_vector_case *vector,
                                  vmxsim_access_visit *visit, void *context,
                                  enum vmxsim_case_verdict *verdict, struct vmxsim_error *error)
{
    (void)visit;
    (void)context;
    vmxsim_prepare_memory(file, json_object_get(vector->value, "memory"));
    if (file->run.failed)
        return vmxsim_error_set(error, VMXC_NO_MEMORY, "%s: no host memory left", file->document);
    (void)vmxsim_case_entry(file, vector);
    *verdict = vmxsim_entry_verdict(file, vector);
    return VMXC_OK;
}

/* ---- One case, for the eye ---- */

static enum vmxc_status show_case(struct vmxsim_vector_file *file,
                                  const struct vmxsim_vector_case *vector,
                                  vmxsim_entry_visit *visit, void *context,
                                  struct vmxsim_error *error)
{
    if (vector->kind != VMXSIM_CASE_ENTRY && vector->kind != VMXSIM_CASE_ACCESS)
        return vmxsim_error_set(error, VMXC_UNSUPPORTED, "%s: %s: kind %s has no single VM entry",
                                file->document, vector->id, vmxsim_case_kind_name(vector->kind));
    vmxsim_prepare_memory(file, json_object_get(vector->value, "memory"));
    if (file->run.failed)
        return vmxsim_error_set(error, VMXC_NO_MEMORY, "%s: no host memory left", file->document);
    (void)vmxsim_case_entry(file, vector);
    visit(context, &file->entry_input, &file->entry_report);
    return VMXC_OK;
}

/* Reads up to the case. */
static enum vmxc_status find_case(struct vmxsim_vector_file *file, const char *id,
                                  vmxsim_entry_visit *visit, void *context,
                                  struct vmxsim_error *error)
{
    for (;;) {
        struct vmxsim_vector_case vector;
        json_t *value;
        bool found = false;
        VMXC_TRY(vmxsim_vector_file_next(file, &value, error));
        if (value == NULL)
            return vmxsim_error_set(error, VMXC_NOT_FOUND, "%s: there is no case \"%s\"",
                                    file->path, id);
        enum vmxc_status status = vmxsim_vector_case_read(file, value, &vector, error);
        if (status == VMXC_OK) {
            found = strcmp(vector.id, id) == 0;
            if (found)
                status = show_case(file, &vector, visit, context, error);
        }
        json_decref(value);
        if (found || status != VMXC_OK)
            return status;
    }
}

enum vmxc_status vmxsim_replay_entry(const char *path, const char *id, vmxsim_entry_visit *visit,
                                     void *context, struct vmxsim_error *error)
{
    struct vmxsim_vector_file file;

    enum vmxc_status status = vmxsim_vector_file_open(&file, path, error);
    if (status == VMXC_OK)
        status = find_case(&file, id, visit, context, error);
    vmxsim_vector_file_close(&file);
    return status;
}
