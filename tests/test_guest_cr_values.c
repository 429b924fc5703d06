/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which values a guest may move to CR0, CR3 and CR4: each condition of the manual, broken and just held, in the modes that it
 * is about.
 *
 * Source: SDM volume 2, "MOV - Move to/from Control Registers"; volume 3, "Restrictions on VMX Operation".
 */
#include "vmxsim/guest.h"

#include "support/guest_fixture.h"
#include "support/suite.h"

#define CODE_64BIT 0xa09bu
#define CODE_32BIT 0xc09bu
#define CR0_PAGED  UINT64_C(0x80000031) /* PG, NE, ET, PE */
#define CR0_FLAT   UINT64_C(0x31)
#define CR4_VMX    UINT64_C(0x2000)
#define CR4_PAE    UINT64_C(0x2020)
#define PCIDE      VMXC_BIT(17)
#define CET        VMXC_BIT(23)
#define LA57       VMXC_BIT(12)
#define WP         VMXC_BIT(16)
#define LME        VMXC_BIT(8)

/* The guest before: what its mode does not say. Then the move. */
static const struct {
    enum guest_mode mode;
    bool unrestricted;
    uint32_t code;
    uint64_t efer, cr0, cr3, cr4; /* bits in addition; CR3: the register */
    uint8_t cr;
    uint64_t value;
    bool legal;
} moves[] = {
    /* CR0: paging needs protection. */
    {GUEST_NONE, true, CODE_32BIT, 0, 0, 0, 0, 0, 0x80000030, false},
    {GUEST_NONE, true, CODE_32BIT, 0, 0, 0, 0, 0, CR0_PAGED, true},
    {GUEST_NONE, true, CODE_32BIT, 0, 0, 0, 0, 0, 0x30, true},
    {GUEST_NONE, false, CODE_32BIT, 0, 0, 0, 0, 0, 0x30, false},
    {GUEST_NONE, false, CODE_32BIT, 0, 0, 0, 0, 0, CR0_FLAT, false},
    /* CR0: IA-32e mode is entered with PAE, from code that is not 64-bit. */
    {GUEST_NONE, true, CODE_32BIT, LME, 0, 0, 0, 0, CR0_PAGED, false},
    {GUEST_NONE, true, CODE_32BIT, LME, 0, 0, 0x20, 0, CR0_PAGED, true},
    {GUEST_NONE, true, CODE_64BIT, LME, 0, 0, 0x20, 0, CR0_PAGED, false},
    {GUEST_NONE, true, CODE_64BIT, 0, 0, 0, 0x20, 0, CR0_PAGED, true},
    /* CR0: it is left from compatibility mode, without PCIDs. */
    {GUEST_4LEVEL, true, CODE_64BIT, 0, 0, 0, 0, 0, CR0_FLAT, false},
    {GUEST_4LEVEL, true, CODE_32BIT, 0, 0, 0, 0, 0, CR0_FLAT, true},
    {GUEST_4LEVEL, true, CODE_32BIT, 0, 0, 0, PCIDE, 0, CR0_FLAT, false},
    {GUEST_4LEVEL, true, CODE_32BIT, 0, 0, 0, PCIDE, 0, CR0_PAGED, true},
    {GUEST_PAE, true, CODE_32BIT, 0, 0, 0, 0, 0, CR0_FLAT, true},
    /* CR0: caching, write protection with CET, bits that do not exist. */
    {GUEST_4LEVEL, false, CODE_64BIT, 0, 0, 0, 0, 0, CR0_PAGED | VMXC_BIT(29), false},
    {GUEST_4LEVEL, false, CODE_64BIT, 0, 0, 0, 0, 0, CR0_PAGED | VMXC_BITS(30, 29), true},
    {GUEST_4LEVEL, false, CODE_64BIT, 0, 0, 0, 0, 0, CR0_PAGED | VMXC_BIT(30), true},
    {GUEST_4LEVEL, false, CODE_64BIT, 0, WP, 0, CET, 0, CR0_PAGED, false},
    {GUEST_4LEVEL, false, CODE_64BIT, 0, WP, 0, CET, 0, CR0_PAGED | WP, true},
    {GUEST_4LEVEL, false, CODE_64BIT, 0, WP, 0, 0, 0, CR0_PAGED, true},
    {GUEST_4LEVEL, false, CODE_64BIT, 0, 0, 0, 0, 0, CR0_PAGED | VMXC_BIT(32), false},
    {GUEST_4LEVEL, false, CODE_64BIT, 0, 0, 0, 0, 0, CR0_PAGED | VMXC_BIT(63), false},
    /* CR3: the physical-address width of this processor is 46; PCIDs make bit 63 a command; 32 bits outside IA-32e mode. */
    {GUEST_4LEVEL, false, CODE_64BIT, 0, 0, 0, 0, 3, VMXC_BIT(45), true},
    {GUEST_4LEVEL, false, CODE_64BIT, 0, 0, 0, 0, 3, VMXC_BIT(46), false},
    {GUEST_4LEVEL, false, CODE_64BIT, 0, 0, 0, 0, 3, VMXC_BIT(63), false},
    {GUEST_4LEVEL, false, CODE_64BIT, 0, 0, 0, PCIDE, 3, VMXC_BIT(63), true},
    {GUEST_4LEVEL, false, CODE_64BIT, 0, 0, 0, PCIDE, 3, VMXC_BIT(60), false},
    {GUEST_4LEVEL, false, CODE_64BIT, 0, 0, 0, PCIDE, 3, VMXC_BIT(63) | VMXC_BIT(46), false},
    {GUEST_32BIT, false, CODE_32BIT, 0, 0, 0, 0, 3, 0xffffffff, true},
    {GUEST_PAE, false, CODE_32BIT, 0, 0, 0, 0, 3, 0xfff00fff, true},
    /* CR4: PAE and LA57 stay in IA-32e mode. */
    {GUEST_4LEVEL, false, CODE_64BIT, 0, 0, 0, 0, 4, CR4_VMX, false},
    {GUEST_4LEVEL, false, CODE_64BIT, 0, 0, 0, 0, 4, CR4_PAE | LA57, false},
    {GUEST_5LEVEL, false, CODE_64BIT, 0, 0, 0, 0, 4, CR4_PAE, false},
    {GUEST_5LEVEL, false, CODE_64BIT, 0, 0, 0, 0, 4, CR4_PAE | LA57 | VMXC_BIT(7), true},
    {GUEST_PAE, false, CODE_32BIT, 0, 0, 0, 0, 4, CR4_VMX, true},
    {GUEST_PAE, false, CODE_32BIT, 0, 0, 0, 0, 4, CR4_PAE | LA57, true},
    /* CR4: PCIDs are turned on in IA-32e mode, with PCID 0; they may stay on with any. */
    {GUEST_4LEVEL, false, CODE_64BIT, 0, 0, 0x5000, 0, 4, CR4_PAE | PCIDE, true},
    {GUEST_4LEVEL, false, CODE_64BIT, 0, 0, 0x5001, 0, 4, CR4_PAE | PCIDE, false},
    {GUEST_4LEVEL, false, CODE_64BIT, 0, 0, 0x5800, 0, 4, CR4_PAE | PCIDE, false},
    {GUEST_4LEVEL, false, CODE_64BIT, 0, 0, 0x5001, PCIDE, 4, CR4_PAE | PCIDE, true},
    {GUEST_4LEVEL, false, CODE_64BIT, 0, 0, 0x5001, PCIDE, 4, CR4_PAE, true},
    {GUEST_4LEVEL, false, CODE_64BIT, 0, 0, 0x5001, 0, 4, CR4_PAE | VMXC_BIT(7), true},
    {GUEST_PAE, false, CODE_32BIT, 0, 0, 0, 0, 4, CR4_PAE | PCIDE, false},
    /* CR4: CET needs write protection; VMXE is fixed; bits that do not exist. */
    {GUEST_4LEVEL, false, CODE_64BIT, 0, 0, 0, 0, 4, CR4_PAE | CET, false},
    {GUEST_4LEVEL, false, CODE_64BIT, 0, WP, 0, 0, 4, CR4_PAE | CET, true},
    {GUEST_4LEVEL, false, CODE_64BIT, 0, 0, 0, 0, 4, 0x20, false},
    {GUEST_4LEVEL, false, CODE_64BIT, 0, 0, 0, 0, 4, CR4_PAE | VMXC_BIT(15), false},
    {GUEST_4LEVEL, false, CODE_64BIT, 0, 0, 0, 0, 4, CR4_PAE | VMXC_BIT(33), false},
};

