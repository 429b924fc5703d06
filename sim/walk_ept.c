/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guest-physical to host-physical: the EPT walk.
 *
 *   EPTP --> [ PML5 ] -> [ PML4 ] -> [ PDPT ] -> [  PD  ] -> [  PT  ] -> 4-KByte page
 *             level 5     level 4     level 3     level 2     level 1
 *            (if EPTP[5:3] = 4)          |           |
 *                                        |           `-> 2-MByte page (bit 7)
 *                                        `-> 1-GByte page (bit 7)
 *
 *   per entry:   not present?  -> EPT violation
 *                malformed?    -> EPT misconfiguration
 *   at the leaf: rights of all entries ANDed; one missing -> EPT violation, unless sub-page write permissions
 *                (walk_spp.c) decide about the write
 *                accessed and dirty flags to set: log full? -> VM exit; otherwise set, log, go on
 *
 * Source: Intel SDM volume 3, "EPT Translation Mechanism", "EPT Misconfigurations", "EPT Violations",
 * "Accessed and Dirty Flags for EPT", "Page-Modification Logging".
 */
#include "internal/memory.h"
#include "internal/stale.h"

/* The entries of one walk, from the root down, so that flags can be set once the access is allowed. */
struct ept_path {
    struct {
        uint64_t hpa, value;
        struct vmxsim_trail_entry *trail;
    } step[MAX_LEVELS];
    unsigned count;
    uint64_t rights; /* AND over the entries read so far */
};

#define RIGHTS_MASK (VMXC_EPT_RWX | VMXC_EPT_USER_EXECUTE)

static unsigned index_shift(unsigned level)
{
    return VMXC_PAGE_SHIFT + 9 * (level - 1);
}

static bool is_present(const struct ept_state *ept, uint64_t entry)
{
    const uint64_t rights =
        ept->mode_based_execute ? VMXC_EPT_RWX | VMXC_EPT_USER_EXECUTE : VMXC_EPT_RWX;

    return (entry & rights) != 0;
}

static bool is_leaf(const struct ept_state *ept, uint64_t entry, unsigned level)
{
    return level == 1 || ((entry & VMXC_EPT_LARGE_PAGE) && ept->large_page[level]);
}

static uint64_t load_entry(struct walk *walk, const struct ept_request *request, uint64_t hpa,
                           unsigned level)
{
    if (!walk->cpu->stale)
        return vmxsim_memory_read_entry(walk->cpu->memory, hpa);
    return vmxsim_stale_read(walk, &(struct stale_reading){.hpa = hpa,
                                                           .first = level == walk->cpu->ept.levels,
                                                           .page = request->guest_level == 0});
}

static uint64_t read_entry(struct walk *walk, const struct ept_request *request, uint64_t table,
                           unsigned level, struct ept_path *path)
{
    const uint64_t index = (request->gpa >> index_shift(level)) % VMXC_EPT_ENTRIES_PER_TABLE;
    const uint64_t hpa = table + 8 * index;
    const uint64_t value = load_entry(walk, request, hpa, level);
    struct vmxsim_trail_entry *step =
        vmxsim_trail_add(walk, VMXSIM_TRAIL_EPT_ENTRY, hpa, request->gpa, value);

    if (step) {
        step->level = (uint8_t)level;
        step->guest_level = request->guest_level;
        step->leaf = is_present(&walk->cpu->ept, value) && is_leaf(&walk->cpu->ept, value, level);
    }
    path->step[path->count].hpa = hpa;
    path->step[path->count].value = value;
    path->step[path->count].trail = step;
    path->count++;
    path->rights &= value;
    return value;
}

static bool is_reserved_memory_type(uint64_t entry)
{
    const uint64_t type = VMXC_FIELD_GET(entry, VMXC_EPT_MEMORY_TYPE);

    return type == 2 || type == 3 || type == 7;
}

