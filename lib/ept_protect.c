/* SPDX-License-Identifier: Apache-2.0 */
/* Changing rights, memory type and ignore-PAT of what is mapped. */
#include "internal/ept.h"

/* True if a processor that still uses `old` instead of `new` would do something `new` does not allow. */
static bool is_stale_harmful(const struct vmxc_ept *ept, uint64_t old, uint64_t new)
{
    const uint64_t lost = old & ~new &vmxc_ept_rights_mask(ept);
    const uint64_t changed = (old ^ new) & (VMXC_EPT_MEMORY_TYPE | VMXC_EPT_IGNORE_PAT);

    return vmxc_ept_is_present(ept, old) && (lost | changed) != 0;
}

/* Gives one leaf the bits `leaf`; address, page size, accessed and dirty flags stay. */
static bool rewrite_leaf(const struct vmxc_ept *ept, const struct vmxc_ept_node *node,
                         unsigned index, uint64_t leaf)
{
    const uint64_t level_bit = node->level > 1 ? VMXC_EPT_LARGE_PAGE : 0;
    const uint64_t kept = VMXC_EPT_ADDRESS | VMXC_EPT_USE | level_bit;
    uint64_t old = vmxc_ept_load(node, index);
    uint64_t new;

    do {
        new = (old & kept) | leaf;
        if (new == old)
            return false;
    } while (!vmxc_ept_replace(ept, node, index, &old, new));
    return is_stale_harmful(ept, old, new);
}

/* True if an invalidation is due. */
static bool rewrite(const struct vmxc_ept *ept, const struct vmxc_ept_node *node, vmxc_gpa_t gpa,
                    vmxc_gpa_t end, uint64_t leaf)
{
    bool due = false;

    for (vmxc_gpa_t next; gpa < end; gpa = next) {
        next = vmxc_ept_part_end(gpa, end, node->level);
        const unsigned index = vmxc_ept_index(gpa, node->level);
        const uint64_t raw = vmxc_ept_load(node, index);
        if (raw == 0)
            continue;
        if (vmxc_ept_is_leaf(raw, node->level)) {
            due |= rewrite_leaf(ept, node, index, leaf);
        } else {
            const struct vmxc_ept_node child = vmxc_ept_child(ept, node, raw);
            due |= rewrite(ept, &child, gpa, next, leaf);
        }
    }
    return due;
}

enum vmxc_status vmxc_ept_protect(struct vmxc_ept *ept, vmxc_gpa_t gpa, uint64_t size,
                                  vmxc_map_flags flags)
{
    struct vmxc_ept_reserve reserve;
    vmxc_gpa_t end = 0;
    uint64_t leaf = 0;

    VMXC_TRY(vmxc_ept_check_range(ept, gpa, size, &end));
    VMXC_TRY(vmxc_ept_encode(ept, flags, &leaf));
    VMXC_TRY(vmxc_ept_reserve(ept, gpa, end, &reserve));
    const bool split = vmxc_ept_split(ept, gpa, end, &reserve);
    const struct vmxc_ept_node node = vmxc_ept_narrowest(ept, gpa, end);
    if (rewrite(ept, &node, gpa, end, leaf) || split)
        vmxc_ept_invalidate(ept);
    return VMXC_OK;
}
