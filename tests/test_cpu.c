/* SPDX-License-Identifier: Apache-2.0 */
/* A processor: what it refuses, and which guest state a VMCS gives it. */
#include <check.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "support/machine.h"
#include "support/suite.h"
#include "vmxcore/defs/controls.h"

static struct machine machine;

static void setup(void)
{
    const struct profile_changes none = {0};

    machine_init(&machine, &none);
}

static void teardown(void)
{
    machine_fini(&machine);
}

static struct vmxsim_access read_at(uint64_t linear, uint32_t size)
{
    return (struct vmxsim_access){.type = VMXSIM_ACCESS_READ, .linear = linear, .size = size};
}

/* ---- Refusals ---- */

START_TEST(a_processor_needs_memory_and_profile)
{
    struct vmxsim_cpu *cpu = NULL;

    ck_assert_int_eq(vmxsim_cpu_create(NULL, machine.profile, &cpu), VMXC_INVALID_INPUT);
    ck_assert_int_eq(vmxsim_cpu_create(machine.memory, NULL, &cpu), VMXC_INVALID_INPUT);
    ck_assert_ptr_null(cpu);
    vmxsim_cpu_destroy(NULL);
}
END_TEST

START_TEST(an_access_before_a_guest_is_loaded_is_refused)
{
    const struct vmxsim_access access = read_at(0, 1);
    struct vmxsim_outcome outcome;

    ck_assert_int_eq(vmxsim_guest_access(machine.cpu, &access, &outcome, NULL), VMXC_BAD_STATE);
    ck_assert_int_eq(vmxsim_guest_physical_access(machine.cpu, 0, VMXC_EPT_READ, &outcome, NULL),
                     VMXC_BAD_STATE);
}
END_TEST

START_TEST(malformed_accesses_are_refused)
{
    struct vmxsim_access access = read_at(0, 0);
    struct vmxsim_outcome outcome;

    machine_set_mode(&machine, GUEST_NONE);
    machine_load(&machine);
    ck_assert_int_eq(vmxsim_guest_access(machine.cpu, &access, &outcome, NULL), VMXC_INVALID_INPUT);
    access.size = VMXSIM_ACCESS_MAX_SIZE + 1;
    ck_assert_int_eq(vmxsim_guest_access(machine.cpu, &access, &outcome, NULL), VMXC_INVALID_INPUT);
    access.size = 1;
    access.type = (enum vmxsim_access_type)4;
    ck_assert_int_eq(vmxsim_guest_access(machine.cpu, &access, &outcome, NULL), VMXC_INVALID_INPUT);
}
END_TEST

/* Controls and register bits that the walk does not implement, each alone. */
static const struct {
    uint64_t tertiary, cr4, cr3;
    const char *name;
} unsupported[] = {
    {.tertiary = VMXC_BIT(1), .name = "HLAT"},
    {.tertiary = VMXC_BIT(2), .name = "paging-write"},
    {.tertiary = VMXC_BIT(3), .name = "guest-paging verification"},
    {.tertiary = VMXC_BIT(4), .name = "IPI virtualization"},
    {.tertiary = VMXC_BIT(8), .name = "APIC-timer virtualization"},
    {.cr4 = VMXC_BIT(27), .name = "LASS"},
    {.cr4 = VMXC_BIT(28), .name = "LAM_SUP"},
    {.cr3 = VMXC_BIT(61), .name = "LAM_U48, LAM_U57"},
    {.cr3 = VMXC_BIT(62), .name = "LAM_U48, LAM_U57"},
};

START_TEST(what_is_not_modelled_is_refused_by_name)
{
    struct vmxsim_error error;

    machine_new_ept(&machine, 4, 0);
    machine_set_mode(&machine, GUEST_4LEVEL);
    VMXSIM_VMCS(&machine.vmcs, PRIMARY_PROCESSOR_BASED_CONTROLS) |= VMXC_BIT(17);
    VMXSIM_VMCS(&machine.vmcs, TERTIARY_PROCESSOR_BASED_CONTROLS) |= unsupported[_i].tertiary;
    VMXSIM_VMCS(&machine.vmcs, GUEST_CR4) |= unsupported[_i].cr4;
    VMXSIM_VMCS(&machine.vmcs, GUEST_CR3) |= unsupported[_i].cr3;
    ck_assert_int_eq(vmxsim_cpu_load_guest(machine.cpu, &machine.vmcs, &error), VMXC_UNSUPPORTED);
    ck_assert_msg(strstr(error.text, unsupported[_i].name), "\"%s\" does not name \"%s\"",
                  error.text, unsupported[_i].name);
}
END_TEST

