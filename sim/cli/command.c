/* SPDX-License-Identifier: Apache-2.0 */
/* Complaints, arguments and output of all subcommands. */
#include "cli.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Complaints ---- */

static void put_safe(FILE *stream, const char *text)
{
    for (; *text != '\0'; text++) {
        const unsigned char byte = (unsigned char)*text;
        (void)fputc(byte < 0x20 || byte == 0x7f ? '?' : byte, stream);
    }
}

static void complain(const char *format, va_list arguments) VMXC_PRINTF(1, 0);

static void complain(const char *format, va_list arguments)
{
    char line[2 * VMXSIM_ERROR_TEXT_SIZE];
    if (vsnprintf(line, sizeof line, format, arguments) < 0)
        (void)snprintf(line, sizeof line, "a complaint that cannot be printed");
    /* What is on stdout so far belongs before it if both are the same terminal. */
    (void)fflush(stdout);
    (void)fputs("vmxsim: ", stderr);
    put_safe(stderr, line);
}

enum cli_status cli_complain(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    complain(format, arguments);
    va_end(arguments);
    (void)fputc('\n', stderr);
    return CLI_ERROR;
}

enum cli_status cli_usage(const char *command, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    complain(format, arguments);
    va_end(arguments);
    (void)fprintf(stderr, " (see vmxsim %s%s--help)\n", command, *command != '\0' ? " " : "");
    return CLI_ERROR;
}

enum cli_status cli_bad_option(const char *command, char **argv, int result)
{
    const char *const option = argv[optind - 1];
    if (result == ':')
        return cli_usage(command, "option %s needs an argument", option);
    if (optopt != 0 && strncmp(option, "--", 2) != 0)
        return cli_usage(command, "there is no option -%c", optopt);
    if (optopt != 0)
        return cli_usage(command, "option %s takes no argument", option);
    return cli_usage(command, "there is no option %s, or it is ambiguous", option);
}

/* ---- Arguments ---- */

static bool parse_number(const char *text, uint64_t *value)
{
    const bool hex = text[0] == '0' && (text[1] == 'x' || text[1] == 'X');
    const char *const digits = hex ? text + 2 : text;
    if (*digits == '\0' ||
        digits[strspn(digits, hex ? "0123456789abcdefABCDEF" : "0123456789")] != '\0')
        return false;
    errno = 0;
    *value = strtoull(digits, NULL, hex ? 16 : 10);
    return errno == 0;
}

bool cli_number(const char *command, const char *what, const char *text, uint64_t max,
                uint64_t *value)
{
    uint64_t number;
    if (!parse_number(text, &number)) {
        (void)cli_usage(command, "%s: \"%s\" is not a 64-bit number (decimal or 0x...)", what,
                        text);
        return false;
    }
    if (number > max) {
        (void)cli_usage(command, "%s: %s is above the maximum, 0x%" PRIx64, what, text, max);
        return false;
    }
    *value = number;
    return true;
}

bool cli_profile_open(const char *name_or_path, struct cli_profile *opened)
{
    struct vmxsim_error error;
    *opened = (struct cli_profile){.profile = NULL};
    if (vmxsim_profile_open(name_or_path, &opened->profile, &opened->owned, &error) == VMXC_OK)
        return true;
    (void)cli_complain("%s", error.text);
    return false;
}

void cli_profile_close(struct cli_profile *opened)
{
    union {
        const struct vmxsim_profile *shown;
        struct vmxsim_profile *mine;
    } profile = {.shown = opened->profile};
    if (opened->owned)
        vmxsim_profile_destroy(profile.mine);
}

/* ---- Output ---- */

enum cli_status cli_print(char *text)
{
    if (text == NULL)
        return cli_complain("no memory left");
    (void)fputs(text, stdout);
    free(text);
    return CLI_OK;
}

void cli_print_safe(const char *text)
{
    put_safe(stdout, text);
}

json_t *cli_json_string(const char *text)
{
    json_t *string = json_string(text);
    if (string != NULL)
        return string;
    char *const copy = strdup(text);
    if (copy == NULL)
        return NULL;
    for (char *byte = copy; *byte != '\0'; byte++) {
        if ((unsigned char)*byte >= 0x80)
            *byte = '?';
    }
    string = json_string(copy);
    free(copy);
    return string;
}

json_t *cli_json_hex(uint64_t value)
{
    char text[sizeof "0x0123456789abcdef"];
    (void)snprintf(text, sizeof text, "0x%" PRIx64, value);
    return json_string(text);
}

json_t *cli_json_embed(char *text)
{
    json_t *const value = text != NULL ? json_loads(text, 0, NULL) : NULL;
    free(text);
    return value;
}

enum cli_status cli_print_json(json_t *document)
{
    if (document == NULL)
        return cli_complain("no memory left");
    (void)json_dumpf(document, stdout, JSON_INDENT(2)); /* main sees what could not be written */
    (void)fputc('\n', stdout);
    json_decref(document);
    return CLI_OK;
}
