/* SPDX-License-Identifier: Apache-2.0 */
#include "internal/profile.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmxsim/vmcs.h"

/* ---- MSRs ---- */

static int compare_msrs(const void *left, const void *right)
{
    const struct vmxsim_profile_msr *a = left;
    const struct vmxsim_profile_msr *b = right;
    return (a->index > b->index) - (a->index < b->index);
}

/* "0x480": "0xd8100000000004" */
static enum vmxc_status read_msrs(const struct vmxsim_json *cpu, struct vmxsim_profile *profile,
                                  struct vmxsim_error *error)
{
    struct vmxsim_json msrs;
    VMXC_TRY(vmxsim_json_member(cpu, "msr", &msrs, error));
    VMXC_TRY(vmxsim_json_is_object(&msrs, error));
    const size_t count = json_object_size(msrs.value);
    profile->msrs = calloc(count + 1, sizeof *profile->msrs);
    if (profile->msrs == NULL)
        return vmxsim_error_set(error, VMXC_NO_MEMORY, "no host memory for %zu MSRs", count);

    const char *key;
    json_t *value;
    json_object_foreach(msrs.value, key, value)
    {
        const struct vmxsim_json at = vmxsim_json_child(&msrs, key, value);
        struct vmxsim_profile_msr *msr = &profile->msrs[profile->msr_count++];
        uint64_t index;
        VMXC_TRY(vmxsim_json_hex_key(&at, UINT32_MAX, &index, error));
        VMXC_TRY(vmxsim_json_hex(&at, UINT64_MAX, &msr->value, error));
        msr->index = (uint32_t)index;
    }
    qsort(profile->msrs, profile->msr_count, sizeof *profile->msrs, compare_msrs);
    return VMXC_OK;
}

/* ---- CPUID ---- */

static int compare_leaves(const void *left, const void *right)
{
    const struct vmxsim_profile_cpuid *a = left;
    const struct vmxsim_profile_cpuid *b = right;
    if (a->leaf != b->leaf)
        return a->leaf > b->leaf ? 1 : -1;
    return (a->subleaf > b->subleaf) - (a->subleaf < b->subleaf);
}

/* "0xd.1": the prefix only once. */
static enum vmxc_status read_leaf_key(const struct vmxsim_json *at,
                                      struct vmxsim_profile_cpuid *leaf, struct vmxsim_error *error)
{
    const char *dot = strchr(at->key, '.');
    uint64_t number, subleaf;
    if (dot == NULL || strncmp(at->key, "0x", 2) != 0 ||
        !vmxsim_parse_hex_digits(at->key + 2, (size_t)(dot - at->key - 2), &number) ||
        !vmxsim_parse_hex_digits(dot + 1, strlen(dot + 1), &subleaf) || number > UINT32_MAX ||
        subleaf > UINT32_MAX)
        return vmxsim_json_fail(
            at, error,
            "key must be leaf.subleaf, both hexadecimal with one prefix, such as "
            "\"0xd.1\"");
    leaf->leaf = (uint32_t)number;
    leaf->subleaf = (uint32_t)subleaf;
    return VMXC_OK;
}

/* "0x7.0": ["0x0", "0xf0bf27eb", "0x405f4e", "0xbc000110"] */
static enum vmxc_status read_leaf(const struct vmxsim_json *at, struct vmxsim_profile_cpuid *leaf,
                                  struct vmxsim_error *error)
{
    VMXC_TRY(read_leaf_key(at, leaf, error));
    VMXC_TRY(vmxsim_json_is_array(at, error));
    if (json_array_size(at->value) != 4)
        return vmxsim_json_fail(at, error, "must be four registers: EAX, EBX, ECX, EDX");
    for (size_t i = 0; i < 4; i++) {
        const struct vmxsim_json element = vmxsim_json_element(at, i);
        uint64_t value;
        VMXC_TRY(vmxsim_json_hex(&element, UINT32_MAX, &value, error));
        leaf->registers[i] = (uint32_t)value;
    }
    return VMXC_OK;
}

static enum vmxc_status read_leaves(const struct vmxsim_json *cpu, struct vmxsim_profile *profile,
                                    struct vmxsim_error *error)
{
    struct vmxsim_json leaves;
    VMXC_TRY(vmxsim_json_member(cpu, "cpuid", &leaves, error));
    VMXC_TRY(vmxsim_json_is_object(&leaves, error));
    const size_t count = json_object_size(leaves.value);
    profile->leaves = calloc(count + 1, sizeof *profile->leaves);
    if (profile->leaves == NULL)
        return vmxsim_error_set(error, VMXC_NO_MEMORY, "no host memory for %zu leaves", count);

    const char *key;
    json_t *value;
    json_object_foreach(leaves.value, key, value)
    {
        const struct vmxsim_json at = vmxsim_json_child(&leaves, key, value);
        VMXC_TRY(read_leaf(&at, &profile->leaves[profile->leaf_count++], error));
    }
    qsort(profile->leaves, profile->leaf_count, sizeof *profile->leaves, compare_leaves);
    return VMXC_OK;
}

/* ---- VMCS fields ---- */

