/* SPDX-License-Identifier: Apache-2.0 */
#include "internal/fuzz_mutate.h"

#include <string.h>

/* ---- The buffer ---- */

/* `length` bytes of room, from `from` to `to` before. */
static bool make_room(struct vmxsim_fuzz_edit *edit, size_t from, size_t to, size_t length)
{
    if (length > edit->max - (edit->size - (to - from)))
        return false;
    memmove(edit->bytes + from + length, edit->bytes + to, edit->size - to);
    edit->size = edit->size - (to - from) + length;
    return true;
}

bool vmxsim_fuzz_replace(struct vmxsim_fuzz_edit *edit, size_t from, size_t to,
                         const uint8_t *bytes, size_t length)
{
    if (!make_room(edit, from, to, length))
        return false;
    if (length > 0)
        memcpy(edit->bytes + from, bytes, length);
    return true;
}

bool vmxsim_fuzz_duplicate(struct vmxsim_fuzz_edit *edit, size_t from, size_t to, size_t at)
{
    const size_t length = to - from;

    if (!make_room(edit, at, at, length))
        return false;
    memcpy(edit->bytes + at, edit->bytes + (at <= from ? from + length : from), length);
    return true;
}

static void reverse(uint8_t *bytes, size_t from, size_t to)
{
    for (; from + 1 < to; from++, to--) {
        const uint8_t byte = bytes[from];
        bytes[from] = bytes[to - 1];
        bytes[to - 1] = byte;
    }
}

/* All reversed, then each of the three parts. */
void vmxsim_fuzz_swap(struct vmxsim_fuzz_edit *edit, const size_t place[4])
{
    const size_t second = place[3] - place[2], first = place[1] - place[0];

    reverse(edit->bytes, place[0], place[3]);
    reverse(edit->bytes, place[0], place[0] + second);
    reverse(edit->bytes, place[0] + second, place[3] - first);
    reverse(edit->bytes, place[3] - first, place[3]);
}

/* ---- Numbers ---- */

uint64_t vmxsim_fuzz_near(struct vmxsim_fuzz_edit *edit, uint64_t old, unsigned width)
{
    const uint64_t mask = width < 64 ? (UINT64_C(1) << width) - 1 : UINT64_MAX;
    const uint64_t bit = UINT64_C(1) << vmxsim_fuzz_pick(edit, width);

    switch (vmxsim_fuzz_pick(edit, 8)) {
    case 0:
        return (old + 1) & mask;
    case 1:
        return (old - 1) & mask;
    case 2:
        return (old + 2 + vmxsim_fuzz_pick(edit, 30) - 16) & mask;
    case 3:
    case 4:
        return old ^ bit;
    case 5:
        return (bit - vmxsim_fuzz_pick(edit, 2)) & mask;
    case 6:
        return (~bit + vmxsim_fuzz_pick(edit, 2)) & mask;
    default:
        return vmxsim_next_random(&edit->random) & mask;
    }
}
