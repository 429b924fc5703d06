/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Virtual interrupts: priorities, recognition, delivery, end of interrupt, posted interrupts, and the TPR threshold after VM
 * entry. Pseudocode and conditions are those of the Intel SDM volume 3, "Virtual APIC State", "Evaluation and Delivery of
 * Virtual Interrupts", "Posted-Interrupt Processing", "VM Exits Induced by the TPR Threshold".
 */
#include "vmxsim/exit.h"
#include "vmxsim/guest.h"
#include "vmxsim/intercept.h"

#include "support/guest_fixture.h"
#include "support/suite.h"

#define PIN_INTERRUPT    VMXC_BIT(0)
#define PIN_NMI          VMXC_BIT(3)
#define PIN_POSTED       VMXC_BIT(7)
#define INTERRUPT_WINDOW VMXC_BIT(2)
#define TPR_SHADOW       VMXC_BIT(21)
#define NO_MSR_EXITS     VMXC_BIT(28) /* use MSR bitmaps, which are empty */
#define VIRTUALIZE       VMXC_BIT(0)
#define X2APIC           VMXC_BIT(4)
#define DELIVERY         VMXC_BIT(9)
#define ACKNOWLEDGE      VMXC_BIT(15)

enum { ACTIVE, HLT, SHUTDOWN, WAIT_FOR_SIPI };
enum { NO_BLOCKING, STI, MOV_SS, NMI_BLOCKING = 8 };

#define PAGE        UINT64_C(0x60000)
#define DESCRIPTOR  UINT64_C(0x61000)
#define MSR_BITMAPS UINT64_C(0x62000)
#define VTPR        0x080u
#define VPPR        0x0a0u
#define VISR        0x100u
#define VIRR        0x200u
#define NOTIFY      0xf2u

static struct vmxsim_outcome outcome;
static const struct vmxsim_pending nothing;

static uint32_t reg(uint64_t offset)
{
    return vmxsim_memory_read32(machine.memory, PAGE + offset);
}

static void set_reg(uint64_t offset, uint32_t value)
{
    vmxsim_memory_write32(machine.memory, PAGE + offset, value);
}

static void set_vector(uint64_t bits, unsigned vector)
{
    const uint64_t offset = bits + vector / 32 * 16;
    set_reg(offset, reg(offset) | 1u << vector % 32);
}

static bool has_vector(uint64_t bits, unsigned vector)
{
    return reg(bits + vector / 32 * 16) >> vector % 32 & 1;
}

/* RVI in bits 7:0, SVI in bits 15:8. */
static uint64_t status(void)
{
    uint64_t value = 0;
    ck_assert_int_eq(vmxsim_guest_get(machine.cpu, VMXC_VMCS_GUEST_INTERRUPT_STATUS, &value),
                     VMXC_OK);
    return value;
}

static uint64_t activity(void)
{
    uint64_t value = 0;
    ck_assert_int_eq(vmxsim_guest_get(machine.cpu, VMXC_VMCS_GUEST_ACTIVITY_STATE, &value),
                     VMXC_OK);
    return value;
}

static void enter(uint64_t interrupt_status, uint32_t tpr)
{
    set_reg(VTPR, tpr);
    VMXSIM_VMCS(&machine.vmcs, GUEST_INTERRUPT_STATUS) = interrupt_status;
    load();
}

static void boundary(const struct vmxsim_pending *pending)
{
    ck_assert_int_eq(vmxsim_guest_boundary(machine.cpu, pending, &outcome), VMXC_OK);
}

static void expect_delivery(unsigned vector)
{
    ck_assert_msg(outcome.kind == VMXSIM_OUTCOME_GUEST_EXCEPTION, "%s",
                  machine_outcome_text(&outcome));
    ck_assert_int_eq(outcome.rule, VMXSIM_RULE_VIRTUAL_INTERRUPT);
    ck_assert_uint_eq(outcome.vector, vector);
}

static void wrmsr(uint32_t msr, uint64_t value)
{
    ck_assert_int_eq(vmxsim_guest_wrmsr(machine.cpu, msr, value, &outcome), VMXC_OK);
}