static enum vmxc_status read_fields(const struct vmxsim_json *cpu, struct vmxsim_profile *profile,
                                    struct vmxsim_error *error)
{
    struct vmxsim_json fields;
    VMXC_TRY(vmxsim_json_member(cpu, "vmcs_fields", &fields, error));
    VMXC_TRY(vmxsim_json_is_array(&fields, error));
    for (size_t i = 0; i < json_array_size(fields.value); i++) {
        const struct vmxsim_json at = vmxsim_json_element(&fields, i);
        uint64_t encoding;
        VMXC_TRY(vmxsim_json_hex(&at, UINT32_MAX, &encoding, error));
        const size_t ordinal = vmxsim_vmcs_ordinal((uint32_t)encoding);
        if (ordinal == VMXC_VMCS_FIELD_COUNT)
            return vmxsim_json_fail(&at, error, "0x%" PRIx64 " is no full encoding of a VMCS field",
                                    encoding);
        if (profile->has_field[ordinal])
            return vmxsim_json_fail(&at, error, "0x%" PRIx64 " is listed twice", encoding);
        profile->has_field[ordinal] = true;
    }
    return VMXC_OK;
}

/* ---- Address widths ---- */

static enum vmxc_status read_widths(const struct vmxsim_json *cpu, struct vmxsim_profile *profile,
                                    struct vmxsim_error *error)
{
    uint64_t maxphyaddr, linear_width;
    VMXC_TRY(
        vmxsim_json_get_count(cpu, "maxphyaddr", 32, VMXC_MAXPHYADDR_LIMIT, &maxphyaddr, error));
    VMXC_TRY(vmxsim_json_get_count(cpu, "linear_width", 48, 57, &linear_width, error));
    if (linear_width != 48 && linear_width != 57) {
        const struct vmxsim_json at = vmxsim_json_child(cpu, "linear_width", NULL);
        return vmxsim_json_fail(&at, error, "must be 48 or 57");
    }
    profile->features.maxphyaddr = (uint8_t)maxphyaddr;
    profile->features.linear_width = (uint8_t)linear_width;
    return VMXC_OK;
}

/* The widths are keys of their own and part of CPUID; where both are there, they must say the same. */
static enum vmxc_status check_widths(const struct vmxsim_json *cpu,
                                     const struct vmxsim_profile *profile,
                                     struct vmxsim_error *error)
{
    uint32_t registers[4];
    if (vmxsim_profile_cpuid(profile, 0x80000008, 0, registers) != VMXC_OK)
        return VMXC_OK;
    const uint32_t physical = registers[0] & 0xff;
    const uint32_t linear = registers[0] >> 8 & 0xff;
    const struct vmxsim_features *features = &profile->features;
    const bool agree = physical == features->maxphyaddr && linear == features->linear_width;
    return agree ? VMXC_OK
                 : vmxsim_json_fail(
                       cpu, error,
                       "maxphyaddr %u and linear_width %u contradict cpuid.0x80000008.0, "
                       "which says %" PRIu32 " and %" PRIu32,
                       (unsigned int)features->maxphyaddr, (unsigned int)features->linear_width,
                       physical, linear);
}

/* ---- The whole ---- */

static enum vmxc_status read_cpu(const struct vmxsim_json *cpu, struct vmxsim_profile *profile,
                                 struct vmxsim_error *error)
{
    static const char *const keys[] = {"maxphyaddr", "linear_width", "msr", "cpuid", "vmcs_fields"};
    VMXC_TRY(vmxsim_json_only_keys(cpu, keys, sizeof keys / sizeof keys[0], error));
    VMXC_TRY(read_widths(cpu, profile, error));
    VMXC_TRY(read_msrs(cpu, profile, error));
    VMXC_TRY(read_leaves(cpu, profile, error));
    VMXC_TRY(read_fields(cpu, profile, error));
    VMXC_TRY(check_widths(cpu, profile, error));
    vmxsim_profile_decode(profile);
    return VMXC_OK;
}

enum vmxc_status vmxsim_profile_from_cpu(const struct vmxsim_json *cpu, const char *name,
                                         struct vmxsim_profile **profile,
                                         struct vmxsim_error *error)
{
    struct vmxsim_profile *created = calloc(1, sizeof *created);
    if (created != NULL)
        created->name = strdup(name != NULL ? name : "(unnamed)");
    if (created == NULL || created->name == NULL) {
        vmxsim_profile_destroy(created);
        return vmxsim_error_set(error, VMXC_NO_MEMORY, "no host memory for a profile");
    }
    const enum vmxc_status status = read_cpu(cpu, created, error);
    if (status != VMXC_OK) {
        vmxsim_profile_destroy(created);
        return status;
    }
    *profile = created;
    return VMXC_OK;
}

static enum vmxc_status from_text(const char *text, size_t length, const char *document,
                                  const char *name, struct vmxsim_profile **profile,
                                  struct vmxsim_error *error)
{
    json_t *root;
    VMXC_TRY(vmxsim_json_parse(text, length, document, &root, error));
    /* A vector header holds the object; its other keys are the business of who reads the vectors. */
    json_t *member = json_object_get(root, "cpu");
    const struct vmxsim_json cpu =
        vmxsim_json_root(member != NULL ? member : root, document, "cpu");
    const enum vmxc_status status = vmxsim_profile_from_cpu(&cpu, name, profile, error);
    json_decref(root);
    return status;
}

