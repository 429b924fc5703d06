/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The hypervisor of hypervisor.c on the model: a simulated machine, and a guest that is a list of instructions. The
 * hypervisor does not know where it runs; the guest's instructions fault, exit and complete as a processor's would.
 *
 * The exit status is 0 only if everything went as told.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hypervisor.h"
#include "vmxcore/defs/paging.h"
#include "vmxcore/defs/vmcs.h"
#include "vmxcore/guest_mem.h"
#include "vmxcore/status.h"
#include "vmxsim/exit.h"
#include "vmxsim/guest.h"
#include "vmxsim/hazard.h"
#include "vmxsim/insn_ops.h"
#include "vmxsim/intercept.h"

#define MBYTES(n) ((uint64_t)(n) << 20)

#define GUEST_SIZE MBYTES(8)
#define PML4_GPA   UINT64_C(0x1000)
#define PDPT_GPA   UINT64_C(0x2000)
#define PD_GPA     UINT64_C(0x3000)
#define CODE_GPA   UINT64_C(0x10000)
#define DATA_GPA   UINT64_C(0x400000)
#define STACK_TOP  UINT64_C(0x8000)

#define INTERRUPT_VECTOR 0x20u

static void must(enum vmxc_status status, const char *what)
{
    if (status == VMXC_OK)
        return;
    fprintf(stderr, "hypervisor: %s: %s\n", what, vmxc_status_text(status));
    exit(EXIT_FAILURE);
}

static void expect(bool as_told, const char *what)
{
    if (as_told)
        return;
    fprintf(stderr, "hypervisor: not as told: %s\n", what);
    exit(EXIT_FAILURE);
}

static void VMXC_PRINTF(1, 2) log_line(const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
}

/* ---- The guest: instructions with lengths, in a row from CODE_GPA on ---- */

struct guest;

struct instruction {
    const char *text;
    uint8_t length; /* bytes */
    /* What it does; moves to general-purpose registers in front of it are part of it. */
    enum vmxc_status (*execute)(struct guest *guest, struct vmxsim_outcome *outcome);
};

struct guest {
    struct vmxsim_cpu *cpu;
    struct vmxc_gprs *gprs;
    unsigned interrupts; /* that it has taken */
    bool knows_hypervisor;
    uint64_t msr_value;
};

static enum vmxc_status execute_store(struct guest *guest, struct vmxsim_outcome *outcome)
{
    const struct vmxsim_access access = {
        .type = VMXSIM_ACCESS_WRITE, .linear = DATA_GPA + 0x10, .size = 8, .data = "a guest"};

    return vmxsim_guest_access(guest->cpu, &access, outcome, NULL);
}

static enum vmxc_status execute_cpuid(struct guest *guest, struct vmxsim_outcome *outcome)
{
    guest->gprs->value[VMXC_GPR_RAX] = HYPERVISOR_CPUID_LEAF;
    guest->gprs->value[VMXC_GPR_RCX] = 0;
    return vmxsim_guest_instruction(guest->cpu, VMXSIM_INSTRUCTION_CPUID, NULL, outcome);
}

/* Looks at what CPUID gave. */
static enum vmxc_status execute_compare(struct guest *guest, struct vmxsim_outcome *outcome)
{
    guest->knows_hypervisor = guest->gprs->value[VMXC_GPR_RBX] == 0x63786d76;
    *outcome = (struct vmxsim_outcome){.kind = VMXSIM_OUTCOME_COMPLETE};
    return VMXC_OK;
}

static enum vmxc_status execute_wrmsr(struct guest *guest, struct vmxsim_outcome *outcome)
{
    guest->gprs->value[VMXC_GPR_RCX] = HYPERVISOR_EMULATED_MSR;
    guest->gprs->value[VMXC_GPR_RDX] = 0x1;
    guest->gprs->value[VMXC_GPR_RAX] = 0x2a;
    return vmxsim_guest_wrmsr(guest->cpu, HYPERVISOR_EMULATED_MSR, UINT64_C(0x10000002a), outcome);
}

static enum vmxc_status execute_rdmsr(struct guest *guest, struct vmxsim_outcome *outcome)
{
    guest->gprs->value[VMXC_GPR_RCX] = HYPERVISOR_EMULATED_MSR;
    return vmxsim_guest_rdmsr(guest->cpu, HYPERVISOR_EMULATED_MSR, outcome);
}

