/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest-paging walker: every mode, every kind of fault on the way down, every reserved bit. What is expected is
 * written from the manual (SDM volume 3, "Paging"), bit by bit; nothing is computed by the code under test or by
 * the model.
 */

#include "support/guest_walk.h"
#include "support/suite.h"

/* ---- Registers ---- */

START_TEST(impossible_registers_are_refused)
{
    static const struct {
        const char *what;
        struct vmxc_guest_registers registers;
        struct vmxc_guest_paging_caps caps;
        enum vmxc_status status;
    } cases[] = {
        {"paging without protection", {.cr0 = BIT(31)}, {46, 48, 1, 1, 1}, VMXC_INVALID_INPUT},
        {"long mode without paging",
         {.cr0 = 1, .cr4 = BIT(5), .efer = BIT(10)},
         {46, 48, 1, 1, 1},
         VMXC_INVALID_INPUT},
        {"long mode without PAE",
         {.cr0 = BIT(31) | 1, .efer = BIT(10)},
         {46, 48, 1, 1, 1},
         VMXC_INVALID_INPUT},
        {"57-bit addresses on a 48-bit processor",
         {.cr0 = BIT(31) | 1, .cr4 = BIT(5) | BIT(12), .efer = BIT(10)},
         {46, 48, 1, 1, 1},
         VMXC_INVALID_INPUT},
        {"CR3 beyond MAXPHYADDR",
         {.cr0 = 1, .cr3 = BIT(46)},
         {46, 48, 1, 1, 1},
         VMXC_INVALID_INPUT},
        {"CR3 bit 63", {.cr0 = 1, .cr3 = BIT(63)}, {46, 48, 1, 1, 1}, VMXC_INVALID_INPUT},
        {"CPL 4", {.cpl = 4}, {46, 48, 1, 1, 1}, VMXC_INVALID_INPUT},
        {"31-bit physical addresses", {0}, {31, 48, 1, 1, 1}, VMXC_INVALID_INPUT},
        {"53-bit physical addresses", {0}, {53, 48, 1, 1, 1}, VMXC_INVALID_INPUT},
        {"47-bit linear addresses", {0}, {46, 47, 1, 1, 1}, VMXC_INVALID_INPUT},
        {"PDPTE 3 with reserved bit 1",
         {.cr0 = BIT(31) | 1, .cr4 = BIT(5), .pdpte = {0, 0, 0, P | BIT(1)}},
         {46, 48, 1, 1, 1},
         VMXC_INVALID_INPUT},
        {"linear-address-space separation",
         {.cr4 = VMXC_CR4_LASS},
         {46, 48, 1, 1, 1},
         VMXC_UNSUPPORTED},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct vmxc_guest_walk_info info = {.maxphyaddr = 99};
        ck_assert_msg(vmxc_guest_walk_info_init(&cases[i].registers, &cases[i].caps, &info) ==
                          cases[i].status,
                      "%s", cases[i].what);
        ck_assert_uint_eq(info.maxphyaddr, 99);
    }
}
END_TEST

START_TEST(linear_address_masking_bits_of_cr3_are_no_address)
{
    build(LONG_MODE);
    registers.cr3 |= VMXC_CR3_LAM_U48 | VMXC_CR3_LAM_U57 | 0xfff;
    ck_assert_uint_eq(make_info().root, TABLE_GPA(4));
    ck_assert_int_eq(walk(s_read), VMXC_OK);
}
END_TEST

/* The widest address of a table: bits 51:12 of CR3. */
START_TEST(the_root_lies_anywhere_in_the_physical_address_space)
{
    const struct vmxc_guest_paging_caps widest = {52, 57, 1, 1, 1};
    struct vmxc_guest_walk_info info;
    struct vmxc_guest_registers wide = {
        .cr0 = 0x80000001, .cr4 = 0x20, .efer = 0x500, .cr3 = BITS(51, 12)};

    ck_assert_int_eq(vmxc_guest_walk_info_init(&wide, &widest, &info), VMXC_OK);
    ck_assert_uint_eq(info.root, BITS(51, 12));
    wide.cr4 |= BIT(12);
    ck_assert_int_eq(vmxc_guest_walk_info_init(&wide, &widest, &info), VMXC_OK);
    ck_assert_uint_eq(info.root, BITS(51, 12));
    wide = (struct vmxc_guest_registers){.cr0 = 0x80000001, .cr3 = BITS(31, 12)};
    ck_assert_int_eq(vmxc_guest_walk_info_init(&wide, &widest, &info), VMXC_OK);
    ck_assert_uint_eq(info.root, BITS(31, 12));
}
END_TEST

