/* SPDX-License-Identifier: Apache-2.0 */
/* `vmxsim rules`: what a VMCS must satisfy for a VM entry. */
#include "cli.h"

#include "vmxsim/explain.h"

#include <stdio.h>
#include <string.h>

static const char help[] =
    "usage: vmxsim rules [--json] [ID|PREFIX]...\n"
    "\n"
    "Lists the rules of a VM entry, section by section; or shows those with the given ids, or "
    "whose ids\n"
    "begin with a prefix (\"GUEST.CR0\").\n"
    "\n"
    "options:\n"
    "  --json  the same as JSON\n"
    "  --help  this text\n";

static const struct option options[] = {
    {"json", no_argument, NULL, 'j'},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

/* The id itself, or what it begins with up to a dot. */
static bool is_meant(const char *id, const char *wanted)
{
    const size_t length = strlen(wanted);

    return strncmp(id, wanted, length) == 0 && (id[length] == '\0' || id[length] == '.');
}

static bool is_wanted(enum vmxsim_entry_rule rule, int count, char **wanted)
{
    for (int i = 0; i < count; i++) {
        if (is_meant(vmxsim_entry_rule_info(rule)->id, wanted[i]))
            return true;
    }
    return count == 0;
}

static bool exists(const char *wanted)
{
    for (unsigned rule = 0; rule < VMXSIM_ENTRY_RULE_COUNT; rule++) {
        if (is_meant(vmxsim_entry_rule_info((enum vmxsim_entry_rule)rule)->id, wanted))
            return true;
    }
    return false;
}

static void print_list(void)
{
    enum vmxsim_entry_group group = VMXSIM_ENTRY_GROUP_COUNT;

    for (unsigned rule = 0; rule < VMXSIM_ENTRY_RULE_COUNT; rule++) {
        const struct vmxsim_entry_rule_info *const info =
            vmxsim_entry_rule_info((enum vmxsim_entry_rule)rule);
        if (info->group != group)
            (void)printf("%s%s (%s)\n", rule == 0 ? "" : "\n",
                         vmxsim_entry_group_section(info->group),
                         vmxsim_entry_group_outcome(info->group));
        group = info->group;
        (void)printf("  %-28s %s\n", info->id, info->sentence);
    }
    (void)printf("\n%d rules\n", (int)VMXSIM_ENTRY_RULE_COUNT);
}

static enum cli_status print_json(int count, char **wanted)
{
    json_t *const list = json_array();

    for (unsigned i = 0; i < VMXSIM_ENTRY_RULE_COUNT; i++) {
        const enum vmxsim_entry_rule rule = (enum vmxsim_entry_rule)i;
        if (is_wanted(rule, count, wanted) &&
            json_array_append_new(list, cli_json_embed(vmxsim_explain_entry_rule_json(rule))) !=
                0) {
            json_decref(list);
            return cli_complain("no memory left");
        }
    }
    return cli_print_json(list);
}

static enum cli_status print_rules(int count, char **wanted)
{
    for (unsigned i = 0; i < VMXSIM_ENTRY_RULE_COUNT; i++) {
        const enum vmxsim_entry_rule rule = (enum vmxsim_entry_rule)i;
        if (!is_wanted(rule, count, wanted))
            continue;
        const enum cli_status status = cli_print(vmxsim_explain_entry_rule(rule));
        if (status != CLI_OK)
            return status;
    }
    return CLI_OK;
}

enum cli_status cli_rules(int argc, char **argv)
{
    bool json = false;
    int option;

    while ((option = getopt_long(argc, argv, ":h", options, NULL)) != -1) {
        switch (option) {
        case 'j':
            json = true;
            break;
        case 'h':
            (void)fputs(help, stdout);
            return CLI_OK;
        default:
            return cli_bad_option("rules", argv, option);
        }
    }
    for (int i = optind; i < argc; i++) {
        if (!exists(argv[i]))
            return cli_usage("rules", "there is no rule \"%s\"", argv[i]);
    }
    if (json)
        return print_json(argc - optind, argv + optind);
    if (optind < argc)
        return print_rules(argc - optind, argv + optind);
    print_list();
    return CLI_OK;
}
