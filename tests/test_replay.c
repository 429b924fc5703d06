/* SPDX-License-Identifier: Apache-2.0 */
/* Replay of vector files: what is refused, with file, line and key; truncation and damage; traces. */
#include "support/suite.h"
#include "support/vector_file.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Refusals ---- */

static const struct vector_mutation malformed[] = {
    /* header */
    {LINE_HEADER, "\"vmx-vectors\"", "\"vmx-vector\"", "format", "is not one of"},
    {LINE_HEADER, "\"format\":\"vmx-vectors\",", "", "format", "missing"},
    {LINE_HEADER, "\"version\":1,", "\"version\":3,", "version", "not between"},
    {LINE_HEADER, "\"version\":1,", "\"version\":1.0,", "version", "integer"},
    {LINE_HEADER, "\"version\":1,", "\"version\":\"1\",", "version", "integer"},
    {LINE_HEADER, "\"version\":1,", "\"version\":1,\"extra\":0,", "extra", "unknown key"},
    {LINE_HEADER, "\"engine\":\"model\"", "\"engine\":\"\"", "source.engine", "empty"},
    {LINE_HEADER, "\"engine\":\"model\",", "", "source.engine", "missing"},
    {LINE_HEADER, "\"seed\":7", "\"seed\":-7", "source.seed", "not between"},
    {LINE_HEADER, "\"seed\":7", "\"sead\":7", "source.sead", "unknown key"},
    {LINE_HEADER, "\"cpu\":", "\"CPU\":", "CPU", "unknown key"},
    {LINE_HEADER, "[[\"0x0\",\"0x100000\"]]", "{}", "ram", "array"},
    {LINE_HEADER, "[[\"0x0\",\"0x100000\"]]", "[]", "ram", ""},
    {LINE_HEADER, "[[\"0x0\",\"0x100000\"]]", "[[\"0x0\"]]", "ram[0]", "[start, length]"},
    {LINE_HEADER, "[[\"0x0\",\"0x100000\"]]", "[[\"0x0\",4096]]", "ram[0][1]", "hexadecimal"},
    {LINE_HEADER, "[[\"0x0\",\"0x100000\"]]", "[[\"0x0\",\"0x100001\"]]", "ram", ""},
    {LINE_HEADER, "[[\"0x0\",\"0x100000\"]]", "[[\"0x10000000000000\",\"0x1000\"]]", "ram[0][0]",
     "maximum"},
    {LINE_HEADER, "[[\"0x0\",\"0x100000\"]]", "[[\"0xffffffffff000\",\"0x2000\"]]", "ram", ""},
    {LINE_HEADER, "[[\"0x0\",\"0x100000\"]]", "[[\"0x0\",\"0x100000\"],[\"0x1000\",\"0x1000\"]]",
     "ram", ""},
    {LINE_HEADER, "\"0x90000\",", "\"0x90008\",", "vmxon_pointer", "4096"},
    {LINE_HEADER, "\"0x91000\"", "\"0x00091000\"", "vmcs_pointer", "hexadecimal"},
    {LINE_HEADER, "\"0x6820\":", "\"0x6821\":", "vmcs.flat.0x6821", "full"},
    {LINE_HEADER, "\"0x6820\":", "\"0x68fe\":", "vmcs.flat.0x68fe", "no such VMCS field"},
    {LINE_HEADER, "\"0x6820\":", "\"0x4400\":", "vmcs.flat.0x4400", "not listed"},
    {LINE_HEADER, "\"0x6820\":", "\"0x6c14\":", "vmcs.flat.0x6c14", "not listed"},
    {LINE_HEADER, "\"0x6820\":", "\"0x6\":", "vmcs.flat.0x6", "processor of this file"},
    {LINE_HEADER, "\"0x6820\":", "\"6820\":", "vmcs.flat.6820", "hexadecimal"},
    {LINE_HEADER, "\"0x401e\":\"0x82\"", "\"0x401e\":\"0x100000082\"", "vmcs.flat.0x401e",
     "maximum"},
    {LINE_HEADER, "\"0x401e\":\"0x82\"", "\"0x401e\":\"0x82\",\"0x401e\":\"0x83\"", "0x401e",
     "duplicate"},
    {LINE_HEADER, "\"0x1000\":\"0x2007\"", "\"0x1004\":\"0x2007\"", "memory.base.0x1004",
     "multiple of 8"},
    {LINE_HEADER, "\"0x1000\":\"0x2007\"", "\"0x100000\":\"0x2007\"", "memory.base.0x100000",
     "not in RAM"},
    {LINE_HEADER, "\"0x1000\":\"0x2007\"", "\"0x10000000000000\":\"0x2007\"",
     "memory.base.0x10000000000000", "maximum"},
    {LINE_HEADER, "\"0x1000\":\"0x2007\"", "\"0x1000\":\"0x2007 \"", "memory.base.0x1000",
     "hexadecimal"},
    {LINE_HEADER, "\"efer\":\"0x500\"", "\"efer\":1280", "root.default.efer", "hexadecimal"},
    {LINE_HEADER, ",\"efer\":\"0x500\"", "", "root.default.efer", "missing"},

    /* what all cases have */
    {LINE_READ, "\"id\":\"read\",", "", "id", "missing"},
    {LINE_READ, "\"id\":\"read\"", "\"id\":\"\"", "id", "empty"},
    {LINE_READ, "\"id\":\"read\"", "\"id\":5", "id", "string"},
    {LINE_VIOLATION, "\"id\":\"violation\"", "\"id\":\"read\"", "id", "earlier case"},
    {LINE_READ, "\"kind\":\"access\",", "", "kind", "missing"},
    {LINE_READ, "\"kind\":\"access\"", "\"kind\":\"accesses\"", "kind", "is not one of"},
    {LINE_READ, "\"note\"", "\"notes\"", "notes", "unknown key"},
    {LINE_READ, "\"note\":\"two accesses\"", "\"note\":2", "note", "string"},
    {LINE_READ, "\"note\":", "\"root\":\"smm\",\"note\":", "root", "no root state"},
    {LINE_READ, "\"vmcs\":[\"flat\",{}],", "", "vmcs", "missing"},
    {LINE_READ, "\"vmcs\":[\"flat\",{}]", "\"vmcs\":[\"flat\"]", "vmcs", "[template, changes]"},
    {LINE_READ, "\"vmcs\":[\"flat\",{}]", "\"vmcs\":[\"flut\",{}]", "vmcs[0]", "no template"},
    {LINE_READ, "\"vmcs\":[\"flat\",{}]", "\"vmcs\":[\"flat\",[]]", "vmcs[1]", "object"},
    {LINE_READ, "\"vmcs\":[\"flat\",{}]", "\"vmcs\":[\"flat\",{\"0x800\":\"0x10000\"}]",
     "vmcs[1].0x800", "maximum"},
    {LINE_READ, "\"memory\":[\"base\",{}]", "\"memory\":[\"base\",{\"0x1\":\"0x1\"}]",
     "memory[1].0x1", "multiple of 8"},
    {LINE_READ, "\"memory\":[\"base\",{}],", "", "memory", "missing"},

    /* accesses */
    {LINE_READ, "\"size\":1}", "\"size\":0}", "accesses[0].size", "not between"},
    {LINE_READ, "\"size\":1}", "\"size\":65}", "accesses[0].size", "not between"},
    {LINE_READ, "\"size\":1}", "\"size\":1,\"value\":\"0x1\"}", "accesses[0].value",
     "stores nothing"},
    {LINE_READ, "\"type\":\"fetch\"", "\"type\":\"execute\"", "accesses[0].type", "is not one of"},
    {LINE_READ, "\"linear\":\"0x3001\"", "\"linear\":\"0X3001\"", "accesses[0].linear",
     "hexadecimal"},
    {LINE_READ, "\"linear\":\"0x3001\"", "\"linear\":\"0x03001\"", "accesses[0].linear",
     "hexadecimal"},
    {LINE_READ, "\"linear\":\"0x3001\"", "\"linear\":\"0x300A\"", "accesses[0].linear",
     "hexadecimal"},
    {LINE_READ, "\"linear\":\"0x3001\"", "\"linear\":\"0x10000000000000000\"", "accesses[0].linear",
     "hexadecimal"},
    {LINE_READ, "\"linear\":\"0x3001\",", "", "accesses[0].linear", "missing"},
    {LINE_VIOLATION, "\"accesses\":[{", "\"accesses\":[],\"x\":[{", "accesses", "empty"},
    {LINE_VIOLATION, ",\"value\":\"0xabcd\"", "", "accesses[0].value", "missing"},
    {LINE_VIOLATION, "\"0xabcd\"", "\"0x10000000000000000\"", "accesses[0].value", "wider than 8"},
    {LINE_VIOLATION, "\"0xabcd\"", "\"abcd\"", "accesses[0].value", "hexadecimal"},
    {LINE_FAULT, "\"0x6804\":\"0x2020\"", "\"0x6804\":\"0x402020\"", "pkru", "missing"},

    /* expect */
    {LINE_READ, "\"result\":\"complete\",", "", "expect.result", "missing"},
    {LINE_READ, "\"complete\"", "\"completed\"", "expect.result", "is not one of"},
    {LINE_READ, "\"complete\"", "\"entered\"", "expect.result", "is not one of"},
    {LINE_READ, "\"values\":[null,", "\"vector\":14,\"values\":[null,", "expect.vector",
     "unknown key"},
    {LINE_READ, "[null,\"0x55667788\"]", "[\"0x55667788\"]", "expect.values", "one element per"},
    {LINE_READ, "[null,\"0x55667788\"]", "[\"0x5\",\"0x55667788\"]", "expect.values[0]", "null"},
    {LINE_READ, "\"0x55667788\"", "\"0x155667788\"", "expect.values[1]", "4 bytes"},
    {LINE_READ, "\"0x55667788\"", "1432778632", "expect.values[1]", "string"},
    {LINE_VIOLATION, "\"exit_reason\":48", "\"exit_reason\":\"48\"", "expect.exit_reason",
     "integer"},
    {LINE_VIOLATION, "\"exit_reason\":48", "\"exit_reason\":65536", "expect.exit_reason",
     "not between"},
    {LINE_VIOLATION, "\"exit_reason\":48", "\"exit_reason\":0", "expect.guest_physical",
     "no such field"},
    {LINE_MISCONFIG, "\"exit_reason\":49", "\"exit_reason\":49,\"qualification\":\"0x0\"",
     "expect.qualification", "no qualification"},
    {LINE_EVENT, "\"exit_reason\":0", "\"exit_reason\":48", "expect.intr_info", "no such field"},
    {LINE_FAULT, "\"vector\":14", "\"vector\":256", "expect.vector", "not between"},
    {LINE_FAULT, "\"error_code\":\"0x2\"", "\"error_code\":\"0x100000000\"", "expect.error_code",
     "maximum"},
    {LINE_LOGGED, "\"0x8ff8\"", "\"0x8ffc\"", "expect.memory.0x8ffc", "multiple of 8"},
    {LINE_LOGGED, "\"pml_index\":510", "\"pml_index\":65536", "expect.pml_index", "not between"},
    {LINE_LOGGED, "\"pml_index\":510", "\"open\":{\"memory\":[]}", "expect.open.memory", "object"},
    {LINE_LOGGED, "\"pml_index\":510", "\"open\":{\"cr2\":\"0x1\"}", "expect.open.cr2",
     "unknown key"},
    {LINE_MISCONFIG,
     "{\"result\":\"exit\",\"exit_reason\":49,\"guest_physical\":\"0x3008\",\"memory\":{}}",
     "{\"any_of\":[]}", "expect.any_of", "empty"},
    {LINE_MISCONFIG,
     "{\"result\":\"exit\",\"exit_reason\":49,\"guest_physical\":\"0x3008\",\"memory\":{}}",
     "{\"any_of\":[{\"any_of\":[]}]}", "expect.any_of[0].result", "missing"},
    {LINE_MISCONFIG,
     "{\"result\":\"exit\",\"exit_reason\":49,\"guest_physical\":\"0x3008\",\"memory\":{}}",
     "{\"any_of\":[{\"result\":\"complete\"}],\"result\":\"exit\"}", "expect.result",
     "unknown key"},
    {LINE_MISCONFIG,
     "{\"result\":\"exit\",\"exit_reason\":49,\"guest_physical\":\"0x3008\",\"memory\":{}}",
     "{\"result\":\"vmfail\",\"kind\":\"invalid\",\"error\":7}", "expect.error", "no error number"},
    {LINE_MISCONFIG,
     "{\"result\":\"exit\",\"exit_reason\":49,\"guest_physical\":\"0x3008\",\"memory\":{}}",
     "{\"result\":\"vmfail\",\"kind\":\"maybe\"}", "expect.kind", "is not one of"},
    {LINE_MISCONFIG,
     "{\"result\":\"exit\",\"exit_reason\":49,\"guest_physical\":\"0x3008\",\"memory\":{}}",
     "{\"result\":\"entry_failure\",\"exit_reason\":48}", "expect.exit_reason", "33, 34 or 41"},
    {LINE_MISCONFIG,
     "\"expect\":{\"result\":\"exit\",\"exit_reason\":49,\"guest_physical\":\"0x3008\",\"memory\":{"
     "}}",
     "\"expect\":[]", "expect", "object"},
    {LINE_MISCONFIG, "\"memory\":{}}}", "\"memory\":{}},\"sdm\":{\"result\":\"complete\"}}",
     "deviates", "missing"},
    {LINE_MISCONFIG, "\"memory\":{}}}", "\"memory\":{}},\"sdm\":{\"result\":\"none\"}}",
     "sdm.result", "is not one of"},

    /* JSON itself */
    {LINE_READ, "\"note\":\"two accesses\"}", "\"note\":\"two acc", "", "line 1, column"},
    {LINE_READ, "\"id\":\"read\"", "\"id\":\"read\",\"id\":\"read\"", "id", "duplicate"},
    {LINE_READ, "\"two accesses\"}", "\"two accesses\"} {}", "", "end of file expected"},
};
#define MALFORMED_COUNT ((int)(sizeof malformed / sizeof malformed[0]))