static void set_up(void)
{
    guest_fixture_set_up();
    set_pin(PIN_INTERRUPT);
    set_primary(TPR_SHADOW | NO_MSR_EXITS);
    set_secondary(X2APIC | DELIVERY);
    VMXSIM_VMCS(&machine.vmcs, PRIMARY_VM_EXIT_CONTROLS) |= ACKNOWLEDGE;
    VMXSIM_VMCS(&machine.vmcs, VIRTUAL_APIC_ADDRESS) = PAGE;
    VMXSIM_VMCS(&machine.vmcs, MSR_BITMAP_ADDRESS) = MSR_BITMAPS;
    VMXSIM_VMCS(&machine.vmcs, GUEST_RFLAGS) = 0x202;
}

/* ---- PPR ---- */

static const struct {
    uint8_t tpr, svi, ppr;
} priorities[] = {
    {0x00, 0x00, 0x00}, {0x07, 0x00, 0x07}, {0x35, 0x2f, 0x35},
    {0x35, 0x3f, 0x35}, {0x30, 0x45, 0x40}, {0x3f, 0x40, 0x40},
    {0x4f, 0x45, 0x4f}, {0xff, 0xff, 0xff}, {0xef, 0xff, 0xf0},
};

START_TEST(entry_makes_the_ppr_from_tpr_and_svi)
{
    set_reg(VPPR, 0xffffffff);
    enter((uint64_t)priorities[_i].svi << 8, 0xabcdef00 | priorities[_i].tpr);
    ck_assert_uint_eq(reg(VPPR), priorities[_i].ppr);
    ck_assert_uint_eq(reg(VTPR), 0xabcdef00 | priorities[_i].tpr);
}
END_TEST

START_TEST(without_delivery_entry_leaves_the_page_alone)
{
    set_secondary(X2APIC);
    set_reg(VPPR, 0xffffffff);
    enter(0x4051, 0x20);
    ck_assert_uint_eq(reg(VPPR), 0xffffffff);
    boundary(&nothing);
    expect_guest_complete(&outcome);
}
END_TEST

/* ---- Recognition ---- */

/* At VM entry: RVI in a class above that of the PPR. */
static const struct {
    uint16_t status;
    uint8_t tpr;
    bool recognized;
} evaluations[] = {
    {0x0000, 0x00, false}, {0x000f, 0x00, false}, {0x0010, 0x00, true},  {0x003f, 0x30, false},
    {0x0040, 0x3f, true},  {0x3540, 0x00, true},  {0x404f, 0x00, false}, {0x4050, 0x4f, true},
    {0x20ff, 0xf0, false}, {0x00ff, 0xef, true},  {0x5040, 0x00, false},
};

START_TEST(a_higher_class_than_the_ppr_is_recognized)
{
    enter(evaluations[_i].status, evaluations[_i].tpr);
    boundary(&nothing);
    if (evaluations[_i].recognized)
        expect_delivery(evaluations[_i].status & 0xff);
    else
        expect_guest_complete(&outcome);
}
END_TEST

/* Reasons for a virtual interrupt that is recognized, or would be, to wait: interrupt window, RFLAGS, blocking, activity. */
static const struct {
    uint64_t window, rflags;
    unsigned blocking, activity;
    bool delivered;
} obstacles[] = {
    {0, 0x202, NO_BLOCKING, ACTIVE, true},
    {0, 0x002, NO_BLOCKING, ACTIVE, false},
    {0, 0x202, STI, ACTIVE, false},
    {0, 0x202, MOV_SS, ACTIVE, false},
    {0, 0x202, NMI_BLOCKING, ACTIVE, true},
    {0, 0x202, NO_BLOCKING, HLT, true},
    {0, 0x202, NO_BLOCKING, SHUTDOWN, false},
    {0, 0x202, NO_BLOCKING, WAIT_FOR_SIPI, false},
    {INTERRUPT_WINDOW, 0x002, NO_BLOCKING, ACTIVE, false},
};

