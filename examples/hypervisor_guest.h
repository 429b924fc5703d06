/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest that the example hypervisor runs, wherever it runs it: its memory at the start, and what must be there in
 * the end. The instructions are in hypervisor_guest.def.
 */
#ifndef EXAMPLES_HYPERVISOR_GUEST_H
#define EXAMPLES_HYPERVISOR_GUEST_H

#include "hypervisor.h"

#define HYPERVISOR_GUEST_SIZE   (UINT64_C(8) << 20)
#define HYPERVISOR_GUEST_PML4   UINT64_C(0x1000)
#define HYPERVISOR_GUEST_STACK  UINT64_C(0x8000) /* end */
#define HYPERVISOR_GUEST_CODE   UINT64_C(0x10000)
#define HYPERVISOR_GUEST_VECTOR UINT32_C(0x20)     /* of the interrupt that it asks for */
#define HYPERVISOR_GUEST_COUNT  UINT64_C(0x400028) /* how often that came */

/* 64-bit mode at the first instruction. */
extern const struct vmxc_guest_start hypervisor_guest_start;

/*
 * What a loader would do: paging structures (linear = physical, 2-MByte pages), descriptors, stack, code. All else
 * comes with its first EPT violation. Errors: as vmxc_guest_mem_write.
 */
VMXC_MUST_CHECK enum vmxc_status hypervisor_guest_load(struct vmxc_addrspace *space);

/* NULL, or what is not as told after the guest has halted. */
const char *hypervisor_guest_check(struct vmxc_addrspace *space);

#endif
