/* SPDX-License-Identifier: Apache-2.0 */
/* What the checks on segment registers share: entry_guest_segments.c (selectors, bases, limits, code and data) and
 * entry_guest_tables.c (TR, LDTR, GDTR, IDTR). */
#ifndef VMXSIM_INTERNAL_ENTRY_SEGMENTS_H
#define VMXSIM_INTERNAL_ENTRY_SEGMENTS_H

#include "internal/entry.h"
#include "vmxcore/defs/segments.h"

#define LIMIT_LOW  VMXC_BITS(11, 0)
#define LIMIT_HIGH VMXC_BITS(31, 20)

/* The four fields of a segment register. */
struct segment {
    uint16_t selector, base, limit, rights;
};

#define SEGMENT(name)                                                                \
    {                                                                                \
        F(GUEST_##name##_SELECTOR), F(GUEST_##name##_BASE), F(GUEST_##name##_LIMIT), \
            F(GUEST_##name##_ACCESS_RIGHTS)                                          \
    }

static inline bool is_usable(struct entry_check *check, const struct segment *segment)
{
    return !(value(check, segment->rights) & VMXC_SEGMENT_UNUSABLE);
}

/*
 * A limit whose low 12 bits are not all 1 cannot come from a descriptor that counts in pages; one above FFFFFH can
 * come from no other. Each fault suggests the change that does not break the other rule in turn.
 */
void refuse_byte_limit(struct entry_check *check, const struct segment *segment);
void refuse_page_limit(struct entry_check *check, const struct segment *segment);

static inline void must_allow_byte_limit(struct entry_check *check, const struct segment *segment)
{
    if ((value(check, segment->limit) & LIMIT_LOW) != LIMIT_LOW &&
        (value(check, segment->rights) & VMXC_SEGMENT_G))
        refuse_byte_limit(check, segment);
}

static inline void must_allow_page_limit(struct entry_check *check, const struct segment *segment)
{
    if ((value(check, segment->limit) & LIMIT_HIGH) &&
        !(value(check, segment->rights) & VMXC_SEGMENT_G))
        refuse_page_limit(check, segment);
}

/* entry_guest_tables.c: the part on TR and LDTR of the checks on access rights. */
void check_system_segments(struct entry_check *check);

#endif
