/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Replay of guest accesses: the comparison can fail for every key it compares; what is open, left out or one of several
 * alternatives is spared, and nothing else.
 */
#include "support/suite.h"
#include "support/vector_file.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

/* ---- The comparison can fail ---- */

static const struct vector_mutation doctored[] = {
    {LINE_READ, "\"complete\",\"values\":[null,\"0x55667788\"]", "\"exit\"",
     "result: ", "observed complete"},
    {LINE_READ, "\"0x55667788\"", "\"0x55667789\"", "values[1]: ", "observed 0x55667788"},
    {LINE_READ, "\"memory\":{}},", "\"memory\":{\"0x3000\":\"0x1\"}},",
     "memory 0x3000: ", "0x1122334455667788"},
    {LINE_READ, "\"memory\":{}},", "\"pml_index\":1},", "pml_index: ", "observed 0"},
    {LINE_VIOLATION, "\"exit_reason\":48", "\"exit_reason\":49", "", ""},
    {LINE_VIOLATION, "\"0x1aa\"", "\"0x1ab\"", "qualification: ", "differs in 0x1: read"},
    {LINE_VIOLATION, "\"0x1aa\"", "\"0x18a\"", "qualification: ", "entry: execute"},
    {LINE_VIOLATION, "\"0x1aa\"", "\"0x12a\"", "qualification: ", "linear address valid"},
    {LINE_VIOLATION, "\"guest_physical\":\"0x3008\"", "\"guest_physical\":\"0x3000\"",
     "guest_physical: ", "observed 0x3008"},
    {LINE_VIOLATION, "\"guest_linear\":\"0x3008\"", "\"guest_linear\":\"0x3000\"",
     "guest_linear: ", "observed 0x3008"},
    {LINE_VIOLATION,
     "\"exit\",\"exit_reason\":48,\"qualification\":\"0x1aa\",\"guest_physical\":\"0x3008\","
     "\"guest_linear\":\"0x3008\"",
     "\"complete\"", "result: ", "observed exit 48 (EPT violation) by EPT.VIOLATION.RIGHTS"},
    {LINE_FAULT, "\"vector\":14", "\"vector\":13", "vector: ", "observed 14 (#PF)"},
    {LINE_FAULT, "\"error_code\":\"0x2\"", "\"error_code\":\"0x3\"",
     "error_code: ", "observed 0x2"},
    {LINE_FAULT, "\"cr2\":\"0x5000\"", "\"cr2\":\"0x5001\"", "cr2: ", "observed 0x5000"},
    {LINE_FAULT, "\"guest_exception\",\"vector\":14,\"error_code\":\"0x2\",\"cr2\":\"0x5000\"",
     "\"exit\",\"exit_reason\":0", "result: ", "observed guest_exception 14 (#PF)"},
    {LINE_EVENT, "\"qualification\":\"0x5000\"", "\"qualification\":\"0x0\"",
     "qualification: ", "observed 0x5000"},
    {LINE_EVENT, "\"0x80000b0e\"", "\"0x8000030e\"", "intr_info: ", "differs in 0x800"},
    {LINE_EVENT, "\"intr_error_code\":\"0x2\"", "\"intr_error_code\":\"0x0\"",
     "intr_error_code: ", "observed 0x2"},
    {LINE_LOGGED, "\"pml_index\":510", "\"pml_index\":511", "pml_index: ", "observed 510"},
    {LINE_LOGGED, "\"0x2107\"", "\"0x2007\"", "memory 0x1000: ", "differs in 0x100"},
    {LINE_LOGGED, ",\"0x8ff8\":\"0x3000\"", "", "memory 0x8ff8: ", "no change from 0x0"},
    {LINE_LOGGED, "\"0x2000\":\"0x3b7\",", "", "memory 0x2000: ", "no change from 0xb7"},
    {LINE_LOGGED, "\"0x8ff8\":\"0x3000\"", "\"0x8ff8\":\"0x3000\",\"0x9000\":\"0x1\"",
     "memory 0x9000: ", "observed 0x0"},
    {LINE_MISCONFIG, "\"exit_reason\":49", "\"exit_reason\":48",
     "exit_reason: ", "observed 49 (EPT misconfiguration)"},
    {LINE_MISCONFIG, "\"memory\":{}", "\"guest_linear\":\"0x3008\"",
     "guest_linear: ", "observed none"},
};
#define DOCTORED_COUNT ((int)(sizeof doctored / sizeof doctored[0]))

