/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The VMCS set-up, judged by the model: for each profile and each guest mode, what it writes breaks no VM-entry rule,
 * and VMLAUNCH enters. Where a processor lacks something, the status names the bit.
 */
#include "vmxcore/vmcs_setup.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/mock_ops.h"
#include "support/suite.h"
#include "support/test_hal.h"
#include "vmxcore/addrspace.h"
#include "vmxcore/defs/controls.h"
#include "vmxcore/defs/exit_reason.h"
#include "vmxcore/defs/msr.h"
#include "vmxcore/defs/paging.h"
#include "vmxcore/percpu.h"
#include "vmxsim/insn_ops.h"

/* ---- On a processor that only remembers ---- */

static struct mock_ops mock;
static struct vmxc_vmcs_controls controls;
static struct vmxc_vmcs_missing missing;
static struct vmxc_vmcs_setup plan;

static void mock_setup(void)
{
    mock_ops_init(&mock);
    memset(mock.field, 0xa5, sizeof(mock.field));
    missing = (struct vmxc_vmcs_missing){0};
    plan = (struct vmxc_vmcs_setup){
        .guest = {.mode = VMXC_GUEST_LONG_64, .rip = 0x400000, .rsp = 0x8000, .cr3 = 0x1000}};
}

static enum vmxc_status set_up(void)
{
    return vmxc_vmcs_setup(&mock.ops, &plan, &controls, &missing);
}

static void expect_missing(enum vmxc_status status, uint32_t field, uint64_t bits)
{
    const struct vmxc_vmcs_controls before = controls;

    ck_assert_int_eq(set_up(), status);
    ck_assert_uint_eq(missing.field, field);
    ck_assert_uint_eq(missing.bits, bits);
    ck_assert_mem_eq(&controls, &before, sizeof(controls));
}

/* Takes bits away from the allowed-1 settings of both MSRs of a word. */
static void forbid(uint32_t msr, uint32_t true_msr, uint64_t bits)
{
    mock_set_msr(&mock, msr, mock_msr(&mock, msr) & ~(bits << 32));
    if (true_msr != 0)
        mock_set_msr(&mock, true_msr, mock_msr(&mock, true_msr) & ~(bits << 32));
}

START_TEST(a_missing_secondary_control_is_named)
{
    plan.guest = (struct vmxc_guest_start){.mode = VMXC_GUEST_REAL, .rip = 0x100};
    forbid(VMXC_MSR_VMX_PROCBASED_CTLS2, 0, VMXC_SECONDARY_UNRESTRICTED_GUEST);
    expect_missing(VMXC_UNSUPPORTED, VMXC_VMCS_SECONDARY_PROCESSOR_BASED_CONTROLS,
                   VMXC_SECONDARY_UNRESTRICTED_GUEST);
}
END_TEST

START_TEST(without_secondary_controls_what_they_should_hold_is_named)
{
    plan.eptp = 0x601e;
    plan.request[VMXC_CONTROL_WORD_SECONDARY].wanted = VMXC_SECONDARY_ENABLE_RDTSCP;
    forbid(VMXC_MSR_VMX_PROCBASED_CTLS, VMXC_MSR_VMX_TRUE_PROCBASED_CTLS,
           VMXC_PRIMARY_ACTIVATE_SECONDARY_CONTROLS);
    expect_missing(VMXC_UNSUPPORTED, VMXC_VMCS_SECONDARY_PROCESSOR_BASED_CONTROLS,
                   VMXC_SECONDARY_ENABLE_EPT);

    /* What was only wanted is left out, and the field that may not exist is not written. */
    mock_ops_init(&mock);
    plan.eptp = 0;
    forbid(VMXC_MSR_VMX_PROCBASED_CTLS, VMXC_MSR_VMX_TRUE_PROCBASED_CTLS,
           VMXC_PRIMARY_ACTIVATE_SECONDARY_CONTROLS);
    mock.absent_field = VMXC_VMCS_SECONDARY_PROCESSOR_BASED_CONTROLS;
    ck_assert_int_eq(set_up(), VMXC_OK);
    ck_assert_uint_eq(controls.word[VMXC_CONTROL_WORD_SECONDARY], 0);
}
END_TEST

