/* SPDX-License-Identifier: Apache-2.0 */
/* How fuzz_ept_mapper reads its input: two operations, each with a page (2 bytes) and rights (1). */
#include "vmxsim/fuzz_engine.h"

static const char *const operations[] = {"2 1", "2 1"};
static const struct vmxsim_fuzz_shape shape = {
    .head = "", .operation = operations, .operation_count = 2};

VMXSIM_FUZZ_LIBFUZZER(&shape)
VMXSIM_FUZZ_AFL(&shape)
