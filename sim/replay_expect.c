/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What was observed: `expect` and `sdm`. Which keys may stand in it depends on the kind of the case and on the
 * result; docs/vectors.md has the list. Only the result itself must be there: what is not said is not compared.
 */
#include "internal/array.h"
#include "internal/replay.h"

#include "vmxcore/defs/exit_reason.h"

#include <string.h>

/* ---- What is left open ---- */

static enum vmxc_status check_words(const struct vmxsim_vector_file *file,
                                    const struct vmxsim_json *at, struct vmxsim_error *error)
{
    const char *key;
    json_t *value;
    uint64_t hpa, word;

    (void)file;
    VMXC_TRY(vmxsim_json_is_object(at, error));
    json_object_foreach(at->value, key, value)
    {
        const struct vmxsim_json child = vmxsim_json_child(at, key, value);
        VMXC_TRY(vmxsim_schema_word_address(&child, &hpa, error));
        VMXC_TRY(vmxsim_json_hex(&child, UINT64_MAX, &word, error));
    }
    return VMXC_OK;
}

static const struct vmxsim_schema_key open_keys[] = {
    {.name = "instruction_info", .type = VMXSIM_SCHEMA_HEX, .max = UINT32_MAX, .optional = true},
    {.name = "qualification", .type = VMXSIM_SCHEMA_HEX, .max = UINT64_MAX, .optional = true},
    {.name = "memory", .type = VMXSIM_SCHEMA_CUSTOM, .check = check_words, .optional = true},
};
static const struct vmxsim_schema open_schema = VMXSIM_SCHEMA(open_keys);

static enum vmxc_status check_open(const struct vmxsim_vector_file *file,
                                   const struct vmxsim_json *at, struct vmxsim_error *error)
{
    return vmxsim_schema_check_object(file, at, &open_schema, error);
}

/* ---- Keys by result ---- */

static enum vmxc_status check_values(const struct vmxsim_vector_file *file,
                                     const struct vmxsim_json *at, struct vmxsim_error *error)
{
    (void)file; /* the elements are checked against the accesses, below */
    return vmxsim_json_is_array(at, error);
}

static enum vmxc_status check_entry_failure_reason(const struct vmxsim_vector_file *file,
                                                   const struct vmxsim_json *at,
                                                   struct vmxsim_error *error)
{
    uint64_t reason;
    (void)file;
    VMXC_TRY(vmxsim_json_count(at, 0, UINT16_MAX, &reason, error));
    if (reason == VMXC_EXIT_REASON_ENTRY_FAILURE_GUEST_STATE ||
        reason == VMXC_EXIT_REASON_ENTRY_FAILURE_MSR_LOADING ||
        reason == VMXC_EXIT_REASON_ENTRY_FAILURE_MACHINE_CHECK)
        return VMXC_OK;
    return vmxsim_json_fail(at, error, "a VM-entry failure has exit reason 33, 34 or 41");
}

static const char *const vmfail_kinds[] = {"invalid", "valid", NULL};

#define KEY_HEX(key, maximum)                                                        \
    {                                                                                \
        .name = (key), .type = VMXSIM_SCHEMA_HEX, .max = (maximum), .optional = true \
    }
#define KEY_COUNT(key, minimum, maximum)                                                \
    {                                                                                   \
        .name = (key), .type = VMXSIM_SCHEMA_COUNT, .min = (minimum), .max = (maximum), \
        .optional = true                                                                \
    }
#define KEY_CUSTOM(key, function)                                                          \
    {                                                                                      \
        .name = (key), .type = VMXSIM_SCHEMA_CUSTOM, .check = (function), .optional = true \
    }
#define KEY_NAME(key)                               \
    {                                               \
        .name = (key), .type = VMXSIM_SCHEMA_STRING \
    }
#define KEY_QUALIFICATION KEY_HEX("qualification", UINT64_MAX)
#define KEY_MEMORY        KEY_CUSTOM("memory", check_words)
#define KEY_PML_INDEX     KEY_COUNT("pml_index", 0, UINT16_MAX)
#define KEY_OPEN          KEY_CUSTOM("open", check_open)
#define KEY_EXIT_REASON   KEY_COUNT("exit_reason", 0, UINT16_MAX)
#define KEY_ENTRY_FAILURE KEY_CUSTOM("exit_reason", check_entry_failure_reason)
#define KEY_VM_ERROR      KEY_COUNT("error", 1, UINT16_MAX)
#define KEY_INTR_INFO     KEY_HEX("intr_info", UINT32_MAX)
#define KEY_INTR_ERROR    KEY_HEX("intr_error_code", UINT32_MAX)
#define KEY_VECTOR        KEY_COUNT("vector", 0, UINT8_MAX)
#define KEY_ERROR_CODE    KEY_HEX("error_code", UINT32_MAX)