START_TEST(delivery_waits_for_an_open_window)
{
    set_primary(TPR_SHADOW | obstacles[_i].window);
    VMXSIM_VMCS(&machine.vmcs, GUEST_RFLAGS) = obstacles[_i].rflags;
    VMXSIM_VMCS(&machine.vmcs, GUEST_INTERRUPTIBILITY_STATE) = obstacles[_i].blocking;
    VMXSIM_VMCS(&machine.vmcs, GUEST_ACTIVITY_STATE) = obstacles[_i].activity;
    enter(0x51, 0);
    boundary(&nothing);
    if (obstacles[_i].delivered) {
        expect_delivery(0x51);
        ck_assert_uint_eq(activity(), ACTIVE);
    } else {
        expect_guest_complete(&outcome);
        ck_assert_uint_eq(activity(), obstacles[_i].activity);
        ck_assert_uint_eq(status(), 0x51);
    }
}
END_TEST

/* With interrupt-window exiting nothing is recognized: there is the VM exit instead, and it changes nothing on the page. */
START_TEST(interrupt_window_exiting_takes_the_place_of_delivery)
{
    set_primary(TPR_SHADOW | INTERRUPT_WINDOW);
    enter(0x51, 0);
    boundary(&nothing);
    expect_guest_exit(&outcome, 7);
    ck_assert_uint_eq(status(), 0x51);
    ck_assert(!has_vector(VISR, 0x51));
}
END_TEST

/* Changing RVI or the PPR is no reason to evaluate. */
START_TEST(nothing_else_evaluates)
{
    enter(0, 0);
    ck_assert_int_eq(vmxsim_guest_set(machine.cpu, VMXC_VMCS_GUEST_INTERRUPT_STATUS, 0x51),
                     VMXC_OK);
    boundary(&nothing);
    expect_guest_complete(&outcome);
    enter(0x51, 0x60);
    set_reg(VPPR, 0);
    boundary(&nothing);
    expect_guest_complete(&outcome);
}
END_TEST

/* ---- Delivery and end of interrupt ---- */

START_TEST(delivery_moves_the_vector_from_request_to_service)
{
    set_vector(VIRR, 0x51);
    set_vector(VIRR, 0x33);
    enter(0x51, 0);
    boundary(&nothing);
    expect_delivery(0x51);
    ck_assert_uint_eq(status(), 0x5133);
    ck_assert_uint_eq(reg(VPPR), 0x50);
    ck_assert(has_vector(VISR, 0x51) && !has_vector(VIRR, 0x51) && has_vector(VIRR, 0x33));
    boundary(&nothing); /* recognition has ended */
    expect_guest_complete(&outcome);
}
END_TEST

START_TEST(after_the_last_request_rvi_is_0)
{
    set_vector(VIRR, 0xff);
    enter(0xff, 0);
    boundary(&nothing);
    expect_delivery(0xff);
    ck_assert_uint_eq(status(), 0xff00);
    ck_assert_uint_eq(reg(VIRR + 0x70), 0);
}
END_TEST

/* An end of interrupt, from the x2APIC MSR and from the page: the next in service, and the next request. */
START_TEST(the_end_of_an_interrupt_lets_the_next_one_through)
{
    set_vector(VIRR, 0x33);
    set_vector(VISR, 0x51);
    set_vector(VISR, 0x28);
    enter(0x5133, 0);
    boundary(&nothing);
    expect_guest_complete(&outcome);
    wrmsr(0x80b, 0);
    expect_guest_complete(&outcome);
    ck_assert_uint_eq(status(), 0x2833);
    ck_assert(!has_vector(VISR, 0x51) && has_vector(VISR, 0x28));
    ck_assert_uint_eq(reg(VPPR), 0x20);
    boundary(&nothing);
    expect_delivery(0x33);
    wrmsr(0x80b, 0);
    ck_assert_uint_eq(status(), 0x2800);
    wrmsr(0x80b, 0);
    ck_assert_uint_eq(status(), 0);
    ck_assert_uint_eq(reg(VPPR), 0);
}
END_TEST

