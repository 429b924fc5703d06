/* SPDX-License-Identifier: Apache-2.0 */
#include "support/space_sequence.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "support/machine.h"

/* ---- Configurations ---- */

const struct vmxc_ept_config space_sequence_configs[SPACE_SEQUENCE_CONFIGS] = {
    /* levels, maxphyaddr, largest page, execute-only, mode-based, accessed/dirty, table memory type */
    {4, 46, VMXC_PAGE_LEVEL_1G, true, false, true, VMXC_MEMORY_TYPE_WB},
    {4, 46, VMXC_PAGE_LEVEL_4K, false, false, false, VMXC_MEMORY_TYPE_WB},
    {5, 52, VMXC_PAGE_LEVEL_2M, true, true, false, VMXC_MEMORY_TYPE_WB},
    {4, 40, VMXC_PAGE_LEVEL_2M, false, false, true, VMXC_MEMORY_TYPE_UC},
    {5, 52, VMXC_PAGE_LEVEL_1G, false, true, true, VMXC_MEMORY_TYPE_WB},
    {4, 39, VMXC_PAGE_LEVEL_1G, true, true, false, VMXC_MEMORY_TYPE_WB},
};

/* ---- One sequence ---- */

static const char *const kind_names[SPACE_OPERATIONS] = {
    "map_linear", "map_alloc", "replace_linear", "replace_alloc", "unmap",
    "protect",    "fault",     "buffer",         "merge",         "clear"};

/* Of 100 operations. */
static const unsigned weights[SPACE_OPERATIONS] = {18, 14, 6, 6, 10, 14, 19, 7, 5, 1};

void space_sequence_print(const struct space_sequence *run)
{
    printf("%s\n", run->check.message);
    printf("configuration: %u levels, maxphyaddr %u, largest page %u, execute-only %d, mode-based "
           "%d, accessed/dirty %d\n",
           run->config->levels, run->config->maxphyaddr, run->config->largest_page,
           run->config->execute_only, run->config->mode_based_execute, run->config->accessed_dirty);
    for (size_t i = 0; i < run->count; i++) {
        const struct space_operation *o = &run->log[i];
        printf("%4zu %-14s gpa %#" PRIx64 " size %#" PRIx64 " hpa %#" PRIx64
               " flags %#x%s fail %" PRIu64 " -> %d\n",
               i + 1, kind_names[o->kind], o->gpa, o->size, o->hpa, o->flags,
               o->populate ? " populate" : "", o->fail_nth, o->result);
    }
}

/* ---- Choosing ---- */

static uint32_t random_flags(struct space_sequence *run)
{
    static const uint32_t common[] = {7, 7, 3, 1, 5, 3, 7, 0};
    static const uint32_t types[] = {0,
                                     0,
                                     0,
                                     VMXC_MAP_DEVICE,
                                     VMXC_MAP_UNCACHED,
                                     VMXC_MAP_TYPE(VMXC_MEMORY_TYPE_WC),
                                     VMXC_MAP_TYPE(VMXC_MEMORY_TYPE_WT),
                                     VMXC_MAP_TYPE(VMXC_MEMORY_TYPE_WB) | VMXC_MAP_IGNORE_PAT};
    /* One in four from all 16 combinations, many of which some configuration refuses. */
    const uint32_t rights = rng_chance(&run->rng, 25)
                                ? (uint32_t)rng_below(&run->rng, 16)
                                : common[rng_below(&run->rng, sizeof(common) / sizeof(common[0]))];
    return rights | types[rng_below(&run->rng, sizeof(types) / sizeof(types[0]))];
}

/* What the configuration makes of these flags: writing needs reading, and two features must be there. */
static enum vmxc_status flags_status(const struct space_sequence *run, uint32_t flags)
{
    const uint32_t execute = flags & (VMXC_MAP_EXECUTE | VMXC_MAP_USER);
    if ((flags & VMXC_MAP_READ) == 0 && (flags & VMXC_MAP_WRITE) != 0)
        return VMXC_INVALID_INPUT;
    if ((flags & VMXC_MAP_USER) != 0 && !run->config->mode_based_execute)
        return VMXC_UNSUPPORTED;
    if ((flags & VMXC_MAP_READ) == 0 && execute != 0 && !run->config->execute_only)
        return VMXC_UNSUPPORTED;
    return VMXC_OK;
}

