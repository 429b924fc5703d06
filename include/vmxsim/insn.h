/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The VMX instructions on the model's processor, and the moves to registers that VMX operation watches.
 *
 * Each call executes one instruction with the values of its operands: faults on memory operands, and the decoding
 * of prefixes, are the caller's business. The result says what the instruction came to and which rule decided; flags, the
 * VM-instruction error field and everything else that the manual says an instruction changes have then been
 * changed.
 *
 * A guest that vmxsim_cpu_load_guest has loaded is there for memory accesses only: as instructions see it, VMX non-root
 * operation begins with a VM entry.
 *
 * Assumptions: A20M is off, the processor is outside SMM and SMX operation, and no SMM-transfer monitor exists.
 *
 * Errors, of every call: VMXC_BAD_STATE (a VMX abort has shut the processor down), VMXC_NO_SPACE (more MSRs are
 * written than the model has room for), VMXC_UNSUPPORTED (a VM exit with a VM-exit control that
 * the model does not have), VMXC_NO_MEMORY (VMXON, VMPTRLD: no host memory to keep track of one more region).
 *
 * Source: Intel SDM volume 3, "VMX Instruction Reference".
 */
#ifndef VMXSIM_INSN_H
#define VMXSIM_INSN_H

#include "vmxcore/defs/vm_error.h"
#include "vmxsim/cpu.h"
#include "vmxsim/entry.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The rule that decided an instruction. */
enum vmxsim_insn_rule {
    VMXSIM_INSN_NONE, /* nothing stood against it */
#define VMXSIM_INSN_RULE(name, id, section, sentence) VMXSIM_INSN_##name,
#include "vmxsim/insn_rules.def"
    VMXSIM_INSN_RULE_COUNT
};

struct vmxsim_insn_rule_info {
    const char *id, *section, *sentence; /* static */
};

/* Of a number that is no rule: that of VMXSIM_INSN_NONE, with empty strings. */
const struct vmxsim_insn_rule_info *vmxsim_insn_rule_info(enum vmxsim_insn_rule rule);

enum vmxsim_insn_kind {
    VMXSIM_INSN_UNDECIDED,    /* the call returned an error */
    VMXSIM_INSN_SUCCEEDED,    /* VMsucceed; of other instructions: they completed */
    VMXSIM_INSN_FAIL_INVALID, /* VMfailInvalid */
    VMXSIM_INSN_FAIL_VALID,   /* VMfailValid(error) */
    VMXSIM_INSN_EXCEPTION,    /* vector, error_code; nothing has changed */
    VMXSIM_INSN_VM_EXIT,      /* exit_reason; the processor is in VMX root operation now */
    VMXSIM_INSN_ENTERED,      /* VM entry; the processor is in VMX non-root operation now */
    VMXSIM_INSN_ENTRY_FAILURE, /* VM-entry failure: exit_reason, qualification; host state is loaded */
};

/* What an instruction came to. Members that do not apply are zero. */
struct vmxsim_insn_result {
    enum vmxsim_insn_kind kind;
    enum vmxsim_insn_rule rule;
    enum vmxsim_entry_rule
        entry_rule;           /* if rule is VMXSIM_INSN_ENTRY: the first one that is broken */
    enum vmxc_vm_error error; /* VM-instruction error */
    uint8_t vector;
    bool has_error_code;
    uint32_t error_code;
    uint16_t exit_reason; /* basic exit reason */
    uint64_t qualification;
    uint64_t value; /* what VMREAD, VMPTRST or RDMSR read */
};

/* ---- The processor ---- */

enum vmxsim_vmx_mode { VMXSIM_VMX_OFF, VMXSIM_VMX_ROOT, VMXSIM_VMX_NON_ROOT };

/* Where the processor is in VMX operation. Pointers that point nowhere are FFFFFFFFFFFFFFFFH. */
struct vmxsim_vmx_state {
    enum vmxsim_vmx_mode mode;
    uint64_t vmxon_pointer, current_vmcs;
    bool launched; /* launch state of the current VMCS */
    bool aborted;  /* a VMX abort has shut the processor down */
};
struct vmxsim_vmx_state vmxsim_cpu_vmx_state(const struct vmxsim_cpu *cpu);

/* What instructions outside VMX non-root operation depend on besides CR0, CR4 and EFER. */
struct vmxsim_execution_state {
    uint64_t rflags;
    uint8_t cpl;
    bool code_64bit;         /* CS.L */
    bool blocking_by_mov_ss; /* lasts for one instruction; the caller clears it */
};
struct vmxsim_execution_state vmxsim_cpu_execution_state(const struct vmxsim_cpu *cpu);
void vmxsim_cpu_set_execution_state(struct vmxsim_cpu *cpu,
                                    const struct vmxsim_execution_state *state);

/* Registers outside VMX non-root operation, as they are now. */
struct vmxsim_root_state vmxsim_cpu_root_state(const struct vmxsim_cpu *cpu);

/* RFLAGS of whatever is executing. */
uint64_t vmxsim_cpu_rflags(const struct vmxsim_cpu *cpu);

