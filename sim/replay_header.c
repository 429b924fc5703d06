/* SPDX-License-Identifier: Apache-2.0 */
/* Line 1 of a vector file, and the list of deviations beside it. */
#include "internal/profile.h"
#include "internal/replay.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define ADDRESS_MAX ((UINT64_C(1) << VMXC_MAXPHYADDR_LIMIT) - 1)

/* ---- Keys ---- */

static const char *const formats[] = {"vmx-vectors", NULL};

static const struct vmxsim_schema_key source_keys[] = {
    {.name = "engine", .type = VMXSIM_SCHEMA_STRING, .min = 1},
    {.name = "version", .type = VMXSIM_SCHEMA_STRING, .optional = true},
    {.name = "model", .type = VMXSIM_SCHEMA_STRING, .optional = true},
    {.name = "seed", .type = VMXSIM_SCHEMA_COUNT, .max = INT64_MAX, .optional = true},
};
static const struct vmxsim_schema source_schema = VMXSIM_SCHEMA(source_keys);

static enum vmxc_status check_source(const struct vmxsim_vector_file *file,
                                     const struct vmxsim_json *at, struct vmxsim_error *error)
{
    return vmxsim_schema_check_object(file, at, &source_schema, error);
}

/* VMXON and VMCS regions are 4-KByte aligned. */
static enum vmxc_status check_region_pointer(const struct vmxsim_vector_file *file,
                                             const struct vmxsim_json *at,
                                             struct vmxsim_error *error)
{
    uint64_t hpa;
    (void)file;
    VMXC_TRY(vmxsim_json_hex(at, ADDRESS_MAX, &hpa, error));
    return hpa % VMXC_PAGE_SIZE == 0
               ? VMXC_OK
               : vmxsim_json_fail(at, error, "the address is not a multiple of 4096");
}

static const struct vmxsim_schema_key header_keys[] = {
    {.name = "format", .type = VMXSIM_SCHEMA_CHOICE, .choices = formats},
    {.name = "version", .type = VMXSIM_SCHEMA_COUNT, .min = 1, .max = 2},
    {.name = "source", .type = VMXSIM_SCHEMA_CUSTOM, .check = check_source},
    {.name = "cpu", .type = VMXSIM_SCHEMA_CUSTOM, .check = vmxsim_schema_check_later},
    {.name = "ram", .type = VMXSIM_SCHEMA_CUSTOM, .check = vmxsim_schema_check_later},
    {.name = "vmxon_pointer",
     .type = VMXSIM_SCHEMA_CUSTOM,
     .check = check_region_pointer,
     .optional = true},
    {.name = "vmcs_pointer",
     .type = VMXSIM_SCHEMA_CUSTOM,
     .check = check_region_pointer,
     .optional = true},
    {.name = "vmcs", .type = VMXSIM_SCHEMA_CUSTOM, .check = vmxsim_schema_check_later},
    {.name = "memory", .type = VMXSIM_SCHEMA_CUSTOM, .check = vmxsim_schema_check_later},
    {.name = "root", .type = VMXSIM_SCHEMA_CUSTOM, .check = vmxsim_schema_check_later},
};
static const struct vmxsim_schema header_schema = VMXSIM_SCHEMA(header_keys);

static enum vmxc_status no_memory(const struct vmxsim_vector_file *file, struct vmxsim_error *error)
{
    return vmxsim_error_set(error, VMXC_NO_MEMORY, "%s: no host memory left", file->path);
}

/* ---- RAM ---- */

static enum vmxc_status read_range(const struct vmxsim_json *at, struct vmxsim_range *range,
                                   struct vmxsim_error *error)
{
    VMXC_TRY(vmxsim_json_is_array(at, error));
    if (json_array_size(at->value) != 2)
        return vmxsim_json_fail(at, error, "must be [start, length]");
    const struct vmxsim_json start = vmxsim_json_element(at, 0);
    const struct vmxsim_json length = vmxsim_json_element(at, 1);
    VMXC_TRY(vmxsim_json_hex(&start, ADDRESS_MAX, &range->base, error));
    return vmxsim_json_hex(&length, ADDRESS_MAX + 1, &range->length, error);
}

