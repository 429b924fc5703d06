/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the benchmarks share: timing, statistics and the report.
 *
 * Operations that are to be compared are measured as a group: one run of each in turn, then the next run, so that
 * whatever else the machine does meanwhile hits all of them alike.
 */
#ifndef BENCH_RUNNER_H
#define BENCH_RUNNER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum bench_target_kind {
    BENCH_NO_TARGET,
    BENCH_NANOSECONDS, /* the median is at most so many nanoseconds */
    BENCH_RATIO,       /* the median is at most so many times its floor's, and `target_plus` */
};

/* An operation. `argument` goes to each of its functions; of these only `run` is timed, with the clock around it. */
struct bench_case {
    const char *name;
    const char *unit; /* what one result is for: "page", "call" */
    uint64_t units;   /* of one execution of `run` */
    uint32_t repeats; /* executions in a run, for what changes what it works on; 0: one */
    void (*prepare)(void *context, uint64_t argument); /* before each; NULL: nothing to do */
    void (*run)(void *context, uint64_t argument);
    void (*finish)(void *context, uint64_t argument); /* after each; NULL: nothing to do */
    uint64_t argument;
    const char *
        floor; /* name of the case it is compared with, measured before or in the same group; NULL: none */
    enum bench_target_kind target_kind;
    double target;
    double target_plus; /* nanoseconds per unit, with BENCH_RATIO */
    const char *
        given; /* the ratio of the case of this name must be as good, or the target does not apply; NULL: none */
    const char *curve; /* that this is a point of, with `argument` as abscissa; NULL: none */
    const uint64_t
        *frames; /* frames in use after a run, left there by `run` or `finish`; NULL: not counted */
};

struct bench; /* opaque */

/*
 * Reads the command line: --help, --json, --only TEXT, --runs N. Ends the program after --help and on bad input.
 * `about` is what --help says.
 */
struct bench *bench_start(int argc, char **argv, const char *name, const char *about);

/* True if any of the cases is asked for; what only they need can be left out otherwise. */
bool bench_wants(const struct bench *bench, const struct bench_case *cases, size_t count);

/* Measures a group. Floors are measured if a case that is asked for names them. */
void bench_measure(struct bench *bench, const struct bench_case *cases, size_t count,
                   void *context);

/*
 * Prints the report and frees it. Returns the program's exit status: failure if a target that is a ratio to a floor
 * is missed.
 */
int bench_end(struct bench *bench);

/* A benchmark must not time failures: whatever is not as it should be ends the program. */
void bench_require(bool holds, const char *what);

/* A number from 0 to limit - 1; the sequence follows from the state alone. */
uint64_t bench_random(uint64_t *state, uint64_t limit);

#endif
