/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Performing VM exits: what is recorded, what is saved, what is loaded, and what goes wrong for good. The round trip enters
 * guests with VMLAUNCH and exits at once; nothing but a table of fields may then differ.
 */
#include "vmxsim/exit.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "support/entry_edge.h"
#include "support/insn_machine.h"
#include "support/suite.h"
#include "vmxcore/defs/ept.h"
#include "vmxsim/guest.h"

#define STORE_AREA UINT64_C(0x20000)
#define LOAD_AREA  UINT64_C(0x21000)
#define PDPT       UINT64_C(0x22000)

static struct insn_machine machine;
static struct vmxsim_vmcs vmcs; /* what the guest is entered with */
static enum vmxc_vmx_abort abort_indicator;

static void set_up(void)
{
    insn_machine_init(&machine, "everything", NULL);
    vmcs = valid_vmcs(LONG64);
}

static void tear_down(void)
{
    insn_machine_fini(&machine);
}

static const struct vmxsim_vmcs *after(void)
{
    return vmxsim_exit_vmcs(machine.cpu);
}

static enum vmxc_status exit_as(struct vmxsim_outcome outcome,
                                const struct vmxsim_exit_context *context)
{
    outcome.kind = VMXSIM_OUTCOME_VM_EXIT;
    outcome.qualification_defined = true;
    return vmxsim_vm_exit(machine.cpu, &outcome, context, &abort_indicator);
}

/* A VM exit that changes nothing of the guest: an external interrupt. */
static void leave(void)
{
    ck_assert_int_eq(exit_as((struct vmxsim_outcome){.exit_reason = 1}, NULL), VMXC_OK);
}

static void launch(void)
{
    insn_machine_launch(&machine, &vmcs);
}

/* ---- Refusals ---- */

START_TEST(there_is_no_exit_from_vmx_root_operation)
{
    ck_assert_int_eq(exit_as((struct vmxsim_outcome){.exit_reason = 1}, NULL), VMXC_BAD_STATE);
    insn_machine_current(&machine);
    ck_assert_int_eq(exit_as((struct vmxsim_outcome){.exit_reason = 1}, NULL), VMXC_BAD_STATE);
}
END_TEST

START_TEST(only_vm_exits_exit)
{
    const struct vmxsim_outcome complete = {.kind = VMXSIM_OUTCOME_COMPLETE};
    launch();
    ck_assert_int_eq(vmxsim_vm_exit(machine.cpu, &complete, NULL, &abort_indicator),
                     VMXC_INVALID_INPUT);
    ck_assert_int_eq(vmxsim_cpu_vmx_state(machine.cpu).mode, VMXSIM_VMX_NON_ROOT);
}
END_TEST

START_TEST(no_instruction_has_16_bytes)
{
    const struct vmxsim_exit_context context = {.instruction_length = 16};
    launch();
    ck_assert_int_eq(exit_as((struct vmxsim_outcome){.exit_reason = 10}, &context),
                     VMXC_INVALID_INPUT);
}
END_TEST

START_TEST(a_guest_cannot_be_loaded_over_a_current_vmcs)
{
    struct vmxsim_error error;
    insn_machine_current(&machine);
    ck_assert_int_eq(vmxsim_cpu_load_guest(machine.cpu, &vmcs, &error), VMXC_BAD_STATE);
}
END_TEST

/* ---- Information ---- */

/* Which VM exits have an instruction length. Reason, interruption information, IDT-vectoring information, qualification. */
static const struct {
    uint16_t reason;
    uint32_t interruption, vectoring;
    uint64_t qualification;
    bool has_length;
} lengths[] = {
    {10, 0, 0, 0, true},                  /* CPUID */
    {28, 0, 0, 0, true},                  /* MOV CR */
    {58, 0, 0, 0, true},                  /* INVPCID */
    {1, 0x80000020, 0, 0, false},         /* external interrupt */
    {0, 0x80000b0d, 0, 0, false},         /* #GP */
    {0, 0x80000603, 0, 0, true},          /* INT3 */
    {0, 0x80000501, 0, 0, true},          /* INT1 */
    {0, 0x80000202, 0, 0, false},         /* NMI */
    {9, 0, 0, 0x18, true},                /* task switch by CALL */
    {9, 0, 0, 0xc0000018, false},         /* by an IDT gate, met by an interrupt */
    {9, 0, 0x80000420, 0xc0000018, true}, /* by an IDT gate, met by INT n */
    {48, 0, 0, 0, false},                 /* EPT violation */
    {48, 0, 0x80000420, 0, true},         /* while INT 20H is delivered */
    {48, 0, 0x80000b0e, 0, false},        /* while #PF is delivered */
    {2, 0, 0, 0, false},                  /* triple fault */
    {7, 0, 0, 0, false},                  /* interrupt window */
    {37, 0, 0, 0, false},                 /* monitor trap flag */
    {43, 0, 0, 0, false},                 /* TPR below threshold */
    {52, 0, 0, 0, false},                 /* preemption timer */
};

START_TEST(the_instruction_length_is_recorded_where_it_is_defined)
{
    const struct vmxsim_exit_context context = {.instruction_length = 7,
                                                .idt_vectoring_info = lengths[_i].vectoring};
    launch();
    ck_assert_int_eq(exit_as((struct vmxsim_outcome){.exit_reason = lengths[_i].reason,
                                                     .interruption_info = lengths[_i].interruption,
                                                     .qualification = lengths[_i].qualification},
                             &context),
                     VMXC_OK);
    ck_assert_uint_eq(VMXSIM_VMCS(after(), VM_EXIT_INSTRUCTION_LENGTH),
                      lengths[_i].has_length ? 7 : 0);
    ck_assert_uint_eq(VMXSIM_VMCS(after(), IDT_VECTORING_INFO), lengths[_i].vectoring);
}
END_TEST

