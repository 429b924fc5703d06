/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Each page that experiments use has an image beside it: what the vector says is there. Between two cases both hold the
 * current template.
 *
 *     template -> changes of the case -> guest runs -> report: page against image, difference undone -> changes undone
 */
#include "payload.h"

#include "internal/string.h"
#include "vmxcore/insn_native.h"

#define PAGE_WORDS  (VMXC_PAGE_SIZE / 8)
#define NO_TEMPLATE UINT32_MAX
#define CR4_OSFXSR  UINT64_C(0x200)
#define MAX_CHANGES 16384

static struct page {
    uint64_t *words, *image;
    uint64_t hpa;
} * pages;
static uint32_t page_count;
static const struct batch *current_batch;
static uint32_t current_template = NO_TEMPLATE;

static struct change {
    uint32_t reference;
    uint64_t before;
} * changes;
static uint32_t change_count;

/* ---- A heap that never gives anything back, and the HAL over it ---- */

static uint64_t heap_next;
static uint64_t free_frames;

void heap_init(uint64_t start)
{
    heap_next = (start + VMXC_PAGE_MASK) & ~VMXC_PAGE_MASK;
    free_frames = 0;
}

void *heap_take(uint64_t size)
{
    const uint64_t start = heap_next;

    heap_next += (size + VMXC_PAGE_MASK) & ~VMXC_PAGE_MASK;
    if (heap_next > HEAP_END) {
        console_text("payload: the batch needs more memory than there is");
        console_flush();
        machine_end(4);
    }
    return (void *)(uintptr_t)start;
}

static enum vmxc_status take_frame(void *context, const char *label, vmxc_hpa_t *frame_hpa)
{
    (void)context;
    (void)label;
    if (free_frames != 0) {
        *frame_hpa = free_frames;
        free_frames = *(uint64_t *)(uintptr_t)free_frames;
    } else {
        *frame_hpa = (uint64_t)(uintptr_t)heap_take(VMXC_PAGE_SIZE);
    }
    return VMXC_OK;
}

static void give_frame(void *context, vmxc_hpa_t frame_hpa)
{
    (void)context;
    *(uint64_t *)(uintptr_t)frame_hpa = free_frames;
    free_frames = frame_hpa;
}

static void *to_pointer(void *context, vmxc_hpa_t hpa)
{
    (void)context;
    return hpa < HEAP_END ? (void *)(uintptr_t)hpa : NULL;
}

static enum vmxc_status to_physical(void *context, const void *pointer, vmxc_hpa_t *hpa)
{
    (void)context;
    if ((uintptr_t)pointer >= HEAP_END)
        return VMXC_NOT_FOUND;
    *hpa = (uintptr_t)pointer;
    return VMXC_OK;
}

static void invalidate(void *context, uint64_t eptp)
{
    (void)context;
    (void)vmxc_insn_native.invept(NULL, VMXC_INVEPT_SINGLE, eptp);
}

const struct vmxc_hal *heap_hal(void)
{
    static const struct vmxc_hal hal = {
        .alloc_frame = take_frame,
        .dealloc_frame = give_frame,
        .phys_to_virt = to_pointer,
        .virt_to_phys = to_physical,
        .invalidate_ept = invalidate,
    };
    return &hal;
}

/* ---- Templates and changes ---- */

void memory_init(const struct batch *batch)
{
    struct cursor cursor = {batch->pages, batch->pages + 8 * (size_t)batch->page_count};

    current_batch = batch;
    current_template = NO_TEMPLATE;
    page_count = batch->page_count;
    pages = heap_take(page_count * sizeof(*pages));
    changes = heap_take(MAX_CHANGES * sizeof(*changes));
    for (uint32_t i = 0; i < page_count; i++) {
        pages[i].hpa = take_u64(&cursor);
        pages[i].words = (uint64_t *)(uintptr_t)pages[i].hpa;
        pages[i].image = heap_take(VMXC_PAGE_SIZE);
        memset(pages[i].words, 0, VMXC_PAGE_SIZE);
        memset(pages[i].image, 0, VMXC_PAGE_SIZE);
    }
}

static void set_word(uint32_t reference, uint64_t value)
{
    const struct page *const page = &pages[reference >> 9];

    page->words[reference & (PAGE_WORDS - 1)] = value;
    page->image[reference & (PAGE_WORDS - 1)] = value;
}

static void write_template(uint32_t number, bool clear)
{
    struct cursor words = current_batch->memory[number];

    while (words.next != words.end) {
        const uint32_t reference = take_u32(&words);
        const uint64_t value = take_u64(&words);
        set_word(reference, clear ? 0 : value);
    }
}

void memory_use_template(uint32_t number)
{
    if (number == current_template)
        return;
    if (current_template != NO_TEMPLATE)
        write_template(current_template, true);
    write_template(number, false);
    current_template = number;
}

void memory_apply(struct cursor *cursor, uint32_t count)
{
    change_count = 0;
    for (uint32_t i = 0; i < count; i++) {
        const uint32_t reference = take_u32(cursor);

        changes[change_count++] =
            (struct change){reference, pages[reference >> 9].image[reference & (PAGE_WORDS - 1)]};
        set_word(reference, take_u64(cursor));
    }
}

void memory_undo(void)
{
    while (change_count != 0) {
        change_count--;
        set_word(changes[change_count].reference, changes[change_count].before);
    }
}

/* ---- What is different afterwards ---- */

/* " m=" and for each word its number and the bits that changed: each character costs more than finding it. */
static void report_page(const struct page *page, bool *first)
{
    for (uint32_t i = 0; i < PAGE_WORDS; i++) {
        if (page->words[i] == page->image[i])
            continue;
        console_text(*first ? " m=" : ",");
        *first = false;
        console_hex((page->hpa >> 3) + i);
        console_text(":");
        console_hex(page->words[i] ^ page->image[i]);
        page->words[i] = page->image[i];
    }
}

/* `visit` of each page on the list that differs from its image. */
static void visit_changed(struct cursor *list, uint32_t count,
                          void (*visit)(const struct page *page, bool *first))
{
    const uint64_t cr4 = vmxc_insn_native.read_cr4(NULL);
    bool first = true;

    (void)vmxc_insn_native.write_cr4(NULL, cr4 | CR4_OSFXSR);
    for (uint32_t i = 0; i < count; i++) {
        const struct page *const page = &pages[take_u16(list)];
        if (page_differs(page->words, page->image))
            visit(page, &first);
    }
    (void)vmxc_insn_native.write_cr4(NULL, cr4);
}

static void restore_page(const struct page *page, bool *first)
{
    (void)first;
    for (uint32_t i = 0; i < PAGE_WORDS; i++)
        page->words[i] = page->image[i];
}

void memory_report(struct cursor *list, uint32_t count)
{
    visit_changed(list, count, report_page);
}

void memory_restore(struct cursor *list, uint32_t count)
{
    visit_changed(list, count, restore_page);
}
