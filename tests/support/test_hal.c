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

static uint64_t hpa_of(const struct test_hal *hal, uint64_t index)
{
    return hal->base + index * VMXC_PAGE_SIZE;
}

static uint8_t *frame_bytes(const struct test_hal *hal, uint64_t index)
{
    return hal->arena + index * VMXC_PAGE_SIZE;
}

/* True if the `length` bytes from `hpa` on are in frames, used or free. */
static bool is_in_frames(const struct test_hal *hal, uint64_t hpa, uint64_t length)
{
    const uint64_t size = hal->frame_count * VMXC_PAGE_SIZE;

    return hpa >= hal->base && hpa - hal->base < size && length <= size - (hpa - hal->base);
}

/* ---- Watching stores -------------------------------------------------------------------------------- */

static void assert_page_announced(const struct test_hal *hal, uint64_t page)
{
    const uint8_t *const copy = hal->announced_copy + page * VMXC_PAGE_SIZE;
    const uint8_t *const map = hal->announced_map + page * VMXC_PAGE_SIZE;
    const uint8_t *const bytes = frame_bytes(hal, page);

    if (memcmp(copy, bytes, VMXC_PAGE_SIZE) == 0)
        return;
    for (size_t i = 0; i < VMXC_PAGE_SIZE; i++)
        require(bytes[i] == copy[i] || map[i] != 0, "store to %#llx was not announced",
                (unsigned long long)(hpa_of(hal, page) + i));
}

/* From now on the page may look as it does now. */
static void settle(struct test_hal *hal, uint64_t page)
{
    memcpy(hal->announced_copy + page * VMXC_PAGE_SIZE, frame_bytes(hal, page), VMXC_PAGE_SIZE);
    memset(hal->announced_map + page * VMXC_PAGE_SIZE, 0, VMXC_PAGE_SIZE);
}

/* Marks the bytes that may differ from the copy the next time they are compared. */
static void announce(struct test_hal *hal, uint64_t offset, uint64_t length)
{
    require(offset / VMXC_PAGE_SIZE == (offset + length - 1) / VMXC_PAGE_SIZE,
            "a store across frames announced");
    for (uint64_t i = offset; i < offset + length; i++)
        require(hal->arena[i] == hal->announced_copy[i] || hal->announced_map[i] != 0,
                "%#llx was stored before it was announced", (unsigned long long)(hal->base + i));
    memset(hal->announced_map + offset, 1, length);
}

static void mark_dirty(void *context, vmxc_hpa_t hpa, uint64_t length)
{
    struct test_hal *const hal = context;

    hal->announced++;
    require(length > 0, "a store of nothing announced");
    require(vmxsim_memory_is_ram(hal->memory, hpa, length), "store outside memory announced");
    if (hal->on_dirty != NULL)
        hal->on_dirty(hal->on_dirty_context, hpa, length);
    if (!is_in_frames(hal, hpa, length))
        return; /* to the caller's memory */
    for (uint64_t at = hpa & ~VMXC_PAGE_MASK; at < hpa + length; at += VMXC_PAGE_SIZE)
        require(hal->in_use[(at - hal->base) / VMXC_PAGE_SIZE], "store to a free frame announced");
    if (hal->announced_copy != NULL)
        announce(hal, hpa - hal->base, length);
}

void test_hal_count_stores(struct test_hal *hal)
{
    hal->hal.mark_dirty = mark_dirty;
}

void test_hal_watch_stores(struct test_hal *hal)
{
    const size_t size = hal->frame_count * VMXC_PAGE_SIZE;

    test_hal_count_stores(hal);
    hal->announced_copy = calloc(1, size);
    hal->announced_map = calloc(1, size);
    ck_assert(hal->announced_copy != NULL && hal->announced_map != NULL);
    for (uint64_t page = 0; page < hal->frame_count; page++)
        if (hal->in_use[page])
            settle(hal, page);
}

void test_hal_assert_announced(struct test_hal *hal)
{
    for (uint64_t page = 0; page < hal->frame_count; page++) {
        if (!hal->in_use[page])
            continue;
        assert_page_announced(hal, page);
        settle(hal, page);
    }
}

bool test_hal_is_announced(const struct test_hal *hal, uint64_t hpa)
{
    ck_assert(hal->announced_map != NULL && is_in_frames(hal, hpa, 1));
    return hal->announced_map[hpa - hal->base] != 0;
}

/* ---- Frames ----------------------------------------------------------------------------------------- */

static void poison(struct test_hal *hal, uint64_t index)
{
    memset(frame_bytes(hal, index), TEST_HAL_POISON, VMXC_PAGE_SIZE);
    hal->fill[index] = TEST_HAL_POISON;
    if (hal->announced_copy != NULL)
        settle(hal, index);
}

