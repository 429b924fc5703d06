/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The EPT permission matrix (tests/data/ept_matrix.def) against the model, on hand-built tables.
 *
 * Each row is run with the restricting entry at every level of the walk, for pages of 4 KBytes, 2 MBytes and
 * 1 GByte, with accessed and dirty flags for EPT on and off, with and without execute-only translations and advanced
 * exit information, in all five paging modes, against the page and against each guest paging structure.
 */
#include "support/layout.h"
#include "support/suite.h"

#include <check.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- The data ---- */

#define E_R VMXC_EPT_VIOLATION_ENTRY_READ
#define E_W VMXC_EPT_VIOLATION_ENTRY_WRITE
#define E_X VMXC_EPT_VIOLATION_ENTRY_EXECUTE
#define E_U VMXC_EPT_VIOLATION_ENTRY_USER_EXECUTE

enum needs { ANY, XO, NEVER };
enum verdict { OK, V_R, V_W, V_X, V_RW, V_M, MC };
enum access_kind { READ, WRITE, FETCH_S, FETCH_U, RMW, PAGE_KINDS };
enum table_kind { GPT_AD, GPT_READ, GPT_UPDATE, TABLE_KINDS };

struct row {
    const char *rights;
    enum needs needs;
    uint64_t entry;
    enum verdict page[PAGE_KINDS];
    enum verdict table[TABLE_KINDS];
};

static const struct row plain_rows[] = {
#define EPT_ROW(rights, needs, entry, read, write, fetch, rmw, ad, rd, up) \
    {rights, needs, entry, {read, write, fetch, fetch, rmw}, {ad, rd, up}},
#include "data/ept_matrix.def"
};

static const struct row mbec_rows[] = {
#define EPT_MBEC_ROW(rights, needs, entry, read, write, fetch_s, fetch_u, rmw, ad, rd, up) \
    {rights, needs, entry, {read, write, fetch_s, fetch_u, rmw}, {ad, rd, up}},
#include "data/ept_matrix.def"
};

static const char *const page_kind_names[PAGE_KINDS] = {"read", "write", "supervisor fetch",
                                                        "user fetch", "read-modify-write"};
static const char *const table_kind_names[TABLE_KINDS] = {
    "guest-table access with A/D", "guest-table read", "guest-table flag update"};

static uint64_t rights_bits(const char *rights)
{
    uint64_t bits = 0;
    for (; *rights != '\0'; rights++) {
        bits |= *rights == 'r' ? VMXC_EPT_READ : 0;
        bits |= *rights == 'w' ? VMXC_EPT_WRITE : 0;
        bits |= *rights == 'x' ? VMXC_EPT_EXECUTE : 0;
        bits |= *rights == 'u' ? VMXC_EPT_USER_EXECUTE : 0;
    }
    return bits;
}

/* Bits 2:0 of the qualification: which access it was. */
static uint64_t access_bits(enum verdict verdict)
{
    static const uint64_t bits[] = {[V_R] = 1, [V_W] = 2, [V_X] = 4, [V_RW] = 3, [V_M] = 2};
    return bits[verdict];
}

/* ---- One cell ---- */

/* A configuration of processor, EPT and guest that the whole table is run in. */
struct setting {
    bool execute_only, advanced_info, mode_based;
    struct layout_options options;
};

struct cell {
    const struct setting *setting;
    const struct row *row;
    unsigned region; /* 0: the page; n: the guest entry of level n */
    unsigned level;  /* of the restricting EPT entry */
    const char *what;
    enum verdict verdict;
    enum vmxsim_access_type type;
    uint64_t linear_info; /* bits 11:9 of the qualification if advanced information is there */
};

static unsigned long cells_run;

static void describe(const struct cell *cell, char *text, size_t size)
{
    const struct setting *setting = cell->setting;
    snprintf(text, size,
             "%s at EPT level %u of %u (leaf %u), region %u, %s, %s, A/D %d, execute-only %d, "
             "advanced %d, mode-based %d",
             cell->row->rights, cell->level, setting->options.ept_levels, setting->options.ept_leaf,
             cell->region, cell->what, guest_mode_names[setting->options.mode],
             setting->options.accessed_dirty, setting->execute_only, setting->advanced_info,
             setting->mode_based);
}

