/* SPDX-License-Identifier: Apache-2.0 */
/* Rounding the guest's registers: control registers and MSRs first, since they decide the mode; then segments. */
#include "internal/entry_round.h"

/* ---- Control registers, MSRs, RIP, RFLAGS ---- */

static void round_guest_control_registers(struct entry_round *round)
{
    const struct vmxsim_profile *profile = round->profile;
    uint64_t *const cr0 = &FIELD(round, GUEST_CR0), *const cr4 = &FIELD(round, GUEST_CR4);
    uint64_t must = vmxsim_round_msr(profile, VMXC_MSR_VMX_CR0_FIXED0);

    if (round->unrestricted)
        must &= ~(VMXC_CR0_PE | VMXC_CR0_PG);
    if (round->ia32e)
        must |= VMXC_CR0_PG;
    *cr0 = (*cr0 | must) &
           (vmxsim_round_msr(profile, VMXC_MSR_VMX_CR0_FIXED1) | VMXC_CR0_NW | VMXC_CR0_CD);
    if (*cr0 & VMXC_CR0_PG)
        *cr0 |= VMXC_CR0_PE;
    *cr4 = (*cr4 | vmxsim_round_msr(profile, VMXC_MSR_VMX_CR4_FIXED0)) &
           vmxsim_round_msr(profile, VMXC_MSR_VMX_CR4_FIXED1);
    if (round->ia32e)
        *cr4 |= VMXC_CR4_PAE;
    else
        *cr4 &= ~(VMXC_CR4_PCIDE | VMXC_CR4_FRED);
    /* PDPTEs come from the VMCS, not from memory. */
    if (!round->ia32e && !round->ept)
        *cr4 &= ~VMXC_CR4_PAE;
    if (*cr4 & VMXC_CR4_CET)
        *cr0 |= VMXC_CR0_WP;
    FIELD(round, GUEST_CR3) = vmxsim_round_cr3(round, FIELD(round, GUEST_CR3));
    FIELD(round, GUEST_DR7) &= UINT32_MAX;
}

static void round_guest_cet(struct entry_round *round)
{
    const unsigned width = round->features->linear_width;
    uint64_t *const isst = &FIELD(round, GUEST_INTERRUPT_SSP_TABLE);

    FIELD(round, GUEST_S_CET) = vmxsim_round_s_cet(FIELD(round, GUEST_S_CET), width);
    FIELD(round, GUEST_SSP) =
        vmxsim_round_canonical(FIELD(round, GUEST_SSP) & ~VMXC_BITS(1, 0), width);
    *isst = vmxsim_round_canonical(*isst, width);
    if (!round->ia32e)
        FIELD(round, GUEST_S_CET) &= UINT32_MAX;
}

static void round_guest_msrs(struct entry_round *round)
{
    const struct vmxsim_profile *profile = round->profile;
    const unsigned width = round->features->linear_width;
    uint64_t *const efer = &FIELD(round, GUEST_IA32_EFER);

    FIELD(round, GUEST_IA32_DEBUGCTL) &= VMXC_BITS(1, 0); /* LBR, BTF */
    FIELD(round, GUEST_SYSENTER_ESP) =
        vmxsim_round_canonical(FIELD(round, GUEST_SYSENTER_ESP), width);
    FIELD(round, GUEST_SYSENTER_EIP) =
        vmxsim_round_canonical(FIELD(round, GUEST_SYSENTER_EIP), width);
    FIELD(round, GUEST_IA32_PERF_GLOBAL_CTRL) &= vmxsim_round_perf_global_ctrl(profile);
    FIELD(round, GUEST_IA32_PAT) = vmxsim_round_pat(FIELD(round, GUEST_IA32_PAT));
    *efer &= VMXC_EFER_SCE | VMXC_EFER_NXE | VMXC_EFER_LME;
    if (round->ia32e)
        *efer |= VMXC_EFER_LME | VMXC_EFER_LMA;
    else if (FIELD(round, GUEST_CR0) & VMXC_CR0_PG)
        *efer &= ~VMXC_EFER_LME;
    FIELD(round, GUEST_IA32_BNDCFGS) =
        vmxsim_round_canonical(FIELD(round, GUEST_IA32_BNDCFGS) & ~VMXC_BITS(11, 2), width);
    FIELD(round, GUEST_IA32_RTIT_CTL) &= VMXC_BITS(3, 2); /* OS, User */
    FIELD(round, GUEST_IA32_LBR_CTL) &= VMXC_BIT(0);      /* LBREn */
    FIELD(round, GUEST_IA32_PKRS) &= UINT32_MAX;
    FIELD(round, GUEST_UINV) &= 0xff;
    FIELD(round, GUEST_IA32_SPEC_CTRL) &= vmxsim_round_spec_ctrl(profile);
    vmxsim_round_fred(round, VMXC_VMCS_ORDINAL_GUEST_FRED_CONFIG, VMXC_VMCS_ORDINAL_GUEST_FRED_RSP1,
                      VMXC_VMCS_ORDINAL_GUEST_FRED_SSP1);
    round_guest_cet(round);
}

