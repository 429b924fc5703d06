/* SPDX-License-Identifier: Apache-2.0 */
/* The frame allocator of simulated memory and the HAL over it: abuse, poison, injection, reports. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmxsim/memory.h"

enum { FRAMES = 16 };

/* The frames lie inside a larger range, beside a second one. */
static const struct vmxsim_range ram[] = {{0x100000, 0x100000}, {0x400000, 0x10000}};
static const struct vmxsim_range frames = {0x120000, FRAMES * 0x1000};

static struct vmxsim_memory *memory;
static const struct vmxc_hal *hal;

static struct vmxsim_memory *create(const struct vmxsim_memory_config *config)
{
    struct vmxsim_memory *created = NULL;
    struct vmxsim_error error = {0};
    ck_assert_msg(vmxsim_memory_create(config, &created, &error) == VMXC_OK, "%s", error.text);
    return created;
}

static void setup(void)
{
    memory = create(&(struct vmxsim_memory_config){.ram = ram, .ram_count = 2, .frames = frames});
    hal = vmxsim_memory_hal(memory);
}

static void setup_without_poison(void)
{
    memory = create(&(struct vmxsim_memory_config){
        .ram = ram, .ram_count = 2, .frames = frames, .no_poison = true});
    hal = vmxsim_memory_hal(memory);
}

static void teardown(void)
{
    vmxsim_memory_destroy(memory);
}

static uint64_t take(const char *label)
{
    uint64_t hpa = 0;
    ck_assert_int_eq(hal->alloc_frame(hal->context, label, &hpa), VMXC_OK);
    return hpa;
}

static void give(uint64_t hpa)
{
    hal->dealloc_frame(hal->context, hpa);
}

static struct vmxsim_memory_stats stats(void)
{
    return vmxsim_memory_stats(memory);
}

/* ---- Abuse ---- */

START_TEST(a_double_free_is_counted_and_not_executed)
{
    const uint64_t first = take("a"), second = take("b");
    give(first);
    give(first);
    give(first);
    ck_assert_uint_eq(stats().double_frees, 2);
    ck_assert_uint_eq(stats().frees, 1);
    ck_assert_uint_eq(stats().frames_in_use, 1);
    ck_assert_uint_eq(take("c"), first); /* handed out once, not three times */
    const uint64_t third = take("d");
    ck_assert_uint_ne(third, first);
    ck_assert_uint_ne(third, second);
}
END_TEST

START_TEST(freeing_a_frame_that_was_never_handed_out_is_a_double_free)
{
    give(frames.base + 5 * 0x1000);
    ck_assert_uint_eq(stats().double_frees, 1);
    ck_assert_uint_eq(stats().frees, 0);
}
END_TEST

static const uint64_t foreign[] = {
    0,        0x100000, 0x11f000,   0x120000 + FRAMES * 0x1000, 0x400000, 0x120001,
    0x1207ff, 0x300000, UINT64_MAX, UINT64_MAX - 0xfff};

START_TEST(a_foreign_or_misaligned_free_is_counted_and_not_executed)
{
    const uint64_t hpa = take("a");
    ck_assert_uint_eq(hpa, 0x120000);
    give(foreign[_i]);
    ck_assert_uint_eq(stats().foreign_frees, 1);
    ck_assert_uint_eq(stats().frees, 0);
    ck_assert_uint_eq(stats().frames_in_use, 1);
}
END_TEST

START_TEST(exhaustion_is_a_status_and_leaves_the_output_alone)
{
    for (int i = 0; i < FRAMES; i++)
        (void)take("all");
    uint64_t hpa = 0x1234;
    ck_assert_int_eq(hal->alloc_frame(hal->context, "more", &hpa), VMXC_NO_MEMORY);
    ck_assert_uint_eq(hpa, 0x1234);
    ck_assert_uint_eq(stats().failed, 1);
    give(frames.base + 3 * 0x1000);
    ck_assert_uint_eq(take("again"), frames.base + 3 * 0x1000);
}
END_TEST

