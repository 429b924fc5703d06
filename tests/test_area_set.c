/* SPDX-License-Identifier: Apache-2.0 */
/* The area set: ranges, order and fill of the tree, accounting of its nodes, cost of one operation. */
#include <check.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "internal/area_set.h"
#include "support/probe_hal.h"
#include "support/rng.h"
#include "vmxcore/area_set.h"

#define PAGE VMXC_PAGE_SIZE

static struct vmxc_area area_at(vmxc_gpa_t base, uint64_t size)
{
    return (struct vmxc_area){
        .base = base, .size = size, .hpa = base + 0x100000000, .flags = VMXC_MAP_READ};
}

/* The i-th of many areas: one page, and a hole of one page behind it. */
static struct vmxc_area nth_area(uint64_t i)
{
    return area_at(2 * i * PAGE, PAGE);
}

static void insert(struct vmxc_area_set *set, const struct vmxc_area *area)
{
    ck_assert_int_eq(vmxc_area_set_insert(set, area), VMXC_OK);
}

static void insert_many(struct vmxc_area_set *set, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        const struct vmxc_area area = nth_area(i);
        insert(set, &area);
    }
}

static void assert_same(const struct vmxc_area *a, const struct vmxc_area *b)
{
    ck_assert_uint_eq(a->base, b->base);
    ck_assert_uint_eq(a->size, b->size);
    ck_assert_ptr_eq(a->backend, b->backend);
    ck_assert_uint_eq(a->hpa, b->hpa);
    ck_assert_uint_eq(a->flags, b->flags);
    ck_assert_int_eq(a->lazy, b->lazy);
}

/* ---- Negative cases ---- */

START_TEST(an_invalid_range_is_refused)
{
    static const struct {
        uint64_t base, size;
    } bad[] = {
        {0, 0},
        {1, PAGE},
        {PAGE, 1},
        {PAGE, PAGE + 8},
        {UINT64_MAX - PAGE + 1, PAGE}, /* its end is 2^64 */
        {UINT64_MAX - PAGE + 1, 2 * PAGE},
        {PAGE, UINT64_MAX - PAGE + 1},
    };
    struct probe *probe = probe_create(16, true);
    struct vmxc_area_set set;
    const struct vmxc_area good = area_at(0x5000, PAGE);

    vmxc_area_set_init(&set, &probe->hal);
    insert(&set, &good);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        const struct vmxc_area area = area_at(bad[i].base, bad[i].size);
        ck_assert_int_eq(vmxc_area_set_insert(&set, &area), VMXC_INVALID_INPUT);
        ck_assert_int_eq(vmxc_area_set_update(&set, 0x5000, &area), VMXC_INVALID_INPUT);
    }
    ck_assert_int_eq(vmxc_area_set_split(&set, 0x5800), VMXC_INVALID_INPUT);
    ck_assert_uint_eq(set.count, 1);
    vmxc_area_set_fini(&set);
    probe_destroy(probe);
}
END_TEST

START_TEST(an_empty_set_answers_and_owns_no_frame)
{
    struct probe *probe = probe_create(16, true);
    struct vmxc_area_set set;
    struct vmxc_area area = area_at(0, PAGE);

    vmxc_area_set_init(&set, &probe->hal);
    ck_assert_int_eq(vmxc_area_set_find(&set, 0, &area), VMXC_NOT_FOUND);
    ck_assert_int_eq(vmxc_area_set_find_from(&set, 0, &area), VMXC_NOT_FOUND);
    ck_assert_int_eq(vmxc_area_set_erase(&set, 0), VMXC_NOT_FOUND);
    ck_assert_int_eq(vmxc_area_set_update(&set, 0, &area), VMXC_NOT_FOUND);
    ck_assert_int_eq(vmxc_area_set_split(&set, 0), VMXC_OK);
    ck_assert(vmxc_area_set_is_valid(&set));
    ck_assert_uint_eq(probe_frames_in_use(probe), 0);
    vmxc_area_set_fini(&set);
    vmxc_area_set_fini(&set);
    probe_destroy(probe);
}
END_TEST

