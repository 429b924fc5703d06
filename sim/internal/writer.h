/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A string that grows, and JSON written into one. Failures stick: nobody checks a single addition, the end
 * says whether all of them fitted into host memory.
 */
#ifndef VMXSIM_INTERNAL_WRITER_H
#define VMXSIM_INTERNAL_WRITER_H

#include "vmxcore/defs/types.h"

/* All zero: empty. */
struct vmxsim_text {
    char *bytes; /* NUL-terminated unless NULL */
    size_t length, capacity;
    bool failed; /* host memory ran out */
};

void vmxsim_text_add(struct vmxsim_text *text, const char *format, ...) VMXC_PRINTF(2, 3);

/* Adds spaces until the current line is `column` characters long. */
void vmxsim_text_pad(struct vmxsim_text *text, size_t column);

/* Makes it empty again and keeps its memory. */
void vmxsim_text_clear(struct vmxsim_text *text);

/* Hands over the string, which the caller frees; NULL if memory ran out. The text is empty afterwards. */
char *vmxsim_text_take(struct vmxsim_text *text);

/* Frees the memory of a text that is not taken. */
void vmxsim_text_free(struct vmxsim_text *text);

#define VMXSIM_WRITER_MAX_DEPTH 8u

/* JSON in the order of the calls, two spaces per level. All zero: nothing written yet. */
struct vmxsim_writer {
    struct vmxsim_text text;
    unsigned depth;
    bool has_members[VMXSIM_WRITER_MAX_DEPTH];
};

/* `key` is NULL inside an array and for the outermost value. */
void vmxsim_write_begin(struct vmxsim_writer *writer, const char *key,
                        char bracket);                             /* '{' or '[' */
void vmxsim_write_end(struct vmxsim_writer *writer, char bracket); /* '}' or ']' */
void vmxsim_write_string(struct vmxsim_writer *writer, const char *key, const char *value);
void vmxsim_write_hex(struct vmxsim_writer *writer, const char *key, uint64_t value);
void vmxsim_write_number(struct vmxsim_writer *writer, const char *key, uint64_t value);
void vmxsim_write_bool(struct vmxsim_writer *writer, const char *key, bool value);

#endif