/*
 * A few places where ranges meet: the start, the boundary of two 512-GByte entries (or of a 2-MByte page), the end.
 * Granules of the page sizes that the configuration uses, now and then off by some pages.
 */
static void random_range(struct space_sequence *run, struct space_operation *o)
{
    const unsigned level = 1 + (unsigned)rng_below(&run->rng, run->config->largest_page);
    const uint64_t granule = VMXC_EPT_ENTRY_SPAN(level);
    const uint64_t places[] = {0, VMXC_EPT_ENTRY_SPAN(4) - 2 * granule,
                               VMXC_PAGE_SIZE_2M - 16 * VMXC_PAGE_SIZE, run->end - 4 * granule};
    const uint64_t place = places[rng_below(&run->rng, 4)] & ~(granule - 1);
    const uint64_t slots = level == 1 ? 48 : 4;
    o->gpa = place + granule * rng_below(&run->rng, slots);
    o->size = granule * (1 + rng_below(&run->rng, level == 1 ? 24 : 3));
    if (rng_chance(&run->rng, 30))
        o->gpa += VMXC_PAGE_SIZE * rng_below(&run->rng, 8);
    if (rng_chance(&run->rng, 30) && o->size > 8 * VMXC_PAGE_SIZE)
        o->size -= VMXC_PAGE_SIZE * rng_below(&run->rng, 8);
    if (o->gpa + o->size > run->end)
        o->gpa = run->end - o->size;
    /* Mostly congruent with the guest address, so that large pages are possible. */
    o->hpa =
        (rng_below(&run->rng, 64) << 31) + (o->gpa & (VMXC_PAGE_SIZE_1G - 1)) + VMXC_PAGE_SIZE_1G;
    if (level < 3 && rng_chance(&run->rng, 20))
        o->hpa += VMXC_PAGE_SIZE * rng_below(&run->rng, 512);
}

/* Alloc areas are small if they are populated; a lazy one may be large, but must not be touched everywhere. */
static void limit_alloc(struct space_sequence *run, struct space_operation *o)
{
    o->populate = rng_chance(&run->rng, 40);
    if (o->size > 24 * VMXC_PAGE_SIZE && (o->populate || rng_chance(&run->rng, 70)))
        o->size = VMXC_PAGE_SIZE * (1 + rng_below(&run->rng, 24));
}

/* Moves the range into an area that exists, and asks for rights that it gives. */
static void aim_at_area(struct space_sequence *run, struct space_operation *o)
{
    if (run->shadow.area_count == 0 || !rng_chance(&run->rng, 70))
        return;
    const struct shadow_area *area =
        &run->shadow.area[rng_below(&run->rng, run->shadow.area_count)];
    const uint64_t pages = area->size / VMXC_PAGE_SIZE;
    const uint64_t skipped = rng_chance(&run->rng, 40) ? 0 : rng_below(&run->rng, pages);
    o->gpa = area->base + skipped * VMXC_PAGE_SIZE;
    if (rng_chance(&run->rng, 80) && o->size > area->size - skipped * VMXC_PAGE_SIZE)
        o->size = area->size - skipped * VMXC_PAGE_SIZE;
    if (o->gpa + o->size > run->end)
        o->size = run->end - o->gpa;
    if ((o->kind == FAULT || o->kind == BUFFER) && (area->flags & VMXC_MAP_ACCESS) != 0)
        o->flags = area->flags;
}

static struct space_operation choose(struct space_sequence *run)
{
    struct space_operation o = {0};
    unsigned pick = (unsigned)rng_below(&run->rng, 100);
    for (o.kind = 0; pick >= weights[o.kind]; o.kind++)
        pick -= weights[o.kind];
    random_range(run, &o);
    o.flags = random_flags(run);
    if (o.kind == MAP_ALLOC || o.kind == REPLACE_ALLOC)
        limit_alloc(run, &o);
    if (o.kind == UNMAP || o.kind == PROTECT || o.kind == FAULT || o.kind == BUFFER ||
        o.kind == MERGE)
        aim_at_area(run, &o);
    if (o.kind == FAULT || o.kind == BUFFER)
        o.flags &= VMXC_MAP_ACCESS;
    if (o.kind == FAULT)
        o.gpa += rng_below(&run->rng, VMXC_PAGE_SIZE);
    if (o.kind == BUFFER) {
        o.gpa += rng_below(&run->rng, VMXC_PAGE_SIZE);
        o.size = 1 + rng_below(&run->rng, 5 * VMXC_PAGE_SIZE);
        o.flags = o.flags != 0 ? o.flags : VMXC_MAP_READ;
        if (o.gpa + o.size > run->end)
            o.gpa = run->end - o.size;
    }
    if (run->inject && rng_chance(&run->rng, 25))
        o.fail_nth = 1 + rng_below(&run->rng, 8);
    return o;
}

