/* SPDX-License-Identifier: Apache-2.0 */
/* `vmxsim decode`: hardware words and numbers, in words. */
#include "cli.h"

#include "vmxsim/explain.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const char help[] =
    "usage: vmxsim decode qualification VALUE\n"
    "       vmxsim decode eptp [--profile P] VALUE\n"
    "       vmxsim decode ept-entry [--level N] [--profile P] VALUE\n"
    "       vmxsim decode page-fault VALUE\n"
    "       vmxsim decode pin|primary|secondary|tertiary|exit|secondary-exit|entry [--profile P] "
    "VALUE\n"
    "       vmxsim decode access-rights|interruption-info VALUE\n"
    "       vmxsim decode io-qualification|cr-qualification VALUE\n"
    "       vmxsim decode exit-reason VALUE\n"
    "       vmxsim decode error VALUE\n"
    "\n"
    "Says what a value means: the exit qualification of an EPT violation, an EPTP, an EPT entry, "
    "a\n"
    "page-fault error code, one of the seven words of VM-execution, VM-exit and VM-entry controls, "
    "the access\n"
    "rights of a segment, interruption information, the exit qualification of an I/O instruction "
    "or of a\n"
    "control-register access, an exit reason (the whole field, or the basic reason) or a "
    "VM-instruction\n"
    "error number. Numbers are decimal or 0x...\n"
    "\n"
    "options:\n"
    "  --level N    level of the EPT entry: 1 (PTE, the default) to 5 (PML5E)\n"
    "  --profile P  processor that decides what is reserved: a name or a file (default: "
    "everything)\n"
    "  --json       the same as JSON\n"
    "  --help       this text\n"
    "\n"
    "exit status: 0 the value is valid, 1 it is not (reserved bits, no such number), 2 wrong "
    "usage\n";

static const struct option options[] = {
    {"level", required_argument, NULL, 'l'},
    {"profile", required_argument, NULL, 'p'},
    {"json", no_argument, NULL, 'j'},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

struct request {
    const char *what, *profile;
    unsigned level;
    bool has_level, json, help;
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

static enum cli_status decode_qualification(const struct request *request)
{
    struct vmxsim_decoded decoded;
    vmxsim_decode_qualification(request->value, &decoded);
    return print_decoded(request, &decoded);
}

static enum cli_status decode_page_fault(const struct request *request)
{
    struct vmxsim_decoded decoded;
    vmxsim_decode_page_fault_error((uint32_t)request->value, &decoded);
    return print_decoded(request, &decoded);
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

static enum cli_status decode_access_rights(const struct request *request)
{
    struct vmxsim_decoded decoded;
    vmxsim_decode_access_rights((uint32_t)request->value, &decoded);
    return print_decoded(request, &decoded);
}

static enum cli_status decode_interruption_info(const struct request *request)
{
    struct vmxsim_decoded decoded;
    vmxsim_decode_interruption_info((uint32_t)request->value, &decoded);
    return print_decoded(request, &decoded);
}

static enum cli_status decode_io_qualification(const struct request *request)
{
    struct vmxsim_decoded decoded;
    vmxsim_decode_io_qualification(request->value, &decoded);
    return print_decoded(request, &decoded);
}

static enum cli_status decode_cr_qualification(const struct request *request)
{
    struct vmxsim_decoded decoded;
    vmxsim_decode_cr_qualification(request->value, &decoded);
    return print_decoded(request, &decoded);
}

/* A number that has a name, or none. */
static enum cli_status print_named(const struct request *request, const char *what, uint64_t number,
                                   const char *name, bool entry_failure)
{
    const char *const text = name != NULL ? name : "not in use";
    const char *const suffix = entry_failure ? "; bit 31: VM-entry failure" : "";
    const enum cli_status found = name != NULL ? CLI_OK : CLI_FINDING;

    if (!request->json) {
        (void)printf("%s %" PRIu64 ": %s%s\n", what, number, text, suffix);
        return found;
    }
    json_t *const document = json_object();
    (void)json_object_set_new(document, "what", cli_json_string(what));
    (void)json_object_set_new(document, "value", cli_json_hex(request->value));
    (void)json_object_set_new(document, "number", json_integer((json_int_t)number));
    (void)json_object_set_new(document, "valid", json_boolean(name != NULL));
    if (name != NULL)
        (void)json_object_set_new(document, "meaning", cli_json_string(name));
    if (entry_failure)
        (void)json_object_set_new(document, "entry_failure", json_true());
    const enum cli_status status = cli_print_json(document);
    return status != CLI_OK ? status : found;
}

static enum cli_status decode_exit_reason(const struct request *request)
{
    const uint64_t basic = request->value & UINT16_MAX;
    return print_named(request, "exit reason", basic, vmxsim_exit_reason_name((uint32_t)basic),
                       (request->value >> 31 & 1) != 0);
}

static enum cli_status decode_error(const struct request *request)
{
    return print_named(request, "VM-instruction error", request->value,
                       vmxsim_vm_instruction_error_text((uint32_t)request->value), false);
}

static const struct {
    const char *name;
    uint64_t max;
    enum cli_status (*run)(const struct request *request);
} words[] = {
    {"qualification", UINT64_MAX, decode_qualification},
    {"eptp", UINT64_MAX, decode_eptp},
    {"ept-entry", UINT64_MAX, decode_ept_entry},
    {"page-fault", UINT32_MAX, decode_page_fault},
    {"access-rights", UINT32_MAX, decode_access_rights},
    {"interruption-info", UINT32_MAX, decode_interruption_info},
    {"io-qualification", UINT64_MAX, decode_io_qualification},
    {"cr-qualification", UINT64_MAX, decode_cr_qualification},
    {"exit-reason", UINT32_MAX, decode_exit_reason},
    {"error", UINT32_MAX, decode_error},
};

static enum cli_status decode(struct request *request, const char *value)
{
    enum vmxc_control_word word;

    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (strcmp(words[i].name, request->what) != 0)
            continue;
        if (!cli_number("decode", "VALUE", value, words[i].max, &request->value))
            return CLI_ERROR;
        if (request->has_level && words[i].run != decode_ept_entry)
            return cli_usage("decode", "--level belongs to ept-entry");
        return words[i].run(request);
    }
    if (!find_control_word(request->what, &word))
        return cli_usage("decode", "cannot decode \"%s\"", request->what);
    const uint64_t max = UINT64_MAX >> (64 - vmxsim_control_word_width(word));
    if (!cli_number("decode", "VALUE", value, max, &request->value))
        return CLI_ERROR;
    return request->has_level ? cli_usage("decode", "--level belongs to ept-entry")
                              : decode_controls(request, word);
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
