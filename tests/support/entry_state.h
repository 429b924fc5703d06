/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Valid states for the tests of the VM-entry checks, and the changes that cases make to them.
 *
 * A state is everything a VM entry looks at: profile, VMCS, memory, processor. Each base is one guest mode that a
 * processor with that profile enters without complaint. Nothing here asks the checker: the values come from the
 * manual's sections on VM entries.
 */
#ifndef VMXSIM_TESTS_ENTRY_STATE_H
#define VMXSIM_TESTS_ENTRY_STATE_H

#include <stddef.h>

#include "vmxcore/defs/controls.h"
#include "vmxcore/defs/paging.h"
#include "vmxsim/entry.h"

/* Built-in profiles, and "everything" or a captured one with one number changed. */
enum entry_profile {
    ENTRY_PROFILE_everything,
    ENTRY_PROFILE_skylake,
    ENTRY_PROFILE_icelake,
    ENTRY_PROFILE_tigerlake,
    ENTRY_PROFILE_address_32,     /* IA32_VMX_BASIC bit 48: 32-bit physical addresses */
    ENTRY_PROFILE_no_true,        /* IA32_VMX_BASIC bit 55 is 0: no TRUE capability MSRs */
    ENTRY_PROFILE_no_ept_ad,      /* no accessed and dirty flags for EPT */
    ENTRY_PROFILE_no_ept_uc,      /* EPT paging structures are write-back only */
    ENTRY_PROFILE_no_zero_length, /* software events are injected with a length of 1 to 15 */
    ENTRY_PROFILE_no_sipi,        /* no wait-for-SIPI activity state */
    ENTRY_PROFILE_rtm,            /* with restricted transactional memory */
    ENTRY_PROFILE_tracing,        /* IA32_RTIT_CTL.TraceEn is 1 */
    ENTRY_PROFILE_COUNT
};

enum entry_base {
    ENTRY_BASE_LONG64,    /* 64-bit guest, 64-bit host */
    ENTRY_BASE_PAE32,     /* 32-bit guest with PAE paging, 64-bit host */
    ENTRY_BASE_UNPAGED32, /* 32-bit guest without paging: unrestricted guest, EPT */
    ENTRY_BASE_REAL,      /* real mode: unrestricted guest, EPT */
    ENTRY_BASE_V86,       /* virtual-8086 mode, 32-bit paging */
    ENTRY_BASE_HOST32,    /* 32-bit host outside IA-32e mode, 32-bit guest with PAE paging */
    ENTRY_BASE_COUNT
};

extern const char *const entry_base_names[ENTRY_BASE_COUNT];

enum entry_step_kind {
    ENTRY_STEP_END,
    ENTRY_STEP_SET,       /* field `where` becomes `value` */
    ENTRY_STEP_ON,        /* bits `value` of field `where` become 1 */
    ENTRY_STEP_OFF,       /* ... 0 */
    ENTRY_STEP_MEMORY,    /* quadword at `where` becomes `value` */
    ENTRY_STEP_PROCESSOR, /* `size` bytes at offset `where` of the processor become `value` */
    ENTRY_STEP_FILL, /* an MSR list of `size` entries at `where`: IA32_SYSENTER_CS with `value` */
};

struct entry_step {
    enum entry_step_kind kind;
    uint32_t size;
    uint64_t where, value;
};

/* Where things are in memory. */
#define ENTRY_CURRENT_VMCS   UINT64_C(0x1000)
#define ENTRY_LINKED_VMCS    UINT64_C(0x2000)
#define ENTRY_VIRTUAL_APIC   UINT64_C(0x3000)
#define ENTRY_PDPT           UINT64_C(0x4000)
#define ENTRY_MSR_LIST       UINT64_C(0x5000)
#define ENTRY_LONG_MSR_LIST  UINT64_C(0x8000)
#define ENTRY_EXECUTIVE_VMCS UINT64_C(0x7000)
#define ENTRY_RAM            (UINT64_C(256) << 20)

/* The last pages below 4 GBytes and below 2^52 are RAM too: lists that end at the width. */
#define ENTRY_TOP_32 UINT64_C(0xfffff000)
#define ENTRY_TOP_52 UINT64_C(0xffffffffff000)

#define ENTRY_ORDINAL(field) VMXC_VMCS_ORDINAL_##field
#define SET(field, number)                                \
    {                                                     \
        ENTRY_STEP_SET, 0, ENTRY_ORDINAL(field), (number) \
    }
#define ON(field, bits)                                \
    {                                                  \
        ENTRY_STEP_ON, 0, ENTRY_ORDINAL(field), (bits) \
    }
#define OFF(field, bits)                                \
    {                                                   \
        ENTRY_STEP_OFF, 0, ENTRY_ORDINAL(field), (bits) \
    }
#define MEM(address, quadword)                      \
    {                                               \
        ENTRY_STEP_MEMORY, 0, (address), (quadword) \
    }
#define FILL(address, entries)                      \
    {                                               \
        ENTRY_STEP_FILL, (entries), (address), 0x10 \
    }
#define CPU(member, number)                                                            \
    {                                                                                  \
        ENTRY_STEP_PROCESSOR, sizeof(((struct vmxsim_entry_processor *)NULL)->member), \
            offsetof(struct vmxsim_entry_processor, member), (number)                  \
    }

/* Control bits by name. */
#define PIN(name)     ON(PIN_BASED_CONTROLS, VMXC_PIN_##name)
#define PRIMARY(name) ON(PRIMARY_PROCESSOR_BASED_CONTROLS, VMXC_PRIMARY_##name)
#define SECONDARY(name)                   \
    PRIMARY(ACTIVATE_SECONDARY_CONTROLS), \
        ON(SECONDARY_PROCESSOR_BASED_CONTROLS, VMXC_SECONDARY_##name)
#define TERTIARY(name) \
    PRIMARY(ACTIVATE_TERTIARY_CONTROLS), ON(TERTIARY_PROCESSOR_BASED_CONTROLS, VMXC_TERTIARY_##name)
#define EXIT(name) ON(PRIMARY_VM_EXIT_CONTROLS, VMXC_EXIT_##name)
#define SECONDARY_EXIT(name) \
    EXIT(ACTIVATE_SECONDARY_CONTROLS), ON(SECONDARY_VM_EXIT_CONTROLS, VMXC_SECONDARY_EXIT_##name)
#define ENTRY(name) ON(VM_ENTRY_CONTROLS, VMXC_ENTRY_##name)
#define EPT         SECONDARY(ENABLE_EPT), SET(EPT_POINTER, 0x601e)

/* A state that vmxsim_entry_check can be asked about. */
struct entry_state {
    const struct vmxsim_profile *profile; /* lives as long as the process */
    struct vmxsim_memory *memory;
    struct vmxsim_vmcs vmcs;
    struct vmxsim_entry_processor processor;
};

/* The memory of all states; made once, reset by entry_state_init. The test ends if it cannot be made. */
void entry_states_open(void);
void entry_states_close(void);

const struct vmxsim_profile *entry_profile(enum entry_profile profile);

/* A valid state. States share one memory: the last one initialised owns it. */
void entry_state_init(struct entry_state *state, enum entry_profile profile, enum entry_base base);

/* Applies the steps up to ENTRY_STEP_END. */
void entry_state_apply(struct entry_state *state, const struct entry_step *steps);

/* What vmxsim_entry_check is asked; lives as long as the state. */
struct vmxsim_entry_input entry_state_input(const struct entry_state *state);
void entry_state_check(const struct entry_state *state, struct vmxsim_entry_report *report);

#endif
