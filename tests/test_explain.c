/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Explain: golden texts of trails and outcomes that the sample vectors do not reach, names, decoded words, and the
 * text builder underneath. Golden texts are tests/golden/explain-<name>.txt; run with VMXSIM_UPDATE_GOLDEN set to write
 * them.
 */
#include "vmxsim/explain.h"

#include "internal/explain.h"
#include "vmxcore/defs/exit_reason.h"
#include "vmxcore/defs/paging.h"

#include <check.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/suite.h"

/* ---- Golden texts ---- */

static void write_golden(const char *path, const char *text)
{
    FILE *const stream = fopen(path, "w");
    ck_assert_ptr_nonnull(stream);
    ck_assert_int_ge(fputs(text, stream), 0);
    ck_assert_int_eq(fclose(stream), 0);
}

/* Compares and frees `text`. */
static void expect_golden(const char *name, char *text)
{
    static char golden[65536];
    char path[512];
    ck_assert_ptr_nonnull(text);
    (void)snprintf(path, sizeof path, "%s/tests/golden/explain-%s.txt", VMXSIM_SOURCE_DIR, name);
    if (getenv("VMXSIM_UPDATE_GOLDEN") != NULL)
        write_golden(path, text);
    FILE *const stream = fopen(path, "r");
    ck_assert_msg(stream != NULL, "%s cannot be opened", path);
    golden[fread(golden, 1, sizeof golden - 1, stream)] = '\0';
    (void)fclose(stream);
    ck_assert_msg(strcmp(golden, text) == 0, "%s: expected\n%s\ngot\n%s", name, golden, text);
    free(text);
}

/* JSON that says the same must at least be JSON, with the members in the fixed order. */
static void expect_json(char *text)
{
    ck_assert_ptr_nonnull(text);
    json_error_t why;
    json_t *const value = json_loads(text, JSON_REJECT_DUPLICATES, &why);
    ck_assert_msg(value != NULL, "%s: %s", why.text, text);
    ck_assert(json_is_object(json_object_get(value, "outcome")));
    json_decref(value);
    free(text);
}

static struct vmxsim_trail_entry *step(struct vmxsim_trail *trail, enum vmxsim_trail_kind kind,
                                       uint8_t level, uint64_t hpa, uint64_t gpa, uint64_t value)
{
    struct vmxsim_trail_entry *const entry = &trail->entry[trail->count++];
    *entry = (struct vmxsim_trail_entry){
        .kind = kind, .level = level, .hpa = hpa, .gpa = gpa, .value = value, .updated = value};
    return entry;
}

static const struct vmxsim_access read_access = {
    .type = VMXSIM_ACCESS_READ, .linear = 0x401000, .size = 4};

/* ---- Trails ---- */

START_TEST(thirty_two_bit_paging_has_four_megabyte_pages)
{
    struct vmxsim_trail trail = {0};
    struct vmxsim_outcome outcome = {
        .kind = VMXSIM_OUTCOME_COMPLETE, .page_count = 1, .data = {0x78, 0x56, 0x34, 0x12}};
    struct vmxsim_trail_entry *entry =
        step(&trail, VMXSIM_TRAIL_GUEST_ENTRY, 2, 0x3004, 0x3004, 0x008021e3);
    entry->leaf = true;
    ck_assert_uint_eq(vmxsim_trail_target(&trail, entry), 0x100800000); /* PSE-36 */
    outcome.page[0] = (struct vmxsim_page_translation){.linear = 0x401000,
                                                       .gpa = 0x100801000,
                                                       .hpa = 0x100801000,
                                                       .length = 4,
                                                       .guest_page_size = 0x400000,
                                                       .writable = true,
                                                       .memory_type = VMXC_MEMORY_TYPE_WB};
    expect_golden("32bit", vmxsim_explain_access(&read_access, &outcome, &trail));
    expect_json(vmxsim_explain_access_json(&read_access, &outcome, &trail));

    /* a table instead, and a page below it */
    trail.count = 0;
    (void)step(&trail, VMXSIM_TRAIL_GUEST_ENTRY, 2, 0x3004, 0x3004, 0x00804007);
    entry = step(&trail, VMXSIM_TRAIL_GUEST_ENTRY, 1, 0x804004, 0x804004, 0xfffff107);
    entry->leaf = true;
    entry->updated |= VMXC_PTE_ACCESSED | VMXC_PTE_DIRTY;
    ck_assert_uint_eq(vmxsim_trail_target(&trail, entry), 0xfffff000);
    expect_golden("32bit-table", vmxsim_explain_access(&read_access, &outcome, &trail));
}
END_TEST

