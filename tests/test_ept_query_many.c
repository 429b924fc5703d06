/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vmxc_ept_query_many against vmxc_ept_query, address by address: hierarchies of pages of all sizes, mappings without
 * rights and holes; addresses in random order, sorted, clustered and alike; with and without a direct-map window.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/ept_fixture.h"
#include "support/rng.h"
#include "support/suite.h"

#define SEED UINT64_C(0x9e2e0a17)

enum { MOST = 200, ROUNDS = 400 };

struct many {
    vmxc_gpa_t gpa[MOST];
    struct vmxc_ept_mapping mapping[MOST];
    enum vmxc_status status[MOST];
};

/* What no query fills in: shows which members were left alone. */
static void fill_with_marks(struct many *many)
{
    memset(many->mapping, 0x5a, sizeof(many->mapping));
    memset(many->status, 0x5a, sizeof(many->status));
}

static void assert_same_as_one_by_one(const struct vmxc_ept *ept, const struct many *many,
                                      size_t count, size_t mapped)
{
    struct many expected;
    size_t expected_mapped = 0;

    fill_with_marks(&expected);
    for (size_t i = 0; i < count; i++) {
        expected.status[i] = vmxc_ept_query(ept, many->gpa[i], &expected.mapping[i]);
        expected_mapped += expected.status[i] == VMXC_OK;
    }
    for (size_t i = 0; i < MOST; i++) {
        const struct vmxc_ept_mapping *const a = &many->mapping[i], *const b = &expected.mapping[i];
        ck_assert_msg(many->status[i] == expected.status[i] && a->gpa == b->gpa &&
                          a->hpa == b->hpa && a->page_size == b->page_size &&
                          a->flags == b->flags &&
                          memcmp(&a->accessed, &b->accessed, sizeof(a->accessed)) == 0 &&
                          memcmp(&a->dirty, &b->dirty, sizeof(a->dirty)) == 0,
                      "address %zu of %zu, 0x%llx: differs from vmxc_ept_query", i, count,
                      (unsigned long long)many->gpa[i]);
    }
    ck_assert_uint_eq(mapped, expected_mapped);
}

static void query_and_compare(const struct vmxc_ept *ept, struct many *many, size_t count)
{
    fill_with_marks(many);
    const size_t mapped = vmxc_ept_query_many(ept, many->gpa, count, many->mapping, many->status);
    assert_same_as_one_by_one(ept, many, count, mapped);
}

/* ---- Addresses ---- */

/* In or near one of the places where something may be mapped, or anywhere, the span's outside included. */
static uint64_t any_address(struct rng *rng)
{
    static const uint64_t places[] = {0, GB, 511 * GB, UINT64_C(1) << 45};

    switch (rng_below(rng, 8)) {
    case 0:
        return rng_next(rng);
    case 1:
        return rng_next(rng) >> 18; /* the span */
    default:
        return places[rng_below(rng, 4)] + rng_below(rng, 8 * MB);
    }
}

static int compare_addresses(const void *left, const void *right)
{
    const uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;

    return (a > b) - (a < b);
}

static void choose_addresses(struct rng *rng, struct many *many, size_t count)
{
    const unsigned stay = (unsigned)rng_below(rng, 4) * 33; /* percent that are close to the last */

    memset(many->gpa, 0, sizeof(many->gpa));
    for (size_t i = 0; i < count; i++)
        many->gpa[i] = i > 0 && rng_chance(rng, stay)
                           ? many->gpa[i - 1] + rng_below(rng, 64 * KB) - 32 * KB
                           : any_address(rng);
    if (rng_chance(rng, 33))
        qsort(many->gpa, count, sizeof(many->gpa[0]), compare_addresses);
}

/* ---- Mappings ---- */

static void map_something(struct rng *rng, struct ept_fixture *f)
{
    static const vmxc_map_flags flags[] = {RWX, RW, VMXC_MAP_NONE, VMXC_MAP_READ};

    for (unsigned i = 0; i < 40; i++) {
        const uint64_t gpa = any_address(rng) & (VMXC_BITS(45, 12));
        const uint64_t size = rng_chance(rng, 20) ? GB : (1 + rng_below(rng, 1024)) * 4 * KB;
        const uint64_t hpa = rng_chance(rng, 50) ? gpa : rng_below(rng, 1 << 20) << 12;
        const uint64_t aligned = size == GB ? gpa & ~(GB - 1) : gpa;
        const enum vmxc_status status =
            vmxc_ept_map(&f->ept, aligned, hpa, size, flags[rng_below(rng, 4)]);
        ck_assert(status == VMXC_OK || status == VMXC_ALREADY_EXISTS ||
                  status == VMXC_INVALID_INPUT || status == VMXC_NO_MEMORY);
    }
}

