/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Times of the model's walk of 4 by 4 levels: warm, and over tables that no cache holds, one by one and many at a time. The
 * floors are the walk's 24 loads from the very tables, and nothing else.
 *
 *     linear [0, 32 GiB)        4-KByte pages, 64 MiB of guest tables
 *     guest-physical            [0, 16 GiB) data, then the guest's tables: 4-KByte pages, 33 MiB of EPT tables
 *     host-physical             EPT tables, guest tables, 16 MiB that all data ends in
 */
#include "runner.h"
#include "vmxcore/defs/controls.h"
#include "vmxcore/defs/ept.h"
#include "vmxcore/defs/paging.h"
#include "vmxsim/cpu.h"
#include "vmxsim/tlb.h"

#define MIB UINT64_C(0x100000)
#define GIB UINT64_C(0x40000000)

#define RAM_SIZE    (256 * MIB)
#define LINEAR_SIZE (32 * GIB)
#define DATA_SIZE   (16 * GIB) /* guest-physical */
#define EPT_HPA     (1 * MIB)
#define TABLES_HPA  (64 * MIB)
#define TABLES_GPA  DATA_SIZE
#define TABLES_SIZE (128 * MIB)
#define DATA_HPA    (192 * MIB)
#define DATA_KEPT   (16 * MIB) /* host-physical */

#define EPT_TABLE   VMXC_EPT_RWX
#define EPT_PAGE    (VMXC_EPT_RWX | 6 << 3) /* write-back */
#define GUEST_ENTRY (VMXC_PTE_PRESENT | VMXC_PTE_WRITE | VMXC_PTE_ACCESSED | VMXC_PTE_DIRTY)

enum {
    ACCESSES = 1 << 14, /* per run */
    BATCH = 256,        /* of walk_many */
    WARM_PAGES = 8,
};

static struct {
    struct vmxsim_memory *memory;
    const struct vmxsim_profile *profile;
    struct vmxsim_cpu *cpu;
    const uint8_t *ram;
    uint64_t random, sum;
    uint64_t linear[ACCESSES];
    struct vmxsim_outcome outcome[BATCH];
} walk;

/* ---- Tables: each level in one piece, so that entry number n of a level lies at n * 8 from its start ---- */

static uint64_t span_of(unsigned level)
{
    return UINT64_C(1) << (VMXC_PAGE_SHIFT + 9 * (level - 1));
}

/* Bytes of the tables of one level that cover `size` bytes. */
static uint64_t size_of_level(unsigned level, uint64_t size)
{
    const uint64_t covered = span_of(level + 1);
    return (size + covered - 1) / covered * VMXC_PAGE_SIZE;
}

/*
 * Writes levels 4 to 2 of a hierarchy that covers `size` bytes and returns where level 1 starts. `hpa` is where the root goes,
 * `address` what the hierarchy's entries call that place.
 */
static uint64_t write_upper_levels(uint64_t hpa, uint64_t address, uint64_t size, uint64_t flags)
{
    for (unsigned level = 4; level > 1; level--) {
        const uint64_t below = size_of_level(level, size);
        const uint64_t tables = size_of_level(level - 1, size) / VMXC_PAGE_SIZE;
        for (uint64_t i = 0; i < tables; i++)
            vmxsim_memory_write64(walk.memory, hpa + 8 * i,
                                  (address + below + i * VMXC_PAGE_SIZE) | flags);
        hpa += below;
        address += below;
    }
    return hpa;
}

static uint64_t hpa_of(uint64_t gpa)
{
    return gpa < TABLES_GPA ? DATA_HPA + gpa % DATA_KEPT : TABLES_HPA + (gpa - TABLES_GPA);
}

static void write_tables(void)
{
    const uint64_t ept_size = TABLES_GPA + TABLES_SIZE;
    const uint64_t ept_pages = write_upper_levels(EPT_HPA, EPT_HPA, ept_size, EPT_TABLE);
    const uint64_t guest_pages =
        write_upper_levels(TABLES_HPA, TABLES_GPA, LINEAR_SIZE, GUEST_ENTRY);
    bench_require(ept_pages + ept_size / 512 <= TABLES_HPA, "the EPT tables do not fit");
    bench_require(guest_pages + LINEAR_SIZE / 512 <= DATA_HPA, "the guest's tables do not fit");
    for (uint64_t gpa = 0; gpa < ept_size; gpa += VMXC_PAGE_SIZE)
        vmxsim_memory_write64(walk.memory, ept_pages + gpa / 512, hpa_of(gpa) | EPT_PAGE);
    for (uint64_t linear = 0; linear < LINEAR_SIZE; linear += VMXC_PAGE_SIZE)
        vmxsim_memory_write64(walk.memory, guest_pages + linear / 512,
                              (linear * 7 % DATA_SIZE) | GUEST_ENTRY);
}

