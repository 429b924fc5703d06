/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Events in the guest: who takes them, the guest or, by a VM exit, the hypervisor; and which comes first at the boundary
 * between two instructions.
 *
 * Source: Intel SDM volume 3, "Other Causes of VM Exits", "Changes to Instruction Behavior in VMX Non-Root Operation", "Event
 * Blocking", "Activity State", "Monitor Trap Flag", "Virtual-Interrupt Delivery", "VM Exits Induced by the TPR Threshold", "VMX-Preemption Timer", "Priority Among Concurrent Events".
 */
#include "internal/guest.h"
#include "internal/virtual_apic.h"
#include "vmxcore/defs/controls.h"
#include "vmxcore/defs/guest_state.h"

enum { EXCEPTION_VECTORS = 32 };

/* Bits of a #DB's qualification that DR6 has at the same place. */
#define DEBUG_CAUSES                                                            \
    (VMXC_QUALIFICATION_DEBUG_BREAKPOINTS | VMXC_QUALIFICATION_DEBUG_REGISTER | \
     VMXC_QUALIFICATION_DEBUG_SINGLE_STEP)

/* ---- State of the guest ---- */

static uint64_t activity(struct vmxsim_cpu *cpu)
{
    return VMXSIM_VMCS(guest_vmcs(cpu), GUEST_ACTIVITY_STATE);
}

static bool is_blocked_by(struct vmxsim_cpu *cpu, uint64_t blocking)
{
    return VMXSIM_VMCS(guest_vmcs(cpu), GUEST_INTERRUPTIBILITY_STATE) & blocking;
}

static bool waits_for_sipi(struct vmxsim_cpu *cpu)
{
    return activity(cpu) == VMXC_ACTIVITY_WAIT_FOR_SIPI;
}

static bool is_shut_down(struct vmxsim_cpu *cpu)
{
    return activity(cpu) == VMXC_ACTIVITY_SHUTDOWN;
}

/* ---- Ends ---- */

/* The guest takes an event that is no exception, and is active afterwards. */
static enum vmxc_status take(struct walk *walk, uint8_t vector)
{
    walk->outcome->kind = VMXSIM_OUTCOME_GUEST_EXCEPTION;
    walk->outcome->rule = VMXSIM_RULE_EVENT_TAKEN;
    walk->outcome->vector = vector;
    VMXSIM_VMCS(guest_vmcs(walk->cpu), GUEST_ACTIVITY_STATE) = VMXC_ACTIVITY_ACTIVE;
    return VMXC_OK;
}

/*
 * Would the processor take this interrupt as the notification of a user interrupt, which the model does not have? Without "load
 * UINV" the vector of such notifications is not known.
 */
static bool may_notify_user(struct vmxsim_cpu *cpu, uint8_t vector)
{
    const struct vmxsim_vmcs *vmcs = guest_vmcs(cpu);

    if (!(cpu->guest.cr4 & VMXC_CR4_UINTR) || !(cpu->guest.efer & VMXC_EFER_LMA))
        return false;
    return !(VMXSIM_VMCS(vmcs, VM_ENTRY_CONTROLS) & VMXC_ENTRY_LOAD_UINV) ||
           vector == VMXSIM_VMCS(vmcs, GUEST_UINV);
}

static enum vmxc_status take_interrupt(struct walk *walk, uint8_t vector)
{
    return may_notify_user(walk->cpu, vector) ? VMXC_UNSUPPORTED : take(walk, vector);
}

static enum vmxc_status exit_with_event(struct walk *walk, enum vmxsim_walk_rule rule,
                                        uint16_t reason, enum vmxc_interruption_type type,
                                        uint8_t vector)
{
    walk->outcome->vector = vector;
    walk->outcome->interruption_info =
        (uint32_t)(VMXC_INTERRUPTION_VALID | VMXC_FIELD_MAKE(type, VMXC_INTERRUPTION_TYPE) |
                   vector);
    return vmxsim_guest_exit(walk, rule, reason, 0);
}

/* ---- Exceptions ---- */

static bool has_error_code(uint8_t vector)
{
    switch (vector) {
    case VMXC_VECTOR_DF:
    case VMXC_VECTOR_TS:
    case VMXC_VECTOR_NP:
    case VMXC_VECTOR_SS:
    case VMXC_VECTOR_GP:
    case VMXC_VECTOR_PF:
    case VMXC_VECTOR_AC:
    case VMXC_VECTOR_CP:
        return true;
    default:
        return false;
    }
}

