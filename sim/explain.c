/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names, and the phrases that say what an access came to.
 * Source: Intel SDM volume 3, "VM-Exit Information Fields", "Basic Exit Reasons", "VM Instruction Error Numbers",
 * "Exceptions and Interrupts".
 */
#include "internal/explain.h"
#include "internal/array.h"

#include "vmxcore/defs/exit_reason.h"
#include "vmxcore/defs/paging.h"

#include <inttypes.h>

/* ---- Names ---- */

static const char *const exit_reason_names[] = {
#define VMXC_EXIT_REASON(number, name, manual_name) [number] = (manual_name),
#include "vmxcore/defs/exit_reasons.def"
};

static const char *const vm_error_texts[] = {
#define VMXC_VM_ERROR(number, name, sentence) [number] = (sentence),
#include "vmxcore/defs/vm_errors.def"
};

static const char *const vector_names[] = {
    [VMXC_VECTOR_DE] = "#DE", [VMXC_VECTOR_DB] = "#DB", [VMXC_VECTOR_NMI] = "NMI",
    [VMXC_VECTOR_BP] = "#BP", [VMXC_VECTOR_OF] = "#OF", [VMXC_VECTOR_BR] = "#BR",
    [VMXC_VECTOR_UD] = "#UD", [VMXC_VECTOR_NM] = "#NM", [VMXC_VECTOR_DF] = "#DF",
    [VMXC_VECTOR_TS] = "#TS", [VMXC_VECTOR_NP] = "#NP", [VMXC_VECTOR_SS] = "#SS",
    [VMXC_VECTOR_GP] = "#GP", [VMXC_VECTOR_PF] = "#PF", [VMXC_VECTOR_MF] = "#MF",
    [VMXC_VECTOR_AC] = "#AC", [VMXC_VECTOR_MC] = "#MC", [VMXC_VECTOR_XM] = "#XM",
    [VMXC_VECTOR_VE] = "#VE", [VMXC_VECTOR_CP] = "#CP",
};

static const char *const memory_type_names[] = {
    [VMXC_MEMORY_TYPE_UC] = "UC", [VMXC_MEMORY_TYPE_WC] = "WC", [VMXC_MEMORY_TYPE_WT] = "WT",
    [VMXC_MEMORY_TYPE_WP] = "WP", [VMXC_MEMORY_TYPE_WB] = "WB", [VMXC_MEMORY_TYPE_UC_MINUS] = "UC-",
};

static const char *const access_type_names[] = {
    [VMXSIM_ACCESS_FETCH] = "fetch",
    [VMXSIM_ACCESS_READ] = "read",
    [VMXSIM_ACCESS_WRITE] = "write",
    [VMXSIM_ACCESS_RMW] = "rmw",
};

static const char *const interruption_type_names[] = {
    "external interrupt", "reserved type 1",        "NMI",
    "hardware exception", "software interrupt",     "privileged software exception",
    "software exception", "event of type 7, other",
};

static const char *lookup(const char *const names[], size_t count, size_t index)
{
    return index < count ? names[index] : NULL;
}

const char *vmxsim_exit_reason_name(uint32_t basic_reason)
{
    return lookup(exit_reason_names, COUNT_OF(exit_reason_names), basic_reason);
}

const char *vmxsim_vm_instruction_error_text(uint32_t number)
{
    return lookup(vm_error_texts, COUNT_OF(vm_error_texts), number);
}

const char *vmxsim_vector_name(uint8_t vector)
{
    return lookup(vector_names, COUNT_OF(vector_names), vector);
}

const char *vmxsim_memory_type_name(enum vmxc_memory_type type)
{
    return lookup(memory_type_names, COUNT_OF(memory_type_names), (size_t)type);
}

const char *vmxsim_interruption_type_name(unsigned type)
{
    return lookup(interruption_type_names, COUNT_OF(interruption_type_names), type);
}

const char *vmxsim_access_type_name(enum vmxsim_access_type type)
{
    return lookup(access_type_names, COUNT_OF(access_type_names), (size_t)type);
}

struct vmxsim_rights_name vmxsim_rights_name(uint64_t rights)
{
    return (struct vmxsim_rights_name){{
        (rights & VMXC_EPT_READ) ? 'r' : '-',
        (rights & VMXC_EPT_WRITE) ? 'w' : '-',
        (rights & VMXC_EPT_EXECUTE) ? 'x' : '-',
        '\0',
    }};
}

/* ---- Phrases ---- */

