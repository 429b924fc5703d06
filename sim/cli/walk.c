/* SPDX-License-Identifier: Apache-2.0 */
#include "walk.h"

#include <stdio.h>
#include <string.h>

static const char help[] =
    "usage: vmxsim walk --vector FILE --case ID [--access N] [--json]\n"
    "       vmxsim walk --memory IMAGE[@HPA]... --eptp V --gpa A [OPTIONS]\n"
    "       vmxsim walk --memory IMAGE[@HPA]... --linear A [--cr0 V] [--cr3 V] [--cr4 V] [--efer "
    "V]\n"
    "                   [--eptp V] [OPTIONS]\n"
    "\n"
    "Shows every entry that a guest access reads, and why it ends as it does: the accesses of a "
    "recorded\n"
    "case of kind `access`, or one access on raw memory images. Without --eptp, EPT is off. "
    "Numbers are\n"
    "decimal or 0x...\n"
    "\n"
    "options:\n"
    "  --vector FILE, --case ID  vector file, and id of the case\n"
    "  --access N                only the N-th access of the case, from 0\n"
    "  --memory IMAGE[@HPA]      file with the bytes from host-physical address HPA (default 0, a "
    "multiple\n"
    "                            of 4096) on; may be repeated\n"
    "  --eptp V                  extended-page-table pointer\n"
    "  --gpa A                   guest-physical address: EPT alone\n"
    "  --linear A                linear address: guest paging, and EPT if there is an EPTP\n"
    "  --cr0 V ... --efer V      guest registers; PAE paging reads its PDPTEs where CR3 says\n"
    "                            (defaults: CR0 0x80000031, CR3 0, CR4 0x20, EFER 0x500: 4-level "
    "paging)\n"
    "  --pkru V                  protection-key rights (default 0)\n"
    "  --access-type T           read (default), write, fetch or rmw\n"
    "  --size N                  bytes (default 1)\n"
    "  --value V                 what a write or rmw stores (default 0; the image files do not "
    "change)\n"
    "  --user                    CPL 3 instead of 0\n"
    "  --profile P               processor: a name or a file (default: everything)\n"
    "  --json                    the same as JSON\n"
    "  --help                    this text\n"
    "\n"
    "With --memory, --access may be used for --access-type.\n"
    "\n"
    "exit status: 0 the access completes, 1 it does not, 2 wrong usage or bad input\n";

enum {
    OPTION_VECTOR = 256,
    OPTION_CASE,
    OPTION_ACCESS,
    OPTION_ACCESS_TYPE,
    OPTION_MEMORY,
    OPTION_PROFILE,
    OPTION_USER,
    OPTION_JSON,
    OPTION_FIRST_VALUE, /* from here on: options that take a number */
};

/* Options that take a number: which, at most what, and where it goes. */
static const struct {
    const char *name;
    uint64_t max;
    size_t offset;
} value_options[] = {
    {"eptp", UINT64_MAX, offsetof(struct walk_request, eptp)},
    {"gpa", (UINT64_C(1) << 52) - 1, offsetof(struct walk_request, gpa)},
    {"linear", UINT64_MAX, offsetof(struct walk_request, linear)},
    {"cr0", UINT64_MAX, offsetof(struct walk_request, cr0)},
    {"cr3", UINT64_MAX, offsetof(struct walk_request, cr3)},
    {"cr4", UINT64_MAX, offsetof(struct walk_request, cr4)},
    {"efer", UINT64_MAX, offsetof(struct walk_request, efer)},
    {"pkru", UINT32_MAX, offsetof(struct walk_request, pkru)},
    {"size", VMXSIM_ACCESS_MAX_SIZE, offsetof(struct walk_request, size)},
    {"value", UINT64_MAX, offsetof(struct walk_request, value)},
};
#define VALUE_OPTION_COUNT (sizeof value_options / sizeof value_options[0])

static const struct option options[] = {
    {"vector", required_argument, NULL, OPTION_VECTOR},
    {"case", required_argument, NULL, OPTION_CASE},
    {"access", required_argument, NULL, OPTION_ACCESS},
    {"access-type", required_argument, NULL, OPTION_ACCESS_TYPE},
    {"memory", required_argument, NULL, OPTION_MEMORY},
    {"profile", required_argument, NULL, OPTION_PROFILE},
    {"user", no_argument, NULL, OPTION_USER},
    {"json", no_argument, NULL, OPTION_JSON},
    {"help", no_argument, NULL, 'h'},
    {"eptp", required_argument, NULL, OPTION_FIRST_VALUE + 0},
    {"gpa", required_argument, NULL, OPTION_FIRST_VALUE + 1},
    {"linear", required_argument, NULL, OPTION_FIRST_VALUE + 2},
    {"cr0", required_argument, NULL, OPTION_FIRST_VALUE + 3},
    {"cr3", required_argument, NULL, OPTION_FIRST_VALUE + 4},
    {"cr4", required_argument, NULL, OPTION_FIRST_VALUE + 5},
    {"efer", required_argument, NULL, OPTION_FIRST_VALUE + 6},
    {"pkru", required_argument, NULL, OPTION_FIRST_VALUE + 7},
    {"size", required_argument, NULL, OPTION_FIRST_VALUE + 8},
    {"value", required_argument, NULL, OPTION_FIRST_VALUE + 9},
    {NULL, 0, NULL, 0},
};

/* ---- Output ---- */

