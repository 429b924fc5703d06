/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Mutators that know operations.
 *
 *     | head | operation | operation | ... |
 *              ^ one place              ^ another: what is between them goes, comes, moves
 *     | selector | item | item | ... |
 *                  ^ one changes; if what follows depends on it, that is made anew
 */
#include "internal/fuzz_mutate.h"

#include "vmxcore/defs/vmcs.h"

enum { MAX_CHANGES = 4, MAX_RUN = 4, MAX_NEW = 32, MAX_MADE = 128 };

/* ---- Places ---- */

/* Where the operation that starts at `at` ends: behind it, whatever its items are. */
static size_t operation_end(const struct vmxsim_fuzz_shape *shape, const uint8_t *bytes,
                            size_t size, size_t at)
{
    const size_t end = vmxsim_fuzz_skip(vmxsim_fuzz_operation(shape, bytes, size, at));

    return end > at ? end : size;
}

static size_t count_operations(const struct vmxsim_fuzz_shape *shape, const uint8_t *bytes,
                               size_t size)
{
    size_t count = 0;

    if (shape->operation_count == 0)
        return 0;
    for (size_t at = vmxsim_fuzz_skip(vmxsim_fuzz_head(shape, bytes, size)); at < size; count++)
        at = operation_end(shape, bytes, size, at);
    return count;
}

/* Where the operation of this number starts; the end of the input for those that are not there. */
static size_t place_of(const struct vmxsim_fuzz_shape *shape, const uint8_t *bytes, size_t size,
                       size_t number)
{
    size_t at = vmxsim_fuzz_skip(vmxsim_fuzz_head(shape, bytes, size));

    for (; number > 0 && at < size; number--)
        at = operation_end(shape, bytes, size, at);
    return at;
}

static size_t place(const struct vmxsim_fuzz_edit *edit, size_t number)
{
    return place_of(edit->shape, edit->bytes, edit->size, number);
}

/* A few operations in a row: numbers of the first and of the one behind the last. */
static void pick_run(struct vmxsim_fuzz_edit *edit, size_t count, size_t run[2])
{
    run[0] = vmxsim_fuzz_pick(edit, count);
    run[1] = run[0] + 1 + vmxsim_fuzz_pick(edit, MAX_RUN);
    run[1] = run[1] < count ? run[1] : count;
}

/* ---- Items ---- */

static uint64_t read_item(const struct vmxsim_fuzz_cursor *cursor,
                          const struct vmxsim_fuzz_item *item)
{
    struct vmxsim_fuzz_input input = {.next = cursor->bytes + cursor->at,
                                      .left = cursor->size - cursor->at};

    return item->width > 0 ? vmxsim_fuzz_take(&input, item->width) : vmxsim_fuzz_value(&input);
}

/* Another value of an item; `field`: the one whose value it is. */
static uint64_t other_value(struct vmxsim_fuzz_edit *edit, const struct vmxsim_fuzz_item *item,
                            uint64_t old, const uint64_t *field)
{
    if (item->kind == VMXSIM_FUZZ_SELECTOR)
        return vmxsim_fuzz_pick(edit, 256);
    if (item->kind == VMXSIM_FUZZ_FIELD)
        return vmxsim_fuzz_pick(edit, VMXC_VMCS_FIELD_COUNT);
    if (item->kind == VMXSIM_FUZZ_MSR && vmxsim_fuzz_pick(edit, 4) > 0)
        return vmxsim_fuzz_msr(edit);
    if (field != NULL)
        return vmxsim_fuzz_field_value(edit, (size_t)*field, old);
    return vmxsim_fuzz_near(edit, old, item->width > 0 ? 8 * item->width : 64);
}

static size_t put_item(const struct vmxsim_fuzz_item *item, uint64_t value,
                       uint8_t bytes[VMXSIM_FUZZ_VALUE_SIZE])
{
    if (item->width == 0)
        return vmxsim_fuzz_put_value(value, bytes);
    for (unsigned i = 0; i < item->width; i++)
        bytes[i] = (uint8_t)(value >> (8 * i));
    return item->width;
}

/*
 * Items from the cursor on, made of nothing, into a place of their own: `made`. A cursor that has read a field gives its
 * number. Returns how many bytes.
 */
