/* SPDX-License-Identifier: Apache-2.0 */
/* Bits of VMCS fields by name. */
#include "internal/words.h"

#include "vmxcore/defs/ept.h"
#include "vmxcore/defs/exit_reason.h"
#include "vmxcore/defs/guest_state.h"
#include "vmxcore/defs/msr.h"
#include "vmxcore/defs/paging.h"
#include "vmxcore/defs/segments.h"
#include "vmxcore/defs/vmcs.h"

#include <inttypes.h>

/* Kinds of words; the first are the control words. */
enum word {
    WORD_PIN = VMXC_CONTROL_WORD_PIN,
    WORD_PRIMARY = VMXC_CONTROL_WORD_PRIMARY,
    WORD_SECONDARY = VMXC_CONTROL_WORD_SECONDARY,
    WORD_TERTIARY = VMXC_CONTROL_WORD_TERTIARY,
    WORD_EXIT = VMXC_CONTROL_WORD_EXIT,
    WORD_SECONDARY_EXIT = VMXC_CONTROL_WORD_SECONDARY_EXIT,
    WORD_ENTRY = VMXC_CONTROL_WORD_ENTRY,
    WORD_CR0 = VMXC_CONTROL_WORD_COUNT,
    WORD_CR4,
    WORD_EFER,
    WORD_RFLAGS,
    WORD_DEBUGCTL,
    WORD_CET,
    WORD_ACCESS_RIGHTS,
    WORD_SELECTOR,
    WORD_INTERRUPTIBILITY,
    WORD_PENDING_DEBUG,
    WORD_INTERRUPTION,
    WORD_EPTP,
    WORD_EXCEPTIONS,
    WORD_PAGE_FAULT,
    WORD_VM_FUNCTIONS,
    WORD_EXIT_REASON,
};

/* A bit or a field of several bits; within a word from the lowest up. */
struct bits {
    enum word word;
    uint64_t mask;
    const char *name;
};

static const struct bits all_bits[] = {
#define VMXC_CONTROL(word, bit, name, manual_name) {WORD_##word, VMXC_BIT(bit), manual_name},
#include "vmxcore/defs/controls.def"
#define WORD_BITS(word, mask, name) {WORD_##word, mask, name},
#include "internal/words.def"
};

#define BITS_COUNT (sizeof all_bits / sizeof all_bits[0])

/* Kind of word plus one; 0: none. */
static const uint8_t word_plus_one[VMXC_VMCS_FIELD_COUNT] = {
#define WORD_FIELD(field, word) [VMXC_VMCS_ORDINAL_##field] = WORD_##word + 1,
#include "internal/words.def"
};

static bool belongs_to(const struct bits *bits, size_t ordinal)
{
    return word_plus_one[ordinal] == (unsigned)bits->word + 1;
}

bool vmxsim_field_has_names(size_t ordinal)
{
    return word_plus_one[ordinal] != 0;
}

const char *vmxsim_control_name(enum vmxc_control_word word, uint64_t mask)
{
    for (size_t i = 0; i < BITS_COUNT; i++) {
        if ((unsigned)all_bits[i].word == (unsigned)word && all_bits[i].mask == mask)
            return all_bits[i].name;
    }
    return NULL;
}

static bool is_single(uint64_t mask)
{
    return (mask & (mask - 1)) == 0;
}

static unsigned position(uint64_t bit)
{
    unsigned place = 0;

    while (bit >>= 1)
        place++;
    return place;
}

/* "bit 5", "bits 39:32": the lowest run of set bits, which is removed. */
static void add_run(struct vmxsim_text *text, uint64_t *bits)
{
    const unsigned low = position(VMXC_LOWEST_BIT(*bits));
    unsigned high = low;

    while (high < 63 && (*bits >> (high + 1) & 1) != 0)
        high++;
    if (high == low)
        vmxsim_text_add(text, "bit %u", low);
    else
        vmxsim_text_add(text, "bits %u:%u", high, low);
    *bits &= ~VMXC_BITS(high, low);
}

void vmxsim_phrase_field_bits(struct vmxsim_text *text, size_t ordinal, uint64_t bits)
{
    const char *separator = "";

    for (size_t i = 0; i < BITS_COUNT; i++) {
        if (!belongs_to(&all_bits[i], ordinal) || !(bits & all_bits[i].mask))
            continue;
        vmxsim_text_add(text, "%s%s", separator, all_bits[i].name);
        separator = ", ";
        bits &= ~all_bits[i].mask;
    }
    while (bits != 0) {
        vmxsim_text_add(text, "%s", separator);
        add_run(text, &bits);
        separator = ", ";
    }
}

static void add_change(struct vmxsim_text *text, const struct bits *bits, uint64_t before,
                       uint64_t after)
{
    if (is_single(bits->mask))
        vmxsim_text_add(text, "%c%s", (after & bits->mask) ? '+' : '-', bits->name);
    else
        vmxsim_text_add(text, "%s 0x%" PRIx64 " -> 0x%" PRIx64, bits->name,
                        VMXC_FIELD_GET(before, bits->mask), VMXC_FIELD_GET(after, bits->mask));
}

void vmxsim_phrase_field_change(struct vmxsim_text *text, size_t ordinal, uint64_t before,
                                uint64_t after)
{
    uint64_t changed = before ^ after;
    const char *separator = "";

    for (size_t i = 0; i < BITS_COUNT; i++) {
        if (!belongs_to(&all_bits[i], ordinal) || !(changed & all_bits[i].mask))
            continue;
        vmxsim_text_add(text, "%s", separator);
        add_change(text, &all_bits[i], before, after);
        separator = ", ";
        changed &= ~all_bits[i].mask;
    }
    while (changed != 0) {
        const bool set = (after & VMXC_LOWEST_BIT(changed)) != 0;
        uint64_t same = changed & (set ? after : ~after);
        const uint64_t left = same;
        vmxsim_text_add(text, "%s%c", separator, set ? '+' : '-');
        add_run(text, &same);
        changed &= ~(left & ~same);
        separator = ", ";
    }
}