/* Error codes exist in protected mode only. */
static bool event_is_valid(const struct vmxsim_cpu *cpu, const struct vmxsim_event *event)
{
    const bool error_code = has_error_code(event->vector) && (cpu->guest.cr0 & VMXC_CR0_PE);

    switch (event->type) {
    case VMXC_INTERRUPTION_TYPE_HARDWARE_EXCEPTION:
        return event->vector < EXCEPTION_VECTORS && event->vector != VMXC_VECTOR_NMI &&
               event->has_error_code == error_code;
    case VMXC_INTERRUPTION_TYPE_SOFTWARE_INTERRUPT:
        return !event->has_error_code;
    case VMXC_INTERRUPTION_TYPE_PRIVILEGED_SOFTWARE_EXCEPTION:
        return event->vector == VMXC_VECTOR_DB && !event->has_error_code;
    case VMXC_INTERRUPTION_TYPE_SOFTWARE_EXCEPTION:
        return (event->vector == VMXC_VECTOR_BP || event->vector == VMXC_VECTOR_OF) &&
               !event->has_error_code;
    default:
        return false;
    }
}

static void describe_exit(struct vmxsim_outcome *outcome, const struct vmxsim_event *event)
{
    outcome->interruption_info &= ~(uint32_t)VMXC_INTERRUPTION_TYPE;
    outcome->interruption_info |= (uint32_t)VMXC_FIELD_MAKE(event->type, VMXC_INTERRUPTION_TYPE);
    if (event->vector == VMXC_VECTOR_DB)
        outcome->qualification = event->detail;
}

static enum vmxc_status raise(struct walk *walk, const struct vmxsim_event *event)
{
    struct vmxsim_cpu *cpu = walk->cpu;

    if (event->type == VMXC_INTERRUPTION_TYPE_SOFTWARE_INTERRUPT)
        return take(walk, event->vector);
    walk->linear = event->detail; /* of a page fault */
    (void)vmxsim_end_with_exception(walk, VMXSIM_RULE_EXCEPTION, event->vector,
                                    event->has_error_code, event->error_code);
    if (walk->outcome->kind == VMXSIM_OUTCOME_VM_EXIT)
        describe_exit(walk->outcome, event);
    else if (event->vector == VMXC_VECTOR_DB)
        cpu->dr[6] |= event->detail & DEBUG_CAUSES;
    return VMXC_OK;
}

enum vmxc_status vmxsim_guest_exception(struct vmxsim_cpu *cpu, const struct vmxsim_event *event,
                                        struct vmxsim_outcome *outcome)
{
    struct walk walk;

    if (!event_is_valid(cpu, event))
        return VMXC_INVALID_INPUT;
    VMXC_TRY(vmxsim_guest_begin(&walk, cpu, outcome));
    return raise(&walk, event);
}

/* ---- Interrupts ---- */

/* Virtual NMIs: the bit in the interruptibility state is about them, and NMIs themselves are not blocked. */
static bool nmi_is_blocked(struct vmxsim_cpu *cpu)
{
    const bool virtual_nmis = cpu->exits.pin & VMXC_PIN_VIRTUAL_NMIS;

    return waits_for_sipi(cpu) || is_blocked_by(cpu, VMXC_INTERRUPTIBILITY_MOV_SS) ||
           (!virtual_nmis && is_blocked_by(cpu, VMXC_INTERRUPTIBILITY_NMI));
}

static enum vmxc_status nmi(struct walk *walk)
{
    if (nmi_is_blocked(walk->cpu))
        return vmxsim_guest_hold(walk);
    if (walk->cpu->exits.pin & VMXC_PIN_NMI_EXITING)
        return exit_with_event(walk, VMXSIM_RULE_EXIT_NMI, VMXC_EXIT_REASON_EXCEPTION_OR_NMI,
                               VMXC_INTERRUPTION_TYPE_NMI, VMXC_VECTOR_NMI);
    VMXSIM_VMCS(guest_vmcs(walk->cpu), GUEST_INTERRUPTIBILITY_STATE) |= VMXC_INTERRUPTIBILITY_NMI;
    return take(walk, VMXC_VECTOR_NMI);
}

/* With external-interrupt exiting RFLAGS.IF blocks nothing. */
static bool interrupt_is_blocked(struct vmxsim_cpu *cpu)
{
    const bool exiting = cpu->exits.pin & VMXC_PIN_EXTERNAL_INTERRUPT_EXITING;

    return waits_for_sipi(cpu) || is_shut_down(cpu) ||
           is_blocked_by(cpu, VMXC_INTERRUPTIBILITY_STI | VMXC_INTERRUPTIBILITY_MOV_SS) ||
           (!exiting && !(cpu->guest.rflags & VMXC_RFLAGS_IF));
}

