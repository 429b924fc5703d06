/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Generated states: rounding any VMCS gives a valid one, and breaking k rules breaks exactly those. Neither knows the
 * checker, so each run is a comparison of two readings of the manual.
 */
#include <check.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "support/entry_state.h"
#include "support/rng.h"
#include "support/suite.h"
#include "vmxsim/entry_generate.h"

#define SEED   UINT64_C(0x20240229)
#define STATES 100000u

static const enum entry_profile profiles[] = {
    ENTRY_PROFILE_everything, ENTRY_PROFILE_skylake, ENTRY_PROFILE_icelake,
    ENTRY_PROFILE_tigerlake,  ENTRY_PROFILE_no_true, ENTRY_PROFILE_no_sipi,
    ENTRY_PROFILE_no_ept_ad,  ENTRY_PROFILE_tracing, ENTRY_PROFILE_address_32,
};

#define SCRATCH_HPA UINT64_C(0x100000)

/* Rules that no recipe breaks, and why. */
static const struct {
    enum vmxsim_entry_rule rule;
    const char *reason;
} without_recipe[] = {
    {VMXSIM_ENTRY_HOST_HAS0_IA32E, "never broken alone: a 32-bit host with a 64-bit guest breaks "
                                   "HOST.LMA1.HAS in IA-32e mode, HOST.LMA0.HAS outside"},
};

/* Rules about what no captured processor has: broken on processors made up for tests only, and counted apart. */
static const struct {
    enum vmxsim_entry_rule rule;
    const char *feature;
} not_captured[] = {
    {VMXSIM_ENTRY_CTL_PROC3_RSVD, "tertiary controls"},
    {VMXSIM_ENTRY_CTL_PI_VID, "posted interrupts"},
    {VMXSIM_ENTRY_CTL_PI_ACK, "posted interrupts"},
    {VMXSIM_ENTRY_CTL_PI_VECTOR, "posted interrupts"},
    {VMXSIM_ENTRY_CTL_PI_DESC_ALIGN, "posted interrupts"},
    {VMXSIM_ENTRY_CTL_PI_DESC_WIDTH, "posted interrupts"},
    {VMXSIM_ENTRY_CTL_EPTP_AD, "EPT without accessed and dirty flags"},
    {VMXSIM_ENTRY_CTL_MBEC_EPT, "mode-based execute control"},
    {VMXSIM_ENTRY_CTL_PT_GPA, "Intel PT"},
    {VMXSIM_ENTRY_CTL_ENTRY_PT, "Intel PT"},
    {VMXSIM_ENTRY_GUEST_RTIT_RSVD, "Intel PT"},
    {VMXSIM_ENTRY_CTL_PASID_LO, "PASID translation"},
    {VMXSIM_ENTRY_CTL_PASID_HI, "PASID translation"},
    {VMXSIM_ENTRY_CTL_HLAT_PTR, "HLAT"},
    {VMXSIM_ENTRY_CTL_HLAT_PREFIX, "HLAT"},
    {VMXSIM_ENTRY_CTL_HLATSET_EPT, "HLAT"},
    {VMXSIM_ENTRY_CTL_IPIV_TABLE, "IPI virtualization"},
    {VMXSIM_ENTRY_CTL_ATIMER, "APIC-timer virtualization"},
    {VMXSIM_ENTRY_CTL_EXIT2_RSVD, "secondary VM-exit controls"},
    {VMXSIM_ENTRY_HOST_PKRS_HI, "protection keys of supervisor pages"},
    {VMXSIM_ENTRY_GUEST_PKRS_HI, "protection keys of supervisor pages"},
    {VMXSIM_ENTRY_HOST_FRED, "FRED"},
    {VMXSIM_ENTRY_GUEST_FRED, "FRED"},
    {VMXSIM_ENTRY_GUEST_CR4_FRED, "FRED"},
    {VMXSIM_ENTRY_SEG_FRED, "FRED"},
    {VMXSIM_ENTRY_HOST_SPEC_CTRL, "virtual IA32_SPEC_CTRL"},
    {VMXSIM_ENTRY_GUEST_SPEC_CTRL, "virtual IA32_SPEC_CTRL"},
    {VMXSIM_ENTRY_GUEST_BNDCFGS_RSVD, "MPX controls"},
    {VMXSIM_ENTRY_GUEST_BNDCFGS_CANON, "MPX controls"},
    {VMXSIM_ENTRY_GUEST_LBR_RSVD, "LBR"},
    {VMXSIM_ENTRY_GUEST_UINV_HI, "user interrupts"},
};

