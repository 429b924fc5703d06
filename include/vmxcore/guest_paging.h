/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guest paging in software: what a linear address of the guest means, found by reading the guest's own paging
 * structures through its address space.
 *
 *     vmxc_guest_walk_info_init(&registers, &caps, &info);
 *     vmxc_guest_walk(&space, &info, (struct vmxc_guest_access){.write = true}, gva, &translation, &fault);
 *
 * A walk ends in a translation, in a fault that the guest's processor would raise (VMXC_GUEST_FAULT, with the
 * entry that is to blame and the page-fault error code), or in a status that is the hypervisor's own affair: a
 * table in a hole of the address space, no memory for a lazy page.
 *
 * Linear addresses are final: segmentation, alignment and linear-address masking are done with. Table pages may
 * be lazy; reading one supplies it. HLAT paging and shadow-stack accesses are not covered; linear-address-space
 * separation is refused.
 *
 * Source: Intel SDM volume 3, "Paging".
 */
#ifndef VMXC_GUEST_PAGING_H
#define VMXC_GUEST_PAGING_H

#include "vmxcore/addrspace.h"
#include "vmxcore/defs/paging.h"

#ifdef __cplusplus
extern "C" {
#endif

enum vmxc_guest_paging_mode {
    VMXC_GUEST_PAGING_NONE, /* CR0.PG = 0: the linear address is the physical address */
    VMXC_GUEST_PAGING_32BIT,
    VMXC_GUEST_PAGING_PAE,
    VMXC_GUEST_PAGING_4_LEVEL,
    VMXC_GUEST_PAGING_5_LEVEL,
    VMXC_GUEST_PAGING_MODE_COUNT
};

#define VMXC_GUEST_PAGING_MAX_LEVELS 5u

/* The guest state that decides a walk, as the VMCS (and for PKRU, the processor) holds it. */
struct vmxc_guest_registers {
    uint64_t cr0, cr3, cr4, efer, rflags;
    uint64_t pdpte[4]; /* PAE paging: the guest PDPTE fields */
    uint32_t pkru, pkrs;
    uint8_t cpl; /* 0 to 3; 3 in virtual-8086 mode */
};

/* What the guest's processor offers. */
struct vmxc_guest_paging_caps {
    uint8_t maxphyaddr;   /* bits of a physical address, 32 to 52 */
    uint8_t linear_width; /* bits of a linear address: 48 or 57 */
    bool page_1g;         /* 1-GByte pages */
    bool pse36;           /* 4-MByte pages above 4 GBytes with 32-bit paging */
    bool pat;             /* page-attribute table */
};

/* How the entries of one level are read. */
struct vmxc_guest_level {
    uint8_t shift;           /* lowest bit of the linear address that indexes the table */
    bool page_allowed;       /* bit 7 makes the entry map a page (level 1 always does) */
    uint64_t reserved_table; /* must be 0 in a present entry that leads to a table */
    uint64_t reserved_page;  /* must be 0 in a present entry that maps a page */
};

/* Everything a walk needs to know. A plain value, filled by vmxc_guest_walk_info_init. */
struct vmxc_guest_walk_info {
    enum vmxc_guest_paging_mode mode;
    uint64_t root;        /* guest-physical address of the top table; PAE and no paging: 0 */
    uint64_t pdpte[4];    /* PAE: the four registers that stand in for a top table */
    uint8_t levels;       /* 0 (no paging), 2, 3 (PAE, PDPTEs included), 4 or 5 */
    uint8_t index_bits;   /* bits of the linear address that one level consumes: 10 or 9 */
    uint8_t entry_size;   /* bytes: 4 or 8 */
    uint8_t linear_width; /* bits of a linear address in this mode: 32, 48 or 57 */
    uint8_t maxphyaddr;
    uint8_t pse36_width; /* bits of a physical address that a 4-MByte page can have: 32 to 40 */
    bool wp, nxe, smep, smap, ac, pge, pse, pke, pks, page_1g;
    uint32_t pkru, pkrs;
    bool user_mode; /* CPL is 3: what explicit accesses of this guest are */
    struct vmxc_guest_level level[VMXC_GUEST_PAGING_MAX_LEVELS]; /* [0]: level 1, the page table */

    /*
     * Set accessed and dirty flags as the processor does, each with one compare-and-exchange of the entry, once
     * the access is known to be allowed. Off after initialization.
     */
    bool set_accessed_dirty;
};

/* An access. At most one of `write` and `fetch`; neither: a data read. A fetch is never implicit. */
struct vmxc_guest_access {
    bool user_mode; /* user-mode access */
    bool write;
    bool fetch; /* instruction fetch */
    bool
        implicit; /* implicit supervisor-mode access (to a descriptor table or TSS); never user mode */
};

/* What guest paging says of one linear address. */
struct vmxc_guest_translation {
    vmxc_gpa_t gpa;     /* of the byte itself */
    uint64_t page_size; /* bytes; without paging 4 KBytes */
    bool user;          /* a user-mode address */
    bool writable;      /* R/W is 1 in every entry */
    bool no_execute;    /* execute-disable in any entry, with IA32_EFER.NXE */
    bool global;        /* with CR4.PGE */
    uint8_t protection_key;
    uint8_t pat_index; /* which of the eight PAT entries the leaf selects */
};

enum vmxc_guest_fault_kind {
    VMXC_GUEST_FAULT_NONE,
    VMXC_GUEST_FAULT_NOT_PRESENT,    /* page fault: an entry's present flag is 0 */
    VMXC_GUEST_FAULT_RESERVED,       /* page fault: a present entry has a reserved bit set */
    VMXC_GUEST_FAULT_RIGHTS,         /* page fault: U/S, R/W, XD, SMEP or SMAP */
    VMXC_GUEST_FAULT_PROTECTION_KEY, /* page fault: PKRU or PKRS alone */
    VMXC_GUEST_FAULT_NON_CANONICAL, /* #GP(0), or #SS(0) through the stack segment; no page fault */
    VMXC_GUEST_FAULT_KIND_COUNT
};

/*
 * Where a walk ended. With VMXC_GUEST_FAULT: the guest's fault. With VMXC_NOT_FOUND, _NOT_BACKED, _DENIED or
 * _NO_MEMORY: `kind` is NONE, and gva, level and entry_gpa name the table entry that could not be read or updated
 * (level 0: the page itself could not be used, and entry_gpa is its address).
 */
struct vmxc_guest_fault {
    enum vmxc_guest_fault_kind kind;
    vmxc_gva_t gva;       /* the address that was not translated: what CR2 gets */
    uint8_t level;        /* of the entry to blame: 1 = page table ... 5; 0: none */
    bool is_register;     /* the entry is a PAE PDPTE register */
    vmxc_gpa_t entry_gpa; /* where it lies; 0 for a register */
    uint64_t entry;       /* as read */
    uint64_t offending;   /* its bits that the fault is about, set or clear */
    uint32_t error_code;  /* page-fault error code; 0 for a non-canonical address */
};

/*
 * Derives a walk from registers. Errors: VMXC_INVALID_INPUT (a state no processor can be in: PG without PE,
 * long mode without PAE or paging, 57-bit addresses the processor does not have, CR3 beyond MAXPHYADDR, a
 * present PDPTE with reserved bits; CPL above 3; capabilities out of range), VMXC_UNSUPPORTED (CR4.LASS).
 */
VMXC_MUST_CHECK enum vmxc_status
vmxc_guest_walk_info_init(const struct vmxc_guest_registers *registers,
                          const struct vmxc_guest_paging_caps *caps,
                          struct vmxc_guest_walk_info *info);

/* True if every present PDPTE is free of reserved bits, as MOV to CR3 and VM entry demand. */
bool vmxc_guest_pdptes_are_valid(const uint64_t pdpte[4], uint8_t maxphyaddr);

/*
 * Translates `gva` for `access` and decides whether the access is allowed. On VMXC_OK only *translation is
 * filled; on the other statuses named at struct vmxc_guest_fault only *fault, which may be NULL.
 *
 * Errors: VMXC_GUEST_FAULT; VMXC_NOT_FOUND (a table lies in a hole or outside the space), VMXC_DENIED (its area
 * cannot be read, or not be written although a flag must be set), VMXC_NOT_BACKED (no memory the HAL can
 * map), VMXC_NO_MEMORY, VMXC_BUSY (entries kept changing while flags were to be set), VMXC_BAD_STATE,
 * VMXC_INVALID_INPUT (contradictory access; an address wider than 32 bits outside 64-bit modes).
 *
 * Source: SDM, "Hierarchical Paging Structures: an Overview", "Access Rights", "Page-Fault Exceptions",
 * "Accessed and Dirty Flags".
 */
VMXC_MUST_CHECK enum vmxc_status vmxc_guest_walk(struct vmxc_addrspace *space,
                                                 const struct vmxc_guest_walk_info *info,
                                                 struct vmxc_guest_access access, vmxc_gva_t gva,
                                                 struct vmxc_guest_translation *translation,
                                                 struct vmxc_guest_fault *fault);

/* Static names: "none", "32-bit", "PAE" ...; "not present", "reserved bit" ...; "?" for an unknown number. */
const char *vmxc_guest_paging_mode_name(enum vmxc_guest_paging_mode mode);
const char *vmxc_guest_fault_kind_name(enum vmxc_guest_fault_kind kind);

#ifdef __cplusplus
}
#endif

#endif
