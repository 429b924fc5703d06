/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One logical processor of the model, and what a guest access on it comes to.
 *
 * The processor does not execute instructions: the caller says what the guest does. Each call ends in a
 * completion, a guest exception or a VM exit, with everything a hypervisor could read, the rule that decided and,
 * if asked for, the trail of every entry that was read.
 *
 * Source: Intel SDM volume 3, "Paging", "The Extended Page Table Mechanism (EPT)", "VM Exits".
 */
#ifndef VMXSIM_CPU_H
#define VMXSIM_CPU_H

#include "vmxcore/defs/ept.h"
#include "vmxsim/memory.h"
#include "vmxsim/profile.h"
#include "vmxsim/vmcs.h"

#ifdef __cplusplus
extern "C" {
#endif

struct vmxsim_cpu; /* opaque */

enum vmxsim_access_type {
    VMXSIM_ACCESS_FETCH,
    VMXSIM_ACCESS_READ,
    VMXSIM_ACCESS_WRITE,
    VMXSIM_ACCESS_RMW, /* read-modify-write: one access that needs both rights */
};

#define VMXSIM_ACCESS_MAX_SIZE 64u /* bytes; no access crosses more than one page boundary */

struct vmxsim_access {
    enum vmxsim_access_type type;
    uint64_t linear; /* final linear address: segmentation and alignment are done with */
    uint32_t size;   /* bytes, 1 to VMXSIM_ACCESS_MAX_SIZE */
    bool implicit;   /* implicit supervisor-mode access (descriptor table, TSS), whatever the CPL */
    bool event_delivery; /* part of the delivery of an event through the IDT; never a fetch */
    bool
        shadow_stack; /* shadow-stack access, of user mode at CPL 3 unless implicit; never a fetch */
    uint8_t data[VMXSIM_ACCESS_MAX_SIZE]; /* what a write or read-modify-write stores */
};

/* The rule that ended an access. */
enum vmxsim_walk_rule {
    VMXSIM_RULE_NONE, /* nothing did: it completed */
#define VMXSIM_WALK_RULE(name, id, section, sentence) VMXSIM_RULE_##name,
#include "vmxsim/walk_rules.def"
    VMXSIM_WALK_RULE_COUNT
};

struct vmxsim_walk_rule_info {
    const char *id, *section, *sentence; /* static */
};
/* Never NULL; empty strings for VMXSIM_RULE_NONE and unknown numbers. */
const struct vmxsim_walk_rule_info *vmxsim_walk_rule_info(enum vmxsim_walk_rule rule);

/* How one page of an access was translated. */
struct vmxsim_page_translation {
    uint64_t linear, gpa, hpa; /* of the first byte of the access on this page */
    uint32_t length;           /* bytes of the access on this page */
    uint64_t guest_page_size;  /* bytes; 0: no guest paging */
    uint64_t ept_page_size;    /* bytes; 0: no EPT */
    uint8_t ept_rights;        /* VMXC_EPT_RWX bits that all EPT entries give; 7 without EPT */
    bool ept_user_execute;     /* the same for user-mode fetches (mode-based execute control) */
    bool user, writable, no_execute; /* what guest paging says of the linear address */
    uint8_t protection_key;
    enum vmxc_memory_type memory_type; /* effective memory type of the access */
};

enum vmxsim_outcome_kind {
    VMXSIM_OUTCOME_COMPLETE,
    VMXSIM_OUTCOME_GUEST_EXCEPTION, /* the guest takes an exception, or an interrupt or NMI, itself */
    VMXSIM_OUTCOME_VM_EXIT,
};

/* What a guest access came to. Members that do not apply are zero. */
struct vmxsim_outcome {
    enum vmxsim_outcome_kind kind;
    enum vmxsim_walk_rule rule;

    /* Guest exception; also the exception behind a VM exit with reason 0. */
    uint8_t vector;
    bool has_error_code;
    uint32_t error_code;
    uint64_t cr2; /* guest #PF only; an intercepted #PF does not change CR2 */

    /* VM exit. */
    uint16_t exit_reason;       /* basic exit reason */
    bool qualification_defined; /* false for EPT misconfigurations */
    bool guest_linear_valid;
    bool guest_physical_valid;
    uint64_t qualification;
    uint64_t guest_linear;
    uint64_t guest_physical;
    uint32_t interruption_info;
    uint32_t interruption_error_code;
    bool instruction_info_defined;
    uint32_t instruction_info;
    uint32_t instruction_info_undefined; /* bits that the manual leaves undefined; 0 here */
    uint64_t qualification_undefined;    /* the same, beyond the address size of an operand */

    uint64_t value; /* what a completed MOV from a control or debug register, or SMSW, read */

    /* An EPT violation that became a virtualization exception: what its information area says. */
    bool ve_converted;
    uint64_t ve_qualification, ve_guest_linear, ve_guest_physical;

    /* Pages that were translated before the access ended: all of them if it completed. */
    uint32_t page_count;
    struct vmxsim_page_translation page[2];
    uint8_t
        data[VMXSIM_ACCESS_MAX_SIZE]; /* what a completed fetch, read or read-modify-write read */
};

enum vmxsim_trail_kind {
    VMXSIM_TRAIL_EPT_ENTRY,   /* an EPT entry was read */
    VMXSIM_TRAIL_GUEST_ENTRY, /* a guest paging-structure entry was read (PAE PDPTE: a register) */
    VMXSIM_TRAIL_PML_WRITE,   /* an address was logged */
    VMXSIM_TRAIL_VE_WRITE,    /* the virtualization-exception information area was filled */
    VMXSIM_TRAIL_SPPT_ENTRY, /* an entry of the sub-page permission table was read; level 1: the vector */
};

/* One step of an access, in the order in which the processor took them. */
struct vmxsim_trail_entry {
    enum vmxsim_trail_kind kind;
    enum vmxsim_walk_rule verdict; /* VMXSIM_RULE_NONE: the entry was used and the walk went on */
    uint8_t page;                  /* 0, or 1 for the second page of a page-crossing access */
    uint8_t level;                 /* of the entry: 1 = PTE ... 5 */
    uint8_t guest_level; /* EPT entries: which guest entry was being located; 0 = the page itself */
    bool leaf;           /* the entry maps a page */
    bool is_register;    /* PAE PDPTE: no memory was read */
    uint64_t hpa;        /* where the entry lies */
    uint64_t
        gpa; /* guest entry: its guest-physical address; EPT, SPPT: the address being translated */
    uint64_t value;     /* as read; writes: as stored */
    uint64_t updated;   /* after accessed and dirty flags were set; equal to value if none were */
    uint64_t offending; /* the bits that the verdict is about */
    bool cached;        /* nothing was read: the value is that of a cached translation (tlb.h) */
    bool stale; /* cached, and memory holds `now`, a change that calls for an invalidation */
    uint64_t now;
};

/* A 5 x 5-level walk reads 35 entries and logs at most 6 pages; sub-page permissions take 4 entries; two pages. */
#define VMXSIM_TRAIL_CAPACITY (2u * (35u + 6u + 4u) + 1u)

struct vmxsim_trail {
    uint32_t count;
    struct vmxsim_trail_entry entry[VMXSIM_TRAIL_CAPACITY];
};

/*
 * A processor of the machine with this memory and profile, both of which must outlive it. The caller ends it with
 * vmxsim_cpu_destroy (NULL is fine). Errors: VMXC_INVALID_INPUT (no memory or no profile), VMXC_NO_MEMORY.
 */
VMXC_MUST_CHECK enum vmxc_status vmxsim_cpu_create(struct vmxsim_memory *memory,
                                                   const struct vmxsim_profile *profile,
                                                   struct vmxsim_cpu **cpu);
void vmxsim_cpu_destroy(struct vmxsim_cpu *cpu);

/* Processors of one memory are numbered from 0 in the order of their creation; hazards name them so. */
uint32_t vmxsim_cpu_number(const struct vmxsim_cpu *cpu);

/*
 * Registers in VMX root operation, as far as a VM entry leaves them to the guest: EFER where "load IA32_EFER" is 0,
 * CR0.CD and CR0.NW always. A new processor has CR0 = 80000031H, CR4 = 2020H, EFER = 500H.
 */
struct vmxsim_root_state {
    uint64_t cr0, cr4, efer;
};
void vmxsim_cpu_set_root_state(struct vmxsim_cpu *cpu, const struct vmxsim_root_state *root);

/*
 * Puts the processor into VMX non-root operation with the state that a successful VM entry from this VMCS gives,
 * nothing cached. No VM-entry check is made: what accesses come to in a state that no VM entry gives means
 * nothing. Controls that the model does not implement in guest accesses are refused, not ignored. The processor keeps a
 * copy of the VMCS, which has no region in memory: vmxsim_exit_vmcs (exit.h). MSRs that neither the VMCS nor the VMX-root
 * state gives come from the profile, or have their reset values where it does not list them.
 * Errors: VMXC_UNSUPPORTED (`error` names the control), VMXC_BAD_STATE (a VMCS is current: VMLAUNCH is the way),
 * VMXC_INVALID_INPUT (page-walk length of the EPTP), VMXC_NO_SPACE (MSRs); the processor is then as it was.
 * Source: Intel SDM volume 3, "Loading Guest State".
 */
VMXC_MUST_CHECK enum vmxc_status vmxsim_cpu_load_guest(struct vmxsim_cpu *cpu,
                                                       const struct vmxsim_vmcs *vmcs,
                                                       struct vmxsim_error *error);

/* Registers that a VMCS does not hold. */
void vmxsim_cpu_set_pkru(struct vmxsim_cpu *cpu, uint32_t pkru);

/* The page-modification-log index as it is now. */
uint16_t vmxsim_cpu_pml_index(const struct vmxsim_cpu *cpu);

/*
 * The guest accesses memory through guest paging and EPT. `trail` may be NULL. A fetch of a non-canonical address is
 * reported like a data access to one. Errors: VMXC_BAD_STATE (no guest state loaded), VMXC_INVALID_INPUT (size, type,
 * a shadow-stack access with CR4.CET = 0, a fetch of event delivery), VMXC_UNSUPPORTED (a VM entry has turned on a
 * control that accesses do not implement).
 */
VMXC_MUST_CHECK enum vmxc_status vmxsim_guest_access(struct vmxsim_cpu *cpu,
                                                     const struct vmxsim_access *access,
                                                     struct vmxsim_outcome *outcome,
                                                     struct vmxsim_trail *trail);

/*
 * As vmxsim_guest_access for each of linears[count], one after the other, in their order: outcomes[i] is what the access to
 * linears[i] comes to. `access` says everything but the linear address. The arrays may not overlap.
 * Errors: as vmxsim_guest_access; no access was made then.
 */
VMXC_MUST_CHECK enum vmxc_status vmxsim_walk_many(struct vmxsim_cpu *cpu,
                                                  const struct vmxsim_access *access,
                                                  const uint64_t *linears, size_t count,
                                                  struct vmxsim_outcome *outcomes);

/*
 * An access to a guest-physical address that is not the translation of a linear address, by EPT alone (as PAE
 * PDPTE loads are); nothing is read or stored at the address itself. Outcomes as above, with bit 7 of an exit
 * qualification clear; the memory type is that of the EPT leaf. `rights` holds VMXC_EPT_READ, _WRITE, _EXECUTE or,
 * with mode-based execute control, _USER_EXECUTE. Errors: VMXC_BAD_STATE (also: EPT is off), VMXC_INVALID_INPUT (no
 * right, an unknown one, both execute rights, an address of more than 52 bits).
 */
VMXC_MUST_CHECK enum vmxc_status vmxsim_guest_physical_access(struct vmxsim_cpu *cpu, uint64_t gpa,
                                                              uint64_t rights,
                                                              struct vmxsim_outcome *outcome,
                                                              struct vmxsim_trail *trail);

#ifdef __cplusplus
}
#endif

#endif