/* The memory says what is wrong with the ranges; the place comes from here. */
static enum vmxc_status create_memory(struct vmxsim_vector_file *file, const struct vmxsim_json *at,
                                      const struct vmxsim_range *ranges, size_t count,
                                      struct vmxsim_error *error)
{
    const struct vmxsim_memory_config config = {
        .ram = ranges, .ram_count = count, .no_poison = true};
    struct vmxsim_error why = {.status = VMXC_OK};
    const enum vmxc_status status = vmxsim_memory_create(&config, &file->memory, &why);
    if (status == VMXC_OK)
        return VMXC_OK;
    (void)vmxsim_json_fail(at, error, "%s", why.text);
    if (error != NULL && status == VMXC_NO_MEMORY)
        error->status = status;
    return status == VMXC_NO_MEMORY ? status : VMXC_BAD_FORMAT;
}

static enum vmxc_status read_ram(struct vmxsim_vector_file *file, const struct vmxsim_json *header,
                                 struct vmxsim_error *error)
{
    struct vmxsim_json at;
    VMXC_TRY(vmxsim_json_member(header, "ram", &at, error));
    VMXC_TRY(vmxsim_json_is_array(&at, error));
    const size_t count = json_array_size(at.value);
    struct vmxsim_range *const ranges = calloc(count + 1, sizeof *ranges);
    if (ranges == NULL)
        return no_memory(file, error);
    enum vmxc_status status = VMXC_OK;
    for (size_t i = 0; i < count && status == VMXC_OK; i++) {
        const struct vmxsim_json element = vmxsim_json_element(&at, i);
        status = read_range(&element, &ranges[i], error);
    }
    if (status == VMXC_OK)
        status = create_memory(file, &at, ranges, count, error);
    free(ranges);
    return status;
}

/* ---- Templates ---- */

/* Reads one named template into its slot. */
typedef enum vmxc_status read_template(struct vmxsim_vector_file *file,
                                       const struct vmxsim_json *at, size_t index,
                                       struct vmxsim_error *error);

/* The members of `at` are named templates: `names` will map each name to its index. */
static enum vmxc_status read_templates(struct vmxsim_vector_file *file,
                                       const struct vmxsim_json *at, json_t *names,
                                       read_template *read, struct vmxsim_error *error)
{
    const char *name;
    json_t *value;
    size_t index = 0;

    if (names == NULL)
        return no_memory(file, error);
    json_object_foreach(at->value, name, value)
    {
        const struct vmxsim_json child = vmxsim_json_child(at, name, value);
        VMXC_TRY(read(file, &child, index, error));
        if (json_object_set_new(names, name, json_integer((json_int_t)index)) != 0)
            return no_memory(file, error);
        index++;
    }
    return VMXC_OK;
}

static enum vmxc_status read_vmcs_template(struct vmxsim_vector_file *file,
                                           const struct vmxsim_json *at, size_t index,
                                           struct vmxsim_error *error)
{
    VMXC_TRY(vmxsim_check_vmcs_fields(file, at, error));
    vmxsim_set_vmcs_fields(&file->vmcs_templates[index], at->value);
    return VMXC_OK;
}

static enum vmxc_status read_memory_template(struct vmxsim_vector_file *file,
                                             const struct vmxsim_json *at, size_t index,
                                             struct vmxsim_error *error)
{
    struct vmxsim_memory_template *const words = &file->memory_templates[index];
    const char *key;
    json_t *value;

    VMXC_TRY(vmxsim_check_memory_words(file, at, error));
    words->words = calloc(json_object_size(at->value) + 1, sizeof *words->words);
    file->memory_template_count = index + 1;
    if (words->words == NULL)
        return no_memory(file, error);
    json_object_foreach(at->value, key, value)
    {
        words->words[words->count++] = (struct vmxsim_vector_word){
            .hpa = vmxsim_checked_hex_key(key), .value = vmxsim_checked_hex(value)};
    }
    return VMXC_OK;
}

