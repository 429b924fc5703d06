/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Times of the model: VM-entry checks, a VM entry with its exit, a guest access, bitmap decisions. Beside them stands
 * a floor, a chain of loads that each wait for the one before, so that numbers of different machines can be compared.
 */
#include "runner.h"
#include "vmxcore/defs/controls.h"
#include "vmxcore/defs/ept.h"
#include "vmxcore/defs/msr.h"
#include "vmxcore/defs/paging.h"
#include "vmxsim/entry_generate.h"
#include "vmxsim/insn.h"
#include "vmxsim/intercept.h"

enum {
    CALLS = 2000, /* per run */
    CHAIN =
        1 << 10, /* elements of the floor's chain: 4 KBytes, which the first-level cache holds */
    TO_BREAK = 16,
};

/* Where things are in memory. */
#define VMXON_REGION UINT64_C(0x10000)
#define VMCS_REGION  UINT64_C(0x11000)
#define EPT_TABLES   UINT64_C(0x100000) /* four, from the root on */
#define GUEST_TABLES UINT64_C(0x110000)
#define GUEST_PAGE   UINT64_C(0x120000)
#define MSR_BITMAP   UINT64_C(0x130000)
#define IO_BITMAPS   UINT64_C(0x131000) /* two frames */
#define LINEAR       UINT64_C(0x5000)
#define PAGES        512 /* that EPT maps: 2 MBytes, each to itself */

struct machine {
    const struct vmxsim_profile *profile;
    struct vmxsim_memory *memory;
    struct vmxsim_cpu *host;  /* enters and leaves */
    struct vmxsim_cpu *guest; /* is in a guest with 4 x 4 levels */
    struct vmxsim_vmcs valid, broken;
    struct vmxsim_entry_processor processor;
    struct vmxsim_entry_report report;
    struct vmxsim_trail trail;
    uint32_t chain[CHAIN], at;
};

/* ---- What is timed ---- */

static void floor_load(struct machine *machine)
{
    machine->at = machine->chain[machine->at];
}

static void check(struct machine *machine, const struct vmxsim_vmcs *vmcs)
{
    const struct vmxsim_entry_input input = {.vmcs = vmcs,
                                             .profile = machine->profile,
                                             .processor = &machine->processor,
                                             .memory = machine->memory};
    vmxsim_entry_check(&input, &machine->report);
}

static void check_valid(struct machine *machine)
{
    check(machine, &machine->valid);
    bench_require(machine->report.violation_count == 0, "the valid VMCS breaks a rule");
}

static void check_broken(struct machine *machine)
{
    check(machine, &machine->broken);
    bench_require(machine->report.violation_count == TO_BREAK,
                  "not as many rules are broken as should be");
}

static void entry_and_exit(struct machine *machine)
{
    struct vmxsim_insn_result result;
    const bool launched = vmxsim_cpu_vmx_state(machine->host).launched;
    const enum vmxc_status status = launched ? vmxsim_insn_vmresume(machine->host, NULL, &result)
                                             : vmxsim_insn_vmlaunch(machine->host, NULL, &result);
    bench_require(status == VMXC_OK && result.kind == VMXSIM_INSN_ENTERED, "no VM entry");
    bench_require(vmxsim_insn_vmcall(machine->host, &result) == VMXC_OK &&
                      result.kind == VMXSIM_INSN_VM_EXIT,
                  "no VM exit");
}

static void access_with(struct machine *machine, struct vmxsim_trail *trail)
{
    const struct vmxsim_access access = {.type = VMXSIM_ACCESS_READ, .linear = LINEAR, .size = 8};
    struct vmxsim_outcome outcome;
    bench_require(vmxsim_guest_access(machine->guest, &access, &outcome, trail) == VMXC_OK &&
                      outcome.kind == VMXSIM_OUTCOME_COMPLETE,
                  "the access does not complete");
}

static void access_without_trail(struct machine *machine)
{
    access_with(machine, NULL);
}

static void access_with_trail(struct machine *machine)
{
    access_with(machine, &machine->trail);
}

static void msr_bitmap(struct machine *machine)
{
    struct vmxsim_outcome outcome;
    bench_require(vmxsim_guest_rdmsr(machine->guest, VMXC_MSR_EFER, &outcome) == VMXC_OK &&
                      outcome.kind == VMXSIM_OUTCOME_COMPLETE,
                  "RDMSR does not complete");
}

static void io_bitmap(struct machine *machine)
{
    const struct vmxsim_io out = {.port = 0x80, .size = 1, .immediate = true};
    struct vmxsim_outcome outcome;
    bench_require(vmxsim_guest_io(machine->guest, &out, &outcome) == VMXC_OK &&
                      outcome.kind == VMXSIM_OUTCOME_COMPLETE,
                  "OUT does not complete");
}

/* ---- Set-up ---- */

