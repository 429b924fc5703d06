/* SPDX-License-Identifier: Apache-2.0 */
/* What mutators of operations and of texts share: a buffer that changes, numbers next to others. */
#ifndef VMXSIM_INTERNAL_FUZZ_MUTATE_H
#define VMXSIM_INTERNAL_FUZZ_MUTATE_H

#include "internal/fuzz_shape.h"
#include "internal/random.h"

struct vmxsim_fuzz_edit {
    const struct vmxsim_fuzz_shape *shape;
    uint8_t *bytes;
    size_t size, max;
    uint64_t random;
};

/* 0 to bound - 1; 0 if the bound is 0. */
static inline size_t vmxsim_fuzz_pick(struct vmxsim_fuzz_edit *edit, size_t bound)
{
    return bound == 0 ? 0 : (size_t)(vmxsim_next_random(&edit->random) >> 16) % bound;
}

/* The bytes from `from` to `to` make room for `length` others. False, and no change, if they do not fit. */
bool vmxsim_fuzz_replace(struct vmxsim_fuzz_edit *edit, size_t from, size_t to,
                         const uint8_t *bytes, size_t length);

/* A copy of the bytes from `from` to `to` appears at `at`, which is not between them. False: they do not fit. */
bool vmxsim_fuzz_duplicate(struct vmxsim_fuzz_edit *edit, size_t from, size_t to, size_t at);

/* Of four places in order, the bytes of the first pair change places with those of the second. */
void vmxsim_fuzz_swap(struct vmxsim_fuzz_edit *edit, const size_t place[4]);

/* A number of `width` bits that is next to the old one, next to one that rules decide about, or any. */
uint64_t vmxsim_fuzz_near(struct vmxsim_fuzz_edit *edit, uint64_t old, unsigned width);

/* Next to a value at which rules about this VMCS field decide; which fields have such values says fuzz_fields.def. */
uint64_t vmxsim_fuzz_field_value(struct vmxsim_fuzz_edit *edit, size_t ordinal, uint64_t old);

/* The index of an MSR that VMX rules name, or one next to it. */
uint32_t vmxsim_fuzz_msr(struct vmxsim_fuzz_edit *edit);

/* One change of a text. */
void vmxsim_fuzz_change_text(struct vmxsim_fuzz_edit *edit);

/* Some lines of another text take the place of lines here. */
void vmxsim_fuzz_splice_text(struct vmxsim_fuzz_edit *edit, const uint8_t *other,
                             size_t other_size);

#endif