START_TEST(a_malformed_line_is_refused_with_file_line_and_key)
{
    const struct vector_mutation *const mutation = &malformed[_i];
    vector_line_replace(mutation->line, mutation->find, mutation->with);
    vector_file_write();
    vector_file_expect_refusal(mutation->line + 1, mutation->key, mutation->why);
}
END_TEST

/* The other kinds: a valid line, and what is wrong with a changed one. */
static const char entry_line[] =
    "{\"id\":\"e\",\"kind\":\"entry\",\"launch_state\":\"clear\",\"instruction\":\"vmlaunch\","
    "\"vmcs\":[\"flat\",{}],\"memory\":[\"base\",{}],"
    "\"expect\":{\"any_of\":[{\"result\":\"entered\"},{\"result\":\"vmfail\",\"kind\":\"valid\","
    "\"error\":7},"
    "{\"result\":\"entry_failure\",\"exit_reason\":33,\"qualification\":\"0x0\"}]}}\n";
static const char intercept_line[] =
    "{\"id\":\"i\",\"kind\":\"intercept\",\"vmcs\":[\"flat\",{}],\"memory\":[\"base\",{}],"
    "\"instruction\":{\"op\":\"outs\",\"port\":\"0x60\",\"size\":4,\"linear\":\"0x5000\",\"rep\":"
    "true,"
    "\"count\":3},\"expect\":{\"result\":\"exit\",\"exit_reason\":30,\"qualification\":\"0x0\"}}\n";
