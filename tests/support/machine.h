/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A simulated machine for tests: memory, a profile, one processor and the VMCS it is loaded from, plus builders
 * for EPT and guest paging structures that store raw entries.
 *
 * The builders know nothing of libvmxcore and ask the model nothing: an entry is a number that the test wrote.
 */
#ifndef VMXSIM_TESTS_MACHINE_H
#define VMXSIM_TESTS_MACHINE_H

#include "vmxcore/defs/ept.h"
#include "vmxcore/defs/paging.h"
#include "vmxsim/cpu.h"

/* Processor-based controls, by bit number of the manual's tables. */
#define CTL_SECONDARY        VMXC_BIT(31)
#define CTL2_EPT             VMXC_BIT(1)
#define CTL2_UNRESTRICTED    VMXC_BIT(7)
#define CTL2_PML             VMXC_BIT(17)
#define CTL2_EPT_VE          VMXC_BIT(18)
#define CTL2_SUB_PAGE_WRITE  VMXC_BIT(23)
#define CTL2_MODE_BASED_EXEC VMXC_BIT(22)
#define ENTRY_IA32E          VMXC_BIT(9)
#define ENTRY_LOAD_PAT       VMXC_BIT(14)
#define ENTRY_LOAD_EFER      VMXC_BIT(15)
#define ENTRY_LOAD_PKRS      VMXC_BIT(22)

/* IA32_VMX_EPT_VPID_CAP. */
#define MSR_EPT_VPID_CAP       0x48cu
#define EPT_CAP_EXECUTE_ONLY   VMXC_BIT(0)
#define EPT_CAP_WALK_5         VMXC_BIT(7)
#define EPT_CAP_2M             VMXC_BIT(16)
#define EPT_CAP_1G             VMXC_BIT(17)
#define EPT_CAP_ACCESSED_DIRTY VMXC_BIT(21)
#define EPT_CAP_ADVANCED_INFO  VMXC_BIT(22)

#define EXIT_EXCEPTION     0u
#define EXIT_EPT_VIOLATION 48u
#define EXIT_EPT_MISCONFIG 49u
#define EXIT_PML_FULL      62u
#define EXIT_SPP           66u

/* PAT with one entry per type: WB WT UC- UC WP WC, then WB WB. */
#define PAT_VALUE UINT64_C(0x0606010500070406)

enum guest_mode { GUEST_NONE, GUEST_32BIT, GUEST_PAE, GUEST_4LEVEL, GUEST_5LEVEL, GUEST_MODES };

extern const char *const guest_mode_names[GUEST_MODES];

/* Levels of guest paging structures in memory (PAE: its four PDPTEs are registers). */
unsigned guest_levels(enum guest_mode mode);

/* Which features of the built-in profile "everything" to take away. */
struct profile_changes {
    uint64_t ept_cap_clear;
    uint64_t secondary_clear; /* allowed 1-settings of the secondary processor-based controls */
    unsigned maxphyaddr;      /* bits; 0: leave */
    uint32_t cpuid_1_edx_clear;
    uint32_t cpuid_80000001_edx_clear;
};

/* The profile that this JSON text describes; ends the test if it is refused. */
struct vmxsim_profile *profile_from_text(const char *text);

/* The changed profile; vmxsim_profile_destroy gives it back. Ends the test if it cannot be made. */
struct vmxsim_profile *profile_make(const struct profile_changes *changes);

struct machine {
    struct vmxsim_memory *memory;
    struct vmxsim_profile *profile;
    struct vmxsim_cpu *cpu;
    struct vmxsim_vmcs vmcs;
    uint64_t next_table; /* where the next paging structure goes */
    unsigned ept_levels; /* 4 or 5 */
    uint64_t ept_root;
    unsigned guest_levels_in_memory;
    enum guest_mode mode;
};

#define MACHINE_RAM    (UINT64_C(8) << 30)
#define MACHINE_TABLES UINT64_C(0x100000) /* paging structures of the builders start here */

/* Host memory [0, 8 GBytes), a processor with this profile, an empty VMCS. */
void machine_init(struct machine *machine, const struct profile_changes *changes);
void machine_fini(struct machine *machine);

/* A zeroed 4-KByte table. */
uint64_t machine_new_table(struct machine *machine);

uint64_t machine_read(struct machine *machine, uint64_t hpa);
void machine_write(struct machine *machine, uint64_t hpa, uint64_t value);

/* ---- EPT ---- */

/* An empty hierarchy; afterwards the VMCS names it. `eptp_bits`: VMXC_EPTP_ACCESSED_DIRTY or 0. */
void machine_new_ept(struct machine *machine, unsigned levels, uint64_t eptp_bits);

/* Rights of every entry that the builder makes: read, write, execute, and user-mode execute. */
#define EPT_ALL (VMXC_EPT_RWX | VMXC_EPT_USER_EXECUTE)

/* Address of the entry of `level` on the way to `gpa`; missing tables above it are made with EPT_ALL. */
uint64_t machine_ept_entry(struct machine *machine, uint64_t gpa, unsigned level);

/* Maps the page of `level` (1, 2 or 3) that holds `gpa` to the page at `hpa`: EPT_ALL, write-back. */
void machine_ept_map(struct machine *machine, uint64_t gpa, uint64_t hpa, unsigned level);

/* ---- Guest ---- */

/*
 * Guest registers for a mode: protected mode, CR0.WP = 0, CR4 with PSE, PAE and LA57 as the mode needs, EFER.NXE = 1
 * where the entries have bit 63, CPL 0, RFLAGS.AC = 0, PAT_VALUE. CR3 and the PDPTEs are not touched.
 */
void machine_set_mode(struct machine *machine, enum guest_mode mode);

void machine_set_cpl(struct machine *machine, unsigned cpl);

/* Loads the processor from the VMCS; ends the test if a control is refused. */
void machine_load(struct machine *machine);

/* One access. Ends the test if the call itself fails. */
struct vmxsim_outcome machine_access(struct machine *machine, enum vmxsim_access_type type,
                                     uint64_t linear, uint32_t size);
struct vmxsim_outcome machine_access_as(struct machine *machine, const struct vmxsim_access *access,
                                        struct vmxsim_trail *trail);

/* Text of an outcome for messages; a static buffer. */
const char *machine_outcome_text(const struct vmxsim_outcome *outcome);

#endif
