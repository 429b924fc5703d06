/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Capability MSRs: decoding bit by bit, EPT configuration, control negotiation.
 */
#include "vmxcore/caps.h"

#include <check.h>
#include <string.h>

#include "vmxcore/defs/msr.h"
#include "vmxcore/defs/vmcs.h"

#include "support/suite.h"

/* As an Ice Lake processor reports them. */
#define BASIC      UINT64_C(0x00d8100000000004)
#define MISC       UINT64_C(0x600401e0)
#define EPT_VPID   UINT64_C(0x0f0106334141)
#define PIN        UINT64_C(0x0000007f00000016)
#define PRIMARY    UINT64_C(0xfff9fffe0401e172)
#define TRUE_PRIM  UINT64_C(0xfff9fffe04006172)
#define SECONDARY1 UINT32_C(0x02977fff)

START_TEST(basic_is_decoded)
{
    const struct vmxc_caps_basic basic = vmxc_caps_basic(BASIC);

    ck_assert_uint_eq(basic.revision, 4);
    ck_assert_uint_eq(basic.region_size, 4096);
    ck_assert_uint_eq(basic.memory_type, VMXC_MEMORY_TYPE_WB);
    ck_assert(basic.ins_outs_info && basic.true_controls);
    ck_assert(!basic.address_32 && !basic.dual_monitor);
    ck_assert(!basic.any_error_code && !basic.nested_exception);
}
END_TEST

START_TEST(misc_is_decoded)
{
    const struct vmxc_caps_misc misc = vmxc_caps_misc(MISC);
    const struct vmxc_caps_misc full = vmxc_caps_misc(UINT64_MAX);

    ck_assert_uint_eq(misc.preemption_timer_rate, 0);
    ck_assert_uint_eq(misc.cr3_targets, 4);
    ck_assert_uint_eq(misc.msr_list_max, 512);
    ck_assert_uint_eq(misc.mseg_revision, 0);
    ck_assert(misc.saves_lma && misc.activity_hlt && misc.activity_shutdown);
    ck_assert(misc.activity_wait_for_sipi && misc.vmwrite_any && misc.zero_length_injection);
    ck_assert(!misc.pt_in_vmx && !misc.smbase_msr && !misc.smm_monitor_bit2);
    ck_assert_uint_eq(full.preemption_timer_rate, 31);
    ck_assert_uint_eq(full.cr3_targets, 511);
    ck_assert_uint_eq(full.msr_list_max, 4096);
    ck_assert_uint_eq(full.mseg_revision, UINT32_MAX);
}
END_TEST

START_TEST(ept_vpid_cap_is_decoded)
{
    const struct vmxc_caps_ept_vpid ept = vmxc_caps_ept_vpid(EPT_VPID);

    ck_assert(ept.execute_only && ept.walk_4 && ept.memory_type_uc && ept.memory_type_wb);
    ck_assert(ept.page_2m && ept.page_1g && ept.accessed_dirty);
    ck_assert(ept.invept && ept.invept_single && ept.invept_all);
    ck_assert(ept.invvpid && ept.invvpid_address && ept.invvpid_single);
    ck_assert(ept.invvpid_all && ept.invvpid_single_globals);
    ck_assert(!ept.walk_5 && !ept.advanced_info && !ept.shadow_stack);
    ck_assert_uint_eq(ept.hlat_prefix_max, 0);
}
END_TEST

/*
 * One bit of an MSR, one member of the result. Each row is decoded with that bit alone and with all bits but that
 * one; the positions are the manual's.
 */
enum source { FROM_BASIC, FROM_MISC, FROM_EPT_VPID, FROM_FEATURE_CONTROL };

#define BASIC_BIT(bit, member)                                             \
    {                                                                      \
        FROM_BASIC, bit, offsetof(struct vmxc_caps_basic, member), #member \
    }
#define MISC_BIT(bit, member)                                            \
    {                                                                    \
        FROM_MISC, bit, offsetof(struct vmxc_caps_misc, member), #member \
    }
