/* SPDX-License-Identifier: Apache-2.0 */
#include "vmxsim/snapshot.h"

#include <stdlib.h>
#include <string.h>

#include "internal/memory.h"

/* ---- Lists that grow ---- */

/* Room for one more element in `*array`. False: no host memory; nothing has changed. */
static bool make_room(void **array, size_t count, size_t *capacity, size_t element)
{
    if (count < *capacity)
        return true;
    const size_t larger = *capacity == 0 ? 8 : 2 * *capacity;
    void *const grown = realloc(*array, larger * element);
    if (grown == NULL)
        return false;
    *array = grown;
    *capacity = larger;
    return true;
}

/* ---- Handles ---- */

static struct vmxsim_handle *find_handle(const struct vmxsim_memory *memory, const void *value)
{
    for (size_t i = 0; i < memory->handle_count; i++) {
        if (memory->handles[i].value == value)
            return &memory->handles[i];
    }
    return NULL;
}

enum vmxc_status vmxsim_snapshot_register(struct vmxsim_memory *memory, void *value, size_t size)
{
    void *handles = memory->handles;

    if (value == NULL || size == 0)
        return VMXC_INVALID_INPUT;
    if (find_handle(memory, value) != NULL)
        return VMXC_ALREADY_EXISTS;
    if (!make_room(&handles, memory->handle_count, &memory->handle_capacity,
                   sizeof *memory->handles))
        return VMXC_NO_MEMORY;
    memory->handles = handles;
    memory->handles[memory->handle_count++] = (struct vmxsim_handle){.value = value, .size = size};
    return VMXC_OK;
}

void vmxsim_snapshot_unregister(struct vmxsim_memory *memory, void *value)
{
    struct vmxsim_handle *const handle = find_handle(memory, value);

    if (handle == NULL)
        return;
    free(handle->copy);
    *handle = memory->handles[--memory->handle_count];
}

static void forget_copies(struct vmxsim_memory *memory)
{
    for (size_t i = 0; i < memory->handle_count; i++) {
        free(memory->handles[i].copy);
        memory->handles[i].copy = NULL;
    }
}

static enum vmxc_status copy_handles(struct vmxsim_memory *memory)
{
    for (size_t i = 0; i < memory->handle_count; i++) {
        struct vmxsim_handle *const handle = &memory->handles[i];
        handle->copy = malloc(handle->size);
        if (handle->copy == NULL) {
            forget_copies(memory);
            return VMXC_NO_MEMORY;
        }
        memcpy(handle->copy, handle->value, handle->size);
    }
    return VMXC_OK;
}

static void restore_handles(struct vmxsim_memory *memory)
{
    for (size_t i = 0; i < memory->handle_count; i++) {
        const struct vmxsim_handle *const handle = &memory->handles[i];
        if (handle->copy != NULL)
            memcpy(handle->value, handle->copy, handle->size);
    }
}

/* ---- Pages that are handed out ---- */

void vmxsim_snapshot_note_handed_out(struct vmxsim_memory *memory)
{
    for (size_t i = 0; i < memory->handed_out_count; i++) {
        const struct vmxsim_handed_out *const out = &memory->handed_out[i];
        struct vmxsim_ram_range *const range = vmxsim_memory_find(memory, out->hpa);
        vmxsim_range_touch(range, out->hpa - range->base, out->length);
    }
}

enum vmxc_status vmxsim_memory_hand_out(struct vmxsim_memory *memory, uint64_t hpa, uint64_t length,
                                        void **pointer)
{
    void *list = memory->handed_out;

    if (length == 0 || !vmxsim_memory_is_ram(memory, hpa, length))
        return VMXC_INVALID_INPUT;
    if (!make_room(&list, memory->handed_out_count, &memory->handed_out_capacity,
                   sizeof *memory->handed_out))
        return VMXC_NO_MEMORY;
    memory->handed_out = list;
    memory->handed_out[memory->handed_out_count++] =
        (struct vmxsim_handed_out){.hpa = hpa, .length = length};
    struct vmxsim_ram_range *const range = vmxsim_memory_find(memory, hpa);
    vmxsim_range_touch(range, hpa - range->base, length);
    *pointer = range->bytes + (hpa - range->base);
    return VMXC_OK;
}

