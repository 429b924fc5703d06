/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guest accesses through arbitrary tables.
 *
 *     linear --- guest tables (slots 6 to 10, by level) --- data (slots 16, 17)
 *                     |  every address through EPT (slots 1 to 5, by level): identity
 *
 * The scaffold translates the linear address; the input then overwrites entries. Whatever comes of it:
 *
 *  - The trail fits the outcome: no entry but the last ends the walk, and it does so by the outcome's rule.
 *  - What a completed read returns is what lies at the host address.
 *  - A second identical read or fetch comes to the same, and changes no memory.
 *  - More rights in the EPT entries that were used do not hurt.
 *  - With an exact cache of translations, repeated accesses come to what they come to without one; with a lazy one, too, as
 *    long as nothing but flags changes in the tables.
 *  - After a change that calls for an invalidation, an access through a lazy cache comes to what the tables say, or to a
 *    hazard; after the invalidation, to what they say. A clone has the same cache.
 *
 * Input: profile (1), paging mode, and whether the outcome is explained (1), control bits (2), registers (4), linear address
 * (vmxsim_fuzz_value), access (2), then entries: slot (1), index (2), value (vmxsim_fuzz_value).
 */
#include "harness.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "vmxcore/defs/controls.h"
#include "vmxcore/defs/paging.h"
#include "vmxsim/explain.h"
#include "vmxsim/guest.h"
#include "vmxsim/hazard.h"
#include "vmxsim/snapshot.h"
#include "vmxsim/tlb.h"

#define SLOT_HPA(slot) (UINT64_C(0x10000) + UINT64_C(0x1000) * (slot))
#define RAM_SIZE       (UINT64_C(2) << 20)
#define PAGE_MASK      UINT64_C(0xfff)

/*
 * Text takes longer than the access: mode bytes below the first ask for an explanation, those below the second for it as JSON.
 * From the third on the access is also made with cached translations.
 */
enum { EXPLAINED = 8, EXPLAINED_JSON = 16, CACHED = 128 };
enum { PROFILES = 4, SLOTS = 24, EPT_SLOT = 0, GUEST_SLOT = 5, DATA_SLOT = 16, SPECIAL_SLOT = 20 };

/* The sub-page permission table, its root in the last slot that inputs overwrite but one. */
#define SPPT_HPA(level) SLOT_HPA(SPECIAL_SLOT + 2 + (4 - (level)))

enum mode { NONE, PAGING_32, PAE, FOUR, FIVE, MODES };

static const unsigned memory_levels[MODES] = {0, 2, 2, 4, 5};

static struct machine {
    struct vmxsim_memory *memory;
    struct vmxsim_cpu *cpu;
    struct vmxsim_fuzz_loop loop;
} machines[PROFILES];

struct experiment {
    struct machine *machine;
    const struct vmxsim_profile *profile;
    enum mode mode;
    bool ept;
    unsigned ept_levels;
    struct vmxsim_vmcs vmcs;
    uint32_t pkru;
    struct vmxsim_access access;
};

/* ---- The machine ---- */

/* Sub-page permissions of the first 2 MBytes: of the data pages some sub-pages may be written. */
static void build_sppt(struct vmxsim_memory *memory)
{
    for (unsigned level = 4; level > 1; level--)
        vmxsim_memory_write64(memory, SPPT_HPA(level), SPPT_HPA(level - 1) | VMXC_SPPT_VALID);
    for (uint64_t page = 0; page < 2; page++)
        vmxsim_memory_write64(memory, SPPT_HPA(1) + 8 * ((SLOT_HPA(DATA_SLOT) >> 12) + page),
                              UINT64_C(0x5555555500550055));
}

/* EPT maps [0, 2 MBytes) to itself in 4-KByte pages; who walks four levels starts one table later. */
static void build_ept(struct vmxsim_memory *memory)
{
    for (unsigned level = 5; level > 1; level--)
        vmxsim_memory_write64(memory, SLOT_HPA(EPT_SLOT + level),
                              SLOT_HPA(EPT_SLOT + level - 1) | VMXC_EPT_RWX);
    for (uint64_t page = 0; page < 512; page++)
        vmxsim_memory_write64(memory, SLOT_HPA(EPT_SLOT + 1) + 8 * page,
                              page << 12 | VMXC_EPT_RWX | 6u << 3 | VMXC_EPT_USER_EXECUTE);
}

