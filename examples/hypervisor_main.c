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

#include "hypervisor_guest.h"
#include "vmxcore/defs/guest_state.h"
#include "vmxcore/defs/paging.h"
#include "vmxcore/defs/vmcs.h"
#include "vmxcore/status.h"
#include "vmxsim/exit.h"
#include "vmxsim/guest.h"
#include "vmxsim/hazard.h"
#include "vmxsim/insn_ops.h"
#include "vmxsim/intercept.h"

#define MBYTES(n) ((uint64_t)(n) << 20)

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

/* ---- The guest: instructions with lengths, in a row from HYPERVISOR_GUEST_CODE on ---- */

struct guest;

struct instruction {
    const char *text;
    uint8_t length; /* bytes */
    enum vmxc_gpr gpr;
    uint64_t value;
    enum vmxc_status (*execute)(struct guest *guest, const struct instruction *instruction,
                                struct vmxsim_outcome *outcome);
};

struct guest {
    struct vmxsim_cpu *cpu;
    struct vmxc_gprs *gprs;
    uint32_t interrupts; /* that it has taken */
};

static enum vmxc_status complete(struct vmxsim_outcome *outcome)
{
    *outcome = (struct vmxsim_outcome){.kind = VMXSIM_OUTCOME_COMPLETE};
    return VMXC_OK;
}

static enum vmxc_status execute_move(struct guest *guest, const struct instruction *instruction,
                                     struct vmxsim_outcome *outcome)
{
    guest->gprs->value[instruction->gpr] = instruction->value;
    return complete(outcome);
}

static enum vmxc_status store(struct guest *guest, const struct instruction *instruction,
                              uint8_t size, struct vmxsim_outcome *outcome)
{
    struct vmxsim_access access = {
        .type = VMXSIM_ACCESS_WRITE, .linear = instruction->value, .size = size};

    memcpy(access.data, &guest->gprs->value[instruction->gpr], size);
    return vmxsim_guest_access(guest->cpu, &access, outcome, NULL);
}

static enum vmxc_status execute_store_8(struct guest *guest, const struct instruction *instruction,
                                        struct vmxsim_outcome *outcome)
{
    return store(guest, instruction, 8, outcome);
}

static enum vmxc_status execute_store_4(struct guest *guest, const struct instruction *instruction,
                                        struct vmxsim_outcome *outcome)
{
    return store(guest, instruction, 4, outcome);
}

static enum vmxc_status execute_load_8(struct guest *guest, const struct instruction *instruction,
                                       struct vmxsim_outcome *outcome)
{
    const struct vmxsim_access access = {
        .type = VMXSIM_ACCESS_READ, .linear = instruction->value, .size = 8};

    VMXC_TRY(vmxsim_guest_access(guest->cpu, &access, outcome, NULL));
    if (outcome->kind == VMXSIM_OUTCOME_COMPLETE)
        memcpy(&guest->gprs->value[instruction->gpr], outcome->data, 8);
    return VMXC_OK;
}

static enum vmxc_status execute_cpuid(struct guest *guest, const struct instruction *instruction,
                                      struct vmxsim_outcome *outcome)
{
    (void)instruction;
    return vmxsim_guest_instruction(guest->cpu, VMXSIM_INSTRUCTION_CPUID, NULL, outcome);
}

static enum vmxc_status execute_wrmsr(struct guest *guest, const struct instruction *instruction,
                                      struct vmxsim_outcome *outcome)
{
    const uint64_t *const gpr = guest->gprs->value;

    (void)instruction;
    return vmxsim_guest_wrmsr(guest->cpu, (uint32_t)gpr[VMXC_GPR_RCX],
                              gpr[VMXC_GPR_RDX] << 32 | (uint32_t)gpr[VMXC_GPR_RAX], outcome);
}

static enum vmxc_status execute_rdmsr(struct guest *guest, const struct instruction *instruction,
                                      struct vmxsim_outcome *outcome)
{
    (void)instruction;
    return vmxsim_guest_rdmsr(guest->cpu, (uint32_t)guest->gprs->value[VMXC_GPR_RCX], outcome);
}

static enum vmxc_status execute_out(struct guest *guest, const struct instruction *instruction,
                                    struct vmxsim_outcome *outcome)
{
    const struct vmxsim_io out = {.port = (uint16_t)guest->gprs->value[VMXC_GPR_RDX], .size = 1};

    (void)instruction;
    return vmxsim_guest_io(guest->cpu, &out, outcome);
}

static enum vmxc_status execute_vmcall(struct guest *guest, const struct instruction *instruction,
                                       struct vmxsim_outcome *outcome)
{
    (void)instruction;
    return vmxsim_guest_instruction(guest->cpu, VMXSIM_INSTRUCTION_VMCALL, NULL, outcome);
}

