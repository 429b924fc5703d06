/* SPDX-License-Identifier: Apache-2.0 */
/* The instruction seam over the model's instructions: each operation is one call, its result in the seam's words. */
#include "vmxsim/insn_ops.h"

#include "internal/cpu.h"

#define CR3_NO_FLUSH VMXC_BIT(63) /* MOV to CR3 with PCIDs: not stored */

/* ---- Results ---- */

/* `status` is that of the model's call, whose result is instance->last. */
static enum vmxc_insn_result translate(struct vmxsim_insn_ops *instance, enum vmxc_status status)
{
    instance->status = status;
    if (status != VMXC_OK)
        return VMXC_INSN_EXCEPTION;
    switch (instance->last.kind) {
    case VMXSIM_INSN_SUCCEEDED:
        return VMXC_INSN_SUCCEEDED;
    case VMXSIM_INSN_FAIL_INVALID:
        return VMXC_INSN_FAIL_INVALID;
    case VMXSIM_INSN_FAIL_VALID:
        return VMXC_INSN_FAIL_VALID;
    case VMXSIM_INSN_ENTRY_FAILURE:
        return VMXC_INSN_VM_EXIT;
    default:
        return VMXC_INSN_EXCEPTION;
    }
}

/* As translate(), for the instructions that read something. */
static enum vmxc_insn_result translate_value(struct vmxsim_insn_ops *instance,
                                             enum vmxc_status status, uint64_t *value)
{
    const enum vmxc_insn_result result = translate(instance, status);

    if (result == VMXC_INSN_SUCCEEDED)
        *value = instance->last.value;
    return result;
}

/* ---- Regions and fields ---- */

static enum vmxc_insn_result ops_vmxon(void *context, vmxc_hpa_t region_hpa)
{
    struct vmxsim_insn_ops *const instance = context;

    return translate(instance, vmxsim_insn_vmxon(instance->cpu, region_hpa, &instance->last));
}

static enum vmxc_insn_result ops_vmxoff(void *context)
{
    struct vmxsim_insn_ops *const instance = context;

    return translate(instance, vmxsim_insn_vmxoff(instance->cpu, &instance->last));
}

static enum vmxc_insn_result ops_vmclear(void *context, vmxc_hpa_t region_hpa)
{
    struct vmxsim_insn_ops *const instance = context;

    return translate(instance, vmxsim_insn_vmclear(instance->cpu, region_hpa, &instance->last));
}

static enum vmxc_insn_result ops_vmptrld(void *context, vmxc_hpa_t region_hpa)
{
    struct vmxsim_insn_ops *const instance = context;

    return translate(instance, vmxsim_insn_vmptrld(instance->cpu, region_hpa, &instance->last));
}

static enum vmxc_insn_result ops_vmptrst(void *context, vmxc_hpa_t *region_hpa)
{
    struct vmxsim_insn_ops *const instance = context;

    return translate_value(instance, vmxsim_insn_vmptrst(instance->cpu, &instance->last),
                           region_hpa);
}

static enum vmxc_insn_result ops_vmread(void *context, uint32_t field, uint64_t *value)
{
    struct vmxsim_insn_ops *const instance = context;

    return translate_value(instance, vmxsim_insn_vmread(instance->cpu, field, &instance->last),
                           value);
}

static enum vmxc_insn_result ops_vmwrite(void *context, uint32_t field, uint64_t value)
{
    struct vmxsim_insn_ops *const instance = context;

    return translate(instance, vmxsim_insn_vmwrite(instance->cpu, field, value, &instance->last));
}

/* ---- VM entry ---- */

/* The guest runs until it has exited. */
static enum vmxc_insn_result run_guest(struct vmxsim_insn_ops *instance, struct vmxc_gprs *gprs)
{
    instance->status = instance->run != NULL ? instance->run(instance->context, instance->cpu, gprs)
                                             : VMXC_UNSUPPORTED;
    if (instance->status == VMXC_OK &&
        vmxsim_cpu_vmx_state(instance->cpu).mode == VMXSIM_VMX_NON_ROOT)
        instance->status = VMXC_BAD_STATE;
    return instance->status == VMXC_OK ? VMXC_INSN_VM_EXIT : VMXC_INSN_EXCEPTION;
}

/* Without a current VMCS the two writes fail, and so does the entry. */
static void write_host_position(void *context)
{
    (void)ops_vmwrite(context, VMXC_VMCS_HOST_RIP, VMXSIM_HOST_RIP);
    (void)ops_vmwrite(context, VMXC_VMCS_HOST_RSP, VMXSIM_HOST_RSP);
}

static enum vmxc_insn_result enter(struct vmxsim_insn_ops *instance, bool vmresume,
                                   struct vmxc_gprs *gprs)
{
    enum vmxc_status status;

    write_host_position(instance);
    status = vmresume ? vmxsim_insn_vmresume(instance->cpu, instance->report, &instance->last)
                      : vmxsim_insn_vmlaunch(instance->cpu, instance->report, &instance->last);
    if (status == VMXC_OK && instance->last.kind == VMXSIM_INSN_ENTERED)
        return run_guest(instance, gprs);
    return translate(instance, status);
}

static enum vmxc_insn_result ops_vmlaunch(void *context, struct vmxc_gprs *gprs)
{
    return enter(context, false, gprs);
}

