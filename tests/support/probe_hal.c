/* SPDX-License-Identifier: Apache-2.0 */
#include "support/probe_hal.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>

static const struct vmxc_hal *inner(const struct probe *probe)
{
    return vmxsim_memory_hal(probe->memory);
}

static void log_event(struct probe *probe, struct probe_event event)
{
    if (probe->event_count < PROBE_LOG_SIZE)
        probe->events[probe->event_count++] = event;
}

/* Where the label of a frame is kept; of any other address: nowhere that matters. */
static const char **label_of(struct probe *probe, vmxc_hpa_t hpa)
{
    const uint64_t index = (hpa - PROBE_FRAMES_BASE) / VMXC_PAGE_SIZE;

    return &probe->labels[index < probe->frames ? index : probe->frames];
}

static enum vmxc_status probe_alloc(void *context, const char *label, vmxc_hpa_t *frame_hpa)
{
    struct probe *probe = context;
    const enum vmxc_status status =
        inner(probe)->alloc_frame(inner(probe)->context, label, frame_hpa);

    if (status != VMXC_OK)
        return status;
    *label_of(probe, *frame_hpa) = label;
    log_event(probe, (struct probe_event){PROBE_ALLOC, *frame_hpa, label});
    return status;
}

static void probe_dealloc(void *context, vmxc_hpa_t frame_hpa)
{
    struct probe *probe = context;

    log_event(probe, (struct probe_event){PROBE_FREE, frame_hpa, *label_of(probe, frame_hpa)});
    inner(probe)->dealloc_frame(inner(probe)->context, frame_hpa);
}

static void *probe_phys_to_virt(void *context, vmxc_hpa_t hpa)
{
    struct probe *probe = context;

    probe->lookups++;
    if (probe->refuse_after != 0 && hpa >= probe->refuse_after)
        return NULL;
    return inner(probe)->phys_to_virt(inner(probe)->context, hpa);
}

static enum vmxc_status probe_virt_to_phys(void *context, const void *pointer, vmxc_hpa_t *hpa)
{
    struct probe *probe = context;

    return inner(probe)->virt_to_phys(inner(probe)->context, pointer, hpa);
}

static void probe_invalidate(void *context, uint64_t eptp)
{
    struct probe *probe = context;

    log_event(probe, (struct probe_event){PROBE_INVALIDATE, 0, NULL});
    inner(probe)->invalidate_ept(inner(probe)->context, eptp);
}

static void probe_mark_dirty(void *context, vmxc_hpa_t hpa, uint64_t length)
{
    struct probe *probe = context;

    probe->dirty_calls++;
    if (probe->on_dirty != NULL)
        probe->on_dirty(probe->on_dirty_context, hpa, length);
    inner(probe)->mark_dirty(inner(probe)->context, hpa, length);
}

static void probe_trace(void *context, const struct vmxc_trace_event *event)
{
    struct probe *probe = context;

    if (probe->trace_count < PROBE_LOG_SIZE)
        probe->traces[probe->trace_count++] = *event;
}

struct probe *probe_create(uint64_t frames, bool window)
{
    const struct vmxsim_range ram[] = {
        {0, UINT64_C(1) << 30},
        {PROBE_FRAMES_BASE, frames * VMXC_PAGE_SIZE},
    };
    const struct vmxsim_memory_config config = {.ram = ram, .ram_count = 2, .frames = ram[1]};
    struct probe *probe = calloc(1, sizeof(*probe));

    ck_assert_ptr_nonnull(probe);
    probe->frames = frames;
    probe->labels = calloc(frames + 1, sizeof(*probe->labels));
    ck_assert_ptr_nonnull(probe->labels);
    ck_assert_int_eq(vmxsim_memory_create(&config, &probe->memory, NULL), VMXC_OK);
    probe->hal = (struct vmxc_hal){
        .context = probe,
        .alloc_frame = probe_alloc,
        .dealloc_frame = probe_dealloc,
        .phys_to_virt = probe_phys_to_virt,
        .virt_to_phys = probe_virt_to_phys,
        .invalidate_ept = probe_invalidate,
        .mark_dirty = probe_mark_dirty,
        .trace = probe_trace,
    };
    if (window)
        probe->hal.window = inner(probe)->window;
    return probe;
}

void probe_destroy(struct probe *probe)
{
    const struct vmxsim_memory_stats stats = vmxsim_memory_stats(probe->memory);
    char report[512];

    vmxsim_memory_leak_report(probe->memory, report, sizeof(report));
    ck_assert_msg(stats.frames_in_use == 0, "leaked: %s", report);
    ck_assert_uint_eq(stats.double_frees, 0);
    ck_assert_uint_eq(stats.foreign_frees, 0);
    vmxsim_memory_destroy(probe->memory);
    free(probe->labels);
    free(probe);
}

void probe_clear_log(struct probe *probe)
{
    probe->event_count = 0;
    probe->trace_count = 0;
}

uint64_t probe_frames_in_use(const struct probe *probe)
{
    return vmxsim_memory_stats(probe->memory).frames_in_use;
}

size_t probe_count_events(const struct probe *probe, enum probe_event_kind kind)
{
    size_t count = 0;

    for (size_t i = 0; i < probe->event_count; i++)
        count += probe->events[i].kind == kind;
    return count;
}

size_t probe_count_traces(const struct probe *probe, enum vmxc_trace_kind kind)
{
    size_t count = 0;

    for (size_t i = 0; i < probe->trace_count; i++)
        count += probe->traces[i].kind == kind;
    return count;
}
