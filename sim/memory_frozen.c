/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Content that a memory shares with its clones: a file without a name, written once, mapped by all of them for themselves. A page
 * belongs to all until one writes to it; the host's kernel gives the writer a copy.
 *
 *     file      [ range 0            | range 1      | states of frames ]     pages never touched are holes in it
 *                  ^   ^      ^          ^   ^
 *     memory    [ #####   ######    ][ #####        ]     #: an extent, mapped; the rest is memory of its own
 *     clone     [ #####   #x####    ][ #####        ]     x: changed since, its own too
 *
 * Addresses stay what they were, so that pointers into a memory outlive its being frozen.
 */
#define _GNU_SOURCE /* memfd_create */
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "internal/memory.h"

enum {
    EXTENTS_MAX = 256,     /* of an array: each costs the host a mapping in every clone */
    BRIDGE_BITS_LEAST = 4, /* gaps of fewer than 2^4 pages never divide an extent */
    BRIDGE_BITS_MOST = 52,
};

struct extent {
    uint64_t page, count;
};

struct frozen_array {
    uint64_t offset; /* in the file */
    size_t extent_count;
    struct extent extent[EXTENTS_MAX];
};

struct vmxsim_frozen {
    atomic_uint users; /* memories, which may belong to different threads; the last one frees it */
    int file;
    size_t count;
    struct frozen_array array[];
};

/* ---- Extents ---- */

/* The next pages of a set, from `page` on, between which gaps are at most `bridge` pages. */
static bool next_extent(const struct vmxsim_page_set *set, uint64_t page, uint64_t bridge,
                        struct extent *extent)
{
    uint64_t first, next;

    if (!vmxsim_page_set_next(set, page, &first))
        return false;
    uint64_t end = first + 1;
    while (vmxsim_page_set_next(set, end, &next) && next - end <= bridge)
        end = next + 1;
    *extent = (struct extent){.page = first, .count = end - first};
    return true;
}

/* The longest gap that extents may span: short, but long enough that there are not too many of them. */
static uint64_t choose_bridge(const struct vmxsim_page_set *set)
{
    uint64_t gaps[BRIDGE_BITS_MOST] = {0}; /* [n]: from 2^n to 2^(n + 1) - 1 pages long */
    struct extent extent = {0};

    for (uint64_t end = 0; next_extent(set, end, 0, &extent); end = extent.page + extent.count) {
        if (end != 0)
            gaps[63 - __builtin_clzll(extent.page - end)]++;
    }
    unsigned int bits = BRIDGE_BITS_MOST;
    uint64_t extents = 1;
    while (bits > BRIDGE_BITS_LEAST && extents + gaps[bits - 1] <= EXTENTS_MAX)
        extents += gaps[--bits];
    return (UINT64_C(1) << bits) - 1;
}

static void choose_extents(struct frozen_array *frozen, const struct vmxsim_page_set *set)
{
    const uint64_t bridge = choose_bridge(set);
    struct extent extent;

    for (uint64_t end = 0; next_extent(set, end, bridge, &extent); end = extent.page + extent.count)
        frozen->extent[frozen->extent_count++] = extent;
}

/* ---- The file ---- */

/* -1: the host has no such files, or no more of them. */
static int new_file(void)
{
#ifdef MFD_CLOEXEC
    return memfd_create("vmxsim", MFD_CLOEXEC);
#else
    return -1;
#endif
}

/* A file beyond the process's limit would not be an error, but a signal. */
static bool may_be_as_long_as(uint64_t length)
{
    struct rlimit limit;

    return getrlimit(RLIMIT_FSIZE, &limit) == 0 &&
           (limit.rlim_cur == RLIM_INFINITY || limit.rlim_cur >= length);
}

static bool write_all(int file, const uint8_t *bytes, uint64_t length, uint64_t offset)
{
    while (length != 0) {
        const ssize_t written = pwrite(file, bytes, (size_t)length, (off_t)offset);
        if (written <= 0)
            return false;
        bytes += written;
        length -= (uint64_t)written;
        offset += (uint64_t)written;
    }
    return true;
}

static bool write_array(const struct vmxsim_array *array, int file, uint64_t offset)
{
    struct extent run;

    for (uint64_t end = 0; next_extent(&array->track->touched, end, 0, &run);
         end = run.page + run.count) {
        const uint64_t at = run.page * VMXC_PAGE_SIZE;
        if (!write_all(file, array->bytes + at, run.count * VMXC_PAGE_SIZE, offset + at))
            return false;
    }
    return true;
}

/* Frees it, whoever uses it. */
static void destroy(struct vmxsim_frozen *frozen)
{
    if (frozen->file >= 0)
        (void)close(frozen->file);
    free(frozen);
}

static uint64_t length_of_arrays(struct vmxsim_memory *memory)
{
    uint64_t length = 0;

    for (size_t i = 0; i < vmxsim_memory_array_count(memory); i++)
        length += vmxsim_memory_array(memory, i).length;
    return length;
}

/* What all arrays hold now; NULL: the host cannot keep it. */
static struct vmxsim_frozen *write_down(struct vmxsim_memory *memory)
{
    const size_t count = vmxsim_memory_array_count(memory);
    const uint64_t length = length_of_arrays(memory);
    struct vmxsim_frozen *const frozen =
        calloc(1, sizeof *frozen + count * sizeof frozen->array[0]);
    uint64_t offset = 0;

    if (frozen == NULL || !may_be_as_long_as(length)) {
        free(frozen);
        return NULL;
    }
    atomic_init(&frozen->users, 1);
    frozen->count = count;
    frozen->file = new_file();
    bool good = frozen->file >= 0 && ftruncate(frozen->file, (off_t)length) == 0;
    for (size_t i = 0; i < count && good; i++) {
        const struct vmxsim_array array = vmxsim_memory_array(memory, i);
        frozen->array[i].offset = offset;
        choose_extents(&frozen->array[i], &array.track->touched);
        good = write_array(&array, frozen->file, offset);
        offset += array.length;
    }
    if (good)
        return frozen;
    destroy(frozen);
    return NULL;
}

/* ---- Mapping ---- */

static bool map_extent(const struct vmxsim_array *array, const struct frozen_array *frozen,
                       const struct extent *extent, int file)
{
    const uint64_t at = extent->page * VMXC_PAGE_SIZE;

    return mmap(array->bytes + at, (size_t)(extent->count * VMXC_PAGE_SIZE), PROT_READ | PROT_WRITE,
                MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE, file,
                (off_t)(frozen->offset + at)) != MAP_FAILED;
}

static bool map_array(const struct vmxsim_array *array, const struct frozen_array *frozen, int file)
{
    for (size_t i = 0; i < frozen->extent_count; i++) {
        if (!map_extent(array, frozen, &frozen->extent[i], file))
            return false;
    }
    return true;
}

/* ---- Memories ---- */

static void thaw(struct vmxsim_memory *memory)
{
    for (size_t i = 0; i < vmxsim_memory_array_count(memory); i++)
        vmxsim_track_thaw(vmxsim_memory_array(memory, i).track);
}

/* Fails at the first freezing only, and then nothing is frozen. */
static bool freeze(struct vmxsim_memory *memory)
{
    for (size_t i = 0; i < vmxsim_memory_array_count(memory); i++) {
        const struct vmxsim_array array = vmxsim_memory_array(memory, i);
        if (vmxsim_track_freeze(array.track, array.length) != VMXC_OK) {
            thaw(memory);
            return false;
        }
    }
    return true;
}

void vmxsim_frozen_leave(struct vmxsim_memory *memory)
{
    struct vmxsim_frozen *const frozen = memory->frozen;

    if (frozen == NULL)
        return;
    thaw(memory);
    memory->frozen = NULL;
    if (atomic_fetch_sub(&frozen->users, 1) == 1)
        destroy(frozen);
}

bool vmxsim_frozen_make(struct vmxsim_memory *memory)
{
    struct vmxsim_frozen *const frozen = write_down(memory);

    if (frozen == NULL)
        return false;
    if (!freeze(memory)) {
        destroy(frozen);
        return false;
    }
    for (size_t i = 0; i < frozen->count; i++) {
        /* What cannot be mapped keeps its own pages with the same bytes: Linux takes a mapping away after all that can run out. */
        const struct vmxsim_array array = vmxsim_memory_array(memory, i);
        (void)map_array(&array, &frozen->array[i], frozen->file);
    }
    if (memory->frozen != NULL && atomic_fetch_sub(&memory->frozen->users, 1) == 1)
        destroy(memory->frozen);
    memory->frozen = frozen;
    memory->copied = 0;
    return true;
}

enum vmxc_status vmxsim_frozen_share(const struct vmxsim_memory *memory, struct vmxsim_memory *with)
{
    struct vmxsim_frozen *const frozen = memory->frozen;

    if (!freeze(with))
        return VMXC_NO_MEMORY;
    for (size_t i = 0; i < frozen->count; i++) {
        const struct vmxsim_array array = vmxsim_memory_array(with, i);
        if (!map_array(&array, &frozen->array[i], frozen->file))
            return VMXC_NO_MEMORY;
    }
    (void)atomic_fetch_add(&frozen->users, 1);
    with->frozen = frozen;
    return VMXC_OK;
}
