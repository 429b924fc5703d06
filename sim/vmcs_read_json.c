/* SPDX-License-Identifier: Apache-2.0 */
/* A VMCS as JSON, alone or with the processor, the profile and the memory it is checked with. */
#include "internal/array.h"
#include "internal/profile.h"
#include "internal/vmcs_read.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* ---- Numbers: more generous than in vectors, because people write them ---- */

static int digit_value(char digit)
{
    static const char digits[] = "0123456789abcdef0123456789ABCDEF";
    const char *const found = digit != '\0' ? strchr(digits, digit) : NULL;

    return found != NULL ? (int)((found - digits) % 16) : -1;
}

/* "0x" and digits of any number, at most 64 bits. */
static bool parse_hex(const char *text, uint64_t *value)
{
    uint64_t parsed = 0;

    if (text[0] != '0' || (text[1] != 'x' && text[1] != 'X') || text[2] == '\0')
        return false;
    for (text += 2; *text != '\0'; text++) {
        const int digit = digit_value(*text);
        if (digit < 0 || parsed >> 60 != 0)
            return false;
        parsed = parsed << 4 | (uint64_t)digit;
    }
    *value = parsed;
    return true;
}

static enum vmxc_status get_number(const struct vmxsim_json *at, uint64_t max, uint64_t *value,
                                   struct vmxsim_error *error)
{
    const char *const text = json_string_value(at->value);

    if (json_is_integer(at->value))
        return vmxsim_json_count(at, 0, max, value, error);
    if (text == NULL || !parse_hex(text, value))
        return vmxsim_json_fail(
            at, error, "must be a number, or a string such as \"0x1e\" of at most 64 bits");
    if (*value > max)
        return vmxsim_json_fail(at, error, "0x%" PRIx64 " is above the maximum, 0x%" PRIx64, *value,
                                max);
    return VMXC_OK;
}

/* ---- Fields ---- */

static size_t ordinal_by_name(const char *name)
{
    size_t ordinal = 0;

    while (ordinal < VMXC_VMCS_FIELD_COUNT && strcasecmp(vmxsim_vmcs_name(ordinal), name) != 0)
        ordinal++;
    return ordinal;
}

static enum vmxc_status find_field(const struct vmxsim_json *at, size_t *ordinal,
                                   struct vmxsim_error *error)
{
    uint64_t encoding;

    if (!parse_hex(at->key, &encoding)) {
        *ordinal = ordinal_by_name(at->key);
    } else if (encoding & VMXC_VMCS_ENCODING_HIGH) {
        return vmxsim_json_fail(at, error, "not a full (even) field encoding");
    } else {
        *ordinal = encoding <= UINT32_MAX ? vmxsim_vmcs_ordinal((uint32_t)encoding)
                                          : VMXC_VMCS_FIELD_COUNT;
    }
    return *ordinal < VMXC_VMCS_FIELD_COUNT
               ? VMXC_OK
               : vmxsim_json_fail(at, error, "there is no such VMCS field");
}

static enum vmxc_status read_field(struct vmxsim_vmcs_reader *reader, const struct vmxsim_json *at,
                                   bool seen[VMXC_VMCS_FIELD_COUNT], struct vmxsim_error *error)
{
    size_t ordinal = VMXC_VMCS_FIELD_COUNT;
    uint64_t value = 0;

    VMXC_TRY(find_field(at, &ordinal, error));
    if (seen[ordinal])
        return vmxsim_json_fail(at, error, "the field is given twice, by name and by encoding");
    seen[ordinal] = true;
    if (json_is_null(at->value))
        return VMXC_OK;
    VMXC_TRY(get_number(at, vmxsim_vmcs_width_mask(vmxsim_vmcs_encoding(ordinal)), &value, error));
    vmxsim_reader_set(reader, ordinal, value, 0);
    return VMXC_OK;
}

static enum vmxc_status read_fields(struct vmxsim_vmcs_reader *reader, const struct vmxsim_json *at,
                                    bool others_are_zero, struct vmxsim_error *error)
{
    bool seen[VMXC_VMCS_FIELD_COUNT] = {false};
    const char *key;
    json_t *value;

    VMXC_TRY(vmxsim_json_is_object(at, error));
    json_object_foreach(at->value, key, value)
    {
        const struct vmxsim_json child = vmxsim_json_child(at, key, value);
        VMXC_TRY(read_field(reader, &child, seen, error));
    }
    for (size_t i = 0; others_are_zero && i < VMXC_VMCS_FIELD_COUNT; i++) {
        if (!seen[i])
            vmxsim_reader_set(reader, i, 0, 0);
    }
    return VMXC_OK;
}

/* ---- Processor ---- */

