/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The lazy cache of translations: for each event, which cached translations have to go, as the manual says, and that all others
 * stay. An access fills the cache, an entry is changed, the event happens, and the same access shows which entry it was made
 * with.
 *
 *     linear LINEAR --PTE--> gpa PAGE_GPA --EPT PTE--> hpa PAGE_HPA
 *                   `change: gpa OTHER_GPA     `change: hpa OTHER_HPA
 *
 * Source: Intel SDM volume 3, "Operations that Invalidate TLBs and Paging-Structure Caches", "Operations that Invalidate Cached
 * Mappings", "Operations that Need Not Invalidate Cached Mappings".
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "support/entry_edge.h"
#include "support/insn_machine.h"
#include "support/suite.h"
#include "vmxcore/defs/vmcs.h"
#include "vmxsim/exit.h"
#include "vmxsim/explain.h"
#include "vmxsim/guest.h"
#include "vmxsim/hazard.h"
#include "vmxsim/snapshot.h"
#include "vmxsim/tlb.h"

/* EPT: one to one below 32 MBytes, by pages of 2 MBytes but for the 2 MBytes from PAGE_GPA on. */
#define EPT_ROOT   UINT64_C(0x100000)
#define EPT_PDPT   UINT64_C(0x101000)
#define EPT_PD     UINT64_C(0x102000)
#define EPT_PT     UINT64_C(0x103000)
#define OTHER_ROOT UINT64_C(0x110000)
/* Guest tables: one branch. */
#define PML4       UINT64_C(0x200000)
#define PDPT       UINT64_C(0x201000)
#define PD         UINT64_C(0x202000)
#define PT         UINT64_C(0x203000)
#define LINEAR     UINT64_C(0x600000)
#define NEIGHBOUR  UINT64_C(0x601000)
#define PAGE_GPA   UINT64_C(0x800000)
#define OTHER_GPA  UINT64_C(0x801000)
#define PAGE_HPA   PAGE_GPA
#define OTHER_HPA  UINT64_C(0xa00000)
#define BITMAP     UINT64_C(0xc00000) /* MSR bitmaps: nothing exits */

#define EPTP_BITS   (3 << 3 | 6)
#define PTE_HPA     PT
#define EPT_PTE_HPA EPT_PT
#define TABLE       (VMXC_PTE_PRESENT | VMXC_PTE_WRITE | VMXC_PTE_USER)
#define EPT_PAGE    (VMXC_EPT_RWX | 6 << 3)
#define VPID        UINT64_C(1)

static struct insn_machine machine;

static void write64(uint64_t hpa, uint64_t value)
{
    vmxsim_memory_write64(machine.memory, hpa, value);
}

static uint64_t read64(uint64_t hpa)
{
    return vmxsim_memory_read64(machine.memory, hpa);
}

static void write_tables(uint64_t pte, uint64_t ept_pte)
{
    write64(EPT_ROOT, EPT_PDPT | VMXC_EPT_RWX);
    write64(OTHER_ROOT, EPT_PDPT | VMXC_EPT_RWX);
    write64(EPT_PDPT, EPT_PD | VMXC_EPT_RWX);
    for (uint64_t i = 0; i < 16; i++)
        write64(EPT_PD + 8 * i, i << 21 | EPT_PAGE | VMXC_EPT_LARGE_PAGE);
    write64(EPT_PD + 8 * (PAGE_GPA >> 21), EPT_PT | VMXC_EPT_RWX);
    for (uint64_t i = 0; i < 512; i++)
        write64(EPT_PT + 8 * i, (PAGE_GPA + i * VMXC_PAGE_SIZE) | EPT_PAGE);
    write64(EPT_PTE_HPA, ept_pte);
    write64(PML4, PDPT | TABLE);
    write64(PDPT, PD | TABLE);
    write64(PD + 8 * (LINEAR >> 21), PT | TABLE);
    write64(PTE_HPA, pte);
    write64(PTE_HPA + 8, OTHER_GPA | TABLE);
}

/* ---- Guests ---- */

enum {
    WITHOUT_EPT = 1,
    WITHOUT_VPID = 2,
    GLOBAL = 4,
    PCID = 8,
    READ_ONLY = 16,
    ACCESSED_DIRTY = 32,
    GLOBAL_IGNORED = 64, /* G is set, CR4.PGE is not */
};

static uint64_t eptp(unsigned options)
{
    return EPT_ROOT | EPTP_BITS | ((options & ACCESSED_DIRTY) ? VMXC_EPTP_ACCESSED_DIRTY : 0);
}

static struct vmxsim_vmcs guest(unsigned options)
{
    struct vmxsim_vmcs vmcs = valid_vmcs(LONG64);

    VMXSIM_VMCS(&vmcs, PIN_BASED_CONTROLS) |= VMXC_PIN_EXTERNAL_INTERRUPT_EXITING;
    VMXSIM_VMCS(&vmcs, PRIMARY_PROCESSOR_BASED_CONTROLS) &=
        ~(VMXC_PRIMARY_CR3_LOAD_EXITING | VMXC_PRIMARY_CR3_STORE_EXITING);
    VMXSIM_VMCS(&vmcs, PRIMARY_PROCESSOR_BASED_CONTROLS) |=
        VMXC_PRIMARY_ACTIVATE_SECONDARY_CONTROLS | VMXC_PRIMARY_USE_MSR_BITMAPS;
    VMXSIM_VMCS(&vmcs, SECONDARY_PROCESSOR_BASED_CONTROLS) =
        VMXC_SECONDARY_ENABLE_INVPCID | ((options & WITHOUT_EPT) ? 0 : VMXC_SECONDARY_ENABLE_EPT) |
        ((options & WITHOUT_VPID) ? 0 : VMXC_SECONDARY_ENABLE_VPID);
    VMXSIM_VMCS(&vmcs, VPID) = (options & WITHOUT_VPID) ? 0 : VPID;
    VMXSIM_VMCS(&vmcs, EPT_POINTER) = eptp(options);
    VMXSIM_VMCS(&vmcs, MSR_BITMAP_ADDRESS) = BITMAP;
    VMXSIM_VMCS(&vmcs, GUEST_CR0) |= VMXC_CR0_WP;
    VMXSIM_VMCS(&vmcs, GUEST_CR3) = PML4 | ((options & PCID) ? 1 : 0);
    VMXSIM_VMCS(&vmcs, GUEST_CR4) |=
        ((options & GLOBAL) ? VMXC_CR4_PGE : 0) | ((options & PCID) ? VMXC_CR4_PCIDE : 0);
    return vmcs;
}

