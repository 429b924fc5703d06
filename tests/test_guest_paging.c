/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest-paging walker: every mode, every kind of fault, every reserved bit. What is expected is written from the
 * manual (SDM volume 3, "Paging"), bit by bit; nothing is computed by the code under test or by the model.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "vmxcore/guest_mem.h"
#include "vmxcore/guest_paging.h"
#include "vmxsim/memory.h"

#define BIT(n)       VMXC_BIT(n)
#define BITS(hi, lo) VMXC_BITS(hi, lo)

#define P   VMXC_PTE_PRESENT
#define W   VMXC_PTE_WRITE
#define U   VMXC_PTE_USER
#define A   VMXC_PTE_ACCESSED
#define D   VMXC_PTE_DIRTY
#define PS  VMXC_PTE_PAGE_SIZE
#define XD  VMXC_PTE_NO_EXECUTE
#define PWU (P | W | U)

/* Guest memory [0, 16 MBytes) is host memory [32, 48 MBytes). */
#define RAM_SIZE   (UINT64_C(64) << 20)
#define GUEST_HPA  (UINT64_C(32) << 20)
#define GUEST_SIZE (UINT64_C(16) << 20)

/* The table whose entries are of level n lies at n * 10000H; the page is at 200000H. */
#define TABLE_GPA(level) ((uint64_t)(level) << 16)
#define PAGE_GPA         UINT64_C(0x200000)
#define OFFSET           UINT64_C(0x567)

/* Indices 4 (level 1), 3, 2, 1 and 5 (level 5); entry addresses are worked out by hand. */
static const struct mode {
    enum vmxc_guest_paging_mode mode;
    uint64_t cr0, cr4, efer;
    unsigned levels, entry_size;
    unsigned memory_levels; /* levels whose entries lie in memory */
    uint64_t gva;
    uint64_t entry_gpa[6]; /* by level */
} modes[] = {
    {VMXC_GUEST_PAGING_32BIT,
     BIT(31) | BIT(0),
     BIT(4),
     0,
     2,
     4,
     2,
     0x00c04567,
     {0, 0x10010, 0x2000c}},
    {VMXC_GUEST_PAGING_PAE,
     BIT(31) | BIT(0),
     BIT(5),
     BIT(11),
     3,
     8,
     2,
     0x80604567,
     {0, 0x10020, 0x20018}},
    {VMXC_GUEST_PAGING_4_LEVEL,
     BIT(31) | BIT(0),
     BIT(5),
     BIT(11) | BIT(10) | BIT(8),
     4,
     8,
     4,
     UINT64_C(0x8080604567),
     {0, 0x10020, 0x20018, 0x30010, 0x40008}},
    {VMXC_GUEST_PAGING_5_LEVEL,
     BIT(31) | BIT(0),
     BIT(5) | BIT(12),
     BIT(11) | BIT(10) | BIT(8),
     5,
     8,
     5,
     UINT64_C(0x5008080604567),
     {0, 0x10020, 0x20018, 0x30010, 0x40008, 0x50028}},
};
#define MODES     (sizeof modes / sizeof modes[0])
#define LONG_MODE 2 /* first mode with 64-bit addresses */

static struct vmxsim_memory *memory;
static struct vmxc_hal hal;
static struct vmxc_addrspace space;
static const struct mode *mode;
static struct vmxc_guest_registers registers;
static struct vmxc_guest_paging_caps caps;
static struct vmxc_guest_translation translation;
static struct vmxc_guest_fault fault;
static uint64_t dirty_calls;
static void (*on_dirty)(vmxc_hpa_t hpa);

static void count_dirty(void *context, vmxc_hpa_t hpa, uint64_t length)
{
    (void)context;
    (void)length;
    dirty_calls++;
    if (on_dirty != NULL)
        on_dirty(hpa);
}

static void setup(void)
{
    const struct vmxsim_range ram = {0, RAM_SIZE};
    const struct vmxsim_memory_config config = {
        .ram = &ram, .ram_count = 1, .frames = {UINT64_C(1) << 20, UINT64_C(16) << 20}};
    const struct vmxc_ept_config ept = {.levels = 4,
                                        .maxphyaddr = 46,
                                        .largest_page = VMXC_PAGE_LEVEL_2M,
                                        .table_memory_type = VMXC_MEMORY_TYPE_WB};

    ck_assert_int_eq(vmxsim_memory_create(&config, &memory, NULL), VMXC_OK);
    hal = *vmxsim_memory_hal(memory);
    hal.mark_dirty = count_dirty;
    on_dirty = NULL;
    ck_assert_int_eq(vmxc_addrspace_init(&space, &hal, &ept, 0, UINT64_C(1) << 40), VMXC_OK);
    ck_assert_int_eq(
        vmxc_addrspace_map_linear(&space, 0, GUEST_HPA, GUEST_SIZE, VMXC_MAP_READ | VMXC_MAP_WRITE),
        VMXC_OK);
}