static const struct {
    const char *name;
    uint64_t max;
    size_t offset;
} numbers[] = {
    {"cr0", UINT64_MAX, offsetof(struct vmxsim_entry_processor, cr0)},
    {"cr4", UINT64_MAX, offsetof(struct vmxsim_entry_processor, cr4)},
    {"efer", UINT64_MAX, offsetof(struct vmxsim_entry_processor, efer)},
    {"rflags", UINT64_MAX, offsetof(struct vmxsim_entry_processor, rflags)},
    {"current_vmcs", UINT64_MAX, offsetof(struct vmxsim_entry_processor, current_vmcs)},
};

static const struct {
    const char *name;
    size_t offset;
} flags[] = {
    {"in_vmx", offsetof(struct vmxsim_entry_processor, in_vmx)},
    {"in_non_root", offsetof(struct vmxsim_entry_processor, in_non_root)},
    {"code_64bit", offsetof(struct vmxsim_entry_processor, code_64bit)},
    {"blocking_by_mov_ss", offsetof(struct vmxsim_entry_processor, blocking_by_mov_ss)},
    {"in_smm", offsetof(struct vmxsim_entry_processor, in_smm)},
    {"vmresume", offsetof(struct vmxsim_entry_processor, vmresume)},
    {"launched", offsetof(struct vmxsim_entry_processor, launched)},
    {"current_is_shadow", offsetof(struct vmxsim_entry_processor, current_is_shadow)},
    {"has_current", offsetof(struct vmxsim_entry_processor, has_current)},
};

static enum vmxc_status read_processor_member(struct vmxsim_entry_processor *processor,
                                              const struct vmxsim_json *at,
                                              struct vmxsim_error *error)
{
    char *const base = (char *)processor;
    uint64_t number = 0;
    bool flag = false;

    for (size_t i = 0; i < COUNT_OF(numbers); i++) {
        if (strcmp(numbers[i].name, at->key) != 0)
            continue;
        VMXC_TRY(get_number(at, numbers[i].max, &number, error));
        memcpy(base + numbers[i].offset, &number, sizeof number);
        return VMXC_OK;
    }
    for (size_t i = 0; i < COUNT_OF(flags); i++) {
        if (strcmp(flags[i].name, at->key) != 0)
            continue;
        VMXC_TRY(vmxsim_json_bool(at, &flag, error));
        memcpy(base + flags[i].offset, &flag, sizeof flag);
        return VMXC_OK;
    }
    if (strcmp(at->key, "cpl") != 0)
        return vmxsim_json_fail(at, error, "unknown key");
    VMXC_TRY(get_number(at, 3, &number, error));
    processor->cpl = (uint8_t)number;
    return VMXC_OK;
}

static enum vmxc_status read_processor(struct vmxsim_vmcs_reader *reader,
                                       const struct vmxsim_json *at, struct vmxsim_error *error)
{
    const char *key;
    json_t *value;

    VMXC_TRY(vmxsim_json_is_object(at, error));
    json_object_foreach(at->value, key, value)
    {
        const struct vmxsim_json child = vmxsim_json_child(at, key, value);
        VMXC_TRY(read_processor_member(&reader->reading->processor, &child, error));
    }
    reader->reading->processor_given = true;
    return VMXC_OK;
}

/* ---- Profile ---- */

static enum vmxc_status read_profile(struct vmxsim_vmcs_reader *reader,
                                     const struct vmxsim_json *at, struct vmxsim_error *error)
{
    struct vmxsim_vmcs_reading *const reading = reader->reading;
    const char *name;

    if (json_is_object(at->value)) {
        VMXC_TRY(vmxsim_profile_from_cpu(at, reader->name, &reading->owned_profile, error));
        reading->profile = reading->owned_profile;
        return VMXC_OK;
    }
    VMXC_TRY(vmxsim_json_string(at, &name, error));
    reading->profile = vmxsim_profile_builtin(name);
    return reading->profile != NULL
               ? VMXC_OK
               : vmxsim_json_fail(at, error, "there is no built-in profile \"%s\"", name);
}

/* ---- Memory ---- */

#define ADDRESS_MAX ((UINT64_C(1) << VMXC_MAXPHYADDR_LIMIT) - 1)
#define LOW_RAM     (UINT64_C(1) << 40)

static enum vmxc_status word_address(const struct vmxsim_json *at, uint64_t *hpa,
                                     struct vmxsim_error *error)
{
    if (!parse_hex(at->key, hpa) || *hpa > ADDRESS_MAX || *hpa % 8 != 0)
        return vmxsim_json_fail(at, error,
                                "not the address of a quadword: a multiple of 8 below 2^52");
    return VMXC_OK;
}

static int compare_ranges(const void *left, const void *right)
{
    const struct vmxsim_range *const a = left, *const b = right;

    return (a->base > b->base) - (a->base < b->base);
}

