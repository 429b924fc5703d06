/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How the rules are written down. One function per section of the manual; in it, each rule reads like its sentence:
 *
 *     rule(check, VMXSIM_ENTRY_CTL_NMI_VNMI);
 *     if ((pin(check) & VMXC_PIN_VIRTUAL_NMIS) && !(pin(check) & VMXC_PIN_NMI_EXITING))
 *         violated(check, set_bits(check, F(PIN_BASED_CONTROLS), VMXC_PIN_NMI_EXITING));
 *
 * rule() starts a rule. The fields read until the next rule() are the fields the rule looked at; if one of them is not
 * known, the rule is undecided whatever violated() says. A rule is violated at most once: the first call counts.
 */
#ifndef VMXSIM_INTERNAL_ENTRY_H
#define VMXSIM_INTERNAL_ENTRY_H

#include "internal/entry_names.h"
#include "internal/profile.h"
#include "vmxcore/defs/controls.h"
#include "vmxcore/defs/ept.h"
#include "vmxcore/defs/msr.h"
#include "vmxcore/defs/paging.h"
#include "vmxsim/entry.h"

/* Stands for "something that is no VMCS field": memory, the processor's state. */
#define NO_FIELD VMXC_VMCS_FIELD_COUNT

/* Ordinal of a field by name. */
#define F(name) VMXC_VMCS_ORDINAL_##name

struct entry_check {
    const struct vmxsim_entry_input *input;
    const struct vmxsim_vmcs *vmcs; /* of the input */
    const struct vmxsim_features *features;
    struct vmxsim_entry_report *report;
    uint64_t beyond_width;                              /* bits a physical address must not have */
    bool may_note;                                      /* there are rules whose fields are noted */
    uint64_t to_note[VMXSIM_ENTRY_RULE_COUNT / 64 + 1]; /* which */

    /* The rule being evaluated. */
    enum vmxsim_entry_rule current;       /* VMXSIM_ENTRY_RULE_COUNT: none yet */
    uint16_t seen[VMXC_VMCS_FIELD_COUNT]; /* 1 + the last rule that looked at the field */
    bool noting;                          /* which fields it looks at */
    bool to_end; /* end_rule() has work: something is to be said, or may be noted */
    bool violated;
    bool missing;
    uint16_t missing_ordinal;
    uint8_t field_count;
    uint16_t field[VMXSIM_ENTRY_MAX_FIELDS];
    struct vmxsim_entry_violation violation;
};

/* What is wrong with which field, and the nearest value that satisfies the rule. */
struct entry_fault {
    uint16_t ordinal; /* NO_FIELD: no single field */
    uint64_t offending, value;
};

/* ---- entry_check.c: rules ---- */

/* Ready for the first rule; no field is noted. The report, which may be NULL, is where rules that do not hold go. */
void start_check(struct entry_check *check, const struct vmxsim_entry_input *input,
                 struct vmxsim_entry_report *report);

/* Ends the current rule: undecided, violated, or nothing to say. Says whether the fields of the next are noted. */
void end_rule(struct entry_check *check, enum vmxsim_entry_rule next);

static inline void rule(struct entry_check *check, enum vmxsim_entry_rule rule)
{
    if (check->to_end)
        end_rule(check, rule);
    check->current = rule;
}

void violated(struct entry_check *check, struct entry_fault fault);
/* As violated(), for the few entry failures whose exit qualification is not 0. */
void violated_with(struct entry_check *check, struct entry_fault fault, uint64_t qualification,
                   bool varies);
/* The current rule needs memory or processor state that is not known. */
void undecided(struct entry_check *check);

/* True if nothing has been said against the current rule: what builds on it may be evaluated. */
bool holds(const struct entry_check *check);

/* ---- entry_check.c: what rules look at ---- */

/* The current rule looks at this field. */
void note_field(struct entry_check *check, uint16_t ordinal);

/* Value of a field that the current rule looks at. */
static inline uint64_t value(struct entry_check *check, uint16_t ordinal)
{
    if (check->noting)
        note_field(check, ordinal);
    return check->vmcs->value[ordinal];
}

/* Control words as they count: one that is not activated is 0. */

static inline uint64_t pin(struct entry_check *check)
{
    return value(check, F(PIN_BASED_CONTROLS));
}

static inline uint64_t primary(struct entry_check *check)
{
    return value(check, F(PRIMARY_PROCESSOR_BASED_CONTROLS));
}

static inline uint64_t secondary(struct entry_check *check)
{
    return (primary(check) & VMXC_PRIMARY_ACTIVATE_SECONDARY_CONTROLS)
               ? value(check, F(SECONDARY_PROCESSOR_BASED_CONTROLS))
               : 0;
}

