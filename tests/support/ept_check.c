/* SPDX-License-Identifier: Apache-2.0 */
#include "support/ept_check.h"

#include <stdlib.h>
#include <string.h>

#include "support/require.h"

#define ENTRIES 512u
#define XU      (UINT64_C(1) << 10)
#define LARGE   (UINT64_C(1) << 7)
#define ADDRESS UINT64_C(0x000ffffffffff000)

static uint64_t span_of(unsigned level)
{
    return UINT64_C(1) << (12 + 9 * (level - 1));
}

static uint64_t rights_of(const struct vmxc_ept *ept, uint64_t entry)
{
    return entry & (ept->config.mode_based_execute ? 7 | XU : 7);
}

static bool is_leaf(uint64_t entry, unsigned level)
{
    return level == 1 || (level <= 3 && (entry & LARGE) != 0);
}

static unsigned index_of(uint64_t gpa, unsigned level)
{
    return (unsigned)(gpa / span_of(level)) % ENTRIES;
}

static void check_misconfiguration(const struct vmxc_ept *ept, uint64_t entry, unsigned level)
{
    const unsigned type = (unsigned)(entry >> 3) & 7;
    const uint64_t limit = UINT64_C(1) << ept->config.maxphyaddr;

    require((entry & 3) != 2, "write-only entry %#llx", (unsigned long long)entry);
    if (!ept->config.execute_only && (rights_of(ept, entry) & (4 | XU)) != 0)
        require((entry & 1) != 0, "execute-only entry %#llx", (unsigned long long)entry);
    require((entry & ADDRESS) < limit, "address too wide: %#llx", (unsigned long long)entry);
    if (is_leaf(entry, level)) {
        require(type == 0 || type == 1 || (type >= 4 && type <= 6), "type %u", type);
        require((entry & ADDRESS & (span_of(level) - 1)) == 0, "misaligned page %#llx",
                (unsigned long long)entry);
        require(level <= ept->config.largest_page, "a page at level %u", level);
    } else {
        require((entry & 0xf8) == 0, "reserved bits in %#llx", (unsigned long long)entry);
    }
}

static uint64_t check_table(const struct test_hal *hal, const struct vmxc_ept *ept, uint64_t table,
                            unsigned level, bool *seen)
{
    const uint64_t frame = (table - TEST_HAL_BASE) / VMXC_PAGE_SIZE;
    uint64_t count = 1;
    unsigned used = 0;

    require(frame < hal->frame_count && hal->in_use[frame], "table %#llx is no frame in use",
            (unsigned long long)table);
    ck_assert_str_eq(hal->labels[frame], "EPT table");
    require(!seen[frame], "table %#llx is linked twice", (unsigned long long)table);
    seen[frame] = true;
    for (unsigned i = 0; i < ENTRIES; i++) {
        const uint64_t entry = test_hal_read64(hal, table + 8 * i);
        used += entry != 0;
        if (rights_of(ept, entry) != 0)
            check_misconfiguration(ept, entry, level);
        if (entry == 0 || is_leaf(entry, level))
            continue;
        require(rights_of(ept, entry) != 0, "a table hangs from a not-present entry");
        count += check_table(hal, ept, entry & ADDRESS, level - 1, seen);
    }
    require(used > 0 || level == ept->config.levels, "table %#llx at level %u is empty",
            (unsigned long long)table, level);
    return count;
}

uint64_t ept_check_structure(const struct test_hal *hal, const struct vmxc_ept *ept)
{
    bool *const seen = calloc(hal->frame_count, sizeof(*seen));

    ck_assert_ptr_nonnull(seen);
    const uint64_t count = check_table(hal, ept, ept->root_hpa, ept->config.levels, seen);
    free(seen);
    return count;
}

struct ept_walk ept_check_walk(const struct test_hal *hal, const struct vmxc_ept *ept, uint64_t gpa)
{
    struct ept_walk walk = {.rights = 7 | XU, .level = ept->config.levels};
    uint64_t table = ept->root_hpa;

    for (;; walk.level--) {
        walk.entry = test_hal_read64(hal, table + 8 * index_of(gpa, walk.level));
        walk.rights &= rights_of(ept, walk.entry);
        if (rights_of(ept, walk.entry) == 0)
            return walk;
        if (is_leaf(walk.entry, walk.level))
            break;
        table = walk.entry & ADDRESS;
    }
    walk.is_mapped = true;
    walk.hpa = (walk.entry & ADDRESS) + (gpa & (span_of(walk.level) - 1));
    return walk;
}

uint64_t ept_check_slot(const struct test_hal *hal, const struct vmxc_ept *ept, uint64_t gpa)
{
    uint64_t table = ept->root_hpa;

    for (unsigned level = ept->config.levels;; level--) {
        const uint64_t slot = table + 8 * index_of(gpa, level);
        const uint64_t entry = test_hal_read64(hal, slot);
        if (rights_of(ept, entry) == 0 || is_leaf(entry, level))
            return slot;
        table = entry & ADDRESS;
    }
}

