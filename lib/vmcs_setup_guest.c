/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest-state area of a guest that begins in one of four modes, and the parts of CR0 and CR4 that it does not
 * own.
 *
 * In VMX operation CR0 and CR4 have bits that must be 1 (NE, VMXE; without "unrestricted guest" also PE and PG) and
 * bits that must be 0. The bits that must be 1 belong to the host: the guest reads what its mode would have (the
 * read shadows), and its attempts to change them exit.
 */
#include "internal/vmcs_setup.h"
#include "vmxcore/defs/guest_state.h"
#include "vmxcore/defs/msr.h"
#include "vmxcore/defs/paging.h"
#include "vmxcore/defs/segments.h"
#include "vmxcore/defs/vmcs.h"

#define DR7_RESET UINT64_C(0x400)

#define LIMIT_16  UINT64_C(0xffff)
#define LIMIT_32  UINT64_C(0xffffffff)
#define LIMIT_TSS UINT64_C(0x67)

/* Access rights: code is readable, data writable; both accessed, so that the processor need not write descriptors. */
#define RIGHTS_CODE                                                                       \
    (VMXC_SEGMENT_CODE | VMXC_SEGMENT_READABLE | VMXC_SEGMENT_ACCESSED | VMXC_SEGMENT_S | \
     VMXC_SEGMENT_P)
#define RIGHTS_DATA \
    (VMXC_SEGMENT_WRITABLE | VMXC_SEGMENT_ACCESSED | VMXC_SEGMENT_S | VMXC_SEGMENT_P)
#define RIGHTS_FLAT (VMXC_SEGMENT_G | VMXC_SEGMENT_DB)
#define RIGHTS_TSS  (VMXC_SEGMENT_TYPE_BUSY_TSS | VMXC_SEGMENT_P)

#define SELECTOR_CODE UINT64_C(0x8)
#define SELECTOR_DATA UINT64_C(0x10)

#define CPUID_ADDRESS_WIDTHS UINT32_C(0x80000008)

/* Segment registers in the order of the field table; each register's fields are two apart. */
enum { ES, CS, SS, DS, FS, GS, LDTR, TR, SEGMENT_COUNT };

struct segment {
    uint64_t selector, base, limit, rights;
};

/* What a mode decides. */
struct preset {
    uint64_t cr0, cr4, efer;
    uint64_t code_rights, data_rights, limit;
    unsigned rip_width; /* bits; 64: canonical */
};

static const struct preset presets[VMXC_GUEST_MODE_COUNT] = {
    [VMXC_GUEST_REAL] = {.cr0 = VMXC_CR0_ET,
                         .code_rights = RIGHTS_CODE,
                         .data_rights = RIGHTS_DATA,
                         .limit = LIMIT_16,
                         .rip_width = 16},
    [VMXC_GUEST_PROTECTED] = {.cr0 = VMXC_CR0_PE | VMXC_CR0_ET,
                              .code_rights = RIGHTS_CODE | RIGHTS_FLAT,
                              .data_rights = RIGHTS_DATA | RIGHTS_FLAT,
                              .limit = LIMIT_32,
                              .rip_width = 32},
    [VMXC_GUEST_PAGED_32] = {.cr0 = VMXC_CR0_PE | VMXC_CR0_ET | VMXC_CR0_WP | VMXC_CR0_PG,
                             .cr4 = VMXC_CR4_PSE,
                             .code_rights = RIGHTS_CODE | RIGHTS_FLAT,
                             .data_rights = RIGHTS_DATA | RIGHTS_FLAT,
                             .limit = LIMIT_32,
                             .rip_width = 32},
    [VMXC_GUEST_LONG_64] = {.cr0 = VMXC_CR0_PE | VMXC_CR0_ET | VMXC_CR0_WP | VMXC_CR0_PG,
                            .cr4 = VMXC_CR4_PAE,
                            .efer = VMXC_EFER_LME | VMXC_EFER_LMA,
                            .code_rights = RIGHTS_CODE | VMXC_SEGMENT_G | VMXC_SEGMENT_L,
                            .data_rights = RIGHTS_DATA | RIGHTS_FLAT,
                            .limit = LIMIT_32,
                            .rip_width = 64},
};

/* ---- The start, against the mode and the processor ---- */

/* Bits above `width`, which must be 0, or for 64-bit addresses copies of the highest bit. */
static uint64_t beyond(uint64_t value, unsigned width)
{
    return width < 64 ? value >> width << width : 0;
}

static uint64_t not_canonical(uint64_t linear, unsigned linear_width)
{
    const uint64_t high = beyond(UINT64_MAX, linear_width);
    const bool negative = linear >> (linear_width - 1) & 1;

    return negative ? ~linear & high : linear & high;
}

static enum vmxc_status check_start(const struct vmxc_insn_ops *ops,
                                    const struct vmxc_guest_start *start,
                                    struct vmxc_vmcs_missing *missing)
{
    const unsigned rip_width = presets[start->mode].rip_width;
    uint32_t widths[4];

