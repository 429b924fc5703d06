/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside of struct vmxsim_profile, and the way from a JSON value to a profile for readers of larger documents.
 */
#ifndef VMXSIM_INTERNAL_PROFILE_H
#define VMXSIM_INTERNAL_PROFILE_H

#include "internal/json.h"
#include "vmxcore/defs/vmcs.h"
#include "vmxsim/profile.h"

struct vmxsim_profile_msr {
    uint32_t index;
    uint64_t value;
};

struct vmxsim_profile_cpuid {
    uint32_t leaf, subleaf;
    uint32_t registers[4]; /* EAX, EBX, ECX, EDX */
};

/* Bits of CPUID that VM-entry checks depend on. */
enum cpuid_register { CPUID_EAX, CPUID_EBX, CPUID_ECX, CPUID_EDX };

enum cpuid_feature {
#define CPUID_FEATURE(name, leaf, subleaf, reg, bit) CPUID_##name,
#include "internal/cpuid_features.def"
    CPUID_FEATURE_COUNT
};

#define VMXSIM_CAPABILITY_MSRS 20u /* 480H to 493H */

struct vmxsim_profile {
    char *name;
    struct vmxsim_features features;
    struct vmxsim_profile_msr *msrs; /* ascending by index */
    size_t msr_count;
    struct vmxsim_profile_cpuid *leaves; /* ascending by leaf and subleaf */
    size_t leaf_count;
    bool has_field[VMXC_VMCS_FIELD_COUNT]; /* by ordinal */
    /* The VMX capability MSRs again, by index, since the VM-entry checks ask for some of them many times. */
    uint64_t capability[VMXSIM_CAPABILITY_MSRS];
    bool has_capability[VMXSIM_CAPABILITY_MSRS];
    bool has_cpuid[CPUID_FEATURE_COUNT]; /* those bits again, for the same reason */
};

/*
 * A profile from a `cpu` object that is part of a larger document; errors name the place. The profile keeps
 * nothing of the document.
 */
VMXC_MUST_CHECK enum vmxc_status vmxsim_profile_from_cpu(const struct vmxsim_json *cpu,
                                                         const char *name,
                                                         struct vmxsim_profile **profile,
                                                         struct vmxsim_error *error);

/* Decodes features from MSRs and CPUID; maxphyaddr and linear_width are set already. */
void vmxsim_profile_decode(struct vmxsim_profile *profile);

/* A file that is part of the library: sim/profiles/<name>.json, embedded at build time. */
struct vmxsim_embedded_text {
    const char *name;
    const char *text; /* not NUL-terminated */
    size_t length;
};

extern const struct vmxsim_embedded_text vmxsim_profile_texts[];
extern const size_t vmxsim_profile_texts_count;

#endif
