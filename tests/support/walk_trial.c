/* SPDX-License-Identifier: Apache-2.0 */
#include "support/walk_trial.h"

#include <inttypes.h>
#include <stdio.h>

#include "support/require.h"
#include "vmxsim/fuzz.h"

/* Guest-physical memory is the machine's RAM from here on, one to one; below are the tables of EPT, which no guest reaches. */
#define TABLES_GPA (UINT64_C(1) << 30)

/* Processors that reserve different bits. */
static const struct profile_changes variants[WALK_TRIAL_VARIANTS] = {
    {.maxphyaddr = 0},
    {.maxphyaddr = 36, .cpuid_80000001_edx_clear = 1u << 26, .cpuid_1_edx_clear = 1u << 17},
    {.maxphyaddr = 39},
    {.maxphyaddr = 46, .cpuid_80000001_edx_clear = 1u << 26},
    {.maxphyaddr = 52, .cpuid_1_edx_clear = 1u << 16}, /* no PAT */
};

static const struct shape {
    unsigned levels, index_bits, entry_size, memory_levels;
} shapes[GUEST_MODES] = {
    [GUEST_NONE] = {0, 0, 0, 0},   [GUEST_32BIT] = {2, 10, 4, 2}, [GUEST_PAE] = {3, 9, 8, 2},
    [GUEST_4LEVEL] = {4, 9, 8, 4}, [GUEST_5LEVEL] = {5, 9, 8, 5},
};

/* A machine for each processor, made when it is first asked for. */
static struct world {
    struct machine machine;
    struct vmxc_addrspace space;
    struct vmxc_guest_paging_caps caps;
    struct vmxsim_fuzz_loop loop;
} worlds[WALK_TRIAL_VARIANTS];

static struct world *world = worlds; /* of the trials that follow */

/* ---- Random input ---- */

static uint64_t random_if(struct rng *rng, unsigned percent, uint64_t bits)
{
    return rng_chance(rng, percent) ? bits : 0;
}

static void random_registers(struct rng *rng, struct walk_situation *trial)
{
    struct vmxsim_vmcs *const vmcs = &world->machine.vmcs;

    machine_set_mode(&world->machine, trial->mode);
    machine_set_cpl(&world->machine, rng_chance(rng, 50) ? 3 : (unsigned)rng_below(rng, 3));
    VMXSIM_VMCS(vmcs, GUEST_CR0) |= random_if(rng, 60, VMXC_CR0_WP);
    VMXSIM_VMCS(vmcs, GUEST_CR4) |=
        random_if(rng, 50, VMXC_CR4_PSE) | random_if(rng, 50, VMXC_CR4_PGE) |
        random_if(rng, 40, VMXC_CR4_SMEP) | random_if(rng, 40, VMXC_CR4_SMAP) |
        random_if(rng, 50, VMXC_CR4_PKE) | random_if(rng, 50, VMXC_CR4_PKS);
    if (trial->mode == GUEST_32BIT && rng_chance(rng, 20))
        VMXSIM_VMCS(vmcs, GUEST_CR4) &= ~VMXC_CR4_PSE;
    VMXSIM_VMCS(vmcs, GUEST_IA32_EFER) &= ~VMXC_EFER_NXE;
    VMXSIM_VMCS(vmcs, GUEST_IA32_EFER) |= random_if(rng, 75, VMXC_EFER_NXE);
    VMXSIM_VMCS(vmcs, GUEST_RFLAGS) |= random_if(rng, 50, VMXC_RFLAGS_AC);
    VMXSIM_VMCS(vmcs, GUEST_IA32_PKRS) = rng_next(rng) & rng_next(rng) & UINT32_MAX;

    trial->registers = (struct vmxc_guest_registers){
        .cr0 = VMXSIM_VMCS(vmcs, GUEST_CR0),
        .cr4 = VMXSIM_VMCS(vmcs, GUEST_CR4),
        .efer = VMXSIM_VMCS(vmcs, GUEST_IA32_EFER),
        .rflags = VMXSIM_VMCS(vmcs, GUEST_RFLAGS),
        .pkru = (uint32_t)(rng_next(rng) & rng_next(rng)),
        .pkrs = (uint32_t)VMXSIM_VMCS(vmcs, GUEST_IA32_PKRS),
        .cpl = (uint8_t)(VMXSIM_VMCS(vmcs, GUEST_SS_ACCESS_RIGHTS) >> 5 & 3),
    };
}

