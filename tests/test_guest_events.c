/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Events in the guest: who takes them, what blocks them, and which comes first.
 */
#include "vmxsim/guest.h"

#include "support/guest_fixture.h"
#include "support/suite.h"

/* Pin-based and primary controls, interruptibility, activity: bit numbers and values of the manual. */
#define PIN_INTERRUPT    VMXC_BIT(0)
#define PIN_NMI          VMXC_BIT(3)
#define PIN_VIRTUAL_NMIS VMXC_BIT(5)
#define PIN_TIMER        VMXC_BIT(6)
#define INTERRUPT_WINDOW VMXC_BIT(2)
#define NMI_WINDOW       VMXC_BIT(22)
#define MTF              VMXC_BIT(27)
#define STI              1u
#define MOV_SS           2u
#define NMI_BLOCKING     8u

enum { ACTIVE, HLT, SHUTDOWN, WAIT_FOR_SIPI };

enum fate { BLOCKED, TAKEN, EXITS };

static struct vmxsim_outcome outcome;

static void expect_fate(enum fate fate, unsigned reason, unsigned vector)
{
    switch (fate) {
    case BLOCKED:
        ck_assert_int_eq(outcome.kind, VMXSIM_OUTCOME_COMPLETE);
        ck_assert_int_eq(outcome.rule, VMXSIM_RULE_EVENT_BLOCKED);
        break;
    case TAKEN:
        ck_assert_int_eq(outcome.kind, VMXSIM_OUTCOME_GUEST_EXCEPTION);
        ck_assert_uint_eq(outcome.vector, vector);
        break;
    case EXITS:
        expect_guest_exit(&outcome, reason);
        break;
    }
}

static uint64_t field(uint32_t encoding)
{
    uint64_t value = 0;
    ck_assert_int_eq(vmxsim_guest_get(machine.cpu, encoding, &value), VMXC_OK);
    return value;
}

static void enter(uint64_t pin, unsigned blocking, unsigned activity)
{
    set_pin(pin);
    VMXSIM_VMCS(&machine.vmcs, GUEST_INTERRUPTIBILITY_STATE) = blocking;
    VMXSIM_VMCS(&machine.vmcs, GUEST_ACTIVITY_STATE) = activity;
    load();
}

/* ---- Exceptions ---- */

static const struct {
    struct vmxsim_event event;
    enum vmxc_status status;
} events[] = {
    {{.vector = 13, .type = 3, .has_error_code = true}, VMXC_OK},
    {{.vector = 13, .type = 3}, VMXC_INVALID_INPUT},                        /* has an error code */
    {{.vector = 6, .type = 3, .has_error_code = true}, VMXC_INVALID_INPUT}, /* has none */
    {{.vector = 2, .type = 3}, VMXC_INVALID_INPUT},                         /* an NMI */
    {{.vector = 32, .type = 3}, VMXC_INVALID_INPUT},                        /* no exception */
    {{.vector = 1, .type = 5}, VMXC_OK},                                    /* INT1 */
    {{.vector = 3, .type = 5}, VMXC_INVALID_INPUT},
    {{.vector = 3, .type = 6}, VMXC_OK}, /* INT3 */
    {{.vector = 4, .type = 6}, VMXC_OK}, /* INTO */
    {{.vector = 1, .type = 6}, VMXC_INVALID_INPUT},
    {{.vector = 0x80, .type = 4}, VMXC_OK}, /* INT 80H */
    {{.vector = 8, .type = 4, .has_error_code = true}, VMXC_INVALID_INPUT},
    {{.vector = 2, .type = 2}, VMXC_INVALID_INPUT}, /* vmxsim_guest_nmi */
    {{.vector = 2, .type = 0}, VMXC_INVALID_INPUT}, /* vmxsim_guest_external_interrupt */
};

START_TEST(events_that_do_not_exist_are_refused)
{
    load();
    ck_assert_int_eq(vmxsim_guest_exception(machine.cpu, &events[_i].event, &outcome),
                     events[_i].status);
}
END_TEST

