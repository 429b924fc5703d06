/* SPDX-License-Identifier: Apache-2.0 */
/* Replay of kind `instructions`: what agrees, what differs and how the difference is told, state between cases. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "support/suite.h"
#include "vmxsim/replay.h"

#define RECORDING VMXSIM_SOURCE_DIR "/tests/vectors/instructions-icelake.jsonl"
#define CURRENT                                       \
    "{\"op\":\"vmxon\",\"address\":\"0x3200000\"},"   \
    "{\"op\":\"vmclear\",\"address\":\"0x3202000\"}," \
    "{\"op\":\"vmptrld\",\"address\":\"0x3202000\"},"
#define OK  "{\"status\":\"ok\"},"
#define OK3 OK OK OK

static char path[] = "/tmp/vmxsim-insn-replay-XXXXXX";

/* What was reported of the last case, and how many there were. */
static struct {
    unsigned count, agree;
    uint64_t hazard_count;
    enum vmxsim_hazard_rule hazard_rule; /* of the first that was kept */
    enum vmxsim_case_verdict verdict;
    char reason[512];
} seen;

static void see(void *context, const struct vmxsim_case_result *result)
{
    (void)context;
    seen.count++;
    seen.agree += result->verdict == VMXSIM_CASE_AGREES;
    seen.verdict = result->verdict;
    seen.hazard_count = result->hazard_count;
    seen.hazard_rule = result->hazards_kept ? result->hazard[0].rule : VMXSIM_HAZARD_RULE_COUNT;
    snprintf(seen.reason, sizeof(seen.reason), "%s", result->reason);
}

/* A file with the header of the recording. */
static FILE *create(void)
{
    char *line = NULL;
    size_t capacity = 0;
    FILE *recording = fopen(RECORDING, "r");

    ck_assert_ptr_nonnull(recording);
    ck_assert(getline(&line, &capacity, recording) > 0);
    fclose(recording);
    strcpy(path + sizeof(path) - 7, "XXXXXX");
    FILE *file = fdopen(mkstemp(path), "w");
    ck_assert_ptr_nonnull(file);
    fputs(line, file);
    free(line);
    return file;
}

static void add_case(FILE *file, const char *id, const char *steps, const char *expect)
{
    fprintf(file,
            "{\"id\":\"%s\",\"kind\":\"instructions\",\"memory\":[\"base\",{}],\"steps\":[%s],"
            "\"expect\":[%s]}\n",
            id, steps, expect);
}

static void replay(FILE *file)
{
    struct vmxsim_replay_summary summary = {0};
    struct vmxsim_error error = {0};

    fclose(file);
    memset(&seen, 0, sizeof(seen));
    const enum vmxc_status status = vmxsim_replay_file(path, see, NULL, &summary, &error);
    unlink(path);
    ck_assert_msg(status == VMXC_OK, "%s", error.text);
}

/* ---- One case at a time ---- */

