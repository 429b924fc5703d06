/* SPDX-License-Identifier: Apache-2.0 */
/* VMLAUNCH and VMRESUME: every failure and what it leaves behind, launch states, MSRs, host state. */
#include <check.h>
#include <stdlib.h>

#include "internal/insn.h"
#include "support/entry_edge.h"
#include "support/insn_machine.h"
#include "support/suite.h"

#define MSR_AREA UINT64_C(0x30000)

static struct insn_machine machine;
static struct vmxsim_entry_report entry_report;

static void setup(void)
{
    insn_machine_init(&machine, "icelake", NULL);
}

static void teardown(void)
{
    insn_machine_fini(&machine);
}

static struct vmxsim_vmcs good(void)
{
    return valid_vmcs(LONG64);
}

static void fill(const struct vmxsim_vmcs *vmcs)
{
    insn_machine_current(&machine);
    insn_machine_fill(&machine, vmcs);
}

static void vmlaunch(void)
{
    EXECUTE(&machine, vmlaunch, &entry_report);
}

static void vmresume(void)
{
    EXECUTE(&machine, vmresume, &entry_report);
}

static void expect_error(enum vmxc_vm_error error, enum vmxsim_entry_rule rule)
{
    ck_assert_uint_eq(machine.result.entry_rule, rule);
    expect_valid(&machine, error, VMXSIM_INSN_ENTRY);
}

static bool launched(void)
{
    return vmxsim_cpu_vmx_state(machine.cpu).launched;
}

/* One entry of an MSR area. */
static void set_msr_entry(unsigned number, uint64_t head, uint64_t value)
{
    vmxsim_memory_write64(machine.memory, MSR_AREA + 16 * (uint64_t)number, head);
    vmxsim_memory_write64(machine.memory, MSR_AREA + 16 * (uint64_t)number + 8, value);
}

static uint64_t read_msr(uint32_t msr)
{
    EXECUTE(&machine, rdmsr, msr);
    return machine.result.value;
}

/* ---- VMfail ---- */

START_TEST(without_a_current_vmcs_entries_fail)
{
    insn_machine_vmxon(&machine);
    vmlaunch();
    expect_invalid(&machine, VMXSIM_INSN_ENTRY);
    ck_assert_uint_eq(machine.result.entry_rule, VMXSIM_ENTRY_ENT_NOVMCS);
    vmresume();
    expect_invalid(&machine, VMXSIM_INSN_ENTRY);
}
END_TEST

START_TEST(a_shadow_vmcs_cannot_be_entered)
{
    const struct vmxsim_vmcs vmcs = good();

    fill(&vmcs);
    EXECUTE(&machine, vmclear, REGION_A);
    vmxsim_memory_write32(machine.memory, REGION_A, 0x80000004);
    EXECUTE(&machine, vmptrld, REGION_A);
    vmlaunch();
    expect_invalid(&machine, VMXSIM_INSN_ENTRY);
    ck_assert_uint_eq(machine.result.entry_rule, VMXSIM_ENTRY_ENT_SHADOWCUR);
    vmresume();
    expect_invalid(&machine, VMXSIM_INSN_ENTRY);
}
END_TEST

START_TEST(blocking_by_mov_ss_fails_an_entry)
{
    const struct vmxsim_vmcs vmcs = good();

    fill(&vmcs);
    vmxsim_cpu_set_execution_state(
        machine.cpu, &(struct vmxsim_execution_state){
                         .rflags = 0x8d7, .code_64bit = true, .blocking_by_mov_ss = true});
    vmlaunch();
    expect_error(VMXC_VM_ERROR_ENTRY_MOV_SS, VMXSIM_ENTRY_ENT_MOVSS);
    ck_assert(vmxsim_cpu_execution_state(machine.cpu).blocking_by_mov_ss);
}
END_TEST

