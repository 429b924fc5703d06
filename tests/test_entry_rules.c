/* SPDX-License-Identifier: Apache-2.0 */
/*
 * VM-entry rules, one by one: the cases of tests/data/entry_cases.def against vmxsim_entry_check.
 *
 * Every rule needs a case that breaks it and a case beside it in which it holds. Of each broken rule the test wants
 * the exact set of violations, the set of outcomes, a field at fault that the case changed, and suggested changes that
 * lead back to a valid state.
 */
#include <check.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/entry_state.h"
#include "support/suite.h"

struct outcome_set {
    unsigned count;
    struct vmxsim_entry_outcome outcome[3];
};

struct entry_case {
    enum vmxsim_entry_rule rule;
    bool breaks;
    enum vmxsim_entry_rule with; /* broken too; VMXSIM_ENTRY_RULE_COUNT: none */
    const char *reason;          /* why */
    struct outcome_set outcomes;
    enum entry_profile profile;
    enum entry_base base;
    const char *note;
    const struct entry_step *steps;
};

/* clang-format off */
#define ONE_OUTCOME(kind, number, qualification) {1, {{VMXSIM_ENTRY_##kind, (number), (qualification)}}}
#define FAULT(vector)        ONE_OUTCOME(EXCEPTION, vector, 0)
#define EXITS(exit_reason)   ONE_OUTCOME(VM_EXIT, exit_reason, 0)
#define INVALID              ONE_OUTCOME(VMFAIL_INVALID, 0, 0)
#define VALID(error)         ONE_OUTCOME(VMFAIL_VALID, error, 0)
#define FAILS(qualification) ONE_OUTCOME(FAILURE, 33, qualification)
#define LOADS(entry)         ONE_OUTCOME(FAILURE, 34, entry)
/* A processor may require it or not, and processors may give different exit qualifications for the same VMCS. */
#define NMI_AFTER_STI \
    {3, {{VMXSIM_ENTRY_FAILURE, 33, 3}, {VMXSIM_ENTRY_FAILURE, 33, 0}, {VMXSIM_ENTRY_ENTERED, 0, 0}}}
/* Undefined by the manual: the list is loaded, or the entry fails at the first entry beyond the maximum. */
#define TOO_MANY             {2, {{VMXSIM_ENTRY_FAILURE, 34, 513}, {VMXSIM_ENTRY_ENTERED, 0, 0}}}

#define R1(other)  VMXSIM_ENTRY_##other
#define STEPS(...) (const struct entry_step[]){__VA_ARGS__, {ENTRY_STEP_END, 0, 0, 0}}

#define BREAKS_WITH(rule_, with_, reason_, outcomes_, profile_, base_, note_, ...)                    \
    {VMXSIM_ENTRY_##rule_, true, with_, reason_, outcomes_, ENTRY_PROFILE_##profile_, ENTRY_BASE_##base_, \
     note_, STEPS(__VA_ARGS__)},
