/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The translations that a processor caches.
 *
 *     off      nothing is cached: each access walks all tables
 *     exact    what is cached is used only while a walk would come to the same: outcomes are those of off
 *     lazy     what is cached is used until something happens that has to invalidate it
 *
 * exact makes accesses fast. The entries that a translation was made from are known, and so are writes: the functions of
 * memory.h, the processors' own stores, and the HAL's mark_dirty. Software that stores through pointers of the HAL calls
 * mark_dirty before each store, as libvmxcore does. Nothing is cached that was translated by entries on pages that are handed
 * out (snapshot.h) or to which vmxsim_memory_pointer has given a pointer.
 *
 * lazy shows what a processor may do to software that has changed a table and has not invalidated what was cached: an access
 * that is translated by entries that have changed since, in a way that calls for an invalidation, is a hazard
 * (VMXSIM_HAZARD_TLB_EPT, VMXSIM_HAZARD_TLB_PAGING). Linear, guest-physical and combined mappings are cached, by VPID, PCID and
 * EPTP, global pages included; entries that are not present or have reserved bits set never are. Writes use nothing whose
 * dirty flags are not known to be set.
 *
 * Source: Intel SDM volume 3, "Caching Translation Information" (of paging, and of VMX).
 */
#ifndef VMXSIM_TLB_H
#define VMXSIM_TLB_H

#include "vmxsim/cpu.h"

#ifdef __cplusplus
extern "C" {
#endif

enum vmxsim_tlb_mode {
    VMXSIM_TLB_OFF, /* of a new processor */
    VMXSIM_TLB_EXACT,
    VMXSIM_TLB_LAZY,
    VMXSIM_TLB_MODE_COUNT
};

/* "off", "exact", "lazy"; an empty string for unknown numbers. */
const char *vmxsim_tlb_mode_name(enum vmxsim_tlb_mode mode);

/*
 * Drops what is cached and goes on in `mode`, which resets of the processor and snapshots do not change.
 * Errors: VMXC_INVALID_INPUT (mode), VMXC_NO_MEMORY.
 */
VMXC_MUST_CHECK enum vmxc_status vmxsim_cpu_set_tlb(struct vmxsim_cpu *cpu,
                                                    enum vmxsim_tlb_mode mode);
enum vmxsim_tlb_mode vmxsim_cpu_tlb(const struct vmxsim_cpu *cpu);

/* Since the mode was set. */
struct vmxsim_tlb_stats {
    uint64_t walks;    /* pages of accesses that were not in the cache */
    uint64_t stale;    /* uses of a translation whose entries have changed: hazards (lazy) */
    uint64_t mappings; /* in the cache now; with exact, some may turn out to be of no use */
};
struct vmxsim_tlb_stats vmxsim_cpu_tlb_stats(const struct vmxsim_cpu *cpu);

#ifdef __cplusplus
}
#endif

#endif
