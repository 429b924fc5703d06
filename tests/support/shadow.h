/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a guest address space should look like: a sorted list of areas and a sorted list of the pages that stand behind
 * its alloc areas. Plain arrays and loops, no page tables; slow and easy to believe.
 */
#ifndef VMXSIM_TESTS_SHADOW_H
#define VMXSIM_TESTS_SHADOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct shadow_area {
    uint64_t base, size;
    bool linear;
    bool lazy;
    uint64_t hpa; /* linear: the host address of `base` */
    uint32_t flags;
};

struct shadow_page {
    uint64_t gpa, hpa;
};

#define SHADOW_AREAS 4096u
#define SHADOW_PAGES 65536u

struct shadow {
    size_t area_count, page_count;
    struct shadow_area area[SHADOW_AREAS];
    struct shadow_page page[SHADOW_PAGES];
};

void shadow_clear(struct shadow *shadow);

/* The area that holds gpa, or NULL. */
const struct shadow_area *shadow_find(const struct shadow *shadow, uint64_t gpa);

/* Any area in the range? All of the range in areas? */
bool shadow_overlaps(const struct shadow *shadow, uint64_t base, uint64_t size);
bool shadow_covers(const struct shadow *shadow, uint64_t base, uint64_t size);

/* The range must be free. */
void shadow_insert(struct shadow *shadow, const struct shadow_area *area);

/* Cuts areas at both ends of the range; removes what lies in it, backed pages included. */
void shadow_remove(struct shadow *shadow, uint64_t base, uint64_t size);

/* Cuts areas at both ends of the range; gives what lies in it other flags. */
void shadow_protect(struct shadow *shadow, uint64_t base, uint64_t size, uint32_t flags);

/* A frame now stands behind the 4-KByte page of an alloc area. */
void shadow_back(struct shadow *shadow, uint64_t gpa, uint64_t hpa);

/* Host address of the byte at gpa; false if no area or no frame is there. */
bool shadow_translate(const struct shadow *shadow, uint64_t gpa, uint64_t *hpa);

/* Bytes from gpa on that are contiguous in host memory within its area; 0 if nothing stands there. */
uint64_t shadow_contiguous(const struct shadow *shadow, uint64_t gpa);

/* True if a backed page of an alloc area has this host address. */
bool shadow_uses_frame(const struct shadow *shadow, uint64_t hpa);

#endif