    ops->cpuid(ops->context, CPUID_ADDRESS_WIDTHS, 0, widths);
    const unsigned physical_width = widths[0] & 0xff;
    const unsigned linear_width = widths[0] >> 8 & 0xff;
    if (linear_width == 0 || linear_width > 57)
        return vmxc_vmcs_miss(missing, VMXC_VMCS_GUEST_RIP, 0, VMXC_UNSUPPORTED);
    const uint64_t rip =
        rip_width == 64 ? not_canonical(start->rip, linear_width) : beyond(start->rip, rip_width);
    const uint64_t cr3 = beyond(start->cr3, physical_width) | (start->cr3 & VMXC_PAGE_MASK);
    if (rip != 0)
        return vmxc_vmcs_miss(missing, VMXC_VMCS_GUEST_RIP, rip, VMXC_INVALID_INPUT);
    if (cr3 != 0)
        return vmxc_vmcs_miss(missing, VMXC_VMCS_GUEST_CR3, cr3, VMXC_INVALID_INPUT);
    return VMXC_OK;
}

/* ---- Control registers ---- */

struct control_register {
    uint32_t field, mask_field, shadow_field, fixed0_msr;
    uint64_t preset;
    uint64_t exempt; /* bits that need not be 1 */
};

static enum vmxc_status write_control_register(const struct vmxc_insn_ops *ops,
                                               const struct control_register *reg,
                                               struct vmxc_vmcs_missing *missing)
{
    uint64_t must_be_1;
    uint64_t may_be_1;

    VMXC_TRY(vmxc_insn_read_msr(ops, reg->fixed0_msr, &must_be_1));
    VMXC_TRY(vmxc_insn_read_msr(ops, reg->fixed0_msr + 1, &may_be_1));
    must_be_1 &= ~reg->exempt;
    if (reg->preset & ~may_be_1)
        return vmxc_vmcs_miss(missing, reg->field, reg->preset & ~may_be_1, VMXC_UNSUPPORTED);
    const struct vmxc_field_value fields[] = {
        {reg->field, reg->preset | must_be_1},
        {reg->mask_field, must_be_1},
        {reg->shadow_field, reg->preset},
    };
    return vmxc_write_fields(ops, fields, sizeof(fields) / sizeof(fields[0]));
}

static enum vmxc_status write_control_registers(const struct vmxc_insn_ops *ops,
                                                const struct vmxc_guest_start *start,
                                                const struct vmxc_vmcs_controls *controls,
                                                struct vmxc_vmcs_missing *missing)
{
    const bool unrestricted =
        vmxc_has_control(controls, VMXC_CONTROL_WORD_SECONDARY, VMXC_SECONDARY_UNRESTRICTED_GUEST);
    const struct control_register cr0 = {
        .field = VMXC_VMCS_GUEST_CR0,
        .mask_field = VMXC_VMCS_CR0_GUEST_HOST_MASK,
        .shadow_field = VMXC_VMCS_CR0_READ_SHADOW,
        .fixed0_msr = VMXC_MSR_VMX_CR0_FIXED0,
        .preset = presets[start->mode].cr0,
        .exempt = unrestricted ? VMXC_CR0_PE | VMXC_CR0_PG : 0,
    };
    const struct control_register cr4 = {
        .field = VMXC_VMCS_GUEST_CR4,
        .mask_field = VMXC_VMCS_CR4_GUEST_HOST_MASK,
        .shadow_field = VMXC_VMCS_CR4_READ_SHADOW,
        .fixed0_msr = VMXC_MSR_VMX_CR4_FIXED0,
        .preset = presets[start->mode].cr4,
    };

    VMXC_TRY(write_control_register(ops, &cr0, missing));
    VMXC_TRY(write_control_register(ops, &cr4, missing));
    return vmxc_insn_write(ops, VMXC_VMCS_GUEST_CR3, start->cr3);
}

/* ---- Segments ---- */

static struct segment code_or_data(const struct vmxc_guest_start *start, bool code)
{
    const struct preset *const preset = &presets[start->mode];
    const bool real = start->mode == VMXC_GUEST_REAL;
    const uint64_t flat_selector = code ? SELECTOR_CODE : SELECTOR_DATA;

    return (struct segment){
        .selector = real ? start->real_segment : flat_selector,
        .base = real ? (uint64_t)start->real_segment << 4 : 0,
        .limit = preset->limit,
        .rights = code ? preset->code_rights : preset->data_rights,
    };
}

static struct segment initial_segment(const struct vmxc_guest_start *start, unsigned index)
{
    switch (index) {
    case LDTR:
        return (struct segment){.rights = VMXC_SEGMENT_UNUSABLE};
    case TR: /* a busy TSS is needed, even where none is used */
        return (struct segment){.limit = LIMIT_TSS, .rights = RIGHTS_TSS};
    default:
        return code_or_data(start, index == CS);
    }
}

