/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Masks of the VM-execution, VM-exit and VM-entry controls: VMXC_<word>_<name>, one bit each, 64 bits wide so
 * that the tertiary and the secondary VM-exit controls are used like the rest. controls.def has the same
 * positions with the names for people; the check at the foot compares the two at compile time.
 */
#ifndef VMXC_DEFS_CONTROLS_H
#define VMXC_DEFS_CONTROLS_H

#include "vmxcore/defs/bits.h"

/* The seven words. PIN to SECONDARY, EXIT and ENTRY are 32 bits wide, the other two 64. */
enum vmxc_control_word {
    VMXC_CONTROL_WORD_PIN,
    VMXC_CONTROL_WORD_PRIMARY,
    VMXC_CONTROL_WORD_SECONDARY,
    VMXC_CONTROL_WORD_TERTIARY,
    VMXC_CONTROL_WORD_EXIT,
    VMXC_CONTROL_WORD_SECONDARY_EXIT,
    VMXC_CONTROL_WORD_ENTRY,
    VMXC_CONTROL_WORD_COUNT
};

enum {
#define VMXC_CONTROL(word, bit, name, manual_name) VMXC_CONTROL_ORDINAL_##word##_##name,
#include "vmxcore/defs/controls.def"
    VMXC_CONTROL_COUNT /* rows of the table */
};

/* Pin-Based VM-Execution Controls. */
#define VMXC_PIN_EXTERNAL_INTERRUPT_EXITING VMXC_BIT(0)
#define VMXC_PIN_NMI_EXITING                VMXC_BIT(3)
#define VMXC_PIN_VIRTUAL_NMIS               VMXC_BIT(5)
#define VMXC_PIN_ACTIVATE_PREEMPTION_TIMER  VMXC_BIT(6)
#define VMXC_PIN_PROCESS_POSTED_INTERRUPTS  VMXC_BIT(7)

/* Primary Processor-Based VM-Execution Controls. */
#define VMXC_PRIMARY_INTERRUPT_WINDOW_EXITING    VMXC_BIT(2)
#define VMXC_PRIMARY_USE_TSC_OFFSETTING          VMXC_BIT(3)
#define VMXC_PRIMARY_HLT_EXITING                 VMXC_BIT(7)
#define VMXC_PRIMARY_INVLPG_EXITING              VMXC_BIT(9)
#define VMXC_PRIMARY_MWAIT_EXITING               VMXC_BIT(10)
#define VMXC_PRIMARY_RDPMC_EXITING               VMXC_BIT(11)
#define VMXC_PRIMARY_RDTSC_EXITING               VMXC_BIT(12)
#define VMXC_PRIMARY_CR3_LOAD_EXITING            VMXC_BIT(15)
#define VMXC_PRIMARY_CR3_STORE_EXITING           VMXC_BIT(16)
#define VMXC_PRIMARY_ACTIVATE_TERTIARY_CONTROLS  VMXC_BIT(17)
#define VMXC_PRIMARY_CR8_LOAD_EXITING            VMXC_BIT(19)
#define VMXC_PRIMARY_CR8_STORE_EXITING           VMXC_BIT(20)
#define VMXC_PRIMARY_USE_TPR_SHADOW              VMXC_BIT(21)
#define VMXC_PRIMARY_NMI_WINDOW_EXITING          VMXC_BIT(22)
#define VMXC_PRIMARY_MOV_DR_EXITING              VMXC_BIT(23)
#define VMXC_PRIMARY_UNCONDITIONAL_IO_EXITING    VMXC_BIT(24)
#define VMXC_PRIMARY_USE_IO_BITMAPS              VMXC_BIT(25)
#define VMXC_PRIMARY_MONITOR_TRAP_FLAG           VMXC_BIT(27)
#define VMXC_PRIMARY_USE_MSR_BITMAPS             VMXC_BIT(28)
#define VMXC_PRIMARY_MONITOR_EXITING             VMXC_BIT(29)
#define VMXC_PRIMARY_PAUSE_EXITING               VMXC_BIT(30)
#define VMXC_PRIMARY_ACTIVATE_SECONDARY_CONTROLS VMXC_BIT(31)