START_TEST(a_doctored_expectation_is_reported)
{
    static struct vector_seen seen;
    const struct vector_mutation *const mutation = &doctored[_i];
    const unsigned index = mutation->line - 1;
    vector_line_replace(mutation->line, mutation->find, mutation->with);
    if (*mutation->key == '\0')
        vector_line_replace(mutation->line, "\"qualification\":\"0x1aa\",", "");
    vector_file_write();
    vector_file_decide(&seen);
    ck_assert_int_eq(seen.verdict[index], VMXSIM_CASE_DIFFERS);
    ck_assert_msg(strncmp(seen.reason[index], mutation->key, strlen(mutation->key)) == 0,
                  "%s does not start with %s", seen.reason[index], mutation->key);
    ck_assert_msg(strstr(seen.reason[index], mutation->why) != NULL, "%s does not say %s",
                  seen.reason[index], mutation->why);
    const size_t length = strlen(seen.reason[index]);
    ck_assert_uint_eq(strcspn(seen.reason[index], "\n"), length - 1); /* one line */
    for (unsigned i = 0; i < seen.count; i++)
        ck_assert_msg(i == index || seen.verdict[i] == VMXSIM_CASE_AGREES, "%s", seen.reason[i]);
}
END_TEST

/* ---- What is left open, alternatives, deviations ---- */

static const struct {
    unsigned line;
    const char *find, *with;
    enum vmxsim_case_verdict verdict;
} leniencies[] = {
    /* a mask covers exactly its bits */
    {LINE_VIOLATION, "\"0x1aa\"", "\"0x1ab\",\"open\":{\"qualification\":\"0x1\"}",
     VMXSIM_CASE_AGREES},
    {LINE_VIOLATION, "\"0x1aa\"", "\"0x1ab\",\"open\":{\"qualification\":\"0x2\"}",
     VMXSIM_CASE_DIFFERS},
    {LINE_LOGGED, "\"0x1000\":\"0x2107\",", "\"0x1000\":\"0x2007\",", VMXSIM_CASE_DIFFERS},
    {LINE_LOGGED, "\"memory\":{\"0x1000\":\"0x2107\",",
     "\"open\":{\"memory\":{\"0x1000\":\"0x100\"}},\"memory\":{\"0x1000\":\"0x2007\",",
     VMXSIM_CASE_AGREES},
    /* a word named only in open starts from its initial value */
    {LINE_LOGGED, "\"memory\":{\"0x1000\":\"0x2107\",",
     "\"open\":{\"memory\":{\"0x1000\":\"0x100\"}},\"memory\":{", VMXSIM_CASE_AGREES},
    {LINE_LOGGED, "\"memory\":{\"0x1000\":\"0x2107\",",
     "\"open\":{\"memory\":{\"0x1000\":\"0x200\"}},\"memory\":{", VMXSIM_CASE_DIFFERS},
    /* what is not said is not compared */
    {LINE_LOGGED,
     ",\"memory\":{\"0x1000\":\"0x2107\",\"0x2000\":\"0x3b7\",\"0x3000\":\"0x1122beef55667788\","
     "\"0x8ff8\":\"0x3000\"}",
     "", VMXSIM_CASE_AGREES},
    {LINE_VIOLATION, "\"qualification\":\"0x1aa\",", "", VMXSIM_CASE_AGREES},
    /* any of several */
    {LINE_READ, "{\"result\":\"complete\",\"values\":[null,\"0x55667788\"],\"memory\":{}}",
     "{\"any_of\":[{\"result\":\"exit\"},{\"result\":\"complete\"}]}", VMXSIM_CASE_AGREES},
    {LINE_READ, "{\"result\":\"complete\",\"values\":[null,\"0x55667788\"],\"memory\":{}}",
     "{\"any_of\":[{\"result\":\"exit\"},{\"result\":\"guest_exception\"}]}", VMXSIM_CASE_DIFFERS},
    {LINE_LOGGED,
     "{\"result\":\"complete\",\"pml_index\":510,\"memory\":{\"0x1000\":\"0x2107\",\"0x2000\":"
     "\"0x3b7\",\"0x3000\":\"0x1122beef55667788\",\"0x8ff8\":\"0x3000\"}}",
     "{\"any_of\":[{\"result\":\"complete\",\"memory\":{\"0x2000\":\"0x3b7\",\"0x3000\":"
     "\"0x1122beef55667788\",\"0x8ff8\":\"0x3000\"}}],\"open\":{\"memory\":{\"0x1000\":\"0x100\"}}"
     "}",
     VMXSIM_CASE_AGREES},
    /* the VM entry succeeds: a failure is no answer unless another is */
    {LINE_READ, "{\"result\":\"complete\",\"values\":[null,\"0x55667788\"],\"memory\":{}}",
     "{\"result\":\"vmfail\",\"kind\":\"valid\",\"error\":7}", VMXSIM_CASE_DIFFERS},
    {LINE_READ, "{\"result\":\"complete\",\"values\":[null,\"0x55667788\"],\"memory\":{}}",
     "{\"result\":\"entry_failure\",\"exit_reason\":33,\"qualification\":\"0x0\"}",
     VMXSIM_CASE_DIFFERS},
    {LINE_READ, "{\"result\":\"complete\",\"values\":[null,\"0x55667788\"],\"memory\":{}}",
     "{\"any_of\":[{\"result\":\"entry_failure\"},{\"result\":\"vmfail\"}]}", VMXSIM_CASE_DIFFERS},
    {LINE_READ, "{\"result\":\"complete\",\"values\":[null,\"0x55667788\"],\"memory\":{}}",
     "{\"any_of\":[{\"result\":\"vmfail\"},{\"result\":\"complete\"}]}", VMXSIM_CASE_AGREES},
    /* only the first doubleword of a VMXON region is memory */
    {LINE_VIOLATION, "\"memory\":{}",
     "\"memory\":{\"0x90000\":\"0x100000004\",\"0x91008\":\"0x5\"}", VMXSIM_CASE_AGREES},
    {LINE_VIOLATION, "\"memory\":{}", "\"memory\":{\"0x90000\":\"0x5\"}", VMXSIM_CASE_DIFFERS},
};
#define LENIENCY_COUNT ((int)(sizeof leniencies / sizeof leniencies[0]))

