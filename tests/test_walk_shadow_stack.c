/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shadow-stack accesses: guest paging, error codes, the supervisor shadow-stack control of EPT.
 * Source: Intel SDM volume 3, "Determination of Access Rights", "Page-Fault Exceptions", "EPT Violations", "Exit
 * Qualification for EPT Violations".
 */
#include "support/layout.h"
#include "support/suite.h"

#include <check.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define P VMXC_BIT(0)
#define W VMXC_BIT(1)
#define U VMXC_BIT(2)
#define D VMXC_BIT(6)

/* Page-fault error code. */
#define EC_P  1u
#define EC_W  2u
#define EC_U  4u
#define EC_PK 0x20u
#define EC_SS 0x40u

#define SSS  VMXC_BIT(60)
#define EPT7 VMXC_BIT(7)

static struct machine machine;
static struct layout layout;

static void arrange(enum guest_mode mode, unsigned ept_leaf, uint64_t eptp_bits)
{
    const struct layout_options options = {
        .mode = mode, .ept_levels = 4, .ept_leaf = ept_leaf, .guest_flags_set = true};
    layout_build(&layout, &machine, &options);
    VMXSIM_VMCS(&machine.vmcs, EPT_POINTER) |= eptp_bits;
    VMXSIM_VMCS(&machine.vmcs, GUEST_CR0) |= VMXC_CR0_WP;
    VMXSIM_VMCS(&machine.vmcs, GUEST_CR4) |= VMXC_CR4_CET;
    machine_load(&machine);
}

static void set_up(void)
{
    machine_init(&machine, NULL);
    arrange(GUEST_4LEVEL, 1, 0);
}

static void tear_down(void)
{
    machine_fini(&machine);
}

static struct vmxsim_access shadow_access(enum vmxsim_access_type type)
{
    struct vmxsim_access access = {
        .type = type, .linear = layout.linear, .size = 8, .shadow_stack = true};
    memset(access.data, 0x5a, access.size);
    return access;
}

static struct vmxsim_outcome shadow(enum vmxsim_access_type type)
{
    const struct vmxsim_access access = shadow_access(type);
    return machine_access_as(&machine, &access, NULL);
}

static void set_cpl(unsigned cpl)
{
    machine_set_cpl(&machine, cpl);
    machine_load(&machine);
}

/* Gives the guest's leaf these bits 6 and 2:0, keeping all others. */
static void set_pte(uint64_t bits)
{
    const uint64_t value = layout.guest_value[1] & ~(P | W | U | D);
    layout_set_guest_entry(&layout, &machine, 1, value | bits);
}

static void expect_complete(const struct vmxsim_outcome *outcome)
{
    ck_assert_msg(outcome->kind == VMXSIM_OUTCOME_COMPLETE, "%s", machine_outcome_text(outcome));
}

static void expect_fault(const struct vmxsim_outcome *outcome, uint32_t error_code,
                         enum vmxsim_walk_rule rule)
{
    ck_assert_msg(outcome->kind == VMXSIM_OUTCOME_GUEST_EXCEPTION && outcome->vector == 14 &&
                      outcome->error_code == error_code && outcome->rule == rule,
                  "expected error %#x, observed %s", error_code, machine_outcome_text(outcome));
}

/* ---- Accesses that are none ---- */

START_TEST(without_cet_or_as_a_fetch_there_is_no_such_access)
{
    struct vmxsim_access access = shadow_access(VMXSIM_ACCESS_FETCH);
    struct vmxsim_outcome outcome;
    ck_assert_int_eq(vmxsim_guest_access(machine.cpu, &access, &outcome, NULL), VMXC_INVALID_INPUT);
    VMXSIM_VMCS(&machine.vmcs, GUEST_CR4) &= ~VMXC_CR4_CET;
    machine_load(&machine);
    access.type = VMXSIM_ACCESS_READ;
    ck_assert_int_eq(vmxsim_guest_access(machine.cpu, &access, &outcome, NULL), VMXC_INVALID_INPUT);
}
END_TEST

/* ---- Guest paging: bits of the leaf and, at `level`, R/W of another entry cleared ---- */

