/* SPDX-License-Identifier: Apache-2.0 */
/* One case: what all kinds have in common, and what each kind does. */
#include "internal/array.h"
#include "internal/replay.h"

#include "vmxcore/defs/paging.h"

#include <string.h>

#define HEX(key)                                                    \
    {                                                               \
        .name = (key), .type = VMXSIM_SCHEMA_HEX, .max = UINT64_MAX \
    }
#define CUSTOM(key, function)                                            \
    {                                                                    \
        .name = (key), .type = VMXSIM_SCHEMA_CUSTOM, .check = (function) \
    }
#define CHOICE(key, list)                                              \
    {                                                                  \
        .name = (key), .type = VMXSIM_SCHEMA_CHOICE, .choices = (list) \
    }

/* ---- VMCS fields and memory words ---- */

/* Exit information is not input, and neither is the host RSP: the recording rig sets it. */
static bool is_listed(uint32_t encoding)
{
    return encoding != VMXC_VMCS_HOST_RSP &&
           VMXC_FIELD_GET((uint64_t)encoding, VMXC_VMCS_ENCODING_TYPE) != VMXC_VMCS_TYPE_READ_ONLY;
}

static enum vmxc_status check_field(const struct vmxsim_vector_file *file,
                                    const struct vmxsim_json *at, struct vmxsim_error *error)
{
    uint64_t encoding, value;
    VMXC_TRY(vmxsim_json_hex_key(at, UINT16_MAX, &encoding, error));
    if (encoding & VMXC_VMCS_ENCODING_HIGH)
        return vmxsim_json_fail(at, error, "not a full (even) field encoding");
    if (vmxsim_vmcs_ordinal((uint32_t)encoding) == VMXC_VMCS_FIELD_COUNT)
        return vmxsim_json_fail(at, error, "there is no such VMCS field");
    if (!vmxsim_profile_has_field(file->profile, (uint32_t)encoding))
        return vmxsim_json_fail(at, error, "the processor of this file has no such VMCS field");
    if (!is_listed((uint32_t)encoding))
        return vmxsim_json_fail(at, error,
                                "exit-information fields and the host RSP are not listed");
    return vmxsim_json_hex(at, vmxsim_vmcs_width_mask((uint32_t)encoding), &value, error);
}

enum vmxc_status vmxsim_check_vmcs_fields(const struct vmxsim_vector_file *file,
                                          const struct vmxsim_json *at, struct vmxsim_error *error)
{
    const char *key;
    json_t *value;

    VMXC_TRY(vmxsim_json_is_object(at, error));
    json_object_foreach(at->value, key, value)
    {
        const struct vmxsim_json child = vmxsim_json_child(at, key, value);
        VMXC_TRY(check_field(file, &child, error));
    }
    return VMXC_OK;
}

void vmxsim_set_vmcs_fields(struct vmxsim_vmcs *vmcs, json_t *fields)
{
    const char *key;
    json_t *value;
    json_object_foreach(fields, key, value)
    {
        const size_t ordinal = vmxsim_vmcs_ordinal((uint32_t)vmxsim_checked_hex_key(key));
        vmcs->value[ordinal] = vmxsim_checked_hex(value);
    }
}

enum vmxc_status vmxsim_check_memory_words(const struct vmxsim_vector_file *file,
                                           const struct vmxsim_json *at, struct vmxsim_error *error)
{
    const char *key;
    json_t *value;
    uint64_t hpa, word;

    VMXC_TRY(vmxsim_json_is_object(at, error));
    json_object_foreach(at->value, key, value)
    {
        const struct vmxsim_json child = vmxsim_json_child(at, key, value);
        VMXC_TRY(vmxsim_schema_word_address(&child, &hpa, error));
        if (!vmxsim_memory_is_ram(file->memory, hpa, 8))
            return vmxsim_json_fail(&child, error, "the address is not in RAM");
        VMXC_TRY(vmxsim_json_hex(&child, UINT64_MAX, &word, error));
    }
    return VMXC_OK;
}

/* ---- [template, changes] ---- */

static enum vmxc_status check_reference(const struct vmxsim_vector_file *file,
                                        const struct vmxsim_json *at, const json_t *names,
                                        vmxsim_schema_check *check_changes,
                                        struct vmxsim_error *error)
{
    const char *name;

