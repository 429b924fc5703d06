/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the architecture leaves open about an access that did not complete: the flags on the way to the fault, and bit 0 of
 * some qualifications. See docs/vectors.md, "What the architecture leaves open".
 *
 *     page 0: guest entries, and the EPT entries of the page itself   open, if page 1 is the one that faulted
 *     the faulting page: guest entries that were used                 open
 *                        EPT entries above the one that ended it      open
 *     EPT entries of a guest entry that could be read                 settled: that access was made
 */
#include "internal/replay.h"

#include "vmxcore/defs/ept.h"
#include "vmxcore/defs/exit_info.h"
#include "vmxcore/defs/exit_reason.h"
#include "vmxcore/defs/paging.h"

#include <inttypes.h>
#include <stdio.h>

/* ---- Masks by word ---- */

/* ORs bits into `{address: mask}`; the bits of a four-byte entry belong to the quadword around it. */
static void add_mask(json_t *words, uint64_t hpa, uint64_t mask)
{
    char key[sizeof "0x0123456789abcdef"];
    uint64_t before = 0;

    if (mask == 0)
        return;
    (void)snprintf(key, sizeof key, "0x%" PRIx64, hpa & ~UINT64_C(7));
    (void)vmxsim_checked_find(words, key, &before);
    (void)json_object_set_new(words, key, vmxsim_hex(before | mask << 8 * (hpa & 7)));
}

/* ---- Flags ---- */

/* The flags that an access sets in this entry, as far as they were not set. */
static uint64_t missing_flags(const struct vmxsim_trail_entry *entry, uint64_t accessed,
                              uint64_t dirty, bool write)
{
    return (accessed | (entry->leaf && write ? dirty : 0)) & ~entry->value;
}

/* True if this entry belongs to an EPT translation that ended the walk: a later entry of the same one has a verdict. */
static bool translation_failed(const struct vmxsim_trail *trail, uint32_t index)
{
    const struct vmxsim_trail_entry *const entry = &trail->entry[index];

    for (uint32_t i = index; i < trail->count; i++) {
        const struct vmxsim_trail_entry *const other = &trail->entry[i];
        if (other->kind != VMXSIM_TRAIL_EPT_ENTRY || other->page != entry->page ||
            other->guest_level != entry->guest_level)
            return false;
        if (other->verdict != VMXSIM_RULE_NONE)
            return true;
    }
    return false;
}

/* A translation that was made for certain has set these flags, whatever an open one did. */
static uint64_t settled_flags(const struct vmxsim_trail *trail, uint64_t hpa)
{
    uint64_t flags = 0;

    for (uint32_t i = 0; i < trail->count; i++) {
        const struct vmxsim_trail_entry *const entry = &trail->entry[i];
        if (entry->kind == VMXSIM_TRAIL_EPT_ENTRY && entry->guest_level != 0 && entry->hpa == hpa &&
            !translation_failed(trail, i))
            flags |= entry->updated & (VMXC_EPT_ACCESSED | VMXC_EPT_DIRTY);
    }
    return flags;
}

static uint64_t open_flags(const struct vmxsim_vector_file *file, const struct vmxsim_trail *trail,
                           uint32_t index, enum vmxsim_walk_rule rule, bool write)
{
    const struct vmxsim_trail_entry *const entry = &trail->entry[index];
    const uint64_t eptp = VMXSIM_VMCS(&file->entry_vmcs, EPT_POINTER);

    if (entry->verdict != VMXSIM_RULE_NONE || entry->is_register)
        return 0;
    if (entry->kind == VMXSIM_TRAIL_GUEST_ENTRY)
        return missing_flags(entry, VMXC_PTE_ACCESSED, VMXC_PTE_DIRTY, write);
    if (entry->kind != VMXSIM_TRAIL_EPT_ENTRY || !(eptp & VMXC_EPTP_ACCESSED_DIRTY))
        return 0;
    const bool failed = translation_failed(trail, index);
    if (failed ? rule == VMXSIM_RULE_EPT_PML : entry->guest_level != 0)
        return 0; /* a full log: no flag is set */
    return missing_flags(entry, VMXC_EPT_ACCESSED, VMXC_EPT_DIRTY, write && !failed) &
           ~settled_flags(trail, entry->hpa);
}

/* An address that was logged for a page before the one that faulted. */
static bool log_is_open(const struct vmxsim_trail *trail, uint32_t index)
{
    return trail->entry[index].kind == VMXSIM_TRAIL_PML_WRITE && index > 0 &&
           trail->entry[index - 1].kind == VMXSIM_TRAIL_EPT_ENTRY &&
           trail->entry[index - 1].guest_level == 0;
}

/* ---- Bit 0 ---- */

/* Whether the violation of a read-modify-write, or of an update of a flag, also counts as a read. */
static bool bit0_is_open(const struct vmxsim_outcome *outcome, enum vmxsim_access_type type,
                         const struct vmxsim_trail *trail)
{
    if (outcome->rule == VMXSIM_RULE_EPT_AD_OFF_GPT)
        return true;
    for (uint32_t i = trail->count; i-- > 0;) {
        if (trail->entry[i].kind == VMXSIM_TRAIL_EPT_ENTRY)
            return type == VMXSIM_ACCESS_RMW && trail->entry[i].guest_level == 0;
    }
    return false;
}

json_t *vmxsim_open_of(const struct vmxsim_vector_file *file, const struct vmxsim_outcome *outcome,
                       enum vmxsim_access_type type, const struct vmxsim_trail *trail,
                       bool *log_open)
{
    const bool write = type == VMXSIM_ACCESS_WRITE || type == VMXSIM_ACCESS_RMW;
    const bool violation = outcome->kind == VMXSIM_OUTCOME_VM_EXIT &&
                           outcome->exit_reason == VMXC_EXIT_REASON_EPT_VIOLATION;
    json_t *const open = json_object(), *const words = json_object();

    *log_open = false;
    for (uint32_t i = 0; i < trail->count; i++) {
        add_mask(words, trail->entry[i].hpa, open_flags(file, trail, i, outcome->rule, write));
        *log_open = *log_open || log_is_open(trail, i);
    }
    if (bit0_is_open(outcome, type, trail) && violation)
        (void)json_object_set_new(open, "qualification", vmxsim_hex(1));
    else if (bit0_is_open(outcome, type, trail) && outcome->ve_converted)
        add_mask(words,
                 VMXSIM_VMCS(&file->entry_vmcs, VIRTUALIZATION_EXCEPTION_INFO_ADDRESS) +
                     VMXC_VE_INFO_QUALIFICATION,
                 1);
    if (json_object_size(words) != 0)
        (void)json_object_set(open, "memory", words);
    json_decref(words);
    if (json_object_size(open) != 0)
        return open;
    json_decref(open);
    return NULL;
}