#define EPT_VPID_BIT(bit, member)                                                \
    {                                                                            \
        FROM_EPT_VPID, bit, offsetof(struct vmxc_caps_ept_vpid, member), #member \
    }
#define FEATURE_BIT(bit, member)                                                               \
    {                                                                                          \
        FROM_FEATURE_CONTROL, bit, offsetof(struct vmxc_caps_feature_control, member), #member \
    }

static const struct {
    enum source source;
    unsigned bit;
    size_t offset;
    const char *name;
} bits[] = {
    BASIC_BIT(48, address_32),
    BASIC_BIT(49, dual_monitor),
    BASIC_BIT(54, ins_outs_info),
    BASIC_BIT(55, true_controls),
    BASIC_BIT(56, any_error_code),
    BASIC_BIT(58, nested_exception),
    MISC_BIT(5, saves_lma),
    MISC_BIT(6, activity_hlt),
    MISC_BIT(7, activity_shutdown),
    MISC_BIT(8, activity_wait_for_sipi),
    MISC_BIT(14, pt_in_vmx),
    MISC_BIT(15, smbase_msr),
    MISC_BIT(28, smm_monitor_bit2),
    MISC_BIT(29, vmwrite_any),
    MISC_BIT(30, zero_length_injection),
    EPT_VPID_BIT(0, execute_only),
    EPT_VPID_BIT(6, walk_4),
    EPT_VPID_BIT(7, walk_5),
    EPT_VPID_BIT(8, memory_type_uc),
    EPT_VPID_BIT(14, memory_type_wb),
    EPT_VPID_BIT(16, page_2m),
    EPT_VPID_BIT(17, page_1g),
    EPT_VPID_BIT(20, invept),
    EPT_VPID_BIT(21, accessed_dirty),
    EPT_VPID_BIT(22, advanced_info),
    EPT_VPID_BIT(23, shadow_stack),
    EPT_VPID_BIT(25, invept_single),
    EPT_VPID_BIT(26, invept_all),
    EPT_VPID_BIT(32, invvpid),
    EPT_VPID_BIT(40, invvpid_address),
    EPT_VPID_BIT(41, invvpid_single),
    EPT_VPID_BIT(42, invvpid_all),
    EPT_VPID_BIT(43, invvpid_single_globals),
    FEATURE_BIT(0, locked),
    FEATURE_BIT(1, vmx_in_smx),
    FEATURE_BIT(2, vmx_outside_smx),
    FEATURE_BIT(15, senter_global),
    FEATURE_BIT(17, sgx_launch_control),
    FEATURE_BIT(18, sgx),
    FEATURE_BIT(20, lmce),
};

static bool decoded_member(enum source source, uint64_t raw, size_t offset)
{
    const struct vmxc_caps_basic basic = vmxc_caps_basic(raw);
    const struct vmxc_caps_misc misc = vmxc_caps_misc(raw);
    const struct vmxc_caps_ept_vpid ept = vmxc_caps_ept_vpid(raw);
    const struct vmxc_caps_feature_control feature = vmxc_caps_feature_control(raw);
    const void *const results[] = {&basic, &misc, &ept, &feature};
    bool member;

    memcpy(&member, (const char *)results[source] + offset, sizeof(member));
    return member;
}

START_TEST(each_member_follows_its_own_bit)
{
    const uint64_t mask = UINT64_C(1) << bits[_i].bit;

    ck_assert_msg(decoded_member(bits[_i].source, mask, bits[_i].offset), "%s", bits[_i].name);
    ck_assert_msg(!decoded_member(bits[_i].source, ~mask, bits[_i].offset), "%s", bits[_i].name);
}
END_TEST