/* A VM entry may leave bits 63:32 of CR3 set in a guest with 32-bit paging. */
START_TEST(bits_63_32_of_cr3_are_no_address_for_32_bit_paging)
{
    build(0);
    const uint64_t root = make_info().root;
    registers.cr3 |= BITS(39, 32) | BITS(11, 0);
    ck_assert_uint_eq(make_info().root, root);
    ck_assert_int_eq(walk(s_read), VMXC_OK);
}
END_TEST

START_TEST(reserved_bits_of_pdptes)
{
    /* SDM, "PDPTE Registers": bits 2:1, 8:5 and 63:MAXPHYADDR. */
    static const struct {
        uint8_t maxphyaddr;
        uint64_t reserved;
    } cases[] = {{32, BITS(2, 1) | BITS(8, 5) | BITS(63, 32)},
                 {46, BITS(2, 1) | BITS(8, 5) | BITS(63, 46)},
                 {52, BITS(2, 1) | BITS(8, 5) | BITS(63, 52)}};

    for (size_t i = 0; i < 3; i++) {
        for (unsigned bit = 1; bit < 64; bit++) {
            uint64_t pdpte[4] = {0};
            pdpte[bit % 4] = BIT(bit);
            ck_assert(vmxc_guest_pdptes_are_valid(pdpte, cases[i].maxphyaddr));
            pdpte[bit % 4] |= P;
            ck_assert_msg(vmxc_guest_pdptes_are_valid(pdpte, cases[i].maxphyaddr) ==
                              !(cases[i].reserved & BIT(bit)),
                          "bit %u", bit);
        }
    }
}
END_TEST

/* ---- Addresses ---- */

START_TEST(without_paging_the_address_stays)
{
    build(0);
    registers.cr0 = 0;
    ck_assert_int_eq(walk_at(u_write, 0xfffffff7), VMXC_OK);
    ck_assert_uint_eq(translation.gpa, 0xfffffff7);
    ck_assert_uint_eq(translation.page_size, 4096);
    ck_assert(translation.user && translation.writable && !translation.no_execute);
    ck_assert_int_eq(walk_at(s_read, UINT64_C(1) << 32), VMXC_INVALID_INPUT);
}
END_TEST

START_TEST(a_32_bit_mode_has_no_64_bit_addresses)
{
    build((size_t)_i);
    fault.kind = VMXC_GUEST_FAULT_KIND_COUNT;
    ck_assert_int_eq(walk_at(s_read, mode->gva | BIT(32)), VMXC_INVALID_INPUT);
    ck_assert_int_eq(walk_at(s_read, mode->gva | BIT(63)), VMXC_INVALID_INPUT);
    ck_assert_int_eq(fault.kind, VMXC_GUEST_FAULT_KIND_COUNT);
}
END_TEST

START_TEST(non_canonical_addresses_are_no_page_fault)
{
    static const struct {
        size_t mode;
        uint64_t gva;
        bool canonical;
    } cases[] = {
        {2, UINT64_C(0x00007fffffffffff), true},  {2, UINT64_C(0x0000800000000000), false},
        {2, UINT64_C(0xffff7fffffffffff), false}, {2, UINT64_C(0xffff800000000000), true},
        {2, UINT64_C(0x8000000000000000), false}, {2, UINT64_C(0xffffffffffffffff), true},
        {3, UINT64_C(0x0000800000000000), true},  {3, UINT64_C(0x00ffffffffffffff), true},
        {3, UINT64_C(0x0100000000000000), false}, {3, UINT64_C(0xfeffffffffffffff), false},
        {3, UINT64_C(0xff00000000000000), true},  {3, UINT64_C(0x7fffffffffffffff), false},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        build(cases[i].mode);
        ck_assert_int_eq(walk_at(u_write, cases[i].gva), VMXC_GUEST_FAULT);
        ck_assert_int_eq(fault.kind, cases[i].canonical ? VMXC_GUEST_FAULT_NOT_PRESENT
                                                        : VMXC_GUEST_FAULT_NON_CANONICAL);
        ck_assert_uint_eq(fault.gva, cases[i].gva);
        ck_assert_uint_eq(fault.error_code, cases[i].canonical ? 6 : 0);
    }
}
END_TEST

