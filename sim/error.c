/* SPDX-License-Identifier: Apache-2.0 */
#include "vmxsim/error.h"

#include <stdarg.h>
#include <stdio.h>

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

/* Bytes of the UTF-8 sequence that starts here, 0 if none does; as printable ASCII has it, 1. */
static size_t sequence_length(const unsigned char *text)
{
    if (text[0] < 0x80)
        return text[0] >= 0x20 && text[0] != 0x7f ? 1 : 0;
    const size_t length = text[0] >= 0xf0 ? 4 : text[0] >= 0xe0 ? 3 : 2;
    uint32_t code_point = text[0] & (0xffu >> (length + 1));
    for (size_t i = 1; i < length; i++) {
        if ((text[i] & 0xc0) != 0x80)
            return 0;
        code_point = code_point << 6 | (text[i] & 0x3fu);
    }
    static const uint32_t smallest[] = {[2] = 0x80, [3] = 0x800, [4] = 0x10000};
    const bool surrogate = code_point >= 0xd800 && code_point < 0xe000;
    const bool valid = text[0] >= 0xc0 && text[0] < 0xf8 && code_point >= smallest[length] &&
                       code_point < 0x110000 && !surrogate;
    return valid ? length : 0;
}

/*
 * Error texts quote files and file names, and may have been cut in the middle of a character. Whatever was in
 * there, a text is one line of valid UTF-8, which can go into a terminal or into JSON.
 */
static void make_printable(char *text)
{
    unsigned char *byte = (unsigned char *)text;
    while (*byte != '\0') {
        const size_t length = sequence_length(byte);
        if (length == 0)
            *byte = '?';
        byte += length != 0 ? length : 1;
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
    make_printable(error->text);
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