static void load_guest(void)
{
    struct vmxsim_vmcs vmcs = {0};
    VMXSIM_VMCS(&vmcs, PRIMARY_PROCESSOR_BASED_CONTROLS) = VMXC_PRIMARY_ACTIVATE_SECONDARY_CONTROLS;
    VMXSIM_VMCS(&vmcs, SECONDARY_PROCESSOR_BASED_CONTROLS) = VMXC_SECONDARY_ENABLE_EPT;
    VMXSIM_VMCS(&vmcs, VM_ENTRY_CONTROLS) = VMXC_ENTRY_IA32E_MODE_GUEST;
    VMXSIM_VMCS(&vmcs, EPT_POINTER) = EPT_HPA | 0x1e; /* 4 levels, write-back */
    VMXSIM_VMCS(&vmcs, GUEST_CR0) = VMXC_CR0_PE | VMXC_CR0_NE | VMXC_CR0_ET | VMXC_CR0_PG;
    VMXSIM_VMCS(&vmcs, GUEST_CR3) = TABLES_GPA;
    VMXSIM_VMCS(&vmcs, GUEST_CR4) = VMXC_CR4_VMXE | VMXC_CR4_PAE;
    bench_require(vmxsim_cpu_load_guest(walk.cpu, &vmcs, NULL) == VMXC_OK, "no guest");
}

static void make_machine(void)
{
    const struct vmxsim_range ram = {.base = 0, .length = RAM_SIZE};
    const struct vmxsim_memory_config config = {.ram = &ram, .ram_count = 1, .no_poison = true};
    walk.profile = vmxsim_profile_builtin("icelake");
    bench_require(walk.profile != NULL, "no profile");
    bench_require(vmxsim_memory_create(&config, &walk.memory, NULL) == VMXC_OK &&
                      vmxsim_cpu_create(walk.memory, walk.profile, &walk.cpu) == VMXC_OK,
                  "no machine");
    walk.ram = vmxsim_memory_pointer(walk.memory, 0);
    write_tables();
    load_guest();
}

/* ---- What is timed ---- */

enum order { WARM, RANDOM, CLUSTERED };

/* With the cache of translations that the floors and the rows without a word about it do without. */
#define EXACT 4u

static void choose(void *context, uint64_t how)
{
    const uint64_t order = how & 3u;
    uint64_t base = 0;
    (void)context;
    bench_require(vmxsim_cpu_set_tlb(walk.cpu, (how & EXACT) ? VMXSIM_TLB_EXACT : VMXSIM_TLB_OFF) ==
                      VMXC_OK,
                  "no TLB");
    for (size_t i = 0; i < ACCESSES; i++) {
        if (order == RANDOM || (order == CLUSTERED && i % 64 == 0))
            base = bench_random(&walk.random, LINEAR_SIZE / VMXC_PAGE_SIZE) * VMXC_PAGE_SIZE;
        walk.linear[i] = base;
        if (order != RANDOM)
            walk.linear[i] = (base + i % WARM_PAGES * VMXC_PAGE_SIZE) % LINEAR_SIZE;
    }
}

static inline uint64_t load(uint64_t hpa)
{
    return *(const uint64_t *)(const void *)(walk.ram + hpa);
}

static inline uint64_t entry_offset(uint64_t address, unsigned level)
{
    return 8 * (address / span_of(level) % VMXC_EPT_ENTRIES_PER_TABLE);
}

/* The EPT PTE of a guest-physical address. */
static inline uint64_t load_ept_pte(uint64_t gpa)
{
    uint64_t entry = EPT_HPA;
    for (unsigned level = 4; level > 0; level--)
        entry = load((entry & VMXC_EPT_ADDRESS) + entry_offset(gpa, level));
    return entry;
}

static inline uint64_t load_ept(uint64_t gpa)
{
    return (load_ept_pte(gpa) & VMXC_EPT_ADDRESS) + gpa % VMXC_PAGE_SIZE;
}

/* The EPT PTE of a linear address: 24 loads. */
static inline uint64_t load_both(uint64_t linear)
{
    uint64_t table_gpa = TABLES_GPA;
    for (unsigned level = 4; level > 0; level--)
        table_gpa = load(load_ept(table_gpa + entry_offset(linear, level))) & VMXC_PTE_ADDRESS;
    return load_ept_pte(table_gpa);
}

/* Bit 63 is clear in all entries and addresses, which the compiler does not know: each walk waits for the last. */
static void floor_dependent(void *context, uint64_t order)
{
    uint64_t entry = 0;
    (void)context;
    (void)order;
    for (size_t i = 0; i < ACCESSES; i++)
        entry = load_both(walk.linear[i] + (entry >> 63));
    walk.sum += entry;
}

static const struct vmxsim_access one_byte = {.type = VMXSIM_ACCESS_READ, .size = 1};

