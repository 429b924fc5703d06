/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Replay of what version 2 of the vectors adds: translations that change between accesses, and what caches may answer;
 * instructions of a guest by their names; injected events. Each table begins with what does not agree.
 */
#include "support/suite.h"
#include "support/vector_file.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void set_case(const char *version, const char *keys, const char *vmcs, const char *memory,
                     const char *expect)
{
    char line[4096];
    const int length =
        snprintf(line, sizeof line,
                 "{\"id\":\"x\",%s,\"vmcs\":[\"flat\",{%s}],\"memory\":[\"base\",{%s}],"
                 "\"expect\":%s}\n",
                 keys, vmcs, memory, expect);

    ck_assert_int_lt(length, (int)sizeof line);
    vector_line_set(LINE_READ, line);
    vector_line_replace(LINE_HEADER, "\"version\":1", version);
    vector_file_write();
}

/* `why` NULL: it agrees. */
static void expect_agreement_unless(const char *why)
{
    static struct vector_seen seen;

    vector_file_decide(&seen);
    ck_assert_msg(seen.verdict[0] == (why == NULL ? VMXSIM_CASE_AGREES : VMXSIM_CASE_DIFFERS),
                  "verdict %d: %s", (int)seen.verdict[0], seen.reason[0]);
    if (why != NULL)
        ck_assert_msg(strstr(seen.reason[0], why) != NULL, "%s", seen.reason[0]);
}

#define VERSION_1 "\"version\":1"
#define VERSION_2 "\"version\":2"

/* ---- Accesses while translations change ---- */

#define READ_WORD  "{\"type\":\"read\",\"linear\":\"0x3000\",\"size\":4}"
#define WRITE_WORD "{\"type\":\"write\",\"linear\":\"0x3000\",\"size\":4,\"value\":\"0x1\"}"
#define READ_OTHER "{\"type\":\"read\",\"linear\":\"0x40003000\",\"size\":4}"
#define POKE(address, value) \
    "{\"type\":\"poke\",\"address\":\"" address "\",\"value\":\"" value "\"}"
#define INVEPT(scope, eptp) \
    "{\"type\":\"invept\",\"scope\":\"" scope "\",\"descriptor\":[\"" eptp "\",\"0x0\"]}"
#define INVVPID(scope, vpid, linear) \
    "{\"type\":\"invvpid\",\"scope\":\"" scope "\",\"descriptor\":[\"" vpid "\",\"" linear "\"]}"
#define NO_WRITES        POKE("0x2000", "0xb5")
#define COMPLETE         "{\"result\":\"complete\"}"
#define VIOLATION        "{\"result\":\"exit\",\"exit_reason\":48}"
#define MISCONFIGURATION "{\"result\":\"exit\",\"exit_reason\":49}"
#define FAULT            "{\"result\":\"guest_exception\",\"vector\":14,\"cr2\":\"0x3000\"}"

/* A guest with 4-level paging: 3000H and the tables, mapped as they are, all flags set. */
#define TABLES                                                                                 \
    "\"0x4000\":\"0x5067\",\"0x5000\":\"0x6067\",\"0x6000\":\"0x7067\",\"0x7018\":\"0x3067\"," \
    "\"0x7038\":\"0x7067\""
#define GLOBAL_TABLES                                                                          \
    "\"0x4000\":\"0x5067\",\"0x5000\":\"0x6067\",\"0x6000\":\"0x7067\",\"0x7018\":\"0x3167\"," \
    "\"0x7038\":\"0x7067\""
#define TABLES_WITHOUT_FLAG                                                                    \
    "\"0x4000\":\"0x5067\",\"0x5000\":\"0x6067\",\"0x6000\":\"0x7067\",\"0x7018\":\"0x3007\"," \
    "\"0x7038\":\"0x7067\""
#define PAGING    VECTOR_LONG_MODE
#define WITH_VPID VECTOR_LONG_MODE ",\"0x401e\":\"0xa2\",\"0x0\":\"0x1\""
#define WITH_GLOBALS                                                                              \
    "\"0x6800\":\"0x80000031\",\"0x6804\":\"0x20a0\",\"0x2806\":\"0x500\",\"0x4012\":\"0x93fb\"," \
    "\"0x6802\":\"0x4000\",\"0x4816\":\"0xa09b\",\"0x401e\":\"0xa2\",\"0x0\":\"0x1\""
