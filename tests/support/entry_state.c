/* SPDX-License-Identifier: Apache-2.0 */
#include "support/entry_state.h"

#include <check.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmxcore/defs/msr.h"
#include "vmxcore/defs/paging.h"

const char *const entry_base_names[ENTRY_BASE_COUNT] = {
    "64-bit", "32-bit PAE", "32-bit unpaged", "real mode", "virtual-8086", "32-bit host"};

/* ---- Profiles ---- */

struct profile_change {
    const char *builtin;
    uint32_t msr; /* 0: no change of an MSR */
    uint64_t msr_clear, msr_set;
    uint32_t cpuid_7_ebx_set;
};

static const struct profile_change profile_changes[ENTRY_PROFILE_COUNT] = {
    [ENTRY_PROFILE_everything] = {.builtin = "everything"},
    [ENTRY_PROFILE_skylake] = {.builtin = "skylake"},
    [ENTRY_PROFILE_icelake] = {.builtin = "icelake"},
    [ENTRY_PROFILE_tigerlake] = {.builtin = "tigerlake"},
    [ENTRY_PROFILE_address_32] = {"everything", VMXC_MSR_VMX_BASIC, 0, VMXC_BIT(48), 0},
    [ENTRY_PROFILE_no_true] = {"everything", VMXC_MSR_VMX_BASIC, VMXC_BIT(55), 0, 0},
    [ENTRY_PROFILE_no_ept_ad] = {"everything", VMXC_MSR_VMX_EPT_VPID_CAP, VMXC_BIT(21), 0, 0},
    [ENTRY_PROFILE_no_ept_uc] = {"everything", VMXC_MSR_VMX_EPT_VPID_CAP, VMXC_BIT(8), 0, 0},
    [ENTRY_PROFILE_no_zero_length] = {"everything", VMXC_MSR_VMX_MISC, VMXC_BIT(30), 0, 0},
    [ENTRY_PROFILE_no_sipi] = {"everything", VMXC_MSR_VMX_MISC, VMXC_BIT(8), 0, 0},
    [ENTRY_PROFILE_rtm] = {.builtin = "everything", .cpuid_7_ebx_set = 1u << 11},
    [ENTRY_PROFILE_tracing] = {"everything", VMXC_MSR_RTIT_CTL, 0, VMXC_BIT(0), 0},
};

static uint64_t number_of(const json_t *text)
{
    return text ? strtoull(json_string_value(text), NULL, 16) : 0;
}

static json_t *text_of(uint64_t number)
{
    char text[32];

    snprintf(text, sizeof(text), "0x%" PRIx64, number);
    return json_string(text);
}

static void change_cpu(json_t *cpu, const struct profile_change *change)
{
    if (change->msr != 0) {
        json_t *msrs = json_object_get(cpu, "msr");
        char key[16];
        snprintf(key, sizeof(key), "0x%" PRIx32, change->msr);
        const uint64_t old = number_of(json_object_get(msrs, key));
        json_object_set_new(msrs, key, text_of((old & ~change->msr_clear) | change->msr_set));
    }
    json_t *leaf_7 = json_object_get(json_object_get(cpu, "cpuid"), "0x7.0");
    ck_assert(json_is_array(leaf_7));
    const uint64_t ebx = number_of(json_array_get(leaf_7, 1));
    json_array_set_new(leaf_7, 1, text_of(ebx | change->cpuid_7_ebx_set));
}

static struct vmxsim_profile *changed_profile(const struct profile_change *change)
{
    char *text = vmxsim_profile_to_json(vmxsim_profile_builtin(change->builtin));
    json_t *cpu = json_loads(text, 0, NULL);
    free(text);
    ck_assert_ptr_nonnull(cpu);
    change_cpu(cpu, change);
    text = json_dumps(cpu, JSON_COMPACT);
    json_decref(cpu);

