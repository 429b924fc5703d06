/* SPDX-License-Identifier: Apache-2.0 */
/* From map flags to the bits of an EPT leaf; vmxc_ept_decode is the way back. Nothing else translates one into the other. */
#include "internal/ept.h"

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

    VMXC_TRY(vmxc_map_flags_memory_type(flags, &type));
    VMXC_TRY(check_rights(ept, flags));
    *leaf = vmxc_ept_leaf_of(flags);
    return VMXC_OK;
}
