/* SPDX-License-Identifier: Apache-2.0 */
/* The area set: accounting of its nodes, reservations, failing allocations; random operations against a plain array. */
#include <check.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "internal/area_set.h"
#include "support/areas.h"
#include "support/require.h"
#include "support/rng.h"
#include "support/suite.h"
#include "support/test_hal.h"

#define PAGE VMXC_PAGE_SIZE

/* ---- Frames ---- */

/* Adds areas at random places until there are `count`, so that leaves and inner nodes of every fill occur. */
static void fill_randomly(struct vmxc_area_set *set, struct rng *rng, uint64_t count,
                          uint64_t places)
{
    while (set->count < count) {
        const struct vmxc_area area = nth_area(rng_below(rng, places));
        const enum vmxc_status status = vmxc_area_set_insert(set, &area);
        require_that(status == VMXC_OK || status == VMXC_ALREADY_EXISTS);
    }
}

START_TEST(an_insertion_without_memory_changes_nothing)
{
    struct test_hal *hal = test_hal_create(4000);
    struct vmxc_area_set set;
    uint64_t failures = 0;

    vmxc_area_set_init(&set, &hal->hal);
    for (uint64_t i = 0; i < 30000; i++) {
        const struct vmxc_area area = nth_area(i);
        struct vmxc_area found;
        const uint64_t before = hal->frames_in_use;

        for (uint64_t n = 1;; n++) {
            hal->fail_at = n;
            const enum vmxc_status status = vmxc_area_set_insert(&set, &area);
            hal->fail_at = 0;
            if (status == VMXC_OK)
                break;
            failures++;
            require_uint(status, ==, VMXC_NO_MEMORY);
            require_uint(hal->frames_in_use, ==, before);
            require_uint(set.count, ==, i);
            require_uint(vmxc_area_set_find(&set, area.base, &found), ==, VMXC_NOT_FOUND);
            require_that(i > 2000 || vmxc_area_set_is_valid(&set));
        }
    }
    require_uint(set.height, ==, 3);
    require_uint(failures, >, 30000 / AREA_LEAF_CAPACITY);
    require_that(vmxc_area_set_is_valid(&set));
    vmxc_area_set_fini(&set);
    test_hal_destroy(hal);
}
END_TEST

START_TEST(a_split_without_memory_changes_nothing)
{
    struct test_hal *hal = test_hal_create(64);
    struct vmxc_area_set set;
    const struct vmxc_area all = area_at(0, 1000 * PAGE);
    uint64_t failures = 0;

    vmxc_area_set_init(&set, &hal->hal);
    area_insert(&set, &all);
    for (uint64_t i = 1; i < 1000; i++) {
        const uint64_t before = hal->frames_in_use;

        for (uint64_t n = 1;; n++) {
            hal->fail_at = n;
            const enum vmxc_status status = vmxc_area_set_split(&set, i * PAGE);
            hal->fail_at = 0;
            if (status == VMXC_OK)
                break;
            failures++;
            require_uint(status, ==, VMXC_NO_MEMORY);
            require_uint(hal->frames_in_use, ==, before);
            require_uint(set.count, ==, i);
        }
        require_that(vmxc_area_set_is_valid(&set));
    }
    require_uint(failures, >, 9);
    vmxc_area_set_fini(&set);
    test_hal_destroy(hal);
}
END_TEST