START_TEST(a_missing_entry_control_is_named)
{
    forbid(VMXC_MSR_VMX_ENTRY_CTLS, VMXC_MSR_VMX_TRUE_ENTRY_CTLS, VMXC_ENTRY_IA32E_MODE_GUEST);
    expect_missing(VMXC_UNSUPPORTED, VMXC_VMCS_VM_ENTRY_CONTROLS, VMXC_ENTRY_IA32E_MODE_GUEST);
}
END_TEST

START_TEST(each_member_asks_for_its_control)
{
    struct vmxc_caps_control_request request[VMXC_CONTROL_WORD_COUNT];
    const struct vmxc_io_bitmap io = {{0}, {0}};
    const struct vmxc_msr_bitmap msr = {{0}};

    plan.guest.mode = VMXC_GUEST_PAGED_32;
    plan.request[VMXC_CONTROL_WORD_PIN].required = VMXC_PIN_NMI_EXITING;
    vmxc_vmcs_setup_request(&mock.ops, &plan, request);
    ck_assert_uint_eq(request[VMXC_CONTROL_WORD_PIN].required, VMXC_PIN_NMI_EXITING);
    ck_assert_uint_eq(request[VMXC_CONTROL_WORD_PRIMARY].required, 0);
    ck_assert_uint_eq(request[VMXC_CONTROL_WORD_SECONDARY].required, 0);
    ck_assert_uint_eq(request[VMXC_CONTROL_WORD_ENTRY].required, 0);
    ck_assert_uint_eq(request[VMXC_CONTROL_WORD_EXIT].required, VMXC_EXIT_HOST_ADDRESS_SPACE_SIZE);

    plan.io_bitmap = &io;
    plan.msr_bitmap = &msr;
    plan.eptp = 0x601e;
    plan.vpid = 1;
    mock_set_msr(&mock, VMXC_MSR_EFER, 0);
    vmxc_vmcs_setup_request(&mock.ops, &plan, request);
    ck_assert_uint_eq(request[VMXC_CONTROL_WORD_PRIMARY].required,
                      VMXC_PRIMARY_USE_IO_BITMAPS | VMXC_PRIMARY_USE_MSR_BITMAPS);
    ck_assert_uint_eq(request[VMXC_CONTROL_WORD_SECONDARY].required,
                      VMXC_SECONDARY_ENABLE_EPT | VMXC_SECONDARY_ENABLE_VPID);
    ck_assert_uint_eq(request[VMXC_CONTROL_WORD_EXIT].required, 0);
}
END_TEST

/* Modes that need EPT, and a request for it: without a pointer the VM entry would fail. */
START_TEST(ept_without_a_pointer_is_refused)
{
    plan.guest = (struct vmxc_guest_start){.mode = (enum vmxc_guest_mode)_i, .rip = 0x100};
    if (_i == VMXC_GUEST_PAGED_32)
        plan.request[VMXC_CONTROL_WORD_SECONDARY].required = VMXC_SECONDARY_ENABLE_EPT;
    expect_missing(VMXC_INVALID_INPUT, VMXC_VMCS_EPT_POINTER, VMXC_EPTP_ADDRESS);
}
END_TEST

START_TEST(bitmaps_that_are_not_initialized_are_refused)
{
    const struct vmxc_io_bitmap io = {{0}, {0}};
    const struct vmxc_msr_bitmap msr = {{0}};

    plan.io_bitmap = &io;
    ck_assert_int_eq(set_up(), VMXC_BAD_STATE);
    plan.io_bitmap = NULL;
    plan.msr_bitmap = &msr;
    ck_assert_int_eq(set_up(), VMXC_BAD_STATE);
}
END_TEST

