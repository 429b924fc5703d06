/* SPDX-License-Identifier: Apache-2.0 */
/*
 * EPT entries that are malformed, not present, or hold bits that must not matter: every bit of every format.
 * Source: Intel SDM volume 3, "EPT Misconfigurations", "EPT Violations" and the format tables.
 */
#include "support/layout.h"

#include <check.h>
#include <inttypes.h>
#include <stdlib.h>

struct format {
    const char *name;
    unsigned level;
    bool leaf;
    uint64_t reserved, shape;
};

static const struct format formats[] = {
#define EPT_FORMAT(name, level, leaf, reserved, shape) {name, level, leaf, reserved, shape},
#include "data/ept_entry_formats.def"
};
#define FORMATS (sizeof(formats) / sizeof(formats[0]))

static struct machine machine;
static struct layout layout;

static void set_up(unsigned maxphyaddr, uint64_t ept_cap_clear)
{
    const struct profile_changes changes = {.maxphyaddr = maxphyaddr,
                                            .ept_cap_clear = ept_cap_clear};
    machine_init(&machine, &changes);
}

static void build(enum guest_mode mode, unsigned leaf)
{
    const struct layout_options options = {.mode = mode, .ept_levels = 5, .ept_leaf = leaf};
    layout_build(&layout, &machine, &options);
}

static struct vmxsim_outcome read_page(void)
{
    machine_load(&machine);
    return machine_access(&machine, VMXSIM_ACCESS_READ, layout.linear, 4);
}

static void change_entry(unsigned region, unsigned level, uint64_t clear, uint64_t set)
{
    machine_write(&machine, layout.ept_entry[region][level],
                  (layout.ept_value[region][level] & ~clear) | set);
}

static void expect_misconfiguration(const struct vmxsim_outcome *outcome,
                                    enum vmxsim_walk_rule rule, const char *what, unsigned bit)
{
    ck_assert_msg(outcome->kind == VMXSIM_OUTCOME_VM_EXIT &&
                      outcome->exit_reason == EXIT_EPT_MISCONFIG &&
                      !outcome->qualification_defined && outcome->rule == rule,
                  "%s, bit %u: expected a misconfiguration by rule %s, observed %s", what, bit,
                  vmxsim_walk_rule_info(rule)->id, machine_outcome_text(outcome));
}

static void expect_complete(const struct vmxsim_outcome *outcome, const char *what, unsigned bit)
{
    ck_assert_msg(outcome->kind == VMXSIM_OUTCOME_COMPLETE &&
                      outcome->page[0].hpa == layout_access_hpa(&layout, 0),
                  "%s, bit %u: expected completion, observed %s", what, bit,
                  machine_outcome_text(outcome));
}

/* ---- Misconfigurations ---- */

/* The region's entry of this format with one bit flipped, everything else as built. */
static void check_bit(const struct format *format, unsigned region, unsigned bit,
                      unsigned maxphyaddr)
{
    const uint64_t too_wide = maxphyaddr < 52 ? VMXC_BITS(51, maxphyaddr) : 0;
    const uint64_t mask = VMXC_BIT(bit);
    if ((format->shape & ~too_wide & mask) != 0)
        return;
    layout_reset(&layout, &machine);
    machine_write(&machine, layout.ept_entry[region][format->level],
                  layout.ept_value[region][format->level] ^ mask);
    const struct vmxsim_outcome outcome = read_page();
    if (((format->reserved | too_wide) & mask) != 0) {
        expect_misconfiguration(&outcome, VMXSIM_RULE_EPT_MC_RSVD, format->name, bit);
        ck_assert_uint_eq(outcome.guest_physical, layout_access_gpa(&layout, region));
    } else {
        expect_complete(&outcome, format->name, bit);
    }
}

static void check_all_bits(unsigned maxphyaddr, enum guest_mode mode)
{
    set_up(maxphyaddr, 0);
    for (size_t i = 0; i < FORMATS; i++) {
        const struct format *format = &formats[i];
        build(mode, format->leaf ? format->level : 1);
        for (unsigned region = 0; region < layout.region_count; region++)
            for (unsigned bit = 3; bit < 64; bit++)
                check_bit(format, region, bit, maxphyaddr);
    }
    machine_fini(&machine);
}