START_TEST(real_mode_has_no_error_codes)
{
    const struct vmxsim_event with = {.vector = 13, .type = 3, .has_error_code = true};
    const struct vmxsim_event without = {.vector = 13, .type = 3};
    machine_set_mode(&machine, GUEST_NONE);
    VMXSIM_VMCS(&machine.vmcs, GUEST_CR0) &= ~VMXC_CR0_PE;
    load();
    ck_assert_int_eq(vmxsim_guest_exception(machine.cpu, &with, &outcome), VMXC_INVALID_INPUT);
    ck_assert_int_eq(vmxsim_guest_exception(machine.cpu, &without, &outcome), VMXC_OK);
}
END_TEST

/* The event, what the interruption information says of it, and the qualification. INT n never exits by the bitmap. */
static const struct {
    struct vmxsim_event event;
    uint32_t information;
    uint64_t qualification;
} exits[] = {
    {{.vector = 6, .type = 3}, 0x80000306, 0},
    {{.vector = 13, .type = 3, .has_error_code = true, .error_code = 0x18}, 0x80000b0d, 0},
    {{.vector = 14, .type = 3, .has_error_code = true, .error_code = 2, .detail = 0x1234},
     0x80000b0e,
     0x1234},
    {{.vector = 1, .type = 3, .detail = 0x4001}, 0x80000301, 0x4001},
    {{.vector = 1, .type = 5}, 0x80000501, 0},
    {{.vector = 3, .type = 6}, 0x80000603, 0},
    {{.vector = 4, .type = 6}, 0x80000604, 0},
    {{.vector = 18, .type = 3}, 0x80000312, 0},
};

START_TEST(the_bitmap_decides_per_vector)
{
    const struct vmxsim_event *event = &exits[_i].event;
    for (int bit = 0; bit < 2; bit++) {
        VMXSIM_VMCS(&machine.vmcs, EXCEPTION_BITMAP) =
            bit ? UINT64_C(1) << event->vector : UINT32_MAX & ~(UINT64_C(1) << event->vector);
        load();
        ck_assert_int_eq(vmxsim_guest_exception(machine.cpu, event, &outcome), VMXC_OK);
        expect_fate(bit ? EXITS : TAKEN, 0, event->vector);
        ck_assert_int_eq(outcome.rule, VMXSIM_RULE_EXCEPTION);
        ck_assert_uint_eq(outcome.interruption_info, bit ? exits[_i].information : 0);
        ck_assert_uint_eq(outcome.interruption_error_code, bit ? event->error_code : 0);
        ck_assert_uint_eq(outcome.qualification, bit ? exits[_i].qualification : 0);
    }
}
END_TEST

START_TEST(int_n_is_for_the_guest)
{
    const struct vmxsim_event event = {.vector = 14, .type = 4};
    VMXSIM_VMCS(&machine.vmcs, EXCEPTION_BITMAP) = UINT32_MAX;
    load();
    ck_assert_int_eq(vmxsim_guest_exception(machine.cpu, &event, &outcome), VMXC_OK);
    expect_fate(TAKEN, 0, 14);
}
END_TEST

/* Bit 14, mask, match, error code: exits if the bit is 1 and they match, or neither. */
static const struct {
    bool bit;
    uint32_t mask, match, error_code;
    bool exits;
} page_faults[] = {
    {true, 0, 0, 7, true}, {true, 0, 1, 7, false}, {false, 0, 0, 7, false}, {false, 0, 1, 7, true},
    {true, 2, 2, 6, true}, {true, 2, 2, 4, false}, {false, 2, 2, 6, false}, {false, 2, 2, 4, true},
};

START_TEST(page_faults_ask_mask_and_match)
{
    const struct vmxsim_event event = {.vector = 14,
                                       .type = 3,
                                       .has_error_code = true,
                                       .error_code = page_faults[_i].error_code,
                                       .detail = 0x5000};
    VMXSIM_VMCS(&machine.vmcs, EXCEPTION_BITMAP) = page_faults[_i].bit ? 1u << 14 : 0;
    VMXSIM_VMCS(&machine.vmcs, PAGE_FAULT_ERROR_CODE_MASK) = page_faults[_i].mask;
    VMXSIM_VMCS(&machine.vmcs, PAGE_FAULT_ERROR_CODE_MATCH) = page_faults[_i].match;
    load();
    ck_assert_int_eq(vmxsim_guest_exception(machine.cpu, &event, &outcome), VMXC_OK);
    expect_fate(page_faults[_i].exits ? EXITS : TAKEN, 0, 14);
    ck_assert_uint_eq(outcome.cr2, page_faults[_i].exits ? 0 : 0x5000);
}
END_TEST