#define BREAKS(rule_, outcomes_, profile_, base_, note_, ...)                                         \
    {VMXSIM_ENTRY_##rule_, true, VMXSIM_ENTRY_RULE_COUNT, "", outcomes_, ENTRY_PROFILE_##profile_,       \
     ENTRY_BASE_##base_, note_, STEPS(__VA_ARGS__)},
#define HOLDS(rule_, profile_, base_, note_, ...)                                                     \
    {VMXSIM_ENTRY_##rule_, false, VMXSIM_ENTRY_RULE_COUNT, "", ONE_OUTCOME(ENTERED, 0, 0),                \
     ENTRY_PROFILE_##profile_, ENTRY_BASE_##base_, note_, STEPS(__VA_ARGS__)},

static const struct entry_case cases[] = {
#include "data/entry_cases.def"
};
/* clang-format on */

#define CASES (sizeof(cases) / sizeof(cases[0]))

/* Rules that no case can reach, with the reason; they are counted apart. */
static const struct {
    enum vmxsim_entry_rule rule;
    const char *reason;
} unreachable[] = {
    {VMXSIM_ENTRY_RULE_COUNT, "none"},
};

static const char *rule_id(enum vmxsim_entry_rule rule)
{
    return vmxsim_entry_rule_info(rule)->id;
}

/* ---- Failures: all of them are printed, then the test fails once ---- */

static unsigned failures;

static void __attribute__((format(printf, 2, 3)))
complain(const struct entry_case *entry_case, const char *format, ...)
{
    va_list arguments;

    failures++;
    fprintf(stderr, "%s (%s, profile %d, %s, \"%s\"): ", rule_id(entry_case->rule),
            entry_case->breaks ? "breaks" : "holds", (int)entry_case->profile,
            entry_base_names[entry_case->base], entry_case->note);
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
}

static void init_case(const struct entry_case *entry_case, struct entry_state *state)
{
    entry_state_init(state, entry_case->profile, entry_case->base);
    entry_state_apply(state, entry_case->steps);
}

/* ---- Violations ---- */

static bool is_expected(const struct entry_case *entry_case, enum vmxsim_entry_rule rule)
{
    return entry_case->breaks && (rule == entry_case->rule || rule == entry_case->with);
}

static bool reports(const struct vmxsim_entry_report *report, enum vmxsim_entry_rule rule)
{
    for (uint32_t i = 0; i < report->violation_count; i++) {
        if (report->violation[i].rule == rule)
            return true;
    }
    return false;
}

static void compare_violations(const struct entry_case *entry_case,
                               const struct vmxsim_entry_report *report)
{
    for (int rule = 0; rule < VMXSIM_ENTRY_RULE_COUNT; rule++) {
        const bool expected = is_expected(entry_case, rule), reported = reports(report, rule);
        if (expected != reported)
            complain(entry_case, "%s is %s", rule_id(rule), reported ? "reported" : "missing");
    }
    if (report->undecided_count != 0)
        complain(entry_case, "%s is undecided", rule_id(report->undecided[0].rule));
}

/* ---- Outcomes ---- */

static bool same_outcome(const struct vmxsim_entry_outcome *a, const struct vmxsim_entry_outcome *b)
{
    return a->kind == b->kind && a->number == b->number && a->qualification == b->qualification;
}

static bool has_outcome(const struct vmxsim_entry_outcome *set, unsigned count,
                        const struct vmxsim_entry_outcome *outcome)
{
    for (unsigned i = 0; i < count; i++) {
        if (same_outcome(&set[i], outcome))
            return true;
    }
    return false;
}

static void complain_outcome(const struct entry_case *entry_case, const char *what,
                             const struct vmxsim_entry_outcome *outcome)
{
    complain(entry_case, "%s outcome: kind %d, number %" PRIu32 ", qualification %" PRIu64, what,
             (int)outcome->kind, outcome->number, outcome->qualification);
}

static void compare_outcomes(const struct entry_case *entry_case,
                             const struct vmxsim_entry_report *report)
{
    const struct outcome_set *set = &entry_case->outcomes;

    for (unsigned i = 0; i < set->count; i++) {
        if (!has_outcome(report->outcome, report->outcome_count, &set->outcome[i]))
            complain_outcome(entry_case, "missing", &set->outcome[i]);
    }
    for (unsigned i = 0; i < report->outcome_count; i++) {
        if (!has_outcome(set->outcome, set->count, &report->outcome[i]))
            complain_outcome(entry_case, "unlawful", &report->outcome[i]);
    }
}

/* ---- Fields at fault ---- */

static bool changes_field(const struct entry_case *entry_case, uint16_t ordinal)
{
    for (const struct entry_step *step = entry_case->steps; step->kind != ENTRY_STEP_END; step++) {
        if (step->kind <= ENTRY_STEP_OFF && step->where == ordinal)
            return true;
    }
    return false;
}

/* Something other than a field of the VMCS is changed. */
static bool changes_surroundings(const struct entry_case *entry_case)
{
    for (const struct entry_step *step = entry_case->steps; step->kind != ENTRY_STEP_END; step++) {
        if (step->kind > ENTRY_STEP_OFF)
            return true;
    }
    return false;
}

static void check_fields(const struct entry_case *entry_case,
                         const struct vmxsim_entry_report *report)
{
    for (uint32_t i = 0; i < report->violation_count; i++) {
        const struct vmxsim_entry_violation *violation = &report->violation[i];
        bool named = changes_surroundings(entry_case);
        for (unsigned j = 0; j < violation->field_count; j++)
            named = named || changes_field(entry_case, violation->field[j]);
        if (!named)
            complain(entry_case, "%s names no field that was changed", rule_id(violation->rule));
        if (violation->change_count != 0 &&
            (violation->field_count == 0 || violation->field[0] != violation->change[0].ordinal))
            complain(entry_case, "%s changes another field than the one at fault",
                     rule_id(violation->rule));
    }
}

/* ---- Suggested changes ---- */

static bool suggests(const struct vmxsim_entry_violation *violation)
{
    return violation->change_count != 0;
}

static void check_widths(const struct entry_case *entry_case,
                         const struct vmxsim_entry_violation *violation)
{
    for (unsigned i = 0; i < violation->change_count; i++) {
        const struct vmxsim_entry_change *change = &violation->change[i];
        if (change->value & ~vmxsim_vmcs_width_mask(vmxsim_vmcs_encoding(change->ordinal)))
            complain(entry_case, "%s suggests a value wider than its field",
                     rule_id(violation->rule));
    }
}

/* Rules that are broken now and were not before are those that the library names. */
static void check_newly_broken(const struct entry_case *entry_case,
                               const struct entry_state *broken,
                               const struct vmxsim_entry_report *before,
                               const struct vmxsim_entry_violation *violation,
                               const struct vmxsim_entry_report *after)
{
    enum vmxsim_entry_rule named[VMXSIM_ENTRY_RULE_COUNT];
    const struct vmxsim_entry_input input = entry_state_input(broken);
    const uint32_t count = vmxsim_entry_newly_broken(&input, before, violation, named);
    uint32_t next = 0;

    for (uint32_t i = 0; i < after->violation_count; i++) {
        if (reports(before, after->violation[i].rule))
            continue;
        if (next == count || named[next++] != after->violation[i].rule)
            complain(entry_case, "the change for %s breaks %s, which is not named",
                     rule_id(violation->rule), rule_id(after->violation[i].rule));
    }
    if (next != count)
        complain(entry_case, "the change for %s does not break %s", rule_id(violation->rule),
                 rule_id(named[next]));
}

/* Each change alone removes its violation and fits into its field. */
static void check_each_change(const struct entry_case *entry_case, const struct entry_state *broken,
                              const struct vmxsim_entry_report *report)
{
    static struct vmxsim_entry_report after;

    for (uint32_t i = 0; i < report->violation_count; i++) {
        const struct vmxsim_entry_violation *violation = &report->violation[i];
        if (!suggests(violation))
            continue;
        struct entry_state state = *broken;
        check_widths(entry_case, violation);
        vmxsim_entry_apply(violation, &state.vmcs);
        entry_state_check(&state, &after);
        if (reports(&after, violation->rule))
            complain(entry_case, "the changes for %s leave it broken", rule_id(violation->rule));
        check_newly_broken(entry_case, broken, report, violation, &after);
    }
}

static const struct vmxsim_entry_violation *
first_with_change(const struct vmxsim_entry_report *report)
{
    for (uint32_t i = 0; i < report->violation_count; i++) {
        if (suggests(&report->violation[i]))
            return &report->violation[i];
    }
    return NULL;
}

/* One change after the other leads to a state without violations, but for those that no field can mend. */
static void check_repair(const struct entry_case *entry_case, const struct entry_state *broken,
                         const struct vmxsim_entry_report *report)
{
    enum { ROUNDS = 10 };
    static struct vmxsim_entry_report now;
    struct entry_state state = *broken;

    now = *report;
    for (int round = 0; round < ROUNDS; round++) {
        const struct vmxsim_entry_violation *violation = first_with_change(&now);
        if (!violation)
            break;
        vmxsim_entry_apply(violation, &state.vmcs);
        entry_state_check(&state, &now);
    }
    if (first_with_change(&now))
        complain(entry_case, "10 rounds of changes end with %s broken",
                 rule_id(first_with_change(&now)->rule));
    else if (now.violation_count != 0 && !changes_surroundings(entry_case))
        complain(entry_case, "no change is suggested for %s", rule_id(now.violation[0].rule));
}

/* ---- Tests ---- */

/* All profiles here have what the bases need. */
START_TEST(bases_are_valid)
{
    static struct vmxsim_entry_report report;
    struct entry_state state;

    for (int profile = 0; profile < ENTRY_PROFILE_COUNT; profile++) {
        for (int base = 0; base < ENTRY_BASE_COUNT; base++) {
            entry_state_init(&state, profile, base);
            entry_state_check(&state, &report);
            ck_assert_msg(report.violation_count == 0, "profile %d, %s: %s is broken", profile,
                          entry_base_names[base], rule_id(report.violation[0].rule));
            ck_assert_uint_eq(report.undecided_count, 0);
            ck_assert_uint_eq(report.outcome_count, 1);
            ck_assert(report.outcome[0].kind == VMXSIM_ENTRY_ENTERED);
        }
    }
}
END_TEST

START_TEST(cases_break_what_they_say)
{
    static struct vmxsim_entry_report report;
    struct entry_state state;

    failures = 0;
    for (size_t i = 0; i < CASES; i++) {
        init_case(&cases[i], &state);
        entry_state_check(&state, &report);
        compare_violations(&cases[i], &report);
        compare_outcomes(&cases[i], &report);
        check_fields(&cases[i], &report);
    }
    ck_assert_msg(failures == 0, "%u differences in %zu cases", failures, CASES);
}
END_TEST

START_TEST(suggested_changes_mend)
{
    static struct vmxsim_entry_report report;
    struct entry_state state;

    failures = 0;
    for (size_t i = 0; i < CASES; i++) {
        init_case(&cases[i], &state);
        entry_state_check(&state, &report);
        check_each_change(&cases[i], &state, &report);
        check_repair(&cases[i], &state, &report);
    }
    ck_assert_msg(failures == 0, "%u differences in %zu cases", failures, CASES);
}
END_TEST

/* Whatever is missing, the rules that need it are undecided and nothing is reported that was not broken. */
START_TEST(unknown_memory_is_undecided)
{
    static struct vmxsim_entry_report report;
    struct entry_state state;

    failures = 0;
    for (size_t i = 0; i < CASES; i++) {
        init_case(&cases[i], &state);
        state.memory = NULL;
        entry_state_check(&state, &report);
        for (uint32_t j = 0; j < report.violation_count; j++) {
            if (!is_expected(&cases[i], report.violation[j].rule))
                complain(&cases[i], "%s is reported without memory",
                         rule_id(report.violation[j].rule));
        }
        for (uint32_t j = 0; j < report.undecided_count; j++) {
            if (reports(&report, report.undecided[j].rule))
                complain(&cases[i], "%s is undecided and reported",
                         rule_id(report.undecided[j].rule));
        }
    }
    ck_assert_msg(failures == 0, "%u differences in %zu cases", failures, CASES);
}
END_TEST

/* ---- Sets of outcomes ---- */

/* Rules that the manual leaves to the implementation, with what it says. */
static const struct {
    enum vmxsim_entry_rule rule;
    const char *reason;
} implementation_specific[] = {
    {VMXSIM_ENTRY_INTR_NMI_STI,
     "a processor may require no blocking by STI or not; the qualification is 3 or 0"},
    {VMXSIM_ENTRY_MSRLD_COUNT, "what happens beyond the recommended maximum is undefined"},
};

static const char *why_specific(enum vmxsim_entry_rule rule)
{
    for (size_t i = 0; i < sizeof(implementation_specific) / sizeof(implementation_specific[0]);
         i++) {
        if (implementation_specific[i].rule == rule)
            return implementation_specific[i].reason;
    }
    return NULL;
}

/* One broken rule has one outcome, unless the manual leaves the rule to the implementation: those are marked. */
START_TEST(only_implementation_specific_rules_have_several_outcomes)
{
    static struct vmxsim_entry_report report;
    bool several[VMXSIM_ENTRY_RULE_COUNT] = {false};
    unsigned rules = 0, sets = 0;
    struct entry_state state;

    failures = 0;
    for (size_t i = 0; i < CASES; i++) {
        init_case(&cases[i], &state);
        entry_state_check(&state, &report);
        for (uint32_t j = 0; j < report.violation_count; j++) {
            const struct vmxsim_entry_violation *violation = &report.violation[j];
            if (violation->qualification_varies != (why_specific(violation->rule) != NULL))
                complain(&cases[i], "%s is marked otherwise", rule_id(violation->rule));
        }
        if (report.outcome_count < 2)
            continue;
        sets++;
        several[cases[i].rule] = true;
        if (!cases[i].breaks || !why_specific(cases[i].rule))
            complain(&cases[i], "%" PRIu32 " outcomes", report.outcome_count);
    }
    for (int rule = 0; rule < VMXSIM_ENTRY_RULE_COUNT; rule++) {
        rules += several[rule];
        ck_assert_msg(several[rule] == (why_specific(rule) != NULL), "%s", rule_id(rule));
        if (several[rule])
            printf("implementation-specific: %s: %s\n", rule_id(rule), why_specific(rule));
    }
    printf(
        "%u of %zu cases have several lawful outcomes, all by %u implementation-specific rules\n",
        sets, CASES, rules);
    ck_assert_msg(failures == 0, "%u differences in %zu cases", failures, CASES);
}
END_TEST

/* ---- Coverage of the rules ---- */

/* Fields and bytes of the processor in which two states differ. */
static unsigned distance(const struct entry_state *a, const struct entry_state *b)
{
    unsigned differences = a->profile != b->profile;

    for (size_t i = 0; i < VMXC_VMCS_FIELD_COUNT; i++)
        differences += a->vmcs.value[i] != b->vmcs.value[i];
    for (size_t i = 0; i < sizeof(a->processor); i++)
        differences += ((const char *)&a->processor)[i] != ((const char *)&b->processor)[i];
    return differences;
}

/* Smallest distance between a case that holds and the cases that break its rule. */
static unsigned nearest_break(const struct entry_case *holding)
{
    unsigned nearest = UINT32_MAX;
    struct entry_state state, other;

    init_case(holding, &state);
    for (size_t i = 0; i < CASES; i++) {
        if (cases[i].rule != holding->rule || !cases[i].breaks)
            continue;
        init_case(&cases[i], &other);
        const unsigned here = distance(&state, &other);
        if (here < nearest)
            nearest = here;
    }
    return nearest;
}

struct coverage {
    unsigned alone, with, holding;
};

static struct coverage coverage_of(enum vmxsim_entry_rule rule)
{
    enum { AT_THE_BOUNDARY = 2 };
    struct coverage coverage = {0, 0, 0};

    for (size_t i = 0; i < CASES; i++) {
        if (cases[i].rule != rule)
            continue;
        if (!cases[i].breaks)
            coverage.holding += nearest_break(&cases[i]) <= AT_THE_BOUNDARY;
        else if (cases[i].with == VMXSIM_ENTRY_RULE_COUNT)
            coverage.alone++;
        else
            coverage.with++;
    }
    return coverage;
}

static const char *why_unreachable(enum vmxsim_entry_rule rule)
{
    for (size_t i = 0; i < sizeof(unreachable) / sizeof(unreachable[0]); i++) {
        if (unreachable[i].rule == rule)
            return unreachable[i].reason;
    }
    return NULL;
}

START_TEST(every_rule_is_covered)
{
    unsigned both = 0, implied = 0, apart = 0;

    failures = 0;
    for (int rule = 0; rule < VMXSIM_ENTRY_RULE_COUNT; rule++) {
        const struct coverage coverage = coverage_of(rule);
        const char *reason = why_unreachable(rule);
        if (reason) {
            printf("out of reach: %s: %s\n", rule_id(rule), reason);
            apart++;
        } else if (coverage.alone + coverage.with != 0 && coverage.holding != 0) {
            both++;
            implied += coverage.alone == 0;
        } else {
            failures++;
            fprintf(stderr, "%s: %u cases break it, %u beside it hold\n", rule_id(rule),
                    coverage.alone + coverage.with, coverage.holding);
        }
    }
    printf("%d rules: %u broken and held by %zu cases, %u of them never broken alone, %u out of "
           "reach\n",
           VMXSIM_ENTRY_RULE_COUNT, both, CASES, implied, apart);
    ck_assert_msg(failures == 0, "%u rules are not covered", failures);
    ck_assert_int_eq(VMXSIM_ENTRY_RULE_COUNT, 237);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("entry_rules");
    TCase *tests = tcase_create("rules");

    tcase_add_unchecked_fixture(tests, entry_states_open, entry_states_close);
    tcase_add_test(tests, bases_are_valid);
    tcase_add_test(tests, cases_break_what_they_say);
    tcase_add_test(tests, suggested_changes_mend);
    tcase_add_test(tests, unknown_memory_is_undecided);
    tcase_add_test(tests, only_implementation_specific_rules_have_several_outcomes);
    tcase_add_test(tests, every_rule_is_covered);
    suite_add_tcase(suite, tests);

    return run_suite(suite);
}
