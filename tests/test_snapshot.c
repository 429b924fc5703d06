/* SPDX-License-Identifier: Apache-2.0 */
/* Snapshots, handles, pages handed out, clones. */
#include "vmxsim/snapshot.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/require.h"
#include "support/rng.h"
#include "support/suite.h"
#include "vmxcore/addrspace.h"
#include "vmxsim/hazard.h"
#include "vmxsim/insn.h"

#define SEED UINT64_C(0x736e6170)
#define MB   (UINT64_C(1) << 20)
#define HIGH (UINT64_C(1) << 40)
#define PAGE VMXC_PAGE_SIZE

static struct vmxsim_memory *memory;
static struct vmxsim_cpu *cpu;

static struct vmxsim_memory *new_memory(void)
{
    const struct vmxsim_range ram[] = {{0, 16 * MB}, {HIGH, 16 * MB}};
    const struct vmxsim_memory_config config = {
        .ram = ram, .ram_count = 2, .frames = {4 * MB, 8 * MB}};
    struct vmxsim_memory *created;

    ck_assert_int_eq(vmxsim_memory_create(&config, &created, NULL), VMXC_OK);
    return created;
}

static void set_up(void)
{
    memory = new_memory();
    ck_assert_int_eq(vmxsim_cpu_create(memory, vmxsim_profile_builtin("icelake"), &cpu), VMXC_OK);
}

static void tear_down(void)
{
    vmxsim_cpu_destroy(cpu);
    vmxsim_memory_destroy(memory);
}

static void take(void)
{
    ck_assert_int_eq(vmxsim_snapshot_take(memory), VMXC_OK);
}

static uint64_t restore(void)
{
    uint64_t pages;

    ck_assert_int_eq(vmxsim_snapshot_restore(memory, &pages), VMXC_OK);
    return pages;
}

/* ---- What can go wrong ---- */

START_TEST(there_is_one_snapshot_at_a_time)
{
    ck_assert(!vmxsim_snapshot_exists(memory));
    ck_assert_int_eq(vmxsim_snapshot_restore(memory, NULL), VMXC_BAD_STATE);
    vmxsim_snapshot_drop(memory); /* nothing to drop */
    take();
    ck_assert(vmxsim_snapshot_exists(memory));
    ck_assert_int_eq(vmxsim_snapshot_take(memory), VMXC_BUSY);
    vmxsim_snapshot_drop(memory);
    ck_assert_int_eq(vmxsim_snapshot_restore(memory, NULL), VMXC_BAD_STATE);
    take();
}
END_TEST

START_TEST(handles_are_something_and_registered_once)
{
    uint32_t value = 1;

    ck_assert_int_eq(vmxsim_snapshot_register(memory, NULL, 4), VMXC_INVALID_INPUT);
    ck_assert_int_eq(vmxsim_snapshot_register(memory, &value, 0), VMXC_INVALID_INPUT);
    ck_assert_int_eq(vmxsim_snapshot_register(memory, &value, sizeof(value)), VMXC_OK);
    ck_assert_int_eq(vmxsim_snapshot_register(memory, &value, sizeof(value)), VMXC_ALREADY_EXISTS);
    vmxsim_snapshot_unregister(memory, &value);
    vmxsim_snapshot_unregister(memory, &value); /* nothing to do */
    ck_assert_int_eq(vmxsim_snapshot_register(memory, &value, sizeof(value)), VMXC_OK);
}
END_TEST

START_TEST(only_ram_in_one_piece_is_handed_out)
{
    void *pointer = NULL;

    ck_assert_int_eq(vmxsim_memory_hand_out(memory, 0, 0, &pointer), VMXC_INVALID_INPUT);
    ck_assert_int_eq(vmxsim_memory_hand_out(memory, 16 * MB, 1, &pointer), VMXC_INVALID_INPUT);
    ck_assert_int_eq(vmxsim_memory_hand_out(memory, 16 * MB - 1, 2, &pointer), VMXC_INVALID_INPUT);
    ck_assert_ptr_null(pointer);
    ck_assert_int_eq(vmxsim_memory_hand_out(memory, 16 * MB - 1, 1, &pointer), VMXC_OK);
    ck_assert_int_eq(vmxsim_memory_hand_back(memory, 16 * MB - 1, 2), VMXC_NOT_FOUND);
    ck_assert_int_eq(vmxsim_memory_hand_back(memory, 16 * MB - 1, 1), VMXC_OK);
    ck_assert_int_eq(vmxsim_memory_hand_back(memory, 16 * MB - 1, 1), VMXC_NOT_FOUND);
}
END_TEST

