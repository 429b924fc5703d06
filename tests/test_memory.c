/* SPDX-License-Identifier: Apache-2.0 */
/* Simulated memory: RAM and holes, accesses of every shape, touched pages, reset, digest. */
#include <check.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "vmxsim/memory.h"

#define KIB UINT64_C(0x400)
#define GIB UINT64_C(0x40000000)

static struct vmxsim_memory *create(const struct vmxsim_range *ram, size_t count)
{
    const struct vmxsim_memory_config config = {.ram = ram, .ram_count = count};
    struct vmxsim_memory *memory = NULL;
    struct vmxsim_error error = {0};
    ck_assert_msg(vmxsim_memory_create(&config, &memory, &error) == VMXC_OK, "%s", error.text);
    return memory;
}

/* RAM, a hole of one page, RAM, a hole up to the last page below 2^52. */
static const struct vmxsim_range usual_ram[] = {
    {0x100000, 2 * GIB}, {0, 0xff000}, {(UINT64_C(1) << 52) - 0x1000, 0x1000}};

static struct vmxsim_memory *memory;

static void setup(void)
{
    memory = create(usual_ram, 3);
}

static void teardown(void)
{
    vmxsim_memory_destroy(memory);
}

/* ---- Configurations that are refused ---- */

static const struct {
    const char *what;
    struct vmxsim_range ram[3];
    size_t count;
    struct vmxsim_range frames;
    enum vmxc_status status;
} refused[] = {
    {"no ranges", {{0, 0x1000}}, 0, {0, 0}, VMXC_INVALID_INPUT},
    {"empty range", {{0x1000, 0}}, 1, {0, 0}, VMXC_INVALID_INPUT},
    {"misaligned base", {{0x800, 0x1000}}, 1, {0, 0}, VMXC_INVALID_INPUT},
    {"misaligned length", {{0x1000, 0x1001}}, 1, {0, 0}, VMXC_INVALID_INPUT},
    {"wraps past 2^64", {{UINT64_MAX - 0xfff, 0x1000}}, 1, {0, 0}, VMXC_INVALID_INPUT},
    {"length wraps", {{0x1000, UINT64_MAX - 0xfff}}, 1, {0, 0}, VMXC_INVALID_INPUT},
    {"ends above 2^52", {{0x1000, UINT64_C(1) << 52}}, 1, {0, 0}, VMXC_INVALID_INPUT},
    {"starts at 2^52", {{UINT64_C(1) << 52, 0x1000}}, 1, {0, 0}, VMXC_INVALID_INPUT},
    {"overlap", {{0x1000, 0x2000}, {0x2000, 0x1000}}, 2, {0, 0}, VMXC_INVALID_INPUT},
    {"overlap, other order", {{0x2000, 0x1000}, {0x1000, 0x2000}}, 2, {0, 0}, VMXC_INVALID_INPUT},
    {"the same twice", {{0x1000, 0x1000}, {0x1000, 0x1000}}, 2, {0, 0}, VMXC_INVALID_INPUT},
    {"overlap behind a merge",
     {{0, 0x1000}, {0x1000, 0x2000}, {0x2000, 0x1000}},
     3,
     {0, 0},
     VMXC_INVALID_INPUT},
    {"frames in a hole", {{0, 0x2000}}, 1, {0x2000, 0x1000}, VMXC_INVALID_INPUT},
    {"frames across a hole",
     {{0, 0x2000}, {0x3000, 0x1000}},
     2,
     {0x1000, 0x3000},
     VMXC_INVALID_INPUT},
    {"frames misaligned", {{0, 0x4000}}, 1, {0x1800, 0x1000}, VMXC_INVALID_INPUT},
    {"frames of half a page", {{0, 0x4000}}, 1, {0x1000, 0x800}, VMXC_INVALID_INPUT},
    {"frames without length", {{0, 0x4000}}, 1, {0x1000, 0}, VMXC_INVALID_INPUT},
    {"frames wrap", {{0, 0x4000}}, 1, {0x1000, UINT64_MAX - 0xfff}, VMXC_INVALID_INPUT},
    {"more than any host has", {{0, UINT64_C(1) << 52}}, 1, {0, 0}, VMXC_NO_MEMORY},
    {"more than any host has, after one that fits",
     {{0, 0x1000}, {GIB, UINT64_C(1) << 51}},
     2,
     {0, 0},
     VMXC_NO_MEMORY},
};

