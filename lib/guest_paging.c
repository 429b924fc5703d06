/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest-paging walker. Modes differ only in data (guest_paging_info.c); the walk is one loop.
 *
 *     linear address, 4-level paging (9 bits per level):
 *
 *      63     48 47    39 38    30 29    21 20    12 11         0
 *     +---------+--------+--------+--------+--------+------------+
 *     | bit 47  | index  | index  | index  | index  |   offset   |
 *     +---------+---+----+---+----+---+----+---+----+-----+------+
 *                   |        |        |        |          |
 *         root -> PML4E -> PDPTE ->  PDE  ->  PTE ------> + = gpa
 *                            |        |
 *                            |        +-- page: 2 MBytes -> + offset 20:0
 *                            +----------- page: 1 GByte --> + offset 29:0
 *
 *     5-level paging puts a PML5E (56:48) in front. PAE paging starts at level 3 with one of four registers (31:30)
 *     and ends at 2 MBytes. 32-bit paging has two levels of 10 bits: PDE (31:22, 4-MByte pages), PTE (21:12).
 *
 * At each entry: present? then reserved bits, then rights are gathered. Rights are judged behind the leaf, so a
 * missing or malformed entry anywhere wins over a right that an entry above it withholds.
 */
#include "vmxcore/guest_paging.h"

#include "vmxcore/guest_mem.h"

/* Attempts to set accessed and dirty flags in entries that somebody else keeps changing. */
#define MAX_ATTEMPTS 16u

#define RIGHTS (VMXC_PTE_WRITE | VMXC_PTE_USER)

#define PKR_ACCESS_DISABLE UINT32_C(1)
#define PKR_WRITE_DISABLE  UINT32_C(2)

/* One entry on the way down. */
struct step {
    uint8_t level;
    bool is_register;
    vmxc_gpa_t gpa;
    uint64_t raw;
};

/* A walk under way. The last step is the leaf once the descent has succeeded. */
struct walk {
    struct vmxc_addrspace *space;
    const struct vmxc_guest_walk_info *info;
    struct vmxc_guest_access access;
    vmxc_gva_t gva;
    size_t depth;
    struct step step[VMXC_GUEST_PAGING_MAX_LEVELS];
    struct vmxc_guest_fault fault;
};

const char *vmxc_guest_fault_kind_name(enum vmxc_guest_fault_kind kind)
{
    static const char *const names[VMXC_GUEST_FAULT_KIND_COUNT] = {
        [VMXC_GUEST_FAULT_NONE] = "none",
        [VMXC_GUEST_FAULT_NOT_PRESENT] = "not present",
        [VMXC_GUEST_FAULT_RESERVED] = "reserved bit",
        [VMXC_GUEST_FAULT_RIGHTS] = "rights",
        [VMXC_GUEST_FAULT_PROTECTION_KEY] = "protection key",
        [VMXC_GUEST_FAULT_NON_CANONICAL] = "non-canonical",
    };
    return (unsigned)kind < VMXC_GUEST_FAULT_KIND_COUNT ? names[kind] : "?";
}

static const struct step *leaf_of(const struct walk *walk)
{
    return &walk->step[walk->depth - 1];
}

/* ---- Faults ---- */

/* The part of the error code that describes the access. */
static uint32_t access_error_bits(const struct walk *walk)
{
    uint64_t code = 0;

    if (walk->access.write)
        code |= VMXC_PF_WRITE;
    if (walk->access.user_mode)
        code |= VMXC_PF_USER;
    /* Only where a fetch can be refused as a fetch does the processor say that it was one. */
    if (walk->access.fetch && (walk->info->smep || walk->info->nxe))
        code |= VMXC_PF_FETCH;
    return (uint32_t)code;
}

static enum vmxc_status page_fault(struct walk *walk, const struct step *step,
                                   enum vmxc_guest_fault_kind kind, uint64_t offending,
                                   uint64_t cause_bits)
{
    walk->fault = (struct vmxc_guest_fault){
        .kind = kind,
        .gva = walk->gva,
        .level = step->level,
        .is_register = step->is_register,
        .entry_gpa = step->gpa,
        .entry = step->raw,
        .offending = offending,
        .error_code = access_error_bits(walk) | (uint32_t)cause_bits,
    };
    return VMXC_GUEST_FAULT;
}