static enum vmxc_status write_segments(const struct vmxc_insn_ops *ops,
                                       const struct vmxc_guest_start *start)
{
    for (unsigned i = 0; i < SEGMENT_COUNT; i++) {
        const struct segment segment = initial_segment(start, i);
        const struct vmxc_field_value fields[] = {
            {VMXC_VMCS_GUEST_ES_SELECTOR + 2 * i, segment.selector},
            {VMXC_VMCS_GUEST_ES_BASE + 2 * i, segment.base},
            {VMXC_VMCS_GUEST_ES_LIMIT + 2 * i, segment.limit},
            {VMXC_VMCS_GUEST_ES_ACCESS_RIGHTS + 2 * i, segment.rights},
        };
        VMXC_TRY(vmxc_write_fields(ops, fields, sizeof(fields) / sizeof(fields[0])));
    }
    return VMXC_OK;
}

/* ---- The rest ---- */

static const struct vmxc_field_value initial[] = {
    {VMXC_VMCS_GUEST_GDTR_BASE, 0},
    {VMXC_VMCS_GUEST_GDTR_LIMIT, LIMIT_16},
    {VMXC_VMCS_GUEST_IDTR_BASE, 0},
    {VMXC_VMCS_GUEST_IDTR_LIMIT, LIMIT_16},
    {VMXC_VMCS_GUEST_RFLAGS, VMXC_RFLAGS_1},
    {VMXC_VMCS_GUEST_DR7, DR7_RESET},
    {VMXC_VMCS_GUEST_IA32_DEBUGCTL, 0},
    {VMXC_VMCS_GUEST_SYSENTER_CS, 0},
    {VMXC_VMCS_GUEST_SYSENTER_ESP, 0},
    {VMXC_VMCS_GUEST_SYSENTER_EIP, 0},
    {VMXC_VMCS_GUEST_ACTIVITY_STATE, VMXC_ACTIVITY_ACTIVE},
    {VMXC_VMCS_GUEST_INTERRUPTIBILITY_STATE, 0},
    {VMXC_VMCS_GUEST_PENDING_DEBUG_EXCEPTIONS, 0},
    {VMXC_VMCS_VMCS_LINK_POINTER, VMXC_VMCS_POINTER_NONE},
};

/* MSRs that a VM-entry control makes the VM entry load. */
static enum vmxc_status write_msrs(const struct vmxc_insn_ops *ops,
                                   const struct vmxc_guest_start *start,
                                   const struct vmxc_vmcs_controls *controls)
{
    const struct {
        uint64_t control;
        struct vmxc_field_value field;
    } msrs[] = {
        {VMXC_ENTRY_LOAD_PAT, {VMXC_VMCS_GUEST_IA32_PAT, VMXC_PAT_RESET}},
        {VMXC_ENTRY_LOAD_EFER, {VMXC_VMCS_GUEST_IA32_EFER, presets[start->mode].efer}},
        {VMXC_ENTRY_LOAD_PERF_GLOBAL_CTRL, {VMXC_VMCS_GUEST_IA32_PERF_GLOBAL_CTRL, 0}},
        {VMXC_ENTRY_LOAD_BNDCFGS, {VMXC_VMCS_GUEST_IA32_BNDCFGS, 0}},
        {VMXC_ENTRY_LOAD_PKRS, {VMXC_VMCS_GUEST_IA32_PKRS, 0}},
    };

    for (size_t i = 0; i < sizeof(msrs) / sizeof(msrs[0]); i++) {
        if (vmxc_has_control(controls, VMXC_CONTROL_WORD_ENTRY, msrs[i].control))
            VMXC_TRY(vmxc_write_fields(ops, &msrs[i].field, 1));
    }
    return VMXC_OK;
}

enum vmxc_status vmxc_vmcs_setup_guest(const struct vmxc_insn_ops *ops,
                                       const struct vmxc_guest_start *start,
                                       const struct vmxc_vmcs_controls *controls,
                                       struct vmxc_vmcs_missing *missing)
{
    if ((unsigned)start->mode >= VMXC_GUEST_MODE_COUNT)
        return vmxc_vmcs_miss(missing, VMXC_VMCS_GUEST_CR0, 0, VMXC_INVALID_INPUT);
    VMXC_TRY(check_start(ops, start, missing));
    VMXC_TRY(write_control_registers(ops, start, controls, missing));
    VMXC_TRY(write_segments(ops, start));
    VMXC_TRY(vmxc_write_fields(ops, initial, sizeof(initial) / sizeof(initial[0])));
    VMXC_TRY(write_msrs(ops, start, controls));
    VMXC_TRY(vmxc_insn_write(ops, VMXC_VMCS_GUEST_RIP, start->rip));
    return vmxc_insn_write(ops, VMXC_VMCS_GUEST_RSP, start->rsp);
}
