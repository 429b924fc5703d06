/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two machines that are alike, one without a cache of translations, one with an exact one: whatever happens to both, by
 * whichever way tables are written, outcomes, memory, the page-modification log and counters must agree. Half of the accesses
 * go to few pages, so that much is served from the cache; the tables lie where the guest's own accesses change them too.
 */
#include <check.h>
#include <stdio.h>
#include <string.h>

#include "support/machine.h"
#include "support/rng.h"
#include "support/suite.h"
#include "vmxcore/defs/vmcs.h"
#include "vmxsim/guest.h"
#include "vmxsim/hazard.h"
#include "vmxsim/snapshot.h"
#include "vmxsim/tlb.h"

#define SEED UINT64_C(0x746c62)

enum {
    ROUNDS = 60,
    STEPS = 400,
    EPT_TABLES = 4, /* per level */
    PAGES = 24,     /* that all guest-physical addresses end in */
    LINEARS = 12,   /* pages that are accessed again and again */
    BOTH = 2,
};

#define EPT_BASE  UINT64_C(0x1000000) /* levels 5 to 1 */
#define PAGE_BASE UINT64_C(0x2000000)
#define LOG       UINT64_C(0x3000000)

/* ---- Two machines with the same random tables ---- */

static struct machine off, exact;
static struct machine *const both[BOTH] = {&off, &exact};

static struct {
    uint64_t linear[LINEARS];
    uint64_t *raw
        [BOTH]; /* pointers to a page, which nobody is told of when they are written through; NULL: none */
    uint64_t handed_out; /* host-physical page; 0: none */
    unsigned counts[3];
    uint64_t accesses, walks;
} world;

static uint64_t ept_table(unsigned level, uint64_t number)
{
    return EPT_BASE + (level * EPT_TABLES + number) * VMXC_PAGE_SIZE;
}

static uint64_t random_page(struct rng *rng)
{
    return PAGE_BASE + rng_below(rng, PAGES) * VMXC_PAGE_SIZE;
}

static uint64_t random_ept_entry(struct rng *rng, unsigned level)
{
    const uint64_t flags =
        rng_sometimes(rng, 50, VMXC_EPT_ACCESSED) | rng_sometimes(rng, 50, VMXC_EPT_DIRTY) |
        rng_sometimes(rng, 1, VMXC_BIT(45)) | rng_sometimes(rng, 50, VMXC_EPT_USER_EXECUTE);
    const uint64_t rights = rng_chance(rng, 97) ? VMXC_EPT_RWX : rng_below(rng, 8);

    if (level == 1)
        return random_page(rng) | flags | rights | 6 << 3;
    if (level <= 3 && rng_chance(rng, 3))
        return VMXC_EPT_LARGE_PAGE | flags | rights | 6 << 3; /* all RAM from 0 on */
    return ept_table(level - 1, rng_below(rng, EPT_TABLES)) | rights | (flags & ~VMXC_EPT_DIRTY);
}

/* Any guest-physical address will do, since EPT sends them all to the same few pages. */
static uint64_t random_guest_entry(struct rng *rng)
{
    const uint64_t gpa = (rng_next(rng) >> 24) & ~VMXC_PAGE_MASK;

    return gpa | rng_sometimes(rng, 98, VMXC_PTE_PRESENT) | rng_sometimes(rng, 90, VMXC_PTE_WRITE) |
           rng_sometimes(rng, 90, VMXC_PTE_USER) | rng_sometimes(rng, 60, VMXC_PTE_ACCESSED) |
           rng_sometimes(rng, 60, VMXC_PTE_DIRTY) | rng_sometimes(rng, 2, VMXC_PTE_PAGE_SIZE) |
           rng_sometimes(rng, 20, VMXC_PTE_GLOBAL);
}

/* An entry of EPT, or of the pages that hold the guest's tables and its data. */
static uint64_t random_place(struct rng *rng, uint64_t *value)
{
    const unsigned level = 1 + (unsigned)rng_below(rng, 5);

    if (rng_chance(rng, 50)) {
        *value = random_ept_entry(rng, level);
        return ept_table(level, rng_below(rng, EPT_TABLES)) + 8 * rng_below(rng, 512);
    }
    *value = random_guest_entry(rng);
    return random_page(rng) + 8 * rng_below(rng, 512);
}

