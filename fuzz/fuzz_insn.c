/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sequences of VMX instructions on two processors that share regions.
 *
 *  - An instruction that faults or fails changes nothing, but for flags and the VM-instruction error field.
 *  - VMfailValid needs a current VMCS, VMfailInvalid of anything but a pointer needs that there is none.
 *  - What succeeds has the effect that its name says.
 *
 * Input: profile (1 byte; bit 7: with an SMM monitor), then steps: which (1; bit 7: the second processor) and what its operands take.
 */
#include "harness.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmxcore/defs/msr.h"
#include "vmxsim/entry_generate.h"
#include "vmxsim/insn.h"

#define RAM_SIZE   (UINT64_C(64) << 10)
#define REGION(i)  (UINT64_C(0x1000) * (1 + (i)))
#define NO_POINTER UINT64_MAX

#define MSEG_HPA UINT64_C(0x8000)

enum { PROFILES = 4, WITH_SMM_MONITOR = PROFILES, MACHINES, REGIONS = 6, MAX_STEPS = 128 };
enum operation {
    VMXON,
    VMXOFF,
    VMCLEAR,
    VMPTRLD,
    VMPTRST,
    VMREAD,
    VMWRITE,
    VMLAUNCH,
    VMRESUME,
    VMCALL,
    VMFUNC,
    INVEPT,
    INVVPID,
    MOV_TO_CR0,
    MOV_TO_CR4,
    RDMSR,
    WRMSR,
    POKE,
    FILL,
    OPERATIONS
};

static struct machine {
    const struct vmxsim_profile *profile;
    struct vmxsim_memory *memory;
    struct vmxsim_cpu *cpu[2];
    uint32_t revision;
    struct vmxsim_fuzz_loop loop;
    uint8_t fresh[RAM_SIZE]; /* what an input finds in memory */
    uint8_t known[RAM_SIZE]; /* what memory holds, as far as instructions may have changed it */
} machines[MACHINES];

/* What a failing instruction must leave alone, besides memory. */
struct snapshot {
    struct vmxsim_vmx_state vmx;
    struct vmxsim_digest memory; /* for reproducers; otherwise 0 */
};

/* ---- Set-up ---- */

/* Where every input begins. */
static void prepare(struct machine *machine)
{
    const struct vmxsim_root_state root = {.cr0 = 0x80000031, .cr4 = 0x2020, .efer = 0x500};

    for (unsigned i = 0; i < 2; i++)
        vmxsim_cpu_reset(machine->cpu[i], &root);
    for (unsigned i = 0; i < REGIONS; i++)
        vmxsim_memory_write32(machine->memory, REGION(i), machine->revision);
    vmxsim_memory_read(machine->memory, 0, machine->fresh, sizeof machine->fresh);
    memcpy(machine->known, machine->fresh, sizeof machine->known);
    REQUIRE(vmxsim_fuzz_loop_begin(&machine->loop, machine->memory, NULL, 0) == VMXC_OK,
            "no snapshot");
}

static void set_msr(json_t *msrs, const char *msr, uint64_t bits)
{
    const char *const old = json_string_value(json_object_get(msrs, msr));
    char text[32];

    (void)snprintf(text, sizeof text, "0x%" PRIx64,
                   bits | (old != NULL ? (uint64_t)strtoull(old, NULL, 16) : 0));
    REQUIRE(json_object_set_new(msrs, msr, json_string(text)) == 0, "no MSR %s", msr);
}

/* "everything" with an SMM monitor: VMCALL looks at its MSEG header. */
static const struct vmxsim_profile *smm_monitor_profile(void)
{
    char *text = vmxsim_profile_to_json(vmxsim_profile_builtin("everything"));
    json_t *const json = text != NULL ? json_loads(text, 0, NULL) : NULL;
    json_t *const msrs = json_object_get(json, "msr");
    struct vmxsim_profile *profile = NULL;
    struct vmxsim_error error;

    free(text);
    set_msr(msrs, "0x480", VMXC_VMX_BASIC_DUAL_MONITOR);
    set_msr(msrs, "0x9b", MSEG_HPA | VMXC_SMM_MONITOR_CTL_VALID);
    text = json_dumps(json, JSON_COMPACT);
    json_decref(json);
    REQUIRE(text != NULL && vmxsim_profile_from_json(text, strlen(text), "SMM monitor", &profile,
                                                     &error) == VMXC_OK,
            "no profile: %s", error.text);
    free(text);
    return profile;
}

