/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guest memory by linear address: translation, rights and faults of every page come before the first byte.
 */
#include <stdlib.h>
#include <string.h>

#include "support/guest_areas.h"

/*
 * 32-bit paging, tables in the linear area: directory at 0, page table at 1000H. Linear page n is what the test
 * says with map_page; the linear range starts at 400000H (directory entry 1).
 */
#define LINEAR_BASE UINT64_C(0x400000)
#define ENTRY(n)    (UINT64_C(0x1000) + 4 * (uint64_t)(n))
#define PWU         7u

static struct vmxc_guest_walk_info info;
static struct vmxc_guest_fault fault;

static const struct vmxc_guest_access reading = {0}, writing = {.write = true},
                                      fetching = {.fetch = true};

static void set_word(vmxc_gpa_t gpa, uint32_t value)
{
    ck_assert_int_eq(vmxc_guest_mem_write_u32(&space, gpa, value), VMXC_OK);
}

static uint32_t get_word(vmxc_gpa_t gpa)
{
    uint32_t value = 0;

    ck_assert_int_eq(vmxc_guest_mem_read_u32(&space, gpa, &value), VMXC_OK);
    return value;
}

static void map_page(unsigned n, vmxc_gpa_t gpa, uint32_t rights)
{
    set_word(ENTRY(n), (uint32_t)gpa | rights);
}

static void set_paging(void)
{
    const struct vmxc_guest_registers registers = {.cr0 = VMXC_CR0_PE | VMXC_CR0_PG | VMXC_CR0_WP};
    const struct vmxc_guest_paging_caps caps = {.maxphyaddr = 46, .linear_width = 48, .pat = true};

    ck_assert_int_eq(vmxc_guest_walk_info_init(&registers, &caps, &info), VMXC_OK);
    set_word(4, 0x1000 | PWU);
    memset(&fault, 0, sizeof fault);
}

START_TEST(linear_buffers_cross_pages_that_lie_apart)
{
    uint64_t value = 0;

    set_paging();
    map_page(0, 0x3000, PWU);
    map_page(1, LONG_GPA, PWU);
    ck_assert_int_eq(vmxc_guest_mem_write_linear(&space, &info, writing, LINEAR_BASE + 0xffc,
                                                 &(uint64_t){UINT64_C(0x1122334455667788)}, 8,
                                                 &fault),
                     VMXC_OK);
    ck_assert_uint_eq(get_word(0x3ffc), 0x55667788);
    ck_assert_uint_eq(get_word(LONG_GPA), 0x11223344);
    ck_assert_int_eq(
        vmxc_guest_mem_read_linear(&space, &info, reading, LINEAR_BASE + 0xffc, &value, 8, &fault),
        VMXC_OK);
    ck_assert_uint_eq(value, UINT64_C(0x1122334455667788));
}
END_TEST

START_TEST(a_fault_on_the_second_page_moves_nothing)
{
    uint64_t value = 7;

    set_paging();
    info.set_accessed_dirty = true;
    map_page(0, 0x3000, PWU);
    map_page(1, LONG_GPA, 5); /* not writable */
    ck_assert_int_eq(
        vmxc_guest_mem_write_linear(&space, &info, writing, LINEAR_BASE + 0xffc, &value, 8, &fault),
        VMXC_GUEST_FAULT);
    ck_assert_int_eq(fault.kind, VMXC_GUEST_FAULT_RIGHTS);
    ck_assert_uint_eq(fault.gva, LINEAR_BASE + 0x1000);
    ck_assert_uint_eq(fault.error_code, 3);
    ck_assert_uint_eq(get_word(0x3ffc), 0);
    ck_assert_uint_eq(get_word(ENTRY(0)), 0x3000 | PWU);

    map_page(1, LONG_GPA, 0);
    ck_assert_int_eq(
        vmxc_guest_mem_read_linear(&space, &info, reading, LINEAR_BASE + 0xffc, &value, 8, NULL),
        VMXC_GUEST_FAULT);
    ck_assert_uint_eq(value, 7);
}
END_TEST

