/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sub-page write permissions. Source: Intel SDM volume 3, "Sub-Page Write Permissions", "Exit Qualification for SPP-Induced
 * VM Exits".
 *
 * The page of the layout is readable and not writable, its EPT leaf has bit 61; the table allows writes to sub-page 2
 * (offsets 100H to 17FH) alone, which holds the layout's access (offset 128H).
 */
#include "support/layout.h"
#include "support/suite.h"

#include <check.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define SPP          VMXC_BIT(61)
#define MISS         VMXC_BIT(11)
#define VECTOR       (UINT64_C(1) << 4) /* bit 2 * 2 */
#define PAGE_START   (layout.linear - LAYOUT_PAGE_OFFSET)
#define INDEX(level) ((layout.gpa[0] >> (12 + 9 * ((level)-1))) & 511)

/* EPT violation: the linear address is valid and translated, advanced information: user, writable; R and X given. */
#define VIOLATION (VMXC_BITS(10, 7) | VMXC_BIT(5) | VMXC_BIT(3))

static struct machine machine;
static struct layout layout;
static uint64_t table_entry[5]; /* host address of the entry, by level; 1: the vector */

static void build_table(void)
{
    uint64_t table = machine_new_table(&machine);

    VMXSIM_VMCS(&machine.vmcs, SUB_PAGE_PERMISSION_TABLE_POINTER) = table;
    for (unsigned level = 4; level > 1; level--) {
        const uint64_t next = machine_new_table(&machine);
        table_entry[level] = table + 8 * INDEX(level);
        machine_write(&machine, table_entry[level], next | 1);
        table = next;
    }
    table_entry[1] = table + 8 * INDEX(1);
    machine_write(&machine, table_entry[1], VECTOR);
}

static void set_leaf(uint64_t set, uint64_t clear)
{
    const uint64_t value = layout.ept_value[0][layout.ept_leaf];
    machine_write(&machine, layout.ept_entry[0][layout.ept_leaf], (value & ~clear) | set);
}

static void arrange(struct layout_options options)
{
    layout_build(&layout, &machine, &options);
    VMXSIM_VMCS(&machine.vmcs, SECONDARY_PROCESSOR_BASED_CONTROLS) |= CTL2_SUB_PAGE_WRITE;
    build_table();
    set_leaf(SPP, VMXC_EPT_WRITE);
    machine_load(&machine);
}

static const struct layout_options plain = {.mode = GUEST_4LEVEL, .ept_levels = 4, .ept_leaf = 1};

static void set_up(void)
{
    machine_init(&machine, NULL);
    arrange(plain);
}

static void tear_down(void)
{
    machine_fini(&machine);
}

static struct vmxsim_outcome write_at(uint64_t offset, uint32_t size)
{
    return machine_access(&machine, VMXSIM_ACCESS_WRITE, PAGE_START + offset, size);
}

static void expect_complete(const struct vmxsim_outcome *outcome)
{
    ck_assert_msg(outcome->kind == VMXSIM_OUTCOME_COMPLETE, "%s", machine_outcome_text(outcome));
}

static void expect_exit(const struct vmxsim_outcome *outcome, uint16_t reason,
                        uint64_t qualification, enum vmxsim_walk_rule rule)
{
    ck_assert_msg(outcome->kind == VMXSIM_OUTCOME_VM_EXIT && outcome->exit_reason == reason &&
                      outcome->qualification_defined && outcome->qualification == qualification &&
                      outcome->rule == rule,
                  "expected exit %u, qualification %#" PRIx64 ", rule %s; observed %s", reason,
                  qualification, vmxsim_walk_rule_info(rule)->id, machine_outcome_text(outcome));
}

/* ---- Entries of the table, each broken alone ---- */