static void start(unsigned options)
{
    const uint64_t rights = (options & READ_ONLY) ? TABLE & ~VMXC_PTE_WRITE : TABLE;
    const struct vmxsim_vmcs vmcs = guest(options);

    insn_machine_init(&machine, "everything", NULL);
    write_tables(PAGE_GPA | rights | ((options & (GLOBAL | GLOBAL_IGNORED)) ? VMXC_PTE_GLOBAL : 0),
                 PAGE_HPA | ((options & READ_ONLY) ? EPT_PAGE & ~VMXC_EPT_WRITE : EPT_PAGE));
    ck_assert_int_eq(vmxsim_cpu_set_tlb(machine.cpu, VMXSIM_TLB_LAZY), VMXC_OK);
    insn_machine_launch(&machine, &vmcs);
}

static void stop(void)
{
    insn_machine_fini(&machine);
}

static struct vmxsim_outcome access_to(enum vmxsim_access_type type, uint64_t linear,
                                       struct vmxsim_trail *trail)
{
    const struct vmxsim_access access = {.type = type, .linear = linear, .size = 8};
    struct vmxsim_outcome outcome;

    ck_assert_int_eq(vmxsim_guest_access(machine.cpu, &access, &outcome, trail), VMXC_OK);
    return outcome;
}

static uint64_t hpa_of(uint64_t linear)
{
    const struct vmxsim_outcome outcome = access_to(VMXSIM_ACCESS_READ, linear, NULL);

    ck_assert_int_eq(outcome.kind, VMXSIM_OUTCOME_COMPLETE);
    return outcome.page[0].hpa;
}

static void leave(void)
{
    struct vmxsim_outcome outcome;
    enum vmxc_vmx_abort abort;

    ck_assert_int_eq(vmxsim_guest_external_interrupt(machine.cpu, 32, &outcome), VMXC_OK);
    ck_assert_int_eq(vmxsim_vm_exit(machine.cpu, &outcome, NULL, &abort), VMXC_OK);
    ck_assert_int_eq(abort, VMXC_VMX_ABORT_NONE);
}

static void enter(void)
{
    struct vmxsim_entry_report entry;

    EXECUTE(&machine, vmresume, &entry);
    ck_assert_int_eq(machine.result.kind, VMXSIM_INSN_ENTERED);
}

/* ---- Events ---- */

static void nothing(void)
{
}

static void exit_and_entry(void)
{
    leave();
    enter();
}

static void invept(uint64_t type, uint64_t pointer)
{
    const uint64_t descriptor[2] = {pointer, 0};

    leave();
    EXECUTE(&machine, invept, type, descriptor);
    expect_success(&machine);
    enter();
}

static void invept_single(void)
{
    invept(1, EPT_ROOT | EPTP_BITS);
}

static void invept_single_other(void)
{
    invept(1, OTHER_ROOT | EPTP_BITS);
}

static void invept_all(void)
{
    invept(2, 0);
}

static void invvpid(uint64_t type, uint64_t vpid, uint64_t linear)
{
    const uint64_t descriptor[2] = {vpid, linear};

    leave();
    EXECUTE(&machine, invvpid, type, descriptor);
    expect_success(&machine);
    enter();
}

static void invvpid_address(void)
{
    invvpid(0, VPID, LINEAR + 8);
}

static void invvpid_address_other(void)
{
    invvpid(0, VPID, NEIGHBOUR);
}

static void invvpid_address_other_vpid(void)
{
    invvpid(0, VPID + 1, LINEAR);
}

static void invvpid_single(void)
{
    invvpid(1, VPID, 0);
}

static void invvpid_single_other(void)
{
    invvpid(1, VPID + 1, 0);
}

static void invvpid_all(void)
{
    invvpid(2, 0, 0);
}

static void invvpid_retaining_globals(void)
{
    invvpid(3, VPID, 0);
}

static void hal_invalidate(void)
{
    const struct vmxc_hal *const hal = vmxsim_memory_hal(machine.memory);

    hal->invalidate_ept(hal->context, EPT_ROOT | EPTP_BITS);
}

static void hal_invalidate_other(void)
{
    const struct vmxc_hal *const hal = vmxsim_memory_hal(machine.memory);

    hal->invalidate_ept(hal->context, OTHER_ROOT | EPTP_BITS);
}

static void invlpg(uint64_t linear)
{
    struct vmxsim_outcome outcome;

    ck_assert_int_eq(vmxsim_guest_invlpg(machine.cpu, linear, &outcome), VMXC_OK);
    ck_assert_int_eq(outcome.kind, VMXSIM_OUTCOME_COMPLETE);
}

static void invlpg_page(void)
{
    invlpg(LINEAR + 0xfff);
}

static void invlpg_neighbour(void)
{
    invlpg(NEIGHBOUR);
}

static void invpcid(void)
{
    const struct vmxsim_operands operands = {.no_index = true, .address_size = 2};
    struct vmxsim_outcome outcome;

    ck_assert_int_eq(
        vmxsim_guest_instruction(machine.cpu, VMXSIM_INSTRUCTION_INVPCID, &operands, &outcome),
        VMXC_OK);
    ck_assert_int_eq(outcome.kind, VMXSIM_OUTCOME_COMPLETE);
}

static void move_to_cr(uint8_t cr, uint64_t value)
{
    struct vmxsim_outcome outcome;

    ck_assert_int_eq(vmxsim_guest_mov_to_cr(machine.cpu, cr, 0, value, &outcome), VMXC_OK);
    ck_assert_int_eq(outcome.kind, VMXSIM_OUTCOME_COMPLETE);
}

static uint64_t field(uint32_t encoding)
{
    uint64_t value = 0;

    ck_assert_int_eq(vmxsim_guest_get(machine.cpu, encoding, &value), VMXC_OK);
    return value;
}

static void move_to_cr3(void)
{
    move_to_cr(3, field(VMXC_VMCS_GUEST_CR3));
}

static void move_to_cr3_keeping(void)
{
    move_to_cr(3, field(VMXC_VMCS_GUEST_CR3) | VMXC_BIT(63));
}

/* Away to another PCID, which is invalidated, and back without invalidation. */
static void visit_another_pcid(void)
{
    move_to_cr(3, PML4 | 2);
    move_to_cr(3, PML4 | 1 | VMXC_BIT(63));
}

