/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Known defects in what a VMM tells the processor (see test_known_defects.c): 16, invalidation; 17, the I/O bitmaps; 18,
 * the MSR bitmaps.
 */
#include "support/defects.h"
#include "support/suite.h"
#include "vmxcore/io_bitmap.h"
#include "vmxcore/msr_bitmap.h"

#include <check.h>
#include <string.h>

/* ---- 16: invalidation ---- */

static uint64_t invalidations(void)
{
    return vmxsim_memory_stats(machine.memory).invalidations;
}

/* Events in the order in which they came: I invalidation, F frame given back. */
static char events[64];

/* An address that is about to lose its mapping, or VMXC_AREA_NO_HPA: at an invalidation it must be gone already. */
static uint64_t going;

static void note(char event)
{
    const size_t length = strlen(events);
    if (length + 1 < sizeof(events))
        events[length] = event;
}

static void note_invalidation(void *context, uint64_t eptp)
{
    (void)context;
    ck_assert_uint_eq(eptp, vmxc_addrspace_eptp(&space));
    if (going != VMXC_AREA_NO_HPA)
        ck_assert_uint_eq(walk(going, VMXC_EPT_READ).exit_reason, EXIT_EPT_VIOLATION);
    note('I');
}

static void note_trace(void *context, const struct vmxc_trace_event *event)
{
    (void)context;
    if (event->kind == VMXC_TRACE_FRAME_FREE)
        note('F');
}

static void watch(void)
{
    memset(events, 0, sizeof(events));
    going = VMXC_AREA_NO_HPA;
    vmxsim_memory_on_invalidate(machine.memory, note_invalidation, NULL);
    vmxsim_memory_on_trace(machine.memory, note_trace, NULL);
}

/* Exactly one invalidation, and no frame given back before it. */
static void expect_one_invalidation_first(const char *what)
{
    ck_assert_msg(events[0] == 'I' && strchr(events + 1, 'I') == NULL, "%s: events \"%s\"", what,
                  events);
    memset(events, 0, sizeof(events));
}

static void expect_no_events(const char *what)
{
    ck_assert_msg(strchr(events, 'I') == NULL, "%s: events \"%s\"", what, events);
    memset(events, 0, sizeof(events));
}

START_TEST(defect_16_invalidation_comes_once_and_before_memory_is_given_back)
{
    ck_assert_int_eq(vmxc_addrspace_map_alloc(&space, 0, 8 * K4, RWX, true), VMXC_OK);
    ck_assert_int_eq(vmxc_addrspace_map_linear(&space, G1, 4 * G1, G1, RWX), VMXC_OK);
    watch();
    ck_assert_int_eq(vmxc_addrspace_protect(&space, 0, 4 * K4, VMXC_MAP_READ), VMXC_OK);
    expect_one_invalidation_first("rights shrink");
    ck_assert_int_eq(vmxc_addrspace_protect(&space, 0, 4 * K4, VMXC_MAP_READ | VMXC_MAP_UNCACHED),
                     VMXC_OK);
    expect_one_invalidation_first("memory type");
    ck_assert_int_eq(
        vmxc_addrspace_protect(&space, 0, 4 * K4,
                               VMXC_MAP_READ | VMXC_MAP_UNCACHED | VMXC_MAP_IGNORE_PAT),
        VMXC_OK);
    expect_one_invalidation_first("ignore PAT");
    going = K4;
    ck_assert_int_eq(vmxc_addrspace_unmap(&space, 0, 2 * K4), VMXC_OK);
    ck_assert_uint_ge(strlen(events), 3);
    expect_one_invalidation_first("unmap with frames");
    going = VMXC_AREA_NO_HPA;
    ck_assert_int_eq(vmxc_addrspace_protect(&space, G1 + 4 * M2, K4, RWX), VMXC_OK);
    expect_one_invalidation_first("page size alone");
    ck_assert_int_eq(vmxc_addrspace_unmap(&space, G1 + M2, K4), VMXC_OK);
    expect_one_invalidation_first("split of a large page");
    going = G1 + 8 * M2;
    ck_assert_int_eq(vmxc_addrspace_replace_linear(&space, G1 + 8 * M2, 6 * G1, K4, RWX), VMXC_OK);
    expect_one_invalidation_first("another host address");
    ck_assert_int_eq(vmxc_addrspace_clear(&space), VMXC_OK);
    expect_one_invalidation_first("clear");
    going = VMXC_AREA_NO_HPA;
    ck_assert_int_eq(vmxc_addrspace_map_linear(&space, 0, G1, K4, RWX), VMXC_OK);
    vmxc_addrspace_fini(&space);
    expect_one_invalidation_first("end of the space");
}
END_TEST

