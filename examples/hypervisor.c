/* SPDX-License-Identifier: Apache-2.0 */
#include "hypervisor.h"

#include <inttypes.h>

#include "vmxcore/defs/controls.h"
#include "vmxcore/defs/msr.h"
#include "vmxcore/defs/vmcs.h"

#define CPUID_FEATURES       1u
#define CPUID_ECX_VMX        UINT32_C(0x20)
#define CPUID_ECX_HYPERVISOR UINT32_C(0x80000000)
#define CPUID_WIDTHS         UINT32_C(0x80000008)

#define CONSOLE_PORT 0x3f8

/* ---- Start: from a bare processor to a VMCS ---- */

static enum vmxc_status start_vmx(struct hypervisor *hv)
{
    struct vmxc_percpu_obstacle obstacle = {.kind = VMXC_PERCPU_NO_OBSTACLE};
    const enum vmxc_status status =
        vmxc_percpu_enable(&hv->percpu, hv->ops, hv->hal, false, &obstacle);

    if (status != VMXC_OK)
        hv->log("no VMX operation: %s\n", vmxc_percpu_obstacle_text(obstacle.kind));
    else
        hv->log("VMX operation is on\n");
    return status;
}

/* Memory for the guest: nothing is backed yet, each page comes with its first EPT violation. */
static enum vmxc_status start_memory(struct hypervisor *hv, uint64_t guest_size)
{
    uint32_t widths[4];
    uint64_t ept_vpid_cap;
    uint64_t secondary;
    struct vmxc_ept_config config;

    hv->ops->cpuid(hv->ops->context, CPUID_WIDTHS, 0, widths);
    VMXC_TRY(vmxc_insn_read_msr(hv->ops, VMXC_MSR_VMX_EPT_VPID_CAP, &ept_vpid_cap));
    VMXC_TRY(vmxc_insn_read_msr(hv->ops, VMXC_MSR_VMX_PROCBASED_CTLS2, &secondary));
    const struct vmxc_caps_ept_request request = {.maxphyaddr = (uint8_t)widths[0], .levels = 4};
    VMXC_TRY(vmxc_caps_ept_config(ept_vpid_cap, (uint32_t)(secondary >> 32), &request, &config));
    hv->ept_mode.advanced_info = vmxc_caps_ept_vpid(ept_vpid_cap).advanced_info;
    VMXC_TRY(vmxc_addrspace_init(&hv->space, hv->hal, &config, 0, guest_size));
    VMXC_TRY(vmxc_addrspace_map_alloc(&hv->space, 0, guest_size, VMXC_MAP_RWX, false));

    /* The root table is new, but its frame may have been another guest's: drop what is cached for this EPTP. */
    return vmxc_insn_invalidate_ept(hv->ops, ept_vpid_cap, vmxc_addrspace_eptp(&hv->space));
}

/* Every port exits; of the MSRs only the emulated one. */
static enum vmxc_status start_bitmaps(struct hypervisor *hv)
{
    VMXC_TRY(vmxc_io_bitmap_init(&hv->io_bitmap, hv->hal, VMXC_INTERCEPT));
    VMXC_TRY(vmxc_msr_bitmap_init(&hv->msr_bitmap, hv->hal, VMXC_PASSTHROUGH));
    return vmxc_msr_bitmap_set(&hv->msr_bitmap, HYPERVISOR_EMULATED_MSR,
                               VMXC_MSR_ACCESS_READ | VMXC_MSR_ACCESS_WRITE, VMXC_INTERCEPT);
}

