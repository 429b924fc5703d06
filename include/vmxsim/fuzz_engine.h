/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Entry points of fuzzing engines, for one file of a harness:
 *
 *     static const struct vmxsim_fuzz_shape shape = {...};
 *     VMXSIM_FUZZ_LIBFUZZER(&shape)    in the harness: LLVMFuzzerCustomMutator, LLVMFuzzerCustomCrossOver
 *     VMXSIM_FUZZ_AFL(&shape)          in a shared library that AFL_CUSTOM_MUTATOR_LIBRARY names: afl_custom_*
 *
 * Both may be in one file. One mutation in four is left to libFuzzer's own mutators, which know the dictionary; AFL++ mixes its own
 * in by itself. A shared library links libvmxsim's archive, or the files sim/fuzz_*.c, and nothing else.
 */
#ifndef VMXSIM_FUZZ_ENGINE_H
#define VMXSIM_FUZZ_ENGINE_H

#include <string.h>

#include "vmxsim/fuzz.h"

#ifdef __cplusplus
extern "C" {
#endif

/* libFuzzer's own mutators; not there in a build with another engine. */
__attribute__((weak)) size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed);
size_t LLVMFuzzerCustomCrossOver(const uint8_t *data, size_t size, const uint8_t *other,
                                 size_t other_size, uint8_t *out, size_t max_size,
                                 unsigned int seed);

/* AFL++'s names and types; `afl` is not looked into. */
void *afl_custom_init(void *afl, unsigned int seed);
size_t afl_custom_fuzz(void *data, uint8_t *buffer, size_t size, uint8_t **out, uint8_t *other,
                       size_t other_size, size_t max_size);
void afl_custom_deinit(void *data);

#define VMXSIM_FUZZ_LIBFUZZER(shape)                                                               \
    size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed) \
    {                                                                                              \
        if (seed % 4 == 0 && LLVMFuzzerMutate)                                                     \
            return LLVMFuzzerMutate(data, size, max_size);                                         \
        return vmxsim_fuzz_mutate((shape), data, size, max_size, seed);                            \
    }                                                                                              \
    size_t LLVMFuzzerCustomCrossOver(const uint8_t *data, size_t size, const uint8_t *other,       \
                                     size_t other_size, uint8_t *out, size_t max_size,             \
                                     unsigned int seed)                                            \
    {                                                                                              \
        const size_t kept = size < max_size ? size : max_size;                                     \
        if (kept > 0)                                                                              \
            memcpy(out, data, kept);                                                               \
        return vmxsim_fuzz_splice((shape), out, kept, max_size, other, other_size, seed);          \
    }

#define VMXSIM_FUZZ_AFL(shape)                                                               \
    void *afl_custom_init(void *afl, unsigned int seed)                                      \
    {                                                                                        \
        (void)afl;                                                                           \
        return vmxsim_fuzz_afl_new((shape), seed);                                           \
    }                                                                                        \
    size_t afl_custom_fuzz(void *data, uint8_t *buffer, size_t size, uint8_t **out,          \
                           uint8_t *other, size_t other_size, size_t max_size)               \
    {                                                                                        \
        return vmxsim_fuzz_afl_run((struct vmxsim_fuzz_afl *)data, buffer, size, out, other, \
                                   other_size, max_size);                                    \
    }                                                                                        \
    void afl_custom_deinit(void *data)                                                       \
    {                                                                                        \
        vmxsim_fuzz_afl_free((struct vmxsim_fuzz_afl *)data);                                \
    }

/* What is behind VMXSIM_FUZZ_AFL: the state of one afl-fuzz. NULL: no memory, or the shape is not valid. */
struct vmxsim_fuzz_afl;
struct vmxsim_fuzz_afl *vmxsim_fuzz_afl_new(const struct vmxsim_fuzz_shape *shape, uint64_t seed);
void vmxsim_fuzz_afl_free(struct vmxsim_fuzz_afl *afl);

/* A changed copy of `size` bytes, in memory that stays until the next call; now and then spliced with the other input. */
size_t vmxsim_fuzz_afl_run(struct vmxsim_fuzz_afl *afl, const uint8_t *data, size_t size,
                           uint8_t **out, const uint8_t *other, size_t other_size, size_t max_size);

#ifdef __cplusplus
}
#endif

#endif