/* Keys of version 2. */
#define KEY_SINCE_2(key, function) KEY_CUSTOM(key, function)

static enum vmxc_status check_version(const struct vmxsim_vector_file *file,
                                      const struct vmxsim_json *at, struct vmxsim_error *error)
{
    return file->version >= 2
               ? VMXC_OK
               : vmxsim_json_fail(at, error, "unknown key, or one of version 2 of the format");
}

static enum vmxc_status check_quadword(const struct vmxsim_vector_file *file,
                                       const struct vmxsim_json *at, struct vmxsim_error *error)
{
    uint64_t value;

    VMXC_TRY(check_version(file, at, error));
    return vmxsim_json_hex(at, UINT64_MAX, &value, error);
}

static enum vmxc_status check_length(const struct vmxsim_vector_file *file,
                                     const struct vmxsim_json *at, struct vmxsim_error *error)
{
    uint64_t value;

    VMXC_TRY(check_version(file, at, error));
    return vmxsim_json_count(at, 0, 15, &value, error);
}

static const struct vmxsim_schema_key complete_keys[] = {
    KEY_NAME("result"), KEY_CUSTOM("values", check_values), KEY_PML_INDEX, KEY_MEMORY, KEY_OPEN};
static const struct vmxsim_schema_key exit_keys[] = {KEY_NAME("result"),
                                                     KEY_EXIT_REASON,
                                                     KEY_QUALIFICATION,
                                                     KEY_HEX("guest_physical", UINT64_MAX),
                                                     KEY_HEX("guest_linear", UINT64_MAX),
                                                     KEY_INTR_INFO,
                                                     KEY_INTR_ERROR,
                                                     KEY_PML_INDEX,
                                                     KEY_MEMORY,
                                                     KEY_OPEN};
static const struct vmxsim_schema_key guest_exception_keys[] = {
    KEY_NAME("result"), KEY_VECTOR, KEY_ERROR_CODE, KEY_HEX("cr2", UINT64_MAX),
    KEY_PML_INDEX,      KEY_MEMORY, KEY_OPEN};
static const struct vmxsim_schema_key vmfail_keys[] = {
    KEY_NAME("result"),
    {.name = "kind", .type = VMXSIM_SCHEMA_CHOICE, .choices = vmfail_kinds, .optional = true},
    KEY_VM_ERROR};
static const struct vmxsim_schema_key entry_failure_keys[] = {KEY_NAME("result"), KEY_ENTRY_FAILURE,
                                                              KEY_QUALIFICATION, KEY_OPEN};
static const struct vmxsim_schema_key bare_keys[] = {KEY_NAME("result")};
static const struct vmxsim_schema_key intercept_exit_keys[] = {
    KEY_NAME("result"),
    KEY_EXIT_REASON,
    KEY_QUALIFICATION,
    KEY_INTR_INFO,
    KEY_INTR_ERROR,
    KEY_OPEN,
    KEY_SINCE_2("guest_physical", check_quadword),
    KEY_SINCE_2("guest_linear", check_quadword),
    KEY_SINCE_2("instruction_length", check_length),
    KEY_SINCE_2("instruction_info", check_quadword)};
static const struct vmxsim_schema_key intercept_complete_keys[] = {
    KEY_NAME("result"), KEY_SINCE_2("value", check_quadword), KEY_SINCE_2("cr0", check_quadword),
    KEY_SINCE_2("cr3", check_quadword), KEY_SINCE_2("cr4", check_quadword)};
static const struct vmxsim_schema_key intercept_exception_keys[] = {
    KEY_NAME("result"), KEY_VECTOR, KEY_ERROR_CODE, KEY_HEX("cr2", UINT64_MAX)};

/* Kind `event`. */
static const struct vmxsim_schema_key delivered_keys[] = {KEY_NAME("result"),
                                                          KEY_HEX("rip", UINT64_MAX),
                                                          KEY_HEX("rsp", UINT64_MAX),
                                                          KEY_HEX("rflags", UINT64_MAX),
                                                          KEY_HEX("cs", UINT16_MAX),
                                                          KEY_HEX("ss", UINT16_MAX),
                                                          KEY_HEX("interruptibility", UINT32_MAX),
                                                          KEY_HEX("cr2", UINT64_MAX),
                                                          KEY_MEMORY,
                                                          KEY_OPEN};
