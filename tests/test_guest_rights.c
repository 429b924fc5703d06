/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest-paging walker: access rights, protection keys, accessed and dirty flags. The rules are tables, one row per
 * sentence of the manual (SDM volume 3, "Access Rights", "Accessed and Dirty Flags").
 */
#include <stdlib.h>

#include "support/guest_walk.h"

/* ---- Rights ---- */

enum what { READ, WRITE, FETCH };
#define ANY 2

/* SDM, "Determination of Access Rights", sentence by sentence. Exactly one row fits any situation. */
static const struct right_rule {
    const char *sentence;
    uint8_t user_mode;
    enum what what;
    uint8_t user, writable, no_execute; /* the page */
    uint8_t wp, smep, smap, implicit, ac;
    bool allowed;
} right_rules[] = {
    {"supervisor read, supervisor address", 0, READ, 0, ANY, ANY, ANY, ANY, ANY, ANY, ANY, true},
    {"supervisor read, user address, no SMAP", 0, READ, 1, ANY, ANY, ANY, ANY, 0, ANY, ANY, true},
    {"... SMAP, implicit", 0, READ, 1, ANY, ANY, ANY, ANY, 1, 1, ANY, false},
    {"... SMAP, explicit, AC = 1", 0, READ, 1, ANY, ANY, ANY, ANY, 1, 0, 1, true},
    {"... SMAP, explicit, AC = 0", 0, READ, 1, ANY, ANY, ANY, ANY, 1, 0, 0, false},
    {"supervisor write, supervisor address, WP = 0", 0, WRITE, 0, ANY, ANY, 0, ANY, ANY, ANY, ANY,
     true},
    {"... WP = 1, R/W = 1", 0, WRITE, 0, 1, ANY, 1, ANY, ANY, ANY, ANY, true},
    {"... WP = 1, R/W = 0", 0, WRITE, 0, 0, ANY, 1, ANY, ANY, ANY, ANY, false},
    {"supervisor write, user address, WP = 0, no SMAP", 0, WRITE, 1, ANY, ANY, 0, ANY, 0, ANY, ANY,
     true},
    {"... SMAP, implicit", 0, WRITE, 1, ANY, ANY, ANY, ANY, 1, 1, ANY, false},
    {"... SMAP, explicit, AC = 0", 0, WRITE, 1, ANY, ANY, ANY, ANY, 1, 0, 0, false},
    {"... WP = 0, SMAP, explicit, AC = 1", 0, WRITE, 1, ANY, ANY, 0, ANY, 1, 0, 1, true},
    {"... WP = 1, no SMAP, R/W = 1", 0, WRITE, 1, 1, ANY, 1, ANY, 0, ANY, ANY, true},
    {"... WP = 1, no SMAP, R/W = 0", 0, WRITE, 1, 0, ANY, 1, ANY, 0, ANY, ANY, false},
    {"... WP = 1, SMAP, explicit, AC = 1, R/W = 1", 0, WRITE, 1, 1, ANY, 1, ANY, 1, 0, 1, true},
    {"... WP = 1, SMAP, explicit, AC = 1, R/W = 0", 0, WRITE, 1, 0, ANY, 1, ANY, 1, 0, 1, false},
    {"supervisor fetch, supervisor address, XD = 0", 0, FETCH, 0, ANY, 0, ANY, ANY, ANY, 0, ANY,
     true},
    {"... XD = 1", 0, FETCH, 0, ANY, 1, ANY, ANY, ANY, 0, ANY, false},
    {"supervisor fetch, user address, SMEP", 0, FETCH, 1, ANY, ANY, ANY, 1, ANY, 0, ANY, false},
    {"... no SMEP, XD = 0", 0, FETCH, 1, ANY, 0, ANY, 0, ANY, 0, ANY, true},
    {"... no SMEP, XD = 1", 0, FETCH, 1, ANY, 1, ANY, 0, ANY, 0, ANY, false},
    {"user read, user address", 1, READ, 1, ANY, ANY, ANY, ANY, ANY, 0, ANY, true},
    {"user write, user address, R/W = 1", 1, WRITE, 1, 1, ANY, ANY, ANY, ANY, 0, ANY, true},
    {"... R/W = 0", 1, WRITE, 1, 0, ANY, ANY, ANY, ANY, 0, ANY, false},
    {"user fetch, user address, XD = 0", 1, FETCH, 1, ANY, 0, ANY, ANY, ANY, 0, ANY, true},
    {"... XD = 1", 1, FETCH, 1, ANY, 1, ANY, ANY, ANY, 0, ANY, false},
    {"user read, supervisor address", 1, READ, 0, ANY, ANY, ANY, ANY, ANY, 0, ANY, false},
    {"user write, supervisor address", 1, WRITE, 0, ANY, ANY, ANY, ANY, ANY, 0, ANY, false},
    {"user fetch, supervisor address", 1, FETCH, 0, ANY, ANY, ANY, ANY, ANY, 0, ANY, false},
};