START_TEST(capability_msrs_that_cannot_be_read)
{
    mock_remove_msr(&mock, VMXC_MSR_VMX_TRUE_ENTRY_CTLS);
    expect_missing(VMXC_UNSUPPORTED, VMXC_VMCS_VM_ENTRY_CONTROLS, VMXC_ENTRY_IA32E_MODE_GUEST);
    mock_remove_msr(&mock, VMXC_MSR_VMX_BASIC);
    ck_assert_int_eq(set_up(), VMXC_UNSUPPORTED);
}
END_TEST

START_TEST(a_contradictory_capability_is_refused)
{
    /* Bit 1 must be 1 and may not be. */
    mock_set_msr(&mock, VMXC_MSR_VMX_TRUE_PINBASED_CTLS, 0x16);
    ck_assert_int_eq(set_up(), VMXC_INVALID_INPUT);
    ck_assert_uint_eq(missing.field, 0);
}
END_TEST

START_TEST(host_selectors_with_rpl_or_ti_are_named)
{
    mock.segments.fs = 0x2b;
    expect_missing(VMXC_INVALID_INPUT, VMXC_VMCS_HOST_FS_SELECTOR, 3);
    mock.segments.fs = 0;
    mock.segments.tr = 0x44;
    expect_missing(VMXC_INVALID_INPUT, VMXC_VMCS_HOST_TR_SELECTOR, 4);
}
END_TEST

START_TEST(starts_that_contradict_the_mode_are_named)
{
    static const struct {
        struct vmxc_guest_start start;
        uint32_t field;
        uint64_t bits;
    } cases[] = {
        {{.mode = VMXC_GUEST_REAL, .rip = 0x10000}, VMXC_VMCS_GUEST_RIP, 0x10000},
        {{.mode = VMXC_GUEST_PROTECTED, .rip = 0x300000000}, VMXC_VMCS_GUEST_RIP, 0x300000000},
        {{.mode = VMXC_GUEST_PAGED_32, .rip = 0x100000000}, VMXC_VMCS_GUEST_RIP, 0x100000000},
        {{.mode = VMXC_GUEST_LONG_64, .rip = 0x800000000000},
         VMXC_VMCS_GUEST_RIP,
         0xffff000000000000},
        {{.mode = VMXC_GUEST_LONG_64, .rip = 0x7fff800000000000},
         VMXC_VMCS_GUEST_RIP,
         0x8000000000000000},
        {{.mode = VMXC_GUEST_LONG_64, .cr3 = 0x10000001000}, VMXC_VMCS_GUEST_CR3, 0x10000000000},
        {{.mode = VMXC_GUEST_PAGED_32, .cr3 = 0x1008}, VMXC_VMCS_GUEST_CR3, 8},
        {{.mode = VMXC_GUEST_MODE_COUNT}, VMXC_VMCS_GUEST_CR0, 0},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        plan.guest = cases[i].start;
        plan.eptp = 0x601e;
        expect_missing(VMXC_INVALID_INPUT, cases[i].field, cases[i].bits);
    }
    plan.guest = (struct vmxc_guest_start){.mode = VMXC_GUEST_LONG_64, .rip = 0xffff800000000000};
    ck_assert_int_eq(set_up(), VMXC_OK);
    mock.cpuid_widths = 40;
    expect_missing(VMXC_UNSUPPORTED, VMXC_VMCS_GUEST_RIP, 0);
}
END_TEST

START_TEST(bits_of_cr0_and_cr4_that_the_processor_lacks_are_named)
{
    mock_set_msr(&mock, VMXC_MSR_VMX_CR4_FIXED1, VMXC_CR4_VMXE);
    expect_missing(VMXC_UNSUPPORTED, VMXC_VMCS_GUEST_CR4, VMXC_CR4_PAE);
    mock_set_msr(&mock, VMXC_MSR_VMX_CR0_FIXED1, 0x80000031);
    expect_missing(VMXC_UNSUPPORTED, VMXC_VMCS_GUEST_CR0, VMXC_CR0_WP);
}
END_TEST

