/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Layouts of the exit qualification and of the VM-exit instruction information, and the VMX-abort indicators.
 * Source: Intel SDM volume 3, "Basic VM-Exit Information", "Information for VM Exits Due to Instruction Execution",
 * "VMX Aborts".
 */
#ifndef VMXC_DEFS_EXIT_INFO_H
#define VMXC_DEFS_EXIT_INFO_H

#include "vmxcore/defs/bits.h"

/* ---- Exit qualification ---- */

/* Debug exceptions: the causes, where DR6 has them. */
#define VMXC_QUALIFICATION_DEBUG_BREAKPOINTS VMXC_BITS(3, 0) /* B3 to B0 */
#define VMXC_QUALIFICATION_DEBUG_BUS_LOCK    VMXC_BIT(11)    /* BLD */
#define VMXC_QUALIFICATION_DEBUG_REGISTER    VMXC_BIT(13)    /* BD: general detect */
#define VMXC_QUALIFICATION_DEBUG_SINGLE_STEP VMXC_BIT(14)    /* BS */
#define VMXC_QUALIFICATION_DEBUG_RTM         VMXC_BIT(16)

/* Task switches. */
#define VMXC_QUALIFICATION_TASK_SELECTOR VMXC_BITS(15, 0) /* of the new TSS */
#define VMXC_QUALIFICATION_TASK_SOURCE   VMXC_BITS(31, 30)

enum vmxc_task_source {
    VMXC_TASK_SOURCE_CALL = 0,
    VMXC_TASK_SOURCE_IRET = 1,
    VMXC_TASK_SOURCE_JMP = 2,
    VMXC_TASK_SOURCE_IDT_GATE = 3,
};

/* Control-register accesses. */
#define VMXC_QUALIFICATION_CR_NUMBER      VMXC_BITS(3, 0) /* CLTS and LMSW: 0 */
#define VMXC_QUALIFICATION_CR_ACCESS      VMXC_BITS(5, 4)
#define VMXC_QUALIFICATION_CR_LMSW_MEMORY VMXC_BIT(6)
#define VMXC_QUALIFICATION_CR_REGISTER    VMXC_BITS(11, 8)  /* MOV CR */
#define VMXC_QUALIFICATION_CR_LMSW_SOURCE VMXC_BITS(31, 16) /* LMSW */

enum vmxc_cr_access {
    VMXC_CR_ACCESS_MOV_TO = 0,
    VMXC_CR_ACCESS_MOV_FROM = 1,
    VMXC_CR_ACCESS_CLTS = 2,
    VMXC_CR_ACCESS_LMSW = 3,
};

/* MOV DR. */
#define VMXC_QUALIFICATION_DR_NUMBER   VMXC_BITS(2, 0)
#define VMXC_QUALIFICATION_DR_FROM     VMXC_BIT(4) /* 1: MOV from DR */
#define VMXC_QUALIFICATION_DR_REGISTER VMXC_BITS(11, 8)

/* I/O instructions. */
#define VMXC_QUALIFICATION_IO_SIZE      VMXC_BITS(2, 0) /* bytes minus 1 */
#define VMXC_QUALIFICATION_IO_IN        VMXC_BIT(3)
#define VMXC_QUALIFICATION_IO_STRING    VMXC_BIT(4)
#define VMXC_QUALIFICATION_IO_REP       VMXC_BIT(5)
#define VMXC_QUALIFICATION_IO_IMMEDIATE VMXC_BIT(6)
#define VMXC_QUALIFICATION_IO_PORT      VMXC_BITS(31, 16)

/* MWAIT. */
#define VMXC_QUALIFICATION_MWAIT_ARMED VMXC_BIT(0) /* address-range monitoring hardware is armed */

/* WRMSR: it was WRMSRNS. WBINVD: it was WBNOINVD. */
#define VMXC_QUALIFICATION_OTHER_FORM VMXC_BIT(0)

/* Accesses to the APIC-access page; APIC writes have the offset alone. */
#define VMXC_QUALIFICATION_APIC_OFFSET       VMXC_BITS(11, 0)
#define VMXC_QUALIFICATION_APIC_TYPE         VMXC_BITS(15, 12)
#define VMXC_QUALIFICATION_APIC_ASYNCHRONOUS VMXC_BIT(16)

/* Instruction timeout. */
#define VMXC_QUALIFICATION_CONTEXT_INVALID VMXC_BIT(0) /* the guest cannot be resumed */

/* Start-up IPIs, virtualized EOI. */
#define VMXC_QUALIFICATION_VECTOR VMXC_BITS(7, 0)

/* Accesses to MSRs whose index is no register of its own. */
#define VMXC_QUALIFICATION_MSR VMXC_BITS(31, 0)

/* SPP-related events. */
#define VMXC_QUALIFICATION_SPPT_MISS VMXC_BIT(11) /* 0: misconfiguration */

/* EPT violations, SPP-related events, page-modification log full, instruction timeout. */
#define VMXC_QUALIFICATION_NMI_UNBLOCKING VMXC_BIT(12) /* due to IRET */

/* ---- VM-exit instruction information ---- */

#define VMXC_INSTRUCTION_SCALE         VMXC_BITS(1, 0) /* index is scaled by 2^n */
#define VMXC_INSTRUCTION_REG1          VMXC_BITS(6, 3)
#define VMXC_INSTRUCTION_ADDRESS_SIZE  VMXC_BITS(9, 7) /* 16 << n bits */
#define VMXC_INSTRUCTION_REGISTER_FORM VMXC_BIT(10)    /* 0: memory operand */
#define VMXC_INSTRUCTION_TABLE_SIZE_32 \
    VMXC_BIT(11) /* LGDT, LIDT, SGDT, SIDT: 32-bit operand size */