START_TEST(every_kind_of_overlap_is_refused)
{
    static const struct {
        uint64_t base, size;
        enum vmxc_status status;
    } cases[] = {
        {0x4000, 0x2000, VMXC_ALREADY_EXISTS}, /* the same */
        {0x4000, 0x1000, VMXC_ALREADY_EXISTS}, /* its beginning */
        {0x5000, 0x1000, VMXC_ALREADY_EXISTS}, /* its end */
        {0x3000, 0x2000, VMXC_ALREADY_EXISTS}, /* from below */
        {0x5000, 0x2000, VMXC_ALREADY_EXISTS}, /* to above */
        {0x3000, 0x9000, VMXC_ALREADY_EXISTS}, /* around */
        {0x0000, 0x9000, VMXC_ALREADY_EXISTS}, /* around, below all */
        {0x7000, 0x2000, VMXC_ALREADY_EXISTS}, /* into the next */
        {0x6000, 0x2000, VMXC_OK},             /* just between */
        {0x3000, 0x1000, VMXC_OK},             /* just below */
        {0x9000, 0x1000, VMXC_OK},             /* just above */
    };
    struct probe *probe = probe_create(16, true);
    struct vmxc_area_set set;
    const struct vmxc_area first = area_at(0x4000, 0x2000);
    const struct vmxc_area second = area_at(0x8000, 0x1000);

    vmxc_area_set_init(&set, &probe->hal);
    insert(&set, &first);
    insert(&set, &second);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct vmxc_area area = area_at(cases[i].base, cases[i].size);
        ck_assert_msg(vmxc_area_set_insert(&set, &area) == cases[i].status, "case %zu", i);
    }
    ck_assert_uint_eq(set.count, 5);
    ck_assert(vmxc_area_set_is_valid(&set));
    vmxc_area_set_fini(&set);
    probe_destroy(probe);
}
END_TEST

START_TEST(overlap_with_the_first_area_of_the_next_leaf_is_seen)
{
    struct probe *probe = probe_create(64, true);
    struct vmxc_area_set set;

    vmxc_area_set_init(&set, &probe->hal);
    insert_many(&set, 1000);
    ck_assert_uint_gt(set.height, 1);
    for (uint64_t i = 0; i + 1 < 1000; i++) {
        const struct vmxc_area area = area_at((2 * i + 1) * PAGE, 2 * PAGE);
        ck_assert_int_eq(vmxc_area_set_insert(&set, &area), VMXC_ALREADY_EXISTS);
    }
    vmxc_area_set_fini(&set);
    probe_destroy(probe);
}
END_TEST

START_TEST(an_update_must_keep_its_place)
{
    struct probe *probe = probe_create(16, true);
    struct vmxc_area_set set;
    const struct vmxc_area areas[] = {area_at(0x1000, 0x1000), area_at(0x4000, 0x2000),
                                      area_at(0x8000, 0x1000)};
    static const struct {
        uint64_t base, size;
        enum vmxc_status status;
    } cases[] = {
        {0x1000, 0x1000, VMXC_ALREADY_EXISTS}, /* onto the one before */
        {0x0000, 0x1000, VMXC_ALREADY_EXISTS}, /* past the one before */
        {0x7000, 0x2000, VMXC_ALREADY_EXISTS}, /* into the one behind */
        {0x9000, 0x1000, VMXC_ALREADY_EXISTS}, /* past the one behind */
        {0x2000, 0x6000, VMXC_OK},             /* all there is between */
    };
    struct vmxc_area found;

    vmxc_area_set_init(&set, &probe->hal);
    for (size_t i = 0; i < 3; i++)
        insert(&set, &areas[i]);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct vmxc_area area = area_at(cases[i].base, cases[i].size);
        ck_assert_msg(vmxc_area_set_update(&set, 0x4000, &area) == cases[i].status, "case %zu", i);
    }
    ck_assert_int_eq(vmxc_area_set_update(&set, 0x4000, &areas[1]), VMXC_NOT_FOUND);
    ck_assert_int_eq(vmxc_area_set_find(&set, 0x2fff, &found), VMXC_OK);
    ck_assert_uint_eq(found.base, 0x2000);
    ck_assert_int_eq(vmxc_area_set_update(&set, 0x2000, &areas[1]),
                     VMXC_OK); /* and smaller again */
    ck_assert_int_eq(vmxc_area_set_find(&set, 0x2fff, &found), VMXC_NOT_FOUND);
    ck_assert(vmxc_area_set_is_valid(&set));
    vmxc_area_set_fini(&set);
    probe_destroy(probe);
}
END_TEST

