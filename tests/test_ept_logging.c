/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Accessed and dirty flags for EPT, and page-modification logging.
 * Source: Intel SDM volume 3, "Accessed and Dirty Flags for EPT" and "Page-Modification Logging".
 */
#include "support/layout.h"
#include "support/suite.h"

#include <check.h>
#include <inttypes.h>
#include <stdlib.h>

#define LOG_HPA  UINT64_C(0x40000)
#define LOG_FULL 0xffffu

#define A VMXC_EPT_ACCESSED
#define D VMXC_EPT_DIRTY

static struct machine machine;
static struct layout layout;

static void build(enum guest_mode mode, unsigned leaf, bool accessed_dirty)
{
    const struct layout_options options = {
        .mode = mode, .ept_levels = 4, .ept_leaf = leaf, .accessed_dirty = accessed_dirty};
    layout_build(&layout, &machine, &options);
}

static void enable_log(uint16_t index)
{
    VMXSIM_VMCS(&machine.vmcs, SECONDARY_PROCESSOR_BASED_CONTROLS) |= CTL2_PML;
    VMXSIM_VMCS(&machine.vmcs, PML_ADDRESS) = LOG_HPA;
    VMXSIM_VMCS(&machine.vmcs, PML_INDEX) = index;
    for (unsigned i = 0; i < VMXC_PML_ENTRIES; i++)
        machine_write(&machine, LOG_HPA + 8 * i, UINT64_C(0xdead));
    machine_load(&machine);
}

static uint64_t logged(unsigned index)
{
    return machine_read(&machine, LOG_HPA + 8 * (uint64_t)index);
}

static struct vmxsim_outcome access_page(enum vmxsim_access_type type)
{
    return machine_access(&machine, type, layout.linear, 4);
}

static void expect_flags(unsigned region, unsigned level, uint64_t flags, const char *what)
{
    const uint64_t entry = machine_read(&machine, layout.ept_entry[region][level]);
    ck_assert_msg((entry & (A | D)) == flags &&
                      ((entry ^ layout.ept_value[region][level]) & ~(A | D)) == 0,
                  "%s: region %u, level %u: entry %#" PRIx64 ", expected flags %#" PRIx64, what,
                  region, level, entry, flags);
}

static void set_up(void)
{
    machine_init(&machine, NULL);
}

static void tear_down(void)
{
    machine_fini(&machine);
}

/* ---- Accessed and dirty flags ---- */

/* Every entry used gets its accessed flag; the leaf of a write its dirty flag; a guest table counts as written. */
START_TEST(flags_are_set_exactly_where_the_access_went)
{
    static const struct {
        enum vmxsim_access_type type;
        uint64_t leaf;
        const char *name;
    } accesses[] = {{VMXSIM_ACCESS_READ, A, "read"},
                    {VMXSIM_ACCESS_FETCH, A, "fetch"},
                    {VMXSIM_ACCESS_WRITE, A | D, "write"},
                    {VMXSIM_ACCESS_RMW, A | D, "rmw"}};
    for (enum guest_mode mode = 0; mode < GUEST_MODES; mode++) {
        for (unsigned leaf = 1; leaf <= 3; leaf++) {
            for (size_t i = 0; i < 4; i++) {
                build(mode, leaf, true);
                machine_load(&machine);
                ck_assert_int_eq(access_page(accesses[i].type).kind, VMXSIM_OUTCOME_COMPLETE);
                for (unsigned region = 0; region < layout.region_count; region++) {
                    expect_flags(region, leaf, region == 0 ? accesses[i].leaf : A | D,
                                 accesses[i].name);
                    for (unsigned level = leaf + 1; level <= 4; level++)
                        expect_flags(region, level, A, accesses[i].name);
                }
            }
        }
    }
}
END_TEST

START_TEST(without_the_eptp_bit_no_flag_is_set_and_set_ones_are_ignored)
{
    build(GUEST_4LEVEL, 1, false);
    machine_load(&machine);
    ck_assert_int_eq(access_page(VMXSIM_ACCESS_WRITE).kind, VMXSIM_OUTCOME_COMPLETE);
    for (unsigned region = 0; region < layout.region_count; region++)
        for (unsigned level = 1; level <= 4; level++)
            expect_flags(region, level, 0, "A/D off");
    for (unsigned level = 1; level <= 4; level++)
        machine_write(&machine, layout.ept_entry[0][level], layout.ept_value[0][level] | A | D);
    ck_assert_int_eq(access_page(VMXSIM_ACCESS_READ).kind, VMXSIM_OUTCOME_COMPLETE);
    for (unsigned level = 1; level <= 4; level++)
        expect_flags(0, level, A | D, "A/D off, flags set by software");
}
END_TEST