static bool fits(uint8_t column, bool value)
{
    return column == ANY || column == (value ? 1 : 0);
}

struct situation {
    bool user_mode, user, writable, no_execute, wp, smep, smap, implicit, ac;
    enum what what;
};

static const struct right_rule *rule_for(const struct situation *s)
{
    const struct right_rule *found = NULL;

    for (size_t i = 0; i < sizeof right_rules / sizeof right_rules[0]; i++) {
        const struct right_rule *const rule = &right_rules[i];
        if (fits(rule->user_mode, s->user_mode) && rule->what == s->what &&
            fits(rule->user, s->user) && fits(rule->writable, s->writable) &&
            fits(rule->no_execute, s->no_execute) && fits(rule->wp, s->wp) &&
            fits(rule->smep, s->smep) && fits(rule->smap, s->smap) &&
            fits(rule->implicit, s->implicit) && fits(rule->ac, s->ac)) {
            ck_assert_msg(found == NULL, "two rules: %s", rule->sentence);
            found = rule;
        }
    }
    ck_assert_ptr_nonnull(found);
    return found;
}

static void check_situation(const struct situation *s, unsigned level)
{
    const struct right_rule *const rule = rule_for(s);
    const struct vmxc_guest_access access = {.user_mode = s->user_mode,
                                             .write = s->what == WRITE,
                                             .fetch = s->what == FETCH,
                                             .implicit = s->implicit};
    const uint64_t target = level == 1 ? PAGE_GPA : TABLE_GPA(level - 1);
    const bool fetch_bit = s->what == FETCH && (s->smep || mode->entry_size == 8);

    registers.cr0 = mode->cr0 | (s->wp ? VMXC_CR0_WP : 0);
    registers.cr4 = mode->cr4 | (s->smep ? VMXC_CR4_SMEP : 0) | (s->smap ? VMXC_CR4_SMAP : 0);
    registers.rflags = s->ac ? VMXC_RFLAGS_AC : 0;
    set_entry(level,
              target | P | (s->writable ? W : 0) | (s->user ? U : 0) | (s->no_execute ? XD : 0));

    const enum vmxc_status status = walk(access);
    ck_assert_msg(status == (rule->allowed ? VMXC_OK : VMXC_GUEST_FAULT), "%s: status %d",
                  rule->sentence, status);
    if (rule->allowed) {
        ck_assert(translation.user == s->user && translation.writable == s->writable &&
                  translation.no_execute == s->no_execute);
        return;
    }
    ck_assert_int_eq(fault.kind, VMXC_GUEST_FAULT_RIGHTS);
    ck_assert_uint_eq(fault.error_code, 1 | (s->what == WRITE ? 2 : 0) | (s->user_mode ? 4 : 0) |
                                            (fetch_bit ? 0x10 : 0));
    /* Blamed: the entry that withholds the right, or the leaf where SMEP and SMAP refuse what all entries grant. */
    ck_assert_uint_eq(fault.level, fault.offending == U && !s->user_mode ? 1 : level);
}

START_TEST(rights_at_every_level)
{
    for (unsigned level = 1; level <= modes[_i].memory_levels; level++) {
        build((size_t)_i);
        for (unsigned bits = 0; bits < 3 * 512; bits++) {
            const struct situation s = {.user_mode = bits & 1,
                                        .user = bits & 2,
                                        .writable = bits & 4,
                                        .no_execute = bits & 8,
                                        .wp = bits & 16,
                                        .smep = bits & 32,
                                        .smap = bits & 64,
                                        .implicit = bits & 128,
                                        .ac = bits & 256,
                                        .what = (enum what)(bits / 512)};
            if (s.implicit && (s.user_mode || s.what == FETCH))
                continue;
            if (s.no_execute && mode->entry_size == 4)
                continue;
            check_situation(&s, level);
        }
    }
}
END_TEST

