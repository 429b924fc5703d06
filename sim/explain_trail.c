/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Trails as aligned text. EPT entries are indented under what they locate:
 *
 *   PML4E at guest-physical 0x8042002000:
 *     EPT PML4E  0x3000008  0x0000000003002407  rwx table 0x3002000        -> used, sets A
 *     ...
 *   PML4E        0x2002000  0x0000008082003067  P W U A table 0x8082003000 -> used
 */
#include "internal/explain.h"

#include "vmxcore/defs/paging.h"

#include <inttypes.h>

enum column { COLUMN_WHAT, COLUMN_WHERE, COLUMN_VALUE, COLUMN_FLAGS, COLUMN_VERDICT, COLUMN_COUNT };

/* ---- What an entry leads to ---- */

bool vmxsim_trail_is_32bit(const struct vmxsim_trail *trail, unsigned page)
{
    for (uint32_t i = 0; i < trail->count; i++) {
        const struct vmxsim_trail_entry *entry = &trail->entry[i];
        if (entry->page != page)
            continue;
        if (entry->kind == VMXSIM_TRAIL_GUEST_ENTRY)
            return entry->level == 2;
    }
    return false;
}

uint64_t vmxsim_trail_target(const struct vmxsim_trail *trail,
                             const struct vmxsim_trail_entry *entry)
{
    const bool guest = entry->kind == VMXSIM_TRAIL_GUEST_ENTRY;
    const bool ten_bits = guest && vmxsim_trail_is_32bit(trail, entry->page);
    uint64_t target = entry->value & VMXC_EPT_ADDRESS;
    if (ten_bits)
        target &= UINT32_MAX;
    if (!entry->leaf)
        return target;
    target &= ~(vmxsim_level_page_size(entry->level, ten_bits) - 1);
    /* PSE-36: bits 20:13 of a PDE that maps 4 MBytes are bits 39:32 of the address. */
    if (ten_bits && entry->level == 2)
        target |= VMXC_FIELD_GET(entry->value, VMXC_BITS(20, 13)) << 32;
    return target;
}

/* ---- Flags ---- */

static void add_names(struct vmxsim_text *text, uint64_t value, const uint64_t masks[],
                      const char *const names[], size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (value & masks[i])
            vmxsim_text_add(text, " %s", names[i]);
    }
}

static void add_ept_flags(struct vmxsim_text *text, const struct vmxsim_trail_entry *entry)
{
    static const uint64_t masks[] = {VMXC_EPT_USER_EXECUTE, VMXC_EPT_ACCESSED};
    static const char *const names[] = {"XU", "A"};
    static const uint64_t leaf_masks[] = {VMXC_EPT_DIRTY, VMXC_EPT_IGNORE_PAT,
                                          VMXC_EPT_SUPPRESS_VE};
    static const char *const leaf_names[] = {"D", "IPAT", "no-#VE"};

    vmxsim_text_add(text, "%s", vmxsim_rights_name(entry->value).text);
    if (entry->verdict == VMXSIM_RULE_EPT_NOT_PRESENT)
        return;
    add_names(text, entry->value, masks, names, 2);
    if (!entry->leaf)
        return;
    add_names(text, entry->value, leaf_masks, leaf_names, 3);
    const uint64_t type = VMXC_FIELD_GET(entry->value, VMXC_EPT_MEMORY_TYPE);
    const char *name = type == VMXC_MEMORY_TYPE_UC_MINUS
                           ? NULL /* in the PAT only */
                           : vmxsim_memory_type_name((enum vmxc_memory_type)type);
    vmxsim_text_add(text, " %s", name != NULL ? name : "reserved-type");
}

static void add_guest_flags(struct vmxsim_text *text, const struct vmxsim_trail_entry *entry)
{
    static const uint64_t masks[] = {VMXC_PTE_WRITE, VMXC_PTE_USER, VMXC_PTE_NO_EXECUTE,
                                     VMXC_PTE_ACCESSED};
    static const char *const names[] = {"W", "U", "NX", "A"};
    static const uint64_t leaf_masks[] = {VMXC_PTE_DIRTY, VMXC_PTE_GLOBAL};
    static const char *const leaf_names[] = {"D", "G"};

    if (!(entry->value & VMXC_PTE_PRESENT)) {
        vmxsim_text_add(text, "-");
        return;
    }
    vmxsim_text_add(text, "P");
    if (entry->is_register)
        return;
    add_names(text, entry->value, masks, names, 4);
    if (!entry->leaf)
        return;
    add_names(text, entry->value, leaf_masks, leaf_names, 2);
    const uint64_t key = VMXC_FIELD_GET(entry->value, VMXC_PTE_PROTECTION_KEY);
    if (key != 0)
        vmxsim_text_add(text, " key %" PRIu64, key);
}

/* Every second bit of a vector is reserved: what is left is one bit per sub-page, sub-page 0 lowest. */
static uint32_t writable_sub_pages(uint64_t vector)
{
    uint32_t bits = 0;
    for (unsigned i = 0; i < 32; i++)
        bits |= (uint32_t)(vector >> (2 * i) & 1u) << i;
    return bits;
}

