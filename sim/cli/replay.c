/* SPDX-License-Identifier: Apache-2.0 */
/* `vmxsim replay`: recorded vectors against the model. */
#include "cli.h"

#include "vmxsim/explain.h"
#include "vmxsim/replay.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char help[] =
    "usage: vmxsim replay [-v] [--json] [--tlb MODE] FILE...\n"
    "       vmxsim replay --record FILE [--json] FILE\n"
    "\n"
    "Runs recorded vectors (JSON Lines, docs/vectors.md) on the model and says where it\n"
    "agrees: guest accesses, VM entries, instruction intercepts, sequences of VMX instructions.\n"
    "Cases are compared with `sdm` where they have it and with `expect` otherwise. A case that\n"
    "needs a feature which the model does not have is not supported: shown, counted, and never\n"
    "agreement.\n"
    "\n"
    "With --record the model's answers are written instead, as the `expect` of each case; the\n"
    "cases need not have one. A case that the model cannot run gets the result not_runnable.\n"
    "\n"
    "options:\n"
    "  -v, --verbose  one line for each case, and its hazards: what its software did that\n"
    "                 the manual warns of\n"
    "  --json         the same as JSON\n"
    "  --tlb MODE     what the processor caches: off (default), exact (outcomes are those of "
    "off),\n"
    "                 lazy (what it may keep until something invalidates it)\n"
    "  --record FILE  write the model's answers there\n"
    "  --help         this text\n"
    "\n"
    "exit status: 0 every case of every file agrees; 1 a case differs or is not supported, or\n"
    "a file has no cases; 2 wrong usage or a file that cannot be read or written\n";

static const struct option options[] = {
    {"verbose", no_argument, NULL, 'v'},   {"json", no_argument, NULL, 'j'},
    {"tlb", required_argument, NULL, 't'}, {"record", required_argument, NULL, 'r'},
    {"help", no_argument, NULL, 'h'},      {NULL, 0, NULL, 0},
};

#define PROGRESS_INTERVAL 1000u /* cases */

/* One file, while it is replayed. */
struct session {
    bool verbose, json, progress;
    enum vmxsim_tlb_mode tlb;
    uint64_t cases;
    json_t *listed; /* JSON: the cases that are worth a mention */
};

/* ---- Cases ---- */

static const char *verdict_name(enum vmxsim_case_verdict verdict)
{
    switch (verdict) {
    case VMXSIM_CASE_AGREES:
        return "agrees";
    case VMXSIM_CASE_DIFFERS:
        return "differs";
    case VMXSIM_CASE_UNSUPPORTED:
        return "not supported";
    }
    return "?";
}

static void print_lines(const char *lines)
{
    while (*lines != '\0') {
        const size_t length = strcspn(lines, "\n");
        (void)printf("    %.*s\n", (int)length, lines);
        lines += length + (lines[length] == '\n');
    }
}

static void print_hazards(const struct vmxsim_case_result *result)
{
    if (result->hazard_count > result->hazards_kept)
        (void)printf("    %" PRIu64 " hazards; the last %" PRIu32 ":\n", result->hazard_count,
                     result->hazards_kept);
    for (uint32_t i = 0; i < result->hazards_kept; i++) {
        char *const text = vmxsim_explain_hazard(&result->hazard[i]);
        if (text != NULL)
            print_lines(text);
        free(text);
    }
}

static void print_case(const struct vmxsim_case_result *result)
{
    (void)printf("%s:%zu: ", result->file, result->line);
    cli_print_safe(result->id);
    (void)printf(": %s", verdict_name(result->verdict));
    if (result->deviates != NULL)
        (void)printf(" (compared with sdm, %s)", result->deviates);
    if (result->note[0] != '\0') {
        (void)fputs("; note: ", stdout);
        cli_print_safe(result->note);
    }
    (void)putchar('\n');
    if (result->verdict != VMXSIM_CASE_AGREES)
        print_lines(result->reason);
    print_hazards(result);
}

static json_t *split_lines(const char *lines)
{
    json_t *const array = json_array();
    while (*lines != '\0') {
        const size_t length = strcspn(lines, "\n");
        (void)json_array_append_new(array, json_stringn(lines, length));
        lines += length + (lines[length] == '\n');
    }
    return array;
}

static json_t *hazards_to_json(const struct vmxsim_case_result *result)
{
    json_t *const array = json_array();
    for (uint32_t i = 0; i < result->hazards_kept; i++)
        (void)json_array_append_new(array,
                                    cli_json_embed(vmxsim_explain_hazard_json(&result->hazard[i])));
    return array;
}

