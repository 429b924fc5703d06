/* SPDX-License-Identifier: Apache-2.0 */
/* The snapshot loop of fuzz harnesses. */
#include "vmxsim/fuzz.h"

#include <check.h>
#include <string.h>

#include "support/suite.h"
#include "vmxcore/addrspace.h"
#include "vmxsim/insn.h"

#define MB   (UINT64_C(1) << 20)
#define PAGE VMXC_PAGE_SIZE

static struct vmxsim_memory *memory;
static struct vmxsim_cpu *cpu;
static struct vmxc_addrspace space;
static uint8_t account[16];
static struct vmxsim_fuzz_loop loop;

static const struct vmxsim_fuzz_value_at values[] = {{&space, sizeof space},
                                                     {account, sizeof account}};

static void set_up(void)
{
    const struct vmxsim_range ram = {.base = 0, .length = 16 * MB};
    const struct vmxsim_memory_config config = {
        .ram = &ram, .ram_count = 1, .frames = {8 * MB, 8 * MB}};
    const struct vmxc_ept_config ept = {.levels = 4,
                                        .maxphyaddr = 46,
                                        .largest_page = VMXC_PAGE_LEVEL_4K,
                                        .table_memory_type = VMXC_MEMORY_TYPE_WB};

    ck_assert_int_eq(vmxsim_memory_create(&config, &memory, NULL), VMXC_OK);
    ck_assert_int_eq(vmxsim_cpu_create(memory, vmxsim_profile_builtin("icelake"), &cpu), VMXC_OK);
    ck_assert_int_eq(vmxc_addrspace_init(&space, vmxsim_memory_hal(memory), &ept, 0, 64 * MB),
                     VMXC_OK);
    memset(account, 0, sizeof account);
    loop = (struct vmxsim_fuzz_loop){.memory = NULL};
}

static void tear_down(void)
{
    vmxsim_fuzz_loop_end(&loop);
    vmxsim_cpu_destroy(cpu);
    vmxsim_memory_destroy(memory);
}

static void begin(void)
{
    ck_assert_int_eq(vmxsim_fuzz_loop_begin(&loop, memory, values, 2), VMXC_OK);
}

/* Whatever was refused: no snapshot is left, no value is registered, and a loop can begin. */
static void expect_nothing_begun(void)
{
    ck_assert_ptr_null(loop.memory);
    ck_assert(!vmxsim_snapshot_exists(memory));
    begin();
}

START_TEST(too_many_values_are_refused)
{
    struct vmxsim_fuzz_value_at many[VMXSIM_FUZZ_MAX_VALUES + 1];

    for (size_t i = 0; i < VMXSIM_FUZZ_MAX_VALUES + 1; i++)
        many[i] = (struct vmxsim_fuzz_value_at){&account[i], 1};
    ck_assert_int_eq(vmxsim_fuzz_loop_begin(&loop, memory, many, VMXSIM_FUZZ_MAX_VALUES + 1),
                     VMXC_INVALID_INPUT);
    expect_nothing_begun();
}
END_TEST

START_TEST(a_value_that_is_none_is_refused_and_those_before_it_are_forgotten)
{
    const struct vmxsim_fuzz_value_at wrong[] = {{account, sizeof account}, {NULL, 1}};
    const struct vmxsim_fuzz_value_at twice[] = {{account, sizeof account}, {account, 1}};

    ck_assert_int_eq(vmxsim_fuzz_loop_begin(&loop, memory, wrong, 2), VMXC_INVALID_INPUT);
    ck_assert_int_eq(vmxsim_fuzz_loop_begin(&loop, memory, twice, 2), VMXC_ALREADY_EXISTS);
    expect_nothing_begun();
}
END_TEST

START_TEST(a_memory_with_a_snapshot_is_refused_and_keeps_it)
{
    ck_assert_int_eq(vmxsim_snapshot_take(memory), VMXC_OK);
    ck_assert_int_eq(vmxsim_fuzz_loop_begin(&loop, memory, values, 2), VMXC_BUSY);
    ck_assert_ptr_null(loop.memory);
    ck_assert(vmxsim_snapshot_exists(memory));
    vmxsim_snapshot_drop(memory);
    expect_nothing_begun();
}
END_TEST

START_TEST(without_a_beginning_nothing_happens)
{
    vmxsim_memory_write64(memory, 0x1000, 5);
    vmxsim_fuzz_loop_next(&loop);
    vmxsim_fuzz_loop_end(&loop);
    ck_assert_uint_eq(vmxsim_memory_read64(memory, 0x1000), 5);
}
END_TEST

