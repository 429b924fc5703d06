/* SPDX-License-Identifier: Apache-2.0 */
/* What speaks for the rules of a VM entry beside the manual: entry_evidence.def as tables. */
#include "vmxsim/entry_evidence.h"

enum engine {
#define VMXSIM_ENTRY_ENGINE(key, name, version, model, how, cases) ENGINE_##key,
#include "entry_evidence.def"
    ENGINE_COUNT
};

static const struct vmxsim_entry_engine engines[ENGINE_COUNT] = {
#define VMXSIM_ENTRY_ENGINE(key, name, version, model, how, cases) \
    [ENGINE_##key] = {name, version, model, how, cases},
#include "entry_evidence.def"
};

static const struct vmxsim_entry_evidence evidence[VMXSIM_ENTRY_RULE_COUNT][ENGINE_COUNT] = {
#define VMXSIM_ENTRY_EVIDENCE(rule, engine, alone, together, contradicted, deviations) \
    [VMXSIM_ENTRY_##rule][ENGINE_##engine] = {alone, together, contradicted, deviations},
#include "entry_evidence.def"
};

static const char *const unreachable[VMXSIM_ENTRY_RULE_COUNT][ENGINE_COUNT] = {
#define VMXSIM_ENTRY_UNREACHABLE(rule, engine, why) [VMXSIM_ENTRY_##rule][ENGINE_##engine] = (why),
#include "entry_evidence.def"
};

static const struct vmxsim_entry_tests tests[VMXSIM_ENTRY_RULE_COUNT] = {
#define VMXSIM_ENTRY_TESTS(rule, broken, holding, recipes, suites) \
    [VMXSIM_ENTRY_##rule] = {broken, holding, recipes, suites},
#include "entry_evidence.def"
};

const struct vmxsim_entry_engine *vmxsim_entry_engine(unsigned engine)
{
    return engine < ENGINE_COUNT ? &engines[engine] : NULL;
}

const struct vmxsim_entry_evidence *vmxsim_entry_evidence(enum vmxsim_entry_rule rule,
                                                          unsigned engine)
{
    if ((unsigned)rule >= VMXSIM_ENTRY_RULE_COUNT || engine >= ENGINE_COUNT)
        return NULL;
    return &evidence[rule][engine];
}

const char *vmxsim_entry_unreachable(enum vmxsim_entry_rule rule, unsigned engine)
{
    if ((unsigned)rule >= VMXSIM_ENTRY_RULE_COUNT || engine >= ENGINE_COUNT)
        return NULL;
    return unreachable[rule][engine];
}

enum vmxsim_entry_standing vmxsim_entry_standing(enum vmxsim_entry_rule rule)
{
    uint32_t alone = 0, together = 0, contradicted = 0;

    for (unsigned i = 0; vmxsim_entry_evidence(rule, i) != NULL; i++) {
        alone += evidence[rule][i].alone;
        together += evidence[rule][i].together;
        contradicted += evidence[rule][i].contradicted;
    }
    if (contradicted != 0)
        return alone != 0 ? VMXSIM_ENTRY_DISPUTED : VMXSIM_ENTRY_CONTRADICTED;
    if (alone != 0)
        return VMXSIM_ENTRY_CONFIRMED;
    return together != 0 ? VMXSIM_ENTRY_WITH_OTHERS : VMXSIM_ENTRY_ONE_SOURCE;
}

const char *vmxsim_entry_standing_name(enum vmxsim_entry_standing standing)
{
    static const char *const names[VMXSIM_ENTRY_STANDING_COUNT] = {
        [VMXSIM_ENTRY_ONE_SOURCE] = "one source",     [VMXSIM_ENTRY_WITH_OTHERS] = "with others",
        [VMXSIM_ENTRY_CONTRADICTED] = "contradicted", [VMXSIM_ENTRY_DISPUTED] = "disputed",
        [VMXSIM_ENTRY_CONFIRMED] = "confirmed",
    };

    return (unsigned)standing < VMXSIM_ENTRY_STANDING_COUNT ? names[standing] : "";
}

const struct vmxsim_entry_tests *vmxsim_entry_tests(enum vmxsim_entry_rule rule)
{
    return (unsigned)rule < VMXSIM_ENTRY_RULE_COUNT ? &tests[rule] : NULL;
}
