/* SPDX-License-Identifier: Apache-2.0 */
/*
 * VM-entry checks on host state and guest state at the edges of each rule. A case is a valid VMCS with a few changes
 * and the exact set of rules that these break; the expectations are the manual's.
 */
#include <check.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "support/entry_edge.h"
#include "support/suite.h"

struct test_case {
    const char *name, *profile; /* profile NULL: "everything" */
    enum base base;
    struct setting set[8];
    enum vmxsim_entry_rule broken[6]; /* 0 (a basic rule that no case breaks) ends the list */
    void (*processor)(struct vmxsim_entry_processor *processor);
};

static void outside_ia32e(struct vmxsim_entry_processor *processor)
{
    processor->efer = 0;
    processor->code_64bit = false;
}

static void in_smm(struct vmxsim_entry_processor *processor)
{
    processor->in_smm = true;
}

#define ICE  .profile = "icelake"
#define RICH .profile = "rich"

/* clang-format off */
static const struct test_case valid_cases[] = {
    {.name = "64-bit guest"},
    {.name = "64-bit guest, 48 bits", ICE},
    {.name = "protected mode", .base = PROTECTED},
    {.name = "virtual-8086", .base = V86},
    {.name = "unrestricted, real mode", .base = REAL},
};
/* clang-format on */

