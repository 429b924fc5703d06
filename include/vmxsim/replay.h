/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Portable vectors (docs/vectors.md): reading a recording strictly, running it on the model, comparing.
 */
#ifndef VMXSIM_REPLAY_H
#define VMXSIM_REPLAY_H

#include "vmxsim/cpu.h"
#include "vmxsim/entry.h"
#include "vmxsim/hazard.h"
#include "vmxsim/tlb.h"

#include <stdio.h>

#ifdef __cplusplus
extern "C" {
#endif

enum vmxsim_case_kind {
    VMXSIM_CASE_ACCESS,
    VMXSIM_CASE_ENTRY,
    VMXSIM_CASE_INTERCEPT,
    VMXSIM_CASE_INSTRUCTIONS,
    VMXSIM_CASE_EVENT,
    VMXSIM_CASE_KIND_COUNT
};

enum vmxsim_case_verdict {
    VMXSIM_CASE_AGREES,
    VMXSIM_CASE_DIFFERS,
    VMXSIM_CASE_UNSUPPORTED, /* needs a feature that the model does not have: neither agreement nor difference */
};

/* One case, as it was decided. Strings live during the callback only. */
struct vmxsim_case_result {
    const char *file, *id, *note; /* note: "" if the case has none */
    size_t line;                  /* 1-based */
    enum vmxsim_case_kind kind;
    enum vmxsim_case_verdict verdict;
    const char *deviates; /* NULL, or the deviation whose `sdm` verdict was compared */
    const char *
        reason; /* differs: expected against observed, one difference per line; unsupported: what */
    /* What the case's instructions did that the manual warns of; the verdict does not depend on it. */
    uint64_t hazard_count;
    uint32_t hazards_kept; /* the last of them */
    const struct vmxsim_hazard *hazard;
};

struct vmxsim_replay_counts {
    uint64_t cases, agree, differ, unsupported;
};

struct vmxsim_replay_summary {
    struct vmxsim_replay_counts kind[VMXSIM_CASE_KIND_COUNT];
};

/*
 * Replays one file and adds to `summary`. `report` (may be NULL) is called after each case.
 * Errors: VMXC_IO_ERROR, VMXC_BAD_FORMAT (anything FORMAT.md does not allow; `error` names file, line and
 * key), VMXC_NO_MEMORY. Differences are not errors.
 */
VMXC_MUST_CHECK enum vmxc_status
vmxsim_replay_file(const char *path,
                   void (*report)(void *context, const struct vmxsim_case_result *), void *context,
                   struct vmxsim_replay_summary *summary, struct vmxsim_error *error);

/* The same of a file's content in host memory. `name` stands for the file in messages, and deviations.json is looked for beside it. */
VMXC_MUST_CHECK enum vmxc_status
vmxsim_replay_bytes(const void *bytes, size_t size, const char *name,
                    void (*report)(void *context, const struct vmxsim_case_result *), void *context,
                    struct vmxsim_replay_summary *summary, struct vmxsim_error *error);

/* The same on a processor that caches translations so. Cases that agree without a cache agree with an exact one. */
VMXC_MUST_CHECK enum vmxc_status
vmxsim_replay_file_cached(const char *path, enum vmxsim_tlb_mode tlb,
                          void (*report)(void *context, const struct vmxsim_case_result *),
                          void *context, struct vmxsim_replay_summary *summary,
                          struct vmxsim_error *error);

/*
 * Runs one case of kind `access` and shows each access that ran, in order, with its outcome and trail.
 * Errors: as vmxsim_replay_file; VMXC_NOT_FOUND (no case has this id), VMXC_UNSUPPORTED (the case is of another kind,
 * its VM entry fails, or it needs a feature that the model does not have).
 */
VMXC_MUST_CHECK enum vmxc_status vmxsim_replay_trace(
    const char *path, const char *id,
    void (*visit)(void *context, size_t index, const struct vmxsim_access *access,
                  const struct vmxsim_outcome *outcome, const struct vmxsim_trail *trail),
    void *context, struct vmxsim_error *error);

/*
 * The VM entry of one case of kind `entry` or `access`: what is checked, and the report. Both live during the call only.
 * Errors: as vmxsim_replay_file; VMXC_NOT_FOUND (no case has this id), VMXC_UNSUPPORTED (the case is of another kind).
 */
typedef void vmxsim_entry_visit(void *context, const struct vmxsim_entry_input *input,
                                const struct vmxsim_entry_report *report);
VMXC_MUST_CHECK enum vmxc_status vmxsim_replay_entry(const char *path, const char *id,
                                                     vmxsim_entry_visit *visit, void *context,
                                                     struct vmxsim_error *error);

/*
 * Runs every case of a file and writes the file to `stream` again, each case with the model's answer as `expect`: every
 * outcome of a VM entry that a processor may report, and masks for what else the architecture leaves open. `expect` may be
 * missing in the file. A case that the model cannot run gets the result `not_runnable`. Adds to `summary`, where
 * `agree` counts the cases that have an answer. Errors: as vmxsim_replay_file, for the stream too.
 */
VMXC_MUST_CHECK enum vmxc_status vmxsim_replay_record(const char *path, FILE *stream,
                                                      struct vmxsim_replay_summary *summary,
                                                      struct vmxsim_error *error);

/* Static name of a kind: "access" ... */
const char *vmxsim_case_kind_name(enum vmxsim_case_kind kind);

#ifdef __cplusplus
}
#endif

#endif
