/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guest instructions that a bitmap may intercept: privilege first, then controls, then the bitmaps. libvmxcore's bitmap code
 * and the model's decision are compared for every port and every MSR.
 */
#include "vmxsim/guest.h"
#include "vmxsim/intercept.h"

#include "support/machine.h"
#include "support/rng.h"
#include "support/suite.h"
#include "vmxcore/defs/controls.h"
#include "vmxcore/defs/guest_state.h"
#include "vmxcore/io_bitmap.h"
#include "vmxcore/msr_bitmap.h"

#include <check.h>
#include <stdlib.h>

#define BITMAP_A   UINT64_C(0x200000)
#define BITMAP_B   UINT64_C(0x201000)
#define MSR_BITMAP UINT64_C(0x202000)
#define TSS        UINT64_C(0x203000)
#define IO_MAP     UINT64_C(0x80) /* offset of the I/O permission bit map in the TSS */

#define EXIT_IO    30u
#define EXIT_RDMSR 31u
#define EXIT_WRMSR 32u

static struct machine machine;

static void set_up(void)
{
    machine_init(&machine, NULL);
    machine_set_mode(&machine, GUEST_NONE);
    VMXSIM_VMCS(&machine.vmcs, IO_BITMAP_A_ADDRESS) = BITMAP_A;
    VMXSIM_VMCS(&machine.vmcs, IO_BITMAP_B_ADDRESS) = BITMAP_B;
    VMXSIM_VMCS(&machine.vmcs, MSR_BITMAP_ADDRESS) = MSR_BITMAP;
    VMXSIM_VMCS(&machine.vmcs, GUEST_TR_BASE) = TSS;
    VMXSIM_VMCS(&machine.vmcs, GUEST_TR_LIMIT) = 0xfff;
    VMXSIM_VMCS(&machine.vmcs, GUEST_TR_ACCESS_RIGHTS) = 0x8b;
    vmxsim_memory_write(machine.memory, TSS + 102, (const uint8_t[]){IO_MAP, 0}, 2);
}

static void tear_down(void)
{
    machine_fini(&machine);
}

static void load(uint64_t primary)
{
    VMXSIM_VMCS(&machine.vmcs, PRIMARY_PROCESSOR_BASED_CONTROLS) = primary;
    machine_load(&machine);
}

static struct vmxsim_outcome io(struct vmxsim_io access)
{
    struct vmxsim_outcome outcome;
    if (vmxsim_guest_io(machine.cpu, &access, &outcome) != VMXC_OK)
        ck_abort_msg("I/O was refused");
    return outcome;
}

static struct vmxsim_outcome in(uint16_t port, uint8_t size)
{
    return io((struct vmxsim_io){.port = port, .size = size, .in = true});
}

/* ---- Refusals ---- */

START_TEST(nothing_executes_before_a_guest_is_loaded)
{
    const struct vmxsim_io access = {.port = 0, .size = 1};
    struct vmxsim_outcome outcome;
    ck_assert_int_eq(vmxsim_guest_io(machine.cpu, &access, &outcome), VMXC_BAD_STATE);
    ck_assert_int_eq(vmxsim_guest_rdmsr(machine.cpu, 0, &outcome), VMXC_BAD_STATE);
    ck_assert_int_eq(vmxsim_guest_wrmsr(machine.cpu, 0, 0, &outcome), VMXC_BAD_STATE);
}
END_TEST

/* As any instruction: a guest that is halted executes nothing. */
START_TEST(nothing_executes_in_a_halted_guest)
{
    const struct vmxsim_io access = {.port = 0, .size = 1};
    struct vmxsim_outcome outcome;
    VMXSIM_VMCS(&machine.vmcs, GUEST_ACTIVITY_STATE) = VMXC_ACTIVITY_HLT;
    load(0);
    ck_assert_int_eq(vmxsim_guest_io(machine.cpu, &access, &outcome), VMXC_BAD_STATE);
    ck_assert_int_eq(vmxsim_guest_rdmsr(machine.cpu, 0, &outcome), VMXC_BAD_STATE);
    ck_assert_int_eq(vmxsim_guest_wrmsr(machine.cpu, 0, 0, &outcome), VMXC_BAD_STATE);
}
END_TEST