static bool is_captured(enum entry_profile profile)
{
    return profile == ENTRY_PROFILE_skylake || profile == ENTRY_PROFILE_icelake ||
           profile == ENTRY_PROFILE_tigerlake;
}

static const char *rule_id(enum vmxsim_entry_rule rule)
{
    return vmxsim_entry_rule_info(rule)->id;
}

/* Random, random with few bits, small, all ones, zero. */
static uint64_t random_value(struct rng *rng)
{
    switch (rng_below(rng, 6)) {
    case 0:
        return rng_next(rng) & rng_next(rng) & rng_next(rng);
    case 1:
        return rng_below(rng, 256);
    case 2:
        return UINT64_MAX;
    case 3:
        return 0;
    default:
        return rng_next(rng);
    }
}

static enum entry_profile random_state(struct rng *rng, struct entry_state *state)
{
    const size_t count = sizeof(profiles) / sizeof(profiles[0]);
    const enum entry_profile profile = profiles[rng_below(rng, count)];

    entry_state_init(state, profile, ENTRY_BASE_LONG64);
    for (size_t i = 0; i < VMXC_VMCS_FIELD_COUNT; i++)
        state->vmcs.value[i] = random_value(rng);
    state->processor.in_smm = rng_chance(rng, 10);
    if (rng_chance(rng, 20)) {
        state->processor.efer = 0;
        state->processor.code_64bit = false;
    }
    state->processor.vmresume = rng_chance(rng, 50);
    state->processor.launched = state->processor.vmresume;
    return profile;
}

/* Rounds the state, then breaks rules of it: those of the processor and of memory too. */
static void break_rules(struct entry_state *state, uint32_t count, uint64_t *random,
                        struct vmxsim_entry_broken *broken)
{
    const struct vmxsim_entry_state all = {
        .vmcs = &state->vmcs,
        .processor = &state->processor,
        .memory = state->memory,
        .scratch_hpa = SCRATCH_HPA,
    };

    vmxsim_entry_round(state->profile, &state->processor, &state->vmcs);
    vmxsim_entry_break_state(state->profile, &all, count, random, broken);
}

static bool reports(const struct vmxsim_entry_report *report, enum vmxsim_entry_rule rule)
{
    for (uint32_t i = 0; i < report->violation_count; i++) {
        if (report->violation[i].rule == rule)
            return true;
    }
    return false;
}

static bool was_broken(const struct vmxsim_entry_broken *broken, enum vmxsim_entry_rule rule)
{
    for (uint32_t i = 0; i < broken->count; i++) {
        if (broken->rule[i] == rule)
            return true;
    }
    return false;
}

/* Prints the first few differences; returns their number. */
static unsigned compare(uint32_t index, const struct vmxsim_entry_broken *broken,
                        const struct vmxsim_entry_report *report)
{
    enum { PRINTED = 40 };
    static unsigned printed;
    unsigned differences = 0;

    for (int rule = 0; rule < VMXSIM_ENTRY_RULE_COUNT; rule++) {
        if (was_broken(broken, rule) == reports(report, rule))
            continue;
        differences++;
        if (printed++ < PRINTED) {
            fprintf(stderr, "state %" PRIu32 ": %s is %s; broken:", index, rule_id(rule),
                    reports(report, rule) ? "reported" : "missing");
            for (uint32_t i = 0; i < broken->count; i++)
                fprintf(stderr, " %s", rule_id(broken->rule[i]));
            fputc('\n', stderr);
        }
    }
    return differences;
}

/* ---- Sets of outcomes ---- */

/* Rules that the manual leaves to the implementation: breaking one of them alone has several lawful outcomes. */
static bool is_implementation_specific(enum vmxsim_entry_rule rule)
{
    return rule == VMXSIM_ENTRY_INTR_NMI_STI || rule == VMXSIM_ENTRY_MSRLD_COUNT;
}