/* One range for everything below 1 TByte, and a page for each word above. */
static enum vmxc_status find_ranges(const struct vmxsim_json *at, struct vmxsim_range *ranges,
                                    size_t *count, struct vmxsim_error *error)
{
    size_t used = 0, kept = 1;
    const char *key;
    json_t *value;

    ranges[used++] = (struct vmxsim_range){.base = 0, .length = LOW_RAM};
    json_object_foreach(at->value, key, value)
    {
        const struct vmxsim_json child = vmxsim_json_child(at, key, value);
        uint64_t hpa = 0;
        VMXC_TRY(word_address(&child, &hpa, error));
        if (hpa >= LOW_RAM)
            ranges[used++] =
                (struct vmxsim_range){.base = hpa & ~VMXC_PAGE_MASK, .length = VMXC_PAGE_SIZE};
    }
    qsort(ranges, used, sizeof *ranges, compare_ranges);
    for (size_t i = 1; i < used; i++) {
        if (ranges[i].base != ranges[kept - 1].base)
            ranges[kept++] = ranges[i];
    }
    *count = kept;
    return VMXC_OK;
}

static enum vmxc_status create_memory(struct vmxsim_vmcs_reader *reader,
                                      const struct vmxsim_json *at, struct vmxsim_error *error)
{
    struct vmxsim_range *const ranges = calloc(json_object_size(at->value) + 1, sizeof *ranges);
    size_t count = 0;

    if (ranges == NULL)
        return vmxsim_error_set(error, VMXC_NO_MEMORY, "%s: no host memory left", reader->name);
    enum vmxc_status status = find_ranges(at, ranges, &count, error);
    if (status == VMXC_OK) {
        const struct vmxsim_memory_config config = {
            .ram = ranges,
            .ram_count = count,
            .frames = {.base = VMXC_PAGE_SIZE, .length = VMXC_PAGE_SIZE},
            .no_poison = true};
        status = vmxsim_memory_create(&config, &reader->reading->memory, error);
    }
    free(ranges);
    return status;
}

static enum vmxc_status read_memory(struct vmxsim_vmcs_reader *reader, const struct vmxsim_json *at,
                                    struct vmxsim_error *error)
{
    const char *key;
    json_t *value;

    VMXC_TRY(vmxsim_json_is_object(at, error));
    VMXC_TRY(create_memory(reader, at, error));
    json_object_foreach(at->value, key, value)
    {
        const struct vmxsim_json child = vmxsim_json_child(at, key, value);
        uint64_t hpa = 0, word = 0;
        VMXC_TRY(word_address(&child, &hpa, error));
        VMXC_TRY(get_number(&child, UINT64_MAX, &word, error));
        vmxsim_memory_write64(reader->reading->memory, hpa, word);
    }
    return VMXC_OK;
}

/* ---- The whole ---- */

static enum vmxc_status read_others(const struct vmxsim_json *at, bool *others_are_zero,
                                    struct vmxsim_error *error)
{
    struct vmxsim_json others;
    const char *text;

    *others_are_zero = false;
    if (!vmxsim_json_find(at, "others", &others))
        return VMXC_OK;
    VMXC_TRY(vmxsim_json_string(&others, &text, error));
    *others_are_zero = strcmp(text, "zero") == 0;
    if (!*others_are_zero && strcmp(text, "unknown") != 0)
        return vmxsim_json_fail(&others, error, "must be \"zero\" or \"unknown\"");
    return VMXC_OK;
}

static enum vmxc_status read_document(struct vmxsim_vmcs_reader *reader,
                                      const struct vmxsim_json *root, struct vmxsim_error *error)
{
    static const char *const document_keys[] = {"vmcs",      "others", "profile",
                                                "processor", "memory", "note"};
    struct vmxsim_json child;
    bool others_are_zero;

    if (!vmxsim_json_find(root, "vmcs", &child))
        return read_fields(reader, root, false, error);
    VMXC_TRY(vmxsim_json_only_keys(root, document_keys, COUNT_OF(document_keys), error));
    VMXC_TRY(read_others(root, &others_are_zero, error));
    VMXC_TRY(read_fields(reader, &child, others_are_zero, error));
    if (vmxsim_json_find(root, "profile", &child))
        VMXC_TRY(read_profile(reader, &child, error));
    if (vmxsim_json_find(root, "processor", &child))
        VMXC_TRY(read_processor(reader, &child, error));
    if (vmxsim_json_find(root, "memory", &child))
        VMXC_TRY(read_memory(reader, &child, error));
    return VMXC_OK;
}

enum vmxc_status vmxsim_vmcs_read_json(struct vmxsim_vmcs_reader *reader,
                                       struct vmxsim_error *error)
{
    json_t *value;

    VMXC_TRY(vmxsim_json_parse((const char *)reader->bytes, reader->length, reader->name, &value,
                               error));
    const struct vmxsim_json root = vmxsim_json_root(value, reader->name, NULL);
    const enum vmxc_status status = read_document(reader, &root, error);
    json_decref(value);
    return status;
}
