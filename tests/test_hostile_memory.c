/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory that was laid out to hurt: whatever the processor takes an address for (tables, bitmaps, lists, logs, pages of
 * its own) lies on something else: on the VMCS, on the VMXON region, on itself, in a hole, at the end of memory.
 * Nothing of it is an error of the model. Every step ends, says what it came to, and does the same when it is repeated
 * on another machine; the sanitizers see reads outside of the memory.
 */
#include "support/entry_edge.h"
#include "support/insn_machine.h"
#include "support/require.h"
#include "support/rng.h"
#include "support/suite.h"
#include "vmxcore/defs/ept.h"
#include "vmxsim/entry_generate.h"
#include "vmxsim/exit.h"
#include "vmxsim/guest.h"
#include "vmxsim/intercept.h"

#include <check.h>
#include <stdio.h>
#include <string.h>

#define PAGE VMXC_PAGE_SIZE
#define RAM  (UINT64_C(32) << 20) /* insn_machine's */

/* ---- Where things may lie ---- */

#define TABLE \
    UINT64_C(0x20000) /* an EPT page each of whose entries names the page itself, with all rights */
#define LARGE \
    UINT64_C( \
        0x21000) /* ... whose entries are 1-GByte and 2-MByte pages, or tables with reserved bits */
#define LISTS  UINT64_C(0x22000) /* what looks like MSR-list entries */
#define RANDOM UINT64_C(0x23000)

static const struct place {
    const char *name;
    uint64_t hpa;
} places[] = {
    {"the current VMCS", REGION_A},
    {"another processor's VMCS", REGION_B},
    {"the VMXON region", REGION_VMXON},
    {"a table that names itself", TABLE},
    {"large pages", LARGE},
    {"list entries", LISTS},
    {"random bytes", RANDOM},
    {"page 0", 0},
    {"the last page", RAM - PAGE},
    {"the first byte behind memory", RAM},
    {"a hole", UINT64_C(1) << 40},
    {"the last page of all", VMXC_BITS(51, 12)},
};

#define PLACES (sizeof places / sizeof *places)

static const uint16_t pointers[] = {
    F(IO_BITMAP_A_ADDRESS),
    F(IO_BITMAP_B_ADDRESS),
    F(MSR_BITMAP_ADDRESS),
    F(VM_EXIT_MSR_STORE_ADDRESS),
    F(VM_EXIT_MSR_LOAD_ADDRESS),
    F(VM_ENTRY_MSR_LOAD_ADDRESS),
    F(PML_ADDRESS),
    F(VIRTUAL_APIC_ADDRESS),
    F(APIC_ACCESS_ADDRESS),
    F(POSTED_INTERRUPT_DESCRIPTOR_ADDRESS),
    F(EPT_POINTER),
    F(EPTP_LIST_ADDRESS),
    F(VMREAD_BITMAP_ADDRESS),
    F(VMWRITE_BITMAP_ADDRESS),
    F(VIRTUALIZATION_EXCEPTION_INFO_ADDRESS),
    F(SUB_PAGE_PERMISSION_TABLE_POINTER),
    F(VMCS_LINK_POINTER),
    F(GUEST_CR3),
    F(GUEST_IDTR_BASE),
    F(GUEST_TR_BASE),
};

#define POINTERS (sizeof pointers / sizeof *pointers)

static void fill_page(struct vmxsim_memory *memory, uint64_t hpa, uint64_t word, uint64_t stride)
{
    for (uint64_t i = 0; i < PAGE / 8; i++)
        vmxsim_memory_write64(memory, hpa + 8 * i, word + stride * i);
}

static void lay_out(struct vmxsim_memory *memory, struct rng *rng)
{
    fill_page(memory, TABLE, TABLE | VMXC_EPT_RWX | VMXC_EPT_USER_EXECUTE, 0);
    fill_page(memory, LARGE, VMXC_EPT_RWX | 6 << 3 | VMXC_EPT_LARGE_PAGE, UINT64_C(1) << 21);
    fill_page(memory, LISTS, VMXC_MSR_VMX_BASIC, 1);
    for (uint64_t hpa = RANDOM; hpa < RANDOM + PAGE; hpa += 8)
        vmxsim_memory_write64(memory, hpa, rng_next(rng));
}

/* ---- Two processors that share a memory ---- */

static struct insn_machine machine;
static struct vmxsim_cpu *second;

static void set_up(void)
{
    insn_machine_init(&machine, "everything", NULL);
    insn_machine_reset(&machine);
    ck_assert_int_eq(vmxsim_cpu_create(machine.memory, machine.profile, &second), VMXC_OK);
    vmxsim_cpu_reset(second,
                     &(struct vmxsim_root_state){.cr0 = 0x80000031, .cr4 = 0x2020, .efer = 0x500});
}

