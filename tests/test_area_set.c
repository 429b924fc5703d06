/* SPDX-License-Identifier: Apache-2.0 */
/* The area set: ranges, lookups, splitting, cost of one operation, the validity check. */
#include <check.h>

#include "internal/area_set.h"
#include "support/areas.h"
#include "support/suite.h"
#include "support/test_hal.h"

#define PAGE VMXC_PAGE_SIZE

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
    struct test_hal *hal = test_hal_create(16);
    struct vmxc_area_set set;
    const struct vmxc_area good = area_at(0x5000, PAGE);

    vmxc_area_set_init(&set, &hal->hal);
    area_insert(&set, &good);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        const struct vmxc_area area = area_at(bad[i].base, bad[i].size);
        ck_assert_int_eq(vmxc_area_set_insert(&set, &area), VMXC_INVALID_INPUT);
        ck_assert_int_eq(vmxc_area_set_update(&set, 0x5000, &area), VMXC_INVALID_INPUT);
    }
    ck_assert_int_eq(vmxc_area_set_split(&set, 0x5800), VMXC_INVALID_INPUT);
    ck_assert_uint_eq(set.count, 1);
    vmxc_area_set_fini(&set);
    test_hal_destroy(hal);
}
END_TEST

START_TEST(an_empty_set_answers_and_owns_no_frame)
{
    struct test_hal *hal = test_hal_create(16);
    struct vmxc_area_set set;
    struct vmxc_area area = area_at(0, PAGE);

    vmxc_area_set_init(&set, &hal->hal);
    ck_assert_int_eq(vmxc_area_set_find(&set, 0, &area), VMXC_NOT_FOUND);
    ck_assert_int_eq(vmxc_area_set_find_from(&set, 0, &area), VMXC_NOT_FOUND);
    ck_assert_int_eq(vmxc_area_set_erase(&set, 0), VMXC_NOT_FOUND);
    ck_assert_int_eq(vmxc_area_set_update(&set, 0, &area), VMXC_NOT_FOUND);
    ck_assert_int_eq(vmxc_area_set_split(&set, 0), VMXC_OK);
    ck_assert(vmxc_area_set_is_valid(&set));
    ck_assert_uint_eq(hal->frames_in_use, 0);
    vmxc_area_set_fini(&set);
    vmxc_area_set_fini(&set);
    test_hal_destroy(hal);
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
    struct test_hal *hal = test_hal_create(16);
    struct vmxc_area_set set;
    const struct vmxc_area first = area_at(0x4000, 0x2000);
    const struct vmxc_area second = area_at(0x8000, 0x1000);

    vmxc_area_set_init(&set, &hal->hal);
    area_insert(&set, &first);
    area_insert(&set, &second);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct vmxc_area area = area_at(cases[i].base, cases[i].size);
        ck_assert_msg(vmxc_area_set_insert(&set, &area) == cases[i].status, "case %zu", i);
    }
    ck_assert_uint_eq(set.count, 5);
    ck_assert(vmxc_area_set_is_valid(&set));
    vmxc_area_set_fini(&set);
    test_hal_destroy(hal);
}
END_TEST

START_TEST(overlap_with_the_first_area_of_the_next_leaf_is_seen)
{
    struct test_hal *hal = test_hal_create(64);
    struct vmxc_area_set set;

    vmxc_area_set_init(&set, &hal->hal);
    area_insert_many(&set, 1000);
    ck_assert_uint_gt(set.height, 1);
    for (uint64_t i = 0; i + 1 < 1000; i++) {
        const struct vmxc_area area = area_at((2 * i + 1) * PAGE, 2 * PAGE);
        ck_assert_int_eq(vmxc_area_set_insert(&set, &area), VMXC_ALREADY_EXISTS);
    }
    vmxc_area_set_fini(&set);
    test_hal_destroy(hal);
}
END_TEST

START_TEST(an_update_must_keep_its_place)
{
    struct test_hal *hal = test_hal_create(16);
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

    vmxc_area_set_init(&set, &hal->hal);
    for (size_t i = 0; i < 3; i++)
        area_insert(&set, &areas[i]);
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
    test_hal_destroy(hal);
}
END_TEST

START_TEST(moving_the_first_area_of_a_leaf_renews_the_keys_above)
{
    struct test_hal *hal = test_hal_create(64);
    struct vmxc_area_set set;
    struct vmxc_area found;

    vmxc_area_set_init(&set, &hal->hal);
    for (uint64_t i = 0; i < 1000; i++) {
        const struct vmxc_area area = area_at((4 * i + 2) * PAGE, 2 * PAGE);
        area_insert(&set, &area);
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
        area_assert_same(&found, &up);
    }
    vmxc_area_set_fini(&set);
    test_hal_destroy(hal);
}
END_TEST