static void fail_cell(const struct cell *cell, const struct vmxsim_outcome *outcome,
                      const char *expected)
{
    char text[256];
    describe(cell, text, sizeof(text));
    ck_abort_msg("%s:\n  expected %s\n  observed %s", text, expected,
                 machine_outcome_text(outcome));
}

/* What the walk of the page itself gives: the rights of the row if it is the page that is restricted. */
static void check_complete(const struct cell *cell, const struct layout *layout,
                           const struct vmxsim_outcome *outcome)
{
    const struct vmxsim_page_translation *page = &outcome->page[0];
    const uint64_t rights = cell->region == 0 ? rights_bits(cell->row->rights) : EPT_ALL;
    if (outcome->kind != VMXSIM_OUTCOME_COMPLETE || outcome->rule != VMXSIM_RULE_NONE ||
        outcome->page_count != 1 || page->gpa != layout_access_gpa(layout, 0) ||
        page->hpa != layout_access_hpa(layout, 0))
        fail_cell(cell, outcome, "completion at the page's address");
    if (page->ept_rights != (rights & VMXC_EPT_RWX) ||
        (cell->setting->mode_based &&
         page->ept_user_execute != ((rights & VMXC_EPT_USER_EXECUTE) != 0)))
        fail_cell(cell, outcome, "the rights of the row in the page's translation");
}

static void check_misconfiguration(const struct cell *cell, const struct layout *layout,
                                   const struct vmxsim_outcome *outcome)
{
    if (outcome->kind != VMXSIM_OUTCOME_VM_EXIT || outcome->exit_reason != EXIT_EPT_MISCONFIG ||
        outcome->qualification_defined ||
        outcome->guest_physical != layout_access_gpa(layout, cell->region))
        fail_cell(cell, outcome, "EPT misconfiguration (49)");
}

static void check_violation(const struct cell *cell, const struct layout *layout,
                            const struct vmxsim_outcome *outcome)
{
    const bool page = cell->region == 0;
    const uint64_t expected = access_bits(cell->verdict) | cell->row->entry |
                              VMXC_EPT_VIOLATION_LINEAR_VALID |
                              (page ? VMXC_EPT_VIOLATION_LINEAR_TRANSLATION : 0) |
                              (page && cell->setting->advanced_info ? cell->linear_info : 0);
    const uint64_t open = cell->verdict == V_M ? VMXC_EPT_VIOLATION_READ : 0;
    if (outcome->kind != VMXSIM_OUTCOME_VM_EXIT || outcome->exit_reason != EXIT_EPT_VIOLATION ||
        !outcome->qualification_defined || ((outcome->qualification ^ expected) & ~open) != 0 ||
        !outcome->guest_linear_valid || outcome->guest_linear != layout->linear ||
        !outcome->guest_physical_valid ||
        outcome->guest_physical != layout_access_gpa(layout, cell->region)) {
        char text[128];
        snprintf(text, sizeof(text), "violation %#" PRIx64 ", gpa %#" PRIx64 ", linear %#" PRIx64,
                 expected, layout_access_gpa(layout, cell->region), layout->linear);
        fail_cell(cell, outcome, text);
    }
}

/* A refused access moves no data and makes nothing dirty: not the page, not its EPT leaf, not its guest entry. */
static void check_nothing_stored(const struct cell *cell, const struct layout *layout,
                                 struct machine *machine, const struct vmxsim_outcome *outcome)
{
    const uint64_t leaf = machine_read(machine, layout->ept_entry[0][layout->ept_leaf]);
    if (machine_read(machine, layout_access_hpa(layout, 0)) != 0)
        fail_cell(cell, outcome, "the page's content unchanged");
    if (cell->region == 0 && (leaf & VMXC_EPT_DIRTY) != 0)
        fail_cell(cell, outcome, "no dirty flag for a page that was not written");
}