START_TEST(reserved_insertions_at_several_places_need_no_memory)
{
    const uint64_t seed = 20;
    struct test_hal *hal = test_hal_create(8000);
    struct rng rng = rng_seeded(seed);
    struct vmxc_area_set set;

    vmxc_area_set_init(&set, &hal->hal);
    for (unsigned round = 0; round < 4000; round++) {
        const uint64_t places = 40000;
        const unsigned spots = 1 + (unsigned)rng_below(&rng, 3);
        struct vmxc_area areas[12];
        unsigned count = 0;

        fill_randomly(&set, &rng, round * 7, places);
        for (unsigned spot = 0; spot < spots; spot++) {
            /* Up to four neighbours at each spot, far above the others but among those of earlier rounds. */
            const uint64_t base = (uint64_t)1 << 40 | rng_below(&rng, places) << 20;
            const unsigned insertions = 1 + (unsigned)rng_below(&rng, 4);
            require_uint(vmxc_area_set_reserve(&set, base, insertions), ==, VMXC_OK);
            for (unsigned k = 0; k < insertions; k++)
                areas[count++] = area_at(base + k * PAGE, PAGE);
        }
        const uint32_t spare = set.spare_count;
        require_uint(spare, <=, 12 * 4);
        test_hal_fail_randomly(hal, seed, 1000000);
        for (unsigned k = count; k-- > 0;) {
            const enum vmxc_status status = vmxc_area_set_insert(&set, &areas[k]);
            require(status == VMXC_OK || status == VMXC_ALREADY_EXISTS, "seed %" PRIu64 " round %u",
                    seed, round);
        }
        test_hal_fail_randomly(hal, seed, 0);
        vmxc_area_set_trim(&set);
        require_uint(set.spare_count, ==, 0);
        require_that(round % 200 != 0 || vmxc_area_set_is_valid(&set));
    }
    require_uint(set.height, ==, 3);
    require_that(vmxc_area_set_is_valid(&set));
    vmxc_area_set_fini(&set);
    test_hal_destroy(hal);
}
END_TEST

START_TEST(a_reservation_takes_no_frame_where_the_leaf_has_room)
{
    struct test_hal *hal = test_hal_create(16);
    struct vmxc_area_set set;

    vmxc_area_set_init(&set, &hal->hal);
    area_insert_many(&set, AREA_LEAF_CAPACITY - 3);
    require_uint(hal->frames_in_use, ==, 1);
    require_uint(vmxc_area_set_reserve(&set, 0x1000, 3), ==, VMXC_OK);
    require_uint(hal->frames_in_use, ==, 1);
    require_uint(vmxc_area_set_reserve(&set, 0x1000, 1), ==, VMXC_OK); /* a sibling and a root */
    require_uint(hal->frames_in_use, ==, 3);
    require_that(vmxc_area_set_is_valid(&set));
    vmxc_area_set_trim(&set);
    require_uint(hal->frames_in_use, ==, 1);
    vmxc_area_set_fini(&set);
    test_hal_destroy(hal);
}
END_TEST

START_TEST(areas_in_ascending_order_fill_three_quarters_of_their_leaves)
{
    struct test_hal *hal = test_hal_create(400);
    struct vmxc_area_set set;
    const uint64_t count = 20000, kept = AREA_LEAF_CAPACITY - AREA_LEAF_CAPACITY / 4;

    vmxc_area_set_init(&set, &hal->hal);
    area_insert_many(&set, count);
    require_uint(set.height, ==, 3);
    require_uint(hal->frames_in_use, <=,
                 count / kept + 4); /* 2 inner nodes, the root, the last leaf */
    require_that(vmxc_area_set_is_valid(&set));
    vmxc_area_set_fini(&set);
    test_hal_destroy(hal);
}
END_TEST