static void make_machine(struct machine *machine)
{
    const struct vmxsim_range ram = {.base = 0, .length = UINT64_C(16) << 20};
    const struct vmxsim_memory_config config = {.ram = &ram, .ram_count = 1, .no_poison = true};
    machine->profile = vmxsim_profile_builtin("icelake");
    bench_require(machine->profile != NULL, "no profile");
    bench_require(vmxsim_memory_create(&config, &machine->memory, NULL) == VMXC_OK, "no memory");
    bench_require(vmxsim_cpu_create(machine->memory, machine->profile, &machine->host) == VMXC_OK &&
                      vmxsim_cpu_create(machine->memory, machine->profile, &machine->guest) ==
                          VMXC_OK,
                  "no processor");
    for (uint32_t i = 0; i < CHAIN; i++)
        machine->chain[i] = (i + 389) % CHAIN; /* odd: one cycle through all */
}

static void make_states(struct machine *machine)
{
    struct vmxsim_entry_broken broken;
    uint64_t random = 1;
    machine->processor = vmxsim_entry_processor_default(VMCS_REGION);
    vmxsim_entry_round(machine->profile, &machine->processor, &machine->valid);
    machine->broken = machine->valid;
    vmxsim_entry_break(machine->profile, &machine->broken, TO_BREAK, &random, &broken);
}

static void write_field(struct machine *machine, size_t ordinal)
{
    struct vmxsim_insn_result result;
    const uint32_t encoding = vmxsim_vmcs_encoding(ordinal);
    if (!vmxsim_profile_has_field(machine->profile, encoding) ||
        VMXC_FIELD_GET((uint64_t)encoding, VMXC_VMCS_ENCODING_TYPE) == VMXC_VMCS_TYPE_READ_ONLY)
        return;
    bench_require(vmxsim_insn_vmwrite(machine->host, encoding, machine->valid.value[ordinal],
                                      &result) == VMXC_OK &&
                      result.kind == VMXSIM_INSN_SUCCEEDED,
                  "VMWRITE fails");
}

static void make_host(struct machine *machine)
{
    struct vmxsim_insn_result result;
    uint64_t basic = 0;
    bench_require(vmxsim_profile_msr(machine->profile, VMXC_MSR_VMX_BASIC, &basic) == VMXC_OK,
                  "no MSR");
    const uint32_t revision = (uint32_t)(basic & VMXC_VMX_BASIC_REVISION);
    vmxsim_memory_write32(machine->memory, VMXON_REGION, revision);
    vmxsim_memory_write32(machine->memory, VMCS_REGION, revision);
    bench_require(vmxsim_insn_vmxon(machine->host, VMXON_REGION, &result) == VMXC_OK &&
                      vmxsim_insn_vmclear(machine->host, VMCS_REGION, &result) == VMXC_OK &&
                      vmxsim_insn_vmptrld(machine->host, VMCS_REGION, &result) == VMXC_OK &&
                      result.kind == VMXSIM_INSN_SUCCEEDED,
                  "no current VMCS");
    for (size_t i = 0; i < VMXC_VMCS_FIELD_COUNT; i++)
        write_field(machine, i);
}

/* EPT maps 2 MBytes of guest-physical addresses to themselves, the guest one page; 4 levels each. */
static void make_tables(struct machine *machine)
{
    const uint64_t guest_rights = 0x7; /* present, writable, user */
    for (uint64_t level = 0; level < 3; level++) {
        const uint64_t offset = level << 12;
        vmxsim_memory_write64(machine->memory, EPT_TABLES + offset,
                              (EPT_TABLES + offset + 0x1000) | VMXC_EPT_RWX);
        vmxsim_memory_write64(machine->memory, GUEST_TABLES + offset,
                              (GUEST_TABLES + offset + 0x1000) | guest_rights);
    }
    for (uint64_t page = 0; page < PAGES; page++)
        vmxsim_memory_write64(machine->memory, EPT_TABLES + 0x3000 + 8 * page,
                              page << 12 | 6 << 3 | VMXC_EPT_RWX); /* write-back */
    vmxsim_memory_write64(machine->memory, GUEST_TABLES + 0x3000 + 8 * (LINEAR >> 12),
                          GUEST_PAGE | guest_rights);
}