START_TEST(every_information_field_is_recorded)
{
    const struct vmxsim_outcome outcome = {
        .exit_reason = 48,
        .qualification = 0x182,
        .guest_linear = 0xffff800000001234,
        .guest_physical = 0x5678,
        .interruption_info = 0x80000b0e,
        .interruption_error_code = 0x11,
        .instruction_info = 0x12345,
    };
    const struct vmxsim_exit_context context = {.idt_vectoring_info = 0x80000b0d,
                                                .idt_vectoring_error_code = 0x22};
    launch();
    ck_assert_int_eq(exit_as(outcome, &context), VMXC_OK);
    ck_assert_uint_eq(insn_machine_field(&machine, VMXC_VMCS_EXIT_REASON), 48);
    ck_assert_uint_eq(insn_machine_field(&machine, VMXC_VMCS_EXIT_QUALIFICATION), 0x182);
    ck_assert_uint_eq(insn_machine_field(&machine, VMXC_VMCS_GUEST_LINEAR_ADDRESS),
                      0xffff800000001234);
    ck_assert_uint_eq(insn_machine_field(&machine, VMXC_VMCS_GUEST_PHYSICAL_ADDRESS), 0x5678);
    ck_assert_uint_eq(insn_machine_field(&machine, VMXC_VMCS_VM_EXIT_INTERRUPTION_INFO),
                      0x80000b0e);
    ck_assert_uint_eq(insn_machine_field(&machine, VMXC_VMCS_VM_EXIT_INTERRUPTION_ERROR_CODE),
                      0x11);
    ck_assert_uint_eq(insn_machine_field(&machine, VMXC_VMCS_IDT_VECTORING_INFO), 0x80000b0d);
    ck_assert_uint_eq(insn_machine_field(&machine, VMXC_VMCS_IDT_VECTORING_ERROR_CODE), 0x22);
    ck_assert_uint_eq(insn_machine_field(&machine, VMXC_VMCS_VM_EXIT_INSTRUCTION_INFO), 0x12345);
}
END_TEST

/* NMI unblocking due to IRET: bit 12 of the interruption information or of the qualification. */
static const struct {
    struct vmxsim_outcome outcome;
    uint32_t vectoring;
    uint32_t interruption;
    uint64_t qualification;
} unblockings[] = {
    {{.exit_reason = 0, .vector = 14, .interruption_info = 0x80000b0e}, 0, 0x80001b0e, 0},
    {{.exit_reason = 0, .vector = 8, .interruption_info = 0x80000b08}, 0, 0x80000b08, 0}, /* #DF */
    {{.exit_reason = 0, .vector = 2, .interruption_info = 0x80000202}, 0, 0x80000202, 0}, /* NMI */
    {{.exit_reason = 0, .vector = 14, .interruption_info = 0x80000b0e}, 0x80000b0d, 0x80000b0e, 0},
    {{.exit_reason = 48, .qualification = 0x181}, 0, 0, 0x1181},
    {{.exit_reason = 48, .qualification = 0x181}, 0x80000b0d, 0, 0x181},
    {{.exit_reason = 62}, 0, 0, 0x1000},
    {{.exit_reason = 66}, 0, 0, 0x1000},
    {{.exit_reason = 10}, 0, 0, 0},
};

START_TEST(nmi_unblocking_is_reported_with_faults)
{
    const struct vmxsim_exit_context context = {.nmi_unblocking = true,
                                                .idt_vectoring_info = unblockings[_i].vectoring};
    launch();
    ck_assert_int_eq(exit_as(unblockings[_i].outcome, &context), VMXC_OK);
    ck_assert_uint_eq(VMXSIM_VMCS(after(), VM_EXIT_INTERRUPTION_INFO),
                      unblockings[_i].interruption);
    ck_assert_uint_eq(VMXSIM_VMCS(after(), EXIT_QUALIFICATION), unblockings[_i].qualification);
}
END_TEST

/* ---- Round trip ---- */

static void check_guest_area(const struct vmxsim_vmcs *expected)
{
    for (size_t i = 0; i < VMXC_VMCS_FIELD_COUNT; i++) {
        const uint32_t encoding = vmxsim_vmcs_encoding(i);
        if (VMXC_FIELD_GET(encoding, VMXC_VMCS_ENCODING_TYPE) != VMXC_VMCS_TYPE_GUEST ||
            !vmxsim_profile_has_field(machine.profile, encoding))
            continue;
        ck_assert_msg(after()->value[i] == expected->value[i], "%s is 0x%llx, not 0x%llx",
                      vmxsim_vmcs_name(i), (unsigned long long)after()->value[i],
                      (unsigned long long)expected->value[i]);
    }
}

/* Every VM-exit control that saves a register is 1. */
static const uint64_t all_saves = VMXC_BIT(2) | VMXC_BIT(18) | VMXC_BIT(20) | VMXC_BIT(30);

START_TEST(an_exit_gives_back_what_the_entry_took)
{
    const enum base bases[] = {LONG64, PROTECTED, V86, REAL};
    vmcs = valid_vmcs(bases[_i % 4]);
    if (_i >= 4)
        VMXSIM_VMCS(&vmcs, PRIMARY_VM_EXIT_CONTROLS) |= all_saves;
    /* Loaded with what they are saved as: debug controls, IA32_PERF_GLOBAL_CTRL, IA32_PAT, IA32_EFER. */
    VMXSIM_VMCS(&vmcs, VM_ENTRY_CONTROLS) |= VMXC_BIT(2) | VMXC_BITS(15, 13);
    VMXSIM_VMCS(&vmcs, GUEST_IA32_EFER) = bases[_i % 4] == LONG64 ? 0x500 : 0;
    VMXSIM_VMCS(&vmcs, GUEST_DR7) = 0x400;
    launch();
    leave();
    check_guest_area(&vmcs);
}
END_TEST