START_TEST(a_bad_configuration_is_refused_with_a_sentence)
{
    const struct vmxsim_memory_config config = {
        .ram = refused[_i].ram, .ram_count = refused[_i].count, .frames = refused[_i].frames};
    struct vmxsim_memory *created = NULL;
    struct vmxsim_error error = {0};
    ck_assert_msg(vmxsim_memory_create(&config, &created, &error) == refused[_i].status, "%s: %s",
                  refused[_i].what, error.text);
    ck_assert_int_eq(error.status, refused[_i].status);
    ck_assert_uint_gt(strlen(error.text), 10);
    ck_assert_ptr_null(created);
}
END_TEST

START_TEST(missing_arguments_are_refused)
{
    const struct vmxsim_memory_config no_ram = {.ram = NULL, .ram_count = 1};
    struct vmxsim_memory *created = NULL;
    ck_assert_int_eq(vmxsim_memory_create(NULL, &created, NULL), VMXC_INVALID_INPUT);
    ck_assert_int_eq(vmxsim_memory_create(&no_ram, &created, NULL), VMXC_INVALID_INPUT);
    ck_assert_ptr_null(created);
    vmxsim_memory_destroy(NULL);
}
END_TEST

START_TEST(the_error_names_the_range)
{
    const struct vmxsim_range ram[] = {{0, 0x1000}, {0x123000, 0x1800}};
    const struct vmxsim_memory_config config = {.ram = ram, .ram_count = 2};
    struct vmxsim_memory *created = NULL;
    struct vmxsim_error error;
    ck_assert_int_eq(vmxsim_memory_create(&config, &created, &error), VMXC_INVALID_INPUT);
    ck_assert_ptr_nonnull(strstr(error.text, "range 1"));
    ck_assert_ptr_nonnull(strstr(error.text, "0x123000"));
}
END_TEST

/* ---- Accesses against a byte-by-byte model ---- */

/* A window around each border, in which a second, plain copy of memory is kept. */
enum { SHADOW_SIZE = 0x3000 };

struct shadow {
    uint64_t base;
    uint8_t bytes[SHADOW_SIZE];
};

static bool is_usual_ram(uint64_t hpa)
{
    for (size_t i = 0; i < 3; i++) {
        if (hpa >= usual_ram[i].base && hpa - usual_ram[i].base < usual_ram[i].length)
            return true;
    }
    return false;
}

static bool touches_hole(uint64_t hpa, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        if (hpa + i < hpa || !is_usual_ram(hpa + i))
            return true;
    }
    return false;
}

static void shadow_write(struct shadow *shadow, uint64_t hpa, const uint8_t *from, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        if (is_usual_ram(hpa + i))
            shadow->bytes[hpa + i - shadow->base] = from[i];
    }
}

/* Asserts only on a difference: each passing assertion costs Check a message, and there are millions of bytes. */
static void check_read(const struct shadow *shadow, uint64_t hpa, const uint8_t *got, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        const uint8_t expected =
            is_usual_ram(hpa + i) ? shadow->bytes[hpa + i - shadow->base] : 0xff;
        if (got[i] != expected)
            ck_abort_msg("byte %#" PRIx64 " is %#x instead of %#x", hpa + i, got[i], expected);
    }
}

static uint64_t little_endian(const uint8_t *bytes, size_t length)
{
    uint64_t value = 0;
    for (size_t i = length; i-- > 0;)
        value = value << 8 | bytes[i];
    return value;
}