    VMXC_TRY(vmxsim_json_is_array(at, error));
    if (json_array_size(at->value) != 2)
        return vmxsim_json_fail(at, error, "must be [template, changes]");
    const struct vmxsim_json template_name = vmxsim_json_element(at, 0);
    const struct vmxsim_json changes = vmxsim_json_element(at, 1);
    VMXC_TRY(vmxsim_json_string(&template_name, &name, error));
    if (json_object_get(names, name) == NULL)
        return vmxsim_json_fail(&template_name, error, "there is no template \"%s\"", name);
    return check_changes(file, &changes, error);
}

enum vmxc_status vmxsim_check_vmcs_reference(const struct vmxsim_vector_file *file,
                                             const struct vmxsim_json *at,
                                             struct vmxsim_error *error)
{
    return check_reference(file, at, file->vmcs_names, vmxsim_check_vmcs_fields, error);
}

enum vmxc_status vmxsim_check_memory_reference(const struct vmxsim_vector_file *file,
                                               const struct vmxsim_json *at,
                                               struct vmxsim_error *error)
{
    return check_reference(file, at, file->memory_names, vmxsim_check_memory_words, error);
}

static size_t template_index(const json_t *names, const json_t *reference)
{
    const char *name = json_string_value(json_array_get(reference, 0));
    return (size_t)json_integer_value(json_object_get(names, name));
}

void vmxsim_build_vmcs(const struct vmxsim_vector_file *file, const json_t *reference,
                       struct vmxsim_vmcs *vmcs)
{
    *vmcs = file->vmcs_templates[template_index(file->vmcs_names, reference)];
    vmxsim_set_vmcs_fields(vmcs, json_array_get(reference, 1));
}

void vmxsim_build_memory(struct vmxsim_vector_file *file, const json_t *reference)
{
    const struct vmxsim_memory_template *const base =
        &file->memory_templates[template_index(file->memory_names, reference)];
    json_t *const changes = json_array_get(reference, 1);
    const char *key;
    json_t *value;

    vmxsim_memory_reset(file->memory);
    for (size_t i = 0; i < base->count; i++)
        vmxsim_memory_write64(file->memory, base->words[i].hpa, base->words[i].value);
    json_object_foreach(changes, key, value)
    {
        vmxsim_memory_write64(file->memory, vmxsim_checked_hex_key(key), vmxsim_checked_hex(value));
    }
}

/* ---- Operations by name ---- */

struct operation {
    const char *name;
    struct vmxsim_schema schema;
};

/* The operand of INVEPT and INVVPID. */
static enum vmxc_status check_descriptor(const struct vmxsim_vector_file *file,
                                         const struct vmxsim_json *at, struct vmxsim_error *error)
{
    uint64_t quadword;
    (void)file;
    VMXC_TRY(vmxsim_json_is_array(at, error));
    if (json_array_size(at->value) != 2)
        return vmxsim_json_fail(at, error, "must be two quadwords");
    for (size_t i = 0; i < 2; i++) {
        const struct vmxsim_json element = vmxsim_json_element(at, i);
        VMXC_TRY(vmxsim_json_hex(&element, UINT64_MAX, &quadword, error));
    }
    return VMXC_OK;
}

/* ---- Kind `access` ---- */

#define KEY_TYPE                                     \
    {                                                \
        .name = "type", .type = VMXSIM_SCHEMA_STRING \
    }

static enum vmxc_status check_poke_address(const struct vmxsim_vector_file *file,
                                           const struct vmxsim_json *at, struct vmxsim_error *error)
{
    uint64_t hpa;

    VMXC_TRY(vmxsim_json_hex(at, UINT64_MAX, &hpa, error));
    if (hpa % 8 != 0)
        return vmxsim_json_fail(at, error, "the address is not a multiple of 8");
    return vmxsim_memory_is_ram(file->memory, hpa, 8)
               ? VMXC_OK
               : vmxsim_json_fail(at, error, "the address is not in RAM");
}

static const char *const access_types[] = {"fetch", "read", "write", "rmw", NULL};

