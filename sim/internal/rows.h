/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a word is taken apart: one call per row, from the highest bit down.
 *
 *     explain_decode.c    these calls; EPT, page faults; decoded words as text and JSON
 *     explain_words.c     control words, access rights, interruption information, guest state, I/O and CR qualifications
 *     explain_exit.c      exit reason; exit qualification and instruction information by exit reason
 */
#ifndef VMXSIM_INTERNAL_ROWS_H
#define VMXSIM_INTERNAL_ROWS_H

#include "vmxsim/explain.h"

/* A flag and what its two values mean; a NULL meaning is not worth a line. */
struct vmxsim_row_flag {
    uint64_t mask;
    const char *name, *if_one, *if_zero;
};

void vmxsim_rows_start(struct vmxsim_decoded *decoded, const char *title, uint64_t raw);

/* Adds a row; the caller may still mark it wrong. Rows beyond the capacity are dropped, never written. */
struct vmxsim_decoded_field *vmxsim_row_add(struct vmxsim_decoded *decoded, uint64_t mask,
                                            const char *name, const char *format, ...)
    VMXC_PRINTF(4, 5);

/* Adds a row that the processor would refuse. */
void vmxsim_row_wrong(struct vmxsim_decoded *decoded, uint64_t mask, const char *name,
                      const char *why);

/* The bits of `mask` must be 0: one row per run of them that is not. */
void vmxsim_rows_reserved(struct vmxsim_decoded *decoded, uint64_t mask);

/* The bits of `mask` say nothing: one row per run of them that is not 0. */
void vmxsim_rows_undefined(struct vmxsim_decoded *decoded, uint64_t mask);

void vmxsim_rows_flags(struct vmxsim_decoded *decoded, const struct vmxsim_row_flag *flags,
                       size_t count);

/* Brings the rows into the order of their bits, highest first. */
void vmxsim_rows_sort(struct vmxsim_decoded *decoded);

#endif
