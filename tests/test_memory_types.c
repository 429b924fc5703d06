/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The memory type of accesses under EPT (tests/data/memory_types.def) against the model: every EPT type, ignore-PAT, every
 * PAT entry chosen by every kind of guest leaf, and no paging.
 */
#include "support/layout.h"

#include <check.h>
#include <stdlib.h>

#define UC VMXC_MEMORY_TYPE_UC
#define WC VMXC_MEMORY_TYPE_WC
#define WT VMXC_MEMORY_TYPE_WT
#define WP VMXC_MEMORY_TYPE_WP
#define WB VMXC_MEMORY_TYPE_WB

enum { PAT_UC, PAT_UC_MINUS, PAT_WC, PAT_WT, PAT_WP, PAT_WB, PAT_TYPES };

static const struct {
    enum vmxc_memory_type ept;
    enum vmxc_memory_type effective[PAT_TYPES];
} rows[] = {
#define TYPE_ROW(ept, uc, uc_minus, wc, wt, wp, wb) {ept, {uc, uc_minus, wc, wt, wp, wb}},
#include "data/memory_types.def"
};
#define ROWS (sizeof(rows) / sizeof(rows[0]))

/* Which column each of the eight PAT entries of PAT_VALUE means. */
static const unsigned pat_columns[8] = {PAT_WB, PAT_WT, PAT_UC_MINUS, PAT_UC,
                                        PAT_WP, PAT_WC, PAT_WB,       PAT_WB};

static struct machine machine;
static struct layout layout;

static void set_up(void)
{
    machine_init(&machine, NULL);
}

static void tear_down(void)
{
    machine_fini(&machine);
}

static void build(enum guest_mode mode, unsigned ept_leaf)
{
    const struct layout_options options = {.mode = mode, .ept_levels = 4, .ept_leaf = ept_leaf};
    layout_build(&layout, &machine, &options);
}

static void set_ept_type(enum vmxc_memory_type type, bool ignore_pat)
{
    const unsigned level = layout.ept_leaf;
    machine_write(&machine, layout.ept_entry[0][level],
                  (layout.ept_value[0][level] & ~(uint64_t)VMXC_EPT_MEMORY_TYPE) |
                      (uint64_t)type << 3 | (ignore_pat ? VMXC_EPT_IGNORE_PAT : 0));
}

static enum vmxc_memory_type type_of_access(void)
{
    machine_load(&machine);
    const struct vmxsim_outcome outcome =
        machine_access(&machine, VMXSIM_ACCESS_READ, layout.linear, 4);
    ck_assert_int_eq(outcome.kind, VMXSIM_OUTCOME_COMPLETE);
    return outcome.page[0].memory_type;
}

/* Bits of a guest leaf that select PAT entry `index`: PWT, PCD, and PAT at bit 7 (4 KBytes) or 12 (larger). */
static uint64_t pat_bits(unsigned index, uint64_t pat)
{
    return (index & 1 ? VMXC_PTE_PWT : 0) | (index & 2 ? VMXC_PTE_PCD : 0) | (index & 4 ? pat : 0);
}

/* All EPT types with one PAT entry selected. */
static void check_rows(unsigned index, const char *what)
{
    for (size_t i = 0; i < ROWS; i++) {
        const enum vmxc_memory_type expected = rows[i].effective[pat_columns[index]];
        set_ept_type(rows[i].ept, false);
        enum vmxc_memory_type type = type_of_access();
        ck_assert_msg(type == expected, "%s, EPT type %d, PAT entry %u: type %d, expected %d", what,
                      rows[i].ept, index, type, expected);
        set_ept_type(rows[i].ept, true);
        type = type_of_access();
        ck_assert_msg(type == rows[i].ept, "%s, EPT type %d with ignore-PAT, PAT entry %u: type %d",
                      what, rows[i].ept, index, type);
    }
}