START_TEST(launch_states_decide_between_the_instructions)
{
    const struct vmxsim_vmcs vmcs = good();

    fill(&vmcs);
    vmresume();
    expect_error(VMXC_VM_ERROR_VMRESUME_NOT_LAUNCHED, VMXSIM_ENTRY_ENT_RESUME_LAUNCHED);
    vmlaunch();
    ck_assert_int_eq(machine.result.kind, VMXSIM_INSN_ENTERED);
    EXECUTE_BARE(&machine, vmcall);
    vmlaunch();
    expect_error(VMXC_VM_ERROR_VMLAUNCH_NOT_CLEAR, VMXSIM_ENTRY_ENT_LAUNCH_CLEAR);
    vmresume();
    ck_assert_int_eq(machine.result.kind, VMXSIM_INSN_ENTERED);
    EXECUTE_BARE(&machine, vmcall);
    EXECUTE(&machine, vmclear, REGION_A);
    EXECUTE(&machine, vmptrld, REGION_A);
    vmresume();
    expect_error(VMXC_VM_ERROR_VMRESUME_NOT_LAUNCHED, VMXSIM_ENTRY_ENT_RESUME_LAUNCHED);
    vmlaunch();
    ck_assert_int_eq(machine.result.kind, VMXSIM_INSN_ENTERED);
}
END_TEST

START_TEST(each_vmcs_has_a_launch_state)
{
    const struct vmxsim_vmcs vmcs = good();

    insn_machine_launch(&machine, &vmcs);
    EXECUTE_BARE(&machine, vmcall);
    EXECUTE(&machine, vmptrld, REGION_B);
    ck_assert(!launched());
    EXECUTE(&machine, vmptrld, REGION_A);
    ck_assert(launched());
    EXECUTE(&machine, vmptrld, REGION_B);
    EXECUTE(&machine, vmclear, REGION_A); /* not current, and cleared all the same */
    EXECUTE(&machine, vmptrld, REGION_A);
    ck_assert(!launched());
}
END_TEST

START_TEST(bad_controls_and_host_state_have_numbers)
{
    struct vmxsim_vmcs vmcs = good();

    vmcs.value[F(CR3_TARGET_COUNT)] = 5;
    fill(&vmcs);
    vmlaunch();
    expect_error(VMXC_VM_ERROR_ENTRY_CONTROL_FIELDS, VMXSIM_ENTRY_CTL_CR3TGT_COUNT);
    insn_machine_set_field(&machine, VMXC_VMCS_CR3_TARGET_COUNT, 0);
    insn_machine_set_field(&machine, VMXC_VMCS_HOST_TR_SELECTOR, 0);
    vmlaunch();
    expect_error(VMXC_VM_ERROR_ENTRY_HOST_STATE, VMXSIM_ENTRY_HOST_SEL_TR_NULL);
    ck_assert_int_eq(vmxsim_cpu_vmx_state(machine.cpu).mode, VMXSIM_VMX_ROOT);
    ck_assert(!launched());
}
END_TEST

/* Error 7 and error 8 are both lawful: a caller that knows which one a processor reported follows it. */
START_TEST(a_preferred_outcome_is_taken_if_it_is_lawful)
{
    struct vmxsim_entry_outcome preferred = {.kind = VMXSIM_ENTRY_VMFAIL_VALID, .number = 8};
    struct vmxsim_vmcs vmcs = good();

    vmcs.value[F(CR3_TARGET_COUNT)] = 5;
    vmcs.value[F(HOST_TR_SELECTOR)] = 0;
    fill(&vmcs);
    machine.rflags = vmxsim_cpu_rflags(machine.cpu);
    ck_assert_int_eq(
        vmxsim_insn_enter(machine.cpu, false, &preferred, &entry_report, &machine.result), VMXC_OK);
    expect_error(VMXC_VM_ERROR_ENTRY_HOST_STATE, VMXSIM_ENTRY_CTL_CR3TGT_COUNT);
    preferred.number = 26;
    ck_assert_int_eq(
        vmxsim_insn_enter(machine.cpu, false, &preferred, &entry_report, &machine.result), VMXC_OK);
    expect_error(VMXC_VM_ERROR_ENTRY_CONTROL_FIELDS, VMXSIM_ENTRY_CTL_CR3TGT_COUNT);
}
END_TEST