START_TEST(each_input_finds_memory_frames_processor_and_values_as_they_were)
{
    vmxsim_memory_write64(memory, 0x1000, 5);
    account[3] = 7;
    const struct vmxsim_root_state root = vmxsim_cpu_root_state(cpu);
    const struct vmxsim_digest digest = vmxsim_memory_digest(memory);
    const struct vmxsim_memory_stats stats = vmxsim_memory_stats(memory);
    begin();

    for (uint64_t round = 0; round < 1000; round++) {
        vmxsim_memory_write64(memory, 0x1000 + PAGE * (round % 8), round + 1);
        account[3] = (uint8_t)round;
        vmxsim_cpu_reset(cpu, &(struct vmxsim_root_state){.cr0 = round});
        ck_assert_int_eq(vmxc_addrspace_map_alloc(&space, 0, 8 * PAGE, VMXC_MAP_RWX, true),
                         VMXC_OK);
        vmxsim_memory_fail_nth(memory, 1 + round);
        vmxsim_fuzz_loop_next(&loop);

        const struct vmxsim_digest now = vmxsim_memory_digest(memory);
        const struct vmxsim_memory_stats now_stats = vmxsim_memory_stats(memory);
        ck_assert(now.low == digest.low && now.high == digest.high);
        ck_assert_mem_eq(&now_stats, &stats, sizeof stats);
        ck_assert_uint_eq(account[3], 7);
        ck_assert_uint_eq(vmxsim_cpu_root_state(cpu).cr0, root.cr0);
        ck_assert(vmxc_addrspace_is_valid(&space));
    }
}
END_TEST

START_TEST(an_end_forgets_the_values_and_leaves_the_machine_as_it_is)
{
    begin();
    vmxsim_memory_write64(memory, 0x1000, 5);
    account[0] = 9;
    vmxsim_fuzz_loop_end(&loop);
    ck_assert_uint_eq(vmxsim_memory_read64(memory, 0x1000), 5);
    ck_assert_uint_eq(account[0], 9);
    ck_assert(!vmxsim_snapshot_exists(memory));
    begin();
    vmxsim_fuzz_loop_next(&loop);
    ck_assert_uint_eq(account[0], 9);
}
END_TEST

struct visits {
    unsigned count;
    uint64_t hpa[8];
};

static void note_page(void *context, uint64_t hpa, const uint8_t *bytes)
{
    struct visits *const visits = context;

    ck_assert_uint_lt(visits->count, 8);
    ck_assert_ptr_nonnull(bytes);
    visits->hpa[visits->count++] = hpa;
}

START_TEST(pages_count_as_written_from_one_input_to_the_next)
{
    struct visits visits = {.count = 0};

    vmxsim_memory_write64(memory, 0x1000, 1);
    begin();
    vmxsim_fuzz_loop_written_pages(&loop, note_page, &visits);
    ck_assert_uint_eq(visits.count, 0);
    vmxsim_memory_write64(memory, 0x7ff8, 1);
    vmxsim_memory_write64(memory, 0x2ffc, 1); /* both sides of a border */
    vmxsim_fuzz_loop_written_pages(&loop, note_page, &visits);
    ck_assert_uint_eq(visits.count, 3);
    ck_assert_uint_eq(visits.hpa[0], 0x2000);
    ck_assert_uint_eq(visits.hpa[1], 0x3000);
    ck_assert_uint_eq(visits.hpa[2], 0x7000);
    vmxsim_fuzz_loop_next(&loop);
    visits.count = 0;
    vmxsim_fuzz_loop_written_pages(&loop, note_page, &visits);
    ck_assert_uint_eq(visits.count, 0);
}
END_TEST

int main(void)
{
    Suite *const suite = suite_create("fuzz_loop");
    TCase *const refusals = suite_case(suite, "refusals", set_up, tear_down);
    TCase *const loops = suite_case(suite, "loops", set_up, tear_down);

    tcase_add_test(refusals, too_many_values_are_refused);
    tcase_add_test(refusals, a_value_that_is_none_is_refused_and_those_before_it_are_forgotten);
    tcase_add_test(refusals, a_memory_with_a_snapshot_is_refused_and_keeps_it);
    tcase_add_test(refusals, without_a_beginning_nothing_happens);
    tcase_add_test(loops, each_input_finds_memory_frames_processor_and_values_as_they_were);
    tcase_add_test(loops, an_end_forgets_the_values_and_leaves_the_machine_as_it_is);
    tcase_add_test(loops, pages_count_as_written_from_one_input_to_the_next);
    return run_suite(suite);
}
