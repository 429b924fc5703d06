/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Entering and leaving VMX operation: each obstacle by name and bits, nothing changed by a failure, and the model's
 * processor in VMX operation afterwards.
 */
#include "vmxcore/percpu.h"

#include <check.h>

#include "support/mock_ops.h"
#include "support/suite.h"
#include "support/test_hal.h"
#include "vmxcore/defs/msr.h"
#include "vmxcore/defs/paging.h"
#include "vmxsim/insn_ops.h"

static struct test_hal *frames;
static struct mock_ops mock;
static struct vmxc_percpu percpu;
static struct vmxc_percpu_obstacle obstacle;

static void setup(void)
{
    frames = test_hal_create(8);
    mock_ops_init(&mock);
    percpu = (struct vmxc_percpu){0};
    obstacle = (struct vmxc_percpu_obstacle){0};
}

static void teardown(void)
{
    test_hal_destroy(frames); /* no frame is left */
}

static enum vmxc_status enable(void)
{
    return vmxc_percpu_enable(&percpu, &mock.ops, &frames->hal, false, &obstacle);
}

/* The call fails like this, and nothing but the lock of IA32_FEATURE_CONTROL has changed. */
static void expect_obstacle(enum vmxc_status status, enum vmxc_percpu_obstacle_kind kind,
                            uint64_t bits)
{
    const uint64_t cr0 = mock.cr0;
    const uint64_t cr4 = mock.cr4;

    ck_assert_int_eq(enable(), status);
    ck_assert_int_eq(obstacle.kind, kind);
    ck_assert_uint_eq(obstacle.bits, bits);
    ck_assert_uint_eq(mock.cr0, cr0);
    ck_assert_uint_eq(mock.cr4, cr4);
    ck_assert_ptr_null(percpu.ops);
    ck_assert_uint_eq(frames->frames_in_use, 0);
}

/* ---- Obstacles ---- */

START_TEST(without_operations_nothing_is_done)
{
    ck_assert_int_eq(vmxc_percpu_enable(&percpu, NULL, &frames->hal, false, &obstacle),
                     VMXC_INVALID_INPUT);
}
END_TEST

START_TEST(a_processor_without_vmx_is_named)
{
    mock.cpuid_1_ecx = ~(1u << 5);
    expect_obstacle(VMXC_UNSUPPORTED, VMXC_PERCPU_NO_VMX, 0);
    ck_assert_uint_eq(mock.calls[MOCK_WRMSR], 0);
}
END_TEST

START_TEST(each_capability_msr_is_needed)
{
    static const uint32_t needed[] = {VMXC_MSR_VMX_BASIC,      VMXC_MSR_FEATURE_CONTROL,
                                      VMXC_MSR_VMX_CR0_FIXED0, VMXC_MSR_VMX_CR0_FIXED1,
                                      VMXC_MSR_VMX_CR4_FIXED0, VMXC_MSR_VMX_CR4_FIXED1};

    for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++) {
        mock_ops_init(&mock);
        mock_remove_msr(&mock, needed[i]);
        expect_obstacle(VMXC_UNSUPPORTED, VMXC_PERCPU_NO_CAPABILITIES, 0);
    }
}
END_TEST

START_TEST(firmware_that_locked_vmx_out_is_named)
{
    mock_set_msr(&mock, VMXC_MSR_FEATURE_CONTROL, VMXC_FEATURE_CONTROL_LOCK);
    expect_obstacle(VMXC_UNSUPPORTED, VMXC_PERCPU_LOCKED_OUT, VMXC_FEATURE_CONTROL_VMX_OUTSIDE_SMX);
    ck_assert_uint_eq(mock.calls[MOCK_WRMSR], 0);
}
END_TEST

START_TEST(vmx_outside_smx_does_not_serve_inside)
{
    mock_set_msr(&mock, VMXC_MSR_FEATURE_CONTROL,
                 VMXC_FEATURE_CONTROL_LOCK | VMXC_FEATURE_CONTROL_VMX_OUTSIDE_SMX);
    ck_assert_int_eq(vmxc_percpu_enable(&percpu, &mock.ops, &frames->hal, true, &obstacle),
                     VMXC_UNSUPPORTED);
    ck_assert_int_eq(obstacle.kind, VMXC_PERCPU_LOCKED_OUT);
    ck_assert_uint_eq(obstacle.bits, VMXC_FEATURE_CONTROL_VMX_IN_SMX);
}
END_TEST