START_TEST(the_fuller_part_of_a_split_leaf_takes_all_that_is_reserved)
{
    struct test_hal *hal = test_hal_create(16);
    struct vmxc_area_set set;
    const struct vmxc_area last = area_at((uint64_t)1 << 40, PAGE);
    const uint64_t gap = (uint64_t)1 << 20;
    const struct vmxc_area low = area_at(0, PAGE);

    vmxc_area_set_init(&set, &hal->hal);
    area_insert(&set, &low);
    for (uint64_t i = 0; i + 1 < AREA_LEAF_CAPACITY; i++) {
        const struct vmxc_area area = area_at(gap + 2 * i * PAGE, PAGE);
        area_insert(&set, &area);
    }
    require_uint(vmxc_area_set_reserve(&set, last.base, 1), ==, VMXC_OK);
    require_uint(vmxc_area_set_reserve(&set, PAGE, VMXC_AREA_SET_RESERVE_LIMIT - 1), ==, VMXC_OK);
    test_hal_fail_randomly(hal, 1, 1000000);
    require_uint(vmxc_area_set_insert(&set, &last), ==, VMXC_OK);
    for (uint64_t i = 1; i < VMXC_AREA_SET_RESERVE_LIMIT; i++) {
        const struct vmxc_area area = area_at(i * PAGE, PAGE);
        require_uint(vmxc_area_set_insert(&set, &area), ==, VMXC_OK);
    }
    test_hal_fail_randomly(hal, 1, 0);
    vmxc_area_set_trim(&set);
    require_that(vmxc_area_set_is_valid(&set));
    require_uint(hal->frames_in_use, ==, 3);
    vmxc_area_set_fini(&set);
    test_hal_destroy(hal);
}
END_TEST

START_TEST(a_reservation_without_memory_keeps_nothing)
{
    struct test_hal *hal = test_hal_create(16);
    struct vmxc_area_set set;

    vmxc_area_set_init(&set, &hal->hal);
    area_insert_many(&set, AREA_LEAF_CAPACITY);
    hal->fail_at = 2;
    require_uint(vmxc_area_set_reserve(&set, 0x1000, 1), ==, VMXC_NO_MEMORY);
    require_uint(hal->frames_in_use, ==, 1);
    require_uint(set.pending, ==, 0);
    require_uint(vmxc_area_set_reserve(&set, 0, VMXC_AREA_SET_RESERVE_LIMIT + 1), ==,
                 VMXC_INVALID_INPUT);
    require_uint(vmxc_area_set_reserve(&set, 0, VMXC_AREA_SET_RESERVE_LIMIT), ==, VMXC_OK);
    require_uint(vmxc_area_set_reserve(&set, 0, 1), ==, VMXC_INVALID_INPUT);
    vmxc_area_set_fini(&set); /* with reserved frames */
    test_hal_destroy(hal);
}
END_TEST

START_TEST(erasing_all_in_any_order_gives_every_node_back)
{
    struct test_hal *hal = test_hal_create(4000);
    const uint64_t count = 30000;
    uint64_t *order = calloc(count, sizeof(*order));

    for (int way = 0; way < 3; way++) {
        struct rng rng = rng_seeded((uint64_t)way);
        struct vmxc_area_set set;

        vmxc_area_set_init(&set, &hal->hal);
        area_insert_many(&set, count);
        for (uint64_t i = 0; i < count; i++)
            order[i] = way == 1 ? count - 1 - i : i;
        for (uint64_t i = count - 1; way == 2 && i > 0; i--) {
            const uint64_t other = rng_below(&rng, i + 1);
            const uint64_t kept = order[i];
            order[i] = order[other];
            order[other] = kept;
        }
        test_hal_fail_randomly(hal, 1, 1000000); /* erasing needs no memory */
        for (uint64_t i = 0; i < count; i++) {
            require_uint(vmxc_area_set_erase(&set, nth_area(order[i]).base), ==, VMXC_OK);
            require_uint(vmxc_area_set_erase(&set, nth_area(order[i]).base), ==, VMXC_NOT_FOUND);
            require_that(i % 499 != 0 || vmxc_area_set_is_valid(&set));
        }
        test_hal_fail_randomly(hal, 1, 0);
        require_uint(hal->frames_in_use, ==, 0);
        require_uint(set.height, ==, 0);
        require_that(vmxc_area_set_is_valid(&set));
    }
    free(order);
    test_hal_destroy(hal);
}
END_TEST

/* ---- Random operations against a plain sorted array ---- */

