/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Nineteen defects that guest memory code is known to have, one test or more each. Each fails if the defect is there.
 * Here: 1 to 15 and 19, memory. test_known_defects_vmx.c has 16 to 18: invalidation and bitmaps.
 */
#include "support/defects.h"
#include "support/suite.h"
#include "vmxcore/guest_mem.h"

#include <check.h>
#include <inttypes.h>
#include <string.h>

/* ---- 1 to 5 ---- */

START_TEST(defect_01_second_fault_keeps_the_frame)
{
    ck_assert_int_eq(vmxc_addrspace_map_alloc(&space, 0x10000, 4 * K4, RW, false), VMXC_OK);
    ck_assert_int_eq(vmxc_addrspace_handle_page_fault(&space, 0x11123, VMXC_MAP_WRITE),
                     VMXC_FAULT_MAPPED);
    const uint64_t hpa = hpa_of(0x11000), frames = frames_in_use();
    machine_write(&machine, hpa, UINT64_C(0x1122334455667788));
    ck_assert_int_eq(vmxc_addrspace_handle_page_fault(&space, 0x11ff8, VMXC_MAP_READ),
                     VMXC_FAULT_ALREADY_BACKED);
    ck_assert_uint_eq(hpa_of(0x11000), hpa);
    ck_assert_uint_eq(machine_read(&machine, hpa), UINT64_C(0x1122334455667788));
    ck_assert_uint_eq(frames_in_use(), frames);
}
END_TEST

START_TEST(defect_02_a_map_that_fails_half_way_leaves_nothing)
{
    /* Enough pages for several tables; a page in the middle of the range cannot be supplied. */
    const uint64_t frames = frames_in_use();
    for (unsigned n = 1; n < 1100; n += 97) {
        vmxsim_memory_fail_nth(machine.memory, n);
        const enum vmxc_status status =
            vmxc_addrspace_map_alloc(&space, 0x1fe000, 1030 * K4, RW, true);
        vmxsim_memory_fail_nth(machine.memory, 0);
        if (status == VMXC_OK) {
            ck_assert_int_eq(vmxc_addrspace_clear(&space), VMXC_OK);
            continue;
        }
        ck_assert_int_eq(status, VMXC_NO_MEMORY);
        ck_assert_uint_eq(frames_in_use(), frames);
        expect_unmapped(0x1fe000);
        expect_unmapped(0x1fe000 + 500 * K4);
        ck_assert_uint_eq(vmxc_ept_count_tables(&space.ept), 1);
    }
    ck_assert_int_eq(vmxc_addrspace_map_alloc(&space, 0x1fe000, 1030 * K4, RW, true), VMXC_OK);
}
END_TEST

/* The same for what replaces a mapping, and for the tables that splitting takes: the old mapping stays as it was. */
START_TEST(defect_02_a_replacement_or_split_that_fails_changes_nothing)
{
    ck_assert_int_eq(vmxc_addrspace_map_linear(&space, G1, 4 * G1, G1, RW), VMXC_OK);
    const uint64_t frames = frames_in_use();
    for (unsigned n = 1; n < 10; n++) { /* 3 tables, 4 pages, 2 tables for the split */
        vmxsim_memory_fail_nth(machine.memory, n);
        const enum vmxc_status replaced =
            vmxc_addrspace_replace_alloc(&space, G1 + M2 + K4, 4 * K4, RWX, true);
        vmxsim_memory_fail_nth(machine.memory, n > 2 ? 2 : n);
        const enum vmxc_status unmapped = vmxc_addrspace_unmap(&space, G1 + M2 + K4, K4);
        vmxsim_memory_fail_nth(machine.memory, 0);
        ck_assert_int_eq(replaced, VMXC_NO_MEMORY);
        ck_assert_int_eq(unmapped, VMXC_NO_MEMORY);
        ck_assert_uint_eq(frames_in_use(), frames);
        ck_assert_uint_eq(page_size_of(G1), G1);
    }
}
END_TEST

