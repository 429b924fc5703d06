/* SPDX-License-Identifier: Apache-2.0 */
/* Features of a profile, each from its bit, and the built-in profiles. */
#include <check.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmxcore/defs/controls.h"
#include "vmxcore/defs/msr.h"
#include "vmxsim/profile.h"
#include "vmxsim/vmcs.h"

static struct vmxsim_profile *load(const char *text)
{
    struct vmxsim_profile *profile = NULL;
    struct vmxsim_error error = {0};
    ck_assert_msg(vmxsim_profile_from_json(text, strlen(text), "test", &profile, &error) == VMXC_OK,
                  "%s", error.text);
    return profile;
}

/* ---- Features, one bit at a time ---- */

/* Capability MSRs with one bit each; the masks are written out as the manual numbers them. */
struct msr_bits {
    uint64_t basic, primary, true_primary, secondary, ept_cap;
};

static struct vmxsim_features features_of(const struct msr_bits *bits, const char *leaf,
                                          const uint32_t registers[4])
{
    char text[1024];
    (void)snprintf(text, sizeof text,
                   "{\"maxphyaddr\": 40, \"linear_width\": 48, \"msr\": {\"0x480\": \"0x%llx\","
                   " \"0x482\": \"0x%llx\", \"0x48b\": \"0x%llx\", \"0x48c\": \"0x%llx\","
                   " \"0x48e\": \"0x%llx\"}, \"cpuid\": {\"%s\": [\"0x%x\", \"0x%x\", \"0x%x\","
                   " \"0x%x\"]}, \"vmcs_fields\": []}",
                   (unsigned long long)bits->basic, (unsigned long long)bits->primary,
                   (unsigned long long)bits->secondary, (unsigned long long)bits->ept_cap,
                   (unsigned long long)bits->true_primary, leaf, registers[0], registers[1],
                   registers[2], registers[3]);
    struct vmxsim_profile *profile = load(text);
    const struct vmxsim_features features = *vmxsim_profile_features(profile);
    vmxsim_profile_destroy(profile);
    return features;
}

static const uint32_t no_registers[4] = {0};

/* Of a feature, where it is in struct vmxsim_features and which bit reports it. */
#define FEATURE(member) offsetof(struct vmxsim_features, member)

static bool feature_at(const struct vmxsim_features *features, size_t offset)
{
    return *((const bool *)features + offset);
}

/* Number of features that are on. */
static unsigned int features_on(const struct vmxsim_features *features)
{
    unsigned int on = 0;
    for (size_t offset = FEATURE(ept); offset < sizeof *features; offset++)
        on += feature_at(features, offset);
    return on;
}

static const struct {
    unsigned int bit;
    size_t feature;
} ept_cap_bits[] = {
    {0, FEATURE(ept_execute_only)},
    {6, FEATURE(ept_walk_4)},
    {7, FEATURE(ept_walk_5)},
    {8, FEATURE(ept_memory_type_uc)},
    {14, FEATURE(ept_memory_type_wb)},
    {16, FEATURE(ept_2m)},
    {17, FEATURE(ept_1g)},
    {21, FEATURE(ept_accessed_dirty)},
    {22, FEATURE(ept_advanced_info)},
    {23, FEATURE(ept_shadow_stack)},
};

static const struct {
    unsigned int bit;
    size_t feature;
} secondary_bits[] = {
    {1, FEATURE(ept)},
    {17, FEATURE(pml)},
    {18, FEATURE(ept_violation_ve)},
    {22, FEATURE(mode_based_execute)},
    {23, FEATURE(sub_page_permissions)},
};

static const struct {
    const char *leaf;
    unsigned int reg, bit;
    size_t feature;
} cpuid_bits[] = {
    {"0x1.0", 3, 3, FEATURE(pse)},        {"0x1.0", 3, 6, FEATURE(pae)},
    {"0x1.0", 3, 13, FEATURE(pge)},       {"0x1.0", 3, 16, FEATURE(pat)},
    {"0x1.0", 3, 17, FEATURE(pse36)},     {"0x1.0", 2, 17, FEATURE(pcid)},
    {"0x7.0", 1, 7, FEATURE(smep)},       {"0x7.0", 1, 20, FEATURE(smap)},
    {"0x7.0", 2, 3, FEATURE(pku)},        {"0x7.0", 2, 7, FEATURE(cet_shadow_stack)},
    {"0x7.0", 2, 16, FEATURE(la57)},      {"0x7.0", 2, 31, FEATURE(pks)},
    {"0x80000001.0", 3, 20, FEATURE(nx)}, {"0x80000001.0", 3, 26, FEATURE(page_1g)},
};