static struct machine *machine_at(unsigned index)
{
    struct machine *const machine = &machines[index];
    uint64_t basic = 0;

    if (machine->memory != NULL)
        return machine;
    machine->profile = index == WITH_SMM_MONITOR
                           ? smm_monitor_profile()
                           : vmxsim_profile_builtin(vmxsim_profile_builtin_name(index));
    machine->memory = harness_memory(RAM_SIZE);
    for (unsigned i = 0; i < 2; i++)
        machine->cpu[i] = harness_processor(machine->memory, machine->profile);
    REQUIRE(vmxsim_profile_msr(machine->profile, VMXC_MSR_VMX_BASIC, &basic) == VMXC_OK, "no VMX");
    machine->revision = (uint32_t)(basic & VMXC_VMX_BASIC_REVISION);
    prepare(machine);
    return machine;
}

/* ---- Memory ---- */

static void forget_page(void *context, uint64_t hpa, const uint8_t *bytes)
{
    struct machine *const machine = context;

    (void)bytes;
    memcpy(machine->known + hpa, machine->fresh + hpa, VMXC_PAGE_SIZE);
}

static void start(struct machine *machine)
{
    vmxsim_fuzz_loop_written_pages(&machine->loop, forget_page, machine);
    harness_next(&machine->loop);
}

static void learn_page(void *context, uint64_t hpa, const uint8_t *bytes)
{
    struct machine *const machine = context;

    if (memcmp(machine->known + hpa, bytes, VMXC_PAGE_SIZE) != 0)
        memcpy(machine->known + hpa, bytes, VMXC_PAGE_SIZE);
}

static void compare_page(void *context, uint64_t hpa, const uint8_t *bytes)
{
    const struct machine *const machine = context;

    REQUIRE(memcmp(machine->known + hpa, bytes, VMXC_PAGE_SIZE) == 0,
            "an instruction that did nothing changes page %#" PRIx64, hpa);
}

static struct snapshot snapshot(const struct machine *machine, const struct vmxsim_cpu *cpu)
{
    return (struct snapshot){.vmx = vmxsim_cpu_vmx_state(cpu),
                             .memory = reproducing ? vmxsim_memory_digest(machine->memory)
                                                   : (struct vmxsim_digest){.low = 0}};
}

/* ---- Notes ---- */

/* The processor with an SMM monitor is none of the built-in ones: "everything" comes nearest. */
static void note_set_up(const struct machine *machine, bool smm_monitor)
{
    reproduce_machine(RAM_SIZE, smm_monitor ? "everything" : vmxsim_profile_name(machine->profile),
                      true);
    reproduce_pointer("struct vmxsim_cpu", "second");
    reproduce_value("struct vmxsim_root_state", "root");
    reproduce_value("struct vmxsim_insn_result", "result");
    reproduce_value("struct vmxsim_vmcs", "descriptor"); /* for its array */
    REPRODUCE_CALL(VMXC_OK, "vmxsim_cpu_create(memory, vmxsim_profile_builtin(\"%s\"), &second)",
                   smm_monitor ? "everything" : vmxsim_profile_name(machine->profile));
    reproduce_member("root", "cr0", 0x80000031);
    reproduce_member("root", "cr4", 0x2020);
    reproduce_member("root", "efer", 0x500);
    REPRODUCE("vmxsim_cpu_reset(cpu, &root)");
    REPRODUCE("vmxsim_cpu_reset(second, &root)");
    for (unsigned i = 0; i < REGIONS; i++)
        REPRODUCE("vmxsim_memory_write32(memory, 0x%" PRIx64 ", 0x%" PRIx32 ")", REGION(i),
                  machine->revision);
}