static size_t make_items(struct vmxsim_fuzz_edit *edit, struct vmxsim_fuzz_cursor cursor,
                         const uint64_t *field, uint8_t made[MAX_MADE])
{
    struct vmxsim_fuzz_item item;
    uint64_t value = 0;

    cursor.bytes = made;
    cursor.at = 0;
    cursor.size = 0;
    while (cursor.at + VMXSIM_FUZZ_VALUE_SIZE <= MAX_MADE && vmxsim_fuzz_peek(&cursor, &item)) {
        value = other_value(edit, &item, 0, field);
        cursor.size += put_item(&item, value, made + cursor.at);
        vmxsim_fuzz_advance(&cursor, &item);
        field = item.kind == VMXSIM_FUZZ_FIELD ? &value : NULL;
    }
    return cursor.at;
}

static size_t count_items(struct vmxsim_fuzz_cursor cursor)
{
    struct vmxsim_fuzz_item item;
    size_t count = 0;

    for (; vmxsim_fuzz_peek(&cursor, &item); count++)
        vmxsim_fuzz_advance(&cursor, &item);
    return count;
}

/* One item changes; what depends on it is made anew. A value follows its field. */
static void change_item(struct vmxsim_fuzz_edit *edit, struct vmxsim_fuzz_cursor cursor)
{
    uint8_t made[MAX_MADE];
    const size_t end = vmxsim_fuzz_skip(cursor);
    size_t number = vmxsim_fuzz_pick(edit, count_items(cursor));
    struct vmxsim_fuzz_item item;
    uint64_t previous = 0;
    bool is_of_field = false;

    for (; vmxsim_fuzz_peek(&cursor, &item) && number > 0; number--) {
        previous = read_item(&cursor, &item);
        is_of_field = item.kind == VMXSIM_FUZZ_FIELD;
        vmxsim_fuzz_advance(&cursor, &item);
    }
    if (!vmxsim_fuzz_peek(&cursor, &item))
        return;
    const uint64_t *const field = is_of_field ? &previous : NULL;
    const size_t from = cursor.at;
    if (item.decides) {
        (void)vmxsim_fuzz_replace(edit, from, end, made, make_items(edit, cursor, field, made));
        return;
    }
    const uint64_t value = other_value(edit, &item, read_item(&cursor, &item), field);
    vmxsim_fuzz_advance(&cursor, &item);
    (void)vmxsim_fuzz_replace(edit, from, cursor.at, made, put_item(&item, value, made));
}

/* ---- Changes ---- */

static void delete_operations(struct vmxsim_fuzz_edit *edit, size_t count)
{
    size_t run[2];

    pick_run(edit, count, run);
    (void)vmxsim_fuzz_replace(edit, place(edit, run[0]), place(edit, run[1]), NULL, 0);
}

/* A few new ones in a row; now and then many, for what only long sequences reach. */
static void insert_operations(struct vmxsim_fuzz_edit *edit, size_t count)
{
    uint8_t made[MAX_MADE];
    const size_t at = place(edit, vmxsim_fuzz_pick(edit, count + 1));
    const struct vmxsim_fuzz_cursor cursor =
        vmxsim_fuzz_operation(edit->shape, edit->bytes, edit->size, at);
    const size_t most = vmxsim_fuzz_pick(edit, 4) == 0 ? MAX_NEW : MAX_RUN;

    for (size_t left = 1 + vmxsim_fuzz_pick(edit, most); left > 0; left--)
        (void)vmxsim_fuzz_replace(edit, at, at, made, make_items(edit, cursor, NULL, made));
}

static void repeat_operations(struct vmxsim_fuzz_edit *edit, size_t count)
{
    size_t run[2];

    pick_run(edit, count, run);
    const size_t outside = count + 1 - (run[1] - run[0] - 1);
    size_t at = vmxsim_fuzz_pick(edit, outside);
    at = at <= run[0] ? at : at + run[1] - run[0] - 1;
    (void)vmxsim_fuzz_duplicate(edit, place(edit, run[0]), place(edit, run[1]), place(edit, at));
}