/*
 * Fields that a VM exit does not give back as they were, each with the section that says so. `entered` is a value that a VM entry
 * accepts, `saved` what the VM exit leaves.
 */
static const struct {
    uint16_t ordinal;
    uint64_t entered, saved;
    uint64_t exit_controls; /* in addition */
} normalised[] = {
    /* "Loading Guest Control Registers, Debug Registers, and MSRs": DR7 bits 12, 14 and 15 are 0, bit 10 is 1. */
    {F(GUEST_DR7), 0xd000, 0x400, VMXC_BIT(2)},
    {F(GUEST_DR7), 0x23ff, 0x27ff, VMXC_BIT(2)},
    /* "Saving Control Registers, Debug Registers, and MSRs": only by control. */
    {F(GUEST_DR7), 0xd000, 0xd000, 0},
    /* "Saving Segment Registers and Descriptor-Table Registers": unusable registers. */
    {F(GUEST_ES_ACCESS_RIGHTS), 0xffffff93, 0x1f093, 0},
    {F(GUEST_LDTR_BASE), 0x8000000000000000, 0, 0},
    /* "Saving Non-Register State". */
    {F(GUEST_PENDING_DEBUG_EXCEPTIONS), 0x1003, 0, 0},
    {F(GUEST_INTERRUPTIBILITY_STATE), 0x8, 0x8, 0},
    {F(GUEST_ACTIVITY_STATE), 1, 1, 0},
    /* CR0.ET cannot be changed. */
    {F(GUEST_CR0), 0x80000021, 0x80000031, 0},
};

/* The model is never in SMM: a guest that was loaded without the checks of VM entry may say so. */
START_TEST(blocking_by_smi_is_not_saved)
{
    struct vmxsim_error error;
    VMXSIM_VMCS(&vmcs, GUEST_INTERRUPTIBILITY_STATE) = 0xc; /* SMI, NMI */
    ck_assert_int_eq(vmxsim_cpu_load_guest(machine.cpu, &vmcs, &error), VMXC_OK);
    leave();
    ck_assert_uint_eq(VMXSIM_VMCS(after(), GUEST_INTERRUPTIBILITY_STATE), 0x8);
}
END_TEST

/* PDPTEs are registers: a guest that loads others leaves those behind. */
START_TEST(pdptes_of_the_guest_are_saved_with_ept)
{
    struct vmxsim_outcome outcome;
    vmcs = valid_vmcs(PROTECTED);
    VMXSIM_VMCS(&vmcs, GUEST_CR4) |= VMXC_CR4_PAE;
    VMXSIM_VMCS(&vmcs, PRIMARY_PROCESSOR_BASED_CONTROLS) |= VMXC_BIT(31);
    VMXSIM_VMCS(&vmcs, SECONDARY_PROCESSOR_BASED_CONTROLS) |= VMXC_BIT(1); /* EPT */
    VMXSIM_VMCS(&vmcs, EPT_POINTER) = 0x30000 | 0x1e;
    vmxsim_memory_write64(machine.memory, 0x30000, 0x31007);
    vmxsim_memory_write64(machine.memory, 0x31000, 0xb7); /* the first GByte is itself */
    for (unsigned i = 0; i < 4; i++)
        vmxsim_memory_write64(machine.memory, PDPT + 8 * i, 0x1001 + 0x1000 * i);
    launch();
    ck_assert_int_eq(vmxsim_guest_mov_to_cr(machine.cpu, 3, 0, PDPT, &outcome), VMXC_OK);
    ck_assert_int_eq(outcome.kind, VMXSIM_OUTCOME_COMPLETE);
    leave();
    for (unsigned i = 0; i < 4; i++)
        ck_assert_uint_eq(after()->value[F(GUEST_PDPTE0) + i], 0x1001 + 0x1000 * i);
}
END_TEST

/* Bases of unusable registers: the manual promises zeros in bits 63:32 of SS, DS and ES, and nothing of FS and GS. */
static const struct {
    uint16_t rights, base;
    uint64_t entered, saved;
} unusable[] = {
    {F(GUEST_ES_ACCESS_RIGHTS), F(GUEST_ES_BASE), 0x123456789abc, 0x56789abc},
    {F(GUEST_SS_ACCESS_RIGHTS), F(GUEST_SS_BASE), 0x123456789abc, 0x56789abc},
    {F(GUEST_DS_ACCESS_RIGHTS), F(GUEST_DS_BASE), 0x123456789abc, 0x56789abc},
    {F(GUEST_FS_ACCESS_RIGHTS), F(GUEST_FS_BASE), 0x123456789abc, 0x123456789abc},
    {F(GUEST_GS_ACCESS_RIGHTS), F(GUEST_GS_BASE), 0x123456789abc, 0x123456789abc},
    {F(GUEST_LDTR_ACCESS_RIGHTS), F(GUEST_LDTR_BASE), 0x1ff456789abcdef0, 0xfff456789abcdef0},
    {F(GUEST_LDTR_ACCESS_RIGHTS), F(GUEST_LDTR_BASE), 0x1ee456789abcdef0, 0x00e456789abcdef0},
};

START_TEST(bases_of_unusable_registers_come_back_as_promised)
{
    vmcs.value[unusable[_i].rights] = 0x10000;
    vmcs.value[unusable[_i].base] = unusable[_i].entered;
    launch();
    leave();
    vmcs.value[unusable[_i].base] = unusable[_i].saved;
    check_guest_area(&vmcs);
}
END_TEST

