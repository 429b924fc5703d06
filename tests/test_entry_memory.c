/* SPDX-License-Identifier: Apache-2.0 */
/*
 * VM-entry checks that look at memory (link pointer, PDPTEs, MSR-load list) at the edges of each rule, and what becomes of
 * rules whose fields or memory are not known.
 */
#include <check.h>
#include <stdio.h>
#include <string.h>

#include "support/entry_edge.h"
#include "support/suite.h"

#define LIST_HPA UINT64_C(0x5000)

struct machine {
    struct vmxsim_memory *memory;
    struct vmxsim_vmcs vmcs;
    struct vmxsim_entry_processor processor;
    struct vmxsim_entry_input input;
};

static void machine_init(struct machine *machine, enum base base, const char *profile)
{
    static const struct vmxsim_range ram = {.base = 0, .length = 0x100000};
    const struct vmxsim_memory_config config = {.ram = &ram, .ram_count = 1};
    struct vmxsim_error error;

    ck_assert_int_eq(vmxsim_memory_create(&config, &machine->memory, &error), VMXC_OK);
    machine->vmcs = valid_vmcs(base);
    machine->processor = root_processor();
    machine->input = (struct vmxsim_entry_input){
        .vmcs = &machine->vmcs,
        .profile = vmxsim_profile_builtin(profile),
        .processor = &machine->processor,
        .memory = machine->memory,
    };
}

static void machine_fini(struct machine *machine)
{
    vmxsim_memory_destroy(machine->memory);
}

/* Exactly this rule is broken, with this qualification; VMXSIM_ENTRY_RULE_COUNT: none is. */
static void expect_only(const char *name, struct machine *machine, enum vmxsim_entry_rule rule,
                        uint64_t qualification)
{
    const uint32_t count = rule == VMXSIM_ENTRY_RULE_COUNT ? 0 : 1;

    vmxsim_entry_check(&machine->input, &report);
    if (report.violation_count != count || report.undecided_count != 0)
        print_report(name);
    ck_assert_msg(report.undecided_count == 0 && report.violation_count == count, "%s", name);
    if (count == 0)
        return;
    ck_assert_msg(report.violation[0].rule == rule, "%s", name);
    ck_assert_msg(report.violation[0].qualification == qualification, "%s: qualification", name);
    check_changes(name, &machine->input);
}

#define LINK_HPA      UINT64_C(0x8000)
#define REVISION      UINT32_C(1) /* of the profile "everything" */
#define EXECUTIVE_HPA UINT64_C(0x9000)

START_TEST(link_pointer)
{
    struct machine machine;
    machine_init(&machine, LONG64, "everything");
    uint64_t *const link = &machine.vmcs.value[F(VMCS_LINK_POINTER)];
    vmxsim_memory_write32(machine.memory, LINK_HPA, REVISION);
    vmxsim_memory_write32(machine.memory, VMCS_HPA, REVISION);
    vmxsim_memory_write32(machine.memory, EXECUTIVE_HPA, REVISION);

    *link = LINK_HPA;
    expect_only("right", &machine, VMXSIM_ENTRY_RULE_COUNT, 0);
    *link = LINK_HPA + 0x800;
    expect_only("misaligned: the region is not read", &machine, R(LINK_ALIGN), 4);
    *link = LINK_HPA | VMXC_BIT(52);
    expect_only("too wide: the region is not read", &machine, R(LINK_WIDTH), 4);
    *link = VMXC_BIT(51);
    vmxsim_entry_check(&machine.input, &report); /* outside RAM: all ones */
    ck_assert(is_violated(R(LINK_REV)) && is_violated(R(LINK_SHADOW)));
    *link = VMCS_HPA;
    expect_only("current VMCS", &machine, R(LINK_CURRENT), 4);
    machine.processor.in_smm = true;
    machine.vmcs.value[F(EXECUTIVE_VMCS_POINTER)] = EXECUTIVE_HPA;
    expect_only("current VMCS, in SMM", &machine, VMXSIM_ENTRY_RULE_COUNT, 0);
    *link = EXECUTIVE_HPA;
    expect_only("executive VMCS, in SMM", &machine, R(LINK_CURRENT), 4);
    machine.processor.in_smm = false;
    expect_only("executive VMCS, outside SMM", &machine, VMXSIM_ENTRY_RULE_COUNT, 0);
    machine_fini(&machine);
}
END_TEST

