/* SPDX-License-Identifier: Apache-2.0 */
/*
 * EPT violations as virtualization exceptions, and which exceptions become VM exits.
 * Source: Intel SDM volume 3, "Virtualization Exceptions", "Exceptions" under "Other Causes of VM Exits", and
 * "Information for VM Exits Due to Vectored Events".
 */
#include "support/layout.h"

#include <check.h>
#include <inttypes.h>
#include <stdlib.h>

#define AREA_HPA   UINT64_C(0x50000)
#define EPTP_INDEX 0x1234u
#define PATTERN    UINT64_C(0xa1a2a3a4a5a6a7a8)

/* Interruption information: valid, hardware exception (3), error code valid, vector. */
#define INFO_EXCEPTION  (VMXC_BIT(31) | UINT64_C(3) << 8)
#define INFO_ERROR_CODE VMXC_BIT(11)

static struct machine machine;
static struct layout layout;

static void build(enum guest_mode mode)
{
    const struct layout_options options = {.mode = mode, .ept_levels = 4, .ept_leaf = 1};
    layout_build(&layout, &machine, &options);
}

static void clear_area(uint32_t busy)
{
    for (unsigned i = 0; i < VMXC_PAGE_SIZE; i += 8)
        machine_write(&machine, AREA_HPA + i, PATTERN);
    vmxsim_memory_write32(machine.memory, AREA_HPA + VMXC_VE_INFO_BUSY, busy);
}

/* #VE on, the area free, the page's entry of `level` replaced by `entry`. */
static void arrange(enum guest_mode mode, unsigned level, uint64_t entry)
{
    build(mode);
    VMXSIM_VMCS(&machine.vmcs, SECONDARY_PROCESSOR_BASED_CONTROLS) |= CTL2_EPT_VE;
    VMXSIM_VMCS(&machine.vmcs, VIRTUALIZATION_EXCEPTION_INFO_ADDRESS) = AREA_HPA;
    VMXSIM_VMCS(&machine.vmcs, EPTP_INDEX) = EPTP_INDEX;
    clear_area(0);
    machine_write(&machine, layout.ept_entry[0][level], entry);
    machine_load(&machine);
}

static struct vmxsim_outcome write_page(void)
{
    return machine_access(&machine, VMXSIM_ACCESS_WRITE, layout.linear, 4);
}

static void expect_untouched_area(uint32_t busy)
{
    ck_assert_uint_eq(machine_read(&machine, AREA_HPA),
                      (PATTERN & 0xffffffff) | (uint64_t)busy << 32);
    for (unsigned i = 8; i < VMXC_PAGE_SIZE; i += 8)
        ck_assert_uint_eq(machine_read(&machine, AREA_HPA + i), PATTERN);
}

static void expect_exit(const struct vmxsim_outcome *outcome, uint16_t reason, const char *what)
{
    ck_assert_msg(outcome->kind == VMXSIM_OUTCOME_VM_EXIT && outcome->exit_reason == reason &&
                      !outcome->ve_converted,
                  "%s: expected exit %u, observed %s", what, reason, machine_outcome_text(outcome));
}

/* A #VE that the guest gets: no error code, CR2 alone, and all of the information area. */
static void expect_conversion(const struct vmxsim_outcome *outcome, uint64_t qualification,
                              uint64_t gpa, const char *what)
{
    ck_assert_msg(outcome->kind == VMXSIM_OUTCOME_GUEST_EXCEPTION &&
                      outcome->vector == VMXC_VECTOR_VE && !outcome->has_error_code &&
                      outcome->ve_converted,
                  "%s: expected #VE, observed %s", what, machine_outcome_text(outcome));
    ck_assert_uint_eq(outcome->ve_qualification, qualification);
    ck_assert_uint_eq(outcome->ve_guest_linear, layout.linear);
    ck_assert_uint_eq(outcome->ve_guest_physical, gpa);
    ck_assert_uint_eq(machine_read(&machine, AREA_HPA), UINT64_C(0xffffffff00000030));
    ck_assert_uint_eq(machine_read(&machine, AREA_HPA + 8), qualification);
    ck_assert_uint_eq(machine_read(&machine, AREA_HPA + 16), layout.linear);
    ck_assert_uint_eq(machine_read(&machine, AREA_HPA + 24), gpa);
    /* Two bytes of EPTP index; what follows is not the processor's. */
    ck_assert_uint_eq(machine_read(&machine, AREA_HPA + 32),
                      (PATTERN & ~UINT64_C(0xffff)) | EPTP_INDEX);
    ck_assert_uint_eq(machine_read(&machine, AREA_HPA + 40), PATTERN);
}

