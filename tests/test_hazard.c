/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hazards: what is none, then each use of a region that the manual warns of, with one processor and with two; and that a
 * hazard changes nothing but the log.
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "support/insn_machine.h"
#include "support/suite.h"
#include "vmxcore/defs/guest_state.h"
#include "vmxsim/explain.h"

/* The VMCS of most tests: the pages before and behind it are in no use. Bytes from 8 on are VMCS data. */
#define REGION    REGION_B
#define DATA      (REGION + 8)
#define LAST_WORD (REGION + 0xff8)

static struct insn_machine first, second;

/* Two processors of one memory; the second has REGION_LINK for its VMXON region. */
static void setup(void)
{
    insn_machine_init(&first, "icelake", NULL);
    second = first;
    ck_assert_int_eq(vmxsim_cpu_create(first.memory, first.profile, &second.cpu), VMXC_OK);
}

static void teardown(void)
{
    vmxsim_cpu_destroy(second.cpu);
    insn_machine_fini(&first);
}

/* REGION is current on the first processor. */
static void make_current(void)
{
    insn_machine_vmxon(&first);
    EXECUTE(&first, vmclear, REGION);
    EXECUTE(&first, vmptrld, REGION);
    expect_success(&first);
}

static void second_vmxon(void)
{
    EXECUTE(&second, vmxon, REGION_LINK);
    expect_success(&second);
}

static void expect_hazards(unsigned count)
{
    ck_assert_uint_eq(vmxsim_hazard_count(first.memory), count);
}

static struct vmxsim_hazard last_hazard(void)
{
    struct vmxsim_hazard hazard;

    ck_assert_uint_eq(vmxsim_hazards_last(first.memory, &hazard, 1), 1);
    return hazard;
}

/* Exactly one hazard since the last call, by this rule, in this region. */
static struct vmxsim_hazard expect_one(enum vmxsim_hazard_rule rule, uint64_t region_hpa)
{
    struct vmxsim_hazard hazard;

    expect_hazards(1);
    hazard = last_hazard();
    ck_assert_str_eq(vmxsim_hazard_rule_info(hazard.rule)->id, vmxsim_hazard_rule_info(rule)->id);
    ck_assert_uint_eq(hazard.region_hpa, region_hpa);
    vmxsim_hazards_forget(first.memory);
    return hazard;
}

static void expect_access(struct vmxsim_hazard hazard, uint64_t hpa, uint64_t length, bool write)
{
    ck_assert_uint_eq(hazard.hpa, hpa);
    ck_assert_uint_eq(hazard.length, length);
    ck_assert_int_eq(hazard.write, write);
    ck_assert(!hazard.found_later);
}

/* A write that goes past the model, as a hypervisor's does. */
static void write_by_pointer(uint64_t hpa, uint8_t value)
{
    uint8_t *const byte = vmxsim_memory_pointer(first.memory, hpa);

    ck_assert_ptr_nonnull(byte);
    *byte = value;
}

/* ---- No hazards ---- */

START_TEST(a_region_that_is_not_in_use_is_ordinary_memory)
{
    make_current();
    (void)vmxsim_memory_read64(first.memory, REGION - 8);
    vmxsim_memory_write64(first.memory, REGION - 8, 1);
    vmxsim_memory_write64(first.memory, REGION + 0x1000, 1);
    EXECUTE(&first, vmclear, REGION);
    EXECUTE_BARE(&first, vmxoff);
    vmxsim_memory_write64(first.memory, DATA, 1);
    vmxsim_memory_write64(first.memory, REGION_VMXON, 1);
    expect_hazards(0);
}
END_TEST

START_TEST(the_header_may_be_read_and_the_abort_indicator_written)
{
    make_current();
    (void)vmxsim_memory_read64(first.memory, REGION);
    vmxsim_memory_write32(first.memory, REGION + 4, 1);
    vmxsim_memory_write32(first.memory, REGION, vmxsim_memory_read32(first.memory, REGION));
    write_by_pointer(REGION + 4, 2);
    EXECUTE(&first, vmclear, REGION);
    expect_hazards(0);
}
END_TEST