static const struct {
    unsigned cpl;
    uint64_t leaf;
    unsigned read_only_level; /* 0: none */
    uint32_t reason;          /* error code without bits 1 and 2; 0: allowed */
    enum vmxsim_walk_rule rule;
} rights[] = {
    {0, 0, 0, EC_SS, VMXSIM_RULE_PG_NOT_PRESENT},
    {0, W | U | D, 0, EC_SS, VMXSIM_RULE_PG_NOT_PRESENT},
    {0, P, 0, EC_SS | EC_P, VMXSIM_RULE_PG_SHADOW_STACK},
    {0, P | W, 0, EC_SS | EC_P, VMXSIM_RULE_PG_SHADOW_STACK},
    {0, P | W | D, 0, EC_SS | EC_P, VMXSIM_RULE_PG_SHADOW_STACK},
    {0, P | D | U, 0, EC_SS | EC_P, VMXSIM_RULE_PG_SHADOW_STACK_MODE},
    {0, P | D, 2, EC_SS | EC_P, VMXSIM_RULE_PG_SHADOW_STACK},
    {0, P | D, 3, EC_SS | EC_P, VMXSIM_RULE_PG_SHADOW_STACK},
    {0, P | D, 4, EC_SS | EC_P, VMXSIM_RULE_PG_SHADOW_STACK},
    {3, P | D, 0, EC_SS | EC_P, VMXSIM_RULE_PG_SHADOW_STACK_MODE},
    {3, P | U, 0, EC_SS | EC_P, VMXSIM_RULE_PG_SHADOW_STACK},
    {3, P | W | U | D, 0, EC_SS | EC_P, VMXSIM_RULE_PG_SHADOW_STACK},
    {3, P | U | D, 4, EC_SS | EC_P, VMXSIM_RULE_PG_SHADOW_STACK},
    {0, P | D, 0, 0, VMXSIM_RULE_NONE},
    {3, P | D | U, 0, 0, VMXSIM_RULE_NONE},
};

START_TEST(only_a_shadow_stack_page_of_the_same_mode_will_do)
{
    static const enum vmxsim_access_type types[] = {VMXSIM_ACCESS_READ, VMXSIM_ACCESS_WRITE,
                                                    VMXSIM_ACCESS_RMW};
    set_cpl(rights[_i].cpl);
    set_pte(rights[_i].leaf);
    if (rights[_i].read_only_level)
        layout_set_guest_entry(&layout, &machine, rights[_i].read_only_level,
                               layout.guest_value[rights[_i].read_only_level] & ~W);
    for (unsigned i = 0; i < 3; i++) {
        const struct vmxsim_outcome outcome = shadow(types[i]);
        if (rights[_i].rule == VMXSIM_RULE_NONE)
            expect_complete(&outcome);
        else
            expect_fault(&outcome, rights[_i].reason | (i ? EC_W : 0) | (rights[_i].cpl ? EC_U : 0),
                         rights[_i].rule);
    }
}
END_TEST

START_TEST(an_implicit_access_at_cpl_3_is_a_supervisor_access)
{
    struct vmxsim_access access = shadow_access(VMXSIM_ACCESS_WRITE);
    access.implicit = true;
    set_cpl(3);
    set_pte(P | D | U);
    struct vmxsim_outcome outcome = machine_access_as(&machine, &access, NULL);
    expect_fault(&outcome, EC_SS | EC_P | EC_W, VMXSIM_RULE_PG_SHADOW_STACK_MODE);
    set_pte(P | D);
    outcome = machine_access_as(&machine, &access, NULL);
    expect_complete(&outcome);
}
END_TEST

START_TEST(ordinary_accesses_read_and_do_not_write_the_page)
{
    set_pte(P | D);
    struct vmxsim_outcome outcome = machine_access(&machine, VMXSIM_ACCESS_READ, layout.linear, 8);
    expect_complete(&outcome);
    outcome = machine_access(&machine, VMXSIM_ACCESS_WRITE, layout.linear, 8);
    expect_fault(&outcome, EC_P | EC_W, VMXSIM_RULE_PG_WRITE_S);
}
END_TEST

START_TEST(protection_keys_count)
{
    set_cpl(3);
    VMXSIM_VMCS(&machine.vmcs, GUEST_CR4) |= VMXC_CR4_PKE;
    machine_load(&machine);
    set_pte(P | D | U);
    vmxsim_cpu_set_pkru(machine.cpu, 2); /* key 0: no writes */
    struct vmxsim_outcome outcome = shadow(VMXSIM_ACCESS_READ);
    expect_complete(&outcome);
    outcome = shadow(VMXSIM_ACCESS_WRITE);
    expect_fault(&outcome, EC_SS | EC_PK | EC_P | EC_W | EC_U, VMXSIM_RULE_PG_PK);
    vmxsim_cpu_set_pkru(machine.cpu, 1); /* no accesses */
    outcome = shadow(VMXSIM_ACCESS_READ);
    expect_fault(&outcome, EC_SS | EC_PK | EC_P | EC_U, VMXSIM_RULE_PG_PK);
}
END_TEST

