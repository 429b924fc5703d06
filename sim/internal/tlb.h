/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside of a processor's cache of translations.
 *
 *     tlb.c              the mappings: finding, adding, dropping
 *     tlb_path.c         the entries that a mapping was made from: unchanged, changed, on trails
 *     tlb_invalidate.c   what drops which mappings
 *     walk_access.c      accesses that are repeated without a walk
 *     walk_cached.c      where a walk uses and makes mappings
 *
 *     vmxsim_guest_access --> fast[linear page]  hit: the whole outcome at once          walk_access.c
 *                                |  miss
 *                                v
 *     translate_page ------> mapping[page, size, tags]  hit: rights are checked anew     walk_cached.c
 *                                |  miss, or it does not suffice
 *                                v
 *                            walk with a trail, which becomes a mapping
 *
 * A fast entry is good as long as tlb->stamp is what it was. The stamp moves with everything that an outcome depends on beside
 * the access: registers, controls, and words of tables that mappings were made from. A mapping of the exact mode then has its
 * entries compared with memory before it is used again; one of the lazy mode too, but only to report.
 */
#ifndef VMXSIM_INTERNAL_TLB_H
#define VMXSIM_INTERNAL_TLB_H

#include "internal/memory.h"
#include "internal/walk.h"
#include "vmxsim/tlb.h"

enum {
    TLB_FAST = 512,
    TLB_SETS = 256,
    TLB_WAYS = 4,
    TLB_MAPPINGS = TLB_SETS * TLB_WAYS,
    TLB_STEPS = 35, /* entries of a 5 x 5-level walk */
};

enum tlb_kind {
    TLB_LINEAR,         /* linear to physical, EPT not in use */
    TLB_COMBINED,       /* linear to physical by way of EPT */
    TLB_GUEST_PHYSICAL, /* guest-physical to physical */
};

/* An entry that a mapping was made from. */
struct tlb_step {
    uint64_t hpa, gpa, value; /* as struct vmxsim_trail_entry; the value with the flags set */
    uint8_t kind;             /* enum vmxsim_trail_kind */
    uint8_t level, guest_level;
    uint8_t size; /* bytes; 0: a register */
    bool leaf;
};

/* What beside the address decides which mapping may be used. */
struct tlb_tags {
    uint32_t format;   /* paging mode and controls that say what entries mean */
    uint16_t vpid;     /* lazy */
    uint16_t pcid;     /* lazy */
    uint64_t root;     /* exact: where paging starts */
    uint64_t ept_root; /* EP4TA */
};

struct tlb_mapping {
    uint64_t generation; /* 0 or not the tlb's: there is none */
    uint64_t epoch; /* of the tables, when the steps were last compared; 0: always to compare */
    uint64_t page, size; /* bytes */
    uint8_t kind;        /* enum tlb_kind */
    bool global;
    bool dirty; /* dirty flags are set wherever a write would set them */
    bool stale; /* a step has changed so that it calls for an invalidation (lazy) */
    uint8_t step_count;
    struct tlb_tags tags;
    struct linear_translation linear; /* of the first byte; not of guest-physical mappings */
    struct ept_translation ept;       /* of the first byte */
    struct tlb_step step[TLB_STEPS];
};

/* A mapping at the time of a snapshot, and where it was. */
struct tlb_kept {
    size_t place;
    struct tlb_mapping mapping;
};

/* An access that completed, ready to be made again. */
struct tlb_fast {
    uint64_t tag; /* page and kind of access */
    uint64_t stamp;
    const uint8_t *bytes; /* of the page */
    struct vmxsim_page_translation page;
};

struct vmxsim_tlb {
    struct vmxsim_tlb *next; /* of another processor of the memory */
    struct vmxsim_memory *memory;
    enum vmxsim_tlb_mode mode;
    uint64_t stamp;
    uint64_t generation;
    uint64_t shifts; /* bit n: there may be mappings of 2^n bytes */
    uint64_t tags_stamp;
    struct tlb_tags tags; /* of the processor, at tags_stamp */
    struct vmxsim_tlb_stats stats;
    uint32_t victim;
    uint32_t kept_victim;
    struct tlb_kept *kept; /* when a snapshot was taken; NULL: nothing */
    size_t kept_count;
    struct vmxsim_trail trail; /* of accesses that ask for none */
    struct tlb_fast fast[TLB_FAST];
    struct tlb_mapping mapping[TLB_SETS * TLB_WAYS]; /* set by set */
};