static void toggle_cr4(uint64_t bit)
{
    move_to_cr(4, field(VMXC_VMCS_GUEST_CR4) ^ bit);
}

static void toggle_pge(void)
{
    toggle_cr4(VMXC_CR4_PGE);
}

static void set_smep(void)
{
    toggle_cr4(VMXC_CR4_SMEP);
}

/* The page is the user's: SMAP would keep the supervisor from it. */
static void toggle_pke(void)
{
    toggle_cr4(VMXC_CR4_PKE);
}

static void clear_pcide(void)
{
    move_to_cr(3, PML4 | VMXC_BIT(63)); /* PCID 0, in which nothing is cached */
    toggle_cr4(VMXC_CR4_PCIDE);
    toggle_cr4(VMXC_CR4_PCIDE);
    move_to_cr(3, PML4 | 1 | VMXC_BIT(63));
}

static void stay_in_another_pcid(void)
{
    move_to_cr(3, PML4 | 2 | VMXC_BIT(63));
}

static void enter_with(uint32_t encoding, uint64_t value)
{
    leave();
    insn_machine_set_field(&machine, encoding, value);
    enter();
}

static void stay_in_another_vpid(void)
{
    enter_with(VMXC_VMCS_VPID, VPID + 1);
}

static void visit_another_vpid(void)
{
    enter_with(VMXC_VMCS_VPID, VPID + 1);
    enter_with(VMXC_VMCS_VPID, VPID);
}

static void stay_in_another_ept(void)
{
    enter_with(VMXC_VMCS_EPT_POINTER, OTHER_ROOT | EPTP_BITS);
}

static void visit_another_ept(void)
{
    enter_with(VMXC_VMCS_EPT_POINTER, OTHER_ROOT | EPTP_BITS);
    enter_with(VMXC_VMCS_EPT_POINTER, EPT_ROOT | EPTP_BITS);
}

static void toggle_wp(void)
{
    move_to_cr(0, field(VMXC_VMCS_GUEST_CR0) ^ VMXC_CR0_WP);
    move_to_cr(0, field(VMXC_VMCS_GUEST_CR0) ^ VMXC_CR0_WP);
}

/* By what was cached: the page is read-only for both. */
static void fault(void)
{
    const struct vmxsim_outcome outcome = access_to(VMXSIM_ACCESS_WRITE, LINEAR, NULL);

    ck_assert_int_ne(outcome.kind, VMXSIM_OUTCOME_COMPLETE);
}

static void fault_in_neighbour(void)
{
    write64(PTE_HPA + 8, 0);
    ck_assert_int_eq(access_to(VMXSIM_ACCESS_READ, NEIGHBOUR, NULL).kind,
                     VMXSIM_OUTCOME_GUEST_EXCEPTION);
}

static void fill_other_pages(void)
{
    (void)hpa_of(NEIGHBOUR);
}

/* ---- The rules ---- */

enum change { PAGING, EPT };
enum fate { KEPT, DROPPED };

static const struct rule {
    const char *name;
    unsigned options; /* of the guest */
    enum change change;
    void (*event)(void);
    enum fate fate;
} rules[] = {
    {"nothing happens", 0, PAGING, nothing, KEPT},
    {"nothing happens", 0, EPT, nothing, KEPT},
    {"nothing happens, accessed and dirty flags", ACCESSED_DIRTY, EPT, nothing, KEPT},
    {"nothing happens, without EPT", WITHOUT_EPT, PAGING, nothing, KEPT},
    {"accesses to other pages", 0, PAGING, fill_other_pages, KEPT},

    /* INVEPT: guest-physical and combined mappings of the EP4TA; linear mappings need not go. */
    {"INVEPT, single-context", 0, EPT, invept_single, DROPPED},
    {"INVEPT, single-context", 0, PAGING, invept_single, DROPPED},
    {"INVEPT, single-context, another EP4TA", 0, EPT, invept_single_other, KEPT},
    {"INVEPT, all-context", 0, EPT, invept_all, DROPPED},
    {"INVEPT, all-context, linear mappings", WITHOUT_EPT, PAGING, invept_all, KEPT},
    {"HAL, invalidate_ept", 0, EPT, hal_invalidate, DROPPED},
    {"HAL, invalidate_ept of another", 0, EPT, hal_invalidate_other, KEPT},

    /* INVVPID: linear and combined mappings of the VPID; guest-physical mappings need not go. */
    {"INVVPID, individual-address", 0, PAGING, invvpid_address, DROPPED},
    {"INVVPID, individual-address", 0, EPT, invvpid_address, KEPT},
    {"INVVPID, individual-address, without EPT", WITHOUT_EPT, PAGING, invvpid_address, DROPPED},
    {"INVVPID, individual-address, global", GLOBAL, PAGING, invvpid_address, DROPPED},
    {"INVVPID, individual-address, any PCID", PCID, PAGING, invvpid_address, DROPPED},
    {"INVVPID, another address", 0, PAGING, invvpid_address_other, KEPT},
    {"INVVPID, address of another VPID", 0, PAGING, invvpid_address_other_vpid, KEPT},
    {"INVVPID, single-context", 0, PAGING, invvpid_single, DROPPED},
    {"INVVPID, single-context", 0, EPT, invvpid_single, KEPT},
    {"INVVPID, single-context, global", GLOBAL, PAGING, invvpid_single, DROPPED},
    {"INVVPID, another VPID", 0, PAGING, invvpid_single_other, KEPT},
    {"INVVPID, all-context", 0, PAGING, invvpid_all, DROPPED},
    {"INVVPID, all-context", 0, EPT, invvpid_all, KEPT},
    {"INVVPID, retaining globals", 0, PAGING, invvpid_retaining_globals, DROPPED},
    {"INVVPID, retaining globals, global", GLOBAL, PAGING, invvpid_retaining_globals, KEPT},

    /* VMX transitions: VPID 0000H, but no guest-physical mapping. */
    {"VM exit and entry, VPID", 0, PAGING, exit_and_entry, KEPT},
    {"VM exit and entry, VPID", 0, EPT, exit_and_entry, KEPT},
    {"VM exit and entry, no VPID", WITHOUT_VPID, PAGING, exit_and_entry, DROPPED},
    {"VM exit and entry, no VPID, global", WITHOUT_VPID | GLOBAL, PAGING, exit_and_entry, DROPPED},
    {"VM exit and entry, no VPID", WITHOUT_VPID, EPT, exit_and_entry, KEPT},
    {"VM exit and entry, neither", WITHOUT_VPID | WITHOUT_EPT, PAGING, exit_and_entry, DROPPED},

    /* What guests do: mappings of their VPID; guest-physical mappings need not go. */
    {"INVLPG", 0, PAGING, invlpg_page, DROPPED},
    {"INVLPG", 0, EPT, invlpg_page, KEPT},
    {"INVLPG, global", GLOBAL, PAGING, invlpg_page, DROPPED},
    {"INVLPG, without EPT", WITHOUT_EPT, PAGING, invlpg_page, DROPPED},
    {"INVLPG, another page", 0, PAGING, invlpg_neighbour, KEPT},
    {"INVPCID", 0, PAGING, invpcid, DROPPED},
    {"INVPCID", 0, EPT, invpcid, KEPT},
    {"MOV to CR3", 0, PAGING, move_to_cr3, DROPPED},
    {"MOV to CR3", 0, EPT, move_to_cr3, KEPT},
    {"MOV to CR3, global", GLOBAL, PAGING, move_to_cr3, KEPT},
    {"MOV to CR3, PCID", PCID, PAGING, move_to_cr3, DROPPED},
    {"MOV to CR3, PCID, bit 63", PCID, PAGING, move_to_cr3_keeping, KEPT},
    {"MOV to CR3, another PCID", PCID, PAGING, visit_another_pcid, KEPT},
    {"MOV to CR4, PGE", GLOBAL, PAGING, toggle_pge, DROPPED},
    {"MOV to CR4, PGE", 0, PAGING, toggle_pge, DROPPED},
    {"MOV to CR4, PGE", 0, EPT, toggle_pge, KEPT},
    {"MOV to CR4, SMEP from 0 to 1", 0, PAGING, set_smep, DROPPED},
    {"MOV to CR4, PCIDE from 1 to 0", PCID, PAGING, clear_pcide, DROPPED},
    {"MOV to CR4, other bits", 0, PAGING, toggle_pke, KEPT},
    {"MOV to CR0, other bits", 0, PAGING, toggle_wp, KEPT},
    {"MOV to CR3, G without CR4.PGE", GLOBAL_IGNORED, PAGING, move_to_cr3, DROPPED},

    /* What is tagged otherwise is not used, and is there again afterwards. */
    {"another PCID", PCID, PAGING, stay_in_another_pcid, DROPPED},
    {"another PCID, global", PCID | GLOBAL, PAGING, stay_in_another_pcid, KEPT},
    {"another VPID", 0, PAGING, stay_in_another_vpid, DROPPED},
    {"another VPID, guest-physical mappings", 0, EPT, stay_in_another_vpid, KEPT},
    {"another VPID, global", GLOBAL, PAGING, stay_in_another_vpid, DROPPED},
    {"another VPID and back", 0, PAGING, visit_another_vpid, KEPT},
    {"another EP4TA", 0, EPT, stay_in_another_ept, DROPPED},
    {"another EP4TA and back", 0, EPT, visit_another_ept, KEPT},

    /* Faults: the address that faulted. */
    {"page fault", READ_ONLY, PAGING, fault, DROPPED},
    {"page fault", READ_ONLY, EPT, fault, KEPT},
    {"page fault elsewhere", 0, PAGING, fault_in_neighbour, KEPT},
};

