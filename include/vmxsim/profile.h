/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A profile: the capability MSRs, CPUID leaves and VMCS fields of one processor. The model obeys the profile and
 * never a built-in assumption.
 * Source of the features: Intel SDM volume 3, "VMX Capability Reporting Facility"; volume 2, "CPUID - CPU Identification".
 *
 * Built-in profiles: "icelake", "skylake", "tigerlake" (captured) and "everything" (every feature that this
 * library has a name for). Others are loaded from JSON: the `cpu` object of a vector header, or a file that holds it.
 */
#ifndef VMXSIM_PROFILE_H
#define VMXSIM_PROFILE_H

#include "vmxsim/error.h"

#ifdef __cplusplus
extern "C" {
#endif

struct vmxsim_profile; /* opaque, immutable */

/* What the rules ask most often, decoded once. */
struct vmxsim_features {
    uint8_t maxphyaddr;   /* bits of a physical address */
    uint8_t linear_width; /* bits of a linear address the processor supports: 48 or 57 */

    bool ept; /* "enable EPT" may be 1 */
    bool ept_execute_only;
    bool ept_walk_4, ept_walk_5;
    bool ept_memory_type_uc, ept_memory_type_wb;
    bool ept_2m, ept_1g;
    bool ept_accessed_dirty;
    bool ept_advanced_info; /* advanced VM-exit information for EPT violations */
    bool ept_shadow_stack;  /* supervisor shadow-stack control */
    bool mode_based_execute;
    bool pml;
    bool ept_violation_ve;
    bool sub_page_permissions;

    bool pse, pse36, pae, pat, pge, page_1g, nx, pcid, smep, smap, pku, pks, la57, cet_shadow_stack;
};

/*
 * A built-in profile by name; lives as long as the process. Any thread may ask. NULL: no such profile, or no host
 * memory on the first use.
 */
const struct vmxsim_profile *vmxsim_profile_builtin(const char *name);

/* Name of the index-th built-in profile; NULL behind the last. */
const char *vmxsim_profile_builtin_name(size_t index);

/*
 * Loads a profile from JSON text or from a file. The text is a `cpu` object, or an object with a member
 * `cpu` (a vector header); of a file whose name ends in ".jsonl", the first line is read. `name` is copied (NULL:
 * "(unnamed)"); a file's profile is named by its path. All five keys of the `cpu` object must be there, and
 * the address widths must agree with CPUID leaf 80000008H where it is listed.
 * Errors: VMXC_BAD_FORMAT, VMXC_IO_ERROR, VMXC_NO_MEMORY; `error` names the key.
 */
VMXC_MUST_CHECK enum vmxc_status vmxsim_profile_from_json(const char *text, size_t length,
                                                          const char *name,
                                                          struct vmxsim_profile **profile,
                                                          struct vmxsim_error *error);
VMXC_MUST_CHECK enum vmxc_status vmxsim_profile_from_file(const char *path,
                                                          struct vmxsim_profile **profile,
                                                          struct vmxsim_error *error);

/* Built-in name if there is one, otherwise a file. `*owned` says whether to destroy the result. */
VMXC_MUST_CHECK enum vmxc_status vmxsim_profile_open(const char *name_or_path,
                                                     const struct vmxsim_profile **profile,
                                                     bool *owned, struct vmxsim_error *error);

void vmxsim_profile_destroy(struct vmxsim_profile *profile);

const char *vmxsim_profile_name(const struct vmxsim_profile *profile);
const struct vmxsim_features *vmxsim_profile_features(const struct vmxsim_profile *profile);

/* An MSR's value. Errors: VMXC_NOT_FOUND. */
VMXC_MUST_CHECK enum vmxc_status vmxsim_profile_msr(const struct vmxsim_profile *profile,
                                                    uint32_t index, uint64_t *value);

/* EAX, EBX, ECX, EDX of a leaf. Errors: VMXC_NOT_FOUND. */
VMXC_MUST_CHECK enum vmxc_status vmxsim_profile_cpuid(const struct vmxsim_profile *profile,
                                                      uint32_t leaf, uint32_t subleaf,
                                                      uint32_t registers[4]);

/* True if the VMCS field with this full (even) encoding exists. */
bool vmxsim_profile_has_field(const struct vmxsim_profile *profile, uint32_t encoding);

/* The profile as a JSON `cpu` object; the caller frees the string. NULL: no memory. */
char *vmxsim_profile_to_json(const struct vmxsim_profile *profile);

#ifdef __cplusplus
}
#endif

#endif
