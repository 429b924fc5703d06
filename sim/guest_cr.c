/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest's moves to and from control registers, CLTS, LMSW, SMSW.
 *
 * Of CR0 and CR4, the bits of the guest/host mask belong to the host: the guest reads them from the read shadow, cannot
 * change them, and exits if it tries to.
 *
 *      reads    (register & ~mask) | (shadow & mask)
 *      writes   (value ^ shadow) & mask: VM exit; otherwise (register & mask) | (value & ~mask)
 *
 * Source: Intel SDM volume 3, "Guest/Host Masks and Read Shadows for CR0 and CR4", "CR3-Target Controls", "Instructions That
 * Cause VM Exits Conditionally", "Changes to Instruction Behavior in VMX Non-Root Operation", "Virtualizing CR8-Based TPR
 * Accesses".
 */
#include "internal/guest.h"
#include "internal/tlb.h"
#include "internal/virtual_apic.h"
#include "vmxcore/defs/controls.h"
#include "vmxcore/defs/segments.h"

#define CR0_DEFINED                                                                      \
    (VMXC_CR0_PE | VMXC_CR0_MP | VMXC_CR0_EM | VMXC_CR0_TS | VMXC_CR0_NE | VMXC_CR0_WP | \
     VMXC_CR0_AM | VMXC_CR0_NW | VMXC_CR0_CD | VMXC_CR0_PG)
#define LMSW_BITS (VMXC_CR0_PE | VMXC_CR0_MP | VMXC_CR0_EM | VMXC_CR0_TS)

/* Changes of these bits make a processor with PAE paging load the PDPTEs. */
#define CR0_LOADS_PDPTES (VMXC_CR0_CD | VMXC_CR0_NW | VMXC_CR0_PG)
#define CR4_LOADS_PDPTES (VMXC_CR4_PAE | VMXC_CR4_PGE | VMXC_CR4_PSE | VMXC_CR4_SMEP)

#define CR8_DEFINED VMXC_BITS(3, 0)

enum { CR3_TARGETS = 4, REGISTERS = 16 };

/* ---- Masks ---- */

struct shadowed {
    uint64_t mask, shadow;
};

static struct shadowed shadow_of_cr0(struct vmxsim_cpu *cpu)
{
    return (struct shadowed){VMXSIM_VMCS(guest_vmcs(cpu), CR0_GUEST_HOST_MASK),
                             VMXSIM_VMCS(guest_vmcs(cpu), CR0_READ_SHADOW)};
}

static struct shadowed shadow_of_cr4(struct vmxsim_cpu *cpu)
{
    return (struct shadowed){VMXSIM_VMCS(guest_vmcs(cpu), CR4_GUEST_HOST_MASK),
                             VMXSIM_VMCS(guest_vmcs(cpu), CR4_READ_SHADOW)};
}

static uint64_t read_through(struct shadowed host, uint64_t value)
{
    return (value & ~host.mask) | (host.shadow & host.mask);
}

static uint64_t write_through(struct shadowed host, uint64_t old, uint64_t value)
{
    return (old & host.mask) | (value & ~host.mask);
}

static enum vmxc_status exit_for_cr(struct walk *walk, enum vmxsim_walk_rule rule, uint8_t cr,
                                    enum vmxc_cr_access access, uint8_t gpr)
{
    return vmxsim_guest_exit(walk, rule, VMXC_EXIT_REASON_CR_ACCESS,
                             VMXC_FIELD_MAKE(cr, VMXC_QUALIFICATION_CR_NUMBER) |
                                 VMXC_FIELD_MAKE(access, VMXC_QUALIFICATION_CR_ACCESS) |
                                 VMXC_FIELD_MAKE(gpr, VMXC_QUALIFICATION_CR_REGISTER));
}

/* ---- Taking effect ---- */

/* The registers after a move, and whether it loads the PDPTEs if PAE paging is then in use. */
struct move {
    uint64_t cr0, cr3, cr4;
    bool loads_pdptes;
    bool is_cr3;    /* a move to CR3 */
    uint64_t value; /* moved to CR3 */
};