/* ---- Operands ---- */

/* Mostly a region; now and then any address. */
static uint64_t address(struct vmxsim_fuzz_input *input)
{
    const unsigned choice = (unsigned)vmxsim_fuzz_take(input, 1);

    return choice < 240 ? REGION(choice % REGIONS) : vmxsim_fuzz_value(input);
}

/* Mostly a field by ordinal, its high half in one of four; now and then any encoding. */
static uint64_t field(struct vmxsim_fuzz_input *input)
{
    const unsigned choice = (unsigned)vmxsim_fuzz_take(input, 2);

    if (choice >= 0xf000)
        return vmxsim_fuzz_value(input);
    return vmxsim_vmcs_encoding(choice % VMXC_VMCS_FIELD_COUNT) | (choice >> 12 == 0 ? 1u : 0u);
}

static void poke(struct machine *machine, struct vmxsim_fuzz_input *input)
{
    const uint32_t where = vmxsim_fuzz_below(input, (uint32_t)RAM_SIZE);
    const uint64_t hpa = (where & 0xff) == 0xff ? MSEG_HPA + (where >> 8 & 4) : where;

    const uint32_t value = (uint32_t)vmxsim_fuzz_value(input);
    REPRODUCE("vmxsim_memory_write32(memory, 0x%" PRIx64 ", 0x%" PRIx32 ")", hpa, value);
    vmxsim_memory_write32(machine->memory, hpa, value);
}

/* VMWRITE of a valid state, so that entries succeed; nothing happens without a current VMCS. */
static void fill(const struct machine *machine, struct vmxsim_cpu *cpu, bool second,
                 struct vmxsim_fuzz_input *input)
{
    struct vmxsim_vmcs vmcs;
    struct vmxsim_insn_result result;
    uint64_t random = vmxsim_fuzz_take(input, 2);
    struct vmxsim_entry_broken broken;
    const struct vmxsim_entry_processor processor = vmxsim_entry_processor_default(REGION(0));

    memset(&vmcs, 0, sizeof vmcs);
    vmxsim_entry_round(machine->profile, &processor, &vmcs);
    vmxsim_entry_break(machine->profile, &vmcs, random >> 8 ? 1 : 0, &random, &broken);
    for (size_t i = 0; i < VMXC_VMCS_FIELD_COUNT; i++) {
        const uint32_t encoding = vmxsim_vmcs_encoding(i);
        const enum vmxc_status status = vmxsim_insn_vmwrite(cpu, encoding, vmcs.value[i], &result);
        REPRODUCE_CALL(status, "vmxsim_insn_vmwrite(%s, 0x%" PRIx32 ", 0x%" PRIx64 ", &result)",
                       second ? "second" : "cpu", encoding, vmcs.value[i]);
        if (status != VMXC_OK)
            return;
    }
}

/* ---- One step ---- */

/* An instruction and its operands; of INVEPT and INVVPID: the type, and the descriptor. */
struct instruction {
    enum operation operation;
    bool second; /* on the second processor */
    uint64_t a, b, descriptor[2];
};

static void decode(struct vmxsim_fuzz_input *input, struct instruction *instruction)
{
    switch (instruction->operation) {
    case VMXON:
    case VMCLEAR:
    case VMPTRLD:
        instruction->a = address(input);
        break;
    case VMREAD:
    case VMWRITE:
        instruction->a = field(input);
        instruction->b = instruction->operation == VMWRITE ? vmxsim_fuzz_value(input) : 0;
        break;
    case VMFUNC:
        instruction->a = vmxsim_fuzz_take(input, 1);
        instruction->b = vmxsim_fuzz_take(input, 2);
        break;
    case INVEPT:
    case INVVPID:
        instruction->a = vmxsim_fuzz_take(input, 1);
        instruction->descriptor[0] = vmxsim_fuzz_value(input);
        instruction->descriptor[1] = vmxsim_fuzz_value(input);
        break;
    case MOV_TO_CR0:
        instruction->a = vmxsim_fuzz_value(input) ^ UINT64_C(0x80000031);
        break;
    case MOV_TO_CR4:
        instruction->a = vmxsim_fuzz_value(input) ^ UINT64_C(0x2020);
        break;
    case RDMSR:
    case WRMSR:
        instruction->a = vmxsim_fuzz_value(input) & UINT32_MAX;
        instruction->b = instruction->operation == WRMSR ? vmxsim_fuzz_value(input) : 0;
        break;
    default:
        break;
    }
}

