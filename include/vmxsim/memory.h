/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Simulated physical memory: sparse RAM up to 52 bits of address, holes between, and a frame allocator behind a
 * struct vmxc_hal, with the checks that find memory errors in hypervisor code.
 *
 * Everything outside the RAM ranges is a hole: reads return all ones, writes are ignored, both are counted.
 * RAM is zero at the start and takes host memory only where it was written.
 *
 * One memory is used from one thread at a time; any number of memories may exist.
 */
#ifndef VMXSIM_MEMORY_H
#define VMXSIM_MEMORY_H

#include "vmxcore/hal.h"
#include "vmxsim/error.h"

#ifdef __cplusplus
extern "C" {
#endif

struct vmxsim_memory; /* opaque; vmxsim_memory_create, vmxsim_memory_destroy */

struct vmxsim_range {
    uint64_t base;   /* any byte address below 2^52 */
    uint64_t length; /* bytes, not 0 */
};

struct vmxsim_memory_config {
    /* Disjoint, in any order; copied. Bounds are multiples of 4 KBytes. Adjacent ranges become one. */
    const struct vmxsim_range *ram;
    size_t ram_count;
    /*
     * The part of one RAM range that alloc_frame hands out. base 0 and length 0: the largest RAM range (the
     * lowest of those). Page 0 is left out in any case.
     */
    struct vmxsim_range frames;
    bool no_poison; /* leave the content of allocated and freed frames alone (for benchmarks) */
};

struct vmxsim_memory_stats {
    uint64_t frames_total; /* frames the allocator manages */
    uint64_t frames_in_use;
    uint64_t frames_peak;
    uint64_t allocations;  /* that succeeded */
    uint64_t frees;        /* that were valid */
    uint64_t failed;       /* allocations refused: no frame left, or injected */
    uint64_t double_frees; /* deallocations of a frame that was free; not executed */
    /* Deallocations of an address the allocator does not manage, or misaligned; not executed. */
    uint64_t foreign_frees;
    uint64_t use_after_free; /* allocations that found a freed frame written to (needs poison) */
    uint64_t hole_reads;     /* reads that touched a hole */
    uint64_t hole_writes;    /* writes that touched a hole */
    uint64_t invalidations;  /* calls of invalidate_ept */
};

/* 128-bit XXH3 digest. */
struct vmxsim_digest {
    uint64_t high, low;
};

/*
 * Creates a memory. Errors: VMXC_INVALID_INPUT (no RAM, overlap, misaligned, beyond 52 bits, frames outside
 * RAM), VMXC_NO_MEMORY (the host cannot reserve that much address space).
 */
VMXC_MUST_CHECK enum vmxc_status vmxsim_memory_create(const struct vmxsim_memory_config *config,
                                                      struct vmxsim_memory **memory,
                                                      struct vmxsim_error *error);

/* Frees the memory; NULL is fine. Frames still in use are the caller's leak: look with vmxsim_memory_leaks. */
void vmxsim_memory_destroy(struct vmxsim_memory *memory);

/* The HAL over this memory, with a direct-map window where one RAM range holds all frames. Lives with it. */
const struct vmxc_hal *vmxsim_memory_hal(struct vmxsim_memory *memory);

/* Called on each invalidate_ept and each trace event of the HAL; NULL: nothing. For tests and trails. */
void vmxsim_memory_on_invalidate(struct vmxsim_memory *memory,
                                 void (*callback)(void *context, uint64_t eptp), void *context);
void vmxsim_memory_on_trace(struct vmxsim_memory *memory,
                            void (*callback)(void *context, const struct vmxc_trace_event *event),
                            void *context);

/*
 * Copies [hpa, hpa + length) out of or into memory; any alignment, any length; holes as described above. What
 * lies beyond 2^64 is a hole too: addresses do not wrap.
 */
void vmxsim_memory_read(struct vmxsim_memory *memory, uint64_t hpa, void *buffer, size_t length);
void vmxsim_memory_write(struct vmxsim_memory *memory, uint64_t hpa, const void *buffer,
                         size_t length);

/* One little-endian quadword or doubleword at any address; the paths that walks use. */
uint64_t vmxsim_memory_read64(struct vmxsim_memory *memory, uint64_t hpa);
uint32_t vmxsim_memory_read32(struct vmxsim_memory *memory, uint64_t hpa);
void vmxsim_memory_write64(struct vmxsim_memory *memory, uint64_t hpa, uint64_t value);
void vmxsim_memory_write32(struct vmxsim_memory *memory, uint64_t hpa, uint32_t value);

/* True if the whole range [hpa, hpa + length) is RAM; an empty range is. */
bool vmxsim_memory_is_ram(const struct vmxsim_memory *memory, uint64_t hpa, uint64_t length);

/*
 * A raw pointer to the byte at `hpa`, good up to the end of its RAM range; NULL in a hole. The page of `hpa`
 * counts as written from then on, until a reset, a clone, or a snapshot that is taken or restored; before writing to
 * another page, or after one of these, take a pointer to that page (or call the HAL's mark_dirty): a write that nobody
 * announced is not part of digests and clones and is not undone. Snapshot.h hands out pointers without this.
 */
void *vmxsim_memory_pointer(struct vmxsim_memory *memory, uint64_t hpa);

/*
 * Failure injection. _fail_nth: the n-th allocation from now on fails (1: the next), once; 0 switches it
 * off. _fail_randomly: each allocation fails with probability per_million / 10^6, decided by `seed` alone;
 * per_million 0 switches it off. Both may be on.
 */
void vmxsim_memory_fail_nth(struct vmxsim_memory *memory, uint64_t n);
void vmxsim_memory_fail_randomly(struct vmxsim_memory *memory, uint64_t seed, uint32_t per_million);

struct vmxsim_memory_stats vmxsim_memory_stats(const struct vmxsim_memory *memory);

/*
 * Calls `visit` (NULL: just count) for each frame in use, ascending, with the label its owner gave; returns
 * their number.
 */
uint64_t vmxsim_memory_leaks(const struct vmxsim_memory *memory,
                             void (*visit)(void *context, uint64_t hpa, const char *label),
                             void *context);

/*
 * A report of frames in use, one line per label ("EPT table: 3 frames, first 0x101000"), in the order of their
 * first frame; empty if there are none. Beyond 64 labels the last line counts "other labels". Writes as
 * snprintf does: returns the length of the whole text, without the NUL.
 */
size_t vmxsim_memory_leak_report(const struct vmxsim_memory *memory, char *buffer, size_t size);

/*
 * Calls `visit` (NULL: just count) for each frame that was written after it was freed and has not been handed
 * out since, ascending, with its last owner's label; returns their number, 0 with no_poison. Together with
 * use_after_free of the statistics this finds each such frame.
 */
uint64_t vmxsim_memory_damaged_frames(const struct vmxsim_memory *memory,
                                      void (*visit)(void *context, uint64_t hpa, const char *label),
                                      void *context);

/*
 * Digest of all RAM: of its content, not of how it came about (a page of zeros counts like one that was never
 * touched). Two memories with the same RAM ranges and bytes have the same digest.
 */
struct vmxsim_digest vmxsim_memory_digest(const struct vmxsim_memory *memory);

/*
 * Calls `visit` for each 4-KByte page that may have been written since creation or reset, ascending. Cost: the
 * touched pages. `visit` must not write to the memory.
 */
void vmxsim_memory_touched_pages(struct vmxsim_memory *memory,
                                 void (*visit)(void *context, uint64_t hpa, const uint8_t *bytes),
                                 void *context);

/*
 * Makes all RAM zero again and the allocator empty; counters start over and failure injection is off, callbacks
 * stay. Cost: the touched pages and the frames that were handed out.
 */
void vmxsim_memory_reset(struct vmxsim_memory *memory);

#ifdef __cplusplus
}
#endif

#endif