static void change(enum change what)
{
    if (what == PAGING)
        write64(PTE_HPA, (read64(PTE_HPA) & ~VMXC_PTE_ADDRESS) | OTHER_GPA);
    else
        write64(EPT_PTE_HPA, (read64(EPT_PTE_HPA) & ~VMXC_EPT_ADDRESS) | OTHER_HPA);
}

START_TEST(an_event_drops_what_it_has_to_and_no_more)
{
    const struct rule *const rule = &rules[_i];
    const uint64_t changed = rule->change == PAGING ? OTHER_GPA : OTHER_HPA;

    start(rule->options);
    ck_assert_uint_eq(hpa_of(LINEAR), PAGE_HPA);
    change(rule->change);
    rule->event();
    vmxsim_hazards_forget(machine.memory);
    const uint64_t hpa = hpa_of(LINEAR);
    ck_assert_msg(hpa == (rule->fate == KEPT ? PAGE_HPA : changed), "%s, %s: 0x%llx", rule->name,
                  rule->change == PAGING ? "PTE" : "EPT PTE", (unsigned long long)hpa);
    /* Each use of what should not be used any more is a hazard, and nothing else is. */
    ck_assert_uint_eq(vmxsim_hazard_count(machine.memory), rule->fate == KEPT);
    stop();
}
END_TEST

START_TEST(the_exact_cache_is_never_stale)
{
    const struct rule *const rule = &rules[_i];

    start(rule->options);
    ck_assert_int_eq(vmxsim_cpu_set_tlb(machine.cpu, VMXSIM_TLB_EXACT), VMXC_OK);
    ck_assert_uint_eq(hpa_of(LINEAR), PAGE_HPA);
    ck_assert_uint_eq(hpa_of(LINEAR), PAGE_HPA);
    ck_assert_uint_eq(vmxsim_cpu_tlb_stats(machine.cpu).walks, 1);
    change(rule->change);
    rule->event();
    ck_assert_uint_eq(hpa_of(LINEAR), rule->change == PAGING ? OTHER_GPA : OTHER_HPA);
    ck_assert_uint_eq(vmxsim_hazard_count(machine.memory), 0);
    stop();
}
END_TEST

/* ---- What is reported ---- */

START_TEST(a_hazard_names_the_entry)
{
    struct vmxsim_hazard hazard;

    start(0);
    (void)hpa_of(LINEAR);
    change((enum change)_i);
    (void)hpa_of(LINEAR + 8);
    ck_assert_uint_eq(vmxsim_hazards_last(machine.memory, &hazard, 1), 1);
    ck_assert_int_eq(hazard.rule, _i == PAGING ? VMXSIM_HAZARD_TLB_PAGING : VMXSIM_HAZARD_TLB_EPT);
    ck_assert_uint_eq(hazard.hpa, _i == PAGING ? PTE_HPA : EPT_PTE_HPA);
    ck_assert_uint_eq(hazard.length, 8);
    ck_assert_uint_eq(hazard.level, 1);
    ck_assert_uint_eq(hazard.address & ~VMXC_PAGE_MASK, _i == PAGING ? LINEAR : PAGE_GPA);
    ck_assert_uint_eq(hazard.now, read64(hazard.hpa));
    ck_assert_uint_eq(hazard.cached & ~VMXC_PAGE_MASK, PAGE_GPA);
    ck_assert_uint_eq(vmxsim_cpu_tlb_stats(machine.cpu).stale, 1);
    stop();
}
END_TEST

