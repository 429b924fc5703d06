/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The main job, start to end: libvmxcore builds a guest's physical address space on a simulated machine, the model
 * runs the guest's memory accesses against it, and EPT violations are handled until each access completes.
 *
 *     guest-physical                 backend
 *     0        - 3fffffH    4 MBytes linear: host memory that we own, mapped now with large pages
 *     400000H  - 7fffffH    4 MBytes alloc, lazy: a zeroed frame per page, on first access
 *     e0000000H             nothing: where a device would be
 *
 * A hypervisor would do the same with its own HAL in place of the simulated memory, and with VM exits in place of
 * vmxsim_guest_access. The exit status is 0 only if everything went as told.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmxcore/caps.h"
#include "vmxcore/defs/exit_reason.h"
#include "vmxcore/defs/msr.h"
#include "vmxcore/guest_mem.h"
#include "vmxcore/status.h"
#include "vmxsim/cpu.h"
#include "vmxsim/explain.h"

#define MBYTES(n) ((uint64_t)(n) << 20)

#define RAM_GPA    UINT64_C(0)
#define RAM_SIZE   MBYTES(4)
#define RAM_HPA    MBYTES(64) /* the host memory that is the guest's linear RAM */
#define LAZY_GPA   MBYTES(4)
#define LAZY_SIZE  MBYTES(4)
#define DEVICE_GPA UINT64_C(0xe0000000)
#define SPACE_SIZE (UINT64_C(1) << 32)

/* Where the guest keeps its own paging structures. */
#define PML4_GPA   UINT64_C(0x1000)
#define PDPT_GPA   UINT64_C(0x2000)
#define PD_LOW_GPA UINT64_C(0x3000)
#define PD_TOP_GPA UINT64_C(0x4000)

static struct vmxsim_memory *memory;
static struct vmxsim_cpu *cpu;
static struct vmxc_addrspace space;

/* Ends the demonstration where a step that cannot fail did. */
static void must(enum vmxc_status status, const char *what)
{
    if (status == VMXC_OK)
        return;
    fprintf(stderr, "demo: %s: %s (%s)\n", what, vmxc_status_name(status),
            vmxc_status_text(status));
    exit(EXIT_FAILURE);
}

static void expect(bool as_told, const char *what)
{
    if (as_told)
        return;
    fprintf(stderr, "demo: not as told: %s\n", what);
    exit(EXIT_FAILURE);
}

static void heading(const char *text)
{
    printf("\n== %s ==\n\n", text);
}

/* ---- The machine ---- */

static const struct vmxsim_profile *create_machine(void)
{
    const struct vmxsim_range ram = {0, MBYTES(256)};
    const struct vmxsim_memory_config config = {
        .ram = &ram, .ram_count = 1, .frames = {MBYTES(1), MBYTES(32)}};
    const struct vmxsim_profile *const profile = vmxsim_profile_builtin("icelake");

    expect(profile != NULL, "there is a profile \"icelake\"");
    must(vmxsim_memory_create(&config, &memory, NULL), "creating memory");
    must(vmxsim_cpu_create(memory, profile, &cpu), "creating a processor");
    printf("256 MBytes of RAM; processor profile \"%s\": %u-bit physical addresses.\n",
           vmxsim_profile_name(profile), vmxsim_profile_features(profile)->maxphyaddr);
    return profile;
}

static uint64_t read_msr(const struct vmxsim_profile *profile, uint32_t index)
{
    uint64_t value = 0;

    must(vmxsim_profile_msr(profile, index, &value), "reading a capability MSR");
    return value;
}

/* ---- The address space, with libvmxcore ---- */

static void print_space(void)
{
    char text[1024];

    vmxc_addrspace_format(&space, text, sizeof text);
    printf("%s", text);
}

static void build_space(const struct vmxsim_profile *profile)
{
    const struct vmxc_caps_ept_request request = {.maxphyaddr =
                                                      vmxsim_profile_features(profile)->maxphyaddr,
                                                  .levels = 4,
                                                  .accessed_dirty = true};
    struct vmxc_ept_config config;

    must(vmxc_caps_ept_config(read_msr(profile, VMXC_MSR_VMX_EPT_VPID_CAP),
                              (uint32_t)(read_msr(profile, VMXC_MSR_VMX_PROCBASED_CTLS2) >> 32),
                              &request, &config),
         "choosing an EPT configuration");
    must(vmxc_addrspace_init(&space, vmxsim_memory_hal(memory), &config, 0, SPACE_SIZE),
         "creating the space");
    must(vmxc_addrspace_map_linear(&space, RAM_GPA, RAM_HPA, RAM_SIZE, VMXC_MAP_RWX),
         "mapping linear RAM");
    must(vmxc_addrspace_map_alloc(&space, LAZY_GPA, LAZY_SIZE, VMXC_MAP_READ | VMXC_MAP_WRITE,
                                  false),
         "mapping lazy RAM");
    print_space();
    printf("\nEPT tables so far: %" PRIu64 ". The lazy area has cost nothing yet.\n",
           vmxc_ept_count_tables(vmxc_addrspace_ept(&space)));
}

