/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Regions that processors use: VMXON regions in VMX operation, VMCS regions while the VMCS is active. Whatever touches
 * one is a hazard.
 *
 *     insn_region.c   says which regions come into use and which go out of it
 *     memory.c        shows every read and write; those outside of all regions cost two comparisons
 *     vmcs_region.c   brackets what a processor does in a region itself, which is no hazard
 *
 * Writes through pointers pass by all of these: a digest of the data tells, when a processor next uses the region.
 */
#ifndef VMXSIM_INTERNAL_REGION_WATCH_H
#define VMXSIM_INTERNAL_REGION_WATCH_H

#include "vmxsim/hazard.h"

enum vmxsim_region_role { VMXSIM_REGION_VMCS, VMXSIM_REGION_VMXON };

struct vmxsim_watched_region {
    uint64_t hpa, length;
    uint32_t processor;
    enum vmxsim_region_role role;
    bool written;    /* a write has been reported since the digest was taken */
    uint32_t header; /* the first doubleword, as it was last seen */
    uint64_t digest; /* of the data */
};

/* All zero: nothing is watched. */
struct vmxsim_region_watch {
    struct vmxsim_watched_region
        *entry; /* by ascending address; one for each processor that uses it */
    size_t count, capacity;
    uint64_t begin, end; /* all of them lie between */
    bool paused;         /* a processor is at work in a region */
};

/* All zero: empty. */
struct vmxsim_hazard_log {
    uint64_t count;
    struct vmxsim_hazard
        last[VMXSIM_HAZARDS_KEPT]; /* a ring: number n is at n % VMXSIM_HAZARDS_KEPT */
    void (*on_hazard)(void *context, const struct vmxsim_hazard *hazard);
    void *context;
};

/* hazard.c */
void vmxsim_hazard_report(struct vmxsim_hazard_log *log, const struct vmxsim_hazard *hazard);

/* A number for a new processor. */
uint32_t vmxsim_region_watch_number(struct vmxsim_memory *memory);

/*
 * The region is in use by the processor from now on; nothing changes if it was already. Reports what that means to other
 * processors. Errors: VMXC_NO_MEMORY (nothing has happened).
 */
VMXC_MUST_CHECK enum vmxc_status
vmxsim_region_watch_add(struct vmxsim_memory *memory, const struct vmxsim_watched_region *region);
/* The processor leaves VMX operation by VMXOFF. */
void vmxsim_region_watch_leave(struct vmxsim_memory *memory, uint32_t processor);
/* The processor uses no region any more, and it is nobody's fault. */
void vmxsim_region_watch_drop(struct vmxsim_memory *memory, uint32_t processor);
/*
 * The processor has executed VMCLEAR for the region: the VMCS is not active on it any more. A hazard if the region is another
 * processor's VMXON region.
 */
void vmxsim_region_watch_cleared(struct vmxsim_memory *memory, uint32_t processor, uint64_t hpa);

/* Around each piece of work that a processor does in a region. */
void vmxsim_region_watch_begin(struct vmxsim_memory *memory, uint64_t hpa);
void vmxsim_region_watch_end(struct vmxsim_memory *memory, uint64_t hpa);

/*
 * Keeps in `kept`, which the caller frees with vmxsim_region_watch_fini, what is watched now; makes it what is watched
 * again, processors that came meanwhile excepted: their regions are watched no more. Errors: VMXC_NO_MEMORY.
 */
VMXC_MUST_CHECK enum vmxc_status vmxsim_region_watch_keep(const struct vmxsim_region_watch *watch,
                                                          struct vmxsim_region_watch *kept);
void vmxsim_region_watch_return(struct vmxsim_region_watch *watch,
                                const struct vmxsim_region_watch *kept);

/* `processor` of `memory` uses the regions that another processor uses in the memory it was cloned from. */
VMXC_MUST_CHECK enum vmxc_status vmxsim_region_watch_copy(const struct vmxsim_memory *from,
                                                          uint32_t of, struct vmxsim_memory *memory,
                                                          uint32_t processor);

/* Memory was replaced as a whole (reset, restored): what the regions hold now is what they are meant to hold. */
void vmxsim_region_watch_accept(struct vmxsim_memory *memory);

/* An access happened that lies between begin and end. Of writes: after the bytes have been stored. */
void vmxsim_region_watch_report(struct vmxsim_memory *memory, uint64_t hpa, uint64_t length,
                                bool write);

/* Does a region lie on the page of `hpa`? */
bool vmxsim_region_watch_covers(const struct vmxsim_region_watch *watch, uint64_t hpa);

void vmxsim_region_watch_fini(struct vmxsim_region_watch *watch);

#endif
