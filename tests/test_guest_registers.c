/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest's moves to and from control and debug registers: guest/host masks, read shadows, CR3-target values, and what a
 * move that completes leaves behind.
 */
#include "vmxsim/guest.h"

#include <string.h>

#include "support/guest_fixture.h"
#include "support/suite.h"

#define CR0_GUEST UINT64_C(0x80000031) /* of the fixture's guest: PG, NE, ET, PE */
#define CR4_GUEST UINT64_C(0x2020)     /* VMXE, PAE */
#define APIC_PAGE UINT64_C(0x400000)
#define PDPT      UINT64_C(0x500000)
#define RBX       3

static struct vmxsim_outcome outcome;

static const struct vmxsim_outcome *mov_to_cr(uint8_t cr, uint64_t value)
{
    ck_assert_int_eq(vmxsim_guest_mov_to_cr(machine.cpu, cr, RBX, value, &outcome), VMXC_OK);
    return &outcome;
}

static uint64_t mov_from_cr(uint8_t cr)
{
    ck_assert_int_eq(vmxsim_guest_mov_from_cr(machine.cpu, cr, RBX, &outcome), VMXC_OK);
    expect_guest_complete(&outcome);
    return outcome.value;
}

/* The register itself, behind mask and shadow. */
static uint64_t field(uint32_t encoding)
{
    uint64_t value = 0;
    ck_assert_int_eq(vmxsim_guest_get(machine.cpu, encoding, &value), VMXC_OK);
    return value;
}

static void expect_cr_exit(uint64_t qualification)
{
    expect_guest_exit(&outcome, 28);
    ck_assert_uint_eq(outcome.qualification, qualification);
}

/* ---- Refusals ---- */

static const struct {
    uint8_t cr, gpr;
} wrong_registers[] = {{1, 0}, {2, 0}, {5, 0}, {9, 0}, {0, 16}};

START_TEST(registers_that_do_not_exist_are_refused)
{
    const uint8_t cr = wrong_registers[_i].cr, gpr = wrong_registers[_i].gpr;
    load();
    ck_assert_int_eq(vmxsim_guest_mov_to_cr(machine.cpu, cr, gpr, 0, &outcome), VMXC_INVALID_INPUT);
    ck_assert_int_eq(vmxsim_guest_mov_from_cr(machine.cpu, cr, gpr, &outcome), VMXC_INVALID_INPUT);
}
END_TEST

START_TEST(cr8_and_wide_values_belong_to_64_bit_mode)
{
    VMXSIM_VMCS(&machine.vmcs, GUEST_CS_ACCESS_RIGHTS) = 0xc09b;
    load();
    ck_assert_int_eq(vmxsim_guest_mov_to_cr(machine.cpu, 8, 0, 0, &outcome), VMXC_INVALID_INPUT);
    ck_assert_int_eq(vmxsim_guest_mov_from_cr(machine.cpu, 8, 0, &outcome), VMXC_INVALID_INPUT);
    ck_assert_int_eq(vmxsim_guest_mov_to_cr(machine.cpu, 3, 0, UINT64_C(1) << 32, &outcome),
                     VMXC_INVALID_INPUT);
    ck_assert_int_eq(vmxsim_guest_mov_to_dr(machine.cpu, 0, 0, UINT64_C(1) << 32, &outcome),
                     VMXC_INVALID_INPUT);
    ck_assert_int_eq(vmxsim_guest_mov_to_dr(machine.cpu, 8, 0, 0, &outcome), VMXC_INVALID_INPUT);
    ck_assert_int_eq(vmxsim_guest_mov_from_dr(machine.cpu, 0, 16, &outcome), VMXC_INVALID_INPUT);
}
END_TEST

START_TEST(privilege_comes_before_exits)
{
    set_primary(VMXC_BIT(15) | VMXC_BIT(16) | VMXC_BIT(19) | VMXC_BIT(20));
    VMXSIM_VMCS(&machine.vmcs, CR0_GUEST_HOST_MASK) = UINT64_MAX;
    VMXSIM_VMCS(&machine.vmcs, CR0_READ_SHADOW) = VMXC_CR0_TS;
    machine_set_cpl(&machine, 3);
    load();
    expect_guest_fault(mov_to_cr(0, 0), VMXC_VECTOR_GP);
    expect_guest_fault(mov_to_cr(3, 0), VMXC_VECTOR_GP);
    expect_guest_fault(mov_to_cr(8, 0), VMXC_VECTOR_GP);
    ck_assert_int_eq(vmxsim_guest_mov_from_cr(machine.cpu, 3, 0, &outcome), VMXC_OK);
    expect_guest_fault(&outcome, VMXC_VECTOR_GP);
    ck_assert_int_eq(vmxsim_guest_clts(machine.cpu, &outcome), VMXC_OK);
    expect_guest_fault(&outcome, VMXC_VECTOR_GP);
    ck_assert_int_eq(vmxsim_guest_lmsw(machine.cpu, 0, NULL, &outcome), VMXC_OK);
    expect_guest_fault(&outcome, VMXC_VECTOR_GP);
}
END_TEST

