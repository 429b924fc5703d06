/* SPDX-License-Identifier: Apache-2.0 */
/*
 * States for fuzzers of VM entry: rounding any VMCS to a valid one, and breaking a chosen number of rules of a valid one
 * by the smallest step.
 *
 * Both are written from the manual and know nothing of vmxsim_entry_check: what they say and what it says can be
 * compared. Rounding goes section by section; each field becomes a value near the one it had. Breaking applies recipes:
 * a recipe knows which bits it needs as they are, which it changes, and which rule that breaks; two recipes that care about
 * the same bit in different ways are never combined.
 *
 * Source: Intel SDM volume 3, "VM Entries".
 */
#ifndef VMXSIM_ENTRY_GENERATE_H
#define VMXSIM_ENTRY_GENERATE_H

#include "vmxsim/entry.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Rounds `vmcs` to one that a processor with this profile, in this state, enters: every rule on controls, host state and
 * guest state holds. The processor must pass the basic checks itself. The result depends on no memory: the link pointer
 * is none, the VM-entry MSR-load list is empty, the TPR threshold is 0, PAE paging comes with EPT.
 * Features of Intel PT, LBR, DEBUGCTL and SPEC_CTRL are rounded to the few bits every processor with the feature has.
 */
void vmxsim_entry_round(const struct vmxsim_profile *profile,
                        const struct vmxsim_entry_processor *processor, struct vmxsim_vmcs *vmcs);

#define VMXSIM_ENTRY_MAX_BROKEN 16u

/* What vmxsim_entry_break and vmxsim_entry_break_state did. */
struct vmxsim_entry_broken {
    uint32_t count;
    enum vmxsim_entry_rule
        rule[VMXSIM_ENTRY_MAX_BROKEN]; /* in the order in which they were broken */
};

/*
 * Breaks `count` rules (at most VMXSIM_ENTRY_MAX_BROKEN) of a VMCS that vmxsim_entry_round made for the same profile, or
 * fewer if no further recipe fits. `*random` is the state of the generator (any seed); it advances. Exactly
 * the rules in `*broken` are broken afterwards.
 */
void vmxsim_entry_break(const struct vmxsim_profile *profile, struct vmxsim_vmcs *vmcs,
                        uint32_t count, uint64_t *random, struct vmxsim_entry_broken *broken);

/* Bytes that recipes on memory use. */
#define VMXSIM_ENTRY_SCRATCH_SIZE UINT64_C(0x14000)

/* What vmxsim_entry_break_state may look at and change. */
struct vmxsim_entry_state {
    struct vmxsim_vmcs *vmcs;
    struct vmxsim_entry_processor *processor; /* NULL: only recipes that need none are used */
    struct vmxsim_memory *memory;             /* NULL: only recipes that need none are used */
    /*
     * RAM of VMXSIM_ENTRY_SCRATCH_SIZE bytes that holds nothing else. If it is not page aligned and below 4 GBytes, as
     * without memory.
     */
    uint64_t scratch_hpa;
};

/*
 * The same, with rules on the processor and on what lies in memory: link pointer, MSR-load list, PDPTEs, VTPR. The processor
 * is the one that the VMCS was rounded for, and passes the basic checks. Of memory, the scratch area alone is written.
 */
void vmxsim_entry_break_state(const struct vmxsim_profile *profile,
                              const struct vmxsim_entry_state *state, uint32_t count,
                              uint64_t *random, struct vmxsim_entry_broken *broken);

/*
 * The same for one rule, by any of its recipes that fits. False if none does; the VMCS and the processor are then as they were.
 */
bool vmxsim_entry_break_rule(const struct vmxsim_profile *profile,
                             const struct vmxsim_entry_state *state, enum vmxsim_entry_rule rule,
                             uint64_t *random);

/* True if there is a recipe that breaks this rule (on some profile, in some state; perhaps with processor or memory). */
bool vmxsim_entry_breakable(enum vmxsim_entry_rule rule);

#ifdef __cplusplus
}
#endif

#endif
