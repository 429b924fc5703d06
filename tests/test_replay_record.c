/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Recording on the model: what is recorded agrees when it is replayed, open bits are those that the recordings of another
 * engine name, and files of version 2 say when an engine has not answered.
 */
#include "support/suite.h"
#include "support/vector_file.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RECORDINGS VMXSIM_SOURCE_DIR "/tests/vectors/"

static const char *const recordings[] = {
    RECORDINGS "access-icelake.jsonl",       RECORDINGS "access-tigerlake.jsonl",
    RECORDINGS "entry-icelake.jsonl",        RECORDINGS "entry-skylake.jsonl",
    RECORDINGS "instructions-icelake.jsonl", RECORDINGS "intercept-icelake.jsonl",
    RECORDINGS "code-icelake.jsonl",         RECORDINGS "event-icelake.jsonl",
    RECORDINGS "stale-icelake.jsonl",
};

/* ---- Recording and replaying ---- */

static struct vmxsim_replay_summary record(const char *path, const char *target)
{
    struct vmxsim_replay_summary summary;
    struct vmxsim_error error;
    FILE *const stream = fopen(target, "w");

    memset(&summary, 0, sizeof summary);
    ck_assert_ptr_nonnull(stream);
    ck_assert_msg(vmxsim_replay_record(path, stream, &summary, &error) == VMXC_OK, "%s",
                  error.text);
    ck_assert_int_eq(fclose(stream), 0);
    return summary;
}

static void all_agree(void *context, const struct vmxsim_case_result *result)
{
    (void)context;
    ck_assert_msg(result->verdict == VMXSIM_CASE_AGREES, "%s: %s", result->id, result->reason);
}

START_TEST(what_is_recorded_agrees)
{
    const struct vmxsim_replay_summary recorded = record(recordings[_i], vector_path);
    struct vmxsim_replay_summary replayed;
    struct vmxsim_error error;

    memset(&replayed, 0, sizeof replayed);
    ck_assert_msg(vmxsim_replay_file(vector_path, all_agree, NULL, &replayed, &error) == VMXC_OK,
                  "%s", error.text);
    ck_assert_mem_eq(&recorded, &replayed, sizeof recorded);
}
END_TEST

/* ---- What an answer holds ---- */

/* The recorded line of the case with this text in it, in a buffer that the next call reuses. */
static const char *recorded_line(const char *text)
{
    static char line[65536];
    FILE *const stream = fopen(vector_path, "r");
    const char *found = NULL;

    ck_assert_ptr_nonnull(stream);
    while (found == NULL && fgets(line, sizeof line, stream) != NULL)
        found = strstr(line, text) != NULL ? line : NULL;
    (void)fclose(stream);
    ck_assert_msg(found != NULL, "no line with %s", text);
    return found;
}

/* Masks as Bochs's recordings have them, where they name some. */
static const struct {
    const char *file, *id, *holds;
} answers[] = {
    /* Page fault by a reserved bit: the accessed flags above the entry. */
    {RECORDINGS "access-icelake.jsonl", "\"access-0160-guest-exception\"",
     "\"open\":{\"memory\":{\"0x2002008\":\"0x20\",\"0x2003ff8\":\"0x20\"}}"},
    /* Misconfiguration: accessed flags for EPT above the entry. */
    {RECORDINGS "access-icelake.jsonl", "\"access-0099-misconfig\"",
     "\"open\":{\"memory\":{\"0x3001008\":\"0x100\",\"0x3010ff8\":\"0x100\"}}"},
    /* The second page faults: flags of the first one are open, those of entries that were read are not. */
    {RECORDINGS "access-icelake.jsonl", "\"access-0565-page-fault\"",
     "\"open\":{\"memory\":{\"0x2002008\":\"0x20\",\"0x2003ff8\":\"0x20\",\"0x2004ff8\":\"0x20\","
     "\"0x2005ff8\":\"0x20\",\"0x3000000\":\"0x100\",\"0x3001008\":\"0x100\",\"0x3010ff8\":"
     "\"0x100\",\"0x3020ff8\":\"0x100\",\"0x2002010\":\"0x20\"}}"},
    /* Both qualifications of a guest state with two broken rules. */
    {RECORDINGS "entry-icelake.jsonl", "\"entry-0001-seg-p\"",
     "\"any_of\":[{\"result\":\"entry_failure\",\"exit_reason\":33,\"qualification\":\"0x0\"},"
     "{\"result\":\"entry_failure\",\"exit_reason\":33,\"qualification\":\"0x4\"}]"},
    {RECORDINGS "intercept-icelake.jsonl", "\"intercept-0001-rdmsr-exit\"",
     "\"expect\":{\"result\":\"exit\",\"exit_reason\":31,\"qualification\":\"0x0\"}"},
    {RECORDINGS "instructions-icelake.jsonl", "\"seq-0016\"",
     "{\"status\":\"vmfail_valid\",\"error\":5},{\"status\":\"ok\",\"value\":\"0x80\"}"},
    {RECORDINGS "access-icelake.jsonl", "\"access-0001-complete\"", "\"values\":[null,\"0x130b\"]"},
};