static const uint8_t eoi_vectors[] = {0x21, 0x3f, 0x40, 0x91, 0xc0, 0xff};

START_TEST(the_bitmap_makes_the_end_of_an_interrupt_exit)
{
    const uint8_t vector = eoi_vectors[_i];
    uint64_t *const bitmap[] = {&VMXSIM_VMCS(&machine.vmcs, EOI_EXIT_BITMAP_0),
                                &VMXSIM_VMCS(&machine.vmcs, EOI_EXIT_BITMAP_1),
                                &VMXSIM_VMCS(&machine.vmcs, EOI_EXIT_BITMAP_2),
                                &VMXSIM_VMCS(&machine.vmcs, EOI_EXIT_BITMAP_3)};
    for (int only = 0; only < 2; only++) {
        for (unsigned i = 0; i < 4; i++)
            *bitmap[i] = only ? 0 : UINT64_MAX;
        *bitmap[vector / 64] ^= UINT64_C(1) << vector % 64;
        set_vector(VISR, vector);
        enter((uint64_t)vector << 8 | 0x1f, 0);
        wrmsr(0x80b, 0);
        ck_assert_uint_eq(status(), 0x1f); /* done either way */
        ck_assert(!has_vector(VISR, vector));
        ck_assert_uint_eq(reg(VPPR), 0);
        if (!only) {
            expect_guest_complete(&outcome);
            continue;
        }
        expect_guest_exit(&outcome, 45);
        ck_assert_int_eq(outcome.rule, VMXSIM_RULE_EXIT_VIRTUALIZED_EOI);
        ck_assert_uint_eq(outcome.qualification, vector);
        boundary(&nothing); /* no evaluation: RVI is not recognized */
        expect_guest_complete(&outcome);
    }
}
END_TEST

START_TEST(the_exit_saves_the_interrupt_status)
{
    enum vmxc_vmx_abort abort;
    VMXSIM_VMCS(&machine.vmcs, EOI_EXIT_BITMAP_1) = UINT64_C(1) << (0x51 - 64);
    set_vector(VISR, 0x51);
    set_vector(VISR, 0x28);
    enter(0x5133, 0);
    wrmsr(0x80b, 0);
    expect_guest_exit(&outcome, 45);
    ck_assert_int_eq(vmxsim_vm_exit(machine.cpu, &outcome, NULL, &abort), VMXC_OK);
    const struct vmxsim_vmcs *const vmcs = vmxsim_exit_vmcs(machine.cpu);
    ck_assert_uint_eq(VMXSIM_VMCS(vmcs, GUEST_INTERRUPT_STATUS), 0x2833);
    ck_assert_uint_eq(VMXSIM_VMCS(vmcs, EXIT_REASON), 45);
    ck_assert_uint_eq(VMXSIM_VMCS(vmcs, EXIT_QUALIFICATION), 0x51);
}
END_TEST

/* ---- Self-IPI and TPR ---- */

START_TEST(a_self_ipi_raises_rvi_and_never_lowers_it)
{
    enter(0, 0);
    wrmsr(0x83f, 0x41);
    ck_assert_uint_eq(status(), 0x41);
    ck_assert(has_vector(VIRR, 0x41));
    wrmsr(0x83f, 0x31);
    ck_assert_uint_eq(status(), 0x41);
    ck_assert(has_vector(VIRR, 0x31));
    boundary(&nothing);
    expect_delivery(0x41);
    ck_assert_uint_eq(status(), 0x4131);
}
END_TEST

