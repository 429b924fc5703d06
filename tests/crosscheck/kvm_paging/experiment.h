/* SPDX-License-Identifier: Apache-2.0 */
/* Runs one case in the guest and says what was observed, in the words of docs/vectors.md. */
#ifndef KVM_PAGING_EXPERIMENT_H
#define KVM_PAGING_EXPERIMENT_H

#include "machine.h"
#include "vector.h"

#include <jansson.h>

/* `*expect` is the observation; the caller's. False: there is none, and `why` says so. */
bool experiment_run(struct machine *machine, const struct vector_case *vector, json_t **expect,
                    struct reason *why);

#endif
