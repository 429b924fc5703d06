/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A HAL over eight host frames, for tests of structures that own a frame or two. It can refuse an allocation, stop
 * mapping frames, and tell whether each changed byte was announced with mark_dirty.
 */
#ifndef VMXSIM_TESTS_FRAME_HAL_H
#define VMXSIM_TESTS_FRAME_HAL_H

#include "vmxcore/hal.h"

#define FRAME_HAL_FRAMES 8u
#define FRAME_HAL_BASE \
    UINT64_C(0x40000000)       /* address of the first frame unless a test sets another */
#define FRAME_HAL_POISON 0xa5u /* what frames hold when they are handed out */
#define FRAME_HAL_NEVER  UINT32_MAX

struct frame_hal {
    struct vmxc_hal hal; /* what the library sees */
    vmxc_hpa_t base;
    bool used[FRAME_HAL_FRAMES];
    uint32_t live;            /* frames handed out now */
    uint32_t allocations;     /* calls of alloc_frame so far */
    uint32_t fail_allocation; /* the call (0, 1, ...) that finds no memory; FRAME_HAL_NEVER */
    uint32_t maps_left;       /* calls of phys_to_virt until it answers NULL; FRAME_HAL_NEVER */
    uint8_t content[FRAME_HAL_FRAMES][VMXC_PAGE_SIZE] __attribute__((aligned(4096)));
    uint8_t before[FRAME_HAL_FRAMES][VMXC_PAGE_SIZE]; /* content when the frame was handed out */
    bool announced[FRAME_HAL_FRAMES][VMXC_PAGE_SIZE];
};

/* All frames free, nothing fails. */
void frame_hal_init(struct frame_hal *frames);

/* The bytes of the frame at `hpa`, past the library. */
uint8_t *frame_hal_bytes(struct frame_hal *frames, vmxc_hpa_t hpa);

/* Ends the test unless every byte that differs from what was handed out has been announced. */
void frame_hal_check_announced(const struct frame_hal *frames);

/* Forgets announcements and takes the present content as the starting point. */
void frame_hal_settle(struct frame_hal *frames);

#endif
