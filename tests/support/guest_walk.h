/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guest tables in guest memory for tests of the software walk: one linear address per paging mode, mapped to one page
 * with all rights, every entry of which a test can change. Entries are numbers that the test wrote; nothing here asks
 * libvmxcore or the model what they mean.
 */
#ifndef VMXSIM_TESTS_GUEST_WALK_H
#define VMXSIM_TESTS_GUEST_WALK_H

#include <check.h>

#include "vmxcore/guest_mem.h"
#include "vmxcore/guest_paging.h"
#include "vmxsim/memory.h"

#define BIT(n)       VMXC_BIT(n)
#define BITS(hi, lo) VMXC_BITS(hi, lo)

#define P   VMXC_PTE_PRESENT
#define W   VMXC_PTE_WRITE
#define U   VMXC_PTE_USER
#define A   VMXC_PTE_ACCESSED
#define D   VMXC_PTE_DIRTY
#define PS  VMXC_PTE_PAGE_SIZE
#define XD  VMXC_PTE_NO_EXECUTE
#define PWU (P | W | U)

/* Guest memory [0, 16 MBytes) is host memory [32, 48 MBytes). */
#define RAM_SIZE   (UINT64_C(64) << 20)
#define GUEST_HPA  (UINT64_C(32) << 20)
#define GUEST_SIZE (UINT64_C(16) << 20)

/* The table whose entries are of level n lies at n * 10000H; the page is at 200000H. */
#define TABLE_GPA(level) ((uint64_t)(level) << 16)
#define PAGE_GPA         UINT64_C(0x200000)
#define OFFSET           UINT64_C(0x567)

/* A paging mode and the way to its linear address. */
struct mode {
    enum vmxc_guest_paging_mode mode;
    uint64_t cr0, cr4, efer;
    unsigned levels, entry_size;
    unsigned memory_levels; /* levels whose entries lie in memory */
    uint64_t gva;
    uint64_t entry_gpa[6]; /* by level */
};

#define MODES     4
#define LONG_MODE 2 /* first mode with 64-bit addresses */

extern const struct mode modes[MODES]; /* 32-bit, PAE, 4-level, 5-level */

/* The machine of the test; registers and capabilities are what the next walk uses. */
extern struct vmxsim_memory *memory;
extern struct vmxc_addrspace space;
extern const struct mode *mode;
extern struct vmxc_guest_registers registers;
extern struct vmxc_guest_paging_caps caps;

/* What the last walk said. */
extern struct vmxc_guest_translation translation;
extern struct vmxc_guest_fault fault;

/* Stores that libvmxcore announced since build, and a hook that runs before each of them. */
extern uint64_t dirty_calls;
extern void (*on_dirty)(vmxc_hpa_t hpa);

extern const struct vmxc_guest_access s_read, s_write, s_fetch, u_read, u_write, u_fetch;

/* Checked fixture: guest memory as above in an address space on simulated memory. */
void setup(void);
void teardown(void);

/* Tables for modes[index] that map its address to PAGE_GPA with all rights; supervisor at CPL 0, CR0.WP = 1. */
void build(size_t index);

/* The entry of a level; a PDPTE of PAE paging goes to its register and cannot be read back. */
uint64_t get_entry(unsigned level);
void set_entry(unsigned level, uint64_t value);

struct vmxc_guest_walk_info make_info(void);

/* Walks for the mode's address, or for another. */
enum vmxc_status walk(struct vmxc_guest_access access);
enum vmxc_status walk_at(struct vmxc_guest_access access, vmxc_gva_t gva);

#endif