static inline uint64_t tertiary(struct entry_check *check)
{
    return (primary(check) & VMXC_PRIMARY_ACTIVATE_TERTIARY_CONTROLS)
               ? value(check, F(TERTIARY_PROCESSOR_BASED_CONTROLS))
               : 0;
}

static inline uint64_t exit_controls(struct entry_check *check)
{
    return value(check, F(PRIMARY_VM_EXIT_CONTROLS));
}

static inline uint64_t secondary_exit(struct entry_check *check)
{
    return (exit_controls(check) & VMXC_EXIT_ACTIVATE_SECONDARY_CONTROLS)
               ? value(check, F(SECONDARY_VM_EXIT_CONTROLS))
               : 0;
}

static inline uint64_t entry_controls(struct entry_check *check)
{
    return value(check, F(VM_ENTRY_CONTROLS));
}

/* An MSR of the profile; 0 if the profile does not have it. */
uint64_t other_msr(const struct entry_check *check, uint32_t msr);

/* The same, for those that are mostly the capability MSRs of VMX. */
static inline uint64_t capability(const struct entry_check *check, uint32_t msr)
{
    const uint32_t index = msr - VMXC_MSR_VMX_BASIC; /* others wrap to large numbers */

    return index < VMXSIM_CAPABILITY_MSRS ? check->input->profile->capability[index]
                                          : other_msr(check, msr);
}

/* True if memory is known; reads one quadword or doubleword of it. Otherwise the rule is undecided and the result 0. */
uint64_t memory64(struct entry_check *check, uint64_t hpa);
uint32_t memory32(struct entry_check *check, uint64_t hpa);
/* The first doubleword of a VMCS region. */
uint32_t region_header(struct entry_check *check, uint64_t hpa);

/* ---- entry_check.c: faults ---- */

struct entry_fault set_bits(struct entry_check *check, uint16_t ordinal, uint64_t bits);
struct entry_fault clear_bits(struct entry_check *check, uint16_t ordinal, uint64_t bits);
/* `offending` are the bits in which the field's value and `nearest` differ. */
struct entry_fault change_to(struct entry_check *check, uint16_t ordinal, uint64_t nearest);
/* Another value as a whole: what is wrong is not a matter of single bits. */
struct entry_fault replace_by(struct entry_check *check, uint16_t ordinal, uint64_t other);
/* No single field can be blamed or changed. */
struct entry_fault no_single_field(void);

/* ---- What a field must be. Each is a test + violated(), to be used after rule(). ---- */

/* The address whose bits 63 to width - 1 are copies of bit width - 1; width is 1 to 64. */
static inline uint64_t sign_extended(uint64_t address, unsigned int width)
{
    const uint64_t sign = VMXC_BIT(width - 1);

    return ((address & (sign | (sign - 1))) ^ sign) - sign;
}

static inline uint64_t nearest_canonical(const struct entry_check *check, uint64_t address)
{
    return sign_extended(address, check->features->linear_width);
}

static inline bool is_canonical(const struct entry_check *check, uint64_t address)
{
    return nearest_canonical(check, address) == address;
}

/* entry_check.c: the field must have the value `nearest`, and has not. */
void must_change(struct entry_check *check, uint16_t ordinal, uint64_t nearest);

/* The field must have this value. */
static inline void must_equal(struct entry_check *check, uint16_t ordinal, uint64_t nearest)
{
    if (value(check, ordinal) != nearest)
        must_change(check, ordinal, nearest);
}

/* These bits of the field must be 0. */
static inline void must_lack(struct entry_check *check, uint16_t ordinal, uint64_t bits)
{
    const uint64_t current = value(check, ordinal);

    if (current & bits)
        must_change(check, ordinal, current & ~bits);
}

/* These bits of the field must be 1. */
static inline void must_have(struct entry_check *check, uint16_t ordinal, uint64_t bits)
{
    const uint64_t current = value(check, ordinal);

    if (~current & bits)
        must_change(check, ordinal, current | bits);
}

/* The field must hold a canonical address for the width the processor supports. */
static inline void must_be_canonical(struct entry_check *check, uint16_t ordinal)
{
    must_equal(check, ordinal, nearest_canonical(check, value(check, ordinal)));
}

/* ---- Rules of a common shape. Each is rule() + test + violated(). ---- */

/* Bits of must_be_1 must be 1; bits that may_be_1 lacks must be 0. */
static inline void require_allowed(struct entry_check *check, enum vmxsim_entry_rule id,
                                   uint16_t ordinal, uint64_t must_be_1, uint64_t may_be_1)
{
    rule(check, id);
    must_equal(check, ordinal, (value(check, ordinal) | must_be_1) & may_be_1);
}