static const char steps_line[] =
    "{\"id\":\"s\",\"kind\":\"instructions\",\"memory\":[\"base\",{}],\"steps\":["
    "{\"op\":\"vmxon\",\"address\":\"0x90000\"},{\"op\":\"fill\",\"vmcs\":[\"flat\",{}]},"
    "{\"op\":\"invept\",\"type\":\"0x1\",\"descriptor\":[\"0x0\",\"0x5\"]},"
    "{\"op\":\"poke\",\"address\":\"0x3000\",\"size\":4,\"value\":\"0x1\"}],"
    "\"expect\":[{\"status\":\"ok\"},{\"status\":\"ok\"},{\"status\":\"vmfail_valid\",\"error\":28}"
    ","
    "{\"status\":\"exception\",\"vector\":13,\"error_code\":\"0x0\"}]}\n";

static const struct {
    const char *line, *find, *with, *key, *why;
} malformed_kinds[] = {
    {entry_line, "\"clear\"", "\"cleared\"", "launch_state", "is not one of"},
    {entry_line, "\"vmlaunch\"", "\"vmenter\"", "instruction", "is not one of"},
    {entry_line, "\"launch_state\":\"clear\",", "", "launch_state", "missing"},
    {entry_line, "\"error\":7", "\"error\":0", "expect.any_of[1].error", "not between"},
    {entry_line, "{\"result\":\"entered\"}", "{\"result\":\"complete\"}", "expect.any_of[0].result",
     "is not one of"},
    {entry_line, "{\"result\":\"entered\"}", "{\"result\":\"entered\",\"memory\":{}}",
     "expect.any_of[0].memory", "unknown key"},
    {intercept_line, "\"outs\"", "\"movs\"", "instruction.op", "no operation"},
    {intercept_line, "\"size\":4", "\"size\":3", "instruction.size", "1, 2 or 4"},
    {intercept_line, "\"port\":\"0x60\"", "\"port\":\"0x10000\"", "instruction.port", "maximum"},
    {intercept_line, "\"rep\":true", "\"rep\":1", "instruction.rep", "true or false"},
    {intercept_line, ",\"count\":3", "", "instruction.count", "missing"},
    {intercept_line, "\"rep\":true,", "", "instruction.count", "REP"},
    {intercept_line,
     "{\"op\":\"outs\",\"port\":\"0x60\",\"size\":4,\"linear\":\"0x5000\",\"rep\":true,\"count\":"
     "3}",
     "{\"op\":\"rdmsr\",\"msr\":\"0x100000000\"}", "instruction.msr", "maximum"},
    {steps_line, "\"op\":\"vmxon\",", "", "steps[0].op", "missing"},
    {steps_line, "\"op\":\"vmxon\"", "\"op\":\"vmxoff\"", "steps[0].address", "unknown key"},
    {steps_line, "[\"0x0\",\"0x5\"]", "[\"0x0\"]", "steps[2].descriptor", "two quadwords"},
    {steps_line, "[\"flat\",{}]", "[\"round\",{}]", "steps[1].vmcs[0]", "no template"},
    {steps_line, "\"size\":4", "\"size\":9", "steps[3].size", "not between"},
    {steps_line, "{\"status\":\"ok\"},{\"status\":\"ok\"}", "{\"status\":\"ok\"}", "expect",
     "one element per step"},
    {steps_line, "\"vmfail_valid\"", "\"vmfail\"", "expect[2].status", "is not one of"},
    {steps_line, "\"vmfail_valid\"", "\"vmfail_invalid\"", "expect[2].error", "unknown key"},
    {steps_line, "\"expect\":[", "\"expect\":{},\"sdm\":[", "expect", "array"},
};
#define MALFORMED_KIND_COUNT ((int)(sizeof malformed_kinds / sizeof malformed_kinds[0]))