#define SECONDARY_ALLOWED (UINT64_C(1) << 63) /* allowed-1 of primary control 31 */
#define EPT_ALLOWED       (UINT64_C(1) << 33) /* allowed-1 of secondary control 1 */

START_TEST(each_ept_capability_comes_from_its_bit)
{
    for (unsigned int bit = 0; bit < 64; bit++) {
        const struct msr_bits msrs = {
            .primary = SECONDARY_ALLOWED, .secondary = EPT_ALLOWED, .ept_cap = UINT64_C(1) << bit};
        const struct vmxsim_features features = features_of(&msrs, "0x0.0", no_registers);
        unsigned int expected = 1; /* EPT itself */
        for (size_t i = 0; i < sizeof ept_cap_bits / sizeof ept_cap_bits[0]; i++) {
            const bool on = ept_cap_bits[i].bit == bit;
            ck_assert_msg(feature_at(&features, ept_cap_bits[i].feature) == on, "bit %u row %zu",
                          bit, i);
            expected += on;
        }
        ck_assert_uint_eq(features_on(&features), expected);
    }
}
END_TEST

START_TEST(without_ept_its_capabilities_mean_nothing)
{
    const struct msr_bits no_ept = {
        .primary = SECONDARY_ALLOWED, .secondary = 0, .ept_cap = UINT64_MAX};
    const struct msr_bits no_secondary = {.primary = ~SECONDARY_ALLOWED,
                                          .true_primary = UINT64_MAX, /* exists only with bit 55 */
                                          .secondary = UINT64_MAX,
                                          .ept_cap = UINT64_MAX};
    struct vmxsim_features features = features_of(&no_ept, "0x0.0", no_registers);
    ck_assert_uint_eq(features_on(&features), 0);
    features = features_of(&no_secondary, "0x0.0", no_registers);
    ck_assert_uint_eq(features_on(&features), 0);
}
END_TEST

START_TEST(each_secondary_control_comes_from_its_allowed_1_bit)
{
    for (unsigned int bit = 0; bit < 64; bit++) {
        const struct msr_bits msrs = {.primary = SECONDARY_ALLOWED,
                                      .secondary = UINT64_C(1) << bit};
        const struct vmxsim_features features = features_of(&msrs, "0x0.0", no_registers);
        unsigned int expected = 0;
        for (size_t i = 0; i < sizeof secondary_bits / sizeof secondary_bits[0]; i++) {
            const bool on = secondary_bits[i].bit + 32 == bit;
            ck_assert_msg(feature_at(&features, secondary_bits[i].feature) == on, "bit %u row %zu",
                          bit, i);
            expected += on;
        }
        ck_assert_uint_eq(features_on(&features), expected);
    }
}
END_TEST

START_TEST(the_true_msr_decides_where_it_exists)
{
    const uint64_t true_controls = UINT64_C(1) << 55;
    for (unsigned int mask = 0; mask < 8; mask++) {
        const struct msr_bits msrs = {.basic = mask & 1 ? true_controls : 0,
                                      .primary = mask & 2 ? SECONDARY_ALLOWED : 0,
                                      .true_primary = mask & 4 ? SECONDARY_ALLOWED : 0,
                                      .secondary = EPT_ALLOWED};
        const bool expected = (mask & 1 ? mask & 4 : mask & 2) != 0;
        ck_assert_msg(features_of(&msrs, "0x0.0", no_registers).ept == expected, "mask %u", mask);
    }
}
END_TEST

START_TEST(each_paging_feature_comes_from_its_cpuid_bit)
{
    static const char *const leaves[] = {"0x1.0", "0x7.0", "0x80000001.0", "0x7.1", "0x1.1"};
    for (size_t leaf = 0; leaf < 5; leaf++) {
        for (unsigned int position = 0; position < 128; position++) {
            const struct msr_bits none = {0};
            uint32_t registers[4] = {0};
            registers[position / 32] = UINT32_C(1) << position % 32;
            const struct vmxsim_features features = features_of(&none, leaves[leaf], registers);
            unsigned int expected = 0;
            for (size_t i = 0; i < sizeof cpuid_bits / sizeof cpuid_bits[0]; i++) {
                const bool on = strcmp(cpuid_bits[i].leaf, leaves[leaf]) == 0 &&
                                cpuid_bits[i].reg * 32 + cpuid_bits[i].bit == position;
                ck_assert_msg(feature_at(&features, cpuid_bits[i].feature) == on,
                              "leaf %s position %u row %zu", leaves[leaf], position, i);
                expected += on;
            }
            ck_assert_uint_eq(features_on(&features), expected);
        }
    }
}
END_TEST

/* ---- Built-in profiles ---- */

