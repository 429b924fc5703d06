/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guest instructions that a bitmap may intercept.
 *
 *     faults by privilege  ->  bitmap or control: VM exit  ->  the instruction executes
 *
 * Source: Intel SDM volume 3, "Relative Priority of Faults and VM Exits", "Instructions That Cause VM Exits Conditionally",
 * "Exit Qualification for I/O Instructions"; volume 1, "I/O Permission Bit Map".
 */
#include "vmxsim/intercept.h"

#include "internal/guest.h"
#include "internal/memory.h"
#include "internal/virtual_apic.h"
#include "vmxcore/defs/controls.h"
#include "vmxcore/defs/exit_info.h"
#include "vmxcore/defs/exit_reason.h"
#include "vmxcore/defs/msr.h"

#include <string.h>

#define LAST_PORT       0xffffu
#define PORTS_PER_FRAME 0x8000u

/* Task-state segment, as far as I/O permission needs it. */
#define TSS_IO_MAP_BASE    102u /* offset of the 16-bit offset of the bit map */
#define TSS_SMALLEST_LIMIT 103u
#define TSS_TYPE_AVAILABLE 9u /* 32-bit or 64-bit TSS */
#define TSS_TYPE_BUSY      11u
#define RFLAGS_IOPL        VMXC_BITS(13, 12)
#define ACCESS_RIGHTS_TYPE VMXC_BITS(3, 0)

/* Bit `index` of a bitmap in memory. */
static bool bitmap_bit(const struct vmxsim_cpu *cpu, uint64_t bitmap_hpa, uint32_t index)
{
    return vmxsim_memory_read8(cpu->memory, bitmap_hpa + index / 8) >> (index % 8) & 1;
}

/* ---- I/O permission ---- */

/*
 * Reads two bytes of the TSS: an implicit supervisor-mode access, which may fault or exit by itself; `*read` is then false.
 * Errors: VMXC_UNSUPPORTED (as vmxsim_guest_access).
 */
static enum vmxc_status read_tss(struct walk *walk, uint32_t offset, uint32_t *value, bool *read)
{
    const struct vmxsim_access access = {
        .type = VMXSIM_ACCESS_READ,
        .linear = walk->cpu->guest.tr_base + offset,
        .size = 2,
        .implicit = true,
    };

    VMXC_TRY(vmxsim_guest_access(walk->cpu, &access, walk->outcome, NULL));
    *read = walk->outcome->kind == VMXSIM_OUTCOME_COMPLETE;
    if (!*read)
        return VMXC_OK;
    *value = (uint32_t)(walk->outcome->data[0] | walk->outcome->data[1] << 8);
    memset(walk->outcome, 0, sizeof(*walk->outcome));
    return VMXC_OK;
}

static bool has_io_map(const struct guest_state *guest)
{
    const uint64_t type = VMXC_FIELD_GET(guest->tr_access_rights, ACCESS_RIGHTS_TYPE);

    return (type == TSS_TYPE_AVAILABLE || type == TSS_TYPE_BUSY) &&
           guest->tr_limit >= TSS_SMALLEST_LIMIT;
}

static enum vmxc_status refuse_io(struct walk *walk)
{
    return vmxsim_guest_fault(walk, VMXSIM_RULE_IO_PERMISSION, VMXC_VECTOR_GP);
}

/* Two bytes of the map cover any access; both must lie within the limit, even if only one has bits of it. */
static enum vmxc_status check_io_map(struct walk *walk, const struct vmxsim_io *io, bool *allowed)
{
    const struct guest_state *guest = &walk->cpu->guest;
    const uint32_t wanted = ((1u << io->size) - 1) << (io->port % 8);
    uint32_t map_base = 0, bits = 0;
    bool read;

    if (!has_io_map(guest))
        return refuse_io(walk);
    VMXC_TRY(read_tss(walk, TSS_IO_MAP_BASE, &map_base, &read));
    if (!read)
        return VMXC_OK;
    const uint32_t offset = map_base + io->port / 8;
    if (offset + 1 > guest->tr_limit)
        return refuse_io(walk);
    VMXC_TRY(read_tss(walk, offset, &bits, &read));
    if (!read)
        return VMXC_OK;
    *allowed = !(bits & wanted);
    return *allowed ? VMXC_OK : refuse_io(walk);
}

/*
 * IOPL grants I/O in protected mode; virtual-8086 mode always asks the map; real mode asks nobody. `*allowed` is false if a
 * fault or an exit has ended the instruction.
 */
static enum vmxc_status check_io_privilege(struct walk *walk, const struct vmxsim_io *io,
                                           bool *allowed)
{
    const struct guest_state *guest = &walk->cpu->guest;
    const bool v86 = guest->rflags & VMXC_RFLAGS_VM;

    *allowed = !(guest->cr0 & VMXC_CR0_PE) ||
               (!v86 && guest->cpl <= VMXC_FIELD_GET(guest->rflags, RFLAGS_IOPL));
    return *allowed ? VMXC_OK : check_io_map(walk, io, allowed);
}