/* A free frame holds one byte, over and over: the poison, or 0 if it was never handed out. */
static bool is_unwritten(const struct test_hal *hal, uint64_t index)
{
    const uint8_t *const bytes = frame_bytes(hal, index);

    return bytes[0] == hal->fill[index] && memcmp(bytes, bytes + 1, VMXC_PAGE_SIZE - 1) == 0;
}

static void assert_unwritten(const struct test_hal *hal, uint64_t index)
{
    const uint8_t *const bytes = frame_bytes(hal, index);

    if (is_unwritten(hal, index))
        return;
    for (size_t i = 0; i < VMXC_PAGE_SIZE; i++)
        require(bytes[i] == hal->fill[index], "free frame %#llx was written at offset %#zx",
                (unsigned long long)hpa_of(hal, index), i);
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
        *hpa = hal->base + 8;
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
    const bool is_nth = hal->fail_at > 0 && --hal->fail_at == 0;

    return is_nth || (hal->fail_per_million > 0 &&
                      rng_below(&hal->fail_random, 1000000) < hal->fail_per_million);
}

static enum vmxc_status alloc_frame(void *context, const char *label, vmxc_hpa_t *frame_hpa)
{
    struct test_hal *const hal = context;

    require(label != NULL, "a frame without label");
    hal->requests++;
    if (is_injected(hal) || hal->frames_in_use == hal->frame_count)
        return VMXC_NO_MEMORY;
    if (!is_sound(hal, frame_hpa))
        return VMXC_OK;
    while (hal->in_use[hal->next])
        hal->next = (hal->next + 1) % hal->frame_count;
    assert_unwritten(hal, hal->next);
    poison(hal, hal->next);
    hal->in_use[hal->next] = true;
    hal->labels[hal->next] = label;
    hal->frames_in_use++;
    hal->allocations++;
    *frame_hpa = hpa_of(hal, hal->next);
    hal->next = (hal->next + 1) % hal->frame_count;
    log_call(hal,
             (struct test_hal_entry){.call = TEST_HAL_ALLOC, .value = *frame_hpa, .label = label});
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
    const uint64_t index = (frame_hpa - hal->base) / VMXC_PAGE_SIZE;
    require(frame_hpa % VMXC_PAGE_SIZE == 0 && is_in_frames(hal, frame_hpa, VMXC_PAGE_SIZE),
            "foreign frame %#llx freed", (unsigned long long)frame_hpa);
    require(hal->in_use[index], "frame %#llx freed twice", (unsigned long long)frame_hpa);
    if (hal->announced_copy != NULL)
        assert_page_announced(hal, index);
    hal->in_use[index] = false;
    hal->frames_in_use--;
    hal->frees++;
    poison(hal, index);
    log_call(hal, (struct test_hal_entry){
                      .call = TEST_HAL_FREE, .value = frame_hpa, .label = hal->labels[index]});
}

/* ---- The other calls -------------------------------------------------------------------------------- */

static void *phys_to_virt(void *context, vmxc_hpa_t hpa)
{
    struct test_hal *const hal = context;

    hal->lookups++;
    if (hal->maps_left == 0 || (hal->refuse_from != 0 && hpa >= hal->refuse_from))
        return NULL;
    if (hal->maps_left != TEST_HAL_NEVER)
        hal->maps_left--;
    if (hal->oddity == TEST_HAL_TOO_WIDE && hpa - WIDE_FRAME < VMXC_PAGE_SIZE)
        return hal->wide_frame + (hpa - WIDE_FRAME);
    return vmxsim_memory_pointer(hal->memory, hpa);
}

static enum vmxc_status virt_to_phys(void *context, const void *pointer, vmxc_hpa_t *hpa)
{
    const struct test_hal *const hal = context;
    const struct vmxc_hal *const inner = vmxsim_memory_hal(hal->memory);

    return inner->virt_to_phys(inner->context, pointer, hpa);
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
    hal->last_of[event->kind] = *event;
    hal->last_event = *event;
    if (hal->trace_count < TEST_HAL_TRACE_SIZE)
        hal->traces[hal->trace_count++] = *event;
}

/* ---- Life ------------------------------------------------------------------------------------------- */

static struct vmxsim_memory *make_memory(uint64_t base, uint64_t length, uint64_t ram)
{
    const struct vmxsim_range ranges[] = {{base, length}, {0, ram}};
    const struct vmxsim_memory_config config = {
        .ram = ranges, .ram_count = ram > 0 ? 2 : 1, .frames = ranges[0]};
    struct vmxsim_memory *memory = NULL;

    ck_assert_int_eq(vmxsim_memory_create(&config, &memory, NULL), VMXC_OK);
    return memory;
}

struct test_hal *test_hal_create_at(uint64_t base, uint64_t frame_count, uint64_t ram)
{
    struct test_hal *const hal = calloc(1, sizeof(*hal));