START_TEST(a_trail_shows_what_was_cached_and_what_is_there_now)
{
    struct vmxsim_trail trail;
    unsigned stale = 0;

    start(0);
    (void)hpa_of(LINEAR);
    change(EPT);
    const struct vmxsim_outcome outcome = access_to(VMXSIM_ACCESS_READ, LINEAR, &trail);
    ck_assert_uint_eq(outcome.page[0].hpa, PAGE_HPA);
    ck_assert_uint_eq(trail.count, 4 * 3 + 4 + 4); /* guest tables lie on a page of 2 MBytes */
    for (uint32_t i = 0; i < trail.count; i++) {
        ck_assert(trail.entry[i].cached);
        stale += trail.entry[i].stale;
    }
    ck_assert_uint_eq(stale, 1);
    ck_assert(trail.entry[trail.count - 1].stale);
    ck_assert_uint_eq(trail.entry[trail.count - 1].hpa, EPT_PTE_HPA);
    ck_assert_uint_eq(trail.entry[trail.count - 1].now, read64(EPT_PTE_HPA));
    stop();
}
END_TEST

START_TEST(the_exact_cache_leaves_trails_to_the_walk)
{
    struct vmxsim_trail trail;

    start(0);
    ck_assert_int_eq(vmxsim_cpu_set_tlb(machine.cpu, VMXSIM_TLB_EXACT), VMXC_OK);
    (void)hpa_of(LINEAR);
    (void)access_to(VMXSIM_ACCESS_READ, LINEAR, &trail);
    for (uint32_t i = 0; i < trail.count; i++)
        ck_assert(!trail.entry[i].cached);
    ck_assert_uint_gt(trail.count, 16);
    stop();
}
END_TEST

static void expect_part(char *text, const char *part)
{
    ck_assert_msg(strstr(text, part) != NULL, "%s\nlacks: %s", text, part);
    free(text);
}

START_TEST(explanations_say_what_was_cached_and_what_is_there_now)
{
    const struct vmxsim_access access = {.type = VMXSIM_ACCESS_READ, .linear = LINEAR, .size = 8};
    struct vmxsim_trail trail;
    struct vmxsim_hazard hazard;

    start(0);
    (void)hpa_of(LINEAR);
    change(EPT);
    const struct vmxsim_outcome outcome = access_to(VMXSIM_ACCESS_READ, LINEAR, &trail);
    ck_assert_uint_eq(vmxsim_hazards_last(machine.memory, &hazard, 1), 1);
    expect_part(
        vmxsim_explain_hazard(&hazard),
        "hazard:  cached translation of guest-physical 0x800000 on processor 0: the entry of "
        "level 1 at 0x103000 was 0x0000000000800037 and is 0x0000000000a00037\n"
        "rule:    HAZARD.TLB.EPT: ");
    expect_part(vmxsim_explain_hazard_json(&hazard),
                "  \"processor\": 0,\n  \"translated\": \"guest-physical\",\n"
                "  \"address\": \"0x800000\",\n  \"level\": 1,\n  \"hpa\": \"0x103000\",\n"
                "  \"cached\": \"0x800037\",\n  \"now\": \"0xa00037\",\n");
    expect_part(vmxsim_explain_access(&access, &outcome, &trail),
                "-> used, from a cached translation; changed since, to 0x0000000000a00037");
    expect_part(vmxsim_explain_access_json(&access, &outcome, &trail), "\"now\": \"0xa00037\"");
    stop();
}
END_TEST

/* Changes that need no invalidation: more rights, what software may use as it likes. */
START_TEST(harmless_changes_are_no_hazards)
{
    start(READ_ONLY);
    (void)hpa_of(LINEAR);
    write64(PTE_HPA, read64(PTE_HPA) | VMXC_PTE_WRITE | VMXC_BIT(9) | VMXC_BIT(52));
    write64(EPT_PTE_HPA, read64(EPT_PTE_HPA) | VMXC_EPT_WRITE | VMXC_BIT(11) | VMXC_BIT(52));
    (void)hpa_of(LINEAR);
    ck_assert_uint_eq(vmxsim_hazard_count(machine.memory), 0);
    stop();
}
END_TEST

/* "Spurious" faults: each once, since faults drop what caused them. */
START_TEST(a_right_that_was_added_may_be_missed_once)
{
    start(READ_ONLY);
    (void)hpa_of(LINEAR);
    write64(PTE_HPA, read64(PTE_HPA) | VMXC_PTE_WRITE | VMXC_PTE_DIRTY);
    write64(EPT_PTE_HPA, read64(EPT_PTE_HPA) | VMXC_EPT_WRITE);
    struct vmxsim_outcome outcome = access_to(VMXSIM_ACCESS_WRITE, LINEAR, NULL);
    /* The dirty flag was not known to be set: the guest's entries are read anew, those of EPT may be cached. */
    ck_assert_int_eq(outcome.kind, VMXSIM_OUTCOME_VM_EXIT);
    ck_assert_uint_eq(outcome.exit_reason, VMXC_EXIT_REASON_EPT_VIOLATION);
    outcome = access_to(VMXSIM_ACCESS_WRITE, LINEAR, NULL);
    ck_assert_int_eq(outcome.kind, VMXSIM_OUTCOME_COMPLETE);
    ck_assert_uint_eq(vmxsim_hazard_count(machine.memory), 0);
    stop();
}
END_TEST

/* ---- What is never cached, and flags ---- */

START_TEST(what_is_not_present_is_not_cached)
{
    start(0);
    write64(PTE_HPA, 0);
    ck_assert_int_eq(access_to(VMXSIM_ACCESS_READ, LINEAR, NULL).kind,
                     VMXSIM_OUTCOME_GUEST_EXCEPTION);
    write64(PTE_HPA, PAGE_GPA | TABLE);
    write64(EPT_PTE_HPA, 0);
    ck_assert_uint_eq(access_to(VMXSIM_ACCESS_READ, LINEAR, NULL).exit_reason,
                      VMXC_EXIT_REASON_EPT_VIOLATION);
    write64(EPT_PTE_HPA, PAGE_HPA | 2); /* malformed */
    ck_assert_uint_eq(access_to(VMXSIM_ACCESS_READ, LINEAR, NULL).exit_reason,
                      VMXC_EXIT_REASON_EPT_MISCONFIGURATION);
    write64(EPT_PTE_HPA, PAGE_HPA | EPT_PAGE);
    ck_assert_uint_eq(hpa_of(LINEAR), PAGE_HPA);
    ck_assert_uint_eq(vmxsim_hazard_count(machine.memory), 0);
    stop();
}
END_TEST

