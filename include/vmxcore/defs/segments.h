/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Segment selectors and the access rights of segment registers as the VMCS holds them.
 * Source: Intel SDM volume 3, "Segment Selectors", "Guest Register State" (format of access rights).
 */
#ifndef VMXC_DEFS_SEGMENTS_H
#define VMXC_DEFS_SEGMENTS_H

#include "vmxcore/defs/bits.h"

/* Segment selector. */
#define VMXC_SELECTOR_RPL   VMXC_BITS(1, 0) /* requested privilege level */
#define VMXC_SELECTOR_TI    VMXC_BIT(2)     /* table indicator: 1 is the LDT */
#define VMXC_SELECTOR_INDEX VMXC_BITS(15, 3)

/* Access rights. */
#define VMXC_SEGMENT_TYPE     VMXC_BITS(3, 0)
#define VMXC_SEGMENT_S        VMXC_BIT(4) /* 0: system, 1: code or data */
#define VMXC_SEGMENT_DPL      VMXC_BITS(6, 5)
#define VMXC_SEGMENT_P        VMXC_BIT(7)
#define VMXC_SEGMENT_AVL      VMXC_BIT(12) /* available for software */
#define VMXC_SEGMENT_L        VMXC_BIT(13) /* CS: 64-bit code */
#define VMXC_SEGMENT_DB       VMXC_BIT(14)
#define VMXC_SEGMENT_G        VMXC_BIT(15) /* limit in units of 4 KBytes */
#define VMXC_SEGMENT_UNUSABLE VMXC_BIT(16)
#define VMXC_SEGMENT_RESERVED (VMXC_BITS(11, 8) | VMXC_BITS(31, 17))

/* Type of code and data segments: bits of VMXC_SEGMENT_TYPE. */
#define VMXC_SEGMENT_ACCESSED   VMXC_BIT(0)
#define VMXC_SEGMENT_WRITABLE   VMXC_BIT(1) /* data */
#define VMXC_SEGMENT_READABLE   VMXC_BIT(1) /* code */
#define VMXC_SEGMENT_EXPANDS    VMXC_BIT(2) /* data: expand-down */
#define VMXC_SEGMENT_CONFORMING VMXC_BIT(2) /* code */
#define VMXC_SEGMENT_CODE       VMXC_BIT(3)

/* Type of system segments: values of VMXC_SEGMENT_TYPE. */
#define VMXC_SEGMENT_TYPE_LDT           UINT64_C(2)
#define VMXC_SEGMENT_TYPE_BUSY_TSS_16   UINT64_C(3)
#define VMXC_SEGMENT_TYPE_BUSY_TSS      UINT64_C(11) /* 32-bit; 64-bit in IA-32e mode */
#define VMXC_SEGMENT_TYPE_DATA_WRITABLE UINT64_C(3)  /* data: writable, accessed, expand-up */

#define VMXC_SEGMENT_RIGHTS_VIRTUAL_8086 UINT64_C(0xf3)
#define VMXC_SEGMENT_LIMIT_VIRTUAL_8086  UINT64_C(0xffff)

#endif
