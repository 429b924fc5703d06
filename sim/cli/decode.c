/* SPDX-License-Identifier: Apache-2.0 */
/* `vmxsim decode`: hardware words and numbers, in words. */
#include "cli.h"

#include "vmxcore/defs/exit_reason.h"
#include "vmxsim/explain.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const char help[] =
    "usage: vmxsim decode WHAT [--profile P] [--level N] [--reason R] [--vector V] [--json] VALUE\n"
    "\n"
    "Says what a value means. Numbers are decimal or 0x...; WHAT is one of:\n"
    "\n"
    "VM exits\n"
    "  exit-reason             the exit-reason field, or a basic exit reason\n"
    "  qualification           exit qualification; --reason says of what (default: 48, an EPT "
    "violation)\n"
    "  io-qualification        ... of an I/O instruction\n"
    "  cr-qualification        ... of a control-register access\n"
    "  instruction-info        VM-exit instruction information; needs --reason\n"
    "  exit-interruption-info, idt-vectoring-info\n"
    "\n"
    "controls\n"
    "  pin, primary, secondary, tertiary, exit, secondary-exit, entry\n"
    "  vm-functions, exception-bitmap, entry-interruption-info\n"
    "  interruption-info       whichever of the three fields of events it is\n"
    "\n"
    "guest state\n"
    "  access-rights           of a segment\n"
    "  interruptibility, activity, pending-debug\n"
    "\n"
    "translation\n"
    "  eptp\n"
    "  ept-entry               --level says which\n"
    "  page-fault              error code of a page fault\n"
    "\n"
    "numbers\n"
    "  error                   VM-instruction error\n"
    "\n"
    "options:\n"
    "  --level N    level of the EPT entry: 1 (PTE, the default) to 5 (PML5E)\n"
    "  --reason R   basic exit reason: a number, or a name (task-switch, vmread, ...)\n"
    "  --vector V   exit reason 0: vector of the exception, which decides what the qualification "
    "holds\n"
    "  --profile P  processor that decides what is reserved: a name or a file (default: "
    "everything)\n"
    "  --json       the same as JSON\n"
    "  --help       this text\n"
    "\n"
    "exit status: 0 the value is valid, 1 it is not (reserved bits, no such number), 2 wrong "
    "usage\n";