START_TEST(shadow_stack_accesses_say_so)
{
    static const struct vmxsim_access shadow_access = {
        .type = VMXSIM_ACCESS_READ, .linear = 0x401000, .size = 8, .shadow_stack = true};
    const struct vmxsim_outcome outcome = {.kind = VMXSIM_OUTCOME_GUEST_EXCEPTION,
                                           .rule = VMXSIM_RULE_PG_SHADOW_STACK,
                                           .vector = VMXC_VECTOR_PF,
                                           .has_error_code = true,
                                           .error_code = 0x41,
                                           .cr2 = 0x401000};
    expect_golden("shadow-stack", vmxsim_explain_access(&shadow_access, &outcome, NULL));
    expect_json(vmxsim_explain_access_json(&shadow_access, &outcome, NULL));
}
END_TEST

START_TEST(sub_page_permissions_have_lines)
{
    static const struct vmxsim_access write_access = {
        .type = VMXSIM_ACCESS_WRITE, .linear = 0x401080, .size = 4};
    struct vmxsim_trail trail = {0};
    struct vmxsim_trail_entry *entry =
        step(&trail, VMXSIM_TRAIL_EPT_ENTRY, 1, 0x6000, 0x5080, 0x2000000000005035);
    entry->leaf = true;
    (void)step(&trail, VMXSIM_TRAIL_SPPT_ENTRY, 4, 0x9000, 0x5080, 0xa001);
    (void)step(&trail, VMXSIM_TRAIL_SPPT_ENTRY, 3, 0xa000, 0x5080, 0xb001);
    entry = step(&trail, VMXSIM_TRAIL_SPPT_ENTRY, 2, 0xb000, 0x5080, 0xc000);
    entry->verdict = VMXSIM_RULE_EPT_SPP_MISS;
    entry->offending = 1;
    struct vmxsim_outcome outcome = {.kind = VMXSIM_OUTCOME_VM_EXIT,
                                     .rule = VMXSIM_RULE_EPT_SPP_MISS,
                                     .exit_reason = 66,
                                     .qualification_defined = true,
                                     .qualification = VMXC_BIT(11),
                                     .guest_physical_valid = true,
                                     .guest_physical = 0x5080,
                                     .guest_linear_valid = true,
                                     .guest_linear = 0x401080};
    expect_golden("spp-miss", vmxsim_explain_access(&write_access, &outcome, &trail));
    expect_json(vmxsim_explain_access_json(&write_access, &outcome, &trail));

    /* The vector instead: sub-pages 0 and 31 may be written, sub-page 1 may not. */
    entry->verdict = VMXSIM_RULE_NONE;
    entry->offending = 0;
    entry->value = entry->updated = 0xc001;
    entry = step(&trail, VMXSIM_TRAIL_SPPT_ENTRY, 1, 0xc028, 0x5080, 0x4000000000000001);
    entry->leaf = true;
    entry->verdict = VMXSIM_RULE_EPT_SPP_DENIED;
    entry->offending = 4;
    outcome.rule = VMXSIM_RULE_EPT_SPP_DENIED;
    outcome.exit_reason = 48;
    outcome.qualification = 0x1aa;
    expect_golden("spp-denied", vmxsim_explain_access(&write_access, &outcome, &trail));
    expect_json(vmxsim_explain_access_json(&write_access, &outcome, &trail));
}
END_TEST

