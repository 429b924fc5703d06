/* SPDX-License-Identifier: Apache-2.0 */
#include "vmxsim/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const char *const status_names[] = {
#define VMXC_STATUS(number, name, sentence) [number] = #name,
#include "vmxcore/defs/status.def"
};

static const char *const status_texts[] = {
#define VMXC_STATUS(number, name, sentence) [number] = (sentence),
#include "vmxcore/defs/status.def"
};

static const char *lookup(const char *const table[], size_t count, enum vmxc_status status)
{
    const size_t index = (size_t)status;
    return index < count && table[index] != NULL ? table[index] : "?";
}

/* Error texts quote input files; whatever those hold, a text stays one line of printable characters. */
static void make_one_line(char *text)
{
    for (; *text != '\0'; text++) {
        const unsigned char byte = (unsigned char)*text;
        if (byte < 0x20 || byte == 0x7f)
            *text = '?';
    }
}

static size_t utf8_sequence_length(unsigned char lead)
{
    if (lead >= 0xf0)
        return 4;
    if (lead >= 0xe0)
        return 3;
    return lead >= 0xc0 ? 2 : 1;
}

/* Drops a UTF-8 sequence that the end of the buffer cut in two, so that the text stays valid in JSON. */
static void trim_cut_character(char *text, size_t length)
{
    size_t start = length;
    while (start > 0 && length - start < 4) {
        start--;
        const unsigned char byte = (unsigned char)text[start];
        if ((byte & 0xc0) == 0x80)
            continue; /* inside a sequence: look for its first byte */
        if (start + utf8_sequence_length(byte) > length)
            text[start] = '\0';
        return;
    }
}

enum vmxc_status vmxsim_error_set(struct vmxsim_error *error, enum vmxc_status status,
                                  const char *format, ...)
{
    if (error == NULL)
        return status;
    va_list arguments;
    va_start(arguments, format);
    const int written = vsnprintf(error->text, sizeof error->text, format, arguments);
    va_end(arguments);
    error->status = status;
    if (written < 0)
        (void)snprintf(error->text, sizeof error->text, "%s", vmxsim_status_text(status));
    if (written >= (int)sizeof error->text)
        trim_cut_character(error->text, sizeof error->text - 1);
    make_one_line(error->text);
    return status;
}

const char *vmxsim_status_name(enum vmxc_status status)
{
    return lookup(status_names, sizeof status_names / sizeof status_names[0], status);
}

const char *vmxsim_status_text(enum vmxc_status status)
{
    return lookup(status_texts, sizeof status_texts / sizeof status_texts[0], status);
}