/* Mostly canonical; now and then with a wrong bit above. */
static uint64_t random_linear(struct rng *rng, enum guest_mode mode)
{
    const unsigned width = mode == GUEST_5LEVEL ? 57 : mode == GUEST_4LEVEL ? 48 : 32;
    uint64_t linear = rng_next(rng) >> (64 - width);

    if (width > 32 && (linear & VMXC_BIT(width - 1)))
        linear |= VMXC_BITS(63, 47) & ~(VMXC_BIT(width - 1) - 1);
    if (width > 32 && rng_chance(rng, 3))
        linear ^= VMXC_BIT(width - 1 + rng_below(rng, 65 - width));
    return linear;
}

static uint64_t random_table(struct rng *rng)
{
    return TABLES_GPA + rng_below(rng, 4096) * VMXC_PAGE_SIZE;
}

/* An entry that usually lets the walk go on, and sometimes has one bit wrong. */
static uint64_t random_entry(struct rng *rng, const struct walk_situation *trial, unsigned level,
                             uint64_t next_table)
{
    const struct shape *const shape = &shapes[trial->mode];
    const bool page = level == 1 || rng_chance(rng, 15);
    const bool tidy = rng_chance(rng, 85);
    uint64_t entry = random_if(rng, 96, VMXC_PTE_PRESENT) | random_if(rng, 75, VMXC_PTE_WRITE) |
                     random_if(rng, 75, VMXC_PTE_USER) | (rng_next(rng) & VMXC_BITS(6, 3)) |
                     (rng_next(rng) & VMXC_BITS(11, 8));

    if (page) {
        const uint64_t size = VMXC_BIT(12 + (level - 1) * shape->index_bits);
        entry |= level > 1 ? VMXC_PTE_PAGE_SIZE : rng_next(rng) & VMXC_PTE_PAT;
        entry |= rng_next(rng) & VMXC_BITS(51, 12) & ~(tidy ? size - 1 : 0) &
                 (VMXC_BIT(world->caps.maxphyaddr) - 1);
        if (shape->entry_size == 4 && level == 2)
            entry |= rng_next(rng) & (tidy ? VMXC_BITS(16, 13) : VMXC_BITS(21, 12));
    } else {
        entry |= next_table;
    }
    if (shape->entry_size == 8)
        entry |= random_if(rng, 10, VMXC_PTE_NO_EXECUTE);
    if (shape->levels >= 4)
        entry |= rng_next(rng) & VMXC_BITS(62, 52);
    if (rng_chance(rng, 4))
        entry ^= VMXC_BIT(rng_below(rng, shape->entry_size * 8));
    return shape->entry_size == 4 ? entry & UINT32_MAX : entry;
}

static void store_entry(const struct walk_situation *trial, unsigned i, uint64_t value)
{
    if (shapes[trial->mode].entry_size == 8)
        vmxsim_memory_write64(world->machine.memory, trial->entry_gpa[i], value);
    else
        vmxsim_memory_write32(world->machine.memory, trial->entry_gpa[i], (uint32_t)value);
}

static uint64_t load_entry(const struct walk_situation *trial, unsigned i)
{
    return shapes[trial->mode].entry_size == 8
               ? vmxsim_memory_read64(world->machine.memory, trial->entry_gpa[i])
               : vmxsim_memory_read32(world->machine.memory, trial->entry_gpa[i]);
}

/* One entry per level on the way to the address, whether or not the walk gets that far. */
static void random_tables(struct rng *rng, struct walk_situation *trial)
{
    const struct shape *const shape = &shapes[trial->mode];
    uint64_t table = random_table(rng);

    trial->registers.cr3 = table | (rng_next(rng) & 0x18);
    if (trial->mode == GUEST_PAE) {
        const unsigned index = trial->access.linear >> 30 & 3;
        table = random_table(rng);
        trial->registers.pdpte[index] = table | random_if(rng, 96, VMXC_PTE_PRESENT) |
                                        (rng_next(rng) & (VMXC_BITS(11, 9) | VMXC_BITS(4, 3)));
    }
    for (unsigned level = shape->memory_levels; level > 0; level--) {
        const unsigned shift = 12 + (level - 1) * shape->index_bits;
        const uint64_t index = trial->access.linear >> shift & (VMXC_BIT(shape->index_bits) - 1);
        const uint64_t next = random_table(rng);

        trial->entry_gpa[trial->entries] = table + index * shape->entry_size;
        trial->entry[trial->entries] = random_entry(rng, trial, level, next);
        store_entry(trial, trial->entries, trial->entry[trial->entries]);
        trial->entries++;
        table = next;
    }
    /* Two tables may be one page: what counts is what lies there in the end. */
    for (unsigned i = 0; i < trial->entries; i++)
        trial->entry[i] = load_entry(trial, i);
}

