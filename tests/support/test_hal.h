/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The HAL of all unit tests of libvmxcore: frames with an owner, counters, a log of calls and trace events in
 * order, failure injection, frames that no HAL should hand out, and checks that find misuse.
 *
 *  - Every frame is filled with TEST_HAL_POISON when it is handed out and when it comes back. A frame that was
 *    written while it was free ends the test, at the latest in test_hal_destroy.
 *  - Freeing a frame twice, or one that was never handed out, ends the test.
 *  - Where stores are watched, so does a byte that was stored before mark_dirty announced it (found by the next
 *    announcement), or that was never announced (found when its frame comes back, or by test_hal_assert_announced).
 */
#ifndef VMXSIM_TESTS_TEST_HAL_H
#define VMXSIM_TESTS_TEST_HAL_H

#include "support/rng.h"
#include "vmxcore/hal.h"
#include "vmxsim/memory.h"

#define TEST_HAL_BASE       UINT64_C(0x4000000) /* host address of the first frame, unless chosen */
#define TEST_HAL_POISON     0xa5
#define TEST_HAL_LOG_SIZE   65536u
#define TEST_HAL_TRACE_SIZE 4096u
#define TEST_HAL_NEVER      UINT64_MAX

enum test_hal_call {
    TEST_HAL_ALLOC, /* that succeeded */
    TEST_HAL_FREE,
    TEST_HAL_INVALIDATE,
    TEST_HAL_RELEASE, /* logged by test_hal_release */
};

struct test_hal_entry {
    enum test_hal_call call;
    uint64_t value;    /* the frame or page; the EPTP */
    uint64_t size;     /* release only: bytes */
    uint64_t gpa;      /* release only */
    const char *label; /* allocation and free only: what the frame was allocated for */
};

/* Addresses that vmxc_frame_alloc must refuse. */
enum test_hal_oddity {
    TEST_HAL_SOUND,
    TEST_HAL_ADDRESS_ZERO,
    TEST_HAL_MISALIGNED,
    TEST_HAL_UNMAPPABLE, /* where the caller has no memory of its own */
    TEST_HAL_TOO_WIDE,   /* mappable, but above 2^51 */
};

struct test_hal {
    struct vmxc_hal hal;          /* give &hal to libvmxcore */
    struct vmxsim_memory *memory; /* what is at an address: the frames and the caller's memory */
    uint64_t base;                /* host address of the first frame */
    uint8_t *arena;               /* frame_count frames */
    uint64_t frame_count;
    uint64_t next; /* where the search for a free frame starts */
    bool *in_use;
    const char **labels; /* by frame: what it was last allocated for */
    uint8_t *fill;       /* by frame: the byte that all of it holds while it is free */

    /* Counters since creation. A test may set them to 0. */
    uint64_t frames_in_use;
    uint64_t requests;    /* calls of alloc_frame */
    uint64_t allocations; /* those that handed out a sound frame */
    uint64_t frees;
    uint64_t lookups;   /* calls of phys_to_virt */
    uint64_t announced; /* calls of mark_dirty */

    /* What goes wrong; nothing at the start. */
    uint64_t fail_at; /* the n-th allocation from now on fails; 0: none */
    struct rng fail_random;
    uint32_t fail_per_million; /* each allocation fails with this probability */
    uint64_t maps_left;        /* calls of phys_to_virt until it answers NULL; TEST_HAL_NEVER */
    uint64_t refuse_from;      /* phys_to_virt answers NULL from this address on; 0: nowhere */
    enum test_hal_oddity oddity;
    uint64_t odd_frames_returned;

    /* Since test_hal_clear_log: counters, and the first entries and events. */
    uint64_t invalidations;
    uint64_t log_count;
    struct test_hal_entry log[TEST_HAL_LOG_SIZE];
    uint64_t traced[16];                 /* events by enum vmxc_trace_kind */
    struct vmxc_trace_event last_of[16]; /* the last of each kind */
    struct vmxc_trace_event last_event;
    uint64_t trace_count;
    struct vmxc_trace_event traces[TEST_HAL_TRACE_SIZE];

    /* Called on each invalidation, before it is counted; may be NULL. */
    void (*on_invalidate)(void *context);
    void *on_invalidate_context;
    /* Called on each announcement, before the store; may be NULL. */
    void (*on_dirty)(void *context, vmxc_hpa_t hpa, uint64_t length);
    void *on_dirty_context;

    uint8_t *announced_copy; /* the arena as it may look without unannounced stores */
    uint8_t *announced_map;  /* a mark per byte: announced, may differ from the copy */
    uint8_t *wide_frame;     /* what TEST_HAL_TOO_WIDE maps to */
};

/*
 * Frames from TEST_HAL_BASE on, or from `base` on, and `ram` bytes of memory from address 0 on that are the
 * caller's. The direct-map window over the frames is offered, mark_dirty is not; the window covers the caller's
 * memory too where the frames begin at its end. The caller frees it with test_hal_destroy, which ends the test if a
 * frame is still in use.
 */
struct test_hal *test_hal_create(uint64_t frame_count);
struct test_hal *test_hal_create_at(uint64_t base, uint64_t frame_count, uint64_t ram);
void test_hal_destroy(struct test_hal *hal);

/* Offers or withdraws the direct-map window; without it each access is a counted lookup. */
void test_hal_set_window(struct test_hal *hal, bool offered);

/* Each allocation from now on fails with probability per_million / 10^6, decided by `seed` alone. */
void test_hal_fail_randomly(struct test_hal *hal, uint64_t seed, uint32_t per_million);

/* Offers mark_dirty and counts its calls. */
void test_hal_count_stores(struct test_hal *hal);
/* That, and watches every byte of the frames in use. */
void test_hal_watch_stores(struct test_hal *hal);
/* Ends the test if a byte differs unannounced; afterwards nothing counts as announced. */
void test_hal_assert_announced(struct test_hal *hal);
/* True if the byte at `hpa` was announced since then. */
bool test_hal_is_announced(const struct test_hal *hal, uint64_t hpa);

void test_hal_clear_log(struct test_hal *hal);
/* How many calls of this kind the log holds. */
uint64_t test_hal_count(const struct test_hal *hal, enum test_hal_call call);
/* Ends the test if a frame was freed or a page released before the first invalidation in the log. */
void test_hal_assert_invalidated_first(const struct test_hal *hal);

/* A vmxc_ept_release_fn that logs; context is the test_hal. */
void test_hal_release(void *context, uint64_t gpa, uint64_t hpa, uint64_t size);

/* Which frames are in use and what they hold, as one value to compare with; free() it. */
uint8_t *test_hal_snapshot(const struct test_hal *hal);
/* True if all is as it was then, and no free frame has been written. */
bool test_hal_equals(const struct test_hal *hal, const uint8_t *snapshot);

/* The byte at `hpa`, past the library; ends the test if no frame in use holds it. */
uint8_t *test_hal_bytes(const struct test_hal *hal, uint64_t hpa);
/* The quadword there. */
uint64_t test_hal_read64(const struct test_hal *hal, uint64_t hpa);
/* A store by the processor, which announces nothing. */
void test_hal_write64(struct test_hal *hal, uint64_t hpa, uint64_t value);

#endif
