/* SPDX-License-Identifier: Apache-2.0 */
/* Mutators: sizes hold, the same seed gives the same bytes, every operation and every kind of change comes up. */
#include <check.h>
#include <string.h>

#include "internal/fuzz_shape.h"
#include "vmxcore/defs/vmcs.h"
#include "vmxsim/fuzz.h"
#include "vmxsim/fuzz_engine.h"

#include "support/rng.h"
#include "support/suite.h"

enum { ROOM = 256, GUARD = 0xa5, SEEDS = 3000 };

static const char *const operations[] = {"", "1", "2 1", "v", "f v", "1>7f(v:2)", "m v"};
static const char *const record[] = {"2 1"};

static const struct vmxsim_fuzz_shape sequence = {
    .head = "1 v", .operation = operations, .operation_count = 7};
static const struct vmxsim_fuzz_shape uniform = {
    .head = "", .operation = record, .operation_count = 1};
static const struct vmxsim_fuzz_shape head_only = {.head = "1 2 v"};
static const struct vmxsim_fuzz_shape text = {.head = NULL};
static const struct vmxsim_fuzz_shape *const shapes[] = {&sequence, &uniform, &head_only, &text};

enum { SHAPES = sizeof shapes / sizeof shapes[0] };

/* ---- Shapes that are refused ---- */

static const char *const bad_items[] = {
    "x",      "9",       "0",           "1 2 w", "1>",  "1>(v)", "1>7f",
    "1>7f(v", "1>7f(w)", "1>7f(1:2:3)", "1>7fv", "(v)", "V",     "1>7f(1>3(v))",
};

START_TEST(items_that_are_written_wrong_are_refused)
{
    const struct vmxsim_fuzz_shape shape = {.head = bad_items[_i]};
    const struct vmxsim_fuzz_shape as_operation = {
        .head = "", .operation = &bad_items[_i], .operation_count = 1};
    ck_assert(!vmxsim_fuzz_shape_is_valid(&shape));
    ck_assert(!vmxsim_fuzz_shape_is_valid(&as_operation));
    ck_assert_ptr_null(vmxsim_fuzz_afl_new(&shape, 1));
}
END_TEST

START_TEST(an_only_operation_without_items_is_refused)
{
    const char *const nothing[] = {" "};
    const struct vmxsim_fuzz_shape shape = {
        .head = "1", .operation = nothing, .operation_count = 1};
    ck_assert(!vmxsim_fuzz_shape_is_valid(&shape));
}
END_TEST

START_TEST(the_shapes_of_this_suite_are_valid)
{
    ck_assert(vmxsim_fuzz_shape_is_valid(shapes[_i]));
}
END_TEST

/* A shape that is not valid makes bad inputs, and touches nothing else. */
START_TEST(items_that_are_written_wrong_harm_nothing)
{
    const struct vmxsim_fuzz_shape shape = {
        .head = bad_items[_i], .operation = &bad_items[_i], .operation_count = 1};
    uint8_t bytes[ROOM + 1];
    size_t size = 0;
    memset(bytes, GUARD, sizeof bytes);
    for (uint64_t seed = 0; seed < 200; seed++) {
        size = vmxsim_fuzz_mutate(&shape, bytes, size, ROOM, seed);
        ck_assert_uint_le(size, ROOM);
        ck_assert_uint_eq(bytes[ROOM], GUARD);
    }
}
END_TEST

/* ---- Sizes ---- */

static void fill(uint8_t *bytes, size_t size, uint64_t seed)
{
    struct rng rng = rng_seeded(seed);
    for (size_t i = 0; i < size; i++)
        bytes[i] = (uint8_t)rng_next(&rng);
}

static const size_t sizes[] = {0, 1, 2, 3, 7, 30, ROOM - 1, ROOM, ROOM + 1, 4 * ROOM};
static const size_t rooms[] = {0, 1, 2, 3, 9, 29, 31, ROOM};

enum { SIZE_COUNT = sizeof sizes / sizeof sizes[0], ROOM_COUNT = sizeof rooms / sizeof rooms[0] };