/*
 * Puts the processor outside VMX operation with these registers, at CPL 0, in 64-bit code if EFER.LMA is 1; the MSRs have
 * their values from the profile. Memory stays.
 */
void vmxsim_cpu_reset(struct vmxsim_cpu *cpu, const struct vmxsim_root_state *root);

/* ---- Regions: operands are host-physical addresses ---- */

VMXC_MUST_CHECK enum vmxc_status vmxsim_insn_vmxon(struct vmxsim_cpu *cpu, uint64_t address,
                                                   struct vmxsim_insn_result *result);
VMXC_MUST_CHECK enum vmxc_status vmxsim_insn_vmxoff(struct vmxsim_cpu *cpu,
                                                    struct vmxsim_insn_result *result);
VMXC_MUST_CHECK enum vmxc_status vmxsim_insn_vmclear(struct vmxsim_cpu *cpu, uint64_t address,
                                                     struct vmxsim_insn_result *result);
VMXC_MUST_CHECK enum vmxc_status vmxsim_insn_vmptrld(struct vmxsim_cpu *cpu, uint64_t address,
                                                     struct vmxsim_insn_result *result);
/* result->value is the current-VMCS pointer; the caller stores it. */
VMXC_MUST_CHECK enum vmxc_status vmxsim_insn_vmptrst(struct vmxsim_cpu *cpu,
                                                     struct vmxsim_insn_result *result);

/* ---- Fields: operands have 64 bits in 64-bit mode, otherwise 32 ---- */

VMXC_MUST_CHECK enum vmxc_status vmxsim_insn_vmread(struct vmxsim_cpu *cpu, uint64_t field,
                                                    struct vmxsim_insn_result *result);
VMXC_MUST_CHECK enum vmxc_status vmxsim_insn_vmwrite(struct vmxsim_cpu *cpu, uint64_t field,
                                                     uint64_t value,
                                                     struct vmxsim_insn_result *result);

/* ---- Entry, calls ---- */

/* `report` (may be NULL) receives every broken rule and what a processor may make of them. */
VMXC_MUST_CHECK enum vmxc_status vmxsim_insn_vmlaunch(struct vmxsim_cpu *cpu,
                                                      struct vmxsim_entry_report *report,
                                                      struct vmxsim_insn_result *result);
VMXC_MUST_CHECK enum vmxc_status vmxsim_insn_vmresume(struct vmxsim_cpu *cpu,
                                                      struct vmxsim_entry_report *report,
                                                      struct vmxsim_insn_result *result);
/*
 * In VMX root operation: VM-instruction error 1, or if the profile says in IA32_SMM_MONITOR_CTL that SMM code has registered an
 * SMM-transfer monitor, the checks that come before dual-monitor treatment starts. Errors: VMXC_UNSUPPORTED (it starts).
 */
VMXC_MUST_CHECK enum vmxc_status vmxsim_insn_vmcall(struct vmxsim_cpu *cpu,
                                                    struct vmxsim_insn_result *result);
VMXC_MUST_CHECK enum vmxc_status vmxsim_insn_vmfunc(struct vmxsim_cpu *cpu, uint32_t eax,
                                                    uint32_t ecx,
                                                    struct vmxsim_insn_result *result);

/* ---- Invalidation: the register operand, and the two quadwords of the descriptor ---- */

VMXC_MUST_CHECK enum vmxc_status vmxsim_insn_invept(struct vmxsim_cpu *cpu, uint64_t type,
                                                    const uint64_t descriptor[2],
                                                    struct vmxsim_insn_result *result);
VMXC_MUST_CHECK enum vmxc_status vmxsim_insn_invvpid(struct vmxsim_cpu *cpu, uint64_t type,
                                                     const uint64_t descriptor[2],
                                                     struct vmxsim_insn_result *result);

/*
 * ---- Registers, outside VMX non-root operation ----
 *
 * What a guest's moves come to is a matter of the VM-execution controls: there these calls return VMXC_UNSUPPORTED.
 * PDPTEs are not looked at when CR0 or CR4 turn on PAE paging.
 */

VMXC_MUST_CHECK enum vmxc_status vmxsim_insn_mov_to_cr0(struct vmxsim_cpu *cpu, uint64_t value,
                                                        struct vmxsim_insn_result *result);
VMXC_MUST_CHECK enum vmxc_status vmxsim_insn_mov_to_cr4(struct vmxsim_cpu *cpu, uint64_t value,
                                                        struct vmxsim_insn_result *result);
VMXC_MUST_CHECK enum vmxc_status vmxsim_insn_rdmsr(struct vmxsim_cpu *cpu, uint32_t msr,
                                                   struct vmxsim_insn_result *result);
VMXC_MUST_CHECK enum vmxc_status vmxsim_insn_wrmsr(struct vmxsim_cpu *cpu, uint32_t msr,
                                                   uint64_t value,
                                                   struct vmxsim_insn_result *result);

#ifdef __cplusplus
}
#endif

#endif
