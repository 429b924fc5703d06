/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The HAL as the library uses it: optional members tested in one place, and no indirect call where the
 * direct-map window covers the address.
 */
#ifndef VMXC_INTERNAL_HAL_H
#define VMXC_INTERNAL_HAL_H

#include "internal/string.h"
#include "vmxcore/hal.h"

/*
 * Keeps what is seldom needed out of the way of what is needed for every page, where it would cost registers. Compilers
 * without these lose time, nothing else.
 */
#if defined(__GNUC__)
#define VMXC_SELDOM            __attribute__((cold, noinline))
#define VMXC_MOSTLY(condition) __builtin_expect((condition), 1)
#define VMXC_RARELY(condition) __builtin_expect((condition), 0)
#else
#define VMXC_SELDOM
#define VMXC_MOSTLY(condition) (condition)
#define VMXC_RARELY(condition) (condition)
#endif

/* True if every mandatory member is there and the window starts with a frame. */
static inline bool vmxc_hal_is_complete(const struct vmxc_hal *hal)
{
    return hal != NULL && hal->alloc_frame != NULL && hal->dealloc_frame != NULL &&
           hal->phys_to_virt != NULL && hal->virt_to_phys != NULL && hal->invalidate_ept != NULL &&
           (hal->window.base & VMXC_PAGE_MASK) == 0;
}

/* The 4096 bytes of the frame at `frame_hpa` (4-KByte aligned); NULL if the HAL cannot map them. */
static inline void *vmxc_hal_frame_pointer(const struct vmxc_hal *hal, vmxc_hpa_t frame_hpa)
{
    const uint64_t offset = frame_hpa - hal->window.base;

    /* The offset of the frame's last byte: the window starts with a frame. */
    if (VMXC_MOSTLY((offset | VMXC_PAGE_MASK) < hal->window.length))
        return hal->window.pointer + offset;
    return hal->phys_to_virt(hal->context, frame_hpa);
}

/* The byte at `hpa` (any alignment), good up to the end of its frame; NULL if the HAL cannot map it. */
static inline void *vmxc_hal_pointer(const struct vmxc_hal *hal, vmxc_hpa_t hpa)
{
    uint8_t *const frame = vmxc_hal_frame_pointer(hal, hpa & ~VMXC_PAGE_MASK);

    return frame == NULL ? NULL : frame + (hpa & VMXC_PAGE_MASK);
}

/* Asks for a cache line that will be read soon. A hint: compilers without it lose time, nothing else. */
static inline void vmxc_prefetch(const void *pointer)
{
#if defined(__GNUC__)
    __builtin_prefetch(pointer);
#else
    (void)pointer;
#endif
}

/* Announces a store to [hpa, hpa + length). */
static inline void vmxc_hal_mark_dirty(const struct vmxc_hal *hal, vmxc_hpa_t hpa, uint64_t length)
{
    if (VMXC_RARELY(hal->mark_dirty != NULL))
        hal->mark_dirty(hal->context, hpa, length);
}

/*
 * Reports an event, given by its members, if somebody wants it; otherwise it is not even made: this is on the way of every
 * frame.
 */
#define VMXC_HAL_TRACE(hal, ...)                                                \
    do {                                                                        \
        const struct vmxc_hal *const vmxc_traced_ = (hal);                      \
        if (VMXC_RARELY(vmxc_traced_->trace != NULL))                           \
            vmxc_traced_->trace(vmxc_traced_->context,                          \
                                &(const struct vmxc_trace_event){__VA_ARGS__}); \
    } while (0)

/* Drops every cached translation of `eptp`, on every processor. */
static inline void vmxc_hal_invalidate_ept(const struct vmxc_hal *hal, uint64_t eptp)
{
    hal->invalidate_ept(hal->context, eptp);
    VMXC_HAL_TRACE(hal, .kind = VMXC_TRACE_INVALIDATE_EPT, .value = eptp);
}

/* Gives back a frame that this library cannot work with. */
VMXC_SELDOM static enum vmxc_status vmxc_hal_refuse_frame(const struct vmxc_hal *hal,
                                                          vmxc_hpa_t frame_hpa)
{
    hal->dealloc_frame(hal->context, frame_hpa);
    return VMXC_BAD_STATE;
}

/*
 * As vmxc_frame_alloc, for owners that keep only the address; *pointer is where the frame can be seen. The HAL is
 * complete.
 */
VMXC_MUST_CHECK static inline enum vmxc_status vmxc_hal_take_frame(const struct vmxc_hal *hal,
                                                                   const char *label,
                                                                   vmxc_hpa_t *frame_hpa,
                                                                   void **pointer)
{
    vmxc_hpa_t hpa = 0;

    VMXC_TRY(hal->alloc_frame(hal->context, label, &hpa));
    const bool is_frame = hpa != 0 && (hpa & VMXC_PAGE_MASK) == 0;
    void *const seen = is_frame ? vmxc_hal_frame_pointer(hal, hpa) : NULL;
    if (seen == NULL)
        return vmxc_hal_refuse_frame(hal, hpa);
    VMXC_HAL_TRACE(hal, .kind = VMXC_TRACE_FRAME_ALLOC, .label = label, .hpa = hpa);
    *frame_hpa = hpa;
    *pointer = seen;
    return VMXC_OK;
}

/* As above; every byte is zero. */
VMXC_MUST_CHECK static inline enum vmxc_status
vmxc_hal_take_zeroed_frame(const struct vmxc_hal *hal, const char *label, vmxc_hpa_t *frame_hpa)
{
    void *pointer = NULL;

    VMXC_TRY(vmxc_hal_take_frame(hal, label, frame_hpa, &pointer));
    vmxc_hal_mark_dirty(hal, *frame_hpa, VMXC_PAGE_SIZE);
    memset(pointer, 0, VMXC_PAGE_SIZE);
    return VMXC_OK;
}

/* Gives back a frame that vmxc_frame_alloc accepted, for owners that keep only its address. */
static inline void vmxc_hal_free_frame(const struct vmxc_hal *hal, vmxc_hpa_t frame_hpa)
{
    hal->dealloc_frame(hal->context, frame_hpa);
    VMXC_HAL_TRACE(hal, .kind = VMXC_TRACE_FRAME_FREE, .hpa = frame_hpa);
}

#endif