/* ---- Accounting ---- */

START_TEST(frames_are_distinct_aligned_and_inside)
{
    bool seen[FRAMES] = {false};
    for (int i = 0; i < FRAMES; i++) {
        const uint64_t hpa = take("frame");
        ck_assert_uint_eq(hpa & 0xfff, 0);
        ck_assert_uint_ge(hpa, frames.base);
        const uint64_t index = (hpa - frames.base) / 0x1000;
        ck_assert_uint_lt(index, FRAMES);
        ck_assert(!seen[index]);
        seen[index] = true;
    }
    ck_assert_uint_eq(stats().frames_total, FRAMES);
    ck_assert_uint_eq(stats().frames_peak, FRAMES);
}
END_TEST

START_TEST(the_frame_freed_last_comes_first)
{
    const uint64_t a = take("a"), b = take("b"), c = take("c");
    give(a);
    give(c);
    give(b);
    ck_assert_uint_eq(take("x"), b);
    ck_assert_uint_eq(take("y"), c);
    ck_assert_uint_eq(take("z"), a);
    ck_assert_uint_eq(stats().allocations, 6);
    ck_assert_uint_eq(stats().frees, 3);
    ck_assert_uint_eq(stats().frames_in_use, 3);
    ck_assert_uint_eq(stats().frames_peak, 3);
}
END_TEST

START_TEST(page_0_is_never_handed_out)
{
    const struct vmxsim_range low = {0, 0x3000};
    struct vmxsim_memory *by_default =
        create(&(struct vmxsim_memory_config){.ram = &low, .ram_count = 1});
    struct vmxsim_memory *by_name =
        create(&(struct vmxsim_memory_config){.ram = &low, .ram_count = 1, .frames = {0, 0x2000}});
    ck_assert_uint_eq(vmxsim_memory_stats(by_default).frames_total, 2);
    ck_assert_uint_eq(vmxsim_memory_stats(by_name).frames_total, 1);
    const struct vmxc_hal *low_hal = vmxsim_memory_hal(by_name);
    uint64_t hpa = 0;
    ck_assert_int_eq(low_hal->alloc_frame(low_hal->context, "a", &hpa), VMXC_OK);
    ck_assert_uint_eq(hpa, 0x1000);
    ck_assert_int_eq(low_hal->alloc_frame(low_hal->context, "a", &hpa), VMXC_NO_MEMORY);
    vmxsim_memory_destroy(by_default);
    vmxsim_memory_destroy(by_name);
}
END_TEST

START_TEST(a_memory_of_page_0_alone_has_no_frames)
{
    const struct vmxsim_range page = {0, 0x1000};
    struct vmxsim_memory *tiny =
        create(&(struct vmxsim_memory_config){.ram = &page, .ram_count = 1});
    const struct vmxc_hal *tiny_hal = vmxsim_memory_hal(tiny);
    uint64_t hpa = 0;
    ck_assert_uint_eq(vmxsim_memory_stats(tiny).frames_total, 0);
    ck_assert_int_eq(tiny_hal->alloc_frame(tiny_hal->context, "a", &hpa), VMXC_NO_MEMORY);
    tiny_hal->dealloc_frame(tiny_hal->context, 0);
    ck_assert_uint_eq(vmxsim_memory_stats(tiny).foreign_frees, 1);
    vmxsim_memory_destroy(tiny);
}
END_TEST

START_TEST(by_default_frames_are_the_lowest_of_the_largest_ranges)
{
    const struct vmxsim_range ranges[] = {{0x900000, 0x2000}, {0x500000, 0x2000}, {0, 0x1000}};
    struct vmxsim_memory *created =
        create(&(struct vmxsim_memory_config){.ram = ranges, .ram_count = 3});
    const struct vmxc_hal *created_hal = vmxsim_memory_hal(created);
    uint64_t hpa = 0;
    ck_assert_uint_eq(vmxsim_memory_stats(created).frames_total, 2);
    ck_assert_int_eq(created_hal->alloc_frame(created_hal->context, "a", &hpa), VMXC_OK);
    ck_assert_uint_eq(hpa, 0x500000);
    ck_assert_uint_eq(created_hal->window.base, 0x500000);
    vmxsim_memory_destroy(created);
}
END_TEST