static enum vmxc_status start_vmcs(struct hypervisor *hv, const struct vmxc_guest_start *start)
{
    const struct vmxc_vmcs_setup setup = {
        .guest = *start,
        .eptp = vmxc_addrspace_eptp(&hv->space),
        .io_bitmap = &hv->io_bitmap,
        .msr_bitmap = &hv->msr_bitmap,
        .request =
            {
                [VMXC_CONTROL_WORD_PIN].required =
                    VMXC_PIN_EXTERNAL_INTERRUPT_EXITING | VMXC_PIN_NMI_EXITING,
                [VMXC_CONTROL_WORD_PRIMARY].required = VMXC_PRIMARY_HLT_EXITING,
            },
    };
    struct vmxc_vmcs_missing missing = {.field = 0};
    char text[128];

    VMXC_TRY(vmxc_region_init_for(&hv->vmcs, hv->hal, hv->percpu.vmx_basic, VMXC_REGION_ORDINARY));
    VMXC_TRY(vmxc_vmcs_load(hv->ops, &hv->vmcs));
    const enum vmxc_status status = vmxc_vmcs_setup(hv->ops, &setup, &hv->controls, &missing);
    if (status != VMXC_OK && missing.field != 0) {
        vmxc_vmcs_missing_format(&missing, text, sizeof(text));
        hv->log("the VMCS lacks %s\n", text);
    }
    return status;
}

enum vmxc_status hypervisor_start(struct hypervisor *hv, uint64_t guest_size,
                                  const struct vmxc_guest_start *start)
{
    enum vmxc_status status = start_vmx(hv);

    if (status == VMXC_OK)
        status = start_memory(hv, guest_size);
    if (status == VMXC_OK)
        status = start_bitmaps(hv);
    if (status == VMXC_OK)
        status = start_vmcs(hv, start);
    if (status == VMXC_OK) {
        hv->log("the VMCS is set up\n");
        return VMXC_OK;
    }
    const enum vmxc_status stopped = hypervisor_stop(hv);
    return stopped == VMXC_OK ? status : stopped;
}

/* ---- Serving exits. Each returns VMXC_OK if the guest may go on. ---- */

static enum vmxc_status serve_ept_violation(struct hypervisor *hv)
{
    struct vmxc_nested_fault fault;
    char wanted[32];

    VMXC_TRY(vmxc_exit_read_nested_fault(hv->ops, hv->ept_mode, &fault));
    const enum vmxc_fault_result result =
        vmxc_addrspace_handle_page_fault(&hv->space, fault.gpa, fault.access);
    vmxc_map_flags_format(fault.access, wanted, sizeof(wanted));
    hv->log("  guest-physical %#" PRIx64 " (%.4s): %s\n", fault.gpa, wanted,
            vmxc_fault_result_name(result));
    return result == VMXC_FAULT_MAPPED || result == VMXC_FAULT_ALREADY_BACKED ? VMXC_OK
                                                                              : VMXC_DENIED;
}

/* The guest sees the processor's CPUID, without VMX and with a hypervisor. */
static enum vmxc_status serve_cpuid(struct hypervisor *hv, const struct vmxc_exit *exit)
{
    static const uint32_t signature[4] = {HYPERVISOR_CPUID_LEAF, 0x63786d76, 0x2065726f,
                                          0x00007668}; /* "vmxcore hv" */
    uint64_t *const gpr = hv->gprs.value;
    const uint32_t leaf = (uint32_t)gpr[VMXC_GPR_RAX];
    uint32_t registers[4];

    hv->ops->cpuid(hv->ops->context, leaf, (uint32_t)gpr[VMXC_GPR_RCX], registers);
    if (leaf == CPUID_FEATURES)
        registers[2] = (registers[2] & ~CPUID_ECX_VMX) | CPUID_ECX_HYPERVISOR;
    const uint32_t *const answer = leaf == HYPERVISOR_CPUID_LEAF ? signature : registers;
    gpr[VMXC_GPR_RAX] = answer[0];
    gpr[VMXC_GPR_RBX] = answer[1];
    gpr[VMXC_GPR_RCX] = answer[2];
    gpr[VMXC_GPR_RDX] = answer[3];
    hv->log("  leaf %#" PRIx32 "\n", leaf);
    return vmxc_guest_skip(hv->ops, exit);
}