static void round_pdptes(struct entry_round *round)
{
    const uint64_t reserved =
        VMXC_BITS(2, 1) | VMXC_BITS(8, 5) | ~VMXC_BITS(round->features->maxphyaddr - 1, 0);

    for (unsigned i = 0; i < 4; i++)
        round->vmcs->value[VMXC_VMCS_ORDINAL_GUEST_PDPTE0 + i] &= ~reserved;
}

static void round_rflags(struct entry_round *round)
{
    const uint64_t flags = VMXC_BITS(21, 0) & ~(VMXC_BIT(15) | VMXC_BIT(5) | VMXC_BIT(3));
    uint64_t *const rflags = &FIELD(round, GUEST_RFLAGS);

    *rflags = (*rflags & flags) | VMXC_BIT(1);
    if (round->ia32e || !(FIELD(round, GUEST_CR0) & VMXC_CR0_PE))
        *rflags &= ~VMXC_RFLAGS_VM;
}

void vmxsim_round_guest_registers(struct entry_round *round)
{
    const unsigned width = round->features->linear_width;

    round_guest_control_registers(round);
    round_guest_msrs(round);
    round_pdptes(round);
    round_rflags(round);
    FIELD(round, GUEST_GDTR_BASE) = vmxsim_round_canonical(FIELD(round, GUEST_GDTR_BASE), width);
    FIELD(round, GUEST_IDTR_BASE) = vmxsim_round_canonical(FIELD(round, GUEST_IDTR_BASE), width);
    FIELD(round, GUEST_GDTR_LIMIT) &= 0xffff;
    FIELD(round, GUEST_IDTR_LIMIT) &= 0xffff;
}

/* ---- Segments ---- */

/* The fields of one segment register. */
struct segment {
    uint64_t *selector, *base, *limit, *rights;
};

