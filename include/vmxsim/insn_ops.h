/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The model's instance of the instruction seam: hypervisor code that goes through struct vmxc_insn_ops runs on a
 * simulated processor, unchanged.
 *
 *     struct vmxsim_insn_ops machine;
 *     vmxsim_insn_ops_init(&machine, cpu, run_guest, &script);
 *     my_hypervisor(&machine.ops);
 *
 * When VMLAUNCH or VMRESUME enters the guest, `run` is called: it plays the guest's actions, performs the VM exit
 * that one of them comes to, and returns. What follows is what the hypervisor's next instruction sees.
 */
#ifndef VMXSIM_INSN_OPS_H
#define VMXSIM_INSN_OPS_H

#include "vmxcore/insn_ops.h"
#include "vmxsim/insn.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * The guest, from one VM entry to the next VM exit. It may change `gprs`. When it returns VMXC_OK the processor has
 * left VMX non-root operation; another status means that the script cannot go on.
 */
typedef enum vmxc_status (*vmxsim_guest_fn)(void *context, struct vmxsim_cpu *cpu,
                                            struct vmxc_gprs *gprs);

/* What the model's processor puts into HOST_RIP and HOST_RSP: the hypervisor is no code that the model knows. */
#define VMXSIM_HOST_RIP UINT64_C(0x100000)
#define VMXSIM_HOST_RSP UINT64_C(0x200000)

/* One processor behind the seam. It refers to itself: do not copy it. */
struct vmxsim_insn_ops {
    struct vmxc_insn_ops ops;
    struct vmxsim_cpu *cpu;
    vmxsim_guest_fn run; /* NULL: a guest that is entered is an error */
    void *context;       /* for `run` */

    struct vmxc_host_segments segments; /* the hypervisor's; the caller may change them */
    struct vmxsim_entry_report *report; /* of the last VM entry, if the caller puts one here */

    /* For people and tests: what the last instruction came to, and by which rule. */
    struct vmxsim_insn_result last;
    /* Not VMXC_OK: why the model could not execute it; the hypervisor has seen VMXC_INSN_EXCEPTION. */
    enum vmxc_status status;
};

/*
 * An instance over `cpu`, which must outlive it. Segments: CS 8, SS, DS, ES, FS, GS 10H, TR 18H, tables at 0. CPUID
 * is the profile's; leaves that it does not list read as zeros.
 */
void vmxsim_insn_ops_init(struct vmxsim_insn_ops *instance, struct vmxsim_cpu *cpu,
                          vmxsim_guest_fn run, void *context);

#ifdef __cplusplus
}
#endif

#endif
