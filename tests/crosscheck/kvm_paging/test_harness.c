/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The harness of kvm-paging on the model, in every paging mode: what delivers an exception can be reached, a guest
 * at CPL 3 can reach its code only, and nothing of it changes. Few KVMs run all modes.
 */
#include "harness.h"
#include "support/suite.h"

#include "vmxcore/defs/paging.h"
#include "vmxsim/cpu.h"
#include "vmxsim/memory.h"
#include "vmxsim/profile.h"
#include "vmxsim/vmcs.h"

#include <stdlib.h>
#include <string.h>

#define RAM_SIZE (16u * PAGE_SIZE)
#define ROOT     PAGE_SIZE
#define CR0      (VMXC_CR0_PG | VMXC_CR0_WP | VMXC_CR0_ET | VMXC_CR0_NE | VMXC_CR0_PE)
#define STRICT   (VMXC_CR4_SMEP | VMXC_CR4_SMAP)
#define LONG     (VMXC_EFER_LME | VMXC_EFER_LMA)

/* As the diagram in harness.h has them. */
enum { GDT = 4, IDT = 5, HANDLERS = 6, STACK = 7, CODE = 8, USER_CODE = 9 };

static const struct state states[] = {
    {.cr0 = CR0, .cr3 = ROOT, .cr4 = STRICT, .mode = PAGING_32BIT},
    {.cr0 = CR0, .cr3 = ROOT + 32, .cr4 = STRICT | VMXC_CR4_PAE, .mode = PAGING_PAE},
    {.cr0 = CR0,
     .cr3 = ROOT,
     .cr4 = STRICT | VMXC_CR4_PAE,
     .efer = LONG,
     .mode = PAGING_4_LEVEL,
     .mode_64bit = true},
    {.cr0 = CR0,
     .cr3 = ROOT,
     .cr4 = STRICT | VMXC_CR4_PAE | VMXC_CR4_LA57,
     .efer = LONG,
     .mode = PAGING_5_LEVEL,
     .mode_64bit = true},
};
#define MODES 4

static struct state state;
static struct machine machine;
static struct harness_slot slot;
static struct vmxsim_memory *memory;
static struct vmxsim_cpu *cpu;

/* ---- The machine: memory without a virtual machine behind it ---- */

static void create_machine(void)
{
    machine = (struct machine){
        .kvm = -1,
        .vm = -1,
        .vcpu = -1,
        .ram = {{.gpa = 0, .size = RAM_SIZE, .file = -1, .bytes = calloc(1, RAM_SIZE)}},
        .ram_count = 1,
        .harness = calloc(1, HARNESS_SIZE),
        .harness_gpa = HARNESS_GPA,
        .harness_size = HARNESS_SIZE,
    };
    ck_assert_ptr_nonnull(machine.ram[0].bytes);
    ck_assert_ptr_nonnull(machine.harness);
    harness_fill(&machine);
}

static void create_model(void)
{
    const struct vmxsim_range ram[] = {{0, RAM_SIZE}, {HARNESS_GPA, HARNESS_SIZE}};
    const struct vmxsim_memory_config config = {.ram = ram, .ram_count = 2, .no_poison = true};

    ck_assert_int_eq(vmxsim_memory_create(&config, &memory, NULL), VMXC_OK);
    ck_assert_int_eq(vmxsim_cpu_create(memory, vmxsim_profile_builtin("everything"), &cpu),
                     VMXC_OK);
}

static void setup(void)
{
    create_machine();
    create_model();
}

static void teardown(void)
{
    vmxsim_cpu_destroy(cpu);
    vmxsim_memory_destroy(memory);
    free(machine.ram[0].bytes);
    free(machine.harness);
}

static bool install(int mode, const struct access *accesses, size_t count)
{
    struct reason why;

    state = states[mode];
    return harness_install(&machine, &state, accesses, count, &slot, &why);
}

