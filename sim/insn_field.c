/* SPDX-License-Identifier: Apache-2.0 */
/*
 * VMREAD and VMWRITE. In VMX root operation they reach the current VMCS; in VMX non-root operation, with "VMCS
 * shadowing", the VMCS that the link pointer names, for the encodings that the bitmaps leave to the guest.
 */
#include "internal/insn.h"
#include "vmxcore/defs/controls.h"

/* A field of the current VMCS or of the one linked to it. */
struct target {
    size_t ordinal; /* VMXC_VMCS_FIELD_COUNT: the processor has no such field */
    bool high;      /* bits 63:32 of the field alone */
    bool read_only;
};

/* Operands have the width of the mode, not that of the field. */
static uint64_t operand(const struct vmxsim_cpu *cpu, uint64_t value)
{
    return vmxsim_insn_mode(cpu).code_64bit ? value : value & UINT32_MAX;
}

static struct target find_target(const struct vmxsim_cpu *cpu, uint64_t field)
{
    const bool high = field & VMXC_VMCS_ENCODING_HIGH;
    const uint32_t full = (uint32_t)(field & ~VMXC_VMCS_ENCODING_HIGH);
    const bool has_half = VMXC_FIELD_GET(field, VMXC_VMCS_ENCODING_WIDTH) == VMXC_VMCS_WIDTH_W64;

    if (field > UINT32_MAX || (high && !has_half) || !vmxsim_profile_has_field(cpu->profile, full))
        return (struct target){.ordinal = VMXC_VMCS_FIELD_COUNT};
    return (struct target){
        .ordinal = vmxsim_vmcs_ordinal(full),
        .high = high,
        .read_only = VMXC_FIELD_GET(field, VMXC_VMCS_ENCODING_TYPE) == VMXC_VMCS_TYPE_READ_ONLY,
    };
}

/* ---- Which VMCS ---- */

static bool uses_link(const struct vmxsim_cpu *cpu)
{
    return cpu->vmx.mode == VMXSIM_VMX_NON_ROOT;
}

static uint64_t link_pointer(const struct vmxsim_cpu *cpu)
{
    return VMXSIM_VMCS(&cpu->vmx.vmcs.fields, VMCS_LINK_POINTER);
}

static uint64_t read_field(struct vmxsim_cpu *cpu, size_t ordinal)
{
    return uses_link(cpu) ? vmxsim_vmcs_region_read_field(cpu->memory, link_pointer(cpu), ordinal)
                          : cpu->vmx.vmcs.fields.value[ordinal];
}

static void write_field(struct vmxsim_cpu *cpu, size_t ordinal, uint64_t value)
{
    if (uses_link(cpu))
        vmxsim_vmcs_region_write_field(cpu->memory, link_pointer(cpu), ordinal, value);
    else
        cpu->vmx.vmcs.fields.value[ordinal] = value;
}

/* ---- Checks ---- */

/* "VMCS shadowing", an encoding of 15 bits, and a 0 in the bitmap: otherwise a VM exit. */
static bool guest_may_access(struct vmxsim_cpu *cpu, uint64_t field, size_t bitmap_ordinal)
{
    const struct vmxsim_vmcs *vmcs = &cpu->vmx.vmcs.fields;
    uint8_t byte;

    if (!(VMXSIM_VMCS(vmcs, PRIMARY_PROCESSOR_BASED_CONTROLS) &
          VMXC_PRIMARY_ACTIVATE_SECONDARY_CONTROLS) ||
        !(VMXSIM_VMCS(vmcs, SECONDARY_PROCESSOR_BASED_CONTROLS) & VMXC_SECONDARY_VMCS_SHADOWING) ||
        field >> 15)
        return false;
    vmxsim_memory_read(cpu->memory, vmcs->value[bitmap_ordinal] + field / 8, &byte, 1);
    return !(byte >> field % 8 & 1);
}

