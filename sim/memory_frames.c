/* SPDX-License-Identifier: Apache-2.0 */
#include "internal/memory.h"
#include "internal/random.h"

#include <inttypes.h>
#include <string.h>

/*
 * What a frame holds before its owner has written it, and after it was given back. Bits 1:0 of both bytes are
 * 10b, so a stray use shows on every processor: as an EPT entry, writable but not readable is an EPT
 * misconfiguration; as an entry of guest paging it is not present; as a physical address it lies above 2^52, in
 * a hole; as a linear address it is not canonical, under 4-level and 5-level paging alike.
 */
enum { POISON_ALLOCATED = 0xa6, POISON_FREED = 0xde };

/* ---- Construction ---- */

static struct vmxsim_range largest_ram_range(const struct vmxsim_memory *memory)
{
    struct vmxsim_range largest = {0};
    for (size_t i = 0; i < memory->range_count; i++) {
        const struct vmxsim_ram_range *range = &memory->ranges[i];
        if (range->length > largest.length)
            largest = (struct vmxsim_range){.base = range->base, .length = range->length};
    }
    return largest;
}

/* Where the frames are: the configured range or the default, without page 0. */
static enum vmxc_status choose_frames(const struct vmxsim_memory *memory,
                                      const struct vmxsim_memory_config *config,
                                      struct vmxsim_range *frames, struct vmxsim_error *error)
{
    struct vmxsim_range chosen = config->frames;
    if (chosen.base == 0 && chosen.length == 0)
        chosen = largest_ram_range(memory);
    if (chosen.length == 0 || ((chosen.base | chosen.length) & VMXC_PAGE_MASK) != 0 ||
        !vmxsim_memory_is_ram(memory, chosen.base, chosen.length))
        return vmxsim_error_set(error, VMXC_INVALID_INPUT,
                                "frames (base 0x%" PRIx64 ", length 0x%" PRIx64
                                "): must be whole 4-KByte pages of RAM in one piece",
                                chosen.base, chosen.length);
    if (chosen.base == 0) {
        chosen.base += VMXC_PAGE_SIZE;
        chosen.length -= VMXC_PAGE_SIZE;
    }
    *frames = chosen;
    return VMXC_OK;
}

uint64_t vmxsim_frames_state_length(const struct vmxsim_frames *frames)
{
    const uint64_t length = (frames->count + 1) * sizeof *frames->state;
    return (length + VMXC_PAGE_MASK) & ~(uint64_t)VMXC_PAGE_MASK;
}

/* The state of a frame will change. */
static void note_state(struct vmxsim_frames *frames, uint64_t index)
{
    vmxsim_track_note(&frames->track, (const uint8_t *)frames->state,
                      index * sizeof *frames->state / VMXC_PAGE_SIZE);
}

enum vmxc_status vmxsim_frames_init(struct vmxsim_memory *memory,
                                    const struct vmxsim_memory_config *config,
                                    struct vmxsim_error *error)
{
    struct vmxsim_frames *frames = &memory->frames;
    struct vmxsim_range chosen = {0};
    VMXC_TRY(choose_frames(memory, config, &chosen, error));
    const uint64_t count = chosen.length / VMXC_PAGE_SIZE;

    /* One more than needed, so that a memory of nothing but page 0 has something to reserve. */
    const struct vmxsim_frames sized = {.count = count};
    struct vmxsim_frame_state *state = vmxsim_reserve(vmxsim_frames_state_length(&sized));
    if (state == NULL)
        return vmxsim_error_set(error, VMXC_NO_MEMORY,
                                "the host cannot reserve the state of %" PRIu64 " frames", count);
    *frames = (struct vmxsim_frames){
        .base = chosen.base,
        .count = count,
        .state = state,
        .poison = !config->no_poison,
        /* Only page 0 itself is RAM without a frame behind it; its range serves as well. */
        .range = vmxsim_memory_find(memory, count != 0 ? chosen.base : 0),
    };
    if (vmxsim_track_init(&frames->track, vmxsim_frames_state_length(frames)) != VMXC_OK)
        return vmxsim_error_set(error, VMXC_NO_MEMORY,
                                "the host cannot reserve the state of %" PRIu64 " frames", count);
    vmxsim_frames_reset(memory);
    return VMXC_OK;
}

void vmxsim_frames_fini(struct vmxsim_frames *frames)
{
    vmxsim_track_fini(&frames->track, vmxsim_frames_state_length(frames));
    vmxsim_release(frames->state, vmxsim_frames_state_length(frames));
    *frames = (struct vmxsim_frames){0};
}