/* The walk cannot go on for a reason of the hypervisor's: says at which entry. */
static enum vmxc_status table_failure(struct walk *walk, const struct step *step,
                                      enum vmxc_status status)
{
    walk->fault = (struct vmxc_guest_fault){
        .gva = walk->gva, .level = step->level, .entry_gpa = step->gpa, .entry = step->raw};
    return status;
}

/* ---- Descent ---- */

static bool is_canonical(vmxc_gva_t gva, uint8_t width)
{
    const uint64_t upper = gva >> (width - 1u);

    return upper == 0 || upper == UINT64_MAX >> (width - 1u);
}

static enum vmxc_status read_entry(struct walk *walk, struct step *step)
{
    enum vmxc_status status;
    uint32_t narrow = 0;

    /* The guest chose this address, so leaving the space is no mistake of our caller's. */
    if (!vmxc_addrspace_contains(walk->space, step->gpa, walk->info->entry_size))
        return table_failure(walk, step, VMXC_NOT_FOUND);
    if (walk->info->entry_size == 8) {
        status = vmxc_guest_mem_read_volatile_u64(walk->space, step->gpa, &step->raw);
    } else {
        status = vmxc_guest_mem_read_volatile_u32(walk->space, step->gpa, &narrow);
        step->raw = narrow;
    }
    return status == VMXC_OK ? VMXC_OK : table_failure(walk, step, status);
}

/* Reads the entry for `gva` at `level`, from the table at `table_gpa` or from a PDPTE register. */
static enum vmxc_status take_step(struct walk *walk, uint8_t level, vmxc_gpa_t table_gpa)
{
    const struct vmxc_guest_walk_info *const info = walk->info;
    const uint64_t index =
        walk->gva >> info->level[level - 1].shift & ((UINT64_C(1) << info->index_bits) - 1);
    struct step *const step = &walk->step[walk->depth++];

    if (info->mode == VMXC_GUEST_PAGING_PAE && level == info->levels) {
        *step = (struct step){.level = level, .is_register = true, .raw = info->pdpte[index & 3]};
        return VMXC_OK;
    }
    *step = (struct step){.level = level, .gpa = table_gpa + index * info->entry_size};
    return read_entry(walk, step);
}

static bool maps_page(const struct vmxc_guest_level *level, const struct step *step)
{
    return step->level == 1 || (level->page_allowed && (step->raw & VMXC_PTE_PAGE_SIZE));
}

/* Walks down to the entry that maps the page. */
static enum vmxc_status descend(struct walk *walk)
{
    vmxc_gpa_t table_gpa = walk->info->root;

    walk->depth = 0;
    for (uint8_t number = walk->info->levels;; number--) {
        const struct vmxc_guest_level *const level = &walk->info->level[number - 1];

        VMXC_TRY(take_step(walk, number, table_gpa));

        const struct step *const step = leaf_of(walk);
        const bool page = maps_page(level, step);
        const uint64_t reserved = step->raw & (page ? level->reserved_page : level->reserved_table);

        if (!(step->raw & VMXC_PTE_PRESENT))
            return page_fault(walk, step, VMXC_GUEST_FAULT_NOT_PRESENT, VMXC_PTE_PRESENT, 0);
        if (reserved != 0)
            return page_fault(walk, step, VMXC_GUEST_FAULT_RESERVED, reserved,
                              VMXC_PF_PRESENT | VMXC_PF_RESERVED);
        if (page)
            return VMXC_OK;
        table_gpa = step->raw & VMXC_PTE_ADDRESS;
    }
}

/* ---- Translation ---- */

static vmxc_gpa_t page_base(const struct walk *walk, uint64_t page_size)
{
    const struct step *const leaf = leaf_of(walk);
    vmxc_gpa_t base = leaf->raw & VMXC_PTE_ADDRESS & ~(page_size - 1);

    if (walk->info->mode == VMXC_GUEST_PAGING_32BIT && leaf->level == 2)
        base |= VMXC_FIELD_GET(leaf->raw, VMXC_BITS(20, 13)) << 32; /* PSE-36 */
    return base;
}