START_TEST(link_region)
{
    struct machine machine;
    machine_init(&machine, LONG64, "everything");
    uint64_t *const secondary = &machine.vmcs.value[F(SECONDARY_PROCESSOR_BASED_CONTROLS)];
    machine.vmcs.value[F(VMCS_LINK_POINTER)] = LINK_HPA;

    vmxsim_memory_write32(machine.memory, LINK_HPA, REVISION + 1);
    expect_only("revision", &machine, R(LINK_REV), 4);
    vmxsim_memory_write32(machine.memory, LINK_HPA, REVISION | UINT32_C(0x80000000));
    expect_only("a shadow VMCS without shadowing", &machine, R(LINK_SHADOW), 4);
    *secondary = VMXC_SECONDARY_VMCS_SHADOWING;
    expect_only("a shadow VMCS with shadowing", &machine, VMXSIM_ENTRY_RULE_COUNT, 0);
    vmxsim_memory_write32(machine.memory, LINK_HPA, REVISION);
    expect_only("an ordinary VMCS with shadowing", &machine, R(LINK_SHADOW), 4);
    machine.input.memory = NULL;
    vmxsim_entry_check(&machine.input, &report);
    ck_assert_uint_eq(report.violation_count, 0);
    ck_assert_uint_eq(report.undecided_count, 2);
    ck_assert_uint_eq(report.undecided[0].ordinal, VMXC_VMCS_FIELD_COUNT);
    machine_fini(&machine);
}
END_TEST

static const struct {
    const char *name;
    uint64_t pdpte;
    bool wrong;
} pdpte_cases[] = {
    {"not present, all else set", ~UINT64_C(1), false},
    {"present, cache bits, software bits, highest address", UINT64_C(0xfffffffe19), false},
    {"bit 1", 0x3, true},
    {"bit 2", 0x5, true},
    {"bit 5", 0x21, true},
    {"bit 8", 0x101, true},
    {"bit 40 of 40", VMXC_BIT(40) | 1, true},
    {"bit 63", VMXC_BIT(63) | 1, true},
};

START_TEST(pdptes_in_memory)
{
    const uint64_t table_hpa = 0x4020; /* 32-byte aligned */
    struct machine machine;
    machine_init(&machine, PROTECTED, "icelake");
    machine.vmcs.value[F(GUEST_CR4)] = 0x2020;
    machine.vmcs.value[F(GUEST_CR3)] = table_hpa | 0x18; /* cache bits */
    for (size_t i = 0; i < COUNT(pdpte_cases); i++) {
        vmxsim_memory_write64(machine.memory, table_hpa + 24, pdpte_cases[i].pdpte);
        expect_only(pdpte_cases[i].name, &machine,
                    pdpte_cases[i].wrong ? R(PDPTE_CR3) : VMXSIM_ENTRY_RULE_COUNT, 2);
    }
    machine.input.memory = NULL;
    vmxsim_entry_check(&machine.input, &report);
    ck_assert_uint_eq(report.undecided_count, 1);
    ck_assert_int_eq(report.undecided[0].rule, R(PDPTE_CR3));
    machine.vmcs.value[F(GUEST_CR0)] = 0x31; /* no paging, no PDPTEs */
    apply(&machine.vmcs, (const struct setting[]){UNRESTRICTED, {0, 0}});
    expect_only("no paging", &machine, VMXSIM_ENTRY_RULE_COUNT, 0);
    machine_fini(&machine);
}
END_TEST

