/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The memory seam: everything libvmxcore needs from the machine it runs on.
 *
 * A HAL is one `const struct vmxc_hal`, a table of functions with a context pointer. A hypervisor
 * supplies one over its physical memory; libvmxsim supplies one over simulated memory. The table must
 * outlive every object that was created with it. No function may call back into libvmxcore.
 */
#ifndef VMXC_HAL_H
#define VMXC_HAL_H

#include "vmxcore/defs/status.h"
#include "vmxcore/defs/types.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What happened, for the optional trace callback. */
enum vmxc_trace_kind {
    VMXC_TRACE_FRAME_ALLOC, /* hpa: the frame; label: its owner */
    VMXC_TRACE_FRAME_FREE,  /* hpa: the frame */
    VMXC_TRACE_MAP,         /* gpa, size, hpa (linear backend; otherwise 0) */
    VMXC_TRACE_UNMAP,       /* gpa, size */
    VMXC_TRACE_PROTECT,     /* gpa, size */
    VMXC_TRACE_SPLIT,       /* gpa, size: of the large page that became a table; hpa: the table */
    VMXC_TRACE_MERGE,       /* gpa, size: of the large page that replaced a table; hpa: the table */
    VMXC_TRACE_PAGE_FAULT,  /* gpa; value: enum vmxc_fault_result */
    VMXC_TRACE_INVALIDATE_EPT, /* value: the EPTP */
};

/* One event. Members that the kind does not name are zero (label: NULL). */
struct vmxc_trace_event {
    enum vmxc_trace_kind kind;
    const char *label; /* static string: who owns the frame */
    vmxc_gpa_t gpa;
    vmxc_hpa_t hpa;
    uint64_t size; /* bytes */
    uint64_t value;
};

/*
 * A range of physical memory that is mapped contiguously: hpa is at pointer + (hpa - base). Where a HAL
 * offers one, hot paths need no indirect call. length 0: there is no window.
 */
struct vmxc_hal_window {
    vmxc_hpa_t base; /* 4-KByte aligned */
    uint64_t length; /* bytes */
    uint8_t *pointer;
};

struct vmxc_hal {
    void *context; /* passed to every function */

    /*
     * Takes one 4-KByte frame. `label` is a static string that says what the frame is for ("EPT table",
     * "guest page" ...), for accounting. The content is undefined. The caller owns the frame until
     * dealloc_frame. Returns VMXC_NO_MEMORY when there is none; `frame_hpa` is then untouched.
     */
    enum vmxc_status (*alloc_frame)(void *context, const char *label, vmxc_hpa_t *frame_hpa);

    /* Gives back a frame that alloc_frame handed out. */
    void (*dealloc_frame)(void *context, vmxc_hpa_t frame_hpa);

    /*
     * Where this processor sees the byte at `hpa`. The pointer is good up to the end of the 4-KByte frame
     * that holds `hpa`; NULL if that frame is not memory.
     */
    void *(*phys_to_virt)(void *context, vmxc_hpa_t hpa);

    /* The inverse, for pointers that phys_to_virt returned. VMXC_NOT_FOUND for any other. */
    enum vmxc_status (*virt_to_phys)(void *context, const void *pointer, vmxc_hpa_t *hpa);

    /*
     * Drops every translation that a processor may have cached for this EPTP (single-context INVEPT on
     * each processor that may use it). When it returns, no processor uses what was there before.
     * Source: Intel SDM volume 3, "Guidelines for Use of the INVEPT Instruction".
     */
    void (*invalidate_ept)(void *context, uint64_t eptp);

    /* ---- Optional: a zero-initialized member means "not offered". ---- */

    struct vmxc_hal_window window;

    /* Called before libvmxcore stores to [hpa, hpa + length), for HALs that take snapshots. */
    void (*mark_dirty)(void *context, vmxc_hpa_t hpa, uint64_t length);

    /* Called after each event of enum vmxc_trace_kind. The event lives only during the call. */
    void (*trace)(void *context, const struct vmxc_trace_event *event);
};

#ifdef __cplusplus
}
#endif

#endif