/* clang-format off */
static const struct test_case host_cases[] = {
    {.name = "NW and CD are not checked", .set = {{F(HOST_CR0), 0xe0000031}}},
    {"NE", .set = {{F(HOST_CR0), 0x80000011}}, .broken = {R(HOST_CR0_FIXED)}},
    {"CR0 bit 32", .set = {{F(HOST_CR0), 0x180000031}}, .broken = {R(HOST_CR0_FIXED)}},
    {"no VMXE", .set = {{F(HOST_CR4), 0x20}}, .broken = {R(HOST_CR4_FIXED)}},
    {"CET without WP", .set = {{F(HOST_CR4), 0x802020}}, .broken = {R(HOST_CR4_CET_WP)}},
    {"CET with WP", .set = {{F(HOST_CR4), 0x802020}, {F(HOST_CR0), 0x80010031}}},
    {"CR3 bit 39 of 40", ICE, .set = {{F(HOST_CR3), VMXC_BIT(39)}}},
    {"CR3 bit 40 of 40", ICE, .set = {{F(HOST_CR3), VMXC_BIT(40)}}, .broken = {R(HOST_CR3_WIDTH)}},
    {"LAM bits without LAM", ICE, .set = {{F(HOST_CR3), VMXC_BIT(61)}}, .broken = {R(HOST_CR3_WIDTH)}},
    {"LAM bits", .set = {{F(HOST_CR3), VMXC_BITS(62, 61)}}},
    {"CR3 bit 63", .set = {{F(HOST_CR3), VMXC_BIT(63)}}, .broken = {R(HOST_CR3_WIDTH)}},
    {"SYSENTER_ESP at the top of the lower half", ICE, .set = {{F(HOST_SYSENTER_ESP), 0x7fffffffffff}}},
    {"SYSENTER_ESP above it", ICE, .set = {{F(HOST_SYSENTER_ESP), 0x800000000000}}, .broken = {R(HOST_SYSENTER_ESP_CANON)}},
    {"57 bits: bit 47 is nothing special", .set = {{F(HOST_SYSENTER_EIP), 0x800000000000}}},
    {"57 bits: top of the lower half", .set = {{F(HOST_SYSENTER_EIP), 0xffffffffffffff}}},
    {"57 bits: bit 56 alone", .set = {{F(HOST_SYSENTER_EIP), VMXC_BIT(56)}}, .broken = {R(HOST_SYSENTER_EIP_CANON)}},
    {"57 bits: bottom of the upper half", .set = {{F(HOST_SYSENTER_EIP), UINT64_C(0xff00000000000000)}}},
    {"reserved in PERF_GLOBAL_CTRL, not loaded", .set = {{F(HOST_IA32_PERF_GLOBAL_CTRL), UINT64_MAX}}},
    {"8 general and 4 fixed counters", ICE, .set = {EXIT(VMXC_EXIT_LOAD_PERF_GLOBAL_CTRL), {F(HOST_IA32_PERF_GLOBAL_CTRL), 0xf000000ff}}},
    {"9th general counter", ICE, .set = {EXIT(VMXC_EXIT_LOAD_PERF_GLOBAL_CTRL), {F(HOST_IA32_PERF_GLOBAL_CTRL), 0x100}}, .broken = {R(HOST_PGC_RSVD)}},
    {"5th fixed counter", ICE, .set = {EXIT(VMXC_EXIT_LOAD_PERF_GLOBAL_CTRL), {F(HOST_IA32_PERF_GLOBAL_CTRL), VMXC_BIT(36)}}, .broken = {R(HOST_PGC_RSVD)}},
    {"4 general and 3 fixed counters", "skylake", .set = {EXIT(VMXC_EXIT_LOAD_PERF_GLOBAL_CTRL), {F(HOST_IA32_PERF_GLOBAL_CTRL), 0x70000000f}}},
    {"5th general counter", "skylake", .set = {EXIT(VMXC_EXIT_LOAD_PERF_GLOBAL_CTRL), {F(HOST_IA32_PERF_GLOBAL_CTRL), 0x10}}, .broken = {R(HOST_PGC_RSVD)}},
    {"all memory types", .set = {EXIT(VMXC_EXIT_LOAD_PAT), {F(HOST_IA32_PAT), 0x0007060504010000}}},
    {"memory type 2", .set = {EXIT(VMXC_EXIT_LOAD_PAT), {F(HOST_IA32_PAT), 0x0200000000000000}}, .broken = {R(HOST_PAT_TYPE)}},
    {"memory type 3", .set = {EXIT(VMXC_EXIT_LOAD_PAT), {F(HOST_IA32_PAT), 0x3}}, .broken = {R(HOST_PAT_TYPE)}},
    {"memory type 8", .set = {EXIT(VMXC_EXIT_LOAD_PAT), {F(HOST_IA32_PAT), 0x0800}}, .broken = {R(HOST_PAT_TYPE)}},
    {"EFER", .set = {EXIT(VMXC_EXIT_LOAD_EFER), {F(HOST_IA32_EFER), 0xd01}}},
    {"EFER bit 1", .set = {EXIT(VMXC_EXIT_LOAD_EFER), {F(HOST_IA32_EFER), 0x502}}, .broken = {R(HOST_EFER_RSVD)}},
    {"EFER without LME", .set = {EXIT(VMXC_EXIT_LOAD_EFER), {F(HOST_IA32_EFER), 0x400}}, .broken = {R(HOST_EFER_LMA_LME)}},
    {"S_CET bit 6", .set = {EXIT(VMXC_EXIT_LOAD_CET), {F(HOST_S_CET), 0x40}}, .broken = {R(HOST_S_CET_RSVD)}},
    {"S_CET bit 9", .set = {EXIT(VMXC_EXIT_LOAD_CET), {F(HOST_S_CET), 0x200}}, .broken = {R(HOST_S_CET_RSVD)}},
    {"SUPPRESS or TRACKER", .set = {EXIT(VMXC_EXIT_LOAD_CET), {F(HOST_S_CET), 0x800}}},
    {"SUPPRESS and TRACKER", .set = {EXIT(VMXC_EXIT_LOAD_CET), {F(HOST_S_CET), 0xc00}}, .broken = {R(HOST_S_CET_RSVD)}},
    {"S_CET not canonical", .set = {EXIT(VMXC_EXIT_LOAD_CET), {F(HOST_S_CET), VMXC_BIT(56)}}, .broken = {R(HOST_S_CET_CANON)}},
    {"SSP bit 1", .set = {EXIT(VMXC_EXIT_LOAD_CET), {F(HOST_SSP), 2}}, .broken = {R(HOST_SSP_ALIGN)}},
    {"SSP bit 2", .set = {EXIT(VMXC_EXIT_LOAD_CET), {F(HOST_SSP), 4}}},
    {"host SSP is canonical, bit N - 1 included", .set = {EXIT(VMXC_EXIT_LOAD_CET), {F(HOST_SSP), VMXC_BIT(56)}}, .broken = {R(HOST_SSP_CANON)}},
    {"SSP table", .set = {EXIT(VMXC_EXIT_LOAD_CET), {F(HOST_INTERRUPT_SSP_TABLE), VMXC_BIT(57)}}, .broken = {R(HOST_ISST_CANON)}},
    {"PKRS bit 32", .set = {EXIT(VMXC_EXIT_LOAD_PKRS), {F(HOST_IA32_PKRS), VMXC_BIT(32)}}, .broken = {R(HOST_PKRS_HI)}},
    {"PKRS bit 31", .set = {EXIT(VMXC_EXIT_LOAD_PKRS), {F(HOST_IA32_PKRS), VMXC_BIT(31)}}},
    {"FRED", .set = {EXIT(VMXC_BIT(31)), EXIT2(VMXC_SECONDARY_EXIT_LOAD_FRED), {F(HOST_FRED_CONFIG), 0x17cb}, {F(HOST_FRED_RSP3), 0x40}, {F(HOST_FRED_SSP3), 8}}},
    {"FRED_CONFIG bit 11", .set = {EXIT(VMXC_BIT(31)), EXIT2(VMXC_SECONDARY_EXIT_LOAD_FRED), {F(HOST_FRED_CONFIG), 0x800}}, .broken = {R(HOST_FRED)}},
    {"FRED_RSP3 bit 5", .set = {EXIT(VMXC_BIT(31)), EXIT2(VMXC_SECONDARY_EXIT_LOAD_FRED), {F(HOST_FRED_RSP3), 0x20}}, .broken = {R(HOST_FRED)}},
    {"FRED_SSP3 bit 2, the ninth field of the rule", .set = {EXIT(VMXC_BIT(31)), EXIT2(VMXC_SECONDARY_EXIT_LOAD_FRED), {F(HOST_FRED_SSP3), 4}}, .broken = {R(HOST_FRED)}},
    {"SPEC_CTRL bit 63", .set = {EXIT(VMXC_BIT(31)), EXIT2(VMXC_SECONDARY_EXIT_LOAD_SPEC_CTRL), {F(HOST_IA32_SPEC_CTRL), VMXC_BIT(63)}}, .broken = {R(HOST_SPEC_CTRL)}},
    {"IBRS", .set = {EXIT(VMXC_BIT(31)), EXIT2(VMXC_SECONDARY_EXIT_LOAD_SPEC_CTRL), {F(HOST_IA32_SPEC_CTRL), 1}}},
    {"null data selectors", .set = {{F(HOST_SS_SELECTOR), 0}}},
    {"null CS", .set = {{F(HOST_CS_SELECTOR), 0}}, .broken = {R(HOST_SEL_CS_NULL)}},
    {"null TR", .set = {{F(HOST_TR_SELECTOR), 0}}, .broken = {R(HOST_SEL_TR_NULL)}},
    {"CS that is null but for its RPL", .set = {{F(HOST_CS_SELECTOR), 3}}, .broken = {R(HOST_SEL_CS_RPLTI)}},
    {"SS in the LDT", .set = {{F(HOST_SS_SELECTOR), 0x14}}, .broken = {R(HOST_SEL_SS_RPLTI)}},
    {"RPL of DS", .set = {{F(HOST_DS_SELECTOR), 1}}, .broken = {R(HOST_SEL_DS_RPLTI)}},
    {"RPL of ES", .set = {{F(HOST_ES_SELECTOR), 2}}, .broken = {R(HOST_SEL_ES_RPLTI)}},
    {"TI of FS", .set = {{F(HOST_FS_SELECTOR), 4}}, .broken = {R(HOST_SEL_FS_RPLTI)}},
    {"TI of GS", .set = {{F(HOST_GS_SELECTOR), 0xfffc}}, .broken = {R(HOST_SEL_GS_RPLTI)}},
    {"TI of TR", .set = {{F(HOST_TR_SELECTOR), 0x1c}}, .broken = {R(HOST_SEL_TR_RPLTI)}},
    {"FS base", ICE, .set = {{F(HOST_FS_BASE), VMXC_BIT(47)}}, .broken = {R(HOST_BASE_FS_CANON)}},
    {"GS base", ICE, .set = {{F(HOST_GS_BASE), VMXC_BIT(48)}}, .broken = {R(HOST_BASE_GS_CANON)}},
    {"TR base", ICE, .set = {{F(HOST_TR_BASE), VMXC_BIT(63)}}, .broken = {R(HOST_BASE_TR_CANON)}},
    {"GDTR base", .set = {{F(HOST_GDTR_BASE), VMXC_BIT(57)}}, .broken = {R(HOST_BASE_GDTR_CANON)}},
    {"IDTR base", .set = {{F(HOST_IDTR_BASE), UINT64_C(0xfeffffffffffffff)}}, .broken = {R(HOST_BASE_IDTR_CANON)}},
    {"32-bit host of a processor in IA-32e mode", .base = PROTECTED, .set = {{F(PRIMARY_VM_EXIT_CONTROLS), EXIT_FIXED}}, .broken = {R(HOST_LMA1_HAS)}},
    {"32-bit host", .base = PROTECTED, .set = {{F(PRIMARY_VM_EXIT_CONTROLS), EXIT_FIXED}}, .processor = outside_ia32e},
    {"64-bit host of a processor outside", .base = PROTECTED, .broken = {R(HOST_LMA0_HAS)}, .processor = outside_ia32e},
    {"IA-32e mode guest, 32-bit host", .set = {{F(PRIMARY_VM_EXIT_CONTROLS), EXIT_FIXED}}, .broken = {R(HOST_LMA0_HAS), R(HOST_HAS0_IA32E)}, .processor = outside_ia32e},
    {"32-bit host: SS", .base = PROTECTED, .set = {{F(PRIMARY_VM_EXIT_CONTROLS), EXIT_FIXED}, {F(HOST_SS_SELECTOR), 0}}, .broken = {R(HOST_SEL_SS_NULL)}, .processor = outside_ia32e},
    {"32-bit host: PCIDE", .base = PROTECTED, .set = {{F(PRIMARY_VM_EXIT_CONTROLS), EXIT_FIXED}, {F(HOST_CR4), 0x22020}}, .broken = {R(HOST_HAS0_PCIDE)}, .processor = outside_ia32e},
    {"32-bit host: FRED", .base = PROTECTED, .set = {{F(PRIMARY_VM_EXIT_CONTROLS), EXIT_FIXED}, {F(HOST_CR4), 0x100002020}}, .broken = {R(HOST_HAS0_PCIDE)}, .processor = outside_ia32e},
    {"32-bit host: RIP bit 31", .base = PROTECTED, .set = {{F(PRIMARY_VM_EXIT_CONTROLS), EXIT_FIXED}, {F(HOST_RIP), VMXC_BIT(31)}}, .processor = outside_ia32e},
    {"32-bit host: RIP bit 32", .base = PROTECTED, .set = {{F(PRIMARY_VM_EXIT_CONTROLS), EXIT_FIXED}, {F(HOST_RIP), VMXC_BIT(32)}}, .broken = {R(HOST_HAS0_RIP)}, .processor = outside_ia32e},
    {"32-bit host: S_CET, SSP bit 32", .base = PROTECTED, .set = {{F(PRIMARY_VM_EXIT_CONTROLS), EXIT_FIXED | VMXC_EXIT_LOAD_CET}, {F(HOST_S_CET), VMXC_BIT(32)}, {F(HOST_SSP), VMXC_BIT(32)}}, .broken = {R(HOST_S_CET_CANON), R(HOST_SSP_CANON)}, .processor = outside_ia32e},
    {"32-bit host: EFER without LMA", .base = PROTECTED, .set = {{F(PRIMARY_VM_EXIT_CONTROLS), EXIT_FIXED | VMXC_EXIT_LOAD_EFER}, {F(HOST_IA32_EFER), 0x1}}, .processor = outside_ia32e},
    {"32-bit host: EFER.LMA", .base = PROTECTED, .set = {{F(PRIMARY_VM_EXIT_CONTROLS), EXIT_FIXED | VMXC_EXIT_LOAD_EFER}, {F(HOST_IA32_EFER), 0x400}}, .broken = {R(HOST_EFER_LMA_LME)}, .processor = outside_ia32e},
    {"64-bit host without PAE", .set = {{F(HOST_CR4), 0x2000}}, .broken = {R(HOST_HAS1_PAE)}},
    {"RIP bit 47, 4-level paging", .set = {{F(HOST_RIP), VMXC_BIT(47)}}, .broken = {R(HOST_HAS1_RIP)}},
    {"RIP bit 47, 5-level paging", .set = {{F(HOST_CR4), 0x3020}, {F(HOST_RIP), VMXC_BIT(47)}}},
    {"RIP bit 56, 5-level paging", .set = {{F(HOST_CR4), 0x3020}, {F(HOST_RIP), VMXC_BIT(56)}}, .broken = {R(HOST_HAS1_RIP)}},
};
/* clang-format on */

