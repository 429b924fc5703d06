/* SPDX-License-Identifier: Apache-2.0 */
/* EPT: running out of frames at every point of every operation changes nothing. */
#include <check.h>
#include <stdlib.h>

#include "support/ept_fixture.h"

#define HOST (4 * GB)
#define BASE (GB - 2 * MB - 8 * KB)

struct scene {
    struct ept_fixture f;
    uint64_t supplied, taken_back;
};

static enum vmxc_status supply(void *context, vmxc_gpa_t gpa, vmxc_hpa_t *page_hpa)
{
    struct scene *const scene = context;

    scene->supplied++;
    *page_hpa = HOST + gpa;
    return VMXC_OK;
}

static void take_back(void *context, uint64_t gpa, uint64_t hpa, uint64_t size)
{
    struct scene *const scene = context;

    ck_assert_uint_eq(hpa, HOST + gpa);
    ck_assert_uint_eq(size, 4 * KB);
    scene->taken_back++;
}

/* ---- Operations: each on the mapping of `prepare` ----------------------------------------------------- */

/* Pages of every size, with holes between: [GB, 2 GB) and [3 GB, 3 GB + 4 MB + 4 KB). */
static void prepare(struct scene *scene)
{
    ept_fixture_map(&scene->f, GB, HOST + GB, GB, RWX);
    ept_fixture_map(&scene->f, 3 * GB, HOST + 3 * GB, 4 * MB + 4 * KB, RW);
    test_hal_clear_log(scene->f.hal);
}

static enum vmxc_status map_small(struct scene *scene)
{
    return vmxc_ept_map(&scene->f.ept, BASE, HOST + 4 * KB, 2 * MB + 8 * KB, RW);
}

static enum vmxc_status map_mixed(struct scene *scene)
{
    return vmxc_ept_map(&scene->f.ept, 2 * GB, HOST + 2 * GB, GB, RW);
}

static enum vmxc_status map_far(struct scene *scene)
{
    return vmxc_ept_map(&scene->f.ept, 512 * GB - 4 * KB, HOST - 4 * KB, 8 * KB, RW);
}

static enum vmxc_status map_behind(struct scene *scene)
{
    /* Fills up an existing page table, then needs two more. */
    return vmxc_ept_map(&scene->f.ept, 3 * GB + 4 * MB + 4 * KB, HOST + 8 * KB, 5 * MB, RW);
}

static enum vmxc_status map_no_access(struct scene *scene)
{
    return vmxc_ept_map(&scene->f.ept, 4 * GB - 4 * KB, HOST - 4 * KB, 8 * KB, VMXC_MAP_NONE);
}

static enum vmxc_status map_region(struct scene *scene)
{
    return vmxc_ept_map_region(&scene->f.ept, 3 * GB + 6 * MB - 8 * KB, 2 * MB + 16 * KB, RW,
                               supply, take_back, scene);
}

static enum vmxc_status remap_small(struct scene *scene)
{
    return vmxc_ept_remap(&scene->f.ept, GB + 4 * KB, 2 * HOST, 4 * KB, RW, test_hal_release,
                          scene->f.hal);
}

static enum vmxc_status remap_large(struct scene *scene)
{
    return vmxc_ept_remap(&scene->f.ept, 2 * GB - 4 * KB, 2 * HOST + 2 * GB - 4 * KB, GB + 8 * KB,
                          RW, test_hal_release, scene->f.hal);
}

static enum vmxc_status remap_region(struct scene *scene)
{
    return vmxc_ept_remap_region(&scene->f.ept, 3 * GB - 4 * KB, 2 * MB, RW, supply, take_back,
                                 NULL, scene);
}

static enum vmxc_status unmap_page(struct scene *scene)
{
    return vmxc_ept_unmap(&scene->f.ept, GB + 4 * KB, 4 * KB, test_hal_release, scene->f.hal);
}

static enum vmxc_status unmap_two_cuts(struct scene *scene)
{
    return vmxc_ept_unmap(&scene->f.ept, GB + 4 * KB, GB - 8 * KB, test_hal_release, scene->f.hal);
}

static enum vmxc_status unmap_two_pages(struct scene *scene)
{
    return vmxc_ept_unmap(&scene->f.ept, 2 * GB - 4 * KB, GB + 8 * KB, test_hal_release,
                          scene->f.hal);
}

static enum vmxc_status protect_middle(struct scene *scene)
{
    return vmxc_ept_protect(&scene->f.ept, GB + 512 * MB - 4 * KB, 8 * KB, VMXC_MAP_READ);
}

static enum vmxc_status protect_edges(struct scene *scene)
{
    return vmxc_ept_protect(&scene->f.ept, GB + 2 * MB, 2 * GB, VMXC_MAP_NONE);
}