START_TEST(some_fields_come_back_normalised)
{
    vmcs.value[normalised[_i].ordinal] = normalised[_i].entered;
    VMXSIM_VMCS(&vmcs, VM_ENTRY_CONTROLS) |= VMXC_BIT(2);
    VMXSIM_VMCS(&vmcs, PRIMARY_VM_EXIT_CONTROLS) |= normalised[_i].exit_controls;
    launch();
    leave();
    vmcs.value[normalised[_i].ordinal] = normalised[_i].saved;
    check_guest_area(&vmcs);
}
END_TEST

START_TEST(msrs_that_entries_load_are_saved_by_their_controls)
{
    VMXSIM_VMCS(&vmcs, VM_ENTRY_CONTROLS) |= VMXC_BIT(14); /* load IA32_PAT */
    VMXSIM_VMCS(&vmcs, GUEST_IA32_PAT) = 0x0606060606060606;
    VMXSIM_VMCS(&vmcs, GUEST_SYSENTER_CS) = 0x77;
    launch();
    leave();
    check_guest_area(&vmcs);
}
END_TEST

/* RFLAGS.RF before and after, by exit. */
static const struct {
    uint16_t reason;
    uint8_t vector;
    uint32_t interruption, vectoring;
    bool before, saved;
} rf[] = {
    {10, 0, 0, 0, true, false}, /* CPUID: an instruction */
    {10, 0, 0, 0, false, false},
    {1, 0, 0, 0, true, true}, /* external interrupt */
    {1, 0, 0, 0, false, false},
    {0, 14, 0x80000b0e, 0, false, true},  /* #PF: a fault */
    {0, 1, 0x80000301, 0, false, false},  /* #DB */
    {0, 18, 0x80000312, 0, false, false}, /* #MC */
    {0, 3, 0x80000603, 0, false, false},  /* INT3 */
    {0, 2, 0x80000202, 0, true, true},    /* NMI */
    {48, 0, 0, 0, false, true},           /* EPT violation */
    {48, 0, 0, 0x80000020, false, false}, /* during the delivery of an interrupt */
    {37, 0, 0, 0, true, true},            /* monitor trap flag */
};

START_TEST(rf_is_saved_as_the_kind_of_exit_demands)
{
    const struct vmxsim_exit_context context = {.idt_vectoring_info = rf[_i].vectoring};
    VMXSIM_VMCS(&vmcs, GUEST_RFLAGS) = 2 | (rf[_i].before ? VMXC_RFLAGS_RF : 0);
    launch();
    ck_assert_int_eq(exit_as((struct vmxsim_outcome){.exit_reason = rf[_i].reason,
                                                     .vector = rf[_i].vector,
                                                     .interruption_info = rf[_i].interruption},
                             &context),
                     VMXC_OK);
    ck_assert_uint_eq(VMXSIM_VMCS(after(), GUEST_RFLAGS), 2 | (rf[_i].saved ? 0x10000 : 0));
}
END_TEST

/* Pending debug exceptions stay for exits that are not faults, and under blocking by MOV SS. */
static const struct {
    uint16_t reason;
    uint8_t vector;
    uint64_t interruptibility;
    bool kept;
} pending_debug[] = {
    {10, 0, 0, false}, {3, 0, 0, true},  {37, 0, 0, true}, {43, 0, 0, true},
    {1, 0, 0, false},  {10, 0, 2, true}, {0, 1, 2, false}, {0, 18, 0, true},
};

START_TEST(pending_debug_exceptions_are_kept_by_few_exits)
{
    VMXSIM_VMCS(&vmcs, GUEST_PENDING_DEBUG_EXCEPTIONS) = 0x1001;
    VMXSIM_VMCS(&vmcs, GUEST_INTERRUPTIBILITY_STATE) = pending_debug[_i].interruptibility;
    launch();
    ck_assert_int_eq(exit_as((struct vmxsim_outcome){.exit_reason = pending_debug[_i].reason,
                                                     .vector = pending_debug[_i].vector},
                             NULL),
                     VMXC_OK);
    ck_assert_uint_eq(VMXSIM_VMCS(after(), GUEST_PENDING_DEBUG_EXCEPTIONS),
                      pending_debug[_i].kept ? 0x1001 : 0);
}
END_TEST

START_TEST(the_preemption_timer_is_saved_by_its_control)
{
    VMXSIM_VMCS(&vmcs, PIN_BASED_CONTROLS) |= VMXC_BIT(6);
    VMXSIM_VMCS(&vmcs, PRIMARY_VM_EXIT_CONTROLS) |= _i ? VMXC_BIT(22) : 0;
    VMXSIM_VMCS(&vmcs, PREEMPTION_TIMER_VALUE) = 100;
    launch();
    ck_assert_int_eq(vmxsim_guest_advance_timer(machine.cpu, 30), VMXC_OK);
    leave();
    ck_assert_uint_eq(VMXSIM_VMCS(after(), PREEMPTION_TIMER_VALUE), _i ? 70 : 100);
}
END_TEST

START_TEST(an_injected_event_is_not_injected_again)
{
    VMXSIM_VMCS(&vmcs, VM_ENTRY_INTERRUPTION_INFO) = 0x80000020;
    VMXSIM_VMCS(&vmcs, GUEST_RFLAGS) = 0x202;
    launch();
    leave();
    ck_assert_uint_eq(VMXSIM_VMCS(after(), VM_ENTRY_INTERRUPTION_INFO), 0x20);
}
END_TEST

