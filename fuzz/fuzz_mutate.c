/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Mutators, with the shapes of the harnesses here and with others, on any bytes.
 *
 *  - A shape is valid if, and only if, it is made of items that are, and an only operation has one.
 *  - No byte behind the room is written, and what comes of it fits; the same seed gives the same bytes.
 *  - Of bytes that end where an operation does, mutators make such bytes again.
 *  - A text gets no control characters. What another input is made of stays as it is.
 *
 * Input: which shape (1), its selector (1), how many changes (1), room and bytes of the other input (2 each), seed (8), the number
 * of operations (1), items of the head and of four operations (4 each); then the bytes that are mutated.
 */
#include "harness.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "shapes.h"
#include "vmxcore/defs/vmcs.h"
#include "vmxsim/fuzz_engine.h"

enum { OWN = 0x80, OPERATIONS = 4, ITEMS = 4, TEXT_SIZE = 128, MAX_ROOM = 600, MAX_CHANGES = 64 };

/* A shape of the input's own. */
struct own_shape {
    char text[1 + OPERATIONS][TEXT_SIZE]; /* the head first */
    const char *operation[OPERATIONS];
    bool is_whole; /* every item is one */
    struct vmxsim_fuzz_shape shape;
};

struct experiment {
    const struct vmxsim_fuzz_shape *shape;
    bool is_valid;
    size_t room, other_size, size;
    uint64_t seed;
    const uint8_t *bytes, *other;
};

/* ---- Shapes ---- */

static const char *const names[] = {
#define FUZZ_SHAPE(harness, ...)  #harness,
#define FUZZ_HEAD(harness, items) #harness,
#define FUZZ_TEXT(harness)        #harness,
#include "shapes.def"
};

enum { NAMES = sizeof names / sizeof names[0] };

/* Nothing that follows makes an item of one that is none. */
static const struct {
    const char *text;
    bool is_item;
} items[] = {
    {"", true},
    {"1", true},
    {"2", true},
    {"3", true},
    {"4", true},
    {"8", true},
    {"v", true},
    {"f", true},
    {"m", true},
    {"fv", true},
    {"f 8", true},
    {"1>7f(v)", true},
    {"1>bf(v m : 2 f)", true},
    {"2>efff(f v)", true},
    {"8>0(:1)", true},
    {"4>ffffffff(v)", true},
    {"1>0()", true},
    {"9", false},
    {"x", false},
    {"1>(v)", false},
    {"1>7f(w)", false},
    {"1>7f", false},
    {"1>7f(1:2:3)", false},
    {"1>7f(1>3(v))", false},
    {")", false},
};

enum { ITEM_COUNT = sizeof items / sizeof items[0] };

/* Four items, a byte each. */
static void compose(struct own_shape *own, char text[TEXT_SIZE], uint32_t choices)
{
    text[0] = '\0';
    for (unsigned i = 0; i < ITEMS; i++) {
        const unsigned item = (choices >> (8 * i) & 0xff) % ITEM_COUNT;
        strcat(text, items[item].text);
        strcat(text, " ");
        own->is_whole = own->is_whole && items[item].is_item;
    }
}

static void compose_shape(struct vmxsim_fuzz_input *input, uint8_t selector, struct own_shape *own)
{
    const unsigned count = vmxsim_fuzz_below(input, OPERATIONS + 1);
    uint32_t choices[1 + OPERATIONS];

    own->is_whole = true;
    for (unsigned i = 0; i <= OPERATIONS; i++)
        choices[i] = (uint32_t)vmxsim_fuzz_take(input, 4);
    for (unsigned i = 0; i <= count; i++)
        compose(own, own->text[i], choices[i]);
    for (unsigned i = 0; i < OPERATIONS; i++)
        own->operation[i] = own->text[1 + i];
    own->shape = (struct vmxsim_fuzz_shape){.head = own->text[0],
                                            .operation = count > 0 ? own->operation : NULL,
                                            .operation_count = count,
                                            .selector = selector};
}

static void check_validity(const struct own_shape *own, bool is_valid)
{
    const bool never_ends = own->shape.operation_count == 1 &&
                            strspn(own->operation[0], " ") == strlen(own->operation[0]);

    REQUIRE(is_valid == (own->is_whole && !never_ends),
            "head \"%s\", %zu operations, the first \"%s\"", own->text[0],
            own->shape.operation_count, own->text[1]);
}

/* ---- Reading as a harness does ---- */