/* Frames: how many allocations the operation makes when all succeed; more are not needed, fewer not enough. */
static const struct {
    const char *name;
    enum vmxc_status (*run)(struct scene *scene);
    uint64_t frames;
    bool window;
} operations[] = {
    {"map 4-KByte pages", map_small, 3, true},      /* PD, 2 PT */
    {"map a gigabyte", map_mixed, 0, true},         /* one entry */
    {"map across a PDPT", map_far, 5, true},        /* PD, PT; PDPT, PD, PT */
    {"map behind a page", map_behind, 2, true},     /* 2 PT */
    {"map without access", map_no_access, 3, true}, /* PT; PD, PT */
    {"map supplied pages", map_region, 2, true},    /* 3 PT, one exists */
    {"map supplied pages", map_region, 2, false},   /* without the window */
    {"replace one page", remap_small, 5, true},     /* aside: PDPT, PD, PT; 2 for splitting */
    {"replace many pages", remap_large, 8, false},  /* aside: PDPT, 2 PD, 2 PT; 3 for splitting */
    {"replace by supplied pages", remap_region, 6, true},   /* aside: PDPT, 2 PD, 2 PT; 1 */
    {"unmap one page", unmap_page, 2, true},                /* PD, PT */
    {"unmap all but two pages", unmap_two_cuts, 3, true},   /* PD, 2 PT */
    {"unmap parts of two pages", unmap_two_pages, 3, true}, /* PD, PT; PT */
    {"protect around the middle", protect_middle, 3, true}, /* PD, 2 PT */
    {"protect parts of two pages", protect_edges, 1, true}, /* PD */
};

#define OPERATIONS ((int)(sizeof(operations) / sizeof(operations[0])))

/* The n-th allocation fails. False if the operation did not make that many. */
static bool fails_without_a_trace(struct scene *scene, int operation, uint64_t n)
{
    struct test_hal *const hal = scene->f.hal;
    uint8_t *const before = test_hal_snapshot(hal);

    scene->supplied = scene->taken_back = 0;
    test_hal_clear_log(hal);
    hal->fail_at = n;
    const enum vmxc_status status = operations[operation].run(scene);
    const bool failed = hal->fail_at == 0;
    hal->fail_at = 0;
    if (failed) {
        ck_assert_int_eq(status, VMXC_NO_MEMORY);
        ck_assert_msg(test_hal_equals(hal, before), "%s: allocation %llu left a trace",
                      operations[operation].name, (unsigned long long)n);
        ck_assert_uint_eq(hal->invalidations, 0);
        ck_assert_uint_eq(test_hal_count(hal, TEST_HAL_RELEASE), 0);
        ck_assert_uint_eq(scene->supplied, scene->taken_back);
    } else {
        ck_assert_int_eq(status, VMXC_OK);
        ck_assert_uint_eq(scene->taken_back, 0);
    }
    free(before);
    return failed;
}

START_TEST(an_operation_without_memory_changes_nothing)
{
    struct scene scene = {.f = ept_fixture_begin()};
    uint64_t failures = 0;

    test_hal_set_window(scene.f.hal, operations[_i].window);
    prepare(&scene);
    while (fails_without_a_trace(&scene, _i, failures + 1))
        failures++;
    ck_assert_msg(failures == operations[_i].frames, "%s: %llu allocations, expected %llu",
                  operations[_i].name, (unsigned long long)failures,
                  (unsigned long long)operations[_i].frames);
    ept_fixture_end(&scene.f);
}
END_TEST

/* Frames that the library must refuse. */
START_TEST(an_operation_with_odd_frames_changes_nothing)
{
    struct scene scene = {.f = ept_fixture_begin()};

    prepare(&scene);
    for (enum test_hal_oddity odd = TEST_HAL_ADDRESS_ZERO; odd <= TEST_HAL_TOO_WIDE; odd++) {
        if (operations[_i].frames == 0)
            break;
        uint8_t *const before = test_hal_snapshot(scene.f.hal);
        scene.f.hal->oddity = odd;
        scene.f.hal->odd_frames_returned = 0;
        ck_assert_int_eq(operations[_i].run(&scene), VMXC_BAD_STATE);
        ck_assert_uint_eq(scene.f.hal->odd_frames_returned, 1);
        scene.f.hal->oddity = TEST_HAL_SOUND;
        ck_assert_msg(test_hal_equals(scene.f.hal, before), "%s", operations[_i].name);
        free(before);
    }
    ept_fixture_end(&scene.f);
}
END_TEST

int main(void)
{
    Suite *const suite = suite_create("ept_failure");
    TCase *const tcase = tcase_create("ept_failure");

    suite_add_tcase(suite, tcase);
    tcase_set_timeout(tcase, 60);
    tcase_add_loop_test(tcase, an_operation_without_memory_changes_nothing, 0, OPERATIONS);
    tcase_add_loop_test(tcase, an_operation_with_odd_frames_changes_nothing, 0, OPERATIONS);
    SRunner *const runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