START_TEST(pae_registers_logs_and_virtualization_exceptions_have_lines)
{
    struct vmxsim_trail trail = {0};
    struct vmxsim_trail_entry *entry = step(&trail, VMXSIM_TRAIL_GUEST_ENTRY, 3, 0, 0, 0x4001);
    entry->is_register = true;
    entry = step(&trail, VMXSIM_TRAIL_EPT_ENTRY, 2, 0x6000, 0x4008, 0xf7);
    entry->guest_level = 2;
    entry->leaf = true;
    entry->updated = 0x3f7;
    (void)step(&trail, VMXSIM_TRAIL_PML_WRITE, 0, 0x8ff8, 0x4000, 0x4000);
    entry = step(&trail, VMXSIM_TRAIL_GUEST_ENTRY, 2, 0x4008, 0x4008, 0x5007);
    entry = step(&trail, VMXSIM_TRAIL_EPT_ENTRY, 1, 0x7000, 0x5008, 0x80000000000050bc);
    entry->leaf = true;
    entry->guest_level = 1;
    entry->verdict = VMXSIM_RULE_EPT_RIGHTS;
    entry->offending = VMXC_EPT_READ | VMXC_EPT_WRITE;
    (void)step(&trail, VMXSIM_TRAIL_VE_WRITE, 0, 0x9000, 0x5008, 0x83);

    const struct vmxsim_outcome outcome = {.kind = VMXSIM_OUTCOME_GUEST_EXCEPTION,
                                           .rule = VMXSIM_RULE_EPT_RIGHTS,
                                           .vector = VMXC_VECTOR_VE,
                                           .ve_converted = true,
                                           .ve_qualification = 0x83,
                                           .ve_guest_linear = 0x401000,
                                           .ve_guest_physical = 0x5008};
    expect_golden("ve", vmxsim_explain_access(&read_access, &outcome, &trail));
    expect_json(vmxsim_explain_access_json(&read_access, &outcome, &trail));
}
END_TEST

START_TEST(flags_and_protection_keys_are_named)
{
    struct vmxsim_trail trail = {0};
    struct vmxsim_trail_entry *entry = step(&trail, VMXSIM_TRAIL_GUEST_ENTRY, 5, 0x3000, 0x3000, 0);
    entry = step(&trail, VMXSIM_TRAIL_GUEST_ENTRY, 3, 0x4000, 0x4000,
                 0x9800000040000187 | VMXC_PTE_ACCESSED | VMXC_PTE_DIRTY);
    entry->leaf = true;
    entry = step(&trail, VMXSIM_TRAIL_EPT_ENTRY, 3, 0x5000, 0x40000000, 0x40000fff);
    entry->leaf = true;
    entry = step(&trail, VMXSIM_TRAIL_EPT_ENTRY, 1, 0x6000, 0x40000000, 0x7);
    entry->leaf = true;
    entry->page = 1;
    const struct vmxsim_access access = {.type = VMXSIM_ACCESS_RMW,
                                         .linear = 0xffffffff80000000,
                                         .size = 16,
                                         .implicit = true,
                                         .data = {1, 2, 3}};
    const struct vmxsim_outcome outcome = {
        .kind = VMXSIM_OUTCOME_GUEST_EXCEPTION,
        .rule = VMXSIM_RULE_PG_CANONICAL,
        .vector = VMXC_VECTOR_GP,
        .has_error_code = true,
    };
    expect_golden("flags", vmxsim_explain_access(&access, &outcome, &trail));
    expect_json(vmxsim_explain_access_json(&access, &outcome, &trail));

    const struct vmxsim_outcome complete = {.kind = VMXSIM_OUTCOME_COMPLETE, .data = {9, 8, 7}};
    expect_golden("rmw", vmxsim_explain_access(&access, &complete, NULL));
    expect_json(vmxsim_explain_access_json(&access, &complete, NULL));
}
END_TEST

START_TEST(exits_without_linear_address_say_so)
{
    const struct vmxsim_outcome outcome = {.kind = VMXSIM_OUTCOME_VM_EXIT,
                                           .rule = VMXSIM_RULE_EPT_NOT_PRESENT,
                                           .exit_reason = VMXC_EXIT_REASON_EPT_VIOLATION,
                                           .qualification_defined = true,
                                           .qualification = 0x1,
                                           .guest_physical_valid = true,
                                           .guest_physical = 0x5000};
    expect_golden("no-linear", vmxsim_explain_access(NULL, &outcome, NULL));
    expect_json(vmxsim_explain_access_json(NULL, &outcome, NULL));

    const struct vmxsim_outcome event = {.kind = VMXSIM_OUTCOME_VM_EXIT,
                                         .rule = VMXSIM_RULE_PG_RSVD,
                                         .vector = VMXC_VECTOR_PF,
                                         .has_error_code = true,
                                         .error_code = 0x1d,
                                         .exit_reason = VMXC_EXIT_REASON_EXCEPTION_OR_NMI,
                                         .qualification_defined = true,
                                         .qualification = 0x401000,
                                         .interruption_info = 0x80000b0e,
                                         .interruption_error_code = 0x1d};
    expect_golden("event", vmxsim_explain_access(&read_access, &event, NULL));
    expect_json(vmxsim_explain_access_json(&read_access, &event, NULL));

    const struct vmxsim_outcome physical = {.kind = VMXSIM_OUTCOME_COMPLETE, .page_count = 1};
    expect_golden("physical", vmxsim_explain_access(NULL, &physical, NULL));
    expect_json(vmxsim_explain_access_json(NULL, &physical, NULL));
}
END_TEST