static enum vmxc_status execute(struct vmxsim_cpu *cpu, const struct instruction *instruction,
                                struct vmxsim_insn_result *result)
{
    const uint64_t a = instruction->a, b = instruction->b;

    switch (instruction->operation) {
    case VMXON:
        return vmxsim_insn_vmxon(cpu, a, result);
    case VMXOFF:
        return vmxsim_insn_vmxoff(cpu, result);
    case VMCLEAR:
        return vmxsim_insn_vmclear(cpu, a, result);
    case VMPTRLD:
        return vmxsim_insn_vmptrld(cpu, a, result);
    case VMPTRST:
        return vmxsim_insn_vmptrst(cpu, result);
    case VMREAD:
        return vmxsim_insn_vmread(cpu, a, result);
    case VMWRITE:
        return vmxsim_insn_vmwrite(cpu, a, b, result);
    case VMLAUNCH:
        return vmxsim_insn_vmlaunch(cpu, NULL, result);
    case VMRESUME:
        return vmxsim_insn_vmresume(cpu, NULL, result);
    case VMCALL:
        return vmxsim_insn_vmcall(cpu, result);
    case VMFUNC:
        return vmxsim_insn_vmfunc(cpu, (uint32_t)a, (uint32_t)b, result);
    case INVEPT:
        return vmxsim_insn_invept(cpu, a, instruction->descriptor, result);
    case INVVPID:
        return vmxsim_insn_invvpid(cpu, a, instruction->descriptor, result);
    case MOV_TO_CR0:
        return vmxsim_insn_mov_to_cr0(cpu, a, result);
    case MOV_TO_CR4:
        return vmxsim_insn_mov_to_cr4(cpu, a, result);
    case RDMSR:
        return vmxsim_insn_rdmsr(cpu, (uint32_t)a, result);
    default:
        return vmxsim_insn_wrmsr(cpu, (uint32_t)a, b, result);
    }
}

static void note_instruction(const struct instruction *instruction, enum vmxc_status status)
{
    static const struct {
        const char *name, *operands; /* a and b, as printf takes them */
    } forms[OPERATIONS] = {
        [VMXON] = {"vmxon", "0x%llx, "},
        [VMXOFF] = {"vmxoff", ""},
        [VMCLEAR] = {"vmclear", "0x%llx, "},
        [VMPTRLD] = {"vmptrld", "0x%llx, "},
        [VMPTRST] = {"vmptrst", ""},
        [VMREAD] = {"vmread", "0x%llx, "},
        [VMWRITE] = {"vmwrite", "0x%llx, 0x%llx, "},
        [VMLAUNCH] = {"vmlaunch", "NULL, "},
        [VMRESUME] = {"vmresume", "NULL, "},
        [VMCALL] = {"vmcall", ""},
        [VMFUNC] = {"vmfunc", "0x%llx, 0x%llx, "},
        [INVEPT] = {"invept", "0x%llx, descriptor.value, "},
        [INVVPID] = {"invvpid", "0x%llx, descriptor.value, "},
        [MOV_TO_CR0] = {"mov_to_cr0", "0x%llx, "},
        [MOV_TO_CR4] = {"mov_to_cr4", "0x%llx, "},
        [RDMSR] = {"rdmsr", "0x%llx, "},
        [WRMSR] = {"wrmsr", "0x%llx, 0x%llx, "},
    };
    char operands[64];

    if (!reproducing)
        return;
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    (void)snprintf(operands, sizeof operands, forms[instruction->operation].operands,
                   (unsigned long long)instruction->a, (unsigned long long)instruction->b);
#pragma GCC diagnostic pop
    for (unsigned i = 0; i < 2; i++)
        reproduce("descriptor.value[%u] = 0x%" PRIx64, i, instruction->descriptor[i]);
    reproduce_call(status, "vmxsim_insn_%s(%s, %s&result)", forms[instruction->operation].name,
                   instruction->second ? "second" : "cpu", operands);
}