static enum vmxc_status inject_protection_fault(struct hypervisor *hv)
{
    const struct vmxc_event fault = {
        .type = VMXC_INTERRUPTION_TYPE_HARDWARE_EXCEPTION, .vector = 13, .has_error_code = true};

    hv->log("  no such MSR: #GP for the guest\n");
    return vmxc_event_inject(hv->ops, &fault);
}

static enum vmxc_status serve_msr(struct hypervisor *hv, const struct vmxc_exit *exit)
{
    uint64_t *const gpr = hv->gprs.value;
    const bool write = exit->reason == VMXC_EXIT_REASON_WRMSR;

    if ((uint32_t)gpr[VMXC_GPR_RCX] != HYPERVISOR_EMULATED_MSR)
        return inject_protection_fault(hv);
    if (write) {
        hv->emulated_msr = gpr[VMXC_GPR_RDX] << 32 | (uint32_t)gpr[VMXC_GPR_RAX];
    } else {
        gpr[VMXC_GPR_RAX] = (uint32_t)hv->emulated_msr;
        gpr[VMXC_GPR_RDX] = hv->emulated_msr >> 32;
    }
    hv->log("  MSR %#" PRIx32 " %s %#" PRIx64 "\n", HYPERVISOR_EMULATED_MSR,
            write ? "takes" : "gives", hv->emulated_msr);
    return vmxc_guest_skip(hv->ops, exit);
}

/* One device: a console that takes bytes. Reads of ports without a device give all ones. */
static enum vmxc_status serve_io(struct hypervisor *hv, const struct vmxc_exit *exit)
{
    uint64_t *const rax = &hv->gprs.value[VMXC_GPR_RAX];
    struct vmxc_exit_io io;

    VMXC_TRY(vmxc_exit_io(exit->qualification, &io));
    if (io.string)
        return VMXC_UNSUPPORTED;
    if (io.in)
        *rax |= UINT64_MAX >> (64 - 8 * io.size);
    else if (io.port == CONSOLE_PORT)
        hv->log("  console: '%c'\n", (int)(*rax & 0x7f));
    return vmxc_guest_skip(hv->ops, exit);
}

static enum vmxc_status set_interrupt_window_exiting(struct hypervisor *hv, bool on)
{
    uint64_t *const primary = &hv->controls.word[VMXC_CONTROL_WORD_PRIMARY];
    const uint64_t bit = VMXC_PRIMARY_INTERRUPT_WINDOW_EXITING;

    *primary = on ? *primary | bit : *primary & ~bit;
    return vmxc_insn_write(hv->ops, VMXC_VMCS_PRIMARY_PROCESSOR_BASED_CONTROLS, *primary);
}

/* Injects the interrupt that waits, or asks for an exit as soon as the guest can take it. */
static enum vmxc_status deliver_interrupt(struct hypervisor *hv)
{
    const struct vmxc_event interrupt = {.type = VMXC_INTERRUPTION_TYPE_EXTERNAL,
                                         .vector = hv->waiting_vector};
    bool can;

    if (!hv->interrupt_waits)
        return VMXC_OK;
    VMXC_TRY(vmxc_guest_can_take_interrupt(hv->ops, &can));
    VMXC_TRY(set_interrupt_window_exiting(hv, !can));
    if (!can) {
        hv->log("  the guest cannot take interrupt %#x yet\n", hv->waiting_vector);
        return VMXC_OK;
    }
    VMXC_TRY(vmxc_event_inject(hv->ops, &interrupt));
    hv->log("  interrupt %#x is injected\n", hv->waiting_vector);
    hv->interrupt_waits = false;
    return VMXC_OK;
}

static enum vmxc_status serve_vmcall(struct hypervisor *hv, const struct vmxc_exit *exit)
{
    uint64_t *const gpr = hv->gprs.value;

