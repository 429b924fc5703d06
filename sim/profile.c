/* SPDX-License-Identifier: Apache-2.0 */
#include "internal/profile.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmxcore/defs/controls.h"
#include "vmxcore/defs/msr.h"
#include "vmxsim/vmcs.h"

/* ---- Lookup ---- */

static int compare_msr(const void *key, const void *element)
{
    const uint32_t index = *(const uint32_t *)key;
    const struct vmxsim_profile_msr *msr = element;
    return (index > msr->index) - (index < msr->index);
}

enum vmxc_status vmxsim_profile_msr(const struct vmxsim_profile *profile, uint32_t index,
                                    uint64_t *value)
{
    const uint32_t capability = index - VMXC_MSR_VMX_BASIC; /* other MSRs wrap to large numbers */

    if (capability < VMXSIM_CAPABILITY_MSRS && profile->has_capability[capability]) {
        *value = profile->capability[capability];
        return VMXC_OK;
    }
    if (profile->msr_count == 0)
        return VMXC_NOT_FOUND;
    const struct vmxsim_profile_msr *msr =
        bsearch(&index, profile->msrs, profile->msr_count, sizeof *profile->msrs, compare_msr);
    if (msr == NULL)
        return VMXC_NOT_FOUND;
    *value = msr->value;
    return VMXC_OK;
}

static int compare_leaf(const void *key, const void *element)
{
    const uint64_t wanted = *(const uint64_t *)key;
    const struct vmxsim_profile_cpuid *leaf = element;
    const uint64_t here = (uint64_t)leaf->leaf << 32 | leaf->subleaf;
    return (wanted > here) - (wanted < here);
}

enum vmxc_status vmxsim_profile_cpuid(const struct vmxsim_profile *profile, uint32_t leaf,
                                      uint32_t subleaf, uint32_t registers[4])
{
    if (profile->leaf_count == 0)
        return VMXC_NOT_FOUND;
    const uint64_t key = (uint64_t)leaf << 32 | subleaf;
    const struct vmxsim_profile_cpuid *found =
        bsearch(&key, profile->leaves, profile->leaf_count, sizeof *profile->leaves, compare_leaf);
    if (found == NULL)
        return VMXC_NOT_FOUND;
    memcpy(registers, found->registers, sizeof found->registers);
    return VMXC_OK;
}

bool vmxsim_profile_has_field(const struct vmxsim_profile *profile, uint32_t encoding)
{
    const size_t ordinal = vmxsim_vmcs_ordinal(encoding);
    return ordinal < VMXC_VMCS_FIELD_COUNT && profile->has_field[ordinal];
}

const char *vmxsim_profile_name(const struct vmxsim_profile *profile)
{
    return profile->name;
}

const struct vmxsim_features *vmxsim_profile_features(const struct vmxsim_profile *profile)
{
    return &profile->features;
}

void vmxsim_profile_destroy(struct vmxsim_profile *profile)
{
    if (profile == NULL)
        return;
    free(profile->leaves);
    free(profile->msrs);
    free(profile->name);
    free(profile);
}

/* ---- Features ---- */

/* An MSR the profile does not list reads as zero here: it reports nothing. */
static uint64_t msr_or_zero(const struct vmxsim_profile *profile, uint32_t index)
{
    uint64_t value = 0;
    return vmxsim_profile_msr(profile, index, &value) == VMXC_OK ? value : 0;
}

static struct vmxsim_profile_cpuid leaf_or_zero(const struct vmxsim_profile *profile, uint32_t leaf)
{
    struct vmxsim_profile_cpuid found = {.leaf = leaf};
    if (vmxsim_profile_cpuid(profile, leaf, 0, found.registers) != VMXC_OK)
        memset(found.registers, 0, sizeof found.registers);
    return found;
}

/* Secondary controls that may be 1; none where the primary controls cannot activate them. */
static uint64_t secondary_allowed1(const struct vmxsim_profile *profile)
{
    const bool true_msrs =
        (msr_or_zero(profile, VMXC_MSR_VMX_BASIC) & VMXC_VMX_BASIC_TRUE_CONTROLS) != 0;
    const uint64_t primary = msr_or_zero(profile, true_msrs ? VMXC_MSR_VMX_TRUE_PROCBASED_CTLS
                                                            : VMXC_MSR_VMX_PROCBASED_CTLS);
    const uint64_t primary_allowed1 = VMXC_FIELD_GET(primary, VMXC_VMX_CTLS_ALLOWED1);
    if ((primary_allowed1 & VMXC_PRIMARY_ACTIVATE_SECONDARY_CONTROLS) == 0)
        return 0;
    return VMXC_FIELD_GET(msr_or_zero(profile, VMXC_MSR_VMX_PROCBASED_CTLS2),
                          VMXC_VMX_CTLS_ALLOWED1);
}