START_TEST(defect_03_unmapping_part_of_a_large_page_keeps_the_rest)
{
    ck_assert_int_eq(vmxc_addrspace_map_linear(&space, G1, 4 * G1, G1, RWX), VMXC_OK);
    ck_assert_uint_eq(page_size_of(G1), G1);
    ck_assert_int_eq(vmxc_addrspace_unmap(&space, G1 + 5 * M2 + 3 * K4, K4), VMXC_OK);
    expect_unmapped(G1 + 5 * M2 + 3 * K4);
    for (uint64_t at = 0; at < G1; at += M2)
        ck_assert_uint_eq(hpa_of(G1 + at), 4 * G1 + at);
    for (uint64_t at = 5 * M2; at < 6 * M2; at += K4)
        if (at != 5 * M2 + 3 * K4)
            ck_assert_uint_eq(hpa_of(G1 + at), 4 * G1 + at);
    ck_assert_uint_eq(page_size_of(G1), M2);
    ck_assert_uint_eq(page_size_of(G1 + 5 * M2), K4);
    /* And back: the hole is filled, the pieces become one large page again where asked. */
    ck_assert_int_eq(
        vmxc_addrspace_map_linear(&space, G1 + 5 * M2 + 3 * K4, 4 * G1 + 5 * M2 + 3 * K4, K4, RWX),
        VMXC_OK);
    ck_assert_int_eq(vmxc_ept_merge(vmxc_addrspace_ept(&space), G1, G1), VMXC_OK);
    ck_assert_uint_eq(page_size_of(G1 + 5 * M2), G1);
    ck_assert_uint_eq(hpa_of(G1 + 5 * M2 + 3 * K4), 4 * G1 + 5 * M2 + 3 * K4);
}
END_TEST

/* What a processor finds between any two stores: called before each of them. */
static const uint64_t kept_gpas[] = {G1, G1 + 5 * M2 + 2 * K4, G1 + 5 * M2 + 4 * K4, 2 * G1 - K4};

static void expect_kept(void)
{
    for (size_t i = 0; i < sizeof(kept_gpas) / sizeof(kept_gpas[0]); i++) {
        const struct vmxsim_outcome outcome = walk(kept_gpas[i], VMXC_EPT_READ);
        ck_assert_msg(outcome.kind == VMXSIM_OUTCOME_COMPLETE &&
                          outcome.page[0].hpa == kept_gpas[i] + 3 * G1,
                      "%#" PRIx64 ": %s", kept_gpas[i], machine_outcome_text(&outcome));
    }
}

static void look_before_store(void *context, vmxc_hpa_t hpa, uint64_t length)
{
    expect_kept();
    hal->mark_dirty(context, hpa, length);
}

START_TEST(defect_03_the_rest_stays_mapped_throughout)
{
    struct vmxc_hal watched = *hal;
    watched.mark_dirty = look_before_store;
    ck_assert_int_eq(vmxc_addrspace_map_linear(&space, G1, 4 * G1, G1, RWX), VMXC_OK);
    space.ept.hal = &watched;
    ck_assert_int_eq(vmxc_addrspace_unmap(&space, G1 + 5 * M2 + 3 * K4, K4), VMXC_OK);
    expect_kept();
    ck_assert_int_eq(
        vmxc_ept_map(&space.ept, G1 + 5 * M2 + 3 * K4, 4 * G1 + 5 * M2 + 3 * K4, K4, RWX), VMXC_OK);
    ck_assert_int_eq(vmxc_ept_merge(&space.ept, G1, G1), VMXC_OK);
    expect_kept();
    space.ept.hal = hal;
}
END_TEST

START_TEST(defect_04_empty_tables_are_freed)
{
    ck_assert_int_eq(vmxc_addrspace_map_linear(&space, G1 + 7 * K4, G1, 3 * K4, RWX), VMXC_OK);
    ck_assert_uint_eq(vmxc_ept_count_tables(&space.ept), 4);
    ck_assert_int_eq(vmxc_addrspace_unmap(&space, G1 + 7 * K4, 3 * K4), VMXC_OK);
    ck_assert_uint_eq(vmxc_ept_count_tables(&space.ept), 1);
    ck_assert_int_eq(vmxc_addrspace_map_linear(&space, G1, 2 * G1, G1, RWX), VMXC_OK);
    ck_assert_uint_eq(page_size_of(G1), G1);
}
END_TEST