START_TEST(fields_take_their_own_bits)
{
    ck_assert_uint_eq(vmxc_caps_basic(UINT64_MAX).revision, 0x7fffffff);
    ck_assert_uint_eq(vmxc_caps_basic(UINT64_C(0x00001fff00000000)).region_size, 0x1fff);
    ck_assert_uint_eq(vmxc_caps_basic(UINT64_C(0x00001fff00000000)).revision, 0);
    ck_assert_uint_eq(vmxc_caps_basic(UINT64_C(0xffffe000ffffffff)).region_size, 0);
    ck_assert_uint_eq(vmxc_caps_basic(UINT64_MAX).memory_type, 15);
    ck_assert_uint_eq(vmxc_caps_basic(~UINT64_C(0x003c000000000000)).memory_type, 0);
    ck_assert_uint_eq(vmxc_caps_ept_vpid(UINT64_MAX).hlat_prefix_max, 63);
    ck_assert_uint_eq(vmxc_caps_ept_vpid(UINT64_C(0x0034000000000000)).hlat_prefix_max, 52);
    ck_assert_uint_eq(vmxc_caps_feature_control(UINT64_MAX).senter_local, 0x7f);
    ck_assert_uint_eq(vmxc_caps_feature_control(0x100).senter_local, 1);
    ck_assert_uint_eq(vmxc_caps_feature_control(0x80ff).senter_local, 0);
}
END_TEST

START_TEST(vmxon_needs_the_lock_and_the_enable_bit_of_its_mode)
{
    static const struct {
        uint64_t value;
        bool outside, inside;
    } cases[] = {
        {0, false, false}, {1, false, false}, {2, false, false}, {3, false, true},
        {4, false, false}, {5, true, false},  {6, false, false}, {7, true, true},
    };

    for (int i = 0; i < COUNT(cases); i++) {
        ck_assert_int_eq(vmxc_caps_allows_vmxon(cases[i].value, false), cases[i].outside);
        ck_assert_int_eq(vmxc_caps_allows_vmxon(cases[i].value, true), cases[i].inside);
    }
}
END_TEST

START_TEST(an_invalidation_type_needs_its_instruction)
{
    static const struct {
        bool (*predicate)(uint64_t ept_vpid_cap);
        unsigned instruction, type; /* bits */
    } cases[] = {
        {vmxc_caps_has_invept, 20, 20},          {vmxc_caps_has_invept_single, 20, 25},
        {vmxc_caps_has_invept_all, 20, 26},      {vmxc_caps_has_invvpid, 32, 32},
        {vmxc_caps_has_invvpid_address, 32, 40}, {vmxc_caps_has_invvpid_single, 32, 41},
        {vmxc_caps_has_invvpid_all, 32, 42},     {vmxc_caps_has_invvpid_single_globals, 32, 43},
    };

    for (int i = 0; i < COUNT(cases); i++) {
        const uint64_t instruction = UINT64_C(1) << cases[i].instruction;
        const uint64_t type = UINT64_C(1) << cases[i].type;

        ck_assert(cases[i].predicate(instruction | type));
        ck_assert(!cases[i].predicate(~instruction));
        ck_assert(!cases[i].predicate(~type));
    }
}
END_TEST

START_TEST(region_sizes_up_to_a_frame_fit)
{
    ck_assert(vmxc_caps_has_frame_sized_regions(BASIC));
    ck_assert(vmxc_caps_has_frame_sized_regions(UINT64_C(0x0000040000000000)));
    ck_assert(!vmxc_caps_has_frame_sized_regions(UINT64_C(0x0000100100000000)));
}
END_TEST

START_TEST(walk_lengths_follow_bits_6_and_7)
{
    for (unsigned levels = 0; levels <= UINT8_MAX; levels++) {
        ck_assert_int_eq(vmxc_caps_has_ept_levels(0x40, (uint8_t)levels), levels == 4);
        ck_assert_int_eq(vmxc_caps_has_ept_levels(0x80, (uint8_t)levels), levels == 5);
    }
}
END_TEST

/* ---- EPT configuration ---- */

