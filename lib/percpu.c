/* SPDX-License-Identifier: Apache-2.0 */
#include "vmxcore/percpu.h"

#include "vmxcore/caps.h"
#include "vmxcore/defs/msr.h"
#include "vmxcore/defs/paging.h"

#define CPUID_FEATURES 1u
#define CPUID_ECX      2u
#define CPUID_ECX_VMX  VMXC_BIT(5)

/* Everything that is read before anything is changed. */
struct plan {
    uint64_t vmx_basic, feature_control;
    uint64_t cr0, cr4;         /* now */
    uint64_t new_cr0, new_cr4; /* in VMX operation */
};

/* ---- Feature control ---- */

static uint64_t vmxon_bits(bool in_smx)
{
    return VMXC_FEATURE_CONTROL_LOCK |
           (in_smx ? VMXC_FEATURE_CONTROL_VMX_IN_SMX : VMXC_FEATURE_CONTROL_VMX_OUTSIDE_SMX);
}

enum vmxc_feature_control_state vmxc_percpu_feature_control(uint64_t feature_control, bool in_smx)
{
    if (!(feature_control & VMXC_FEATURE_CONTROL_LOCK))
        return VMXC_FEATURE_CONTROL_UNLOCKED;
    return vmxc_caps_allows_vmxon(feature_control, in_smx) ? VMXC_FEATURE_CONTROL_USABLE
                                                           : VMXC_FEATURE_CONTROL_LOCKED_OUT;
}

uint64_t vmxc_percpu_feature_control_locked(uint64_t feature_control, bool in_smx)
{
    return feature_control | vmxon_bits(in_smx);
}

/* ---- Obstacles ---- */

const char *vmxc_percpu_obstacle_text(enum vmxc_percpu_obstacle_kind kind)
{
    static const char *const texts[VMXC_PERCPU_OBSTACLE_COUNT] = {
        [VMXC_PERCPU_NO_OBSTACLE] = "nothing stands against VMX operation",
        [VMXC_PERCPU_NO_VMX] = "the processor does not offer VMX (CPUID.01H:ECX.VMX is 0)",
        [VMXC_PERCPU_NO_CAPABILITIES] = "a VMX capability MSR cannot be read",
        [VMXC_PERCPU_LOCKED_OUT] = "the firmware has locked IA32_FEATURE_CONTROL without VMX",
        [VMXC_PERCPU_LOCKING_REFUSED] = "IA32_FEATURE_CONTROL does not take the bits for VMX",
        [VMXC_PERCPU_CR0_MISSING] = "VMX operation needs bits of CR0 that are 0",
        [VMXC_PERCPU_CR0_EXCESS] = "VMX operation forbids bits of CR0 that are 1",
        [VMXC_PERCPU_CR4_MISSING] = "VMX operation needs bits of CR4 that are 0",
        [VMXC_PERCPU_CR4_EXCESS] = "VMX operation forbids bits of CR4 that are 1",
        [VMXC_PERCPU_REGION] = "no VMXON region could be made",
        [VMXC_PERCPU_CONTROL_REGISTER] = "CR0 or CR4 does not take the value for VMX operation",
        [VMXC_PERCPU_VMXON_FAILED] = "VMXON failed: the processor is in VMX operation already",
        [VMXC_PERCPU_VMXON_REFUSED] = "VMXON raised an exception",
    };

    return (unsigned)kind < VMXC_PERCPU_OBSTACLE_COUNT ? texts[kind] : "unknown obstacle";
}

/* Writes down the obstacle and returns `status`. */
static enum vmxc_status stop(struct vmxc_percpu_obstacle *obstacle,
                             enum vmxc_percpu_obstacle_kind kind, uint64_t bits,
                             enum vmxc_status status)
{
    *obstacle = (struct vmxc_percpu_obstacle){.kind = kind, .bits = bits};
    return status;
}

/* ---- The plan: nothing is changed ---- */

static enum vmxc_status find_vmx(const struct vmxc_insn_ops *ops,
                                 struct vmxc_percpu_obstacle *obstacle)
{
    uint32_t registers[4];

    ops->cpuid(ops->context, CPUID_FEATURES, 0, registers);
    if (!(registers[CPUID_ECX] & CPUID_ECX_VMX))
        return stop(obstacle, VMXC_PERCPU_NO_VMX, 0, VMXC_UNSUPPORTED);
    return VMXC_OK;
}