/* The rule does not depend on the format: 4-byte entries, PDPTE registers without R/W, 5 levels. */
START_TEST(every_paging_mode_has_shadow_stack_pages)
{
    arrange((enum guest_mode)_i, 1, 0);
    set_pte(P | W | D);
    struct vmxsim_outcome outcome = shadow(VMXSIM_ACCESS_READ);
    expect_fault(&outcome, EC_SS | EC_P, VMXSIM_RULE_PG_SHADOW_STACK);
    set_pte(P | D);
    outcome = shadow(VMXSIM_ACCESS_WRITE);
    expect_complete(&outcome);
    ck_assert_uint_eq(machine_read(&machine, layout_access_hpa(&layout, 0)),
                      UINT64_C(0x5a5a5a5a5a5a5a5a));
}
END_TEST

START_TEST(without_paging_ept_alone_decides)
{
    arrange(GUEST_NONE, 1, 0);
    const struct vmxsim_outcome outcome = shadow(VMXSIM_ACCESS_WRITE);
    expect_complete(&outcome);
}
END_TEST

/* ---- EPT: the leaf gets `set` and loses `clear`, the entry of `level` above loses `above` ---- */

#define V_BASE        (VMXC_BIT(7) | VMXC_BIT(8)) /* linear address valid and translated */
#define V_SS          VMXC_BIT(13)
#define V_SSS         VMXC_BIT(14)
#define V_RWX(rights) ((uint64_t)(rights) << 3)

