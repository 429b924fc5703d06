/* SPDX-License-Identifier: Apache-2.0 */
#include "support/entry_edge.h"

#include <check.h>
#include <stdio.h>

#define PRIMARY_ON (UINT64_C(0x4006172) | VMXC_PRIMARY_ACTIVATE_SECONDARY_CONTROLS)

/* ---- Valid VMCSs ---- */

/* What all start from: 64-bit host, 64-bit guest at CPL 0. */
static const struct setting long64[] = {
    {F(PIN_BASED_CONTROLS), 0x16},
    {F(PRIMARY_PROCESSOR_BASED_CONTROLS), PRIMARY_ON},
    {F(PRIMARY_VM_EXIT_CONTROLS), EXIT_64},
    {F(VM_ENTRY_CONTROLS), ENTRY_LONG64},
    {F(HOST_CR0), 0x80000031},
    {F(HOST_CR3), 0x1000},
    {F(HOST_CR4), 0x2020},
    {F(HOST_CS_SELECTOR), 0x8},
    {F(HOST_SS_SELECTOR), 0x10},
    {F(HOST_TR_SELECTOR), 0x18},
    {F(HOST_RIP), 0x1000},
    {F(GUEST_CR0), 0x80000031},
    {F(GUEST_CR3), 0x1000},
    {F(GUEST_CR4), 0x2020},
    {F(GUEST_CS_SELECTOR), 0x8},
    {F(GUEST_SS_SELECTOR), 0x10},
    {F(GUEST_DS_SELECTOR), 0x10},
    {F(GUEST_ES_SELECTOR), 0x10},
    {F(GUEST_FS_SELECTOR), 0x10},
    {F(GUEST_GS_SELECTOR), 0x10},
    {F(GUEST_TR_SELECTOR), 0x18},
    {F(GUEST_CS_LIMIT), 0xffffffff},
    {F(GUEST_SS_LIMIT), 0xffffffff},
    {F(GUEST_DS_LIMIT), 0xffffffff},
    {F(GUEST_ES_LIMIT), 0xffffffff},
    {F(GUEST_FS_LIMIT), 0xffffffff},
    {F(GUEST_GS_LIMIT), 0xffffffff},
    {F(GUEST_TR_LIMIT), 0x67},
    {F(GUEST_CS_ACCESS_RIGHTS), 0xa09b},
    {F(GUEST_SS_ACCESS_RIGHTS), 0xc093},
    {F(GUEST_DS_ACCESS_RIGHTS), 0xc093},
    {F(GUEST_ES_ACCESS_RIGHTS), 0xc093},
    {F(GUEST_FS_ACCESS_RIGHTS), 0xc093},
    {F(GUEST_GS_ACCESS_RIGHTS), 0xc093},
    {F(GUEST_TR_ACCESS_RIGHTS), 0x8b},
    {F(GUEST_LDTR_ACCESS_RIGHTS), 0x10000},
    {F(GUEST_RIP), 0x1000},
    {F(GUEST_RFLAGS), 0x2},
    {F(VMCS_LINK_POINTER), UINT64_MAX},
    {0, 0},
};

/* 32-bit protected mode with PAE paging off (CR4.PAE = 0). */
static const struct setting protected32[] = {
    {F(VM_ENTRY_CONTROLS), ENTRY_FIXED},
    {F(GUEST_CR4), 0x2000},
    {F(GUEST_CS_ACCESS_RIGHTS), 0xc09b},
    {0, 0},
};

/* clang-format off */
#define V86_SEGMENT(name) \
    {F(GUEST_##name##_SELECTOR), 0x1234}, {F(GUEST_##name##_BASE), 0x12340}, \
    {F(GUEST_##name##_LIMIT), 0xffff}, {F(GUEST_##name##_ACCESS_RIGHTS), 0xf3}

static const struct setting v86[] = {
    V86_SEGMENT(CS), V86_SEGMENT(SS), V86_SEGMENT(DS), V86_SEGMENT(ES), V86_SEGMENT(FS), V86_SEGMENT(GS),
    {F(GUEST_RFLAGS), 0x20002}, {0, 0},
};

static const struct setting real[] = {UNRESTRICTED, {F(GUEST_CR0), 0x30}, {0, 0}};
/* clang-format on */

void apply(struct vmxsim_vmcs *vmcs, const struct setting *settings)
{
    for (; settings->ordinal != 0; settings++)
        vmcs->value[settings->ordinal] = settings->value;
}

struct vmxsim_vmcs valid_vmcs(enum base base)
{
    struct vmxsim_vmcs vmcs = {0};
    apply(&vmcs, long64);
    if (base != LONG64)
        apply(&vmcs, protected32);
    if (base == V86)
        apply(&vmcs, v86);
    if (base == REAL)
        apply(&vmcs, real);
    return vmcs;
}

struct vmxsim_entry_processor root_processor(void)
{
    return (struct vmxsim_entry_processor){
        .cr0 = 0x80000031,
        .cr4 = 0x2020,
        .efer = VMXC_EFER_LMA | VMXC_EFER_LME,
        .rflags = 2,
        .in_vmx = true,
        .code_64bit = true,
        .has_current = true,
        .current_vmcs = VMCS_HPA,
    };
}

/* ---- Judging a report ---- */

struct vmxsim_entry_report report;

bool is_violated(enum vmxsim_entry_rule rule)
{
    for (uint32_t i = 0; i < report.violation_count; i++) {
        if (report.violation[i].rule == rule)
            return true;
    }
    return false;
}

void print_report(const char *name)
{
    fprintf(stderr, "%s: broken:", name);
    for (uint32_t i = 0; i < report.violation_count; i++)
        fprintf(stderr, " %s", vmxsim_entry_rule_info(report.violation[i].rule)->id);
    for (uint32_t i = 0; i < report.undecided_count; i++)
        fprintf(stderr, " ?%s", vmxsim_entry_rule_info(report.undecided[i].rule)->id);
    fprintf(stderr, "\n");
}

void check_changes(const char *name, const struct vmxsim_entry_input *input)
{
    const struct vmxsim_entry_report before = report;

    for (uint32_t i = 0; i < before.violation_count; i++) {
        const struct vmxsim_entry_violation *violation = &before.violation[i];
        if (violation->change_count == 0)
            continue;
        const struct vmxsim_entry_change *change = violation->change;
        struct vmxsim_vmcs changed = *input->vmcs;
        struct vmxsim_entry_input again = *input;
        ck_assert_msg(violation->field[0] == change->ordinal, "%s: field at fault is not first",
                      name);
        ck_assert_msg(violation->offending == 0 ||
                          violation->offending == (changed.value[change->ordinal] ^ change->value),
                      "%s: offending bits", name);
        vmxsim_entry_apply(violation, &changed);
        again.vmcs = &changed;
        vmxsim_entry_check(&again, &report);
        ck_assert_msg(!is_violated(violation->rule), "%s: the change does not help %s", name,
                      vmxsim_entry_rule_info(violation->rule)->id);
    }
    report = before;
}
