/* SPDX-License-Identifier: Apache-2.0 */
/* Which paging modes this KVM runs: not every KVM runs all that the guest's CPUID promises. */
#ifndef KVM_PAGING_MODES_H
#define KVM_PAGING_MODES_H

#include "machine.h"

#include <jansson.h>

/* Tries each mode on a machine that has no memory yet. An array of the names of those that work; the caller's. */
json_t *modes_find(struct machine *machine, struct reason *why);

#endif
