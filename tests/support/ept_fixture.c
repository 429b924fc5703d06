/* SPDX-License-Identifier: Apache-2.0 */
#include "support/ept_fixture.h"

#include <check.h>

struct vmxc_ept_config ept_fixture_config(void)
{
    return (struct vmxc_ept_config){.levels = 4,
                                    .maxphyaddr = 46,
                                    .largest_page = VMXC_PAGE_LEVEL_1G,
                                    .accessed_dirty = true,
                                    .table_memory_type = VMXC_MEMORY_TYPE_WB};
}

struct ept_fixture ept_fixture_begin_with(const struct vmxc_ept_config *config)
{
    struct ept_fixture fixture = {.hal = test_hal_create(2048)};

    ck_assert_int_eq(vmxc_ept_init(&fixture.ept, &fixture.hal->hal, config), VMXC_OK);
    test_hal_clear_log(fixture.hal);
    return fixture;
}

struct ept_fixture ept_fixture_begin(void)
{
    const struct vmxc_ept_config config = ept_fixture_config();

    return ept_fixture_begin_with(&config);
}

void ept_fixture_check(const struct ept_fixture *fixture)
{
    const uint64_t tables = ept_check_structure(fixture->hal, &fixture->ept);

    ck_assert(vmxc_ept_is_valid(&fixture->ept));
    ck_assert_uint_eq(tables, fixture->hal->frames_in_use);
    ck_assert_uint_eq(tables, vmxc_ept_count_tables(&fixture->ept));
}

void ept_fixture_end(struct ept_fixture *fixture)
{
    ept_fixture_check(fixture);
    vmxc_ept_fini(&fixture->ept, NULL, NULL);
    test_hal_destroy(fixture->hal);
}

void ept_fixture_map(struct ept_fixture *fixture, uint64_t gpa, uint64_t hpa, uint64_t size,
                     vmxc_map_flags flags)
{
    ck_assert_int_eq(vmxc_ept_map(&fixture->ept, gpa, hpa, size, flags), VMXC_OK);
}

void ept_fixture_unmap(struct ept_fixture *fixture, uint64_t gpa, uint64_t size)
{
    ck_assert_int_eq(vmxc_ept_unmap(&fixture->ept, gpa, size, test_hal_release, fixture->hal),
                     VMXC_OK);
}

void ept_fixture_protect(struct ept_fixture *fixture, uint64_t gpa, uint64_t size,
                         vmxc_map_flags flags)
{
    ck_assert_int_eq(vmxc_ept_protect(&fixture->ept, gpa, size, flags), VMXC_OK);
}

void ept_fixture_assert_mapped(const struct ept_fixture *fixture, uint64_t gpa, uint64_t hpa,
                               uint64_t page_size, vmxc_map_flags flags)
{
    const struct ept_walk walk = ept_check_walk(fixture->hal, &fixture->ept, gpa);
    const uint64_t offset = gpa & (page_size - 1);
    struct vmxc_ept_mapping mapping;

    ck_assert_int_eq(vmxc_ept_query(&fixture->ept, gpa, &mapping), VMXC_OK);
    ck_assert_uint_eq(mapping.gpa, gpa - offset);
    ck_assert_uint_eq(mapping.hpa, hpa - offset);
    ck_assert_uint_eq(mapping.page_size, page_size);
    ck_assert_uint_eq(mapping.flags, flags);
    ck_assert_int_eq(walk.is_mapped, (flags & VMXC_MAP_ACCESS) != 0);
    if (walk.is_mapped) {
        ck_assert_uint_eq(walk.hpa, hpa);
        ck_assert_uint_eq(walk.rights & 7, flags & 7);
        ck_assert_int_eq((walk.rights & 0x400) != 0, (flags & VMXC_MAP_USER) != 0);
    }
}

void ept_fixture_assert_unmapped(const struct ept_fixture *fixture, uint64_t gpa)
{
    struct vmxc_ept_mapping mapping;

    ck_assert_int_eq(vmxc_ept_query(&fixture->ept, gpa, &mapping), VMXC_NOT_FOUND);
    ck_assert(!ept_check_walk(fixture->hal, &fixture->ept, gpa).is_mapped);
}
