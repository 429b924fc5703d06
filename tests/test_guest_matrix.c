/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest paging rights matrix (tests/data/guest_matrix.def) against the model, on hand-built tables.
 *
 * Each row is run in every paging mode with the entry that restricts at every level of the walk, for all settings of
 * the columns that the row leaves open.
 */
#include "support/layout.h"
#include "support/suite.h"

#include <check.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define READ  VMXSIM_ACCESS_READ
#define WRITE VMXSIM_ACCESS_WRITE
#define FETCH VMXSIM_ACCESS_FETCH

#define OK 0u
#define PF VMXC_PF_PRESENT
#define W  VMXC_PF_WRITE
#define U  VMXC_PF_USER
#define F  VMXC_PF_FETCH
#define K  VMXC_PF_PROTECTION_KEY

struct rights_row {
    char who;
    enum vmxsim_access_type access;
    char us, rw, xd, wp, smep, smap, ac;
    uint64_t outcome;
};

static const struct rights_row rights_rows[] = {
#define GUEST_ROW(who, access, us, rw, xd, wp, smep, smap, ac, outcome) \
    {who, access, us, rw, xd, wp, smep, smap, ac, outcome},
#include "data/guest_matrix.def"
};

struct key_row {
    char who;
    enum vmxsim_access_type access;
    char us, enabled, ad, wd, wp;
    uint64_t outcome;
};

static const struct key_row key_rows[] = {
#define KEY_ROW(who, access, us, enabled, ad, wd, wp, outcome) \
    {who, access, us, enabled, ad, wd, wp, outcome},
#include "data/guest_matrix.def"
};

static struct machine machine;
static struct layout layout;

static void set_up(void)
{
    const struct profile_changes changes = {.maxphyaddr = 52};
    machine_init(&machine, &changes);
}

static void tear_down(void)
{
    machine_fini(&machine);
}

static void build(enum guest_mode mode)
{
    const struct layout_options options = {.mode = mode, .ept_levels = 5, .ept_leaf = 1};
    layout_build(&layout, &machine, &options);
}

/* ---- One combination of all columns ---- */

struct combination {
    char who;
    enum vmxsim_access_type access;
    bool user_page, writable, disabled, wp, smep, smap, ac;
};

static bool fits(char column, bool value, char one)
{
    return column == '.' || (column == one) == value;
}

static bool row_names(const struct rights_row *row, const struct combination *c)
{
    return row->who == c->who && row->access == c->access && fits(row->us, c->user_page, 'u') &&
           fits(row->rw, c->writable, 'w') && fits(row->xd, c->disabled, 'd') &&
           fits(row->wp, c->wp, '1') && fits(row->smep, c->smep, '1') &&
           fits(row->smap, c->smap, '1') && fits(row->ac, c->ac, '1');
}

/* The one row that names the combination; ends the test unless there is exactly one. */
static const struct rights_row *find_row(const struct combination *c)
{
    const struct rights_row *found = NULL;
    for (size_t i = 0; i < COUNT(rights_rows); i++) {
        if (!row_names(&rights_rows[i], c))
            continue;
        if (found != NULL)
            ck_abort_msg("rows %zu and %zu name the same case", (size_t)(found - rights_rows), i);
        found = &rights_rows[i];
    }
    if (found == NULL)
        ck_abort_msg("no row names who %c, access %d, bits %d%d%d %d%d%d%d", c->who, c->access,
                     c->user_page, c->writable, c->disabled, c->wp, c->smep, c->smap, c->ac);
    return found;
}

/* Numbers 0 .. COMBINATIONS - 1 name every combination once; implicit accesses are never fetches. */
#define COMBINATIONS (3u * 3u * 128u)