START_TEST(the_guest_does_not_see_the_hosts_bits)
{
    plan.guest = (struct vmxc_guest_start){.mode = VMXC_GUEST_REAL, .real_segment = 0x1234};
    plan.eptp = 0x601e;
    ck_assert_int_eq(set_up(), VMXC_OK);
    ck_assert_uint_eq(*mock_field(&mock, VMXC_VMCS_GUEST_CR0), VMXC_CR0_NE | VMXC_CR0_ET);
    ck_assert_uint_eq(*mock_field(&mock, VMXC_VMCS_CR0_READ_SHADOW), VMXC_CR0_ET);
    ck_assert_uint_eq(*mock_field(&mock, VMXC_VMCS_CR0_GUEST_HOST_MASK), VMXC_CR0_NE);
    ck_assert_uint_eq(*mock_field(&mock, VMXC_VMCS_GUEST_CR4), VMXC_CR4_VMXE);
    ck_assert_uint_eq(*mock_field(&mock, VMXC_VMCS_CR4_READ_SHADOW), 0);
    ck_assert_uint_eq(*mock_field(&mock, VMXC_VMCS_CR4_GUEST_HOST_MASK), VMXC_CR4_VMXE);
    ck_assert_uint_eq(*mock_field(&mock, VMXC_VMCS_GUEST_CS_BASE), 0x12340);
    ck_assert_uint_eq(*mock_field(&mock, VMXC_VMCS_GUEST_GS_SELECTOR), 0x1234);

    /* A guest that must page does not own PE and PG either. */
    plan.guest = (struct vmxc_guest_start){.mode = VMXC_GUEST_PAGED_32};
    ck_assert_int_eq(set_up(), VMXC_OK);
    ck_assert_uint_eq(*mock_field(&mock, VMXC_VMCS_CR0_GUEST_HOST_MASK),
                      VMXC_CR0_PE | VMXC_CR0_NE | VMXC_CR0_PG);
}
END_TEST

START_TEST(a_field_that_cannot_be_written_stops_the_setup)
{
    static const uint32_t fields[] = {
        VMXC_VMCS_PIN_BASED_CONTROLS,
        VMXC_VMCS_CR3_TARGET_COUNT,
        VMXC_VMCS_EXCEPTION_BITMAP,
        VMXC_VMCS_HOST_SS_SELECTOR,
        VMXC_VMCS_HOST_CR3,
        VMXC_VMCS_HOST_FS_BASE,
        VMXC_VMCS_HOST_IA32_PAT,
        VMXC_VMCS_GUEST_CR0,
        VMXC_VMCS_GUEST_CR4,
        VMXC_VMCS_GUEST_CR3,
        VMXC_VMCS_GUEST_TR_ACCESS_RIGHTS,
        VMXC_VMCS_GUEST_DR7,
        VMXC_VMCS_GUEST_IA32_EFER,
        VMXC_VMCS_GUEST_RIP,
        VMXC_VMCS_GUEST_RSP,
        VMXC_VMCS_EPT_POINTER,
        VMXC_VMCS_VPID,
        VMXC_VMCS_XSS_EXITING_BITMAP,
    };

    plan.eptp = 0x601e;
    plan.vpid = 1;
    plan.request[VMXC_CONTROL_WORD_SECONDARY].required = VMXC_SECONDARY_ENABLE_XSAVES_XRSTORS;
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        mock.absent_field = fields[i];
        ck_assert_msg(set_up() == VMXC_UNSUPPORTED, "field 0x%x", fields[i]);
    }
    mock.absent_field = MOCK_NO_FIELD;
    ck_assert_int_eq(set_up(), VMXC_OK);
    ck_assert_uint_eq(*mock_field(&mock, VMXC_VMCS_XSS_EXITING_BITMAP), 0);
}
END_TEST

