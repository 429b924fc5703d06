/* SPDX-License-Identifier: Apache-2.0 */
/* Arguments that `vmxsim check` and `vmxsim diff` share. */
#ifndef VMXSIM_CLI_CHECK_H
#define VMXSIM_CLI_CHECK_H

#include "cli.h"

#include "vmxsim/vmcs_read.h"

/* A format by name. False: there is none, and the complaint is printed. */
bool cli_vmcs_format(const char *command, const char *name, enum vmxsim_vmcs_format *format);

#endif
