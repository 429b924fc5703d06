/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A plain machine for libvmxcore: one window of host memory, frames from two stacks, invalidation that does nothing. No
 * poison, no dirty tracking, no trace, so that what is timed is libvmxcore.
 *
 *     window    [ other frames: tables, nodes ... | guest pages ... ]
 */
#ifndef BENCH_ARENA_H
#define BENCH_ARENA_H

#include "vmxcore/hal.h"

struct arena_pool {
    vmxc_hpa_t base;
    uint64_t total;        /* frames */
    uint64_t count;        /* frames that are free */
    vmxc_hpa_t *free_hpas; /* a stack */
};

struct arena {
    struct vmxc_hal hal;
    struct arena_pool pages;  /* what libvmxcore labels "guest page" */
    struct arena_pool others; /* tables, nodes of area sets */
    uint8_t *bytes;
};

void arena_init(struct arena *arena, uint64_t page_frames, uint64_t other_frames);
void arena_fini(struct arena *arena);

/* Puts the stacks in their first order: the lowest frame comes first. Every frame must be free. */
void arena_sort(struct arena *arena);

/* Frames in use. */
uint64_t arena_in_use(const struct arena *arena);

/*
 * Whether filling a guest page with zeros is carried out. With false, a whole guest page is left as it is and
 * everything else is filled, so that what is timed is all but the zeroing.
 */
void arena_zero_pages(const struct arena *arena, bool carried_out);

#endif
