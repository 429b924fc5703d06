/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A logical processor: creation, and the guest state that a VM entry gives it.
 * Source: Intel SDM volume 3, "Loading Guest State", "Paging" (reserved bits), "EPT Paging Structures".
 */
#include <stdlib.h>
#include <string.h>

#include "internal/apart.h"
#include "internal/cpu.h"
#include "internal/msr_switch.h"
#include "internal/region_watch.h"
#include "internal/tlb.h"
#include "internal/virtual_apic.h"
#include "vmxcore/defs/controls.h"
#include "vmxcore/defs/guest_state.h"
#include "vmxcore/defs/msr.h"
#include "vmxsim/snapshot.h"

/* CR0 bits that a VM entry never changes. Source: SDM, "Loading Guest Control Registers, Debug Registers, and MSRs". */
#define CR0_KEPT \
    (VMXC_BIT(4) | VMXC_BITS(15, 6) | VMXC_BIT(17) | VMXC_BITS(28, 19) | VMXC_CR0_NW | VMXC_CR0_CD)

/* Bits of DR7 that a VM entry loads; bit 10 is always 1. */
#define DR7_WRITABLE (VMXC_BITS(9, 0) | VMXC_BIT(11) | VMXC_BIT(13) | VMXC_BITS(31, 16))

#define ACCESS_RIGHTS_DPL VMXC_BITS(6, 5)
#define ACCESS_RIGHTS_L   VMXC_BIT(13)

enum vmxc_status vmxsim_cpu_create(struct vmxsim_memory *memory,
                                   const struct vmxsim_profile *profile, struct vmxsim_cpu **cpu)
{
    struct vmxsim_cpu *created;

    if (!memory || !profile)
        return VMXC_INVALID_INPUT;
    created = vmxsim_alloc_apart(sizeof(*created));
    if (!created)
        return VMXC_NO_MEMORY;
    if (vmxsim_snapshot_register(memory, created, offsetof(struct vmxsim_cpu, tlb)) != VMXC_OK) {
        free(created);
        return VMXC_NO_MEMORY;
    }
    created->memory = memory;
    created->profile = profile;
    created->number = vmxsim_region_watch_number(memory);
    vmxsim_cpu_reset(created, &(struct vmxsim_root_state){
                                  .cr0 = VMXC_CR0_PE | VMXC_CR0_ET | VMXC_CR0_NE | VMXC_CR0_PG,
                                  .cr4 = VMXC_CR4_PAE | VMXC_CR4_VMXE,
                                  .efer = VMXC_EFER_LME | VMXC_EFER_LMA,
                              });
    *cpu = created;
    return VMXC_OK;
}

void vmxsim_cpu_destroy(struct vmxsim_cpu *cpu)
{
    if (!cpu)
        return;
    vmxsim_region_watch_drop(cpu->memory, cpu->number);
    vmxsim_snapshot_unregister(cpu->memory, cpu);
    vmxsim_tlb_destroy(cpu);
    free(cpu);
}

enum vmxc_status vmxsim_cpu_clone(const struct vmxsim_cpu *cpu, struct vmxsim_memory *memory,
                                  struct vmxsim_cpu **clone)
{
    if (!cpu)
        return VMXC_INVALID_INPUT;
    struct vmxsim_cpu *created;
    VMXC_TRY(vmxsim_cpu_create(memory, cpu->profile, &created));
    const uint32_t number = created->number;
    *created = *cpu;
    created->memory = memory;
    created->number = number;
    created->tlb = NULL;
    enum vmxc_status status = vmxsim_region_watch_copy(cpu->memory, cpu->number, memory, number);
    if (status == VMXC_OK)
        status = vmxsim_tlb_clone(cpu, created);
    if (status == VMXC_OK)
        *clone = created;
    else
        vmxsim_cpu_destroy(created);
    return status;
}

uint32_t vmxsim_cpu_number(const struct vmxsim_cpu *cpu)
{
    return cpu->number;
}

void vmxsim_cpu_set_root_state(struct vmxsim_cpu *cpu, const struct vmxsim_root_state *root)
{
    cpu->root = *root;
    cpu->execution.code_64bit = root->efer & VMXC_EFER_LMA;
}

