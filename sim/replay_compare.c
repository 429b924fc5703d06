/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a case of kind `access` came to against what it should have come to: every key that the verdict has, and
 * nothing else. Each difference is one line: what was expected, what was observed, decoded.
 */
#include "internal/deliver.h"
#include "internal/explain.h"
#include "internal/replay.h"

#include "vmxcore/defs/exit_reason.h"
#include "vmxcore/defs/paging.h"
#include "vmxsim/guest.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* One alternative, and what is open besides its own `open`. */
struct comparison {
    struct vmxsim_vector_file *file;
    const json_t *expect, *open, *outer_open;
    const json_t *accesses, *instruction;
    const struct vmxsim_outcome *outcome;
    struct vmxsim_text *differences;
};

/* ---- Phrases ---- */

enum phrase {
    PHRASE_HEX,
    PHRASE_DECIMAL,
    PHRASE_EXIT_REASON,
    PHRASE_QUALIFICATION,
    PHRASE_INTERRUPTION,
    PHRASE_VECTOR,
};

static void add_phrase(struct vmxsim_text *text, enum phrase phrase, uint64_t value)
{
    switch (phrase) {
    case PHRASE_HEX:
        vmxsim_text_add(text, "0x%" PRIx64, value);
        break;
    case PHRASE_DECIMAL:
        vmxsim_text_add(text, "%" PRIu64, value);
        break;
    case PHRASE_EXIT_REASON:
        vmxsim_phrase_exit_reason(text, (uint32_t)value);
        break;
    case PHRASE_QUALIFICATION:
        vmxsim_text_add(text, "0x%" PRIx64 " (", value);
        vmxsim_phrase_qualification(text, value);
        vmxsim_text_add(text, ")");
        break;
    case PHRASE_INTERRUPTION:
        vmxsim_phrase_interruption(text, (uint32_t)value);
        break;
    case PHRASE_VECTOR:
        vmxsim_phrase_vector(text, (uint8_t)value);
        break;
    }
}

static void add_line_end(const struct comparison *comparison)
{
    vmxsim_text_add(comparison->differences, "\n");
}

/* ---- What is left open ---- */

static uint64_t open_mask(const json_t *open, const char *group, const char *key)
{
    uint64_t mask = 0;
    const json_t *const where = group != NULL ? json_object_get(open, group) : open;
    if (!vmxsim_checked_find(where, key, &mask))
        return 0;
    return mask;
}

static uint64_t open_bits(const struct comparison *comparison, const char *group, const char *key)
{
    return open_mask(comparison->open, group, key) | open_mask(comparison->outer_open, group, key);
}

/* Of a VMXON or VMCS region only the first doubleword is memory that a vector describes. */
static uint64_t undescribed_bits(uint64_t hpa, bool has_region, uint64_t region)
{
    if (!has_region || (hpa & ~VMXC_PAGE_MASK) != region)
        return 0;
    return hpa == region ? VMXC_BITS(63, 32) : UINT64_MAX;
}

static uint64_t open_word(const struct comparison *comparison, uint64_t hpa, const char *key)
{
    const struct vmxsim_vector_file *const file = comparison->file;
    return open_bits(comparison, "memory", key) |
           undescribed_bits(hpa, file->has_vmxon_pointer, file->vmxon_pointer) |
           undescribed_bits(hpa, file->has_vmcs_pointer, file->vmcs_pointer);
}

/* ---- Result ---- */

static const char *result_name(const struct vmxsim_vector_file *file, enum vmxsim_outcome_kind kind)
{
    if (file->delivery != NULL && file->delivery->done)
        return "delivered";
    switch (kind) {
    case VMXSIM_OUTCOME_COMPLETE:
        return "complete";
    case VMXSIM_OUTCOME_GUEST_EXCEPTION:
        return "guest_exception";
    case VMXSIM_OUTCOME_VM_EXIT:
        return "exit";
    }
    return "?";
}

static void add_expected_result(struct vmxsim_text *text, const json_t *expect)
{
    uint64_t number;
    vmxsim_text_add(text, "%s", json_string_value(json_object_get(expect, "result")));
    if (vmxsim_checked_find(expect, "exit_reason", &number)) {
        vmxsim_text_add(text, " ");
        vmxsim_phrase_exit_reason(text, (uint32_t)number);
    } else if (vmxsim_checked_find(expect, "vector", &number)) {
        vmxsim_text_add(text, " ");
        vmxsim_phrase_vector(text, (uint8_t)number);
    }
}

