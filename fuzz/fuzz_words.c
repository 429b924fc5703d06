/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hardware words of any value, taken apart: by the model for people, and by libvmxcore for hypervisors.
 *
 *  - The fields of a word are in order, do not overlap, lie within it, and hold what the word has there; the rest is 0.
 *  - A word is valid unless one of its fields is wrong. Text and JSON can be made of it, and the JSON is JSON.
 *  - A decoded event that can be injected encodes to the same word; capabilities agree with the questions that are asked of them.
 *
 * Input: profile (1; bit 7: JSON instead of text), kind of word (1), parameter (1), the word (vmxsim_fuzz_value), another (vmxsim_fuzz_value).
 */
#include "harness.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "vmxcore/caps.h"
#include "vmxcore/exit_info.h"
#include "vmxcore/insn_ops.h"
#include "vmxcore/vmcs.h"
#include "vmxsim/explain.h"

enum { PROFILES = 4 };

enum kind {
    QUALIFICATION,
    EPTP,
    EPT_ENTRY,
    PAGE_FAULT_ERROR,
    CONTROLS,
    ACCESS_RIGHTS,
    VM_FUNCTIONS,
    EXCEPTION_BITMAP,
    ACTIVITY,
    INTERRUPTIBILITY,
    PENDING_DEBUG,
    INTERRUPTION,
    IO_QUALIFICATION,
    CR_QUALIFICATION,
    EXIT_REASON,
    EXIT_QUALIFICATION,
    INSTRUCTION_INFO,
    NAMES,
    EVENT,
    CAPABILITIES,
    DIFFERENCE,
    RULE,
    KINDS
};

/* One word to take apart. */
struct trial {
    const struct vmxsim_profile *profile;
    enum kind kind;
    bool json; /* instead of text */
    unsigned parameter;
    uint64_t word, other;
};

/* ---- The model's words ---- */

static void check_json(char *text)
{
    REQUIRE(text != NULL, "no JSON");
    json_t *const json = json_loads(text, JSON_DECODE_ANY, NULL);
    REQUIRE(json != NULL, "no JSON: %s", text);
    json_decref(json);
    free(text);
}

static void check_text(char *text)
{
    REQUIRE(text != NULL && text[0] != '\0', "no text");
    free(text);
}

static uint64_t bits_of(const struct vmxsim_decoded_field *field)
{
    const uint64_t up_to_high = field->high == 63 ? UINT64_MAX : (UINT64_C(2) << field->high) - 1;

    return up_to_high & ~((UINT64_C(1) << field->low) - 1);
}

static bool is_exit_information(enum kind kind)
{
    switch (kind) {
    case QUALIFICATION:
    case IO_QUALIFICATION:
    case CR_QUALIFICATION:
    case EXIT_REASON:
    case EXIT_QUALIFICATION:
    case INSTRUCTION_INFO:
        return true;
    default:
        return false;
    }
}

/* Exit information is shown whole; of other words, what is meant to be as it is (bits that must be 1 ...) may be left out. */
static void check_decoded(const struct vmxsim_decoded *decoded, bool complete, bool json)
{
    uint64_t seen = 0;
    bool wrong = false;

    REQUIRE(decoded->count <= VMXSIM_DECODED_MAX_FIELDS && decoded->title != NULL,
            "%" PRIu32 " fields", decoded->count);
    for (uint32_t i = 0; i < decoded->count; i++) {
        const struct vmxsim_decoded_field *const field = &decoded->field[i];
        REQUIRE(field->high >= field->low && field->high < 64, "%s: bits %d:%d", decoded->title,
                field->high, field->low);
        REQUIRE((seen & bits_of(field)) == 0, "%s of %#" PRIx64 ": bits %d:%d twice",
                decoded->title, decoded->raw, field->high, field->low);
        REQUIRE(field->value == (decoded->raw & bits_of(field)) >> field->low,
                "%s: bits %d:%d are not %#" PRIx64, decoded->title, field->high, field->low,
                field->value);
        seen |= bits_of(field);
        wrong = wrong || field->wrong;
    }
    REQUIRE((decoded->raw & ~seen) == 0 || !complete, "%s of %#" PRIx64 " leaves out %#" PRIx64,
            decoded->title, decoded->raw, decoded->raw & ~seen);
    REQUIRE(decoded->valid == !wrong, "%s of %#" PRIx64 ": valid is %d", decoded->title,
            decoded->raw, decoded->valid);
    if (json)
        check_json(vmxsim_decoded_json(decoded));
    else
        check_text(vmxsim_decoded_text(decoded));
}