static const struct {
    unsigned level;
    uint64_t set, clear;
    uint16_t reason;
    uint64_t qualification;
    enum vmxsim_walk_rule rule;
    uint64_t offending;
} entries[] = {
    {4, 0, 1, EXIT_SPP, MISS, VMXSIM_RULE_EPT_SPP_MISS, 1},
    {3, 0, 1, EXIT_SPP, MISS, VMXSIM_RULE_EPT_SPP_MISS, 1},
    {2, 0, 1, EXIT_SPP, MISS, VMXSIM_RULE_EPT_SPP_MISS, 1},
    {2, VMXC_BIT(1), 1, EXIT_SPP, MISS, VMXSIM_RULE_EPT_SPP_MISS,
     1}, /* not valid: nothing is reserved */
    {4, VMXC_BIT(1), 0, EXIT_SPP, 0, VMXSIM_RULE_EPT_SPP_MC, VMXC_BIT(1)},
    {4, VMXC_BIT(11), 0, EXIT_SPP, 0, VMXSIM_RULE_EPT_SPP_MC, VMXC_BIT(11)},
    {3, VMXC_BIT(7), 0, EXIT_SPP, 0, VMXSIM_RULE_EPT_SPP_MC, VMXC_BIT(7)},
    {3, VMXC_BIT(63), 0, EXIT_SPP, 0, VMXSIM_RULE_EPT_SPP_MC, VMXC_BIT(63)},
    {2, VMXC_BIT(52), 0, EXIT_SPP, 0, VMXSIM_RULE_EPT_SPP_MC, VMXC_BIT(52)},
    {1, VMXC_BIT(1), 0, EXIT_SPP, 0, VMXSIM_RULE_EPT_SPP_MC, VMXC_BIT(1)},
    {1, VMXC_BIT(63), 0, EXIT_SPP, 0, VMXSIM_RULE_EPT_SPP_MC, VMXC_BIT(63)},
    {1, VMXC_BIT(5), VECTOR, EXIT_SPP, 0, VMXSIM_RULE_EPT_SPP_MC,
     VMXC_BIT(5)}, /* before the sub-page's bit */
    {1, 0, VECTOR, EXIT_EPT_VIOLATION, VIOLATION | 2, VMXSIM_RULE_EPT_SPP_DENIED, VECTOR},
    {1, ~VECTOR &UINT64_C(0x5555555555555555), VECTOR, EXIT_EPT_VIOLATION, VIOLATION | 2,
     VMXSIM_RULE_EPT_SPP_DENIED, VECTOR},
};

START_TEST(a_bad_entry_ends_the_write)
{
    const unsigned level = entries[_i].level;
    const struct vmxsim_access access = {
        .type = VMXSIM_ACCESS_WRITE, .linear = layout.linear, .size = 4, .data = {1, 2, 3, 4}};
    struct vmxsim_trail trail;
    machine_write(&machine, table_entry[level],
                  (machine_read(&machine, table_entry[level]) & ~entries[_i].clear) |
                      entries[_i].set);
    const struct vmxsim_outcome outcome = machine_access_as(&machine, &access, &trail);

    expect_exit(&outcome, entries[_i].reason, entries[_i].qualification, entries[_i].rule);
    ck_assert(outcome.guest_physical_valid && outcome.guest_linear_valid);
    ck_assert_uint_eq(outcome.guest_physical, layout_access_gpa(&layout, 0));
    ck_assert_uint_eq(outcome.guest_linear, layout.linear);
    ck_assert_uint_eq(machine_read(&machine, layout_access_hpa(&layout, 0)), 0);

    const struct vmxsim_trail_entry *last = &trail.entry[trail.count - 1];
    ck_assert_int_eq(last->kind, VMXSIM_TRAIL_SPPT_ENTRY);
    ck_assert_uint_eq(last->level, level);
    ck_assert_uint_eq(last->hpa, table_entry[level]);
    ck_assert_uint_eq(last->gpa, layout_access_gpa(&layout, 0));
    ck_assert_int_eq(last->verdict, entries[_i].rule);
    ck_assert_uint_eq(last->offending, entries[_i].offending);
}
END_TEST

START_TEST(address_bits_beyond_the_width_are_reserved)
{
    static const struct profile_changes narrow = {.maxphyaddr = 39};
    machine_fini(&machine);
    machine_init(&machine, &narrow);
    arrange((struct layout_options){.mode = GUEST_32BIT, .ept_levels = 4, .ept_leaf = 1});
    const uint64_t good = machine_read(&machine, table_entry[3]);
    machine_write(&machine, table_entry[3], good | VMXC_BIT(39));
    struct vmxsim_outcome outcome = write_at(0x128, 4);
    expect_exit(&outcome, EXIT_SPP, 0, VMXSIM_RULE_EPT_SPP_MC);
    machine_write(&machine, table_entry[3], good);
    outcome = write_at(0x128, 4);
    expect_complete(&outcome);
}
END_TEST

/* ---- What is not eligible is an EPT violation, whatever the table says ---- */