static enum vmxc_status check_wide_hex(const struct vmxsim_vector_file *file,
                                       const struct vmxsim_json *at, struct vmxsim_error *error)
{
    uint8_t bytes[VMXSIM_ACCESS_MAX_SIZE];
    const char *text;
    (void)file;
    VMXC_TRY(vmxsim_json_string(at, &text, error));
    if (!vmxsim_parse_wide_hex(text, bytes, sizeof bytes))
        return vmxsim_json_fail(at, error,
                                "must be a hexadecimal string such as \"0x1e\": lower case, no "
                                "leading zeros");
    return VMXC_OK;
}

static const struct vmxsim_schema_key access_element_keys[] = {
    CHOICE("type", access_types),
    HEX("linear"),
    {.name = "size", .type = VMXSIM_SCHEMA_COUNT, .min = 1, .max = VMXSIM_ACCESS_MAX_SIZE},
    {.name = "value", .type = VMXSIM_SCHEMA_CUSTOM, .check = check_wide_hex, .optional = true},
};
static const struct vmxsim_schema access_element_schema = VMXSIM_SCHEMA(access_element_keys);

/* Steps between accesses: of VMX root operation, which the guest leaves for it, and of the guest. */
static const struct vmxsim_schema_key round_poke_keys[] = {
    KEY_TYPE, CUSTOM("address", check_poke_address), HEX("value")};
static const struct vmxsim_schema_key round_invalidate_keys[] = {
    KEY_TYPE, HEX("scope"), CUSTOM("descriptor", check_descriptor)};
static const struct vmxsim_schema_key round_invlpg_keys[] = {KEY_TYPE, HEX("linear")};
static const struct vmxsim_schema_key round_cr3_keys[] = {KEY_TYPE, HEX("value")};

static const struct operation round_steps[] = {
    {"poke", VMXSIM_SCHEMA(round_poke_keys)},
    {"invept", VMXSIM_SCHEMA(round_invalidate_keys)},
    {"invvpid", VMXSIM_SCHEMA(round_invalidate_keys)},
    {"invlpg", VMXSIM_SCHEMA(round_invlpg_keys)},
    {"mov_to_cr3", VMXSIM_SCHEMA(round_cr3_keys)},
};

/* NULL: the element is an access. */
static const struct vmxsim_schema *find_step(const struct vmxsim_vector_file *file,
                                             const json_t *element)
{
    const char *const type = json_string_value(json_object_get(element, "type"));

    for (size_t i = 0; file->version >= 2 && type != NULL && i < COUNT_OF(round_steps); i++) {
        if (strcmp(round_steps[i].name, type) == 0)
            return &round_steps[i].schema;
    }
    return NULL;
}

/* `value` belongs to accesses that store, and fits into their size. */
static enum vmxc_status check_stored_value(const struct vmxsim_json *at, struct vmxsim_error *error)
{
    const char *type = json_string_value(json_object_get(at->value, "type"));
    const bool stores = strcmp(type, "write") == 0 || strcmp(type, "rmw") == 0;
    uint8_t bytes[VMXSIM_ACCESS_MAX_SIZE];
    struct vmxsim_json value;
    uint64_t size = 0;

    if (stores)
        VMXC_TRY(vmxsim_json_member(at, "value", &value, error));
    else if (vmxsim_json_find(at, "value", &value))
        return vmxsim_json_fail(&value, error, "a %s stores nothing", type);
    else
        return VMXC_OK;
    (void)vmxsim_checked_find(at->value, "size", &size);
    if (!vmxsim_parse_wide_hex(json_string_value(value.value), bytes, (size_t)size))
        return vmxsim_json_fail(&value, error, "is wider than %u bytes", (unsigned)size);
    return VMXC_OK;
}

static enum vmxc_status check_list(const struct vmxsim_json *at, struct vmxsim_error *error)
{
    VMXC_TRY(vmxsim_json_is_array(at, error));
    return json_array_size(at->value) != 0 ? VMXC_OK
                                           : vmxsim_json_fail(at, error, "must not be empty");
}

static enum vmxc_status check_accesses(const struct vmxsim_vector_file *file,
                                       const struct vmxsim_json *at, struct vmxsim_error *error)
{
    VMXC_TRY(check_list(at, error));
    for (size_t i = 0; i < json_array_size(at->value); i++) {
        const struct vmxsim_json element = vmxsim_json_element(at, i);
        const struct vmxsim_schema *const step = find_step(file, element.value);
        VMXC_TRY(vmxsim_schema_check_object(file, &element,
                                            step != NULL ? step : &access_element_schema, error));
        if (step == NULL)
            VMXC_TRY(check_stored_value(&element, error));
    }
    return VMXC_OK;
}