START_TEST(defect_05_the_length_of_a_translation_is_what_is_left)
{
    struct vmxc_translation_limit limit;
    ck_assert_int_eq(vmxc_addrspace_map_linear(&space, 0x40000, G1, 16 * K4, RW), VMXC_OK);
    ck_assert_int_eq(vmxc_addrspace_translate_with_limit(&space, 0x43210, &limit), VMXC_OK);
    ck_assert_uint_eq(limit.area_base, 0x40000);
    ck_assert_uint_eq(limit.area_size, 16 * K4);
    ck_assert_uint_eq(limit.contiguous, 16 * K4 - 0x3210);
    ck_assert_int_eq(vmxc_addrspace_translate_with_limit(&space, 0x4ffff, &limit), VMXC_OK);
    ck_assert_uint_eq(limit.contiguous, 1);
}
END_TEST

/* ---- 6 to 10 ---- */

START_TEST(defect_06_reads_stop_at_the_end_of_an_area)
{
    uint8_t buffer[64];
    memset(buffer, 0x77, sizeof(buffer));
    ck_assert_int_eq(vmxc_addrspace_map_alloc(&space, 0x8000, K4, RW, true), VMXC_OK);
    ck_assert_int_eq(vmxc_guest_mem_read(&space, 0x8ff0, buffer, 17), VMXC_NOT_FOUND);
    for (size_t i = 0; i < sizeof(buffer); i++)
        ck_assert_uint_eq(buffer[i], 0x77);
    ck_assert_int_eq(vmxc_guest_mem_write(&space, 0x8ff0, buffer, 17), VMXC_NOT_FOUND);
    ck_assert_uint_eq(machine_read(&machine, hpa_of(0x8ff0)), 0);
    ck_assert_int_eq(vmxc_guest_mem_read(&space, 0x8ff0, buffer, 16), VMXC_OK);
    ck_assert_uint_eq(buffer[15], 0);
    ck_assert_uint_eq(buffer[16], 0x77);
}
END_TEST

/* Two pages that are neighbours for the guest and far apart, in reverse order, in host memory. */
START_TEST(defect_06_reads_cross_pages_where_the_guest_does)
{
    ck_assert_int_eq(vmxc_addrspace_map_linear(&space, 0x8000, 0x5001000, K4, RW), VMXC_OK);
    ck_assert_int_eq(vmxc_addrspace_map_linear(&space, 0x9000, 0x5000000, K4, RW), VMXC_OK);
    machine_write(&machine, 0x5001ff8, UINT64_C(0x0807060504030201));
    machine_write(&machine, 0x5000000, UINT64_C(0x100f0e0d0c0b0a09));
    machine_write(&machine, 0x5002000, UINT64_C(0xeeeeeeeeeeeeeeee));
    uint8_t buffer[16];
    ck_assert_int_eq(vmxc_guest_mem_read(&space, 0x8ff8, buffer, 16), VMXC_OK);
    for (unsigned i = 0; i < 16; i++)
        ck_assert_uint_eq(buffer[i], i + 1);
    /* Allocated pages are as far apart as their frames: the second is supplied first here. */
    ck_assert_int_eq(vmxc_addrspace_map_alloc(&space, 0x10000, 2 * K4, RW, false), VMXC_OK);
    ck_assert_int_eq(vmxc_guest_mem_write(&space, 0x11000, buffer + 8, 8), VMXC_OK);
    ck_assert_int_eq(vmxc_guest_mem_write(&space, 0x10ff8, buffer, 8), VMXC_OK);
    ck_assert_uint_ne(hpa_of(0x11000), hpa_of(0x10000) + K4);
    memset(buffer, 0, sizeof(buffer));
    ck_assert_int_eq(vmxc_guest_mem_read(&space, 0x10ff8, buffer, 16), VMXC_OK);
    for (unsigned i = 0; i < 16; i++)
        ck_assert_uint_eq(buffer[i], i + 1);
}
END_TEST