static uint8_t pat_index(const struct step *leaf)
{
    const uint64_t pat_bit = leaf->level == 1 ? VMXC_PTE_PAT : VMXC_PTE_LARGE_PAT;

    return (uint8_t)((leaf->raw & pat_bit ? 4 : 0) | VMXC_FIELD_GET(leaf->raw, VMXC_BITS(4, 3)));
}

/* What the entries of a completed descent say together. PDPTE registers have no rights to withhold. */
static struct vmxc_guest_translation translate(const struct walk *walk)
{
    const struct vmxc_guest_walk_info *const info = walk->info;
    const struct step *const leaf = leaf_of(walk);
    const uint64_t page_size = UINT64_C(1) << info->level[leaf->level - 1].shift;
    uint64_t all = RIGHTS;
    uint64_t any = 0;

    for (size_t i = 0; i < walk->depth; i++) {
        if (walk->step[i].is_register)
            continue;
        all &= walk->step[i].raw;
        any |= walk->step[i].raw;
    }
    return (struct vmxc_guest_translation){
        .gpa = page_base(walk, page_size) | (walk->gva & (page_size - 1)),
        .page_size = page_size,
        .user = all & VMXC_PTE_USER,
        .writable = all & VMXC_PTE_WRITE,
        .no_execute = info->nxe && (any & VMXC_PTE_NO_EXECUTE),
        .global = info->pge && (leaf->raw & VMXC_PTE_GLOBAL),
        .protection_key =
            info->levels >= 4 ? (uint8_t)VMXC_FIELD_GET(leaf->raw, VMXC_PTE_PROTECTION_KEY) : 0,
        .pat_index = pat_index(leaf),
    };
}

/* Without paging every right is there, and memory is of the type that EPT says. */
static struct vmxc_guest_translation identity(vmxc_gva_t gva)
{
    return (struct vmxc_guest_translation){
        .gpa = gva, .page_size = VMXC_PAGE_SIZE_4K, .user = true, .writable = true};
}

/* ---- Rights: SDM, "Determination of Access Rights" ---- */

/* The entry flag that refuses the access, or 0. */
static uint64_t refusing_flag(const struct walk *walk, const struct vmxc_guest_translation *page)
{
    const struct vmxc_guest_walk_info *const info = walk->info;
    const struct vmxc_guest_access access = walk->access;
    const bool smap_applies = info->smap && (access.implicit || !info->ac);

    if (access.user_mode && !page->user)
        return VMXC_PTE_USER;
    if (!access.user_mode && page->user && (access.fetch ? info->smep : smap_applies))
        return VMXC_PTE_USER;
    if (access.write && !page->writable && (access.user_mode || info->wp))
        return VMXC_PTE_WRITE;
    if (access.fetch && page->no_execute)
        return VMXC_PTE_NO_EXECUTE;
    return 0;
}

/* SDM, "Protection Keys": they restrict data accesses only, each kind of address by a register of its own. */
static bool key_refuses(const struct walk *walk, const struct vmxc_guest_translation *page)
{
    const struct vmxc_guest_walk_info *const info = walk->info;
    const struct vmxc_guest_access access = walk->access;
    const uint32_t rights = (page->user ? info->pkru : info->pkrs) >> (2u * page->protection_key);

    if (access.fetch || !(page->user ? info->pke : info->pks))
        return false;
    if (rights & PKR_ACCESS_DISABLE)
        return true;
    /* Without CR0.WP writes are free, except those of user mode to user-mode addresses. */
    return (rights & PKR_WRITE_DISABLE) && access.write &&
           (info->wp || (access.user_mode && page->user));
}

/*
 * Which entry to blame for a right that is missing: the uppermost one whose flag differs from what the access needs.
 * A supervisor-mode access to a user-mode address is the leaf's matter: every entry agrees.
 */
static const struct step *blamed_step(const struct walk *walk, uint64_t flag)
{
    const uint64_t refused_by = flag == VMXC_PTE_NO_EXECUTE ? flag : 0;

    for (size_t i = 0; i < walk->depth; i++) {
        if (!walk->step[i].is_register && (walk->step[i].raw & flag) == refused_by)
            return &walk->step[i];
    }
    return leaf_of(walk);
}

/* Refuses or allows the access. The error code tells of a protection key even where rights alone would do. */
static enum vmxc_status judge(struct walk *walk, const struct vmxc_guest_translation *page)
{
    const uint64_t flag = refusing_flag(walk, page);
    const bool key = key_refuses(walk, page);
    const uint64_t cause = VMXC_PF_PRESENT | (key ? VMXC_PF_PROTECTION_KEY : 0);