START_TEST(the_processors_own_work_on_regions_is_no_hazard)
{
    insn_machine_current(&first);
    insn_machine_set_field(&first, VMXC_VMCS_GUEST_RIP, 0x1234);
    EXECUTE(&first, vmclear, REGION_B);
    EXECUTE(&first, vmptrld, REGION_B);
    EXECUTE(&first, vmptrld, REGION_A);
    ck_assert_uint_eq(insn_machine_field(&first, VMXC_VMCS_GUEST_RIP), 0x1234);
    EXECUTE(&first, vmclear, REGION_A);
    EXECUTE(&first, vmclear, REGION_B);
    EXECUTE_BARE(&first, vmxoff);
    expect_hazards(0);
}
END_TEST

START_TEST(a_vmcs_may_move_after_vmclear)
{
    insn_machine_current(&first);
    second_vmxon();
    insn_machine_set_field(&first, VMXC_VMCS_GUEST_RIP, 0x1234);
    EXECUTE(&first, vmclear, REGION_A);
    EXECUTE(&second, vmptrld, REGION_A);
    expect_success(&second);
    ck_assert_uint_eq(insn_machine_field(&second, VMXC_VMCS_GUEST_RIP), 0x1234);
    expect_hazards(0);
}
END_TEST

START_TEST(a_refused_vmptrld_makes_nothing_active)
{
    insn_machine_current(&first);
    second_vmxon();
    vmxsim_memory_write32(first.memory, REGION_B, 0x7fffffff);
    EXECUTE(&first, vmptrld, REGION_B);
    expect_valid(&first, VMXC_VM_ERROR_VMPTRLD_REVISION, VMXSIM_INSN_VMPTRLD_REVISION);
    vmxsim_memory_write64(first.memory, REGION_B + 8, 1);
    expect_hazards(0);
}
END_TEST

/* ---- Accesses to an active VMCS ---- */

START_TEST(accesses_to_a_current_vmcs_are_hazards_as_far_as_they_touch_its_data)
{
    const struct {
        uint64_t hpa, length, from, seen;
    } accesses[] = {
        {DATA, 1, DATA, 1},
        {LAST_WORD, 8, LAST_WORD, 8},
        {REGION, 16, DATA, 8},                 /* the header is no data */
        {REGION - 4, 16, DATA, 4},             /* from the page before */
        {LAST_WORD + 4, 16, LAST_WORD + 4, 4}, /* into the page behind */
        {REGION - 16, 0x2000, DATA, 0xff8},
    };
    static uint8_t buffer[0x2000];

    make_current();
    for (size_t i = 0; i < sizeof(accesses) / sizeof(accesses[0]); i++) {
        vmxsim_memory_read(first.memory, accesses[i].hpa, buffer, accesses[i].length);
        expect_access(expect_one(VMXSIM_HAZARD_VMCS_READ, REGION), accesses[i].from,
                      accesses[i].seen, false);
        vmxsim_memory_write(first.memory, accesses[i].hpa, buffer, accesses[i].length);
        expect_access(expect_one(VMXSIM_HAZARD_VMCS_WRITE, REGION), accesses[i].from,
                      accesses[i].seen, true);
    }
}
END_TEST

START_TEST(accesses_by_word_are_hazards)
{
    make_current();
    (void)vmxsim_memory_read32(first.memory, LAST_WORD + 4);
    expect_access(expect_one(VMXSIM_HAZARD_VMCS_READ, REGION), LAST_WORD + 4, 4, false);
    (void)vmxsim_memory_read64(first.memory, DATA - 4);
    expect_access(expect_one(VMXSIM_HAZARD_VMCS_READ, REGION), DATA, 4, false);
    vmxsim_memory_write32(first.memory, DATA, 0);
    expect_access(expect_one(VMXSIM_HAZARD_VMCS_WRITE, REGION), DATA, 4, true);
    vmxsim_memory_write64(first.memory, LAST_WORD, 1);
    expect_access(expect_one(VMXSIM_HAZARD_VMCS_WRITE, REGION), LAST_WORD, 8, true);
}
END_TEST

