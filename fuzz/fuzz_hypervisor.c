/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A small hypervisor of libvmxcore's parts on the model's processor: VMXON, a VMCS that is set up, VM entry, VM exits that are
 * read and answered, and the way back; with allocation failures, and with wishes that a processor may not fulfil.
 *
 *  - Whatever fails, frames and control registers are as before once the way back is done.
 *  - A set-up that succeeds enters: the model finds no broken rule.
 *  - What libvmxcore reads of a VM exit is what the guest did.
 *
 * Input: profile (1), processor (2), allocation that fails (1), set-up (1 and what its members take), then guest actions: which
 * (1), operands (4), answer (1).
 */
#include "harness.h"

#include <inttypes.h>
#include <string.h>

#include "vmxcore/caps.h"
#include "vmxcore/defs/msr.h"
#include "vmxcore/defs/paging.h"
#include "vmxcore/exit_info.h"
#include "vmxcore/percpu.h"
#include "vmxcore/vmcs.h"
#include "vmxcore/vmcs_setup.h"
#include "vmxsim/exit.h"
#include "vmxsim/guest.h"
#include "vmxsim/insn_ops.h"
#include "vmxsim/intercept.h"

#define RAM_SIZE (UINT64_C(1) << 20)

enum { PROFILES = 4, MAX_EXITS = 32 };

static struct machine {
    struct vmxsim_memory *memory;
    struct vmxsim_cpu *cpu;
    struct vmxsim_fuzz_loop loop;
} machines[PROFILES];

/* The guest action that led to the last VM exit. */
enum action { NOTHING, IO, MOV_CR, MOV_DR, INSTRUCTION, EXCEPTION, ACTIONS };

/* The hypervisor, and the script that its guest follows. */
struct hypervisor {
    struct vmxsim_insn_ops instance;
    struct vmxc_percpu percpu;
    struct vmxc_region region;
    struct vmxc_io_bitmap io;
    struct vmxc_msr_bitmap msr;
    struct vmxc_vmcs_setup setup;
    bool modest; /* no control was asked for whose fields are the caller's business */
    bool
        stuck; /* such a control is not modelled, or led to a VMX abort: the guest cannot be left */

    struct vmxsim_fuzz_input *input;
    enum action action;
    struct vmxsim_io done_io;
    struct vmxsim_outcome outcome;
    struct vmxsim_exit_context context;
};

static struct vmxsim_entry_report report;

static struct machine *machine_at(unsigned index)
{
    struct machine *const machine = &machines[index];

    if (machine->cpu != NULL)
        return machine;
    machine->memory = harness_memory(RAM_SIZE);
    machine->cpu = harness_processor(machine->memory,
                                     vmxsim_profile_builtin(vmxsim_profile_builtin_name(index)));
    REQUIRE(vmxsim_fuzz_loop_begin(&machine->loop, machine->memory, NULL, 0) == VMXC_OK,
            "no snapshot");
    return machine;
}

/* ---- The guest ---- */

static enum vmxc_status act(struct hypervisor *hypervisor, struct vmxsim_cpu *cpu, uint32_t bits)
{
    const struct vmxsim_operands operands = {
        .register1 = bits & 15,
        .register2 = bits >> 4 & 15,
        .base = bits >> 8 & 15,
        .index = bits >> 12 & 15,
        .scale = bits >> 16 & 3,
        .address_size = (bits >> 18 & 3) % 3,
        .segment = (bits >> 20 & 7) % 6,
        .displacement = bits,
    };
    const struct vmxsim_event event = {
        .vector = bits & 31,
        .type = VMXC_INTERRUPTION_TYPE_HARDWARE_EXCEPTION,
        .has_error_code = bits >> 5 & 1,
        .error_code = bits >> 6 & 0xff,
    };

