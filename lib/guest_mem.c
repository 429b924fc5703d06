/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guest memory by guest-physical address.
 *
 * A range is taken in chunks of up to sixteen pages, so that a fixed array of segments always suffices:
 *
 *     gpa                                              gpa + length
 *      |---- chunk: ends at a page boundary ----|---- chunk ----|
 *      |--segment--|-------segment-------|--seg-|      each contiguous in host memory
 *
 * Before the first byte moves, every chunk has been mapped once: that checks areas and flags and supplies lazy
 * pages. A range of one chunk, the usual case, is mapped only once.
 */
#include "vmxcore/guest_mem.h"

#include <stdatomic.h>

#include "internal/guest_mem.h"
#include "internal/hal.h"
#include "internal/string.h"

#define CHUNK_PAGES 16u
#define CHUNK_SIZE  (CHUNK_PAGES * VMXC_PAGE_SIZE)

struct chunk {
    uint64_t length; /* bytes */
    size_t count;
    struct vmxc_guest_segment segment[CHUNK_PAGES];
};

/* Moves the bytes of one segment; `position` is where the segment lies in the whole range. */
typedef void (*move_fn)(void *context, const struct vmxc_guest_segment *segment, uint64_t position);

static enum vmxc_status check_range(const struct vmxc_addrspace *space, vmxc_gpa_t gpa,
                                    uint64_t length)
{
    if (space->ept.hal == NULL)
        return VMXC_BAD_STATE;
    return vmxc_addrspace_contains(space, gpa, length) ? VMXC_OK : VMXC_INVALID_INPUT;
}

/* As much of [gpa, gpa + length) as one chunk takes. */
static enum vmxc_status map_chunk(struct vmxc_addrspace *space, vmxc_gpa_t gpa, uint64_t length,
                                  vmxc_map_flags access, struct chunk *chunk)
{
    const uint64_t limit = CHUNK_SIZE - (gpa & VMXC_PAGE_MASK);

    chunk->length = length < limit ? length : limit;
    VMXC_TRY(vmxc_addrspace_buffer(space, gpa, chunk->length, access, chunk->segment, CHUNK_PAGES,
                                   &chunk->count));
    for (size_t i = 0; i < chunk->count; i++) {
        if (chunk->segment[i].pointer == NULL)
            return VMXC_NOT_BACKED;
    }
    return VMXC_OK;
}

enum vmxc_status vmxc_guest_mem_probe(struct vmxc_addrspace *space, vmxc_gpa_t gpa, uint64_t length,
                                      vmxc_map_flags access)
{
    struct chunk chunk;

    VMXC_TRY(check_range(space, gpa, length));
    for (uint64_t done = 0; done < length; done += chunk.length)
        VMXC_TRY(map_chunk(space, gpa + done, length - done, access, &chunk));
    return VMXC_OK;
}

static void move_chunk(const struct chunk *chunk, uint64_t position, move_fn move, void *context)
{
    for (size_t i = 0; i < chunk->count; i++) {
        move(context, &chunk->segment[i], position);
        position += chunk->segment[i].length;
    }
}

/* Checks all of the range, then moves it. */
static enum vmxc_status transfer(struct vmxc_addrspace *space, vmxc_gpa_t gpa, uint64_t length,
                                 vmxc_map_flags access, move_fn move, void *context)
{
    struct chunk chunk;

    VMXC_TRY(check_range(space, gpa, length));
    VMXC_TRY(map_chunk(space, gpa, length, access, &chunk));
    if (chunk.length < length)
        VMXC_TRY(vmxc_guest_mem_probe(space, gpa + chunk.length, length - chunk.length, access));

    move_chunk(&chunk, 0, move, context);
    for (uint64_t done = chunk.length; done < length; done += chunk.length) {
        VMXC_TRY(map_chunk(space, gpa + done, length - done, access, &chunk));
        move_chunk(&chunk, done, move, context);
    }
    return VMXC_OK;
}

/* ---- Buffers ---- */

static void move_to_host(void *context, const struct vmxc_guest_segment *segment, uint64_t position)
{
    uint8_t *const buffer = context;

    memcpy(buffer + position, segment->pointer, (size_t)segment->length);
}

struct store {
    const struct vmxc_addrspace *space;
    const uint8_t *buffer; /* NULL: fill with `byte` */
    uint8_t byte;
};

