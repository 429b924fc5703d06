/* SPDX-License-Identifier: Apache-2.0 */
#define XXH_STATIC_LINKING_ONLY /* the state's size, so that it can live on the stack */
#include <xxhash.h>

#include "internal/memory.h"

/* Numbers enter the digest as little-endian bytes, so that every host computes the same. */
static void digest_number(XXH3_state_t *state, uint64_t number)
{
    uint8_t bytes[8];
    for (unsigned int i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(number >> 8 * i);
    (void)XXH3_128bits_update(state, bytes, sizeof bytes);
}

static void digest_page(void *context, struct vmxsim_ram_range *range, uint64_t page)
{
    XXH3_state_t *state = context;
    const uint64_t offset = page * VMXC_PAGE_SIZE;
    if (vmxsim_page_is_filled(range->bytes + offset, 0))
        return;
    digest_number(state, range->base + offset);
    (void)XXH3_128bits_update(state, range->bytes + offset, VMXC_PAGE_SIZE);
}

struct vmxsim_digest vmxsim_memory_digest(const struct vmxsim_memory *memory)
{
    XXH3_state_t state;
    XXH3_INITSTATE(&state);
    (void)XXH3_128bits_reset(&state);
    digest_number(&state, memory->range_count);
    for (size_t i = 0; i < memory->range_count; i++) {
        digest_number(&state, memory->ranges[i].base);
        digest_number(&state, memory->ranges[i].length);
    }
    vmxsim_memory_each_touched(memory, digest_page, &state);
    const XXH128_hash_t hash = XXH3_128bits_digest(&state);
    return (struct vmxsim_digest){.high = hash.high64, .low = hash.low64};
}