/* One item; false: it is a letter that reads nothing. */
static bool read_letter(struct vmxsim_fuzz_input *input, char letter, uint64_t *number)
{
    if (letter == 'v' || letter == 'm')
        *number = vmxsim_fuzz_value(input);
    else if (letter == 'f')
        *number = vmxsim_fuzz_below(input, VMXC_VMCS_FIELD_COUNT);
    else if (letter >= '1' && letter <= '8')
        *number = vmxsim_fuzz_take(input, (unsigned)(letter - '0'));
    else
        return false;
    return true;
}

/* From "(" or ":" on, to what ends it. */
static void read_alternative(struct vmxsim_fuzz_input *input, const char *letters)
{
    uint64_t number;

    for (; *letters != ')' && *letters != ':'; letters++)
        (void)read_letter(input, *letters, &number);
}

static void read_items(struct vmxsim_fuzz_input *input, const char *letters)
{
    uint64_t number;
    char *open;

    for (; *letters != '\0'; letters++) {
        if (!read_letter(input, *letters, &number) || letters[1] != '>')
            continue;
        const bool first = number > strtoull(letters + 2, &open, 16);
        const char *const close = strchr(open, ')');
        const char *const colon = memchr(open, ':', (size_t)(close - open));
        if (first)
            read_alternative(input, open + 1);
        else if (colon != NULL)
            read_alternative(input, colon + 1);
        letters = close;
    }
}

static void read_operation(struct vmxsim_fuzz_input *input, const struct vmxsim_fuzz_shape *shape)
{
    unsigned number = 0;

    if (shape->operation_count > 1)
        number = (unsigned)vmxsim_fuzz_take(input, 1);
    number = shape->selector != 0 ? number & shape->selector : number;
    read_items(input, shape->operation[number % shape->operation_count]);
}

/* Whether the bytes end where the head or an operation does: more bytes behind them would be read by the next one. */
static bool is_whole(const struct vmxsim_fuzz_shape *shape, const uint8_t *bytes, size_t size)
{
    enum { MORE = 256 }; /* more than a head or an operation reads */
    uint8_t *const longer = calloc(1, size + MORE);
    struct vmxsim_fuzz_input input = {.next = longer, .left = size + MORE};

    REQUIRE(longer != NULL, "no memory");
    if (size > 0)
        memcpy(longer, bytes, size);
    read_items(&input, shape->head);
    while (input.left > MORE && shape->operation_count > 0)
        read_operation(&input, shape);
    free(longer);
    return input.left == MORE;
}

/* ---- One change ---- */

/* A copy that has `room` bytes at least, and no more than that or its own. */
static uint8_t *copy_bytes(const uint8_t *bytes, size_t size, size_t room)
{
    uint8_t *const copy = malloc(size > room ? size : room > 0 ? room : 1);

    REQUIRE(copy != NULL, "no memory");
    if (size > 0)
        memcpy(copy, bytes, size);
    return copy;
}

static bool has_control_characters(const uint8_t *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        if (bytes[i] < ' ' && bytes[i] != '\n')
            return true;
    }
    return false;
}

/* Whether what came of well-formed bytes is so, too. */
static void check_form(const struct experiment *experiment, const uint8_t *before,
                       const uint8_t *after, size_t after_size, bool uses_other)
{
    const struct vmxsim_fuzz_shape *const shape = experiment->shape;

    if (experiment->size > experiment->room)
        return; /* cut */
    if (shape->head == NULL)
        REQUIRE(has_control_characters(before, experiment->size) ||
                    has_control_characters(experiment->other, experiment->other_size) ||
                    !has_control_characters(after, after_size),
                "seed %" PRIu64 " makes a control character", experiment->seed);
    else if (experiment->is_valid && is_whole(shape, before, experiment->size) &&
             (!uses_other || is_whole(shape, experiment->other, experiment->other_size)))
        REQUIRE(is_whole(shape, after, after_size), "seed %" PRIu64 " cuts an operation",
                experiment->seed);
}

static size_t change(const struct experiment *experiment, uint8_t *bytes, bool splices)
{
    return splices
               ? vmxsim_fuzz_splice(experiment->shape, bytes, experiment->size, experiment->room,
                                    experiment->other, experiment->other_size, experiment->seed)
               : vmxsim_fuzz_mutate(experiment->shape, bytes, experiment->size, experiment->room,
                                    experiment->seed);
}