static void set_up(void)
{
    machine_init(&machine, NULL);
}

static void tear_down(void)
{
    machine_fini(&machine);
}

/* ---- Virtualization exceptions ---- */

/* Bit 63 of the entry that is not present, at whatever level, decides. */
START_TEST(a_not_present_entry_converts_unless_it_suppresses)
{
    for (unsigned level = 1; level <= 4; level++) {
        arrange(GUEST_NONE, level, VMXC_EPT_SUPPRESS_VE);
        struct vmxsim_outcome outcome = write_page();
        expect_exit(&outcome, EXIT_EPT_VIOLATION, "suppressed");
        ck_assert_uint_eq(outcome.qualification & 0x1ff, 0x182);
        expect_untouched_area(0);

        arrange(GUEST_NONE, level, 0);
        outcome = write_page();
        expect_conversion(
            &outcome, 0x182 | VMXC_EPT_VIOLATION_LINEAR_USER | VMXC_EPT_VIOLATION_LINEAR_WRITABLE,
            layout_access_gpa(&layout, 0), "not suppressed");
    }
}
END_TEST

/* Rights: bit 63 of the leaf decides; in a present entry above it, the bit is ignored. */
START_TEST(missing_rights_convert_unless_the_leaf_suppresses)
{
    arrange(GUEST_NONE, 1, 0);
    const uint64_t read_only = layout.ept_value[0][1] & ~(uint64_t)VMXC_EPT_WRITE;
    arrange(GUEST_NONE, 1, read_only | VMXC_EPT_SUPPRESS_VE);
    struct vmxsim_outcome outcome = write_page();
    expect_exit(&outcome, EXIT_EPT_VIOLATION, "leaf suppresses");
    expect_untouched_area(0);

    for (unsigned level = 2; level <= 4; level++) {
        const uint64_t upper = layout.ept_value[0][level];
        arrange(GUEST_NONE, level, (upper & ~(uint64_t)VMXC_EPT_WRITE) | VMXC_EPT_SUPPRESS_VE);
        outcome = write_page();
        ck_assert_msg(outcome.ve_converted, "bit 63 of a present entry of level %u counts", level);
        /* The other way round: the upper entry forbids, the leaf suppresses. */
        arrange(GUEST_NONE, level, upper & ~(uint64_t)VMXC_EPT_WRITE);
        machine_write(&machine, layout.ept_entry[0][1],
                      layout.ept_value[0][1] | VMXC_EPT_SUPPRESS_VE);
        outcome = write_page();
        expect_exit(&outcome, EXIT_EPT_VIOLATION, "upper entry forbids, leaf suppresses");
    }
}
END_TEST

START_TEST(a_guest_table_access_converts_with_bit_8_clear)
{
    for (unsigned region = 1; region <= 4; region++) {
        arrange(GUEST_4LEVEL, 1, 0);
        machine_write(&machine, layout.ept_entry[region][1], 0);
        const struct vmxsim_outcome outcome = write_page();
        expect_conversion(&outcome, 0x81, layout_access_gpa(&layout, region), "guest table");
    }
}
END_TEST