void vmxsim_frames_reset(struct vmxsim_memory *memory)
{
    struct vmxsim_frames *frames = &memory->frames;
    vmxsim_track_clear(&frames->track, (uint8_t *)frames->state);
    frames->bump = 0;
    frames->free_head = 0;
    memory->injection = (struct vmxsim_injection){0};
    memory->stats = (struct vmxsim_memory_stats){.frames_total = frames->count};
}

/* ---- Failure injection ---- */

void vmxsim_memory_fail_nth(struct vmxsim_memory *memory, uint64_t n)
{
    memory->injection.countdown = n;
}

void vmxsim_memory_fail_randomly(struct vmxsim_memory *memory, uint64_t seed, uint32_t per_million)
{
    memory->injection.random_state = seed;
    memory->injection.per_million = per_million;
}

static bool should_fail(struct vmxsim_injection *injection)
{
    bool fail = false;
    if (injection->countdown != 0)
        fail = --injection->countdown == 0;
    if (injection->per_million != 0)
        fail |= vmxsim_next_random(&injection->random_state) % 1000000 < injection->per_million;
    return fail;
}

/* ---- Allocation ---- */

uint8_t *vmxsim_frame_bytes(const struct vmxsim_frames *frames, uint64_t index)
{
    return frames->range->bytes + (frames->base - frames->range->base) + index * VMXC_PAGE_SIZE;
}

bool vmxsim_frame_in_use(const struct vmxsim_frames *frames, uint64_t index)
{
    return frames->state[index].link == VMXSIM_FRAME_IN_USE;
}

bool vmxsim_frame_was_damaged(const struct vmxsim_frames *frames, uint64_t index)
{
    return frames->poison && index < frames->bump && !vmxsim_frame_in_use(frames, index) &&
           !vmxsim_page_is_filled(vmxsim_frame_bytes(frames, index), POISON_FREED);
}

static void poison_frame(struct vmxsim_frames *frames, uint64_t index, uint8_t byte)
{
    if (!frames->poison)
        return;
    const uint64_t hpa = frames->base + index * VMXC_PAGE_SIZE;
    vmxsim_range_touch(frames->range, hpa - frames->range->base, VMXC_PAGE_SIZE);
    memset(vmxsim_frame_bytes(frames, index), byte, VMXC_PAGE_SIZE);
}

/* The frame that was freed last, because its reuse finds stale pointers soonest; else a fresh one. */
static bool take_frame(struct vmxsim_frames *frames, uint64_t *index)
{
    if (frames->free_head != 0) {
        *index = frames->free_head - 1;
        frames->free_head = frames->state[*index].link;
        return true;
    }
    if (frames->bump == frames->count)
        return false;
    *index = frames->bump++;
    return true;
}

static void count_allocation(struct vmxsim_memory_stats *stats)
{
    stats->allocations++;
    stats->frames_in_use++;
    if (stats->frames_in_use > stats->frames_peak)
        stats->frames_peak = stats->frames_in_use;
}

enum vmxc_status vmxsim_frames_alloc(struct vmxsim_memory *memory, const char *label,
                                     uint64_t *frame_hpa)
{
    struct vmxsim_frames *frames = &memory->frames;
    const uint64_t bump = frames->bump;
    uint64_t index;
    if (should_fail(&memory->injection) || !take_frame(frames, &index)) {
        memory->stats.failed++;
        return VMXC_NO_MEMORY;
    }
    /* Fresh frames, those above the old bump, have no poison that could be damaged. */
    if (index < bump && vmxsim_frame_was_damaged(frames, index))
        memory->stats.use_after_free++;
    note_state(frames, index);
    frames->state[index].label = label != NULL ? label : "(no label)";
    frames->state[index].link = VMXSIM_FRAME_IN_USE;
    poison_frame(frames, index, POISON_ALLOCATED);
    count_allocation(&memory->stats);
    *frame_hpa = frames->base + index * VMXC_PAGE_SIZE;
    return VMXC_OK;
}

void vmxsim_frames_free(struct vmxsim_memory *memory, uint64_t frame_hpa)
{
    struct vmxsim_frames *frames = &memory->frames;
    const uint64_t offset = frame_hpa - frames->base; /* wraps below the base, to something huge */
    if ((offset & VMXC_PAGE_MASK) != 0 || offset / VMXC_PAGE_SIZE >= frames->count) {
        memory->stats.foreign_frees++;
        return;
    }
    const uint64_t index = offset / VMXC_PAGE_SIZE;
    if (!vmxsim_frame_in_use(frames, index)) {
        memory->stats.double_frees++;
        return;
    }
    note_state(frames, index);
    frames->state[index].link = frames->free_head;
    frames->free_head = index + 1;
    poison_frame(frames, index, POISON_FREED);
    memory->stats.frees++;
    memory->stats.frames_in_use--;
}