static const char *const builtin_names[] = {"icelake", "skylake", "tigerlake", "everything"};

START_TEST(built_in_profiles_are_listed_and_found)
{
    for (size_t i = 0; i < 4; i++) {
        ck_assert_str_eq(vmxsim_profile_builtin_name(i), builtin_names[i]);
        const struct vmxsim_profile *profile = vmxsim_profile_builtin(builtin_names[i]);
        ck_assert_ptr_nonnull(profile);
        ck_assert_str_eq(vmxsim_profile_name(profile), builtin_names[i]);
        ck_assert_ptr_eq(vmxsim_profile_builtin(builtin_names[i]), profile);
    }
    ck_assert_ptr_null(vmxsim_profile_builtin_name(4));
    ck_assert_ptr_null(vmxsim_profile_builtin("pentium"));
    ck_assert_ptr_null(vmxsim_profile_builtin(""));
    ck_assert_ptr_null(vmxsim_profile_builtin(NULL));
}
END_TEST

static void *fetch_builtin(void *name)
{
    return (void *)(uintptr_t)vmxsim_profile_builtin(name);
}

START_TEST(threads_that_come_first_together_get_the_same_profile)
{
    enum { THREADS = 16 };
    pthread_t threads[THREADS];
    void *profiles[THREADS];
    char name[] = "everything";
    for (int i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, fetch_builtin, name), 0);
    for (int i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_join(threads[i], &profiles[i]), 0);
    for (int i = 0; i < THREADS; i++)
        ck_assert_ptr_eq(profiles[i], vmxsim_profile_builtin(name));
}
END_TEST

/* What is known of the processors that the captured profiles come from. */
START_TEST(captured_profiles_have_what_their_processors_have)
{
    static const struct {
        const char *name;
        bool pml, pku, cet;
        unsigned int fields;
    } rows[] = {{"skylake", true, false, false, 151},
                {"icelake", true, true, false, 152},
                {"tigerlake", true, true, true, 158}};
    const struct vmxsim_profile *profile = vmxsim_profile_builtin(rows[_i].name);
    const struct vmxsim_features *features = vmxsim_profile_features(profile);
    unsigned int fields = 0;
    for (uint32_t encoding = 0; encoding < 0x8000; encoding++)
        fields += vmxsim_profile_has_field(profile, encoding);
    ck_assert_uint_eq(fields, rows[_i].fields);
    ck_assert_uint_eq(features->maxphyaddr, 40);
    ck_assert_uint_eq(features->linear_width, 48);
    ck_assert(features->ept && features->ept_walk_4 && !features->ept_walk_5);
    ck_assert(features->ept_accessed_dirty && features->ept_2m && features->ept_1g);
    ck_assert(!features->mode_based_execute && !features->la57);
    ck_assert_int_eq(features->pml, rows[_i].pml);
    ck_assert_int_eq(features->pku, rows[_i].pku);
    ck_assert_int_eq(features->cet_shadow_stack, rows[_i].cet);
}
END_TEST

/* ---- The profile with everything ---- */

static uint64_t everything_msr(uint32_t index)
{
    uint64_t value = 0;
    ck_assert_msg(vmxsim_profile_msr(vmxsim_profile_builtin("everything"), index, &value) ==
                      VMXC_OK,
                  "MSR %#x", index);
    return value;
}