/* "IA-32e mode guest" follows the guest, on processors that save it (IA32_VMX_MISC, bit 5). */
START_TEST(the_mode_of_the_guest_is_saved)
{
    const struct msr_change never = {.msr = 0x485, .clear = VMXC_BIT(5)};
    const bool saves = _i & 1, enters = _i & 2;
    struct vmxsim_outcome outcome;
    tear_down();
    insn_machine_init(&machine, "everything", saves ? NULL : &never);
    vmcs = valid_vmcs(enters ? PROTECTED : LONG64);
    VMXSIM_VMCS(&vmcs, PRIMARY_PROCESSOR_BASED_CONTROLS) |= VMXC_BIT(31);
    VMXSIM_VMCS(&vmcs, SECONDARY_PROCESSOR_BASED_CONTROLS) |=
        VMXC_BIT(1) | VMXC_BIT(7); /* EPT, unrestricted guest */
    VMXSIM_VMCS(&vmcs, EPT_POINTER) = 0x30000 | 0x1e;
    VMXSIM_VMCS(&vmcs, VM_ENTRY_CONTROLS) |= VMXC_BIT(15); /* load IA32_EFER */
    VMXSIM_VMCS(&vmcs, GUEST_IA32_EFER) = enters ? 0 : 0x500;
    VMXSIM_VMCS(&vmcs, GUEST_CS_ACCESS_RIGHTS) = 0xc09b;
    if (enters) { /* paging is off, LME is 1: turning it on is all that lacks */
        VMXSIM_VMCS(&vmcs, GUEST_CR0) &= ~VMXC_CR0_PG;
        VMXSIM_VMCS(&vmcs, GUEST_CR4) |= VMXC_CR4_PAE;
        VMXSIM_VMCS(&vmcs, GUEST_IA32_EFER) = 0x100;
    }
    VMXSIM_VMCS(&vmcs, CR0_GUEST_HOST_MASK) = 0;
    launch();
    const uint64_t cr0 = VMXSIM_VMCS(&vmcs, GUEST_CR0);
    ck_assert_int_eq(vmxsim_guest_mov_to_cr(machine.cpu, 0, 0, cr0 ^ VMXC_CR0_PG, &outcome),
                     VMXC_OK);
    ck_assert_int_eq(outcome.kind, VMXSIM_OUTCOME_COMPLETE);
    leave();
    const uint64_t before = VMXSIM_VMCS(&vmcs, VM_ENTRY_CONTROLS);
    const uint64_t after_exit = VMXSIM_VMCS(after(), VM_ENTRY_CONTROLS);
    ck_assert_uint_eq(after_exit, saves ? before ^ VMXC_BIT(9) : before);
}
END_TEST

/* ---- Host state ---- */

START_TEST(the_host_gets_its_registers)
{
    const struct vmxsim_host_state *host = vmxsim_cpu_host_state(machine.cpu);
    VMXSIM_VMCS(&vmcs, HOST_RIP) = 0x123000;
    VMXSIM_VMCS(&vmcs, HOST_RSP) = 0x456000;
    VMXSIM_VMCS(&vmcs, HOST_CR3) = 0x9000;
    VMXSIM_VMCS(&vmcs, HOST_FS_BASE) = 0x1111;
    VMXSIM_VMCS(&vmcs, HOST_TR_BASE) = 0x2222;
    VMXSIM_VMCS(&vmcs, HOST_GDTR_BASE) = 0x3333;
    VMXSIM_VMCS(&vmcs, HOST_IDTR_BASE) = 0x4444;
    VMXSIM_VMCS(&vmcs, HOST_DS_SELECTOR) = 0;
    VMXSIM_VMCS(&vmcs, HOST_FS_SELECTOR) = 0x28;
    launch();
    leave();
    ck_assert_int_eq(vmxsim_cpu_vmx_state(machine.cpu).mode, VMXSIM_VMX_ROOT);
    ck_assert_uint_eq(host->rip, 0x123000);
    ck_assert_uint_eq(host->rsp, 0x456000);
    ck_assert_uint_eq(host->cr3, 0x9000);
    ck_assert_uint_eq(host->dr7, 0x400);
    ck_assert_uint_eq(host->gdtr_base, 0x3333);
    ck_assert_uint_eq(host->gdtr_limit, 0xffff);
    ck_assert_uint_eq(host->idtr_base, 0x4444);
    ck_assert_uint_eq(host->idtr_limit, 0xffff);
    ck_assert_uint_eq(host->segment[VMXSIM_CS].access_rights, 0xa09b);
    ck_assert_uint_eq(host->segment[VMXSIM_CS].limit, 0xffffffff);
    ck_assert_uint_eq(host->segment[VMXSIM_DS].access_rights, 0x10000);
    for (int segment = VMXSIM_ES; segment <= VMXSIM_DS; segment++)
        ck_assert_uint_eq(host->segment[segment].base, 0);
    ck_assert_uint_eq(host->segment[VMXSIM_FS].access_rights, 0xc093);
    ck_assert_uint_eq(host->segment[VMXSIM_FS].base, 0x1111);
    ck_assert_uint_eq(host->segment[VMXSIM_TR].access_rights, 0x8b);
    ck_assert_uint_eq(host->segment[VMXSIM_TR].limit, 0x67);
    ck_assert_uint_eq(host->segment[VMXSIM_TR].base, 0x2222);
    ck_assert_uint_eq(host->segment[VMXSIM_LDTR].access_rights, 0x10000);
    ck_assert_uint_eq(vmxsim_cpu_rflags(machine.cpu), 2);
}
END_TEST

START_TEST(the_host_keeps_the_cache_bits_of_cr0)
{
    VMXSIM_VMCS(&vmcs, HOST_CR0) = 0x80000021; /* ET is 0 in the field */
    launch();
    leave();
    ck_assert_uint_eq(vmxsim_cpu_root_state(machine.cpu).cr0, 0x80000031);
    ck_assert_uint_eq(vmxsim_cpu_root_state(machine.cpu).efer & 0x500, 0x500);
}
END_TEST