START_TEST(an_answer_says_what_is_open)
{
    (void)record(answers[_i].file, vector_path);
    const char *const line = recorded_line(answers[_i].id);
    ck_assert_msg(strstr(line, answers[_i].holds) != NULL, "%s is not there", answers[_i].holds);
}
END_TEST

START_TEST(a_case_that_the_model_cannot_run_is_recorded_as_such)
{
    char target[4096];

    vector_file_use_everything();
    vector_line_set(LINE_READ,
                    "{\"id\":\"x\",\"kind\":\"access\",\"vmcs\":[\"flat\",{" VECTOR_UNSUPPORTED
                    "}],\"memory\":[\"base\",{}],"
                    "\"accesses\":[{\"type\":\"read\",\"linear\":\"0x3000\",\"size\":1}]}\n");
    vector_file_write();
    (void)snprintf(target, sizeof target, "%s/recorded", vector_directory);
    const struct vmxsim_replay_summary summary = record(vector_path, target);
    ck_assert_uint_eq(summary.kind[VMXSIM_CASE_ACCESS].unsupported, 1);
    ck_assert_int_eq(rename(target, vector_path), 0);
    ck_assert_ptr_nonnull(strstr(recorded_line("\"x\""), "\"not_runnable\""));
}
END_TEST

/* What `expect` cannot say is no answer: VM entries that are not even tried, or that fail before an instruction. */
#define ENTRY_CASE     "\"launch_state\":\"clear\",\"instruction\":\"vmlaunch\""
#define ACCESS_CASE    "\"accesses\":[{\"type\":\"read\",\"linear\":\"0x3000\",\"size\":1}]"
#define INTERCEPT_CASE "\"instruction\":{\"op\":\"in\",\"port\":\"0x80\",\"size\":1}"
static const struct {
    const char *root_cr0;
    enum vmxsim_case_kind kind;
    const char *what, *vmcs, *why;
} without_words[] = {
    {"0x80000030", VMXSIM_CASE_ENTRY, ENTRY_CASE, "", "VM entry: exception 6"},
    {"0x80000030", VMXSIM_CASE_ACCESS, ACCESS_CASE, "", "VM entry: exception 6"},
    {"0x80000030", VMXSIM_CASE_INTERCEPT, INTERCEPT_CASE, "", "VM entry: exception 6"},
    {"0x80000031", VMXSIM_CASE_INTERCEPT, INTERCEPT_CASE, "\"0x4000\":\"0x0\"",
     "VM entry: VMfailValid(7)"},
    {"0x80000031", VMXSIM_CASE_INTERCEPT, INTERCEPT_CASE, "\"0x6820\":\"0x0\"",
     "VM entry: entry failure 33"},
};

START_TEST(what_expect_has_no_words_for_is_recorded_as_such)
{
    const enum vmxsim_case_kind kind = without_words[_i].kind;
    char target[4096], line[1024];

    (void)snprintf(line, sizeof line,
                   "{\"id\":\"x\",\"kind\":\"%s\",\"vmcs\":[\"flat\",{%s}],"
                   "\"memory\":[\"base\",{}],%s}\n",
                   vmxsim_case_kind_name(kind), without_words[_i].vmcs, without_words[_i].what);
    vector_line_set(LINE_READ, line);
    vector_line_replace(LINE_HEADER, "{\"cr0\":\"0x80000031\"", "{\"cr0\":\"ROOT\"");
    vector_line_replace(LINE_HEADER, "ROOT", without_words[_i].root_cr0);
    for (unsigned other = LINE_READ + 1; other < LINE_COUNT; other++)
        vector_line_set(other, "");
    vector_file_write();
    (void)snprintf(target, sizeof target, "%s/recorded", vector_directory);
    ck_assert_uint_eq(record(vector_path, target).kind[kind].unsupported, 1);
    ck_assert_int_eq(rename(target, vector_path), 0);
    const char *const recorded = recorded_line("\"x\"");
    ck_assert_msg(strstr(recorded, "\"not_runnable\"") != NULL &&
                      strstr(recorded, without_words[_i].why) != NULL,
                  "%s", recorded);
}
END_TEST