#define UNMAP          POKE("0x7018", "0x0")
#define UNMAP_INSIDE   "{\"type\":\"write\",\"linear\":\"0x7018\",\"size\":8,\"value\":\"0x0\"}"
#define INVLPG(linear) "{\"type\":\"invlpg\",\"linear\":\"" linear "\"}"
#define MOV_TO_CR3     "{\"type\":\"mov_to_cr3\",\"value\":\"0x4000\"}"

static const struct {
    const char *vmcs, *memory, *accesses, *expect;
    const char *why; /* NULL: agrees */
} changes[] = {
    /* What covers the mapping leaves one answer. */
    {"", "", READ_WORD "," NO_WRITES "," INVEPT("0x1", "0x101e") "," WRITE_WORD, COMPLETE,
     "expected complete, observed exit"},
    {"", "", READ_WORD "," NO_WRITES "," INVEPT("0x1", "0x105e") "," WRITE_WORD, COMPLETE,
     "expected complete, observed exit"},
    {"", "", READ_WORD "," NO_WRITES "," INVEPT("0x2", "0x0") "," WRITE_WORD, COMPLETE,
     "expected complete, observed exit"},
    {PAGING, TABLES, READ_WORD "," UNMAP "," READ_WORD, COMPLETE, "observed guest_exception"},
    {WITH_VPID, TABLES, READ_WORD "," UNMAP "," INVVPID("0x0", "0x1", "0x3000") "," READ_WORD,
     COMPLETE, "observed guest_exception"},
    {WITH_VPID, TABLES, READ_WORD "," UNMAP "," INVVPID("0x1", "0x1", "0x0") "," READ_WORD,
     COMPLETE, "observed guest_exception"},
    {WITH_VPID, TABLES, READ_WORD "," UNMAP "," INVVPID("0x2", "0x0", "0x0") "," READ_WORD,
     COMPLETE, "observed guest_exception"},
    {WITH_VPID, TABLES, READ_WORD "," UNMAP "," INVVPID("0x3", "0x1", "0x0") "," READ_WORD,
     COMPLETE, "observed guest_exception"},
    {WITH_VPID, TABLES, READ_WORD "," UNMAP "," INVEPT("0x1", "0x101e") "," READ_WORD, COMPLETE,
     "observed guest_exception"},
    {PAGING, TABLES, READ_WORD "," UNMAP_INSIDE "," INVLPG("0x3000") "," READ_WORD, COMPLETE,
     "observed guest_exception"},
    {PAGING, TABLES, READ_WORD "," UNMAP_INSIDE "," MOV_TO_CR3 "," READ_WORD, COMPLETE,
     "observed guest_exception"},
    /* What was not present is not cached. */
    {"", "", READ_WORD "," POKE("0x2008", "0xb7") "," READ_OTHER, VIOLATION,
     "expected exit 48 (EPT violation), observed complete"},
    {"", "", READ_WORD "," POKE("0x2008", "0xb7") "," READ_OTHER, COMPLETE, NULL},
    /* Two answers: each alone, both, and not one of them, nor one more. */
    {"", "", READ_WORD "," NO_WRITES "," WRITE_WORD, "{\"any_of\":[" VIOLATION "]}",
     "a lawful answer is missing"},
    {"", "", READ_WORD "," NO_WRITES "," WRITE_WORD,
     "{\"any_of\":[" VIOLATION "," COMPLETE "," MISCONFIGURATION "]}",
     "any_of[2]: caches do not allow"},
    {"", "", READ_WORD "," NO_WRITES "," WRITE_WORD, VIOLATION, NULL},
    {"", "", READ_WORD "," NO_WRITES "," WRITE_WORD, COMPLETE, NULL},
    {"", "", READ_WORD "," NO_WRITES "," WRITE_WORD, "{\"any_of\":[" VIOLATION "," COMPLETE "]}",
     NULL},
    /* Rights that come may be seen late. */
    {"", "\"0x2000\":\"0xb5\"", READ_WORD "," POKE("0x2000", "0xb7") "," WRITE_WORD,
     "{\"any_of\":[" COMPLETE "," VIOLATION "]}", NULL},
    /* What covers something else, or fails, leaves two. */
    {"", "", READ_WORD "," NO_WRITES "," INVEPT("0x1", "0x801e") "," WRITE_WORD, COMPLETE, NULL},
    {"", "", READ_WORD "," NO_WRITES "," INVEPT("0x9", "0x101e") "," WRITE_WORD, COMPLETE, NULL},
    {"", "", READ_WORD "," NO_WRITES "," INVEPT("0x1", "0x1000") "," WRITE_WORD, COMPLETE, NULL},
    {WITH_VPID, TABLES, READ_WORD "," NO_WRITES "," INVVPID("0x2", "0x0", "0x0") "," WRITE_WORD,
     COMPLETE, NULL},
    {WITH_VPID, TABLES, READ_WORD "," UNMAP "," READ_WORD, COMPLETE, NULL},
    {WITH_VPID, TABLES, READ_WORD "," UNMAP "," READ_WORD, FAULT, NULL},
    {WITH_VPID, TABLES, READ_WORD "," UNMAP "," INVVPID("0x0", "0x1", "0x7000") "," READ_WORD,
     COMPLETE, NULL},
    {WITH_VPID, TABLES, READ_WORD "," UNMAP "," INVVPID("0x1", "0x2", "0x0") "," READ_WORD,
     COMPLETE, NULL},
    {WITH_GLOBALS, GLOBAL_TABLES,
     READ_WORD "," UNMAP "," INVVPID("0x3", "0x1", "0x0") "," READ_WORD, COMPLETE, NULL},
    {WITH_GLOBALS, GLOBAL_TABLES, READ_WORD "," UNMAP_INSIDE "," MOV_TO_CR3 "," READ_WORD, COMPLETE,
     NULL},
    {PAGING, TABLES, READ_WORD "," UNMAP_INSIDE "," READ_WORD, COMPLETE, NULL},
    /* The access that came first has set the accessed flag. */
    {PAGING, TABLES_WITHOUT_FLAG, READ_WORD "," UNMAP_INSIDE "," READ_WORD, COMPLETE, NULL},
    {PAGING, TABLES, READ_WORD "," UNMAP_INSIDE "," INVLPG("0x7000") "," READ_WORD, COMPLETE, NULL},
};