static struct machine *machine_at(unsigned index, const struct vmxsim_profile **profile)
{
    struct machine *const machine = &machines[index];

    *profile = vmxsim_profile_builtin(vmxsim_profile_builtin_name(index));
    if (machine->cpu != NULL)
        return machine;
    machine->memory = harness_memory(RAM_SIZE);
    machine->cpu = harness_processor(machine->memory, *profile);
    build_ept(machine->memory);
    build_sppt(machine->memory);
    REQUIRE(vmxsim_fuzz_loop_begin(&machine->loop, machine->memory, NULL, 0) == VMXC_OK,
            "no snapshot");
    return machine;
}

/* ---- Decoding ---- */

/* The data pages may be read; what may be written of them, the sub-page permissions say. */
static void protect_data(struct vmxsim_memory *memory)
{
    for (uint64_t page = SLOT_HPA(DATA_SLOT) >> 12, last = page + 1; page <= last; page++)
        vmxsim_memory_write64(memory, SLOT_HPA(EPT_SLOT + 1) + 8 * page,
                              page << 12 | VMXC_EPT_READ | 6u << 3 | VMXC_EPT_SUB_PAGE_WRITE);
}

static void decode_controls(struct vmxsim_fuzz_input *input, struct experiment *experiment)
{
    const uint32_t bits = (uint32_t)vmxsim_fuzz_take(input, 2);
    const struct vmxsim_features *features = vmxsim_profile_features(experiment->profile);
    struct vmxsim_vmcs *const vmcs = &experiment->vmcs;
    uint64_t secondary = VMXC_SECONDARY_UNRESTRICTED_GUEST;

    experiment->ept = (bits & 1) == 0;
    experiment->ept_levels = (bits & 2) && features->ept_walk_5 ? 5 : 4;
    secondary |= experiment->ept ? VMXC_SECONDARY_ENABLE_EPT : 0;
    secondary |=
        (bits & 4) && features->mode_based_execute ? VMXC_SECONDARY_MODE_BASED_EXECUTE_CONTROL : 0;
    secondary |= (bits & 8) && features->pml ? VMXC_SECONDARY_ENABLE_PML : 0;
    secondary |= (bits & 16) && features->ept_violation_ve ? VMXC_SECONDARY_EPT_VIOLATION_VE : 0;
    secondary |= (bits & 32) && features->sub_page_permissions
                     ? VMXC_SECONDARY_SUB_PAGE_WRITE_PERMISSIONS
                     : 0;
    VMXSIM_VMCS(vmcs, PRIMARY_PROCESSOR_BASED_CONTROLS) = VMXC_PRIMARY_ACTIVATE_SECONDARY_CONTROLS;
    VMXSIM_VMCS(vmcs, SECONDARY_PROCESSOR_BASED_CONTROLS) =
        experiment->ept ? secondary : secondary & VMXC_SECONDARY_UNRESTRICTED_GUEST;
    VMXSIM_VMCS(vmcs, EPT_POINTER) =
        SLOT_HPA(EPT_SLOT + experiment->ept_levels) |
        VMXC_FIELD_MAKE(experiment->ept_levels - 1, VMXC_EPTP_WALK_LENGTH) | (bits & 64 ? 6 : 0) |
        ((bits & 128) && features->ept_accessed_dirty ? VMXC_EPTP_ACCESSED_DIRTY : 0);
    VMXSIM_VMCS(vmcs, PML_ADDRESS) = SLOT_HPA(SPECIAL_SLOT);
    VMXSIM_VMCS(vmcs, VIRTUALIZATION_EXCEPTION_INFO_ADDRESS) = SLOT_HPA(SPECIAL_SLOT + 1);
    VMXSIM_VMCS(vmcs, SUB_PAGE_PERMISSION_TABLE_POINTER) = SPPT_HPA(4);
    if (secondary & VMXC_SECONDARY_SUB_PAGE_WRITE_PERMISSIONS)
        protect_data(experiment->machine->memory);
    VMXSIM_VMCS(vmcs, PML_INDEX) = bits >> 8 & 1 ? 0 : 511;
    VMXSIM_VMCS(vmcs, EXCEPTION_BITMAP) = bits >> 9 & 1 ? VMXC_BIT(14) | VMXC_BIT(20) : 0;
}