START_TEST(contradictory_accesses_are_refused)
{
    build((size_t)_i);
    ck_assert_int_eq(walk((struct vmxc_guest_access){.write = true, .fetch = true}),
                     VMXC_INVALID_INPUT);
    ck_assert_int_eq(walk((struct vmxc_guest_access){.user_mode = true, .implicit = true}),
                     VMXC_INVALID_INPUT);
    ck_assert_int_eq(walk((struct vmxc_guest_access){.fetch = true, .implicit = true}),
                     VMXC_INVALID_INPUT);
}
END_TEST

START_TEST(every_mode_finds_the_page)
{
    build((size_t)_i);
    ck_assert_int_eq(walk(u_write), VMXC_OK);
    ck_assert_uint_eq(translation.gpa, PAGE_GPA + OFFSET);
    ck_assert_uint_eq(translation.page_size, 4096);
    ck_assert(translation.user && translation.writable);
    ck_assert(!translation.no_execute && !translation.global);
    ck_assert_uint_eq(translation.pat_index, 0);
    ck_assert_uint_eq(make_info().levels, mode->levels);
    ck_assert_int_eq(make_info().mode, mode->mode);
    /* Flags were not asked for. */
    ck_assert_uint_eq(hal->announced, 0);
    ck_assert_uint_eq(get_entry(1), PAGE_GPA | PWU);
}
END_TEST

START_TEST(large_pages)
{
    static const struct {
        size_t mode;
        unsigned level;
        uint64_t entry, gpa, size;
    } cases[] = {
        {0, 2, 0x00800000 | PS | PWU, 0x00804567, UINT64_C(1) << 22},
        /* PSE-36: bits 20:13 are address bits 39:32. */
        {0, 2, 0xff800000 | BITS(20, 13) | PS | PWU, UINT64_C(0xffff804567), UINT64_C(1) << 22},
        {0, 2, 0x00800000 | BIT(13) | BIT(18) | PS | PWU, UINT64_C(0x2100804567),
         UINT64_C(1) << 22},
        {1, 2, UINT64_C(0x3fffffe00000) | PS | PWU, UINT64_C(0x3fffffe04567), UINT64_C(1) << 21},
        {2, 2, UINT64_C(0x3fffffe00000) | PS | PWU, UINT64_C(0x3fffffe04567), UINT64_C(1) << 21},
        {2, 3, UINT64_C(0x3fffc0000000) | PS | PWU, UINT64_C(0x3fffc0604567), UINT64_C(1) << 30},
        {3, 2, 0x00800000 | PS | PWU, 0x00804567, UINT64_C(1) << 21},
        {3, 3, 0x40000000 | PS | PWU, 0x40604567, UINT64_C(1) << 30},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        build(cases[i].mode);
        set_entry(cases[i].level, cases[i].entry);
        ck_assert_int_eq(walk(s_write), VMXC_OK);
        ck_assert_uint_eq(translation.gpa, cases[i].gpa);
        ck_assert_uint_eq(translation.page_size, cases[i].size);
    }
}
END_TEST

START_TEST(the_page_size_flag_means_nothing_without_pse)
{
    build(0);
    registers.cr4 = 0;
    set_entry(2, TABLE_GPA(1) | PS | PWU);
    ck_assert_int_eq(walk(s_read), VMXC_OK);
    ck_assert_uint_eq(translation.page_size, 4096);
    /* PAE paging does not ask CR4.PSE. */
    build(1);
    set_entry(2, 0x00800000 | PS | PWU);
    ck_assert_int_eq(walk(s_read), VMXC_OK);
    ck_assert_uint_eq(translation.page_size, UINT64_C(1) << 21);
}
END_TEST

