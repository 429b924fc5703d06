/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Source: Intel SDM volume 3, "Loading MSRs" (VM entries), "VM-Entry Controls for MSRs".
 *
 * The list lies in memory, so no VMCS field can mend an entry: the change that satisfies a rule is a count that ends the
 * list before the entry. The exit qualification is the number of the entry, counted from 1; each rule reports the
 * first entry that breaks it. An entry whose MSR a VM entry never loads is not asked what WRMSR would say.
 */
#include "internal/entry.h"

#define COUNT   F(VM_ENTRY_MSR_LOAD_COUNT)
#define ADDRESS F(VM_ENTRY_MSR_LOAD_ADDRESS)

enum { ENTRY_SIZE = 16, ALIGNMENT = 15 };

/* One entry of the list. */
struct msr_entry {
    uint32_t msr, reserved;
    uint64_t value;
};

typedef bool breaks_rule(struct entry_check *check, const struct msr_entry *entry);

/* More entries than this have no defined effect; the model does not look at them. */
static uint64_t recommended_count(const struct entry_check *check)
{
    return 512 *
           (VMXC_FIELD_GET(capability(check, VMXC_MSR_VMX_MISC), VMXC_VMX_MISC_MSR_LIST_MAX) + 1);
}

/* Entries to look at: none if the list is not where a list can be, which is a rule on the VM-entry controls. */
static uint64_t readable_count(struct entry_check *check)
{
    const uint64_t count = value(check, COUNT);

    if (count == 0 || !holds(check))
        return 0;
    const uint64_t first = value(check, ADDRESS), last = first + count * ENTRY_SIZE - 1;
    if (!holds(check) || (first & (ALIGNMENT | check->beyond_width)) ||
        (last & check->beyond_width) || last < first)
        return 0;
    const uint64_t limit = recommended_count(check);
    return count < limit ? count : limit;
}

static struct msr_entry read_entry(struct entry_check *check, uint64_t index)
{
    const uint64_t entry_hpa = value(check, ADDRESS) + index * ENTRY_SIZE;
    const uint64_t head = memory64(check, entry_hpa);

    return (struct msr_entry){
        .msr = (uint32_t)head,
        .reserved = (uint32_t)(head >> 32),
        .value = memory64(check, entry_hpa + 8),
    };
}

static void check_entries(struct entry_check *check, enum vmxsim_entry_rule id, breaks_rule *breaks)
{
    rule(check, id);
    const uint64_t count = readable_count(check);

    for (uint64_t index = 0; index < count && holds(check); index++) {
        const struct msr_entry entry = read_entry(check, index);
        if (holds(check) && breaks(check, &entry))
            violated_with(check, replace_by(check, COUNT, index), index + 1, false);
    }
}

/* ---- The rules ---- */

static bool reserved_is_not_zero(struct entry_check *check, const struct msr_entry *entry)
{
    (void)check;
    return entry->reserved != 0;
}

static bool is_fs_or_gs_base(struct entry_check *check, const struct msr_entry *entry)
{
    (void)check;
    return entry->msr == VMXC_MSR_FS_BASE || entry->msr == VMXC_MSR_GS_BASE;
}

static bool is_x2apic(struct entry_check *check, const struct msr_entry *entry)
{
    (void)check;
    return entry->msr >= VMXC_MSR_X2APIC_FIRST && entry->msr <= VMXC_MSR_X2APIC_LAST;
}

static bool is_written_in_smm_only(struct entry_check *check, const struct msr_entry *entry)
{
    return !check->input->processor->in_smm &&
           (entry->msr == VMXC_MSR_SMM_MONITOR_CTL || entry->msr == VMXC_MSR_SMRR_PHYSBASE ||
            entry->msr == VMXC_MSR_SMRR_PHYSMASK);
}

/* Loading microcode takes WRMSR. */
static bool is_never_loaded(struct entry_check *check, const struct msr_entry *entry)
{
    (void)check;
    return entry->msr == VMXC_MSR_BIOS_UPDT_TRIG || entry->msr == VMXC_MSR_BIOS_SIGN_ID;
}

static bool faults(struct entry_check *check, const struct msr_entry *entry)
{
    return !is_fs_or_gs_base(check, entry) && !is_x2apic(check, entry) &&
           !is_written_in_smm_only(check, entry) && !is_never_loaded(check, entry) &&
           !wrmsr_succeeds(check, entry->msr, entry->value);
}

void check_msr_load(struct entry_check *check)
{
    check_entries(check, VMXSIM_ENTRY_MSRLD_HI, reserved_is_not_zero);
    check_entries(check, VMXSIM_ENTRY_MSRLD_FSGS, is_fs_or_gs_base);
    check_entries(check, VMXSIM_ENTRY_MSRLD_X2APIC, is_x2apic);
    check_entries(check, VMXSIM_ENTRY_MSRLD_SMM, is_written_in_smm_only);
    check_entries(check, VMXSIM_ENTRY_MSRLD_MODEL, is_never_loaded);
    check_entries(check, VMXSIM_ENTRY_MSRLD_GP, faults);

    rule(check, VMXSIM_ENTRY_MSRLD_COUNT);
    const uint64_t limit = recommended_count(check);
    if (value(check, COUNT) > limit)
        violated_with(check, replace_by(check, COUNT, limit), limit + 1, true);
}
