/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The parts of a guest access: walk.c (the access as a whole), walk_paging.c (linear to guest-physical),
 * walk_ept.c (guest-physical to host-physical), walk_cached.c (what has been translated before), walk_spp.c (sub-page
 * write permissions), walk_apic.c (the APIC-access page), walk_outcome.c (faults, exits), memory_type.c. walk_many.c
 * makes many accesses.
 *
 * Steps return true if the access goes on. On false it has ended and walk->outcome says how.
 */
#ifndef VMXSIM_INTERNAL_WALK_H
#define VMXSIM_INTERNAL_WALK_H

#include <string.h>

#include "internal/cpu.h"

/* One access in progress. */
struct walk {
    struct vmxsim_cpu *cpu;
    struct vmxsim_outcome *outcome;
    struct vmxsim_trail *trail; /* NULL: not wanted */
    uint64_t linear;            /* first byte of the access on the page being translated */
    bool linear_valid;          /* false: guest-physical access without a linear address */
    bool fetch, read, write;    /* a read-modify-write is read and write */
    bool user;                  /* user-mode access: CPL 3 and not implicit */
    bool implicit;              /* implicit supervisor-mode access */
    bool shadow_stack;          /* shadow-stack access */
    bool event_delivery;        /* part of the delivery of an event, not of an instruction */
    bool virtual_apic;      /* it accesses the virtual-APIC page instead of the APIC-access page */
    uint8_t page;           /* 0, or 1 for the second page */
    struct vmxsim_tlb *tlb; /* NULL: nothing is cached, nor used */
    const struct tlb_mapping *mapping; /* that has translated the last page; NULL: none */
};

/* What guest paging says of a linear address. */
struct linear_rights {
    bool user, writable, no_execute;
    bool
        shadow_stack; /* R/W is 0 and D is 1 in the entry that maps the page, R/W is 1 in every other */
    uint8_t protection_key;
    uint8_t pat_index;
};

struct linear_translation {
    uint64_t gpa;
    uint64_t page_size; /* 0: no paging */
    bool global;        /* G of the entry that maps the page */
    struct linear_rights rights;
};

/* A guest-physical access that EPT has to allow. */
struct ept_request {
    uint64_t gpa;
    uint64_t access; /* VMXC_EPT_VIOLATION_READ, _WRITE, _FETCH: bits 2:0 of a qualification */
    const struct linear_rights
        *linear; /* of the linear address if `gpa` is its translation; NULL: paging structure */
    uint8_t guest_level; /* level of the paging-structure entry at `gpa`; 0: the page itself */
    uint32_t length;     /* bytes of the access on this page; paging structures: not used */
};

/* How EPT translated it. */
struct ept_translation {
    uint64_t hpa;
    uint64_t page_size; /* 0: EPT is off */
    uint64_t rights;    /* VMXC_EPT_RWX and VMXC_EPT_USER_EXECUTE bits that all entries give */
    uint64_t leaf;      /* the entry that maps the page */
};

/*
 * All members but page[0] become zero. In pieces that compilers clear with vector stores; all at once they use string
 * instructions, which start slowly.
 */
static inline void vmxsim_outcome_clear_around_page(struct vmxsim_outcome *outcome)
{
    uint8_t *const bytes = (uint8_t *)outcome;

    memset(bytes, 0, 64);
    memset(bytes + 64, 0, offsetof(struct vmxsim_outcome, page) - 64);
    memset(&outcome->page[1], 0, sizeof outcome->page[1]);
    memset(outcome->data, 0, sizeof outcome->data);
}

static inline void vmxsim_outcome_clear(struct vmxsim_outcome *outcome)
{
    vmxsim_outcome_clear_around_page(outcome);
    memset(&outcome->page[0], 0, sizeof outcome->page[0]);
}

/* walk_paging.c */
bool vmxsim_walk_paging(struct walk *walk, struct linear_translation *translation);
/* If the access may not use a page with these rights, it ends with a page fault. */
bool vmxsim_paging_check_rights(struct walk *walk, const struct linear_rights *rights);

/* walk_ept.c */
bool vmxsim_walk_ept(struct walk *walk, const struct ept_request *request,
                     struct ept_translation *translation);
/* The page at `translation` is to be written although the access so far was only a read. */
bool vmxsim_walk_ept_write_flag(struct walk *walk, const struct ept_request *request,
                                const struct ept_translation *translation);

