/* SPDX-License-Identifier: Apache-2.0 */
/* The subcommands, and what is said where none is meant. */
#include "cli.h"

#include <stdio.h>
#include <string.h>

static const char help[] =
    "usage: vmxsim COMMAND [OPTIONS] ...\n"
    "\n"
    "A software model of Intel VMX and EPT: what a guest access or a VM entry comes to, and "
    "why.\n"
    "\n"
    "commands:\n"
    "  replay    run recorded vectors on the model and compare\n"
    "  walk      one guest access, with every entry that was read\n"
    "  check     a VMCS: every VM-entry rule that it breaks\n"
    "  rules     the rules of a VM entry\n"
    "  diff      two VMCSs, field by field and by meaning\n"
    "  decode    a hardware word, an exit reason or an error number\n"
    "  profiles  the processors the model knows\n"
    "  profile   the profile of the machine it runs on\n"
    "\n"
    "options:\n"
    "  --help     this text; vmxsim COMMAND --help says more\n"
    "  --version  version of the program\n"
    "\n"
    "exit status: 0 all is well; 1 a finding (a difference, a walk that does not complete, a "
    "rule that\n"
    "is violated, a value that is not valid); 2 wrong usage or input that cannot be used\n";

static const struct {
    const char *name;
    cli_command *run;
} commands[] = {
    {"replay", cli_replay},     {"walk", cli_walk},       {"check", cli_check},
    {"rules", cli_rules},       {"diff", cli_diff},       {"decode", cli_decode},
    {"profiles", cli_profiles}, {"profile", cli_profile},
};

enum cli_status cli_run(int argc, char **argv)
{
    if (argc < 2)
        return cli_usage("", "no command given");
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        (void)fputs(help, stdout);
        return CLI_OK;
    }
    if (strcmp(argv[1], "--version") == 0) {
        (void)puts("vmxsim " VMXSIM_VERSION);
        return CLI_OK;
    }
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        if (strcmp(commands[i].name, argv[1]) == 0)
            return commands[i].run(argc - 1, argv + 1);
    }
    return cli_usage("", "there is no command \"%s\"", argv[1]);
}
