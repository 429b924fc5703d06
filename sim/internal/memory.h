/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside of struct vmxsim_memory, shared by sim/memory*.c, snapshot.c, region_watch.c, the cache of translations, and what
 * reads tables and bitmaps.
 *
 *     memory.c          construction, ranges, reads and writes
 *     memory_touched.c  sets of pages
 *     memory_track.c    which pages were written, and what they held when a snapshot was taken
 *     memory_tables.c   words that cached translations depend on
 *     memory_frames.c   frame allocator, poison, failure injection
 *     memory_hal.c      struct vmxc_hal over the above
 *     memory_digest.c   digest of the content
 *     memory_report.c   frames in use, frames written after they were freed
 *     memory_frozen.c   content that a memory shares with its clones
 *     memory_clone.c    clones
 *     snapshot.c        snapshots
 */
#ifndef VMXSIM_INTERNAL_MEMORY_H
#define VMXSIM_INTERNAL_MEMORY_H

#include "internal/region_watch.h"
#include "vmxsim/memory.h"

/* ---- Host memory ---- */

/*
 * Address space of the host that reads as zero and costs nothing until it is written; NULL: there is not
 * that much. Released with the same length; releasing NULL does nothing.
 */
void *vmxsim_reserve(uint64_t length);
void vmxsim_release(void *pointer, uint64_t length);
/* Makes a part of a reservation what it was at first, without writing to it. False: it is as it was. */
VMXC_MUST_CHECK bool vmxsim_reserve_again(void *pointer, uint64_t length);

/* ---- A set of page numbers ---- */

enum { VMXSIM_PAGE_SET_LEVELS = 7 }; /* 64^7 pages are more than 2^52 bytes */

/*
 * Bitmaps over bitmaps: a bit of level n + 1 says that a 64-bit word of level n is not zero. Adding a
 * member costs at most one store per level, and visiting all members in ascending order costs as much as there
 * are members, not as much as there could be.
 */
struct vmxsim_page_set {
    uint64_t *level[VMXSIM_PAGE_SET_LEVELS]; /* 0: one bit per page; unused levels are NULL */
    unsigned int levels;
    uint64_t word_count; /* of all levels together; they are one reservation */
};

VMXC_MUST_CHECK enum vmxc_status vmxsim_page_set_init(struct vmxsim_page_set *set, uint64_t pages);
void vmxsim_page_set_fini(struct vmxsim_page_set *set);
void vmxsim_page_set_insert(struct vmxsim_page_set *set, uint64_t page);
void vmxsim_page_set_remove(struct vmxsim_page_set *set, uint64_t page);

/* Finds the lowest member that is at least `page`, which may be the number of pages; false: none. */
bool vmxsim_page_set_next(const struct vmxsim_page_set *set, uint64_t page, uint64_t *found);
uint64_t vmxsim_page_set_count(const struct vmxsim_page_set *set);
/* Inserts all members of a set for as many pages; one step for 64 neighbours. */
void vmxsim_page_set_insert_all(struct vmxsim_page_set *set, const struct vmxsim_page_set *members);
/* Removes all members, in as many steps as there are. */
void vmxsim_page_set_empty(struct vmxsim_page_set *set);

static inline bool vmxsim_page_set_contains(const struct vmxsim_page_set *set, uint64_t page)
{
    return (set->level[0][page / 64] >> page % 64 & 1) != 0;
}

/* ---- What was written to an array that snapshots and clones cover ---- */

/*
 *                 vmxsim_track_note, before the first write to a page
 *     bytes   [ page ][ page ][ page ] ...
 *                       |  as it was when the snapshot was taken
 *                       v
 *     copy    [      ][ page ][      ] ...
 */
struct vmxsim_track {
    struct vmxsim_page_set touched; /* since creation or reset */
    struct vmxsim_page_set
        dirty; /* since the snapshot was taken or restored; the sets above and below know them */
    struct vmxsim_page_set changed; /* since the content was frozen; no levels: it was not */
    struct vmxsim_page_set saved;   /* pages that `copy` holds */
    uint8_t *copy;                  /* as long as the array; NULL: there is no snapshot */
    uint8_t *spare; /* the next snapshot's `copy`, with `saved` empty; NULL: none is kept */
};

VMXC_MUST_CHECK enum vmxc_status vmxsim_track_init(struct vmxsim_track *track, uint64_t length);
void vmxsim_track_fini(struct vmxsim_track *track, uint64_t length);

