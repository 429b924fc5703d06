/* SPDX-License-Identifier: Apache-2.0 */
/* The machine that the mapper's tables are for: RAM, a processor, a guest without paging. */
#ifndef MACHINE_H
#define MACHINE_H

#include "mapper.h"
#include "vmxsim/cpu.h"

#define MACHINE_GUEST UINT64_C(0x400000) /* where the guest's memory is */

/* Everything as at first, in every run; the mapper that the guest runs on. */
struct mapper *machine_start(void);

bool machine_allows(unsigned page, enum vmxsim_access_type type);

/* Prints how the processor walks to the page, for a write. */
void machine_explain(unsigned page);

#endif
