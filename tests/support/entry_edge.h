/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the tests of VM-entry checks at the edges share: valid VMCSs to change, and what every report must satisfy.
 */
#ifndef VMXSIM_TESTS_ENTRY_EDGE_H
#define VMXSIM_TESTS_ENTRY_EDGE_H

#include "vmxcore/defs/controls.h"
#include "vmxcore/defs/exit_reason.h"
#include "vmxcore/defs/guest_state.h"
#include "vmxcore/defs/msr.h"
#include "vmxcore/defs/paging.h"
#include "vmxcore/defs/segments.h"
#include "vmxsim/entry.h"

#define F(name) VMXC_VMCS_ORDINAL_##name
#define R(name) VMXSIM_ENTRY_##name

/* The current VMCS. */
#define VMCS_HPA UINT64_C(0x3000)

struct setting {
    uint16_t ordinal; /* 0 (VPID, which no case uses) ends a list */
    uint64_t value;
};

/* Guest modes: 64-bit; 32-bit protected mode with 32-bit paging; virtual-8086; real mode. */
enum base { LONG64, PROTECTED, V86, REAL };

/* clang-format off */
#define ENTRY_FIXED  UINT64_C(0x11fb)
#define EXIT_FIXED   UINT64_C(0x36dfb)
#define ENTRY_LONG64 (ENTRY_FIXED | VMXC_ENTRY_IA32E_MODE_GUEST)
#define EXIT_64      (EXIT_FIXED | VMXC_EXIT_HOST_ADDRESS_SPACE_SIZE)

/* Settings. */
#define ENTRY(bits)     {F(VM_ENTRY_CONTROLS), ENTRY_LONG64 | (bits)}
#define EXIT(bits)      {F(PRIMARY_VM_EXIT_CONTROLS), EXIT_64 | (bits)}
#define EXIT2(bits)     {F(SECONDARY_VM_EXIT_CONTROLS), (bits)}
#define AR(name, value) {F(GUEST_##name##_ACCESS_RIGHTS), (value)}
#define ACTIVITY(state) {F(GUEST_ACTIVITY_STATE), VMXC_ACTIVITY_##state}
#define BLOCKING(bits)  {F(GUEST_INTERRUPTIBILITY_STATE), (bits)}
#define PENDING(bits)   {F(GUEST_PENDING_DEBUG_EXCEPTIONS), (bits)}
#define RFLAGS(bits)    {F(GUEST_RFLAGS), 2 | (bits)}
#define NMIS            {F(PIN_BASED_CONTROLS), 0x3e}
#define INJECT(type, vector) \
    {F(VM_ENTRY_INTERRUPTION_INFO), VMXC_INTERRUPTION_VALID | (uint64_t)(type) << 8 | (vector)}
#define UNRESTRICTED \
    {F(SECONDARY_PROCESSOR_BASED_CONTROLS), \
     VMXC_SECONDARY_ENABLE_EPT | VMXC_SECONDARY_UNRESTRICTED_GUEST}, \
    {F(EPT_POINTER), 0x100001e}
/* clang-format on */

/* A VMCS that the profiles "everything", "icelake", "skylake" and "tigerlake" enter. */
struct vmxsim_vmcs valid_vmcs(enum base base);
void apply(struct vmxsim_vmcs *vmcs, const struct setting *settings);
struct vmxsim_entry_processor root_processor(void);

/* The report of the last check. */
extern struct vmxsim_entry_report report;

bool is_violated(enum vmxsim_entry_rule rule);
void print_report(const char *name);

/* Every violation in `report` blames a field that the rule looked at, and its change makes the rule hold. */
void check_changes(const char *name, const struct vmxsim_entry_input *input);

#endif