START_TEST(caches_may_answer_until_something_invalidates_them)
{
    char keys[1024];

    (void)snprintf(keys, sizeof keys, "\"kind\":\"access\",\"accesses\":[%s]",
                   changes[_i].accesses);
    set_case(VERSION_2, keys, changes[_i].vmcs, changes[_i].memory, changes[_i].expect);
    expect_agreement_unless(changes[_i].why);
}
END_TEST

/* ---- Instructions ---- */

#define INFO_OF_LGDT "0x21c18880" /* 32-bit address and operand, DS, base RBX, no index, LGDT */
#define LGDT                                                                        \
    "{\"op\":\"lgdt\",\"length\":4,\"operands\":{\"address_size\":1,\"segment\":3," \
    "\"base\":3,\"operand_size\":1,\"displacement\":\"0x10\"}}"
#define TABLES_EXIT "\"0x401e\":\"0x86\""
#define TO_CR0(value) \
    "{\"op\":\"mov_to_cr\",\"length\":3,\"register\":0,\"gpr\":2,\"value\":\"" value "\"}"

static const struct {
    const char *instruction, *vmcs, *expect;
    const char *why; /* NULL: agrees */
} instructions[] = {
    {"{\"op\":\"cpuid\",\"length\":2}", "",
     "{\"result\":\"exit\",\"exit_reason\":10,\"instruction_length\":3}",
     "instruction_length: expected 3, observed 2"},
    {"{\"op\":\"cpuid\",\"length\":2}", "",
     "{\"result\":\"exit\",\"exit_reason\":10,\"instruction_info\":\"0x0\"}",
     "instruction_info: expected 0x0, observed none"},
    {LGDT, TABLES_EXIT, "{\"result\":\"exit\",\"exit_reason\":46,\"instruction_info\":\"0x0\"}",
     "instruction_info: expected 0x0, observed " INFO_OF_LGDT},
    {LGDT, TABLES_EXIT, "{\"result\":\"exit\",\"exit_reason\":46,\"qualification\":\"0x8\"}",
     "qualification: expected 0x8, observed 0x10"},
    {LGDT, "", "{\"result\":\"exit\",\"exit_reason\":46}", "observed complete"},
    {TO_CR0("0x39"), "", "{\"result\":\"complete\",\"cr0\":\"0x31\"}",
     "cr0: expected 0x31, observed 0x39"},
    {"{\"op\":\"mov_from_cr\",\"length\":3,\"register\":0,\"gpr\":2}", "",
     "{\"result\":\"complete\",\"value\":\"0x30\"}", "value: expected 0x30, observed 0x31"},
    {"{\"op\":\"cpuid\",\"length\":2}", "",
     "{\"result\":\"exit\",\"exit_reason\":10,\"instruction_length\":2}", NULL},
    {LGDT, TABLES_EXIT,
     "{\"result\":\"exit\",\"exit_reason\":46,\"instruction_info\":\"" INFO_OF_LGDT
     "\",\"qualification\":\"0x10\"}",
     NULL},
    {LGDT, TABLES_EXIT,
     "{\"result\":\"exit\",\"exit_reason\":46,\"instruction_info\":\"0x21c1888c\",\"open\":"
     "{\"instruction_info\":\"0xc\"}}",
     NULL},
    {LGDT, "", "{\"result\":\"complete\"}", NULL},
    {TO_CR0("0x39"), "", "{\"result\":\"complete\",\"cr0\":\"0x39\",\"cr4\":\"0x2000\"}", NULL},
    {"{\"op\":\"mov_from_cr\",\"length\":3,\"register\":0,\"gpr\":2}", "",
     "{\"result\":\"complete\",\"value\":\"0x31\"}", NULL},
    {"{\"op\":\"lmsw\",\"length\":3,\"value\":\"0x9\",\"linear\":\"0x3000\"}", "\"0x6000\":\"0x8\"",
     "{\"result\":\"exit\",\"exit_reason\":28,\"qualification\":\"0x90070\",\"guest_linear\":"
     "\"0x3000\"}",
     NULL},
};

