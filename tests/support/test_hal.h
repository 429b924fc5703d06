/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A HAL over one block of host memory, with what unit tests of libvmxcore need: counters, a log of calls in
 * order, failure injection, frames that no HAL should hand out, and checks that find misuse.
 *
 *  - Every frame is filled with TEST_HAL_POISON before it is handed out and after it came back; a frame that
 *    was written while it was free ends the test.
 *  - Freeing a frame twice, or one that was never handed out, ends the test.
 *  - test_hal_assert_announced ends the test if a byte changed that mark_dirty did not announce.
 */
#ifndef VMXSIM_TESTS_TEST_HAL_H
#define VMXSIM_TESTS_TEST_HAL_H

#include "vmxcore/hal.h"

#define TEST_HAL_BASE     UINT64_C(0x4000000) /* host address of the first frame */
#define TEST_HAL_POISON   0xa5
#define TEST_HAL_LOG_SIZE 65536u

enum test_hal_call {
    TEST_HAL_ALLOC,
    TEST_HAL_FREE,
    TEST_HAL_INVALIDATE,
    TEST_HAL_RELEASE, /* logged by test_hal_release */
};

struct test_hal_entry {
    enum test_hal_call call;
    uint64_t value; /* the frame or page; the EPTP */
    uint64_t size;  /* release only: bytes */
    uint64_t gpa;   /* release only */
};

/* Addresses that vmxc_frame_alloc must refuse. */
enum test_hal_oddity {
    TEST_HAL_SOUND,
    TEST_HAL_ADDRESS_ZERO,
    TEST_HAL_MISALIGNED,
    TEST_HAL_UNMAPPABLE,
    TEST_HAL_TOO_WIDE, /* mappable, but above 2^51 */
};

struct test_hal {
    struct vmxc_hal hal; /* give &hal to libvmxcore */
    uint8_t *arena;      /* frame_count frames, the first at TEST_HAL_BASE */
    uint64_t frame_count;
    uint64_t next; /* where the search for a free frame starts */
    bool *in_use;
    const char **labels;
    uint64_t frames_in_use, allocations, frees, invalidations;
    uint64_t fail_at; /* the n-th allocation from now on fails; 0: none */
    enum test_hal_oddity oddity;
    uint64_t odd_frames_returned;
    uint64_t announced;  /* calls of mark_dirty */
    uint64_t traced[16]; /* events by enum vmxc_trace_kind */
    struct vmxc_trace_event last_event;
    struct test_hal_entry log[TEST_HAL_LOG_SIZE]; /* the first entries since test_hal_clear_log */
    uint64_t log_count;
    /* Called on each invalidation, before it is counted; may be NULL. */
    void (*on_invalidate)(void *context);
    void *on_invalidate_context;
    uint8_t *announced_copy; /* the arena as it may look without unannounced stores */
    uint8_t *wide_frame;     /* what TEST_HAL_TOO_WIDE maps to */
};

/* The caller frees it with test_hal_destroy, which ends the test if a frame is still in use. */
struct test_hal *test_hal_create(uint64_t frame_count);
void test_hal_destroy(struct test_hal *hal);

/* Offers or withdraws the direct-map window (offered at the start). */
void test_hal_set_window(struct test_hal *hal, bool offered);

/* Offers mark_dirty and starts to watch stores. */
void test_hal_watch_stores(struct test_hal *hal);
void test_hal_assert_announced(struct test_hal *hal);

void test_hal_clear_log(struct test_hal *hal);
/* How many calls of this kind the log holds. */
uint64_t test_hal_count(const struct test_hal *hal, enum test_hal_call call);
/* Ends the test if a frame was freed or a page released before the first invalidation in the log. */
void test_hal_assert_invalidated_first(const struct test_hal *hal);

/* A vmxc_ept_release_fn that logs; context is the test_hal. */
void test_hal_release(void *context, uint64_t gpa, uint64_t hpa, uint64_t size);

/* All of memory and which frames are in use, as one value to compare with; free() it. */
uint8_t *test_hal_snapshot(const struct test_hal *hal);
bool test_hal_equals(const struct test_hal *hal, const uint8_t *snapshot);

/* The quadword at `hpa`, read from the arena itself; ends the test if no frame in use holds it. */
uint64_t test_hal_read64(const struct test_hal *hal, uint64_t hpa);
/* A store by the processor, which announces nothing. */
void test_hal_write64(struct test_hal *hal, uint64_t hpa, uint64_t value);

#endif