START_TEST(io_has_one_two_or_four_bytes)
{
    static const uint8_t sizes[] = {0, 3, 5, 8};
    const struct vmxsim_io access = {.port = 0, .size = sizes[_i]};
    struct vmxsim_outcome outcome;
    load(0);
    ck_assert_int_eq(vmxsim_guest_io(machine.cpu, &access, &outcome), VMXC_INVALID_INPUT);
}
END_TEST

/* ---- Controls ---- */

/* With I/O bitmaps "unconditional I/O exiting" is ignored. Port 60H is set in the bitmap, port 70H is not. */
static const struct {
    uint64_t primary;
    enum vmxsim_walk_rule port_60, port_70;
} controls[] = {
    {0, VMXSIM_RULE_NONE, VMXSIM_RULE_NONE},
    {VMXC_PRIMARY_UNCONDITIONAL_IO_EXITING, VMXSIM_RULE_EXIT_IO_ALL, VMXSIM_RULE_EXIT_IO_ALL},
    {VMXC_PRIMARY_USE_IO_BITMAPS, VMXSIM_RULE_EXIT_IO_BITMAP, VMXSIM_RULE_NONE},
    {VMXC_PRIMARY_USE_IO_BITMAPS | VMXC_PRIMARY_UNCONDITIONAL_IO_EXITING,
     VMXSIM_RULE_EXIT_IO_BITMAP, VMXSIM_RULE_NONE},
};

START_TEST(controls_decide_whether_bitmaps_do)
{
    machine_write(&machine, BITMAP_A + 8, UINT64_C(1) << 32); /* 60H: byte 12, bit 0 */
    load(controls[_i].primary);
    ck_assert_int_eq(in(0x60, 1).rule, controls[_i].port_60);
    ck_assert_int_eq(in(0x70, 1).rule, controls[_i].port_70);
}
END_TEST

START_TEST(an_access_that_wraps_exits_if_bitmaps_are_used)
{
    load(VMXC_PRIMARY_USE_IO_BITMAPS);
    ck_assert_int_eq(in(0xffff, 1).rule, VMXSIM_RULE_NONE);
    ck_assert_int_eq(in(0xffff, 2).rule, VMXSIM_RULE_EXIT_IO_WRAP);
    ck_assert_int_eq(in(0xfffc, 4).rule, VMXSIM_RULE_NONE);
    ck_assert_int_eq(in(0xfffd, 4).rule, VMXSIM_RULE_EXIT_IO_WRAP);
}
END_TEST

/* Written from the table "Exit Qualification for I/O Instructions". */
static const struct {
    struct vmxsim_io access;
    uint64_t qualification;
} qualifications[] = {
    {{.port = 0x1234, .size = 1}, 0x12340000},
    {{.port = 0x1234, .size = 2}, 0x12340001},
    {{.port = 0x1234, .size = 4}, 0x12340003},
    {{.port = 0x1234, .size = 1, .in = true}, 0x12340008},
    {{.port = 0x80, .size = 1, .immediate = true}, 0x800040},
    {{.port = 0x80, .size = 4, .in = true, .immediate = true}, 0x80004b},
    {{.port = 0x80, .size = 1, .string = true}, 0x800010},
    {{.port = 0x80, .size = 2, .string = true, .rep = true, .count = 1}, 0x800031},
    {{.port = 0xffff, .size = 1, .in = true, .string = true, .rep = true, .count = 9}, 0xffff0038},
};

START_TEST(the_qualification_describes_the_instruction)
{
    load(VMXC_PRIMARY_UNCONDITIONAL_IO_EXITING);
    const struct vmxsim_outcome outcome = io(qualifications[_i].access);
    ck_assert_uint_eq(outcome.exit_reason, EXIT_IO);
    ck_assert_uint_eq(outcome.qualification, qualifications[_i].qualification);
    ck_assert_int_eq(outcome.guest_linear_valid, qualifications[_i].access.string);
}
END_TEST

/* Address size in bits 9:7, segment in bits 17:15 (OUTS only). */
static const struct {
    struct vmxsim_io access;
    uint32_t information;
} string_forms[] = {
    {{.size = 1, .string = true, .address_size = 2, .segment = 3}, 0x18100},
    {{.size = 1, .string = true, .address_size = 1, .segment = 5}, 0x28080},
    {{.size = 1, .in = true, .string = true, .address_size = 0, .segment = 3}, 0},
    {{.size = 1, .in = true, .string = true, .address_size = 2}, 0x100},
};

