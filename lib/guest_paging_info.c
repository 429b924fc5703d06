/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From control registers to a walk: which paging mode is on, and what each level of it looks like.
 *
 * The modes are one table of facts; vmxc_guest_walk_info_init bakes the registers into it, so that the walker's
 * loop has no mode left to ask about. Source: Intel SDM volume 3, "Paging Modes and Control Bits", "32-Bit
 * Paging", "PAE Paging", "4-Level Paging and 5-Level Paging".
 */
#include "vmxcore/guest_paging.h"

/* When does an entry map a page? */
enum page_rule {
    PAGE_NEVER,
    PAGE_IF_PSE, /* bit 7, with CR4.PSE; otherwise bit 7 is ignored */
    PAGE_IF_1G,  /* bit 7, where the processor has 1-GByte pages; otherwise bit 7 is reserved */
    PAGE_BY_BIT, /* bit 7 */
    PAGE_ALWAYS, /* level 1 */
};

struct level_shape {
    uint8_t shift;
    enum page_rule page;
    uint64_t reserved_table, reserved_page; /* whatever the registers say */
};

struct mode_shape {
    const char *name;
    uint8_t levels, index_bits, entry_size, linear_width;
    uint64_t root;     /* the bits of CR3 that locate the top table */
    bool pat_optional; /* without a PAT, the PAT bit of a page is reserved */
    struct level_shape level[VMXC_GUEST_PAGING_MAX_LEVELS];
};

/*
 * Bits of an entry above the physical address and below execute-disable: PAE paging reserves them, 4-level and
 * 5-level paging leave them to software and protection keys.
 */
#define ABOVE_ADDRESS VMXC_BITS(62, 52)

/* The levels that 4-level and 5-level paging share. */
#define LONG_MODE_LEVELS                                                        \
    {.shift = 12, .page = PAGE_ALWAYS},                                         \
        {.shift = 21, .page = PAGE_BY_BIT, .reserved_page = VMXC_BITS(20, 13)}, \
        {.shift = 30, .page = PAGE_IF_1G, .reserved_page = VMXC_BITS(29, 13)},  \
    {                                                                           \
        .shift = 39, .page = PAGE_NEVER, .reserved_table = VMXC_PTE_PAGE_SIZE   \
    }

static const struct mode_shape modes[VMXC_GUEST_PAGING_MODE_COUNT] = {
    [VMXC_GUEST_PAGING_NONE] = {.name = "none", .linear_width = 32},
    [VMXC_GUEST_PAGING_32BIT] = {.name = "32-bit",
                                 .levels = 2,
                                 .index_bits = 10,
                                 .entry_size = 4,
                                 .linear_width = 32,
                                 .root = VMXC_BITS(31, 12),
                                 .pat_optional = true,
                                 .level = {{.shift = 12, .page = PAGE_ALWAYS},
                                           {.shift = 22, .page = PAGE_IF_PSE}}},
    [VMXC_GUEST_PAGING_PAE] =
        {.name = "PAE",
         .levels = 3,
         .index_bits = 9,
         .entry_size = 8,
         .linear_width = 32,
         .pat_optional = true,
         .level = {{.shift = 12, .page = PAGE_ALWAYS, .reserved_page = ABOVE_ADDRESS},
                   {.shift = 21,
                    .page = PAGE_BY_BIT,
                    .reserved_table = ABOVE_ADDRESS,
                    .reserved_page = ABOVE_ADDRESS | VMXC_BITS(20, 13)},
                   {.shift = 30,
                    .page = PAGE_NEVER,
                    .reserved_table =
                        VMXC_BITS(2, 1) | VMXC_BITS(8, 5) | ABOVE_ADDRESS | VMXC_PTE_NO_EXECUTE}}},
    [VMXC_GUEST_PAGING_4_LEVEL] = {.name = "4-level",
                                   .levels = 4,
                                   .index_bits = 9,
                                   .entry_size = 8,
                                   .linear_width = 48,
                                   .root = VMXC_BITS(51, 12),
                                   .level = {LONG_MODE_LEVELS}},
    [VMXC_GUEST_PAGING_5_LEVEL] =
        {.name = "5-level",
         .levels = 5,
         .index_bits = 9,
         .entry_size = 8,
         .linear_width = 57,
         .root = VMXC_BITS(51, 12),
         .level = {LONG_MODE_LEVELS,
                   {.shift = 48, .page = PAGE_NEVER, .reserved_table = VMXC_PTE_PAGE_SIZE}}},
};

