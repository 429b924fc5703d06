/* SPDX-License-Identifier: Apache-2.0 */
/* `vmxsim profiles`: which processors there are, and what they can do. */
#include "cli.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static const char help[] = "usage: vmxsim profiles [--json] [NAME|FILE]\n"
                           "\n"
                           "Lists the built-in profiles, or says what one profile offers. FILE is "
                           "JSON: the `cpu` object of a\n"
                           "vector header, or a vector file; vmxsim profile capture writes one of "
                           "the machine it runs on.\n"
                           "\n"
                           "options:\n"
                           "  --json  the same as JSON; with a name, the whole profile\n"
                           "  --help  this text\n";

static const struct option options[] = {
    {"json", no_argument, NULL, 'j'},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

/* ---- Features by name ---- */

struct feature {
    const char *name;
    bool on;
};

#define FEATURE(member)           \
    {                             \
#member, features->member \
    }

static void print_flags(const char *title, const struct feature *flags, size_t count)
{
    (void)printf("  %-20s", title);
    for (size_t i = 0; i < count; i++)
        (void)printf(" %s%s", flags[i].on ? "" : "no-", flags[i].name);
    (void)putchar('\n');
}

static void print_features(const struct vmxsim_features *features)
{
    const struct feature ept[] = {
        FEATURE(ept),
        FEATURE(ept_execute_only),
        FEATURE(ept_walk_4),
        FEATURE(ept_walk_5),
        FEATURE(ept_memory_type_uc),
        FEATURE(ept_memory_type_wb),
        FEATURE(ept_2m),
        FEATURE(ept_1g),
        FEATURE(ept_accessed_dirty),
        FEATURE(ept_advanced_info),
        FEATURE(ept_shadow_stack),
    };
    const struct feature controls[] = {
        FEATURE(mode_based_execute),
        FEATURE(pml),
        FEATURE(ept_violation_ve),
        FEATURE(sub_page_permissions),
    };
    const struct feature paging[] = {
        FEATURE(pse),  FEATURE(pse36),
        FEATURE(pae),  FEATURE(pat),
        FEATURE(pge),  FEATURE(page_1g),
        FEATURE(nx),   FEATURE(pcid),
        FEATURE(smep), FEATURE(smap),
        FEATURE(pku),  FEATURE(pks),
        FEATURE(la57), FEATURE(cet_shadow_stack),
    };
    (void)printf("  %-20s %u bits\n", "physical addresses", features->maxphyaddr);
    (void)printf("  %-20s %u bits\n", "linear addresses", features->linear_width);
    print_flags("EPT", ept, sizeof ept / sizeof ept[0]);
    print_flags("controls", controls, sizeof controls / sizeof controls[0]);
    print_flags("paging", paging, sizeof paging / sizeof paging[0]);
}

static void print_msrs(const struct vmxsim_profile *profile)
{
    for (uint32_t index = 0x480; index <= 0x491; index++) {
        uint64_t value;
        if (vmxsim_profile_msr(profile, index, &value) == VMXC_OK)
            (void)printf("  MSR %" PRIX32 "H             0x%" PRIx64 "\n", index, value);
    }
}

/* ---- The command ---- */

static enum cli_status list_profiles(bool json)
{
    const char *name;
    json_t *const names = json_array();

    for (size_t i = 0; (name = vmxsim_profile_builtin_name(i)) != NULL; i++) {
        if (json)
            (void)json_array_append_new(names, cli_json_string(name));
        else
            (void)puts(name);
    }
    if (json)
        return cli_print_json(names);
    json_decref(names);
    return CLI_OK;
}

static enum cli_status show_profile(const char *name, bool json)
{
    struct cli_profile opened;
    enum cli_status status = CLI_OK;

    if (!cli_profile_open(name, &opened))
        return CLI_ERROR;
    if (json) {
        status = cli_print_json(cli_json_embed(vmxsim_profile_to_json(opened.profile)));
    } else {
        cli_print_safe(vmxsim_profile_name(opened.profile));
        (void)putchar('\n');
        print_features(vmxsim_profile_features(opened.profile));
        print_msrs(opened.profile);
    }
    cli_profile_close(&opened);
    return status;
}

enum cli_status cli_profiles(int argc, char **argv)
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
            return cli_bad_option("profiles", argv, option);
        }
    }
    if (argc - optind > 1)
        return cli_usage("profiles", "one profile at a time");
    return optind < argc ? show_profile(argv[optind], json) : list_profiles(json);
}
