/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hardware words taken apart: one row per field, highest bit first, with what the processor would refuse marked.
 * Source: Intel SDM volume 3, "Exit Qualification for EPT Violations", "Extended-Page-Table Pointer (EPTP)",
 * "EPT Translation Mechanism", "EPT Misconfigurations", "Page-Fault Exceptions".
 */
#include "internal/array.h"
#include "internal/explain.h"
#include "internal/rows.h"

#include "vmxcore/defs/paging.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

static unsigned highest_bit(uint64_t mask)
{
    unsigned bit = 0;
    while (mask >>= 1)
        bit++;
    return bit;
}

static unsigned lowest_bit(uint64_t mask)
{
    return highest_bit(VMXC_LOWEST_BIT(mask));
}

void vmxsim_rows_start(struct vmxsim_decoded *decoded, const char *title, uint64_t raw)
{
    *decoded = (struct vmxsim_decoded){.title = title, .raw = raw, .valid = true};
}

struct vmxsim_decoded_field *vmxsim_row_add(struct vmxsim_decoded *decoded, uint64_t mask,
                                            const char *name, const char *format, ...)
{
    if (decoded->count == VMXSIM_DECODED_MAX_FIELDS)
        decoded->count--;
    struct vmxsim_decoded_field *field = &decoded->field[decoded->count++];
    *field = (struct vmxsim_decoded_field){
        .high = (uint8_t)highest_bit(mask),
        .low = (uint8_t)lowest_bit(mask),
        .value = VMXC_FIELD_GET(decoded->raw, mask),
        .name = name,
    };
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(field->meaning, sizeof field->meaning, format, arguments);
    va_end(arguments);
    return field;
}

void vmxsim_row_wrong(struct vmxsim_decoded *decoded, uint64_t mask, const char *name,
                      const char *why)
{
    vmxsim_row_add(decoded, mask, name, "%s", why)->wrong = true;
    decoded->valid = false;
}

/* The highest run of set bits, which is removed. */
static uint64_t take_run(uint64_t *bits)
{
    const unsigned high = highest_bit(*bits);
    unsigned low = high;
    while (low > 0 && (*bits >> (low - 1) & 1) != 0)
        low--;
    *bits &= ~VMXC_BITS(high, low);
    return VMXC_BITS(high, low);
}

void vmxsim_rows_reserved(struct vmxsim_decoded *decoded, uint64_t mask)
{
    uint64_t left = decoded->raw & mask;
    while (left != 0)
        vmxsim_row_wrong(decoded, take_run(&left), "reserved", "must be 0");
}

void vmxsim_rows_undefined(struct vmxsim_decoded *decoded, uint64_t mask)
{
    uint64_t left = decoded->raw & mask;
    while (left != 0)
        (void)vmxsim_row_add(decoded, take_run(&left), "undefined", "says nothing");
}

void vmxsim_rows_flags(struct vmxsim_decoded *decoded, const struct vmxsim_row_flag *flags,
                       size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const char *meaning = (decoded->raw & flags[i].mask) ? flags[i].if_one : flags[i].if_zero;
        if (meaning != NULL)
            (void)vmxsim_row_add(decoded, flags[i].mask, flags[i].name, "%s", meaning);
    }
}

void vmxsim_rows_sort(struct vmxsim_decoded *decoded)
{
    for (uint32_t i = 1; i < decoded->count; i++) {
        const struct vmxsim_decoded_field field = decoded->field[i];
        uint32_t place = i;
        for (; place > 0 && decoded->field[place - 1].high < field.high; place--)
            decoded->field[place] = decoded->field[place - 1];
        decoded->field[place] = field;
    }
}

/* Address bits that this processor does not have. */
static uint64_t beyond_width(const struct vmxsim_features *features)
{
    return features->maxphyaddr >= VMXC_MAXPHYADDR_LIMIT
               ? 0
               : VMXC_BITS(51, (unsigned)features->maxphyaddr);
}

/* Address bits of this processor from `low` up. */
static uint64_t address_mask(const struct vmxsim_features *features, unsigned low)
{
    return VMXC_BITS(51, low) & ~beyond_width(features);
}

/* ---- Exit qualification of an EPT violation ---- */

