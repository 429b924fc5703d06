/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decisions about guest instructions, against tables written from the manual: what faults first, what exits, and what the
 * qualification and the instruction information then say. Moves to control and debug registers are in test_guest_registers.c, events
 * in test_guest_events.c.
 */
#include "vmxsim/guest.h"

#include "support/guest_fixture.h"
#include "support/suite.h"

#define ANY   0u
#define GP    VMXC_VECTOR_GP
#define UD    VMXC_VECTOR_UD
#define NEVER 0u /* no control: the instruction always exits */

/* Operands that give each part of the information a value of its own. */
static const struct vmxsim_operands memory_operand = {
    .register2 = 5, /* RBP */
    .operand_size = 1,
    .scale = 2,        /* times 4 */
    .address_size = 2, /* 64 bits */
    .segment = 3,      /* DS */
    .index = 6,        /* RSI */
    .base = 13,        /* R13 */
    .displacement = 0xffffffffffffff80,
};

/* ---- Refusals ---- */

START_TEST(nothing_executes_before_a_guest_is_loaded)
{
    struct vmxsim_outcome outcome;
    uint64_t value;
    ck_assert_int_eq(
        vmxsim_guest_instruction(machine.cpu, VMXSIM_INSTRUCTION_CPUID, NULL, &outcome),
        VMXC_BAD_STATE);
    ck_assert_int_eq(vmxsim_guest_nmi(machine.cpu, &outcome), VMXC_BAD_STATE);
    ck_assert_int_eq(vmxsim_guest_get(machine.cpu, VMXC_VMCS_GUEST_RIP, &value), VMXC_BAD_STATE);
}
END_TEST

START_TEST(instructions_that_do_not_exist_are_refused)
{
    struct vmxsim_outcome outcome;
    load();
    ck_assert_int_eq(
        vmxsim_guest_instruction(machine.cpu, VMXSIM_INSTRUCTION_COUNT, NULL, &outcome),
        VMXC_INVALID_INPUT);
}
END_TEST

START_TEST(a_guest_that_is_not_active_executes_nothing)
{
    struct vmxsim_outcome outcome;
    VMXSIM_VMCS(&machine.vmcs, GUEST_ACTIVITY_STATE) = (uint64_t)_i;
    load();
    ck_assert_int_eq(
        vmxsim_guest_instruction(machine.cpu, VMXSIM_INSTRUCTION_CPUID, NULL, &outcome),
        _i == 0 ? VMXC_OK : VMXC_BAD_STATE);
}
END_TEST

static const struct vmxsim_operands wrong_operands[] = {
    {.register_form = true}, {.register2 = 16},   {.index = 16},       {.base = 16}, {.scale = 4},
    {.segment = 6},          {.address_size = 3}, {.operand_size = 3},
};

START_TEST(operands_that_no_instruction_has_are_refused)
{
    struct vmxsim_outcome outcome;
    load();
    ck_assert_int_eq(vmxsim_guest_instruction(machine.cpu, VMXSIM_INSTRUCTION_VMXON,
                                              &wrong_operands[_i], &outcome),
                     VMXC_INVALID_INPUT);
    ck_assert_int_eq(vmxsim_guest_xsaves(machine.cpu, 0, &wrong_operands[_i], &outcome),
                     VMXC_INVALID_INPUT);
}
END_TEST

START_TEST(information_needs_operands)
{
    struct vmxsim_outcome outcome;
    load();
    ck_assert_int_eq(
        vmxsim_guest_instruction(machine.cpu, VMXSIM_INSTRUCTION_INVEPT, NULL, &outcome),
        VMXC_INVALID_INPUT);
}
END_TEST

START_TEST(a_shadow_vmcs_is_for_the_instructions_to_serve)
{
    struct vmxsim_outcome outcome;
    set_secondary(VMXC_BIT(14)); /* VMCS shadowing */
    load();
    ck_assert_int_eq(
        vmxsim_guest_instruction(machine.cpu, VMXSIM_INSTRUCTION_VMREAD, &memory_operand, &outcome),
        VMXC_UNSUPPORTED);
}
END_TEST

/* ---- PAUSE loops ---- */

#define PAUSE_EXITING VMXC_BIT(30)
#define PLE           VMXC_BIT(10)

static void enter_pause_loop(uint64_t primary, uint64_t secondary, unsigned cpl)
{
    set_primary(primary);
    set_secondary(secondary);
    VMXSIM_VMCS(&machine.vmcs, PLE_GAP) = 128;
    VMXSIM_VMCS(&machine.vmcs, PLE_WINDOW) = 4096;
    machine_set_cpl(&machine, cpl);
    load();
}

static struct vmxsim_outcome pause_at(uint64_t tsc)
{
    struct vmxsim_outcome outcome;
    ck_assert_int_eq(vmxsim_guest_pause(machine.cpu, tsc, &outcome), VMXC_OK);
    return outcome;
}