/* ---- CR0 and CR4: masks and shadows ---- */

/* Mask, shadow, value written; exits, or the register afterwards and what the guest then reads. */
static const struct {
    uint8_t cr;
    uint64_t mask, shadow, value;
    bool exits;
    uint64_t result, seen;
} masked[] = {
    {0, 0, 0, CR0_GUEST | VMXC_CR0_TS, false, CR0_GUEST | 8, CR0_GUEST | 8},
    {0, 8, 0, CR0_GUEST | VMXC_CR0_TS, true, CR0_GUEST, CR0_GUEST},
    {0, 8, 8, CR0_GUEST | VMXC_CR0_TS, false, CR0_GUEST, CR0_GUEST | 8},
    {0, 8, 8, CR0_GUEST, true, CR0_GUEST, CR0_GUEST | 8},
    {0, 8, 0, CR0_GUEST | VMXC_CR0_MP, false, CR0_GUEST | 2, CR0_GUEST | 2},
    {0, VMXC_CR0_PE, 0, CR0_GUEST, true, CR0_GUEST, CR0_GUEST & ~VMXC_CR0_PE},
    {4, 0, 0, CR4_GUEST | VMXC_CR4_PGE, false, CR4_GUEST | 0x80, CR4_GUEST | 0x80},
    {4, VMXC_CR4_VMXE, 0, CR4_GUEST, true, CR4_GUEST, 0x20},
    {4, VMXC_CR4_VMXE, 0, 0x20, false, CR4_GUEST, 0x20},
    {4, VMXC_CR4_VMXE, 0, 0xa0, false, CR4_GUEST | 0x80, 0xa0},
};

START_TEST(the_mask_belongs_to_the_host)
{
    const bool cr0 = masked[_i].cr == 0;
    VMXSIM_VMCS(&machine.vmcs, CR0_GUEST_HOST_MASK) = cr0 ? masked[_i].mask : 0;
    VMXSIM_VMCS(&machine.vmcs, CR0_READ_SHADOW) = cr0 ? masked[_i].shadow : 0;
    VMXSIM_VMCS(&machine.vmcs, CR4_GUEST_HOST_MASK) = cr0 ? 0 : masked[_i].mask;
    VMXSIM_VMCS(&machine.vmcs, CR4_READ_SHADOW) = cr0 ? 0 : masked[_i].shadow;
    load();
    (void)mov_to_cr(masked[_i].cr, masked[_i].value);
    if (masked[_i].exits)
        expect_cr_exit(UINT64_C(0x300) | masked[_i].cr);
    else
        expect_guest_complete(&outcome);
    ck_assert_uint_eq(field(cr0 ? VMXC_VMCS_GUEST_CR0 : VMXC_VMCS_GUEST_CR4), masked[_i].result);
    ck_assert_uint_eq(mov_from_cr(masked[_i].cr), masked[_i].seen);
}
END_TEST

/* Values that fault although nothing is intercepted. */
static const struct {
    uint8_t cr;
    uint64_t value;
} illegal[] = {
    {0, CR0_GUEST | UINT64_C(1) << 32}, /* bits 63:32 */
    {0, CR0_GUEST & ~VMXC_CR0_PE},      /* PG without PE */
    {0, CR0_GUEST & ~VMXC_CR0_PG},      /* paging off in 64-bit mode */
    {0, CR0_GUEST | VMXC_CR0_NW},       /* NW without CD */
    {0, CR0_GUEST & ~VMXC_CR0_NE},      /* fixed in VMX operation */
    {4, CR4_GUEST & ~VMXC_CR4_VMXE},    /* fixed in VMX operation */
    {4, CR4_GUEST | UINT64_C(1) << 40}, /* reserved */
    {4, CR4_GUEST & ~VMXC_CR4_PAE},     /* needed in IA-32e mode */
    {4, CR4_GUEST | VMXC_CR4_LA57},     /* cannot change in IA-32e mode */
    {4, CR4_GUEST | VMXC_CR4_CET},      /* CET needs CR0.WP */
    {3, UINT64_C(1) << 55},             /* beyond the physical-address width */
    {3, UINT64_C(1) << 63},             /* a command with CR4.PCIDE only */
    {8, 16},                            /* CR8 has four bits */
};

