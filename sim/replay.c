/* SPDX-License-Identifier: Apache-2.0 */
/* A vector file as a whole: lines, cases, verdicts. */
#include "internal/replay.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- Kinds ---- */

typedef enum vmxc_status run_case(struct vmxsim_vector_file *file,
                                  const struct vmxsim_vector_case *vector,
                                  vmxsim_access_visit *visit, void *context,
                                  enum vmxsim_case_verdict *verdict, struct vmxsim_error *error);

static const struct {
    const char *name;
    run_case *run;
} kinds[VMXSIM_CASE_KIND_COUNT] = {
    [VMXSIM_CASE_ACCESS] = {"access", vmxsim_run_access},
    [VMXSIM_CASE_ENTRY] = {"entry", vmxsim_run_entry},
    [VMXSIM_CASE_INTERCEPT] = {"intercept", vmxsim_run_intercept},
    [VMXSIM_CASE_INSTRUCTIONS] = {"instructions", vmxsim_run_instructions},
    [VMXSIM_CASE_EVENT] = {"event", vmxsim_run_event},
};

const char *vmxsim_case_kind_name(enum vmxsim_case_kind kind)
{
    return (unsigned)kind < VMXSIM_CASE_KIND_COUNT ? kinds[kind].name : "?";
}

/* ---- Files ---- */

static enum vmxc_status set_document(struct vmxsim_vector_file *file, struct vmxsim_error *error)
{
    if (file->document == NULL) {
        file->document_size = strlen(file->path) + sizeof ":18446744073709551615";
        file->document = malloc(file->document_size);
        if (file->document == NULL)
            return vmxsim_error_set(error, VMXC_NO_MEMORY, "%s: no host memory left", file->path);
    }
    (void)snprintf(file->document, file->document_size, "%s:%zu", file->path, file->line);
    return VMXC_OK;
}

/* An empty line holds nothing but white space. */
static bool is_empty_line(const char *line, size_t length)
{
    return strspn(line, " \t\r\n") == length;
}

enum vmxc_status vmxsim_vector_file_next(struct vmxsim_vector_file *file, json_t **value,
                                         struct vmxsim_error *error)
{
    errno = 0;
    const ssize_t length = getline(&file->line_text, &file->line_capacity, file->stream);
    *value = NULL;
    if (length < 0 && feof(file->stream))
        return VMXC_OK;
    if (length < 0)
        return vmxsim_error_set(error, errno == ENOMEM ? VMXC_NO_MEMORY : VMXC_IO_ERROR, "%s: %s",
                                file->path, strerror(errno));
    file->line++;
    VMXC_TRY(set_document(file, error));
    if (is_empty_line(file->line_text, (size_t)length))
        return vmxsim_error_set(error, VMXC_BAD_FORMAT, "%s: empty line", file->document);
    return vmxsim_json_parse(file->line_text, (size_t)length, file->document, value, error);
}

static enum vmxc_status read_header(struct vmxsim_vector_file *file, struct vmxsim_error *error)
{
    json_t *header;
    VMXC_TRY(vmxsim_vector_file_next(file, &header, error));
    if (header == NULL)
        return vmxsim_error_set(error, VMXC_BAD_FORMAT, "%s: empty file, no header", file->path);
    const enum vmxc_status status = vmxsim_vector_header_read(file, header, error);
    json_decref(header);
    return status;
}

/* Of a stream that has just been opened, or could not be. */
static enum vmxc_status open_stream(struct vmxsim_vector_file *file, const char *path, FILE *stream,
                                    struct vmxsim_error *error)
{
    *file = (struct vmxsim_vector_file){.path = path, .stream = stream};
    if (file->stream == NULL)
        return vmxsim_error_set(error, VMXC_IO_ERROR, "%s: %s", path, strerror(errno));
    file->ids = json_object();
    if (file->ids == NULL)
        return vmxsim_error_set(error, VMXC_NO_MEMORY, "%s: no host memory left", path);
    VMXC_TRY(read_header(file, error));
    return vmxsim_deviations_read(file, error);
}

enum vmxc_status vmxsim_vector_file_open(struct vmxsim_vector_file *file, const char *path,
                                         struct vmxsim_error *error)
{
    return open_stream(file, path, fopen(path, "r"), error);
}

void vmxsim_vector_file_close(struct vmxsim_vector_file *file)
{
    if (file->stream != NULL)
        (void)fclose(file->stream);
    vmxsim_cpu_destroy(file->cpu);
    vmxsim_memory_destroy(file->memory);
    vmxsim_profile_destroy(file->profile);
    for (size_t i = 0; i < file->memory_template_count; i++)
        free(file->memory_templates[i].words);
    free(file->memory_templates);
    free(file->vmcs_templates);
    free(file->roots);
    json_decref(file->vmcs_fields);
    json_decref(file->vmcs_names);
    json_decref(file->memory_names);
    json_decref(file->root_names);
    json_decref(file->deviations);
    json_decref(file->ids);
    json_decref(file->answer);
    json_decref(file->trace);
    vmxsim_access_run_free(&file->run);
    vmxsim_text_free(&file->reason);
    free(file->document);
    free(file->line_text);
}

