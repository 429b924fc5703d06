/* SPDX-License-Identifier: Apache-2.0 */
/* VMCALL and VMFUNC, and what each VMX instruction comes to in a guest. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/entry_edge.h"
#include "support/insn_machine.h"
#include "support/machine.h"
#include "support/suite.h"
#include "vmxsim/exit.h"
#include "vmxsim/guest.h"

#define EPTP_LIST UINT64_C(0x20000)
#define PML       UINT64_C(0x28000)
#define NEW_ROOT  UINT64_C(0x200000)

static struct insn_machine machine;

static void setup(void)
{
    insn_machine_init(&machine, "icelake", NULL);
}

static void teardown(void)
{
    insn_machine_fini(&machine);
}

/* ---- VMCALL ---- */

START_TEST(a_host_has_nobody_to_call)
{
    insn_machine_vmxon(&machine);
    EXECUTE_BARE(&machine, vmcall);
    expect_invalid(&machine, VMXSIM_INSN_VMCALL_NO_MONITOR);
    EXECUTE(&machine, vmptrld, REGION_A);
    EXECUTE_BARE(&machine, vmcall);
    expect_valid(&machine, VMXC_VM_ERROR_VMCALL_IN_ROOT, VMXSIM_INSN_VMCALL_NO_MONITOR);
}
END_TEST

/* ---- VMCALL where SMM code has registered an SMM-transfer monitor ---- */

#define MSEG     UINT64_C(0x20000)
#define REVISION UINT32_C(0x12345678)

/* Dual-monitor treatment in IA32_VMX_BASIC, its revision in IA32_VMX_MISC, base and valid bit in IA32_SMM_MONITOR_CTL. */
static void become_smm_host(uint64_t dual_monitor, uint64_t valid)
{
    const struct msr_change changes[] = {
        {VMXC_MSR_VMX_BASIC, VMXC_BIT(49), dual_monitor},
        {VMXC_MSR_VMX_MISC, 0, (uint64_t)REVISION << 32},
        {VMXC_MSR_SMM_MONITOR_CTL, 0, MSEG | valid},
        {VMXC_MSR_SMRR_PHYSBASE, 0, 0},
        {VMXC_MSR_SMRR_PHYSMASK, 0, 0},
    };

    insn_machine_fini(&machine);
    insn_machine_init_changed(&machine, "everything", changes, COUNT(changes));
    insn_machine_vmxon(&machine);
}

static void write_mseg(uint32_t revision, uint32_t features)
{
    vmxsim_memory_write32(machine.memory, MSEG, revision);
    vmxsim_memory_write32(machine.memory, MSEG + 4, features);
}

/* REGION_A is current, clear and what VMCALL asks of it; the monitor runs 64-bit code. */
static void offer_monitor(void)
{
    const struct vmxsim_vmcs vmcs = valid_vmcs(LONG64);

    become_smm_host(VMXC_BIT(49), 1);
    EXECUTE(&machine, vmclear, REGION_A);
    EXECUTE(&machine, vmptrld, REGION_A);
    insn_machine_fill(&machine, &vmcs);
    write_mseg(REVISION, 1);
}

START_TEST(a_monitor_needs_the_processor_and_the_valid_bit)
{
    become_smm_host(_i == 1 ? 0 : VMXC_BIT(49), _i == 0 ? 0 : 1);
    write_mseg(REVISION, 1);
    EXECUTE_BARE(&machine, vmcall);
    if (_i == 2) {
        expect_invalid(&machine, VMXSIM_INSN_VMCALL_CURRENT);
        return;
    }
    expect_invalid(&machine, VMXSIM_INSN_VMCALL_NO_MONITOR);
    EXECUTE(&machine, vmclear, REGION_A);
    EXECUTE(&machine, vmptrld, REGION_A);
    EXECUTE_BARE(&machine, vmcall);
    expect_valid(&machine, VMXC_VM_ERROR_VMCALL_IN_ROOT, VMXSIM_INSN_VMCALL_NO_MONITOR);
}
END_TEST

START_TEST(dual_monitor_treatment_itself_is_not_modelled)
{
    offer_monitor();
    ck_assert_int_eq(vmxsim_insn_vmcall(machine.cpu, &machine.result), VMXC_UNSUPPORTED);
}
END_TEST