static const struct vmxc_caps_ept_request plain = {.maxphyaddr = 46, .levels = 4};
static const struct vmxc_ept_config untouched = {.levels = 77};

static enum vmxc_status configure(uint64_t cap, uint32_t secondary,
                                  struct vmxc_caps_ept_request request,
                                  struct vmxc_ept_config *config)
{
    *config = untouched;
    return vmxc_caps_ept_config(cap, secondary, &request, config);
}

START_TEST(an_ept_configuration_that_is_not_offered_is_unsupported)
{
    const struct vmxc_caps_ept_request five = {.maxphyaddr = 46, .levels = 5};
    const struct vmxc_caps_ept_request flags = {
        .maxphyaddr = 46, .levels = 4, .accessed_dirty = true};
    const struct vmxc_caps_ept_request mode_based = {
        .maxphyaddr = 46, .levels = 4, .mode_based_execute = true};
    const struct {
        uint64_t cap;
        uint32_t secondary;
        struct vmxc_caps_ept_request request;
    } cases[] = {
        {EPT_VPID, SECONDARY1 & ~UINT32_C(2), plain},      /* "enable EPT" */
        {EPT_VPID & ~UINT64_C(0x40), SECONDARY1, plain},   /* walk of 4 levels */
        {EPT_VPID, SECONDARY1, five},                      /* walk of 5 levels */
        {EPT_VPID & ~UINT64_C(0x4100), SECONDARY1, plain}, /* neither WB nor UC */
        {EPT_VPID & ~UINT64_C(0x200000), SECONDARY1, flags},
        {EPT_VPID, SECONDARY1, mode_based},
    };
    struct vmxc_ept_config config;

    for (int i = 0; i < COUNT(cases); i++) {
        ck_assert_int_eq(configure(cases[i].cap, cases[i].secondary, cases[i].request, &config),
                         VMXC_UNSUPPORTED);
        ck_assert_uint_eq(config.levels, 77);
    }
}
END_TEST

START_TEST(an_ept_request_out_of_range_is_refused)
{
    struct vmxc_ept_config config;

    for (unsigned width = 0; width <= UINT8_MAX; width++) {
        const struct vmxc_caps_ept_request request = {.maxphyaddr = (uint8_t)width, .levels = 4};
        const bool good = width >= 32 && width <= 52;

        ck_assert_int_eq(configure(EPT_VPID, SECONDARY1, request, &config),
                         good ? VMXC_OK : VMXC_INVALID_INPUT);
        ck_assert_uint_eq(config.levels, good ? 4 : 77);
    }
    for (unsigned levels = 0; levels <= UINT8_MAX; levels++) {
        const struct vmxc_caps_ept_request request = {.maxphyaddr = 46, .levels = (uint8_t)levels};

        ck_assert_int_eq(configure(EPT_VPID | 0x80, SECONDARY1, request, &config),
                         levels == 4 || levels == 5 ? VMXC_OK : VMXC_INVALID_INPUT);
    }
}
END_TEST

START_TEST(the_ept_configuration_follows_request_and_capability)
{
    const struct vmxc_caps_ept_request everything = {
        .maxphyaddr = 52, .levels = 5, .accessed_dirty = true, .mode_based_execute = true};
    struct vmxc_ept_config config;

    ck_assert_int_eq(configure(EPT_VPID, SECONDARY1, plain, &config), VMXC_OK);
    ck_assert_uint_eq(config.levels, 4);
    ck_assert_uint_eq(config.maxphyaddr, 46);
    ck_assert_uint_eq(config.largest_page, VMXC_PAGE_LEVEL_1G);
    ck_assert_uint_eq(config.table_memory_type, 6);
    ck_assert(config.execute_only && !config.mode_based_execute && !config.accessed_dirty);

    ck_assert_int_eq(
        configure(EPT_VPID | 0x80, SECONDARY1 | UINT32_C(1) << 22, everything, &config), VMXC_OK);
    ck_assert_uint_eq(config.levels, 5);
    ck_assert_uint_eq(config.maxphyaddr, 52);
    ck_assert(config.mode_based_execute && config.accessed_dirty);

    ck_assert_int_eq(configure(EPT_VPID & ~UINT64_C(0x4001), SECONDARY1, plain, &config), VMXC_OK);
    ck_assert_uint_eq(config.table_memory_type, 0);
    ck_assert(!config.execute_only);
}
END_TEST