START_TEST(fetch_bit_needs_nxe_or_smep)
{
    build(LONG_MODE);
    set_entry(1, PAGE_GPA | P);
    registers.efer &= ~VMXC_EFER_NXE;
    ck_assert_int_eq(walk(u_fetch), VMXC_GUEST_FAULT);
    ck_assert_uint_eq(fault.error_code, 5);
    registers.cr4 |= VMXC_CR4_SMEP;
    ck_assert_int_eq(walk(u_fetch), VMXC_GUEST_FAULT);
    ck_assert_uint_eq(fault.error_code, 0x15);
    /* NXE does not count in 32-bit paging. */
    build(0);
    set_entry(1, PAGE_GPA | P);
    registers.efer = VMXC_EFER_NXE;
    ck_assert_int_eq(walk(u_fetch), VMXC_GUEST_FAULT);
    ck_assert_uint_eq(fault.error_code, 5);
}
END_TEST

START_TEST(pdptes_give_neither_rights_nor_flags)
{
    build(1);
    registers.cr4 |= VMXC_CR4_SMEP;
    ck_assert_int_eq(walk(u_write), VMXC_OK);
    ck_assert(translation.user && translation.writable);
}
END_TEST

/* ---- Protection keys ---- */

/* SDM, "Protection Keys". `ad`, `wd`: of the page's key, in the register for its kind of address. */
static const struct key_rule {
    const char *sentence;
    uint8_t user_mode;
    enum what what;
    uint8_t wp, ad, wd;
    bool allowed;
} key_rules[] = {
    {"fetches are never restricted", ANY, FETCH, ANY, ANY, ANY, true},
    {"AD refuses reads", ANY, READ, ANY, 1, ANY, false},
    {"without AD reads are allowed", ANY, READ, ANY, 0, ANY, true},
    {"AD refuses writes", ANY, WRITE, ANY, 1, ANY, false},
    {"WD refuses user writes", 1, WRITE, ANY, 0, 1, false},
    {"WD refuses supervisor writes with WP", 0, WRITE, 1, 0, 1, false},
    {"WD leaves supervisor writes alone without WP", 0, WRITE, 0, 0, 1, true},
    {"neither AD nor WD", ANY, WRITE, ANY, 0, 0, true},
};

static void check_key(unsigned bits, bool user_page, unsigned key)
{
    const bool user_mode = bits & 1, wp = bits & 2, ad = bits & 4, wd = bits & 8, on = bits & 16;
    const enum what what = (enum what)(bits / 32);
    const uint32_t rights = ((ad ? 1u : 0) | (wd ? 2u : 0)) << (2 * key);
    const struct vmxc_guest_access access = {
        .user_mode = user_mode, .write = what == WRITE, .fetch = what == FETCH};
    bool allowed = true;

    if (user_mode && !user_page)
        return; /* refused by U/S; see below */
    for (size_t i = 0; i < sizeof key_rules / sizeof key_rules[0]; i++) {
        const struct key_rule *const rule = &key_rules[i];
        if (fits(rule->user_mode, user_mode) && rule->what == what && fits(rule->wp, wp) &&
            fits(rule->ad, ad) && fits(rule->wd, wd))
            allowed = rule->allowed || !on;
    }
    registers.cr0 = mode->cr0 | (wp ? VMXC_CR0_WP : 0);
    /* The register for the other kind of address forbids everything, and is on where this one is off. */
    registers.cr4 =
        mode->cr4 | (on == user_page ? VMXC_CR4_PKE : 0) | (on != user_page ? VMXC_CR4_PKS : 0);
    registers.pkru = user_page ? rights : UINT32_MAX;
    registers.pkrs = user_page ? UINT32_MAX : rights;
    set_entry(1, PAGE_GPA | P | W | (user_page ? U : 0) | (uint64_t)key << 59);

    ck_assert_int_eq(walk(access), allowed ? VMXC_OK : VMXC_GUEST_FAULT);
    if (allowed) {
        ck_assert_uint_eq(translation.protection_key, key);
        return;
    }
    ck_assert_int_eq(fault.kind, VMXC_GUEST_FAULT_PROTECTION_KEY);
    ck_assert_uint_eq(fault.error_code, 0x21 | (what == WRITE ? 2 : 0) | (user_mode ? 4 : 0));
    ck_assert_uint_eq(fault.level, 1);
}

