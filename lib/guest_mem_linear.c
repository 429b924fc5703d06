/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guest memory by linear address: guest paging in front of guest_mem.c.
 *
 * A plan is a short list of guest-physical pieces that a part of the range translates to. A range of one plan,
 * the usual case, is walked once; a longer one is walked once to check it and once more to move it.
 */
#include "internal/guest_mem.h"

#define PLAN_PIECES 8u

struct piece {
    vmxc_gva_t gva;
    vmxc_gpa_t gpa;
    uint64_t length; /* bytes */
    vmxc_map_flags access;
};

struct plan {
    uint64_t length; /* bytes of the range that the pieces cover */
    size_t count;
    struct piece piece[PLAN_PIECES];
};

/* One call. Exactly one of the buffers is there. */
struct request {
    struct vmxc_addrspace *space;
    struct vmxc_guest_walk_info info; /* flags are not set while the range is only looked at */
    struct vmxc_guest_access access;
    vmxc_gva_t gva;
    uint64_t length; /* bytes */
    uint8_t *to;
    const uint8_t *from;
    struct vmxc_guest_fault *fault; /* may be NULL */
};

/* The right that an area must give. User-mode addresses have an execute right of their own where EPT does. */
static vmxc_map_flags area_right(const struct request *request,
                                 const struct vmxc_guest_translation *page)
{
    if (request->access.write)
        return VMXC_MAP_WRITE;
    if (!request->access.fetch)
        return VMXC_MAP_READ;
    return page->user && request->space->ept.config.mode_based_execute ? VMXC_MAP_USER
                                                                       : VMXC_MAP_EXECUTE;
}

/* Adds a piece, or lengthens the last one. False: the plan is full. */
static bool plan_add(struct plan *plan, const struct piece *piece)
{
    struct piece *const last = plan->count > 0 ? &plan->piece[plan->count - 1] : NULL;

    if (last != NULL && last->gpa + last->length == piece->gpa && last->access == piece->access)
        last->length += piece->length;
    else if (plan->count < PLAN_PIECES)
        plan->piece[plan->count++] = *piece;
    else
        return false;
    plan->length += piece->length;
    return true;
}

/* Translates what is left of the page at `gva`, at most `length` bytes. */
static enum vmxc_status translate_piece(const struct request *request, vmxc_gva_t gva,
                                        uint64_t length, struct piece *piece)
{
    struct vmxc_guest_translation page;

    VMXC_TRY(vmxc_guest_walk(request->space, &request->info, request->access, gva, &page,
                             request->fault));

    const uint64_t left = page.page_size - (gva & (page.page_size - 1));
    *piece = (struct piece){.gva = gva,
                            .gpa = page.gpa,
                            .length = length < left ? length : left,
                            .access = area_right(request, &page)};
    return VMXC_OK;
}

/* Plans the part of the range that starts at byte `done`. */
static enum vmxc_status make_plan(const struct request *request, uint64_t done, struct plan *plan)
{
    struct piece piece;

    *plan = (struct plan){.count = 0};
    do {
        const uint64_t position = done + plan->length;

        VMXC_TRY(
            translate_piece(request, request->gva + position, request->length - position, &piece));
    } while (plan_add(plan, &piece) && done + plan->length < request->length);
    return VMXC_OK;
}

/* A page outside the space is the guest's choice, not the caller's mistake. */
static enum vmxc_status check_piece(const struct request *request, const struct piece *piece)
{
    enum vmxc_status status = VMXC_NOT_FOUND;

    if (vmxc_addrspace_contains(request->space, piece->gpa, piece->length))
        status = vmxc_guest_mem_probe(request->space, piece->gpa, piece->length, piece->access);
    if (status != VMXC_OK && request->fault != NULL)
        *request->fault = (struct vmxc_guest_fault){.gva = piece->gva, .entry_gpa = piece->gpa};
    return status;
}

static enum vmxc_status check_plan(const struct request *request, const struct plan *plan)
{
    for (size_t i = 0; i < plan->count; i++)
        VMXC_TRY(check_piece(request, &plan->piece[i]));
    return VMXC_OK;
}

/* Walks every page once more, this time setting accessed and dirty flags. */
static enum vmxc_status set_flags(struct request *request)
{
    enum vmxc_status status = VMXC_OK;
    struct plan plan;

    request->info.set_accessed_dirty = true;
    for (uint64_t done = 0; done < request->length && status == VMXC_OK; done += plan.length)
        status = make_plan(request, done, &plan);
    request->info.set_accessed_dirty = false;
    return status;
}

static enum vmxc_status move_plan(const struct request *request, const struct plan *plan,
                                  uint64_t done)
{
    for (size_t i = 0; i < plan->count; i++) {
        const struct piece *const piece = &plan->piece[i];
        const size_t length = (size_t)piece->length;

        if (request->from != NULL)
            VMXC_TRY(
                vmxc_guest_mem_write(request->space, piece->gpa, request->from + done, length));
        else
            VMXC_TRY(vmxc_guest_mem_read_with(request->space, piece->gpa, piece->access,
                                              request->to + done, length));
        done += piece->length;
    }
    return VMXC_OK;
}

/* The range must neither wrap nor, outside 64-bit modes, pass 4 GBytes. */
static bool range_is_valid(const struct request *request)
{
    const vmxc_gva_t last = request->gva + (request->length - 1);

    return request->length != 0 && last >= request->gva &&
           (request->info.linear_width > 32 || last >> 32 == 0);
}

static enum vmxc_status perform(struct request *request)
{
    const bool set_accessed_dirty = request->info.set_accessed_dirty;
    struct plan plan;

    if (!range_is_valid(request))
        return VMXC_INVALID_INPUT;

    request->info.set_accessed_dirty = false;
    for (uint64_t done = 0; done < request->length; done += plan.length) {
        VMXC_TRY(make_plan(request, done, &plan));
        VMXC_TRY(check_plan(request, &plan));
    }
    if (set_accessed_dirty)
        VMXC_TRY(set_flags(request));
    if (plan.length == request->length)
        return move_plan(request, &plan, 0);

    for (uint64_t done = 0; done < request->length; done += plan.length) {
        VMXC_TRY(make_plan(request, done, &plan));
        VMXC_TRY(move_plan(request, &plan, done));
    }
    return VMXC_OK;
}

enum vmxc_status vmxc_guest_mem_read_linear(struct vmxc_addrspace *space,
                                            const struct vmxc_guest_walk_info *info,
                                            struct vmxc_guest_access access, vmxc_gva_t gva,
                                            void *buffer, size_t length,
                                            struct vmxc_guest_fault *fault)
{
    struct request request = {.space = space,
                              .info = *info,
                              .access = access,
                              .gva = gva,
                              .length = length,
                              .to = buffer,
                              .fault = fault};

    return access.write ? VMXC_INVALID_INPUT : perform(&request);
}

enum vmxc_status vmxc_guest_mem_write_linear(struct vmxc_addrspace *space,
                                             const struct vmxc_guest_walk_info *info,
                                             struct vmxc_guest_access access, vmxc_gva_t gva,
                                             const void *buffer, size_t length,
                                             struct vmxc_guest_fault *fault)
{
    struct request request = {.space = space,
                              .info = *info,
                              .access = access,
                              .gva = gva,
                              .length = length,
                              .from = buffer,
                              .fault = fault};

    return access.write ? perform(&request) : VMXC_INVALID_INPUT;
}
