/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "internal/memory.h"

/* Pages that are kept for the next snapshot: the host gives and takes memory slowly. */
enum { SPARE_PAGES_MOST = 16384 };

enum vmxc_status vmxsim_track_init(struct vmxsim_track *track, uint64_t length)
{
    const uint64_t pages = length / VMXC_PAGE_SIZE;

    VMXC_TRY(vmxsim_page_set_init(&track->touched, pages));
    return vmxsim_page_set_init(&track->dirty, pages);
}

static void release_spare(struct vmxsim_track *track, uint64_t length)
{
    if (track->spare == NULL)
        return;
    vmxsim_release(track->spare, length);
    vmxsim_page_set_fini(&track->saved);
    track->spare = NULL;
}

static enum vmxc_status make_spare(struct vmxsim_track *track, uint64_t length)
{
    uint8_t *const spare = vmxsim_reserve(length);

    if (spare == NULL)
        return VMXC_NO_MEMORY;
    if (vmxsim_page_set_init(&track->saved, length / VMXC_PAGE_SIZE) != VMXC_OK) {
        vmxsim_release(spare, length);
        return VMXC_NO_MEMORY;
    }
    track->spare = spare;
    return VMXC_OK;
}

void vmxsim_track_fini(struct vmxsim_track *track, uint64_t length)
{
    vmxsim_track_stop(track, length);
    release_spare(track, length);
    vmxsim_track_thaw(track);
    vmxsim_page_set_fini(&track->dirty);
    vmxsim_page_set_fini(&track->touched);
}

void vmxsim_track_note_first(struct vmxsim_track *track, const uint8_t *bytes, uint64_t page)
{
    const uint64_t offset = page * VMXC_PAGE_SIZE;

    vmxsim_page_set_insert(&track->dirty, page);
    vmxsim_page_set_insert(&track->touched, page);
    vmxsim_page_set_insert(&track->changed, page); /* without levels, nothing happens */
    if (track->copy == NULL || vmxsim_page_set_contains(&track->saved, page))
        return;
    memcpy(track->copy + offset, bytes + offset, VMXC_PAGE_SIZE);
    vmxsim_page_set_insert(&track->saved, page);
}

enum vmxc_status vmxsim_track_start(struct vmxsim_track *track, uint64_t length)
{
    if (track->spare == NULL)
        VMXC_TRY(make_spare(track, length));
    track->copy = track->spare;
    track->spare = NULL;
    vmxsim_page_set_empty(&track->dirty);
    return VMXC_OK;
}

uint64_t vmxsim_track_restore(struct vmxsim_track *track, uint8_t *bytes)
{
    uint64_t count = 0;

    for (uint64_t page = 0; vmxsim_page_set_next(&track->dirty, page, &page); page++) {
        const uint64_t offset = page * VMXC_PAGE_SIZE;
        memcpy(bytes + offset, track->copy + offset, VMXC_PAGE_SIZE);
        vmxsim_page_set_remove(&track->dirty, page);
        count++;
    }
    return count;
}

void vmxsim_track_stop(struct vmxsim_track *track, uint64_t length)
{
    if (track->copy == NULL)
        return;
    track->spare = track->copy;
    track->copy = NULL;
    if (vmxsim_page_set_count(&track->saved) > SPARE_PAGES_MOST)
        release_spare(track, length);
    else
        vmxsim_page_set_empty(&track->saved);
}

/* With a snapshot the pages stay touched and dirty: restoring has to bring them back. */
void vmxsim_track_clear(struct vmxsim_track *track, uint8_t *bytes)
{
    for (uint64_t page = 0; vmxsim_page_set_next(&track->touched, page, &page); page++) {
        vmxsim_track_note(track, bytes, page);
        memset(bytes + page * VMXC_PAGE_SIZE, 0, VMXC_PAGE_SIZE);
        if (track->copy != NULL)
            continue;
        vmxsim_page_set_remove(&track->touched, page);
        vmxsim_page_set_remove(&track->dirty, page);
    }
}

void vmxsim_track_forget(struct vmxsim_track *track)
{
    vmxsim_page_set_empty(&track->dirty);
    vmxsim_page_set_empty(&track->touched);
}

/* ---- Frozen content ---- */

enum vmxc_status vmxsim_track_freeze(struct vmxsim_track *track, uint64_t length)
{
    struct vmxsim_page_set changed;

    VMXC_TRY(vmxsim_page_set_init(&changed, length / VMXC_PAGE_SIZE));
    vmxsim_track_thaw(track);
    track->changed = changed;
    /* The next write must be noted. What a restore has to look at stays dirty, and counts as changed. */
    if (track->copy != NULL)
        vmxsim_page_set_insert_all(&track->changed, &track->dirty);
    else
        vmxsim_page_set_empty(&track->dirty);
    return VMXC_OK;
}

void vmxsim_track_thaw(struct vmxsim_track *track)
{
    vmxsim_page_set_fini(&track->changed);
}

const struct vmxsim_page_set *vmxsim_track_differences(const struct vmxsim_track *track)
{
    return track->changed.levels != 0 ? &track->changed : &track->touched;
}