/* ---- Lookups ---- */

START_TEST(find_and_find_from_see_bounds_exactly)
{
    struct test_hal *hal = test_hal_create(64);
    struct vmxc_area_set set;
    struct vmxc_area found;

    vmxc_area_set_init(&set, &hal->hal);
    area_insert_many(&set, 2000);
    for (uint64_t i = 0; i < 2000; i++) {
        const struct vmxc_area area = nth_area(i);
        const vmxc_gpa_t end = area.base + area.size;

        ck_assert_int_eq(vmxc_area_set_find(&set, area.base, &found), VMXC_OK);
        area_assert_same(&found, &area);
        ck_assert_int_eq(vmxc_area_set_find(&set, end - 1, &found), VMXC_OK);
        area_assert_same(&found, &area);
        ck_assert_int_eq(vmxc_area_set_find(&set, end, &found), VMXC_NOT_FOUND);
        ck_assert_int_eq(vmxc_area_set_find_from(&set, end - 1, &found), VMXC_OK);
        area_assert_same(&found, &area);
        if (i + 1 < 2000) {
            const struct vmxc_area next = nth_area(i + 1);
            ck_assert_int_eq(vmxc_area_set_find_from(&set, end, &found), VMXC_OK);
            area_assert_same(&found, &next);
        } else {
            ck_assert_int_eq(vmxc_area_set_find_from(&set, end, &found), VMXC_NOT_FOUND);
        }
    }
    ck_assert_int_eq(vmxc_area_set_find(&set, UINT64_MAX, &found), VMXC_NOT_FOUND);
    vmxc_area_set_fini(&set);
    test_hal_destroy(hal);
}
END_TEST

START_TEST(find_from_below_the_first_area_is_the_first_area)
{
    struct test_hal *hal = test_hal_create(64);
    struct vmxc_area_set set;
    struct vmxc_area found;

    vmxc_area_set_init(&set, &hal->hal);
    for (uint64_t i = 500; i-- > 0;) { /* descending: the left edge is lowered each time */
        const struct vmxc_area area = area_at((i + 10) * PAGE, PAGE);
        area_insert(&set, &area);
        ck_assert_int_eq(vmxc_area_set_find_from(&set, 0, &found), VMXC_OK);
        area_assert_same(&found, &area);
        ck_assert_int_eq(vmxc_area_set_find(&set, 0, &found), VMXC_NOT_FOUND);
        ck_assert(vmxc_area_set_is_valid(&set));
    }
    vmxc_area_set_fini(&set);
    test_hal_destroy(hal);
}
END_TEST

/* ---- Splitting ---- */

START_TEST(a_split_moves_the_host_address_along)
{
    struct test_hal *hal = test_hal_create(16);
    struct vmxc_area_set set;
    struct vmxc_area area = area_at(0x10000, 0x4000);
    struct vmxc_area found;

    area.hpa = 0; /* an ordinary host address */
    vmxc_area_set_init(&set, &hal->hal);
    area_insert(&set, &area);
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
    test_hal_destroy(hal);
}
END_TEST

START_TEST(a_split_leaves_no_host_address_where_there_was_none)
{
    struct test_hal *hal = test_hal_create(16);
    struct vmxc_area_set set;
    struct vmxc_area area = area_at(0x10000, 0x4000);
    struct vmxc_area found;

    area.hpa = VMXC_AREA_NO_HPA;
    area.lazy = true;
    vmxc_area_set_init(&set, &hal->hal);
    area_insert(&set, &area);
    ck_assert_int_eq(vmxc_area_set_split(&set, 0x11000), VMXC_OK);
    ck_assert_int_eq(vmxc_area_set_find(&set, 0x11000, &found), VMXC_OK);
    ck_assert_uint_eq(found.hpa, VMXC_AREA_NO_HPA);
    ck_assert(found.lazy);
    ck_assert_uint_eq(found.flags, VMXC_MAP_READ);
    vmxc_area_set_fini(&set);
    test_hal_destroy(hal);
}
END_TEST

/* ---- Cost ---- */