    if (flag != 0)
        return page_fault(walk, blamed_step(walk, flag), VMXC_GUEST_FAULT_RIGHTS, flag, cause);
    if (key)
        return page_fault(walk, leaf_of(walk), VMXC_GUEST_FAULT_PROTECTION_KEY,
                          VMXC_PTE_PROTECTION_KEY, cause);
    return VMXC_OK;
}

/* ---- Accessed and dirty flags ---- */

static enum vmxc_status exchange_entry(struct walk *walk, const struct step *step, uint64_t desired,
                                       bool *exchanged)
{
    if (walk->info->entry_size == 8)
        return vmxc_guest_mem_compare_exchange_u64(walk->space, step->gpa, step->raw, desired,
                                                   exchanged);
    return vmxc_guest_mem_compare_exchange_u32(walk->space, step->gpa, (uint32_t)step->raw,
                                               (uint32_t)desired, exchanged);
}

/* Sets the flags from the top down. *stale: an entry is not what was read, so the walk must be repeated. */
static enum vmxc_status set_flags(struct walk *walk, bool *stale)
{
    bool exchanged = true;

    for (size_t i = 0; i < walk->depth && exchanged; i++) {
        const struct step *const step = &walk->step[i];
        const bool dirty = step == leaf_of(walk) && walk->access.write;
        const uint64_t flags = VMXC_PTE_ACCESSED | (dirty ? VMXC_PTE_DIRTY : 0);

        if (step->is_register || (step->raw & flags) == flags)
            continue;
        const enum vmxc_status status = exchange_entry(walk, step, step->raw | flags, &exchanged);
        if (status != VMXC_OK)
            return table_failure(walk, step, status);
    }
    *stale = !exchanged;
    return VMXC_OK;
}

/* ---- The walk ---- */

static enum vmxc_status walk_once(struct walk *walk, struct vmxc_guest_translation *page,
                                  bool *stale)
{
    *stale = false;
    VMXC_TRY(descend(walk));
    *page = translate(walk);
    VMXC_TRY(judge(walk, page));
    return walk->info->set_accessed_dirty ? set_flags(walk, stale) : VMXC_OK;
}

static enum vmxc_status walk_paged(struct walk *walk, struct vmxc_guest_translation *page)
{
    bool stale = true;

    if (walk->info->linear_width > 32 && !is_canonical(walk->gva, walk->info->linear_width)) {
        walk->fault =
            (struct vmxc_guest_fault){.kind = VMXC_GUEST_FAULT_NON_CANONICAL, .gva = walk->gva};
        return VMXC_GUEST_FAULT;
    }
    for (unsigned attempt = 0; attempt < MAX_ATTEMPTS && stale; attempt++)
        VMXC_TRY(walk_once(walk, page, &stale));
    return stale ? VMXC_BUSY : VMXC_OK;
}

static bool is_possible(const struct vmxc_guest_walk_info *info, struct vmxc_guest_access access,
                        vmxc_gva_t gva)
{
    return !(access.write && access.fetch) && !(access.user_mode && access.implicit) &&
           !(access.fetch && access.implicit) && (info->linear_width > 32 || gva >> 32 == 0);
}

enum vmxc_status vmxc_guest_walk(struct vmxc_addrspace *space,
                                 const struct vmxc_guest_walk_info *info,
                                 struct vmxc_guest_access access, vmxc_gva_t gva,
                                 struct vmxc_guest_translation *translation,
                                 struct vmxc_guest_fault *fault)
{
    struct walk walk = {.space = space, .info = info, .access = access, .gva = gva};
    struct vmxc_guest_translation page;

    if (space->ept.hal == NULL)
        return VMXC_BAD_STATE;
    if (!is_possible(info, access, gva))
        return VMXC_INVALID_INPUT;
    if (info->mode == VMXC_GUEST_PAGING_NONE) {
        *translation = identity(gva);
        return VMXC_OK;
    }

    const enum vmxc_status status = walk_paged(&walk, &page);
    if (status == VMXC_OK)
        *translation = page;
    else if (fault != NULL && status != VMXC_BUSY)
        *fault = walk.fault;
    return status;
}
