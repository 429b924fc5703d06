/* SPDX-License-Identifier: Apache-2.0 */
/* The address space: life cycle, and what is refused and what a refusal leaves, failing allocations included. */
#include <check.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "support/space.h"
#include "support/suite.h"

#define GPA  UINT64_C(0x40000000)
#define PAGE SPACE_PAGE

/* ---- Life cycle ---- */

START_TEST(init_refuses_what_cannot_be_a_space)
{
    static const struct {
        uint64_t base, size;
    } bad[] = {
        {0, 0},
        {1, PAGE},
        {0, PAGE + 1},
        {0, (UINT64_C(1) << 46) + PAGE},        /* beyond MAXPHYADDR */
        {(UINT64_C(1) << 46) - PAGE, 2 * PAGE}, /* across it */
        {UINT64_MAX - PAGE + 1, PAGE},          /* ends at 2^64 */
        {PAGE, UINT64_MAX - PAGE + 1},          /* wraps */
    };
    struct test_hal *hal = test_hal_create(16);
    struct vmxc_addrspace space;
    struct vmxc_addrspace untouched;

    memset(&space, 0x5a, sizeof(space));
    memcpy(&untouched, &space, sizeof(space));
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        ck_assert_int_eq(
            vmxc_addrspace_init(&space, &hal->hal, &space_config, bad[i].base, bad[i].size),
            VMXC_INVALID_INPUT);
    hal->fail_at = 1;
    ck_assert_int_eq(vmxc_addrspace_init(&space, &hal->hal, &space_config, 0, PAGE),
                     VMXC_NO_MEMORY);
    ck_assert_mem_eq(&space, &untouched, sizeof(space));
    test_hal_destroy(hal);
}
END_TEST

START_TEST(an_uninitialized_space_answers)
{
    struct vmxc_addrspace space = {.base = 0};
    struct vmxc_translation translation;
    struct vmxc_translation_limit limit;
    struct vmxc_guest_segment segment;
    size_t count;
    char text[64];

    ck_assert_int_eq(vmxc_addrspace_map_linear(&space, 0, 0, PAGE, VMXC_MAP_READ), VMXC_BAD_STATE);
    ck_assert_int_eq(vmxc_addrspace_map_alloc(&space, 0, PAGE, VMXC_MAP_READ, true),
                     VMXC_BAD_STATE);
    ck_assert_int_eq(vmxc_addrspace_replace_linear(&space, 0, 0, PAGE, VMXC_MAP_READ),
                     VMXC_BAD_STATE);
    ck_assert_int_eq(vmxc_addrspace_replace_alloc(&space, 0, PAGE, VMXC_MAP_READ, true),
                     VMXC_BAD_STATE);
    ck_assert_int_eq(vmxc_addrspace_unmap(&space, 0, PAGE), VMXC_BAD_STATE);
    ck_assert_int_eq(vmxc_addrspace_protect(&space, 0, PAGE, VMXC_MAP_READ), VMXC_BAD_STATE);
    ck_assert_int_eq(vmxc_addrspace_clear(&space), VMXC_BAD_STATE);
    ck_assert_int_eq(vmxc_addrspace_translate(&space, 0, &translation), VMXC_BAD_STATE);
    ck_assert_int_eq(vmxc_addrspace_translate_with_limit(&space, 0, &limit), VMXC_BAD_STATE);
    ck_assert_int_eq(vmxc_addrspace_buffer(&space, 0, 1, VMXC_MAP_READ, &segment, 1, &count),
                     VMXC_BAD_STATE);
    ck_assert_int_eq(vmxc_addrspace_for_each_area(&space, NULL, NULL), VMXC_BAD_STATE);
    ck_assert_int_eq(vmxc_addrspace_for_each_mapping(&space, NULL, NULL), VMXC_BAD_STATE);
    ck_assert_int_eq(vmxc_addrspace_handle_page_fault(&space, 0, VMXC_MAP_READ),
                     VMXC_FAULT_NO_AREA);
    ck_assert(!vmxc_addrspace_is_valid(&space));
    ck_assert_uint_eq(vmxc_addrspace_eptp(&space), 0);
    ck_assert_uint_eq(vmxc_addrspace_format(&space, text, sizeof(text)), strlen(text));
    ck_assert_str_eq(text, "address space (uninitialized)\n");
    vmxc_addrspace_fini(&space);
}
END_TEST