START_TEST(control_words_that_are_not_activated_count_as_zero)
{
    machine_set_mode(&machine, GUEST_NONE);
    VMXSIM_VMCS(&machine.vmcs, PRIMARY_PROCESSOR_BASED_CONTROLS) = 0;
    VMXSIM_VMCS(&machine.vmcs, SECONDARY_PROCESSOR_BASED_CONTROLS) = UINT32_MAX;
    VMXSIM_VMCS(&machine.vmcs, TERTIARY_PROCESSOR_BASED_CONTROLS) = UINT64_MAX;
    machine_load(&machine);
    machine_write(&machine, 0x5000, 0x1122334455667788);

    const struct vmxsim_outcome outcome = machine_access(&machine, VMXSIM_ACCESS_READ, 0x5000, 8);
    ck_assert_int_eq(outcome.kind, VMXSIM_OUTCOME_COMPLETE);
    ck_assert_uint_eq(outcome.page[0].ept_page_size, 0);
    ck_assert_uint_eq(outcome.page[0].hpa, 0x5000);
    ck_assert_uint_eq(outcome.data[0], 0x88);
}
END_TEST

START_TEST(a_walk_length_the_entry_checks_would_refuse_is_an_error)
{
    struct vmxsim_error error;

    machine_new_ept(&machine, 4, 0);
    machine_set_mode(&machine, GUEST_NONE);
    VMXSIM_VMCS(&machine.vmcs, EPT_POINTER) &= ~VMXC_EPTP_WALK_LENGTH;
    ck_assert_int_eq(vmxsim_cpu_load_guest(machine.cpu, &machine.vmcs, &error), VMXC_INVALID_INPUT);
    ck_assert_ptr_nonnull(strstr(error.text, "walk length"));
}
END_TEST

START_TEST(guest_physical_accesses_check_their_arguments)
{
    struct vmxsim_outcome outcome;

    machine_set_mode(&machine, GUEST_NONE);
    machine_load(&machine);
    ck_assert_int_eq(vmxsim_guest_physical_access(machine.cpu, 0, VMXC_EPT_READ, &outcome, NULL),
                     VMXC_BAD_STATE); /* EPT is off */

    machine_new_ept(&machine, 4, 0);
    machine_load(&machine);
    ck_assert_int_eq(vmxsim_guest_physical_access(machine.cpu, 0, 0, &outcome, NULL),
                     VMXC_INVALID_INPUT);
    ck_assert_int_eq(
        vmxsim_guest_physical_access(machine.cpu, 0, VMXC_EPT_ACCESSED, &outcome, NULL),
        VMXC_INVALID_INPUT);
    ck_assert_int_eq(
        vmxsim_guest_physical_access(machine.cpu, 0, VMXC_EPT_USER_EXECUTE, &outcome, NULL),
        VMXC_INVALID_INPUT); /* no mode-based execute control */
    ck_assert_int_eq(
        vmxsim_guest_physical_access(machine.cpu, VMXC_BIT(52), VMXC_EPT_READ, &outcome, NULL),
        VMXC_INVALID_INPUT);
}
END_TEST

/* ---- Guest state ---- */

START_TEST(a_4_level_ept_does_not_translate_addresses_wider_than_48_bits)
{
    struct vmxsim_outcome outcome;

    machine_new_ept(&machine, 4, 0);
    machine_set_mode(&machine, GUEST_NONE);
    machine_ept_map(&machine, 0, 0, 1);
    machine_load(&machine);
    ck_assert_int_eq(
        vmxsim_guest_physical_access(machine.cpu, VMXC_BIT(48), VMXC_EPT_READ, &outcome, NULL),
        VMXC_OK);
    ck_assert_int_eq(outcome.kind, VMXSIM_OUTCOME_VM_EXIT);
    ck_assert_int_eq(outcome.rule, VMXSIM_RULE_EPT_GPAW);
    ck_assert_uint_eq(outcome.exit_reason, EXIT_EPT_VIOLATION);
    ck_assert_uint_eq(outcome.qualification, VMXC_EPT_VIOLATION_READ);
    ck_assert_uint_eq(outcome.guest_physical, VMXC_BIT(48));
    ck_assert(!outcome.guest_linear_valid);
}
END_TEST

