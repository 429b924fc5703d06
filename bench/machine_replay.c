/* SPDX-License-Identifier: Apache-2.0 */
/* bench_machine: recordings, read and replayed. */
#include "machine.h"
#include "vmxsim/replay.h"

static const char *const recordings[] = {
    BENCH_VECTORS "/access-icelake.jsonl",
    BENCH_VECTORS "/entry-icelake.jsonl",
    BENCH_VECTORS "/instructions-icelake.jsonl",
    BENCH_VECTORS "/intercept-icelake.jsonl",
};

enum { RECORDINGS = sizeof recordings / sizeof recordings[0] };

static uint64_t replay(uint64_t number)
{
    struct vmxsim_replay_summary summary = {.kind = {{0}}};
    struct vmxsim_error error;
    uint64_t cases = 0;

    bench_require(vmxsim_replay_file(recordings[number], NULL, NULL, &summary, &error) == VMXC_OK,
                  "a recording cannot be replayed");
    for (size_t i = 0; i < VMXSIM_CASE_KIND_COUNT; i++) {
        bench_require(summary.kind[i].differ == 0, "a recording does not agree");
        cases += summary.kind[i].cases;
    }
    return cases;
}

static void run(void *context, uint64_t number)
{
    (void)context;
    (void)replay(number);
}

void machine_measure_replay(struct bench *bench)
{
    static struct bench_case cases[RECORDINGS] = {
        {.name = "replay, accesses"},
        {.name = "replay, VM entries"},
        {.name = "replay, instructions"},
        {.name = "replay, intercepts"},
    };

    if (!bench_wants(bench, cases, RECORDINGS))
        return;
    for (size_t i = 0; i < RECORDINGS; i++) {
        cases[i].unit = "case";
        cases[i].units = replay(i);
        cases[i].run = run;
        cases[i].argument = i;
    }
    bench_measure(bench, cases, RECORDINGS, NULL);
}