START_TEST(a_page_size_needs_the_smaller_ones)
{
    static const struct {
        uint64_t cap;
        uint8_t largest;
    } cases[] = {
        {0x4040, VMXC_PAGE_LEVEL_4K},
        {0x14040, VMXC_PAGE_LEVEL_2M},
        {0x24040, VMXC_PAGE_LEVEL_4K},
        {0x34040, VMXC_PAGE_LEVEL_1G},
    };
    struct vmxc_ept_config config;

    for (int i = 0; i < COUNT(cases); i++) {
        ck_assert_int_eq(configure(cases[i].cap, SECONDARY1, plain, &config), VMXC_OK);
        ck_assert_uint_eq(config.largest_page, cases[i].largest);
    }
}
END_TEST

/* ---- Controls ---- */

/* What the manual says of one bit, at each combination of settings and wishes. */
static const struct {
    bool allowed0, allowed1, wanted, required;
    enum vmxc_status status;
    bool value;
} single_bits[] = {
    {false, false, false, false, VMXC_OK, false},
    {false, false, true, false, VMXC_OK, false},
    {false, false, false, true, VMXC_UNSUPPORTED, false},
    {false, false, true, true, VMXC_UNSUPPORTED, false},
    {false, true, false, false, VMXC_OK, false},
    {false, true, true, false, VMXC_OK, true},
    {false, true, false, true, VMXC_OK, true},
    {false, true, true, true, VMXC_OK, true},
    {true, true, false, false, VMXC_OK, true},
    {true, true, true, false, VMXC_OK, true},
    {true, true, false, true, VMXC_OK, true},
    {true, true, true, true, VMXC_OK, true},
    {true, false, false, false, VMXC_INVALID_INPUT, false},
    {true, false, true, true, VMXC_INVALID_INPUT, false},
};

START_TEST(each_bit_is_negotiated_by_its_own_settings)
{
    for (unsigned bit = 0; bit < 32; bit++) {
        const uint64_t mask = UINT64_C(1) << bit;
        const uint64_t capability =
            (single_bits[_i].allowed0 ? mask : 0) | (single_bits[_i].allowed1 ? mask << 32 : 0);
        const struct vmxc_caps_control_request request = {
            .wanted = single_bits[_i].wanted ? mask : 0,
            .required = single_bits[_i].required ? mask : 0};
        uint64_t value = 77, missing = 78;

        ck_assert_int_eq(vmxc_caps_negotiate(capability, &request, &value, &missing),
                         single_bits[_i].status);
        if (single_bits[_i].status == VMXC_OK)
            ck_assert_uint_eq(value, single_bits[_i].value ? mask : 0);
        else
            ck_assert_uint_eq(value, 77);
        ck_assert_uint_eq(missing, single_bits[_i].status == VMXC_UNSUPPORTED ? mask : 78);
    }
}
END_TEST

