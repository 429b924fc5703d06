/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Instructions of a guest that a vector names: the bytes are in its memory, and name, operands and length beside them.
 *
 *     {"op": "lgdt", "length": 4, "operands": {"base": 3, "segment": 3, "address_size": 2, "displacement": "0x10"}}
 *     {"op": "mov_to_cr", "length": 3, "cr": 4, "gpr": 0, "value": "0x2020"}
 */
#include "internal/array.h"
#include "internal/replay.h"

#include "vmxcore/defs/exit_reason.h"
#include "vmxsim/guest.h"
#include "vmxsim/intercept.h"

#include <string.h>

/* ---- Keys ---- */

#define KEY_OP                                     \
    {                                              \
        .name = "op", .type = VMXSIM_SCHEMA_STRING \
    }
#define KEY_LENGTH                                                         \
    {                                                                      \
        .name = "length", .type = VMXSIM_SCHEMA_COUNT, .min = 1, .max = 15 \
    }
#define KEY_COUNT(key, maximum)                                       \
    {                                                                 \
        .name = (key), .type = VMXSIM_SCHEMA_COUNT, .max = (maximum), \
    }
#define KEY_SOME_COUNT(key, maximum)                                                    \
    {                                                                                   \
        .name = (key), .type = VMXSIM_SCHEMA_COUNT, .max = (maximum), .optional = true, \
    }
#define KEY_HEX(key, maximum)                                       \
    {                                                               \
        .name = (key), .type = VMXSIM_SCHEMA_HEX, .max = (maximum), \
    }
#define KEY_SOME_HEX(key)                                                             \
    {                                                                                 \
        .name = (key), .type = VMXSIM_SCHEMA_HEX, .max = UINT64_MAX, .optional = true \
    }
#define KEY_FLAG(key)                                               \
    {                                                               \
        .name = (key), .type = VMXSIM_SCHEMA_BOOL, .optional = true \
    }

static const struct vmxsim_schema_key operand_keys[] = {
    KEY_FLAG("register_form"),         KEY_SOME_COUNT("register1", 15),
    KEY_SOME_COUNT("register2", 15),   KEY_SOME_COUNT("operand_size", 2),
    KEY_SOME_COUNT("address_size", 2), KEY_SOME_COUNT("segment", 5),
    KEY_SOME_COUNT("scale", 3),        KEY_SOME_COUNT("index", 15),
    KEY_SOME_COUNT("base", 15),        KEY_SOME_HEX("displacement"),
};
static const struct vmxsim_schema operand_schema = VMXSIM_SCHEMA(operand_keys);

static enum vmxc_status check_operands(const struct vmxsim_vector_file *file,
                                       const struct vmxsim_json *at, struct vmxsim_error *error)
{
    return vmxsim_schema_check_object(file, at, &operand_schema, error);
}

#define KEY_OPERANDS                                                        \
    {                                                                       \
        .name = "operands", .type = VMXSIM_SCHEMA_CUSTOM, .optional = true, \
        .check = check_operands                                             \
    }

static const struct vmxsim_schema_key plain_keys[] = {KEY_OP, KEY_LENGTH, KEY_OPERANDS};
static const struct vmxsim_schema_key bare_keys[] = {KEY_OP, KEY_LENGTH};
static const struct vmxsim_schema_key mov_to_keys[] = {
    KEY_OP, KEY_LENGTH, KEY_COUNT("register", 15), KEY_COUNT("gpr", 15),
    KEY_HEX("value", UINT64_MAX)};
static const struct vmxsim_schema_key mov_from_keys[] = {
    KEY_OP, KEY_LENGTH, KEY_COUNT("register", 15), KEY_COUNT("gpr", 15)};
static const struct vmxsim_schema_key lmsw_keys[] = {
    KEY_OP, KEY_LENGTH, KEY_HEX("value", UINT16_MAX), KEY_SOME_HEX("linear")};
static const struct vmxsim_schema_key smsw_keys[] = {KEY_OP, KEY_LENGTH, KEY_COUNT("gpr", 15)};
static const struct vmxsim_schema_key invlpg_keys[] = {KEY_OP, KEY_LENGTH,
                                                       KEY_HEX("linear", UINT64_MAX)};

