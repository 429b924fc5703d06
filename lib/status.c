/* SPDX-License-Identifier: Apache-2.0 */
#include "vmxcore/status.h"

const char *vmxc_status_name(enum vmxc_status status)
{
    switch (status) {
#define VMXC_STATUS(number, name, sentence) \
    case VMXC_##name:                       \
        return #name;
#include "vmxcore/defs/status.def"
    }
    return "?";
}

const char *vmxc_status_text(enum vmxc_status status)
{
    switch (status) {
#define VMXC_STATUS(number, name, sentence) \
    case VMXC_##name:                       \
        return sentence;
#include "vmxcore/defs/status.def"
    }
    return "unknown status";
}
