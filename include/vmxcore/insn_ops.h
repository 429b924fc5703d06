/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The instruction seam: every privileged instruction that libvmxcore executes, one function each.
 *
 * An instance is one `const struct vmxc_insn_ops` with a context pointer and belongs to one logical processor:
 * insn_native.h executes the instructions, libvmxsim's model imitates them. The table must outlive every object that
 * was made with it. All members are mandatory.
 *
 * Source: Intel SDM volume 3, "VMX Instruction Reference", "Conventions".
 */
#ifndef VMXC_INSN_OPS_H
#define VMXC_INSN_OPS_H

#include "vmxcore/defs/status.h"
#include "vmxcore/defs/types.h"
#include "vmxcore/defs/vm_error.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What an instruction came to. */
enum vmxc_insn_result {
    VMXC_INSN_SUCCEEDED,    /* VMsucceed; of other instructions: they completed */
    VMXC_INSN_FAIL_INVALID, /* VMfailInvalid: there is no current VMCS, or the operand is no region */
    VMXC_INSN_FAIL_VALID,   /* VMfailValid: the current VMCS holds the VM-instruction error */
    VMXC_INSN_EXCEPTION,    /* it raised an exception and changed nothing */
    /*
     * VMLAUNCH, VMRESUME: control came back by a VM exit, or by a VM-entry failure after the controls and the host
     * state had been checked (bit 31 of the exit reason tells).
     */
    VMXC_INSN_VM_EXIT,
};

/* Numbers of the general-purpose registers, as exit qualifications and instruction information use them. */
enum vmxc_gpr {
    VMXC_GPR_RAX,
    VMXC_GPR_RCX,
    VMXC_GPR_RDX,
    VMXC_GPR_RBX,
    VMXC_GPR_RSP, /* the guest's lies in the VMCS */
    VMXC_GPR_RBP,
    VMXC_GPR_RSI,
    VMXC_GPR_RDI,
    VMXC_GPR_R8,
    VMXC_GPR_R9,
    VMXC_GPR_R10,
    VMXC_GPR_R11,
    VMXC_GPR_R12,
    VMXC_GPR_R13,
    VMXC_GPR_R14,
    VMXC_GPR_R15,
    VMXC_GPR_COUNT
};

/* The guest's general-purpose registers, which a VMCS does not hold; value[VMXC_GPR_RSP] is not used. */
struct vmxc_gprs {
    uint64_t value[VMXC_GPR_COUNT];
};

/* Segment and descriptor-table registers of the hypervisor itself. */
struct vmxc_host_segments {
    uint16_t es, cs, ss, ds, fs, gs, tr; /* selectors */
    uint64_t tr_base, gdtr_base, idtr_base;
};

/* Types of INVEPT and INVVPID. */
enum vmxc_invept_type {
    VMXC_INVEPT_SINGLE = 1, /* single-context: one EPTP */
    VMXC_INVEPT_ALL = 2,
};

enum vmxc_invvpid_type {
    VMXC_INVVPID_ADDRESS = 0, /* one linear address of one VPID */
    VMXC_INVVPID_SINGLE = 1,
    VMXC_INVVPID_ALL = 2,
    VMXC_INVVPID_SINGLE_GLOBALS = 3, /* retaining global translations */
};

struct vmxc_insn_ops {
    void *context; /* passed to every function */

    /* Operands are the addresses of regions; an instance puts them into memory where the instruction wants that. */
    enum vmxc_insn_result (*vmxon)(void *context, vmxc_hpa_t region_hpa);
    enum vmxc_insn_result (*vmxoff)(void *context);
    enum vmxc_insn_result (*vmclear)(void *context, vmxc_hpa_t region_hpa);
    enum vmxc_insn_result (*vmptrld)(void *context, vmxc_hpa_t region_hpa);
    enum vmxc_insn_result (*vmptrst)(void *context, vmxc_hpa_t *region_hpa);

    enum vmxc_insn_result (*vmread)(void *context, uint32_t field, uint64_t *value);
    enum vmxc_insn_result (*vmwrite)(void *context, uint32_t field, uint64_t value);