START_TEST(accessors_tell_the_extent)
{
    struct test_hal *hal = test_hal_create(16);
    struct vmxc_addrspace space;

    OK(vmxc_addrspace_init(&space, &hal->hal, &space_config, 0x10000, 0x8000));
    ck_assert_uint_eq(vmxc_addrspace_base(&space), 0x10000);
    ck_assert_uint_eq(vmxc_addrspace_size(&space), 0x8000);
    ck_assert_uint_eq(vmxc_addrspace_end(&space), 0x18000);
    ck_assert(vmxc_addrspace_contains(&space, 0x10000, 0x8000));
    ck_assert(vmxc_addrspace_contains(&space, 0x17fff, 1));
    ck_assert(!vmxc_addrspace_contains(&space, 0x17fff, 2));
    ck_assert(!vmxc_addrspace_contains(&space, 0xffff, 1));
    ck_assert(!vmxc_addrspace_contains(&space, 0xffff, 2));
    ck_assert(!vmxc_addrspace_contains(&space, 0x18000, 1));
    ck_assert(!vmxc_addrspace_contains(&space, 0x12000, 0));
    ck_assert(!vmxc_addrspace_contains(&space, 0x12000, UINT64_MAX));
    ck_assert_uint_eq(vmxc_addrspace_eptp(&space) & VMXC_EPTP_ADDRESS, vmxc_addrspace_root(&space));
    ck_assert_ptr_eq(vmxc_addrspace_ept(&space), &space.ept);
    vmxc_addrspace_fini(&space);
    vmxc_addrspace_fini(&space);
    ck_assert_uint_eq(vmxc_addrspace_size(&space), 0);
    test_hal_destroy(hal);
}
END_TEST

/* ---- Refusals ---- */

static const struct {
    uint64_t gpa, size;
} bad_ranges[] = {
    {GPA, 0},
    {GPA + 1, PAGE},
    {GPA, PAGE - 1},
    {UINT64_C(1) << 40, PAGE},              /* behind the space */
    {(UINT64_C(1) << 40) - PAGE, 2 * PAGE}, /* across its end */
    {UINT64_MAX - PAGE + 1, PAGE},          /* address + size is 2^64 */
    {GPA, UINT64_MAX - PAGE + 1},           /* address + size overflows */
    {UINT64_C(1) << 48, PAGE},              /* would alias 0 if it were truncated */
};

START_TEST(a_bad_range_is_refused_by_every_operation)
{
    struct space *s = space_create(64);
    const uint64_t gpa = bad_ranges[_i].gpa;
    const uint64_t size = bad_ranges[_i].size;
    struct vmxc_addrspace *space = &s->space;

    OK(vmxc_addrspace_map_alloc(space, 0, 4 * PAGE, SPACE_RW, true));
    OK(vmxc_addrspace_map_alloc(space, (UINT64_C(1) << 40) - PAGE, PAGE, SPACE_RW, false));
    char *before = space_dump(s);
    ck_assert_int_eq(vmxc_addrspace_map_linear(space, gpa, 0, size, SPACE_RW), VMXC_INVALID_INPUT);
    for (int populate = 0; populate < 2; populate++) {
        ck_assert_int_eq(vmxc_addrspace_map_alloc(space, gpa, size, SPACE_RW, populate),
                         VMXC_INVALID_INPUT);
        ck_assert_int_eq(vmxc_addrspace_replace_alloc(space, gpa, size, SPACE_RW, populate),
                         VMXC_INVALID_INPUT);
    }
    ck_assert_int_eq(vmxc_addrspace_replace_linear(space, gpa, 0, size, SPACE_RW),
                     VMXC_INVALID_INPUT);
    ck_assert_int_eq(vmxc_addrspace_unmap(space, gpa, size), VMXC_INVALID_INPUT);
    ck_assert_int_eq(vmxc_addrspace_protect(space, gpa, size, SPACE_RW), VMXC_INVALID_INPUT);
    space_assert_same(s, before, "a refused call");
    space_destroy(s);
}
END_TEST

START_TEST(a_bad_host_address_is_refused)
{
    static const uint64_t bad[] = {1, UINT64_C(1) << 46, (UINT64_C(1) << 46) - PAGE,
                                   UINT64_MAX - PAGE + 1, UINT64_MAX};
    struct space *s = space_create(64);

    OK(vmxc_addrspace_map_alloc(&s->space, GPA, 2 * PAGE, SPACE_RW, true));
    char *before = space_dump(s);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        ck_assert_int_eq(vmxc_addrspace_map_linear(&s->space, 0, bad[i], 2 * PAGE, SPACE_RW),
                         VMXC_INVALID_INPUT);
        ck_assert_int_eq(vmxc_addrspace_replace_linear(&s->space, GPA, bad[i], 2 * PAGE, SPACE_RW),
                         VMXC_INVALID_INPUT);
    }
    space_assert_same(s, before, "a refused call");
    space_destroy(s);
}
END_TEST