static void run_cell(const struct cell *cell, const struct layout *layout, struct machine *machine)
{
    const uint64_t built = layout->ept_value[cell->region][cell->level];
    machine_write(machine, layout->ept_entry[cell->region][cell->level],
                  (built & ~EPT_ALL) | rights_bits(cell->row->rights));
    machine_load(machine);
    const struct vmxsim_outcome outcome = machine_access(machine, cell->type, layout->linear, 4);
    cells_run++;

    if (cell->verdict == OK)
        check_complete(cell, layout, &outcome);
    else if (cell->verdict == MC)
        check_misconfiguration(cell, layout, &outcome);
    else
        check_violation(cell, layout, &outcome);
    if (cell->verdict != OK)
        check_nothing_stored(cell, layout, machine, &outcome);
    layout_reset(layout, machine);
}

/* ---- The loops ---- */

static enum verdict on_this_processor(const struct setting *setting, const struct row *row,
                                      enum verdict verdict)
{
    return row->needs == XO && !setting->execute_only ? MC : verdict;
}

static enum vmxsim_access_type access_type(enum access_kind kind)
{
    static const enum vmxsim_access_type types[PAGE_KINDS] = {
        VMXSIM_ACCESS_READ, VMXSIM_ACCESS_WRITE, VMXSIM_ACCESS_FETCH, VMXSIM_ACCESS_FETCH,
        VMXSIM_ACCESS_RMW};
    return types[kind];
}

/*
 * The page itself. Fetches of FETCH_U come from a user-mode linear address, all other accesses from a supervisor-mode
 * one; without paging every linear address is a user-mode, writable and executable one.
 */
static void run_page_cells(const struct setting *setting, const struct row *row,
                           const struct layout *layout, struct machine *machine)
{
    const bool paging = setting->options.mode != GUEST_NONE;
    for (enum access_kind kind = 0; kind < PAGE_KINDS; kind++) {
        const bool user = !paging || kind == FETCH_U;
        if (kind == FETCH_S && !paging)
            continue;
        for (unsigned level = setting->options.ept_leaf; level <= layout->top_own_level; level++) {
            if (paging && !user)
                layout_set_guest_entry(layout, machine, 1, layout->guest_value[1] & ~VMXC_PTE_USER);
            const struct cell cell = {.setting = setting,
                                      .row = row,
                                      .level = level,
                                      .what = page_kind_names[kind],
                                      .verdict = on_this_processor(setting, row, row->page[kind]),
                                      .type = access_type(kind),
                                      .linear_info = VMXC_EPT_VIOLATION_LINEAR_WRITABLE |
                                                     (user ? VMXC_EPT_VIOLATION_LINEAR_USER : 0)};
            run_cell(&cell, layout, machine);
        }
    }
}

/* Each guest paging structure. What the guest does with the page is a read here: it makes no difference. */
static void run_table_cells(const struct setting *setting, const struct row *row,
                            const struct layout *layout, struct machine *machine)
{
    const enum table_kind kind = setting->options.accessed_dirty    ? GPT_AD
                                 : setting->options.guest_flags_set ? GPT_READ
                                                                    : GPT_UPDATE;
    for (unsigned region = 1; region < layout->region_count; region++) {
        for (unsigned level = setting->options.ept_leaf; level <= layout->top_own_level; level++) {
            const struct cell cell = {.setting = setting,
                                      .row = row,
                                      .region = region,
                                      .level = level,
                                      .what = table_kind_names[kind],
                                      .verdict = on_this_processor(setting, row, row->table[kind]),
                                      .type = VMXSIM_ACCESS_READ};
            run_cell(&cell, layout, machine);
        }
    }
}