    switch (hypervisor->action) {
    case IO:
        hypervisor->done_io = (struct vmxsim_io){
            .port = (uint16_t)bits,
            .size = (uint8_t)(1u << (bits >> 16 & 3) % 3),
            .in = bits >> 18 & 1,
            .immediate = (bits >> 19 & 3) == 1,
            .string = (bits >> 19 & 3) == 2,
            .rep = bits >> 21 & 1,
            .count = 1,
        };
        return vmxsim_guest_io(cpu, &hypervisor->done_io, &hypervisor->outcome);
    case MOV_CR:
        return vmxsim_guest_mov_to_cr(cpu, bits & 8, bits >> 4 & 15, bits >> 8,
                                      &hypervisor->outcome);
    case MOV_DR:
        return vmxsim_guest_mov_from_dr(cpu, bits & 7, bits >> 4 & 15, &hypervisor->outcome);
    case INSTRUCTION:
        return vmxsim_guest_instruction(
            cpu, (enum vmxsim_instruction)((bits >> 24) % VMXSIM_INSTRUCTION_COUNT), &operands,
            &hypervisor->outcome);
    case EXCEPTION:
        return vmxsim_guest_exception(cpu, &event, &hypervisor->outcome);
    default:
        return VMXC_NOT_FOUND;
    }
}

/* Acts until something exits; a guest that has nothing more to do exits by CPUID. */
static enum vmxc_status run_guest(void *context, struct vmxsim_cpu *cpu, struct vmxc_gprs *gprs)
{
    struct hypervisor *const hypervisor = context;
    enum vmxc_vmx_abort abort;

    (void)gprs;
    hypervisor->action = (enum action)vmxsim_fuzz_below(hypervisor->input, ACTIONS);
    const uint32_t bits = (uint32_t)vmxsim_fuzz_take(hypervisor->input, 4);
    if (act(hypervisor, cpu, bits) != VMXC_OK ||
        hypervisor->outcome.kind != VMXSIM_OUTCOME_VM_EXIT) {
        hypervisor->action = NOTHING;
        VMXC_TRY(vmxsim_guest_set(cpu, VMXC_VMCS_GUEST_ACTIVITY_STATE, 0));
        VMXC_TRY(
            vmxsim_guest_instruction(cpu, VMXSIM_INSTRUCTION_CPUID, NULL, &hypervisor->outcome));
    }
    const unsigned vectoring = (unsigned)vmxsim_fuzz_take(hypervisor->input, 1);
    hypervisor->context = (struct vmxsim_exit_context){
        .instruction_length = (uint8_t)(1 + vectoring % 15),
        .idt_vectoring_info =
            vectoring & 0x80 ? UINT32_C(0x80000000) | (vectoring & 0x7f) * 17 % 0x800 : 0};
    return vmxsim_vm_exit(cpu, &hypervisor->outcome, &hypervisor->context, &abort);
}

/* ---- The set-up ---- */

static void decode_wishes(struct hypervisor *hypervisor, unsigned bits)
{
    struct vmxsim_fuzz_input *const input = hypervisor->input;
    struct vmxc_vmcs_setup *const setup = &hypervisor->setup;

    hypervisor->modest = (bits & 0xc0) != 0xc0;
    if (!hypervisor->modest) {
        const unsigned word = vmxsim_fuzz_below(input, VMXC_CONTROL_WORD_COUNT);
        setup->request[word].wanted = vmxsim_fuzz_value(input);
        setup->request[word].required = vmxsim_fuzz_value(input);
        return;
    }
    setup->request[VMXC_CONTROL_WORD_PIN].wanted =
        vmxsim_fuzz_take(input, 1) &
        (VMXC_PIN_EXTERNAL_INTERRUPT_EXITING | VMXC_PIN_ACTIVATE_PREEMPTION_TIMER);
    setup->request[VMXC_CONTROL_WORD_PRIMARY].wanted =
        vmxsim_fuzz_take(input, 4) &
        (VMXC_PRIMARY_HLT_EXITING | VMXC_PRIMARY_USE_TSC_OFFSETTING | VMXC_PRIMARY_MOV_DR_EXITING |
         VMXC_PRIMARY_CR8_LOAD_EXITING | VMXC_PRIMARY_RDTSC_EXITING |
         VMXC_PRIMARY_UNCONDITIONAL_IO_EXITING | VMXC_PRIMARY_PAUSE_EXITING);
    setup->request[VMXC_CONTROL_WORD_SECONDARY].wanted =
        vmxsim_fuzz_take(input, 4) &
        (VMXC_SECONDARY_ENABLE_RDTSCP | VMXC_SECONDARY_ENABLE_INVPCID |
         VMXC_SECONDARY_WBINVD_EXITING | VMXC_SECONDARY_DESCRIPTOR_TABLE_EXITING |
         VMXC_SECONDARY_ENABLE_XSAVES_XRSTORS | VMXC_SECONDARY_USE_TSC_SCALING);
    setup->request[VMXC_CONTROL_WORD_EXIT].wanted =
        vmxsim_fuzz_take(input, 4) &
        (VMXC_EXIT_LOAD_PERF_GLOBAL_CTRL | VMXC_EXIT_ACKNOWLEDGE_INTERRUPT | VMXC_EXIT_LOAD_PKRS);
}