START_TEST(one_operation_among_100000_areas_visits_few_nodes)
{
    const uint64_t count = 100000;
    struct test_hal *hal = test_hal_create(4000);
    struct vmxc_area_set set;
    struct vmxc_area found;

    test_hal_set_window(hal, false);
    vmxc_area_set_init(&set, &hal->hal);
    for (uint64_t i = 0; i < count; i++) {
        const struct vmxc_area area = area_at(4 * i * PAGE, 2 * PAGE);
        area_insert(&set, &area);
    }
    ck_assert_uint_eq(set.height, 3);
    for (uint64_t i = 0; i < count; i += 997) {
        const vmxc_gpa_t base = 4 * i * PAGE;
        const struct vmxc_area area = area_at(base + 2 * PAGE, PAGE);

        hal->lookups = 0;
        ck_assert_int_eq(vmxc_area_set_find(&set, base, &found), VMXC_OK);
        ck_assert_uint_eq(hal->lookups, 3);
        hal->lookups = 0;
        ck_assert_int_eq(vmxc_area_set_split(&set, base + PAGE), VMXC_OK);
        ck_assert_uint_le(hal->lookups, 3 + 3 + 4 * 4);
        hal->lookups = 0;
        area_insert(&set, &area);
        ck_assert_uint_le(hal->lookups, 3 + 4 * 4);
        hal->lookups = 0;
        ck_assert_int_eq(vmxc_area_set_erase(&set, base), VMXC_OK);
        ck_assert_uint_le(hal->lookups, 3 + 3 * 2 + 1);
    }
    ck_assert(vmxc_area_set_is_valid(&set));
    vmxc_area_set_fini(&set);
    test_hal_destroy(hal);
}
END_TEST

/* ---- The area that is remembered ---- */

static enum vmxc_status insert_behind(struct vmxc_area_set *set)
{
    const struct vmxc_area behind = area_at(0x9000, PAGE);

    return vmxc_area_set_insert(set, &behind);
}

static enum vmxc_status update_it(struct vmxc_area_set *set)
{
    const struct vmxc_area shorter = area_at(0x6000, PAGE);

    return vmxc_area_set_update(set, 0x5000, &shorter);
}

static enum vmxc_status erase_it(struct vmxc_area_set *set)
{
    return vmxc_area_set_erase(set, 0x5000);
}

static enum vmxc_status split_it(struct vmxc_area_set *set)
{
    return vmxc_area_set_split(set, 0x7000);
}

static enum vmxc_status fini(struct vmxc_area_set *set)
{
    vmxc_area_set_fini(set);
    return VMXC_OK;
}

static enum vmxc_status (*const set_changes[])(struct vmxc_area_set *) = {insert_behind, update_it,
                                                                          erase_it, split_it, fini};

START_TEST(what_is_remembered_is_what_is_there)
{
    struct test_hal *hal = test_hal_create(16);
    struct vmxc_area_set set;
    const struct vmxc_area area = area_at(0x5000, 4 * PAGE);

    vmxc_area_set_init(&set, &hal->hal);
    area_insert(&set, &area);
    ck_assert_ptr_null(vmxc_area_set_recall(&set, 0x4fff));
    ck_assert_ptr_nonnull(vmxc_area_set_recall(&set, 0x5000));
    hal->lookups = 0;
    area_assert_same(vmxc_area_set_recall(&set, 0x8fff), &area);
    ck_assert_uint_eq(hal->lookups, 0);
    ck_assert_ptr_null(vmxc_area_set_recall(&set, 0x9000));
    area_assert_same(vmxc_area_set_recall(&set, 0x5000), &area);
    ck_assert_int_eq(set_changes[_i](&set), VMXC_OK);
    for (vmxc_gpa_t gpa = 0x4000; gpa < 0xb000; gpa += PAGE) {
        struct vmxc_area found;
        const bool there = vmxc_area_set_find(&set, gpa, &found) == VMXC_OK;
        const struct vmxc_area *const recalled = vmxc_area_set_recall(&set, gpa);

        ck_assert_int_eq(recalled != NULL, there);
        if (there)
            area_assert_same(recalled, &found);
    }
    vmxc_area_set_fini(&set);
    test_hal_destroy(hal);
}
END_TEST

/* ---- The validity check itself ---- */

/* A set of three levels that tests may damage; `leaf` is the second leaf, `root` and `inner` lead to it. */
struct damage {
    struct vmxc_area_set set;
    struct area_node *root, *inner, *leaf;
};

