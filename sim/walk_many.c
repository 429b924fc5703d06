/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Many guest accesses by one call.
 *
 * They are made one after the other and not interleaved: each may set flags, log a page or store into a table that the next one
 * reads. Reading ahead of a group of addresses to have more loads in flight was tried and left out (docs/performance.md).
 */
#include "internal/cpu.h"

enum vmxc_status vmxsim_walk_many(struct vmxsim_cpu *cpu, const struct vmxsim_access *access,
                                  const uint64_t *linears, size_t count,
                                  struct vmxsim_outcome *outcomes)
{
    struct vmxsim_access one = *access;

    for (size_t i = 0; i < count; i++) {
        one.linear = linears[i];
        VMXC_TRY(vmxsim_guest_access(cpu, &one, &outcomes[i], NULL));
    }
    return VMXC_OK;
}