START_TEST(a_page_that_is_not_memory_is_a_status)
{
    static const struct {
        uint64_t gpa;
        enum vmxc_status status;
    } cases[] = {{HOLE_GPA, VMXC_NOT_FOUND},
                 {0xfffff000, VMXC_NOT_FOUND},
                 {NONE_GPA, VMXC_DENIED},
                 {DEVICE_GPA, VMXC_NOT_BACKED},
                 {R_O_GPA, VMXC_DENIED}};
    uint64_t value = 7;

    set_paging();
    info.set_accessed_dirty = true;
    map_page(0, 0x3000, PWU);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        map_page(1, cases[i].gpa, PWU);
        ck_assert_int_eq(vmxc_guest_mem_write_linear(&space, &info, writing, LINEAR_BASE + 0xffc,
                                                     &value, 8, &fault),
                         cases[i].status);
        ck_assert_int_eq(fault.kind, VMXC_GUEST_FAULT_NONE);
        ck_assert_uint_eq(fault.gva, LINEAR_BASE + 0x1000);
        ck_assert_uint_eq(fault.level, 0);
        ck_assert_uint_eq(fault.entry_gpa, cases[i].gpa);
        ck_assert_uint_eq(get_word(0x3ffc), 0);
        ck_assert_uint_eq(get_word(ENTRY(0)), 0x3000 | PWU); /* no flag was set either */
    }
    set_word(4, (uint32_t)LONG_GPA + (uint32_t)LONG_SIZE + PWU);
    ck_assert_int_eq(
        vmxc_guest_mem_read_linear(&space, &info, reading, LINEAR_BASE, &value, 8, &fault),
        VMXC_NOT_FOUND);
    ck_assert_uint_eq(fault.level, 1);
}
END_TEST

START_TEST(a_successful_linear_write_sets_the_flags_of_all_its_pages)
{
    set_paging();
    info.set_accessed_dirty = true;
    for (unsigned n = 0; n < 20; n++)
        map_page(n, LONG_GPA + 0x2000 * n,
                 PWU); /* every other page: more pieces than one plan holds */
    for (size_t i = 0; i < sizeof buffer; i++)
        buffer[i] = (uint8_t)(i * 7 + i / 4096);
    ck_assert_int_eq(vmxc_guest_mem_write_linear(&space, &info, writing, LINEAR_BASE + 5, buffer,
                                                 18 * 4096, &fault),
                     VMXC_OK);
    for (unsigned n = 0; n < 20; n++)
        ck_assert_uint_eq(get_word(ENTRY(n)), (LONG_GPA + 0x2000 * n) | PWU | (n < 19 ? 0x60 : 0));

    static uint8_t copy[18 * 4096];
    info.set_accessed_dirty = false;
    ck_assert_int_eq(vmxc_guest_mem_read_linear(&space, &info, reading, LINEAR_BASE + 5, copy,
                                                sizeof copy, &fault),
                     VMXC_OK);
    ck_assert_mem_eq(copy, buffer, sizeof copy);
    ck_assert_int_eq(vmxc_guest_mem_read(&space, LONG_GPA + 0x2000 * 17, copy, 4096), VMXC_OK);
    ck_assert_mem_eq(copy, buffer + 17 * 4096 - 5, 4096);
}
END_TEST

START_TEST(a_late_fault_in_a_long_range_moves_nothing)
{
    set_paging();
    for (unsigned n = 0; n < 19; n++)
        map_page(n, LONG_GPA + 0x2000 * n, PWU);
    memset(buffer, 0xa5, 20 * 4096);
    ck_assert_int_eq(vmxc_guest_mem_write_linear(&space, &info, writing, LINEAR_BASE, buffer,
                                                 19 * 4096 + 1, &fault),
                     VMXC_GUEST_FAULT);
    ck_assert_uint_eq(fault.gva, LINEAR_BASE + 19 * 4096);
    ck_assert_uint_eq(get_word(LONG_GPA), 0);
}
END_TEST

START_TEST(a_table_that_refuses_its_flags_keeps_the_data_unwritten)
{
    set_paging();
    info.set_accessed_dirty = true;
    map_page(0, 0x3000, PWU);
    vmxsim_memory_write64(memory, R_O_HPA, 0x3000 | PWU);
    set_word(4, (uint32_t)R_O_GPA | PWU);
    ck_assert_int_eq(
        vmxc_guest_mem_write_linear(&space, &info, writing, LINEAR_BASE, buffer, 8, &fault),
        VMXC_DENIED);
    ck_assert_uint_eq(fault.level, 1);
    ck_assert_uint_eq(fault.entry_gpa, R_O_GPA);
}
END_TEST