/* The first misconfiguration of a present entry, and the bits that make it one. */
static enum vmxsim_walk_rule find_misconfiguration(const struct ept_state *ept, uint64_t entry,
                                                   unsigned level, bool leaf, uint64_t *offending)
{
    const uint64_t execute =
        ept->mode_based_execute ? VMXC_EPT_EXECUTE | VMXC_EPT_USER_EXECUTE : VMXC_EPT_EXECUTE;

    if (!(entry & VMXC_EPT_READ) && (entry & VMXC_EPT_WRITE)) {
        *offending = VMXC_EPT_WRITE;
        return VMXSIM_RULE_EPT_MC_WO;
    }
    if (!(entry & VMXC_EPT_READ) && (entry & execute) && !ept->execute_only) {
        *offending = entry & execute;
        return VMXSIM_RULE_EPT_MC_XO;
    }
    *offending = entry & (leaf ? ept->reserved.leaf[level] : ept->reserved.table[level]);
    if (*offending)
        return VMXSIM_RULE_EPT_MC_RSVD;
    if (leaf && is_reserved_memory_type(entry)) {
        *offending = entry & VMXC_EPT_MEMORY_TYPE;
        return VMXSIM_RULE_EPT_MC_MT;
    }
    return VMXSIM_RULE_NONE;
}

/* The EPT rights an access needs. A fetch is judged by the privilege of the linear address, not by the CPL. */
static uint64_t needed_rights(const struct ept_state *ept, const struct ept_request *request)
{
    uint64_t needed = 0;

    if (request->access & VMXC_EPT_VIOLATION_READ)
        needed |= VMXC_EPT_READ;
    if (request->access & VMXC_EPT_VIOLATION_WRITE)
        needed |= VMXC_EPT_WRITE;
    if (request->access & VMXC_EPT_VIOLATION_FETCH) {
        const bool user = request->linear && request->linear->user;
        needed |= ept->mode_based_execute && user ? VMXC_EPT_USER_EXECUTE : VMXC_EPT_EXECUTE;
    }
    return needed;
}

uint64_t vmxsim_ept_missing_rights(const struct vmxsim_cpu *cpu, const struct ept_request *request,
                                   uint64_t rights)
{
    return needed_rights(&cpu->ept, request) & ~rights;
}

static enum vmxsim_walk_rule rights_rule(const struct ept_state *ept,
                                         const struct ept_request *request, uint64_t missing)
{
    if (request->guest_level != 0 && ept->accessed_dirty && missing == VMXC_EPT_WRITE)
        return VMXSIM_RULE_EPT_AD_GPT_AS_WRITE;
    if (ept->mode_based_execute && (request->access & VMXC_EPT_VIOLATION_FETCH))
        return VMXSIM_RULE_EPT_MBEC;
    return VMXSIM_RULE_EPT_RIGHTS;
}

/* Source: SDM, "Page-Modification Logging". The index counts down and wraps in 16 bits. */
static void log_page(struct walk *walk, uint64_t gpa)
{
    struct exit_controls *exits = &walk->cpu->exits;
    const uint64_t hpa = exits->pml_address + 8u * (uint64_t)exits->pml_index;
    const uint64_t page_gpa = gpa & ~VMXC_PAGE_MASK;

    vmxsim_memory_write64(walk->cpu->memory, hpa, page_gpa);
    exits->pml_index = (uint16_t)(exits->pml_index - 1);
    (void)vmxsim_trail_add(walk, VMXSIM_TRAIL_PML_WRITE, hpa, page_gpa, page_gpa);
}

static uint64_t flags_of_step(const struct ept_path *path, unsigned i, bool write)
{
    const bool leaf = i + 1 == path->count;

    return leaf && write ? VMXC_EPT_ACCESSED | VMXC_EPT_DIRTY : VMXC_EPT_ACCESSED;
}

static bool flags_are_set(const struct ept_path *path, bool write)
{
    for (unsigned i = 0; i < path->count; i++) {
        const uint64_t flags = flags_of_step(path, i, write);
        if ((path->step[i].value & flags) != flags)
            return false;
    }
    return true;
}