START_TEST(loading_a_region)
{
    struct test_hal *const frames = test_hal_create(8);
    struct vmxc_region region = {{0}};

    ck_assert_int_eq(vmxc_vmcs_load(&mock.ops, &region), VMXC_BAD_STATE);
    ck_assert_int_eq(vmxc_region_init(&region, &frames->hal, 4, VMXC_REGION_ORDINARY), VMXC_OK);
    mock.result[MOCK_VMCLEAR] = VMXC_INSN_EXCEPTION;
    ck_assert_int_eq(vmxc_vmcs_load(&mock.ops, &region), VMXC_UNSUPPORTED);
    ck_assert_uint_eq(mock.calls[MOCK_VMPTRLD], 0);
    mock.result[MOCK_VMCLEAR] = VMXC_INSN_SUCCEEDED;
    mock.result[MOCK_VMPTRLD] = VMXC_INSN_FAIL_INVALID;
    ck_assert_int_eq(vmxc_vmcs_load(&mock.ops, &region), VMXC_BAD_STATE);
    mock.result[MOCK_VMPTRLD] = VMXC_INSN_SUCCEEDED;
    ck_assert_int_eq(vmxc_vmcs_load(&mock.ops, &region), VMXC_OK);
    ck_assert_uint_eq(mock.operand[MOCK_VMCLEAR], region.frame.hpa);
    ck_assert_uint_eq(mock.operand[MOCK_VMPTRLD], region.frame.hpa);
    vmxc_region_fini(&region);
    test_hal_destroy(frames); /* no frame is left */
}
END_TEST

START_TEST(missing_bits_as_text)
{
    static const struct {
        struct vmxc_vmcs_missing missing;
        const char *text;
    } cases[] = {
        {{VMXC_VMCS_SECONDARY_PROCESSOR_BASED_CONTROLS, 0x82},
         "SECONDARY_PROCESSOR_BASED_CONTROLS: 0x82 (Enable EPT, Unrestricted guest)"},
        {{VMXC_VMCS_GUEST_CR4, 0x20}, "GUEST_CR4: 0x20"},
        {{0x7777, 0}, "?: 0x0"},
    };
    char text[128];

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        ck_assert_uint_eq(vmxc_vmcs_missing_format(&cases[i].missing, text, sizeof(text)),
                          strlen(cases[i].text));
        ck_assert_str_eq(text, cases[i].text);
    }
}
END_TEST

/* ---- On the model ---- */

static struct vmxsim_memory *memory;
static struct vmxsim_cpu *cpu;
static struct vmxsim_insn_ops instance;
static struct vmxsim_entry_report report;
static unsigned entries;

/* A guest that exits at once. */
static enum vmxc_status run_guest(void *context, struct vmxsim_cpu *processor,
                                  struct vmxc_gprs *gprs)
{
    struct vmxsim_insn_result result;

    (void)context;
    (void)gprs;
    entries++;
    return vmxsim_insn_vmcall(processor, &result);
}

static void print_report(const struct vmxsim_entry_report *broken)
{
    for (uint32_t i = 0; i < broken->violation_count; i++)
        printf("  broken: %s\n", vmxsim_entry_rule_info(broken->violation[i].rule)->id);
    for (uint32_t i = 0; i < broken->undecided_count; i++)
        printf("  undecided: %s\n", vmxsim_entry_rule_info(broken->undecided[i].rule)->id);
}

static void model_open(const char *profile)
{
    const struct vmxsim_range ram = {0, UINT64_C(64) << 20};
    const struct vmxsim_memory_config config = {.ram = &ram, .ram_count = 1};

    ck_assert_int_eq(vmxsim_memory_create(&config, &memory, NULL), VMXC_OK);
    ck_assert_int_eq(vmxsim_cpu_create(memory, vmxsim_profile_builtin(profile), &cpu), VMXC_OK);
    vmxsim_insn_ops_init(&instance, cpu, run_guest, NULL);
    instance.report = &report;
    entries = 0;
}