static void tear_down(void)
{
    vmxsim_cpu_destroy(second);
    insn_machine_fini(&machine);
}

/* ---- A VMCS that enters, but for its addresses ---- */

static uint64_t pointer_value(uint16_t pointer, uint64_t hpa)
{
    return pointer == F(EPT_POINTER) ? hpa | 6 | 3 << 3 : hpa;
}

static struct vmxsim_vmcs hostile_vmcs(struct rng *rng, uint16_t pointer, uint64_t hpa)
{
    const struct vmxsim_entry_processor processor = root_processor();
    struct vmxsim_vmcs vmcs = {.value = {0}};

    for (size_t i = 0; i < POINTERS; i++)
        vmcs.value[pointers[i]] = pointer_value(pointers[i], places[rng_below(rng, PLACES)].hpa);
    vmcs.value[F(PIN_BASED_CONTROLS)] = rng_next(rng);
    vmcs.value[F(PRIMARY_PROCESSOR_BASED_CONTROLS)] =
        rng_next(rng) | VMXC_PRIMARY_ACTIVATE_SECONDARY_CONTROLS | VMXC_PRIMARY_USE_IO_BITMAPS |
        VMXC_PRIMARY_USE_MSR_BITMAPS;
    vmcs.value[F(SECONDARY_PROCESSOR_BASED_CONTROLS)] =
        (rng_next(rng) | VMXC_SECONDARY_ENABLE_EPT) &
        ~(uint64_t)VMXC_SECONDARY_VIRTUALIZE_X2APIC_MODE;
    vmcs.value[F(VM_FUNCTION_CONTROLS)] = 1;
    vmcs.value[F(GUEST_CR0)] = 0x80000031;
    vmcs.value[F(GUEST_CR4)] = 0x2020;
    vmcs.value[F(VM_ENTRY_CONTROLS)] = ENTRY_LONG64;
    vmxsim_entry_round(machine.profile, &processor, &vmcs);
    /* Lists that fail, and a link pointer that is refused, would hide what comes after them. */
    vmcs.value[F(VM_EXIT_MSR_STORE_COUNT)] = 1;
    vmcs.value[F(VM_EXIT_MSR_LOAD_COUNT)] = pointer == F(VM_EXIT_MSR_LOAD_ADDRESS) ? 600 : 0;
    vmcs.value[F(VM_ENTRY_MSR_LOAD_COUNT)] = pointer == F(VM_ENTRY_MSR_LOAD_ADDRESS) ? 600 : 0;
    vmcs.value[pointer] = pointer_value(pointer, hpa);
    return vmcs;
}

/* ---- What is done with it ---- */

/* Everything that came of it, for the comparison with the next time. */
struct history {
    struct vmxsim_digest memory;
    uint64_t sum;
    unsigned entered, exits, guest_steps;
};

static void note(struct history *history, uint64_t value)
{
    history->sum = (history->sum ^ value) * UINT64_C(0x100000001b3);
}

static void note_status(struct history *history, enum vmxc_status status)
{
    require(status == VMXC_OK || status == VMXC_UNSUPPORTED || status == VMXC_INVALID_INPUT ||
                status == VMXC_BAD_STATE,
            "status %d", status);
    note(history, status);
}

static enum vmxc_status guest_step(struct rng *rng, struct vmxsim_outcome *outcome)
{
    struct vmxsim_cpu *const cpu = machine.cpu;
    struct vmxsim_access access = {.type = (enum vmxsim_access_type)rng_below(rng, 3),
                                   .linear =
                                       places[rng_below(rng, PLACES)].hpa + rng_below(rng, PAGE),
                                   .size = 1u << rng_below(rng, 4)};
    const struct vmxsim_io io = {.port = (uint16_t)rng_next(rng), .size = 1u << rng_below(rng, 3)};
    struct vmxsim_insn_result result;

    switch (rng_below(rng, 9)) {
    case 0:
        return vmxsim_guest_rdmsr(cpu, (uint32_t)rng_below(rng, 0x2000), outcome);
    case 1:
        return vmxsim_guest_wrmsr(cpu, 0xc0000080u + (uint32_t)rng_below(rng, 8), rng_next(rng),
                                  outcome);
    case 2:
        return vmxsim_guest_io(cpu, &io, outcome);
    case 3:
        return vmxsim_guest_mov_to_cr(cpu, 3, 0, places[rng_below(rng, PLACES)].hpa, outcome);
    case 4:
        return vmxsim_guest_external_interrupt(cpu, (uint8_t)rng_next(rng), outcome);
    case 5:
        return vmxsim_insn_vmfunc(cpu, 0, (uint32_t)rng_below(rng, 600), &result);
    case 6:
        return vmxsim_insn_vmread(cpu, vmxsim_vmcs_encoding(rng_below(rng, VMXC_VMCS_FIELD_COUNT)),
                                  &result);
    case 7:
        return vmxsim_insn_vmwrite(cpu, vmxsim_vmcs_encoding(rng_below(rng, VMXC_VMCS_FIELD_COUNT)),
                                   rng_next(rng), &result);
    default:
        return vmxsim_guest_access(cpu, &access, outcome, NULL);
    }
}

