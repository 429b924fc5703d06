/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Phrases that more than one part of explain and replay uses. Each adds to a text and starts no line.
 *
 *     explain.c         names, outcomes
 *     explain_decode.c  words taken apart: EPT, page faults
 *     explain_words.c   words taken apart: controls, access rights, interruption information, exit qualifications
 *     explain_entry.c   reports of VM-entry checks
 *     explain_trail.c   trails as text
 *     explain_hazard.c  hazards as text and as JSON
 *     explain_json.c    accesses, outcomes and trails as JSON
 */
#ifndef VMXSIM_INTERNAL_EXPLAIN_H
#define VMXSIM_INTERNAL_EXPLAIN_H

#include "internal/writer.h"
#include "vmxsim/explain.h"

/* "write to the page, EPT allows r-x" */
void vmxsim_phrase_qualification(struct vmxsim_text *text, uint64_t qualification);

/* "user-mode write to a present page" */
void vmxsim_phrase_page_fault(struct vmxsim_text *text, uint32_t error_code);

/* The bits that are 1 in `bits`, by name: "entry write, linear address valid". */
void vmxsim_phrase_qualification_bits(struct vmxsim_text *text, uint64_t bits);

/* "0x80000b0e: hardware exception 14 (#PF)" */
void vmxsim_phrase_interruption(struct vmxsim_text *text, uint32_t information);

/* "hardware exception" ... by the type in interruption information; NULL above 7 */
const char *vmxsim_interruption_type_name(unsigned type);

/* "48 (EPT violation)" */
void vmxsim_phrase_exit_reason(struct vmxsim_text *text, uint32_t basic_reason);

/* "14 (#PF)" */
void vmxsim_phrase_vector(struct vmxsim_text *text, uint8_t vector);

/* "4K", "2M" ... for a power of two */
void vmxsim_phrase_size(struct vmxsim_text *text, uint64_t bytes);

/* "rwx", "r--" ... of EPT rights (bits 2:0) */
struct vmxsim_rights_name {
    char text[4];
};
struct vmxsim_rights_name vmxsim_rights_name(uint64_t rights);

/* Name of an entry by level: "EPT PDE", "PML4E" ... */
const char *vmxsim_ept_entry_name(unsigned level);
const char *vmxsim_guest_entry_name(unsigned level);
const char *vmxsim_sppt_entry_name(unsigned level);

/* The bytes an access read or stored, as one number if they are at most eight. */
void vmxsim_phrase_data(struct vmxsim_text *text, const uint8_t *data, uint32_t size);

/* Bytes that the page at this level holds; `ten_bits`: 32-bit paging (ten index bits per level). */
uint64_t vmxsim_level_page_size(unsigned level, bool ten_bits);

/* Host-physical (EPT) or guest-physical address in an entry. */
uint64_t vmxsim_trail_target(const struct vmxsim_trail *trail,
                             const struct vmxsim_trail_entry *entry);

/* True if this page of the access was translated by 32-bit paging (the walk starts at a PDE). */
bool vmxsim_trail_is_32bit(const struct vmxsim_trail *trail, unsigned page);

/* Names of the flags of an entry, separated by spaces; what they lead to. */
void vmxsim_phrase_entry_flags(struct vmxsim_text *text, const struct vmxsim_trail_entry *entry);

/* Outcome in lines of its own, up to the rule and its section. */
void vmxsim_text_outcome(struct vmxsim_text *text, const struct vmxsim_access *access,
                         const struct vmxsim_outcome *outcome);

/* The steps in lines of their own. */
void vmxsim_text_trail(struct vmxsim_text *text, const struct vmxsim_trail *trail);

#endif
