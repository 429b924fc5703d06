/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An EPT hierarchy as a suspicious processor sees it. It reads raw entries from the arena of a test_hal and knows
 * nothing of how libvmxcore builds them.
 *
 *  - ept_check_structure: what every hierarchy must look like between two calls.
 *  - struct ept_cache: a processor that caches whatever it lawfully may, for as long as it may. It ends the test if
 *    a table or page is given back, or a translation is changed in a harmful way, while it is cached.
 */
#ifndef VMXSIM_TESTS_EPT_CHECK_H
#define VMXSIM_TESTS_EPT_CHECK_H

#include "support/test_hal.h"
#include "vmxcore/ept.h"

/*
 * Ends the test unless every table is a frame in use, labelled as such, linked once and not empty (but for the
 * root), every entry that leads to a table is present, and no present entry is misconfigured. Returns the
 * number of tables.
 */
uint64_t ept_check_structure(const struct test_hal *hal, const struct vmxc_ept *ept);

/* What the processor's own walk finds at `gpa`. */
struct ept_walk {
    bool is_mapped;  /* a present leaf was reached */
    uint64_t entry;  /* the leaf */
    unsigned level;  /* of the leaf, or of the entry where the walk ended */
    uint64_t hpa;    /* of the byte at gpa, if mapped */
    uint64_t rights; /* AND over all levels, if mapped */
};

struct ept_walk ept_check_walk(const struct test_hal *hal, const struct vmxc_ept *ept,
                               uint64_t gpa);

/* Host address of the entry where the walk for `gpa` ends, present or not. */
uint64_t ept_check_slot(const struct test_hal *hal, const struct vmxc_ept *ept, uint64_t gpa);

struct ept_cached {
    uint64_t gpa, entry;
    unsigned level;
    bool is_table; /* the entry leads to one */
};

struct ept_cache {
    struct test_hal *hal;
    const struct vmxc_ept *ept;
    struct ept_cached *cached;
    size_t count, capacity;
    uint64_t log_position; /* how much of the log has been judged */
};

/* Starts to cache; takes over hal->on_invalidate. The log must be short enough to be judged completely. */
void ept_cache_begin(struct ept_cache *cache, struct test_hal *hal, const struct vmxc_ept *ept);
/*
 * After each operation: ends the test if anything given back since the last call was cached at that moment, or if a
 * cached translation now allows what the tables do not; then caches everything reachable. Clears the log.
 */
void ept_cache_check(struct ept_cache *cache);
void ept_cache_end(struct ept_cache *cache);

#endif
