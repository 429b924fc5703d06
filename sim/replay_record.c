/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A vector file written again, each case with the model's answer as `expect`. What was recorded before (`expect`, `sdm`,
 * `deviates`, `note`) is not looked at and not kept: the cases may be experiments that nobody has made yet.
 */
#include "internal/replay.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define RECORDED_VERSION 2

static enum vmxc_status write_line(struct vmxsim_vector_file *file, FILE *stream,
                                   const json_t *value, struct vmxsim_error *error)
{
    if (json_dumpf(value, stream, JSON_COMPACT) == 0 && fputc('\n', stream) != EOF)
        return VMXC_OK;
    return vmxsim_error_set(error, VMXC_IO_ERROR, "%s: its recording cannot be written: %s",
                            file->document, strerror(errno));
}

/* ---- The header ---- */

/* Line 1 once more: reading it as a header keeps only what cases need. */
static enum vmxc_status read_header_again(const struct vmxsim_vector_file *file, json_t **header,
                                          struct vmxsim_error *error)
{
    FILE *const stream = fopen(file->path, "r");
    char *line = NULL;
    size_t capacity = 0;
    enum vmxc_status status;

    if (stream == NULL)
        return vmxsim_error_set(error, VMXC_IO_ERROR, "%s: %s", file->path, strerror(errno));
    errno = 0;
    const ssize_t length = getline(&line, &capacity, stream);
    if (length > 0)
        status = vmxsim_json_parse(line, (size_t)length, file->path, header, error);
    else
        status = vmxsim_error_set(error, errno == ENOMEM ? VMXC_NO_MEMORY : VMXC_IO_ERROR,
                                  "%s: the header cannot be read again", file->path);
    free(line);
    (void)fclose(stream);
    return status;
}

static enum vmxc_status write_header(struct vmxsim_vector_file *file, FILE *stream,
                                     struct vmxsim_error *error)
{
    json_t *header = NULL;

    VMXC_TRY(read_header_again(file, &header, error));
    const json_t *const seed = json_object_get(json_object_get(header, "source"), "seed");
    json_t *const source = json_pack("{s:s}", "engine", "model");
    if (seed != NULL)
        (void)json_object_set_new(source, "seed", json_integer(json_integer_value(seed)));
    (void)json_object_set_new(header, "source", source);
    (void)json_object_set_new(header, "version", json_integer(RECORDED_VERSION));
    const enum vmxc_status status = write_line(file, stream, header, error);
    json_decref(header);
    return status;
}

/* ---- Cases ---- */

/* Replaces what was observed by what the model does. */
static void put_answer(const struct vmxsim_vector_file *file, json_t *value,
                       enum vmxsim_case_verdict verdict)
{
    static const char *const replaced[] = {"expect", "sdm", "deviates", "note", "trace"};

    for (size_t i = 0; i < sizeof replaced / sizeof replaced[0]; i++)
        (void)json_object_del(value, replaced[i]);
    if (verdict == VMXSIM_CASE_UNSUPPORTED)
        (void)json_object_set_new(value, "expect",
                                  json_pack("{s:s,s:s}", "result", "not_runnable", "why",
                                            file->reason.bytes != NULL ? file->reason.bytes : ""));
    else
        (void)json_object_set(value, "expect", file->answer);
    if (json_object_size(file->trace) != 0)
        (void)json_object_set(value, "trace", file->trace);
}

static enum vmxc_status record_case(struct vmxsim_vector_file *file, json_t *value, FILE *stream,
                                    enum vmxsim_case_verdict *verdict,
                                    struct vmxsim_vector_case *vector, struct vmxsim_error *error)
{
    VMXC_TRY(vmxsim_vector_case_read(file, value, vector, error));
    vmxsim_text_clear(&file->reason);
    (void)json_object_clear(file->trace);
    vmxsim_answer(file, NULL);
    VMXC_TRY(vmxsim_run_case(file, vector, verdict, error));
    if (file->reason.failed || (*verdict != VMXSIM_CASE_UNSUPPORTED && file->answer == NULL))
        return vmxsim_error_set(error, VMXC_NO_MEMORY, "%s: no host memory left", file->document);
    put_answer(file, value, *verdict);
    return write_line(file, stream, value, error);
}

static enum vmxc_status record_lines(struct vmxsim_vector_file *file, FILE *stream,
                                     struct vmxsim_replay_summary *summary,
                                     struct vmxsim_error *error)
{
    for (;;) {
        enum vmxsim_case_verdict verdict = VMXSIM_CASE_UNSUPPORTED;
        struct vmxsim_vector_case vector;
        json_t *value;
        VMXC_TRY(vmxsim_vector_file_next(file, &value, error));
        if (value == NULL)
            return VMXC_OK;
        const enum vmxc_status status = record_case(file, value, stream, &verdict, &vector, error);
        if (status == VMXC_OK)
            vmxsim_count_verdict(&summary->kind[vector.kind], verdict);
        json_decref(value);
        VMXC_TRY(status);
    }
}

enum vmxc_status vmxsim_replay_record(const char *path, FILE *stream,
                                      struct vmxsim_replay_summary *summary,
                                      struct vmxsim_error *error)
{
    struct vmxsim_vector_file file;

    enum vmxc_status status = vmxsim_vector_file_open(&file, path, error);
    file.recording = true;
    file.trace = json_object();
    if (status == VMXC_OK && file.trace == NULL)
        status = vmxsim_error_set(error, VMXC_NO_MEMORY, "%s: no host memory left", path);
    if (status == VMXC_OK)
        status = write_header(&file, stream, error);
    if (status == VMXC_OK)
        status = record_lines(&file, stream, summary, error);
    vmxsim_vector_file_close(&file);
    return status;
}