START_TEST(defect_07_buffers_respect_each_area_they_touch)
{
    struct vmxc_guest_segment segments[8];
    size_t count = 99;
    ck_assert_int_eq(vmxc_addrspace_map_linear(&space, 0x10000, G1, K4, RW), VMXC_OK);
    ck_assert_int_eq(vmxc_addrspace_map_linear(&space, 0x11000, 2 * G1, K4, VMXC_MAP_READ),
                     VMXC_OK);
    ck_assert_int_eq(vmxc_addrspace_map_alloc(&space, 0x12000, 2 * K4, RW, false), VMXC_OK);
    ck_assert_int_eq(
        vmxc_addrspace_buffer(&space, 0x10f00, 0x200, VMXC_MAP_WRITE, segments, 8, &count),
        VMXC_DENIED);
    ck_assert_uint_eq(count, 99);
    /* A lazy page is supplied, not crashed on. */
    ck_assert_int_eq(
        vmxc_addrspace_buffer(&space, 0x10f00, 0x2200, VMXC_MAP_READ, segments, 8, &count),
        VMXC_OK);
    ck_assert_uint_ge(count, 3);
    uint64_t total = 0;
    for (size_t i = 0; i < count; i++) {
        ck_assert_uint_eq(segments[i].hpa, hpa_of(0x10f00 + total));
        total += segments[i].length;
    }
    ck_assert_uint_eq(total, 0x2200);
    ck_assert_int_eq(
        vmxc_addrspace_buffer(&space, 0x13f00, 0x200, VMXC_MAP_READ, segments, 8, &count),
        VMXC_NOT_FOUND);
}
END_TEST

START_TEST(defect_08_a_host_address_above_the_guest_address_does_not_wrap)
{
    ck_assert_int_eq(vmxc_addrspace_map_linear(&space, 0x1000, UINT64_C(0x3ffffff00000), K4, RW),
                     VMXC_OK);
    ck_assert_int_eq(vmxc_addrspace_map_linear(&space, UINT64_C(0x3ffffff00000), 0x1000, K4, RW),
                     VMXC_OK);
    ck_assert_uint_eq(hpa_of(0x1abc), UINT64_C(0x3ffffff00abc));
    ck_assert_uint_eq(walk(0x1abc, VMXC_EPT_READ).page[0].hpa, UINT64_C(0x3ffffff00abc));
    ck_assert_uint_eq(hpa_of(UINT64_C(0x3ffffff00abc)), 0x1abc);
    ck_assert_uint_eq(walk(UINT64_C(0x3ffffff00abc), VMXC_EPT_READ).page[0].hpa, 0x1abc);
    struct vmxc_guest_segment segment;
    size_t count;
    ck_assert_int_eq(vmxc_addrspace_buffer(&space, 0x1abc, 4, RW, &segment, 1, &count), VMXC_OK);
    ck_assert_uint_eq(segment.hpa, UINT64_C(0x3ffffff00abc));
}
END_TEST

