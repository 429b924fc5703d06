/* SPDX-License-Identifier: Apache-2.0 */
/*
 * VMX operation on one logical processor: what stands against it, entering it, leaving it.
 *
 *     CPUID.VMX -> capability MSRs -> fixed bits of CR0 and CR4 -> VMXON region
 *         -> IA32_FEATURE_CONTROL -> CR0.NE, CR4.VMXE -> VMXON
 *
 * Whatever can fail without a trace comes first. The one step that cannot be undone, locking IA32_FEATURE_CONTROL
 * where the firmware has left it open, comes when only VMXON itself can still fail.
 *
 * Source: Intel SDM volume 3, "Discovering Support for VMX", "Enabling and Entering VMX Operation", "Restrictions on
 * VMX Operation".
 */
#ifndef VMXC_PERCPU_H
#define VMXC_PERCPU_H

#include "vmxcore/insn_ops.h"
#include "vmxcore/region.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What IA32_FEATURE_CONTROL says about VMXON. */
enum vmxc_feature_control_state {
    VMXC_FEATURE_CONTROL_USABLE,     /* locked, and VMXON is allowed */
    VMXC_FEATURE_CONTROL_UNLOCKED,   /* whoever writes it first decides */
    VMXC_FEATURE_CONTROL_LOCKED_OUT, /* locked without VMX: only the firmware can change that */
};
enum vmxc_feature_control_state vmxc_percpu_feature_control(uint64_t feature_control, bool in_smx);

/* The value that turns an unlocked IA32_FEATURE_CONTROL into a usable one; other bits stay as they are. */
uint64_t vmxc_percpu_feature_control_locked(uint64_t feature_control, bool in_smx);

/* Why a processor cannot enter VMX operation. */
enum vmxc_percpu_obstacle_kind {
    VMXC_PERCPU_NO_OBSTACLE,
    VMXC_PERCPU_NO_VMX,           /* CPUID.01H:ECX.VMX is 0 */
    VMXC_PERCPU_NO_CAPABILITIES,  /* a capability MSR cannot be read */
    VMXC_PERCPU_LOCKED_OUT,       /* the firmware has switched VMX off; bits: the missing ones */
    VMXC_PERCPU_LOCKING_REFUSED,  /* IA32_FEATURE_CONTROL did not take the value; bits as above */
    VMXC_PERCPU_CR0_MISSING,      /* bits of CR0 that must be 1 and are not ours to set */
    VMXC_PERCPU_CR0_EXCESS,       /* bits of CR0 that must be 0 */
    VMXC_PERCPU_CR4_MISSING,      /* bits of CR4 that must be 1, other than VMXE */
    VMXC_PERCPU_CR4_EXCESS,       /* bits of CR4 that must be 0 */
    VMXC_PERCPU_REGION,           /* no VMXON region could be made; the status says why */
    VMXC_PERCPU_CONTROL_REGISTER, /* MOV to CR0 or CR4 was refused; bits: the value */
    VMXC_PERCPU_VMXON_FAILED,     /* VMXON failed: VMX operation is on already */
    VMXC_PERCPU_VMXON_REFUSED,    /* VMXON raised an exception */
    VMXC_PERCPU_OBSTACLE_COUNT
};

struct vmxc_percpu_obstacle {
    enum vmxc_percpu_obstacle_kind kind;
    uint64_t bits; /* of the register the kind names; 0: it names none */
};

/* Static sentence about an obstacle. */
const char *vmxc_percpu_obstacle_text(enum vmxc_percpu_obstacle_kind kind);

/* A processor in VMX root operation. Zero-initialized: it is not. */
struct vmxc_percpu {
    const struct vmxc_insn_ops *ops; /* NULL: VMX operation is off */
    struct vmxc_region vmxon_region;
    uint64_t vmx_basic;            /* IA32_VMX_BASIC, for vmxc_region_init_for */
    uint64_t saved_cr0, saved_cr4; /* before */
};

/*
 * Enters VMX operation. CR0.NE and CR4.VMXE are set where needed; other bits of CR0 and CR4 that stand against it are
 * reported, not changed. `in_smx`: the processor is in SMX operation. `obstacle` (may be NULL) receives what stands
 * against it; nothing has changed then, except that IA32_FEATURE_CONTROL may have been locked.
 * Errors: VMXC_UNSUPPORTED (NO_VMX to LOCKING_REFUSED), VMXC_BAD_STATE (the other obstacles), those of
 * vmxc_region_init_for, VMXC_INVALID_INPUT (no operations).
 */
VMXC_MUST_CHECK enum vmxc_status vmxc_percpu_enable(struct vmxc_percpu *percpu,
                                                    const struct vmxc_insn_ops *ops,
                                                    const struct vmxc_hal *hal, bool in_smx,
                                                    struct vmxc_percpu_obstacle *obstacle);

/*
 * Leaves VMX operation, gives CR0 and CR4 their old NE and VMXE, and gives the region back. Every VMCS must have been
 * VMCLEARed. Errors: VMXC_BAD_STATE (not enabled; VMXOFF failed: VMX operation stays on).
 */
VMXC_MUST_CHECK enum vmxc_status vmxc_percpu_disable(struct vmxc_percpu *percpu);

#ifdef __cplusplus
}
#endif

#endif