/* clang-format off */
static const struct test_case register_cases[] = {
    {"NW and CD are not checked", .set = {{F(GUEST_CR0), 0xe0000031}}},
    {"PE and PG of an unrestricted guest", .base = REAL},
    {"NE of an unrestricted guest", .base = REAL, .set = {{F(GUEST_CR0), 0x10}}, .broken = {R(GUEST_CR0_FIXED)}},
    {"PG without PE", .base = PROTECTED, .set = {{F(GUEST_CR0), 0x80000030}, UNRESTRICTED}, .broken = {R(GUEST_CR0_PG_PE)}},
    {"CR4 without VMXE", .set = {{F(GUEST_CR4), 0x20}}, .broken = {R(GUEST_CR4_FIXED)}},
    {"CET without WP", .set = {{F(GUEST_CR4), 0x802020}}, .broken = {R(GUEST_CR4_CET_WP)}},
    {"DEBUGCTL not loaded", .set = {{F(GUEST_IA32_DEBUGCTL), UINT64_MAX}, {F(GUEST_DR7), UINT64_MAX}}},
    {"DEBUGCTL", ICE, .set = {ENTRY(VMXC_ENTRY_LOAD_DEBUG_CONTROLS), {F(GUEST_IA32_DEBUGCTL), 0x7fc3}}},
    {"DEBUGCTL bit 2 without bus-lock detection", ICE, .set = {ENTRY(VMXC_ENTRY_LOAD_DEBUG_CONTROLS), {F(GUEST_IA32_DEBUGCTL), 0x4}}, .broken = {R(GUEST_DEBUGCTL_RSVD)}},
    {"DEBUGCTL bit 3", .set = {ENTRY(VMXC_ENTRY_LOAD_DEBUG_CONTROLS), {F(GUEST_IA32_DEBUGCTL), 0x8}}, .broken = {R(GUEST_DEBUGCTL_RSVD)}},
    {"DEBUGCTL bit 15 without RTM", ICE, .set = {ENTRY(VMXC_ENTRY_LOAD_DEBUG_CONTROLS), {F(GUEST_IA32_DEBUGCTL), 0x8000}}, .broken = {R(GUEST_DEBUGCTL_RSVD)}},
    {"DEBUGCTL bit 16", .set = {ENTRY(VMXC_ENTRY_LOAD_DEBUG_CONTROLS), {F(GUEST_IA32_DEBUGCTL), 0x10000}}, .broken = {R(GUEST_DEBUGCTL_RSVD)}},
    {"DR7 bit 31", .set = {ENTRY(VMXC_ENTRY_LOAD_DEBUG_CONTROLS), {F(GUEST_DR7), VMXC_BIT(31)}}},
    {"DR7 bit 32", .set = {ENTRY(VMXC_ENTRY_LOAD_DEBUG_CONTROLS), {F(GUEST_DR7), VMXC_BIT(32)}}, .broken = {R(GUEST_DR7_HI)}},
    {"IA-32e without paging, unrestricted", .set = {{F(GUEST_CR0), 0x31}, UNRESTRICTED}, .broken = {R(GUEST_IA32E_PG)}},
    {"IA-32e without PAE", .set = {{F(GUEST_CR4), 0x2000}}, .broken = {R(GUEST_IA32E_PAE)}},
    {"PCIDE in IA-32e mode", .set = {{F(GUEST_CR4), 0x22020}}},
    {"PCIDE outside IA-32e mode", .base = PROTECTED, .set = {{F(GUEST_CR4), 0x22000}}, .broken = {R(GUEST_CR4_PCIDE)}},
    {"FRED outside IA-32e mode", .base = PROTECTED, .set = {{F(GUEST_CR4), 0x100002000}, {F(GUEST_CS_ACCESS_RIGHTS), 0xa09b}}, .broken = {R(GUEST_CR4_FRED)}},
    {"CR3 bit 39 of 40", ICE, .set = {{F(GUEST_CR3), VMXC_BIT(39)}}},
    {"CR3 bit 40 of 40", ICE, .set = {{F(GUEST_CR3), VMXC_BIT(40)}}, .broken = {R(GUEST_CR3_WIDTH)}},
    {"CR3 bit 52", .set = {{F(GUEST_CR3), VMXC_BIT(52)}}, .broken = {R(GUEST_CR3_WIDTH)}},
    {"LAM bits", .set = {{F(GUEST_CR3), VMXC_BITS(62, 61)}}},
    {"SYSENTER_ESP", ICE, .set = {{F(GUEST_SYSENTER_ESP), VMXC_BIT(47)}}, .broken = {R(GUEST_SYSENTER_ESP_CANON)}},
    {"SYSENTER_EIP", ICE, .set = {{F(GUEST_SYSENTER_EIP), UINT64_C(0xffff7fffffffffff)}}, .broken = {R(GUEST_SYSENTER_EIP_CANON)}},
    {"S_CET bits 8:7", .set = {ENTRY(VMXC_ENTRY_LOAD_CET), {F(GUEST_S_CET), 0x180}}, .broken = {R(GUEST_S_CET_RSVD)}},
    {"SUPPRESS and TRACKER", .set = {ENTRY(VMXC_ENTRY_LOAD_CET), {F(GUEST_S_CET), 0xc00}}, .broken = {R(GUEST_S_CET_RSVD)}},
    {"S_CET not canonical", .set = {ENTRY(VMXC_ENTRY_LOAD_CET), {F(GUEST_S_CET), VMXC_BIT(57)}}, .broken = {R(GUEST_S_CET_CANON)}},
    {"S_CET bit 32 outside IA-32e mode", .base = PROTECTED, .set = {{F(VM_ENTRY_CONTROLS), ENTRY_FIXED | VMXC_ENTRY_LOAD_CET}, {F(GUEST_S_CET), VMXC_BIT(32)}}, .broken = {R(GUEST_S_CET_CANON)}},
    {"SSP table", .set = {ENTRY(VMXC_ENTRY_LOAD_CET), {F(GUEST_INTERRUPT_SSP_TABLE), VMXC_BIT(56)}}, .broken = {R(GUEST_ISST_CANON)}},
    {"PERF_GLOBAL_CTRL", ICE, .set = {ENTRY(VMXC_ENTRY_LOAD_PERF_GLOBAL_CTRL), {F(GUEST_IA32_PERF_GLOBAL_CTRL), 0xf000000ff}}},
    {"PERF_GLOBAL_CTRL bit 8", ICE, .set = {ENTRY(VMXC_ENTRY_LOAD_PERF_GLOBAL_CTRL), {F(GUEST_IA32_PERF_GLOBAL_CTRL), 0x100}}, .broken = {R(GUEST_PGC_RSVD)}},
    {"PAT", .set = {ENTRY(VMXC_ENTRY_LOAD_PAT), {F(GUEST_IA32_PAT), 0x7040600070406}}},
    {"PAT type 3", .set = {ENTRY(VMXC_ENTRY_LOAD_PAT), {F(GUEST_IA32_PAT), 0x03000000}}, .broken = {R(GUEST_PAT_TYPE)}},
    {"PAT type 0x80", .set = {ENTRY(VMXC_ENTRY_LOAD_PAT), {F(GUEST_IA32_PAT), UINT64_C(0x8000000000000000)}}, .broken = {R(GUEST_PAT_TYPE)}},
    {"EFER", .set = {ENTRY(VMXC_ENTRY_LOAD_EFER), {F(GUEST_IA32_EFER), 0xd01}}},
    {"EFER bit 63", .set = {ENTRY(VMXC_ENTRY_LOAD_EFER), {F(GUEST_IA32_EFER), UINT64_C(0x8000000000000500)}}, .broken = {R(GUEST_EFER_RSVD)}},
    {"EFER without LME", .set = {ENTRY(VMXC_ENTRY_LOAD_EFER), {F(GUEST_IA32_EFER), 0x400}}, .broken = {R(GUEST_EFER_LME)}},
    {"EFER.LME without paging", .base = REAL, .set = {{F(VM_ENTRY_CONTROLS), ENTRY_FIXED | VMXC_ENTRY_LOAD_EFER}, {F(GUEST_IA32_EFER), 0x100}}},
    {"EFER.LMA without IA-32e mode", .base = PROTECTED, .set = {{F(VM_ENTRY_CONTROLS), ENTRY_FIXED | VMXC_ENTRY_LOAD_EFER}, {F(GUEST_IA32_EFER), 0x500}}, .broken = {R(GUEST_EFER_LMA)}},
    {"BNDCFGS bits 1:0", .set = {ENTRY(VMXC_ENTRY_LOAD_BNDCFGS), {F(GUEST_IA32_BNDCFGS), 0x3}}},
    {"BNDCFGS bit 2", .set = {ENTRY(VMXC_ENTRY_LOAD_BNDCFGS), {F(GUEST_IA32_BNDCFGS), 0x4}}, .broken = {R(GUEST_BNDCFGS_RSVD)}},
    {"BNDCFGS bit 56", .set = {ENTRY(VMXC_ENTRY_LOAD_BNDCFGS), {F(GUEST_IA32_BNDCFGS), VMXC_BIT(56)}}, .broken = {R(GUEST_BNDCFGS_CANON)}},
    {"RTIT_CTL", .set = {ENTRY(VMXC_ENTRY_LOAD_RTIT_CTL), {F(GUEST_IA32_RTIT_CTL), 0x2c0c}}},
    {"RTIT_CTL: an encoding of an optional field", .set = {ENTRY(VMXC_ENTRY_LOAD_RTIT_CTL), {F(GUEST_IA32_RTIT_CTL), VMXC_BIT(24)}}, .broken = {R(GUEST_RTIT_RSVD)}},
    {"RTIT_CTL: an address range", .set = {ENTRY(VMXC_ENTRY_LOAD_RTIT_CTL), {F(GUEST_IA32_RTIT_CTL), VMXC_BIT(36)}}, .broken = {R(GUEST_RTIT_RSVD)}},
    {"PKRS bit 32", .set = {ENTRY(VMXC_ENTRY_LOAD_PKRS), {F(GUEST_IA32_PKRS), VMXC_BIT(32)}}, .broken = {R(GUEST_PKRS_HI)}},
    {"LBR_CTL", .set = {ENTRY(VMXC_ENTRY_LOAD_LBR_CTL), {F(GUEST_IA32_LBR_CTL), 0x1}}},
    {"LBR_CTL bit 4", .set = {ENTRY(VMXC_ENTRY_LOAD_LBR_CTL), {F(GUEST_IA32_LBR_CTL), 0x10}}, .broken = {R(GUEST_LBR_RSVD)}},
    {"UINV", .set = {ENTRY(VMXC_ENTRY_LOAD_UINV), {F(GUEST_UINV), 0xff}}},
    {"UINV bit 8", .set = {ENTRY(VMXC_ENTRY_LOAD_UINV), {F(GUEST_UINV), 0x100}}, .broken = {R(GUEST_UINV_HI)}},
    {"FRED_CONFIG bit 2", .set = {ENTRY(VMXC_ENTRY_LOAD_FRED), {F(GUEST_FRED_CONFIG), 0x4}}, .broken = {R(GUEST_FRED)}},
    {"FRED_RSP1 not canonical", .set = {ENTRY(VMXC_ENTRY_LOAD_FRED), {F(GUEST_FRED_RSP1), VMXC_BIT(56)}}, .broken = {R(GUEST_FRED)}},
    {"FRED_SSP1 bit 2", .set = {ENTRY(VMXC_ENTRY_LOAD_FRED), {F(GUEST_FRED_SSP1), 0x4}}, .broken = {R(GUEST_FRED)}},
    {"SPEC_CTRL bit 9", .set = {ENTRY(VMXC_ENTRY_LOAD_SPEC_CTRL), {F(GUEST_IA32_SPEC_CTRL), 0x200}}, .broken = {R(GUEST_SPEC_CTRL)}},
};
/* clang-format on */

