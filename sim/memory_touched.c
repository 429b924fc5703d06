/* SPDX-License-Identifier: Apache-2.0 */
#include "internal/memory.h"

enum { WORD_BITS = 64 };

static uint64_t bit_of(uint64_t index)
{
    return UINT64_C(1) << index % WORD_BITS;
}

static unsigned int lowest_set_bit(uint64_t word)
{
    return (unsigned int)__builtin_ctzll(word);
}

enum vmxc_status vmxsim_page_set_init(struct vmxsim_page_set *set, uint64_t pages)
{
    uint64_t words_of[VMXSIM_PAGE_SET_LEVELS];
    unsigned int levels = 0;
    uint64_t total = 0;
    uint64_t members = pages;
    do {
        /* Each level has at least one word that stays zero, so that a search may step behind the last bit. */
        words_of[levels] = members / WORD_BITS + 1;
        total += words_of[levels];
        members = words_of[levels++];
    } while (members > 1);

    uint64_t *word = vmxsim_reserve(total * sizeof *word);
    if (word == NULL)
        return VMXC_NO_MEMORY;
    *set = (struct vmxsim_page_set){.levels = levels, .word_count = total};
    for (unsigned int level = 0; level < levels; level++) {
        set->level[level] = word;
        word += words_of[level];
    }
    return VMXC_OK;
}

void vmxsim_page_set_fini(struct vmxsim_page_set *set)
{
    vmxsim_release(set->level[0], set->word_count * sizeof *set->level[0]);
    *set = (struct vmxsim_page_set){0};
}

void vmxsim_page_set_insert(struct vmxsim_page_set *set, uint64_t page)
{
    uint64_t index = page;
    for (unsigned int level = 0; level < set->levels; level++) {
        uint64_t *word = &set->level[level][index / WORD_BITS];
        const bool was_empty = *word == 0;
        *word |= bit_of(index);
        if (!was_empty)
            return; /* the levels above know this word already */
        index /= WORD_BITS;
    }
}

void vmxsim_page_set_remove(struct vmxsim_page_set *set, uint64_t page)
{
    uint64_t index = page;
    for (unsigned int level = 0; level < set->levels; level++) {
        uint64_t *word = &set->level[level][index / WORD_BITS];
        *word &= ~bit_of(index);
        if (*word != 0)
            return; /* the levels above still have to know this word */
        index /= WORD_BITS;
    }
}

/* The lowest set bit at or above `index` within its own word of one level. */
static bool next_in_word(const uint64_t *level, uint64_t index, uint64_t *found)
{
    const uint64_t word = level[index / WORD_BITS] & ~(bit_of(index) - 1);
    if (word == 0)
        return false;
    *found = index / WORD_BITS * WORD_BITS + lowest_set_bit(word);
    return true;
}

/* The highest member of the word that holds `page`, which is one. */
static uint64_t last_in_word(const struct vmxsim_page_set *set, uint64_t page)
{
    const uint64_t word = set->level[0][page / WORD_BITS];
    return page / WORD_BITS * WORD_BITS + (WORD_BITS - 1) - (unsigned int)__builtin_clzll(word);
}

uint64_t vmxsim_page_set_count(const struct vmxsim_page_set *set)
{
    uint64_t count = 0;
    for (uint64_t page = 0; vmxsim_page_set_next(set, page, &page);
         page = last_in_word(set, page) + 1)
        count += (unsigned int)__builtin_popcountll(set->level[0][page / WORD_BITS]);
    return count;
}

void vmxsim_page_set_insert_all(struct vmxsim_page_set *set, const struct vmxsim_page_set *members)
{
    for (uint64_t page = 0; vmxsim_page_set_next(members, page, &page);
         page = last_in_word(members, page) + 1) {
        vmxsim_page_set_insert(set, page);
        set->level[0][page / WORD_BITS] |= members->level[0][page / WORD_BITS];
    }
}

void vmxsim_page_set_empty(struct vmxsim_page_set *set)
{
    for (uint64_t page = 0; vmxsim_page_set_next(set, page, &page); page++)
        vmxsim_page_set_remove(set, page);
}

/*
 * Climbs until a word has a member at or above the index, then goes down along the lowest set bits. With words
 * of four bits, the search for a member from page 6 on that ends at page 28:
 *
 *     level 2                 0 -> 1                     words 0 and 1 of level 1
 *                            ^      \
 *     level 1     1 1 . . --'        . . . 1             words 0-3 and 4-7 of level 0
 *                   ^                      \
 *     level 0     . 1 . .   (pages 4-7)     1 . . .      pages 28-31
 */
bool vmxsim_page_set_next(const struct vmxsim_page_set *set, uint64_t page, uint64_t *found)
{
    uint64_t index = page;
    unsigned int level = 0;
    while (!next_in_word(set->level[level], index, &index)) {
        index = index / WORD_BITS + 1;
        level++;
        if (level == set->levels)
            return false;
    }
    while (level != 0) {
        level--;
        index = index * WORD_BITS + lowest_set_bit(set->level[level][index]);
    }
    *found = index;
    return true;
}