START_TEST(a_full_trail_fits)
{
    struct vmxsim_trail trail = {0};
    const struct vmxsim_outcome outcome = {.kind = VMXSIM_OUTCOME_COMPLETE};
    while (trail.count < VMXSIM_TRAIL_CAPACITY)
        (void)step(&trail, VMXSIM_TRAIL_EPT_ENTRY, 1, UINT64_MAX, trail.count, UINT64_MAX);
    char *const text = vmxsim_explain_access(&read_access, &outcome, &trail);
    ck_assert_ptr_nonnull(text);
    unsigned count = 0;
    for (const char *at = text; (at = strstr(at, "-> used")) != NULL; at++)
        count++;
    ck_assert_uint_eq(count, VMXSIM_TRAIL_CAPACITY);
    free(text);
    expect_json(vmxsim_explain_access_json(&read_access, &outcome, &trail));
}
END_TEST

/* ---- Names ---- */

START_TEST(names_are_the_manuals_and_unknown_numbers_have_none)
{
    ck_assert_str_eq(vmxsim_exit_reason_name(48), "EPT violation");
    ck_assert_str_eq(vmxsim_exit_reason_name(0), "Exception or non-maskable interrupt (NMI)");
    ck_assert_ptr_null(vmxsim_exit_reason_name(35));
    ck_assert_ptr_null(vmxsim_exit_reason_name(86));
    ck_assert_ptr_null(vmxsim_exit_reason_name(UINT32_MAX));
    ck_assert_str_eq(vmxsim_vm_instruction_error_text(7), "VM entry with invalid control fields");
    ck_assert_ptr_null(vmxsim_vm_instruction_error_text(0));
    ck_assert_ptr_null(vmxsim_vm_instruction_error_text(14));
    ck_assert_ptr_null(vmxsim_vm_instruction_error_text(UINT32_MAX));
    ck_assert_str_eq(vmxsim_vector_name(14), "#PF");
    ck_assert_str_eq(vmxsim_vector_name(20), "#VE");
    ck_assert_ptr_null(vmxsim_vector_name(15));
    ck_assert_ptr_null(vmxsim_vector_name(255));
    ck_assert_str_eq(vmxsim_memory_type_name(VMXC_MEMORY_TYPE_WB), "WB");
    ck_assert_ptr_null(vmxsim_memory_type_name((enum vmxc_memory_type)2));
    ck_assert_ptr_null(vmxsim_memory_type_name((enum vmxc_memory_type)8));
    ck_assert_str_eq(vmxsim_access_type_name(VMXSIM_ACCESS_RMW), "rmw");
    ck_assert_ptr_null(vmxsim_access_type_name((enum vmxsim_access_type)4));
}
END_TEST

START_TEST(interruption_information_is_read)
{
    struct vmxsim_text text = {.failed = false};
    vmxsim_phrase_interruption(&text, 0x80000202);
    ck_assert_str_eq(text.bytes, "0x80000202: NMI 2 (NMI)");
    vmxsim_text_clear(&text);
    vmxsim_phrase_interruption(&text, 0x0b0e);
    ck_assert_str_eq(text.bytes, "0xb0e: not valid");
    vmxsim_text_clear(&text);
    vmxsim_phrase_exit_reason(&text, 35);
    ck_assert_str_eq(text.bytes, "35 (not in use)");
    vmxsim_text_clear(&text);
    vmxsim_phrase_vector(&text, 200);
    ck_assert_str_eq(text.bytes, "200");
    vmxsim_text_free(&text);
}
END_TEST

