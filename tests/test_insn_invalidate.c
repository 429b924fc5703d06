/* SPDX-License-Identifier: Apache-2.0 */
/* INVEPT and INVVPID: types and descriptors as data, on processors that lack one capability each. */
#include <check.h>
#include <inttypes.h>

#include "support/entry_edge.h"
#include "support/insn_machine.h"
#include "support/suite.h"

#define CAP VMXC_MSR_VMX_EPT_VPID_CAP

static struct insn_machine machine;

static void setup(void)
{
    insn_machine_init(&machine, "icelake", NULL);
    insn_machine_current(&machine);
}

static void teardown(void)
{
    insn_machine_fini(&machine);
}

static void replace_machine(uint32_t msr, uint64_t clear, uint64_t set)
{
    const struct msr_change change = {msr, clear, set};

    teardown();
    insn_machine_init(&machine, "icelake", &change);
    insn_machine_current(&machine);
}

static void invept(uint64_t type, uint64_t low, uint64_t high)
{
    const uint64_t descriptor[2] = {low, high};

    EXECUTE(&machine, invept, type, descriptor);
}

static void invvpid(uint64_t type, uint64_t low, uint64_t high)
{
    const uint64_t descriptor[2] = {low, high};

    EXECUTE(&machine, invvpid, type, descriptor);
}

/* VMXSIM_INSN_NONE: it succeeds. */
static void expect_28(enum vmxsim_insn_rule rule)
{
    if (rule == VMXSIM_INSN_NONE)
        expect_success(&machine);
    else
        expect_valid(&machine, VMXC_VM_ERROR_INVALID_INVALIDATION, rule);
}

/* ---- Processors without the instructions ---- */

START_TEST(instructions_that_the_processor_lacks_are_undefined)
{
    replace_machine(CAP, VMXC_BIT(20), 0);
    invept(2, 0, 0);
    expect_exception(&machine, VMXC_VECTOR_UD, VMXSIM_INSN_INVEPT_UNSUPPORTED);
    invvpid(2, 0, 0);
    expect_success(&machine);
    replace_machine(CAP, VMXC_BIT(32), 0);
    invvpid(2, 0, 0);
    expect_exception(&machine, VMXC_VECTOR_UD, VMXSIM_INSN_INVVPID_UNSUPPORTED);
    invept(2, 0, 0);
    expect_success(&machine);
}
END_TEST

START_TEST(instructions_come_with_the_control_that_they_serve)
{
    replace_machine(VMXC_MSR_VMX_PROCBASED_CTLS2, VMXC_BIT(32 + 1), 0);
    invept(2, 0, 0);
    expect_exception(&machine, VMXC_VECTOR_UD, VMXSIM_INSN_INVEPT_UNSUPPORTED);
    replace_machine(VMXC_MSR_VMX_PROCBASED_CTLS2, VMXC_BIT(32 + 5), 0);
    invvpid(2, 0, 0);
    expect_exception(&machine, VMXC_VECTOR_UD, VMXSIM_INSN_INVVPID_UNSUPPORTED);
}
END_TEST

START_TEST(each_type_has_a_capability_bit)
{
    replace_machine(CAP, VMXC_BIT(25), 0);
    invept(1, 0x5e, 0);
    expect_28(VMXSIM_INSN_INVEPT_TYPE);
    replace_machine(CAP, VMXC_BIT(26), 0);
    invept(2, 0, 0);
    expect_28(VMXSIM_INSN_INVEPT_TYPE);
    for (unsigned type = 0; type < 4; type++) {
        replace_machine(CAP, VMXC_BIT(40 + type), 0);
        for (unsigned other = 0; other < 4; other++) {
            invvpid(other, 1, 0);
            expect_28(other == type ? VMXSIM_INSN_INVVPID_TYPE : VMXSIM_INSN_NONE);
        }
    }
}
END_TEST

/* ---- INVEPT ---- */

/* Icelake: 40 bits of address, WB and UC, 4 levels, accessed and dirty flags. */
static const struct {
    uint64_t type, eptp;
    enum vmxsim_insn_rule rule;
} invept_cases[] = {
    {0, 0x1e, VMXSIM_INSN_INVEPT_TYPE},
    {3, 0x1e, VMXSIM_INSN_INVEPT_TYPE},
    {0xffffffff, 0x1e, VMXSIM_INSN_INVEPT_TYPE},
    {UINT64_C(0x100000001), 0x1e, VMXSIM_INSN_INVEPT_TYPE}, /* the operand has 64 bits */
    {UINT64_C(1) << 63, 0x1e, VMXSIM_INSN_INVEPT_TYPE},
    {1, 0, VMXSIM_INSN_INVEPT_EPTP},     /* 1 level */
    {1, 0x1d, VMXSIM_INSN_INVEPT_EPTP},  /* memory type 5 */
    {1, 0x26, VMXSIM_INSN_INVEPT_EPTP},  /* 5 levels */
    {1, 0x9e, VMXSIM_INSN_INVEPT_EPTP},  /* supervisor shadow stacks */
    {1, 0x11e, VMXSIM_INSN_INVEPT_EPTP}, /* reserved */
    {1, UINT64_C(0x1000000001e), VMXSIM_INSN_INVEPT_EPTP},
    {1, UINT64_C(0x800000000000001e), VMXSIM_INSN_INVEPT_EPTP},
    {1, 0x1e, VMXSIM_INSN_NONE},
    {1, 0x18, VMXSIM_INSN_NONE}, /* uncacheable */
    {1, 0x5e, VMXSIM_INSN_NONE},
    {1, UINT64_C(0xfffffff05e), VMXSIM_INSN_NONE},
    {2, 0, VMXSIM_INSN_NONE},
    {2, UINT64_MAX, VMXSIM_INSN_NONE}, /* of all contexts: the descriptor does not matter */
};