static void add_observed_result(const struct vmxsim_vector_file *file, struct vmxsim_text *text,
                                const struct vmxsim_outcome *outcome)
{
    vmxsim_text_add(text, "%s", result_name(file, outcome->kind));
    if (outcome->kind == VMXSIM_OUTCOME_VM_EXIT) {
        vmxsim_text_add(text, " ");
        vmxsim_phrase_exit_reason(text, outcome->exit_reason);
    } else if (outcome->kind == VMXSIM_OUTCOME_GUEST_EXCEPTION) {
        vmxsim_text_add(text, " ");
        vmxsim_phrase_vector(text, outcome->vector);
    }
    if (outcome->rule != VMXSIM_RULE_NONE)
        vmxsim_text_add(text, " by %s", vmxsim_walk_rule_info(outcome->rule)->id);
}

/* False: the results differ, so that fields of one have no counterpart in the other. */
static bool compare_result(const struct comparison *comparison)
{
    const char *const expected = json_string_value(json_object_get(comparison->expect, "result"));
    if (strcmp(expected, result_name(comparison->file, comparison->outcome->kind)) == 0)
        return true;
    vmxsim_text_add(comparison->differences, "result: expected ");
    add_expected_result(comparison->differences, comparison->expect);
    vmxsim_text_add(comparison->differences, ", observed ");
    add_observed_result(comparison->file, comparison->differences, comparison->outcome);
    add_line_end(comparison);
    return false;
}

/* ---- Fields ---- */

struct field {
    const char *key;
    enum phrase phrase;
    bool exists; /* the outcome has it */
    uint64_t value;
};

static void add_differing_bits(struct vmxsim_text *text, const struct field *field, uint64_t bits)
{
    vmxsim_text_add(text, "; differs in 0x%" PRIx64, bits);
    if (field->phrase != PHRASE_QUALIFICATION)
        return;
    vmxsim_text_add(text, ": ");
    vmxsim_phrase_qualification_bits(text, bits);
}

static bool is_bit_pattern(enum phrase phrase)
{
    return phrase == PHRASE_HEX || phrase == PHRASE_QUALIFICATION || phrase == PHRASE_INTERRUPTION;
}

static void compare_field(const struct comparison *comparison, const struct field *field)
{
    struct vmxsim_text *const text = comparison->differences;
    uint64_t expected;

    if (!vmxsim_checked_find(comparison->expect, field->key, &expected))
        return;
    const uint64_t bits = (expected ^ field->value) & ~open_bits(comparison, NULL, field->key);
    if (field->exists && bits == 0)
        return;
    vmxsim_text_add(text, "%s: expected ", field->key);
    add_phrase(text, field->phrase, expected);
    vmxsim_text_add(text, ", observed ");
    if (field->exists) {
        add_phrase(text, field->phrase, field->value);
        if (is_bit_pattern(field->phrase))
            add_differing_bits(text, field, bits);
    } else {
        vmxsim_text_add(text, "none");
    }
    add_line_end(comparison);
}

static void compare_fields(const struct comparison *comparison)
{
    const struct vmxsim_outcome *const outcome = comparison->outcome;
    const bool exits = outcome->kind == VMXSIM_OUTCOME_VM_EXIT;
    const bool violation = exits && outcome->exit_reason == VMXC_EXIT_REASON_EPT_VIOLATION;
    const bool event = exits && outcome->exit_reason == VMXC_EXIT_REASON_EXCEPTION_OR_NMI;
    const bool faults = outcome->kind == VMXSIM_OUTCOME_GUEST_EXCEPTION;
    const struct delivery *const delivery = comparison->file->delivery;
    const struct field fields[] = {
        {"exit_reason", PHRASE_EXIT_REASON, exits, outcome->exit_reason},
        {"qualification", violation ? PHRASE_QUALIFICATION : PHRASE_HEX,
         exits && outcome->qualification_defined, outcome->qualification},
        {"guest_physical", PHRASE_HEX, outcome->guest_physical_valid, outcome->guest_physical},
        {"guest_linear", PHRASE_HEX, outcome->guest_linear_valid, outcome->guest_linear},
        {"intr_info", PHRASE_INTERRUPTION, event, outcome->interruption_info},
        {"intr_error_code", PHRASE_HEX, event && outcome->has_error_code,
         outcome->interruption_error_code},
        {"vector", PHRASE_VECTOR, faults, outcome->vector},
        {"error_code", PHRASE_HEX, faults && outcome->has_error_code, outcome->error_code},
        {"cr2", PHRASE_HEX, delivery || (faults && outcome->vector == VMXC_VECTOR_PF),
         delivery ? delivery->cr2 : outcome->cr2},
    };
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++)
        compare_field(comparison, &fields[i]);
}