START_TEST(a_vmcs_stays_active_when_another_becomes_current)
{
    make_current();
    EXECUTE(&first, vmptrld, REGION_A);
    (void)vmxsim_memory_read64(first.memory, DATA);
    (void)expect_one(VMXSIM_HAZARD_VMCS_READ, REGION);
    EXECUTE(&first, vmclear, REGION);
    (void)vmxsim_memory_read64(first.memory, DATA);
    expect_hazards(0);
    (void)vmxsim_memory_read64(first.memory, REGION_A + 8);
    (void)expect_one(VMXSIM_HAZARD_VMCS_READ, REGION_A);
}
END_TEST

START_TEST(a_write_through_memory_does_not_reach_a_current_vmcs)
{
    static uint8_t ones[0xff8];

    memset(ones, 0xff, sizeof ones);
    make_current();
    insn_machine_set_field(&first, VMXC_VMCS_GUEST_RIP, 0x1234);
    vmxsim_memory_write(first.memory, DATA, ones, sizeof ones);
    ck_assert_uint_eq(insn_machine_field(&first, VMXC_VMCS_GUEST_RIP), 0x1234);
    EXECUTE(&first, vmclear, REGION);
    EXECUTE(&first, vmptrld, REGION);
    ck_assert_uint_eq(insn_machine_field(&first, VMXC_VMCS_GUEST_RIP), 0x1234);
    (void)expect_one(VMXSIM_HAZARD_VMCS_WRITE, REGION); /* once, although the content had changed */
}
END_TEST

START_TEST(the_shadow_indicator_of_an_active_vmcs_is_not_to_be_changed)
{
    const uint32_t header = vmxsim_memory_read32(first.memory, REGION);

    make_current();
    vmxsim_memory_write32(first.memory, REGION, header | 0x80000000);
    expect_access(expect_one(VMXSIM_HAZARD_VMCS_INDICATOR, REGION), REGION, 4, true);
    write_by_pointer(REGION + 3, (uint8_t)(header >> 24));
    EXECUTE(&first, vmclear, REGION);
    ck_assert(expect_one(VMXSIM_HAZARD_VMCS_INDICATOR, REGION).found_later);
}
END_TEST

/* ---- What guests and structures touch ---- */

/* A guest of the second processor, which is in no VMX operation of its own: linear addresses are physical, or `cr3` pages. */
static void load_guest(uint64_t cr0, uint64_t cr3)
{
    struct vmxsim_vmcs vmcs = {.value = {0}};

    VMXSIM_VMCS(&vmcs, GUEST_CR0) = cr0;
    VMXSIM_VMCS(&vmcs, GUEST_CR3) = cr3;
    VMXSIM_VMCS(&vmcs, GUEST_RFLAGS) = 2;
    ck_assert_int_eq(vmxsim_cpu_load_guest(second.cpu, &vmcs, NULL), VMXC_OK);
}

static void guest_access(enum vmxsim_access_type type, uint64_t linear, uint32_t size)
{
    const struct vmxsim_access access = {.type = type, .linear = linear, .size = size};
    struct vmxsim_outcome outcome;

    ck_assert_int_eq(vmxsim_guest_access(second.cpu, &access, &outcome, NULL), VMXC_OK);
}

START_TEST(guest_accesses_that_reach_an_active_vmcs_are_hazards)
{
    load_guest(VMXC_CR0_PE | VMXC_CR0_NE, 0);
    guest_access(VMXSIM_ACCESS_WRITE, DATA, 8);
    expect_hazards(0);
    make_current();
    guest_access(VMXSIM_ACCESS_READ, DATA, 8);
    expect_access(expect_one(VMXSIM_HAZARD_VMCS_READ, REGION), DATA, 8, false);
    guest_access(VMXSIM_ACCESS_WRITE, REGION - 4, 16);
    (void)expect_one(VMXSIM_HAZARD_VMCS_WRITE, REGION); /* one page of two */
    guest_access(VMXSIM_ACCESS_FETCH, LAST_WORD, 2);
    expect_access(expect_one(VMXSIM_HAZARD_VMCS_READ, REGION), LAST_WORD, 2, false);
}
END_TEST