static enum vmxc_status read_capability(const struct vmxc_insn_ops *ops, uint32_t msr,
                                        uint64_t *value, struct vmxc_percpu_obstacle *obstacle)
{
    if (vmxc_insn_read_msr(ops, msr, value) != VMXC_OK)
        return stop(obstacle, VMXC_PERCPU_NO_CAPABILITIES, 0, VMXC_UNSUPPORTED);
    return VMXC_OK;
}

/*
 * The value of a control register in VMX operation: `now` with `ours` set where needed. `missing` is the obstacle if
 * another bit must be set; the next one in the enumeration stands for bits that must be cleared.
 */
static enum vmxc_status plan_register(const struct vmxc_insn_ops *ops, uint32_t fixed0_msr,
                                      uint64_t now, uint64_t ours, uint64_t *planned,
                                      enum vmxc_percpu_obstacle_kind missing,
                                      struct vmxc_percpu_obstacle *obstacle)
{
    uint64_t must_be_1;
    uint64_t may_be_1;

    VMXC_TRY(read_capability(ops, fixed0_msr, &must_be_1, obstacle));
    VMXC_TRY(read_capability(ops, fixed0_msr + 1, &may_be_1, obstacle));
    const uint64_t value = now | (must_be_1 & ours);
    if (must_be_1 & ~value)
        return stop(obstacle, missing, must_be_1 & ~value, VMXC_BAD_STATE);
    if (value & ~may_be_1)
        return stop(obstacle, missing + 1, value & ~may_be_1, VMXC_BAD_STATE);
    *planned = value;
    return VMXC_OK;
}

static enum vmxc_status plan_feature_control(const struct vmxc_insn_ops *ops, bool in_smx,
                                             struct plan *plan,
                                             struct vmxc_percpu_obstacle *obstacle)
{
    VMXC_TRY(read_capability(ops, VMXC_MSR_FEATURE_CONTROL, &plan->feature_control, obstacle));
    if (vmxc_percpu_feature_control(plan->feature_control, in_smx) ==
        VMXC_FEATURE_CONTROL_LOCKED_OUT)
        return stop(obstacle, VMXC_PERCPU_LOCKED_OUT, vmxon_bits(in_smx) & ~plan->feature_control,
                    VMXC_UNSUPPORTED);
    return VMXC_OK;
}

static enum vmxc_status make_plan(const struct vmxc_insn_ops *ops, bool in_smx, struct plan *plan,
                                  struct vmxc_percpu_obstacle *obstacle)
{
    VMXC_TRY(find_vmx(ops, obstacle));
    VMXC_TRY(read_capability(ops, VMXC_MSR_VMX_BASIC, &plan->vmx_basic, obstacle));
    VMXC_TRY(plan_feature_control(ops, in_smx, plan, obstacle));
    plan->cr0 = ops->read_cr0(ops->context);
    plan->cr4 = ops->read_cr4(ops->context);
    VMXC_TRY(plan_register(ops, VMXC_MSR_VMX_CR0_FIXED0, plan->cr0, VMXC_CR0_NE, &plan->new_cr0,
                           VMXC_PERCPU_CR0_MISSING, obstacle));
    return plan_register(ops, VMXC_MSR_VMX_CR4_FIXED0, plan->cr4, VMXC_CR4_VMXE, &plan->new_cr4,
                         VMXC_PERCPU_CR4_MISSING, obstacle);
}

/* ---- Entering ---- */

static enum vmxc_status lock_feature_control(const struct vmxc_insn_ops *ops, uint64_t now,
                                             bool in_smx, struct vmxc_percpu_obstacle *obstacle)
{
    const uint64_t wanted = vmxon_bits(in_smx);
    uint64_t value = now;

    if (vmxc_caps_allows_vmxon(now, in_smx))
        return VMXC_OK;
    const enum vmxc_status written = vmxc_insn_write_msr(
        ops, VMXC_MSR_FEATURE_CONTROL, vmxc_percpu_feature_control_locked(now, in_smx));
    VMXC_TRY(read_capability(ops, VMXC_MSR_FEATURE_CONTROL, &value, obstacle));
    if (written != VMXC_OK || (value & wanted) != wanted)
        return stop(obstacle, VMXC_PERCPU_LOCKING_REFUSED, wanted & ~value, VMXC_UNSUPPORTED);
    return VMXC_OK;
}

static enum vmxc_status write_registers(const struct vmxc_insn_ops *ops, const struct plan *plan,
                                        struct vmxc_percpu_obstacle *obstacle)
{
    if (plan->new_cr0 != plan->cr0 &&
        ops->write_cr0(ops->context, plan->new_cr0) != VMXC_INSN_SUCCEEDED)
        return stop(obstacle, VMXC_PERCPU_CONTROL_REGISTER, plan->new_cr0, VMXC_BAD_STATE);
    if (plan->new_cr4 != plan->cr4 &&
        ops->write_cr4(ops->context, plan->new_cr4) != VMXC_INSN_SUCCEEDED)
        return stop(obstacle, VMXC_PERCPU_CONTROL_REGISTER, plan->new_cr4, VMXC_BAD_STATE);
    return VMXC_OK;
}