static void run_table(const struct setting *setting, struct machine *machine)
{
    struct layout layout;
    layout_build(&layout, machine, &setting->options);
    uint64_t *secondary = &VMXSIM_VMCS(&machine->vmcs, SECONDARY_PROCESSOR_BASED_CONTROLS);
    *secondary &= ~CTL2_MODE_BASED_EXEC;
    *secondary |= setting->mode_based ? CTL2_MODE_BASED_EXEC : 0;

    const struct row *rows = setting->mode_based ? mbec_rows : plain_rows;
    const size_t count = setting->mode_based ? sizeof(mbec_rows) / sizeof(mbec_rows[0])
                                             : sizeof(plain_rows) / sizeof(plain_rows[0]);
    for (size_t i = 0; i < count; i++) {
        run_page_cells(setting, &rows[i], &layout, machine);
        run_table_cells(setting, &rows[i], &layout, machine);
    }
}

/* All geometries of EPT and guest for one processor. */
static void run_processor(bool execute_only, bool advanced_info, bool mode_based)
{
    const struct profile_changes changes = {.maxphyaddr = 52,
                                            .ept_cap_clear =
                                                (execute_only ? 0 : EPT_CAP_EXECUTE_ONLY) |
                                                (advanced_info ? 0 : EPT_CAP_ADVANCED_INFO)};
    struct machine machine;
    machine_init(&machine, &changes);
    struct setting setting = {
        .execute_only = execute_only, .advanced_info = advanced_info, .mode_based = mode_based};
    struct layout_options *options = &setting.options;

    for (options->mode = 0; options->mode < GUEST_MODES; options->mode++)
        for (options->ept_levels = 4; options->ept_levels <= 5; options->ept_levels++)
            for (options->ept_leaf = 1; options->ept_leaf <= 3; options->ept_leaf++)
                for (unsigned flags = 0; flags < 4; flags++) {
                    options->accessed_dirty = (flags & 1) != 0;
                    options->guest_flags_set = (flags & 2) != 0;
                    run_table(&setting, &machine);
                }
    machine_fini(&machine);
}

/* Bit 0 of the loop index: execute-only; bit 1: advanced information; bit 2: mode-based execute control. */
START_TEST(every_row_everywhere)
{
    cells_run = 0;
    run_processor((_i & 1) != 0, (_i & 2) != 0, (_i & 4) != 0);
    /* 5 modes x 2 walk lengths x 3 page sizes x 4 flag settings x at least 8 rows x 5 accesses x 2 levels */
    ck_assert_uint_ge(cells_run, 5 * 2 * 3 * 4 * 8 * 4 * 2);
    printf("processor %d: %lu cells\n", _i, cells_run);
}
END_TEST

START_TEST(the_table_names_every_combination_of_rights_once)
{
    uint64_t seen = 0;
    for (size_t i = 0; i < sizeof(plain_rows) / sizeof(plain_rows[0]); i++)
        seen |= UINT64_C(1) << rights_bits(plain_rows[i].rights);
    ck_assert_uint_eq(seen, 0xff);
    seen = 0;
    for (size_t i = 0; i < sizeof(mbec_rows) / sizeof(mbec_rows[0]); i++) {
        const uint64_t bits = rights_bits(mbec_rows[i].rights);
        seen |= UINT64_C(1) << ((bits & 7) | (bits & VMXC_EPT_USER_EXECUTE) >> 7);
    }
    ck_assert_uint_eq(seen, 0xffff);
}
END_TEST

/* ---- What guest paging says of the linear address ---- */

/*
 * Bits 11:9, for every combination of U/S, R/W and XD in one guest entry (any level). User-mode: U/S is 1 in all
 * entries; writable: R/W is 1 in all; execute-disable: XD is 1 in any.
 */
