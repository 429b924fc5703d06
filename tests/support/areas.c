/* SPDX-License-Identifier: Apache-2.0 */
#include "support/areas.h"

#include "support/require.h"

struct vmxc_area area_at(vmxc_gpa_t base, uint64_t size)
{
    return (struct vmxc_area){
        .base = base, .size = size, .hpa = base + 0x100000000, .flags = VMXC_MAP_READ};
}

struct vmxc_area nth_area(uint64_t i)
{
    return area_at(2 * i * VMXC_PAGE_SIZE, VMXC_PAGE_SIZE);
}

void area_insert(struct vmxc_area_set *set, const struct vmxc_area *area)
{
    require_uint(vmxc_area_set_insert(set, area), ==, VMXC_OK);
}

void area_insert_many(struct vmxc_area_set *set, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        const struct vmxc_area area = nth_area(i);
        area_insert(set, &area);
    }
}

void area_assert_same(const struct vmxc_area *a, const struct vmxc_area *b)
{
    require_uint(a->base, ==, b->base);
    require_uint(a->size, ==, b->size);
    require_that(a->backend == b->backend);
    require_uint(a->hpa, ==, b->hpa);
    require_uint(a->flags, ==, b->flags);
    require_uint(a->lazy, ==, b->lazy);
}