/* PKRU is part of the state if and only if the guest can use it. */
static enum vmxc_status check_access_case(const struct vmxsim_vector_file *file,
                                          const struct vmxsim_json *at, struct vmxsim_error *error)
{
    struct vmxsim_vmcs vmcs;
    struct vmxsim_json pkru;

    vmxsim_build_vmcs(file, json_object_get(at->value, "vmcs"), &vmcs);
    if (VMXSIM_VMCS(&vmcs, GUEST_CR4) & VMXC_CR4_PKE)
        return vmxsim_json_member(at, "pkru", &pkru, error);
    return VMXC_OK;
}

/* ---- Kind `event` ---- */

static enum vmxc_status check_event_case(const struct vmxsim_vector_file *file,
                                         const struct vmxsim_json *at, struct vmxsim_error *error)
{
    struct vmxsim_vmcs vmcs;

    if (file->version < 2)
        return vmxsim_json_fail(at, error, "kind event belongs to version 2 of the format");
    vmxsim_build_vmcs(file, json_object_get(at->value, "vmcs"), &vmcs);
    return vmxsim_injects_event(&vmcs)
               ? VMXC_OK
               : vmxsim_json_fail(at, error, "the VM entry injects no event");
}

/* ---- Kind `intercept` ---- */

static enum vmxc_status check_io_size(const struct vmxsim_vector_file *file,
                                      const struct vmxsim_json *at, struct vmxsim_error *error)
{
    uint64_t size;
    (void)file;
    VMXC_TRY(vmxsim_json_count(at, 1, 4, &size, error));
    return size != 3 ? VMXC_OK : vmxsim_json_fail(at, error, "must be 1, 2 or 4");
}

#define KEY_OP                                     \
    {                                              \
        .name = "op", .type = VMXSIM_SCHEMA_STRING \
    }
#define KEY_MSR                                                     \
    {                                                               \
        .name = "msr", .type = VMXSIM_SCHEMA_HEX, .max = UINT32_MAX \
    }
#define KEY_PORT                                                     \
    {                                                                \
        .name = "port", .type = VMXSIM_SCHEMA_HEX, .max = UINT16_MAX \
    }
#define KEY_FLAG(key)                                               \
    {                                                               \
        .name = (key), .type = VMXSIM_SCHEMA_BOOL, .optional = true \
    }

/* What an exit says of the instruction, since version 2. */
static enum vmxc_status check_code(const struct vmxsim_vector_file *file,
                                   const struct vmxsim_json *at, struct vmxsim_error *error)
{
    uint64_t value;

    if (file->version < 2)
        return vmxsim_json_fail(at, error, "unknown key, or one that has no place here");
    return vmxsim_json_count(at, 0, 15, &value, error);
}

#define KEY_CODE(key)                                                                      \
    {                                                                                      \
        .name = (key), .type = VMXSIM_SCHEMA_CUSTOM, .check = check_code, .optional = true \
    }
#define KEY_LENGTH KEY_CODE("length")

static const struct vmxsim_schema_key guest_rdmsr_keys[] = {KEY_OP, KEY_MSR, KEY_LENGTH};
static const struct vmxsim_schema_key guest_wrmsr_keys[] = {KEY_OP, KEY_MSR, HEX("value"),
                                                            KEY_LENGTH};
static const struct vmxsim_schema_key rdmsr_keys[] = {KEY_OP, KEY_MSR};
static const struct vmxsim_schema_key wrmsr_keys[] = {KEY_OP, KEY_MSR, HEX("value")};
static const struct vmxsim_schema_key io_keys[] = {KEY_OP, KEY_PORT, CUSTOM("size", check_io_size),
                                                   KEY_FLAG("immediate"), KEY_LENGTH};
static const struct vmxsim_schema_key string_io_keys[] = {
    KEY_OP,
    KEY_PORT,
    CUSTOM("size", check_io_size),
    HEX("linear"),
    KEY_FLAG("rep"),
    KEY_LENGTH,
    KEY_CODE("address_size"),
    KEY_CODE("segment"),
    {.name = "count", .type = VMXSIM_SCHEMA_COUNT, .max = UINT32_MAX, .optional = true}};