/* Sets the accessed flag of every entry used and, for a write, the dirty flag of the leaf. */
static bool set_flags(struct walk *walk, struct ept_path *path, uint64_t gpa, bool write)
{
    const struct exit_controls *exits = &walk->cpu->exits;
    const bool was_dirty = path->step[path->count - 1].value & VMXC_EPT_DIRTY;

    if (flags_are_set(path, write))
        return true;
    if (exits->pml && exits->pml_index >= VMXC_PML_ENTRIES)
        return vmxsim_end_with_log_full(walk);
    for (unsigned i = 0; i < path->count; i++) {
        const uint64_t updated = path->step[i].value | flags_of_step(path, i, write);
        if (updated != path->step[i].value) {
            vmxsim_stale_set_flags(walk, path->step[i].hpa, false, path->step[i].value);
            vmxsim_memory_write64(walk->cpu->memory, path->step[i].hpa, updated);
        }
        if (path->step[i].trail)
            path->step[i].trail->updated = updated;
        path->step[i].value = updated;
    }
    if (exits->pml && write && !was_dirty)
        log_page(walk, gpa);
    return true;
}

static void translate_without_ept(uint64_t gpa, struct ept_translation *translation)
{
    *translation = (struct ept_translation){.hpa = gpa, .rights = RIGHTS_MASK};
}

/* Descends to the entry that maps the page. On success *leaf_level is its level. */
static bool descend(struct walk *walk, const struct ept_request *request, struct ept_path *path,
                    unsigned *leaf_level)
{
    const struct ept_state *ept = &walk->cpu->ept;
    uint64_t table = ept->root;

    for (unsigned level = ept->levels;; level--) {
        uint64_t offending;
        const uint64_t entry = read_entry(walk, request, table, level, path);

        if (!is_present(ept, entry)) {
            vmxsim_trail_verdict(walk, VMXSIM_RULE_EPT_NOT_PRESENT, 0);
            return vmxsim_end_with_ept_violation(walk, VMXSIM_RULE_EPT_NOT_PRESENT, request, 0,
                                                 entry, true);
        }
        const bool leaf = is_leaf(ept, entry, level);
        const enum vmxsim_walk_rule rule =
            find_misconfiguration(ept, entry, level, leaf, &offending);
        if (rule != VMXSIM_RULE_NONE) {
            vmxsim_trail_verdict(walk, rule, offending);
            return vmxsim_end_with_ept_misconfiguration(walk, rule, request->gpa);
        }
        if (leaf) {
            *leaf_level = level;
            return true;
        }
        table = entry & VMXC_EPT_ADDRESS;
    }
}

/* Bits of the entries that a supervisor shadow-stack access lacks. W of the entry that maps the page plays no part. */
static uint64_t missing_for_shadow_stack(const struct ept_path *path)
{
    const uint64_t leaf = path->step[path->count - 1].value;
    uint64_t above = VMXC_EPT_WRITE;

    for (unsigned i = 0; i + 1 < path->count; i++)
        above &= path->step[i].value;
    return (VMXC_EPT_READ & ~path->rights) | (VMXC_EPT_WRITE & ~above) |
           (VMXC_EPT_SUPERVISOR_SHADOW_STACK & ~leaf);
}

static bool is_supervisor_shadow_stack_access(const struct walk *walk,
                                              const struct ept_request *request)
{
    return walk->shadow_stack && !walk->user && request->guest_level == 0;
}

static bool check_shadow_stack(struct walk *walk, const struct ept_request *request,
                               const struct ept_path *path)
{
    const uint64_t missing = missing_for_shadow_stack(path);

    if (!missing)
        return true;
    vmxsim_trail_verdict(walk, VMXSIM_RULE_EPT_SHADOW_STACK, missing);
    return vmxsim_end_with_ept_violation(walk, VMXSIM_RULE_EPT_SHADOW_STACK, request, path->rights,
                                         path->step[path->count - 1].value, true);
}

static bool end_without_rights(struct walk *walk, const struct ept_request *request,
                               uint64_t missing, uint64_t rights, uint64_t leaf)
{
    const enum vmxsim_walk_rule rule = rights_rule(&walk->cpu->ept, request, missing);

    vmxsim_trail_verdict(walk, rule, missing);
    return vmxsim_end_with_ept_violation(walk, rule, request, rights, leaf, true);
}