struct outcome_counts {
    unsigned marked; /* states with several outcomes, and one of these rules broken */
    unsigned
        order; /* other states with several: several rules are broken, and any may be found first */
};

static void count_outcomes(uint32_t index, const struct vmxsim_entry_broken *broken,
                           const struct vmxsim_entry_report *report, struct outcome_counts *counts)
{
    bool marked = false;

    if (report->outcome_count == 1)
        return;
    for (uint32_t i = 0; i < broken->count; i++)
        marked = marked || is_implementation_specific(broken->rule[i]);
    ck_assert_msg(marked || broken->count > 1,
                  "state %" PRIu32 ": %s alone has %" PRIu32 " outcomes", index,
                  rule_id(broken->rule[0]), report->outcome_count);
    if (marked)
        counts->marked++;
    else
        counts->order++;
}

struct counts {
    unsigned hits[VMXSIM_ENTRY_RULE_COUNT];     /* states in which the rule is broken */
    unsigned captured[VMXSIM_ENTRY_RULE_COUNT]; /* those of captured processors */
    struct outcome_counts outcomes;
};

static unsigned run_state(uint32_t index, struct counts *counts)
{
    static struct vmxsim_entry_report report;
    struct rng rng = rng_for_sequence(SEED, index);
    struct vmxsim_entry_broken broken = {.count = 0};
    struct entry_state state;

    const enum entry_profile profile = random_state(&rng, &state);
    uint64_t random = rng_next(&rng);
    break_rules(&state, (uint32_t)rng_below(&rng, 6), &random, &broken);
    for (uint32_t i = 0; i < broken.count; i++) {
        counts->hits[broken.rule[i]]++;
        counts->captured[broken.rule[i]] += is_captured(profile);
    }
    entry_state_check(&state, &report);
    ck_assert_msg(report.undecided_count == 0, "state %" PRIu32, index);
    count_outcomes(index, &broken, &report, &counts->outcomes);
    return compare(index, &broken, &report);
}

static const char *missing_feature(enum vmxsim_entry_rule rule)
{
    for (size_t i = 0; i < sizeof(not_captured) / sizeof(not_captured[0]); i++) {
        if (not_captured[i].rule == rule)
            return not_captured[i].feature;
    }
    return NULL;
}

/* The rules that were broken on processors made up for tests alone are those of the table. */
static void count_apart(const struct counts *counts)
{
    unsigned apart = 0, wrong = 0;

    for (int rule = 0; rule < VMXSIM_ENTRY_RULE_COUNT; rule++) {
        const char *feature = missing_feature(rule);
        if (!vmxsim_entry_breakable(rule))
            continue;
        if ((counts->captured[rule] == 0) != (feature != NULL)) {
            wrong++;
            fprintf(stderr, "%s: broken in %u states of captured processors\n", rule_id(rule),
                    counts->captured[rule]);
        }
        if (feature)
            printf("not on captured processors: %s: %s\n", rule_id(rule), feature);
        apart += feature != NULL;
    }
    printf("%u of the rules cannot be broken on any captured processor\n", apart);
    ck_assert_msg(wrong == 0, "%u rules are in the wrong table", wrong);
}

START_TEST(broken_rules_are_the_reported_ones)
{
    static struct counts counts;
    unsigned differences = 0, reached = 0, recipes = 0;

    for (uint32_t index = 0; index < STATES; index++)
        differences += run_state(index, &counts);
    for (int rule = 0; rule < VMXSIM_ENTRY_RULE_COUNT; rule++) {
        reached += counts.hits[rule] != 0;
        recipes += vmxsim_entry_breakable(rule);
        if (vmxsim_entry_breakable(rule) && counts.hits[rule] == 0)
            printf("never broken: %s\n", rule_id(rule));
    }
    printf("%u states, seed 0x%" PRIx64
           ": %u of %u rules with a recipe were broken, %u differences\n",
           STATES, SEED, reached, recipes, differences);
    printf(
        "several lawful outcomes: %u states by rules that are implementation-specific, %u by the "
        "order of checks\n",
        counts.outcomes.marked, counts.outcomes.order);
    count_apart(&counts);
    ck_assert_msg(differences == 0, "%u differences", differences);
    ck_assert_uint_eq(reached, recipes);
}
END_TEST