START_TEST(a_refused_lock_is_named)
{
    const uint64_t wanted = VMXC_FEATURE_CONTROL_LOCK | VMXC_FEATURE_CONTROL_VMX_OUTSIDE_SMX;

    mock.result[MOCK_WRMSR] = VMXC_INSN_EXCEPTION;
    expect_obstacle(VMXC_UNSUPPORTED, VMXC_PERCPU_LOCKING_REFUSED, wanted);
    mock_ops_init(&mock);
    mock.wrmsr_ignored = true;
    expect_obstacle(VMXC_UNSUPPORTED, VMXC_PERCPU_LOCKING_REFUSED, wanted);
}
END_TEST

START_TEST(bits_of_cr0_that_are_not_ours_are_named)
{
    mock.cr0 = 0x31; /* no paging */
    expect_obstacle(VMXC_BAD_STATE, VMXC_PERCPU_CR0_MISSING, VMXC_CR0_PG);
    mock_ops_init(&mock);
    mock_set_msr(&mock, VMXC_MSR_VMX_CR0_FIXED1, UINT32_MAX & ~VMXC_CR0_WP);
    expect_obstacle(VMXC_BAD_STATE, VMXC_PERCPU_CR0_EXCESS, VMXC_CR0_WP);
    ck_assert_uint_eq(mock.calls[MOCK_WRMSR], 0);
}
END_TEST

START_TEST(bits_of_cr4_that_are_not_ours_are_named)
{
    mock_set_msr(&mock, VMXC_MSR_VMX_CR4_FIXED0, VMXC_CR4_VMXE | VMXC_CR4_MCE);
    expect_obstacle(VMXC_BAD_STATE, VMXC_PERCPU_CR4_MISSING, VMXC_CR4_MCE);
    mock_ops_init(&mock);
    mock.cr4 |= VMXC_CR4_CET;
    expect_obstacle(VMXC_BAD_STATE, VMXC_PERCPU_CR4_EXCESS, VMXC_CR4_CET);
}
END_TEST

START_TEST(a_region_that_cannot_be_made_is_named)
{
    frames->fail_at = 1;
    expect_obstacle(VMXC_NO_MEMORY, VMXC_PERCPU_REGION, 0);
    ck_assert_uint_eq(mock.calls[MOCK_WRMSR], 0);
}
END_TEST

START_TEST(refused_control_registers_are_put_back)
{
    mock.cr0 &= ~VMXC_CR0_NE;
    mock.result[MOCK_WRITE_CR0] = VMXC_INSN_EXCEPTION;
    expect_obstacle(VMXC_BAD_STATE, VMXC_PERCPU_CONTROL_REGISTER, 0x80010031);
    mock.result[MOCK_WRITE_CR0] = VMXC_INSN_SUCCEEDED;
    mock.result[MOCK_WRITE_CR4] = VMXC_INSN_EXCEPTION;
    expect_obstacle(VMXC_BAD_STATE, VMXC_PERCPU_CONTROL_REGISTER, 0x2020);
    ck_assert_uint_eq(mock.calls[MOCK_VMXON], 0);
}
END_TEST

START_TEST(a_vmxon_that_fails_is_named_and_undone)
{
    mock.cr0 &= ~VMXC_CR0_NE;
    mock.result[MOCK_VMXON] = VMXC_INSN_FAIL_INVALID;
    expect_obstacle(VMXC_BAD_STATE, VMXC_PERCPU_VMXON_FAILED, 0);
    mock.result[MOCK_VMXON] = VMXC_INSN_FAIL_VALID;
    expect_obstacle(VMXC_BAD_STATE, VMXC_PERCPU_VMXON_FAILED, 0);
    mock.result[MOCK_VMXON] = VMXC_INSN_EXCEPTION;
    expect_obstacle(VMXC_BAD_STATE, VMXC_PERCPU_VMXON_REFUSED, 0);
    ck_assert_uint_eq(mock.calls[MOCK_WRITE_CR4], 6);
}
END_TEST

START_TEST(nobody_has_to_ask_for_the_obstacle)
{
    mock.cpuid_1_ecx = 0;
    ck_assert_int_eq(vmxc_percpu_enable(&percpu, &mock.ops, &frames->hal, false, NULL),
                     VMXC_UNSUPPORTED);
}
END_TEST