/* ---- Entry failures ---- */

/* Everything that an entry failure must not change, compared before and after. */
static void read_all(struct vmxsim_vmcs *vmcs)
{
    for (size_t i = 0; i < VMXC_VMCS_FIELD_COUNT; i++) {
        const uint32_t encoding = vmxsim_vmcs_encoding(i);
        if (vmxsim_profile_has_field(machine.profile, encoding))
            vmcs->value[i] = insn_machine_field(&machine, encoding);
    }
}

static void expect_failure(unsigned reason, uint64_t qualification)
{
    ck_assert_int_eq(machine.result.kind, VMXSIM_INSN_ENTRY_FAILURE);
    ck_assert_int_eq(machine.result.rule, VMXSIM_INSN_ENTRY);
    ck_assert_uint_eq(machine.result.exit_reason, reason);
    ck_assert_uint_eq(machine.result.qualification, qualification);
    ck_assert_uint_eq(insn_machine_field(&machine, VMXC_VMCS_EXIT_REASON),
                      reason | UINT64_C(0x80000000));
    ck_assert_uint_eq(insn_machine_field(&machine, VMXC_VMCS_EXIT_QUALIFICATION), qualification);
    ck_assert_int_eq(vmxsim_cpu_vmx_state(machine.cpu).mode, VMXSIM_VMX_ROOT);
    ck_assert(!launched());
}

START_TEST(a_failed_entry_changes_reason_and_qualification_alone)
{
    struct vmxsim_vmcs before = {.value = {0}}, after = {.value = {0}}, vmcs = good();

    vmcs.value[F(GUEST_RFLAGS)] = 0; /* bit 1 must be 1 */
    vmcs.value[F(VM_ENTRY_INTERRUPTION_INFO)] = 0x80000020;
    fill(&vmcs);
    insn_machine_set_field(&machine, VMXC_VMCS_IDT_VECTORING_INFO, 0x1234);
    insn_machine_set_field(&machine, VMXC_VMCS_VM_EXIT_INSTRUCTION_LENGTH, 7);
    read_all(&before);
    vmlaunch();
    expect_failure(VMXC_EXIT_REASON_ENTRY_FAILURE_GUEST_STATE, 0);
    read_all(&after);
    before.value[F(EXIT_REASON)] = after.value[F(EXIT_REASON)];
    before.value[F(EXIT_QUALIFICATION)] = after.value[F(EXIT_QUALIFICATION)];
    for (size_t i = 0; i < VMXC_VMCS_FIELD_COUNT; i++)
        ck_assert_msg(before.value[i] == after.value[i], "%s", vmxsim_vmcs_name(i));
}
END_TEST

START_TEST(a_failed_entry_loads_the_host_state)
{
    struct vmxsim_vmcs vmcs = good();

    vmcs.value[F(GUEST_RFLAGS)] = 0;
    vmcs.value[F(HOST_CR4)] = 0x22020;
    vmcs.value[F(HOST_IA32_EFER)] = 0xd00;
    vmcs.value[F(PRIMARY_VM_EXIT_CONTROLS)] |= VMXC_EXIT_LOAD_EFER;
    vmcs.value[F(HOST_SYSENTER_EIP)] = 0x4444;
    fill(&vmcs);
    vmxsim_cpu_set_execution_state(
        machine.cpu, &(struct vmxsim_execution_state){.rflags = 0x8d7, .code_64bit = true});
    vmlaunch();
    expect_failure(VMXC_EXIT_REASON_ENTRY_FAILURE_GUEST_STATE, 0);
    ck_assert_uint_eq(vmxsim_cpu_root_state(machine.cpu).cr4, 0x22020);
    ck_assert_uint_eq(vmxsim_cpu_root_state(machine.cpu).efer, 0xd00);
    ck_assert_uint_eq(read_msr(VMXC_MSR_SYSENTER_EIP), 0x4444);
}
END_TEST