/* The three ways to write the TPR; the threshold is not used with virtual-interrupt delivery. */
START_TEST(lowering_the_tpr_lets_an_interrupt_through)
{
    VMXSIM_VMCS(&machine.vmcs, TPR_THRESHOLD) = 15;
    enter(0x51, 0x60);
    boundary(&nothing);
    expect_guest_complete(&outcome);
    if (_i)
        ck_assert_int_eq(vmxsim_guest_mov_to_cr(machine.cpu, 8, 0, 5, &outcome), VMXC_OK);
    else
        wrmsr(0x808, 0x5f);
    expect_guest_complete(&outcome);
    ck_assert_uint_eq(reg(VPPR), _i ? 0x50 : 0x5f);
    boundary(&nothing);
    expect_guest_complete(&outcome);
    if (_i)
        ck_assert_int_eq(vmxsim_guest_mov_to_cr(machine.cpu, 8, 0, 4, &outcome), VMXC_OK);
    else
        wrmsr(0x808, 0x4f);
    expect_guest_complete(&outcome);
    boundary(&nothing);
    expect_delivery(0x51);
}
END_TEST

START_TEST(raising_the_tpr_takes_recognition_back)
{
    enter(0x51, 0);
    ck_assert_int_eq(vmxsim_guest_mov_to_cr(machine.cpu, 8, 0, 6, &outcome), VMXC_OK);
    boundary(&nothing);
    expect_guest_complete(&outcome);
}
END_TEST

/* An instruction that completes ends blocking by STI, also if a VM exit follows it. */
START_TEST(the_exit_comes_after_the_instruction)
{
    uint64_t blocking = 0;
    VMXSIM_VMCS(&machine.vmcs, GUEST_INTERRUPTIBILITY_STATE) = STI;
    enter(0, 0);
    wrmsr(0x83f, 0x0f);
    expect_guest_exit(&outcome, 56);
    ck_assert_int_eq(
        vmxsim_guest_get(machine.cpu, VMXC_VMCS_GUEST_INTERRUPTIBILITY_STATE, &blocking), VMXC_OK);
    ck_assert_uint_eq(blocking, 0);
}
END_TEST

/* ---- Order ---- */

START_TEST(a_virtual_interrupt_comes_after_nmis_and_before_interrupts)
{
    struct vmxsim_pending pending = {.nmi = true, .interrupt = true, .interrupt_vector = 0x30};
    set_pin(PIN_INTERRUPT | PIN_NMI);
    enter(0x51, 0);
    boundary(&pending);
    expect_guest_exit(&outcome, 0);
    pending.nmi = false;
    boundary(&pending);
    expect_delivery(0x51);
    boundary(&pending);
    expect_guest_exit(&outcome, 1);
}
END_TEST

/* ---- User interrupts ---- */

/* CR4.UINTR, "load UINV" with UINV 51H, vector: refused if it is, or might be, a notification. */
static const struct {
    bool uintr, load;
    uint8_t vector;
    enum vmxc_status status;
} notifications[] = {
    {false, true, 0x51, VMXC_OK},
    {true, true, 0x50, VMXC_OK},
    {true, true, 0x51, VMXC_UNSUPPORTED},
    {true, false, 0x50, VMXC_UNSUPPORTED},
};

START_TEST(user_interrupt_notifications_are_refused)
{
    VMXSIM_VMCS(&machine.vmcs, GUEST_CR4) |= notifications[_i].uintr ? VMXC_BIT(25) : 0;
    VMXSIM_VMCS(&machine.vmcs, VM_ENTRY_CONTROLS) |= notifications[_i].load ? VMXC_BIT(19) : 0;
    VMXSIM_VMCS(&machine.vmcs, GUEST_UINV) = 0x51;
    enter(notifications[_i].vector, 0);
    ck_assert_int_eq(vmxsim_guest_boundary(machine.cpu, &nothing, &outcome),
                     notifications[_i].status);
    if (notifications[_i].status == VMXC_OK)
        expect_delivery(notifications[_i].vector);
    else
        ck_assert_uint_eq(status(), notifications[_i].vector); /* nothing has changed */
    set_pin(0);
    enter(0, 0);
    ck_assert_int_eq(
        vmxsim_guest_external_interrupt(machine.cpu, notifications[_i].vector, &outcome),
        notifications[_i].status);
}
END_TEST