/* Prints what RDMSR gave: the low byte, as a character. */
static enum vmxc_status execute_out(struct guest *guest, struct vmxsim_outcome *outcome)
{
    const struct vmxsim_io out = {.port = 0x3f8, .size = 1};
    const uint64_t *const gpr = guest->gprs->value;

    guest->msr_value = gpr[VMXC_GPR_RDX] << 32 | gpr[VMXC_GPR_RAX];
    return vmxsim_guest_io(guest->cpu, &out, outcome);
}

static enum vmxc_status execute_vmcall(struct guest *guest, struct vmxsim_outcome *outcome)
{
    guest->gprs->value[VMXC_GPR_RAX] = HYPERCALL_INTERRUPT_ME;
    guest->gprs->value[VMXC_GPR_RCX] = INTERRUPT_VECTOR;
    return vmxsim_guest_instruction(guest->cpu, VMXSIM_INSTRUCTION_VMCALL, NULL, outcome);
}

/* Sets IF; that interrupts stay blocked for one more instruction is left out. */
static enum vmxc_status execute_sti(struct guest *guest, struct vmxsim_outcome *outcome)
{
    uint64_t rflags;

    *outcome = (struct vmxsim_outcome){.kind = VMXSIM_OUTCOME_COMPLETE};
    VMXC_TRY(vmxsim_guest_get(guest->cpu, VMXC_VMCS_GUEST_RFLAGS, &rflags));
    return vmxsim_guest_set(guest->cpu, VMXC_VMCS_GUEST_RFLAGS, rflags | VMXC_RFLAGS_IF);
}

static enum vmxc_status execute_hlt(struct guest *guest, struct vmxsim_outcome *outcome)
{
    return vmxsim_guest_instruction(guest->cpu, VMXSIM_INSTRUCTION_HLT, NULL, outcome);
}

static const struct instruction program[] = {
    {"MOV [400010H], RAX", 8, execute_store},
    {"CPUID", 2, execute_cpuid},
    {"CMP EBX, \"vmxc\"", 6, execute_compare},
    {"WRMSR", 2, execute_wrmsr},
    {"RDMSR", 2, execute_rdmsr},
    {"OUT DX, AL", 1, execute_out},
    {"VMCALL", 3, execute_vmcall},
    {"STI", 1, execute_sti},
    {"HLT", 1, execute_hlt},
};
#define PROGRAM_LENGTH (sizeof(program) / sizeof(program[0]))

static const struct instruction *instruction_at(uint64_t rip)
{
    uint64_t address = CODE_GPA;

    for (size_t i = 0; i < PROGRAM_LENGTH; i++) {
        if (address == rip)
            return &program[i];
        address += program[i].length;
    }
    return NULL;
}

/* ---- Running it: fetch, execute, boundary; the first VM exit ends the run ---- */

/* The instruction at RIP; RIP moves on if it completes. */
static enum vmxc_status step(struct guest *guest, struct vmxsim_outcome *outcome, uint8_t *length)
{
    struct vmxsim_access fetch = {.type = VMXSIM_ACCESS_FETCH};

    VMXC_TRY(vmxsim_guest_get(guest->cpu, VMXC_VMCS_GUEST_RIP, &fetch.linear));
    const struct instruction *const instruction = instruction_at(fetch.linear);
    if (instruction == NULL)
        return VMXC_NOT_FOUND;
    *length = instruction->length;
    fetch.size = instruction->length;
    VMXC_TRY(vmxsim_guest_access(guest->cpu, &fetch, outcome, NULL));
    if (outcome->kind != VMXSIM_OUTCOME_COMPLETE)
        return VMXC_OK;
    VMXC_TRY(instruction->execute(guest, outcome));
    if (outcome->kind != VMXSIM_OUTCOME_COMPLETE)
        return VMXC_OK;
    printf("        guest: %s\n", instruction->text);
    return vmxsim_guest_set(guest->cpu, VMXC_VMCS_GUEST_RIP, fetch.linear + *length);
}

/* What the VM entry delivered. The handler returns at once: nothing of it is played but that it was there. */
static void take_injected_event(struct guest *guest)
{
    const uint64_t info = VMXSIM_VMCS(vmxsim_exit_vmcs(guest->cpu), VM_ENTRY_INTERRUPTION_INFO);

    if (!(info & VMXC_INTERRUPTION_VALID))
        return;
    guest->interrupts += VMXC_FIELD_GET(info, VMXC_INTERRUPTION_VECTOR) == INTERRUPT_VECTOR;
    printf("        guest: takes event %#" PRIx64 "\n",
           VMXC_FIELD_GET(info, VMXC_INTERRUPTION_VECTOR));
}