/* False: there is no such layout. */
static bool decode(const struct trial *trial, struct vmxsim_decoded *decoded)
{
    const struct vmxsim_features *const features = vmxsim_profile_features(trial->profile);
    const uint32_t low = (uint32_t)trial->word;

    switch (trial->kind) {
    case QUALIFICATION:
        vmxsim_decode_qualification(trial->word, decoded);
        break;
    case EPTP:
        vmxsim_decode_eptp(trial->word, features, decoded);
        break;
    case EPT_ENTRY:
        vmxsim_decode_ept_entry(trial->word, trial->parameter % 7, features, decoded);
        break;
    case PAGE_FAULT_ERROR:
        vmxsim_decode_page_fault_error(low, decoded);
        break;
    case CONTROLS:
        vmxsim_decode_controls((enum vmxc_control_word)(trial->parameter % VMXC_CONTROL_WORD_COUNT),
                               trial->word, trial->profile, decoded);
        break;
    case ACCESS_RIGHTS:
        vmxsim_decode_access_rights(low, decoded);
        break;
    case VM_FUNCTIONS:
        vmxsim_decode_vm_functions(trial->word, trial->profile, decoded);
        break;
    case EXCEPTION_BITMAP:
        vmxsim_decode_exception_bitmap(low, decoded);
        break;
    case ACTIVITY:
        vmxsim_decode_activity(low, decoded);
        break;
    case INTERRUPTIBILITY:
        vmxsim_decode_interruptibility(low, decoded);
        break;
    case PENDING_DEBUG:
        vmxsim_decode_pending_debug(trial->word, decoded);
        break;
    case INTERRUPTION:
        vmxsim_decode_interruption_info(
            (enum vmxsim_interruption_field)(trial->parameter % VMXSIM_INTERRUPTION_FIELD_COUNT),
            low, decoded);
        break;
    case IO_QUALIFICATION:
        vmxsim_decode_io_qualification(trial->word, decoded);
        break;
    case CR_QUALIFICATION:
        vmxsim_decode_cr_qualification(trial->word, decoded);
        break;
    case EXIT_REASON:
        vmxsim_decode_exit_reason(low, decoded);
        break;
    case EXIT_QUALIFICATION:
        return vmxsim_decode_exit_qualification(trial->parameter % 128, (uint8_t)trial->other,
                                                trial->word, decoded);
    case INSTRUCTION_INFO:
        return vmxsim_decode_instruction_info(trial->parameter % 128, low, decoded);
    default:
        return false;
    }
    return true;
}

/* The shorter ways to the same text. */
static void check_explained(const struct trial *trial)
{
    const struct vmxsim_features *const features = vmxsim_profile_features(trial->profile);

    check_text(vmxsim_explain_qualification(trial->word));
    check_text(vmxsim_explain_eptp(trial->word, features));
    check_text(vmxsim_explain_ept_entry(trial->word, trial->parameter % 7, features));
    check_text(vmxsim_explain_page_fault_error((uint32_t)trial->word));
}

/* Both halves have a table of VMCS fields, from the same rows. */
static void check_field(uint32_t encoding)
{
    const size_t ordinal = vmxsim_vmcs_ordinal(encoding);
    const struct vmxc_vmcs_field_info *const field = vmxc_vmcs_field_find(encoding);
    const char *const name = vmxc_vmcs_field_name(encoding);

    if (encoding & VMXC_VMCS_ENCODING_HIGH) {
        REQUIRE(field == NULL || vmxc_vmcs_field_mask(encoding) == UINT32_MAX,
                "field %#" PRIx32 " is wide", encoding);
        return;
    }
    REQUIRE((field != NULL) == (ordinal < VMXC_VMCS_FIELD_COUNT) &&
                (field != NULL) == (name != NULL),
            "field %#" PRIx32, encoding);
    if (field == NULL) {
        REQUIRE(vmxc_vmcs_field_mask(encoding) == 0 && !vmxc_vmcs_field_is_read_only(encoding),
                "no field %#" PRIx32 " has a mask", encoding);
        return;
    }
    REQUIRE(strcmp(name, vmxsim_vmcs_name(ordinal)) == 0 && vmxc_vmcs_field_lookup(name) == field &&
                vmxc_vmcs_field_at(ordinal) == field,
            "field %s", name);
    REQUIRE(vmxc_vmcs_field_mask(encoding) == vmxsim_vmcs_width_mask(encoding) &&
                vmxc_vmcs_field_is_read_only(encoding) ==
                    (VMXC_FIELD_GET((uint64_t)encoding, VMXC_VMCS_ENCODING_TYPE) ==
                     VMXC_VMCS_TYPE_READ_ONLY),
            "field %s", name);
}

