/* SPDX-License-Identifier: Apache-2.0 */
#include "support/shadow.h"

#include <stdlib.h>
#include <string.h>

#define PAGE UINT64_C(4096)

static uint64_t end_of(const struct shadow_area *area)
{
    return area->base + area->size;
}

void shadow_clear(struct shadow *shadow)
{
    shadow->area_count = 0;
    shadow->page_count = 0;
}

/* Index of the first area that ends above gpa. */
static size_t area_from(const struct shadow *shadow, uint64_t gpa)
{
    size_t i = 0;
    while (i < shadow->area_count && end_of(&shadow->area[i]) <= gpa)
        i++;
    return i;
}

/* Index of the first backed page at or above gpa. */
static size_t page_from(const struct shadow *shadow, uint64_t gpa)
{
    size_t low = 0, high = shadow->page_count;
    while (low < high) {
        const size_t middle = (low + high) / 2;
        if (shadow->page[middle].gpa < gpa)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

const struct shadow_area *shadow_find(const struct shadow *shadow, uint64_t gpa)
{
    const size_t i = area_from(shadow, gpa);
    return i < shadow->area_count && shadow->area[i].base <= gpa ? &shadow->area[i] : NULL;
}

bool shadow_overlaps(const struct shadow *shadow, uint64_t base, uint64_t size)
{
    const size_t i = area_from(shadow, base);
    return i < shadow->area_count && shadow->area[i].base < base + size;
}

bool shadow_covers(const struct shadow *shadow, uint64_t base, uint64_t size)
{
    for (uint64_t at = base; at < base + size;) {
        const struct shadow_area *area = shadow_find(shadow, at);
        if (area == NULL)
            return false;
        at = end_of(area);
    }
    return true;
}

void shadow_insert(struct shadow *shadow, const struct shadow_area *area)
{
    const size_t i = area_from(shadow, area->base);
    if (shadow->area_count == SHADOW_AREAS)
        abort();
    memmove(&shadow->area[i + 1], &shadow->area[i],
            (shadow->area_count - i) * sizeof(shadow->area[0]));
    shadow->area[i] = *area;
    shadow->area_count++;
}

static void cut(struct shadow *shadow, uint64_t gpa)
{
    const size_t i = area_from(shadow, gpa);
    if (i == shadow->area_count || shadow->area[i].base >= gpa)
        return;
    struct shadow_area upper = shadow->area[i];
    const uint64_t kept = gpa - upper.base;
    upper.base = gpa;
    upper.size -= kept;
    upper.hpa += upper.linear ? kept : 0;
    shadow->area[i].size = kept;
    shadow_insert(shadow, &upper);
}

void shadow_remove(struct shadow *shadow, uint64_t base, uint64_t size)
{
    cut(shadow, base);
    cut(shadow, base + size);
    const size_t first = area_from(shadow, base);
    size_t last = first;
    while (last < shadow->area_count && shadow->area[last].base < base + size)
        last++;
    memmove(&shadow->area[first], &shadow->area[last],
            (shadow->area_count - last) * sizeof(shadow->area[0]));
    shadow->area_count -= last - first;

    const size_t first_page = page_from(shadow, base), last_page = page_from(shadow, base + size);
    memmove(&shadow->page[first_page], &shadow->page[last_page],
            (shadow->page_count - last_page) * sizeof(shadow->page[0]));
    shadow->page_count -= last_page - first_page;
}

void shadow_protect(struct shadow *shadow, uint64_t base, uint64_t size, uint32_t flags)
{
    cut(shadow, base);
    cut(shadow, base + size);
    for (size_t i = area_from(shadow, base);
         i < shadow->area_count && shadow->area[i].base < base + size; i++)
        shadow->area[i].flags = flags;
}

void shadow_back(struct shadow *shadow, uint64_t gpa, uint64_t hpa)
{
    const uint64_t page = gpa & ~(PAGE - 1);
    const size_t i = page_from(shadow, page);
    if (shadow->page_count == SHADOW_PAGES)
        abort();
    memmove(&shadow->page[i + 1], &shadow->page[i],
            (shadow->page_count - i) * sizeof(shadow->page[0]));
    shadow->page[i] = (struct shadow_page){.gpa = page, .hpa = hpa & ~(PAGE - 1)};
    shadow->page_count++;
}

bool shadow_translate(const struct shadow *shadow, uint64_t gpa, uint64_t *hpa)
{
    const struct shadow_area *area = shadow_find(shadow, gpa);
    if (area == NULL)
        return false;
    if (area->linear) {
        *hpa = area->hpa + (gpa - area->base);
        return true;
    }
    const uint64_t page = gpa & ~(PAGE - 1);
    const size_t i = page_from(shadow, page);
    if (i == shadow->page_count || shadow->page[i].gpa != page)
        return false;
    *hpa = shadow->page[i].hpa + (gpa - page);
    return true;
}

uint64_t shadow_contiguous(const struct shadow *shadow, uint64_t gpa)
{
    const struct shadow_area *area = shadow_find(shadow, gpa);
    uint64_t hpa, next;
    if (area == NULL || !shadow_translate(shadow, gpa, &hpa))
        return 0;
    if (area->linear)
        return end_of(area) - gpa;
    uint64_t length = PAGE - (gpa & (PAGE - 1));
    while (gpa + length < end_of(area) && shadow_translate(shadow, gpa + length, &next) &&
           next == hpa + length)
        length += PAGE;
    return length;
}

bool shadow_uses_frame(const struct shadow *shadow, uint64_t hpa)
{
    for (size_t i = 0; i < shadow->page_count; i++)
        if (shadow->page[i].hpa == hpa)
            return true;
    return false;
}
