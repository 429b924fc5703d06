/* SPDX-License-Identifier: Apache-2.0 */
#include "arena.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "runner.h"

#define ARENA_BASE UINT64_C(0x40000000)
#define ALIGNMENT  ((size_t)2 << 20)

/* ---- Zeroing of guest pages: the program is linked with --wrap=memset ---- */

static const uint8_t *left_alone; /* guest pages that are not filled */
static uint64_t left_alone_length;

void *__real_memset(void *target, int byte, size_t length);
void *__wrap_memset(void *target, int byte, size_t length);

void *__wrap_memset(void *target, int byte, size_t length)
{
    if ((uintptr_t)target - (uintptr_t)left_alone < left_alone_length && length == VMXC_PAGE_SIZE)
        return target;
    return __real_memset(target, byte, length);
}

void arena_zero_pages(const struct arena *arena, bool carried_out)
{
    left_alone = arena->bytes + (arena->pages.base - ARENA_BASE);
    left_alone_length = carried_out ? 0 : arena->pages.total * VMXC_PAGE_SIZE;
}

/* ---- HAL ---- */

/* One byte tells the label "guest page" from the others; a comparison of whole strings would be timed. */
static enum vmxc_status alloc_frame(void *context, const char *label, vmxc_hpa_t *frame_hpa)
{
    struct arena *arena = context;
    struct arena_pool *pool = label[0] == 'g' ? &arena->pages : &arena->others;
    if (pool->count == 0)
        return VMXC_NO_MEMORY;
    *frame_hpa = pool->free_hpas[--pool->count];
    return VMXC_OK;
}

static void dealloc_frame(void *context, vmxc_hpa_t frame_hpa)
{
    struct arena *arena = context;
    struct arena_pool *pool = frame_hpa >= arena->pages.base ? &arena->pages : &arena->others;
    pool->free_hpas[pool->count++] = frame_hpa;
}

static void *phys_to_virt(void *context, vmxc_hpa_t hpa)
{
    (void)context;
    (void)hpa;
    return NULL; /* the window covers all there is */
}

static enum vmxc_status virt_to_phys(void *context, const void *pointer, vmxc_hpa_t *hpa)
{
    const struct arena *arena = context;
    *hpa = ARENA_BASE + (uint64_t)((const uint8_t *)pointer - arena->bytes);
    return VMXC_OK;
}

static void invalidate_ept(void *context, uint64_t eptp)
{
    (void)context;
    (void)eptp;
}

/* ---- Life cycle ---- */

static void fill_pool(struct arena_pool *pool)
{
    pool->count = pool->total;
    for (uint64_t i = 0; i < pool->total; i++)
        pool->free_hpas[i] = pool->base + (pool->total - 1 - i) * VMXC_PAGE_SIZE;
}

static struct arena_pool make_pool(vmxc_hpa_t base, uint64_t frames)
{
    struct arena_pool pool = {.base = base, .total = frames};
    pool.free_hpas = calloc(frames, sizeof *pool.free_hpas);
    bench_require(pool.free_hpas != NULL, "no memory");
    fill_pool(&pool);
    return pool;
}

void arena_init(struct arena *arena, uint64_t page_frames, uint64_t other_frames)
{
    const uint64_t wanted = (page_frames + other_frames) * VMXC_PAGE_SIZE;
    const size_t size = ((size_t)wanted + ALIGNMENT - 1) & ~(ALIGNMENT - 1);
    *arena = (struct arena){.bytes = aligned_alloc(ALIGNMENT, size)};
    bench_require(arena->bytes != NULL, "no memory");
    /* A hypervisor's direct map has large pages too. Only a hint: may fail. */
    (void)madvise(arena->bytes, size, MADV_HUGEPAGE);
    memset(arena->bytes, 0, size);
    arena->others = make_pool(ARENA_BASE, other_frames);
    arena->pages = make_pool(ARENA_BASE + other_frames * VMXC_PAGE_SIZE, page_frames);
    arena->hal = (struct vmxc_hal){
        .context = arena,
        .alloc_frame = alloc_frame,
        .dealloc_frame = dealloc_frame,
        .phys_to_virt = phys_to_virt,
        .virt_to_phys = virt_to_phys,
        .invalidate_ept = invalidate_ept,
        .window = {.base = ARENA_BASE, .length = wanted, .pointer = arena->bytes},
    };
}

void arena_fini(struct arena *arena)
{
    free(arena->pages.free_hpas);
    free(arena->others.free_hpas);
    free(arena->bytes);
}

void arena_sort(struct arena *arena)
{
    bench_require(arena_in_use(arena) == 0, "frames are in use");
    fill_pool(&arena->pages);
    fill_pool(&arena->others);
}

uint64_t arena_in_use(const struct arena *arena)
{
    return arena->pages.total - arena->pages.count + arena->others.total - arena->others.count;
}