static void random_trial(struct rng *rng, enum guest_mode mode, struct walk_situation *trial)
{
    static const enum vmxsim_access_type types[] = {VMXSIM_ACCESS_READ, VMXSIM_ACCESS_WRITE,
                                                    VMXSIM_ACCESS_RMW, VMXSIM_ACCESS_FETCH};

    *trial = (struct walk_situation){.mode = mode};
    random_registers(rng, trial);
    trial->access.type = types[rng_below(rng, 4)];
    trial->access.size = 1;
    trial->access.linear = random_linear(rng, mode);
    trial->access.implicit = trial->access.type != VMXSIM_ACCESS_FETCH && rng_chance(rng, 15);
    random_tables(rng, trial);
}

/* ---- The two walks ---- */

static void restore_entries(const struct walk_situation *trial)
{
    for (unsigned i = 0; i < trial->entries; i++)
        store_entry(trial, i, trial->entry[i]);
}

static void collect_entries(const struct walk_situation *trial, struct walk_result *result)
{
    for (unsigned i = 0; i < trial->entries; i++)
        result->entry[i] = load_entry(trial, i);
}

static struct walk_result run_library(const struct walk_situation *trial)
{
    const enum vmxsim_access_type type = trial->access.type;
    const struct vmxc_guest_access access = {
        .user_mode = trial->registers.cpl == 3 && !trial->access.implicit,
        .write = type == VMXSIM_ACCESS_WRITE || type == VMXSIM_ACCESS_RMW,
        .fetch = type == VMXSIM_ACCESS_FETCH,
        .implicit = trial->access.implicit,
    };
    struct vmxc_guest_walk_info info;
    struct vmxc_guest_translation page;
    struct vmxc_guest_fault fault;
    struct walk_result result = {.ending = WALK_OTHER};

    require_that(vmxc_guest_walk_info_init(&trial->registers, &world->caps, &info) == VMXC_OK);
    info.set_accessed_dirty = true;
    switch (vmxc_guest_walk(&world->space, &info, access, trial->access.linear, &page, &fault)) {
    case VMXC_OK:
        result = (struct walk_result){.ending = WALK_TRANSLATED,
                                      .gpa = page.gpa,
                                      .detailed = true,
                                      .page_size = page.page_size,
                                      .user = page.user,
                                      .writable = page.writable,
                                      .no_execute = page.no_execute,
                                      .protection_key = page.protection_key};
        if (trial->mode == GUEST_NONE)
            result.page_size = 0; /* what the model calls it */
        break;
    case VMXC_NOT_FOUND:
        result = (struct walk_result){.ending = WALK_TABLE_MISSING, .gpa = fault.entry_gpa};
        break;
    case VMXC_GUEST_FAULT:
        if (fault.kind == VMXC_GUEST_FAULT_NON_CANONICAL)
            result.ending = WALK_NON_CANONICAL;
        else
            result = (struct walk_result){
                .ending = WALK_PAGE_FAULT, .error_code = fault.error_code, .cr2 = fault.gva};
        break;
    default:
        break;
    }
    collect_entries(trial, &result);
    return result;
}

static struct walk_result result_of_outcome(const struct vmxsim_outcome *outcome)
{
    const struct vmxsim_page_translation *const page = &outcome->page[0];

