/* SPDX-License-Identifier: Apache-2.0 */
/* The model behind the instruction seam: each operation's results as the seam words them, and what it has done. */
#include "vmxsim/insn_ops.h"

#include <check.h>
#include <stdlib.h>

#include "support/suite.h"
#include "vmxcore/defs/exit_reason.h"
#include "vmxcore/defs/msr.h"
#include "vmxcore/percpu.h"
#include "vmxcore/vmcs_setup.h"

static struct vmxsim_memory *memory;
static struct vmxsim_cpu *cpu;
static struct vmxsim_insn_ops instance;
static struct vmxc_percpu percpu;
static struct vmxc_region region;
static unsigned runs;
static bool stays; /* the guest does not exit */

static enum vmxc_status run_guest(void *context, struct vmxsim_cpu *processor,
                                  struct vmxc_gprs *gprs)
{
    struct vmxsim_insn_result result;

    ck_assert_ptr_eq(context, &runs);
    runs++;
    gprs->value[VMXC_GPR_RAX]++;
    return stays ? VMXC_OK : vmxsim_insn_vmcall(processor, &result);
}

static void setup(void)
{
    const struct vmxsim_range ram = {0, UINT64_C(16) << 20};
    const struct vmxsim_memory_config config = {.ram = &ram, .ram_count = 1};

    ck_assert_int_eq(vmxsim_memory_create(&config, &memory, NULL), VMXC_OK);
    ck_assert_int_eq(vmxsim_cpu_create(memory, vmxsim_profile_builtin("icelake"), &cpu), VMXC_OK);
    vmxsim_insn_ops_init(&instance, cpu, run_guest, &runs);
    runs = 0;
    stays = false;
}

static void teardown(void)
{
    vmxsim_cpu_destroy(cpu);
    vmxsim_memory_destroy(memory);
}

/* In VMX operation, with a VMCS that enters. */
static void setup_vmcs(void)
{
    const struct vmxc_vmcs_setup plan = {
        .guest = {.mode = VMXC_GUEST_LONG_64, .rip = 0x1000, .cr3 = 0x2000}};
    struct vmxc_vmcs_controls controls;
    struct vmxc_vmcs_missing missing;

    setup();
    const struct vmxc_hal *hal = vmxsim_memory_hal(memory);
    ck_assert_int_eq(vmxc_percpu_enable(&percpu, &instance.ops, hal, false, NULL), VMXC_OK);
    ck_assert_int_eq(vmxc_region_init_for(&region, hal, percpu.vmx_basic, VMXC_REGION_ORDINARY),
                     VMXC_OK);
    ck_assert_int_eq(vmxc_vmcs_load(&instance.ops, &region), VMXC_OK);
    ck_assert_int_eq(vmxc_vmcs_setup(&instance.ops, &plan, &controls, &missing), VMXC_OK);
}

START_TEST(outside_vmx_operation_vmx_instructions_raise_exceptions)
{
    const struct vmxc_insn_ops *ops = &instance.ops;
    struct vmxc_gprs gprs = {{0}};
    uint64_t value = 77;

    ck_assert_int_eq(ops->vmxoff(ops->context), VMXC_INSN_EXCEPTION);
    ck_assert_int_eq(ops->vmclear(ops->context, 0x1000), VMXC_INSN_EXCEPTION);
    ck_assert_int_eq(ops->vmptrst(ops->context, &value), VMXC_INSN_EXCEPTION);
    ck_assert_int_eq(ops->vmread(ops->context, VMXC_VMCS_GUEST_RIP, &value), VMXC_INSN_EXCEPTION);
    ck_assert_int_eq(ops->vmwrite(ops->context, VMXC_VMCS_GUEST_RIP, 0), VMXC_INSN_EXCEPTION);
    ck_assert_int_eq(ops->vmlaunch(ops->context, &gprs), VMXC_INSN_EXCEPTION);
    ck_assert_int_eq(ops->invept(ops->context, VMXC_INVEPT_ALL, 0), VMXC_INSN_EXCEPTION);
    ck_assert_int_eq(ops->invvpid(ops->context, VMXC_INVVPID_ALL, 0, 0), VMXC_INSN_EXCEPTION);
    ck_assert_int_eq(instance.last.rule, VMXSIM_INSN_UD_OUTSIDE_VMX);
    ck_assert_int_eq(instance.status, VMXC_OK);
    ck_assert_uint_eq(value, 77);
}
END_TEST