START_TEST(only_a_leaf_that_asks_for_it_is_looked_up)
{
    set_leaf(0, VMXC_EPT_WRITE); /* bit 61 is 0 */
    const struct vmxsim_outcome outcome = write_at(0x128, 4);
    expect_exit(&outcome, EXIT_EPT_VIOLATION, VIOLATION | 2, VMXSIM_RULE_EPT_RIGHTS);
}
END_TEST

START_TEST(without_the_control_the_bit_is_ignored)
{
    VMXSIM_VMCS(&machine.vmcs, SECONDARY_PROCESSOR_BASED_CONTROLS) &= ~CTL2_SUB_PAGE_WRITE;
    machine_load(&machine);
    const struct vmxsim_outcome outcome = write_at(0x128, 4);
    expect_exit(&outcome, EXIT_EPT_VIOLATION, VIOLATION | 2, VMXSIM_RULE_EPT_RIGHTS);
}
END_TEST

START_TEST(large_pages_have_no_sub_pages)
{
    arrange(
        (struct layout_options){.mode = GUEST_4LEVEL, .ept_levels = 4, .ept_leaf = (unsigned)_i});
    const struct vmxsim_outcome outcome = write_at(0x128, 4);
    expect_exit(&outcome, EXIT_EPT_VIOLATION, VIOLATION | 2, VMXSIM_RULE_EPT_RIGHTS);
}
END_TEST

START_TEST(a_page_that_cannot_be_read_is_not_eligible)
{
    set_leaf(SPP, VMXC_EPT_READ | VMXC_EPT_WRITE); /* execute-only */
    const struct vmxsim_outcome outcome = write_at(0x128, 4);
    expect_exit(&outcome, EXIT_EPT_VIOLATION, (VIOLATION & ~VMXC_BIT(3)) | 2,
                VMXSIM_RULE_EPT_RIGHTS);
}
END_TEST

START_TEST(an_access_that_spans_sub_pages_is_not_eligible)
{
    machine_write(&machine, table_entry[1], UINT64_C(0x5555555555555555));
    struct vmxsim_outcome outcome = write_at(0x17d, 4);
    expect_exit(&outcome, EXIT_EPT_VIOLATION, VIOLATION | 2, VMXSIM_RULE_EPT_RIGHTS);
    outcome = write_at(0x17c, 4);
    expect_complete(&outcome);
    outcome = write_at(0x180, 4);
    expect_complete(&outcome);
}
END_TEST

START_TEST(fetches_and_reads_do_not_ask)
{
    machine_write(&machine, table_entry[4], 0);
    struct vmxsim_outcome outcome = machine_access(&machine, VMXSIM_ACCESS_READ, layout.linear, 4);
    expect_complete(&outcome);
    outcome = machine_access(&machine, VMXSIM_ACCESS_FETCH, layout.linear, 4);
    expect_complete(&outcome);
}
END_TEST

START_TEST(a_writable_page_does_not_ask)
{
    machine_write(&machine, table_entry[4], 0);
    set_leaf(SPP, 0);
    const struct vmxsim_outcome outcome = write_at(0x128, 4);
    expect_complete(&outcome);
}
END_TEST

/* The page of the guest's PTE gets bit 61 and a vector that allows everything. Setting the accessed flag is no write
 * to the translation of a linear address. */
START_TEST(flags_of_guest_entries_are_not_eligible)
{
    const bool accessed_dirty = _i;
    const uint64_t gpa = layout_access_gpa(&layout, 1);
    arrange((struct layout_options){
        .mode = GUEST_4LEVEL, .ept_levels = 4, .ept_leaf = 1, .accessed_dirty = accessed_dirty});
    machine_write(&machine, layout.ept_entry[1][1],
                  (layout.ept_value[1][1] & ~VMXC_EPT_WRITE) | SPP);
    const struct vmxsim_outcome outcome = write_at(0x128, 4);
    expect_exit(&outcome, EXIT_EPT_VIOLATION, VMXC_BIT(7) | VMXC_BIT(5) | VMXC_BIT(3) | 3,
                accessed_dirty ? VMXSIM_RULE_EPT_AD_GPT_AS_WRITE : VMXSIM_RULE_EPT_AD_OFF_GPT);
    ck_assert_uint_eq(outcome.guest_physical, gpa);
}
END_TEST