static void decode_registers(struct vmxsim_fuzz_input *input, struct experiment *experiment)
{
    const uint32_t bits = (uint32_t)vmxsim_fuzz_take(input, 4);
    const enum mode mode = experiment->mode;
    const bool long_mode = mode >= FOUR, pae = mode >= PAE;
    struct vmxsim_vmcs *const vmcs = &experiment->vmcs;
    const unsigned cpl = bits & 3;

    VMXSIM_VMCS(vmcs, GUEST_CR0) = VMXC_CR0_PE | VMXC_CR0_NE | VMXC_CR0_ET |
                                   (mode == NONE ? 0 : VMXC_CR0_PG) | (bits & 4 ? VMXC_CR0_WP : 0);
    VMXSIM_VMCS(vmcs, GUEST_CR3) = SLOT_HPA(GUEST_SLOT + memory_levels[mode]);
    VMXSIM_VMCS(vmcs, GUEST_CR4) =
        VMXC_CR4_VMXE | (pae ? VMXC_CR4_PAE : 0) | (mode == FIVE ? VMXC_CR4_LA57 : 0) |
        (bits & 8 ? VMXC_CR4_PSE : 0) | (bits & 16 ? VMXC_CR4_SMEP : 0) |
        (bits & 32 ? VMXC_CR4_SMAP : 0) | (bits & 64 ? VMXC_CR4_PKE : 0) |
        (bits & 128 ? VMXC_CR4_PKS : 0) | (bits & 256 ? VMXC_CR4_PGE : 0);
    VMXSIM_VMCS(vmcs, GUEST_IA32_EFER) =
        (bits & 512 ? VMXC_EFER_NXE : 0) | (long_mode ? VMXC_EFER_LME | VMXC_EFER_LMA : 0);
    VMXSIM_VMCS(vmcs, VM_ENTRY_CONTROLS) = VMXC_ENTRY_LOAD_EFER | VMXC_ENTRY_LOAD_PAT |
                                           VMXC_ENTRY_LOAD_PKRS |
                                           (long_mode ? VMXC_ENTRY_IA32E_MODE_GUEST : 0);
    VMXSIM_VMCS(vmcs, GUEST_IA32_PAT) = UINT64_C(0x0007040600070406);
    VMXSIM_VMCS(vmcs, GUEST_IA32_PKRS) = bits >> 24;
    VMXSIM_VMCS(vmcs, GUEST_RFLAGS) = 2 | (bits & 1024 ? VMXC_RFLAGS_AC : 0);
    VMXSIM_VMCS(vmcs, GUEST_CS_ACCESS_RIGHTS) = (long_mode ? 0xa09bu : 0xc09bu) | cpl << 5;
    VMXSIM_VMCS(vmcs, GUEST_SS_ACCESS_RIGHTS) = 0xc093u | cpl << 5;
    for (unsigned i = 0; i < 4; i++)
        vmcs->value[VMXC_VMCS_ORDINAL_GUEST_PDPTE0 + i] = SLOT_HPA(GUEST_SLOT + 2) | 1;
    experiment->pkru = bits >> 16;
    vmxsim_cpu_set_pkru(experiment->machine->cpu, experiment->pkru);
}

static void decode_access(struct vmxsim_fuzz_input *input, struct experiment *experiment)
{
    struct vmxsim_access *const access = &experiment->access;

    access->linear = vmxsim_fuzz_value(input);
    if (experiment->mode < FOUR)
        access->linear &= UINT32_MAX;
    const uint32_t bits = (uint32_t)vmxsim_fuzz_take(input, 2);
    access->type = (enum vmxsim_access_type)(bits & 3);
    access->implicit = access->type != VMXSIM_ACCESS_FETCH && (bits & 0xc) == 0xc;
    access->size = 1 + (bits >> 4) % VMXSIM_ACCESS_MAX_SIZE;
    memset(access->data, 0x5a, sizeof access->data);
}

/* ---- Tables ---- */

