/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Experiments with a guest, in the order of what happens:
 *
 *     memory and VMCS as the case says -> registers, nothing cached -> VMLAUNCH or VMRESUME -> what came back
 *         ^                                                                                        |
 *         '-- next round: memory changed, INVEPT, INVVPID; other registers; VMRESUME <-- VMCALL ---'
 *
 * What came back is printed raw; batch.py makes an answer of it.
 */
#include "payload.h"

#include "vmxcore/defs/exit_reason.h"
#include "vmxcore/defs/msr.h"
#include "vmxcore/defs/vmcs.h"
#include "vmxcore/insn_native.h"
#include "vmxcore/vmcs_setup.h"

#define CR4_PKE                UINT64_C(0x400000)
#define ACTIVITY_ACTIVE        0
#define ACTIVITY_WAIT_FOR_SIPI 3
#define BLOCKING_BY_NMI        UINT64_C(0x8)

enum guest_flag {
    FLAG_LAUNCHED = 1,
    FLAG_RESUME = 2,
    FLAG_REPORT_MEMORY = 4,
    FLAG_LANDING = 8,
    FLAG_REPORT_REGISTERS = 16,
};

struct guest_case {
    uint8_t flags, vmcs_template, memory_template, root;
    uint32_t pkru;
    uint64_t landing_rip, landing_cr3; /* where this case, unlike its template, makes the exit go */
    struct cursor fields, gprs, scan, rounds;
    uint32_t field_count, gpr_count, scan_count, round_count;
};

static bool in_vmx;
static uint64_t in_vmx_hpa;

static void vmxoff_body(void *argument)
{
    (void)argument;
    (void)vmxc_insn_native.vmxoff(NULL);
}

/* Leaves VMX operation if the processor is in it; outside, VMXOFF is #UD. */
void vmx_leave(void)
{
    (void)trap_run(vmxoff_body, NULL);
    in_vmx = false;
}

static void write_revision(uint64_t region_hpa)
{
    uint64_t basic = 0;

    (void)msr_read(VMXC_MSR_VMX_BASIC, &basic);
    *(uint32_t *)(uintptr_t)region_hpa = (uint32_t)basic & 0x7fffffff;
}

static void vmxon_body(void *argument)
{
    in_vmx = vmxc_insn_native.vmxon(NULL, *(const uint64_t *)argument) == VMXC_INSN_SUCCEEDED;
}

static bool enter_vmx(const struct batch *batch)
{
    uint64_t region_hpa = batch->vmxon_hpa;

    if (in_vmx && in_vmx_hpa == region_hpa)
        return true;
    write_revision(region_hpa);
    (void)trap_run(vmxon_body, &region_hpa);
    in_vmx_hpa = region_hpa;
    return in_vmx;
}

/* ---- VMCS ---- */

static uint64_t vmread(uint32_t field)
{
    uint64_t value = 0;

    (void)vmxc_insn_native.vmread(NULL, field, &value);
    return value;
}

static void vmwrite(uint32_t field, uint64_t value)
{
    if (vmxc_insn_native.vmwrite(NULL, field, value) != VMXC_INSN_SUCCEEDED)
        console_key("nofield", field);
}

void vmcs_write_fields(struct cursor *fields, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        const uint32_t field = take_u32(fields);
        vmwrite(field, take_u64(fields));
    }
}

/* Every field of the template, then the changes. */
static void vmcs_fill(const struct batch *batch, uint32_t number, struct cursor *changes,
                      uint32_t count)
{
    const size_t size = 8 * (size_t)batch->field_count;
    struct cursor fields = {batch->fields, batch->fields + size / 2};
    struct cursor values = {batch->vmcs_values + number * size,
                            batch->vmcs_values + (number + 1) * size};

    while (fields.next != fields.end) {
        const uint32_t field = take_u32(&fields);
        vmwrite(field, take_u64(&values));
    }
    vmcs_write_fields(changes, count);
}