/* A current VMCS that the other processor stores to may change under this one; VMLAUNCH stores the launch state. */
static void check_unchanged(struct machine *machine, const struct snapshot *before,
                            const struct snapshot *after, const char *what)
{
    vmxsim_fuzz_loop_written_pages(&machine->loop, compare_page, machine);
    REQUIRE(before->vmx.mode == after->vmx.mode &&
                before->vmx.current_vmcs == after->vmx.current_vmcs &&
                before->vmx.vmxon_pointer == after->vmx.vmxon_pointer &&
                before->vmx.launched == after->vmx.launched,
            "%s changes the VMX state", what);
}

static void check_effect(enum operation operation, uint64_t operand,
                         const struct vmxsim_vmx_state *before,
                         const struct vmxsim_vmx_state *after,
                         const struct vmxsim_insn_result *result)
{
    switch (operation) {
    case VMXON:
        REQUIRE(after->mode == VMXSIM_VMX_ROOT && after->vmxon_pointer == operand &&
                    after->current_vmcs == NO_POINTER,
                "VMXON of %#" PRIx64, operand);
        break;
    case VMXOFF:
        REQUIRE(after->mode == VMXSIM_VMX_OFF, "VMXOFF");
        break;
    case VMCLEAR:
        REQUIRE(after->current_vmcs ==
                    (before->current_vmcs == operand ? NO_POINTER : before->current_vmcs),
                "VMCLEAR of %#" PRIx64, operand);
        break;
    case VMPTRLD:
        REQUIRE(after->current_vmcs == operand, "VMPTRLD of %#" PRIx64, operand);
        break;
    case VMPTRST:
        REQUIRE(result->value == before->current_vmcs, "VMPTRST reads %#" PRIx64, result->value);
        break;
    default:
        break;
    }
}

/* What an instruction that does nothing leaves alone; and of the others, what is easily said. */
static void note_looks(const struct instruction *instruction, const struct snapshot *before,
                       const struct vmxsim_insn_result *result)
{
    const char *const cpu = instruction->second ? "second" : "cpu";
    const struct vmxsim_vmx_state *const vmx = &before->vmx;
    const bool nothing = result->kind == VMXSIM_INSN_FAIL_INVALID ||
                         result->kind == VMXSIM_INSN_FAIL_VALID ||
                         result->kind == VMXSIM_INSN_EXCEPTION;

    reproduce_look_begin();
    if (nothing) {
        REPRODUCE_LOOK(before->memory.low, "vmxsim_memory_digest(memory).low");
        REPRODUCE_LOOK(vmx->mode, "vmxsim_cpu_vmx_state(%s).mode", cpu);
        REPRODUCE_LOOK(vmx->current_vmcs, "vmxsim_cpu_vmx_state(%s).current_vmcs", cpu);
        REPRODUCE_LOOK(vmx->vmxon_pointer, "vmxsim_cpu_vmx_state(%s).vmxon_pointer", cpu);
    } else if (result->kind == VMXSIM_INSN_SUCCEEDED && instruction->operation == VMXON) {
        REPRODUCE_LOOK(VMXSIM_VMX_ROOT, "vmxsim_cpu_vmx_state(%s).mode", cpu);
        REPRODUCE_LOOK(instruction->a, "vmxsim_cpu_vmx_state(%s).vmxon_pointer", cpu);
        REPRODUCE_LOOK(NO_POINTER, "vmxsim_cpu_vmx_state(%s).current_vmcs", cpu);
    } else if (result->kind == VMXSIM_INSN_SUCCEEDED && instruction->operation == VMPTRLD) {
        REPRODUCE_LOOK(instruction->a, "vmxsim_cpu_vmx_state(%s).current_vmcs", cpu);
    } else if (result->kind == VMXSIM_INSN_SUCCEEDED && instruction->operation == VMPTRST) {
        REPRODUCE_LOOK(vmx->current_vmcs, "result.value");
    }
}

