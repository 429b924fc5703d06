/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Accesses that cross a page boundary, and linear addresses that are not canonical.
 * Source: Intel SDM volume 3, chapter "Paging"; volume 1, "Canonical Addressing".
 */
#include "support/layout.h"

#include <check.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define READ  VMXSIM_ACCESS_READ
#define WRITE VMXSIM_ACCESS_WRITE

#define SECOND_HPA UINT64_C(0x3000000)

static struct machine machine;
static struct layout layout;

static void set_up(void)
{
    machine_init(&machine, NULL);
}

static void tear_down(void)
{
    machine_fini(&machine);
}

static void build(enum guest_mode mode)
{
    const struct layout_options options = {.mode = mode, .ept_levels = 5, .ept_leaf = 1};
    layout_build(&layout, &machine, &options);
}

static void expect_fault(const struct vmxsim_outcome *outcome, uint64_t error, uint64_t cr2,
                         const char *what)
{
    ck_assert_msg(outcome->kind == VMXSIM_OUTCOME_GUEST_EXCEPTION &&
                      outcome->vector == VMXC_VECTOR_PF && outcome->has_error_code &&
                      outcome->error_code == error && outcome->cr2 == cr2,
                  "%s: expected #PF %#" PRIx64 " at %#" PRIx64 ", observed %s", what, error, cr2,
                  machine_outcome_text(outcome));
}

/* ---- Accesses across two pages ---- */

#define SPLIT 3u /* bytes of the access on its first page */

/* The next 4-KByte page of the linear space is mapped to another page, far away. */
static uint64_t build_two_pages(enum guest_mode mode)
{
    build(mode);
    const uint64_t entry_size = mode == GUEST_32BIT ? 4 : 8;
    const uint64_t second_gpa = layout.gpa[0] + 8 * VMXC_PAGE_SIZE;
    const uint64_t entry = layout.guest_entry[1] + entry_size;
    machine_ept_map(&machine, second_gpa, SECOND_HPA, 1);
    if (mode == GUEST_32BIT)
        vmxsim_memory_write32(machine.memory, entry, (uint32_t)(second_gpa | 7));
    else if (mode != GUEST_NONE)
        machine_write(&machine, entry, second_gpa | 7);
    else
        machine_ept_map(&machine, layout.gpa[0] + VMXC_PAGE_SIZE, SECOND_HPA, 1);
    machine_write(&machine, SECOND_HPA, 0);
    machine_write(&machine, layout.hpa[0] + VMXC_PAGE_SIZE - 8, 0);
    machine_load(&machine);
    return mode == GUEST_NONE ? layout.gpa[0] + VMXC_PAGE_SIZE : second_gpa;
}

static uint64_t split_linear(void)
{
    return (layout.linear & ~VMXC_PAGE_MASK) + VMXC_PAGE_SIZE - SPLIT;
}

START_TEST(an_access_across_two_pages_uses_both_translations)
{
    for (enum guest_mode mode = 0; mode < GUEST_MODES; mode++) {
        const uint64_t second_gpa = build_two_pages(mode);
        struct vmxsim_access access = {.type = WRITE, .linear = split_linear(), .size = 8};
        memcpy(access.data, "\x01\x02\x03\x04\x05\x06\x07\x08", 8);
        struct vmxsim_outcome outcome = machine_access_as(&machine, &access, NULL);
        ck_assert_int_eq(outcome.kind, VMXSIM_OUTCOME_COMPLETE);
        ck_assert_uint_eq(outcome.page_count, 2);
        ck_assert_uint_eq(outcome.page[0].length, SPLIT);
        ck_assert_uint_eq(outcome.page[1].length, 8 - SPLIT);
        ck_assert_uint_eq(outcome.page[1].gpa, second_gpa);
        ck_assert_uint_eq(outcome.page[1].hpa, SECOND_HPA);
        ck_assert_uint_eq(machine_read(&machine, layout.hpa[0] + VMXC_PAGE_SIZE - 8),
                          UINT64_C(0x0302010000000000));
        ck_assert_uint_eq(machine_read(&machine, SECOND_HPA), UINT64_C(0x0807060504));
        access.type = READ;
        outcome = machine_access_as(&machine, &access, NULL);
        ck_assert_mem_eq(outcome.data, "\x01\x02\x03\x04\x05\x06\x07\x08", 8);
    }
}
END_TEST

/* The fault on the second page reports that page's first byte, and the bytes for the first page did not move. */
START_TEST(a_fault_on_the_second_page_moves_nothing)
{
    for (enum guest_mode mode = GUEST_32BIT; mode < GUEST_MODES; mode++) {
        build_two_pages(mode);
        const uint64_t entry = layout.guest_entry[1] + (mode == GUEST_32BIT ? 4 : 8);
        vmxsim_memory_write32(machine.memory, entry, 0);
        const struct vmxsim_outcome outcome = machine_access(&machine, WRITE, split_linear(), 8);
        expect_fault(&outcome, VMXC_PF_WRITE, split_linear() + SPLIT, guest_mode_names[mode]);
        ck_assert_uint_eq(outcome.page_count, 1);
        ck_assert_uint_eq(machine_read(&machine, layout.hpa[0] + VMXC_PAGE_SIZE - 8), 0);
    }
}
END_TEST