START_TEST(the_leaf_gives_pat_index_and_global)
{
    for (unsigned bits = 0; bits < 8; bits++) {
        const uint64_t low = (bits & 1 ? BIT(3) : 0) | (bits & 2 ? BIT(4) : 0);

        build((size_t)_i);
        set_entry(1, PAGE_GPA | PWU | low | (bits & 4 ? BIT(7) : 0) | BIT(8));
        ck_assert_int_eq(walk(s_read), VMXC_OK);
        ck_assert_uint_eq(translation.pat_index, bits);
        ck_assert(!translation.global);
        registers.cr4 |= VMXC_CR4_PGE;
        ck_assert_int_eq(walk(s_read), VMXC_OK);
        ck_assert(translation.global);

        set_entry(2, 0x00800000 | PS | PWU | low | (bits & 4 ? BIT(12) : 0));
        ck_assert_int_eq(walk(s_read), VMXC_OK);
        ck_assert_uint_eq(translation.pat_index, bits);
        ck_assert(!translation.global);
    }
}
END_TEST

/* ---- Faults on the way down ---- */

START_TEST(an_entry_that_is_not_present_faults_whatever_else_it_says)
{
    static const struct {
        const struct vmxc_guest_access *access;
        uint32_t code, code_32bit;
    } cases[] = {{&s_read, 0, 0}, {&s_write, 2, 2}, {&s_fetch, 0x10, 0},
                 {&u_read, 4, 4}, {&u_write, 6, 6}, {&u_fetch, 0x14, 4}};

    for (unsigned level = 1; level <= modes[_i].levels; level++) {
        const uint64_t rest = modes[_i].entry_size == 8 ? ~P : 0xfffffffe;
        build((size_t)_i);
        set_entry(level, rest);
        for (size_t i = 0; i < 6; i++) {
            fault = (struct vmxc_guest_fault){0};
            ck_assert_int_eq(walk(*cases[i].access), VMXC_GUEST_FAULT);
            ck_assert_int_eq(fault.kind, VMXC_GUEST_FAULT_NOT_PRESENT);
            ck_assert_uint_eq(fault.error_code, _i == 0 ? cases[i].code_32bit : cases[i].code);
            ck_assert_uint_eq(fault.level, level);
            ck_assert(fault.is_register == (level > mode->memory_levels));
            ck_assert_uint_eq(fault.entry_gpa, mode->entry_gpa[level]);
            ck_assert_uint_eq(fault.entry, rest);
            ck_assert_uint_eq(fault.offending, P);
            ck_assert_uint_eq(fault.gva, mode->gva);
        }
    }
}
END_TEST

