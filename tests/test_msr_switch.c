/* SPDX-License-Identifier: Apache-2.0 */
/*
 * MSRs that VM entries and VM exits switch by fields of their own. For each, what the guest has, what the VM exit saves, and what
 * the host gets, with the MSR's own control alone and with all others but it.
 */
#include <check.h>

#include "support/entry_edge.h"
#include "support/insn_machine.h"
#include "support/suite.h"
#include "vmxsim/exit.h"

#define STORE_AREA UINT64_C(0x20000)
#define LOAD_AREA  UINT64_C(0x21000)
#define NO_CONTROL 64 /* there is none: always done */

/* VM-entry and VM-exit controls that are about one MSR each, by bit. "Load IA32_EFER" and its like change more than MSRs. */
#define ENTRY_LOADS \
    (VMXC_BIT(2) | VMXC_BITS(14, 13) | VMXC_BIT(16) | VMXC_BIT(18) | VMXC_BITS(22, 20))
#define EXIT_SAVES (VMXC_BIT(2) | VMXC_BIT(18) | VMXC_BIT(30))
#define EXIT_LOADS \
    (VMXC_BIT(12) | VMXC_BIT(19) | VMXC_BIT(23) | VMXC_BITS(26, 25) | VMXC_BITS(29, 28))

/* Source: SDM, "VM-Entry Controls", "Primary VM-Exit Controls", "Loading Host Control Registers, Debug Registers, MSRs". */
static const struct {
    uint32_t msr;
    uint16_t guest, host; /* host 0: a VM exit clears the MSR */
    uint8_t entry_load, exit_save, exit_load;
    uint64_t before, entered,
        loaded; /* values: of the host before, of the guest's field, of the host's field */
} switched[] = {
    {0x174, F(GUEST_SYSENTER_CS), F(HOST_SYSENTER_CS), 64, 64, 64, 0x11, 0x22, 0x33},
    {0x175, F(GUEST_SYSENTER_ESP), F(HOST_SYSENTER_ESP), 64, 64, 64, 0x1100, 0x2200, 0x3300},
    {0x176, F(GUEST_SYSENTER_EIP), F(HOST_SYSENTER_EIP), 64, 64, 64, 0x1110, 0x2220, 0x3330},
    {0xc0000100, F(GUEST_FS_BASE), F(HOST_FS_BASE), 64, 64, 64, 0x1111, 0x2222, 0x3333},
    {0xc0000101, F(GUEST_GS_BASE), F(HOST_GS_BASE), 64, 64, 64, 0x111, 0x222, 0x333},
    {0x1d9, F(GUEST_IA32_DEBUGCTL), 0, 2, 2, 64, 2, 1, 0},
    {0x38f, F(GUEST_IA32_PERF_GLOBAL_CTRL), F(HOST_IA32_PERF_GLOBAL_CTRL), 13, 30, 12, 1, 2, 3},
    {0x277, F(GUEST_IA32_PAT), F(HOST_IA32_PAT), 14, 18, 19, 0x0101, 0x0404, 0x0606},
    {0xd90, F(GUEST_IA32_BNDCFGS), 0, 16, 64, 23, 0x1001, 0x2001, 0},
    {0x570, F(GUEST_IA32_RTIT_CTL), 0, 18, 64, 25, 0x4, 0x8, 0},
    {0x14ce, F(GUEST_IA32_LBR_CTL), 0, 21, 64, 26, 0x1, 0x0,
     0}, /* the one bit that the profile has */
    {0x6e1, F(GUEST_IA32_PKRS), F(HOST_IA32_PKRS), 22, 64, 29, 0x1, 0x2, 0x3},
    {0x6a2, F(GUEST_S_CET), F(HOST_S_CET), 20, 64, 28, 0x1, 0x2, 0x3},
    {0x6a8, F(GUEST_INTERRUPT_SSP_TABLE), F(HOST_INTERRUPT_SSP_TABLE), 20, 64, 28, 0x1100, 0x2200,
     0x3300},
};

static struct insn_machine machine;
static struct vmxsim_vmcs vmcs;

static void set_up(void)
{
    insn_machine_init(&machine, "everything", NULL);
    vmcs = valid_vmcs(LONG64);
}

static void tear_down(void)
{
    insn_machine_fini(&machine);
}

/* Its own bit, or all of the others. */
static uint64_t choose(uint64_t all, uint8_t own, bool alone)
{
    const uint64_t bit = own == NO_CONTROL ? 0 : UINT64_C(1) << own;

    return alone ? bit : all & ~bit;
}

static bool happens(uint8_t control, bool alone)
{
    return control == NO_CONTROL || alone;
}

/* Values for all, so that a control that acts on the wrong MSR shows. */
static void fill(size_t row)
{
    for (size_t i = 0; i < COUNT(switched); i++) {
        vmcs.value[switched[i].guest] = switched[i].entered;
        if (switched[i].host != 0)
            vmcs.value[switched[i].host] = switched[i].loaded;
    }
    EXECUTE(&machine, wrmsr, switched[row].msr, switched[row].before);
    expect_completion(&machine);
}

