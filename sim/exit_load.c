/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host state that a VM exit, or a VM-entry failure, loads. Source: Intel SDM volume 3, "Loading Host State".
 */
#include "internal/exit.h"
#include "vmxcore/defs/controls.h"
#include "vmxcore/defs/msr.h"
#include "vmxcore/defs/segments.h"

/* CR0 bits that a VM exit never changes. CR0.ET is 1 on every processor with VMX. */
#define CR0_KEPT                                                                       \
    (VMXC_CR0_ET | VMXC_BITS(15, 6) | VMXC_BIT(17) | VMXC_BITS(28, 19) | VMXC_CR0_NW | \
     VMXC_CR0_CD | VMXC_BITS(63, 32))

#define TABLE_LIMIT UINT32_C(0xffff) /* of GDTR and IDTR */
#define FLAT_LIMIT  UINT32_MAX
#define TSS_LIMIT   UINT32_C(0x67)

/* Rights of usable registers: present, accessed, DPL 0. */
#define CODE_RIGHTS                                                                       \
    (VMXC_SEGMENT_CODE | VMXC_SEGMENT_READABLE | VMXC_SEGMENT_ACCESSED | VMXC_SEGMENT_S | \
     VMXC_SEGMENT_P | VMXC_SEGMENT_G)
#define DATA_RIGHTS                                                                        \
    (VMXC_SEGMENT_TYPE_DATA_WRITABLE | VMXC_SEGMENT_S | VMXC_SEGMENT_P | VMXC_SEGMENT_DB | \
     VMXC_SEGMENT_G)
#define TSS_RIGHTS (VMXC_SEGMENT_TYPE_BUSY_TSS | VMXC_SEGMENT_P)

static bool is_64bit_host(const struct vmxsim_vmcs *vmcs)
{
    return VMXSIM_VMCS(vmcs, PRIMARY_VM_EXIT_CONTROLS) & VMXC_EXIT_HOST_ADDRESS_SPACE_SIZE;
}

/* ---- Control registers and EFER ---- */

/* What the guest had is what the exit changes: without "load IA32_EFER" only LMA and LME follow the host. */
static uint64_t host_efer(const struct vmxsim_cpu *cpu, const struct vmxsim_vmcs *vmcs)
{
    const uint64_t ia32e = VMXC_EFER_LMA | VMXC_EFER_LME;
    const uint64_t current = cpu->in_guest ? cpu->guest.efer : cpu->root.efer;

    if (VMXSIM_VMCS(vmcs, PRIMARY_VM_EXIT_CONTROLS) & VMXC_EXIT_LOAD_EFER)
        return VMXSIM_VMCS(vmcs, HOST_IA32_EFER);
    return (current & ~ia32e) | (is_64bit_host(vmcs) ? ia32e : 0);
}

/* PAE is 1 in a 64-bit host, PCIDE is 0 in another. */
static uint64_t host_cr4(const struct vmxsim_vmcs *vmcs)
{
    const uint64_t cr4 = VMXSIM_VMCS(vmcs, HOST_CR4);

    return is_64bit_host(vmcs) ? cr4 | VMXC_CR4_PAE : cr4 & ~VMXC_CR4_PCIDE;
}

static void load_control_registers(struct vmxsim_cpu *cpu, const struct vmxsim_vmcs *vmcs)
{
    const uint64_t kept = cpu->in_guest ? cpu->guest.cr0 : cpu->root.cr0;

    cpu->root.efer = host_efer(cpu, vmcs);
    cpu->root.cr0 = (VMXSIM_VMCS(vmcs, HOST_CR0) & ~CR0_KEPT) | (kept & CR0_KEPT);
    cpu->root.cr4 = host_cr4(vmcs);
    cpu->root_cr3 = VMXSIM_VMCS(vmcs, HOST_CR3);
    cpu->host.cr3 = cpu->root_cr3;
    cpu->dr[7] = DR7_RESET;
    cpu->host.dr7 = DR7_RESET;
}

/* ---- Segments and tables ---- */

static struct vmxsim_segment data_segment(uint64_t selector, uint64_t base)
{
    return (struct vmxsim_segment){
        .selector = (uint16_t)selector,
        .base = base,
        .limit = FLAT_LIMIT,
        .access_rights = (uint32_t)(selector ? DATA_RIGHTS : VMXC_SEGMENT_UNUSABLE),
    };
}

