/* SPDX-License-Identifier: Apache-2.0 */
/* What `vmxsim profile capture` consists of: a machine that is read, and VMCS fields that are derived. */
#ifndef VMXSIM_CLI_CAPTURE_H
#define VMXSIM_CLI_CAPTURE_H

#include "cli.h"

/*
 * Prints the profile of processor `number` of this machine as a `cpu` object. `msr_directory`: a stand-in for /dev/cpu
 * (NULL: that one); the processor itself then need not have VT-x.
 */
enum cli_status cli_capture(uint32_t number, const char *msr_directory);

/* The VMCS fields that a processor with these capability MSRs has, as `vmcs_fields` lists them. NULL: no memory. */
json_t *cli_capture_fields(const struct vmxsim_profile *profile);

#endif