/* ---- Poison ---- */

/* Whatever a stray reader takes the word for, it must not work. */
static void check_poison(uint64_t word)
{
    ck_assert_uint_eq(word & 3, 2); /* EPT: writable, not readable; paging: not present */
    ck_assert_uint_ge(word, UINT64_C(1) << 52); /* physical address: a hole */
    const uint64_t canonical_57 = word >> 56;   /* bits 63:56 all alike? */
    ck_assert(canonical_57 != 0 && canonical_57 != 0xff);
}

START_TEST(fresh_and_freed_frames_are_poisoned_differently)
{
    const uint64_t hpa = take("a");
    const uint64_t fresh = vmxsim_memory_read64(memory, hpa);
    give(hpa);
    const uint64_t freed = vmxsim_memory_read64(memory, hpa);
    check_poison(fresh);
    check_poison(freed);
    ck_assert_uint_ne(fresh, freed);
    for (unsigned int offset = 0; offset < 4096; offset += 8)
        ck_assert_uint_eq(vmxsim_memory_read64(memory, hpa + offset), freed);
    ck_assert_uint_eq(take("b"), hpa);
    for (unsigned int offset = 0; offset < 4096; offset += 8)
        ck_assert_uint_eq(vmxsim_memory_read64(memory, hpa + offset), fresh);
}
END_TEST

struct frame_list {
    uint64_t hpa[FRAMES];
    const char *label[FRAMES];
    size_t count;
};

static void collect(void *context, uint64_t hpa, const char *label)
{
    struct frame_list *list = context;
    ck_assert_uint_lt(list->count, FRAMES);
    list->hpa[list->count] = hpa;
    list->label[list->count++] = label;
}

/* One byte is enough, at the start, in the middle, at the end. */
static const unsigned int damage_at[] = {0, 1, 2047, 4095};

START_TEST(a_write_after_free_is_found)
{
    const uint64_t first = take("EPT table"), second = take("guest page");
    give(first);
    give(second);
    ck_assert_uint_eq(vmxsim_memory_damaged_frames(memory, NULL, NULL), 0);
    vmxsim_memory_write(memory, first + damage_at[_i], "!", 1);

    struct frame_list list = {.count = 0};
    ck_assert_uint_eq(vmxsim_memory_damaged_frames(memory, collect, &list), 1);
    ck_assert_uint_eq(list.hpa[0], first);
    ck_assert_str_eq(list.label[0], "EPT table"); /* who had it last */

    ck_assert_uint_eq(take("b"), second);
    ck_assert_uint_eq(stats().use_after_free, 0);
    ck_assert_uint_eq(take("a"), first);
    ck_assert_uint_eq(stats().use_after_free, 1);
    ck_assert_uint_eq(vmxsim_memory_damaged_frames(memory, NULL, NULL), 0);
}
END_TEST

START_TEST(writing_to_a_frame_that_was_never_handed_out_is_no_use_after_free)
{
    vmxsim_memory_write64(memory, frames.base, 1);
    ck_assert_uint_eq(take("a"), frames.base);
    ck_assert_uint_eq(stats().use_after_free, 0);
}
END_TEST

START_TEST(without_poison_the_content_stays)
{
    vmxsim_memory_write64(memory, frames.base + 8, 0x1234);
    const uint64_t hpa = take("a");
    ck_assert_uint_eq(vmxsim_memory_read64(memory, hpa + 8), 0x1234);
    give(hpa);
    vmxsim_memory_write64(memory, hpa, 0x5678);
    ck_assert_uint_eq(vmxsim_memory_damaged_frames(memory, NULL, NULL), 0);
    ck_assert_uint_eq(take("b"), hpa);
    ck_assert_uint_eq(stats().use_after_free, 0);
    ck_assert_uint_eq(vmxsim_memory_read64(memory, hpa), 0x5678);
}
END_TEST

