/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vmxsim_walk_many against vmxsim_guest_access in a loop, on two machines that are alike: outcomes, all of memory and the
 * page-modification log must agree. The tables are random and mostly sound, and lie where the guest's own accesses change
 * them.
 */
#include <check.h>
#include <stdio.h>
#include <string.h>

#include "support/machine.h"
#include "support/rng.h"
#include "support/suite.h"

#define SEED UINT64_C(0x77616c6b)

enum {
    ROUNDS = 40,
    BATCHES = 8,
    MOST = 150,
    EPT_TABLES = 8, /* per level */
    PAGES = 32,     /* that all guest-physical addresses end in */
};

#define EPT_BASE  UINT64_C(0x1000000) /* levels 5 to 1 */
#define PAGE_BASE UINT64_C(0x2000000)
#define LOG       UINT64_C(0x3000000)

/* ---- Two machines with the same random tables ---- */

static struct machine one, many;

static void write_both(uint64_t hpa, uint64_t value)
{
    machine_write(&one, hpa, value);
    machine_write(&many, hpa, value);
}

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
    const uint64_t flags = rng_sometimes(rng, 50, VMXC_EPT_ACCESSED) |
                           rng_sometimes(rng, 50, VMXC_EPT_DIRTY) |
                           rng_sometimes(rng, 2, VMXC_BIT(45));
    const uint64_t rights = rng_chance(rng, 90) ? VMXC_EPT_RWX : rng_below(rng, 8);

    if (level == 1)
        return random_page(rng) | flags | rights | 6 << 3;
    if (level <= 3 && rng_chance(rng, 5))
        return VMXC_EPT_LARGE_PAGE | flags | rights | 6 << 3; /* all RAM from 0 on */
    return ept_table(level - 1, rng_below(rng, EPT_TABLES)) | rights | (flags & ~VMXC_EPT_DIRTY);
}

/* Any guest-physical address will do, since EPT sends them all to the same few pages. */
static uint64_t random_guest_entry(struct rng *rng)
{
    const uint64_t gpa = (rng_next(rng) >> 24) & ~VMXC_PAGE_MASK;

    return gpa | rng_sometimes(rng, 97, VMXC_PTE_PRESENT) | rng_sometimes(rng, 90, VMXC_PTE_WRITE) |
           rng_sometimes(rng, 90, VMXC_PTE_USER) | rng_sometimes(rng, 50, VMXC_PTE_ACCESSED) |
           rng_sometimes(rng, 50, VMXC_PTE_DIRTY) | rng_sometimes(rng, 5, VMXC_PTE_PAGE_SIZE);
}

static void fill_tables(struct rng *rng, unsigned ept_levels)
{
    for (unsigned level = 1; level <= ept_levels; level++)
        for (uint64_t i = 0; i < EPT_TABLES * VMXC_PAGE_SIZE; i += 8)
            write_both(ept_table(level, 0) + i, random_ept_entry(rng, level));
    for (uint64_t i = 0; i < PAGES * VMXC_PAGE_SIZE; i += 8)
        write_both(PAGE_BASE + i, random_guest_entry(rng));
}

static void set_up(struct machine *machine, enum guest_mode mode, unsigned ept_levels,
                   uint64_t eptp_bits, unsigned log_index)
{
    machine_init(machine, &(struct profile_changes){0});
    machine_new_ept(machine, ept_levels, eptp_bits);
    VMXSIM_VMCS(&machine->vmcs, EPT_POINTER) =
        ept_table(ept_levels, 0) | (ept_levels - 1) << 3 | 6 | eptp_bits;
    machine_set_mode(machine, mode);
    machine_set_cpl(machine, 0);
    VMXSIM_VMCS(&machine->vmcs, GUEST_CR3) = VMXC_PAGE_SIZE;
    VMXSIM_VMCS(&machine->vmcs, GUEST_PDPTE0) = 0x2000 | VMXC_PTE_PRESENT;
    VMXSIM_VMCS(&machine->vmcs, GUEST_PDPTE1) = 0x3000 | VMXC_PTE_PRESENT;
    VMXSIM_VMCS(&machine->vmcs, GUEST_PDPTE2) = 0x4000 | VMXC_PTE_PRESENT;
    if (eptp_bits != 0)
        VMXSIM_VMCS(&machine->vmcs, SECONDARY_PROCESSOR_BASED_CONTROLS) |= CTL2_PML;
    VMXSIM_VMCS(&machine->vmcs, PML_ADDRESS) = LOG;
    VMXSIM_VMCS(&machine->vmcs, PML_INDEX) = log_index;
    machine_load(machine);
}

/* ---- Accesses ---- */

static uint64_t random_linear(struct rng *rng, uint64_t last)
{
    switch (rng_below(rng, 6)) {
    case 0:
        return rng_next(rng); /* mostly not canonical */
    case 1:
        return last + 8;
    case 2:
        return last ^ rng_below(rng, 0x10000);
    default:
        return rng_next(rng) >> 17;
    }
}

