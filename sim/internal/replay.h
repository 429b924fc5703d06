/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside of replay: one file of vectors at a time, line by line. See docs/vectors.md for the format.
 *
 *     replay.c          the file as a whole; the table of kinds
 *     replay_schema.c   objects checked against tables of keys
 *     replay_header.c   line 1: processor, memory, templates, root states; deviations.json
 *     replay_case.c     a case: what all kinds have in common, and what each kind does
 *     replay_expect.c   what was observed: `expect` and `sdm`
 *     replay_access.c   runs a case of kind `access`
 *     replay_stale.c    steps between its accesses, and the answers that caches allow
 *     replay_entry.c    VM entries: kind `entry`, and before the accesses of kind `access`
 *     replay_intercept.c  runs a case of kind `intercept`
 *     replay_event.c    runs a case of kind `event`
 *     replay_guest.c    instructions that such a case names
 *     replay_instructions.c  runs a case of kind `instructions`, step by step
 *     replay_compare.c  compares what it came to
 *     replay_record.c   the file again, with the model's answers
 *     replay_answer.c   an answer, in the words of `expect`
 *     replay_open.c     what the architecture leaves open about it
 *
 * A case is checked completely before anything runs; whatever runs it then reads values without errors. A new kind
 * needs a row in the table of kinds with a `run` function.
 */
#ifndef VMXSIM_INTERNAL_REPLAY_H
#define VMXSIM_INTERNAL_REPLAY_H

#include "internal/json.h"
#include "internal/writer.h"
#include "vmxsim/entry.h"
#include "vmxsim/replay.h"

#include <stdio.h>

/* ---- Tables of keys ---- */

enum vmxsim_schema_type {
    VMXSIM_SCHEMA_HEX,   /* at most max */
    VMXSIM_SCHEMA_COUNT, /* min to max */
    VMXSIM_SCHEMA_BOOL,
    VMXSIM_SCHEMA_STRING, /* not empty if min is 1 */
    VMXSIM_SCHEMA_CHOICE, /* one of choices */
    VMXSIM_SCHEMA_CUSTOM, /* check decides */
};

struct vmxsim_vector_file;

typedef enum vmxc_status vmxsim_schema_check(const struct vmxsim_vector_file *file,
                                             const struct vmxsim_json *at,
                                             struct vmxsim_error *error);

struct vmxsim_schema_key {
    const char *name;
    enum vmxsim_schema_type type;
    bool optional;
    uint64_t min, max;
    const char *const *choices; /* NULL behind the last */
    vmxsim_schema_check *check;
};

struct vmxsim_schema {
    const struct vmxsim_schema_key *keys;
    size_t count;
};

#define VMXSIM_SCHEMA(keys)                      \
    {                                            \
        (keys), sizeof(keys) / sizeof((keys)[0]) \
    }

/* The value is an object with exactly these keys, each as its row says. */
VMXC_MUST_CHECK enum vmxc_status vmxsim_schema_check_object(const struct vmxsim_vector_file *file,
                                                            const struct vmxsim_json *at,
                                                            const struct vmxsim_schema *schema,
                                                            struct vmxsim_error *error);

/* Anything goes: the value depends on other keys and is looked at when those are known to be well formed. */
vmxsim_schema_check vmxsim_schema_check_later;

/* The value is one of the strings; VMXC_BAD_FORMAT lists them. */
VMXC_MUST_CHECK enum vmxc_status vmxsim_schema_check_choice(const struct vmxsim_json *at,
                                                            const char *const *choices,
                                                            struct vmxsim_error *error);

/* Host-physical address of a quadword: 8-byte aligned, below 2^52. */
VMXC_MUST_CHECK enum vmxc_status
vmxsim_schema_word_address(const struct vmxsim_json *at, uint64_t *hpa, struct vmxsim_error *error);

/* For values that were checked: no errors. */
uint64_t vmxsim_checked_hex(const json_t *value); /* a hexadecimal string */
uint64_t vmxsim_checked_hex_key(const char *key); /* a key that is one */
bool vmxsim_checked_find(const json_t *object, const char *key, uint64_t *value); /* hex or count */

/* A hexadecimal string of any length as `size` little-endian bytes; false: not one, or wider. */
bool vmxsim_parse_wide_hex(const char *text, uint8_t *bytes, size_t size);

/* ---- A file ---- */

struct vmxsim_vector_word {
    uint64_t hpa, value;
};

/* A named set of memory words. */
struct vmxsim_memory_template {
    struct vmxsim_vector_word *words;
    size_t count;
};

/* A page as it was before the case ran. */
struct vmxsim_page_image {
    uint64_t hpa;
    uint8_t bytes[VMXC_PAGE_SIZE];
};

