/* SPDX-License-Identifier: Apache-2.0 */
/* Bits of VMCS fields by name: words.c, from words.def and vmxcore/defs/controls.def. */
#ifndef VMXSIM_INTERNAL_WORDS_H
#define VMXSIM_INTERNAL_WORDS_H

#include "internal/writer.h"
#include "vmxcore/defs/controls.h"

/* The name of the bits that `mask` is, in a control word; NULL: the bit has none. */
const char *vmxsim_control_name(enum vmxc_control_word word, uint64_t mask);

/* True if the field with this ordinal has bits with names. */
bool vmxsim_field_has_names(size_t ordinal);

/* The bits of `bits` by name, from the lowest up: "PE, NE, bits 39:32". */
void vmxsim_phrase_field_bits(struct vmxsim_text *text, size_t ordinal, uint64_t bits);

/* What changes between two values: "+PE -NE type 3 -> 11". */
void vmxsim_phrase_field_change(struct vmxsim_text *text, size_t ordinal, uint64_t before,
                                uint64_t after);

#endif