/* Do the entries, or in their stead sub-page write permissions, allow the access? */
static bool check_rights(struct walk *walk, const struct ept_request *request,
                         const struct ept_path *path, unsigned level)
{
    const struct ept_state *ept = &walk->cpu->ept;
    const uint64_t leaf = path->step[path->count - 1].value;
    const uint64_t missing = needed_rights(ept, request) & ~path->rights;

    if (ept->shadow_stack && is_supervisor_shadow_stack_access(walk, request))
        return check_shadow_stack(walk, request, path);
    if (!missing)
        return true;
    if (vmxsim_spp_applies(walk, request, path->rights, leaf, level))
        return vmxsim_walk_spp(walk, request, path->rights, leaf);

    return end_without_rights(walk, request, missing, path->rights, leaf);
}

/* Not the translation of a linear address. */
static bool is_guest_physical(const struct walk *walk, const struct ept_request *request)
{
    return request->guest_level != 0 || !walk->linear_valid;
}

static bool check_apic_access_page(struct walk *walk, const struct ept_request *request,
                                   const struct ept_translation *translation)
{
    if (is_guest_physical(walk, request) && vmxsim_is_apic_access_page(walk, translation->hpa))
        return vmxsim_end_with_physical_apic_access(walk);
    return true;
}

bool vmxsim_ept_check_cached(struct walk *walk, const struct ept_request *request,
                             const struct ept_translation *translation)
{
    const uint64_t missing = vmxsim_ept_missing_rights(walk->cpu, request, translation->rights);

    if (missing)
        return end_without_rights(walk, request, missing, translation->rights, translation->leaf);
    return check_apic_access_page(walk, request, translation);
}

static bool walk_tables(struct walk *walk, const struct ept_request *request,
                        struct ept_translation *translation)
{
    const struct ept_state *ept = &walk->cpu->ept;
    const uint32_t first = walk->trail != NULL ? walk->trail->count : 0;
    struct ept_path path;
    unsigned level = 0;

    path.count = 0;
    path.rights = RIGHTS_MASK;
    if (!descend(walk, request, &path, &level) || !check_rights(walk, request, &path, level))
        return false;
    if (ept->accessed_dirty &&
        !set_flags(walk, &path, request->gpa, request->access & VMXC_EPT_VIOLATION_WRITE))
        return false;

    const uint64_t page_size = UINT64_C(1) << index_shift(level);
    const uint64_t leaf = path.step[path.count - 1].value;
    *translation = (struct ept_translation){
        .hpa = (leaf & VMXC_EPT_ADDRESS & ~(page_size - 1)) | (request->gpa & (page_size - 1)),
        .page_size = page_size,
        .rights = path.rights & RIGHTS_MASK,
        .leaf = leaf,
    };
    if (walk->tlb != NULL)
        vmxsim_walk_cache_ept(walk, first, request, translation);
    return check_apic_access_page(walk, request, translation);
}

bool vmxsim_walk_ept(struct walk *walk, const struct ept_request *request,
                     struct ept_translation *translation)
{
    const struct ept_state *ept = &walk->cpu->ept;
    bool ended;

    if (!ept->enabled) {
        translate_without_ept(request->gpa, translation);
        return true;
    }
    if (request->gpa >> index_shift(ept->levels + 1u))
        return vmxsim_end_with_ept_violation(walk, VMXSIM_RULE_EPT_GPAW, request, 0, 0, false);
    if (walk->tlb != NULL && vmxsim_walk_cached_ept(walk, request, translation, &ended))
        return !ended;
    return walk_tables(walk, request, translation);
}

/*
 * Setting a flag in a guest paging-structure entry writes to its page. With EPT accessed and dirty flags the
 * access counted as a write from the start, so there is nothing left to check.
 */
bool vmxsim_walk_ept_write_flag(struct walk *walk, const struct ept_request *request,
                                const struct ept_translation *translation)
{
    struct ept_request update = *request;

    if (!walk->cpu->ept.enabled || (translation->rights & VMXC_EPT_WRITE))
        return true;
    /* Bit 0: whether an update also counts as a read is left to the implementation; it does here. */
    update.access = VMXC_EPT_VIOLATION_READ | VMXC_EPT_VIOLATION_WRITE;
    vmxsim_trail_verdict(walk, VMXSIM_RULE_EPT_AD_OFF_GPT, VMXC_EPT_WRITE);
    return vmxsim_end_with_ept_violation(walk, VMXSIM_RULE_EPT_AD_OFF_GPT, &update,
                                         translation->rights, translation->leaf, true);
}
