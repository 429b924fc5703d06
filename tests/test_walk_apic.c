/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The APIC-access page without APIC-register virtualization and virtual-interrupt delivery; with them: test_virtual_apic.c.
 * Source: Intel SDM volume 3, "Virtualizing Memory-Mapped APIC Accesses", "TPR Virtualization", table "Exit Qualification
 * for APIC-Access VM Exits from Linear Accesses and Guest-Physical Accesses".
 */
#include "support/layout.h"
#include "support/suite.h"

#include <check.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define CTL_TPR_SHADOW VMXC_BIT(21)
#define CTL2_APIC      VMXC_BIT(0)
#define EXIT_TPR       43u
#define EXIT_APIC      44u
#define VIRTUAL_APIC   UINT64_C(0x60000)
#define VTPR_FILL      UINT64_C(0x1122334455667799)
#define PAGE_START     (layout.linear - LAYOUT_PAGE_OFFSET)
#define TYPE_READ      UINT64_C(0x0000)
#define TYPE_WRITE     UINT64_C(0x1000)
#define TYPE_FETCH     UINT64_C(0x2000)
#define TYPE_PHYSICAL  UINT64_C(0xf000)

static struct machine machine;
static struct layout layout;

/* The page of `region` of the layout is the APIC-access page. */
static void arrange(struct layout_options options, unsigned region)
{
    layout_build(&layout, &machine, &options);
    VMXSIM_VMCS(&machine.vmcs, PRIMARY_PROCESSOR_BASED_CONTROLS) |= CTL_TPR_SHADOW;
    VMXSIM_VMCS(&machine.vmcs, SECONDARY_PROCESSOR_BASED_CONTROLS) |= CTL2_APIC;
    VMXSIM_VMCS(&machine.vmcs, APIC_ACCESS_ADDRESS) = layout.hpa[region];
    VMXSIM_VMCS(&machine.vmcs, VIRTUAL_APIC_ADDRESS) = VIRTUAL_APIC;
    VMXSIM_VMCS(&machine.vmcs, TPR_THRESHOLD) = 0;
    machine_write(&machine, VIRTUAL_APIC + 0x80, VTPR_FILL);
    machine_load(&machine);
}

static const struct layout_options plain = {.mode = GUEST_4LEVEL, .ept_levels = 4, .ept_leaf = 1};

static void set_up(void)
{
    machine_init(&machine, NULL);
    arrange(plain, 0);
}

static void tear_down(void)
{
    machine_fini(&machine);
}

static struct vmxsim_outcome at(enum vmxsim_access_type type, uint64_t offset, uint32_t size)
{
    return machine_access(&machine, type, PAGE_START + offset, size);
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
                  "expected exit %u, qualification %#" PRIx64 "; observed %s", reason,
                  qualification, machine_outcome_text(outcome));
    ck_assert(!outcome->guest_linear_valid && !outcome->guest_physical_valid);
}

/* ---- Accesses that exit ---- */

static const struct {
    enum vmxsim_access_type type;
    uint64_t offset;
    uint32_t size;
    bool no_shadow;
    uint64_t qualification;
} exits[] = {
    {VMXSIM_ACCESS_READ, 0x000, 4, false, TYPE_READ},
    {VMXSIM_ACCESS_READ, 0x020, 4, false, TYPE_READ | 0x020},
    {VMXSIM_ACCESS_READ, 0x07c, 4, false, TYPE_READ | 0x07c},
    {VMXSIM_ACCESS_READ, 0x07f, 2, false,
     TYPE_READ | 0x07f}, /* touches 80H, does not start there */
    {VMXSIM_ACCESS_READ, 0x081, 1, false, TYPE_READ | 0x081},
    {VMXSIM_ACCESS_READ, 0x084, 4, false, TYPE_READ | 0x084},
    {VMXSIM_ACCESS_READ, 0x080, 5, false, TYPE_READ | 0x080}, /* more than 32 bits */
    {VMXSIM_ACCESS_READ, 0x080, 8, false, TYPE_READ | 0x080},
    {VMXSIM_ACCESS_READ, 0x080, 4, true, TYPE_READ | 0x080},
    {VMXSIM_ACCESS_READ, 0xffc, 4, false, TYPE_READ | 0xffc},
    {VMXSIM_ACCESS_WRITE, 0x0b0, 4, false, TYPE_WRITE | 0x0b0},
    {VMXSIM_ACCESS_WRITE, 0x082, 2, false, TYPE_WRITE | 0x082},
    {VMXSIM_ACCESS_WRITE, 0x080, 8, false, TYPE_WRITE | 0x080},
    {VMXSIM_ACCESS_WRITE, 0x080, 4, true, TYPE_WRITE | 0x080},
    {VMXSIM_ACCESS_WRITE, 0x300, 4, false, TYPE_WRITE | 0x300},
    {VMXSIM_ACCESS_FETCH, 0x080, 4, false, TYPE_FETCH | 0x080},
    {VMXSIM_ACCESS_FETCH, 0x128, 1, false, TYPE_FETCH | 0x128},
    {VMXSIM_ACCESS_RMW, 0x300, 4, false, TYPE_READ | 0x300},
};