/* ---- Kind `instructions` ---- */

#define KEY_SIZE                                                        \
    {                                                                   \
        .name = "size", .type = VMXSIM_SCHEMA_COUNT, .min = 1, .max = 8 \
    }

static const struct vmxsim_schema_key bare_keys[] = {KEY_OP};
static const struct vmxsim_schema_key address_keys[] = {KEY_OP, HEX("address")};
static const struct vmxsim_schema_key vmptrst_keys[] = {
    KEY_OP, {.name = "address", .type = VMXSIM_SCHEMA_HEX, .max = UINT64_MAX, .optional = true}};
static const struct vmxsim_schema_key vmread_keys[] = {KEY_OP, HEX("field")};
static const struct vmxsim_schema_key vmwrite_keys[] = {KEY_OP, HEX("field"), HEX("value")};
static const struct vmxsim_schema_key invalidate_keys[] = {KEY_OP, HEX("type"),
                                                           CUSTOM("descriptor", check_descriptor)};
static const struct vmxsim_schema_key poke_keys[] = {KEY_OP, HEX("address"), KEY_SIZE,
                                                     HEX("value")};
static const struct vmxsim_schema_key peek_keys[] = {KEY_OP, HEX("address"), KEY_SIZE};
static const struct vmxsim_schema_key set_cr_keys[] = {KEY_OP, HEX("value")};
static const struct vmxsim_schema_key fill_keys[] = {KEY_OP,
                                                     CUSTOM("vmcs", vmxsim_check_vmcs_reference)};

/* ---- Operations of a guest, of VMX root operation ---- */

static const struct operation guest_operations[] = {
    {"rdmsr", VMXSIM_SCHEMA(guest_rdmsr_keys)},
    {"wrmsr", VMXSIM_SCHEMA(guest_wrmsr_keys)},
    {"in", VMXSIM_SCHEMA(io_keys)},
    {"out", VMXSIM_SCHEMA(io_keys)},
    {"ins", VMXSIM_SCHEMA(string_io_keys)},
    {"outs", VMXSIM_SCHEMA(string_io_keys)},
};

static const struct operation root_operations[] = {
    {"vmxon", VMXSIM_SCHEMA(address_keys)},      {"vmxoff", VMXSIM_SCHEMA(bare_keys)},
    {"vmclear", VMXSIM_SCHEMA(address_keys)},    {"vmptrld", VMXSIM_SCHEMA(address_keys)},
    {"vmptrst", VMXSIM_SCHEMA(vmptrst_keys)},    {"vmread", VMXSIM_SCHEMA(vmread_keys)},
    {"vmwrite", VMXSIM_SCHEMA(vmwrite_keys)},    {"vmlaunch", VMXSIM_SCHEMA(bare_keys)},
    {"vmresume", VMXSIM_SCHEMA(bare_keys)},      {"vmcall", VMXSIM_SCHEMA(bare_keys)},
    {"vmfunc", VMXSIM_SCHEMA(bare_keys)},        {"invept", VMXSIM_SCHEMA(invalidate_keys)},
    {"invvpid", VMXSIM_SCHEMA(invalidate_keys)}, {"poke", VMXSIM_SCHEMA(poke_keys)},
    {"peek", VMXSIM_SCHEMA(peek_keys)},          {"set_cr0", VMXSIM_SCHEMA(set_cr_keys)},
    {"set_cr4", VMXSIM_SCHEMA(set_cr_keys)},     {"wrmsr", VMXSIM_SCHEMA(wrmsr_keys)},
    {"rdmsr", VMXSIM_SCHEMA(rdmsr_keys)},        {"fill", VMXSIM_SCHEMA(fill_keys)},
};

static enum vmxc_status check_operation(const struct vmxsim_vector_file *file,
                                        const struct vmxsim_json *at,
                                        const struct operation *operations, size_t count,
                                        struct vmxsim_error *error)
{
    struct vmxsim_json op;
    const char *name;

    VMXC_TRY(vmxsim_json_member(at, "op", &op, error));
    VMXC_TRY(vmxsim_json_string(&op, &name, error));
    for (size_t i = 0; i < count; i++) {
        if (strcmp(operations[i].name, name) == 0)
            return vmxsim_schema_check_object(file, at, &operations[i].schema, error);
    }
    return vmxsim_json_fail(&op, error, "there is no operation \"%s\"", name);
}