/* ---- Version 2 ---- */

static void set_engine_result(const char *version, const char *expect)
{
    char line[1024];

    (void)snprintf(line, sizeof line,
                   "{\"id\":\"x\",\"kind\":\"access\",\"vmcs\":[\"flat\",{}],\"memory\":[\"base\",{"
                   "}],\"accesses\":[{\"type\":\"read\",\"linear\":\"0x3000\",\"size\":1}],"
                   "%s}\n",
                   expect);
    vector_line_set(LINE_READ, line);
    vector_line_replace(LINE_HEADER, "\"version\":1", version);
}

static const struct {
    const char *expect;
    enum vmxsim_case_verdict verdict;
    const char *why;
} engine_results[] = {
    {"\"expect\":{\"result\":\"engine_crash\"}", VMXSIM_CASE_DIFFERS, "engine_crash"},
    {"\"expect\":{\"result\":\"engine_hang\"}", VMXSIM_CASE_DIFFERS, "engine_hang"},
    {"\"expect\":{\"result\":\"engine_reset\"}", VMXSIM_CASE_DIFFERS, "engine_reset"},
    {"\"expect\":{\"result\":\"not_runnable\",\"why\":\"no time\"}", VMXSIM_CASE_UNSUPPORTED,
     "not_runnable: no time"},
};

START_TEST(an_engine_that_did_not_answer_never_agrees)
{
    struct vector_seen seen;

    set_engine_result("\"version\":2", engine_results[_i].expect);
    vector_file_write();
    vector_file_decide(&seen);
    ck_assert_int_eq(seen.verdict[0], engine_results[_i].verdict);
    ck_assert_ptr_nonnull(strstr(seen.reason[0], engine_results[_i].why));
}
END_TEST

START_TEST(version_1_has_none_of_this)
{
    set_engine_result("\"version\":1", engine_results[_i].expect);
    vector_file_write();
    vector_file_expect_refusal(LINE_READ + 1, "expect.result", "is not one of");
}
END_TEST

START_TEST(a_trace_belongs_to_version_2)
{
    set_engine_result("\"version\":1",
                      "\"expect\":{\"result\":\"complete\"},\"trace\":{\"rules\":[]}");
    vector_file_write();
    vector_file_expect_refusal(LINE_READ + 1, "trace", "version 2");
}
END_TEST

START_TEST(a_recording_without_an_answer_is_refused_by_replay)
{
    set_engine_result("\"version\":2", "\"note\":\"none\"");
    vector_file_write();
    vector_file_expect_refusal(LINE_READ + 1, "expect", "missing");
}
END_TEST

int main(void)
{
    Suite *const suite = suite_create("replay_record");
    TCase *const tests = tcase_create("record");

    tcase_add_checked_fixture(tests, vector_file_setup, vector_file_teardown);
    tcase_add_loop_test(tests, what_is_recorded_agrees, 0, COUNT(recordings));
    tcase_add_loop_test(tests, an_answer_says_what_is_open, 0, COUNT(answers));
    tcase_add_test(tests, a_case_that_the_model_cannot_run_is_recorded_as_such);
    tcase_add_loop_test(tests, what_expect_has_no_words_for_is_recorded_as_such, 0,
                        COUNT(without_words));
    tcase_add_loop_test(tests, an_engine_that_did_not_answer_never_agrees, 0,
                        COUNT(engine_results));
    tcase_add_loop_test(tests, version_1_has_none_of_this, 0, COUNT(engine_results));
    tcase_add_test(tests, a_trace_belongs_to_version_2);
    tcase_add_test(tests, a_recording_without_an_answer_is_refused_by_replay);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
