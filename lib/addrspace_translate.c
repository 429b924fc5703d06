/* SPDX-License-Identifier: Apache-2.0 */
/* The address space: what stands behind an address, and in which runs. */
#include "internal/addrspace.h"
#include "internal/ept.h"

/* A mapped page; what else its entry says is the area's business. */
struct page {
    vmxc_gpa_t gpa;
    vmxc_hpa_t hpa;
    uint64_t size;
};

/* The area and the mapped page that hold `gpa`. */
static inline enum vmxc_status find_page(const struct vmxc_addrspace *space, vmxc_gpa_t gpa,
                                         struct vmxc_area *area, struct page *page)
{
    struct vmxc_ept_node node;

    if (!vmxc_addrspace_is_initialized(space))
        return VMXC_BAD_STATE;
    if (!vmxc_addrspace_contains(space, gpa, 1))
        return VMXC_INVALID_INPUT;
    /* The entry first: it comes from memory while the area is looked for. */
    const uint64_t raw = vmxc_ept_descend(&space->ept, gpa, &node);
    VMXC_TRY(vmxc_area_set_find(&space->areas, gpa, area));
    if (raw == 0)
        return VMXC_NOT_BACKED;
    page->size = VMXC_EPT_ENTRY_SPAN(node.level);
    page->gpa = gpa & ~(page->size - 1);
    page->hpa = raw & VMXC_EPT_ADDRESS;
    return VMXC_OK;
}

static struct vmxc_translation translation_of(vmxc_gpa_t gpa, const struct vmxc_area *area,
                                              const struct page *page)
{
    return (struct vmxc_translation){
        .hpa = page->hpa + (gpa - page->gpa), .flags = area->flags, .page_size = page->size};
}

enum vmxc_status vmxc_addrspace_translate(const struct vmxc_addrspace *space, vmxc_gpa_t gpa,
                                          struct vmxc_translation *translation)
{
    struct vmxc_area area;
    struct page page;

    VMXC_TRY(find_page(space, gpa, &area, &page));
    *translation = translation_of(gpa, &area, &page);
    return VMXC_OK;
}

/* ---- How far a translation reaches ---- */

/* The end of a contiguous run, in both address spaces. */
struct reach {
    vmxc_gpa_t gpa;
    vmxc_hpa_t hpa;
};

/* Adds a page to the run, or ends the walk. */
static enum vmxc_status extend_reach(void *context, const struct vmxc_ept_mapping *mapping)
{
    struct reach *reach = context;

    if (mapping->gpa != reach->gpa || mapping->hpa != reach->hpa)
        return VMXC_NOT_FOUND;
    reach->gpa += mapping->page_size;
    reach->hpa += mapping->page_size;
    return VMXC_OK;
}

/* The end of the host-contiguous run of pages from `page` on; looks VMXC_TRANSLATE_SCAN bytes ahead. */
static vmxc_gpa_t find_run_end(const struct vmxc_addrspace *space, const struct vmxc_area *area,
                               const struct page *page)
{
    struct reach reach = {.gpa = page->gpa + page->size, .hpa = page->hpa + page->size};
    const vmxc_gpa_t area_end = vmxc_area_end(area);

    if (reach.gpa < area_end) {
        const uint64_t ahead = vmxc_smaller(area_end - reach.gpa, VMXC_TRANSLATE_SCAN);
        const enum vmxc_status why_it_ended =
            vmxc_ept_walk(&space->ept, reach.gpa, ahead, extend_reach, &reach);
        (void)why_it_ended;
    }
    return vmxc_smaller(reach.gpa, area_end);
}

enum vmxc_status vmxc_addrspace_translate_with_limit(const struct vmxc_addrspace *space,
                                                     vmxc_gpa_t gpa,
                                                     struct vmxc_translation_limit *limit)
{
    struct vmxc_area area;
    struct page page;

    VMXC_TRY(find_page(space, gpa, &area, &page));
    const bool linear = area.hpa != VMXC_AREA_NO_HPA;
    const vmxc_gpa_t run_end = linear ? vmxc_area_end(&area) : find_run_end(space, &area, &page);
    *limit = (struct vmxc_translation_limit){
        .translation = translation_of(gpa, &area, &page),
        .area_base = area.base,
        .area_size = area.size,
        .contiguous = run_end - gpa,
    };
    return VMXC_OK;
}

/* ---- Runs of mappings ---- */

struct run_visit {
    struct vmxc_mapping_run run; /* size 0: none yet */
    vmxc_run_visit_fn visit;
    void *context;
};

static bool continues_run(const struct vmxc_mapping_run *run,
                          const struct vmxc_ept_mapping *mapping)
{
    return run->size != 0 && run->gpa + run->size == mapping->gpa &&
           run->hpa + run->size == mapping->hpa && run->page_size == mapping->page_size &&
           run->flags == mapping->flags;
}

static enum vmxc_status add_to_run(void *context, const struct vmxc_ept_mapping *mapping)
{
    struct run_visit *visit = context;

    if (continues_run(&visit->run, mapping)) {
        visit->run.size += mapping->page_size;
        return VMXC_OK;
    }
    if (visit->run.size != 0)
        VMXC_TRY(visit->visit(visit->context, &visit->run));
    visit->run = (struct vmxc_mapping_run){.gpa = mapping->gpa,
                                           .hpa = mapping->hpa,
                                           .size = mapping->page_size,
                                           .page_size = mapping->page_size,
                                           .flags = mapping->flags};
    return VMXC_OK;
}

enum vmxc_status vmxc_addrspace_for_each_mapping(const struct vmxc_addrspace *space,
                                                 vmxc_run_visit_fn visit, void *context)
{
    struct run_visit runs = {.visit = visit, .context = context};

    if (!vmxc_addrspace_is_initialized(space))
        return VMXC_BAD_STATE;
    VMXC_TRY(vmxc_ept_walk(&space->ept, space->base, space->size, add_to_run, &runs));
    return runs.run.size == 0 ? VMXC_OK : visit(context, &runs.run);
}