/* The page is not dirty and will be written. */
void vmxsim_track_note_first(struct vmxsim_track *track, const uint8_t *bytes, uint64_t page);

/* The page will be written. */
static inline void vmxsim_track_note(struct vmxsim_track *track, const uint8_t *bytes,
                                     uint64_t page)
{
    if (!vmxsim_page_set_contains(&track->dirty, page))
        vmxsim_track_note_first(track, bytes, page);
}

/* From now on the first write to a page saves it. Errors: VMXC_NO_MEMORY. */
VMXC_MUST_CHECK enum vmxc_status vmxsim_track_start(struct vmxsim_track *track, uint64_t length);
/* The dirty pages hold again what they held then. Returns how many they were. */
uint64_t vmxsim_track_restore(struct vmxsim_track *track, uint8_t *bytes);
void vmxsim_track_stop(struct vmxsim_track *track, uint64_t length);
/* Makes every touched page zero. */
void vmxsim_track_clear(struct vmxsim_track *track, uint8_t *bytes);

/* The whole array is zero again, by other means. There must be no snapshot. */
void vmxsim_track_forget(struct vmxsim_track *track);

/* The content is frozen from now on; without `thaw` it is until the end. Errors: VMXC_NO_MEMORY. */
VMXC_MUST_CHECK enum vmxc_status vmxsim_track_freeze(struct vmxsim_track *track, uint64_t length);
void vmxsim_track_thaw(struct vmxsim_track *track);
/* What an array has to be given besides frozen content, if there is any, to be like this one. */
const struct vmxsim_page_set *vmxsim_track_differences(const struct vmxsim_track *track);

/* ---- RAM ---- */

struct vmxsim_ram_range {
    uint64_t base, length;
    uint8_t *bytes;            /* the whole range, one reservation */
    struct vmxsim_track track; /* by page within the range */
    struct vmxsim_memory *memory;
    struct vmxsim_page_set tables; /* pages that cached translations depend on; made when needed */
    struct vmxsim_page_set raw;    /* pages whose pointers were given away; made when needed */
};

/* ---- Frames ---- */

/*
 * Frames that were never handed out lie above `bump`; freed ones form a list, last freed first. The list
 * lives beside the frames, not in them, so that their poison stays whole.
 */
struct vmxsim_frame_state {
    const char *label; /* of the owner, or of the last one if the frame is free */
    uint64_t link;     /* VMXSIM_FRAME_IN_USE, or the next free frame's index plus one; 0: end */
};

#define VMXSIM_FRAME_IN_USE UINT64_MAX

struct vmxsim_frames {
    struct vmxsim_ram_range *range; /* that holds them all */
    uint64_t base;
    uint64_t count, bump; /* frames */
    uint64_t free_head;   /* index plus one; 0: none */
    struct vmxsim_frame_state *state;
    struct vmxsim_track track; /* of the states */
    bool poison;
};

/* Failure injection; all zero: off. */
struct vmxsim_injection {
    uint64_t countdown; /* 1: the next allocation fails; 0: off */
    uint64_t random_state;
    uint32_t per_million;
};

/* ---- Snapshots ---- */

/* A plain value that belongs to the machine: a processor, or what a client has registered. */
struct vmxsim_handle {
    void *value;
    size_t size;
    void *
        copy; /* as it was when the snapshot was taken; NULL: it was not there, or there is no snapshot */
};

/* Pages that somebody may write without saying so. */
struct vmxsim_handed_out {
    uint64_t hpa, length;
};

struct vmxsim_snapshot {
    bool taken;
    uint64_t bump, free_head; /* of the frames */
    struct vmxsim_injection injection;
    struct vmxsim_memory_stats stats;
    struct vmxsim_region_watch regions;
    uint64_t hazard_count;
    struct vmxsim_hazard hazards[VMXSIM_HAZARDS_KEPT];
};

/* An array that snapshots and clones cover. */
struct vmxsim_array {
    uint8_t *bytes;
    uint64_t length;
    struct vmxsim_track *track;
};

struct vmxsim_frozen; /* memory_frozen.c */

struct vmxsim_memory {
    struct vmxsim_ram_range *ranges; /* ascending, never adjacent */
    size_t range_count, range_capacity;
    size_t last_range; /* hint: the range of the last lookup */