static void decode_ept(const struct vmxsim_profile *profile, struct vmxsim_features *features)
{
    const uint64_t secondary = secondary_allowed1(profile);
    features->ept = (secondary & VMXC_SECONDARY_ENABLE_EPT) != 0;
    features->mode_based_execute = (secondary & VMXC_SECONDARY_MODE_BASED_EXECUTE_CONTROL) != 0;
    features->pml = (secondary & VMXC_SECONDARY_ENABLE_PML) != 0;
    features->ept_violation_ve = (secondary & VMXC_SECONDARY_EPT_VIOLATION_VE) != 0;
    features->sub_page_permissions = (secondary & VMXC_SECONDARY_SUB_PAGE_WRITE_PERMISSIONS) != 0;
    if (!features->ept)
        return; /* the capability MSR exists for VPID alone as well; its EPT bits then mean nothing */

    const uint64_t cap = msr_or_zero(profile, VMXC_MSR_VMX_EPT_VPID_CAP);
    features->ept_execute_only = (cap & VMXC_EPT_VPID_CAP_EXECUTE_ONLY) != 0;
    features->ept_walk_4 = (cap & VMXC_EPT_VPID_CAP_WALK_4) != 0;
    features->ept_walk_5 = (cap & VMXC_EPT_VPID_CAP_WALK_5) != 0;
    features->ept_memory_type_uc = (cap & VMXC_EPT_VPID_CAP_MEMORY_TYPE_UC) != 0;
    features->ept_memory_type_wb = (cap & VMXC_EPT_VPID_CAP_MEMORY_TYPE_WB) != 0;
    features->ept_2m = (cap & VMXC_EPT_VPID_CAP_PAGE_2M) != 0;
    features->ept_1g = (cap & VMXC_EPT_VPID_CAP_PAGE_1G) != 0;
    features->ept_accessed_dirty = (cap & VMXC_EPT_VPID_CAP_ACCESSED_DIRTY) != 0;
    features->ept_advanced_info = (cap & VMXC_EPT_VPID_CAP_ADVANCED_INFO) != 0;
    features->ept_shadow_stack = (cap & VMXC_EPT_VPID_CAP_SHADOW_STACK) != 0;
}

enum { EAX, EBX, ECX, EDX };

static bool has_bit(const struct vmxsim_profile_cpuid *leaf, int reg, unsigned int bit)
{
    return (leaf->registers[reg] >> bit & 1) != 0;
}

/* Source: Intel SDM volume 2, "CPUID - CPU Identification". */
static void decode_paging(const struct vmxsim_profile *profile, struct vmxsim_features *features)
{
    const struct vmxsim_profile_cpuid version = leaf_or_zero(profile, 0x1);
    features->pse = has_bit(&version, EDX, 3);
    features->pae = has_bit(&version, EDX, 6);
    features->pge = has_bit(&version, EDX, 13);
    features->pat = has_bit(&version, EDX, 16);
    features->pse36 = has_bit(&version, EDX, 17);
    features->pcid = has_bit(&version, ECX, 17);

    const struct vmxsim_profile_cpuid structured = leaf_or_zero(profile, 0x7);
    features->smep = has_bit(&structured, EBX, 7);
    features->smap = has_bit(&structured, EBX, 20);
    features->pku = has_bit(&structured, ECX, 3);
    features->cet_shadow_stack = has_bit(&structured, ECX, 7);
    features->la57 = has_bit(&structured, ECX, 16);
    features->pks = has_bit(&structured, ECX, 31);

    const struct vmxsim_profile_cpuid extended = leaf_or_zero(profile, 0x80000001);
    features->nx = has_bit(&extended, EDX, 20);
    features->page_1g = has_bit(&extended, EDX, 26);
}