/* ---- Instructions ---- */

static uint64_t guest_register(const struct comparison *comparison, uint32_t encoding)
{
    uint64_t value = 0;

    return vmxsim_guest_get(comparison->file->cpu, encoding, &value) == VMXC_OK ? value : 0;
}

static void compare_instruction(const struct comparison *comparison)
{
    const struct vmxsim_outcome *const outcome = comparison->outcome;
    const bool completes = outcome->kind == VMXSIM_OUTCOME_COMPLETE;
    uint64_t length = 0;
    const bool has_length = vmxsim_checked_find(comparison->instruction, "length", &length);
    const struct field fields[] = {
        {"instruction_length", PHRASE_DECIMAL, has_length && vmxsim_exit_has_length(outcome),
         length},
        {"instruction_info", PHRASE_HEX, outcome->instruction_info_defined,
         outcome->instruction_info},
        {"value", PHRASE_HEX, completes && vmxsim_reads_register(comparison->instruction),
         outcome->value},
        {"cr0", PHRASE_HEX, completes, guest_register(comparison, VMXC_VMCS_GUEST_CR0)},
        {"cr3", PHRASE_HEX, completes, guest_register(comparison, VMXC_VMCS_GUEST_CR3)},
        {"cr4", PHRASE_HEX, completes, guest_register(comparison, VMXC_VMCS_GUEST_CR4)},
    };

    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++)
        compare_field(comparison, &fields[i]);
}

/* ---- Events ---- */

static void compare_delivery(const struct comparison *comparison)
{
    const struct delivery *const delivery = comparison->file->delivery;
    const bool done = delivery->done, vectoring = delivery->vectoring_info != 0;
    const struct field fields[] = {
        {"rip", PHRASE_HEX, done, delivery->rip},
        {"rsp", PHRASE_HEX, done, delivery->rsp},
        {"rflags", PHRASE_HEX, done, delivery->rflags},
        {"cs", PHRASE_HEX, done, delivery->cs},
        {"ss", PHRASE_HEX, done, delivery->ss},
        {"interruptibility", PHRASE_HEX, done, delivery->interruptibility},
        {"vectoring_info", PHRASE_INTERRUPTION, true, delivery->vectoring_info},
        {"vectoring_error_code", PHRASE_HEX, vectoring, delivery->vectoring_error_code},
    };

    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++)
        compare_field(comparison, &fields[i]);
}

/* ---- Values ---- */

static void compare_value(const struct comparison *comparison, size_t i, const char *expected)
{
    uint8_t bytes[VMXSIM_ACCESS_MAX_SIZE];
    const uint8_t *const observed = comparison->file->run.data[i];
    uint64_t size = 0;

    (void)vmxsim_checked_find(json_array_get(comparison->accesses, i), "size", &size);
    (void)vmxsim_parse_wide_hex(expected, bytes, (size_t)size);
    if (memcmp(bytes, observed, (size_t)size) == 0)
        return;
    vmxsim_text_add(comparison->differences, "values[%zu]: expected %s, observed ", i, expected);
    vmxsim_phrase_data(comparison->differences, observed, (uint32_t)size);
    add_line_end(comparison);
}

static void compare_values(const struct comparison *comparison)
{
    const json_t *const values = json_object_get(comparison->expect, "values");
    for (size_t i = 0; i < json_array_size(values); i++) {
        const char *const expected = json_string_value(json_array_get(values, i));
        if (expected != NULL)
            compare_value(comparison, i, expected);
    }
}

/* ---- Memory ---- */