START_TEST(moving_the_first_area_of_a_leaf_renews_the_keys_above)
{
    struct probe *probe = probe_create(64, true);
    struct vmxc_area_set set;
    struct vmxc_area found;

    vmxc_area_set_init(&set, &probe->hal);
    for (uint64_t i = 0; i < 1000; i++) {
        const struct vmxc_area area = area_at((4 * i + 2) * PAGE, 2 * PAGE);
        insert(&set, &area);
    }
    for (uint64_t i = 0; i < 1000; i++) {
        const uint64_t base = (4 * i + 2) * PAGE;
        const struct vmxc_area down = area_at(base - PAGE, PAGE);
        const struct vmxc_area up = area_at(base + PAGE, PAGE);
        ck_assert_int_eq(vmxc_area_set_update(&set, base, &down), VMXC_OK);
        ck_assert(vmxc_area_set_is_valid(&set));
        ck_assert_int_eq(vmxc_area_set_update(&set, down.base, &up), VMXC_OK);
        ck_assert(vmxc_area_set_is_valid(&set));
        ck_assert_int_eq(vmxc_area_set_find(&set, up.base, &found), VMXC_OK);
        assert_same(&found, &up);
    }
    vmxc_area_set_fini(&set);
    probe_destroy(probe);
}
END_TEST

/* ---- Lookups ---- */

START_TEST(find_and_find_from_see_bounds_exactly)
{
    struct probe *probe = probe_create(64, true);
    struct vmxc_area_set set;
    struct vmxc_area found;

    vmxc_area_set_init(&set, &probe->hal);
    insert_many(&set, 2000);
    for (uint64_t i = 0; i < 2000; i++) {
        const struct vmxc_area area = nth_area(i);
        const vmxc_gpa_t end = area.base + area.size;

        ck_assert_int_eq(vmxc_area_set_find(&set, area.base, &found), VMXC_OK);
        assert_same(&found, &area);
        ck_assert_int_eq(vmxc_area_set_find(&set, end - 1, &found), VMXC_OK);
        assert_same(&found, &area);
        ck_assert_int_eq(vmxc_area_set_find(&set, end, &found), VMXC_NOT_FOUND);
        ck_assert_int_eq(vmxc_area_set_find_from(&set, end - 1, &found), VMXC_OK);
        assert_same(&found, &area);
        if (i + 1 < 2000) {
            const struct vmxc_area next = nth_area(i + 1);
            ck_assert_int_eq(vmxc_area_set_find_from(&set, end, &found), VMXC_OK);
            assert_same(&found, &next);
        } else {
            ck_assert_int_eq(vmxc_area_set_find_from(&set, end, &found), VMXC_NOT_FOUND);
        }
    }
    ck_assert_int_eq(vmxc_area_set_find(&set, UINT64_MAX, &found), VMXC_NOT_FOUND);
    vmxc_area_set_fini(&set);
    probe_destroy(probe);
}
END_TEST

START_TEST(find_from_below_the_first_area_is_the_first_area)
{
    struct probe *probe = probe_create(64, true);
    struct vmxc_area_set set;
    struct vmxc_area found;

    vmxc_area_set_init(&set, &probe->hal);
    for (uint64_t i = 500; i-- > 0;) { /* descending: the left edge is lowered each time */
        const struct vmxc_area area = area_at((i + 10) * PAGE, PAGE);
        insert(&set, &area);
        ck_assert_int_eq(vmxc_area_set_find_from(&set, 0, &found), VMXC_OK);
        assert_same(&found, &area);
        ck_assert_int_eq(vmxc_area_set_find(&set, 0, &found), VMXC_NOT_FOUND);
        ck_assert(vmxc_area_set_is_valid(&set));
    }
    vmxc_area_set_fini(&set);
    probe_destroy(probe);
}
END_TEST

/* ---- Splitting ---- */