/* In a place of its own, so that nothing beside it can be touched. Returns the place; its owner is the caller. */
static uint8_t *change_and_check(struct experiment *experiment, bool splices)
{
    uint8_t *const one = copy_bytes(experiment->bytes, experiment->size, experiment->room);
    uint8_t *const two = copy_bytes(experiment->bytes, experiment->size, experiment->room);
    const size_t size = change(experiment, one, splices);

    REQUIRE(size <= experiment->room, "%zu bytes, there is room for %zu", size, experiment->room);
    if (experiment->size > experiment->room)
        REQUIRE(memcmp(one + experiment->room, experiment->bytes + experiment->room,
                       experiment->size - experiment->room) == 0,
                "bytes behind the room are written");
    REQUIRE(change(experiment, two, splices) == size && memcmp(one, two, size) == 0,
            "seed %" PRIu64 " makes this and that", experiment->seed);
    check_form(experiment, experiment->bytes, one, size, splices);
    free(two);
    experiment->size = size;
    return one;
}

/* ---- The experiment ---- */

/* AFL++'s way to the same: two of them agree, and leave both inputs as they are. */
static void run_afl(const struct experiment *experiment)
{
    struct vmxsim_fuzz_afl *const one = vmxsim_fuzz_afl_new(experiment->shape, experiment->seed);
    struct vmxsim_fuzz_afl *const two = vmxsim_fuzz_afl_new(experiment->shape, experiment->seed);
    uint8_t *out[2];

    REQUIRE((one != NULL) == experiment->is_valid && (two != NULL) == experiment->is_valid,
            "the shape is %svalid", experiment->is_valid ? "" : "not ");
    for (unsigned i = 0; i < 8 && one != NULL; i++) {
        const size_t size =
            vmxsim_fuzz_afl_run(one, experiment->bytes, experiment->size, &out[0],
                                experiment->other, experiment->other_size, experiment->room);
        REQUIRE(size <= experiment->room, "%zu bytes, at most %zu", size, experiment->room);
        REQUIRE(vmxsim_fuzz_afl_run(two, experiment->bytes, experiment->size, &out[1],
                                    experiment->other, experiment->other_size,
                                    experiment->room) == size &&
                    memcmp(out[0], out[1], size) == 0,
                "run %u of the same seed differs", i);
        check_form(experiment, experiment->bytes, out[0], size, true);
    }
    vmxsim_fuzz_afl_free(one);
    vmxsim_fuzz_afl_free(two);
}

/* Each change starts from what the one before it made. */
static void run_changes(struct experiment experiment, unsigned count)
{
    uint8_t *made = NULL;

    for (unsigned i = 0; i < count; i++, experiment.seed++) {
        uint8_t *const next = change_and_check(&experiment, experiment.seed % 4 == 0);
        free(made);
        experiment.bytes = made = next;
    }
    free(made);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct vmxsim_fuzz_input input = {.next = data, .left = size};
    struct experiment experiment = {.room = 0};
    struct own_shape own = {.is_whole = true};
    const unsigned which = (unsigned)vmxsim_fuzz_take(&input, 1);
    const uint8_t selector = (uint8_t)vmxsim_fuzz_take(&input, 1);
    const unsigned count = 1 + vmxsim_fuzz_below(&input, MAX_CHANGES);

    experiment.room = vmxsim_fuzz_below(&input, MAX_ROOM);
    const size_t wanted = vmxsim_fuzz_below(&input, MAX_ROOM);
    experiment.seed = vmxsim_fuzz_take(&input, 8);
    compose_shape(&input, selector, &own);
    experiment.shape = which >= OWN ? &own.shape : fuzz_shape(names[which % NAMES]);
    experiment.is_valid = vmxsim_fuzz_shape_is_valid(experiment.shape);
    if (which >= OWN)
        check_validity(&own, experiment.is_valid);
    else
        REQUIRE(experiment.is_valid, "the shape of %s", names[which % NAMES]);

    experiment.other_size = wanted < input.left ? wanted : input.left;
    experiment.size = input.left - experiment.other_size;
    uint8_t *const other = copy_bytes(input.next, experiment.other_size, 0);
    experiment.other = other;
    experiment.bytes = input.next + experiment.other_size;
    run_afl(&experiment);
    run_changes(experiment, count);
    REQUIRE(experiment.other_size == 0 || memcmp(other, input.next, experiment.other_size) == 0,
            "the other input is written to");
    free(other);
    return 0;
}
