/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A status with one sentence for people: which file, which line, which key, what is wrong. Calls that read
 * input take a `struct vmxsim_error *`, which may be NULL; it is filled if the status is not VMXC_OK.
 */
#ifndef VMXSIM_ERROR_H
#define VMXSIM_ERROR_H

#include "vmxcore/defs/status.h"
#include "vmxcore/defs/types.h"

#ifdef __cplusplus
extern "C" {
#endif

#define VMXSIM_ERROR_TEXT_SIZE 512

struct vmxsim_error {
    enum vmxc_status status;
    char text[VMXSIM_ERROR_TEXT_SIZE]; /* one line of UTF-8, NUL-terminated, cut if need be */
};

/* Fills `error` (if not NULL) and returns `status`, so that a failing call can end with it. */
enum vmxc_status vmxsim_error_set(struct vmxsim_error *error, enum vmxc_status status,
                                  const char *format, ...) VMXC_PRINTF(3, 4);

/* Static name of a status: "OK", "NO_MEMORY" ... ; "?" for an unknown number. */
const char *vmxsim_status_name(enum vmxc_status status);

/* Static sentence that says what a status means. */
const char *vmxsim_status_text(enum vmxc_status status);

#ifdef __cplusplus
}
#endif

#endif