START_TEST(no_byte_behind_the_room_is_touched)
{
    const struct vmxsim_fuzz_shape *shape = shapes[_i % SHAPES];
    const size_t room = rooms[_i / SHAPES % ROOM_COUNT];
    const size_t size = sizes[_i / SHAPES / ROOM_COUNT];
    uint8_t bytes[4 * ROOM + 1], other[ROOM];
    for (uint64_t seed = 0; seed < 300; seed++) {
        memset(bytes, GUARD, sizeof bytes);
        /* What is longer than the room is there all the same, and is not written to. */
        fill(bytes, size, seed);
        uint8_t behind[sizeof bytes];
        memcpy(behind, bytes, sizeof bytes);
        ck_assert_uint_le(vmxsim_fuzz_mutate(shape, bytes, size, room, seed), room);
        ck_assert_mem_eq(bytes + room, behind + room, sizeof bytes - room);
        fill(other, sizeof other, ~seed);
        ck_assert_uint_le(
            vmxsim_fuzz_splice(shape, bytes, size, room, other, sizes[seed % 7], seed), room);
        ck_assert_mem_eq(bytes + room, behind + room, sizeof bytes - room);
    }
}
END_TEST

START_TEST(a_long_chain_of_changes_stays_within_the_room)
{
    uint8_t bytes[ROOM + 1], other[ROOM];
    size_t size = 0, largest = 0;
    memset(bytes, GUARD, sizeof bytes);
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        fill(other, sizeof other, seed);
        size = seed % 8 == 0 ? vmxsim_fuzz_splice(shapes[_i], bytes, size, ROOM, other, ROOM, seed)
                             : vmxsim_fuzz_mutate(shapes[_i], bytes, size, ROOM, seed);
        ck_assert_uint_le(size, ROOM);
        ck_assert_uint_eq(bytes[ROOM], GUARD);
        largest = size > largest ? size : largest;
    }
    if (shapes[_i] != &head_only)
        ck_assert_uint_gt(largest, ROOM / 2);
}
END_TEST

/* ---- What comes of it ---- */

START_TEST(the_same_seed_gives_the_same_bytes)
{
    unsigned different = 0;
    for (uint64_t seed = 0; seed < 500; seed++) {
        uint8_t one[ROOM], two[ROOM], original[ROOM];
        fill(original, 60, seed);
        memcpy(one, original, 60);
        memcpy(two, original, 60);
        const size_t size = vmxsim_fuzz_mutate(shapes[_i], one, 60, ROOM, seed);
        ck_assert_uint_eq(vmxsim_fuzz_mutate(shapes[_i], two, 60, ROOM, seed), size);
        ck_assert_mem_eq(one, two, size);
        different += size != 60 || memcmp(one, original, 60) != 0;
    }
    /* A change may come to what was there; most do not. */
    ck_assert_uint_gt(different, 350);
}
END_TEST

START_TEST(every_operation_comes_up)
{
    bool seen[7] = {false};
    uint8_t bytes[ROOM];
    size_t size = 0;
    for (uint64_t seed = 0; seed < 500; seed++) {
        size = vmxsim_fuzz_mutate(&sequence, bytes, seed % 20 == 0 ? 0 : size, ROOM, seed);
        size_t at = vmxsim_fuzz_skip(vmxsim_fuzz_head(&sequence, bytes, size));
        for (; at < size; at = vmxsim_fuzz_skip(vmxsim_fuzz_operation(&sequence, bytes, size, at)))
            seen[bytes[at] % 7] = true;
    }
    for (size_t i = 0; i < 7; i++)
        ck_assert_msg(seen[i], "operation %zu", i);
}
END_TEST

/* Five records, each of three equal bytes: where they go shows what was done. */
static bool is_whole(const uint8_t *bytes, size_t size)
{
    for (size_t i = 0; i < size; i += 3)
        if (bytes[i] != bytes[i + 1] || bytes[i] != bytes[i + 2])
            return false;
    return true;
}