START_TEST(a_write_sets_the_dirty_flags_that_a_read_left_clear)
{
    start(ACCESSED_DIRTY);
    (void)hpa_of(LINEAR);
    ck_assert(!(read64(PTE_HPA) & VMXC_PTE_DIRTY));
    ck_assert(!(read64(EPT_PTE_HPA) & VMXC_EPT_DIRTY));
    ck_assert_int_eq(access_to(VMXSIM_ACCESS_WRITE, LINEAR, NULL).kind, VMXSIM_OUTCOME_COMPLETE);
    ck_assert(read64(PTE_HPA) & VMXC_PTE_DIRTY);
    ck_assert(read64(EPT_PTE_HPA) & VMXC_EPT_DIRTY);
    stop();
}
END_TEST

/* Cleared without INVEPT, the dirty flag stays clear: writes that go unnoticed. */
START_TEST(a_dirty_flag_that_was_cleared_is_missed_until_invept)
{
    start(ACCESSED_DIRTY);
    (void)access_to(VMXSIM_ACCESS_WRITE, LINEAR, NULL);
    write64(EPT_PTE_HPA, read64(EPT_PTE_HPA) & ~VMXC_EPT_DIRTY);
    (void)access_to(VMXSIM_ACCESS_WRITE, LINEAR, NULL);
    ck_assert(!(read64(EPT_PTE_HPA) & VMXC_EPT_DIRTY));
    ck_assert_uint_eq(vmxsim_hazard_count(machine.memory), 1);
    invept_single();
    (void)access_to(VMXSIM_ACCESS_WRITE, LINEAR, NULL);
    ck_assert(read64(EPT_PTE_HPA) & VMXC_EPT_DIRTY);
    ck_assert_uint_eq(vmxsim_hazard_count(machine.memory), 1);
    stop();
}
END_TEST

/* INVLPG of any address in a large page drops all of it, though EPT has it in small pieces. */
START_TEST(invlpg_drops_all_parts_of_a_large_page)
{
    const uint64_t large = UINT64_C(0x400000);
    const uint64_t pde_hpa = PD + 8 * (large >> 21);

    start(0);
    write64(pde_hpa, PAGE_GPA | TABLE | VMXC_PTE_PAGE_SIZE);
    ck_assert_uint_eq(hpa_of(large), PAGE_HPA);
    ck_assert_uint_eq(hpa_of(large + VMXC_PAGE_SIZE), OTHER_GPA);
    write64(pde_hpa, OTHER_HPA | TABLE | VMXC_PTE_PAGE_SIZE);
    ck_assert_uint_eq(hpa_of(large), PAGE_HPA);
    invlpg(large + 5 * VMXC_PAGE_SIZE);
    ck_assert_uint_eq(hpa_of(large), OTHER_HPA);
    ck_assert_uint_eq(hpa_of(large + VMXC_PAGE_SIZE), OTHER_HPA + VMXC_PAGE_SIZE);
    stop();
}
END_TEST

/* Guest tables on the APIC-access page: the second walk, with their translation cached, exits like the first. */
START_TEST(the_apic_access_page_is_met_by_cached_translations_too)
{
    struct vmxsim_vmcs vmcs = guest(0);
    struct vmxsim_outcome outcome;

    VMXSIM_VMCS(&vmcs, SECONDARY_PROCESSOR_BASED_CONTROLS) |=
        VMXC_SECONDARY_VIRTUALIZE_APIC_ACCESSES;
    VMXSIM_VMCS(&vmcs, APIC_ACCESS_ADDRESS) = PT;
    insn_machine_init(&machine, "everything", NULL);
    write_tables(PAGE_GPA | TABLE, PAGE_HPA | EPT_PAGE);
    ck_assert_int_eq(vmxsim_cpu_set_tlb(machine.cpu, VMXSIM_TLB_LAZY), VMXC_OK);
    insn_machine_launch(&machine, &vmcs);
    for (unsigned i = 0; i < 2; i++) {
        outcome = access_to(VMXSIM_ACCESS_READ, LINEAR, NULL);
        ck_assert_int_eq(outcome.kind, VMXSIM_OUTCOME_VM_EXIT);
        ck_assert_uint_eq(outcome.exit_reason, VMXC_EXIT_REASON_APIC_ACCESS);
    }
    stop();
}
END_TEST

/* ---- EPTP switching: other translations at once, and none has to go ---- */

START_TEST(vmfunc_switches_what_is_used)
{
    const uint64_t list = UINT64_C(0xd00000);
    const uint64_t second = UINT64_C(0x120000); /* root, PDPT, PD, PT */
    struct vmxsim_vmcs vmcs = guest(0);

    VMXSIM_VMCS(&vmcs, SECONDARY_PROCESSOR_BASED_CONTROLS) |= VMXC_SECONDARY_ENABLE_VM_FUNCTIONS;
    VMXSIM_VMCS(&vmcs, VM_FUNCTION_CONTROLS) = 1;
    VMXSIM_VMCS(&vmcs, EPTP_LIST_ADDRESS) = list;
    insn_machine_init(&machine, "everything", NULL);
    write_tables(PAGE_GPA | TABLE, PAGE_HPA | EPT_PAGE);
    for (uint64_t i = 0; i < 4 * VMXC_PAGE_SIZE; i += 8)
        write64(second + i, read64(EPT_ROOT + i));
    for (uint64_t i = 0; i < 3; i++) {
        const uint64_t hpa = second + i * VMXC_PAGE_SIZE + (i == 2 ? 8 * (PAGE_GPA >> 21) : 0);
        write64(hpa, (second + (i + 1) * VMXC_PAGE_SIZE) | VMXC_EPT_RWX);
    }
    write64(second + 3 * VMXC_PAGE_SIZE, OTHER_HPA | EPT_PAGE);
    write64(list, EPT_ROOT | EPTP_BITS);
    write64(list + 8, second | EPTP_BITS);
    ck_assert_int_eq(vmxsim_cpu_set_tlb(machine.cpu, (enum vmxsim_tlb_mode)_i), VMXC_OK);
    insn_machine_launch(&machine, &vmcs);
    for (uint32_t i = 0; i < 4; i++) {
        EXECUTE(&machine, vmfunc, 0, i & 1);
        ck_assert_uint_eq(hpa_of(LINEAR), (i & 1) ? OTHER_HPA : PAGE_HPA);
        ck_assert_uint_eq(hpa_of(LINEAR), (i & 1) ? OTHER_HPA : PAGE_HPA);
    }
    ck_assert_uint_eq(vmxsim_cpu_tlb_stats(machine.cpu).walks, _i == VMXSIM_TLB_OFF ? 0 : 2);
    ck_assert_uint_eq(vmxsim_hazard_count(machine.memory), 0);
    stop();
}
END_TEST

