/* SPDX-License-Identifier: Apache-2.0 */
/* What the files that round a VMCS share. */
#ifndef VMXSIM_INTERNAL_ENTRY_ROUND_H
#define VMXSIM_INTERNAL_ENTRY_ROUND_H

#include "vmxcore/defs/controls.h"
#include "vmxcore/defs/guest_state.h"
#include "vmxcore/defs/msr.h"
#include "vmxcore/defs/paging.h"
#include "vmxcore/defs/segments.h"
#include "vmxsim/entry_generate.h"

struct entry_round {
    const struct vmxsim_profile *profile;
    const struct vmxsim_features *features;
    const struct vmxsim_entry_processor *processor;
    struct vmxsim_vmcs *vmcs;
    uint64_t within_width; /* bits a physical address may have */
    bool host_64;          /* the host uses 64-bit mode */
    bool ia32e;            /* the guest uses IA-32e mode */
    bool ept, unrestricted;
};

/* A field of the VMCS as an lvalue. */
#define FIELD(round, name) ((round)->vmcs->value[VMXC_VMCS_ORDINAL_##name])

/* Bits that a physical address in a VMCS may have. */
uint64_t vmxsim_round_within_width(const struct vmxsim_profile *profile);
/* A capability MSR; 0 if the profile does not have it. */
uint64_t vmxsim_round_msr(const struct vmxsim_profile *profile, uint32_t index);
/* EAX to EDX (0 to 3) of a CPUID leaf, subleaf 0; 0 if the profile does not have it. */
uint32_t vmxsim_round_cpuid(const struct vmxsim_profile *profile, uint32_t leaf, unsigned index);

/* Settings of a 32-bit control word: bits that must be 1, and bits that may be 1. */
struct control_settings {
    uint64_t must_be_1, may_be_1;
};
struct control_settings vmxsim_round_settings(const struct vmxsim_profile *profile,
                                              uint16_t ordinal);

/* Nearest canonical address for a width in bits. */
uint64_t vmxsim_round_canonical(uint64_t address, unsigned width);
/* Bits that the fields of these MSRs may have with any processor of the profile. */
uint64_t vmxsim_round_perf_global_ctrl(const struct vmxsim_profile *profile);
uint64_t vmxsim_round_spec_ctrl(const struct vmxsim_profile *profile);
uint64_t vmxsim_round_pat(uint64_t pat);
uint64_t vmxsim_round_s_cet(uint64_t s_cet, unsigned width);
uint64_t vmxsim_round_cr3(const struct entry_round *round, uint64_t cr3);
/* CONFIG, RSP1 to RSP3, SSP1 to SSP3 at these ordinals. */
void vmxsim_round_fred(const struct entry_round *round, uint16_t config, uint16_t rsp1,
                       uint16_t ssp1);

void vmxsim_round_controls(struct entry_round *round);        /* entry_round_controls.c */
void vmxsim_round_host(struct entry_round *round);            /* entry_round_host.c */
void vmxsim_round_guest_registers(struct entry_round *round); /* entry_round_guest.c */
void vmxsim_round_guest_segments(struct entry_round *round);  /* entry_round_guest.c */
void vmxsim_round_guest_events(struct entry_round *round);    /* entry_round_events.c */

#endif