START_TEST(a_launched_vmcs_comes_first)
{
    enum vmxc_vmx_abort abort;
    struct vmxsim_outcome outcome;

    offer_monitor();
    EXECUTE(&machine, vmlaunch, NULL);
    ck_assert_int_eq(machine.result.kind, VMXSIM_INSN_ENTERED);
    ck_assert_int_eq(vmxsim_guest_triple_fault(machine.cpu, &outcome), VMXC_OK);
    ck_assert_int_eq(vmxsim_vm_exit(machine.cpu, &outcome, NULL, &abort), VMXC_OK);
    insn_machine_set_field(&machine, VMXC_VMCS_PRIMARY_VM_EXIT_CONTROLS, 0);
    write_mseg(0, 0);
    EXECUTE_BARE(&machine, vmcall);
    expect_valid(&machine, VMXC_VM_ERROR_VMCALL_NOT_CLEAR, VMXSIM_INSN_VMCALL_LAUNCHED);
}
END_TEST

/* Two fields, and whether VMCALL minds these values. Those it does not mind would make a VM entry fail. */
static const struct {
    uint32_t field;
    uint64_t value;
    uint32_t other_field;
    uint64_t other_value;
    bool fails;
} exit_controls[] = {
    {VMXC_VMCS_PRIMARY_VM_EXIT_CONTROLS, 0, 0, 0, true},
    {VMXC_VMCS_PRIMARY_VM_EXIT_CONTROLS, EXIT_64 | VMXC_EXIT_ACTIVATE_SECONDARY_CONTROLS,
     VMXC_VMCS_SECONDARY_VM_EXIT_CONTROLS, VMXC_BIT(63), true},
    {VMXC_VMCS_PRIMARY_VM_EXIT_CONTROLS, EXIT_64, VMXC_VMCS_SECONDARY_VM_EXIT_CONTROLS,
     VMXC_BIT(63), false},
    {VMXC_VMCS_PRIMARY_VM_EXIT_CONTROLS, EXIT_64 | VMXC_EXIT_SAVE_PREEMPTION_TIMER, 0, 0, false},
    {VMXC_VMCS_VM_EXIT_MSR_STORE_COUNT, 1, VMXC_VMCS_VM_EXIT_MSR_STORE_ADDRESS, 0x5008, true},
    {VMXC_VMCS_VM_EXIT_MSR_STORE_COUNT, 1, VMXC_VMCS_VM_EXIT_MSR_STORE_ADDRESS, VMXC_BIT(52), true},
    {VMXC_VMCS_VM_EXIT_MSR_STORE_COUNT, 2, VMXC_VMCS_VM_EXIT_MSR_STORE_ADDRESS, VMXC_BITS(51, 4),
     true}, /* the first entry is the last one below 2^52 */
    {VMXC_VMCS_VM_EXIT_MSR_STORE_COUNT, 1, VMXC_VMCS_VM_EXIT_MSR_STORE_ADDRESS, VMXC_BITS(51, 4),
     false},
    {VMXC_VMCS_VM_EXIT_MSR_STORE_COUNT, 0, VMXC_VMCS_VM_EXIT_MSR_STORE_ADDRESS, 0x5008, false},
    {VMXC_VMCS_VM_EXIT_MSR_LOAD_COUNT, 1, VMXC_VMCS_VM_EXIT_MSR_LOAD_ADDRESS, 0x5008, false},
    {VMXC_VMCS_VM_ENTRY_CONTROLS, 0, 0, 0, false},
};

START_TEST(vm_exit_controls_come_before_mseg)
{
    offer_monitor();
    write_mseg(REVISION + 1, 0);
    insn_machine_set_field(&machine, exit_controls[_i].field, exit_controls[_i].value);
    if (exit_controls[_i].other_field)
        insn_machine_set_field(&machine, exit_controls[_i].other_field,
                               exit_controls[_i].other_value);
    EXECUTE_BARE(&machine, vmcall);
    if (exit_controls[_i].fails)
        expect_valid(&machine, VMXC_VM_ERROR_VMCALL_EXIT_CONTROLS,
                     VMXSIM_INSN_VMCALL_EXIT_CONTROLS);
    else
        expect_valid(&machine, VMXC_VM_ERROR_VMCALL_MSEG_REVISION,
                     VMXSIM_INSN_VMCALL_MSEG_REVISION);
}
END_TEST

