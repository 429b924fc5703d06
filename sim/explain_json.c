/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An access, its outcome and its trail as JSON. Keys come in a fixed order; those that do not apply are left out.
 */
#include "internal/explain.h"

#include "vmxcore/defs/exit_reason.h"
#include "vmxcore/defs/paging.h"

static const char *or_question_mark(const char *name)
{
    return name != NULL ? name : "?";
}

/* A phrase as a string value. */
static void write_phrase(struct vmxsim_writer *writer, const char *key, struct vmxsim_text *phrase)
{
    vmxsim_text_add(phrase, "%s", "");
    if (phrase->failed)
        writer->text.failed = true;
    else
        vmxsim_write_string(writer, key, phrase->bytes);
    vmxsim_text_free(phrase);
}

static void write_data(struct vmxsim_writer *writer, const char *key, const uint8_t *data,
                       uint32_t size)
{
    struct vmxsim_text phrase = {.failed = false};
    vmxsim_phrase_data(&phrase, data, size);
    write_phrase(writer, key, &phrase);
}

static void write_access(struct vmxsim_writer *writer, const struct vmxsim_access *access)
{
    vmxsim_write_begin(writer, "access", '{');
    vmxsim_write_string(writer, "type", or_question_mark(vmxsim_access_type_name(access->type)));
    vmxsim_write_hex(writer, "linear", access->linear);
    vmxsim_write_number(writer, "size", access->size);
    if (access->implicit)
        vmxsim_write_bool(writer, "implicit", true);
    if (access->shadow_stack)
        vmxsim_write_bool(writer, "shadow_stack", true);
    if (access->type == VMXSIM_ACCESS_WRITE || access->type == VMXSIM_ACCESS_RMW)
        write_data(writer, "value", access->data, access->size);
    vmxsim_write_end(writer, '}');
}

static const char *step_kind_name(enum vmxsim_trail_kind kind)
{
    switch (kind) {
    case VMXSIM_TRAIL_EPT_ENTRY:
        return "ept_entry";
    case VMXSIM_TRAIL_GUEST_ENTRY:
        return "guest_entry";
    case VMXSIM_TRAIL_PML_WRITE:
        return "pml_write";
    case VMXSIM_TRAIL_VE_WRITE:
        return "ve_write";
    case VMXSIM_TRAIL_SPPT_ENTRY:
        return "sppt_entry";
    }
    return "?";
}

static void write_entry(struct vmxsim_writer *writer, const struct vmxsim_trail *trail,
                        const struct vmxsim_trail_entry *entry)
{
    const bool guest = entry->kind == VMXSIM_TRAIL_GUEST_ENTRY;
    struct vmxsim_text flags = {.failed = false};

    vmxsim_write_string(writer, "entry",
                        guest ? vmxsim_guest_entry_name(entry->level)
                              : vmxsim_ept_entry_name(entry->level));
    vmxsim_write_number(writer, "level", entry->level);
    if (!guest)
        vmxsim_write_number(writer, "guest_level", entry->guest_level);
    vmxsim_write_bool(writer, "leaf", entry->leaf);
    if (entry->is_register)
        vmxsim_write_bool(writer, "register", true);
    vmxsim_phrase_entry_flags(&flags, entry);
    write_phrase(writer, "flags", &flags);
    vmxsim_write_hex(writer, "target", vmxsim_trail_target(trail, entry));
}

static void write_sppt_entry(struct vmxsim_writer *writer, const struct vmxsim_trail *trail,
                             const struct vmxsim_trail_entry *entry)
{
    struct vmxsim_text flags = {.failed = false};

    vmxsim_write_string(writer, "entry", vmxsim_sppt_entry_name(entry->level));
    vmxsim_write_number(writer, "level", entry->level);
    vmxsim_phrase_entry_flags(&flags, entry);
    write_phrase(writer, "flags", &flags);
    if (!entry->leaf)
        vmxsim_write_hex(writer, "target", vmxsim_trail_target(trail, entry));
}