/*
 * Whether the guest is in 4-level paging shows in how it translates. The same two tables mean a 1-GByte page to 4-level
 * paging and a 2-MByte page to PAE paging, whose PDPTE 0 is the first entry of the PML4. EFER.LMA comes from the
 * IA32_EFER field or, without "load IA32_EFER", from "IA-32e mode guest".
 */
START_TEST(efer_comes_from_the_field_or_from_the_entry_control)
{
    const bool load = _i & 1, ia32e = _i & 2;
    const uint64_t pml4 = machine_new_table(&machine), pdpt = machine_new_table(&machine);
    const struct vmxsim_root_state root = {.cr0 = 0x80000031, .cr4 = 0x2020, .efer = 0x500};

    machine_set_mode(&machine, GUEST_4LEVEL);
    machine_write(&machine, pml4, pdpt | 7);
    machine_write(&machine, pdpt, 0x87); /* a page at 0 */
    VMXSIM_VMCS(&machine.vmcs, GUEST_CR3) = pml4;
    VMXSIM_VMCS(&machine.vmcs, GUEST_IA32_EFER) = load && ia32e ? 0x500 : 0;
    VMXSIM_VMCS(&machine.vmcs, VM_ENTRY_CONTROLS) =
        (load ? ENTRY_LOAD_EFER : 0) | (ia32e ? ENTRY_IA32E : 0);
    vmxsim_cpu_set_root_state(machine.cpu, &root);
    machine_load(&machine);

    const struct vmxsim_outcome outcome = machine_access(&machine, VMXSIM_ACCESS_READ, 0x7000, 1);
    ck_assert_int_eq(outcome.kind, VMXSIM_OUTCOME_COMPLETE);
    ck_assert_uint_eq(outcome.page[0].guest_page_size,
                      ia32e ? VMXC_PAGE_SIZE_1G : VMXC_PAGE_SIZE_2M);
}
END_TEST

/* NXE is not loaded from the control: it is the host's. Without it bit 63 is reserved. */
START_TEST(without_load_efer_nxe_is_the_hosts)
{
    const bool nxe = _i;
    const uint64_t pml4 = machine_new_table(&machine), pdpt = machine_new_table(&machine);
    const struct vmxsim_root_state root = {
        .cr0 = 0x80000031, .cr4 = 0x2020, .efer = nxe ? 0xd00 : 0x500};

    machine_set_mode(&machine, GUEST_4LEVEL);
    machine_write(&machine, pml4, pdpt | 7);
    machine_write(&machine, pdpt, VMXC_BIT(63) | 0x87);
    VMXSIM_VMCS(&machine.vmcs, GUEST_CR3) = pml4;
    VMXSIM_VMCS(&machine.vmcs, GUEST_IA32_EFER) = 0;
    VMXSIM_VMCS(&machine.vmcs, VM_ENTRY_CONTROLS) = ENTRY_IA32E;
    vmxsim_cpu_set_root_state(machine.cpu, &root);
    machine_load(&machine);

    const struct vmxsim_outcome outcome = machine_access(&machine, VMXSIM_ACCESS_READ, 0x7000, 1);
    ck_assert_int_eq(outcome.kind == VMXSIM_OUTCOME_COMPLETE, nxe);
    if (!nxe)
        ck_assert_uint_eq(outcome.error_code, VMXC_PF_PRESENT | VMXC_PF_RESERVED);
}
END_TEST

/* CR0.CD is never loaded by a VM entry: with the host's CD = 1 all memory is uncacheable. */
START_TEST(cr0_cd_is_the_hosts)
{
    const bool host_cd = _i;
    const struct vmxsim_root_state root = {
        .cr0 = 0x80000031 | (host_cd ? VMXC_CR0_CD : 0), .cr4 = 0x2020, .efer = 0x500};

    machine_set_mode(&machine, GUEST_NONE);
    VMXSIM_VMCS(&machine.vmcs, GUEST_CR0) ^=
        host_cd ? 0 : VMXC_CR0_CD; /* the field does not matter */
    vmxsim_cpu_set_root_state(machine.cpu, &root);
    machine_load(&machine);

    const struct vmxsim_outcome outcome = machine_access(&machine, VMXSIM_ACCESS_READ, 0x7000, 1);
    ck_assert_int_eq(outcome.page[0].memory_type,
                     host_cd ? VMXC_MEMORY_TYPE_UC : VMXC_MEMORY_TYPE_WB);
}
END_TEST

