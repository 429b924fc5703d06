/* SPDX-License-Identifier: Apache-2.0 */
/* Source: Intel SDM volume 3, "Checks on Guest RIP, RFLAGS, and SSP". */
#include "internal/entry.h"
#include "vmxcore/defs/exit_reason.h"
#include "vmxcore/defs/segments.h"

#define UPPER_HALF VMXC_BITS(63, 32)

static bool ia32e_guest(struct entry_check *check)
{
    return entry_controls(check) & VMXC_ENTRY_IA32E_MODE_GUEST;
}

static bool guest_is_64bit(struct entry_check *check)
{
    return ia32e_guest(check) && (value(check, F(GUEST_CS_ACCESS_RIGHTS)) & VMXC_SEGMENT_L);
}

/*
 * Bits 63:N must be identical, N being the width the processor supports. That is one bit less than canonical: bit
 * N - 1 may differ, since an instruction at the upper end of the lower half may leave RIP there.
 */
static void must_be_within_width(struct entry_check *check, uint16_t ordinal)
{
    const unsigned int bits = check->features->linear_width + 1u;

    must_equal(check, ordinal, sign_extended(value(check, ordinal), bits));
}

static void check_rip(struct entry_check *check)
{
    rule(check, VMXSIM_ENTRY_RIP_HI32);
    if (!guest_is_64bit(check))
        must_lack(check, F(GUEST_RIP), UPPER_HALF);

    rule(check, VMXSIM_ENTRY_RIP_LINWIDTH);
    if (guest_is_64bit(check))
        must_be_within_width(check, F(GUEST_RIP));
}

static bool injects_external_interrupt(struct entry_check *check)
{
    const uint64_t info = value(check, F(VM_ENTRY_INTERRUPTION_INFO));

    return (info & VMXC_INTERRUPTION_VALID) &&
           VMXC_FIELD_GET(info, VMXC_INTERRUPTION_TYPE) == VMXC_INTERRUPTION_TYPE_EXTERNAL;
}

static void check_rflags(struct entry_check *check)
{
    require_allowed(check, VMXSIM_ENTRY_RFLAGS_RSVD, F(GUEST_RFLAGS), VMXC_RFLAGS_1,
                    ~VMXC_RFLAGS_RESERVED);

    rule(check, VMXSIM_ENTRY_RFLAGS_VM);
    if (ia32e_guest(check) || !(value(check, F(GUEST_CR0)) & VMXC_CR0_PE))
        must_lack(check, F(GUEST_RFLAGS), VMXC_RFLAGS_VM);

    rule(check, VMXSIM_ENTRY_RFLAGS_IF);
    if (injects_external_interrupt(check))
        must_have(check, F(GUEST_RFLAGS), VMXC_RFLAGS_IF);
}

static void check_ssp(struct entry_check *check)
{
    rule(check, VMXSIM_ENTRY_SSP_ALIGN);
    if (entry_controls(check) & VMXC_ENTRY_LOAD_CET)
        must_lack(check, F(GUEST_SSP), VMXC_SSP_ALIGNMENT);

    rule(check, VMXSIM_ENTRY_SSP_CANON);
    if (entry_controls(check) & VMXC_ENTRY_LOAD_CET) {
        if (ia32e_guest(check))
            must_be_within_width(check, F(GUEST_SSP));
        else
            must_lack(check, F(GUEST_SSP), UPPER_HALF);
    }
}

void check_guest_rip(struct entry_check *check)
{
    check_rip(check);
    check_rflags(check);
    check_ssp(check);
}
