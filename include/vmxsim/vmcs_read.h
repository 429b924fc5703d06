/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading a VMCS from what people have: JSON, a kernel log, a saved nested state. The result says which fields
 * are known and where each came from. Nothing is guessed: a field that the input does not show is not known.
 *
 * JSON    An object: field -> value. A field is a name ("GUEST_CR0", any case) or a full encoding ("0x6800"); a
 *         value is a number, a string of hexadecimal digits ("0x80000031"), or null: not known. Or an
 *         object with more than the fields:
 *             {"vmcs": {...}, "others": "zero",       fields not listed are 0 (default: "unknown")
 *              "profile": "icelake",                  a built-in name, or the `cpu` object of a vector header
 *              "processor": {"cr4": "0x2020", ...},   members of struct vmxsim_entry_processor
 *              "memory": {"0x1000": "0x4"},           8-byte-aligned address -> quadword; the rest is zero
 *              "note": "..."}
 * Linux   What KVM's dump_vmcs() prints when a VM entry fails, versions 4.1 to 6.x, with whatever a log puts before
 *         each line (timestamps, host names, "kvm_intel:", quotation marks), also wrapped. Of several dumps
 *         the last one counts. EFER that is marked "(effective)" or "(autoload)" is not the field's value.
 * vmcs12  What KVM_GET_NESTED_STATE returns, or the 4-KByte vmcs12 alone. Its layout is fixed by the revision
 *         identifier 11E57ED0H; of any other revision nothing is known. The VMCS belongs to the guest hypervisor:
 *         addresses are guest-physical, and the profile must be that of the virtual processor.
 */
#ifndef VMXSIM_VMCS_READ_H
#define VMXSIM_VMCS_READ_H

#include "vmxsim/entry.h"
#include "vmxsim/error.h"

#ifdef __cplusplus
extern "C" {
#endif

enum vmxsim_vmcs_format {
    VMXSIM_VMCS_FORMAT_AUTO, /* '{' first: JSON; NUL bytes: vmcs12; otherwise Linux */
    VMXSIM_VMCS_FORMAT_JSON,
    VMXSIM_VMCS_FORMAT_LINUX,
    VMXSIM_VMCS_FORMAT_VMCS12,
    VMXSIM_VMCS_FORMAT_COUNT
};

/* "auto", "json", "linux", "vmcs12"; static. NULL: no such format. */
const char *vmxsim_vmcs_format_name(enum vmxsim_vmcs_format format);

struct vmxsim_vmcs_reading {
    enum vmxsim_vmcs_format format;          /* what it was read as */
    struct vmxsim_vmcs vmcs;                 /* 0 where not known */
    uint64_t known[VMXSIM_VMCS_KNOWN_WORDS]; /* bit per ordinal */
    uint32_t known_count;
    /* Where each known field stands: line (Linux), byte of the input (vmcs12); JSON: 0. */
    uint32_t place[VMXC_VMCS_FIELD_COUNT];

    /* vmxsim_entry_processor_default where the input says nothing. */
    struct vmxsim_entry_processor processor;
    bool processor_given;
    const struct vmxsim_profile *profile; /* NULL: the input names none */
    struct vmxsim_memory *memory;         /* NULL: the input shows none */
    struct vmxsim_profile *owned_profile; /* `profile`, if it is not built in */

    /* Linux: lines between the first and the last that show a field, and those before and after. */
    uint32_t lines_not_understood, lines_around;
    char *notes; /* what a reader should know, one line each; "" if there is nothing */
};

/*
 * Reads `length` bytes. `name` is for error texts. On success vmxsim_vmcs_reading_free; otherwise `reading` is
 * empty. Errors: VMXC_BAD_FORMAT (not the format, or no field in it), VMXC_UNSUPPORTED (vmcs12 of another
 * revision, or of another vendor), VMXC_NO_MEMORY.
 */
VMXC_MUST_CHECK enum vmxc_status vmxsim_vmcs_read(const void *bytes, size_t length,
                                                  enum vmxsim_vmcs_format format, const char *name,
                                                  struct vmxsim_vmcs_reading *reading,
                                                  struct vmxsim_error *error);

/* The same for a file of at most 64 MBytes; "-" is the standard input. Errors: also VMXC_IO_ERROR. */
VMXC_MUST_CHECK enum vmxc_status vmxsim_vmcs_read_file(const char *path,
                                                       enum vmxsim_vmcs_format format,
                                                       struct vmxsim_vmcs_reading *reading,
                                                       struct vmxsim_error *error);

void vmxsim_vmcs_reading_free(struct vmxsim_vmcs_reading *reading);

/* True if the field with this ordinal is known. */
bool vmxsim_vmcs_is_known(const uint64_t known[VMXSIM_VMCS_KNOWN_WORDS], size_t ordinal);

#ifdef __cplusplus
}
#endif

#endif
