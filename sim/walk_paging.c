/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Linear to guest-physical: the guest's own paging structures, each entry located through EPT.
 *
 *            level 5    level 4    level 3    level 2    level 1
 *   CR3 -->  PML5E  ->  PML4E  ->  PDPTE  ->   PDE   ->   PTE  --> 4-KByte page
 *   5-level  here                    |          |
 *   4-level             here         |          `-> 2 MBytes (4 MBytes with 32-bit paging)
 *   PAE                           4 registers   `...
 *   32-bit                                   here (4-byte entries, 10 index bits)
 *                                    `-> 1 GByte
 *
 *   per entry:   EPT for the entry's address first, then P, then reserved bits, then the accessed flag
 *   at the leaf: access rights and protection keys, then the accessed and dirty flags
 *
 * Accessed flags of upper entries are set as the walk goes; those of the leaf only if the access is allowed. The
 * manual leaves open whether flags are set by a walk that faults later.
 *
 * Source: Intel SDM volume 3, "Paging" (all sections), "EPT Violations".
 */
#include "internal/memory.h"
#include "internal/stale.h"

/* The entry that is being looked at, and where it was found. */
struct guest_entry {
    struct ept_request request; /* of the entry's own address */
    struct ept_translation at;
    struct vmxsim_trail_entry *trail;
    uint64_t value;
    unsigned level;
    bool is_register;
};

static unsigned index_bits(const struct guest_state *guest)
{
    return guest->mode == PAGING_32BIT ? 10 : 9;
}

static unsigned entry_size(const struct guest_state *guest)
{
    return guest->mode == PAGING_32BIT ? 4 : 8;
}

static unsigned page_shift(const struct guest_state *guest, unsigned level)
{
    return VMXC_PAGE_SHIFT + index_bits(guest) * (level - 1);
}

static uint64_t table_index(const struct guest_state *guest, uint64_t linear, unsigned level)
{
    const uint64_t index = linear >> page_shift(guest, level);

    if (guest->mode == PAGING_PAE && level == 3)
        return index & 3;
    return index & ((UINT64_C(1) << index_bits(guest)) - 1);
}

static uint64_t root_table(const struct guest_state *guest)
{
    return guest->mode == PAGING_32BIT ? guest->cr3 & VMXC_BITS(31, 12)
                                       : guest->cr3 & VMXC_PTE_ADDRESS;
}

static bool is_leaf(const struct guest_state *guest, uint64_t value, unsigned level)
{
    return level == 1 || ((value & VMXC_PTE_PAGE_SIZE) && guest->large_page[level]);
}

static void record_entry(struct walk *walk, struct guest_entry *entry)
{
    entry->trail = vmxsim_trail_add(walk, VMXSIM_TRAIL_GUEST_ENTRY, entry->at.hpa,
                                    entry->request.gpa, entry->value);
    if (!entry->trail)
        return;
    entry->trail->level = (uint8_t)entry->level;
    entry->trail->leaf = (entry->value & VMXC_PTE_PRESENT) && !entry->is_register &&
                         is_leaf(&walk->cpu->guest, entry->value, entry->level);
    entry->trail->is_register = entry->is_register;
}

/* PAE paging keeps its four PDPTEs in registers: no memory is read, no flag is ever set. */
static void read_pdpte_register(struct walk *walk, struct guest_entry *entry)
{
    const struct guest_state *guest = &walk->cpu->guest;

    *entry = (struct guest_entry){
        .value = guest->pdpte[table_index(guest, walk->linear, 3)],
        .level = 3,
        .is_register = true,
    };
    record_entry(walk, entry);
}

/* With PAE paging the descent through memory begins at level 2. */
static uint64_t load_entry(struct walk *walk, uint64_t hpa, unsigned level)
{
    const struct guest_state *guest = &walk->cpu->guest;
    const bool four_bytes = entry_size(guest) == 4;

    if (walk->cpu->stale)
        return vmxsim_stale_read(
            walk, &(struct stale_reading){
                      .hpa = hpa,
                      .guest = true,
                      .four_bytes = four_bytes,
                      .first = level == guest->levels - (guest->mode == PAGING_PAE ? 1u : 0u)});
    return four_bytes ? vmxsim_memory_read32(walk->cpu->memory, hpa)
                      : vmxsim_memory_read_entry(walk->cpu->memory, hpa);
}

static bool read_entry(struct walk *walk, uint64_t table_gpa, unsigned level,
                       struct guest_entry *entry)
{
    const struct guest_state *guest = &walk->cpu->guest;
    /* With EPT accessed and dirty flags an access to a paging structure counts as a write. */
    const uint64_t access = walk->cpu->ept.accessed_dirty
                                ? VMXC_EPT_VIOLATION_READ | VMXC_EPT_VIOLATION_WRITE
                                : VMXC_EPT_VIOLATION_READ;

    /* Member by member: the others are set below, and there are many entries. */
    entry->request = (struct ept_request){
        .gpa = table_gpa + entry_size(guest) * table_index(guest, walk->linear, level),
        .access = access,
        .guest_level = (uint8_t)level};
    entry->level = level;
    entry->is_register = false;
    if (!vmxsim_walk_ept(walk, &entry->request, &entry->at))
        return false;
    entry->value = load_entry(walk, entry->at.hpa, level);
    record_entry(walk, entry);
    return true;
}

static bool set_flags(struct walk *walk, struct guest_entry *entry, uint64_t flags)
{
    struct vmxsim_memory *memory = walk->cpu->memory;
    const uint64_t updated = entry->value | flags;

    if (updated == entry->value)
        return true;
    if (!vmxsim_walk_ept_write_flag(walk, &entry->request, &entry->at))
        return false;
    vmxsim_stale_set_flags(walk, entry->at.hpa, entry_size(&walk->cpu->guest) == 4, entry->value);
    if (entry_size(&walk->cpu->guest) == 4)
        vmxsim_memory_write32(memory, entry->at.hpa, (uint32_t)updated);
    else
        vmxsim_memory_write64(memory, entry->at.hpa, updated);
    if (entry->trail)
        entry->trail->updated = updated;
    return true;
}

/* Source: SDM, "Page-Fault Exceptions": the part of the error code that describes the access. */
static uint32_t access_error_code(const struct walk *walk)
{
    const struct guest_state *guest = &walk->cpu->guest;
    const bool no_execute_exists = (guest->cr4 & VMXC_CR4_PAE) && (guest->efer & VMXC_EFER_NXE);
    uint64_t code = 0;

    if (walk->write)
        code |= VMXC_PF_WRITE;
    if (walk->user)
        code |= VMXC_PF_USER;
    if (walk->shadow_stack)
        code |= VMXC_PF_SHADOW_STACK;
    if (walk->fetch && (no_execute_exists || (guest->cr4 & VMXC_CR4_SMEP)))
        code |= VMXC_PF_FETCH;
    return (uint32_t)code;
}

static bool end_with_page_fault(struct walk *walk, enum vmxsim_walk_rule rule, uint64_t offending,
                                uint64_t reason)
{
    vmxsim_trail_verdict(walk, rule, offending);
    vmxsim_tlb_page_fault(walk);
    return vmxsim_end_with_exception(walk, rule, VMXC_VECTOR_PF, true,
                                     access_error_code(walk) | (uint32_t)reason);
}

static bool check_entry(struct walk *walk, const struct guest_entry *entry)
{
    const struct guest_state *guest = &walk->cpu->guest;

    if (!(entry->value & VMXC_PTE_PRESENT))
        return end_with_page_fault(walk, VMXSIM_RULE_PG_NOT_PRESENT, VMXC_PTE_PRESENT, 0);
    if (entry->is_register)
        return true; /* reserved bits were checked when the register was loaded */

    const uint64_t offending = entry->value & (is_leaf(guest, entry->value, entry->level)
                                                   ? guest->reserved.leaf[entry->level]
                                                   : guest->reserved.table[entry->level]);
    if (offending)
        return end_with_page_fault(walk, VMXSIM_RULE_PG_RSVD, offending,
                                   VMXC_PF_PRESENT | VMXC_PF_RESERVED);
    return true;
}

static void add_rights(const struct guest_state *guest, const struct guest_entry *entry,
                       struct linear_rights *rights)
{
    if (entry->is_register)
        return;
    /* The last entry decides, so before its own R/W is counted `writable` is about all the others. */
    rights->shadow_stack =
        rights->writable && !(entry->value & VMXC_PTE_WRITE) && (entry->value & VMXC_PTE_DIRTY);
    rights->user = rights->user && (entry->value & VMXC_PTE_USER);
    rights->writable = rights->writable && (entry->value & VMXC_PTE_WRITE);
    if (guest->mode != PAGING_32BIT && (entry->value & VMXC_PTE_NO_EXECUTE))
        rights->no_execute = true;
}

/* Source: SDM, "Determination of Access Rights", user-mode accesses. */
static enum vmxsim_walk_rule check_user_rights(const struct walk *walk,
                                               const struct linear_rights *rights)
{
    if (!rights->user)
        return VMXSIM_RULE_PG_USER_SUPERVISOR;
    if (walk->write && !rights->writable)
        return VMXSIM_RULE_PG_USER_WRITE;
    if (walk->fetch && rights->no_execute)
        return VMXSIM_RULE_PG_USER_FETCH;
    return VMXSIM_RULE_NONE;
}

/* SMAP spares explicit accesses with RFLAGS.AC = 1. */
static bool smap_applies(const struct walk *walk)
{
    const struct guest_state *guest = &walk->cpu->guest;

    return (guest->cr4 & VMXC_CR4_SMAP) && (walk->implicit || !(guest->rflags & VMXC_RFLAGS_AC));
}

/* Source: SDM, "Determination of Access Rights", supervisor-mode accesses. */
static enum vmxsim_walk_rule check_supervisor_rights(const struct walk *walk,
                                                     const struct linear_rights *rights)
{
    const struct guest_state *guest = &walk->cpu->guest;

    if (walk->fetch) {
        if (rights->user && (guest->cr4 & VMXC_CR4_SMEP))
            return VMXSIM_RULE_PG_FETCH_S_SMEP;
        return rights->no_execute ? VMXSIM_RULE_PG_FETCH_S : VMXSIM_RULE_NONE;
    }
    if (rights->user && smap_applies(walk))
        return walk->write ? VMXSIM_RULE_PG_WRITE_S_SMAP : VMXSIM_RULE_PG_READ_S;
    if (walk->write && !rights->writable && (guest->cr0 & VMXC_CR0_WP))
        return VMXSIM_RULE_PG_WRITE_S;
    return VMXSIM_RULE_NONE;
}

/* Source: SDM, "Determination of Access Rights", shadow-stack accesses: reads and writes need the same. */
static enum vmxsim_walk_rule check_shadow_stack_rights(const struct walk *walk,
                                                       const struct linear_rights *rights)
{
    if (!rights->shadow_stack)
        return VMXSIM_RULE_PG_SHADOW_STACK;
    return rights->user == walk->user ? VMXSIM_RULE_NONE : VMXSIM_RULE_PG_SHADOW_STACK_MODE;
}

static enum vmxsim_walk_rule check_page_rights(const struct walk *walk,
                                               const struct linear_rights *rights)
{
    if (walk->shadow_stack)
        return check_shadow_stack_rights(walk, rights);
    return walk->user ? check_user_rights(walk, rights) : check_supervisor_rights(walk, rights);
}

/*
 * Source: SDM, "Protection Keys". PKRU governs user-mode addresses whatever the CPL, IA32_PKRS supervisor-mode
 * addresses; both data accesses only. CR0.WP = 0 lifts the write-disable bit, but not for user-mode accesses to user-mode
 * addresses.
 */
static bool protection_key_denies(const struct walk *walk, const struct linear_rights *rights)
{
    const struct guest_state *guest = &walk->cpu->guest;
    const uint64_t enable = rights->user ? VMXC_CR4_PKE : VMXC_CR4_PKS;
    const uint32_t keys = rights->user ? guest->pkru : guest->pkrs;
    const uint32_t key_rights = keys >> (2u * rights->protection_key);
    const bool access_disable = key_rights & 1u;
    const bool write_disable = key_rights & 2u;
    const bool write_protect = (guest->cr0 & VMXC_CR0_WP) || (walk->user && rights->user);

    if (walk->fetch || !(guest->efer & VMXC_EFER_LMA) || !(guest->cr4 & enable))
        return false;
    return access_disable || (write_disable && write_protect && walk->write);
}

/*
 * The protection-key bit of the error code says whether the key denies the access, whether or not the page's
 * rights do so too (SDM, "Page-Fault Exceptions", PK flag).
 */
bool vmxsim_paging_check_rights(struct walk *walk, const struct linear_rights *rights)
{
    const bool key_denies = protection_key_denies(walk, rights);
    enum vmxsim_walk_rule rule = check_page_rights(walk, rights);

    if (rule == VMXSIM_RULE_NONE && key_denies)
        rule = VMXSIM_RULE_PG_PK;
    if (rule == VMXSIM_RULE_NONE)
        return true;
    return end_with_page_fault(walk, rule, 0,
                               VMXC_PF_PRESENT | (key_denies ? VMXC_PF_PROTECTION_KEY : 0));
}

/* Descends to the entry that maps the page, collecting rights; sets the accessed flags on the way. */
static bool descend(struct walk *walk, struct guest_entry *entry, struct linear_rights *rights)
{
    const struct guest_state *guest = &walk->cpu->guest;
    uint64_t table_gpa = root_table(guest);

    for (unsigned level = guest->levels;; level--) {
        if (guest->mode == PAGING_PAE && level == 3)
            read_pdpte_register(walk, entry);
        else if (!read_entry(walk, table_gpa, level, entry))
            return false;
        if (!check_entry(walk, entry))
            return false;
        add_rights(guest, entry, rights);
        if (!entry->is_register && is_leaf(guest, entry->value, level))
            return true;
        if (!entry->is_register && !set_flags(walk, entry, VMXC_PTE_ACCESSED))
            return false;
        table_gpa = entry->value & VMXC_PTE_ADDRESS;
    }
}

/* PSE-36: bits 20:13 of a PDE that maps 4 MBytes are bits 39:32 of the address. */
static uint64_t page_address(const struct guest_state *guest, const struct guest_entry *leaf)
{
    const uint64_t offset_mask = (UINT64_C(1) << page_shift(guest, leaf->level)) - 1;

    if (guest->mode == PAGING_32BIT && leaf->level == 2)
        return (leaf->value & VMXC_BITS(31, 22)) |
               VMXC_FIELD_MAKE(VMXC_FIELD_GET(leaf->value, VMXC_BITS(20, 13)), VMXC_BITS(39, 32));
    return leaf->value & VMXC_PTE_ADDRESS & ~offset_mask;
}

/* Source: SDM, "The PAT", "Paging and Memory Typing When the PAT is Supported". */
static uint8_t pat_index(const struct guest_entry *leaf)
{
    const uint64_t pat_bit = leaf->level == 1 ? VMXC_PTE_PAT : VMXC_PTE_LARGE_PAT;

    return (uint8_t)(((leaf->value & pat_bit) ? 4u : 0u) |
                     ((leaf->value & VMXC_PTE_PCD) ? 2u : 0u) |
                     ((leaf->value & VMXC_PTE_PWT) ? 1u : 0u));
}

bool vmxsim_walk_paging(struct walk *walk, struct linear_translation *translation)
{
    const struct guest_state *guest = &walk->cpu->guest;
    struct linear_rights rights = {.user = true, .writable = true};
    struct guest_entry leaf;

    if (guest->mode == PAGING_NONE) {
        *translation = (struct linear_translation){.gpa = walk->linear, .rights = rights};
        return true;
    }
    if (!descend(walk, &leaf, &rights))
        return false;
    rights.protection_key = (guest->efer & VMXC_EFER_LMA)
                                ? (uint8_t)VMXC_FIELD_GET(leaf.value, VMXC_PTE_PROTECTION_KEY)
                                : 0;
    rights.pat_index = pat_index(&leaf);
    if (!vmxsim_paging_check_rights(walk, &rights))
        return false;
    if (!set_flags(walk, &leaf,
                   walk->write ? VMXC_PTE_ACCESSED | VMXC_PTE_DIRTY : VMXC_PTE_ACCESSED))
        return false;

    const uint64_t page_size = UINT64_C(1) << page_shift(guest, leaf.level);
    *translation = (struct linear_translation){
        .gpa = page_address(guest, &leaf) | (walk->linear & (page_size - 1)),
        .page_size = page_size,
        .global = leaf.value & VMXC_PTE_GLOBAL,
        .rights = rights,
    };
    return true;
}
