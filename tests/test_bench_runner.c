/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The benchmarks' runner: which targets make a program fail. Time is not the machine's here but a clock that operations move,
 * so that nothing depends on how busy it is.
 */
#include <check.h>
#include <stdio.h>
#include <time.h>

#include "../bench/runner.h"
#include "support/suite.h"

/* ---- A clock that only `spend` moves: CMake gives the runner this one for clock_gettime ---- */

static uint64_t elapsed;

int test_clock(clockid_t clock, struct timespec *now);

int test_clock(clockid_t clock, struct timespec *now)
{
    (void)clock;
    *now = (struct timespec){.tv_sec = (time_t)(elapsed / 1000000000),
                             .tv_nsec = (long)(elapsed % 1000000000)};
    return 0;
}

static void spend(void *context, uint64_t nanoseconds)
{
    (void)context;
    elapsed += nanoseconds;
}

/* The program's exit status for one floor and one operation. */
static int run_group(const struct bench_case *cases, size_t count)
{
    char *arguments[] = {(char[]){"bench"}, (char[]){"--runs"}, (char[]){"3"}, NULL};
    struct bench *const bench = bench_start(3, arguments, "bench", "");

    bench_measure(bench, cases, count, NULL);
    return bench_end(bench);
}

static int run_with(uint64_t floor, struct bench_case one)
{
    struct bench_case cases[] = {
        {.name = "floor", .unit = "call", .units = 1, .run = spend, .argument = floor}, one};

    cases[1].name = "operation";
    cases[1].unit = "call";
    cases[1].units = 1;
    cases[1].run = spend;
    return run_group(cases, 2);
}

#define RATIO(limit) .floor = "floor", .target_kind = BENCH_RATIO, .target = limit

START_TEST(a_missed_ratio_fails)
{
    ck_assert_int_eq(run_with(100, (struct bench_case){.argument = 201, RATIO(2)}), 1);
    ck_assert_int_eq(run_with(100, (struct bench_case){.argument = 200, RATIO(2)}), 0);
}
END_TEST

START_TEST(what_a_ratio_allows_on_top_counts_once)
{
    ck_assert_int_eq(
        run_with(100, (struct bench_case){.argument = 1201, RATIO(2), .target_plus = 1000}), 1);
    ck_assert_int_eq(
        run_with(100, (struct bench_case){.argument = 1200, RATIO(2), .target_plus = 1000}), 0);
}
END_TEST

START_TEST(a_missed_time_does_not_fail)
{
    ck_assert_int_eq(
        run_with(
            1, (struct bench_case){.argument = 500, .target_kind = BENCH_NANOSECONDS, .target = 5}),
        0);
}
END_TEST

START_TEST(a_ratio_without_its_floor_is_missed)
{
    ck_assert_int_eq(run_with(100, (struct bench_case){.argument = 1,
                                                       .floor = "another",
                                                       .target_kind = BENCH_RATIO,
                                                       .target = 2}),
                     1);
}
END_TEST

/* Four threads on one core cannot be as fast as on four. */
START_TEST(a_target_applies_where_what_it_depends_on_is_reached)
{
    struct bench_case cases[] = {
        {.name = "one", .unit = "call", .units = 1, .run = spend, .argument = 100},
        {.name = "host", .unit = "call", .units = 1, .run = spend, .floor = "one"},
        {.name = "ours",
         .unit = "call",
         .units = 1,
         .run = spend,
         .argument = 90,
         RATIO(0.5),
         .given = "host"},
    };

    cases[2].floor = "one";
    cases[1].argument = 80; /* the host does not give it */
    ck_assert_int_eq(run_group(cases, 3), 0);
    cases[1].argument = 40; /* it does */
    ck_assert_int_eq(run_group(cases, 3), 1);
    cases[2].argument = 50;
    ck_assert_int_eq(run_group(cases, 3), 0);
}
END_TEST

/* 3 times: prepare, run, finish; the clock runs in all of them and counts in one. */
static void spend_much(void *context, uint64_t argument)
{
    (void)argument;
    spend(context, 100000);
}

START_TEST(only_the_operation_is_timed_and_repeats_are_averaged)
{
    const struct bench_case cases[] = {
        {.name = "floor", .unit = "call", .units = 1, .run = spend, .argument = 100},
        {.name = "operation",
         .unit = "call",
         .units = 2,
         .repeats = 3,
         .prepare = spend_much,
         .run = spend,
         .finish = spend_much,
         .argument = 200,
         RATIO(1)},
    };

    ck_assert_int_eq(run_group(cases, 2), 0);
}
END_TEST

static void be_silent(void)
{
    ck_assert_ptr_nonnull(freopen("/dev/null", "w", stdout));
}

int main(void)
{
    Suite *const suite = suite_create("bench_runner");
    TCase *const tests = suite_case(suite, "exit status", be_silent, NULL);

    tcase_add_test(tests, a_missed_ratio_fails);
    tcase_add_test(tests, what_a_ratio_allows_on_top_counts_once);
    tcase_add_test(tests, a_missed_time_does_not_fail);
    tcase_add_test(tests, a_ratio_without_its_floor_is_missed);
    tcase_add_test(tests, a_target_applies_where_what_it_depends_on_is_reached);
    tcase_add_test(tests, only_the_operation_is_timed_and_repeats_are_averaged);
    return run_suite(suite);
}
