/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What TLBs and paging-structure caches may hold: the entries that completed accesses have used, until something
 * invalidates them. Such an entry may be used again as it was, although memory has changed.
 *
 *     guest entries   cached with what EPT made of them (combined mappings): VM exits without VPIDs, INVVPID, INVLPG,
 *                     MOV to CR3 and INVEPT invalidate them
 *     EPT entries     also cached by themselves (guest-physical mappings): only INVEPT invalidates them
 *
 * Where an entry may be read in several ways, the caller of a run decides: a run is a sequence of choices, and going through
 * all sequences gives every answer that the architecture allows.
 *
 *     vmxsim_stale_init(&stale);
 *     do {
 *         vmxsim_stale_start(&stale, cpu);
 *         <the accesses; vmxsim_stale_note after each one that completed; nothing counts if `discarded`>
 *     } while (vmxsim_stale_next(&stale));
 *
 * Source: Intel SDM volume 3, "Caching Translation Information", "Information That May Be Cached", "Creating and Using
 * Cached Translation Information", "Operations that Invalidate Cached Mappings".
 */
#ifndef VMXSIM_INTERNAL_STALE_H
#define VMXSIM_INTERNAL_STALE_H

#include "internal/walk.h"

#define STALE_ENTRIES 512u
#define STALE_CHOICES 64u
#define STALE_OPTIONS 8u

/* An entry as some accesses have used it, between the first and the last of them. */
struct stale_entry {
    uint64_t hpa, value; /* flags set by the processor included */
    bool guest, leaf;
    uint32_t first_time, last_time;
    /* Of guest entries: the linear addresses of the page, those that the entry translates, who may use it for others. */
    uint64_t page_first, page_last, region_first, region_last;
    bool global;
    bool structure; /* in a paging-structure cache, so that it serves the whole region */
};

struct stale {
    struct stale_entry entry[STALE_ENTRIES];
    uint32_t count, time;

    /* The walk in progress: what is read deeper down is not older than what was read above. */
    uint32_t guest_floor, ept_floor;
    bool leaf_from_tlb; /* the guest's leaf is as it was: so is what EPT made of it */

    uint32_t choice[STALE_CHOICES], options[STALE_CHOICES];
    uint32_t made, known; /* choices in this run; choices that the run repeats */
    bool discarded;       /* no processor does what this run has chosen */
    bool overflow;        /* more than there is room for: the set of answers is not complete */
};

/* An entry that a walk reads. */
struct stale_reading {
    uint64_t hpa;
    bool guest, four_bytes;
    bool first; /* of the descent through its hierarchy */
    bool page;  /* EPT: translates the page of the linear address, not a paging structure */
};

void vmxsim_stale_init(struct stale *stale);
/* A run begins: nothing is cached. */
void vmxsim_stale_start(struct stale *stale, struct vmxsim_cpu *cpu);
/* Is there another run? */
bool vmxsim_stale_next(struct stale *stale);

/* The value of an entry, by choice where there is one. */
uint64_t vmxsim_stale_read(struct walk *walk, const struct stale_reading *reading);

/* An entry that was read as `value` gets flags. */
void vmxsim_stale_set_flags(struct walk *walk, uint64_t hpa, bool four_bytes, uint64_t value);

/* An access completed: what it used may be cached. */
void vmxsim_stale_note(struct stale *stale, const struct vmxsim_cpu *cpu,
                       const struct vmxsim_outcome *outcome, const struct vmxsim_trail *trail);

/* ---- Invalidation ---- */

/* VM exit, root operation, VM entry. */
void vmxsim_stale_leave_guest(struct stale *stale, const struct vmxsim_vmcs *vmcs);
/* In root operation. An instruction that fails invalidates nothing. */
void vmxsim_stale_invept(struct stale *stale, const struct vmxsim_cpu *cpu,
                         const struct vmxsim_vmcs *vmcs, uint64_t type,
                         const uint64_t descriptor[2]);
void vmxsim_stale_invvpid(struct stale *stale, const struct vmxsim_cpu *cpu,
                          const struct vmxsim_vmcs *vmcs, uint64_t type,
                          const uint64_t descriptor[2]);
/* By the guest, without process-context identifiers. */
void vmxsim_stale_invlpg(struct stale *stale, uint64_t linear);
void vmxsim_stale_mov_to_cr3(struct stale *stale);

#endif
