/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sequences of VMX instructions in VMX root operation. Each step runs with exceptions caught and prints one word:
 *
 *     ok  ok:<value>  invalid  valid:<error>  exception:<vector>:<error code>
 *     exit:<reason>:<qualification>:<interruption information>:<IDT-vectoring information>
 */
#include "payload.h"

#include "internal/string.h"
#include "vmxcore/defs/vmcs.h"
#include "vmxcore/insn_native.h"

enum step_op {
    STEP_VMXON,
    STEP_VMXOFF,
    STEP_VMCLEAR,
    STEP_VMPTRLD,
    STEP_VMPTRST,
    STEP_VMREAD,
    STEP_VMWRITE,
    STEP_VMLAUNCH,
    STEP_VMRESUME,
    STEP_VMCALL,
    STEP_VMFUNC,
    STEP_INVEPT,
    STEP_INVVPID,
    STEP_POKE,
    STEP_PEEK,
    STEP_SET_CR0,
    STEP_SET_CR4,
    STEP_WRMSR,
    STEP_RDMSR,
    STEP_FILL,
};

struct step {
    enum step_op op;
    uint64_t a, b, c; /* operands, as batch.py orders them */
    struct cursor changes;
    uint32_t change_count;

    enum vmxc_insn_result result;
    bool has_value;
    uint64_t value;
};

/* ---- Instructions whose operands are wider than what the seam lets through ---- */

#define VMX_FLAGS(invalid, valid) "=@ccc"(invalid), "=@ccz"(valid)

static enum vmxc_insn_result result_of(bool invalid, bool valid)
{
    if (invalid)
        return VMXC_INSN_FAIL_INVALID;
    return valid ? VMXC_INSN_FAIL_VALID : VMXC_INSN_SUCCEEDED;
}

static enum vmxc_insn_result wide_vmread(uint64_t field, uint64_t *value)
{
    bool invalid, valid;

    __asm__ volatile("vmread %3, %2" : VMX_FLAGS(invalid, valid), "+r"(*value) : "r"(field));
    return result_of(invalid, valid);
}

static enum vmxc_insn_result wide_vmwrite(uint64_t field, uint64_t value)
{
    bool invalid, valid;

    __asm__ volatile("vmwrite %2, %3" : VMX_FLAGS(invalid, valid) : "r"(value), "r"(field));
    return result_of(invalid, valid);
}

struct descriptor {
    uint64_t low, high;
};

enum vmxc_insn_result raw_invept(uint64_t type, uint64_t low, uint64_t high)
{
    const struct descriptor descriptor = {low, high};
    bool invalid, valid;

    __asm__ volatile("invept %2, %3" : VMX_FLAGS(invalid, valid) : "m"(descriptor), "r"(type));
    return result_of(invalid, valid);
}

enum vmxc_insn_result raw_invvpid(uint64_t type, uint64_t low, uint64_t high)
{
    const struct descriptor descriptor = {low, high};
    bool invalid, valid;

    __asm__ volatile("invvpid %2, %3" : VMX_FLAGS(invalid, valid) : "m"(descriptor), "r"(type));
    return result_of(invalid, valid);
}

static enum vmxc_insn_result vmcall(void)
{
    bool invalid, valid;

    __asm__ volatile("vmcall" : VMX_FLAGS(invalid, valid) : : "memory");
    return result_of(invalid, valid);
}

static enum vmxc_insn_result vmfunc(uint64_t function, uint64_t index)
{
    __asm__ volatile("vmfunc" : : "a"(function), "c"(index) : "memory");
    return VMXC_INSN_SUCCEEDED;
}

/* ---- Entering ---- */

static uint64_t field_or(uint32_t field, uint64_t otherwise)
{
    uint64_t value = otherwise;

    (void)vmxc_insn_native.vmread(NULL, field, &value);
    return value;
}

static enum vmxc_insn_result enter(bool resume)
{
    const uint64_t host_rip = field_or(VMXC_VMCS_HOST_RIP, 0);
    const uint64_t host_cr3 = field_or(VMXC_VMCS_HOST_CR3, 0);
    const bool own = !landing_is_kept(host_rip, host_cr3);

    /* The exit loads these from the VMCS; guest_exit must not change them. */
    root_cr0 = field_or(VMXC_VMCS_HOST_CR0, vmxc_insn_native.read_cr0(NULL));
    root_cr4 = field_or(VMXC_VMCS_HOST_CR4, vmxc_insn_native.read_cr4(NULL));
    if (own)
        landing_place(host_rip, host_cr3);
    watchdog_start();
    const enum vmxc_insn_result result = guest_enter(resume);
    watchdog_stop();
    if (own)
        landing_remove(host_rip, host_cr3);
    return result;
}

/* ---- One step ---- */

static void step_value(struct step *step, uint64_t value)
{
    step->has_value = true;
    step->value = value;
}

static enum vmxc_insn_result run_region(struct step *step)
{
    const struct vmxc_insn_ops *const ops = &vmxc_insn_native;

    switch (step->op) {
    case STEP_VMXON:
        return ops->vmxon(NULL, step->a);
    case STEP_VMXOFF:
        return ops->vmxoff(NULL);
    case STEP_VMCLEAR:
        return ops->vmclear(NULL, step->a);
    case STEP_VMPTRLD:
        return ops->vmptrld(NULL, step->a);
    default:
        step->has_value = true;
        return ops->vmptrst(NULL, &step->value);
    }
}