START_TEST(without_the_control_a_violation_exits)
{
    arrange(GUEST_NONE, 1, 0);
    VMXSIM_VMCS(&machine.vmcs, SECONDARY_PROCESSOR_BASED_CONTROLS) &= ~CTL2_EPT_VE;
    machine_load(&machine);
    const struct vmxsim_outcome outcome = write_page();
    expect_exit(&outcome, EXIT_EPT_VIOLATION, "control off");
    expect_untouched_area(0);
}
END_TEST

START_TEST(in_real_mode_a_violation_exits)
{
    arrange(GUEST_NONE, 1, 0);
    VMXSIM_VMCS(&machine.vmcs, GUEST_CR0) &= ~VMXC_CR0_PE;
    machine_load(&machine);
    const struct vmxsim_outcome outcome = write_page();
    expect_exit(&outcome, EXIT_EPT_VIOLATION, "CR0.PE = 0");
    expect_untouched_area(0);
}
END_TEST

/* All 32 bits at offset 4 must be 0. */
START_TEST(a_busy_area_makes_the_violation_exit)
{
    static const uint32_t busy[] = {0xffffffff, 1, 0x80000000, 0x100};
    for (size_t i = 0; i < 4; i++) {
        arrange(GUEST_NONE, 1, 0);
        clear_area(busy[i]);
        const struct vmxsim_outcome outcome = write_page();
        expect_exit(&outcome, EXIT_EPT_VIOLATION, "area busy");
        expect_untouched_area(busy[i]);
    }
}
END_TEST

START_TEST(a_second_violation_before_software_clears_the_area_exits)
{
    arrange(GUEST_NONE, 1, 0);
    ck_assert(write_page().ve_converted);
    struct vmxsim_outcome outcome = write_page();
    expect_exit(&outcome, EXIT_EPT_VIOLATION, "second violation");
    vmxsim_memory_write32(machine.memory, AREA_HPA + VMXC_VE_INFO_BUSY, 0);
    ck_assert(write_page().ve_converted);
}
END_TEST

START_TEST(misconfigurations_and_log_full_events_never_convert)
{
    arrange(GUEST_NONE, 1, VMXC_EPT_WRITE);
    struct vmxsim_outcome outcome = write_page();
    expect_exit(&outcome, EXIT_EPT_MISCONFIG, "misconfiguration");
    expect_untouched_area(0);

    arrange(GUEST_NONE, 1, 0);
    layout_reset(&layout, &machine);
    VMXSIM_VMCS(&machine.vmcs, EPT_POINTER) |= VMXC_EPTP_ACCESSED_DIRTY;
    VMXSIM_VMCS(&machine.vmcs, SECONDARY_PROCESSOR_BASED_CONTROLS) |= CTL2_PML;
    VMXSIM_VMCS(&machine.vmcs, PML_ADDRESS) = 0x60000;
    VMXSIM_VMCS(&machine.vmcs, PML_INDEX) = 0xffff;
    machine_load(&machine);
    outcome = write_page();
    expect_exit(&outcome, EXIT_PML_FULL, "log full");
    expect_untouched_area(0);
}
END_TEST

START_TEST(an_intercepted_virtualization_exception_exits_after_filling_the_area)
{
    arrange(GUEST_NONE, 1, 0);
    VMXSIM_VMCS(&machine.vmcs, EXCEPTION_BITMAP) = VMXC_BIT(VMXC_VECTOR_VE);
    machine_load(&machine);
    const struct vmxsim_outcome outcome = write_page();
    ck_assert_int_eq(outcome.kind, VMXSIM_OUTCOME_VM_EXIT);
    ck_assert_uint_eq(outcome.exit_reason, EXIT_EXCEPTION);
    ck_assert_uint_eq(outcome.interruption_info, INFO_EXCEPTION | VMXC_VECTOR_VE);
    ck_assert_uint_eq(outcome.qualification, 0);
    ck_assert(outcome.ve_converted);
    ck_assert_uint_eq(machine_read(&machine, AREA_HPA), UINT64_C(0xffffffff00000030));
}
END_TEST

