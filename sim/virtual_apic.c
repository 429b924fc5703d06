/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The virtual-APIC page.
 * Source: Intel SDM volume 3, "APIC Virtualization and Virtual Interrupts"; each function names its section.
 */
#include "internal/virtual_apic.h"

#include "internal/array.h"
#include "internal/guest.h"
#include "vmxcore/defs/controls.h"
#include "vmxcore/defs/msr.h"

/* Offsets in the page. */
#define VTPR    0x080u
#define VPPR    0x0a0u
#define VEOI    0x0b0u
#define VISR    0x100u
#define VIRR    0x200u
#define VICR_LO 0x300u
#define VICR_HI 0x310u

#define PRIORITY_CLASS VMXC_BITS(7, 4)
#define VECTOR         VMXC_BITS(7, 0)
#define THRESHOLD      VMXC_BITS(3, 0)

/* Guest interrupt status. */
#define RVI VMXC_BITS(7, 0)
#define SVI VMXC_BITS(15, 8)

#define MAX_ACCESS_SIZE 4u
#define REGISTER_STRIDE UINT64_C(16)

enum { VECTOR_GROUPS = 8, VECTORS_PER_GROUP = 32 };

/* ---- The page and the guest interrupt status ---- */

static const struct vmxsim_vmcs *vmcs_of(const struct vmxsim_cpu *cpu)
{
    return &cpu->vmx.vmcs.fields;
}

static uint64_t register_hpa(const struct vmxsim_cpu *cpu, uint64_t offset)
{
    return VMXSIM_VMCS(vmcs_of(cpu), VIRTUAL_APIC_ADDRESS) + offset;
}

static uint32_t get(const struct vmxsim_cpu *cpu, uint64_t offset)
{
    return vmxsim_memory_read32(cpu->memory, register_hpa(cpu, offset));
}

static void put(struct vmxsim_cpu *cpu, uint64_t offset, uint32_t value)
{
    vmxsim_memory_write32(cpu->memory, register_hpa(cpu, offset), value);
}

static uint64_t class_of(uint64_t priority)
{
    return VMXC_FIELD_GET(priority, PRIORITY_CLASS);
}

static uint8_t requested(const struct vmxsim_cpu *cpu)
{
    return (uint8_t)VMXC_FIELD_GET(VMXSIM_VMCS(vmcs_of(cpu), GUEST_INTERRUPT_STATUS), RVI);
}

static uint8_t in_service(const struct vmxsim_cpu *cpu)
{
    return (uint8_t)VMXC_FIELD_GET(VMXSIM_VMCS(vmcs_of(cpu), GUEST_INTERRUPT_STATUS), SVI);
}

static void set_requested(struct vmxsim_cpu *cpu, uint8_t vector)
{
    uint64_t *const status = &VMXSIM_VMCS(guest_vmcs(cpu), GUEST_INTERRUPT_STATUS);

    *status = (*status & ~RVI) | VMXC_FIELD_MAKE(vector, RVI);
}

static void set_in_service(struct vmxsim_cpu *cpu, uint8_t vector)
{
    uint64_t *const status = &VMXSIM_VMCS(guest_vmcs(cpu), GUEST_INTERRUPT_STATUS);

    *status = (*status & ~SVI) | VMXC_FIELD_MAKE(vector, SVI);
}

static bool has_secondary(const struct vmxsim_cpu *cpu, uint64_t control)
{
    return cpu->exits.secondary & control;
}

static bool delivers_virtual_interrupts(const struct vmxsim_cpu *cpu)
{
    return has_secondary(cpu, VMXC_SECONDARY_VIRTUAL_INTERRUPT_DELIVERY);
}

/* ---- 256 bits in eight registers ---- */

static uint64_t group_offset(uint64_t bits, unsigned group)
{
    return bits + group * REGISTER_STRIDE;
}

static void set_bit(struct vmxsim_cpu *cpu, uint64_t bits, uint8_t vector, bool value)
{
    const uint64_t offset = group_offset(bits, vector / VECTORS_PER_GROUP);
    const uint32_t bit = 1u << vector % VECTORS_PER_GROUP;

    put(cpu, offset, (get(cpu, offset) & ~bit) | (value ? bit : 0));
}

/* Of a group that is not empty. */
static uint8_t highest_in_group(uint32_t word, unsigned group)
{
    unsigned index = VECTORS_PER_GROUP - 1;

    while (!(word >> index & 1))
        index--;
    return (uint8_t)(group * VECTORS_PER_GROUP + index);
}