START_TEST(a_split_moves_the_host_address_along)
{
    struct probe *probe = probe_create(16, true);
    struct vmxc_area_set set;
    struct vmxc_area area = area_at(0x10000, 0x4000);
    struct vmxc_area found;

    area.hpa = 0; /* an ordinary host address */
    vmxc_area_set_init(&set, &probe->hal);
    insert(&set, &area);
    ck_assert_int_eq(vmxc_area_set_split(&set, 0x10000), VMXC_OK); /* a boundary already */
    ck_assert_int_eq(vmxc_area_set_split(&set, 0x14000), VMXC_OK); /* nothing there */
    ck_assert_uint_eq(set.count, 1);
    ck_assert_int_eq(vmxc_area_set_split(&set, 0x13000), VMXC_OK);
    ck_assert_uint_eq(set.count, 2);
    ck_assert_int_eq(vmxc_area_set_find(&set, 0x12fff, &found), VMXC_OK);
    ck_assert_uint_eq(found.size, 0x3000);
    ck_assert_uint_eq(found.hpa, 0);
    ck_assert_int_eq(vmxc_area_set_find(&set, 0x13000, &found), VMXC_OK);
    ck_assert_uint_eq(found.base, 0x13000);
    ck_assert_uint_eq(found.size, 0x1000);
    ck_assert_uint_eq(found.hpa, 0x3000);
    vmxc_area_set_fini(&set);
    probe_destroy(probe);
}
END_TEST

START_TEST(a_split_leaves_no_host_address_where_there_was_none)
{
    struct probe *probe = probe_create(16, true);
    struct vmxc_area_set set;
    struct vmxc_area area = area_at(0x10000, 0x4000);
    struct vmxc_area found;

    area.hpa = VMXC_AREA_NO_HPA;
    area.lazy = true;
    vmxc_area_set_init(&set, &probe->hal);
    insert(&set, &area);
    ck_assert_int_eq(vmxc_area_set_split(&set, 0x11000), VMXC_OK);
    ck_assert_int_eq(vmxc_area_set_find(&set, 0x11000, &found), VMXC_OK);
    ck_assert_uint_eq(found.hpa, VMXC_AREA_NO_HPA);
    ck_assert(found.lazy);
    ck_assert_uint_eq(found.flags, VMXC_MAP_READ);
    vmxc_area_set_fini(&set);
    probe_destroy(probe);
}
END_TEST

/* ---- Frames ---- */

/* Adds areas at random places until there are `count`, so that leaves and inner nodes of every fill occur. */
static void fill_randomly(struct vmxc_area_set *set, struct rng *rng, uint64_t count,
                          uint64_t places)
{
    while (set->count < count) {
        const struct vmxc_area area = nth_area(rng_below(rng, places));
        const enum vmxc_status status = vmxc_area_set_insert(set, &area);
        ck_assert(status == VMXC_OK || status == VMXC_ALREADY_EXISTS);
    }
}

START_TEST(an_insertion_without_memory_changes_nothing)
{
    struct probe *probe = probe_create(4000, true);
    struct vmxc_area_set set;
    uint64_t failures = 0;

    vmxc_area_set_init(&set, &probe->hal);
    for (uint64_t i = 0; i < 30000; i++) {
        const struct vmxc_area area = nth_area(i);
        struct vmxc_area found;
        const uint64_t before = probe_frames_in_use(probe);

        for (uint64_t n = 1;; n++) {
            vmxsim_memory_fail_nth(probe->memory, n);
            const enum vmxc_status status = vmxc_area_set_insert(&set, &area);
            vmxsim_memory_fail_nth(probe->memory, 0);
            if (status == VMXC_OK)
                break;
            failures++;
            ck_assert_int_eq(status, VMXC_NO_MEMORY);
            ck_assert_uint_eq(probe_frames_in_use(probe), before);
            ck_assert_uint_eq(set.count, i);
            ck_assert_int_eq(vmxc_area_set_find(&set, area.base, &found), VMXC_NOT_FOUND);
            ck_assert(i > 2000 || vmxc_area_set_is_valid(&set));
        }
    }
    ck_assert_uint_eq(set.height, 3);
    ck_assert_uint_gt(failures, 30000 / AREA_LEAF_CAPACITY);
    ck_assert(vmxc_area_set_is_valid(&set));
    vmxc_area_set_fini(&set);
    probe_destroy(probe);
}
END_TEST