/* Sets IF; interrupts stay blocked for one more instruction. */
static enum vmxc_status execute_sti(struct guest *guest, const struct instruction *instruction,
                                    struct vmxsim_outcome *outcome)
{
    uint64_t rflags;

    (void)instruction;
    VMXC_TRY(vmxsim_guest_get(guest->cpu, VMXC_VMCS_GUEST_RFLAGS, &rflags));
    VMXC_TRY(vmxsim_guest_set(guest->cpu, VMXC_VMCS_GUEST_RFLAGS, rflags | VMXC_RFLAGS_IF));
    VMXC_TRY(vmxsim_guest_set(guest->cpu, VMXC_VMCS_GUEST_INTERRUPTIBILITY_STATE,
                              VMXC_INTERRUPTIBILITY_STI));
    return complete(outcome);
}

/* The one more instruction. */
static enum vmxc_status execute_nop(struct guest *guest, const struct instruction *instruction,
                                    struct vmxsim_outcome *outcome)
{
    (void)instruction;
    VMXC_TRY(vmxsim_guest_set(guest->cpu, VMXC_VMCS_GUEST_INTERRUPTIBILITY_STATE, 0));
    return complete(outcome);
}

static enum vmxc_status execute_hlt(struct guest *guest, const struct instruction *instruction,
                                    struct vmxsim_outcome *outcome)
{
    (void)instruction;
    return vmxsim_guest_instruction(guest->cpu, VMXSIM_INSTRUCTION_HLT, NULL, outcome);
}

static const struct instruction program[] = {
#define GUEST_INSTRUCTION(text, action, register, value, ...) \
    {text, sizeof((const uint8_t[]){__VA_ARGS__}), VMXC_GPR_##register, value, execute_##action},
#include "hypervisor_guest.def"
#undef GUEST_INSTRUCTION
};
#define PROGRAM_LENGTH (sizeof(program) / sizeof(program[0]))

static const struct instruction *instruction_at(uint64_t rip)
{
    uint64_t address = HYPERVISOR_GUEST_CODE;

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
    VMXC_TRY(instruction->execute(guest, instruction, outcome));
    if (outcome->kind != VMXSIM_OUTCOME_COMPLETE)
        return VMXC_OK;
    printf("        guest: %s\n", instruction->text);
    return vmxsim_guest_set(guest->cpu, VMXC_VMCS_GUEST_RIP, fetch.linear + *length);
}

/* What the VM entry delivered. The handler counts; nothing else of the delivery is played. */
static enum vmxc_status take_injected_event(struct guest *guest)
{
    const uint64_t info = VMXSIM_VMCS(vmxsim_exit_vmcs(guest->cpu), VM_ENTRY_INTERRUPTION_INFO);
    struct vmxsim_access count = {
        .type = VMXSIM_ACCESS_WRITE, .linear = HYPERVISOR_GUEST_COUNT, .size = 4};
    struct vmxsim_outcome outcome;

    if (!(info & VMXC_INTERRUPTION_VALID))
        return VMXC_OK;
    printf("        guest: takes event %#" PRIx64 "\n",
           VMXC_FIELD_GET(info, VMXC_INTERRUPTION_VECTOR));
    guest->interrupts += VMXC_FIELD_GET(info, VMXC_INTERRUPTION_VECTOR) == HYPERVISOR_GUEST_VECTOR;
    memcpy(count.data, &guest->interrupts, sizeof(guest->interrupts));
    return vmxsim_guest_access(guest->cpu, &count, &outcome, NULL);
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
    VMXC_TRY(take_injected_event(guest));
    do {
        VMXC_TRY(step(guest, &outcome, &exit_context.instruction_length));
        if (outcome.kind == VMXSIM_OUTCOME_COMPLETE)
            VMXC_TRY(vmxsim_guest_boundary(cpu, &pending, &outcome));
    } while (outcome.kind == VMXSIM_OUTCOME_COMPLETE);
    return vmxsim_vm_exit(cpu, &outcome, &exit_context, &abort_reason);
}

/* ---- The machine ---- */

static void run_hypervisor(struct vmxsim_memory *memory, struct vmxsim_cpu *cpu)
{
    struct vmxsim_insn_ops processor;
    struct guest guest = {.interrupts = 0};
    struct hypervisor hv = {
        .ops = &processor.ops, .hal = vmxsim_memory_hal(memory), .log = log_line};

    vmxsim_insn_ops_init(&processor, cpu, run_guest, &guest);
    must(hypervisor_start(&hv, HYPERVISOR_GUEST_SIZE, &hypervisor_guest_start), "starting");
    must(hypervisor_guest_load(&hv.space), "loading the guest");
    must(hypervisor_run(&hv), "running the guest");
    const char *const wrong = hypervisor_guest_check(&hv.space);
    expect(wrong == NULL, wrong);
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