START_TEST(defect_16_merging_invalidates_before_the_table_is_freed)
{
    ck_assert_int_eq(vmxc_addrspace_map_linear(&space, 0, G1, M2, RWX), VMXC_OK);
    ck_assert_int_eq(vmxc_addrspace_protect(&space, 0, K4, VMXC_MAP_READ), VMXC_OK);
    ck_assert_int_eq(vmxc_addrspace_protect(&space, 0, K4, RWX), VMXC_OK);
    ck_assert_uint_eq(page_size_of(0), K4);
    watch();
    ck_assert_int_eq(vmxc_ept_merge(vmxc_addrspace_ept(&space), 0, M2), VMXC_OK);
    ck_assert_uint_eq(page_size_of(0), M2);
    ck_assert_str_eq(events, "IF");
}
END_TEST

/* A table whose entries are all not present may still sit in a paging-structure cache. */
START_TEST(defect_16_a_reachable_table_of_absent_pages_is_invalidated_before_it_goes)
{
    ck_assert_int_eq(vmxc_addrspace_map_linear(&space, 0, G1, K4, VMXC_MAP_NONE), VMXC_OK);
    ck_assert_uint_eq(vmxc_ept_count_tables(&space.ept), 4);
    watch();
    ck_assert_int_eq(vmxc_addrspace_unmap(&space, 0, K4), VMXC_OK);
    ck_assert_uint_eq(vmxc_ept_count_tables(&space.ept), 1);
    expect_one_invalidation_first("tables of absent pages");
}
END_TEST

START_TEST(defect_16_nothing_is_invalidated_without_need)
{
    watch();
    ck_assert_int_eq(vmxc_addrspace_map_linear(&space, 0, G1, 3 * M2, VMXC_MAP_READ), VMXC_OK);
    ck_assert_int_eq(vmxc_addrspace_map_alloc(&space, G1, 4 * K4, RW, false), VMXC_OK);
    ck_assert_int_eq(vmxc_addrspace_handle_page_fault(&space, G1, VMXC_MAP_READ),
                     VMXC_FAULT_MAPPED);
    ck_assert_int_eq(vmxc_addrspace_handle_page_fault(&space, G1, VMXC_MAP_READ),
                     VMXC_FAULT_ALREADY_BACKED);
    expect_no_events("not present to present");
    ck_assert_int_eq(vmxc_addrspace_protect(&space, 0, 3 * M2, RWX), VMXC_OK);
    expect_no_events("growing rights");
    ck_assert_int_eq(vmxc_addrspace_map_alloc(&space, G1 + M2, K4, RW, false), VMXC_OK);
    ck_assert_int_eq(vmxc_addrspace_unmap(&space, G1 + M2, K4), VMXC_OK);
    expect_no_events("unmapping what was never present");
    ck_assert_uint_eq(invalidations(), 0);
}
END_TEST

/* ---- 17 and 18: bitmaps ---- */

