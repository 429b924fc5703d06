/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The status that every fallible call returns by value. Zero is success. Out-parameters come last
 * and are untouched unless the status is VMXC_OK.
 */
#ifndef VMXC_DEFS_STATUS_H
#define VMXC_DEFS_STATUS_H

enum vmxc_status {
#define VMXC_STATUS(number, name, sentence) VMXC_##name = (number),
#include "vmxcore/defs/status.def"
};

/* Returns the callee's status from the calling function unless it is VMXC_OK. */
#define VMXC_TRY(call)                                    \
    do {                                                  \
        const enum vmxc_status vmxc_try_status_ = (call); \
        if (vmxc_try_status_ != VMXC_OK)                  \
            return vmxc_try_status_;                      \
    } while (0)

#endif