/* ---- I/O exits ---- */

static uint64_t io_qualification(const struct vmxsim_io *io)
{
    return VMXC_FIELD_MAKE(io->size - 1u, VMXC_QUALIFICATION_IO_SIZE) |
           (io->in ? VMXC_QUALIFICATION_IO_IN : 0) |
           (io->string ? VMXC_QUALIFICATION_IO_STRING : 0) |
           (io->string && io->rep ? VMXC_QUALIFICATION_IO_REP : 0) |
           (io->immediate ? VMXC_QUALIFICATION_IO_IMMEDIATE : 0) |
           VMXC_FIELD_MAKE(io->port, VMXC_QUALIFICATION_IO_PORT);
}

/* Bitmap A has ports 0 to 7FFFH, bitmap B the rest. */
static bool port_is_intercepted(const struct vmxsim_cpu *cpu, uint32_t port)
{
    const uint64_t bitmap =
        port < PORTS_PER_FRAME ? cpu->exits.io_bitmap_a : cpu->exits.io_bitmap_b;

    return bitmap_bit(cpu, bitmap, port % PORTS_PER_FRAME);
}

static enum vmxsim_walk_rule io_exit_rule(const struct vmxsim_cpu *cpu, uint32_t port,
                                          uint32_t size)
{
    const uint64_t controls = cpu->exits.primary;

    if (!(controls & VMXC_PRIMARY_USE_IO_BITMAPS))
        return (controls & VMXC_PRIMARY_UNCONDITIONAL_IO_EXITING) ? VMXSIM_RULE_EXIT_IO_ALL
                                                                  : VMXSIM_RULE_NONE;
    if (port + size - 1u > LAST_PORT)
        return VMXSIM_RULE_EXIT_IO_WRAP;
    for (uint32_t i = 0; i < size; i++) {
        if (port_is_intercepted(cpu, port + i))
            return VMXSIM_RULE_EXIT_IO_BITMAP;
    }
    return VMXSIM_RULE_NONE;
}

enum vmxsim_walk_rule vmxsim_guest_io_exit(const struct vmxsim_cpu *cpu, uint16_t port,
                                           uint8_t size)
{
    return cpu->in_guest ? io_exit_rule(cpu, port, size) : VMXSIM_RULE_NONE;
}

/* INS and OUTS: the address, and on processors that give it, instruction information. INS always uses ES. */
static void describe_string(const struct vmxsim_cpu *cpu, const struct vmxsim_io *io,
                            struct vmxsim_outcome *outcome)
{
    const uint64_t segment = io->in ? 0 : VMXC_FIELD_MAKE(io->segment, VMXC_INSTRUCTION_SEGMENT);

    outcome->guest_linear_valid = true;
    outcome->guest_linear = io->linear;
    if (!(vmxsim_cpu_capability(cpu, VMXC_MSR_VMX_BASIC) & VMXC_VMX_BASIC_INS_OUTS_INFO))
        return;
    outcome->instruction_info_defined = true;
    outcome->instruction_info =
        (uint32_t)(segment | VMXC_FIELD_MAKE(io->address_size, VMXC_INSTRUCTION_ADDRESS_SIZE));
    outcome->instruction_info_undefined =
        (uint32_t) ~(VMXC_INSTRUCTION_ADDRESS_SIZE | (io->in ? 0 : VMXC_INSTRUCTION_SEGMENT));
}

enum vmxc_status vmxsim_guest_io(struct vmxsim_cpu *cpu, const struct vmxsim_io *io,
                                 struct vmxsim_outcome *outcome)
{
    struct walk walk;
    bool allowed;

    if ((io->size != 1 && io->size != 2 && io->size != 4) || io->address_size > 2 ||
        io->segment > 5)
        return VMXC_INVALID_INPUT;
    VMXC_TRY(vmxsim_guest_begin(&walk, cpu, outcome));
    if (io->string && io->rep && io->count == 0)
        return vmxsim_guest_complete(&walk);
    VMXC_TRY(check_io_privilege(&walk, io, &allowed));
    if (!allowed)
        return VMXC_OK;
    const enum vmxsim_walk_rule rule = io_exit_rule(cpu, io->port, io->size);
    if (rule == VMXSIM_RULE_NONE)
        return vmxsim_guest_complete(&walk);
    (void)vmxsim_guest_exit(&walk, rule, VMXC_EXIT_REASON_IO_INSTRUCTION, io_qualification(io));
    if (io->string)
        describe_string(cpu, io, outcome);
    return VMXC_OK;
}

/* ---- MSRs ---- */