/* ---- Snapshots, clones, modes ---- */

START_TEST(a_snapshot_covers_what_is_cached)
{
    start(0);
    (void)hpa_of(LINEAR);
    change(EPT);
    ck_assert_int_eq(vmxsim_snapshot_take(machine.memory), VMXC_OK);
    for (unsigned i = 0; i < 2; i++) {
        ck_assert_uint_eq(hpa_of(LINEAR), PAGE_HPA); /* stale */
        hal_invalidate();
        ck_assert_uint_eq(hpa_of(LINEAR), OTHER_HPA);
        ck_assert_int_eq(vmxsim_snapshot_restore(machine.memory, NULL), VMXC_OK);
    }
    ck_assert_uint_eq(hpa_of(LINEAR), PAGE_HPA);
    vmxsim_snapshot_drop(machine.memory);
    ck_assert_uint_eq(hpa_of(LINEAR), PAGE_HPA);
    stop();
}
END_TEST

/* What was cached after the snapshot is gone, and the mode stays what it is. */
START_TEST(a_restored_machine_forgets_what_came_after)
{
    start(0);
    ck_assert_int_eq(vmxsim_snapshot_take(machine.memory), VMXC_OK);
    change(PAGING);
    ck_assert_uint_eq(hpa_of(LINEAR), OTHER_GPA);
    ck_assert_int_eq(vmxsim_snapshot_restore(machine.memory, NULL), VMXC_OK);
    ck_assert_uint_eq(hpa_of(LINEAR), PAGE_HPA);
    ck_assert_int_eq(vmxsim_cpu_set_tlb(machine.cpu, VMXSIM_TLB_EXACT), VMXC_OK);
    change(PAGING);
    ck_assert_uint_eq(hpa_of(LINEAR), OTHER_GPA);
    ck_assert_int_eq(vmxsim_snapshot_restore(machine.memory, NULL), VMXC_OK);
    ck_assert_int_eq(vmxsim_cpu_tlb(machine.cpu), VMXSIM_TLB_EXACT);
    ck_assert_uint_eq(hpa_of(LINEAR), PAGE_HPA);
    stop();
}
END_TEST

/* Nothing was cached when the snapshot was taken: there was no cache. */
START_TEST(a_cache_that_came_after_a_snapshot_is_empty_again)
{
    start(0);
    ck_assert_int_eq(vmxsim_cpu_set_tlb(machine.cpu, VMXSIM_TLB_OFF), VMXC_OK);
    ck_assert_int_eq(vmxsim_snapshot_take(machine.memory), VMXC_OK);
    ck_assert_int_eq(vmxsim_cpu_set_tlb(machine.cpu, VMXSIM_TLB_LAZY), VMXC_OK);
    change(PAGING);
    ck_assert_uint_eq(hpa_of(LINEAR), OTHER_GPA);
    ck_assert_int_eq(vmxsim_snapshot_restore(machine.memory, NULL), VMXC_OK);
    ck_assert_uint_eq(hpa_of(LINEAR), PAGE_HPA);
    ck_assert_uint_eq(vmxsim_hazard_count(machine.memory), 0);
    stop();
}
END_TEST

START_TEST(a_clone_has_cached_the_same)
{
    struct vmxsim_memory *memory;
    struct vmxsim_cpu *cpu;
    const struct vmxsim_access access = {.type = VMXSIM_ACCESS_READ, .linear = LINEAR, .size = 1};
    struct vmxsim_outcome outcome;

    start(0);
    (void)hpa_of(LINEAR);
    change(EPT);
    ck_assert_int_eq(vmxsim_memory_clone(machine.memory, &memory, NULL), VMXC_OK);
    ck_assert_int_eq(vmxsim_cpu_clone(machine.cpu, memory, &cpu), VMXC_OK);
    hal_invalidate(); /* not on the clone */
    ck_assert_int_eq(vmxsim_cpu_tlb(cpu), VMXSIM_TLB_LAZY);
    ck_assert_int_eq(vmxsim_guest_access(cpu, &access, &outcome, NULL), VMXC_OK);
    ck_assert_uint_eq(outcome.page[0].hpa, PAGE_HPA);
    ck_assert_uint_eq(vmxsim_hazard_count(memory), 1);
    ck_assert_uint_eq(hpa_of(LINEAR), OTHER_HPA);
    vmxsim_cpu_destroy(cpu);
    vmxsim_memory_destroy(memory);
    stop();
}
END_TEST

START_TEST(modes_have_names_and_limits)
{
    start(0);
    ck_assert_str_eq(vmxsim_tlb_mode_name(VMXSIM_TLB_OFF), "off");
    ck_assert_str_eq(vmxsim_tlb_mode_name(VMXSIM_TLB_EXACT), "exact");
    ck_assert_str_eq(vmxsim_tlb_mode_name(VMXSIM_TLB_LAZY), "lazy");
    ck_assert_str_eq(vmxsim_tlb_mode_name(VMXSIM_TLB_MODE_COUNT), "");
    ck_assert_int_eq(vmxsim_cpu_set_tlb(machine.cpu, VMXSIM_TLB_MODE_COUNT), VMXC_INVALID_INPUT);
    ck_assert_int_eq(vmxsim_cpu_tlb(machine.cpu), VMXSIM_TLB_LAZY);
    (void)hpa_of(LINEAR);
    ck_assert_uint_eq(vmxsim_cpu_tlb_stats(machine.cpu).walks, 1);
    /* The combined mapping; guest-physical ones of the guest's tables and of the page. */
    ck_assert_uint_eq(vmxsim_cpu_tlb_stats(machine.cpu).mappings, 3);
    ck_assert_int_eq(vmxsim_cpu_set_tlb(machine.cpu, VMXSIM_TLB_OFF), VMXC_OK);
    ck_assert_uint_eq(vmxsim_cpu_tlb_stats(machine.cpu).mappings, 0);
    change(EPT);
    ck_assert_uint_eq(hpa_of(LINEAR), OTHER_HPA);
    stop();
}
END_TEST