/* Without "load IA32_PAT" the guest runs with the processor's PAT, whose entry 1 is write-through. */
START_TEST(pat_comes_from_the_field_or_from_the_processor)
{
    const bool load = _i;
    const uint64_t pml4 = machine_new_table(&machine), pdpt = machine_new_table(&machine);

    machine_set_mode(&machine, GUEST_4LEVEL);
    machine_write(&machine, pml4, pdpt | 7);
    machine_write(&machine, pdpt, 0x87 | VMXC_PTE_PWT); /* PAT entry 1 */
    VMXSIM_VMCS(&machine.vmcs, GUEST_CR3) = pml4;
    VMXSIM_VMCS(&machine.vmcs, GUEST_IA32_PAT) = 0x0505050505050505; /* all write-protected */
    VMXSIM_VMCS(&machine.vmcs, VM_ENTRY_CONTROLS) &= ~ENTRY_LOAD_PAT;
    VMXSIM_VMCS(&machine.vmcs, VM_ENTRY_CONTROLS) |= load ? ENTRY_LOAD_PAT : 0;
    machine_load(&machine);

    const struct vmxsim_outcome outcome = machine_access(&machine, VMXSIM_ACCESS_READ, 0x7000, 1);
    ck_assert_int_eq(outcome.page[0].memory_type, load ? VMXC_MEMORY_TYPE_WP : VMXC_MEMORY_TYPE_WT);
}
END_TEST

/* A profile need not list IA32_PAT: entry 0 is then write-back, as at reset, and not what a PAT of 0 would say. */
START_TEST(a_pat_that_the_profile_does_not_list_is_that_of_reset)
{
    char *text = vmxsim_profile_to_json(machine.profile);
    json_t *const cpu = json_loads(text, 0, NULL);
    free(text);
    ck_assert_int_eq(json_object_del(json_object_get(cpu, "msr"), "0x277"), 0);
    text = json_dumps(cpu, JSON_COMPACT);
    json_decref(cpu);
    vmxsim_profile_destroy(machine.profile);
    ck_assert_int_eq(vmxsim_profile_from_json(text, strlen(text), NULL, &machine.profile, NULL),
                     VMXC_OK);
    free(text);
    vmxsim_cpu_destroy(machine.cpu);
    ck_assert_int_eq(vmxsim_cpu_create(machine.memory, machine.profile, &machine.cpu), VMXC_OK);

    const uint64_t pml4 = machine_new_table(&machine), pdpt = machine_new_table(&machine);
    machine_set_mode(&machine, GUEST_4LEVEL);
    machine_write(&machine, pml4, pdpt | 7);
    machine_write(&machine, pdpt, 0x87);
    VMXSIM_VMCS(&machine.vmcs, GUEST_CR3) = pml4;
    VMXSIM_VMCS(&machine.vmcs, VM_ENTRY_CONTROLS) &= ~ENTRY_LOAD_PAT;
    machine_load(&machine);
    const struct vmxsim_outcome outcome = machine_access(&machine, VMXSIM_ACCESS_READ, 0x7000, 1);
    ck_assert_int_eq(outcome.page[0].memory_type, VMXC_MEMORY_TYPE_WB);
}
END_TEST

/* Without "load PKRS" the guest runs with the processor's IA32_PKRS, which is 0. Key 1 of the page is access-disabled. */
START_TEST(pkrs_comes_from_the_field_or_from_the_processor)
{
    const bool load = _i;
    const uint64_t pml4 = machine_new_table(&machine), pdpt = machine_new_table(&machine);

    machine_set_mode(&machine, GUEST_4LEVEL);
    machine_write(&machine, pml4, pdpt | 3);
    machine_write(&machine, pdpt, 0x83 | UINT64_C(1) << 59);
    VMXSIM_VMCS(&machine.vmcs, GUEST_CR3) = pml4;
    VMXSIM_VMCS(&machine.vmcs, GUEST_CR4) |= VMXC_CR4_PKS;
    VMXSIM_VMCS(&machine.vmcs, GUEST_IA32_PKRS) = 1u << 2;
    VMXSIM_VMCS(&machine.vmcs, VM_ENTRY_CONTROLS) &= ~ENTRY_LOAD_PKRS;
    VMXSIM_VMCS(&machine.vmcs, VM_ENTRY_CONTROLS) |= load ? ENTRY_LOAD_PKRS : 0;
    VMXSIM_VMCS(&machine.vmcs, VM_ENTRY_CONTROLS) |=
        VMXC_BIT(20); /* CET: other MSRs, loaded after it */
    VMXSIM_VMCS(&machine.vmcs, GUEST_INTERRUPT_SSP_TABLE) = load ? 0 : 1u << 2;
    machine_load(&machine);

    const struct vmxsim_outcome outcome = machine_access(&machine, VMXSIM_ACCESS_READ, 0x7000, 1);
    ck_assert_int_eq(outcome.kind, load ? VMXSIM_OUTCOME_GUEST_EXCEPTION : VMXSIM_OUTCOME_COMPLETE);
    ck_assert_int_eq(outcome.rule, load ? VMXSIM_RULE_PG_PK : VMXSIM_RULE_NONE);
}
END_TEST