static void move_to_guest(void *context, const struct vmxc_guest_segment *segment,
                          uint64_t position)
{
    const struct store *const store = context;

    vmxc_hal_mark_dirty(store->space->ept.hal, segment->hpa, segment->length);
    if (store->buffer != NULL)
        memcpy(segment->pointer, store->buffer + position, (size_t)segment->length);
    else
        memset(segment->pointer, store->byte, (size_t)segment->length);
}

enum vmxc_status vmxc_guest_mem_read_with(struct vmxc_addrspace *space, vmxc_gpa_t gpa,
                                          vmxc_map_flags access, void *buffer, size_t length)
{
    return transfer(space, gpa, length, access, move_to_host, buffer);
}

enum vmxc_status vmxc_guest_mem_read(struct vmxc_addrspace *space, vmxc_gpa_t gpa, void *buffer,
                                     size_t length)
{
    return transfer(space, gpa, length, VMXC_MAP_READ, move_to_host, buffer);
}

enum vmxc_status vmxc_guest_mem_write(struct vmxc_addrspace *space, vmxc_gpa_t gpa,
                                      const void *buffer, size_t length)
{
    struct store store = {.space = space, .buffer = buffer};

    return transfer(space, gpa, length, VMXC_MAP_WRITE, move_to_guest, &store);
}

enum vmxc_status vmxc_guest_mem_fill(struct vmxc_addrspace *space, vmxc_gpa_t gpa, uint8_t byte,
                                     uint64_t length)
{
    struct store store = {.space = space, .byte = byte};

    return transfer(space, gpa, length, VMXC_MAP_WRITE, move_to_guest, &store);
}

/* ---- Guest to guest ---- */

static uint64_t min3(uint64_t a, uint64_t b, uint64_t c)
{
    const uint64_t least = a < b ? a : b;

    return least < c ? least : c;
}

/* Copies within one page of each range. */
static enum vmxc_status copy_piece(struct vmxc_addrspace *space, vmxc_gpa_t to_gpa,
                                   vmxc_gpa_t from_gpa, uint64_t length)
{
    struct vmxc_guest_segment to, from;
    size_t count;

    VMXC_TRY(vmxc_addrspace_buffer(space, to_gpa, length, VMXC_MAP_WRITE, &to, 1, &count));
    VMXC_TRY(vmxc_addrspace_buffer(space, from_gpa, length, VMXC_MAP_READ, &from, 1, &count));
    vmxc_hal_mark_dirty(space->ept.hal, to.hpa, length);
    memmove(to.pointer, from.pointer, (size_t)length);
    return VMXC_OK;
}

static enum vmxc_status copy_ascending(struct vmxc_addrspace *space, vmxc_gpa_t to_gpa,
                                       vmxc_gpa_t from_gpa, uint64_t length)
{
    for (uint64_t piece, done = 0; done < length; done += piece) {
        piece = min3(length - done, VMXC_PAGE_SIZE - ((to_gpa + done) & VMXC_PAGE_MASK),
                     VMXC_PAGE_SIZE - ((from_gpa + done) & VMXC_PAGE_MASK));
        VMXC_TRY(copy_piece(space, to_gpa + done, from_gpa + done, piece));
    }
    return VMXC_OK;
}

/* Bytes of the page that holds the byte before `end`, up to `end`. */
static uint64_t page_part_below(vmxc_gpa_t end)
{
    return ((end - 1) & VMXC_PAGE_MASK) + 1;
}

static enum vmxc_status copy_descending(struct vmxc_addrspace *space, vmxc_gpa_t to_gpa,
                                        vmxc_gpa_t from_gpa, uint64_t length)
{
    for (uint64_t piece, left = length; left > 0; left -= piece) {
        piece = min3(left, page_part_below(to_gpa + left), page_part_below(from_gpa + left));
        VMXC_TRY(copy_piece(space, to_gpa + left - piece, from_gpa + left - piece, piece));
    }
    return VMXC_OK;
}