static void load_model(bool user)
{
    static struct vmxsim_vmcs vmcs;

    memset(&vmcs, 0, sizeof vmcs);
    VMXSIM_VMCS(&vmcs, GUEST_CR0) = state.cr0;
    VMXSIM_VMCS(&vmcs, GUEST_CR3) = state.cr3;
    VMXSIM_VMCS(&vmcs, GUEST_CR4) = state.cr4;
    VMXSIM_VMCS(&vmcs, GUEST_IA32_EFER) = state.efer;
    VMXSIM_VMCS(&vmcs, VM_ENTRY_CONTROLS) = VMXC_BIT(15) | (state.mode_64bit ? VMXC_BIT(9) : 0);
    VMXSIM_VMCS(&vmcs, GUEST_CS_ACCESS_RIGHTS) = state.mode_64bit ? 0xa09b : 0xc09b;
    VMXSIM_VMCS(&vmcs, GUEST_SS_ACCESS_RIGHTS) = user ? 0xc0f3 : 0xc093;
    VMXSIM_VMCS(&vmcs, GUEST_RFLAGS) = VMXC_RFLAGS_1;
    vmxsim_memory_write(memory, 0, machine.ram[0].bytes, RAM_SIZE);
    vmxsim_memory_write(memory, HARNESS_GPA, machine.harness, HARNESS_SIZE);
    ck_assert_int_eq(vmxsim_cpu_load_guest(cpu, &vmcs, NULL), VMXC_OK);
}

/* ---- Accesses ---- */

static bool reaches(enum vmxsim_access_type type, unsigned page, bool implicit)
{
    struct vmxsim_access access = {.type = type,
                                   .linear = slot.linear + (uint64_t)page * PAGE_SIZE + 0xf00,
                                   .size = 8,
                                   .implicit = implicit};
    struct vmxsim_outcome outcome;

    ck_assert_int_eq(vmxsim_guest_access(cpu, &access, &outcome, NULL), VMXC_OK);
    return outcome.kind == VMXSIM_OUTCOME_COMPLETE;
}

static void expect_unchanged(void)
{
    static uint8_t ram[RAM_SIZE], harness[HARNESS_SIZE];

    vmxsim_memory_read(memory, 0, ram, RAM_SIZE);
    vmxsim_memory_read(memory, HARNESS_GPA, harness, HARNESS_SIZE);
    ck_assert_mem_eq(ram, machine.ram[0].bytes, RAM_SIZE);
    ck_assert_mem_eq(harness, machine.harness, HARNESS_SIZE);
}

START_TEST(user_reaches_its_code_only)
{
    ck_assert(install(_i, NULL, 0));
    load_model(true);
    for (unsigned page = 0; page <= USER_CODE; page++) {
        ck_assert_int_eq(reaches(VMXSIM_ACCESS_FETCH, page, false), page == USER_CODE);
        ck_assert_int_eq(reaches(VMXSIM_ACCESS_READ, page, false), page == USER_CODE);
    }
    expect_unchanged();
}
END_TEST

START_TEST(delivery_reaches_tables_stack_and_handlers)
{
    ck_assert(install(_i, NULL, 0));
    load_model(true);
    ck_assert(reaches(VMXSIM_ACCESS_READ, GDT, true));
    ck_assert(reaches(VMXSIM_ACCESS_READ, IDT, true));
    ck_assert(reaches(VMXSIM_ACCESS_WRITE, STACK, true)); /* of zeros, which are there already */
    load_model(false);
    ck_assert(reaches(VMXSIM_ACCESS_FETCH, HANDLERS, false));
    ck_assert(reaches(VMXSIM_ACCESS_FETCH, CODE, false));
    ck_assert(!reaches(VMXSIM_ACCESS_FETCH, USER_CODE, false)); /* SMEP */
    expect_unchanged();
}
END_TEST

static uint64_t word(unsigned page, unsigned offset)
{
    uint64_t value;

    memcpy(&value, machine.harness + (size_t)page * PAGE_SIZE + offset, sizeof value);
    return value;
}