START_TEST(a_wide_word_has_allowed_1_settings_only)
{
    for (unsigned bit = 0; bit < 64; bit++) {
        const uint64_t mask = UINT64_C(1) << bit;
        const struct vmxc_caps_control_request wanted = {.wanted = mask};
        const struct vmxc_caps_control_request required = {.required = mask};
        const struct vmxc_caps_control_request nothing = {0};
        uint64_t value = 77, missing = 78;

        ck_assert_int_eq(vmxc_caps_negotiate_wide(~mask, &required, &value, &missing),
                         VMXC_UNSUPPORTED);
        ck_assert_uint_eq(missing, mask);
        ck_assert_uint_eq(value, 77);
        ck_assert_int_eq(vmxc_caps_negotiate_wide(~mask, &wanted, &value, NULL), VMXC_OK);
        ck_assert_uint_eq(value, 0);
        ck_assert_int_eq(vmxc_caps_negotiate_wide(mask, &wanted, &value, NULL), VMXC_OK);
        ck_assert_uint_eq(value, mask);
        ck_assert_int_eq(vmxc_caps_negotiate_wide(mask, &required, &value, NULL), VMXC_OK);
        ck_assert_uint_eq(value, mask);
        ck_assert_int_eq(vmxc_caps_negotiate_wide(UINT64_MAX, &nothing, &value, NULL), VMXC_OK);
        ck_assert_uint_eq(value, 0);
    }
}
END_TEST

START_TEST(masks_above_bit_31_are_refused_for_32_bit_words)
{
    const struct vmxc_caps_control_request wanted = {.wanted = UINT64_C(1) << 32};
    const struct vmxc_caps_control_request required = {.required = UINT64_C(1) << 63};
    uint64_t value = 77;

    ck_assert_int_eq(vmxc_caps_negotiate(PIN, &wanted, &value, NULL), VMXC_INVALID_INPUT);
    ck_assert_int_eq(vmxc_caps_negotiate(PIN, &required, &value, NULL), VMXC_INVALID_INPUT);
    ck_assert_uint_eq(value, 77);
}
END_TEST

START_TEST(every_missing_bit_is_reported)
{
    const struct vmxc_caps_control_request request = {
        .required = VMXC_PIN_NMI_EXITING | VMXC_PIN_PROCESS_POSTED_INTERRUPTS | VMXC_BIT(20)};
    uint64_t value = 77, missing = 0;

    ck_assert_int_eq(vmxc_caps_negotiate(PIN, &request, &value, &missing), VMXC_UNSUPPORTED);
    ck_assert_uint_eq(missing, 0x100080);
    ck_assert_int_eq(vmxc_caps_negotiate(PIN, &request, &value, NULL), VMXC_UNSUPPORTED);
    ck_assert_uint_eq(value, 77);
}
END_TEST

START_TEST(real_words_come_out_as_a_processor_needs_them)
{
    const struct vmxc_caps_control_request pin = {.wanted = VMXC_PIN_PROCESS_POSTED_INTERRUPTS,
                                                  .required = VMXC_PIN_EXTERNAL_INTERRUPT_EXITING};
    const struct vmxc_caps_control_request primary = {
        .required = VMXC_PRIMARY_USE_MSR_BITMAPS | VMXC_PRIMARY_ACTIVATE_SECONDARY_CONTROLS};
    uint64_t value;

    ck_assert_int_eq(vmxc_caps_negotiate(PIN, &pin, &value, NULL), VMXC_OK);
    ck_assert_uint_eq(value, 0x17);
    ck_assert_int_eq(vmxc_caps_negotiate(PRIMARY, &primary, &value, NULL), VMXC_OK);
    ck_assert_uint_eq(value, 0x9401e172);
    ck_assert_int_eq(vmxc_caps_negotiate(TRUE_PRIM, &primary, &value, NULL), VMXC_OK);
    ck_assert_uint_eq(value, 0x94006172);
}
END_TEST

static const struct {
    enum vmxc_control_word word;
    uint32_t encoding, msr, msr_with_true;
    uint64_t default1;
    bool wide;
} words[] = {
    {VMXC_CONTROL_WORD_PIN, 0x4000, 0x481, 0x48d, 0x16, false},
    {VMXC_CONTROL_WORD_PRIMARY, 0x4002, 0x482, 0x48e, 0x0401e172, false},
    {VMXC_CONTROL_WORD_SECONDARY, 0x401e, 0x48b, 0x48b, 0, false},
    {VMXC_CONTROL_WORD_TERTIARY, 0x2034, 0x492, 0x492, 0, true},
    {VMXC_CONTROL_WORD_EXIT, 0x400c, 0x483, 0x48f, 0x36dff, false},
    {VMXC_CONTROL_WORD_SECONDARY_EXIT, 0x2044, 0x493, 0x493, 0, true},
    {VMXC_CONTROL_WORD_ENTRY, 0x4012, 0x484, 0x490, 0x11ff, false},
};

