/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading and writing guest memory from the hypervisor: buffers, objects and single volatile accesses, by
 * guest-physical or by linear address.
 *
 * Every call here
 *  - works across pages and across adjacent areas, at any alignment unless it says otherwise;
 *  - respects the flags of each area it touches: reads need VMXC_MAP_READ, stores VMXC_MAP_WRITE;
 *  - supplies lazy pages (a page supplied before an error stays);
 *  - is all or nothing: the whole range is checked and supplied before the first byte moves;
 *  - announces stores with vmxc_hal.mark_dirty before it makes them.
 *
 * Errors of every call: VMXC_NOT_FOUND (a byte has no area), VMXC_DENIED (an area does not give the right),
 * VMXC_NOT_BACKED (the HAL cannot map it: device memory), VMXC_NO_MEMORY, VMXC_BAD_STATE (uninitialized
 * space), VMXC_INVALID_INPUT (length 0, a range that wraps or leaves the space). Out-parameters and guest memory
 * are then untouched.
 *
 * Objects are little-endian, like the guest; the host is taken to be little-endian too.
 */
#ifndef VMXC_GUEST_MEM_H
#define VMXC_GUEST_MEM_H

#include "vmxcore/guest_paging.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Checks that all of [gpa, gpa + length) can be accessed with the rights `access` (VMXC_MAP_READ, _WRITE,
 * _EXECUTE, _USER), and supplies its lazy pages.
 */
VMXC_MUST_CHECK enum vmxc_status vmxc_guest_mem_probe(struct vmxc_addrspace *space, vmxc_gpa_t gpa,
                                                      uint64_t length, vmxc_map_flags access);

/* Buffers: guest to host, host to guest, one byte to all of a range. */
VMXC_MUST_CHECK enum vmxc_status vmxc_guest_mem_read(struct vmxc_addrspace *space, vmxc_gpa_t gpa,
                                                     void *buffer, size_t length);
VMXC_MUST_CHECK enum vmxc_status vmxc_guest_mem_write(struct vmxc_addrspace *space, vmxc_gpa_t gpa,
                                                      const void *buffer, size_t length);
VMXC_MUST_CHECK enum vmxc_status vmxc_guest_mem_fill(struct vmxc_addrspace *space, vmxc_gpa_t gpa,
                                                     uint8_t byte, uint64_t length);

/*
 * Guest to guest. The ranges may overlap. Where two guest-physical pages are the same host memory, the order
 * of the copy shows.
 */
VMXC_MUST_CHECK enum vmxc_status vmxc_guest_mem_copy(struct vmxc_addrspace *space,
                                                     vmxc_gpa_t to_gpa, vmxc_gpa_t from_gpa,
                                                     uint64_t length);

/* Objects, any alignment. */
VMXC_MUST_CHECK enum vmxc_status vmxc_guest_mem_read_u8(struct vmxc_addrspace *space,
                                                        vmxc_gpa_t gpa, uint8_t *value);
VMXC_MUST_CHECK enum vmxc_status vmxc_guest_mem_read_u16(struct vmxc_addrspace *space,
                                                         vmxc_gpa_t gpa, uint16_t *value);
VMXC_MUST_CHECK enum vmxc_status vmxc_guest_mem_read_u32(struct vmxc_addrspace *space,
                                                         vmxc_gpa_t gpa, uint32_t *value);
VMXC_MUST_CHECK enum vmxc_status vmxc_guest_mem_read_u64(struct vmxc_addrspace *space,
                                                         vmxc_gpa_t gpa, uint64_t *value);
VMXC_MUST_CHECK enum vmxc_status vmxc_guest_mem_write_u8(struct vmxc_addrspace *space,
                                                         vmxc_gpa_t gpa, uint8_t value);
VMXC_MUST_CHECK enum vmxc_status vmxc_guest_mem_write_u16(struct vmxc_addrspace *space,
                                                          vmxc_gpa_t gpa, uint16_t value);
VMXC_MUST_CHECK enum vmxc_status vmxc_guest_mem_write_u32(struct vmxc_addrspace *space,
                                                          vmxc_gpa_t gpa, uint32_t value);