static enum vmxc_insn_result ops_vmresume(void *context, struct vmxc_gprs *gprs)
{
    return enter(context, true, gprs);
}

/* ---- Invalidation ---- */

static enum vmxc_insn_result ops_invept(void *context, uint64_t type, uint64_t eptp)
{
    struct vmxsim_insn_ops *const instance = context;
    const uint64_t descriptor[2] = {eptp, 0};

    return translate(instance,
                     vmxsim_insn_invept(instance->cpu, type, descriptor, &instance->last));
}

static enum vmxc_insn_result ops_invvpid(void *context, uint64_t type, uint16_t vpid,
                                         vmxc_gva_t linear)
{
    struct vmxsim_insn_ops *const instance = context;
    const uint64_t descriptor[2] = {vpid, linear};

    return translate(instance,
                     vmxsim_insn_invvpid(instance->cpu, type, descriptor, &instance->last));
}

/* ---- Registers ---- */

static enum vmxc_insn_result ops_rdmsr(void *context, uint32_t msr, uint64_t *value)
{
    struct vmxsim_insn_ops *const instance = context;

    return translate_value(instance, vmxsim_insn_rdmsr(instance->cpu, msr, &instance->last), value);
}

static enum vmxc_insn_result ops_wrmsr(void *context, uint32_t msr, uint64_t value)
{
    struct vmxsim_insn_ops *const instance = context;

    return translate(instance, vmxsim_insn_wrmsr(instance->cpu, msr, value, &instance->last));
}

static uint64_t ops_read_cr0(void *context)
{
    const struct vmxsim_insn_ops *const instance = context;

    return instance->cpu->root.cr0;
}

static uint64_t ops_read_cr3(void *context)
{
    const struct vmxsim_insn_ops *const instance = context;

    return instance->cpu->root_cr3;
}

static uint64_t ops_read_cr4(void *context)
{
    const struct vmxsim_insn_ops *const instance = context;

    return instance->cpu->root.cr4;
}

static enum vmxc_insn_result ops_write_cr0(void *context, uint64_t value)
{
    struct vmxsim_insn_ops *const instance = context;

    return translate(instance, vmxsim_insn_mov_to_cr0(instance->cpu, value, &instance->last));
}

/* Linear-address masking of the host is not modelled: its bits are reserved. */
static enum vmxc_insn_result ops_write_cr3(void *context, uint64_t value)
{
    struct vmxsim_insn_ops *const instance = context;
    const uint64_t ignored = (instance->cpu->root.cr4 & VMXC_CR4_PCIDE) ? CR3_NO_FLUSH : 0;
    const unsigned width = vmxsim_profile_features(instance->cpu->profile)->maxphyaddr;

    if ((value & ~ignored) >> width != 0)
        return VMXC_INSN_EXCEPTION;
    instance->cpu->root_cr3 = value & ~ignored;
    return VMXC_INSN_SUCCEEDED;
}

static enum vmxc_insn_result ops_write_cr4(void *context, uint64_t value)
{
    struct vmxsim_insn_ops *const instance = context;

    return translate(instance, vmxsim_insn_mov_to_cr4(instance->cpu, value, &instance->last));
}

static void ops_cpuid(void *context, uint32_t leaf, uint32_t subleaf, uint32_t registers[4])
{
    const struct vmxsim_insn_ops *const instance = context;

    if (vmxsim_profile_cpuid(instance->cpu->profile, leaf, subleaf, registers) == VMXC_OK)
        return;
    for (int i = 0; i < 4; i++)
        registers[i] = 0;
}

static void ops_segments(void *context, struct vmxc_host_segments *segments)
{
    const struct vmxsim_insn_ops *const instance = context;

    *segments = instance->segments;
}

/* ---- The instance ---- */

void vmxsim_insn_ops_init(struct vmxsim_insn_ops *instance, struct vmxsim_cpu *cpu,
                          vmxsim_guest_fn run, void *context)
{
    *instance = (struct vmxsim_insn_ops){
        .cpu = cpu,
        .run = run,
        .context = context,
        .segments =
            {.cs = 0x8, .ss = 0x10, .ds = 0x10, .es = 0x10, .fs = 0x10, .gs = 0x10, .tr = 0x18},
        .ops =
            {
                .context = instance,
                .vmxon = ops_vmxon,
                .vmxoff = ops_vmxoff,
                .vmclear = ops_vmclear,
                .vmptrld = ops_vmptrld,
                .vmptrst = ops_vmptrst,
                .vmread = ops_vmread,
                .vmwrite = ops_vmwrite,
                .vmlaunch = ops_vmlaunch,
                .vmresume = ops_vmresume,
                .invept = ops_invept,
                .invvpid = ops_invvpid,
                .rdmsr = ops_rdmsr,
                .wrmsr = ops_wrmsr,
                .read_cr0 = ops_read_cr0,
                .read_cr3 = ops_read_cr3,
                .read_cr4 = ops_read_cr4,
                .write_cr0 = ops_write_cr0,
                .write_cr3 = ops_write_cr3,
                .write_cr4 = ops_write_cr4,
                .cpuid = ops_cpuid,
                .segments = ops_segments,
            },
    };
}