START_TEST(a_split_without_memory_changes_nothing)
{
    struct probe *probe = probe_create(64, true);
    struct vmxc_area_set set;
    const struct vmxc_area all = area_at(0, 1000 * PAGE);
    uint64_t failures = 0;

    vmxc_area_set_init(&set, &probe->hal);
    insert(&set, &all);
    for (uint64_t i = 1; i < 1000; i++) {
        const uint64_t before = probe_frames_in_use(probe);

        for (uint64_t n = 1;; n++) {
            vmxsim_memory_fail_nth(probe->memory, n);
            const enum vmxc_status status = vmxc_area_set_split(&set, i * PAGE);
            vmxsim_memory_fail_nth(probe->memory, 0);
            if (status == VMXC_OK)
                break;
            failures++;
            ck_assert_int_eq(status, VMXC_NO_MEMORY);
            ck_assert_uint_eq(probe_frames_in_use(probe), before);
            ck_assert_uint_eq(set.count, i);
        }
        ck_assert(vmxc_area_set_is_valid(&set));
    }
    ck_assert_uint_gt(failures, 9);
    vmxc_area_set_fini(&set);
    probe_destroy(probe);
}
END_TEST

START_TEST(reserved_insertions_at_several_places_need_no_memory)
{
    const uint64_t seed = 20;
    struct probe *probe = probe_create(8000, true);
    struct rng rng = rng_seeded(seed);
    struct vmxc_area_set set;

    vmxc_area_set_init(&set, &probe->hal);
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
            ck_assert_int_eq(vmxc_area_set_reserve(&set, base, insertions), VMXC_OK);
            for (unsigned k = 0; k < insertions; k++)
                areas[count++] = area_at(base + k * PAGE, PAGE);
        }
        const uint32_t spare = set.spare_count;
        ck_assert_uint_le(spare, 12 * 4);
        vmxsim_memory_fail_randomly(probe->memory, seed, 1000000);
        for (unsigned k = count; k-- > 0;) {
            const enum vmxc_status status = vmxc_area_set_insert(&set, &areas[k]);
            ck_assert_msg(status == VMXC_OK || status == VMXC_ALREADY_EXISTS,
                          "seed %" PRIu64 " round %u", seed, round);
        }
        vmxsim_memory_fail_randomly(probe->memory, seed, 0);
        vmxc_area_set_trim(&set);
        ck_assert_uint_eq(set.spare_count, 0);
        ck_assert(round % 200 != 0 || vmxc_area_set_is_valid(&set));
    }
    ck_assert_uint_eq(set.height, 3);
    ck_assert(vmxc_area_set_is_valid(&set));
    vmxc_area_set_fini(&set);
    probe_destroy(probe);
}
END_TEST

START_TEST(a_reservation_takes_no_frame_where_the_leaf_has_room)
{
    struct probe *probe = probe_create(16, true);
    struct vmxc_area_set set;

    vmxc_area_set_init(&set, &probe->hal);
    insert_many(&set, AREA_LEAF_CAPACITY - 3);
    ck_assert_uint_eq(probe_frames_in_use(probe), 1);
    ck_assert_int_eq(vmxc_area_set_reserve(&set, 0x1000, 3), VMXC_OK);
    ck_assert_uint_eq(probe_frames_in_use(probe), 1);
    ck_assert_int_eq(vmxc_area_set_reserve(&set, 0x1000, 1), VMXC_OK); /* a sibling and a root */
    ck_assert_uint_eq(probe_frames_in_use(probe), 3);
    ck_assert(vmxc_area_set_is_valid(&set));
    vmxc_area_set_trim(&set);
    ck_assert_uint_eq(probe_frames_in_use(probe), 1);
    vmxc_area_set_fini(&set);
    probe_destroy(probe);
}
END_TEST

START_TEST(a_reservation_without_memory_keeps_nothing)
{
    struct probe *probe = probe_create(16, true);
    struct vmxc_area_set set;

    vmxc_area_set_init(&set, &probe->hal);
    insert_many(&set, AREA_LEAF_CAPACITY);
    vmxsim_memory_fail_nth(probe->memory, 2);
    ck_assert_int_eq(vmxc_area_set_reserve(&set, 0x1000, 1), VMXC_NO_MEMORY);
    ck_assert_uint_eq(probe_frames_in_use(probe), 1);
    ck_assert_uint_eq(set.pending, 0);
    ck_assert_int_eq(vmxc_area_set_reserve(&set, 0, VMXC_AREA_SET_RESERVE_LIMIT + 1),
                     VMXC_INVALID_INPUT);
    ck_assert_int_eq(vmxc_area_set_reserve(&set, 0, VMXC_AREA_SET_RESERVE_LIMIT), VMXC_OK);
    ck_assert_int_eq(vmxc_area_set_reserve(&set, 0, 1), VMXC_INVALID_INPUT);
    vmxc_area_set_fini(&set); /* with reserved frames */
    probe_destroy(probe);
}
END_TEST

