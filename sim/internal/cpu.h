/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The state of one logical processor, as the walk sees it. vmxsim_cpu_load_guest fills it from a VMCS; everything
 * that depends only on that state and the profile (paging mode, reserved-bit masks) is worked out once there.
 */
#ifndef VMXSIM_INTERNAL_CPU_H
#define VMXSIM_INTERNAL_CPU_H

#include "internal/vmcs_region.h"
#include "vmxcore/defs/paging.h"
#include "vmxsim/cpu.h"
#include "vmxsim/exit.h"
#include "vmxsim/insn.h"

enum paging_mode {
    PAGING_NONE,
    PAGING_32BIT,
    PAGING_PAE,
    PAGING_4_LEVEL,
    PAGING_5_LEVEL,
};

#define MAX_LEVELS 5u

/* Bits that must be 0 in a present entry, by level (1 = PTE) and by what the entry does. */
struct reserved_bits {
    uint64_t table[MAX_LEVELS + 1]; /* the entry refers to another table */
    uint64_t leaf[MAX_LEVELS + 1];  /* the entry maps a page */
};

struct guest_state {
    uint64_t cr0, cr3, cr4, efer, rflags, pat;
    uint64_t pdpte[4]; /* PAE paging: the PDPTE registers */
    uint32_t pkru, pkrs;
    uint8_t cpl;
    bool mode_64bit; /* linear addresses have 64 bits */
    uint64_t tr_base;
    uint32_t tr_limit, tr_access_rights;

    enum paging_mode mode;
    uint8_t levels;                  /* of tables in memory or registers; 0 without paging */
    uint8_t linear_width;            /* canonical width in 64-bit mode */
    bool large_page[MAX_LEVELS + 1]; /* entries of this level may map a page */
    struct reserved_bits reserved;
};

struct ept_state {
    bool enabled;
    bool accessed_dirty;
    bool mode_based_execute;
    bool execute_only;
    bool advanced_info;
    bool sub_page_permissions;
    bool shadow_stack; /* supervisor shadow-stack control, EPTP bit 7 */
    uint8_t levels;
    uint64_t root;
    uint64_t sppt_root;     /* sub-page permission table, level 4 */
    uint64_t sppt_reserved; /* bits that must be 0 in a valid entry of its levels 4 to 2 */
    bool large_page[MAX_LEVELS + 1];
    struct reserved_bits reserved;
};

struct exit_controls {
    uint64_t pin, primary, secondary, tertiary; /* VM-execution controls; 0 if not activated */
    uint64_t io_bitmap_a, io_bitmap_b, msr_bitmap;
    uint32_t exception_bitmap, page_fault_mask, page_fault_match;
    uint32_t ple_gap, ple_window;
    bool pml;
    uint64_t pml_address;
    uint16_t pml_index;
    bool ve;
    uint64_t ve_info_address;
    uint16_t eptp_index;
};

/* Executions of PAUSE at CPL 0 since the VM entry, in counts of the TSC, for PAUSE-loop exiting. */
struct pause_loop {
    bool started;         /* there has been one */
    uint64_t first, last; /* the first of the present loop, and the latest */
};

struct virtual_interrupts {
    bool recognized; /* a pending one has been recognized */
    bool
        tpr_below_at_entry; /* VM entry left the virtual TPR below the threshold: a VM exit is due */
};

/* VMX operation. While a VMCS is current, its fields are here and the region in memory is stale. */
struct vmx_state {
    enum vmxsim_vmx_mode mode;
    uint64_t vmxon_pointer;
    uint64_t current; /* VMXC_VMCS_POINTER_NONE: no VMCS is current */
    bool current_is_shadow;
    bool aborted; /* a VMX abort has shut the processor down */
    struct vmcs_data vmcs;
};

/* MSRs that were written, on top of the profile's values. EFER is not among them. */
#define MSR_OVERLAY_CAPACITY 512u

struct msr_overlay {
    uint32_t count;
    struct {
        uint32_t index;
        uint64_t value;
    } written[MSR_OVERLAY_CAPACITY];
};

struct vmxsim_cpu {
    struct vmxsim_memory *memory;
    const struct vmxsim_profile *profile;
    uint32_t number; /* among the processors of this memory */
    struct vmxsim_root_state root;
    uint64_t root_cr3;
    struct vmxsim_execution_state execution;
    struct vmx_state vmx;
    bool in_guest;
    const char *unsupported; /* what guest accesses lack to run this guest; NULL: nothing */
    struct guest_state guest;
    struct ept_state ept;
    struct exit_controls exits;
    struct pause_loop pause_loop;
    struct virtual_interrupts virtual_interrupts;
    struct msr_overlay msrs;
    struct stale *stale; /* what may be cached, while somebody asks for it; NULL: nothing is */

    uint64_t dr[8]; /* DR0 to DR3, DR6, DR7 of whatever is executing */
    uint8_t cr8;
    uint32_t preemption_timer;     /* counts left; of use while the control is 1 */
    struct vmxsim_host_state host; /* as the last VM exit loaded it */

    struct vmxsim_tlb *tlb; /* NULL: never switched on. No part of a snapshot's copy: it is last. */
};

/* Values at reset. Source: SDM, "Processor State After Reset". */
#define DR6_RESET UINT64_C(0xffff0ff0)
#define DR7_RESET UINT64_C(0x400)

/* ---- tlb.c ---- */

/* Registers or controls that accesses depend on have changed. */
void vmxsim_tlb_state_changed(struct vmxsim_cpu *cpu);
/* All that is cached goes. */
void vmxsim_tlb_reset(struct vmxsim_cpu *cpu);

/* ---- cpu.c ---- */

/* The paging mode that CR0, CR4 and EFER of the guest select, and what follows from it. */
void vmxsim_cpu_select_guest_paging(struct vmxsim_cpu *cpu);

/* Guest state, EPT and controls as vmxsim_cpu_load_guest loads them; what accesses do not model is noted. */
void vmxsim_cpu_load_guest_state(struct vmxsim_cpu *cpu, const struct vmxsim_vmcs *vmcs);
/* Works out again what follows from CR0, CR4 and EFER of the guest. */
void vmxsim_cpu_update_guest_paging(struct vmxsim_cpu *cpu);
/* Works out again what follows from the EPT pointer. */
void vmxsim_cpu_update_ept(struct vmxsim_cpu *cpu, const struct vmxsim_vmcs *vmcs);

/* ---- cpu_msr.c: the MSRs of whatever is executing ---- */

/* A capability MSR of the profile; 0 if the profile does not have it. */
uint64_t vmxsim_cpu_capability(const struct vmxsim_cpu *cpu, uint32_t msr);
/* False: the processor does not have the MSR. */
bool vmxsim_cpu_read_msr(const struct vmxsim_cpu *cpu, uint32_t msr, uint64_t *value);
/* Would WRMSR at CPL 0 succeed? */
bool vmxsim_cpu_accepts_msr(const struct vmxsim_cpu *cpu, uint32_t msr, uint64_t value);
/* Writes without asking. Errors: VMXC_NO_SPACE. */
VMXC_MUST_CHECK enum vmxc_status vmxsim_cpu_write_msr(struct vmxsim_cpu *cpu, uint32_t msr,
                                                      uint64_t value);

#endif