static const struct vmxsim_row_flag qualification_flags[] = {
    {VMXC_EPT_VIOLATION_ASYNCHRONOUS, "asynchronous",
     "the access was asynchronous to instruction execution", NULL},
    {VMXC_EPT_VIOLATION_GUEST_PAGING_VERIFY, "guest-paging verification",
     "guest-paging verification caused it", NULL},
    {VMXC_EPT_VIOLATION_ENTRY_SHADOW_STACK, "entry: supervisor shadow stack",
     "the entries allow supervisor shadow-stack accesses", NULL},
    {VMXC_EPT_VIOLATION_SHADOW_STACK, "shadow-stack access", "it was a shadow-stack access", NULL},
    {VMXC_EPT_VIOLATION_NMI_UNBLOCKING, "NMI unblocking due to IRET", "IRET unblocked NMIs", NULL},
    {VMXC_EPT_VIOLATION_LINEAR_NO_EXECUTE, "linear address: execute-disable",
     "guest paging: execute-disable (with advanced information)", NULL},
    {VMXC_EPT_VIOLATION_LINEAR_WRITABLE, "linear address: writable",
     "guest paging: writable (with advanced information)", NULL},
    {VMXC_EPT_VIOLATION_LINEAR_USER, "linear address: user-mode",
     "guest paging: user-mode address (with advanced information)", NULL},
    {VMXC_EPT_VIOLATION_LINEAR_TRANSLATION, "translation of linear address",
     "access to the page that the linear address translates to", NULL},
    {VMXC_EPT_VIOLATION_LINEAR_VALID, "linear address valid",
     "the guest-linear address field is valid", "the guest-linear address field is not valid"},
    {VMXC_EPT_VIOLATION_ENTRY_USER_EXECUTE, "entry: user execute",
     "the entries allow user-mode fetches (with mode-based execute control)", NULL},
    {VMXC_EPT_VIOLATION_ENTRY_EXECUTE, "entry: execute", "the entries allow fetches",
     "the entries do not all allow fetches"},
    {VMXC_EPT_VIOLATION_ENTRY_WRITE, "entry: write", "the entries allow writes",
     "the entries do not all allow writes"},
    {VMXC_EPT_VIOLATION_ENTRY_READ, "entry: read", "the entries allow reads",
     "the entries do not all allow reads"},
    {VMXC_EPT_VIOLATION_FETCH, "fetch", "the access was an instruction fetch", NULL},
    {VMXC_EPT_VIOLATION_WRITE, "write", "the access was a data write", NULL},
    {VMXC_EPT_VIOLATION_READ, "read", "the access was a data read", NULL},
};

/* Bit 8 depends on bit 7. */
static void add_translation_flag(struct vmxsim_decoded *decoded)
{
    static const char name[] = "translation of linear address";
    const bool is_page = decoded->raw & VMXC_EPT_VIOLATION_LINEAR_TRANSLATION;
    if (decoded->raw & VMXC_EPT_VIOLATION_LINEAR_VALID)
        (void)vmxsim_row_add(decoded, VMXC_EPT_VIOLATION_LINEAR_TRANSLATION, name,
                             is_page ? "access to the page that the linear address translates to"
                                     : "access to a guest paging-structure entry");
    else if (is_page)
        vmxsim_row_wrong(decoded, VMXC_EPT_VIOLATION_LINEAR_TRANSLATION, name,
                         "undefined if bit 7 is 0");
}

void vmxsim_decode_qualification(uint64_t qualification, struct vmxsim_decoded *decoded)
{
    vmxsim_rows_start(decoded, "exit qualification of an EPT violation", qualification);
    vmxsim_rows_reserved(decoded, VMXC_BITS(63, 17));
    for (size_t i = 0; i < COUNT_OF(qualification_flags); i++) {
        if (qualification_flags[i].mask == VMXC_EPT_VIOLATION_LINEAR_TRANSLATION)
            add_translation_flag(decoded);
        else
            vmxsim_rows_flags(decoded, &qualification_flags[i], 1);
    }
}

void vmxsim_phrase_qualification_bits(struct vmxsim_text *text, uint64_t bits)
{
    const char *separator = "";
    for (size_t i = COUNT_OF(qualification_flags); i > 0; i--) {
        const struct vmxsim_row_flag *flag = &qualification_flags[i - 1];
        if (!(bits & flag->mask))
            continue;
        vmxsim_text_add(text, "%s%s", separator, flag->name);
        separator = ", ";
    }
    if (bits & VMXC_BITS(63, 17))
        vmxsim_text_add(text, "%sreserved", separator);
}

