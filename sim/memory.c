/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE /* MAP_ANONYMOUS, madvise */
#include "internal/memory.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "internal/apart.h"

#define ADDRESS_LIMIT (UINT64_C(1) << VMXC_MAXPHYADDR_LIMIT)

/* ---- Host memory ---- */

/* Large host pages would make each sparse write cost 2 MBytes of zeroing. Only a hint: may fail. */
static void avoid_large_pages(void *pointer, uint64_t length)
{
#ifdef MADV_NOHUGEPAGE
    (void)madvise(pointer, (size_t)length, MADV_NOHUGEPAGE);
#else
    (void)pointer;
    (void)length;
#endif
}

void *vmxsim_reserve(uint64_t length)
{
    if (length > SIZE_MAX)
        return NULL;
    void *pointer = mmap(NULL, (size_t)length, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (pointer == MAP_FAILED)
        return NULL;
    avoid_large_pages(pointer, length);
    return pointer;
}

void vmxsim_release(void *pointer, uint64_t length)
{
    if (pointer != NULL)
        (void)munmap(pointer, (size_t)length);
}

bool vmxsim_reserve_again(void *pointer, uint64_t length)
{
    if (mmap(pointer, (size_t)length, PROT_READ | PROT_WRITE,
             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) == MAP_FAILED)
        return false;
    avoid_large_pages(pointer, length);
    return true;
}

/* ---- Construction ---- */

static bool range_is_valid(const struct vmxsim_range *range)
{
    return range->length != 0 && ((range->base | range->length) & VMXC_PAGE_MASK) == 0 &&
           range->base < ADDRESS_LIMIT && range->length <= ADDRESS_LIMIT - range->base;
}

static int compare_ranges(const void *left, const void *right)
{
    const struct vmxsim_ram_range *a = left;
    const struct vmxsim_ram_range *b = right;
    return (a->base > b->base) - (a->base < b->base);
}

static enum vmxc_status copy_ranges(struct vmxsim_memory *memory,
                                    const struct vmxsim_memory_config *config,
                                    struct vmxsim_error *error)
{
    for (size_t i = 0; i < config->ram_count; i++) {
        const struct vmxsim_range *range = &config->ram[i];
        if (!range_is_valid(range))
            return vmxsim_error_set(error, VMXC_INVALID_INPUT,
                                    "RAM range %zu (base 0x%" PRIx64 ", length 0x%" PRIx64
                                    "): must be whole 4-KByte pages below 2^52, and not empty",
                                    i, range->base, range->length);
        memory->ranges[i].base = range->base;
        memory->ranges[i].length = range->length;
    }
    memory->range_count = config->ram_count;
    qsort(memory->ranges, memory->range_count, sizeof *memory->ranges, compare_ranges);
    return VMXC_OK;
}

/* Joins neighbours, so that an access or a window that is RAM all along lies in one range. */
static enum vmxc_status merge_ranges(struct vmxsim_memory *memory, struct vmxsim_error *error)
{
    struct vmxsim_ram_range *last = &memory->ranges[0];
    for (size_t i = 1; i < memory->range_count; i++) {
        const struct vmxsim_ram_range *next = &memory->ranges[i];
        if (next->base < last->base + last->length)
            return vmxsim_error_set(error, VMXC_INVALID_INPUT,
                                    "RAM ranges at 0x%" PRIx64 " and 0x%" PRIx64 " overlap",
                                    last->base, next->base);
        if (next->base == last->base + last->length)
            last->length += next->length;
        else
            *++last = *next;
    }
    memory->range_count = (size_t)(last - memory->ranges) + 1;
    return VMXC_OK;
}

static enum vmxc_status reserve_ranges(struct vmxsim_memory *memory, struct vmxsim_error *error)
{
    for (size_t i = 0; i < memory->range_count; i++) {
        struct vmxsim_ram_range *range = &memory->ranges[i];
        range->memory = memory;
        range->bytes = vmxsim_reserve(range->length);
        if (range->bytes == NULL || vmxsim_track_init(&range->track, range->length) != VMXC_OK)
            return vmxsim_error_set(error, VMXC_NO_MEMORY,
                                    "the host cannot reserve RAM of 0x%" PRIx64
                                    " bytes at 0x%" PRIx64,
                                    range->length, range->base);
    }
    return VMXC_OK;
}

static enum vmxc_status construct(struct vmxsim_memory *memory,
                                  const struct vmxsim_memory_config *config,
                                  struct vmxsim_error *error)
{
    memory->ranges = calloc(config->ram_count, sizeof *memory->ranges);
    if (memory->ranges == NULL)
        return vmxsim_error_set(error, VMXC_NO_MEMORY, "no host memory for %zu RAM ranges",
                                config->ram_count);
    VMXC_TRY(copy_ranges(memory, config, error));
    VMXC_TRY(merge_ranges(memory, error));
    memory->table_epoch = 1;
    VMXC_TRY(reserve_ranges(memory, error));
    VMXC_TRY(vmxsim_frames_init(memory, config, error));
    vmxsim_memory_hal_init(memory);
    return VMXC_OK;
}

enum vmxc_status vmxsim_memory_create(const struct vmxsim_memory_config *config,
                                      struct vmxsim_memory **memory, struct vmxsim_error *error)
{
    if (config == NULL || memory == NULL || config->ram == NULL || config->ram_count == 0)
        return vmxsim_error_set(error, VMXC_INVALID_INPUT, "a memory needs at least one RAM range");
    struct vmxsim_memory *created = vmxsim_alloc_apart(sizeof *created);
    if (created == NULL)
        return vmxsim_error_set(error, VMXC_NO_MEMORY, "no host memory for a simulated memory");
    const enum vmxc_status status = construct(created, config, error);
    if (status != VMXC_OK) {
        vmxsim_memory_destroy(created);
        return status;
    }
    *memory = created;
    return VMXC_OK;
}

void vmxsim_memory_destroy(struct vmxsim_memory *memory)
{
    if (memory == NULL)
        return;
    vmxsim_snapshot_fini(memory);
    vmxsim_frozen_leave(memory);
    vmxsim_frames_fini(&memory->frames);
    vmxsim_region_watch_fini(&memory->regions);
    for (size_t i = 0; i < memory->range_count; i++) {
        struct vmxsim_ram_range *range = &memory->ranges[i];
        vmxsim_track_fini(&range->track, range->length);
        vmxsim_tables_fini(range);
        vmxsim_release(range->bytes, range->length);
    }
    free(memory->ranges);
    free(memory);
}

/* ---- Lookup ---- */

/* Index of the first range that ends above `hpa`; range_count: none does. */
static size_t first_range_ending_above(const struct vmxsim_memory *memory, uint64_t hpa)
{
    size_t low = 0, high = memory->range_count;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        const struct vmxsim_ram_range *range = &memory->ranges[middle];
        if (hpa < range->base + range->length)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

/* One comparison decides both bounds: below the base, the difference wraps to something huge. */
static bool range_holds(const struct vmxsim_ram_range *range, uint64_t hpa)
{
    return hpa - range->base < range->length;
}

struct vmxsim_ram_range *vmxsim_memory_find(struct vmxsim_memory *memory, uint64_t hpa)
{
    struct vmxsim_ram_range *hint = &memory->ranges[memory->last_range];
    if (range_holds(hint, hpa))
        return hint;
    const size_t index = first_range_ending_above(memory, hpa);
    if (index == memory->range_count || !range_holds(&memory->ranges[index], hpa))
        return NULL;
    memory->last_range = index;
    return &memory->ranges[index];
}

bool vmxsim_memory_is_ram(const struct vmxsim_memory *memory, uint64_t hpa, uint64_t length)
{
    if (length == 0)
        return true;
    const size_t index = first_range_ending_above(memory, hpa);
    if (index == memory->range_count || !range_holds(&memory->ranges[index], hpa))
        return false;
    const struct vmxsim_ram_range *range = &memory->ranges[index];
    return length <= range->length - (hpa - range->base);
}

/* Where [hpa, hpa + length) lies in RAM if it does so in one piece; NULL otherwise. */
static uint8_t *find_whole(struct vmxsim_memory *memory, uint64_t hpa, uint64_t length,
                           struct vmxsim_ram_range **range)
{
    struct vmxsim_ram_range *found = vmxsim_memory_find(memory, hpa);
    if (found == NULL || length > found->length - (hpa - found->base))
        return NULL;
    *range = found;
    return found->bytes + (hpa - found->base);
}

static inline void note_write(struct vmxsim_ram_range *range, uint64_t page)
{
    vmxsim_track_note(&range->track, range->bytes, page);
    if (range->tables.levels != 0 && vmxsim_page_set_contains(&range->tables, page))
        vmxsim_tables_written(range, page);
}

void vmxsim_range_touch(struct vmxsim_ram_range *range, uint64_t offset, uint64_t length)
{
    const uint64_t last = (offset + length - 1) / VMXC_PAGE_SIZE;
    for (uint64_t page = offset / VMXC_PAGE_SIZE; page <= last; page++)
        note_write(range, page);
}

uint8_t *vmxsim_memory_locate(struct vmxsim_memory *memory, uint64_t hpa)
{
    struct vmxsim_ram_range *range;
    uint8_t *bytes = find_whole(memory, hpa, 1, &range);
    if (bytes != NULL)
        vmxsim_range_touch(range, hpa - range->base, 1);
    return bytes;
}

void *vmxsim_memory_pointer(struct vmxsim_memory *memory, uint64_t hpa)
{
    uint8_t *bytes = vmxsim_memory_locate(memory, hpa);
    if (bytes != NULL) {
        struct vmxsim_ram_range *range = vmxsim_memory_find(memory, hpa);
        vmxsim_tables_note_raw(range, (hpa - range->base) / VMXC_PAGE_SIZE);
    }
    return bytes;
}

/* ---- Access in pieces: the general case, which may cross ranges and holes ---- */

/* The longest piece at the start of an access that is all RAM or all hole. */
struct piece {
    struct vmxsim_ram_range *range; /* NULL: a hole */
    uint64_t offset;                /* in the range */
    size_t length;
};

static struct piece first_piece(struct vmxsim_memory *memory, uint64_t hpa, size_t length)
{
    const size_t index = first_range_ending_above(memory, hpa);
    if (index == memory->range_count)
        return (struct piece){.length = length}; /* a hole up to 2^64 and past it: nothing wraps */
    struct vmxsim_ram_range *range = &memory->ranges[index];
    const bool is_ram = hpa >= range->base;
    const uint64_t room = is_ram ? range->length - (hpa - range->base) : range->base - hpa;
    return (struct piece){
        .range = is_ram ? range : NULL,
        .offset = is_ram ? hpa - range->base : 0,
        .length = room < length ? (size_t)room : length,
    };
}

void vmxsim_memory_read(struct vmxsim_memory *memory, uint64_t hpa, void *buffer, size_t length)
{
    struct vmxsim_ram_range *whole;
    const uint8_t *bytes = find_whole(memory, hpa, length, &whole);
    uint8_t *to = buffer;
    bool hole = false;
    vmxsim_region_watch_see(memory, hpa, length, false);
    if (bytes != NULL && length != 0) {
        memcpy(buffer, bytes, length);
        return;
    }
    while (length != 0) {
        const struct piece piece = first_piece(memory, hpa, length);
        if (piece.range != NULL)
            memcpy(to, piece.range->bytes + piece.offset, piece.length);
        else
            memset(to, 0xff, piece.length);
        hole |= piece.range == NULL;
        to += piece.length;
        hpa += piece.length;
        length -= piece.length;
    }
    memory->stats.hole_reads += hole;
}

void vmxsim_memory_write(struct vmxsim_memory *memory, uint64_t hpa, const void *buffer,
                         size_t length)
{
    const uint64_t first_hpa = hpa;
    const size_t whole_length = length;
    struct vmxsim_ram_range *whole;
    uint8_t *bytes = find_whole(memory, hpa, length, &whole);
    const uint8_t *from = buffer;
    bool hole = false;
    if (bytes != NULL && length != 0) {
        vmxsim_range_touch(whole, hpa - whole->base, length);
        memcpy(bytes, buffer, length);
        vmxsim_region_watch_see(memory, hpa, length, true);
        return;
    }
    while (length != 0) {
        const struct piece piece = first_piece(memory, hpa, length);
        if (piece.range != NULL) {
            vmxsim_range_touch(piece.range, piece.offset, piece.length);
            memcpy(piece.range->bytes + piece.offset, from, piece.length);
        }
        hole |= piece.range == NULL;
        from += piece.length;
        hpa += piece.length;
        length -= piece.length;
    }
    memory->stats.hole_writes += hole;
    vmxsim_region_watch_see(memory, first_hpa, whole_length, true);
}

/* ---- Access by words ---- */

static void store32(uint8_t *bytes, uint32_t value)
{
    bytes[0] = (uint8_t)value;
    bytes[1] = (uint8_t)(value >> 8);
    bytes[2] = (uint8_t)(value >> 16);
    bytes[3] = (uint8_t)(value >> 24);
}

static void store64(uint8_t *bytes, uint64_t value)
{
    store32(bytes, (uint32_t)value);
    store32(bytes + 4, (uint32_t)(value >> 32));
}

uint64_t vmxsim_memory_read64(struct vmxsim_memory *memory, uint64_t hpa)
{
    struct vmxsim_ram_range *range;
    const uint8_t *bytes = find_whole(memory, hpa, 8, &range);
    if (bytes != NULL) {
        vmxsim_region_watch_see(memory, hpa, 8, false);
        return vmxsim_load64(bytes);
    }
    uint8_t buffer[8];
    vmxsim_memory_read(memory, hpa, buffer, sizeof buffer);
    return vmxsim_load64(buffer);
}

uint32_t vmxsim_memory_read32(struct vmxsim_memory *memory, uint64_t hpa)
{
    struct vmxsim_ram_range *range;
    const uint8_t *bytes = find_whole(memory, hpa, 4, &range);
    if (bytes != NULL) {
        vmxsim_region_watch_see(memory, hpa, 4, false);
        return vmxsim_load32(bytes);
    }
    uint8_t buffer[4];
    vmxsim_memory_read(memory, hpa, buffer, sizeof buffer);
    return vmxsim_load32(buffer);
}

/* `size` is a constant wherever this is called, so that the copy is one store. */
static inline void write_word(struct vmxsim_memory *memory, uint64_t hpa, const uint8_t *word,
                              size_t size)
{
    struct vmxsim_ram_range *range;
    uint8_t *bytes = find_whole(memory, hpa, size, &range);
    if (bytes == NULL) {
        vmxsim_memory_write(memory, hpa, word, size);
        return;
    }
    vmxsim_range_touch(range, hpa - range->base, size);
    memcpy(bytes, word, size);
    vmxsim_region_watch_see(memory, hpa, size, true);
}

void vmxsim_memory_write64(struct vmxsim_memory *memory, uint64_t hpa, uint64_t value)
{
    uint8_t word[8];
    store64(word, value);
    write_word(memory, hpa, word, sizeof word);
}

void vmxsim_memory_write32(struct vmxsim_memory *memory, uint64_t hpa, uint32_t value)
{
    uint8_t word[4];
    store32(word, value);
    write_word(memory, hpa, word, sizeof word);
}

/* ---- Arrays ---- */

size_t vmxsim_memory_array_count(const struct vmxsim_memory *memory)
{
    return memory->range_count + 1;
}

struct vmxsim_array vmxsim_memory_array(struct vmxsim_memory *memory, size_t index)
{
    struct vmxsim_frames *const frames = &memory->frames;

    if (index == memory->range_count)
        return (struct vmxsim_array){.bytes = (uint8_t *)frames->state,
                                     .length = vmxsim_frames_state_length(frames),
                                     .track = &frames->track};
    struct vmxsim_ram_range *const range = &memory->ranges[index];
    return (struct vmxsim_array){
        .bytes = range->bytes, .length = range->length, .track = &range->track};
}

/* ---- Touched pages ---- */

void vmxsim_memory_each_touched(const struct vmxsim_memory *memory,
                                void (*visit)(void *context, struct vmxsim_ram_range *range,
                                              uint64_t page),
                                void *context)
{
    for (size_t i = 0; i < memory->range_count; i++) {
        struct vmxsim_ram_range *range = &memory->ranges[i];
        uint64_t page = 0;
        while (vmxsim_page_set_next(&range->track.touched, page, &page)) {
            visit(context, range, page);
            page++;
        }
    }
}

struct touched_visitor {
    void (*visit)(void *context, uint64_t hpa, const uint8_t *bytes);
    void *context;
};

static void visit_touched(void *context, struct vmxsim_ram_range *range, uint64_t page)
{
    const struct touched_visitor *visitor = context;
    const uint64_t offset = page * VMXC_PAGE_SIZE;
    visitor->visit(visitor->context, range->base + offset, range->bytes + offset);
}

void vmxsim_memory_touched_pages(struct vmxsim_memory *memory,
                                 void (*visit)(void *context, uint64_t hpa, const uint8_t *bytes),
                                 void *context)
{
    struct touched_visitor visitor = {.visit = visit, .context = context};
    vmxsim_memory_each_touched(memory, visit_touched, &visitor);
}

/* Frozen content goes whole, and no page of it has to be copied to be cleared. */
static void clear_array(const struct vmxsim_array *array, bool leave_frozen)
{
    if (leave_frozen && vmxsim_reserve_again(array->bytes, array->length))
        vmxsim_track_forget(array->track);
    else
        vmxsim_track_clear(array->track, array->bytes);
}

void vmxsim_memory_reset(struct vmxsim_memory *memory)
{
    /* With a snapshot each page has to be saved before it is cleared. */
    const bool leave_frozen = memory->frozen != NULL && !memory->snapshot.taken;
    for (size_t i = 0; i < vmxsim_memory_array_count(memory); i++) {
        const struct vmxsim_array array = vmxsim_memory_array(memory, i);
        clear_array(&array, leave_frozen);
    }
    if (leave_frozen)
        vmxsim_frozen_leave(memory);
    vmxsim_frames_reset(memory);
    vmxsim_tables_reset(memory);
    vmxsim_snapshot_note_handed_out(memory);
    vmxsim_region_watch_accept(memory);
    vmxsim_hazards_forget(memory);
}

bool vmxsim_page_is_filled(const uint8_t *page, uint8_t byte)
{
    /* The first byte is right, and each other byte equals the one before it. */
    return page[0] == byte && memcmp(page, page + 1, VMXC_PAGE_SIZE - 1) == 0;
}