START_TEST(illegal_values_fault)
{
    load();
    expect_guest_fault(mov_to_cr(illegal[_i].cr, illegal[_i].value), VMXC_VECTOR_GP);
    ck_assert_int_eq(outcome.rule, VMXSIM_RULE_CR_VALUE);
    ck_assert_uint_eq(field(VMXC_VMCS_GUEST_CR0), CR0_GUEST);
    ck_assert_uint_eq(field(VMXC_VMCS_GUEST_CR4), CR4_GUEST);
}
END_TEST

/* An intercepted value is for the hypervisor to judge. */
START_TEST(the_exit_comes_before_the_fault)
{
    VMXSIM_VMCS(&machine.vmcs, CR0_GUEST_HOST_MASK) = VMXC_CR0_NE;
    VMXSIM_VMCS(&machine.vmcs, CR0_READ_SHADOW) = VMXC_CR0_NE;
    set_primary(VMXC_BIT(15) | VMXC_BIT(19));
    load();
    (void)mov_to_cr(0, CR0_GUEST & ~VMXC_CR0_NE);
    expect_cr_exit(0x300);
    (void)mov_to_cr(3, UINT64_C(1) << 63);
    expect_cr_exit(0x303);
    (void)mov_to_cr(8, 16);
    expect_cr_exit(0x308);
}
END_TEST

START_TEST(an_unrestricted_guest_may_leave_protected_mode)
{
    for (int unrestricted = 0; unrestricted < 2; unrestricted++) {
        machine_set_mode(&machine, GUEST_NONE);
        set_secondary(unrestricted ? CTL2_UNRESTRICTED : 0);
        load();
        (void)mov_to_cr(0, 0x30);
        if (unrestricted)
            expect_guest_complete(&outcome);
        else
            expect_guest_fault(&outcome, VMXC_VECTOR_GP);
    }
}
END_TEST

/* ---- Modes follow the registers ---- */

START_TEST(paging_with_lme_enters_ia32e_mode)
{
    machine_set_mode(&machine, GUEST_NONE);
    set_secondary(CTL2_UNRESTRICTED);
    VMXSIM_VMCS(&machine.vmcs, GUEST_IA32_EFER) = VMXC_EFER_LME;
    VMXSIM_VMCS(&machine.vmcs, GUEST_CR4) |= VMXC_CR4_PAE;
    load();
    expect_guest_complete(mov_to_cr(0, CR0_GUEST));
    const struct vmxsim_access access = {.type = VMXSIM_ACCESS_READ, .linear = 0x1000, .size = 1};
    machine_write(&machine, 0, 0); /* CR3 is 0: an empty PML4 */
    outcome = machine_access_as(&machine, &access, NULL);
    ck_assert_uint_eq(outcome.vector, VMXC_VECTOR_PF);
    /* Compatibility mode: paging may go off again. */
    expect_guest_complete(mov_to_cr(0, CR0_GUEST & ~VMXC_CR0_PG));
    outcome = machine_access_as(&machine, &access, NULL);
    ck_assert_int_eq(outcome.kind, VMXSIM_OUTCOME_COMPLETE);
}
END_TEST

START_TEST(lme_without_pae_or_in_64_bit_code_cannot_turn_paging_on)
{
    machine_set_mode(&machine, GUEST_NONE);
    set_secondary(CTL2_UNRESTRICTED);
    VMXSIM_VMCS(&machine.vmcs, GUEST_IA32_EFER) = VMXC_EFER_LME;
    VMXSIM_VMCS(&machine.vmcs, GUEST_CR4) |= _i ? VMXC_CR4_PAE : 0;
    VMXSIM_VMCS(&machine.vmcs, GUEST_CS_ACCESS_RIGHTS) = _i ? 0xa09b : 0xc09b;
    load();
    expect_guest_fault(mov_to_cr(0, CR0_GUEST), VMXC_VECTOR_GP);
}
END_TEST