/* The MSEG header; 0: treatment starts. */
static const struct {
    uint32_t revision, features;
    enum vmxc_vm_error error;
} msegs[] = {
    {0, 1, VMXC_VM_ERROR_VMCALL_MSEG_REVISION},
    {REVISION | UINT32_C(0x80000000), 1, VMXC_VM_ERROR_VMCALL_MSEG_REVISION},
    {REVISION + 1, 2, VMXC_VM_ERROR_VMCALL_MSEG_REVISION},
    {REVISION, 0, VMXC_VM_ERROR_VMCALL_MONITOR_FEATURES}, /* 64-bit mode */
    {REVISION, 3, VMXC_VM_ERROR_VMCALL_MONITOR_FEATURES},
    {REVISION, UINT32_C(0x80000001), VMXC_VM_ERROR_VMCALL_MONITOR_FEATURES},
    {REVISION, 1, (enum vmxc_vm_error)0},
};

START_TEST(mseg_is_checked_last)
{
    offer_monitor();
    write_mseg(msegs[_i].revision, msegs[_i].features);
    if (!msegs[_i].error) {
        ck_assert_int_eq(vmxsim_insn_vmcall(machine.cpu, &machine.result), VMXC_UNSUPPORTED);
        return;
    }
    EXECUTE_BARE(&machine, vmcall);
    expect_valid(&machine, msegs[_i].error,
                 msegs[_i].error == VMXC_VM_ERROR_VMCALL_MSEG_REVISION
                     ? VMXSIM_INSN_VMCALL_MSEG_REVISION
                     : VMXSIM_INSN_VMCALL_MONITOR_FEATURES);
}
END_TEST

/* Outside 64-bit mode the monitor may be either. */
START_TEST(a_32_bit_host_may_have_a_32_bit_monitor)
{
    offer_monitor();
    vmxsim_cpu_set_root_state(
        machine.cpu, &(struct vmxsim_root_state){.cr0 = 0x80000031, .cr4 = 0x2000, .efer = 0});
    write_mseg(REVISION, _i ? 1 : 0);
    ck_assert_int_eq(vmxsim_insn_vmcall(machine.cpu, &machine.result), VMXC_UNSUPPORTED);
}
END_TEST

/* The processor becomes one whose CPUID.80000001H:EDX has no bit 29, outside VMX operation. */
static void lose_intel64(void)
{
    char *const text = vmxsim_profile_to_json(machine.profile);
    char *const leaf = strstr(text, "\"0x80000001.0\"");
    ck_assert_ptr_nonnull(leaf);
    char *edx = strchr(leaf, ']');
    while (*edx != 'x')
        edx--;
    char *rest;
    const unsigned long value = strtoul(edx + 1, &rest, 16);
    ck_assert_uint_ne(value & 1ul << 29, 0);
    const size_t size = strlen(text) + 1; /* the number does not become longer */
    char *const changed = malloc(size);
    ck_assert_ptr_nonnull(changed);
    (void)snprintf(changed, size, "%.*s%lx%s", (int)(edx + 1 - text), text, value & ~(1ul << 29),
                   rest);

    vmxsim_cpu_destroy(machine.cpu);
    vmxsim_profile_destroy(machine.owned);
    machine.profile = machine.owned = profile_from_text(changed);
    free(changed);
    free(text);
    ck_assert_int_eq(vmxsim_cpu_create(machine.memory, machine.profile, &machine.cpu), VMXC_OK);
}

START_TEST(without_intel_64_architecture_the_monitor_has_32_bits)
{
    offer_monitor();
    EXECUTE(&machine, vmclear, REGION_A); /* into memory */
    lose_intel64();
    vmxsim_cpu_set_root_state(
        machine.cpu, &(struct vmxsim_root_state){.cr0 = 0x80000031, .cr4 = 0x2000, .efer = 0});
    EXECUTE(&machine, vmxon, REGION_VMXON);
    EXECUTE(&machine, vmptrld, REGION_A);
    EXECUTE_BARE(&machine, vmcall);
    expect_valid(&machine, VMXC_VM_ERROR_VMCALL_MONITOR_FEATURES,
                 VMXSIM_INSN_VMCALL_MONITOR_FEATURES);
    write_mseg(REVISION, 0);
    ck_assert_int_eq(vmxsim_insn_vmcall(machine.cpu, &machine.result), VMXC_UNSUPPORTED);
}
END_TEST

