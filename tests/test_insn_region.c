/* SPDX-License-Identifier: Apache-2.0 */
/* VMXON, VMXOFF, VMCLEAR, VMPTRLD, VMPTRST: every refusal, then what they do to regions and to the current VMCS. */
#include <check.h>

#include "support/insn_machine.h"
#include "support/suite.h"
#include "vmxcore/defs/guest_state.h"

static struct insn_machine machine;

static void setup(void)
{
    insn_machine_init(&machine, "icelake", NULL);
}

static void teardown(void)
{
    insn_machine_fini(&machine);
}

/* The same test on a processor with another MSR value. */
static void replace_machine(const char *profile, struct msr_change change)
{
    teardown();
    insn_machine_init(&machine, profile, &change);
}

/* Flags that no instruction keeps: the ends below prove that they are changed or left alone. */
static void set_execution(uint64_t rflags, uint8_t cpl, bool code_64bit)
{
    vmxsim_cpu_set_execution_state(
        machine.cpu,
        &(struct vmxsim_execution_state){.rflags = rflags, .cpl = cpl, .code_64bit = code_64bit});
}

/* ---- What all instructions ask ---- */

enum { INSTRUCTIONS = 11 };

/* Every instruction that begins with the same checks. VMXON, VMFUNC and the moves to registers have their own. */
static void execute(unsigned number)
{
    const uint64_t descriptor[2] = {0, 0};

    switch (number) {
    case 0:
        EXECUTE_BARE(&machine, vmxoff);
        break;
    case 1:
        EXECUTE(&machine, vmclear, REGION_A);
        break;
    case 2:
        EXECUTE(&machine, vmptrld, REGION_A);
        break;
    case 3:
        EXECUTE_BARE(&machine, vmptrst);
        break;
    case 4:
        EXECUTE(&machine, vmread, VMXC_VMCS_GUEST_CR0);
        break;
    case 5:
        EXECUTE(&machine, vmwrite, VMXC_VMCS_GUEST_CR0, 1);
        break;
    case 6:
        EXECUTE(&machine, vmlaunch, NULL);
        break;
    case 7:
        EXECUTE(&machine, vmresume, NULL);
        break;
    case 8:
        EXECUTE_BARE(&machine, vmcall);
        break;
    case 9:
        EXECUTE(&machine, invept, 2, descriptor);
        break;
    default:
        EXECUTE(&machine, invvpid, 2, descriptor);
        break;
    }
}

/* VMLAUNCH and VMRESUME name rules of the VM-entry table instead. */
static void expect_first_check(unsigned number, unsigned vector, enum vmxsim_insn_rule rule,
                               enum vmxsim_entry_rule entry_rule)
{
    const bool entry = number == 6 || number == 7;

    expect_exception(&machine, vector, entry ? VMXSIM_INSN_ENTRY : rule);
    ck_assert_uint_eq(machine.result.entry_rule, entry ? entry_rule : VMXSIM_ENTRY_RULE_COUNT);
}

START_TEST(outside_vmx_operation_instructions_are_undefined)
{
    set_execution(0x8d7, 0, true);
    execute(_i);
    expect_first_check(_i, VMXC_VECTOR_UD, VMXSIM_INSN_UD_OUTSIDE_VMX, VMXSIM_ENTRY_ENT_UD_MODE);
}
END_TEST

START_TEST(in_compatibility_and_virtual_8086_mode_instructions_are_undefined)
{
    insn_machine_vmxon(&machine);
    set_execution(0x8d7, 0, false);
    execute(_i);
    expect_first_check(_i, VMXC_VECTOR_UD, VMXSIM_INSN_UD_MODE, VMXSIM_ENTRY_ENT_UD_MODE);
    set_execution(0x8d7 | VMXC_RFLAGS_VM, 3, true);
    execute(_i);
    expect_first_check(_i, VMXC_VECTOR_UD, VMXSIM_INSN_UD_MODE, VMXSIM_ENTRY_ENT_UD_MODE);
}
END_TEST

START_TEST(instructions_need_privilege)
{
    insn_machine_vmxon(&machine);
    for (uint8_t cpl = 1; cpl <= 3; cpl++) {
        set_execution(0x8d7, cpl, true);
        execute(_i);
        expect_first_check(_i, VMXC_VECTOR_GP, VMXSIM_INSN_CPL, VMXSIM_ENTRY_ENT_GP_CPL);
    }
}
END_TEST