/* ---- Failure injection ---- */

START_TEST(the_nth_allocation_fails_once)
{
    vmxsim_memory_fail_nth(memory, 3);
    for (int i = 1; i <= 6; i++) {
        uint64_t hpa;
        ck_assert_int_eq(hal->alloc_frame(hal->context, "a", &hpa),
                         i == 3 ? VMXC_NO_MEMORY : VMXC_OK);
    }
    ck_assert_uint_eq(stats().failed, 1);
    ck_assert_uint_eq(stats().allocations, 5);

    vmxsim_memory_fail_nth(memory, 1);
    vmxsim_memory_fail_nth(memory, 0);
    (void)take("switched off");
}
END_TEST

/* Which of 64 allocations fail, as a mask. */
static uint64_t failures(uint64_t seed, uint32_t per_million)
{
    uint64_t mask = 0;
    vmxsim_memory_fail_randomly(memory, seed, per_million);
    for (unsigned int i = 0; i < 64; i++) {
        uint64_t hpa;
        if (hal->alloc_frame(hal->context, "a", &hpa) == VMXC_OK)
            give(hpa);
        else
            mask |= UINT64_C(1) << i;
    }
    return mask;
}

START_TEST(random_failures_depend_on_the_seed_alone)
{
    const uint64_t first = failures(1, 300000);
    ck_assert_uint_ne(first, 0);
    ck_assert_uint_ne(first, UINT64_MAX);
    ck_assert_uint_ne(failures(2, 300000), first);
    ck_assert_uint_eq(failures(1, 300000), first);
    ck_assert_uint_ne(failures(0, 500000), 0); /* a seed of zero works too */
    ck_assert_uint_eq(failures(1, 0), 0);
    ck_assert_uint_eq(failures(1, 1000000), UINT64_MAX);
    ck_assert_uint_eq(failures(1, UINT32_MAX), UINT64_MAX);
}
END_TEST

START_TEST(random_failures_come_as_often_as_asked)
{
    unsigned int failed = 0;
    for (uint64_t seed = 0; seed < 1000; seed++) {
        for (uint64_t mask = failures(seed, 100000); mask != 0; mask &= mask - 1)
            failed++;
    }
    /* 64,000 trials at 10 %: 6,400 expected, standard deviation 76. */
    ck_assert_uint_gt(failed, 6000);
    ck_assert_uint_lt(failed, 6800);
}
END_TEST

/* ---- Reports ---- */

START_TEST(leaks_are_visited_in_order_with_their_labels)
{
    const uint64_t a = take("a"), b = take("b"), c = take(NULL);
    give(b);
    struct frame_list list = {.count = 0};
    ck_assert_uint_eq(vmxsim_memory_leaks(memory, collect, &list), 2);
    ck_assert_uint_eq(list.hpa[0], a);
    ck_assert_str_eq(list.label[0], "a");
    ck_assert_uint_eq(list.hpa[1], c);
    ck_assert_str_eq(list.label[1], "(no label)");
}
END_TEST

START_TEST(the_leak_report_counts_by_label)
{
    static const char expected[] = "EPT table: 3 frames, first 0x120000\n"
                                   "guest page: 1 frame, first 0x122000\n";
    char same_text[] = "EPT table", text[256] = "untouched";
    ck_assert_uint_eq(vmxsim_memory_leak_report(memory, text, sizeof text), 0);
    ck_assert_str_eq(text, "");

    (void)take("EPT table");
    (void)take(same_text); /* another string, the same label */
    (void)take("guest page");
    (void)take("EPT table");
    ck_assert_uint_eq(vmxsim_memory_leak_report(memory, text, sizeof text), strlen(expected));
    ck_assert_str_eq(text, expected);
}
END_TEST