START_TEST(what_is_not_virtualized_exits)
{
    if (exits[_i].no_shadow) {
        VMXSIM_VMCS(&machine.vmcs, PRIMARY_PROCESSOR_BASED_CONTROLS) &= ~CTL_TPR_SHADOW;
        machine_load(&machine);
    }
    const uint64_t before =
        machine_read(&machine, layout.hpa[0] + (exits[_i].offset & ~UINT64_C(7)));
    const struct vmxsim_outcome outcome = at(exits[_i].type, exits[_i].offset, exits[_i].size);
    expect_exit(&outcome, EXIT_APIC, exits[_i].qualification, VMXSIM_RULE_EXIT_APIC);
    ck_assert_uint_eq(machine_read(&machine, layout.hpa[0] + (exits[_i].offset & ~UINT64_C(7))),
                      before);
    ck_assert_uint_eq(machine_read(&machine, VIRTUAL_APIC + 0x80), VTPR_FILL);
}
END_TEST

/* An access whose first or second part is on the page: no part of it happens. */
START_TEST(an_access_that_reaches_the_page_exits)
{
    struct layout_options options = plain;
    options.mode = GUEST_NONE;
    arrange(options, 0);
    machine_ept_map(&machine, layout.gpa[0] - VMXC_PAGE_SIZE, 0x70000, 1);
    machine_ept_map(&machine, layout.gpa[0] + VMXC_PAGE_SIZE, 0x71000, 1);
    struct vmxsim_outcome outcome =
        machine_access(&machine, VMXSIM_ACCESS_WRITE, PAGE_START - 2, 4);
    expect_exit(&outcome, EXIT_APIC, TYPE_WRITE, VMXSIM_RULE_EXIT_APIC);
    ck_assert_uint_eq(machine_read(&machine, 0x70ff8), 0);
    outcome = at(VMXSIM_ACCESS_WRITE, 0xffe, 4);
    expect_exit(&outcome, EXIT_APIC, TYPE_WRITE | 0xffe, VMXSIM_RULE_EXIT_APIC);
    ck_assert_uint_eq(machine_read(&machine, 0x71000), 0);
}
END_TEST

/* ---- Priority: faults and violations of the access come first, its flags are set before the exit ---- */

START_TEST(page_faults_and_violations_come_first)
{
    layout_set_guest_entry(&layout, &machine, 1, 0);
    struct vmxsim_outcome outcome = at(VMXSIM_ACCESS_READ, 0x20, 4);
    ck_assert_int_eq(outcome.rule, VMXSIM_RULE_PG_NOT_PRESENT);
    layout_reset(&layout, &machine);
    machine_write(&machine, layout.ept_entry[0][1], layout.ept_value[0][1] & ~VMXC_EPT_WRITE);
    outcome = at(VMXSIM_ACCESS_WRITE, 0x20, 4);
    ck_assert_uint_eq(outcome.exit_reason, EXIT_EPT_VIOLATION);
    outcome = at(VMXSIM_ACCESS_WRITE, 0x80, 4); /* virtualized only if it is allowed */
    ck_assert_uint_eq(outcome.exit_reason, EXIT_EPT_VIOLATION);
}
END_TEST

START_TEST(a_violation_of_the_second_page_comes_first)
{
    struct layout_options options = plain;
    options.mode = GUEST_NONE;
    arrange(options, 0);
    const struct vmxsim_outcome outcome = at(VMXSIM_ACCESS_WRITE, 0xffe, 4);
    ck_assert_uint_eq(outcome.exit_reason, EXIT_EPT_VIOLATION);
}
END_TEST

