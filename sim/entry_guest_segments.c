/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Source: Intel SDM volume 3, "Checks on Guest Segment Registers".
 *
 * "Usable" is the unusable bit of the access rights and nothing else; CS is checked whether it is usable or not. In a
 * virtual-8086 guest (RFLAGS.VM = 1, whatever else the state says) the access rights have one legal value, and
 * the rules on their parts do not apply.
 */
#include "internal/entry_segments.h"
#include "vmxcore/defs/guest_state.h"

#define CR0    F(GUEST_CR0)
#define RFLAGS F(GUEST_RFLAGS)

enum { CS, SS, DS, ES, FS, GS, SEGMENT_COUNT };

static const struct segment segments[SEGMENT_COUNT] = {
    [CS] = SEGMENT(CS), [SS] = SEGMENT(SS), [DS] = SEGMENT(DS),
    [ES] = SEGMENT(ES), [FS] = SEGMENT(FS), [GS] = SEGMENT(GS),
};

static const struct segment ldtr = SEGMENT(LDTR), tr = SEGMENT(TR);

/* ---- What the rules ask ---- */

static bool virtual_8086(struct entry_check *check)
{
    return value(check, RFLAGS) & VMXC_RFLAGS_VM;
}

static bool unrestricted(struct entry_check *check)
{
    return secondary(check) & VMXC_SECONDARY_UNRESTRICTED_GUEST;
}

static bool ia32e_guest(struct entry_check *check)
{
    return entry_controls(check) & VMXC_ENTRY_IA32E_MODE_GUEST;
}

/* Is the segment subject to the rules for CS and usable registers? */
static bool counts(struct entry_check *check, const struct segment *segment)
{
    return segment == &segments[CS] || is_usable(check, segment);
}

/* Those of segments[] that the rules on access rights apply to: the first so many, and none of a virtual-8086 guest. */
static unsigned with_rights(struct entry_check *check)
{
    return virtual_8086(check) ? 0 : SEGMENT_COUNT;
}

static uint64_t rpl(struct entry_check *check, const struct segment *segment)
{
    return VMXC_FIELD_GET(value(check, segment->selector), VMXC_SELECTOR_RPL);
}

static uint64_t type(struct entry_check *check, const struct segment *segment)
{
    return VMXC_FIELD_GET(value(check, segment->rights), VMXC_SEGMENT_TYPE);
}

static uint64_t dpl(struct entry_check *check, const struct segment *segment)
{
    return VMXC_FIELD_GET(value(check, segment->rights), VMXC_SEGMENT_DPL);
}

static void dpl_must_be(struct entry_check *check, const struct segment *segment, uint64_t level)
{
    const uint64_t others = value(check, segment->rights) & ~VMXC_SEGMENT_DPL;

    must_equal(check, segment->rights, others | VMXC_FIELD_MAKE(level, VMXC_SEGMENT_DPL));
}

/* ---- Selectors ---- */

static void check_selectors(struct entry_check *check)
{
    require_zero(check, VMXSIM_ENTRY_SEG_TR_TI, tr.selector, VMXC_SELECTOR_TI);

    rule(check, VMXSIM_ENTRY_SEG_LDTR_TI);
    if (is_usable(check, &ldtr))
        must_lack(check, ldtr.selector, VMXC_SELECTOR_TI);

    rule(check, VMXSIM_ENTRY_SEG_SS_RPL);
    if (!virtual_8086(check) && !unrestricted(check))
        must_equal(check, segments[SS].selector,
                   (value(check, segments[SS].selector) & ~VMXC_SELECTOR_RPL) |
                       rpl(check, &segments[CS]));
}

/* ---- Virtual-8086 mode: bases, limits, access rights ---- */

/* One wrong field is put right; several say that this guest is not to be virtual-8086. */
static void must_equal_all(struct entry_check *check, const uint16_t ordinal[SEGMENT_COUNT],
                           const uint64_t expected[SEGMENT_COUNT])
{
    unsigned wrong = 0;

    for (unsigned i = 0; i < SEGMENT_COUNT; i++)
        wrong += value(check, ordinal[i]) != expected[i];
    if (wrong > 1)
        must_lack(check, RFLAGS, VMXC_RFLAGS_VM);
    for (unsigned i = 0; wrong == 1 && i < SEGMENT_COUNT; i++)
        must_equal(check, ordinal[i], expected[i]);
}

static void check_virtual_8086_bases(struct entry_check *check)
{
    uint16_t base[SEGMENT_COUNT];
    uint64_t expected[SEGMENT_COUNT];

    rule(check, VMXSIM_ENTRY_SEG_V86_BASE);
    if (!virtual_8086(check))
        return;
    for (unsigned i = 0; i < SEGMENT_COUNT; i++) {
        base[i] = segments[i].base;
        expected[i] = value(check, segments[i].selector) << 4;
    }
    must_equal_all(check, base, expected);
}

