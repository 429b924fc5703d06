/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Beside Linux's <asm/vmx.h>: our headers compile after it, and where both name a fact they agree on its number.
 */
#include <asm/vmx.h>

/* Every public header of the definitions and of the VMX structures, in the middle of Linux's names. */
#include "vmxcore/caps.h"
#include "vmxcore/defs/bits.h"
#include "vmxcore/defs/controls.h"
#include "vmxcore/defs/ept.h"
#include "vmxcore/defs/exit_reason.h"
#include "vmxcore/defs/msr.h"
#include "vmxcore/defs/paging.h"
#include "vmxcore/defs/status.h"
#include "vmxcore/defs/types.h"
#include "vmxcore/defs/vm_error.h"
#include "vmxcore/defs/vmcs.h"
#include "vmxcore/io_bitmap.h"
#include "vmxcore/msr_bitmap.h"
#include "vmxcore/region.h"
#include "vmxcore/vmcs.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

/* Older versions of the header have fewer reasons: it lists its own in VMX_EXIT_REASONS. */
static const struct {
    unsigned number;
    const char *name;
} linux_reasons[] = {VMX_EXIT_REASONS};

static const struct {
    unsigned number;
    const char *name;
} our_reasons[] = {
#define VMXC_EXIT_REASON(number, name, manual_name) {number, #name},
#include "vmxcore/defs/exit_reasons.def"
};

START_TEST(every_exit_reason_of_linux_is_one_of_ours)
{
    const size_t count = sizeof(our_reasons) / sizeof(our_reasons[0]);
    size_t i = 0;

    while (i < count && our_reasons[i].number != linux_reasons[_i].number)
        i++;
    ck_assert_msg(i < count, "%u, which Linux calls %s", linux_reasons[_i].number,
                  linux_reasons[_i].name);
}
END_TEST