START_TEST(a_pause_that_time_decides_needs_the_time)
{
    struct vmxsim_outcome outcome;
    enter_pause_loop(0, PLE, 0);
    ck_assert_int_eq(
        vmxsim_guest_instruction(machine.cpu, VMXSIM_INSTRUCTION_PAUSE, NULL, &outcome),
        VMXC_UNSUPPORTED);
    outcome = pause_at(1000);
    expect_guest_complete(&outcome);
    ck_assert_int_eq(vmxsim_guest_pause(machine.cpu, 999, &outcome), VMXC_INVALID_INPUT);
}
END_TEST

/* Controls and CPL: does the time matter, and if it does not, does PAUSE exit? */
static const struct {
    uint64_t primary, secondary;
    unsigned cpl;
    bool timed, exits;
} pauses[] = {
    {0, 0, 0, false, false},
    {0, 0, 3, false, false},
    {PAUSE_EXITING, 0, 0, false, true},
    {PAUSE_EXITING, 0, 3, false, true},
    {PAUSE_EXITING, PLE, 0, false, true}, /* the first one already */
    {PAUSE_EXITING, PLE, 3, false, true},
    {0, PLE, 0, true, false},
    {0, PLE, 1, false, false},
    {0, PLE, 3, false, false},
};

START_TEST(pause_exiting_comes_before_pause_loop_exiting)
{
    enter_pause_loop(pauses[_i].primary, pauses[_i].secondary, pauses[_i].cpl);
    for (uint64_t tsc = 0; tsc <= 4096 + 128; tsc += 128) {
        const struct vmxsim_outcome outcome = pause_at(tsc);
        if (pauses[_i].exits || (pauses[_i].timed && tsc > 4096))
            expect_guest_exit(&outcome, 40);
        else
            expect_guest_complete(&outcome);
        ck_assert_int_eq(outcome.rule, pauses[_i].exits ? VMXSIM_RULE_EXIT_CONTROL
                                       : outcome.kind == VMXSIM_OUTCOME_VM_EXIT
                                           ? VMXSIM_RULE_EXIT_PAUSE_LOOP
                                           : VMXSIM_RULE_NONE);
    }
}
END_TEST

/* Gap 128, window 4096. Times of a PAUSE after the other; the last one exits or not. Both limits must be exceeded. */
static const struct {
    uint64_t gap, window;
    unsigned count;
    uint64_t times[4];
    bool exits;
} loops[] = {
    {128, 4096, 1, {1000000}, false},               /* the first after VM entry starts a loop */
    {128, 100, 2, {1000, 1100}, false},             /* window reached, not exceeded */
    {128, 100, 2, {1000, 1101}, true},              /* exceeded */
    {128, 100, 2, {1000, 1128}, true},              /* gap reached, not exceeded: the same loop */
    {128, 100, 2, {1000, 1129}, false},             /* a new loop */
    {128, 100, 4, {1000, 1129, 1200, 1229}, false}, /* measured from 1129: 100 */
    {128, 100, 4, {1000, 1129, 1200, 1230}, true},
    {128,
     200,
     3,
     {1000, 1128, 1256},
     true}, /* gaps count from one to the next, the window from the first */
    {0, 0, 2, {1000, 1000}, false},
    {0, 0, 2, {1000, 1001}, false},
    {UINT32_MAX, 0, 2, {1000, 1001}, true},
    {UINT32_MAX, UINT32_MAX, 2, {0, UINT64_C(0x100000000)}, false}, /* times have 64 bits */
};

START_TEST(gap_and_window_decide_about_loops)
{
    struct vmxsim_outcome outcome = {.kind = VMXSIM_OUTCOME_COMPLETE};
    enter_pause_loop(0, PLE, 0);
    VMXSIM_VMCS(&machine.vmcs, PLE_GAP) = loops[_i].gap;
    VMXSIM_VMCS(&machine.vmcs, PLE_WINDOW) = loops[_i].window;
    load();
    for (unsigned i = 0; i < loops[_i].count; i++) {
        expect_guest_complete(&outcome);
        outcome = pause_at(loops[_i].times[i]);
    }
    if (loops[_i].exits)
        expect_guest_exit(&outcome, 40);
    else
        expect_guest_complete(&outcome);
    ck_assert_uint_eq(outcome.qualification, 0);
}
END_TEST

/* Those at CPL 3 are not part of a loop; a VM entry starts anew. */
START_TEST(other_privilege_levels_and_vm_entries_do_not_count)
{
    struct vmxsim_outcome outcome;
    enter_pause_loop(0, PLE, 0);
    outcome = pause_at(0);
    ck_assert_int_eq(vmxsim_guest_set(machine.cpu, VMXC_VMCS_GUEST_SS_ACCESS_RIGHTS, 0xc0f3),
                     VMXC_OK);
    outcome = pause_at(100);
    expect_guest_complete(&outcome);
    ck_assert_int_eq(vmxsim_guest_set(machine.cpu, VMXC_VMCS_GUEST_SS_ACCESS_RIGHTS, 0xc093),
                     VMXC_OK);
    outcome = pause_at(200); /* 200 after the last at CPL 0: a new loop */
    expect_guest_complete(&outcome);
    for (uint64_t tsc = 300; tsc <= 4200; tsc += 100)
        (void)pause_at(tsc);
    outcome = pause_at(4296);
    expect_guest_complete(&outcome);
    load();
    outcome = pause_at(4300);
    expect_guest_complete(&outcome);
}
END_TEST