void vmxsim_phrase_qualification(struct vmxsim_text *text, uint64_t qualification)
{
    static const char *const kinds[8] = {
        "access to",  "read of",           "write to",           "read and write of",
        "fetch from", "read and fetch of", "write and fetch of", "read, write and fetch of",
    };
    const char *object = "a guest-physical address (no linear address)";
    if (qualification & VMXC_EPT_VIOLATION_LINEAR_VALID)
        object = (qualification & VMXC_EPT_VIOLATION_LINEAR_TRANSLATION)
                     ? "the page"
                     : "a guest paging-structure entry";
    vmxsim_text_add(text, "%s %s, EPT allows %s", kinds[qualification & 7], object,
                    vmxsim_rights_name(VMXC_FIELD_GET(qualification, VMXC_BITS(5, 3))).text);
    const uint64_t rest =
        qualification & (VMXC_EPT_VIOLATION_ENTRY_USER_EXECUTE | VMXC_BITS(63, 9));
    if (rest == 0)
        return;
    vmxsim_text_add(text, " (");
    vmxsim_phrase_qualification_bits(text, rest);
    vmxsim_text_add(text, ")");
}

/* ---- Page-fault error code ---- */

static const struct vmxsim_row_flag page_fault_flags[] = {
    {VMXC_PF_SGX, "SGX", "SGX access control refused it", NULL},
    {VMXC_PF_HLAT, "HLAT", "during HLAT paging", NULL},
    {VMXC_PF_SHADOW_STACK, "SS", "shadow-stack access", NULL},
    {VMXC_PF_PROTECTION_KEY, "PK", "a protection key refused it", NULL},
    {VMXC_PF_FETCH, "I/D", "instruction fetch", NULL},
    {VMXC_PF_RESERVED, "RSVD", "a reserved bit of an entry was 1", NULL},
    {VMXC_PF_USER, "U/S", "user-mode access", "supervisor-mode access"},
    {VMXC_PF_WRITE, "W/R", "write", "no write"},
    {VMXC_PF_PRESENT, "P", "every entry was present: the rights do not suffice",
     "an entry was not present"},
};

void vmxsim_decode_page_fault_error(uint32_t error_code, struct vmxsim_decoded *decoded)
{
    vmxsim_rows_start(decoded, "page-fault error code", error_code);
    vmxsim_rows_reserved(decoded, VMXC_BITS(31, 16) | VMXC_BITS(14, 8));
    vmxsim_rows_flags(decoded, page_fault_flags, COUNT_OF(page_fault_flags));
    vmxsim_rows_sort(decoded);
}

void vmxsim_phrase_page_fault(struct vmxsim_text *text, uint32_t error_code)
{
    const char *kind = "read";
    const char *why = "entry not present";
    if (error_code & VMXC_PF_FETCH)
        kind = "fetch";
    else if (error_code & VMXC_PF_WRITE)
        kind = "write";
    if (error_code & VMXC_PF_RESERVED)
        why = "reserved bit set";
    else if (error_code & VMXC_PF_PROTECTION_KEY)
        why = "refused by a protection key";
    else if (error_code & VMXC_PF_PRESENT)
        why = "rights do not suffice";
    vmxsim_text_add(text, "%s %s%s, %s",
                    (error_code & VMXC_PF_USER) ? "user-mode" : "supervisor-mode",
                    (error_code & VMXC_PF_SHADOW_STACK) ? "shadow-stack " : "", kind, why);
}

/* ---- EPTP ---- */

static void add_memory_type(struct vmxsim_decoded *decoded, uint64_t mask, const char *name,
                            bool allowed)
{
    const enum vmxc_memory_type type = (enum vmxc_memory_type)VMXC_FIELD_GET(decoded->raw, mask);
    const bool reserved = type == 2 || type == 3 || type == VMXC_MEMORY_TYPE_UC_MINUS;
    if (allowed)
        (void)vmxsim_row_add(decoded, mask, name, "%s", vmxsim_memory_type_name(type));
    else
        vmxsim_row_wrong(decoded, mask, name,
                         reserved ? "a reserved type"
                                  : "this processor does not accept the type here");
}