static bool combination_at(unsigned number, struct combination *c)
{
    static const enum vmxsim_access_type accesses[] = {READ, WRITE, FETCH};
    const unsigned bits = number / 9;
    *c = (struct combination){
        .who = "SIU"[number % 3],
        .access = accesses[number / 3 % 3],
        .user_page = (bits & 1) != 0,
        .writable = (bits & 2) != 0,
        .disabled = (bits & 4) != 0,
        .wp = (bits & 8) != 0,
        .smep = (bits & 16) != 0,
        .smap = (bits & 32) != 0,
        .ac = (bits & 64) != 0,
    };
    return c->who != 'I' || c->access != FETCH;
}

static void set_bit(uint64_t *word, uint64_t mask, bool value)
{
    *word = value ? *word | mask : *word & ~mask;
}

static void apply_registers(const struct combination *c)
{
    struct vmxsim_vmcs *vmcs = &machine.vmcs;
    set_bit(&VMXSIM_VMCS(vmcs, GUEST_CR0), VMXC_CR0_WP, c->wp);
    set_bit(&VMXSIM_VMCS(vmcs, GUEST_CR4), VMXC_CR4_SMEP, c->smep);
    set_bit(&VMXSIM_VMCS(vmcs, GUEST_CR4), VMXC_CR4_SMAP, c->smap);
    set_bit(&VMXSIM_VMCS(vmcs, GUEST_RFLAGS), VMXC_RFLAGS_AC, c->ac);
    machine_set_cpl(&machine, c->who == 'S' ? 0 : 3);
    machine_load(&machine);
}

/* The restricting bits go into the entry of `level`; every other entry has all rights. */
static void apply_entry(const struct combination *c, unsigned level)
{
    const uint64_t restricted =
        (c->user_page ? 0 : VMXC_PTE_USER) | (c->writable ? 0 : VMXC_PTE_WRITE);
    for (unsigned i = 1; i < layout.region_count; i++)
        layout_set_guest_entry(&layout, &machine, i, layout.guest_value[i]);
    layout_set_guest_entry(&layout, &machine, level,
                           (layout.guest_value[level] & ~restricted) |
                               (c->disabled ? VMXC_PTE_NO_EXECUTE : 0));
}

static void check_outcome(const struct vmxsim_outcome *outcome, uint64_t error, const char *what)
{
    if (error == OK) {
        if (outcome->kind != VMXSIM_OUTCOME_COMPLETE ||
            outcome->page[0].hpa != layout_access_hpa(&layout, 0))
            ck_abort_msg("%s: expected completion, observed %s", what,
                         machine_outcome_text(outcome));
    } else if (outcome->kind != VMXSIM_OUTCOME_GUEST_EXCEPTION ||
               outcome->vector != VMXC_VECTOR_PF || !outcome->has_error_code ||
               outcome->error_code != error || outcome->cr2 != layout.linear) {
        ck_abort_msg("%s: expected #PF with error code %#" PRIx64 ", observed %s", what, error,
                     machine_outcome_text(outcome));
    }
}

/* A fault marks neither the leaf of the guest nor any memory of the page. */
static void check_leaf_after(const struct combination *c, uint64_t error, uint64_t leaf_before)
{
    const uint64_t leaf = layout_get_guest_entry(&layout, &machine, 1);
    const uint64_t flags = error != OK          ? 0
                           : c->access == WRITE ? VMXC_PTE_ACCESSED | VMXC_PTE_DIRTY
                                                : VMXC_PTE_ACCESSED;
    if (leaf != (leaf_before | flags))
        ck_abort_msg("leaf %#" PRIx64 " became %#" PRIx64 ", expected flags %#" PRIx64, leaf_before,
                     leaf, flags);
    if (error != OK && machine_read(&machine, layout_access_hpa(&layout, 0)) != 0)
        ck_abort_msg("a refused access stored data");
}