void vmxsim_cpu_reset(struct vmxsim_cpu *cpu, const struct vmxsim_root_state *root)
{
    vmxsim_region_watch_drop(cpu->memory, cpu->number);
    *cpu = (struct vmxsim_cpu){
        .memory = cpu->memory,
        .profile = cpu->profile,
        .number = cpu->number,
        .execution.rflags = VMXC_RFLAGS_1,
        .vmx = {.vmxon_pointer = VMXC_VMCS_POINTER_NONE, .current = VMXC_VMCS_POINTER_NONE},
        .dr = {[6] = DR6_RESET, [7] = DR7_RESET},
        .tlb = cpu->tlb,
    };
    vmxsim_tlb_reset(cpu);
    vmxsim_cpu_set_root_state(cpu, root);
}

void vmxsim_cpu_set_pkru(struct vmxsim_cpu *cpu, uint32_t pkru)
{
    cpu->guest.pkru = pkru;
    vmxsim_tlb_state_changed(cpu);
}

uint16_t vmxsim_cpu_pml_index(const struct vmxsim_cpu *cpu)
{
    return cpu->exits.pml_index;
}

/* ---- Which controls are on. A word that is not activated counts as 0. ---- */

static uint64_t secondary_controls(const struct vmxsim_vmcs *vmcs)
{
    return (VMXSIM_VMCS(vmcs, PRIMARY_PROCESSOR_BASED_CONTROLS) &
            VMXC_PRIMARY_ACTIVATE_SECONDARY_CONTROLS)
               ? VMXSIM_VMCS(vmcs, SECONDARY_PROCESSOR_BASED_CONTROLS)
               : 0;
}

static uint64_t tertiary_controls(const struct vmxsim_vmcs *vmcs)
{
    return (VMXSIM_VMCS(vmcs, PRIMARY_PROCESSOR_BASED_CONTROLS) &
            VMXC_PRIMARY_ACTIVATE_TERTIARY_CONTROLS)
               ? VMXSIM_VMCS(vmcs, TERTIARY_PROCESSOR_BASED_CONTROLS)
               : 0;
}

/*
 * Features that change what a guest access comes to and that the walk does not implement: refused by name, never
 * ignored. CAVEATS.md lists them with the reasons.
 */
static const char *find_unsupported(const struct vmxsim_vmcs *vmcs)
{
    const uint64_t tertiary = tertiary_controls(vmcs);
    const uint64_t cr4 = VMXSIM_VMCS(vmcs, GUEST_CR4);
    const uint64_t cr3 = VMXSIM_VMCS(vmcs, GUEST_CR3);

    const struct {
        bool used;
        const char *name;
    } features[] = {
        {tertiary & VMXC_TERTIARY_IPI_VIRTUALIZATION, "IPI virtualization"},
        {tertiary & VMXC_TERTIARY_APIC_TIMER_VIRTUALIZATION, "APIC-timer virtualization"},
        {tertiary & VMXC_TERTIARY_ENABLE_HLAT, "enable HLAT"},
        {tertiary & VMXC_TERTIARY_EPT_PAGING_WRITE_CONTROL, "EPT paging-write control"},
        {tertiary & VMXC_TERTIARY_GUEST_PAGING_VERIFICATION, "guest-paging verification"},
        {cr4 & VMXC_CR4_LASS, "linear-address space separation (CR4.LASS)"},
        {cr4 & VMXC_CR4_LAM_SUP, "linear-address masking (CR4.LAM_SUP)"},
        {cr3 & (VMXC_CR3_LAM_U48 | VMXC_CR3_LAM_U57),
         "linear-address masking (CR3.LAM_U48, LAM_U57)"},
    };

    for (size_t i = 0; i < sizeof(features) / sizeof(features[0]); i++) {
        if (features[i].used)
            return features[i].name;
    }
    return NULL;
}

/* ---- Guest registers ---- */

/* 0: the processor does not have the MSR. */
static uint64_t msr_or_zero(const struct vmxsim_cpu *cpu, uint32_t msr)
{
    uint64_t value = 0;

    return vmxsim_cpu_read_msr(cpu, msr, &value) ? value : 0;
}

