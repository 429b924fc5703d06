/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The virtual-APIC page: what a processor does to it by itself, and the virtual interrupts that come of it.
 *
 *     a write to VTPR  --> TPR virtualization --.                     .--> VM exit: TPR below threshold, EOI, APIC write
 *     a write to VEOI  --> EOI virtualization --+--> PPR, evaluation --+
 *     a write to VICR  --> self-IPI ------------+                     `--> a virtual interrupt is recognized:
 *     VM entry, posted interrupts --------------'                          delivered at a boundary (guest_event.c)
 *
 * All of it but TPR virtualization needs virtual-interrupt delivery. RVI and SVI are where a VM exit saves them, in the
 * guest interrupt status of the VMCS.
 */
#ifndef VMXSIM_INTERNAL_VIRTUAL_APIC_H
#define VMXSIM_INTERNAL_VIRTUAL_APIC_H

#include "internal/walk.h"

/* ---- Memory accesses ---- */

/* Is a data access of this kind to this offset of the APIC-access page redirected to the virtual-APIC page? */
bool vmxsim_virtual_apic_redirects(const struct vmxsim_cpu *cpu, uint64_t offset, uint32_t size,
                                   bool write);
/* APIC-write emulation: an access has written at `offset`. */
void vmxsim_virtual_apic_emulate_write(struct walk *walk, uint64_t offset);

/* ---- Instructions: they have completed, and what follows may be a VM exit ---- */

/* MOV to CR8: the low 4 bits of `value` become the class of VTPR. */
void vmxsim_virtual_apic_write_cr8(struct walk *walk, uint64_t value);
uint64_t vmxsim_virtual_apic_read_cr8(const struct vmxsim_cpu *cpu);

/* Does RDMSR or WRMSR use the virtual-APIC page instead of this MSR? */
bool vmxsim_virtual_apic_has_msr(const struct vmxsim_cpu *cpu, uint32_t msr, bool write);
uint64_t vmxsim_virtual_apic_read_msr(const struct vmxsim_cpu *cpu, uint32_t msr);
bool vmxsim_virtual_apic_accepts_msr(uint32_t msr, uint64_t value);
void vmxsim_virtual_apic_write_msr(struct walk *walk, uint32_t msr, uint64_t value);

/* ---- Events ---- */

/* VM entry has loaded the guest interrupt status. */
void vmxsim_virtual_apic_enter(struct vmxsim_cpu *cpu);
/* An interrupt with the notification vector has arrived. */
void vmxsim_virtual_apic_process_posted(struct vmxsim_cpu *cpu);
/* The vector of the virtual interrupt that has been recognized, and what its delivery changes. */
uint8_t vmxsim_virtual_apic_requested(const struct vmxsim_cpu *cpu);
void vmxsim_virtual_apic_deliver(struct vmxsim_cpu *cpu);

#endif
