/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The areas of an address space, ordered by guest-physical address: a B+ tree whose nodes are HAL frames.
 * Find, insert, erase and split cost O(log n) node visits; a leaf holds up to 102 areas and an inner node up to
 * 255 children, each at least a quarter of that, so a lookup among 100,000 areas visits three nodes.
 *
 * The set knows nothing about backends or EPT; it only keeps ranges disjoint. vmxc_addrspace is its one
 * intended user, but it stands alone and is tested alone.
 */
#ifndef VMXC_AREA_SET_H
#define VMXC_AREA_SET_H

#include "vmxcore/hal.h"
#include "vmxcore/map_flags.h"

#ifdef __cplusplus
extern "C" {
#endif

struct vmxc_backend_ops; /* addrspace.h */

/* The host address of an area whose pages have none in common. Not 0: a linear area may map host address 0. */
#define VMXC_AREA_NO_HPA UINT64_MAX

/* The most insertions that can be reserved at a time. */
#define VMXC_AREA_SET_RESERVE_LIMIT 24u

/* A guest-physical range with one backend and one set of flags. */
struct vmxc_area {
    vmxc_gpa_t base; /* 4-KByte aligned */
    uint64_t size;   /* bytes, a multiple of 4 KBytes, not 0; base + size does not wrap */
    const struct vmxc_backend_ops *backend;
    vmxc_hpa_t hpa; /* linear backend: the host address of `base`; otherwise VMXC_AREA_NO_HPA */
    vmxc_map_flags flags;
    bool lazy; /* alloc backend: pages are supplied on first access */
};

/* A plain value: initialized by vmxc_area_set_init, released by vmxc_area_set_fini. */
struct vmxc_area_set {
    const struct vmxc_hal *hal;
    vmxc_hpa_t root_hpa;  /* 0: empty */
    vmxc_hpa_t spare_hpa; /* reserved frames, linked through their first quadword; 0: none */
    uint32_t spare_count;
    uint32_t pending; /* insertions reserved since the last trim */
    uint32_t height;  /* levels of nodes; 0: empty */
    uint64_t count;   /* areas */
    /* A copy of one area that is in the set, since the next address is often in the same; size 0: none. */
    struct vmxc_area recent;
};

/* An empty set; takes no frame until the first insertion. */
void vmxc_area_set_init(struct vmxc_area_set *set, const struct vmxc_hal *hal);

/* Gives every node back and empties the set. Twice is harmless. */
void vmxc_area_set_fini(struct vmxc_area_set *set);

/* True if the tree's order, fill, keys and counts are consistent. Costs O(n); for tests and debug builds. */
bool vmxc_area_set_is_valid(const struct vmxc_area_set *set);

/*
 * Makes sure that `insertions` calls of vmxc_area_set_insert or _split for `gpa`, or for addresses with no base of
 * an area between them and `gpa`, cannot run out of memory. Takes no frame in the usual case that the leaf has
 * room. Reservations for several places add up and hold until vmxc_area_set_trim, as long as the insertions come
 * before any erasure.
 * Errors: VMXC_NO_MEMORY, VMXC_BAD_STATE (the HAL's frame was refused), VMXC_INVALID_INPUT (more than
 * VMXC_AREA_SET_RESERVE_LIMIT in all); the set and the number of frames it holds are then unchanged.
 */
VMXC_MUST_CHECK enum vmxc_status vmxc_area_set_reserve(struct vmxc_area_set *set, vmxc_gpa_t gpa,
                                                       uint32_t insertions);

/* Gives reserved frames that were not needed back and ends all reservations. */
void vmxc_area_set_trim(struct vmxc_area_set *set);

/*
 * Adds a copy of `area`. Errors: VMXC_ALREADY_EXISTS (overlap), VMXC_INVALID_INPUT (not a range an area may
 * have), VMXC_NO_MEMORY, VMXC_BAD_STATE (the HAL's frame was refused).
 */
VMXC_MUST_CHECK enum vmxc_status vmxc_area_set_insert(struct vmxc_area_set *set,
                                                      const struct vmxc_area *area);

/* The area that holds `gpa`. Errors: VMXC_NOT_FOUND. */
VMXC_MUST_CHECK enum vmxc_status vmxc_area_set_find(const struct vmxc_area_set *set, vmxc_gpa_t gpa,
                                                    struct vmxc_area *area);

/* The first area that ends above `gpa` (it holds gpa or lies above it). Errors: VMXC_NOT_FOUND. */
VMXC_MUST_CHECK enum vmxc_status vmxc_area_set_find_from(const struct vmxc_area_set *set,
                                                         vmxc_gpa_t gpa, struct vmxc_area *area);

/*
 * Replaces the area that starts exactly at `base` by a copy of `area`, which may have another range: it keeps its
 * place in the order. Never needs memory.
 * Errors: VMXC_NOT_FOUND, VMXC_INVALID_INPUT, VMXC_ALREADY_EXISTS (it would overlap or pass another area).
 */
VMXC_MUST_CHECK enum vmxc_status vmxc_area_set_update(struct vmxc_area_set *set, vmxc_gpa_t base,
                                                      const struct vmxc_area *area);

/* Removes the area that starts exactly at `base`. Never needs memory. Errors: VMXC_NOT_FOUND. */
VMXC_MUST_CHECK enum vmxc_status vmxc_area_set_erase(struct vmxc_area_set *set, vmxc_gpa_t base);

/*
 * Makes `gpa` a boundary: the area that holds it becomes two with the same flags and backend (a linear
 * one's host address moves along). Nothing to do where no area spans `gpa`. `gpa` is 4-KByte aligned.
 * Errors: VMXC_INVALID_INPUT, VMXC_NO_MEMORY, VMXC_BAD_STATE (the HAL's frame was refused).
 */
VMXC_MUST_CHECK enum vmxc_status vmxc_area_set_split(struct vmxc_area_set *set, vmxc_gpa_t gpa);

#ifdef __cplusplus
}
#endif

#endif
