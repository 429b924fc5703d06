/* SPDX-License-Identifier: Apache-2.0 */
#include "internal/memory.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

typedef void frame_visitor(void *context, uint64_t hpa, const char *label);
typedef bool frame_test(const struct vmxsim_frames *frames, uint64_t index);

/* Frames above `bump` were never handed out: the cost is the most frames that were in use at one time. */
static uint64_t visit_frames(const struct vmxsim_memory *memory, frame_test *test,
                             frame_visitor *visit, void *context)
{
    const struct vmxsim_frames *frames = &memory->frames;
    uint64_t found = 0;
    for (uint64_t index = 0; index < frames->bump; index++) {
        if (!test(frames, index))
            continue;
        found++;
        if (visit != NULL)
            visit(context, frames->base + index * VMXC_PAGE_SIZE, frames->state[index].label);
    }
    return found;
}

uint64_t vmxsim_memory_leaks(const struct vmxsim_memory *memory, frame_visitor *visit,
                             void *context)
{
    return visit_frames(memory, vmxsim_frame_in_use, visit, context);
}

uint64_t vmxsim_memory_damaged_frames(const struct vmxsim_memory *memory, frame_visitor *visit,
                                      void *context)
{
    return visit_frames(memory, vmxsim_frame_was_damaged, visit, context);
}

struct vmxsim_memory_stats vmxsim_memory_stats(const struct vmxsim_memory *memory)
{
    return memory->stats;
}

/* ---- Report by label ---- */

enum { LABEL_COUNT = 64 }; /* labels are static strings, of which programs have few */

struct label_count {
    const char *label;
    uint64_t frames, first_hpa;
};

struct label_table {
    struct label_count row[LABEL_COUNT + 1]; /* the last: every label that found no row */
    size_t rows;
};

static struct label_count *find_row(struct label_table *table, const char *label)
{
    for (size_t i = 0; i < table->rows; i++) {
        struct label_count *row = &table->row[i];
        if (row->label == label || strcmp(row->label, label) == 0)
            return row;
    }
    if (table->rows == LABEL_COUNT + 1)
        return &table->row[LABEL_COUNT];
    struct label_count *row = &table->row[table->rows++];
    row->label = table->rows == LABEL_COUNT + 1 ? "other labels" : label;
    return row;
}

static void count_label(void *context, uint64_t hpa, const char *label)
{
    struct label_count *row = find_row(context, label);
    if (row->frames++ == 0)
        row->first_hpa = hpa;
}

static size_t append_row(const struct label_count *row, char *buffer, size_t size)
{
    /* Without room, C measures only: the null pointer is never written to. */
    const int length =
        // cppcheck-suppress [nullPointer, ctunullpointer]
        snprintf(buffer, size, "%s: %" PRIu64 " frame%s, first 0x%" PRIx64 "\n", row->label,
                 row->frames, row->frames == 1 ? "" : "s", row->first_hpa);
    return length > 0 ? (size_t)length : 0;
}

size_t vmxsim_memory_leak_report(const struct vmxsim_memory *memory, char *buffer, size_t size)
{
    struct label_table table = {.rows = 0};
    (void)vmxsim_memory_leaks(memory, count_label, &table);
    if (size != 0)
        buffer[0] = '\0';
    size_t length = 0;
    for (size_t i = 0; i < table.rows; i++) {
        const size_t room = length < size ? size - length : 0;
        length += append_row(&table.row[i], room != 0 ? buffer + length : NULL, room);
    }
    return length;
}