static void write_somehow(struct shadow *shadow, uint64_t hpa, const uint8_t *bytes, size_t length)
{
    const uint64_t before = vmxsim_memory_stats(memory).hole_writes;
    if (length == 8 && (hpa & 1) != 0)
        vmxsim_memory_write64(memory, hpa, little_endian(bytes, 8));
    else if (length == 4 && (hpa & 1) != 0)
        vmxsim_memory_write32(memory, hpa, (uint32_t)little_endian(bytes, 4));
    else
        vmxsim_memory_write(memory, hpa, bytes, length);
    shadow_write(shadow, hpa, bytes, length);
    ck_assert_uint_eq(vmxsim_memory_stats(memory).hole_writes - before,
                      (uint64_t)touches_hole(hpa, length));
}

static void read_each_way(const struct shadow *shadow, uint64_t hpa, size_t length)
{
    uint8_t bytes[8192];
    const uint64_t before = vmxsim_memory_stats(memory).hole_reads;
    vmxsim_memory_read(memory, hpa, bytes, length);
    check_read(shadow, hpa, bytes, length);
    uint64_t reads = 1;
    if (length == 8 || length == 4) {
        const uint64_t word =
            length == 8 ? vmxsim_memory_read64(memory, hpa) : vmxsim_memory_read32(memory, hpa);
        ck_assert_uint_eq(word, little_endian(bytes, length));
        reads = 2;
    }
    ck_assert_uint_eq(vmxsim_memory_stats(memory).hole_reads - before,
                      touches_hole(hpa, length) ? reads : 0);
}

static const uint64_t borders[] = {0xfe000, 0xff000, UINT64_C(0x800fe000), 0x200000,
                                   (UINT64_C(1) << 52) - 0x2000};

START_TEST(accesses_of_every_shape_agree_with_a_plain_copy)
{
    static struct shadow shadow;
    memset(&shadow, 0, sizeof shadow);
    shadow.base = borders[_i];
    static const size_t lengths[] = {0, 1, 2, 3, 4, 5, 8, 9, 16, 4095, 4096, 4097, 8192};
    uint32_t random = 12345;
    for (int round = 0; round < 2000; round++) {
        random = random * 1664525 + 1013904223;
        const size_t length = lengths[(random >> 8) % 13];
        /* Near one of the page borders, so that most accesses cross one. */
        const uint64_t border = (random >> 16) % 3 * 0x1000;
        uint64_t offset = border + (random >> 18) % 24;
        offset = offset >= 12 ? offset - 12 : offset;
        if (offset + length > SHADOW_SIZE)
            continue;
        uint8_t bytes[8192];
        for (size_t i = 0; i < length; i++)
            bytes[i] = (uint8_t)(random >> (i % 24));
        write_somehow(&shadow, shadow.base + offset, bytes, length);
        read_each_way(&shadow, shadow.base + offset, length);
    }
}
END_TEST

START_TEST(nothing_wraps_at_the_end_of_the_address_space)
{
    uint8_t bytes[64];
    memset(bytes, 0x11, sizeof bytes);
    vmxsim_memory_write(memory, UINT64_MAX - 15, bytes, 32);
    vmxsim_memory_write64(memory, UINT64_MAX - 3, 1);
    vmxsim_memory_write32(memory, UINT64_MAX, 1);
    ck_assert_uint_eq(vmxsim_memory_read64(memory, 0), 0); /* page 0 is RAM and was not reached */
    ck_assert_uint_eq(vmxsim_memory_stats(memory).hole_writes, 3);

    memset(bytes, 0, sizeof bytes);
    vmxsim_memory_read(memory, UINT64_MAX - 15, bytes, 32);
    for (size_t i = 0; i < 32; i++)
        ck_assert_uint_eq(bytes[i], 0xff);
    ck_assert_uint_eq(vmxsim_memory_read64(memory, UINT64_MAX - 3), UINT64_MAX);
    ck_assert_uint_eq(vmxsim_memory_read32(memory, UINT64_MAX), UINT32_MAX);
}
END_TEST