/* Launch state "launched" takes a launch: of a guest without EPT that leaves with its first instruction. */
static bool launch_idle_guest(void)
{
    const struct vmxc_vmcs_setup setup = {
        .guest = {.mode = VMXC_GUEST_LONG_64,
                  .rip = (uintptr_t)idle_guest,
                  .rsp = (uintptr_t)page_root,
                  .cr3 = (uintptr_t)page_root},
    };
    struct vmxc_vmcs_missing missing = {.field = 0};
    struct vmxc_vmcs_controls controls;
    struct vmxc_gprs gprs = {.value = {0}};

    return vmxc_vmcs_setup(&vmxc_insn_native, &setup, &controls, &missing) == VMXC_OK &&
           vmxc_insn_native.vmlaunch(NULL, &gprs) == VMXC_INSN_VM_EXIT &&
           !(vmread(VMXC_VMCS_EXIT_REASON) >> 31);
}

/* VMX operation, and the batch's VMCS current with launch state clear. */
bool vmcs_load(const struct batch *batch)
{
    uint32_t *const first = (uint32_t *)(uintptr_t)batch->vmcs_hpa;

    if (!enter_vmx(batch))
        return false;
    if (vmxc_insn_native.vmclear(NULL, batch->vmcs_hpa) != VMXC_INSN_SUCCEEDED)
        return false;
    if (*first == 0)
        write_revision(batch->vmcs_hpa);
    return vmxc_insn_native.vmptrld(NULL, batch->vmcs_hpa) == VMXC_INSN_SUCCEEDED;
}

/* ---- The processor ---- */

static void wrpkru(uint32_t pkru)
{
    __asm__ volatile("wrpkru" : : "a"(pkru), "c"(0), "d"(0));
}

static void set_pkru(uint32_t pkru)
{
    if (!cpu_has_pku())
        return;
    (void)vmxc_insn_native.write_cr4(NULL, root_cr4 | CR4_PKE);
    wrpkru(pkru);
    (void)vmxc_insn_native.write_cr4(NULL, root_cr4);
}

static void invalidate_body(void *argument)
{
    (void)argument;
    (void)vmxc_insn_native.invept(NULL, VMXC_INVEPT_ALL, 0);
    (void)vmxc_insn_native.invvpid(NULL, VMXC_INVVPID_ALL, 0, 0);
}

static void set_gprs(struct cursor *gprs, uint32_t count)
{
    guest_gprs = (struct vmxc_gprs){.value = {0}};
    for (uint32_t i = 0; i < count; i++) {
        const uint8_t number = take_u8(gprs);
        guest_gprs.value[number % VMXC_GPR_COUNT] = take_u64(gprs);
    }
}

static void set_processor(struct guest_case *guest)
{
    const uint64_t zero = 0;

    saved_msrs_restore();
    set_gprs(&guest->gprs, guest->gpr_count);
    set_pkru(guest->pkru);
    (void)trap_run(invalidate_body, NULL);
    __asm__ volatile("mov %0, %%cr2" : : "r"(zero));
}

struct entry {
    bool resume;
    enum vmxc_insn_result result;
};

/* Neither the watchdog nor the VMX-preemption timer ends the wait of such a guest. */
static bool waits_for_good(void)
{
    const uint64_t activity = vmread(VMXC_VMCS_GUEST_ACTIVITY_STATE);
    const uint64_t pin_based = vmread(VMXC_VMCS_PIN_BASED_CONTROLS);

    if (activity == ACTIVITY_ACTIVE || activity == ACTIVITY_WAIT_FOR_SIPI)
        return activity == ACTIVITY_WAIT_FOR_SIPI;
    return (vmread(VMXC_VMCS_GUEST_INTERRUPTIBILITY_STATE) & BLOCKING_BY_NMI) &&
           !(pin_based & (VMXC_PIN_VIRTUAL_NMIS | VMXC_PIN_ACTIVATE_PREEMPTION_TIMER));
}

static void enter_body(void *argument)
{
    struct entry *const entry = argument;

    if (waits_for_good()) {
        console_text(" waits ");
        console_show();
    }
    watchdog_start();
    entry->result = guest_enter(entry->resume);
    watchdog_stop();
}

/* ---- More than one round ---- */

enum round_op {
    ROUND_POKE,
    ROUND_INVEPT,
    ROUND_INVVPID,
};

struct round_step {
    enum round_op op;
    uint64_t a, b, c;
};

