/* SPDX-License-Identifier: Apache-2.0 */
#include "vmxsim/fuzz_engine.h"

#include <stdlib.h>

#include "internal/random.h"

enum { SPLICES = 8 }; /* one in so many */

struct vmxsim_fuzz_afl {
    const struct vmxsim_fuzz_shape *shape;
    uint64_t random;
    uint8_t *bytes;
    size_t room;
};

struct vmxsim_fuzz_afl *vmxsim_fuzz_afl_new(const struct vmxsim_fuzz_shape *shape, uint64_t seed)
{
    if (!vmxsim_fuzz_shape_is_valid(shape))
        return NULL;
    struct vmxsim_fuzz_afl *const afl = calloc(1, sizeof *afl);
    if (afl == NULL)
        return NULL;
    afl->shape = shape;
    afl->random = seed;
    return afl;
}

void vmxsim_fuzz_afl_free(struct vmxsim_fuzz_afl *afl)
{
    if (afl == NULL)
        return;
    free(afl->bytes);
    free(afl);
}

static bool reserve(struct vmxsim_fuzz_afl *afl, size_t size)
{
    if (size <= afl->room)
        return true;
    uint8_t *const bytes = realloc(afl->bytes, size);
    if (bytes == NULL)
        return false;
    afl->bytes = bytes;
    afl->room = size;
    return true;
}

size_t vmxsim_fuzz_afl_run(struct vmxsim_fuzz_afl *afl, const uint8_t *data, size_t size,
                           uint8_t **out, const uint8_t *other, size_t other_size, size_t max_size)
{
    const uint64_t seed = vmxsim_next_random(&afl->random);
    const size_t kept = size < max_size ? size : max_size;

    if (!reserve(afl, max_size > 0 ? max_size : 1)) {
        *out = afl->bytes;
        return 0; /* no input: afl-fuzz goes on with its own mutators */
    }
    *out = afl->bytes;
    if (kept > 0)
        memcpy(afl->bytes, data, kept);
    if (other != NULL && other_size > 0 && seed % SPLICES == 0)
        return vmxsim_fuzz_splice(afl->shape, afl->bytes, kept, max_size, other, other_size, seed);
    return vmxsim_fuzz_mutate(afl->shape, afl->bytes, kept, max_size, seed);
}
