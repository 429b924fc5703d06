/* SPDX-License-Identifier: Apache-2.0 */
#include "support/test_hal.h"

#include <stdlib.h>
#include <string.h>

#include "support/require.h"

#define WIDE_FRAME   (UINT64_C(1) << 51)
#define NOT_A_MEMORY UINT64_C(0x1000)

static void log_call(struct test_hal *hal, struct test_hal_entry entry)
{
    if (hal->log_count < TEST_HAL_LOG_SIZE)
        hal->log[hal->log_count] = entry;
    hal->log_count++;
}

static uint8_t *frame_bytes(const struct test_hal *hal, uint64_t index)
{
    return hal->arena + index * VMXC_PAGE_SIZE;
}

static void poison(struct test_hal *hal, uint64_t index)
{
    const size_t size = hal->frame_count * VMXC_PAGE_SIZE;

    memset(frame_bytes(hal, index), TEST_HAL_POISON, VMXC_PAGE_SIZE);
    if (hal->announced_copy == NULL)
        return;
    memset(hal->announced_copy + index * VMXC_PAGE_SIZE, TEST_HAL_POISON, VMXC_PAGE_SIZE);
    memset(hal->announced_copy + size + index * VMXC_PAGE_SIZE, 0, VMXC_PAGE_SIZE);
}

static void assert_poisoned(const struct test_hal *hal, uint64_t index)
{
    const uint8_t *const bytes = frame_bytes(hal, index);

    for (size_t i = 0; i < VMXC_PAGE_SIZE; i++)
        require(bytes[i] == TEST_HAL_POISON, "free frame %#llx was written at offset %#zx",
                (unsigned long long)(TEST_HAL_BASE + index * VMXC_PAGE_SIZE), i);
}

/* True if a frame without oddity is to be handed out; otherwise *hpa is the odd one. */
static bool is_sound(struct test_hal *hal, vmxc_hpa_t *hpa)
{
    switch (hal->oddity) {
    case TEST_HAL_SOUND:
        return true;
    case TEST_HAL_ADDRESS_ZERO:
        *hpa = 0;
        return false;
    case TEST_HAL_MISALIGNED:
        *hpa = TEST_HAL_BASE + 8;
        return false;
    case TEST_HAL_UNMAPPABLE:
        *hpa = NOT_A_MEMORY;
        return false;
    case TEST_HAL_TOO_WIDE:
        *hpa = WIDE_FRAME;
        return false;
    }
    ck_abort_msg("unknown oddity");
}

static bool is_injected(struct test_hal *hal)
{
    return hal->fail_at > 0 && --hal->fail_at == 0;
}

static enum vmxc_status alloc_frame(void *context, const char *label, vmxc_hpa_t *frame_hpa)
{
    struct test_hal *const hal = context;

    require(label != NULL, "a frame without label");
    if (is_injected(hal) || hal->frames_in_use == hal->frame_count)
        return VMXC_NO_MEMORY;
    if (!is_sound(hal, frame_hpa))
        return VMXC_OK;
    while (hal->in_use[hal->next])
        hal->next = (hal->next + 1) % hal->frame_count;
    assert_poisoned(hal, hal->next);
    hal->in_use[hal->next] = true;
    hal->labels[hal->next] = label;
    hal->frames_in_use++;
    hal->allocations++;
    *frame_hpa = TEST_HAL_BASE + hal->next * VMXC_PAGE_SIZE;
    hal->next = (hal->next + 1) % hal->frame_count;
    log_call(hal, (struct test_hal_entry){.call = TEST_HAL_ALLOC, .value = *frame_hpa});
    return VMXC_OK;
}

static void dealloc_frame(void *context, vmxc_hpa_t frame_hpa)
{
    struct test_hal *const hal = context;
    vmxc_hpa_t odd_hpa = 0;

    if (!is_sound(hal, &odd_hpa) && frame_hpa == odd_hpa) {
        hal->odd_frames_returned++;
        return;
    }
    const uint64_t index = (frame_hpa - TEST_HAL_BASE) / VMXC_PAGE_SIZE;
    require(frame_hpa >= TEST_HAL_BASE && frame_hpa % VMXC_PAGE_SIZE == 0 &&
                index < hal->frame_count,
            "foreign frame %#llx freed", (unsigned long long)frame_hpa);
    require(hal->in_use[index], "frame %#llx freed twice", (unsigned long long)frame_hpa);
    hal->in_use[index] = false;
    hal->frames_in_use--;
    hal->frees++;
    poison(hal, index);
    log_call(hal, (struct test_hal_entry){.call = TEST_HAL_FREE, .value = frame_hpa});
}