START_TEST(flags_that_are_set_stay_and_a_later_write_adds_the_dirty_flag)
{
    build(GUEST_NONE, 1, true);
    machine_load(&machine);
    ck_assert_int_eq(access_page(VMXSIM_ACCESS_READ).kind, VMXSIM_OUTCOME_COMPLETE);
    expect_flags(0, 1, A, "after a read");
    ck_assert_int_eq(access_page(VMXSIM_ACCESS_WRITE).kind, VMXSIM_OUTCOME_COMPLETE);
    expect_flags(0, 1, A | D, "after a write");
    ck_assert_int_eq(access_page(VMXSIM_ACCESS_READ).kind, VMXSIM_OUTCOME_COMPLETE);
    expect_flags(0, 1, A | D, "after another read");
}
END_TEST

START_TEST(a_refused_write_makes_nothing_dirty)
{
    build(GUEST_4LEVEL, 1, true);
    machine_load(&machine);
    machine_write(&machine, layout.ept_entry[0][1],
                  layout.ept_value[0][1] & ~(uint64_t)VMXC_EPT_WRITE);
    ck_assert_uint_eq(access_page(VMXSIM_ACCESS_WRITE).exit_reason, EXIT_EPT_VIOLATION);
    ck_assert_uint_eq(machine_read(&machine, layout.ept_entry[0][1]) & D, 0);
    ck_assert_uint_eq(machine_read(&machine, layout_access_hpa(&layout, 0)), 0);
}
END_TEST

/* Loads of PDPTEs by MOV to CR are reads: no dirty flag, unlike other accesses to guest paging structures. */
START_TEST(a_read_by_guest_physical_address_sets_no_dirty_flag)
{
    struct vmxsim_outcome outcome;
    build(GUEST_PAE, 1, true);
    machine_load(&machine);
    ck_assert_int_eq(
        vmxsim_guest_physical_access(machine.cpu, layout.gpa[2], VMXC_EPT_READ, &outcome, NULL),
        VMXC_OK);
    ck_assert_int_eq(outcome.kind, VMXSIM_OUTCOME_COMPLETE);
    expect_flags(2, 1, A, "PDPTE load");
    ck_assert_int_eq(
        vmxsim_guest_physical_access(machine.cpu, layout.gpa[2], VMXC_EPT_WRITE, &outcome, NULL),
        VMXC_OK);
    expect_flags(2, 1, A | D, "write by guest-physical address");
}
END_TEST

/* A guest #PF comes before the page is located through EPT: its entries stay untouched. */
START_TEST(a_guest_page_fault_leaves_the_pages_ept_entries_alone)
{
    build(GUEST_4LEVEL, 1, true);
    layout_set_guest_entry(&layout, &machine, 1, 0);
    machine_load(&machine);
    const struct vmxsim_outcome outcome = access_page(VMXSIM_ACCESS_WRITE);
    ck_assert_int_eq(outcome.kind, VMXSIM_OUTCOME_GUEST_EXCEPTION);
    ck_assert_uint_eq(outcome.vector, VMXC_VECTOR_PF);
    for (unsigned level = 1; level <= 3; level++)
        expect_flags(0, level, 0, "#PF before the page");
}
END_TEST

/* ---- Page-modification logging ---- */

START_TEST(a_write_logs_its_page_and_the_index_goes_down)
{
    build(GUEST_NONE, 1, true);
    enable_log(511);
    ck_assert_int_eq(access_page(VMXSIM_ACCESS_WRITE).kind, VMXSIM_OUTCOME_COMPLETE);
    ck_assert_uint_eq(logged(511), layout.gpa[0]);
    ck_assert_uint_eq(vmxsim_cpu_pml_index(machine.cpu), 510);
    /* The page is dirty now: neither a write nor a read is logged again. */
    ck_assert_int_eq(access_page(VMXSIM_ACCESS_WRITE).kind, VMXSIM_OUTCOME_COMPLETE);
    ck_assert_int_eq(access_page(VMXSIM_ACCESS_READ).kind, VMXSIM_OUTCOME_COMPLETE);
    ck_assert_uint_eq(vmxsim_cpu_pml_index(machine.cpu), 510);
    ck_assert_uint_eq(logged(510), 0xdead);
}
END_TEST