static void fill_tables(struct rng *rng)
{
    for (unsigned level = 1; level <= 5; level++) {
        for (uint64_t i = 0; i < EPT_TABLES * VMXC_PAGE_SIZE; i += 8) {
            const uint64_t value = random_ept_entry(rng, level);
            for (size_t m = 0; m < BOTH; m++)
                machine_write(both[m], ept_table(level, 0) + i, value);
        }
    }
    for (uint64_t i = 0; i < PAGES * VMXC_PAGE_SIZE; i += 8) {
        const uint64_t value = random_guest_entry(rng);
        for (size_t m = 0; m < BOTH; m++)
            machine_write(both[m], PAGE_BASE + i, value);
    }
}

static void set_eptp(struct machine *machine, unsigned levels, uint64_t bits)
{
    VMXSIM_VMCS(&machine->vmcs, EPT_POINTER) = ept_table(levels, 0) | (levels - 1) << 3 | 6 | bits;
}

static void set_up(struct machine *machine, enum guest_mode mode, unsigned levels, uint64_t bits)
{
    machine_init(machine, &(struct profile_changes){0});
    machine_new_ept(machine, levels, bits);
    set_eptp(machine, levels, bits);
    machine_set_mode(machine, mode);
    machine_set_cpl(machine, 0);
    VMXSIM_VMCS(&machine->vmcs, GUEST_CR0) |= VMXC_CR0_ET | VMXC_CR0_NE;
    VMXSIM_VMCS(&machine->vmcs, GUEST_CR4) |= VMXC_CR4_VMXE;
    VMXSIM_VMCS(&machine->vmcs, GUEST_CR3) = VMXC_PAGE_SIZE;
    VMXSIM_VMCS(&machine->vmcs, GUEST_PDPTE0) = 0x2000 | VMXC_PTE_PRESENT;
    VMXSIM_VMCS(&machine->vmcs, GUEST_PDPTE1) = 0x3000 | VMXC_PTE_PRESENT;
    VMXSIM_VMCS(&machine->vmcs, GUEST_PDPTE2) = 0x4000 | VMXC_PTE_PRESENT;
    if (bits != 0)
        VMXSIM_VMCS(&machine->vmcs, SECONDARY_PROCESSOR_BASED_CONTROLS) |= CTL2_PML;
    VMXSIM_VMCS(&machine->vmcs, PML_ADDRESS) = LOG;
    VMXSIM_VMCS(&machine->vmcs, PML_INDEX) = 400;
    machine_load(machine);
}

/* ---- What happens ---- */

static uint64_t random_linear(struct rng *rng)
{
    if (rng_chance(rng, 4))
        return rng_next(rng) >> rng_below(rng, 40); /* now and then not canonical */
    return world.linear[rng_below(rng, LINEARS)] + rng_below(rng, VMXC_PAGE_SIZE);
}

static void access_both(struct rng *rng)
{
    static const uint32_t sizes[] = {1, 1, 2, 4, 8, 8, 16, 64, 33};
    struct vmxsim_access access = {
        .type = (enum vmxsim_access_type)rng_below(rng, VMXSIM_ACCESS_RMW + 1),
        .linear = random_linear(rng),
        .size = sizes[rng_below(rng, (uint64_t)COUNT(sizes))],
        .implicit = rng_chance(rng, 5),
    };
    struct vmxsim_outcome outcome[BOTH];

    for (size_t i = 0; i < sizeof(access.data); i++)
        access.data[i] = (uint8_t)rng_next(rng);
    if (rng_chance(rng, 70) && access.type >= VMXSIM_ACCESS_WRITE)
        access.type = VMXSIM_ACCESS_READ;
    for (size_t m = 0; m < BOTH; m++)
        ck_assert_int_eq(vmxsim_guest_access(both[m]->cpu, &access, &outcome[m], NULL), VMXC_OK);
    /* Both were set to zero as a whole before they were filled in. */
    ck_assert_msg(memcmp(&outcome[0], &outcome[1], sizeof(outcome[0])) == 0,
                  "linear 0x%llx, type %d, size %u: %s", (unsigned long long)access.linear,
                  (int)access.type, access.size, machine_outcome_text(&outcome[1]));
    world.counts[outcome[0].kind]++;
    world.accesses++;
}