START_TEST(the_leak_report_fits_any_buffer)
{
    char whole[256], part[256];
    (void)take("EPT table");
    (void)take("guest page");
    const size_t length = vmxsim_memory_leak_report(memory, whole, sizeof whole);
    ck_assert_uint_eq(vmxsim_memory_leak_report(memory, NULL, 0), length);
    for (size_t size = 1; size <= length + 1; size++) {
        memset(part, '#', sizeof part);
        ck_assert_uint_eq(vmxsim_memory_leak_report(memory, part, size), length);
        ck_assert_uint_eq(strlen(part), size - 1);
        ck_assert_mem_eq(part, whole, size - 1);
        ck_assert_int_eq(part[size], '#');
    }
}
END_TEST

START_TEST(more_labels_than_rows_are_counted_together)
{
    static char labels[70][8];
    const struct vmxsim_range large = {0x100000, 0x100000};
    struct vmxsim_memory *many =
        create(&(struct vmxsim_memory_config){.ram = &large, .ram_count = 1, .no_poison = true});
    const struct vmxc_hal *many_hal = vmxsim_memory_hal(many);
    for (size_t i = 0; i < 70; i++) {
        uint64_t hpa;
        (void)snprintf(labels[i], sizeof labels[i], "l%zu", i);
        ck_assert_int_eq(many_hal->alloc_frame(many_hal->context, labels[i], &hpa), VMXC_OK);
    }
    char text[4096];
    (void)vmxsim_memory_leak_report(many, text, sizeof text);
    ck_assert_ptr_nonnull(strstr(text, "\nl63: 1 frame, first 0x13f000\n"
                                       "other labels: 6 frames, first 0x140000\n"));
    vmxsim_memory_destroy(many);
}
END_TEST

/* ---- The HAL ---- */

START_TEST(addresses_and_pointers_translate_back_and_forth)
{
    static const uint64_t addresses[] = {0x100000, 0x1fffff, 0x400123, 0x40ffff};
    for (size_t i = 0; i < sizeof addresses / sizeof addresses[0]; i++) {
        uint64_t hpa = 0;
        const void *pointer = hal->phys_to_virt(hal->context, addresses[i]);
        ck_assert_ptr_nonnull(pointer);
        ck_assert_int_eq(hal->virt_to_phys(hal->context, pointer, &hpa), VMXC_OK);
        ck_assert_uint_eq(hpa, addresses[i]);
    }
}
END_TEST

START_TEST(holes_and_strange_pointers_do_not_translate)
{
    uint64_t hpa = 0x77;
    ck_assert_ptr_null(hal->phys_to_virt(hal->context, 0x200000));
    ck_assert_ptr_null(hal->phys_to_virt(hal->context, UINT64_MAX));
    ck_assert_int_eq(hal->virt_to_phys(hal->context, &hpa, &hpa), VMXC_NOT_FOUND);
    ck_assert_int_eq(hal->virt_to_phys(hal->context, NULL, &hpa), VMXC_NOT_FOUND);
    ck_assert_uint_eq(hpa, 0x77);
}
END_TEST

START_TEST(the_window_is_the_range_of_the_frames)
{
    ck_assert_uint_eq(hal->window.base, 0x100000);
    ck_assert_uint_eq(hal->window.length, 0x100000);
    const uint64_t hpa = take("a");
    ck_assert_ptr_eq(hal->window.pointer + (hpa - hal->window.base),
                     hal->phys_to_virt(hal->context, hpa));
}
END_TEST

static void remember_eptp(void *context, uint64_t eptp)
{
    *(uint64_t *)context = eptp;
}

START_TEST(invalidations_are_counted_and_reported)
{
    uint64_t eptp = 0;
    hal->invalidate_ept(hal->context, 1);
    vmxsim_memory_on_invalidate(memory, remember_eptp, &eptp);
    hal->invalidate_ept(hal->context, 0x12305e);
    ck_assert_uint_eq(eptp, 0x12305e);
    vmxsim_memory_on_invalidate(memory, NULL, NULL);
    hal->invalidate_ept(hal->context, 2);
    ck_assert_uint_eq(eptp, 0x12305e);
    ck_assert_uint_eq(stats().invalidations, 3);
}
END_TEST