/* What the manual's format tables reserve in a present entry. `skip`: bits that select another format. */
static const struct reserved_case {
    size_t mode;
    unsigned level;
    bool page;
    uint8_t maxphyaddr;
    bool nxe, page_1g, pse36, pat, pse;
    uint64_t skip, reserved;
} reserved_cases[] = {
    /* 32-bit paging: nothing in a PDE for a table or a PTE; 4-MByte PDE: 21:(M-19), M at most 40. */
    {0, 2, false, 46, 1, 1, 1, 1, 1, PS, 0},
    {0, 2, false, 46, 1, 1, 1, 1, 0, 0, 0},
    {0, 1, true, 46, 1, 1, 1, 1, 1, 0, 0},
    {0, 1, true, 46, 1, 1, 1, 0, 1, 0, BIT(7)},
    {0, 2, true, 46, 1, 1, 1, 1, 1, PS, BIT(21)},
    {0, 2, true, 40, 1, 1, 1, 1, 1, PS, BIT(21)},
    {0, 2, true, 39, 1, 1, 1, 1, 1, PS, BITS(21, 20)},
    {0, 2, true, 36, 1, 1, 1, 1, 1, PS, BITS(21, 17)},
    {0, 2, true, 32, 1, 1, 1, 1, 1, PS, BITS(21, 13)},
    {0, 2, true, 46, 1, 1, 0, 1, 1, PS, BITS(21, 13)},
    {0, 2, true, 46, 1, 1, 0, 0, 1, PS, BITS(21, 12)},
    /* PAE paging: 62:M, bit 63 without NXE, 20:13 of a 2-MByte PDE. */
    {1, 2, false, 46, 1, 1, 1, 1, 1, PS, BITS(62, 46)},
    {1, 2, false, 46, 0, 1, 1, 1, 1, PS, BITS(63, 46)},
    {1, 2, false, 52, 1, 1, 1, 1, 1, PS, BITS(62, 52)},
    {1, 2, true, 46, 1, 1, 1, 1, 0, PS, BITS(62, 46) | BITS(20, 13)},
    {1, 2, true, 36, 0, 1, 1, 1, 1, PS, BITS(63, 36) | BITS(20, 13)},
    {1, 2, true, 36, 0, 1, 1, 0, 1, PS, BITS(63, 36) | BITS(20, 12)},
    {1, 1, true, 46, 1, 1, 1, 1, 1, 0, BITS(62, 46)},
    {1, 1, true, 46, 0, 1, 1, 0, 1, 0, BITS(63, 46) | BIT(7)},
    /* 4-level and 5-level paging: 51:M, bit 63 without NXE; page size in PML4E and PML5E. */
    {2, 4, false, 46, 1, 1, 1, 1, 1, 0, BITS(51, 46) | PS},
    {2, 4, false, 46, 0, 1, 1, 1, 1, 0, BITS(51, 46) | PS | BIT(63)},
    {2, 4, false, 52, 1, 1, 1, 1, 1, 0, PS},
    {2, 3, false, 46, 1, 1, 1, 1, 1, PS, BITS(51, 46)},
    {2, 3, false, 46, 1, 0, 1, 1, 1, 0, BITS(51, 46) | PS},
    {2, 3, true, 46, 1, 1, 1, 1, 1, PS, BITS(51, 46) | BITS(29, 13)},
    {2, 3, true, 39, 0, 1, 1, 1, 1, PS, BITS(51, 39) | BITS(29, 13) | BIT(63)},
    {2, 2, false, 46, 1, 1, 1, 1, 1, PS, BITS(51, 46)},
    {2, 2, true, 46, 1, 0, 1, 1, 0, PS, BITS(51, 46) | BITS(20, 13)},
    {2, 1, true, 46, 1, 1, 1, 1, 1, 0, BITS(51, 46)},
    {2, 1, true, 46, 0, 1, 1, 1, 1, 0, BITS(51, 46) | BIT(63)},
    {2, 1, true, 52, 1, 1, 1, 1, 1, 0, 0},
    {3, 5, false, 46, 1, 1, 1, 1, 1, 0, BITS(51, 46) | PS},
    {3, 5, false, 52, 0, 1, 1, 1, 1, 0, BIT(63) | PS},
    {3, 4, false, 46, 1, 1, 1, 1, 1, 0, BITS(51, 46) | PS},
    {3, 3, false, 46, 1, 0, 1, 1, 1, 0, BITS(51, 46) | PS},
    {3, 3, true, 46, 1, 1, 1, 1, 1, PS, BITS(51, 46) | BITS(29, 13)},
    {3, 2, true, 46, 1, 1, 1, 1, 1, PS, BITS(51, 46) | BITS(20, 13)},
    {3, 1, true, 46, 1, 1, 1, 1, 1, 0, BITS(51, 46)},
};