START_TEST(defect_09_address_plus_size_overflow_is_refused)
{
    static const struct {
        uint64_t gpa, size;
    } ranges[] = {{UINT64_C(0xfffffffffffff000), K4},
                  {UINT64_C(0xfffffffffffff000), 2 * K4},
                  {K4, UINT64_C(0xfffffffffffff000)},
                  {2 * K4, UINT64_C(0xfffffffffffff000)},
                  {UINT64_C(0x8000000000000000), UINT64_C(0x8000000000000000)}};
    struct vmxc_guest_segment segment;
    struct vmxc_translation translation;
    size_t count;
    uint8_t byte = 0;
    for (size_t i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++) {
        const uint64_t gpa = ranges[i].gpa, size = ranges[i].size;
        ck_assert_int_eq(vmxc_addrspace_map_linear(&space, gpa, K4, size, RW), VMXC_INVALID_INPUT);
        ck_assert_int_eq(vmxc_addrspace_map_alloc(&space, gpa, size, RW, false),
                         VMXC_INVALID_INPUT);
        ck_assert_int_eq(vmxc_addrspace_replace_linear(&space, gpa, K4, size, RW),
                         VMXC_INVALID_INPUT);
        ck_assert_int_eq(vmxc_addrspace_unmap(&space, gpa, size), VMXC_INVALID_INPUT);
        ck_assert_int_eq(vmxc_addrspace_protect(&space, gpa, size, RW), VMXC_INVALID_INPUT);
        ck_assert_int_eq(vmxc_addrspace_buffer(&space, gpa, size, RW, &segment, 1, &count),
                         VMXC_INVALID_INPUT);
        ck_assert_int_eq(vmxc_ept_map(&space.ept, gpa, K4, size, RW), VMXC_INVALID_INPUT);
        ck_assert_int_eq(vmxc_ept_unmap(&space.ept, gpa, size, NULL, NULL), VMXC_INVALID_INPUT);
        ck_assert(!vmxc_addrspace_contains(&space, gpa, size));
    }
    struct vmxc_addrspace wrapping;
    for (size_t i = 0; i < 2; i++)
        ck_assert_int_eq(
            vmxc_addrspace_init(&wrapping, hal, &defects_config, ranges[i].gpa, ranges[i].size),
            VMXC_INVALID_INPUT);
    /* The host range may not wrap either. */
    ck_assert_int_eq(vmxc_addrspace_map_linear(&space, 0, UINT64_C(0xfffffffffffff000), 2 * K4, RW),
                     VMXC_INVALID_INPUT);
    ck_assert_int_eq(vmxc_addrspace_translate(&space, ~UINT64_C(0), &translation),
                     VMXC_INVALID_INPUT);
    ck_assert_int_eq(vmxc_guest_mem_read(&space, ~UINT64_C(0), &byte, 2), VMXC_INVALID_INPUT);
}
END_TEST

START_TEST(defect_10_addresses_beyond_the_widths_are_refused_not_cut)
{
    const uint64_t span = UINT64_C(1) << 46;
    struct vmxc_ept_mapping mapping;
    ck_assert_int_eq(vmxc_addrspace_map_linear(&space, 0, G1, K4, RW), VMXC_OK);
    /* Guest side: 2^46 (MAXPHYADDR), 2^48 and 2^57 must not be address 0. */
    for (unsigned bit = 46; bit < 64; bit++) {
        const uint64_t gpa = UINT64_C(1) << bit;
        ck_assert_int_eq(vmxc_ept_query(&space.ept, gpa, &mapping), VMXC_INVALID_INPUT);
        ck_assert_int_eq(vmxc_ept_map(&space.ept, gpa, 2 * G1, K4, RW), VMXC_INVALID_INPUT);
        ck_assert_int_eq(vmxc_addrspace_map_linear(&space, gpa, 2 * G1, K4, RW),
                         VMXC_INVALID_INPUT);
        ck_assert_int_ne(vmxc_addrspace_handle_page_fault(&space, gpa, VMXC_MAP_READ),
                         VMXC_FAULT_ALREADY_BACKED);
    }
    struct vmxc_addrspace wider;
    ck_assert_int_eq(vmxc_addrspace_init(&wider, hal, &defects_config, 0, span + K4),
                     VMXC_INVALID_INPUT);
    /* Host side: nothing at or above 2^MAXPHYADDR, not even the last page of a range. */
    ck_assert_int_eq(vmxc_addrspace_map_linear(&space, K4, span, K4, RW), VMXC_INVALID_INPUT);
    ck_assert_int_eq(vmxc_addrspace_map_linear(&space, K4, span - K4, 2 * K4, RW),
                     VMXC_INVALID_INPUT);
    ck_assert_int_eq(vmxc_addrspace_map_linear(&space, K4, span - K4, K4, RW), VMXC_OK);
    ck_assert_uint_eq(walk(K4, VMXC_EPT_READ).page[0].hpa, span - K4);
}
END_TEST

/* ---- 11 to 15 ---- */