/* 0 if no bit is set. */
static uint8_t highest(const struct vmxsim_cpu *cpu, uint64_t bits)
{
    for (unsigned group = VECTOR_GROUPS; group-- > 0;) {
        const uint32_t word = get(cpu, group_offset(bits, group));
        if (word)
            return highest_in_group(word, group);
    }
    return 0;
}

/* ---- Priorities ---- */

/* Source: "PPR Virtualization". */
static void virtualize_ppr(struct vmxsim_cpu *cpu)
{
    const uint32_t tpr = get(cpu, VTPR) & VECTOR;
    const uint8_t service = in_service(cpu);

    put(cpu, VPPR, class_of(tpr) >= class_of(service) ? tpr : service & (uint32_t)PRIORITY_CLASS);
}

/* Source: "Evaluation of Pending Virtual Interrupts". */
static void evaluate(struct vmxsim_cpu *cpu)
{
    cpu->virtual_interrupts.recognized =
        !(cpu->exits.primary & VMXC_PRIMARY_INTERRUPT_WINDOW_EXITING) &&
        class_of(requested(cpu)) > class_of(get(cpu, VPPR));
}

static bool is_tpr_below_threshold(const struct vmxsim_cpu *cpu)
{
    return class_of(get(cpu, VTPR)) <
           VMXC_FIELD_GET(VMXSIM_VMCS(vmcs_of(cpu), TPR_THRESHOLD), THRESHOLD);
}

/* Source: "TPR Virtualization". */
static void virtualize_tpr(struct walk *walk)
{
    if (delivers_virtual_interrupts(walk->cpu)) {
        virtualize_ppr(walk->cpu);
        evaluate(walk->cpu);
        return;
    }
    if (is_tpr_below_threshold(walk->cpu))
        (void)vmxsim_guest_exit(walk, VMXSIM_RULE_EXIT_TPR_THRESHOLD,
                                VMXC_EXIT_REASON_TPR_BELOW_THRESHOLD, 0);
}

/* ---- End of interrupt ---- */

static bool eoi_exits(const struct vmxsim_cpu *cpu, uint8_t vector)
{
    const uint64_t bitmap[] = {
        VMXSIM_VMCS(vmcs_of(cpu), EOI_EXIT_BITMAP_0), VMXSIM_VMCS(vmcs_of(cpu), EOI_EXIT_BITMAP_1),
        VMXSIM_VMCS(vmcs_of(cpu), EOI_EXIT_BITMAP_2), VMXSIM_VMCS(vmcs_of(cpu), EOI_EXIT_BITMAP_3)};

    return bitmap[vector / 64] >> vector % 64 & 1;
}

/* Source: "EOI Virtualization". */
static void virtualize_eoi(struct walk *walk)
{
    struct vmxsim_cpu *cpu = walk->cpu;
    const uint8_t vector = in_service(cpu);

    set_bit(cpu, VISR, vector, false);
    set_in_service(cpu, highest(cpu, VISR));
    virtualize_ppr(cpu);
    if (eoi_exits(cpu, vector))
        (void)vmxsim_guest_exit(walk, VMXSIM_RULE_EXIT_VIRTUALIZED_EOI,
                                VMXC_EXIT_REASON_VIRTUALIZED_EOI, vector);
    else
        evaluate(cpu);
}

/* ---- Interrupts to the guest itself ---- */

/* Source: "Self-IPI Virtualization". */
static void virtualize_self_ipi(struct vmxsim_cpu *cpu, uint8_t vector)
{
    set_bit(cpu, VIRR, vector, true);
    if (vector > requested(cpu))
        set_requested(cpu, vector);
    evaluate(cpu);
}

static void end_with_apic_write(struct walk *walk, uint64_t offset)
{
    (void)vmxsim_guest_exit(walk, VMXSIM_RULE_EXIT_APIC_WRITE, VMXC_EXIT_REASON_APIC_WRITE, offset);
}

#define ICR_RESERVED  (VMXC_BITS(31, 20) | VMXC_BITS(17, 16) | VMXC_BIT(13))
#define ICR_PENDING   VMXC_BIT(12)
#define ICR_SHORTHAND VMXC_BITS(19, 18)
#define ICR_LEVEL     VMXC_BIT(15) /* trigger mode */
#define ICR_DELIVERY  VMXC_BITS(10, 8)

enum { SHORTHAND_SELF = 1, DELIVERY_FIXED = 0 };

