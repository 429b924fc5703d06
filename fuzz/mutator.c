/* SPDX-License-Identifier: Apache-2.0 */
/* The mutators of one harness, HARNESS, for libFuzzer and as AFL++'s shared library. */
#include "shapes.h"
#include "vmxsim/fuzz_engine.h"

VMXSIM_FUZZ_LIBFUZZER(fuzz_shape(HARNESS))
VMXSIM_FUZZ_AFL(fuzz_shape(HARNESS))