static void write_step(struct vmxsim_writer *writer, const struct vmxsim_trail *trail,
                       const struct vmxsim_trail_entry *entry)
{
    const bool is_entry =
        entry->kind == VMXSIM_TRAIL_EPT_ENTRY || entry->kind == VMXSIM_TRAIL_GUEST_ENTRY;

    vmxsim_write_begin(writer, NULL, '{');
    vmxsim_write_string(writer, "kind", step_kind_name(entry->kind));
    vmxsim_write_number(writer, "page", entry->page);
    if (is_entry)
        write_entry(writer, trail, entry);
    if (entry->kind == VMXSIM_TRAIL_SPPT_ENTRY)
        write_sppt_entry(writer, trail, entry);
    if (!entry->is_register) {
        vmxsim_write_hex(writer, "hpa", entry->hpa);
        vmxsim_write_hex(writer, "gpa", entry->gpa);
    }
    vmxsim_write_hex(writer, "value", entry->value);
    if (entry->updated != entry->value)
        vmxsim_write_hex(writer, "updated", entry->updated);
    if (entry->cached)
        vmxsim_write_bool(writer, "cached", true);
    if (entry->stale)
        vmxsim_write_hex(writer, "now", entry->now);
    if (entry->verdict != VMXSIM_RULE_NONE) {
        vmxsim_write_string(writer, "rule", vmxsim_walk_rule_info(entry->verdict)->id);
        vmxsim_write_hex(writer, "offending", entry->offending);
    }
    vmxsim_write_end(writer, '}');
}

static void write_trail(struct vmxsim_writer *writer, const struct vmxsim_trail *trail)
{
    vmxsim_write_begin(writer, "trail", '[');
    for (uint32_t i = 0; i < trail->count; i++)
        write_step(writer, trail, &trail->entry[i]);
    vmxsim_write_end(writer, ']');
}

static void write_page(struct vmxsim_writer *writer, const struct vmxsim_page_translation *page)
{
    vmxsim_write_begin(writer, NULL, '{');
    vmxsim_write_hex(writer, "linear", page->linear);
    vmxsim_write_hex(writer, "gpa", page->gpa);
    vmxsim_write_hex(writer, "hpa", page->hpa);
    vmxsim_write_number(writer, "length", page->length);
    vmxsim_write_hex(writer, "guest_page_size", page->guest_page_size);
    vmxsim_write_hex(writer, "ept_page_size", page->ept_page_size);
    vmxsim_write_string(writer, "ept_rights", vmxsim_rights_name(page->ept_rights).text);
    vmxsim_write_bool(writer, "ept_user_execute", page->ept_user_execute);
    vmxsim_write_bool(writer, "user", page->user);
    vmxsim_write_bool(writer, "writable", page->writable);
    vmxsim_write_bool(writer, "no_execute", page->no_execute);
    vmxsim_write_number(writer, "protection_key", page->protection_key);
    vmxsim_write_string(writer, "memory_type",
                        or_question_mark(vmxsim_memory_type_name(page->memory_type)));
    vmxsim_write_end(writer, '}');
}

static void write_exception(struct vmxsim_writer *writer, const struct vmxsim_outcome *outcome)
{
    vmxsim_write_number(writer, "vector", outcome->vector);
    if (outcome->has_error_code)
        vmxsim_write_hex(writer, "error_code", outcome->error_code);
    if (outcome->vector == VMXC_VECTOR_PF)
        vmxsim_write_hex(writer, "cr2", outcome->cr2);
}