/* clang-format off */
static const struct test_case segment_cases[] = {
    {"virtual-8086: access rights have one value, their parts no rules: CS type", .base = V86, .set = {{F(GUEST_CS_ACCESS_RIGHTS), 0xf2}}, .broken = {R(SEG_V86_AR)}},
    {"SS type", .base = V86, .set = {{F(GUEST_SS_ACCESS_RIGHTS), 0xf1}}, .broken = {R(SEG_V86_AR)}},
    {"DS not accessed", .base = V86, .set = {{F(GUEST_DS_ACCESS_RIGHTS), 0xf2}}, .broken = {R(SEG_V86_AR)}},
    {"ES code, not readable", .base = V86, .set = {{F(GUEST_ES_ACCESS_RIGHTS), 0xf9}}, .broken = {R(SEG_V86_AR)}},
    {"CS a system segment", .base = V86, .set = {{F(GUEST_CS_ACCESS_RIGHTS), 0xe3}}, .broken = {R(SEG_V86_AR)}},
    {"ES a system segment", .base = V86, .set = {{F(GUEST_ES_ACCESS_RIGHTS), 0xe3}}, .broken = {R(SEG_V86_AR)}},
    {"CS not present", .base = V86, .set = {{F(GUEST_CS_ACCESS_RIGHTS), 0x73}}, .broken = {R(SEG_V86_AR)}},
    {"FS not present", .base = V86, .set = {{F(GUEST_FS_ACCESS_RIGHTS), 0x73}}, .broken = {R(SEG_V86_AR)}},
    {"GS with reserved bits", .base = V86, .set = {{F(GUEST_GS_ACCESS_RIGHTS), 0x1f3}}, .broken = {R(SEG_V86_AR)}},
    {"DS with page granularity", .base = V86, .set = {{F(GUEST_DS_ACCESS_RIGHTS), 0x80f3}}, .broken = {R(SEG_V86_AR)}},
    {"SS with DPL 0", .base = V86, .set = {{F(GUEST_SS_ACCESS_RIGHTS), 0x93}}, .broken = {R(SEG_V86_AR)}},
    {"DS with DPL 0", .base = V86, .set = {{F(GUEST_DS_ACCESS_RIGHTS), 0x93}}, .broken = {R(SEG_V86_AR)}},
    {"CS non-conforming code with another DPL", .base = V86, .set = {{F(GUEST_CS_ACCESS_RIGHTS), 0x9b}}, .broken = {R(SEG_V86_AR)}},
    {"TI of TR", .set = {{F(GUEST_TR_SELECTOR), 0x1c}}, .broken = {R(SEG_TR_TI)}},
    {"TI of an unusable LDTR", .set = {{F(GUEST_LDTR_SELECTOR), 0x4}}},
    {"TI of LDTR", .set = {{F(GUEST_LDTR_SELECTOR), 0x4}, AR(LDTR, 0x82)}, .broken = {R(SEG_LDTR_TI)}},
    {"RPL of SS and CS", .set = {{F(GUEST_CS_SELECTOR), 0xb}}, .broken = {R(SEG_SS_RPL)}},
    {"RPL of SS and CS, unrestricted", .set = {{F(GUEST_CS_SELECTOR), 0xb}, UNRESTRICTED}},
    {"virtual-8086: RPL does not count", .base = V86, .set = {{F(GUEST_CS_SELECTOR), 0x1233}, {F(GUEST_CS_BASE), 0x12330}}},
    {"virtual-8086: base", .base = V86, .set = {{F(GUEST_GS_BASE), 0x12341}}, .broken = {R(SEG_V86_BASE)}},
    {"virtual-8086: two bases", .base = V86, .set = {{F(GUEST_GS_BASE), 0}, {F(GUEST_CS_BASE), 0}}, .broken = {R(SEG_V86_BASE)}},
    {"virtual-8086: two limits", .base = V86, .set = {{F(GUEST_GS_LIMIT), 0}, {F(GUEST_CS_LIMIT), 0}}, .broken = {R(SEG_V86_LIMIT)}},
    {"virtual-8086: access rights of two", .base = V86, .set = {AR(GS, 0x93), AR(CS, 0x9b)}, .broken = {R(SEG_V86_AR)}},
    {"virtual-8086: highest selector", .base = V86, .set = {{F(GUEST_SS_SELECTOR), 0xffff}, {F(GUEST_SS_BASE), 0xffff0}}},
    {"virtual-8086: limit", .base = V86, .set = {{F(GUEST_FS_LIMIT), 0xfffff}}, .broken = {R(SEG_V86_LIMIT)}},
    {"virtual-8086: access rights of the last", .base = V86, .set = {AR(GS, 0x93)}, .broken = {R(SEG_V86_AR)}},
    {"virtual-8086: unusable", .base = V86, .set = {AR(DS, 0x100f3)}, .broken = {R(SEG_V86_AR)}},
    {"TR base", ICE, .set = {{F(GUEST_TR_BASE), VMXC_BIT(47)}}, .broken = {R(SEG_TR_BASE)}},
    {"base of an unusable FS", ICE, .set = {{F(GUEST_FS_BASE), VMXC_BIT(47)}, AR(FS, 0x10000)}, .broken = {R(SEG_FS_BASE)}},
    {"FS base in the upper half", ICE, .set = {{F(GUEST_FS_BASE), UINT64_C(0xffff800000000000)}}},
    {"GS base", .set = {{F(GUEST_GS_BASE), VMXC_BIT(56)}}, .broken = {R(SEG_GS_BASE)}},
    {"base of an unusable LDTR", .set = {{F(GUEST_LDTR_BASE), VMXC_BIT(56)}}},
    {"LDTR base", .set = {{F(GUEST_LDTR_BASE), VMXC_BIT(56)}, AR(LDTR, 0x82)}, .broken = {R(SEG_LDTR_BASE)}},
    {"CS base bit 31", .set = {{F(GUEST_CS_BASE), VMXC_BIT(31)}}},
    {"CS base bit 32", .set = {{F(GUEST_CS_BASE), VMXC_BIT(32)}}, .broken = {R(SEG_CS_BASE)}},
    {"base of an unusable CS", .set = {{F(GUEST_CS_BASE), VMXC_BIT(32)}, AR(CS, 0x1a09b)}, .broken = {R(SEG_CS_BASE)}},
    {"SS base", .set = {{F(GUEST_SS_BASE), VMXC_BIT(32)}}, .broken = {R(SEG_SS_BASE)}},
    {"base of an unusable SS", .set = {{F(GUEST_SS_BASE), VMXC_BIT(32)}, AR(SS, 0x10000)}},
    {"SS with a null selector counts like any other", .set = {{F(GUEST_SS_SELECTOR), 0}, {F(GUEST_SS_BASE), VMXC_BIT(63)}}, .broken = {R(SEG_SS_BASE)}},
    {"ES base", .set = {{F(GUEST_ES_BASE), VMXC_BIT(40)}}, .broken = {R(SEG_DSES_BASE)}},
    {"CS not accessed", .set = {AR(CS, 0xa09a)}, .broken = {R(SEG_CS_TYPE)}},
    {"CS of type 3", .set = {AR(CS, 0xa093)}, .broken = {R(SEG_CS_TYPE)}},
    {"CS of type 3, unrestricted", .set = {AR(CS, 0xa093), UNRESTRICTED}},
    {"CS of type 7, unrestricted", .set = {AR(CS, 0xa097), UNRESTRICTED}, .broken = {R(SEG_CS_TYPE)}},
    {"execute-only CS", .set = {AR(CS, 0xa099)}},
    {"expand-down SS", .set = {AR(SS, 0xc097)}},
    {"read-only SS", .set = {AR(SS, 0xc091)}, .broken = {R(SEG_SS_TYPE)}},
    {"SS of type 11", .set = {AR(SS, 0xc09b)}, .broken = {R(SEG_SS_TYPE)}},
    {"DS not accessed", .set = {AR(DS, 0xc092)}, .broken = {R(SEG_DATA_ACCESSED)}},
    {"read-only FS", .set = {AR(FS, 0xc091)}},
    {"execute-only ES", .set = {AR(ES, 0xc099)}, .broken = {R(SEG_DATA_READABLE)}},
    {"unusable GS of any kind", .set = {AR(GS, 0x1ff00)}},
    {"system CS", .set = {AR(CS, 0xa08b)}, .broken = {R(SEG_CS_S)}},
    {"system GS", .set = {AR(GS, 0xc083)}, .broken = {R(SEG_S)}},
    {"DPL of a CS of type 3", .set = {AR(CS, 0xa0f3), UNRESTRICTED}, .broken = {R(SEG_CS_DPL_TYPE3)}},
    {"DPL of a non-conforming CS above that of SS", .set = {AR(CS, 0xa0bb)}, .broken = {R(SEG_CS_DPL_NONCONF)}},
    {"DPL of a non-conforming CS below that of SS", .set = {AR(SS, 0xc0f3), UNRESTRICTED}, .broken = {R(SEG_CS_DPL_NONCONF)}},
    {"DPL of a conforming CS above that of SS", .set = {AR(CS, 0xa0bf)}, .broken = {R(SEG_CS_DPL_CONF)}},
    {"DPL of a conforming CS below that of SS", .set = {AR(CS, 0xa09f), AR(SS, 0xc0f3), UNRESTRICTED}},
    {"DPL of an unusable SS", .set = {AR(SS, 0x10060), AR(CS, 0xa0fb)}, .broken = {R(SEG_SS_DPL_RPL)}},
    {"DPL of SS in real mode", .base = REAL, .set = {AR(SS, 0xc0f3), AR(CS, 0xc09f)}, .broken = {R(SEG_SS_DPL_ZERO)}},
    {"DPL of SS beside a CS of type 3", .set = {AR(SS, 0xc0f3), AR(CS, 0xa093), UNRESTRICTED}, .broken = {R(SEG_SS_DPL_ZERO)}},
    {"RPL of DS above its DPL", .set = {{F(GUEST_DS_SELECTOR), 0x13}}, .broken = {R(SEG_DATA_DPL)}},
    {"RPL of DS above its DPL, unrestricted", .set = {{F(GUEST_DS_SELECTOR), 0x13}, UNRESTRICTED}},
    {"RPL of a non-conforming code DS (type 11)", .set = {{F(GUEST_DS_SELECTOR), 0x13}, AR(DS, 0xc09b)}, .broken = {R(SEG_DATA_DPL)}},
    {"RPL of a conforming code DS (type 15)", .set = {{F(GUEST_DS_SELECTOR), 0x13}, AR(DS, 0xc09f)}},
    {"RPL of an expand-down DS (type 7)", .set = {{F(GUEST_DS_SELECTOR), 0x11}, AR(DS, 0xc097)}, .broken = {R(SEG_DATA_DPL)}},
    {"CS not present", .set = {AR(CS, 0xa01b)}, .broken = {R(SEG_CS_P)}},
    {"SS not present", .set = {AR(SS, 0xc013)}, .broken = {R(SEG_P)}},
    {"reserved bit 11 of CS", .set = {AR(CS, 0xa89b)}, .broken = {R(SEG_RSVD)}},
    {"reserved bit 17 of GS", .set = {AR(GS, 0x2c093)}, .broken = {R(SEG_RSVD)}},
    {"AVL is not reserved", .set = {AR(CS, 0xb09b)}},
    {"D/B and L", .set = {AR(CS, 0xe09b)}, .broken = {R(SEG_CS_DB)}},
    {"D/B and L outside IA-32e mode", .base = PROTECTED, .set = {AR(CS, 0xe09b)}},
    {"limit with a 0 below, G = 1", .set = {{F(GUEST_DS_LIMIT), 0xffeff}}, .broken = {R(SEG_G_LOW)}},
    {"limit with a 1 above, G = 0", .set = {{F(GUEST_DS_LIMIT), 0x1fffff}, AR(DS, 0x4093)}, .broken = {R(SEG_G_HIGH)}},
    {"limit with both", .set = {{F(GUEST_DS_LIMIT), 0x100ffe}}, .broken = {R(SEG_G_LOW)}},
    {"limit with both, G = 0", .set = {{F(GUEST_DS_LIMIT), 0x100ffe}, AR(DS, 0x4093)}, .broken = {R(SEG_G_HIGH)}},
    {"limit FFFFFH fits any G", .set = {{F(GUEST_DS_LIMIT), 0xfffff}}},
    {"limit FFFFFH fits any G, 0", .set = {{F(GUEST_DS_LIMIT), 0xfffff}, AR(DS, 0x4093)}},
    {"limit 0, G = 0, of the last segment", .set = {{F(GUEST_GS_LIMIT), 0}, AR(GS, 0x4093)}},
    {"limit 0, G = 1, of the last segment", .set = {{F(GUEST_GS_LIMIT), 0}}, .broken = {R(SEG_G_LOW)}},
    {"16-bit TSS in IA-32e mode", .set = {AR(TR, 0x83)}, .broken = {R(SEG_TR_TYPE)}},
    {"16-bit TSS", .base = PROTECTED, .set = {AR(TR, 0x83)}},
    {"available TSS", .base = PROTECTED, .set = {AR(TR, 0x89)}, .broken = {R(SEG_TR_TYPE)}},
    {"S of TR", .set = {AR(TR, 0x9b)}, .broken = {R(SEG_TR_S)}},
    {"P of TR", .set = {AR(TR, 0xb)}, .broken = {R(SEG_TR_P)}},
    {"reserved bit 8 of TR", .set = {AR(TR, 0x18b)}, .broken = {R(SEG_TR_RSVD)}},
    {"G of TR", .set = {AR(TR, 0x808b)}, .broken = {R(SEG_TR_G)}},
    {"large TSS", .set = {AR(TR, 0x8b), {F(GUEST_TR_LIMIT), 0x100fff}}, .broken = {R(SEG_TR_G)}},
    {"unusable TR", .set = {AR(TR, 0x1008b)}, .broken = {R(SEG_TR_USABLE)}},
    {"LDTR", .set = {AR(LDTR, 0x82)}},
    {"type of LDTR", .set = {AR(LDTR, 0x83)}, .broken = {R(SEG_LDTR_TYPE)}},
    {"S of LDTR", .set = {AR(LDTR, 0x92)}, .broken = {R(SEG_LDTR_S)}},
    {"P of LDTR", .set = {AR(LDTR, 0x2)}, .broken = {R(SEG_LDTR_P)}},
    {"reserved bit 31 of LDTR", .set = {AR(LDTR, 0x80000082)}, .broken = {R(SEG_LDTR_RSVD)}},
    {"G of LDTR", .set = {AR(LDTR, 0x8082)}, .broken = {R(SEG_LDTR_G)}},
    {"FRED, CPL 0, 64-bit", .set = {{F(GUEST_CR4), 0x100002020}}},
    {"FRED, CPL 0, not 64-bit", .set = {{F(GUEST_CR4), 0x100002020}, AR(CS, 0xc09b)}, .broken = {R(SEG_FRED)}},
    {"FRED, CPL 1", .set = {{F(GUEST_CR4), 0x100002020}, AR(CS, 0xa0bb), AR(SS, 0xc0b3), UNRESTRICTED}, .broken = {R(SEG_FRED)}},
    {"FRED, CPL 3, IOPL 0", .set = {{F(GUEST_CR4), 0x100002020}, AR(CS, 0xa0fb), AR(SS, 0xc0f3), UNRESTRICTED}},
    {"FRED, CPL 3, IOPL 1", .set = {{F(GUEST_CR4), 0x100002020}, AR(CS, 0xa0fb), AR(SS, 0xc0f3), UNRESTRICTED, {F(GUEST_RFLAGS), 0x1002}}, .broken = {R(SEG_FRED)}},
    {"FRED, CPL 3, blocking by STI", .set = {{F(GUEST_CR4), 0x100002020}, AR(CS, 0xa0fb), AR(SS, 0xc0f3), UNRESTRICTED, {F(GUEST_RFLAGS), 0x202}, {F(GUEST_INTERRUPTIBILITY_STATE), 1}}, .broken = {R(SEG_FRED)}},
    {"GDTR base", ICE, .set = {{F(GUEST_GDTR_BASE), VMXC_BIT(47)}}, .broken = {R(DT_GDTR_BASE)}},
    {"IDTR base", .set = {{F(GUEST_IDTR_BASE), VMXC_BIT(57)}}, .broken = {R(DT_IDTR_BASE)}},
    {"GDTR limit", .set = {{F(GUEST_GDTR_LIMIT), 0xffff}}},
    {"GDTR limit bit 16", .set = {{F(GUEST_GDTR_LIMIT), 0x10000}}, .broken = {R(DT_GDTR_LIMIT)}},
    {"IDTR limit bit 31", .set = {{F(GUEST_IDTR_LIMIT), 0x80000000}}, .broken = {R(DT_IDTR_LIMIT)}},
};
/* clang-format on */