START_TEST(a_rule_that_is_none_has_empty_texts)
{
    ck_assert_str_eq(vmxsim_insn_rule_info(VMXSIM_INSN_NONE)->id, "");
    ck_assert_str_eq(vmxsim_insn_rule_info(VMXSIM_INSN_RULE_COUNT)->sentence, "");
    ck_assert_str_eq(vmxsim_insn_rule_info(VMXSIM_INSN_VMXON_CR0)->id, "VMXON.GP.CR0");
}
END_TEST

/* ---- VMXON ---- */

static void expect_vmx_off(void)
{
    ck_assert_int_eq(vmxsim_cpu_vmx_state(machine.cpu).mode, VMXSIM_VMX_OFF);
}

START_TEST(vmxon_needs_a_mode_with_vmx_and_cr4_vmxe)
{
    set_execution(0x8d7, 0, false);
    EXECUTE(&machine, vmxon, REGION_VMXON);
    expect_exception(&machine, VMXC_VECTOR_UD, VMXSIM_INSN_UD_MODE);
    set_execution(0x8d7, 0, true);
    EXECUTE(&machine, mov_to_cr4, 0x20);
    EXECUTE(&machine, vmxon, REGION_VMXON);
    expect_exception(&machine, VMXC_VECTOR_UD, VMXSIM_INSN_VMXON_VMXE);
    expect_vmx_off();
}
END_TEST

START_TEST(vmxon_needs_privilege_and_fixed_bits)
{
    set_execution(0x8d7, 3, true);
    EXECUTE(&machine, vmxon, REGION_VMXON);
    expect_exception(&machine, VMXC_VECTOR_GP, VMXSIM_INSN_CPL);
    set_execution(0x8d7, 0, true);
    EXECUTE(&machine, mov_to_cr0, 0x80000011);
    EXECUTE(&machine, vmxon, REGION_VMXON);
    expect_exception(&machine, VMXC_VECTOR_GP, VMXSIM_INSN_VMXON_CR0);
    vmxsim_cpu_reset(machine.cpu, &(struct vmxsim_root_state){
                                      .cr0 = 0x80000031, .cr4 = 0x1002020, .efer = 0x500});
    EXECUTE(&machine, vmxon, REGION_VMXON);
    expect_exception(&machine, VMXC_VECTOR_GP, VMXSIM_INSN_VMXON_CR4);
    expect_vmx_off();
}
END_TEST

START_TEST(vmxon_needs_the_permission_of_firmware)
{
    replace_machine("icelake", (struct msr_change){VMXC_MSR_FEATURE_CONTROL, 1, 0});
    EXECUTE(&machine, vmxon, REGION_VMXON);
    expect_exception(&machine, VMXC_VECTOR_GP, VMXSIM_INSN_VMXON_UNLOCKED);
    EXECUTE(&machine, wrmsr, VMXC_MSR_FEATURE_CONTROL, 3); /* in SMX operation only */
    expect_completion(&machine);
    EXECUTE(&machine, vmxon, REGION_VMXON);
    expect_exception(&machine, VMXC_VECTOR_GP, VMXSIM_INSN_VMXON_DISABLED);
    EXECUTE(&machine, wrmsr, VMXC_MSR_FEATURE_CONTROL, 5);
    expect_exception(&machine, VMXC_VECTOR_GP, VMXSIM_INSN_WRMSR_VALUE);
    insn_machine_reset(&machine);
    EXECUTE(&machine, wrmsr, VMXC_MSR_FEATURE_CONTROL, 5);
    insn_machine_vmxon(&machine);
}
END_TEST

/* Icelake has 40 bits of physical address. */
START_TEST(vmxon_refuses_addresses_and_regions)
{
    static const uint64_t addresses[] = {
        1, 0x10004, 0x10800, UINT64_C(1) << 40, UINT64_C(1) << 63, UINT64_MAX};

    for (size_t i = 0; i < sizeof(addresses) / sizeof(addresses[0]); i++) {
        EXECUTE(&machine, vmxon, addresses[i]);
        expect_invalid(&machine, VMXSIM_INSN_VMXON_ADDRESS);
    }
    EXECUTE(&machine, vmxon, 0x1000); /* no revision identifier */
    expect_invalid(&machine, VMXSIM_INSN_VMXON_REVISION);
    EXECUTE(&machine, vmxon, (UINT64_C(1) << 40) - 0x1000); /* a hole: all ones */
    expect_invalid(&machine, VMXSIM_INSN_VMXON_REVISION);
    vmxsim_memory_write32(machine.memory, REGION_A, 4 | VMXC_VMCS_REGION_SHADOW);
    EXECUTE(&machine, vmxon, REGION_A);
    expect_invalid(&machine, VMXSIM_INSN_VMXON_REVISION);
    expect_vmx_off();
}
END_TEST

