/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A small hypervisor for one processor and one guest, over libvmxcore alone: memory through struct vmxc_hal,
 * instructions through struct vmxc_insn_ops. What it runs on is the caller's choice.
 *
 *     hypervisor_start      VMX operation, address space, bitmaps, VMCS
 *     hypervisor_run        VMLAUNCH, then one VMRESUME after each VM exit that it has served
 *     hypervisor_stop       everything given back, VMX operation left
 */
#ifndef EXAMPLES_HYPERVISOR_H
#define EXAMPLES_HYPERVISOR_H

#include "vmxcore/addrspace.h"
#include "vmxcore/exit_info.h"
#include "vmxcore/percpu.h"
#include "vmxcore/vmcs_setup.h"

/* Services of VMCALL, by the number in RAX. */
#define HYPERCALL_INTERRUPT_ME UINT64_C(1) /* deliver vector RCX as soon as the guest can take it */

/* CPUID leaf with the signature in EBX, ECX, EDX. */
#define HYPERVISOR_CPUID_LEAF UINT32_C(0x40000000)

/* The emulated MSR: what the guest writes is kept here and never reaches the processor. */
#define HYPERVISOR_EMULATED_MSR UINT32_C(0xc0000103) /* IA32_TSC_AUX */

struct hypervisor {
    const struct vmxc_insn_ops *ops;
    const struct vmxc_hal *hal;
    void (*log)(const char *format, ...) VMXC_PRINTF(1, 2);

    struct vmxc_percpu percpu;
    struct vmxc_region vmcs;
    struct vmxc_vmcs_controls controls;
    struct vmxc_ept_mode ept_mode;
    struct vmxc_addrspace space; /* the guest's memory */
    struct vmxc_io_bitmap io_bitmap;
    struct vmxc_msr_bitmap msr_bitmap;

    struct vmxc_gprs gprs; /* the guest's */
    uint64_t emulated_msr;
    bool interrupt_waits;
    uint8_t waiting_vector;
    bool halted; /* the guest has stopped */
};

/*
 * Makes everything up to the VMCS: `guest_size` bytes of lazily backed memory at guest-physical 0, nothing else. Say
 * `ops`, `hal` and `log` before; on failure nothing is left behind.
 */
VMXC_MUST_CHECK enum vmxc_status hypervisor_start(struct hypervisor *hv, uint64_t guest_size,
                                                  const struct vmxc_guest_start *start);

/* Runs the guest until it halts. Errors: VMXC_UNSUPPORTED (an exit that nobody serves), as vmxc_insn_status. */
VMXC_MUST_CHECK enum vmxc_status hypervisor_run(struct hypervisor *hv);

/* Gives everything back. Errors: VMXC_BAD_STATE (VMX operation cannot be left). */
VMXC_MUST_CHECK enum vmxc_status hypervisor_stop(struct hypervisor *hv);

#endif