START_TEST(every_obstacle_has_a_sentence_of_its_own)
{
    for (int a = 0; a <= VMXC_PERCPU_OBSTACLE_COUNT; a++) {
        for (int b = 0; b < a; b++)
            ck_assert_str_ne(vmxc_percpu_obstacle_text((enum vmxc_percpu_obstacle_kind)a),
                             vmxc_percpu_obstacle_text((enum vmxc_percpu_obstacle_kind)b));
    }
}
END_TEST

START_TEST(a_processor_that_is_not_enabled_cannot_be_disabled)
{
    ck_assert_int_eq(vmxc_percpu_disable(&percpu), VMXC_BAD_STATE);
}
END_TEST

/* ---- Feature control ---- */

START_TEST(feature_control_states)
{
    /* Bits 0 to 2, in SMX operation or not. */
    for (uint64_t value = 0; value < 8; value++) {
        for (int smx = 0; smx < 2; smx++) {
            const uint64_t enabled = value & (smx ? 2 : 4);
            const enum vmxc_feature_control_state expected =
                !(value & 1) ? VMXC_FEATURE_CONTROL_UNLOCKED
                : enabled    ? VMXC_FEATURE_CONTROL_USABLE
                             : VMXC_FEATURE_CONTROL_LOCKED_OUT;
            ck_assert_int_eq(vmxc_percpu_feature_control(value, smx), expected);
            ck_assert_int_eq(
                vmxc_percpu_feature_control(vmxc_percpu_feature_control_locked(value, smx), smx),
                VMXC_FEATURE_CONTROL_USABLE);
        }
    }
    ck_assert_uint_eq(vmxc_percpu_feature_control_locked(0x40000, false), 0x40005);
}
END_TEST

/* ---- Success ---- */

START_TEST(only_what_is_needed_is_written)
{
    vmxc_hpa_t region_hpa = 0;

    mock.cr0 &= ~VMXC_CR0_NE;
    ck_assert_int_eq(enable(), VMXC_OK);
    ck_assert_int_eq(obstacle.kind, VMXC_PERCPU_NO_OBSTACLE);
    ck_assert_uint_eq(mock.cr0, 0x80010031);
    ck_assert_uint_eq(mock.cr4, 0x2020);
    ck_assert_uint_eq(mock_msr(&mock, VMXC_MSR_FEATURE_CONTROL), 5);
    ck_assert_int_eq(vmxc_region_hpa(&percpu.vmxon_region, &region_hpa), VMXC_OK);
    ck_assert_uint_eq(mock.operand[MOCK_VMXON], region_hpa);
    ck_assert_uint_eq(percpu.vmx_basic, mock_msr(&mock, VMXC_MSR_VMX_BASIC));

    /* What others have set meanwhile stays. */
    mock.cr4 |= VMXC_CR4_MCE;
    ck_assert_int_eq(vmxc_percpu_disable(&percpu), VMXC_OK);
    ck_assert_uint_eq(mock.cr0, 0x80010011);
    ck_assert_uint_eq(mock.cr4, 0x60);
    ck_assert_int_eq(vmxc_percpu_disable(&percpu), VMXC_BAD_STATE);
    ck_assert_uint_eq(mock.calls[MOCK_VMXOFF], 1);
}
END_TEST

START_TEST(a_processor_that_is_ready_is_left_alone)
{
    mock.cr4 |= VMXC_CR4_VMXE;
    mock_set_msr(&mock, VMXC_MSR_FEATURE_CONTROL, 5);
    ck_assert_int_eq(enable(), VMXC_OK);
    ck_assert_int_eq(vmxc_percpu_disable(&percpu), VMXC_OK);
    ck_assert_uint_eq(mock.calls[MOCK_WRMSR], 0);
    ck_assert_uint_eq(mock.calls[MOCK_WRITE_CR0], 0);
    ck_assert_uint_eq(mock.calls[MOCK_WRITE_CR4], 0);
}
END_TEST

START_TEST(a_vmxoff_that_fails_leaves_everything)
{
    ck_assert_int_eq(enable(), VMXC_OK);
    mock.result[MOCK_VMXOFF] = VMXC_INSN_FAIL_VALID;
    ck_assert_int_eq(vmxc_percpu_disable(&percpu), VMXC_BAD_STATE);
    ck_assert_uint_eq(mock.cr4, 0x2020);
    ck_assert_uint_eq(frames->frames_in_use, 1);
    mock.result[MOCK_VMXOFF] = VMXC_INSN_SUCCEEDED;
    ck_assert_int_eq(vmxc_percpu_disable(&percpu), VMXC_OK);
}
END_TEST

/* ---- Results of the seam ---- */