static void *phys_to_virt(void *context, vmxc_hpa_t hpa)
{
    const struct test_hal *const hal = context;

    if (hal->oddity == TEST_HAL_TOO_WIDE && hpa - WIDE_FRAME < VMXC_PAGE_SIZE)
        return hal->wide_frame + (hpa - WIDE_FRAME);
    if (hpa - TEST_HAL_BASE >= hal->frame_count * VMXC_PAGE_SIZE)
        return NULL;
    return hal->arena + (hpa - TEST_HAL_BASE);
}

static enum vmxc_status virt_to_phys(void *context, const void *pointer, vmxc_hpa_t *hpa)
{
    const struct test_hal *const hal = context;
    const uintptr_t offset = (uintptr_t)pointer - (uintptr_t)hal->arena;

    if (offset >= hal->frame_count * VMXC_PAGE_SIZE)
        return VMXC_NOT_FOUND;
    *hpa = TEST_HAL_BASE + offset;
    return VMXC_OK;
}

static void invalidate_ept(void *context, uint64_t eptp)
{
    struct test_hal *const hal = context;

    if (hal->on_invalidate != NULL)
        hal->on_invalidate(hal->on_invalidate_context);
    hal->invalidations++;
    log_call(hal, (struct test_hal_entry){.call = TEST_HAL_INVALIDATE, .value = eptp});
}

static void trace(void *context, const struct vmxc_trace_event *event)
{
    struct test_hal *const hal = context;

    hal->traced[event->kind]++;
    hal->last_event = *event;
}

struct test_hal *test_hal_create(uint64_t frame_count)
{
    struct test_hal *const hal = calloc(1, sizeof(*hal));
    const size_t size = frame_count * VMXC_PAGE_SIZE;

    ck_assert_ptr_nonnull(hal);
    hal->hal = (struct vmxc_hal){.context = hal,
                                 .alloc_frame = alloc_frame,
                                 .dealloc_frame = dealloc_frame,
                                 .phys_to_virt = phys_to_virt,
                                 .virt_to_phys = virt_to_phys,
                                 .invalidate_ept = invalidate_ept,
                                 .trace = trace};
    hal->frame_count = frame_count;
    hal->arena = aligned_alloc(VMXC_PAGE_SIZE, size);
    hal->wide_frame = aligned_alloc(VMXC_PAGE_SIZE, VMXC_PAGE_SIZE);
    hal->in_use = calloc(frame_count, sizeof(*hal->in_use));
    hal->labels = calloc(frame_count, sizeof(*hal->labels));
    ck_assert(hal->arena != NULL && hal->wide_frame != NULL);
    ck_assert(hal->in_use != NULL && hal->labels != NULL);
    memset(hal->arena, TEST_HAL_POISON, size);
    test_hal_set_window(hal, true);
    return hal;
}

void test_hal_destroy(struct test_hal *hal)
{
    for (uint64_t i = 0; i < hal->frame_count; i++)
        ck_assert_msg(!hal->in_use[i], "frame %#llx (%s) was not given back",
                      (unsigned long long)(TEST_HAL_BASE + i * VMXC_PAGE_SIZE), hal->labels[i]);
    free(hal->announced_copy);
    free(hal->labels);
    free(hal->in_use);
    free(hal->wide_frame);
    free(hal->arena);
    free(hal);
}

void test_hal_set_window(struct test_hal *hal, bool offered)
{
    hal->hal.window = (struct vmxc_hal_window){
        .base = TEST_HAL_BASE,
        .length = offered ? hal->frame_count * VMXC_PAGE_SIZE : 0,
        .pointer = offered ? hal->arena : NULL,
    };
}

/* Marks the bytes that may differ from the copy the next time they are compared. */
static void mark_dirty(void *context, vmxc_hpa_t hpa, uint64_t length)
{
    struct test_hal *const hal = context;
    const uint64_t offset = hpa - TEST_HAL_BASE;

    hal->announced++;
    require(length > 0, "a store of nothing announced");
    require(offset + length <= hal->frame_count * VMXC_PAGE_SIZE, "store outside memory announced");
    require(hal->in_use[offset / VMXC_PAGE_SIZE], "store to a free frame announced");
    require(offset / VMXC_PAGE_SIZE == (offset + length - 1) / VMXC_PAGE_SIZE,
            "a store across frames announced");
    uint8_t *const map = hal->announced_copy + hal->frame_count * VMXC_PAGE_SIZE;
    memset(map + offset, 1, length);
}