static const struct {
    uint64_t qualification;
    const char *phrase;
} qualifications[] = {
    {0x000, "access to a guest-physical address (no linear address), EPT allows ---"},
    {0x181, "read of the page, EPT allows ---"},
    {0x18a, "write to the page, EPT allows r--"},
    {0x1ac, "fetch from the page, EPT allows r-x"},
    {0x083, "read and write of a guest paging-structure entry, EPT allows ---"},
    {0x1c1, "read of the page, EPT allows --- (entry: user execute)"},
    {0xf9a, "write to the page, EPT allows rw- (linear address: user-mode, linear address: "
            "writable, linear address: execute-disable)"},
    {0x8000000000000181, "read of the page, EPT allows --- (reserved)"},
};

START_TEST(a_qualification_is_one_phrase)
{
    struct vmxsim_text text = {.failed = false};
    vmxsim_phrase_qualification(&text, qualifications[_i].qualification);
    ck_assert_str_eq(text.bytes, qualifications[_i].phrase);
    vmxsim_text_free(&text);
}
END_TEST

static const struct {
    uint32_t error_code;
    const char *phrase;
} page_faults[] = {
    {0x00, "supervisor-mode read, entry not present"},
    {0x02, "supervisor-mode write, entry not present"},
    {0x07, "user-mode write, rights do not suffice"},
    {0x15, "user-mode fetch, rights do not suffice"},
    {0x09, "supervisor-mode read, reserved bit set"},
    {0x25, "user-mode read, refused by a protection key"},
};

START_TEST(a_page_fault_is_one_phrase)
{
    struct vmxsim_text text = {.failed = false};
    vmxsim_phrase_page_fault(&text, page_faults[_i].error_code);
    ck_assert_str_eq(text.bytes, page_faults[_i].phrase);
    vmxsim_text_free(&text);
}
END_TEST

/* ---- Decoded words ---- */

static const struct vmxsim_features *features(const char *profile)
{
    return vmxsim_profile_features(vmxsim_profile_builtin(profile));
}

/* An EPT entry is valid exactly if the manual's rules for misconfigurations say so. */
static const struct {
    const char *profile;
    unsigned level;
    uint64_t entry;
    bool valid;
    unsigned wrong_high, wrong_low; /* of the first wrong field */
} entries[] = {
    {"icelake", 1, 0x0, true, 0, 0},
    {"icelake", 1, 0x2037, true, 0, 0},
    {"icelake", 1, 0x2032, false, 2, 0}, /* write-only */
    {"icelake", 1, 0x2036, false, 2, 0}, /* write and execute */
    {"icelake", 1, 0x2034, true, 0, 0},  /* execute-only is supported */
    {"icelake", 1, 0x2017, false, 5, 3}, /* memory type 2 */
    {"icelake", 1, 0x203f, false, 5, 3}, /* memory type 7 */
    {"icelake", 1, 0x100002037, true, 0, 0},
    {"icelake", 1, 0x10000002037, false, 40, 40}, /* beyond MAXPHYADDR 40 */
    {"icelake", 1, 0xf0000000002037, true, 0, 0}, /* bits 55:52 are ignored */
    {"icelake", 2, 0x2007, true, 0, 0},
    {"icelake", 2, 0x200f, false, 3, 3},
    {"icelake", 2, 0x2000b7, true, 0, 0},
    {"icelake", 2, 0x2010b7, false, 12, 12}, /* bit 12 of a 2-MByte page */
    {"icelake", 2, 0x3000b7, false, 20, 20},
    {"icelake", 3, 0x400000b7, true, 0, 0},
    {"icelake", 3, 0x600000b7, false, 29, 29},
    {"icelake", 4, 0x2087, false, 7, 7},
    {"icelake", 4, 0x2047, false, 6, 6},
    {"everything", 5, 0x2107, true, 0, 0},
    {"everything", 1, 0x2430, true, 0, 0}, /* user execute alone is present */
};

