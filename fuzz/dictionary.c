/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Dictionaries for libFuzzer and AFL++, which read the same form, from the tables of this project.
 *
 *     dictionary numbers            fields, MSRs, exit reasons, boundaries, in the bytes that vmxsim/fuzz.h reads
 *     dictionary text [FILE...]     the same as texts, names, keys of kernel dumps, and each key of JSON files, one document a line
 */
#include <inttypes.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmxcore/defs/bits.h"
#include "vmxcore/defs/vmcs.h"
#include "vmxsim/fuzz.h"

enum { MAX_LINE = 1 << 20, MAX_ENTRY = 128 };

/* ---- The tables ---- */

static const struct {
    uint32_t encoding;
    const char *name;
} fields[] = {
#define VMXC_VMCS_FIELD(encoding, width, type, name, feature) {encoding, #name},
#include "vmxcore/defs/vmcs_fields.def"
};

static const uint32_t msrs[] = {
#define WRMSR(first, last, feature, kind, reserved) first, last,
#include "internal/wrmsr.def"
};

static const uint32_t exit_reasons[] = {
#define VMXC_EXIT_REASON(number, name, manual_name) number,
#include "vmxcore/defs/exit_reasons.def"
};

static const uint64_t boundaries[] = {
#define VMXSIM_FUZZ_BOUNDARY(group, value) UINT64_C(value),
#include "fuzz_fields.def"
};

static const char *const dump_words[] = {
#define DUMP_KEY(section, subject, key, field, digits)  subject, key,
#define DUMP_PAIR(section, subject, key, field, second) subject, key,
#define DUMP_STATUS(section, subject, key, field)       subject, key,
#define DUMP_IGNORED(section, subject, key)             subject, key,
#include "internal/dump_keys.def"
};

#define SIZE_OF(array) (sizeof(array) / sizeof((array)[0]))

/* ---- Entries ---- */

static void print_entry(const char *kind, const uint8_t *bytes, size_t size)
{
    (void)printf("%s=\"", kind);
    for (size_t i = 0; i < size; i++)
        (void)printf("\\x%02x", bytes[i]);
    (void)puts("\"");
}

static void print_text(const char *kind, const char *text)
{
    print_entry(kind, (const uint8_t *)text, strlen(text));
}

/* As JSON has it. */
static void print_quoted(const char *kind, const char *text)
{
    char quoted[MAX_ENTRY];

    (void)snprintf(quoted, sizeof quoted, "\"%s\"", text);
    print_text(kind, quoted);
}

static void print_number(const char *kind, uint64_t number)
{
    char text[32];

    (void)snprintf(text, sizeof text, "0x%" PRIx64, number);
    print_quoted(kind, text);
}

/* As vmxsim_fuzz_value reads it, and as it is in memory. */
static void print_value(const char *kind, uint64_t value, unsigned width)
{
    uint8_t bytes[VMXSIM_FUZZ_VALUE_SIZE];

    print_entry(kind, bytes, vmxsim_fuzz_put_value(value, bytes));
    for (unsigned i = 0; i < width; i++)
        bytes[i] = (uint8_t)(value >> (8 * i));
    print_entry(kind, bytes, width);
}

static void print_each(void (*print)(const char *kind, uint64_t number, unsigned width))
{
    for (size_t i = 0; i < SIZE_OF(fields); i++)
        print("field", fields[i].encoding, 2);
    for (size_t i = 0; i < SIZE_OF(msrs); i++)
        print("msr", msrs[i], 4);
    for (size_t i = 0; i < SIZE_OF(exit_reasons); i++)
        print("exit_reason", exit_reasons[i], 2);
    for (size_t i = 0; i < SIZE_OF(boundaries); i++)
        print("boundary", boundaries[i], 8);
}

static void print_as_text(const char *kind, uint64_t number, unsigned width)
{
    (void)width;
    print_number(kind, number);
}

/* ---- Names and keys ---- */

static bool is_new(size_t word)
{
    size_t i = 0;

    while (strcmp(dump_words[i], dump_words[word]) != 0)
        i++;
    return i == word;
}

static void print_names(void)
{
    for (size_t i = 0; i < SIZE_OF(fields); i++)
        print_quoted("field", fields[i].name);
    for (size_t i = 0; i < SIZE_OF(dump_words); i++) {
        if (dump_words[i][0] != '\0' && is_new(i))
            print_text("dump", dump_words[i]);
    }
}

/* Each key and each short text within, once. */
static void add_keys(json_t *seen, json_t *from)
{
    const char *key;
    json_t *member;
    size_t index;

    if (json_is_string(from))
        (void)json_object_set_new(seen, json_string_value(from), json_true());
    json_object_foreach(from, key, member)
    {
        (void)json_object_set_new(seen, key, json_true());
        add_keys(seen, member);
    }
    json_array_foreach(from, index, member) add_keys(seen, member);
}

static bool add_file(json_t *seen, const char *path, char *line)
{
    FILE *const file = fopen(path, "r");
    bool fine = file != NULL;

    while (fine && fgets(line, MAX_LINE, file) != NULL) {
        json_t *const document = json_loads(line, 0, NULL);
        fine = document != NULL;
        add_keys(seen, document);
        json_decref(document);
    }
    if (!fine)
        (void)fprintf(stderr,
                      "dictionary: %s: cannot be read, or is not one JSON document a line\n", path);
    if (file != NULL)
        (void)fclose(file);
    return fine;
}

/* Numbers and identifiers of cases are none. */
static bool is_word(const char *text)
{
    return strlen(text) < 40 && strncmp(text, "0x", 2) != 0 &&
           strspn(text, "abcdefghijklmnopqrstuvwxyz_") == strlen(text);
}

static bool print_keys(char *const *paths)
{
    const char *key;
    json_t *unused;
    json_t *const seen = json_object();
    char *const line = malloc(MAX_LINE);
    bool fine = line != NULL && seen != NULL;

    for (; fine && *paths != NULL; paths++)
        fine = add_file(seen, *paths, line);
    json_object_foreach(seen, key, unused)
    {
        if (is_word(key))
            print_quoted("key", key);
    }
    free(line);
    json_decref(seen);
    return fine;
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "numbers") == 0) {
        print_each(print_value);
        return EXIT_SUCCESS;
    }
    if (argc >= 2 && strcmp(argv[1], "text") == 0) {
        print_each(print_as_text);
        print_names();
        return print_keys(argv + 2) ? EXIT_SUCCESS : EXIT_FAILURE;
    }
    (void)fprintf(stderr, "usage: %s numbers | text [FILE...]\n", argv[0]);
    return 2;
}