static const struct option options[] = {
    {"level", required_argument, NULL, 'l'},
    {"reason", required_argument, NULL, 'r'},
    {"vector", required_argument, NULL, 'v'},
    {"profile", required_argument, NULL, 'p'},
    {"json", no_argument, NULL, 'j'},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

struct request {
    const char *what, *profile;
    unsigned level;
    uint32_t reason;
    uint8_t vector;
    bool has_level, has_reason, has_vector, json, help;
    uint64_t value;
};

static enum cli_status print_decoded(const struct request *request,
                                     const struct vmxsim_decoded *decoded)
{
    const enum cli_status status =
        cli_print(request->json ? vmxsim_decoded_json(decoded) : vmxsim_decoded_text(decoded));
    if (status != CLI_OK)
        return status;
    return decoded->valid ? CLI_OK : CLI_FINDING;
}

static enum cli_status no_such_reason(uint32_t reason)
{
    return cli_usage("decode", "--reason: %" PRIu32 " is not in use", reason);
}

static enum cli_status decode_qualification(const struct request *request)
{
    const uint32_t reason = request->has_reason ? request->reason : VMXC_EXIT_REASON_EPT_VIOLATION;
    struct vmxsim_decoded decoded;

    if (request->has_vector != (reason == VMXC_EXIT_REASON_EXCEPTION_OR_NMI))
        return cli_usage("decode", "exit reason 0, and no other, needs --vector");
    return vmxsim_decode_exit_qualification(reason, request->vector, request->value, &decoded)
               ? print_decoded(request, &decoded)
               : no_such_reason(reason);
}

static enum cli_status decode_instruction_info(const struct request *request)
{
    struct vmxsim_decoded decoded;

    if (!request->has_reason)
        return cli_usage("decode", "instruction-info needs --reason");
    return vmxsim_decode_instruction_info(request->reason, (uint32_t)request->value, &decoded)
               ? print_decoded(request, &decoded)
               : no_such_reason(request->reason);
}

static enum cli_status decode_eptp(const struct request *request)
{
    struct vmxsim_decoded decoded;
    struct cli_profile opened;
    if (!cli_profile_open(request->profile, &opened))
        return CLI_ERROR;
    vmxsim_decode_eptp(request->value, vmxsim_profile_features(opened.profile), &decoded);
    cli_profile_close(&opened);
    return print_decoded(request, &decoded);
}

static enum cli_status decode_ept_entry(const struct request *request)
{
    struct vmxsim_decoded decoded;
    struct cli_profile opened;
    if (!cli_profile_open(request->profile, &opened))
        return CLI_ERROR;
    vmxsim_decode_ept_entry(request->value, request->level, vmxsim_profile_features(opened.profile),
                            &decoded);
    cli_profile_close(&opened);
    return print_decoded(request, &decoded);
}

/* True if `name` is one of the words of control bits. */
static bool find_control_word(const char *name, enum vmxc_control_word *word)
{
    for (unsigned i = 0; i < VMXC_CONTROL_WORD_COUNT; i++) {
        if (strcmp(vmxsim_control_word_name((enum vmxc_control_word)i), name) == 0) {
            *word = (enum vmxc_control_word)i;
            return true;
        }
    }
    return false;
}

static enum cli_status decode_controls(const struct request *request, enum vmxc_control_word word)
{
    struct vmxsim_decoded decoded;
    struct cli_profile opened;
    if (!cli_profile_open(request->profile, &opened))
        return CLI_ERROR;
    vmxsim_decode_controls(word, request->value, opened.profile, &decoded);
    cli_profile_close(&opened);
    return print_decoded(request, &decoded);
}

static enum cli_status decode_vm_functions(const struct request *request)
{
    struct vmxsim_decoded decoded;
    struct cli_profile opened;
    if (!cli_profile_open(request->profile, &opened))
        return CLI_ERROR;
    vmxsim_decode_vm_functions(request->value, opened.profile, &decoded);
    cli_profile_close(&opened);
    return print_decoded(request, &decoded);
}

/* Words that depend on nothing else. */
#define DECODE_PLAIN(name, call)                                        \
    static enum cli_status decode_##name(const struct request *request) \
    {                                                                   \
        struct vmxsim_decoded decoded;                                  \
        call;                                                           \
        return print_decoded(request, &decoded);                        \
    }
#define DECODE_32(name, function) DECODE_PLAIN(name, function((uint32_t)request->value, &decoded))
#define DECODE_64(name, function) DECODE_PLAIN(name, function(request->value, &decoded))
#define DECODE_EVENT(name, field)                                                   \
    DECODE_PLAIN(name, vmxsim_decode_interruption_info(VMXSIM_INTERRUPTION_##field, \
                                                       (uint32_t)request->value, &decoded))

DECODE_32(page_fault, vmxsim_decode_page_fault_error)
DECODE_32(access_rights, vmxsim_decode_access_rights)
DECODE_32(exception_bitmap, vmxsim_decode_exception_bitmap)
DECODE_32(activity, vmxsim_decode_activity)
DECODE_32(interruptibility, vmxsim_decode_interruptibility)
DECODE_64(pending_debug, vmxsim_decode_pending_debug)
DECODE_64(io_qualification, vmxsim_decode_io_qualification)
DECODE_64(cr_qualification, vmxsim_decode_cr_qualification)
DECODE_32(exit_reason, vmxsim_decode_exit_reason)
DECODE_EVENT(any_event, ANY)
DECODE_EVENT(entry_event, ENTRY)
DECODE_EVENT(exit_event, EXIT)
DECODE_EVENT(idt_event, IDT_VECTORING)

static enum cli_status decode_error(const struct request *request)
{
    const char *const name = vmxsim_vm_instruction_error_text((uint32_t)request->value);
    const enum cli_status found = name != NULL ? CLI_OK : CLI_FINDING;

    if (!request->json) {
        (void)printf("VM-instruction error %" PRIu64 ": %s\n", request->value,
                     name != NULL ? name : "not in use");
        return found;
    }
    json_t *const document = json_object();
    (void)json_object_set_new(document, "what", cli_json_string("VM-instruction error"));
    (void)json_object_set_new(document, "value", cli_json_hex(request->value));
    (void)json_object_set_new(document, "number", json_integer((json_int_t)request->value));
    (void)json_object_set_new(document, "valid", json_boolean(name != NULL));
    if (name != NULL)
        (void)json_object_set_new(document, "meaning", cli_json_string(name));
    const enum cli_status status = cli_print_json(document);
    return status != CLI_OK ? status : found;
}

/* Options that mean nothing for most words. */
enum { TAKES_LEVEL = 1, TAKES_REASON = 2, TAKES_VECTOR = 4 };

static const struct {
    const char *name;
    uint64_t max;
    enum cli_status (*run)(const struct request *request);
    unsigned options;
} words[] = {
    {"qualification", UINT64_MAX, decode_qualification, TAKES_REASON | TAKES_VECTOR},
    {"instruction-info", UINT32_MAX, decode_instruction_info, TAKES_REASON},
    {"eptp", UINT64_MAX, decode_eptp, 0},
    {"ept-entry", UINT64_MAX, decode_ept_entry, TAKES_LEVEL},
    {"page-fault", UINT32_MAX, decode_page_fault, 0},
    {"vm-functions", UINT64_MAX, decode_vm_functions, 0},
    {"exception-bitmap", UINT32_MAX, decode_exception_bitmap, 0},
    {"access-rights", UINT32_MAX, decode_access_rights, 0},
    {"activity", UINT32_MAX, decode_activity, 0},
    {"interruptibility", UINT32_MAX, decode_interruptibility, 0},
    {"pending-debug", UINT64_MAX, decode_pending_debug, 0},
    {"interruption-info", UINT32_MAX, decode_any_event, 0},
    {"entry-interruption-info", UINT32_MAX, decode_entry_event, 0},
    {"exit-interruption-info", UINT32_MAX, decode_exit_event, 0},
    {"idt-vectoring-info", UINT32_MAX, decode_idt_event, 0},
    {"io-qualification", UINT64_MAX, decode_io_qualification, 0},
    {"cr-qualification", UINT64_MAX, decode_cr_qualification, 0},
    {"exit-reason", UINT32_MAX, decode_exit_reason, 0},
    {"error", UINT32_MAX, decode_error, 0},
};

static bool refuse_options(const struct request *request, unsigned taken)
{
    if (request->has_level && !(taken & TAKES_LEVEL))
        (void)cli_usage("decode", "--level belongs to ept-entry");
    else if (request->has_reason && !(taken & TAKES_REASON))
        (void)cli_usage("decode", "--reason belongs to qualification and instruction-info");
    else if (request->has_vector && !(taken & TAKES_VECTOR))
        (void)cli_usage("decode", "--vector belongs to qualification");
    else
        return false;
    return true;
}

static enum cli_status decode(struct request *request, const char *value)
{
    enum vmxc_control_word word;

    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (strcmp(words[i].name, request->what) != 0)
            continue;
        if (!cli_number("decode", "VALUE", value, words[i].max, &request->value) ||
            refuse_options(request, words[i].options))
            return CLI_ERROR;
        return words[i].run(request);
    }
    if (!find_control_word(request->what, &word))
        return cli_usage("decode", "cannot decode \"%s\"", request->what);
    const uint64_t max = UINT64_MAX >> (64 - vmxsim_control_word_width(word));
    if (!cli_number("decode", "VALUE", value, max, &request->value) || refuse_options(request, 0))
        return CLI_ERROR;
    return decode_controls(request, word);
}