START_TEST(registers_and_msrs)
{
    const struct vmxc_insn_ops *ops = &instance.ops;
    struct vmxc_host_segments segments;
    uint32_t leaf[4] = {1, 1, 1, 1};
    uint64_t value = 77;

    ck_assert_int_eq(ops->rdmsr(ops->context, 0x40000000, &value), VMXC_INSN_EXCEPTION);
    ck_assert_uint_eq(value, 77);
    ck_assert_int_eq(ops->wrmsr(ops->context, VMXC_MSR_FS_BASE, 0x8000000000000),
                     VMXC_INSN_EXCEPTION);
    ck_assert_int_eq(ops->wrmsr(ops->context, VMXC_MSR_FS_BASE, 0x1234), VMXC_INSN_SUCCEEDED);
    ck_assert_int_eq(ops->rdmsr(ops->context, VMXC_MSR_FS_BASE, &value), VMXC_INSN_SUCCEEDED);
    ck_assert_uint_eq(value, 0x1234);

    ck_assert_int_eq(ops->write_cr0(ops->context, 0x20), VMXC_INSN_EXCEPTION);
    ck_assert_int_eq(ops->write_cr0(ops->context, 0x80010031), VMXC_INSN_SUCCEEDED);
    ck_assert_uint_eq(ops->read_cr0(ops->context), 0x80010031);
    ck_assert_int_eq(ops->write_cr3(ops->context, UINT64_C(1) << 40), VMXC_INSN_EXCEPTION);
    ck_assert_int_eq(ops->write_cr3(ops->context, UINT64_C(1) << 63), VMXC_INSN_EXCEPTION);
    ck_assert_int_eq(ops->write_cr3(ops->context, 0x5000), VMXC_INSN_SUCCEEDED);
    ck_assert_uint_eq(ops->read_cr3(ops->context), 0x5000);
    ck_assert_int_eq(ops->write_cr4(ops->context, 0x22020), VMXC_INSN_SUCCEEDED);
    ck_assert_uint_eq(ops->read_cr4(ops->context), 0x22020);
    ck_assert_int_eq(ops->write_cr3(ops->context, UINT64_C(1) << 63 | 0x6001), VMXC_INSN_SUCCEEDED);
    ck_assert_uint_eq(ops->read_cr3(ops->context), 0x6001);

    ops->cpuid(ops->context, 0x12345678, 0, leaf);
    ck_assert_uint_eq(leaf[0] | leaf[1] | leaf[2] | leaf[3], 0);
    ops->cpuid(ops->context, 0, 0, leaf);
    ck_assert_uint_eq(leaf[1], 0x756e6547); /* "Genu" */

    instance.segments.tr_base = 0x9000;
    ops->segments(ops->context, &segments);
    ck_assert(segments.cs == 8 && segments.tr == 0x18 && segments.tr_base == 0x9000);
}
END_TEST

START_TEST(without_a_current_vmcs_nothing_is_valid)
{
    const struct vmxc_insn_ops *ops = &instance.ops;
    struct vmxc_gprs gprs = {{0}};
    uint64_t value = 77;

    ck_assert_int_eq(ops->vmclear(ops->context, region.frame.hpa), VMXC_INSN_SUCCEEDED);
    ck_assert_int_eq(ops->vmptrst(ops->context, &value), VMXC_INSN_SUCCEEDED);
    ck_assert_uint_eq(value, UINT64_MAX);
    ck_assert_int_eq(ops->vmread(ops->context, VMXC_VMCS_GUEST_RIP, &value),
                     VMXC_INSN_FAIL_INVALID);
    ck_assert_int_eq(ops->vmresume(ops->context, &gprs), VMXC_INSN_FAIL_INVALID);
    ck_assert_uint_eq(runs, 0);
}
END_TEST

START_TEST(failures_leave_their_number)
{
    const struct vmxc_insn_ops *ops = &instance.ops;
    struct vmxc_gprs gprs = {{0}};
    uint64_t value;

    ck_assert_int_eq(ops->vmresume(ops->context, &gprs), VMXC_INSN_FAIL_VALID);
    ck_assert_int_eq(vmxc_insn_read(ops, VMXC_VMCS_VM_INSTRUCTION_ERROR, &value), VMXC_OK);
    ck_assert_uint_eq(value, VMXC_VM_ERROR_VMRESUME_NOT_LAUNCHED);
    ck_assert_int_eq(vmxc_insn_read(ops, 0x7776, &value), VMXC_UNSUPPORTED);
    ck_assert_int_eq(vmxc_insn_status(ops, ops->invept(ops->context, 9, 0)), VMXC_INVALID_INPUT);
    ck_assert_int_eq(vmxc_insn_status(ops, ops->vmptrld(ops->context, 0x123)), VMXC_INVALID_INPUT);
    ck_assert_int_eq(vmxc_insn_status(ops, ops->vmxon(ops->context, 0)), VMXC_BAD_STATE);
    ck_assert_uint_eq(runs, 0);
}
END_TEST