/* ---- Replay ---- */

struct reporter {
    void (*report)(void *context, const struct vmxsim_case_result *result);
    void *context;
    struct vmxsim_replay_summary *summary;
};

void vmxsim_count_verdict(struct vmxsim_replay_counts *counts, enum vmxsim_case_verdict verdict)
{
    counts->cases++;
    counts->agree += verdict == VMXSIM_CASE_AGREES;
    counts->differ += verdict == VMXSIM_CASE_DIFFERS;
    counts->unsupported += verdict == VMXSIM_CASE_UNSUPPORTED;
}

static void report_case(const struct vmxsim_vector_file *file,
                        const struct vmxsim_vector_case *vector, enum vmxsim_case_verdict verdict,
                        const struct reporter *reporter)
{
    const bool has_sdm = json_object_get(vector->value, "sdm") != NULL;
    struct vmxsim_hazard hazards[VMXSIM_HAZARDS_KEPT];
    const struct vmxsim_case_result result = {
        .file = file->path,
        .id = vector->id,
        .note = vector->note,
        .line = file->line,
        .kind = vector->kind,
        .verdict = verdict,
        .deviates = has_sdm ? vector->deviates : NULL,
        .reason = file->reason.bytes != NULL ? file->reason.bytes : "",
        .hazard_count = vmxsim_hazard_count(file->memory),
        .hazards_kept = vmxsim_hazards_last(file->memory, hazards, VMXSIM_HAZARDS_KEPT),
        .hazard = hazards,
    };
    vmxsim_count_verdict(&reporter->summary->kind[vector->kind], verdict);
    if (reporter->report != NULL)
        reporter->report(reporter->context, &result);
}

enum vmxc_status vmxsim_run_case(struct vmxsim_vector_file *file,
                                 const struct vmxsim_vector_case *vector,
                                 enum vmxsim_case_verdict *verdict, struct vmxsim_error *error)
{
    return kinds[vector->kind].run(file, vector, NULL, NULL, verdict, error);
}

/* An engine that did not answer: no agreement, whatever the model does. Agrees: it did answer. */
static enum vmxsim_case_verdict engine_verdict(struct vmxsim_vector_file *file,
                                               const struct vmxsim_vector_case *vector)
{
    const char *const result = json_string_value(json_object_get(vector->verdict, "result"));
    const char *const why = json_string_value(json_object_get(vector->verdict, "why"));

    if (result == NULL || !vmxsim_is_engine_result(result))
        return VMXSIM_CASE_AGREES;
    vmxsim_text_add(&file->reason, "%s%s%s\n", result, why != NULL ? ": " : "",
                    why != NULL ? why : "");
    return strcmp(result, "not_runnable") == 0 ? VMXSIM_CASE_UNSUPPORTED : VMXSIM_CASE_DIFFERS;
}

static enum vmxc_status replay_case(struct vmxsim_vector_file *file, json_t *value,
                                    const struct reporter *reporter, struct vmxsim_error *error)
{
    enum vmxsim_case_verdict verdict = VMXSIM_CASE_UNSUPPORTED;
    struct vmxsim_vector_case vector;

    VMXC_TRY(vmxsim_vector_case_read(file, value, &vector, error));
    vmxsim_text_clear(&file->reason);
    verdict = engine_verdict(file, &vector);
    if (verdict == VMXSIM_CASE_AGREES)
        VMXC_TRY(vmxsim_run_case(file, &vector, &verdict, error));
    if (file->reason.failed)
        return vmxsim_error_set(error, VMXC_NO_MEMORY, "%s: no host memory left", file->document);
    report_case(file, &vector, verdict, reporter);
    return VMXC_OK;
}

static enum vmxc_status replay_lines(struct vmxsim_vector_file *file,
                                     const struct reporter *reporter, struct vmxsim_error *error)
{
    for (;;) {
        json_t *value;
        VMXC_TRY(vmxsim_vector_file_next(file, &value, error));
        if (value == NULL)
            return VMXC_OK;
        const enum vmxc_status status = replay_case(file, value, reporter, error);
        json_decref(value);
        VMXC_TRY(status);
    }
}

/* The header has made the processor. */
static enum vmxc_status set_tlb(struct vmxsim_vector_file *file, enum vmxsim_tlb_mode tlb,
                                struct vmxsim_error *error)
{
    if (vmxsim_cpu_set_tlb(file->cpu, tlb) != VMXC_OK)
        return vmxsim_error_set(error, VMXC_NO_MEMORY, "%s: no host memory", file->path);
    return VMXC_OK;
}

