/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hazards: uses of VMXON and VMCS regions that the manual warns of, without saying what comes of them; and translations that
 * were used although software has changed what they were made from (tlb.h, lazy).
 *
 * A hazard is no outcome. Execution goes on as the model defines it (the processor holds the fields of its current VMCS,
 * and VMPTRLD of another and VMCLEAR write them back); the hazard is counted, the last ones are kept, and a callback is
 * told. The log belongs to the memory, because the processors of a machine share it.
 *
 *     vmxsim_memory_read, _write ...     what tests and scripts do   --.
 *     guest accesses, walks, MSR lists   what processors do            +--> hazard, at once
 *     VMXON, VMXOFF, VMPTRLD, VMCLEAR    two processors, one region  --'
 *     pointers from the HAL              a write that changes data   ----> hazard, when a processor next uses the region
 *
 * Reads through pointers, and writes through pointers that leave the data as they were, are not seen. Bytes 0 to 7 of a
 * VMCS region are no VMCS data: software may read both doublewords and write the VMX-abort indicator.
 *
 * Source: Intel SDM volume 3, "Software Use of the VMCS and Related Structures".
 */
#ifndef VMXSIM_HAZARD_H
#define VMXSIM_HAZARD_H

#include "vmxsim/cpu.h"

#ifdef __cplusplus
extern "C" {
#endif

enum vmxsim_hazard_rule {
#define VMXSIM_HAZARD_RULE(name, id, section, sentence) VMXSIM_HAZARD_##name,
#include "vmxsim/hazard_rules.def"
    VMXSIM_HAZARD_RULE_COUNT
};

struct vmxsim_hazard_rule_info {
    const char *id, *section, *sentence; /* static */
};
/* Never NULL; empty strings for unknown numbers. */
const struct vmxsim_hazard_rule_info *vmxsim_hazard_rule_info(enum vmxsim_hazard_rule rule);

struct vmxsim_hazard {
    enum vmxsim_hazard_rule rule;
    uint32_t processor;  /* whose region, or whose translation it is: vmxsim_cpu_number */
    uint64_t region_hpa; /* of the VMXON or VMCS region; 0: a stale translation */

    /* Two processors, one region: the one whose instruction brought it about. */
    bool by_processor;
    uint32_t other_processor;

    /* Accesses through memory; length is 0 otherwise. */
    uint64_t hpa, length; /* bytes, as far as they lie in the region */
    bool write;
    bool found_later; /* nobody saw the write: the data of the region have changed */

    /* A stale translation: `hpa` is where the first entry lies that has changed. */
    uint8_t level;        /* of the entry: 1 = PTE ... 5 */
    uint64_t address;     /* that was translated: guest-physical (TLB_EPT), linear (TLB_PAGING) */
    uint64_t cached, now; /* the entry, as it was and as it is */
};

/* Hazards since creation, reset or the last vmxsim_hazards_forget. */
uint64_t vmxsim_hazard_count(const struct vmxsim_memory *memory);

/* Copies the last hazards, at most `capacity` and VMXSIM_HAZARDS_KEPT, oldest first; returns how many. */
#define VMXSIM_HAZARDS_KEPT 16u
uint32_t vmxsim_hazards_last(const struct vmxsim_memory *memory, struct vmxsim_hazard *hazards,
                             uint32_t capacity);

/* Empties the log. */
void vmxsim_hazards_forget(struct vmxsim_memory *memory);

/* Called on each hazard; NULL: nothing. The callback must not use the memory or its processors. */
void vmxsim_memory_on_hazard(struct vmxsim_memory *memory,
                             void (*callback)(void *context, const struct vmxsim_hazard *hazard),
                             void *context);

#ifdef __cplusplus
}
#endif

#endif
