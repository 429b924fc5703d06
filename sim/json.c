/* SPDX-License-Identifier: Apache-2.0 */
#include "internal/json.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* ---- Documents ---- */

enum vmxc_status vmxsim_json_parse(const char *text, size_t length, const char *document,
                                   json_t **root, struct vmxsim_error *error)
{
    json_error_t why;
    json_t *parsed = json_loadb(text, length, JSON_REJECT_DUPLICATES, &why);
    if (parsed == NULL) {
        const char *prefix = document != NULL ? document : "";
        const char *colon = document != NULL ? ": " : "";
        if (why.text[0] == '\0') /* jansson's way to say that an allocation failed */
            return vmxsim_error_set(error, VMXC_NO_MEMORY, "%s%sno host memory to parse it", prefix,
                                    colon);
        return vmxsim_error_set(error, VMXC_BAD_FORMAT, "%s%sline %d, column %d: %s", prefix, colon,
                                why.line, why.column, why.text);
    }
    *root = parsed;
    return VMXC_OK;
}

static int add_piece(const char *piece, size_t size, void *text)
{
    vmxsim_text_add(text, "%.*s", (int)size, piece);
    return ((const struct vmxsim_text *)text)->failed ? -1 : 0;
}

void vmxsim_text_add_json(struct vmxsim_text *text, const json_t *value, size_t flags)
{
    if (json_dump_callback(value, add_piece, text, flags) != 0)
        text->failed = true;
}

/* ---- Places ---- */

struct vmxsim_json vmxsim_json_root(json_t *value, const char *document, const char *name)
{
    return (struct vmxsim_json){.value = value, .document = document, .key = name};
}

struct vmxsim_json vmxsim_json_child(const struct vmxsim_json *parent, const char *key,
                                     json_t *value)
{
    return (struct vmxsim_json){.value = value, .parent = parent, .key = key};
}

struct vmxsim_json vmxsim_json_element(const struct vmxsim_json *parent, size_t index)
{
    return (struct vmxsim_json){
        .value = json_array_get(parent->value, index), .parent = parent, .index = index};
}

static size_t append(char *buffer, size_t size, size_t length, const char *format, ...)
    VMXC_PRINTF(4, 5);

/* Appends to a text of `length` characters and returns its new length, at most size - 1. */
static size_t append(char *buffer, size_t size, size_t length, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    const int written = vsnprintf(buffer + length, size - length, format, arguments);
    va_end(arguments);
    if (written < 0)
        return length;
    const size_t room = size - length - 1;
    return length + ((size_t)written < room ? (size_t)written : room);
}

/* Deeper places than this do not occur in any format that is read here; their inner parts stand for them. */
enum { PATH_DEPTH = 16 };

void vmxsim_json_path(const struct vmxsim_json *at, char *buffer, size_t size)
{
    const struct vmxsim_json *chain[PATH_DEPTH];
    size_t depth = 0;
    for (const struct vmxsim_json *place = at; place != NULL && depth < PATH_DEPTH;
         place = place->parent)
        chain[depth++] = place;

    size_t length = 0;
    if (size == 0)
        return;
    buffer[0] = '\0';
    while (depth > 0) {
        const struct vmxsim_json *place = chain[--depth];
        if (place->key != NULL)
            length = append(buffer, size, length, "%s%s", length != 0 ? "." : "", place->key);
        else if (place->parent != NULL)
            length = append(buffer, size, length, "[%zu]", place->index);
    }
}

static const char *document_of(const struct vmxsim_json *at)
{
    while (at->parent != NULL)
        at = at->parent;
    return at->document;
}

enum vmxc_status vmxsim_json_fail(const struct vmxsim_json *at, struct vmxsim_error *error,
                                  const char *format, ...)
{
    char message[VMXSIM_ERROR_TEXT_SIZE];
    va_list arguments;
    va_start(arguments, format);
    const int written = vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    if (written < 0)
        message[0] = '\0';

    char path[VMXSIM_ERROR_TEXT_SIZE / 2];
    vmxsim_json_path(at, path, sizeof path);
    const char *document = document_of(at);
    return vmxsim_error_set(error, VMXC_BAD_FORMAT, "%s%s%s%s%s", document != NULL ? document : "",
                            document != NULL ? ": " : "", path, path[0] != '\0' ? ": " : "",
                            message);
}

/* ---- Objects ---- */

static bool contains(const char *const keys[], size_t key_count, const char *key)
{
    for (size_t i = 0; i < key_count; i++) {
        if (strcmp(keys[i], key) == 0)
            return true;
    }
    return false;
}

enum vmxc_status vmxsim_json_only_keys(const struct vmxsim_json *at, const char *const keys[],
                                       size_t key_count, struct vmxsim_error *error)
{
    VMXC_TRY(vmxsim_json_is_object(at, error));
    const char *key;
    json_t *value;
    json_object_foreach(at->value, key, value)
    {
        if (!contains(keys, key_count, key)) {
            const struct vmxsim_json child = vmxsim_json_child(at, key, value);
            return vmxsim_json_fail(&child, error, "unknown key");
        }
    }
    return VMXC_OK;
}

bool vmxsim_json_find(const struct vmxsim_json *at, const char *key, struct vmxsim_json *child)
{
    json_t *value = json_object_get(at->value, key);
    if (value == NULL)
        return false;
    *child = vmxsim_json_child(at, key, value);
    return true;
}

enum vmxc_status vmxsim_json_member(const struct vmxsim_json *at, const char *key,
                                    struct vmxsim_json *child, struct vmxsim_error *error)
{
    VMXC_TRY(vmxsim_json_is_object(at, error));
    if (vmxsim_json_find(at, key, child))
        return VMXC_OK;
    const struct vmxsim_json missing = vmxsim_json_child(at, key, NULL);
    (void)vmxsim_json_fail(&missing, error, "key is missing");
    return VMXC_BAD_FORMAT;
}