static bool is_notification(struct vmxsim_cpu *cpu, uint8_t vector)
{
    return (cpu->exits.pin & VMXC_PIN_PROCESS_POSTED_INTERRUPTS) &&
           vector == VMXSIM_VMCS(guest_vmcs(cpu), POSTED_INTERRUPT_NOTIFICATION_VECTOR);
}

/* The activity state stays; a virtual interrupt that is recognized waits for the next boundary. */
static enum vmxc_status process_posted(struct walk *walk)
{
    vmxsim_virtual_apic_process_posted(walk->cpu);
    walk->outcome->rule = VMXSIM_RULE_POSTED_INTERRUPT;
    return VMXC_OK;
}

/* Without "acknowledge interrupt on exit" the interrupt stays with the interrupt controller. */
static enum vmxc_status interrupt(struct walk *walk, uint8_t vector)
{
    struct vmxsim_cpu *cpu = walk->cpu;
    const uint64_t exit_controls = VMXSIM_VMCS(guest_vmcs(cpu), PRIMARY_VM_EXIT_CONTROLS);

    if (interrupt_is_blocked(cpu))
        return vmxsim_guest_hold(walk);
    if (is_notification(cpu, vector))
        return process_posted(walk);
    if (!(cpu->exits.pin & VMXC_PIN_EXTERNAL_INTERRUPT_EXITING))
        return take_interrupt(walk, vector);
    if (!(exit_controls & VMXC_EXIT_ACKNOWLEDGE_INTERRUPT))
        return vmxsim_guest_exit(walk, VMXSIM_RULE_EXIT_INTERRUPT,
                                 VMXC_EXIT_REASON_EXTERNAL_INTERRUPT, 0);
    return exit_with_event(walk, VMXSIM_RULE_EXIT_INTERRUPT, VMXC_EXIT_REASON_EXTERNAL_INTERRUPT,
                           VMXC_INTERRUPTION_TYPE_EXTERNAL, vector);
}

static enum vmxc_status init_signal(struct walk *walk)
{
    return waits_for_sipi(walk->cpu)
               ? vmxsim_guest_hold(walk)
               : vmxsim_guest_exit(walk, VMXSIM_RULE_EXIT_INIT, VMXC_EXIT_REASON_INIT_SIGNAL, 0);
}

static enum vmxc_status sipi(struct walk *walk, uint8_t vector)
{
    return waits_for_sipi(walk->cpu) ? vmxsim_guest_exit(walk, VMXSIM_RULE_EXIT_SIPI,
                                                         VMXC_EXIT_REASON_STARTUP_IPI, vector)
                                     : vmxsim_guest_hold(walk);
}

enum vmxc_status vmxsim_guest_nmi(struct vmxsim_cpu *cpu, struct vmxsim_outcome *outcome)
{
    struct walk walk;

    VMXC_TRY(vmxsim_guest_start(&walk, cpu, outcome));
    return nmi(&walk);
}

enum vmxc_status vmxsim_guest_external_interrupt(struct vmxsim_cpu *cpu, uint8_t vector,
                                                 struct vmxsim_outcome *outcome)
{
    struct walk walk;

    VMXC_TRY(vmxsim_guest_start(&walk, cpu, outcome));
    return interrupt(&walk, vector);
}

enum vmxc_status vmxsim_guest_init(struct vmxsim_cpu *cpu, struct vmxsim_outcome *outcome)
{
    struct walk walk;

    VMXC_TRY(vmxsim_guest_start(&walk, cpu, outcome));
    return init_signal(&walk);
}

enum vmxc_status vmxsim_guest_sipi(struct vmxsim_cpu *cpu, uint8_t vector,
                                   struct vmxsim_outcome *outcome)
{
    struct walk walk;

    VMXC_TRY(vmxsim_guest_start(&walk, cpu, outcome));
    return sipi(&walk, vector);
}

/* ---- Task switches, triple faults ---- */

enum vmxc_status vmxsim_guest_task_switch(struct vmxsim_cpu *cpu, uint16_t selector,
                                          enum vmxc_task_source source,
                                          struct vmxsim_outcome *outcome)
{
    struct walk walk;

