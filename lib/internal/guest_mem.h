/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by guest_mem.c and guest_mem_linear.c. */
#ifndef VMXC_INTERNAL_GUEST_MEM_H
#define VMXC_INTERNAL_GUEST_MEM_H

#include "vmxcore/guest_mem.h"

/* As vmxc_guest_mem_read, but the areas must give `access`: what an instruction fetch needs is not READ. */
VMXC_MUST_CHECK enum vmxc_status vmxc_guest_mem_read_with(struct vmxc_addrspace *space,
                                                          vmxc_gpa_t gpa, vmxc_map_flags access,
                                                          void *buffer, size_t length);

#endif
