/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Replay: what is refused, with file, line and key; that the comparison can fail, for every key it compares; and what
 * it agrees with.
 */
#include "vmxsim/replay.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- A small file that agrees ---- */

/* One GByte of guest memory, mapped by one EPT entry: PML4 at 1000H, PDPT at 2000H. */
static const char header_format[] =
    "{\"format\":\"vmx-vectors\",\"version\":1,\"source\":{\"engine\":\"model\",\"seed\":7},"
    "\"cpu\":%s,\"ram\":[[\"0x0\",\"0x100000\"]],\"vmxon_pointer\":\"0x90000\","
    "\"vmcs_pointer\":\"0x91000\","
    "\"vmcs\":{\"flat\":{\"0x4002\":\"0x80000000\",\"0x401e\":\"0x2\",\"0x201a\":\"0x101e\","
    "\"0x6800\":\"0x31\",\"0x4818\":\"0xc093\",\"0x6820\":\"0x2\"}},"
    "\"memory\":{\"base\":{\"0x1000\":\"0x2007\",\"0x2000\":\"0xb7\",\"0x3000\":"
    "\"0x1122334455667788\","
    "\"0x90000\":\"0x4\"}},"
    "\"root\":{\"default\":{\"cr0\":\"0x80000031\",\"cr4\":\"0x2020\",\"efer\":\"0x500\"}}}\n";

enum {
    LINE_HEADER,
    LINE_READ,
    LINE_VIOLATION,
    LINE_FAULT,
    LINE_EVENT,
    LINE_LOGGED,
    LINE_MISCONFIG,
    LINE_COUNT
};

static const char *const case_lines[LINE_COUNT] = {
    [LINE_READ] =
        "{\"id\":\"read\",\"kind\":\"access\",\"vmcs\":[\"flat\",{}],\"memory\":[\"base\",{}],"
        "\"accesses\":[{\"type\":\"fetch\",\"linear\":\"0x3001\",\"size\":1},"
        "{\"type\":\"read\",\"linear\":\"0x3000\",\"size\":4}],"
        "\"expect\":{\"result\":\"complete\",\"values\":[null,\"0x55667788\"],\"memory\":{}},"
        "\"note\":\"two accesses\"}\n",
    [LINE_VIOLATION] =
        "{\"id\":\"violation\",\"kind\":\"access\",\"vmcs\":[\"flat\",{}],"
        "\"memory\":[\"base\",{\"0x2000\":\"0xb5\"}],"
        "\"accesses\":[{\"type\":\"write\",\"linear\":\"0x3008\",\"size\":8,\"value\":\"0xabcd\"}],"
        "\"expect\":{\"result\":\"exit\",\"exit_reason\":48,\"qualification\":\"0x1aa\","
        "\"guest_physical\":\"0x3008\",\"guest_linear\":\"0x3008\",\"memory\":{}}}\n",
    [LINE_FAULT] =
        "{\"id\":\"fault\",\"kind\":\"access\",\"vmcs\":[\"flat\",{\"0x6800\":\"0x80000031\","
        "\"0x6804\":\"0x20\",\"0x2806\":\"0x500\",\"0x4012\":\"0x8200\",\"0x6802\":\"0x4000\","
        "\"0x4816\":\"0xa09b\"}],\"memory\":[\"base\",{}],"
        "\"accesses\":[{\"type\":\"rmw\",\"linear\":\"0x5000\",\"size\":2,\"value\":\"0x1\"}],"
        "\"expect\":{\"result\":\"guest_exception\",\"vector\":14,\"error_code\":\"0x2\","
        "\"cr2\":\"0x5000\",\"memory\":{}}}\n",
    [LINE_EVENT] =
        "{\"id\":\"event\",\"kind\":\"access\",\"vmcs\":[\"flat\",{\"0x6800\":\"0x80000031\","
        "\"0x6804\":\"0x20\",\"0x2806\":\"0x500\",\"0x4012\":\"0x8200\",\"0x6802\":\"0x4000\","
        "\"0x4816\":\"0xa09b\",\"0x4004\":\"0x4000\"}],\"memory\":[\"base\",{}],"
        "\"accesses\":[{\"type\":\"write\",\"linear\":\"0x5000\",\"size\":2,\"value\":\"0x1\"}],"
        "\"expect\":{\"result\":\"exit\",\"exit_reason\":0,\"qualification\":\"0x5000\","
        "\"intr_info\":\"0x80000b0e\",\"intr_error_code\":\"0x2\",\"memory\":{}}}\n",
    [LINE_LOGGED] =
        "{\"id\":\"logged\",\"kind\":\"access\",\"vmcs\":[\"flat\",{\"0x201a\":\"0x105e\","
        "\"0x401e\":\"0x20002\",\"0x812\":\"0x1ff\",\"0x200e\":\"0x8000\"}],\"memory\":[\"base\",{}"
        "],"
        "\"accesses\":[{\"type\":\"write\",\"linear\":\"0x3004\",\"size\":2,\"value\":\"0xbeef\"}],"
        "\"expect\":{\"result\":\"complete\",\"pml_index\":510,\"memory\":{\"0x1000\":\"0x2107\","
        "\"0x2000\":\"0x3b7\",\"0x3000\":\"0x1122beef55667788\",\"0x8ff8\":\"0x3000\"}}}\n",
    [LINE_MISCONFIG] = "{\"id\":\"misconfig\",\"kind\":\"access\",\"vmcs\":[\"flat\",{}],"
                       "\"memory\":[\"base\",{\"0x2000\":\"0xb6\"}],"
                       "\"accesses\":[{\"type\":\"read\",\"linear\":\"0x3008\",\"size\":1}],"
                       "\"expect\":{\"result\":\"exit\",\"exit_reason\":49,\"guest_physical\":"
                       "\"0x3008\",\"memory\":{}}}\n",
};