/* ---- The table of instructions ---- */

/*
 * Per instruction: exit reason; the control that makes it exit (word and bit position; none: always); the secondary control and
 * the CR4 bit without which it is undefined; what it raises at CPL 3, all bits of CR4 as needed, with nothing else
 * restricting it. Positions are those of the manual's tables.
 */
struct decision {
    enum vmxsim_instruction instruction;
    uint16_t reason;
    uint64_t primary, secondary;
    uint64_t needs_secondary, needs_cr4;
    uint8_t cpl3_vector; /* ANY: CPL 3 makes no difference */
};

#define ROW(name) VMXSIM_INSTRUCTION_##name

static const struct decision decisions[] = {
    {ROW(CPUID), 10, 0, 0, 0, 0, ANY},
    {ROW(GETSEC), 11, 0, 0, 0, VMXC_BIT(14), ANY},
    {ROW(INVD), 13, 0, 0, 0, 0, GP},
    {ROW(XSETBV), 55, 0, 0, 0, VMXC_BIT(18), GP},
    {ROW(VMCALL), 18, 0, 0, 0, 0, ANY},
    {ROW(VMCLEAR), 19, 0, 0, 0, 0, ANY},
    {ROW(VMLAUNCH), 20, 0, 0, 0, 0, ANY},
    {ROW(VMPTRLD), 21, 0, 0, 0, 0, ANY},
    {ROW(VMPTRST), 22, 0, 0, 0, 0, ANY},
    {ROW(VMREAD), 23, 0, 0, 0, 0, ANY},
    {ROW(VMRESUME), 24, 0, 0, 0, 0, ANY},
    {ROW(VMWRITE), 25, 0, 0, 0, 0, ANY},
    {ROW(VMXOFF), 26, 0, 0, 0, 0, ANY},
    {ROW(VMXON), 27, 0, 0, 0, 0, ANY},
    {ROW(INVEPT), 50, 0, 0, 0, 0, ANY},
    {ROW(INVVPID), 53, 0, 0, 0, 0, ANY},
    {ROW(HLT), 12, VMXC_BIT(7), 0, 0, 0, GP},
    {ROW(RDPMC), 15, VMXC_BIT(11), 0, 0, 0, GP}, /* CR4.PCE is 0 */
    {ROW(RDTSC), 16, VMXC_BIT(12), 0, 0, 0, ANY},
    {ROW(RDTSCP), 51, VMXC_BIT(12), 0, VMXC_BIT(3), 0, ANY},
    {ROW(MONITOR), 39, VMXC_BIT(29), 0, 0, 0, UD},
    {ROW(PAUSE), 40, VMXC_BIT(30), 0, 0, 0, ANY},
    {ROW(UMWAIT), 67, VMXC_BIT(12), 0, VMXC_BIT(26), 0, ANY},
    {ROW(TPAUSE), 68, VMXC_BIT(12), 0, VMXC_BIT(26), 0, ANY},
    {ROW(INVPCID), 58, VMXC_BIT(9), 0, VMXC_BIT(12), 0, GP},
    {ROW(WBINVD), 54, 0, VMXC_BIT(6), 0, 0, GP},
    {ROW(RDRAND), 57, 0, VMXC_BIT(11), 0, 0, ANY},
    {ROW(RDSEED), 61, 0, VMXC_BIT(16), 0, 0, ANY},
    {ROW(SGDT), 46, 0, VMXC_BIT(2), 0, 0, ANY},
    {ROW(SIDT), 46, 0, VMXC_BIT(2), 0, 0, ANY},
    {ROW(LGDT), 46, 0, VMXC_BIT(2), 0, 0, GP},
    {ROW(LIDT), 46, 0, VMXC_BIT(2), 0, 0, GP},
    {ROW(SLDT), 47, 0, VMXC_BIT(2), 0, 0, ANY},
    {ROW(STR), 47, 0, VMXC_BIT(2), 0, 0, ANY},
    {ROW(LLDT), 47, 0, VMXC_BIT(2), 0, 0, GP},
    {ROW(LTR), 47, 0, VMXC_BIT(2), 0, 0, GP},
};

enum { DECISIONS = sizeof(decisions) / sizeof(decisions[0]) };

/* A 64-bit guest in which the instruction exists. */
static void prepare(const struct decision *row, unsigned cpl, bool exiting)
{
    set_primary(exiting ? row->primary : 0);
    set_secondary(row->needs_secondary | (exiting ? row->secondary : 0));
    VMXSIM_VMCS(&machine.vmcs, GUEST_CR4) |= row->needs_cr4;
    machine_set_cpl(&machine, cpl);
    load();
}