void walk_output_begin(struct walk_output *output, bool json)
{
    *output = (struct walk_output){.json = json, .accesses = json ? json_array() : NULL};
}

void walk_output_add(struct walk_output *output, size_t index, const struct vmxsim_access *access,
                     const struct vmxsim_outcome *outcome, const struct vmxsim_trail *trail)
{
    enum cli_status status = CLI_OK;
    if (output->json) {
        json_t *const value = cli_json_embed(vmxsim_explain_access_json(access, outcome, trail));
        if (json_array_append_new(output->accesses, value) != 0)
            status = cli_complain("no memory left");
    } else {
        if (output->shown > 0)
            (void)putchar('\n');
        if (index > 0)
            (void)printf("[%zu]\n", index);
        status = cli_print(vmxsim_explain_access(access, outcome, trail));
    }
    output->shown++;
    if (status == CLI_OK && outcome->kind != VMXSIM_OUTCOME_COMPLETE)
        status = CLI_FINDING;
    if (status > output->status)
        output->status = status;
}

enum cli_status walk_output_end(struct walk_output *output)
{
    if (output->json) {
        const enum cli_status status = cli_print_json(output->accesses);
        if (status != CLI_OK)
            return status;
    }
    return output->status;
}

/* ---- Command line ---- */

static bool set_type(struct walk_request *request, const char *name)
{
    for (unsigned type = VMXSIM_ACCESS_FETCH; type <= VMXSIM_ACCESS_RMW; type++) {
        if (strcmp(vmxsim_access_type_name((enum vmxsim_access_type)type), name) == 0) {
            request->type = (enum vmxsim_access_type)type;
            return true;
        }
    }
    return false;
}

/* --access is the index of an access with --vector, and its type with --memory. */
static enum cli_status set_access(struct walk_request *request, const char *text)
{
    if (set_type(request, text))
        return CLI_OK;
    if (!cli_number("walk", "--access", text, SIZE_MAX, &request->access_index.value))
        return CLI_ERROR;
    request->access_index.given = true;
    return CLI_OK;
}

static enum cli_status set_value(struct walk_request *request, size_t i)
{
    struct walk_value *const value =
        (struct walk_value *)(void *)((char *)request + value_options[i].offset);
    char name[16];
    (void)snprintf(name, sizeof name, "--%s", value_options[i].name);
    if (!cli_number("walk", name, optarg, value_options[i].max, &value->value))
        return CLI_ERROR;
    value->given = true;
    return CLI_OK;
}

static enum cli_status add_image(struct walk_request *request)
{
    if (request->image_count == WALK_MAX_IMAGES)
        return cli_usage("walk", "more than %u memory images", WALK_MAX_IMAGES);
    request->images[request->image_count++] = optarg;
    return CLI_OK;
}

static enum cli_status set_option(struct walk_request *request, int option, char **argv)
{
    if (option >= OPTION_FIRST_VALUE)
        return set_value(request, (size_t)(option - OPTION_FIRST_VALUE));
    switch (option) {
    case OPTION_VECTOR:
        request->vector = optarg;
        return CLI_OK;
    case OPTION_CASE:
        request->case_id = optarg;
        return CLI_OK;
    case OPTION_ACCESS:
        return set_access(request, optarg);
    case OPTION_ACCESS_TYPE:
        return set_type(request, optarg)
                   ? CLI_OK
                   : cli_usage("walk", "--access-type: \"%s\" is not read, write, fetch or rmw",
                               optarg);
    case OPTION_MEMORY:
        return add_image(request);
    case OPTION_PROFILE:
        request->profile = optarg;
        return CLI_OK;
    case OPTION_USER:
        request->user = true;
        return CLI_OK;
    case OPTION_JSON:
        request->json = true;
        return CLI_OK;
    default:
        return cli_bad_option("walk", argv, option);
    }
}

static enum cli_status check_memory_request(const struct walk_request *request)
{
    if (request->access_index.given)
        return cli_usage("walk", "--access with a number belongs to --vector");
    if (request->gpa.given == request->linear.given)
        return cli_usage("walk", "--memory needs either --gpa or --linear");
    if (request->gpa.given && !request->eptp.given)
        return cli_usage("walk", "--gpa needs --eptp");
    if (request->size.given && request->size.value == 0)
        return cli_usage("walk", "--size: an access has at least one byte");
    return CLI_OK;
}

static enum cli_status walk(const struct walk_request *request)
{
    if (request->vector != NULL && request->image_count > 0)
        return cli_usage("walk", "either --vector or --memory");
    if (request->vector != NULL)
        return request->case_id != NULL ? walk_vector(request)
                                        : cli_usage("walk", "--vector needs --case");
    if (request->image_count == 0)
        return cli_usage("walk", "needs --vector or --memory");
    const enum cli_status status = check_memory_request(request);
    return status == CLI_OK ? walk_memory(request) : status;
}

enum cli_status cli_walk(int argc, char **argv)
{
    struct walk_request request = {.profile = "everything", .type = VMXSIM_ACCESS_READ};
    int option;

    while ((option = getopt_long(argc, argv, ":h", options, NULL)) != -1) {
        if (option == 'h') {
            (void)fputs(help, stdout);
            return CLI_OK;
        }
        const enum cli_status status = set_option(&request, option, argv);
        if (status != CLI_OK)
            return status;
    }
    if (optind < argc)
        return cli_usage("walk", "unexpected argument \"%s\"", argv[optind]);
    return walk(&request);
}
