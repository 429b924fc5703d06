/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Replay of VM entries (of their own and before accesses), intercepts and sequences of instructions: each key that
 * `expect` may have can disagree, what it does not say is not compared, and one lawful alternative is enough.
 */
#include "support/suite.h"
#include "support/vector_file.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The first case becomes this one. */
static void set_case(const char *keys, const char *vmcs, const char *memory, const char *expect)
{
    char line[4096];
    const int length =
        snprintf(line, sizeof line,
                 "{\"id\":\"x\",%s,\"vmcs\":[\"flat\",{%s}],\"memory\":[\"base\",{%s}],"
                 "\"expect\":%s}\n",
                 keys, vmcs, memory, expect);
    ck_assert_int_lt(length, (int)sizeof line);
    vector_line_set(LINE_READ, line);
}

/* `why` NULL: it agrees. Otherwise the reason says this. The other cases agree either way. */
static void expect_verdict(enum vmxsim_case_verdict verdict, const char *why)
{
    static struct vector_seen seen;
    vector_file_write();
    vector_file_decide(&seen);
    ck_assert_msg(seen.verdict[0] == verdict, "verdict %d: %s", (int)seen.verdict[0],
                  seen.reason[0]);
    if (why == NULL)
        ck_assert_str_eq(seen.reason[0], "");
    else
        ck_assert_msg(strstr(seen.reason[0], why) != NULL, "%s does not say %s", seen.reason[0],
                      why);
    for (unsigned i = 1; i < seen.count; i++)
        ck_assert_msg(seen.verdict[i] == VMXSIM_CASE_AGREES, "%s", seen.reason[i]);
}

static void expect_agreement_unless(const char *why)
{
    expect_verdict(why == NULL ? VMXSIM_CASE_AGREES : VMXSIM_CASE_DIFFERS, why);
}

/* ---- VM entries that fail ---- */

#define LAUNCH "\"kind\":\"entry\",\"launch_state\":\"clear\",\"instruction\":\"vmlaunch\""
#define ACCESS \
    "\"kind\":\"access\",\"accesses\":[{\"type\":\"read\",\"linear\":\"0x3000\",\"size\":1}]"

/* What is wrong with the VMCS. */
#define BAD_CONTROLS   "\"0x4000\":\"0x0\""
#define BAD_HOST       "\"0x6c00\":\"0x0\""
#define BAD_GUEST      "\"0x6820\":\"0x0\""
#define BAD_LINK       "\"0x2800\":\"0x1\""
#define BAD_MSR        "\"0x4014\":\"0x2\",\"0x200a\":\"0x8000\"" /* the second is IA32_FS_BASE */
#define MSR_LIST       "\"0x8000\":\"0x277\",\"0x8008\":\"0x6\",\"0x8010\":\"0xc0000100\""
#define SHADOW_VMCS    "\"0x91000\":\"0x80000004\""
#define VMFAIL_7       "{\"result\":\"vmfail\",\"kind\":\"valid\",\"error\":7}"
#define VMFAIL_8       "{\"result\":\"vmfail\",\"kind\":\"valid\",\"error\":8}"
#define VMFAIL_INVALID "{\"result\":\"vmfail\",\"kind\":\"invalid\"}"
#define FAILURE_33     "{\"result\":\"entry_failure\",\"exit_reason\":33,\"qualification\":\"0x0\"}"