START_TEST(other_kinds_are_read_as_strictly)
{
    vector_line_set(LINE_READ, malformed_kinds[_i].line);
    vector_line_replace(LINE_READ, malformed_kinds[_i].find, malformed_kinds[_i].with);
    vector_file_write();
    vector_file_expect_refusal(2, malformed_kinds[_i].key, malformed_kinds[_i].why);
}
END_TEST

START_TEST(pointers_are_needed_where_the_kind_says_so)
{
    vector_line_replace(LINE_HEADER, "\"vmxon_pointer\":\"0x90000\",", "");
    vector_file_write();
    vector_file_expect_refusal(2, "vmxon_pointer", "in the header");
}
END_TEST

START_TEST(a_root_state_is_needed)
{
    vector_line_replace(LINE_HEADER, "\"default\"", "\"other\"");
    vector_file_write();
    vector_file_expect_refusal(2, "root", "missing");
}
END_TEST

START_TEST(empty_lines_and_empty_files_are_refused)
{
    vector_line_set(LINE_VIOLATION, " \t\n");
    vector_file_write();
    vector_file_expect_refusal(3, "", "empty line");

    struct vector_seen seen;
    struct vmxsim_error error = {0};
    vector_text_write(vector_path, "", 0);
    ck_assert_int_eq(vector_file_replay(&seen, &error), VMXC_BAD_FORMAT);
    ck_assert_ptr_nonnull(strstr(error.text, vector_path));
    ck_assert_ptr_nonnull(strstr(error.text, "empty file"));
}
END_TEST

