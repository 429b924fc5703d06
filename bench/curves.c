/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How costs grow: per page with the size of a mapping, per area with their number (curves_core.c), per dirty page with theirs
 * (curves_machine.c). scripts/bench.sh --curves draws what this prints.
 */
#include <stdio.h>

#include "curves.h"

static uint32_t repeats_of(uint64_t units)
{
    return units >= CURVE_STEPS ? 1 : (uint32_t)(CURVE_STEPS / units);
}

void curve_measure(struct bench *bench, const struct curve *curve, const uint64_t *x, size_t count)
{
    static char names[1024][64];
    static struct bench_case cases[1024]; /* the report refers to them */
    static size_t used;

    bench_require(used + count <= 1024 && count <= CURVE_POINTS_MOST, "too many points");
    struct bench_case *const first = &cases[used];
    for (size_t i = 0; i < count; i++, used++) {
        (void)snprintf(names[used], sizeof names[used], "%s, %llu", curve->name,
                       (unsigned long long)x[i]);
        cases[used] = (struct bench_case){
            .name = names[used],
            .unit = curve->unit,
            .units = curve->units(x[i]),
            .repeats = repeats_of(curve->units(x[i])),
            .prepare = curve->prepare,
            .run = curve->run,
            .finish = curve->finish,
            .argument = x[i],
            .curve = curve->name,
        };
    }
    (void)fprintf(stderr, "  %s ...\n", curve->name);
    bench_measure(bench, first, count, NULL);
}

int main(int argc, char **argv)
{
    struct bench *bench = bench_start(
        argc, argv, "curves", "How costs grow with pages mapped, with areas, with dirty pages.");
    curves_measure_pages(bench);
    curves_measure_areas(bench);
    curves_measure_dirty_pages(bench);
    return bench_end(bench);
}
