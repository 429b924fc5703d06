/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guest instructions that a bitmap may intercept: does the instruction fault, exit, or execute?
 *
 * The processor is in VMX non-root operation (vmxsim_cpu_load_guest). An instruction that is not intercepted completes
 * without further effect, but for the end of blocking by STI and by MOV SS: there are no devices, and MSRs outside the
 * virtual-APIC page are not simulated. Outcomes and rules are those of cpu.h.
 *
 * Source: Intel SDM volume 3, "Instructions That Cause VM Exits Conditionally", "Relative Priority of Faults and VM
 * Exits", "Exit Qualification for I/O Instructions"; volume 1, "I/O Permission Bit Map".
 */
#ifndef VMXSIM_INTERCEPT_H
#define VMXSIM_INTERCEPT_H

#include "vmxsim/cpu.h"

#ifdef __cplusplus
extern "C" {
#endif

/* IN, OUT, INS or OUTS. */
struct vmxsim_io {
    uint16_t port;
    uint8_t size;         /* bytes: 1, 2 or 4 */
    bool in;              /* IN or INS */
    bool immediate;       /* the port is an immediate operand (IN and OUT only) */
    bool string;          /* INS or OUTS */
    bool rep;             /* with a REP prefix */
    uint64_t count;       /* iterations left, with a REP prefix: 0 means that nothing happens */
    uint64_t linear;      /* linear address of the memory operand (INS and OUTS) */
    uint8_t address_size; /* INS and OUTS: 0: 16 bits, 1: 32, 2: 64 */
    uint8_t segment;      /* OUTS: ES, CS, SS, DS, FS, GS: 0 to 5 */
};

/*
 * The guest executes an I/O instruction. A read of the I/O permission bit map may itself fault or exit.
 * Errors: VMXC_BAD_STATE (no guest is running, or its activity state is not active), VMXC_INVALID_INPUT (sizes, segment),
 * VMXC_UNSUPPORTED (the map would have to be read, and vmxsim_guest_access cannot).
 */
VMXC_MUST_CHECK enum vmxc_status vmxsim_guest_io(struct vmxsim_cpu *cpu, const struct vmxsim_io *io,
                                                 struct vmxsim_outcome *outcome);

/*
 * Only the decision: the rule by which an access of `size` bytes (1, 2 or 4) to the ports from `port` on, or RDMSR or WRMSR of an
 * MSR, would exit at the point where controls and bitmaps are asked. VMXSIM_RULE_NONE: it would not, or no guest is running.
 * Nothing happens, and no privilege is checked.
 */
enum vmxsim_walk_rule vmxsim_guest_io_exit(const struct vmxsim_cpu *cpu, uint16_t port,
                                           uint8_t size);
enum vmxsim_walk_rule vmxsim_guest_msr_exit(const struct vmxsim_cpu *cpu, uint32_t msr, bool write);

/*
 * The guest executes RDMSR or WRMSR with this MSR in ECX; `value` is EDX:EAX. With "virtualize x2APIC mode" those that the processor
 * virtualizes read (`outcome->value`) and write the virtual-APIC page, and a write may cause a VM exit after the instruction.
 * Errors: VMXC_BAD_STATE (as above), VMXC_UNSUPPORTED (the ICR with IPI virtualization, IA32_TSC_DEADLINE with APIC-timer
 * virtualization; neither if the bitmap intercepts).
 */
VMXC_MUST_CHECK enum vmxc_status vmxsim_guest_rdmsr(struct vmxsim_cpu *cpu, uint32_t msr,
                                                    struct vmxsim_outcome *outcome);
VMXC_MUST_CHECK enum vmxc_status vmxsim_guest_wrmsr(struct vmxsim_cpu *cpu, uint32_t msr,
                                                    uint64_t value, struct vmxsim_outcome *outcome);

#ifdef __cplusplus
}
#endif

#endif
