/* SPDX-License-Identifier: Apache-2.0 */
/* MOV to CR0 and CR4, RDMSR, WRMSR outside VMX non-root operation. */
#include <check.h>

#include "support/entry_edge.h"
#include "support/insn_machine.h"
#include "support/suite.h"

static struct insn_machine machine;

static void setup(void)
{
    insn_machine_init(&machine, "tigerlake", NULL);
}

static void teardown(void)
{
    insn_machine_fini(&machine);
}

/* A processor state from which one move is tried. */
struct move {
    uint64_t cr0, cr4, efer;
    bool vmx;       /* after VMXON in the usual state */
    uint64_t value; /* what is moved */
    enum vmxsim_insn_rule rule;
};

static void prepare(const struct move *move)
{
    if (move->vmx)
        insn_machine_vmxon(&machine);
    vmxsim_cpu_set_root_state(
        machine.cpu,
        &(struct vmxsim_root_state){.cr0 = move->cr0, .cr4 = move->cr4, .efer = move->efer});
}

static void expect_move(const struct move *move)
{
    if (move->rule == VMXSIM_INSN_NONE)
        expect_completion(&machine);
    else
        expect_exception(&machine, VMXC_VECTOR_GP, move->rule);
}

/* ---- CR0 ---- */

static const struct move cr0_moves[] = {
    {0x80000031, 0x2020, 0x500, false, UINT64_C(0x180000031), VMXSIM_INSN_CR0_RESERVED},
    {0x80000031, 0x2020, 0x500, false, 0x80000030, VMXSIM_INSN_CR0_PAGING}, /* PG without PE */
    {0x80000031, 0x2020, 0x500, false, 0x31, VMXSIM_INSN_CR0_PAGING},       /* in 64-bit code */
    {0x80000031, 0x22020, 0, false, 0x31, VMXSIM_INSN_CR0_PAGING},          /* with PCIDs */
    {0x31, 0x2000, 0x100, false, 0x80000031, VMXSIM_INSN_CR0_PAGING},       /* LME without PAE */
    {0x80000031, 0x2020, 0x500, false, 0xa0000031, VMXSIM_INSN_CR0_CACHING},
    {0x80010031, 0x802020, 0x500, false, 0x80000031, VMXSIM_INSN_CR0_CET},
    {0x80000031, 0x2020, 0x500, true, 0x80000011, VMXSIM_INSN_CR0_FIXED}, /* NE */
    {0x80000031, 0x2020, 0, true, 0x31, VMXSIM_INSN_CR0_FIXED},           /* PG, from 32-bit code */
    {0x80000031, 0x2020, 0x500, false, 0x80000011, VMXSIM_INSN_NONE},
    {0x80000031, 0x2020, 0x500, true, 0xe0050033, VMXSIM_INSN_NONE},
    {0x80000031, 0x2020, 0, false, 0x31, VMXSIM_INSN_NONE},
    {0x31, 0x2000, 0, false, 0x80000031, VMXSIM_INSN_NONE},
    {0x80010031, 0x802020, 0x500, false, 0x80010033, VMXSIM_INSN_NONE}, /* CET and WP stay */
};

START_TEST(cr0_accepts_what_the_mode_allows)
{
    const struct move *const move = &cr0_moves[_i];

    prepare(move);
    EXECUTE(&machine, mov_to_cr0, move->value);
    expect_move(move);
    ck_assert_uint_eq(vmxsim_cpu_root_state(machine.cpu).cr0,
                      move->rule == VMXSIM_INSN_NONE ? move->value : move->cr0);
}
END_TEST

START_TEST(cr0_keeps_et_and_only_what_has_a_meaning)
{
    EXECUTE(&machine, mov_to_cr0, 0x8001ffe1 | VMXC_BIT(19));
    expect_completion(&machine);
    ck_assert_uint_eq(vmxsim_cpu_root_state(machine.cpu).cr0, 0x80010031);
}
END_TEST

START_TEST(paging_and_lme_make_lma)
{
    vmxsim_cpu_set_root_state(
        machine.cpu, &(struct vmxsim_root_state){.cr0 = 0x31, .cr4 = 0x2020, .efer = 0x100});
    EXECUTE(&machine, mov_to_cr0, 0x80000031);
    expect_completion(&machine);
    ck_assert_uint_eq(vmxsim_cpu_root_state(machine.cpu).efer, 0x500);
    EXECUTE(&machine, mov_to_cr0, 0x31); /* CS.L is still 0: compatibility mode */
    expect_completion(&machine);
    ck_assert_uint_eq(vmxsim_cpu_root_state(machine.cpu).efer, 0x100);
}
END_TEST

/* ---- CR4 ---- */