static const struct {
    const char *vmcs, *memory, *expect;
    const char *why; /* NULL: agrees */
} failed_entries[] = {
    {BAD_CONTROLS, "", VMFAIL_7, NULL},
    {BAD_CONTROLS, "", VMFAIL_8, "observed VMfailValid(7)\nviolated: CTL.PIN.RSVD: "},
    {BAD_CONTROLS, "", VMFAIL_INVALID, "observed VMfailValid(7)"},
    {BAD_CONTROLS, "", FAILURE_33, "observed VMfailValid(7)"},
    {BAD_CONTROLS, "", "{\"result\":\"vmfail\"}", NULL},
    {BAD_CONTROLS, "", "{\"result\":\"vmfail\",\"kind\":\"valid\"}", NULL},
    {BAD_CONTROLS, "", "{\"result\":\"vmfail\",\"error\":7}", NULL},
    {BAD_CONTROLS, "", "{\"result\":\"vmfail\",\"error\":8}", "VMfailValid(7)"},
    {BAD_CONTROLS, "", "{\"any_of\":[" VMFAIL_8 "," VMFAIL_7 "]}", NULL},
    {BAD_CONTROLS, "", "{\"any_of\":[" VMFAIL_8 "," FAILURE_33 "]}", "VMfailValid(7)"},

    {BAD_HOST, "", VMFAIL_8, NULL},
    {BAD_HOST, "", VMFAIL_7, "observed VMfailValid(8)\nviolated: HOST."},

    {"", SHADOW_VMCS, VMFAIL_INVALID, NULL},
    {"", SHADOW_VMCS, "{\"result\":\"vmfail\"}", NULL},
    {"", SHADOW_VMCS, VMFAIL_7, "observed VMfailInvalid"},
    {"", SHADOW_VMCS, "{\"result\":\"vmfail\",\"kind\":\"valid\"}", "observed VMfailInvalid"},
    {"", SHADOW_VMCS, "{\"result\":\"vmfail\",\"error\":7}", "observed VMfailInvalid"},
    {"", SHADOW_VMCS, FAILURE_33, "observed VMfailInvalid"},

    {BAD_GUEST, "", FAILURE_33, NULL},
    {BAD_GUEST, "", VMFAIL_7, "observed entry failure 33, qualification 0x0\nviolated: "},
    {BAD_GUEST, "", "{\"result\":\"entry_failure\"}", NULL},
    {BAD_GUEST, "", "{\"result\":\"entry_failure\",\"exit_reason\":33}", NULL},
    {BAD_GUEST, "", "{\"result\":\"entry_failure\",\"exit_reason\":34}", "entry failure 33"},
    {BAD_GUEST, "", "{\"result\":\"entry_failure\",\"exit_reason\":41}", "entry failure 33"},
    {BAD_GUEST, "", "{\"result\":\"entry_failure\",\"qualification\":\"0x4\"}",
     "qualification 0x0\n"},
    {BAD_LINK, "", FAILURE_33, "observed entry failure 33, qualification 0x4"},
    {BAD_LINK, "",
     "{\"result\":\"entry_failure\",\"qualification\":\"0x0\",\"open\":{\"qualification\":\"0x4\"}"
     "}",
     NULL},
    {BAD_LINK, "",
     "{\"result\":\"entry_failure\",\"qualification\":\"0x0\",\"open\":{\"qualification\":\"0x3\"}"
     "}",
     "qualification 0x4"},
    {BAD_LINK, "", "{\"any_of\":[" FAILURE_33 "],\"open\":{\"qualification\":\"0x4\"}}", NULL},
    {BAD_LINK, "", "{\"any_of\":[" FAILURE_33 "],\"open\":{\"qualification\":\"0x3\"}}",
     "qualification 0x4"},

    {BAD_MSR, MSR_LIST,
     "{\"result\":\"entry_failure\",\"exit_reason\":34,\"qualification\":\"0x2\"}", NULL},
    {BAD_MSR, MSR_LIST,
     "{\"result\":\"entry_failure\",\"exit_reason\":34,\"qualification\":\"0x1\"}",
     "observed entry failure 34, qualification 0x2"},
    {BAD_MSR, MSR_LIST,
     "{\"result\":\"entry_failure\",\"exit_reason\":33,\"qualification\":\"0x2\"}",
     "observed entry failure 34"},
};

START_TEST(a_failed_entry_is_compared)
{
    set_case(LAUNCH, failed_entries[_i].vmcs, failed_entries[_i].memory, failed_entries[_i].expect);
    expect_agreement_unless(failed_entries[_i].why);
}
END_TEST

START_TEST(a_failed_entry_before_accesses_is_compared_likewise)
{
    set_case(ACCESS, failed_entries[_i].vmcs, failed_entries[_i].memory, failed_entries[_i].expect);
    expect_agreement_unless(failed_entries[_i].why);
}
END_TEST

/* ---- Results of other kinds than the expected ---- */

#define RESUME       "\"kind\":\"entry\",\"launch_state\":\"launched\",\"instruction\":\"vmresume\""
#define LAUNCH_AGAIN "\"kind\":\"entry\",\"launch_state\":\"launched\",\"instruction\":\"vmlaunch\""
#define RESUME_CLEAR "\"kind\":\"entry\",\"launch_state\":\"clear\",\"instruction\":\"vmresume\""
#define ENTERED      "{\"result\":\"entered\"}"