void test_hal_watch_stores(struct test_hal *hal)
{
    const size_t size = hal->frame_count * VMXC_PAGE_SIZE;

    hal->announced_copy = calloc(2, size); /* a copy of the arena, then one mark per byte */
    ck_assert_ptr_nonnull(hal->announced_copy);
    memcpy(hal->announced_copy, hal->arena, size);
    hal->hal.mark_dirty = mark_dirty;
}

static void assert_page_announced(struct test_hal *hal, uint64_t page)
{
    uint8_t *const copy = hal->announced_copy + page * VMXC_PAGE_SIZE;
    uint8_t *const map = copy + hal->frame_count * VMXC_PAGE_SIZE;
    const uint8_t *const bytes = frame_bytes(hal, page);

    for (size_t i = 0; i < VMXC_PAGE_SIZE; i++)
        require(bytes[i] == copy[i] || map[i] != 0, "store to %#llx was not announced",
                (unsigned long long)(TEST_HAL_BASE + page * VMXC_PAGE_SIZE + i));
    memcpy(copy, bytes, VMXC_PAGE_SIZE);
    memset(map, 0, VMXC_PAGE_SIZE);
}

void test_hal_assert_announced(struct test_hal *hal)
{
    for (uint64_t page = 0; page < hal->frame_count; page++)
        if (hal->in_use[page])
            assert_page_announced(hal, page);
}

void test_hal_clear_log(struct test_hal *hal)
{
    hal->log_count = 0;
    hal->invalidations = 0;
}

uint64_t test_hal_count(const struct test_hal *hal, enum test_hal_call call)
{
    uint64_t count = 0;

    ck_assert_uint_le(hal->log_count, TEST_HAL_LOG_SIZE);
    for (uint64_t i = 0; i < hal->log_count; i++)
        count += hal->log[i].call == call;
    return count;
}

void test_hal_assert_invalidated_first(const struct test_hal *hal)
{
    for (uint64_t i = 0; i < hal->log_count; i++) {
        if (hal->log[i].call == TEST_HAL_INVALIDATE)
            return;
        require(hal->log[i].call == TEST_HAL_ALLOC, "%#llx was given back before invalidation",
                (unsigned long long)hal->log[i].value);
    }
    ck_abort_msg("no invalidation at all");
}

void test_hal_release(void *context, uint64_t gpa, uint64_t hpa, uint64_t size)
{
    log_call(context, (struct test_hal_entry){
                          .call = TEST_HAL_RELEASE, .value = hpa, .size = size, .gpa = gpa});
}

uint8_t *test_hal_snapshot(const struct test_hal *hal)
{
    const size_t size = hal->frame_count * VMXC_PAGE_SIZE;
    uint8_t *const snapshot = malloc(size + hal->frame_count);

    ck_assert_ptr_nonnull(snapshot);
    memcpy(snapshot, hal->arena, size);
    memcpy(snapshot + size, hal->in_use, hal->frame_count);
    return snapshot;
}

bool test_hal_equals(const struct test_hal *hal, const uint8_t *snapshot)
{
    const size_t size = hal->frame_count * VMXC_PAGE_SIZE;

    return memcmp(snapshot, hal->arena, size) == 0 &&
           memcmp(snapshot + size, hal->in_use, hal->frame_count) == 0;
}

static uint8_t *quadword(const struct test_hal *hal, uint64_t hpa)
{
    const uint64_t offset = hpa - TEST_HAL_BASE;

    require(hpa % 8 == 0 && offset < hal->frame_count * VMXC_PAGE_SIZE &&
                hal->in_use[offset / VMXC_PAGE_SIZE],
            "%#llx is in no frame in use", (unsigned long long)hpa);
    return hal->arena + offset;
}

uint64_t test_hal_read64(const struct test_hal *hal, uint64_t hpa)
{
    uint64_t value;

    memcpy(&value, quadword(hal, hpa), sizeof(value));
    return value;
}

void test_hal_write64(struct test_hal *hal, uint64_t hpa, uint64_t value)
{
    memcpy(quadword(hal, hpa), &value, sizeof(value));
    if (hal->announced_copy != NULL)
        memcpy(hal->announced_copy + (hpa - TEST_HAL_BASE), &value, sizeof(value));
}