/* ---- PDPTEs ---- */

static void load_pae(void)
{
    machine_set_mode(&machine, GUEST_PAE);
    load();
}

START_TEST(cr3_loads_the_pdptes_of_pae_paging)
{
    machine_write(&machine, PDPT, 0x1001);
    machine_write(&machine, PDPT + 24, 0x2001);
    load_pae();
    expect_guest_complete(mov_to_cr(3, PDPT));
    machine_write(&machine, PDPT, 0); /* the registers stay */
    ck_assert_uint_eq(mov_from_cr(3), PDPT);
}
END_TEST

START_TEST(a_bad_pdpte_faults_and_changes_nothing)
{
    machine_write(&machine, PDPT + 8, 0x1003); /* bit 1 is reserved */
    load_pae();
    expect_guest_fault(mov_to_cr(3, PDPT), VMXC_VECTOR_GP);
    ck_assert_int_eq(outcome.rule, VMXSIM_RULE_CR_PDPTE);
    ck_assert_uint_eq(mov_from_cr(3), 0);
}
END_TEST

START_TEST(pdptes_are_read_through_ept)
{
    machine_new_ept(&machine, 4, 0);
    machine_ept_map(&machine, 0x600000, PDPT, 1);
    machine_write(&machine, PDPT, 0x7001);
    load_pae();
    expect_guest_complete(mov_to_cr(3, 0x600000));
    ck_assert_uint_eq(field(VMXC_VMCS_GUEST_PDPTE0), 0x7001);
    (void)mov_to_cr(3, 0x700000);
    expect_guest_exit(&outcome, 48);
    ck_assert_uint_eq(outcome.guest_physical, 0x700000);
    ck_assert_uint_eq(mov_from_cr(3), 0x600000);
}
END_TEST

/* CR3 names the table by bits 31:5: four entries of 8 bytes anywhere in a page. */
START_TEST(pdptes_are_aligned_to_32_bytes)
{
    static const uint32_t fields[] = {VMXC_VMCS_GUEST_PDPTE0, VMXC_VMCS_GUEST_PDPTE1,
                                      VMXC_VMCS_GUEST_PDPTE2, VMXC_VMCS_GUEST_PDPTE3};
    machine_new_ept(&machine, 4, 0);
    machine_ept_map(&machine, 0x600000, PDPT, 1);
    for (unsigned i = 0; i < 4; i++)
        machine_write(&machine, PDPT + 0xfe0 + 8 * i, (uint64_t)(0x7001 + 0x1000 * i));
    load_pae();
    expect_guest_complete(mov_to_cr(3, 0x600fff));
    for (unsigned i = 0; i < 4; i++)
        ck_assert_uint_eq(field(fields[i]), 0x7001 + 0x1000 * i);
}
END_TEST

START_TEST(without_ept_a_vm_entry_reads_the_pdptes_from_memory)
{
    const struct vmxsim_access access = {
        .type = VMXSIM_ACCESS_READ, .linear = 0xc0000000, .size = 1};
    machine_write(&machine, PDPT + 0x38, 0x510001); /* the fourth of the table at PDPT + 20H */
    machine_write(&machine, 0x510000, 0x12400083);  /* a 2-MByte page */
    VMXSIM_VMCS(&machine.vmcs, GUEST_CR3) = PDPT + 0x38;
    load_pae();
    outcome = machine_access_as(&machine, &access, NULL);
    ck_assert_int_eq(outcome.kind, VMXSIM_OUTCOME_COMPLETE);
    ck_assert_uint_eq(outcome.page[0].hpa, 0x12400000);
}
END_TEST

START_TEST(cr4_loads_the_pdptes_if_paging_bits_change)
{
    machine_write(&machine, 0, 0x1003); /* CR3 is 0 */
    load_pae();
    expect_guest_complete(mov_to_cr(4, CR4_GUEST | VMXC_CR4_DE));
    expect_guest_fault(mov_to_cr(4, CR4_GUEST | VMXC_CR4_PGE), VMXC_VECTOR_GP);
}
END_TEST

/* ---- CR3 ---- */

static const struct {
    uint64_t count, value;
    bool exits;
} targets[] = {
    {0, 0x1000, true}, {1, 0x1000, false}, {1, 0x2000, true}, {2, 0x2000, false},
    {3, 0x4000, true}, {4, 0x4000, false}, {4, 0x5000, true}, {4, 0x4001, true},
};

