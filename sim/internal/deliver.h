/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Delivery of an event through the guest's IDT: to the handler's first instruction, or to the VM exit on the way there.
 *
 *     event --> gate --> code segment --> stack --> frame --> handler
 *                 |           |             |         |
 *                 '-----------+--- fault ---+---------'--> VM exit, if intercepted, else one more event (or #DF, or triple fault)
 *
 * Protected mode with flat segments, and IA-32e mode. Not here: real-address mode, virtual-8086 mode, LDTs, call gates, shadow
 * stacks, FRED, user interrupts.
 *
 * Source: Intel SDM volume 3, "Interrupt and Exception Handling", "Event Injection", "Information for VM Exits That Occur
 * During Event Delivery", "Exceptions"; volume 2, "INT n/INTO/INT3/INT1".
 */
#ifndef VMXSIM_INTERNAL_DELIVER_H
#define VMXSIM_INTERNAL_DELIVER_H

#include "internal/guest.h"

/* As the VM-entry interruption-information field describes it. */
struct deliver_event {
    uint8_t vector;
    enum vmxc_interruption_type type;
    bool has_error_code;
    uint32_t error_code;
    uint32_t instruction_length; /* of a software interrupt or exception */
};

/* Registers at the handler's first instruction. */
struct delivery {
    bool done; /* false: `outcome` has the VM exit */
    bool nested;
    uint8_t vector; /* what has arrived: the event, or (nested) a fault that came up on its way */
    uint64_t rip, rsp, rflags, cr2;
    uint16_t cs, ss;
    uint32_t interruptibility;
    /* A VM exit on the way: the event that was being delivered, 0 if none was. */
    uint32_t vectoring_info, vectoring_error_code;
};

/*
 * The guest takes the event. Its registers stay as they are, but for memory. Errors: VMXC_UNSUPPORTED (what is not here),
 * VMXC_BAD_STATE (no guest).
 */
VMXC_MUST_CHECK enum vmxc_status vmxsim_deliver(struct vmxsim_cpu *cpu,
                                                const struct deliver_event *event,
                                                struct delivery *delivery,
                                                struct vmxsim_outcome *outcome);

#endif