/* The processor is never in SMM, where alone the MSR can be written. */
START_TEST(the_host_cannot_register_a_monitor)
{
    static const uint32_t msrs[] = {0x9b, 0x1f2, 0x1f3};

    become_smm_host(VMXC_BIT(49), 0);
    EXECUTE(&machine, wrmsr, msrs[_i], 0);
    expect_exception(&machine, VMXC_VECTOR_GP, VMXSIM_INSN_WRMSR_VALUE);
    EXECUTE(&machine, rdmsr, 0x9b);
    expect_completion(&machine);
    ck_assert_uint_eq(machine.result.value, MSEG);
}
END_TEST

/* ---- VMFUNC ---- */

static struct vmxsim_vmcs guest_with_functions(void)
{
    struct vmxsim_vmcs vmcs = valid_vmcs(REAL);

    vmcs.value[F(SECONDARY_PROCESSOR_BASED_CONTROLS)] |= VMXC_SECONDARY_ENABLE_VM_FUNCTIONS;
    vmcs.value[F(VM_FUNCTION_CONTROLS)] = 1;
    vmcs.value[F(EPTP_LIST_ADDRESS)] = EPTP_LIST;
    return vmcs;
}

static void set_list_entry(unsigned index, uint64_t eptp)
{
    vmxsim_memory_write64(machine.memory, EPTP_LIST + 8 * (uint64_t)index, eptp);
}

START_TEST(vm_functions_are_undefined_outside_guests_that_have_them)
{
    const struct vmxsim_vmcs vmcs = valid_vmcs(REAL);

    EXECUTE(&machine, vmfunc, 0, 0);
    expect_exception(&machine, VMXC_VECTOR_UD, VMXSIM_INSN_VMFUNC_UD);
    insn_machine_launch(&machine, &vmcs);
    EXECUTE(&machine, vmfunc, 0, 0);
    expect_exception(&machine, VMXC_VECTOR_UD, VMXSIM_INSN_VMFUNC_UD);
    EXECUTE_BARE(&machine, vmcall);
    EXECUTE(&machine, vmfunc, 0, 0);
    expect_exception(&machine, VMXC_VECTOR_UD, VMXSIM_INSN_VMFUNC_UD);
}
END_TEST

START_TEST(functions_beyond_63_are_undefined)
{
    const struct vmxsim_vmcs vmcs = guest_with_functions();

    insn_machine_launch(&machine, &vmcs);
    EXECUTE(&machine, vmfunc, 64, 0);
    expect_exception(&machine, VMXC_VECTOR_UD, VMXSIM_INSN_VMFUNC_UD);
}
END_TEST

static const struct {
    uint32_t eax, ecx;
    enum vmxsim_insn_rule rule;
} refused[] = {
    {1, 0, VMXSIM_INSN_VMFUNC_DISABLED}, {63, 0, VMXSIM_INSN_VMFUNC_DISABLED},
    {0, 512, VMXSIM_INSN_VMFUNC_INDEX},  {0, UINT32_MAX, VMXSIM_INSN_VMFUNC_INDEX},
    {0, 511, VMXSIM_INSN_VMFUNC_EPTP}, /* an entry of zeros */
};

START_TEST(functions_that_cannot_be_done_exit)
{
    const struct vmxsim_vmcs vmcs = guest_with_functions();

    insn_machine_launch(&machine, &vmcs);
    EXECUTE(&machine, vmfunc, refused[_i].eax, refused[_i].ecx);
    expect_exit(&machine, VMXC_EXIT_REASON_VMFUNC, refused[_i].rule);
    ck_assert_uint_eq(insn_machine_field(&machine, VMXC_VMCS_EPT_POINTER),
                      vmcs.value[F(EPT_POINTER)]);
}
END_TEST