/* A quadword that the case changed. */
struct vmxsim_changed_word {
    uint64_t hpa, before, after;
};

/* Buffers of the runner, kept from case to case. */
struct vmxsim_access_run {
    struct vmxsim_page_image *pages; /* ascending; every other page was zero */
    size_t page_count, page_capacity;
    struct vmxsim_changed_word *changes; /* ascending */
    size_t change_count, change_capacity;
    uint8_t (*data)[VMXSIM_ACCESS_MAX_SIZE]; /* what each access that completed read */
    size_t data_capacity;
    bool failed; /* host memory ran out */
};

struct delivery;

struct vmxsim_vector_file {
    const char *path;
    FILE *stream;
    char *line_text; /* getline's buffer */
    size_t line_capacity;
    size_t line;    /* number of the current one, 1-based */
    char *document; /* "path:line", for error texts */
    size_t document_size;

    uint64_t version;
    struct vmxsim_profile *profile;
    struct vmxsim_memory *memory;
    struct vmxsim_cpu *cpu;
    bool has_vmxon_pointer, has_vmcs_pointer;
    uint64_t vmxon_pointer, vmcs_pointer;

    /* Templates by name: the JSON object maps it to an index. */
    json_t *vmcs_names, *memory_names, *root_names;
    json_t *vmcs_fields; /* the VMCS templates as the header has them: which fields each names */
    struct vmxsim_vmcs *vmcs_templates;
    struct vmxsim_memory_template *memory_templates;
    size_t memory_template_count;
    struct vmxsim_root_state *roots;

    json_t *deviations; /* NULL: there is no deviations.json */
    json_t *ids;        /* of the cases so far */

    struct vmxsim_access_run run;

    /* The last VM entry. */
    struct vmxsim_vmcs entry_vmcs;
    struct vmxsim_entry_processor entry_processor;
    struct vmxsim_entry_input entry_input;
    struct vmxsim_entry_report entry_report;

    const struct delivery *delivery; /* kind `event`, while it is judged */

    struct vmxsim_text reason; /* of the last verdict */

    /* Recording: cases need no `expect`, nothing is compared, and this is what the last one came to. */
    bool recording;
    json_t *answer, *trace;
};

/* Opens a file and reads its header and the deviations beside it. vmxsim_vector_file_close in any case. */
VMXC_MUST_CHECK enum vmxc_status vmxsim_vector_file_open(struct vmxsim_vector_file *file,
                                                         const char *path,
                                                         struct vmxsim_error *error);
void vmxsim_vector_file_close(struct vmxsim_vector_file *file);

/* Reads the next line and parses it. `*value` is NULL at the end of the file; otherwise json_decref it. */
VMXC_MUST_CHECK enum vmxc_status vmxsim_vector_file_next(struct vmxsim_vector_file *file,
                                                         json_t **value,
                                                         struct vmxsim_error *error);

/* Reads line 1. */
VMXC_MUST_CHECK enum vmxc_status vmxsim_vector_header_read(struct vmxsim_vector_file *file,
                                                           json_t *value,
                                                           struct vmxsim_error *error);

/* Reads deviations.json in the directory of the file, if it exists. */
VMXC_MUST_CHECK enum vmxc_status vmxsim_deviations_read(struct vmxsim_vector_file *file,
                                                        struct vmxsim_error *error);

/* ---- A case ---- */

struct vmxsim_vector_case {
    const char *id, *note, *deviates; /* note: "" and deviates: NULL if there is none */
    enum vmxsim_case_kind kind;
    const json_t *value;   /* the whole line, checked */
    const json_t *verdict; /* `sdm` if there is one, otherwise `expect` */
    const struct vmxsim_root_state *root;
};

/* Checks a line completely and describes it. Borrows `value`. */
VMXC_MUST_CHECK enum vmxc_status vmxsim_vector_case_read(struct vmxsim_vector_file *file,
                                                         json_t *value,
                                                         struct vmxsim_vector_case *vector,
                                                         struct vmxsim_error *error);

/* `[template, changes]` of VMCS and memory: the checks (schema), and what they say. */
vmxsim_schema_check vmxsim_check_vmcs_reference, vmxsim_check_memory_reference;
void vmxsim_build_vmcs(const struct vmxsim_vector_file *file, const json_t *reference,
                       struct vmxsim_vmcs *vmcs);
void vmxsim_build_memory(struct vmxsim_vector_file *file, const json_t *reference);

/* The object's fields as `[encoding: value]`: known, full, writable encodings and values that fit. */
vmxsim_schema_check vmxsim_check_vmcs_fields;
/* `{address: quadword}` inside RAM. */
vmxsim_schema_check vmxsim_check_memory_words;
void vmxsim_set_vmcs_fields(struct vmxsim_vmcs *vmcs, json_t *fields);