static struct move no_move(const struct guest_state *guest)
{
    return (struct move){.cr0 = guest->cr0, .cr3 = guest->cr3, .cr4 = guest->cr4};
}

static bool uses_pae(const struct guest_state *guest, const struct move *move)
{
    return (move->cr0 & VMXC_CR0_PG) && (move->cr4 & VMXC_CR4_PAE) &&
           !(guest->efer & VMXC_EFER_LME);
}

static uint64_t reserved_pdpte_bits(const struct vmxsim_cpu *cpu)
{
    const unsigned width = vmxsim_profile_features(cpu->profile)->maxphyaddr;

    return VMXC_BITS(2, 1) | VMXC_BITS(8, 5) | VMXC_BITS(63, width);
}

/* Where the PDPTEs are: EPT translates their address, as that of no linear address. */
static enum vmxc_status locate_pdptes(struct walk *walk, uint64_t gpa, uint64_t *hpa)
{
    *hpa = gpa;
    if (!walk->cpu->ept.enabled)
        return VMXC_OK;
    VMXC_TRY(vmxsim_guest_physical_access(walk->cpu, gpa, VMXC_EPT_READ, walk->outcome, NULL));
    *hpa = walk->outcome->page[0].hpa;
    return VMXC_OK;
}

/* `*loaded` is false if reading or checking them has ended the instruction. */
static enum vmxc_status load_pdptes(struct walk *walk, uint64_t cr3, uint64_t pdpte[4],
                                    bool *loaded)
{
    uint64_t hpa;

    *loaded = false;
    VMXC_TRY(locate_pdptes(walk, cr3 & VMXC_BITS(31, 5), &hpa));
    if (walk->outcome->kind != VMXSIM_OUTCOME_COMPLETE)
        return VMXC_OK;
    *walk->outcome = (struct vmxsim_outcome){.kind = VMXSIM_OUTCOME_COMPLETE};
    for (unsigned i = 0; i < 4; i++) {
        pdpte[i] = vmxsim_memory_read64(walk->cpu->memory, hpa + UINT64_C(8) * i);
        if ((pdpte[i] & VMXC_PTE_PRESENT) && (pdpte[i] & reserved_pdpte_bits(walk->cpu)))
            return vmxsim_guest_fault(walk, VMXSIM_RULE_CR_PDPTE, VMXC_VECTOR_GP);
    }
    *loaded = true;
    return VMXC_OK;
}

static void update_efer(struct guest_state *guest, uint64_t code_rights)
{
    const bool ia32e = (guest->cr0 & VMXC_CR0_PG) && (guest->efer & VMXC_EFER_LME);

    guest->efer = (guest->efer & ~VMXC_EFER_LMA) | (ia32e ? VMXC_EFER_LMA : 0);
    guest->mode_64bit = ia32e && (code_rights & VMXC_SEGMENT_L);
}

static enum vmxc_status commit(struct walk *walk, const struct move *move)
{
    struct guest_state *guest = &walk->cpu->guest;
    const uint64_t old_cr0 = guest->cr0;
    const uint64_t old_cr4 = guest->cr4;
    uint64_t pdpte[4];
    bool loaded = false;

    if (move->loads_pdptes && uses_pae(guest, move)) {
        VMXC_TRY(load_pdptes(walk, move->cr3, pdpte, &loaded));
        if (!loaded)
            return VMXC_OK;
    }
    for (unsigned i = 0; loaded && i < 4; i++)
        guest->pdpte[i] = pdpte[i];
    guest->cr0 = (move->cr0 & CR0_DEFINED) | VMXC_CR0_ET;
    guest->cr3 = move->cr3;
    guest->cr4 = move->cr4;
    update_efer(guest, VMXSIM_VMCS(guest_vmcs(walk->cpu), GUEST_CS_ACCESS_RIGHTS));
    vmxsim_cpu_select_guest_paging(walk->cpu);
    vmxsim_tlb_state_changed(walk->cpu);
    vmxsim_tlb_moved_to_cr(walk->cpu, old_cr0, old_cr4);
    if (move->is_cr3)
        vmxsim_tlb_moved_to_cr3(walk->cpu, move->value);
    return vmxsim_guest_complete(walk);
}