START_TEST(paging_structures_in_an_active_vmcs_are_a_hazard)
{
    make_current();
    load_guest(VMXC_CR0_PE | VMXC_CR0_NE | VMXC_CR0_PG, REGION);
    guest_access(VMXSIM_ACCESS_READ, UINT64_C(0x3ff) << 22, 1);
    expect_access(expect_one(VMXSIM_HAZARD_VMCS_READ, REGION), REGION + 0xffc, 4, false);
}
END_TEST

/* ---- Writes that nobody saw ---- */

START_TEST(a_write_by_pointer_shows_when_the_vmcs_goes_back_to_memory)
{
    make_current();
    write_by_pointer(LAST_WORD, 0x5a);
    insn_machine_set_field(&first, VMXC_VMCS_GUEST_RIP, 1);
    expect_hazards(0);
    EXECUTE(&first, vmclear, REGION);
    const struct vmxsim_hazard hazard = expect_one(VMXSIM_HAZARD_VMCS_WRITE, REGION);
    ck_assert(hazard.found_later);
    ck_assert_uint_eq(hazard.hpa, DATA);
    ck_assert_uint_eq(hazard.length, 0xff8);
}
END_TEST

START_TEST(a_write_by_pointer_shows_when_an_active_vmcs_becomes_current_again)
{
    make_current();
    EXECUTE(&first, vmptrld, REGION_A);
    write_by_pointer(LAST_WORD, 0x5a);
    EXECUTE(&first, vmptrld, REGION);
    ck_assert(expect_one(VMXSIM_HAZARD_VMCS_WRITE, REGION).found_later);
    EXECUTE(&first, vmptrld, REGION_A);
    EXECUTE(&first, vmptrld, REGION);
    expect_hazards(0);
}
END_TEST

START_TEST(memory_that_starts_over_is_no_write)
{
    make_current();
    vmxsim_memory_write64(first.memory, DATA, 1);
    expect_hazards(1);
    vmxsim_memory_reset(first.memory);
    expect_hazards(0);
    EXECUTE(&first, vmclear, REGION);
    expect_success(&first);
    expect_hazards(0);
}
END_TEST

/* ---- Two processors ---- */

START_TEST(a_vmcs_that_is_active_on_two_processors_is_a_hazard)
{
    make_current();
    second_vmxon();
    EXECUTE(&second, vmptrld, REGION);
    expect_success(&second);
    struct vmxsim_hazard hazard = expect_one(VMXSIM_HAZARD_VMCS_SHARED, REGION);
    ck_assert_uint_eq(hazard.processor, vmxsim_cpu_number(first.cpu));
    ck_assert(hazard.by_processor);
    ck_assert_uint_eq(hazard.other_processor, vmxsim_cpu_number(second.cpu));
    ck_assert_uint_eq(hazard.length, 0);

    /* Each has its own copy, and the last one to write back wins. */
    insn_machine_set_field(&first, VMXC_VMCS_GUEST_RIP, 1);
    insn_machine_set_field(&second, VMXC_VMCS_GUEST_RIP, 2);
    EXECUTE(&second, vmclear, REGION);
    EXECUTE(&first, vmclear, REGION);
    EXECUTE(&first, vmptrld, REGION);
    ck_assert_uint_eq(insn_machine_field(&first, VMXC_VMCS_GUEST_RIP), 1);
    expect_hazards(0);
}
END_TEST

START_TEST(a_vmcs_that_is_active_elsewhere_and_not_current_there_is_a_hazard)
{
    make_current();
    EXECUTE(&first, vmptrld, REGION_A);
    second_vmxon();
    EXECUTE(&second, vmptrld, REGION);
    (void)expect_one(VMXSIM_HAZARD_VMCS_SHARED, REGION);
}
END_TEST

START_TEST(vmclear_on_the_wrong_processor_does_not_make_a_vmcs_inactive)
{
    make_current();
    second_vmxon();
    EXECUTE(&second, vmclear, REGION);
    expect_hazards(0);
    EXECUTE(&second, vmptrld, REGION);
    (void)expect_one(VMXSIM_HAZARD_VMCS_SHARED, REGION);
}
END_TEST