START_TEST(cr3_targets_do_not_exit)
{
    VMXSIM_VMCS(&machine.vmcs, CR3_TARGET_VALUE_0) = 0x1000;
    VMXSIM_VMCS(&machine.vmcs, CR3_TARGET_VALUE_1) = 0x2000;
    VMXSIM_VMCS(&machine.vmcs, CR3_TARGET_VALUE_2) = 0x3000;
    VMXSIM_VMCS(&machine.vmcs, CR3_TARGET_VALUE_3) = 0x4000;
    VMXSIM_VMCS(&machine.vmcs, CR3_TARGET_COUNT) = targets[_i].count;
    for (int exiting = 0; exiting < 2; exiting++) {
        set_primary(exiting ? VMXC_BIT(15) : 0);
        load();
        (void)mov_to_cr(3, targets[_i].value);
        if (exiting && targets[_i].exits)
            expect_cr_exit(0x303);
        else
            ck_assert_uint_eq(mov_from_cr(3), targets[_i].value);
    }
}
END_TEST

START_TEST(reading_cr3_exits_by_its_control)
{
    set_primary(VMXC_BIT(16));
    load();
    ck_assert_int_eq(vmxsim_guest_mov_from_cr(machine.cpu, 3, 15, &outcome), VMXC_OK);
    expect_cr_exit(0xf13);
}
END_TEST

START_TEST(bit_63_of_cr3_is_not_kept)
{
    VMXSIM_VMCS(&machine.vmcs, GUEST_CR4) |= VMXC_CR4_PCIDE;
    load();
    expect_guest_complete(mov_to_cr(3, UINT64_C(1) << 63 | 0x5001));
    ck_assert_uint_eq(mov_from_cr(3), 0x5001);
}
END_TEST

START_TEST(what_accesses_do_not_model_is_refused)
{
    load();
    ck_assert_int_eq(vmxsim_guest_mov_to_cr(machine.cpu, 3, 0, VMXC_CR3_LAM_U48, &outcome),
                     VMXC_UNSUPPORTED);
    ck_assert_int_eq(vmxsim_guest_mov_to_cr(machine.cpu, 3, 0, VMXC_CR3_LAM_U57, &outcome),
                     VMXC_UNSUPPORTED);
    ck_assert_int_eq(
        vmxsim_guest_mov_to_cr(machine.cpu, 4, 0, CR4_GUEST | VMXC_CR4_LAM_SUP, &outcome),
        VMXC_UNSUPPORTED);
    ck_assert_int_eq(vmxsim_guest_mov_to_cr(machine.cpu, 4, 0, CR4_GUEST | VMXC_CR4_LASS, &outcome),
                     VMXC_UNSUPPORTED);
}
END_TEST

START_TEST(fields_that_stand_for_an_msr_are_not_read_or_set)
{
    unsigned count = 0;

    load();
    for (size_t i = 0; i < VMXC_VMCS_FIELD_COUNT; i++) {
        uint64_t value;
        if (strncmp(vmxsim_vmcs_name(i), "GUEST_IA32_", strlen("GUEST_IA32_")) != 0)
            continue;
        ck_assert_int_eq(vmxsim_guest_get(machine.cpu, vmxsim_vmcs_encoding(i), &value),
                         VMXC_UNSUPPORTED);
        ck_assert_int_eq(vmxsim_guest_set(machine.cpu, vmxsim_vmcs_encoding(i), 0),
                         VMXC_UNSUPPORTED);
        count++;
    }
    ck_assert_uint_ge(count, 9);
}
END_TEST

/* ---- CR8 ---- */

START_TEST(cr8_exits_by_its_controls)
{
    set_primary(VMXC_BIT(19) | VMXC_BIT(20));
    load();
    (void)mov_to_cr(8, 5);
    expect_cr_exit(0x308);
    ck_assert_int_eq(vmxsim_guest_mov_from_cr(machine.cpu, 8, RBX, &outcome), VMXC_OK);
    expect_cr_exit(0x318);
}
END_TEST

START_TEST(cr8_without_a_shadow_is_a_register)
{
    load();
    expect_guest_complete(mov_to_cr(8, 9));
    ck_assert_uint_eq(mov_from_cr(8), 9);
}
END_TEST