/* What counts is the dirty flag of the leaf, whatever the accessed flags were before. */
START_TEST(a_write_is_logged_by_the_dirty_flag_alone)
{
    build(GUEST_NONE, 1, true);
    enable_log(511);
    ck_assert_int_eq(access_page(VMXSIM_ACCESS_READ).kind, VMXSIM_OUTCOME_COMPLETE);
    ck_assert_int_eq(access_page(VMXSIM_ACCESS_WRITE).kind, VMXSIM_OUTCOME_COMPLETE);
    ck_assert_uint_eq(logged(511), layout.gpa[0]);
    ck_assert_uint_eq(vmxsim_cpu_pml_index(machine.cpu), 510);

    build(GUEST_NONE, 1, true);
    machine_write(&machine, layout.ept_entry[0][1], layout.ept_value[0][1] | D);
    enable_log(511);
    ck_assert_int_eq(access_page(VMXSIM_ACCESS_WRITE).kind, VMXSIM_OUTCOME_COMPLETE);
    expect_flags(0, 1, A | D, "dirty before, accessed now");
    expect_flags(0, 2, A, "above it");
    ck_assert_uint_eq(logged(511), 0xdead);
    ck_assert_uint_eq(vmxsim_cpu_pml_index(machine.cpu), 511);
}
END_TEST

START_TEST(reads_and_fetches_are_not_logged)
{
    build(GUEST_NONE, 1, true);
    enable_log(511);
    ck_assert_int_eq(access_page(VMXSIM_ACCESS_READ).kind, VMXSIM_OUTCOME_COMPLETE);
    ck_assert_int_eq(access_page(VMXSIM_ACCESS_FETCH).kind, VMXSIM_OUTCOME_COMPLETE);
    ck_assert_uint_eq(vmxsim_cpu_pml_index(machine.cpu), 511);
    ck_assert_uint_eq(logged(511), 0xdead);
}
END_TEST

/* What is logged is the 4-KByte page of the access, not the start of the large page. */
START_TEST(a_large_page_is_logged_by_the_4_kbyte_page_that_was_written)
{
    for (unsigned leaf = 2; leaf <= 3; leaf++) {
        build(GUEST_NONE, leaf, true);
        ck_assert_uint_ne(layout.gpa[0] & (VMXC_PAGE_SIZE_2M - 1), 0);
        enable_log(7);
        ck_assert_int_eq(access_page(VMXSIM_ACCESS_RMW).kind, VMXSIM_OUTCOME_COMPLETE);
        ck_assert_uint_eq(logged(7), layout.gpa[0]);
        ck_assert_uint_eq(vmxsim_cpu_pml_index(machine.cpu), 6);
    }
}
END_TEST

START_TEST(the_index_wraps_to_ffff_and_then_the_log_is_full)
{
    build(GUEST_NONE, 1, true);
    enable_log(0);
    ck_assert_int_eq(access_page(VMXSIM_ACCESS_WRITE).kind, VMXSIM_OUTCOME_COMPLETE);
    ck_assert_uint_eq(logged(0), layout.gpa[0]);
    ck_assert_uint_eq(vmxsim_cpu_pml_index(machine.cpu), LOG_FULL);
    /* No flag has to change: no exit. */
    ck_assert_int_eq(access_page(VMXSIM_ACCESS_WRITE).kind, VMXSIM_OUTCOME_COMPLETE);
    layout_reset(&layout, &machine);
    const struct vmxsim_outcome outcome = access_page(VMXSIM_ACCESS_WRITE);
    ck_assert_int_eq(outcome.kind, VMXSIM_OUTCOME_VM_EXIT);
    ck_assert_uint_eq(outcome.exit_reason, EXIT_PML_FULL);
}
END_TEST

/* Index out of range, and an accessed flag (read, fetch) or a dirty flag (write) would have to change. */
START_TEST(a_full_log_exits_and_changes_nothing)
{
    static const uint16_t full[] = {512, 513, 0x8000, LOG_FULL};
    static const enum vmxsim_access_type types[] = {VMXSIM_ACCESS_READ, VMXSIM_ACCESS_FETCH,
                                                    VMXSIM_ACCESS_WRITE, VMXSIM_ACCESS_RMW};
    for (size_t i = 0; i < 4; i++) {
        for (size_t type = 0; type < 4; type++) {
            build(GUEST_NONE, 1, true);
            enable_log(full[i]);
            const struct vmxsim_digest before = vmxsim_memory_digest(machine.memory);
            const struct vmxsim_outcome outcome = access_page(types[type]);
            const struct vmxsim_digest after = vmxsim_memory_digest(machine.memory);
            ck_assert_int_eq(outcome.kind, VMXSIM_OUTCOME_VM_EXIT);
            ck_assert_uint_eq(outcome.exit_reason, EXIT_PML_FULL);
            ck_assert_int_eq(outcome.rule, VMXSIM_RULE_EPT_PML);
            /* Only bit 12 of the qualification is defined: no IRET here. */
            ck_assert_uint_eq(outcome.qualification & VMXC_EPT_VIOLATION_NMI_UNBLOCKING, 0);
            ck_assert(before.high == after.high && before.low == after.low);
            ck_assert_uint_eq(vmxsim_cpu_pml_index(machine.cpu), full[i]);
        }
    }
}
END_TEST