/* Without "load IA32_EFER" the host's mode decides about LMA and LME. */
START_TEST(a_64_bit_host_is_in_ia32e_mode_after_any_guest)
{
    vmcs = valid_vmcs(PROTECTED);
    launch();
    leave();
    ck_assert_uint_eq(vmxsim_cpu_root_state(machine.cpu).efer & 0x500, 0x500);
}
END_TEST

START_TEST(efer_and_the_shadow_stack_are_loaded_by_their_controls)
{
    VMXSIM_VMCS(&vmcs, PRIMARY_VM_EXIT_CONTROLS) |= _i ? VMXC_BIT(21) | VMXC_BIT(28) : 0;
    VMXSIM_VMCS(&vmcs, HOST_IA32_EFER) = 0xd01;
    VMXSIM_VMCS(&vmcs, HOST_CR0) |= VMXC_CR0_WP;
    VMXSIM_VMCS(&vmcs, HOST_SSP) = 0x7000;
    launch();
    leave();
    ck_assert_uint_eq(vmxsim_cpu_root_state(machine.cpu).efer, _i ? 0xd01 : 0x500);
    ck_assert_uint_eq(vmxsim_cpu_host_state(machine.cpu)->ssp, _i ? 0x7000 : 0);
}
END_TEST

START_TEST(the_host_can_be_entered_again)
{
    launch();
    leave();
    EXECUTE(&machine, vmresume, NULL);
    ck_assert_int_eq(machine.result.kind, VMXSIM_INSN_ENTERED);
}
END_TEST

/* ---- MSR areas ---- */

static void add_msr(uint64_t area, unsigned slot, uint64_t head, uint64_t value)
{
    vmxsim_memory_write64(machine.memory, area + 16 * slot, head);
    vmxsim_memory_write64(machine.memory, area + 16 * slot + 8, value);
}

START_TEST(msrs_are_stored_before_and_loaded_after_the_host_state)
{
    uint64_t sysenter = 0;
    VMXSIM_VMCS(&vmcs, GUEST_SYSENTER_EIP) = 0x1000;
    VMXSIM_VMCS(&vmcs, HOST_SYSENTER_EIP) = 0x2000;
    VMXSIM_VMCS(&vmcs, VM_EXIT_MSR_STORE_ADDRESS) = STORE_AREA;
    VMXSIM_VMCS(&vmcs, VM_EXIT_MSR_STORE_COUNT) = 1;
    VMXSIM_VMCS(&vmcs, VM_EXIT_MSR_LOAD_ADDRESS) = LOAD_AREA;
    VMXSIM_VMCS(&vmcs, VM_EXIT_MSR_LOAD_COUNT) = 1;
    add_msr(STORE_AREA, 0, 0x176, 0);
    add_msr(LOAD_AREA, 0, 0x176, 0x3000);
    launch();
    leave();
    ck_assert_uint_eq(vmxsim_memory_read64(machine.memory, STORE_AREA + 8), 0x1000);
    EXECUTE(&machine, rdmsr, 0x176);
    sysenter = machine.result.value;
    ck_assert_uint_eq(sysenter, 0x3000);
}
END_TEST

/* ---- VMX aborts ---- */

static void expect_abort(enum vmxc_vmx_abort indicator)
{
    ck_assert_int_eq(abort_indicator, indicator);
    ck_assert_uint_eq(vmxsim_memory_read32(machine.memory, REGION_A + 4), indicator);
    ck_assert(vmxsim_cpu_vmx_state(machine.cpu).aborted);
    ck_assert_int_eq(exit_as((struct vmxsim_outcome){.exit_reason = 1}, NULL), VMXC_BAD_STATE);
}

/* Reserved bits in the entry; an x2APIC register; an MSR that does not exist; IA32_SMBASE. */
static const uint64_t bad_stores[] = {0x100000176, 0x808, 0xdead, 0x9e};

START_TEST(an_msr_that_cannot_be_stored_aborts)
{
    VMXSIM_VMCS(&vmcs, VM_EXIT_MSR_STORE_ADDRESS) = STORE_AREA;
    VMXSIM_VMCS(&vmcs, VM_EXIT_MSR_STORE_COUNT) = 2;
    add_msr(STORE_AREA, 0, 0x176, 0);
    add_msr(STORE_AREA, 1, bad_stores[_i], 0);
    launch();
    leave();
    expect_abort(VMXC_VMX_ABORT_SAVING_MSRS);
}
END_TEST

/* That the processor has the MSR does not help: first and last x2APIC register, IA32_SMBASE. */
static const uint32_t never_stored[] = {0x800, 0x8ff, 0x9e};

START_TEST(some_msrs_are_never_stored)
{
    const struct msr_change listed = {.msr = never_stored[_i], .set = 0x10};
    tear_down();
    insn_machine_init(&machine, "everything", &listed);
    VMXSIM_VMCS(&vmcs, VM_EXIT_MSR_STORE_ADDRESS) = STORE_AREA;
    VMXSIM_VMCS(&vmcs, VM_EXIT_MSR_STORE_COUNT) = 1;
    add_msr(STORE_AREA, 0, listed.msr, 0);
    launch();
    leave();
    expect_abort(VMXC_VMX_ABORT_SAVING_MSRS);
    ck_assert_uint_eq(vmxsim_memory_read64(machine.memory, STORE_AREA + 8), 0);
}
END_TEST