/* ---- CR0 and CR4 ---- */

static enum vmxc_status write_cr0(struct walk *walk, uint64_t value)
{
    const struct guest_state *guest = &walk->cpu->guest;
    struct move move = no_move(guest);

    move.cr0 = write_through(shadow_of_cr0(walk->cpu), guest->cr0, value);
    move.loads_pdptes = (move.cr0 ^ guest->cr0) & CR0_LOADS_PDPTES;
    if (vmxsim_guest_check_cr0(walk->cpu, move.cr0) != VMXSIM_RULE_NONE)
        return vmxsim_guest_fault(walk, VMXSIM_RULE_CR_VALUE, VMXC_VECTOR_GP);
    return commit(walk, &move);
}

static enum vmxc_status mov_to_cr0(struct walk *walk, uint8_t gpr, uint64_t value)
{
    const struct shadowed host = shadow_of_cr0(walk->cpu);

    if ((value ^ host.shadow) & host.mask)
        return exit_for_cr(walk, VMXSIM_RULE_EXIT_CR_MASK, 0, VMXC_CR_ACCESS_MOV_TO, gpr);
    return write_cr0(walk, value);
}

static enum vmxc_status mov_to_cr4(struct walk *walk, uint8_t gpr, uint64_t value)
{
    const struct guest_state *guest = &walk->cpu->guest;
    const struct shadowed host = shadow_of_cr4(walk->cpu);
    struct move move = no_move(guest);

    if ((value ^ host.shadow) & host.mask)
        return exit_for_cr(walk, VMXSIM_RULE_EXIT_CR_MASK, 4, VMXC_CR_ACCESS_MOV_TO, gpr);
    move.cr4 = write_through(host, guest->cr4, value);
    move.loads_pdptes = (move.cr4 ^ guest->cr4) & CR4_LOADS_PDPTES;
    if (vmxsim_guest_check_cr4(walk->cpu, move.cr4) != VMXSIM_RULE_NONE)
        return vmxsim_guest_fault(walk, VMXSIM_RULE_CR_VALUE, VMXC_VECTOR_GP);
    if (move.cr4 & (VMXC_CR4_LASS | VMXC_CR4_LAM_SUP))
        return VMXC_UNSUPPORTED;
    return commit(walk, &move);
}

/* ---- CR3 ---- */

static bool is_cr3_target(const struct vmxsim_vmcs *vmcs, uint64_t value)
{
    const uint64_t targets[CR3_TARGETS] = {
        VMXSIM_VMCS(vmcs, CR3_TARGET_VALUE_0), VMXSIM_VMCS(vmcs, CR3_TARGET_VALUE_1),
        VMXSIM_VMCS(vmcs, CR3_TARGET_VALUE_2), VMXSIM_VMCS(vmcs, CR3_TARGET_VALUE_3)};
    const uint64_t count = VMXSIM_VMCS(vmcs, CR3_TARGET_COUNT);

    for (uint64_t i = 0; i < count && i < CR3_TARGETS; i++) {
        if (targets[i] == value)
            return true;
    }
    return false;
}

static enum vmxc_status mov_to_cr3(struct walk *walk, uint8_t gpr, uint64_t value)
{
    struct move move = no_move(&walk->cpu->guest);

    if ((walk->cpu->exits.primary & VMXC_PRIMARY_CR3_LOAD_EXITING) &&
        !is_cr3_target(guest_vmcs(walk->cpu), value))
        return exit_for_cr(walk, VMXSIM_RULE_EXIT_CR3_TARGETS, 3, VMXC_CR_ACCESS_MOV_TO, gpr);
    if (vmxsim_guest_check_cr3(walk->cpu, value) != VMXSIM_RULE_NONE) {
        if (value & (VMXC_CR3_LAM_U48 | VMXC_CR3_LAM_U57))
            return VMXC_UNSUPPORTED;
        return vmxsim_guest_fault(walk, VMXSIM_RULE_CR_VALUE, VMXC_VECTOR_GP);
    }
    move.cr3 = value & ~VMXC_BIT(63);
    move.is_cr3 = true;
    move.value = value;
    move.loads_pdptes = true;
    return commit(walk, &move);
}

