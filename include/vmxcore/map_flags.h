/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rights and memory type of a guest-physical mapping, independent of the EPT entry format.
 *
 *     VMXC_MAP_READ | VMXC_MAP_WRITE                            ordinary memory, write-back
 *     VMXC_MAP_READ | VMXC_MAP_WRITE | VMXC_MAP_DEVICE          device registers, uncacheable
 *     VMXC_MAP_READ | VMXC_MAP_TYPE(VMXC_MEMORY_TYPE_WC)        an explicit memory type
 *
 * DEVICE and UNCACHED both mean UC; they differ only in what they tell the reader of an area. Combining
 * either with an explicit type other than UC is a contradiction and refused.
 * Source of the types: Intel SDM volume 3, "EPT and Memory Typing".
 */
#ifndef VMXC_MAP_FLAGS_H
#define VMXC_MAP_FLAGS_H

#include "vmxcore/defs/ept.h"
#include "vmxcore/defs/status.h"
#include "vmxcore/defs/types.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef uint32_t vmxc_map_flags;

#define VMXC_MAP_NONE  ((vmxc_map_flags)0) /* mapped, but no access is allowed */
#define VMXC_MAP_READ  ((vmxc_map_flags)1u << 0)
#define VMXC_MAP_WRITE ((vmxc_map_flags)1u << 1)
#define VMXC_MAP_EXECUTE \
    ((vmxc_map_flags)1u << 2) /* supervisor-mode execute where mode-based execute control is on */
#define VMXC_MAP_USER \
    ((vmxc_map_flags)1u << 3) /* user-mode execute; needs mode-based execute control */
#define VMXC_MAP_DEVICE     ((vmxc_map_flags)1u << 4)
#define VMXC_MAP_UNCACHED   ((vmxc_map_flags)1u << 5)
#define VMXC_MAP_IGNORE_PAT ((vmxc_map_flags)1u << 6)
#define VMXC_MAP_TYPED      ((vmxc_map_flags)1u << 7) /* bits 10:8 name the memory type */
#define VMXC_MAP_TYPE_SHIFT 8u
#define VMXC_MAP_TYPE_MASK  ((vmxc_map_flags)7u << VMXC_MAP_TYPE_SHIFT)
#define VMXC_MAP_TYPE(type) (VMXC_MAP_TYPED | ((vmxc_map_flags)(type) << VMXC_MAP_TYPE_SHIFT))

#define VMXC_MAP_ACCESS (VMXC_MAP_READ | VMXC_MAP_WRITE | VMXC_MAP_EXECUTE | VMXC_MAP_USER)
#define VMXC_MAP_RWX    (VMXC_MAP_READ | VMXC_MAP_WRITE | VMXC_MAP_EXECUTE)
#define VMXC_MAP_ALL                                                               \
    (VMXC_MAP_ACCESS | VMXC_MAP_DEVICE | VMXC_MAP_UNCACHED | VMXC_MAP_IGNORE_PAT | \
     VMXC_MAP_TYPED | VMXC_MAP_TYPE_MASK)

/*
 * The memory type that `flags` ask for: the explicit one, UC for DEVICE and UNCACHED, otherwise WB.
 * Errors: VMXC_INVALID_INPUT for unknown bits, type bits without VMXC_MAP_TYPED, a type EPT does not have
 * (2, 3, 7), or a contradiction.
 */
VMXC_MUST_CHECK enum vmxc_status vmxc_map_flags_memory_type(vmxc_map_flags flags,
                                                            enum vmxc_memory_type *type);

/* Writes e.g. "rwx- WB" or "r--- UC ipat device" as vmxc_frame_format does; returns the length. */
size_t vmxc_map_flags_format(vmxc_map_flags flags, char *buffer, size_t size);

#ifdef __cplusplus
}
#endif

#endif