START_TEST(flags_are_checked_when_a_lazy_area_is_mapped)
{
    static const struct {
        vmxc_map_flags flags;
        enum vmxc_status status;
    } bad[] = {
        {VMXC_MAP_WRITE, VMXC_INVALID_INPUT},
        {VMXC_MAP_WRITE | VMXC_MAP_EXECUTE, VMXC_INVALID_INPUT},
        {VMXC_MAP_EXECUTE, VMXC_UNSUPPORTED},
        {VMXC_MAP_READ | VMXC_MAP_USER, VMXC_UNSUPPORTED},
        {VMXC_MAP_READ | (vmxc_map_flags)1u << 20, VMXC_INVALID_INPUT},
        {VMXC_MAP_READ | VMXC_MAP_TYPE(2), VMXC_INVALID_INPUT},
        {VMXC_MAP_READ | VMXC_MAP_DEVICE | VMXC_MAP_TYPE(VMXC_MEMORY_TYPE_WB), VMXC_INVALID_INPUT},
    };
    struct space *s = space_create(64);

    OK(vmxc_addrspace_map_alloc(&s->space, GPA, 2 * PAGE, SPACE_RW, true));
    char *before = space_dump(s);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        const vmxc_map_flags flags = bad[i].flags;
        for (int populate = 0; populate < 2; populate++) {
            ck_assert_int_eq(vmxc_addrspace_map_alloc(&s->space, 0, PAGE, flags, populate),
                             bad[i].status);
            ck_assert_int_eq(vmxc_addrspace_replace_alloc(&s->space, GPA, PAGE, flags, populate),
                             bad[i].status);
        }
        ck_assert_int_eq(vmxc_addrspace_map_linear(&s->space, 0, 0, PAGE, flags), bad[i].status);
        ck_assert_int_eq(vmxc_addrspace_replace_linear(&s->space, GPA, 0, PAGE, flags),
                         bad[i].status);
        ck_assert_int_eq(vmxc_addrspace_protect(&s->space, GPA, PAGE, flags), bad[i].status);
    }
    space_assert_same(s, before, "a refused call");
    space_destroy(s);
}
END_TEST

START_TEST(an_overlapping_map_is_refused)
{
    struct space *s = space_create(64);

    OK(vmxc_addrspace_map_linear(&s->space, GPA, 0, 4 * PAGE, SPACE_RW));
    OK(vmxc_addrspace_map_alloc(&s->space, GPA + 8 * PAGE, 4 * PAGE, SPACE_RW, false));
    char *before = space_dump(s);
    for (int populate = 0; populate < 2; populate++)
        for (uint64_t page = 0; page < 14; page++) {
            const bool is_free = (page >= 5 && page <= 7) || page >= 13; /* page - 1 and page */
            if (!is_free)
                ck_assert_int_eq(vmxc_addrspace_map_alloc(&s->space, GPA + (page - 1) * PAGE,
                                                          2 * PAGE, SPACE_RW, populate),
                                 VMXC_ALREADY_EXISTS);
        }
    ck_assert_int_eq(vmxc_addrspace_map_linear(&s->space, 0, 0, 2 * SPACE_1G, SPACE_RW),
                     VMXC_ALREADY_EXISTS);
    space_assert_same(s, before, "a refused call");
    OK(vmxc_addrspace_map_alloc(&s->space, GPA + 4 * PAGE, 4 * PAGE, SPACE_RW, true));
    space_destroy(s);
}
END_TEST