/* Without "load IA32_EFER" a VM entry changes LMA, and LME if paging is on; the rest is the host's. */
static uint64_t guest_efer(const struct vmxsim_cpu *cpu, const struct vmxsim_vmcs *vmcs)
{
    const uint64_t entry = VMXSIM_VMCS(vmcs, VM_ENTRY_CONTROLS);
    const bool ia32e = entry & VMXC_ENTRY_IA32E_MODE_GUEST;
    const bool paging = VMXSIM_VMCS(vmcs, GUEST_CR0) & VMXC_CR0_PG;
    const uint64_t changed = paging ? VMXC_EFER_LMA | VMXC_EFER_LME : VMXC_EFER_LMA;

    if (entry & VMXC_ENTRY_LOAD_EFER)
        return VMXSIM_VMCS(vmcs, GUEST_IA32_EFER);
    return (cpu->root.efer & ~changed) | (ia32e ? changed : 0);
}

static enum paging_mode paging_mode(const struct guest_state *guest)
{
    if (!(guest->cr0 & VMXC_CR0_PG))
        return PAGING_NONE;
    if (!(guest->cr4 & VMXC_CR4_PAE))
        return PAGING_32BIT;
    if (!(guest->efer & VMXC_EFER_LMA))
        return PAGING_PAE;
    return (guest->cr4 & VMXC_CR4_LA57) ? PAGING_5_LEVEL : PAGING_4_LEVEL;
}

static void load_registers(struct vmxsim_cpu *cpu, const struct vmxsim_vmcs *vmcs)
{
    const uint64_t entry = VMXSIM_VMCS(vmcs, VM_ENTRY_CONTROLS);
    struct guest_state *guest = &cpu->guest;

    *guest = (struct guest_state){
        .cr0 = (VMXSIM_VMCS(vmcs, GUEST_CR0) & ~CR0_KEPT) | (cpu->root.cr0 & CR0_KEPT),
        .cr3 = VMXSIM_VMCS(vmcs, GUEST_CR3),
        .cr4 = VMXSIM_VMCS(vmcs, GUEST_CR4),
        .efer = guest_efer(cpu, vmcs),
        .rflags = VMXSIM_VMCS(vmcs, GUEST_RFLAGS),
        .pat = (entry & VMXC_ENTRY_LOAD_PAT) ? VMXSIM_VMCS(vmcs, GUEST_IA32_PAT)
                                             : msr_or_zero(cpu, VMXC_MSR_PAT),
        .pkrs = (uint32_t)((entry & VMXC_ENTRY_LOAD_PKRS) ? VMXSIM_VMCS(vmcs, GUEST_IA32_PKRS)
                                                          : msr_or_zero(cpu, VMXC_MSR_PKRS)),
        .tr_base = VMXSIM_VMCS(vmcs, GUEST_TR_BASE),
        .tr_limit = (uint32_t)VMXSIM_VMCS(vmcs, GUEST_TR_LIMIT),
        .tr_access_rights = (uint32_t)VMXSIM_VMCS(vmcs, GUEST_TR_ACCESS_RIGHTS),
        .pkru = guest->pkru,
        .cpl =
            (uint8_t)VMXC_FIELD_GET(VMXSIM_VMCS(vmcs, GUEST_SS_ACCESS_RIGHTS), ACCESS_RIGHTS_DPL),
    };
    guest->mode_64bit = (guest->efer & VMXC_EFER_LMA) &&
                        (VMXSIM_VMCS(vmcs, GUEST_CS_ACCESS_RIGHTS) & ACCESS_RIGHTS_L);
    guest->mode = paging_mode(guest);
    if (entry & VMXC_ENTRY_LOAD_DEBUG_CONTROLS)
        cpu->dr[7] = (VMXSIM_VMCS(vmcs, GUEST_DR7) & DR7_WRITABLE) | DR7_RESET;
    cpu->preemption_timer = (uint32_t)VMXSIM_VMCS(vmcs, PREEMPTION_TIMER_VALUE);
}