/* Secondary Processor-Based VM-Execution Controls. */
#define VMXC_SECONDARY_VIRTUALIZE_APIC_ACCESSES     VMXC_BIT(0)
#define VMXC_SECONDARY_ENABLE_EPT                   VMXC_BIT(1)
#define VMXC_SECONDARY_DESCRIPTOR_TABLE_EXITING     VMXC_BIT(2)
#define VMXC_SECONDARY_ENABLE_RDTSCP                VMXC_BIT(3)
#define VMXC_SECONDARY_VIRTUALIZE_X2APIC_MODE       VMXC_BIT(4)
#define VMXC_SECONDARY_ENABLE_VPID                  VMXC_BIT(5)
#define VMXC_SECONDARY_WBINVD_EXITING               VMXC_BIT(6)
#define VMXC_SECONDARY_UNRESTRICTED_GUEST           VMXC_BIT(7)
#define VMXC_SECONDARY_APIC_REGISTER_VIRTUALIZATION VMXC_BIT(8)
#define VMXC_SECONDARY_VIRTUAL_INTERRUPT_DELIVERY   VMXC_BIT(9)
#define VMXC_SECONDARY_PAUSE_LOOP_EXITING           VMXC_BIT(10)
#define VMXC_SECONDARY_RDRAND_EXITING               VMXC_BIT(11)
#define VMXC_SECONDARY_ENABLE_INVPCID               VMXC_BIT(12)
#define VMXC_SECONDARY_ENABLE_VM_FUNCTIONS          VMXC_BIT(13)
#define VMXC_SECONDARY_VMCS_SHADOWING               VMXC_BIT(14)
#define VMXC_SECONDARY_ENABLE_ENCLS_EXITING         VMXC_BIT(15)
#define VMXC_SECONDARY_RDSEED_EXITING               VMXC_BIT(16)
#define VMXC_SECONDARY_ENABLE_PML                   VMXC_BIT(17)
#define VMXC_SECONDARY_EPT_VIOLATION_VE             VMXC_BIT(18)
#define VMXC_SECONDARY_CONCEAL_VMX_FROM_PT          VMXC_BIT(19)
#define VMXC_SECONDARY_ENABLE_XSAVES_XRSTORS        VMXC_BIT(20)
#define VMXC_SECONDARY_PASID_TRANSLATION            VMXC_BIT(21)
#define VMXC_SECONDARY_MODE_BASED_EXECUTE_CONTROL   VMXC_BIT(22)
#define VMXC_SECONDARY_SUB_PAGE_WRITE_PERMISSIONS   VMXC_BIT(23)
#define VMXC_SECONDARY_PT_USES_GUEST_PHYSICAL       VMXC_BIT(24)
#define VMXC_SECONDARY_USE_TSC_SCALING              VMXC_BIT(25)
#define VMXC_SECONDARY_ENABLE_USER_WAIT_AND_PAUSE   VMXC_BIT(26)
#define VMXC_SECONDARY_ENABLE_PCONFIG               VMXC_BIT(27)
#define VMXC_SECONDARY_ENABLE_ENCLV_EXITING         VMXC_BIT(28)
#define VMXC_SECONDARY_BUS_LOCK_DETECTION           VMXC_BIT(30)
#define VMXC_SECONDARY_INSTRUCTION_TIMEOUT          VMXC_BIT(31)

/* Tertiary Processor-Based VM-Execution Controls. */
#define VMXC_TERTIARY_LOADIWKEY_EXITING            VMXC_BIT(0)
#define VMXC_TERTIARY_ENABLE_HLAT                  VMXC_BIT(1)
#define VMXC_TERTIARY_EPT_PAGING_WRITE_CONTROL     VMXC_BIT(2)
#define VMXC_TERTIARY_GUEST_PAGING_VERIFICATION    VMXC_BIT(3)
#define VMXC_TERTIARY_IPI_VIRTUALIZATION           VMXC_BIT(4)
#define VMXC_TERTIARY_ENABLE_MSR_LIST_INSTRUCTIONS VMXC_BIT(6)
#define VMXC_TERTIARY_VIRTUALIZE_SPEC_CTRL         VMXC_BIT(7)
#define VMXC_TERTIARY_APIC_TIMER_VIRTUALIZATION    VMXC_BIT(8)