START_TEST(an_ept_entry_is_valid_as_the_manual_says)
{
    struct vmxsim_decoded decoded;
    vmxsim_decode_ept_entry(entries[_i].entry, entries[_i].level, features(entries[_i].profile),
                            &decoded);
    ck_assert_msg(decoded.valid == entries[_i].valid, "level %u, 0x%llx", entries[_i].level,
                  (unsigned long long)entries[_i].entry);
    for (uint32_t i = 0; i < decoded.count; i++) {
        if (i > 0)
            ck_assert_uint_lt(decoded.field[i].high, decoded.field[i - 1].low);
        if (!decoded.field[i].wrong)
            continue;
        ck_assert_uint_eq(decoded.field[i].high, entries[_i].wrong_high);
        ck_assert_uint_eq(decoded.field[i].low, entries[_i].wrong_low);
        return;
    }
    ck_assert(entries[_i].valid);
}
END_TEST

static const struct {
    const char *profile;
    uint64_t eptp;
    bool valid;
} eptps[] = {
    {"icelake", 0x101e, true},
    {"icelake", 0x105e, true},
    {"icelake", 0x1018, true},  /* uncacheable */
    {"icelake", 0x101c, false}, /* WT */
    {"icelake", 0x1026, false}, /* five levels */
    {"everything", 0x1026, true},
    {"icelake", 0x1016, false},        /* three levels */
    {"icelake", 0x119e, false},        /* bits 8 and 7 */
    {"everything", 0x109e, true},      /* supervisor shadow stacks */
    {"icelake", 0x1000000101e, false}, /* beyond MAXPHYADDR */
    {"everything", 0x8000000000001e, false},
};

START_TEST(an_eptp_is_valid_as_the_manual_says)
{
    struct vmxsim_decoded decoded;
    vmxsim_decode_eptp(eptps[_i].eptp, features(eptps[_i].profile), &decoded);
    ck_assert_msg(decoded.valid == eptps[_i].valid, "0x%llx", (unsigned long long)eptps[_i].eptp);
}
END_TEST

START_TEST(words_that_are_all_ones_fit)
{
    struct vmxsim_decoded decoded;
    for (unsigned level = 0; level <= 6; level++) {
        vmxsim_decode_ept_entry(UINT64_MAX, level, features("everything"), &decoded);
        ck_assert_uint_lt(decoded.count, VMXSIM_DECODED_MAX_FIELDS);
        ck_assert(!decoded.valid);
    }
    vmxsim_decode_eptp(UINT64_C(0x5555555555555555), features("icelake"), &decoded);
    ck_assert_uint_le(decoded.count, VMXSIM_DECODED_MAX_FIELDS);
    ck_assert(!decoded.valid);
    /* as many runs of reserved bits as there can be */
    vmxsim_decode_qualification(UINT64_C(0x5555555555555555), &decoded);
    ck_assert_uint_le(decoded.count, VMXSIM_DECODED_MAX_FIELDS);
    ck_assert(!decoded.valid);
}
END_TEST

/* Rows go down from the highest bit, none covers a bit of another, and each bit that is 1 is in one of them. */
static void check_rows(const struct vmxsim_decoded *decoded, uint32_t reason)
{
    uint64_t covered = 0;
    bool wrong = false;

    ck_assert_uint_gt(decoded->count, 0);
    for (uint32_t i = 0; i < decoded->count; i++) {
        const struct vmxsim_decoded_field *field = &decoded->field[i];
        const uint64_t mask = VMXC_BITS(field->high, field->low);
        ck_assert_msg((covered & mask) == 0, "reason %u: bit %u twice", reason, field->high);
        ck_assert_msg(i == 0 || field->high < decoded->field[i - 1].low, "reason %u", reason);
        ck_assert_uint_eq(field->value, VMXC_FIELD_GET(decoded->raw, mask));
        covered |= mask;
        wrong = wrong || field->wrong;
    }
    ck_assert_msg((decoded->raw & ~covered) == 0, "reason %u, 0x%llx: no row for 0x%llx", reason,
                  (unsigned long long)decoded->raw, (unsigned long long)(decoded->raw & ~covered));
    ck_assert_msg(wrong == !decoded->valid, "reason %u", reason);
}

static const uint64_t patterns[] = {
    0, UINT64_MAX, UINT64_C(0x5555555555555555), UINT64_C(0xaaaaaaaaaaaaaaaa), 0x400, 0x8400400,
};

