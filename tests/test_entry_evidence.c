/* SPDX-License-Identifier: Apache-2.0 */
/* How the rules of a VM entry were cross-checked. That the counts are right is structure_entry_evidence's business. */
#include <check.h>
#include <string.h>

#include "support/suite.h"
#include "vmxsim/entry_evidence.h"
#include "vmxsim/entry_generate.h"

START_TEST(what_does_not_exist_has_no_evidence)
{
    const enum vmxsim_entry_rule none = VMXSIM_ENTRY_RULE_COUNT;
    unsigned engines = 0;

    while (vmxsim_entry_engine(engines) != NULL)
        engines++;
    ck_assert_uint_gt(engines, 0);
    ck_assert_ptr_null(vmxsim_entry_engine(UINT32_MAX));
    ck_assert_ptr_null(vmxsim_entry_evidence(none, 0));
    ck_assert_ptr_null(vmxsim_entry_evidence(VMXSIM_ENTRY_CTL_PIN_RSVD, engines));
    ck_assert_ptr_null(vmxsim_entry_tests(none));
    ck_assert_ptr_null(vmxsim_entry_unreachable(none, 0));
    ck_assert_ptr_null(vmxsim_entry_unreachable(VMXSIM_ENTRY_SEG_FRED, engines));
    ck_assert_int_eq(vmxsim_entry_standing(none), VMXSIM_ENTRY_ONE_SOURCE);
    ck_assert_str_eq(vmxsim_entry_standing_name(VMXSIM_ENTRY_STANDING_COUNT), "");
}
END_TEST

/* Engines are summed up; one contradiction is never hidden by confirmations. */
START_TEST(standings_follow_from_the_counts)
{
    for (int i = 0; i < VMXSIM_ENTRY_RULE_COUNT; i++) {
        const enum vmxsim_entry_standing standing = vmxsim_entry_standing(i);
        unsigned alone = 0, together = 0, against = 0;
        for (unsigned engine = 0; vmxsim_entry_engine(engine) != NULL; engine++) {
            alone += vmxsim_entry_evidence(i, engine)->alone;
            together += vmxsim_entry_evidence(i, engine)->together;
            against += vmxsim_entry_evidence(i, engine)->contradicted;
        }
        const bool disputed =
            standing == VMXSIM_ENTRY_DISPUTED || standing == VMXSIM_ENTRY_CONTRADICTED;
        const bool confirmed =
            standing == VMXSIM_ENTRY_DISPUTED || standing == VMXSIM_ENTRY_CONFIRMED;
        const char *const id = vmxsim_entry_rule_info(i)->id;
        ck_assert_msg(disputed == (against != 0), "%s", id);
        ck_assert_msg(confirmed == (alone != 0), "%s", id);
        ck_assert_msg((standing == VMXSIM_ENTRY_WITH_OTHERS) ==
                          (together != 0 && alone == 0 && against == 0),
                      "%s", id);
    }
}
END_TEST

/* One rule of each standing, read from the recordings by hand. */
START_TEST(rules_of_every_standing)
{
    static const struct {
        enum vmxsim_entry_rule rule;
        const char *standing;
    } known[] = {
        {VMXSIM_ENTRY_MSRLD_COUNT, "one source"},      /* either outcome is lawful */
        {VMXSIM_ENTRY_HOST_HAS0_PCIDE, "with others"}, /* HOST.LMA1.HAS, always */
        {VMXSIM_ENTRY_ENT_SHADOWCUR, "contradicted"},  /* bochs.launch-shadow-vmcs */
        {VMXSIM_ENTRY_CTL_ENTRY_SMM_OUT, "disputed"},  /* bochs.entry-to-smm: one of its two bits */
        {VMXSIM_ENTRY_GUEST_CR0_FIXED, "confirmed"},
    };

    for (int i = 0; i < COUNT(known); i++)
        ck_assert_str_eq(vmxsim_entry_standing_name(vmxsim_entry_standing(known[i].rule)),
                         known[i].standing);
}
END_TEST

/* Of a large run each rule has cases of its own, or a reason why not; deviations stand behind what is against a rule. */
START_TEST(large_runs_leave_no_rule_out)
{
    const struct vmxsim_entry_engine *engine;
    unsigned runs = 0;

    for (unsigned i = 0; (engine = vmxsim_entry_engine(i)) != NULL; i++) {
        for (int rule = 0; rule < VMXSIM_ENTRY_RULE_COUNT; rule++) {
            const struct vmxsim_entry_evidence *const evidence = vmxsim_entry_evidence(rule, i);
            const char *const id = vmxsim_entry_rule_info(rule)->id;
            const bool alone = evidence->alone != 0 || evidence->contradicted != 0;
            ck_assert_msg(evidence->contradicted == 0 || evidence->deviations[0] != '\0', "%s", id);
            if (engine->model[0] == '\0' || rule == VMXSIM_ENTRY_MSRLD_COUNT)
                continue;
            ck_assert_msg(alone == !vmxsim_entry_unreachable(rule, i), "%s on %s", id,
                          engine->model);
        }
        runs += engine->model[0] != '\0';
    }
    ck_assert_uint_ge(runs, 4);
    ck_assert_str_eq(vmxsim_entry_unreachable(VMXSIM_ENTRY_SEG_FRED, 1), "no FRED");
}
END_TEST

START_TEST(every_rule_has_tests)
{
    for (int i = 0; i < VMXSIM_ENTRY_RULE_COUNT; i++) {
        const struct vmxsim_entry_tests *const tests = vmxsim_entry_tests(i);
        const char *const id = vmxsim_entry_rule_info(i)->id;
        ck_assert_msg(tests->broken != 0 && tests->holding != 0, "%s", id);
        ck_assert_msg((tests->recipes != 0) == vmxsim_entry_breakable(i), "%s", id);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("entry_evidence");
    TCase *tests = tcase_create("evidence");

    tcase_add_test(tests, what_does_not_exist_has_no_evidence);
    tcase_add_test(tests, standings_follow_from_the_counts);
    tcase_add_test(tests, rules_of_every_standing);
    tcase_add_test(tests, large_runs_leave_no_rule_out);
    tcase_add_test(tests, every_rule_has_tests);
    suite_add_tcase(suite, tests);

    return run_suite(suite);
}