static struct vmxsim_outcome execute(enum vmxsim_instruction instruction)
{
    struct vmxsim_outcome outcome;
    ck_assert_int_eq(vmxsim_guest_instruction(machine.cpu, instruction, &memory_operand, &outcome),
                     VMXC_OK);
    return outcome;
}

static bool always_exits(const struct decision *row)
{
    return row->primary == NEVER && row->secondary == NEVER;
}

START_TEST(every_instruction_has_a_row)
{
    bool seen[VMXSIM_INSTRUCTION_COUNT] = {false};
    for (int i = 0; i < DECISIONS; i++)
        seen[decisions[i].instruction] = true;
    for (int i = 0; i < VMXSIM_INSTRUCTION_COUNT; i++)
        ck_assert_msg(seen[i], "instruction %d", i);
}
END_TEST

START_TEST(the_control_decides_at_cpl_0)
{
    const struct decision *row = &decisions[_i];
    for (int exiting = 0; exiting < 2; exiting++) {
        prepare(row, 0, exiting);
        const struct vmxsim_outcome outcome = execute(row->instruction);
        if (exiting || always_exits(row)) {
            expect_guest_exit(&outcome, row->reason);
            ck_assert_int_eq(outcome.rule, always_exits(row) ? VMXSIM_RULE_EXIT_UNCONDITIONAL
                                                             : VMXSIM_RULE_EXIT_CONTROL);
        } else {
            expect_guest_complete(&outcome);
        }
    }
}
END_TEST

START_TEST(faults_by_privilege_come_before_the_exit)
{
    const struct decision *row = &decisions[_i];
    prepare(row, 3, true);
    const struct vmxsim_outcome outcome = execute(row->instruction);
    if (row->cpl3_vector == ANY) {
        expect_guest_exit(&outcome, row->reason);
        return;
    }
    expect_guest_fault(&outcome, row->cpl3_vector);
    if (row->cpl3_vector == UD)
        ck_assert_int_eq(outcome.rule, VMXSIM_RULE_UD_PRIVILEGE);
    else
        ck_assert(outcome.rule == VMXSIM_RULE_GP_PRIVILEGE ||
                  outcome.rule == VMXSIM_RULE_GP_RESTRICTED);
}
END_TEST

START_TEST(what_turns_an_instruction_on_is_needed_even_if_it_exits)
{
    struct decision row = decisions[_i];
    if (!row.needs_secondary && !row.needs_cr4)
        return;
    row.needs_secondary = row.needs_cr4 = 0;
    for (unsigned cpl = 0; cpl <= 3; cpl += 3) {
        prepare(&row, cpl, true);
        const struct vmxsim_outcome outcome = execute(row.instruction);
        expect_guest_fault(&outcome, UD);
        ck_assert_int_eq(outcome.rule, VMXSIM_RULE_UD_ABSENT);
    }
}
END_TEST

/* Bits of CR4 that restrict instructions to CPL 0. */
static const struct {
    enum vmxsim_instruction instruction;
    uint64_t cr4;
    bool faults;
} restrictions[] = {
    {ROW(RDTSC), VMXC_BIT(2), true},   {ROW(RDTSCP), VMXC_BIT(2), true},
    {ROW(UMWAIT), VMXC_BIT(2), true},  {ROW(TPAUSE), VMXC_BIT(2), true},
    {ROW(RDPMC), VMXC_BIT(8), false},  {ROW(RDPMC), VMXC_BIT(2), true},
    {ROW(SGDT), VMXC_BIT(11), true},   {ROW(SIDT), VMXC_BIT(11), true},
    {ROW(SLDT), VMXC_BIT(11), true},   {ROW(STR), VMXC_BIT(11), true},
    {ROW(CPUID), VMXC_BIT(11), false}, {ROW(PAUSE), VMXC_BIT(2), false},
};

START_TEST(cr4_restricts_instructions_before_the_exit)
{
    for (unsigned cpl = 0; cpl <= 3; cpl += 3) {
        set_primary(VMXC_BIT(12) | VMXC_BIT(11) | VMXC_BIT(30));
        set_secondary(VMXC_BIT(2) | VMXC_BIT(3) | VMXC_BIT(26));
        VMXSIM_VMCS(&machine.vmcs, GUEST_CR4) |= restrictions[_i].cr4;
        machine_set_cpl(&machine, cpl);
        load();
        const struct vmxsim_outcome outcome = execute(restrictions[_i].instruction);
        if (cpl == 3 && restrictions[_i].faults) {
            expect_guest_fault(&outcome, GP);
            ck_assert_int_eq(outcome.rule, VMXSIM_RULE_GP_RESTRICTED);
        } else {
            ck_assert_int_eq(outcome.kind, VMXSIM_OUTCOME_VM_EXIT);
        }
    }
}
END_TEST

/* ---- Modes ---- */