/* ---- Page faults and the exception bitmap ---- */

/*
 * A #PF exits if bit 14 of the exception bitmap is 1 and (error code & mask) = match, or if bit 14 is 0 and they
 * differ. The error code here is a user-mode write to a present read-only page: P | W | U = 7.
 */
static const struct {
    bool bitmap;
    uint32_t mask, match;
    bool exits;
    const char *why;
} filters[] = {
    {true, 0, 0, true, "bit 14 set, equal: every #PF exits"},
    {true, 0, 1, false, "bit 14 set, different: none"},
    {false, 0, 0, false, "bit 14 clear, equal: none"},
    {false, 0, 1, true, "bit 14 clear, different: every #PF exits"},
    {true, 1, 1, true, "bit 14 set, P matches"},
    {true, 1, 0, false, "bit 14 set, P does not match"},
    {false, 1, 1, false, "bit 14 clear, P matches"},
    {false, 1, 0, true, "bit 14 clear, P does not match"},
    {true, 0x1f, 7, true, "the whole error code"},
    {true, 0x1f, 3, false, "one bit missing in the match"},
    {true, 0xffffffff, 7, true, "all bits of the mask"},
    {true, 0x10, 0x10, false, "a bit that this error code does not have"},
    {true, 1, 3, false, "a match bit outside the mask never matches"},
    {false, 1, 3, true, "a match bit outside the mask always differs"},
};

static struct vmxsim_outcome fault(void)
{
    build(GUEST_4LEVEL);
    layout_set_guest_entry(&layout, &machine, 1, layout.guest_value[1] & ~VMXC_PTE_WRITE);
    machine_set_cpl(&machine, 3);
    return (machine_load(&machine), write_page());
}

START_TEST(page_faults_are_filtered_by_mask_and_match)
{
    VMXSIM_VMCS(&machine.vmcs, EXCEPTION_BITMAP) = filters[_i].bitmap ? VMXC_BIT(14) : 0;
    VMXSIM_VMCS(&machine.vmcs, PAGE_FAULT_ERROR_CODE_MASK) = filters[_i].mask;
    VMXSIM_VMCS(&machine.vmcs, PAGE_FAULT_ERROR_CODE_MATCH) = filters[_i].match;
    const struct vmxsim_outcome outcome = fault();
    if (!filters[_i].exits) {
        ck_assert_msg(outcome.kind == VMXSIM_OUTCOME_GUEST_EXCEPTION && outcome.vector == 14 &&
                          outcome.has_error_code && outcome.error_code == 7 &&
                          outcome.cr2 == layout.linear,
                      "%s: %s", filters[_i].why, machine_outcome_text(&outcome));
        return;
    }
    ck_assert_msg(outcome.kind == VMXSIM_OUTCOME_VM_EXIT && outcome.exit_reason == EXIT_EXCEPTION,
                  "%s: %s", filters[_i].why, machine_outcome_text(&outcome));
    ck_assert_uint_eq(outcome.interruption_info, INFO_EXCEPTION | INFO_ERROR_CODE | VMXC_VECTOR_PF);
    ck_assert_uint_eq(outcome.interruption_error_code, 7);
    ck_assert(outcome.qualification_defined);
    ck_assert_uint_eq(outcome.qualification, layout.linear);
    ck_assert_uint_eq(outcome.cr2, 0);
}
END_TEST