static void index_capabilities(struct vmxsim_profile *profile)
{
    for (size_t i = 0; i < profile->msr_count; i++) {
        const uint32_t capability = profile->msrs[i].index - VMXC_MSR_VMX_BASIC;
        if (capability < VMXSIM_CAPABILITY_MSRS) {
            profile->capability[capability] = profile->msrs[i].value;
            profile->has_capability[capability] = true;
        }
    }
}

static void index_cpuid(struct vmxsim_profile *profile)
{
    static const struct {
        uint32_t leaf;
        uint8_t subleaf, reg, bit;
    } where[CPUID_FEATURE_COUNT] = {
#define CPUID_FEATURE(name, leaf, subleaf, reg, bit) [CPUID_##name] = {leaf, subleaf, reg, bit},
#include "internal/cpuid_features.def"
    };

    for (size_t i = 0; i < CPUID_FEATURE_COUNT; i++) {
        uint32_t registers[4];
        if (vmxsim_profile_cpuid(profile, where[i].leaf, where[i].subleaf, registers) == VMXC_OK)
            profile->has_cpuid[i] = registers[where[i].reg] >> where[i].bit & 1;
    }
}

void vmxsim_profile_decode(struct vmxsim_profile *profile)
{
    index_capabilities(profile);
    index_cpuid(profile);
    decode_ept(profile, &profile->features);
    decode_paging(profile, &profile->features);
}

/* ---- Built-in profiles ---- */

/*
 * Parsed on first use, then constant for the life of the process: the only mutable objects of the library that
 * no caller owns. No lock and no thread library: two threads that come first at the same time both parse;
 * one publishes its copy, the other throws its own away and uses the published one.
 */
enum { BUILTIN_COUNT = 4 };

static _Atomic(struct vmxsim_profile *) builtins[BUILTIN_COUNT];

const char *vmxsim_profile_builtin_name(size_t index)
{
    return index < vmxsim_profile_texts_count ? vmxsim_profile_texts[index].name : NULL;
}

static bool find_builtin(const char *name, size_t *index)
{
    for (size_t i = 0; i < vmxsim_profile_texts_count && i < BUILTIN_COUNT; i++) {
        if (strcmp(vmxsim_profile_texts[i].name, name) == 0) {
            *index = i;
            return true;
        }
    }
    return false;
}

static enum vmxc_status load_builtin(size_t index, const struct vmxsim_profile **profile,
                                     struct vmxsim_error *error)
{
    struct vmxsim_profile *published = atomic_load_explicit(&builtins[index], memory_order_acquire);
    if (published == NULL) {
        const struct vmxsim_embedded_text *text = &vmxsim_profile_texts[index];
        struct vmxsim_profile *mine;
        VMXC_TRY(vmxsim_profile_from_json(text->text, text->length, text->name, &mine, error));
        if (atomic_compare_exchange_strong_explicit(&builtins[index], &published, mine,
                                                    memory_order_acq_rel, memory_order_acquire))
            published = mine;
        else
            vmxsim_profile_destroy(mine);
    }
    *profile = published;
    return VMXC_OK;
}

const struct vmxsim_profile *vmxsim_profile_builtin(const char *name)
{
    size_t index;
    const struct vmxsim_profile *profile;
    if (name == NULL || !find_builtin(name, &index) ||
        load_builtin(index, &profile, NULL) != VMXC_OK)
        return NULL;
    return profile;
}

/* What could not be opened may have been meant as a name. */
static void mention_names(struct vmxsim_error *error)
{
    if (error == NULL)
        return;
    const size_t length = strlen(error->text);
    (void)snprintf(error->text + length, sizeof error->text - length,
                   " (and no built-in profile has this name)");
}

enum vmxc_status vmxsim_profile_open(const char *name_or_path,
                                     const struct vmxsim_profile **profile, bool *owned,
                                     struct vmxsim_error *error)
{
    size_t index;
    if (find_builtin(name_or_path, &index)) {
        VMXC_TRY(load_builtin(index, profile, error));
        *owned = false;
        return VMXC_OK;
    }
    struct vmxsim_profile *loaded;
    const enum vmxc_status status = vmxsim_profile_from_file(name_or_path, &loaded, error);
    if (status == VMXC_IO_ERROR)
        mention_names(error);
    if (status != VMXC_OK)
        return status;
    *profile = loaded;
    *owned = true;
    return VMXC_OK;
}