START_TEST(pdptes_in_the_vmcs)
{
    struct machine machine;
    machine_init(&machine, PROTECTED, "icelake");
    machine.vmcs.value[F(GUEST_CR4)] = 0x2020;
    machine.vmcs.value[F(SECONDARY_PROCESSOR_BASED_CONTROLS)] = VMXC_SECONDARY_ENABLE_EPT;
    machine.vmcs.value[F(EPT_POINTER)] = 0x100001e;
    for (size_t i = 0; i < COUNT(pdpte_cases); i++) {
        machine.vmcs.value[F(GUEST_PDPTE3)] = pdpte_cases[i].pdpte;
        expect_only(pdpte_cases[i].name, &machine,
                    pdpte_cases[i].wrong ? R(PDPTE_FIELD) : VMXSIM_ENTRY_RULE_COUNT, 2);
    }
    machine.vmcs.value[F(GUEST_CR4)] = 0x2000;
    expect_only("no PAE paging", &machine, VMXSIM_ENTRY_RULE_COUNT, 0);
    machine_fini(&machine);
}
END_TEST

/* ---- The MSR-load list ---- */

static void set_entry(struct machine *machine, unsigned number, uint64_t head, uint64_t value)
{
    vmxsim_memory_write64(machine->memory, LIST_HPA + 16 * (number - 1), head);
    vmxsim_memory_write64(machine->memory, LIST_HPA + 16 * (number - 1) + 8, value);
}

/* A list of `count` harmless entries. */
static void list_init(struct machine *machine, enum base base, const char *profile, unsigned count)
{
    machine_init(machine, base, profile);
    machine->vmcs.value[F(VM_ENTRY_MSR_LOAD_ADDRESS)] = LIST_HPA;
    machine->vmcs.value[F(VM_ENTRY_MSR_LOAD_COUNT)] = count;
    for (unsigned number = 1; number <= count; number++)
        set_entry(machine, number, VMXC_MSR_TSC_AUX, number);
}

struct msr_case {
    uint64_t head, value;
    enum vmxsim_entry_rule rule; /* VMXSIM_ENTRY_RULE_COUNT: fine */
    const char *profile;         /* NULL: "everything" */
};

#define FINE VMXSIM_ENTRY_RULE_COUNT

