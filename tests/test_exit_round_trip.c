/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Generated valid states, entered with VMLAUNCH and left at once by an external interrupt: the guest-state area is as it was,
 * but for the bits of a table, each with the section that says what becomes of them. The table is of the manual: it says
 * what each bit is afterwards, so that nothing goes uncompared.
 */
#include <check.h>
#include <inttypes.h>
#include <stdio.h>

#include "support/insn_machine.h"
#include "support/rng.h"
#include "support/suite.h"
#include "vmxcore/defs/controls.h"
#include "vmxcore/defs/guest_state.h"
#include "vmxcore/defs/segments.h"
#include "vmxsim/entry_generate.h"
#include "vmxsim/exit.h"

#define SEED   UINT64_C(0x20240301)
#define STATES 2000u /* of each profile */

#define F(name) VMXC_VMCS_ORDINAL_##name

static const char *const profiles[] = {"everything", "skylake", "icelake", "tigerlake"};

static struct insn_machine machine;

/* ---- What changes ---- */

/* Applies if field `field` has bits `mask` as `value`; mask 0: always. */
struct condition {
    uint16_t field;
    uint64_t mask, value;
};

struct normalised {
    uint16_t field;
    struct condition only_if;
    uint64_t cleared, set;
    bool canonical; /* then made canonical */
    const char *section;
};

#define ALWAYS  \
    {           \
        0, 0, 0 \
    }