START_TEST(an_exit_describes_the_instruction)
{
    char keys[1024];

    (void)snprintf(keys, sizeof keys, "\"kind\":\"intercept\",\"instruction\":%s",
                   instructions[_i].instruction);
    set_case(VERSION_2, keys, instructions[_i].vmcs, "", instructions[_i].expect);
    expect_agreement_unless(instructions[_i].why);
}
END_TEST

/* ---- Events ---- */

/* IDT at A000H with a gate for vector 20H to 3000H; GDT at B000H with flat code; the stack ends at C000H. */
#define EVENT_STATE                                                                        \
    "\"0x6818\":\"0xa000\",\"0x4812\":\"0x107\",\"0x6816\":\"0xb000\",\"0x4810\":\"0xf\"," \
    "\"0x681c\":\"0xc000\",\"0x6820\":\"0x202\""
#define EVENT_MEMORY "\"0xa100\":\"0x8e0000083000\",\"0xb008\":\"0xcf9b000000ffff\""
#define INTERRUPT    "\"0x4016\":\"0x80000020\""
#define SOFTWARE     "\"0x4016\":\"0x80000420\",\"0x401a\":\"0x2\""
#define PROTECTION   "\"0x4016\":\"0x80000b0d\""

static const struct {
    const char *vmcs, *memory, *expect;
    const char *why; /* NULL: agrees */
} events[] = {
    {EVENT_STATE "," INTERRUPT, EVENT_MEMORY, "{\"result\":\"delivered\",\"rip\":\"0x3001\"}",
     "rip: expected 0x3001, observed 0x3000"},
    {EVENT_STATE "," INTERRUPT, EVENT_MEMORY, "{\"result\":\"delivered\",\"memory\":{}}",
     "memory 0xbff8"},
    {EVENT_STATE "," INTERRUPT, EVENT_MEMORY, "{\"result\":\"delivered\",\"cr2\":\"0x1\"}",
     "cr2: expected 0x1"},
    {EVENT_STATE "," INTERRUPT, EVENT_MEMORY, "{\"result\":\"exit\",\"exit_reason\":0}",
     "observed delivered"},
    {EVENT_STATE "," PROTECTION, EVENT_MEMORY,
     "{\"result\":\"exit\",\"exit_reason\":2,\"vectoring_info\":\"0x80000b08\"}", "vectoring_info"},
    {EVENT_STATE "," INTERRUPT, EVENT_MEMORY,
     "{\"result\":\"delivered\",\"rip\":\"0x3000\",\"rsp\":\"0xbff4\",\"cs\":\"0x8\","
     "\"rflags\":\"0x2\",\"interruptibility\":\"0x0\"}",
     NULL},
    /* A gate that is not present: #NP, whose gate is not there either: #DF, likewise: triple fault. */
    {EVENT_STATE "," INTERRUPT, "\"0xa100\":\"0xe0000083000\"",
     "{\"result\":\"exit\",\"exit_reason\":2,\"vectoring_info\":\"0x0\"}", NULL},
    {EVENT_STATE "," INTERRUPT ",\"0x4004\":\"0x800\"", "\"0xa100\":\"0xe0000083000\"",
     "{\"result\":\"exit\",\"exit_reason\":0,\"intr_info\":\"0x80000b0b\",\"intr_error_code\":"
     "\"0x103\",\"vectoring_info\":\"0x80000020\"}",
     NULL},
    {EVENT_STATE "," SOFTWARE ",\"0x4004\":\"0x800\"", "\"0xa100\":\"0x6e0000083000\"",
     "{\"result\":\"exit\",\"exit_reason\":0,\"intr_info\":\"0x80000b0b\",\"intr_error_code\":"
     "\"0x102\",\"vectoring_info\":\"0x80000420\"}",
     NULL},
    {EVENT_STATE "," PROTECTION ",\"0x4004\":\"0x100\"", EVENT_MEMORY,
     "{\"result\":\"exit\",\"exit_reason\":0,\"intr_info\":\"0x80000b08\",\"intr_error_code\":"
     "\"0x0\",\"vectoring_info\":\"0x0\"}",
     NULL},
};

