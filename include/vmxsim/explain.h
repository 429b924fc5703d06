/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Verdicts for people and for programs: aligned text and JSON.
 * Every string is allocated; the caller frees it with free(). NULL means that host memory ran out.
 */
#ifndef VMXSIM_EXPLAIN_H
#define VMXSIM_EXPLAIN_H

#include "vmxsim/cpu.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * An access, its outcome and its trail (which may be NULL): one line per entry that says where it lies, what it
 * holds and why it was used or why it stopped the walk; then the outcome, the rule and its section.
 */
char *vmxsim_explain_access(const struct vmxsim_access *access,
                            const struct vmxsim_outcome *outcome, const struct vmxsim_trail *trail);
char *vmxsim_explain_access_json(const struct vmxsim_access *access,
                                 const struct vmxsim_outcome *outcome,
                                 const struct vmxsim_trail *trail);

/* A hardware word taken apart: its fields from the highest bit down, as far as they say something. */
#define VMXSIM_DECODED_MAX_FIELDS 32u

struct vmxsim_decoded_field {
    uint8_t high, low; /* bits high:low */
    bool wrong;        /* reserved, or a value the processor does not accept */
    uint64_t value;    /* of the field, shifted down */
    const char *name;  /* static */
    char meaning[96];
};

struct vmxsim_decoded {
    const char *title; /* static: "EPT PDE" ... */
    uint64_t raw;
    bool valid; /* no field is wrong */
    uint32_t count;
    struct vmxsim_decoded_field field[VMXSIM_DECODED_MAX_FIELDS];
};

/*
 * Words as the manual names their bits. What is reserved depends on the processor: `features` of its profile.
 * `level` of an EPT entry: 1 (PTE) to 5 (PML5E); other levels are treated as the nearest of these.
 * Sources: Intel SDM volume 3, "Exit Qualification for EPT Violations", "Extended-Page-Table Pointer (EPTP)",
 * "EPT Translation Mechanism", "Page-Fault Exceptions".
 */
void vmxsim_decode_qualification(uint64_t qualification, struct vmxsim_decoded *decoded);
void vmxsim_decode_eptp(uint64_t eptp, const struct vmxsim_features *features,
                        struct vmxsim_decoded *decoded);
void vmxsim_decode_ept_entry(uint64_t entry, unsigned level, const struct vmxsim_features *features,
                             struct vmxsim_decoded *decoded);
void vmxsim_decode_page_fault_error(uint32_t error_code, struct vmxsim_decoded *decoded);

/* One line per field, and the same as a JSON object. */
char *vmxsim_decoded_text(const struct vmxsim_decoded *decoded);
char *vmxsim_decoded_json(const struct vmxsim_decoded *decoded);

/* vmxsim_decoded_text of the above. */
char *vmxsim_explain_qualification(uint64_t qualification); /* of an EPT violation */
char *vmxsim_explain_eptp(uint64_t eptp, const struct vmxsim_features *features);
char *vmxsim_explain_ept_entry(uint64_t entry, unsigned level,
                               const struct vmxsim_features *features);
char *vmxsim_explain_page_fault_error(uint32_t error_code);

/* Static names; NULL if there is none. */
const char *vmxsim_exit_reason_name(uint32_t basic_reason);
const char *vmxsim_vm_instruction_error_text(uint32_t number);
const char *vmxsim_vector_name(uint8_t vector); /* "#PF" */
const char *vmxsim_memory_type_name(enum vmxc_memory_type type);
const char *
vmxsim_access_type_name(enum vmxsim_access_type type); /* "fetch", "read", "write", "rmw" */

#ifdef __cplusplus
}
#endif

#endif