START_TEST(cr8_with_a_shadow_is_the_virtual_tpr)
{
    set_primary(VMXC_BIT(21));
    VMXSIM_VMCS(&machine.vmcs, VIRTUAL_APIC_ADDRESS) = APIC_PAGE;
    VMXSIM_VMCS(&machine.vmcs, TPR_THRESHOLD) = 4;
    machine_write(&machine, APIC_PAGE + 0x80, 0xffffffff000000b7);
    load();
    ck_assert_uint_eq(mov_from_cr(8), 11);
    expect_guest_complete(mov_to_cr(8, 4));
    ck_assert_uint_eq(machine_read(&machine, APIC_PAGE + 0x80), 0xffffffff00000040);
    expect_guest_exit(mov_to_cr(8, 3), 43); /* after the write */
    ck_assert_uint_eq(mov_from_cr(8), 3);
}
END_TEST

/* ---- CLTS, LMSW, SMSW ---- */

static const struct {
    uint64_t mask, shadow;
    bool exits, clears;
} clts[] = {{0, 0, false, true}, {0, 8, false, true}, {8, 0, false, false}, {8, 8, true, false}};

START_TEST(clts_asks_mask_and_shadow)
{
    VMXSIM_VMCS(&machine.vmcs, GUEST_CR0) |= VMXC_CR0_TS;
    VMXSIM_VMCS(&machine.vmcs, CR0_GUEST_HOST_MASK) = clts[_i].mask;
    VMXSIM_VMCS(&machine.vmcs, CR0_READ_SHADOW) = clts[_i].shadow;
    load();
    ck_assert_int_eq(vmxsim_guest_clts(machine.cpu, &outcome), VMXC_OK);
    if (clts[_i].exits)
        expect_cr_exit(0x20);
    else
        expect_guest_complete(&outcome);
    ck_assert_uint_eq(field(VMXC_VMCS_GUEST_CR0) & VMXC_CR0_TS, clts[_i].clears ? 0 : VMXC_CR0_TS);
}
END_TEST

/* LMSW never clears PE, so PE matters only if it would be set. */
static const struct {
    uint64_t mask, shadow;
    uint16_t source;
    bool exits;
} lmsw[] = {
    {0, 0, 0xf, false},  {1, 0, 1, true},  {1, 0, 0, false},     {1, 1, 0, false},
    {1, 1, 1, false},    {8, 0, 8, true},  {8, 8, 0, true},      {8, 8, 8, false},
    {0x20, 0, 0, false}, {2, 0, 4, false}, {~0ull, 0, 0, false}, {0xe, 0xe, 0xe, false},
};

START_TEST(lmsw_asks_mask_and_shadow_for_four_bits)
{
    VMXSIM_VMCS(&machine.vmcs, CR0_GUEST_HOST_MASK) = lmsw[_i].mask;
    VMXSIM_VMCS(&machine.vmcs, CR0_READ_SHADOW) = lmsw[_i].shadow;
    load();
    ck_assert_int_eq(vmxsim_guest_lmsw(machine.cpu, lmsw[_i].source, NULL, &outcome), VMXC_OK);
    if (lmsw[_i].exits)
        expect_cr_exit(0x30 | (uint64_t)lmsw[_i].source << 16);
    else
        expect_guest_complete(&outcome);
}
END_TEST

START_TEST(lmsw_from_memory_reports_the_address)
{
    const uint64_t linear = 0x1234;
    VMXSIM_VMCS(&machine.vmcs, CR0_GUEST_HOST_MASK) = 8;
    load();
    ck_assert_int_eq(vmxsim_guest_lmsw(machine.cpu, 0xabc8, &linear, &outcome), VMXC_OK);
    expect_cr_exit(0xabc80070);
    ck_assert(outcome.guest_linear_valid);
    ck_assert_uint_eq(outcome.guest_linear, linear);
}
END_TEST

START_TEST(lmsw_writes_four_bits_and_keeps_pe)
{
    load();
    ck_assert_int_eq(vmxsim_guest_lmsw(machine.cpu, 0xfffe, NULL, &outcome), VMXC_OK);
    ck_assert_uint_eq(field(VMXC_VMCS_GUEST_CR0), CR0_GUEST | 0xe);
}
END_TEST

