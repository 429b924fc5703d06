/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest's physical address space: areas plus the EPT hierarchy that implements them.
 *
 * An area is a guest-physical range with one backend and one set of flags. Two backends exist:
 *  - linear: the range maps host memory that the caller owns, at a fixed offset, with large pages where
 *    alignment allows;
 *  - alloc: the range is backed by zeroed frames that the address space takes from the HAL, all at once
 *    (populate) or on first access (lazy).
 *
 * Every call that changes the space is all or nothing. Addresses and sizes are multiples of 4 KBytes unless a
 * call says otherwise; anything else, an empty range, one that wraps and one that leaves the space is
 * VMXC_INVALID_INPUT. Calls on an uninitialized space answer with VMXC_BAD_STATE.
 *
 * Not thread-safe: the caller serializes calls on one space. Translations are published with release stores, so a
 * processor that walks the tables meanwhile sees either the old or the new mapping, or, while a range is being
 * replaced, none; the violation which that causes need only be retried.
 */
#ifndef VMXC_ADDRSPACE_H
#define VMXC_ADDRSPACE_H

#include "vmxcore/area_set.h"
#include "vmxcore/ept.h"

#ifdef __cplusplus
extern "C" {
#endif

struct vmxc_addrspace {
    struct vmxc_ept ept;
    struct vmxc_area_set areas;
    vmxc_gpa_t base;
    uint64_t size;
};

/* How far vmxc_addrspace_translate_with_limit looks ahead in memory that is not linear, in bytes. */
#define VMXC_TRANSLATE_SCAN UINT64_C(0x10000)

/* What handling an EPT violation came to. */
enum vmxc_fault_result {
    VMXC_FAULT_MAPPED, /* a zeroed frame was supplied; run the guest again */
    VMXC_FAULT_ALREADY_BACKED, /* the mapping allows the access already (stale translation or a race); run again */
    VMXC_FAULT_NO_AREA, /* no area holds the address (or the space is uninitialized): emulate a device, or
                             stop the guest */
    VMXC_FAULT_DENIED,    /* the area does not give the right, or no access was named */
    VMXC_FAULT_NOT_LAZY,  /* the area's pages are not supplied on demand, and this one is missing */
    VMXC_FAULT_NO_MEMORY, /* no usable frame was left; nothing changed */
};

/* What stands behind one guest-physical address. */
struct vmxc_translation {
    vmxc_hpa_t hpa;       /* host address of the byte itself */
    vmxc_map_flags flags; /* the area's flags */
    uint64_t page_size;   /* bytes: size of the EPT page that maps it */
};

/* A translation and how far it reaches. */
struct vmxc_translation_limit {
    struct vmxc_translation translation;
    vmxc_gpa_t area_base;
    uint64_t area_size; /* bytes */
    /*
     * Bytes from this address on that are contiguous in host memory and lie in the area. Linear: all to its end.
     * Otherwise at least to the end of the page, and at most VMXC_TRANSLATE_SCAN bytes beyond it.
     */
    uint64_t contiguous;
};

/* One host-contiguous piece of a guest buffer. */
struct vmxc_guest_segment {
    void *pointer; /* as this processor sees it; NULL if the HAL cannot map it (device memory) */
    vmxc_hpa_t hpa;
    uint64_t length; /* bytes */
};

/*
 * A run of guest-physical addresses that map to contiguous host addresses with the same flags and page size. The
 * flags are the EPT's (see struct vmxc_ept_mapping): the memory type is explicit.
 */
struct vmxc_mapping_run {
    vmxc_gpa_t gpa;
    vmxc_hpa_t hpa;
    uint64_t size;      /* bytes */
    uint64_t page_size; /* bytes */
    vmxc_map_flags flags;
};

typedef enum vmxc_status (*vmxc_area_visit_fn)(void *context, const struct vmxc_area *area);
typedef enum vmxc_status (*vmxc_run_visit_fn)(void *context, const struct vmxc_mapping_run *run);

/*
 * Creates an empty address space for guest-physical addresses [base, base + size).
 * Errors: VMXC_INVALID_INPUT (also: the range exceeds what the EPT configuration can walk), VMXC_NO_MEMORY,
 * VMXC_BAD_STATE (see vmxc_ept_init).
 */
VMXC_MUST_CHECK enum vmxc_status vmxc_addrspace_init(struct vmxc_addrspace *space,
                                                     const struct vmxc_hal *hal,
                                                     const struct vmxc_ept_config *config,
                                                     vmxc_gpa_t base, uint64_t size);

/* Unmaps everything, gives back all frames and makes the space uninitialized. Twice is harmless. */
void vmxc_addrspace_fini(struct vmxc_addrspace *space);

/* True if areas and tables are consistent with each other. Costs O(n); for tests and debug builds. */
bool vmxc_addrspace_is_valid(const struct vmxc_addrspace *space);

vmxc_gpa_t vmxc_addrspace_base(const struct vmxc_addrspace *space);
vmxc_gpa_t
vmxc_addrspace_end(const struct vmxc_addrspace *space); /* first address behind the space */
uint64_t vmxc_addrspace_size(const struct vmxc_addrspace *space);
/* True if all of [gpa, gpa + size) lies in the space; size 0 asks for nothing and is false. */
bool vmxc_addrspace_contains(const struct vmxc_addrspace *space, vmxc_gpa_t gpa, uint64_t size);
vmxc_hpa_t
vmxc_addrspace_root(const struct vmxc_addrspace *space); /* the root table's host address */
uint64_t vmxc_addrspace_eptp(const struct vmxc_addrspace *space);
/* The hierarchy itself, for reading and for merging; changing mappings behind the space's back is an error. */
struct vmxc_ept *vmxc_addrspace_ept(struct vmxc_addrspace *space);

/*
 * Maps [gpa, gpa + size) to the caller's host memory [hpa, hpa + size). `gpa` and `hpa` are independent.
 * Errors: as vmxc_ept_map; VMXC_ALREADY_EXISTS if any area overlaps the range.
 */
VMXC_MUST_CHECK enum vmxc_status vmxc_addrspace_map_linear(struct vmxc_addrspace *space,
                                                           vmxc_gpa_t gpa, vmxc_hpa_t hpa,
                                                           uint64_t size, vmxc_map_flags flags);

/*
 * Backs [gpa, gpa + size) with zeroed frames: all now (populate) or each on its first access. A lazy area takes
 * no table and no frame now. Errors: as vmxc_addrspace_map_linear.
 */
VMXC_MUST_CHECK enum vmxc_status vmxc_addrspace_map_alloc(struct vmxc_addrspace *space,
                                                          vmxc_gpa_t gpa, uint64_t size,
                                                          vmxc_map_flags flags, bool populate);

/*
 * As the two calls above, but whatever was mapped in the range is replaced: on failure it stays as it was, and on
 * success there was one invalidation. Areas that lie partly in the range are cut.
 */
VMXC_MUST_CHECK enum vmxc_status vmxc_addrspace_replace_linear(struct vmxc_addrspace *space,
                                                               vmxc_gpa_t gpa, vmxc_hpa_t hpa,
                                                               uint64_t size, vmxc_map_flags flags);
VMXC_MUST_CHECK enum vmxc_status vmxc_addrspace_replace_alloc(struct vmxc_addrspace *space,
                                                              vmxc_gpa_t gpa, uint64_t size,
                                                              vmxc_map_flags flags, bool populate);

/*
 * Removes [gpa, gpa + size) from every area it touches. Areas that lie partly in the range are cut, large pages
 * split; the rest stays mapped throughout. Holes and never-touched lazy pages are fine.
 * Errors: VMXC_NOT_FOUND (no area in the range at all), VMXC_NO_MEMORY (a cut or split needed a frame).
 */
VMXC_MUST_CHECK enum vmxc_status vmxc_addrspace_unmap(struct vmxc_addrspace *space, vmxc_gpa_t gpa,
                                                      uint64_t size);

/*
 * Gives [gpa, gpa + size) new flags; areas that lie partly in the range are cut. Pages keep their content.
 * Errors: VMXC_NOT_FOUND (part of the range has no area), VMXC_NO_MEMORY, VMXC_UNSUPPORTED.
 */
VMXC_MUST_CHECK enum vmxc_status vmxc_addrspace_protect(struct vmxc_addrspace *space,
                                                        vmxc_gpa_t gpa, uint64_t size,
                                                        vmxc_map_flags flags);

/* Unmaps everything; the space stays usable. Errors: VMXC_BAD_STATE. */
VMXC_MUST_CHECK enum vmxc_status vmxc_addrspace_clear(struct vmxc_addrspace *space);

/*
 * Handles an EPT violation at `gpa` (any alignment). `access` holds the rights the guest asked for
 * (VMXC_MAP_READ, _WRITE, _EXECUTE, _USER; other bits are VMXC_FAULT_DENIED, and so are none).
 */
VMXC_MUST_CHECK enum vmxc_fault_result
vmxc_addrspace_handle_page_fault(struct vmxc_addrspace *space, vmxc_gpa_t gpa,
                                 vmxc_map_flags access);

/* Static name of a result: "mapped", "already backed" ... */
const char *vmxc_fault_result_name(enum vmxc_fault_result result);

/*
 * Translates one address (any alignment). Errors: VMXC_NOT_FOUND (no area), VMXC_NOT_BACKED (a lazy page that
 * was never touched), VMXC_INVALID_INPUT (outside the space), VMXC_BAD_STATE.
 */
VMXC_MUST_CHECK enum vmxc_status vmxc_addrspace_translate(const struct vmxc_addrspace *space,
                                                          vmxc_gpa_t gpa,
                                                          struct vmxc_translation *translation);

/* As vmxc_addrspace_translate, and says how far the translation reaches. */
VMXC_MUST_CHECK enum vmxc_status
vmxc_addrspace_translate_with_limit(const struct vmxc_addrspace *space, vmxc_gpa_t gpa,
                                    struct vmxc_translation_limit *limit);

/*
 * Describes the guest buffer [gpa, gpa + length) (any alignment) as host-contiguous segments, in order.
 * Every byte must lie in an area whose flags allow all of `access`; the buffer may span adjacent areas. Lazy pages
 * are supplied. Each segment's pointer is good for its whole length: where the HAL has no window over the memory,
 * segments end where its pointers are not contiguous. On success *count segments are filled; otherwise *count
 * is untouched and the content of `segments` means nothing.
 * Errors: VMXC_NOT_FOUND (a byte has no area), VMXC_DENIED, VMXC_NO_SPACE (more than `capacity` segments),
 * VMXC_NO_MEMORY, VMXC_INVALID_INPUT (also: length 0; no right or something else than rights in `access`),
 * VMXC_NOT_BACKED (a page is missing in an area that is not lazy), VMXC_BAD_STATE. Pages supplied before an error
 * stay.
 */
VMXC_MUST_CHECK enum vmxc_status vmxc_addrspace_buffer(struct vmxc_addrspace *space, vmxc_gpa_t gpa,
                                                       uint64_t length, vmxc_map_flags access,
                                                       struct vmxc_guest_segment *segments,
                                                       size_t capacity, size_t *count);

/*
 * Calls `visit` for each area in ascending order; any status but VMXC_OK ends the iteration with that status. A
 * visitor must not change the space. Errors: VMXC_BAD_STATE, or what `visit` returned.
 */
VMXC_MUST_CHECK enum vmxc_status vmxc_addrspace_for_each_area(const struct vmxc_addrspace *space,
                                                              vmxc_area_visit_fn visit,
                                                              void *context);

/*
 * Calls `visit` for each maximal run of alike, contiguous mappings in ascending order. Runs do not end where areas do.
 * Otherwise as vmxc_addrspace_for_each_area.
 */
VMXC_MUST_CHECK enum vmxc_status vmxc_addrspace_for_each_mapping(const struct vmxc_addrspace *space,
                                                                 vmxc_run_visit_fn visit,
                                                                 void *context);

/*
 * One-line text of an area, as vmxc_frame_format does; returns the length:
 *
 *     [0x0, 0x80000000) linear -> 0x100000000 rwx- WB
 *     [0xa0000000, 0xa0200000) alloc lazy rw-- WB
 */
size_t vmxc_area_format(const struct vmxc_area *area, char *buffer, size_t size);

/* Text of the space: a heading line, then one indented line per area; each ends with a newline. Length as above. */
size_t vmxc_addrspace_format(const struct vmxc_addrspace *space, char *buffer, size_t size);

/*
 * A backend: how an area gets, keeps and loses its pages. The address space has checked every argument before it
 * calls one of these. `linear` and `alloc` are the two instances.
 */
struct vmxc_backend_ops {
    const char *name;
    /* Maps the whole area in the (empty) EPT range. All or nothing. */
    enum vmxc_status (*map)(struct vmxc_addrspace *space, const struct vmxc_area *area);
    /*
     * Maps the whole area in place of whatever the EPT range holds; replaced pages go to `release`, after
     * invalidation. All or nothing.
     */
    enum vmxc_status (*replace)(struct vmxc_addrspace *space, const struct vmxc_area *area,
                                vmxc_ept_release_fn release, void *context);
    /* Takes back a page that is unmapped, invalidated and unreachable. */
    void (*release)(struct vmxc_addrspace *space, const struct vmxc_area *area, vmxc_hpa_t hpa,
                    uint64_t size);
    /* Supplies the page at `gpa` (4-KByte aligned) if it is missing: MAPPED, ALREADY_BACKED, NOT_LAZY or NO_MEMORY. */
    enum vmxc_fault_result (*fault)(struct vmxc_addrspace *space, const struct vmxc_area *area,
                                    vmxc_gpa_t gpa);
};

extern const struct vmxc_backend_ops vmxc_backend_linear;
extern const struct vmxc_backend_ops vmxc_backend_alloc;

#ifdef __cplusplus
}
#endif

#endif