/* "task-switch" is TASK_SWITCH. */
static bool is_name(const char *name, const char *spelled)
{
    for (; *name != '\0' && *spelled != '\0'; name++, spelled++) {
        const int letter = *spelled == '-' ? '_' : toupper((unsigned char)*spelled);
        if (*name != letter)
            return false;
    }
    return *name == *spelled;
}

static enum cli_status set_reason(struct request *request, const char *text)
{
    static const struct {
        const char *name;
        uint32_t number;
    } reasons[] = {
#define VMXC_EXIT_REASON(number, name, manual_name) {#name, number},
#include "vmxcore/defs/exit_reasons.def"
    };
    uint64_t number;

    request->has_reason = true;
    for (size_t i = 0; i < sizeof reasons / sizeof reasons[0]; i++) {
        if (is_name(reasons[i].name, text)) {
            request->reason = reasons[i].number;
            return CLI_OK;
        }
    }
    if (!isdigit((unsigned char)text[0]))
        return cli_usage("decode", "--reason: there is no exit reason \"%s\"", text);
    if (!cli_number("decode", "--reason", text, UINT16_MAX, &number))
        return CLI_ERROR;
    request->reason = (uint32_t)number;
    return CLI_OK;
}

static enum cli_status set_vector(struct request *request, const char *text)
{
    uint64_t vector;

    if (!cli_number("decode", "--vector", text, UINT8_MAX, &vector))
        return CLI_ERROR;
    request->vector = (uint8_t)vector;
    request->has_vector = true;
    return CLI_OK;
}

static enum cli_status set_option(struct request *request, int option, char **argv)
{
    uint64_t level;
    switch (option) {
    case 'l':
        if (!cli_number("decode", "--level", optarg, 5, &level))
            return CLI_ERROR;
        if (level == 0)
            return cli_usage("decode", "--level: levels are 1 to 5");
        request->level = (unsigned)level;
        request->has_level = true;
        return CLI_OK;
    case 'r':
        return set_reason(request, optarg);
    case 'v':
        return set_vector(request, optarg);
    case 'p':
        request->profile = optarg;
        return CLI_OK;
    case 'j':
        request->json = true;
        return CLI_OK;
    case 'h':
        request->help = true;
        return CLI_OK;
    default:
        return cli_bad_option("decode", argv, option);
    }
}

enum cli_status cli_decode(int argc, char **argv)
{
    struct request request = {.profile = "everything", .level = 1};
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
    if (argc - optind != 2)
        return cli_usage("decode", "needs what to decode and one value");
    request.what = argv[optind];
    return decode(&request, argv[optind + 1]);
}