static enum vmxc_status check_guest_instruction(const struct vmxsim_vector_file *file,
                                                const struct vmxsim_json *at,
                                                struct vmxsim_error *error)
{
    const char *const op = json_string_value(json_object_get(at->value, "op"));
    const struct vmxsim_schema *const named =
        file->version >= 2 && op != NULL ? vmxsim_named_instruction_schema(op) : NULL;
    struct vmxsim_json count;

    if (named != NULL)
        return vmxsim_schema_check_object(file, at, named, error);
    VMXC_TRY(check_operation(file, at, guest_operations, COUNT_OF(guest_operations), error));
    if (json_is_true(json_object_get(at->value, "rep")))
        return vmxsim_json_member(at, "count", &count, error);
    if (vmxsim_json_find(at, "count", &count))
        return vmxsim_json_fail(&count, error, "belongs to a REP prefix");
    return VMXC_OK;
}

static enum vmxc_status check_steps(const struct vmxsim_vector_file *file,
                                    const struct vmxsim_json *at, struct vmxsim_error *error)
{
    VMXC_TRY(check_list(at, error));
    for (size_t i = 0; i < json_array_size(at->value); i++) {
        const struct vmxsim_json step = vmxsim_json_element(at, i);
        VMXC_TRY(check_operation(file, &step, root_operations, COUNT_OF(root_operations), error));
    }
    return VMXC_OK;
}

/* ---- Keys of each kind ---- */

static enum vmxc_status check_root(const struct vmxsim_vector_file *file,
                                   const struct vmxsim_json *at, struct vmxsim_error *error)
{
    const char *name;
    VMXC_TRY(vmxsim_json_string(at, &name, error));
    return json_object_get(file->root_names, name) != NULL
               ? VMXC_OK
               : vmxsim_json_fail(at, error, "there is no root state \"%s\"", name);
}

/* A recording that was copied without its deviations.json can still be compared: only the names go unchecked. */
static enum vmxc_status check_deviation(const struct vmxsim_vector_file *file,
                                        const struct vmxsim_json *at, struct vmxsim_error *error)
{
    const char *name;
    VMXC_TRY(vmxsim_json_string(at, &name, error));
    return file->deviations == NULL || json_object_get(file->deviations, name) != NULL
               ? VMXC_OK
               : vmxsim_json_fail(at, error, "deviations.json beside the file has no entry \"%s\"",
                                  name);
}

/* What led to the model's answer: for readers and for the cross-check, not compared. */
static enum vmxc_status check_trace(const struct vmxsim_vector_file *file,
                                    const struct vmxsim_json *at, struct vmxsim_error *error)
{
    if (file->version < 2)
        return vmxsim_json_fail(at, error, "belongs to version 2 of the format");
    return vmxsim_json_is_object(at, error);
}

/* General-purpose registers at the guest's first instruction: for engines that execute it. */
static enum vmxc_status check_registers(const struct vmxsim_vector_file *file,
                                        const struct vmxsim_json *at, struct vmxsim_error *error)
{
    static const char *const names[] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
                                        "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15"};
    const char *key;
    json_t *value;
    uint64_t number;

    if (file->version < 2)
        return vmxsim_json_fail(at, error, "belongs to version 2 of the format");
    VMXC_TRY(vmxsim_json_is_object(at, error));
    VMXC_TRY(vmxsim_json_only_keys(at, names, COUNT_OF(names), error));
    json_object_foreach(at->value, key, value)
    {
        const struct vmxsim_json child = vmxsim_json_child(at, key, value);
        VMXC_TRY(vmxsim_json_hex(&child, UINT64_MAX, &number, error));
    }
    return VMXC_OK;
}

#define KEY_REGISTERS                                                                \
    {                                                                                \
        .name = "registers", .type = VMXSIM_SCHEMA_CUSTOM, .check = check_registers, \
        .optional = true                                                             \
    }

