/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The frame of the VM-entry checks: starting and ending rules, reading what they look at, the shapes that many rules share.
 */
#include <string.h>

#include "internal/array.h"
#include "internal/entry.h"
#include "internal/vmcs_region.h"

/* ---- Rules ---- */

static void record_violation(struct entry_check *check)
{
    struct vmxsim_entry_report *report = check->report;
    struct vmxsim_entry_violation *violation = &check->violation;

    violation->rule = check->current;
    violation->field_count = check->field_count;
    memcpy(violation->field, check->field, sizeof(violation->field));
    report->violation[report->violation_count++] = *violation;
}

void end_rule(struct entry_check *check, enum vmxsim_entry_rule next)
{
    struct vmxsim_entry_report *report = check->report;

    if (check->missing) {
        report->undecided[report->undecided_count].rule = check->current;
        report->undecided[report->undecided_count++].ordinal = check->missing_ordinal;
    } else if (check->violated) {
        record_violation(check);
    }
    if (check->missing || check->violated)
        check->to_note[check->current / 64] |= VMXC_BIT(check->current % 64);
    check->missing = false;
    check->violated = false;
    check->field_count = 0;
    check->to_end = check->may_note;
    check->noting = check->may_note && (check->to_note[next / 64] >> (next % 64) & 1);
}

/* The field at fault comes first among those the rule looked at; it takes a place if there were too many. */
static void move_to_front(struct entry_check *check, uint16_t ordinal)
{
    unsigned place = 0;

    if (ordinal == NO_FIELD || check->field_count == 0)
        return;
    while (place < check->field_count - 1u && check->field[place] != ordinal)
        place++;
    check->field[place] = check->field[0];
    check->field[0] = ordinal;
}

/* Several faults of one field add up; a rule that one fault leaves without a remedy has none. */
static void add_change(struct entry_check *check, struct entry_fault fault)
{
    struct vmxsim_entry_violation *violation = &check->violation;
    struct vmxsim_entry_change *change = violation->change;
    unsigned place = 0;

    while (place < violation->change_count && change[place].ordinal != fault.ordinal)
        place++;
    if (place < violation->change_count) {
        change[place].value ^=
            fault.offending & ~(change[place].value ^ check->vmcs->value[fault.ordinal]);
    } else if (place < VMXSIM_ENTRY_MAX_CHANGES) {
        change[place] =
            (struct vmxsim_entry_change){.ordinal = fault.ordinal, .value = fault.value};
        violation->change_count++;
    }
    if (place == 0)
        violation->offending |= fault.offending;
}

void violated_with(struct entry_check *check, struct entry_fault fault, uint64_t qualification,
                   bool varies)
{
    const bool remediable =
        fault.ordinal != NO_FIELD && (!check->violated || check->violation.change_count != 0);

    check->to_end = true;
    if (!check->violated) {
        check->violated = true;
        move_to_front(check, fault.ordinal);
        check->violation.offending = 0;
        check->violation.qualification = qualification;
        check->violation.qualification_varies = varies;
        check->violation.change_count = 0;
    }
    if (remediable)
        add_change(check, fault);
    else
        check->violation.change_count = 0;
}

void violated(struct entry_check *check, struct entry_fault fault)
{
    violated_with(check, fault, 0, false);
}

static void note_missing(struct entry_check *check, uint16_t ordinal)
{
    if (check->missing)
        return;
    check->to_end = true;
    check->missing = true;
    check->missing_ordinal = ordinal;
}

void undecided(struct entry_check *check)
{
    note_missing(check, NO_FIELD);
}

bool holds(const struct entry_check *check)
{
    return !check->violated && !check->missing;
}

/* ---- What rules look at ---- */

void note_field(struct entry_check *check, uint16_t ordinal)
{
    const uint64_t *known = check->input->known;
    const uint16_t stamp = (uint16_t)(check->current + 1u);

    if (check->seen[ordinal] == stamp)
        return;
    check->seen[ordinal] = stamp;
    if (check->field_count < VMXSIM_ENTRY_MAX_FIELDS)
        check->field[check->field_count++] = ordinal;
    if (known && !(known[ordinal / 64] >> (ordinal % 64) & 1))
        note_missing(check, ordinal);
}

