/* SPDX-License-Identifier: Apache-2.0 */
/*
 * VM-entry checks: what a processor makes of a VMCS, and every rule that the VMCS breaks.
 *
 * A processor stops at the first rule it finds broken and does not say which one it was. vmxsim_entry_check evaluates all of
 * them and reports, per broken rule, the fields it looked at, the offending bits and the smallest change that
 * satisfies it; and the set of outcomes that a processor may report.
 *
 * Source: Intel SDM volume 3, "VM Entries".
 */
#ifndef VMXSIM_ENTRY_H
#define VMXSIM_ENTRY_H

#include "vmxsim/memory.h"
#include "vmxsim/profile.h"
#include "vmxsim/vmcs.h"

#ifdef __cplusplus
extern "C" {
#endif

enum vmxsim_entry_group {
#define VMXSIM_ENTRY_GROUP(name, section, outcome, number) VMXSIM_ENTRY_GROUP_##name,
#include "vmxsim/entry_rules.def"
    VMXSIM_ENTRY_GROUP_COUNT
};

enum vmxsim_entry_rule {
#define VMXSIM_ENTRY_RULE(name, id, group, sentence) VMXSIM_ENTRY_##name,
#include "vmxsim/entry_rules.def"
    VMXSIM_ENTRY_RULE_COUNT
};

struct vmxsim_entry_rule_info {
    const char *id, *sentence; /* static */
    enum vmxsim_entry_group group;
};

/* NULL for a number that is no rule. */
const struct vmxsim_entry_rule_info *vmxsim_entry_rule_info(enum vmxsim_entry_rule rule);

/* Title of the manual's section that a group of rules stands in; static. */
const char *vmxsim_entry_group_section(enum vmxsim_entry_group group);

/* The rule with this id ("GUEST.CR0.FIXED"); VMXSIM_ENTRY_RULE_COUNT if there is none. */
enum vmxsim_entry_rule vmxsim_entry_rule_by_id(const char *id);

/* What VMLAUNCH or VMRESUME came to. */
enum vmxsim_entry_outcome_kind {
    VMXSIM_ENTRY_ENTERED,
    VMXSIM_ENTRY_EXCEPTION, /* number: the vector; error code 0 where the vector has one */
    VMXSIM_ENTRY_VM_EXIT, /* number: exit reason; the instruction was executed in VMX non-root operation */
    VMXSIM_ENTRY_VMFAIL_INVALID,
    VMXSIM_ENTRY_VMFAIL_VALID, /* number: VM-instruction error */
    VMXSIM_ENTRY_FAILURE,      /* number: basic exit reason (33, 34); bit 31 is implied */
};

struct vmxsim_entry_outcome {
    enum vmxsim_entry_outcome_kind kind;
    uint32_t number;
    uint64_t qualification; /* entry failures */
};

/* A VMCS field, by its ordinal, and the value it should have. */
struct vmxsim_entry_change {
    uint16_t ordinal;
    uint64_t value;
};

#define VMXSIM_ENTRY_MAX_FIELDS  8u
#define VMXSIM_ENTRY_MAX_CHANGES 8u

/* One broken rule. */
struct vmxsim_entry_violation {
    enum vmxsim_entry_rule rule;
    uint8_t field_count;
    uint16_t field
        [VMXSIM_ENTRY_MAX_FIELDS]; /* ordinals the rule looked at; the first is the one at fault */
    uint64_t offending; /* bits of field[0] that break the rule; 0: not a matter of bits */
    /* Make these changes, all of them, and the rule holds. None: no field can satisfy the rule. */
    uint8_t change_count;
    struct vmxsim_entry_change change[VMXSIM_ENTRY_MAX_CHANGES];
    uint64_t qualification;    /* of the entry failure that this rule alone leads to */
    bool qualification_varies; /* processors may report another one, or not check the rule at all */
};

/* A rule that could not be decided because something it looks at is not known. */
struct vmxsim_entry_undecided {
    enum vmxsim_entry_rule rule;
    uint16_t
        ordinal; /* the missing field; VMXC_VMCS_FIELD_COUNT: memory, or the processor's state */
};

#define VMXSIM_ENTRY_MAX_OUTCOMES 8u

struct vmxsim_entry_report {
    uint32_t violation_count, undecided_count, outcome_count;
    struct vmxsim_entry_violation
        violation[VMXSIM_ENTRY_RULE_COUNT]; /* in the order of the rules */
    struct vmxsim_entry_undecided undecided[VMXSIM_ENTRY_RULE_COUNT];
    /* What a processor may report; the first is what the model does. */
    struct vmxsim_entry_outcome outcome[VMXSIM_ENTRY_MAX_OUTCOMES];
};

/* The processor that executes VMLAUNCH or VMRESUME. */
struct vmxsim_entry_processor {
    uint64_t cr0, cr4, efer, rflags;
    uint8_t cpl;
    bool in_vmx, in_non_root; /* VMX operation; VMX non-root operation */
    bool
        code_64bit; /* CS.L; with EFER.LMA = 1 and CS.L = 0 the processor is in compatibility mode */
    bool blocking_by_mov_ss;
    bool in_smm;
    bool vmresume;          /* the instruction; false: VMLAUNCH */
    bool launched;          /* launch state of the current VMCS */
    bool current_is_shadow; /* the current VMCS has the shadow indicator */
    bool has_current;       /* there is a current VMCS */
    uint64_t current_vmcs;  /* its address */
};

/* Everything the checks look at. */
struct vmxsim_entry_input {
    const struct vmxsim_vmcs *vmcs;
    const uint64_t *known; /* bit per ordinal: the field's value is known; NULL: all are */
    const struct vmxsim_profile *profile;
    const struct vmxsim_entry_processor *processor;
    struct vmxsim_memory *memory; /* NULL: not known; rules that read memory are undecided */
};

#define VMXSIM_VMCS_KNOWN_WORDS ((VMXC_VMCS_FIELD_COUNT + 63) / 64)

/* VMLAUNCH at CPL 0 in VMX root operation, 64-bit mode, with a clear current VMCS at `current_vmcs`. */
struct vmxsim_entry_processor vmxsim_entry_processor_default(uint64_t current_vmcs);

/* Evaluates every rule. Cannot fail; what is not known is reported as undecided. */
void vmxsim_entry_check(const struct vmxsim_entry_input *input, struct vmxsim_entry_report *report);

/* Makes the changes that a violation suggests. */
void vmxsim_entry_apply(const struct vmxsim_entry_violation *violation, struct vmxsim_vmcs *vmcs);

/*
 * Rules that these changes would break: what a check of the changed VMCS reports and `report`, a check of `input`, does not.
 * Fills `broken`, which may be NULL, in the order of the rules, and returns their number.
 */
uint32_t vmxsim_entry_newly_broken(const struct vmxsim_entry_input *input,
                                   const struct vmxsim_entry_report *report,
                                   const struct vmxsim_entry_violation *violation,
                                   enum vmxsim_entry_rule broken[VMXSIM_ENTRY_RULE_COUNT]);

#ifdef __cplusplus
}
#endif

#endif
