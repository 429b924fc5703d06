/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the subcommands of `vmxsim` share. Each subcommand is a function that gets its own arguments (argv[0] is its
 * name), writes to stdout and returns the exit status; each complaint is one line on stderr, "vmxsim: ...".
 */
#ifndef VMXSIM_CLI_H
#define VMXSIM_CLI_H

#include "vmxsim/error.h"
#include "vmxsim/profile.h"

#include <getopt.h>
#include <jansson.h>

enum cli_status {
    CLI_OK = 0,
    CLI_FINDING = 1, /* a difference, a walk that does not complete, a value that says nothing */
    CLI_ERROR = 2,   /* usage, or input that cannot be used */
};

typedef enum cli_status cli_command(int argc, char **argv);

cli_command cli_check, cli_decode, cli_diff, cli_profile, cli_profiles, cli_replay, cli_rules,
    cli_walk;

/* The whole command: argv[1] is the subcommand. What is on stdout when it returns may not have been written yet. */
cli_command cli_run;

/* ---- Complaints ---- */

/* Prints "vmxsim: ..." and returns CLI_ERROR. Control characters become question marks. */
enum cli_status cli_complain(const char *format, ...) VMXC_PRINTF(1, 2);

/* The same for a wrong command line; says where help is. */
enum cli_status cli_usage(const char *command, const char *format, ...) VMXC_PRINTF(2, 3);

/* For the default case of a getopt_long loop with opterr 0 and a leading ':' in the short options. */
enum cli_status cli_bad_option(const char *command, char **argv, int result);

/* ---- Arguments ---- */

/* A number, decimal or 0x...; at most `max`. False: not one, and the complaint is printed. */
bool cli_number(const char *command, const char *what, const char *text, uint64_t max,
                uint64_t *value);

/* A profile for the time of a subcommand. NULL: it cannot be had, and the complaint is printed. */
struct cli_profile {
    const struct vmxsim_profile *profile;
    bool owned;
};
bool cli_profile_open(const char *name_or_path, struct cli_profile *opened);
void cli_profile_close(struct cli_profile *opened);

/* ---- Output ---- */

/* Prints a string that explain allocated and frees it; NULL is a complaint about memory. */
enum cli_status cli_print(char *text);

/* Prints text that comes from a file: control characters become question marks. */
void cli_print_safe(const char *text);

/* A JSON string of any bytes: those that are no UTF-8 become question marks. */
json_t *cli_json_string(const char *text);
json_t *cli_json_hex(uint64_t value);

/* Parses JSON that explain wrote, so that it becomes part of a document, and frees the text. NULL: no memory. */
json_t *cli_json_embed(char *text);

/* Prints a document with a newline and frees it; NULL is a complaint about memory. */
enum cli_status cli_print_json(json_t *document);

#endif
