/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A HAL for tests that watches the one of a simulated memory: it counts address lookups, logs the order of
 * allocations, frees and invalidations, and keeps the trace events.
 */
#ifndef VMXSIM_TESTS_PROBE_HAL_H
#define VMXSIM_TESTS_PROBE_HAL_H

#include "vmxsim/memory.h"

#define PROBE_FRAMES_BASE \
    UINT64_C(0x100000000) /* the frame allocator's range; the rest is the caller's */
#define PROBE_LOG_SIZE 4096u

enum probe_event_kind { PROBE_ALLOC, PROBE_FREE, PROBE_INVALIDATE };

struct probe_event {
    enum probe_event_kind kind;
    vmxc_hpa_t hpa;    /* of the frame */
    const char *label; /* what it was allocated for */
};

struct probe {
    struct vmxsim_memory *memory;
    uint64_t frames;
    const char **labels;  /* by frame: what it was last allocated for */
    struct vmxc_hal hal;  /* what the code under test gets */
    uint64_t lookups;     /* calls of phys_to_virt */
    uint64_t dirty_calls; /* calls of mark_dirty */
    /* If not NULL: called for each of them, before the store. */
    void (*on_dirty)(void *context, vmxc_hpa_t hpa, uint64_t length);
    void *on_dirty_context;
    uint64_t refuse_after; /* phys_to_virt fails for frames from this address on; 0: never */
    /* The first PROBE_LOG_SIZE events since probe_clear_log. */
    size_t event_count;
    struct probe_event events[PROBE_LOG_SIZE];
    size_t trace_count;
    struct vmxc_trace_event traces[PROBE_LOG_SIZE];
};

/*
 * Host memory [0, 1 GByte) for the caller, [PROBE_FRAMES_BASE, + frames * 4 KBytes) for the allocator. With `window`
 * the HAL offers the direct-map window over the frames; without, each access is a counted lookup.
 */
struct probe *probe_create(uint64_t frames, bool window);

/* Fails the test if frames are still in use, or were ever freed twice or wrongly. */
void probe_destroy(struct probe *probe);

void probe_clear_log(struct probe *probe);
uint64_t probe_frames_in_use(const struct probe *probe);
size_t probe_count_events(const struct probe *probe, enum probe_event_kind kind);
size_t probe_count_traces(const struct probe *probe, enum vmxc_trace_kind kind);

#endif
