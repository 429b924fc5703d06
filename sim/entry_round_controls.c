/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rounding the control fields. A control whose prerequisite is missing is switched off; a field that a control gives
 * meaning to is rounded whether or not the control is on, so that switching it on later breaks nothing.
 */
#include "internal/entry_round.h"

struct control_settings vmxsim_round_settings(const struct vmxsim_profile *profile,
                                              uint16_t ordinal)
{
    static const struct {
        uint16_t ordinal;
        uint32_t msr, true_msr;
    } words[] = {
        {VMXC_VMCS_ORDINAL_PIN_BASED_CONTROLS, VMXC_MSR_VMX_PINBASED_CTLS,
         VMXC_MSR_VMX_TRUE_PINBASED_CTLS},
        {VMXC_VMCS_ORDINAL_PRIMARY_PROCESSOR_BASED_CONTROLS, VMXC_MSR_VMX_PROCBASED_CTLS,
         VMXC_MSR_VMX_TRUE_PROCBASED_CTLS},
        {VMXC_VMCS_ORDINAL_SECONDARY_PROCESSOR_BASED_CONTROLS, VMXC_MSR_VMX_PROCBASED_CTLS2,
         VMXC_MSR_VMX_PROCBASED_CTLS2},
        {VMXC_VMCS_ORDINAL_PRIMARY_VM_EXIT_CONTROLS, VMXC_MSR_VMX_EXIT_CTLS,
         VMXC_MSR_VMX_TRUE_EXIT_CTLS},
        {VMXC_VMCS_ORDINAL_VM_ENTRY_CONTROLS, VMXC_MSR_VMX_ENTRY_CTLS,
         VMXC_MSR_VMX_TRUE_ENTRY_CTLS},
    };
    const bool has_true =
        vmxsim_round_msr(profile, VMXC_MSR_VMX_BASIC) & VMXC_VMX_BASIC_TRUE_CONTROLS;

    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (words[i].ordinal == ordinal) {
            const uint64_t msr =
                vmxsim_round_msr(profile, has_true ? words[i].true_msr : words[i].msr);
            return (struct control_settings){msr & UINT32_MAX, msr >> 32};
        }
    }
    if (ordinal == VMXC_VMCS_ORDINAL_TERTIARY_PROCESSOR_BASED_CONTROLS)
        return (struct control_settings){0,
                                         vmxsim_round_msr(profile, VMXC_MSR_VMX_PROCBASED_CTLS3)};
    if (ordinal == VMXC_VMCS_ORDINAL_SECONDARY_VM_EXIT_CONTROLS)
        return (struct control_settings){0, vmxsim_round_msr(profile, VMXC_MSR_VMX_EXIT_CTLS2)};
    return (struct control_settings){0, UINT64_MAX};
}

static void round_to_capabilities(struct entry_round *round)
{
    static const uint16_t words[] = {
        VMXC_VMCS_ORDINAL_PIN_BASED_CONTROLS,
        VMXC_VMCS_ORDINAL_PRIMARY_PROCESSOR_BASED_CONTROLS,
        VMXC_VMCS_ORDINAL_SECONDARY_PROCESSOR_BASED_CONTROLS,
        VMXC_VMCS_ORDINAL_TERTIARY_PROCESSOR_BASED_CONTROLS,
        VMXC_VMCS_ORDINAL_PRIMARY_VM_EXIT_CONTROLS,
        VMXC_VMCS_ORDINAL_SECONDARY_VM_EXIT_CONTROLS,
        VMXC_VMCS_ORDINAL_VM_ENTRY_CONTROLS,
    };

    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        const struct control_settings settings = vmxsim_round_settings(round->profile, words[i]);
        uint64_t *word = &round->vmcs->value[words[i]];
        *word = (*word | settings.must_be_1) & settings.may_be_1;
    }
    FIELD(round, VM_FUNCTION_CONTROLS) &= vmxsim_round_msr(round->profile, VMXC_MSR_VMX_VMFUNC);
}

/* Without one control, others are switched off. */
static void needs(uint64_t *word, uint64_t dependents, bool prerequisite)
{
    if (!prerequisite)
        *word &= ~dependents;
}