START_TEST(string_instructions_have_instruction_information)
{
    load(VMXC_PRIMARY_UNCONDITIONAL_IO_EXITING);
    const struct vmxsim_outcome outcome = io(string_forms[_i].access);
    ck_assert(outcome.instruction_info_defined);
    ck_assert_uint_eq(outcome.instruction_info, string_forms[_i].information);
    ck_assert(!in(0, 1).instruction_info_defined);
}
END_TEST

START_TEST(a_rep_prefix_with_count_0_does_nothing)
{
    load(VMXC_PRIMARY_UNCONDITIONAL_IO_EXITING);
    const struct vmxsim_io access = {.port = 1, .size = 1, .string = true, .rep = true};
    ck_assert_int_eq(io(access).kind, VMXSIM_OUTCOME_COMPLETE);
}
END_TEST

/* ---- I/O privilege ---- */

/* Who asks the I/O permission bit map: CR0.PE, RFLAGS.VM, CPL, IOPL. */
static const struct {
    bool protected_mode, v86;
    unsigned cpl, iopl;
    bool asks;
} privileges[] = {
    {false, false, 0, 0, false}, {true, false, 0, 0, false}, {true, false, 3, 0, true},
    {true, false, 3, 2, true},   {true, false, 3, 3, false}, {true, false, 1, 1, false},
    {true, false, 2, 1, true},   {true, true, 3, 3, true},   {true, true, 3, 0, true},
};

START_TEST(privilege_decides_who_asks_the_permission_map)
{
    const uint64_t all_ones = UINT64_MAX;
    vmxsim_memory_write(machine.memory, TSS + IO_MAP, &all_ones, 8);
    VMXSIM_VMCS(&machine.vmcs, GUEST_CR0) = privileges[_i].protected_mode ? 0x31 : 0x30;
    VMXSIM_VMCS(&machine.vmcs, GUEST_RFLAGS) =
        2 | (uint64_t)privileges[_i].iopl << 12 | (uint64_t)privileges[_i].v86 << 17;
    machine_set_cpl(&machine, privileges[_i].cpl);
    load(VMXC_PRIMARY_UNCONDITIONAL_IO_EXITING);
    ck_assert_int_eq(in(0x10, 1).rule,
                     privileges[_i].asks ? VMXSIM_RULE_IO_PERMISSION : VMXSIM_RULE_EXIT_IO_ALL);
}
END_TEST

/* A guest at CPL 3 with IOPL 0, so that the map decides. */
static void load_unprivileged(void)
{
    machine_set_cpl(&machine, 3);
    load(0);
}

static bool is_allowed(uint16_t port, uint8_t size)
{
    const struct vmxsim_outcome outcome = in(port, size);
    if (outcome.kind == VMXSIM_OUTCOME_COMPLETE)
        return true;
    ck_assert_int_eq(outcome.rule, VMXSIM_RULE_IO_PERMISSION);
    ck_assert_uint_eq(outcome.vector, VMXC_VECTOR_GP);
    ck_assert(outcome.has_error_code && outcome.error_code == 0);
    return false;
}

START_TEST(every_bit_of_the_access_must_be_clear_in_the_map)
{
    vmxsim_memory_write(machine.memory, TSS + IO_MAP + 2, (const uint8_t[]){0x80, 0x01},
                        2); /* 17H, 18H */
    load_unprivileged();
    ck_assert(is_allowed(0x16, 1));
    ck_assert(!is_allowed(0x17, 1));
    ck_assert(!is_allowed(0x18, 1));
    ck_assert(is_allowed(0x19, 1));
    ck_assert(!is_allowed(0x16, 2));
    ck_assert(!is_allowed(0x14, 4));
    ck_assert(is_allowed(0x13, 4));
    ck_assert(!is_allowed(0x15, 4));
    ck_assert(is_allowed(0x19, 4));
}
END_TEST