START_TEST(protection_keys)
{
    build(LONG_MODE + (size_t)_i / 2);
    for (unsigned key = 0; key < 16; key++) {
        for (unsigned bits = 0; bits < 3 * 32; bits++)
            check_key(bits, _i % 2, key);
    }
}
END_TEST

START_TEST(protection_keys_are_for_64_bit_modes)
{
    build((size_t)_i);
    registers.cr4 |= VMXC_CR4_PKE | VMXC_CR4_PKS;
    registers.pkru = registers.pkrs = UINT32_MAX;
    ck_assert_int_eq(walk(u_write), VMXC_OK);
    ck_assert_uint_eq(translation.protection_key, 0);
}
END_TEST

START_TEST(the_error_code_names_a_key_besides_missing_rights)
{
    /* SDM, "Page-Fault Exceptions": the flag depends on access, address and key alone. */
    build(LONG_MODE);
    registers.cr4 |= VMXC_CR4_PKE;
    registers.pkru = 2u << (2 * 5); /* WD */
    set_entry(1, PAGE_GPA | P | U | UINT64_C(5) << 59);
    ck_assert_int_eq(walk(u_write), VMXC_GUEST_FAULT);
    ck_assert_int_eq(fault.kind, VMXC_GUEST_FAULT_RIGHTS);
    ck_assert_uint_eq(fault.error_code, 0x27);
    /* The same for a user-mode access to a supervisor-mode address and PKRS. */
    registers.cr4 |= VMXC_CR4_PKS;
    registers.pkrs = 1u << (2 * 5); /* AD */
    set_entry(1, PAGE_GPA | P | W | UINT64_C(5) << 59);
    ck_assert_int_eq(walk(u_read), VMXC_GUEST_FAULT);
    ck_assert_int_eq(fault.kind, VMXC_GUEST_FAULT_RIGHTS);
    ck_assert_uint_eq(fault.error_code, 0x25);
    /* ... and a fault before the leaf knows no key. */
    set_entry(2, 0);
    ck_assert_int_eq(walk(u_write), VMXC_GUEST_FAULT);
    ck_assert_uint_eq(fault.error_code, 6);
}
END_TEST

/* ---- Accessed and dirty flags ---- */

static enum vmxc_status walk_setting_flags(struct vmxc_guest_access access)
{
    struct vmxc_guest_walk_info info = make_info();

    info.set_accessed_dirty = true;
    return vmxc_guest_walk(&space, &info, access, mode->gva, &translation, &fault);
}

START_TEST(flags_are_set_on_request)
{
    build((size_t)_i);
    const uint64_t pdpte = registers.pdpte[2];

    ck_assert_int_eq(walk_setting_flags(u_read), VMXC_OK);
    ck_assert_uint_eq(dirty_calls, mode->memory_levels);
    for (unsigned level = 1; level <= mode->memory_levels; level++)
        ck_assert_uint_eq(get_entry(level),
                          (level == 1 ? PAGE_GPA : TABLE_GPA(level - 1)) | PWU | A);

    /* A write adds the leaf's dirty flag and leaves the others alone. */
    ck_assert_int_eq(walk_setting_flags(u_write), VMXC_OK);
    ck_assert_uint_eq(dirty_calls, mode->memory_levels + 1);
    ck_assert_uint_eq(get_entry(1), PAGE_GPA | PWU | A | D);
    ck_assert_uint_eq(get_entry(2), TABLE_GPA(1) | PWU | A);
    ck_assert_int_eq(walk_setting_flags(u_write), VMXC_OK);
    ck_assert_uint_eq(dirty_calls, mode->memory_levels + 1);
    ck_assert_uint_eq(registers.pdpte[2], pdpte);
}
END_TEST

START_TEST(the_dirty_flag_of_a_large_page_is_in_its_entry)
{
    build((size_t)_i);
    set_entry(2, 0x00800000 | PS | PWU);
    ck_assert_int_eq(walk_setting_flags(s_write), VMXC_OK);
    ck_assert_uint_eq(get_entry(2), 0x00800000 | PS | PWU | A | D);
}
END_TEST