START_TEST(each_bit_of_each_format_is_reserved_or_ignored)
{
    check_all_bits(52, GUEST_5LEVEL);
    check_all_bits(51, GUEST_5LEVEL);
    check_all_bits(40, GUEST_NONE);
    check_all_bits(36, GUEST_NONE);
}
END_TEST

/* "Reserved" is about present entries: with mode-based execute control bit 10 alone makes one present. */
START_TEST(with_mode_based_execute_control_bit_10_makes_an_entry_present)
{
    set_up(40, 0);
    build(GUEST_NONE, 1);
    change_entry(0, 4, EPT_ALL, VMXC_EPT_USER_EXECUTE | VMXC_BIT(7));
    struct vmxsim_outcome outcome = read_page();
    ck_assert_uint_eq(outcome.exit_reason, EXIT_EPT_VIOLATION);
    VMXSIM_VMCS(&machine.vmcs, SECONDARY_PROCESSOR_BASED_CONTROLS) |= CTL2_MODE_BASED_EXEC;
    outcome = read_page();
    expect_misconfiguration(&outcome, VMXSIM_RULE_EPT_MC_RSVD, "PML4E with bit 10 only", 7);
    machine_fini(&machine);
}
END_TEST

START_TEST(large_pages_need_their_capability)
{
    set_up(40, EPT_CAP_1G);
    build(GUEST_NONE, 3);
    struct vmxsim_outcome outcome = read_page();
    expect_misconfiguration(&outcome, VMXSIM_RULE_EPT_MC_RSVD, "1 GByte not supported", 7);
    build(GUEST_NONE, 2);
    outcome = read_page();
    expect_complete(&outcome, "2 MBytes supported", 7);
    machine_fini(&machine);

    set_up(40, EPT_CAP_2M);
    build(GUEST_NONE, 2);
    outcome = read_page();
    expect_misconfiguration(&outcome, VMXSIM_RULE_EPT_MC_RSVD, "2 MBytes not supported", 7);
    build(GUEST_NONE, 3);
    outcome = read_page();
    expect_complete(&outcome, "1 GByte supported", 7);
    machine_fini(&machine);
}
END_TEST

/* Memory types 0, 1, 4, 5, 6 are UC, WC, WT, WP, WB; 2, 3 and 7 are reserved. Ignore-PAT goes with each. */
START_TEST(reserved_memory_types_are_misconfigurations_in_entries_that_map_pages)
{
    static const bool valid[8] = {true, true, false, false, true, true, true, false};
    set_up(40, 0);
    for (unsigned leaf = 1; leaf <= 3; leaf++) {
        build(GUEST_NONE, leaf);
        for (unsigned type = 0; type < 8; type++) {
            for (unsigned ipat = 0; ipat < 2; ipat++) {
                change_entry(0, leaf, VMXC_EPT_MEMORY_TYPE | VMXC_EPT_IGNORE_PAT,
                             (uint64_t)type << 3 | (uint64_t)ipat << 6);
                const struct vmxsim_outcome outcome = read_page();
                if (valid[type])
                    expect_complete(&outcome, "memory type", type);
                else
                    expect_misconfiguration(&outcome, VMXSIM_RULE_EPT_MC_MT, "memory type", type);
            }
        }
    }
    machine_fini(&machine);
}
END_TEST

START_TEST(the_rule_says_which_misconfiguration_it_is)
{
    set_up(40, EPT_CAP_EXECUTE_ONLY);
    build(GUEST_NONE, 1);
    for (unsigned level = 1; level <= 5; level++) {
        layout_reset(&layout, &machine);
        change_entry(0, level, EPT_ALL, VMXC_EPT_WRITE);
        struct vmxsim_outcome outcome = read_page();
        expect_misconfiguration(&outcome, VMXSIM_RULE_EPT_MC_WO, "write-only", level);
        change_entry(0, level, EPT_ALL, VMXC_EPT_EXECUTE);
        outcome = read_page();
        expect_misconfiguration(&outcome, VMXSIM_RULE_EPT_MC_XO, "execute-only", level);
    }
    machine_fini(&machine);
}
END_TEST