#define SHADOW_PAGES 2048u
#define SEQUENCES    40u
#define STEPS        6000u
#define WATCHED      2u /* sequences in which every store must be announced in the step that does it */

/* One flag value per page; 0: no area. `base` marks the first page of an area. */
struct shadow {
    bool used[SHADOW_PAGES];
    bool first[SHADOW_PAGES];
    vmxc_map_flags flags[SHADOW_PAGES];
    uint64_t hpa[SHADOW_PAGES];
    uint64_t count;
};

/* One past the last page of the area that holds `page`. */
static uint64_t shadow_end(const struct shadow *shadow, uint64_t page)
{
    do
        page++;
    while (page < SHADOW_PAGES && shadow->used[page] && !shadow->first[page]);
    return page;
}

static void random_insert(struct vmxc_area_set *set, struct shadow *shadow, struct rng *rng)
{
    const uint64_t page = rng_below(rng, SHADOW_PAGES);
    const uint64_t left = SHADOW_PAGES - page;
    const uint64_t pages = 1 + rng_below(rng, left < 4 ? left : 4);
    struct vmxc_area area = area_at(page * PAGE, pages * PAGE);
    bool free = true;

    area.hpa = rng_below(rng, 1u << 20) * PAGE;
    area.flags = 1 + (vmxc_map_flags)rng_below(rng, 15);
    for (uint64_t i = page; i < page + pages; i++)
        free = free && !shadow->used[i];
    require_uint(vmxc_area_set_insert(set, &area), ==, free ? VMXC_OK : VMXC_ALREADY_EXISTS);
    if (!free)
        return;
    shadow->count++;
    for (uint64_t i = page; i < page + pages; i++) {
        shadow->used[i] = true;
        shadow->first[i] = i == page;
        shadow->flags[i] = area.flags;
        shadow->hpa[i] = area.hpa + (i - page) * PAGE;
    }
}

static void random_erase(struct vmxc_area_set *set, struct shadow *shadow, uint64_t page)
{
    const bool is_base = shadow->used[page] && shadow->first[page];

    require_uint(vmxc_area_set_erase(set, page * PAGE), ==, is_base ? VMXC_OK : VMXC_NOT_FOUND);
    if (!is_base)
        return;
    const uint64_t end = shadow_end(shadow, page);
    shadow->count--;
    for (uint64_t i = page; i < end; i++)
        shadow->used[i] = shadow->first[i] = false;
}

static void random_split(struct vmxc_area_set *set, struct shadow *shadow, uint64_t page)
{
    require_uint(vmxc_area_set_split(set, page * PAGE), ==, VMXC_OK);
    if (shadow->used[page] && !shadow->first[page]) {
        shadow->first[page] = true;
        shadow->count++;
    }
}

static void random_update(struct vmxc_area_set *set, struct shadow *shadow, struct rng *rng,
                          uint64_t page)
{
    struct vmxc_area area;

    if (vmxc_area_set_find(set, page * PAGE, &area) != VMXC_OK)
        return;
    area.flags = 1 + (vmxc_map_flags)rng_below(rng, 15);
    require_uint(vmxc_area_set_update(set, area.base, &area), ==, VMXC_OK);
    for (uint64_t i = area.base / PAGE; i < (area.base + area.size) / PAGE; i++)
        shadow->flags[i] = area.flags;
}