START_TEST(smsw_reads_through_the_shadow_and_never_exits)
{
    VMXSIM_VMCS(&machine.vmcs, CR0_GUEST_HOST_MASK) = 8;
    VMXSIM_VMCS(&machine.vmcs, CR0_READ_SHADOW) = 8;
    machine_set_cpl(&machine, 3);
    load();
    ck_assert_int_eq(vmxsim_guest_smsw(machine.cpu, &outcome), VMXC_OK);
    expect_guest_complete(&outcome);
    ck_assert_uint_eq(outcome.value, CR0_GUEST | 8);
    VMXSIM_VMCS(&machine.vmcs, GUEST_CR4) |= VMXC_CR4_UMIP;
    load();
    ck_assert_int_eq(vmxsim_guest_smsw(machine.cpu, &outcome), VMXC_OK);
    expect_guest_fault(&outcome, VMXC_VECTOR_GP);
}
END_TEST

/* ---- Debug registers ---- */

START_TEST(mov_dr_exits_before_every_fault)
{
    set_primary(VMXC_BIT(23));
    VMXSIM_VMCS(&machine.vmcs, GUEST_CR4) |= VMXC_CR4_DE;
    machine_set_cpl(&machine, 3);
    load();
    ck_assert_int_eq(vmxsim_guest_mov_to_dr(machine.cpu, 4, 10, 0, &outcome), VMXC_OK);
    expect_guest_exit(&outcome, 29);
    ck_assert_uint_eq(outcome.qualification, 0xa04);
    ck_assert_int_eq(vmxsim_guest_mov_from_dr(machine.cpu, 7, 1, &outcome), VMXC_OK);
    expect_guest_exit(&outcome, 29);
    ck_assert_uint_eq(outcome.qualification, 0x117);
}
END_TEST

START_TEST(mov_dr_without_an_exit_faults)
{
    VMXSIM_VMCS(&machine.vmcs, GUEST_CR4) |= VMXC_CR4_DE;
    load();
    ck_assert_int_eq(vmxsim_guest_mov_to_dr(machine.cpu, 5, 0, 0, &outcome), VMXC_OK);
    expect_guest_fault(&outcome, VMXC_VECTOR_UD);
    ck_assert_int_eq(vmxsim_guest_mov_to_dr(machine.cpu, 7, 0, UINT64_C(1) << 32, &outcome),
                     VMXC_OK);
    expect_guest_fault(&outcome, VMXC_VECTOR_GP);
    ck_assert_int_eq(vmxsim_guest_mov_to_dr(machine.cpu, 6, 0, UINT64_C(1) << 32, &outcome),
                     VMXC_OK);
    expect_guest_fault(&outcome, VMXC_VECTOR_GP);
    machine_set_cpl(&machine, 3);
    load();
    ck_assert_int_eq(vmxsim_guest_mov_from_dr(machine.cpu, 0, 0, &outcome), VMXC_OK);
    expect_guest_fault(&outcome, VMXC_VECTOR_GP);
}
END_TEST

static uint64_t dr(uint8_t number)
{
    ck_assert_int_eq(vmxsim_guest_mov_from_dr(machine.cpu, number, 0, &outcome), VMXC_OK);
    expect_guest_complete(&outcome);
    return outcome.value;
}

START_TEST(debug_registers_keep_what_is_written)
{
    load();
    for (uint8_t number = 0; number < 4; number++) {
        ck_assert_int_eq(
            vmxsim_guest_mov_to_dr(machine.cpu, number, 0, UINT64_MAX - number, &outcome), VMXC_OK);
        ck_assert_uint_eq(dr(number), UINT64_MAX - number);
    }
    ck_assert_int_eq(vmxsim_guest_mov_to_dr(machine.cpu, 5, 0, 0xffffdfff, &outcome), VMXC_OK);
    ck_assert_uint_eq(dr(7), 0xffff0fff); /* DR5 is DR7; bits 12, 14, 15 are 0, 10 is 1 */
    ck_assert_int_eq(vmxsim_guest_mov_to_dr(machine.cpu, 4, 0, 1, &outcome), VMXC_OK);
    ck_assert_uint_eq(dr(6), 0xffff0ff1);
}
END_TEST