    struct vmxsim_profile *profile = NULL;
    struct vmxsim_error error;
    const enum vmxc_status status =
        vmxsim_profile_from_json(text, strlen(text), "test", &profile, &error);
    free(text);
    ck_assert_msg(status == VMXC_OK, "%s", error.text);
    return profile;
}

/* Made by entry_states_open. */
static struct vmxsim_profile *profiles[ENTRY_PROFILE_COUNT];
static struct vmxsim_memory *memory;

const struct vmxsim_profile *entry_profile(enum entry_profile profile)
{
    return profiles[profile];
}

void entry_states_open(void)
{
    const struct vmxsim_range ram[] = {
        {0, ENTRY_RAM}, {ENTRY_TOP_32, 0x1000}, {ENTRY_TOP_52, 0x1000}};
    const struct vmxsim_memory_config config = {.ram = ram, .ram_count = 3};
    struct vmxsim_error error;

    for (int i = 0; i < ENTRY_PROFILE_COUNT; i++)
        profiles[i] = changed_profile(&profile_changes[i]);
    const enum vmxc_status status = vmxsim_memory_create(&config, &memory, &error);
    ck_assert_msg(status == VMXC_OK, "%s", error.text);
}

void entry_states_close(void)
{
    for (int i = 0; i < ENTRY_PROFILE_COUNT; i++)
        vmxsim_profile_destroy(profiles[i]);
    vmxsim_memory_destroy(memory);
    memory = NULL;
}

/* ---- Bases ---- */

#define END                     \
    {                           \
        ENTRY_STEP_END, 0, 0, 0 \
    }