    if (outcome->kind == VMXSIM_OUTCOME_COMPLETE)
        return (struct walk_result){.ending = WALK_TRANSLATED,
                                    .gpa = page->gpa,
                                    .detailed = true,
                                    .page_size = page->guest_page_size,
                                    .user = page->user,
                                    .writable = page->writable,
                                    .no_execute = page->no_execute,
                                    .protection_key = page->protection_key};
    if (outcome->kind == VMXSIM_OUTCOME_GUEST_EXCEPTION && outcome->vector == VMXC_VECTOR_PF)
        return (struct walk_result){
            .ending = WALK_PAGE_FAULT, .error_code = outcome->error_code, .cr2 = outcome->cr2};
    if (outcome->kind == VMXSIM_OUTCOME_GUEST_EXCEPTION && outcome->vector == VMXC_VECTOR_GP)
        return (struct walk_result){.ending = WALK_NON_CANONICAL};
    /* Guest-physical memory that EPT does not map: the page itself, or a table. */
    if (outcome->kind == VMXSIM_OUTCOME_VM_EXIT && outcome->exit_reason == EXIT_EPT_VIOLATION)
        return (struct walk_result){.ending = outcome->qualification &
                                                      VMXC_EPT_VIOLATION_LINEAR_TRANSLATION
                                                  ? WALK_TRANSLATED
                                                  : WALK_TABLE_MISSING,
                                    .gpa = outcome->guest_physical};
    return (struct walk_result){.ending = WALK_OTHER};
}

static struct walk_result run_model(const struct walk_situation *trial,
                                    struct vmxsim_outcome *outcome)
{
    struct walk_result result;

    VMXSIM_VMCS(&world->machine.vmcs, GUEST_CR3) = trial->registers.cr3;
    VMXSIM_VMCS(&world->machine.vmcs, GUEST_PDPTE0) = trial->registers.pdpte[0];
    VMXSIM_VMCS(&world->machine.vmcs, GUEST_PDPTE1) = trial->registers.pdpte[1];
    VMXSIM_VMCS(&world->machine.vmcs, GUEST_PDPTE2) = trial->registers.pdpte[2];
    VMXSIM_VMCS(&world->machine.vmcs, GUEST_PDPTE3) = trial->registers.pdpte[3];
    machine_load(&world->machine);
    vmxsim_cpu_set_pkru(world->machine.cpu, trial->registers.pkru);
    *outcome = machine_access_as(&world->machine, &trial->access, NULL);
    result = result_of_outcome(outcome);
    collect_entries(trial, &result);
    return result;
}

/* ---- Comparison ---- */

/* The page maps an entry on the way to it, and the model's access, unlike the library's walk, has stored there. */
static bool is_overwritten(const struct walk_situation *trial, const struct walk_result *model,
                           unsigned i)
{
    const bool stores =
        trial->access.type == VMXSIM_ACCESS_WRITE || trial->access.type == VMXSIM_ACCESS_RMW;

    return stores && model->detailed && model->gpa >= trial->entry_gpa[i] &&
           model->gpa - trial->entry_gpa[i] < shapes[trial->mode].entry_size;
}

static bool flags_agree(const struct walk_situation *trial, const struct walk_result *library,
                        const struct walk_result *model)
{
    /* On the way to a fault or to an EPT violation the manual leaves accessed and dirty flags open. */
    const uint64_t open = model->detailed ? 0 : VMXC_PTE_ACCESSED | VMXC_PTE_DIRTY;

    for (unsigned i = 0; i < trial->entries; i++) {
        if (!is_overwritten(trial, model, i) && ((library->entry[i] ^ model->entry[i]) & ~open))
            return false;
        if (library->ending != WALK_TRANSLATED && library->entry[i] != trial->entry[i])
            return false;
    }
    return true;
}

static bool results_agree(const struct walk_situation *trial, const struct walk_result *library,
                          const struct walk_result *model)
{
    if (library->ending == WALK_OTHER || library->ending != model->ending ||
        library->gpa != model->gpa || library->error_code != model->error_code ||
        library->cr2 != model->cr2)
        return false;
    if (model->detailed &&
        (library->page_size != model->page_size || library->user != model->user ||
         library->writable != model->writable || library->no_execute != model->no_execute ||
         library->protection_key != model->protection_key))
        return false;
    return flags_agree(trial, library, model);
}