static const struct vmxsim_schema_key root_keys[] = {
    {.name = "cr0", .type = VMXSIM_SCHEMA_HEX, .max = UINT64_MAX},
    {.name = "cr4", .type = VMXSIM_SCHEMA_HEX, .max = UINT64_MAX},
    {.name = "efer", .type = VMXSIM_SCHEMA_HEX, .max = UINT64_MAX},
};
static const struct vmxsim_schema root_schema = VMXSIM_SCHEMA(root_keys);

static enum vmxc_status read_root(struct vmxsim_vector_file *file, const struct vmxsim_json *at,
                                  size_t index, struct vmxsim_error *error)
{
    struct vmxsim_root_state *const root = &file->roots[index];

    VMXC_TRY(vmxsim_schema_check_object(file, at, &root_schema, error));
    (void)vmxsim_checked_find(at->value, "cr0", &root->cr0);
    (void)vmxsim_checked_find(at->value, "cr4", &root->cr4);
    (void)vmxsim_checked_find(at->value, "efer", &root->efer);
    return VMXC_OK;
}

/* ---- The header ---- */

static enum vmxc_status read_processor(struct vmxsim_vector_file *file,
                                       const struct vmxsim_json *header, struct vmxsim_error *error)
{
    struct vmxsim_json cpu;
    VMXC_TRY(vmxsim_json_member(header, "cpu", &cpu, error));
    VMXC_TRY(vmxsim_profile_from_cpu(&cpu, file->path, &file->profile, error));
    if (vmxsim_cpu_create(file->memory, file->profile, &file->cpu) != VMXC_OK)
        return no_memory(file, error);
    return VMXC_OK;
}

/* An object of the header, whose members are counted before they are read. */
static enum vmxc_status find_templates(const struct vmxsim_json *header, const char *key,
                                       struct vmxsim_json *at, size_t *count,
                                       struct vmxsim_error *error)
{
    VMXC_TRY(vmxsim_json_member(header, key, at, error));
    VMXC_TRY(vmxsim_json_is_object(at, error));
    *count = json_object_size(at->value);
    return VMXC_OK;
}

static enum vmxc_status read_all_templates(struct vmxsim_vector_file *file,
                                           const struct vmxsim_json *header,
                                           struct vmxsim_error *error)
{
    struct vmxsim_json vmcs, memory, root;
    size_t vmcs_count, memory_count, root_count;

    VMXC_TRY(find_templates(header, "vmcs", &vmcs, &vmcs_count, error));
    VMXC_TRY(find_templates(header, "memory", &memory, &memory_count, error));
    VMXC_TRY(find_templates(header, "root", &root, &root_count, error));
    file->vmcs_templates = calloc(vmcs_count + 1, sizeof *file->vmcs_templates);
    file->memory_templates = calloc(memory_count + 1, sizeof *file->memory_templates);
    file->roots = calloc(root_count + 1, sizeof *file->roots);
    if (file->vmcs_templates == NULL || file->memory_templates == NULL || file->roots == NULL)
        return no_memory(file, error);
    file->vmcs_fields = json_incref(vmcs.value);
    file->vmcs_names = json_object();
    VMXC_TRY(read_templates(file, &vmcs, file->vmcs_names, read_vmcs_template, error));
    file->memory_names = json_object();
    VMXC_TRY(read_templates(file, &memory, file->memory_names, read_memory_template, error));
    file->root_names = json_object();
    return read_templates(file, &root, file->root_names, read_root, error);
}

enum vmxc_status vmxsim_vector_header_read(struct vmxsim_vector_file *file, json_t *value,
                                           struct vmxsim_error *error)
{
    const struct vmxsim_json header = vmxsim_json_root(value, file->document, NULL);