START_TEST(the_pat_entry_of_a_4_kbyte_page_combines_with_the_ept_type)
{
    for (enum guest_mode mode = GUEST_32BIT; mode < GUEST_MODES; mode++) {
        build(mode, 1);
        for (unsigned index = 0; index < 8; index++) {
            layout_set_guest_entry(&layout, &machine, 1,
                                   layout.guest_value[1] | pat_bits(index, VMXC_PTE_PAT));
            check_rows(index, guest_mode_names[mode]);
        }
    }
}
END_TEST

/* In entries that map larger pages, the PAT bit is bit 12. */
START_TEST(the_pat_bit_of_large_pages_is_bit_12)
{
    for (enum guest_mode mode = GUEST_32BIT; mode < GUEST_MODES; mode++) {
        build(mode, 1);
        const uint64_t span = mode == GUEST_32BIT ? UINT64_C(4) << 20 : VMXC_PAGE_SIZE_2M;
        const uint64_t base = layout.gpa[0] & ~(span - 1);
        /* The EPT leaf of region 0 moves to where the large page puts the access. */
        const uint64_t gpa = base + (layout.linear & (span - 1));
        machine_ept_map(&machine, gpa, layout.hpa[0], 1);
        layout.ept_entry[0][1] = machine_ept_entry(&machine, gpa, 1);
        for (unsigned index = 0; index < 8; index++) {
            layout_set_guest_entry(&layout, &machine, 2,
                                   base | 0x87 | pat_bits(index, VMXC_PTE_LARGE_PAT));
            check_rows(index, guest_mode_names[mode]);
        }
    }
}
END_TEST

/* PWT and PCD of the entries above select the type of the next table, not of the page. */
START_TEST(only_the_leaf_selects_the_type_of_the_page)
{
    build(GUEST_4LEVEL, 1);
    for (unsigned level = 2; level <= 4; level++)
        layout_set_guest_entry(&layout, &machine, level,
                               layout.guest_value[level] | VMXC_PTE_PCD | VMXC_PTE_PWT);
    VMXSIM_VMCS(&machine.vmcs, GUEST_CR3) |= VMXC_CR3_PCD | VMXC_CR3_PWT;
    check_rows(0, "PCD and PWT above the leaf");
}
END_TEST

START_TEST(large_ept_pages_have_types_too)
{
    for (unsigned leaf = 2; leaf <= 3; leaf++) {
        build(GUEST_4LEVEL, leaf);
        layout_set_guest_entry(&layout, &machine, 1, layout.guest_value[1] | VMXC_PTE_PWT);
        check_rows(1, "large EPT page");
    }
}
END_TEST

/* Without paging the PAT type is taken to be WB. */
START_TEST(without_paging_the_pat_acts_as_write_back)
{
    build(GUEST_NONE, 1);
    VMXSIM_VMCS(&machine.vmcs, GUEST_IA32_PAT) = 0; /* all entries UC: must not matter */
    check_rows(0, "no paging");
}
END_TEST

/* VM entry does not load CR0.CD and NW ("Loading Guest Control Registers, Debug Registers, and MSRs"). */
START_TEST(the_cache_disable_bit_of_the_cr0_field_is_not_loaded)
{
    build(GUEST_4LEVEL, 1);
    VMXSIM_VMCS(&machine.vmcs, GUEST_CR0) |= VMXC_CR0_CD | VMXC_CR0_NW;
    check_rows(0, "CR0.CD in the VMCS");
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("memory_types");
    TCase *types = tcase_create("types");
    tcase_add_checked_fixture(types, set_up, tear_down);
    tcase_add_test(types, the_pat_entry_of_a_4_kbyte_page_combines_with_the_ept_type);
    tcase_add_test(types, the_pat_bit_of_large_pages_is_bit_12);
    tcase_add_test(types, only_the_leaf_selects_the_type_of_the_page);
    tcase_add_test(types, large_ept_pages_have_types_too);
    tcase_add_test(types, without_paging_the_pat_acts_as_write_back);
    tcase_add_test(types, the_cache_disable_bit_of_the_cr0_field_is_not_loaded);
    suite_add_tcase(s, types);
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
