/* SPDX-License-Identifier: Apache-2.0 */
/* Mutators of texts: lines take the place of operations, words and numbers that of operands. */
#include "internal/fuzz_mutate.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_WORD = 64 };

/* ---- Places ---- */

static bool is_of_word(uint8_t byte)
{
    return (byte >= '0' && byte <= '9') || (byte >= 'a' && byte <= 'z') ||
           (byte >= 'A' && byte <= 'Z') || byte == '_' || byte == '-' || byte == '.';
}

/* The line around a place, with its end of line. */
static void line_at(const uint8_t *bytes, size_t size, size_t at, size_t line[2])
{
    for (line[0] = at; line[0] > 0 && bytes[line[0] - 1] != '\n'; line[0]--)
        ;
    for (line[1] = at; line[1] < size && bytes[line[1]] != '\n'; line[1]++)
        ;
    line[1] += line[1] < size;
}

/* The word around a place, or the one byte that is none. */
static void word_at(const uint8_t *bytes, size_t size, size_t at, size_t word[2])
{
    for (word[0] = at; word[0] > 0 && is_of_word(bytes[at]) && is_of_word(bytes[word[0] - 1]);
         word[0]--)
        ;
    for (word[1] = at + 1; word[1] < size && is_of_word(bytes[at]) && is_of_word(bytes[word[1]]);
         word[1]++)
        ;
}

static void pick_line(struct vmxsim_fuzz_edit *edit, size_t line[2])
{
    line_at(edit->bytes, edit->size, vmxsim_fuzz_pick(edit, edit->size), line);
}

static void pick_word(struct vmxsim_fuzz_edit *edit, size_t word[2])
{
    word_at(edit->bytes, edit->size, vmxsim_fuzz_pick(edit, edit->size), word);
}

/* ---- Changes ---- */

static void delete_line(struct vmxsim_fuzz_edit *edit)
{
    size_t line[2];

    pick_line(edit, line);
    (void)vmxsim_fuzz_replace(edit, line[0], line[1], NULL, 0);
}

static void repeat_line(struct vmxsim_fuzz_edit *edit)
{
    size_t line[2], place[2];

    pick_line(edit, line);
    pick_line(edit, place);
    (void)vmxsim_fuzz_duplicate(edit, line[0], line[1], place[0]);
}

static void swap_lines(struct vmxsim_fuzz_edit *edit)
{
    size_t one[2], two[2];

    pick_line(edit, one);
    pick_line(edit, two);
    if (one[1] <= two[0])
        vmxsim_fuzz_swap(edit, (const size_t[]){one[0], one[1], two[0], two[1]});
    else if (two[1] <= one[0])
        vmxsim_fuzz_swap(edit, (const size_t[]){two[0], two[1], one[0], one[1]});
}

static void delete_word(struct vmxsim_fuzz_edit *edit)
{
    size_t word[2];

    pick_word(edit, word);
    (void)vmxsim_fuzz_replace(edit, word[0], word[1], NULL, 0);
}

static void repeat_word(struct vmxsim_fuzz_edit *edit)
{
    size_t word[2], place[2];

    pick_word(edit, word);
    pick_word(edit, place);
    (void)vmxsim_fuzz_duplicate(edit, word[0], word[1], place[0]);
}

/* A word becomes another one of the same text. */
static void copy_word(struct vmxsim_fuzz_edit *edit)
{
    uint8_t copy[MAX_WORD];
    size_t word[2], place[2];

    pick_word(edit, word);
    pick_word(edit, place);
    const size_t length = word[1] - word[0] < MAX_WORD ? word[1] - word[0] : MAX_WORD;
    memcpy(copy, edit->bytes + word[0], length);
    (void)vmxsim_fuzz_replace(edit, place[0], place[1], copy, length);
}

/* A number becomes another, in the way it was written; any other word changes one byte. */
static void change_word(struct vmxsim_fuzz_edit *edit)
{
    char text[MAX_WORD] = "";
    char *end;
    size_t word[2];

    pick_word(edit, word);
    const size_t length = word[1] - word[0];
    if (length < MAX_WORD)
        memcpy(text, edit->bytes + word[0], length);
    const bool hex = strncmp(text, "0x", 2) == 0;
    const uint64_t old = strtoull(text, &end, hex ? 16 : 10);
    if (end == text || *end != '\0') {
        edit->bytes[word[0] + vmxsim_fuzz_pick(edit, length)] =
            (uint8_t)(' ' + vmxsim_fuzz_pick(edit, 96));
        return;
    }
    const uint64_t value = vmxsim_fuzz_near(edit, old, 64);
    (void)snprintf(text, sizeof text, hex ? "0x%" PRIx64 : "%" PRIu64, value);
    (void)vmxsim_fuzz_replace(edit, word[0], word[1], (const uint8_t *)text, strlen(text));
}

void vmxsim_fuzz_change_text(struct vmxsim_fuzz_edit *edit)
{
    static void (*const changes[])(struct vmxsim_fuzz_edit *) = {
        change_word, change_word, change_word, copy_word,   copy_word,
        delete_word, repeat_word, delete_line, repeat_line, swap_lines,
    };
    static const uint8_t first[] = "0";

    if (edit->size == 0)
        (void)vmxsim_fuzz_replace(edit, 0, 0, first, 1);
    else
        changes[vmxsim_fuzz_pick(edit, sizeof changes / sizeof changes[0])](edit);
}

void vmxsim_fuzz_splice_text(struct vmxsim_fuzz_edit *edit, const uint8_t *other, size_t other_size)
{
    size_t line[2], place[2] = {0, 0};

    if (other_size == 0)
        return;
    line_at(other, other_size, vmxsim_fuzz_pick(edit, other_size), line);
    if (edit->size > 0)
        pick_line(edit, place);
    if (vmxsim_fuzz_pick(edit, 2) == 0)
        place[1] = place[0]; /* a line more */
    (void)vmxsim_fuzz_replace(edit, place[0], place[1], other + line[0], line[1] - line[0]);
}