START_TEST(a_fetch_needs_the_right_to_execute)
{
    uint64_t value = 0;

    set_paging();
    vmxsim_memory_write64(memory, X_O_HPA, 0x1234);
    map_page(0, X_O_GPA, 3); /* supervisor */
    ck_assert_int_eq(
        vmxc_guest_mem_read_linear(&space, &info, fetching, LINEAR_BASE, &value, 8, &fault),
        VMXC_OK);
    ck_assert_uint_eq(value, 0x1234);
    ck_assert_int_eq(
        vmxc_guest_mem_read_linear(&space, &info, reading, LINEAR_BASE, &value, 8, &fault),
        VMXC_DENIED);
    /* With mode-based execute control a user-mode address has a right of its own, whatever the CPL. */
    map_page(0, X_O_GPA, PWU);
    ck_assert_int_eq(
        vmxc_guest_mem_read_linear(&space, &info, fetching, LINEAR_BASE, &value, 8, &fault),
        VMXC_DENIED);
}
END_TEST

START_TEST(linear_ranges_and_accesses_that_make_no_sense)
{
    set_paging();
    ck_assert_int_eq(
        vmxc_guest_mem_read_linear(&space, &info, writing, LINEAR_BASE, buffer, 8, &fault),
        VMXC_INVALID_INPUT);
    ck_assert_int_eq(
        vmxc_guest_mem_write_linear(&space, &info, reading, LINEAR_BASE, buffer, 8, &fault),
        VMXC_INVALID_INPUT);
    ck_assert_int_eq(
        vmxc_guest_mem_read_linear(&space, &info, reading, LINEAR_BASE, buffer, 0, &fault),
        VMXC_INVALID_INPUT);
    ck_assert_int_eq(
        vmxc_guest_mem_read_linear(&space, &info, reading, 0xfffffffc, buffer, 8, &fault),
        VMXC_INVALID_INPUT);
    ck_assert_int_eq(
        vmxc_guest_mem_read_linear(&space, &info, reading, UINT64_MAX, buffer, 2, &fault),
        VMXC_INVALID_INPUT);
}
END_TEST

START_TEST(without_paging_linear_is_physical)
{
    const struct vmxc_guest_registers registers = {.cr0 = VMXC_CR0_PE};
    const struct vmxc_guest_paging_caps caps = {.maxphyaddr = 46, .linear_width = 48, .pat = true};

    ck_assert_int_eq(vmxc_guest_walk_info_init(&registers, &caps, &info), VMXC_OK);
    memset(buffer, 0x3c, 0x30000);
    ck_assert_int_eq(
        vmxc_guest_mem_write_linear(&space, &info, writing, LONG_GPA + 3, buffer, 0x30000, &fault),
        VMXC_OK);
    memset(buffer, 0, 0x30000);
    ck_assert_int_eq(vmxc_guest_mem_read(&space, LONG_GPA + 3, buffer, 0x30000), VMXC_OK);
    ck_assert(all_bytes_are(buffer, 0x30000, 0x3c));
}
END_TEST

static Suite *suite(void)
{
    Suite *const s = suite_create("guest_mem_linear");
    TCase *const t = tcase_create("guest_mem");

    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, linear_buffers_cross_pages_that_lie_apart);
    tcase_add_test(t, a_fault_on_the_second_page_moves_nothing);
    tcase_add_test(t, a_page_that_is_not_memory_is_a_status);
    tcase_add_test(t, a_successful_linear_write_sets_the_flags_of_all_its_pages);
    tcase_add_test(t, a_late_fault_in_a_long_range_moves_nothing);
    tcase_add_test(t, a_table_that_refuses_its_flags_keeps_the_data_unwritten);
    tcase_add_test(t, a_fetch_needs_the_right_to_execute);
    tcase_add_test(t, linear_ranges_and_accesses_that_make_no_sense);
    tcase_add_test(t, without_paging_linear_is_physical);
    suite_add_tcase(s, t);
    return s;
}

int main(void)
{
    SRunner *const runner = srunner_create(suite());

    srunner_run_all(runner, CK_NORMAL);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