START_TEST(operations_go_come_and_change_places_as_a_whole)
{
    unsigned shorter = 0, longer = 0, moved = 0, changed = 0;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        uint8_t bytes[ROOM];
        for (size_t i = 0; i < 15; i++)
            bytes[i] = (uint8_t)(1 + i / 3);
        const size_t size = vmxsim_fuzz_mutate(&uniform, bytes, 15, ROOM, seed);
        ck_assert_uint_eq(size % 3, 0);
        const bool whole = is_whole(bytes, size);
        shorter += whole && size < 15;
        longer += whole && size > 15;
        moved += whole && size == 15 && bytes[0] + bytes[3] + bytes[6] + bytes[9] + bytes[12] == 15;
        changed += !whole;
    }
    ck_assert_uint_gt(shorter, SEEDS / 50);
    ck_assert_uint_gt(longer, SEEDS / 50);
    ck_assert_uint_gt(moved, SEEDS / 50);
    ck_assert_uint_gt(changed, SEEDS / 4);
}
END_TEST

START_TEST(a_splice_has_operations_of_both)
{
    unsigned both = 0, replaced = 0;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        uint8_t bytes[ROOM] = {1, 1, 1, 1, 1, 1};
        const uint8_t other[] = {2, 2, 2, 3, 3, 3, 4, 4, 4};
        const size_t size = vmxsim_fuzz_splice(&uniform, bytes, 6, ROOM, other, sizeof other, seed);
        ck_assert_uint_eq(size % 3, 0);
        ck_assert(is_whole(bytes, size));
        ck_assert(memchr(bytes, 2, size) || memchr(bytes, 3, size) || memchr(bytes, 4, size));
        both += memchr(bytes, 1, size) != NULL;
        replaced += bytes[size - 1] == 4 && size < 15;
    }
    ck_assert_uint_gt(both, SEEDS / 2);
    ck_assert_uint_gt(replaced, SEEDS / 8);
}
END_TEST

/* Of GUEST_RIP and of an event: the values at which rules decide are tried, and those next to them. */
START_TEST(values_of_fields_come_from_the_table)
{
    static const char *const field[] = {"f v"};
    const struct vmxsim_fuzz_shape shape = {.head = "", .operation = field, .operation_count = 1};
    unsigned canonical = 0, nmi = 0;
    for (uint64_t seed = 0; seed < 20 * SEEDS; seed++) {
        uint8_t bytes[ROOM];
        const size_t size = vmxsim_fuzz_mutate(&shape, bytes, 0, ROOM, seed);
        struct vmxsim_fuzz_input input = {.next = bytes, .left = size};
        const uint32_t ordinal = vmxsim_fuzz_below(&input, VMXC_VMCS_FIELD_COUNT);
        const uint64_t value = vmxsim_fuzz_value(&input);
        canonical += ordinal == VMXC_VMCS_ORDINAL_GUEST_RIP && value == UINT64_C(0x800000000000);
        nmi += ordinal == VMXC_VMCS_ORDINAL_VM_ENTRY_INTERRUPTION_INFO && value == 0x80000203;
    }
    ck_assert_uint_gt(canonical, 0);
    ck_assert_uint_gt(nmi, 0);
}
END_TEST

START_TEST(a_value_is_read_as_it_was_put)
{
    struct rng rng = rng_seeded(7);
    for (unsigned i = 0; i < 20000; i++) {
        uint8_t bytes[VMXSIM_FUZZ_VALUE_SIZE];
        const uint64_t bit = UINT64_C(1) << (i % 64);
        const uint64_t values[] = {bit, bit - 1, ~bit, ~(bit - 1), rng_next(&rng) >> i % 64};
        const uint64_t value = values[i % 5];
        struct vmxsim_fuzz_input input = {.next = bytes};
        input.left = vmxsim_fuzz_put_value(value, bytes);
        ck_assert_uint_le(input.left, VMXSIM_FUZZ_VALUE_SIZE);
        ck_assert_uint_eq(vmxsim_fuzz_value(&input), value);
        ck_assert_uint_eq(input.left, 0);
    }
}
END_TEST

/* ---- Texts ---- */