static void round_interrupts(struct entry_round *round)
{
    uint64_t *const pin = &FIELD(round, PIN_BASED_CONTROLS);
    uint64_t *const primary = &FIELD(round, PRIMARY_PROCESSOR_BASED_CONTROLS);
    uint64_t *const secondary = &FIELD(round, SECONDARY_PROCESSOR_BASED_CONTROLS);
    uint64_t *const tertiary = &FIELD(round, TERTIARY_PROCESSOR_BASED_CONTROLS);
    const bool shadow = *primary & VMXC_PRIMARY_USE_TPR_SHADOW;

    needs(pin, VMXC_PIN_VIRTUAL_NMIS, *pin & VMXC_PIN_NMI_EXITING);
    needs(primary, VMXC_PRIMARY_NMI_WINDOW_EXITING, *pin & VMXC_PIN_VIRTUAL_NMIS);
    needs(secondary,
          VMXC_SECONDARY_VIRTUALIZE_X2APIC_MODE | VMXC_SECONDARY_APIC_REGISTER_VIRTUALIZATION |
              VMXC_SECONDARY_VIRTUAL_INTERRUPT_DELIVERY,
          shadow);
    needs(tertiary, VMXC_TERTIARY_IPI_VIRTUALIZATION, shadow);
    needs(secondary, VMXC_SECONDARY_VIRTUALIZE_X2APIC_MODE,
          !(*secondary & VMXC_SECONDARY_VIRTUALIZE_APIC_ACCESSES));
    needs(secondary, VMXC_SECONDARY_VIRTUAL_INTERRUPT_DELIVERY,
          *pin & VMXC_PIN_EXTERNAL_INTERRUPT_EXITING);
    const bool delivery = (*primary & VMXC_PRIMARY_ACTIVATE_SECONDARY_CONTROLS) &&
                          (*secondary & VMXC_SECONDARY_VIRTUAL_INTERRUPT_DELIVERY);
    needs(tertiary, VMXC_TERTIARY_APIC_TIMER_VIRTUALIZATION, delivery);
    needs(pin, VMXC_PIN_PROCESS_POSTED_INTERRUPTS,
          delivery && (FIELD(round, PRIMARY_VM_EXIT_CONTROLS) & VMXC_EXIT_ACKNOWLEDGE_INTERRUPT));
}

static void round_memory_controls(struct entry_round *round)
{
    const uint64_t primary = FIELD(round, PRIMARY_PROCESSOR_BASED_CONTROLS);
    uint64_t *const secondary = &FIELD(round, SECONDARY_PROCESSOR_BASED_CONTROLS);
    const bool activated = primary & VMXC_PRIMARY_ACTIVATE_SECONDARY_CONTROLS;
    const bool ept = *secondary & VMXC_SECONDARY_ENABLE_EPT;
    const bool traces = (FIELD(round, VM_ENTRY_CONTROLS) & VMXC_ENTRY_LOAD_RTIT_CTL) &&
                        (FIELD(round, PRIMARY_VM_EXIT_CONTROLS) & VMXC_EXIT_CLEAR_RTIT_CTL);

    needs(secondary,
          VMXC_SECONDARY_ENABLE_PML | VMXC_SECONDARY_UNRESTRICTED_GUEST |
              VMXC_SECONDARY_MODE_BASED_EXECUTE_CONTROL | VMXC_SECONDARY_SUB_PAGE_WRITE_PERMISSIONS,
          ept);
    needs(secondary, VMXC_SECONDARY_PT_USES_GUEST_PHYSICAL, ept && traces);
    needs(&FIELD(round, TERTIARY_PROCESSOR_BASED_CONTROLS),
          VMXC_TERTIARY_EPT_PAGING_WRITE_CONTROL | VMXC_TERTIARY_GUEST_PAGING_VERIFICATION,
          activated && ept);
    needs(&FIELD(round, VM_FUNCTION_CONTROLS), VMXC_BIT(0), ept);
    round->ept = activated && ept;
    round->unrestricted = activated && (*secondary & VMXC_SECONDARY_UNRESTRICTED_GUEST);
}

static void round_transitions(struct entry_round *round)
{
    uint64_t *const entry = &FIELD(round, VM_ENTRY_CONTROLS);
    uint64_t *const exit = &FIELD(round, PRIMARY_VM_EXIT_CONTROLS);

    needs(exit, VMXC_EXIT_SAVE_PREEMPTION_TIMER,
          FIELD(round, PIN_BASED_CONTROLS) & VMXC_PIN_ACTIVATE_PREEMPTION_TIMER);
    needs(entry, VMXC_ENTRY_ENTRY_TO_SMM | VMXC_ENTRY_DEACTIVATE_DUAL_MONITOR,
          round->processor->in_smm);
    needs(entry, VMXC_ENTRY_DEACTIVATE_DUAL_MONITOR, !(*entry & VMXC_ENTRY_ENTRY_TO_SMM));
    needs(entry, VMXC_ENTRY_LOAD_RTIT_CTL,
          !(vmxsim_round_msr(round->profile, VMXC_MSR_RTIT_CTL) & VMXC_BIT(0)));

    /* The host's mode is the processor's. */
    round->host_64 = round->processor->efer & VMXC_EFER_LMA;
    *exit &= ~VMXC_EXIT_HOST_ADDRESS_SPACE_SIZE;
    if (round->host_64)
        *exit |= VMXC_EXIT_HOST_ADDRESS_SPACE_SIZE;
    needs(entry, VMXC_ENTRY_IA32E_MODE_GUEST, round->host_64);
    round->ia32e = *entry & VMXC_ENTRY_IA32E_MODE_GUEST;
}