START_TEST(each_word_names_its_field_and_msrs)
{
    const struct vmxc_caps_control_word *word = vmxc_caps_control_word(words[_i].word);

    ck_assert_ptr_nonnull(word);
    ck_assert_ptr_nonnull(strstr(word->name, "controls"));
    ck_assert_uint_eq(word->encoding, words[_i].encoding);
    ck_assert_uint_eq(word->default1, words[_i].default1);
    ck_assert_int_eq(word->wide, words[_i].wide);
    ck_assert_uint_eq(vmxc_caps_control_msr(words[_i].word, 0), words[_i].msr);
    ck_assert_uint_eq(vmxc_caps_control_msr(words[_i].word, BASIC), words[_i].msr_with_true);
}
END_TEST

START_TEST(there_are_seven_words)
{
    const enum vmxc_control_word none = (enum vmxc_control_word)7;

    ck_assert_int_eq(VMXC_CONTROL_WORD_COUNT, 7);
    ck_assert_ptr_null(vmxc_caps_control_word(none));
    ck_assert_ptr_null(vmxc_caps_control_word((enum vmxc_control_word)UINT32_MAX));
    ck_assert_uint_eq(vmxc_caps_control_msr(none, BASIC), 0);
}
END_TEST

static TCase *decoding_tests(void)
{
    TCase *tests = tcase_create("decoding");

    tcase_add_test(tests, basic_is_decoded);
    tcase_add_test(tests, misc_is_decoded);
    tcase_add_test(tests, ept_vpid_cap_is_decoded);
    tcase_add_loop_test(tests, each_member_follows_its_own_bit, 0, COUNT(bits));
    tcase_add_test(tests, fields_take_their_own_bits);
    tcase_add_test(tests, vmxon_needs_the_lock_and_the_enable_bit_of_its_mode);
    tcase_add_test(tests, an_invalidation_type_needs_its_instruction);
    tcase_add_test(tests, region_sizes_up_to_a_frame_fit);
    tcase_add_test(tests, walk_lengths_follow_bits_6_and_7);
    return tests;
}

static TCase *ept_tests(void)
{
    TCase *tests = tcase_create("EPT configuration");

    tcase_add_test(tests, an_ept_configuration_that_is_not_offered_is_unsupported);
    tcase_add_test(tests, an_ept_request_out_of_range_is_refused);
    tcase_add_test(tests, the_ept_configuration_follows_request_and_capability);
    tcase_add_test(tests, a_page_size_needs_the_smaller_ones);
    return tests;
}

static TCase *control_tests(void)
{
    TCase *tests = tcase_create("controls");

    tcase_add_loop_test(tests, each_bit_is_negotiated_by_its_own_settings, 0, COUNT(single_bits));
    tcase_add_test(tests, a_wide_word_has_allowed_1_settings_only);
    tcase_add_test(tests, masks_above_bit_31_are_refused_for_32_bit_words);
    tcase_add_test(tests, every_missing_bit_is_reported);
    tcase_add_test(tests, real_words_come_out_as_a_processor_needs_them);
    tcase_add_loop_test(tests, each_word_names_its_field_and_msrs, 0, COUNT(words));
    tcase_add_test(tests, there_are_seven_words);
    return tests;
}

int main(void)
{
    Suite *suite = suite_create("caps");

    suite_add_tcase(suite, decoding_tests());
    suite_add_tcase(suite, ept_tests());
    suite_add_tcase(suite, control_tests());
    return run_suite(suite);
}