    VMXC_TRY(vmxc_guest_skip(hv->ops, exit));
    if (gpr[VMXC_GPR_RAX] != HYPERCALL_INTERRUPT_ME) {
        gpr[VMXC_GPR_RAX] = UINT64_MAX;
        return VMXC_OK;
    }
    hv->interrupt_waits = true;
    hv->waiting_vector = (uint8_t)gpr[VMXC_GPR_RCX];
    gpr[VMXC_GPR_RAX] = 0;
    return deliver_interrupt(hv);
}

static enum vmxc_status serve(struct hypervisor *hv, const struct vmxc_exit *exit)
{
    switch (exit->reason) {
    case VMXC_EXIT_REASON_EPT_VIOLATION:
        return serve_ept_violation(hv);
    case VMXC_EXIT_REASON_CPUID:
        return serve_cpuid(hv, exit);
    case VMXC_EXIT_REASON_RDMSR:
    case VMXC_EXIT_REASON_WRMSR:
        return serve_msr(hv, exit);
    case VMXC_EXIT_REASON_IO_INSTRUCTION:
        return serve_io(hv, exit);
    case VMXC_EXIT_REASON_VMCALL:
        return serve_vmcall(hv, exit);
    case VMXC_EXIT_REASON_INTERRUPT_WINDOW:
        return deliver_interrupt(hv);
    case VMXC_EXIT_REASON_HLT:
        hv->halted = true;
        return VMXC_OK;
    default:
        return VMXC_UNSUPPORTED;
    }
}

/* ---- The loop ---- */

static enum vmxc_status log_exit(struct hypervisor *hv, const struct vmxc_exit *exit)
{
    const char *const text = vmxc_exit_reason_text(exit->reason);
    uint64_t rip;

    VMXC_TRY(vmxc_insn_read(hv->ops, VMXC_VMCS_GUEST_RIP, &rip));
    hv->log("exit at %#" PRIx64 ": %s\n", rip, text != NULL ? text : "?");
    return VMXC_OK;
}

/* An event whose delivery the exit interrupted goes first; serving the exit may not lose it. */
static enum vmxc_status serve_one(struct hypervisor *hv)
{
    struct vmxc_exit exit;
    bool again;

    VMXC_TRY(vmxc_exit_read(hv->ops, &exit));
    VMXC_TRY(log_exit(hv, &exit));
    if (exit.entry_failure)
        return VMXC_BAD_STATE;
    VMXC_TRY(vmxc_event_reinject(hv->ops, &exit, &again));
    return serve(hv, &exit);
}

enum vmxc_status hypervisor_run(struct hypervisor *hv)
{
    const struct vmxc_insn_ops *const ops = hv->ops;
    enum vmxc_insn_result result = ops->vmlaunch(ops->context, &hv->gprs);

    for (;;) {
        VMXC_TRY(vmxc_insn_status(ops, result));
        VMXC_TRY(serve_one(hv));
        if (hv->halted)
            return VMXC_OK;
        result = ops->vmresume(ops->context, &hv->gprs);
    }
}

/* ---- Stop ---- */

enum vmxc_status hypervisor_stop(struct hypervisor *hv)
{
    vmxc_hpa_t vmcs_hpa;
    enum vmxc_status status = VMXC_OK;

    /* The processor must have let go of the region before its frame is given back. */
    if (vmxc_region_hpa(&hv->vmcs, &vmcs_hpa) == VMXC_OK)
        (void)hv->ops->vmclear(hv->ops->context, vmcs_hpa);
    vmxc_region_fini(&hv->vmcs);
    vmxc_msr_bitmap_fini(&hv->msr_bitmap);
    vmxc_io_bitmap_fini(&hv->io_bitmap);
    vmxc_addrspace_fini(&hv->space);
    if (hv->percpu.ops != NULL)
        status = vmxc_percpu_disable(&hv->percpu);
    if (status == VMXC_OK)
        hv->log("VMX operation is off\n");
    return status;
}