static void check_virtual_8086_limits(struct entry_check *check)
{
    uint16_t limit[SEGMENT_COUNT];
    uint64_t expected[SEGMENT_COUNT];

    rule(check, VMXSIM_ENTRY_SEG_V86_LIMIT);
    if (!virtual_8086(check))
        return;
    for (unsigned i = 0; i < SEGMENT_COUNT; i++) {
        limit[i] = segments[i].limit;
        expected[i] = VMXC_SEGMENT_LIMIT_VIRTUAL_8086;
    }
    must_equal_all(check, limit, expected);
}

static void check_virtual_8086_rights(struct entry_check *check)
{
    uint16_t rights[SEGMENT_COUNT];
    uint64_t expected[SEGMENT_COUNT];

    rule(check, VMXSIM_ENTRY_SEG_V86_AR);
    if (!virtual_8086(check))
        return;
    for (unsigned i = 0; i < SEGMENT_COUNT; i++) {
        rights[i] = segments[i].rights;
        expected[i] = VMXC_SEGMENT_RIGHTS_VIRTUAL_8086;
    }
    must_equal_all(check, rights, expected);
}

/* ---- Base addresses ---- */

static void check_32bit_bases(struct entry_check *check)
{
    const uint64_t upper_half = VMXC_BITS(63, 32);

    require_zero(check, VMXSIM_ENTRY_SEG_CS_BASE, segments[CS].base, upper_half);

    rule(check, VMXSIM_ENTRY_SEG_SS_BASE);
    if (is_usable(check, &segments[SS]))
        must_lack(check, segments[SS].base, upper_half);

    rule(check, VMXSIM_ENTRY_SEG_DSES_BASE);
    for (unsigned i = DS; i <= ES; i++) {
        if (is_usable(check, &segments[i]))
            must_lack(check, segments[i].base, upper_half);
    }
}

static void check_bases(struct entry_check *check)
{
    check_virtual_8086_bases(check);
    require_canonical(check, VMXSIM_ENTRY_SEG_TR_BASE, tr.base);
    require_canonical(check, VMXSIM_ENTRY_SEG_FS_BASE, segments[FS].base);
    require_canonical(check, VMXSIM_ENTRY_SEG_GS_BASE, segments[GS].base);

    rule(check, VMXSIM_ENTRY_SEG_LDTR_BASE);
    if (is_usable(check, &ldtr))
        must_be_canonical(check, ldtr.base);

    check_32bit_bases(check);
}

/* ---- Access rights of the other guests: type, S ---- */

static void check_cs_type(struct entry_check *check)
{
    const uint64_t accessed_code = VMXC_SEGMENT_ACCESSED | VMXC_SEGMENT_CODE;

    rule(check, VMXSIM_ENTRY_SEG_CS_TYPE);
    if (virtual_8086(check))
        return;
    if (type(check, &segments[CS]) != VMXC_SEGMENT_TYPE_DATA_WRITABLE || !unrestricted(check))
        must_have(check, segments[CS].rights, accessed_code);
}

static void check_ss_type(struct entry_check *check)
{
    rule(check, VMXSIM_ENTRY_SEG_SS_TYPE);
    if (virtual_8086(check) || !is_usable(check, &segments[SS]))
        return;
    const uint64_t data = value(check, segments[SS].rights) & ~VMXC_SEGMENT_CODE;
    must_equal(check, segments[SS].rights, data | VMXC_SEGMENT_ACCESSED | VMXC_SEGMENT_WRITABLE);
}

static void check_data_types(struct entry_check *check)
{
    rule(check, VMXSIM_ENTRY_SEG_DATA_ACCESSED);
    for (unsigned i = DS, end = with_rights(check); i < end; i++) {
        if (is_usable(check, &segments[i]))
            must_have(check, segments[i].rights, VMXC_SEGMENT_ACCESSED);
    }

    rule(check, VMXSIM_ENTRY_SEG_DATA_READABLE);
    for (unsigned i = DS, end = with_rights(check); i < end; i++) {
        if (is_usable(check, &segments[i]) && (type(check, &segments[i]) & VMXC_SEGMENT_CODE))
            must_have(check, segments[i].rights, VMXC_SEGMENT_READABLE);
    }
}

/* The bits must be 1 in the access rights of CS, then of each usable one of the others. */
static void require_rights(struct entry_check *check, enum vmxsim_entry_rule cs_rule,
                           enum vmxsim_entry_rule others_rule, uint64_t bits)
{
    rule(check, cs_rule);
    if (!virtual_8086(check))
        must_have(check, segments[CS].rights, bits);

    rule(check, others_rule);
    for (unsigned i = SS, end = with_rights(check); i < end; i++) {
        if (is_usable(check, &segments[i]))
            must_have(check, segments[i].rights, bits);
    }
}

/* ---- Access rights of the other guests: DPL ---- */