/* Primary VM-Exit Controls. */
#define VMXC_EXIT_SAVE_DEBUG_CONTROLS         VMXC_BIT(2)
#define VMXC_EXIT_HOST_ADDRESS_SPACE_SIZE     VMXC_BIT(9)
#define VMXC_EXIT_LOAD_PERF_GLOBAL_CTRL       VMXC_BIT(12)
#define VMXC_EXIT_ACKNOWLEDGE_INTERRUPT       VMXC_BIT(15)
#define VMXC_EXIT_SAVE_PAT                    VMXC_BIT(18)
#define VMXC_EXIT_LOAD_PAT                    VMXC_BIT(19)
#define VMXC_EXIT_SAVE_EFER                   VMXC_BIT(20)
#define VMXC_EXIT_LOAD_EFER                   VMXC_BIT(21)
#define VMXC_EXIT_SAVE_PREEMPTION_TIMER       VMXC_BIT(22)
#define VMXC_EXIT_CLEAR_BNDCFGS               VMXC_BIT(23)
#define VMXC_EXIT_CONCEAL_VMX_FROM_PT         VMXC_BIT(24)
#define VMXC_EXIT_CLEAR_RTIT_CTL              VMXC_BIT(25)
#define VMXC_EXIT_CLEAR_LBR_CTL               VMXC_BIT(26)
#define VMXC_EXIT_CLEAR_UINV                  VMXC_BIT(27)
#define VMXC_EXIT_LOAD_CET                    VMXC_BIT(28)
#define VMXC_EXIT_LOAD_PKRS                   VMXC_BIT(29)
#define VMXC_EXIT_SAVE_PERF_GLOBAL_CTRL       VMXC_BIT(30)
#define VMXC_EXIT_ACTIVATE_SECONDARY_CONTROLS VMXC_BIT(31)

/* Secondary VM-Exit Controls. */
#define VMXC_SECONDARY_EXIT_SAVE_FRED                     VMXC_BIT(0)
#define VMXC_SECONDARY_EXIT_LOAD_FRED                     VMXC_BIT(1)
#define VMXC_SECONDARY_EXIT_LOAD_SPEC_CTRL                VMXC_BIT(2)
#define VMXC_SECONDARY_EXIT_PREMATURELY_BUSY_SHADOW_STACK VMXC_BIT(3)

/* VM-Entry Controls. */
#define VMXC_ENTRY_LOAD_DEBUG_CONTROLS     VMXC_BIT(2)
#define VMXC_ENTRY_IA32E_MODE_GUEST        VMXC_BIT(9)
#define VMXC_ENTRY_ENTRY_TO_SMM            VMXC_BIT(10)
#define VMXC_ENTRY_DEACTIVATE_DUAL_MONITOR VMXC_BIT(11)
#define VMXC_ENTRY_LOAD_PERF_GLOBAL_CTRL   VMXC_BIT(13)
#define VMXC_ENTRY_LOAD_PAT                VMXC_BIT(14)
#define VMXC_ENTRY_LOAD_EFER               VMXC_BIT(15)
#define VMXC_ENTRY_LOAD_BNDCFGS            VMXC_BIT(16)
#define VMXC_ENTRY_CONCEAL_VMX_FROM_PT     VMXC_BIT(17)
#define VMXC_ENTRY_LOAD_RTIT_CTL           VMXC_BIT(18)
#define VMXC_ENTRY_LOAD_UINV               VMXC_BIT(19)
#define VMXC_ENTRY_LOAD_CET                VMXC_BIT(20)
#define VMXC_ENTRY_LOAD_LBR_CTL            VMXC_BIT(21)
#define VMXC_ENTRY_LOAD_PKRS               VMXC_BIT(22)
#define VMXC_ENTRY_LOAD_FRED               VMXC_BIT(23)
#define VMXC_ENTRY_LOAD_SPEC_CTRL          VMXC_BIT(24)

/*
 * The default1 class: bits that a processor without the corresponding IA32_VMX_TRUE_*_CTLS MSR requires to be 1.
 * Source: SDM, "Reserved Controls and Default Settings".
 */
#define VMXC_PIN_DEFAULT1 (VMXC_BITS(2, 1) | VMXC_BIT(4))
#define VMXC_PRIMARY_DEFAULT1 \
    (VMXC_BIT(1) | VMXC_BITS(6, 4) | VMXC_BIT(8) | VMXC_BITS(16, 13) | VMXC_BIT(26))
#define VMXC_EXIT_DEFAULT1 \
    (VMXC_BITS(8, 0) | VMXC_BITS(11, 10) | VMXC_BITS(14, 13) | VMXC_BITS(17, 16))
#define VMXC_ENTRY_DEFAULT1 (VMXC_BITS(8, 0) | VMXC_BIT(12))

/* Every row of controls.def has its mask, with the same position. */
#ifdef __cplusplus
#define VMXC_CONTROL_ASSERT_ static_assert
#else
#define VMXC_CONTROL_ASSERT_ _Static_assert
#endif
#define VMXC_CONTROL(word, bit, name, manual_name)              \
    VMXC_CONTROL_ASSERT_(VMXC_##word##_##name == VMXC_BIT(bit), \
                         "mask of " #name " disagrees with controls.def");
#include "vmxcore/defs/controls.def"

#endif