/* clang-format off */
static const struct msr_case msr_cases[] = {
    {UINT64_C(0x1c0000103), 0, R(MSRLD_HI), NULL},
    {UINT64_C(0xc0000100), 0, R(MSRLD_FSGS), NULL},
    {UINT64_C(0xc0000101), VMXC_BIT(56), R(MSRLD_FSGS), NULL},
    {UINT64_C(0xc0000102), 0, FINE, NULL},
    {UINT64_C(0xc0000102), VMXC_BIT(56), R(MSRLD_GP), NULL},
    {0x800, 0, R(MSRLD_X2APIC), NULL},
    {0x8ff, 0, R(MSRLD_X2APIC), NULL},
    {0x7ff, 0, R(MSRLD_GP), NULL},
    {0x900, 0, R(MSRLD_GP), NULL},
    {0x9b, 0, R(MSRLD_SMM), NULL},
    {0x1f2, 0, R(MSRLD_SMM), NULL},
    {0x79, 0, R(MSRLD_MODEL), NULL},
    {0x8b, 0, R(MSRLD_MODEL), NULL},
    {0xdeadbeef, 0, R(MSRLD_GP), NULL},
    {0x10, UINT64_MAX, FINE, NULL},
    {0x1b, 0xfee00900, FINE, "icelake"},
    {0x1b, 0xfee00d00, FINE, "icelake"},
    {0x1b, 0xfee00901, R(MSRLD_GP), "icelake"},
    {0x1b, VMXC_BIT(40), R(MSRLD_GP), "icelake"},
    {0x3a, 5, R(MSRLD_GP), NULL}, /* locked */
    {0x48, 1, FINE, NULL},
    {0x48, 0, R(MSRLD_GP), "skylake"}, /* not there */
    {0x48, VMXC_BIT(9), R(MSRLD_GP), NULL},
    {0x49, 1, FINE, NULL},
    {0x49, 2, R(MSRLD_GP), NULL},
    {0x9e, 0, R(MSRLD_GP), NULL},
    {0xc8, 0, FINE, "icelake"},
    {0xc5, 0, R(MSRLD_GP), "skylake"},
    {0x10a, 0, R(MSRLD_GP), "icelake"},
    {0x174, 8, FINE, NULL},
    {0x175, UINT64_C(0xff00000000000000), FINE, NULL},
    {0x176, VMXC_BIT(47), R(MSRLD_GP), "icelake"},
    {0x176, VMXC_BIT(47), FINE, NULL},
    {0x1cd, 0x40, FINE, NULL},
    {0x1cd, 0x20, R(MSRLD_GP), NULL},
    {0x1cd, 0x40, R(MSRLD_GP), "icelake"},
    {0x1d3, 4, R(MSRLD_GP), NULL},
    {0x1d4, VMXC_BIT(11), R(MSRLD_GP), NULL},
    {0x1d9, 1, FINE, NULL},
    {0x1d9, VMXC_BIT(16), R(MSRLD_GP), NULL},
    {0x200, 6, FINE, NULL},
    {0x200, 2, R(MSRLD_GP), NULL},
    {0x200, 3, R(MSRLD_GP), NULL},
    {0x200, 7, R(MSRLD_GP), NULL},
    {0x200, VMXC_BIT(40), R(MSRLD_GP), "icelake"},
    {0x201, 0x800, FINE, NULL},
    {0x201, 0x400, R(MSRLD_GP), NULL},
    {0x250, UINT64_C(0x0606050404010000), FINE, NULL},
    {0x26f, UINT64_C(0x0700000000000000), R(MSRLD_GP), NULL},
    {0x277, UINT64_C(0x7040600070406), FINE, NULL},
    {0x277, 2, R(MSRLD_GP), NULL},
    {0x2ff, 0xc06, FINE, NULL},
    {0x2ff, 0xc02, R(MSRLD_GP), NULL},
    {0x2ff, 0xc07, R(MSRLD_GP), NULL},
    {0x2ff, 0x100, R(MSRLD_GP), NULL},
    {0x38f, 0xff, FINE, "icelake"},
    {0x38f, 0x100, R(MSRLD_GP), "icelake"},
    {0x480, 0, R(MSRLD_GP), NULL},
    {0x493, 0, R(MSRLD_GP), NULL},
    {0x570, 0x2c0c, FINE, NULL},
    {0x570, 0, R(MSRLD_GP), "icelake"},
    {0x6a0, 0x3, FINE, "tigerlake"},
    {0x6a2, 0xc00, R(MSRLD_GP), "tigerlake"},
    {0x6a2, 0x400, FINE, "tigerlake"},
    {0x6a2, 0x800, FINE, "tigerlake"},
    {0x6a2, 0, FINE, "tigerlake"},
    {0x6a2, VMXC_BIT(47), R(MSRLD_GP), "tigerlake"},
    {0x6a2, 0, R(MSRLD_GP), "icelake"},
    {0x6a4, 4, FINE, "tigerlake"},
    {0x6a4, 2, R(MSRLD_GP), "tigerlake"},
    {0x6e1, VMXC_BIT(32), R(MSRLD_GP), NULL},
    {0xd90, 4, R(MSRLD_GP), NULL},
    {0xda0, 0xdd00, FINE, NULL},
    {0xda0, 1, R(MSRLD_GP), NULL},
    {0xda0, VMXC_BIT(38), R(MSRLD_GP), NULL},
    {0xda0, VMXC_BIT(63), R(MSRLD_GP), NULL},
    {0xda0, 0, FINE, "icelake"},
    {0x14ce, 1, FINE, NULL},
    {0x14ce, 0, R(MSRLD_GP), "icelake"},
    {UINT64_C(0xc0000081), UINT64_MAX, FINE, NULL},
    {UINT64_C(0xc0000082), VMXC_BIT(62), R(MSRLD_GP), NULL},
    {UINT64_C(0xc0000084), VMXC_BIT(32), R(MSRLD_GP), NULL},
    {UINT64_C(0xc0000080), 0xd01, FINE, NULL},
    {UINT64_C(0xc0000080), 0x100, FINE, NULL}, /* LMA is not written */
    {UINT64_C(0xc0000080), 0, R(MSRLD_GP), NULL},
    {UINT64_C(0xc0000080), 0x502, R(MSRLD_GP), NULL},
};
/* clang-format on */

