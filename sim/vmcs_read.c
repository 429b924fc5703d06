/* SPDX-License-Identifier: Apache-2.0 */
/* A VMCS from a file or a buffer: which format it is, and what all formats have in common. */
#include "internal/vmcs_read.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_FILE_SIZE (UINT64_C(64) << 20)
#define MAX_NOTES     32u
#define MAX_NOTE_SIZE 256u

/* ---- Fields ---- */

bool vmxsim_vmcs_is_known(const uint64_t known[VMXSIM_VMCS_KNOWN_WORDS], size_t ordinal)
{
    return (known[ordinal / 64] >> (ordinal % 64) & 1) != 0;
}

void vmxsim_reader_restart(struct vmxsim_vmcs_reader *reader)
{
    struct vmxsim_vmcs_reading *const reading = reader->reading;

    memset(&reading->vmcs, 0, sizeof reading->vmcs);
    memset(reading->known, 0, sizeof reading->known);
    memset(reading->place, 0, sizeof reading->place);
    memset(reader->contradicted, 0, sizeof reader->contradicted);
    vmxsim_text_clear(&reader->notes);
    reader->note_count = 0;
}

void vmxsim_reader_distrust(struct vmxsim_vmcs_reader *reader, size_t ordinal)
{
    reader->contradicted[ordinal / 64] |= VMXC_BIT(ordinal % 64);
    reader->reading->known[ordinal / 64] &= ~VMXC_BIT(ordinal % 64);
    reader->reading->vmcs.value[ordinal] = 0;
}

void vmxsim_reader_set(struct vmxsim_vmcs_reader *reader, size_t ordinal, uint64_t value,
                       uint32_t place)
{
    struct vmxsim_vmcs_reading *const reading = reader->reading;

    if (vmxsim_vmcs_is_known(reader->contradicted, ordinal))
        return;
    if (vmxsim_vmcs_is_known(reading->known, ordinal)) {
        const uint64_t first = reading->vmcs.value[ordinal];
        if (first == value)
            return;
        vmxsim_reader_note(reader, "%s has two values, 0x%" PRIx64 " and 0x%" PRIx64 ": not known",
                           vmxsim_vmcs_name(ordinal), first, value);
        vmxsim_reader_distrust(reader, ordinal);
        return;
    }
    reading->known[ordinal / 64] |= VMXC_BIT(ordinal % 64);
    reading->vmcs.value[ordinal] = value;
    reading->place[ordinal] = place;
}

void vmxsim_reader_note(struct vmxsim_vmcs_reader *reader, const char *format, ...)
{
    char line[MAX_NOTE_SIZE];
    va_list arguments;

    if (reader->note_count++ >= MAX_NOTES)
        return;
    va_start(arguments, format);
    (void)vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    vmxsim_text_add(&reader->notes, "%s\n", line);
}

/* ---- Formats ---- */

static const struct {
    const char *name;
    enum vmxc_status (*read)(struct vmxsim_vmcs_reader *reader, struct vmxsim_error *error);
} formats[VMXSIM_VMCS_FORMAT_COUNT] = {
    [VMXSIM_VMCS_FORMAT_AUTO] = {"auto", NULL},
    [VMXSIM_VMCS_FORMAT_JSON] = {"json", vmxsim_vmcs_read_json},
    [VMXSIM_VMCS_FORMAT_LINUX] = {"linux", vmxsim_vmcs_read_linux},
    [VMXSIM_VMCS_FORMAT_VMCS12] = {"vmcs12", vmxsim_vmcs_read_vmcs12},
};

const char *vmxsim_vmcs_format_name(enum vmxsim_vmcs_format format)
{
    return (unsigned)format < VMXSIM_VMCS_FORMAT_COUNT ? formats[format].name : NULL;
}

static enum vmxsim_vmcs_format detect(const uint8_t *bytes, size_t length)
{
    const size_t head = length < 256 ? length : 256;

    if (head > 0 && memchr(bytes, 0, head) != NULL)
        return VMXSIM_VMCS_FORMAT_VMCS12;
    for (size_t i = 0; i < length; i++) {
        if (strchr(" \t\r\n", bytes[i]) == NULL)
            return bytes[i] == '{' ? VMXSIM_VMCS_FORMAT_JSON : VMXSIM_VMCS_FORMAT_LINUX;
    }
    return VMXSIM_VMCS_FORMAT_LINUX;
}