static const struct vmxsim_schema_key event_exit_keys[] = {
    KEY_NAME("result"),
    KEY_EXIT_REASON,
    KEY_QUALIFICATION,
    KEY_HEX("guest_physical", UINT64_MAX),
    KEY_HEX("guest_linear", UINT64_MAX),
    KEY_INTR_INFO,
    KEY_INTR_ERROR,
    KEY_HEX("vectoring_info", UINT32_MAX),
    KEY_HEX("vectoring_error_code", UINT32_MAX),
    KEY_MEMORY,
    KEY_OPEN};

/* Steps of kind `instructions`. */
static const struct vmxsim_schema_key ok_keys[] = {KEY_NAME("status"), KEY_HEX("value", UINT64_MAX),
                                                   KEY_EXIT_REASON};
static const struct vmxsim_schema_key bare_status_keys[] = {KEY_NAME("status")};
static const struct vmxsim_schema_key vmfail_valid_keys[] = {KEY_NAME("status"), KEY_VM_ERROR};
static const struct vmxsim_schema_key exception_keys[] = {KEY_NAME("status"), KEY_VECTOR,
                                                          KEY_ERROR_CODE};
static const struct vmxsim_schema_key step_entry_failure_keys[] = {
    KEY_NAME("status"), KEY_ENTRY_FAILURE, KEY_QUALIFICATION, KEY_OPEN};

struct result {
    const char *name;
    struct vmxsim_schema schema;
};

static const struct result access_results[] = {
    {"complete", VMXSIM_SCHEMA(complete_keys)},
    {"exit", VMXSIM_SCHEMA(exit_keys)},
    {"guest_exception", VMXSIM_SCHEMA(guest_exception_keys)},
    {"vmfail", VMXSIM_SCHEMA(vmfail_keys)},
    {"entry_failure", VMXSIM_SCHEMA(entry_failure_keys)},
};
static const struct result entry_results[] = {
    {"entered", VMXSIM_SCHEMA(bare_keys)},
    {"vmfail", VMXSIM_SCHEMA(vmfail_keys)},
    {"entry_failure", VMXSIM_SCHEMA(entry_failure_keys)},
};
static const struct result intercept_results[] = {
    {"complete", VMXSIM_SCHEMA(intercept_complete_keys)},
    {"exit", VMXSIM_SCHEMA(intercept_exit_keys)},
    {"guest_exception", VMXSIM_SCHEMA(intercept_exception_keys)},
};
static const struct result event_results[] = {
    {"delivered", VMXSIM_SCHEMA(delivered_keys)},
    {"exit", VMXSIM_SCHEMA(event_exit_keys)},
    {"vmfail", VMXSIM_SCHEMA(vmfail_keys)},
    {"entry_failure", VMXSIM_SCHEMA(entry_failure_keys)},
};
static const struct result step_results[] = {
    {"ok", VMXSIM_SCHEMA(ok_keys)},
    {"vmfail_invalid", VMXSIM_SCHEMA(bare_status_keys)},
    {"vmfail_valid", VMXSIM_SCHEMA(vmfail_valid_keys)},
    {"exception", VMXSIM_SCHEMA(exception_keys)},
    {"entry_failure", VMXSIM_SCHEMA(step_entry_failure_keys)},
};

static const struct {
    const char *discriminator;
    const struct result *results;
    size_t count;
} kinds[VMXSIM_CASE_KIND_COUNT] = {
    [VMXSIM_CASE_ACCESS] = {"result", access_results, COUNT_OF(access_results)},
    [VMXSIM_CASE_ENTRY] = {"result", entry_results, COUNT_OF(entry_results)},
    [VMXSIM_CASE_INTERCEPT] = {"result", intercept_results, COUNT_OF(intercept_results)},
    [VMXSIM_CASE_INSTRUCTIONS] = {"status", step_results, COUNT_OF(step_results)},
    [VMXSIM_CASE_EVENT] = {"result", event_results, COUNT_OF(event_results)},
};

/* ---- Keys that exclude each other ---- */

/* `key` says something only if the exit reason is one of two. */
static enum vmxc_status check_reason_for(const struct vmxsim_json *at, const char *key,
                                         uint64_t reason, uint64_t a, uint64_t b,
                                         struct vmxsim_error *error)
{
    struct vmxsim_json child;
    if (!vmxsim_json_find(at, key, &child) || reason == a || reason == b)
        return VMXC_OK;
    return vmxsim_json_fail(&child, error, "exit reason %u has no such field", (unsigned)reason);
}