const char *vmxc_guest_paging_mode_name(enum vmxc_guest_paging_mode mode)
{
    return (unsigned)mode < VMXC_GUEST_PAGING_MODE_COUNT ? modes[mode].name : "?";
}

/* Bits of a physical address from `width` up to the format's limit of 52; none if the width is that limit. */
static uint64_t beyond_width(uint8_t width)
{
    return VMXC_BITS(51, 0) & ~((UINT64_C(1) << width) - 1);
}

bool vmxc_guest_pdptes_are_valid(const uint64_t pdpte[4], uint8_t maxphyaddr)
{
    const uint64_t reserved =
        modes[VMXC_GUEST_PAGING_PAE].level[2].reserved_table | beyond_width(maxphyaddr);

    for (size_t i = 0; i < 4; i++) {
        if ((pdpte[i] & VMXC_PTE_PRESENT) && (pdpte[i] & reserved))
            return false;
    }
    return true;
}

static enum vmxc_guest_paging_mode paging_mode(const struct vmxc_guest_registers *registers)
{
    if (!(registers->cr0 & VMXC_CR0_PG))
        return VMXC_GUEST_PAGING_NONE;
    if (!(registers->cr4 & VMXC_CR4_PAE))
        return VMXC_GUEST_PAGING_32BIT;
    if (!(registers->efer & VMXC_EFER_LMA))
        return VMXC_GUEST_PAGING_PAE;
    return registers->cr4 & VMXC_CR4_LA57 ? VMXC_GUEST_PAGING_5_LEVEL : VMXC_GUEST_PAGING_4_LEVEL;
}

static bool caps_are_valid(const struct vmxc_guest_paging_caps *caps)
{
    return caps->maxphyaddr >= 32 && caps->maxphyaddr <= VMXC_MAXPHYADDR_LIMIT &&
           (caps->linear_width == 48 || caps->linear_width == 57);
}

/* Could a processor with these capabilities be in this state? */
static bool registers_are_possible(const struct vmxc_guest_registers *registers,
                                   const struct vmxc_guest_paging_caps *caps)
{
    const bool paging = registers->cr0 & VMXC_CR0_PG;
    const bool pae = registers->cr4 & VMXC_CR4_PAE;
    const bool long_mode = registers->efer & VMXC_EFER_LMA;
    const uint64_t cr3_beyond = (beyond_width(caps->maxphyaddr) | VMXC_BITS(63, 52)) &
                                ~(VMXC_CR3_LAM_U48 | VMXC_CR3_LAM_U57);

    if (registers->cpl > 3 || (paging && !(registers->cr0 & VMXC_CR0_PE)))
        return false;
    if (long_mode && !(paging && pae))
        return false;
    if ((registers->cr4 & VMXC_CR4_LA57) && caps->linear_width < 57)
        return false;
    if (registers->cr3 & cr3_beyond)
        return false;
    return !(paging && pae && !long_mode) ||
           vmxc_guest_pdptes_are_valid(registers->pdpte, caps->maxphyaddr);
}

static bool page_is_allowed(enum page_rule rule, const struct vmxc_guest_walk_info *info)
{
    return rule == PAGE_ALWAYS || rule == PAGE_BY_BIT || (rule == PAGE_IF_PSE && info->pse) ||
           (rule == PAGE_IF_1G && info->page_1g);
}