/* The other processor uses the same regions, whoever has them. */
static void disturb(struct rng *rng, struct history *history)
{
    const uint64_t hpa = places[rng_below(rng, PLACES)].hpa;
    struct vmxsim_insn_result result;

    switch (rng_below(rng, 3)) {
    case 0:
        note_status(history, vmxsim_insn_vmclear(second, hpa, &result));
        break;
    case 1:
        note_status(history, vmxsim_insn_vmptrld(second, hpa, &result));
        break;
    default:
        note_status(history, vmxsim_insn_vmxon(second, hpa, &result));
        break;
    }
    note(history, result.kind);
}

static bool in_guest(void)
{
    return vmxsim_cpu_vmx_state(machine.cpu).mode == VMXSIM_VMX_NON_ROOT;
}

static void enter(struct history *history, bool again)
{
    struct vmxsim_insn_result result = {.kind = VMXSIM_INSN_SUCCEEDED};

    note_status(history, again ? vmxsim_insn_vmresume(machine.cpu, NULL, &result)
                               : vmxsim_insn_vmlaunch(machine.cpu, NULL, &result));
    note(history, result.kind);
    history->entered += result.kind == VMXSIM_INSN_ENTERED;
}

/* Performs the VM exit that a step came to. */
static void leave(struct history *history, const struct vmxsim_outcome *outcome)
{
    enum vmxc_vmx_abort abort = VMXC_VMX_ABORT_NONE;

    if (outcome->kind != VMXSIM_OUTCOME_VM_EXIT)
        return;
    const enum vmxc_status status = vmxsim_vm_exit(machine.cpu, outcome, NULL, &abort);
    if (status != VMXC_NO_SPACE)
        note_status(history, status);
    note(history, abort);
    history->exits += status == VMXC_OK;
}

#define STEPS 24u

static struct history run(uint64_t seed, uint16_t pointer, uint64_t hpa)
{
    struct rng rng = rng_for_sequence(seed, pointer ^ hpa);
    struct history history = {.entered = 0};
    struct vmxsim_outcome outcome;

    set_up();
    lay_out(machine.memory, &rng);
    const struct vmxsim_vmcs vmcs = hostile_vmcs(&rng, pointer, hpa);
    insn_machine_current(&machine);
    insn_machine_fill(&machine, &vmcs);
    enter(&history, false);
    for (unsigned step = 0; step < STEPS; step++) {
        if (!in_guest())
            enter(&history, true);
        memset(&outcome, 0, sizeof outcome);
        if (in_guest()) {
            note_status(&history, guest_step(&rng, &outcome));
            leave(&history, &outcome);
            history.guest_steps++;
        }
        note(&history, outcome.kind);
        note(&history, outcome.guest_physical);
        if (rng_chance(&rng, 10))
            disturb(&rng, &history);
    }
    history.memory = vmxsim_memory_digest(machine.memory);
    tear_down();
    return history;
}

/* ---- Tests ---- */

#define SEEDS 16u

START_TEST(every_pointer_may_lie_anywhere)
{
    const struct place *const place = &places[_i];
    unsigned entered = 0, exits = 0, guest_steps = 0;

    for (size_t i = 0; i < POINTERS; i++) {
        for (uint64_t seed = 0; seed < SEEDS; seed++) {
            const struct history first = run(seed, pointers[i], place->hpa);
            const struct history again = run(seed, pointers[i], place->hpa);
            require(memcmp(&first, &again, sizeof first) == 0,
                    "field %zu at %s, seed %u: not the same twice", i, place->name, (unsigned)seed);
            entered += first.entered;
            exits += first.exits;
            guest_steps += first.guest_steps;
        }
    }
    printf("%s: %u VM entries, %u exits, %u guest steps\n", place->name, entered, exits,
           guest_steps);
    ck_assert_uint_gt(guest_steps, 1000);
    ck_assert_uint_gt(exits, 250);
}
END_TEST

int main(void)
{
    Suite *const suite = suite_create("hostile_memory");
    TCase *const hostile = suite_case(suite, "places", NULL, NULL);

    tcase_add_loop_test(hostile, every_pointer_may_lie_anywhere, 0, PLACES);
    return run_suite(suite);
}