/* Gives back the values from before; what was accepted once is accepted again. */
static void restore_registers(const struct vmxc_insn_ops *ops, uint64_t cr0, uint64_t cr4)
{
    if (ops->read_cr4(ops->context) != cr4)
        (void)ops->write_cr4(ops->context, cr4);
    if (ops->read_cr0(ops->context) != cr0)
        (void)ops->write_cr0(ops->context, cr0);
}

static enum vmxc_status turn_on(const struct vmxc_insn_ops *ops, const struct vmxc_region *region,
                                struct vmxc_percpu_obstacle *obstacle)
{
    vmxc_hpa_t region_hpa;

    VMXC_TRY(vmxc_region_hpa(region, &region_hpa));
    switch (ops->vmxon(ops->context, region_hpa)) {
    case VMXC_INSN_SUCCEEDED:
        return VMXC_OK;
    case VMXC_INSN_EXCEPTION:
        return stop(obstacle, VMXC_PERCPU_VMXON_REFUSED, 0, VMXC_BAD_STATE);
    default:
        return stop(obstacle, VMXC_PERCPU_VMXON_FAILED, 0, VMXC_BAD_STATE);
    }
}

/* From the plan to VMX operation; on failure the registers are as they were. */
static enum vmxc_status carry_out(const struct vmxc_insn_ops *ops, const struct plan *plan,
                                  bool in_smx, const struct vmxc_region *region,
                                  struct vmxc_percpu_obstacle *obstacle)
{
    enum vmxc_status status;

    VMXC_TRY(lock_feature_control(ops, plan->feature_control, in_smx, obstacle));
    status = write_registers(ops, plan, obstacle);
    if (status == VMXC_OK)
        status = turn_on(ops, region, obstacle);
    if (status != VMXC_OK)
        restore_registers(ops, plan->cr0, plan->cr4);
    return status;
}

enum vmxc_status vmxc_percpu_enable(struct vmxc_percpu *percpu, const struct vmxc_insn_ops *ops,
                                    const struct vmxc_hal *hal, bool in_smx,
                                    struct vmxc_percpu_obstacle *obstacle)
{
    struct vmxc_percpu_obstacle own;
    struct vmxc_percpu fresh = {.ops = ops};
    struct plan plan;
    enum vmxc_status status;

    if (ops == NULL)
        return VMXC_INVALID_INPUT;
    if (obstacle == NULL)
        obstacle = &own;
    VMXC_TRY(make_plan(ops, in_smx, &plan, obstacle));
    status = vmxc_region_init_for(&fresh.vmxon_region, hal, plan.vmx_basic, VMXC_REGION_ORDINARY);
    if (status != VMXC_OK)
        return stop(obstacle, VMXC_PERCPU_REGION, 0, status);
    status = carry_out(ops, &plan, in_smx, &fresh.vmxon_region, obstacle);
    if (status != VMXC_OK) {
        vmxc_region_fini(&fresh.vmxon_region);
        return status;
    }
    fresh.vmx_basic = plan.vmx_basic;
    fresh.saved_cr0 = plan.cr0;
    fresh.saved_cr4 = plan.cr4;
    *percpu = fresh;
    return VMXC_OK;
}

/* ---- Leaving ---- */

/* The register as it is now, with `bit` as it was before. */
static uint64_t with_saved_bit(uint64_t now, uint64_t saved, uint64_t bit)
{
    return (now & ~bit) | (saved & bit);
}

enum vmxc_status vmxc_percpu_disable(struct vmxc_percpu *percpu)
{
    const struct vmxc_insn_ops *const ops = percpu->ops;

    if (ops == NULL)
        return VMXC_BAD_STATE;
    if (ops->vmxoff(ops->context) != VMXC_INSN_SUCCEEDED)
        return VMXC_BAD_STATE;
    restore_registers(
        ops, with_saved_bit(ops->read_cr0(ops->context), percpu->saved_cr0, VMXC_CR0_NE),
        with_saved_bit(ops->read_cr4(ops->context), percpu->saved_cr4, VMXC_CR4_VMXE));
    vmxc_region_fini(&percpu->vmxon_region);
    *percpu = (struct vmxc_percpu){.ops = NULL};
    return VMXC_OK;
}