START_TEST(flags_are_set_before_the_exit)
{
    struct layout_options options = plain;
    options.accessed_dirty = true;
    arrange(options, 0);
    struct vmxsim_outcome outcome = at(VMXSIM_ACCESS_WRITE, 0x20, 4);
    expect_exit(&outcome, EXIT_APIC, TYPE_WRITE | 0x20, VMXSIM_RULE_EXIT_APIC);
    ck_assert_uint_eq(machine_read(&machine, layout.ept_entry[0][1]) & VMXC_BITS(9, 8),
                      VMXC_BITS(9, 8));
    ck_assert_uint_eq(layout_get_guest_entry(&layout, &machine, 1) & VMXC_BITS(6, 5),
                      VMXC_BITS(6, 5));
}
END_TEST

/* ---- Guest-physical accesses ---- */

START_TEST(a_paging_structure_on_the_page_exits)
{
    struct layout_options options = plain;
    options.accessed_dirty = _i;
    for (unsigned level = 1; level <= 4; level++) {
        arrange(options, level);
        const struct vmxsim_outcome outcome = at(VMXSIM_ACCESS_READ, 0x80, 4);
        expect_exit(&outcome, EXIT_APIC, TYPE_PHYSICAL, VMXSIM_RULE_EXIT_APIC_PHYSICAL);
    }
}
END_TEST

START_TEST(a_violation_of_the_paging_structure_comes_first)
{
    arrange(plain, 1);
    machine_write(&machine, layout.ept_entry[1][1], 0);
    const struct vmxsim_outcome outcome = at(VMXSIM_ACCESS_READ, 0x80, 4);
    ck_assert_uint_eq(outcome.exit_reason, EXIT_EPT_VIOLATION);
}
END_TEST

START_TEST(an_access_without_a_linear_address_exits_even_at_the_tpr)
{
    struct vmxsim_outcome outcome;
    ck_assert_int_eq(vmxsim_guest_physical_access(machine.cpu, layout.gpa[0] + 0x80, VMXC_EPT_READ,
                                                  &outcome, NULL),
                     VMXC_OK);
    expect_exit(&outcome, EXIT_APIC, TYPE_PHYSICAL, VMXSIM_RULE_EXIT_APIC_PHYSICAL);
}
END_TEST

/* ---- Event delivery ---- */

static const struct {
    enum vmxsim_access_type type;
    uint64_t offset, qualification;
} deliveries[] = {
    {VMXSIM_ACCESS_READ, 0x020, 0x3020},
    {VMXSIM_ACCESS_WRITE, 0x0b0, 0x30b0},
    {VMXSIM_ACCESS_RMW, 0x300, 0x3300},
};

START_TEST(event_delivery_has_types_of_its_own)
{
    const struct vmxsim_access access = {.type = deliveries[_i].type,
                                         .linear = PAGE_START + deliveries[_i].offset,
                                         .size = 4,
                                         .event_delivery = true};
    struct vmxsim_outcome outcome = machine_access_as(&machine, &access, NULL);
    expect_exit(&outcome, EXIT_APIC, deliveries[_i].qualification, VMXSIM_RULE_EXIT_APIC);
    for (unsigned level = 1; level <= 4; level++) {
        arrange(plain, level);
        outcome = machine_access_as(&machine, &access, NULL);
        expect_exit(&outcome, EXIT_APIC, 0xa000, VMXSIM_RULE_EXIT_APIC_PHYSICAL);
    }
}
END_TEST

START_TEST(event_delivery_reads_the_virtual_tpr_and_fetches_nothing)
{
    struct vmxsim_access access = {
        .type = VMXSIM_ACCESS_READ, .linear = PAGE_START + 0x80, .size = 4, .event_delivery = true};
    struct vmxsim_outcome outcome = machine_access_as(&machine, &access, NULL);
    expect_complete(&outcome);
    access.type = VMXSIM_ACCESS_FETCH;
    ck_assert_int_eq(vmxsim_guest_access(machine.cpu, &access, &outcome, NULL), VMXC_INVALID_INPUT);
}
END_TEST

/* ---- The virtual TPR ---- */

