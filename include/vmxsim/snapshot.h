/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Snapshots and clones of a machine.
 *
 * A snapshot remembers a machine as it is: memory, frame allocator, counters, failure injection, the processors of the
 * memory, and the handles that clients have registered. The machine can return to it any number of times. Taking it
 * costs what was written since the one before (the first: since creation or reset); returning costs what was
 * written since. Neither depends on the size of the machine.
 *
 * Writes are known through the functions of memory.h, the processors' own stores, and the HAL's mark_dirty, which
 * libvmxcore calls before each store. Whoever writes through pointers of his own asks for them with
 * vmxsim_memory_hand_out: such pages count as written until they are handed back.
 *
 * One snapshot per memory at a time. A snapshot belongs to the memory that it was taken of; a clone has none.
 */
#ifndef VMXSIM_SNAPSHOT_H
#define VMXSIM_SNAPSHOT_H

#include "vmxsim/cpu.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Errors: VMXC_BUSY (there is a snapshot already), VMXC_NO_MEMORY; nothing has changed then. */
VMXC_MUST_CHECK enum vmxc_status vmxsim_snapshot_take(struct vmxsim_memory *memory);

/*
 * The machine is again as it was. `pages` (may be NULL) receives how many pages of RAM were copied. Processors and handles
 * that came after the snapshot stay as they are, callbacks too. Errors: VMXC_BAD_STATE (there is no snapshot).
 */
VMXC_MUST_CHECK enum vmxc_status vmxsim_snapshot_restore(struct vmxsim_memory *memory,
                                                         uint64_t *pages);

/*
 * Forgets the snapshot; the machine stays as it is. Without one, nothing happens. Up to 64 MBytes for each RAM range stay
 * reserved for the next one.
 */
void vmxsim_snapshot_drop(struct vmxsim_memory *memory);

bool vmxsim_snapshot_exists(const struct vmxsim_memory *memory);

/*
 * A client's plain value (struct vmxc_addrspace, struct vmxc_frame, a bitmap ...) that goes with the machine: `size` bytes
 * that stay where they are until they are unregistered, and own no host memory. Errors: VMXC_INVALID_INPUT (NULL,
 * no bytes), VMXC_ALREADY_EXISTS, VMXC_NO_MEMORY. Unregistering what is not registered does nothing.
 */
VMXC_MUST_CHECK enum vmxc_status vmxsim_snapshot_register(struct vmxsim_memory *memory, void *value,
                                                          size_t size);
void vmxsim_snapshot_unregister(struct vmxsim_memory *memory, void *value);

/*
 * A pointer to [hpa, hpa + length), all in one RAM range, to read and write without a word. Its pages count as written until
 * they are handed back with the same numbers, whatever happens to the machine meanwhile. Errors: VMXC_INVALID_INPUT
 * (no bytes, a hole), VMXC_NO_MEMORY; VMXC_NOT_FOUND (not handed out).
 */
VMXC_MUST_CHECK enum vmxc_status vmxsim_memory_hand_out(struct vmxsim_memory *memory, uint64_t hpa,
                                                        uint64_t length, void **pointer);
VMXC_MUST_CHECK enum vmxc_status vmxsim_memory_hand_back(struct vmxsim_memory *memory, uint64_t hpa,
                                                         uint64_t length);

/*
 * A memory of its own with the same ranges and content, frames in use, counters and failure injection; no callbacks, no
 * handles, no snapshot. The caller destroys it, before or after the memory it was cloned from. Errors: VMXC_NO_MEMORY.
 *
 * Pages that neither has written since take host memory once, among all clones and clones of clones. The first clone freezes
 * the content, which costs what was ever written; the next ones cost what was written since. A memory whose content is
 * frozen holds a file descriptor. Where the host has no memfd_create, no more descriptors, or a limit on the length of files,
 * clones are copies.
 *
 * To return to several states, keep a clone of each.
 */
VMXC_MUST_CHECK enum vmxc_status vmxsim_memory_clone(struct vmxsim_memory *memory,
                                                     struct vmxsim_memory **clone,
                                                     struct vmxsim_error *error);

/* Host memory behind RAM and the allocator's records that were written, in bytes. */
struct vmxsim_memory_footprint {
    uint64_t own;    /* for this memory alone, what its snapshot has saved included */
    uint64_t shared; /* in common with clones, or with what is left of them */
};

struct vmxsim_memory_footprint vmxsim_memory_footprint(struct vmxsim_memory *memory);

/* A processor in the same state on `memory`, a clone of its own memory. Errors: VMXC_INVALID_INPUT, VMXC_NO_MEMORY. */
VMXC_MUST_CHECK enum vmxc_status vmxsim_cpu_clone(const struct vmxsim_cpu *cpu,
                                                  struct vmxsim_memory *memory,
                                                  struct vmxsim_cpu **clone);

#ifdef __cplusplus
}
#endif

#endif