static void access_dependent(void *context, uint64_t order)
{
    struct vmxsim_access access = one_byte;
    struct vmxsim_outcome outcome = {.page_count = 0};
    (void)context;
    (void)order;
    for (size_t i = 0; i < ACCESSES; i++) {
        access.linear = walk.linear[i] + (outcome.page[0].hpa >> 63);
        bench_require(vmxsim_guest_access(walk.cpu, &access, &outcome, NULL) == VMXC_OK &&
                          outcome.kind == VMXSIM_OUTCOME_COMPLETE,
                      "an access does not complete");
    }
}

/* Uses what the accesses of a batch came to. */
static void add_batch(void)
{
    for (size_t i = 0; i < BATCH; i++)
        walk.sum += walk.outcome[i].page[0].hpa;
}

static void access_one_by_one(void *context, uint64_t order)
{
    struct vmxsim_access access = one_byte;
    (void)context;
    (void)order;
    for (size_t i = 0; i < ACCESSES; i++) {
        access.linear = walk.linear[i];
        bench_require(vmxsim_guest_access(walk.cpu, &access, &walk.outcome[i % BATCH], NULL) ==
                          VMXC_OK,
                      "an access fails");
        if (i % BATCH == BATCH - 1)
            add_batch();
    }
}

/* Into one outcome: more of them than a cache holds would be timed too. */
static void access_into_one(void *context, uint64_t order)
{
    struct vmxsim_access access = one_byte;
    struct vmxsim_outcome outcome;
    (void)context;
    (void)order;
    for (size_t i = 0; i < ACCESSES; i++) {
        access.linear = walk.linear[i];
        bench_require(vmxsim_guest_access(walk.cpu, &access, &outcome, NULL) == VMXC_OK,
                      "an access fails");
        walk.sum += outcome.page[0].hpa;
    }
}

static void access_many(void *context, uint64_t order)
{
    (void)context;
    (void)order;
    for (size_t i = 0; i < ACCESSES; i += BATCH) {
        bench_require(vmxsim_walk_many(walk.cpu, &one_byte, &walk.linear[i], BATCH, walk.outcome) ==
                          VMXC_OK,
                      "an access fails");
        add_batch();
    }
}

/* Looks at the last batch. */
static void check(void *context, uint64_t order)
{
    (void)context;
    (void)order;
    for (size_t i = 0; i < BATCH; i++)
        bench_require(walk.outcome[i].kind == VMXSIM_OUTCOME_COMPLETE &&
                          walk.outcome[i].page[0].hpa ==
                              (load_both(walk.linear[ACCESSES - BATCH + i]) & VMXC_EPT_ADDRESS),
                      "an access does not lead where the tables do");
}

#define ACCESS(text, function, with_order)                                                 \
    .name = text, .unit = "access", .units = ACCESSES, .prepare = choose, .run = function, \
    .argument = with_order

static const struct bench_case cases[] = {
    {ACCESS("floor: 24 dependent loads, warm", floor_dependent, WARM)},
    {ACCESS("access, dependent, warm", access_dependent, WARM),
     .floor = "floor: 24 dependent loads, warm"},
    {ACCESS("access, dependent, warm, exact TLB hit", access_dependent, WARM | EXACT),
     .floor = "floor: 24 dependent loads, warm"},
    {ACCESS("2-D walk, warm, exact TLB hit", access_into_one, WARM | EXACT),
     .floor = "floor: 24 dependent loads, warm", .target_kind = BENCH_NANOSECONDS, .target = 5},
    {ACCESS("walk_many, warm, exact TLB hit", access_many, WARM | EXACT), .finish = check},
    {ACCESS("floor: 24 dependent loads, random", floor_dependent, RANDOM)},
    {ACCESS("access, dependent, random", access_dependent, RANDOM),
     .floor = "floor: 24 dependent loads, random", .target_kind = BENCH_RATIO, .target = 1.5},
    {ACCESS("access, dependent, random, exact TLB", access_dependent, RANDOM | EXACT),
     .floor = "floor: 24 dependent loads, random"},
    {ACCESS("access, one by one, random", access_one_by_one, RANDOM), .finish = check},
    {ACCESS("walk_many, random", access_many, RANDOM), .finish = check,
     .floor = "access, one by one, random"},
    {ACCESS("access, one by one, clustered", access_one_by_one, CLUSTERED), .finish = check},
    {ACCESS("walk_many, clustered", access_many, CLUSTERED), .finish = check,
     .floor = "access, one by one, clustered"},
};

int main(int argc, char **argv)
{
    struct bench *bench =
        bench_start(argc, argv, "bench_walk",
                    "Times of the model's walk of 4 by 4 levels, beside its 24 loads.");
    walk.random = 1;
    make_machine();
    bench_measure(bench, cases, sizeof(cases) / sizeof(cases[0]), NULL);
    vmxsim_cpu_destroy(walk.cpu);
    vmxsim_memory_destroy(walk.memory);
    return bench_end(bench);
}