static void check_names(const struct trial *trial)
{
    const uint32_t number = trial->parameter;

    check_field((uint32_t)trial->word);
    check_field(vmxsim_vmcs_encoding(trial->other % VMXC_VMCS_FIELD_COUNT));
    REQUIRE(vmxc_vm_error_status((enum vmxc_vm_error)number) != VMXC_OK, "error %" PRIu32, number);
    const char *const model = vmxsim_exit_reason_name(number);
    REQUIRE((model != NULL) == (vmxc_exit_reason_text((uint16_t)number) != NULL),
            "exit reason %" PRIu32, number);
    (void)vmxsim_vm_instruction_error_text(number);
    (void)vmxsim_vector_name((uint8_t)number);
    check_explained(trial);
}

/* Two VMCSs that differ in one field, and know all fields or all but that one. */
static void check_difference(const struct trial *trial)
{
    const size_t ordinal = (size_t)(trial->other % VMXC_VMCS_FIELD_COUNT);
    struct vmxsim_vmcs a = {.value = {0}}, b = {.value = {0}};
    uint64_t known[VMXSIM_VMCS_KNOWN_WORDS];
    uint32_t different = 0;

    memset(known, 0xff, sizeof known);
    known[ordinal / 64] &= ~(UINT64_C(1) << ordinal % 64);
    a.value[ordinal] = trial->word & vmxsim_vmcs_width_mask(vmxsim_vmcs_encoding(ordinal));
    const uint64_t *const known_b = trial->parameter & 1 ? known : NULL;
    char *const text =
        (trial->json ? vmxsim_explain_vmcs_difference_json
                     : vmxsim_explain_vmcs_difference)(&a, NULL, &b, known_b, &different);
    REQUIRE(text != NULL, "no text");
    REQUIRE(different == (known_b == NULL && a.value[ordinal] != 0),
            "%" PRIu32 " differences in %s", different, vmxsim_vmcs_name(ordinal));
    if (trial->json)
        check_json(text);
    else
        free(text);
}

static void check_rule(const struct trial *trial)
{
    const enum vmxsim_entry_rule rule =
        (enum vmxsim_entry_rule)(trial->word % VMXSIM_ENTRY_RULE_COUNT);

    REQUIRE(vmxsim_entry_rule_by_id(vmxsim_entry_rule_info(rule)->id) == rule, "rule %d", rule);
    if (trial->json)
        check_json(vmxsim_explain_entry_rule_json(rule));
    else
        check_text(vmxsim_explain_entry_rule(rule));
}

/* ---- libvmxcore's words ---- */

#define EVENT_BITS UINT64_C(0x80000fff) /* valid, error code, type, vector */

/* What a VM exit reports of an event is what injects it again; software events take a length, too. */
static void check_event(const struct trial *trial)
{
    const uint32_t info = (uint32_t)trial->word;
    struct vmxc_event event;
    bool valid;
    uint32_t encoded;

    const enum vmxc_status status = vmxc_event_decode(info, (uint32_t)trial->other, &valid, &event);
    REQUIRE(status == VMXC_OK || status == VMXC_BAD_FORMAT, "event %#" PRIx32 ": status %d", info,
            status);
    if (status != VMXC_OK || !valid || vmxc_event_encode(&event, &encoded) != VMXC_OK)
        return;
    REQUIRE(encoded == (info & EVENT_BITS), "event %#" PRIx32 " becomes %#" PRIx32, info, encoded);
}

static void check_exit_words(const struct trial *trial)
{
    const uint16_t reason = (uint16_t)(trial->parameter % 128);
    struct vmxc_exit_instruction instruction;
    struct vmxsim_decoded decoded;
    struct vmxc_exit_cr cr;
    struct vmxc_exit_io io;

    const enum vmxc_status status =
        vmxc_exit_instruction(reason, (uint32_t)trial->word, &instruction);
    REQUIRE(status == VMXC_NOT_FOUND ||
                vmxsim_decode_instruction_info(reason, (uint32_t)trial->word, &decoded),
            "instruction information of reason %d: status %d", reason, status);
    vmxsim_decode_io_qualification(trial->word, &decoded);
    REQUIRE(!decoded.valid || vmxc_exit_io(trial->word, &io) == VMXC_OK, "I/O %#" PRIx64,
            trial->word);
    vmxsim_decode_cr_qualification(trial->word, &decoded);
    REQUIRE(!decoded.valid || vmxc_exit_cr(trial->word, &cr) == VMXC_OK, "CR access %#" PRIx64,
            trial->word);
}

