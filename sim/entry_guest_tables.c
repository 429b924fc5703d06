/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Source: Intel SDM volume 3, "Checks on Guest Segment Registers" (TR and LDTR), "Checks on Guest Descriptor-Table
 * Registers".
 */
#include "internal/entry_segments.h"

static const struct segment ldtr = SEGMENT(LDTR), tr = SEGMENT(TR);

/* ---- Granularity, for all segments ---- */

void refuse_byte_limit(struct entry_check *check, const struct segment *segment)
{
    if (value(check, segment->limit) & LIMIT_HIGH) /* needs G = 1 */
        must_have(check, segment->limit, LIMIT_LOW);
    else
        must_lack(check, segment->rights, VMXC_SEGMENT_G);
}

void refuse_page_limit(struct entry_check *check, const struct segment *segment)
{
    if ((value(check, segment->limit) & LIMIT_LOW) == LIMIT_LOW)
        must_have(check, segment->rights, VMXC_SEGMENT_G);
    else /* needs G = 0 */
        must_lack(check, segment->limit, LIMIT_HIGH);
}

/* ---- TR and LDTR ---- */

static void type_must_be(struct entry_check *check, const struct segment *segment, uint64_t type)
{
    const uint64_t others = value(check, segment->rights) & ~VMXC_SEGMENT_TYPE;

    must_equal(check, segment->rights, others | type);
}

static void check_tr_type(struct entry_check *check)
{
    rule(check, VMXSIM_ENTRY_SEG_TR_TYPE);
    const bool may_be_16bit = !(entry_controls(check) & VMXC_ENTRY_IA32E_MODE_GUEST);
    const uint64_t type = value(check, tr.rights) & VMXC_SEGMENT_TYPE;

    if (type != VMXC_SEGMENT_TYPE_BUSY_TSS_16 || !may_be_16bit)
        type_must_be(check, &tr, VMXC_SEGMENT_TYPE_BUSY_TSS);
}

static void check_tr(struct entry_check *check)
{
    check_tr_type(check);
    require_zero(check, VMXSIM_ENTRY_SEG_TR_S, tr.rights, VMXC_SEGMENT_S);
    require_set(check, VMXSIM_ENTRY_SEG_TR_P, tr.rights, VMXC_SEGMENT_P);
    require_zero(check, VMXSIM_ENTRY_SEG_TR_RSVD, tr.rights, VMXC_SEGMENT_RESERVED);

    rule(check, VMXSIM_ENTRY_SEG_TR_G);
    must_allow_byte_limit(check, &tr);
    must_allow_page_limit(check, &tr);

    require_zero(check, VMXSIM_ENTRY_SEG_TR_USABLE, tr.rights, VMXC_SEGMENT_UNUSABLE);
}

static void check_ldtr(struct entry_check *check)
{
    rule(check, VMXSIM_ENTRY_SEG_LDTR_TYPE);
    if (is_usable(check, &ldtr))
        type_must_be(check, &ldtr, VMXC_SEGMENT_TYPE_LDT);

    rule(check, VMXSIM_ENTRY_SEG_LDTR_S);
    if (is_usable(check, &ldtr))
        must_lack(check, ldtr.rights, VMXC_SEGMENT_S);

    rule(check, VMXSIM_ENTRY_SEG_LDTR_P);
    if (is_usable(check, &ldtr))
        must_have(check, ldtr.rights, VMXC_SEGMENT_P);

    rule(check, VMXSIM_ENTRY_SEG_LDTR_RSVD);
    if (is_usable(check, &ldtr))
        must_lack(check, ldtr.rights, VMXC_SEGMENT_RESERVED);

    rule(check, VMXSIM_ENTRY_SEG_LDTR_G);
    if (is_usable(check, &ldtr)) {
        must_allow_byte_limit(check, &ldtr);
        must_allow_page_limit(check, &ldtr);
    }
}

void check_system_segments(struct entry_check *check)
{
    check_tr(check);
    check_ldtr(check);
}

/* ---- GDTR and IDTR ---- */

void check_guest_tables(struct entry_check *check)
{
    const uint64_t upper_half = VMXC_BITS(31, 16);

    require_canonical(check, VMXSIM_ENTRY_DT_GDTR_BASE, F(GUEST_GDTR_BASE));
    require_canonical(check, VMXSIM_ENTRY_DT_IDTR_BASE, F(GUEST_IDTR_BASE));
    require_zero(check, VMXSIM_ENTRY_DT_GDTR_LIMIT, F(GUEST_GDTR_LIMIT), upper_half);
    require_zero(check, VMXSIM_ENTRY_DT_IDTR_LIMIT, F(GUEST_IDTR_LIMIT), upper_half);
}