/* PAE paging uses four PDPTE registers: from the VMCS with EPT, otherwise from the table that CR3 names. */
static void load_pdptes(struct vmxsim_cpu *cpu, const struct vmxsim_vmcs *vmcs)
{
    struct guest_state *guest = &cpu->guest;
    const uint64_t table_hpa = guest->cr3 & VMXC_BITS(31, 5);

    if (guest->mode != PAGING_PAE)
        return;
    if (!cpu->ept.enabled) {
        for (unsigned i = 0; i < 4; i++)
            guest->pdpte[i] = vmxsim_memory_read64(cpu->memory, table_hpa + UINT64_C(8) * i);
        return;
    }
    guest->pdpte[0] = VMXSIM_VMCS(vmcs, GUEST_PDPTE0);
    guest->pdpte[1] = VMXSIM_VMCS(vmcs, GUEST_PDPTE1);
    guest->pdpte[2] = VMXSIM_VMCS(vmcs, GUEST_PDPTE2);
    guest->pdpte[3] = VMXSIM_VMCS(vmcs, GUEST_PDPTE3);
}

/* ---- Reserved bits, worked out once ---- */

/* Address bits from the physical width up to `hi`. */
static uint64_t beyond_width(const struct vmxsim_features *features, unsigned hi)
{
    return features->maxphyaddr > hi ? 0 : VMXC_BITS(hi, (unsigned)features->maxphyaddr);
}

/* Source: SDM, "32-Bit Paging". Only a PDE that maps 4 MBytes has reserved bits, besides PAT bits without PAT. */
static void set_32bit_format(struct guest_state *guest, const struct vmxsim_features *features)
{
    const unsigned width = features->maxphyaddr < 40 ? features->maxphyaddr : 40;
    const unsigned address_bits = features->pse36 && width > 32 ? width - 32 : 0;

    guest->levels = 2;
    guest->large_page[2] = guest->cr4 & VMXC_CR4_PSE;
    guest->reserved.leaf[2] = VMXC_BITS(21, 13 + address_bits);
    if (!features->pat) {
        guest->reserved.leaf[2] |= VMXC_PTE_LARGE_PAT;
        guest->reserved.leaf[1] |= VMXC_PTE_PAT;
    }
}

/* Source: SDM, "PAE Paging". */
static void set_pae_format(struct guest_state *guest, const struct vmxsim_features *features)
{
    const uint64_t upper =
        beyond_width(features, 62) | ((guest->efer & VMXC_EFER_NXE) ? 0 : VMXC_PTE_NO_EXECUTE);

    guest->levels = 3;
    guest->large_page[2] = true;
    guest->reserved.table[2] = upper;
    guest->reserved.leaf[2] = upper | VMXC_BITS(20, 13);
    guest->reserved.leaf[1] = upper;
    if (!features->pat) {
        guest->reserved.leaf[2] |= VMXC_PTE_LARGE_PAT;
        guest->reserved.leaf[1] |= VMXC_PTE_PAT;
    }
}

/* Source: SDM, "4-Level Paging and 5-Level Paging". */
static void set_long_format(struct guest_state *guest, const struct vmxsim_features *features)
{
    const uint64_t upper =
        beyond_width(features, 51) | ((guest->efer & VMXC_EFER_NXE) ? 0 : VMXC_PTE_NO_EXECUTE);

    guest->levels = guest->mode == PAGING_5_LEVEL ? 5 : 4;
    guest->large_page[2] = true;
    guest->large_page[3] = features->page_1g;
    for (unsigned level = 1; level <= MAX_LEVELS; level++)
        guest->reserved.table[level] = guest->reserved.leaf[level] = upper;
    guest->reserved.table[5] |= VMXC_PTE_PAGE_SIZE;
    guest->reserved.table[4] |= VMXC_PTE_PAGE_SIZE;
    if (!features->page_1g)
        guest->reserved.table[3] |= VMXC_PTE_PAGE_SIZE;
    guest->reserved.leaf[3] |= VMXC_BITS(29, 13);
    guest->reserved.leaf[2] |= VMXC_BITS(20, 13);
}

void vmxsim_cpu_select_guest_paging(struct vmxsim_cpu *cpu)
{
    cpu->guest.mode = paging_mode(&cpu->guest);
    vmxsim_cpu_update_guest_paging(cpu);
}