static void check_negotiation(const struct trial *trial)
{
    const struct vmxc_caps_control_request request = {.wanted = trial->other & UINT32_MAX,
                                                      .required = trial->other >> 32};
    const uint64_t must = trial->word & UINT32_MAX, may = trial->word >> 32;
    uint64_t value = 0, missing = 0;

    const enum vmxc_status status = vmxc_caps_negotiate(trial->word, &request, &value, &missing);
    if (must & ~may) {
        REQUIRE(status == VMXC_INVALID_INPUT, "a contradictory capability: status %d", status);
    } else if (request.required & ~may) {
        REQUIRE(status == VMXC_UNSUPPORTED && missing == (request.required & ~may),
                "status %d, missing %#" PRIx64, status, missing);
    } else {
        REQUIRE(status == VMXC_OK && (value & must) == must && (value & ~may) == 0 &&
                    (value & request.required) == request.required &&
                    value == ((request.wanted & may) | request.required | must),
                "status %d, value %#" PRIx64, status, value);
    }
}

static void check_capabilities(const struct trial *trial)
{
    const struct vmxc_caps_ept_vpid caps = vmxc_caps_ept_vpid(trial->word);
    const struct vmxc_caps_feature_control control = vmxc_caps_feature_control(trial->word);
    const struct vmxc_caps_ept_request request = {
        .maxphyaddr = (uint8_t)(trial->other & 63),
        .levels = (uint8_t)(trial->other >> 6 & 7),
        .accessed_dirty = trial->other >> 9 & 1,
        .mode_based_execute = trial->other >> 10 & 1,
    };
    struct vmxc_ept_config config;

    REQUIRE(vmxc_caps_has_invept_single(trial->word) == (caps.invept && caps.invept_single) &&
                vmxc_caps_has_invvpid_all(trial->word) == (caps.invvpid && caps.invvpid_all) &&
                vmxc_caps_has_ept_levels(trial->word, 4) == caps.walk_4 &&
                vmxc_caps_has_ept_levels(trial->word, 5) == caps.walk_5,
            "EPT and VPID capabilities %#" PRIx64, trial->word);
    REQUIRE(vmxc_caps_allows_vmxon(trial->word, false) ==
                (control.locked && control.vmx_outside_smx),
            "feature control %#" PRIx64, trial->word);
    (void)vmxc_caps_basic(trial->word);
    (void)vmxc_caps_misc(trial->word);
    if (vmxc_caps_ept_config(trial->word, (uint32_t)(trial->other >> 32), &request, &config) ==
        VMXC_OK)
        REQUIRE(vmxc_caps_has_ept_levels(trial->word, request.levels) &&
                    (!request.accessed_dirty || caps.accessed_dirty),
                "an EPT configuration that the processor lacks");
    check_negotiation(trial);
}

/* ---- The experiment ---- */

static void run(const struct trial *trial)
{
    struct vmxsim_decoded decoded;

    switch (trial->kind) {
    case NAMES:
        check_names(trial);
        break;
    case EVENT:
        check_event(trial);
        check_exit_words(trial);
        break;
    case CAPABILITIES:
        check_capabilities(trial);
        break;
    case DIFFERENCE:
        check_difference(trial);
        break;
    case RULE:
        check_rule(trial);
        break;
    default:
        if (decode(trial, &decoded))
            check_decoded(&decoded, is_exit_information(trial->kind), trial->json);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct vmxsim_fuzz_input input = {.next = data, .left = size};
    struct trial trial;

    const unsigned first = (unsigned)vmxsim_fuzz_take(&input, 1);
    trial.profile = vmxsim_profile_builtin(vmxsim_profile_builtin_name(first % PROFILES));
    trial.json = first & 0x80;
    trial.kind = (enum kind)vmxsim_fuzz_below(&input, KINDS);
    trial.parameter = (unsigned)vmxsim_fuzz_take(&input, 1);
    trial.word = vmxsim_fuzz_value(&input);
    trial.other = vmxsim_fuzz_value(&input);
    run(&trial);
    return 0;
}