/* 32-bit paging finds its directory by CR3[31:12]: what a VM entry left above and below does not matter. */
START_TEST(bits_63_32_of_cr3_are_ignored_by_32_bit_paging)
{
    const uint64_t directory = machine_new_table(&machine);

    machine_set_mode(&machine, GUEST_32BIT);
    machine_write(&machine, directory, 0x87); /* 4 MBytes at 0 */
    VMXSIM_VMCS(&machine.vmcs, GUEST_CR3) = directory | VMXC_BIT(32) | VMXC_BIT(39) | 0xfff;
    machine_load(&machine);

    const struct vmxsim_outcome outcome = machine_access(&machine, VMXSIM_ACCESS_READ, 0x1234, 2);
    ck_assert_int_eq(outcome.kind, VMXSIM_OUTCOME_COMPLETE);
    ck_assert_uint_eq(outcome.page[0].hpa, 0x1234);
}
END_TEST

/* PAE without EPT: the entry loads the four PDPTEs from memory; a later change of the table has no effect. */
START_TEST(pae_pdptes_are_registers)
{
    const uint64_t table = machine_new_table(&machine);
    const uint64_t directory = machine_new_table(&machine);

    machine_set_mode(&machine, GUEST_PAE);
    machine_write(&machine, table + 0x20, directory | 1);
    machine_write(&machine, directory, 0x87); /* 2 MBytes at 0 */
    VMXSIM_VMCS(&machine.vmcs, GUEST_CR3) = table + 0x20;
    machine_load(&machine);
    machine_write(&machine, table + 0x20, 0);

    const struct vmxsim_outcome outcome = machine_access(&machine, VMXSIM_ACCESS_READ, 0x1234, 2);
    ck_assert_int_eq(outcome.kind, VMXSIM_OUTCOME_COMPLETE);
    ck_assert_uint_eq(outcome.page[0].hpa, 0x1234);
    ck_assert_uint_eq(machine_read(&machine, table + 0x20), 0); /* no accessed flag in a PDPTE */

    machine_load(&machine);
    ck_assert_int_eq(machine_access(&machine, VMXSIM_ACCESS_READ, 0x1234, 2).kind,
                     VMXSIM_OUTCOME_GUEST_EXCEPTION);
}
END_TEST

/*
 * A user-mode write to a supervisor-mode address is refused in any case; the error code blames the key too only if
 * CR0.WP = 1, since IA32_PKRS disables writes only then.
 */
START_TEST(pkrs_disables_writes_only_with_wp)
{
    const bool wp = _i;
    const uint64_t pml4 = machine_new_table(&machine), pdpt = machine_new_table(&machine);

    machine_set_mode(&machine, GUEST_4LEVEL);
    machine_write(&machine, pml4, pdpt | 7);
    machine_write(&machine, pdpt, 0x83); /* supervisor, writable, key 0 */
    VMXSIM_VMCS(&machine.vmcs, GUEST_CR3) = pml4;
    VMXSIM_VMCS(&machine.vmcs, GUEST_CR0) |= wp ? VMXC_CR0_WP : 0;
    VMXSIM_VMCS(&machine.vmcs, GUEST_CR4) |= VMXC_CR4_PKS;
    VMXSIM_VMCS(&machine.vmcs, VM_ENTRY_CONTROLS) |= ENTRY_LOAD_PKRS;
    VMXSIM_VMCS(&machine.vmcs, GUEST_IA32_PKRS) = 2; /* key 0: write disable */
    machine_set_cpl(&machine, 3);
    machine_load(&machine);

    const struct vmxsim_outcome outcome = machine_access(&machine, VMXSIM_ACCESS_WRITE, 0x7000, 1);
    ck_assert_int_eq(outcome.rule, VMXSIM_RULE_PG_USER_SUPERVISOR);
    ck_assert_uint_eq(outcome.error_code, wp ? 0x27 : 0x07);
}
END_TEST

