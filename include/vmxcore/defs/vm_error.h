/* SPDX-License-Identifier: Apache-2.0 */
/*
 * VM-instruction error numbers: what a VMX instruction that fails with VMfailValid leaves in the
 * VM-instruction error field. Source: Intel SDM volume 3, "VM Instruction Error Numbers".
 */
#ifndef VMXC_DEFS_VM_ERROR_H
#define VMXC_DEFS_VM_ERROR_H

enum vmxc_vm_error {
    VMXC_VM_ERROR_NONE = 0, /* no instruction has failed on this VMCS */
#define VMXC_VM_ERROR(number, name, sentence) VMXC_VM_ERROR_##name = (number),
#include "vmxcore/defs/vm_errors.def"
};

#endif
