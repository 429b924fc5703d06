/* SPDX-License-Identifier: Apache-2.0 */
#include "vmxcore/ept.h"

#include "internal/ept.h"
#include "vmxcore/frame.h"

static bool is_config_valid(const struct vmxc_ept_config *config)
{
    return (config->levels == 4 || config->levels == 5) && config->maxphyaddr >= 32 &&
           config->maxphyaddr <= VMXC_MAXPHYADDR_LIMIT &&
           config->largest_page >= VMXC_PAGE_LEVEL_4K &&
           config->largest_page <= VMXC_PAGE_LEVEL_1G &&
           (config->table_memory_type == VMXC_MEMORY_TYPE_UC ||
            config->table_memory_type == VMXC_MEMORY_TYPE_WB);
}

bool vmxc_ept_is_valid(const struct vmxc_ept *ept)
{
    return ept->hal != NULL && is_config_valid(&ept->config) && ept->root_hpa != 0 &&
           vmxc_ept_is_host_range(ept, ept->root_hpa, VMXC_PAGE_SIZE);
}

enum vmxc_status vmxc_ept_alloc_table(const struct vmxc_ept *ept, vmxc_hpa_t *table_hpa)
{
    struct vmxc_frame frame = vmxc_frame_uninit();

    VMXC_TRY(vmxc_frame_alloc_zeroed(ept->hal, "EPT table", &frame));
    if (!vmxc_ept_is_host_range(ept, frame.hpa, VMXC_PAGE_SIZE)) {
        vmxc_frame_fini(&frame);
        return VMXC_BAD_STATE;
    }
    *table_hpa = frame.hpa;
    return VMXC_OK;
}

enum vmxc_status vmxc_ept_init(struct vmxc_ept *ept, const struct vmxc_hal *hal,
                               const struct vmxc_ept_config *config)
{
    struct vmxc_ept fresh = {.hal = hal, .config = *config, .root_hpa = 0};

    vmxc_ept_forget(&fresh);
    if (!is_config_valid(config))
        return VMXC_INVALID_INPUT;
    VMXC_TRY(vmxc_ept_alloc_table(&fresh, &fresh.root_hpa));
    *ept = fresh;
    return VMXC_OK;
}

void vmxc_ept_fini(struct vmxc_ept *ept, vmxc_ept_release_fn release, void *context)
{
    if (ept->hal == NULL)
        return;
    /* The VMM has stopped using the EPTP, but processors may have cached what it led to. */
    vmxc_ept_invalidate(ept);
    struct vmxc_ept_node root = vmxc_ept_root_node(ept);
    root.reachable = false;
    vmxc_ept_sweep(ept, &root, 0, vmxc_ept_span(ept), release, context);
    vmxc_hal_free_frame(ept->hal, ept->root_hpa);
    *ept = (struct vmxc_ept){.hal = NULL};
}

uint64_t vmxc_ept_eptp(const struct vmxc_ept *ept)
{
    if (ept->hal == NULL)
        return 0;
    return ept->root_hpa | VMXC_FIELD_MAKE(ept->config.table_memory_type, VMXC_EPTP_MEMORY_TYPE) |
           VMXC_FIELD_MAKE(ept->config.levels - 1u, VMXC_EPTP_WALK_LENGTH) |
           (ept->config.accessed_dirty ? VMXC_EPTP_ACCESSED_DIRTY : 0);
}

uint64_t vmxc_ept_span(const struct vmxc_ept *ept)
{
    if (ept->hal == NULL)
        return 0;
    const unsigned walk_width = VMXC_PAGE_SHIFT + 9u * ept->config.levels;
    const unsigned maxphyaddr = ept->config.maxphyaddr;
    return UINT64_C(1) << (walk_width < maxphyaddr ? walk_width : maxphyaddr);
}

void vmxc_ept_invalidate(const struct vmxc_ept *ept)
{
    vmxc_hal_invalidate_ept(ept->hal, vmxc_ept_eptp(ept));
}

enum vmxc_status vmxc_ept_check_range(const struct vmxc_ept *ept, vmxc_gpa_t gpa, uint64_t size,
                                      vmxc_gpa_t *end)
{
    if (ept->hal == NULL)
        return VMXC_BAD_STATE;
    const uint64_t span = vmxc_ept_span(ept);
    if (((gpa | size) & VMXC_PAGE_MASK) != 0 || size == 0 || gpa >= span || size > span - gpa)
        return VMXC_INVALID_INPUT;
    *end = gpa + size;
    return VMXC_OK;
}
