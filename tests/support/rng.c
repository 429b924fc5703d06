/* SPDX-License-Identifier: Apache-2.0 */
#include "support/rng.h"

#define GOLDEN_GAMMA UINT64_C(0x9e3779b97f4a7c15)

static uint64_t mix(uint64_t z)
{
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

struct rng rng_seeded(uint64_t seed)
{
    return (struct rng){.state = seed};
}

struct rng rng_for_sequence(uint64_t seed, uint64_t index)
{
    return rng_seeded(mix(seed + GOLDEN_GAMMA) ^ mix(~index));
}

struct rng rng_from_bytes(const uint8_t *bytes, size_t size)
{
    return (struct rng){.bytes = bytes, .left = size};
}

bool rng_is_spent(const struct rng *rng)
{
    return rng->bytes != NULL && rng->left == 0;
}

static uint64_t take(struct rng *rng, unsigned size)
{
    uint64_t number = 0;

    for (unsigned i = 0; i < size && rng->left > 0; i++) {
        number |= (uint64_t)*rng->bytes++ << (8 * i);
        rng->left--;
    }
    return number;
}

uint64_t rng_next(struct rng *rng)
{
    if (rng->bytes != NULL)
        return take(rng, 8);
    rng->state += GOLDEN_GAMMA;
    return mix(rng->state);
}

uint64_t rng_below(struct rng *rng, uint64_t bound)
{
    if (rng->bytes != NULL)
        return take(rng, bound <= 256 ? 1 : bound <= 65536 ? 2 : 4) % bound;
    return ((rng_next(rng) >> 32) * bound) >> 32;
}

bool rng_chance(struct rng *rng, unsigned percent)
{
    return rng_below(rng, 100) < percent;
}

uint64_t rng_sometimes(struct rng *rng, unsigned percent, uint64_t bits)
{
    return rng_chance(rng, percent) ? bits : 0;
}
