/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the readers of a VMCS share.
 *
 *     vmcs_read.c         files, formats, fields, notes
 *     vmcs_read_json.c    JSON
 *     vmcs_read_linux.c   kernel logs: lines, words, numbers
 *     vmcs_read_vmcs12.c  nested state of KVM
 */
#ifndef VMXSIM_INTERNAL_VMCS_READ_H
#define VMXSIM_INTERNAL_VMCS_READ_H

#include "internal/writer.h"
#include "vmxsim/vmcs_read.h"

struct vmxsim_vmcs_reader {
    const char *name; /* of the input */
    const uint8_t *bytes;
    size_t length;
    struct vmxsim_vmcs_reading *reading;
    uint64_t contradicted[VMXSIM_VMCS_KNOWN_WORDS]; /* the input shows two values */
    struct vmxsim_text notes;
    uint32_t note_count;
};

/* Forgets all fields: another dump follows. */
void vmxsim_reader_restart(struct vmxsim_vmcs_reader *reader);

/* The field has this value, which fits; a second, different value makes it unknown, with a note. */
void vmxsim_reader_set(struct vmxsim_vmcs_reader *reader, size_t ordinal, uint64_t value,
                       uint32_t place);

/* The field is not known, whatever else the input says. */
void vmxsim_reader_distrust(struct vmxsim_vmcs_reader *reader, size_t ordinal);

/* A line for the reader; the first few dozen are kept. */
void vmxsim_reader_note(struct vmxsim_vmcs_reader *reader, const char *format, ...)
    VMXC_PRINTF(2, 3);

/* Each fills reader->reading as far as it is its business. */
VMXC_MUST_CHECK enum vmxc_status vmxsim_vmcs_read_json(struct vmxsim_vmcs_reader *reader,
                                                       struct vmxsim_error *error);
VMXC_MUST_CHECK enum vmxc_status vmxsim_vmcs_read_linux(struct vmxsim_vmcs_reader *reader,
                                                        struct vmxsim_error *error);
VMXC_MUST_CHECK enum vmxc_status vmxsim_vmcs_read_vmcs12(struct vmxsim_vmcs_reader *reader,
                                                         struct vmxsim_error *error);

#endif