static void model_close(void)
{
    ck_assert_uint_eq(vmxsim_memory_stats(memory).frames_in_use, 0);
    vmxsim_cpu_destroy(cpu);
    vmxsim_memory_destroy(memory);
}

static uint64_t msr(uint32_t index)
{
    uint64_t value = 0;

    ck_assert_int_eq(vmxc_insn_read_msr(&instance.ops, index, &value), VMXC_OK);
    return value;
}

static void open_space(struct vmxc_addrspace *space)
{
    const struct vmxc_caps_ept_request request = {.maxphyaddr = 40, .levels = 4};
    struct vmxc_ept_config config;

    ck_assert_int_eq(vmxc_caps_ept_config(msr(VMXC_MSR_VMX_EPT_VPID_CAP),
                                          (uint32_t)(msr(VMXC_MSR_VMX_PROCBASED_CTLS2) >> 32),
                                          &request, &config),
                     VMXC_OK);
    ck_assert_int_eq(
        vmxc_addrspace_init(space, vmxsim_memory_hal(memory), &config, 0, UINT64_C(1) << 30),
        VMXC_OK);
}

/* Every control that needs no field but those the set-up writes. */
static void want_everything(struct vmxc_vmcs_setup *setup)
{
    setup->request[VMXC_CONTROL_WORD_PIN].wanted = VMXC_PIN_EXTERNAL_INTERRUPT_EXITING |
                                                   VMXC_PIN_NMI_EXITING | VMXC_PIN_VIRTUAL_NMIS |
                                                   VMXC_PIN_ACTIVATE_PREEMPTION_TIMER;
    setup->request[VMXC_CONTROL_WORD_PRIMARY].wanted =
        VMXC_PRIMARY_HLT_EXITING | VMXC_PRIMARY_USE_TSC_OFFSETTING | VMXC_PRIMARY_MOV_DR_EXITING |
        VMXC_PRIMARY_INTERRUPT_WINDOW_EXITING;
    setup->request[VMXC_CONTROL_WORD_SECONDARY].wanted =
        VMXC_SECONDARY_ENABLE_RDTSCP | VMXC_SECONDARY_ENABLE_INVPCID |
        VMXC_SECONDARY_ENABLE_XSAVES_XRSTORS | VMXC_SECONDARY_USE_TSC_SCALING |
        VMXC_SECONDARY_WBINVD_EXITING | VMXC_SECONDARY_MODE_BASED_EXECUTE_CONTROL |
        VMXC_SECONDARY_ENABLE_VM_FUNCTIONS | VMXC_SECONDARY_ENABLE_PCONFIG |
        VMXC_SECONDARY_ENABLE_ENCLS_EXITING | VMXC_SECONDARY_ENABLE_ENCLV_EXITING;
    setup->request[VMXC_CONTROL_WORD_EXIT].wanted =
        VMXC_EXIT_LOAD_PERF_GLOBAL_CTRL | VMXC_EXIT_SAVE_PREEMPTION_TIMER |
        VMXC_EXIT_ACKNOWLEDGE_INTERRUPT | VMXC_EXIT_CLEAR_BNDCFGS | VMXC_EXIT_LOAD_PKRS;
    setup->request[VMXC_CONTROL_WORD_ENTRY].wanted =
        VMXC_ENTRY_LOAD_PERF_GLOBAL_CTRL | VMXC_ENTRY_LOAD_BNDCFGS | VMXC_ENTRY_LOAD_PKRS |
        VMXC_ENTRY_LOAD_DEBUG_CONTROLS;
}