START_TEST(defect_11_rights_that_would_be_misconfigurations_are_refused)
{
    ck_assert_int_eq(vmxc_addrspace_map_linear(&space, 0, G1, K4, VMXC_MAP_WRITE),
                     VMXC_INVALID_INPUT);
    ck_assert_int_eq(
        vmxc_addrspace_map_linear(&space, 0, G1, K4, VMXC_MAP_WRITE | VMXC_MAP_EXECUTE),
        VMXC_INVALID_INPUT);
    ck_assert_int_eq(vmxc_addrspace_map_linear(&space, 0, G1, K4, VMXC_MAP_EXECUTE),
                     VMXC_UNSUPPORTED);
    ck_assert_int_eq(vmxc_addrspace_map_linear(&space, 0, G1, K4, VMXC_MAP_READ | VMXC_MAP_USER),
                     VMXC_UNSUPPORTED);
    ck_assert_int_eq(vmxc_addrspace_map_linear(&space, 0, G1, K4, RW), VMXC_OK);
    ck_assert_int_eq(vmxc_addrspace_protect(&space, 0, K4, VMXC_MAP_WRITE), VMXC_INVALID_INPUT);
    ck_assert_int_eq(vmxc_addrspace_protect(&space, 0, K4, VMXC_MAP_EXECUTE), VMXC_UNSUPPORTED);
    ck_assert_int_eq(vmxc_addrspace_map_alloc(&space, M2, K4, VMXC_MAP_WRITE, false),
                     VMXC_INVALID_INPUT);
    ck_assert_int_eq(walk(0, VMXC_EPT_WRITE).kind, VMXSIM_OUTCOME_COMPLETE);
    /* User-mode execute without read is execute-only as well. */
    struct vmxc_ept_config mode_based = defects_config;
    struct vmxc_ept ept;
    mode_based.mode_based_execute = true;
    ck_assert_int_eq(vmxc_ept_init(&ept, hal, &mode_based), VMXC_OK);
    ck_assert_int_eq(vmxc_ept_map(&ept, 0, G1, K4, VMXC_MAP_USER), VMXC_UNSUPPORTED);
    vmxc_ept_fini(&ept, NULL, NULL);
}
END_TEST

START_TEST(defect_12_every_memory_type_reaches_the_entry)
{
    static const enum vmxc_memory_type types[] = {VMXC_MEMORY_TYPE_UC, VMXC_MEMORY_TYPE_WC,
                                                  VMXC_MEMORY_TYPE_WT, VMXC_MEMORY_TYPE_WP,
                                                  VMXC_MEMORY_TYPE_WB};
    static const uint64_t sizes[] = {K4, M2, G1};
    for (size_t size = 0; size < 3; size++) {
        for (size_t i = 0; i < 5; i++) {
            struct vmxsim_trail trail;
            struct vmxsim_outcome outcome;
            ck_assert_int_eq(
                vmxc_addrspace_map_linear(&space, G1, 4 * G1, sizes[size],
                                          RW | VMXC_MAP_TYPE(types[i]) | VMXC_MAP_IGNORE_PAT),
                VMXC_OK);
            walk(G1, VMXC_EPT_READ);
            ck_assert_int_eq(
                vmxsim_guest_physical_access(machine.cpu, G1, VMXC_EPT_READ, &outcome, &trail),
                VMXC_OK);
            const uint64_t leaf = trail.entry[trail.count - 1].value;
            ck_assert_uint_eq((leaf >> 3) & 7, types[i]);
            ck_assert_uint_ne(leaf & VMXC_EPT_IGNORE_PAT, 0);
            ck_assert_uint_eq(outcome.page[0].ept_page_size, sizes[size]);
            /* Splitting keeps the type of what is left. */
            ck_assert_int_eq(vmxc_addrspace_unmap(&space, G1 + sizes[size] - K4, K4), VMXC_OK);
            if (size == 0)
                continue;
            ck_assert_int_eq(walk(G1, VMXC_EPT_READ).page[0].memory_type, types[i]);
            ck_assert_int_eq(vmxc_addrspace_unmap(&space, G1, sizes[size]), VMXC_OK);
        }
    }
}
END_TEST