static const struct {
    const char *keys, *vmcs, *expect, *why;
} entries[] = {
    {LAUNCH, "", ENTERED, NULL},
    {LAUNCH, "", VMFAIL_7, "observed entered"},
    {LAUNCH, "", FAILURE_33, "observed entered"},
    {LAUNCH, "", "{\"any_of\":[" VMFAIL_7 "," ENTERED "]}", NULL},
    {LAUNCH, "", "{\"any_of\":[" VMFAIL_7 "," FAILURE_33 "]}", "observed entered"},
    {LAUNCH, BAD_CONTROLS, ENTERED, "observed VMfailValid(7)"},
    {LAUNCH, BAD_GUEST, ENTERED, "observed entry failure 33"},
    {RESUME, "", ENTERED, NULL},
    {RESUME_CLEAR, "", "{\"result\":\"vmfail\",\"kind\":\"valid\",\"error\":5}", NULL},
    {RESUME_CLEAR, "", "{\"result\":\"vmfail\",\"kind\":\"valid\",\"error\":4}", "VMfailValid(5)"},
    {RESUME_CLEAR, "", ENTERED, "observed VMfailValid(5)"},
    {LAUNCH_AGAIN, "", "{\"result\":\"vmfail\",\"kind\":\"valid\",\"error\":4}", NULL},
    {LAUNCH_AGAIN, "", "{\"result\":\"vmfail\",\"kind\":\"valid\",\"error\":5}", "VMfailValid(4)"},
    {ACCESS, BAD_CONTROLS, "{\"result\":\"complete\"}", "observed VMfailValid(7)"},
    {ACCESS, BAD_GUEST, "{\"any_of\":[{\"result\":\"complete\"},{\"result\":\"exit\"}]}",
     "observed entry failure 33"},
    {ACCESS, BAD_GUEST, "{\"any_of\":[{\"result\":\"complete\"}," FAILURE_33 "]}", NULL},
};

START_TEST(an_entry_that_succeeds_is_told_from_one_that_fails)
{
    set_case(entries[_i].keys, entries[_i].vmcs, "", entries[_i].expect);
    expect_agreement_unless(entries[_i].why);
}
END_TEST

/* ---- Intercepts ---- */

#define INTERCEPT(instruction) "\"kind\":\"intercept\",\"instruction\":{" instruction "}"
#define RDMSR                  INTERCEPT("\"op\":\"rdmsr\",\"msr\":\"0x10\"")
#define WRMSR                  INTERCEPT("\"op\":\"wrmsr\",\"msr\":\"0x10\",\"value\":\"0x0\"")
#define IN                     INTERCEPT("\"op\":\"in\",\"port\":\"0x60\",\"size\":1")
#define READ_BIT               "\"0x62000\":\"0x10000\""
#define PORT_BIT               "\"0x60008\":\"0x100000000\""
#define RDMSR_EXIT             "{\"result\":\"exit\",\"exit_reason\":31,\"qualification\":\"0x0\"}"
#define COMPLETE               "{\"result\":\"complete\"}"

/* A guest at CPL 3, whose #GP causes a VM exit. */
#define USER                                                                               \
    "\"0x800\":\"0x13\",\"0x802\":\"0xb\",\"0x804\":\"0x13\",\"0x806\":\"0x13\","          \
    "\"0x808\":\"0x13\",\"0x80a\":\"0x13\",\"0x4814\":\"0xc0f3\",\"0x4816\":\"0xc0fb\","   \
    "\"0x4818\":\"0xc0f3\",\"0x481a\":\"0xc0f3\",\"0x481c\":\"0xc0f3\",\"0x481e\":\"0xc0f" \
    "3\",\"0x4004\":\"0x2000\""