START_TEST(gates_lead_to_a_halt_of_their_own)
{
    const unsigned size = states[_i].mode_64bit ? 16 : 8;

    ck_assert(install(_i, NULL, 0));
    for (unsigned vector = 0; vector < 256; vector++) {
        const uint64_t gate = word(IDT, vector * size);
        const uint64_t low = (gate & 0xffff) | (gate >> 48 << 16);
        const uint64_t high = size == 16 ? word(IDT, vector * size + 8) << 32 : 0;
        const uint64_t handler = low | high;
        ck_assert_uint_eq(handler, slot.linear + HANDLERS * PAGE_SIZE + vector);
        ck_assert_uint_eq(gate >> 40 & 0xff, 0xee); /* present, DPL 3, interrupt gate */
        ck_assert_uint_eq(machine.harness[HANDLERS * PAGE_SIZE + vector], 0xf4);
    }
}
END_TEST

/* ---- The slot ---- */

START_TEST(slot_is_taken_and_given_back)
{
    struct reason why;

    state = states[_i];
    memset(machine.ram[0].bytes + ROOT, 0xee, PAGE_SIZE);
    ck_assert(install(_i, NULL, 0));
    ck_assert(harness_remove(&machine, &state, &slot, &why));
    for (unsigned i = 0; i < PAGE_SIZE; i++)
        ck_assert_uint_eq(machine.ram[0].bytes[ROOT + i], 0xee);
    ck_assert(install(_i, NULL, 0));
    machine.ram[0].bytes[slot.entry_gpa] ^= 0x20;
    ck_assert(!harness_remove(&machine, &state, &slot, &why));
}
END_TEST

START_TEST(slot_avoids_what_an_access_can_come_across)
{
    struct access access = {.type = ACCESS_READ, .size = 1};

    for (unsigned step = 0; step < 8; step++) {
        const uint64_t taken = slot.entry_gpa % PAGE_SIZE;
        ck_assert(install(_i, &access, step == 0 ? 0 : 1));
        ck_assert(step == 0 || slot.entry_gpa % PAGE_SIZE != taken);
        access.linear = slot.entry_gpa % PAGE_SIZE; /* as data, in whatever page that is */
    }
    /* As an entry of the lowest level, if the top structure were used there, too. */
    ck_assert(install(_i, NULL, 0));
    const unsigned before = slot.index;
    access.linear = (slot.entry_gpa % PAGE_SIZE) / state_entry_size(&state) * PAGE_SIZE;
    ck_assert(install(_i, &access, 1));
    ck_assert_uint_ne(slot.index, before);
}
END_TEST

START_TEST(no_slot_left_is_refused)
{
    struct access accesses[4];
    struct reason why;

    for (unsigned i = 0; i < 4; i++)
        accesses[i] = (struct access){.type = ACCESS_READ, .linear = (uint64_t)i << 30, .size = 1};
    state = states[PAGING_PAE];
    ck_assert(harness_install(&machine, &state, accesses, 3, &slot, &why));
    ck_assert_uint_eq(slot.index, 3);
    ck_assert(!harness_install(&machine, &state, accesses, 4, &slot, &why));
}
END_TEST

int main(void)
{
    Suite *const suite = suite_create("kvm_paging_harness");
    TCase *const harness = tcase_create("harness");
    TCase *const slots = tcase_create("slot");

    tcase_add_checked_fixture(harness, setup, teardown);
    tcase_add_loop_test(harness, user_reaches_its_code_only, 0, MODES);
    tcase_add_loop_test(harness, delivery_reaches_tables_stack_and_handlers, 0, MODES);
    tcase_add_loop_test(harness, gates_lead_to_a_halt_of_their_own, 0, MODES);
    suite_add_tcase(suite, harness);

    tcase_add_checked_fixture(slots, setup, teardown);
    tcase_add_test(slots, no_slot_left_is_refused);
    tcase_add_loop_test(slots, slot_is_taken_and_given_back, 0, MODES);
    tcase_add_loop_test(slots, slot_avoids_what_an_access_can_come_across, 0, MODES);
    suite_add_tcase(suite, slots);
    return run_suite(suite);
}