static void add_walk_length(struct vmxsim_decoded *decoded, const struct vmxsim_features *features)
{
    const uint64_t levels = VMXC_FIELD_GET(decoded->raw, VMXC_EPTP_WALK_LENGTH) + 1;
    const bool allowed =
        (levels == 4 && features->ept_walk_4) || (levels == 5 && features->ept_walk_5);
    if (allowed)
        (void)vmxsim_row_add(decoded, VMXC_EPTP_WALK_LENGTH, "page-walk length",
                             "%" PRIu64 " levels", levels);
    else
        vmxsim_row_wrong(decoded, VMXC_EPTP_WALK_LENGTH, "page-walk length",
                         "this processor has no walk of that length");
}

void vmxsim_decode_eptp(uint64_t eptp, const struct vmxsim_features *features,
                        struct vmxsim_decoded *decoded)
{
    const uint64_t type = VMXC_FIELD_GET(eptp, VMXC_EPTP_MEMORY_TYPE);
    const uint64_t missing = (features->ept_accessed_dirty ? 0 : VMXC_EPTP_ACCESSED_DIRTY) |
                             (features->ept_shadow_stack ? 0 : VMXC_EPTP_SHADOW_STACK);

    vmxsim_rows_start(decoded, "EPTP", eptp);
    vmxsim_rows_reserved(decoded, VMXC_BITS(63, 52) | beyond_width(features));
    (void)vmxsim_row_add(decoded, address_mask(features, 12), "root table",
                         "host-physical 0x%" PRIx64, eptp & address_mask(features, 12));
    vmxsim_rows_reserved(decoded, VMXC_EPTP_RESERVED_LOW | missing);
    static const struct vmxsim_row_flag flags[] = {
        {VMXC_EPTP_SHADOW_STACK, "supervisor shadow-stack control", "on", NULL},
        {VMXC_EPTP_ACCESSED_DIRTY, "accessed and dirty flags", "on", "off"},
    };
    for (size_t i = 0; i < COUNT_OF(flags); i++) {
        if (!(eptp & flags[i].mask & missing))
            vmxsim_rows_flags(decoded, &flags[i], 1);
    }
    add_walk_length(decoded, features);
    add_memory_type(decoded, VMXC_EPTP_MEMORY_TYPE, "memory type of the tables",
                    (type == VMXC_MEMORY_TYPE_UC && features->ept_memory_type_uc) ||
                        (type == VMXC_MEMORY_TYPE_WB && features->ept_memory_type_wb));
}

/* ---- EPT entries ---- */

static const char *const ept_titles[] = {"",          "EPT PTE",   "EPT PDE",
                                         "EPT PDPTE", "EPT PML4E", "EPT PML5E"};
static const char *const guest_titles[] = {"", "PTE", "PDE", "PDPTE", "PML4E", "PML5E"};

static unsigned clamp_level(unsigned level)
{
    if (level < 1)
        return 1;
    return level > 5 ? 5 : level;
}

const char *vmxsim_ept_entry_name(unsigned level)
{
    return ept_titles[clamp_level(level)];
}

const char *vmxsim_guest_entry_name(unsigned level)
{
    return guest_titles[clamp_level(level)];
}

const char *vmxsim_sppt_entry_name(unsigned level)
{
    static const char *const titles[] = {"", "SPPT vector", "SPPT L2E", "SPPT L3E", "SPPT L4E"};

    return level < COUNT_OF(titles) ? titles[level] : "";
}

uint64_t vmxsim_level_page_size(unsigned level, bool ten_bits)
{
    return VMXC_PAGE_SIZE << ((ten_bits ? 10u : 9u) * (clamp_level(level) - 1));
}

static bool may_be_large(unsigned level, const struct vmxsim_features *features)
{
    return (level == 3 && features->ept_1g) || (level == 2 && features->ept_2m);
}

/* Above the address: software's, and what single features use. */
static void add_upper_flags(struct vmxsim_decoded *decoded, bool leaf, unsigned level,
                            const struct vmxsim_features *features)
{
    if (features->ept_violation_ve)
        vmxsim_rows_flags(decoded,
                          &(const struct vmxsim_row_flag){VMXC_EPT_SUPPRESS_VE, "suppress #VE",
                                                          "EPT violations here stay VM exits",
                                                          NULL},
                          1);
    if (leaf && level == 1 && features->sub_page_permissions)
        vmxsim_rows_flags(decoded,
                          &(const struct vmxsim_row_flag){VMXC_EPT_SUB_PAGE_WRITE,
                                                          "sub-page write permissions", "on", NULL},
                          1);
    if (leaf && features->ept_shadow_stack)
        vmxsim_rows_flags(decoded,
                          &(const struct vmxsim_row_flag){VMXC_EPT_SUPERVISOR_SHADOW_STACK,
                                                          "supervisor shadow stack", "allowed",
                                                          NULL},
                          1);
}