START_TEST(an_access_names_each_processor_on_which_the_vmcs_is_active)
{
    struct vmxsim_hazard hazards[2];

    make_current();
    second_vmxon();
    EXECUTE(&second, vmptrld, REGION);
    vmxsim_hazards_forget(first.memory);
    (void)vmxsim_memory_read64(first.memory, DATA);
    expect_hazards(2);
    ck_assert_uint_eq(vmxsim_hazards_last(first.memory, hazards, 2), 2);
    ck_assert_uint_ne(hazards[0].processor, hazards[1].processor);
}
END_TEST

START_TEST(a_processor_that_is_reset_or_destroyed_uses_nothing)
{
    make_current();
    insn_machine_reset(&first);
    vmxsim_memory_write64(first.memory, DATA, 1);
    second_vmxon();
    EXECUTE(&second, vmptrld, REGION);
    vmxsim_cpu_destroy(second.cpu);
    second.cpu = NULL;
    vmxsim_memory_write64(first.memory, DATA, 2);
    expect_hazards(0);
}
END_TEST

/* ---- VMXON regions, VMXOFF ---- */

START_TEST(any_access_to_a_vmxon_region_in_use_is_a_hazard)
{
    insn_machine_vmxon(&first);
    (void)vmxsim_memory_read32(first.memory, REGION_VMXON);
    expect_access(expect_one(VMXSIM_HAZARD_VMXON_ACCESS, REGION_VMXON), REGION_VMXON, 4, false);
    vmxsim_memory_write64(first.memory, REGION_VMXON + 0xff8, 1);
    expect_access(expect_one(VMXSIM_HAZARD_VMXON_ACCESS, REGION_VMXON), REGION_VMXON + 0xff8, 8,
                  true);
}
END_TEST

START_TEST(a_write_by_pointer_to_a_vmxon_region_shows_at_vmxoff)
{
    insn_machine_vmxon(&first);
    write_by_pointer(REGION_VMXON + 0x800, 1);
    EXECUTE_BARE(&first, vmxoff);
    ck_assert(expect_one(VMXSIM_HAZARD_VMXON_ACCESS, REGION_VMXON).found_later);
}
END_TEST

START_TEST(a_vmxon_region_belongs_to_one_processor)
{
    insn_machine_vmxon(&first);
    EXECUTE(&second, vmxon, REGION_VMXON);
    expect_success(&second);
    const struct vmxsim_hazard hazard = expect_one(VMXSIM_HAZARD_VMXON_SHARED, REGION_VMXON);
    ck_assert_uint_eq(hazard.processor, 0);
    ck_assert_uint_eq(hazard.other_processor, 1);
}
END_TEST

START_TEST(another_processors_vmxon_region_is_no_vmcs)
{
    insn_machine_vmxon(&first);
    second_vmxon();
    EXECUTE(&second, vmclear, REGION_VMXON);
    expect_success(&second);
    ck_assert(expect_one(VMXSIM_HAZARD_VMXON_ACCESS, REGION_VMXON).by_processor);
    EXECUTE(&second, vmptrld, REGION_VMXON);
    expect_success(&second);
    ck_assert(expect_one(VMXSIM_HAZARD_VMXON_ACCESS, REGION_VMXON).by_processor);
}
END_TEST

START_TEST(a_vmcs_that_is_active_at_vmxoff_is_a_hazard)
{
    make_current();
    EXECUTE(&first, vmptrld, REGION_A);
    EXECUTE(&first, vmclear, REGION_A);
    EXECUTE_BARE(&first, vmxoff);
    expect_success(&first);
    (void)expect_one(VMXSIM_HAZARD_VMCS_VMXOFF, REGION);
    vmxsim_memory_write64(first.memory, DATA, 1); /* it is not active any more */
    expect_hazards(0);
}
END_TEST

/* ---- The log ---- */

static void count_hazards(void *context, const struct vmxsim_hazard *hazard)
{
    ck_assert_int_eq(hazard->rule, VMXSIM_HAZARD_VMCS_READ);
    ++*(unsigned *)context;
}