/* Everything up to the question which field is meant. */
static enum vmxc_status begin(struct vmxsim_cpu *cpu, uint64_t field, uint16_t exit_reason,
                              size_t bitmap_ordinal, struct vmxsim_insn_result *result)
{
    VMXC_TRY(vmxsim_insn_start(cpu, result));
    vmxsim_insn_require_vmx(cpu, result);
    if (vmxsim_insn_is_decided(result))
        return VMXC_OK;
    if (uses_link(cpu) && !guest_may_access(cpu, field, bitmap_ordinal))
        return vmxsim_insn_exit(cpu, result, exit_reason, VMXSIM_INSN_NON_ROOT);
    vmxsim_insn_require_cpl0(cpu, result);
    if (vmxsim_insn_is_decided(result))
        return VMXC_OK;
    if (uses_link(cpu) && link_pointer(cpu) == VMXC_VMCS_POINTER_NONE)
        return vmxsim_insn_fail_invalid(cpu, result, VMXSIM_INSN_FIELD_NO_LINK);
    if (!uses_link(cpu) && cpu->vmx.current == VMXC_VMCS_POINTER_NONE)
        return vmxsim_insn_fail_invalid(cpu, result, VMXSIM_INSN_NO_CURRENT);
    return VMXC_OK;
}

/* ---- The instructions ---- */

enum vmxc_status vmxsim_insn_vmread(struct vmxsim_cpu *cpu, uint64_t field,
                                    struct vmxsim_insn_result *result)
{
    const uint64_t encoding = operand(cpu, field);
    const struct target target = find_target(cpu, encoding);

    VMXC_TRY(begin(cpu, encoding, VMXC_EXIT_REASON_VMREAD, VMXC_VMCS_ORDINAL_VMREAD_BITMAP_ADDRESS,
                   result));
    if (vmxsim_insn_is_decided(result))
        return VMXC_OK;
    if (target.ordinal == VMXC_VMCS_FIELD_COUNT)
        return vmxsim_insn_fail(cpu, result, VMXC_VM_ERROR_UNSUPPORTED_FIELD,
                                VMXSIM_INSN_FIELD_UNSUPPORTED);

    const uint64_t value = read_field(cpu, target.ordinal);
    result->value = operand(cpu, target.high ? value >> 32 : value);
    return vmxsim_insn_succeed(cpu, result);
}

/* The field's new value: a full access from 32-bit code clears bits 63:32. */
static uint64_t merge(uint64_t old, const struct target *target, uint64_t value)
{
    if (target->high)
        return (old & UINT32_MAX) | value << 32;
    return value & vmxsim_vmcs_width_mask(vmxsim_vmcs_encoding(target->ordinal));
}

enum vmxc_status vmxsim_insn_vmwrite(struct vmxsim_cpu *cpu, uint64_t field, uint64_t value,
                                     struct vmxsim_insn_result *result)
{
    const uint64_t encoding = operand(cpu, field);
    const struct target target = find_target(cpu, encoding);
    const bool any_field =
        vmxsim_cpu_capability(cpu, VMXC_MSR_VMX_MISC) & VMXC_VMX_MISC_VMWRITE_ANY;

    VMXC_TRY(begin(cpu, encoding, VMXC_EXIT_REASON_VMWRITE,
                   VMXC_VMCS_ORDINAL_VMWRITE_BITMAP_ADDRESS, result));
    if (vmxsim_insn_is_decided(result))
        return VMXC_OK;
    if (target.ordinal == VMXC_VMCS_FIELD_COUNT)
        return vmxsim_insn_fail(cpu, result, VMXC_VM_ERROR_UNSUPPORTED_FIELD,
                                VMXSIM_INSN_FIELD_UNSUPPORTED);
    if (target.read_only && !any_field)
        return vmxsim_insn_fail(cpu, result, VMXC_VM_ERROR_VMWRITE_READ_ONLY,
                                VMXSIM_INSN_FIELD_READ_ONLY);

    const uint64_t old = read_field(cpu, target.ordinal);
    write_field(cpu, target.ordinal, merge(old, &target, operand(cpu, value)));
    return vmxsim_insn_succeed(cpu, result);
}
