/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libvmxcore's changes of a guest address space under a processor that caches: with an exact cache each access comes to what the
 * space says; with a lazy one too, but for rights that were added, which may be missed once; and nothing stale is ever used,
 * because libvmxcore invalidates what it has to. Where the HAL does not pass that on, the lazy cache shows it.
 */
#include <check.h>
#include <inttypes.h>
#include <stdio.h>

#include "support/machine.h"
#include "support/rng.h"
#include "support/suite.h"
#include "vmxcore/addrspace.h"
#include "vmxsim/hazard.h"
#include "vmxsim/tlb.h"

#define SEED UINT64_C(0x737061)

enum { ROUNDS = 20, STEPS = 3000, PAGES = 1536 /* of 4 KBytes: three of 2 MBytes */, BUSY = 40 };

#define SPACE_SIZE (PAGES * VMXC_PAGE_SIZE)
#define HOST_BASE  UINT64_C(0x40000000) /* what is mapped; frames of the allocator are elsewhere */

static struct machine machine;
static struct vmxc_hal hal;
static struct vmxc_addrspace space;

static void forget_invalidation(void *context, uint64_t eptp)
{
    (void)context;
    (void)eptp;
}

static void set_up(enum vmxsim_tlb_mode mode, bool accessed_dirty, bool invalidates)
{
    const struct vmxc_ept_config config = {.levels = 4,
                                           .maxphyaddr = 46,
                                           .largest_page = VMXC_PAGE_LEVEL_1G,
                                           .accessed_dirty = accessed_dirty,
                                           .table_memory_type = VMXC_MEMORY_TYPE_WB};

    machine_init(&machine, NULL);
    hal = *vmxsim_memory_hal(machine.memory);
    if (!invalidates)
        hal.invalidate_ept = forget_invalidation;
    ck_assert_int_eq(vmxc_addrspace_init(&space, &hal, &config, 0, SPACE_SIZE), VMXC_OK);
    machine_set_mode(&machine, GUEST_NONE);
    VMXSIM_VMCS(&machine.vmcs, PRIMARY_PROCESSOR_BASED_CONTROLS) = CTL_SECONDARY;
    VMXSIM_VMCS(&machine.vmcs, SECONDARY_PROCESSOR_BASED_CONTROLS) = CTL2_EPT | CTL2_UNRESTRICTED;
    VMXSIM_VMCS(&machine.vmcs, EPT_POINTER) = vmxc_addrspace_eptp(&space);
    ck_assert_int_eq(vmxsim_cpu_set_tlb(machine.cpu, mode), VMXC_OK);
    machine_load(&machine);
}

static void tear_down(void)
{
    vmxc_addrspace_fini(&space);
    ck_assert_uint_eq(vmxsim_memory_stats(machine.memory).frames_in_use, 0);
    machine_fini(&machine);
}

static uint32_t random_flags(struct rng *rng)
{
    static const uint32_t flags[] = {VMXC_MAP_READ, VMXC_MAP_READ | VMXC_MAP_WRITE, VMXC_MAP_RWX,
                                     VMXC_MAP_READ | VMXC_MAP_EXECUTE, VMXC_MAP_RWX};

    return flags[rng_below(rng, (uint64_t)COUNT(flags))];
}

/* What cannot be done in the space as it is, is refused, and that is fine. */
static void change(struct rng *rng)
{
    const bool large = rng_chance(rng, 10);
    const uint64_t unit = large ? 512 * VMXC_PAGE_SIZE : VMXC_PAGE_SIZE;
    const uint64_t units = SPACE_SIZE / unit;
    const uint64_t gpa = rng_below(rng, rng_chance(rng, 80) && !large ? BUSY : units) * unit;
    const uint64_t most = large ? 1 : 1 + rng_below(rng, 20);
    const uint64_t size = gpa + most * unit <= SPACE_SIZE ? most * unit : unit;

    switch (rng_below(rng, 6)) {
    case 0:
    case 1:
        (void)!vmxc_addrspace_map_linear(&space, gpa, HOST_BASE + gpa, size, random_flags(rng));
        break;
    case 2:
        (void)!vmxc_addrspace_map_alloc(&space, gpa, size, random_flags(rng), true);
        break;
    case 3:
        (void)!vmxc_addrspace_unmap(&space, gpa, size);
        break;
    case 4:
        (void)!vmxc_addrspace_protect(&space, gpa, size, random_flags(rng));
        break;
    default:
        (void)!vmxc_addrspace_unmap(&space, gpa, size);
        (void)!vmxc_addrspace_map_linear(&space, gpa, 2 * HOST_BASE + gpa, size, VMXC_MAP_RWX);
    }
}