static void set_up(void)
{
    machine_init(&machine, &(struct profile_changes){.maxphyaddr = 46});
}

static uint64_t cr(uint8_t number)
{
    const uint32_t fields[] = {
        [0] = VMXC_VMCS_GUEST_CR0, [3] = VMXC_VMCS_GUEST_CR3, [4] = VMXC_VMCS_GUEST_CR4};
    uint64_t value = 0;

    ck_assert_int_eq(vmxsim_guest_get(machine.cpu, fields[number], &value), VMXC_OK);
    return value;
}

START_TEST(a_move_completes_or_faults_and_changes_nothing)
{
    struct vmxsim_outcome outcome;

    machine_set_mode(&machine, moves[_i].mode);
    set_secondary(moves[_i].unrestricted ? CTL2_UNRESTRICTED : 0);
    VMXSIM_VMCS(&machine.vmcs, GUEST_CS_ACCESS_RIGHTS) = moves[_i].code;
    VMXSIM_VMCS(&machine.vmcs, GUEST_IA32_EFER) |= moves[_i].efer;
    VMXSIM_VMCS(&machine.vmcs, GUEST_CR0) |= moves[_i].cr0;
    VMXSIM_VMCS(&machine.vmcs, GUEST_CR3) = moves[_i].cr3;
    VMXSIM_VMCS(&machine.vmcs, GUEST_CR4) |= moves[_i].cr4;
    load();
    const uint64_t before = cr(moves[_i].cr);
    ck_assert_int_eq(
        vmxsim_guest_mov_to_cr(machine.cpu, moves[_i].cr, 0, moves[_i].value, &outcome), VMXC_OK);
    if (moves[_i].legal) {
        expect_guest_complete(&outcome);
        ck_assert_uint_eq(cr(moves[_i].cr),
                          moves[_i].value & ~(moves[_i].cr == 3 ? VMXC_BIT(63) : 0));
    } else {
        expect_guest_fault(&outcome, VMXC_VECTOR_GP);
        ck_assert_int_eq(outcome.rule, VMXSIM_RULE_CR_VALUE);
        ck_assert_uint_eq(cr(moves[_i].cr), before);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("guest_cr_values");
    TCase *values = suite_case(suite, "values", set_up, guest_fixture_tear_down);

    tcase_add_loop_test(values, a_move_completes_or_faults_and_changes_nothing, 0, COUNT(moves));

    return run_suite(suite);
}
