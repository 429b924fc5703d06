/* SPDX-License-Identifier: Apache-2.0 */
/* Objects checked against tables of keys: unknown keys, missing keys, types, bounds. */
#include "internal/replay.h"

#include <string.h>

/* ---- Single values ---- */

enum vmxc_status vmxsim_schema_check_choice(const struct vmxsim_json *at,
                                            const char *const *choices, struct vmxsim_error *error)
{
    const char *text;
    VMXC_TRY(vmxsim_json_string(at, &text, error));
    for (const char *const *choice = choices; *choice != NULL; choice++) {
        if (strcmp(*choice, text) == 0)
            return VMXC_OK;
    }
    struct vmxsim_text list = {.failed = false};
    for (const char *const *choice = choices; *choice != NULL; choice++)
        vmxsim_text_add(&list, "%s\"%s\"", choice == choices ? "" : ", ", *choice);
    const enum vmxc_status status = vmxsim_json_fail(at, error, "\"%s\" is not one of %s", text,
                                                     list.failed ? "..." : list.bytes);
    vmxsim_text_free(&list);
    return status;
}

static enum vmxc_status check_string(const struct vmxsim_json *at, bool not_empty,
                                     struct vmxsim_error *error)
{
    const char *text;
    VMXC_TRY(vmxsim_json_string(at, &text, error));
    if (not_empty && *text == '\0')
        return vmxsim_json_fail(at, error, "must not be empty");
    return VMXC_OK;
}

static enum vmxc_status check_value(const struct vmxsim_vector_file *file,
                                    const struct vmxsim_json *at,
                                    const struct vmxsim_schema_key *key, struct vmxsim_error *error)
{
    uint64_t number;
    bool flag;
    switch (key->type) {
    case VMXSIM_SCHEMA_HEX:
        return vmxsim_json_hex(at, key->max, &number, error);
    case VMXSIM_SCHEMA_COUNT:
        return vmxsim_json_count(at, key->min, key->max, &number, error);
    case VMXSIM_SCHEMA_BOOL:
        return vmxsim_json_bool(at, &flag, error);
    case VMXSIM_SCHEMA_STRING:
        return check_string(at, key->min != 0, error);
    case VMXSIM_SCHEMA_CHOICE:
        return vmxsim_schema_check_choice(at, key->choices, error);
    case VMXSIM_SCHEMA_CUSTOM:
        break;
    }
    return key->check(file, at, error);
}

enum vmxc_status vmxsim_schema_word_address(const struct vmxsim_json *at, uint64_t *hpa,
                                            struct vmxsim_error *error)
{
    uint64_t address;
    VMXC_TRY(vmxsim_json_hex_key(at, (UINT64_C(1) << VMXC_MAXPHYADDR_LIMIT) - 1, &address, error));
    if (address % 8 != 0)
        return vmxsim_json_fail(at, error, "the address is not a multiple of 8");
    *hpa = address;
    return VMXC_OK;
}

/* ---- Objects ---- */

static const struct vmxsim_schema_key *find_key(const struct vmxsim_schema *schema,
                                                const char *name)
{
    for (size_t i = 0; i < schema->count; i++) {
        if (strcmp(schema->keys[i].name, name) == 0)
            return &schema->keys[i];
    }
    return NULL;
}

enum vmxc_status vmxsim_schema_check_object(const struct vmxsim_vector_file *file,
                                            const struct vmxsim_json *at,
                                            const struct vmxsim_schema *schema,
                                            struct vmxsim_error *error)
{
    const char *name;
    json_t *value;
    struct vmxsim_json child;

    VMXC_TRY(vmxsim_json_is_object(at, error));
    json_object_foreach(at->value, name, value)
    {
        const struct vmxsim_schema_key *key = find_key(schema, name);
        child = vmxsim_json_child(at, name, value);
        if (key == NULL)
            return vmxsim_json_fail(&child, error, "unknown key, or one that has no place here");
        VMXC_TRY(check_value(file, &child, key, error));
    }
    for (size_t i = 0; i < schema->count; i++) {
        if (!schema->keys[i].optional)
            VMXC_TRY(vmxsim_json_member(at, schema->keys[i].name, &child, error));
    }
    return VMXC_OK;
}

/* ---- Values that were checked ---- */

uint64_t vmxsim_checked_hex_key(const char *key)
{
    uint64_t value = 0;
    (void)vmxsim_parse_hex(key, &value);
    return value;
}

uint64_t vmxsim_checked_hex(const json_t *value)
{
    return vmxsim_checked_hex_key(json_string_value(value));
}

bool vmxsim_checked_find(const json_t *object, const char *key, uint64_t *value)
{
    const json_t *member = json_object_get(object, key);
    if (member == NULL)
        return false;
    *value =
        json_is_integer(member) ? (uint64_t)json_integer_value(member) : vmxsim_checked_hex(member);
    return true;
}

bool vmxsim_parse_wide_hex(const char *text, uint8_t *bytes, size_t size)
{
    const size_t length = strlen(text);
    if (length < 3 || strncmp(text, "0x", 2) != 0 || (text[2] == '0' && length > 3) ||
        length - 2 > 2 * size)
        return false;
    memset(bytes, 0, size);
    for (size_t i = 0; i < length - 2; i++) {
        uint64_t digit;
        const char *const at = &text[length - 1 - i];
        if (!vmxsim_parse_hex_digits(at, 1, &digit))
            return false;
        bytes[i / 2] = (uint8_t)(bytes[i / 2] | digit << (i % 2 * 4));
    }
    return true;
}