START_TEST(both_bytes_of_the_map_must_lie_within_the_limit)
{
    VMXSIM_VMCS(&machine.vmcs, GUEST_TR_LIMIT) = IO_MAP + 2;
    load_unprivileged();
    ck_assert(is_allowed(0x8, 1));   /* bytes 1 and 2 of the map */
    ck_assert(!is_allowed(0x10, 1)); /* bytes 2 and 3 */
}
END_TEST

START_TEST(a_tss_without_a_map_allows_nothing)
{
    VMXSIM_VMCS(&machine.vmcs, GUEST_TR_LIMIT) = _i == 0 ? 102 : 0xfff;
    VMXSIM_VMCS(&machine.vmcs, GUEST_TR_ACCESS_RIGHTS) =
        _i == 1 ? 0x83 : 0x8b; /* 83H: 16-bit TSS */
    load_unprivileged();
    ck_assert_int_eq(is_allowed(0, 1), _i == 2);
}
END_TEST

/* The map is read through EPT, as a supervisor-mode access of the processor. */
START_TEST(reading_the_map_may_itself_exit)
{
    machine_new_ept(&machine, 4, 0);
    machine_set_cpl(&machine, 3);
    machine_load(&machine);
    const struct vmxsim_outcome outcome = in(0, 1);
    ck_assert_uint_eq(outcome.exit_reason, EXIT_EPT_VIOLATION);
    ck_assert_uint_eq(outcome.guest_physical, TSS + 102);
}
END_TEST

/* ---- Blocking by STI and by MOV SS lasts for one instruction ---- */

static uint64_t blocking(void)
{
    uint64_t value = 0;
    ck_assert_int_eq(vmxsim_guest_get(machine.cpu, VMXC_VMCS_GUEST_INTERRUPTIBILITY_STATE, &value),
                     VMXC_OK);
    return value;
}

static enum vmxc_status execute_one(int which, struct vmxsim_outcome *outcome)
{
    const struct vmxsim_io access = {.port = 0x80, .size = 1};
    const struct vmxsim_io none = {.port = 0x80, .size = 1, .string = true, .rep = true};
    switch (which) {
    case 0:
        return vmxsim_guest_io(machine.cpu, &access, outcome);
    case 1:
        return vmxsim_guest_rdmsr(machine.cpu, 0x10, outcome);
    case 2:
        return vmxsim_guest_wrmsr(machine.cpu, 0x10, 0, outcome);
    default: /* no iteration is left: it always completes */
        return vmxsim_guest_io(machine.cpu, &none, outcome);
    }
}

START_TEST(what_completes_ends_blocking)
{
    struct vmxsim_outcome outcome;
    VMXSIM_VMCS(&machine.vmcs, GUEST_INTERRUPTIBILITY_STATE) =
        VMXC_INTERRUPTIBILITY_STI | VMXC_INTERRUPTIBILITY_NMI;
    load(VMXC_PRIMARY_USE_MSR_BITMAPS);
    ck_assert_int_eq(execute_one(_i, &outcome), VMXC_OK);
    ck_assert_int_eq(outcome.kind, VMXSIM_OUTCOME_COMPLETE);
    ck_assert_uint_eq(blocking(), VMXC_INTERRUPTIBILITY_NMI);
}
END_TEST

START_TEST(what_exits_leaves_blocking)
{
    struct vmxsim_outcome outcome;
    VMXSIM_VMCS(&machine.vmcs, GUEST_INTERRUPTIBILITY_STATE) = VMXC_INTERRUPTIBILITY_MOV_SS;
    load(VMXC_PRIMARY_UNCONDITIONAL_IO_EXITING);
    ck_assert_int_eq(execute_one(_i, &outcome), VMXC_OK);
    ck_assert_int_eq(outcome.kind, VMXSIM_OUTCOME_VM_EXIT);
    ck_assert_uint_eq(blocking(), VMXC_INTERRUPTIBILITY_MOV_SS);
}
END_TEST

/* ---- MSRs ---- */

