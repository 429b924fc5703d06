/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The state of one logical processor, as the walk sees it. vmxsim_cpu_load_guest fills it from a VMCS; everything
 * that depends only on that state and the profile (paging mode, reserved-bit masks) is worked out once there.
 */
#ifndef VMXSIM_INTERNAL_CPU_H
#define VMXSIM_INTERNAL_CPU_H

#include "vmxcore/defs/paging.h"
#include "vmxsim/cpu.h"

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
    uint8_t levels;
    uint64_t root;
    bool large_page[MAX_LEVELS + 1];
    struct reserved_bits reserved;
};

struct exit_controls {
    uint64_t primary; /* primary processor-based VM-execution controls */
    uint64_t io_bitmap_a, io_bitmap_b, msr_bitmap;
    uint32_t exception_bitmap, page_fault_mask, page_fault_match;
    bool pml;
    uint64_t pml_address;
    uint16_t pml_index;
    bool ve;
    uint64_t ve_info_address;
    uint16_t eptp_index;
};

struct vmxsim_cpu {
    struct vmxsim_memory *memory;
    const struct vmxsim_profile *profile;
    struct vmxsim_root_state root;
    bool in_guest;
    struct guest_state guest;
    struct ept_state ept;
    struct exit_controls exits;
};

#endif