/* The rules without a recipe are those of the table, each with its reason. */
START_TEST(every_other_rule_has_a_recipe)
{
    const size_t listed = sizeof(without_recipe) / sizeof(without_recipe[0]);
    unsigned recipes = 0;

    for (int rule = 0; rule < VMXSIM_ENTRY_RULE_COUNT; rule++) {
        const char *reason = NULL;
        for (size_t i = 0; i < listed; i++) {
            if ((int)without_recipe[i].rule == rule)
                reason = without_recipe[i].reason;
        }
        ck_assert_msg(vmxsim_entry_breakable(rule) == !reason, "%s", rule_id(rule));
        recipes += vmxsim_entry_breakable(rule);
        if (reason)
            printf("no recipe: %s: %s\n", rule_id(rule), reason);
    }
    printf("%u of %d rules have a recipe\n", recipes, VMXSIM_ENTRY_RULE_COUNT);
    ck_assert_uint_eq(recipes + listed, VMXSIM_ENTRY_RULE_COUNT);
}
END_TEST

/* A rule that is asked for is broken alone, or the state stays as it is. */
START_TEST(one_rule_can_be_chosen)
{
    static struct vmxsim_entry_report report;
    unsigned differences = 0, broken_states = 0;

    for (uint32_t index = 0; index < STATES / 10; index++) {
        struct rng rng = rng_for_sequence(SEED + 5, index);
        struct vmxsim_entry_broken broken = {.rule = {rng_below(&rng, VMXSIM_ENTRY_RULE_COUNT)}};
        struct entry_state state;
        random_state(&rng, &state);
        vmxsim_entry_round(state.profile, &state.processor, &state.vmcs);
        const struct entry_state before = state;
        const struct vmxsim_entry_state all = {&state.vmcs, &state.processor, state.memory,
                                               SCRATCH_HPA};
        uint64_t random = rng_next(&rng);
        broken.count =
            vmxsim_entry_break_rule(state.profile, &all, broken.rule[0], &random) ? 1 : 0;
        broken_states += broken.count;
        if (broken.count == 0) {
            ck_assert_mem_eq(&state.vmcs, &before.vmcs, sizeof(state.vmcs));
            ck_assert_mem_eq(&state.processor, &before.processor, sizeof(state.processor));
        }
        entry_state_check(&state, &report);
        differences += compare(index, &broken, &report);
    }
    ck_assert_msg(differences == 0, "%u differences", differences);
    ck_assert_uint_gt(broken_states, STATES / 40);
}
END_TEST

START_TEST(no_rule_breaks_nothing)
{
    struct entry_state state;
    uint64_t random = SEED;

    entry_state_init(&state, ENTRY_PROFILE_everything, ENTRY_BASE_LONG64);
    const struct vmxsim_entry_state all = {&state.vmcs, &state.processor, state.memory,
                                           SCRATCH_HPA};
    ck_assert(!vmxsim_entry_break_rule(state.profile, &all, VMXSIM_ENTRY_RULE_COUNT, &random));
    ck_assert(!vmxsim_entry_break_rule(state.profile, &all, VMXSIM_ENTRY_HOST_HAS0_IA32E, &random));
}
END_TEST

/* Without processor and memory, nothing of either changes and no rule on them is broken. */
START_TEST(the_vmcs_alone_can_be_broken)
{
    static struct vmxsim_entry_report report;
    unsigned differences = 0;

    for (uint32_t index = 0; index < STATES / 10; index++) {
        struct rng rng = rng_for_sequence(SEED + 4, index);
        struct vmxsim_entry_broken broken;
        struct entry_state state;
        random_state(&rng, &state);
        const struct vmxsim_entry_processor before = state.processor;
        vmxsim_entry_round(state.profile, &state.processor, &state.vmcs);
        uint64_t random = rng_next(&rng);
        vmxsim_entry_break(state.profile, &state.vmcs, 5, &random, &broken);
        ck_assert_mem_eq(&state.processor, &before, sizeof(before));
        entry_state_check(&state, &report);
        differences += compare(index, &broken, &report);
    }
    ck_assert_msg(differences == 0, "%u differences", differences);
}
END_TEST