void vmxsim_cpu_update_guest_paging(struct vmxsim_cpu *cpu)
{
    const struct vmxsim_features *features = vmxsim_profile_features(cpu->profile);

    cpu->guest.linear_width = (cpu->guest.cr4 & VMXC_CR4_LA57) ? 57 : 48;
    cpu->guest.levels = 0;
    memset(cpu->guest.large_page, 0, sizeof(cpu->guest.large_page));
    memset(&cpu->guest.reserved, 0, sizeof(cpu->guest.reserved));
    switch (cpu->guest.mode) {
    case PAGING_NONE:
        break;
    case PAGING_32BIT:
        set_32bit_format(&cpu->guest, features);
        break;
    case PAGING_PAE:
        set_pae_format(&cpu->guest, features);
        break;
    case PAGING_4_LEVEL:
    case PAGING_5_LEVEL:
        set_long_format(&cpu->guest, features);
        break;
    }
}

/* Source: SDM, "EPT Translation Mechanism" (formats of the EPT entries). */
static void set_ept_format(struct ept_state *ept, const struct vmxsim_features *features)
{
    const uint64_t upper = beyond_width(features, 51);

    ept->large_page[2] = features->ept_2m;
    ept->large_page[3] = features->ept_1g;
    ept->reserved.table[5] = ept->reserved.table[4] = upper | VMXC_BITS(7, 3);
    ept->reserved.table[3] = upper | VMXC_BITS(6, 3) | (features->ept_1g ? 0 : VMXC_EPT_LARGE_PAGE);
    ept->reserved.table[2] = upper | VMXC_BITS(6, 3) | (features->ept_2m ? 0 : VMXC_EPT_LARGE_PAGE);
    ept->reserved.leaf[3] = upper | VMXC_BITS(29, 12);
    ept->reserved.leaf[2] = upper | VMXC_BITS(20, 12);
    ept->reserved.leaf[1] = upper;
    ept->sppt_reserved = beyond_width(features, 63) | VMXC_BITS(11, 1);
}

static void load_ept(struct vmxsim_cpu *cpu, const struct vmxsim_vmcs *vmcs)
{
    const struct vmxsim_features *features = vmxsim_profile_features(cpu->profile);
    const uint64_t secondary = secondary_controls(vmcs);
    const uint64_t eptp = VMXSIM_VMCS(vmcs, EPT_POINTER);

    cpu->ept = (struct ept_state){.enabled = secondary & VMXC_SECONDARY_ENABLE_EPT};
    if (!cpu->ept.enabled)
        return;
    cpu->ept.accessed_dirty = eptp & VMXC_EPTP_ACCESSED_DIRTY;
    cpu->ept.shadow_stack = eptp & VMXC_EPTP_SHADOW_STACK;
    cpu->ept.mode_based_execute = secondary & VMXC_SECONDARY_MODE_BASED_EXECUTE_CONTROL;
    cpu->ept.sub_page_permissions = secondary & VMXC_SECONDARY_SUB_PAGE_WRITE_PERMISSIONS;
    cpu->ept.sppt_root = VMXSIM_VMCS(vmcs, SUB_PAGE_PERMISSION_TABLE_POINTER) & VMXC_EPT_ADDRESS;
    cpu->ept.execute_only = features->ept_execute_only;
    cpu->ept.advanced_info = features->ept_advanced_info;
    cpu->ept.levels = (uint8_t)(VMXC_FIELD_GET(eptp, VMXC_EPTP_WALK_LENGTH) + 1);
    cpu->ept.root = eptp & VMXC_EPTP_ADDRESS;
    set_ept_format(&cpu->ept, features);
}