START_TEST(msr_access_is_for_cpl_0)
{
    struct vmxsim_outcome outcome;
    machine_set_cpl(&machine, 3);
    load(0);
    ck_assert_int_eq(vmxsim_guest_rdmsr(machine.cpu, 0x10, &outcome), VMXC_OK);
    ck_assert_int_eq(outcome.rule, VMXSIM_RULE_MSR_PRIVILEGE);
    ck_assert_uint_eq(outcome.vector, VMXC_VECTOR_GP);
    ck_assert_int_eq(vmxsim_guest_wrmsr(machine.cpu, 0x10, 0, &outcome), VMXC_OK);
    ck_assert_int_eq(outcome.rule, VMXSIM_RULE_MSR_PRIVILEGE);
}
END_TEST

START_TEST(without_bitmaps_every_msr_access_exits)
{
    struct vmxsim_outcome outcome;
    load(0);
    ck_assert_int_eq(vmxsim_guest_rdmsr(machine.cpu, 0x10, &outcome), VMXC_OK);
    ck_assert_int_eq(outcome.rule, VMXSIM_RULE_EXIT_MSR_ALL);
    ck_assert_uint_eq(outcome.exit_reason, EXIT_RDMSR);
    ck_assert_int_eq(vmxsim_guest_wrmsr(machine.cpu, 0x10, 0, &outcome), VMXC_OK);
    ck_assert_uint_eq(outcome.exit_reason, EXIT_WRMSR);
}
END_TEST

/* Byte offsets of the four quarters, from the manual's section on MSR-bitmap addresses: one bit each. */
static const struct {
    uint32_t offset; /* of the byte whose bit 0 is set */
    uint32_t msr;
    bool write;
} quarters[] = {
    {0x000, 0x0, false},        {0x3ff, 0x1ff8, false},    {0x400, 0xc0000000, false},
    {0x7ff, 0xc0001ff8, false}, {0x800, 0x0, true},        {0xbff, 0x1ff8, true},
    {0xc00, 0xc0000000, true},  {0xfff, 0xc0001ff8, true},
};

START_TEST(each_quarter_of_the_bitmap_has_its_place)
{
    struct vmxsim_outcome outcome;
    const uint8_t one = 1;
    vmxsim_memory_write(machine.memory, MSR_BITMAP + quarters[_i].offset, &one, 1);
    load(VMXC_PRIMARY_USE_MSR_BITMAPS);
    for (size_t i = 0; i < sizeof(quarters) / sizeof(quarters[0]); i++) {
        const enum vmxc_status status =
            quarters[i].write ? vmxsim_guest_wrmsr(machine.cpu, quarters[i].msr, 0, &outcome)
                              : vmxsim_guest_rdmsr(machine.cpu, quarters[i].msr, &outcome);
        ck_assert_int_eq(status, VMXC_OK);
        ck_assert_int_eq(outcome.rule,
                         (int)i == _i ? VMXSIM_RULE_EXIT_MSR_BITMAP : VMXSIM_RULE_NONE);
    }
}
END_TEST

START_TEST(msrs_outside_both_ranges_exit)
{
    static const uint32_t msrs[] = {0x2000, 0xbfffffff, 0xc0002000, 0xffffffff};
    struct vmxsim_outcome outcome;
    load(VMXC_PRIMARY_USE_MSR_BITMAPS);
    ck_assert_int_eq(vmxsim_guest_rdmsr(machine.cpu, msrs[_i], &outcome), VMXC_OK);
    ck_assert_int_eq(outcome.rule, VMXSIM_RULE_EXIT_MSR_RANGE);
}
END_TEST

/* ---- libvmxcore against the model ---- */

#define SEED UINT64_C(0x10b17)

