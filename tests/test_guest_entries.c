/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guest paging-structure entries beyond rights: reserved bits, page sizes, PDPTE registers, accessed and dirty flags.
 * Source: Intel SDM volume 3, chapter "Paging".
 */
#include "support/layout.h"

#include <check.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct format {
    enum guest_mode mode;
    unsigned level;
    bool ps;
    uint64_t reserved;
};

static const struct format formats[] = {
#define GUEST_FORMAT(mode, level, ps, reserved) {mode, level, ps, reserved},
#include "data/guest_matrix.def"
};
#define FORMATS (sizeof(formats) / sizeof(formats[0]))

#define READ  VMXSIM_ACCESS_READ
#define WRITE VMXSIM_ACCESS_WRITE
#define FETCH VMXSIM_ACCESS_FETCH

static struct machine machine;
static struct layout layout;

static void set_up_with(const struct profile_changes *changes)
{
    machine_init(&machine, changes);
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

static uint64_t page_span(enum guest_mode mode, unsigned level)
{
    return UINT64_C(1) << (12 + (mode == GUEST_32BIT ? 10 : 9) * (level - 1));
}

/* Makes the entry of `level` map a large page; the 4 KBytes of it that the access needs lie at the layout's hpa. */
static uint64_t use_large_page(unsigned level)
{
    const uint64_t span = page_span(layout.mode, level);
    const uint64_t base = layout.gpa[0] & ~(span - 1);
    const uint64_t gpa = base + (layout.linear & (span - 1));
    layout.guest_value[level] =
        base | VMXC_PTE_PRESENT | VMXC_PTE_WRITE | VMXC_PTE_USER | VMXC_PTE_PAGE_SIZE;
    layout_set_guest_entry(&layout, &machine, level, layout.guest_value[level]);
    machine_ept_map(&machine, gpa, layout.hpa[0], 1);
    return gpa;
}

static struct vmxsim_outcome access_page(enum vmxsim_access_type type)
{
    return machine_access(&machine, type, layout.linear, 4);
}

static void expect_fault(const struct vmxsim_outcome *outcome, uint64_t error, uint64_t cr2,
                         const char *what)
{
    ck_assert_msg(outcome->kind == VMXSIM_OUTCOME_GUEST_EXCEPTION &&
                      outcome->vector == VMXC_VECTOR_PF && outcome->has_error_code &&
                      outcome->error_code == error && outcome->cr2 == cr2,
                  "%s: expected #PF %#" PRIx64 " at %#" PRIx64 ", observed %s", what, error, cr2,
                  machine_outcome_text(outcome));
}

static void expect_complete(const struct vmxsim_outcome *outcome, const char *what)
{
    ck_assert_msg(outcome->kind == VMXSIM_OUTCOME_COMPLETE &&
                      outcome->page[0].hpa == layout_access_hpa(&layout, 0),
                  "%s: expected completion, observed %s", what, machine_outcome_text(outcome));
}

/* ---- Reserved bits ---- */

/* Bits that hold an address, or choose another format, are not flipped one by one. */
static uint64_t shape_bits(const struct format *format)
{
    const uint64_t span = format->ps ? page_span(format->mode, format->level) : VMXC_PAGE_SIZE;
    const uint64_t address = VMXC_BITS(51, 12) & ~(span - 1);
    const bool may_be_large = format->mode == GUEST_32BIT || format->mode == GUEST_PAE
                                  ? format->level == 2
                                  : format->level == 2 || format->level == 3;
    /* PSE-36: bits 20:13 of a 4-MByte PDE are an address too. */
    const uint64_t pse36 = format->mode == GUEST_32BIT && format->ps ? VMXC_BITS(20, 13) : 0;
    return VMXC_PTE_PRESENT | address | pse36 | (may_be_large ? VMXC_PTE_PAGE_SIZE : 0);
}

static void check_bit(const struct format *format, unsigned bit, uint64_t reserved)
{
    const uint64_t mask = VMXC_BIT(bit);
    if ((shape_bits(format) & ~reserved & mask) != 0)
        return;
    layout_set_guest_entry(&layout, &machine, format->level,
                           layout.guest_value[format->level] ^ mask);
    const struct vmxsim_outcome outcome = access_page(READ);
    char what[128];
    snprintf(what, sizeof(what), "%s, level %u, PS %d, bit %u", guest_mode_names[format->mode],
             format->level, format->ps, bit);
    if ((reserved & mask) != 0) {
        expect_fault(&outcome, VMXC_PF_PRESENT | VMXC_PF_RESERVED, layout.linear, what);
        ck_assert_int_eq(outcome.rule, VMXSIM_RULE_PG_RSVD);
    } else {
        expect_complete(&outcome, what);
    }
    layout_set_guest_entry(&layout, &machine, format->level, layout.guest_value[format->level]);
}

static void check_all_formats(unsigned maxphyaddr, bool nxe)
{
    const struct profile_changes changes = {.maxphyaddr = maxphyaddr};
    set_up_with(&changes);
    for (size_t i = 0; i < FORMATS; i++) {
        const struct format *format = &formats[i];
        const bool wide = format->mode != GUEST_32BIT;
        const uint64_t reserved = format->reserved |
                                  (wide && maxphyaddr < 52 ? VMXC_BITS(51, maxphyaddr) : 0) |
                                  (wide && !nxe ? VMXC_PTE_NO_EXECUTE : 0);
        build(format->mode);
        if (format->ps)
            use_large_page(format->level);
        if (!nxe)
            VMXSIM_VMCS(&machine.vmcs, GUEST_IA32_EFER) &= ~VMXC_EFER_NXE;
        machine_load(&machine);
        for (unsigned bit = 0; bit < (wide ? 64u : 32u); bit++)
            check_bit(format, bit, reserved);
    }
    tear_down();
}

START_TEST(each_bit_of_each_format_is_reserved_or_not)
{
    check_all_formats(52, true);
    check_all_formats(52, false);
    check_all_formats(51, true);
}
END_TEST

/* A present entry with a reserved bit faults with RSVD and P and with what the access was; the key plays no part. */
START_TEST(reserved_faults_report_the_access_too)
{
    set_up_with(NULL);
    build(GUEST_4LEVEL);
    layout_set_guest_entry(&layout, &machine, 4, layout.guest_value[4] | VMXC_BIT(7));
    machine_set_cpl(&machine, 3);
    machine_load(&machine);
    const uint64_t common = VMXC_PF_PRESENT | VMXC_PF_RESERVED | VMXC_PF_USER;
    struct vmxsim_outcome outcome = access_page(READ);
    expect_fault(&outcome, common, layout.linear, "read");
    outcome = access_page(WRITE);
    expect_fault(&outcome, common | VMXC_PF_WRITE, layout.linear, "write");
    outcome = access_page(FETCH);
    expect_fault(&outcome, common | VMXC_PF_FETCH, layout.linear, "fetch");
    tear_down();
}
END_TEST

/* P = 0: no other bit of the entry matters, at any level of any mode; error code bit 0 is 0. */
START_TEST(not_present_beats_reserved)
{
    set_up_with(NULL);
    for (enum guest_mode mode = GUEST_32BIT; mode < GUEST_MODES; mode++) {
        build(mode);
        machine_load(&machine);
        for (unsigned level = 1; level <= guest_levels(mode); level++) {
            static const uint64_t junk[] = {0, ~UINT64_C(1), VMXC_BITS(62, 1), VMXC_PTE_PAGE_SIZE};
            for (size_t i = 0; i < 4; i++) {
                layout_set_guest_entry(&layout, &machine, level, junk[i]);
                struct vmxsim_outcome outcome = access_page(READ);
                expect_fault(&outcome, 0, layout.linear, "not present, read");
                ck_assert_int_eq(outcome.rule, VMXSIM_RULE_PG_NOT_PRESENT);
                outcome = access_page(WRITE);
                expect_fault(&outcome, VMXC_PF_WRITE, layout.linear, "not present, write");
                ck_assert_uint_eq(layout_get_guest_entry(&layout, &machine, level),
                                  mode == GUEST_32BIT ? junk[i] & 0xffffffff : junk[i]);
            }
            layout_set_guest_entry(&layout, &machine, level, layout.guest_value[level]);
        }
    }
    tear_down();
}
END_TEST

/* The entry that comes first in the walk decides, whatever is wrong below it. */
START_TEST(the_upper_entry_decides)
{
    set_up_with(NULL);
    build(GUEST_4LEVEL);
    machine_load(&machine);
    layout_set_guest_entry(&layout, &machine, 4, layout.guest_value[4] | VMXC_BIT(7));
    layout_set_guest_entry(&layout, &machine, 3, 0);
    struct vmxsim_outcome outcome = access_page(READ);
    expect_fault(&outcome, VMXC_PF_PRESENT | VMXC_PF_RESERVED, layout.linear, "reserved above");
    layout_set_guest_entry(&layout, &machine, 4, 0);
    layout_set_guest_entry(&layout, &machine, 3,
                           layout.guest_value[3] | VMXC_PTE_PAGE_SIZE | VMXC_BIT(13));
    outcome = access_page(READ);
    expect_fault(&outcome, 0, layout.linear, "not present above");
    tear_down();
}
END_TEST

/* The fetch bit needs SMEP, or NXE with PAE: with NXE = 0 and SMEP = 0 a fetch looks like a read. */
START_TEST(the_fetch_bit_needs_nxe_or_smep)
{
    set_up_with(NULL);
    for (enum guest_mode mode = GUEST_32BIT; mode < GUEST_MODES; mode++) {
        for (unsigned bits = 0; bits < 4; bits++) {
            const bool nxe = (bits & 1) != 0, smep = (bits & 2) != 0;
            build(mode);
            layout_set_guest_entry(&layout, &machine, 1, 0);
            uint64_t *efer = &VMXSIM_VMCS(&machine.vmcs, GUEST_IA32_EFER);
            *efer = (*efer & ~VMXC_EFER_NXE) | (nxe ? VMXC_EFER_NXE : 0);
            VMXSIM_VMCS(&machine.vmcs, GUEST_CR4) |= smep ? VMXC_CR4_SMEP : 0;
            machine_load(&machine);
            const struct vmxsim_outcome outcome = access_page(FETCH);
            const bool reported = smep || (nxe && mode != GUEST_32BIT);
            expect_fault(&outcome, reported ? VMXC_PF_FETCH : 0, layout.linear,
                         guest_mode_names[mode]);
        }
    }
    tear_down();
}
END_TEST

/* ---- Page sizes ---- */

START_TEST(large_pages_translate_with_the_offset_of_their_size)
{
    set_up_with(NULL);
    for (size_t i = 0; i < FORMATS; i++) {
        if (!formats[i].ps)
            continue;
        build(formats[i].mode);
        const uint64_t gpa = use_large_page(formats[i].level);
        machine_load(&machine);
        const struct vmxsim_outcome outcome = access_page(WRITE);
        expect_complete(&outcome, guest_mode_names[formats[i].mode]);
        ck_assert_uint_eq(outcome.page[0].gpa, gpa);
        ck_assert_uint_eq(outcome.page[0].guest_page_size,
                          page_span(formats[i].mode, formats[i].level));
        /* The entry that maps the page has both flags; the one below it was not read. */
        ck_assert_uint_eq(layout_get_guest_entry(&layout, &machine, formats[i].level),
                          layout.guest_value[formats[i].level] | VMXC_PTE_ACCESSED |
                              VMXC_PTE_DIRTY);
        ck_assert_uint_eq(layout_get_guest_entry(&layout, &machine, 1), layout.guest_value[1]);
    }
    tear_down();
}
END_TEST

START_TEST(pages_of_1_gbyte_need_their_capability)
{
    const struct profile_changes changes = {.cpuid_80000001_edx_clear = 1u << 26};
    set_up_with(&changes);
    build(GUEST_4LEVEL);
    use_large_page(3);
    machine_load(&machine);
    const struct vmxsim_outcome outcome = access_page(READ);
    expect_fault(&outcome, VMXC_PF_PRESENT | VMXC_PF_RESERVED, layout.linear, "no 1-GByte pages");
    tear_down();
}
END_TEST

/* A 4-MByte PDE: bits 31:22 are address bits 31:22, bits 20:13 address bits 39:32. */
START_TEST(pse_36_reaches_40_bits)
{
    const struct profile_changes changes = {.maxphyaddr = 52};
    set_up_with(&changes);
    build(GUEST_32BIT);
    for (unsigned high = 1; high < 256; high <<= 1) {
        const uint64_t gpa =
            (uint64_t)high << 32 | UINT64_C(0x7f000000) << 0 | (layout.linear & 0x3fffff);
        machine_ept_map(&machine, gpa, layout.hpa[0], 1);
        layout_set_guest_entry(&layout, &machine, 2,
                               UINT64_C(0x7f000000) | (uint64_t)high << 13 | 0x87);
        machine_load(&machine);
        const struct vmxsim_outcome outcome = access_page(READ);
        expect_complete(&outcome, "PSE-36");
        ck_assert_uint_eq(outcome.page[0].gpa, gpa);
    }
    tear_down();
}
END_TEST

static void expect_pde_bits(unsigned first_reserved, const char *what)
{
    for (unsigned bit = first_reserved; bit <= 21; bit++) {
        layout_set_guest_entry(&layout, &machine, 2, layout.guest_value[2] | VMXC_BIT(bit));
        const struct vmxsim_outcome outcome = access_page(READ);
        expect_fault(&outcome, VMXC_PF_PRESENT | VMXC_PF_RESERVED, layout.linear, what);
    }
    if (first_reserved > 13) {
        layout_set_guest_entry(&layout, &machine, 2,
                               layout.guest_value[2] | VMXC_BIT(first_reserved - 1));
        ck_assert_uint_ne(access_page(READ).vector, VMXC_VECTOR_PF);
    }
}

/* With N-bit physical addresses, N below 40, PDE bits 21:(N - 19) are reserved; without PSE-36, bits 21:13. */
START_TEST(reserved_bits_of_4_mbyte_pages_follow_the_address_width)
{
    for (unsigned width = 36; width < 40; width++) {
        const struct profile_changes changes = {.maxphyaddr = width};
        set_up_with(&changes);
        build(GUEST_32BIT);
        use_large_page(2);
        machine_load(&machine);
        expect_pde_bits(width - 19, "address bits beyond the width");
        tear_down();
    }
    const struct profile_changes changes = {.cpuid_1_edx_clear = 1u << 17};
    set_up_with(&changes);
    build(GUEST_32BIT);
    use_large_page(2);
    machine_load(&machine);
    expect_pde_bits(13, "no PSE-36");
    tear_down();
}
END_TEST

/* CR4.PSE = 0: bit 7 of a PDE is ignored, and no bit of it is reserved. */
START_TEST(without_cr4_pse_the_page_size_bit_is_ignored)
{
    set_up_with(NULL);
    build(GUEST_32BIT);
    VMXSIM_VMCS(&machine.vmcs, GUEST_CR4) &= ~VMXC_CR4_PSE;
    machine_load(&machine);
    layout_set_guest_entry(&layout, &machine, 2, layout.guest_value[2] | VMXC_PTE_PAGE_SIZE);
    const struct vmxsim_outcome outcome = access_page(READ);
    expect_complete(&outcome, "PS with CR4.PSE = 0");
    ck_assert_uint_eq(outcome.page[0].guest_page_size, VMXC_PAGE_SIZE);
    tear_down();
}
END_TEST

/* CR4.PSE plays no part in the other modes. */
START_TEST(large_pages_of_pae_and_ia32e_do_not_need_cr4_pse)
{
    set_up_with(NULL);
    for (enum guest_mode mode = GUEST_PAE; mode < GUEST_MODES; mode++) {
        build(mode);
        use_large_page(2);
        machine_load(&machine);
        const struct vmxsim_outcome outcome = access_page(READ);
        expect_complete(&outcome, guest_mode_names[mode]);
        ck_assert_uint_eq(outcome.page[0].guest_page_size, VMXC_PAGE_SIZE_2M);
    }
    tear_down();
}
END_TEST

/* ---- PDPTE registers ---- */

/* The VMCS fields hold them; memory at CR3 is not read, and nothing is written back. */
START_TEST(pdptes_are_registers)
{
    set_up_with(NULL);
    build(GUEST_PAE);
    VMXSIM_VMCS(&machine.vmcs, GUEST_CR3) = 0xfffff000; /* no EPT entry leads there */
    machine_load(&machine);
    struct vmxsim_trail trail;
    const struct vmxsim_access access = {.type = READ, .linear = layout.linear, .size = 4};
    const struct vmxsim_outcome outcome = machine_access_as(&machine, &access, &trail);
    expect_complete(&outcome, "PAE");
    ck_assert(trail.entry[0].is_register);
    ck_assert_int_eq(trail.entry[0].kind, VMXSIM_TRAIL_GUEST_ENTRY);
    ck_assert_uint_eq(trail.entry[0].value, VMXSIM_VMCS(&machine.vmcs, GUEST_PDPTE2));
    ck_assert_uint_eq(trail.entry[0].updated, trail.entry[0].value);
    ck_assert_uint_eq(trail.count, 1 + 3 * 5 + 2);
    tear_down();
}
END_TEST

START_TEST(bits_31_30_choose_the_pdpte)
{
    set_up_with(NULL);
    build(GUEST_PAE);
    const uint64_t pdpte = VMXSIM_VMCS(&machine.vmcs, GUEST_PDPTE2);
    for (unsigned chosen = 0; chosen < 4; chosen++) {
        VMXSIM_VMCS(&machine.vmcs, GUEST_PDPTE0) = chosen == 0 ? pdpte : 0;
        VMXSIM_VMCS(&machine.vmcs, GUEST_PDPTE1) = chosen == 1 ? pdpte : 0;
        VMXSIM_VMCS(&machine.vmcs, GUEST_PDPTE2) = chosen == 2 ? pdpte : 0;
        VMXSIM_VMCS(&machine.vmcs, GUEST_PDPTE3) = chosen == 3 ? pdpte : 0;
        machine_load(&machine);
        for (unsigned used = 0; used < 4; used++) {
            const uint64_t linear = (layout.linear & 0x3fffffff) | (uint64_t)used << 30;
            const struct vmxsim_outcome outcome = machine_access(&machine, READ, linear, 4);
            if (used == chosen)
                expect_complete(&outcome, "present PDPTE");
            else
                expect_fault(&outcome, 0, linear, "PDPTE with P = 0");
        }
    }
    tear_down();
}
END_TEST

/* ---- Accessed and dirty flags ---- */

START_TEST(each_entry_used_is_marked_and_nothing_else)
{
    set_up_with(NULL);
    for (enum guest_mode mode = GUEST_32BIT; mode < GUEST_MODES; mode++) {
        for (unsigned write = 0; write < 2; write++) {
            build(mode);
            machine_load(&machine);
            const unsigned neighbour = mode == GUEST_32BIT ? 4 : 8;
            for (unsigned level = 1; level < layout.region_count; level++)
                vmxsim_memory_write32(machine.memory, layout.guest_entry[level] + neighbour,
                                      0x5a5a5a5a);
            const struct vmxsim_outcome outcome = access_page(write ? WRITE : FETCH);
            expect_complete(&outcome, guest_mode_names[mode]);
            for (unsigned level = 1; level < layout.region_count; level++) {
                ck_assert_uint_eq(layout_get_guest_entry(&layout, &machine, level),
                                  layout.guest_value[level] | VMXC_PTE_ACCESSED |
                                      (write && level == 1 ? VMXC_PTE_DIRTY : 0));
                ck_assert_uint_eq(
                    vmxsim_memory_read32(machine.memory, layout.guest_entry[level] + neighbour),
                    0x5a5a5a5a);
            }
        }
    }
    tear_down();
}
END_TEST

static void add_pages(Suite *s)
{
    TCase *sizes = tcase_create("page sizes");
    tcase_add_test(sizes, pages_of_1_gbyte_need_their_capability);
    tcase_add_test(sizes, reserved_bits_of_4_mbyte_pages_follow_the_address_width);
    tcase_add_test(sizes, without_cr4_pse_the_page_size_bit_is_ignored);
    tcase_add_test(sizes, large_pages_of_pae_and_ia32e_do_not_need_cr4_pse);
    tcase_add_test(sizes, large_pages_translate_with_the_offset_of_their_size);
    tcase_add_test(sizes, pse_36_reaches_40_bits);
    tcase_add_test(sizes, pdptes_are_registers);
    tcase_add_test(sizes, bits_31_30_choose_the_pdpte);
    tcase_add_test(sizes, each_entry_used_is_marked_and_nothing_else);
    suite_add_tcase(s, sizes);
}

static Suite *suite(void)
{
    Suite *s = suite_create("guest_entries");
    TCase *reserved = tcase_create("reserved and not present");
    tcase_set_timeout(reserved, 60);
    tcase_add_test(reserved, each_bit_of_each_format_is_reserved_or_not);
    tcase_add_test(reserved, reserved_faults_report_the_access_too);
    tcase_add_test(reserved, not_present_beats_reserved);
    tcase_add_test(reserved, the_upper_entry_decides);
    tcase_add_test(reserved, the_fetch_bit_needs_nxe_or_smep);
    suite_add_tcase(s, reserved);
    add_pages(s);
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
