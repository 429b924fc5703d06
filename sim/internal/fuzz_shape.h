/* SPDX-License-Identifier: Apache-2.0 */
/* Inputs of fuzz harnesses, item by item, as a shape says (vmxsim/fuzz.h). */
#ifndef VMXSIM_INTERNAL_FUZZ_SHAPE_H
#define VMXSIM_INTERNAL_FUZZ_SHAPE_H

#include "vmxsim/fuzz.h"

enum vmxsim_fuzz_kind {
    VMXSIM_FUZZ_NUMBER,
    VMXSIM_FUZZ_VALUE,
    VMXSIM_FUZZ_FIELD,
    VMXSIM_FUZZ_MSR,
    VMXSIM_FUZZ_SELECTOR, /* of an operation */
};

struct vmxsim_fuzz_item {
    enum vmxsim_fuzz_kind kind;
    unsigned width; /* bytes of a number; 0: as many as it needs */
    bool decides;   /* what follows depends on it */
};

/* The head or one operation, being read. The bytes behind `size` do not exist. */
struct vmxsim_fuzz_cursor {
    const struct vmxsim_fuzz_shape *shape;
    const char *items; /* what is left of them */
    bool selects;      /* the selector of an operation comes first */
    const uint8_t *bytes;
    size_t size, at;
};

struct vmxsim_fuzz_cursor vmxsim_fuzz_head(const struct vmxsim_fuzz_shape *shape,
                                           const uint8_t *bytes, size_t size);

/* The operation that starts at `at`. */
struct vmxsim_fuzz_cursor vmxsim_fuzz_operation(const struct vmxsim_fuzz_shape *shape,
                                                const uint8_t *bytes, size_t size, size_t at);

/* What comes next, without reading it. False: nothing. */
bool vmxsim_fuzz_peek(struct vmxsim_fuzz_cursor *cursor, struct vmxsim_fuzz_item *item);

/* Reads the item that vmxsim_fuzz_peek has told. */
void vmxsim_fuzz_advance(struct vmxsim_fuzz_cursor *cursor, const struct vmxsim_fuzz_item *item);

/* Reads all that is left of the head or the operation; returns where it ends. */
size_t vmxsim_fuzz_skip(struct vmxsim_fuzz_cursor cursor);

#endif