START_TEST(an_ept_violation_on_the_second_page_names_its_first_byte)
{
    for (enum guest_mode mode = 0; mode < GUEST_MODES; mode++) {
        const uint64_t second_gpa = build_two_pages(mode);
        machine_write(&machine, machine_ept_entry(&machine, second_gpa, 1), 0);
        const struct vmxsim_outcome outcome = machine_access(&machine, WRITE, split_linear(), 8);
        ck_assert_uint_eq(outcome.exit_reason, EXIT_EPT_VIOLATION);
        ck_assert_uint_eq(outcome.qualification & 0x1ff, 0x182);
        ck_assert_uint_eq(outcome.guest_linear, split_linear() + SPLIT);
        ck_assert_uint_eq(outcome.guest_physical, second_gpa);
        ck_assert_uint_eq(machine_read(&machine, layout.hpa[0] + VMXC_PAGE_SIZE - 8), 0);
    }
}
END_TEST

START_TEST(the_lower_page_is_translated_first)
{
    build_two_pages(GUEST_4LEVEL);
    layout_set_guest_entry(&layout, &machine, 1, 0);
    machine_write(&machine, layout.guest_entry[1] + 8, 0);
    const struct vmxsim_outcome outcome = machine_access(&machine, READ, split_linear(), 8);
    expect_fault(&outcome, 0, split_linear(), "both pages missing");
    ck_assert_uint_eq(outcome.page_count, 0);
}
END_TEST

/* An access that ends exactly at the page's end does not look at the next page. */
START_TEST(an_access_up_to_the_end_of_a_page_stays_there)
{
    build(GUEST_4LEVEL);
    machine_load(&machine);
    const uint64_t linear = (layout.linear & ~VMXC_PAGE_MASK) + VMXC_PAGE_SIZE - 8;
    ck_assert_int_eq(machine_access(&machine, WRITE, linear, 8).kind, VMXSIM_OUTCOME_COMPLETE);
    const struct vmxsim_outcome outcome = machine_access(&machine, WRITE, linear, 9);
    expect_fault(&outcome, VMXC_PF_WRITE, linear + 8, "one byte too many");
}
END_TEST

/* ---- Canonical addresses ---- */

static const struct {
    enum guest_mode mode;
    uint64_t linear;
    bool canonical;
} linear_addresses[] = {
    {GUEST_4LEVEL, UINT64_C(0x0000800000000000), false},
    {GUEST_4LEVEL, UINT64_C(0xffff7fffffffffff), false},
    {GUEST_4LEVEL, UINT64_C(0x8000000000000000), false},
    {GUEST_4LEVEL, UINT64_C(0x7fff800000000000), false},
    {GUEST_4LEVEL, UINT64_C(0x0100000000001000), false},
    {GUEST_4LEVEL, UINT64_C(0xff00000000001000), false},
    {GUEST_4LEVEL, UINT64_C(0x00007fffffffffff), true},
    {GUEST_4LEVEL, UINT64_C(0xffff800000000000), true},
    {GUEST_4LEVEL, UINT64_C(0xffffffffffffffff), true},
    {GUEST_5LEVEL, UINT64_C(0x0100000000000000), false},
    {GUEST_5LEVEL, UINT64_C(0xfeffffffffffffff), false},
    {GUEST_5LEVEL, UINT64_C(0x8000000000000000), false},
    {GUEST_5LEVEL, UINT64_C(0x0000800000000000), true},
    {GUEST_5LEVEL, UINT64_C(0x00ffffffffffffff), true},
    {GUEST_5LEVEL, UINT64_C(0xff00000000000000), true},
};

/* A canonical address that nothing maps is a #PF; any other is #GP(0) before paging is consulted. */
START_TEST(addresses_that_are_not_canonical_are_gp)
{
    build(linear_addresses[_i].mode);
    machine_load(&machine);
    const struct vmxsim_outcome outcome =
        machine_access(&machine, READ, linear_addresses[_i].linear, 1);
    ck_assert_int_eq(outcome.kind, VMXSIM_OUTCOME_GUEST_EXCEPTION);
    ck_assert(outcome.has_error_code);
    ck_assert_uint_eq(outcome.error_code, 0);
    ck_assert_uint_eq(outcome.vector,
                      linear_addresses[_i].canonical ? VMXC_VECTOR_PF : VMXC_VECTOR_GP);
    if (!linear_addresses[_i].canonical)
        ck_assert_int_eq(outcome.rule, VMXSIM_RULE_PG_CANONICAL);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("guest_accesses");
    TCase *crossing = tcase_create("two pages");
    tcase_add_checked_fixture(crossing, set_up, tear_down);
    tcase_add_test(crossing, a_fault_on_the_second_page_moves_nothing);
    tcase_add_test(crossing, an_ept_violation_on_the_second_page_names_its_first_byte);
    tcase_add_test(crossing, the_lower_page_is_translated_first);
    tcase_add_test(crossing, an_access_up_to_the_end_of_a_page_stays_there);
    tcase_add_test(crossing, an_access_across_two_pages_uses_both_translations);
    suite_add_tcase(s, crossing);
    TCase *canonical = tcase_create("canonical");
    tcase_add_checked_fixture(canonical, set_up, tear_down);
    tcase_add_loop_test(canonical, addresses_that_are_not_canonical_are_gp, 0,
                        (int)(sizeof(linear_addresses) / sizeof(linear_addresses[0])));
    suite_add_tcase(s, canonical);
    return s;
}

int main(void)
{
    SRunner *runner = srunner_create(suite());
    srunner_run_all(runner, CK_NORMAL);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
