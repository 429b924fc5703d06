/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How the instructions are written down: an ordered list of reasons to end, each of which says what the instruction
 * comes to, and after the last the effect.
 *
 *     VMXC_TRY(vmxsim_insn_begin(cpu, VMXC_EXIT_REASON_VMCLEAR, result));
 *     if (vmxsim_insn_is_decided(result))
 *         return VMXC_OK;
 *     if (!vmxsim_insn_is_region_address(cpu, address))
 *         return vmxsim_insn_fail(cpu, result, VMXC_VM_ERROR_VMCLEAR_ADDRESS, VMXSIM_INSN_VMCLEAR_ADDRESS);
 *     ...
 *     return vmxsim_insn_succeed(cpu, result);
 *
 * The functions that decide return VMXC_OK: the model has done what it was asked for.
 */
#ifndef VMXSIM_INTERNAL_INSN_H
#define VMXSIM_INTERNAL_INSN_H

#include "internal/cpu.h"
#include "vmxcore/defs/exit_reason.h"
#include "vmxcore/defs/guest_state.h"
#include "vmxcore/defs/msr.h"

/* The registers of whatever is executing, as far as instructions ask. */
struct insn_mode {
    uint64_t cr0, cr4, efer, rflags;
    uint8_t cpl;
    bool code_64bit;
};
struct insn_mode vmxsim_insn_mode(const struct vmxsim_cpu *cpu);

/* Protected mode, not virtual-8086 mode, not compatibility mode. */
bool vmxsim_insn_mode_has_vmx(const struct vmxsim_cpu *cpu);

/* ---- Beginnings ---- */

/* Clears the result. Errors: VMXC_BAD_STATE. */
VMXC_MUST_CHECK enum vmxc_status vmxsim_insn_start(const struct vmxsim_cpu *cpu,
                                                   struct vmxsim_insn_result *result);
/*
 * vmxsim_insn_start, and what most instructions ask first: mode and VMX operation (#UD), VMX non-root operation (a VM exit
 * with this reason), privilege (#GP).
 */
VMXC_MUST_CHECK enum vmxc_status vmxsim_insn_begin(struct vmxsim_cpu *cpu, uint16_t exit_reason,
                                                   struct vmxsim_insn_result *result);
/* The first part of vmxsim_insn_begin: #UD. */
void vmxsim_insn_require_vmx(const struct vmxsim_cpu *cpu, struct vmxsim_insn_result *result);
/* The last part of vmxsim_insn_begin: #GP. */
void vmxsim_insn_require_cpl0(const struct vmxsim_cpu *cpu, struct vmxsim_insn_result *result);

bool vmxsim_insn_is_decided(const struct vmxsim_insn_result *result);

/* ---- Ends ---- */

enum vmxc_status vmxsim_insn_succeed(struct vmxsim_cpu *cpu, struct vmxsim_insn_result *result);
/* The instruction completes and is not one that reports in the flags. */
enum vmxc_status vmxsim_insn_complete(struct vmxsim_insn_result *result);
/* VMfail: VMfailValid if there is a current VMCS, otherwise VMfailInvalid. */
enum vmxc_status vmxsim_insn_fail(struct vmxsim_cpu *cpu, struct vmxsim_insn_result *result,
                                  enum vmxc_vm_error error, enum vmxsim_insn_rule rule);
enum vmxc_status vmxsim_insn_fail_invalid(struct vmxsim_cpu *cpu, struct vmxsim_insn_result *result,
                                          enum vmxsim_insn_rule rule);
enum vmxc_status vmxsim_insn_undefined(struct vmxsim_insn_result *result,
                                       enum vmxsim_insn_rule rule);
enum vmxc_status vmxsim_insn_protection(struct vmxsim_insn_result *result,
                                        enum vmxsim_insn_rule rule);
/* Makes the VM exit; exit qualification 0. Errors: VMXC_NO_SPACE. */
VMXC_MUST_CHECK enum vmxc_status vmxsim_insn_exit(struct vmxsim_cpu *cpu,
                                                  struct vmxsim_insn_result *result,
                                                  uint16_t exit_reason, enum vmxsim_insn_rule rule);

/* ---- What several instructions ask ---- */

/* 4-KByte aligned, and not wider than IA32_VMX_BASIC and the processor allow. */
bool vmxsim_insn_is_region_address(const struct vmxsim_cpu *cpu, uint64_t address);
/* Would a VM entry accept this EPT pointer? */
bool vmxsim_insn_is_eptp(const struct vmxsim_cpu *cpu, uint64_t eptp);

/* insn_invalidate.c: executed in VMX root operation, in 64-bit mode, the instruction succeeds. */
bool vmxsim_insn_invept_is_valid(const struct vmxsim_cpu *cpu, uint64_t type,
                                 const uint64_t descriptor[2]);
bool vmxsim_insn_invvpid_is_valid(const struct vmxsim_cpu *cpu, uint64_t type,
                                  const uint64_t descriptor[2]);
/* Is `value` within what a pair of FIXED MSRs allows? */
bool vmxsim_insn_is_fixed(const struct vmxsim_cpu *cpu, uint64_t value, uint32_t fixed0_msr);

/*
 * insn_launch.c: VMLAUNCH or VMRESUME by a processor that, where it may report one of several outcomes, reports
 * `preferred` if that is among them; NULL: the first.
 */
VMXC_MUST_CHECK enum vmxc_status vmxsim_insn_enter(struct vmxsim_cpu *cpu, bool vmresume,
                                                   const struct vmxsim_entry_outcome *preferred,
                                                   struct vmxsim_entry_report *report,
                                                   struct vmxsim_insn_result *result);

#endif