static enum vmxc_status check_exit_fields(const struct vmxsim_json *at, struct vmxsim_error *error)
{
    const uint64_t violation = VMXC_EXIT_REASON_EPT_VIOLATION;
    const uint64_t misconfiguration = VMXC_EXIT_REASON_EPT_MISCONFIGURATION;
    struct vmxsim_json qualification;
    uint64_t reason;

    if (!vmxsim_checked_find(at->value, "exit_reason", &reason))
        return VMXC_OK;
    VMXC_TRY(check_reason_for(at, "guest_physical", reason, violation, misconfiguration, error));
    if (reason != VMXC_EXIT_REASON_CR_ACCESS && reason != VMXC_EXIT_REASON_IO_INSTRUCTION)
        VMXC_TRY(check_reason_for(at, "guest_linear", reason, violation, misconfiguration, error));
    VMXC_TRY(check_reason_for(at, "intr_info", reason, 0, 0, error));
    VMXC_TRY(check_reason_for(at, "intr_error_code", reason, 0, 0, error));
    if (reason == misconfiguration && vmxsim_json_find(at, "qualification", &qualification))
        return vmxsim_json_fail(&qualification, error, "exit reason 49 has no qualification");
    return VMXC_OK;
}

static enum vmxc_status check_vmfail(const struct vmxsim_json *at, struct vmxsim_error *error)
{
    const char *kind = json_string_value(json_object_get(at->value, "kind"));
    struct vmxsim_json number;
    if (kind != NULL && strcmp(kind, "invalid") == 0 && vmxsim_json_find(at, "error", &number))
        return vmxsim_json_fail(&number, error, "VMfailInvalid has no error number");
    return VMXC_OK;
}

/* `values` of kind `access`: a number for each read, null for everything else. */
static enum vmxc_status check_value(const struct vmxsim_json *at, const json_t *access,
                                    struct vmxsim_error *error)
{
    uint8_t bytes[VMXSIM_ACCESS_MAX_SIZE];
    const char *text;
    uint64_t size = 0;

    if (json_is_null(at->value))
        return VMXC_OK;
    VMXC_TRY(vmxsim_json_string(at, &text, error));
    (void)vmxsim_checked_find(access, "size", &size);
    if (strcmp(json_string_value(json_object_get(access, "type")), "read") != 0)
        return vmxsim_json_fail(at, error, "must be null: the access is no read");
    if (!vmxsim_parse_wide_hex(text, bytes, (size_t)size))
        return vmxsim_json_fail(at, error,
                                "must be a hexadecimal string of at most %u bytes without leading "
                                "zeros",
                                (unsigned)size);
    return VMXC_OK;
}

static enum vmxc_status check_values_against(const struct vmxsim_json *at, const json_t *accesses,
                                             struct vmxsim_error *error)
{
    struct vmxsim_json values;
    if (!vmxsim_json_find(at, "values", &values))
        return VMXC_OK;
    if (json_array_size(values.value) != json_array_size(accesses))
        return vmxsim_json_fail(&values, error, "must have one element per access, %zu",
                                json_array_size(accesses));
    for (size_t i = 0; i < json_array_size(accesses); i++) {
        const struct vmxsim_json element = vmxsim_json_element(&values, i);
        VMXC_TRY(check_value(&element, json_array_get(accesses, i), error));
    }
    return VMXC_OK;
}

/* ---- Engines that did not answer ---- */

static const char *const engine_results[] = {"engine_crash", "engine_hang", "engine_reset",
                                             "not_runnable", NULL};
static const struct vmxsim_schema_key engine_keys[] = {
    KEY_NAME("result"), {.name = "why", .type = VMXSIM_SCHEMA_STRING, .optional = true}};
static const struct vmxsim_schema engine_schema = VMXSIM_SCHEMA(engine_keys);

bool vmxsim_is_engine_result(const char *result)
{
    for (const char *const *name = engine_results; *name != NULL; name++) {
        if (strcmp(*name, result) == 0)
            return true;
    }
    return false;
}

static bool is_engine_result(const struct vmxsim_vector_file *file, const struct vmxsim_json *at)
{
    const char *const result = json_string_value(json_object_get(at->value, "result"));

    return file->version >= 2 && result != NULL && vmxsim_is_engine_result(result);
}