/* An area that cannot be used, or none, is not written. */
START_TEST(memory_outside_the_scratch_area_is_not_written)
{
    static const uint64_t wrong[] = {SCRATCH_HPA + 8, VMXC_BIT(32),
                                     VMXC_BIT(32) - VMXSIM_ENTRY_SCRATCH_SIZE + 0x1000};
    struct vmxsim_entry_broken broken;
    struct entry_state state;

    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        entry_state_init(&state, ENTRY_PROFILE_everything, ENTRY_BASE_LONG64);
        vmxsim_memory_write64(state.memory, wrong[i] + 0x1000, 0x1234);
        const struct vmxsim_entry_state all = {&state.vmcs, NULL, state.memory, wrong[i]};
        uint64_t random = SEED;
        vmxsim_entry_round(state.profile, &state.processor, &state.vmcs);
        const uint64_t before = vmxsim_memory_read64(state.memory, wrong[i] + 0x1000);
        vmxsim_entry_break_state(state.profile, &all, 16, &random, &broken);
        ck_assert_uint_eq(vmxsim_memory_read64(state.memory, wrong[i] + 0x1000), before);
        for (uint32_t j = 0; j < broken.count; j++)
            ck_assert_int_ne(vmxsim_entry_rule_info(broken.rule[j])->group,
                             VMXSIM_ENTRY_GROUP_MSR_LOAD);
    }
}
END_TEST

/* A field that is valid already stays as it is: rounding twice is rounding once. */
START_TEST(rounding_is_idempotent)
{
    for (uint32_t index = 0; index < STATES / 10; index++) {
        struct rng rng = rng_for_sequence(SEED + 1, index);
        struct entry_state state;
        random_state(&rng, &state);
        vmxsim_entry_round(state.profile, &state.processor, &state.vmcs);
        const struct vmxsim_vmcs once = state.vmcs;
        vmxsim_entry_round(state.profile, &state.processor, &state.vmcs);
        for (size_t i = 0; i < VMXC_VMCS_FIELD_COUNT; i++)
            ck_assert_msg(once.value[i] == state.vmcs.value[i],
                          "state %" PRIu32 ": %s 0x%" PRIx64 " -> 0x%" PRIx64, index,
                          vmxsim_vmcs_name(i), once.value[i], state.vmcs.value[i]);
    }
}
END_TEST

/* The same seed breaks the same rules in the same way; no more than asked, and never more than there is room for. */
START_TEST(breaking_is_repeatable)
{
    for (uint32_t index = 0; index < 1000; index++) {
        struct rng rng = rng_for_sequence(SEED + 2, index);
        struct vmxsim_entry_broken first, second;
        struct entry_state state;
        random_state(&rng, &state);
        vmxsim_entry_round(state.profile, &state.processor, &state.vmcs);
        struct vmxsim_vmcs other = state.vmcs;
        uint64_t random = index, same = index;
        vmxsim_entry_break(state.profile, &state.vmcs, 1000, &random, &first);
        vmxsim_entry_break(state.profile, &other, 1000, &same, &second);
        ck_assert_uint_eq(first.count, VMXSIM_ENTRY_MAX_BROKEN);
        ck_assert_uint_eq(second.count, first.count);
        ck_assert_mem_eq(first.rule, second.rule, sizeof(first.rule));
        ck_assert_mem_eq(&state.vmcs, &other, sizeof(other));
    }
}
END_TEST

/* ---- Suggested changes ---- */

static unsigned newly_broken; /* rules, by all suggested changes */

static bool suggests(const struct vmxsim_entry_violation *violation)
{
    return violation->change_count != 0;
}

static void apply_changes(struct entry_state *state, const struct vmxsim_entry_violation *violation)
{
    for (uint32_t i = 0; i < violation->change_count; i++)
        state->vmcs.value[violation->change[i].ordinal] = violation->change[i].value;
}