START_TEST(vm_instruction_errors_as_statuses)
{
    static const struct {
        enum vmxc_vm_error error;
        enum vmxc_status status;
    } cases[] = {
        {VMXC_VM_ERROR_UNSUPPORTED_FIELD, VMXC_UNSUPPORTED},
        {VMXC_VM_ERROR_VMWRITE_READ_ONLY, VMXC_DENIED},
        {VMXC_VM_ERROR_VMCLEAR_ADDRESS, VMXC_INVALID_INPUT},
        {VMXC_VM_ERROR_VMPTRLD_REVISION, VMXC_INVALID_INPUT},
        {VMXC_VM_ERROR_INVALID_INVALIDATION, VMXC_INVALID_INPUT},
        {VMXC_VM_ERROR_VMLAUNCH_NOT_CLEAR, VMXC_BAD_STATE},
        {VMXC_VM_ERROR_ENTRY_CONTROL_FIELDS, VMXC_BAD_STATE},
        {VMXC_VM_ERROR_ENTRY_MOV_SS, VMXC_BAD_STATE},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        *mock_field(&mock, VMXC_VMCS_VM_INSTRUCTION_ERROR) = cases[i].error;
        ck_assert_int_eq(vmxc_insn_status(&mock.ops, VMXC_INSN_FAIL_VALID), cases[i].status);
    }
    ck_assert_int_eq(vmxc_insn_status(&mock.ops, VMXC_INSN_SUCCEEDED), VMXC_OK);
    ck_assert_int_eq(vmxc_insn_status(&mock.ops, VMXC_INSN_VM_EXIT), VMXC_OK);
    ck_assert_int_eq(vmxc_insn_status(&mock.ops, VMXC_INSN_FAIL_INVALID), VMXC_BAD_STATE);
    ck_assert_int_eq(vmxc_insn_status(&mock.ops, VMXC_INSN_EXCEPTION), VMXC_UNSUPPORTED);
    mock.absent_field = VMXC_VMCS_VM_INSTRUCTION_ERROR;
    ck_assert_int_eq(vmxc_insn_status(&mock.ops, VMXC_INSN_FAIL_VALID), VMXC_BAD_STATE);
}
END_TEST

START_TEST(ept_is_invalidated_as_narrowly_as_possible)
{
    const uint64_t eptp = 0x601e;
    const uint64_t all = VMXC_EPT_VPID_CAP_INVEPT | VMXC_EPT_VPID_CAP_INVEPT_ALL;

    ck_assert_int_eq(vmxc_insn_invalidate_ept(&mock.ops, 0, eptp), VMXC_UNSUPPORTED);
    ck_assert_int_eq(vmxc_insn_invalidate_ept(&mock.ops, VMXC_EPT_VPID_CAP_INVEPT_SINGLE, eptp),
                     VMXC_UNSUPPORTED);
    ck_assert_uint_eq(mock.calls[MOCK_INVEPT], 0);
    ck_assert_int_eq(vmxc_insn_invalidate_ept(&mock.ops, all, eptp), VMXC_OK);
    ck_assert_uint_eq(mock.operand[MOCK_INVEPT], VMXC_INVEPT_ALL);
    ck_assert_int_eq(
        vmxc_insn_invalidate_ept(&mock.ops, all | VMXC_EPT_VPID_CAP_INVEPT_SINGLE, eptp), VMXC_OK);
    ck_assert_uint_eq(mock.operand[MOCK_INVEPT], VMXC_INVEPT_SINGLE);
    ck_assert_uint_eq(mock.invept_eptp, eptp);
}
END_TEST

/* ---- On the model ---- */

struct model {
    struct vmxsim_memory *memory;
    struct vmxsim_cpu *cpu;
    struct vmxsim_insn_ops instance;
};

static void model_open(struct model *model, const char *profile)
{
    const struct vmxsim_range ram = {0, UINT64_C(16) << 20};
    const struct vmxsim_memory_config config = {.ram = &ram, .ram_count = 1};

    ck_assert_int_eq(vmxsim_memory_create(&config, &model->memory, NULL), VMXC_OK);
    ck_assert_int_eq(vmxsim_cpu_create(model->memory, vmxsim_profile_builtin(profile), &model->cpu),
                     VMXC_OK);
    vmxsim_insn_ops_init(&model->instance, model->cpu, NULL, NULL);
}

static void model_close(struct model *model)
{
    ck_assert_uint_eq(vmxsim_memory_stats(model->memory).frames_in_use, 0);
    vmxsim_cpu_destroy(model->cpu);
    vmxsim_memory_destroy(model->memory);
}