static void run_combination(enum guest_mode mode, const struct combination *c, unsigned level)
{
    apply_entry(c, level);
    const uint64_t leaf = layout_get_guest_entry(&layout, &machine, 1);
    const struct vmxsim_access access = {
        .type = c->access, .linear = layout.linear, .size = 4, .implicit = c->who == 'I'};
    const struct vmxsim_outcome outcome = machine_access_as(&machine, &access, NULL);

    uint64_t error = find_row(c)->outcome;
    if (mode == GUEST_32BIT && !c->smep)
        error &= ~F;
    char what[160];
    snprintf(what, sizeof(what),
             "%s, level %u, who %c, access %d, page %c%c%c, WP %d SMEP %d SMAP %d AC %d",
             guest_mode_names[mode], level, c->who, c->access, c->user_page ? 'u' : 's',
             c->writable ? 'w' : 'r', c->disabled ? 'd' : 'x', c->wp, c->smep, c->smap, c->ac);
    check_outcome(&outcome, error, what);
    check_leaf_after(c, error, leaf);
    machine_write(&machine, layout_access_hpa(&layout, 0), 0);
}

/* _i: the paging mode. */
START_TEST(every_row_in_every_mode_at_every_level)
{
    build(_i);
    for (unsigned number = 0; number < COMBINATIONS; number++) {
        struct combination c;
        if (!combination_at(number, &c) || (_i == GUEST_32BIT && c.disabled))
            continue;
        apply_registers(&c);
        for (unsigned level = 1; level <= guest_levels(_i); level++)
            run_combination(_i, &c, level);
    }
}
END_TEST

START_TEST(each_case_is_named_by_exactly_one_row)
{
    struct combination c;
    for (unsigned number = 0; number < COMBINATIONS; number++)
        if (combination_at(number, &c))
            ck_assert_ptr_nonnull(find_row(&c));
}
END_TEST

/* Read-modify-writes need what a write needs and report W. */
START_TEST(a_read_modify_write_is_judged_as_a_write)
{
    build(GUEST_4LEVEL);
    const struct combination c = {.who = 'U', .access = VMXSIM_ACCESS_RMW, .user_page = true};
    apply_registers(&c);
    apply_entry(&c, 1);
    const struct vmxsim_outcome outcome =
        machine_access(&machine, VMXSIM_ACCESS_RMW, layout.linear, 4);
    check_outcome(&outcome, PF | W | U, "read-modify-write of a read-only page");
}
END_TEST

/* U/S, R/W and XD may come from different entries: the AND, and for XD the OR, over all of them. */
START_TEST(rights_combine_over_the_levels)
{
    build(GUEST_5LEVEL);
    machine_set_cpl(&machine, 3);
    machine_load(&machine);
    layout_set_guest_entry(&layout, &machine, 5, layout.guest_value[5] & ~VMXC_PTE_WRITE);
    layout_set_guest_entry(&layout, &machine, 3, layout.guest_value[3] | VMXC_PTE_NO_EXECUTE);
    struct vmxsim_outcome outcome = machine_access(&machine, VMXSIM_ACCESS_READ, layout.linear, 4);
    check_outcome(&outcome, OK, "read");
    ck_assert(outcome.page[0].user && !outcome.page[0].writable && outcome.page[0].no_execute);
    outcome = machine_access(&machine, VMXSIM_ACCESS_WRITE, layout.linear, 4);
    check_outcome(&outcome, PF | W | U, "write");
    outcome = machine_access(&machine, VMXSIM_ACCESS_FETCH, layout.linear, 4);
    check_outcome(&outcome, PF | U | F, "fetch");
}
END_TEST

/* CPL 1 and 2 are supervisor mode. */
START_TEST(only_cpl_3_is_user_mode)
{
    build(GUEST_4LEVEL);
    layout_set_guest_entry(&layout, &machine, 1, layout.guest_value[1] & ~VMXC_PTE_USER);
    for (unsigned cpl = 0; cpl <= 3; cpl++) {
        machine_set_cpl(&machine, cpl);
        machine_load(&machine);
        const struct vmxsim_outcome outcome =
            machine_access(&machine, VMXSIM_ACCESS_READ, layout.linear, 4);
        check_outcome(&outcome, cpl == 3 ? PF | U : OK, "supervisor page");
    }
}
END_TEST