/* clang-format off */
static const struct test_case rip_cases[] = {
    {"RIP bit 32 in compatibility mode", .set = {AR(CS, 0xc09b), {F(GUEST_RIP), VMXC_BIT(32)}}, .broken = {R(RIP_HI32)}},
    {"RIP bit 32 in protected mode, L = 1", .base = PROTECTED, .set = {AR(CS, 0xa09b), {F(GUEST_RIP), VMXC_BIT(32)}}, .broken = {R(RIP_HI32)}},
    {"RIP bit 47 of 48 is not canonical, yet allowed", ICE, .set = {{F(GUEST_RIP), VMXC_BIT(47)}}},
    {"RIP bit 48 of 48", ICE, .set = {{F(GUEST_RIP), VMXC_BIT(48)}}, .broken = {R(RIP_LINWIDTH)}},
    {"RIP bits 63:48 are 1, bit 47 is 0", ICE, .set = {{F(GUEST_RIP), UINT64_C(0xffff000000000000)}}},
    {"RIP bit 56 of 57", .set = {{F(GUEST_RIP), VMXC_BIT(56)}}},
    {"RIP bit 57 of 57", .set = {{F(GUEST_RIP), VMXC_BIT(57)}}, .broken = {R(RIP_LINWIDTH)}},
    {"RFLAGS, all there is", .set = {{F(GUEST_RFLAGS), 0x3d7fd7}}},
    {"RFLAGS bit 1", .set = {{F(GUEST_RFLAGS), 0}}, .broken = {R(RFLAGS_RSVD)}},
    {"RFLAGS bit 15", .set = {{F(GUEST_RFLAGS), 0x8002}}, .broken = {R(RFLAGS_RSVD)}},
    {"RFLAGS bit 22", .set = {{F(GUEST_RFLAGS), 0x400002}}, .broken = {R(RFLAGS_RSVD)}},
    {"RFLAGS bit 63", .set = {{F(GUEST_RFLAGS), UINT64_C(0x8000000000000002)}}, .broken = {R(RFLAGS_RSVD)}},
    {"external interrupt with IF", .set = {INJECT(0, 0x20), {F(GUEST_RFLAGS), 0x202}}},
    {"external interrupt without IF", .set = {INJECT(0, 0x20)}, .broken = {R(RFLAGS_IF)}},
    {"no valid external interrupt", .set = {{F(VM_ENTRY_INTERRUPTION_INFO), 0x20}}},
    {"SSP bit 0", .set = {ENTRY(VMXC_ENTRY_LOAD_CET), {F(GUEST_SSP), 1}}, .broken = {R(SSP_ALIGN)}},
    {"SSP bit 2", .set = {ENTRY(VMXC_ENTRY_LOAD_CET), {F(GUEST_SSP), 4}}},
    {"guest SSP need not be canonical: bit N - 1", .set = {ENTRY(VMXC_ENTRY_LOAD_CET), {F(GUEST_SSP), VMXC_BIT(56)}}},
    {"SSP bit N", .set = {ENTRY(VMXC_ENTRY_LOAD_CET), {F(GUEST_SSP), VMXC_BIT(57)}}, .broken = {R(SSP_CANON)}},
    {"SSP bit 32 outside IA-32e mode", .base = PROTECTED, .set = {{F(VM_ENTRY_CONTROLS), ENTRY_FIXED | VMXC_ENTRY_LOAD_CET}, {F(GUEST_SSP), VMXC_BIT(32)}}, .broken = {R(SSP_CANON)}},
    {"virtual-8086 in real mode", .base = V86, .set = {UNRESTRICTED, {F(GUEST_CR0), 0x30}}, .broken = {R(RFLAGS_VM)}},
};
/* clang-format on */