/* Rules that the change has broken are those that the library names. */
static void check_newly_broken(uint32_t index, const struct entry_state *broken,
                               const struct vmxsim_entry_report *before,
                               const struct vmxsim_entry_violation *violation,
                               const struct vmxsim_entry_report *after)
{
    enum vmxsim_entry_rule named[VMXSIM_ENTRY_RULE_COUNT];
    const struct vmxsim_entry_input input = entry_state_input(broken);
    const uint32_t count = vmxsim_entry_newly_broken(&input, before, violation, named);
    uint32_t next = 0;

    for (uint32_t i = 0; i < after->violation_count; i++) {
        const enum vmxsim_entry_rule rule = after->violation[i].rule;
        if (reports(before, rule))
            continue;
        ck_assert_msg(next < count && named[next] == rule,
                      "state %" PRIu32 ": the change for %s breaks %s, which is not named", index,
                      rule_id(violation->rule), rule_id(rule));
        next++;
    }
    ck_assert_msg(next == count, "state %" PRIu32 ": the change for %s breaks less than is named",
                  index, rule_id(violation->rule));
    newly_broken += count;
}

static void check_each_change(uint32_t index, const struct entry_state *broken,
                              const struct vmxsim_entry_report *report)
{
    static struct vmxsim_entry_report after;

    for (uint32_t i = 0; i < report->violation_count; i++) {
        const struct vmxsim_entry_violation *violation = &report->violation[i];
        if (!suggests(violation))
            continue;
        struct entry_state state = *broken;
        apply_changes(&state, violation);
        entry_state_check(&state, &after);
        ck_assert_msg(!reports(&after, violation->rule), "state %" PRIu32 ": the change leaves %s",
                      index, rule_id(violation->rule));
        check_newly_broken(index, broken, report, violation, &after);
    }
}

/*
 * Applies the first change there is until none is left; returns the violations that remain. Basic checks are on the
 * processor: no field can mend them.
 */
static uint32_t repair(struct entry_state *state, uint32_t *steps)
{
    enum { MOST_STEPS = 100 };
    static struct vmxsim_entry_report report;

    for (*steps = 0; *steps < MOST_STEPS; ++*steps) {
        uint32_t i = 0;
        entry_state_check(state, &report);
        while (i < report.violation_count && !suggests(&report.violation[i]))
            i++;
        if (i == report.violation_count)
            break;
        apply_changes(state, &report.violation[i]);
    }
    const bool basic =
        report.violation_count != 0 &&
        vmxsim_entry_rule_info(report.violation[0].rule)->group == VMXSIM_ENTRY_GROUP_BASIC;
    return report.violation_count - basic;
}

/* Each suggested change removes its violation, and one after the other leads to a state that enters. */
START_TEST(suggested_changes_lead_to_a_valid_state)
{
    static struct vmxsim_entry_report report;
    uint32_t most = 0;

    for (uint32_t index = 0; index < STATES / 10; index++) {
        struct rng rng = rng_for_sequence(SEED + 3, index);
        struct vmxsim_entry_broken broken = {.count = 0};
        struct entry_state state;
        uint32_t steps;
        random_state(&rng, &state);
        uint64_t random = rng_next(&rng);
        break_rules(&state, 1 + (uint32_t)rng_below(&rng, 5), &random, &broken);
        entry_state_check(&state, &report);
        check_each_change(index, &state, &report);
        const uint32_t left = repair(&state, &steps);
        most = steps > most ? steps : most;
        ck_assert_msg(left == 0,
                      "state %" PRIu32 ": %" PRIu32 " violations after %" PRIu32 " changes (%s)",
                      index, left, steps, rule_id(broken.rule[0]));
    }
    printf("%u states repaired, seed 0x%" PRIx64 ": at most %" PRIu32
           " changes; %u rules newly broken, all named\n",
           STATES / 10, SEED + 3, most, newly_broken);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("entry_generate");
    TCase *tests = tcase_create("states");

    tcase_set_timeout(tests, 600);
    tcase_add_unchecked_fixture(tests, entry_states_open, entry_states_close);
    tcase_add_test(tests, broken_rules_are_the_reported_ones);
    tcase_add_test(tests, every_other_rule_has_a_recipe);
    tcase_add_test(tests, one_rule_can_be_chosen);
    tcase_add_test(tests, no_rule_breaks_nothing);
    tcase_add_test(tests, the_vmcs_alone_can_be_broken);
    tcase_add_test(tests, memory_outside_the_scratch_area_is_not_written);
    tcase_add_test(tests, rounding_is_idempotent);
    tcase_add_test(tests, breaking_is_repeatable);
    tcase_add_test(tests, suggested_changes_lead_to_a_valid_state);
    suite_add_tcase(suite, tests);

    return run_suite(suite);
}