static const struct {
    uint64_t eptp;
    unsigned cpl;
    enum vmxsim_access_type type;
    uint64_t leaf_set, leaf_clear;
    unsigned level;
    uint64_t above;
    uint64_t qualification; /* 0: allowed; bits 9 to 11 left out */
    enum vmxsim_walk_rule rule;
} ept[] = {
    /* Without the control bit 60 means nothing: reads need R, writes need W. */
    {0, 0, VMXSIM_ACCESS_WRITE, SSS, VMXC_EPT_WRITE, 0, 0, V_BASE | V_SS | V_RWX(5) | 2,
     VMXSIM_RULE_EPT_RIGHTS},
    {0, 0, VMXSIM_ACCESS_READ, 0, VMXC_EPT_WRITE, 0, 0, 0, VMXSIM_RULE_NONE},
    {0, 0, VMXSIM_ACCESS_WRITE, 0, 0, 0, 0, 0, VMXSIM_RULE_NONE},
    /* With it supervisor accesses need bit 60, reads too, and W in the leaf does not help. */
    {EPT7, 0, VMXSIM_ACCESS_READ, 0, 0, 0, 0, V_BASE | V_SS | V_RWX(7) | 1,
     VMXSIM_RULE_EPT_SHADOW_STACK},
    {EPT7, 0, VMXSIM_ACCESS_WRITE, 0, 0, 0, 0, V_BASE | V_SS | V_RWX(7) | 2,
     VMXSIM_RULE_EPT_SHADOW_STACK},
    {EPT7, 0, VMXSIM_ACCESS_RMW, 0, 0, 0, 0, V_BASE | V_SS | V_RWX(7) | 3,
     VMXSIM_RULE_EPT_SHADOW_STACK},
    {EPT7, 0, VMXSIM_ACCESS_READ, SSS, VMXC_EPT_READ | VMXC_EPT_WRITE, 0, 0,
     V_BASE | V_SS | V_SSS | V_RWX(4) | 1, VMXSIM_RULE_EPT_SHADOW_STACK},
    {EPT7, 0, VMXSIM_ACCESS_READ, SSS, 0, 2, VMXC_EPT_WRITE, V_BASE | V_SS | V_SSS | V_RWX(5) | 1,
     VMXSIM_RULE_EPT_SHADOW_STACK},
    {EPT7, 0, VMXSIM_ACCESS_READ, SSS, 0, 4, VMXC_EPT_WRITE, V_BASE | V_SS | V_SSS | V_RWX(5) | 1,
     VMXSIM_RULE_EPT_SHADOW_STACK},
    {EPT7, 0, VMXSIM_ACCESS_WRITE, SSS, 0, 3, VMXC_EPT_READ | VMXC_EPT_WRITE,
     V_BASE | V_SS | V_SSS | V_RWX(4) | 2, VMXSIM_RULE_EPT_SHADOW_STACK},
    /* Without mode-based execute control bit 10 of the entry does not make it present, nor is it missed. */
    {EPT7, 0, VMXSIM_ACCESS_READ, SSS, VMXC_EPT_READ | VMXC_EPT_WRITE | VMXC_EPT_USER_EXECUTE, 0, 0,
     V_BASE | V_SS | V_SSS | V_RWX(4) | 1, VMXSIM_RULE_EPT_SHADOW_STACK},
    {EPT7, 0, VMXSIM_ACCESS_READ, SSS, VMXC_EPT_RWX, 0, 0, V_BASE | V_SS | 1,
     VMXSIM_RULE_EPT_NOT_PRESENT},
    /* A walk that reaches no page: bit 14 is undefined, 0 here, whatever the entry's bit 60. */
    {EPT7, 0, VMXSIM_ACCESS_READ, SSS, EPT_ALL, 0, 0, V_BASE | V_SS | 1,
     VMXSIM_RULE_EPT_NOT_PRESENT},
    {EPT7, 0, VMXSIM_ACCESS_WRITE, SSS, VMXC_EPT_WRITE, 0, 0, 0, VMXSIM_RULE_NONE},
    {EPT7, 0, VMXSIM_ACCESS_READ, SSS, VMXC_EPT_WRITE, 0, 0, 0, VMXSIM_RULE_NONE},
    {EPT7, 0, VMXSIM_ACCESS_RMW, SSS, VMXC_EPT_WRITE, 0, 0, 0, VMXSIM_RULE_NONE},
    {EPT7, 0, VMXSIM_ACCESS_WRITE, SSS, 0, 0, 0, 0, VMXSIM_RULE_NONE},
    /* User shadow-stack accesses are ordinary ones to EPT. */
    {EPT7, 3, VMXSIM_ACCESS_WRITE, SSS, VMXC_EPT_WRITE, 0, 0, V_BASE | V_SS | V_SSS | V_RWX(5) | 2,
     VMXSIM_RULE_EPT_RIGHTS},
    {EPT7, 3, VMXSIM_ACCESS_WRITE, 0, 0, 0, 0, 0, VMXSIM_RULE_NONE},
    {EPT7, 3, VMXSIM_ACCESS_READ, 0, VMXC_EPT_WRITE, 0, 0, 0, VMXSIM_RULE_NONE},
};

static void check_ept(unsigned i, unsigned leaf)
{
    arrange(GUEST_4LEVEL, leaf, ept[i].eptp);
    set_cpl(ept[i].cpl);
    set_pte(P | D | (ept[i].cpl ? U : 0));
    machine_write(&machine, layout.ept_entry[0][leaf],
                  (layout.ept_value[0][leaf] & ~ept[i].leaf_clear) | ept[i].leaf_set);
    if (ept[i].level > leaf) {
        /* The layout shares upper entries with no other region in 4-level mode. */
        ck_assert_uint_le(ept[i].level, layout.top_own_level);
        machine_write(&machine, layout.ept_entry[0][ept[i].level],
                      layout.ept_value[0][ept[i].level] & ~ept[i].above);
    }
    const struct vmxsim_outcome outcome = shadow(ept[i].type);
    if (ept[i].rule == VMXSIM_RULE_NONE) {
        expect_complete(&outcome);
        return;
    }
    ck_assert_msg(outcome.kind == VMXSIM_OUTCOME_VM_EXIT &&
                      outcome.exit_reason == EXIT_EPT_VIOLATION && outcome.rule == ept[i].rule &&
                      (outcome.qualification & ~VMXC_BITS(11, 9)) == ept[i].qualification,
                  "case %u: expected %#" PRIx64 ", observed %s", i, ept[i].qualification,
                  machine_outcome_text(&outcome));
}

START_TEST(ept_decides_about_supervisor_accesses_by_bit_60)
{
    check_ept((unsigned)_i, 1);
}
END_TEST

START_TEST(large_pages_have_the_bit_in_their_own_entry)
{
    if (ept[_i].level == 0 || ept[_i].level == 4)
        for (unsigned leaf = 2; leaf <= 3; leaf++)
            check_ept((unsigned)_i, leaf);
}
END_TEST

