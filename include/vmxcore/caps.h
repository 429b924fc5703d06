/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Capability MSRs: decoding, and finding control values that a processor accepts.
 *
 * Nothing here reads an MSR: the caller passes raw values, so the same code serves a hypervisor, a simulated
 * processor and a dump from another machine.
 *
 * Source: Intel SDM volume 3, "VMX Capability Reporting Facility" (appendix), "Algorithms for Determining VMX
 * Capabilities".
 */
#ifndef VMXC_CAPS_H
#define VMXC_CAPS_H

#include "vmxcore/defs/controls.h"
#include "vmxcore/ept.h"

#ifdef __cplusplus
extern "C" {
#endif

/* IA32_VMX_BASIC (480H). */
struct vmxc_caps_basic {
    uint32_t revision;     /* VMCS revision identifier */
    uint32_t region_size;  /* bytes of a VMXON or VMCS region */
    uint8_t memory_type;   /* enum vmxc_memory_type of VMX structures */
    bool address_32;       /* VMX structures must lie below 4 GBytes */
    bool dual_monitor;     /* dual-monitor treatment of SMIs and SMM */
    bool ins_outs_info;    /* VM exits due to INS and OUTS report instruction information */
    bool true_controls;    /* the IA32_VMX_TRUE_*_CTLS MSRs exist */
    bool any_error_code;   /* hardware exceptions are injected with or without error code */
    bool nested_exception; /* interruption information knows nested exceptions (FRED) */
};
struct vmxc_caps_basic vmxc_caps_basic(uint64_t vmx_basic);

/* IA32_VMX_MISC (485H). */
struct vmxc_caps_misc {
    uint8_t preemption_timer_rate; /* the timer counts down each 2^rate TSC cycles */
    uint16_t cr3_targets;          /* number of CR3-target values */
    uint16_t msr_list_max;         /* advised limit of entries in an MSR-load or MSR-store list */
    uint32_t mseg_revision;        /* MSEG revision identifier */
    bool saves_lma;                /* VM exits store EFER.LMA into "IA-32e mode guest" */
    bool activity_hlt, activity_shutdown, activity_wait_for_sipi;
    bool pt_in_vmx;             /* Intel PT can be used in VMX operation */
    bool smbase_msr;            /* RDMSR reads IA32_SMBASE in SMM */
    bool smm_monitor_bit2;      /* IA32_SMM_MONITOR_CTL bit 2 exists: VMXOFF leaves SMIs blocked */
    bool vmwrite_any;           /* VMWRITE can write read-only fields */
    bool zero_length_injection; /* software events are injected with instruction length 0 */
};
struct vmxc_caps_misc vmxc_caps_misc(uint64_t vmx_misc);

/* IA32_VMX_EPT_VPID_CAP (48CH). */
struct vmxc_caps_ept_vpid {
    bool execute_only;
    bool walk_4, walk_5;
    bool memory_type_uc, memory_type_wb; /* for the EPT paging structures */
    bool page_2m, page_1g;
    bool accessed_dirty;
    bool advanced_info; /* advanced VM-exit information for EPT violations */
    bool shadow_stack;  /* supervisor shadow-stack control */
    bool invept, invept_single, invept_all;
    bool invvpid, invvpid_address, invvpid_single, invvpid_all, invvpid_single_globals;
    uint8_t hlat_prefix_max; /* largest HLAT prefix size */
};
struct vmxc_caps_ept_vpid vmxc_caps_ept_vpid(uint64_t ept_vpid_cap);

/* IA32_FEATURE_CONTROL (3AH). */
struct vmxc_caps_feature_control {
    bool locked; /* WRMSR of it causes #GP until reset */
    bool vmx_in_smx, vmx_outside_smx;
    uint8_t senter_local; /* SENTER local function enables, 7 bits */
    bool senter_global;
    bool sgx_launch_control, sgx;
    bool lmce; /* local machine-check exceptions may be enabled */
};
struct vmxc_caps_feature_control vmxc_caps_feature_control(uint64_t feature_control);

/* True if IA32_FEATURE_CONTROL lets VMXON through: locked, and VMX enabled inside or outside SMX operation. */
bool vmxc_caps_allows_vmxon(uint64_t feature_control, bool in_smx);

/* True if a VMXON or VMCS region fits into one frame (vmxc_region_init_for asks). */
bool vmxc_caps_has_frame_sized_regions(uint64_t vmx_basic);

/* True if the instruction exists and knows the type named. A type bit without the instruction means nothing. */
bool vmxc_caps_has_invept(uint64_t ept_vpid_cap);
bool vmxc_caps_has_invept_single(uint64_t ept_vpid_cap);
bool vmxc_caps_has_invept_all(uint64_t ept_vpid_cap);
bool vmxc_caps_has_invvpid(uint64_t ept_vpid_cap);
bool vmxc_caps_has_invvpid_address(uint64_t ept_vpid_cap);
bool vmxc_caps_has_invvpid_single(uint64_t ept_vpid_cap);
bool vmxc_caps_has_invvpid_all(uint64_t ept_vpid_cap);
bool vmxc_caps_has_invvpid_single_globals(uint64_t ept_vpid_cap);

/* True if EPT paging structures of 4 or 5 levels can be walked; false for any other number. */
bool vmxc_caps_has_ept_levels(uint64_t ept_vpid_cap, uint8_t levels);

/* What a caller wants of EPT beyond what the processor offers by itself. */
struct vmxc_caps_ept_request {
    uint8_t maxphyaddr;      /* CPUID 80000008H:EAX bits 7:0 */
    uint8_t levels;          /* page-walk length, 4 or 5 */
    bool accessed_dirty;     /* use EPT accessed and dirty flags */
    bool mode_based_execute; /* run with mode-based execute control */
};

/*
 * The EPT configuration for a processor: the largest page and the execute-only capability come from
 * IA32_VMX_EPT_VPID_CAP; tables are write-back where possible and uncacheable otherwise. `secondary_allowed1` is
 * the upper half of IA32_VMX_PROCBASED_CTLS2.
 * Errors: VMXC_INVALID_INPUT (maxphyaddr not 32 to 52, levels not 4 or 5), VMXC_UNSUPPORTED (no EPT, no walk of
 * this length, neither memory type, accessed and dirty flags or mode-based execute control asked for and missing).
 */
VMXC_MUST_CHECK enum vmxc_status vmxc_caps_ept_config(uint64_t ept_vpid_cap,
                                                      uint32_t secondary_allowed1,
                                                      const struct vmxc_caps_ept_request *request,
                                                      struct vmxc_ept_config *config);

/* Where a word of controls lives and which MSRs report its settings. */
struct vmxc_caps_control_word {
    const char *name;  /* "pin-based VM-execution controls" */
    uint32_t encoding; /* the VMCS field */
    uint32_t msr;      /* capability MSR */
    uint32_t
        true_msr; /* IA32_VMX_TRUE_*_CTLS, used where IA32_VMX_BASIC bit 55 is 1; 0: there is none */
    uint64_t default1; /* bits of the default1 class */
    bool wide;         /* 64 bits of allowed-1 settings: vmxc_caps_negotiate_wide */
};

/* NULL: no such word. */
const struct vmxc_caps_control_word *vmxc_caps_control_word(enum vmxc_control_word word);

/* The MSR to negotiate `word` with on a processor with this IA32_VMX_BASIC; 0: no such word. */
uint32_t vmxc_caps_control_msr(enum vmxc_control_word word, uint64_t vmx_basic);

/* What to ask of a word of controls. Bits in neither mask are 0 if the processor lets them. */
struct vmxc_caps_control_request {
    uint64_t wanted;   /* set where the processor can */
    uint64_t required; /* set, or the negotiation fails */
};

/*
 * Finds the value for a 32-bit word of controls. `capability` is the MSR: bits 31:0 are the allowed-0 settings
 * (1: must be 1), bits 63:32 the allowed-1 settings (1: may be 1). *value = (wanted | required | allowed0) & allowed1.
 * Errors: VMXC_UNSUPPORTED (a required bit cannot be 1; `missing`, unless NULL, receives all such bits),
 * VMXC_INVALID_INPUT (a mask reaches above bit 31; the MSR says of a bit that it must be 1 and may not be).
 */
VMXC_MUST_CHECK enum vmxc_status
vmxc_caps_negotiate(uint64_t capability, const struct vmxc_caps_control_request *request,
                    uint64_t *value, uint64_t *missing);

/*
 * The same for the tertiary VM-execution and the secondary VM-exit controls, whose MSR holds 64 allowed-1 settings;
 * every bit may be 0. Errors: VMXC_UNSUPPORTED as above.
 */
VMXC_MUST_CHECK enum vmxc_status
vmxc_caps_negotiate_wide(uint64_t allowed1, const struct vmxc_caps_control_request *request,
                         uint64_t *value, uint64_t *missing);

#ifdef __cplusplus
}
#endif

#endif