/* ---- Adopting what the space did ---- */

/* Pages that libvmxcore has supplied: zeroed frames that nobody else has. They get their stamp. */
static bool adopt(struct space_sequence *run, uint64_t base, uint64_t size)
{
    for (uint64_t gpa = base & ~VMXC_PAGE_MASK; gpa < base + size; gpa += VMXC_PAGE_SIZE) {
        static const uint8_t zeros[VMXC_PAGE_SIZE];
        uint8_t content[VMXC_PAGE_SIZE];
        uint64_t known;
        struct vmxc_translation translation;
        const struct shadow_area *area = shadow_find(&run->shadow, gpa);
        if (area == NULL || area->linear || shadow_translate(&run->shadow, gpa, &known) ||
            vmxc_addrspace_translate(&run->space, gpa, &translation) != VMXC_OK)
            continue;
        if (shadow_uses_frame(&run->shadow, translation.hpa))
            return space_check_fail(&run->check,
                                    "page %#" PRIx64 " got frame %#" PRIx64 ", which is in use",
                                    gpa, translation.hpa);
        vmxsim_memory_read(run->memory, translation.hpa, content, sizeof(content));
        if (memcmp(content, zeros, sizeof(content)) != 0)
            return space_check_fail(&run->check, "page %#" PRIx64 " was supplied unzeroed", gpa);
        shadow_back(&run->shadow, gpa, translation.hpa);
        vmxsim_memory_write64(run->memory, translation.hpa, space_check_stamp(gpa));
    }
    return true;
}

static bool expect(struct space_sequence *run, struct space_operation *o, int expected)
{
    if (o->result == expected)
        return true;
    o->refused = true;
    o->expected = expected;
    return space_check_fail(&run->check, "%s returned %d, expected %d", kind_names[o->kind],
                            o->result, expected);
}

/* A failure is lawful only where one was injected, and changes nothing that accounting can see. */
static bool expect_refusal(struct space_sequence *run, const struct space_operation *o)
{
    const struct vmxsim_memory_stats stats = vmxsim_memory_stats(run->memory);
    if (o->fail_nth == 0)
        return space_check_fail(&run->check, "%s ran out of memory", kind_names[o->kind]);
    if (stats.frames_in_use != run->frames_before)
        return space_check_fail(
            &run->check, "%s failed and changed the number of frames from %" PRIu64 " to %" PRIu64,
            kind_names[o->kind], run->frames_before, stats.frames_in_use);
    return true;
}

/* ---- The operations ---- */

static bool expect_no_invalidation(struct space_sequence *run, const struct space_operation *o)
{
    if (vmxsim_memory_stats(run->memory).invalidations == run->invalidations_before)
        return true;
    return space_check_fail(&run->check, "%s of a free range invalidated", kind_names[o->kind]);
}

static bool do_map(struct space_sequence *run, struct space_operation *o)
{
    const bool linear = o->kind == MAP_LINEAR || o->kind == REPLACE_LINEAR;
    const bool replace = o->kind == REPLACE_LINEAR || o->kind == REPLACE_ALLOC;
    enum vmxc_status status;
    if (linear)
        status = replace
                     ? vmxc_addrspace_replace_linear(&run->space, o->gpa, o->hpa, o->size, o->flags)
                     : vmxc_addrspace_map_linear(&run->space, o->gpa, o->hpa, o->size, o->flags);
    else
        status =
            replace
                ? vmxc_addrspace_replace_alloc(&run->space, o->gpa, o->size, o->flags, o->populate)
                : vmxc_addrspace_map_alloc(&run->space, o->gpa, o->size, o->flags, o->populate);
    o->result = status;
    const bool overlaps = shadow_overlaps(&run->shadow, o->gpa, o->size);
    if (status == VMXC_NO_MEMORY)
        return expect_refusal(run, o);
    const enum vmxc_status bad_flags = flags_status(run, o->flags);
    if (bad_flags != VMXC_OK && !(status == VMXC_ALREADY_EXISTS && overlaps && !replace))
        return expect(run, o, bad_flags);
    if (bad_flags != VMXC_OK)
        return true;
    if (overlaps && !replace)
        return expect(run, o, VMXC_ALREADY_EXISTS);
    if (!expect(run, o, VMXC_OK) || (!overlaps && !expect_no_invalidation(run, o)))
        return false;
    const struct shadow_area area = {.base = o->gpa,
                                     .size = o->size,
                                     .linear = linear,
                                     .lazy = !linear && !o->populate,
                                     .hpa = linear ? o->hpa : 0,
                                     .flags = o->flags};
    shadow_remove(&run->shadow, o->gpa, o->size);
    shadow_insert(&run->shadow, &area);
    return !o->populate || linear || adopt(run, o->gpa, o->size);
}

