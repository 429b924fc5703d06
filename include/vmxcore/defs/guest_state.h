/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guest state that is no register: activity, interruptibility, pending debug exceptions; and the value of a VMCS
 * pointer that points nowhere. Source: Intel SDM volume 3, "Guest Non-Register State".
 */
#ifndef VMXC_DEFS_GUEST_STATE_H
#define VMXC_DEFS_GUEST_STATE_H

#include "vmxcore/defs/bits.h"

enum vmxc_activity {
    VMXC_ACTIVITY_ACTIVE = 0,
    VMXC_ACTIVITY_HLT = 1,
    VMXC_ACTIVITY_SHUTDOWN = 2,
    VMXC_ACTIVITY_WAIT_FOR_SIPI = 3,
};

/* Interruptibility state. */
#define VMXC_INTERRUPTIBILITY_STI      VMXC_BIT(0) /* blocking by STI */
#define VMXC_INTERRUPTIBILITY_MOV_SS   VMXC_BIT(1) /* blocking by MOV SS */
#define VMXC_INTERRUPTIBILITY_SMI      VMXC_BIT(2) /* blocking by SMI */
#define VMXC_INTERRUPTIBILITY_NMI      VMXC_BIT(3) /* blocking by NMI; virtual NMIs: of virtual NMIs */
#define VMXC_INTERRUPTIBILITY_ENCLAVE  VMXC_BIT(4) /* enclave interruption */
#define VMXC_INTERRUPTIBILITY_RESERVED VMXC_BITS(31, 5)

/* Pending debug exceptions. */
#define VMXC_PENDING_DEBUG_BREAKPOINTS        VMXC_BITS(3, 0) /* B3 to B0 */
#define VMXC_PENDING_DEBUG_BUS_LOCK           VMXC_BIT(11)    /* BLD */
#define VMXC_PENDING_DEBUG_ENABLED_BREAKPOINT VMXC_BIT(12)
#define VMXC_PENDING_DEBUG_SINGLE_STEP        VMXC_BIT(14) /* BS */
#define VMXC_PENDING_DEBUG_RTM                VMXC_BIT(16)
#define VMXC_PENDING_DEBUG_RESERVED \
    (VMXC_BITS(10, 4) | VMXC_BIT(13) | VMXC_BIT(15) | VMXC_BITS(63, 17))

/* VMCS link pointer of a guest without one; current-VMCS pointer if there is no current VMCS. */
#define VMXC_VMCS_POINTER_NONE UINT64_MAX

/* In the first doubleword of a VMCS region: this is a shadow VMCS. */
#define VMXC_VMCS_REGION_SHADOW VMXC_BIT(31)

#endif
