/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Clones: what was frozen is shared, what differs from it is copied. A memory is frozen when it is cloned first, and again when
 * copying would come to more pages than there are: then it pays, whatever the owner does next.
 */
#include <stdlib.h>
#include <string.h>

#include "internal/memory.h"
#include "vmxsim/snapshot.h"

enum { WORTH_FREEZING = 64 }; /* pages: copying so few is as cheap as a file */

/* A memory with the same ranges, in which nothing is written. */
static enum vmxc_status create_alike(const struct vmxsim_memory *memory,
                                     struct vmxsim_memory **clone, struct vmxsim_error *error)
{
    const struct vmxsim_frames *const frames = &memory->frames;
    struct vmxsim_range *const ram = calloc(memory->range_count, sizeof *ram);

    if (ram == NULL)
        return vmxsim_error_set(error, VMXC_NO_MEMORY, "no host memory for a clone");
    for (size_t i = 0; i < memory->range_count; i++)
        ram[i] = (struct vmxsim_range){.base = memory->ranges[i].base,
                                       .length = memory->ranges[i].length};
    /* A memory of nothing but page 0 has no frames; the default finds none either. */
    const struct vmxsim_memory_config config = {
        .ram = ram,
        .ram_count = memory->range_count,
        .frames = {.base = frames->count != 0 ? frames->base : 0,
                   .length = frames->count * VMXC_PAGE_SIZE},
        .no_poison = !frames->poison,
    };
    const enum vmxc_status status = vmxsim_memory_create(&config, clone, error);
    free(ram);
    return status;
}

/* Pages that were touched, and those that a clone would need copied. */
static void count_pages(struct vmxsim_memory *memory, uint64_t *touched, uint64_t *different)
{
    *touched = *different = 0;
    for (size_t i = 0; i < vmxsim_memory_array_count(memory); i++) {
        const struct vmxsim_track *const track = vmxsim_memory_array(memory, i).track;
        *touched += vmxsim_page_set_count(&track->touched);
        *different += vmxsim_page_set_count(vmxsim_track_differences(track));
    }
}

/* Where the host cannot freeze, clones are copies. */
static void freeze_if_it_pays(struct vmxsim_memory *memory)
{
    uint64_t touched, different;

    count_pages(memory, &touched, &different);
    if (touched < WORTH_FREEZING)
        return;
    if (memory->frozen != NULL && memory->copied + different <= touched)
        return;
    if (vmxsim_frozen_make(memory))
        vmxsim_snapshot_note_handed_out(memory);
}

/* Returns how many pages that took. */
static uint64_t copy_differences(const struct vmxsim_array *from, const struct vmxsim_array *to)
{
    const struct vmxsim_page_set *const pages = vmxsim_track_differences(from->track);
    uint64_t count = 0;

    for (uint64_t page = 0; vmxsim_page_set_next(pages, page, &page); page++) {
        const uint64_t offset = page * VMXC_PAGE_SIZE;
        vmxsim_track_note(to->track, to->bytes, page);
        memcpy(to->bytes + offset, from->bytes + offset, VMXC_PAGE_SIZE);
        count++;
    }
    vmxsim_page_set_insert_all(&to->track->touched, &from->track->touched);
    return count;
}

enum vmxc_status vmxsim_memory_clone(struct vmxsim_memory *memory, struct vmxsim_memory **clone,
                                     struct vmxsim_error *error)
{
    struct vmxsim_memory *created;

    VMXC_TRY(create_alike(memory, &created, error));
    freeze_if_it_pays(memory);
    if (memory->frozen != NULL && vmxsim_frozen_share(memory, created) != VMXC_OK) {
        vmxsim_memory_destroy(created);
        return vmxsim_error_set(error, VMXC_NO_MEMORY, "the host cannot map a clone's content");
    }
    for (size_t i = 0; i < vmxsim_memory_array_count(memory); i++) {
        const struct vmxsim_array from = vmxsim_memory_array(memory, i);
        const struct vmxsim_array to = vmxsim_memory_array(created, i);
        memory->copied += copy_differences(&from, &to);
    }
    created->frames.bump = memory->frames.bump;
    created->frames.free_head = memory->frames.free_head;
    created->injection = memory->injection;
    created->stats = memory->stats;
    *clone = created;
    return VMXC_OK;
}

struct vmxsim_memory_footprint vmxsim_memory_footprint(struct vmxsim_memory *memory)
{
    struct vmxsim_memory_footprint footprint = {0};
    uint64_t touched, different, saved = 0;

    count_pages(memory, &touched, &different);
    for (size_t i = 0; i < vmxsim_memory_array_count(memory); i++) {
        const struct vmxsim_track *const track = vmxsim_memory_array(memory, i).track;
        if (track->copy != NULL)
            saved += vmxsim_page_set_count(&track->saved);
    }
    footprint.own = (different + saved) * VMXC_PAGE_SIZE;
    footprint.shared = touched > different ? (touched - different) * VMXC_PAGE_SIZE : 0;
    return footprint;
}