#define COMMON_KEYS                                                                              \
    {.name = "id", .type = VMXSIM_SCHEMA_STRING, .min = 1},                                      \
        {.name = "kind", .type = VMXSIM_SCHEMA_STRING},                                          \
        {.name = "expect",                                                                       \
         .type = VMXSIM_SCHEMA_CUSTOM,                                                           \
         .check = vmxsim_schema_check_later,                                                     \
         .optional = true}, /* as far as cases are recorded */                                   \
        {.name = "sdm",                                                                          \
         .type = VMXSIM_SCHEMA_CUSTOM,                                                           \
         .check = vmxsim_schema_check_later,                                                     \
         .optional = true},                                                                      \
        {.name = "deviates",                                                                     \
         .type = VMXSIM_SCHEMA_CUSTOM,                                                           \
         .check = check_deviation,                                                               \
         .optional = true},                                                                      \
        {.name = "root", .type = VMXSIM_SCHEMA_CUSTOM, .check = check_root, .optional = true},   \
        {.name = "note", .type = VMXSIM_SCHEMA_STRING, .optional = true},                        \
        {.name = "trace", .type = VMXSIM_SCHEMA_CUSTOM, .check = check_trace, .optional = true}, \
        CUSTOM("memory", vmxsim_check_memory_reference)
#define KEY_VMCS CUSTOM("vmcs", vmxsim_check_vmcs_reference)

static const char *const launch_states[] = {"clear", "launched", NULL};
static const char *const entry_instructions[] = {"vmlaunch", "vmresume", NULL};

static const struct vmxsim_schema_key access_keys[] = {
    COMMON_KEYS,
    KEY_VMCS,
    CUSTOM("accesses", check_accesses),
    KEY_REGISTERS,
    {.name = "pkru", .type = VMXSIM_SCHEMA_HEX, .max = UINT32_MAX, .optional = true},
};
static const struct vmxsim_schema_key entry_keys[] = {
    COMMON_KEYS,
    KEY_VMCS,
    CHOICE("launch_state", launch_states),
    CHOICE("instruction", entry_instructions),
};
static const struct vmxsim_schema_key intercept_keys[] = {
    COMMON_KEYS,
    KEY_VMCS,
    CUSTOM("instruction", check_guest_instruction),
    KEY_REGISTERS,
};
static const struct vmxsim_schema_key event_keys[] = {COMMON_KEYS, KEY_VMCS};
static const struct vmxsim_schema_key instructions_keys[] = {
    COMMON_KEYS,
    CUSTOM("steps", check_steps),
};

static const struct {
    struct vmxsim_schema schema;
    bool has_vmx_pointers; /* the header must say where VMXON region and VMCS are */
} kinds[VMXSIM_CASE_KIND_COUNT] = {
    [VMXSIM_CASE_ACCESS] = {VMXSIM_SCHEMA(access_keys), true},
    [VMXSIM_CASE_ENTRY] = {VMXSIM_SCHEMA(entry_keys), true},
    [VMXSIM_CASE_INTERCEPT] = {VMXSIM_SCHEMA(intercept_keys), true},
    [VMXSIM_CASE_INSTRUCTIONS] = {VMXSIM_SCHEMA(instructions_keys), false},
    [VMXSIM_CASE_EVENT] = {VMXSIM_SCHEMA(event_keys), true},
};

/* ---- The case ---- */

static enum vmxc_status read_kind(const struct vmxsim_json *at, enum vmxsim_case_kind *kind,
                                  struct vmxsim_error *error)
{
    const char *names[VMXSIM_CASE_KIND_COUNT + 1] = {NULL};
    struct vmxsim_json name;

    for (unsigned i = 0; i < VMXSIM_CASE_KIND_COUNT; i++)
        names[i] = vmxsim_case_kind_name((enum vmxsim_case_kind)i);
    VMXC_TRY(vmxsim_json_member(at, "kind", &name, error));
    VMXC_TRY(vmxsim_schema_check_choice(&name, names, error));
    for (unsigned i = 0; i < VMXSIM_CASE_KIND_COUNT; i++) {
        if (strcmp(names[i], json_string_value(name.value)) == 0)
            *kind = (enum vmxsim_case_kind)i;
    }
    return VMXC_OK;
}

static enum vmxc_status remember_id(struct vmxsim_vector_file *file, const struct vmxsim_json *at,
                                    struct vmxsim_error *error)
{
    const char *id;
    struct vmxsim_json child;