/* ---- Protection keys ---- */

struct key_case {
    const struct key_row *row;
    bool enabled, ad, wd, wp;
    unsigned key;
};

static bool key_case_at(const struct key_row *row, unsigned bits, struct key_case *c)
{
    *c = (struct key_case){.row = row,
                           .enabled = (bits & 1) != 0,
                           .ad = (bits & 2) != 0,
                           .wd = (bits & 4) != 0,
                           .wp = (bits & 8) != 0};
    return fits(row->enabled, c->enabled, '1') && fits(row->ad, c->ad, '1') &&
           fits(row->wd, c->wd, '1') && fits(row->wp, c->wp, '1');
}

/* The other register and the other 15 keys say the opposite, so that using them would show. */
static void apply_key_registers(const struct key_case *c)
{
    struct vmxsim_vmcs *vmcs = &machine.vmcs;
    const bool user_page = c->row->us == 'u';
    const uint32_t mine = (c->ad ? 1u : 0) | (c->wd ? 2u : 0);
    const uint32_t decisive = (~(mine * 0x55555555u) & ~(3u << (2 * c->key))) | mine
                                                                                    << (2 * c->key);
    const uint32_t other = ~(mine * 0x55555555u);

    set_bit(&VMXSIM_VMCS(vmcs, GUEST_CR0), VMXC_CR0_WP, c->wp);
    set_bit(&VMXSIM_VMCS(vmcs, GUEST_CR4), VMXC_CR4_PKE, user_page ? c->enabled : !c->enabled);
    set_bit(&VMXSIM_VMCS(vmcs, GUEST_CR4), VMXC_CR4_PKS, user_page ? !c->enabled : c->enabled);
    VMXSIM_VMCS(vmcs, GUEST_IA32_PKRS) = user_page ? other : decisive;
    machine_set_cpl(&machine, c->row->who == 'U' ? 3 : 0);
    machine_load(&machine);
    vmxsim_cpu_set_pkru(machine.cpu, user_page ? decisive : other);
}

/*
 * The leaf holds the key; bits 62:59 of the entries above are ignored, so they hold other keys.
 */
static void apply_keys(const struct key_case *c)
{
    for (unsigned level = 1; level < layout.region_count; level++) {
        const unsigned key = level == 1 ? c->key : (c->key + level) & 15;
        const uint64_t hidden = level == 1 && c->row->us == 's' ? VMXC_PTE_USER : 0;
        layout_set_guest_entry(&layout, &machine, level,
                               (layout.guest_value[level] & ~hidden) | (uint64_t)key << 59);
    }
}

static void run_key_case(enum guest_mode mode, const struct key_case *c)
{
    apply_key_registers(c);
    apply_keys(c);
    const struct vmxsim_outcome outcome =
        machine_access(&machine, c->row->access, layout.linear, 4);
    char what[160];
    snprintf(what, sizeof(what),
             "%s, who %c, access %d, page %c, key %u, enabled %d, AD %d, WD %d, WP %d",
             guest_mode_names[mode], c->row->who, c->row->access, c->row->us, c->key, c->enabled,
             c->ad, c->wd, c->wp);
    check_outcome(&outcome, c->row->outcome, what);
    if (outcome.kind == VMXSIM_OUTCOME_COMPLETE)
        ck_assert_uint_eq(outcome.page[0].protection_key, c->key);
}

