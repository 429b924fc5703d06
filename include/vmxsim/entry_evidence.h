/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How each rule of a VM entry was cross-checked, and which tests exercise it.
 *
 * An engine stops at the first check that fails and reports an outcome, not a rule. A case speaks for the violated rules that
 * lead to what the engine reported: alone if there is one, together if there are several. Where the engine departs
 * from the manual, the rules that lead to what the manual asks for are contradicted. A case in which the guest was
 * entered speaks for no rule.
 */
#ifndef VMXSIM_ENTRY_EVIDENCE_H
#define VMXSIM_ENTRY_EVIDENCE_H

#include "vmxsim/entry.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Another implementation that VM entries were compared with. */
struct vmxsim_entry_engine {
    const char *name, *version; /* static */
    const char *
        model; /* CPU model of a large run with generated experiments; "": recordings of several; static */
    const char *how; /* "recorded": vectors in tests/vectors/; "seed N": a large run; static */
    uint32_t cases;  /* VM entries judged */
};

/* NULL for a number that is no engine: they are numbered from 0 without holes. */
const struct vmxsim_entry_engine *vmxsim_entry_engine(unsigned engine);

/* Cases of one engine for one rule. */
struct vmxsim_entry_evidence {
    uint32_t alone;        /* the engine reported what only this rule leads to */
    uint32_t together;     /* ... what this and other violated rules lead to */
    uint32_t contradicted; /* the engine did not do what breaking the rule leads to */
    const char *
        deviations; /* ids of the known deviations behind these, separated by spaces; NULL with none; static */
};

/* All zero: no case. NULL if there is no such rule or engine. */
const struct vmxsim_entry_evidence *vmxsim_entry_evidence(enum vmxsim_entry_rule rule,
                                                          unsigned engine);

/* Why no experiment breaks this rule alone on this engine; NULL: it can be broken, or that is not known. Static. */
const char *vmxsim_entry_unreachable(enum vmxsim_entry_rule rule, unsigned engine);

/* What all engines together say of a rule. */
enum vmxsim_entry_standing {
    VMXSIM_ENTRY_ONE_SOURCE,   /* nothing: only the manual */
    VMXSIM_ENTRY_WITH_OTHERS,  /* broken only together with others that lead to the same outcome */
    VMXSIM_ENTRY_CONTRADICTED, /* an engine does otherwise, none confirms it */
    VMXSIM_ENTRY_DISPUTED,     /* confirmed in some cases, contradicted in others */
    VMXSIM_ENTRY_CONFIRMED,    /* at least one case with this rule alone, none against it */
    VMXSIM_ENTRY_STANDING_COUNT
};

/* VMXSIM_ENTRY_ONE_SOURCE for a number that is no rule. */
enum vmxsim_entry_standing vmxsim_entry_standing(enum vmxsim_entry_rule rule);

/* "one source", "with others", "contradicted", "disputed", "confirmed"; "" for any other number. Static. */
const char *vmxsim_entry_standing_name(enum vmxsim_entry_standing standing);

/* Tests of one rule. */
struct vmxsim_entry_tests {
    uint16_t broken,
        holding; /* cases of tests/data/entry_cases.def, run by the suite entry_rules */
    uint16_t
        recipes; /* of vmxsim_entry_break for it; the suite entry_generate breaks it in random states */
    const char *suites; /* other suites that name it, separated by spaces; static */
};

/* NULL for a number that is no rule. */
const struct vmxsim_entry_tests *vmxsim_entry_tests(enum vmxsim_entry_rule rule);

#ifdef __cplusplus
}
#endif

#endif
