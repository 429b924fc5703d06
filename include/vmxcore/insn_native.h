/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The instruction seam on a real processor: x86-64 in 64-bit mode at CPL 0. Library vmxcore_native; needs nothing
 * else.
 *
 * Exceptions are the environment's: an instruction that faults enters its exception handlers, and no operation
 * returns VMXC_INSN_EXCEPTION. RDMSR of an MSR that may not exist therefore needs a handler that knows what to do.
 *
 * VMLAUNCH and VMRESUME are to be executed with interrupts disabled; they come back so. The operations switch
 * general-purpose registers, and the VM exit restores what the host-state area holds. The caller sees to the rest:
 * x87, SSE and XCR0 state, CR2, debug registers, MSRs outside the VMCS, LDTR (null after an exit), and the limits of
 * GDTR and IDTR (FFFFH after an exit).
 */
#ifndef VMXC_INSN_NATIVE_H
#define VMXC_INSN_NATIVE_H

#include "vmxcore/insn_ops.h"

#ifdef __cplusplus
extern "C" {
#endif

/* One instance serves every processor: it acts on the one that executes it. */
extern const struct vmxc_insn_ops vmxc_insn_native;

#ifdef __cplusplus
}
#endif

#endif