/* The page of the linear address and the next one lead to the data; PAE: the PDPTEs are registers. */
static void build_guest(const struct experiment *experiment)
{
    struct vmxsim_memory *const memory = experiment->machine->memory;
    const unsigned levels = memory_levels[experiment->mode];
    const unsigned bits = experiment->mode == PAGING_32 ? 10 : 9;

    for (unsigned page = 0; page < 2; page++) {
        const uint64_t linear = experiment->access.linear + 0x1000u * page;
        for (unsigned level = levels; level > 0; level--) {
            const uint64_t index = linear >> (12 + bits * (level - 1)) & ((1u << bits) - 1);
            const uint64_t next =
                level > 1 ? SLOT_HPA(GUEST_SLOT + level - 1) : SLOT_HPA(DATA_SLOT + page);
            if (bits == 10)
                vmxsim_memory_write32(memory, SLOT_HPA(GUEST_SLOT + level) + 4 * index,
                                      (uint32_t)next | 7);
            else
                vmxsim_memory_write64(memory, SLOT_HPA(GUEST_SLOT + level) + 8 * index, next | 7);
        }
    }
}

/* An index of 512 and more is that of the entry which the linear address uses at that level. */
static void overwrite(struct vmxsim_fuzz_input *input, const struct experiment *experiment)
{
    const unsigned slot = vmxsim_fuzz_below(input, SLOTS);
    uint64_t index = vmxsim_fuzz_take(input, 2) & 1023;
    const uint64_t value = vmxsim_fuzz_value(input);
    const unsigned level = slot > GUEST_SLOT ? slot - GUEST_SLOT : slot;
    const uint64_t linear = experiment->access.linear;

    if (index >= 512 && slot <= GUEST_SLOT + 5 && experiment->mode != PAGING_32)
        index = slot > GUEST_SLOT ? linear >> (12 + 9 * (level - 1)) & 511 : index & 31;
    /* Half of the values replace, half change single bits of what is there. */
    const uint64_t hpa = SLOT_HPA(slot) + 8 * (index & 511);
    struct vmxsim_memory *const memory = experiment->machine->memory;
    const uint64_t old = index & 1 ? vmxsim_memory_read64(memory, hpa) : 0;
    vmxsim_memory_write64(memory, hpa, old ^ value);
}

/* ---- Properties ---- */

static void check_trail(const struct vmxsim_outcome *outcome, const struct vmxsim_trail *trail)
{
    REQUIRE(trail->count <= VMXSIM_TRAIL_CAPACITY, "%" PRIu32 " steps", trail->count);
    for (uint32_t i = 0; i < trail->count; i++) {
        const enum vmxsim_walk_rule verdict = trail->entry[i].verdict;
        if (verdict == VMXSIM_RULE_NONE)
            continue;
        REQUIRE(outcome->kind != VMXSIM_OUTCOME_COMPLETE, "a completed access ended at step %u", i);
        REQUIRE(verdict == outcome->rule, "step %u ended by %s, the access by %s", i,
                vmxsim_walk_rule_info(verdict)->id, vmxsim_walk_rule_info(outcome->rule)->id);
    }
    REQUIRE((outcome->kind == VMXSIM_OUTCOME_COMPLETE) == (outcome->rule == VMXSIM_RULE_NONE),
            "kind %d with rule %s", outcome->kind, vmxsim_walk_rule_info(outcome->rule)->id);
}

static void check_completion(const struct experiment *experiment,
                             const struct vmxsim_outcome *outcome)
{
    uint8_t content[VMXSIM_ACCESS_MAX_SIZE];
    uint32_t size = 0;

    REQUIRE(outcome->page_count == 1 || outcome->page_count == 2, "%u pages", outcome->page_count);
    for (uint32_t i = 0; i < outcome->page_count; i++) {
        const struct vmxsim_page_translation *page = &outcome->page[i];
        REQUIRE((page->hpa & PAGE_MASK) == (page->linear & PAGE_MASK), "an offset changed");
        vmxsim_memory_read(experiment->machine->memory, page->hpa, content + size, page->length);
        size += page->length;
    }
    REQUIRE(size == experiment->access.size, "%u of %u bytes", size, experiment->access.size);
    if (experiment->access.type == VMXSIM_ACCESS_READ)
        REQUIRE(memcmp(content, outcome->data, size) == 0, "other bytes were read");
}