static void list_case(json_t *listed, const struct vmxsim_case_result *result)
{
    json_t *const object = json_object();
    (void)json_object_set_new(object, "id", cli_json_string(result->id));
    (void)json_object_set_new(object, "line", json_integer((json_int_t)result->line));
    (void)json_object_set_new(object, "kind", json_string(vmxsim_case_kind_name(result->kind)));
    (void)json_object_set_new(object, "verdict", json_string(verdict_name(result->verdict)));
    if (result->deviates != NULL)
        (void)json_object_set_new(object, "deviates", cli_json_string(result->deviates));
    if (result->note[0] != '\0')
        (void)json_object_set_new(object, "note", cli_json_string(result->note));
    if (result->verdict != VMXSIM_CASE_AGREES)
        (void)json_object_set_new(object, "reason", split_lines(result->reason));
    if (result->hazard_count > 0) {
        (void)json_object_set_new(object, "hazard_count",
                                  json_integer((json_int_t)result->hazard_count));
        (void)json_object_set_new(object, "hazards", hazards_to_json(result));
    }
    (void)json_array_append_new(listed, object);
}

static void on_case(void *context, const struct vmxsim_case_result *result)
{
    struct session *const session = context;

    session->cases++;
    if (session->verbose || result->verdict != VMXSIM_CASE_AGREES) {
        if (session->json)
            list_case(session->listed, result);
        else
            print_case(result);
    }
    if (session->progress && session->cases % PROGRESS_INTERVAL == 0)
        (void)fprintf(stderr, "\rvmxsim: %s: %" PRIu64 " cases", result->file, session->cases);
}

static void clear_progress(const struct session *session)
{
    if (session->progress && session->cases >= PROGRESS_INTERVAL)
        (void)fputs("\r\033[K", stderr);
}

/* ---- Summaries ---- */

static void add_counts(struct vmxsim_replay_summary *total,
                       const struct vmxsim_replay_summary *summary)
{
    for (unsigned kind = 0; kind < VMXSIM_CASE_KIND_COUNT; kind++) {
        total->kind[kind].cases += summary->kind[kind].cases;
        total->kind[kind].agree += summary->kind[kind].agree;
        total->kind[kind].differ += summary->kind[kind].differ;
        total->kind[kind].unsupported += summary->kind[kind].unsupported;
    }
}

static void print_counts(const char *title, const struct vmxsim_replay_summary *summary)
{
    for (unsigned kind = 0; kind < VMXSIM_CASE_KIND_COUNT; kind++) {
        const struct vmxsim_replay_counts *const counts = &summary->kind[kind];
        const char *const name = vmxsim_case_kind_name((enum vmxsim_case_kind)kind);
        if (counts->cases == 0)
            continue;
        (void)printf("%s: %s: %" PRIu64 " of %" PRIu64 " cases agree, %" PRIu64 " differ, %" PRIu64
                     " not supported\n",
                     title, name, counts->agree, counts->cases, counts->differ,
                     counts->unsupported);
    }
}

static json_t *counts_to_json(const struct vmxsim_replay_summary *summary)
{
    json_t *const object = json_object();
    for (unsigned kind = 0; kind < VMXSIM_CASE_KIND_COUNT; kind++) {
        const struct vmxsim_replay_counts *const counts = &summary->kind[kind];
        if (counts->cases == 0)
            continue;
        (void)json_object_set_new(object, vmxsim_case_kind_name((enum vmxsim_case_kind)kind),
                                  json_pack("{s:I,s:I,s:I,s:I}", "cases", (json_int_t)counts->cases,
                                            "agree", (json_int_t)counts->agree, "differ",
                                            (json_int_t)counts->differ, "unsupported",
                                            (json_int_t)counts->unsupported));
    }
    return object;
}

/* What a file's summary means for the exit status. A file without cases has shown nothing. */
static enum cli_status judge(const struct vmxsim_replay_summary *summary)
{
    uint64_t cases = 0, agree = 0;
    for (unsigned kind = 0; kind < VMXSIM_CASE_KIND_COUNT; kind++) {
        cases += summary->kind[kind].cases;
        agree += summary->kind[kind].agree;
    }
    return cases != 0 && agree == cases ? CLI_OK : CLI_FINDING;
}

/* ---- Files ---- */

static enum cli_status worse(enum cli_status a, enum cli_status b)
{
    return a > b ? a : b;
}

static void add_file_json(json_t *files, const char *path, const struct session *session,
                          const struct vmxsim_replay_summary *summary, const char *error)
{
    json_t *const object = json_object();
    (void)json_object_set_new(object, "file", cli_json_string(path));
    (void)json_object_set_new(object, "kinds", counts_to_json(summary));
    (void)json_object_set(object, "cases", session->listed);
    if (error != NULL)
        (void)json_object_set_new(object, "error", cli_json_string(error));
    (void)json_array_append_new(files, object);
}

