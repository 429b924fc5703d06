/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the program `curves` share. */
#ifndef BENCH_CURVES_H
#define BENCH_CURVES_H

#include "runner.h"

#define MIB UINT64_C(0x100000)
#define GIB UINT64_C(0x40000000)

enum { CURVE_POINTS_MOST = 32, CURVE_STEPS = 4096 };

/* A curve: the same operation at several abscissas. */
struct curve {
    const char *name;
    const char *unit;
    void (*prepare)(void *context, uint64_t x);
    void (*run)(void *context, uint64_t x);
    void (*finish)(void *context, uint64_t x);
    uint64_t (*units)(uint64_t x); /* of one execution of `run` */
};

/* Measures a curve at all abscissas, in one group; short runs are repeated until they make CURVE_STEPS units or so. */
void curve_measure(struct bench *bench, const struct curve *curve, const uint64_t *x, size_t count);

void curves_measure_pages(struct bench *bench);
void curves_measure_areas(struct bench *bench);
void curves_measure_dirty_pages(struct bench *bench);

#endif