/* One VM entry and one VM exit, which stores the MSR as the guest had it. Returns that value. */
static uint64_t enter_and_leave(uint32_t msr)
{
    const struct vmxsim_outcome interrupt = {.kind = VMXSIM_OUTCOME_VM_EXIT, .exit_reason = 1};
    enum vmxc_vmx_abort abort_indicator;

    vmxsim_memory_write64(machine.memory, STORE_AREA, msr);
    VMXSIM_VMCS(&vmcs, VM_EXIT_MSR_STORE_ADDRESS) = STORE_AREA;
    VMXSIM_VMCS(&vmcs, VM_EXIT_MSR_STORE_COUNT) = 1;
    insn_machine_launch(&machine, &vmcs);
    ck_assert_int_eq(vmxsim_vm_exit(machine.cpu, &interrupt, NULL, &abort_indicator), VMXC_OK);
    ck_assert_int_eq(abort_indicator, VMXC_VMX_ABORT_NONE);
    return vmxsim_memory_read64(machine.memory, STORE_AREA + 8);
}

START_TEST(each_msr_follows_its_own_controls)
{
    const size_t row = (size_t)_i / 8;
    const bool load = _i & 1, save = _i & 2, restore = _i & 4;
    const bool loaded = happens(switched[row].entry_load, load);
    const bool saved = happens(switched[row].exit_save, save);
    const bool restored = happens(switched[row].exit_load, restore);

    fill(row);
    VMXSIM_VMCS(&vmcs, VM_ENTRY_CONTROLS) |= choose(ENTRY_LOADS, switched[row].entry_load, load);
    VMXSIM_VMCS(&vmcs, PRIMARY_VM_EXIT_CONTROLS) &= ~(EXIT_SAVES | EXIT_LOADS);
    VMXSIM_VMCS(&vmcs, PRIMARY_VM_EXIT_CONTROLS) |=
        choose(EXIT_SAVES, switched[row].exit_save, save) |
        choose(EXIT_LOADS, switched[row].exit_load, restore);
    const uint64_t guest = enter_and_leave(switched[row].msr);
    ck_assert_uint_eq(guest, loaded ? switched[row].entered : switched[row].before);
    ck_assert_uint_eq(vmxsim_exit_vmcs(machine.cpu)->value[switched[row].guest],
                      saved ? guest : switched[row].entered);
    EXECUTE(&machine, rdmsr, switched[row].msr);
    ck_assert_uint_eq(machine.result.value, restored ? switched[row].loaded : guest);
}
END_TEST

/* The list comes after the fields, and accesses follow it: a protection key of supervisor pages, a memory type. */
START_TEST(msrs_of_the_list_take_effect)
{
    const struct vmxsim_access access = {.type = VMXSIM_ACCESS_READ, .linear = 0x7000, .size = 1};
    struct vmxsim_outcome outcome;

    vmxsim_memory_write64(machine.memory, 0x40000, 0x41003);                  /* PML4E */
    vmxsim_memory_write64(machine.memory, 0x41000, 0x83 | UINT64_C(1) << 59); /* 1 GByte, key 1 */
    VMXSIM_VMCS(&vmcs, GUEST_CR3) = 0x40000;
    VMXSIM_VMCS(&vmcs, GUEST_CR4) |= VMXC_CR4_PKS;
    VMXSIM_VMCS(&vmcs, VM_ENTRY_CONTROLS) |= VMXC_BIT(14) | VMXC_BIT(22); /* PAT, PKRS */
    VMXSIM_VMCS(&vmcs, GUEST_IA32_PAT) = 0x0606060606060606;
    VMXSIM_VMCS(&vmcs, VM_ENTRY_MSR_LOAD_ADDRESS) = LOAD_AREA;
    VMXSIM_VMCS(&vmcs, VM_ENTRY_MSR_LOAD_COUNT) = 2;
    vmxsim_memory_write64(machine.memory, LOAD_AREA, 0x277);
    vmxsim_memory_write64(machine.memory, LOAD_AREA + 8, 0x0404040404040404);
    vmxsim_memory_write64(machine.memory, LOAD_AREA + 16, 0x6e1);
    vmxsim_memory_write64(machine.memory, LOAD_AREA + 24,
                          _i ? 1u << 2 : 1u << 4); /* key 1; key 2 */
    insn_machine_launch(&machine, &vmcs);
    ck_assert_int_eq(vmxsim_guest_access(machine.cpu, &access, &outcome, NULL), VMXC_OK);
    ck_assert_int_eq(outcome.kind, _i ? VMXSIM_OUTCOME_GUEST_EXCEPTION : VMXSIM_OUTCOME_COMPLETE);
    if (_i)
        ck_assert_int_eq(outcome.rule, VMXSIM_RULE_PG_PK);
    else
        ck_assert_int_eq(outcome.page[0].memory_type, VMXC_MEMORY_TYPE_WT);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("msr_switch");
    TCase *fields = suite_case(suite, "fields", set_up, tear_down);

    tcase_add_loop_test(fields, msrs_of_the_list_take_effect, 0, 2);
    tcase_add_loop_test(fields, each_msr_follows_its_own_controls, 0, 8 * COUNT(switched));

    return run_suite(suite);
}