START_TEST(erasing_all_in_any_order_gives_every_node_back)
{
    struct probe *probe = probe_create(4000, true);
    const uint64_t count = 30000;
    uint64_t *order = calloc(count, sizeof(*order));

    for (int way = 0; way < 3; way++) {
        struct rng rng = rng_seeded((uint64_t)way);
        struct vmxc_area_set set;

        vmxc_area_set_init(&set, &probe->hal);
        insert_many(&set, count);
        for (uint64_t i = 0; i < count; i++)
            order[i] = way == 1 ? count - 1 - i : i;
        for (uint64_t i = count - 1; way == 2 && i > 0; i--) {
            const uint64_t other = rng_below(&rng, i + 1);
            const uint64_t kept = order[i];
            order[i] = order[other];
            order[other] = kept;
        }
        vmxsim_memory_fail_randomly(probe->memory, 1, 1000000); /* erasing needs no memory */
        for (uint64_t i = 0; i < count; i++) {
            ck_assert_int_eq(vmxc_area_set_erase(&set, nth_area(order[i]).base), VMXC_OK);
            ck_assert_int_eq(vmxc_area_set_erase(&set, nth_area(order[i]).base), VMXC_NOT_FOUND);
            ck_assert(i % 499 != 0 || vmxc_area_set_is_valid(&set));
        }
        vmxsim_memory_fail_randomly(probe->memory, 1, 0);
        ck_assert_uint_eq(probe_frames_in_use(probe), 0);
        ck_assert_uint_eq(set.height, 0);
        ck_assert(vmxc_area_set_is_valid(&set));
    }
    free(order);
    probe_destroy(probe);
}
END_TEST

/* ---- Cost ---- */

START_TEST(one_operation_among_100000_areas_visits_few_nodes)
{
    const uint64_t count = 100000;
    struct probe *probe = probe_create(4000, false);
    struct vmxc_area_set set;
    struct vmxc_area found;

    vmxc_area_set_init(&set, &probe->hal);
    for (uint64_t i = 0; i < count; i++) {
        const struct vmxc_area area = area_at(4 * i * PAGE, 2 * PAGE);
        insert(&set, &area);
    }
    ck_assert_uint_eq(set.height, 3);
    for (uint64_t i = 0; i < count; i += 997) {
        const vmxc_gpa_t base = 4 * i * PAGE;
        const struct vmxc_area area = area_at(base + 2 * PAGE, PAGE);

        probe->lookups = 0;
        ck_assert_int_eq(vmxc_area_set_find(&set, base, &found), VMXC_OK);
        ck_assert_uint_eq(probe->lookups, 3);
        probe->lookups = 0;
        ck_assert_int_eq(vmxc_area_set_split(&set, base + PAGE), VMXC_OK);
        ck_assert_uint_le(probe->lookups, 3 + 3 + 4 * 4);
        probe->lookups = 0;
        insert(&set, &area);
        ck_assert_uint_le(probe->lookups, 3 + 4 * 4);
        probe->lookups = 0;
        ck_assert_int_eq(vmxc_area_set_erase(&set, base), VMXC_OK);
        ck_assert_uint_le(probe->lookups, 3 + 3 * 2 + 1);
    }
    ck_assert(vmxc_area_set_is_valid(&set));
    vmxc_area_set_fini(&set);
    probe_destroy(probe);
}
END_TEST

/* ---- Random operations against a plain sorted array ---- */

#define SHADOW_PAGES 2048u

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
    ck_assert_int_eq(vmxc_area_set_insert(set, &area), free ? VMXC_OK : VMXC_ALREADY_EXISTS);
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

    ck_assert_int_eq(vmxc_area_set_erase(set, page * PAGE), is_base ? VMXC_OK : VMXC_NOT_FOUND);
    if (!is_base)
        return;
    const uint64_t end = shadow_end(shadow, page);
    shadow->count--;
    for (uint64_t i = page; i < end; i++)
        shadow->used[i] = shadow->first[i] = false;
}