static const struct move cr4_moves[] = {
    {0x80000031, 0x2020, 0x500, false, 0x1002020, VMXSIM_INSN_CR4_RESERVED}, /* PKS: not there */
    {0x80000031, 0x2020, 0x500, false, UINT64_C(0x100002020), VMXSIM_INSN_CR4_RESERVED},
    {0x80000031, 0x2020, 0x500, false, 0x2000, VMXSIM_INSN_CR4_IA32E}, /* PAE */
    {0x80000031, 0x2020, 0, false, 0x22020, VMXSIM_INSN_CR4_PCIDE},    /* outside IA-32e mode */
    {0x80000031, 0x2020, 0x500, false, 0x802020, VMXSIM_INSN_CR4_CET}, /* without WP */
    {0x80000031, 0x2020, 0x500, true, 0x20, VMXSIM_INSN_CR4_FIXED},    /* VMXE */
    {0x80000031, 0x2020, 0x500, false, 0x20, VMXSIM_INSN_NONE},
    {0x80000031, 0x2020, 0x500, true, 0x22020, VMXSIM_INSN_NONE},
    {0x80010031, 0x2020, 0x500, true, 0x802020, VMXSIM_INSN_NONE},
    {0x31, 0x2020, 0, false, 0x2000, VMXSIM_INSN_NONE},
};

START_TEST(cr4_accepts_what_the_mode_allows)
{
    const struct move *const move = &cr4_moves[_i];

    prepare(move);
    EXECUTE(&machine, mov_to_cr4, move->value);
    expect_move(move);
    ck_assert_uint_eq(vmxsim_cpu_root_state(machine.cpu).cr4,
                      move->rule == VMXSIM_INSN_NONE ? move->value : move->cr4);
}
END_TEST

START_TEST(la57_cannot_change_in_ia32e_mode)
{
    teardown();
    insn_machine_init(&machine, "everything", NULL);
    EXECUTE(&machine, mov_to_cr4, 0x3020);
    expect_exception(&machine, VMXC_VECTOR_GP, VMXSIM_INSN_CR4_IA32E);
}
END_TEST

/* ---- MSRs ---- */

START_TEST(moves_to_registers_need_privilege)
{
    vmxsim_cpu_set_execution_state(
        machine.cpu, &(struct vmxsim_execution_state){.rflags = 2, .cpl = 3, .code_64bit = true});
    EXECUTE(&machine, mov_to_cr0, 0x80000031);
    expect_exception(&machine, VMXC_VECTOR_GP, VMXSIM_INSN_CPL);
    EXECUTE(&machine, mov_to_cr4, 0x2020);
    expect_exception(&machine, VMXC_VECTOR_GP, VMXSIM_INSN_CPL);
    EXECUTE(&machine, rdmsr, VMXC_MSR_PAT);
    expect_exception(&machine, VMXC_VECTOR_GP, VMXSIM_INSN_CPL);
    EXECUTE(&machine, wrmsr, VMXC_MSR_PAT, 0);
    expect_exception(&machine, VMXC_VECTOR_GP, VMXSIM_INSN_CPL);
}
END_TEST

static uint64_t read_msr(uint32_t msr)
{
    EXECUTE(&machine, rdmsr, msr);
    expect_completion(&machine);
    return machine.result.value;
}

START_TEST(capability_msrs_are_the_profiles_and_cannot_be_written)
{
    for (uint32_t msr = VMXC_MSR_VMX_BASIC; msr <= VMXC_MSR_VMX_VMFUNC; msr++) {
        uint64_t value = 0;
        ck_assert_int_eq(vmxsim_profile_msr(machine.profile, msr, &value), VMXC_OK);
        ck_assert_uint_eq(read_msr(msr), value);
        EXECUTE(&machine, wrmsr, msr, value);
        expect_exception(&machine, VMXC_VECTOR_GP, VMXSIM_INSN_WRMSR_VALUE);
    }
}
END_TEST

START_TEST(msrs_that_do_not_exist_fault)
{
    EXECUTE(&machine, rdmsr, 0x12345678);
    expect_exception(&machine, VMXC_VECTOR_GP, VMXSIM_INSN_RDMSR_UNKNOWN);
    EXECUTE(&machine, wrmsr, 0x12345678, 0);
    expect_exception(&machine, VMXC_VECTOR_GP, VMXSIM_INSN_WRMSR_VALUE);
    EXECUTE(&machine, rdmsr, 0x49); /* IA32_PRED_CMD: a command */
    expect_exception(&machine, VMXC_VECTOR_GP, VMXSIM_INSN_RDMSR_UNKNOWN);
}
END_TEST

START_TEST(a_locked_feature_control_cannot_be_written)
{
    ck_assert_uint_eq(read_msr(VMXC_MSR_FEATURE_CONTROL), 5);
    EXECUTE(&machine, wrmsr, VMXC_MSR_FEATURE_CONTROL, 5);
    expect_exception(&machine, VMXC_VECTOR_GP, VMXSIM_INSN_WRMSR_VALUE);
}
END_TEST