static void print_result(const char *who, const struct walk_situation *trial,
                         const struct walk_result *result)
{
    static const char *const endings[] = {"translated", "page fault", "non-canonical",
                                          "table missing", "other"};

    printf("  %s: %s, gpa %#" PRIx64 ", size %#" PRIx64
           ", U%d W%d X%d key %u, error %#x, CR2 %#" PRIx64 "\n",
           who, endings[result->ending], result->gpa, result->page_size, result->user,
           result->writable, !result->no_execute, result->protection_key, result->error_code,
           result->cr2);
    for (unsigned i = 0; i < trial->entries; i++)
        printf("    entry %#" PRIx64 ": %#" PRIx64 "\n", trial->entry_gpa[i], result->entry[i]);
}

void walk_trial_print(const struct walk_trial *done)
{
    const struct walk_situation *const trial = &done->situation;
    const struct vmxc_guest_registers *const r = &trial->registers;

    printf("%s, MAXPHYADDR %u: type %d%s, linear %#" PRIx64 ", CPL %u, CR0 %#" PRIx64
           ", CR4 %#" PRIx64 ", EFER %#" PRIx64 ", RFLAGS %#" PRIx64 ", PKRU %#x, PKRS %#x\n",
           guest_mode_names[trial->mode], world->caps.maxphyaddr, trial->access.type,
           trial->access.implicit ? " (implicit)" : "", trial->access.linear, r->cpl, r->cr0,
           r->cr4, r->efer, r->rflags, r->pkru, r->pkrs);
    for (unsigned i = 0; i < trial->entries; i++)
        printf("    entry %#" PRIx64 ": %#" PRIx64 " before\n", trial->entry_gpa[i],
               trial->entry[i]);
    print_result("library", trial, &done->library);
    print_result("model  ", trial, &done->model);
    printf("  %s\n", machine_outcome_text(&done->outcome));
}

/* ---- Runs ---- */

static void make(unsigned variant)
{
    const struct vmxc_ept_config config = {.levels = 4,
                                           .maxphyaddr = 36,
                                           .largest_page = VMXC_PAGE_LEVEL_1G,
                                           .table_memory_type = VMXC_MEMORY_TYPE_WB};
    struct machine *const machine = &world->machine;

    machine_init(machine, &variants[variant]);
    machine_new_ept(machine, 4, 0);
    for (uint64_t gpa = TABLES_GPA; gpa < MACHINE_RAM; gpa += VMXC_PAGE_SIZE_1G)
        machine_ept_map(machine, gpa, gpa, 3);
    require_that(vmxc_addrspace_init(&world->space, vmxsim_memory_hal(machine->memory), &config, 0,
                                     UINT64_C(1) << 36) == VMXC_OK);
    require_that(vmxc_addrspace_map_linear(&world->space, TABLES_GPA, TABLES_GPA,
                                           MACHINE_RAM - TABLES_GPA,
                                           VMXC_MAP_READ | VMXC_MAP_WRITE) == VMXC_OK);

    const struct vmxsim_features *const features = vmxsim_profile_features(machine->profile);
    world->caps = (struct vmxc_guest_paging_caps){.maxphyaddr = features->maxphyaddr,
                                                  .linear_width = features->linear_width,
                                                  .page_1g = features->page_1g,
                                                  .pse36 = features->pse36,
                                                  .pat = features->pat};
}

void walk_trial_start(unsigned variant)
{
    world = &worlds[variant];
    if (world->loop.memory == NULL) {
        const struct vmxsim_fuzz_value_at values[] = {{&world->space, sizeof world->space},
                                                      {&world->machine, sizeof world->machine}};
        make(variant);
        require_that(vmxsim_fuzz_loop_begin(&world->loop, world->machine.memory, values, 2) ==
                     VMXC_OK);
    }
    vmxsim_fuzz_loop_next(&world->loop);
}

void walk_trial_end(void)
{
    for (world = worlds; world < worlds + WALK_TRIAL_VARIANTS; world++) {
        if (world->loop.memory == NULL)
            continue;
        vmxsim_fuzz_loop_end(&world->loop);
        vmxc_addrspace_fini(&world->space);
        machine_fini(&world->machine);
    }
    world = worlds;
}

bool walk_trial_run(struct walk_trial *trial, enum guest_mode mode, struct rng *rng)
{
    random_trial(rng, mode, &trial->situation);
    trial->library = run_library(&trial->situation);
    restore_entries(&trial->situation);
    trial->model = run_model(&trial->situation, &trial->outcome);
    return results_agree(&trial->situation, &trial->library, &trial->model);
}
