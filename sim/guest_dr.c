/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest's moves to and from debug registers. The VM exit comes before the faults, privilege included.
 *
 *     VM exit  ->  #UD: DR4 and DR5 with CR4.DE  ->  #GP: privilege  ->  #DB: general detect  ->  #GP: value
 *
 * Source: Intel SDM volume 3, "Instructions That Cause VM Exits Conditionally" (MOV DR), "Debug Registers"; volume 2, "MOV -
 * Move to/from Debug Registers".
 */
#include "internal/guest.h"
#include "vmxcore/defs/controls.h"

#define DR7_GENERAL_DETECT VMXC_BIT(13)
#define DR7_WRITABLE       (VMXC_BITS(9, 0) | VMXC_BIT(11) | VMXC_BIT(13) | VMXC_BITS(31, 16))
#define DR6_WRITABLE       (VMXC_BITS(3, 0) | VMXC_BITS(15, 13))

enum { DEBUG_REGISTERS = 8, REGISTERS = 16 };

/* Taking a #DB for general detect turns the detection off; one that the hypervisor intercepts changes nothing. */
static void detect(struct walk *walk)
{
    struct vmxsim_cpu *cpu = walk->cpu;

    (void)vmxsim_guest_fault(walk, VMXSIM_RULE_DR_DETECT, VMXC_VECTOR_DB);
    if (walk->outcome->kind == VMXSIM_OUTCOME_VM_EXIT) {
        walk->outcome->qualification = VMXC_QUALIFICATION_DEBUG_REGISTER;
        return;
    }
    cpu->dr[6] |= VMXC_QUALIFICATION_DEBUG_REGISTER;
    cpu->dr[7] &= ~DR7_GENERAL_DETECT;
}

/* DR4 and DR5 are names of DR6 and DR7 unless CR4.DE is 1. */
static unsigned aliased(uint8_t dr)
{
    return dr == 4 || dr == 5 ? dr + 2u : dr;
}

/* Errors as vmxsim_guest_begin. `*goes_on` is false if the move has ended. */
static enum vmxc_status begin(struct walk *walk, uint8_t dr, uint8_t gpr, bool from, bool *goes_on)
{
    const struct vmxsim_cpu *cpu = walk->cpu;

    *goes_on = false;
    if (cpu->exits.primary & VMXC_PRIMARY_MOV_DR_EXITING)
        return vmxsim_guest_exit(walk, VMXSIM_RULE_EXIT_CONTROL, VMXC_EXIT_REASON_MOV_DR,
                                 VMXC_FIELD_MAKE(dr, VMXC_QUALIFICATION_DR_NUMBER) |
                                     (from ? VMXC_QUALIFICATION_DR_FROM : 0) |
                                     VMXC_FIELD_MAKE(gpr, VMXC_QUALIFICATION_DR_REGISTER));
    if (!vmxsim_guest_require(walk, aliased(dr) == dr || !(cpu->guest.cr4 & VMXC_CR4_DE),
                              VMXSIM_RULE_DR_EXTENSIONS) ||
        !vmxsim_guest_require_cpl0(walk))
        return VMXC_OK;
    *goes_on = !(cpu->dr[7] & DR7_GENERAL_DETECT);
    if (!*goes_on)
        detect(walk);
    return VMXC_OK;
}

static void write_dr(struct vmxsim_cpu *cpu, unsigned dr, uint64_t value)
{
    if (dr == 6)
        cpu->dr[6] = (value & DR6_WRITABLE) | DR6_RESET;
    else if (dr == 7)
        cpu->dr[7] = (value & DR7_WRITABLE) | DR7_RESET;
    else
        cpu->dr[dr] = value;
}

enum vmxc_status vmxsim_guest_mov_to_dr(struct vmxsim_cpu *cpu, uint8_t dr, uint8_t gpr,
                                        uint64_t value, struct vmxsim_outcome *outcome)
{
    struct walk walk;
    bool goes_on;

    VMXC_TRY(vmxsim_guest_begin(&walk, cpu, outcome));
    if (dr >= DEBUG_REGISTERS || gpr >= REGISTERS || (!cpu->guest.mode_64bit && value >> 32))
        return VMXC_INVALID_INPUT;
    VMXC_TRY(begin(&walk, dr, gpr, false, &goes_on));
    if (!goes_on)
        return VMXC_OK;
    if (aliased(dr) >= 6 && value >> 32)
        return vmxsim_guest_fault(&walk, VMXSIM_RULE_DR_VALUE, VMXC_VECTOR_GP);
    write_dr(cpu, aliased(dr), value);
    return vmxsim_guest_complete(&walk);
}

enum vmxc_status vmxsim_guest_mov_from_dr(struct vmxsim_cpu *cpu, uint8_t dr, uint8_t gpr,
                                          struct vmxsim_outcome *outcome)
{
    struct walk walk;
    bool goes_on;

    VMXC_TRY(vmxsim_guest_begin(&walk, cpu, outcome));
    if (dr >= DEBUG_REGISTERS || gpr >= REGISTERS)
        return VMXC_INVALID_INPUT;
    VMXC_TRY(begin(&walk, dr, gpr, true, &goes_on));
    if (!goes_on)
        return VMXC_OK;
    outcome->value = cpu->dr[aliased(dr)];
    return vmxsim_guest_complete(&walk);
}