enum vmxc_status vmxsim_memory_hand_back(struct vmxsim_memory *memory, uint64_t hpa,
                                         uint64_t length)
{
    for (size_t i = 0; i < memory->handed_out_count; i++) {
        if (memory->handed_out[i].hpa != hpa || memory->handed_out[i].length != length)
            continue;
        memory->handed_out[i] = memory->handed_out[--memory->handed_out_count];
        return VMXC_OK;
    }
    return VMXC_NOT_FOUND;
}

/* ---- Taking, restoring, dropping ---- */

static void stop_tracks(struct vmxsim_memory *memory)
{
    for (size_t i = 0; i < vmxsim_memory_array_count(memory); i++) {
        const struct vmxsim_array array = vmxsim_memory_array(memory, i);
        vmxsim_track_stop(array.track, array.length);
    }
}

/* Those that were started are stopped again by stop_tracks. */
static enum vmxc_status start_tracks(struct vmxsim_memory *memory)
{
    for (size_t i = 0; i < vmxsim_memory_array_count(memory); i++) {
        const struct vmxsim_array array = vmxsim_memory_array(memory, i);
        VMXC_TRY(vmxsim_track_start(array.track, array.length));
    }
    return VMXC_OK;
}

enum vmxc_status vmxsim_snapshot_take(struct vmxsim_memory *memory)
{
    if (memory->snapshot.taken)
        return VMXC_BUSY;
    struct vmxsim_snapshot snapshot = {
        .taken = true,
        .bump = memory->frames.bump,
        .free_head = memory->frames.free_head,
        .injection = memory->injection,
        .stats = memory->stats,
        .hazard_count = memory->hazards.count,
    };
    memcpy(snapshot.hazards, memory->hazards.last, sizeof snapshot.hazards);
    enum vmxc_status status = vmxsim_region_watch_keep(&memory->regions, &snapshot.regions);
    if (status == VMXC_OK)
        status = copy_handles(memory);
    if (status == VMXC_OK)
        status = start_tracks(memory);
    if (status == VMXC_OK)
        status = vmxsim_tlb_keep(memory);
    if (status != VMXC_OK) {
        vmxsim_tlb_forget(memory);
        vmxsim_region_watch_fini(&snapshot.regions);
        forget_copies(memory);
        stop_tracks(memory);
        return status;
    }
    memory->snapshot = snapshot;
    vmxsim_snapshot_note_handed_out(memory);
    return VMXC_OK;
}

enum vmxc_status vmxsim_snapshot_restore(struct vmxsim_memory *memory, uint64_t *pages)
{
    const struct vmxsim_snapshot *const snapshot = &memory->snapshot;
    uint64_t count = 0;

    if (!snapshot->taken)
        return VMXC_BAD_STATE;
    for (size_t i = 0; i < memory->range_count; i++)
        count += vmxsim_track_restore(&memory->ranges[i].track, memory->ranges[i].bytes);
    (void)vmxsim_track_restore(&memory->frames.track, (uint8_t *)memory->frames.state);
    memory->frames.bump = snapshot->bump;
    memory->frames.free_head = snapshot->free_head;
    memory->injection = snapshot->injection;
    memory->stats = snapshot->stats;
    restore_handles(memory);
    vmxsim_tables_changed(memory);
    vmxsim_tlb_return(memory);
    vmxsim_region_watch_return(&memory->regions, &snapshot->regions);
    memory->hazards.count = snapshot->hazard_count;
    memcpy(memory->hazards.last, snapshot->hazards, sizeof snapshot->hazards);
    vmxsim_snapshot_note_handed_out(memory);
    if (pages != NULL)
        *pages = count;
    return VMXC_OK;
}

void vmxsim_snapshot_drop(struct vmxsim_memory *memory)
{
    forget_copies(memory);
    stop_tracks(memory);
    vmxsim_tlb_forget(memory);
    vmxsim_region_watch_fini(&memory->snapshot.regions);
    memory->snapshot = (struct vmxsim_snapshot){.taken = false};
}

bool vmxsim_snapshot_exists(const struct vmxsim_memory *memory)
{
    return memory->snapshot.taken;
}

void vmxsim_snapshot_fini(struct vmxsim_memory *memory)
{
    forget_copies(memory);
    vmxsim_region_watch_fini(&memory->snapshot.regions);
    free(memory->handles);
    free(memory->handed_out);
}