START_TEST(addresses_may_be_limited_to_32_bits)
{
    const uint64_t beyond = UINT64_C(1) << 32;

    replace_machine("icelake", (struct msr_change){VMXC_MSR_VMX_BASIC, 0, VMXC_BIT(48)});
    EXECUTE(&machine, vmxon, beyond);
    expect_invalid(&machine, VMXSIM_INSN_VMXON_ADDRESS);
    insn_machine_current(&machine);
    EXECUTE(&machine, vmclear, beyond);
    expect_valid(&machine, VMXC_VM_ERROR_VMCLEAR_ADDRESS, VMXSIM_INSN_VMCLEAR_ADDRESS);
    EXECUTE(&machine, vmptrld, beyond);
    expect_valid(&machine, VMXC_VM_ERROR_VMPTRLD_ADDRESS, VMXSIM_INSN_VMPTRLD_ADDRESS);
}
END_TEST

START_TEST(vmxon_in_root_operation_fails)
{
    insn_machine_vmxon(&machine);
    EXECUTE(&machine, vmxon, REGION_B);
    expect_invalid(&machine, VMXSIM_INSN_VMXON_IN_ROOT);
    EXECUTE(&machine, vmptrld, REGION_A);
    EXECUTE(&machine, vmxon, 1); /* whatever the operand */
    expect_valid(&machine, VMXC_VM_ERROR_VMXON_IN_ROOT, VMXSIM_INSN_VMXON_IN_ROOT);
    ck_assert_uint_eq(vmxsim_cpu_vmx_state(machine.cpu).vmxon_pointer, REGION_VMXON);
    set_execution(2, 3, true);
    EXECUTE(&machine, vmxon, REGION_B);
    expect_exception(&machine, VMXC_VECTOR_GP, VMXSIM_INSN_CPL);
}
END_TEST

START_TEST(vmxon_and_vmxoff_change_the_mode)
{
    struct vmxsim_vmx_state state;

    set_execution(0x8d7, 0, true);
    insn_machine_vmxon(&machine);
    state = vmxsim_cpu_vmx_state(machine.cpu);
    ck_assert_int_eq(state.mode, VMXSIM_VMX_ROOT);
    ck_assert_uint_eq(state.vmxon_pointer, REGION_VMXON);
    ck_assert_uint_eq(state.current_vmcs, REGION_NONE);
    EXECUTE_BARE(&machine, vmxoff);
    expect_success(&machine);
    expect_vmx_off();
    EXECUTE(&machine, vmxon, REGION_B); /* another region will do as well */
    expect_success(&machine);
    EXECUTE(&machine, vmptrld, REGION_VMXON);
    expect_success(&machine);
}
END_TEST

/* ---- VMCLEAR ---- */

START_TEST(vmclear_refuses_addresses)
{
    insn_machine_vmxon(&machine);
    EXECUTE(&machine, vmclear, 0x11004);
    expect_invalid(&machine, VMXSIM_INSN_VMCLEAR_ADDRESS);
    EXECUTE(&machine, vmptrld, REGION_A);
    EXECUTE(&machine, vmclear, 0x11800);
    expect_valid(&machine, VMXC_VM_ERROR_VMCLEAR_ADDRESS, VMXSIM_INSN_VMCLEAR_ADDRESS);
    EXECUTE(&machine, vmclear, UINT64_C(1) << 40);
    expect_valid(&machine, VMXC_VM_ERROR_VMCLEAR_ADDRESS, VMXSIM_INSN_VMCLEAR_ADDRESS);
    EXECUTE(&machine, vmclear, REGION_VMXON);
    expect_valid(&machine, VMXC_VM_ERROR_VMCLEAR_VMXON_POINTER, VMXSIM_INSN_VMCLEAR_VMXON);
    ck_assert_uint_eq(vmxsim_cpu_vmx_state(machine.cpu).current_vmcs, REGION_A);
}
END_TEST

START_TEST(vmclear_of_the_current_vmcs_leaves_none)
{
    insn_machine_current(&machine);
    EXECUTE(&machine, vmclear, REGION_A);
    expect_success(&machine);
    EXECUTE_BARE(&machine, vmptrst);
    expect_success(&machine);
    ck_assert_uint_eq(machine.result.value, REGION_NONE);
}
END_TEST