START_TEST(a_file_that_cannot_be_read_is_an_io_error)
{
    struct vmxsim_replay_summary summary = {0};
    struct vmxsim_error error = {0};
    ck_assert_int_eq(vmxsim_replay_file("/nonexistent/v.jsonl", NULL, NULL, &summary, &error),
                     VMXC_IO_ERROR);
    ck_assert_ptr_nonnull(strstr(error.text, "/nonexistent/v.jsonl"));
    ck_assert_int_eq(vmxsim_replay_file(vector_directory, NULL, NULL, &summary, &error),
                     VMXC_IO_ERROR);
    ck_assert_ptr_nonnull(strstr(error.text, vector_directory));
}
END_TEST

/* ---- Agreement ---- */

START_TEST(the_file_agrees_as_it_is)
{
    struct vector_seen seen;
    struct vmxsim_error error = {0};
    vector_file_write();
    ck_assert_msg(vector_file_replay(&seen, &error) == VMXC_OK, "%s", error.text);
    ck_assert_uint_eq(seen.count, LINE_COUNT - 1);
    for (unsigned i = 0; i < seen.count; i++)
        ck_assert_msg(seen.verdict[i] == VMXSIM_CASE_AGREES, "%s: %s", seen.id[i], seen.reason[i]);
}
END_TEST

