/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Three views of one guest address space, compared: libvmxcore's own queries, the model's walk of the tables in memory,
 * and a shadow map. A fourth thing watches: a small cache of translations, as a processor may keep them, which is
 * dropped only when libvmxcore invalidates. A translation in it that is no longer true, or a frame that is given back
 * while the cache refers to it, is a missing or late invalidation.
 */
#ifndef VMXSIM_TESTS_SPACE_CHECK_H
#define VMXSIM_TESTS_SPACE_CHECK_H

#include "support/rng.h"
#include "support/shadow.h"
#include "vmxcore/addrspace.h"
#include "vmxsim/cpu.h"

#define CACHE_ENTRIES 16u
#define CACHE_TABLES  5u

struct cached_translation {
    bool valid;
    uint64_t gpa, hpa;  /* of the 4-KByte page */
    uint64_t page_size; /* of the EPT page */
    uint32_t flags;     /* rights, memory type, ignore-PAT */
    uint64_t tables[CACHE_TABLES];
    unsigned table_count;
};

struct space_check {
    struct vmxsim_memory *memory;
    struct vmxsim_cpu *cpu;
    struct vmxc_addrspace *space;
    struct shadow *shadow;
    struct rng rng; /* its own, so that what is checked does not change what is done */
    bool mode_based;
    struct cached_translation cache[CACHE_ENTRIES];
    uint64_t splits, merges; /* of large pages, as traced */
    char message[512];       /* the first difference found; "" if none */
};

/* Starts watching: hooks invalidation and trace of the memory, loads the processor with the space's EPTP. */
void space_check_begin(struct space_check *check, const struct vmxc_ept_config *config);
void space_check_end(struct space_check *check);

/* The byte at gpa (mapped or not). False: `message` says what differs. */
bool space_check_page(struct space_check *check, uint64_t gpa);

/* Area bounds and contiguous bytes at a mapped address. */
bool space_check_limit(struct space_check *check, uint64_t gpa);

/* Nothing in the cache is stale. To be called after each operation. */
bool space_check_cache(struct space_check *check);

/* Everything: each area and gap, each EPT page of each mapping, and that libvmxcore lists exactly these. */
bool space_check_all(struct space_check *check);

/* What the tests store in the first quadword of each backed page, to notice frames that are lost or shared. */
uint64_t space_check_stamp(uint64_t gpa);

/* Notes a difference; returns false. */
bool space_check_fail(struct space_check *check, const char *format, ...) VMXC_PRINTF(2, 3);

#endif
