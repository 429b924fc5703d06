/* SPDX-License-Identifier: Apache-2.0 */
/* Between map flags and the bits of an EPT leaf; nothing else translates one into the other. */
#include "internal/ept.h"

/* Three rights have the same bit on both sides. */
_Static_assert(VMXC_MAP_READ == VMXC_EPT_READ && VMXC_MAP_WRITE == VMXC_EPT_WRITE &&
                   VMXC_MAP_EXECUTE == VMXC_EPT_EXECUTE,
               "rights are copied");

/* Refuses what would be an EPT misconfiguration. Source: SDM, "EPT Misconfigurations". */
static enum vmxc_status check_rights(const struct vmxc_ept *ept, vmxc_map_flags flags)
{
    const bool readable = (flags & VMXC_MAP_READ) != 0;

    if ((flags & VMXC_MAP_WRITE) != 0 && !readable)
        return VMXC_INVALID_INPUT;
    if ((flags & VMXC_MAP_USER) != 0 && !ept->config.mode_based_execute)
        return VMXC_UNSUPPORTED;
    if ((flags & (VMXC_MAP_EXECUTE | VMXC_MAP_USER)) != 0 && !readable && !ept->config.execute_only)
        return VMXC_UNSUPPORTED;
    return VMXC_OK;
}

enum vmxc_status vmxc_ept_encode(const struct vmxc_ept *ept, vmxc_map_flags flags, uint64_t *leaf)
{
    enum vmxc_memory_type type = VMXC_MEMORY_TYPE_WB;
    uint64_t bits = 0;

    VMXC_TRY(vmxc_map_flags_memory_type(flags, &type));
    VMXC_TRY(check_rights(ept, flags));
    bits = flags & VMXC_MAP_RWX;
    bits |= (flags & VMXC_MAP_USER) != 0 ? VMXC_EPT_USER_EXECUTE : 0;
    bits |= VMXC_FIELD_MAKE(type, VMXC_EPT_MEMORY_TYPE);
    bits |= (flags & VMXC_MAP_IGNORE_PAT) != 0 ? VMXC_EPT_IGNORE_PAT : 0;
    *leaf = vmxc_ept_is_present(ept, bits) ? bits : vmxc_ept_hold(ept, bits);
    return VMXC_OK;
}

struct vmxc_ept_mapping vmxc_ept_decode(uint64_t raw, unsigned level, vmxc_gpa_t gpa)
{
    const uint64_t page_size = VMXC_EPT_ENTRY_SPAN(level);
    vmxc_map_flags flags = VMXC_MAP_TYPE(VMXC_FIELD_GET(raw, VMXC_EPT_MEMORY_TYPE));

    flags |= (vmxc_map_flags)(raw & VMXC_EPT_RWX);
    flags |= (raw & VMXC_EPT_USER_EXECUTE) != 0 ? VMXC_MAP_USER : 0;
    flags |= (raw & VMXC_EPT_IGNORE_PAT) != 0 ? VMXC_MAP_IGNORE_PAT : 0;
    return (struct vmxc_ept_mapping){.gpa = gpa & ~(page_size - 1),
                                     .hpa = raw & VMXC_EPT_ADDRESS,
                                     .page_size = page_size,
                                     .flags = flags,
                                     .accessed = (raw & VMXC_EPT_ACCESSED) != 0,
                                     .dirty = (raw & VMXC_EPT_DIRTY) != 0};
}