START_TEST(vmx_and_segment_instructions_need_protected_mode)
{
    static const enum vmxsim_instruction instructions[] = {ROW(VMLAUNCH), ROW(VMXON), ROW(INVEPT),
                                                           ROW(LLDT),     ROW(STR),   ROW(LTR)};
    machine_set_mode(&machine, GUEST_NONE);
    VMXSIM_VMCS(&machine.vmcs, GUEST_CR0) &= ~VMXC_CR0_PE;
    set_secondary(VMXC_BIT(2));
    load();
    const struct vmxsim_outcome outcome = execute(instructions[_i]);
    expect_guest_fault(&outcome, UD);
    ck_assert_int_eq(outcome.rule, VMXSIM_RULE_UD_MODE);
}
END_TEST

START_TEST(compatibility_mode_has_no_vmx_instructions)
{
    VMXSIM_VMCS(&machine.vmcs, GUEST_CS_ACCESS_RIGHTS) = 0xc09b;
    load();
    struct vmxsim_outcome outcome = execute(ROW(VMLAUNCH));
    expect_guest_fault(&outcome, UD);
    outcome = execute(ROW(CPUID));
    expect_guest_exit(&outcome, 10);
}
END_TEST

START_TEST(a_guest_calls_from_any_mode)
{
    VMXSIM_VMCS(&machine.vmcs, GUEST_CS_ACCESS_RIGHTS) = 0xc09b;
    load();
    struct vmxsim_outcome outcome = execute(ROW(VMCALL));
    expect_guest_exit(&outcome, 18);
    machine_set_mode(&machine, GUEST_NONE);
    VMXSIM_VMCS(&machine.vmcs, GUEST_CR0) &= ~VMXC_CR0_PE;
    load();
    outcome = execute(ROW(VMCALL));
    expect_guest_exit(&outcome, 18);
}
END_TEST

/* ---- Instruction information and displacement, from the manual's tables of formats ---- */

/* scale 4, 64-bit address, DS, index RSI, base R13: 2 | 2 << 7 | 3 << 15 | 6 << 18 | 13 << 23 */
#define MEMORY_PART UINT32_C(0x06998102)

static const struct {
    enum vmxsim_instruction instruction;
    uint32_t information;
    uint64_t qualification;
} memory_forms[] = {
    {ROW(VMCLEAR), MEMORY_PART, 0xffffffffffffff80},
    {ROW(VMPTRLD), MEMORY_PART, 0xffffffffffffff80},
    {ROW(VMPTRST), MEMORY_PART, 0xffffffffffffff80},
    {ROW(VMXON), MEMORY_PART, 0xffffffffffffff80},
    {ROW(VMREAD), MEMORY_PART | 0x50000000, 0xffffffffffffff80},
    {ROW(VMWRITE), MEMORY_PART | 0x50000000, 0xffffffffffffff80},
    {ROW(INVEPT), MEMORY_PART | 0x50000000, 0xffffffffffffff80},
    {ROW(INVVPID), MEMORY_PART | 0x50000000, 0xffffffffffffff80},
    {ROW(INVPCID), MEMORY_PART | 0x50000000, 0xffffffffffffff80},
    {ROW(SGDT), MEMORY_PART | 0x00000800, 0xffffffffffffff80},
    {ROW(SIDT), MEMORY_PART | 0x10000800, 0xffffffffffffff80},
    {ROW(LGDT), MEMORY_PART | 0x20000800, 0xffffffffffffff80},
    {ROW(LIDT), MEMORY_PART | 0x30000800, 0xffffffffffffff80},
    {ROW(SLDT), MEMORY_PART | 0x00000000, 0xffffffffffffff80},
    {ROW(STR), MEMORY_PART | 0x10000000, 0xffffffffffffff80},
    {ROW(LLDT), MEMORY_PART | 0x20000000, 0xffffffffffffff80},
    {ROW(LTR), MEMORY_PART | 0x30000000, 0xffffffffffffff80},
};

static void load_all_exiting(void)
{
    set_primary(VMXC_BIT(9) | VMXC_BIT(12));
    set_secondary(VMXC_BIT(2) | VMXC_BIT(11) | VMXC_BIT(12) | VMXC_BIT(16) | VMXC_BIT(26));
    load();
}

START_TEST(memory_operands_are_described)
{
    load_all_exiting();
    const struct vmxsim_outcome outcome = execute(memory_forms[_i].instruction);
    ck_assert(outcome.instruction_info_defined);
    ck_assert_uint_eq(outcome.instruction_info, memory_forms[_i].information);
    ck_assert_uint_eq(outcome.qualification, memory_forms[_i].qualification);
}
END_TEST

/* Register R9, second register RBP, size as given. */
static const struct {
    enum vmxsim_instruction instruction;
    uint8_t operand_size;
    uint32_t information;
} register_forms[] = {
    {ROW(SLDT), 1, 0x00000448},   {ROW(STR), 1, 0x10000448},    {ROW(LLDT), 1, 0x20000448},
    {ROW(LTR), 1, 0x30000448},    {ROW(VMREAD), 2, 0x50000448}, {ROW(VMWRITE), 2, 0x50000448},
    {ROW(RDRAND), 0, 0x00000048}, {ROW(RDRAND), 1, 0x00000848}, {ROW(RDRAND), 2, 0x00001048},
    {ROW(RDSEED), 2, 0x00001048}, {ROW(UMWAIT), 1, 0x00000848}, {ROW(TPAUSE), 1, 0x00000848},
};

