/* SPDX-License-Identifier: Apache-2.0 */
/* VMCALL and VMFUNC, and what each VMX instruction comes to in a guest. */
#include <check.h>
#include <stdlib.h>

#include "support/entry_edge.h"
#include "support/insn_machine.h"
#include "support/suite.h"

#define EPTP_LIST UINT64_C(0x20000)
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

static struct vmxsim_outcome read_guest(uint64_t linear)
{
    const struct vmxsim_access access = {.type = VMXSIM_ACCESS_READ, .linear = linear, .size = 1};
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
    ck_assert_uint_eq(read_guest(0x5000).exit_reason, VMXC_EXIT_REASON_EPT_VIOLATION);
    EXECUTE(&machine, vmfunc, 0, 7);
    expect_completion(&machine);
    ck_assert_int_eq(read_guest(0x5000).kind, VMXSIM_OUTCOME_COMPLETE);
    ck_assert(vmxsim_memory_read64(machine.memory, NEW_ROOT) & VMXC_EPT_ACCESSED);
    EXECUTE_BARE(&machine, vmcall);
    ck_assert_uint_eq(insn_machine_field(&machine, VMXC_VMCS_EPT_POINTER), eptp);
    ck_assert_uint_eq(insn_machine_field(&machine, VMXC_VMCS_EPTP_INDEX), 7);
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
    tcase_add_test(tcase, vm_functions_are_undefined_outside_guests_that_have_them);
    tcase_add_test(tcase, functions_beyond_63_are_undefined);
    tcase_add_loop_test(tcase, functions_that_cannot_be_done_exit, 0, COUNT(refused));
    tcase_add_test(tcase, a_guest_switches_to_another_ept);
    tcase_add_test(tcase, without_virtualization_exceptions_there_is_no_eptp_index);
    tcase_add_loop_test(tcase, vmx_instructions_in_a_guest_exit, 0, COUNT(exit_reasons));
    suite_add_tcase(suite, tcase);

    return run_suite(suite);
}
