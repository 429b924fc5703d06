/* SPDX-License-Identifier: Apache-2.0 */
#include "shapes.h"

#include <string.h>

static const struct {
    const char *name;
    struct vmxsim_fuzz_shape shape;
} shapes[] = {
#define LIST(...) ((const char *const[]){__VA_ARGS__})
#define FUZZ_SHAPE(harness, bits, items, ...)                                  \
    {#harness,                                                                 \
     {.head = (items),                                                         \
      .operation = LIST(__VA_ARGS__),                                          \
      .operation_count = sizeof LIST(__VA_ARGS__) / sizeof *LIST(__VA_ARGS__), \
      .selector = (bits)}},
#define FUZZ_HEAD(harness, items) {#harness, {.head = (items)}},
#define FUZZ_TEXT(harness)        {#harness, {.head = NULL}},
#include "shapes.def"
};

static const struct vmxsim_fuzz_shape any_bytes = {
    .head = "", .operation = LIST("1"), .operation_count = 1};

const struct vmxsim_fuzz_shape *fuzz_shape(const char *name)
{
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        if (strcmp(shapes[i].name, name) == 0)
            return &shapes[i].shape;
    }
    return &any_bytes;
}