    VMXC_TRY(vmxsim_guest_begin(&walk, cpu, outcome));
    if ((unsigned)source > VMXC_TASK_SOURCE_IDT_GATE || (cpu->guest.efer & VMXC_EFER_LMA))
        return VMXC_INVALID_INPUT;
    return vmxsim_guest_exit(&walk, VMXSIM_RULE_EXIT_TASK_SWITCH, VMXC_EXIT_REASON_TASK_SWITCH,
                             VMXC_FIELD_MAKE(selector, VMXC_QUALIFICATION_TASK_SELECTOR) |
                                 VMXC_FIELD_MAKE(source, VMXC_QUALIFICATION_TASK_SOURCE));
}

enum vmxc_status vmxsim_guest_triple_fault(struct vmxsim_cpu *cpu, struct vmxsim_outcome *outcome)
{
    struct walk walk;

    VMXC_TRY(vmxsim_guest_begin(&walk, cpu, outcome));
    return vmxsim_guest_exit(&walk, VMXSIM_RULE_EXIT_TRIPLE_FAULT, VMXC_EXIT_REASON_TRIPLE_FAULT,
                             0);
}

/* ---- Boundaries between instructions ---- */

enum vmxc_status vmxsim_guest_advance_timer(struct vmxsim_cpu *cpu, uint32_t counts)
{
    if (!cpu->in_guest || !(cpu->exits.pin & VMXC_PIN_ACTIVATE_PREEMPTION_TIMER))
        return VMXC_BAD_STATE;
    if (!waits_for_sipi(cpu))
        cpu->preemption_timer -= counts < cpu->preemption_timer ? counts : cpu->preemption_timer;
    return VMXC_OK;
}

static bool timer_has_expired(struct vmxsim_cpu *cpu)
{
    return (cpu->exits.pin & VMXC_PIN_ACTIVATE_PREEMPTION_TIMER) && cpu->preemption_timer == 0 &&
           !waits_for_sipi(cpu);
}

static bool nmi_window_is_open(struct vmxsim_cpu *cpu)
{
    return (cpu->exits.primary & VMXC_PRIMARY_NMI_WINDOW_EXITING) && !waits_for_sipi(cpu) &&
           !is_blocked_by(cpu, VMXC_INTERRUPTIBILITY_NMI | VMXC_INTERRUPTIBILITY_MOV_SS);
}

static bool is_open_to_interrupts(struct vmxsim_cpu *cpu)
{
    return !waits_for_sipi(cpu) && !is_shut_down(cpu) && (cpu->guest.rflags & VMXC_RFLAGS_IF) &&
           !is_blocked_by(cpu, VMXC_INTERRUPTIBILITY_STI | VMXC_INTERRUPTIBILITY_MOV_SS);
}

static bool interrupt_window_is_open(struct vmxsim_cpu *cpu)
{
    return (cpu->exits.primary & VMXC_PRIMARY_INTERRUPT_WINDOW_EXITING) &&
           is_open_to_interrupts(cpu);
}

/* With interrupt-window exiting none is ever recognized. */
static bool virtual_interrupt_is_due(struct vmxsim_cpu *cpu)
{
    return cpu->virtual_interrupts.recognized && is_open_to_interrupts(cpu);
}

static enum vmxc_status deliver_virtual_interrupt(struct walk *walk)
{
    VMXC_TRY(take_interrupt(walk, vmxsim_virtual_apic_requested(walk->cpu)));
    vmxsim_virtual_apic_deliver(walk->cpu);
    walk->outcome->rule = VMXSIM_RULE_VIRTUAL_INTERRUPT;
    return VMXC_OK;
}

/* Not in the wait-for-SIPI state; in the shutdown state it waits until the guest leaves that state. */
static bool tpr_exit_is_due(struct vmxsim_cpu *cpu)
{
    return cpu->virtual_interrupts.tpr_below_at_entry && !waits_for_sipi(cpu) && !is_shut_down(cpu);
}

static enum vmxc_status debug_trap(struct walk *walk, uint64_t causes)
{
    return raise(walk, &(struct vmxsim_event){.vector = VMXC_VECTOR_DB,
                                              .type = VMXC_INTERRUPTION_TYPE_HARDWARE_EXCEPTION,
                                              .detail = causes});
}