START_TEST(protection_keys_guard_data_accesses)
{
    unsigned cases = 0;
    for (enum guest_mode mode = GUEST_4LEVEL; mode <= GUEST_5LEVEL; mode++) {
        build(mode);
        for (size_t i = 0; i < COUNT(key_rows); i++)
            for (unsigned bits = 0; bits < 16; bits++)
                for (unsigned key = 0; key < 16; key += 5) {
                    struct key_case c;
                    if (!key_case_at(&key_rows[i], bits, &c))
                        continue;
                    c.key = key;
                    run_key_case(mode, &c);
                    cases++;
                }
    }
    /* 2 modes x 4 keys x 16 settings x 9 triples of who, access and page (a user-mode access to s never gets that far). */
    ck_assert_uint_eq(cases, 2 * 4 * 16 * 9);
}
END_TEST

/*
 * PK says that the key forbids the access, whether or not the rights do so too ("Page-Fault Exceptions": the flag depends
 * on the key alone); it is 0 where an entry is not present or has a reserved bit.
 */
START_TEST(the_pk_bit_does_not_depend_on_other_rights)
{
    build(GUEST_4LEVEL);
    VMXSIM_VMCS(&machine.vmcs, GUEST_CR4) |= VMXC_CR4_PKE;
    VMXSIM_VMCS(&machine.vmcs, GUEST_CR0) |= VMXC_CR0_WP;
    machine_set_cpl(&machine, 3);
    machine_load(&machine);
    vmxsim_cpu_set_pkru(machine.cpu, 1); /* access-disable for key 0 */
    layout_set_guest_entry(&layout, &machine, 1, layout.guest_value[1] & ~VMXC_PTE_WRITE);
    struct vmxsim_outcome outcome = machine_access(&machine, WRITE, layout.linear, 4);
    check_outcome(&outcome, PF | W | U | K, "read-only page and a key that forbids");
    layout_set_guest_entry(&layout, &machine, 1, layout.guest_value[1] & ~VMXC_PTE_PRESENT);
    outcome = machine_access(&machine, WRITE, layout.linear, 4);
    check_outcome(&outcome, W | U, "not present");
    layout_set_guest_entry(&layout, &machine, 4, layout.guest_value[4] | VMXC_BIT(7));
    outcome = machine_access(&machine, WRITE, layout.linear, 4);
    check_outcome(&outcome, PF | W | U | VMXC_PF_RESERVED, "reserved bit");
}
END_TEST

START_TEST(keys_do_not_exist_outside_ia32e_mode)
{
    build(GUEST_PAE);
    VMXSIM_VMCS(&machine.vmcs, GUEST_CR4) |= VMXC_CR4_PKE | VMXC_CR4_PKS;
    VMXSIM_VMCS(&machine.vmcs, GUEST_IA32_PKRS) = 0xffffffff;
    machine_load(&machine);
    vmxsim_cpu_set_pkru(machine.cpu, 0xffffffff);
    const struct vmxsim_outcome outcome = machine_access(&machine, WRITE, layout.linear, 4);
    check_outcome(&outcome, OK, "PAE paging");
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("guest_matrix");
    TCase *rights = tcase_create("rights");
    tcase_add_checked_fixture(rights, set_up, tear_down);
    tcase_set_timeout(rights, 120);
    tcase_add_test(rights, each_case_is_named_by_exactly_one_row);
    tcase_add_loop_test(rights, every_row_in_every_mode_at_every_level, GUEST_32BIT, GUEST_MODES);
    tcase_add_test(rights, a_read_modify_write_is_judged_as_a_write);
    tcase_add_test(rights, rights_combine_over_the_levels);
    tcase_add_test(rights, only_cpl_3_is_user_mode);
    suite_add_tcase(s, rights);
    TCase *keys = tcase_create("protection keys");
    tcase_add_checked_fixture(keys, set_up, tear_down);
    tcase_add_test(keys, protection_keys_guard_data_accesses);
    tcase_add_test(keys, the_pk_bit_does_not_depend_on_other_rights);
    tcase_add_test(keys, keys_do_not_exist_outside_ia32e_mode);
    suite_add_tcase(s, keys);
    return s;
}

int main(void)
{
    return run_suite(suite());
}
