/* SPDX-License-Identifier: Apache-2.0 */
#include "internal/fuzz_shape.h"

#include <string.h>

#include "vmxcore/defs/vmcs.h"

/* As vmxsim_fuzz_below reads it. */
enum { FIELD_WIDTH = VMXC_VMCS_FIELD_COUNT > 256 ? 2 : 1 };

static bool is_width(char letter)
{
    return letter >= '1' && letter <= '8';
}

static bool is_hex(char letter)
{
    return (letter >= '0' && letter <= '9') || (letter >= 'a' && letter <= 'f');
}

static uint64_t hex_value(const char **text)
{
    uint64_t value = 0;

    for (; is_hex(**text); (*text)++)
        value = value << 4 | (uint64_t)(**text <= '9' ? **text - '0' : **text - 'a' + 10);
    return value;
}

/* The first letter that is one of `letters`, or the end. */
static const char *find(const char *items, const char *letters)
{
    return items + strcspn(items, letters);
}

/* ---- Reading ---- */

struct vmxsim_fuzz_cursor vmxsim_fuzz_head(const struct vmxsim_fuzz_shape *shape,
                                           const uint8_t *bytes, size_t size)
{
    return (struct vmxsim_fuzz_cursor){
        .shape = shape, .items = shape->head, .bytes = bytes, .size = size};
}

struct vmxsim_fuzz_cursor vmxsim_fuzz_operation(const struct vmxsim_fuzz_shape *shape,
                                                const uint8_t *bytes, size_t size, size_t at)
{
    return (struct vmxsim_fuzz_cursor){.shape = shape,
                                       .items =
                                           shape->operation_count == 1 ? shape->operation[0] : "",
                                       .selects = shape->operation_count > 1,
                                       .bytes = bytes,
                                       .size = size,
                                       .at = at};
}

/* Behind marks; at the end of a first alternative, behind the second. */
static const char *next_letter(const char *items)
{
    while (*items == ' ' || *items == ')' || *items == ':')
        items = *items == ':' ? find(items, ")") : items + 1;
    return items;
}

bool vmxsim_fuzz_peek(struct vmxsim_fuzz_cursor *cursor, struct vmxsim_fuzz_item *item)
{
    if (cursor->selects) {
        *item = (struct vmxsim_fuzz_item){VMXSIM_FUZZ_SELECTOR, 1, true};
        return true;
    }
    cursor->items = next_letter(cursor->items);
    const char letter = *cursor->items;
    *item = (struct vmxsim_fuzz_item){.kind = VMXSIM_FUZZ_NUMBER};
    if (is_width(letter)) {
        item->width = (unsigned)(letter - '0');
        item->decides = cursor->items[1] == '>';
        return true;
    }
    item->kind = letter == 'v'   ? VMXSIM_FUZZ_VALUE
                 : letter == 'm' ? VMXSIM_FUZZ_MSR
                                 : VMXSIM_FUZZ_FIELD;
    item->width = letter == 'f' ? FIELD_WIDTH : 0;
    return letter == 'v' || letter == 'm' || letter == 'f';
}

/* Behind a number that decides: into the alternative that it chooses. */
static void choose(struct vmxsim_fuzz_cursor *cursor, uint64_t number)
{
    cursor->items++;
    const bool first = number > hex_value(&cursor->items);

    cursor->items = first ? find(cursor->items, "(") : find(cursor->items, ":)");
    cursor->items += *cursor->items != '\0';
}

static void select_operation(struct vmxsim_fuzz_cursor *cursor, unsigned byte)
{
    const struct vmxsim_fuzz_shape *shape = cursor->shape;
    const unsigned bits = shape->selector == 0 ? byte : byte & shape->selector;

    cursor->selects = false;
    cursor->items = shape->operation[bits % shape->operation_count];
}

void vmxsim_fuzz_advance(struct vmxsim_fuzz_cursor *cursor, const struct vmxsim_fuzz_item *item)
{
    struct vmxsim_fuzz_input input = {.next = cursor->bytes + cursor->at,
                                      .left = cursor->size - cursor->at};
    const uint64_t number =
        item->width > 0 ? vmxsim_fuzz_take(&input, item->width) : vmxsim_fuzz_value(&input);

    cursor->at = cursor->size - input.left;
    if (item->kind == VMXSIM_FUZZ_SELECTOR) {
        select_operation(cursor, (unsigned)number);
        return;
    }
    cursor->items++;
    if (item->decides)
        choose(cursor, number);
}

size_t vmxsim_fuzz_skip(struct vmxsim_fuzz_cursor cursor)
{
    struct vmxsim_fuzz_item item;

    while (vmxsim_fuzz_peek(&cursor, &item))
        vmxsim_fuzz_advance(&cursor, &item);
    return cursor.at;
}

/* ---- Validity ---- */

static bool is_item(char letter)
{
    return is_width(letter) || letter == 'v' || letter == 'f' || letter == 'm';
}

/* "v:2)" and what follows it; NULL if it is none. */
static const char *alternatives(const char *items)
{
    unsigned colons = 0;

    for (; *items != ')'; items++) {
        colons += *items == ':';
        if ((!is_item(*items) && *items != ' ' && *items != ':') || colons > 1)
            return NULL;
    }
    return items + 1;
}

static bool are_items(const char *items)
{
    while (*items != '\0') {
        if (*items != ' ' && !is_item(*items))
            return false;
        const bool decides = is_width(*items) && items[1] == '>';
        items++;
        if (!decides)
            continue;
        const char *const digits = ++items;
        (void)hex_value(&items);
        if (items == digits || *items != '(')
            return false;
        items = alternatives(items + 1);
        if (items == NULL)
            return false;
    }
    return true;
}

bool vmxsim_fuzz_shape_is_valid(const struct vmxsim_fuzz_shape *shape)
{
    if (shape->head == NULL)
        return true;
    for (size_t i = 0; i < shape->operation_count; i++) {
        if (!are_items(shape->operation[i]))
            return false;
    }
    /* An only operation without items would never end. */
    return are_items(shape->head) &&
           (shape->operation_count != 1 ||
            strspn(shape->operation[0], " ") != strlen(shape->operation[0]));
}