/* The PAT bit: 7 in a PTE, where larger pages have their page-size flag; 12 in those. */
static uint64_t pat_bit(enum page_rule rule)
{
    return rule == PAGE_ALWAYS ? VMXC_PTE_PAT : VMXC_PTE_LARGE_PAT;
}

/*
 * PSE-36: bits 20:13 of a PDE that maps 4 MBytes are bits 39:32 of the address, as far as physical addresses
 * reach; bit 21 and the rest are reserved.
 */
static uint64_t pse36_reserved(uint8_t pse36_width)
{
    return VMXC_BITS(21, 13) & ~((UINT64_C(1) << (pse36_width - 19u)) - 1);
}

static void bake_level(struct vmxc_guest_walk_info *info, const struct mode_shape *mode,
                       const struct level_shape *shape, bool pat, struct vmxc_guest_level *level)
{
    uint64_t reserved = 0;

    if (mode->entry_size == 8)
        reserved = beyond_width(info->maxphyaddr) | (info->nxe ? 0 : VMXC_PTE_NO_EXECUTE);
    *level = (struct vmxc_guest_level){
        .shift = shape->shift,
        .page_allowed = page_is_allowed(shape->page, info),
        .reserved_table = reserved | shape->reserved_table,
        .reserved_page = reserved | shape->reserved_page,
    };
    if (shape->page == PAGE_IF_1G && !info->page_1g)
        level->reserved_table |= VMXC_PTE_PAGE_SIZE;
    if (shape->page == PAGE_IF_PSE)
        level->reserved_page |= pse36_reserved(info->pse36_width);
    if (mode->pat_optional && !pat)
        level->reserved_page |= pat_bit(shape->page);
}

static uint8_t pse36_width(const struct vmxc_guest_paging_caps *caps)
{
    if (!caps->pse36)
        return 32;
    return caps->maxphyaddr < 40 ? caps->maxphyaddr : 40;
}

enum vmxc_status vmxc_guest_walk_info_init(const struct vmxc_guest_registers *registers,
                                           const struct vmxc_guest_paging_caps *caps,
                                           struct vmxc_guest_walk_info *info)
{
    if (!caps_are_valid(caps) || !registers_are_possible(registers, caps))
        return VMXC_INVALID_INPUT;
    if (registers->cr4 & VMXC_CR4_LASS)
        return VMXC_UNSUPPORTED;

    const enum vmxc_guest_paging_mode mode = paging_mode(registers);
    const struct mode_shape *const shape = &modes[mode];

    *info = (struct vmxc_guest_walk_info){
        .mode = mode,
        .root = registers->cr3 & shape->root,
        .levels = shape->levels,
        .index_bits = shape->index_bits,
        .entry_size = shape->entry_size,
        .linear_width = shape->linear_width,
        .maxphyaddr = caps->maxphyaddr,
        .pse36_width = pse36_width(caps),
        .wp = registers->cr0 & VMXC_CR0_WP,
        .nxe = shape->entry_size == 8 && (registers->efer & VMXC_EFER_NXE),
        .smep = registers->cr4 & VMXC_CR4_SMEP,
        .smap = registers->cr4 & VMXC_CR4_SMAP,
        .ac = registers->rflags & VMXC_RFLAGS_AC,
        .pge = registers->cr4 & VMXC_CR4_PGE,
        .pse = registers->cr4 & VMXC_CR4_PSE,
        .pke = shape->levels >= 4 && (registers->cr4 & VMXC_CR4_PKE),
        .pks = shape->levels >= 4 && (registers->cr4 & VMXC_CR4_PKS),
        .page_1g = caps->page_1g,
        .pkru = registers->pkru,
        .pkrs = registers->pkrs,
        .user_mode = registers->cpl == 3,
    };
    for (size_t i = 0; i < 4 && mode == VMXC_GUEST_PAGING_PAE; i++)
        info->pdpte[i] = registers->pdpte[i];
    for (size_t i = 0; i < shape->levels; i++)
        bake_level(info, shape, &shape->level[i], caps->pat, &info->level[i]);
    return VMXC_OK;
}