enum vmxc_status
vmxsim_replay_file(const char *path,
                   void (*report)(void *context, const struct vmxsim_case_result *result),
                   void *context, struct vmxsim_replay_summary *summary, struct vmxsim_error *error)
{
    return vmxsim_replay_file_cached(path, VMXSIM_TLB_OFF, report, context, summary, error);
}

enum vmxc_status vmxsim_replay_file_cached(const char *path, enum vmxsim_tlb_mode tlb,
                                           void (*report)(void *context,
                                                          const struct vmxsim_case_result *result),
                                           void *context, struct vmxsim_replay_summary *summary,
                                           struct vmxsim_error *error)
{
    const struct reporter reporter = {.report = report, .context = context, .summary = summary};
    struct vmxsim_vector_file file;

    enum vmxc_status status = vmxsim_vector_file_open(&file, path, error);
    if (status == VMXC_OK)
        status = set_tlb(&file, tlb, error);
    if (status == VMXC_OK)
        status = replay_lines(&file, &reporter, error);
    vmxsim_vector_file_close(&file);
    return status;
}

enum vmxc_status vmxsim_replay_bytes(const void *bytes, size_t size, const char *name,
                                     void (*report)(void *context,
                                                    const struct vmxsim_case_result *result),
                                     void *context, struct vmxsim_replay_summary *summary,
                                     struct vmxsim_error *error)
{
    const struct reporter reporter = {.report = report, .context = context, .summary = summary};
    struct vmxsim_vector_file file;

    enum vmxc_status status =
        open_stream(&file, name, fmemopen((void *)(uintptr_t)bytes, size, "r"), error);
    if (status == VMXC_OK)
        status = replay_lines(&file, &reporter, error);
    vmxsim_vector_file_close(&file);
    return status;
}

/* ---- One case, step by step ---- */

static enum vmxc_status trace_case(struct vmxsim_vector_file *file,
                                   const struct vmxsim_vector_case *vector,
                                   vmxsim_access_visit *visit, void *context,
                                   struct vmxsim_error *error)
{
    enum vmxsim_case_verdict verdict = VMXSIM_CASE_UNSUPPORTED;
    if (vector->kind != VMXSIM_CASE_ACCESS)
        return vmxsim_error_set(error, VMXC_UNSUPPORTED, "%s: %s: kind %s has no guest accesses",
                                file->document, vector->id, kinds[vector->kind].name);
    VMXC_TRY(vmxsim_run_access(file, vector, visit, context, &verdict, error));
    if (file->entry_report.outcome[0].kind != VMXSIM_ENTRY_ENTERED)
        return vmxsim_error_set(error, VMXC_UNSUPPORTED,
                                "%s: %s: its VM entry fails, so that no access runs",
                                file->document, vector->id);
    if (verdict == VMXSIM_CASE_UNSUPPORTED)
        return vmxsim_error_set(error, VMXC_UNSUPPORTED, "%s: %s: %s", file->document, vector->id,
                                file->reason.bytes != NULL ? file->reason.bytes : "");
    return VMXC_OK;
}

/* Reads up to the case; `*found` says whether it was there. */
static enum vmxc_status trace_line(struct vmxsim_vector_file *file, json_t *value, const char *id,
                                   vmxsim_access_visit *visit, void *context, bool *found,
                                   struct vmxsim_error *error)
{
    struct vmxsim_vector_case vector;
    VMXC_TRY(vmxsim_vector_case_read(file, value, &vector, error));
    if (strcmp(vector.id, id) != 0)
        return VMXC_OK;
    *found = true;
    return trace_case(file, &vector, visit, context, error);
}

static enum vmxc_status trace_lines(struct vmxsim_vector_file *file, const char *id,
                                    vmxsim_access_visit *visit, void *context,
                                    struct vmxsim_error *error)
{
    bool found = false;
    while (!found) {
        json_t *value;
        VMXC_TRY(vmxsim_vector_file_next(file, &value, error));
        if (value == NULL)
            return vmxsim_error_set(error, VMXC_NOT_FOUND, "%s: there is no case \"%s\"",
                                    file->path, id);
        const enum vmxc_status status = trace_line(file, value, id, visit, context, &found, error);
        json_decref(value);
        VMXC_TRY(status);
    }
    return VMXC_OK;
}

enum vmxc_status vmxsim_replay_trace(const char *path, const char *id,
                                     void (*visit)(void *context, size_t index,
                                                   const struct vmxsim_access *access,
                                                   const struct vmxsim_outcome *outcome,
                                                   const struct vmxsim_trail *trail),
                                     void *context, struct vmxsim_error *error)
{
    struct vmxsim_vector_file file;

    enum vmxc_status status = vmxsim_vector_file_open(&file, path, error);
    if (status == VMXC_OK)
        status = trace_lines(&file, id, visit, context, error);
    vmxsim_vector_file_close(&file);
    return status;
}