static struct vmxsim_access random_access(struct rng *rng)
{
    struct vmxsim_access access = {
        .type = (enum vmxsim_access_type)rng_below(rng, VMXSIM_ACCESS_RMW + 1),
        .size = 1 + (uint32_t)rng_below(rng, VMXSIM_ACCESS_MAX_SIZE),
        .implicit = rng_chance(rng, 10)};

    for (size_t i = 0; i < sizeof(access.data); i++)
        access.data[i] = (uint8_t)rng_next(rng);
    return access;
}

static void assert_same_memory(void)
{
    const struct vmxsim_digest a = vmxsim_memory_digest(one.memory);
    const struct vmxsim_digest b = vmxsim_memory_digest(many.memory);

    ck_assert(a.high == b.high && a.low == b.low);
    ck_assert_uint_eq(vmxsim_cpu_pml_index(one.cpu), vmxsim_cpu_pml_index(many.cpu));
    ck_assert_uint_eq(vmxsim_memory_stats(one.memory).hole_reads,
                      vmxsim_memory_stats(many.memory).hole_reads);
}

/* Counts outcomes by kind. */
static void access_both(struct rng *rng, unsigned counts[3])
{
    static uint64_t linears[MOST];
    static struct vmxsim_outcome outcomes[MOST];
    const size_t count = rng_below(rng, MOST + 1);
    struct vmxsim_access access = random_access(rng);
    struct vmxsim_outcome expected;

    for (size_t i = 0; i < count; i++)
        linears[i] = random_linear(rng, i == 0 ? 0 : linears[i - 1]);
    ck_assert_int_eq(vmxsim_walk_many(many.cpu, &access, linears, count, outcomes), VMXC_OK);
    for (size_t i = 0; i < count; i++) {
        access.linear = linears[i];
        ck_assert_int_eq(vmxsim_guest_access(one.cpu, &access, &expected, NULL), VMXC_OK);
        /* Both were set to zero as a whole before they were filled in. */
        ck_assert_msg(memcmp(&expected, &outcomes[i], sizeof(expected)) == 0,
                      "access %zu of %zu, linear 0x%llx: %s", i, count,
                      (unsigned long long)linears[i], machine_outcome_text(&outcomes[i]));
        counts[expected.kind]++;
    }
    assert_same_memory();
}

START_TEST(accesses_come_to_the_same_as_one_by_one)
{
    const enum guest_mode mode = (enum guest_mode)_i;
    unsigned counts[3] = {0};

    printf("seed %#llx, %s\n", (unsigned long long)SEED, guest_mode_names[mode]);
    for (unsigned round = 0; round < ROUNDS; round++) {
        struct rng rng = rng_for_sequence(SEED, (uint64_t)_i * ROUNDS + round);
        const unsigned levels = 4 + (round & 1);
        const uint64_t bits = (round & 2) != 0 ? VMXC_EPTP_ACCESSED_DIRTY : 0;
        const unsigned log_index = (unsigned)rng_below(&rng, VMXC_PML_ENTRIES);
        set_up(&one, mode, levels, bits, log_index);
        set_up(&many, mode, levels, bits, log_index);
        fill_tables(&rng, levels);
        for (unsigned batch = 0; batch < BATCHES; batch++)
            access_both(&rng, counts);
        machine_fini(&one);
        machine_fini(&many);
    }
    printf("%u complete, %u exceptions, %u exits\n", counts[0], counts[1], counts[2]);
    ck_assert_uint_gt(counts[VMXSIM_OUTCOME_COMPLETE], 1000);
    ck_assert_uint_gt(counts[VMXSIM_OUTCOME_VM_EXIT], 1000);
}
END_TEST

/* ---- Refusals ---- */

START_TEST(what_one_access_refuses_many_refuse)
{
    const uint64_t linears[2] = {0x1000, 0x2000};
    struct vmxsim_access access = {.type = VMXSIM_ACCESS_READ, .size = 0};
    struct vmxsim_outcome outcomes[2];

    machine_init(&many, &(struct profile_changes){0});
    ck_assert_int_eq(vmxsim_walk_many(many.cpu, &access, linears, 2, outcomes), VMXC_BAD_STATE);
    machine_set_mode(&many, GUEST_NONE);
    machine_load(&many);
    ck_assert_int_eq(vmxsim_walk_many(many.cpu, &access, linears, 2, outcomes), VMXC_INVALID_INPUT);
    access.size = 1;
    ck_assert_int_eq(vmxsim_walk_many(many.cpu, &access, NULL, 0, NULL), VMXC_OK);
    ck_assert_int_eq(vmxsim_walk_many(many.cpu, &access, linears, 2, outcomes), VMXC_OK);
    ck_assert_uint_eq(outcomes[1].page[0].hpa, 0x2000);
    machine_fini(&many);
}
END_TEST

int main(void)
{
    Suite *const suite = suite_create("walk_many");
    TCase *const tcase = tcase_create("walk_many");

    suite_add_tcase(suite, tcase);
    tcase_add_test(tcase, what_one_access_refuses_many_refuse);
    tcase_add_loop_test(tcase, accesses_come_to_the_same_as_one_by_one, 0, GUEST_MODES);
    return run_suite(suite);
}
