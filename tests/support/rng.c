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

uint64_t rng_next(struct rng *rng)
{
    rng->state += GOLDEN_GAMMA;
    return mix(rng->state);
}

uint64_t rng_below(struct rng *rng, uint64_t bound)
{
    return ((rng_next(rng) >> 32) * bound) >> 32;
}

bool rng_chance(struct rng *rng, unsigned percent)
{
    return rng_below(rng, 100) < percent;
}