/* The EPT violation leaves flags out that say nothing beside others. */
/* Operands that an access does not have are 0: the general register of CLTS and LMSW, the source data of all but LMSW. */
static const struct {
    uint64_t qualification;
    bool valid;
} cr_accesses[] = {
    {0x000, true},    {0xf00, true}, {0x040, false},     {0x10000, false},
    {0xf13, true},    {0x020, true}, {0x120, false},     {0x060, false},
    {0x10020, false}, {0x030, true}, {0x12340070, true}, {0x12340170, false},
};

START_TEST(absent_operands_of_control_register_accesses_are_reserved)
{
    struct vmxsim_decoded decoded;
    vmxsim_decode_cr_qualification(cr_accesses[_i].qualification, &decoded);
    ck_assert_int_eq(decoded.valid, cr_accesses[_i].valid);
}
END_TEST

START_TEST(every_bit_that_an_exit_records_has_a_row)
{
    struct vmxsim_decoded decoded;

    for (int i = 0; i < COUNT(patterns); i++) {
        for (uint32_t reason = 0; reason < 200; reason++) {
            const bool known = vmxsim_exit_reason_name(reason) != NULL;
            ck_assert(vmxsim_decode_instruction_info(reason, (uint32_t)patterns[i], &decoded) ==
                      known);
            if (known)
                check_rows(&decoded, reason);
            const uint8_t vector = reason % 3 == 0 ? 1 : 14;
            ck_assert(vmxsim_decode_exit_qualification(reason, vector, patterns[i], &decoded) ==
                      known);
            if (known && reason != VMXC_EXIT_REASON_EPT_VIOLATION &&
                reason != VMXC_EXIT_REASON_CR_ACCESS)
                check_rows(&decoded, reason);
        }
        vmxsim_decode_exit_reason((uint32_t)patterns[i], &decoded);
        check_rows(&decoded, 0);
        vmxsim_decode_exception_bitmap((uint32_t)patterns[i], &decoded);
        check_rows(&decoded, 0);
        vmxsim_decode_interruptibility((uint32_t)patterns[i], &decoded);
        check_rows(&decoded, 0);
        vmxsim_decode_pending_debug(patterns[i], &decoded);
        check_rows(&decoded, 0);
    }
}
END_TEST

/* Exits that record instruction information; the manual has a format for each. */
START_TEST(reasons_with_instruction_information)
{
    static const uint8_t with[] = {19, 21, 22, 23, 25, 27, 30, 46, 47, 50, 53, 57,
                                   58, 61, 63, 64, 67, 68, 69, 80, 81, 84, 85};
    struct vmxsim_decoded decoded;
    size_t found = 0;

    for (uint32_t reason = 0; reason < 86; reason++) {
        if (!vmxsim_decode_instruction_info(reason, 0, &decoded))
            continue;
        if (strcmp(decoded.field[0].name, "none") == 0)
            continue;
        ck_assert_uint_lt(found, sizeof with);
        ck_assert_uint_eq(reason, with[found]);
        found++;
    }
    ck_assert_uint_eq(found, sizeof with);
}
END_TEST

START_TEST(explained_words_are_the_decoded_ones)
{
    struct vmxsim_decoded decoded;
    char *texts[4], *again[4];
    texts[0] = vmxsim_explain_qualification(0x18a);
    vmxsim_decode_qualification(0x18a, &decoded);
    again[0] = vmxsim_decoded_text(&decoded);
    texts[1] = vmxsim_explain_eptp(0x101e, features("icelake"));
    vmxsim_decode_eptp(0x101e, features("icelake"), &decoded);
    again[1] = vmxsim_decoded_text(&decoded);
    texts[2] = vmxsim_explain_ept_entry(0xb7, 3, features("icelake"));
    vmxsim_decode_ept_entry(0xb7, 3, features("icelake"), &decoded);
    again[2] = vmxsim_decoded_text(&decoded);
    texts[3] = vmxsim_explain_page_fault_error(0x7);
    vmxsim_decode_page_fault_error(0x7, &decoded);
    again[3] = vmxsim_decoded_text(&decoded);
    for (unsigned i = 0; i < 4; i++) {
        ck_assert_str_eq(texts[i], again[i]);
        free(texts[i]);
        free(again[i]);
    }
}
END_TEST