static void round_step_body(void *argument)
{
    const struct round_step *const step = argument;

    if (step->op == ROUND_POKE)
        *(volatile uint64_t *)(uintptr_t)step->a = step->b;
    else if (step->op == ROUND_INVEPT)
        (void)raw_invept(step->a, step->b, step->c);
    else
        (void)raw_invvpid(step->a, step->b, step->c);
}

/* What happens between two rounds; false: the processor has refused. */
static bool between_rounds(struct cursor *rounds)
{
    bool good = true;

    for (uint32_t i = take_u8(rounds); i != 0; i--) {
        struct round_step step;

        step.op = take_u8(rounds);
        step.a = take_u64(rounds);
        step.b = take_u64(rounds);
        step.c = take_u64(rounds);
        good = good && trap_run(round_step_body, &step) == 0;
    }
    vmwrite(VMXC_VMCS_GUEST_RIP, take_u64(rounds));
    const uint32_t gpr_count = take_u8(rounds);
    set_gprs(rounds, gpr_count);
    return good;
}

/* The rounds behind the first, as long as each ends with VMCALL. */
static int run_rounds(struct guest_case *guest, struct entry *entry)
{
    int caught = 0;

    for (uint32_t i = 1; i <= guest->round_count && !caught && entry->result == VMXC_INSN_VM_EXIT &&
                         vmread(VMXC_VMCS_EXIT_REASON) == VMXC_EXIT_REASON_VMCALL;
         i++) {
        console_text(" w=");
        console_hex(guest_gprs.value[VMXC_GPR_RAX]);
        console_text(":");
        console_hex(guest_gprs.value[VMXC_GPR_RCX]);
        console_text(":");
        console_hex(guest_gprs.value[VMXC_GPR_RDX]);
        console_key("n", i);
        if (!between_rounds(&guest->rounds)) {
            console_text(" refused=invalidation");
            break;
        }
        entry->resume = true;
        caught = trap_run(enter_body, entry);
    }
    return caught;
}

/* ---- What came back ---- */

static void print_exit(void)
{
    static const struct {
        const char *key;
        uint32_t field;
    } fields[] = {
        {"r", VMXC_VMCS_EXIT_REASON},
        {"q", VMXC_VMCS_EXIT_QUALIFICATION},
        {"gl", VMXC_VMCS_GUEST_LINEAR_ADDRESS},
        {"ii", VMXC_VMCS_VM_EXIT_INTERRUPTION_INFO},
        {"ie", VMXC_VMCS_VM_EXIT_INTERRUPTION_ERROR_CODE},
        {"vi", VMXC_VMCS_IDT_VECTORING_INFO},
        {"ve", VMXC_VMCS_IDT_VECTORING_ERROR_CODE},
        {"il", VMXC_VMCS_VM_EXIT_INSTRUCTION_LENGTH},
        {"in", VMXC_VMCS_VM_EXIT_INSTRUCTION_INFO},
        {"rip", VMXC_VMCS_GUEST_RIP},
        {"cs", VMXC_VMCS_GUEST_CS_BASE},
    };
    uint64_t value, cr2;

    __asm__ volatile("mov %%cr2, %0" : "=r"(cr2));
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
        console_key(fields[i].key, vmread(fields[i].field));
    /* Not every processor has these two. */
    if (vmxc_insn_native.vmread(NULL, VMXC_VMCS_GUEST_PHYSICAL_ADDRESS, &value) ==
        VMXC_INSN_SUCCEEDED)
        console_key("gp", value);
    if (vmxc_insn_native.vmread(NULL, VMXC_VMCS_PML_INDEX, &value) == VMXC_INSN_SUCCEEDED)
        console_key("pml", value);
    console_key("cr2", cr2);
    console_key("rax", guest_gprs.value[VMXC_GPR_RAX]);
    console_key("rcx", guest_gprs.value[VMXC_GPR_RCX]);
    console_key("rdx", guest_gprs.value[VMXC_GPR_RDX]);
}