static enum vmxc_status mov_from_cr3(struct walk *walk, uint8_t gpr)
{
    if (walk->cpu->exits.primary & VMXC_PRIMARY_CR3_STORE_EXITING)
        return exit_for_cr(walk, VMXSIM_RULE_EXIT_CONTROL, 3, VMXC_CR_ACCESS_MOV_FROM, gpr);
    walk->outcome->value = walk->cpu->guest.cr3;
    return vmxsim_guest_complete(walk);
}

/* ---- CR8 ---- */

/* A VM exit that the write brings about comes after the instruction. */
static enum vmxc_status write_virtual_tpr(struct walk *walk, uint64_t value)
{
    VMXC_TRY(vmxsim_guest_complete(walk));
    vmxsim_virtual_apic_write_cr8(walk, value);
    return VMXC_OK;
}

static enum vmxc_status mov_to_cr8(struct walk *walk, uint8_t gpr, uint64_t value)
{
    const uint64_t primary = walk->cpu->exits.primary;

    if (primary & VMXC_PRIMARY_CR8_LOAD_EXITING)
        return exit_for_cr(walk, VMXSIM_RULE_EXIT_CONTROL, 8, VMXC_CR_ACCESS_MOV_TO, gpr);
    if (value & ~CR8_DEFINED)
        return vmxsim_guest_fault(walk, VMXSIM_RULE_CR_VALUE, VMXC_VECTOR_GP);
    if (!(primary & VMXC_PRIMARY_USE_TPR_SHADOW)) {
        walk->cpu->cr8 = (uint8_t)value;
        return vmxsim_guest_complete(walk);
    }
    return write_virtual_tpr(walk, value);
}

static enum vmxc_status mov_from_cr8(struct walk *walk, uint8_t gpr)
{
    const uint64_t primary = walk->cpu->exits.primary;

    if (primary & VMXC_PRIMARY_CR8_STORE_EXITING)
        return exit_for_cr(walk, VMXSIM_RULE_EXIT_CONTROL, 8, VMXC_CR_ACCESS_MOV_FROM, gpr);
    walk->outcome->value = (primary & VMXC_PRIMARY_USE_TPR_SHADOW)
                               ? vmxsim_virtual_apic_read_cr8(walk->cpu)
                               : walk->cpu->cr8;
    return vmxsim_guest_complete(walk);
}

/* ---- The instructions ---- */

/* CR2 is never intercepted, and the model has no CR2. */
static bool is_cr(const struct vmxsim_cpu *cpu, uint8_t cr, uint8_t gpr)
{
    const bool exists = cr == 0 || cr == 3 || cr == 4 || (cr == 8 && cpu->guest.mode_64bit);

    return exists && gpr < REGISTERS;
}

enum vmxc_status vmxsim_guest_mov_to_cr(struct vmxsim_cpu *cpu, uint8_t cr, uint8_t gpr,
                                        uint64_t value, struct vmxsim_outcome *outcome)
{
    struct walk walk;

    VMXC_TRY(vmxsim_guest_begin(&walk, cpu, outcome));
    if (!is_cr(cpu, cr, gpr) || (!cpu->guest.mode_64bit && value >> 32))
        return VMXC_INVALID_INPUT;
    if (!vmxsim_guest_require_cpl0(&walk))
        return VMXC_OK;
    switch (cr) {
    case 0:
        return mov_to_cr0(&walk, gpr, value);
    case 3:
        return mov_to_cr3(&walk, gpr, value);
    case 4:
        return mov_to_cr4(&walk, gpr, value);
    default:
        return mov_to_cr8(&walk, gpr, value);
    }
}