static void write_entry(struct rng *rng)
{
    uint64_t value;
    const uint64_t hpa = random_place(rng, &value);

    for (size_t m = 0; m < BOTH; m++)
        vmxsim_memory_write64(both[m]->memory, hpa, value);
}

/* Not an entry as a whole: some bytes, anywhere. */
static void write_bytes(struct rng *rng)
{
    uint64_t value;
    const uint64_t hpa = random_place(rng, &value) + rng_below(rng, 8);
    const size_t length = 1 + rng_below(rng, 7);

    for (size_t m = 0; m < BOTH; m++)
        vmxsim_memory_write(both[m]->memory, hpa, &value, length);
}

/* As libvmxcore does it. */
static void store_through_hal(struct rng *rng)
{
    uint64_t value;
    const uint64_t hpa = random_place(rng, &value);

    for (size_t m = 0; m < BOTH; m++) {
        const struct vmxc_hal *const hal = vmxsim_memory_hal(both[m]->memory);
        hal->mark_dirty(hal->context, hpa, sizeof(value));
        memcpy(hal->window.pointer + (hpa - hal->window.base), &value, sizeof(value));
    }
}

static void store_through_frame_pointer(struct rng *rng)
{
    uint64_t value;
    const uint64_t hpa = random_place(rng, &value);

    for (size_t m = 0; m < BOTH; m++) {
        const struct vmxc_hal *const hal = vmxsim_memory_hal(both[m]->memory);
        memcpy(hal->phys_to_virt(hal->context, hpa), &value, sizeof(value));
    }
}

/* A pointer is taken once and written through ever after. */
static void take_pointer(struct rng *rng)
{
    uint64_t value;
    const uint64_t page = random_place(rng, &value) & ~VMXC_PAGE_MASK;

    for (size_t m = 0; m < BOTH; m++)
        world.raw[m] = vmxsim_memory_pointer(both[m]->memory, page);
}

static void hand_out(struct rng *rng)
{
    uint64_t value;

    if (world.handed_out != 0)
        return;
    world.handed_out = random_place(rng, &value) & ~VMXC_PAGE_MASK;
    for (size_t m = 0; m < BOTH; m++) {
        void *pointer;
        ck_assert_int_eq(
            vmxsim_memory_hand_out(both[m]->memory, world.handed_out, VMXC_PAGE_SIZE, &pointer),
            VMXC_OK);
        world.raw[m] = pointer;
    }
}

static void hand_back(struct rng *rng)
{
    (void)rng;
    for (size_t m = 0; m < BOTH && world.handed_out != 0; m++) {
        ck_assert_int_eq(vmxsim_memory_hand_back(both[m]->memory, world.handed_out, VMXC_PAGE_SIZE),
                         VMXC_OK);
        world.raw[m] = NULL;
    }
    world.handed_out = 0;
}

static void store_raw(struct rng *rng)
{
    const uint64_t index = rng_below(rng, 512);
    const uint64_t flip = VMXC_BIT(rng_below(rng, 13));

    for (size_t m = 0; m < BOTH && world.raw[m] != NULL; m++)
        world.raw[m][index] ^= flip;
}

static void clear_flags(struct rng *rng)
{
    uint64_t value;
    const uint64_t page = random_place(rng, &value) & ~VMXC_PAGE_MASK;
    const uint64_t flags =
        page < PAGE_BASE ? VMXC_EPT_ACCESSED | VMXC_EPT_DIRTY : VMXC_PTE_ACCESSED | VMXC_PTE_DIRTY;

    for (size_t m = 0; m < BOTH; m++)
        for (uint64_t i = 0; i < VMXC_PAGE_SIZE; i += 8)
            machine_write(both[m], page + i, machine_read(both[m], page + i) & ~flags);
}

/* ---- Registers ---- */

static void move_to_cr(unsigned cr, uint64_t value)
{
    struct vmxsim_outcome outcome[BOTH];

    for (size_t m = 0; m < BOTH; m++)
        ck_assert_int_eq(vmxsim_guest_mov_to_cr(both[m]->cpu, (uint8_t)cr, 0, value, &outcome[m]),
                         VMXC_OK);
    ck_assert(memcmp(&outcome[0], &outcome[1], sizeof(outcome[0])) == 0);
}

