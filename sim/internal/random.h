/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMXSIM_INTERNAL_RANDOM_H
#define VMXSIM_INTERNAL_RANDOM_H

#include <stdint.h>

/* SplitMix64: any seed is good, zero included, and the sequence is the same on every host. */
static inline uint64_t vmxsim_next_random(uint64_t *state)
{
    uint64_t mixed = *state += UINT64_C(0x9e3779b97f4a7c15);

    mixed = (mixed ^ mixed >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    mixed = (mixed ^ mixed >> 27) * UINT64_C(0x94d049bb133111eb);
    return mixed ^ mixed >> 31;
}

#endif