START_TEST(defect_17_the_io_bitmap_reaches_every_port)
{
    struct vmxc_io_bitmap bitmap;
    uint64_t a_hpa, b_hpa;
    ck_assert_int_eq(vmxc_io_bitmap_init(&bitmap, hal, VMXC_PASSTHROUGH), VMXC_OK);
    ck_assert_int_eq(vmxc_io_bitmap_hpa(&bitmap, &a_hpa, &b_hpa), VMXC_OK);
    for (uint32_t port = 0; port <= 0xffff; port += 0x1fff) {
        ck_assert_int_eq(vmxc_io_bitmap_set(&bitmap, (uint16_t)port, 1, VMXC_INTERCEPT), VMXC_OK);
        const uint64_t frame = port < 0x8000 ? a_hpa : b_hpa;
        const uint64_t word = machine_read(&machine, frame + (port & 0x7fff) / 64 * 8);
        ck_assert_uint_eq(word >> (port & 63) & 1, 1);
        ck_assert(vmxc_io_bitmap_exits(&bitmap, (uint16_t)port, 1));
        ck_assert(port == 0 || !vmxc_io_bitmap_exits(&bitmap, (uint16_t)(port - 1), 1));
    }
    ck_assert_int_eq(vmxc_io_bitmap_passthrough_all(&bitmap), VMXC_OK);
    ck_assert_int_eq(vmxc_io_bitmap_set(&bitmap, 0x7fff, 2, VMXC_INTERCEPT), VMXC_OK);
    ck_assert(vmxc_io_bitmap_exits(&bitmap, 0x7fff, 1) && vmxc_io_bitmap_exits(&bitmap, 0x8000, 1));
    ck_assert_int_eq(vmxc_io_bitmap_passthrough_all(&bitmap), VMXC_OK);
    /* Accesses across a byte (7/8), across the two frames (7FFFH/8000H), and around FFFFH. */
    ck_assert_int_eq(vmxc_io_bitmap_set(&bitmap, 8, 1, VMXC_INTERCEPT), VMXC_OK);
    ck_assert_int_eq(vmxc_io_bitmap_set(&bitmap, 0x8000, 1, VMXC_INTERCEPT), VMXC_OK);
    ck_assert(vmxc_io_bitmap_exits(&bitmap, 5, 4));
    ck_assert(!vmxc_io_bitmap_exits(&bitmap, 4, 4));
    ck_assert(vmxc_io_bitmap_exits(&bitmap, 0x7ffd, 4));
    ck_assert(vmxc_io_bitmap_exits(&bitmap, 0x7fff, 2));
    ck_assert(!vmxc_io_bitmap_exits(&bitmap, 0x7ffc, 4));
    ck_assert(!vmxc_io_bitmap_exits(&bitmap, 0xffff, 1));
    ck_assert(vmxc_io_bitmap_exits(&bitmap, 0xffff, 2));
    ck_assert(vmxc_io_bitmap_exits(&bitmap, 0xfffd, 4));
    ck_assert(!vmxc_io_bitmap_exits(&bitmap, 0xfffc, 4));
    vmxc_io_bitmap_fini(&bitmap);
}
END_TEST

START_TEST(defect_18_msrs_outside_both_ranges_are_a_status)
{
    static const uint32_t outside[] = {0x2000, 0x40000000, 0xbfffffff, 0xc0002000, 0xffffffff};
    struct vmxc_msr_bitmap bitmap;
    uint64_t bitmap_hpa;
    bool exits = false;
    ck_assert_int_eq(vmxc_msr_bitmap_init(&bitmap, hal, VMXC_PASSTHROUGH), VMXC_OK);
    ck_assert_int_eq(vmxc_msr_bitmap_hpa(&bitmap, &bitmap_hpa), VMXC_OK);
    for (size_t i = 0; i < sizeof(outside) / sizeof(outside[0]); i++) {
        ck_assert_int_eq(
            vmxc_msr_bitmap_set(&bitmap, outside[i], VMXC_MSR_ACCESS_READ, VMXC_INTERCEPT),
            VMXC_INVALID_INPUT);
        ck_assert_int_eq(vmxc_msr_bitmap_query(&bitmap, outside[i], VMXC_MSR_ACCESS_READ, &exits),
                         VMXC_INVALID_INPUT);
        ck_assert(vmxc_msr_bitmap_exits(&bitmap, outside[i], VMXC_MSR_ACCESS_WRITE));
    }
    for (uint64_t at = 0; at < VMXC_PAGE_SIZE; at += 8)
        ck_assert_uint_eq(machine_read(&machine, bitmap_hpa + at), 0);
    ck_assert_int_eq(
        vmxc_msr_bitmap_set(&bitmap, 0xc0001fff, VMXC_MSR_ACCESS_WRITE, VMXC_INTERCEPT), VMXC_OK);
    ck_assert_uint_eq(machine_read(&machine, bitmap_hpa + 0xff8), UINT64_C(1) << 63);
    vmxc_msr_bitmap_fini(&bitmap);
}
END_TEST

static Suite *suite(void)
{
    const TTest *const tests[] = {
        defect_16_invalidation_comes_once_and_before_memory_is_given_back,
        defect_16_merging_invalidates_before_the_table_is_freed,
        defect_16_a_reachable_table_of_absent_pages_is_invalidated_before_it_goes,
        defect_16_nothing_is_invalidated_without_need,
        defect_17_the_io_bitmap_reaches_every_port,
        defect_18_msrs_outside_both_ranges_are_a_status,
    };
    return defects_suite("known_defects_vmx", tests, sizeof(tests) / sizeof(tests[0]));
}

int main(void)
{
    return run_suite(suite());
}
