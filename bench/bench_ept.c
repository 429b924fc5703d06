/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Times of the model's walk of EPT alone, four levels: warm, and cold, over tables that no cache holds. The floors are the
 * walk's 4 loads from the very tables.
 *
 *     guest-physical    [0, 64 GiB)    4-KByte pages, 128 MiB of EPT page tables
 *     host-physical     EPT tables from 1 MiB on, each level in one piece
 */
#include "runner.h"
#include "vmxcore/defs/controls.h"
#include "vmxcore/defs/ept.h"
#include "vmxcore/defs/paging.h"
#include "vmxsim/cpu.h"

#define MIB UINT64_C(0x100000)
#define GIB UINT64_C(0x40000000)

#define RAM_SIZE (256 * MIB)
#define GPA_SIZE (64 * GIB)
#define ROOT_HPA (1 * MIB)
#define EPT_LEAF (VMXC_EPT_RWX | 6 << 3) /* write-back */

enum {
    ACCESSES = 1 << 15, /* per run */
    WARM_PAGES = 8,
};

enum order { WARM, COLD };

static struct {
    struct vmxsim_memory *memory;
    struct vmxsim_cpu *cpu;
    const uint8_t *ram;
    uint64_t random, sum;
    uint64_t gpa[ACCESSES];
} ept;

/* ---- Tables: entry number n of a level lies at n * 8 from its start ---- */

static uint64_t span_of(unsigned level)
{
    return UINT64_C(1) << (VMXC_PAGE_SHIFT + 9 * (level - 1));
}

/* Where any page leads: to within RAM, and pages next to each other apart. */
static uint64_t page_of(uint64_t gpa)
{
    return gpa * 7 % RAM_SIZE;
}

static void write_tables(void)
{
    uint64_t hpa = ROOT_HPA;

    for (unsigned level = 4; level > 0; level--) {
        const uint64_t entries = (GPA_SIZE + span_of(level) - 1) / span_of(level);
        const uint64_t pages = (8 * entries + VMXC_PAGE_MASK) / VMXC_PAGE_SIZE;
        const uint64_t below = hpa + pages * VMXC_PAGE_SIZE;
        for (uint64_t i = 0; i < entries; i++)
            vmxsim_memory_write64(ept.memory, hpa + 8 * i,
                                  level > 1 ? (below + i * VMXC_PAGE_SIZE) | VMXC_EPT_RWX
                                            : page_of(i * VMXC_PAGE_SIZE) | EPT_LEAF);
        hpa = below;
    }
    bench_require(hpa <= RAM_SIZE, "the tables do not fit");
}

static void make_machine(void)
{
    const struct vmxsim_range ram = {.base = 0, .length = RAM_SIZE};
    const struct vmxsim_memory_config config = {.ram = &ram, .ram_count = 1, .no_poison = true};
    struct vmxsim_vmcs vmcs = {0};

    bench_require(vmxsim_memory_create(&config, &ept.memory, NULL) == VMXC_OK &&
                      vmxsim_cpu_create(ept.memory, vmxsim_profile_builtin("icelake"), &ept.cpu) ==
                          VMXC_OK,
                  "no machine");
    ept.ram = vmxsim_memory_pointer(ept.memory, 0);
    write_tables();
    VMXSIM_VMCS(&vmcs, PRIMARY_PROCESSOR_BASED_CONTROLS) = VMXC_PRIMARY_ACTIVATE_SECONDARY_CONTROLS;
    VMXSIM_VMCS(&vmcs, SECONDARY_PROCESSOR_BASED_CONTROLS) = VMXC_SECONDARY_ENABLE_EPT;
    VMXSIM_VMCS(&vmcs, VM_ENTRY_CONTROLS) = VMXC_ENTRY_IA32E_MODE_GUEST;
    VMXSIM_VMCS(&vmcs, EPT_POINTER) = ROOT_HPA | 0x1e; /* 4 levels, write-back */
    VMXSIM_VMCS(&vmcs, GUEST_CR0) = VMXC_CR0_PE | VMXC_CR0_NE | VMXC_CR0_ET | VMXC_CR0_PG;
    VMXSIM_VMCS(&vmcs, GUEST_CR4) = VMXC_CR4_VMXE | VMXC_CR4_PAE;
    bench_require(vmxsim_cpu_load_guest(ept.cpu, &vmcs, NULL) == VMXC_OK, "no guest");
}

/* ---- What is timed ---- */

static void choose(void *context, uint64_t order)
{
    (void)context;
    for (size_t i = 0; i < ACCESSES; i++) {
        const uint64_t page =
            order == WARM ? i % WARM_PAGES : bench_random(&ept.random, GPA_SIZE / VMXC_PAGE_SIZE);
        ept.gpa[i] = page * VMXC_PAGE_SIZE;
    }
}

static inline uint64_t load(uint64_t hpa)
{
    return *(const uint64_t *)(const void *)(ept.ram + hpa);
}

/* Bit 63 is clear in all entries and addresses, which the compiler does not know: each walk waits for the last. */
static void floor_dependent(void *context, uint64_t order)
{
    uint64_t entry = 0;
    (void)context;
    (void)order;
    for (size_t i = 0; i < ACCESSES; i++) {
        const uint64_t gpa = ept.gpa[i] + (entry >> 63);
        entry = ROOT_HPA;
        for (unsigned level = 4; level > 0; level--)
            entry = load((entry & VMXC_EPT_ADDRESS) +
                         8 * (gpa / span_of(level) % VMXC_EPT_ENTRIES_PER_TABLE));
    }
    ept.sum += entry;
}

static void walk_dependent(void *context, uint64_t order)
{
    struct vmxsim_outcome outcome = {.page_count = 0};
    (void)context;
    (void)order;
    for (size_t i = 0; i < ACCESSES; i++) {
        const uint64_t gpa = ept.gpa[i] + (outcome.page[0].hpa >> 63);
        bench_require(vmxsim_guest_physical_access(ept.cpu, gpa, VMXC_EPT_READ, &outcome, NULL) ==
                              VMXC_OK &&
                          outcome.kind == VMXSIM_OUTCOME_COMPLETE,
                      "an access does not complete");
    }
    bench_require(outcome.page[0].hpa == page_of(ept.gpa[ACCESSES - 1]),
                  "an access does not lead where the tables do");
}

#define WALK(text, function, with_order)                                                 \
    .name = text, .unit = "walk", .units = ACCESSES, .prepare = choose, .run = function, \
    .argument = with_order

static const struct bench_case cases[] = {
    {WALK("floor: 4 dependent loads, warm", floor_dependent, WARM)},
    {WALK("EPT walk, dependent, warm", walk_dependent, WARM),
     .floor = "floor: 4 dependent loads, warm"},
    {WALK("floor: 4 dependent loads, cold", floor_dependent, COLD)},
    {WALK("EPT walk, dependent, cold", walk_dependent, COLD),
     .floor = "floor: 4 dependent loads, cold"},
};

int main(int argc, char **argv)
{
    struct bench *bench = bench_start(
        argc, argv, "bench_ept", "Times of the model's walk of EPT alone, beside its 4 loads.");
    ept.random = 1;
    make_machine();
    bench_measure(bench, cases, sizeof(cases) / sizeof(cases[0]), NULL);
    vmxsim_cpu_destroy(ept.cpu);
    vmxsim_memory_destroy(ept.memory);
    return bench_end(bench);
}