START_TEST(protecting_a_range_with_a_hole_changes_nothing)
{
    struct space *s = space_create(64);

    OK(vmxc_addrspace_map_linear(&s->space, GPA, 0, 4 * PAGE, SPACE_RW));
    OK(vmxc_addrspace_map_linear(&s->space, GPA + 5 * PAGE, 0, 4 * PAGE, SPACE_RW));
    char *before = space_dump(s);
    ck_assert_int_eq(vmxc_addrspace_protect(&s->space, GPA, 9 * PAGE, VMXC_MAP_READ),
                     VMXC_NOT_FOUND);
    ck_assert_int_eq(vmxc_addrspace_protect(&s->space, GPA - PAGE, 2 * PAGE, VMXC_MAP_READ),
                     VMXC_NOT_FOUND);
    ck_assert_int_eq(vmxc_addrspace_protect(&s->space, GPA + 8 * PAGE, 2 * PAGE, VMXC_MAP_READ),
                     VMXC_NOT_FOUND);
    ck_assert_int_eq(vmxc_addrspace_unmap(&s->space, 0, GPA), VMXC_NOT_FOUND);
    space_assert_same(s, before, "a refused call");
    space_destroy(s);
}
END_TEST

/* ---- Failing allocations ---- */

/* A space with a bit of everything, in front of each operation below. */
static struct space *mixed_space(void)
{
    struct space *s = space_create(4096);

    OK(vmxc_addrspace_map_linear(&s->space, 0, SPACE_1G, SPACE_1G, VMXC_MAP_RWX));
    OK(vmxc_addrspace_map_alloc(&s->space, GPA, 16 * PAGE, SPACE_RW, true));
    OK(vmxc_addrspace_map_alloc(&s->space, GPA + 16 * PAGE, 16 * PAGE, VMXC_MAP_READ, false));
    ck_assert_int_eq(FAULT(s, GPA + 17 * PAGE, VMXC_MAP_READ), VMXC_FAULT_MAPPED);
    OK(vmxc_addrspace_map_linear(&s->space, GPA + SPACE_2M, 0, 2 * SPACE_2M, SPACE_RW));
    /* Fill the one leaf of areas, so that cuts and insertions need nodes. */
    for (uint64_t i = 0; s->space.areas.count < 102; i++)
        OK(vmxc_addrspace_map_alloc(&s->space, 8 * SPACE_1G + 2 * i * PAGE, PAGE, SPACE_RW, false));
    return s;
}

static enum vmxc_status do_map_linear(struct vmxc_addrspace *space)
{
    return vmxc_addrspace_map_linear(space, 4 * SPACE_1G + PAGE, 0, 2 * SPACE_1G, SPACE_RW);
}

static enum vmxc_status do_map_eager(struct vmxc_addrspace *space)
{
    return vmxc_addrspace_map_alloc(space, 4 * SPACE_1G - 4 * PAGE, 40 * PAGE, SPACE_RW, true);
}

static enum vmxc_status do_map_lazy(struct vmxc_addrspace *space)
{
    return vmxc_addrspace_map_alloc(space, 4 * SPACE_1G, 40 * PAGE, SPACE_RW, false);
}

static enum vmxc_status do_replace_linear(struct vmxc_addrspace *space)
{
    return vmxc_addrspace_replace_linear(space, SPACE_1G - 3 * PAGE, PAGE, 8 * PAGE, SPACE_RW);
}

static enum vmxc_status do_replace_eager(struct vmxc_addrspace *space)
{
    return vmxc_addrspace_replace_alloc(space, GPA + 5 * PAGE, SPACE_2M, SPACE_RW, true);
}

static enum vmxc_status do_replace_lazy(struct vmxc_addrspace *space)
{
    return vmxc_addrspace_replace_alloc(space, SPACE_2M + PAGE, PAGE, SPACE_RW, false);
}

static enum vmxc_status do_replace_hole(struct vmxc_addrspace *space)
{
    return vmxc_addrspace_replace_alloc(space, 4 * SPACE_1G, 3 * PAGE, SPACE_RW, true);
}

static enum vmxc_status do_unmap(struct vmxc_addrspace *space)
{
    return vmxc_addrspace_unmap(space, SPACE_2M + PAGE, SPACE_1G + PAGE);
}

static enum vmxc_status do_unmap_middle(struct vmxc_addrspace *space)
{
    return vmxc_addrspace_unmap(space, 3 * PAGE, PAGE);
}

static enum vmxc_status do_protect(struct vmxc_addrspace *space)
{
    return vmxc_addrspace_protect(space, SPACE_1G - PAGE, 20 * PAGE, VMXC_MAP_READ);
}

static enum vmxc_status do_fault(struct vmxc_addrspace *space)
{
    const enum vmxc_fault_result result =
        vmxc_addrspace_handle_page_fault(space, 8 * SPACE_1G + 123, VMXC_MAP_WRITE);