/* The set-up on the current VMCS, then the entry; the model finds nothing to say against it. */
static void launch(const struct vmxc_vmcs_setup *setup)
{
    struct vmxc_gprs gprs = {{0}};
    char text[128] = "";
    uint64_t reason = 0;

    const enum vmxc_status status = vmxc_vmcs_setup(&instance.ops, setup, &controls, &missing);
    vmxc_vmcs_missing_format(&missing, text, sizeof(text));
    ck_assert_msg(status == VMXC_OK, "status %d, %s", status, text);
    const enum vmxc_insn_result result = instance.ops.vmlaunch(instance.ops.context, &gprs);
    print_report(&report);
    ck_assert_uint_eq(report.violation_count, 0);
    ck_assert_uint_eq(report.undecided_count, 0);
    ck_assert_int_eq(result, VMXC_INSN_VM_EXIT);
    ck_assert_uint_eq(entries, 1);
    ck_assert_int_eq(vmxc_insn_read(&instance.ops, VMXC_VMCS_EXIT_REASON, &reason), VMXC_OK);
    ck_assert_uint_eq(reason, VMXC_EXIT_REASON_VMCALL);
}

static struct vmxc_guest_start start_in(enum vmxc_guest_mode mode)
{
    return (struct vmxc_guest_start){
        .mode = mode, .rip = 0x7c00, .rsp = 0x7000, .cr3 = 0x1000, .real_segment = 0x50};
}

/* Profiles x modes x (bare, everything). */
enum { PROFILES = 4, WISHES = 2, CASES = PROFILES * VMXC_GUEST_MODE_COUNT * WISHES };

START_TEST(what_is_set_up_enters)
{
    const bool bare = _i % WISHES == 0;
    const enum vmxc_guest_mode mode = (enum vmxc_guest_mode)(_i / WISHES % VMXC_GUEST_MODE_COUNT);
    const char *profile =
        vmxsim_profile_builtin_name((size_t)(_i / WISHES / VMXC_GUEST_MODE_COUNT));
    const struct vmxc_hal *hal;
    struct vmxc_percpu percpu = {0};
    struct vmxc_region region;
    struct vmxc_addrspace space;
    struct vmxc_io_bitmap io;
    struct vmxc_msr_bitmap msrs;

    model_open(profile);
    hal = vmxsim_memory_hal(memory);
    ck_assert_int_eq(vmxc_percpu_enable(&percpu, &instance.ops, hal, false, NULL), VMXC_OK);
    ck_assert_int_eq(vmxc_region_init_for(&region, hal, percpu.vmx_basic, VMXC_REGION_ORDINARY),
                     VMXC_OK);
    ck_assert_int_eq(vmxc_vmcs_load(&instance.ops, &region), VMXC_OK);
    open_space(&space);
    ck_assert_int_eq(vmxc_io_bitmap_init(&io, hal, VMXC_INTERCEPT), VMXC_OK);
    ck_assert_int_eq(vmxc_msr_bitmap_init(&msrs, hal, VMXC_INTERCEPT), VMXC_OK);

    struct vmxc_vmcs_setup setup = {.guest = start_in(mode)};
    if (!bare) {
        setup.vpid = 1;
        setup.io_bitmap = &io;
        setup.msr_bitmap = &msrs;
        setup.exception_bitmap = 1u << VMXC_VECTOR_UD;
        want_everything(&setup);
    }
    if (!bare || mode == VMXC_GUEST_REAL || mode == VMXC_GUEST_PROTECTED)
        setup.eptp = vmxc_addrspace_eptp(&space);
    launch(&setup);

    ck_assert_int_eq(instance.ops.vmclear(instance.ops.context, region.frame.hpa),
                     VMXC_INSN_SUCCEEDED);
    vmxc_msr_bitmap_fini(&msrs);
    vmxc_io_bitmap_fini(&io);
    vmxc_addrspace_fini(&space);
    vmxc_region_fini(&region);
    ck_assert_int_eq(vmxc_percpu_disable(&percpu), VMXC_OK);
    model_close();
}
END_TEST