    VMXC_TRY(vmxsim_json_member(at, "id", &child, error));
    VMXC_TRY(vmxsim_json_string(&child, &id, error));
    if (json_object_get(file->ids, id) != NULL)
        return vmxsim_json_fail(&child, error, "\"%s\" is the id of an earlier case", id);
    if (json_object_set_new(file->ids, id, json_true()) != 0)
        return vmxsim_error_set(error, VMXC_NO_MEMORY, "%s: no host memory left", file->path);
    return VMXC_OK;
}

static enum vmxc_status check_vmx_pointers(const struct vmxsim_vector_file *file,
                                           const struct vmxsim_json *at, enum vmxsim_case_kind kind,
                                           struct vmxsim_error *error)
{
    if (!kinds[kind].has_vmx_pointers || (file->has_vmxon_pointer && file->has_vmcs_pointer))
        return VMXC_OK;
    return vmxsim_json_fail(at, error, "kind %s needs %s in the header",
                            vmxsim_case_kind_name(kind),
                            file->has_vmxon_pointer ? "vmcs_pointer" : "vmxon_pointer");
}

static enum vmxc_status check_verdicts(const struct vmxsim_vector_file *file,
                                       const struct vmxsim_json *at, enum vmxsim_case_kind kind,
                                       struct vmxsim_error *error)
{
    struct vmxsim_json expect, sdm, deviates;

    if (file->recording)
        return VMXC_OK; /* what was observed or expected before is replaced */
    VMXC_TRY(vmxsim_json_member(at, "expect", &expect, error));
    VMXC_TRY(vmxsim_check_verdict(file, kind, &expect, at->value, error));
    if (!vmxsim_json_find(at, "sdm", &sdm))
        return VMXC_OK;
    VMXC_TRY(vmxsim_check_verdict(file, kind, &sdm, at->value, error));
    return vmxsim_json_member(at, "deviates", &deviates, error);
}

/* The root state a case names, or the one called "default". */
static enum vmxc_status find_root(const struct vmxsim_vector_file *file,
                                  const struct vmxsim_json *at,
                                  const struct vmxsim_root_state **root, struct vmxsim_error *error)
{
    const char *name = json_string_value(json_object_get(at->value, "root"));
    const json_t *index = json_object_get(file->root_names, name != NULL ? name : "default");
    if (index == NULL) {
        const struct vmxsim_json missing = vmxsim_json_child(at, "root", NULL);
        return vmxsim_json_fail(&missing, error,
                                "key is missing, and so is a root state "
                                "\"default\" in the header");
    }
    *root = &file->roots[json_integer_value(index)];
    return VMXC_OK;
}

enum vmxc_status vmxsim_vector_case_read(struct vmxsim_vector_file *file, json_t *value,
                                         struct vmxsim_vector_case *vector,
                                         struct vmxsim_error *error)
{
    const struct vmxsim_json at = vmxsim_json_root(value, file->document, NULL);
    enum vmxsim_case_kind kind = VMXSIM_CASE_ACCESS;
    const struct vmxsim_root_state *root = NULL;

    VMXC_TRY(read_kind(&at, &kind, error));
    VMXC_TRY(vmxsim_schema_check_object(file, &at, &kinds[kind].schema, error));
    VMXC_TRY(remember_id(file, &at, error));
    VMXC_TRY(check_vmx_pointers(file, &at, kind, error));
    VMXC_TRY(check_verdicts(file, &at, kind, error));
    VMXC_TRY(find_root(file, &at, &root, error));
    if (kind == VMXSIM_CASE_ACCESS)
        VMXC_TRY(check_access_case(file, &at, error));
    if (kind == VMXSIM_CASE_EVENT)
        VMXC_TRY(check_event_case(file, &at, error));

    const json_t *const sdm = json_object_get(value, "sdm");
    const json_t *const verdict = sdm != NULL ? sdm : json_object_get(value, "expect");
    const char *const note = json_string_value(json_object_get(value, "note"));
    *vector = (struct vmxsim_vector_case){
        .id = json_string_value(json_object_get(value, "id")),
        .note = note != NULL ? note : "",
        .deviates = json_string_value(json_object_get(value, "deviates")),
        .kind = kind,
        .value = value,
        .verdict = file->recording ? NULL : verdict,
        .root = root,
    };
    return VMXC_OK;
}
