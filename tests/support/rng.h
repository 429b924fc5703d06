/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A small pseudo-random generator for tests: the same seed gives the same sequence on every host.
 *
 * The state is a 64-bit counter that grows by an odd constant (2^64 divided by the golden ratio); each output is the
 * counter, mixed by two multiply-and-shift rounds (the SplitMix64 construction). Sequences of different seeds may
 * overlap only after 2^32 outputs or so, and a seed of 0 is as good as any other.
 */
#ifndef VMXSIM_TESTS_RNG_H
#define VMXSIM_TESTS_RNG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct rng {
    uint64_t state;
    const uint8_t *bytes; /* NULL: numbers come from the state */
    size_t left;          /* bytes */
};

struct rng rng_seeded(uint64_t seed);

/* A stream of its own for the index-th sequence of a run, so that any one sequence can be repeated alone. */
struct rng rng_for_sequence(uint64_t seed, uint64_t index);

/*
 * Choices that somebody else makes: numbers are the bytes themselves, 0 when they are spent. The bytes stay the
 * caller's. Small choices take few bytes.
 */
struct rng rng_from_bytes(const uint8_t *bytes, size_t size);
bool rng_is_spent(const struct rng *rng);

uint64_t rng_next(struct rng *rng);

/* 0 .. bound - 1; the bias is below bound / 2^32. bound: 1 to 2^32. */
uint64_t rng_below(struct rng *rng, uint64_t bound);

/* True in `percent` of 100 calls. */
bool rng_chance(struct rng *rng, unsigned percent);

/* The bits in `percent` of 100 calls, otherwise 0. */
uint64_t rng_sometimes(struct rng *rng, unsigned percent, uint64_t bits);

#endif