START_TEST(an_entry_runs_the_guest_until_it_exits)
{
    const struct vmxc_insn_ops *ops = &instance.ops;
    struct vmxc_gprs gprs = {.value[VMXC_GPR_RAX] = 5};
    uint64_t value;

    ck_assert_int_eq(ops->vmlaunch(ops->context, &gprs), VMXC_INSN_VM_EXIT);
    ck_assert_int_eq(ops->vmresume(ops->context, &gprs), VMXC_INSN_VM_EXIT);
    ck_assert_uint_eq(runs, 2);
    ck_assert_uint_eq(gprs.value[VMXC_GPR_RAX], 7);
    ck_assert_int_eq(vmxc_insn_read(ops, VMXC_VMCS_EXIT_REASON, &value), VMXC_OK);
    ck_assert_uint_eq(value, VMXC_EXIT_REASON_VMCALL);
    ck_assert_int_eq(vmxc_insn_read(ops, VMXC_VMCS_HOST_RIP, &value), VMXC_OK);
    ck_assert_uint_eq(value, VMXSIM_HOST_RIP);
    ck_assert_int_eq(vmxc_insn_read(ops, VMXC_VMCS_HOST_RSP, &value), VMXC_OK);
    ck_assert_uint_eq(value, VMXSIM_HOST_RSP);
}
END_TEST

START_TEST(an_entry_failure_looks_like_an_exit)
{
    const struct vmxc_insn_ops *ops = &instance.ops;
    struct vmxc_gprs gprs = {{0}};
    uint64_t value;

    ck_assert_int_eq(vmxc_insn_write(ops, VMXC_VMCS_GUEST_RFLAGS, 0), VMXC_OK);
    ck_assert_int_eq(ops->vmlaunch(ops->context, &gprs), VMXC_INSN_VM_EXIT);
    ck_assert_uint_eq(runs, 0);
    ck_assert_int_eq(vmxc_insn_read(ops, VMXC_VMCS_EXIT_REASON, &value), VMXC_OK);
    ck_assert_uint_eq(value, 0x80000021);
}
END_TEST

START_TEST(a_guest_that_cannot_be_run_is_an_error)
{
    const struct vmxc_insn_ops *ops = &instance.ops;
    struct vmxc_gprs gprs = {{0}};

    stays = true;
    ck_assert_int_eq(ops->vmlaunch(ops->context, &gprs), VMXC_INSN_EXCEPTION);
    ck_assert_int_eq(instance.status, VMXC_BAD_STATE);
}
END_TEST

START_TEST(a_machine_without_a_guest_says_so)
{
    const struct vmxc_insn_ops *ops = &instance.ops;
    struct vmxc_gprs gprs = {{0}};

    instance.run = NULL;
    ck_assert_int_eq(ops->vmlaunch(ops->context, &gprs), VMXC_INSN_EXCEPTION);
    ck_assert_int_eq(instance.status, VMXC_UNSUPPORTED);
}
END_TEST

static Suite *insn_ops_suite(void)
{
    Suite *suite = suite_create("insn_ops");
    TCase *bare = tcase_create("bare");
    TCase *vmx = tcase_create("vmx");

    tcase_add_checked_fixture(bare, setup, teardown);
    tcase_add_test(bare, outside_vmx_operation_vmx_instructions_raise_exceptions);
    tcase_add_test(bare, registers_and_msrs);
    suite_add_tcase(suite, bare);

    tcase_add_checked_fixture(vmx, setup_vmcs, teardown);
    tcase_add_test(vmx, without_a_current_vmcs_nothing_is_valid);
    tcase_add_test(vmx, failures_leave_their_number);
    tcase_add_test(vmx, an_entry_runs_the_guest_until_it_exits);
    tcase_add_test(vmx, an_entry_failure_looks_like_an_exit);
    tcase_add_test(vmx, a_guest_that_cannot_be_run_is_an_error);
    tcase_add_test(vmx, a_machine_without_a_guest_says_so);
    suite_add_tcase(suite, vmx);
    return suite;
}

int main(void)
{
    return run_suite(insn_ops_suite());
}