static void damage_init(struct damage *damage, struct test_hal *hal)
{
    vmxc_area_set_init(&damage->set, &hal->hal);
    area_insert_many(&damage->set, 20000);
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
    struct test_hal *hal = test_hal_create(4000);
    struct damage d;

    test_hal_set_window(hal, false);
    damage_init(&d, hal);
    ASSERT_SEEN(&d, d.set.count, 19999);
    ASSERT_SEEN(&d, d.set.height, 2);
    ASSERT_SEEN(&d, d.set.height, AREA_SET_MAX_HEIGHT + 1);
    ASSERT_SEEN(&d, d.set.spare_count, 1);
    ASSERT_SEEN(&d, d.set.spare_hpa, d.set.root_hpa);
    ASSERT_SEEN(&d, d.root->count, 1);
    ASSERT_SEEN(&d, d.inner->count, AREA_INNER_CAPACITY / 4 - 1);
    ASSERT_SEEN(&d, d.inner->count, AREA_INNER_CAPACITY + 1);
    ASSERT_SEEN(&d, d.leaf->count, AREA_LEAF_CAPACITY / 4 - 1);
    ASSERT_SEEN(&d, d.leaf->level, 1);
    ASSERT_SEEN(&d, d.leaf->u.key[0], d.leaf->u.key[0] + PAGE);
    ASSERT_SEEN(&d, d.leaf->u.key[5], d.leaf->u.key[4]);
    ASSERT_SEEN(&d, d.leaf->u.key[5], d.leaf->u.key[5] + 1);
    ASSERT_SEEN(&d, d.leaf->u.leaf.tail[5].size, 3 * PAGE);
    ASSERT_SEEN(&d, d.leaf->u.leaf.tail[5].size, 0);
    ASSERT_SEEN(&d, d.inner->u.key[1], d.inner->u.key[1] - PAGE);
    ASSERT_SEEN(&d, d.inner->u.inner.child_hpa[1], d.inner->u.inner.child_hpa[2]);
    ASSERT_SEEN(&d, d.inner->u.inner.child_hpa[1], UINT64_C(1) << 45); /* no memory */

    d.set.hal = NULL;
    ck_assert(!vmxc_area_set_is_valid(&d.set));
    d.set.hal = &hal->hal;
    vmxc_area_set_fini(&d.set);
    ASSERT_SEEN(&d, d.set.count, 1);
    test_hal_destroy(hal);
}
END_TEST

START_TEST(every_store_is_announced)
{
    struct test_hal *hal = test_hal_create(64);
    struct vmxc_area_set set;
    const struct vmxc_area area = nth_area(7);

    test_hal_watch_stores(hal);
    vmxc_area_set_init(&set, &hal->hal);
    area_insert_many(&set, 7);
    uint64_t before = hal->announced;
    area_insert(&set, &area);
    ck_assert_uint_gt(hal->announced, before);
    before = hal->announced;
    ck_assert_int_eq(vmxc_area_set_update(&set, area.base, &area), VMXC_OK);
    ck_assert_uint_gt(hal->announced, before);
    before = hal->announced;
    ck_assert_int_eq(vmxc_area_set_erase(&set, area.base), VMXC_OK);
    ck_assert_uint_gt(hal->announced, before);
    test_hal_assert_announced(hal);
    vmxc_area_set_fini(&set);
    test_hal_destroy(hal);
}
END_TEST

static Suite *area_set_suite(void)
{
    Suite *suite = suite_create("area_set");
    TCase *refusals = tcase_create("refusals");
    TCase *lookups = tcase_create("lookups");
    TCase *splitting = tcase_create("splitting");
    TCase *cost = tcase_create("cost");
    TCase *validity = tcase_create("validity");

    tcase_add_test(refusals, an_invalid_range_is_refused);
    tcase_add_test(refusals, an_empty_set_answers_and_owns_no_frame);
    tcase_add_test(refusals, every_kind_of_overlap_is_refused);
    tcase_add_test(refusals, overlap_with_the_first_area_of_the_next_leaf_is_seen);
    tcase_add_test(refusals, an_update_must_keep_its_place);
    tcase_add_test(refusals, moving_the_first_area_of_a_leaf_renews_the_keys_above);
    tcase_set_timeout(refusals, 120);
    suite_add_tcase(suite, refusals);
    tcase_add_test(lookups, find_and_find_from_see_bounds_exactly);
    tcase_add_test(lookups, find_from_below_the_first_area_is_the_first_area);
    tcase_add_loop_test(lookups, what_is_remembered_is_what_is_there, 0, 5);
    tcase_set_timeout(lookups, 120);
    suite_add_tcase(suite, lookups);
    tcase_add_test(splitting, a_split_moves_the_host_address_along);
    tcase_add_test(splitting, a_split_leaves_no_host_address_where_there_was_none);
    tcase_set_timeout(splitting, 120);
    suite_add_tcase(suite, splitting);
    tcase_add_test(cost, one_operation_among_100000_areas_visits_few_nodes);
    tcase_set_timeout(cost, 120);
    suite_add_tcase(suite, cost);
    tcase_add_test(validity, the_validity_check_sees_damage);
    tcase_add_test(validity, every_store_is_announced);
    tcase_set_timeout(validity, 120);
    suite_add_tcase(suite, validity);
    return suite;
}

int main(void)
{
    return run_suite(area_set_suite());
}