static void random_split(struct vmxc_area_set *set, struct shadow *shadow, uint64_t page)
{
    ck_assert_int_eq(vmxc_area_set_split(set, page * PAGE), VMXC_OK);
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
    ck_assert_int_eq(vmxc_area_set_update(set, area.base, &area), VMXC_OK);
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

    ck_assert_int_eq(status, shadow->used[page] ? VMXC_OK : VMXC_NOT_FOUND);
    while (next < SHADOW_PAGES && !shadow->used[next])
        next++;
    ck_assert_int_eq(from_status, next < SHADOW_PAGES ? VMXC_OK : VMXC_NOT_FOUND);
    if (from_status == VMXC_OK)
        ck_assert(from.base <= next * PAGE && next * PAGE < from.base + from.size);
    if (status != VMXC_OK)
        return;
    assert_same(&area, &from);
    ck_assert(shadow->first[area.base / PAGE]);
    ck_assert_uint_eq(area.base / PAGE + area.size / PAGE, shadow_end(shadow, page));
    ck_assert_uint_eq(area.flags, shadow->flags[page]);
    ck_assert_uint_eq(area.hpa + (page * PAGE - area.base), shadow->hpa[page]);
}

START_TEST(random_operations_agree_with_a_plain_array)
{
    const uint64_t seed = 0x5eed;
    struct probe *probe = probe_create(256, true);
    static struct shadow shadow;

    for (uint64_t sequence = 0; sequence < 40; sequence++) {
        struct rng rng = rng_for_sequence(seed, sequence);
        struct vmxc_area_set set;

        memset(&shadow, 0, sizeof(shadow));
        vmxc_area_set_init(&set, &probe->hal);
        for (unsigned step = 0; step < 6000; step++) {
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
            ck_assert_uint_eq(set.count, shadow.count);
            ck_assert_msg(step % 50 != 0 || vmxc_area_set_is_valid(&set),
                          "seed %" PRIu64 " sequence %" PRIu64 " step %u", seed, sequence, step);
        }
        for (uint64_t page = 0; page < SHADOW_PAGES; page++)
            check_page(&set, &shadow, page);
        vmxc_area_set_fini(&set);
        ck_assert_uint_eq(probe_frames_in_use(probe), 0);
    }
    printf("area set: seed %" PRIu64 "\n", seed);
    probe_destroy(probe);
}
END_TEST

/* ---- The validity check itself ---- */

/* A set of three levels that tests may damage; `leaf` is the second leaf, `root` and `inner` lead to it. */
struct damage {
    struct vmxc_area_set set;
    struct area_node *root, *inner, *leaf;
};

static void damage_init(struct damage *damage, struct probe *probe)
{
    vmxc_area_set_init(&damage->set, &probe->hal);
    insert_many(&damage->set, 20000);
    ck_assert_uint_eq(damage->set.height, 3);
    damage->root = area_node_at(&damage->set, damage->set.root_hpa);
    damage->inner = area_node_at(&damage->set, damage->root->u.inner.child_hpa[1]);
    damage->leaf = area_node_at(&damage->set, damage->inner->u.inner.child_hpa[1]);
}

#define ASSERT_SEEN(damage, place, value)                   \
    do {                                                    \
        const uint64_t kept_ = (place);                     \
        (place) = (value);                                  \
        ck_assert(!vmxc_area_set_is_valid(&(damage)->set)); \
        (place) = (__typeof__(place))kept_;                 \
        ck_assert(vmxc_area_set_is_valid(&(damage)->set));  \
    } while (0)

START_TEST(the_validity_check_sees_damage)
{
    struct probe *probe = probe_create(4000, false);
    struct damage d;

    damage_init(&d, probe);
    ASSERT_SEEN(&d, d.set.count, 19999);
    ASSERT_SEEN(&d, d.set.height, 2);
    ASSERT_SEEN(&d, d.set.height, AREA_SET_MAX_HEIGHT + 1);
    ASSERT_SEEN(&d, d.set.spare_count, 1);
    ASSERT_SEEN(&d, d.set.spare_hpa, d.set.root_hpa);
    ASSERT_SEEN(&d, d.root->count, 1);
    ASSERT_SEEN(&d, d.inner->count, AREA_INNER_CAPACITY / 2 - 1);
    ASSERT_SEEN(&d, d.inner->count, AREA_INNER_CAPACITY + 1);
    ASSERT_SEEN(&d, d.leaf->count, AREA_LEAF_CAPACITY / 2 - 1);
    ASSERT_SEEN(&d, d.leaf->level, 1);
    ASSERT_SEEN(&d, d.leaf->u.key[0], d.leaf->u.key[0] + PAGE);
    ASSERT_SEEN(&d, d.leaf->u.key[5], d.leaf->u.key[4]);
    ASSERT_SEEN(&d, d.leaf->u.key[5], d.leaf->u.key[5] + 1);
    ASSERT_SEEN(&d, d.leaf->u.leaf.tail[5].size, 3 * PAGE);
    ASSERT_SEEN(&d, d.leaf->u.leaf.tail[5].size, 0);
    ASSERT_SEEN(&d, d.inner->u.key[1], d.inner->u.key[1] - PAGE);
    ASSERT_SEEN(&d, d.inner->u.inner.child_hpa[1], d.inner->u.inner.child_hpa[2]);
    ASSERT_SEEN(&d, d.inner->u.inner.child_hpa[1], UINT64_C(1) << 45); /* no memory */

    const struct vmxc_hal *hal = d.set.hal;
    d.set.hal = NULL;
    ck_assert(!vmxc_area_set_is_valid(&d.set));
    d.set.hal = hal;
    vmxc_area_set_fini(&d.set);
    ASSERT_SEEN(&d, d.set.count, 1);
    probe_destroy(probe);
}
END_TEST