/* ---- The guest ---- */

static void put_entry(uint64_t table_gpa, unsigned index, uint64_t entry)
{
    must(vmxc_guest_mem_write_u64(&space, table_gpa + 8 * (uint64_t)index, entry),
         "writing a guest entry");
}

/* 4-level paging, linear = physical: 2-MByte pages for the first 8 MBytes and for the device. */
static void write_guest_tables(void)
{
    const uint64_t table = VMXC_PTE_PRESENT | VMXC_PTE_WRITE | VMXC_PTE_USER;
    const uint64_t page = VMXC_PTE_PRESENT | VMXC_PTE_WRITE | VMXC_PTE_PAGE_SIZE;

    put_entry(PML4_GPA, 0, PDPT_GPA | table);
    put_entry(PDPT_GPA, 0, PD_LOW_GPA | table);
    put_entry(PDPT_GPA, 3, PD_TOP_GPA | table);
    for (unsigned i = 0; i < 4; i++)
        put_entry(PD_LOW_GPA, i, i * VMXC_PAGE_SIZE_2M | page);
    put_entry(PD_TOP_GPA, 256, DEVICE_GPA | page);
}

/* What a VM entry would load: 64-bit mode, CPL 0, and our EPT. Fields not named are zero. */
static void enter_guest(void)
{
    struct vmxsim_vmcs vmcs = {{0}};
    struct vmxsim_error error;

    VMXSIM_VMCS(&vmcs, PRIMARY_PROCESSOR_BASED_CONTROLS) = VMXC_PRIMARY_ACTIVATE_SECONDARY_CONTROLS;
    VMXSIM_VMCS(&vmcs, SECONDARY_PROCESSOR_BASED_CONTROLS) = VMXC_SECONDARY_ENABLE_EPT;
    VMXSIM_VMCS(&vmcs, VM_ENTRY_CONTROLS) = VMXC_ENTRY_IA32E_MODE_GUEST | VMXC_ENTRY_LOAD_EFER;
    VMXSIM_VMCS(&vmcs, EPT_POINTER) = vmxc_addrspace_eptp(&space);
    VMXSIM_VMCS(&vmcs, VMCS_LINK_POINTER) = ~UINT64_C(0);
    VMXSIM_VMCS(&vmcs, GUEST_CR0) = VMXC_CR0_PE | VMXC_CR0_NE | VMXC_CR0_WP | VMXC_CR0_PG;
    VMXSIM_VMCS(&vmcs, GUEST_CR3) = PML4_GPA;
    VMXSIM_VMCS(&vmcs, GUEST_CR4) = VMXC_CR4_PAE | VMXC_CR4_VMXE;
    VMXSIM_VMCS(&vmcs, GUEST_IA32_EFER) = VMXC_EFER_LME | VMXC_EFER_LMA | VMXC_EFER_NXE;
    VMXSIM_VMCS(&vmcs, GUEST_CS_ACCESS_RIGHTS) = 0xa09b; /* 64-bit code */
    VMXSIM_VMCS(&vmcs, GUEST_SS_ACCESS_RIGHTS) = 0xc093;
    VMXSIM_VMCS(&vmcs, GUEST_RFLAGS) = 2;
    must(vmxsim_cpu_load_guest(cpu, &vmcs, &error), error.text);
}

/* ---- Running it ---- */

/* One attempt, explained: every entry that was read, and how it ended. */
static void run_once(const struct vmxsim_access *access, struct vmxsim_outcome *outcome)
{
    static struct vmxsim_trail trail;

    must(vmxsim_guest_access(cpu, access, outcome, &trail), "a guest access");
    char *const text = vmxsim_explain_access(access, outcome, &trail);
    expect(text != NULL, "the host has memory for text");
    printf("%s", text);
    free(text);
}

/* The rights that the violating access asked for: bits 2:0 of the exit qualification. */
static vmxc_map_flags rights_of(uint64_t qualification)
{
    return (qualification & VMXC_EPT_VIOLATION_READ ? VMXC_MAP_READ : 0) |
           (qualification & VMXC_EPT_VIOLATION_WRITE ? VMXC_MAP_WRITE : 0) |
           (qualification & VMXC_EPT_VIOLATION_FETCH ? VMXC_MAP_EXECUTE : 0);
}

/*
 * The exit loop of a hypervisor: run, handle the EPT violation, run again. Returns how many violations were handled;
 * *outcome is the last attempt's.
 */
