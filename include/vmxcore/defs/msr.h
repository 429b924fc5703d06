/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Indices of the model-specific registers that VMX rules name (VMXC_MSR_<name>, without the manual's IA32_), and
 * the layout of the capability MSRs and of the others whose reserved bits a VM entry checks.
 * Source: Intel SDM volume 3, "VMX Capability Reporting Facility" (appendix); volume 4, "Model-Specific
 * Registers (MSRs)".
 */
#ifndef VMXC_DEFS_MSR_H
#define VMXC_DEFS_MSR_H

#include "vmxcore/defs/bits.h"

/* Model-specific registers of VMX. Capability reporting is read-only. */
#define VMXC_MSR_VMX_BASIC               UINT32_C(0x480)
#define VMXC_MSR_VMX_PINBASED_CTLS       UINT32_C(0x481)
#define VMXC_MSR_VMX_PROCBASED_CTLS      UINT32_C(0x482)
#define VMXC_MSR_VMX_EXIT_CTLS           UINT32_C(0x483)
#define VMXC_MSR_VMX_ENTRY_CTLS          UINT32_C(0x484)
#define VMXC_MSR_VMX_MISC                UINT32_C(0x485)
#define VMXC_MSR_VMX_CR0_FIXED0          UINT32_C(0x486) /* bits that must be 1 */
#define VMXC_MSR_VMX_CR0_FIXED1          UINT32_C(0x487) /* bits that may be 1 */
#define VMXC_MSR_VMX_CR4_FIXED0          UINT32_C(0x488)
#define VMXC_MSR_VMX_CR4_FIXED1          UINT32_C(0x489)
#define VMXC_MSR_VMX_VMCS_ENUM           UINT32_C(0x48a)
#define VMXC_MSR_VMX_PROCBASED_CTLS2     UINT32_C(0x48b)
#define VMXC_MSR_VMX_EPT_VPID_CAP        UINT32_C(0x48c)
#define VMXC_MSR_VMX_TRUE_PINBASED_CTLS  UINT32_C(0x48d)
#define VMXC_MSR_VMX_TRUE_PROCBASED_CTLS UINT32_C(0x48e)
#define VMXC_MSR_VMX_TRUE_EXIT_CTLS      UINT32_C(0x48f)
#define VMXC_MSR_VMX_TRUE_ENTRY_CTLS     UINT32_C(0x490)
#define VMXC_MSR_VMX_VMFUNC              UINT32_C(0x491)
#define VMXC_MSR_VMX_PROCBASED_CTLS3     UINT32_C(0x492) /* 64 bits of allowed-1 settings */
#define VMXC_MSR_VMX_EXIT_CTLS2          UINT32_C(0x493) /* 64 bits of allowed-1 settings */

/* Other registers that VMX rules name. */
#define VMXC_MSR_APIC_BASE           UINT32_C(0x1b)
#define VMXC_MSR_FEATURE_CONTROL     UINT32_C(0x3a)
#define VMXC_MSR_SPEC_CTRL           UINT32_C(0x48)
#define VMXC_MSR_BIOS_UPDT_TRIG      UINT32_C(0x79)
#define VMXC_MSR_BIOS_SIGN_ID        UINT32_C(0x8b)
#define VMXC_MSR_SMM_MONITOR_CTL     UINT32_C(0x9b)
#define VMXC_MSR_SMBASE              UINT32_C(0x9e)
#define VMXC_MSR_ARCH_CAPABILITIES   UINT32_C(0x10a)
#define VMXC_MSR_SYSENTER_CS         UINT32_C(0x174)
#define VMXC_MSR_SYSENTER_ESP        UINT32_C(0x175)
#define VMXC_MSR_SYSENTER_EIP        UINT32_C(0x176)
#define VMXC_MSR_FRED_RSP0           UINT32_C(0x1cc)
#define VMXC_MSR_FRED_RSP1           UINT32_C(0x1cd)
#define VMXC_MSR_FRED_RSP2           UINT32_C(0x1ce)
#define VMXC_MSR_FRED_RSP3           UINT32_C(0x1cf)
#define VMXC_MSR_FRED_STKLVLS        UINT32_C(0x1d0)
#define VMXC_MSR_FRED_SSP1           UINT32_C(0x1d1)
#define VMXC_MSR_FRED_SSP2           UINT32_C(0x1d2)
#define VMXC_MSR_FRED_SSP3           UINT32_C(0x1d3)
#define VMXC_MSR_FRED_CONFIG         UINT32_C(0x1d4)
#define VMXC_MSR_DEBUGCTL            UINT32_C(0x1d9)
#define VMXC_MSR_SMRR_PHYSBASE       UINT32_C(0x1f2)
#define VMXC_MSR_SMRR_PHYSMASK       UINT32_C(0x1f3)
#define VMXC_MSR_PAT                 UINT32_C(0x277)
#define VMXC_MSR_MTRR_DEF_TYPE       UINT32_C(0x2ff)
#define VMXC_MSR_PERF_CAPABILITIES   UINT32_C(0x345)
#define VMXC_MSR_PERF_GLOBAL_CTRL    UINT32_C(0x38f)
#define VMXC_MSR_RTIT_CTL            UINT32_C(0x570)
#define VMXC_MSR_U_CET               UINT32_C(0x6a0)
#define VMXC_MSR_S_CET               UINT32_C(0x6a2)
#define VMXC_MSR_PL0_SSP             UINT32_C(0x6a4)
#define VMXC_MSR_PL1_SSP             UINT32_C(0x6a5)
#define VMXC_MSR_PL2_SSP             UINT32_C(0x6a6)
#define VMXC_MSR_PL3_SSP             UINT32_C(0x6a7)
#define VMXC_MSR_INTERRUPT_SSP_TABLE UINT32_C(0x6a8) /* IA32_INTERRUPT_SSP_TABLE_ADDR */
#define VMXC_MSR_TSC_DEADLINE        UINT32_C(0x6e0)
#define VMXC_MSR_PKRS                UINT32_C(0x6e1)
#define VMXC_MSR_X2APIC_FIRST        UINT32_C(0x800)
#define VMXC_MSR_X2APIC_TPR          UINT32_C(0x808)
#define VMXC_MSR_X2APIC_EOI          UINT32_C(0x80b)
#define VMXC_MSR_X2APIC_ICR          UINT32_C(0x830)
#define VMXC_MSR_X2APIC_SELF_IPI     UINT32_C(0x83f)
#define VMXC_MSR_X2APIC_LAST         UINT32_C(0x8ff)
#define VMXC_MSR_BNDCFGS             UINT32_C(0xd90)
#define VMXC_MSR_XSS                 UINT32_C(0xda0)
#define VMXC_MSR_LBR_CTL             UINT32_C(0x14ce)
#define VMXC_MSR_EFER                UINT32_C(0xc0000080)
#define VMXC_MSR_STAR                UINT32_C(0xc0000081)
#define VMXC_MSR_LSTAR               UINT32_C(0xc0000082)
#define VMXC_MSR_CSTAR               UINT32_C(0xc0000083)
#define VMXC_MSR_FMASK               UINT32_C(0xc0000084)
#define VMXC_MSR_FS_BASE             UINT32_C(0xc0000100)
#define VMXC_MSR_GS_BASE             UINT32_C(0xc0000101)
#define VMXC_MSR_KERNEL_GS_BASE      UINT32_C(0xc0000102)
#define VMXC_MSR_TSC_AUX             UINT32_C(0xc0000103)

/* IA32_FEATURE_CONTROL. */
#define VMXC_FEATURE_CONTROL_LOCK               VMXC_BIT(0)
#define VMXC_FEATURE_CONTROL_VMX_IN_SMX         VMXC_BIT(1)
#define VMXC_FEATURE_CONTROL_VMX_OUTSIDE_SMX    VMXC_BIT(2)
#define VMXC_FEATURE_CONTROL_SENTER_LOCAL       VMXC_BITS(14, 8)
#define VMXC_FEATURE_CONTROL_SENTER_GLOBAL      VMXC_BIT(15)
#define VMXC_FEATURE_CONTROL_SGX_LAUNCH_CONTROL VMXC_BIT(17)
#define VMXC_FEATURE_CONTROL_SGX                VMXC_BIT(18)
#define VMXC_FEATURE_CONTROL_LMCE               VMXC_BIT(20)

/* IA32_DEBUGCTL. */
#define VMXC_DEBUGCTL_LBR                   VMXC_BIT(0)
#define VMXC_DEBUGCTL_BTF                   VMXC_BIT(1) /* single-step on branches */
#define VMXC_DEBUGCTL_BUS_LOCK_DETECT       VMXC_BIT(2)
#define VMXC_DEBUGCTL_TR                    VMXC_BIT(6)
#define VMXC_DEBUGCTL_BTS                   VMXC_BIT(7)
#define VMXC_DEBUGCTL_BTINT                 VMXC_BIT(8)
#define VMXC_DEBUGCTL_BTS_OFF_OS            VMXC_BIT(9)
#define VMXC_DEBUGCTL_BTS_OFF_USR           VMXC_BIT(10)
#define VMXC_DEBUGCTL_FREEZE_LBRS_ON_PMI    VMXC_BIT(11)
#define VMXC_DEBUGCTL_FREEZE_PERFMON_ON_PMI VMXC_BIT(12)
#define VMXC_DEBUGCTL_ENABLE_UNCORE_PMI     VMXC_BIT(13)
#define VMXC_DEBUGCTL_FREEZE_WHILE_SMM      VMXC_BIT(14)
#define VMXC_DEBUGCTL_RTM_DEBUG             VMXC_BIT(15)

/* IA32_PERF_GLOBAL_CTRL. Bit n enables general counter n, bit 32 + n fixed-function counter n. */
#define VMXC_PERF_GLOBAL_CTRL_METRICS VMXC_BIT(48)

/* IA32_U_CET and IA32_S_CET. Bits 63:12 are the base of the legacy code page bitmap. */
#define VMXC_CET_SHADOW_STACK        VMXC_BIT(0)
#define VMXC_CET_WRITE_SHADOW_STACK  VMXC_BIT(1)
#define VMXC_CET_ENDBRANCH           VMXC_BIT(2)
#define VMXC_CET_LEGACY_INTERWORKING VMXC_BIT(3)
#define VMXC_CET_NO_TRACK            VMXC_BIT(4)
#define VMXC_CET_SUPPRESS_DISABLE    VMXC_BIT(5)
#define VMXC_CET_RESERVED            VMXC_BITS(9, 6)
#define VMXC_CET_SUPPRESS            VMXC_BIT(10)
#define VMXC_CET_TRACKER             VMXC_BIT(11)
#define VMXC_CET_LEGACY_BITMAP       VMXC_BITS(63, 12)

/* IA32_SPEC_CTRL. */
#define VMXC_SPEC_CTRL_IBRS        VMXC_BIT(0)
#define VMXC_SPEC_CTRL_STIBP       VMXC_BIT(1)
#define VMXC_SPEC_CTRL_SSBD        VMXC_BIT(2)
#define VMXC_SPEC_CTRL_IPRED_DIS_U VMXC_BIT(3)
#define VMXC_SPEC_CTRL_IPRED_DIS_S VMXC_BIT(4)
#define VMXC_SPEC_CTRL_RRSBA_DIS_U VMXC_BIT(5)
#define VMXC_SPEC_CTRL_RRSBA_DIS_S VMXC_BIT(6)
#define VMXC_SPEC_CTRL_PSFD        VMXC_BIT(7)
#define VMXC_SPEC_CTRL_DDPD_U      VMXC_BIT(8)
#define VMXC_SPEC_CTRL_BHI_DIS_S   VMXC_BIT(10)

/* IA32_FRED_CONFIG, IA32_FRED_RSPn, IA32_FRED_SSPn, IA32_BNDCFGS, shadow-stack pointers: bits that must be 0. */
#define VMXC_FRED_CONFIG_RESERVED (VMXC_BIT(2) | VMXC_BITS(5, 4) | VMXC_BIT(11))
#define VMXC_FRED_RSP_ALIGNMENT   VMXC_BITS(5, 0)
#define VMXC_FRED_SSP_ALIGNMENT   VMXC_BITS(2, 0)
#define VMXC_BNDCFGS_RESERVED     VMXC_BITS(11, 2)
#define VMXC_SSP_ALIGNMENT        VMXC_BITS(1, 0)

/* IA32_RTIT_CTL. */
#define VMXC_RTIT_CTL_TRACE_EN   VMXC_BIT(0)
#define VMXC_RTIT_CTL_CYC_EN     VMXC_BIT(1)
#define VMXC_RTIT_CTL_OS         VMXC_BIT(2)
#define VMXC_RTIT_CTL_USER       VMXC_BIT(3)
#define VMXC_RTIT_CTL_PWR_EVT_EN VMXC_BIT(4)
#define VMXC_RTIT_CTL_FUP_ON_PTW VMXC_BIT(5)
#define VMXC_RTIT_CTL_FABRIC_EN  VMXC_BIT(6)
#define VMXC_RTIT_CTL_CR3_FILTER VMXC_BIT(7)
#define VMXC_RTIT_CTL_TOPA       VMXC_BIT(8)
#define VMXC_RTIT_CTL_MTC_EN     VMXC_BIT(9)
#define VMXC_RTIT_CTL_TSC_EN     VMXC_BIT(10)
#define VMXC_RTIT_CTL_DIS_RETC   VMXC_BIT(11)
#define VMXC_RTIT_CTL_PTW_EN     VMXC_BIT(12)
#define VMXC_RTIT_CTL_BRANCH_EN  VMXC_BIT(13)
#define VMXC_RTIT_CTL_MTC_FREQ   VMXC_BITS(17, 14)
#define VMXC_RTIT_CTL_CYC_THRESH VMXC_BITS(22, 19)
#define VMXC_RTIT_CTL_PSB_FREQ   VMXC_BITS(27, 24)
#define VMXC_RTIT_CTL_EVENT_EN   VMXC_BIT(31)
#define VMXC_RTIT_CTL_ADDR_CFG   VMXC_BITS(47, 32) /* four fields of 4 bits */
#define VMXC_RTIT_CTL_DIS_TNT    VMXC_BIT(55)
#define VMXC_RTIT_CTL_INJECT_PSB VMXC_BIT(56)

/* IA32_LBR_CTL. */
#define VMXC_LBR_CTL_ENABLE     VMXC_BIT(0)
#define VMXC_LBR_CTL_OS         VMXC_BIT(1)
#define VMXC_LBR_CTL_USER       VMXC_BIT(2)
#define VMXC_LBR_CTL_CALL_STACK VMXC_BIT(3)
#define VMXC_LBR_CTL_FILTERS    VMXC_BITS(22, 16)

/* IA32_VMX_BASIC. */
#define VMXC_VMX_BASIC_REVISION         VMXC_BITS(30, 0) /* VMCS revision identifier; bit 31 is 0 */
#define VMXC_VMX_BASIC_REGION_SIZE      VMXC_BITS(44, 32) /* bytes */
#define VMXC_VMX_BASIC_ADDRESS_32       VMXC_BIT(48)      /* VMX structures lie below 4 GBytes */
#define VMXC_VMX_BASIC_DUAL_MONITOR     VMXC_BIT(49) /* dual-monitor treatment of SMIs and SMM */
#define VMXC_VMX_BASIC_MEMORY_TYPE      VMXC_BITS(53, 50) /* of VMX structures, 0 or 6 */
#define VMXC_VMX_BASIC_INS_OUTS_INFO    VMXC_BIT(54)      /* of exits due to INS and OUTS */
#define VMXC_VMX_BASIC_TRUE_CONTROLS    VMXC_BIT(55)      /* the IA32_VMX_TRUE_*_CTLS MSRs exist */
#define VMXC_VMX_BASIC_ANY_ERROR_CODE   VMXC_BIT(56)      /* may go with any exception */
#define VMXC_VMX_BASIC_NESTED_EXCEPTION VMXC_BIT(58)      /* with FRED */

/* IA32_SMM_MONITOR_CTL. */
#define VMXC_SMM_MONITOR_CTL_VALID     VMXC_BIT(0)
#define VMXC_SMM_MONITOR_CTL_MSEG_BASE VMXC_BITS(31, 12)

/* IA32_VMX_MISC. */
#define VMXC_VMX_MISC_PREEMPTION_TIMER_RATE  VMXC_BITS(4, 0) /* counts when this TSC bit changes */
#define VMXC_VMX_MISC_SAVES_LMA              VMXC_BIT(5)     /* exits store EFER.LMA */
#define VMXC_VMX_MISC_ACTIVITY_HLT           VMXC_BIT(6)
#define VMXC_VMX_MISC_ACTIVITY_SHUTDOWN      VMXC_BIT(7)
#define VMXC_VMX_MISC_ACTIVITY_WAIT_FOR_SIPI VMXC_BIT(8)
#define VMXC_VMX_MISC_PT_IN_VMX              VMXC_BIT(14)      /* Intel PT in VMX operation */
#define VMXC_VMX_MISC_SMBASE_MSR             VMXC_BIT(15)      /* RDMSR reads IA32_SMBASE in SMM */
#define VMXC_VMX_MISC_CR3_TARGETS            VMXC_BITS(24, 16) /* number of CR3-target values */
#define VMXC_VMX_MISC_MSR_LIST_MAX           VMXC_BITS(27, 25) /* n: 512 * (n + 1) entries */
#define VMXC_VMX_MISC_SMM_MONITOR_BIT2       VMXC_BIT(28) /* IA32_SMM_MONITOR_CTL bit 2 exists */
#define VMXC_VMX_MISC_VMWRITE_ANY            VMXC_BIT(29) /* VMWRITE of read-only fields */
#define VMXC_VMX_MISC_ZERO_LENGTH_INJECTION  VMXC_BIT(30) /* of software events */
#define VMXC_VMX_MISC_MSEG_REVISION          VMXC_BITS(63, 32) /* MSEG revision identifier */

/* IA32_VMX_EPT_VPID_CAP. */
#define VMXC_EPT_VPID_CAP_EXECUTE_ONLY           VMXC_BIT(0)
#define VMXC_EPT_VPID_CAP_WALK_4                 VMXC_BIT(6)  /* page-walk length 4 */
#define VMXC_EPT_VPID_CAP_WALK_5                 VMXC_BIT(7)  /* page-walk length 5 */
#define VMXC_EPT_VPID_CAP_MEMORY_TYPE_UC         VMXC_BIT(8)  /* for the EPT paging structures */
#define VMXC_EPT_VPID_CAP_MEMORY_TYPE_WB         VMXC_BIT(14) /* for the EPT paging structures */
#define VMXC_EPT_VPID_CAP_PAGE_2M                VMXC_BIT(16)
#define VMXC_EPT_VPID_CAP_PAGE_1G                VMXC_BIT(17)
#define VMXC_EPT_VPID_CAP_INVEPT                 VMXC_BIT(20)
#define VMXC_EPT_VPID_CAP_ACCESSED_DIRTY         VMXC_BIT(21) /* accessed and dirty flags */
#define VMXC_EPT_VPID_CAP_ADVANCED_INFO          VMXC_BIT(22) /* for EPT violations */
#define VMXC_EPT_VPID_CAP_SHADOW_STACK           VMXC_BIT(23) /* supervisor shadow-stack control */
#define VMXC_EPT_VPID_CAP_INVEPT_SINGLE          VMXC_BIT(25) /* single-context */
#define VMXC_EPT_VPID_CAP_INVEPT_ALL             VMXC_BIT(26) /* all-context */
#define VMXC_EPT_VPID_CAP_INVVPID                VMXC_BIT(32)
#define VMXC_EPT_VPID_CAP_INVVPID_ADDRESS        VMXC_BIT(40) /* individual-address */
#define VMXC_EPT_VPID_CAP_INVVPID_SINGLE         VMXC_BIT(41) /* single-context */
#define VMXC_EPT_VPID_CAP_INVVPID_ALL            VMXC_BIT(42) /* all-context */
#define VMXC_EPT_VPID_CAP_INVVPID_SINGLE_GLOBALS VMXC_BIT(43) /* single-context-retaining-globals */
#define VMXC_EPT_VPID_CAP_HLAT_PREFIX_MAX        VMXC_BITS(53, 48) /* largest HLAT prefix size */

/* Control capability MSRs with two halves: bit n may be 0 if bit n is 0, may be 1 if bit 32 + n is 1. */
#define VMXC_VMX_CTLS_ALLOWED0 VMXC_BITS(31, 0)
#define VMXC_VMX_CTLS_ALLOWED1 VMXC_BITS(63, 32)

#endif