START_TEST(everything_has_each_feature_and_each_field)
{
    const struct vmxsim_profile *profile = vmxsim_profile_builtin("everything");
    const struct vmxsim_features *features = vmxsim_profile_features(profile);
    ck_assert_uint_eq(features->maxphyaddr, 52);
    ck_assert_uint_eq(features->linear_width, 57);
    ck_assert_uint_eq(features_on(features), sizeof *features - FEATURE(ept));
#define VMXC_VMCS_FIELD(encoding, width, type, name, feature) \
    ck_assert_msg(vmxsim_profile_has_field(profile, encoding), #name);
#include "vmxcore/defs/vmcs_fields.def"
}
END_TEST

/* The MSRs that report each control word, and the bits that are reserved to 1 (default1). */
static const struct {
    uint32_t msr, true_msr;
    uint64_t default1, true_default1;
} control_words[VMXC_CONTROL_WORD_COUNT] = {
    [VMXC_CONTROL_WORD_PIN] = {0x481, 0x48d, 0x16, 0x16},
    [VMXC_CONTROL_WORD_PRIMARY] = {0x482, 0x48e, 0x0401e172, 0x04006172},
    [VMXC_CONTROL_WORD_SECONDARY] = {0x48b, 0x48b, 0, 0},
    [VMXC_CONTROL_WORD_TERTIARY] = {0x492, 0x492, 0, 0},
    [VMXC_CONTROL_WORD_EXIT] = {0x483, 0x48f, 0x36dff, 0x36dfb},
    [VMXC_CONTROL_WORD_SECONDARY_EXIT] = {0x493, 0x493, 0, 0},
    [VMXC_CONTROL_WORD_ENTRY] = {0x484, 0x490, 0x11ff, 0x11fb},
};

START_TEST(everything_allows_each_named_control_and_no_other)
{
    uint64_t named[VMXC_CONTROL_WORD_COUNT] = {0};
#define VMXC_CONTROL(word, bit, name, manual_name) \
    named[VMXC_CONTROL_WORD_##word] |= UINT64_C(1) << (bit);
#include "vmxcore/defs/controls.def"
    for (size_t i = 0; i < VMXC_CONTROL_WORD_COUNT; i++) {
        const uint64_t plain = everything_msr(control_words[i].msr);
        const uint64_t with_true = everything_msr(control_words[i].true_msr);
        if (i == VMXC_CONTROL_WORD_TERTIARY || i == VMXC_CONTROL_WORD_SECONDARY_EXIT) {
            ck_assert_uint_eq(plain, named[i]); /* 64 bits of allowed-1 settings */
            continue;
        }
        const uint64_t allowed1 = named[i] | control_words[i].default1;
        ck_assert_uint_eq(plain >> 32, allowed1);
        ck_assert_uint_eq(plain & UINT32_MAX, control_words[i].default1);
        ck_assert_uint_eq(with_true >> 32, allowed1);
        ck_assert_uint_eq(with_true & UINT32_MAX, control_words[i].true_default1);
    }
}
END_TEST

START_TEST(everything_reports_consistent_capabilities)
{
    uint32_t highest_index = 0;
    for (size_t i = 0; i < VMXC_VMCS_FIELD_COUNT; i++) {
        const uint32_t index = vmxsim_vmcs_encoding(i) & (uint32_t)VMXC_VMCS_ENCODING_INDEX;
        highest_index = index > highest_index ? index : highest_index;
    }
    ck_assert_uint_eq(everything_msr(VMXC_MSR_VMX_VMCS_ENUM), highest_index);

    const uint64_t basic = everything_msr(VMXC_MSR_VMX_BASIC);
    ck_assert_uint_eq(VMXC_FIELD_GET(basic, VMXC_VMX_BASIC_REGION_SIZE), 4096);
    ck_assert_uint_eq(VMXC_FIELD_GET(basic, VMXC_VMX_BASIC_MEMORY_TYPE), 6);
    ck_assert_uint_eq(basic & VMXC_VMX_BASIC_ADDRESS_32, 0);
    ck_assert_uint_ne(basic & VMXC_VMX_BASIC_TRUE_CONTROLS, 0);

    /* A control register bit that must be 1 may be 1; VMX operation needs PE, NE, PG and VMXE. */
    ck_assert_uint_eq(everything_msr(0x486), 0x80000021);
    ck_assert_uint_eq(everything_msr(0x486) & ~everything_msr(0x487), 0);
    ck_assert_uint_eq(everything_msr(0x488), 0x2000);
    ck_assert_uint_eq(everything_msr(0x488) & ~everything_msr(0x489), 0);
}
END_TEST

static Suite *features_suite(void)
{
    Suite *suite = suite_create("profile_features");
    /* First, so that nothing has fetched the profile before the threads do, even without forks. */
    TCase *threads = tcase_create("threads");
    tcase_add_test(threads, threads_that_come_first_together_get_the_same_profile);
    suite_add_tcase(suite, threads);

    TCase *builtin = tcase_create("built-in");
    tcase_add_test(builtin, built_in_profiles_are_listed_and_found);
    tcase_add_loop_test(builtin, captured_profiles_have_what_their_processors_have, 0, 3);
    tcase_add_test(builtin, everything_has_each_feature_and_each_field);
    tcase_add_test(builtin, everything_allows_each_named_control_and_no_other);
    tcase_add_test(builtin, everything_reports_consistent_capabilities);
    suite_add_tcase(suite, builtin);

    TCase *features = tcase_create("features");
    tcase_add_test(features, each_ept_capability_comes_from_its_bit);
    tcase_add_test(features, without_ept_its_capabilities_mean_nothing);
    tcase_add_test(features, each_secondary_control_comes_from_its_allowed_1_bit);
    tcase_add_test(features, the_true_msr_decides_where_it_exists);
    tcase_add_test(features, each_paging_feature_comes_from_its_cpuid_bit);
    suite_add_tcase(suite, features);
    return suite;
}

int main(void)
{
    SRunner *runner = srunner_create(features_suite());
    srunner_run_all(runner, CK_NORMAL);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
