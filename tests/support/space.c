/* SPDX-License-Identifier: Apache-2.0 */
#include "support/space.h"

#include <check.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const struct vmxc_ept_config space_config = {
    .levels = 4,
    .maxphyaddr = 46,
    .largest_page = VMXC_PAGE_LEVEL_1G,
    .table_memory_type = VMXC_MEMORY_TYPE_WB,
};

struct space *space_create_with(const struct vmxc_ept_config *config, uint64_t frames, bool window)
{
    struct space *s = calloc(1, sizeof(*s));

    ck_assert_ptr_nonnull(s);
    s->probe = probe_create(frames, window);
    ck_assert_int_eq(vmxc_addrspace_init(&s->space, &s->probe->hal, config, 0, UINT64_C(1) << 40),
                     VMXC_OK);
    probe_clear_log(s->probe);
    return s;
}

struct space *space_create(uint64_t frames)
{
    return space_create_with(&space_config, frames, true);
}

void space_destroy(struct space *s)
{
    ck_assert(vmxc_addrspace_is_valid(&s->space));
    vmxc_addrspace_fini(&s->space);
    probe_destroy(s->probe);
    free(s);
}

struct dump {
    char *text;
    size_t length, size;
};

static void add_line(struct dump *dump, const char *line)
{
    const size_t length = strlen(line);

    if (dump->length + length + 1 > dump->size) {
        dump->size = 2 * (dump->length + length + 1);
        dump->text = realloc(dump->text, dump->size);
        ck_assert_ptr_nonnull(dump->text);
    }
    memcpy(dump->text + dump->length, line, length + 1);
    dump->length += length;
}

static enum vmxc_status dump_area(void *context, const struct vmxc_area *area)
{
    char line[200];

    vmxc_area_format(area, line, sizeof(line) - 1);
    strcat(line, "\n");
    add_line(context, line);
    return VMXC_OK;
}

static enum vmxc_status dump_page(void *context, const struct vmxc_ept_mapping *mapping)
{
    char line[200];

    snprintf(line, sizeof(line), "%" PRIx64 " -> %" PRIx64 " size %" PRIx64 " flags %x\n",
             mapping->gpa, mapping->hpa, mapping->page_size, mapping->flags);
    add_line(context, line);
    return VMXC_OK;
}

char *space_dump(struct space *s)
{
    struct dump dump = {NULL, 0, 0};
    char line[100];

    ck_assert(vmxc_addrspace_is_valid(&s->space));
    ck_assert_int_eq(vmxc_addrspace_for_each_area(&s->space, dump_area, &dump), VMXC_OK);
    ck_assert_int_eq(
        vmxc_ept_walk(&s->space.ept, 0, vmxc_ept_span(&s->space.ept), dump_page, &dump), VMXC_OK);
    snprintf(line, sizeof(line), "%" PRIu64 " frames\n", probe_frames_in_use(s->probe));
    add_line(&dump, line);
    return dump.text;
}

void space_assert_same(struct space *s, char *before, const char *what)
{
    char *now = space_dump(s);

    ck_assert_msg(strcmp(before, now) == 0, "%s changed the space from\n%s to\n%s", what, before,
                  now);
    free(before);
    free(now);
}

vmxc_hpa_t space_hpa(struct space *s, vmxc_gpa_t gpa)
{
    struct vmxc_translation translation;
    const enum vmxc_status status = vmxc_addrspace_translate(&s->space, gpa, &translation);

    ck_assert_msg(status == VMXC_OK, "%" PRIx64 ": status %d", gpa, status);
    return translation.hpa;
}

uint64_t space_read(struct space *s, vmxc_gpa_t gpa)
{
    return vmxsim_memory_read64(s->probe->memory, space_hpa(s, gpa));
}

void space_write(struct space *s, vmxc_gpa_t gpa, uint64_t value)
{
    vmxsim_memory_write64(s->probe->memory, space_hpa(s, gpa), value);
}

/* True if the frame of the event at `index` was taken earlier in the log. */
static bool is_own_frame(const struct probe *probe, size_t index)
{
    for (size_t i = 0; i < index; i++)
        if (probe->events[i].kind == PROBE_ALLOC &&
            probe->events[i].hpa == probe->events[index].hpa)
            return true;
    return false;
}

bool space_freed_after_invalidation(const struct space *s)
{
    size_t invalidations = 0;

    for (size_t i = 0; i < s->probe->event_count; i++) {
        const struct probe_event *event = &s->probe->events[i];

        invalidations += event->kind == PROBE_INVALIDATE;
        if (event->kind == PROBE_FREE && invalidations == 0 && !is_own_frame(s->probe, i) &&
            (event->label == NULL || strcmp(event->label, "area set node") != 0))
            return false;
    }
    return invalidations <= 1;
}