#define MSR_LOW_COUNT    0x2000u
#define MSR_HIGH_FIRST   0xc0000000u
#define MSR_BITMAP_LOW   0x000u /* byte offsets of the four quarters of the frame */
#define MSR_BITMAP_HIGH  0x400u
#define MSR_BITMAP_WRITE 0x800u /* added for writes */

static enum vmxsim_walk_rule msr_exit_rule(const struct vmxsim_cpu *cpu, uint32_t msr, bool write)
{
    const uint64_t bitmap = cpu->exits.msr_bitmap + (write ? MSR_BITMAP_WRITE : 0);
    bool set;

    if (!(cpu->exits.primary & VMXC_PRIMARY_USE_MSR_BITMAPS))
        return VMXSIM_RULE_EXIT_MSR_ALL;
    if (msr < MSR_LOW_COUNT)
        set = bitmap_bit(cpu, bitmap + MSR_BITMAP_LOW, msr);
    else if (msr >= MSR_HIGH_FIRST && msr - MSR_HIGH_FIRST < MSR_LOW_COUNT)
        set = bitmap_bit(cpu, bitmap + MSR_BITMAP_HIGH, msr - MSR_HIGH_FIRST);
    else
        return VMXSIM_RULE_EXIT_MSR_RANGE;
    return set ? VMXSIM_RULE_EXIT_MSR_BITMAP : VMXSIM_RULE_NONE;
}

/* What IPI virtualization and APIC-timer virtualization make of the MSRs they are about is not modelled. */
static bool is_unsupported(const struct vmxsim_cpu *cpu, uint32_t msr, bool write)
{
    const uint64_t tertiary = cpu->exits.tertiary;

    return (msr == VMXC_MSR_X2APIC_ICR && write && (tertiary & VMXC_TERTIARY_IPI_VIRTUALIZATION)) ||
           (msr == VMXC_MSR_TSC_DEADLINE && (tertiary & VMXC_TERTIARY_APIC_TIMER_VIRTUALIZATION));
}

/* `*passes`: neither a fault nor an exit has ended the instruction. */
static enum vmxc_status decide_msr(struct walk *walk, uint32_t msr, bool write, bool *passes)
{
    struct vmxsim_cpu *cpu = walk->cpu;

    *passes = false;
    if (cpu->guest.cpl > 0)
        return vmxsim_guest_fault(walk, VMXSIM_RULE_MSR_PRIVILEGE, VMXC_VECTOR_GP);
    const enum vmxsim_walk_rule rule = msr_exit_rule(cpu, msr, write);
    if (rule != VMXSIM_RULE_NONE)
        return vmxsim_guest_exit(walk, rule,
                                 write ? VMXC_EXIT_REASON_WRMSR : VMXC_EXIT_REASON_RDMSR, 0);
    *passes = true;
    return is_unsupported(cpu, msr, write) ? VMXC_UNSUPPORTED : VMXC_OK;
}

enum vmxsim_walk_rule vmxsim_guest_msr_exit(const struct vmxsim_cpu *cpu, uint32_t msr, bool write)
{
    return cpu->in_guest ? msr_exit_rule(cpu, msr, write) : VMXSIM_RULE_NONE;
}

enum vmxc_status vmxsim_guest_rdmsr(struct vmxsim_cpu *cpu, uint32_t msr,
                                    struct vmxsim_outcome *outcome)
{
    struct walk walk;
    bool passes;

    VMXC_TRY(vmxsim_guest_begin(&walk, cpu, outcome));
    VMXC_TRY(decide_msr(&walk, msr, false, &passes));
    if (!passes)
        return VMXC_OK;
    if (vmxsim_virtual_apic_has_msr(cpu, msr, false))
        outcome->value = vmxsim_virtual_apic_read_msr(cpu, msr);
    return vmxsim_guest_complete(&walk);
}

enum vmxc_status vmxsim_guest_wrmsr(struct vmxsim_cpu *cpu, uint32_t msr, uint64_t value,
                                    struct vmxsim_outcome *outcome)
{
    struct walk walk;
    bool passes;

    VMXC_TRY(vmxsim_guest_begin(&walk, cpu, outcome));
    VMXC_TRY(decide_msr(&walk, msr, true, &passes));
    if (!passes)
        return VMXC_OK;
    if (!vmxsim_virtual_apic_has_msr(cpu, msr, true))
        return vmxsim_guest_complete(&walk);
    if (!vmxsim_virtual_apic_accepts_msr(msr, value))
        return vmxsim_guest_fault(&walk, VMXSIM_RULE_X2APIC_VALUE, VMXC_VECTOR_GP);
    VMXC_TRY(vmxsim_guest_complete(&walk));
    vmxsim_virtual_apic_write_msr(&walk, msr, value);
    return VMXC_OK;
}