/* An entry is examined when the walk reaches it: what lies behind a not-present entry does not count ... */
START_TEST(a_misconfiguration_behind_a_not_present_entry_is_not_seen)
{
    set_up(40, 0);
    build(GUEST_NONE, 1);
    for (unsigned level = 2; level <= 5; level++) {
        layout_reset(&layout, &machine);
        change_entry(0, level, EPT_ALL, 0);
        change_entry(0, level - 1, EPT_ALL, VMXC_EPT_WRITE);
        const struct vmxsim_outcome outcome = read_page();
        ck_assert_uint_eq(outcome.exit_reason, EXIT_EPT_VIOLATION);
        ck_assert_int_eq(outcome.rule, VMXSIM_RULE_EPT_NOT_PRESENT);
    }
    machine_fini(&machine);
}
END_TEST

/* ... but rights are judged when the walk is complete, so a misconfiguration below missing rights wins. */
START_TEST(a_misconfiguration_beats_missing_rights_above_it)
{
    set_up(40, 0);
    build(GUEST_NONE, 1);
    for (unsigned level = 2; level <= 5; level++) {
        layout_reset(&layout, &machine);
        change_entry(0, level, EPT_ALL, VMXC_EPT_READ);
        change_entry(0, 1, VMXC_EPT_MEMORY_TYPE, UINT64_C(7) << 3);
        machine_load(&machine);
        const struct vmxsim_outcome outcome =
            machine_access(&machine, VMXSIM_ACCESS_WRITE, layout.linear, 4);
        expect_misconfiguration(&outcome, VMXSIM_RULE_EPT_MC_MT, "below a read-only entry", level);
    }
    machine_fini(&machine);
}
END_TEST

/* A misconfiguration changes nothing in memory, accessed flags of the entry itself included. */
START_TEST(a_misconfigured_entry_is_not_marked_accessed)
{
    set_up(40, 0);
    const struct layout_options options = {
        .mode = GUEST_NONE, .ept_levels = 4, .ept_leaf = 1, .accessed_dirty = true};
    layout_build(&layout, &machine, &options);
    change_entry(0, 1, VMXC_EPT_MEMORY_TYPE, UINT64_C(2) << 3);
    const uint64_t before = machine_read(&machine, layout.ept_entry[0][1]);
    const struct vmxsim_outcome outcome = read_page();
    expect_misconfiguration(&outcome, VMXSIM_RULE_EPT_MC_MT, "with A/D", 8);
    ck_assert_uint_eq(machine_read(&machine, layout.ept_entry[0][1]), before);
    machine_fini(&machine);
}
END_TEST

/* ---- Not present ---- */

/* Bits 2:0 clear: nothing else of the entry matters, and qualification bits 5:3 are 0. */
START_TEST(nothing_in_a_not_present_entry_matters)
{
    static const uint64_t junk[] = {0,
                                    VMXC_BITS(62, 3),
                                    VMXC_BITS(63, 3),
                                    VMXC_BIT(10),
                                    VMXC_BIT(63),
                                    VMXC_BITS(7, 3),
                                    UINT64_C(0x0123456789abcdf8),
                                    VMXC_BITS(51, 12)};
    set_up(52, 0);
    build(GUEST_5LEVEL, 1);
    for (unsigned region = 0; region < layout.region_count; region++) {
        for (unsigned level = 1; level <= 5; level++) {
            for (size_t i = 0; i < sizeof(junk) / sizeof(junk[0]); i++) {
                layout_reset(&layout, &machine);
                machine_write(&machine, layout.ept_entry[region][level], junk[i]);
                const struct vmxsim_outcome outcome = read_page();
                ck_assert_msg(outcome.exit_reason == EXIT_EPT_VIOLATION &&
                                  outcome.rule == VMXSIM_RULE_EPT_NOT_PRESENT &&
                                  (outcome.qualification & 0x1ff) ==
                                      (region == 0 ? 0x181u : 0x81u) &&
                                  outcome.guest_physical == layout_access_gpa(&layout, region),
                              "region %u, level %u, entry %#" PRIx64 ": %s", region, level, junk[i],
                              machine_outcome_text(&outcome));
            }
        }
    }
    machine_fini(&machine);
}
END_TEST