static bool do_unmap(struct space_sequence *run, struct space_operation *o)
{
    o->result = vmxc_addrspace_unmap(&run->space, o->gpa, o->size);
    if (o->result == VMXC_NO_MEMORY)
        return expect_refusal(run, o);
    if (!shadow_overlaps(&run->shadow, o->gpa, o->size))
        return expect(run, o, VMXC_NOT_FOUND);
    shadow_remove(&run->shadow, o->gpa, o->size);
    return expect(run, o, VMXC_OK);
}

static bool do_protect(struct space_sequence *run, struct space_operation *o)
{
    o->result = vmxc_addrspace_protect(&run->space, o->gpa, o->size, o->flags);
    if (o->result == VMXC_NO_MEMORY)
        return expect_refusal(run, o);
    const enum vmxc_status bad_flags = flags_status(run, o->flags);
    const bool covered = shadow_covers(&run->shadow, o->gpa, o->size);
    if (bad_flags != VMXC_OK && (covered || o->result != VMXC_NOT_FOUND))
        return expect(run, o, bad_flags);
    if (!covered)
        return expect(run, o, VMXC_NOT_FOUND);
    shadow_protect(&run->shadow, o->gpa, o->size, o->flags);
    return expect(run, o, VMXC_OK);
}

static bool do_fault(struct space_sequence *run, struct space_operation *o)
{
    uint64_t hpa;
    const struct shadow_area *area = shadow_find(&run->shadow, o->gpa);
    const bool backed = shadow_translate(&run->shadow, o->gpa, &hpa);
    o->size = 1;
    o->result = vmxc_addrspace_handle_page_fault(&run->space, o->gpa, o->flags);
    if (o->result == VMXC_FAULT_NO_MEMORY)
        return expect_refusal(run, o);
    if (!expect_no_invalidation(run, o))
        return false;
    if (area == NULL)
        return (o->flags == 0 && o->result == VMXC_FAULT_DENIED) ||
               expect(run, o, VMXC_FAULT_NO_AREA);
    if (o->flags == 0 || (o->flags & ~area->flags) != 0)
        return expect(run, o, VMXC_FAULT_DENIED);
    if (backed)
        return expect(run, o, VMXC_FAULT_ALREADY_BACKED);
    return expect(run, o, VMXC_FAULT_MAPPED) && adopt(run, o->gpa, 1);
}

static enum vmxc_status expected_buffer(const struct space_sequence *run,
                                        const struct space_operation *o)
{
    for (uint64_t at = o->gpa; at < o->gpa + o->size;) {
        const struct shadow_area *area = shadow_find(&run->shadow, at);
        if (area == NULL)
            return VMXC_NOT_FOUND;
        if ((o->flags & ~area->flags) != 0)
            return VMXC_DENIED;
        at = area->base + area->size;
    }
    return VMXC_OK;
}

/* The segment's pointer leads to its memory, and it does not end where the next one goes on. */
static bool check_segment(struct space_sequence *run, const struct vmxc_guest_segment *segment,
                          const struct vmxc_guest_segment *next)
{
    const bool is_ram = vmxsim_memory_is_ram(run->memory, segment->hpa, 1);
    const void *pointer = is_ram ? vmxsim_memory_pointer(run->memory, segment->hpa) : NULL;
    if (segment->pointer != pointer)
        return space_check_fail(&run->check, "buffer: wrong pointer to %#" PRIx64, segment->hpa);
    if (next != NULL && is_ram && segment->hpa + segment->length == next->hpa &&
        vmxsim_memory_is_ram(run->memory, next->hpa, 1))
        return space_check_fail(&run->check, "buffer: two segments where one does, at %#" PRIx64,
                                next->hpa);
    return true;
}