START_TEST(vmclear_of_another_region_asks_for_no_revision)
{
    insn_machine_current(&machine);
    EXECUTE(&machine, vmclear, 0x1000);
    expect_success(&machine);
    EXECUTE(&machine, vmclear, (UINT64_C(1) << 40) - 0x1000); /* a hole */
    expect_success(&machine);
    ck_assert_uint_eq(vmxsim_cpu_vmx_state(machine.cpu).current_vmcs, REGION_A);
}
END_TEST

/* ---- VMPTRLD ---- */

START_TEST(vmptrld_refuses_addresses_and_regions)
{
    insn_machine_vmxon(&machine);
    EXECUTE(&machine, vmptrld, REGION_VMXON);
    expect_invalid(&machine, VMXSIM_INSN_VMPTRLD_VMXON);
    insn_machine_reset(&machine);
    insn_machine_current(&machine);
    EXECUTE(&machine, vmptrld, 0x12800);
    expect_valid(&machine, VMXC_VM_ERROR_VMPTRLD_ADDRESS, VMXSIM_INSN_VMPTRLD_ADDRESS);
    EXECUTE(&machine, vmptrld, UINT64_C(1) << 40);
    expect_valid(&machine, VMXC_VM_ERROR_VMPTRLD_ADDRESS, VMXSIM_INSN_VMPTRLD_ADDRESS);
    EXECUTE(&machine, vmptrld, REGION_VMXON);
    expect_valid(&machine, VMXC_VM_ERROR_VMPTRLD_VMXON_POINTER, VMXSIM_INSN_VMPTRLD_VMXON);
    EXECUTE(&machine, vmptrld, 0x1000);
    expect_valid(&machine, VMXC_VM_ERROR_VMPTRLD_REVISION, VMXSIM_INSN_VMPTRLD_REVISION);
    EXECUTE(&machine, vmptrld, (UINT64_C(1) << 40) - 0x1000); /* a hole: all ones */
    expect_valid(&machine, VMXC_VM_ERROR_VMPTRLD_REVISION, VMXSIM_INSN_VMPTRLD_REVISION);
    ck_assert_uint_eq(vmxsim_cpu_vmx_state(machine.cpu).current_vmcs, REGION_A);
}
END_TEST

START_TEST(a_shadow_vmcs_needs_vmcs_shadowing)
{
    const struct msr_change without = {VMXC_MSR_VMX_PROCBASED_CTLS2, VMXC_BIT(32 + 14), 0};

    insn_machine_current(&machine);
    vmxsim_memory_write32(machine.memory, REGION_B, 4 | VMXC_VMCS_REGION_SHADOW);
    EXECUTE(&machine, vmptrld, REGION_B);
    expect_success(&machine);
    insn_machine_set_field(&machine, VMXC_VMCS_GUEST_CR0, 5); /* its fields can be reached */
    ck_assert_uint_eq(insn_machine_field(&machine, VMXC_VMCS_GUEST_CR0), 5);

    replace_machine("icelake", without);
    insn_machine_current(&machine);
    vmxsim_memory_write32(machine.memory, REGION_B, 4 | VMXC_VMCS_REGION_SHADOW);
    EXECUTE(&machine, vmptrld, REGION_B);
    expect_valid(&machine, VMXC_VM_ERROR_VMPTRLD_REVISION, VMXSIM_INSN_VMPTRLD_SHADOW);
}
END_TEST

/* ---- Content ---- */

START_TEST(a_region_that_was_never_written_is_a_vmcs_of_zeros)
{
    insn_machine_current(&machine);
    for (size_t i = 0; i < VMXC_VMCS_FIELD_COUNT; i++) {
        if (vmxsim_profile_has_field(machine.profile, vmxsim_vmcs_encoding(i)))
            ck_assert_uint_eq(insn_machine_field(&machine, vmxsim_vmcs_encoding(i)), 0);
    }
}
END_TEST