static void decode_setup(struct hypervisor *hypervisor)
{
    struct vmxsim_fuzz_input *const input = hypervisor->input;
    const unsigned bits = (unsigned)vmxsim_fuzz_take(input, 1);

    hypervisor->setup = (struct vmxc_vmcs_setup){
        .guest = {.mode = (enum vmxc_guest_mode)(bits % (VMXC_GUEST_MODE_COUNT + 1)),
                  .rip = vmxsim_fuzz_value(input),
                  .rsp = vmxsim_fuzz_value(input),
                  .cr3 = vmxsim_fuzz_value(input),
                  .real_segment = (uint16_t)vmxsim_fuzz_take(input, 2)},
        .eptp = bits & 8 ? 0 : UINT64_C(0x1e) | UINT64_C(0x80000),
        .vpid = bits & 16 ? 0 : 1,
        .io_bitmap = bits & 32 ? &hypervisor->io : NULL,
        .msr_bitmap = bits & 1 ? &hypervisor->msr : NULL,
        .exception_bitmap = (uint32_t)vmxsim_fuzz_value(input),
    };
    decode_wishes(hypervisor, bits);
}

/* ---- VM exits ---- */

static void check_io(const struct vmxc_exit *exit, const struct vmxsim_io *done)
{
    struct vmxc_exit_io io;

    REQUIRE(vmxc_exit_io(exit->qualification, &io) == VMXC_OK, "no I/O: %#" PRIx64,
            exit->qualification);
    REQUIRE(io.port == done->port && io.size == done->size && io.in == done->in &&
                io.string == done->string && io.immediate == done->immediate &&
                io.rep == (done->string && done->rep),
            "I/O is read as %#" PRIx64, exit->qualification);
}

static void accept(enum vmxc_status status)
{
    REQUIRE(status == VMXC_OK || status == VMXC_BAD_FORMAT || status == VMXC_NOT_FOUND,
            "a decoder: status %d", status);
}

/* Decoders accept anything, and name what is wrong with it. */
static void decode_all(const struct vmxc_exit *exit)
{
    struct vmxc_exit_cr cr;
    struct vmxc_exit_io io;
    struct vmxc_exit_apic_access access;
    struct vmxc_exit_instruction instruction;
    struct vmxc_event event;
    bool valid;

    accept(vmxc_exit_cr(exit->qualification, &cr));
    accept(vmxc_exit_io(exit->qualification, &io));
    accept(vmxc_exit_apic_access(exit->qualification, &access));
    accept(vmxc_exit_instruction(exit->reason, exit->instruction_info, &instruction));
    (void)vmxc_exit_dr(exit->qualification);
    (void)vmxc_exit_task_switch(exit->qualification);
    (void)vmxc_exit_nested_fault(exit->qualification, 0, 0, (struct vmxc_ept_mode){0});
    accept(vmxc_event_decode(exit->idt_vectoring_info, exit->idt_vectoring_error_code, &valid,
                             &event));
}