/* Maps the first GByte in one EPT to itself, by one entry of level 3. */
static void map_first_gbyte(uint64_t root)
{
    vmxsim_memory_write64(machine.memory, root, (root + 0x1000) | VMXC_EPT_RWX);
    vmxsim_memory_write64(machine.memory, root + 0x1000,
                          VMXC_EPT_RWX | VMXC_EPT_LARGE_PAGE | 6 << 3);
}

static struct vmxsim_outcome access_guest(enum vmxsim_access_type type, uint64_t linear)
{
    const struct vmxsim_access access = {.type = type, .linear = linear, .size = 1};
    struct vmxsim_outcome outcome;

    ck_assert_int_eq(vmxsim_guest_access(machine.cpu, &access, &outcome, NULL), VMXC_OK);
    return outcome;
}

START_TEST(a_guest_switches_to_another_ept)
{
    const struct vmxsim_vmcs vmcs = guest_with_functions();
    const uint64_t eptp = NEW_ROOT | 0x5e; /* with accessed and dirty flags */

    map_first_gbyte(NEW_ROOT);
    set_list_entry(7, eptp);
    insn_machine_launch(&machine, &vmcs);
    ck_assert_uint_eq(access_guest(VMXSIM_ACCESS_READ, 0x5000).exit_reason,
                      VMXC_EXIT_REASON_EPT_VIOLATION);
    EXECUTE(&machine, vmfunc, 0, 7);
    expect_completion(&machine);
    ck_assert_int_eq(access_guest(VMXSIM_ACCESS_READ, 0x5000).kind, VMXSIM_OUTCOME_COMPLETE);
    ck_assert(vmxsim_memory_read64(machine.memory, NEW_ROOT) & VMXC_EPT_ACCESSED);
    EXECUTE_BARE(&machine, vmcall);
    ck_assert_uint_eq(insn_machine_field(&machine, VMXC_VMCS_EPT_POINTER), eptp);
    ck_assert_uint_eq(insn_machine_field(&machine, VMXC_VMCS_EPTP_INDEX), 7);
}
END_TEST

/* Page-modification logging goes with the accessed and dirty flags of the EPTP that is in use. */
START_TEST(logging_begins_and_ends_with_the_eptp)
{
    struct vmxsim_vmcs vmcs = guest_with_functions();

    vmcs.value[F(SECONDARY_PROCESSOR_BASED_CONTROLS)] |= VMXC_SECONDARY_ENABLE_PML;
    vmcs.value[F(PML_ADDRESS)] = PML;
    vmcs.value[F(PML_INDEX)] = 511;
    map_first_gbyte(NEW_ROOT);
    set_list_entry(1, NEW_ROOT | 0x1e);
    set_list_entry(2, NEW_ROOT | 0x5e);
    insn_machine_launch(&machine, &vmcs);
    EXECUTE(&machine, vmfunc, 0, 1);
    ck_assert_int_eq(access_guest(VMXSIM_ACCESS_WRITE, 0x5000).kind, VMXSIM_OUTCOME_COMPLETE);
    ck_assert_uint_eq(vmxsim_cpu_pml_index(machine.cpu), 511);
    EXECUTE(&machine, vmfunc, 0, 2);
    ck_assert_int_eq(access_guest(VMXSIM_ACCESS_WRITE, 0x5000).kind, VMXSIM_OUTCOME_COMPLETE);
    ck_assert_uint_eq(vmxsim_cpu_pml_index(machine.cpu), 510);
    ck_assert_uint_eq(vmxsim_memory_read64(machine.memory, PML + 8 * 511), 0x5000);
    EXECUTE(&machine, vmfunc, 0, 1);
    map_first_gbyte(NEW_ROOT); /* clean again */
    ck_assert_int_eq(access_guest(VMXSIM_ACCESS_WRITE, 0x5000).kind, VMXSIM_OUTCOME_COMPLETE);
    ck_assert_uint_eq(vmxsim_cpu_pml_index(machine.cpu), 510);
}
END_TEST

START_TEST(without_virtualization_exceptions_there_is_no_eptp_index)
{
    struct vmxsim_vmcs vmcs;

    teardown();
    insn_machine_init(&machine, "skylake", NULL);
    vmcs = guest_with_functions();
    set_list_entry(3, NEW_ROOT | 0x1e);
    insn_machine_launch(&machine, &vmcs);
    EXECUTE(&machine, vmfunc, 0, 3);
    expect_completion(&machine);
}
END_TEST