START_TEST(above_52_bits_is_a_hole)
{
    const uint64_t limit = UINT64_C(1) << 52;
    vmxsim_memory_write64(memory, limit - 8, 0x1234);
    ck_assert_uint_eq(vmxsim_memory_read64(memory, limit - 8), 0x1234);
    ck_assert_uint_eq(vmxsim_memory_stats(memory).hole_reads, 0);
    ck_assert_uint_eq(vmxsim_memory_read64(memory, limit), UINT64_MAX);
    ck_assert_uint_eq(vmxsim_memory_read64(memory, limit - 4), UINT64_C(0xffffffff00000000));
    ck_assert_uint_eq(vmxsim_memory_read64(memory, limit | 0x1000), UINT64_MAX); /* no alias */
    ck_assert_uint_eq(vmxsim_memory_stats(memory).hole_reads, 3);
}
END_TEST

START_TEST(is_ram_means_every_byte)
{
    static const struct {
        uint64_t hpa, length;
        bool is_ram;
    } rows[] = {
        {0, 1, true},
        {0, 0xff000, true},
        {0, 0xff001, false},
        {0xfefff, 1, true},
        {0xff000, 1, false},
        {0xff000, 0, true},
        {0xff000, 0x1001, false},
        {0x100000, 2 * GIB, true},
        {0x100000, UINT64_MAX, false},
        {0x100001, UINT64_MAX, false},
        {(UINT64_C(1) << 52) - 1, 1, true},
        {(UINT64_C(1) << 52) - 1, 2, false},
        {UINT64_MAX, 1, false},
        {UINT64_MAX, UINT64_MAX, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        ck_assert_msg(vmxsim_memory_is_ram(memory, rows[i].hpa, rows[i].length) == rows[i].is_ram,
                      "row %zu", i);
}
END_TEST

START_TEST(adjacent_ranges_become_one)
{
    const struct vmxsim_range ram[] = {{0x3000, 0x1000}, {0x1000, 0x1000}, {0x2000, 0x1000}};
    struct vmxsim_memory *joined = create(ram, 3);
    ck_assert(vmxsim_memory_is_ram(joined, 0x1000, 0x3000));
    uint8_t *bytes = vmxsim_memory_pointer(joined, 0x1ffc);
    memcpy(bytes, "12345678", 8);
    ck_assert_uint_eq(vmxsim_memory_read64(joined, 0x1ffc), UINT64_C(0x3837363534333231));
    ck_assert_uint_eq(vmxsim_memory_hal(joined)->window.length, 0x3000);
    vmxsim_memory_destroy(joined);
}
END_TEST

START_TEST(a_pointer_is_to_the_byte_and_null_in_holes)
{
    vmxsim_memory_write64(memory, 0x200000, UINT64_C(0x8877665544332211));
    const uint8_t *byte = vmxsim_memory_pointer(memory, 0x200003);
    ck_assert_uint_eq(*byte, 0x44);
    ck_assert_ptr_null(vmxsim_memory_pointer(memory, 0xff000));
    ck_assert_ptr_null(vmxsim_memory_pointer(memory, UINT64_C(1) << 52));
    ck_assert_ptr_null(vmxsim_memory_pointer(memory, UINT64_MAX));
}
END_TEST

/* ---- Touched pages and reset ---- */

struct page_list {
    uint64_t hpa[64];
    size_t count;
};

static void collect(void *context, uint64_t hpa, const uint8_t *bytes)
{
    struct page_list *list = context;
    ck_assert_uint_lt(list->count, 64);
    list->hpa[list->count++] = hpa;
    ck_assert_ptr_nonnull(bytes);
}

static struct page_list touched(void)
{
    struct page_list list = {.count = 0};
    vmxsim_memory_touched_pages(memory, collect, &list);
    return list;
}

START_TEST(written_pages_are_touched_and_visited_in_order)
{
    static const uint64_t expected[] = {0x0,        0x5000,     0xfe000,
                                        0x100000,   0x13f000,   0x140000,
                                        0x40000000, 0x800ff000, (UINT64_C(1) << 52) - 0x1000};
    const struct vmxc_hal *hal = vmxsim_memory_hal(memory);
    vmxsim_memory_write64(memory, (UINT64_C(1) << 52) - 8, 1);
    vmxsim_memory_write32(memory, 0x800ffffc, 1);
    vmxsim_memory_write(memory, 0x13ffff, "ab", 2);
    (void)vmxsim_memory_pointer(memory, 0x40000abc);
    vmxsim_memory_write64(memory, 0xfeffc, 1); /* its second half falls into the hole */
    hal->mark_dirty(hal->context, 0x100000, 1);
    (void)hal->phys_to_virt(hal->context, 0x5000);
    vmxsim_memory_write(memory, 0, "", 1);

    (void)vmxsim_memory_read64(memory, 0x9000); /* reading touches nothing */
    vmxsim_memory_write64(memory, 0xff000, 1);  /* nor does a write into a hole */

    const struct page_list list = touched();
    ck_assert_uint_eq(list.count, sizeof expected / sizeof expected[0]);
    for (size_t i = 0; i < list.count; i++)
        ck_assert_uint_eq(list.hpa[i], expected[i]);
}
END_TEST

START_TEST(marking_skips_holes_and_never_wraps)
{
    const struct vmxc_hal *hal = vmxsim_memory_hal(memory);
    hal->mark_dirty(hal->context, 0x5000, 0);
    hal->mark_dirty(hal->context, 0xff000, 0x1000);
    hal->mark_dirty(hal->context, UINT64_MAX, UINT64_MAX);
    hal->mark_dirty(hal->context, UINT64_MAX, 2);
    ck_assert_uint_eq(touched().count, 0);

    hal->mark_dirty(hal->context, 0xfe800, 0x2000); /* RAM, hole, RAM */
    hal->mark_dirty(hal->context, UINT64_C(0x800ff800),
                    UINT64_MAX); /* the last page, then far beyond */
    const struct page_list list = touched();
    ck_assert_uint_eq(list.count, 4);
    ck_assert_uint_eq(list.hpa[0], 0xfe000);
    ck_assert_uint_eq(list.hpa[1], 0x100000);
    ck_assert_uint_eq(list.hpa[2], 0x800ff000);
    ck_assert_uint_eq(list.hpa[3], (UINT64_C(1) << 52) - 0x1000);
}
END_TEST

/* The set of touched pages against a plain list, over a range so wide that every level of it is used. */
START_TEST(touched_pages_of_a_vast_range_are_all_found)
{
    const struct vmxsim_range ram = {0, UINT64_C(1) << 44};
    struct vmxsim_memory *vast = create(&ram, 1);
    struct page_list expected = {.count = 0}, list = {.count = 0};
    for (unsigned int bit = 12; bit < 44; bit++) {
        const uint64_t hpa = (UINT64_C(1) << bit) + 0x123;
        vmxsim_memory_write(vast, hpa, "x", 1);
        expected.hpa[expected.count++] = hpa & ~UINT64_C(0xfff);
    }
    vmxsim_memory_write(vast, ram.length - 1, "x", 1);
    expected.hpa[expected.count++] = ram.length - 0x1000;
    vmxsim_memory_touched_pages(vast, collect, &list);
    ck_assert_uint_eq(list.count, expected.count);
    for (size_t i = 0; i < list.count; i++)
        ck_assert_uint_eq(list.hpa[i], expected.hpa[i]);

    vmxsim_memory_reset(vast);
    list.count = 0;
    vmxsim_memory_touched_pages(vast, collect, &list);
    ck_assert_uint_eq(list.count, 0);
    for (size_t i = 0; i < expected.count; i++)
        ck_assert_uint_eq(vmxsim_memory_read64(vast, expected.hpa[i] + 0x120), 0);
    vmxsim_memory_destroy(vast);
}
END_TEST

START_TEST(reset_makes_everything_new)
{
    const struct vmxc_hal *hal = vmxsim_memory_hal(memory);
    const struct vmxsim_digest fresh = vmxsim_memory_digest(memory);
    uint64_t first, frame;
    ck_assert_int_eq(hal->alloc_frame(hal->context, "page", &first), VMXC_OK);
    ck_assert_int_eq(hal->alloc_frame(hal->context, "page", &frame), VMXC_OK);
    hal->dealloc_frame(hal->context, first);
    hal->dealloc_frame(hal->context, first);
    hal->dealloc_frame(hal->context, 1);
    hal->invalidate_ept(hal->context, 0);
    vmxsim_memory_write64(memory, 0x1000, 1);
    vmxsim_memory_write64(memory, 0xff000, 1);
    (void)vmxsim_memory_read64(memory, 0xff000);
    vmxsim_memory_fail_nth(memory, 1);
    vmxsim_memory_fail_randomly(memory, 1, 1000000);

    vmxsim_memory_reset(memory);
    const struct vmxsim_memory_stats stats = vmxsim_memory_stats(memory);
    const struct vmxsim_memory_stats expected = {.frames_total = stats.frames_total};
    ck_assert_mem_eq(&stats, &expected, sizeof stats);
    ck_assert_uint_gt(stats.frames_total, 0);
    ck_assert_uint_eq(touched().count, 0);
    ck_assert_uint_eq(vmxsim_memory_read64(memory, 0x1000), 0);
    const struct vmxsim_digest digest = vmxsim_memory_digest(memory);
    ck_assert_mem_eq(&digest, &fresh, sizeof digest);
    ck_assert_uint_eq(vmxsim_memory_leaks(memory, NULL, NULL), 0);

    uint64_t again;
    ck_assert_int_eq(hal->alloc_frame(hal->context, "page", &again), VMXC_OK);
    ck_assert_uint_eq(again, first);
}
END_TEST

/* ---- Digest ---- */

static bool same_digest(const struct vmxsim_memory *a, const struct vmxsim_memory *b)
{
    const struct vmxsim_digest x = vmxsim_memory_digest(a), y = vmxsim_memory_digest(b);
    return x.high == y.high && x.low == y.low;
}

START_TEST(the_digest_is_of_content_not_of_history)
{
    struct vmxsim_memory *other = create(usual_ram, 3);
    ck_assert(same_digest(memory, other));

    vmxsim_memory_write64(memory, 0x5000, 7);
    vmxsim_memory_write64(memory, 0x200000, 8);
    ck_assert(!same_digest(memory, other));
    vmxsim_memory_write64(other, 0x200000, 8); /* in the other order, with detours */
    vmxsim_memory_write64(other, 0x300000, 9);
    vmxsim_memory_write64(other, 0x300000, 0);
    (void)vmxsim_memory_pointer(other, 0x400000);
    vmxsim_memory_write64(other, 0x5000, 7);
    ck_assert(same_digest(memory, other));
    vmxsim_memory_destroy(other);
}
END_TEST

START_TEST(the_digest_sees_each_byte_and_its_place)
{
    struct vmxsim_memory *other = create(usual_ram, 3);
    for (unsigned int offset = 0; offset < 4096; offset += 511) {
        vmxsim_memory_write(memory, 0x5000 + offset, "\1", 1);
        ck_assert(!same_digest(memory, other));
        vmxsim_memory_write(other, 0x6000 + offset, "\1", 1); /* the same page, elsewhere */
        ck_assert(!same_digest(memory, other));
        vmxsim_memory_reset(memory);
        vmxsim_memory_reset(other);
        ck_assert(same_digest(memory, other));
    }
    vmxsim_memory_destroy(other);
}
END_TEST

START_TEST(the_digest_depends_on_where_ram_is)
{
    const struct vmxsim_range one[] = {{0, 0x8000}}, shorter[] = {{0, 0x7000}};
    const struct vmxsim_range split[] = {{0x4000, 0x4000}, {0, 0x4000}};
    struct vmxsim_memory *a = create(one, 1), *b = create(shorter, 1), *c = create(split, 2);
    ck_assert(!same_digest(a, b));
    ck_assert(same_digest(a, c)); /* the same RAM, said in two pieces */
    vmxsim_memory_destroy(a);
    vmxsim_memory_destroy(b);
    vmxsim_memory_destroy(c);
}
END_TEST

/* A known answer, so that digests stored in files stay comparable between hosts and versions. */
START_TEST(the_digest_of_known_content_is_known)
{
    const struct vmxsim_range ram = {0, 64 * KIB};
    struct vmxsim_memory *small = create(&ram, 1);
    for (uint64_t hpa = 0x2000; hpa < 0x4000; hpa += 8)
        vmxsim_memory_write64(small, hpa, hpa * UINT64_C(0x9e3779b97f4a7c15));
    const struct vmxsim_digest digest = vmxsim_memory_digest(small);
    ck_assert_msg(digest.high == UINT64_C(0xf60f3d4943a77cfb) &&
                      digest.low == UINT64_C(0x98ca9ed1ef5c992c),
                  "digest %#" PRIx64 " %#" PRIx64, digest.high, digest.low);
    vmxsim_memory_destroy(small);
}
END_TEST

static Suite *memory_suite(void)
{
    Suite *suite = suite_create("memory");
    TCase *bad = tcase_create("refused");
    tcase_add_loop_test(bad, a_bad_configuration_is_refused_with_a_sentence, 0,
                        (int)(sizeof refused / sizeof refused[0]));
    tcase_add_test(bad, missing_arguments_are_refused);
    tcase_add_test(bad, the_error_names_the_range);
    suite_add_tcase(suite, bad);

    TCase *access = tcase_create("access");
    tcase_add_checked_fixture(access, setup, teardown);
    tcase_add_loop_test(access, accesses_of_every_shape_agree_with_a_plain_copy, 0,
                        (int)(sizeof borders / sizeof borders[0]));
    tcase_add_test(access, nothing_wraps_at_the_end_of_the_address_space);
    tcase_add_test(access, above_52_bits_is_a_hole);
    tcase_add_test(access, is_ram_means_every_byte);
    tcase_add_test(access, adjacent_ranges_become_one);
    tcase_add_test(access, a_pointer_is_to_the_byte_and_null_in_holes);
    suite_add_tcase(suite, access);

    TCase *pages = tcase_create("touched pages");
    tcase_add_checked_fixture(pages, setup, teardown);
    tcase_add_test(pages, written_pages_are_touched_and_visited_in_order);
    tcase_add_test(pages, marking_skips_holes_and_never_wraps);
    tcase_add_test(pages, touched_pages_of_a_vast_range_are_all_found);
    tcase_add_test(pages, reset_makes_everything_new);
    suite_add_tcase(suite, pages);

    TCase *digest = tcase_create("digest");
    tcase_add_checked_fixture(digest, setup, teardown);
    tcase_add_test(digest, the_digest_is_of_content_not_of_history);
    tcase_add_test(digest, the_digest_sees_each_byte_and_its_place);
    tcase_add_test(digest, the_digest_depends_on_where_ram_is);
    tcase_add_test(digest, the_digest_of_known_content_is_known);
    suite_add_tcase(suite, digest);
    return suite;
}

int main(void)
{
    SRunner *runner = srunner_create(memory_suite());
    srunner_run_all(runner, CK_NORMAL);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
