/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Times of the model: VM-entry checks, a VM entry with its exit, a guest access, an MSR-bitmap decision. Beside them stands
 * a floor, a chain of loads that each wait for the one before, so that numbers of different machines can be compared.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "vmxcore/defs/controls.h"
#include "vmxcore/defs/ept.h"
#include "vmxcore/defs/msr.h"
#include "vmxcore/defs/paging.h"
#include "vmxsim/entry_generate.h"
#include "vmxsim/insn.h"
#include "vmxsim/intercept.h"

enum {
    RUNS = 21,
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
#define LINEAR       UINT64_C(0x5000)
#define PAGES        512 /* that EPT maps: 2 MBytes, each to itself */

struct bench {
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

/* A benchmark must not time failures: whatever is not as it should be ends the program. */
static void require(bool holds, const char *what)
{
    if (holds)
        return;
    (void)fprintf(stderr, "bench_entry: %s\n", what);
    exit(EXIT_FAILURE);
}

/* ---- What is timed ---- */

static void floor_load(struct bench *bench)
{
    bench->at = bench->chain[bench->at];
}

static void check(struct bench *bench, const struct vmxsim_vmcs *vmcs)
{
    const struct vmxsim_entry_input input = {.vmcs = vmcs,
                                             .profile = bench->profile,
                                             .processor = &bench->processor,
                                             .memory = bench->memory};
    vmxsim_entry_check(&input, &bench->report);
}

static void check_valid(struct bench *bench)
{
    check(bench, &bench->valid);
    require(bench->report.violation_count == 0, "the valid VMCS breaks a rule");
}

static void check_broken(struct bench *bench)
{
    check(bench, &bench->broken);
    require(bench->report.violation_count == TO_BREAK, "not as many rules are broken as should be");
}

static void entry_and_exit(struct bench *bench)
{
    struct vmxsim_insn_result result;
    const bool launched = vmxsim_cpu_vmx_state(bench->host).launched;
    const enum vmxc_status status = launched ? vmxsim_insn_vmresume(bench->host, NULL, &result)
                                             : vmxsim_insn_vmlaunch(bench->host, NULL, &result);
    require(status == VMXC_OK && result.kind == VMXSIM_INSN_ENTERED, "no VM entry");
    require(vmxsim_insn_vmcall(bench->host, &result) == VMXC_OK &&
                result.kind == VMXSIM_INSN_VM_EXIT,
            "no VM exit");
}

static void access_with(struct bench *bench, struct vmxsim_trail *trail)
{
    const struct vmxsim_access access = {.type = VMXSIM_ACCESS_READ, .linear = LINEAR, .size = 8};
    struct vmxsim_outcome outcome;
    require(vmxsim_guest_access(bench->guest, &access, &outcome, trail) == VMXC_OK &&
                outcome.kind == VMXSIM_OUTCOME_COMPLETE,
            "the access does not complete");
}

static void access_without_trail(struct bench *bench)
{
    access_with(bench, NULL);
}

static void access_with_trail(struct bench *bench)
{
    access_with(bench, &bench->trail);
}

static void msr_bitmap(struct bench *bench)
{
    struct vmxsim_outcome outcome;
    require(vmxsim_guest_rdmsr(bench->guest, VMXC_MSR_EFER, &outcome) == VMXC_OK &&
                outcome.kind == VMXSIM_OUTCOME_COMPLETE,
            "RDMSR does not complete");
}

/* ---- Set-up ---- */

static void make_machine(struct bench *bench)
{
    const struct vmxsim_range ram = {.base = 0, .length = UINT64_C(16) << 20};
    const struct vmxsim_memory_config config = {.ram = &ram, .ram_count = 1, .no_poison = true};
    bench->profile = vmxsim_profile_builtin("icelake");
    require(bench->profile != NULL, "no profile");
    require(vmxsim_memory_create(&config, &bench->memory, NULL) == VMXC_OK, "no memory");
    require(vmxsim_cpu_create(bench->memory, bench->profile, &bench->host) == VMXC_OK &&
                vmxsim_cpu_create(bench->memory, bench->profile, &bench->guest) == VMXC_OK,
            "no processor");
    for (uint32_t i = 0; i < CHAIN; i++)
        bench->chain[i] = (i + 389) % CHAIN; /* odd: one cycle through all */
}

static void make_states(struct bench *bench)
{
    struct vmxsim_entry_broken broken;
    uint64_t random = 1;
    bench->processor = vmxsim_entry_processor_default(VMCS_REGION);
    vmxsim_entry_round(bench->profile, &bench->processor, &bench->valid);
    bench->broken = bench->valid;
    vmxsim_entry_break(bench->profile, &bench->broken, TO_BREAK, &random, &broken);
}

static void write_field(struct bench *bench, size_t ordinal)
{
    struct vmxsim_insn_result result;
    const uint32_t encoding = vmxsim_vmcs_encoding(ordinal);
    if (!vmxsim_profile_has_field(bench->profile, encoding) ||
        VMXC_FIELD_GET((uint64_t)encoding, VMXC_VMCS_ENCODING_TYPE) == VMXC_VMCS_TYPE_READ_ONLY)
        return;
    require(vmxsim_insn_vmwrite(bench->host, encoding, bench->valid.value[ordinal], &result) ==
                    VMXC_OK &&
                result.kind == VMXSIM_INSN_SUCCEEDED,
            "VMWRITE fails");
}

static void make_host(struct bench *bench)
{
    struct vmxsim_insn_result result;
    uint64_t basic = 0;
    require(vmxsim_profile_msr(bench->profile, VMXC_MSR_VMX_BASIC, &basic) == VMXC_OK, "no MSR");
    const uint32_t revision = (uint32_t)(basic & VMXC_VMX_BASIC_REVISION);
    vmxsim_memory_write32(bench->memory, VMXON_REGION, revision);
    vmxsim_memory_write32(bench->memory, VMCS_REGION, revision);
    require(vmxsim_insn_vmxon(bench->host, VMXON_REGION, &result) == VMXC_OK &&
                vmxsim_insn_vmclear(bench->host, VMCS_REGION, &result) == VMXC_OK &&
                vmxsim_insn_vmptrld(bench->host, VMCS_REGION, &result) == VMXC_OK &&
                result.kind == VMXSIM_INSN_SUCCEEDED,
            "no current VMCS");
    for (size_t i = 0; i < VMXC_VMCS_FIELD_COUNT; i++)
        write_field(bench, i);
}

/* EPT maps 2 MBytes of guest-physical addresses to themselves, the guest one page; 4 levels each. */
static void make_tables(struct bench *bench)
{
    const uint64_t guest_rights = 0x7; /* present, writable, user */
    for (uint64_t level = 0; level < 3; level++) {
        const uint64_t offset = level << 12;
        vmxsim_memory_write64(bench->memory, EPT_TABLES + offset,
                              (EPT_TABLES + offset + 0x1000) | VMXC_EPT_RWX);
        vmxsim_memory_write64(bench->memory, GUEST_TABLES + offset,
                              (GUEST_TABLES + offset + 0x1000) | guest_rights);
    }
    for (uint64_t page = 0; page < PAGES; page++)
        vmxsim_memory_write64(bench->memory, EPT_TABLES + 0x3000 + 8 * page,
                              page << 12 | 6 << 3 | VMXC_EPT_RWX); /* write-back */
    vmxsim_memory_write64(bench->memory, GUEST_TABLES + 0x3000 + 8 * (LINEAR >> 12),
                          GUEST_PAGE | guest_rights);
}

static void make_guest(struct bench *bench)
{
    struct vmxsim_vmcs vmcs = {0};
    VMXSIM_VMCS(&vmcs, PRIMARY_PROCESSOR_BASED_CONTROLS) =
        VMXC_PRIMARY_ACTIVATE_SECONDARY_CONTROLS | VMXC_PRIMARY_USE_MSR_BITMAPS;
    VMXSIM_VMCS(&vmcs, SECONDARY_PROCESSOR_BASED_CONTROLS) = VMXC_SECONDARY_ENABLE_EPT;
    VMXSIM_VMCS(&vmcs, VM_ENTRY_CONTROLS) = VMXC_ENTRY_IA32E_MODE_GUEST;
    VMXSIM_VMCS(&vmcs, MSR_BITMAP_ADDRESS) = MSR_BITMAP;
    VMXSIM_VMCS(&vmcs, EPT_POINTER) = EPT_TABLES | 0x1e; /* 4 levels, write-back */
    VMXSIM_VMCS(&vmcs, GUEST_CR0) = VMXC_CR0_PE | VMXC_CR0_NE | VMXC_CR0_ET | VMXC_CR0_PG;
    VMXSIM_VMCS(&vmcs, GUEST_CR3) = GUEST_TABLES;
    VMXSIM_VMCS(&vmcs, GUEST_CR4) = VMXC_CR4_VMXE | VMXC_CR4_PAE;
    make_tables(bench);
    require(vmxsim_cpu_load_guest(bench->guest, &vmcs, NULL) == VMXC_OK, "no guest");
    access_with_trail(bench);
    require(bench->trail.count == 4 * 5 + 4, "the access does not read 24 entries");
}

/* ---- Timing ---- */

static double now(void)
{
    struct timespec time;
    require(clock_gettime(CLOCK_MONOTONIC, &time) == 0, "no clock");
    return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

static int compare(const void *left, const void *right)
{
    const double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

static void measure(struct bench *bench, const char *name, void (*call)(struct bench *))
{
    double runs[RUNS];
    call(bench);
    for (size_t run = 0; run < RUNS; run++) {
        const double start = now();
        for (unsigned int i = 0; i < CALLS; i++)
            call(bench);
        runs[run] = (now() - start) / CALLS;
    }
    qsort(runs, RUNS, sizeof runs[0], compare);
    (void)printf("%-36s %10.1f %10.1f %10.1f\n", name, runs[RUNS / 2], runs[0], runs[RUNS - 1]);
}

static struct bench bench;

int main(void)
{
    make_machine(&bench);
    make_states(&bench);
    make_host(&bench);
    make_guest(&bench);

    (void)printf("nanoseconds; %d runs of %d calls\n", RUNS, CALLS);
    (void)printf("%-36s %10s %10s %10s\n", "", "median", "least", "most");
    measure(&bench, "floor: call and dependent load", floor_load);
    measure(&bench, "VM-entry check, passing", check_valid);
    measure(&bench, "VM-entry check, 16 rules broken", check_broken);
    measure(&bench, "VM entry and exit by VMCALL", entry_and_exit);
    measure(&bench, "access, 4 x 4 levels", access_without_trail);
    measure(&bench, "access, 4 x 4 levels, with trail", access_with_trail);
    measure(&bench, "RDMSR through the MSR bitmap", msr_bitmap);

    vmxsim_cpu_destroy(bench.guest);
    vmxsim_cpu_destroy(bench.host);
    vmxsim_memory_destroy(bench.memory);
    return EXIT_SUCCESS;
}
