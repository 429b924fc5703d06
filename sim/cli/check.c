/* SPDX-License-Identifier: Apache-2.0 */
/* `vmxsim check`: what a processor makes of a VMCS, and every rule that it breaks. */
#include "check.h"

#include "vmxcore/defs/exit_reason.h"
#include "vmxsim/explain.h"
#include "vmxsim/replay.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const char help[] =
    "usage: vmxsim check [--format F] [--profile P] [--json] FILE\n"
    "       vmxsim check --vector FILE --case ID [--json]\n"
    "\n"
    "Evaluates every VM-entry check on a VMCS: prints what the processor would report, every rule "
    "that is\n"
    "violated with the fields, the bits at fault and the smallest change, and the rules that "
    "cannot be\n"
    "decided because a field is not known. FILE is a VMCS (\"-\": standard input); or a case of a "
    "vector\n"
    "file, of kind `entry` or `access`.\n"
    "\n"
    "formats:\n"
    "  json    {\"GUEST_CR0\": \"0x31\", \"0x6802\": 4096, ...}, or {\"vmcs\": {...}, \"others\": "
    "\"zero\",\n"
    "          \"profile\": \"icelake\", \"processor\": {\"vmresume\": true}, \"memory\": "
    "{\"0x1000\": \"0x4\"}}\n"
    "  linux   a kernel log with what KVM prints when a VM entry fails\n"
    "          (modprobe kvm_intel dump_invalid_vmcs=1), with timestamps and prefixes or without\n"
    "  vmcs12  what KVM_GET_NESTED_STATE returns, or the vmcs12 alone\n"
    "\n"
    "options:\n"
    "  --format F                auto (default), json, linux or vmcs12\n"
    "  --profile P               processor: a name or a file (default: the input's, or "
    "everything)\n"
    "  --vector FILE, --case ID  vector file, and id of the case\n"
    "  --json                    the same as JSON\n"
    "  --help                    this text\n"
    "\n"
    "exit status: 0 no rule is violated, 1 at least one is, 2 wrong usage or input that cannot be "
    "used\n";