START_TEST(values_are_checked_and_kept_until_the_reset)
{
    EXECUTE(&machine, wrmsr, VMXC_MSR_PAT, 2); /* a reserved memory type */
    expect_exception(&machine, VMXC_VECTOR_GP, VMXSIM_INSN_WRMSR_VALUE);
    EXECUTE(&machine, wrmsr, VMXC_MSR_SYSENTER_EIP, UINT64_C(1) << 62);
    expect_exception(&machine, VMXC_VECTOR_GP, VMXSIM_INSN_WRMSR_VALUE);
    ck_assert_uint_eq(read_msr(VMXC_MSR_SYSENTER_EIP), 0);
    EXECUTE(&machine, wrmsr, VMXC_MSR_SYSENTER_EIP, 0x1234);
    expect_completion(&machine);
    EXECUTE(&machine, wrmsr, VMXC_MSR_GS_BASE, 0x5678);
    EXECUTE(&machine, wrmsr, VMXC_MSR_SYSENTER_EIP, 0x4321);
    ck_assert_uint_eq(read_msr(VMXC_MSR_SYSENTER_EIP), 0x4321);
    ck_assert_uint_eq(read_msr(VMXC_MSR_GS_BASE), 0x5678);
    insn_machine_reset(&machine);
    ck_assert_uint_eq(read_msr(VMXC_MSR_SYSENTER_EIP), 0);
}
END_TEST

START_TEST(an_msr_can_be_written_any_number_of_times)
{
    for (unsigned i = 0; i < 4096; i++)
        EXECUTE(&machine, wrmsr, VMXC_MSR_SYSENTER_CS, i);
    expect_completion(&machine);
    ck_assert_uint_eq(read_msr(VMXC_MSR_SYSENTER_CS), 4095);
}
END_TEST

START_TEST(efer_keeps_lma_and_lme_while_paging)
{
    EXECUTE(&machine, wrmsr, VMXC_MSR_EFER, 0x800);
    expect_exception(&machine, VMXC_VECTOR_GP, VMXSIM_INSN_WRMSR_VALUE);
    EXECUTE(&machine, wrmsr, VMXC_MSR_EFER, 0x900); /* LMA as written does not matter */
    expect_completion(&machine);
    ck_assert_uint_eq(read_msr(VMXC_MSR_EFER), 0xd00);
    ck_assert_uint_eq(vmxsim_cpu_root_state(machine.cpu).efer, 0xd00);
    EXECUTE(&machine, wrmsr, VMXC_MSR_EFER, 0x101); /* what is not written goes */
    ck_assert_uint_eq(read_msr(VMXC_MSR_EFER), 0x501);
}
END_TEST

START_TEST(a_guest_has_instructions_of_its_own)
{
    const struct vmxsim_vmcs vmcs = valid_vmcs(LONG64);
    struct vmxsim_cpu *cpu;

    insn_machine_launch(&machine, &vmcs);
    cpu = machine.cpu;
    ck_assert_int_eq(vmxsim_insn_mov_to_cr0(cpu, 0, &machine.result), VMXC_UNSUPPORTED);
    ck_assert_int_eq(vmxsim_insn_mov_to_cr4(cpu, 0, &machine.result), VMXC_UNSUPPORTED);
    ck_assert_int_eq(vmxsim_insn_rdmsr(cpu, 0x10, &machine.result), VMXC_UNSUPPORTED);
    ck_assert_int_eq(vmxsim_insn_wrmsr(cpu, 0x10, 0, &machine.result), VMXC_UNSUPPORTED);
    ck_assert_int_eq(machine.result.kind, VMXSIM_INSN_UNDECIDED);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("insn_register");
    TCase *tcase = tcase_create("core");

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_loop_test(tcase, cr0_accepts_what_the_mode_allows, 0, COUNT(cr0_moves));
    tcase_add_test(tcase, cr0_keeps_et_and_only_what_has_a_meaning);
    tcase_add_test(tcase, paging_and_lme_make_lma);
    tcase_add_loop_test(tcase, cr4_accepts_what_the_mode_allows, 0, COUNT(cr4_moves));
    tcase_add_test(tcase, la57_cannot_change_in_ia32e_mode);
    tcase_add_test(tcase, moves_to_registers_need_privilege);
    tcase_add_test(tcase, capability_msrs_are_the_profiles_and_cannot_be_written);
    tcase_add_test(tcase, msrs_that_do_not_exist_fault);
    tcase_add_test(tcase, a_locked_feature_control_cannot_be_written);
    tcase_add_test(tcase, values_are_checked_and_kept_until_the_reset);
    tcase_add_test(tcase, an_msr_can_be_written_any_number_of_times);
    tcase_add_test(tcase, efer_keeps_lma_and_lme_while_paging);
    tcase_add_test(tcase, a_guest_has_instructions_of_its_own);
    suite_add_tcase(suite, tcase);

    return run_suite(suite);
}