static inline bool tlb_is_on(const struct vmxsim_cpu *cpu)
{
    return cpu->tlb != NULL && cpu->tlb->mode != VMXSIM_TLB_OFF;
}

static inline bool tlb_is_lazy(const struct vmxsim_cpu *cpu)
{
    return cpu->tlb != NULL && cpu->tlb->mode == VMXSIM_TLB_LAZY;
}

/* ---- tlb.c ---- */

void vmxsim_tlb_destroy(struct vmxsim_cpu *cpu);
/* The same mode; of the lazy one the same mappings. `clone` has none yet. */
VMXC_MUST_CHECK enum vmxc_status vmxsim_tlb_clone(const struct vmxsim_cpu *cpu,
                                                  struct vmxsim_cpu *clone);

/* The mapping of this kind and page that may be used; NULL: none. */
struct tlb_mapping *vmxsim_tlb_find(struct vmxsim_cpu *cpu, enum tlb_kind kind, uint64_t address);
/* Tags that a mapping of this kind and address must have. */
struct tlb_tags vmxsim_tlb_tags(struct vmxsim_cpu *cpu, enum tlb_kind kind, uint64_t address);
/* Adds it, and returns where; NULL: it depends on what cannot be watched. `first` is its first step on the walk's trail. */
struct tlb_mapping *vmxsim_tlb_add(struct walk *walk, const struct tlb_mapping *mapping,
                                   uint32_t first);

/* ---- tlb_path.c ---- */

/* Makes steps of the trail from number `first` on. False: they do not allow a mapping. */
bool vmxsim_tlb_record(const struct walk *walk, uint32_t first, struct tlb_mapping *mapping);
/* May the mapping be used? Exact: none of its entries has changed. Lazy: always; mapping->stale says whether. */
bool vmxsim_tlb_compare(struct vmxsim_cpu *cpu, struct tlb_mapping *mapping);
/* The mapping is used: its entries onto the trail; a hazard if it is stale. */
void vmxsim_tlb_use(struct walk *walk, const struct tlb_mapping *mapping);

/* ---- tlb_invalidate.c: without effect unless the mode is lazy ---- */

enum tlb_rule {
#define TLB_RULE(name, kinds, agreement, section) TLB_##name,
#include "internal/tlb_rules.def"
    TLB_RULE_COUNT
};

/* Drops what the rule says; VPID, PCID and EP4TA are the processor's own, as they are now. */
void vmxsim_tlb_invalidate(struct vmxsim_cpu *cpu, enum tlb_rule rule, uint64_t address);
/* With what the operands of an instruction say instead. */
void vmxsim_tlb_invalidate_vpid(struct vmxsim_cpu *cpu, enum tlb_rule rule, uint16_t vpid,
                                uint64_t linear);
void vmxsim_tlb_invalidate_ept(struct vmxsim_cpu *cpu, enum tlb_rule rule, uint64_t eptp);
/* A VM entry or a VM exit, while the fields of the VMCS say which VPID is in use. */
void vmxsim_tlb_transition(struct vmxsim_cpu *cpu);
/* MOV to CR0 or CR4 or CR4 has changed the registers from what they were; to CR3, it was given `value`. */
void vmxsim_tlb_moved_to_cr(struct vmxsim_cpu *cpu, uint64_t old_cr0, uint64_t old_cr4);
void vmxsim_tlb_moved_to_cr3(struct vmxsim_cpu *cpu, uint64_t value);

/* ---- walk_access.c ---- */

/* The access has completed by walk->mapping: it may be repeated. */
void vmxsim_tlb_remember(struct walk *walk, const struct vmxsim_access *access);

#endif