static enum vmxc_status read_cr(struct walk *walk, uint64_t value)
{
    walk->outcome->value = value;
    return vmxsim_guest_complete(walk);
}

enum vmxc_status vmxsim_guest_mov_from_cr(struct vmxsim_cpu *cpu, uint8_t cr, uint8_t gpr,
                                          struct vmxsim_outcome *outcome)
{
    struct walk walk;

    VMXC_TRY(vmxsim_guest_begin(&walk, cpu, outcome));
    if (!is_cr(cpu, cr, gpr))
        return VMXC_INVALID_INPUT;
    if (!vmxsim_guest_require_cpl0(&walk))
        return VMXC_OK;
    switch (cr) {
    case 0:
        return read_cr(&walk, read_through(shadow_of_cr0(cpu), cpu->guest.cr0));
    case 3:
        return mov_from_cr3(&walk, gpr);
    case 4:
        return read_cr(&walk, read_through(shadow_of_cr4(cpu), cpu->guest.cr4));
    default:
        return mov_from_cr8(&walk, gpr);
    }
}

enum vmxc_status vmxsim_guest_clts(struct vmxsim_cpu *cpu, struct vmxsim_outcome *outcome)
{
    const struct shadowed host = shadow_of_cr0(cpu);
    struct walk walk;

    VMXC_TRY(vmxsim_guest_begin(&walk, cpu, outcome));
    if (!vmxsim_guest_require_cpl0(&walk))
        return VMXC_OK;
    if (host.mask & host.shadow & VMXC_CR0_TS)
        return exit_for_cr(&walk, VMXSIM_RULE_EXIT_CLTS, 0, VMXC_CR_ACCESS_CLTS, 0);
    if (!(host.mask & VMXC_CR0_TS))
        cpu->guest.cr0 &= ~VMXC_CR0_TS;
    return vmxsim_guest_complete(&walk);
}

/* LMSW sets PE but never clears it, so that PE exits only if the source has it set and the shadow has not. */
static bool lmsw_exits(struct shadowed host, uint16_t source)
{
    const uint64_t differs = (source ^ host.shadow) & host.mask & LMSW_BITS;

    return (differs & ~VMXC_CR0_PE) || (differs & source & VMXC_CR0_PE);
}

enum vmxc_status vmxsim_guest_lmsw(struct vmxsim_cpu *cpu, uint16_t source, const uint64_t *linear,
                                   struct vmxsim_outcome *outcome)
{
    const uint64_t kept = ~LMSW_BITS | VMXC_CR0_PE;
    struct walk walk;

    VMXC_TRY(vmxsim_guest_begin(&walk, cpu, outcome));
    if (!vmxsim_guest_require_cpl0(&walk))
        return VMXC_OK;
    if (!lmsw_exits(shadow_of_cr0(cpu), source))
        return write_cr0(&walk, (cpu->guest.cr0 & kept) | (source & LMSW_BITS));
    (void)exit_for_cr(&walk, VMXSIM_RULE_EXIT_LMSW, 0, VMXC_CR_ACCESS_LMSW, 0);
    outcome->qualification |= VMXC_FIELD_MAKE(source, VMXC_QUALIFICATION_CR_LMSW_SOURCE) |
                              (linear ? VMXC_QUALIFICATION_CR_LMSW_MEMORY : 0);
    outcome->guest_linear_valid = linear;
    outcome->guest_linear = linear ? *linear : 0;
    return VMXC_OK;
}

enum vmxc_status vmxsim_guest_smsw(struct vmxsim_cpu *cpu, struct vmxsim_outcome *outcome)
{
    struct walk walk;

    VMXC_TRY(vmxsim_guest_begin(&walk, cpu, outcome));
    if (cpu->guest.cpl > 0 && (cpu->guest.cr4 & VMXC_CR4_UMIP))
        return vmxsim_guest_fault(&walk, VMXSIM_RULE_GP_RESTRICTED, VMXC_VECTOR_GP);
    return read_cr(&walk, read_through(shadow_of_cr0(cpu), cpu->guest.cr0));
}