/* ---- What comes back ---- */

/* Everything that can be seen of a memory. */
struct view {
    struct vmxsim_digest digest;
    struct vmxsim_memory_stats stats;
};

static struct view look(struct vmxsim_memory *at)
{
    struct view view;

    memset(&view, 0, sizeof(view));
    view.stats = vmxsim_memory_stats(at);
    view.digest = vmxsim_memory_digest(at);
    return view;
}

static bool same(const struct view *a, const struct view *b)
{
    return memcmp(a, b, sizeof(*a)) == 0;
}

#define FRAMES 64u

/* The machine of the random test: a memory and the frames that its owner remembers. */
struct owner {
    uint64_t frame[FRAMES];
    uint32_t count;
};

static void random_write(struct vmxsim_memory *at, struct rng *rng)
{
    const uint64_t base = rng_chance(rng, 50) ? 0 : HIGH;
    uint8_t bytes[300];

    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)rng_next(rng);
    const uint64_t hpa = base + rng_below(rng, 16 * MB + 64); /* now and then into the hole */
    switch (rng_below(rng, 4)) {
    case 0:
        vmxsim_memory_write64(at, hpa, rng_next(rng));
        break;
    case 1:
        vmxsim_memory_write32(at, hpa, (uint32_t)rng_next(rng));
        break;
    case 2:
        vmxsim_memory_write(at, hpa, bytes, sizeof(bytes));
        break;
    default:
        if (vmxsim_memory_pointer(at, hpa) != NULL)
            *(uint8_t *)vmxsim_memory_pointer(at, hpa) = bytes[0];
    }
}

static void random_allocation(struct vmxsim_memory *at, struct owner *owner, struct rng *rng)
{
    const struct vmxc_hal *const hal = vmxsim_memory_hal(at);
    uint64_t hpa;

    if (owner->count < FRAMES && rng_chance(rng, 60)) {
        if (hal->alloc_frame(hal->context, "test", &hpa) == VMXC_OK)
            owner->frame[owner->count++] = hpa;
    } else if (owner->count != 0) {
        const uint32_t at_index = (uint32_t)rng_below(rng, owner->count);
        hal->dealloc_frame(hal->context, owner->frame[at_index]);
        owner->frame[at_index] = owner->frame[--owner->count];
    }
}

static void random_operations(struct vmxsim_memory *at, struct owner *owner, struct rng *rng,
                              unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        switch (rng_below(rng, 20)) {
        case 0:
            vmxsim_memory_fail_nth(at, 1 + rng_below(rng, 4));
            break;
        case 1:
            vmxsim_memory_fail_randomly(at, rng_next(rng), (uint32_t)rng_below(rng, 300000));
            break;
        case 2:
            (void)vmxsim_memory_read64(at, rng_below(rng, 17 * MB));
            break;
        default:
            if (rng_chance(rng, 50))
                random_write(at, rng);
            else
                random_allocation(at, owner, rng);
        }
    }
}

/* What happens after a snapshot is undone, and happens again in the same way. */
START_TEST(a_restored_machine_goes_on_as_it_did)
{
    struct rng rng = rng_for_sequence(SEED, (uint64_t)_i);
    struct owner owner = {.count = 0};

    ck_assert_int_eq(vmxsim_snapshot_register(memory, &owner, sizeof(owner)), VMXC_OK);
    random_operations(memory, &owner, &rng, (unsigned)rng_below(&rng, 200));
    take();
    const struct view before = look(memory);
    struct rng again = rng;
    random_operations(memory, &owner, &rng, 200);
    if (rng_chance(&rng, 20))
        vmxsim_memory_reset(memory);
    const struct view once = look(memory);
    for (unsigned round = 0; round < 3; round++) {
        (void)restore();
        const struct view after = look(memory);
        ck_assert_msg(same(&before, &after), "seed %#jx, sequence %d, round %u: not as it was",
                      (uintmax_t)SEED, _i, round);
        struct rng copy = again;
        random_operations(memory, &owner, &copy, 200);
        if (rng_chance(&copy, 20))
            vmxsim_memory_reset(memory);
        const struct view twice = look(memory);
        ck_assert_msg(same(&once, &twice), "seed %#jx, sequence %d, round %u: goes on otherwise",
                      (uintmax_t)SEED, _i, round);
    }
}
END_TEST