START_TEST(libvmxcore_and_the_model_agree_on_every_port)
{
    struct rng rng = rng_seeded(SEED);
    struct vmxc_io_bitmap bitmap;
    ck_assert_int_eq(
        vmxc_io_bitmap_init(&bitmap, vmxsim_memory_hal(machine.memory), VMXC_PASSTHROUGH), VMXC_OK);
    for (unsigned i = 0; i < 3000; i++) {
        const uint16_t port = (uint16_t)rng_below(&rng, 0xfffd);
        ck_assert_int_eq(
            vmxc_io_bitmap_set(&bitmap, port, 1u << rng_below(&rng, 3),
                               rng_chance(&rng, 70) ? VMXC_INTERCEPT : VMXC_PASSTHROUGH),
            VMXC_OK);
    }
    ck_assert_int_eq(vmxc_io_bitmap_hpa(&bitmap, &VMXSIM_VMCS(&machine.vmcs, IO_BITMAP_A_ADDRESS),
                                        &VMXSIM_VMCS(&machine.vmcs, IO_BITMAP_B_ADDRESS)),
                     VMXC_OK);
    load(VMXC_PRIMARY_USE_IO_BITMAPS);
    for (uint32_t port = 0; port <= 0xffff; port++) {
        for (uint8_t size = 1; size <= 4; size = (uint8_t)(size * 2)) {
            const bool exits = in((uint16_t)port, size).kind == VMXSIM_OUTCOME_VM_EXIT;
            if (exits != vmxc_io_bitmap_exits(&bitmap, (uint16_t)port, size))
                ck_abort_msg("seed %#llx: port %#x, %u bytes: the model %s",
                             (unsigned long long)SEED, port, size,
                             exits ? "exits" : "does not exit");
        }
    }
    vmxc_io_bitmap_fini(&bitmap);
}
END_TEST

static void compare_msr(const struct vmxc_msr_bitmap *bitmap, uint32_t msr, bool write)
{
    struct vmxsim_outcome outcome;
    const enum vmxc_status status = write ? vmxsim_guest_wrmsr(machine.cpu, msr, 0, &outcome)
                                          : vmxsim_guest_rdmsr(machine.cpu, msr, &outcome);
    const bool exits = outcome.kind == VMXSIM_OUTCOME_VM_EXIT;
    if (status != VMXC_OK ||
        exits != vmxc_msr_bitmap_exits(bitmap, msr,
                                       write ? VMXC_MSR_ACCESS_WRITE : VMXC_MSR_ACCESS_READ))
        ck_abort_msg("seed %#llx: %s of %#x: the model %s", (unsigned long long)SEED,
                     write ? "write" : "read", msr, exits ? "exits" : "does not exit");
}

START_TEST(libvmxcore_and_the_model_agree_on_every_msr)
{
    struct rng rng = rng_seeded(SEED);
    struct vmxc_msr_bitmap bitmap;
    ck_assert_int_eq(
        vmxc_msr_bitmap_init(&bitmap, vmxsim_memory_hal(machine.memory), VMXC_PASSTHROUGH),
        VMXC_OK);
    for (unsigned i = 0; i < 3000; i++) {
        const uint32_t msr =
            (uint32_t)rng_below(&rng, 0x2000) | (rng_chance(&rng, 50) ? 0xc0000000u : 0);
        ck_assert_int_eq(
            vmxc_msr_bitmap_set(&bitmap, msr,
                                rng_chance(&rng, 50) ? VMXC_MSR_ACCESS_READ : VMXC_MSR_ACCESS_WRITE,
                                VMXC_INTERCEPT),
            VMXC_OK);
    }
    ck_assert_int_eq(vmxc_msr_bitmap_hpa(&bitmap, &VMXSIM_VMCS(&machine.vmcs, MSR_BITMAP_ADDRESS)),
                     VMXC_OK);
    load(VMXC_PRIMARY_USE_MSR_BITMAPS);
    for (uint32_t i = 0; i < 0x2010; i++) {
        for (unsigned kind = 0; kind < 4; kind++)
            compare_msr(&bitmap, i | (kind & 1 ? 0xc0000000u : 0), kind & 2);
    }
    vmxc_msr_bitmap_fini(&bitmap);
}
END_TEST

/* ---- Decisions by themselves ---- */

static void random_bitmaps(struct rng *rng)
{
    for (uint64_t hpa = BITMAP_A; hpa < MSR_BITMAP + VMXC_PAGE_SIZE; hpa += 8)
        machine_write(&machine, hpa, rng_next(rng) & rng_next(rng));
}