static void add_memory_difference(const struct comparison *comparison, const char *key,
                                  const char *expected_what, uint64_t expected, uint64_t observed,
                                  uint64_t bits)
{
    vmxsim_text_add(comparison->differences,
                    "memory %s: expected %s0x%" PRIx64 ", observed 0x%" PRIx64
                    "; differs in 0x%" PRIx64 "\n",
                    key, expected_what, expected, observed, bits);
}

/* Words that the verdict lists. */
static void compare_listed_words(const struct comparison *comparison, json_t *listed)
{
    const char *key;
    json_t *value;
    json_object_foreach(listed, key, value)
    {
        const uint64_t hpa = vmxsim_checked_hex_key(key);
        const uint64_t expected = vmxsim_checked_hex(value);
        const uint64_t observed = vmxsim_memory_read64(comparison->file->memory, hpa);
        const uint64_t bits = (expected ^ observed) & ~open_word(comparison, hpa, key);
        if (bits != 0)
            add_memory_difference(comparison, key, "", expected, observed, bits);
    }
}

/* Words that changed although the verdict does not list them. */
static void compare_changed_words(const struct comparison *comparison, const json_t *listed)
{
    const struct vmxsim_access_run *const run = &comparison->file->run;
    for (size_t i = 0; i < run->change_count; i++) {
        const struct vmxsim_changed_word *const word = &run->changes[i];
        char key[sizeof "0x0123456789abcdef"];
        (void)snprintf(key, sizeof key, "0x%" PRIx64, word->hpa);
        if (json_object_get(listed, key) != NULL)
            continue;
        const uint64_t bits = (word->before ^ word->after) & ~open_word(comparison, word->hpa, key);
        if (bits != 0)
            add_memory_difference(comparison, key, "no change from ", word->before, word->after,
                                  bits);
    }
}

static void compare_memory(const struct comparison *comparison)
{
    json_t *const listed = json_object_get(comparison->expect, "memory");
    if (listed == NULL)
        return;
    compare_listed_words(comparison, listed);
    compare_changed_words(comparison, listed);
}

/* ---- Alternatives ---- */

static void compare(const struct comparison *comparison)
{
    const struct field pml_index = {.key = "pml_index",
                                    .phrase = PHRASE_DECIMAL,
                                    .exists = true,
                                    .value = vmxsim_cpu_pml_index(comparison->file->cpu)};
    if (compare_result(comparison)) {
        compare_fields(comparison);
        if (comparison->instruction != NULL)
            compare_instruction(comparison);
        if (comparison->file->delivery != NULL)
            compare_delivery(comparison);
        compare_values(comparison);
    }
    compare_field(comparison, &pml_index);
    compare_memory(comparison);
}

bool vmxsim_access_matches(struct vmxsim_vector_file *file, const struct vmxsim_vector_case *vector,
                           const struct vmxsim_outcome *outcome, uint64_t *matched)
{
    const json_t *const alternatives = json_object_get(vector->verdict, "any_of");
    const size_t count = alternatives != NULL ? json_array_size(alternatives) : 1;
    struct vmxsim_text first = {.failed = false}, others = {.failed = false};

    *matched = 0;
    for (size_t i = 0; i < count; i++) {
        const json_t *const expect =
            alternatives != NULL ? json_array_get(alternatives, i) : vector->verdict;
        struct vmxsim_text *const differences = i == 0 ? &first : &others;
        compare(&(struct comparison){
            .file = file,
            .expect = expect,
            .open = json_object_get(expect, "open"),
            .outer_open = json_object_get(vector->verdict, "open"),
            .accesses = json_object_get(vector->value, "accesses"),
            .instruction = json_object_get(vector->value, "instruction"),
            .outcome = outcome,
            .differences = differences,
        });
        if (differences->length == 0 && !differences->failed)
            *matched |= UINT64_C(1) << i;
        vmxsim_text_clear(&others);
    }
    if (*matched == 0)
        vmxsim_text_add(&file->reason, "%s", first.bytes != NULL ? first.bytes : "");
    if (*matched == 0 && count > 1)
        vmxsim_text_add(&file->reason,
                        "(differs from each of %zu alternatives; this is the first)\n", count);
    vmxsim_text_free(&first);
    vmxsim_text_free(&others);
    return *matched != 0;
}