static bool check_segments(struct space_sequence *run, const struct space_operation *o,
                           const struct vmxc_guest_segment *segments, size_t count)
{
    uint64_t at = o->gpa, hpa;
    for (size_t i = 0; i < count; i++) {
        for (uint64_t done = 0; done < segments[i].length;) {
            const uint64_t page_rest = VMXC_PAGE_SIZE - ((at + done) & VMXC_PAGE_MASK);
            if (!shadow_translate(&run->shadow, at + done, &hpa) || hpa != segments[i].hpa + done)
                return space_check_fail(
                    &run->check, "buffer: byte %#" PRIx64 " is at the wrong place", at + done);
            done += page_rest;
        }
        at += segments[i].length;
        if (!check_segment(run, &segments[i], i + 1 < count ? &segments[i + 1] : NULL))
            return false;
    }
    if (at != o->gpa + o->size)
        return space_check_fail(&run->check, "buffer of %#" PRIx64 " bytes covers %#" PRIx64,
                                o->size, at - o->gpa);
    return true;
}

static bool do_buffer(struct space_sequence *run, struct space_operation *o)
{
    struct vmxc_guest_segment segments[8];
    size_t count = 0;
    o->result = vmxc_addrspace_buffer(&run->space, o->gpa, o->size, o->flags, segments, 8, &count);
    /* Lazy pages that were supplied stay, also if the call failed. */
    if (!adopt(run, o->gpa, o->size))
        return false;
    if (o->result == VMXC_NO_MEMORY)
        return o->fail_nth != 0 || expect(run, o, VMXC_OK);
    if (!expect(run, o, expected_buffer(run, o)))
        return false;
    return o->result != VMXC_OK || check_segments(run, o, segments, count);
}

/* Half of the time the range gets the same rights everywhere first: what was split for rights alone can merge. */
static bool do_merge(struct space_sequence *run, struct space_operation *o)
{
    o->gpa &= ~(VMXC_PAGE_SIZE_2M - 1);
    o->size = (o->size + VMXC_PAGE_SIZE_2M - 1) & ~(VMXC_PAGE_SIZE_2M - 1);
    if (o->gpa + o->size > run->end)
        o->gpa = run->end - o->size;
    if (rng_chance(&run->rng, 50) && shadow_covers(&run->shadow, o->gpa, o->size)) {
        o->protects = true;
        o->flags = VMXC_MAP_RWX;
        o->result = vmxc_addrspace_protect(&run->space, o->gpa, o->size, o->flags);
        if (o->result == VMXC_NO_MEMORY)
            return expect_refusal(run, o);
        if (!expect(run, o, VMXC_OK))
            return false;
        shadow_protect(&run->shadow, o->gpa, o->size, o->flags);
    }
    o->result = vmxc_ept_merge(vmxc_addrspace_ept(&run->space), o->gpa, o->size);
    return expect(run, o, VMXC_OK);
}

static bool do_clear(struct space_sequence *run, struct space_operation *o)
{
    o->result = vmxc_addrspace_clear(&run->space);
    shadow_clear(&run->shadow);
    return expect(run, o, VMXC_OK);
}

static bool perform(struct space_sequence *run, struct space_operation *o)
{
    static bool (*const functions[SPACE_OPERATIONS])(struct space_sequence *,
                                                     struct space_operation *) = {
        do_map,     do_map,   do_map,    do_map,   do_unmap,
        do_protect, do_fault, do_buffer, do_merge, do_clear};
    const struct vmxsim_memory_stats stats = vmxsim_memory_stats(run->memory);
    run->frames_before = stats.frames_in_use;
    run->invalidations_before = stats.invalidations;
    vmxsim_memory_fail_nth(run->memory, o->fail_nth);
    const bool fine = functions[o->kind](run, o);
    vmxsim_memory_fail_nth(run->memory, 0);
    run->tally.results[o->kind][o->result & (SPACE_RESULTS - 1)]++;
    return fine;
}

/* The first and last page of the range, their neighbours outside, and some inside. */
static bool check_touched(struct space_sequence *run, const struct space_operation *o)
{
    const uint64_t end = o->gpa + o->size;
    uint64_t inside = o->gpa + rng_below(&run->check.rng,
                                         o->size < UINT64_C(1) << 32 ? o->size : UINT64_C(1) << 32);
    if ((o->gpa >= VMXC_PAGE_SIZE && !space_check_page(&run->check, o->gpa - VMXC_PAGE_SIZE)) ||
        (end < run->end && !space_check_page(&run->check, end)))
        return false;
    return space_check_page(&run->check, o->gpa) && space_check_page(&run->check, end - 1) &&
           space_check_page(&run->check, inside) && space_check_limit(&run->check, inside) &&
           space_check_cache(&run->check);
}