START_TEST(a_fault_sets_no_flags)
{
    build((size_t)_i);
    set_entry(1, PAGE_GPA | P | U);
    ck_assert_int_eq(walk_setting_flags(u_write), VMXC_GUEST_FAULT);
    set_entry(1, 0);
    ck_assert_int_eq(walk_setting_flags(u_write), VMXC_GUEST_FAULT);
    ck_assert_uint_eq(dirty_calls, 0);
    ck_assert_uint_eq(get_entry(2), TABLE_GPA(1) | PWU);
}
END_TEST

START_TEST(flags_in_a_table_that_may_not_be_written_are_denied)
{
    build((size_t)_i);
    ck_assert_int_eq(vmxc_addrspace_map_linear(&space, GUEST_SIZE, GUEST_HPA + TABLE_GPA(1), 4096,
                                               VMXC_MAP_READ),
                     VMXC_OK);
    set_entry(2, GUEST_SIZE | PWU | A);
    ck_assert_int_eq(walk(u_write), VMXC_OK);
    ck_assert_int_eq(walk_setting_flags(u_write), VMXC_DENIED);
    ck_assert_uint_eq(fault.level, 1);
    ck_assert_uint_eq(fault.entry_gpa, GUEST_SIZE + mode->entry_gpa[1] % 4096);
    ck_assert_int_eq(fault.kind, VMXC_GUEST_FAULT_NONE);
    /* With the flags set already there is nothing to write. */
    set_entry(1, PAGE_GPA | PWU | A | D);
    ck_assert_int_eq(walk_setting_flags(u_write), VMXC_OK);
}
END_TEST

/* Another processor makes the page read-only between our look at the leaf and our exchange. */
static void revoke_write(vmxc_hpa_t hpa)
{
    if (hpa == GUEST_HPA + mode->entry_gpa[1])
        set_entry(1, PAGE_GPA | P | U);
}

static void flip_ignored_bit(vmxc_hpa_t hpa)
{
    if (hpa == GUEST_HPA + mode->entry_gpa[1])
        set_entry(1, get_entry(1) ^ BIT(9));
}

START_TEST(an_entry_that_changes_meanwhile_is_read_again)
{
    build((size_t)_i);
    on_dirty = revoke_write;
    ck_assert_int_eq(walk_setting_flags(u_write), VMXC_GUEST_FAULT);
    ck_assert_int_eq(fault.kind, VMXC_GUEST_FAULT_RIGHTS);
    ck_assert_uint_eq(get_entry(1), PAGE_GPA | P | U);
}
END_TEST

START_TEST(an_entry_that_never_rests_is_busy)
{
    build((size_t)_i);
    on_dirty = flip_ignored_bit;
    ck_assert_int_eq(walk_setting_flags(u_write), VMXC_BUSY);
    ck_assert_uint_eq(get_entry(1) & (A | D), 0);
}
END_TEST

static Suite *suite(void)
{
    Suite *const s = suite_create("guest_rights");
    TCase *const t = tcase_create("walk");

    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_loop_test(t, rights_at_every_level, 0, MODES);
    tcase_add_test(t, fetch_bit_needs_nxe_or_smep);
    tcase_add_test(t, pdptes_give_neither_rights_nor_flags);
    tcase_add_loop_test(t, protection_keys, 0, 4);
    tcase_add_loop_test(t, protection_keys_are_for_64_bit_modes, 0, LONG_MODE);
    tcase_add_test(t, the_error_code_names_a_key_besides_missing_rights);
    tcase_add_loop_test(t, flags_are_set_on_request, 0, MODES);
    tcase_add_loop_test(t, the_dirty_flag_of_a_large_page_is_in_its_entry, 0, MODES);
    tcase_add_loop_test(t, a_fault_sets_no_flags, 0, MODES);
    tcase_add_loop_test(t, flags_in_a_table_that_may_not_be_written_are_denied, 0, MODES);
    tcase_add_loop_test(t, an_entry_that_changes_meanwhile_is_read_again, 0, MODES);
    tcase_add_loop_test(t, an_entry_that_never_rests_is_busy, 0, MODES);
    suite_add_tcase(s, t);
    return s;
}

int main(void)
{
    SRunner *const runner = srunner_create(suite());

    srunner_run_all(runner, CK_NORMAL);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