static void swap_operations(struct vmxsim_fuzz_edit *edit, size_t count)
{
    const size_t one = vmxsim_fuzz_pick(edit, count), two = vmxsim_fuzz_pick(edit, count);
    const size_t first = one < two ? one : two, second = one < two ? two : one;
    const size_t places[4] = {place(edit, first), place(edit, first + 1), place(edit, second),
                              place(edit, second + 1)};

    if (first != second)
        vmxsim_fuzz_swap(edit, places);
}

static void change_operation(struct vmxsim_fuzz_edit *edit, size_t count)
{
    const size_t at = place(edit, vmxsim_fuzz_pick(edit, count));

    change_item(edit, vmxsim_fuzz_operation(edit->shape, edit->bytes, edit->size, at));
}

static void change_head(struct vmxsim_fuzz_edit *edit)
{
    change_item(edit, vmxsim_fuzz_head(edit->shape, edit->bytes, edit->size));
}

/* An item of the head is as likely to change as half an operation. Half of the changes of operations are to one item. */
static void change(struct vmxsim_fuzz_edit *edit)
{
    static void (*const changes[])(struct vmxsim_fuzz_edit *, size_t) = {
        change_operation,  change_operation,  change_operation, change_operation,
        delete_operations, repeat_operations, swap_operations,  insert_operations,
    };
    enum { CHANGES = sizeof changes / sizeof changes[0] };
    const size_t count = count_operations(edit->shape, edit->bytes, edit->size);
    const size_t in_head = count_items(vmxsim_fuzz_head(edit->shape, edit->bytes, edit->size));

    if (edit->shape->operation_count == 0 ||
        vmxsim_fuzz_pick(edit, in_head + 2 * count + 1) < in_head)
        change_head(edit);
    else if (count == 0)
        insert_operations(edit, 0);
    else
        changes[vmxsim_fuzz_pick(edit, CHANGES)](edit, count);
}

static struct vmxsim_fuzz_edit start(const struct vmxsim_fuzz_shape *shape, uint8_t *data,
                                     size_t size, size_t max_size, uint64_t seed)
{
    return (struct vmxsim_fuzz_edit){.shape = shape,
                                     .bytes = data,
                                     .size = size < max_size ? size : max_size,
                                     .max = max_size,
                                     .random = seed};
}

size_t vmxsim_fuzz_mutate(const struct vmxsim_fuzz_shape *shape, uint8_t *data, size_t size,
                          size_t max_size, uint64_t seed)
{
    struct vmxsim_fuzz_edit edit = start(shape, data, size, max_size, seed);
    const size_t changes = 1 + vmxsim_fuzz_pick(&edit, MAX_CHANGES);

    for (size_t i = 0; i < changes; i++) {
        if (shape->head == NULL)
            vmxsim_fuzz_change_text(&edit);
        else
            change(&edit);
    }
    return edit.size;
}

/* ---- Splicing ---- */

/* Operations of the other input, between those of this one or in place of the last ones. */
static void splice(struct vmxsim_fuzz_edit *edit, const uint8_t *other, size_t other_size)
{
    const struct vmxsim_fuzz_shape *const shape = edit->shape;
    const size_t others = count_operations(shape, other, other_size);
    const size_t count = count_operations(shape, edit->bytes, edit->size);
    const bool is_tail = vmxsim_fuzz_pick(edit, 2) == 0;
    size_t run[2];

    if (others == 0)
        return;
    pick_run(edit, others, run);
    run[1] = is_tail ? others : run[1];
    const size_t from = place_of(shape, other, other_size, run[0]);
    const size_t to = place_of(shape, other, other_size, run[1]);
    const size_t at = place(edit, vmxsim_fuzz_pick(edit, count + 1));
    (void)vmxsim_fuzz_replace(edit, at, is_tail ? edit->size : at, other + from, to - from);
}

size_t vmxsim_fuzz_splice(const struct vmxsim_fuzz_shape *shape, uint8_t *data, size_t size,
                          size_t max_size, const uint8_t *other, size_t other_size, uint64_t seed)
{
    struct vmxsim_fuzz_edit edit = start(shape, data, size, max_size, seed);

    if (shape->head == NULL)
        vmxsim_fuzz_splice_text(&edit, other, other_size);
    else
        splice(&edit, other, other_size);
    return edit.size;
}