START_TEST(a_full_log_does_not_matter_while_no_flag_has_to_change)
{
    build(GUEST_NONE, 1, true);
    for (unsigned level = 1; level <= 4; level++)
        machine_write(&machine, layout.ept_entry[0][level], layout.ept_value[0][level] | A);
    enable_log(LOG_FULL);
    ck_assert_int_eq(access_page(VMXSIM_ACCESS_READ).kind, VMXSIM_OUTCOME_COMPLETE);
    ck_assert_uint_eq(access_page(VMXSIM_ACCESS_WRITE).exit_reason, EXIT_PML_FULL);
    machine_write(&machine, layout.ept_entry[0][1], layout.ept_value[0][1] | A | D);
    ck_assert_int_eq(access_page(VMXSIM_ACCESS_WRITE).kind, VMXSIM_OUTCOME_COMPLETE);
}
END_TEST

/* A violation comes before flags and log: the log being full does not show. */
START_TEST(a_violation_beats_a_full_log)
{
    build(GUEST_NONE, 1, true);
    machine_write(&machine, layout.ept_entry[0][1],
                  layout.ept_value[0][1] & ~(uint64_t)VMXC_EPT_WRITE);
    for (unsigned level = 2; level <= 4; level++)
        machine_write(&machine, layout.ept_entry[0][level], layout.ept_value[0][level] | A);
    enable_log(LOG_FULL);
    ck_assert_uint_eq(access_page(VMXSIM_ACCESS_WRITE).exit_reason, EXIT_EPT_VIOLATION);
}
END_TEST

START_TEST(guest_paging_structures_are_logged_from_the_root_down)
{
    for (enum guest_mode mode = GUEST_32BIT; mode < GUEST_MODES; mode++) {
        build(mode, 1, true);
        enable_log(100);
        ck_assert_int_eq(access_page(VMXSIM_ACCESS_WRITE).kind, VMXSIM_OUTCOME_COMPLETE);
        unsigned index = 100;
        for (unsigned region = layout.region_count - 1;; region--, index--) {
            ck_assert_msg(logged(index) == layout.gpa[region],
                          "%s: log entry %u is %#" PRIx64 ", expected region %u at %#" PRIx64,
                          guest_mode_names[mode], index, logged(index), region, layout.gpa[region]);
            if (region == 0)
                break;
        }
        ck_assert_uint_eq(vmxsim_cpu_pml_index(machine.cpu), index - 1);
        ck_assert_uint_eq(logged(index - 1), 0xdead);
    }
}
END_TEST

/* Two entries are free, the third guest paging structure finds the log full. */
START_TEST(a_log_that_fills_up_during_a_walk_stops_it_there)
{
    build(GUEST_4LEVEL, 1, true);
    enable_log(1);
    const struct vmxsim_outcome outcome = access_page(VMXSIM_ACCESS_WRITE);
    ck_assert_uint_eq(outcome.exit_reason, EXIT_PML_FULL);
    ck_assert_uint_eq(logged(1), layout.gpa[4]);
    ck_assert_uint_eq(logged(0), layout.gpa[3]);
    ck_assert_uint_eq(vmxsim_cpu_pml_index(machine.cpu), LOG_FULL);
    expect_flags(4, 1, A | D, "logged");
    expect_flags(3, 1, A | D, "logged");
    expect_flags(2, 1, 0, "not logged");
    expect_flags(0, 1, 0, "never reached");
    ck_assert_uint_eq(machine_read(&machine, layout_access_hpa(&layout, 0)), 0);
    /* The guest entry of level 2 was never read, so its accessed flag is clear. */
    ck_assert_uint_eq(layout_get_guest_entry(&layout, &machine, 2) & VMXC_PTE_ACCESSED, 0);
}
END_TEST

