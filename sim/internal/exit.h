/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The parts of a VM exit: exit.c (information fields, order, aborts), exit_save.c (guest state), exit_load.c (host
 * state). Each part is also what a VM-entry failure needs of it.
 */
#ifndef VMXSIM_INTERNAL_EXIT_H
#define VMXSIM_INTERNAL_EXIT_H

#include "internal/cpu.h"

/* exit.c: the whole exit, by a processor in VMX non-root operation. `context` may be NULL. Errors: VMXC_UNSUPPORTED (a VM-exit control), VMXC_NO_SPACE. */
VMXC_MUST_CHECK enum vmxc_status vmxsim_exit_perform(struct vmxsim_cpu *cpu,
                                                     const struct vmxsim_outcome *outcome,
                                                     const struct vmxsim_exit_context *context,
                                                     enum vmxc_vmx_abort *abort);
/* The end of VM exits and VM-entry failures: host state, MSR-load area, VMX root operation. */
VMXC_MUST_CHECK enum vmxc_status vmxsim_exit_enter_root(struct vmxsim_cpu *cpu,
                                                        enum vmxc_vmx_abort *abort);

/* exit_save.c: registers that the processor holds outside the guest-state area, as they are now. */
void vmxsim_exit_write_back(const struct vmxsim_cpu *cpu, struct vmxsim_vmcs *vmcs);
/* Everything that a VM exit saves, MSR-store area excepted. */
void vmxsim_exit_save_guest(struct vmxsim_cpu *cpu, const struct vmxsim_outcome *outcome,
                            bool during_delivery);

/* exit_load.c: control registers, EFER, segments, tables, RIP, RSP. The MSRs are msr_switch.h's. */
void vmxsim_exit_load_host(struct vmxsim_cpu *cpu);
/* Loads the PDPTEs of a host with PAE paging. False: one of them has a reserved bit set. */
bool vmxsim_exit_load_host_pdptes(struct vmxsim_cpu *cpu);

#endif
