/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A processor for the tests of VMX instructions: memory with a VMXON region and VMCS regions that carry the revision
 * identifier, profiles with single MSRs changed, and what each kind of result must come with.
 */
#ifndef VMXSIM_TESTS_INSN_MACHINE_H
#define VMXSIM_TESTS_INSN_MACHINE_H

#include "vmxcore/defs/exit_reason.h"
#include "vmxcore/defs/msr.h"
#include "vmxcore/defs/paging.h"
#include "vmxsim/insn.h"

/* Regions with the revision identifier, in 32 MBytes of RAM. */
#define REGION_VMXON UINT64_C(0x10000)
#define REGION_A     UINT64_C(0x11000)
#define REGION_B     UINT64_C(0x12000)
#define REGION_LINK  UINT64_C(0x13000)
#define REGION_NONE  UINT64_MAX /* no current VMCS */

struct insn_machine {
    const struct vmxsim_profile *profile;
    struct vmxsim_profile *owned; /* a changed profile; NULL: a built-in one */
    struct vmxsim_memory *memory;
    struct vmxsim_cpu *cpu;
    struct vmxsim_insn_result result; /* of the last instruction */
    uint64_t rflags;                  /* before it */
};

/* An MSR of a built-in profile with bits cleared, then bits set; one that the profile does not list is 0 before. */
struct msr_change {
    uint32_t msr;
    uint64_t clear, set;
};

/* Outside VMX operation, 64-bit code at CPL 0. `change` may be NULL. */
void insn_machine_init(struct insn_machine *machine, const char *profile,
                       const struct msr_change *change);
/* The same with several MSRs changed. */
void insn_machine_init_changed(struct insn_machine *machine, const char *profile,
                               const struct msr_change *changes, unsigned count);
void insn_machine_fini(struct insn_machine *machine);

/* As vmxsim_cpu_reset with the usual 64-bit root state; memory stays. */
void insn_machine_reset(struct insn_machine *machine);

/* VMX root operation without a current VMCS; with REGION_A as current VMCS. */
void insn_machine_vmxon(struct insn_machine *machine);
void insn_machine_current(struct insn_machine *machine);
/* VMWRITE of every field that exists and can be written. */
void insn_machine_fill(struct insn_machine *machine, const struct vmxsim_vmcs *vmcs);
/* REGION_A is current, holds `vmcs`, and has been launched: VMX non-root operation. */
void insn_machine_launch(struct insn_machine *machine, const struct vmxsim_vmcs *vmcs);

/* One instruction that the model must execute; afterwards machine->result says what it came to. */
#define EXECUTE(machine, instruction, ...)                                                        \
    do {                                                                                          \
        (machine)->rflags = vmxsim_cpu_rflags((machine)->cpu);                                    \
        ck_assert_int_eq(                                                                         \
            vmxsim_insn_##instruction((machine)->cpu, __VA_ARGS__, &(machine)->result), VMXC_OK); \
    } while (0)
#define EXECUTE_BARE(machine, instruction)                                                        \
    do {                                                                                          \
        (machine)->rflags = vmxsim_cpu_rflags((machine)->cpu);                                    \
        ck_assert_int_eq(vmxsim_insn_##instruction((machine)->cpu, &(machine)->result), VMXC_OK); \
    } while (0)

/* What the last instruction came to, flags and VM-instruction error included. */
void expect_success(const struct insn_machine *machine);
void expect_completion(const struct insn_machine *machine); /* flags as they were */
void expect_invalid(const struct insn_machine *machine, enum vmxsim_insn_rule rule);
void expect_valid(struct insn_machine *machine, enum vmxc_vm_error error,
                  enum vmxsim_insn_rule rule);
void expect_exception(const struct insn_machine *machine, unsigned vector,
                      enum vmxsim_insn_rule rule);
void expect_exit(const struct insn_machine *machine, unsigned reason, enum vmxsim_insn_rule rule);

/* A field of the current VMCS, by full encoding. */
uint64_t insn_machine_field(struct insn_machine *machine, uint32_t encoding);
void insn_machine_set_field(struct insn_machine *machine, uint32_t encoding, uint64_t value);

#endif