START_TEST(every_bit_of_an_entry_is_reserved_or_not_as_the_manual_says)
{
    const struct reserved_case *const row = &reserved_cases[_i];
    const unsigned width = modes[row->mode].entry_size * 8;

    build(row->mode);
    caps = (struct vmxc_guest_paging_caps){row->maxphyaddr, 57, row->page_1g, row->pse36, row->pat};
    if (!row->nxe)
        registers.efer &= ~VMXC_EFER_NXE;
    if (!row->pse)
        registers.cr4 &= ~VMXC_CR4_PSE;

    const uint64_t plain = !row->page        ? TABLE_GPA(row->level - 1) | PWU
                           : row->level == 1 ? PAGE_GPA | PWU
                                             : PS | PWU;
    for (unsigned bit = 1; bit < width; bit++) {
        const bool reserved = row->reserved & BIT(bit);

        if (row->skip & BIT(bit))
            continue;
        set_entry(row->level, plain | BIT(bit));
        const enum vmxc_status status = walk(u_read);
        if (!reserved) {
            ck_assert_msg(status == VMXC_OK || status == VMXC_NOT_FOUND || fault.level < row->level,
                          "bit %u: status %d", bit, status);
            continue;
        }
        ck_assert_msg(status == VMXC_GUEST_FAULT && fault.kind == VMXC_GUEST_FAULT_RESERVED,
                      "bit %u: status %d", bit, status);
        ck_assert_uint_eq(fault.level, row->level);
        ck_assert_uint_eq(fault.offending, BIT(bit));
        ck_assert_uint_eq(fault.error_code, 0xd); /* P, U, RSVD */
    }
}
END_TEST

START_TEST(a_reserved_bit_beats_missing_rights)
{
    build(LONG_MODE);
    set_entry(4, TABLE_GPA(3) | P); /* neither user nor writable */
    set_entry(1, PAGE_GPA | P | BIT(51));
    ck_assert_int_eq(walk(u_write), VMXC_GUEST_FAULT);
    ck_assert_int_eq(fault.kind, VMXC_GUEST_FAULT_RESERVED);
    ck_assert_uint_eq(fault.level, 1);
    ck_assert_uint_eq(fault.error_code, 0xf);
}
END_TEST

/* ---- Tables that are not there ---- */

START_TEST(a_table_in_a_hole_is_no_guest_fault)
{
    static const uint64_t holes[] = {GUEST_SIZE, UINT64_C(1) << 40, UINT64_C(0x3ffffffff000)};

    for (size_t i = 0; i < (modes[_i].entry_size == 8 ? 3 : 1); i++) {
        build((size_t)_i);
        set_entry(2, holes[i] | PWU);
        translation.gpa = 77;
        ck_assert_int_eq(walk(s_read), VMXC_NOT_FOUND);
        ck_assert_int_eq(fault.kind, VMXC_GUEST_FAULT_NONE);
        ck_assert_uint_eq(fault.level, 1);
        ck_assert_uint_eq(fault.entry_gpa, holes[i] + mode->entry_gpa[1] % 4096);
        ck_assert_uint_eq(fault.gva, mode->gva);
        ck_assert_uint_eq(translation.gpa, 77);
    }
}
END_TEST

START_TEST(a_lazy_table_is_supplied_and_empty)
{
    build((size_t)_i);
    ck_assert_int_eq(vmxc_addrspace_map_alloc(&space, GUEST_SIZE, 4096, VMXC_MAP_READ, false),
                     VMXC_OK);
    set_entry(2, GUEST_SIZE | PWU);
    ck_assert_int_eq(walk(s_read), VMXC_GUEST_FAULT);
    ck_assert_int_eq(fault.kind, VMXC_GUEST_FAULT_NOT_PRESENT);
    ck_assert_uint_eq(fault.entry, 0);
    ck_assert_uint_eq(fault.level, 1);
}
END_TEST

START_TEST(no_memory_for_a_lazy_table)
{
    build((size_t)_i);
    ck_assert_int_eq(vmxc_addrspace_map_alloc(&space, GUEST_SIZE, 4096, VMXC_MAP_READ, false),
                     VMXC_OK);
    set_entry(2, GUEST_SIZE | PWU);
    hal->fail_at = 1;
    ck_assert_int_eq(walk(s_read), VMXC_NO_MEMORY);
    ck_assert_uint_eq(fault.level, 1);
    ck_assert_int_eq(walk(s_read), VMXC_GUEST_FAULT);
}
END_TEST

START_TEST(a_table_that_may_not_be_read_is_denied)
{
    build((size_t)_i);
    ck_assert_int_eq(vmxc_addrspace_map_linear(&space, GUEST_SIZE, GUEST_HPA, 4096, VMXC_MAP_NONE),
                     VMXC_OK);
    set_entry(2, GUEST_SIZE | PWU);
    ck_assert_int_eq(walk(s_read), VMXC_DENIED);
    ck_assert_uint_eq(fault.level, 1);
}
END_TEST