static const struct {
    const char *keys, *vmcs, *memory, *expect, *why;
} intercepts[] = {
    {RDMSR, "", READ_BIT, RDMSR_EXIT, NULL},
    {RDMSR, "", READ_BIT, COMPLETE, "result: expected complete, observed exit 31"},
    {RDMSR, "", READ_BIT, "{\"result\":\"exit\",\"exit_reason\":32}", "exit_reason: expected 32"},
    {RDMSR, "", READ_BIT, "{\"result\":\"exit\",\"qualification\":\"0x1\"}",
     "qualification: expected 0x1, observed 0x0"},
    {RDMSR, "", READ_BIT,
     "{\"result\":\"exit\",\"qualification\":\"0x1\",\"open\":{\"qualification\":\"0x1\"}}", NULL},
    {RDMSR, "", READ_BIT, "{\"result\":\"exit\"}", NULL},
    {RDMSR, "", READ_BIT, "{\"any_of\":[" COMPLETE "," RDMSR_EXIT "]}", NULL},
    {RDMSR, "", READ_BIT, "{\"any_of\":[" COMPLETE ",{\"result\":\"exit\",\"exit_reason\":32}]}",
     "differs from each of 2 alternatives"},
    {RDMSR, "", "", COMPLETE, NULL},
    {RDMSR, "", "", RDMSR_EXIT, "observed complete"},
    {WRMSR, "", READ_BIT, COMPLETE, NULL},
    {WRMSR, "", READ_BIT, "{\"result\":\"exit\"}", "observed complete"},
    {IN, "", PORT_BIT, "{\"result\":\"exit\",\"exit_reason\":30,\"qualification\":\"0x600008\"}",
     NULL},
    {IN, "", PORT_BIT, "{\"result\":\"exit\",\"exit_reason\":30,\"qualification\":\"0x600000\"}",
     "qualification: expected 0x600000, observed 0x600008"},
    {IN, "", "", COMPLETE, NULL},
    {RDMSR, USER, "",
     "{\"result\":\"exit\",\"exit_reason\":0,\"intr_info\":\"0x80000b0d\",\"intr_error_code\":"
     "\"0x0\"}",
     NULL},
    {RDMSR, USER, "", "{\"result\":\"exit\",\"exit_reason\":0,\"intr_info\":\"0x80000b0c\"}",
     "intr_info: "},
    {RDMSR, USER, "", "{\"result\":\"exit\",\"exit_reason\":0,\"intr_error_code\":\"0x1\"}",
     "intr_error_code: expected 0x1, observed 0x0"},
    {RDMSR, USER, "", COMPLETE, "observed exit 0"},
    /* the VM entry succeeds in every case of this kind */
    {RDMSR, BAD_GUEST, READ_BIT, RDMSR_EXIT, "VM entry: "},
    {RDMSR, BAD_CONTROLS, "", COMPLETE, "observed VMfailValid(7)"},
};

START_TEST(an_intercept_is_compared)
{
    set_case(intercepts[_i].keys, intercepts[_i].vmcs, intercepts[_i].memory,
             intercepts[_i].expect);
    expect_agreement_unless(intercepts[_i].why);
}
END_TEST

/* ---- Sequences of instructions ---- */

#define VMXON "{\"op\":\"vmxon\",\"address\":\"0x90000\"}"
#define CURRENT                                            \
    VMXON ",{\"op\":\"vmclear\",\"address\":\"0x91000\"}," \
          "{\"op\":\"vmptrld\",\"address\":\"0x91000\"}"
#define FILL(changes) ",{\"op\":\"fill\",\"vmcs\":[\"flat\",{" changes "}]}"
#define OK            "{\"status\":\"ok\"}"
#define OK3           OK "," OK "," OK

static const struct {
    const char *steps, *expect, *why;
} sequences[] = {
    {VMXON, OK, NULL},
    {VMXON, "{\"status\":\"vmfail_invalid\"}",
     "steps[0] vmxon: status: expected vmfail_invalid, observed ok"},
    {VMXON, "{\"status\":\"exception\",\"vector\":6}", "status: expected exception, observed ok"},
    {"{\"op\":\"vmxoff\"}", "{\"status\":\"exception\",\"vector\":6}", NULL},
    {"{\"op\":\"vmxoff\"}", "{\"status\":\"exception\",\"vector\":13}",
     "steps[0] vmxoff: vector: expected 0xd, observed 0x6"},
    {"{\"op\":\"vmxoff\"}", "{\"status\":\"exception\",\"error_code\":\"0x0\"}",
     "error_code: expected 0x0, observed none"},
    {"{\"op\":\"set_cr0\",\"value\":\"0x31\"}", "{\"status\":\"exception\",\"error_code\":\"0x1\"}",
     "error_code: expected 0x1, observed 0x0"},
    {CURRENT ",{\"op\":\"vmread\",\"field\":\"0x6\"}",
     OK3 ",{\"status\":\"vmfail_valid\",\"error\":12}", NULL},
    {CURRENT ",{\"op\":\"vmread\",\"field\":\"0x6\"}",
     OK3 ",{\"status\":\"vmfail_valid\",\"error\":13}",
     "steps[3] vmread: error: expected 0xd, observed 0xc"},
    {CURRENT ",{\"op\":\"vmread\",\"field\":\"0x6\"}", OK3 ",{\"status\":\"vmfail_valid\"}", NULL},
    {CURRENT FILL("") ",{\"op\":\"vmread\",\"field\":\"0x4016\"}",
     OK3 "," OK ",{\"status\":\"ok\",\"value\":\"0x0\"}", NULL},
    {CURRENT FILL("") ",{\"op\":\"vmread\",\"field\":\"0x6800\"}",
     OK3 "," OK ",{\"status\":\"ok\",\"value\":\"0x33\"}", "value: expected 0x33, observed 0x31"},
    {CURRENT FILL("") ",{\"op\":\"vmlaunch\"}",
     OK3 "," OK ",{\"status\":\"ok\",\"exit_reason\":18}", NULL},
    {CURRENT FILL("") ",{\"op\":\"vmlaunch\"}",
     OK3 "," OK ",{\"status\":\"ok\",\"exit_reason\":19}",
     "steps[4] vmlaunch: exit_reason: expected 0x13, observed 0x12"},
    {CURRENT FILL(BAD_LINK) ",{\"op\":\"vmlaunch\"}",
     OK3 "," OK ",{\"status\":\"entry_failure\",\"exit_reason\":33,\"qualification\":\"0x4\"}",
     NULL},
    {CURRENT FILL(BAD_LINK) ",{\"op\":\"vmlaunch\"}",
     OK3 "," OK ",{\"status\":\"entry_failure\",\"exit_reason\":34}",
     "exit_reason: expected 0x22, observed 0x21"},
    {CURRENT FILL(BAD_LINK) ",{\"op\":\"vmlaunch\"}",
     OK3 "," OK ",{\"status\":\"entry_failure\",\"qualification\":\"0x0\"}",
     "qualification: expected 0x0, observed 0x4"},
    {CURRENT FILL(BAD_LINK) ",{\"op\":\"vmlaunch\"}", OK3 "," OK "," OK,
     "status: expected ok, observed entry_failure"},
};