START_TEST(the_log_counts_all_and_keeps_the_last)
{
    struct vmxsim_hazard hazards[VMXSIM_HAZARDS_KEPT + 1];
    unsigned calls = 0;

    make_current();
    vmxsim_memory_on_hazard(first.memory, count_hazards, &calls);
    for (uint64_t i = 0; i < 40; i++)
        (void)vmxsim_memory_read64(first.memory, DATA + 8 * i);
    ck_assert_uint_eq(calls, 40);
    expect_hazards(40);
    ck_assert_uint_eq(vmxsim_hazards_last(first.memory, hazards, VMXSIM_HAZARDS_KEPT + 1),
                      VMXSIM_HAZARDS_KEPT);
    for (uint64_t i = 0; i < VMXSIM_HAZARDS_KEPT; i++)
        ck_assert_uint_eq(hazards[i].hpa, DATA + 8 * (40 - VMXSIM_HAZARDS_KEPT + i));
    vmxsim_memory_on_hazard(first.memory, NULL, NULL);
    (void)vmxsim_memory_read64(first.memory, DATA);
    ck_assert_uint_eq(calls, 40);
}
END_TEST

START_TEST(many_vmcss_may_be_active)
{
    const uint32_t header = vmxsim_memory_read32(first.memory, REGION_A);

    insn_machine_vmxon(&first);
    for (uint64_t i = 0; i < 100; i++) { /* in no order: 37 and 100 have no common divisor */
        const uint64_t hpa = 0x100000 + 0x1000 * (37 * i % 100);
        vmxsim_memory_write32(first.memory, hpa, header);
        EXECUTE(&first, vmptrld, hpa);
        expect_success(&first);
    }
    for (uint64_t i = 0; i < 100; i += 3) {
        EXECUTE(&first, vmclear, 0x100000 + 0x1000 * i);
        expect_hazards(0);
    }
    for (uint64_t i = 0; i < 100; i++) {
        (void)vmxsim_memory_read64(first.memory, 0x100008 + 0x1000 * i);
        if (i % 3 != 0)
            (void)expect_one(VMXSIM_HAZARD_VMCS_READ, 0x100000 + 0x1000 * i);
        expect_hazards(0);
    }
}
END_TEST

/* ---- For people and programs ---- */

static void expect_text(char *text, const char *expected)
{
    ck_assert_str_eq(text, expected);
    free(text);
}

START_TEST(a_hazard_explains_itself)
{
    make_current();
    vmxsim_memory_write64(first.memory, LAST_WORD, 1);
    struct vmxsim_hazard hazard = last_hazard();
    expect_text(
        vmxsim_explain_hazard(&hazard),
        "hazard:  VMCS at 0x12000 of processor 0: write of 8 bytes at 0x12ff8\n"
        "rule:    HAZARD.VMCS.WRITE: data of an active VMCS were written through memory: the "
        "VMCS may be corrupted\n"
        "         Intel SDM volume 3, \"Software Use of Virtual-Machine Control "
        "Structures\"\n");
    expect_text(
        vmxsim_explain_hazard_json(&hazard),
        "{\n  \"processor\": 0,\n  \"region\": \"0x12000\",\n  \"access\": \"write\",\n"
        "  \"address\": \"0x12ff8\",\n  \"length\": 8,\n  \"found_later\": false,\n"
        "  \"rule\": {\n    \"id\": \"HAZARD.VMCS.WRITE\",\n    \"sentence\": \"data of an active "
        "VMCS were written through memory: the VMCS may be corrupted\",\n    \"section\": "
        "\"Software Use of Virtual-Machine Control Structures\"\n  }\n}\n");
}
END_TEST

START_TEST(a_hazard_of_two_processors_names_both)
{
    insn_machine_vmxon(&first);
    EXECUTE(&second, vmxon, REGION_VMXON);
    const struct vmxsim_hazard hazard = last_hazard();
    expect_text(
        vmxsim_explain_hazard(&hazard),
        "hazard:  VMXON region at 0x10000 of processor 0, used by processor 1\n"
        "rule:    HAZARD.VMXON.SHARED: a VMXON region is in use by more than one processor\n"
        "         Intel SDM volume 3, \"VMXON Region\"\n");
    char *const json = vmxsim_explain_hazard_json(&hazard);
    ck_assert_ptr_nonnull(strstr(json, "\"other_processor\": 1"));
    ck_assert_ptr_null(strstr(json, "\"access\""));
    free(json);
}
END_TEST

