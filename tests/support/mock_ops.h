/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An instance of the instruction seam that does nothing but remember: MSRs, control registers and VMCS fields are
 * numbers that the test wrote or the code under test did. It checks no rule; single instructions can be made to fail.
 */
#ifndef VMXSIM_TESTS_MOCK_OPS_H
#define VMXSIM_TESTS_MOCK_OPS_H

#include "vmxcore/defs/vmcs.h"
#include "vmxcore/insn_ops.h"

enum mock_insn {
    MOCK_VMXON,
    MOCK_VMXOFF,
    MOCK_VMCLEAR,
    MOCK_VMPTRLD,
    MOCK_VMWRITE,
    MOCK_INVEPT,
    MOCK_WRMSR,
    MOCK_WRITE_CR0,
    MOCK_WRITE_CR4,
    MOCK_INSN_COUNT
};

enum { MOCK_MSRS = 48 };

#define MOCK_NO_FIELD UINT32_MAX

struct mock_ops {
    struct vmxc_insn_ops ops;
    uint64_t cr0, cr3, cr4;
    uint32_t cpuid_1_ecx, cpuid_widths; /* CPUID.1:ECX, CPUID.80000008H:EAX */
    struct vmxc_host_segments segments;
    struct {
        uint32_t index;
        uint64_t value;
    } msr[MOCK_MSRS];
    uint32_t msr_count;
    bool wrmsr_ignored; /* WRMSR succeeds and changes nothing */

    enum vmxc_insn_result
        result[MOCK_INSN_COUNT]; /* what the instruction comes to; 0: it succeeds */
    uint32_t calls[MOCK_INSN_COUNT];
    uint64_t operand[MOCK_INSN_COUNT]; /* of the last call: address, type, value */
    uint64_t invept_eptp;

    uint64_t field[VMXC_VMCS_FIELD_COUNT];
    bool written[VMXC_VMCS_FIELD_COUNT];
    uint32_t absent_field; /* VMREAD and VMWRITE of it fail with error 12 */
};

/* A processor as VMX code likes it: icelake's MSRs, 64-bit mode, IA32_FEATURE_CONTROL unlocked, CR4.VMXE = 0. */
void mock_ops_init(struct mock_ops *mock);

/* Reads or sets an MSR; a new one is made if need be. mock_remove_msr: reading it raises #GP. */
uint64_t mock_msr(const struct mock_ops *mock, uint32_t index);
void mock_set_msr(struct mock_ops *mock, uint32_t index, uint64_t value);
void mock_remove_msr(struct mock_ops *mock, uint32_t index);

/* A field by encoding. Ends the test if there is no such field. */
uint64_t *mock_field(struct mock_ops *mock, uint32_t encoding);

#endif