    ck_assert_ptr_nonnull(hal);
    hal->hal = (struct vmxc_hal){.context = hal,
                                 .alloc_frame = alloc_frame,
                                 .dealloc_frame = dealloc_frame,
                                 .phys_to_virt = phys_to_virt,
                                 .virt_to_phys = virt_to_phys,
                                 .invalidate_ept = invalidate_ept,
                                 .trace = trace};
    hal->memory = make_memory(base, frame_count * VMXC_PAGE_SIZE, ram);
    hal->base = base;
    hal->frame_count = frame_count;
    hal->maps_left = TEST_HAL_NEVER;
    hal->arena = vmxsim_memory_pointer(hal->memory, base);
    hal->wide_frame = aligned_alloc(VMXC_PAGE_SIZE, VMXC_PAGE_SIZE);
    hal->in_use = calloc(frame_count, sizeof(*hal->in_use));
    hal->labels = calloc(frame_count, sizeof(*hal->labels));
    hal->fill = calloc(frame_count, sizeof(*hal->fill));
    ck_assert(hal->arena != NULL && hal->wide_frame != NULL);
    ck_assert(hal->in_use != NULL && hal->labels != NULL && hal->fill != NULL);
    test_hal_set_window(hal, true);
    return hal;
}

struct test_hal *test_hal_create(uint64_t frame_count)
{
    return test_hal_create_at(TEST_HAL_BASE, frame_count, 0);
}

void test_hal_destroy(struct test_hal *hal)
{
    for (uint64_t i = 0; i < hal->frame_count; i++) {
        require(!hal->in_use[i], "frame %#llx (%s) was not given back",
                (unsigned long long)hpa_of(hal, i), hal->labels[i]);
        if (hal->fill[i] != 0)
            assert_unwritten(hal, i);
    }
    vmxsim_memory_destroy(hal->memory);
    free(hal->announced_copy);
    free(hal->announced_map);
    free(hal->fill);
    free(hal->labels);
    free(hal->in_use);
    free(hal->wide_frame);
    free(hal);
}

void test_hal_set_window(struct test_hal *hal, bool offered)
{
    const struct vmxc_hal_window none = {.length = 0};

    hal->hal.window = offered ? vmxsim_memory_hal(hal->memory)->window : none;
}

void test_hal_fail_randomly(struct test_hal *hal, uint64_t seed, uint32_t per_million)
{
    hal->fail_random = rng_seeded(seed);
    hal->fail_per_million = per_million;
}

/* ---- The log ---------------------------------------------------------------------------------------- */

void test_hal_clear_log(struct test_hal *hal)
{
    hal->log_count = 0;
    hal->trace_count = 0;
    hal->invalidations = 0;
    memset(hal->traced, 0, sizeof(hal->traced));
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

/* ---- Content ---------------------------------------------------------------------------------------- */

uint8_t *test_hal_snapshot(const struct test_hal *hal)
{
    const size_t size = hal->frame_count * VMXC_PAGE_SIZE;
    uint8_t *const snapshot = calloc(1, size + hal->frame_count);

    ck_assert_ptr_nonnull(snapshot);
    memcpy(snapshot + size, hal->in_use, hal->frame_count);
    for (uint64_t i = 0; i < hal->frame_count; i++)
        if (hal->in_use[i])
            memcpy(snapshot + i * VMXC_PAGE_SIZE, frame_bytes(hal, i), VMXC_PAGE_SIZE);
    return snapshot;
}

bool test_hal_equals(const struct test_hal *hal, const uint8_t *snapshot)
{
    const size_t size = hal->frame_count * VMXC_PAGE_SIZE;

    if (memcmp(snapshot + size, hal->in_use, hal->frame_count) != 0)
        return false;
    for (uint64_t i = 0; i < hal->frame_count; i++) {
        const uint8_t *const then = snapshot + i * VMXC_PAGE_SIZE;
        if (hal->in_use[i] ? memcmp(then, frame_bytes(hal, i), VMXC_PAGE_SIZE) != 0
                           : !is_unwritten(hal, i))
            return false;
    }
    return true;
}

uint8_t *test_hal_bytes(const struct test_hal *hal, uint64_t hpa)
{
    const uint64_t offset = hpa - hal->base;

    require(is_in_frames(hal, hpa, 1) && hal->in_use[offset / VMXC_PAGE_SIZE],
            "%#llx is in no frame in use", (unsigned long long)hpa);
    return hal->arena + offset;
}

static uint8_t *quadword(const struct test_hal *hal, uint64_t hpa)
{
    require(hpa % 8 == 0, "%#llx is not aligned", (unsigned long long)hpa);
    return test_hal_bytes(hal, hpa);
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
        memcpy(hal->announced_copy + (hpa - hal->base), &value, sizeof(value));
}