static void add_sppt_flags(struct vmxsim_text *text, const struct vmxsim_trail_entry *entry)
{
    if (entry->leaf)
        vmxsim_text_add(text, "writable sub-pages 0x%08" PRIx32, writable_sub_pages(entry->value));
    else
        vmxsim_text_add(text, "%s", (entry->value & VMXC_SPPT_VALID) ? "valid" : "-");
}

void vmxsim_phrase_entry_flags(struct vmxsim_text *text, const struct vmxsim_trail_entry *entry)
{
    switch (entry->kind) {
    case VMXSIM_TRAIL_EPT_ENTRY:
        add_ept_flags(text, entry);
        break;
    case VMXSIM_TRAIL_GUEST_ENTRY:
        add_guest_flags(text, entry);
        break;
    case VMXSIM_TRAIL_SPPT_ENTRY:
        add_sppt_flags(text, entry);
        break;
    case VMXSIM_TRAIL_PML_WRITE:
    case VMXSIM_TRAIL_VE_WRITE:
        break;
    }
}

/* ---- Columns ---- */

static void add_what(struct vmxsim_text *text, const struct vmxsim_trail_entry *entry)
{
    switch (entry->kind) {
    case VMXSIM_TRAIL_EPT_ENTRY:
        vmxsim_text_add(text, "    %s", vmxsim_ept_entry_name(entry->level));
        break;
    case VMXSIM_TRAIL_GUEST_ENTRY:
        vmxsim_text_add(text, "  %s", vmxsim_guest_entry_name(entry->level));
        break;
    case VMXSIM_TRAIL_PML_WRITE:
        vmxsim_text_add(text, "    page log");
        break;
    case VMXSIM_TRAIL_SPPT_ENTRY:
        vmxsim_text_add(text, "    %s", vmxsim_sppt_entry_name(entry->level));
        break;
    case VMXSIM_TRAIL_VE_WRITE:
        vmxsim_text_add(text, "  #VE area");
        break;
    }
}

static void add_target(struct vmxsim_text *text, const struct vmxsim_trail *trail,
                       const struct vmxsim_trail_entry *entry)
{
    const bool guest = entry->kind == VMXSIM_TRAIL_GUEST_ENTRY;
    const bool present = guest ? (entry->value & VMXC_PTE_PRESENT) != 0
                               : entry->verdict != VMXSIM_RULE_EPT_NOT_PRESENT;
    if (!present)
        return;
    if (!entry->leaf) {
        vmxsim_text_add(text, " table 0x%" PRIx64, vmxsim_trail_target(trail, entry));
        return;
    }
    vmxsim_text_add(text, " ");
    vmxsim_phrase_size(text, vmxsim_level_page_size(
                                 entry->level, guest && vmxsim_trail_is_32bit(trail, entry->page)));
    vmxsim_text_add(text, " page 0x%" PRIx64, vmxsim_trail_target(trail, entry));
}

static void add_flags(struct vmxsim_text *text, const struct vmxsim_trail *trail,
                      const struct vmxsim_trail_entry *entry)
{
    switch (entry->kind) {
    case VMXSIM_TRAIL_EPT_ENTRY:
    case VMXSIM_TRAIL_GUEST_ENTRY:
        vmxsim_phrase_entry_flags(text, entry);
        add_target(text, trail, entry);
        break;
    case VMXSIM_TRAIL_SPPT_ENTRY:
        vmxsim_phrase_entry_flags(text, entry);
        if (!entry->leaf && (entry->value & VMXC_SPPT_VALID))
            vmxsim_text_add(text, " table 0x%" PRIx64, vmxsim_trail_target(trail, entry));
        break;
    case VMXSIM_TRAIL_PML_WRITE:
        vmxsim_text_add(text, "logged guest-physical 0x%" PRIx64, entry->value);
        break;
    case VMXSIM_TRAIL_VE_WRITE:
        vmxsim_text_add(text, "filled for guest-physical 0x%" PRIx64, entry->gpa);
        break;
    }
}

/* The accessed and dirty flags that the access set. */
static void add_updates(struct vmxsim_text *text, const struct vmxsim_trail_entry *entry)
{
    static const uint64_t ept_masks[] = {VMXC_EPT_ACCESSED, VMXC_EPT_DIRTY};
    static const uint64_t guest_masks[] = {VMXC_PTE_ACCESSED, VMXC_PTE_DIRTY};
    static const char *const names[] = {"A", "D"};
    const bool guest = entry->kind == VMXSIM_TRAIL_GUEST_ENTRY;

    if (entry->updated == entry->value)
        return;
    vmxsim_text_add(text, ", sets");
    add_names(text, entry->updated & ~entry->value, guest ? guest_masks : ept_masks, names, 2);
}

/* What was written was not judged. */
static bool has_verdict(const struct vmxsim_trail_entry *entry)
{
    return entry->kind == VMXSIM_TRAIL_EPT_ENTRY || entry->kind == VMXSIM_TRAIL_GUEST_ENTRY ||
           entry->kind == VMXSIM_TRAIL_SPPT_ENTRY;
}

