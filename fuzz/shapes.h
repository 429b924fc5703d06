/* SPDX-License-Identifier: Apache-2.0 */
/* How harnesses read their inputs: shapes.def by name. */
#ifndef VMXSIM_FUZZ_SHAPES_H
#define VMXSIM_FUZZ_SHAPES_H

#include "vmxsim/fuzz.h"

/* Of a harness that has no row there: bytes. */
const struct vmxsim_fuzz_shape *fuzz_shape(const char *name);

#endif