/* ---- All of them in a guest ---- */

static const unsigned exit_reasons[] = {
    VMXC_EXIT_REASON_VMXON,   VMXC_EXIT_REASON_VMXOFF,  VMXC_EXIT_REASON_VMCLEAR,
    VMXC_EXIT_REASON_VMPTRLD, VMXC_EXIT_REASON_VMPTRST, VMXC_EXIT_REASON_INVEPT,
    VMXC_EXIT_REASON_INVVPID,
};

static void execute(unsigned reason)
{
    const uint64_t descriptor[2] = {0, 0};

    switch (reason) {
    case VMXC_EXIT_REASON_VMXON:
        EXECUTE(&machine, vmxon, 1);
        break;
    case VMXC_EXIT_REASON_VMXOFF:
        EXECUTE_BARE(&machine, vmxoff);
        break;
    case VMXC_EXIT_REASON_VMCLEAR:
        EXECUTE(&machine, vmclear, 1);
        break;
    case VMXC_EXIT_REASON_VMPTRLD:
        EXECUTE(&machine, vmptrld, 1);
        break;
    case VMXC_EXIT_REASON_VMPTRST:
        EXECUTE_BARE(&machine, vmptrst);
        break;
    case VMXC_EXIT_REASON_INVEPT:
        EXECUTE(&machine, invept, 0, descriptor);
        break;
    default:
        EXECUTE(&machine, invvpid, 9, descriptor);
        break;
    }
}

/* Privilege does not matter there: the guest is at CPL 3. */
START_TEST(vmx_instructions_in_a_guest_exit)
{
    struct vmxsim_vmcs vmcs = valid_vmcs(LONG64);

    vmcs.value[F(GUEST_CS_ACCESS_RIGHTS)] = 0xa0fb;
    vmcs.value[F(GUEST_SS_ACCESS_RIGHTS)] = 0xc0f3;
    vmcs.value[F(GUEST_CS_SELECTOR)] = 0xb;
    vmcs.value[F(GUEST_SS_SELECTOR)] = 0x13;
    insn_machine_launch(&machine, &vmcs);
    execute(exit_reasons[_i]);
    expect_exit(&machine, exit_reasons[_i], VMXSIM_INSN_NON_ROOT);
    ck_assert_uint_eq(insn_machine_field(&machine, VMXC_VMCS_EXIT_REASON), exit_reasons[_i]);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("insn_call");
    TCase *tcase = tcase_create("core");

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, a_host_has_nobody_to_call);
    tcase_add_loop_test(tcase, a_monitor_needs_the_processor_and_the_valid_bit, 0, 3);
    tcase_add_test(tcase, dual_monitor_treatment_itself_is_not_modelled);
    tcase_add_test(tcase, a_launched_vmcs_comes_first);
    tcase_add_loop_test(tcase, vm_exit_controls_come_before_mseg, 0, COUNT(exit_controls));
    tcase_add_loop_test(tcase, mseg_is_checked_last, 0, COUNT(msegs));
    tcase_add_loop_test(tcase, a_32_bit_host_may_have_a_32_bit_monitor, 0, 2);
    tcase_add_test(tcase, without_intel_64_architecture_the_monitor_has_32_bits);
    tcase_add_loop_test(tcase, the_host_cannot_register_a_monitor, 0, 3);
    tcase_add_test(tcase, vm_functions_are_undefined_outside_guests_that_have_them);
    tcase_add_test(tcase, functions_beyond_63_are_undefined);
    tcase_add_loop_test(tcase, functions_that_cannot_be_done_exit, 0, COUNT(refused));
    tcase_add_test(tcase, a_guest_switches_to_another_ept);
    tcase_add_test(tcase, logging_begins_and_ends_with_the_eptp);
    tcase_add_test(tcase, without_virtualization_exceptions_there_is_no_eptp_index);
    tcase_add_loop_test(tcase, vmx_instructions_in_a_guest_exit, 0, COUNT(exit_reasons));
    suite_add_tcase(suite, tcase);

    return run_suite(suite);
}