/* ---- Interrupts and NMIs ---- */

/* Pin-based controls, RFLAGS.IF, interruptibility, activity. */
static const struct {
    uint64_t pin;
    bool interrupts;
    unsigned blocking, activity;
    enum fate fate;
} interrupts[] = {
    {0, false, 0, ACTIVE, BLOCKED},
    {0, true, 0, ACTIVE, TAKEN},
    {0, true, STI, ACTIVE, BLOCKED},
    {0, true, MOV_SS, ACTIVE, BLOCKED},
    {0, true, NMI_BLOCKING, ACTIVE, TAKEN},
    {0, true, 0, HLT, TAKEN},
    {0, true, 0, SHUTDOWN, BLOCKED},
    {0, true, 0, WAIT_FOR_SIPI, BLOCKED},
    {PIN_INTERRUPT, false, 0, ACTIVE, EXITS},
    {PIN_INTERRUPT, true, 0, HLT, EXITS},
    {PIN_INTERRUPT, true, STI, ACTIVE, BLOCKED},
    {PIN_INTERRUPT, true, MOV_SS, ACTIVE, BLOCKED},
    {PIN_INTERRUPT, true, 0, SHUTDOWN, BLOCKED},
    {PIN_INTERRUPT, true, 0, WAIT_FOR_SIPI, BLOCKED},
};

START_TEST(external_interrupts_go_where_the_control_says)
{
    VMXSIM_VMCS(&machine.vmcs, GUEST_RFLAGS) = interrupts[_i].interrupts ? 0x202 : 2;
    enter(interrupts[_i].pin, interrupts[_i].blocking, interrupts[_i].activity);
    ck_assert_int_eq(vmxsim_guest_external_interrupt(machine.cpu, 0x30, &outcome), VMXC_OK);
    expect_fate(interrupts[_i].fate, 1, 0x30);
    ck_assert_uint_eq(field(VMXC_VMCS_GUEST_ACTIVITY_STATE),
                      interrupts[_i].fate == TAKEN ? ACTIVE : interrupts[_i].activity);
}
END_TEST

START_TEST(the_vector_is_known_if_the_exit_acknowledges)
{
    VMXSIM_VMCS(&machine.vmcs, PRIMARY_VM_EXIT_CONTROLS) = _i ? VMXC_BIT(15) : 0;
    enter(PIN_INTERRUPT, 0, ACTIVE);
    ck_assert_int_eq(vmxsim_guest_external_interrupt(machine.cpu, 0x30, &outcome), VMXC_OK);
    expect_guest_exit(&outcome, 1);
    ck_assert_uint_eq(outcome.interruption_info, _i ? 0x80000030 : 0);
}
END_TEST

static const struct {
    uint64_t pin;
    unsigned blocking, activity;
    enum fate fate;
} nmis[] = {
    {0, 0, ACTIVE, TAKEN},
    {0, STI, ACTIVE, TAKEN},
    {0, MOV_SS, ACTIVE, BLOCKED},
    {0, NMI_BLOCKING, ACTIVE, BLOCKED},
    {0, 0, HLT, TAKEN},
    {0, 0, SHUTDOWN, TAKEN},
    {0, 0, WAIT_FOR_SIPI, BLOCKED},
    {PIN_NMI, 0, ACTIVE, EXITS},
    {PIN_NMI, NMI_BLOCKING, ACTIVE, BLOCKED},
    {PIN_NMI | PIN_VIRTUAL_NMIS, NMI_BLOCKING, ACTIVE, EXITS},
    {PIN_NMI | PIN_VIRTUAL_NMIS, MOV_SS, ACTIVE, BLOCKED},
    {PIN_NMI, 0, SHUTDOWN, EXITS},
    {PIN_NMI, 0, WAIT_FOR_SIPI, BLOCKED},
};