static void make_guest(struct machine *machine)
{
    struct vmxsim_vmcs vmcs = {0};
    VMXSIM_VMCS(&vmcs, PRIMARY_PROCESSOR_BASED_CONTROLS) =
        VMXC_PRIMARY_ACTIVATE_SECONDARY_CONTROLS | VMXC_PRIMARY_USE_MSR_BITMAPS |
        VMXC_PRIMARY_USE_IO_BITMAPS;
    VMXSIM_VMCS(&vmcs, SECONDARY_PROCESSOR_BASED_CONTROLS) = VMXC_SECONDARY_ENABLE_EPT;
    VMXSIM_VMCS(&vmcs, VM_ENTRY_CONTROLS) = VMXC_ENTRY_IA32E_MODE_GUEST;
    VMXSIM_VMCS(&vmcs, MSR_BITMAP_ADDRESS) = MSR_BITMAP;
    VMXSIM_VMCS(&vmcs, IO_BITMAP_A_ADDRESS) = IO_BITMAPS;
    VMXSIM_VMCS(&vmcs, IO_BITMAP_B_ADDRESS) = IO_BITMAPS + 0x1000;
    VMXSIM_VMCS(&vmcs, EPT_POINTER) = EPT_TABLES | 0x1e; /* 4 levels, write-back */
    VMXSIM_VMCS(&vmcs, GUEST_CR0) = VMXC_CR0_PE | VMXC_CR0_NE | VMXC_CR0_ET | VMXC_CR0_PG;
    VMXSIM_VMCS(&vmcs, GUEST_CR3) = GUEST_TABLES;
    VMXSIM_VMCS(&vmcs, GUEST_CR4) = VMXC_CR4_VMXE | VMXC_CR4_PAE;
    make_tables(machine);
    bench_require(vmxsim_cpu_load_guest(machine->guest, &vmcs, NULL) == VMXC_OK, "no guest");
    access_with_trail(machine);
    bench_require(machine->trail.count == 4 * 5 + 4, "the access does not read 24 entries");
}

/* ---- Timing ---- */

static void (*const operations[])(struct machine *machine) = {
    floor_load,           check_valid,       check_broken, entry_and_exit,
    access_without_trail, access_with_trail, msr_bitmap,   io_bitmap,
};

static void run(void *context, uint64_t operation)
{
    for (unsigned int i = 0; i < CALLS; i++)
        operations[operation](context);
}

/* Of MSRs in both halves of the bitmap, read and written; no bit is set. */
static void run_msr_decisions(void *context, uint64_t operation)
{
    static const uint32_t msrs[] = {VMXC_MSR_EFER, VMXC_MSR_PAT, VMXC_MSR_FEATURE_CONTROL,
                                    VMXC_MSR_EFER};
    const struct machine *const machine = context;
    unsigned int exits = 0;
    (void)operation;
    for (unsigned int i = 0; i < CALLS; i++)
        exits += vmxsim_guest_msr_exit(machine->guest, msrs[i % 4], i & 4) != VMXSIM_RULE_NONE;
    bench_require(exits == 0, "an MSR is intercepted");
}

/* Of one-byte accesses to ports in both bitmaps; no bit is set. */
static void run_io_decisions(void *context, uint64_t operation)
{
    const struct machine *const machine = context;
    unsigned int exits = 0;
    (void)operation;
    for (unsigned int i = 0; i < CALLS; i++)
        exits += vmxsim_guest_io_exit(machine->guest, (uint16_t)(i * 4097), 1) != VMXSIM_RULE_NONE;
    bench_require(exits == 0, "a port is intercepted");
}

#define FLOOR "floor: call and dependent load"

#define OPERATION(number, text) \
    .name = text, .unit = "call", .units = CALLS, .run = run, .argument = number

static const struct bench_case cases[] = {
    {OPERATION(0, FLOOR)},
    {OPERATION(1, "VM-entry check, passing"), .floor = FLOOR},
    {OPERATION(2, "VM-entry check, 16 rules broken"), .floor = FLOOR},
    {OPERATION(3, "VM entry and exit by VMCALL"), .floor = FLOOR, .target_kind = BENCH_NANOSECONDS,
     .target = 1000},
    {OPERATION(4, "access, 4 x 4 levels"), .floor = FLOOR},
    {OPERATION(5, "access, 4 x 4 levels, with trail"), .floor = FLOOR},
    {OPERATION(6, "RDMSR through the MSR bitmap"), .floor = FLOOR},
    {.name = "MSR-bitmap decision",
     .unit = "call",
     .units = CALLS,
     .run = run_msr_decisions,
     .target_kind = BENCH_NANOSECONDS,
     .target = 3},
    {.name = "I/O-bitmap decision",
     .unit = "call",
     .units = CALLS,
     .run = run_io_decisions,
     .target_kind = BENCH_NANOSECONDS,
     .target = 3},
    {OPERATION(7, "OUT through the I/O bitmaps"), .floor = FLOOR},
};

static struct machine machine;

int main(int argc, char **argv)
{
    struct bench *bench =
        bench_start(argc, argv, "bench_entry",
                    "Times of the model: VM-entry checks, a VM entry with its exit, "
                    "a guest access, bitmap decisions.");
    make_machine(&machine);
    make_states(&machine);
    make_host(&machine);
    make_guest(&machine);
    bench_measure(bench, cases, sizeof(cases) / sizeof(cases[0]), &machine);
    vmxsim_cpu_destroy(machine.guest);
    vmxsim_cpu_destroy(machine.host);
    vmxsim_memory_destroy(machine.memory);
    return bench_end(bench);
}
