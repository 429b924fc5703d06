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
        vmxsim_text_add(text, "%*s", (int)(column - used), "");
}

void vmxsim_text_clear(struct vmxsim_text *text)
{
    text->length = 0;
    if (text->bytes != NULL)
        text->bytes[0] = '\0';
}

char *vmxsim_text_take(struct vmxsim_text *text)
{
    vmxsim_text_add(text, "%s", ""); /* an empty text is a string, too */
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
    vmxsim_text_add(text, "\"");
    for (; *string != '\0'; string++) {
        const unsigned char byte = (unsigned char)*string;
        if (byte == '"' || byte == '\\')
            vmxsim_text_add(text, "\\%c", byte);
        else if (byte < 0x20)
            vmxsim_text_add(text, "\\u%04x", byte);
        else
            vmxsim_text_add(text, "%c", byte);
    }
    vmxsim_text_add(text, "\"");
}

static void new_line(struct vmxsim_writer *writer)
{
    vmxsim_text_add(&writer->text, "\n%*s", (int)(2 * writer->depth), "");
}

/* What stands before a value: the comma, the line, the key. */
static void lead_in(struct vmxsim_writer *writer, const char *key)
{
    if (writer->depth > 0) {
        bool *has_members = &writer->has_members[writer->depth - 1];
        if (*has_members)
            vmxsim_text_add(&writer->text, ",");
        *has_members = true;
        new_line(writer);
    }
    if (key != NULL) {
        quote(&writer->text, key);
        vmxsim_text_add(&writer->text, ": ");
    }
}

void vmxsim_write_begin(struct vmxsim_writer *writer, const char *key, char bracket)
{
    lead_in(writer, key);
    vmxsim_text_add(&writer->text, "%c", bracket);
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
    vmxsim_text_add(&writer->text, writer->depth == 0 ? "%c\n" : "%c", bracket);
}

void vmxsim_write_string(struct vmxsim_writer *writer, const char *key, const char *value)
{
    lead_in(writer, key);
    quote(&writer->text, value);
}

void vmxsim_write_hex(struct vmxsim_writer *writer, const char *key, uint64_t value)
{
    lead_in(writer, key);
    vmxsim_text_add(&writer->text, "\"0x%llx\"", (unsigned long long)value);
}

void vmxsim_write_number(struct vmxsim_writer *writer, const char *key, uint64_t value)
{
    lead_in(writer, key);
    vmxsim_text_add(&writer->text, "%llu", (unsigned long long)value);
}

void vmxsim_write_bool(struct vmxsim_writer *writer, const char *key, bool value)
{
    lead_in(writer, key);
    vmxsim_text_add(&writer->text, value ? "true" : "false");
}