START_TEST(a_dropped_snapshot_leaves_the_machine_and_the_next_one_is_another)
{
    vmxsim_memory_write64(memory, 0x1000, 1);
    take();
    vmxsim_memory_write64(memory, 0x1000, 2);
    vmxsim_snapshot_drop(memory);
    ck_assert_uint_eq(vmxsim_memory_read64(memory, 0x1000), 2);
    take();
    vmxsim_memory_write64(memory, 0x1000, 3);
    vmxsim_memory_write64(memory, 0x2000, 3);
    ck_assert_uint_eq(restore(), 2);
    ck_assert_uint_eq(vmxsim_memory_read64(memory, 0x1000), 2);
    vmxsim_snapshot_drop(memory);
    vmxsim_memory_reset(memory);
    ck_assert_uint_eq(vmxsim_memory_read64(memory, 0x1000), 0);
}
END_TEST

/* The cost of a restore is what was written since, each page once. */
START_TEST(a_restore_copies_the_pages_that_were_written)
{
    for (uint64_t page = 0; page < 512; page++)
        vmxsim_memory_write64(memory, page * PAGE, page);
    take();
    ck_assert_uint_eq(restore(), 0);
    for (uint64_t page = 0; page < 10; page++) {
        vmxsim_memory_write64(memory, HIGH + page * PAGE, 1);
        vmxsim_memory_write64(memory, HIGH + page * PAGE + 8, 1);
    }
    ck_assert_uint_eq(restore(), 10);
    ck_assert_uint_eq(restore(), 0);
    (void)vmxsim_memory_read64(memory, 0x3000);
    ck_assert_uint_eq(restore(), 0);
}
END_TEST

START_TEST(processors_come_back)
{
    struct vmxsim_insn_result result;
    struct vmxsim_cpu *late;

    vmxsim_memory_write32(memory, 0x1000, 4); /* the revision identifier of the profile */
    take();
    ck_assert_int_eq(vmxsim_insn_vmxon(cpu, 0x1000, &result), VMXC_OK);
    ck_assert_int_eq(result.kind, VMXSIM_INSN_SUCCEEDED);
    ck_assert_int_eq(vmxsim_cpu_create(memory, vmxsim_profile_builtin("icelake"), &late), VMXC_OK);
    ck_assert_int_eq(vmxsim_insn_wrmsr(late, 0x277, 0, &result), VMXC_OK);
    (void)restore();
    ck_assert_int_eq(vmxsim_cpu_vmx_state(cpu).mode, VMXSIM_VMX_OFF);
    ck_assert_int_eq(vmxsim_insn_rdmsr(late, 0x277, &result), VMXC_OK);
    ck_assert_uint_eq(result.value, 0); /* it came later, and stays as it is */
    vmxsim_cpu_destroy(late);
    (void)restore();
}
END_TEST

/* Regions that are in use when the snapshot is taken are in use again: nobody has written to them. */
START_TEST(restoring_is_no_hazard)
{
    struct vmxsim_insn_result result;

    vmxsim_memory_write32(memory, 0x1000, 4);
    vmxsim_memory_write32(memory, 0x2000, 4);
    ck_assert_int_eq(vmxsim_insn_vmxon(cpu, 0x1000, &result), VMXC_OK);
    ck_assert_int_eq(vmxsim_insn_vmptrld(cpu, 0x2000, &result), VMXC_OK);
    take();
    vmxsim_memory_write32(memory, 0x2008, 1);
    ck_assert_uint_eq(vmxsim_hazard_count(memory), 1);
    ck_assert_int_eq(vmxsim_insn_vmclear(cpu, 0x2000, &result), VMXC_OK);
    ck_assert_int_eq(vmxsim_insn_vmxoff(cpu, &result), VMXC_OK);
    (void)restore();
    ck_assert_uint_eq(vmxsim_hazard_count(memory), 0);
    ck_assert_int_eq(vmxsim_insn_vmclear(cpu, 0x2000, &result), VMXC_OK);
    ck_assert_int_eq(result.kind, VMXSIM_INSN_SUCCEEDED);
    ck_assert_uint_eq(vmxsim_hazard_count(memory), 0);
    vmxsim_memory_write32(memory, 0x1008, 1); /* the VMXON region is in use as it was */
    ck_assert_uint_eq(vmxsim_hazard_count(memory), 1);
}
END_TEST