/* ---- Pages that are written without a word ---- */

START_TEST(what_raw_pages_hold_is_not_cached_exactly)
{
    uint64_t *entry;
    void *pointer;

    start(0);
    ck_assert_int_eq(vmxsim_cpu_set_tlb(machine.cpu, VMXSIM_TLB_EXACT), VMXC_OK);
    (void)hpa_of(LINEAR);
    if (_i == 0) {
        ck_assert_int_eq(vmxsim_memory_hand_out(machine.memory, EPT_PT, VMXC_PAGE_SIZE, &pointer),
                         VMXC_OK);
        entry = pointer;
    } else {
        entry = vmxsim_memory_pointer(machine.memory, EPT_PTE_HPA);
    }
    for (unsigned i = 0; i < 3; i++) {
        *entry ^= PAGE_HPA ^ OTHER_HPA;
        ck_assert_uint_eq(hpa_of(LINEAR), *entry & VMXC_EPT_ADDRESS);
    }
    if (_i == 0) {
        ck_assert_int_eq(vmxsim_memory_hand_back(machine.memory, EPT_PT, VMXC_PAGE_SIZE), VMXC_OK);
        const uint64_t walks = vmxsim_cpu_tlb_stats(machine.cpu).walks;
        (void)hpa_of(LINEAR);
        (void)hpa_of(LINEAR);
        ck_assert_uint_eq(vmxsim_cpu_tlb_stats(machine.cpu).walks, walks + 1);
    }
    stop();
}
END_TEST

/* The lazy cache keeps them as it keeps others, and looks each time whether to report. */
START_TEST(changes_of_raw_pages_are_reported_too)
{
    start(0);
    uint64_t *const entry = vmxsim_memory_pointer(machine.memory, EPT_PTE_HPA);
    (void)hpa_of(LINEAR);
    ck_assert_uint_eq(vmxsim_hazard_count(machine.memory), 0);
    *entry ^= PAGE_HPA ^ OTHER_HPA;
    ck_assert_uint_eq(hpa_of(LINEAR), PAGE_HPA);
    ck_assert_uint_eq(vmxsim_hazard_count(machine.memory), 1);
    *entry ^= PAGE_HPA ^ OTHER_HPA;
    ck_assert_uint_eq(hpa_of(LINEAR), PAGE_HPA);
    ck_assert_uint_eq(vmxsim_hazard_count(machine.memory), 1);
    stop();
}
END_TEST

/* Reading a table that lies on a processor's VMCS region is a hazard, each time. */
START_TEST(tables_on_regions_are_read_each_time)
{
    start(0);
    ck_assert_int_eq(vmxsim_cpu_set_tlb(machine.cpu, VMXSIM_TLB_EXACT), VMXC_OK);
    write64(PD + 8 * (LINEAR >> 21), REGION_B | TABLE);
    write64(REGION_B + 8, read64(PTE_HPA + 8));
    (void)hpa_of(NEIGHBOUR);
    (void)hpa_of(NEIGHBOUR);
    leave();
    const uint32_t revision = (uint32_t)read64(REGION_B);
    EXECUTE(&machine, vmptrld, REGION_B);
    expect_success(&machine);
    EXECUTE(&machine, vmptrld, REGION_A);
    expect_success(&machine);
    ck_assert_uint_eq((uint32_t)read64(REGION_B), revision);
    enter();
    write64(REGION_B + 8, OTHER_GPA | TABLE);
    (void)hpa_of(NEIGHBOUR); /* sets the accessed flag */
    vmxsim_hazards_forget(machine.memory);
    (void)hpa_of(NEIGHBOUR);
    (void)hpa_of(NEIGHBOUR);
    ck_assert_uint_eq(vmxsim_hazard_count(machine.memory), 2);
    stop();
}
END_TEST

int main(void)
{
    Suite *const suite = suite_create("tlb_lazy");
    TCase *const matrix = suite_case(suite, "rules", NULL, NULL);
    TCase *const cases = suite_case(suite, "cases", NULL, NULL);

    tcase_add_loop_test(matrix, an_event_drops_what_it_has_to_and_no_more, 0, COUNT(rules));
    tcase_add_loop_test(matrix, the_exact_cache_is_never_stale, 0, COUNT(rules));
    tcase_add_loop_test(cases, a_hazard_names_the_entry, 0, 2);
    tcase_add_test(cases, a_trail_shows_what_was_cached_and_what_is_there_now);
    tcase_add_test(cases, the_exact_cache_leaves_trails_to_the_walk);
    tcase_add_test(cases, explanations_say_what_was_cached_and_what_is_there_now);
    tcase_add_test(cases, harmless_changes_are_no_hazards);
    tcase_add_test(cases, a_right_that_was_added_may_be_missed_once);
    tcase_add_test(cases, what_is_not_present_is_not_cached);
    tcase_add_test(cases, a_write_sets_the_dirty_flags_that_a_read_left_clear);
    tcase_add_test(cases, a_dirty_flag_that_was_cleared_is_missed_until_invept);
    tcase_add_test(cases, invlpg_drops_all_parts_of_a_large_page);
    tcase_add_test(cases, the_apic_access_page_is_met_by_cached_translations_too);
    tcase_add_loop_test(cases, vmfunc_switches_what_is_used, 0, VMXSIM_TLB_MODE_COUNT);
    tcase_add_test(cases, changes_of_raw_pages_are_reported_too);
    tcase_add_test(cases, a_snapshot_covers_what_is_cached);
    tcase_add_test(cases, a_restored_machine_forgets_what_came_after);
    tcase_add_test(cases, a_cache_that_came_after_a_snapshot_is_empty_again);
    tcase_add_test(cases, a_clone_has_cached_the_same);
    tcase_add_test(cases, modes_have_names_and_limits);
    tcase_add_loop_test(cases, what_raw_pages_hold_is_not_cached_exactly, 0, 2);
    tcase_add_test(cases, tables_on_regions_are_read_each_time);
    return run_suite(suite);
}