START_TEST(texts_change_by_lines_words_and_numbers)
{
    static const char original[] = "{\"a\": \"0x10\", \"b\": 7}\n{\"c\": true}\n";
    const size_t length = sizeof original - 1;
    unsigned lines = 0, numbers = 0;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        char bytes[ROOM + 1] = "";
        memcpy(bytes, original, length);
        const size_t size = vmxsim_fuzz_mutate(&text, (uint8_t *)bytes, length, ROOM, seed);
        bytes[size] = '\0';
        lines += strcmp(bytes, "{\"c\": true}\n") == 0;
        numbers += strstr(bytes, "\"0x11\", \"b\": 7}\n{\"c\": true}\n") != NULL;
    }
    ck_assert_uint_gt(lines, 0);
    ck_assert_uint_gt(numbers, 0);
}
END_TEST

/* ---- AFL++ ---- */

START_TEST(the_state_for_afl_gives_the_same_for_the_same_seed)
{
    struct vmxsim_fuzz_afl *const one = vmxsim_fuzz_afl_new(&sequence, 5);
    struct vmxsim_fuzz_afl *const two = vmxsim_fuzz_afl_new(&sequence, 5);
    uint8_t data[40], other[40], kept[40];
    fill(data, sizeof data, 1);
    fill(other, sizeof other, 2);
    memcpy(kept, data, sizeof data);
    ck_assert(one != NULL && two != NULL);
    for (size_t i = 0; i < SEEDS; i++) {
        uint8_t *out = NULL, *again = NULL;
        const size_t room = i % 100;
        const size_t size =
            vmxsim_fuzz_afl_run(one, data, i % 41, &out, i % 3 ? other : NULL, i % 41, room);
        ck_assert_uint_le(size, room);
        ck_assert_ptr_nonnull(out);
        ck_assert_uint_eq(
            vmxsim_fuzz_afl_run(two, data, i % 41, &again, i % 3 ? other : NULL, i % 41, room),
            size);
        ck_assert(size == 0 || memcmp(out, again, size) == 0);
        ck_assert_mem_eq(data, kept, sizeof data);
    }
    vmxsim_fuzz_afl_free(one);
    vmxsim_fuzz_afl_free(two);
    vmxsim_fuzz_afl_free(NULL);
}
END_TEST

static Suite *fuzz_mutate_suite(void)
{
    Suite *s = suite_create("fuzz_mutate");
    TCase *refused = tcase_create("refused");
    const int bad = COUNT(bad_items);
    tcase_add_loop_test(refused, items_that_are_written_wrong_are_refused, 0, bad);
    tcase_add_test(refused, an_only_operation_without_items_is_refused);
    tcase_add_loop_test(refused, the_shapes_of_this_suite_are_valid, 0, SHAPES);
    tcase_add_loop_test(refused, items_that_are_written_wrong_harm_nothing, 0, bad);
    suite_add_tcase(s, refused);
    TCase *size = tcase_create("sizes");
    tcase_add_loop_test(size, no_byte_behind_the_room_is_touched, 0,
                        SHAPES * ROOM_COUNT * SIZE_COUNT);
    tcase_add_loop_test(size, a_long_chain_of_changes_stays_within_the_room, 0, SHAPES);
    suite_add_tcase(s, size);
    TCase *change = tcase_create("changes");
    tcase_add_loop_test(change, the_same_seed_gives_the_same_bytes, 0, SHAPES);
    tcase_add_test(change, every_operation_comes_up);
    tcase_add_test(change, operations_go_come_and_change_places_as_a_whole);
    tcase_add_test(change, a_splice_has_operations_of_both);
    tcase_add_test(change, values_of_fields_come_from_the_table);
    tcase_add_test(change, a_value_is_read_as_it_was_put);
    tcase_add_test(change, texts_change_by_lines_words_and_numbers);
    tcase_add_test(change, the_state_for_afl_gives_the_same_for_the_same_seed);
    suite_add_tcase(s, change);
    return s;
}

int main(void)
{
    return run_suite(fuzz_mutate_suite());
}