/* ---- Values ---- */

enum vmxc_status vmxsim_json_is_object(const struct vmxsim_json *at, struct vmxsim_error *error)
{
    return json_is_object(at->value) ? VMXC_OK : vmxsim_json_fail(at, error, "must be an object");
}

enum vmxc_status vmxsim_json_is_array(const struct vmxsim_json *at, struct vmxsim_error *error)
{
    return json_is_array(at->value) ? VMXC_OK : vmxsim_json_fail(at, error, "must be an array");
}

static enum vmxc_status check_hex(const struct vmxsim_json *at, const char *text, uint64_t max,
                                  uint64_t *value, struct vmxsim_error *error)
{
    uint64_t parsed;
    if (text == NULL || !vmxsim_parse_hex(text, &parsed))
        return vmxsim_json_fail(at, error,
                                "must be a hexadecimal string such as \"0x1e\": lower case, no "
                                "leading zeros, at most 64 bits");
    if (parsed > max)
        return vmxsim_json_fail(at, error, "0x%" PRIx64 " is above the maximum, 0x%" PRIx64, parsed,
                                max);
    *value = parsed;
    return VMXC_OK;
}

enum vmxc_status vmxsim_json_hex(const struct vmxsim_json *at, uint64_t max, uint64_t *value,
                                 struct vmxsim_error *error)
{
    return check_hex(at, json_string_value(at->value), max, value, error);
}

enum vmxc_status vmxsim_json_hex_key(const struct vmxsim_json *child, uint64_t max, uint64_t *value,
                                     struct vmxsim_error *error)
{
    return check_hex(child, child->key, max, value, error);
}

enum vmxc_status vmxsim_json_count(const struct vmxsim_json *at, uint64_t min, uint64_t max,
                                   uint64_t *value, struct vmxsim_error *error)
{
    if (!json_is_integer(at->value))
        return vmxsim_json_fail(at, error, "must be an integer");
    const json_int_t number = json_integer_value(at->value);
    if (number < 0 || (uint64_t)number < min || (uint64_t)number > max)
        return vmxsim_json_fail(at, error,
                                "%" JSON_INTEGER_FORMAT " is not between %" PRIu64 " and %" PRIu64,
                                number, min, max);
    *value = (uint64_t)number;
    return VMXC_OK;
}

enum vmxc_status vmxsim_json_bool(const struct vmxsim_json *at, bool *value,
                                  struct vmxsim_error *error)
{
    if (!json_is_boolean(at->value))
        return vmxsim_json_fail(at, error, "must be true or false");
    *value = json_is_true(at->value);
    return VMXC_OK;
}

enum vmxc_status vmxsim_json_string(const struct vmxsim_json *at, const char **value,
                                    struct vmxsim_error *error)
{
    if (!json_is_string(at->value))
        return vmxsim_json_fail(at, error, "must be a string");
    *value = json_string_value(at->value);
    return VMXC_OK;
}

/* ---- Member and value in one ---- */

enum vmxc_status vmxsim_json_get_hex(const struct vmxsim_json *at, const char *key, uint64_t max,
                                     uint64_t *value, struct vmxsim_error *error)
{
    struct vmxsim_json child;
    VMXC_TRY(vmxsim_json_member(at, key, &child, error));
    return vmxsim_json_hex(&child, max, value, error);
}

enum vmxc_status vmxsim_json_get_count(const struct vmxsim_json *at, const char *key, uint64_t min,
                                       uint64_t max, uint64_t *value, struct vmxsim_error *error)
{
    struct vmxsim_json child;
    VMXC_TRY(vmxsim_json_member(at, key, &child, error));
    return vmxsim_json_count(&child, min, max, value, error);
}

enum vmxc_status vmxsim_json_get_bool(const struct vmxsim_json *at, const char *key, bool *value,
                                      struct vmxsim_error *error)
{
    struct vmxsim_json child;
    VMXC_TRY(vmxsim_json_member(at, key, &child, error));
    return vmxsim_json_bool(&child, value, error);
}

enum vmxc_status vmxsim_json_get_string(const struct vmxsim_json *at, const char *key,
                                        const char **value, struct vmxsim_error *error)
{
    struct vmxsim_json child;
    VMXC_TRY(vmxsim_json_member(at, key, &child, error));
    return vmxsim_json_string(&child, value, error);
}

/* ---- Hexadecimal ---- */

static int digit_value(char digit)
{
    if (digit >= '0' && digit <= '9')
        return digit - '0';
    return digit >= 'a' && digit <= 'f' ? digit - 'a' + 10 : -1;
}

bool vmxsim_parse_hex_digits(const char *text, size_t length, uint64_t *value)
{
    if (length == 0 || length > 16 || (text[0] == '0' && length > 1))
        return false;
    uint64_t parsed = 0;
    for (size_t i = 0; i < length; i++) {
        const int digit = digit_value(text[i]);
        if (digit < 0)
            return false;
        parsed = parsed << 4 | (uint64_t)digit;
    }
    *value = parsed;
    return true;
}

bool vmxsim_parse_hex(const char *text, uint64_t *value)
{
    return strncmp(text, "0x", 2) == 0 &&
           vmxsim_parse_hex_digits(text + 2, strlen(text + 2), value);
}

json_t *vmxsim_json_new_hex(uint64_t value)
{
    char text[sizeof "0x0123456789abcdef"];
    (void)snprintf(text, sizeof text, "0x%" PRIx64, value);
    return json_string(text);
}