enum vmxc_status vmxc_guest_mem_copy(struct vmxc_addrspace *space, vmxc_gpa_t to_gpa,
                                     vmxc_gpa_t from_gpa, uint64_t length)
{
    VMXC_TRY(vmxc_guest_mem_probe(space, from_gpa, length, VMXC_MAP_READ));
    VMXC_TRY(vmxc_guest_mem_probe(space, to_gpa, length, VMXC_MAP_WRITE));

    return to_gpa <= from_gpa ? copy_ascending(space, to_gpa, from_gpa, length)
                              : copy_descending(space, to_gpa, from_gpa, length);
}

/* ---- Objects ---- */

/*
 * The frame memory of one naturally aligned object of `size` bytes. Such an object never crosses a page, so it
 * is one segment, and its host address is as aligned as its guest address.
 */
static enum vmxc_status map_object(struct vmxc_addrspace *space, vmxc_gpa_t gpa, uint64_t size,
                                   vmxc_map_flags access, struct vmxc_guest_segment *segment)
{
    size_t count;

    if (gpa % size != 0)
        return VMXC_INVALID_INPUT;
    VMXC_TRY(vmxc_addrspace_buffer(space, gpa, size, access, segment, 1, &count));
    return segment->pointer != NULL ? VMXC_OK : VMXC_NOT_BACKED;
}

#define DEFINE_OBJECT_ACCESS(suffix, type)                                                       \
    enum vmxc_status vmxc_guest_mem_read_##suffix(struct vmxc_addrspace *space, vmxc_gpa_t gpa,  \
                                                  type *value)                                   \
    {                                                                                            \
        return vmxc_guest_mem_read(space, gpa, value, sizeof *value);                            \
    }                                                                                            \
                                                                                                 \
    enum vmxc_status vmxc_guest_mem_write_##suffix(struct vmxc_addrspace *space, vmxc_gpa_t gpa, \
                                                   type value)                                   \
    {                                                                                            \
        return vmxc_guest_mem_write(space, gpa, &value, sizeof value);                           \
    }                                                                                            \
                                                                                                 \
    enum vmxc_status vmxc_guest_mem_read_volatile_##suffix(struct vmxc_addrspace *space,         \
                                                           vmxc_gpa_t gpa, type *value)          \
    {                                                                                            \
        struct vmxc_guest_segment segment;                                                       \
                                                                                                 \
        VMXC_TRY(map_object(space, gpa, sizeof *value, VMXC_MAP_READ, &segment));                \
        *value = *(volatile type *)segment.pointer;                                              \
        return VMXC_OK;                                                                          \
    }                                                                                            \
                                                                                                 \
    enum vmxc_status vmxc_guest_mem_write_volatile_##suffix(struct vmxc_addrspace *space,        \
                                                            vmxc_gpa_t gpa, type value)          \
    {                                                                                            \
        struct vmxc_guest_segment segment;                                                       \
                                                                                                 \
        VMXC_TRY(map_object(space, gpa, sizeof value, VMXC_MAP_WRITE, &segment));                \
        vmxc_hal_mark_dirty(space->ept.hal, segment.hpa, sizeof value);                          \
        *(volatile type *)segment.pointer = value;                                               \
        return VMXC_OK;                                                                          \
    }

DEFINE_OBJECT_ACCESS(u8, uint8_t)
DEFINE_OBJECT_ACCESS(u16, uint16_t)
DEFINE_OBJECT_ACCESS(u32, uint32_t)
DEFINE_OBJECT_ACCESS(u64, uint64_t)

#define DEFINE_COMPARE_EXCHANGE(suffix, type)                                                    \
    enum vmxc_status vmxc_guest_mem_compare_exchange_##suffix(struct vmxc_addrspace *space,      \
                                                              vmxc_gpa_t gpa, type expected,     \
                                                              type desired, bool *exchanged)     \
    {                                                                                            \
        struct vmxc_guest_segment segment;                                                       \
                                                                                                 \
        VMXC_TRY(                                                                                \
            map_object(space, gpa, sizeof expected, VMXC_MAP_READ | VMXC_MAP_WRITE, &segment));  \
        vmxc_hal_mark_dirty(space->ept.hal, segment.hpa, sizeof expected);                       \
        *exchanged =                                                                             \
            atomic_compare_exchange_strong((_Atomic type *)segment.pointer, &expected, desired); \
        return VMXC_OK;                                                                          \
    }

DEFINE_COMPARE_EXCHANGE(u32, uint32_t)
DEFINE_COMPARE_EXCHANGE(u64, uint64_t)