    VMXC_TRY(vmxsim_schema_check_object(file, &header, &header_schema, error));
    (void)vmxsim_checked_find(value, "version", &file->version);
    file->has_vmxon_pointer = vmxsim_checked_find(value, "vmxon_pointer", &file->vmxon_pointer);
    file->has_vmcs_pointer = vmxsim_checked_find(value, "vmcs_pointer", &file->vmcs_pointer);
    VMXC_TRY(read_ram(file, &header, error));
    VMXC_TRY(read_processor(file, &header, error));
    return read_all_templates(file, &header, error);
}

/* ---- deviations.json ---- */

static enum vmxc_status check_strings(const struct vmxsim_vector_file *file,
                                      const struct vmxsim_json *at, struct vmxsim_error *error)
{
    (void)file;
    VMXC_TRY(vmxsim_json_is_array(at, error));
    for (size_t i = 0; i < json_array_size(at->value); i++) {
        const struct vmxsim_json element = vmxsim_json_element(at, i);
        const char *text;
        VMXC_TRY(vmxsim_json_string(&element, &text, error));
    }
    return VMXC_OK;
}

static const struct vmxsim_schema_key deviation_keys[] = {
    {.name = "engine", .type = VMXSIM_SCHEMA_STRING, .min = 1},
    {.name = "versions", .type = VMXSIM_SCHEMA_CUSTOM, .check = check_strings},
    {.name = "engine_does", .type = VMXSIM_SCHEMA_STRING, .min = 1},
    {.name = "manual_says", .type = VMXSIM_SCHEMA_STRING, .min = 1},
    {.name = "manual_section", .type = VMXSIM_SCHEMA_STRING, .min = 1},
};
static const struct vmxsim_schema deviation_schema = VMXSIM_SCHEMA(deviation_keys);

static enum vmxc_status check_deviations(const struct vmxsim_vector_file *file, json_t *root,
                                         const char *path, struct vmxsim_error *error)
{
    const struct vmxsim_json at = vmxsim_json_root(root, path, NULL);
    const char *id;
    json_t *value;

    VMXC_TRY(vmxsim_json_is_object(&at, error));
    json_object_foreach(root, id, value)
    {
        const struct vmxsim_json child = vmxsim_json_child(&at, id, value);
        VMXC_TRY(vmxsim_schema_check_object(file, &child, &deviation_schema, error));
    }
    return VMXC_OK;
}

/* Parses a stream as it comes; the file is small and of our own making. */
static enum vmxc_status load_deviations(struct vmxsim_vector_file *file, FILE *stream,
                                        const char *path, struct vmxsim_error *error)
{
    json_error_t why;
    json_t *const root = json_loadf(stream, JSON_REJECT_DUPLICATES, &why);
    if (root == NULL && ferror(stream))
        return vmxsim_error_set(error, VMXC_IO_ERROR, "%s: %s", path, strerror(errno));
    if (root == NULL)
        return vmxsim_error_set(error, VMXC_BAD_FORMAT, "%s:%d: %s", path, why.line, why.text);
    file->deviations = root;
    return check_deviations(file, root, path, error);
}

enum vmxc_status vmxsim_deviations_read(struct vmxsim_vector_file *file, struct vmxsim_error *error)
{
    const char *const slash = strrchr(file->path, '/');
    struct vmxsim_text path = {.failed = false};
    vmxsim_text_add(&path, "%.*sdeviations.json", slash != NULL ? (int)(slash + 1 - file->path) : 0,
                    file->path);
    if (path.failed)
        return no_memory(file, error);
    enum vmxc_status status = VMXC_OK;
    FILE *const stream = fopen(path.bytes, "r");
    if (stream != NULL) {
        status = load_deviations(file, stream, path.bytes, error);
        (void)fclose(stream);
    } else if (errno != ENOENT) {
        status = vmxsim_error_set(error, VMXC_IO_ERROR, "%s: %s", path.bytes, strerror(errno));
    }
    vmxsim_text_free(&path);
    return status;
}
