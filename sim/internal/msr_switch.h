/* SPDX-License-Identifier: Apache-2.0 */
/*
 * MSRs that VM entries and VM exits load and save: from fields of the VMCS, and from the areas in memory.
 */
#ifndef VMXSIM_INTERNAL_MSR_SWITCH_H
#define VMXSIM_INTERNAL_MSR_SWITCH_H

#include "internal/cpu.h"

/* Fields of the current VMCS. Errors: VMXC_NO_SPACE. */
VMXC_MUST_CHECK enum vmxc_status vmxsim_msr_switch_load_guest(struct vmxsim_cpu *cpu);
VMXC_MUST_CHECK enum vmxc_status vmxsim_msr_switch_load_host(struct vmxsim_cpu *cpu);
void vmxsim_msr_switch_save_guest(struct vmxsim_cpu *cpu);

/* Loads `count` entries of an area whose entries are known to be valid. Errors: VMXC_NO_SPACE. */
VMXC_MUST_CHECK enum vmxc_status vmxsim_msr_switch_load_area(struct vmxsim_cpu *cpu, uint64_t hpa,
                                                             uint64_t count);
/* VM exits. False: an entry cannot be stored, or not be loaded. The status is that of loading. */
bool vmxsim_msr_switch_store_exit_area(struct vmxsim_cpu *cpu);
VMXC_MUST_CHECK enum vmxc_status vmxsim_msr_switch_load_exit_area(struct vmxsim_cpu *cpu,
                                                                  bool *loaded);

#endif