/* ---- A processor that forgets nothing --------------------------------------------------------------- */

static void remember(struct ept_cache *cache, struct ept_cached cached)
{
    if (cache->count == cache->capacity) {
        cache->capacity = cache->capacity == 0 ? 1024 : 2 * cache->capacity;
        cache->cached = realloc(cache->cached, cache->capacity * sizeof(*cache->cached));
        ck_assert_ptr_nonnull(cache->cached);
    }
    cache->cached[cache->count++] = cached;
}

static void remember_table(struct ept_cache *cache, uint64_t table, unsigned level, uint64_t gpa)
{
    for (unsigned i = 0; i < ENTRIES; i++) {
        const uint64_t entry = test_hal_read64(cache->hal, table + 8 * i);
        const bool leaf = is_leaf(entry, level);
        const uint64_t entry_gpa = gpa + i * span_of(level);
        if (rights_of(cache->ept, entry) == 0)
            continue;
        remember(cache, (struct ept_cached){
                            .gpa = entry_gpa, .entry = entry, .level = level, .is_table = !leaf});
        if (!leaf)
            remember_table(cache, entry & ADDRESS, level - 1, entry_gpa);
    }
}

static void remember_all(struct ept_cache *cache)
{
    remember_table(cache, cache->ept->root_hpa, cache->ept->config.levels, 0);
}

/* [hpa, hpa + size) was given back: nothing cached may lead there. */
static void judge_return(const struct ept_cache *cache, uint64_t hpa, uint64_t size)
{
    for (size_t i = 0; i < cache->count; i++) {
        const struct ept_cached *const cached = &cache->cached[i];
        const uint64_t length = cached->is_table ? VMXC_PAGE_SIZE : span_of(cached->level);
        const uint64_t base = cached->entry & ADDRESS;
        require(base + length <= hpa || hpa + size <= base,
                "%#llx was given back while entry %#llx for %#llx was cached",
                (unsigned long long)hpa, (unsigned long long)cached->entry,
                (unsigned long long)cached->gpa);
    }
}

static void judge_log(struct ept_cache *cache)
{
    ck_assert_uint_le(cache->hal->log_count, TEST_HAL_LOG_SIZE);
    for (; cache->log_position < cache->hal->log_count; cache->log_position++) {
        const struct test_hal_entry *const entry = &cache->hal->log[cache->log_position];
        if (entry->call == TEST_HAL_FREE)
            judge_return(cache, entry->value, VMXC_PAGE_SIZE);
        if (entry->call == TEST_HAL_RELEASE)
            judge_return(cache, entry->value, entry->size);
    }
}

/* Everything so far was done with the old content of the cache; what is reachable now may be cached at once. */
static void on_invalidate(void *context)
{
    struct ept_cache *const cache = context;

    judge_log(cache);
    cache->count = 0;
    remember_all(cache);
}

static void judge_entry(const struct ept_cache *cache, const struct ept_cached *cached)
{
    const uint64_t attributes = LARGE - 8; /* memory type and ignore-PAT */
    const struct ept_walk now = ept_check_walk(cache->hal, cache->ept, cached->gpa);

    if (cached->is_table)
        return; /* tables are judged when they are given back */
    const uint64_t cached_rights = rights_of(cache->ept, cached->entry);
    require(now.is_mapped && now.level == cached->level && now.hpa == (cached->entry & ADDRESS) &&
                (cached_rights & ~now.rights) == 0 &&
                ((cached->entry ^ now.entry) & attributes) == 0,
            "stale entry %#llx at level %u for %#llx; now %#llx at level %u",
            (unsigned long long)cached->entry, cached->level, (unsigned long long)cached->gpa,
            (unsigned long long)now.entry, now.level);
}

void ept_cache_begin(struct ept_cache *cache, struct test_hal *hal, const struct vmxc_ept *ept)
{
    *cache = (struct ept_cache){.hal = hal, .ept = ept};
    hal->on_invalidate = on_invalidate;
    hal->on_invalidate_context = cache;
    test_hal_clear_log(hal);
    remember_all(cache);
}

void ept_cache_check(struct ept_cache *cache)
{
    judge_log(cache);
    for (size_t i = 0; i < cache->count; i++)
        judge_entry(cache, &cache->cached[i]);
    cache->count = 0; /* all of it agrees with the tables, so it is found there again */
    remember_all(cache);
    test_hal_clear_log(cache->hal);
    cache->log_position = 0;
}

void ept_cache_end(struct ept_cache *cache)
{
    cache->hal->on_invalidate = NULL;
    free(cache->cached);
}