START_TEST(reads_of_the_tpr_come_from_the_virtual_apic_page)
{
    static const uint8_t expected[] = {0x99, 0x77, 0x66, 0x55};
    for (uint32_t size = 1; size <= 4; size++) {
        const struct vmxsim_outcome outcome = at(VMXSIM_ACCESS_READ, 0x80, size);
        expect_complete(&outcome);
        ck_assert_mem_eq(outcome.data, expected, size);
        ck_assert_uint_eq(outcome.page[0].hpa, VIRTUAL_APIC + 0x80);
        ck_assert_uint_eq(outcome.page[0].gpa, layout.gpa[0] + 0x80);
        ck_assert_int_eq(outcome.page[0].memory_type, VMXC_MEMORY_TYPE_WB); /* IA32_VMX_BASIC */
    }
    ck_assert_uint_eq(machine_read(&machine, VIRTUAL_APIC + 0x80),
                      VTPR_FILL); /* reads change nothing */
}
END_TEST

START_TEST(writes_of_the_tpr_keep_its_low_byte_alone)
{
    for (uint32_t size = 1; size <= 4; size++) {
        machine_write(&machine, VIRTUAL_APIC + 0x80, VTPR_FILL);
        const struct vmxsim_outcome outcome = at(VMXSIM_ACCESS_WRITE, 0x80, size);
        expect_complete(&outcome);
        ck_assert_uint_eq(machine_read(&machine, VIRTUAL_APIC + 0x80),
                          UINT64_C(0x11223344000000a5));
        ck_assert_uint_eq(machine_read(&machine, layout.hpa[0] + 0x80), 0);
    }
}
END_TEST

START_TEST(a_read_modify_write_does_both)
{
    const struct vmxsim_outcome outcome = at(VMXSIM_ACCESS_RMW, 0x80, 4);
    expect_complete(&outcome);
    ck_assert_uint_eq(outcome.data[0], 0x99);
    ck_assert_uint_eq(machine_read(&machine, VIRTUAL_APIC + 0x80), UINT64_C(0x11223344000000a5));
}
END_TEST

/* The class (bits 7:4) of what is written against the threshold; the exit comes after the write. */
static const struct {
    uint8_t value;
    uint64_t threshold;
    bool exits;
} thresholds[] =
    {
        {0x00, 1, true},     {0x0f, 1, true},  {0x10, 1, false},  {0x9f, 10, true},
        {0xa0, 10, false},   {0xef, 15, true}, {0xf0, 15, false}, {0x00, 0, false},
        {0x00, 0x10, false}, /* bits above 3 of the field play no part */
};

START_TEST(a_tpr_below_the_threshold_exits_after_the_write)
{
    const struct vmxsim_access access = {.type = VMXSIM_ACCESS_WRITE,
                                         .linear = PAGE_START + 0x80,
                                         .size = 4,
                                         .data = {thresholds[_i].value, 0xff, 0xff, 0xff}};
    VMXSIM_VMCS(&machine.vmcs, TPR_THRESHOLD) = thresholds[_i].threshold;
    machine_load(&machine);
    const struct vmxsim_outcome outcome = machine_access_as(&machine, &access, NULL);
    if (thresholds[_i].exits)
        expect_exit(&outcome, EXIT_TPR, 0, VMXSIM_RULE_EXIT_TPR_THRESHOLD);
    else
        expect_complete(&outcome);
    ck_assert_uint_eq(machine_read(&machine, VIRTUAL_APIC + 0x80),
                      UINT64_C(0x1122334400000000) | thresholds[_i].value);
}
END_TEST

START_TEST(reading_a_tpr_below_the_threshold_does_not_exit)
{
    VMXSIM_VMCS(&machine.vmcs, TPR_THRESHOLD) = 15;
    machine_load(&machine);
    const struct vmxsim_outcome outcome = at(VMXSIM_ACCESS_READ, 0x80, 4);
    expect_complete(&outcome);
}
END_TEST

/* ---- Where the page plays no part ---- */

START_TEST(without_the_control_it_is_memory)
{
    VMXSIM_VMCS(&machine.vmcs, SECONDARY_PROCESSOR_BASED_CONTROLS) &= ~CTL2_APIC;
    machine_load(&machine);
    struct vmxsim_outcome outcome = at(VMXSIM_ACCESS_WRITE, 0x80, 4);
    expect_complete(&outcome);
    ck_assert_uint_eq(machine_read(&machine, layout.hpa[0] + 0x80), 0xa5a5a5a5);
    ck_assert_uint_eq(machine_read(&machine, VIRTUAL_APIC + 0x80), VTPR_FILL);
}
END_TEST