/* Events of the boundary, the first first. The last: an interrupt that the one before it has posted. */
enum boundary_event {
    BOUNDARY_TPR,
    BOUNDARY_INIT,
    BOUNDARY_SIPI,
    BOUNDARY_MONITOR_TRAP,
    BOUNDARY_DEBUG_TRAP,
    BOUNDARY_TIMER,
    BOUNDARY_NMI_WINDOW,
    BOUNDARY_NMI,
    BOUNDARY_INTERRUPT_WINDOW,
    BOUNDARY_VIRTUAL_INTERRUPT,
    BOUNDARY_INTERRUPT,
    BOUNDARY_POSTED_INTERRUPT,
    BOUNDARY_COUNT
};

static bool is_due(struct vmxsim_cpu *cpu, const struct vmxsim_pending *pending,
                   enum boundary_event event)
{
    switch (event) {
    case BOUNDARY_TPR:
        return tpr_exit_is_due(cpu);
    case BOUNDARY_INIT:
        return pending->init;
    case BOUNDARY_SIPI:
        return pending->sipi;
    case BOUNDARY_MONITOR_TRAP:
        return pending->instruction_done && (cpu->exits.primary & VMXC_PRIMARY_MONITOR_TRAP_FLAG);
    case BOUNDARY_DEBUG_TRAP:
        return pending->debug_causes && !is_blocked_by(cpu, VMXC_INTERRUPTIBILITY_MOV_SS);
    case BOUNDARY_TIMER:
        return timer_has_expired(cpu);
    case BOUNDARY_NMI_WINDOW:
        return nmi_window_is_open(cpu);
    case BOUNDARY_NMI:
        return pending->nmi;
    case BOUNDARY_INTERRUPT_WINDOW:
        return interrupt_window_is_open(cpu);
    case BOUNDARY_VIRTUAL_INTERRUPT:
    case BOUNDARY_POSTED_INTERRUPT:
        return virtual_interrupt_is_due(cpu);
    case BOUNDARY_INTERRUPT:
        return pending->interrupt;
    case BOUNDARY_COUNT:
        break;
    }
    return false;
}

static enum vmxc_status happen(struct walk *walk, const struct vmxsim_pending *pending,
                               enum boundary_event event)
{
    switch (event) {
    case BOUNDARY_TPR:
        return vmxsim_guest_exit(walk, VMXSIM_RULE_EXIT_TPR_ENTRY,
                                 VMXC_EXIT_REASON_TPR_BELOW_THRESHOLD, 0);
    case BOUNDARY_INIT:
        return init_signal(walk);
    case BOUNDARY_SIPI:
        return sipi(walk, pending->sipi_vector);
    case BOUNDARY_MONITOR_TRAP:
        return vmxsim_guest_exit(walk, VMXSIM_RULE_EXIT_MTF, VMXC_EXIT_REASON_MONITOR_TRAP_FLAG, 0);
    case BOUNDARY_DEBUG_TRAP:
        return debug_trap(walk, pending->debug_causes);
    case BOUNDARY_TIMER:
        return vmxsim_guest_exit(walk, VMXSIM_RULE_EXIT_TIMER, VMXC_EXIT_REASON_PREEMPTION_TIMER,
                                 0);
    case BOUNDARY_NMI_WINDOW:
        return vmxsim_guest_exit(walk, VMXSIM_RULE_EXIT_NMI_WINDOW, VMXC_EXIT_REASON_NMI_WINDOW, 0);
    case BOUNDARY_NMI:
        return nmi(walk);
    case BOUNDARY_INTERRUPT_WINDOW:
        return vmxsim_guest_exit(walk, VMXSIM_RULE_EXIT_INTERRUPT_WINDOW,
                                 VMXC_EXIT_REASON_INTERRUPT_WINDOW, 0);
    case BOUNDARY_VIRTUAL_INTERRUPT:
    case BOUNDARY_POSTED_INTERRUPT:
        return deliver_virtual_interrupt(walk);
    case BOUNDARY_INTERRUPT:
    case BOUNDARY_COUNT:
        break;
    }
    return interrupt(walk, pending->interrupt_vector);
}

enum vmxc_status vmxsim_guest_boundary(struct vmxsim_cpu *cpu, const struct vmxsim_pending *pending,
                                       struct vmxsim_outcome *outcome)
{
    struct walk walk;

    VMXC_TRY(vmxsim_guest_start(&walk, cpu, outcome));
    for (int event = 0; event < BOUNDARY_COUNT; event++) {
        if (!is_due(cpu, pending, (enum boundary_event)event))
            continue;
        VMXC_TRY(happen(&walk, pending, (enum boundary_event)event));
        if (outcome->kind != VMXSIM_OUTCOME_COMPLETE)
            return VMXC_OK;
    }
    return VMXC_OK;
}