/* ---- Running ---- */

static uint64_t number(const json_t *object, const char *key)
{
    uint64_t value = 0;

    (void)vmxsim_checked_find(object, key, &value);
    return value;
}

static struct vmxsim_operands read_operands(const json_t *operands)
{
    return (struct vmxsim_operands){
        .register_form = json_is_true(json_object_get(operands, "register_form")),
        .register1 = (uint8_t)number(operands, "register1"),
        .register2 = (uint8_t)number(operands, "register2"),
        .operand_size = (uint8_t)number(operands, "operand_size"),
        .address_size = (uint8_t)number(operands, "address_size"),
        .segment = (uint8_t)number(operands, "segment"),
        .scale = (uint8_t)number(operands, "scale"),
        .index = (uint8_t)number(operands, "index"),
        .base = (uint8_t)number(operands, "base"),
        .no_index = json_object_get(operands, "index") == NULL,
        .no_base = json_object_get(operands, "base") == NULL,
        .displacement = number(operands, "displacement"),
    };
}

typedef enum vmxc_status run_instruction(struct vmxsim_cpu *cpu, const json_t *instruction,
                                         struct vmxsim_outcome *outcome);

static enum vmxc_status mov_to_cr(struct vmxsim_cpu *cpu, const json_t *instruction,
                                  struct vmxsim_outcome *outcome)
{
    return vmxsim_guest_mov_to_cr(cpu, (uint8_t)number(instruction, "register"),
                                  (uint8_t)number(instruction, "gpr"), number(instruction, "value"),
                                  outcome);
}

static enum vmxc_status mov_from_cr(struct vmxsim_cpu *cpu, const json_t *instruction,
                                    struct vmxsim_outcome *outcome)
{
    return vmxsim_guest_mov_from_cr(cpu, (uint8_t)number(instruction, "register"),
                                    (uint8_t)number(instruction, "gpr"), outcome);
}

static enum vmxc_status mov_to_dr(struct vmxsim_cpu *cpu, const json_t *instruction,
                                  struct vmxsim_outcome *outcome)
{
    return vmxsim_guest_mov_to_dr(cpu, (uint8_t)number(instruction, "register"),
                                  (uint8_t)number(instruction, "gpr"), number(instruction, "value"),
                                  outcome);
}

static enum vmxc_status mov_from_dr(struct vmxsim_cpu *cpu, const json_t *instruction,
                                    struct vmxsim_outcome *outcome)
{
    return vmxsim_guest_mov_from_dr(cpu, (uint8_t)number(instruction, "register"),
                                    (uint8_t)number(instruction, "gpr"), outcome);
}

static enum vmxc_status clts(struct vmxsim_cpu *cpu, const json_t *instruction,
                             struct vmxsim_outcome *outcome)
{
    (void)instruction;
    return vmxsim_guest_clts(cpu, outcome);
}

static enum vmxc_status lmsw(struct vmxsim_cpu *cpu, const json_t *instruction,
                             struct vmxsim_outcome *outcome)
{
    uint64_t linear;
    const bool memory = vmxsim_checked_find(instruction, "linear", &linear);

    return vmxsim_guest_lmsw(cpu, (uint16_t)number(instruction, "value"), memory ? &linear : NULL,
                             outcome);
}

static enum vmxc_status smsw(struct vmxsim_cpu *cpu, const json_t *instruction,
                             struct vmxsim_outcome *outcome)
{
    (void)instruction;
    return vmxsim_guest_smsw(cpu, outcome);
}

static enum vmxc_status invlpg(struct vmxsim_cpu *cpu, const json_t *instruction,
                               struct vmxsim_outcome *outcome)
{
    return vmxsim_guest_invlpg(cpu, number(instruction, "linear"), outcome);
}

/* No MONITOR went before it. */
static enum vmxc_status mwait(struct vmxsim_cpu *cpu, const json_t *instruction,
                              struct vmxsim_outcome *outcome)
{
    (void)instruction;
    return vmxsim_guest_mwait(cpu, false, outcome);
}

