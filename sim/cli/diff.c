/* SPDX-License-Identifier: Apache-2.0 */
/* `vmxsim diff`: two VMCSs, field by field and by meaning. */
#include "check.h"

#include "vmxsim/explain.h"

#include <stdio.h>

static const char help[] =
    "usage: vmxsim diff [--format F] [--json] FILE FILE\n"
    "\n"
    "Shows where two VMCSs differ: the fields with both values, the names of the bits that change "
    "(+ set,\n"
    "- cleared), and the fields that only one of them shows. See vmxsim check --help for the "
    "formats.\n"
    "\n"
    "options:\n"
    "  --format F  auto (default), json, linux or vmcs12; of both files\n"
    "  --json      the same as JSON\n"
    "  --help      this text\n"
    "\n"
    "exit status: 0 no field differs, 1 at least one does, 2 wrong usage or input that cannot be "
    "used\n";

static const struct option options[] = {
    {"format", required_argument, NULL, 'f'},
    {"json", no_argument, NULL, 'j'},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

static enum cli_status print_difference(const struct vmxsim_vmcs_reading *a,
                                        const struct vmxsim_vmcs_reading *b, bool json)
{
    uint32_t different;
    char *const text =
        json ? vmxsim_explain_vmcs_difference_json(&a->vmcs, a->known, &b->vmcs, b->known,
                                                   &different)
             : vmxsim_explain_vmcs_difference(&a->vmcs, a->known, &b->vmcs, b->known, &different);
    const enum cli_status status = cli_print(text);

    if (status != CLI_OK)
        return status;
    return different == 0 ? CLI_OK : CLI_FINDING;
}

static enum cli_status diff(char **files, enum vmxsim_vmcs_format format, bool json)
{
    struct vmxsim_vmcs_reading a, b;
    struct vmxsim_error error;

    if (vmxsim_vmcs_read_file(files[0], format, &a, &error) != VMXC_OK)
        return cli_complain("%s", error.text);
    if (vmxsim_vmcs_read_file(files[1], format, &b, &error) != VMXC_OK) {
        vmxsim_vmcs_reading_free(&a);
        return cli_complain("%s", error.text);
    }
    const enum cli_status status = print_difference(&a, &b, json);
    vmxsim_vmcs_reading_free(&a);
    vmxsim_vmcs_reading_free(&b);
    return status;
}

enum cli_status cli_diff(int argc, char **argv)
{
    enum vmxsim_vmcs_format format = VMXSIM_VMCS_FORMAT_AUTO;
    bool json = false;
    int option;

    while ((option = getopt_long(argc, argv, ":h", options, NULL)) != -1) {
        switch (option) {
        case 'f':
            if (!cli_vmcs_format("diff", optarg, &format))
                return CLI_ERROR;
            break;
        case 'j':
            json = true;
            break;
        case 'h':
            (void)fputs(help, stdout);
            return CLI_OK;
        default:
            return cli_bad_option("diff", argv, option);
        }
    }
    if (argc - optind != 2)
        return cli_usage("diff", "needs two files");
    return diff(argv + optind, format, json);
}