static void round_addresses(struct entry_round *round)
{
#define PAGE(name) VMXC_VMCS_ORDINAL_##name
    static const uint16_t pages[] = {
        PAGE(IO_BITMAP_A_ADDRESS),
        PAGE(IO_BITMAP_B_ADDRESS),
        PAGE(MSR_BITMAP_ADDRESS),
        PAGE(VIRTUAL_APIC_ADDRESS),
        PAGE(APIC_ACCESS_ADDRESS),
        PAGE(PML_ADDRESS),
        PAGE(EPTP_LIST_ADDRESS),
        PAGE(SUB_PAGE_PERMISSION_TABLE_POINTER),
        PAGE(VMREAD_BITMAP_ADDRESS),
        PAGE(VMWRITE_BITMAP_ADDRESS),
        PAGE(LOW_PASID_DIRECTORY_ADDRESS),
        PAGE(HIGH_PASID_DIRECTORY_ADDRESS),
        PAGE(VIRTUALIZATION_EXCEPTION_INFO_ADDRESS),
    };
#undef PAGE

    for (size_t i = 0; i < sizeof(pages) / sizeof(pages[0]); i++)
        round->vmcs->value[pages[i]] &= round->within_width & ~VMXC_BITS(11, 0);
    FIELD(round, POSTED_INTERRUPT_DESCRIPTOR_ADDRESS) &= round->within_width & ~VMXC_BITS(5, 0);
    FIELD(round, HLAT_POINTER) &= round->within_width & ~(VMXC_BITS(11, 5) | VMXC_BITS(2, 0));
}

/* A table of `length` bytes: aligned, and moved down if it would end beyond the width. */
static void round_table(const struct entry_round *round, uint64_t *address, uint64_t alignment,
                        uint64_t length)
{
    const uint64_t highest = (round->within_width + 1 - length) & ~(alignment - 1);

    *address &= round->within_width & ~(alignment - 1);
    if (*address > highest)
        *address = highest;
}

static void round_tables(struct entry_round *round)
{
    const uint64_t most = 512, entry = 16;

    FIELD(round, VM_EXIT_MSR_STORE_COUNT) %= most + 1;
    FIELD(round, VM_EXIT_MSR_LOAD_COUNT) %= most + 1;
    FIELD(round, VM_ENTRY_MSR_LOAD_COUNT) = 0;
    round_table(round, &FIELD(round, VM_EXIT_MSR_STORE_ADDRESS), entry,
                entry * FIELD(round, VM_EXIT_MSR_STORE_COUNT));
    round_table(round, &FIELD(round, VM_EXIT_MSR_LOAD_ADDRESS), entry,
                entry * FIELD(round, VM_EXIT_MSR_LOAD_COUNT));
    round_table(round, &FIELD(round, PID_POINTER_TABLE_ADDRESS), 8,
                8 * (FIELD(round, LAST_PID_POINTER_INDEX) + 1));
}

static void round_eptp(struct entry_round *round)
{
    const struct vmxsim_features *features = round->features;
    uint64_t eptp = FIELD(round, EPT_POINTER);
    uint64_t low = eptp & (VMXC_BIT(6) | VMXC_BIT(7));
    const bool five = features->ept_walk_5 && ((eptp & VMXC_BIT(3)) == 0 || !features->ept_walk_4);
    const bool uncacheable = features->ept_memory_type_uc &&
                             ((eptp & VMXC_BIT(1)) == 0 || !features->ept_memory_type_wb);

    if (!features->ept_accessed_dirty)
        low &= ~VMXC_BIT(6);
    if (!features->ept_shadow_stack)
        low &= ~VMXC_BIT(7);
    low |= (five ? UINT64_C(4) : UINT64_C(3)) << 3 | (uncacheable ? 0 : 6);
    FIELD(round, EPT_POINTER) = (eptp & round->within_width & ~VMXC_BITS(11, 0)) | low;
}

static void at_most(uint64_t *number, uint64_t most)
{
    if (*number > most)
        *number = most;
}

static void round_numbers(struct entry_round *round)
{
    const uint64_t misc = vmxsim_round_msr(round->profile, VMXC_MSR_VMX_MISC);
    const uint64_t ept_cap = vmxsim_round_msr(round->profile, VMXC_MSR_VMX_EPT_VPID_CAP);
    uint64_t *const timer = &FIELD(round, VIRTUAL_TIMER_VECTOR);

    at_most(&FIELD(round, CR3_TARGET_COUNT), VMXC_FIELD_GET(misc, VMXC_VMX_MISC_CR3_TARGETS));
    at_most(&FIELD(round, HLAT_PREFIX_SIZE),
            VMXC_FIELD_GET(ept_cap, VMXC_EPT_VPID_CAP_HLAT_PREFIX_MAX));
    FIELD(round, POSTED_INTERRUPT_NOTIFICATION_VECTOR) &= 0xff;
    FIELD(round, TPR_THRESHOLD) = 0;
    if (FIELD(round, VPID) == 0)
        FIELD(round, VPID) = 1;
    if (FIELD(round, TSC_MULTIPLIER) == 0)
        FIELD(round, TSC_MULTIPLIER) = 1;
    *timer &= 0xff;
    if (*timer < 16)
        *timer += 16;
}

void vmxsim_round_controls(struct entry_round *round)
{
    round_to_capabilities(round);
    round_transitions(round);
    round_interrupts(round);
    round_memory_controls(round);
    round_addresses(round);
    round_tables(round);
    round_eptp(round);
    round_numbers(round);
}