static unsigned run(const struct vmxsim_access *access, struct vmxsim_outcome *outcome)
{
    unsigned handled = 0;

    for (;;) {
        run_once(access, outcome);
        if (outcome->kind != VMXSIM_OUTCOME_VM_EXIT ||
            outcome->exit_reason != VMXC_EXIT_REASON_EPT_VIOLATION)
            return handled;

        const enum vmxc_fault_result result = vmxc_addrspace_handle_page_fault(
            &space, outcome->guest_physical, rights_of(outcome->qualification));
        printf("\nlibvmxcore: EPT violation at %#" PRIx64 ": %s\n\n", outcome->guest_physical,
               vmxc_fault_result_name(result));
        if (result != VMXC_FAULT_MAPPED && result != VMXC_FAULT_ALREADY_BACKED)
            return handled;
        handled++;
    }
}

static void run_guest(void)
{
    struct vmxsim_outcome outcome;
    struct vmxsim_access access = {.type = VMXSIM_ACCESS_FETCH, .linear = MBYTES(1), .size = 4};

    heading("1. The guest fetches an instruction from linear RAM: mapped from the start");
    expect(run(&access, &outcome) == 0 && outcome.kind == VMXSIM_OUTCOME_COMPLETE,
           "the fetch completes at once");

    heading("2. It writes to lazy RAM: one EPT violation, one frame, then the same access again");
    access = (struct vmxsim_access){
        .type = VMXSIM_ACCESS_WRITE, .linear = LAZY_GPA + 0x123, .size = 8, .data = "vmxsim!"};
    expect(run(&access, &outcome) == 1 && outcome.kind == VMXSIM_OUTCOME_COMPLETE,
           "the write completes");

    heading("3. It reads the bytes back: no violation any more");
    access.type = VMXSIM_ACCESS_READ;
    expect(run(&access, &outcome) == 0 && memcmp(outcome.data, "vmxsim!", 8) == 0,
           "the guest reads what it wrote");

    char seen[8] = "";
    must(vmxc_guest_mem_read(&space, LAZY_GPA + 0x123, seen, sizeof seen), "reading guest memory");
    printf("\nlibvmxcore reads the same bytes: \"%s\"\n", seen);
    expect(strcmp(seen, "vmxsim!") == 0, "hypervisor and guest see the same memory");

    heading("4. It writes across a page boundary: nothing is stored before both pages are there");
    access = (struct vmxsim_access){
        .type = VMXSIM_ACCESS_WRITE, .linear = LAZY_GPA + 0xffc, .size = 8, .data = "crossing"};
    expect(run(&access, &outcome) == 1 && outcome.kind == VMXSIM_OUTCOME_COMPLETE,
           "the crossing write completes");

    heading("5. It reads a device register: no area, so this access is left to fail");
    access =
        (struct vmxsim_access){.type = VMXSIM_ACCESS_READ, .linear = DEVICE_GPA + 0x20, .size = 4};
    expect(run(&access, &outcome) == 0 && outcome.kind == VMXSIM_OUTCOME_VM_EXIT &&
               outcome.guest_physical == DEVICE_GPA + 0x20,
           "the device access exits");
    char *const words = vmxsim_explain_qualification(outcome.qualification);
    expect(words != NULL, "the host has memory for text");
    printf("In words: %sA hypervisor would emulate the device now.\n", words);
    free(words);
}

/* ---- Accounts ---- */

static uint64_t print_leaks(const char *when)
{
    char text[512];

    vmxsim_memory_leak_report(memory, text, sizeof text);
    printf("\nFrames in use %s:\n%s", when, text[0] != '\0' ? text : "none\n");
    return vmxsim_memory_stats(memory).frames_in_use;
}

static void settle_accounts(void)
{
    const struct vmxsim_memory_stats stats = vmxsim_memory_stats(memory);

    heading("The books");
    print_space();
    printf("\nFrames: %" PRIu64 " allocated, %" PRIu64 " given back, %" PRIu64 " in use, %" PRIu64
           " at the peak.\n",
           stats.allocations, stats.frees, stats.frames_in_use, stats.frames_peak);
    print_leaks("while the guest lives");
    vmxc_addrspace_fini(&space);
    expect(print_leaks("after vmxc_addrspace_fini") == 0, "every frame came back");
    expect(vmxsim_memory_stats(memory).double_frees == 0 &&
               vmxsim_memory_stats(memory).foreign_frees == 0,
           "no frame came back twice");
}

int main(void)
{
    heading("A simulated machine");
    const struct vmxsim_profile *const profile = create_machine();

    heading("A guest's physical address space");
    build_space(profile);

    write_guest_tables();
    enter_guest();
    run_guest();

    settle_accounts();
    vmxsim_cpu_destroy(cpu);
    vmxsim_memory_destroy(memory);
    printf("\nEverything went as told.\n");
    return EXIT_SUCCESS;
}