static void load_segments(struct vmxsim_segment segment[], const struct vmxsim_vmcs *vmcs)
{
    const uint64_t code_size = is_64bit_host(vmcs) ? VMXC_SEGMENT_L : VMXC_SEGMENT_DB;

    segment[VMXSIM_CS] = (struct vmxsim_segment){
        .selector = (uint16_t)VMXSIM_VMCS(vmcs, HOST_CS_SELECTOR),
        .limit = FLAT_LIMIT,
        .access_rights = (uint32_t)(CODE_RIGHTS | code_size),
    };
    segment[VMXSIM_SS] = data_segment(VMXSIM_VMCS(vmcs, HOST_SS_SELECTOR), 0);
    segment[VMXSIM_DS] = data_segment(VMXSIM_VMCS(vmcs, HOST_DS_SELECTOR), 0);
    segment[VMXSIM_ES] = data_segment(VMXSIM_VMCS(vmcs, HOST_ES_SELECTOR), 0);
    segment[VMXSIM_FS] =
        data_segment(VMXSIM_VMCS(vmcs, HOST_FS_SELECTOR), VMXSIM_VMCS(vmcs, HOST_FS_BASE));
    segment[VMXSIM_GS] =
        data_segment(VMXSIM_VMCS(vmcs, HOST_GS_SELECTOR), VMXSIM_VMCS(vmcs, HOST_GS_BASE));
    segment[VMXSIM_TR] = (struct vmxsim_segment){
        .selector = (uint16_t)VMXSIM_VMCS(vmcs, HOST_TR_SELECTOR),
        .base = VMXSIM_VMCS(vmcs, HOST_TR_BASE),
        .limit = TSS_LIMIT,
        .access_rights = (uint32_t)TSS_RIGHTS,
    };
    segment[VMXSIM_LDTR] =
        (struct vmxsim_segment){.access_rights = (uint32_t)VMXC_SEGMENT_UNUSABLE};
}

static void load_tables(struct vmxsim_host_state *host, const struct vmxsim_vmcs *vmcs)
{
    host->gdtr_base = VMXSIM_VMCS(vmcs, HOST_GDTR_BASE);
    host->gdtr_limit = TABLE_LIMIT;
    host->idtr_base = VMXSIM_VMCS(vmcs, HOST_IDTR_BASE);
    host->idtr_limit = TABLE_LIMIT;
}

void vmxsim_exit_load_host(struct vmxsim_cpu *cpu)
{
    const struct vmxsim_vmcs *vmcs = &cpu->vmx.vmcs.fields;

    cpu->host = (struct vmxsim_host_state){
        .rip = VMXSIM_VMCS(vmcs, HOST_RIP),
        .rsp = VMXSIM_VMCS(vmcs, HOST_RSP),
    };
    if (VMXSIM_VMCS(vmcs, PRIMARY_VM_EXIT_CONTROLS) & VMXC_EXIT_LOAD_CET)
        cpu->host.ssp = VMXSIM_VMCS(vmcs, HOST_SSP);
    load_control_registers(cpu, vmcs);
    load_segments(cpu->host.segment, vmcs);
    load_tables(&cpu->host, vmcs);
    cpu->execution = (struct vmxsim_execution_state){
        .rflags = VMXC_RFLAGS_1,
        .code_64bit = is_64bit_host(vmcs),
    };
}

/* ---- PDPTEs ---- */

static uint64_t reserved_pdpte_bits(const struct vmxsim_cpu *cpu)
{
    const unsigned width = vmxsim_profile_features(cpu->profile)->maxphyaddr;

    return VMXC_BITS(2, 1) | VMXC_BITS(8, 5) | VMXC_BITS(63, width);
}

bool vmxsim_exit_load_host_pdptes(struct vmxsim_cpu *cpu)
{
    const uint64_t table_hpa = cpu->root_cr3 & VMXC_BITS(31, 5);
    const bool pae = !is_64bit_host(&cpu->vmx.vmcs.fields) && (cpu->root.cr4 & VMXC_CR4_PAE);
    bool valid = true;

    for (unsigned i = 0; pae && i < 4; i++) {
        const uint64_t pdpte = vmxsim_memory_read64(cpu->memory, table_hpa + UINT64_C(8) * i);
        if ((pdpte & VMXC_PTE_PRESENT) && (pdpte & reserved_pdpte_bits(cpu)))
            valid = false;
        cpu->host.pdpte[i] = pdpte;
    }
    return valid;
}