static const struct {
    uint8_t levels, largest_page;
    bool has_window;
} kinds[] = {{4, VMXC_PAGE_LEVEL_1G, true},
             {4, VMXC_PAGE_LEVEL_4K, true},
             {4, VMXC_PAGE_LEVEL_2M, false},
             {5, VMXC_PAGE_LEVEL_1G, true}};

START_TEST(random_addresses_are_answered_as_one_by_one)
{
    struct vmxc_ept_config config = ept_fixture_config();
    struct rng rng = rng_for_sequence(SEED, (uint64_t)_i);
    struct many many;

    printf("seed %#llx, kind %d\n", (unsigned long long)SEED, _i);
    config.levels = kinds[_i].levels;
    config.largest_page = kinds[_i].largest_page;
    struct ept_fixture f = ept_fixture_begin_with(&config);
    test_hal_set_window(f.hal, kinds[_i].has_window);
    map_something(&rng, &f);
    for (unsigned round = 0; round < ROUNDS; round++) {
        const size_t count = rng_below(&rng, MOST + 1);
        choose_addresses(&rng, &many, count);
        query_and_compare(&f.ept, &many, count);
    }
    ept_fixture_end(&f);
}
END_TEST

/* ---- Cases that random ones may miss ---- */

START_TEST(an_uninitialized_hierarchy_answers_each_address)
{
    const struct vmxc_ept ept = {.hal = NULL};
    struct many many = {.gpa = {0}};

    fill_with_marks(&many);
    ck_assert_uint_eq(vmxc_ept_query_many(&ept, many.gpa, 3, many.mapping, many.status), 0);
    assert_same_as_one_by_one(&ept, &many, 3, 0);
    ck_assert_int_eq(many.status[2], VMXC_BAD_STATE);
}
END_TEST

START_TEST(no_address_is_no_answer)
{
    struct ept_fixture f = ept_fixture_begin();

    ck_assert_uint_eq(vmxc_ept_query_many(&f.ept, NULL, 0, NULL, NULL), 0);
    ept_fixture_end(&f);
}
END_TEST

/* The table of the last look-up serves the next ones: a page after a table, a hole, another size, the outside. */
START_TEST(neighbours_of_different_kinds_are_told_apart)
{
    static const vmxc_gpa_t gpas[] = {0x1000,       0x2000, 2 * MB,       4 * MB,     0x1fff,
                                      0x3000,       GB,     GB + 2 * MB,  0x1000,     UINT64_MAX,
                                      VMXC_BIT(46), 0x1000, VMXC_BIT(45), 2 * MB - 1, 6 * MB,
                                      6 * MB + 1,   8 * MB, 0x1000,       0x1001};
    struct ept_fixture f = ept_fixture_begin();
    struct many many;

    ept_fixture_map(&f, 0x1000, 0x5000, 4 * KB, RWX);
    ept_fixture_map(&f, 2 * MB, 64 * MB, 2 * MB, RWX);
    ept_fixture_map(&f, 6 * MB, 66 * MB, 4 * KB, VMXC_MAP_NONE);
    ept_fixture_map(&f, GB, 4 * GB, GB, RW);
    memset(&many, 0, sizeof(many));
    for (size_t count = 1; count <= sizeof(gpas) / sizeof(gpas[0]); count++) {
        memcpy(many.gpa, gpas, count * sizeof(gpas[0]));
        query_and_compare(&f.ept, &many, count);
    }
    ept_fixture_end(&f);
}
END_TEST

int main(void)
{
    Suite *const suite = suite_create("ept_query_many");
    TCase *const tcase = tcase_create("ept_query_many");

    suite_add_tcase(suite, tcase);
    tcase_add_test(tcase, an_uninitialized_hierarchy_answers_each_address);
    tcase_add_test(tcase, no_address_is_no_answer);
    tcase_add_test(tcase, neighbours_of_different_kinds_are_told_apart);
    tcase_add_loop_test(tcase, random_addresses_are_answered_as_one_by_one, 0,
                        (int)(sizeof(kinds) / sizeof(kinds[0])));
    return run_suite(suite);
}