/* Outside IA-32e mode there are none. */
START_TEST(other_modes_have_no_user_interrupts)
{
    machine_set_mode(&machine, GUEST_NONE);
    VMXSIM_VMCS(&machine.vmcs, GUEST_RFLAGS) = 0x202;
    VMXSIM_VMCS(&machine.vmcs, GUEST_CR4) |= VMXC_BIT(25);
    enter(0x51, 0);
    boundary(&nothing);
    expect_delivery(0x51);
}
END_TEST

/* ---- TPR threshold after VM entry ---- */

static const struct {
    uint64_t primary, secondary, threshold;
    uint32_t tpr;
    unsigned activity;
    bool exits;
} thresholds[] = {
    {TPR_SHADOW, VIRTUALIZE, 5, 0x4f, ACTIVE, true},
    {TPR_SHADOW, VIRTUALIZE, 5, 0x50, ACTIVE, false},
    {TPR_SHADOW, VIRTUALIZE, 0, 0x00, ACTIVE, false},
    {TPR_SHADOW, VIRTUALIZE, 15, 0xef, HLT, true},
    {TPR_SHADOW, VIRTUALIZE, 5, 0x4f, SHUTDOWN, false},
    {TPR_SHADOW, VIRTUALIZE, 5, 0x4f, WAIT_FOR_SIPI, false},
    {TPR_SHADOW, VIRTUALIZE | DELIVERY, 5, 0x4f, ACTIVE, false},
    {TPR_SHADOW, X2APIC, 5, 0x4f, ACTIVE, false},
    {0, VIRTUALIZE, 5, 0x4f, ACTIVE, false},
};

START_TEST(a_tpr_below_the_threshold_at_entry_exits)
{
    set_primary(thresholds[_i].primary);
    set_secondary(thresholds[_i].secondary);
    VMXSIM_VMCS(&machine.vmcs, TPR_THRESHOLD) = thresholds[_i].threshold;
    VMXSIM_VMCS(&machine.vmcs, GUEST_ACTIVITY_STATE) = thresholds[_i].activity;
    VMXSIM_VMCS(&machine.vmcs, GUEST_RFLAGS) = 2; /* nor do these block it */
    VMXSIM_VMCS(&machine.vmcs, GUEST_INTERRUPTIBILITY_STATE) = MOV_SS;
    enter(0, thresholds[_i].tpr);
    boundary(&nothing);
    if (thresholds[_i].exits) {
        expect_guest_exit(&outcome, 43);
        ck_assert_int_eq(outcome.rule, VMXSIM_RULE_EXIT_TPR_ENTRY);
        ck_assert_uint_eq(outcome.qualification, 0);
    } else {
        expect_guest_complete(&outcome);
    }
}
END_TEST

START_TEST(the_threshold_after_entry_comes_before_everything)
{
    const struct vmxsim_pending pending = {
        .init = true, .nmi = true, .interrupt = true, .instruction_done = true, .debug_causes = 1};
    set_primary(TPR_SHADOW | VMXC_BIT(27)); /* monitor trap flag */
    set_secondary(VIRTUALIZE);
    VMXSIM_VMCS(&machine.vmcs, TPR_THRESHOLD) = 1;
    enter(0, 0);
    boundary(&pending);
    expect_guest_exit(&outcome, 43);
}
END_TEST

START_TEST(in_the_shutdown_state_it_waits_for_the_nmi)
{
    const struct vmxsim_pending pending = {.nmi = true};
    set_secondary(VIRTUALIZE);
    VMXSIM_VMCS(&machine.vmcs, TPR_THRESHOLD) = 1;
    VMXSIM_VMCS(&machine.vmcs, GUEST_ACTIVITY_STATE) = SHUTDOWN;
    enter(0, 0);
    boundary(&pending);
    ck_assert_int_eq(outcome.kind, VMXSIM_OUTCOME_GUEST_EXCEPTION);
    boundary(&nothing);
    expect_guest_exit(&outcome, 43);
}
END_TEST

/* ---- Posted interrupts ---- */

/* Bits 255:0 requests, 256 outstanding notification; software owns the rest. */
static void post(unsigned vector)
{
    const uint64_t hpa = DESCRIPTOR + vector / 64 * 8;
    machine_write(&machine, hpa, machine_read(&machine, hpa) | UINT64_C(1) << vector % 64);
}

