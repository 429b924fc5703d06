/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading a hierarchy.
 *
 *     guest-physical address
 *      56       48 47       39 38       30 29       21 20       12 11        0
 *     +-----------+-----------+-----------+-----------+-----------+-----------+
 *     |   PML5    |   PML4    |   PDPT    |    PD     |    PT     |  offset   |
 *     +-----+-----+-----+-----+-----+-----+-----+-----+-----+-----+-----------+
 *           | 5         | 4         | 3         | 2         | 1   <- level
 *           v           v           v           v           v
 *        +-----+     +-----+     +-----+     +-----+     +-----+
 *        |     |  +->|     |  +->|     |  +->|     |  +->|     |
 *        |entry|--+  |entry|--+  |entry|--+  |entry|--+  |entry|---> 4-KByte page
 *        |     |     |     |     |  |  |     |  |  |     |     |
 *        +-----+     +-----+     +--|--+     +--|--+     +-----+
 *           ^ EPTP (5 levels)       | bit 7     | bit 7
 *                       ^ (4)       v           v
 *                             1-GByte page   2-MByte page
 */
#include "internal/ept.h"

struct vmxc_ept_node vmxc_ept_narrowest(const struct vmxc_ept *ept, vmxc_gpa_t gpa, vmxc_gpa_t end)
{
    struct vmxc_ept_node node = vmxc_ept_root_node(ept);

    while (node.level > 1 && vmxc_ept_part_end(gpa, end, node.level) == end) {
        const uint64_t raw = vmxc_ept_load(&node, vmxc_ept_index(gpa, node.level));
        if (raw == 0 || vmxc_ept_is_leaf(raw, node.level))
            break;
        node = vmxc_ept_child(ept, &node, raw);
    }
    return node;
}

bool vmxc_ept_approach(struct vmxc_ept *ept, vmxc_gpa_t gpa)
{
    struct vmxc_ept_node node = vmxc_ept_root_node(ept);

    while (node.level > VMXC_PAGE_LEVEL_2M) {
        const uint64_t raw = vmxc_ept_load(&node, vmxc_ept_index(gpa, node.level));
        if (raw == 0 || vmxc_ept_is_leaf(raw, node.level))
            return false;
        node = vmxc_ept_child(ept, &node, raw);
    }
    ept->near_gpa = gpa;
    ept->near_hpa = node.hpa;
    return true;
}

enum vmxc_status vmxc_ept_query(const struct vmxc_ept *ept, vmxc_gpa_t gpa,
                                struct vmxc_ept_mapping *mapping)
{
    if (ept->hal == NULL)
        return VMXC_BAD_STATE;
    if (gpa >= vmxc_ept_span(ept))
        return VMXC_INVALID_INPUT;
    struct vmxc_ept_node node;
    const uint64_t raw = vmxc_ept_descend(ept, gpa, &node);
    if (raw == 0)
        return VMXC_NOT_FOUND;
    *mapping = vmxc_ept_decode(raw, node.level, gpa);
    return VMXC_OK;
}

static enum vmxc_status visit_range(const struct vmxc_ept *ept, const struct vmxc_ept_node *node,
                                    vmxc_gpa_t gpa, vmxc_gpa_t end, vmxc_ept_visit_fn visit,
                                    void *context)
{
    for (vmxc_gpa_t next; gpa < end; gpa = next) {
        next = vmxc_ept_part_end(gpa, end, node->level);
        const uint64_t raw = vmxc_ept_load(node, vmxc_ept_index(gpa, node->level));
        if (raw == 0)
            continue;
        if (vmxc_ept_is_leaf(raw, node->level)) {
            const struct vmxc_ept_mapping mapping = vmxc_ept_decode(raw, node->level, gpa);
            VMXC_TRY(visit(context, &mapping));
        } else {
            const struct vmxc_ept_node child = vmxc_ept_child(ept, node, raw);
            VMXC_TRY(visit_range(ept, &child, gpa, next, visit, context));
        }
    }
    return VMXC_OK;
}

enum vmxc_status vmxc_ept_walk(const struct vmxc_ept *ept, vmxc_gpa_t gpa, uint64_t size,
                               vmxc_ept_visit_fn visit, void *context)
{
    vmxc_gpa_t end = 0;

    VMXC_TRY(vmxc_ept_check_range(ept, gpa, size, &end));
    const struct vmxc_ept_node root = vmxc_ept_root_node(ept);
    return visit_range(ept, &root, gpa, end, visit, context);
}

/* `node` and the tables below it. */
static uint64_t count_tables(const struct vmxc_ept *ept, const struct vmxc_ept_node *node)
{
    uint64_t count = 1;

    if (node->level == 1)
        return count;
    for (unsigned index = 0; index < VMXC_EPT_ENTRIES_PER_TABLE; index++) {
        const uint64_t raw = vmxc_ept_load(node, index);
        if (raw == 0 || vmxc_ept_is_leaf(raw, node->level))
            continue;
        const struct vmxc_ept_node child = vmxc_ept_child(ept, node, raw);
        count += count_tables(ept, &child);
    }
    return count;
}

uint64_t vmxc_ept_count_tables(const struct vmxc_ept *ept)
{
    if (ept->hal == NULL)
        return 0;
    const struct vmxc_ept_node root = vmxc_ept_root_node(ept);
    return count_tables(ept, &root);
}