static const struct {
    const char *steps, *expect, *why; /* NULL: it agrees */
} cases[] = {
    {"{\"op\":\"vmxoff\"}", "{\"status\":\"ok\"}",
     "steps[0] vmxoff: status: expected ok, observed exception by INSN.UD.OUTSIDE_VMX: "},
    {"{\"op\":\"vmxoff\"}", "{\"status\":\"exception\",\"vector\":13}",
     "vector: expected 0xd, observed 0x6"},
    {"{\"op\":\"vmxoff\"}", "{\"status\":\"exception\",\"error_code\":\"0x0\"}",
     "error_code: expected 0x0, observed none"},
    {"{\"op\":\"vmxoff\"}", "{\"status\":\"exception\",\"vector\":6}", NULL},
    {"{\"op\":\"set_cr0\",\"value\":\"0x31\"}",
     "{\"status\":\"exception\",\"vector\":13,\"error_code\":\"0x0\"}", NULL},
    {"{\"op\":\"set_cr4\",\"value\":\"0x2020\"}", "{\"status\":\"ok\"}", NULL},
    {CURRENT "{\"op\":\"vmcall\"}", OK3 "{\"status\":\"vmfail_valid\",\"error\":2}",
     "steps[3] vmcall: error: expected 0x2, observed 0x1 by VMCALL.NO_MONITOR"},
    {CURRENT "{\"op\":\"vmread\",\"field\":\"0x6800\"}",
     OK3 "{\"status\":\"ok\",\"value\":\"0x1\"}",
     "steps[3] vmread: value: expected 0x1, observed 0x0"},
    {CURRENT "{\"op\":\"vmptrst\",\"address\":\"0x5000\"},"
             "{\"op\":\"peek\",\"address\":\"0x5001\",\"size\":3}",
     OK3 "{\"status\":\"ok\",\"value\":\"0x3202000\"},{\"status\":\"ok\",\"value\":\"0x32020\"}",
     NULL},
    {"{\"op\":\"poke\",\"address\":\"0x5002\",\"size\":2,\"value\":\"0x1234\"},"
     "{\"op\":\"peek\",\"address\":\"0x5000\",\"size\":8}",
     OK "{\"status\":\"ok\",\"value\":\"0x12340000\"}", NULL},
    {"{\"op\":\"wrmsr\",\"msr\":\"0x277\",\"value\":\"0x6\"},{\"op\":\"rdmsr\",\"msr\":\"0x277\"}",
     OK "{\"status\":\"ok\",\"value\":\"0x6\"}", NULL},
    {"{\"op\":\"vmfunc\"}", "{\"status\":\"exception\",\"vector\":6}", NULL},
    {CURRENT "{\"op\":\"fill\",\"vmcs\":[\"long64\",{}]},{\"op\":\"vmlaunch\"}",
     OK3 OK "{\"status\":\"ok\",\"exit_reason\":19}",
     "steps[4] vmlaunch: exit_reason: expected 0x13, observed 0x12"},
    {CURRENT "{\"op\":\"fill\",\"vmcs\":[\"long64\",{}]},{\"op\":\"vmlaunch\"}",
     OK3 OK "{\"status\":\"ok\",\"exit_reason\":18}", NULL},
    /* A field that neither template nor changes name keeps its value. */
    {CURRENT "{\"op\":\"vmwrite\",\"field\":\"0x6c14\",\"value\":\"0x7\"},"
             "{\"op\":\"fill\",\"vmcs\":[\"long64\",{\"0x6800\":\"0x5\"}]},"
             "{\"op\":\"vmread\",\"field\":\"0x6c14\"},{\"op\":\"vmread\",\"field\":\"0x6800\"}",
     OK3 OK OK "{\"status\":\"ok\",\"value\":\"0x7\"},{\"status\":\"ok\",\"value\":\"0x5\"}", NULL},
    {CURRENT "{\"op\":\"fill\",\"vmcs\":[\"long64\",{\"0x2800\":\"0x1\"}]},{\"op\":\"vmlaunch\"}",
     OK3 OK "{\"status\":\"entry_failure\",\"exit_reason\":33,\"qualification\":\"0x0\"}",
     "qualification: expected 0x0, observed 0x4 by LINK."},
    {CURRENT "{\"op\":\"fill\",\"vmcs\":[\"long64\",{\"0x2800\":\"0x1\"}]},{\"op\":\"vmlaunch\"}",
     OK3 OK "{\"status\":\"entry_failure\",\"exit_reason\":33,\"qualification\":\"0x0\","
            "\"open\":{\"qualification\":\"0x4\"}}",
     NULL},
    /* Bad controls and bad host state: both numbers are lawful, and the number is kept. */
    {CURRENT "{\"op\":\"fill\",\"vmcs\":[\"long64\",{\"0x400a\":\"0x5\",\"0xc0c\":\"0x0\"}]},"
             "{\"op\":\"vmlaunch\"},{\"op\":\"vmread\",\"field\":\"0x4400\"}",
     OK3 OK "{\"status\":\"vmfail_valid\",\"error\":8},{\"status\":\"ok\",\"value\":\"0x8\"}",
     NULL},
    {CURRENT "{\"op\":\"fill\",\"vmcs\":[\"long64\",{\"0x400a\":\"0x5\"}]},{\"op\":\"vmlaunch\"}",
     OK3 OK "{\"status\":\"vmfail_valid\",\"error\":8}",
     "error: expected 0x8, observed 0x7 by CTL.CR3TGT.COUNT: "},
    {"{\"op\":\"vmxon\",\"address\":\"0x3200000\"},{\"op\":\"vmresume\"},{\"op\":\"vmxoff\"}",
     OK "{\"status\":\"vmfail_invalid\"},{\"status\":\"ok\"}", NULL},
};
#define CASE_COUNT ((int)(sizeof cases / sizeof cases[0]))