static const struct option options[] = {
    {"format", required_argument, NULL, 'f'},
    {"profile", required_argument, NULL, 'p'},
    {"vector", required_argument, NULL, 'v'},
    {"case", required_argument, NULL, 'c'},
    {"json", no_argument, NULL, 'j'},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

struct request {
    const char *file, *profile, *vector, *case_id;
    enum vmxsim_vmcs_format format;
    bool json, help;
};

bool cli_vmcs_format(const char *command, const char *name, enum vmxsim_vmcs_format *format)
{
    for (unsigned i = 0; i < VMXSIM_VMCS_FORMAT_COUNT; i++) {
        if (strcmp(vmxsim_vmcs_format_name((enum vmxsim_vmcs_format)i), name) == 0) {
            *format = (enum vmxsim_vmcs_format)i;
            return true;
        }
    }
    (void)cli_usage(command, "--format: \"%s\" is not auto, json, linux or vmcs12", name);
    return false;
}

/* ---- Output ---- */

static enum cli_status print_report(bool json, json_t *about,
                                    const struct vmxsim_entry_input *input,
                                    const struct vmxsim_entry_report *report)
{
    enum cli_status status;

    if (json) {
        json_t *const shown = cli_json_embed(vmxsim_explain_entry_json(input, report));
        if (shown != NULL && about != NULL)
            (void)json_object_set(shown, "input", about);
        status = cli_print_json(shown);
    } else {
        status = cli_print(vmxsim_explain_entry(input, report));
    }
    if (status != CLI_OK)
        return status;
    return report->violation_count == 0 ? CLI_OK : CLI_FINDING;
}

static void print_instruction(const struct vmxsim_entry_processor *processor)
{
    (void)printf("%s of a VMCS that is %s, at CPL %u in %s mode",
                 processor->vmresume ? "VMRESUME" : "VMLAUNCH",
                 processor->launched ? "launched" : "clear", processor->cpl,
                 processor->code_64bit ? "64-bit" : "32-bit");
}

static void print_notes(const char *notes)
{
    while (*notes != '\0') {
        const size_t length = strcspn(notes, "\n");
        (void)printf("note: %.*s\n", (int)length, notes);
        notes += length + (notes[length] != '\0');
    }
}

/* What the processor has left in the exit-information fields. */
static void print_recorded(const struct vmxsim_vmcs_reading *reading)
{
    const uint64_t reason = VMXSIM_VMCS(&reading->vmcs, EXIT_REASON);
    const char *const name = vmxsim_exit_reason_name((uint32_t)reason & UINT16_MAX);

    if (!(reason & VMXC_EXIT_REASON_ENTRY_FAILURE))
        return;
    (void)printf("recorded in it: VM-entry failure, exit reason %u (%s)",
                 (unsigned)(reason & UINT16_MAX), name != NULL ? name : "not in use");
    if (vmxsim_vmcs_is_known(reading->known, VMXC_VMCS_ORDINAL_EXIT_QUALIFICATION))
        (void)printf(", qualification 0x%" PRIx64, VMXSIM_VMCS(&reading->vmcs, EXIT_QUALIFICATION));
    (void)putchar('\n');
}

static void print_about(const struct vmxsim_vmcs_reading *reading, const struct request *request,
                        const struct vmxsim_profile *profile)
{
    cli_print_safe(request->file);
    (void)printf(": %s, %" PRIu32 " of %d fields known; processor ",
                 vmxsim_vmcs_format_name(reading->format), reading->known_count,
                 (int)VMXC_VMCS_FIELD_COUNT);
    cli_print_safe(vmxsim_profile_name(profile));
    (void)puts(request->profile == NULL && reading->profile == NULL ? " (assumed, see --profile)"
                                                                    : "");
    print_instruction(&reading->processor);
    (void)printf("%s\n", reading->processor_given ? "" : " (assumed)");
    print_recorded(reading);
    print_notes(reading->notes);
    (void)putchar('\n');
}

static json_t *json_notes(const char *notes)
{
    json_t *const list = json_array();

    while (*notes != '\0') {
        const size_t length = strcspn(notes, "\n");
        (void)json_array_append_new(list, json_stringn(notes, length));
        notes += length + (notes[length] != '\0');
    }
    return list;
}

static json_t *json_about(const struct vmxsim_vmcs_reading *reading, const char *file,
                          const struct vmxsim_profile *profile)
{
    json_t *const about = json_object();
    const struct vmxsim_entry_processor *const processor = &reading->processor;

    (void)json_object_set_new(about, "file", cli_json_string(file));
    (void)json_object_set_new(about, "format",
                              cli_json_string(vmxsim_vmcs_format_name(reading->format)));
    (void)json_object_set_new(about, "known_fields", json_integer(reading->known_count));
    (void)json_object_set_new(about, "profile", cli_json_string(vmxsim_profile_name(profile)));
    (void)json_object_set_new(about, "instruction",
                              cli_json_string(processor->vmresume ? "vmresume" : "vmlaunch"));
    (void)json_object_set_new(about, "processor_assumed", json_boolean(!reading->processor_given));
    (void)json_object_set_new(about, "lines_not_understood",
                              json_integer(reading->lines_not_understood));
    (void)json_object_set_new(about, "lines_around", json_integer(reading->lines_around));
    (void)json_object_set_new(about, "notes", json_notes(reading->notes));
    return about;
}

/* ---- A VMCS ---- */

static enum cli_status check_reading(const struct request *request,
                                     const struct vmxsim_vmcs_reading *reading,
                                     const struct vmxsim_profile *profile)
{
    static struct vmxsim_entry_report report; /* too large for some stacks */
    const struct vmxsim_entry_input input = {
        .vmcs = &reading->vmcs,
        .known = reading->known,
        .profile = profile,
        .processor = &reading->processor,
        .memory = reading->memory,
    };
    json_t *const about = request->json ? json_about(reading, request->file, profile) : NULL;

    vmxsim_entry_check(&input, &report);
    if (!request->json)
        print_about(reading, request, profile);
    const enum cli_status status = print_report(request->json, about, &input, &report);
    json_decref(about);
    return status;
}

static enum cli_status check_file(const struct request *request)
{
    struct vmxsim_vmcs_reading reading;
    struct cli_profile opened = {.profile = NULL};
    struct vmxsim_error error;
    enum cli_status status = CLI_ERROR;

    if (vmxsim_vmcs_read_file(request->file, request->format, &reading, &error) != VMXC_OK)
        return cli_complain("%s", error.text);
    if (request->profile == NULL && reading.profile != NULL)
        status = check_reading(request, &reading, reading.profile);
    else if (cli_profile_open(request->profile != NULL ? request->profile : "everything", &opened))
        status = check_reading(request, &reading, opened.profile);
    cli_profile_close(&opened);
    vmxsim_vmcs_reading_free(&reading);
    return status;
}

/* ---- A recorded case ---- */

struct shown_case {
    bool json;
    enum cli_status status;
};

static void show_case(void *context, const struct vmxsim_entry_input *input,
                      const struct vmxsim_entry_report *report)
{
    struct shown_case *const shown = context;

    if (!shown->json) {
        print_instruction(input->processor);
        (void)printf("\n\n");
    }
    shown->status = print_report(shown->json, NULL, input, report);
}

static enum cli_status check_case(const struct request *request)
{
    struct shown_case shown = {.json = request->json, .status = CLI_ERROR};
    struct vmxsim_error error;

    if (vmxsim_replay_entry(request->vector, request->case_id, show_case, &shown, &error) !=
        VMXC_OK)
        return cli_complain("%s", error.text);
    return shown.status;
}

/* ---- Command line ---- */

static enum cli_status set_option(struct request *request, int option, char **argv)
{
    switch (option) {
    case 'f':
        return cli_vmcs_format("check", optarg, &request->format) ? CLI_OK : CLI_ERROR;
    case 'p':
        request->profile = optarg;
        return CLI_OK;
    case 'v':
        request->vector = optarg;
        return CLI_OK;
    case 'c':
        request->case_id = optarg;
        return CLI_OK;
    case 'j':
        request->json = true;
        return CLI_OK;
    case 'h':
        request->help = true;
        return CLI_OK;
    default:
        return cli_bad_option("check", argv, option);
    }
}

static enum cli_status check(const struct request *request)
{
    if ((request->vector == NULL) != (request->case_id == NULL))
        return cli_usage("check", "--vector and --case belong together");
    if (request->vector == NULL)
        return request->file != NULL ? check_file(request)
                                     : cli_usage("check", "needs a file or --vector");
    if (request->file != NULL)
        return cli_usage("check", "either a file or --vector");
    if (request->profile != NULL || request->format != VMXSIM_VMCS_FORMAT_AUTO)
        return cli_usage("check", "--format and --profile do not belong to --vector");
    return check_case(request);
}

enum cli_status cli_check(int argc, char **argv)
{
    struct request request = {.format = VMXSIM_VMCS_FORMAT_AUTO};
    int option;

    while ((option = getopt_long(argc, argv, ":h", options, NULL)) != -1) {
        const enum cli_status status = set_option(&request, option, argv);
        if (status != CLI_OK)
            return status;
    }
    if (request.help) {
        (void)fputs(help, stdout);
        return CLI_OK;
    }
    if (argc - optind > 1)
        return cli_usage("check", "one file at a time");
    request.file = optind < argc ? argv[optind] : NULL;
    return check(&request);
}