START_TEST(each_msr_that_a_list_may_name)
{
    const struct msr_case *test = &msr_cases[_i];
    struct machine machine;
    char name[64];

    list_init(&machine, LONG64, test->profile ? test->profile : "everything", 3);
    snprintf(name, sizeof name, "MSR %llxH, value %llxH", (unsigned long long)test->head,
             (unsigned long long)test->value);
    set_entry(&machine, 2, test->head, test->value);
    expect_only(name, &machine, test->rule, 2);
    if (test->rule != FINE) {
        ck_assert_int_eq(report.outcome[0].kind, VMXSIM_ENTRY_FAILURE);
        ck_assert_uint_eq(report.outcome[0].number, 34);
        ck_assert_uint_eq(report.outcome[0].qualification, 2);
        ck_assert_uint_eq(report.violation[0].change[0].value, 1); /* the list ends before it */
    }
    machine_fini(&machine);
}
END_TEST

START_TEST(efer_in_the_list_follows_the_mode_that_the_entry_establishes)
{
    struct machine machine;
    list_init(&machine, PROTECTED, "everything", 1);

    set_entry(&machine, 1, VMXC_MSR_EFER, 0x100);
    expect_only("LME with 32-bit paging", &machine, R(MSRLD_GP), 1);
    set_entry(&machine, 1, VMXC_MSR_EFER, 0x801);
    expect_only("no LME with 32-bit paging", &machine, FINE, 0);
    machine.vmcs.value[F(GUEST_CR0)] = 0x31;
    apply(&machine.vmcs, (const struct setting[]){UNRESTRICTED, {0, 0}});
    set_entry(&machine, 1, VMXC_MSR_EFER, 0x100);
    expect_only("LME without paging", &machine, FINE, 0);
    machine_fini(&machine);
}
END_TEST

START_TEST(smm_may_load_its_own_msrs)
{
    struct machine machine;
    list_init(&machine, LONG64, "everything", 1);
    machine.processor.in_smm = true;
    set_entry(&machine, 1, VMXC_MSR_SMM_MONITOR_CTL, 0);
    expect_only("SMM_MONITOR_CTL in SMM: listed by the profile", &machine, FINE, 0);
    machine_fini(&machine);
}
END_TEST

START_TEST(an_unlocked_feature_control_can_be_written)
{
    static const char text[] =
        "{\"maxphyaddr\": 40, \"linear_width\": 48, \"msr\": {\"0x3a\": \"0x0\"}, "
        "\"cpuid\": {}, \"vmcs_fields\": []}";
    struct vmxsim_profile *profile;
    struct vmxsim_error error;
    struct machine machine;
    list_init(&machine, LONG64, "everything", 2);
    ck_assert_int_eq(vmxsim_profile_from_json(text, strlen(text), "unlocked", &profile, &error),
                     VMXC_OK);
    machine.input.profile = profile;

    set_entry(&machine, 1, VMXC_MSR_FEATURE_CONTROL, 5);
    set_entry(&machine, 2, VMXC_MSR_FEATURE_CONTROL, VMXC_BIT(3));
    vmxsim_entry_check(&machine.input, &report);
    ck_assert(is_violated(R(MSRLD_GP)));
    for (uint32_t i = 0; i < report.violation_count; i++) {
        if (report.violation[i].rule == R(MSRLD_GP))
            ck_assert_uint_eq(report.violation[i].qualification, 2);
    }
    /* Every bit that there is: lock, VMX, SENTER, SGX, LMCE. */
    set_entry(&machine, 2, VMXC_MSR_FEATURE_CONTROL, 0x16ff07);
    vmxsim_entry_check(&machine.input, &report);
    ck_assert(!is_violated(R(MSRLD_GP)));
    vmxsim_profile_destroy(profile);
    machine_fini(&machine);
}
END_TEST