/* Entries of both kinds of tables, or the data, in one page: a flag that is set in one entry then changes another. */
static bool overlap(const struct vmxsim_outcome *outcome, const struct vmxsim_trail *trail)
{
    for (uint32_t i = 0; i < trail->count; i++) {
        const uint64_t page = trail->entry[i].hpa & ~PAGE_MASK;
        for (uint32_t k = 0; k < outcome->page_count; k++) {
            if ((outcome->page[k].hpa & ~PAGE_MASK) == page)
                return true;
        }
        for (uint32_t k = 0; k < i; k++) {
            const struct vmxsim_trail_entry *other = &trail->entry[k];
            if ((other->hpa & ~PAGE_MASK) == page &&
                (other->kind != trail->entry[i].kind || other->level != trail->entry[i].level))
                return true;
        }
    }
    return false;
}

static void access_again(const struct experiment *experiment, const struct vmxsim_outcome *before,
                         const char *what)
{
    struct vmxsim_outcome outcome;

    REQUIRE(vmxsim_guest_access(experiment->machine->cpu, &experiment->access, &outcome, NULL) ==
                VMXC_OK,
            "%s: refused", what);
    REQUIRE(outcome.kind == VMXSIM_OUTCOME_COMPLETE, "%s: ended by %s", what,
            vmxsim_walk_rule_info(outcome.rule)->id);
    for (uint32_t i = 0; i < before->page_count; i++)
        REQUIRE(outcome.page[i].hpa == before->page[i].hpa, "%s: another page", what);
}

/* What has been written since the input began. */
static struct written {
    uint32_t count, compared;
    uint64_t hpa[RAM_SIZE / VMXC_PAGE_SIZE];
    uint8_t bytes[RAM_SIZE];
} written;

static void copy_page(void *context, uint64_t hpa, const uint8_t *bytes)
{
    struct written *const to = context;

    memcpy(to->bytes + to->count * VMXC_PAGE_SIZE, bytes, VMXC_PAGE_SIZE);
    to->hpa[to->count++] = hpa;
}

static void remember_memory(const struct experiment *experiment)
{
    written.count = written.compared = 0;
    vmxsim_fuzz_loop_written_pages(&experiment->machine->loop, copy_page, &written);
}

/* A page that was not written before is one that has been written now. */
static void compare_page(void *context, uint64_t hpa, const uint8_t *bytes)
{
    struct written *const before = context;

    before->compared++;
    for (uint32_t i = 0; i < before->count; i++) {
        if (before->hpa[i] != hpa)
            continue;
        REQUIRE(memcmp(before->bytes + i * VMXC_PAGE_SIZE, bytes, VMXC_PAGE_SIZE) == 0,
                "another access changes page %#" PRIx64, hpa);
        return;
    }
    REQUIRE(false, "another access writes page %#" PRIx64, hpa);
}

static void check_repetition(const struct experiment *experiment,
                             const struct vmxsim_outcome *outcome, const struct vmxsim_trail *trail)
{
    struct vmxsim_memory *const memory = experiment->machine->memory;
    const enum vmxsim_access_type type = experiment->access.type;

    if ((type != VMXSIM_ACCESS_READ && type != VMXSIM_ACCESS_FETCH) || overlap(outcome, trail))
        return;
    remember_memory(experiment);
    access_again(experiment, outcome, "again");
    vmxsim_fuzz_loop_written_pages(&experiment->machine->loop, compare_page, &written);

    for (uint32_t i = 0; i < trail->count; i++) {
        const struct vmxsim_trail_entry *entry = &trail->entry[i];
        if (entry->kind == VMXSIM_TRAIL_EPT_ENTRY)
            vmxsim_memory_write64(memory, entry->hpa,
                                  entry->updated | VMXC_EPT_RWX | VMXC_EPT_USER_EXECUTE);
    }
    access_again(experiment, outcome, "with all EPT rights");
}

/* ---- The machine of an input ---- */