static void enter_with_descriptor(uint64_t interrupt_status)
{
    set_pin(PIN_INTERRUPT | PIN_POSTED);
    VMXSIM_VMCS(&machine.vmcs, POSTED_INTERRUPT_NOTIFICATION_VECTOR) = NOTIFY;
    VMXSIM_VMCS(&machine.vmcs, POSTED_INTERRUPT_DESCRIPTOR_ADDRESS) = DESCRIPTOR;
    machine_write(&machine, DESCRIPTOR + 32, UINT64_C(0x123456789abcdef3));
    enter(interrupt_status, 0);
}

static void notify(void)
{
    ck_assert_int_eq(vmxsim_guest_external_interrupt(machine.cpu, NOTIFY, &outcome), VMXC_OK);
}

static void expect_processing(void)
{
    ck_assert_int_eq(outcome.kind, VMXSIM_OUTCOME_COMPLETE);
    ck_assert_int_eq(outcome.rule, VMXSIM_RULE_POSTED_INTERRUPT);
    ck_assert_uint_eq(machine_read(&machine, DESCRIPTOR + 32), UINT64_C(0x123456789abcdef2));
}

START_TEST(other_vectors_and_other_controls_make_it_an_ordinary_interrupt)
{
    post(0x51);
    enter_with_descriptor(0);
    ck_assert_int_eq(vmxsim_guest_external_interrupt(machine.cpu, NOTIFY - 1, &outcome), VMXC_OK);
    expect_guest_exit(&outcome, 1);
    ck_assert_uint_eq(outcome.interruption_info, 0x80000000 | (NOTIFY - 1));
    set_pin(PIN_INTERRUPT);
    load();
    notify();
    expect_guest_exit(&outcome, 1);
    ck_assert(!has_vector(VIRR, 0x51));
}
END_TEST

START_TEST(a_blocked_notification_posts_nothing)
{
    post(0x51);
    VMXSIM_VMCS(&machine.vmcs, GUEST_INTERRUPTIBILITY_STATE) = STI;
    enter_with_descriptor(0);
    notify();
    ck_assert_int_eq(outcome.rule, VMXSIM_RULE_EVENT_BLOCKED);
    ck_assert_uint_eq(machine_read(&machine, DESCRIPTOR + 32), UINT64_C(0x123456789abcdef3));
    ck_assert_uint_eq(status(), 0);
}
END_TEST

static const struct {
    uint8_t posted[3]; /* 0: none */
    uint8_t old_rvi, new_rvi;
} posts[] = {
    {{0, 0, 0}, 0, 0},
    {{0, 0, 0}, 0x30, 0x30},
    {{0x51, 0, 0}, 0, 0x51},
    {{0x51, 0x33, 0xfe}, 0, 0xfe},
    {{0x51, 0, 0}, 0x60, 0x60},
    {{0x51, 0, 0}, 0x51, 0x51},
    {{0x1f, 0x20, 0x3f}, 0x10, 0x3f},
    {{0x40, 0xff, 0x10}, 0xfe, 0xff},
};

START_TEST(requests_move_to_the_page_and_rvi_is_the_highest)
{
    set_vector(VIRR, 0x21);
    for (unsigned i = 0; i < 3 && posts[_i].posted[i]; i++)
        post(posts[_i].posted[i]);
    enter_with_descriptor(posts[_i].old_rvi);
    notify();
    expect_processing();
    ck_assert_uint_eq(status(), posts[_i].new_rvi);
    for (unsigned i = 0; i < 3 && posts[_i].posted[i]; i++)
        ck_assert(has_vector(VIRR, posts[_i].posted[i]));
    ck_assert(has_vector(VIRR, 0x21)); /* what was requested before stays */
    for (unsigned i = 0; i < 4; i++)
        ck_assert_uint_eq(machine_read(&machine, DESCRIPTOR + 8 * i), 0);
}
END_TEST