#define UNUSABLE(s)                                                                \
    {                                                                              \
        F(GUEST_##s##_ACCESS_RIGHTS), VMXC_SEGMENT_UNUSABLE, VMXC_SEGMENT_UNUSABLE \
    }
#define SAVES_DEBUG                                                                               \
    {                                                                                             \
        F(PRIMARY_VM_EXIT_CONTROLS), VMXC_EXIT_SAVE_DEBUG_CONTROLS, VMXC_EXIT_SAVE_DEBUG_CONTROLS \
    }
#define NOT_AFTER_MOV_SS                                                 \
    {                                                                    \
        F(GUEST_INTERRUPTIBILITY_STATE), VMXC_INTERRUPTIBILITY_MOV_SS, 0 \
    }

#define LOADING_CR      "Loading Guest Control Registers, Debug Registers, and MSRs"
#define SAVING_SEGMENTS "Saving Segment Registers and Descriptor-Table Registers"
#define SAVING_STATE    "Saving Non-Register State"

/* clang-format off */
#define RIGHTS(s) \
    {F(GUEST_##s##_ACCESS_RIGHTS), UNUSABLE(s), VMXC_BITS(31, 17) | VMXC_BITS(11, 8), 0, false, SAVING_SEGMENTS}
#define BASE_32(s) {F(GUEST_##s##_BASE), UNUSABLE(s), VMXC_BITS(63, 32), 0, false, SAVING_SEGMENTS}

static const struct normalised normalised[] = {
    /* Not changed by VM entries, as the host has them: NW, CD and reserved bits 0, ET 1. */
    {F(GUEST_CR0), ALWAYS, VMXC_BITS(15, 6) | VMXC_BIT(17) | VMXC_BITS(30, 19), VMXC_BIT(4), false, LOADING_CR},
    /* Bits 12, 14 and 15 are cleared, bit 10 is set. */
    {F(GUEST_DR7), SAVES_DEBUG, VMXC_BIT(12) | VMXC_BIT(14) | VMXC_BIT(15), VMXC_BIT(10), false, LOADING_CR},
    /* Unusable registers. CS and TR are usable. Bits that the section calls undefined are kept by the model. */
    RIGHTS(ES), RIGHTS(SS), RIGHTS(DS), RIGHTS(FS), RIGHTS(GS), RIGHTS(LDTR),
    BASE_32(ES), BASE_32(SS), BASE_32(DS),
    {F(GUEST_LDTR_BASE), UNUSABLE(LDTR), 0, 0, true, SAVING_SEGMENTS},
    /* Only after MOV SS, or with the exits that are traps. */
    {F(GUEST_PENDING_DEBUG_EXCEPTIONS), NOT_AFTER_MOV_SS, UINT64_MAX, 0, false, SAVING_STATE},
};
/* clang-format on */

#define NORMALISED (sizeof(normalised) / sizeof(normalised[0]))

static bool applies(const struct condition *condition, const struct vmxsim_vmcs *vmcs)
{
    return ((vmcs->value[condition->field] ^ condition->value) & condition->mask) == 0;
}

static uint64_t canonical(uint64_t address)
{
    const unsigned width = vmxsim_profile_features(machine.profile)->linear_width;
    const uint64_t upper = ~UINT64_C(0) << (width - 1);

    return (address & VMXC_BIT(width - 1)) ? address | upper : address & ~upper;
}

static uint64_t changed_by(const struct normalised *row, uint64_t value)
{
    const uint64_t changed = (value & ~row->cleared) | row->set;

    return row->canonical ? canonical(changed) : changed;
}

/* What the guest-state area holds afterwards; counts the rows that change something. */
static struct vmxsim_vmcs expected_after(const struct vmxsim_vmcs *entered, unsigned *changes)
{
    struct vmxsim_vmcs expected = *entered;

    for (size_t i = 0; i < NORMALISED; i++) {
        const struct normalised *row = &normalised[i];
        uint64_t *const value = &expected.value[row->field];
        const uint64_t changed = changed_by(row, *value);
        if (!applies(&row->only_if, entered))
            continue;
        changes[i] += *value != changed;
        *value = changed;
    }
    return expected;
}

/* ---- States ---- */

static uint64_t random_value(struct rng *rng)
{
    switch (rng_below(rng, 4)) {
    case 0:
        return rng_next(rng) & rng_next(rng) & rng_next(rng);
    case 1:
        return rng_chance(rng, 50) ? UINT64_MAX : 0;
    default:
        return rng_next(rng);
    }
}

/* Everything that a VM exit saves has been loaded, so that it is the guest's. */
static void load_what_is_saved(struct vmxsim_vmcs *vmcs)
{
    VMXSIM_VMCS(vmcs, VM_ENTRY_CONTROLS) |=
        VMXC_ENTRY_LOAD_DEBUG_CONTROLS | VMXC_ENTRY_LOAD_PERF_GLOBAL_CTRL | VMXC_ENTRY_LOAD_PAT |
        VMXC_ENTRY_LOAD_EFER | VMXC_ENTRY_LOAD_BNDCFGS | VMXC_ENTRY_LOAD_RTIT_CTL |
        VMXC_ENTRY_LOAD_UINV | VMXC_ENTRY_LOAD_CET | VMXC_ENTRY_LOAD_LBR_CTL | VMXC_ENTRY_LOAD_PKRS;
}

/* CAVEATS.md: what the model refuses. */
static void leave_out_what_is_not_modelled(struct vmxsim_vmcs *vmcs)
{
    VMXSIM_VMCS(vmcs, TERTIARY_PROCESSOR_BASED_CONTROLS) = 0;
    VMXSIM_VMCS(vmcs, SECONDARY_VM_EXIT_CONTROLS) = 0;
    VMXSIM_VMCS(vmcs, VM_ENTRY_CONTROLS) &= ~(VMXC_ENTRY_LOAD_FRED | VMXC_ENTRY_LOAD_SPEC_CTRL);
    VMXSIM_VMCS(vmcs, GUEST_CR4) &= ~(VMXC_CR4_LASS | VMXC_CR4_LAM_SUP);
    VMXSIM_VMCS(vmcs, GUEST_CR3) &= ~(VMXC_CR3_LAM_U48 | VMXC_CR3_LAM_U57);
}

/* No event is injected and no MSR list changes anything: what is entered is what is left. */
static void change_nothing(struct vmxsim_vmcs *vmcs)
{
    VMXSIM_VMCS(vmcs, VM_ENTRY_INTERRUPTION_INFO) = 0;
    VMXSIM_VMCS(vmcs, VM_EXIT_MSR_STORE_COUNT) = 0;
    VMXSIM_VMCS(vmcs, VM_EXIT_MSR_LOAD_COUNT) = 0;
}

/* Of an unusable register a VM entry looks at little: the DPL of SS, the bases of FS and GS. */
static void fill_unusable(struct rng *rng, struct vmxsim_vmcs *vmcs)
{
    static const struct {
        uint16_t rights, base;
    } segments[] = {
        {F(GUEST_ES_ACCESS_RIGHTS), F(GUEST_ES_BASE)},
        {F(GUEST_SS_ACCESS_RIGHTS), F(GUEST_SS_BASE)},
        {F(GUEST_DS_ACCESS_RIGHTS), F(GUEST_DS_BASE)},
        {F(GUEST_FS_ACCESS_RIGHTS), 0},
        {F(GUEST_GS_ACCESS_RIGHTS), 0},
        {F(GUEST_LDTR_ACCESS_RIGHTS), F(GUEST_LDTR_BASE)},
    };

    for (size_t i = 0; i < sizeof(segments) / sizeof(segments[0]); i++) {
        uint64_t *const rights = &vmcs->value[segments[i].rights];
        if (!(*rights & VMXC_SEGMENT_UNUSABLE))
            continue;
        *rights |= rng_next(rng) & UINT32_MAX & ~VMXC_SEGMENT_DPL;
        if (segments[i].base != 0)
            vmcs->value[segments[i].base] = rng_next(rng);
    }
}

static struct vmxsim_vmcs random_vmcs(struct rng *rng)
{
    const struct vmxsim_entry_processor processor = vmxsim_entry_processor_default(REGION_A);
    struct vmxsim_vmcs vmcs;

    for (size_t i = 0; i < VMXC_VMCS_FIELD_COUNT; i++)
        vmcs.value[i] = random_value(rng);
    load_what_is_saved(&vmcs);
    leave_out_what_is_not_modelled(&vmcs);
    change_nothing(&vmcs);
    vmxsim_entry_round(machine.profile, &processor, &vmcs);
    fill_unusable(rng, &vmcs);
    return vmcs;
}

/* ---- The round trip ---- */

static void leave(uint32_t index)
{
    const struct vmxsim_outcome interrupt = {
        .kind = VMXSIM_OUTCOME_VM_EXIT,
        .exit_reason = VMXC_EXIT_REASON_EXTERNAL_INTERRUPT,
        .qualification_defined = true,
    };
    enum vmxc_vmx_abort abort_indicator;

    const enum vmxc_status status = vmxsim_vm_exit(machine.cpu, &interrupt, NULL, &abort_indicator);
    ck_assert_msg(status == VMXC_OK && abort_indicator == VMXC_VMX_ABORT_NONE,
                  "state %" PRIu32 ": status %d, abort %d", index, (int)status,
                  (int)abort_indicator);
}

static bool is_guest_state(uint32_t encoding)
{
    return VMXC_FIELD_GET((uint64_t)encoding, VMXC_VMCS_ENCODING_TYPE) == VMXC_VMCS_TYPE_GUEST &&
           vmxsim_profile_has_field(machine.profile, encoding);
}

static unsigned compare(uint32_t index, const struct vmxsim_vmcs *expected)
{
    const struct vmxsim_vmcs *after = vmxsim_exit_vmcs(machine.cpu);
    unsigned differences = 0;

    for (size_t i = 0; i < VMXC_VMCS_FIELD_COUNT; i++) {
        if (!is_guest_state(vmxsim_vmcs_encoding(i)) || after->value[i] == expected->value[i])
            continue;
        differences++;
        fprintf(stderr, "state %" PRIu32 ": %s is 0x%" PRIx64 ", not 0x%" PRIx64 "\n", index,
                vmxsim_vmcs_name(i), after->value[i], expected->value[i]);
    }
    return differences;
}

static unsigned changes[NORMALISED];

static unsigned run_profile(size_t profile)
{
    unsigned differences = 0;

    insn_machine_init(&machine, profiles[profile], NULL);
    for (uint32_t index = 0; index < STATES; index++) {
        struct rng rng = rng_for_sequence(SEED + profile, index);
        const struct vmxsim_vmcs entered = random_vmcs(&rng);
        const struct vmxsim_vmcs expected = expected_after(&entered, changes);
        insn_machine_reset(&machine);
        insn_machine_launch(&machine, &entered);
        leave(index);
        differences += compare(index, &expected);
    }
    insn_machine_fini(&machine);
    return differences;
}

START_TEST(nothing_but_the_table_changes)
{
    const size_t count = sizeof(profiles) / sizeof(profiles[0]);
    unsigned differences = 0;

    for (size_t profile = 0; profile < count; profile++)
        differences += run_profile(profile);
    printf("%zu states entered and left, seed 0x%" PRIx64 ": %u differences beside the table\n",
           count * STATES, SEED, differences);
    for (size_t i = 0; i < NORMALISED; i++) {
        const char *name = vmxsim_vmcs_name(normalised[i].field);
        printf("  %s: changed %u times (%s)\n", name, changes[i], normalised[i].section);
        ck_assert_msg(changes[i] != 0, "row %zu (%s) is never of use", i, name);
    }
    ck_assert_uint_eq(differences, 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("exit_round_trip");
    TCase *tests = tcase_create("states");

    tcase_set_timeout(tests, 300);
    tcase_add_test(tests, nothing_but_the_table_changes);
    suite_add_tcase(suite, tests);

    return run_suite(suite);
}