/* libvmxcore's stores through pointers are announced; its handle goes back with the memory. */
START_TEST(an_address_space_comes_back)
{
    const struct vmxc_ept_config config = {.levels = 4,
                                           .maxphyaddr = 46,
                                           .largest_page = VMXC_PAGE_LEVEL_1G,
                                           .table_memory_type = VMXC_MEMORY_TYPE_WB};
    const uint32_t rw = VMXC_MAP_READ | VMXC_MAP_WRITE;
    struct vmxc_addrspace space;
    struct vmxc_translation translation;

    ck_assert_int_eq(
        vmxc_addrspace_init(&space, vmxsim_memory_hal(memory), &config, 0, UINT64_C(1) << 40),
        VMXC_OK);
    ck_assert_int_eq(vmxc_addrspace_map_alloc(&space, 0x10000, 16 * PAGE, rw, false), VMXC_OK);
    ck_assert_int_eq(vmxsim_snapshot_register(memory, &space, sizeof(space)), VMXC_OK);
    take();
    const struct view before = look(memory);
    for (unsigned round = 0; round < 3; round++) {
        ck_assert_int_eq(vmxc_addrspace_handle_page_fault(&space, 0x12000, VMXC_MAP_READ),
                         VMXC_FAULT_MAPPED);
        ck_assert_int_eq(vmxc_addrspace_unmap(&space, 0x10000, PAGE), VMXC_OK);
        ck_assert_int_eq(vmxc_addrspace_map_linear(&space, 0x100000, 0, 2 * MB, rw), VMXC_OK);
        (void)restore();
        const struct view after = look(memory);
        ck_assert(same(&before, &after));
        ck_assert(vmxc_addrspace_is_valid(&space));
        ck_assert_int_eq(vmxc_addrspace_translate(&space, 0x12000, &translation), VMXC_NOT_BACKED);
        ck_assert_int_eq(vmxc_addrspace_translate(&space, 0x100000, &translation), VMXC_NOT_FOUND);
    }
    vmxsim_snapshot_unregister(memory, &space);
    vmxc_addrspace_fini(&space);
    ck_assert_uint_eq(vmxsim_memory_stats(memory).frames_in_use, 0);
}
END_TEST

START_TEST(pages_that_are_handed_out_count_as_written)
{
    void *pointer;
    uint8_t *bytes;

    vmxsim_memory_write64(memory, 0x5000, 7);
    ck_assert_int_eq(vmxsim_memory_hand_out(memory, 0x5000, 2 * PAGE, &pointer), VMXC_OK);
    bytes = pointer;
    take();
    for (unsigned round = 0; round < 3; round++) {
        bytes[0] = 9;
        bytes[PAGE] = 9;
        ck_assert_uint_eq(restore(), 2);
        ck_assert_uint_eq(bytes[0], 7);
        ck_assert_uint_eq(bytes[PAGE], 0);
    }
    bytes[1] = 9;
    ck_assert_int_eq(vmxsim_memory_hand_back(memory, 0x5000, 2 * PAGE), VMXC_OK);
    ck_assert_uint_eq(restore(), 2);
    ck_assert_uint_eq(vmxsim_memory_read64(memory, 0x5000), 7);
    ck_assert_uint_eq(restore(), 0);
}
END_TEST