/* Names that both have, by number; Linux's on the right. */
static const struct {
    unsigned ours, theirs;
} pairs[] = {
    {VMXC_EXIT_REASON_EXCEPTION_OR_NMI, EXIT_REASON_EXCEPTION_NMI},
    {VMXC_EXIT_REASON_EXTERNAL_INTERRUPT, EXIT_REASON_EXTERNAL_INTERRUPT},
    {VMXC_EXIT_REASON_TRIPLE_FAULT, EXIT_REASON_TRIPLE_FAULT},
    {VMXC_EXIT_REASON_INIT_SIGNAL, EXIT_REASON_INIT_SIGNAL},
    {VMXC_EXIT_REASON_STARTUP_IPI, EXIT_REASON_SIPI_SIGNAL},
    {VMXC_EXIT_REASON_NMI_WINDOW, EXIT_REASON_NMI_WINDOW},
    {VMXC_EXIT_REASON_TASK_SWITCH, EXIT_REASON_TASK_SWITCH},
    {VMXC_EXIT_REASON_CPUID, EXIT_REASON_CPUID},
    {VMXC_EXIT_REASON_HLT, EXIT_REASON_HLT},
    {VMXC_EXIT_REASON_INVLPG, EXIT_REASON_INVLPG},
    {VMXC_EXIT_REASON_RDTSC, EXIT_REASON_RDTSC},
    {VMXC_EXIT_REASON_VMCALL, EXIT_REASON_VMCALL},
    {VMXC_EXIT_REASON_VMXOFF, EXIT_REASON_VMOFF},
    {VMXC_EXIT_REASON_VMXON, EXIT_REASON_VMON},
    {VMXC_EXIT_REASON_CR_ACCESS, EXIT_REASON_CR_ACCESS},
    {VMXC_EXIT_REASON_MOV_DR, EXIT_REASON_DR_ACCESS},
    {VMXC_EXIT_REASON_IO_INSTRUCTION, EXIT_REASON_IO_INSTRUCTION},
    {VMXC_EXIT_REASON_RDMSR, EXIT_REASON_MSR_READ},
    {VMXC_EXIT_REASON_WRMSR, EXIT_REASON_MSR_WRITE},
    {VMXC_EXIT_REASON_ENTRY_FAILURE_GUEST_STATE, EXIT_REASON_INVALID_STATE},
    {VMXC_EXIT_REASON_ENTRY_FAILURE_MSR_LOADING, EXIT_REASON_MSR_LOAD_FAIL},
    {VMXC_EXIT_REASON_MWAIT, EXIT_REASON_MWAIT_INSTRUCTION},
    {VMXC_EXIT_REASON_MONITOR_TRAP_FLAG, EXIT_REASON_MONITOR_TRAP_FLAG},
    {VMXC_EXIT_REASON_MONITOR, EXIT_REASON_MONITOR_INSTRUCTION},
    {VMXC_EXIT_REASON_PAUSE, EXIT_REASON_PAUSE_INSTRUCTION},
    {VMXC_EXIT_REASON_TPR_BELOW_THRESHOLD, EXIT_REASON_TPR_BELOW_THRESHOLD},
    {VMXC_EXIT_REASON_APIC_ACCESS, EXIT_REASON_APIC_ACCESS},
    {VMXC_EXIT_REASON_VIRTUALIZED_EOI, EXIT_REASON_EOI_INDUCED},
    {VMXC_EXIT_REASON_GDTR_IDTR_ACCESS, EXIT_REASON_GDTR_IDTR},
    {VMXC_EXIT_REASON_LDTR_TR_ACCESS, EXIT_REASON_LDTR_TR},
    {VMXC_EXIT_REASON_EPT_VIOLATION, EXIT_REASON_EPT_VIOLATION},
    {VMXC_EXIT_REASON_EPT_MISCONFIGURATION, EXIT_REASON_EPT_MISCONFIG},
    {VMXC_EXIT_REASON_INVEPT, EXIT_REASON_INVEPT},
    {VMXC_EXIT_REASON_PREEMPTION_TIMER, EXIT_REASON_PREEMPTION_TIMER},
    {VMXC_EXIT_REASON_INVVPID, EXIT_REASON_INVVPID},
    {VMXC_EXIT_REASON_XSETBV, EXIT_REASON_XSETBV},
    {VMXC_EXIT_REASON_APIC_WRITE, EXIT_REASON_APIC_WRITE},
    {VMXC_EXIT_REASON_RDRAND, EXIT_REASON_RDRAND},
    {VMXC_EXIT_REASON_VMFUNC, EXIT_REASON_VMFUNC},
    {VMXC_EXIT_REASON_RDSEED, EXIT_REASON_RDSEED},
    {VMXC_EXIT_REASON_PAGE_MODIFICATION_LOG_FULL, EXIT_REASON_PML_FULL},
    {VMXC_EXIT_REASON_XSAVES, EXIT_REASON_XSAVES},
    {VMXC_EXIT_REASON_XRSTORS, EXIT_REASON_XRSTORS},
};

START_TEST(names_that_both_have_mean_the_same_number)
{
    ck_assert_uint_eq(pairs[_i].ours, pairs[_i].theirs);
}
END_TEST

START_TEST(the_entry_failure_bit_is_the_same)
{
    ck_assert_uint_eq(VMXC_EXIT_REASON_ENTRY_FAILURE, VMX_EXIT_REASONS_FAILED_VMENTRY);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("asm_vmx");
    TCase *tests = tcase_create("beside Linux");
    SRunner *runner = srunner_create(suite);
    int failed;

    suite_add_tcase(suite, tests);
    tcase_add_loop_test(tests, every_exit_reason_of_linux_is_one_of_ours, 0,
                        (int)(sizeof(linux_reasons) / sizeof(linux_reasons[0])));
    tcase_add_loop_test(tests, names_that_both_have_mean_the_same_number, 0,
                        (int)(sizeof(pairs) / sizeof(pairs[0])));
    tcase_add_test(tests, the_entry_failure_bit_is_the_same);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