START_TEST(invept_looks_at_type_and_ept_pointer)
{
    invept(invept_cases[_i].type, invept_cases[_i].eptp, 0);
    expect_28(invept_cases[_i].rule);
}
END_TEST

/* ---- INVVPID ---- */

static const struct {
    uint64_t type, low, address;
    enum vmxsim_insn_rule rule;
} invvpid_cases[] = {
    {4, 1, 0, VMXSIM_INSN_INVVPID_TYPE},
    {UINT64_C(0x200000000), 1, 0, VMXSIM_INSN_INVVPID_TYPE},
    {0, 0x10001, 0, VMXSIM_INSN_INVVPID_RESERVED},
    {1, UINT64_C(0x10000000001), 0, VMXSIM_INSN_INVVPID_RESERVED},
    {2, UINT64_C(0x8000000000000001), 0, VMXSIM_INSN_INVVPID_RESERVED},
    {3, 0x10000, 0, VMXSIM_INSN_INVVPID_RESERVED},
    {0, 0, 0, VMXSIM_INSN_INVVPID_ZERO},
    {1, 0, 0, VMXSIM_INSN_INVVPID_ZERO},
    {3, 0, 0, VMXSIM_INSN_INVVPID_ZERO},
    {0, 1, UINT64_C(0x800000000000), VMXSIM_INSN_INVVPID_CANONICAL},
    {0, 1, UINT64_C(0xffff7fffffffffff), VMXSIM_INSN_INVVPID_CANONICAL},
    {0, 1, UINT64_C(0x4000000000000000), VMXSIM_INSN_INVVPID_CANONICAL},
    {0, 1, UINT64_C(0x7fffffffffff), VMXSIM_INSN_NONE},
    {0, 0xffff, UINT64_C(0xffff800000000000), VMXSIM_INSN_NONE},
    {1, 1, UINT64_C(0x800000000000), VMXSIM_INSN_NONE}, /* only type 0 has an address */
    {2, 0, UINT64_C(0x800000000000), VMXSIM_INSN_NONE},
    {3, 0xffff, UINT64_C(0x800000000000), VMXSIM_INSN_NONE},
};

START_TEST(invvpid_looks_at_type_and_descriptor)
{
    invvpid(invvpid_cases[_i].type, invvpid_cases[_i].low, invvpid_cases[_i].address);
    expect_28(invvpid_cases[_i].rule);
}
END_TEST

START_TEST(outside_64_bit_mode_the_type_has_32_bits)
{
    vmxsim_cpu_set_root_state(machine.cpu,
                              &(struct vmxsim_root_state){.cr0 = 0x80000031, .cr4 = 0x2000});
    invept(UINT64_C(0x100000002), 0, 0);
    expect_success(&machine);
    invvpid(UINT64_C(0x100000002), 0, 0);
    expect_success(&machine);
}
END_TEST

START_TEST(without_a_current_vmcs_the_failure_has_no_number)
{
    EXECUTE(&machine, vmclear, REGION_A);
    invept(0, 0, 0);
    expect_invalid(&machine, VMXSIM_INSN_INVEPT_TYPE);
    invvpid(9, 0, 0);
    expect_invalid(&machine, VMXSIM_INSN_INVVPID_TYPE);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("insn_invalidate");
    TCase *tcase = tcase_create("core");

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, instructions_that_the_processor_lacks_are_undefined);
    tcase_add_test(tcase, instructions_come_with_the_control_that_they_serve);
    tcase_add_test(tcase, each_type_has_a_capability_bit);
    tcase_add_loop_test(tcase, invept_looks_at_type_and_ept_pointer, 0, COUNT(invept_cases));
    tcase_add_loop_test(tcase, invvpid_looks_at_type_and_descriptor, 0, COUNT(invvpid_cases));
    tcase_add_test(tcase, outside_64_bit_mode_the_type_has_32_bits);
    tcase_add_test(tcase, without_a_current_vmcs_the_failure_has_no_number);
    suite_add_tcase(suite, tcase);

    return run_suite(suite);
}