START_TEST(outside_64_bit_mode_linear_addresses_wrap_at_4_gbytes)
{
    struct vmxsim_access access = read_at(UINT32_MAX, 2);
    struct vmxsim_outcome outcome;

    machine_set_mode(&machine, GUEST_NONE);
    machine_load(&machine);
    outcome = machine_access_as(&machine, &access, NULL);
    ck_assert_int_eq(outcome.kind, VMXSIM_OUTCOME_COMPLETE);
    ck_assert_uint_eq(outcome.page_count, 2);
    ck_assert_uint_eq(outcome.page[0].linear, UINT32_MAX);
    ck_assert_uint_eq(outcome.page[1].linear, 0);

    access.linear = VMXC_BIT(32) | 0x5000;
    access.size = 1;
    outcome = machine_access_as(&machine, &access, NULL);
    ck_assert_uint_eq(outcome.page[0].linear, 0x5000);
}
END_TEST

/* IA-32e mode with CS.L = 0: paging has four levels, linear addresses have 32 bits. */
START_TEST(in_compatibility_mode_linear_addresses_wrap_at_4_gbytes)
{
    const bool mode_64bit = _i;
    const uint64_t pml4 = machine_new_table(&machine), pdpt = machine_new_table(&machine);

    machine_set_mode(&machine, GUEST_4LEVEL);
    VMXSIM_VMCS(&machine.vmcs, GUEST_CS_ACCESS_RIGHTS) &= ~VMXC_BIT(13);
    VMXSIM_VMCS(&machine.vmcs, GUEST_CS_ACCESS_RIGHTS) |= mode_64bit ? VMXC_BIT(13) : 0;
    machine_write(&machine, pml4, pdpt | 7);
    machine_write(&machine, pdpt, 0x87); /* 1 GByte at 0 */
    VMXSIM_VMCS(&machine.vmcs, GUEST_CR3) = pml4;
    machine_load(&machine);

    const struct vmxsim_outcome outcome =
        machine_access(&machine, VMXSIM_ACCESS_READ, VMXC_BIT(32) | 0x7000, 1);
    if (mode_64bit) {
        ck_assert_int_eq(outcome.kind, VMXSIM_OUTCOME_GUEST_EXCEPTION);
        ck_assert_uint_eq(outcome.cr2, VMXC_BIT(32) | 0x7000);
    } else {
        ck_assert_int_eq(outcome.kind, VMXSIM_OUTCOME_COMPLETE);
        ck_assert_uint_eq(outcome.page[0].linear, 0x7000);
    }
}
END_TEST

/* GDT, LDT, IDT and TSS have bases of 64 bits in all of IA-32e mode, and of 32 bits outside it. */
START_TEST(implicit_accesses_reach_above_4_gbytes_in_ia32e_mode_only)
{
    const bool ia32e = _i;
    const uint64_t pml4 = machine_new_table(&machine), pdpt = machine_new_table(&machine);
    struct vmxsim_access access = read_at(VMXC_BIT(32) | 0x7000, 1);

    access.implicit = true;
    machine_set_mode(&machine, ia32e ? GUEST_4LEVEL : GUEST_NONE);
    VMXSIM_VMCS(&machine.vmcs, GUEST_CS_ACCESS_RIGHTS) &= ~VMXC_BIT(13);
    machine_write(&machine, pml4, pdpt | 7);
    machine_write(&machine, pdpt + 8 * 4, 0x87); /* 1 GByte at 4 GBytes */
    VMXSIM_VMCS(&machine.vmcs, GUEST_CR3) = pml4;
    machine_load(&machine);
    struct vmxsim_outcome outcome = machine_access_as(&machine, &access, NULL);
    ck_assert_int_eq(outcome.kind, VMXSIM_OUTCOME_COMPLETE);
    ck_assert_uint_eq(outcome.page[0].linear, ia32e ? VMXC_BIT(32) | 0x7000 : 0x7000);

    access.linear = VMXC_BIT(47);
    outcome = machine_access_as(&machine, &access, NULL);
    ck_assert_int_eq(outcome.rule, ia32e ? VMXSIM_RULE_PG_CANONICAL : VMXSIM_RULE_NONE);
}
END_TEST