/* As the input makes it. False: the processor refuses the guest. */
static bool prepare(struct vmxsim_fuzz_input *input, struct experiment *experiment, unsigned *mode)
{
    struct vmxsim_error error;

    experiment->machine = machine_at(vmxsim_fuzz_below(input, PROFILES), &experiment->profile);
    harness_next(&experiment->machine->loop);
    *mode = (unsigned)vmxsim_fuzz_take(input, 1);
    experiment->mode = (enum mode)(*mode % MODES);
    if (experiment->mode == FIVE && !vmxsim_profile_features(experiment->profile)->la57)
        experiment->mode = FOUR;
    decode_controls(input, experiment);
    decode_registers(input, experiment);
    decode_access(input, experiment);
    build_guest(experiment);
    while (input->left > 0)
        overwrite(input, experiment);
    return vmxsim_cpu_load_guest(experiment->machine->cpu, &experiment->vmcs, &error) == VMXC_OK;
}

/* Once more, from the pages that it had written then. */
static void prepare_again(const struct experiment *experiment, const struct written *prepared)
{
    const struct machine *const machine = experiment->machine;
    struct vmxsim_error error;

    harness_next(&experiment->machine->loop);
    for (uint32_t i = 0; i < prepared->count; i++)
        vmxsim_memory_write(machine->memory, prepared->hpa[i], prepared->bytes + i * VMXC_PAGE_SIZE,
                            VMXC_PAGE_SIZE);
    vmxsim_cpu_set_pkru(machine->cpu, experiment->pkru);
    REQUIRE(vmxsim_cpu_load_guest(machine->cpu, &experiment->vmcs, &error) == VMXC_OK,
            "the guest is refused now: %s", error.text);
}

/* ---- Cached translations ---- */

enum { REPEATED = 3 };

/* The same access again and again: what each comes to. */
static void repeat(const struct experiment *experiment, struct vmxsim_outcome outcome[REPEATED])
{
    for (unsigned i = 0; i < REPEATED; i++)
        REQUIRE(vmxsim_guest_access(experiment->machine->cpu, &experiment->access, &outcome[i],
                                    NULL) == VMXC_OK,
                "the access is refused");
}

/* With an exact cache of translations everything comes to what it comes to without one. Ends with the machine prepared anew. */
static void check_cached(const struct experiment *experiment)
{
    static struct vmxsim_outcome walked[REPEATED], cached[REPEATED];
    static struct written prepared;

    prepared.count = 0;
    vmxsim_fuzz_loop_written_pages(&experiment->machine->loop, copy_page, &prepared);
    repeat(experiment, walked);
    remember_memory(experiment);
    prepare_again(experiment, &prepared);
    REQUIRE(vmxsim_cpu_set_tlb(experiment->machine->cpu, VMXSIM_TLB_EXACT) == VMXC_OK, "no TLB");
    repeat(experiment, cached);
    REQUIRE(memcmp(walked, cached, sizeof walked) == 0, "an access is served wrongly");
    vmxsim_fuzz_loop_written_pages(&experiment->machine->loop, compare_page, &written);
    REQUIRE(written.compared == written.count, "other pages are written");
    prepare_again(experiment, &prepared);
    REQUIRE(vmxsim_cpu_set_tlb(experiment->machine->cpu, VMXSIM_TLB_OFF) == VMXC_OK, "no way back");
}

/* ---- Lazily cached translations ---- */

/* What accesses came to before an entry changed, and then. */
struct course {
    struct vmxsim_outcome before[REPEATED], after, on_clone;
    uint64_t stale;
};

/* Flags that walks set in an entry. */
static uint64_t flags_of(const struct vmxsim_trail_entry *entry)
{
    return entry->kind == VMXSIM_TRAIL_EPT_ENTRY ? VMXC_EPT_ACCESSED | VMXC_EPT_DIRTY
                                                 : VMXC_PTE_ACCESSED | VMXC_PTE_DIRTY;
}

/* The same entries, but for flags, are used by the first access and by the last: no access writes to its own tables. */
static bool are_stable(const struct vmxsim_trail *first, const struct vmxsim_trail *last)
{
    for (uint32_t i = 0; i < last->count; i++) {
        const struct vmxsim_trail_entry *const entry = &last->entry[i];
        if (entry->kind == VMXSIM_TRAIL_PML_WRITE || i >= first->count ||
            first->entry[i].kind != entry->kind || first->entry[i].hpa != entry->hpa ||
            ((first->entry[i].value ^ entry->value) & ~flags_of(entry)) != 0)
            return false;
    }
    return first->count == last->count;
}