static void check_cs_dpl(struct entry_check *check)
{
    rule(check, VMXSIM_ENTRY_SEG_CS_DPL_TYPE3);
    if (!virtual_8086(check) && type(check, &segments[CS]) == VMXC_SEGMENT_TYPE_DATA_WRITABLE)
        dpl_must_be(check, &segments[CS], 0);

    const uint64_t accessed_code = VMXC_SEGMENT_ACCESSED | VMXC_SEGMENT_CODE;
    const uint64_t kind = accessed_code | VMXC_SEGMENT_CONFORMING;

    rule(check, VMXSIM_ENTRY_SEG_CS_DPL_NONCONF);
    if (!virtual_8086(check) && (type(check, &segments[CS]) & kind) == accessed_code)
        dpl_must_be(check, &segments[CS], dpl(check, &segments[SS]));

    rule(check, VMXSIM_ENTRY_SEG_CS_DPL_CONF);
    if (!virtual_8086(check) && (type(check, &segments[CS]) & kind) == kind &&
        dpl(check, &segments[CS]) > dpl(check, &segments[SS]))
        dpl_must_be(check, &segments[CS], dpl(check, &segments[SS]));
}

static void check_ss_dpl(struct entry_check *check)
{
    rule(check, VMXSIM_ENTRY_SEG_SS_DPL_RPL);
    if (!virtual_8086(check) && !unrestricted(check))
        dpl_must_be(check, &segments[SS], rpl(check, &segments[SS]));

    rule(check, VMXSIM_ENTRY_SEG_SS_DPL_ZERO);
    if (!virtual_8086(check) && (type(check, &segments[CS]) == VMXC_SEGMENT_TYPE_DATA_WRITABLE ||
                                 !(value(check, CR0) & VMXC_CR0_PE)))
        dpl_must_be(check, &segments[SS], 0);
}

static bool is_conforming_code(struct entry_check *check, const struct segment *segment)
{
    const uint64_t both = VMXC_SEGMENT_CODE | VMXC_SEGMENT_CONFORMING;

    return (type(check, segment) & both) == both;
}

static void check_data_dpl(struct entry_check *check)
{
    rule(check, VMXSIM_ENTRY_SEG_DATA_DPL);
    if (virtual_8086(check) || unrestricted(check))
        return;
    for (unsigned i = DS; i <= GS; i++) {
        const struct segment *segment = &segments[i];
        if (is_usable(check, segment) && !is_conforming_code(check, segment) &&
            dpl(check, segment) < rpl(check, segment))
            dpl_must_be(check, segment, rpl(check, segment));
    }
}

/* ---- Access rights of the other guests: the rest ---- */

static void check_reserved_rights(struct entry_check *check)
{
    rule(check, VMXSIM_ENTRY_SEG_RSVD);
    for (unsigned i = CS, end = with_rights(check); i < end; i++) {
        if (counts(check, &segments[i]))
            must_lack(check, segments[i].rights, VMXC_SEGMENT_RESERVED);
    }

    rule(check, VMXSIM_ENTRY_SEG_CS_DB);
    if (!virtual_8086(check) && ia32e_guest(check) &&
        (value(check, segments[CS].rights) & VMXC_SEGMENT_L))
        must_lack(check, segments[CS].rights, VMXC_SEGMENT_DB);
}

static void check_granularity(struct entry_check *check)
{
    rule(check, VMXSIM_ENTRY_SEG_G_LOW);
    for (unsigned i = CS, end = with_rights(check); i < end; i++) {
        if (counts(check, &segments[i]))
            must_allow_byte_limit(check, &segments[i]);
    }

    rule(check, VMXSIM_ENTRY_SEG_G_HIGH);
    for (unsigned i = CS, end = with_rights(check); i < end; i++) {
        if (counts(check, &segments[i]))
            must_allow_page_limit(check, &segments[i]);
    }
}

/* FRED knows two privilege levels: the kernel is 64-bit code, the user cannot execute CLI and STI. */
static void check_fred(struct entry_check *check)
{
    rule(check, VMXSIM_ENTRY_SEG_FRED);
    if (!(value(check, F(GUEST_CR4)) & VMXC_CR4_FRED))
        return;
    switch (dpl(check, &segments[SS])) {
    case 0:
        must_have(check, segments[CS].rights, VMXC_SEGMENT_L);
        break;
    case 3:
        must_lack(check, RFLAGS, VMXC_RFLAGS_IOPL);
        must_lack(check, F(GUEST_INTERRUPTIBILITY_STATE), VMXC_INTERRUPTIBILITY_STI);
        break;
    default: /* another DPL would also have to suit the selectors: giving up FRED is the smaller change */
        must_lack(check, F(GUEST_CR4), VMXC_CR4_FRED);
    }
}

void check_guest_segments(struct entry_check *check)
{
    check_selectors(check);
    check_bases(check);
    check_virtual_8086_limits(check);
    check_virtual_8086_rights(check);
    check_cs_type(check);
    check_ss_type(check);
    check_data_types(check);
    require_rights(check, VMXSIM_ENTRY_SEG_CS_S, VMXSIM_ENTRY_SEG_S, VMXC_SEGMENT_S);
    check_cs_dpl(check);
    check_ss_dpl(check);
    check_data_dpl(check);
    require_rights(check, VMXSIM_ENTRY_SEG_CS_P, VMXSIM_ENTRY_SEG_P, VMXC_SEGMENT_P);
    check_reserved_rights(check);
    check_granularity(check);
    check_system_segments(check);
    check_fred(check);
}