/* General-purpose registers in the order of their numbers, and what else an instruction may change. */
static void print_registers(void)
{
    static const struct {
        const char *key;
        uint32_t field;
    } fields[] = {
        {"cr0", VMXC_VMCS_GUEST_CR0},        {"cr3", VMXC_VMCS_GUEST_CR3},
        {"cr4", VMXC_VMCS_GUEST_CR4},        {"rsp", VMXC_VMCS_GUEST_RSP},
        {"rfl", VMXC_VMCS_GUEST_RFLAGS},     {"sel", VMXC_VMCS_GUEST_CS_SELECTOR},
        {"ss", VMXC_VMCS_GUEST_SS_SELECTOR}, {"int", VMXC_VMCS_GUEST_INTERRUPTIBILITY_STATE},
    };

    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
        console_key(fields[i].key, vmread(fields[i].field));
    console_text(" g=");
    for (size_t i = 0; i < VMXC_GPR_COUNT; i++) {
        if (i != 0)
            console_text(":");
        console_hex(guest_gprs.value[i]);
    }
}

static void print_result(int caught, enum vmxc_insn_result result)
{
    if (caught) {
        console_text(" exception");
        console_key("v", trap_caught.vector);
    } else if (result == VMXC_INSN_FAIL_INVALID) {
        console_text(" invalid");
    } else if (result == VMXC_INSN_FAIL_VALID) {
        console_text(" valid");
        console_key("e", vmread(VMXC_VMCS_VM_INSTRUCTION_ERROR));
    } else {
        console_text(" exit");
        print_exit();
    }
}

/* ---- One case ---- */

static void parse_guest(struct guest_case *guest, struct cursor *cursor)
{
    guest->flags = take_u8(cursor);
    guest->vmcs_template = take_u8(cursor);
    guest->memory_template = take_u8(cursor);
    guest->root = take_u8(cursor);
    guest->pkru = take_u32(cursor);
    guest->landing_rip = take_u64(cursor);
    guest->landing_cr3 = take_u64(cursor);
    guest->gpr_count = take_u8(cursor);
    guest->gprs.next = take_bytes(cursor, 9 * (size_t)guest->gpr_count);
    guest->gprs.end = cursor->next;
    guest->field_count = take_u16(cursor);
    guest->fields.next = take_bytes(cursor, 12 * (size_t)guest->field_count);
    guest->fields.end = cursor->next;
    guest->scan_count = take_u16(cursor);
    guest->scan.next = take_bytes(cursor, 2 * (size_t)guest->scan_count);
    guest->scan.end = cursor->next;
    memory_use_template(guest->memory_template);
    memory_apply(cursor, take_u16(cursor));
    guest->round_count = take_u8(cursor);
    guest->rounds = *cursor;
}

static bool prepare(const struct batch *batch, struct guest_case *guest)
{
    root_state_set(&batch->roots[guest->root]);
    if (!vmcs_load(batch)) {
        console_text(" refused=region");
        return false;
    }
    if ((guest->flags & FLAG_LAUNCHED) && !launch_idle_guest()) {
        console_text(" refused=launch");
        return false;
    }
    vmcs_fill(batch, guest->vmcs_template, &guest->fields, guest->field_count);
    set_processor(guest);
    return true;
}

void guest_case_run(const struct batch *batch, uint32_t number, struct cursor *cursor)
{
    struct guest_case guest;

    (void)number;
    parse_guest(&guest, cursor);
    if (prepare(batch, &guest)) {
        struct entry entry = {.resume = (guest.flags & FLAG_RESUME) != 0};
        if (guest.flags & FLAG_LANDING)
            landing_place(guest.landing_rip, guest.landing_cr3);
        int caught = trap_run(enter_body, &entry);

        if (!caught)
            caught = run_rounds(&guest, &entry);
        if (guest.flags & FLAG_LANDING)
            landing_remove(guest.landing_rip, guest.landing_cr3);
        root_state_set(&batch->roots[guest.root]);
        print_result(caught, entry.result);
        if ((guest.flags & FLAG_REPORT_REGISTERS) && !caught && entry.result == VMXC_INSN_VM_EXIT)
            print_registers();
    }
    if (guest.flags & FLAG_REPORT_MEMORY)
        memory_report(&guest.scan, guest.scan_count);
    else
        memory_restore(&guest.scan, guest.scan_count);
    memory_undo();
}