START_TEST(each_rule_reports_the_first_entry_that_breaks_it)
{
    struct machine machine;
    list_init(&machine, LONG64, "everything", 6);
    set_entry(&machine, 2, VMXC_MSR_SYSENTER_EIP, VMXC_BIT(56));
    set_entry(&machine, 3, VMXC_MSR_FS_BASE, 0);
    set_entry(&machine, 4, VMXC_MSR_SYSENTER_EIP, VMXC_BIT(56));
    set_entry(&machine, 5, VMXC_MSR_FS_BASE, 0);
    vmxsim_entry_check(&machine.input, &report);
    ck_assert_uint_eq(report.violation_count, 2);
    ck_assert_int_eq(report.violation[0].rule, R(MSRLD_FSGS));
    ck_assert_uint_eq(report.violation[0].qualification, 3);
    ck_assert_int_eq(report.violation[1].rule, R(MSRLD_GP));
    ck_assert_uint_eq(report.violation[1].qualification, 2);
    ck_assert_uint_eq(report.outcome[0].qualification, 2); /* the list is processed in order */
    set_entry(&machine, 6, UINT64_C(0x100000174), 0);      /* a third rule, checked first */
    vmxsim_entry_check(&machine.input, &report);
    ck_assert_uint_eq(report.violation_count, 3);
    ck_assert_int_eq(report.violation[0].rule, R(MSRLD_HI));
    ck_assert_uint_eq(report.violation[0].qualification, 6);
    ck_assert_uint_eq(report.outcome[0].qualification, 2);
    machine_fini(&machine);
}
END_TEST

START_TEST(a_list_that_is_not_where_a_list_can_be_is_not_read)
{
    struct machine machine;
    list_init(&machine, LONG64, "everything", 1);
    uint64_t *const address = &machine.vmcs.value[F(VM_ENTRY_MSR_LOAD_ADDRESS)];
    set_entry(&machine, 1, VMXC_MSR_FS_BASE, 0);

    *address = LIST_HPA + 8;
    expect_only("misaligned", &machine, R(CTL_ENTRY_MSRLD_ADDR), 0);
    *address = LIST_HPA | VMXC_BIT(52);
    expect_only("too wide", &machine, R(CTL_ENTRY_MSRLD_ADDR), 0);
    *address = VMXC_BIT(52) - 16;
    machine.vmcs.value[F(VM_ENTRY_MSR_LOAD_COUNT)] = 2;
    expect_only("last byte too wide", &machine, R(CTL_ENTRY_MSRLD_LAST), 0);
    *address = ~UINT64_C(15);
    vmxsim_entry_check(&machine.input, &report); /* wraps */
    ck_assert(!is_violated(R(MSRLD_GP)) && is_violated(R(CTL_ENTRY_MSRLD_ADDR)));
    machine.vmcs.value[F(VM_ENTRY_MSR_LOAD_COUNT)] = 0;
    expect_only("empty", &machine, FINE, 0);
    machine_fini(&machine);
}
END_TEST

START_TEST(the_recommended_maximum)
{
    const unsigned maximum = 512; /* IA32_VMX_MISC bits 27:25 are 0 */
    struct machine machine;
    list_init(&machine, LONG64, "everything", maximum + 1);

    set_entry(&machine, maximum + 1, VMXC_MSR_FS_BASE, 0);
    expect_only("one more: not looked at", &machine, R(MSRLD_COUNT), maximum + 1);
    ck_assert(report.violation[0].qualification_varies);
    machine.vmcs.value[F(VM_ENTRY_MSR_LOAD_COUNT)] = maximum;
    expect_only("the maximum", &machine, FINE, 0);
    set_entry(&machine, maximum, VMXC_MSR_FS_BASE, 0);
    expect_only("the last of the maximum", &machine, R(MSRLD_FSGS), maximum);
    machine.vmcs.value[F(VM_ENTRY_MSR_LOAD_COUNT)] = UINT32_MAX;
    vmxsim_entry_check(&machine.input, &report);
    ck_assert(is_violated(R(MSRLD_COUNT)) && is_violated(R(MSRLD_FSGS)));
    machine_fini(&machine);
}
END_TEST