    struct vmxsim_frames frames;
    struct vmxsim_injection injection;
    struct vmxsim_memory_stats stats;

    struct vmxsim_snapshot snapshot;
    struct vmxsim_handle *handles;
    size_t handle_count, handle_capacity;
    struct vmxsim_handed_out *handed_out;
    size_t handed_out_count, handed_out_capacity;

    struct vmxsim_frozen *frozen; /* what this memory and others have in common; NULL: nothing */
    uint64_t copied; /* pages that were copied to clones since the content was frozen */

    struct vmxc_hal hal;
    void (*on_invalidate)(void *context, uint64_t eptp);
    void *invalidate_context;
    void (*on_trace)(void *context, const struct vmxc_trace_event *event);
    void *trace_context;

    uint64_t table_epoch;    /* never 0; a new one begins when such a page is written */
    bool all_raw;            /* there was no host memory for a set of raw pages */
    struct vmxsim_tlb *tlbs; /* of the processors that have one */

    uint32_t processor_count; /* that were ever created on this memory */
    struct vmxsim_region_watch regions;
    struct vmxsim_hazard_log hazards;
};

/* Every access by address comes past here; of writes: after the bytes have been stored. */
static inline void vmxsim_region_watch_see(struct vmxsim_memory *memory, uint64_t hpa,
                                           uint64_t length, bool write)
{
    const struct vmxsim_region_watch *watch = &memory->regions;

    if (hpa < watch->end && (hpa >= watch->begin || length > watch->begin - hpa))
        vmxsim_region_watch_report(memory, hpa, length, write);
}

/* The range that holds `hpa`; NULL: a hole. */
struct vmxsim_ram_range *vmxsim_memory_find(struct vmxsim_memory *memory, uint64_t hpa);

/* Marks the pages of [offset, offset + length) within a range; length is not 0. */
void vmxsim_range_touch(struct vmxsim_ram_range *range, uint64_t offset, uint64_t length);

/*
 * Calls `visit` for each touched page, ascending; any part of the memory may change meanwhile, except that no
 * page may be touched.
 */
void vmxsim_memory_each_touched(const struct vmxsim_memory *memory,
                                void (*visit)(void *context, struct vmxsim_ram_range *range,
                                              uint64_t page),
                                void *context);

/* True if every byte of a page is `byte`. */
bool vmxsim_page_is_filled(const uint8_t *page, uint8_t byte);

/* The byte at `hpa`, whose page will be written by somebody who says so; NULL: a hole. */
uint8_t *vmxsim_memory_locate(struct vmxsim_memory *memory, uint64_t hpa);