START_TEST(x2apic_registers_are_never_loaded)
{
    const struct msr_change listed = {.msr = _i ? 0x8ff : 0x800};
    tear_down();
    insn_machine_init(&machine, "everything", &listed);
    VMXSIM_VMCS(&vmcs, VM_EXIT_MSR_LOAD_ADDRESS) = LOAD_AREA;
    VMXSIM_VMCS(&vmcs, VM_EXIT_MSR_LOAD_COUNT) = 1;
    add_msr(LOAD_AREA, 0, listed.msr, 0);
    launch();
    leave();
    expect_abort(VMXC_VMX_ABORT_LOADING_MSRS);
}
END_TEST

/* ... FS and GS base, which VM exits load by other means; a value that is not canonical. */
static const struct {
    uint64_t head, value;
} bad_loads[] = {{0x100000176, 0}, {0x808, 0},      {0xdead, 0},
                 {0xc0000100, 0},  {0xc0000101, 0}, {0x176, 0x8000000000000000}};

START_TEST(an_msr_that_cannot_be_loaded_aborts)
{
    VMXSIM_VMCS(&vmcs, VM_EXIT_MSR_LOAD_ADDRESS) = LOAD_AREA;
    VMXSIM_VMCS(&vmcs, VM_EXIT_MSR_LOAD_COUNT) = 1;
    add_msr(LOAD_AREA, 0, bad_loads[_i].head, bad_loads[_i].value);
    launch();
    leave();
    expect_abort(VMXC_VMX_ABORT_LOADING_MSRS);
}
END_TEST

/* ---- A guest that was loaded without VMLAUNCH ---- */

static void load_32bit_host(uint64_t pdpte)
{
    struct vmxsim_error error;
    vmcs = valid_vmcs(PROTECTED);
    VMXSIM_VMCS(&vmcs, PRIMARY_VM_EXIT_CONTROLS) &= ~VMXC_BIT(9);
    VMXSIM_VMCS(&vmcs, HOST_CR4) = 0x2020;
    VMXSIM_VMCS(&vmcs, HOST_CR3) = PDPT + 0x38; /* 32 bytes behind PDPT, and cache bits */
    for (unsigned i = 0; i < 3; i++)
        vmxsim_memory_write64(machine.memory, PDPT + 0x20 + 8 * i, 0x1001 + 0x1000 * i);
    vmxsim_memory_write64(machine.memory, PDPT + 0x20 + 24, pdpte);
    ck_assert_int_eq(vmxsim_cpu_load_guest(machine.cpu, &vmcs, &error), VMXC_OK);
}

START_TEST(a_host_with_pae_paging_gets_its_pdptes)
{
    load_32bit_host(0x5001);
    leave();
    ck_assert_int_eq(abort_indicator, VMXC_VMX_ABORT_NONE);
    for (unsigned i = 0; i < 3; i++)
        ck_assert_uint_eq(vmxsim_cpu_host_state(machine.cpu)->pdpte[i], 0x1001 + 0x1000 * i);
    ck_assert_uint_eq(vmxsim_cpu_host_state(machine.cpu)->pdpte[3], 0x5001);
    ck_assert_uint_eq(vmxsim_cpu_host_state(machine.cpu)->segment[VMXSIM_CS].access_rights, 0xc09b);
    ck_assert_uint_eq(vmxsim_cpu_root_state(machine.cpu).efer & 0x500, 0);
}
END_TEST

/* Bits 2:1, 8:5, and those beyond the physical-address width. */
static const uint64_t bad_pdptes[] = {0x5003, 0x5005, 0x5021, 0x5101, 0x8000000000005001};

START_TEST(a_bad_host_pdpte_aborts)
{
    load_32bit_host(bad_pdptes[_i]);
    leave();
    ck_assert_int_eq(abort_indicator, VMXC_VMX_ABORT_HOST_PDPTES);
    ck_assert(vmxsim_cpu_vmx_state(machine.cpu).aborted);
}
END_TEST

START_TEST(a_guest_in_ia32e_mode_cannot_exit_to_a_32_bit_host)
{
    struct vmxsim_error error;
    VMXSIM_VMCS(&vmcs, PRIMARY_VM_EXIT_CONTROLS) &= ~VMXC_BIT(9);
    ck_assert_int_eq(vmxsim_cpu_load_guest(machine.cpu, &vmcs, &error), VMXC_OK);
    leave();
    ck_assert_int_eq(abort_indicator, VMXC_VMX_ABORT_HOST_ADDRESS_SPACE);
}
END_TEST

START_TEST(controls_that_are_not_modelled_are_refused)
{
    struct vmxsim_error error;
    VMXSIM_VMCS(&vmcs, PRIMARY_VM_EXIT_CONTROLS) |= VMXC_BIT(31);
    VMXSIM_VMCS(&vmcs, SECONDARY_VM_EXIT_CONTROLS) = 1;
    ck_assert_int_eq(vmxsim_cpu_load_guest(machine.cpu, &vmcs, &error), VMXC_OK);
    ck_assert_int_eq(exit_as((struct vmxsim_outcome){.exit_reason = 1}, NULL), VMXC_UNSUPPORTED);
}
END_TEST

/* From a guest action to the host: MOV to CR0 is decided, performed and visible. */
/* A guest that was entered with something that accesses do not model cannot access anything. */
START_TEST(accesses_of_a_guest_that_is_not_modelled_are_refused)
{
    const struct vmxsim_access access = {.type = VMXSIM_ACCESS_READ, .linear = 0x1000, .size = 1};
    struct vmxsim_outcome outcome;
    vmcs = valid_vmcs(REAL);
    VMXSIM_VMCS(&vmcs, GUEST_CR4) |= VMXC_CR4_LASS;
    launch();
    ck_assert_int_eq(vmxsim_guest_access(machine.cpu, &access, &outcome, NULL), VMXC_UNSUPPORTED);
    ck_assert_int_eq(
        vmxsim_guest_physical_access(machine.cpu, 0x1000, VMXC_EPT_READ, &outcome, NULL),
        VMXC_UNSUPPORTED);
}
END_TEST