static void teardown(void)
{
    vmxc_addrspace_fini(&space);
    ck_assert_uint_eq(vmxsim_memory_leaks(memory, NULL, NULL), 0);
    vmxsim_memory_destroy(memory);
}

static uint64_t get_entry(unsigned level)
{
    const uint64_t hpa = GUEST_HPA + mode->entry_gpa[level];

    return mode->entry_size == 8 ? vmxsim_memory_read64(memory, hpa)
                                 : vmxsim_memory_read32(memory, hpa);
}

/* A PDPTE of PAE paging goes to its register. */
static void set_entry(unsigned level, uint64_t value)
{
    const uint64_t hpa = GUEST_HPA + mode->entry_gpa[level];

    if (level > mode->memory_levels)
        registers.pdpte[2] = value;
    else if (mode->entry_size == 8)
        vmxsim_memory_write64(memory, hpa, value);
    else
        vmxsim_memory_write32(memory, hpa, (uint32_t)value);
}

/* Tables that map the mode's address to PAGE_GPA with all rights; supervisor at CPL 0, CR0.WP = 1. */
static void build(size_t index)
{
    mode = &modes[index];
    dirty_calls = 0;
    registers = (struct vmxc_guest_registers){.cr0 = mode->cr0 | VMXC_CR0_WP,
                                              .cr3 = TABLE_GPA(mode->levels),
                                              .cr4 = mode->cr4,
                                              .efer = mode->efer};
    caps = (struct vmxc_guest_paging_caps){
        .maxphyaddr = 46, .linear_width = 57, .page_1g = true, .pse36 = true, .pat = true};
    for (unsigned level = 1; level <= mode->levels; level++) {
        const uint64_t target = level == 1 ? PAGE_GPA : TABLE_GPA(level - 1);
        set_entry(level, target | (level > mode->memory_levels ? P : PWU));
    }
}

static struct vmxc_guest_walk_info make_info(void)
{
    struct vmxc_guest_walk_info info;

    ck_assert_int_eq(vmxc_guest_walk_info_init(&registers, &caps, &info), VMXC_OK);
    return info;
}

static enum vmxc_status walk_at(struct vmxc_guest_access access, vmxc_gva_t gva)
{
    const struct vmxc_guest_walk_info info = make_info();

    return vmxc_guest_walk(&space, &info, access, gva, &translation, &fault);
}

static enum vmxc_status walk(struct vmxc_guest_access access)
{
    return walk_at(access, mode->gva);
}

static const struct vmxc_guest_access s_read = {0}, s_write = {.write = true},
                                      s_fetch = {.fetch = true}, u_read = {.user_mode = true},
                                      u_write = {.user_mode = true, .write = true},
                                      u_fetch = {.user_mode = true, .fetch = true};

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
    ck_assert_uint_eq(dirty_calls, 0);
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
    vmxsim_memory_fail_nth(memory, 1);
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
    tcase_add_loop_test(t, rights_at_every_level, 0, MODES);
    tcase_add_test(t, fetch_bit_needs_nxe_or_smep);
    tcase_add_test(t, pdptes_give_neither_rights_nor_flags);
    tcase_add_loop_test(t, protection_keys, 0, 4);
    tcase_add_loop_test(t, protection_keys_are_for_64_bit_modes, 0, LONG_MODE);
    tcase_add_test(t, the_error_code_names_a_key_besides_missing_rights);
    tcase_add_loop_test(t, a_table_in_a_hole_is_no_guest_fault, 0, MODES);
    tcase_add_loop_test(t, a_lazy_table_is_supplied_and_empty, 0, MODES);
    tcase_add_loop_test(t, no_memory_for_a_lazy_table, 0, MODES);
    tcase_add_loop_test(t, a_table_that_may_not_be_read_is_denied, 0, MODES);
    tcase_add_test(t, an_uninitialized_space_is_a_status);
    tcase_add_test(t, the_fault_is_optional);
    tcase_add_loop_test(t, flags_are_set_on_request, 0, MODES);
    tcase_add_loop_test(t, the_dirty_flag_of_a_large_page_is_in_its_entry, 0, MODES);
    tcase_add_loop_test(t, a_fault_sets_no_flags, 0, MODES);
    tcase_add_loop_test(t, flags_in_a_table_that_may_not_be_written_are_denied, 0, MODES);
    tcase_add_loop_test(t, an_entry_that_changes_meanwhile_is_read_again, 0, MODES);
    tcase_add_loop_test(t, an_entry_that_never_rests_is_busy, 0, MODES);
    tcase_add_test(t, names);
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