START_TEST(an_uninitialized_space_is_a_status)
{
    const struct vmxc_addrspace none = {0};
    struct vmxc_addrspace copy = none;

    build(LONG_MODE);
    const struct vmxc_guest_walk_info info = make_info();
    ck_assert_int_eq(vmxc_guest_walk(&copy, &info, s_read, mode->gva, &translation, &fault),
                     VMXC_BAD_STATE);
}
END_TEST

START_TEST(the_fault_is_optional)
{
    build(LONG_MODE);
    set_entry(1, 0);
    const struct vmxc_guest_walk_info info = make_info();
    ck_assert_int_eq(vmxc_guest_walk(&space, &info, s_read, mode->gva, &translation, NULL),
                     VMXC_GUEST_FAULT);
}
END_TEST

START_TEST(names)
{
    ck_assert_str_eq(vmxc_guest_paging_mode_name(VMXC_GUEST_PAGING_5_LEVEL), "5-level");
    ck_assert_str_eq(vmxc_guest_paging_mode_name((enum vmxc_guest_paging_mode)99), "?");
    ck_assert_str_eq(vmxc_guest_fault_kind_name(VMXC_GUEST_FAULT_RESERVED), "reserved bit");
    ck_assert_str_eq(vmxc_guest_fault_kind_name((enum vmxc_guest_fault_kind)99), "?");
    for (unsigned i = 0; i < VMXC_GUEST_PAGING_MODE_COUNT; i++)
        ck_assert_ptr_nonnull(vmxc_guest_paging_mode_name((enum vmxc_guest_paging_mode)i));
    for (unsigned i = 0; i < VMXC_GUEST_FAULT_KIND_COUNT; i++)
        ck_assert_ptr_nonnull(vmxc_guest_fault_kind_name((enum vmxc_guest_fault_kind)i));
}
END_TEST

static Suite *suite(void)
{
    Suite *const s = suite_create("guest_paging");
    TCase *const t = tcase_create("walk");

    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, impossible_registers_are_refused);
    tcase_add_test(t, linear_address_masking_bits_of_cr3_are_no_address);
    tcase_add_test(t, the_root_lies_anywhere_in_the_physical_address_space);
    tcase_add_test(t, bits_63_32_of_cr3_are_no_address_for_32_bit_paging);
    tcase_add_test(t, reserved_bits_of_pdptes);
    tcase_add_test(t, without_paging_the_address_stays);
    tcase_add_loop_test(t, a_32_bit_mode_has_no_64_bit_addresses, 0, LONG_MODE);
    tcase_add_test(t, non_canonical_addresses_are_no_page_fault);
    tcase_add_loop_test(t, contradictory_accesses_are_refused, 0, MODES);
    tcase_add_loop_test(t, every_mode_finds_the_page, 0, MODES);
    tcase_add_test(t, large_pages);
    tcase_add_test(t, the_page_size_flag_means_nothing_without_pse);
    tcase_add_loop_test(t, the_leaf_gives_pat_index_and_global, 0, MODES);
    tcase_add_loop_test(t, an_entry_that_is_not_present_faults_whatever_else_it_says, 0, MODES);
    tcase_add_loop_test(t, every_bit_of_an_entry_is_reserved_or_not_as_the_manual_says, 0,
                        sizeof reserved_cases / sizeof reserved_cases[0]);
    tcase_add_test(t, a_reserved_bit_beats_missing_rights);
    tcase_add_loop_test(t, a_table_in_a_hole_is_no_guest_fault, 0, MODES);
    tcase_add_loop_test(t, a_lazy_table_is_supplied_and_empty, 0, MODES);
    tcase_add_loop_test(t, no_memory_for_a_lazy_table, 0, MODES);
    tcase_add_loop_test(t, a_table_that_may_not_be_read_is_denied, 0, MODES);
    tcase_add_test(t, an_uninitialized_space_is_a_status);
    tcase_add_test(t, the_fault_is_optional);
    tcase_add_test(t, names);
    suite_add_tcase(s, t);
    return s;
}

int main(void)
{
    return run_suite(suite());
}