    ck_assert(result == VMXC_FAULT_MAPPED || result == VMXC_FAULT_NO_MEMORY);
    return result == VMXC_FAULT_MAPPED ? VMXC_OK : VMXC_NO_MEMORY;
}

static enum vmxc_status do_buffer(struct vmxc_addrspace *space)
{
    struct vmxc_guest_segment segments[4];
    size_t count = 99;
    const enum vmxc_status status =
        vmxc_addrspace_buffer(space, 8 * SPACE_1G + 123, 8, VMXC_MAP_READ, segments, 4, &count);
    ck_assert_uint_eq(count, status == VMXC_OK ? 1 : 99);
    return status;
}

static const struct {
    const char *name;
    enum vmxc_status (*run)(struct vmxc_addrspace *space);
    unsigned least_failures; /* allocations that the operation makes at least */
} operations[] = {
    {"map linear", do_map_linear, 4},
    {"map eager", do_map_eager, 44},
    {"map lazy", do_map_lazy, 2},
    {"replace linear", do_replace_linear, 4},
    {"replace eager", do_replace_eager, 513},
    {"replace lazy", do_replace_lazy, 4},
    {"replace a hole", do_replace_hole, 5},
    {"unmap", do_unmap, 4},
    {"unmap in the middle", do_unmap_middle, 4},
    {"protect", do_protect, 4},
    {"fault", do_fault, 2},
    {"buffer", do_buffer, 2},
};

START_TEST(an_operation_without_memory_changes_nothing)
{
    struct space *s = mixed_space();
    unsigned failures = 0;

    for (uint64_t n = 1;; n++) {
        char *before = space_dump(s);

        s->hal->fail_at = n;
        test_hal_clear_log(s->hal);
        const enum vmxc_status status = operations[_i].run(&s->space);
        s->hal->fail_at = 0;
        if (status == VMXC_OK) {
            free(before);
            break;
        }
        failures++;
        ck_assert_int_eq(status, VMXC_NO_MEMORY);
        ck_assert_uint_eq(test_hal_count(s->hal, TEST_HAL_INVALIDATE), 0);
        space_assert_same(s, before, operations[_i].name);
    }
    ck_assert_msg(failures >= operations[_i].least_failures, "%s: only %u allocations",
                  operations[_i].name, failures);
    space_destroy(s);
}
END_TEST

START_TEST(unmapping_whole_areas_needs_no_memory)
{
    struct space *s = mixed_space();

    test_hal_fail_randomly(s->hal, 1, 1000000);
    OK(vmxc_addrspace_unmap(&s->space, GPA, 16 * PAGE));
    OK(vmxc_addrspace_unmap(&s->space, 0, 7 * SPACE_1G));
    OK(vmxc_addrspace_clear(&s->space));
    ck_assert_uint_eq(s->hal->frames_in_use, 1);
    space_destroy(s);
}
END_TEST

static Suite *addrspace_refuse_suite(void)
{
    Suite *suite = suite_create("addrspace_refuse");
    TCase *life_cycle = tcase_create("life_cycle");
    TCase *refusals = tcase_create("refusals");
    TCase *memory = tcase_create("memory");

    tcase_add_test(life_cycle, init_refuses_what_cannot_be_a_space);
    tcase_add_test(life_cycle, an_uninitialized_space_answers);
    tcase_add_test(life_cycle, accessors_tell_the_extent);
    tcase_set_timeout(life_cycle, 120);
    suite_add_tcase(suite, life_cycle);
    tcase_add_loop_test(refusals, a_bad_range_is_refused_by_every_operation, 0,
                        (int)(sizeof(bad_ranges) / sizeof(bad_ranges[0])));
    tcase_add_test(refusals, a_bad_host_address_is_refused);
    tcase_add_test(refusals, flags_are_checked_when_a_lazy_area_is_mapped);
    tcase_add_test(refusals, an_overlapping_map_is_refused);
    tcase_add_test(refusals, protecting_a_range_with_a_hole_changes_nothing);
    tcase_set_timeout(refusals, 120);
    suite_add_tcase(suite, refusals);
    tcase_add_loop_test(memory, an_operation_without_memory_changes_nothing, 0,
                        (int)(sizeof(operations) / sizeof(operations[0])));
    tcase_add_test(memory, unmapping_whole_areas_needs_no_memory);
    tcase_set_timeout(memory, 120);
    suite_add_tcase(suite, memory);
    return suite;
}

int main(void)
{
    return run_suite(addrspace_refuse_suite());
}