static void run_linear_info(struct machine *machine, enum guest_mode mode, unsigned level,
                            uint64_t missing)
{
    const struct layout_options options = {.mode = mode, .ept_levels = 4, .ept_leaf = 1};
    struct layout layout;
    layout_build(&layout, machine, &options);
    /* No supervisor access is refused by guest paging: WP, SMEP and SMAP are off. */
    layout_set_guest_entry(&layout, machine, level, layout.guest_value[level] ^ missing);
    machine_write(machine, layout.ept_entry[0][1], 0);
    machine_load(machine);
    const struct vmxsim_outcome outcome =
        machine_access(machine, VMXSIM_ACCESS_WRITE, layout.linear, 4);
    const uint64_t expected =
        VMXC_EPT_VIOLATION_WRITE | VMXC_EPT_VIOLATION_LINEAR_VALID |
        VMXC_EPT_VIOLATION_LINEAR_TRANSLATION |
        (missing & VMXC_PTE_USER ? 0 : VMXC_EPT_VIOLATION_LINEAR_USER) |
        (missing & VMXC_PTE_WRITE ? 0 : VMXC_EPT_VIOLATION_LINEAR_WRITABLE) |
        (missing & VMXC_PTE_NO_EXECUTE ? VMXC_EPT_VIOLATION_LINEAR_NO_EXECUTE : 0);
    ck_assert_msg(outcome.exit_reason == EXIT_EPT_VIOLATION && outcome.qualification == expected,
                  "%s, level %u, changed bits %#" PRIx64 ": expected %#" PRIx64 ", observed %s",
                  guest_mode_names[mode], level, missing, expected, machine_outcome_text(&outcome));
}

START_TEST(bits_9_to_11_describe_the_linear_address)
{
    struct machine machine;
    machine_init(&machine, NULL);
    for (enum guest_mode mode = GUEST_32BIT; mode < GUEST_MODES; mode++)
        for (unsigned level = 1; level <= guest_levels(mode); level++)
            for (unsigned bits = 0; bits < (mode == GUEST_32BIT ? 4u : 8u); bits++)
                run_linear_info(&machine, mode, level,
                                (bits & 1 ? VMXC_PTE_USER : 0) | (bits & 2 ? VMXC_PTE_WRITE : 0) |
                                    (bits & 4 ? VMXC_PTE_NO_EXECUTE : 0));
    machine_fini(&machine);
}
END_TEST

/* ---- What the manual leaves open ---- */

/* The table above takes both values of bit 0 where the manual does; which one the model gives is in CAVEATS.md: 1. */
START_TEST(read_modify_writes_and_flag_updates_report_a_read_too)
{
    struct machine machine;
    machine_init(&machine, NULL);
    const struct layout_options options = {.mode = GUEST_4LEVEL, .ept_levels = 4, .ept_leaf = 1};
    struct layout layout;
    for (unsigned region = 0; region < 5; region++) {
        layout_build(&layout, &machine, &options);
        machine_write(&machine, layout.ept_entry[region][1],
                      (layout.ept_value[region][1] & ~EPT_ALL) | VMXC_EPT_READ);
        machine_load(&machine);
        const struct vmxsim_outcome outcome = machine_access(
            &machine, region == 0 ? VMXSIM_ACCESS_RMW : VMXSIM_ACCESS_READ, layout.linear, 4);
        ck_assert_uint_eq(outcome.exit_reason, EXIT_EPT_VIOLATION);
        ck_assert_uint_eq(outcome.guest_physical, layout_access_gpa(&layout, region));
        ck_assert_uint_eq(outcome.qualification & 7,
                          VMXC_EPT_VIOLATION_READ | VMXC_EPT_VIOLATION_WRITE);
    }
    machine_fini(&machine);
}
END_TEST

/* ---- Rights are the AND over all levels ---- */