/* clang-format off */
static const struct test_case non_register_cases[] = {
    {"HLT", .set = {ACTIVITY(HLT)}},
    {"shutdown", .set = {ACTIVITY(SHUTDOWN)}},
    {"wait-for-SIPI", .set = {ACTIVITY(WAIT_FOR_SIPI)}},
    {"activity state 4", .set = {{F(GUEST_ACTIVITY_STATE), 4}}, .broken = {R(ACT_RANGE)}},
    {"activity state with bit 31", .set = {{F(GUEST_ACTIVITY_STATE), 0x80000001}}, .broken = {R(ACT_RANGE)}},
    {"HLT at CPL 3", .set = {ACTIVITY(HLT), AR(CS, 0xa0fb), AR(SS, 0xc0f3), UNRESTRICTED}, .broken = {R(ACT_HLT_DPL)}},
    {"HLT with blocking by MOV SS", .set = {ACTIVITY(HLT), BLOCKING(2)}, .broken = {R(ACT_BLOCK)}},
    {"HLT with blocking by NMI", .set = {ACTIVITY(HLT), BLOCKING(8)}},
    {"HLT, external interrupt", .set = {ACTIVITY(HLT), INJECT(0, 0x20), RFLAGS(VMXC_RFLAGS_IF)}},
    {"HLT, NMI", .set = {ACTIVITY(HLT), INJECT(2, 2)}},
    {"HLT, #DB", .set = {ACTIVITY(HLT), INJECT(3, 1)}},
    {"HLT, #MC", .set = {ACTIVITY(HLT), INJECT(3, 18)}},
    {"HLT, pending MTF", .set = {ACTIVITY(HLT), INJECT(7, 0)}},
    {"HLT, #UD", .set = {ACTIVITY(HLT), INJECT(3, 6)}, .broken = {R(ACT_HLT_INJ)}},
    {"HLT, INT1 is no hardware exception", .set = {ACTIVITY(HLT), INJECT(5, 1), {F(VM_ENTRY_INSTRUCTION_LENGTH), 1}}, .broken = {R(ACT_HLT_INJ)}},
    {"shutdown, NMI", .set = {ACTIVITY(SHUTDOWN), INJECT(2, 2)}},
    {"shutdown, #MC", .set = {ACTIVITY(SHUTDOWN), INJECT(3, 18)}},
    {"shutdown, INT 18 is no #MC", .set = {ACTIVITY(SHUTDOWN), INJECT(4, 18), {F(VM_ENTRY_INSTRUCTION_LENGTH), 2}}, .broken = {R(ACT_SHUT_INJ)}},
    {"shutdown, #DB", .set = {ACTIVITY(SHUTDOWN), INJECT(3, 1)}, .broken = {R(ACT_SHUT_INJ)}},
    {"wait-for-SIPI, NMI", .set = {ACTIVITY(WAIT_FOR_SIPI), INJECT(2, 2)}, .broken = {R(ACT_SIPI_INJ)}},
    {"entry to SMM, wait-for-SIPI", .set = {ACTIVITY(WAIT_FOR_SIPI), ENTRY(VMXC_ENTRY_ENTRY_TO_SMM), BLOCKING(4)}, .broken = {R(ACT_SMM)}, .processor = in_smm},
    {"entry to SMM", .set = {ENTRY(VMXC_ENTRY_ENTRY_TO_SMM), BLOCKING(4)}, .processor = in_smm},
    {"interruptibility bit 5", .set = {BLOCKING(0x20)}, .broken = {R(INTR_RSVD)}},
    {"blocking by STI and by MOV SS", .set = {BLOCKING(3), RFLAGS(VMXC_RFLAGS_IF)}, .broken = {R(INTR_STI_MOVSS)}},
    {"blocking by STI", .set = {BLOCKING(1), RFLAGS(VMXC_RFLAGS_IF)}},
    {"blocking by STI without IF", .set = {BLOCKING(1)}, .broken = {R(INTR_STI_IF)}},
    {"blocking by MOV SS without IF", .set = {BLOCKING(2)}},
    {"external interrupt, blocking by STI", .set = {INJECT(0, 0x20), RFLAGS(VMXC_RFLAGS_IF), BLOCKING(1)}, .broken = {R(INTR_EXTINT)}},
    {"external interrupt, blocking by NMI", .set = {INJECT(0, 0x20), RFLAGS(VMXC_RFLAGS_IF), BLOCKING(8)}},
    {"NMI, blocking by MOV SS", .set = {INJECT(2, 2), BLOCKING(2)}, .broken = {R(INTR_NMI_MOVSS)}},
    {"NMI, blocking by STI", .set = {INJECT(2, 2), BLOCKING(1), RFLAGS(VMXC_RFLAGS_IF)}, .broken = {R(INTR_NMI_STI)}},
    {"NMI, blocking by NMI", .set = {INJECT(2, 2), BLOCKING(8)}},
    {"NMI, blocking by virtual NMI", .set = {INJECT(2, 2), BLOCKING(8), NMIS}, .broken = {R(INTR_VNMI)}},
    {"blocking by SMI", .set = {BLOCKING(4)}, .broken = {R(INTR_SMI)}},
    {"blocking by SMI in SMM", .set = {BLOCKING(4)}, .processor = in_smm},
    {"entry to SMM without blocking by SMI", .set = {ENTRY(VMXC_ENTRY_ENTRY_TO_SMM)}, .broken = {R(INTR_SMI_ENTRY)}, .processor = in_smm},
    {"enclave interruption", .set = {BLOCKING(0x10)}},
    {"enclave interruption without SGX", ICE, .set = {BLOCKING(0x10)}, .broken = {R(INTR_ENCLAVE)}},
    {"enclave interruption, blocking by MOV SS", .set = {BLOCKING(0x12)}, .broken = {R(INTR_ENCLAVE)}},
    {"pending B3 to B0, enabled breakpoint, BS", .set = {PENDING(0x500f)}},
    {"pending bit 4", .set = {PENDING(0x10)}, .broken = {R(PDBG_RSVD)}},
    {"pending bit 10", .set = {PENDING(0x400)}, .broken = {R(PDBG_RSVD)}},
    {"pending bit 11 with bus-lock detection", .set = {PENDING(0x800)}},
    {"pending bit 11 without", ICE, .set = {PENDING(0x800)}, .broken = {R(PDBG_RSVD)}},
    {"pending bit 13", .set = {PENDING(0x2000)}, .broken = {R(PDBG_RSVD)}},
    {"pending bit 17", .set = {PENDING(0x20000)}, .broken = {R(PDBG_RSVD)}},
    {"pending bit 63", .set = {PENDING(VMXC_BIT(63))}, .broken = {R(PDBG_RSVD)}},
    {"TF with nothing that holds BS", .set = {RFLAGS(VMXC_RFLAGS_TF)}},
    {"TF, blocking by MOV SS, no BS", .set = {RFLAGS(VMXC_RFLAGS_TF), BLOCKING(2)}, .broken = {R(PDBG_BS_SET)}},
    {"TF, blocking by MOV SS, BS", .set = {RFLAGS(VMXC_RFLAGS_TF), BLOCKING(2), PENDING(0x4000)}},
    {"TF, HLT, no BS", .set = {RFLAGS(VMXC_RFLAGS_TF), ACTIVITY(HLT)}, .broken = {R(PDBG_BS_SET)}},
    {"TF, BTF, HLT, no BS", .set = {RFLAGS(VMXC_RFLAGS_TF), ACTIVITY(HLT), {F(GUEST_IA32_DEBUGCTL), 2}}},
    {"TF, BTF, HLT, BS", .set = {RFLAGS(VMXC_RFLAGS_TF), ACTIVITY(HLT), {F(GUEST_IA32_DEBUGCTL), 2}, PENDING(0x4000)}, .broken = {R(PDBG_BS_CLEAR)}},
    {"no TF, blocking by STI, BS", .set = {RFLAGS(VMXC_RFLAGS_IF), BLOCKING(1), PENDING(0x4000)}, .broken = {R(PDBG_BS_CLEAR)}},
    {"no TF, shutdown, BS", .set = {ACTIVITY(SHUTDOWN), PENDING(0x4000)}},
    {"RTM", RICH, .set = {PENDING(0x11000)}},
    {"RTM without support", ICE, .set = {PENDING(0x11000)}, .broken = {R(PDBG_RTM)}},
    {"RTM without enabled breakpoint", RICH, .set = {PENDING(0x10000)}, .broken = {R(PDBG_RTM)}},
    {"RTM with B0", RICH, .set = {PENDING(0x11001)}, .broken = {R(PDBG_RTM)}},
    {"RTM with BS", RICH, .set = {PENDING(0x15000)}, .broken = {R(PDBG_RTM)}},
    {"RTM, blocking by MOV SS", RICH, .set = {PENDING(0x11000), BLOCKING(2)}, .broken = {R(PDBG_RTM)}},
};
/* clang-format on */