/* The trail ends at the entry that decided, and says so. */
START_TEST(the_trail_ends_at_the_entry_that_decided)
{
    set_up(52, 0);
    build(GUEST_5LEVEL, 1);
    const struct vmxsim_access access = {
        .type = VMXSIM_ACCESS_READ, .linear = layout.linear, .size = 4};
    for (unsigned region = 0; region < layout.region_count; region++) {
        for (unsigned level = 1; level <= 5; level++) {
            struct vmxsim_trail trail;
            layout_reset(&layout, &machine);
            change_entry(region, level, EPT_ALL, 0);
            machine_load(&machine);
            machine_access_as(&machine, &access, &trail);
            const struct vmxsim_trail_entry *last = &trail.entry[trail.count - 1];
            /* Region n is located after the guest levels above n; each costs 5 EPT entries and its own. */
            const unsigned guest_walked = region == 0 ? 5 : 5 - region;
            ck_assert_uint_eq(trail.count, guest_walked * 6 + (6 - level));
            ck_assert_int_eq(last->verdict, VMXSIM_RULE_EPT_NOT_PRESENT);
            ck_assert_uint_eq(last->hpa, layout.ept_entry[region][level]);
            ck_assert_uint_eq(last->level, level);
            ck_assert_uint_eq(last->guest_level, region);
            ck_assert_uint_eq(last->gpa, layout_access_gpa(&layout, region));
            ck_assert(!last->leaf);
        }
    }
    machine_fini(&machine);
}
END_TEST

START_TEST(a_complete_walk_of_5_by_5_levels_reads_35_entries)
{
    set_up(52, 0);
    build(GUEST_5LEVEL, 1);
    machine_load(&machine);
    const struct vmxsim_access access = {
        .type = VMXSIM_ACCESS_READ, .linear = layout.linear, .size = 4};
    struct vmxsim_trail trail;
    const struct vmxsim_outcome outcome = machine_access_as(&machine, &access, &trail);
    expect_complete(&outcome, "5 x 5 levels", 0);
    ck_assert_uint_eq(trail.count, 35);
    for (unsigned i = 0; i < trail.count; i++) {
        ck_assert_int_eq(trail.entry[i].verdict, VMXSIM_RULE_NONE);
        ck_assert(trail.entry[i].leaf == (trail.entry[i].level == 1));
    }
    machine_fini(&machine);
}
END_TEST

/* A guest-physical address that the 4-level walk cannot hold is not translated modulo 2^48. */
START_TEST(an_address_beyond_the_walk_is_a_violation)
{
    set_up(52, 0);
    const struct layout_options options = {.mode = GUEST_4LEVEL, .ept_levels = 4, .ept_leaf = 1};
    layout_build(&layout, &machine, &options);
    layout_set_guest_entry(&layout, &machine, 1, layout.guest_value[1] | VMXC_BIT(48));
    const struct vmxsim_outcome outcome = read_page();
    ck_assert_uint_eq(outcome.exit_reason, EXIT_EPT_VIOLATION);
    ck_assert_uint_eq(outcome.qualification & 0x1ff, 0x181);
    ck_assert_uint_eq(outcome.guest_physical, layout_access_gpa(&layout, 0) | VMXC_BIT(48));
    ck_assert_int_eq(outcome.rule, VMXSIM_RULE_EPT_GPAW);
    machine_fini(&machine);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("ept_entries");
    TCase *malformed = tcase_create("malformed");
    tcase_set_timeout(malformed, 60);
    tcase_add_test(malformed, each_bit_of_each_format_is_reserved_or_ignored);
    tcase_add_test(malformed, with_mode_based_execute_control_bit_10_makes_an_entry_present);
    tcase_add_test(malformed, large_pages_need_their_capability);
    tcase_add_test(malformed,
                   reserved_memory_types_are_misconfigurations_in_entries_that_map_pages);
    tcase_add_test(malformed, the_rule_says_which_misconfiguration_it_is);
    tcase_add_test(malformed, a_misconfiguration_behind_a_not_present_entry_is_not_seen);
    tcase_add_test(malformed, a_misconfiguration_beats_missing_rights_above_it);
    tcase_add_test(malformed, a_misconfigured_entry_is_not_marked_accessed);
    suite_add_tcase(s, malformed);
    TCase *absent = tcase_create("not present");
    tcase_set_timeout(absent, 60);
    tcase_add_test(absent, nothing_in_a_not_present_entry_matters);
    tcase_add_test(absent, the_trail_ends_at_the_entry_that_decided);
    tcase_add_test(absent, a_complete_walk_of_5_by_5_levels_reads_35_entries);
    tcase_add_test(absent, an_address_beyond_the_walk_is_a_violation);
    suite_add_tcase(s, absent);
    return s;
}

int main(void)
{
    SRunner *runner = srunner_create(suite());
    srunner_run_all(runner, CK_NORMAL);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