START_TEST(each_vmcs_keeps_its_fields)
{
    insn_machine_current(&machine);
    insn_machine_set_field(&machine, VMXC_VMCS_GUEST_RIP, 0x1111);
    EXECUTE(&machine, vmptrld, REGION_B);
    ck_assert_uint_eq(insn_machine_field(&machine, VMXC_VMCS_GUEST_RIP), 0);
    insn_machine_set_field(&machine, VMXC_VMCS_GUEST_RIP, 0x2222);
    EXECUTE(&machine, vmptrld, REGION_A);
    ck_assert_uint_eq(insn_machine_field(&machine, VMXC_VMCS_GUEST_RIP), 0x1111);
    EXECUTE(&machine, vmclear, REGION_A);
    EXECUTE_BARE(&machine, vmxoff);
    insn_machine_vmxon(&machine);
    EXECUTE(&machine, vmptrld, REGION_B);
    ck_assert_uint_eq(insn_machine_field(&machine, VMXC_VMCS_GUEST_RIP), 0x2222);
    EXECUTE(&machine, vmptrld, REGION_A);
    ck_assert_uint_eq(insn_machine_field(&machine, VMXC_VMCS_GUEST_RIP), 0x1111);
}
END_TEST

START_TEST(vmptrld_of_the_current_vmcs_does_not_read_its_fields_again)
{
    insn_machine_current(&machine);
    insn_machine_set_field(&machine, VMXC_VMCS_GUEST_RIP, 0x1111);
    EXECUTE(&machine, vmptrld, REGION_A);
    expect_success(&machine);
    ck_assert_uint_eq(insn_machine_field(&machine, VMXC_VMCS_GUEST_RIP), 0x1111);
}
END_TEST

START_TEST(a_processor_leaves_the_header_of_a_region_alone)
{
    insn_machine_current(&machine);
    vmxsim_memory_write64(machine.memory, REGION_A, UINT64_C(0x5555555512345678));
    EXECUTE(&machine, vmclear, REGION_A);
    ck_assert_uint_eq(vmxsim_memory_read64(machine.memory, REGION_A), UINT64_C(0x5555555512345678));
}
END_TEST

START_TEST(garbage_in_a_region_makes_no_field_wider_than_it_is)
{
    insn_machine_vmxon(&machine);
    for (uint64_t offset = 8; offset < 0x1000; offset += 8)
        vmxsim_memory_write64(machine.memory, REGION_A + offset, UINT64_MAX);
    EXECUTE(&machine, vmptrld, REGION_A);
    ck_assert_uint_eq(insn_machine_field(&machine, VMXC_VMCS_GUEST_CS_SELECTOR), 0xffff);
    ck_assert_uint_eq(insn_machine_field(&machine, VMXC_VMCS_GUEST_CS_LIMIT), UINT32_MAX);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("insn_region");
    TCase *tcase = tcase_create("core");

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_loop_test(tcase, outside_vmx_operation_instructions_are_undefined, 0, INSTRUCTIONS);
    tcase_add_loop_test(tcase, in_compatibility_and_virtual_8086_mode_instructions_are_undefined, 0,
                        INSTRUCTIONS);
    tcase_add_loop_test(tcase, instructions_need_privilege, 0, INSTRUCTIONS);
    tcase_add_test(tcase, a_rule_that_is_none_has_empty_texts);
    tcase_add_test(tcase, vmxon_needs_a_mode_with_vmx_and_cr4_vmxe);
    tcase_add_test(tcase, vmxon_needs_privilege_and_fixed_bits);
    tcase_add_test(tcase, vmxon_needs_the_permission_of_firmware);
    tcase_add_test(tcase, vmxon_refuses_addresses_and_regions);
    tcase_add_test(tcase, addresses_may_be_limited_to_32_bits);
    tcase_add_test(tcase, vmxon_in_root_operation_fails);
    tcase_add_test(tcase, vmxon_and_vmxoff_change_the_mode);
    tcase_add_test(tcase, vmclear_refuses_addresses);
    tcase_add_test(tcase, vmclear_of_the_current_vmcs_leaves_none);
    tcase_add_test(tcase, vmclear_of_another_region_asks_for_no_revision);
    tcase_add_test(tcase, vmptrld_refuses_addresses_and_regions);
    tcase_add_test(tcase, a_shadow_vmcs_needs_vmcs_shadowing);
    tcase_add_test(tcase, a_region_that_was_never_written_is_a_vmcs_of_zeros);
    tcase_add_test(tcase, each_vmcs_keeps_its_fields);
    tcase_add_test(tcase, vmptrld_of_the_current_vmcs_does_not_read_its_fields_again);
    tcase_add_test(tcase, a_processor_leaves_the_header_of_a_region_alone);
    tcase_add_test(tcase, garbage_in_a_region_makes_no_field_wider_than_it_is);
    suite_add_tcase(suite, tcase);

    return run_suite(suite);
}