START_TEST(a_halted_guest_wakes_by_the_interrupt_not_by_its_notification)
{
    VMXSIM_VMCS(&machine.vmcs, GUEST_ACTIVITY_STATE) = HLT;
    enter_with_descriptor(0);
    notify();
    expect_processing();
    boundary(&nothing);
    expect_guest_complete(&outcome);
    ck_assert_uint_eq(activity(), HLT);
    post(0x51);
    notify();
    ck_assert_uint_eq(activity(), HLT);
    boundary(&nothing);
    expect_delivery(0x51);
    ck_assert_uint_eq(activity(), ACTIVE);
}
END_TEST

/* RFLAGS.IF blocks delivery, not the notification. */
START_TEST(a_boundary_posts_and_delivers)
{
    const struct vmxsim_pending pending = {.interrupt = true, .interrupt_vector = NOTIFY};
    post(0x51);
    enter_with_descriptor(0);
    boundary(&pending);
    expect_delivery(0x51);
    post(0x61);
    VMXSIM_VMCS(&machine.vmcs, GUEST_RFLAGS) = 2;
    enter_with_descriptor(0);
    boundary(&pending);
    expect_processing();
    ck_assert_uint_eq(status(), 0x61);
}
END_TEST

static void add_interrupts(TCase *tests)
{
    tcase_add_loop_test(tests, entry_makes_the_ppr_from_tpr_and_svi, 0, COUNT(priorities));
    tcase_add_test(tests, without_delivery_entry_leaves_the_page_alone);
    tcase_add_loop_test(tests, a_higher_class_than_the_ppr_is_recognized, 0, COUNT(evaluations));
    tcase_add_loop_test(tests, delivery_waits_for_an_open_window, 0, COUNT(obstacles));
    tcase_add_test(tests, interrupt_window_exiting_takes_the_place_of_delivery);
    tcase_add_test(tests, nothing_else_evaluates);
    tcase_add_test(tests, delivery_moves_the_vector_from_request_to_service);
    tcase_add_test(tests, after_the_last_request_rvi_is_0);
    tcase_add_test(tests, the_end_of_an_interrupt_lets_the_next_one_through);
    tcase_add_loop_test(tests, the_bitmap_makes_the_end_of_an_interrupt_exit, 0,
                        COUNT(eoi_vectors));
    tcase_add_test(tests, the_exit_saves_the_interrupt_status);
    tcase_add_test(tests, a_self_ipi_raises_rvi_and_never_lowers_it);
    tcase_add_loop_test(tests, lowering_the_tpr_lets_an_interrupt_through, 0, 2);
    tcase_add_test(tests, raising_the_tpr_takes_recognition_back);
    tcase_add_test(tests, the_exit_comes_after_the_instruction);
    tcase_add_test(tests, a_virtual_interrupt_comes_after_nmis_and_before_interrupts);
}

int main(void)
{
    Suite *const suite = suite_create("virtual_interrupts");
    TCase *const tests = suite_case(suite, "tests", set_up, guest_fixture_tear_down);
    add_interrupts(tests);
    tcase_add_loop_test(tests, user_interrupt_notifications_are_refused, 0, COUNT(notifications));
    tcase_add_test(tests, other_modes_have_no_user_interrupts);
    tcase_add_loop_test(tests, a_tpr_below_the_threshold_at_entry_exits, 0, COUNT(thresholds));
    tcase_add_test(tests, the_threshold_after_entry_comes_before_everything);
    tcase_add_test(tests, in_the_shutdown_state_it_waits_for_the_nmi);
    tcase_add_test(tests, other_vectors_and_other_controls_make_it_an_ordinary_interrupt);
    tcase_add_test(tests, a_blocked_notification_posts_nothing);
    tcase_add_loop_test(tests, requests_move_to_the_page_and_rvi_is_the_highest, 0, COUNT(posts));
    tcase_add_test(tests, a_halted_guest_wakes_by_the_interrupt_not_by_its_notification);
    tcase_add_test(tests, a_boundary_posts_and_delivers);

    return run_suite(suite);
}