uint64_t other_msr(const struct entry_check *check, uint32_t msr)
{
    uint64_t result = 0;

    if (vmxsim_profile_msr(check->input->profile, msr, &result) != VMXC_OK)
        return 0;
    return result;
}

uint32_t cpuid(const struct entry_check *check, uint32_t leaf, uint32_t subleaf,
               enum cpuid_register reg)
{
    uint32_t registers[4];

    if (vmxsim_profile_cpuid(check->input->profile, leaf, subleaf, registers) != VMXC_OK)
        return 0;
    return registers[reg];
}

uint64_t memory64(struct entry_check *check, uint64_t hpa)
{
    if (!check->input->memory) {
        undecided(check);
        return 0;
    }
    return vmxsim_memory_read64(check->input->memory, hpa);
}

uint32_t memory32(struct entry_check *check, uint64_t hpa)
{
    if (!check->input->memory) {
        undecided(check);
        return 0;
    }
    return vmxsim_memory_read32(check->input->memory, hpa);
}

uint32_t region_header(struct entry_check *check, uint64_t hpa)
{
    if (!check->input->memory) {
        undecided(check);
        return 0;
    }
    return vmxsim_vmcs_region_header(check->input->memory, hpa);
}

/* ---- Faults ---- */

struct entry_fault change_to(struct entry_check *check, uint16_t ordinal, uint64_t nearest)
{
    return (struct entry_fault){
        .ordinal = ordinal,
        .offending = value(check, ordinal) ^ nearest,
        .value = nearest,
    };
}

struct entry_fault set_bits(struct entry_check *check, uint16_t ordinal, uint64_t bits)
{
    return change_to(check, ordinal, value(check, ordinal) | bits);
}

struct entry_fault clear_bits(struct entry_check *check, uint16_t ordinal, uint64_t bits)
{
    return change_to(check, ordinal, value(check, ordinal) & ~bits);
}

struct entry_fault replace_by(struct entry_check *check, uint16_t ordinal, uint64_t other)
{
    (void)value(check, ordinal); /* looked at, if not before */
    return (struct entry_fault){.ordinal = ordinal, .value = other};
}

struct entry_fault no_single_field(void)
{
    return (struct entry_fault){.ordinal = NO_FIELD};
}

void must_change(struct entry_check *check, uint16_t ordinal, uint64_t nearest)
{
    violated(check, change_to(check, ordinal, nearest));
}

/* ---- Rules of a common shape ---- */

void require_capable(struct entry_check *check, enum vmxsim_entry_rule id, uint16_t ordinal,
                     uint32_t msr, uint32_t true_msr)
{
    const bool has_true = capability(check, VMXC_MSR_VMX_BASIC) & VMXC_VMX_BASIC_TRUE_CONTROLS;
    const uint64_t settings = capability(check, has_true ? true_msr : msr);

    require_allowed(check, id, ordinal, settings & UINT32_MAX, settings >> 32);
}

void require_msr_list(struct entry_check *check, enum vmxsim_entry_rule address_rule,
                      enum vmxsim_entry_rule last_rule, uint16_t address, uint16_t count)
{
    const uint64_t alignment = 15, entry_size = 16;

    rule(check, address_rule);
    const uint64_t length = entry_size * value(check, count); /* the count has 32 bits: no wrap */
    if (length == 0)
        return;
    const uint64_t wrong = value(check, address) & (alignment | check->beyond_width);
    if (wrong)
        violated(check, clear_bits(check, address, wrong));
    if (!holds(check))
        return;

    rule(check, last_rule);
    const uint64_t last = value(check, address) + length - 1;
    const uint64_t room = ~check->beyond_width - value(check, address);
    (void)value(check, count);
    if (last & check->beyond_width)
        violated(check, change_to(check, count, (room + 1) / entry_size));
}

/* ---- The whole ---- */