static void check_exit(const struct hypervisor *hypervisor, struct vmxc_exit *exit)
{
    const struct vmxc_insn_ops *const ops = &hypervisor->instance.ops;
    struct vmxc_exit_cr cr;

    REQUIRE(vmxc_exit_read(ops, exit) == VMXC_OK, "the VM exit cannot be read");
    REQUIRE(exit->reason == hypervisor->outcome.exit_reason && !exit->entry_failure, "reason %d",
            exit->reason);
    REQUIRE(vmxc_exit_reason_text(exit->reason) != NULL, "reason %d has no name", exit->reason);
    if (hypervisor->action == IO && exit->reason == VMXC_EXIT_REASON_IO_INSTRUCTION)
        check_io(exit, &hypervisor->done_io);
    if (exit->reason == VMXC_EXIT_REASON_CR_ACCESS)
        REQUIRE(vmxc_exit_cr(exit->qualification, &cr) == VMXC_OK &&
                    cr.access == VMXC_CR_ACCESS_MOV_TO,
                "CR access %#" PRIx64, exit->qualification);
    if (hypervisor->action == MOV_DR && exit->reason == VMXC_EXIT_REASON_MOV_DR)
        REQUIRE(vmxc_exit_dr(exit->qualification).from_dr, "MOV DR");
    decode_all(exit);
}

/* False: the next VM entry need not succeed. */
static bool answer(const struct hypervisor *hypervisor, const struct vmxc_exit *exit)
{
    const struct vmxc_insn_ops *const ops = &hypervisor->instance.ops;
    const unsigned bits = (unsigned)vmxsim_fuzz_take(hypervisor->input, 1);
    const struct vmxc_event event = {.type = (enum vmxc_interruption_type)(bits >> 2 & 7),
                                     .vector = (uint8_t)(bits >> 5),
                                     .instruction_length = bits & 15};
    bool flag = false;

    switch (bits & 3) {
    case 0:
        REQUIRE(vmxc_guest_can_take_interrupt(ops, &flag) == VMXC_OK, "the guest cannot be read");
        return vmxc_event_inject(ops, &event) != VMXC_OK;
    case 1:
        return vmxc_event_reinject(ops, exit, &flag) == VMXC_OK && !flag;
    case 2:
        /* RIP may leave what the guest's mode allows. */
        REQUIRE((vmxc_guest_skip(ops, exit) == VMXC_OK) == (exit->instruction_length != 0),
                "skipping %" PRIu32 " bytes", exit->instruction_length);
        return false;
    default:
        return true;
    }
}

/* ---- Entering ---- */

static const char *broken_rule(void)
{
    return report.violation_count > 0 ? vmxsim_entry_rule_info(report.violation[0].rule)->id
                                      : "none";
}

static void run(struct hypervisor *hypervisor)
{
    const struct vmxc_insn_ops *const ops = &hypervisor->instance.ops;
    struct vmxc_gprs gprs = {{0}};
    struct vmxc_exit exit;
    bool must_enter = hypervisor->modest;

    for (unsigned i = 0; i < MAX_EXITS; i++) {
        const enum vmxc_insn_result result =
            i == 0 ? ops->vmlaunch(ops->context, &gprs) : ops->vmresume(ops->context, &gprs);
        REQUIRE(!must_enter || report.violation_count == 0, "entry %u breaks %s", i, broken_rule());
        hypervisor->stuck =
            hypervisor->instance.status != VMXC_OK ||
            vmxsim_cpu_vmx_state(hypervisor->instance.cpu).mode != VMXSIM_VMX_ROOT ||
            vmxsim_cpu_vmx_state(hypervisor->instance.cpu).aborted;
        REQUIRE(!hypervisor->modest || !hypervisor->stuck, "the guest cannot be left");
        if (hypervisor->stuck || result != VMXC_INSN_VM_EXIT || report.violation_count > 0)
            return;
        check_exit(hypervisor, &exit);
        if (hypervisor->input->left == 0)
            return;
        must_enter = answer(hypervisor, &exit) && must_enter;
    }
}

static void fill_with_ones(const struct vmxc_insn_ops *ops)
{
    for (size_t i = 0; i < VMXC_VMCS_FIELD_COUNT; i++)
        (void)ops->vmwrite(ops->context, vmxc_vmcs_field_at(i)->encoding, UINT64_MAX);
}