START_TEST(the_link_pointer_has_a_qualification_of_its_own)
{
    struct vmxsim_vmcs vmcs = good();

    vmcs.value[F(VMCS_LINK_POINTER)] = 0x123;
    fill(&vmcs);
    vmlaunch();
    expect_failure(VMXC_EXIT_REASON_ENTRY_FAILURE_GUEST_STATE, 4);
}
END_TEST

START_TEST(msrs_before_the_one_that_fails_stay_loaded)
{
    struct vmxsim_vmcs vmcs = good();

    vmcs.value[F(VM_ENTRY_MSR_LOAD_ADDRESS)] = MSR_AREA;
    vmcs.value[F(VM_ENTRY_MSR_LOAD_COUNT)] = 3;
    set_msr_entry(0, VMXC_MSR_KERNEL_GS_BASE, 0x1111);
    set_msr_entry(1, VMXC_MSR_VMX_BASIC, 0);
    set_msr_entry(2, VMXC_MSR_STAR, 0x2222);
    fill(&vmcs);
    vmlaunch();
    expect_failure(VMXC_EXIT_REASON_ENTRY_FAILURE_MSR_LOADING, 2);
    ck_assert_uint_eq(read_msr(VMXC_MSR_KERNEL_GS_BASE), 0x1111);
    ck_assert_uint_eq(read_msr(VMXC_MSR_STAR), 0);
}
END_TEST

/* ---- Entries and the way back ---- */

START_TEST(an_entry_and_a_vmcall_leave_the_guest_state_as_it_was)
{
    struct vmxsim_vmcs vmcs = valid_vmcs((enum base)_i), after = {.value = {0}};

    insn_machine_launch(&machine, &vmcs);
    ck_assert_int_eq(vmxsim_cpu_vmx_state(machine.cpu).mode, VMXSIM_VMX_NON_ROOT);
    ck_assert(launched());
    EXECUTE_BARE(&machine, vmcall);
    expect_exit(&machine, VMXC_EXIT_REASON_VMCALL, VMXSIM_INSN_NON_ROOT);
    read_all(&after);
    for (size_t i = 0; i < VMXC_VMCS_FIELD_COUNT; i++) {
        const uint64_t encoding = vmxsim_vmcs_encoding(i);
        if (i != F(GUEST_DR7) &&
            VMXC_FIELD_GET(encoding, VMXC_VMCS_ENCODING_TYPE) != VMXC_VMCS_TYPE_READ_ONLY)
            ck_assert_msg(vmcs.value[i] == after.value[i], "%s", vmxsim_vmcs_name(i));
    }
    ck_assert_uint_eq(after.value[F(EXIT_REASON)], VMXC_EXIT_REASON_VMCALL);
    ck_assert_uint_eq(after.value[F(VM_EXIT_INSTRUCTION_LENGTH)], 3);
}
END_TEST

START_TEST(a_vm_exit_ends_event_injection)
{
    struct vmxsim_vmcs vmcs = good();

    vmcs.value[F(VM_ENTRY_INTERRUPTION_INFO)] = 0x80000020;
    vmcs.value[F(GUEST_RFLAGS)] = 0x202;
    insn_machine_launch(&machine, &vmcs);
    EXECUTE_BARE(&machine, vmcall);
    ck_assert_uint_eq(insn_machine_field(&machine, VMXC_VMCS_VM_ENTRY_INTERRUPTION_INFO), 0x20);
}
END_TEST

START_TEST(a_guest_accesses_memory_after_the_entry)
{
    const struct vmxsim_vmcs vmcs = valid_vmcs(REAL);
    const struct vmxsim_access access = {.type = VMXSIM_ACCESS_READ, .linear = 0x40000, .size = 8};
    struct vmxsim_outcome outcome;

    insn_machine_launch(&machine, &vmcs); /* its EPT is empty */
    ck_assert_int_eq(vmxsim_guest_access(machine.cpu, &access, &outcome, NULL), VMXC_OK);
    ck_assert_uint_eq(outcome.exit_reason, VMXC_EXIT_REASON_EPT_VIOLATION);
}
END_TEST