void vmxsim_phrase_exit_reason(struct vmxsim_text *text, uint32_t basic_reason)
{
    const char *name = vmxsim_exit_reason_name(basic_reason);
    vmxsim_text_add(text, "%" PRIu32 " (%s)", basic_reason, name != NULL ? name : "not in use");
}

void vmxsim_phrase_vector(struct vmxsim_text *text, uint8_t vector)
{
    const char *name = vmxsim_vector_name(vector);
    vmxsim_text_add(text, "%u", vector);
    if (name != NULL)
        vmxsim_text_add(text, " (%s)", name);
}

void vmxsim_phrase_size(struct vmxsim_text *text, uint64_t bytes)
{
    static const char units[] = "BKMG";
    size_t unit = 0;
    while (unit < 3 && bytes >= 1024 && bytes % 1024 == 0) {
        bytes /= 1024;
        unit++;
    }
    vmxsim_text_add(text, "%" PRIu64 "%c", bytes, units[unit]);
}

void vmxsim_phrase_data(struct vmxsim_text *text, const uint8_t *data, uint32_t size)
{
    if (size > 8) {
        vmxsim_text_add(text, "bytes");
        for (uint32_t i = 0; i < size; i++)
            vmxsim_text_add(text, " %02x", data[i]);
        return;
    }
    uint64_t value = 0;
    for (uint32_t i = size; i > 0; i--)
        value = value << 8 | data[i - 1];
    vmxsim_text_add(text, "0x%" PRIx64, value);
}

void vmxsim_phrase_interruption(struct vmxsim_text *text, uint32_t information)
{
    const size_t type = VMXC_FIELD_GET((uint64_t)information, VMXC_INTERRUPTION_TYPE);
    vmxsim_text_add(text, "0x%" PRIx32 ": ", information);
    if (!(information & VMXC_INTERRUPTION_VALID)) {
        vmxsim_text_add(text, "not valid");
        return;
    }
    vmxsim_text_add(text, "%s ", interruption_type_names[type]);
    vmxsim_phrase_vector(text, (uint8_t)(information & VMXC_INTERRUPTION_VECTOR));
}

/* ---- Outcomes ---- */

static void add_page(struct vmxsim_text *text, const struct vmxsim_page_translation *page,
                     bool has_linear)
{
    vmxsim_text_add(text, "         ");
    if (has_linear)
        vmxsim_text_add(text, "linear 0x%" PRIx64 " -> ", page->linear);
    vmxsim_text_add(text, "guest-physical 0x%" PRIx64 " -> host-physical 0x%" PRIx64, page->gpa,
                    page->hpa);
    if (page->length != 0)
        vmxsim_text_add(text, ", %" PRIu32 " %s", page->length,
                        page->length == 1 ? "byte" : "bytes");
    if (page->guest_page_size != 0) {
        vmxsim_text_add(text, "; guest page ");
        vmxsim_phrase_size(text, page->guest_page_size);
        vmxsim_text_add(text, " %s%s%s", page->user ? "user" : "supervisor",
                        page->writable ? " writable" : "", page->no_execute ? " no-execute" : "");
    }
    if (page->ept_page_size != 0) {
        vmxsim_text_add(text, "; EPT page ");
        vmxsim_phrase_size(text, page->ept_page_size);
        vmxsim_text_add(text, " %s", vmxsim_rights_name(page->ept_rights).text);
    }
    const char *type = vmxsim_memory_type_name(page->memory_type);
    vmxsim_text_add(text, "; memory type %s\n", type != NULL ? type : "?");
}

static void add_complete(struct vmxsim_text *text, const struct vmxsim_access *access,
                         const struct vmxsim_outcome *outcome)
{
    vmxsim_text_add(text, "outcome: complete");
    if (access != NULL) {
        if (access->type != VMXSIM_ACCESS_WRITE) {
            vmxsim_text_add(text, access->type == VMXSIM_ACCESS_FETCH ? ", fetched " : ", read ");
            vmxsim_phrase_data(text, outcome->data, access->size);
        }
        if (access->type == VMXSIM_ACCESS_WRITE || access->type == VMXSIM_ACCESS_RMW) {
            vmxsim_text_add(text, ", stored ");
            vmxsim_phrase_data(text, access->data, access->size);
        }
    }
    vmxsim_text_add(text, "\n");
    for (uint32_t i = 0; i < outcome->page_count; i++)
        add_page(text, &outcome->page[i], access != NULL);
}

