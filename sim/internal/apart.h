/* SPDX-License-Identifier: Apache-2.0 */
/* Memory for what a thread writes all the time. */
#ifndef VMXSIM_INTERNAL_APART_H
#define VMXSIM_INTERNAL_APART_H

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

/* Processors fetch cache lines of 64 bytes, some of them in pairs. */
#define VMXSIM_APART_ALIGNMENT ((size_t)128)

/*
 * Zeroed memory that shares no cache line with anything else, so that machines in different threads do not slow each other
 * down. Freed with free. NULL: there is none.
 */
static inline void *vmxsim_alloc_apart(size_t size)
{
    const size_t whole = (size + VMXSIM_APART_ALIGNMENT - 1) & ~(VMXSIM_APART_ALIGNMENT - 1);
    void *const memory = aligned_alloc(VMXSIM_APART_ALIGNMENT, whole);

    if (memory != NULL)
        memset(memory, 0, whole);
    return memory;
}

#endif