START_TEST(an_event_arrives_or_exits_on_its_way)
{
    set_case(VERSION_2, "\"kind\":\"event\"", events[_i].vmcs, events[_i].memory,
             events[_i].expect);
    expect_agreement_unless(events[_i].why);
}
END_TEST

/* ---- What is refused ---- */

#define KIND_ACCESS(accesses)       "\"kind\":\"access\",\"accesses\":[" accesses "]"
#define KIND_INTERCEPT(instruction) "\"kind\":\"intercept\",\"instruction\":" instruction

static const struct {
    const char *version, *keys, *vmcs, *expect, *key, *why;
} refused[] = {
    {VERSION_1, KIND_ACCESS(READ_WORD "," NO_WRITES), "", COMPLETE, "accesses[1].type",
     "is not one of"},
    {VERSION_1, KIND_INTERCEPT("{\"op\":\"cpuid\",\"length\":2}"), "", COMPLETE, "instruction.op",
     "there is no operation"},
    {VERSION_1, KIND_INTERCEPT("{\"op\":\"rdmsr\",\"msr\":\"0x10\",\"length\":2}"), "", COMPLETE,
     "instruction.length", "unknown key"},
    {VERSION_1, KIND_INTERCEPT("{\"op\":\"rdmsr\",\"msr\":\"0x10\"}") ",\"registers\":{}", "",
     COMPLETE, "registers", "version 2"},
    {VERSION_1, "\"kind\":\"event\"", INTERRUPT, COMPLETE, "", "result"},
    {VERSION_1, KIND_INTERCEPT("{\"op\":\"rdmsr\",\"msr\":\"0x10\"}"), "",
     "{\"result\":\"exit\",\"instruction_length\":2}", "instruction_length", "version 2"},
    {VERSION_2, KIND_ACCESS(POKE("0x2004", "0x0")), "", COMPLETE, "accesses[0].address",
     "multiple of 8"},
    {VERSION_2, KIND_ACCESS(POKE("0x100000", "0x0")), "", COMPLETE, "accesses[0].address",
     "not in RAM"},
    {VERSION_2, KIND_ACCESS("{\"type\":\"invept\",\"scope\":\"0x1\"}"), "", COMPLETE,
     "accesses[0].descriptor", "missing"},
    {VERSION_2, KIND_ACCESS("{\"type\":\"invept\",\"scope\":\"0x1\",\"descriptor\":[\"0x0\"]}"), "",
     COMPLETE, "accesses[0].descriptor", "two quadwords"},
    {VERSION_2, KIND_ACCESS("{\"type\":\"invlpg\",\"linear\":\"0x0\",\"size\":1}"), "", COMPLETE,
     "accesses[0].size", "unknown key"},
    {VERSION_2, KIND_ACCESS("{\"type\":\"flush\"}"), "", COMPLETE, "accesses[0].type",
     "is not one of"},
    {VERSION_2, KIND_ACCESS(NO_WRITES), "", "{\"result\":\"complete\",\"values\":[\"0x1\"]}",
     "values[0]", "must be null"},
    {VERSION_2, KIND_INTERCEPT("{\"op\":\"CPUID\",\"length\":2}"), "", COMPLETE, "instruction.op",
     "there is no operation"},
    {VERSION_2, KIND_INTERCEPT("{\"op\":\"cpui\",\"length\":2}"), "", COMPLETE, "instruction.op",
     "there is no operation"},
    {VERSION_2, KIND_INTERCEPT("{\"op\":\"cpuid\"}"), "", COMPLETE, "instruction.length",
     "missing"},
    {VERSION_2, KIND_INTERCEPT("{\"op\":\"cpuid\",\"length\":16}"), "", COMPLETE,
     "instruction.length", "15"},
    {VERSION_2, KIND_INTERCEPT("{\"op\":\"lgdt\",\"length\":3,\"operands\":{\"base\":16}}"), "",
     COMPLETE, "instruction.operands.base", "15"},
    {VERSION_2, KIND_INTERCEPT("{\"op\":\"clts\",\"length\":2,\"operands\":{}}"), "", COMPLETE,
     "instruction.operands", "unknown key"},
    {VERSION_2, KIND_ACCESS(READ_WORD) ",\"registers\":{\"eax\":\"0x0\"}", "", COMPLETE,
     "registers", ""},
    {VERSION_2, "\"kind\":\"event\"", "", "{\"result\":\"delivered\"}", "", "injects no event"},
    {VERSION_2, "\"kind\":\"event\"", "\"0x4016\":\"0x80000700\"", "{\"result\":\"delivered\"}", "",
     "injects no event"},
    {VERSION_2, "\"kind\":\"event\"", INTERRUPT, COMPLETE, "expect.result", "is not one of"},
};