START_TEST(a_change_that_was_seen_later_says_so)
{
    make_current();
    write_by_pointer(LAST_WORD, 1);
    EXECUTE(&first, vmclear, REGION);
    const struct vmxsim_hazard hazard = last_hazard();
    char *const text = vmxsim_explain_hazard(&hazard);
    ck_assert_ptr_nonnull(strstr(text, "contents of 0x12008 to 0x12fff changed, seen later"));
    free(text);
}
END_TEST

START_TEST(a_rule_that_is_none_has_empty_texts)
{
    ck_assert_str_eq(vmxsim_hazard_rule_info(VMXSIM_HAZARD_RULE_COUNT)->id, "");
    ck_assert_str_eq(vmxsim_hazard_rule_info(VMXSIM_HAZARD_VMXON_SHARED)->section, "VMXON Region");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("hazard");
    TCase *tcase = tcase_create("core");

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, a_region_that_is_not_in_use_is_ordinary_memory);
    tcase_add_test(tcase, the_header_may_be_read_and_the_abort_indicator_written);
    tcase_add_test(tcase, the_processors_own_work_on_regions_is_no_hazard);
    tcase_add_test(tcase, a_vmcs_may_move_after_vmclear);
    tcase_add_test(tcase, a_refused_vmptrld_makes_nothing_active);
    tcase_add_test(tcase, accesses_to_a_current_vmcs_are_hazards_as_far_as_they_touch_its_data);
    tcase_add_test(tcase, accesses_by_word_are_hazards);
    tcase_add_test(tcase, a_vmcs_stays_active_when_another_becomes_current);
    tcase_add_test(tcase, a_write_through_memory_does_not_reach_a_current_vmcs);
    tcase_add_test(tcase, the_shadow_indicator_of_an_active_vmcs_is_not_to_be_changed);
    tcase_add_test(tcase, guest_accesses_that_reach_an_active_vmcs_are_hazards);
    tcase_add_test(tcase, paging_structures_in_an_active_vmcs_are_a_hazard);
    tcase_add_test(tcase, a_write_by_pointer_shows_when_the_vmcs_goes_back_to_memory);
    tcase_add_test(tcase, a_write_by_pointer_shows_when_an_active_vmcs_becomes_current_again);
    tcase_add_test(tcase, memory_that_starts_over_is_no_write);
    tcase_add_test(tcase, a_vmcs_that_is_active_on_two_processors_is_a_hazard);
    tcase_add_test(tcase, a_vmcs_that_is_active_elsewhere_and_not_current_there_is_a_hazard);
    tcase_add_test(tcase, vmclear_on_the_wrong_processor_does_not_make_a_vmcs_inactive);
    tcase_add_test(tcase, an_access_names_each_processor_on_which_the_vmcs_is_active);
    tcase_add_test(tcase, a_processor_that_is_reset_or_destroyed_uses_nothing);
    tcase_add_test(tcase, any_access_to_a_vmxon_region_in_use_is_a_hazard);
    tcase_add_test(tcase, a_write_by_pointer_to_a_vmxon_region_shows_at_vmxoff);
    tcase_add_test(tcase, a_vmxon_region_belongs_to_one_processor);
    tcase_add_test(tcase, another_processors_vmxon_region_is_no_vmcs);
    tcase_add_test(tcase, a_vmcs_that_is_active_at_vmxoff_is_a_hazard);
    tcase_add_test(tcase, the_log_counts_all_and_keeps_the_last);
    tcase_add_test(tcase, many_vmcss_may_be_active);
    tcase_add_test(tcase, a_hazard_explains_itself);
    tcase_add_test(tcase, a_hazard_of_two_processors_names_both);
    tcase_add_test(tcase, a_change_that_was_seen_later_says_so);
    tcase_add_test(tcase, a_rule_that_is_none_has_empty_texts);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