static bool is_cpl0(void)
{
    uint64_t rights = 0;

    ck_assert_int_eq(vmxsim_guest_get(off.cpu, VMXC_VMCS_GUEST_SS_ACCESS_RIGHTS, &rights), VMXC_OK);
    return (rights >> 5 & 3) == 0;
}

static uint64_t guest_field(uint32_t encoding)
{
    uint64_t value = 0;

    ck_assert_int_eq(vmxsim_guest_get(off.cpu, encoding, &value), VMXC_OK);
    return value;
}

static void change_cr3(struct rng *rng)
{
    if (is_cpl0())
        move_to_cr(3, VMXC_PAGE_SIZE * (1 + rng_below(rng, 3)));
}

/* PAE paging stays as it is: nothing in this world is a table of PDPTEs. */
static void change_cr4(struct rng *rng)
{
    static const uint64_t bits[] = {VMXC_CR4_PSE,  VMXC_CR4_SMEP, VMXC_CR4_PGE,
                                    VMXC_CR4_SMAP, VMXC_CR4_PKE,  VMXC_CR4_PKS};

    if (is_cpl0() && exact.mode != GUEST_PAE)
        move_to_cr(4,
                   guest_field(VMXC_VMCS_GUEST_CR4) ^ bits[rng_below(rng, (uint64_t)COUNT(bits))]);
}

static void change_cr0(struct rng *rng)
{
    (void)rng;
    if (is_cpl0() && exact.mode != GUEST_PAE)
        move_to_cr(0, guest_field(VMXC_VMCS_GUEST_CR0) ^ VMXC_CR0_WP);
}

static void set_field(uint32_t encoding, uint64_t value)
{
    for (size_t m = 0; m < BOTH; m++)
        ck_assert_int_eq(vmxsim_guest_set(both[m]->cpu, encoding, value), VMXC_OK);
}

static void change_cpl(struct rng *rng)
{
    (void)rng;
    set_field(VMXC_VMCS_GUEST_SS_ACCESS_RIGHTS,
              guest_field(VMXC_VMCS_GUEST_SS_ACCESS_RIGHTS) ^ 3u << 5);
}

static void change_ac(struct rng *rng)
{
    (void)rng;
    set_field(VMXC_VMCS_GUEST_RFLAGS, guest_field(VMXC_VMCS_GUEST_RFLAGS) ^ VMXC_RFLAGS_AC);
}

static void change_pkru(struct rng *rng)
{
    const uint32_t pkru = (uint32_t)(rng_next(rng) & rng_next(rng) & rng_next(rng));

    for (size_t m = 0; m < BOTH; m++)
        vmxsim_cpu_set_pkru(both[m]->cpu, pkru);
}

/* Another state of the guest, with other controls. */
static void enter_again(struct rng *rng)
{
    const uint64_t bits = rng_sometimes(rng, 50, VMXC_EPTP_ACCESSED_DIRTY);
    const unsigned levels = 4 + (unsigned)rng_below(rng, 2);
    const uint64_t controls = rng_sometimes(rng, 30, CTL2_MODE_BASED_EXEC) |
                              rng_sometimes(rng, 50, bits != 0 ? CTL2_PML : 0);
    const bool without_ept = rng_chance(rng, 10) && exact.mode != GUEST_PAE;

    for (size_t m = 0; m < BOTH; m++) {
        struct machine *const machine = both[m];
        set_eptp(machine, levels, bits);
        VMXSIM_VMCS(&machine->vmcs, SECONDARY_PROCESSOR_BASED_CONTROLS) =
            (without_ept ? 0 : CTL2_EPT | controls) | CTL2_UNRESTRICTED;
        VMXSIM_VMCS(&machine->vmcs, GUEST_CR3) = without_ept ? PAGE_BASE : VMXC_PAGE_SIZE;
        machine_load(machine);
    }
}