START_TEST(msrs_change_with_entries_and_exits)
{
    struct vmxsim_vmcs vmcs = good();

    vmcs.value[F(VM_ENTRY_CONTROLS)] |= VMXC_ENTRY_LOAD_PAT;
    vmcs.value[F(PRIMARY_VM_EXIT_CONTROLS)] |= VMXC_EXIT_LOAD_PAT | VMXC_EXIT_SAVE_PAT;
    vmcs.value[F(GUEST_IA32_PAT)] = 0x6;
    vmcs.value[F(HOST_IA32_PAT)] = 0x606;
    vmcs.value[F(VM_ENTRY_MSR_LOAD_ADDRESS)] = MSR_AREA;
    vmcs.value[F(VM_ENTRY_MSR_LOAD_COUNT)] = 3;
    vmcs.value[F(VM_EXIT_MSR_STORE_ADDRESS)] = MSR_AREA + 0x100;
    vmcs.value[F(VM_EXIT_MSR_STORE_COUNT)] = 1;
    vmcs.value[F(VM_EXIT_MSR_LOAD_ADDRESS)] = MSR_AREA + 0x200;
    vmcs.value[F(VM_EXIT_MSR_LOAD_COUNT)] = 1;
    set_msr_entry(0, VMXC_MSR_PAT, 0x60606); /* the list comes after the field */
    set_msr_entry(1, VMXC_MSR_STAR, 0x1111);
    set_msr_entry(2, VMXC_MSR_EFER, 0xd00);
    set_msr_entry(16, VMXC_MSR_STAR, 0);
    set_msr_entry(32, VMXC_MSR_STAR, 0x3333);
    insn_machine_launch(&machine, &vmcs);
    EXECUTE_BARE(&machine, vmcall);
    ck_assert_uint_eq(vmxsim_memory_read64(machine.memory, MSR_AREA + 0x108), 0x1111);
    ck_assert_uint_eq(read_msr(VMXC_MSR_STAR), 0x3333);
    ck_assert_uint_eq(read_msr(VMXC_MSR_PAT), 0x606);
    ck_assert_uint_eq(read_msr(VMXC_MSR_EFER), 0xd00); /* no "load IA32_EFER" */
    ck_assert_uint_eq(insn_machine_field(&machine, VMXC_VMCS_GUEST_IA32_PAT), 0x60606);
}
END_TEST

/* ---- VMX aborts ---- */

static void expect_abort(uint32_t indicator)
{
    ck_assert(vmxsim_cpu_vmx_state(machine.cpu).aborted);
    ck_assert_uint_eq(vmxsim_memory_read32(machine.memory, REGION_A + 4), indicator);
    ck_assert_int_eq(vmxsim_insn_vmxoff(machine.cpu, &machine.result), VMXC_BAD_STATE);
    ck_assert_int_eq(machine.result.kind, VMXSIM_INSN_UNDECIDED);
}

START_TEST(an_msr_that_cannot_be_stored_aborts)
{
    struct vmxsim_vmcs vmcs = good();

    vmcs.value[F(VM_EXIT_MSR_STORE_ADDRESS)] = MSR_AREA;
    vmcs.value[F(VM_EXIT_MSR_STORE_COUNT)] = 1;
    set_msr_entry(0, 0x12345678, 0);
    insn_machine_launch(&machine, &vmcs);
    EXECUTE_BARE(&machine, vmcall);
    expect_abort(1);
}
END_TEST