static enum vmxc_status run_guest(void *context, struct vmxsim_cpu *cpu, struct vmxc_gprs *gprs)
{
    const struct vmxsim_pending pending = {.instruction_done = true};
    struct vmxsim_exit_context exit_context = {.instruction_length = 0};
    struct guest *const guest = context;
    struct vmxsim_outcome outcome;
    enum vmxc_vmx_abort abort_reason;

    guest->cpu = cpu;
    guest->gprs = gprs;
    take_injected_event(guest);
    do {
        VMXC_TRY(step(guest, &outcome, &exit_context.instruction_length));
        if (outcome.kind == VMXSIM_OUTCOME_COMPLETE)
            VMXC_TRY(vmxsim_guest_boundary(cpu, &pending, &outcome));
    } while (outcome.kind == VMXSIM_OUTCOME_COMPLETE);
    return vmxsim_vm_exit(cpu, &outcome, &exit_context, &abort_reason);
}

/* ---- The machine ---- */

/* What a loader would do: 4-level paging, linear = physical, 2-MByte pages over all of the guest's memory. */
static void load_guest(struct vmxc_addrspace *space)
{
    const uint64_t table = VMXC_PTE_PRESENT | VMXC_PTE_WRITE;

    must(vmxc_guest_mem_write_u64(space, PML4_GPA, PDPT_GPA | table), "writing guest memory");
    must(vmxc_guest_mem_write_u64(space, PDPT_GPA, PD_GPA | table), "writing guest memory");
    for (uint64_t i = 0; i < GUEST_SIZE / VMXC_PAGE_SIZE_2M; i++)
        must(vmxc_guest_mem_write_u64(space, PD_GPA + 8 * i,
                                      i * VMXC_PAGE_SIZE_2M | table | VMXC_PTE_PAGE_SIZE),
             "writing guest memory");
}

static void check_guest(struct hypervisor *hv, const struct guest *guest)
{
    char text[8] = "";

    must(vmxc_guest_mem_read(&hv->space, DATA_GPA + 0x10, text, sizeof(text)),
         "reading guest memory");
    expect(memcmp(text, "a guest", sizeof(text)) == 0, "the guest's store is in its memory");
    expect(guest->knows_hypervisor, "the guest has seen the hypervisor's CPUID leaf");
    expect(guest->msr_value == UINT64_C(0x10000002a), "the guest reads back the MSR it wrote");
    expect(guest->interrupts == 1, "the guest has taken one interrupt");
}

static void run_hypervisor(struct vmxsim_memory *memory, struct vmxsim_cpu *cpu)
{
    const struct vmxc_guest_start start = {
        .mode = VMXC_GUEST_LONG_64, .rip = CODE_GPA, .rsp = STACK_TOP, .cr3 = PML4_GPA};
    struct vmxsim_insn_ops processor;
    struct guest guest = {.interrupts = 0};
    struct hypervisor hv = {
        .ops = &processor.ops, .hal = vmxsim_memory_hal(memory), .log = log_line};

    vmxsim_insn_ops_init(&processor, cpu, run_guest, &guest);
    must(hypervisor_start(&hv, GUEST_SIZE, &start), "starting");
    load_guest(&hv.space);
    must(hypervisor_run(&hv), "running the guest");
    check_guest(&hv, &guest);
    must(hypervisor_stop(&hv), "stopping");
    expect(vmxsim_cpu_vmx_state(cpu).mode == VMXSIM_VMX_OFF, "VMX operation is off");
    expect(vmxsim_hazard_count(memory) == 0, "no region was misused");
}

int main(int argc, char **argv)
{
    const struct vmxsim_range ram = {0, MBYTES(64)};
    const struct vmxsim_memory_config config = {.ram = &ram, .ram_count = 1};
    const struct vmxsim_profile *const profile =
        vmxsim_profile_builtin(argc > 1 ? argv[1] : "icelake");
    struct vmxsim_memory *memory;
    struct vmxsim_cpu *cpu;

    expect(profile != NULL, "there is a profile of this name");
    must(vmxsim_memory_create(&config, &memory, NULL), "creating memory");
    must(vmxsim_cpu_create(memory, profile, &cpu), "creating a processor");
    run_hypervisor(memory, cpu);

    const uint64_t leaked = vmxsim_memory_stats(memory).frames_in_use;
    printf("frames still in use: %" PRIu64 "\n", leaked);
    vmxsim_cpu_destroy(cpu);
    vmxsim_memory_destroy(memory);
    return leaked == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