START_TEST(bytes_in_memory_are_as_good_as_a_file)
{
    struct vmxsim_replay_summary of_file = {0}, of_bytes = {0};
    struct vmxsim_error error = {0};
    char text[65536];

    vector_file_write();
    FILE *const stream = fopen(vector_path, "rb");
    ck_assert_ptr_nonnull(stream);
    const size_t length = fread(text, 1, sizeof text, stream);
    ck_assert(feof(stream) && !ferror(stream));
    fclose(stream);
    ck_assert_int_eq(vmxsim_replay_file(vector_path, NULL, NULL, &of_file, &error), VMXC_OK);
    ck_assert_int_eq(vmxsim_replay_bytes(text, length, vector_path, NULL, NULL, &of_bytes, &error),
                     VMXC_OK);
    ck_assert_mem_eq(&of_file, &of_bytes, sizeof of_file);
    ck_assert_int_eq(vmxsim_replay_bytes(text, 20, "a name", NULL, NULL, &of_bytes, &error),
                     VMXC_BAD_FORMAT);
    ck_assert_ptr_nonnull(strstr(error.text, "a name:1"));
    ck_assert_int_eq(vmxsim_replay_bytes(text, 0, "a name", NULL, NULL, &of_bytes, &error),
                     VMXC_BAD_FORMAT);
    ck_assert_ptr_nonnull(strstr(error.text, "empty file"));
}
END_TEST

START_TEST(the_last_newline_may_be_missing)
{
    struct vector_seen seen;
    vector_lines[LINE_MISCONFIG][strlen(vector_lines[LINE_MISCONFIG]) - 1] = '\0';
    vector_file_write();
    ck_assert_int_eq(vector_file_replay(&seen, NULL), VMXC_OK);
    ck_assert_uint_eq(seen.count, LINE_COUNT - 1);
    ck_assert_int_eq(seen.verdict[LINE_MISCONFIG - 1], VMXSIM_CASE_AGREES);
}
END_TEST

static const struct {
    const char *text, *key;
} bad_deviations[] = {
    {"[]", "object"},
    {"{\"a\":{}}", "a.engine"},
    {"{\"a\":{\"engine\":\"e\",\"versions\":[1],\"engine_does\":\"a\",\"manual_says\":\"b\","
     "\"manual_section\":\"c\"}}",
     "a.versions[0]"},
    {"{\"a\":{\"engine\":\"e\",\"why\":\"\"}}", "a.why"},
    {"{\"a\":", ""},
};

START_TEST(malformed_deviations_are_refused)
{
    struct vector_seen seen;
    struct vmxsim_error error = {0};
    vector_text_write(vector_deviations_path, bad_deviations[_i].text,
                      strlen(bad_deviations[_i].text));
    vector_file_write();
    ck_assert_int_eq(vector_file_replay(&seen, &error), VMXC_BAD_FORMAT);
    ck_assert_ptr_nonnull(strstr(error.text, vector_deviations_path));
    ck_assert_ptr_nonnull(strstr(error.text, bad_deviations[_i].key));
}
END_TEST

/* ---- Truncation ---- */