START_TEST(controls_that_are_not_activated_do_not_count)
{
    VMXSIM_VMCS(&vmcs, PRIMARY_VM_EXIT_CONTROLS) &= ~VMXC_BIT(31);
    VMXSIM_VMCS(&vmcs, SECONDARY_VM_EXIT_CONTROLS) = VMXC_BIT(0);
    launch();
    leave();
    ck_assert_int_eq(vmxsim_cpu_vmx_state(machine.cpu).mode, VMXSIM_VMX_ROOT);
}
END_TEST

START_TEST(an_action_can_be_decided_and_then_performed)
{
    const struct vmxsim_exit_context context = {.instruction_length = 3};
    struct vmxsim_outcome outcome;
    VMXSIM_VMCS(&vmcs, CR0_GUEST_HOST_MASK) = VMXC_CR0_TS;
    launch();
    ck_assert_int_eq(vmxsim_guest_mov_to_cr(machine.cpu, 0, 3, 0x80000039, &outcome), VMXC_OK);
    ck_assert_int_eq(vmxsim_vm_exit(machine.cpu, &outcome, &context, &abort_indicator), VMXC_OK);
    ck_assert_uint_eq(insn_machine_field(&machine, VMXC_VMCS_EXIT_REASON), 28);
    ck_assert_uint_eq(insn_machine_field(&machine, VMXC_VMCS_EXIT_QUALIFICATION), 0x300);
    ck_assert_uint_eq(insn_machine_field(&machine, VMXC_VMCS_VM_EXIT_INSTRUCTION_LENGTH), 3);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("exit");
    TCase *refusals = suite_case(suite, "refusals", set_up, tear_down);
    TCase *information = suite_case(suite, "information", set_up, tear_down);
    TCase *saving = suite_case(suite, "saving", set_up, tear_down);
    TCase *loading = suite_case(suite, "loading", set_up, tear_down);
    TCase *aborts = suite_case(suite, "aborts", set_up, tear_down);

    tcase_add_test(refusals, there_is_no_exit_from_vmx_root_operation);
    tcase_add_test(refusals, only_vm_exits_exit);
    tcase_add_test(refusals, no_instruction_has_16_bytes);
    tcase_add_test(refusals, a_guest_cannot_be_loaded_over_a_current_vmcs);
    tcase_add_test(refusals, controls_that_are_not_modelled_are_refused);
    tcase_add_test(refusals, controls_that_are_not_activated_do_not_count);
    tcase_add_test(refusals, accesses_of_a_guest_that_is_not_modelled_are_refused);

    tcase_add_loop_test(information, the_instruction_length_is_recorded_where_it_is_defined, 0,
                        COUNT(lengths));
    tcase_add_test(information, every_information_field_is_recorded);
    tcase_add_loop_test(information, nmi_unblocking_is_reported_with_faults, 0, COUNT(unblockings));
    tcase_add_test(information, an_action_can_be_decided_and_then_performed);

    tcase_add_loop_test(saving, an_exit_gives_back_what_the_entry_took, 0, 8);
    tcase_add_loop_test(saving, some_fields_come_back_normalised, 0, COUNT(normalised));
    tcase_add_test(saving, msrs_that_entries_load_are_saved_by_their_controls);
    tcase_add_loop_test(saving, rf_is_saved_as_the_kind_of_exit_demands, 0, COUNT(rf));
    tcase_add_loop_test(saving, pending_debug_exceptions_are_kept_by_few_exits, 0,
                        COUNT(pending_debug));
    tcase_add_loop_test(saving, the_preemption_timer_is_saved_by_its_control, 0, 2);
    tcase_add_test(saving, an_injected_event_is_not_injected_again);
    tcase_add_loop_test(saving, bases_of_unusable_registers_come_back_as_promised, 0,
                        COUNT(unusable));
    tcase_add_loop_test(saving, the_mode_of_the_guest_is_saved, 0, 4);
    tcase_add_test(saving, blocking_by_smi_is_not_saved);
    tcase_add_test(saving, pdptes_of_the_guest_are_saved_with_ept);

    tcase_add_test(loading, the_host_gets_its_registers);
    tcase_add_test(loading, the_host_keeps_the_cache_bits_of_cr0);
    tcase_add_loop_test(loading, efer_and_the_shadow_stack_are_loaded_by_their_controls, 0, 2);
    tcase_add_test(loading, a_64_bit_host_is_in_ia32e_mode_after_any_guest);
    tcase_add_test(loading, the_host_can_be_entered_again);
    tcase_add_test(loading, msrs_are_stored_before_and_loaded_after_the_host_state);
    tcase_add_test(loading, a_host_with_pae_paging_gets_its_pdptes);

    tcase_add_loop_test(aborts, an_msr_that_cannot_be_stored_aborts, 0, COUNT(bad_stores));
    tcase_add_loop_test(aborts, some_msrs_are_never_stored, 0, COUNT(never_stored));
    tcase_add_loop_test(aborts, x2apic_registers_are_never_loaded, 0, 2);
    tcase_add_loop_test(aborts, an_msr_that_cannot_be_loaded_aborts, 0, COUNT(bad_loads));
    tcase_add_loop_test(aborts, a_bad_host_pdpte_aborts, 0, COUNT(bad_pdptes));
    tcase_add_test(aborts, a_guest_in_ia32e_mode_cannot_exit_to_a_32_bit_host);

    return run_suite(suite);
}