/* `at` is `expect` or `sdm` of a case of this kind. `value` is the whole case. */
VMXC_MUST_CHECK enum vmxc_status
vmxsim_check_verdict(const struct vmxsim_vector_file *file, enum vmxsim_case_kind kind,
                     const struct vmxsim_json *at, const json_t *value, struct vmxsim_error *error);

/* `engine_crash` and the like: the engine has not answered. */
bool vmxsim_is_engine_result(const char *result);

/* ---- Running ---- */

/* Memory as the case has it, and remembers it. */
void vmxsim_prepare_memory(struct vmxsim_vector_file *file, const json_t *reference);

/* The words of memory that differ from what was remembered, in file->run.changes. */
void vmxsim_collect_changes(struct vmxsim_vector_file *file);

/* Guest state as the case has it. False: the model does not have it, and file->reason says why. */
bool vmxsim_prepare_guest(struct vmxsim_vector_file *file, const struct vmxsim_vector_case *vector);

/* Runs a case of any kind. */
VMXC_MUST_CHECK enum vmxc_status vmxsim_run_case(struct vmxsim_vector_file *file,
                                                 const struct vmxsim_vector_case *vector,
                                                 enum vmxsim_case_verdict *verdict,
                                                 struct vmxsim_error *error);
void vmxsim_count_verdict(struct vmxsim_replay_counts *counts, enum vmxsim_case_verdict verdict);

typedef void vmxsim_access_visit(void *context, size_t index, const struct vmxsim_access *access,
                                 const struct vmxsim_outcome *outcome,
                                 const struct vmxsim_trail *trail);

/*
 * Runs a case of kind `access` and compares it; the reason of the verdict is in file->reason. `visit` (may be
 * NULL) sees each access that ran.
 */
VMXC_MUST_CHECK enum vmxc_status vmxsim_run_access(struct vmxsim_vector_file *file,
                                                   const struct vmxsim_vector_case *vector,
                                                   vmxsim_access_visit *visit, void *context,
                                                   enum vmxsim_case_verdict *verdict,
                                                   struct vmxsim_error *error);
/* The VM entry of a case of any kind but `instructions`; the report is in file->entry_report. Memory is prepared. */
struct vmxsim_entry_outcome vmxsim_case_entry(struct vmxsim_vector_file *file,
                                              const struct vmxsim_vector_case *vector);

/* Compares that VM entry with the verdict, or records it. If they differ, file->reason says how, with every violated rule. */
enum vmxsim_case_verdict vmxsim_entry_verdict(struct vmxsim_vector_file *file,
                                              const struct vmxsim_vector_case *vector);

/* Runs a case of kind `entry` and compares it; `visit` is never called. */
VMXC_MUST_CHECK enum vmxc_status vmxsim_run_entry(struct vmxsim_vector_file *file,
                                                  const struct vmxsim_vector_case *vector,
                                                  vmxsim_access_visit *visit, void *context,
                                                  enum vmxsim_case_verdict *verdict,
                                                  struct vmxsim_error *error);

/* Runs a case of kind `intercept` and compares it; `visit` is never called. */
VMXC_MUST_CHECK enum vmxc_status vmxsim_run_intercept(struct vmxsim_vector_file *file,
                                                      const struct vmxsim_vector_case *vector,
                                                      vmxsim_access_visit *visit, void *context,
                                                      enum vmxsim_case_verdict *verdict,
                                                      struct vmxsim_error *error);

/* Runs a case of kind `event` and compares it; `visit` is never called. */
VMXC_MUST_CHECK enum vmxc_status vmxsim_run_event(struct vmxsim_vector_file *file,
                                                  const struct vmxsim_vector_case *vector,
                                                  vmxsim_access_visit *visit, void *context,
                                                  enum vmxsim_case_verdict *verdict,
                                                  struct vmxsim_error *error);
/* The VM entry delivers an event through the IDT. */
bool vmxsim_injects_event(const struct vmxsim_vmcs *vmcs);

/* Runs a case of kind `instructions` and compares it; `visit` is never called. */
VMXC_MUST_CHECK enum vmxc_status vmxsim_run_instructions(struct vmxsim_vector_file *file,
                                                         const struct vmxsim_vector_case *vector,
                                                         vmxsim_access_visit *visit, void *context,
                                                         enum vmxsim_case_verdict *verdict,
                                                         struct vmxsim_error *error);
void vmxsim_access_run_free(struct vmxsim_access_run *run);

/* ---- Recording ---- */