/* Wherever a file is cut, what is left either agrees as far as whole lines go or is refused. */
START_TEST(a_truncated_file_never_agrees_on_more_than_its_whole_lines)
{
    static struct vector_seen seen;
    struct vmxsim_error error;
    const size_t header = strlen(vector_lines[LINE_HEADER]);
    const size_t first = header + strlen(vector_lines[LINE_READ]);
    const size_t second = first + strlen(vector_lines[LINE_VIOLATION]);
    char *const text = malloc(second + 1);
    ck_assert_ptr_nonnull(text);
    (void)snprintf(text, second + 1, "%s%s%s", vector_lines[LINE_HEADER], vector_lines[LINE_READ],
                   vector_lines[LINE_VIOLATION]);
    /* Inside the processor description one byte is like another: start near its end. */
    for (size_t length = header - 700; length <= second; length++) {
        vector_text_write(vector_path, text, length);
        const enum vmxc_status status = vector_file_replay(&seen, &error);
        /* A line may lack its newline only at the end of the file. */
        const bool whole = length + 1 == header || length == header || length + 1 == first ||
                           length == first || length + 1 == second || length == second;
        ck_assert_msg(status == (whole ? VMXC_OK : VMXC_BAD_FORMAT), "cut at %zu: %d", length,
                      (int)status);
        const unsigned whole_lines = (length + 1 >= first) + (length + 1 >= second);
        ck_assert_uint_eq(seen.count, whole_lines);
    }
    free(text);
}
END_TEST

/* Damage to single bytes: refused, different or harmless, but never a crash. */
START_TEST(a_damaged_byte_never_crashes)
{
    static struct vector_seen seen;
    const size_t header = strlen(vector_lines[LINE_HEADER]);
    char *const text = malloc(header + 4096);
    ck_assert_ptr_nonnull(text);
    const int length = snprintf(text, header + 4096, "%s%s%s", vector_lines[LINE_HEADER],
                                vector_lines[LINE_LOGGED], vector_lines[LINE_VIOLATION]);
    static const char damage[] = {'"', '0', 'x', '}', '\n', '\0', '\x80'};
    unsigned accepted = 0;
    for (size_t i = header; i < (size_t)length; i++) {
        const char original = text[i];
        text[i] = damage[i % sizeof damage];
        vector_text_write(vector_path, text, (size_t)length);
        accepted += vector_file_replay(&seen, NULL) == VMXC_OK;
        text[i] = original;
    }
    ck_assert_uint_lt(accepted, (unsigned)length - header);
    free(text);
}
END_TEST

/* ---- Traces ---- */

struct trace {
    unsigned count, entries;
    enum vmxsim_outcome_kind kind;
};

static void count_access(void *context, size_t index, const struct vmxsim_access *access,
                         const struct vmxsim_outcome *outcome, const struct vmxsim_trail *trail)
{
    struct trace *const trace = context;
    ck_assert_uint_eq(index, trace->count);
    ck_assert_uint_ge(access->size, 1);
    trace->count++;
    trace->entries += trail->count;
    trace->kind = outcome->kind;
}

START_TEST(a_trace_shows_each_access_with_its_trail)
{
    struct trace trace = {0};
    struct vmxsim_error error = {0};
    vector_file_write();
    ck_assert_msg(vmxsim_replay_trace(vector_path, "read", count_access, &trace, &error) == VMXC_OK,
                  "%s", error.text);
    ck_assert_uint_eq(trace.count, 2);
    ck_assert_uint_eq(trace.entries, 4);
    ck_assert_int_eq(trace.kind, VMXSIM_OUTCOME_COMPLETE);

    trace = (struct trace){0};
    ck_assert_int_eq(vmxsim_replay_trace(vector_path, "violation", count_access, &trace, NULL),
                     VMXC_OK);
    ck_assert_uint_eq(trace.count, 1);
    ck_assert_int_eq(trace.kind, VMXSIM_OUTCOME_VM_EXIT);
}
END_TEST

