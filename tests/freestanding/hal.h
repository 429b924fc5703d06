/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A HAL over a static arena, the way a small hypervisor would write it: "physical" memory is one array, and
 * free frames are a stack of numbers.
 */
#ifndef FREESTANDING_HAL_H
#define FREESTANDING_HAL_H

#include "vmxcore/hal.h"

enum { ARENA_FRAMES = 64 };

/* Host-physical address of the arena's first byte. */
#define ARENA_HPA UINT64_C(0x100000)

struct arena {
    uint32_t free[ARENA_FRAMES]; /* numbers of the free frames */
    uint32_t free_count;
    uint32_t invalidations; /* calls of invalidate_ept */
    uint64_t last_eptp;     /* of the last such call */
    uint32_t bad_frees;     /* frames given back that were not taken */
};

/* Makes all frames free and fills them with a byte that is not zero. */
void arena_init(struct arena *arena);

/* The HAL over the arena. */
struct vmxc_hal arena_hal(struct arena *arena);

/* Where the byte at `hpa` lies; NULL outside the arena. */
uint8_t *arena_pointer(vmxc_hpa_t hpa);

#endif