START_TEST(register_operands_are_described)
{
    const struct vmxsim_operands operands = {
        .register_form = true,
        .register1 = 9,
        .register2 = 5,
        .operand_size = register_forms[_i].operand_size,
        .displacement = 0x1234,
    };
    struct vmxsim_outcome outcome;
    load_all_exiting();
    ck_assert_int_eq(
        vmxsim_guest_instruction(machine.cpu, register_forms[_i].instruction, &operands, &outcome),
        VMXC_OK);
    ck_assert_uint_eq(outcome.instruction_info, register_forms[_i].information);
    ck_assert_uint_eq(outcome.qualification, 0);
}
END_TEST

START_TEST(absent_index_and_base_are_marked)
{
    struct vmxsim_operands operands = memory_operand;
    struct vmxsim_outcome outcome;
    operands.no_index = operands.no_base = true;
    load();
    ck_assert_int_eq(vmxsim_guest_instruction(machine.cpu, ROW(VMXON), &operands, &outcome),
                     VMXC_OK);
    ck_assert_uint_eq(outcome.instruction_info, 1u << 27 | 1u << 22 | 3u << 15 | 2u << 7);
}
END_TEST

/* ---- INVLPG, MWAIT, XSAVES, XRSTORS ---- */

START_TEST(invlpg_reports_its_address)
{
    struct vmxsim_outcome outcome;
    load();
    ck_assert_int_eq(vmxsim_guest_invlpg(machine.cpu, 0x123456789, &outcome), VMXC_OK);
    expect_guest_complete(&outcome);
    set_primary(VMXC_BIT(9));
    load();
    ck_assert_int_eq(vmxsim_guest_invlpg(machine.cpu, 0x123456789, &outcome), VMXC_OK);
    expect_guest_exit(&outcome, 14);
    ck_assert_uint_eq(outcome.qualification, 0x123456789);
    machine_set_cpl(&machine, 3);
    VMXSIM_VMCS(&machine.vmcs, GUEST_CR4) |= VMXC_CR4_PCE; /* RDPMC's business */
    load();
    ck_assert_int_eq(vmxsim_guest_invlpg(machine.cpu, 0x123456789, &outcome), VMXC_OK);
    expect_guest_fault(&outcome, GP);
    ck_assert_int_eq(outcome.rule, VMXSIM_RULE_GP_PRIVILEGE);
}
END_TEST

START_TEST(mwait_reports_an_armed_monitor)
{
    struct vmxsim_outcome outcome;
    set_primary(VMXC_BIT(10));
    load();
    for (unsigned armed = 0; armed < 2; armed++) {
        ck_assert_int_eq(vmxsim_guest_mwait(machine.cpu, armed, &outcome), VMXC_OK);
        expect_guest_exit(&outcome, 36);
        ck_assert_uint_eq(outcome.qualification, armed);
    }
    machine_set_cpl(&machine, 3);
    load();
    ck_assert_int_eq(vmxsim_guest_mwait(machine.cpu, true, &outcome), VMXC_OK);
    expect_guest_fault(&outcome, UD);
}
END_TEST

/* EDX:EAX, IA32_XSS, the bitmap: all three must have the bit. */
static const struct {
    uint64_t mask, xss, bitmap;
    bool exits;
} extended_states[] = {
    {0, 0, 0, false},
    {0x1800, 0x1800, 0, false},
    {0x1800, 0, 0x1800, false},
    {0, 0x1800, 0x1800, false},
    {0x800, 0x1000, 0x1800, false},
    {0x1000, 0x1000, 0x1000, true},
    {UINT64_MAX, 0x1000, 0x1000, true},
};

START_TEST(xsaves_exits_for_a_bit_in_all_three)
{
    const bool exits = extended_states[_i].exits;
    struct vmxsim_outcome outcome;
    set_secondary(VMXC_BIT(20));
    VMXSIM_VMCS(&machine.vmcs, GUEST_CR4) |= VMXC_BIT(18);
    VMXSIM_VMCS(&machine.vmcs, XSS_EXITING_BITMAP) = extended_states[_i].bitmap;
    write_msr(0xda0, extended_states[_i].xss);
    load();
    ck_assert_int_eq(
        vmxsim_guest_xsaves(machine.cpu, extended_states[_i].mask, &memory_operand, &outcome),
        VMXC_OK);
    ck_assert_uint_eq(outcome.exit_reason, exits ? 63 : 0);
    ck_assert_uint_eq(outcome.instruction_info, exits ? MEMORY_PART : 0);
    ck_assert_int_eq(
        vmxsim_guest_xrstors(machine.cpu, extended_states[_i].mask, &memory_operand, &outcome),
        VMXC_OK);
    ck_assert_uint_eq(outcome.exit_reason, exits ? 64 : 0);
    ck_assert_uint_eq(outcome.qualification, exits ? 0xffffffffffffff80 : 0);
}
END_TEST