/* A zeroed region hides what the set-up forgets: fields full of other values do not. */
START_TEST(nothing_is_left_to_what_the_region_held)
{
    struct vmxc_percpu percpu = {0};
    struct vmxc_region region;
    struct vmxc_addrspace space;
    uint64_t ignored;

    model_open("icelake");
    const struct vmxc_hal *hal = vmxsim_memory_hal(memory);
    ck_assert_int_eq(vmxc_percpu_enable(&percpu, &instance.ops, hal, false, NULL), VMXC_OK);
    ck_assert_int_eq(vmxc_region_init_for(&region, hal, percpu.vmx_basic, VMXC_REGION_ORDINARY),
                     VMXC_OK);
    ck_assert_int_eq(vmxc_vmcs_load(&instance.ops, &region), VMXC_OK);
    open_space(&space);
    for (size_t i = 0; i < VMXC_VMCS_FIELD_COUNT; i++) {
        const uint32_t encoding = vmxsim_vmcs_encoding(i);
        if (instance.ops.vmread(instance.ops.context, encoding, &ignored) == VMXC_INSN_SUCCEEDED)
            (void)instance.ops.vmwrite(instance.ops.context, encoding, UINT64_MAX);
    }
    struct vmxc_vmcs_setup setup = {.guest = start_in((enum vmxc_guest_mode)_i),
                                    .eptp = vmxc_addrspace_eptp(&space),
                                    .vpid = 1};
    want_everything(&setup);
    launch(&setup);

    ck_assert_int_eq(instance.ops.vmclear(instance.ops.context, region.frame.hpa),
                     VMXC_INSN_SUCCEEDED);
    vmxc_addrspace_fini(&space);
    vmxc_region_fini(&region);
    ck_assert_int_eq(vmxc_percpu_disable(&percpu), VMXC_OK);
    model_close();
}
END_TEST

static Suite *vmcs_setup_suite(void)
{
    Suite *suite = suite_create("vmcs_setup");
    TCase *refused = tcase_create("refused");
    TCase *model = tcase_create("model");

    tcase_add_checked_fixture(refused, mock_setup, NULL);
    tcase_add_test(refused, a_missing_secondary_control_is_named);
    tcase_add_loop_test(refused, ept_without_a_pointer_is_refused, VMXC_GUEST_REAL,
                        VMXC_GUEST_PAGED_32 + 1);
    tcase_add_test(refused, without_secondary_controls_what_they_should_hold_is_named);
    tcase_add_test(refused, a_missing_entry_control_is_named);
    tcase_add_test(refused, each_member_asks_for_its_control);
    tcase_add_test(refused, bitmaps_that_are_not_initialized_are_refused);
    tcase_add_test(refused, capability_msrs_that_cannot_be_read);
    tcase_add_test(refused, a_contradictory_capability_is_refused);
    tcase_add_test(refused, host_selectors_with_rpl_or_ti_are_named);
    tcase_add_test(refused, starts_that_contradict_the_mode_are_named);
    tcase_add_test(refused, bits_of_cr0_and_cr4_that_the_processor_lacks_are_named);
    tcase_add_test(refused, the_guest_does_not_see_the_hosts_bits);
    tcase_add_test(refused, a_field_that_cannot_be_written_stops_the_setup);
    tcase_add_test(refused, loading_a_region);
    tcase_add_test(refused, missing_bits_as_text);
    suite_add_tcase(suite, refused);

    tcase_add_loop_test(model, what_is_set_up_enters, 0, CASES);
    tcase_add_loop_test(model, nothing_is_left_to_what_the_region_held, 0, VMXC_GUEST_MODE_COUNT);
    suite_add_tcase(suite, model);
    return suite;
}

int main(void)
{
    return run_suite(vmcs_setup_suite());
}