START_TEST(other_pages_are_memory)
{
    VMXSIM_VMCS(&machine.vmcs, APIC_ACCESS_ADDRESS) = layout.hpa[0] + VMXC_PAGE_SIZE;
    machine_load(&machine);
    const struct vmxsim_outcome outcome = at(VMXSIM_ACCESS_WRITE, 0xff8, 8);
    expect_complete(&outcome);
}
END_TEST

/* Without EPT linear accesses are treated alike; paging structures are reached by physical accesses. */
START_TEST(it_works_without_ept)
{
    machine_set_mode(&machine, GUEST_NONE);
    VMXSIM_VMCS(&machine.vmcs, SECONDARY_PROCESSOR_BASED_CONTROLS) = CTL2_APIC;
    VMXSIM_VMCS(&machine.vmcs, APIC_ACCESS_ADDRESS) = 0xfee000;
    machine_load(&machine);
    struct vmxsim_outcome outcome = machine_access(&machine, VMXSIM_ACCESS_READ, 0xfee020, 4);
    expect_exit(&outcome, EXIT_APIC, TYPE_READ | 0x20, VMXSIM_RULE_EXIT_APIC);
    outcome = machine_access(&machine, VMXSIM_ACCESS_READ, 0xfee080, 4);
    expect_complete(&outcome);
    ck_assert_uint_eq(outcome.page[0].hpa, VIRTUAL_APIC + 0x80);
}
END_TEST

START_TEST(the_trail_names_the_rule)
{
    const struct vmxsim_access access = {
        .type = VMXSIM_ACCESS_READ, .linear = PAGE_START, .size = 4};
    struct vmxsim_trail trail;
    (void)machine_access_as(&machine, &access, &trail);
    ck_assert_int_eq(trail.entry[trail.count - 1].verdict, VMXSIM_RULE_EXIT_APIC);
    arrange(plain, 1); /* a paging structure on the page */
    (void)machine_access_as(&machine, &access, &trail);
    ck_assert_int_eq(trail.entry[trail.count - 1].verdict, VMXSIM_RULE_EXIT_APIC_PHYSICAL);
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_loop_test(tests, what_is_not_virtualized_exits, 0, sizeof(exits) / sizeof(exits[0]));
    tcase_add_test(tests, an_access_that_reaches_the_page_exits);
    tcase_add_test(tests, page_faults_and_violations_come_first);
    tcase_add_test(tests, a_violation_of_the_second_page_comes_first);
    tcase_add_test(tests, flags_are_set_before_the_exit);
    tcase_add_loop_test(tests, a_paging_structure_on_the_page_exits, 0, 2);
    tcase_add_test(tests, a_violation_of_the_paging_structure_comes_first);
    tcase_add_test(tests, an_access_without_a_linear_address_exits_even_at_the_tpr);
    tcase_add_loop_test(tests, event_delivery_has_types_of_its_own, 0,
                        (int)(sizeof(deliveries) / sizeof(deliveries[0])));
    tcase_add_test(tests, event_delivery_reads_the_virtual_tpr_and_fetches_nothing);
    tcase_add_test(tests, reads_of_the_tpr_come_from_the_virtual_apic_page);
    tcase_add_test(tests, writes_of_the_tpr_keep_its_low_byte_alone);
    tcase_add_test(tests, a_read_modify_write_does_both);
    tcase_add_loop_test(tests, a_tpr_below_the_threshold_exits_after_the_write, 0,
                        sizeof(thresholds) / sizeof(thresholds[0]));
    tcase_add_test(tests, reading_a_tpr_below_the_threshold_does_not_exit);
    tcase_add_test(tests, without_the_control_it_is_memory);
    tcase_add_test(tests, other_pages_are_memory);
    tcase_add_test(tests, it_works_without_ept);
    tcase_add_test(tests, the_trail_names_the_rule);
}

int main(void)
{
    Suite *const suite = suite_create("walk_apic");
    TCase *const tests = tcase_create("tests");
    tcase_add_checked_fixture(tests, set_up, tear_down);
    add_tests(tests);
    suite_add_tcase(suite, tests);

    return run_suite(suite);
}