START_TEST(a_refused_load_keeps_the_guest_that_was_there)
{
    struct vmxsim_vmcs refused;

    machine_set_mode(&machine, GUEST_NONE);
    machine_load(&machine);
    refused = machine.vmcs;
    VMXSIM_VMCS(&refused, GUEST_CR4) |= VMXC_CR4_LASS;
    VMXSIM_VMCS(&refused, GUEST_CR0) |= VMXC_CR0_PG;
    ck_assert_int_eq(vmxsim_cpu_load_guest(machine.cpu, &refused, NULL), VMXC_UNSUPPORTED);
    ck_assert_int_eq(machine_access(&machine, VMXSIM_ACCESS_READ, 0x7000, 1).kind,
                     VMXSIM_OUTCOME_COMPLETE);
}
END_TEST

START_TEST(every_rule_has_id_section_and_sentence)
{
    for (unsigned rule = 1; rule < VMXSIM_WALK_RULE_COUNT; rule++) {
        const struct vmxsim_walk_rule_info *info =
            vmxsim_walk_rule_info((enum vmxsim_walk_rule)rule);
        ck_assert_msg(info->id[0] && info->section[0] && info->sentence[0], "rule %u", rule);
    }
    ck_assert_str_eq(vmxsim_walk_rule_info(VMXSIM_RULE_NONE)->id, "");
    ck_assert_str_eq(vmxsim_walk_rule_info((enum vmxsim_walk_rule)9999)->id, "");
}
END_TEST

static Suite *cpu_suite(void)
{
    Suite *suite = suite_create("cpu");
    TCase *refusals = tcase_create("refusals");
    TCase *state = tcase_create("guest state");

    tcase_add_checked_fixture(refusals, setup, teardown);
    tcase_add_test(refusals, a_processor_needs_memory_and_profile);
    tcase_add_test(refusals, an_access_before_a_guest_is_loaded_is_refused);
    tcase_add_test(refusals, malformed_accesses_are_refused);
    tcase_add_loop_test(refusals, what_is_not_modelled_is_refused_by_name, 0,
                        (int)(sizeof(unsupported) / sizeof(unsupported[0])));
    tcase_add_test(refusals, control_words_that_are_not_activated_count_as_zero);
    tcase_add_test(refusals, a_walk_length_the_entry_checks_would_refuse_is_an_error);
    tcase_add_test(refusals, guest_physical_accesses_check_their_arguments);
    suite_add_tcase(suite, refusals);

    tcase_add_checked_fixture(state, setup, teardown);
    tcase_add_test(state, a_4_level_ept_does_not_translate_addresses_wider_than_48_bits);
    tcase_add_loop_test(state, efer_comes_from_the_field_or_from_the_entry_control, 0, 4);
    tcase_add_loop_test(state, without_load_efer_nxe_is_the_hosts, 0, 2);
    tcase_add_loop_test(state, cr0_cd_is_the_hosts, 0, 2);
    tcase_add_loop_test(state, pat_comes_from_the_field_or_from_the_processor, 0, 2);
    tcase_add_test(state, a_pat_that_the_profile_does_not_list_is_that_of_reset);
    tcase_add_loop_test(state, pkrs_comes_from_the_field_or_from_the_processor, 0, 2);
    tcase_add_test(state, bits_63_32_of_cr3_are_ignored_by_32_bit_paging);
    tcase_add_test(state, pae_pdptes_are_registers);
    tcase_add_loop_test(state, pkrs_disables_writes_only_with_wp, 0, 2);
    tcase_add_test(state, outside_64_bit_mode_linear_addresses_wrap_at_4_gbytes);
    tcase_add_loop_test(state, in_compatibility_mode_linear_addresses_wrap_at_4_gbytes, 0, 2);
    tcase_add_loop_test(state, implicit_accesses_reach_above_4_gbytes_in_ia32e_mode_only, 0, 2);
    tcase_add_test(state, a_refused_load_keeps_the_guest_that_was_there);
    tcase_add_test(state, every_rule_has_id_section_and_sentence);
    suite_add_tcase(suite, state);
    return suite;
}

int main(void)
{
    return run_suite(cpu_suite());
}