START_TEST(general_detect_raises_db)
{
    for (int intercepted = 0; intercepted < 2; intercepted++) {
        VMXSIM_VMCS(&machine.vmcs, EXCEPTION_BITMAP) = intercepted ? 2 : 0;
        load();
        ck_assert_int_eq(vmxsim_guest_mov_to_dr(machine.cpu, 7, 0, 0x2000, &outcome), VMXC_OK);
        ck_assert_int_eq(vmxsim_guest_mov_from_dr(machine.cpu, 0, 0, &outcome), VMXC_OK);
        ck_assert_int_eq(outcome.rule, VMXSIM_RULE_DR_DETECT);
        ck_assert_uint_eq(outcome.qualification, intercepted ? 0x2000 : 0);
        ck_assert_uint_eq(field(VMXC_VMCS_GUEST_DR7), intercepted ? 0x2400 : 0x400);
        /* BD in DR6 is for the guest's handler: an exit leaves it to the hypervisor. */
        if (!intercepted)
            ck_assert_uint_eq(dr(6), 0xffff2ff0);
    }
}
END_TEST

START_TEST(outside_64_bit_mode_debug_registers_have_32_bits)
{
    VMXSIM_VMCS(&machine.vmcs, GUEST_CS_ACCESS_RIGHTS) = 0xc09b;
    load();
    ck_assert_int_eq(vmxsim_guest_mov_to_dr(machine.cpu, 1, 0, 0x80000000, &outcome), VMXC_OK);
    ck_assert_uint_eq(dr(1), 0x80000000);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("guest_registers");
    TCase *refusals = suite_case(suite, "refusals", guest_fixture_set_up, guest_fixture_tear_down);
    TCase *control =
        suite_case(suite, "control registers", guest_fixture_set_up, guest_fixture_tear_down);
    TCase *words =
        suite_case(suite, "machine status word", guest_fixture_set_up, guest_fixture_tear_down);
    TCase *debug =
        suite_case(suite, "debug registers", guest_fixture_set_up, guest_fixture_tear_down);

    tcase_add_loop_test(refusals, registers_that_do_not_exist_are_refused, 0,
                        COUNT(wrong_registers));
    tcase_add_test(refusals, cr8_and_wide_values_belong_to_64_bit_mode);
    tcase_add_test(refusals, privilege_comes_before_exits);
    tcase_add_test(refusals, what_accesses_do_not_model_is_refused);
    tcase_add_test(refusals, fields_that_stand_for_an_msr_are_not_read_or_set);
    tcase_add_loop_test(refusals, illegal_values_fault, 0, COUNT(illegal));

    tcase_add_loop_test(control, the_mask_belongs_to_the_host, 0, COUNT(masked));
    tcase_add_test(control, the_exit_comes_before_the_fault);
    tcase_add_test(control, an_unrestricted_guest_may_leave_protected_mode);
    tcase_add_test(control, paging_with_lme_enters_ia32e_mode);
    tcase_add_loop_test(control, lme_without_pae_or_in_64_bit_code_cannot_turn_paging_on, 0, 2);
    tcase_add_test(control, cr3_loads_the_pdptes_of_pae_paging);
    tcase_add_test(control, a_bad_pdpte_faults_and_changes_nothing);
    tcase_add_test(control, pdptes_are_read_through_ept);
    tcase_add_test(control, pdptes_are_aligned_to_32_bytes);
    tcase_add_test(control, without_ept_a_vm_entry_reads_the_pdptes_from_memory);
    tcase_add_test(control, cr4_loads_the_pdptes_if_paging_bits_change);
    tcase_add_loop_test(control, cr3_targets_do_not_exit, 0, COUNT(targets));
    tcase_add_test(control, reading_cr3_exits_by_its_control);
    tcase_add_test(control, bit_63_of_cr3_is_not_kept);
    tcase_add_test(control, cr8_exits_by_its_controls);
    tcase_add_test(control, cr8_without_a_shadow_is_a_register);
    tcase_add_test(control, cr8_with_a_shadow_is_the_virtual_tpr);

    tcase_add_loop_test(words, clts_asks_mask_and_shadow, 0, COUNT(clts));
    tcase_add_loop_test(words, lmsw_asks_mask_and_shadow_for_four_bits, 0, COUNT(lmsw));
    tcase_add_test(words, lmsw_from_memory_reports_the_address);
    tcase_add_test(words, lmsw_writes_four_bits_and_keeps_pe);
    tcase_add_test(words, smsw_reads_through_the_shadow_and_never_exits);

    tcase_add_test(debug, mov_dr_exits_before_every_fault);
    tcase_add_test(debug, mov_dr_without_an_exit_faults);
    tcase_add_test(debug, debug_registers_keep_what_is_written);
    tcase_add_test(debug, general_detect_raises_db);
    tcase_add_test(debug, outside_64_bit_mode_debug_registers_have_32_bits);

    return run_suite(suite);
}
