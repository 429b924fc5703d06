/* SPDX-License-Identifier: Apache-2.0 */
#include "vmxsim/fuzz.h"

#include "internal/memory.h"

static void forget_values(struct vmxsim_fuzz_loop *loop)
{
    while (loop->count > 0)
        vmxsim_snapshot_unregister(loop->memory, loop->value[--loop->count]);
}

static enum vmxc_status register_values(struct vmxsim_fuzz_loop *loop,
                                        const struct vmxsim_fuzz_value_at *values, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        VMXC_TRY(vmxsim_snapshot_register(loop->memory, values[i].value, values[i].size));
        loop->value[loop->count++] = values[i].value;
    }
    return vmxsim_snapshot_take(loop->memory);
}

enum vmxc_status vmxsim_fuzz_loop_begin(struct vmxsim_fuzz_loop *loop, struct vmxsim_memory *memory,
                                        const struct vmxsim_fuzz_value_at *values, size_t count)
{
    struct vmxsim_fuzz_loop begun = {.memory = memory};

    if (count > VMXSIM_FUZZ_MAX_VALUES)
        return VMXC_INVALID_INPUT;
    const enum vmxc_status status = register_values(&begun, values, count);
    if (status == VMXC_OK)
        *loop = begun;
    else
        forget_values(&begun);
    return status;
}

void vmxsim_fuzz_loop_next(struct vmxsim_fuzz_loop *loop)
{
    if (loop->memory == NULL)
        return;
    const enum vmxc_status status = vmxsim_snapshot_restore(loop->memory, NULL);
    (void)status; /* the loop has a snapshot, and nothing else fails */
}

void vmxsim_fuzz_loop_end(struct vmxsim_fuzz_loop *loop)
{
    if (loop->memory == NULL)
        return;
    vmxsim_snapshot_drop(loop->memory);
    forget_values(loop);
    loop->memory = NULL;
}

static void visit_written(const struct vmxsim_ram_range *range,
                          void (*visit)(void *context, uint64_t hpa, const uint8_t *bytes),
                          void *context)
{
    const struct vmxsim_page_set *const dirty = &range->track.dirty;

    for (uint64_t page = 0; vmxsim_page_set_next(dirty, page, &page); page++) {
        const uint64_t offset = page * VMXC_PAGE_SIZE;
        visit(context, range->base + offset, range->bytes + offset);
    }
}

void vmxsim_fuzz_loop_written_pages(const struct vmxsim_fuzz_loop *loop,
                                    void (*visit)(void *context, uint64_t hpa,
                                                  const uint8_t *bytes),
                                    void *context)
{
    const struct vmxsim_memory *const memory = loop->memory;

    for (size_t i = 0; memory != NULL && i < memory->range_count; i++)
        visit_written(&memory->ranges[i], visit, context);
}