static enum cli_status replay_one(const char *path, struct session *session, json_t *files,
                                  struct vmxsim_replay_summary *total)
{
    struct vmxsim_replay_summary summary;
    struct vmxsim_error error;

    memset(&summary, 0, sizeof summary);
    session->cases = 0;
    session->listed = json_array();
    const enum vmxc_status status =
        vmxsim_replay_file_cached(path, session->tlb, on_case, session, &summary, &error);
    clear_progress(session);
    add_counts(total, &summary);
    if (session->json)
        add_file_json(files, path, session, &summary, status != VMXC_OK ? error.text : NULL);
    else if (status == VMXC_OK && session->cases == 0)
        (void)printf("%s: no cases\n", path);
    else
        print_counts(path, &summary);
    json_decref(session->listed);
    return status != VMXC_OK ? cli_complain("%s", error.text) : judge(&summary);
}

static enum cli_status replay_all(int count, char **paths, struct session *session)
{
    struct vmxsim_replay_summary total;
    json_t *const files = json_array();
    enum cli_status status = CLI_OK;

    memset(&total, 0, sizeof total);
    for (int i = 0; i < count; i++)
        status = worse(status, replay_one(paths[i], session, files, &total));
    if (session->json) {
        json_t *const document = json_object();
        (void)json_object_set(document, "files", files);
        (void)json_object_set_new(document, "total", counts_to_json(&total));
        status = worse(status, cli_print_json(document));
    } else if (count > 1) {
        print_counts("total", &total);
    }
    json_decref(files);
    return status;
}

/* ---- Recording ---- */

static enum cli_status print_recorded(const struct session *session, const char *path,
                                      const struct vmxsim_replay_summary *summary)
{
    if (session->json)
        return cli_print_json(json_pack("{s:o,s:o}", "file", cli_json_string(path), "kinds",
                                        counts_to_json(summary)));
    for (unsigned kind = 0; kind < VMXSIM_CASE_KIND_COUNT; kind++) {
        const struct vmxsim_replay_counts *const counts = &summary->kind[kind];
        if (counts->cases != 0)
            (void)printf("%s: %s: %" PRIu64 " cases recorded, %" PRIu64 " not runnable\n", path,
                         vmxsim_case_kind_name((enum vmxsim_case_kind)kind), counts->agree,
                         counts->unsupported);
    }
    return CLI_OK;
}

static enum cli_status record(const char *path, const char *target, const struct session *session)
{
    struct vmxsim_replay_summary summary;
    struct vmxsim_error error;
    FILE *const stream = fopen(target, "w");

    if (stream == NULL)
        return cli_complain("%s: %s", target, strerror(errno));
    memset(&summary, 0, sizeof summary);
    const enum vmxc_status status = vmxsim_replay_record(path, stream, &summary, &error);
    if (fclose(stream) != 0 && status == VMXC_OK)
        return cli_complain("%s: %s", target, strerror(errno));
    if (status != VMXC_OK)
        return cli_complain("%s", error.text);
    return print_recorded(session, path, &summary);
}

static bool read_tlb_mode(const char *name, enum vmxsim_tlb_mode *mode)
{
    for (unsigned i = 0; i < VMXSIM_TLB_MODE_COUNT; i++) {
        *mode = (enum vmxsim_tlb_mode)i;
        if (strcmp(name, vmxsim_tlb_mode_name(*mode)) == 0)
            return true;
    }
    return false;
}

enum cli_status cli_replay(int argc, char **argv)
{
    struct session session = {.progress = isatty(STDERR_FILENO) != 0};
    const char *target = NULL;
    int option;

    while ((option = getopt_long(argc, argv, ":vh", options, NULL)) != -1) {
        switch (option) {
        case 'v':
            session.verbose = true;
            break;
        case 'j':
            session.json = true;
            break;
        case 't':
            if (!read_tlb_mode(optarg, &session.tlb))
                return cli_usage("replay", "--tlb: \"%s\" is not off, exact or lazy", optarg);
            break;
        case 'r':
            target = optarg;
            break;
        case 'h':
            (void)fputs(help, stdout);
            return CLI_OK;
        default:
            return cli_bad_option("replay", argv, option);
        }
    }
    if (optind == argc)
        return cli_usage("replay", "no file given");
    if (target != NULL && optind + 1 != argc)
        return cli_usage("replay", "--record takes one file");
    if (target != NULL && session.tlb != VMXSIM_TLB_OFF)
        return cli_usage("replay", "--record needs --tlb off: it reads each entry");
    if (target != NULL)
        return record(argv[optind], target, &session);
    return replay_all(argc - optind, argv + optind, &session);
}