START_TEST(nmis_go_where_the_control_says)
{
    enter(nmis[_i].pin, nmis[_i].blocking, nmis[_i].activity);
    ck_assert_int_eq(vmxsim_guest_nmi(machine.cpu, &outcome), VMXC_OK);
    expect_fate(nmis[_i].fate, 0, 2);
    ck_assert_uint_eq(outcome.interruption_info, nmis[_i].fate == EXITS ? 0x80000202 : 0);
    ck_assert_uint_eq(field(VMXC_VMCS_GUEST_INTERRUPTIBILITY_STATE),
                      nmis[_i].blocking | (nmis[_i].fate == TAKEN ? NMI_BLOCKING : 0));
}
END_TEST

START_TEST(init_and_sipi_take_turns)
{
    for (unsigned activity = ACTIVE; activity <= WAIT_FOR_SIPI; activity++) {
        enter(0, 0, activity);
        ck_assert_int_eq(vmxsim_guest_init(machine.cpu, &outcome), VMXC_OK);
        expect_fate(activity == WAIT_FOR_SIPI ? BLOCKED : EXITS, 3, 0);
        ck_assert_int_eq(vmxsim_guest_sipi(machine.cpu, 0x9a, &outcome), VMXC_OK);
        expect_fate(activity == WAIT_FOR_SIPI ? EXITS : BLOCKED, 4, 0);
        ck_assert_uint_eq(outcome.qualification, activity == WAIT_FOR_SIPI ? 0x9a : 0);
    }
}
END_TEST

/* ---- Task switches, triple faults ---- */

START_TEST(task_switches_report_selector_and_source)
{
    static const uint64_t qualifications[] = {0x28, 0x40000028, 0x80000028, 0xc0000028};
    machine_set_mode(&machine, GUEST_32BIT);
    load();
    ck_assert_int_eq(
        vmxsim_guest_task_switch(machine.cpu, 0x28, (enum vmxc_task_source)_i, &outcome), VMXC_OK);
    expect_guest_exit(&outcome, 9);
    ck_assert_uint_eq(outcome.qualification, qualifications[_i]);
}
END_TEST

START_TEST(ia32e_mode_has_no_task_switches)
{
    load();
    ck_assert_int_eq(vmxsim_guest_task_switch(machine.cpu, 0x28, VMXC_TASK_SOURCE_JMP, &outcome),
                     VMXC_INVALID_INPUT);
}
END_TEST

START_TEST(a_triple_fault_exits)
{
    load();
    ck_assert_int_eq(vmxsim_guest_triple_fault(machine.cpu, &outcome), VMXC_OK);
    expect_guest_exit(&outcome, 2);
}
END_TEST

/* ---- Boundaries ---- */

static void boundary(const struct vmxsim_pending *pending)
{
    ck_assert_int_eq(vmxsim_guest_boundary(machine.cpu, pending, &outcome), VMXC_OK);
}

/* Everything waits and every control is 1: one after the other goes away, and the next one is first. */
START_TEST(events_have_an_order)
{
    struct vmxsim_pending pending = {.init = true,
                                     .nmi = true,
                                     .interrupt = true,
                                     .interrupt_vector = 0x30,
                                     .instruction_done = true,
                                     .debug_causes = 0x4000};
    set_primary(INTERRUPT_WINDOW | NMI_WINDOW | MTF);
    VMXSIM_VMCS(&machine.vmcs, GUEST_RFLAGS) = 0x202;
    VMXSIM_VMCS(&machine.vmcs, EXCEPTION_BITMAP) = 2;
    VMXSIM_VMCS(&machine.vmcs, PREEMPTION_TIMER_VALUE) = 0;
    enter(PIN_INTERRUPT | PIN_NMI | PIN_VIRTUAL_NMIS | PIN_TIMER, 0, ACTIVE);
    boundary(&pending);
    expect_guest_exit(&outcome, 3);
    pending.init = false;
    boundary(&pending);
    expect_guest_exit(&outcome, 37);
    pending.instruction_done = false;
    boundary(&pending);
    expect_guest_exit(&outcome, 0);
    ck_assert_uint_eq(outcome.qualification, 0x4000);
    pending.debug_causes = 0;
    boundary(&pending);
    expect_guest_exit(&outcome, 52);
    enter(PIN_INTERRUPT | PIN_NMI | PIN_VIRTUAL_NMIS, 0, ACTIVE);
    boundary(&pending);
    expect_guest_exit(&outcome, 8);
    set_primary(INTERRUPT_WINDOW);
    load();
    boundary(&pending);
    expect_guest_exit(&outcome, 0);
    ck_assert_uint_eq(outcome.interruption_info, 0x80000202);
    pending.nmi = false;
    boundary(&pending);
    expect_guest_exit(&outcome, 7);
    set_primary(0);
    load();
    boundary(&pending);
    expect_guest_exit(&outcome, 1);
    pending.interrupt = false;
    boundary(&pending);
    expect_guest_complete(&outcome);
}
END_TEST

