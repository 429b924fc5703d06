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

#define MSEG_HPA   UINT64_C(0x8000)

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
    const struct vmxsim_range ram = {.base = 0, .length = RAM_SIZE};
    const struct vmxsim_memory_config config = {.ram = &ram, .ram_count = 1, .no_poison = true};
    uint64_t basic = 0;

    if (machine->memory != NULL)
        return machine;
    machine->profile = index == WITH_SMM_MONITOR
                           ? smm_monitor_profile()
                           : vmxsim_profile_builtin(vmxsim_profile_builtin_name(index));
    REQUIRE(vmxsim_memory_create(&config, &machine->memory, NULL) == VMXC_OK, "no memory");
    for (unsigned i = 0; i < 2; i++)
        REQUIRE(vmxsim_cpu_create(machine->memory, machine->profile, &machine->cpu[i]) == VMXC_OK,
                "no processor");
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
    vmxsim_fuzz_loop_next(&machine->loop);
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

static struct snapshot snapshot(const struct vmxsim_cpu *cpu)
{
    return (struct snapshot){.vmx = vmxsim_cpu_vmx_state(cpu)};
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

    vmxsim_memory_write32(machine->memory, hpa, (uint32_t)vmxsim_fuzz_value(input));
}

/* VMWRITE of a valid state, so that entries succeed; nothing happens without a current VMCS. */
static void fill(const struct machine *machine, struct vmxsim_cpu *cpu,
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
    for (size_t i = 0; i < VMXC_VMCS_FIELD_COUNT; i++)
        if (vmxsim_insn_vmwrite(cpu, vmxsim_vmcs_encoding(i), vmcs.value[i], &result) != VMXC_OK)
            return;
}

/* ---- One step ---- */

static enum vmxc_status execute(struct machine *machine, struct vmxsim_cpu *cpu,
                                enum operation operation, struct vmxsim_fuzz_input *input,
                                struct vmxsim_insn_result *result, uint64_t *operand)
{
    uint64_t descriptor[2];

    switch (operation) {
    case VMXON:
        *operand = address(input);
        return vmxsim_insn_vmxon(cpu, *operand, result);
    case VMXOFF:
        return vmxsim_insn_vmxoff(cpu, result);
    case VMCLEAR:
        *operand = address(input);
        return vmxsim_insn_vmclear(cpu, *operand, result);
    case VMPTRLD:
        *operand = address(input);
        return vmxsim_insn_vmptrld(cpu, *operand, result);
    case VMPTRST:
        return vmxsim_insn_vmptrst(cpu, result);
    case VMREAD:
        *operand = field(input);
        return vmxsim_insn_vmread(cpu, *operand, result);
    case VMWRITE:
        *operand = field(input);
        return vmxsim_insn_vmwrite(cpu, *operand, vmxsim_fuzz_value(input), result);
    case VMLAUNCH:
        return vmxsim_insn_vmlaunch(cpu, NULL, result);
    case VMRESUME:
        return vmxsim_insn_vmresume(cpu, NULL, result);
    case VMCALL:
        return vmxsim_insn_vmcall(cpu, result);
    case VMFUNC:
        *operand = vmxsim_fuzz_take(input, 1);
        return vmxsim_insn_vmfunc(cpu, (uint32_t)*operand, (uint32_t)vmxsim_fuzz_take(input, 2),
                                  result);
    case INVEPT:
    case INVVPID:
        *operand = vmxsim_fuzz_take(input, 1);
        descriptor[0] = vmxsim_fuzz_value(input);
        descriptor[1] = vmxsim_fuzz_value(input);
        return operation == INVEPT ? vmxsim_insn_invept(cpu, *operand, descriptor, result)
                                   : vmxsim_insn_invvpid(cpu, *operand, descriptor, result);
    case MOV_TO_CR0:
        return vmxsim_insn_mov_to_cr0(cpu, vmxsim_fuzz_value(input) ^ UINT64_C(0x80000031), result);
    case MOV_TO_CR4:
        return vmxsim_insn_mov_to_cr4(cpu, vmxsim_fuzz_value(input) ^ UINT64_C(0x2020), result);
    case RDMSR:
        return vmxsim_insn_rdmsr(cpu, (uint32_t)vmxsim_fuzz_value(input), result);
    case WRMSR:
        *operand = vmxsim_fuzz_value(input);
        return vmxsim_insn_wrmsr(cpu, (uint32_t)*operand, vmxsim_fuzz_value(input), result);
    case POKE:
        poke(machine, input);
        return VMXC_BUSY; /* no instruction */
    default:
        fill(machine, cpu, input);
        return VMXC_BUSY;
    }
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
    const enum operation operation = (enum operation)((choice & 127) % OPERATIONS);
    const struct snapshot before = snapshot(cpu);
    struct vmxsim_insn_result result;
    uint64_t operand = 0;

    vmxsim_fuzz_loop_written_pages(&machine->loop, learn_page, machine);
    const enum vmxc_status status = execute(machine, cpu, operation, input, &result, &operand);
    if (status != VMXC_OK) {
        REQUIRE(status == VMXC_BUSY || status == VMXC_UNSUPPORTED || status == VMXC_NO_SPACE ||
                    (status == VMXC_BAD_STATE && before.vmx.aborted),
                "operation %d: status %d", operation, status);
        return;
    }
    const struct snapshot after = snapshot(cpu);
    if (after.vmx.aborted) /* a VMX abort: the processor is shut down */
        return;
    check_result(machine, operation, operand, &before, &after, &result);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct vmxsim_fuzz_input input = {.next = data, .left = size};
    const unsigned profile = (unsigned)vmxsim_fuzz_take(&input, 1);
    struct machine *const machine =
        machine_at(profile & 0x80 ? WITH_SMM_MONITOR : profile % PROFILES);

    start(machine);
    for (unsigned i = 0; i < MAX_STEPS && input.left > 0; i++)
        step(machine, &input);
    return 0;
}