/* ---- Profiles: "everything" with more, or less, than it has ---- */

struct profile_change {
    const char *object, *key,
        *value; /* value: four registers as a JSON array, or the value of an MSR */
};

static const struct profile_change rich_changes[] = {
    {"cpuid", "0x7.0", "[\"0x2\", \"0xffffffff\", \"0xffffffff\", \"0xffffffff\"]"},
    {"cpuid", "0x7.2", "[\"0x0\", \"0x0\", \"0x0\", \"0x1f\"]"},
    {"cpuid", "0xa.0", "[\"0x8300805\", \"0x0\", \"0x20\", \"0x8604\"]"},
    {"cpuid", "0x14.0", "[\"0x1\", \"0x1ff\", \"0xf\", \"0x0\"]"},
    {"cpuid", "0x14.1", "[\"0xf0002\", \"0x7000f\", \"0x0\", \"0x0\"]"},
    {"cpuid", "0x1c.0", "[\"0x0\", \"0x7\", \"0x0\", \"0x0\"]"},
    {"msr", "0x345", "\"0x9000\""},
};

static const struct profile_change poor_changes[] = {
    {"cpuid", "0x7.0", "[\"0x0\", \"0x0\", \"0x80\", \"0x80000\"]"},
    {"cpuid", "0xa.0", "[\"0x1\", \"0x0\", \"0x0\", \"0x0\"]"},
    {"msr", "0x345", "\"0x0\""},
    {"msr", "0x480",
     "\"0x4da100000000001\""}, /* error codes are delivered by those exceptions that have one */
};

static struct vmxsim_profile *rich, *poor;

static struct vmxsim_profile *changed(const struct profile_change *changes, size_t count)
{
    char *text = vmxsim_profile_to_json(vmxsim_profile_builtin("everything"));
    json_t *cpu = json_loads(text, 0, NULL);
    struct vmxsim_profile *profile = NULL;
    struct vmxsim_error error;

    free(text);
    for (size_t i = 0; i < count; i++)
        json_object_set_new(json_object_get(cpu, changes[i].object), changes[i].key,
                            json_loads(changes[i].value, JSON_DECODE_ANY, NULL));
    text = json_dumps(cpu, JSON_COMPACT);
    json_decref(cpu);
    const enum vmxc_status status =
        vmxsim_profile_from_json(text, strlen(text), "changed", &profile, &error);
    free(text);
    ck_assert_msg(status == VMXC_OK, "%s", error.text);
    return profile;
}

static void make_profiles(void)
{
    rich = changed(rich_changes, COUNT(rich_changes));
    poor = changed(poor_changes, COUNT(poor_changes));
}

static void destroy_profiles(void)
{
    vmxsim_profile_destroy(rich);
    vmxsim_profile_destroy(poor);
}

static const struct vmxsim_profile *profile_by_name(const char *name)
{
    if (strcmp(name, "rich") == 0)
        return rich;
    return strcmp(name, "poor") == 0 ? poor : vmxsim_profile_builtin(name);
}

static void run_case(const struct test_case *test)
{
    struct vmxsim_vmcs vmcs = valid_vmcs(test->base);
    struct vmxsim_entry_processor processor = root_processor();
    const char *name = test->profile ? test->profile : "everything";
    const struct vmxsim_entry_input input = {
        .vmcs = &vmcs,
        .profile = profile_by_name(name),
        .processor = &processor,
    };
    unsigned broken = 0;

    apply(&vmcs, test->set);
    if (test->processor)
        test->processor(&processor);
    vmxsim_entry_check(&input, &report);
    while (broken < COUNT(test->broken) && test->broken[broken] != 0)
        broken++;
    bool as_expected = report.undecided_count == 0 && report.violation_count == broken;
    for (unsigned i = 0; i < broken; i++)
        as_expected = as_expected && is_violated(test->broken[i]);
    if (!as_expected)
        print_report(test->name);
    ck_assert_msg(as_expected, "%s", test->name);
    check_changes(test->name, &input);
}

#define RUN_ALL(cases)                          \
    for (size_t i = 0; i < COUNT(cases); i++) { \
        run_case(&(cases)[i]);                  \
    }