/* A blocked event lets those behind it through. */
START_TEST(what_is_blocked_does_not_block_others)
{
    const struct vmxsim_pending pending = {.nmi = true, .interrupt = true, .sipi = true};
    enter(PIN_INTERRUPT | PIN_NMI, NMI_BLOCKING, ACTIVE);
    boundary(&pending);
    expect_guest_exit(&outcome, 1);
    enter(PIN_INTERRUPT | PIN_NMI, NMI_BLOCKING | STI, ACTIVE);
    boundary(&pending);
    expect_fate(BLOCKED, 0, 0);
}
END_TEST

START_TEST(a_sipi_wakes_whatever_its_vector)
{
    struct vmxsim_pending pending = {.sipi = true};
    for (unsigned vector = 0; vector <= 0x9a; vector += 0x9a) {
        pending.sipi_vector = (uint8_t)vector;
        enter(0, 0, WAIT_FOR_SIPI);
        boundary(&pending);
        expect_guest_exit(&outcome, 4);
        ck_assert_uint_eq(outcome.qualification, vector);
    }
    pending.sipi = false;
    boundary(&pending);
    expect_guest_complete(&outcome);
}
END_TEST

/* Window exiting: control, RFLAGS.IF, interruptibility, activity. */
static const struct {
    uint64_t control;
    bool interrupts;
    unsigned blocking, activity;
    bool exits;
} windows[] = {
    {INTERRUPT_WINDOW, true, 0, ACTIVE, true},
    {INTERRUPT_WINDOW, false, 0, ACTIVE, false},
    {INTERRUPT_WINDOW, true, STI, ACTIVE, false},
    {INTERRUPT_WINDOW, true, MOV_SS, ACTIVE, false},
    {INTERRUPT_WINDOW, true, NMI_BLOCKING, ACTIVE, true},
    {INTERRUPT_WINDOW, true, 0, HLT, true},
    {INTERRUPT_WINDOW, true, 0, SHUTDOWN, false},
    {INTERRUPT_WINDOW, true, 0, WAIT_FOR_SIPI, false},
    {NMI_WINDOW, false, 0, ACTIVE, true},
    {NMI_WINDOW, false, NMI_BLOCKING, ACTIVE, false},
    {NMI_WINDOW, false, MOV_SS, ACTIVE, false},
    {NMI_WINDOW, false, 0, HLT, true},
    {NMI_WINDOW, false, 0, SHUTDOWN, true},
    {NMI_WINDOW, false, 0, WAIT_FOR_SIPI, false},
    {0, true, 0, ACTIVE, false},
};

START_TEST(windows_open_when_nothing_blocks)
{
    set_primary(windows[_i].control);
    VMXSIM_VMCS(&machine.vmcs, GUEST_RFLAGS) = windows[_i].interrupts ? 0x202 : 2;
    enter(PIN_NMI | PIN_VIRTUAL_NMIS, windows[_i].blocking, windows[_i].activity);
    boundary(&(struct vmxsim_pending){.init = false});
    if (windows[_i].exits)
        expect_guest_exit(&outcome, windows[_i].control == NMI_WINDOW ? 8 : 7);
    else
        expect_guest_complete(&outcome);
}
END_TEST

START_TEST(a_debug_trap_goes_to_the_guest_or_waits_behind_mov_ss)
{
    const struct vmxsim_pending pending = {.debug_causes = 0x4000};
    enter(0, 0, ACTIVE);
    boundary(&pending);
    expect_fate(TAKEN, 0, 1);
    ck_assert_int_eq(vmxsim_guest_mov_from_dr(machine.cpu, 6, 0, &outcome), VMXC_OK);
    ck_assert_uint_eq(outcome.value, 0xffff4ff0);
    enter(0, MOV_SS, ACTIVE);
    boundary(&pending);
    expect_guest_complete(&outcome);
}
END_TEST