static void add_error_code(struct vmxsim_text *text, const struct vmxsim_outcome *outcome)
{
    if (!outcome->has_error_code)
        return;
    vmxsim_text_add(text, ", error code 0x%" PRIx32, outcome->error_code);
    if (outcome->vector != VMXC_VECTOR_PF)
        return;
    vmxsim_text_add(text, ": ");
    vmxsim_phrase_page_fault(text, outcome->error_code);
}

static void add_guest_exception(struct vmxsim_text *text, const struct vmxsim_outcome *outcome)
{
    vmxsim_text_add(text, "outcome: guest exception ");
    vmxsim_phrase_vector(text, outcome->vector);
    add_error_code(text, outcome);
    if (outcome->vector == VMXC_VECTOR_PF)
        vmxsim_text_add(text, "; CR2 0x%" PRIx64, outcome->cr2);
    vmxsim_text_add(text, "\n");
}

static void add_addresses(struct vmxsim_text *text, const struct vmxsim_outcome *outcome)
{
    if (outcome->guest_physical_valid)
        vmxsim_text_add(text, "; guest-physical 0x%" PRIx64, outcome->guest_physical);
    if (outcome->guest_linear_valid)
        vmxsim_text_add(text, ", linear 0x%" PRIx64, outcome->guest_linear);
}

static void add_exit(struct vmxsim_text *text, const struct vmxsim_outcome *outcome)
{
    vmxsim_text_add(text, "outcome: VM exit ");
    vmxsim_phrase_exit_reason(text, outcome->exit_reason);
    if (outcome->qualification_defined)
        vmxsim_text_add(text, ", qualification 0x%" PRIx64, outcome->qualification);
    if (outcome->exit_reason == VMXC_EXIT_REASON_EPT_VIOLATION) {
        vmxsim_text_add(text, ": ");
        vmxsim_phrase_qualification(text, outcome->qualification);
    }
    add_addresses(text, outcome);
    vmxsim_text_add(text, "\n");
    if (outcome->exit_reason != VMXC_EXIT_REASON_EXCEPTION_OR_NMI)
        return;
    vmxsim_text_add(text, "         interruption information ");
    vmxsim_phrase_interruption(text, outcome->interruption_info);
    add_error_code(text, outcome);
    vmxsim_text_add(text, "\n");
}

static void add_ve_information(struct vmxsim_text *text, const struct vmxsim_outcome *outcome)
{
    vmxsim_text_add(text,
                    "         virtualization exception instead of VM exit 48, qualification ");
    vmxsim_text_add(text, "0x%" PRIx64 ": ", outcome->ve_qualification);
    vmxsim_phrase_qualification(text, outcome->ve_qualification);
    vmxsim_text_add(text, "; guest-physical 0x%" PRIx64 ", linear 0x%" PRIx64 "\n",
                    outcome->ve_guest_physical, outcome->ve_guest_linear);
}

void vmxsim_text_outcome(struct vmxsim_text *text, const struct vmxsim_access *access,
                         const struct vmxsim_outcome *outcome)
{
    switch (outcome->kind) {
    case VMXSIM_OUTCOME_COMPLETE:
        add_complete(text, access, outcome);
        return;
    case VMXSIM_OUTCOME_GUEST_EXCEPTION:
        add_guest_exception(text, outcome);
        break;
    case VMXSIM_OUTCOME_VM_EXIT:
        add_exit(text, outcome);
        break;
    }
    if (outcome->ve_converted)
        add_ve_information(text, outcome);
    const struct vmxsim_walk_rule_info *rule = vmxsim_walk_rule_info(outcome->rule);
    vmxsim_text_add(text, "rule:    %s: %s\n         Intel SDM volume 3, \"%s\"\n", rule->id,
                    rule->sentence, rule->section);
}

char *vmxsim_explain_access(const struct vmxsim_access *access,
                            const struct vmxsim_outcome *outcome, const struct vmxsim_trail *trail)
{
    struct vmxsim_text text = {.failed = false};
    if (access != NULL)
        vmxsim_text_add(&text, "access:  %s%s%s, %" PRIu32 " %s at linear 0x%" PRIx64 "\n",
                        access->implicit ? "implicit supervisor-mode " : "",
                        access->shadow_stack ? "shadow-stack " : "",
                        vmxsim_access_type_name(access->type), access->size,
                        access->size == 1 ? "byte" : "bytes", access->linear);
    if (trail != NULL)
        vmxsim_text_trail(&text, trail);
    vmxsim_text_outcome(&text, access, outcome);
    return vmxsim_text_take(&text);
}
