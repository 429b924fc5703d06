/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of bench_machine share. */
#ifndef BENCH_MACHINE_H
#define BENCH_MACHINE_H

#include "runner.h"
#include "vmxsim/cpu.h"
#include "vmxsim/snapshot.h"

#define MIB UINT64_C(0x100000)
#define GIB UINT64_C(0x40000000)

struct machine {
    struct vmxsim_memory *memory;
    struct vmxsim_cpu *cpu;
};

/* One RAM range from address 0 on, one processor, no poison. */
struct machine machine_make(uint64_t ram);
void machine_destroy(struct machine *machine);

/* The i-th of `count` pages all over the machine, or nearly. */
uint64_t machine_page(uint64_t i, uint64_t count, uint64_t ram);

/* The next value of a field: what is written is never what was there. */
uint64_t machine_fresh(void);

void machine_measure_snapshots(struct bench *bench);
void machine_measure_clones(struct bench *bench);
void machine_measure_threads(struct bench *bench);
void machine_measure_replay(struct bench *bench);

#endif
