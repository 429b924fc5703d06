/* SPDX-License-Identifier: Apache-2.0 */
#include "support/guest_fixture.h"

#include "vmxsim/insn.h"

#define ACTIVATE_SECONDARY VMXC_BIT(31)

struct machine machine;

void guest_fixture_set_up(void)
{
    machine_init(&machine, NULL);
    machine_set_mode(&machine, GUEST_4LEVEL);
    VMXSIM_VMCS(&machine.vmcs, GUEST_CS_ACCESS_RIGHTS) = 0xa09b;
    VMXSIM_VMCS(&machine.vmcs, GUEST_RFLAGS) = 2;
    VMXSIM_VMCS(&machine.vmcs, GUEST_CR0) |= 0x30;   /* ET, NE */
    VMXSIM_VMCS(&machine.vmcs, GUEST_CR4) |= 0x2000; /* VMXE */
}

void guest_fixture_tear_down(void)
{
    machine_fini(&machine);
}

void set_pin(uint64_t controls)
{
    VMXSIM_VMCS(&machine.vmcs, PIN_BASED_CONTROLS) = controls;
}

void set_primary(uint64_t controls)
{
    uint64_t *const field = &VMXSIM_VMCS(&machine.vmcs, PRIMARY_PROCESSOR_BASED_CONTROLS);

    *field = (*field & ACTIVATE_SECONDARY) | controls;
}

void set_secondary(uint64_t controls)
{
    VMXSIM_VMCS(&machine.vmcs, PRIMARY_PROCESSOR_BASED_CONTROLS) |= ACTIVATE_SECONDARY;
    VMXSIM_VMCS(&machine.vmcs, SECONDARY_PROCESSOR_BASED_CONTROLS) = controls;
}

void write_msr(uint32_t msr, uint64_t value)
{
    struct vmxsim_insn_result result;

    ck_assert_int_eq(vmxsim_insn_wrmsr(machine.cpu, msr, value, &result), VMXC_OK);
    ck_assert_int_eq(result.kind, VMXSIM_INSN_SUCCEEDED);
}

void load(void)
{
    machine_load(&machine);
}

void expect_guest_complete(const struct vmxsim_outcome *outcome)
{
    ck_assert_msg(outcome->kind == VMXSIM_OUTCOME_COMPLETE, "%s", machine_outcome_text(outcome));
    ck_assert_int_eq(outcome->rule, VMXSIM_RULE_NONE);
}

/* VM exits that have one reason in the model's rules too, and whether their qualification says anything. */
static const struct {
    unsigned reason;
    enum vmxsim_walk_rule rule;
    bool qualified;
} reasons[] = {
    {1, VMXSIM_RULE_EXIT_INTERRUPT, false},
    {2, VMXSIM_RULE_EXIT_TRIPLE_FAULT, false},
    {3, VMXSIM_RULE_EXIT_INIT, false},
    {4, VMXSIM_RULE_EXIT_SIPI, true},
    {7, VMXSIM_RULE_EXIT_INTERRUPT_WINDOW, false},
    {8, VMXSIM_RULE_EXIT_NMI_WINDOW, false},
    {9, VMXSIM_RULE_EXIT_TASK_SWITCH, true},
    {37, VMXSIM_RULE_EXIT_MTF, false},
    {45, VMXSIM_RULE_EXIT_VIRTUALIZED_EOI, true},
    {52, VMXSIM_RULE_EXIT_TIMER, false},
};

static void expect_reason(const struct vmxsim_outcome *outcome, unsigned reason)
{
    for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++) {
        if (reasons[i].reason != reason)
            continue;
        ck_assert_int_eq(outcome->rule, reasons[i].rule);
        ck_assert(reasons[i].qualified || outcome->qualification == 0);
    }
}

void expect_guest_exit(const struct vmxsim_outcome *outcome, unsigned reason)
{
    ck_assert_msg(outcome->kind == VMXSIM_OUTCOME_VM_EXIT, "%s", machine_outcome_text(outcome));
    ck_assert_uint_eq(outcome->exit_reason, reason);
    ck_assert(outcome->qualification_defined);
    ck_assert_int_ne(outcome->rule, VMXSIM_RULE_NONE);
    expect_reason(outcome, reason);
}

void expect_guest_fault(const struct vmxsim_outcome *outcome, unsigned vector)
{
    ck_assert_msg(outcome->kind == VMXSIM_OUTCOME_GUEST_EXCEPTION, "%s",
                  machine_outcome_text(outcome));
    ck_assert_uint_eq(outcome->vector, vector);
    ck_assert_int_eq(outcome->has_error_code, vector == VMXC_VECTOR_GP);
    ck_assert_uint_eq(outcome->error_code, 0);
}