static const struct vmxsim_trail_entry *entry_of(const struct vmxsim_trail *trail, unsigned choice)
{
    const struct vmxsim_trail_entry *const entry =
        trail->count > 0 ? &trail->entry[choice % trail->count] : NULL;
    const bool is_in_memory =
        entry != NULL && !entry->is_register &&
        (entry->kind == VMXSIM_TRAIL_EPT_ENTRY || entry->kind == VMXSIM_TRAIL_GUEST_ENTRY);

    return is_in_memory ? entry : NULL;
}

/* Without its lowest three bits the entry is not present, in either kind of table. */
static void clear_rights(const struct experiment *experiment,
                         const struct vmxsim_trail_entry *entry)
{
    struct vmxsim_memory *const memory = experiment->machine->memory;

    vmxsim_memory_write32(memory, entry->hpa,
                          vmxsim_memory_read32(memory, entry->hpa) & ~UINT32_C(7));
}

/* INVLPG by the guest where it can, otherwise everything goes. */
static void invalidate(const struct experiment *experiment, enum vmxsim_tlb_mode mode,
                       const struct vmxsim_trail_entry *entry)
{
    struct vmxsim_cpu *const cpu = experiment->machine->cpu;
    const uint64_t mask = experiment->mode < FOUR ? UINT32_MAX : UINT64_MAX;
    struct vmxsim_outcome outcome = {.kind = VMXSIM_OUTCOME_GUEST_EXCEPTION};

    for (unsigned page = 0; page < 2 && entry->kind == VMXSIM_TRAIL_GUEST_ENTRY; page++)
        REQUIRE(vmxsim_guest_invlpg(cpu, (experiment->access.linear + 0x1000u * page) & mask,
                                    &outcome) == VMXC_OK,
                "INVLPG is refused");
    if (outcome.kind != VMXSIM_OUTCOME_COMPLETE)
        REQUIRE(vmxsim_cpu_set_tlb(cpu, mode) == VMXC_OK, "no TLB");
}

/* What the access comes to on a clone, which is gone afterwards. */
static void access_on_clone(const struct experiment *experiment, struct course *course)
{
    struct vmxsim_error error;
    struct vmxsim_memory *memory;
    struct vmxsim_cpu *cpu;

    REQUIRE(vmxsim_memory_clone(experiment->machine->memory, &memory, &error) == VMXC_OK &&
                vmxsim_cpu_clone(experiment->machine->cpu, memory, &cpu) == VMXC_OK,
            "no clone");
    REQUIRE(vmxsim_cpu_tlb(cpu) == vmxsim_cpu_tlb(experiment->machine->cpu) &&
                vmxsim_cpu_tlb_stats(cpu).mappings ==
                    vmxsim_cpu_tlb_stats(experiment->machine->cpu).mappings,
            "a clone has another cache");
    REQUIRE(vmxsim_guest_access(cpu, &experiment->access, &course->on_clone, NULL) == VMXC_OK,
            "a clone refuses the access");
    vmxsim_cpu_destroy(cpu);
    vmxsim_memory_destroy(memory);
}

static void run_course(const struct experiment *experiment, enum vmxsim_tlb_mode mode,
                       const struct vmxsim_trail_entry *entry, bool invalidates,
                       struct course *course)
{
    struct vmxsim_cpu *const cpu = experiment->machine->cpu;

    REQUIRE(vmxsim_cpu_set_tlb(cpu, mode) == VMXC_OK && vmxsim_cpu_tlb(cpu) == mode, "no TLB");
    repeat(experiment, course->before);
    clear_rights(experiment, entry);
    if (invalidates)
        invalidate(experiment, mode, entry);
    const bool clones = mode == VMXSIM_TLB_LAZY && !invalidates;
    if (clones)
        access_on_clone(experiment, course);
    REQUIRE(vmxsim_guest_access(cpu, &experiment->access, &course->after, NULL) == VMXC_OK,
            "the access is refused");
    REQUIRE(!clones || memcmp(&course->after, &course->on_clone, sizeof course->after) == 0,
            "a clone comes to something else");
    course->stale = vmxsim_cpu_tlb_stats(cpu).stale;
}