#define SEGMENT(round, name)                                                                 \
    {                                                                                        \
        &FIELD(round, GUEST_##name##_SELECTOR), &FIELD(round, GUEST_##name##_BASE),          \
            &FIELD(round, GUEST_##name##_LIMIT), &FIELD(round, GUEST_##name##_ACCESS_RIGHTS) \
    }

static unsigned dpl_of(const struct segment *segment)
{
    return (unsigned)VMXC_FIELD_GET(*segment->rights, VMXC_SEGMENT_DPL);
}

static void set_dpl(const struct segment *segment, unsigned dpl)
{
    *segment->rights =
        (*segment->rights & ~VMXC_SEGMENT_DPL) | VMXC_FIELD_MAKE(dpl, VMXC_SEGMENT_DPL);
}

static void set_type(const struct segment *segment, uint64_t type)
{
    *segment->rights = (*segment->rights & ~VMXC_SEGMENT_TYPE) | type;
}

static void set_rpl(const struct segment *segment, unsigned rpl)
{
    *segment->selector = (*segment->selector & ~VMXC_SELECTOR_RPL) | rpl;
}

/* G and the limit agree: high bits need G, G needs low bits that are all 1. */
static void round_limit(const struct segment *segment)
{
    if (*segment->limit & VMXC_BITS(31, 20)) {
        *segment->limit |= VMXC_BITS(11, 0);
        *segment->rights |= VMXC_SEGMENT_G;
    } else if ((~*segment->limit & VMXC_BITS(11, 0)) != 0) {
        *segment->rights &= ~VMXC_SEGMENT_G;
    }
}

static void round_virtual_8086(const struct segment *segment)
{
    *segment->base = *segment->selector << 4;
    *segment->limit = VMXC_SEGMENT_LIMIT_VIRTUAL_8086;
    *segment->rights = VMXC_SEGMENT_RIGHTS_VIRTUAL_8086;
}

/* What code, stack and data segments have in common, usable or not: a usable one needs it, the other may have it. */
static void round_code_or_data(const struct segment *segment)
{
    *segment->rights =
        (*segment->rights & ~VMXC_SEGMENT_RESERVED) | VMXC_SEGMENT_S | VMXC_SEGMENT_P;
    round_limit(segment);
}

static void round_stack(struct entry_round *round, const struct segment *ss)
{
    const bool fred = FIELD(round, GUEST_CR4) & VMXC_CR4_FRED;

    round_code_or_data(ss);
    set_type(ss, (*ss->rights & VMXC_SEGMENT_EXPANDS) | VMXC_SEGMENT_TYPE_DATA_WRITABLE);
    if (!(FIELD(round, GUEST_CR0) & VMXC_CR0_PE) || (fred && dpl_of(ss) != 3))
        set_dpl(ss, 0);
    *ss->base &= UINT32_MAX;
    set_rpl(ss, dpl_of(ss));
}

static void round_code(struct entry_round *round, const struct segment *cs,
                       const struct segment *ss)
{
    const bool fred = FIELD(round, GUEST_CR4) & VMXC_CR4_FRED;

    *cs->rights &= ~VMXC_SEGMENT_UNUSABLE;
    round_code_or_data(cs);
    *cs->rights |= VMXC_SEGMENT_CODE | VMXC_SEGMENT_ACCESSED;
    if (!(*cs->rights & VMXC_SEGMENT_CONFORMING) || dpl_of(cs) > dpl_of(ss))
        set_dpl(cs, dpl_of(ss));
    if (fred && dpl_of(ss) == 0)
        *cs->rights |= VMXC_SEGMENT_L;
    if (round->ia32e && (*cs->rights & VMXC_SEGMENT_L))
        *cs->rights &= ~VMXC_SEGMENT_DB;
    *cs->base &= UINT32_MAX;
    set_rpl(cs, dpl_of(ss));
}

/* DS, ES, FS and GS are readable, accessed, and no more privileged than their selector asks. */
static void round_data(const struct segment *segment)
{
    round_code_or_data(segment);
    *segment->rights |= VMXC_SEGMENT_ACCESSED;
    if (*segment->rights & VMXC_SEGMENT_CODE)
        *segment->rights |= VMXC_SEGMENT_READABLE;
    if ((*segment->selector & VMXC_SELECTOR_RPL) > dpl_of(segment))
        set_rpl(segment, dpl_of(segment));
}

static void round_system(const struct segment *segment, uint64_t type, unsigned width)
{
    *segment->selector &= ~VMXC_SELECTOR_TI;
    *segment->base = vmxsim_round_canonical(*segment->base, width);
    *segment->rights =
        (*segment->rights & ~(VMXC_SEGMENT_RESERVED | VMXC_SEGMENT_S)) | VMXC_SEGMENT_P;
    set_type(segment, type);
    round_limit(segment);
}

static void round_protected(struct entry_round *round, const struct segment *cs,
                            const struct segment *ss, const struct segment *data)
{
    const unsigned width = round->features->linear_width;
    enum { DS, ES, FS, GS };

    round_stack(round, ss);
    round_code(round, cs, ss);
    for (unsigned i = DS; i <= GS; i++)
        round_data(&data[i]);
    *data[DS].base &= UINT32_MAX;
    *data[ES].base &= UINT32_MAX;
    *data[FS].base = vmxsim_round_canonical(*data[FS].base, width);
    *data[GS].base = vmxsim_round_canonical(*data[GS].base, width);
}

static void round_rip(struct entry_round *round)
{
    const unsigned width = round->features->linear_width;
    const bool code_64 = round->ia32e && (FIELD(round, GUEST_CS_ACCESS_RIGHTS) & VMXC_SEGMENT_L);
    const uint64_t upper = ~UINT64_C(0) << width;
    uint64_t *const rip = &FIELD(round, GUEST_RIP), *const ssp = &FIELD(round, GUEST_SSP);

    if (!code_64) {
        *rip &= UINT32_MAX;
        *ssp &= UINT32_MAX;
    } else {
        *rip = (*rip & VMXC_BIT(63)) ? *rip | upper : *rip & ~upper;
    }
}

void vmxsim_round_guest_segments(struct entry_round *round)
{
    const struct segment cs = SEGMENT(round, CS), ss = SEGMENT(round, SS);
    const struct segment tr = SEGMENT(round, TR), ldtr = SEGMENT(round, LDTR);
    const struct segment data[] = {SEGMENT(round, DS), SEGMENT(round, ES), SEGMENT(round, FS),
                                   SEGMENT(round, GS)};

    if (FIELD(round, GUEST_RFLAGS) & VMXC_RFLAGS_VM) {
        round_virtual_8086(&cs);
        round_virtual_8086(&ss);
        for (unsigned i = 0; i < sizeof(data) / sizeof(data[0]); i++)
            round_virtual_8086(&data[i]);
    } else {
        round_protected(round, &cs, &ss, data);
    }
    *tr.rights &= ~VMXC_SEGMENT_UNUSABLE;
    round_system(&tr, VMXC_SEGMENT_TYPE_BUSY_TSS, round->features->linear_width);
    round_system(&ldtr, VMXC_SEGMENT_TYPE_LDT, round->features->linear_width);
    round_rip(round);
}