    /*
     * Loads the guest's registers from `gprs`, enters the guest, and after the VM exit stores them there. HOST_RIP
     * and HOST_RSP are the instance's: it writes them before the instruction.
     */
    enum vmxc_insn_result (*vmlaunch)(void *context, struct vmxc_gprs *gprs);
    enum vmxc_insn_result (*vmresume)(void *context, struct vmxc_gprs *gprs);

    /* Types are enum vmxc_invept_type and enum vmxc_invvpid_type. */
    enum vmxc_insn_result (*invept)(void *context, uint64_t type, uint64_t eptp);
    enum vmxc_insn_result (*invvpid)(void *context, uint64_t type, uint16_t vpid,
                                     vmxc_gva_t linear);

    enum vmxc_insn_result (*rdmsr)(void *context, uint32_t msr, uint64_t *value);
    enum vmxc_insn_result (*wrmsr)(void *context, uint32_t msr, uint64_t value);

    uint64_t (*read_cr0)(void *context);
    uint64_t (*read_cr3)(void *context);
    uint64_t (*read_cr4)(void *context);
    enum vmxc_insn_result (*write_cr0)(void *context, uint64_t value);
    enum vmxc_insn_result (*write_cr3)(void *context, uint64_t value);
    enum vmxc_insn_result (*write_cr4)(void *context, uint64_t value);

    /* EAX, EBX, ECX, EDX of a leaf. */
    void (*cpuid)(void *context, uint32_t leaf, uint32_t subleaf, uint32_t registers[4]);

    /* The segment registers as they are now (MOV from segment registers, STR, SGDT, SIDT). */
    void (*segments)(void *context, struct vmxc_host_segments *segments);
};

/*
 * What a VM-instruction error means to the caller: VMXC_UNSUPPORTED (the processor lacks the field), VMXC_DENIED (the
 * field is read-only), VMXC_BAD_STATE (launch state, MOV SS, VMX operation, fields that a VM entry refuses),
 * VMXC_INVALID_INPUT (operands).
 */
enum vmxc_status vmxc_vm_error_status(enum vmxc_vm_error error);

/*
 * A result as a status. SUCCEEDED and VM_EXIT are VMXC_OK, FAIL_INVALID is VMXC_BAD_STATE, EXCEPTION is
 * VMXC_UNSUPPORTED, FAIL_VALID is what the VM-instruction error field of the current VMCS says.
 */
VMXC_MUST_CHECK enum vmxc_status vmxc_insn_status(const struct vmxc_insn_ops *ops,
                                                  enum vmxc_insn_result result);

/* VMREAD and VMWRITE with a status. Errors: as vmxc_insn_status. */
VMXC_MUST_CHECK enum vmxc_status vmxc_insn_read(const struct vmxc_insn_ops *ops, uint32_t field,
                                                uint64_t *value);
VMXC_MUST_CHECK enum vmxc_status vmxc_insn_write(const struct vmxc_insn_ops *ops, uint32_t field,
                                                 uint64_t value);

/* RDMSR and WRMSR with a status. Errors: VMXC_UNSUPPORTED (an exception). */
VMXC_MUST_CHECK enum vmxc_status vmxc_insn_read_msr(const struct vmxc_insn_ops *ops, uint32_t msr,
                                                    uint64_t *value);
VMXC_MUST_CHECK enum vmxc_status vmxc_insn_write_msr(const struct vmxc_insn_ops *ops, uint32_t msr,
                                                     uint64_t value);

/*
 * Drops what this processor has cached for `eptp`: single-context INVEPT where the processor has it (`ept_vpid_cap`
 * is IA32_VMX_EPT_VPID_CAP), otherwise all-context. It is what a HAL's invalidate_ept does on each processor.
 * Errors: VMXC_UNSUPPORTED (no INVEPT of either type), or as vmxc_insn_status.
 */
VMXC_MUST_CHECK enum vmxc_status vmxc_insn_invalidate_ept(const struct vmxc_insn_ops *ops,
                                                          uint64_t ept_vpid_cap, uint64_t eptp);

#ifdef __cplusplus
}
#endif

#endif