START_TEST(a_decision_is_the_rule_of_the_exit)
{
    static const uint64_t primary[] = {0, VMXC_PRIMARY_UNCONDITIONAL_IO_EXITING,
                                       VMXC_PRIMARY_USE_IO_BITMAPS | VMXC_PRIMARY_USE_MSR_BITMAPS};
    struct rng rng = rng_seeded(7);
    unsigned exits = 0, passes = 0;

    random_bitmaps(&rng);
    for (int i = 0; i < 3000; i++) {
        const uint16_t port = (uint16_t)rng_next(&rng);
        const uint8_t size = (uint8_t)(1u << rng_below(&rng, 3));
        const uint32_t msr =
            (uint32_t)rng_below(&rng, 0x2100) + (rng_chance(&rng, 50) ? 0xc0000000u : 0);
        const bool write = rng_chance(&rng, 50);
        struct vmxsim_outcome outcome;
        if (i % 1000 == 0)
            load(primary[i / 1000]);
        ck_assert_int_eq(vmxsim_guest_io_exit(machine.cpu, port, size), in(port, size).rule);
        ck_assert_int_eq(write ? vmxsim_guest_wrmsr(machine.cpu, msr, 0, &outcome)
                               : vmxsim_guest_rdmsr(machine.cpu, msr, &outcome),
                         VMXC_OK);
        ck_assert_int_eq(vmxsim_guest_msr_exit(machine.cpu, msr, write), outcome.rule);
        exits += outcome.rule != VMXSIM_RULE_NONE;
        passes += outcome.rule == VMXSIM_RULE_NONE;
    }
    ck_assert_uint_gt(exits, 500);
    ck_assert_uint_gt(passes, 500);
}
END_TEST

START_TEST(without_a_guest_nothing_would_exit)
{
    ck_assert_int_eq(vmxsim_guest_io_exit(machine.cpu, 0, 1), VMXSIM_RULE_NONE);
    ck_assert_int_eq(vmxsim_guest_msr_exit(machine.cpu, 0, false), VMXSIM_RULE_NONE);
}
END_TEST

static Suite *intercept_suite(void)
{
    Suite *suite = suite_create("intercept");
    TCase *io_case = tcase_create("I/O");
    TCase *msr_case = tcase_create("MSRs");

    tcase_add_checked_fixture(io_case, set_up, tear_down);
    tcase_add_test(io_case, nothing_executes_before_a_guest_is_loaded);
    tcase_add_test(io_case, nothing_executes_in_a_halted_guest);
    tcase_add_loop_test(io_case, io_has_one_two_or_four_bytes, 0, 4);
    tcase_add_loop_test(io_case, what_completes_ends_blocking, 0, 4);
    tcase_add_loop_test(io_case, what_exits_leaves_blocking, 0, 3);
    tcase_add_loop_test(io_case, controls_decide_whether_bitmaps_do, 0, COUNT(controls));
    tcase_add_test(io_case, an_access_that_wraps_exits_if_bitmaps_are_used);
    tcase_add_loop_test(io_case, the_qualification_describes_the_instruction, 0,
                        COUNT(qualifications));
    tcase_add_loop_test(io_case, string_instructions_have_instruction_information, 0, 4);
    tcase_add_test(io_case, a_rep_prefix_with_count_0_does_nothing);
    tcase_add_loop_test(io_case, privilege_decides_who_asks_the_permission_map, 0,
                        COUNT(privileges));
    tcase_add_test(io_case, every_bit_of_the_access_must_be_clear_in_the_map);
    tcase_add_test(io_case, both_bytes_of_the_map_must_lie_within_the_limit);
    tcase_add_loop_test(io_case, a_tss_without_a_map_allows_nothing, 0, 3);
    tcase_add_test(io_case, reading_the_map_may_itself_exit);
    tcase_add_test(io_case, libvmxcore_and_the_model_agree_on_every_port);
    suite_add_tcase(suite, io_case);

    tcase_add_checked_fixture(msr_case, set_up, tear_down);
    tcase_add_test(msr_case, without_a_guest_nothing_would_exit);
    tcase_add_test(msr_case, a_decision_is_the_rule_of_the_exit);
    tcase_add_test(msr_case, msr_access_is_for_cpl_0);
    tcase_add_test(msr_case, without_bitmaps_every_msr_access_exits);
    tcase_add_loop_test(msr_case, each_quarter_of_the_bitmap_has_its_place, 0, COUNT(quarters));
    tcase_add_loop_test(msr_case, msrs_outside_both_ranges_exit, 0, 4);
    tcase_add_test(msr_case, libvmxcore_and_the_model_agree_on_every_msr);
    suite_add_tcase(suite, msr_case);
    return suite;
}

int main(void)
{
    return run_suite(intercept_suite());
}
