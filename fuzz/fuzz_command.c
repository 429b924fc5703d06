/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The command `vmxsim` with any arguments and files, in one process.
 *
 *  - The exit status is 0, 1 or 2; 2 comes with a line on stderr for each file at fault, which starts with "vmxsim: ".
 *  - With --json, what stdout holds is JSON.
 *
 * Input: arguments, one per line, up to an empty line; then file F1, up to a line "---", and file F2 behind it. In
 * arguments, F1, F2 and OUT stand for files. Inputs that name other files to write to, or ask about the machine
 * that they run on, do nothing.
 */
#define _GNU_SOURCE /* memfd_create, memmem */
#include "harness.h"

#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cli.h"

enum { MAX_ARGUMENTS = 24, MAX_LENGTH = 4096 };
enum file { F1, F2, OUT, STDOUT, STDERR, FILES };

static const char *const names[] = {"F1", "F2", "OUT"};

static int file[FILES];
static char path[FILES][32];
static int terminal[2]; /* what stdout and stderr were */

/* One call of the command. */
struct call {
    int count;
    char *argument[MAX_ARGUMENTS + 1];
    char text[MAX_LENGTH], expanded[MAX_ARGUMENTS][MAX_LENGTH / 16];
    bool json;
};

/* ---- Files ---- */

static void set_up(void)
{
    for (unsigned i = 0; i < FILES; i++) {
        file[i] = memfd_create("fuzz", MFD_CLOEXEC);
        (void)snprintf(path[i], sizeof path[i], "/proc/self/fd/%d", file[i]);
        REQUIRE(file[i] >= 0, "no file");
    }
    terminal[0] = dup(STDOUT_FILENO);
    terminal[1] = dup(STDERR_FILENO);
    const int nothing = open("/dev/null", O_RDONLY);
    REQUIRE(terminal[0] >= 0 && terminal[1] >= 0 && nothing >= 0 &&
                dup2(nothing, STDIN_FILENO) == STDIN_FILENO,
            "no descriptors");
}

static void fill_file(enum file which, const uint8_t *bytes, size_t size)
{
    REQUIRE(ftruncate(file[which], 0) == 0 &&
                pwrite(file[which], bytes, size, 0) == (ssize_t)size &&
                lseek(file[which], 0, SEEK_SET) == 0,
            "a file cannot be written");
}

static char *content_of(enum file which)
{
    const off_t size = lseek(file[which], 0, SEEK_END);
    char *const text = calloc(1, (size_t)size + 1);

    REQUIRE(size >= 0 && text != NULL && pread(file[which], text, (size_t)size, 0) == size,
            "a file cannot be read");
    return text;
}

/* ---- Arguments ---- */

/* F1@0x1000 becomes /proc/self/fd/5@0x1000. */
static char *expand(char *word, char *expanded, size_t room)
{
    for (enum file i = F1; i <= OUT; i++) {
        const size_t length = strlen(names[i]);
        if (strncmp(word, names[i], length) != 0)
            continue;
        (void)snprintf(expanded, room, "%s%s", path[i], word + length);
        return expanded;
    }
    return word;
}

/* No other file is written, and nothing asks for the processor that runs this. */
static bool is_harmless(const struct call *call, const char *word)
{
    const char *const before = call->count > 1 ? call->argument[call->count - 1] : "";
    const bool abbreviates_record = strncmp(word, "--rec", 5) == 0 && strcmp(word, "--record") != 0;

    if (strchr(word, '/') != NULL || strcmp(word, "capture") == 0 || abbreviates_record)
        return false;
    return strcmp(before, "--record") != 0 || strcmp(word, "OUT") == 0;
}

/* False: nothing to call. */
static bool decode(struct call *call, const uint8_t *data, size_t size)
{
    static char name[] = "vmxsim";
    const uint8_t *const end = memmem(data, size, "\n\n", 2);
    const size_t length = end != NULL ? (size_t)(end - data) : size;
    char *rest = call->text;

    if (length >= sizeof call->text || memchr(data, 0, length) != NULL)
        return false;
    memcpy(call->text, data, length);
    call->text[length] = '\0';
    call->argument[call->count++] = name;
    for (char *word; call->count < MAX_ARGUMENTS && (word = strsep(&rest, "\n")) != NULL;) {
        if (!is_harmless(call, word))
            return false;
        call->json = call->json || strcmp(word, "--json") == 0;
        call->argument[call->count] =
            expand(word, call->expanded[call->count], sizeof call->expanded[0]);
        call->count++;
    }
    const size_t files = end != NULL ? length + 2 : size;
    const uint8_t *const second = memmem(data + files, size - files, "\n---\n", 5);
    const size_t cut = second != NULL ? (size_t)(second - data) + 1 : size;
    fill_file(F1, data + files, cut - files);
    fill_file(F2, second != NULL ? data + cut + 4 : data, second != NULL ? size - cut - 4 : 0);
    return true;
}

/* ---- The call ---- */

static enum cli_status run(struct call *call)
{
    for (enum file i = OUT; i <= STDERR; i++)
        fill_file(i, (const uint8_t *)"", 0);
    (void)fflush(stdout);
    (void)dup2(file[STDOUT], STDOUT_FILENO);
    (void)dup2(file[STDERR], STDERR_FILENO);
    optind = 0; /* another command line */
    opterr = 0;
    const enum cli_status status = cli_run(call->count, call->argument);
    (void)fflush(stdout);
    (void)dup2(terminal[0], STDOUT_FILENO);
    (void)dup2(terminal[1], STDERR_FILENO);
    return status;
}

/* One complaint, or one for each file that is named: whole lines that say whose they are. */
static bool is_complaint(const char *text)
{
    unsigned lines = 0;

    for (const char *end; *text != '\0'; text = end + 1, lines++) {
        end = strchr(text, '\n');
        if (strncmp(text, "vmxsim: ", 8) != 0 || end == NULL)
            return false;
    }
    return lines >= 1 && lines < MAX_ARGUMENTS;
}

static void check(const struct call *call, enum cli_status status)
{
    char *const output = content_of(STDOUT), *const complaint = content_of(STDERR);

    REQUIRE(status == CLI_OK || status == CLI_FINDING || status == CLI_ERROR, "status %d", status);
    if (status == CLI_ERROR)
        REQUIRE(is_complaint(complaint), "the complaint is \"%s\"", complaint);
    else
        REQUIRE(complaint[0] == '\0', "it complains and goes on: \"%s\"", complaint);
    const bool help = strncmp(output, "usage:", 6) == 0 || strncmp(output, "vmxsim ", 7) == 0;
    if (call->json && !help && output[0] != '\0') {
        json_t *const json = json_loads(output, JSON_DECODE_ANY, NULL);
        REQUIRE(json != NULL, "no JSON: %s", output);
        json_decref(json);
    }
    REQUIRE(!call->json || help || output[0] != '\0' || status == CLI_ERROR, "no output");
    free(output);
    free(complaint);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct call call = {.count = 0};

    if (file[F1] == 0)
        set_up();
    if (decode(&call, data, size))
        check(&call, run(&call));
    return 0;
}