enum vmxc_status vmxsim_profile_from_json(const char *text, size_t length, const char *name,
                                          struct vmxsim_profile **profile,
                                          struct vmxsim_error *error)
{
    return from_text(text, length, NULL, name, profile, error);
}

/* ---- Files ---- */

/* Far above any profile and far below what would hurt, in case the file is endless. */
enum { FILE_SIZE_MAX = 1 << 20 };

static enum vmxc_status read_file(const char *path, char *buffer, size_t *length,
                                  struct vmxsim_error *error)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL)
        return vmxsim_error_set(error, VMXC_IO_ERROR, "%s: %s", path, strerror(errno));
    errno = 0;
    const size_t bytes = fread(buffer, 1, FILE_SIZE_MAX, file);
    const bool failed = ferror(file) != 0;
    const int why = errno;
    (void)fclose(file);
    if (failed)
        return vmxsim_error_set(error, VMXC_IO_ERROR, "%s: %s", path, strerror(why));
    *length = bytes;
    return VMXC_OK;
}

/* Of JSON Lines, the first line: the header of a file of vectors. */
static void keep_header_line(const char *path, const char *buffer, size_t *length)
{
    const char *extension = strrchr(path, '.');
    if (extension == NULL || strcmp(extension, ".jsonl") != 0)
        return;
    const char *newline = memchr(buffer, '\n', *length);
    if (newline != NULL)
        *length = (size_t)(newline - buffer);
}

enum vmxc_status vmxsim_profile_from_file(const char *path, struct vmxsim_profile **profile,
                                          struct vmxsim_error *error)
{
    char *buffer = malloc(FILE_SIZE_MAX);
    if (buffer == NULL)
        return vmxsim_error_set(error, VMXC_NO_MEMORY, "%s: no host memory to read it", path);
    size_t length = 0;
    enum vmxc_status status = read_file(path, buffer, &length, error);
    if (status == VMXC_OK) {
        keep_header_line(path, buffer, &length);
        status =
            length == FILE_SIZE_MAX
                ? vmxsim_error_set(error, VMXC_BAD_FORMAT, "%s: a profile is shorter than %d bytes",
                                   path, FILE_SIZE_MAX)
                : from_text(buffer, length, path, path, profile, error);
    }
    free(buffer);
    return status;
}

/* ---- Writing ---- */

static json_t *msrs_to_json(const struct vmxsim_profile *profile)
{
    json_t *object = json_object();
    for (size_t i = 0; i < profile->msr_count; i++) {
        char key[sizeof "0x01234567"];
        (void)snprintf(key, sizeof key, "0x%" PRIx32, profile->msrs[i].index);
        if (json_object_set_new(object, key, vmxsim_json_new_hex(profile->msrs[i].value)) != 0) {
            json_decref(object);
            return NULL;
        }
    }
    return object;
}

static json_t *leaves_to_json(const struct vmxsim_profile *profile)
{
    json_t *object = json_object();
    for (size_t i = 0; i < profile->leaf_count; i++) {
        const struct vmxsim_profile_cpuid *leaf = &profile->leaves[i];
        char key[sizeof "0x01234567.01234567"];
        (void)snprintf(key, sizeof key, "0x%" PRIx32 ".%" PRIx32, leaf->leaf, leaf->subleaf);
        json_t *registers = json_pack("[o,o,o,o]", vmxsim_json_new_hex(leaf->registers[0]),
                                      vmxsim_json_new_hex(leaf->registers[1]),
                                      vmxsim_json_new_hex(leaf->registers[2]),
                                      vmxsim_json_new_hex(leaf->registers[3]));
        if (json_object_set_new(object, key, registers) != 0) {
            json_decref(object);
            return NULL;
        }
    }
    return object;
}

static json_t *fields_to_json(const struct vmxsim_profile *profile)
{
    json_t *array = json_array();
    for (size_t i = 0; i < VMXC_VMCS_FIELD_COUNT; i++) {
        if (profile->has_field[i] &&
            json_array_append_new(array, vmxsim_json_new_hex(vmxsim_vmcs_encoding(i))) != 0) {
            json_decref(array);
            return NULL;
        }
    }
    return array;
}

char *vmxsim_profile_to_json(const struct vmxsim_profile *profile)
{
    /* json_pack steals its arguments and answers NULL if one of them is NULL: no step can be lost. */
    json_t *cpu =
        json_pack("{s:i, s:i, s:o, s:o, s:o}", "maxphyaddr", (int)profile->features.maxphyaddr,
                  "linear_width", (int)profile->features.linear_width, "msr", msrs_to_json(profile),
                  "cpuid", leaves_to_json(profile), "vmcs_fields", fields_to_json(profile));
    struct vmxsim_text text = {.bytes = NULL};

    vmxsim_text_add_json(&text, cpu, 0);
    json_decref(cpu);
    return vmxsim_text_take(&text);
}