static bool is_self_ipi(uint64_t icr)
{
    return !(icr & (ICR_RESERVED | ICR_PENDING | ICR_LEVEL)) &&
           VMXC_FIELD_GET(icr, ICR_SHORTHAND) == SHORTHAND_SELF &&
           VMXC_FIELD_GET(icr, ICR_DELIVERY) == DELIVERY_FIXED && class_of(icr) != 0;
}

/* ---- Memory accesses ---- */

enum accesses { READ = 1, WRITE = 2, READ_WRITE = READ | WRITE };

static const struct {
    uint16_t first, last;
    enum accesses accesses;
} registers[] = {
#define VIRTUAL_APIC_REGISTER(name, first, last, accesses) {first, last, accesses},
#include "internal/virtual_apic_registers.def"
};

static bool is_virtualized_register(uint64_t offset, enum accesses access)
{
    const uint64_t start = offset & ~UINT64_C(0xf);

    for (size_t i = 0; i < COUNT_OF(registers); i++) {
        if (start >= registers[i].first && start <= registers[i].last)
            return registers[i].accesses & access;
    }
    return false;
}

/* Accesses of at most 32 bits, in the low four of 16 bytes, that the controls select. */
bool vmxsim_virtual_apic_redirects(const struct vmxsim_cpu *cpu, uint64_t offset, uint32_t size,
                                   bool write)
{
    if (!(cpu->exits.primary & VMXC_PRIMARY_USE_TPR_SHADOW) ||
        offset % REGISTER_STRIDE + size > MAX_ACCESS_SIZE)
        return false;
    if (has_secondary(cpu, VMXC_SECONDARY_APIC_REGISTER_VIRTUALIZATION))
        return is_virtualized_register(offset, write ? WRITE : READ);
    if (delivers_virtual_interrupts(cpu))
        return offset == VTPR || offset == VEOI || offset == VICR_LO;
    return offset == VTPR;
}

static void emulate_command(struct walk *walk)
{
    const uint32_t icr = get(walk->cpu, VICR_LO);

    if (delivers_virtual_interrupts(walk->cpu) && is_self_ipi(icr))
        virtualize_self_ipi(walk->cpu, (uint8_t)(icr & VECTOR));
    else
        end_with_apic_write(walk, VICR_LO);
}

/* Source: "APIC-Write Emulation". Only of the high half of the ICR may the offset be any of the four bytes. */
void vmxsim_virtual_apic_emulate_write(struct walk *walk, uint64_t offset)
{
    struct vmxsim_cpu *cpu = walk->cpu;

    if (offset == VTPR) {
        put(cpu, VTPR, get(cpu, VTPR) & VECTOR);
        virtualize_tpr(walk);
    } else if (offset == VEOI && delivers_virtual_interrupts(cpu)) {
        put(cpu, VEOI, 0);
        virtualize_eoi(walk);
    } else if (offset == VICR_LO) {
        emulate_command(walk);
    } else if (offset >= VICR_HI && offset < VICR_HI + MAX_ACCESS_SIZE) {
        put(cpu, VICR_HI, get(cpu, VICR_HI) & (uint32_t)VMXC_BITS(31, 24));
    } else {
        end_with_apic_write(walk, offset);
    }
}

/* ---- CR8. Source: "Virtualizing CR8-Based TPR Accesses" ---- */

void vmxsim_virtual_apic_write_cr8(struct walk *walk, uint64_t value)
{
    put(walk->cpu, VTPR, (uint32_t)VMXC_FIELD_MAKE(value, PRIORITY_CLASS));
    virtualize_tpr(walk);
}

uint64_t vmxsim_virtual_apic_read_cr8(const struct vmxsim_cpu *cpu)
{
    return class_of(get(cpu, VTPR));
}

/* ---- MSRs. Source: "Virtualizing MSR-Based APIC Accesses" ---- */

static uint64_t msr_offset(uint32_t msr)
{
    return (uint64_t)(msr & 0xffu) << 4;
}

bool vmxsim_virtual_apic_has_msr(const struct vmxsim_cpu *cpu, uint32_t msr, bool write)
{
    if (!has_secondary(cpu, VMXC_SECONDARY_VIRTUALIZE_X2APIC_MODE) || msr < VMXC_MSR_X2APIC_FIRST ||
        msr > VMXC_MSR_X2APIC_LAST)
        return false;
    if (msr == VMXC_MSR_X2APIC_TPR)
        return true;
    if (!write)
        return has_secondary(cpu, VMXC_SECONDARY_APIC_REGISTER_VIRTUALIZATION);
    return delivers_virtual_interrupts(cpu) &&
           (msr == VMXC_MSR_X2APIC_EOI || msr == VMXC_MSR_X2APIC_SELF_IPI);
}