/* ---- The preemption timer ---- */

START_TEST(the_timer_needs_its_control)
{
    enter(0, 0, ACTIVE);
    ck_assert_int_eq(vmxsim_guest_advance_timer(machine.cpu, 1), VMXC_BAD_STATE);
}
END_TEST

START_TEST(the_timer_stops_at_0_and_then_exits)
{
    const struct vmxsim_pending nothing = {.init = false};
    VMXSIM_VMCS(&machine.vmcs, PREEMPTION_TIMER_VALUE) = 10;
    enter(PIN_TIMER, 0, HLT);
    ck_assert_int_eq(vmxsim_guest_advance_timer(machine.cpu, 9), VMXC_OK);
    boundary(&nothing);
    expect_guest_complete(&outcome);
    ck_assert_uint_eq(field(VMXC_VMCS_PREEMPTION_TIMER_VALUE), 1);
    ck_assert_int_eq(vmxsim_guest_advance_timer(machine.cpu, 5), VMXC_OK);
    boundary(&nothing);
    expect_guest_exit(&outcome, 52);
    ck_assert_uint_eq(field(VMXC_VMCS_PREEMPTION_TIMER_VALUE), 0);
}
END_TEST

START_TEST(the_timer_rests_while_the_guest_waits_for_a_sipi)
{
    VMXSIM_VMCS(&machine.vmcs, PREEMPTION_TIMER_VALUE) = 10;
    enter(PIN_TIMER, 0, WAIT_FOR_SIPI);
    ck_assert_int_eq(vmxsim_guest_advance_timer(machine.cpu, 20), VMXC_OK);
    ck_assert_uint_eq(field(VMXC_VMCS_PREEMPTION_TIMER_VALUE), 10);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("guest_events");
    TCase *exceptions =
        suite_case(suite, "exceptions", guest_fixture_set_up, guest_fixture_tear_down);
    TCase *arrivals =
        suite_case(suite, "interrupts", guest_fixture_set_up, guest_fixture_tear_down);
    TCase *others = suite_case(suite, "others", guest_fixture_set_up, guest_fixture_tear_down);
    TCase *boundaries =
        suite_case(suite, "boundaries", guest_fixture_set_up, guest_fixture_tear_down);

    tcase_add_loop_test(exceptions, events_that_do_not_exist_are_refused, 0, COUNT(events));
    tcase_add_test(exceptions, real_mode_has_no_error_codes);
    tcase_add_loop_test(exceptions, the_bitmap_decides_per_vector, 0, COUNT(exits));
    tcase_add_test(exceptions, int_n_is_for_the_guest);
    tcase_add_loop_test(exceptions, page_faults_ask_mask_and_match, 0, COUNT(page_faults));

    tcase_add_loop_test(arrivals, external_interrupts_go_where_the_control_says, 0,
                        COUNT(interrupts));
    tcase_add_loop_test(arrivals, the_vector_is_known_if_the_exit_acknowledges, 0, 2);
    tcase_add_loop_test(arrivals, nmis_go_where_the_control_says, 0, COUNT(nmis));
    tcase_add_test(arrivals, init_and_sipi_take_turns);

    tcase_add_loop_test(others, task_switches_report_selector_and_source, 0, 4);
    tcase_add_test(others, ia32e_mode_has_no_task_switches);
    tcase_add_test(others, a_triple_fault_exits);

    tcase_add_test(boundaries, events_have_an_order);
    tcase_add_test(boundaries, what_is_blocked_does_not_block_others);
    tcase_add_test(boundaries, a_sipi_wakes_whatever_its_vector);
    tcase_add_loop_test(boundaries, windows_open_when_nothing_blocks, 0, COUNT(windows));
    tcase_add_test(boundaries, a_debug_trap_goes_to_the_guest_or_waits_behind_mov_ss);
    tcase_add_test(boundaries, the_timer_needs_its_control);
    tcase_add_test(boundaries, the_timer_stops_at_0_and_then_exits);
    tcase_add_test(boundaries, the_timer_rests_while_the_guest_waits_for_a_sipi);

    return run_suite(suite);
}