static void current_vmcs_body(void *argument)
{
    (void)vmxc_insn_native.vmptrst(NULL, argument);
}

/* Without a current VMCS, or outside VMX operation, there is nothing to fill. */
static enum vmxc_insn_result run_fill(struct step *step)
{
    uint64_t region_hpa = UINT64_MAX;

    (void)trap_run(current_vmcs_body, &region_hpa);
    if (region_hpa != UINT64_MAX)
        vmcs_write_fields(&step->changes, step->change_count);
    return VMXC_INSN_SUCCEEDED;
}

static enum vmxc_insn_result run_memory(struct step *step)
{
    void *const target = (void *)(uintptr_t)step->a;

    if (step->op == STEP_POKE) {
        memcpy(target, &step->c, step->b);
        return VMXC_INSN_SUCCEEDED;
    }
    step->has_value = true;
    memcpy(&step->value, target, step->b);
    return VMXC_INSN_SUCCEEDED;
}

static enum vmxc_insn_result run_other(struct step *step)
{
    switch (step->op) {
    case STEP_INVEPT:
        return raw_invept(step->a, step->b, step->c);
    case STEP_INVVPID:
        return raw_invvpid(step->a, step->b, step->c);
    case STEP_VMCALL:
        return vmcall();
    case STEP_VMFUNC:
        return vmfunc(step->a, step->b);
    case STEP_SET_CR0:
        return vmxc_insn_native.write_cr0(NULL, step->a);
    case STEP_SET_CR4:
        return vmxc_insn_native.write_cr4(NULL, step->a);
    case STEP_WRMSR:
        return vmxc_insn_native.wrmsr(NULL, (uint32_t)step->a, step->b);
    case STEP_RDMSR:
        step->has_value = true;
        return vmxc_insn_native.rdmsr(NULL, (uint32_t)step->a, &step->value);
    case STEP_FILL:
        return run_fill(step);
    default:
        return run_memory(step);
    }
}

static void step_body(void *argument)
{
    struct step *const step = argument;

    if (step->op <= STEP_VMPTRST)
        step->result = run_region(step);
    else if (step->op == STEP_VMREAD) {
        step_value(step, 0);
        step->result = wide_vmread(step->a, &step->value);
    } else if (step->op == STEP_VMWRITE)
        step->result = wide_vmwrite(step->a, step->b);
    else if (step->op <= STEP_VMRESUME)
        step->result = enter(step->op == STEP_VMRESUME);
    else
        step->result = run_other(step);
}

static void read_error_body(void *argument)
{
    (void)vmxc_insn_native.vmread(NULL, VMXC_VMCS_VM_INSTRUCTION_ERROR, argument);
}

static void print_exit(void)
{
    console_text(" exit:");
    console_hex(field_or(VMXC_VMCS_EXIT_REASON, 0));
    console_text(":");
    console_hex(field_or(VMXC_VMCS_EXIT_QUALIFICATION, 0));
    console_text(":");
    console_hex(field_or(VMXC_VMCS_VM_EXIT_INTERRUPTION_INFO, 0));
    console_text(":");
    console_hex(field_or(VMXC_VMCS_IDT_VECTORING_INFO, 0));
}

static void print_step(const struct step *step)
{
    uint64_t error = 0;

    if (step->result == VMXC_INSN_FAIL_INVALID) {
        console_text(" invalid");
    } else if (step->result == VMXC_INSN_FAIL_VALID) {
        (void)trap_run(read_error_body, &error);
        console_text(" valid:");
        console_hex(error);
    } else if (step->result == VMXC_INSN_VM_EXIT) {
        print_exit();
    } else {
        console_text(step->has_value ? " ok:" : " ok");
        if (step->has_value)
            console_hex(step->value);
    }
}

static void print_exception(void)
{
    console_text(" exception:");
    console_hex(trap_caught.vector);
    if (trap_has_error_code(trap_caught.vector)) {
        console_text(":");
        console_hex(trap_caught.error_code);
    }
}

static void parse_step(struct step *step, struct cursor *cursor)
{
    step->op = take_u8(cursor);
    step->a = take_u64(cursor);
    step->b = take_u64(cursor);
    step->c = take_u64(cursor);
    step->change_count = take_u16(cursor);
    step->changes.next = take_bytes(cursor, 12 * (size_t)step->change_count);
    step->changes.end = cursor->next;
}

static void run_steps(struct cursor *cursor)
{
    for (uint32_t i = take_u16(cursor); i != 0; i--) {
        struct step step = {.changes = {NULL, NULL}};

        parse_step(&step, cursor);
        if (trap_run(step_body, &step) != 0)
            print_exception();
        else
            print_step(&step);
    }
}

void instructions_case_run(const struct batch *batch, uint32_t number, struct cursor *cursor)
{
    const struct root_state *const root = &batch->roots[take_u8(cursor)];
    struct cursor scan;

    (void)number;
    memory_use_template(take_u8(cursor));
    const uint32_t scan_count = take_u16(cursor);
    scan.next = take_bytes(cursor, 2 * (size_t)scan_count);
    scan.end = cursor->next;
    memory_apply(cursor, take_u16(cursor));
    vmx_leave();
    saved_msrs_restore();
    root_state_set(root);
    guest_gprs = (struct vmxc_gprs){.value = {0}};
    run_steps(cursor);
    vmx_leave();
    root_state_set(root);
    memory_restore(&scan, scan_count);
    memory_undo();
}