START_TEST(what_is_handed_out_after_the_snapshot_comes_back_too)
{
    void *pointer;

    take();
    ck_assert_int_eq(vmxsim_memory_hand_out(memory, HIGH, PAGE, &pointer), VMXC_OK);
    memset(pointer, 0x5a, PAGE);
    (void)restore();
    ck_assert_uint_eq(*(uint8_t *)pointer, 0);
    vmxsim_memory_reset(memory);
    memset(pointer, 0x5a, PAGE); /* a reset does not take it back either */
    const struct vmxsim_digest written = vmxsim_memory_digest(memory);
    memset(pointer, 0, PAGE);
    const struct vmxsim_digest empty = vmxsim_memory_digest(memory);
    ck_assert(written.low != empty.low);
}
END_TEST

/* ---- Clones ---- */

START_TEST(a_clone_is_alike_and_apart)
{
    struct rng rng = rng_for_sequence(~SEED, (uint64_t)_i);
    struct owner owner = {.count = 0};
    struct vmxsim_memory *clone;

    random_operations(memory, &owner, &rng, 300);
    ck_assert_int_eq(vmxsim_memory_clone(memory, &clone, NULL), VMXC_OK);
    const struct view before = look(memory), copied = look(clone);
    ck_assert(same(&before, &copied));

    struct rng same_choices = rng;
    struct owner second = owner;
    random_operations(clone, &second, &same_choices, 100);
    const struct view untouched = look(memory), changed = look(clone);
    ck_assert(same(&before, &untouched));
    random_operations(memory, &owner, &rng, 100);
    const struct view followed = look(memory), unmoved = look(clone);
    ck_assert(same(&changed, &followed));
    ck_assert(same(&changed, &unmoved));
    vmxsim_memory_destroy(clone);
}
END_TEST

START_TEST(a_cloned_processor_has_the_same_state)
{
    struct vmxsim_insn_result result;
    struct vmxsim_memory *clone;
    struct vmxsim_cpu *other;

    vmxsim_memory_write32(memory, 0x1000, 4);
    ck_assert_int_eq(vmxsim_insn_vmxon(cpu, 0x1000, &result), VMXC_OK);
    ck_assert_int_eq(vmxsim_memory_clone(memory, &clone, NULL), VMXC_OK);
    ck_assert_int_eq(vmxsim_cpu_clone(NULL, clone, &other), VMXC_INVALID_INPUT);
    ck_assert_int_eq(vmxsim_cpu_clone(cpu, clone, &other), VMXC_OK);
    ck_assert_int_eq(vmxsim_cpu_vmx_state(other).mode, VMXSIM_VMX_ROOT);
    ck_assert_int_eq(vmxsim_insn_vmxoff(other, &result), VMXC_OK);
    ck_assert_int_eq(vmxsim_cpu_vmx_state(cpu).mode, VMXSIM_VMX_ROOT);
    vmxsim_cpu_destroy(other);
    vmxsim_memory_destroy(clone);
}
END_TEST

int main(void)
{
    Suite *const suite = suite_create("snapshot");
    TCase *const refusals = suite_case(suite, "refusals", set_up, tear_down);
    TCase *const returns = suite_case(suite, "returns", set_up, tear_down);
    TCase *const clones = suite_case(suite, "clones", set_up, tear_down);

    tcase_add_test(refusals, there_is_one_snapshot_at_a_time);
    tcase_add_test(refusals, handles_are_something_and_registered_once);
    tcase_add_test(refusals, only_ram_in_one_piece_is_handed_out);

    tcase_add_loop_test(returns, a_restored_machine_goes_on_as_it_did, 0, 60);
    tcase_add_test(returns, a_dropped_snapshot_leaves_the_machine_and_the_next_one_is_another);
    tcase_add_test(returns, a_restore_copies_the_pages_that_were_written);
    tcase_add_test(returns, processors_come_back);
    tcase_add_test(returns, restoring_is_no_hazard);
    tcase_add_test(returns, an_address_space_comes_back);
    tcase_add_test(returns, pages_that_are_handed_out_count_as_written);
    tcase_add_test(returns, what_is_handed_out_after_the_snapshot_comes_back_too);

    tcase_add_loop_test(clones, a_clone_is_alike_and_apart, 0, 20);
    tcase_add_test(clones, a_cloned_processor_has_the_same_state);
    return run_suite(suite);
}