/* Rights that the access needs and `rights` lack. */
uint64_t vmxsim_ept_missing_rights(const struct vmxsim_cpu *cpu, const struct ept_request *request,
                                   uint64_t rights);
/* The access by a translation that was cached: its rights, and the APIC-access page. */
bool vmxsim_ept_check_cached(struct walk *walk, const struct ept_request *request,
                             const struct ept_translation *translation);

/* walk_cached.c: true if a translation was cached; `ended`: it has ended the access */
bool vmxsim_walk_cached(struct walk *walk, uint32_t length, struct linear_translation *linear,
                        struct ept_translation *ept, bool *ended);
bool vmxsim_walk_cached_ept(struct walk *walk, const struct ept_request *request,
                            struct ept_translation *ept, bool *ended);
/* A walk, whose steps are on the trail from number `first` on, has come to this. */
void vmxsim_walk_cache(struct walk *walk, uint32_t first, const struct linear_translation *linear,
                       const struct ept_translation *ept);
void vmxsim_walk_cache_ept(struct walk *walk, uint32_t first, const struct ept_request *request,
                           const struct ept_translation *ept);

/* walk.c */

/* As vmxsim_guest_access, by way of mappings or tables. */
VMXC_MUST_CHECK enum vmxc_status vmxsim_walk_access(struct vmxsim_cpu *cpu,
                                                    const struct vmxsim_access *access,
                                                    struct vmxsim_outcome *outcome,
                                                    struct vmxsim_trail *trail);
/* The data of an access whose pages are translated. Always VMXC_OK, so that who has nothing else to do ends with it. */
VMXC_MUST_CHECK enum vmxc_status vmxsim_walk_move_data(struct vmxsim_memory *memory,
                                                       const struct vmxsim_access *access,
                                                       struct vmxsim_outcome *outcome);
/* What EPT is asked for. */
uint64_t vmxsim_walk_ept_access(const struct walk *walk);

/* walk_spp.c */

/* Do sub-page write permissions decide about this access, which the entries let read but not write? */
bool vmxsim_spp_applies(const struct walk *walk, const struct ept_request *request, uint64_t rights,
                        uint64_t leaf, unsigned leaf_level);
/* False: they do not allow it. */
bool vmxsim_walk_spp(struct walk *walk, const struct ept_request *request, uint64_t rights,
                     uint64_t leaf);

/* walk_apic.c */
bool vmxsim_is_apic_access_page(const struct walk *walk, uint64_t hpa);
/* Every page is translated: ends an access to the APIC-access page, or sends it to the virtual-APIC page. */
bool vmxsim_walk_apic(struct walk *walk, uint32_t size);
/* Ends a guest-physical access to the APIC-access page and returns false. */
bool vmxsim_end_with_physical_apic_access(struct walk *walk);

/* tlb_invalidate.c: what faults drop */
void vmxsim_tlb_page_fault(struct walk *walk);
void vmxsim_tlb_ept_violation(struct walk *walk, const struct ept_request *request);

/* walk_outcome.c: each ends the access and returns false. */
bool vmxsim_end_with_exception(struct walk *walk, enum vmxsim_walk_rule rule, uint8_t vector,
                               bool has_error_code, uint32_t error_code);
bool vmxsim_end_with_exit(struct walk *walk, enum vmxsim_walk_rule rule, uint16_t reason,
                          uint64_t qualification);
bool vmxsim_end_with_ept_violation(struct walk *walk, enum vmxsim_walk_rule rule,
                                   const struct ept_request *request, uint64_t rights,
                                   uint64_t entry, bool entry_valid);
bool vmxsim_end_with_ept_misconfiguration(struct walk *walk, enum vmxsim_walk_rule rule,
                                          uint64_t gpa);
bool vmxsim_end_with_spp_event(struct walk *walk, enum vmxsim_walk_rule rule, uint64_t gpa);
bool vmxsim_end_with_log_full(struct walk *walk);

/* Adds a step to the trail and returns it; NULL if no trail is wanted. */
struct vmxsim_trail_entry *vmxsim_trail_add(struct walk *walk, enum vmxsim_trail_kind kind,
                                            uint64_t hpa, uint64_t gpa, uint64_t value);
/* Says why the last step ended the access. */
void vmxsim_trail_verdict(struct walk *walk, enum vmxsim_walk_rule rule, uint64_t offending);

/* memory_type.c */
enum vmxc_memory_type vmxsim_effective_memory_type(const struct vmxsim_cpu *cpu,
                                                   const struct linear_translation *linear,
                                                   const struct ept_translation *ept);

#endif