/* Other bits of the bitmap do not concern #PF; mask and match do not concern other exceptions. */
START_TEST(other_exceptions_look_at_their_own_bit_only)
{
    VMXSIM_VMCS(&machine.vmcs, EXCEPTION_BITMAP) = UINT64_C(0xffffffff) & ~VMXC_BIT(14);
    ck_assert_int_eq(fault().kind, VMXSIM_OUTCOME_GUEST_EXCEPTION);

    for (unsigned intercepted = 0; intercepted < 2; intercepted++) {
        VMXSIM_VMCS(&machine.vmcs, EXCEPTION_BITMAP) =
            intercepted ? VMXC_BIT(13) : ~VMXC_BIT(13) & 0xffffffff;
        VMXSIM_VMCS(&machine.vmcs, PAGE_FAULT_ERROR_CODE_MASK) = 0;
        VMXSIM_VMCS(&machine.vmcs, PAGE_FAULT_ERROR_CODE_MATCH) = intercepted;
        build(GUEST_4LEVEL);
        machine_load(&machine);
        const struct vmxsim_outcome outcome =
            machine_access(&machine, VMXSIM_ACCESS_READ, UINT64_C(0x8000000000000000), 1);
        if (intercepted) {
            ck_assert_uint_eq(outcome.exit_reason, EXIT_EXCEPTION);
            ck_assert_uint_eq(outcome.interruption_info,
                              INFO_EXCEPTION | INFO_ERROR_CODE | VMXC_VECTOR_GP);
            ck_assert_uint_eq(outcome.interruption_error_code, 0);
            ck_assert_uint_eq(outcome.qualification, 0);
        } else {
            ck_assert_int_eq(outcome.kind, VMXSIM_OUTCOME_GUEST_EXCEPTION);
            ck_assert_uint_eq(outcome.vector, VMXC_VECTOR_GP);
            ck_assert(outcome.has_error_code);
            ck_assert_uint_eq(outcome.error_code, 0);
        }
    }
}
END_TEST

/* Guest rights are judged before the page is located: the #PF wins over the EPT violation of the same access. */
START_TEST(a_page_fault_beats_the_ept_violation_of_the_page)
{
    build(GUEST_4LEVEL);
    layout_set_guest_entry(&layout, &machine, 1, layout.guest_value[1] & ~VMXC_PTE_WRITE);
    machine_write(&machine, layout.ept_entry[0][1], 0);
    machine_set_cpl(&machine, 3);
    machine_load(&machine);
    const struct vmxsim_outcome outcome = write_page();
    ck_assert_int_eq(outcome.kind, VMXSIM_OUTCOME_GUEST_EXCEPTION);
    ck_assert_uint_eq(outcome.error_code, 7);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("ept_exceptions");
    TCase *ve = tcase_create("virtualization exceptions");
    tcase_add_checked_fixture(ve, set_up, tear_down);
    tcase_add_test(ve, without_the_control_a_violation_exits);
    tcase_add_test(ve, in_real_mode_a_violation_exits);
    tcase_add_test(ve, a_busy_area_makes_the_violation_exit);
    tcase_add_test(ve, a_second_violation_before_software_clears_the_area_exits);
    tcase_add_test(ve, misconfigurations_and_log_full_events_never_convert);
    tcase_add_test(ve, a_not_present_entry_converts_unless_it_suppresses);
    tcase_add_test(ve, missing_rights_convert_unless_the_leaf_suppresses);
    tcase_add_test(ve, a_guest_table_access_converts_with_bit_8_clear);
    tcase_add_test(ve, an_intercepted_virtualization_exception_exits_after_filling_the_area);
    suite_add_tcase(s, ve);
    TCase *bitmap = tcase_create("exception bitmap");
    tcase_add_checked_fixture(bitmap, set_up, tear_down);
    tcase_add_loop_test(bitmap, page_faults_are_filtered_by_mask_and_match, 0,
                        (int)(sizeof(filters) / sizeof(filters[0])));
    tcase_add_test(bitmap, other_exceptions_look_at_their_own_bit_only);
    tcase_add_test(bitmap, a_page_fault_beats_the_ept_violation_of_the_page);
    suite_add_tcase(s, bitmap);
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