START_TEST(defect_13_a_mapping_without_access_can_be_unmapped)
{
    struct vmxc_translation translation;
    ck_assert_int_eq(vmxc_addrspace_map_linear(&space, M2, 2 * M2, M2, VMXC_MAP_NONE), VMXC_OK);
    ck_assert_int_eq(vmxc_addrspace_translate(&space, M2 + 5, &translation), VMXC_OK);
    ck_assert_uint_eq(translation.hpa, 2 * M2 + 5);
    ck_assert_uint_eq(walk(M2, VMXC_EPT_READ).exit_reason, EXIT_EPT_VIOLATION);
    ck_assert_int_eq(vmxc_addrspace_map_linear(&space, M2, 4 * M2, K4, RW), VMXC_ALREADY_EXISTS);
    ck_assert_int_eq(vmxc_ept_map(&space.ept, M2, 4 * M2, K4, RW), VMXC_ALREADY_EXISTS);
    /* It counts as a mapping when its neighbour in the same table goes. */
    ck_assert_int_eq(vmxc_addrspace_map_linear(&space, 0, G1, K4, VMXC_MAP_NONE), VMXC_OK);
    ck_assert_int_eq(vmxc_addrspace_map_linear(&space, K4, G1, K4, RW), VMXC_OK);
    ck_assert_int_eq(vmxc_addrspace_unmap(&space, K4, K4), VMXC_OK);
    ck_assert_uint_eq(hpa_of(5), G1 + 5);
    ck_assert_int_eq(vmxc_addrspace_unmap(&space, 0, K4), VMXC_OK);
    ck_assert_int_eq(vmxc_addrspace_unmap(&space, M2, M2), VMXC_OK);
    expect_unmapped(M2);
    /* Frames of an alloc area come back too, and rights can be given back. */
    ck_assert_int_eq(vmxc_addrspace_map_alloc(&space, M2, 4 * K4, VMXC_MAP_NONE, true), VMXC_OK);
    ck_assert_int_eq(vmxc_addrspace_protect(&space, M2, K4, RW), VMXC_OK);
    ck_assert_int_eq(walk(M2, VMXC_EPT_WRITE).kind, VMXSIM_OUTCOME_COMPLETE);
    ck_assert_int_eq(vmxc_addrspace_unmap(&space, M2, 4 * K4), VMXC_OK);
    ck_assert_uint_eq(vmxc_ept_count_tables(&space.ept), 1);
}
END_TEST

START_TEST(defect_14_a_fault_without_access_is_not_handled)
{
    ck_assert_int_eq(vmxc_addrspace_map_alloc(&space, 0, 4 * K4, RWX, false), VMXC_OK);
    const uint64_t frames = frames_in_use();
    ck_assert_int_eq(vmxc_addrspace_handle_page_fault(&space, 0, VMXC_MAP_NONE), VMXC_FAULT_DENIED);
    ck_assert_int_eq(vmxc_addrspace_handle_page_fault(&space, 0, VMXC_MAP_READ | VMXC_MAP_DEVICE),
                     VMXC_FAULT_DENIED);
    ck_assert_uint_eq(frames_in_use(), frames);
    expect_unmapped(0);
    ck_assert_int_eq(vmxc_addrspace_handle_page_fault(&space, 0, VMXC_MAP_READ), VMXC_FAULT_MAPPED);
    ck_assert_int_eq(vmxc_addrspace_handle_page_fault(&space, 0, VMXC_MAP_NONE), VMXC_FAULT_DENIED);
}
END_TEST

/* The simulated allocator hands out poisoned frames, and frames come back used. */
START_TEST(defect_15_data_frames_reach_the_guest_zeroed)
{
    static const uint8_t zeros[VMXC_PAGE_SIZE];
    uint8_t page[VMXC_PAGE_SIZE];
    for (unsigned round = 0; round < 3; round++) {
        ck_assert_int_eq(vmxc_addrspace_map_alloc(&space, 0, 4 * K4, RW, true), VMXC_OK);
        ck_assert_int_eq(vmxc_addrspace_map_alloc(&space, M2, 4 * K4, RW, false), VMXC_OK);
        for (unsigned i = 0; i < 4; i++)
            ck_assert_int_eq(vmxc_addrspace_handle_page_fault(&space, M2 + i * K4, VMXC_MAP_READ),
                             VMXC_FAULT_MAPPED);
        for (unsigned i = 0; i < 8; i++) {
            const uint64_t hpa = hpa_of((i & 4 ? M2 : 0) + (i & 3) * K4);
            vmxsim_memory_read(machine.memory, hpa, page, sizeof(page));
            ck_assert_mem_eq(page, zeros, sizeof(page));
            memset(page, 0xcc, sizeof(page));
            vmxsim_memory_write(machine.memory, hpa, page, sizeof(page));
        }
        ck_assert_int_eq(vmxc_addrspace_clear(&space), VMXC_OK);
    }
}
END_TEST