static void load_exit_controls(struct vmxsim_cpu *cpu, const struct vmxsim_vmcs *vmcs)
{
    const uint64_t secondary = secondary_controls(vmcs);

    cpu->exits = (struct exit_controls){
        .pin = VMXSIM_VMCS(vmcs, PIN_BASED_CONTROLS),
        .primary = VMXSIM_VMCS(vmcs, PRIMARY_PROCESSOR_BASED_CONTROLS),
        .secondary = secondary,
        .tertiary = tertiary_controls(vmcs),
        .io_bitmap_a = VMXSIM_VMCS(vmcs, IO_BITMAP_A_ADDRESS),
        .io_bitmap_b = VMXSIM_VMCS(vmcs, IO_BITMAP_B_ADDRESS),
        .msr_bitmap = VMXSIM_VMCS(vmcs, MSR_BITMAP_ADDRESS),
        .exception_bitmap = (uint32_t)VMXSIM_VMCS(vmcs, EXCEPTION_BITMAP),
        .page_fault_mask = (uint32_t)VMXSIM_VMCS(vmcs, PAGE_FAULT_ERROR_CODE_MASK),
        .page_fault_match = (uint32_t)VMXSIM_VMCS(vmcs, PAGE_FAULT_ERROR_CODE_MATCH),
        .ple_gap = (uint32_t)VMXSIM_VMCS(vmcs, PLE_GAP),
        .ple_window = (uint32_t)VMXSIM_VMCS(vmcs, PLE_WINDOW),
        .pml = (secondary & VMXC_SECONDARY_ENABLE_PML) && cpu->ept.accessed_dirty,
        .pml_address = VMXSIM_VMCS(vmcs, PML_ADDRESS),
        .pml_index = (uint16_t)VMXSIM_VMCS(vmcs, PML_INDEX),
        .ve = secondary & VMXC_SECONDARY_EPT_VIOLATION_VE,
        .ve_info_address = VMXSIM_VMCS(vmcs, VIRTUALIZATION_EXCEPTION_INFO_ADDRESS),
        .eptp_index = (uint16_t)VMXSIM_VMCS(vmcs, EPTP_INDEX),
    };
}

void vmxsim_cpu_update_ept(struct vmxsim_cpu *cpu, const struct vmxsim_vmcs *vmcs)
{
    load_ept(cpu, vmcs);
    cpu->exits.pml =
        (secondary_controls(vmcs) & VMXC_SECONDARY_ENABLE_PML) && cpu->ept.accessed_dirty;
    cpu->exits.eptp_index = (uint16_t)VMXSIM_VMCS(vmcs, EPTP_INDEX);
    vmxsim_tlb_state_changed(cpu);
}

void vmxsim_cpu_load_guest_state(struct vmxsim_cpu *cpu, const struct vmxsim_vmcs *vmcs)
{
    load_ept(cpu, vmcs);
    load_registers(cpu, vmcs);
    load_pdptes(cpu, vmcs);
    vmxsim_cpu_update_guest_paging(cpu);
    load_exit_controls(cpu, vmcs);
    cpu->pause_loop = (struct pause_loop){.started = false};
    vmxsim_virtual_apic_enter(cpu);
    cpu->unsupported = find_unsupported(vmcs);
    cpu->in_guest = true;
    vmxsim_tlb_transition(cpu);
}

enum vmxc_status vmxsim_cpu_load_guest(struct vmxsim_cpu *cpu, const struct vmxsim_vmcs *vmcs,
                                       struct vmxsim_error *error)
{
    const char *unsupported = find_unsupported(vmcs);
    const uint64_t levels =
        VMXC_FIELD_GET(VMXSIM_VMCS(vmcs, EPT_POINTER), VMXC_EPTP_WALK_LENGTH) + 1;

    if (cpu->vmx.current != VMXC_VMCS_POINTER_NONE)
        return vmxsim_error_set(error, VMXC_BAD_STATE, "a VMCS is current");
    if (unsupported)
        return vmxsim_error_set(error, VMXC_UNSUPPORTED, "not modelled: %s", unsupported);
    if ((secondary_controls(vmcs) & VMXC_SECONDARY_ENABLE_EPT) && levels != 4 && levels != 5)
        return vmxsim_error_set(error, VMXC_INVALID_INPUT, "EPTP: page-walk length %u",
                                (unsigned)levels);
    cpu->vmx.vmcs.fields = *vmcs;
    vmxsim_tlb_reset(cpu);
    vmxsim_cpu_load_guest_state(cpu, vmcs);
    cpu->vmx.mode = VMXSIM_VMX_NON_ROOT;
    return vmxsim_msr_switch_load_guest(cpu);
}