START_TEST(what_has_no_place_is_refused)
{
    set_case(refused[_i].version, refused[_i].keys, refused[_i].vmcs, "", refused[_i].expect);
    vector_file_expect_refusal(LINE_READ + 1, refused[_i].key, refused[_i].why);
}
END_TEST

START_TEST(an_instruction_that_no_guest_executes_is_not_supported)
{
    static struct vector_seen seen;

    set_case(VERSION_2, KIND_INTERCEPT("{\"op\":\"lgdt\",\"length\":3}"), "", "", COMPLETE);
    vector_file_decide(&seen);
    ck_assert_int_eq(seen.verdict[0], VMXSIM_CASE_UNSUPPORTED);
    ck_assert_ptr_nonnull(strstr(seen.reason[0], "no guest can execute"));
}
END_TEST

START_TEST(an_event_in_real_address_mode_is_not_supported)
{
    static struct vector_seen seen;

    set_case(VERSION_2, "\"kind\":\"event\"", EVENT_STATE "," INTERRUPT ",\"0x6800\":\"0x30\"",
             EVENT_MEMORY, "{\"result\":\"delivered\"}");
    vector_file_decide(&seen);
    ck_assert_int_eq(seen.verdict[0], VMXSIM_CASE_UNSUPPORTED);
}
END_TEST

int main(void)
{
    Suite *const suite = suite_create("replay_version2");
    TCase *const tests = tcase_create("version 2");

    tcase_add_checked_fixture(tests, vector_file_setup, vector_file_teardown);
    tcase_add_loop_test(tests, what_has_no_place_is_refused, 0, COUNT(refused));
    tcase_add_loop_test(tests, caches_may_answer_until_something_invalidates_them, 0,
                        COUNT(changes));
    tcase_add_loop_test(tests, an_exit_describes_the_instruction, 0, COUNT(instructions));
    tcase_add_loop_test(tests, an_event_arrives_or_exits_on_its_way, 0, COUNT(events));
    tcase_add_test(tests, an_instruction_that_no_guest_executes_is_not_supported);
    tcase_add_test(tests, an_event_in_real_address_mode_is_not_supported);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
