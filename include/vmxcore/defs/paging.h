/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bit positions of guest paging: control registers, EFER, RFLAGS, paging-structure entries, page-fault
 * error codes, exception vectors. Source: Intel SDM volume 3, "Paging", "Control Registers",
 * "Interrupt 14 - Page-Fault Exception (#PF)".
 */
#ifndef VMXC_DEFS_PAGING_H
#define VMXC_DEFS_PAGING_H

#include "vmxcore/defs/bits.h"

#define VMXC_CR0_PE VMXC_BIT(0)
#define VMXC_CR0_MP VMXC_BIT(1)
#define VMXC_CR0_EM VMXC_BIT(2)
#define VMXC_CR0_TS VMXC_BIT(3)
#define VMXC_CR0_ET VMXC_BIT(4)
#define VMXC_CR0_NE VMXC_BIT(5)
#define VMXC_CR0_WP VMXC_BIT(16)
#define VMXC_CR0_AM VMXC_BIT(18)
#define VMXC_CR0_NW VMXC_BIT(29)
#define VMXC_CR0_CD VMXC_BIT(30)
#define VMXC_CR0_PG VMXC_BIT(31)

#define VMXC_CR4_VME        VMXC_BIT(0)
#define VMXC_CR4_PVI        VMXC_BIT(1)
#define VMXC_CR4_TSD        VMXC_BIT(2)
#define VMXC_CR4_DE         VMXC_BIT(3)
#define VMXC_CR4_PSE        VMXC_BIT(4)
#define VMXC_CR4_PAE        VMXC_BIT(5)
#define VMXC_CR4_MCE        VMXC_BIT(6)
#define VMXC_CR4_PGE        VMXC_BIT(7)
#define VMXC_CR4_PCE        VMXC_BIT(8)
#define VMXC_CR4_OSFXSR     VMXC_BIT(9)
#define VMXC_CR4_OSXMMEXCPT VMXC_BIT(10)
#define VMXC_CR4_UMIP       VMXC_BIT(11)
#define VMXC_CR4_LA57       VMXC_BIT(12)
#define VMXC_CR4_VMXE       VMXC_BIT(13)
#define VMXC_CR4_SMXE       VMXC_BIT(14)
#define VMXC_CR4_FSGSBASE   VMXC_BIT(16)
#define VMXC_CR4_PCIDE      VMXC_BIT(17)
#define VMXC_CR4_OSXSAVE    VMXC_BIT(18)
#define VMXC_CR4_KL         VMXC_BIT(19)
#define VMXC_CR4_SMEP       VMXC_BIT(20)
#define VMXC_CR4_SMAP       VMXC_BIT(21)
#define VMXC_CR4_PKE        VMXC_BIT(22)
#define VMXC_CR4_CET        VMXC_BIT(23)
#define VMXC_CR4_PKS        VMXC_BIT(24)
#define VMXC_CR4_UINTR      VMXC_BIT(25)
#define VMXC_CR4_LASS       VMXC_BIT(27)
#define VMXC_CR4_LAM_SUP    VMXC_BIT(28)
#define VMXC_CR4_FRED       VMXC_BIT(32)

#define VMXC_CR3_PWT     VMXC_BIT(3)
#define VMXC_CR3_PCD     VMXC_BIT(4)
#define VMXC_CR3_LAM_U57 VMXC_BIT(61)
#define VMXC_CR3_LAM_U48 VMXC_BIT(62)

#define VMXC_EFER_SCE VMXC_BIT(0)
#define VMXC_EFER_LME VMXC_BIT(8)
#define VMXC_EFER_LMA VMXC_BIT(10)
#define VMXC_EFER_NXE VMXC_BIT(11)

#define VMXC_RFLAGS_CF       VMXC_BIT(0)
#define VMXC_RFLAGS_1        VMXC_BIT(1) /* always 1 */
#define VMXC_RFLAGS_ZF       VMXC_BIT(6)
#define VMXC_RFLAGS_TF       VMXC_BIT(8)
#define VMXC_RFLAGS_IF       VMXC_BIT(9)
#define VMXC_RFLAGS_IOPL     VMXC_BITS(13, 12)
#define VMXC_RFLAGS_RF       VMXC_BIT(16)
#define VMXC_RFLAGS_VM       VMXC_BIT(17)
#define VMXC_RFLAGS_AC       VMXC_BIT(18)
#define VMXC_RFLAGS_RESERVED (VMXC_BIT(3) | VMXC_BIT(5) | VMXC_BIT(15) | VMXC_BITS(63, 22))

/* Paging-structure entries. Bits 62:52 and 63 exist in the 8-byte formats only. */
#define VMXC_PTE_PRESENT        VMXC_BIT(0)
#define VMXC_PTE_WRITE          VMXC_BIT(1)
#define VMXC_PTE_USER           VMXC_BIT(2)
#define VMXC_PTE_PWT            VMXC_BIT(3)
#define VMXC_PTE_PCD            VMXC_BIT(4)
#define VMXC_PTE_ACCESSED       VMXC_BIT(5)
#define VMXC_PTE_DIRTY          VMXC_BIT(6) /* entries that map a page */
#define VMXC_PTE_PAGE_SIZE      VMXC_BIT(7) /* PDE, PDPTE */
#define VMXC_PTE_PAT            VMXC_BIT(7) /* PTE */
#define VMXC_PTE_GLOBAL         VMXC_BIT(8)
#define VMXC_PTE_LARGE_PAT      VMXC_BIT(12) /* PDE, PDPTE that map a page */
#define VMXC_PTE_ADDRESS        VMXC_BITS(51, 12)
#define VMXC_PTE_PROTECTION_KEY VMXC_BITS(62, 59)
#define VMXC_PTE_NO_EXECUTE     VMXC_BIT(63)

/* Page-fault error code. */
#define VMXC_PF_PRESENT        VMXC_BIT(0) /* 0: an entry was not present */
#define VMXC_PF_WRITE          VMXC_BIT(1)
#define VMXC_PF_USER           VMXC_BIT(2)
#define VMXC_PF_RESERVED       VMXC_BIT(3)
#define VMXC_PF_FETCH          VMXC_BIT(4)
#define VMXC_PF_PROTECTION_KEY VMXC_BIT(5)
#define VMXC_PF_SHADOW_STACK   VMXC_BIT(6)
#define VMXC_PF_HLAT           VMXC_BIT(7)
#define VMXC_PF_SGX            VMXC_BIT(15)

/* Exception vectors. */
enum vmxc_vector {
    VMXC_VECTOR_DE = 0,
    VMXC_VECTOR_DB = 1,
    VMXC_VECTOR_NMI = 2,
    VMXC_VECTOR_BP = 3,
    VMXC_VECTOR_OF = 4,
    VMXC_VECTOR_BR = 5,
    VMXC_VECTOR_UD = 6,
    VMXC_VECTOR_NM = 7,
    VMXC_VECTOR_DF = 8,
    VMXC_VECTOR_TS = 10,
    VMXC_VECTOR_NP = 11,
    VMXC_VECTOR_SS = 12,
    VMXC_VECTOR_GP = 13,
    VMXC_VECTOR_PF = 14,
    VMXC_VECTOR_MF = 16,
    VMXC_VECTOR_AC = 17,
    VMXC_VECTOR_MC = 18,
    VMXC_VECTOR_XM = 19,
    VMXC_VECTOR_VE = 20,
    VMXC_VECTOR_CP = 21,
};

#endif