/* Ordinary accesses ignore bit 60 but report it. */
START_TEST(ordinary_violations_report_bit_60_of_the_leaf)
{
    arrange(GUEST_4LEVEL, 1, _i ? EPT7 : 0);
    machine_write(&machine, layout.ept_entry[0][1],
                  (layout.ept_value[0][1] & ~VMXC_EPT_WRITE) | SSS);
    struct vmxsim_outcome outcome = machine_access(&machine, VMXSIM_ACCESS_READ, layout.linear, 8);
    expect_complete(&outcome);
    outcome = machine_access(&machine, VMXSIM_ACCESS_WRITE, layout.linear, 8);
    ck_assert_int_eq(outcome.rule, VMXSIM_RULE_EPT_RIGHTS);
    ck_assert_uint_eq(outcome.qualification & ~VMXC_BITS(11, 9),
                      V_BASE | (_i ? V_SSS : 0) | V_RWX(5) | 2);
}
END_TEST

/* The walk of guest paging structures is no shadow-stack access: neither bit 60 nor qualification bit 13. */
START_TEST(page_walks_are_ordinary_accesses)
{
    arrange(GUEST_4LEVEL, 1, EPT7);
    set_pte(P | D);
    machine_write(&machine, layout.ept_entry[0][1], layout.ept_value[0][1] | SSS);
    struct vmxsim_outcome outcome = shadow(VMXSIM_ACCESS_READ);
    expect_complete(&outcome);
    machine_write(&machine, layout.ept_entry[1][1], layout.ept_value[1][1] & ~EPT_ALL);
    outcome = shadow(VMXSIM_ACCESS_READ);
    ck_assert_uint_eq(outcome.qualification, VMXC_BIT(7) | 1);
}
END_TEST

START_TEST(a_shadow_stack_write_sets_the_dirty_flag_of_ept)
{
    arrange(GUEST_4LEVEL, 1, EPT7 | VMXC_EPTP_ACCESSED_DIRTY);
    set_pte(P | D);
    machine_write(&machine, layout.ept_entry[0][1],
                  (layout.ept_value[0][1] & ~VMXC_EPT_WRITE) | SSS);
    struct vmxsim_outcome outcome = shadow(VMXSIM_ACCESS_READ);
    expect_complete(&outcome);
    ck_assert_uint_eq(machine_read(&machine, layout.ept_entry[0][1]) & VMXC_BITS(9, 8),
                      VMXC_BIT(8));
    outcome = shadow(VMXSIM_ACCESS_WRITE);
    expect_complete(&outcome);
    ck_assert_uint_eq(machine_read(&machine, layout.ept_entry[0][1]) & VMXC_BITS(9, 8),
                      VMXC_BITS(9, 8));
}
END_TEST

int main(void)
{
    Suite *const suite = suite_create("walk_shadow_stack");
    TCase *const tests = tcase_create("tests");
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_test(tests, without_cet_or_as_a_fetch_there_is_no_such_access);
    tcase_add_loop_test(tests, only_a_shadow_stack_page_of_the_same_mode_will_do, 0,
                        sizeof(rights) / sizeof(rights[0]));
    tcase_add_test(tests, an_implicit_access_at_cpl_3_is_a_supervisor_access);
    tcase_add_test(tests, ordinary_accesses_read_and_do_not_write_the_page);
    tcase_add_test(tests, protection_keys_count);
    tcase_add_loop_test(tests, every_paging_mode_has_shadow_stack_pages, GUEST_32BIT, GUEST_MODES);
    tcase_add_test(tests, without_paging_ept_alone_decides);
    tcase_add_loop_test(tests, ept_decides_about_supervisor_accesses_by_bit_60, 0,
                        sizeof(ept) / sizeof(ept[0]));
    tcase_add_loop_test(tests, large_pages_have_the_bit_in_their_own_entry, 0,
                        sizeof(ept) / sizeof(ept[0]));
    tcase_add_loop_test(tests, ordinary_violations_report_bit_60_of_the_leaf, 0, 2);
    tcase_add_test(tests, page_walks_are_ordinary_accesses);
    tcase_add_test(tests, a_shadow_stack_write_sets_the_dirty_flag_of_ept);
    suite_add_tcase(suite, tests);

    return run_suite(suite);
}