/* A write across two pages: both are logged, lower address first. */
START_TEST(a_write_across_two_pages_logs_both)
{
    build(GUEST_NONE, 1, true);
    machine_ept_map(&machine, layout.gpa[0] + VMXC_PAGE_SIZE, UINT64_C(0x3000000), 1);
    enable_log(20);
    struct vmxsim_outcome outcome =
        machine_access(&machine, VMXSIM_ACCESS_WRITE, layout.gpa[0] + VMXC_PAGE_SIZE - 3, 8);
    ck_assert_int_eq(outcome.kind, VMXSIM_OUTCOME_COMPLETE);
    ck_assert_uint_eq(logged(20), layout.gpa[0]);
    ck_assert_uint_eq(logged(19), layout.gpa[0] + VMXC_PAGE_SIZE);
    ck_assert_uint_eq(vmxsim_cpu_pml_index(machine.cpu), 18);
}
END_TEST

/* The second page finds the log full: no byte of the write arrives, on either page. */
START_TEST(a_log_that_fills_up_between_two_pages_stops_the_whole_write)
{
    build(GUEST_NONE, 1, true);
    machine_ept_map(&machine, layout.gpa[0] + VMXC_PAGE_SIZE, UINT64_C(0x3000000), 1);
    enable_log(0);
    const struct vmxsim_outcome outcome =
        machine_access(&machine, VMXSIM_ACCESS_WRITE, layout.gpa[0] + VMXC_PAGE_SIZE - 3, 8);
    ck_assert_uint_eq(outcome.exit_reason, EXIT_PML_FULL);
    ck_assert_uint_eq(machine_read(&machine, layout.hpa[0] + VMXC_PAGE_SIZE - 8), 0);
    ck_assert_uint_eq(machine_read(&machine, 0x3000000), 0);
}
END_TEST

START_TEST(without_the_control_nothing_is_logged)
{
    build(GUEST_NONE, 1, true);
    enable_log(LOG_FULL);
    VMXSIM_VMCS(&machine.vmcs, SECONDARY_PROCESSOR_BASED_CONTROLS) &= ~CTL2_PML;
    machine_load(&machine);
    ck_assert_int_eq(access_page(VMXSIM_ACCESS_WRITE).kind, VMXSIM_OUTCOME_COMPLETE);
    expect_flags(0, 1, A | D, "no log");
    ck_assert_uint_eq(logged(511), 0xdead);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("ept_logging");
    TCase *flags = tcase_create("accessed and dirty flags");
    tcase_add_checked_fixture(flags, set_up, tear_down);
    tcase_add_test(flags, flags_are_set_exactly_where_the_access_went);
    tcase_add_test(flags, without_the_eptp_bit_no_flag_is_set_and_set_ones_are_ignored);
    tcase_add_test(flags, flags_that_are_set_stay_and_a_later_write_adds_the_dirty_flag);
    tcase_add_test(flags, a_refused_write_makes_nothing_dirty);
    tcase_add_test(flags, a_read_by_guest_physical_address_sets_no_dirty_flag);
    tcase_add_test(flags, a_guest_page_fault_leaves_the_pages_ept_entries_alone);
    suite_add_tcase(s, flags);
    TCase *log = tcase_create("page-modification log");
    tcase_add_checked_fixture(log, set_up, tear_down);
    tcase_add_test(log, a_full_log_exits_and_changes_nothing);
    tcase_add_test(log, a_full_log_does_not_matter_while_no_flag_has_to_change);
    tcase_add_test(log, a_violation_beats_a_full_log);
    tcase_add_test(log, a_write_logs_its_page_and_the_index_goes_down);
    tcase_add_test(log, a_write_is_logged_by_the_dirty_flag_alone);
    tcase_add_test(log, reads_and_fetches_are_not_logged);
    tcase_add_test(log, a_large_page_is_logged_by_the_4_kbyte_page_that_was_written);
    tcase_add_test(log, the_index_wraps_to_ffff_and_then_the_log_is_full);
    tcase_add_test(log, guest_paging_structures_are_logged_from_the_root_down);
    tcase_add_test(log, a_log_that_fills_up_during_a_walk_stops_it_there);
    tcase_add_test(log, a_write_across_two_pages_logs_both);
    tcase_add_test(log, a_log_that_fills_up_between_two_pages_stops_the_whole_write);
    tcase_add_test(log, without_the_control_nothing_is_logged);
    suite_add_tcase(s, log);
    return s;
}

int main(void)
{
    return run_suite(suite());
}