static void add_address(struct vmxsim_decoded *decoded, bool leaf, unsigned level,
                        const struct vmxsim_features *features)
{
    const unsigned low = leaf ? 12 + 9 * (level - 1) : 12;
    const uint64_t mask = address_mask(features, low);
    (void)vmxsim_row_add(decoded, mask, leaf ? "page" : "table", "host-physical 0x%" PRIx64,
                         decoded->raw & mask);
    if (low > 12)
        vmxsim_rows_reserved(decoded, VMXC_BITS(low - 1, 12));
}

/* Bits 10:3: flags of a page, or reserved bits of a table. */
static void add_middle(struct vmxsim_decoded *decoded, bool leaf, unsigned level,
                       const struct vmxsim_features *features)
{
    static const struct vmxsim_row_flag flags[] = {
        {VMXC_EPT_USER_EXECUTE, "user execute",
         "user-mode fetches, with mode-based execute control", NULL},
        {VMXC_EPT_DIRTY, "dirty", "written to, if EPTP bit 6 is 1", NULL},
        {VMXC_EPT_ACCESSED, "accessed", "used, if EPTP bit 6 is 1", NULL},
    };
    if (features->mode_based_execute)
        vmxsim_rows_flags(decoded, &flags[0], 1);
    if (leaf)
        vmxsim_rows_flags(decoded, &flags[1], 1);
    vmxsim_rows_flags(decoded, &flags[2], 1);
    if (!leaf) {
        const bool large_is_reserved = level > 3 || !may_be_large(level, features);
        vmxsim_rows_reserved(decoded,
                             VMXC_BITS(6, 3) | (large_is_reserved ? VMXC_EPT_LARGE_PAGE : 0));
        return;
    }
    const uint64_t type = VMXC_FIELD_GET(decoded->raw, VMXC_EPT_MEMORY_TYPE);
    if (level > 1)
        (void)vmxsim_row_add(decoded, VMXC_EPT_LARGE_PAGE, "large page", "maps %s",
                             level == 3 ? "1 GByte" : "2 MBytes");
    if (decoded->raw & VMXC_EPT_IGNORE_PAT)
        (void)vmxsim_row_add(decoded, VMXC_EPT_IGNORE_PAT, "ignore PAT",
                             "the EPT memory type decides");
    add_memory_type(decoded, VMXC_EPT_MEMORY_TYPE, "memory type",
                    type != 2 && type != 3 && type != 7);
}

static void add_rights(struct vmxsim_decoded *decoded, const struct vmxsim_features *features)
{
    const uint64_t rights = decoded->raw & VMXC_EPT_RWX;
    const bool read = rights & VMXC_EPT_READ;
    if (!read && (rights & VMXC_EPT_WRITE))
        vmxsim_row_wrong(decoded, VMXC_EPT_RWX, "rights", "write without read");
    else if (!read && (rights & VMXC_EPT_EXECUTE) && !features->ept_execute_only)
        vmxsim_row_wrong(decoded, VMXC_EPT_RWX, "rights",
                         "execute without read, which this processor does not have");
    else
        (void)vmxsim_row_add(decoded, VMXC_EPT_RWX, "rights", "%s",
                             vmxsim_rights_name(rights).text);
}

static void add_not_present(struct vmxsim_decoded *decoded, const struct vmxsim_features *features)
{
    if (features->ept_violation_ve)
        vmxsim_rows_flags(decoded,
                          &(const struct vmxsim_row_flag){VMXC_EPT_SUPPRESS_VE, "suppress #VE",
                                                          "an EPT violation here stays a VM exit",
                                                          NULL},
                          1);
    (void)vmxsim_row_add(decoded, VMXC_EPT_RWX, "rights", "---: not present, the rest is ignored");
}

