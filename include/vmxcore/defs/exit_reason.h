/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Basic exit reasons as enum vmxc_exit_reason, the other bits of the exit-reason field, and the layout that
 * VM-exit interruption information, IDT-vectoring information and VM-entry interruption information share.
 * Source: Intel SDM volume 3, "Basic VM-Exit Information", "Information for VM Exits Due to Vectored Events",
 * "Information for VM Exits That Occur During Event Delivery", "VM-Entry Controls for Event Injection".
 */
#ifndef VMXC_DEFS_EXIT_REASON_H
#define VMXC_DEFS_EXIT_REASON_H

#include "vmxcore/defs/bits.h"

enum vmxc_exit_reason {
#define VMXC_EXIT_REASON(number, name, manual_name) VMXC_EXIT_REASON_##name = (number),
#include "vmxcore/defs/exit_reasons.def"
};

/* Exit-reason field (32 bits). */
#define VMXC_EXIT_REASON_BASIC             VMXC_BITS(15, 0)
#define VMXC_EXIT_REASON_SHADOW_STACK_BUSY VMXC_BIT(25) /* prematurely busy */
#define VMXC_EXIT_REASON_BUS_LOCK_ASSERTED VMXC_BIT(26) /* exit of another reason */
#define VMXC_EXIT_REASON_ENCLAVE_MODE      VMXC_BIT(27)
#define VMXC_EXIT_REASON_PENDING_MTF       VMXC_BIT(28) /* SMM VM exits */
#define VMXC_EXIT_REASON_FROM_ROOT         VMXC_BIT(29) /* SMM VM exits: from VMX root operation */
#define VMXC_EXIT_REASON_ENTRY_FAILURE     VMXC_BIT(31)

/* Interruption information (32 bits): what event, and what belongs to it. */
#define VMXC_INTERRUPTION_VECTOR         VMXC_BITS(7, 0)
#define VMXC_INTERRUPTION_TYPE           VMXC_BITS(10, 8)
#define VMXC_INTERRUPTION_ERROR_CODE     VMXC_BIT(11) /* valid (exit), deliver (entry) */
#define VMXC_INTERRUPTION_NMI_UNBLOCKING VMXC_BIT(12) /* exit: NMI unblocking due to IRET */
#define VMXC_INTERRUPTION_NESTED         VMXC_BIT(13) /* with FRED: the event is a nested exception */
#define VMXC_INTERRUPTION_VALID          VMXC_BIT(31)

/* Values of VMXC_INTERRUPTION_TYPE. 1 is reserved. */
enum vmxc_interruption_type {
    VMXC_INTERRUPTION_TYPE_EXTERNAL = 0,
    VMXC_INTERRUPTION_TYPE_NMI = 2,
    VMXC_INTERRUPTION_TYPE_HARDWARE_EXCEPTION = 3,
    VMXC_INTERRUPTION_TYPE_SOFTWARE_INTERRUPT = 4,
    VMXC_INTERRUPTION_TYPE_PRIVILEGED_SOFTWARE_EXCEPTION = 5, /* INT1 */
    VMXC_INTERRUPTION_TYPE_SOFTWARE_EXCEPTION = 6,            /* INT3, INTO */
    VMXC_INTERRUPTION_TYPE_OTHER = 7,
};

#endif