/* clang-format off */
static const struct test_case optional_cases[] = {
    {"advanced debugging of transactions", RICH, .set = {ENTRY(VMXC_ENTRY_LOAD_DEBUG_CONTROLS), {F(GUEST_IA32_DEBUGCTL), 0xffc7}}},
    {"FREEZE_WHILE_SMM as IA32_PERF_CAPABILITIES says", "poor", .set = {ENTRY(VMXC_ENTRY_LOAD_DEBUG_CONTROLS), {F(GUEST_IA32_DEBUGCTL), 0x4000}}, .broken = {R(GUEST_DEBUGCTL_RSVD)}},
    {"freezing on PMI takes version 2", "poor", .set = {ENTRY(VMXC_ENTRY_LOAD_DEBUG_CONTROLS), {F(GUEST_IA32_DEBUGCTL), 0x800}}, .broken = {R(GUEST_DEBUGCTL_RSVD)}},
    {"freezing counters, too", "poor", .set = {ENTRY(VMXC_ENTRY_LOAD_DEBUG_CONTROLS), {F(GUEST_IA32_DEBUGCTL), 0x1000}}, .broken = {R(GUEST_DEBUGCTL_RSVD)}},
    {"performance metrics", RICH, .set = {ENTRY(VMXC_ENTRY_LOAD_PERF_GLOBAL_CTRL), {F(GUEST_IA32_PERF_GLOBAL_CTRL), VMXC_BIT(48)}}},
    {"no performance metrics", "poor", .set = {ENTRY(VMXC_ENTRY_LOAD_PERF_GLOBAL_CTRL), {F(GUEST_IA32_PERF_GLOBAL_CTRL), VMXC_BIT(48)}}, .broken = {R(GUEST_PGC_RSVD)}},
    {"a gap among the fixed counters", RICH, .set = {ENTRY(VMXC_ENTRY_LOAD_PERF_GLOBAL_CTRL), {F(GUEST_IA32_PERF_GLOBAL_CTRL), VMXC_BIT(36)}}, .broken = {R(GUEST_PGC_RSVD)}},
    {"the fixed counter behind it", RICH, .set = {ENTRY(VMXC_ENTRY_LOAD_PERF_GLOBAL_CTRL), {F(GUEST_IA32_PERF_GLOBAL_CTRL), VMXC_BIT(37)}}},
    {"no performance monitoring", "poor", .set = {EXIT(VMXC_EXIT_LOAD_PERF_GLOBAL_CTRL), {F(HOST_IA32_PERF_GLOBAL_CTRL), 1}}, .broken = {R(HOST_PGC_RSVD)}},
    {"every bit of SPEC_CTRL", RICH, .set = {ENTRY(VMXC_ENTRY_LOAD_SPEC_CTRL), {F(GUEST_IA32_SPEC_CTRL), 0x5ff}}},
    {"LBR_CTL", RICH, .set = {ENTRY(VMXC_ENTRY_LOAD_LBR_CTL), {F(GUEST_IA32_LBR_CTL), 0x7f000f}}},
    {"LBR_CTL without filters", "poor", .set = {ENTRY(VMXC_ENTRY_LOAD_LBR_CTL), {F(GUEST_IA32_LBR_CTL), 0x10001}}, .broken = {R(GUEST_LBR_RSVD)}},
    {"every switch of RTIT_CTL", RICH, .set = {ENTRY(VMXC_ENTRY_LOAD_RTIT_CTL), {F(GUEST_IA32_RTIT_CTL), UINT64_C(0x180000080003fff)}}},
    {"RTIT_CTL bit 18", RICH, .set = {ENTRY(VMXC_ENTRY_LOAD_RTIT_CTL), {F(GUEST_IA32_RTIT_CTL), VMXC_BIT(18)}}, .broken = {R(GUEST_RTIT_RSVD)}},
    {"supported MTC, CYC and PSB encodings", RICH, .set = {ENTRY(VMXC_ENTRY_LOAD_RTIT_CTL), {F(GUEST_IA32_RTIT_CTL), 3u << 14 | 2u << 19 | 1u << 24}}},
    {"unsupported MTC frequency", RICH, .set = {ENTRY(VMXC_ENTRY_LOAD_RTIT_CTL), {F(GUEST_IA32_RTIT_CTL), 4u << 14}}, .broken = {R(GUEST_RTIT_RSVD)}},
    {"unsupported CYC threshold", RICH, .set = {ENTRY(VMXC_ENTRY_LOAD_RTIT_CTL), {F(GUEST_IA32_RTIT_CTL), 4u << 19}}, .broken = {R(GUEST_RTIT_RSVD)}},
    {"unsupported PSB frequency", RICH, .set = {ENTRY(VMXC_ENTRY_LOAD_RTIT_CTL), {F(GUEST_IA32_RTIT_CTL), 15u << 24}}, .broken = {R(GUEST_RTIT_RSVD)}},
    {"two address ranges, 2 and 1", RICH, .set = {ENTRY(VMXC_ENTRY_LOAD_RTIT_CTL), {F(GUEST_IA32_RTIT_CTL), UINT64_C(0x1200000000)}}},
    {"address range of kind 3", RICH, .set = {ENTRY(VMXC_ENTRY_LOAD_RTIT_CTL), {F(GUEST_IA32_RTIT_CTL), UINT64_C(0x300000000)}}, .broken = {R(GUEST_RTIT_RSVD)}},
    {"third address range", RICH, .set = {ENTRY(VMXC_ENTRY_LOAD_RTIT_CTL), {F(GUEST_IA32_RTIT_CTL), UINT64_C(0x10000000000)}}, .broken = {R(GUEST_RTIT_RSVD)}},
    {"S_CET without indirect-branch tracking", "poor", .set = {EXIT(VMXC_EXIT_LOAD_CET), {F(HOST_S_CET), 0x4}}, .broken = {R(HOST_S_CET_RSVD)}},
};
/* clang-format on */

START_TEST(valid_states_break_nothing)
{
    RUN_ALL(valid_cases);
}
END_TEST

START_TEST(host_state)
{
    RUN_ALL(host_cases);
}
END_TEST

START_TEST(guest_registers)
{
    RUN_ALL(register_cases);
}
END_TEST

START_TEST(guest_segments)
{
    RUN_ALL(segment_cases);
}
END_TEST

START_TEST(guest_rip)
{
    RUN_ALL(rip_cases);
}
END_TEST

START_TEST(guest_non_register)
{
    RUN_ALL(non_register_cases);
}
END_TEST

START_TEST(reserved_bits_follow_the_profile)
{
    RUN_ALL(optional_cases);
}
END_TEST

/* #DF, #TS, #NP, #SS, #GP, #PF, #AC and, where there is CET, #CP: the exceptions that push an error code. */
START_TEST(injected_exceptions_have_the_error_code_that_is_theirs)
{
    const uint64_t with_code = VMXC_BIT(8) | VMXC_BITS(14, 10) | VMXC_BIT(17);
    for (unsigned vector = 0; vector < 32; vector++) {
        for (unsigned cet = 0; cet < 2; cet++) {
            for (unsigned delivers = 0; delivers < 2; delivers++) {
                const bool has = vector == 21 ? cet : with_code >> vector & 1;
                const uint64_t info = UINT64_C(0x80000300) | delivers << 11 | vector;
                const struct test_case test = {
                    .name = "injected exception",
                    .profile = cet ? "poor" : "icelake",
                    .set = {{F(VM_ENTRY_INTERRUPTION_INFO), info}},
                    .broken = {has == (bool)delivers ? 0 : R(CTL_INJ_EC_VECTOR)}};
                run_case(&test);
            }
        }
    }
}
END_TEST

START_TEST(a_processor_is_in_64_bit_vmx_root_operation_unless_told_otherwise)
{
    const struct vmxsim_entry_processor processor = vmxsim_entry_processor_default(0x5000);
    ck_assert_uint_eq(processor.cr0, 0x80000031);
    ck_assert_uint_eq(processor.cr4, 0x2020);
    ck_assert_uint_eq(processor.efer, 0x500);
    ck_assert_uint_eq(processor.rflags, 2);
    ck_assert_uint_eq(processor.current_vmcs, 0x5000);
    ck_assert(processor.in_vmx && processor.code_64bit && !processor.in_smm && !processor.launched);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("entry_state");
    TCase *cases = tcase_create("edges");

    tcase_add_unchecked_fixture(cases, make_profiles, destroy_profiles);
    tcase_add_test(cases, host_state);
    tcase_add_test(cases, guest_registers);
    tcase_add_test(cases, guest_segments);
    tcase_add_test(cases, guest_rip);
    tcase_add_test(cases, guest_non_register);
    tcase_add_test(cases, reserved_bits_follow_the_profile);
    tcase_add_test(cases, injected_exceptions_have_the_error_code_that_is_theirs);
    tcase_add_test(cases, a_processor_is_in_64_bit_vmx_root_operation_unless_told_otherwise);
    tcase_add_test(cases, valid_states_break_nothing);
    suite_add_tcase(s, cases);
    return s;
}

int main(void)
{
    return run_suite(suite());
}