START_TEST(xsaves_needs_its_control_osxsave_and_privilege)
{
    struct vmxsim_outcome outcome;
    for (unsigned missing = 0; missing < 3; missing++) {
        set_secondary(missing == 0 ? 0 : VMXC_BIT(20));
        VMXSIM_VMCS(&machine.vmcs, GUEST_CR4) &= ~VMXC_BIT(18);
        VMXSIM_VMCS(&machine.vmcs, GUEST_CR4) |= missing == 1 ? 0 : VMXC_BIT(18);
        machine_set_cpl(&machine, missing == 2 ? 3 : 0);
        load();
        ck_assert_int_eq(vmxsim_guest_xsaves(machine.cpu, 1, &memory_operand, &outcome), VMXC_OK);
        expect_guest_fault(&outcome, missing == 2 ? GP : UD);
    }
}
END_TEST

/* ---- Completion ---- */

START_TEST(hlt_that_completes_halts_the_guest)
{
    uint64_t activity = 0;
    load();
    const struct vmxsim_outcome outcome = execute(ROW(HLT));
    expect_guest_complete(&outcome);
    ck_assert_int_eq(vmxsim_guest_get(machine.cpu, VMXC_VMCS_GUEST_ACTIVITY_STATE, &activity),
                     VMXC_OK);
    ck_assert_uint_eq(activity, 1);
}
END_TEST

/* STI and MOV SS block for one instruction; one that faults or exits has not been executed. */
START_TEST(a_completed_instruction_ends_blocking)
{
    uint64_t state = 0;
    for (int exiting = 0; exiting < 2; exiting++) {
        VMXSIM_VMCS(&machine.vmcs, GUEST_INTERRUPTIBILITY_STATE) = 0xb;
        set_primary(exiting ? VMXC_BIT(30) : 0);
        load();
        (void)execute(ROW(PAUSE));
        ck_assert_int_eq(
            vmxsim_guest_get(machine.cpu, VMXC_VMCS_GUEST_INTERRUPTIBILITY_STATE, &state), VMXC_OK);
        ck_assert_uint_eq(state, exiting ? 0xb : 0x8);
    }
}
END_TEST

START_TEST(a_fault_exits_if_the_exception_bitmap_says_so)
{
    VMXSIM_VMCS(&machine.vmcs, EXCEPTION_BITMAP) = 1u << GP;
    machine_set_cpl(&machine, 3);
    load();
    const struct vmxsim_outcome outcome = execute(ROW(HLT));
    expect_guest_exit(&outcome, 0);
    ck_assert_uint_eq(outcome.interruption_info, 0x80000b0d);
    ck_assert_uint_eq(outcome.interruption_error_code, 0);
}
END_TEST

/* ---- Registers by field ---- */

START_TEST(registers_are_read_and_written_by_field)
{
    uint64_t value = 0;
    load();
    ck_assert_int_eq(vmxsim_guest_set(machine.cpu, VMXC_VMCS_GUEST_RIP, 0x1234), VMXC_OK);
    ck_assert_int_eq(vmxsim_guest_get(machine.cpu, VMXC_VMCS_GUEST_RIP, &value), VMXC_OK);
    ck_assert_uint_eq(value, 0x1234);
    ck_assert_int_eq(vmxsim_guest_set(machine.cpu, VMXC_VMCS_GUEST_RFLAGS, 0x202), VMXC_OK);
    ck_assert_int_eq(vmxsim_guest_get(machine.cpu, VMXC_VMCS_GUEST_RFLAGS, &value), VMXC_OK);
    ck_assert_uint_eq(value, 0x202);
    ck_assert_int_eq(vmxsim_guest_get(machine.cpu, VMXC_VMCS_GUEST_CR0, &value), VMXC_OK);
    ck_assert_uint_eq(value & VMXC_CR0_PG, VMXC_CR0_PG);
    ck_assert_int_eq(vmxsim_guest_get(machine.cpu, VMXC_VMCS_GUEST_DR7, &value), VMXC_OK);
    ck_assert_uint_eq(value, 0x400);
}
END_TEST

START_TEST(the_privilege_level_follows_ss)
{
    load();
    ck_assert_int_eq(vmxsim_guest_set(machine.cpu, VMXC_VMCS_GUEST_SS_ACCESS_RIGHTS, 0xc0f3),
                     VMXC_OK);
    const struct vmxsim_outcome outcome = execute(ROW(HLT));
    expect_guest_fault(&outcome, GP);
}
END_TEST