#define SEGMENT(name, selector, base, limit, rights)                        \
    SET(GUEST_##name##_SELECTOR, selector), SET(GUEST_##name##_BASE, base), \
        SET(GUEST_##name##_LIMIT, limit), SET(GUEST_##name##_ACCESS_RIGHTS, rights)

/* CS with these rights, the others flat: read and write, accessed, present, 32-bit, 4-KByte granularity. */
#define FLAT_SEGMENTS(code_rights)                                                          \
    SEGMENT(CS, 0x8, 0, 0xffffffff, code_rights), SEGMENT(SS, 0x10, 0, 0xffffffff, 0xc093), \
        SEGMENT(DS, 0x10, 0, 0xffffffff, 0xc093), SEGMENT(ES, 0x10, 0, 0xffffffff, 0xc093), \
        SEGMENT(FS, 0x10, 0, 0xffffffff, 0xc093), SEGMENT(GS, 0x10, 0, 0xffffffff, 0xc093)

/* Segments as real-address and virtual-8086 mode have them: base = 16 * selector, limit FFFFH. */
#define REAL_SEGMENTS(code_rights, data_rights)            \
    SEGMENT(CS, 0x1000, 0x10000, 0xffff, code_rights),     \
        SEGMENT(SS, 0x2000, 0x20000, 0xffff, data_rights), \
        SEGMENT(DS, 0x3000, 0x30000, 0xffff, data_rights), \
        SEGMENT(ES, 0x4000, 0x40000, 0xffff, data_rights), \
        SEGMENT(FS, 0x5000, 0x50000, 0xffff, data_rights), \
        SEGMENT(GS, 0x6000, 0x60000, 0xffff, data_rights)

/* clang-format off */
static const struct entry_step common[] = {
    SET(VMCS_LINK_POINTER, UINT64_MAX),
    SET(HOST_CR0, 0x80010031), SET(HOST_CR3, 0x6000), SET(HOST_CR4, 0x2020),
    SET(HOST_CS_SELECTOR, 0x8), SET(HOST_SS_SELECTOR, 0x10), SET(HOST_DS_SELECTOR, 0x10),
    SET(HOST_ES_SELECTOR, 0x10), SET(HOST_FS_SELECTOR, 0x10), SET(HOST_GS_SELECTOR, 0x10),
    SET(HOST_TR_SELECTOR, 0x18),
    SET(HOST_RIP, 0x500000), SET(HOST_IA32_PAT, 0x0007040600070406),
    SEGMENT(TR, 0x18, 0, 0x67, 0x8b), SEGMENT(LDTR, 0, 0, 0, 0x10000),
    SET(GUEST_GDTR_LIMIT, 0xff), SET(GUEST_IDTR_LIMIT, 0xfff),
    SET(GUEST_DR7, 0x400), SET(GUEST_RFLAGS, 0x2), SET(GUEST_IA32_PAT, 0x0007040600070406),
    END
};

static const struct entry_step host_64[] = {
    EXIT(HOST_ADDRESS_SPACE_SIZE), SET(HOST_IA32_EFER, 0x500), END
};

static const struct entry_step host_32[] = {
    CPU(efer, 0), CPU(code_64bit, false), CPU(cr4, 0x2020), END
};

static const struct entry_step guest_64[] = {
    ENTRY(IA32E_MODE_GUEST), SET(GUEST_IA32_EFER, 0x500),
    SET(GUEST_CR0, 0x80010031), SET(GUEST_CR3, 0x4000), SET(GUEST_CR4, 0x2020),
    FLAT_SEGMENTS(0xa09b), SET(GUEST_RIP, 0x400000), SET(GUEST_RSP, 0x410000), END
};

static const struct entry_step guest_pae[] = {
    SET(GUEST_CR0, 0x80010031), SET(GUEST_CR3, ENTRY_PDPT), SET(GUEST_CR4, 0x2020),
    FLAT_SEGMENTS(0xc09b), SET(GUEST_RIP, 0x400000), SET(GUEST_RSP, 0x410000),
    MEM(ENTRY_PDPT, 0x10001), MEM(ENTRY_PDPT + 8, 0x11001), MEM(ENTRY_PDPT + 16, 0x12001),
    MEM(ENTRY_PDPT + 24, 0x13001), END
};

static const struct entry_step guest_unpaged[] = {
    EPT, SECONDARY(UNRESTRICTED_GUEST), SET(GUEST_CR0, 0x31), SET(GUEST_CR4, 0x2000),
    FLAT_SEGMENTS(0xc09b), SET(GUEST_RIP, 0x400000), SET(GUEST_RSP, 0x410000), END
};

static const struct entry_step guest_real[] = {
    EPT, SECONDARY(UNRESTRICTED_GUEST), SET(GUEST_CR0, 0x30), SET(GUEST_CR4, 0x2000),
    REAL_SEGMENTS(0x9b, 0x93), SET(GUEST_RIP, 0x100), SET(GUEST_RSP, 0x1000), END
};

static const struct entry_step guest_v86[] = {
    SET(GUEST_CR0, 0x80010031), SET(GUEST_CR3, 0x4000), SET(GUEST_CR4, 0x2000),
    SET(GUEST_RFLAGS, 0x20002), REAL_SEGMENTS(0xf3, 0xf3), SET(GUEST_RIP, 0x100), SET(GUEST_RSP, 0x1000), END
};
/* clang-format on */

static const struct {
    const struct entry_step *host, *guest;
} bases[ENTRY_BASE_COUNT] = {
    [ENTRY_BASE_LONG64] = {host_64, guest_64},         [ENTRY_BASE_PAE32] = {host_64, guest_pae},
    [ENTRY_BASE_UNPAGED32] = {host_64, guest_unpaged}, [ENTRY_BASE_REAL] = {host_64, guest_real},
    [ENTRY_BASE_V86] = {host_64, guest_v86},           [ENTRY_BASE_HOST32] = {host_32, guest_pae},
};

/* The settings a control word must have: the low half of its capability MSR. */
static uint64_t required(const struct vmxsim_profile *profile, uint32_t msr, uint32_t true_msr)
{
    uint64_t basic = 0, settings = 0;

    ck_assert(vmxsim_profile_msr(profile, VMXC_MSR_VMX_BASIC, &basic) == VMXC_OK);
    const uint32_t index = (basic & VMXC_BIT(55)) ? true_msr : msr;
    ck_assert(vmxsim_profile_msr(profile, index, &settings) == VMXC_OK);
    return settings & UINT32_MAX;
}

static void set_required_controls(struct entry_state *state)
{
    const struct vmxsim_profile *profile = state->profile;
    struct vmxsim_vmcs *vmcs = &state->vmcs;

    VMXSIM_VMCS(vmcs, PIN_BASED_CONTROLS) =
        required(profile, VMXC_MSR_VMX_PINBASED_CTLS, VMXC_MSR_VMX_TRUE_PINBASED_CTLS);
    VMXSIM_VMCS(vmcs, PRIMARY_PROCESSOR_BASED_CONTROLS) =
        required(profile, VMXC_MSR_VMX_PROCBASED_CTLS, VMXC_MSR_VMX_TRUE_PROCBASED_CTLS);
    VMXSIM_VMCS(vmcs, PRIMARY_VM_EXIT_CONTROLS) =
        required(profile, VMXC_MSR_VMX_EXIT_CTLS, VMXC_MSR_VMX_TRUE_EXIT_CTLS);
    VMXSIM_VMCS(vmcs, VM_ENTRY_CONTROLS) =
        required(profile, VMXC_MSR_VMX_ENTRY_CTLS, VMXC_MSR_VMX_TRUE_ENTRY_CTLS);
}

void entry_state_init(struct entry_state *state, enum entry_profile profile, enum entry_base base)
{
    memset(state, 0, sizeof(*state));
    vmxsim_memory_reset(memory);
    state->profile = profiles[profile];
    state->memory = memory;
    state->processor = vmxsim_entry_processor_default(ENTRY_CURRENT_VMCS);
    set_required_controls(state);
    entry_state_apply(state, common);
    entry_state_apply(state, bases[base].host);
    entry_state_apply(state, bases[base].guest);
}

/* ---- Changes ---- */

static void set_field(struct entry_state *state, uint64_t ordinal, uint64_t value)
{
    const uint64_t holds = vmxsim_vmcs_width_mask(vmxsim_vmcs_encoding(ordinal));

    ck_assert_msg((value & ~holds) == 0, "%s cannot hold 0x%" PRIx64, vmxsim_vmcs_name(ordinal),
                  value);
    state->vmcs.value[ordinal] = value;
}

static void apply_step(struct entry_state *state, const struct entry_step *step)
{
    switch (step->kind) {
    case ENTRY_STEP_SET:
        set_field(state, step->where, step->value);
        break;
    case ENTRY_STEP_ON:
        set_field(state, step->where, state->vmcs.value[step->where] | step->value);
        break;
    case ENTRY_STEP_OFF:
        set_field(state, step->where, state->vmcs.value[step->where] & ~step->value);
        break;
    case ENTRY_STEP_MEMORY:
        vmxsim_memory_write64(state->memory, step->where, step->value);
        break;
    case ENTRY_STEP_PROCESSOR:
        memcpy((char *)&state->processor + step->where, &step->value, step->size);
        break;
    case ENTRY_STEP_FILL:
        for (uint32_t i = 0; i < step->size; i++) {
            vmxsim_memory_write64(state->memory, step->where + 16 * i, VMXC_MSR_SYSENTER_CS);
            vmxsim_memory_write64(state->memory, step->where + 16 * i + 8, step->value);
        }
        break;
    case ENTRY_STEP_END:
        break;
    }
}

void entry_state_apply(struct entry_state *state, const struct entry_step *steps)
{
    for (; steps->kind != ENTRY_STEP_END; steps++)
        apply_step(state, steps);
}

struct vmxsim_entry_input entry_state_input(const struct entry_state *state)
{
    return (struct vmxsim_entry_input){
        .vmcs = &state->vmcs,
        .profile = state->profile,
        .processor = &state->processor,
        .memory = state->memory,
    };
}

void entry_state_check(const struct entry_state *state, struct vmxsim_entry_report *report)
{
    const struct vmxsim_entry_input input = entry_state_input(state);

    vmxsim_entry_check(&input, report);
}