/* ---- Text ---- */

START_TEST(a_text_grows_pads_and_is_taken)
{
    struct vmxsim_text text = {.failed = false};
    char *taken = vmxsim_text_take(&text);
    ck_assert_str_eq(taken, "");
    free(taken);
    for (unsigned i = 0; i < 1000; i++)
        vmxsim_text_add(&text, "%03u,", i);
    ck_assert_uint_eq(text.length, 4000);
    ck_assert_int_eq(strncmp(text.bytes + 3996, "999,", 5), 0);
    vmxsim_text_add(&text, "\nab");
    vmxsim_text_pad(&text, 5);
    vmxsim_text_pad(&text, 3);
    taken = vmxsim_text_take(&text);
    ck_assert_str_eq(taken + 4000, "\nab   ");
    free(taken);
    ck_assert_ptr_null(text.bytes);
}
END_TEST

START_TEST(a_failed_text_stays_failed)
{
    struct vmxsim_text text = {.failed = false};
    vmxsim_text_add(&text, "start");
    text.failed = true;
    vmxsim_text_add(&text, "more");
    ck_assert_uint_eq(text.length, 5);
    ck_assert_ptr_null(vmxsim_text_take(&text));
    ck_assert(!text.failed);
}
END_TEST

START_TEST(json_strings_are_escaped_and_depth_is_bounded)
{
    struct vmxsim_writer writer = {.depth = 0};
    vmxsim_write_begin(&writer, NULL, '{');
    vmxsim_write_string(&writer, "a\"b\\c", "tab\t\x01");
    vmxsim_write_begin(&writer, "empty", '[');
    vmxsim_write_end(&writer, ']');
    vmxsim_write_end(&writer, '}');
    char *text = vmxsim_text_take(&writer.text);
    ck_assert_str_eq(text, "{\n  \"a\\\"b\\\\c\": \"tab\\u0009\\u0001\",\n  \"empty\": []\n}\n");
    free(text);

    writer = (struct vmxsim_writer){.depth = 0};
    for (unsigned i = 0; i <= VMXSIM_WRITER_MAX_DEPTH; i++)
        vmxsim_write_begin(&writer, NULL, '[');
    ck_assert_ptr_null(vmxsim_text_take(&writer.text));
}
END_TEST

int main(void)
{
    Suite *const suite = suite_create("explain");
    TCase *const tests = tcase_create("explain");

    tcase_add_test(tests, thirty_two_bit_paging_has_four_megabyte_pages);
    tcase_add_test(tests, pae_registers_logs_and_virtualization_exceptions_have_lines);
    tcase_add_test(tests, sub_page_permissions_have_lines);
    tcase_add_test(tests, shadow_stack_accesses_say_so);
    tcase_add_test(tests, flags_and_protection_keys_are_named);
    tcase_add_test(tests, exits_without_linear_address_say_so);
    tcase_add_test(tests, a_full_trail_fits);
    tcase_add_test(tests, names_are_the_manuals_and_unknown_numbers_have_none);
    tcase_add_test(tests, interruption_information_is_read);
    tcase_add_loop_test(tests, a_qualification_is_one_phrase, 0, COUNT(qualifications));
    tcase_add_loop_test(tests, a_page_fault_is_one_phrase, 0, COUNT(page_faults));
    tcase_add_loop_test(tests, an_ept_entry_is_valid_as_the_manual_says, 0, COUNT(entries));
    tcase_add_loop_test(tests, absent_operands_of_control_register_accesses_are_reserved, 0,
                        COUNT(cr_accesses));
    tcase_add_loop_test(tests, an_eptp_is_valid_as_the_manual_says, 0, COUNT(eptps));
    tcase_add_test(tests, words_that_are_all_ones_fit);
    tcase_add_test(tests, every_bit_that_an_exit_records_has_a_row);
    tcase_add_test(tests, reasons_with_instruction_information);
    tcase_add_test(tests, explained_words_are_the_decoded_ones);
    tcase_add_test(tests, a_text_grows_pads_and_is_taken);
    tcase_add_test(tests, a_failed_text_stays_failed);
    tcase_add_test(tests, json_strings_are_escaped_and_depth_is_bounded);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
