/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of bench_core share. */
#ifndef BENCH_CORE_H
#define BENCH_CORE_H

#include "arena.h"
#include "runner.h"
#include "vmxcore/addrspace.h"

#define MIB UINT64_C(0x100000)
#define GIB UINT64_C(0x40000000)

/* Host addresses that linear areas map; no memory is there, and nothing looks at it. */
#define LINEAR_HPA UINT64_C(0x10000000000)

enum {
    PAGE_FRAMES = 1 << 16, /* 256 MiB of guest pages */
    OTHER_FRAMES = 40 << 10,
    SPACES = 256,      /* for what is too short to be timed once */
    LOOKUPS = 1 << 18, /* per run; fresh ones each time */
};

/* One machine and what the operations on it need. */
struct core {
    struct arena arena;
    struct vmxc_addrspace space;
    struct vmxc_addrspace many[SPACES];
    uint64_t mapped; /* bytes that lookups choose from, from address 0 on */
    uint64_t random; /* state of bench_random */
    uint64_t frames; /* in use at the end of a run */
    uint64_t sum;    /* of everything found, so that no loop is left out */
    vmxc_gpa_t at[LOOKUPS];
    uint64_t found[LOOKUPS];
    struct vmxc_ept_mapping mapping[LOOKUPS];
    enum vmxc_status status[LOOKUPS];
};

extern struct core core;

void core_require_ok(enum vmxc_status status);
void core_make_space(struct vmxc_addrspace *space, uint64_t largest_page);

/* Functions of cases: an empty space, and its end. */
void core_start(void *context, uint64_t largest_page);
void core_stop(void *context, uint64_t argument);

/* The entry that maps `gpa` with a 4-KByte page: four loads from the tables of core.space, and nothing else. */
uint64_t core_load_leaf(vmxc_gpa_t gpa);

void core_measure_lookups(struct bench *bench);
void core_measure_areas(struct bench *bench);

#endif