static void remember_event(void *context, const struct vmxc_trace_event *event)
{
    *(struct vmxc_trace_event *)context = *event;
}

START_TEST(trace_is_offered_only_while_somebody_listens)
{
    struct vmxc_trace_event seen = {.gpa = 0};
    ck_assert(hal->trace == NULL);
    vmxsim_memory_on_trace(memory, remember_event, &seen);
    ck_assert(hal->trace != NULL);
    hal->trace(hal->context, &(struct vmxc_trace_event){.kind = VMXC_TRACE_MAP, .gpa = 0x5000});
    ck_assert_int_eq(seen.kind, VMXC_TRACE_MAP);
    ck_assert_uint_eq(seen.gpa, 0x5000);
    vmxsim_memory_on_trace(memory, NULL, NULL);
    ck_assert(hal->trace == NULL);
}
END_TEST

static TCase *frame_case(Suite *suite, const char *name)
{
    TCase *tests = tcase_create(name);
    tcase_add_checked_fixture(tests, setup, teardown);
    suite_add_tcase(suite, tests);
    return tests;
}

static Suite *frames_suite(void)
{
    Suite *suite = suite_create("memory_frames");
    TCase *abuse = frame_case(suite, "abuse");
    tcase_add_test(abuse, a_double_free_is_counted_and_not_executed);
    tcase_add_test(abuse, freeing_a_frame_that_was_never_handed_out_is_a_double_free);
    tcase_add_loop_test(abuse, a_foreign_or_misaligned_free_is_counted_and_not_executed, 0,
                        (int)(sizeof foreign / sizeof foreign[0]));
    tcase_add_test(abuse, exhaustion_is_a_status_and_leaves_the_output_alone);

    TCase *accounting = frame_case(suite, "accounting");
    tcase_add_test(accounting, frames_are_distinct_aligned_and_inside);
    tcase_add_test(accounting, the_frame_freed_last_comes_first);
    tcase_add_test(accounting, page_0_is_never_handed_out);
    tcase_add_test(accounting, a_memory_of_page_0_alone_has_no_frames);
    tcase_add_test(accounting, by_default_frames_are_the_lowest_of_the_largest_ranges);

    TCase *poison = frame_case(suite, "poison");
    tcase_add_test(poison, fresh_and_freed_frames_are_poisoned_differently);
    tcase_add_loop_test(poison, a_write_after_free_is_found, 0,
                        (int)(sizeof damage_at / sizeof damage_at[0]));
    tcase_add_test(poison, writing_to_a_frame_that_was_never_handed_out_is_no_use_after_free);
    TCase *no_poison = tcase_create("no poison");
    tcase_add_checked_fixture(no_poison, setup_without_poison, teardown);
    tcase_add_test(no_poison, without_poison_the_content_stays);
    suite_add_tcase(suite, no_poison);

    TCase *injection = frame_case(suite, "injection");
    tcase_add_test(injection, the_nth_allocation_fails_once);
    tcase_add_test(injection, random_failures_depend_on_the_seed_alone);
    tcase_add_test(injection, random_failures_come_as_often_as_asked);

    TCase *reports = frame_case(suite, "reports");
    tcase_add_test(reports, leaks_are_visited_in_order_with_their_labels);
    tcase_add_test(reports, the_leak_report_counts_by_label);
    tcase_add_test(reports, the_leak_report_fits_any_buffer);
    tcase_add_test(reports, more_labels_than_rows_are_counted_together);

    TCase *seam = frame_case(suite, "hal");
    tcase_add_test(seam, addresses_and_pointers_translate_back_and_forth);
    tcase_add_test(seam, holes_and_strange_pointers_do_not_translate);
    tcase_add_test(seam, the_window_is_the_range_of_the_frames);
    tcase_add_test(seam, invalidations_are_counted_and_reported);
    tcase_add_test(seam, trace_is_offered_only_while_somebody_listens);
    return suite;
}

int main(void)
{
    SRunner *runner = srunner_create(frames_suite());
    srunner_run_all(runner, CK_NORMAL);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