static const struct {
    const char *find, *with; /* in the first case; find NULL: it becomes this one */
    const char *id, *why;
    enum vmxc_status status;
} untraceable[] = {
    {"\"id\":\"read\"", "\"id\":\"somebody\"", "read", "there is no case \"read\"", VMXC_NOT_FOUND},
    {NULL, steps_line, "s", "kind instructions has no guest accesses", VMXC_UNSUPPORTED},
    {NULL, intercept_line, "i", "kind intercept has no guest accesses", VMXC_UNSUPPORTED},
    {NULL, entry_line, "e", "kind entry has no guest accesses", VMXC_UNSUPPORTED},
    /* reserved bits of the pin-based controls; RFLAGS bit 1; a control that the model does not have */
    {"\"flat\",{}", "\"flat\",{\"0x4000\":\"0x0\"}", "read", "VM entry fails", VMXC_UNSUPPORTED},
    {"\"flat\",{}", "\"flat\",{\"0x6820\":\"0x0\"}", "read", "VM entry fails", VMXC_UNSUPPORTED},
    {"\"flat\",{}", "\"flat\",{" VECTOR_UNSUPPORTED "}", "read", "not modelled", VMXC_UNSUPPORTED},
};

START_TEST(a_case_that_cannot_be_traced_is_said_to_be)
{
    struct trace trace = {0};
    struct vmxsim_error error = {0};
    vector_file_use_everything();
    if (untraceable[_i].find != NULL)
        vector_line_replace(LINE_READ, untraceable[_i].find, untraceable[_i].with);
    else
        vector_line_set(LINE_READ, untraceable[_i].with);
    vector_file_write();
    ck_assert_int_eq(
        vmxsim_replay_trace(vector_path, untraceable[_i].id, count_access, &trace, &error),
        untraceable[_i].status);
    ck_assert_msg(strstr(error.text, untraceable[_i].why) != NULL, "%s", error.text);
    ck_assert_uint_eq(trace.count, 0);
}
END_TEST

START_TEST(a_file_that_cannot_be_read_cannot_be_traced)
{
    struct trace trace = {0};
    ck_assert_int_eq(vmxsim_replay_trace("/nonexistent", "s", count_access, &trace, NULL),
                     VMXC_IO_ERROR);
    ck_assert_uint_eq(trace.count, 0);
}
END_TEST

START_TEST(kinds_have_names)
{
    ck_assert_str_eq(vmxsim_case_kind_name(VMXSIM_CASE_ACCESS), "access");
    ck_assert_str_eq(vmxsim_case_kind_name(VMXSIM_CASE_INSTRUCTIONS), "instructions");
    ck_assert_str_eq(vmxsim_case_kind_name(VMXSIM_CASE_KIND_COUNT), "?");
}
END_TEST

int main(void)
{
    Suite *const suite = suite_create("replay");
    TCase *const refusals = tcase_create("refusals");
    TCase *const agreement = tcase_create("agreement");

    tcase_add_checked_fixture(refusals, vector_file_setup, vector_file_teardown);
    tcase_add_checked_fixture(agreement, vector_file_setup, vector_file_teardown);
    tcase_set_timeout(refusals, 120);
    tcase_add_loop_test(refusals, a_malformed_line_is_refused_with_file_line_and_key, 0,
                        MALFORMED_COUNT);
    tcase_add_loop_test(refusals, other_kinds_are_read_as_strictly, 0, MALFORMED_KIND_COUNT);
    tcase_add_loop_test(refusals, malformed_deviations_are_refused, 0,
                        (int)(sizeof bad_deviations / sizeof bad_deviations[0]));
    tcase_add_test(refusals, pointers_are_needed_where_the_kind_says_so);
    tcase_add_test(refusals, a_root_state_is_needed);
    tcase_add_test(refusals, empty_lines_and_empty_files_are_refused);
    tcase_add_test(refusals, a_file_that_cannot_be_read_is_an_io_error);
    tcase_add_test(refusals, a_truncated_file_never_agrees_on_more_than_its_whole_lines);
    tcase_add_test(refusals, a_damaged_byte_never_crashes);
    suite_add_tcase(suite, refusals);

    tcase_add_test(agreement, the_file_agrees_as_it_is);
    tcase_add_test(agreement, bytes_in_memory_are_as_good_as_a_file);
    tcase_add_test(agreement, the_last_newline_may_be_missing);
    tcase_add_test(agreement, a_trace_shows_each_access_with_its_trail);
    tcase_add_loop_test(agreement, a_case_that_cannot_be_traced_is_said_to_be, 0,
                        (int)(sizeof untraceable / sizeof untraceable[0]));
    tcase_add_test(agreement, a_file_that_cannot_be_read_cannot_be_traced);
    tcase_add_test(agreement, kinds_have_names);
    suite_add_tcase(suite, agreement);

    return run_suite(suite);
}