static const struct {
    uint32_t encoding;
    uint64_t value;
    enum vmxc_status get, set;
} field_refusals[] = {
    {VMXC_VMCS_EXCEPTION_BITMAP, 0, VMXC_INVALID_INPUT, VMXC_INVALID_INPUT}, /* no guest state */
    {0x6fff, 0, VMXC_INVALID_INPUT, VMXC_INVALID_INPUT},                     /* no field */
    {VMXC_VMCS_GUEST_IA32_PAT, 0, VMXC_UNSUPPORTED, VMXC_UNSUPPORTED},
    {VMXC_VMCS_GUEST_FS_BASE, 0, VMXC_UNSUPPORTED, VMXC_UNSUPPORTED},
    {VMXC_VMCS_GUEST_CR0, 0, VMXC_OK, VMXC_UNSUPPORTED},
    {VMXC_VMCS_PREEMPTION_TIMER_VALUE, 0, VMXC_OK, VMXC_UNSUPPORTED},
    {VMXC_VMCS_GUEST_CS_SELECTOR, 0x10000, VMXC_OK, VMXC_INVALID_INPUT}, /* too wide */
};

START_TEST(fields_that_are_no_plain_registers_are_refused)
{
    uint64_t value;
    load();
    ck_assert_int_eq(vmxsim_guest_get(machine.cpu, field_refusals[_i].encoding, &value),
                     field_refusals[_i].get);
    ck_assert_int_eq(
        vmxsim_guest_set(machine.cpu, field_refusals[_i].encoding, field_refusals[_i].value),
        field_refusals[_i].set);
}
END_TEST

static void add(Suite *suite, TCase *cases)
{
    tcase_add_checked_fixture(cases, guest_fixture_set_up, guest_fixture_tear_down);
    suite_add_tcase(suite, cases);
}

static void add_pauses(Suite *suite)
{
    TCase *const cases = tcase_create("pause");

    tcase_add_test(cases, a_pause_that_time_decides_needs_the_time);
    tcase_add_loop_test(cases, pause_exiting_comes_before_pause_loop_exiting, 0, COUNT(pauses));
    tcase_add_loop_test(cases, gap_and_window_decide_about_loops, 0, COUNT(loops));
    tcase_add_test(cases, other_privilege_levels_and_vm_entries_do_not_count);
    add(suite, cases);
}

int main(void)
{
    Suite *suite = suite_create("guest_actions");
    TCase *refusals = tcase_create("refusals");
    TCase *table = tcase_create("decisions");
    TCase *information = tcase_create("information");
    TCase *others = tcase_create("others");

    tcase_add_test(refusals, nothing_executes_before_a_guest_is_loaded);
    tcase_add_test(refusals, instructions_that_do_not_exist_are_refused);
    tcase_add_loop_test(refusals, a_guest_that_is_not_active_executes_nothing, 0, 4);
    tcase_add_loop_test(refusals, operands_that_no_instruction_has_are_refused, 0,
                        COUNT(wrong_operands));
    tcase_add_test(refusals, information_needs_operands);
    tcase_add_test(refusals, a_shadow_vmcs_is_for_the_instructions_to_serve);
    tcase_add_loop_test(refusals, fields_that_are_no_plain_registers_are_refused, 0,
                        COUNT(field_refusals));
    add(suite, refusals);
    add_pauses(suite);

    tcase_add_test(table, every_instruction_has_a_row);
    tcase_add_loop_test(table, the_control_decides_at_cpl_0, 0, DECISIONS);
    tcase_add_loop_test(table, faults_by_privilege_come_before_the_exit, 0, DECISIONS);
    tcase_add_loop_test(table, what_turns_an_instruction_on_is_needed_even_if_it_exits, 0,
                        DECISIONS);
    tcase_add_loop_test(table, cr4_restricts_instructions_before_the_exit, 0, COUNT(restrictions));
    tcase_add_loop_test(table, vmx_and_segment_instructions_need_protected_mode, 0, 6);
    tcase_add_test(table, compatibility_mode_has_no_vmx_instructions);
    tcase_add_test(table, a_guest_calls_from_any_mode);
    add(suite, table);

    tcase_add_loop_test(information, memory_operands_are_described, 0, COUNT(memory_forms));
    tcase_add_loop_test(information, register_operands_are_described, 0, COUNT(register_forms));
    tcase_add_test(information, absent_index_and_base_are_marked);
    add(suite, information);

    tcase_add_test(others, invlpg_reports_its_address);
    tcase_add_test(others, mwait_reports_an_armed_monitor);
    tcase_add_loop_test(others, xsaves_exits_for_a_bit_in_all_three, 0, COUNT(extended_states));
    tcase_add_test(others, xsaves_needs_its_control_osxsave_and_privilege);
    tcase_add_test(others, hlt_that_completes_halts_the_guest);
    tcase_add_test(others, a_completed_instruction_ends_blocking);
    tcase_add_test(others, a_fault_exits_if_the_exception_bitmap_says_so);
    tcase_add_test(others, registers_are_read_and_written_by_field);
    tcase_add_test(others, the_privilege_level_follows_ss);
    add(suite, others);

    return run_suite(suite);
}