START_TEST(each_step_is_compared)
{
    char line[2048];
    const int length = snprintf(line, sizeof line,
                                "{\"id\":\"x\",\"kind\":\"instructions\",\"memory\":[\"base\","
                                "{\"0x91000\":\"0x4\"}],\"steps\":[%s],\"expect\":[%s]}\n",
                                sequences[_i].steps, sequences[_i].expect);
    ck_assert_int_lt(length, (int)sizeof line);
    vector_line_set(LINE_READ, line);
    expect_agreement_unless(sequences[_i].why);
}
END_TEST

/* ---- Not supported ---- */

static const struct {
    const char *keys, *expect;
    enum vmxsim_case_verdict verdict;
    const char *why;
} unsupported[] = {
    {ACCESS, "{\"result\":\"complete\"}", VMXSIM_CASE_UNSUPPORTED, "EPT paging-write control"},
    {ACCESS, "{\"result\":\"exit\"}", VMXSIM_CASE_UNSUPPORTED, "EPT paging-write control"},
    {ACCESS, VMFAIL_7, VMXSIM_CASE_UNSUPPORTED, "EPT paging-write control"},
    {RDMSR, COMPLETE, VMXSIM_CASE_UNSUPPORTED, "EPT paging-write control"},
    {LAUNCH, ENTERED, VMXSIM_CASE_AGREES, NULL},
    {LAUNCH, VMFAIL_7, VMXSIM_CASE_DIFFERS, "observed entered"},
};

START_TEST(a_feature_that_the_model_lacks_is_neither_agreement_nor_difference)
{
    vector_file_use_everything();
    set_case(unsupported[_i].keys, VECTOR_UNSUPPORTED, "", unsupported[_i].expect);
    expect_verdict(unsupported[_i].verdict, unsupported[_i].why);
}
END_TEST

int main(void)
{
    Suite *const suite = suite_create("replay_kinds");
    TCase *const comparison = tcase_create("comparison");

    tcase_add_checked_fixture(comparison, vector_file_setup, vector_file_teardown);
    tcase_add_loop_test(comparison, a_failed_entry_is_compared, 0, COUNT(failed_entries));
    tcase_add_loop_test(comparison, a_failed_entry_before_accesses_is_compared_likewise, 0,
                        COUNT(failed_entries));
    tcase_add_loop_test(comparison, an_entry_that_succeeds_is_told_from_one_that_fails, 0,
                        COUNT(entries));
    tcase_add_loop_test(comparison, an_intercept_is_compared, 0, COUNT(intercepts));
    tcase_add_loop_test(comparison, each_step_is_compared, 0, COUNT(sequences));
    tcase_add_loop_test(comparison,
                        a_feature_that_the_model_lacks_is_neither_agreement_nor_difference, 0,
                        COUNT(unsupported));
    suite_add_tcase(suite, comparison);

    return run_suite(suite);
}