static void set_up_and_run(struct hypervisor *hypervisor)
{
    const struct vmxc_insn_ops *const ops = &hypervisor->instance.ops;
    struct vmxc_vmcs_controls controls;
    struct vmxc_vmcs_missing missing = {0};
    char text[256];

    REQUIRE(vmxc_vmcs_load(ops, &hypervisor->region) == VMXC_OK, "no current VMCS");
    if (vmxsim_fuzz_take(hypervisor->input, 1) & 1)
        fill_with_ones(ops);
    decode_setup(hypervisor);
    const enum vmxc_status status = vmxc_vmcs_setup(ops, &hypervisor->setup, &controls, &missing);
    if (status == VMXC_OK) {
        run(hypervisor);
    } else {
        REQUIRE(status == VMXC_UNSUPPORTED || status == VMXC_INVALID_INPUT, "set-up: status %d",
                status);
        REQUIRE(vmxc_vmcs_missing_format(&missing, text, sizeof text) > 0, "nothing is missing");
    }
    (void)ops->vmclear(ops->context, hypervisor->region.frame.hpa);
}

/* ---- The way there and back ---- */

static void with_memory(struct hypervisor *hypervisor, const struct vmxc_hal *hal)
{
    enum vmxc_status status = vmxc_region_init_for(
        &hypervisor->region, hal, hypervisor->percpu.vmx_basic, VMXC_REGION_ORDINARY);
    if (status != VMXC_OK)
        return;
    if (vmxc_io_bitmap_init(&hypervisor->io, hal, VMXC_INTERCEPT) == VMXC_OK) {
        if (vmxc_msr_bitmap_init(&hypervisor->msr, hal, VMXC_PASSTHROUGH) == VMXC_OK) {
            set_up_and_run(hypervisor);
            vmxc_msr_bitmap_fini(&hypervisor->msr);
        }
        vmxc_io_bitmap_fini(&hypervisor->io);
    }
    vmxc_region_fini(&hypervisor->region);
}

static struct vmxsim_root_state decode_processor(struct vmxsim_fuzz_input *input)
{
    const unsigned cr0 = (unsigned)vmxsim_fuzz_take(input, 1);
    const unsigned cr4 = (unsigned)vmxsim_fuzz_take(input, 1);

    return (struct vmxsim_root_state){
        .cr0 = UINT64_C(0x80000011) | (cr0 & 1 ? 0 : VMXC_CR0_NE) |
               (cr0 & 0x80 ? UINT64_C(1) << (cr0 >> 1 & 31) : 0),
        .cr4 = UINT64_C(0x20) | (cr4 & 0x80 ? UINT64_C(1) << (cr4 >> 1 & 31) : 0),
        .efer = 0x500,
    };
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct vmxsim_fuzz_input input = {.next = data, .left = size};
    struct machine *const machine = machine_at(vmxsim_fuzz_below(&input, PROFILES));
    const struct vmxsim_root_state root = decode_processor(&input);
    struct hypervisor hypervisor = {.input = &input};
    struct vmxc_percpu_obstacle obstacle = {.kind = VMXC_PERCPU_NO_OBSTACLE};
    const struct vmxc_hal *const hal = vmxsim_memory_hal(machine->memory);

    harness_next(&machine->loop);
    vmxsim_cpu_reset(machine->cpu, &root);
    vmxsim_insn_ops_init(&hypervisor.instance, machine->cpu, run_guest, &hypervisor);
    hypervisor.instance.report = &report;
    vmxsim_memory_fail_nth(machine->memory, vmxsim_fuzz_take(&input, 1));
    if (vmxc_percpu_enable(&hypervisor.percpu, &hypervisor.instance.ops, hal, false, &obstacle) ==
        VMXC_OK) {
        with_memory(&hypervisor, hal);
        if (hypervisor.stuck)
            return 0;
        REQUIRE(vmxc_percpu_disable(&hypervisor.percpu) == VMXC_OK, "VMX operation does not end");
    } else {
        REQUIRE(vmxc_percpu_obstacle_text(obstacle.kind) != NULL, "obstacle %d", obstacle.kind);
    }
    const struct vmxsim_root_state now = vmxsim_cpu_root_state(machine->cpu);
    REQUIRE((now.cr0 & VMXC_CR0_NE) == (root.cr0 & VMXC_CR0_NE) &&
                (now.cr4 & VMXC_CR4_VMXE) == (root.cr4 & VMXC_CR4_VMXE),
            "CR0 %#" PRIx64 ", CR4 %#" PRIx64, now.cr0, now.cr4);
    REQUIRE(vmxsim_memory_stats(machine->memory).frames_in_use == 0, "frames are left");
    return 0;
}