/* ---- Beginning and end of a sequence ---- */

static bool run_operations(struct space_sequence *run, uint64_t operations)
{
    for (uint64_t i = 0; i < operations && run->count < SPACE_SEQUENCE_MAX; i++) {
        if (rng_is_spent(&run->rng))
            break;
        struct space_operation *o = &run->log[run->count++];
        *o = choose(run);
        if (!perform(run, o) || !check_touched(run, o))
            return false;
        if (o->result == VMXC_NO_MEMORY && !vmxc_addrspace_is_valid(&run->space))
            return space_check_fail(&run->check, "not valid after a failure");
    }
    return space_check_all(&run->check);
}

static bool check_accounting(struct space_sequence *run)
{
    const struct vmxsim_memory_stats stats = vmxsim_memory_stats(run->memory);
    if (stats.frames_in_use == 0 && stats.double_frees == 0 && stats.foreign_frees == 0 &&
        stats.allocations == stats.frees)
        return true;
    char leaks[256];
    vmxsim_memory_leak_report(run->memory, leaks, sizeof(leaks));
    return space_check_fail(&run->check,
                            "at the end: %" PRIu64 " frames in use, %" PRIu64 " double and %" PRIu64
                            " foreign frees: %s",
                            stats.frames_in_use, stats.double_frees, stats.foreign_frees, leaks);
}

bool space_sequence_run(struct space_sequence *run, struct vmxsim_memory *memory,
                        struct vmxsim_cpu *cpu, const struct vmxc_ept_config *config,
                        struct rng choices, struct rng looks, uint64_t operations)
{
    run->rng = choices;
    run->config = config;
    run->memory = memory;
    run->inject = rng_chance(&run->rng, 30);
    run->count = 0;
    shadow_clear(&run->shadow);
    vmxsim_memory_reset(memory);

    const unsigned width = config->levels == 5 ? 57 : 48;
    run->end = UINT64_C(1) << (width < config->maxphyaddr ? width : config->maxphyaddr);
    run->check = (struct space_check){
        .memory = memory, .cpu = cpu, .space = &run->space, .shadow = &run->shadow, .rng = looks};
    const enum vmxc_status status =
        vmxc_addrspace_init(&run->space, vmxsim_memory_hal(memory), config, 0, run->end);
    if (status != VMXC_OK)
        return space_check_fail(&run->check, "init returned %d", status);
    space_check_begin(&run->check, config);
    const bool fine = run_operations(run, operations);
    vmxc_addrspace_fini(&run->space);
    space_check_end(&run->check);
    run->tally.splits += run->check.splits;
    run->tally.merges += run->check.merges;
    return fine && run->check.message[0] == '\0' && check_accounting(run);
}

/* A processor that offers what the configuration uses and no more: anything else is a misconfiguration or reserved. */
struct vmxsim_profile *space_sequence_profile(const struct vmxc_ept_config *config)
{
    const struct profile_changes changes = {
        .ept_cap_clear = (config->execute_only ? 0 : EPT_CAP_EXECUTE_ONLY) |
                         (config->levels == 5 ? 0 : EPT_CAP_WALK_5) |
                         (config->largest_page >= VMXC_PAGE_LEVEL_2M ? 0 : EPT_CAP_2M) |
                         (config->largest_page >= VMXC_PAGE_LEVEL_1G ? 0 : EPT_CAP_1G) |
                         (config->accessed_dirty ? 0 : EPT_CAP_ACCESSED_DIRTY),
        .secondary_clear = config->mode_based_execute ? 0 : CTL2_MODE_BASED_EXEC,
        .maxphyaddr = config->maxphyaddr};
    return profile_make(&changes);
}

void space_tally_print(const struct space_tally *tally)
{
    for (enum space_operation_kind kind = 0; kind < SPACE_OPERATIONS; kind++) {
        printf("%-14s", kind_names[kind]);
        for (int result = 0; result < SPACE_RESULTS; result++)
            if (tally->results[kind][result] != 0)
                printf("  %d: %" PRIu64, result, tally->results[kind][result]);
        printf("\n");
    }
    printf("splits %" PRIu64 ", merges %" PRIu64 "\n", tally->splits, tally->merges);
}