static bool is_allowed(enum vmxsim_access_type type, uint32_t flags)
{
    const uint32_t needed = type == VMXSIM_ACCESS_FETCH   ? VMXC_MAP_EXECUTE
                            : type == VMXSIM_ACCESS_READ  ? VMXC_MAP_READ
                            : type == VMXSIM_ACCESS_WRITE ? VMXC_MAP_WRITE
                                                          : VMXC_MAP_READ | VMXC_MAP_WRITE;

    return (flags & needed) == needed;
}

/* What the space says of an access, and what it came to. */
static bool agrees(uint64_t gpa, enum vmxsim_access_type type, const struct vmxsim_outcome *outcome)
{
    struct vmxc_translation translation;

    if (vmxc_addrspace_translate(&space, gpa, &translation) != VMXC_OK ||
        !is_allowed(type, translation.flags))
        return outcome->kind == VMXSIM_OUTCOME_VM_EXIT &&
               outcome->exit_reason == EXIT_EPT_VIOLATION;
    return outcome->kind == VMXSIM_OUTCOME_COMPLETE && outcome->page[0].hpa == translation.hpa;
}

/* Counts accesses that missed a right. False: the access does not agree with the space. */
static bool access_agrees(struct rng *rng, enum vmxsim_tlb_mode mode, unsigned *spurious)
{
    const enum vmxsim_access_type type =
        (enum vmxsim_access_type)rng_below(rng, VMXSIM_ACCESS_RMW + 1);
    const uint64_t gpa = rng_below(rng, rng_chance(rng, 80) ? BUSY * VMXC_PAGE_SIZE : SPACE_SIZE);
    struct vmxsim_outcome outcome = machine_access(&machine, type, gpa, 1);

    if (mode == VMXSIM_TLB_LAZY && !agrees(gpa, type, &outcome) &&
        outcome.exit_reason == EXIT_EPT_VIOLATION) {
        outcome = machine_access(&machine, type, gpa, 1);
        (*spurious)++;
    }
    return agrees(gpa, type, &outcome);
}

START_TEST(nothing_stale_is_used)
{
    const enum vmxsim_tlb_mode mode = (enum vmxsim_tlb_mode)_i;
    unsigned spurious = 0;

    printf("seed %#" PRIx64 ", %s\n", SEED, vmxsim_tlb_mode_name(mode));
    for (unsigned round = 0; round < ROUNDS; round++) {
        struct rng rng = rng_for_sequence(SEED, round);
        set_up(mode, round & 1, true);
        for (unsigned step = 0; step < STEPS; step++) {
            if (rng_chance(&rng, 10))
                change(&rng);
            ck_assert_msg(access_agrees(&rng, mode, &spurious), "round %u, step %u", round, step);
        }
        ck_assert_uint_eq(vmxsim_hazard_count(machine.memory), 0);
        tear_down();
    }
    printf("%u accesses missed a right that had been added\n", spurious);
    if (mode == VMXSIM_TLB_LAZY)
        ck_assert_uint_gt(spurious, 0);
}
END_TEST

/* The lazy cache finds what is missing; neither of the others can. */
START_TEST(a_hal_that_does_not_invalidate_is_found)
{
    const enum vmxsim_tlb_mode mode = (enum vmxsim_tlb_mode)_i;
    unsigned spurious = 0, wrong = 0;
    struct rng rng = rng_seeded(SEED);

    set_up(mode, true, false);
    for (unsigned step = 0; step < STEPS; step++) {
        if (rng_chance(&rng, 10))
            change(&rng);
        wrong += !access_agrees(&rng, mode, &spurious);
    }
    if (mode == VMXSIM_TLB_LAZY) {
        struct vmxsim_hazard hazard;
        ck_assert_uint_gt(wrong, 0);
        ck_assert_uint_eq(vmxsim_hazards_last(machine.memory, &hazard, 1), 1);
        ck_assert_int_eq(hazard.rule, VMXSIM_HAZARD_TLB_EPT);
    } else {
        ck_assert_uint_eq(wrong, 0);
        ck_assert_uint_eq(vmxsim_hazard_count(machine.memory), 0);
    }
    tear_down();
}
END_TEST

int main(void)
{
    Suite *const suite = suite_create("tlb_space");
    TCase *const tcase = suite_case(suite, "space", NULL, NULL);

    tcase_add_loop_test(tcase, nothing_stale_is_used, 0, VMXSIM_TLB_MODE_COUNT);
    tcase_add_loop_test(tcase, a_hal_that_does_not_invalidate_is_found, 0, VMXSIM_TLB_MODE_COUNT);
    return run_suite(suite);
}