/* ---- What is not known ---- */

/* The rules that cannot be decided without this field, and no others. */
static unsigned undecided_without(struct machine *machine, uint16_t ordinal)
{
    uint64_t known[VMXSIM_VMCS_KNOWN_WORDS];

    memset(known, 0xff, sizeof known);
    known[ordinal / 64] &= ~VMXC_BIT(ordinal % 64);
    machine->input.known = known;
    vmxsim_entry_check(&machine->input, &report);
    machine->input.known = NULL;
    ck_assert_uint_eq(report.violation_count, 0);
    for (uint32_t i = 0; i < report.undecided_count; i++)
        ck_assert_uint_eq(report.undecided[i].ordinal, ordinal);
    return report.undecided_count;
}

START_TEST(unknown_fields_leave_their_rules_undecided)
{
    struct machine machine;
    list_init(&machine, LONG64, "everything", 1);
    ck_assert_uint_eq(undecided_without(&machine, F(HOST_GS_BASE)), 1);
    ck_assert_uint_eq(undecided_without(&machine, F(GUEST_IA32_PAT)), 0); /* not loaded */
    ck_assert_uint_eq(undecided_without(&machine, F(VMCS_LINK_POINTER)), 2);
    ck_assert_uint_eq(undecided_without(&machine, F(GUEST_GDTR_LIMIT)), 1);
    ck_assert_uint_gt(undecided_without(&machine, F(GUEST_RFLAGS)), 15);
    ck_assert_uint_ge(undecided_without(&machine, F(VM_ENTRY_MSR_LOAD_COUNT)), 7);
    ck_assert_uint_ge(undecided_without(&machine, F(VM_ENTRY_MSR_LOAD_ADDRESS)), 6);
    machine.input.memory = NULL;
    vmxsim_entry_check(&machine.input, &report);
    ck_assert_uint_eq(report.undecided_count, 6); /* the six rules on entries */
    machine_fini(&machine);
}
END_TEST

START_TEST(nmi_with_blocking_by_sti_has_several_lawful_outcomes)
{
    struct machine machine;
    machine_init(&machine, LONG64, "everything");
    apply(&machine.vmcs,
          (const struct setting[]){INJECT(2, 2), BLOCKING(1), RFLAGS(VMXC_RFLAGS_IF), {0, 0}});
    expect_only("NMI and STI", &machine, R(INTR_NMI_STI), 3);
    ck_assert(report.violation[0].qualification_varies);
    ck_assert_uint_gt(report.outcome_count, 1);
    machine_fini(&machine);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("entry_memory");
    TCase *memory = tcase_create("memory");

    tcase_add_test(memory, link_pointer);
    tcase_add_test(memory, link_region);
    tcase_add_test(memory, pdptes_in_memory);
    tcase_add_test(memory, pdptes_in_the_vmcs);
    tcase_add_test(memory, efer_in_the_list_follows_the_mode_that_the_entry_establishes);
    tcase_add_test(memory, smm_may_load_its_own_msrs);
    tcase_add_test(memory, an_unlocked_feature_control_can_be_written);
    tcase_add_test(memory, each_rule_reports_the_first_entry_that_breaks_it);
    tcase_add_test(memory, a_list_that_is_not_where_a_list_can_be_is_not_read);
    tcase_add_test(memory, the_recommended_maximum);
    tcase_add_test(memory, unknown_fields_leave_their_rules_undecided);
    tcase_add_test(memory, nmi_with_blocking_by_sti_has_several_lawful_outcomes);
    tcase_add_loop_test(memory, each_msr_that_a_list_may_name, 0, (int)COUNT(msr_cases));
    suite_add_tcase(s, memory);
    return s;
}

int main(void)
{
    return run_suite(suite());
}
