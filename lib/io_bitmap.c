/* SPDX-License-Identifier: Apache-2.0 */
#include "vmxcore/io_bitmap.h"

#include "internal/bit_array.h"

#define PORTS_PER_FRAME 0x8000u
#define PORT_LAST       0xffffu

static bool is_access_size(uint32_t size)
{
    return size == 1 || size == 2 || size == 4;
}

static bool is_ready(const struct vmxc_io_bitmap *bitmap)
{
    return vmxc_frame_is_allocated(&bitmap->a) && vmxc_frame_is_allocated(&bitmap->b);
}

static uint8_t fill_byte(enum vmxc_intercept intercept)
{
    return intercept == VMXC_INTERCEPT ? 0xff : 0x00;
}

static enum vmxc_status fill(struct vmxc_io_bitmap *bitmap, enum vmxc_intercept intercept)
{
    if (!is_ready(bitmap))
        return VMXC_BAD_STATE;
    VMXC_TRY(vmxc_frame_fill(&bitmap->a, fill_byte(intercept)));
    return vmxc_frame_fill(&bitmap->b, fill_byte(intercept));
}

/* On failure the caller gives back what is in `bitmap`. */
static enum vmxc_status build(struct vmxc_io_bitmap *bitmap, const struct vmxc_hal *hal,
                              enum vmxc_intercept all)
{
    VMXC_TRY(vmxc_frame_alloc(hal, "I/O bitmap A", &bitmap->a));
    VMXC_TRY(vmxc_frame_alloc(hal, "I/O bitmap B", &bitmap->b));
    return fill(bitmap, all);
}

enum vmxc_status vmxc_io_bitmap_init(struct vmxc_io_bitmap *bitmap, const struct vmxc_hal *hal,
                                     enum vmxc_intercept all)
{
    struct vmxc_io_bitmap fresh = {vmxc_frame_uninit(), vmxc_frame_uninit()};
    enum vmxc_status status;

    if (!vmxc_is_intercept(all))
        return VMXC_INVALID_INPUT;
    status = build(&fresh, hal, all);
    if (status != VMXC_OK) {
        vmxc_io_bitmap_fini(&fresh);
        return status;
    }
    *bitmap = fresh;
    return VMXC_OK;
}

void vmxc_io_bitmap_fini(struct vmxc_io_bitmap *bitmap)
{
    vmxc_frame_fini(&bitmap->b);
    vmxc_frame_fini(&bitmap->a);
}

enum vmxc_status vmxc_io_bitmap_hpa(const struct vmxc_io_bitmap *bitmap, vmxc_hpa_t *a_hpa,
                                    vmxc_hpa_t *b_hpa)
{
    if (!is_ready(bitmap))
        return VMXC_BAD_STATE;
    *a_hpa = bitmap->a.hpa;
    *b_hpa = bitmap->b.hpa;
    return VMXC_OK;
}

/* The part of the ports [first, last] that lies in one of the frames, as bit numbers within it. */
struct port_slice {
    uint32_t first, last;
    bool empty;
};

static struct port_slice slice_a(uint32_t first, uint32_t last)
{
    return (struct port_slice){
        .first = first,
        .last = last < PORTS_PER_FRAME ? last : PORTS_PER_FRAME - 1,
        .empty = first >= PORTS_PER_FRAME,
    };
}

static struct port_slice slice_b(uint32_t first, uint32_t last)
{
    return (struct port_slice){
        .first = first < PORTS_PER_FRAME ? 0 : first - PORTS_PER_FRAME,
        .last = last - PORTS_PER_FRAME,
        .empty = last < PORTS_PER_FRAME,
    };
}

static enum vmxc_status set_slice(struct vmxc_frame *frame, struct port_slice slice, bool value)
{
    return slice.empty ? VMXC_OK : vmxc_bit_array_set(frame, slice.first, slice.last, value);
}

/* `*any` becomes true if a bit of the slice is 1, and stays as it is otherwise. */
static enum vmxc_status or_slice(const struct vmxc_frame *frame, struct port_slice slice, bool *any)
{
    bool found = false;

    if (!slice.empty)
        VMXC_TRY(vmxc_bit_array_any(frame, slice.first, slice.last, &found));
    *any = *any || found;
    return VMXC_OK;
}

enum vmxc_status vmxc_io_bitmap_set_range(struct vmxc_io_bitmap *bitmap, uint16_t first,
                                          uint16_t last, enum vmxc_intercept intercept)
{
    if (!is_ready(bitmap))
        return VMXC_BAD_STATE;
    if (last < first || !vmxc_is_intercept(intercept))
        return VMXC_INVALID_INPUT;
    VMXC_TRY(set_slice(&bitmap->a, slice_a(first, last), intercept == VMXC_INTERCEPT));
    return set_slice(&bitmap->b, slice_b(first, last), intercept == VMXC_INTERCEPT);
}

enum vmxc_status vmxc_io_bitmap_set(struct vmxc_io_bitmap *bitmap, uint16_t port, uint32_t size,
                                    enum vmxc_intercept intercept)
{
    if (!is_ready(bitmap))
        return VMXC_BAD_STATE;
    if (!is_access_size(size) || port + size - 1 > PORT_LAST)
        return VMXC_INVALID_INPUT;
    return vmxc_io_bitmap_set_range(bitmap, port, (uint16_t)(port + size - 1), intercept);
}

enum vmxc_status vmxc_io_bitmap_intercept_all(struct vmxc_io_bitmap *bitmap)
{
    return fill(bitmap, VMXC_INTERCEPT);
}

enum vmxc_status vmxc_io_bitmap_passthrough_all(struct vmxc_io_bitmap *bitmap)
{
    return fill(bitmap, VMXC_PASSTHROUGH);
}

enum vmxc_status vmxc_io_bitmap_query(const struct vmxc_io_bitmap *bitmap, uint16_t port,
                                      uint32_t size, bool *exits)
{
    const uint32_t last = port + size - 1;
    bool any;

    if (!is_ready(bitmap))
        return VMXC_BAD_STATE;
    if (!is_access_size(size))
        return VMXC_INVALID_INPUT;
    any = last > PORT_LAST; /* wraps around: always exits */
    if (!any) {
        VMXC_TRY(or_slice(&bitmap->a, slice_a(port, last), &any));
        VMXC_TRY(or_slice(&bitmap->b, slice_b(port, last), &any));
    }
    *exits = any;
    return VMXC_OK;
}

bool vmxc_io_bitmap_exits(const struct vmxc_io_bitmap *bitmap, uint16_t port, uint32_t size)
{
    bool exits;

    return vmxc_io_bitmap_query(bitmap, port, size, &exits) != VMXC_OK || exits;
}