/* Byte by byte, so that the host's byte order does not matter; compilers make one load of it. */
static inline uint32_t vmxsim_load32(const uint8_t *bytes)
{
    return (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 |
           (uint32_t)bytes[3] << 24;
}

static inline uint64_t vmxsim_load64(const uint8_t *bytes)
{
    return (uint64_t)vmxsim_load32(bytes) | (uint64_t)vmxsim_load32(bytes + 4) << 32;
}

/* An aligned quadword of a table; as vmxsim_memory_read64, which it calls unless the range of the last lookup holds it. */
static inline uint64_t vmxsim_memory_read_entry(struct vmxsim_memory *memory, uint64_t hpa)
{
    const struct vmxsim_ram_range *const range = &memory->ranges[memory->last_range];

    if (hpa - range->base >= range->length)
        return vmxsim_memory_read64(memory, hpa);
    vmxsim_region_watch_see(memory, hpa, 8, false);
    return vmxsim_load64(range->bytes + (hpa - range->base));
}

/* One byte; nearly always in the range of the last lookup. */
static inline uint8_t vmxsim_memory_read8(struct vmxsim_memory *memory, uint64_t hpa)
{
    const struct vmxsim_ram_range *const range = &memory->ranges[memory->last_range];
    uint8_t byte;

    if (hpa - range->base < range->length) {
        vmxsim_region_watch_see(memory, hpa, 1, false);
        return range->bytes[hpa - range->base];
    }
    vmxsim_memory_read(memory, hpa, &byte, 1);
    return byte;
}

/* ---- memory_tables.c ---- */

enum vmxsim_watch {
    VMXSIM_WATCHED,
    VMXSIM_WATCH_RAW,     /* its page may be written without a word */
    VMXSIM_WATCH_REFUSED, /* no RAM, or a processor's region, where reads are hazards */
};

/* Reads a word of a table; the next write to its page begins a new epoch. `value` is set unless it is refused. */
enum vmxsim_watch vmxsim_memory_watch_word(struct vmxsim_memory *memory, uint64_t hpa,
                                           unsigned size, uint64_t *value);
/* Only reads it; in a hole, nothing happens. */
void vmxsim_memory_peek_word(struct vmxsim_memory *memory, uint64_t hpa, unsigned size,
                             uint64_t *value);

/* A page of the set will be written. */
void vmxsim_tables_written(struct vmxsim_ram_range *range, uint64_t page);
/* Anything may have been. */
void vmxsim_tables_changed(struct vmxsim_memory *memory);
void vmxsim_tables_note_raw(struct vmxsim_ram_range *range, uint64_t page);
/* The memory is reset: pointers that were given away are good no more. */
void vmxsim_tables_reset(struct vmxsim_memory *memory);
void vmxsim_tables_fini(struct vmxsim_ram_range *range);

/* ---- tlb*.c: all processors of the memory ---- */

void vmxsim_tlb_tables_changed(struct vmxsim_memory *memory);
/* As INVEPT, single-context, on each. */
void vmxsim_tlb_invalidate_everywhere(struct vmxsim_memory *memory, uint64_t eptp);
/* For snapshots: keeps what is cached, brings it back, forgets what was kept. Errors: VMXC_NO_MEMORY. */
VMXC_MUST_CHECK enum vmxc_status vmxsim_tlb_keep(struct vmxsim_memory *memory);
void vmxsim_tlb_return(struct vmxsim_memory *memory);
void vmxsim_tlb_forget(struct vmxsim_memory *memory);

/* The arrays: each range's bytes, then the states of the frames. */
size_t vmxsim_memory_array_count(const struct vmxsim_memory *memory);
struct vmxsim_array vmxsim_memory_array(struct vmxsim_memory *memory, size_t index);

/* ---- memory_frames.c ---- */

VMXC_MUST_CHECK enum vmxc_status vmxsim_frames_init(struct vmxsim_memory *memory,
                                                    const struct vmxsim_memory_config *config,
                                                    struct vmxsim_error *error);
void vmxsim_frames_fini(struct vmxsim_frames *frames);
/* Bytes of the array of states: whole pages. */
uint64_t vmxsim_frames_state_length(const struct vmxsim_frames *frames);
void vmxsim_frames_reset(struct vmxsim_memory *memory);
VMXC_MUST_CHECK enum vmxc_status vmxsim_frames_alloc(struct vmxsim_memory *memory,
                                                     const char *label, uint64_t *frame_hpa);
void vmxsim_frames_free(struct vmxsim_memory *memory, uint64_t frame_hpa);
uint8_t *vmxsim_frame_bytes(const struct vmxsim_frames *frames, uint64_t index);
bool vmxsim_frame_in_use(const struct vmxsim_frames *frames, uint64_t index);

/* True if the frame was freed and its poison is not what it was then. */
bool vmxsim_frame_was_damaged(const struct vmxsim_frames *frames, uint64_t index);

/* ---- snapshot.c ---- */

/* Pages that are handed out count as written again. */
void vmxsim_snapshot_note_handed_out(struct vmxsim_memory *memory);
/* Gives back what belongs to snapshots; the memory is about to go. */
void vmxsim_snapshot_fini(struct vmxsim_memory *memory);

/* ---- memory_frozen.c ---- */

/*
 * Freezes the content of a memory as it is, instead of what was frozen before. False: the host cannot; nothing has
 * changed.
 */
VMXC_MUST_CHECK bool vmxsim_frozen_make(struct vmxsim_memory *memory);
/* A new memory with the same arrays holds the frozen content too. Errors: VMXC_NO_MEMORY; it must be destroyed then. */
VMXC_MUST_CHECK enum vmxc_status vmxsim_frozen_share(const struct vmxsim_memory *memory,
                                                     struct vmxsim_memory *with);
/* The memory, whose arrays may be mapped still, is done with the frozen content. */
void vmxsim_frozen_leave(struct vmxsim_memory *memory);

/* ---- memory_hal.c ---- */

void vmxsim_memory_hal_init(struct vmxsim_memory *memory);

#endif