static void check_page(const struct vmxc_area_set *set, const struct shadow *shadow, uint64_t page)
{
    struct vmxc_area area;
    struct vmxc_area from;
    const enum vmxc_status status = vmxc_area_set_find(set, page * PAGE + 5, &area);
    const enum vmxc_status from_status = vmxc_area_set_find_from(set, page * PAGE + 5, &from);
    uint64_t next = page;

    require_uint(status, ==, shadow->used[page] ? VMXC_OK : VMXC_NOT_FOUND);
    while (next < SHADOW_PAGES && !shadow->used[next])
        next++;
    require_uint(from_status, ==, next < SHADOW_PAGES ? VMXC_OK : VMXC_NOT_FOUND);
    if (from_status == VMXC_OK)
        require_that(from.base <= next * PAGE && next * PAGE < from.base + from.size);
    if (status != VMXC_OK)
        return;
    area_assert_same(&area, &from);
    require_that(shadow->first[area.base / PAGE]);
    require_uint(area.base / PAGE + area.size / PAGE, ==, shadow_end(shadow, page));
    require_uint(area.flags, ==, shadow->flags[page]);
    require_uint(area.hpa + (page * PAGE - area.base), ==, shadow->hpa[page]);
}

START_TEST(random_operations_agree_with_a_plain_array)
{
    const uint64_t seed = 0x5eed;
    struct test_hal *hal = test_hal_create(256);
    static struct shadow shadow;

    test_hal_watch_stores(hal);
    printf("area set: seed %" PRIu64 ", %u sequences of %u\n", seed, SEQUENCES, STEPS);
    for (uint64_t sequence = 0; sequence < SEQUENCES; sequence++) {
        struct rng rng = rng_for_sequence(seed, sequence);
        struct vmxc_area_set set;

        memset(&shadow, 0, sizeof(shadow));
        vmxc_area_set_init(&set, &hal->hal);
        for (unsigned step = 0; step < STEPS; step++) {
            const uint64_t page = rng_below(&rng, SHADOW_PAGES);
            /* Phases of growth and of decline, so that nodes merge as well as split. */
            const bool growing = step / 1000 % 2 == 0;

            if (rng_chance(&rng, growing ? 60 : 10))
                random_insert(&set, &shadow, &rng);
            else if (rng_chance(&rng, growing ? 40 : 5))
                random_split(&set, &shadow, page);
            else if (rng_chance(&rng, 10))
                random_update(&set, &shadow, &rng, page);
            else if (!growing || rng_chance(&rng, 20))
                random_erase(&set, &shadow, page);
            check_page(&set, &shadow, page);
            if (sequence < WATCHED)
                test_hal_assert_announced(hal);
            require_uint(set.count, ==, shadow.count);
            require(step % 50 != 0 || vmxc_area_set_is_valid(&set),
                    "seed %" PRIu64 " sequence %" PRIu64 " step %u", seed, sequence, step);
        }
        for (uint64_t page = 0; page < SHADOW_PAGES; page++)
            check_page(&set, &shadow, page);
        vmxc_area_set_fini(&set);
        require_uint(hal->frames_in_use, ==, 0);
    }
    test_hal_destroy(hal);
}
END_TEST

static Suite *area_set_frames_suite(void)
{
    Suite *suite = suite_create("area_set_frames");
    TCase *frames = tcase_create("frames");
    TCase *random = tcase_create("random");

    tcase_add_test(frames, an_insertion_without_memory_changes_nothing);
    tcase_add_test(frames, a_split_without_memory_changes_nothing);
    tcase_add_test(frames, reserved_insertions_at_several_places_need_no_memory);
    tcase_add_test(frames, a_reservation_takes_no_frame_where_the_leaf_has_room);
    tcase_add_test(frames, areas_in_ascending_order_fill_three_quarters_of_their_leaves);
    tcase_add_test(frames, the_fuller_part_of_a_split_leaf_takes_all_that_is_reserved);
    tcase_add_test(frames, a_reservation_without_memory_keeps_nothing);
    tcase_add_test(frames, erasing_all_in_any_order_gives_every_node_back);
    tcase_set_timeout(frames, 120);
    suite_add_tcase(suite, frames);
    tcase_add_test(random, random_operations_agree_with_a_plain_array);
    tcase_set_timeout(random, 120);
    suite_add_tcase(suite, random);
    return suite;
}

int main(void)
{
    return run_suite(area_set_frames_suite());
}