START_TEST(an_access_without_a_linear_address_is_not_eligible)
{
    struct vmxsim_outcome outcome;
    ck_assert_int_eq(vmxsim_guest_physical_access(machine.cpu, layout_access_gpa(&layout, 0),
                                                  VMXC_EPT_READ | VMXC_EPT_WRITE, &outcome, NULL),
                     VMXC_OK);
    expect_exit(&outcome, EXIT_EPT_VIOLATION, VMXC_BIT(5) | VMXC_BIT(3) | 3,
                VMXSIM_RULE_EPT_RIGHTS);
}
END_TEST

/* ---- Eligible writes ---- */

/* Every sub-page, in every paging mode that reaches the page: the first and the last byte. */
START_TEST(each_bit_allows_its_own_sub_page)
{
    for (unsigned allowed = 0; allowed < 32; allowed++) {
        machine_write(&machine, table_entry[1], UINT64_C(1) << (2 * allowed));
        for (unsigned written = 0; written < 32; written++) {
            struct vmxsim_outcome outcome = write_at(128 * written + (allowed & 1 ? 127 : 0), 1);
            if (written == allowed)
                expect_complete(&outcome);
            else
                expect_exit(&outcome, EXIT_EPT_VIOLATION, VIOLATION | 2,
                            VMXSIM_RULE_EPT_SPP_DENIED);
        }
    }
}
END_TEST

START_TEST(every_mode_and_depth_finds_the_vector)
{
    static const unsigned levels[] = {4, 5};
    for (enum guest_mode mode = GUEST_NONE; mode < GUEST_MODES; mode++) {
        arrange((struct layout_options){.mode = mode, .ept_levels = levels[_i], .ept_leaf = 1});
        struct vmxsim_outcome outcome = write_at(0x128, 8);
        expect_complete(&outcome);
        ck_assert_uint_eq(machine_read(&machine, layout_access_hpa(&layout, 0)),
                          UINT64_C(0xa5a5a5a5a5a5a5a5));
        ck_assert_uint_eq(outcome.page[0].ept_rights, VMXC_EPT_READ | VMXC_EPT_EXECUTE);
        outcome = write_at(0x180, 8);
        ck_assert_int_eq(outcome.rule, VMXSIM_RULE_EPT_SPP_DENIED);
    }
}
END_TEST

START_TEST(a_read_modify_write_is_a_write)
{
    struct vmxsim_outcome outcome = machine_access(&machine, VMXSIM_ACCESS_RMW, layout.linear, 4);
    expect_complete(&outcome);
    machine_write(&machine, table_entry[1], 0);
    outcome = machine_access(&machine, VMXSIM_ACCESS_RMW, layout.linear, 4);
    expect_exit(&outcome, EXIT_EPT_VIOLATION, VIOLATION | 3, VMXSIM_RULE_EPT_SPP_DENIED);
}
END_TEST

/* Flags and log follow the decision: set for a write that is allowed, left alone otherwise. */
START_TEST(accessed_and_dirty_flags_and_the_log_come_after)
{
    arrange((struct layout_options){
        .mode = GUEST_NONE, .ept_levels = 4, .ept_leaf = 1, .accessed_dirty = true});
    VMXSIM_VMCS(&machine.vmcs, SECONDARY_PROCESSOR_BASED_CONTROLS) |= CTL2_PML;
    VMXSIM_VMCS(&machine.vmcs, PML_ADDRESS) = UINT64_C(0x50000);
    VMXSIM_VMCS(&machine.vmcs, PML_INDEX) = 511;
    machine_load(&machine);
    struct vmxsim_outcome outcome = write_at(0x180, 4);
    ck_assert_int_eq(outcome.rule, VMXSIM_RULE_EPT_SPP_DENIED);
    ck_assert_uint_eq(machine_read(&machine, layout.ept_entry[0][1]) & VMXC_BITS(9, 8), 0);
    ck_assert_uint_eq(vmxsim_cpu_pml_index(machine.cpu), 511);

    outcome = write_at(0x128, 4);
    expect_complete(&outcome);
    ck_assert_uint_eq(machine_read(&machine, layout.ept_entry[0][1]) & VMXC_BITS(9, 8),
                      VMXC_BITS(9, 8));
    ck_assert_uint_eq(vmxsim_cpu_pml_index(machine.cpu), 510);
    ck_assert_uint_eq(machine_read(&machine, 0x50000 + 8 * 511), layout.gpa[0]);
}
END_TEST

