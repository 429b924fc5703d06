/* SPDX-License-Identifier: Apache-2.0 */
#include "runner.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    RESULT_CAPACITY = 256,
    GROUP_CAPACITY = 32,
    RUNS_DEFAULT = 11,
    RUNS_MAX = 1001,
};

struct result {
    const struct bench_case *of;
    double median, least, most; /* nanoseconds per unit */
    uint64_t frames;
};

struct bench {
    const char *name;
    bool json;
    const char *only; /* NULL: everything */
    unsigned int runs;
    struct result result[RESULT_CAPACITY];
    size_t count;
};

static const char *program = "bench";

void bench_require(bool holds, const char *what)
{
    if (holds)
        return;
    (void)fprintf(stderr, "%s: %s\n", program, what);
    exit(EXIT_FAILURE);
}

/* SplitMix64; the remainder's bias is below 2^-30 for the limits that benchmarks use. */
uint64_t bench_random(uint64_t *state, uint64_t limit)
{
    *state += UINT64_C(0x9e3779b97f4a7c15);
    uint64_t mixed = *state;
    mixed = (mixed ^ mixed >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    mixed = (mixed ^ mixed >> 27) * UINT64_C(0x94d049bb133111eb);
    return (mixed ^ mixed >> 31) % limit;
}

/* ---- Command line ---- */

static void print_help(const char *about)
{
    (void)printf(
        "usage: %s [--json] [--only TEXT] [--runs N]\n\n%s\n\n"
        "  --json       print the results as JSON\n"
        "  --only TEXT  measure only operations whose name contains TEXT, and their floors\n"
        "  --runs N     runs of each operation, 3 to %d; default %d\n"
        "  --help       print this text\n\n"
        "Exit status: 0; 1 if a target that is a ratio to a floor of this run was missed;\n"
        "2 if the command line is wrong.\n",
        program, about, RUNS_MAX, RUNS_DEFAULT);
}

static void refuse(const char *what, const char *argument)
{
    (void)fprintf(stderr, "%s: %s: %s\n", program, what, argument);
    exit(2);
}

static unsigned int parse_runs(const char *text)
{
    char *end;
    const long runs = strtol(text, &end, 10);
    if (end == text || *end != '\0' || runs < 3 || runs > RUNS_MAX)
        refuse("not a number of runs", text);
    return (unsigned int)runs;
}

struct bench *bench_start(int argc, char **argv, const char *name, const char *about)
{
    struct bench *bench = calloc(1, sizeof *bench);
    program = name;
    bench_require(bench != NULL, "no memory");
    bench->name = name;
    bench->runs = RUNS_DEFAULT;
    for (int i = 1; i < argc; i++) {
        const bool has_value = i + 1 < argc;
        if (strcmp(argv[i], "--help") == 0) {
            print_help(about);
            exit(EXIT_SUCCESS);
        }
        if (strcmp(argv[i], "--json") == 0)
            bench->json = true;
        else if (strcmp(argv[i], "--only") == 0 && has_value)
            bench->only = argv[++i];
        else if (strcmp(argv[i], "--runs") == 0 && has_value)
            bench->runs = parse_runs(argv[++i]);
        else
            refuse("unknown option, or one without its value", argv[i]);
    }
    return bench;
}

/* ---- Measuring ---- */

static double now(void)
{
    struct timespec time;
    bench_require(clock_gettime(CLOCK_MONOTONIC, &time) == 0, "no clock");
    return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

static bool is_named(const struct bench *bench, const struct bench_case *one)
{
    return bench->only == NULL || strstr(one->name, bench->only) != NULL;
}

static bool is_name_of(const char *name, const struct bench_case *one)
{
    return name != NULL && strcmp(name, one->name) == 0;
}

/* Directly, or as the floor of what its target depends on. */
static bool needs(const struct bench_case *one, const struct bench_case *other,
                  const struct bench_case *cases, size_t count)
{
    if (is_name_of(one->floor, other) || is_name_of(one->given, other))
        return true;
    for (size_t i = 0; i < count; i++)
        if (is_name_of(one->given, &cases[i]) && is_name_of(cases[i].floor, other))
            return true;
    return false;
}

static bool is_wanted(const struct bench *bench, const struct bench_case *one,
                      const struct bench_case *cases, size_t count)
{
    if (is_named(bench, one))
        return true;
    for (size_t i = 0; i < count; i++)
        if (is_named(bench, &cases[i]) && needs(&cases[i], one, cases, count))
            return true;
    return false;
}

bool bench_wants(const struct bench *bench, const struct bench_case *cases, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (is_named(bench, &cases[i]))
            return true;
    return false;
}

static double time_once(const struct bench_case *one, void *context)
{
    if (one->prepare != NULL)
        one->prepare(context, one->argument);
    const double start = now();
    one->run(context, one->argument);
    const double end = now();
    if (one->finish != NULL)
        one->finish(context, one->argument);
    return end - start;
}

/* Nanoseconds per unit of one run. */
static double time_run(const struct bench_case *one, void *context)
{
    const uint32_t repeats = one->repeats != 0 ? one->repeats : 1;
    double sum = 0;
    for (uint32_t i = 0; i < repeats; i++)
        sum += time_once(one, context);
    return sum / ((double)one->units * repeats);
}

static int compare(const void *left, const void *right)
{
    const double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

static void add_result(struct bench *bench, const struct bench_case *one, double *times,
                       uint64_t frames)
{
    bench_require(bench->count < RESULT_CAPACITY, "too many results");
    qsort(times, bench->runs, sizeof *times, compare);
    bench->result[bench->count++] = (struct result){
        .of = one,
        .median = times[bench->runs / 2],
        .least = times[0],
        .most = times[bench->runs - 1],
        .frames = frames,
    };
}

void bench_measure(struct bench *bench, const struct bench_case *cases, size_t count, void *context)
{
    static double times[GROUP_CAPACITY][RUNS_MAX];
    uint64_t frames[GROUP_CAPACITY] = {0};
    bool wanted[GROUP_CAPACITY];
    bench_require(count <= GROUP_CAPACITY, "too many operations in a group");
    for (size_t i = 0; i < count; i++) {
        wanted[i] = is_wanted(bench, &cases[i], cases, count);
        if (!wanted[i])
            continue;
        (void)time_run(&cases[i], context); /* caches, branch predictors, pages of the host */
        if (cases[i].frames != NULL)
            frames[i] = *cases[i].frames;
    }
    for (unsigned int run = 0; run < bench->runs; run++)
        for (size_t i = 0; i < count; i++)
            if (wanted[i])
                times[i][run] = time_run(&cases[i], context);
    for (size_t i = 0; i < count; i++)
        if (wanted[i])
            add_result(bench, &cases[i], times[i], frames[i]);
}

/* ---- Report ---- */

/* NULL for no name, or one of a case that was not measured. */
static const struct result *find_result(const struct bench *bench, const char *name)
{
    if (name == NULL)
        return NULL;
    for (size_t i = 0; i < bench->count; i++)
        if (strcmp(bench->result[i].of->name, name) == 0)
            return &bench->result[i];
    return NULL;
}

static const struct result *find_floor(const struct bench *bench, const struct result *result)
{
    return find_result(bench, result->of->floor);
}

/* 0 if there is nothing to compare with. */
static double ratio_of(const struct bench *bench, const struct result *result)
{
    const struct result *floor = find_floor(bench, result);
    return floor != NULL && floor->median > 0 ? result->median / floor->median : 0;
}

enum verdict { NO_TARGET, DOES_NOT_APPLY, MET, MISSED };

static bool is_reached(const struct bench *bench, const struct result *result)
{
    const struct bench_case *of = result->of;
    if (of->target_kind != BENCH_RATIO)
        return result->median <= of->target;
    const struct result *floor = find_floor(bench, result);
    return floor != NULL && result->median <= of->target * floor->median + of->target_plus;
}

static enum verdict judge(const struct bench *bench, const struct result *result)
{
    const struct bench_case *of = result->of;
    const struct result *given = find_result(bench, of->given);
    if (of->target_kind == BENCH_NO_TARGET)
        return NO_TARGET;
    if (given != NULL && ratio_of(bench, given) > of->target)
        return DOES_NOT_APPLY;
    return is_reached(bench, result) ? MET : MISSED;
}

static json_t *number_or_null(bool there, double value)
{
    return there ? json_real(value) : json_null();
}

static json_t *result_to_json(const struct bench *bench, const struct result *result)
{
    const struct bench_case *of = result->of;
    const struct result *floor = find_floor(bench, result);
    const enum verdict verdict = judge(bench, result);
    const bool has_target = verdict != NO_TARGET;
    return json_pack(
        "{ss ss sf sf sf ss? so so ss? so sf so so ss? sI}", "name", of->name, "unit", of->unit,
        "median", result->median, "least", result->least, "most", result->most, "floor_name",
        floor != NULL ? of->floor : NULL, "floor",
        number_or_null(floor != NULL, floor != NULL ? floor->median : 0), "ratio",
        number_or_null(floor != NULL, ratio_of(bench, result)), "target_kind",
        !has_target                      ? NULL
        : of->target_kind == BENCH_RATIO ? "ratio"
                                         : "nanoseconds",
        "target", number_or_null(has_target, of->target), "target_plus", of->target_plus, "met",
        verdict == MET      ? json_true()
        : verdict == MISSED ? json_false()
                            : json_null(),
        "frames", of->frames != NULL ? json_integer((json_int_t)result->frames) : json_null(),
        "curve", of->curve, "argument", (json_int_t)of->argument);
}

static void print_json(const struct bench *bench)
{
    json_t *results = json_array();
    for (size_t i = 0; i < bench->count; i++)
        bench_require(json_array_append_new(results, result_to_json(bench, &bench->result[i])) == 0,
                      "no memory for the report");
    json_t *report = json_pack("{ss si so}", "program", bench->name, "runs", (int)bench->runs,
                               "results", results);
    bench_require(report != NULL && json_dumpf(report, stdout, JSON_INDENT(2)) == 0,
                  "cannot write the report");
    (void)putchar('\n');
    json_decref(report);
}

static void print_target(const struct bench *bench, const struct result *result)
{
    static const char *const words[] = {
        [DOES_NOT_APPLY] = "does not apply here", [MET] = "met", [MISSED] = "MISSED"};
    const struct bench_case *of = result->of;
    (void)printf("; target %g%s", of->target, of->target_kind == BENCH_RATIO ? " x" : " ns");
    if (of->target_plus > 0)
        (void)printf(" + %g ns", of->target_plus);
    (void)printf(": %s", words[judge(bench, result)]);
}

static void print_result(const struct bench *bench, const struct result *result)
{
    const struct bench_case *of = result->of;
    (void)printf("%-44s %10.2f %10.2f %10.2f  %-6s", of->name, result->median, result->least,
                 result->most, of->unit);
    if (find_floor(bench, result) != NULL)
        (void)printf(" %6.2f x %s", ratio_of(bench, result), of->floor);
    if (of->target_kind != BENCH_NO_TARGET)
        print_target(bench, result);
    if (of->frames != NULL)
        (void)printf("; %" PRIu64 " frames", result->frames);
    (void)putchar('\n');
}

static void print_text(const struct bench *bench)
{
    (void)printf("nanoseconds per unit; %u runs\n%-44s %10s %10s %10s\n", bench->runs, "", "median",
                 "least", "most");
    for (size_t i = 0; i < bench->count; i++)
        print_result(bench, &bench->result[i]);
}

int bench_end(struct bench *bench)
{
    int status = EXIT_SUCCESS;
    if (bench->json)
        print_json(bench);
    else
        print_text(bench);
    for (size_t i = 0; i < bench->count; i++)
        if (bench->result[i].of->target_kind == BENCH_RATIO &&
            judge(bench, &bench->result[i]) == MISSED)
            status = EXIT_FAILURE;
    free(bench);
    return status;
}
