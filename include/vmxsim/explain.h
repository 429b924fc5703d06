/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Verdicts for people and for programs: aligned text and JSON.
 * Every string is allocated; the caller frees it with free(). NULL means that host memory ran out.
 */
#ifndef VMXSIM_EXPLAIN_H
#define VMXSIM_EXPLAIN_H

#include "vmxcore/defs/controls.h"
#include "vmxsim/cpu.h"
#include "vmxsim/entry.h"
#include "vmxsim/hazard.h"

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

/*
 * What vmxsim_entry_check found: what the processor may report; then the violated rules, by stage and section,
 * each with its sentence, the fields it looks at, the bits at fault by name and the smallest change; then what
 * could not be decided, and counts.
 */
char *vmxsim_explain_entry(const struct vmxsim_entry_input *input,
                           const struct vmxsim_entry_report *report);
char *vmxsim_explain_entry_json(const struct vmxsim_entry_input *input,
                                const struct vmxsim_entry_report *report);

/* A rule with its section, what breaking it leads to, its sentence, how it was cross-checked and its tests. */
char *vmxsim_explain_entry_rule(enum vmxsim_entry_rule rule);
char *vmxsim_explain_entry_rule_json(enum vmxsim_entry_rule rule);

/* What breaking a rule of the group leads to: "VM-instruction error 7", "exit reason 33" ...; static. */
const char *vmxsim_entry_group_outcome(enum vmxsim_entry_group group);

/*
 * Where two VMCSs differ: one line per field, with the bits by name; fields that only one of them knows. `known`
 * as in struct vmxsim_entry_input. `*different` is the number of fields with two different values.
 */
char *vmxsim_explain_vmcs_difference(const struct vmxsim_vmcs *a, const uint64_t *known_a,
                                     const struct vmxsim_vmcs *b, const uint64_t *known_b,
                                     uint32_t *different);
char *vmxsim_explain_vmcs_difference_json(const struct vmxsim_vmcs *a, const uint64_t *known_a,
                                          const struct vmxsim_vmcs *b, const uint64_t *known_b,
                                          uint32_t *different);

/* What happened to which region, the rule and its section. */
char *vmxsim_explain_hazard(const struct vmxsim_hazard *hazard);
char *vmxsim_explain_hazard_json(const struct vmxsim_hazard *hazard);

/* A hardware word taken apart: its fields from the highest bit down, as far as they say something. */
#define VMXSIM_DECODED_MAX_FIELDS 40u /* 32 runs of nameless bits, 8 fields that are 0 */

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

/*
 * Words of the VMCS. What controls may and must be 1 follows the capability MSRs of the profile. Sources: SDM
 * volume 3, "VM-Execution Control Fields", "Guest Register State", "Information for VM Exits Due to Vectored
 * Events", "Exit Qualification for Control-Register Accesses", "Exit Qualification for I/O Instructions".
 */
void vmxsim_decode_controls(enum vmxc_control_word word, uint64_t value,
                            const struct vmxsim_profile *profile, struct vmxsim_decoded *decoded);
void vmxsim_decode_access_rights(uint32_t rights, struct vmxsim_decoded *decoded);
void vmxsim_decode_vm_functions(uint64_t value, const struct vmxsim_profile *profile,
                                struct vmxsim_decoded *decoded);
void vmxsim_decode_exception_bitmap(uint32_t bitmap, struct vmxsim_decoded *decoded);
void vmxsim_decode_activity(uint32_t state, struct vmxsim_decoded *decoded);
void vmxsim_decode_interruptibility(uint32_t state, struct vmxsim_decoded *decoded);
void vmxsim_decode_pending_debug(uint64_t pending, struct vmxsim_decoded *decoded);

/* The fields that describe events differ in the types they hold and in bit 12. */
enum vmxsim_interruption_field {
    VMXSIM_INTERRUPTION_ANY, /* not known which: what at least one of them may hold */
    VMXSIM_INTERRUPTION_ENTRY,
    VMXSIM_INTERRUPTION_EXIT,
    VMXSIM_INTERRUPTION_IDT_VECTORING,
    VMXSIM_INTERRUPTION_FIELD_COUNT
};
void vmxsim_decode_interruption_info(enum vmxsim_interruption_field field, uint32_t information,
                                     struct vmxsim_decoded *decoded);
void vmxsim_decode_io_qualification(uint64_t qualification, struct vmxsim_decoded *decoded);
void vmxsim_decode_cr_qualification(uint64_t qualification, struct vmxsim_decoded *decoded);

/*
 * What a VM exit records. Layouts of the exit qualification and of the VM-exit instruction information follow from the
 * basic exit reason; false, with `decoded` untouched, for a number that is none. `vector` of the event matters for
 * exit reason 0. Source: SDM volume 3, "Basic VM-Exit Information", "Information for VM Exits Due to Instruction
 * Execution".
 */
void vmxsim_decode_exit_reason(uint32_t reason, struct vmxsim_decoded *decoded);
bool vmxsim_decode_exit_qualification(uint32_t reason, uint8_t vector, uint64_t qualification,
                                      struct vmxsim_decoded *decoded);
bool vmxsim_decode_instruction_info(uint32_t reason, uint32_t information,
                                    struct vmxsim_decoded *decoded);

/* Static name of a control word, "pin" to "secondary-exit" (NULL: none), and its width in bits (0: none). */
const char *vmxsim_control_word_name(enum vmxc_control_word word);
unsigned vmxsim_control_word_width(enum vmxc_control_word word);

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