static char directory[sizeof "/tmp/vmxsim-replay-XXXXXX"];
static char path[64], deviations_path[64];
static char *lines[LINE_COUNT];

static char *copy(const char *text)
{
    char *const duplicate = strdup(text);
    ck_assert_ptr_nonnull(duplicate);
    return duplicate;
}

static void setup(void)
{
    static char format[sizeof header_format + 32768];
    char *const cpu = vmxsim_profile_to_json(vmxsim_profile_builtin("icelake"));
    ck_assert_ptr_nonnull(cpu);
    for (char *byte = cpu; *byte != '\0'; byte++) {
        if (*byte == '\n')
            *byte = ' ';
    }
    (void)snprintf(format, sizeof format, header_format, cpu);
    free(cpu);
    lines[LINE_HEADER] = copy(format);
    for (unsigned i = LINE_READ; i < LINE_COUNT; i++)
        lines[i] = copy(case_lines[i]);
    (void)strcpy(directory, "/tmp/vmxsim-replay-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(directory));
    (void)snprintf(path, sizeof path, "%s/v.jsonl", directory);
    (void)snprintf(deviations_path, sizeof deviations_path, "%s/deviations.json", directory);
}

static void teardown(void)
{
    for (unsigned i = 0; i < LINE_COUNT; i++)
        free(lines[i]);
    (void)unlink(path);
    (void)unlink(deviations_path);
    (void)rmdir(directory);
}

/* ---- Helpers ---- */

/* Replaces what occurs once. */
static void replace(char **text, const char *find, const char *with)
{
    char *const at = strstr(*text, find);
    ck_assert_msg(at != NULL, "%s has no %s", *text, find);
    ck_assert_msg(strstr(at + 1, find) == NULL, "%s has %s twice", *text, find);
    const size_t size = strlen(*text) + strlen(with) + 1;
    char *const changed = malloc(size);
    ck_assert_ptr_nonnull(changed);
    (void)snprintf(changed, size, "%.*s%s%s", (int)(at - *text), *text, with, at + strlen(find));
    free(*text);
    *text = changed;
}

static void write_text(const char *where, const char *text, size_t length)
{
    FILE *const stream = fopen(where, "w");
    ck_assert_ptr_nonnull(stream);
    ck_assert_uint_eq(fwrite(text, 1, length, stream), length);
    ck_assert_int_eq(fclose(stream), 0);
}

static void write_lines(void)
{
    FILE *const stream = fopen(path, "w");
    ck_assert_ptr_nonnull(stream);
    for (unsigned i = 0; i < LINE_COUNT; i++)
        ck_assert_int_ge(fputs(lines[i], stream), 0);
    ck_assert_int_eq(fclose(stream), 0);
}

/* Verdict and reason of each case. */
struct seen {
    unsigned count;
    char id[16][32];
    enum vmxsim_case_verdict verdict[16];
    char reason[16][2048];
    char deviates[16][32];
};

static void see(void *context, const struct vmxsim_case_result *result)
{
    struct seen *const seen = context;
    ck_assert_uint_lt(seen->count, 16);
    ck_assert_str_eq(result->file, path);
    ck_assert_uint_ge(result->line, 2);
    (void)snprintf(seen->id[seen->count], 32, "%s", result->id);
    (void)snprintf(seen->reason[seen->count], 2048, "%s", result->reason);
    (void)snprintf(seen->deviates[seen->count], 32, "%s",
                   result->deviates != NULL ? result->deviates : "");
    seen->verdict[seen->count++] = result->verdict;
}

static enum vmxc_status replay(struct seen *seen, struct vmxsim_error *error)
{
    struct vmxsim_replay_summary summary = {0};
    memset(seen, 0, sizeof *seen);
    const enum vmxc_status status = vmxsim_replay_file(path, see, seen, &summary, error);
    ck_assert_uint_eq(summary.kind[VMXSIM_CASE_ACCESS].cases +
                          summary.kind[VMXSIM_CASE_ENTRY].cases +
                          summary.kind[VMXSIM_CASE_INTERCEPT].cases +
                          summary.kind[VMXSIM_CASE_INSTRUCTIONS].cases,
                      seen->count);
    return status;
}

/* The file as it stands is refused, and the text holds both parts. */
static void expect_refusal(unsigned line, const char *key, const char *why)
{
    static struct seen seen;
    struct vmxsim_error error = {0};
    char place[96];
    (void)snprintf(place, sizeof place, "%s:%u: ", path, line);
    ck_assert_msg(replay(&seen, &error) == VMXC_BAD_FORMAT, "accepted, although %s: %s", key, why);
    ck_assert_int_eq(error.status, VMXC_BAD_FORMAT);
    ck_assert_msg(strncmp(error.text, place, strlen(place)) == 0, "%s does not start with %s",
                  error.text, place);
    ck_assert_msg(strstr(error.text + strlen(place), key) != NULL, "%s names no %s", error.text,
                  key);
    ck_assert_msg(strstr(error.text, why) != NULL, "%s does not say %s", error.text, why);
}

/* ---- Refusals ---- */

struct mutation {
    unsigned line;
    const char *find, *with, *key, *why;
};

static const struct mutation malformed[] = {
    /* header */
    {LINE_HEADER, "\"vmx-vectors\"", "\"vmx-vector\"", "format", "is not one of"},
    {LINE_HEADER, "\"format\":\"vmx-vectors\",", "", "format", "missing"},
    {LINE_HEADER, "\"version\":1,", "\"version\":2,", "version", "not between"},
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
    {LINE_HEADER, "\"0x401e\":\"0x2\"", "\"0x401e\":\"0x100000002\"", "vmcs.flat.0x401e",
     "maximum"},
    {LINE_HEADER, "\"0x401e\":\"0x2\"", "\"0x401e\":\"0x2\",\"0x401e\":\"0x3\"", "0x401e",
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
    {LINE_READ, "\"note\":", "\"deviates\":\"x\",\"note\":", "deviates", "no entry"},
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
    {LINE_FAULT, "\"0x6804\":\"0x20\"", "\"0x6804\":\"0x400020\"", "pkru", "missing"},

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
    const struct mutation *const mutation = &malformed[_i];
    replace(&lines[mutation->line], mutation->find, mutation->with);
    write_lines();
    expect_refusal(mutation->line + 1, mutation->key, mutation->why);
}
END_TEST

/* Shapes of the kinds that are not run: a valid line, and what is wrong with a changed one. */
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

static void set_line(unsigned line, const char *text)
{
    free(lines[line]);
    lines[line] = copy(text);
}

START_TEST(other_kinds_are_read_as_strictly)
{
    set_line(LINE_READ, malformed_kinds[_i].line);
    replace(&lines[LINE_READ], malformed_kinds[_i].find, malformed_kinds[_i].with);
    write_lines();
    expect_refusal(2, malformed_kinds[_i].key, malformed_kinds[_i].why);
}
END_TEST

START_TEST(other_kinds_are_not_supported_and_never_agreement)
{
    static struct seen seen;
    set_line(LINE_READ, entry_line);
    set_line(LINE_VIOLATION, intercept_line);
    set_line(LINE_FAULT, steps_line);
    write_lines();
    ck_assert_int_eq(replay(&seen, NULL), VMXC_OK);
    ck_assert_uint_eq(seen.count, LINE_COUNT - 1);
    for (unsigned i = 0; i < 3; i++) {
        ck_assert_int_eq(seen.verdict[i], VMXSIM_CASE_UNSUPPORTED);
        ck_assert_ptr_nonnull(strstr(seen.reason[i], "not supported yet"));
    }
    ck_assert_int_eq(seen.verdict[3], VMXSIM_CASE_AGREES);
}
END_TEST

START_TEST(pointers_are_needed_where_the_kind_says_so)
{
    replace(&lines[LINE_HEADER], "\"vmxon_pointer\":\"0x90000\",", "");
    write_lines();
    expect_refusal(2, "vmxon_pointer", "in the header");
}
END_TEST

START_TEST(a_root_state_is_needed)
{
    replace(&lines[LINE_HEADER], "\"default\"", "\"other\"");
    write_lines();
    expect_refusal(2, "root", "missing");
}
END_TEST

START_TEST(empty_lines_and_empty_files_are_refused)
{
    set_line(LINE_VIOLATION, " \t\n");
    write_lines();
    expect_refusal(3, "", "empty line");

    struct seen seen;
    struct vmxsim_error error = {0};
    write_text(path, "", 0);
    ck_assert_int_eq(replay(&seen, &error), VMXC_BAD_FORMAT);
    ck_assert_ptr_nonnull(strstr(error.text, path));
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
    ck_assert_int_eq(vmxsim_replay_file(directory, NULL, NULL, &summary, &error), VMXC_IO_ERROR);
    ck_assert_ptr_nonnull(strstr(error.text, directory));
}
END_TEST

/* ---- Agreement ---- */

START_TEST(the_file_agrees_as_it_is)
{
    struct seen seen;
    struct vmxsim_error error = {0};
    write_lines();
    ck_assert_msg(replay(&seen, &error) == VMXC_OK, "%s", error.text);
    ck_assert_uint_eq(seen.count, LINE_COUNT - 1);
    for (unsigned i = 0; i < seen.count; i++)
        ck_assert_msg(seen.verdict[i] == VMXSIM_CASE_AGREES, "%s: %s", seen.id[i], seen.reason[i]);
}
END_TEST

START_TEST(the_last_newline_may_be_missing)
{
    struct seen seen;
    lines[LINE_MISCONFIG][strlen(lines[LINE_MISCONFIG]) - 1] = '\0';
    write_lines();
    ck_assert_int_eq(replay(&seen, NULL), VMXC_OK);
    ck_assert_uint_eq(seen.count, LINE_COUNT - 1);
    ck_assert_int_eq(seen.verdict[LINE_MISCONFIG - 1], VMXSIM_CASE_AGREES);
}
END_TEST

/* ---- The comparison can fail ---- */

static const struct mutation doctored[] = {
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
    static struct seen seen;
    struct vmxsim_error error = {0};
    const struct mutation *const mutation = &doctored[_i];
    const unsigned index = mutation->line - 1;
    replace(&lines[mutation->line], mutation->find, mutation->with);
    if (*mutation->key == '\0')
        replace(&lines[mutation->line], "\"qualification\":\"0x1aa\",", "");
    write_lines();
    ck_assert_msg(replay(&seen, &error) == VMXC_OK, "%s", error.text);
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
    /* failed entries are neither agreement nor difference */
    {LINE_READ, "{\"result\":\"complete\",\"values\":[null,\"0x55667788\"],\"memory\":{}}",
     "{\"result\":\"vmfail\",\"kind\":\"valid\",\"error\":7}", VMXSIM_CASE_UNSUPPORTED},
    {LINE_READ, "{\"result\":\"complete\",\"values\":[null,\"0x55667788\"],\"memory\":{}}",
     "{\"result\":\"entry_failure\",\"exit_reason\":33,\"qualification\":\"0x0\"}",
     VMXSIM_CASE_UNSUPPORTED},
    {LINE_READ, "{\"result\":\"complete\",\"values\":[null,\"0x55667788\"],\"memory\":{}}",
     "{\"any_of\":[{\"result\":\"complete\"},{\"result\":\"vmfail\"}]}", VMXSIM_CASE_UNSUPPORTED},
    /* controls that the model does not have */
    {LINE_READ, "[\"flat\",{}]", "[\"flat\",{\"0x401e\":\"0x3\"}]", VMXSIM_CASE_UNSUPPORTED},
    /* only the first doubleword of a VMXON region is memory */
    {LINE_VIOLATION, "\"memory\":{}",
     "\"memory\":{\"0x90000\":\"0x100000004\",\"0x91008\":\"0x5\"}", VMXSIM_CASE_AGREES},
    {LINE_VIOLATION, "\"memory\":{}", "\"memory\":{\"0x90000\":\"0x5\"}", VMXSIM_CASE_DIFFERS},
};
#define LENIENCY_COUNT ((int)(sizeof leniencies / sizeof leniencies[0]))

START_TEST(what_is_open_is_not_compared_and_nothing_else_is_spared)
{
    static struct seen seen;
    struct vmxsim_error error = {0};
    const unsigned line = leniencies[_i].line;
    replace(&lines[line], leniencies[_i].find, leniencies[_i].with);
    write_lines();
    ck_assert_msg(replay(&seen, &error) == VMXC_OK, "%s", error.text);
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
    static struct seen seen;
    struct vmxsim_error error = {0};
    write_text(deviations_path, deviation, strlen(deviation));
    replace(&lines[LINE_READ], "\"expect\":{",
            "\"expect\":{\"result\":\"exit\"},"
            "\"deviates\":\"engine.bug\",\"sdm\":{");
    write_lines();
    ck_assert_msg(replay(&seen, &error) == VMXC_OK, "%s", error.text);
    ck_assert_int_eq(seen.verdict[0], VMXSIM_CASE_AGREES);
    ck_assert_str_eq(seen.deviates[0], "engine.bug");
    ck_assert_str_eq(seen.deviates[1], "");

    replace(&lines[LINE_READ], "\"engine.bug\"", "\"engine.bag\"");
    write_lines();
    expect_refusal(2, "deviates", "engine.bag");
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
    struct seen seen;
    struct vmxsim_error error = {0};
    write_text(deviations_path, bad_deviations[_i].text, strlen(bad_deviations[_i].text));
    write_lines();
    ck_assert_int_eq(replay(&seen, &error), VMXC_BAD_FORMAT);
    ck_assert_ptr_nonnull(strstr(error.text, deviations_path));
    ck_assert_ptr_nonnull(strstr(error.text, bad_deviations[_i].key));
}
END_TEST

/* ---- Truncation ---- */

/* Wherever a file is cut, what is left either agrees as far as whole lines go or is refused. */
START_TEST(a_truncated_file_never_agrees_on_more_than_its_whole_lines)
{
    static struct seen seen;
    struct vmxsim_error error;
    const size_t header = strlen(lines[LINE_HEADER]);
    const size_t first = header + strlen(lines[LINE_READ]);
    const size_t second = first + strlen(lines[LINE_VIOLATION]);
    char *const text = malloc(second + 1);
    ck_assert_ptr_nonnull(text);
    (void)snprintf(text, second + 1, "%s%s%s", lines[LINE_HEADER], lines[LINE_READ],
                   lines[LINE_VIOLATION]);
    /* Inside the processor description one byte is like another: start near its end. */
    for (size_t length = header - 700; length <= second; length++) {
        write_text(path, text, length);
        const enum vmxc_status status = replay(&seen, &error);
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
    static struct seen seen;
    const size_t header = strlen(lines[LINE_HEADER]);
    char *const text = malloc(header + 4096);
    ck_assert_ptr_nonnull(text);
    const int length = snprintf(text, header + 4096, "%s%s%s", lines[LINE_HEADER],
                                lines[LINE_LOGGED], lines[LINE_VIOLATION]);
    static const char damage[] = {'"', '0', 'x', '}', '\n', '\0', '\x80'};
    unsigned accepted = 0;
    for (size_t i = header; i < (size_t)length; i++) {
        const char original = text[i];
        text[i] = damage[i % sizeof damage];
        write_text(path, text, (size_t)length);
        accepted += replay(&seen, NULL) == VMXC_OK;
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
    write_lines();
    ck_assert_msg(vmxsim_replay_trace(path, "read", count_access, &trace, &error) == VMXC_OK, "%s",
                  error.text);
    ck_assert_uint_eq(trace.count, 2);
    ck_assert_uint_eq(trace.entries, 4);
    ck_assert_int_eq(trace.kind, VMXSIM_OUTCOME_COMPLETE);

    trace = (struct trace){0};
    ck_assert_int_eq(vmxsim_replay_trace(path, "violation", count_access, &trace, NULL), VMXC_OK);
    ck_assert_uint_eq(trace.count, 1);
    ck_assert_int_eq(trace.kind, VMXSIM_OUTCOME_VM_EXIT);
}
END_TEST

START_TEST(a_case_that_cannot_be_traced_is_said_to_be)
{
    struct trace trace = {0};
    struct vmxsim_error error = {0};
    set_line(LINE_READ, steps_line);
    replace(&lines[LINE_VIOLATION],
            "{\"result\":\"exit\",\"exit_reason\":48,\"qualification\":\"0x1aa\","
            "\"guest_physical\":\"0x3008\",\"guest_linear\":\"0x3008\",\"memory\":{}}",
            "{\"result\":\"vmfail\"}");
    write_lines();
    ck_assert_int_eq(vmxsim_replay_trace(path, "nobody", count_access, &trace, &error),
                     VMXC_NOT_FOUND);
    ck_assert_ptr_nonnull(strstr(error.text, "nobody"));
    ck_assert_int_eq(vmxsim_replay_trace(path, "s", count_access, &trace, &error),
                     VMXC_UNSUPPORTED);
    ck_assert_ptr_nonnull(strstr(error.text, "kind instructions"));
    ck_assert_int_eq(vmxsim_replay_trace(path, "violation", count_access, &trace, &error),
                     VMXC_UNSUPPORTED);
    ck_assert_int_eq(vmxsim_replay_trace("/nonexistent", "s", count_access, &trace, &error),
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
    TCase *const comparison = tcase_create("comparison");

    tcase_add_checked_fixture(refusals, setup, teardown);
    tcase_add_checked_fixture(comparison, setup, teardown);
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

    tcase_add_loop_test(comparison, a_doctored_expectation_is_reported, 0, DOCTORED_COUNT);
    tcase_add_loop_test(comparison, what_is_open_is_not_compared_and_nothing_else_is_spared, 0,
                        LENIENCY_COUNT);
    tcase_add_test(comparison, other_kinds_are_not_supported_and_never_agreement);
    tcase_add_test(comparison, the_file_agrees_as_it_is);
    tcase_add_test(comparison, the_last_newline_may_be_missing);
    tcase_add_test(comparison, a_deviating_case_is_compared_with_the_manual);
    tcase_add_test(comparison, a_trace_shows_each_access_with_its_trail);
    tcase_add_test(comparison, a_case_that_cannot_be_traced_is_said_to_be);
    tcase_add_test(comparison, kinds_have_names);
    suite_add_tcase(suite, comparison);

    SRunner *const runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