static void write_exit(struct vmxsim_writer *writer, const struct vmxsim_outcome *outcome)
{
    struct vmxsim_text phrase = {.failed = false};

    vmxsim_write_number(writer, "exit_reason", outcome->exit_reason);
    vmxsim_write_string(writer, "exit_reason_name",
                        or_question_mark(vmxsim_exit_reason_name(outcome->exit_reason)));
    if (outcome->qualification_defined)
        vmxsim_write_hex(writer, "qualification", outcome->qualification);
    if (outcome->exit_reason == VMXC_EXIT_REASON_EPT_VIOLATION) {
        vmxsim_phrase_qualification(&phrase, outcome->qualification);
        write_phrase(writer, "meaning", &phrase);
    }
    if (outcome->guest_physical_valid)
        vmxsim_write_hex(writer, "guest_physical", outcome->guest_physical);
    if (outcome->guest_linear_valid)
        vmxsim_write_hex(writer, "guest_linear", outcome->guest_linear);
    if (outcome->exit_reason == VMXC_EXIT_REASON_EXCEPTION_OR_NMI) {
        vmxsim_write_hex(writer, "intr_info", outcome->interruption_info);
        if (outcome->has_error_code)
            vmxsim_write_hex(writer, "intr_error_code", outcome->interruption_error_code);
    }
}

static void write_ve(struct vmxsim_writer *writer, const struct vmxsim_outcome *outcome)
{
    vmxsim_write_begin(writer, "virtualization_exception", '{');
    vmxsim_write_hex(writer, "qualification", outcome->ve_qualification);
    vmxsim_write_hex(writer, "guest_physical", outcome->ve_guest_physical);
    vmxsim_write_hex(writer, "guest_linear", outcome->ve_guest_linear);
    vmxsim_write_end(writer, '}');
}

static void write_rule(struct vmxsim_writer *writer, enum vmxsim_walk_rule rule)
{
    const struct vmxsim_walk_rule_info *info = vmxsim_walk_rule_info(rule);
    vmxsim_write_begin(writer, "rule", '{');
    vmxsim_write_string(writer, "id", info->id);
    vmxsim_write_string(writer, "sentence", info->sentence);
    vmxsim_write_string(writer, "section", info->section);
    vmxsim_write_end(writer, '}');
}

static void write_outcome(struct vmxsim_writer *writer, const struct vmxsim_access *access,
                          const struct vmxsim_outcome *outcome)
{
    static const char *const kinds[] = {
        [VMXSIM_OUTCOME_COMPLETE] = "complete",
        [VMXSIM_OUTCOME_GUEST_EXCEPTION] = "guest_exception",
        [VMXSIM_OUTCOME_VM_EXIT] = "exit",
    };
    const bool complete = outcome->kind == VMXSIM_OUTCOME_COMPLETE;

    vmxsim_write_begin(writer, "outcome", '{');
    vmxsim_write_string(writer, "result", kinds[outcome->kind]);
    if (outcome->kind == VMXSIM_OUTCOME_GUEST_EXCEPTION)
        write_exception(writer, outcome);
    if (outcome->kind == VMXSIM_OUTCOME_VM_EXIT)
        write_exit(writer, outcome);
    if (outcome->ve_converted)
        write_ve(writer, outcome);
    if (complete && access != NULL && access->type != VMXSIM_ACCESS_WRITE)
        write_data(writer, "value", outcome->data, access->size);
    vmxsim_write_begin(writer, "pages", '[');
    for (uint32_t i = 0; i < outcome->page_count; i++)
        write_page(writer, &outcome->page[i]);
    vmxsim_write_end(writer, ']');
    if (!complete)
        write_rule(writer, outcome->rule);
    vmxsim_write_end(writer, '}');
}

char *vmxsim_explain_access_json(const struct vmxsim_access *access,
                                 const struct vmxsim_outcome *outcome,
                                 const struct vmxsim_trail *trail)
{
    struct vmxsim_writer writer = {.depth = 0};
    vmxsim_write_begin(&writer, NULL, '{');
    if (access != NULL)
        write_access(&writer, access);
    write_outcome(&writer, access, outcome);
    if (trail != NULL)
        write_trail(&writer, trail);
    vmxsim_write_end(&writer, '}');
    return vmxsim_text_take(&writer.text);
}