/* ---- 19: cost ---- */

/* Memory that libvmxcore asks the HAL to translate, as a measure of work that does not depend on the clock. */
static const struct vmxc_hal *inner_hal;
static uint64_t translations;

static void *counting_phys_to_virt(void *context, vmxc_hpa_t hpa)
{
    translations++;
    return inner_hal->phys_to_virt(context, hpa);
}

static uint64_t cost_of_cut(struct vmxc_addrspace *counted, uint64_t gpa)
{
    translations = 0;
    ck_assert_int_eq(vmxc_addrspace_unmap(counted, gpa, K4), VMXC_OK);
    return translations;
}

/* Lazy areas of 3 pages with a hole after each; cutting one in the middle visits a few nodes, however many there are. */
START_TEST(defect_19_cutting_one_of_100000_areas_is_not_linear)
{
    struct vmxc_hal counting = *hal;
    struct vmxc_addrspace counted;
    inner_hal = hal;
    counting.phys_to_virt = counting_phys_to_virt;
    counting.window = (struct vmxc_hal_window){0};
    ck_assert_int_eq(
        vmxc_addrspace_init(&counted, &counting, &defects_config, 0, UINT64_C(1) << 46), VMXC_OK);
    uint64_t count = 0;
    for (; count < 1000; count++)
        ck_assert_int_eq(vmxc_addrspace_map_alloc(&counted, count * 4 * K4, 3 * K4, RW, false),
                         VMXC_OK);
    const uint64_t few = cost_of_cut(&counted, 500 * 4 * K4 + K4);
    ck_assert_uint_gt(few, 0);
    for (; count < 100000; count++)
        ck_assert_int_eq(vmxc_addrspace_map_alloc(&counted, count * 4 * K4, 3 * K4, RW, false),
                         VMXC_OK);
    const uint64_t many = cost_of_cut(&counted, 50000 * 4 * K4 + K4);
    ck_assert_msg(many < few + 40, "1,000 areas: %" PRIu64 " translations, 100,000 areas: %" PRIu64,
                  few, many);
    vmxc_addrspace_fini(&counted);
}
END_TEST

static Suite *suite(void)
{
    const TTest *const tests[] = {
        defect_01_second_fault_keeps_the_frame,
        defect_02_a_map_that_fails_half_way_leaves_nothing,
        defect_02_a_replacement_or_split_that_fails_changes_nothing,
        defect_03_unmapping_part_of_a_large_page_keeps_the_rest,
        defect_03_the_rest_stays_mapped_throughout,
        defect_04_empty_tables_are_freed,
        defect_05_the_length_of_a_translation_is_what_is_left,
        defect_06_reads_stop_at_the_end_of_an_area,
        defect_06_reads_cross_pages_where_the_guest_does,
        defect_07_buffers_respect_each_area_they_touch,
        defect_08_a_host_address_above_the_guest_address_does_not_wrap,
        defect_09_address_plus_size_overflow_is_refused,
        defect_10_addresses_beyond_the_widths_are_refused_not_cut,
        defect_11_rights_that_would_be_misconfigurations_are_refused,
        defect_12_every_memory_type_reaches_the_entry,
        defect_13_a_mapping_without_access_can_be_unmapped,
        defect_14_a_fault_without_access_is_not_handled,
        defect_15_data_frames_reach_the_guest_zeroed,
        defect_19_cutting_one_of_100000_areas_is_not_linear,
    };
    return defects_suite("known_defects", tests, sizeof(tests) / sizeof(tests[0]));
}

int main(void)
{
    return run_suite(suite());
}