VMXC_MUST_CHECK enum vmxc_status vmxc_guest_mem_write_u64(struct vmxc_addrspace *space,
                                                          vmxc_gpa_t gpa, uint64_t value);

/*
 * Exactly one access of the width named, never torn, repeated or left out. The address must be naturally
 * aligned: anything else is VMXC_INVALID_INPUT.
 */
VMXC_MUST_CHECK enum vmxc_status vmxc_guest_mem_read_volatile_u8(struct vmxc_addrspace *space,
                                                                 vmxc_gpa_t gpa, uint8_t *value);
VMXC_MUST_CHECK enum vmxc_status vmxc_guest_mem_read_volatile_u16(struct vmxc_addrspace *space,
                                                                  vmxc_gpa_t gpa, uint16_t *value);
VMXC_MUST_CHECK enum vmxc_status vmxc_guest_mem_read_volatile_u32(struct vmxc_addrspace *space,
                                                                  vmxc_gpa_t gpa, uint32_t *value);
VMXC_MUST_CHECK enum vmxc_status vmxc_guest_mem_read_volatile_u64(struct vmxc_addrspace *space,
                                                                  vmxc_gpa_t gpa, uint64_t *value);
VMXC_MUST_CHECK enum vmxc_status vmxc_guest_mem_write_volatile_u8(struct vmxc_addrspace *space,
                                                                  vmxc_gpa_t gpa, uint8_t value);
VMXC_MUST_CHECK enum vmxc_status vmxc_guest_mem_write_volatile_u16(struct vmxc_addrspace *space,
                                                                   vmxc_gpa_t gpa, uint16_t value);
VMXC_MUST_CHECK enum vmxc_status vmxc_guest_mem_write_volatile_u32(struct vmxc_addrspace *space,
                                                                   vmxc_gpa_t gpa, uint32_t value);
VMXC_MUST_CHECK enum vmxc_status vmxc_guest_mem_write_volatile_u64(struct vmxc_addrspace *space,
                                                                   vmxc_gpa_t gpa, uint64_t value);

/*
 * Atomically stores `desired` if the object holds `expected`; *exchanged says whether it did. Naturally aligned
 * as above; needs both rights. Not exchanged is no error.
 */
VMXC_MUST_CHECK enum vmxc_status
vmxc_guest_mem_compare_exchange_u32(struct vmxc_addrspace *space, vmxc_gpa_t gpa, uint32_t expected,
                                    uint32_t desired, bool *exchanged);
VMXC_MUST_CHECK enum vmxc_status
vmxc_guest_mem_compare_exchange_u64(struct vmxc_addrspace *space, vmxc_gpa_t gpa, uint64_t expected,
                                    uint64_t desired, bool *exchanged);

/*
 * Buffers by linear address, translated page by page for `access`, whose `write` must say what the call does.
 * An instruction fetch needs the area's right to execute instead of the right to read. Every page is
 * translated and checked before accessed and dirty flags are set (see vmxc_guest_walk_info), and these before the
 * first byte moves. Only a write that changes the tables which translate it, and is longer than eight
 * discontiguous pages, can end half way.
 *
 * Further errors: VMXC_GUEST_FAULT and VMXC_BUSY, see vmxc_guest_walk; VMXC_INVALID_INPUT (contradictory access, a
 * range that leaves the linear-address space). `fault` (may be NULL) is filled as vmxc_guest_walk does.
 */
VMXC_MUST_CHECK enum vmxc_status
vmxc_guest_mem_read_linear(struct vmxc_addrspace *space, const struct vmxc_guest_walk_info *info,
                           struct vmxc_guest_access access, vmxc_gva_t gva, void *buffer,
                           size_t length, struct vmxc_guest_fault *fault);
VMXC_MUST_CHECK enum vmxc_status
vmxc_guest_mem_write_linear(struct vmxc_addrspace *space, const struct vmxc_guest_walk_info *info,
                            struct vmxc_guest_access access, vmxc_gva_t gva, const void *buffer,
                            size_t length, struct vmxc_guest_fault *fault);

#ifdef __cplusplus
}
#endif

#endif