static const struct {
    const char *op;
    struct vmxsim_schema schema;
    run_instruction *run;
} special[] = {
    {"mov_to_cr", VMXSIM_SCHEMA(mov_to_keys), mov_to_cr},
    {"mov_from_cr", VMXSIM_SCHEMA(mov_from_keys), mov_from_cr},
    {"mov_to_dr", VMXSIM_SCHEMA(mov_to_keys), mov_to_dr},
    {"mov_from_dr", VMXSIM_SCHEMA(mov_from_keys), mov_from_dr},
    {"clts", VMXSIM_SCHEMA(bare_keys), clts},
    {"lmsw", VMXSIM_SCHEMA(lmsw_keys), lmsw},
    {"smsw", VMXSIM_SCHEMA(smsw_keys), smsw},
    {"invlpg", VMXSIM_SCHEMA(invlpg_keys), invlpg},
    {"mwait", VMXSIM_SCHEMA(bare_keys), mwait},
};

/* The names of the instructions in guest_instructions.def, in capitals. */
static const char *const plain[VMXSIM_INSTRUCTION_COUNT] = {
#define VMXSIM_INSTRUCTION(name, reason, exists, privilege, word, bit, layout, identity) #name,
#include "vmxsim/guest_instructions.def"
};

/* Only lower-case letters stand for a name in capitals. */
static bool is_name(const char *capitals, const char *op)
{
    for (; *capitals != '\0' && *op == *capitals - 'A' + 'a'; capitals++)
        op++;
    return *capitals == '\0' && *op == '\0';
}

static size_t find_plain(const char *op)
{
    size_t i = 0;

    while (i < VMXSIM_INSTRUCTION_COUNT && !is_name(plain[i], op))
        i++;
    return i;
}

static size_t find_special(const char *op)
{
    size_t i = 0;

    while (i < COUNT_OF(special) && strcmp(special[i].op, op) != 0)
        i++;
    return i;
}

const struct vmxsim_schema *vmxsim_named_instruction_schema(const char *op)
{
    static const struct vmxsim_schema plain_schema = VMXSIM_SCHEMA(plain_keys);
    const size_t i = find_special(op);

    if (i < COUNT_OF(special))
        return &special[i].schema;
    return find_plain(op) < VMXSIM_INSTRUCTION_COUNT ? &plain_schema : NULL;
}

enum vmxc_status vmxsim_run_named_instruction(struct vmxsim_cpu *cpu, const json_t *instruction,
                                              struct vmxsim_outcome *outcome)
{
    const char *const op = json_string_value(json_object_get(instruction, "op"));
    const json_t *const operands = json_object_get(instruction, "operands");
    const size_t i = find_special(op);

    if (i < COUNT_OF(special))
        return special[i].run(cpu, instruction, outcome);
    const struct vmxsim_operands read = read_operands(operands);
    return vmxsim_guest_instruction(cpu, (enum vmxsim_instruction)find_plain(op),
                                    operands != NULL ? &read : NULL, outcome);
}

/* ---- What is known of them ---- */

bool vmxsim_is_named_instruction(const json_t *instruction)
{
    return vmxsim_named_instruction_schema(json_string_value(json_object_get(instruction, "op"))) !=
           NULL;
}

bool vmxsim_exit_has_length(const struct vmxsim_outcome *outcome)
{
    if (outcome->kind != VMXSIM_OUTCOME_VM_EXIT)
        return false;
    return outcome->exit_reason != VMXC_EXIT_REASON_EXCEPTION_OR_NMI &&
           outcome->exit_reason != VMXC_EXIT_REASON_EPT_VIOLATION &&
           outcome->exit_reason != VMXC_EXIT_REASON_EPT_MISCONFIGURATION;
}

bool vmxsim_reads_register(const json_t *instruction)
{
    static const char *const names[] = {"mov_from_cr", "mov_from_dr", "smsw"};
    const char *const op = json_string_value(json_object_get(instruction, "op"));

    for (size_t i = 0; i < COUNT_OF(names); i++) {
        if (strcmp(names[i], op) == 0)
            return true;
    }
    return false;
}
