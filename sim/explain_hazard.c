/* SPDX-License-Identifier: Apache-2.0 */
/* Hazards as text and as JSON. */
#include "internal/explain.h"

#include <inttypes.h>

static bool is_vmxon(const struct vmxsim_hazard *hazard)
{
    return hazard->rule == VMXSIM_HAZARD_VMXON_ACCESS || hazard->rule == VMXSIM_HAZARD_VMXON_SHARED;
}

static void add_access(struct vmxsim_text *text, const struct vmxsim_hazard *hazard)
{
    if (hazard->found_later)
        vmxsim_text_add(text, ": contents of 0x%" PRIx64 " to 0x%" PRIx64 " changed, seen later",
                        hazard->hpa, hazard->hpa + hazard->length - 1);
    else if (hazard->length > 0)
        vmxsim_text_add(text, ": %s of %" PRIu64 " %s at 0x%" PRIx64,
                        hazard->write ? "write" : "read", hazard->length,
                        hazard->length == 1 ? "byte" : "bytes", hazard->hpa);
}

static bool is_translation(const struct vmxsim_hazard *hazard)
{
    return hazard->rule == VMXSIM_HAZARD_TLB_EPT || hazard->rule == VMXSIM_HAZARD_TLB_PAGING;
}

static void add_region(struct vmxsim_text *text, const struct vmxsim_hazard *hazard)
{
    vmxsim_text_add(text, "%s at 0x%" PRIx64 " of processor %" PRIu32,
                    is_vmxon(hazard) ? "VMXON region" : "VMCS", hazard->region_hpa,
                    hazard->processor);
    if (hazard->by_processor)
        vmxsim_text_add(text, ", used by processor %" PRIu32, hazard->other_processor);
    add_access(text, hazard);
}

static const char *address_name(const struct vmxsim_hazard *hazard)
{
    return hazard->rule == VMXSIM_HAZARD_TLB_EPT ? "guest-physical" : "linear";
}

static void add_translation(struct vmxsim_text *text, const struct vmxsim_hazard *hazard)
{
    vmxsim_text_add(text,
                    "cached translation of %s 0x%" PRIx64 " on processor %" PRIu32
                    ": the entry of level %u at 0x%" PRIx64 " was 0x%016" PRIx64
                    " and is 0x%016" PRIx64,
                    address_name(hazard), hazard->address, hazard->processor, hazard->level,
                    hazard->hpa, hazard->cached, hazard->now);
}

char *vmxsim_explain_hazard(const struct vmxsim_hazard *hazard)
{
    const struct vmxsim_hazard_rule_info *rule = vmxsim_hazard_rule_info(hazard->rule);
    struct vmxsim_text text = {.failed = false};

    vmxsim_text_add(&text, "hazard:  ");
    if (is_translation(hazard))
        add_translation(&text, hazard);
    else
        add_region(&text, hazard);
    vmxsim_text_add(&text, "\nrule:    %s: %s\n         Intel SDM volume 3, \"%s\"\n", rule->id,
                    rule->sentence, rule->section);
    return vmxsim_text_take(&text);
}

static void write_region(struct vmxsim_writer *writer, const struct vmxsim_hazard *hazard)
{
    vmxsim_write_hex(writer, "region", hazard->region_hpa);
    if (hazard->by_processor)
        vmxsim_write_number(writer, "other_processor", hazard->other_processor);
    if (hazard->length == 0)
        return;
    vmxsim_write_string(writer, "access", hazard->write ? "write" : "read");
    vmxsim_write_hex(writer, "address", hazard->hpa);
    vmxsim_write_number(writer, "length", hazard->length);
    vmxsim_write_bool(writer, "found_later", hazard->found_later);
}

static void write_translation(struct vmxsim_writer *writer, const struct vmxsim_hazard *hazard)
{
    vmxsim_write_string(writer, "translated", address_name(hazard));
    vmxsim_write_hex(writer, "address", hazard->address);
    vmxsim_write_number(writer, "level", hazard->level);
    vmxsim_write_hex(writer, "hpa", hazard->hpa);
    vmxsim_write_hex(writer, "cached", hazard->cached);
    vmxsim_write_hex(writer, "now", hazard->now);
}

char *vmxsim_explain_hazard_json(const struct vmxsim_hazard *hazard)
{
    const struct vmxsim_hazard_rule_info *rule = vmxsim_hazard_rule_info(hazard->rule);
    struct vmxsim_writer writer = {.depth = 0};

    vmxsim_write_begin(&writer, NULL, '{');
    vmxsim_write_number(&writer, "processor", hazard->processor);
    if (is_translation(hazard))
        write_translation(&writer, hazard);
    else
        write_region(&writer, hazard);
    vmxsim_write_begin(&writer, "rule", '{');
    vmxsim_write_string(&writer, "id", rule->id);
    vmxsim_write_string(&writer, "sentence", rule->sentence);
    vmxsim_write_string(&writer, "section", rule->section);
    vmxsim_write_end(&writer, '}');
    vmxsim_write_end(&writer, '}');
    return vmxsim_text_take(&writer.text);
}