START_TEST(every_profile_enters_vmx_operation_and_leaves_it)
{
    const char *name = vmxsim_profile_builtin_name((size_t)_i);
    const struct vmxsim_root_state before = {.cr0 = 0x80010011, .cr4 = 0x20, .efer = 0x500};
    struct model model;

    model_open(&model, name);
    vmxsim_cpu_set_root_state(model.cpu, &before);
    ck_assert_int_eq(vmxc_percpu_enable(&percpu, &model.instance.ops,
                                        vmxsim_memory_hal(model.memory), false, &obstacle),
                     VMXC_OK);
    const struct vmxsim_vmx_state state = vmxsim_cpu_vmx_state(model.cpu);
    ck_assert_int_eq(state.mode, VMXSIM_VMX_ROOT);
    ck_assert_uint_eq(state.vmxon_pointer, percpu.vmxon_region.frame.hpa);
    ck_assert_uint_eq(vmxsim_cpu_root_state(model.cpu).cr0, 0x80010031);

    /* Once more: the processor says that it is in VMX operation already. */
    struct vmxc_percpu second = {0};
    ck_assert_int_eq(vmxc_percpu_enable(&second, &model.instance.ops,
                                        vmxsim_memory_hal(model.memory), false, &obstacle),
                     VMXC_BAD_STATE);
    ck_assert_int_eq(obstacle.kind, VMXC_PERCPU_VMXON_FAILED);
    ck_assert_int_eq(model.instance.last.rule, VMXSIM_INSN_VMXON_IN_ROOT);

    ck_assert_int_eq(vmxc_percpu_disable(&percpu), VMXC_OK);
    ck_assert_int_eq(vmxsim_cpu_vmx_state(model.cpu).mode, VMXSIM_VMX_OFF);
    ck_assert_uint_eq(vmxsim_cpu_root_state(model.cpu).cr0, before.cr0);
    ck_assert_uint_eq(vmxsim_cpu_root_state(model.cpu).cr4, before.cr4);
    model_close(&model);
}
END_TEST

static Suite *percpu_suite(void)
{
    Suite *suite = suite_create("percpu");
    TCase *obstacles = tcase_create("obstacles");
    TCase *enabled = tcase_create("enabled");
    TCase *model = tcase_create("model");

    tcase_add_checked_fixture(obstacles, setup, teardown);
    tcase_add_test(obstacles, without_operations_nothing_is_done);
    tcase_add_test(obstacles, a_processor_without_vmx_is_named);
    tcase_add_test(obstacles, each_capability_msr_is_needed);
    tcase_add_test(obstacles, firmware_that_locked_vmx_out_is_named);
    tcase_add_test(obstacles, vmx_outside_smx_does_not_serve_inside);
    tcase_add_test(obstacles, a_refused_lock_is_named);
    tcase_add_test(obstacles, bits_of_cr0_that_are_not_ours_are_named);
    tcase_add_test(obstacles, bits_of_cr4_that_are_not_ours_are_named);
    tcase_add_test(obstacles, a_region_that_cannot_be_made_is_named);
    tcase_add_test(obstacles, refused_control_registers_are_put_back);
    tcase_add_test(obstacles, a_vmxon_that_fails_is_named_and_undone);
    tcase_add_test(obstacles, nobody_has_to_ask_for_the_obstacle);
    tcase_add_test(obstacles, every_obstacle_has_a_sentence_of_its_own);
    tcase_add_test(obstacles, a_processor_that_is_not_enabled_cannot_be_disabled);
    suite_add_tcase(suite, obstacles);

    tcase_add_checked_fixture(enabled, setup, teardown);
    tcase_add_test(enabled, feature_control_states);
    tcase_add_test(enabled, only_what_is_needed_is_written);
    tcase_add_test(enabled, a_processor_that_is_ready_is_left_alone);
    tcase_add_test(enabled, a_vmxoff_that_fails_leaves_everything);
    tcase_add_test(enabled, vm_instruction_errors_as_statuses);
    tcase_add_test(enabled, ept_is_invalidated_as_narrowly_as_possible);
    suite_add_tcase(suite, enabled);

    tcase_add_checked_fixture(model, setup, teardown);
    tcase_add_loop_test(model, every_profile_enters_vmx_operation_and_leaves_it, 0, 4);
    suite_add_tcase(suite, model);
    return suite;
}

int main(void)
{
    return run_suite(percpu_suite());
}