static void count_known(struct vmxsim_vmcs_reading *reading)
{
    reading->known_count = 0;
    for (size_t i = 0; i < VMXC_VMCS_FIELD_COUNT; i++)
        reading->known_count += vmxsim_vmcs_is_known(reading->known, i);
}

static enum vmxc_status finish(struct vmxsim_vmcs_reader *reader, struct vmxsim_error *error)
{
    if (reader->note_count > MAX_NOTES)
        vmxsim_text_add(&reader->notes, "%" PRIu32 " more notes left out\n",
                        reader->note_count - MAX_NOTES);
    reader->reading->notes = vmxsim_text_take(&reader->notes);
    if (reader->reading->notes == NULL)
        return vmxsim_error_set(error, VMXC_NO_MEMORY, "%s: no host memory left", reader->name);
    count_known(reader->reading);
    if (reader->reading->known_count == 0)
        return vmxsim_error_set(error, VMXC_BAD_FORMAT,
                                "%s: no VMCS field found in it (read as %s)", reader->name,
                                formats[reader->reading->format].name);
    return VMXC_OK;
}

enum vmxc_status vmxsim_vmcs_read(const void *bytes, size_t length, enum vmxsim_vmcs_format format,
                                  const char *name, struct vmxsim_vmcs_reading *reading,
                                  struct vmxsim_error *error)
{
    struct vmxsim_vmcs_reader reader = {
        .name = name, .bytes = bytes, .length = length, .reading = reading};

    *reading = (struct vmxsim_vmcs_reading){
        .format = format == VMXSIM_VMCS_FORMAT_AUTO ? detect(bytes, length) : format,
        .processor = vmxsim_entry_processor_default(0),
    };
    enum vmxc_status status = formats[reading->format].read(&reader, error);
    if (status == VMXC_OK)
        status = finish(&reader, error);
    vmxsim_text_free(&reader.notes);
    if (status != VMXC_OK)
        vmxsim_vmcs_reading_free(reading);
    return status;
}

void vmxsim_vmcs_reading_free(struct vmxsim_vmcs_reading *reading)
{
    vmxsim_memory_destroy(reading->memory);
    vmxsim_profile_destroy(reading->owned_profile);
    free(reading->notes);
    *reading = (struct vmxsim_vmcs_reading){.format = VMXSIM_VMCS_FORMAT_AUTO};
}

/* ---- Files ---- */

static enum vmxc_status read_stream(FILE *stream, const char *name, uint8_t **bytes, size_t *length,
                                    struct vmxsim_error *error)
{
    size_t capacity = 64u << 10, used = 0;
    uint8_t *buffer = malloc(capacity);

    while (buffer != NULL) {
        used += fread(buffer + used, 1, capacity - used, stream);
        if (used < capacity || capacity > MAX_FILE_SIZE)
            break;
        uint8_t *const larger = realloc(buffer, 2 * capacity);
        if (larger == NULL)
            free(buffer);
        buffer = larger;
        capacity *= 2;
    }
    *bytes = buffer;
    *length = used;
    if (buffer == NULL)
        return vmxsim_error_set(error, VMXC_NO_MEMORY, "%s: no host memory left", name);
    if (ferror(stream))
        return vmxsim_error_set(error, VMXC_IO_ERROR, "%s: %s", name, strerror(errno));
    if (used > MAX_FILE_SIZE)
        return vmxsim_error_set(error, VMXC_BAD_FORMAT, "%s: larger than 64 MBytes", name);
    return VMXC_OK;
}

enum vmxc_status vmxsim_vmcs_read_file(const char *path, enum vmxsim_vmcs_format format,
                                       struct vmxsim_vmcs_reading *reading,
                                       struct vmxsim_error *error)
{
    const bool is_stdin = strcmp(path, "-") == 0;
    FILE *const stream = is_stdin ? stdin : fopen(path, "rb");
    uint8_t *bytes = NULL;
    size_t length = 0;

    *reading = (struct vmxsim_vmcs_reading){.format = VMXSIM_VMCS_FORMAT_AUTO};
    if (stream == NULL)
        return vmxsim_error_set(error, VMXC_IO_ERROR, "%s: %s", path, strerror(errno));
    enum vmxc_status status = read_stream(stream, path, &bytes, &length, error);
    if (status == VMXC_OK)
        status = vmxsim_vmcs_read(bytes, length, format, path, reading, error);
    free(bytes);
    if (!is_stdin)
        (void)fclose(stream);
    return status;
}
