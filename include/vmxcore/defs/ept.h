/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bit positions of EPT: entries, EPTP, the exit qualification of an EPT violation, the
 * virtualization-exception information area, memory types. Source: Intel SDM volume 3, "The
 * Extended Page Table Mechanism (EPT)", "Exit Qualification for EPT Violations" and
 * "Virtualization Exceptions".
 */
#ifndef VMXC_DEFS_EPT_H
#define VMXC_DEFS_EPT_H

#include "vmxcore/defs/bits.h"

/* EPT entries, every level. */
#define VMXC_EPT_READ                    VMXC_BIT(0)
#define VMXC_EPT_WRITE                   VMXC_BIT(1)
#define VMXC_EPT_EXECUTE                 VMXC_BIT(2) /* supervisor-mode execute with mode-based execute control */
#define VMXC_EPT_RWX                     VMXC_BITS(2, 0)
#define VMXC_EPT_MEMORY_TYPE             VMXC_BITS(5, 3) /* entries that map a page */
#define VMXC_EPT_IGNORE_PAT              VMXC_BIT(6)     /* entries that map a page */
#define VMXC_EPT_LARGE_PAGE              VMXC_BIT(7) /* PDPTE: 1 GByte, PDE: 2 MBytes; ignored in a PTE */
#define VMXC_EPT_ACCESSED                VMXC_BIT(8) /* if EPTP bit 6 */
#define VMXC_EPT_DIRTY                   VMXC_BIT(9) /* if EPTP bit 6, entries that map a page */
#define VMXC_EPT_USER_EXECUTE            VMXC_BIT(10) /* user-mode execute, with mode-based execute control */
#define VMXC_EPT_IGNORED_11              VMXC_BIT(11) /* free for software in every entry and mode */
#define VMXC_EPT_ADDRESS                 VMXC_BITS(51, 12)
#define VMXC_EPT_VERIFY_GUEST_PAGING     VMXC_BIT(57)
#define VMXC_EPT_PAGING_WRITE            VMXC_BIT(58)
#define VMXC_EPT_SUPERVISOR_SHADOW_STACK VMXC_BIT(60) /* if EPTP bit 7 */
#define VMXC_EPT_SUB_PAGE_WRITE          VMXC_BIT(61) /* 4-KByte pages, with sub-page write permissions */
#define VMXC_EPT_SUPPRESS_VE             VMXC_BIT(63) /* with EPT-violation #VE */

#define VMXC_EPT_ENTRIES_PER_TABLE 512u

/* Extended-page-table pointer (EPTP). */
#define VMXC_EPTP_MEMORY_TYPE    VMXC_BITS(2, 0)
#define VMXC_EPTP_WALK_LENGTH    VMXC_BITS(5, 3) /* number of levels minus 1 */
#define VMXC_EPTP_ACCESSED_DIRTY VMXC_BIT(6)
#define VMXC_EPTP_SHADOW_STACK   VMXC_BIT(7)
#define VMXC_EPTP_RESERVED_LOW   VMXC_BITS(11, 8)
#define VMXC_EPTP_ADDRESS        VMXC_BITS(51, 12)

/*
 * Sub-page permission table: entries of levels 4 to 2. An entry of level 1 is the vector of a 4-KByte page: bit 2 * n
 * is 1 if sub-page n may be written, the other bits are reserved.
 */
#define VMXC_SPPT_VALID           VMXC_BIT(0)
#define VMXC_SPPT_ADDRESS         VMXC_BITS(51, 12)
#define VMXC_SPPT_VECTOR_RESERVED UINT64_C(0xaaaaaaaaaaaaaaaa)
#define VMXC_SUB_PAGE_SIZE        UINT64_C(128)

/* Memory types, as EPT entries, EPTP, PAT and MTRRs encode them. */
enum vmxc_memory_type {
    VMXC_MEMORY_TYPE_UC = 0,
    VMXC_MEMORY_TYPE_WC = 1,
    VMXC_MEMORY_TYPE_WT = 4,
    VMXC_MEMORY_TYPE_WP = 5,
    VMXC_MEMORY_TYPE_WB = 6,
    VMXC_MEMORY_TYPE_UC_MINUS = 7, /* PAT only */
};

/* Exit qualification for EPT violations. */
#define VMXC_EPT_VIOLATION_READ                VMXC_BIT(0)
#define VMXC_EPT_VIOLATION_WRITE               VMXC_BIT(1)
#define VMXC_EPT_VIOLATION_FETCH               VMXC_BIT(2)
#define VMXC_EPT_VIOLATION_ENTRY_READ          VMXC_BIT(3)
#define VMXC_EPT_VIOLATION_ENTRY_WRITE         VMXC_BIT(4)
#define VMXC_EPT_VIOLATION_ENTRY_EXECUTE       VMXC_BIT(5)
#define VMXC_EPT_VIOLATION_ENTRY_USER_EXECUTE  VMXC_BIT(6)
#define VMXC_EPT_VIOLATION_LINEAR_VALID        VMXC_BIT(7)
#define VMXC_EPT_VIOLATION_LINEAR_TRANSLATION  VMXC_BIT(8)  /* 0: access to a paging structure */
#define VMXC_EPT_VIOLATION_LINEAR_USER         VMXC_BIT(9)  /* advanced information */
#define VMXC_EPT_VIOLATION_LINEAR_WRITABLE     VMXC_BIT(10) /* advanced information */
#define VMXC_EPT_VIOLATION_LINEAR_NO_EXECUTE   VMXC_BIT(11) /* advanced information */
#define VMXC_EPT_VIOLATION_NMI_UNBLOCKING      VMXC_BIT(12)
#define VMXC_EPT_VIOLATION_SHADOW_STACK        VMXC_BIT(13)
#define VMXC_EPT_VIOLATION_ENTRY_SHADOW_STACK  VMXC_BIT(14)
#define VMXC_EPT_VIOLATION_GUEST_PAGING_VERIFY VMXC_BIT(15)
#define VMXC_EPT_VIOLATION_ASYNCHRONOUS        VMXC_BIT(16)

/* Virtualization-exception information area: byte offsets. */
#define VMXC_VE_INFO_EXIT_REASON    0u
#define VMXC_VE_INFO_BUSY           4u /* the processor writes FFFFFFFFH; software clears it */
#define VMXC_VE_INFO_QUALIFICATION  8u
#define VMXC_VE_INFO_GUEST_LINEAR   16u
#define VMXC_VE_INFO_GUEST_PHYSICAL 24u
#define VMXC_VE_INFO_EPTP_INDEX     32u

/* Page-modification log. */
#define VMXC_PML_ENTRIES 512u

#endif