/* The bits must be 0. */
static inline void require_zero(struct entry_check *check, enum vmxsim_entry_rule id,
                                uint16_t ordinal, uint64_t bits)
{
    rule(check, id);
    must_lack(check, ordinal, bits);
}

/* The bits must be 1. */
static inline void require_set(struct entry_check *check, enum vmxsim_entry_rule id,
                               uint16_t ordinal, uint64_t bits)
{
    rule(check, id);
    must_have(check, ordinal, bits);
}

/* A canonical linear address for the width the processor supports. */
static inline void require_canonical(struct entry_check *check, enum vmxsim_entry_rule id,
                                     uint16_t ordinal)
{
    rule(check, id);
    must_be_canonical(check, ordinal);
}

/* ---- entry_check.c: rules of a common shape ---- */

/* A 32-bit control word against its capability MSR: `true_msr` where IA32_VMX_BASIC says that it exists, else `msr`. */
void require_capable(struct entry_check *check, enum vmxsim_entry_rule id, uint16_t ordinal,
                     uint32_t msr, uint32_t true_msr);
/* The two rules of an MSR list: its address, if it is not empty; its last byte, if the address is fine. */
void require_msr_list(struct entry_check *check, enum vmxsim_entry_rule address_rule,
                      enum vmxsim_entry_rule last_rule, uint16_t address, uint16_t count);

/* ---- What the profile's CPUID says ---- */

static inline bool has_feature(const struct entry_check *check, enum cpuid_feature feature)
{
    return check->input->profile->has_cpuid[feature];
}

/* A register of a leaf; 0 if the profile does not list the leaf. */
uint32_t cpuid(const struct entry_check *check, uint32_t leaf, uint32_t subleaf,
               enum cpuid_register reg);

/* ---- entry_msr_bits.c: what an MSR can hold ---- */

/* Bits of one of the MSRs below that this processor reserves; all of them if it does not have the MSR. */
uint64_t reserved_in_debugctl(const struct entry_check *check);
uint64_t reserved_in_efer(const struct entry_check *check);
uint64_t reserved_in_perf_global_ctrl(const struct entry_check *check);
uint64_t reserved_in_cet(const struct entry_check *check);
uint64_t reserved_in_spec_ctrl(const struct entry_check *check);
uint64_t reserved_in_lbr_ctl(const struct entry_check *check);
uint64_t reserved_in_xss(const struct entry_check *check);
/* IA32_RTIT_CTL also has fields of which some values are reserved; `value` decides about those. */
uint64_t reserved_in_rtit_ctl(const struct entry_check *check, uint64_t value);
/* Bits above MAXPHYADDR: unlike entry_check.beyond_width, whatever IA32_VMX_BASIC says of VMX structures. */
uint64_t beyond_physical(const struct entry_check *check);
/* The nearest value of IA32_PAT in which every byte is a memory type. */
uint64_t nearest_pat(uint64_t value);

/* ---- entry_wrmsr.c ---- */

/* Would WRMSR of this value at CPL 0, right after the guest state is loaded, succeed? */
bool wrmsr_succeeds(struct entry_check *check, uint32_t msr, uint64_t value);

/* entry_outcome.c: from the broken rules to what a processor may report. */
void entry_outcomes(const struct vmxsim_entry_input *input, struct vmxsim_entry_report *report);

/* ---- One function per section of the manual ---- */

void check_basic(struct entry_check *check);              /* entry_basic.c */
void check_execution_controls(struct entry_check *check); /* entry_execution.c */
void check_exit_controls(struct entry_check *check);      /* entry_exit.c */
void check_entry_controls(struct entry_check *check);     /* entry_entry.c */
void check_host_registers(struct entry_check *check);     /* entry_host.c */
void check_host_segments(struct entry_check *check);      /* entry_host.c */
void check_host_size(struct entry_check *check);          /* entry_host.c */
void check_guest_registers(struct entry_check *check);    /* entry_guest_registers.c */
void check_guest_segments(struct entry_check *check);     /* entry_guest_segments.c */
void check_guest_tables(struct entry_check *check);       /* entry_guest_tables.c */
void check_guest_rip(struct entry_check *check);          /* entry_guest_rip.c */
void check_guest_non_register(struct entry_check *check); /* entry_guest_non_register.c */
void check_guest_pdptes(struct entry_check *check);       /* entry_guest_pdptes.c */
void check_msr_load(struct entry_check *check);           /* entry_msr_load.c */

#endif