START_TEST(every_store_is_announced)
{
    struct probe *probe = probe_create(64, true);
    struct vmxc_area_set set;
    const struct vmxc_area area = nth_area(7);

    vmxc_area_set_init(&set, &probe->hal);
    insert_many(&set, 7);
    uint64_t before = probe->dirty_calls;
    insert(&set, &area);
    ck_assert_uint_gt(probe->dirty_calls, before);
    before = probe->dirty_calls;
    ck_assert_int_eq(vmxc_area_set_update(&set, area.base, &area), VMXC_OK);
    ck_assert_uint_gt(probe->dirty_calls, before);
    before = probe->dirty_calls;
    ck_assert_int_eq(vmxc_area_set_erase(&set, area.base), VMXC_OK);
    ck_assert_uint_gt(probe->dirty_calls, before);
    vmxc_area_set_fini(&set);
    probe_destroy(probe);
}
END_TEST

static Suite *area_set_suite(void)
{
    Suite *suite = suite_create("area_set");
    TCase *refusals = tcase_create("refusals");
    TCase *behaviour = tcase_create("behaviour");
    TCase *frames = tcase_create("frames");
    TCase *random = tcase_create("random");

    tcase_add_test(refusals, an_invalid_range_is_refused);
    tcase_add_test(refusals, an_empty_set_answers_and_owns_no_frame);
    tcase_add_test(refusals, every_kind_of_overlap_is_refused);
    tcase_add_test(refusals, overlap_with_the_first_area_of_the_next_leaf_is_seen);
    tcase_add_test(refusals, an_update_must_keep_its_place);
    tcase_add_test(refusals, the_validity_check_sees_damage);
    tcase_add_test(behaviour, moving_the_first_area_of_a_leaf_renews_the_keys_above);
    tcase_add_test(behaviour, find_and_find_from_see_bounds_exactly);
    tcase_add_test(behaviour, find_from_below_the_first_area_is_the_first_area);
    tcase_add_test(behaviour, a_split_moves_the_host_address_along);
    tcase_add_test(behaviour, a_split_leaves_no_host_address_where_there_was_none);
    tcase_add_test(behaviour, one_operation_among_100000_areas_visits_few_nodes);
    tcase_add_test(behaviour, every_store_is_announced);
    tcase_add_test(frames, an_insertion_without_memory_changes_nothing);
    tcase_add_test(frames, a_split_without_memory_changes_nothing);
    tcase_add_test(frames, reserved_insertions_at_several_places_need_no_memory);
    tcase_add_test(frames, a_reservation_takes_no_frame_where_the_leaf_has_room);
    tcase_add_test(frames, a_reservation_without_memory_keeps_nothing);
    tcase_add_test(frames, erasing_all_in_any_order_gives_every_node_back);
    tcase_add_test(random, random_operations_agree_with_a_plain_array);
    tcase_set_timeout(frames, 120);
    tcase_set_timeout(random, 120);
    suite_add_tcase(suite, refusals);
    suite_add_tcase(suite, behaviour);
    suite_add_tcase(suite, frames);
    suite_add_tcase(suite, random);
    return suite;
}

int main(void)
{
    SRunner *runner = srunner_create(area_set_suite());
    srunner_run_all(runner, CK_NORMAL);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