struct vmxsim_entry_processor vmxsim_entry_processor_default(uint64_t current_vmcs)
{
    return (struct vmxsim_entry_processor){
        .cr0 = VMXC_CR0_PE | VMXC_CR0_ET | VMXC_CR0_NE | VMXC_CR0_PG,
        .cr4 = VMXC_CR4_PAE | VMXC_CR4_VMXE,
        .efer = VMXC_EFER_LME | VMXC_EFER_LMA,
        .rflags = VMXC_BIT(1),
        .in_vmx = true,
        .code_64bit = true,
        .has_current = true,
        .current_vmcs = current_vmcs,
    };
}

static uint64_t beyond_width(const struct entry_check *check)
{
    /* IA32_VMX_BASIC bit 48: addresses in the VMCS are limited to 32 bits. */
    const unsigned width =
        (capability(check, VMXC_MSR_VMX_BASIC) & VMXC_BIT(48)) ? 32 : check->features->maxphyaddr;

    return ~UINT64_C(0) << width;
}

/* The checks, section by section in the manual's order. */
static void (*const sections[])(struct entry_check *) = {
    vmxsim_entry_check_basic,          vmxsim_entry_check_execution_controls,
    vmxsim_entry_check_exit_controls,  vmxsim_entry_check_entry_controls,
    vmxsim_entry_check_host_registers, vmxsim_entry_check_host_segments,
    vmxsim_entry_check_host_size,      vmxsim_entry_check_guest_registers,
    vmxsim_entry_check_guest_segments, vmxsim_entry_check_guest_tables,
    vmxsim_entry_check_guest_rip,      vmxsim_entry_check_guest_non_register,
    vmxsim_entry_check_guest_pdptes,   vmxsim_entry_check_msr_load,
};

void start_check(struct entry_check *check, const struct vmxsim_entry_input *input,
                 struct vmxsim_entry_report *report)
{
    check->input = input;
    check->vmcs = input->vmcs;
    check->features = vmxsim_profile_features(input->profile);
    check->report = report;
    check->beyond_width = beyond_width(check);
    check->may_note = check->noting = check->to_end = false;
    memset(check->to_note, 0, sizeof(check->to_note));
    check->current = VMXSIM_ENTRY_RULE_COUNT;
    check->violated = check->missing = false;
    check->field_count = 0;
}

/* From the next rule on, the fields are noted that the rules in to_note look at. */
static void start_noting(struct entry_check *check)
{
    check->may_note = check->to_end = true;
    memset(check->seen, 0, sizeof(check->seen));
    memset(check->field, 0, sizeof(check->field));
    memset(&check->violation, 0, sizeof(check->violation));
}

static void go_through(struct entry_check *check, void (*section)(struct entry_check *))
{
    section(check);
    if (check->to_end)
        end_rule(check, VMXSIM_ENTRY_RULE_COUNT);
}

/*
 * Which fields a rule looked at matters only if there is something to say of the rule, or if fields may be unknown.
 * Most rules hold: nothing is noted at first, and a section that fails is gone through again, its failures noted.
 */
static void check_section(struct entry_check *check, void (*section)(struct entry_check *))
{
    struct vmxsim_entry_report *report = check->report;
    const unsigned violations = report->violation_count, undecided = report->undecided_count;

    go_through(check, section);
    if (check->input->known ||
        (report->violation_count == violations && report->undecided_count == undecided))
        return;
    report->violation_count = violations;
    report->undecided_count = undecided;
    start_noting(check);
    go_through(check, section);
    check->may_note = check->noting = check->to_end = false;
}

void vmxsim_entry_check(const struct vmxsim_entry_input *input, struct vmxsim_entry_report *report)
{
    struct entry_check check;

    start_check(&check, input, report);
    if (input->known) {
        memset(check.to_note, 0xff, sizeof(check.to_note));
        start_noting(&check);
    }
    report->violation_count = 0;
    report->undecided_count = 0;
    for (size_t i = 0; i < COUNT_OF(sections); i++)
        check_section(&check, sections[i]);
    entry_outcomes(input, report);
}