/* ---- One result, alternatives, steps ---- */

static enum vmxc_status find_result(enum vmxsim_case_kind kind, const struct vmxsim_json *at,
                                    const struct vmxsim_schema **schema, struct vmxsim_error *error)
{
    const char *choices[COUNT_OF(access_results) + 1] = {NULL};
    struct vmxsim_json name;

    VMXC_TRY(vmxsim_json_member(at, kinds[kind].discriminator, &name, error));
    for (size_t i = 0; i < kinds[kind].count; i++)
        choices[i] = kinds[kind].results[i].name;
    VMXC_TRY(vmxsim_schema_check_choice(&name, choices, error));
    for (size_t i = 0; i < kinds[kind].count; i++) {
        if (strcmp(choices[i], json_string_value(name.value)) == 0)
            *schema = &kinds[kind].results[i].schema;
    }
    return VMXC_OK;
}

static enum vmxc_status check_result(const struct vmxsim_vector_file *file,
                                     enum vmxsim_case_kind kind, const struct vmxsim_json *at,
                                     const json_t *value, struct vmxsim_error *error)
{
    const struct vmxsim_schema *schema = NULL;

    VMXC_TRY(find_result(kind, at, &schema, error));
    VMXC_TRY(vmxsim_schema_check_object(file, at, schema, error));
    VMXC_TRY(check_exit_fields(at, error));
    VMXC_TRY(check_vmfail(at, error));
    return kind == VMXSIM_CASE_ACCESS
               ? check_values_against(at, json_object_get(value, "accesses"), error)
               : VMXC_OK;
}

/*
 * {"any_of": [...]} with at least one alternative, none of which has alternatives itself. `open` beside it counts for
 * all of them.
 */
static enum vmxc_status check_any_of(const struct vmxsim_vector_file *file,
                                     enum vmxsim_case_kind kind, const struct vmxsim_json *at,
                                     const json_t *value, struct vmxsim_error *error)
{
    static const char *const only[] = {"any_of", "open"};
    struct vmxsim_json alternatives, open;

    VMXC_TRY(vmxsim_json_only_keys(at, only, COUNT_OF(only), error));
    if (vmxsim_json_find(at, "open", &open))
        VMXC_TRY(check_open(file, &open, error));
    VMXC_TRY(vmxsim_json_member(at, "any_of", &alternatives, error));
    VMXC_TRY(vmxsim_json_is_array(&alternatives, error));
    if (json_array_size(alternatives.value) == 0)
        return vmxsim_json_fail(&alternatives, error, "must not be empty");
    if (json_array_size(alternatives.value) > VMXSIM_MOST_ALTERNATIVES)
        return vmxsim_json_fail(&alternatives, error, "has more than %u alternatives",
                                VMXSIM_MOST_ALTERNATIVES);
    for (size_t i = 0; i < json_array_size(alternatives.value); i++) {
        const struct vmxsim_json element = vmxsim_json_element(&alternatives, i);
        VMXC_TRY(check_result(file, kind, &element, value, error));
    }
    return VMXC_OK;
}

static enum vmxc_status check_steps(const struct vmxsim_vector_file *file,
                                    const struct vmxsim_json *at, const json_t *value,
                                    struct vmxsim_error *error)
{
    const size_t count = json_array_size(json_object_get(value, "steps"));

    VMXC_TRY(vmxsim_json_is_array(at, error));
    if (json_array_size(at->value) != count)
        return vmxsim_json_fail(at, error, "must have one element per step, %zu", count);
    for (size_t i = 0; i < count; i++) {
        const struct vmxsim_json element = vmxsim_json_element(at, i);
        VMXC_TRY(check_result(file, VMXSIM_CASE_INSTRUCTIONS, &element, value, error));
    }
    return VMXC_OK;
}

enum vmxc_status vmxsim_check_verdict(const struct vmxsim_vector_file *file,
                                      enum vmxsim_case_kind kind, const struct vmxsim_json *at,
                                      const json_t *value, struct vmxsim_error *error)
{
    if (is_engine_result(file, at))
        return vmxsim_schema_check_object(file, at, &engine_schema, error);
    if (kind == VMXSIM_CASE_INSTRUCTIONS)
        return check_steps(file, at, value, error);
    VMXC_TRY(vmxsim_json_is_object(at, error));
    if (json_object_get(at->value, "any_of") != NULL)
        return check_any_of(file, kind, at, value, error);
    return check_result(file, kind, at, value, error);
}