START_TEST(an_msr_that_cannot_be_loaded_aborts)
{
    static const uint64_t heads[] = {
        VMXC_MSR_FS_BASE,         VMXC_MSR_GS_BASE,   0x800,
        VMXC_MSR_SMM_MONITOR_CTL, VMXC_MSR_VMX_BASIC, VMXC_MSR_STAR | VMXC_BIT(32)};
    struct vmxsim_vmcs vmcs = good();

    vmcs.value[F(GUEST_RFLAGS)] = 0; /* an entry failure loads host MSRs, too */
    vmcs.value[F(VM_EXIT_MSR_LOAD_ADDRESS)] = MSR_AREA;
    vmcs.value[F(VM_EXIT_MSR_LOAD_COUNT)] = 1;
    set_msr_entry(0, heads[_i], 0);
    fill(&vmcs);
    vmlaunch();
    expect_abort(4);
}
END_TEST

/* ---- In a guest ---- */

START_TEST(entries_in_a_guest_exit)
{
    const struct vmxsim_vmcs vmcs = good();

    insn_machine_launch(&machine, &vmcs);
    vmlaunch();
    expect_exit(&machine, VMXC_EXIT_REASON_VMLAUNCH, VMXSIM_INSN_ENTRY);
    ck_assert_uint_eq(insn_machine_field(&machine, VMXC_VMCS_VM_EXIT_INSTRUCTION_LENGTH), 3);
    vmresume();
    ck_assert_int_eq(machine.result.kind, VMXSIM_INSN_ENTERED);
    vmresume();
    expect_exit(&machine, VMXC_EXIT_REASON_VMRESUME, VMXSIM_INSN_ENTRY);
}
END_TEST

START_TEST(registers_of_the_guest_count_in_the_guest)
{
    const struct vmxsim_vmcs vmcs = valid_vmcs(V86);

    insn_machine_launch(&machine, &vmcs);
    vmlaunch();
    expect_exception(&machine, VMXC_VECTOR_UD, VMXSIM_INSN_ENTRY);
    EXECUTE(&machine, vmclear, REGION_B);
    expect_exception(&machine, VMXC_VECTOR_UD, VMXSIM_INSN_UD_MODE);
    EXECUTE_BARE(&machine, vmcall); /* from any mode */
    expect_exit(&machine, VMXC_EXIT_REASON_VMCALL, VMXSIM_INSN_NON_ROOT);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("insn_launch");
    TCase *tcase = tcase_create("core");

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, without_a_current_vmcs_entries_fail);
    tcase_add_test(tcase, a_shadow_vmcs_cannot_be_entered);
    tcase_add_test(tcase, blocking_by_mov_ss_fails_an_entry);
    tcase_add_test(tcase, launch_states_decide_between_the_instructions);
    tcase_add_test(tcase, each_vmcs_has_a_launch_state);
    tcase_add_test(tcase, bad_controls_and_host_state_have_numbers);
    tcase_add_test(tcase, a_preferred_outcome_is_taken_if_it_is_lawful);
    tcase_add_test(tcase, a_failed_entry_changes_reason_and_qualification_alone);
    tcase_add_test(tcase, a_failed_entry_loads_the_host_state);
    tcase_add_test(tcase, the_link_pointer_has_a_qualification_of_its_own);
    tcase_add_test(tcase, msrs_before_the_one_that_fails_stay_loaded);
    tcase_add_loop_test(tcase, an_entry_and_a_vmcall_leave_the_guest_state_as_it_was, LONG64,
                        REAL + 1);
    tcase_add_test(tcase, a_vm_exit_ends_event_injection);
    tcase_add_test(tcase, a_guest_accesses_memory_after_the_entry);
    tcase_add_test(tcase, msrs_change_with_entries_and_exits);
    tcase_add_test(tcase, an_msr_that_cannot_be_stored_aborts);
    tcase_add_loop_test(tcase, an_msr_that_cannot_be_loaded_aborts, 0, 6);
    tcase_add_test(tcase, entries_in_a_guest_exit);
    tcase_add_test(tcase, registers_of_the_guest_count_in_the_guest);
    suite_add_tcase(suite, tcase);

    return run_suite(suite);
}
