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

/* Words as the manual names their bits. `width` of the EPT entry: its level, 1 to 5. */
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

#ifdef __cplusplus
}
#endif

#endif