/* Nothing was read: the value is what was read once. */
static void add_cached(struct vmxsim_text *text, const struct vmxsim_trail_entry *entry)
{
    if (entry->cached)
        vmxsim_text_add(text, ", from a cached translation");
    if (entry->stale)
        vmxsim_text_add(text, "; changed since, to 0x%016" PRIx64, entry->now);
}

static void add_verdict(struct vmxsim_text *text, const struct vmxsim_trail_entry *entry)
{
    if (entry->verdict == VMXSIM_RULE_NONE) {
        vmxsim_text_add(text, "-> used");
    } else {
        const struct vmxsim_walk_rule_info *rule = vmxsim_walk_rule_info(entry->verdict);
        vmxsim_text_add(text, "-> %s", rule->id);
        if (entry->offending != 0)
            vmxsim_text_add(text, ", bits 0x%" PRIx64, entry->offending);
        vmxsim_text_add(text, ": %s", rule->sentence);
    }
    add_updates(text, entry);
    add_cached(text, entry);
}

static void add_cell(struct vmxsim_text *text, const struct vmxsim_trail *trail,
                     const struct vmxsim_trail_entry *entry, enum column column)
{
    switch (column) {
    case COLUMN_WHAT:
        add_what(text, entry);
        break;
    case COLUMN_WHERE:
        if (entry->is_register)
            vmxsim_text_add(text, "register");
        else
            vmxsim_text_add(text, "0x%" PRIx64, entry->hpa);
        break;
    case COLUMN_VALUE:
        vmxsim_text_add(text, "0x%016" PRIx64, entry->value);
        break;
    case COLUMN_FLAGS:
        add_flags(text, trail, entry);
        break;
    case COLUMN_VERDICT:
    case COLUMN_COUNT:
        add_verdict(text, entry);
        break;
    }
}

/* Where each column starts: two spaces behind the widest cell of the one before. */
static void measure(const struct vmxsim_trail *trail, size_t start[COLUMN_COUNT])
{
    struct vmxsim_text cell = {.failed = false};
    start[0] = 0;
    for (unsigned column = 0; column + 1 < COLUMN_COUNT; column++) {
        size_t widest = 0;
        for (uint32_t i = 0; i < trail->count; i++) {
            vmxsim_text_clear(&cell);
            add_cell(&cell, trail, &trail->entry[i], (enum column)column);
            if (cell.length > widest)
                widest = cell.length;
        }
        start[column + 1] = start[column] + widest + 2;
    }
    vmxsim_text_free(&cell);
}

/* ---- Headings ---- */

static bool same_target(const struct vmxsim_trail_entry *a, const struct vmxsim_trail_entry *b)
{
    return b->kind == VMXSIM_TRAIL_EPT_ENTRY && a->page == b->page &&
           a->guest_level == b->guest_level && a->gpa == b->gpa;
}

/* Before the first entry of the sub-page permission table: whose permissions these are. */
static void add_sppt_heading(struct vmxsim_text *text, const struct vmxsim_trail *trail, uint32_t i)
{
    if (i == 0 || trail->entry[i - 1].kind != VMXSIM_TRAIL_SPPT_ENTRY)
        vmxsim_text_add(text, "  sub-page permissions of guest-physical 0x%" PRIx64 ":\n",
                        trail->entry[i].gpa);
}

/* Before the first EPT entry of a translation: what is being located. */
static void add_heading(struct vmxsim_text *text, const struct vmxsim_trail *trail, uint32_t i)
{
    const struct vmxsim_trail_entry *entry = &trail->entry[i];
    if (i > 0 && entry->page != trail->entry[i - 1].page)
        vmxsim_text_add(text, "  second page:\n");
    if (entry->kind == VMXSIM_TRAIL_SPPT_ENTRY)
        add_sppt_heading(text, trail, i);
    if (entry->kind != VMXSIM_TRAIL_EPT_ENTRY)
        return;
    if (i > 0 && same_target(entry, &trail->entry[i - 1]))
        return;
    if (entry->guest_level == 0)
        vmxsim_text_add(text, "  the page, guest-physical 0x%" PRIx64 ":\n", entry->gpa);
    else
        vmxsim_text_add(text, "  %s at guest-physical 0x%" PRIx64 ":\n",
                        vmxsim_guest_entry_name(entry->guest_level), entry->gpa);
}

void vmxsim_text_trail(struct vmxsim_text *text, const struct vmxsim_trail *trail)
{
    size_t start[COLUMN_COUNT];
    measure(trail, start);
    for (uint32_t i = 0; i < trail->count; i++) {
        add_heading(text, trail, i);
        const unsigned columns = has_verdict(&trail->entry[i]) ? COLUMN_COUNT : COLUMN_VERDICT;
        for (unsigned column = 0; column < columns; column++) {
            vmxsim_text_pad(text, start[column]);
            add_cell(text, trail, &trail->entry[i], (enum column)column);
        }
        vmxsim_text_add(text, "\n");
    }
}