/* A control that the model does not have, in a VMCS that is valid otherwise. */
START_TEST(what_is_not_modelled_is_not_supported)
{
    static struct vector_seen seen;
    vector_file_use_everything();
    vector_line_replace(LINE_READ, "[\"flat\",{}]", "[\"flat\",{" VECTOR_UNSUPPORTED "}]");
    vector_file_write();
    vector_file_decide(&seen);
    ck_assert_msg(seen.verdict[0] == VMXSIM_CASE_UNSUPPORTED, "%s", seen.reason[0]);
    ck_assert_ptr_nonnull(strstr(seen.reason[0], "EPT paging-write control"));
}
END_TEST

START_TEST(what_is_open_is_not_compared_and_nothing_else_is_spared)
{
    static struct vector_seen seen;
    const unsigned line = leniencies[_i].line;
    vector_line_replace(line, leniencies[_i].find, leniencies[_i].with);
    vector_file_write();
    vector_file_decide(&seen);
    ck_assert_msg(seen.verdict[line - 1] == leniencies[_i].verdict, "%s", seen.reason[line - 1]);
    if (seen.verdict[line - 1] != VMXSIM_CASE_AGREES)
        ck_assert_str_ne(seen.reason[line - 1], "");
}
END_TEST

static const char deviation[] = "{\"engine.bug\":{\"engine\":\"e\",\"versions\":[\"1\"],\"engine_"
                                "does\":\"a\",\"manual_says\":\"b\","
                                "\"manual_section\":\"c\"}}";

START_TEST(a_deviating_case_is_compared_with_the_manual)
{
    static struct vector_seen seen;
    vector_text_write(vector_deviations_path, deviation, strlen(deviation));
    vector_line_replace(LINE_READ, "\"expect\":{",
                        "\"expect\":{\"result\":\"exit\"},"
                        "\"deviates\":\"engine.bug\",\"sdm\":{");
    vector_file_write();
    vector_file_decide(&seen);
    ck_assert_int_eq(seen.verdict[0], VMXSIM_CASE_AGREES);
    ck_assert_str_eq(seen.deviates[0], "engine.bug");
    ck_assert_str_eq(seen.deviates[1], "");

    vector_line_replace(LINE_READ, "\"engine.bug\"", "\"engine.bag\"");
    vector_file_write();
    vector_file_expect_refusal(2, "deviates", "engine.bag");
}
END_TEST

START_TEST(without_deviations_json_names_of_deviations_are_not_checked)
{
    static struct vector_seen seen;
    vector_line_replace(LINE_READ, "\"expect\":{",
                        "\"expect\":{\"result\":\"exit\"},"
                        "\"deviates\":\"engine.unlisted\",\"sdm\":{");
    vector_file_write();
    vector_file_decide(&seen);
    ck_assert_int_eq(seen.verdict[0], VMXSIM_CASE_AGREES);
    ck_assert_str_eq(seen.deviates[0], "engine.unlisted");
}
END_TEST

int main(void)
{
    Suite *const suite = suite_create("replay_access");
    TCase *const comparison = tcase_create("comparison");

    tcase_add_checked_fixture(comparison, vector_file_setup, vector_file_teardown);
    tcase_add_loop_test(comparison, a_doctored_expectation_is_reported, 0, DOCTORED_COUNT);
    tcase_add_test(comparison, what_is_not_modelled_is_not_supported);
    tcase_add_loop_test(comparison, what_is_open_is_not_compared_and_nothing_else_is_spared, 0,
                        LENIENCY_COUNT);
    tcase_add_test(comparison, a_deviating_case_is_compared_with_the_manual);
    tcase_add_test(comparison, without_deviations_json_names_of_deviations_are_not_checked);
    suite_add_tcase(suite, comparison);

    return run_suite(suite);
}