static void explain_hazards(const struct experiment *experiment)
{
    struct vmxsim_hazard hazards[VMXSIM_HAZARDS_KEPT];
    const uint32_t count =
        vmxsim_hazards_last(experiment->machine->memory, hazards, VMXSIM_HAZARDS_KEPT);

    REQUIRE(count > 0, "a stale translation is no hazard");
    for (uint32_t i = 0; i < count; i++) {
        const char *const id = vmxsim_hazard_rule_info(hazards[i].rule)->id;
        char *const text = vmxsim_explain_hazard(&hazards[i]);
        char *const json = vmxsim_explain_hazard_json(&hazards[i]);
        REQUIRE(text != NULL && strstr(text, id) != NULL, "hazard %s", id);
        REQUIRE(json != NULL && strstr(json, id) != NULL, "hazard %s as JSON", id);
        free(text);
        free(json);
    }
}

/* The trails of the first access and of the last, without a cache. */
static bool walk_twice(const struct experiment *experiment, struct vmxsim_trail *first)
{
    static struct vmxsim_outcome outcome;
    static struct vmxsim_trail last;

    for (unsigned i = 0; i < REPEATED; i++)
        REQUIRE(vmxsim_guest_access(experiment->machine->cpu, &experiment->access, &outcome,
                                    i == 0 ? first : &last) == VMXC_OK,
                "the access is refused");
    return are_stable(first, &last);
}

/* Without a cache and with one, from the same machine, which is prepared anew afterwards. */
static void compare_courses(const struct experiment *experiment, const struct written *prepared,
                            const struct vmxsim_trail_entry *entry, bool invalidates)
{
    static struct course walked, cached;

    run_course(experiment, VMXSIM_TLB_OFF, entry, invalidates, &walked);
    prepare_again(experiment, prepared);
    run_course(experiment, VMXSIM_TLB_LAZY, entry, invalidates, &cached);
    REQUIRE(memcmp(walked.before, cached.before, sizeof walked.before) == 0,
            "an access is served wrongly");
    REQUIRE((!invalidates && cached.stale > 0) ||
                memcmp(&walked.after, &cached.after, sizeof walked.after) == 0,
            "a stale translation, %s", invalidates ? "after the invalidation" : "and no hazard");
    if (cached.stale > 0)
        explain_hazards(experiment);
    prepare_again(experiment, prepared);
}

static void check_lazy(const struct experiment *experiment, unsigned choice)
{
    static struct written prepared;
    static struct vmxsim_trail trail;

    prepared.count = 0;
    vmxsim_fuzz_loop_written_pages(&experiment->machine->loop, copy_page, &prepared);
    const bool stable = walk_twice(experiment, &trail);
    const struct vmxsim_trail_entry *const entry = entry_of(&trail, choice);
    prepare_again(experiment, &prepared);
    if (!stable || entry == NULL)
        return;
    compare_courses(experiment, &prepared, entry, false);
    compare_courses(experiment, &prepared, entry, true);
    REQUIRE(vmxsim_cpu_set_tlb(experiment->machine->cpu, VMXSIM_TLB_OFF) == VMXC_OK, "no way back");
}

/* ---- The experiment ---- */

static void explain(const struct experiment *experiment, const struct vmxsim_outcome *outcome,
                    const struct vmxsim_trail *trail, bool json)
{
    char *const text = (json ? vmxsim_explain_access_json
                             : vmxsim_explain_access)(&experiment->access, outcome, trail);

    REQUIRE(text != NULL, "no explanation");
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct vmxsim_trail trail;
    struct vmxsim_fuzz_input input = {.next = data, .left = size};
    struct experiment experiment = {.mode = NONE};
    struct vmxsim_outcome outcome;
    unsigned mode;

    if (!prepare(&input, &experiment, &mode))
        return 0;
    if (mode >= CACHED) {
        check_cached(&experiment);
        check_lazy(&experiment, (mode - CACHED) / MODES);
    }
    REQUIRE(vmxsim_guest_access(experiment.machine->cpu, &experiment.access, &outcome, &trail) ==
                VMXC_OK,
            "the access is refused");
    check_trail(&outcome, &trail);
    if (mode < EXPLAINED_JSON)
        explain(&experiment, &outcome, &trail, mode >= EXPLAINED);
    if (outcome.kind == VMXSIM_OUTCOME_COMPLETE) {
        check_completion(&experiment, &outcome);
        check_repetition(&experiment, &outcome, &trail);
    }
    return 0;
}
