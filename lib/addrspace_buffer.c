/* SPDX-License-Identifier: Apache-2.0 */
/* The address space: guest buffers as host-contiguous segments. */
#include "internal/addrspace.h"

/* The caller's array. */
struct segment_list {
    struct vmxc_guest_segment *segments;
    size_t capacity;
    size_t count;
};

/* True if the piece goes on where the segment ends, in host memory and as this processor sees it. */
static bool continues_segment(const struct vmxc_guest_segment *segment, const uint8_t *pointer,
                              vmxc_hpa_t hpa)
{
    const uint8_t *start = segment->pointer;

    if (segment->hpa + segment->length != hpa)
        return false;
    if (start == NULL || pointer == NULL)
        return start == NULL && pointer == NULL;
    return (uintptr_t)start + segment->length == (uintptr_t)pointer;
}

static enum vmxc_status append_piece(struct segment_list *list, uint8_t *pointer, vmxc_hpa_t hpa,
                                     uint64_t length)
{
    if (list->count > 0 && continues_segment(&list->segments[list->count - 1], pointer, hpa)) {
        list->segments[list->count - 1].length += length;
        return VMXC_OK;
    }
    if (list->count == list->capacity)
        return VMXC_NO_SPACE;
    list->segments[list->count++] =
        (struct vmxc_guest_segment){.pointer = pointer, .hpa = hpa, .length = length};
    return VMXC_OK;
}

/*
 * How many of `length` bytes at `hpa` this processor sees in one piece: as far as the direct-map window goes;
 * outside it a pointer is good to the end of its frame.
 */
static uint64_t visible_length(const struct vmxc_hal *hal, vmxc_hpa_t hpa, uint64_t length)
{
    const uint64_t in_frame = hpa & VMXC_PAGE_MASK;
    const uint64_t offset = hpa - in_frame - hal->window.base;

    if (offset < hal->window.length && hal->window.length - offset >= VMXC_PAGE_SIZE)
        return vmxc_smaller(length, hal->window.length - offset - in_frame);
    return vmxc_smaller(length, VMXC_PAGE_SIZE - in_frame);
}

static enum vmxc_status append_range(const struct vmxc_hal *hal, struct segment_list *list,
                                     vmxc_hpa_t hpa, uint64_t length)
{
    while (length > 0) {
        const uint64_t piece = visible_length(hal, hpa, length);

        VMXC_TRY(append_piece(list, vmxc_hal_pointer(hal, hpa), hpa, piece));
        hpa += piece;
        length -= piece;
    }
    return VMXC_OK;
}

/*
 * The host address of `gpa` in `area` and how far it is good: to the end of the area where that is linear, otherwise
 * to the end of the page, which is supplied if it is missing.
 */
static enum vmxc_status locate(struct vmxc_addrspace *space, const struct vmxc_area *area,
                               vmxc_gpa_t gpa, vmxc_hpa_t *hpa, vmxc_gpa_t *end)
{
    struct vmxc_ept_mapping mapping;

    if (area->hpa != VMXC_AREA_NO_HPA) {
        *hpa = area->hpa + (gpa - area->base);
        *end = vmxc_area_end(area);
        return VMXC_OK;
    }
    if (vmxc_ept_query(&space->ept, gpa, &mapping) != VMXC_OK) {
        const enum vmxc_fault_result result =
            area->backend->fault(space, area, gpa & ~VMXC_PAGE_MASK);
        if (result != VMXC_FAULT_MAPPED)
            return result == VMXC_FAULT_NO_MEMORY ? VMXC_NO_MEMORY : VMXC_NOT_BACKED;
        VMXC_TRY(vmxc_ept_query(&space->ept, gpa, &mapping));
    }
    *hpa = mapping.hpa + (gpa - mapping.gpa);
    *end = vmxc_smaller(mapping.gpa + mapping.page_size, vmxc_area_end(area));
    return VMXC_OK;
}

/* Appends the part of [gpa, end) that lies in `area`. */
static enum vmxc_status append_area(struct vmxc_addrspace *space, const struct vmxc_area *area,
                                    vmxc_gpa_t gpa, vmxc_gpa_t end, struct segment_list *list)
{
    const vmxc_gpa_t part_end = vmxc_smaller(end, vmxc_area_end(area));

    while (gpa < part_end) {
        vmxc_hpa_t hpa = 0;
        vmxc_gpa_t good_end = 0;

        VMXC_TRY(locate(space, area, gpa, &hpa, &good_end));
        good_end = vmxc_smaller(good_end, part_end);
        VMXC_TRY(append_range(space->ept.hal, list, hpa, good_end - gpa));
        gpa = good_end;
    }
    return VMXC_OK;
}

enum vmxc_status vmxc_addrspace_buffer(struct vmxc_addrspace *space, vmxc_gpa_t gpa,
                                       uint64_t length, vmxc_map_flags access,
                                       struct vmxc_guest_segment *segments, size_t capacity,
                                       size_t *count)
{
    struct segment_list list = {.segments = segments, .capacity = capacity};
    const vmxc_gpa_t end = gpa + length;
    struct vmxc_area area;

    if (!vmxc_addrspace_is_initialized(space))
        return VMXC_BAD_STATE;
    if (!vmxc_addrspace_contains(space, gpa, length) || access == 0 ||
        (access & ~VMXC_MAP_ACCESS) != 0)
        return VMXC_INVALID_INPUT;
    for (; gpa < end; gpa = vmxc_area_end(&area)) {
        VMXC_TRY(vmxc_area_set_find(&space->areas, gpa, &area));
        if (!vmxc_area_allows(&area, access))
            return VMXC_DENIED;
        VMXC_TRY(append_area(space, &area, gpa, end, &list));
    }
    *count = list.count;
    return VMXC_OK;
}
