/* SPDX-License-Identifier: Apache-2.0 */
/* Names and sentences of enum vmxc_status, for people. */
#ifndef VMXC_STATUS_H
#define VMXC_STATUS_H

#include "vmxcore/defs/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Static name of a status ("NO_MEMORY"); "?" for a value that is none. */
const char *vmxc_status_name(enum vmxc_status status);

/* Static sentence about a status ("nothing is there"); "unknown status" for a value that is none. */
const char *vmxc_status_text(enum vmxc_status status);

#ifdef __cplusplus
}
#endif

#endif