void vmxsim_decode_ept_entry(uint64_t entry, unsigned level, const struct vmxsim_features *features,
                             struct vmxsim_decoded *decoded)
{
    level = clamp_level(level);
    const uint64_t present_mask =
        VMXC_EPT_RWX | (features->mode_based_execute ? VMXC_EPT_USER_EXECUTE : 0);
    const bool leaf =
        level == 1 || ((entry & VMXC_EPT_LARGE_PAGE) && may_be_large(level, features));

    vmxsim_rows_start(decoded, vmxsim_ept_entry_name(level), entry);
    if (!(entry & present_mask)) {
        add_not_present(decoded, features);
        return;
    }
    add_upper_flags(decoded, leaf, level, features);
    vmxsim_rows_reserved(decoded, beyond_width(features));
    add_address(decoded, leaf, level, features);
    add_middle(decoded, leaf, level, features);
    add_rights(decoded, features);
}

/* ---- Decoded words as text and JSON ---- */

static void add_position(struct vmxsim_text *text, const struct vmxsim_decoded_field *field)
{
    if (field->high == field->low)
        vmxsim_text_add(text, "  bit  %u", field->high);
    else
        vmxsim_text_add(text, "  bits %u:%u", field->high, field->low);
}

char *vmxsim_decoded_text(const struct vmxsim_decoded *decoded)
{
    struct vmxsim_text text = {.failed = false};
    vmxsim_text_add(&text, "%s 0x%" PRIx64 "%s\n", decoded->title, decoded->raw,
                    decoded->valid ? "" : ": not valid");
    for (uint32_t i = 0; i < decoded->count; i++) {
        const struct vmxsim_decoded_field *field = &decoded->field[i];
        add_position(&text, field);
        vmxsim_text_pad(&text, 14);
        vmxsim_text_add(&text, "0x%" PRIx64, field->value);
        vmxsim_text_pad(&text, 28);
        vmxsim_text_add(&text, " %s", field->name);
        vmxsim_text_pad(&text, 62);
        vmxsim_text_add(&text, " %s%s\n", field->wrong ? "WRONG: " : "", field->meaning);
    }
    return vmxsim_text_take(&text);
}

char *vmxsim_decoded_json(const struct vmxsim_decoded *decoded)
{
    struct vmxsim_writer writer = {.depth = 0};
    vmxsim_write_begin(&writer, NULL, '{');
    vmxsim_write_string(&writer, "what", decoded->title);
    vmxsim_write_hex(&writer, "value", decoded->raw);
    vmxsim_write_bool(&writer, "valid", decoded->valid);
    vmxsim_write_begin(&writer, "fields", '[');
    for (uint32_t i = 0; i < decoded->count; i++) {
        const struct vmxsim_decoded_field *field = &decoded->field[i];
        vmxsim_write_begin(&writer, NULL, '{');
        vmxsim_write_number(&writer, "high", field->high);
        vmxsim_write_number(&writer, "low", field->low);
        vmxsim_write_hex(&writer, "value", field->value);
        vmxsim_write_string(&writer, "name", field->name);
        vmxsim_write_string(&writer, "meaning", field->meaning);
        vmxsim_write_bool(&writer, "wrong", field->wrong);
        vmxsim_write_end(&writer, '}');
    }
    vmxsim_write_end(&writer, ']');
    vmxsim_write_end(&writer, '}');
    return vmxsim_text_take(&writer.text);
}

char *vmxsim_explain_qualification(uint64_t qualification)
{
    struct vmxsim_decoded decoded;
    vmxsim_decode_qualification(qualification, &decoded);
    return vmxsim_decoded_text(&decoded);
}

char *vmxsim_explain_eptp(uint64_t eptp, const struct vmxsim_features *features)
{
    struct vmxsim_decoded decoded;
    vmxsim_decode_eptp(eptp, features, &decoded);
    return vmxsim_decoded_text(&decoded);
}

char *vmxsim_explain_ept_entry(uint64_t entry, unsigned level,
                               const struct vmxsim_features *features)
{
    struct vmxsim_decoded decoded;
    vmxsim_decode_ept_entry(entry, level, features, &decoded);
    return vmxsim_decoded_text(&decoded);
}

char *vmxsim_explain_page_fault_error(uint32_t error_code)
{
    struct vmxsim_decoded decoded;
    vmxsim_decode_page_fault_error(error_code, &decoded);
    return vmxsim_decoded_text(&decoded);
}