static void take_or_restore(struct rng *rng)
{
    const bool drop = rng_chance(rng, 40);

    for (size_t m = 0; m < BOTH; m++) {
        struct vmxsim_memory *const memory = both[m]->memory;
        if (!vmxsim_snapshot_exists(memory))
            ck_assert_int_eq(vmxsim_snapshot_take(memory), VMXC_OK);
        else if (drop)
            vmxsim_snapshot_drop(memory);
        else
            ck_assert_int_eq(vmxsim_snapshot_restore(memory, NULL), VMXC_OK);
    }
}

static const struct action {
    unsigned weight;
    void (*run)(struct rng *rng);
} actions[] = {
    {1200, access_both},
    {12, write_entry},
    {6, write_bytes},
    {12, store_through_hal},
    {6, store_through_frame_pointer},
    {1, take_pointer},
    {3, hand_out},
    {2, hand_back},
    {6, store_raw},
    {4, clear_flags},
    {6, change_cr3},
    {6, change_cr4},
    {6, change_cr0},
    {6, change_cpl},
    {6, change_ac},
    {6, change_pkru},
    {4, enter_again},
    {8, take_or_restore},
};

static void act(struct rng *rng)
{
    unsigned total = 0;

    for (int i = 0; i < COUNT(actions); i++)
        total += actions[i].weight;
    uint64_t number = rng_below(rng, total);
    const struct action *action = actions;
    for (; number >= action->weight; action++)
        number -= action->weight;
    action->run(rng);
}

static void assert_same_machines(void)
{
    const struct vmxsim_digest a = vmxsim_memory_digest(off.memory);
    const struct vmxsim_digest b = vmxsim_memory_digest(exact.memory);
    const struct vmxsim_memory_stats s = vmxsim_memory_stats(off.memory);
    const struct vmxsim_memory_stats t = vmxsim_memory_stats(exact.memory);

    ck_assert(a.high == b.high && a.low == b.low);
    ck_assert_uint_eq(vmxsim_cpu_pml_index(off.cpu), vmxsim_cpu_pml_index(exact.cpu));
    ck_assert(memcmp(&s, &t, sizeof(s)) == 0);
}

START_TEST(everything_comes_to_the_same)
{
    const enum guest_mode mode = (enum guest_mode)_i;

    memset(&world, 0, sizeof(world));
    printf("seed %#llx, %s\n", (unsigned long long)SEED, guest_mode_names[mode]);
    for (unsigned round = 0; round < ROUNDS; round++) {
        struct rng rng = rng_for_sequence(SEED, (uint64_t)_i * ROUNDS + round);
        for (size_t m = 0; m < BOTH; m++)
            set_up(both[m], mode, 4 + (round & 1), (round & 2) ? VMXC_EPTP_ACCESSED_DIRTY : 0);
        ck_assert_int_eq(vmxsim_cpu_set_tlb(exact.cpu, VMXSIM_TLB_EXACT), VMXC_OK);
        fill_tables(&rng);
        for (size_t i = 0; i < LINEARS; i++)
            world.linear[i] = rng_next(&rng) >> 24 & ~VMXC_PAGE_MASK;
        for (unsigned step = 0; step < STEPS; step++) {
            act(&rng);
            if (step % 16 == 0)
                assert_same_machines();
        }
        assert_same_machines();
        world.walks += vmxsim_cpu_tlb_stats(exact.cpu).walks;
        world.handed_out = 0;
        for (size_t m = 0; m < BOTH; m++) {
            world.raw[m] = NULL;
            machine_fini(both[m]);
        }
    }
    printf("%u complete, %u exceptions, %u exits; %llu of %llu accesses walked\n", world.counts[0],
           world.counts[1], world.counts[2], (unsigned long long)world.walks,
           (unsigned long long)world.accesses);
    ck_assert_uint_gt(world.counts[VMXSIM_OUTCOME_COMPLETE], 2000);
    ck_assert_uint_gt(world.counts[VMXSIM_OUTCOME_VM_EXIT], 500);
    ck_assert_uint_lt(world.walks, world.counts[VMXSIM_OUTCOME_COMPLETE] / 2);
}
END_TEST

int main(void)
{
    Suite *const suite = suite_create("tlb_exact");
    TCase *const tcase = suite_case(suite, "exact", NULL, NULL);

    tcase_add_loop_test(tcase, everything_comes_to_the_same, 0, GUEST_MODES);
    return run_suite(suite);
}