START_TEST(the_qualification_holds_the_and_over_the_walk)
{
    struct machine machine;
    machine_init(&machine, NULL);
    const struct layout_options options = {.mode = GUEST_NONE, .ept_levels = 5, .ept_leaf = 1};
    struct layout layout;
    layout_build(&layout, &machine, &options);
    /* No level alone forbids reading and executing; together they leave reading only. */
    static const uint64_t rights[6] = {0, 7, 5, 7, 5, 3};
    for (unsigned level = 1; level <= 5; level++)
        machine_write(&machine, layout.ept_entry[0][level],
                      (layout.ept_value[0][level] & ~EPT_ALL) | rights[level]);
    machine_load(&machine);
    struct vmxsim_outcome outcome = machine_access(&machine, VMXSIM_ACCESS_READ, layout.linear, 4);
    ck_assert_int_eq(outcome.kind, VMXSIM_OUTCOME_COMPLETE);
    ck_assert_uint_eq(outcome.page[0].ept_rights, VMXC_EPT_READ);
    outcome = machine_access(&machine, VMXSIM_ACCESS_FETCH, layout.linear, 4);
    ck_assert_uint_eq(outcome.exit_reason, EXIT_EPT_VIOLATION);
    ck_assert_uint_eq(outcome.qualification & 0x3f, VMXC_EPT_VIOLATION_FETCH | E_R);
    machine_fini(&machine);
}
END_TEST

/* ---- Accesses by guest-physical address alone ---- */

/* Bit 7 is clear, and with it bits 8 to 11; loads of PDPTEs are reads even with accessed and dirty flags for EPT. */
START_TEST(guest_physical_accesses_have_no_linear_address)
{
    struct machine machine;
    machine_init(&machine, NULL);
    const struct layout_options options = {
        .mode = GUEST_4LEVEL, .ept_levels = 4, .ept_leaf = 1, .accessed_dirty = true};
    struct layout layout;
    struct vmxsim_outcome outcome;
    layout_build(&layout, &machine, &options);
    for (size_t i = 0; i < sizeof(plain_rows) / sizeof(plain_rows[0]); i++) {
        const struct row *row = &plain_rows[i];
        for (enum access_kind kind = READ; kind <= FETCH_S; kind++) {
            machine_write(&machine, layout.ept_entry[0][1],
                          (layout.ept_value[0][1] & ~EPT_ALL) | rights_bits(row->rights));
            machine_load(&machine);
            ck_assert_int_eq(vmxsim_guest_physical_access(machine.cpu,
                                                          layout_access_gpa(&layout, 0),
                                                          UINT64_C(1) << kind, &outcome, NULL),
                             VMXC_OK);
            if (row->page[kind] == OK) {
                ck_assert_int_eq(outcome.kind, VMXSIM_OUTCOME_COMPLETE);
                ck_assert_uint_eq(outcome.page[0].hpa, layout_access_hpa(&layout, 0));
                ck_assert_int_eq(outcome.page[0].ept_user_execute,
                                 (rights_bits(row->rights) & VMXC_EPT_USER_EXECUTE) != 0);
                continue;
            }
            ck_assert_int_eq(outcome.kind, VMXSIM_OUTCOME_VM_EXIT);
            ck_assert_uint_eq(outcome.guest_physical, layout_access_gpa(&layout, 0));
            ck_assert(!outcome.guest_linear_valid);
            ck_assert_uint_eq(outcome.exit_reason,
                              row->page[kind] == MC ? EXIT_EPT_MISCONFIG : EXIT_EPT_VIOLATION);
            if (row->page[kind] != MC)
                ck_assert_uint_eq(outcome.qualification, access_bits(row->page[kind]) | row->entry);
        }
    }
    machine_fini(&machine);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("ept_matrix");
    TCase *matrix = tcase_create("matrix");
    tcase_set_timeout(matrix, 300);
    tcase_add_test(matrix, the_table_names_every_combination_of_rights_once);
    tcase_add_loop_test(matrix, every_row_everywhere, 0, 8);
    suite_add_tcase(s, matrix);
    TCase *details = tcase_create("qualification");
    tcase_add_test(details, bits_9_to_11_describe_the_linear_address);
    tcase_add_test(details, read_modify_writes_and_flag_updates_report_a_read_too);
    tcase_add_test(details, the_qualification_holds_the_and_over_the_walk);
    tcase_add_test(details, guest_physical_accesses_have_no_linear_address);
    suite_add_tcase(s, details);
    return s;
}

int main(void)
{
    return run_suite(suite());
}
