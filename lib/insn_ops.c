/* SPDX-License-Identifier: Apache-2.0 */
#include "vmxcore/insn_ops.h"

#include "vmxcore/caps.h"
#include "vmxcore/defs/vmcs.h"

enum vmxc_status vmxc_vm_error_status(enum vmxc_vm_error error)
{
    switch (error) {
    case VMXC_VM_ERROR_UNSUPPORTED_FIELD:
        return VMXC_UNSUPPORTED;
    case VMXC_VM_ERROR_VMWRITE_READ_ONLY:
        return VMXC_DENIED;
    case VMXC_VM_ERROR_VMCLEAR_ADDRESS:
    case VMXC_VM_ERROR_VMCLEAR_VMXON_POINTER:
    case VMXC_VM_ERROR_VMPTRLD_ADDRESS:
    case VMXC_VM_ERROR_VMPTRLD_VMXON_POINTER:
    case VMXC_VM_ERROR_VMPTRLD_REVISION:
    case VMXC_VM_ERROR_INVALID_INVALIDATION:
        return VMXC_INVALID_INPUT;
    default:
        return VMXC_BAD_STATE;
    }
}

/* The VM-instruction error field is always readable when an instruction has failed with VMfailValid. */
static enum vmxc_status error_status(const struct vmxc_insn_ops *ops)
{
    uint64_t error;

    if (ops->vmread(ops->context, VMXC_VMCS_VM_INSTRUCTION_ERROR, &error) != VMXC_INSN_SUCCEEDED)
        return VMXC_BAD_STATE;
    return vmxc_vm_error_status((enum vmxc_vm_error)error);
}

enum vmxc_status vmxc_insn_status(const struct vmxc_insn_ops *ops, enum vmxc_insn_result result)
{
    switch (result) {
    case VMXC_INSN_SUCCEEDED:
    case VMXC_INSN_VM_EXIT:
        return VMXC_OK;
    case VMXC_INSN_FAIL_INVALID:
        return VMXC_BAD_STATE;
    case VMXC_INSN_FAIL_VALID:
        return error_status(ops);
    case VMXC_INSN_EXCEPTION:
        break;
    }
    return VMXC_UNSUPPORTED;
}

enum vmxc_status vmxc_insn_read(const struct vmxc_insn_ops *ops, uint32_t field, uint64_t *value)
{
    return vmxc_insn_status(ops, ops->vmread(ops->context, field, value));
}

enum vmxc_status vmxc_insn_write(const struct vmxc_insn_ops *ops, uint32_t field, uint64_t value)
{
    return vmxc_insn_status(ops, ops->vmwrite(ops->context, field, value));
}

enum vmxc_status vmxc_insn_read_msr(const struct vmxc_insn_ops *ops, uint32_t msr, uint64_t *value)
{
    return vmxc_insn_status(ops, ops->rdmsr(ops->context, msr, value));
}

enum vmxc_status vmxc_insn_write_msr(const struct vmxc_insn_ops *ops, uint32_t msr, uint64_t value)
{
    return vmxc_insn_status(ops, ops->wrmsr(ops->context, msr, value));
}

enum vmxc_status vmxc_insn_invalidate_ept(const struct vmxc_insn_ops *ops, uint64_t ept_vpid_cap,
                                          uint64_t eptp)
{
    if (vmxc_caps_has_invept_single(ept_vpid_cap))
        return vmxc_insn_status(ops, ops->invept(ops->context, VMXC_INVEPT_SINGLE, eptp));
    if (vmxc_caps_has_invept_all(ept_vpid_cap))
        return vmxc_insn_status(ops, ops->invept(ops->context, VMXC_INVEPT_ALL, 0));
    return VMXC_UNSUPPORTED;
}
