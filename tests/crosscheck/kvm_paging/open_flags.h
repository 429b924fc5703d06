/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which accessed and dirty flags the architecture leaves open when an access faults: those of the paging-structure
 * entries on its way. Not a walk that judges: it follows entries while they are present, and asks nothing else.
 * Source: Intel SDM volume 3, "Accessed and Dirty Flags".
 */
#ifndef KVM_PAGING_OPEN_FLAGS_H
#define KVM_PAGING_OPEN_FLAGS_H

#include "harness.h"
#include "machine.h"
#include "state.h"

#include <jansson.h>

/* Adds the masks of an access that ended with a page fault at `fault` to `open`: address of quadword -> mask. */
void open_flags_add(struct machine *machine, const struct state *state, const struct access *access,
                    uint64_t fault, json_t *open);

#endif
