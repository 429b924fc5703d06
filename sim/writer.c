/* SPDX-License-Identifier: Apache-2.0 */
#include "internal/writer.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_CAPACITY 256u

/* Makes room for `extra` characters and the NUL. */
static bool reserve(struct vmxsim_text *text, size_t extra)
{
    size_t capacity = text->capacity != 0 ? text->capacity : FIRST_CAPACITY;
    while (capacity - 1 < text->length + extra)
        capacity *= 2;
    if (capacity == text->capacity)
        return true;
    char *const bytes = realloc(text->bytes, capacity);
    if (bytes == NULL) {
        text->failed = true;
        return false;
    }
    text->bytes = bytes;
    text->capacity = capacity;
    return true;
}

static void append(struct vmxsim_text *text, const char *bytes, size_t count)
{
    if (text->failed || !reserve(text, count))
        return;
    memcpy(text->bytes + text->length, bytes, count);
    text->length += count;
    text->bytes[text->length] = '\0';
}

static void append_string(struct vmxsim_text *text, const char *string)
{
    append(text, string, strlen(string));
}

static void append_spaces(struct vmxsim_text *text, size_t count)
{
    static const char spaces[] = "                                ";

    for (; count >= sizeof spaces; count -= sizeof spaces - 1)
        append(text, spaces, sizeof spaces - 1);
    append(text, spaces, count);
}

static void add_arguments(struct vmxsim_text *text, const char *format, va_list arguments)
    VMXC_PRINTF(2, 0);

static void add_arguments(struct vmxsim_text *text, const char *format, va_list arguments)
{
    va_list again;
    va_copy(again, arguments);
    const size_t room = text->capacity - text->length;
    const int needed = vsnprintf(text->bytes + text->length, room, format, arguments);
    if (needed < 0) {
        text->failed = true;
    } else if ((size_t)needed < room) {
        text->length += (size_t)needed;
    } else if (reserve(text, (size_t)needed)) {
        (void)vsnprintf(text->bytes + text->length, (size_t)needed + 1, format, again);
        text->length += (size_t)needed;
    }
    va_end(again);
}

void vmxsim_text_add(struct vmxsim_text *text, const char *format, ...)
{
    if (text->failed || !reserve(text, 1))
        return;
    va_list arguments;
    va_start(arguments, format);
    /* Most of what is written is words: printf gets what is left at the first other conversion. */
    for (;;) {
        const size_t plain = strcspn(format, "%");
        append(text, format, plain);
        format += plain;
        if (format[0] != '%' || format[1] != 's')
            break;
        append_string(text, va_arg(arguments, const char *));
        format += 2;
    }
    if (*format != '\0' && !text->failed)
        add_arguments(text, format, arguments);
    va_end(arguments);
}

void vmxsim_text_pad(struct vmxsim_text *text, size_t column)
{
    size_t start = text->length;
    while (start > 0 && text->bytes[start - 1] != '\n')
        start--;
    const size_t used = text->length - start;
    if (used < column)
        append_spaces(text, column - used);
}

void vmxsim_text_clear(struct vmxsim_text *text)
{
    text->length = 0;
    if (text->bytes != NULL)
        text->bytes[0] = '\0';
}

char *vmxsim_text_take(struct vmxsim_text *text)
{
    append(text, "", 0); /* an empty text is a string, too */
    char *bytes = text->bytes;
    if (text->failed) {
        free(bytes);
        bytes = NULL;
    }
    *text = (struct vmxsim_text){.failed = false};
    return bytes;
}

void vmxsim_text_free(struct vmxsim_text *text)
{
    free(text->bytes);
    *text = (struct vmxsim_text){.failed = false};
}

/* ---- JSON ---- */

static void quote(struct vmxsim_text *text, const char *string)
{
    append(text, "\"", 1);
    for (;;) {
        size_t plain = 0;
        while ((unsigned char)string[plain] >= 0x20 && string[plain] != '"' &&
               string[plain] != '\\')
            plain++;
        append(text, string, plain);
        string += plain;
        if (*string == '\0')
            break;
        if (*string == '"' || *string == '\\')
            vmxsim_text_add(text, "\\%c", *string);
        else
            vmxsim_text_add(text, "\\u%04x", (unsigned)*string);
        string++;
    }
    append(text, "\"", 1);
}

static void new_line(struct vmxsim_writer *writer)
{
    append(&writer->text, "\n", 1);
    append_spaces(&writer->text, (size_t)2 * writer->depth);
}

/* What stands before a value: the comma, the line, the key. */
static void lead_in(struct vmxsim_writer *writer, const char *key)
{
    if (writer->depth > 0) {
        bool *has_members = &writer->has_members[writer->depth - 1];
        if (*has_members)
            append(&writer->text, ",", 1);
        *has_members = true;
        new_line(writer);
    }
    if (key != NULL) {
        quote(&writer->text, key);
        append(&writer->text, ": ", 2);
    }
}

void vmxsim_write_begin(struct vmxsim_writer *writer, const char *key, char bracket)
{
    lead_in(writer, key);
    append(&writer->text, &bracket, 1);
    if (writer->depth == VMXSIM_WRITER_MAX_DEPTH) {
        writer->text.failed = true;
        return;
    }
    writer->has_members[writer->depth++] = false;
}

void vmxsim_write_end(struct vmxsim_writer *writer, char bracket)
{
    writer->depth--;
    if (writer->has_members[writer->depth])
        new_line(writer);
    append(&writer->text, &bracket, 1);
    if (writer->depth == 0)
        append(&writer->text, "\n", 1);
}

void vmxsim_write_string(struct vmxsim_writer *writer, const char *key, const char *value)
{
    lead_in(writer, key);
    quote(&writer->text, value);
}

void vmxsim_write_hex(struct vmxsim_writer *writer, const char *key, uint64_t value)
{
    char digits[] = "\"0x0123456789abcdef\"";
    size_t at = sizeof digits - 2;

    do {
        digits[--at] = "0123456789abcdef"[value & 15];
        value >>= 4;
    } while (value != 0);
    lead_in(writer, key);
    append(&writer->text, digits, 3);
    append_string(&writer->text, digits + at);
}

void vmxsim_write_number(struct vmxsim_writer *writer, const char *key, uint64_t value)
{
    lead_in(writer, key);
    vmxsim_text_add(&writer->text, "%llu", (unsigned long long)value);
}

void vmxsim_write_bool(struct vmxsim_writer *writer, const char *key, bool value)
{
    lead_in(writer, key);
    append_string(&writer->text, value ? "true" : "false");
}