#define VMXC_INSTRUCTION_RANDOM_SIZE    VMXC_BITS(12, 11) /* RDRAND, RDSEED: 16 << n bits */
#define VMXC_INSTRUCTION_SEGMENT        VMXC_BITS(17, 15) /* ES, CS, SS, DS, FS, GS */
#define VMXC_INSTRUCTION_INDEX          VMXC_BITS(21, 18)
#define VMXC_INSTRUCTION_NO_INDEX       VMXC_BIT(22)
#define VMXC_INSTRUCTION_BASE           VMXC_BITS(26, 23)
#define VMXC_INSTRUCTION_NO_BASE        VMXC_BIT(27)
#define VMXC_INSTRUCTION_TABLE_IDENTITY VMXC_BITS(29, 28) /* descriptor-table instructions: which */
#define VMXC_INSTRUCTION_REG2           VMXC_BITS(31, 28)

/* Which parts the information of an instruction has. "Memory" is scale, address size, segment, index and base. */
enum vmxc_instruction_layout {
    VMXC_INSTRUCTION_LAYOUT_NONE,        /* undefined */
    VMXC_INSTRUCTION_LAYOUT_STRING,      /* INS, OUTS: address size; OUTS: segment */
    VMXC_INSTRUCTION_LAYOUT_MEMORY,      /* VMCLEAR, VMPTRLD, VMPTRST, VMXON, XSAVES, XRSTORS */
    VMXC_INSTRUCTION_LAYOUT_MEMORY_REG2, /* INVEPT, INVPCID, INVVPID */
    VMXC_INSTRUCTION_LAYOUT_GDTR_IDTR,   /* memory, operand size, identity */
    VMXC_INSTRUCTION_LAYOUT_LDTR_TR,     /* memory or register, identity */
    VMXC_INSTRUCTION_LAYOUT_RANDOM,      /* RDRAND, RDSEED, TPAUSE, UMWAIT: register and its size */
    VMXC_INSTRUCTION_LAYOUT_VMREAD,      /* VMREAD, VMWRITE: memory or register, second register */
    VMXC_INSTRUCTION_LAYOUT_REGISTER,    /* MSR accesses by URDMSR ... RDMSR (immediate form) */
    VMXC_INSTRUCTION_LAYOUT_XMM,         /* LOADIWKEY: both registers are XMM registers */
    VMXC_INSTRUCTION_LAYOUT_COUNT
};

/* What the exit qualification of an exit reason holds. */
enum vmxc_qualification_layout {
    VMXC_QUALIFICATION_LAYOUT_NONE,  /* cleared */
    VMXC_QUALIFICATION_LAYOUT_EVENT, /* #DB: causes; #PF: linear address; otherwise cleared */
    VMXC_QUALIFICATION_LAYOUT_VECTOR,
    VMXC_QUALIFICATION_LAYOUT_TASK_SWITCH,
    VMXC_QUALIFICATION_LAYOUT_LINEAR_ADDRESS,
    VMXC_QUALIFICATION_LAYOUT_DISPLACEMENT, /* of the memory operand; RIP-relative: plus RIP */
    VMXC_QUALIFICATION_LAYOUT_CR,
    VMXC_QUALIFICATION_LAYOUT_DR,
    VMXC_QUALIFICATION_LAYOUT_IO,
    VMXC_QUALIFICATION_LAYOUT_WRMSR,       /* WRMSR, or WRMSRNS */
    VMXC_QUALIFICATION_LAYOUT_GUEST_STATE, /* failed VM entry: which check */
    VMXC_QUALIFICATION_LAYOUT_MSR_ENTRY,   /* failed VM entry: number of the entry, from 1 */
    VMXC_QUALIFICATION_LAYOUT_MWAIT,
    VMXC_QUALIFICATION_LAYOUT_APIC_ACCESS,
    VMXC_QUALIFICATION_LAYOUT_APIC_WRITE, /* offset in the page */
    VMXC_QUALIFICATION_LAYOUT_EPT_VIOLATION,
    VMXC_QUALIFICATION_LAYOUT_WBINVD, /* WBINVD, or WBNOINVD */
    VMXC_QUALIFICATION_LAYOUT_LOG_FULL,
    VMXC_QUALIFICATION_LAYOUT_SPP,
    VMXC_QUALIFICATION_LAYOUT_TIMEOUT,
    VMXC_QUALIFICATION_LAYOUT_MSR, /* its index */
    VMXC_QUALIFICATION_LAYOUT_COUNT
};

/* ---- VMX-abort indicators ---- */

enum vmxc_vmx_abort {
    VMXC_VMX_ABORT_NONE = 0,
    VMXC_VMX_ABORT_SAVING_MSRS = 1,
    VMXC_VMX_ABORT_HOST_PDPTES = 2,
    VMXC_VMX_ABORT_CORRUPTED_VMCS = 3,
    VMXC_VMX_ABORT_LOADING_MSRS = 4,
    VMXC_VMX_ABORT_MACHINE_CHECK = 5,
    VMXC_VMX_ABORT_HOST_ADDRESS_SPACE = 6, /* IA-32e mode before the exit, a 32-bit host after it */
};

#endif