uint64_t vmxsim_virtual_apic_read_msr(const struct vmxsim_cpu *cpu, uint32_t msr)
{
    return vmxsim_memory_read64(cpu->memory, register_hpa(cpu, msr_offset(msr)));
}

bool vmxsim_virtual_apic_accepts_msr(uint32_t msr, uint64_t value)
{
    return msr == VMXC_MSR_X2APIC_EOI ? value == 0 : !(value & ~VECTOR);
}

void vmxsim_virtual_apic_write_msr(struct walk *walk, uint32_t msr, uint64_t value)
{
    vmxsim_memory_write64(walk->cpu->memory, register_hpa(walk->cpu, msr_offset(msr)), value);
    if (msr == VMXC_MSR_X2APIC_TPR)
        virtualize_tpr(walk);
    else if (msr == VMXC_MSR_X2APIC_EOI)
        virtualize_eoi(walk);
    else if (class_of(value) != 0)
        virtualize_self_ipi(walk->cpu, (uint8_t)value);
    else
        end_with_apic_write(walk, msr_offset(msr));
}

/* ---- Events ---- */

/* Source: "Updating Non-Register State", "VM Exits Induced by the TPR Threshold". */
void vmxsim_virtual_apic_enter(struct vmxsim_cpu *cpu)
{
    cpu->virtual_interrupts = (struct virtual_interrupts){.recognized = false};
    if (!(cpu->exits.primary & VMXC_PRIMARY_USE_TPR_SHADOW))
        return;
    if (delivers_virtual_interrupts(cpu)) {
        virtualize_ppr(cpu);
        evaluate(cpu);
    } else if (has_secondary(cpu, VMXC_SECONDARY_VIRTUALIZE_APIC_ACCESSES)) {
        cpu->virtual_interrupts.tpr_below_at_entry = is_tpr_below_threshold(cpu);
    }
}

/* Posted-interrupt descriptor: 256 bits of requests, then "outstanding notification". */
#define OUTSTANDING_NOTIFICATION_BYTE 32u
#define OUTSTANDING_NOTIFICATION      VMXC_BIT(0)

static void clear_notification(struct vmxsim_cpu *cpu, uint64_t descriptor_hpa)
{
    const uint64_t hpa = descriptor_hpa + OUTSTANDING_NOTIFICATION_BYTE;

    vmxsim_memory_write32(cpu->memory, hpa,
                          vmxsim_memory_read32(cpu->memory, hpa) &
                              ~(uint32_t)OUTSTANDING_NOTIFICATION);
}

/* Source: "Posted-Interrupt Processing". There is no local APIC whose interrupt would have to be dismissed. */
void vmxsim_virtual_apic_process_posted(struct vmxsim_cpu *cpu)
{
    const uint64_t descriptor_hpa = VMXSIM_VMCS(vmcs_of(cpu), POSTED_INTERRUPT_DESCRIPTOR_ADDRESS);
    uint8_t requested_vector = requested(cpu);

    clear_notification(cpu, descriptor_hpa);
    for (unsigned group = 0; group < VECTOR_GROUPS; group++) {
        const uint64_t hpa = descriptor_hpa + UINT64_C(4) * group;
        const uint64_t offset = group_offset(VIRR, group);
        const uint32_t posted = vmxsim_memory_read32(cpu->memory, hpa);
        if (!posted)
            continue;
        put(cpu, offset, get(cpu, offset) | posted);
        vmxsim_memory_write32(cpu->memory, hpa, 0);
        if (highest_in_group(posted, group) > requested_vector)
            requested_vector = highest_in_group(posted, group);
    }
    set_requested(cpu, requested_vector);
    evaluate(cpu);
}

uint8_t vmxsim_virtual_apic_requested(const struct vmxsim_cpu *cpu)
{
    return requested(cpu);
}

/* Source: "Virtual-Interrupt Delivery". */
void vmxsim_virtual_apic_deliver(struct vmxsim_cpu *cpu)
{
    const uint8_t vector = requested(cpu);

    set_bit(cpu, VISR, vector, true);
    set_in_service(cpu, vector);
    put(cpu, VPPR, vector & (uint32_t)PRIORITY_CLASS);
    set_bit(cpu, VIRR, vector, false);
    set_requested(cpu, highest(cpu, VIRR));
    cpu->virtual_interrupts.recognized = false;
}