START_TEST(a_case_agrees_or_says_where_it_differs)
{
    FILE *file = create();

    add_case(file, "one", cases[_i].steps, cases[_i].expect);
    replay(file);
    ck_assert_uint_eq(seen.count, 1);
    if (cases[_i].why == NULL) {
        ck_assert_msg(seen.verdict == VMXSIM_CASE_AGREES, "%s", seen.reason);
        ck_assert_str_eq(seen.reason, "");
    } else {
        ck_assert_int_eq(seen.verdict, VMXSIM_CASE_DIFFERS);
        ck_assert_msg(strstr(seen.reason, cases[_i].why) != NULL, "%s does not say %s", seen.reason,
                      cases[_i].why);
        ck_assert_uint_eq(strcspn(seen.reason, "\n"), strlen(seen.reason) - 1); /* one line */
    }
}
END_TEST

/* ---- Hazards ---- */

START_TEST(a_hazard_is_reported_and_decides_nothing)
{
    FILE *file = create();

    add_case(file, "poke",
             CURRENT "{\"op\":\"poke\",\"address\":\"0x3202010\",\"size\":2,\"value\":\"0x1234\"}",
             OK3 "{\"status\":\"ok\"}");
    replay(file);
    ck_assert_msg(seen.agree == 1, "%s", seen.reason);
    ck_assert_uint_eq(seen.hazard_count, 1);
    ck_assert_int_eq(seen.hazard_rule, VMXSIM_HAZARD_VMCS_WRITE);
    file = create();
    add_case(file, "poke", CURRENT "{\"op\":\"vmclear\",\"address\":\"0x3202000\"}",
             OK3 "{\"status\":\"ok\"}");
    replay(file);
    ck_assert_uint_eq(seen.hazard_count, 0);
}
END_TEST

/* ---- More than one ---- */

START_TEST(cases_do_not_see_each_other)
{
    FILE *file = create();

    add_case(file, "a",
             CURRENT "{\"op\":\"vmwrite\",\"field\":\"0x6800\",\"value\":\"0x9\"},"
                     "{\"op\":\"wrmsr\",\"msr\":\"0x277\",\"value\":\"0x6\"}",
             OK3 OK "{\"status\":\"ok\"}");
    add_case(file, "b",
             "{\"op\":\"vmxoff\"}," CURRENT "{\"op\":\"vmread\",\"field\":\"0x6800\"},"
             "{\"op\":\"rdmsr\",\"msr\":\"0x277\"}",
             "{\"status\":\"exception\",\"vector\":6}," OK3 "{\"status\":\"ok\",\"value\":\"0x0\"},"
             "{\"status\":\"ok\",\"value\":\"0x7040600070406\"}");
    replay(file);
    ck_assert_uint_eq(seen.count, 2);
    ck_assert_msg(seen.agree == 2, "%s", seen.reason);
}
END_TEST

/* A VMX abort ends what the model can do. */
START_TEST(a_case_that_aborts_is_not_supported)
{
    FILE *file = create();

    add_case(file, "one",
             CURRENT
             "{\"op\":\"fill\",\"vmcs\":[\"long64\",{\"0x4010\":\"0x1\",\"0x2008\":\"0x8000\"}]},"
             "{\"op\":\"poke\",\"address\":\"0x8000\",\"size\":4,\"value\":\"0xc0000100\"},"
             "{\"op\":\"vmlaunch\"},{\"op\":\"vmxoff\"}",
             OK3 OK OK OK "{\"status\":\"ok\"}");
    replay(file);
    ck_assert_int_eq(seen.verdict, VMXSIM_CASE_UNSUPPORTED);
    ck_assert_msg(strstr(seen.reason, "steps[6] vmxoff: ") == seen.reason, "%s", seen.reason);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("insn_replay");
    TCase *tcase = tcase_create("core");

    tcase_add_loop_test(tcase, a_case_agrees_or_says_where_it_differs, 0, CASE_COUNT);
    tcase_add_test(tcase, a_hazard_is_reported_and_decides_nothing);
    tcase_add_test(tcase, cases_do_not_see_each_other);
    tcase_add_test(tcase, a_case_that_aborts_is_not_supported);
    suite_add_tcase(suite, tcase);

    return run_suite(suite);
}
