/* SPDX-License-Identifier: Apache-2.0 */
/* `vmxsim rules`: what a VMCS must satisfy for a VM entry. */
#include "cli.h"

#include "vmxsim/entry_evidence.h"
#include "vmxsim/explain.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char help[] =
    "usage: vmxsim rules [--json] [ID|PREFIX]...\n"
    "\n"
    "Lists the rules of a VM entry, section by section; or shows those with the given ids, or "
    "whose ids\n"
    "begin with a prefix (\"GUEST.CR0\"). The list says how each rule was cross-checked:\n"
    "\n"
    "  confirmed     another engine reported what breaking this rule, and no other broken one, "
    "leads to\n"
    "  disputed      ... in some cases; in others it did otherwise\n"
    "  contradicted  another engine does not do what breaking it leads to; the manual is "
    "followed\n"
    "  with others   seen broken only together with rules that lead to the same outcome\n"
    "  one source    the manual alone: in no case it decides\n"
    "\n"
    "A single rule also shows the engines with their cases: recordings, and large runs of "
    "generated\n"
    "experiments on one CPU model (scripts/crosscheck.sh); known deviations behind what is against "
    "it; why no\n"
    "experiment can break it alone there. And the tests: cases of\n"
    "tests/data/entry_cases.def that break it or hold beside it (suite entry_rules), recipes that "
    "break it in\n"
    "random states (suite entry_generate), other suites that name it.\n"
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

/* How many rules an engine confirms or contradicts alone, and how many no experiment can break alone there. */
static void print_rules_of(unsigned engine)
{
    unsigned confirmed = 0, contradicted = 0, unreachable = 0;

    for (unsigned i = 0; i < VMXSIM_ENTRY_RULE_COUNT; i++) {
        const enum vmxsim_entry_rule rule = (enum vmxsim_entry_rule)i;
        const struct vmxsim_entry_evidence *const evidence = vmxsim_entry_evidence(rule, engine);
        confirmed += evidence->alone != 0;
        contradicted += evidence->contradicted != 0;
        unreachable += vmxsim_entry_unreachable(rule, engine) != NULL;
    }
    (void)printf("; %u rules confirmed alone, %u contradicted, %u not reachable\n", confirmed,
                 contradicted, unreachable);
}

/* How many rules have which standing; which engines there are. */
static void print_standings(void)
{
    unsigned count[VMXSIM_ENTRY_STANDING_COUNT] = {0};
    const struct vmxsim_entry_engine *engine;

    for (unsigned rule = 0; rule < VMXSIM_ENTRY_RULE_COUNT; rule++)
        count[vmxsim_entry_standing((enum vmxsim_entry_rule)rule)]++;
    (void)printf("\n%d rules:", (int)VMXSIM_ENTRY_RULE_COUNT);
    for (unsigned i = VMXSIM_ENTRY_STANDING_COUNT; i > 0; i--)
        (void)printf(" %u %s%s", count[i - 1],
                     vmxsim_entry_standing_name((enum vmxsim_entry_standing)(i - 1)),
                     i > 1 ? "," : "\n");
    for (unsigned i = 0; (engine = vmxsim_entry_engine(i)) != NULL; i++) {
        (void)printf("%s %s%s%s (%s): %" PRIu32 " VM entries", engine->name, engine->version,
                     engine->model[0] == '\0' ? "" : " ", engine->model, engine->how,
                     engine->cases);
        print_rules_of(i);
    }
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
        (void)printf(
            "  %-28s %-12s  %s\n", info->id,
            vmxsim_entry_standing_name(vmxsim_entry_standing((enum vmxsim_entry_rule)rule)),
            info->sentence);
    }
    print_standings();
}

/* One rule of the array, a level further to the right. */
static void print_indented(const char *text)
{
    while (*text != '\0') {
        const size_t length = strcspn(text, "\n");
        (void)printf("  %.*s", (int)length, text);
        text += length;
        if (text[0] == '\n' && text[1] != '\0')
            (void)putchar('\n');
        text += *text == '\n';
    }
}

/* Rule by rule: all of them as one document would take much memory. */
static enum cli_status print_json(int count, char **wanted)
{
    const char *separator = "[\n";

    for (unsigned i = 0; i < VMXSIM_ENTRY_RULE_COUNT; i++) {
        const enum vmxsim_entry_rule rule = (enum vmxsim_entry_rule)i;
        if (!is_wanted(rule, count, wanted))
            continue;
        char *const text = vmxsim_explain_entry_rule_json(rule);
        if (text == NULL)
            return cli_complain("no memory left");
        (void)fputs(separator, stdout);
        print_indented(text);
        free(text);
        separator = ",\n";
    }
    (void)fputs("\n]\n", stdout);
    return CLI_OK;
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