/* A violation of the vector converts; events of the table never do. */
START_TEST(only_the_violation_becomes_a_virtualization_exception)
{
    VMXSIM_VMCS(&machine.vmcs, SECONDARY_PROCESSOR_BASED_CONTROLS) |= CTL2_EPT_VE;
    VMXSIM_VMCS(&machine.vmcs, VIRTUALIZATION_EXCEPTION_INFO_ADDRESS) = UINT64_C(0x50000);
    machine_write(&machine, 0x50000, 0);
    machine_load(&machine);
    machine_write(&machine, table_entry[1], VMXC_BIT(1));
    struct vmxsim_outcome outcome = write_at(0x128, 4);
    expect_exit(&outcome, EXIT_SPP, 0, VMXSIM_RULE_EPT_SPP_MC);
    machine_write(&machine, table_entry[1], 0);
    outcome = write_at(0x128, 4);
    ck_assert(outcome.ve_converted);
    ck_assert_uint_eq(outcome.ve_qualification, VIOLATION | 2);
}
END_TEST

/* Guest paging comes first: a fault there needs no table. */
START_TEST(a_page_fault_comes_before)
{
    machine_write(&machine, table_entry[4], 0);
    layout_set_guest_entry(&layout, &machine, 1, layout.guest_value[1] & ~VMXC_PTE_WRITE);
    VMXSIM_VMCS(&machine.vmcs, GUEST_CR0) |= VMXC_CR0_WP;
    machine_load(&machine);
    const struct vmxsim_outcome outcome = write_at(0x128, 4);
    ck_assert_int_eq(outcome.kind, VMXSIM_OUTCOME_GUEST_EXCEPTION);
    ck_assert_uint_eq(outcome.vector, VMXC_VECTOR_PF);
}
END_TEST

/* The trail of a completed write: the table's four entries right behind the EPT leaf of the page. */
START_TEST(the_trail_holds_the_four_entries)
{
    const struct vmxsim_access access = {
        .type = VMXSIM_ACCESS_WRITE, .linear = layout.linear, .size = 4};
    struct vmxsim_trail trail;
    const struct vmxsim_outcome outcome = machine_access_as(&machine, &access, &trail);
    expect_complete(&outcome);
    for (unsigned level = 1; level <= 4; level++) {
        const struct vmxsim_trail_entry *entry = &trail.entry[trail.count - level];
        ck_assert_int_eq(entry->kind, VMXSIM_TRAIL_SPPT_ENTRY);
        ck_assert_uint_eq(entry->level, level);
        ck_assert_uint_eq(entry->hpa, table_entry[level]);
        ck_assert_uint_eq(entry->value, machine_read(&machine, table_entry[level]));
        ck_assert_int_eq(entry->leaf, level == 1);
        ck_assert_int_eq(entry->verdict, VMXSIM_RULE_NONE);
    }
    ck_assert_int_eq(trail.entry[trail.count - 5].kind, VMXSIM_TRAIL_EPT_ENTRY);
}
END_TEST

int main(void)
{
    Suite *const suite = suite_create("walk_spp");
    TCase *const tests = tcase_create("tests");
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_loop_test(tests, a_bad_entry_ends_the_write, 0, sizeof(entries) / sizeof(entries[0]));
    tcase_add_test(tests, address_bits_beyond_the_width_are_reserved);
    tcase_add_test(tests, only_a_leaf_that_asks_for_it_is_looked_up);
    tcase_add_test(tests, without_the_control_the_bit_is_ignored);
    tcase_add_loop_test(tests, large_pages_have_no_sub_pages, 2, 4);
    tcase_add_test(tests, a_page_that_cannot_be_read_is_not_eligible);
    tcase_add_test(tests, an_access_that_spans_sub_pages_is_not_eligible);
    tcase_add_test(tests, fetches_and_reads_do_not_ask);
    tcase_add_test(tests, a_writable_page_does_not_ask);
    tcase_add_loop_test(tests, flags_of_guest_entries_are_not_eligible, 0, 2);
    tcase_add_test(tests, an_access_without_a_linear_address_is_not_eligible);
    tcase_add_test(tests, each_bit_allows_its_own_sub_page);
    tcase_add_loop_test(tests, every_mode_and_depth_finds_the_vector, 0, 2);
    tcase_add_test(tests, a_read_modify_write_is_a_write);
    tcase_add_test(tests, accessed_and_dirty_flags_and_the_log_come_after);
    tcase_add_test(tests, only_the_violation_becomes_a_virtualization_exception);
    tcase_add_test(tests, a_page_fault_comes_before);
    tcase_add_test(tests, the_trail_holds_the_four_entries);
    suite_add_tcase(suite, tests);

    return run_suite(suite);
}