static void check_result(struct machine *machine, enum operation operation, uint64_t operand,
                         const struct snapshot *before, const struct snapshot *after,
                         const struct vmxsim_insn_result *result)
{
    REQUIRE((result->kind == VMXSIM_INSN_ENTERED) ==
                (after->vmx.mode == VMXSIM_VMX_NON_ROOT && before->vmx.mode != VMXSIM_VMX_NON_ROOT),
            "kind %d, mode %d after %d", result->kind, after->vmx.mode, before->vmx.mode);
    switch (result->kind) {
    case VMXSIM_INSN_SUCCEEDED:
        check_effect(operation, operand, &before->vmx, &after->vmx, result);
        break;
    case VMXSIM_INSN_FAIL_INVALID:
        check_unchanged(machine, before, after, "VMfailInvalid");
        break;
    case VMXSIM_INSN_FAIL_VALID:
        REQUIRE(before->vmx.current_vmcs != NO_POINTER, "VMfailValid without a current VMCS");
        REQUIRE(result->error >= 1 && result->error <= 28, "error %d", result->error);
        check_unchanged(machine, before, after, "VMfailValid");
        break;
    case VMXSIM_INSN_EXCEPTION:
        check_unchanged(machine, before, after, "an exception");
        break;
    case VMXSIM_INSN_VM_EXIT:
        REQUIRE(before->vmx.mode == VMXSIM_VMX_NON_ROOT, "a VM exit from mode %d",
                before->vmx.mode);
        break;
    case VMXSIM_INSN_ENTERED:
    case VMXSIM_INSN_ENTRY_FAILURE:
        REQUIRE(operation == VMLAUNCH || operation == VMRESUME, "operation %d enters", operation);
        break;
    default:
        REQUIRE(false, "no result");
    }
}

static void step(struct machine *machine, struct vmxsim_fuzz_input *input)
{
    const unsigned choice = (unsigned)vmxsim_fuzz_take(input, 1);
    struct vmxsim_cpu *const cpu = machine->cpu[choice >> 7];
    struct instruction instruction = {.operation = (enum operation)((choice & 127) % OPERATIONS),
                                      .second = choice >> 7};
    const enum operation operation = instruction.operation;
    struct vmxsim_insn_result result;

    if (operation == POKE) {
        poke(machine, input);
        return;
    }
    if (operation == FILL) {
        fill(machine, cpu, instruction.second, input);
        return;
    }
    decode(input, &instruction);
    vmxsim_fuzz_loop_written_pages(&machine->loop, learn_page, machine);
    const struct snapshot before = snapshot(machine, cpu);
    const enum vmxc_status status = execute(cpu, &instruction, &result);
    note_instruction(&instruction, status);
    if (status != VMXC_OK) {
        REQUIRE(status == VMXC_BUSY || status == VMXC_UNSUPPORTED || status == VMXC_NO_SPACE ||
                    (status == VMXC_BAD_STATE && before.vmx.aborted),
                "operation %d: status %d", operation, status);
        return;
    }
    note_looks(&instruction, &before, &result);
    const struct snapshot after = snapshot(machine, cpu);
    if (after.vmx.aborted) /* a VMX abort: the processor is shut down */
        return;
    check_result(machine, operation, instruction.a, &before, &after, &result);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct vmxsim_fuzz_input input = {.next = data, .left = size};
    const unsigned profile = (unsigned)vmxsim_fuzz_take(&input, 1);
    struct machine *const machine =
        machine_at(profile & 0x80 ? WITH_SMM_MONITOR : profile % PROFILES);

    start(machine);
    harness_reproduces(data, size);
    if (reproducing)
        note_set_up(machine, profile & 0x80);
    for (unsigned i = 0; i < MAX_STEPS && input.left > 0; i++)
        step(machine, &input);
    return 0;
}
