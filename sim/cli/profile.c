/* SPDX-License-Identifier: Apache-2.0 */
/* `vmxsim profile capture`: the profile of the machine it runs on. */
#include "capture.h"
#include "cli.h"

#include <stdio.h>
#include <string.h>

static const char help[] = "usage: vmxsim profile capture [--cpu N] [--msr-dir DIR]\n"
                           "\n"
                           "Prints the profile of the machine it runs on as JSON, from CPUID and "
                           "/dev/cpu/N/msr (Linux on x86-64\n"
                           "with VT-x; modprobe msr, as root). Its VMCS fields are derived from "
                           "the capability MSRs. Other\n"
                           "commands take the file as --profile FILE; vmxsim profiles shows what "
                           "it offers.\n"
                           "\n"
                           "options:\n"
                           "  --cpu N        of processor N (default 0)\n"
                           "  --msr-dir DIR  MSRs from DIR/N/msr instead, as a device or as a "
                           "directory with a file of 8 bytes,\n"
                           "                 least significant first, per MSR (\"480\", "
                           "\"c0000080\"); VT-x is then not needed\n"
                           "  --json         no effect: a profile is JSON\n"
                           "  --help         this text\n";

static const struct option options[] = {
    {"cpu", required_argument, NULL, 'n'},
    {"msr-dir", required_argument, NULL, 'm'},
    {"json", no_argument, NULL, 'j'},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

static enum cli_status capture(const char *number, const char *msr_directory)
{
    enum { PROCESSOR_MAX = 1023 }; /* what a set of processors has room for */
    uint64_t parsed = 0;
    if (number != NULL && !cli_number("profile", "--cpu", number, PROCESSOR_MAX, &parsed))
        return CLI_ERROR;
    return cli_capture((uint32_t)parsed, msr_directory);
}

enum cli_status cli_profile(int argc, char **argv)
{
    const char *number = NULL, *msr_directory = NULL;
    int option;

    while ((option = getopt_long(argc, argv, ":h", options, NULL)) != -1) {
        switch (option) {
        case 'n':
            number = optarg;
            break;
        case 'm':
            msr_directory = optarg;
            break;
        case 'j':
            break;
        case 'h':
            (void)fputs(help, stdout);
            return CLI_OK;
        default:
            return cli_bad_option("profile", argv, option);
        }
    }
    if (argc - optind != 1 || strcmp(argv[optind], "capture") != 0)
        return cli_usage("profile", "what to do: capture (vmxsim profiles shows profiles)");
    return capture(number, msr_directory);
}