/* A member that may exist. */
void vmxsim_add_hex(json_t *object, const char *key, bool exists, uint64_t value);
void vmxsim_add_number(json_t *object, const char *key, bool exists, uint64_t value);

/* Replaces file->answer; NULL is a failure that ends the recording. */
void vmxsim_answer(struct vmxsim_vector_file *file, json_t *answer);

/* What led to the answer: a rule that was broken, or that ended a walk; which access ran last, and what it logged. */
void vmxsim_trace_rule(struct vmxsim_vector_file *file, const char *id);
void vmxsim_trace_access(struct vmxsim_vector_file *file, size_t index,
                         const struct vmxsim_trail *trail);

/* The bytes of a fetch that completed; where they lie, also on the first page alone. */
void vmxsim_trace_fetch(struct vmxsim_vector_file *file, const struct vmxsim_outcome *outcome,
                        uint32_t size);

/* A hexadecimal string of the format. */
json_t *vmxsim_hex(uint64_t value);

/* The last VM entry, with every outcome that a processor may report. */
void vmxsim_answer_entry(struct vmxsim_vector_file *file);

/*
 * What a case of kind `access` or `intercept` came to. `trail` is that of the last access (NULL: there is none) of
 * type `type`, and says what is open.
 */
void vmxsim_answer_outcome(struct vmxsim_vector_file *file, const struct vmxsim_vector_case *vector,
                           const struct vmxsim_outcome *outcome, enum vmxsim_access_type type,
                           const struct vmxsim_trail *trail);

/* What a case of kind `event` came to; file->delivery says where the event has gone. */
void vmxsim_answer_delivery(struct vmxsim_vector_file *file, const struct vmxsim_outcome *outcome);

/*
 * `open` of an access that did not complete, NULL if nothing is. `*log_open` says whether it is also open what was
 * logged.
 */
json_t *vmxsim_open_of(const struct vmxsim_vector_file *file, const struct vmxsim_outcome *outcome,
                       enum vmxsim_access_type type, const struct vmxsim_trail *trail,
                       bool *log_open);

/*
 * Compares a run that ended with `outcome` with `verdict`. True: an alternative fits; bit i of `*matched` says whether
 * alternative i does. If none fits, adds to file->reason one line per difference from the first.
 */
bool vmxsim_access_matches(struct vmxsim_vector_file *file, const struct vmxsim_vector_case *vector,
                           const struct vmxsim_outcome *outcome, uint64_t *matched);
#define VMXSIM_MOST_ALTERNATIVES 64u

/* ---- Instructions of a guest, named (version 2) ---- */

/* The keys of `instruction` with this `op`; NULL: there is no such instruction. */
const struct vmxsim_schema *vmxsim_named_instruction_schema(const char *op);
bool vmxsim_is_named_instruction(const json_t *instruction);
/* Errors: those of guest.h. */
VMXC_MUST_CHECK enum vmxc_status vmxsim_run_named_instruction(struct vmxsim_cpu *cpu,
                                                              const json_t *instruction,
                                                              struct vmxsim_outcome *outcome);
/* The VM exit is due to the execution of the instruction. */
bool vmxsim_exit_has_length(const struct vmxsim_outcome *outcome);
/* The instruction gives a general-purpose register the value of the outcome. */
bool vmxsim_reads_register(const json_t *instruction);

/* ---- Accesses while translations change ---- */

/* An element of `accesses` that is none. */
bool vmxsim_is_round_step(const json_t *element);
/* `outcome` stays as it is where nothing ends the case. */
VMXC_MUST_CHECK enum vmxc_status vmxsim_run_round_step(struct vmxsim_vector_file *file,
                                                       const json_t *element,
                                                       struct vmxsim_outcome *outcome);

/* What all runs of a case came to. Start with zeros. */
struct vmxsim_answer_set {
    uint32_t runs, agreed;
    uint64_t matched;        /* alternatives of the verdict */
    json_t *answers, *trace; /* recording: the different ones */
};
void vmxsim_answer_set_add(struct vmxsim_answer_set *set, struct vmxsim_vector_file *file,
                           const struct vmxsim_vector_case *vector,
                           const struct vmxsim_outcome *outcome, enum vmxsim_access_type type,
                           const struct vmxsim_trail *trail);
/* Records the set, or compares it with the verdict: a set of several answers has to be the one in `any_of`, if there is one. */
enum vmxsim_case_verdict vmxsim_answer_set_judge(struct vmxsim_answer_set *set,
                                                 struct vmxsim_vector_file *file,
                                                 const struct vmxsim_vector_case *vector);
void vmxsim_answer_set_free(struct vmxsim_answer_set *set);

#endif
