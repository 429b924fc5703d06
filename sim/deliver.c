/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Delivery of events through the IDT.
 *
 *     IDT entry, 8 bytes (IA-32e mode: 16, with offset 63:32 behind them)
 *     63        48 47 46 45 44  40 39    35 34 32 31       16 15          0
 *     offset 31:16 P  DPL   type            IST   selector    offset 15:0
 *
 *     frame, downwards from the stack:  SS, RSP, RFLAGS, CS, RIP, error code
 *     SS and RSP in IA-32e mode always, else if the privilege level changes
 */
#include "internal/deliver.h"

#include "vmxcore/defs/controls.h"
#include "vmxcore/defs/guest_state.h"
#include "vmxcore/defs/segments.h"

#include <string.h>

#define GATE_OFFSET_LOW  VMXC_BITS(15, 0)
#define GATE_SELECTOR    VMXC_BITS(31, 16)
#define GATE_IST         VMXC_BITS(34, 32)
#define GATE_TYPE        VMXC_BITS(44, 40) /* with the S bit, which is 0 */
#define GATE_DPL         VMXC_BITS(46, 45)
#define GATE_P           VMXC_BIT(47)
#define GATE_OFFSET_HIGH VMXC_BITS(63, 48)

enum gate_type {
    GATE_TASK = 5,
    GATE_INTERRUPT_16 = 6,
    GATE_TRAP_16 = 7,
    GATE_INTERRUPT = 14,
    GATE_TRAP = 15,
};

/* Code- and data-segment descriptors: their access rights, where the VMCS has them. */
#define DESCRIPTOR_RIGHTS VMXC_BITS(55, 40)
#define RIGHTS_MASK       VMXC_BITS(15, 0)

#define ERROR_CODE_EXT  UINT32_C(1)
#define ERROR_CODE_IDT  UINT32_C(2)
#define SELECTOR_NO_RPL UINT32_C(0xfffc)
#define RFLAGS_CLEARED  (VMXC_BIT(8) | VMXC_BIT(14) | VMXC_BIT(16) | VMXC_BIT(17)) /* TF NT RF VM */
#define FLAT_LIMIT      UINT32_MAX
#define MOST_EVENTS     8 /* each fault on the way is one: no chain is longer */

/* One event while it is delivered. */
struct arrival {
    struct walk walk;
    const struct deliver_event *event;
    struct delivery *delivery;
    enum vmxc_status status; /* not VMXC_OK: the model cannot go on */
    bool ia32e;
    bool nested; /* a fault that came up on the way of another event */
    uint64_t gate, offset;
    uint64_t code; /* descriptor */
    unsigned new_cpl;
};

static uint64_t field(struct vmxsim_cpu *cpu, size_t ordinal)
{
    return guest_vmcs(cpu)->value[ordinal];
}

#define FIELD(arrival, name) field((arrival)->walk.cpu, VMXC_VMCS_ORDINAL_##name)

/* ---- Faults. Each returns false. ---- */

/* External to the program: everything but INT n, INT3 and INTO. */
static uint32_t ext(const struct arrival *arrival)
{
    return arrival->event->type == VMXC_INTERRUPTION_TYPE_SOFTWARE_INTERRUPT ||
                   arrival->event->type == VMXC_INTERRUPTION_TYPE_SOFTWARE_EXCEPTION
               ? 0
               : ERROR_CODE_EXT;
}

static bool fault(struct arrival *arrival, uint8_t vector, uint32_t error_code)
{
    return vmxsim_end_with_exception(&arrival->walk, VMXSIM_RULE_EXCEPTION, vector, true,
                                     error_code | ext(arrival));
}

static bool gate_fault(struct arrival *arrival, uint8_t vector)
{
    return fault(arrival, vector, arrival->event->vector * 8u | ERROR_CODE_IDT);
}

static bool not_modelled(struct arrival *arrival)
{
    arrival->status = VMXC_UNSUPPORTED;
    return false;
}

/* ---- Memory ---- */

static bool access_memory(struct arrival *arrival, const struct vmxsim_access *access,
                          struct vmxsim_outcome *outcome)
{
    arrival->status = vmxsim_guest_access(arrival->walk.cpu, access, outcome, NULL);
    return arrival->status == VMXC_OK && outcome->kind == VMXSIM_OUTCOME_COMPLETE;
}

/* Reads a descriptor table or the TSS, as the processor itself. */
static bool read_system(struct arrival *arrival, uint64_t linear, uint32_t size, uint64_t *value)
{
    const struct vmxsim_access access = {.type = VMXSIM_ACCESS_READ,
                                         .linear = linear,
                                         .size = size,
                                         .implicit = true,
                                         .event_delivery = true};
    struct vmxsim_outcome *const outcome = arrival->walk.outcome;

    if (!access_memory(arrival, &access, outcome))
        return false;
    *value = 0;
    for (uint32_t i = size; i > 0; i--)
        *value = *value << 8 | outcome->data[i - 1];
    memset(outcome, 0, sizeof(*outcome));
    return true;
}

/* ---- The gate ---- */

static unsigned gate_type(const struct arrival *arrival)
{
    return (unsigned)VMXC_FIELD_GET(arrival->gate, GATE_TYPE);
}

static bool has_gate_type(const struct arrival *arrival)
{
    switch (gate_type(arrival)) {
    case GATE_INTERRUPT:
    case GATE_TRAP:
        return true;
    case GATE_TASK:
    case GATE_INTERRUPT_16:
    case GATE_TRAP_16:
        return !arrival->ia32e;
    default:
        return false;
    }
}

/* INT n, INT3 and INTO ask whether the program may use the gate. */
static bool may_use_gate(const struct arrival *arrival)
{
    return ext(arrival) || VMXC_FIELD_GET(arrival->gate, GATE_DPL) >= arrival->walk.cpu->guest.cpl;
}

static bool read_gate(struct arrival *arrival)
{
    const uint32_t size = arrival->ia32e ? 16 : 8;
    const uint32_t offset = arrival->event->vector * size;
    const uint64_t linear = FIELD(arrival, GUEST_IDTR_BASE) + offset;
    uint64_t high = 0;

    if (offset + size - 1 > FIELD(arrival, GUEST_IDTR_LIMIT))
        return gate_fault(arrival, VMXC_VECTOR_GP);
    if (!read_system(arrival, linear, 8, &arrival->gate) ||
        (arrival->ia32e && !read_system(arrival, linear + 8, 8, &high)))
        return false;
    arrival->offset = VMXC_FIELD_GET(arrival->gate, GATE_OFFSET_LOW) |
                      VMXC_FIELD_GET(arrival->gate, GATE_OFFSET_HIGH) << 16 |
                      (high & UINT32_MAX) << 32;
    return true;
}

static bool check_gate(struct arrival *arrival)
{
    if (!has_gate_type(arrival) || !may_use_gate(arrival))
        return gate_fault(arrival, VMXC_VECTOR_GP);
    if (!(arrival->gate & GATE_P))
        return gate_fault(arrival, VMXC_VECTOR_NP);
    return true;
}

static bool is_task_gate(const struct arrival *arrival)
{
    return gate_type(arrival) == GATE_TASK;
}

/* ---- Segments ---- */

/* `fault_vector`: of a selector that is null or beyond the table. */
static bool read_descriptor(struct arrival *arrival, uint32_t selector, uint8_t fault_vector,
                            uint64_t *descriptor)
{
    const uint32_t offset = selector & (uint32_t)VMXC_SELECTOR_INDEX;

    if (!(selector & SELECTOR_NO_RPL))
        return fault(arrival, fault_vector, 0);
    if (selector & VMXC_SELECTOR_TI)
        return not_modelled(arrival);
    if (offset + 7 > FIELD(arrival, GUEST_GDTR_LIMIT))
        return fault(arrival, fault_vector, selector & SELECTOR_NO_RPL);
    return read_system(arrival, FIELD(arrival, GUEST_GDTR_BASE) + offset, 8, descriptor);
}

static uint64_t rights_of(uint64_t descriptor)
{
    return VMXC_FIELD_GET(descriptor, DESCRIPTOR_RIGHTS) & RIGHTS_MASK;
}

static unsigned dpl_of(uint64_t descriptor)
{
    return (unsigned)VMXC_FIELD_GET(rights_of(descriptor), VMXC_SEGMENT_DPL);
}

static bool is_code(uint64_t rights)
{
    return (rights & VMXC_SEGMENT_S) && (rights & VMXC_SEGMENT_CODE);
}

/* IA-32e mode: handlers are 64-bit code. */
static bool is_handler_code(const struct arrival *arrival, uint64_t rights)
{
    return is_code(rights) &&
           (!arrival->ia32e || (rights & (VMXC_SEGMENT_L | VMXC_SEGMENT_DB)) == VMXC_SEGMENT_L);
}

static bool choose_code(struct arrival *arrival)
{
    const uint32_t selector = (uint32_t)VMXC_FIELD_GET(arrival->gate, GATE_SELECTOR);
    const unsigned cpl = arrival->walk.cpu->guest.cpl;

    if (!read_descriptor(arrival, selector, VMXC_VECTOR_GP, &arrival->code))
        return false;
    const uint64_t rights = rights_of(arrival->code);
    if (!is_handler_code(arrival, rights) || dpl_of(arrival->code) > cpl)
        return fault(arrival, VMXC_VECTOR_GP, selector & SELECTOR_NO_RPL);
    if (!(rights & VMXC_SEGMENT_P))
        return fault(arrival, VMXC_VECTOR_NP, selector & SELECTOR_NO_RPL);
    if (!(rights & VMXC_SEGMENT_ACCESSED))
        return not_modelled(arrival); /* when the flag is set is not said */
    arrival->new_cpl = rights & VMXC_SEGMENT_CONFORMING ? cpl : dpl_of(arrival->code);
    return true;
}

/* ---- Task gates ---- */

#define TSS_16_LIMIT       43u
#define TSS_32_LIMIT       103u
#define TSS_AVAILABLE_16   1u
#define TSS_AVAILABLE_32   9u
#define DESCRIPTOR_LIMIT_L VMXC_BITS(15, 0)
#define DESCRIPTOR_LIMIT_H VMXC_BITS(51, 48)

static bool is_available_tss(uint64_t rights)
{
    const uint64_t type = rights & VMXC_SEGMENT_TYPE;

    return !(rights & VMXC_SEGMENT_S) && (type == TSS_AVAILABLE_16 || type == TSS_AVAILABLE_32);
}

static bool is_long_enough(uint64_t descriptor)
{
    const bool pages = rights_of(descriptor) & VMXC_SEGMENT_G;
    const uint64_t limit = VMXC_FIELD_GET(descriptor, DESCRIPTOR_LIMIT_L) |
                           VMXC_FIELD_GET(descriptor, DESCRIPTOR_LIMIT_H) << 16;
    const bool wide = (rights_of(descriptor) & VMXC_SEGMENT_TYPE) == TSS_AVAILABLE_32;

    return pages || limit >= (wide ? TSS_32_LIMIT : TSS_16_LIMIT);
}

/* Source: SDM, "Treatment of Task Switches": what is checked before the VM exit. */
static bool check_task(struct arrival *arrival, uint32_t selector)
{
    uint64_t tss = 0;

    if (selector & VMXC_SELECTOR_TI)
        return fault(arrival, VMXC_VECTOR_GP, selector & SELECTOR_NO_RPL);
    if (!read_descriptor(arrival, selector, VMXC_VECTOR_GP, &tss))
        return false;
    if (!is_available_tss(rights_of(tss)))
        return fault(arrival, VMXC_VECTOR_GP, selector & SELECTOR_NO_RPL);
    if (!(rights_of(tss) & VMXC_SEGMENT_P))
        return fault(arrival, VMXC_VECTOR_NP, selector & SELECTOR_NO_RPL);
    return is_long_enough(tss) || fault(arrival, VMXC_VECTOR_TS, selector & SELECTOR_NO_RPL);
}

/* A guest never switches tasks by itself. */
static bool exit_for_task(struct arrival *arrival)
{
    const uint32_t selector = (uint32_t)VMXC_FIELD_GET(arrival->gate, GATE_SELECTOR);

    if (!check_task(arrival, selector))
        return false;
    return vmxsim_end_with_exit(
        &arrival->walk, VMXSIM_RULE_EXIT_TASK_SWITCH, VMXC_EXIT_REASON_TASK_SWITCH,
        VMXC_FIELD_MAKE(selector, VMXC_QUALIFICATION_TASK_SELECTOR) |
            VMXC_FIELD_MAKE(VMXC_TASK_SOURCE_IDT_GATE, VMXC_QUALIFICATION_TASK_SOURCE));
}

/* ---- The stack ---- */

#define TSS_STACKS 4u    /* pointers to the stacks of privilege levels 0 to 2 */
#define TSS_64_IST 0x24u /* IA-32e mode: the interrupt stack table, from 1 */
#define TSS_32_SS  4u    /* behind ESP */

struct stack {
    uint64_t pointer;
    uint32_t selector;
};

static bool read_tss(struct arrival *arrival, uint32_t offset, uint32_t size, uint64_t *value)
{
    if (offset + size - 1 > FIELD(arrival, GUEST_TR_LIMIT))
        return fault(arrival, VMXC_VECTOR_TS,
                     (uint32_t)FIELD(arrival, GUEST_TR_SELECTOR) & SELECTOR_NO_RPL);
    return read_system(arrival, FIELD(arrival, GUEST_TR_BASE) + offset, size, value);
}

static bool is_canonical(const struct arrival *arrival, uint64_t linear)
{
    const uint64_t upper = linear >> (arrival->walk.cpu->guest.linear_width - 1u);

    return upper == 0 || upper == UINT64_MAX >> (arrival->walk.cpu->guest.linear_width - 1u);
}

/* IA-32e mode: the TSS has pointers alone; where privilege changes SS becomes a null selector. */
static bool choose_stack_64(struct arrival *arrival, struct stack *stack)
{
    const uint32_t ist = (uint32_t)VMXC_FIELD_GET(arrival->gate, GATE_IST);
    const bool changes = arrival->new_cpl != arrival->walk.cpu->guest.cpl;

    if (changes)
        stack->selector = arrival->new_cpl;
    if (ist != 0 && !read_tss(arrival, TSS_64_IST + 8 * (ist - 1), 8, &stack->pointer))
        return false;
    if (ist == 0 && changes &&
        !read_tss(arrival, TSS_STACKS + 8 * arrival->new_cpl, 8, &stack->pointer))
        return false;
    if (!is_canonical(arrival, stack->pointer))
        return fault(arrival, VMXC_VECTOR_SS, 0);
    stack->pointer &= ~UINT64_C(15);
    return true;
}

/* A writable data segment of the new privilege level. */
static bool check_stack_segment(struct arrival *arrival, uint32_t selector)
{
    uint64_t descriptor;

    if (!read_descriptor(arrival, selector, VMXC_VECTOR_TS, &descriptor))
        return false;
    const uint64_t rights = rights_of(descriptor);
    if ((selector & VMXC_SELECTOR_RPL) != arrival->new_cpl ||
        dpl_of(descriptor) != arrival->new_cpl || !(rights & VMXC_SEGMENT_S) || is_code(rights) ||
        !(rights & VMXC_SEGMENT_WRITABLE))
        return fault(arrival, VMXC_VECTOR_TS, selector & SELECTOR_NO_RPL);
    if (!(rights & VMXC_SEGMENT_P))
        return fault(arrival, VMXC_VECTOR_SS, selector & SELECTOR_NO_RPL);
    return (rights & VMXC_SEGMENT_DB) && (rights & VMXC_SEGMENT_ACCESSED) ? true
                                                                          : not_modelled(arrival);
}

static bool choose_stack_32(struct arrival *arrival, struct stack *stack)
{
    const uint32_t offset = TSS_STACKS + 8 * arrival->new_cpl;
    uint64_t selector = 0;

    if (arrival->new_cpl == arrival->walk.cpu->guest.cpl)
        return true;
    /* Both have to be within the limit before either is read. */
    if (!read_tss(arrival, offset + TSS_32_SS, 2, &selector) ||
        !read_tss(arrival, offset, 4, &stack->pointer))
        return false;
    stack->selector = (uint32_t)selector;
    return check_stack_segment(arrival, stack->selector);
}

static bool choose_stack(struct arrival *arrival, struct stack *stack)
{
    *stack = (struct stack){.pointer = FIELD(arrival, GUEST_RSP),
                            .selector = (uint32_t)FIELD(arrival, GUEST_SS_SELECTOR)};
    return arrival->ia32e ? choose_stack_64(arrival, stack) : choose_stack_32(arrival, stack);
}

/* ---- The frame ---- */

static uint64_t return_address(const struct arrival *arrival)
{
    const uint64_t rip = FIELD(arrival, GUEST_RIP);
    const bool software =
        arrival->event->type == VMXC_INTERRUPTION_TYPE_SOFTWARE_INTERRUPT ||
        arrival->event->type == VMXC_INTERRUPTION_TYPE_SOFTWARE_EXCEPTION ||
        arrival->event->type == VMXC_INTERRUPTION_TYPE_PRIVILEGED_SOFTWARE_EXCEPTION;

    return rip + (software ? arrival->event->instruction_length : 0);
}

/* What is pushed of RFLAGS. RF is set for faults of the processor's own, not for what VM entry injects. */
static uint64_t saved_rflags(const struct arrival *arrival)
{
    const uint64_t rflags = FIELD(arrival, GUEST_RFLAGS);
    const bool fault = arrival->nested && arrival->event->vector != VMXC_VECTOR_DF;

    return fault ? rflags | VMXC_RFLAGS_RF : rflags;
}

static uint32_t push_size(const struct arrival *arrival)
{
    const unsigned type = gate_type(arrival);

    if (arrival->ia32e)
        return 8;
    return type == GATE_INTERRUPT_16 || type == GATE_TRAP_16 ? 2 : 4;
}

static bool push(struct arrival *arrival, struct stack *stack, uint64_t value)
{
    struct vmxsim_access access = {.type = VMXSIM_ACCESS_WRITE,
                                   .size = push_size(arrival),
                                   .implicit = arrival->new_cpl != 3,
                                   .event_delivery = true};

    stack->pointer -= access.size;
    access.linear = stack->pointer;
    for (uint32_t i = 0; i < access.size; i++)
        access.data[i] = (uint8_t)(value >> 8 * i);
    return access_memory(arrival, &access, arrival->walk.outcome);
}

/* A frame of which a part is written when a fault ends it is not modelled: how much that is, is not said. */
static bool push_frame(struct arrival *arrival, struct stack *stack)
{
    const bool with_stack = arrival->ia32e || arrival->new_cpl != arrival->walk.cpu->guest.cpl;
    const uint64_t values[] = {
        FIELD(arrival, GUEST_SS_SELECTOR), FIELD(arrival, GUEST_RSP), saved_rflags(arrival),
        FIELD(arrival, GUEST_CS_SELECTOR), return_address(arrival),   arrival->event->error_code};
    const uint32_t first = with_stack ? 0 : 2;
    const uint32_t end = arrival->event->has_error_code ? 6 : 5;

    for (uint32_t i = first; i < end; i++) {
        if (!push(arrival, stack, values[i]))
            return i == first ? false : not_modelled(arrival);
    }
    return true;
}

/* ---- One event ---- */

static bool segments_are_flat(struct vmxsim_cpu *cpu)
{
    return field(cpu, VMXC_VMCS_ORDINAL_GUEST_SS_BASE) == 0 &&
           field(cpu, VMXC_VMCS_ORDINAL_GUEST_CS_BASE) == 0 &&
           field(cpu, VMXC_VMCS_ORDINAL_GUEST_SS_LIMIT) == FLAT_LIMIT &&
           (field(cpu, VMXC_VMCS_ORDINAL_GUEST_SS_ACCESS_RIGHTS) & VMXC_SEGMENT_DB);
}

static bool is_modelled(struct vmxsim_cpu *cpu)
{
    const struct guest_state *const guest = &cpu->guest;
    const bool ia32e = guest->efer & VMXC_EFER_LMA;

    return (guest->cr0 & VMXC_CR0_PE) && !(guest->rflags & VMXC_RFLAGS_VM) &&
           !(guest->cr4 & VMXC_CR4_CET) && (ia32e || segments_are_flat(cpu));
}

static void arrive(struct arrival *arrival, const struct stack *stack)
{
    struct delivery *const delivery = arrival->delivery;
    const unsigned type = gate_type(arrival);
    const bool interrupt = type == GATE_INTERRUPT || type == GATE_INTERRUPT_16;
    const uint64_t cleared = RFLAGS_CLEARED | (interrupt ? VMXC_RFLAGS_IF : 0);
    const bool sixteen = type == GATE_INTERRUPT_16 || type == GATE_TRAP_16;

    delivery->done = true;
    delivery->vector = arrival->event->vector;
    delivery->nested = arrival->nested;
    delivery->rip = sixteen ? arrival->offset & UINT16_MAX : arrival->offset;
    delivery->rsp = arrival->ia32e ? stack->pointer : stack->pointer & UINT32_MAX;
    delivery->rflags = FIELD(arrival, GUEST_RFLAGS) & ~cleared;
    delivery->cs = (uint16_t)((VMXC_FIELD_GET(arrival->gate, GATE_SELECTOR) & SELECTOR_NO_RPL) |
                              arrival->new_cpl);
    delivery->ss = (uint16_t)stack->selector;
}

/* False: a fault, a VM exit, or not modelled. */
static bool deliver_one(struct arrival *arrival)
{
    struct stack stack;

    if (!read_gate(arrival) || !check_gate(arrival))
        return false;
    if (is_task_gate(arrival))
        return exit_for_task(arrival);
    if (!choose_code(arrival))
        return false;
    if (arrival->ia32e && !is_canonical(arrival, arrival->offset))
        return not_modelled(arrival); /* the manual does not say whether the stack comes first */
    if (!choose_stack(arrival, &stack) || !push_frame(arrival, &stack))
        return false;
    arrive(arrival, &stack);
    return true;
}

/* ---- One event after the other ---- */

enum event_class { BENIGN, CONTRIBUTORY, PAGE_FAULT, DOUBLE_FAULT };

static enum event_class class_of(const struct deliver_event *event)
{
    if (event->type != VMXC_INTERRUPTION_TYPE_HARDWARE_EXCEPTION)
        return BENIGN;
    switch (event->vector) {
    case VMXC_VECTOR_DE:
    case VMXC_VECTOR_TS:
    case VMXC_VECTOR_NP:
    case VMXC_VECTOR_SS:
    case VMXC_VECTOR_GP:
    case VMXC_VECTOR_CP:
        return CONTRIBUTORY;
    case VMXC_VECTOR_PF:
    case VMXC_VECTOR_VE:
        return PAGE_FAULT;
    case VMXC_VECTOR_DF:
        return DOUBLE_FAULT;
    default:
        return BENIGN;
    }
}

/* Source: SDM, "Interrupt 8 - Double Fault Exception (#DF)". */
static bool makes_double_fault(const struct deliver_event *first,
                               const struct deliver_event *second)
{
    const enum event_class a = class_of(first), b = class_of(second);

    return (a == CONTRIBUTORY && b == CONTRIBUTORY) ||
           (a == PAGE_FAULT && (b == CONTRIBUTORY || b == PAGE_FAULT));
}

static struct deliver_event exception_of(const struct vmxsim_outcome *outcome)
{
    return (struct deliver_event){.vector = outcome->vector,
                                  .type = VMXC_INTERRUPTION_TYPE_HARDWARE_EXCEPTION,
                                  .has_error_code = outcome->has_error_code,
                                  .error_code = outcome->error_code};
}

static void set_vectoring(struct delivery *delivery, const struct deliver_event *event)
{
    delivery->vectoring_info =
        (uint32_t)(VMXC_INTERRUPTION_VALID | event->vector |
                   VMXC_FIELD_MAKE(event->type, VMXC_INTERRUPTION_TYPE) |
                   (event->has_error_code ? VMXC_INTERRUPTION_ERROR_CODE : 0));
    delivery->vectoring_error_code = event->has_error_code ? event->error_code : 0;
}

/* A fault that nobody intercepted: what is delivered next. False: a VM exit. */
static bool follow_fault(struct walk *walk, struct deliver_event *event, struct delivery *delivery)
{
    const struct deliver_event next = exception_of(walk->outcome);
    const uint64_t cr2 = walk->outcome->cr2;
    const bool doubled = makes_double_fault(event, &next);

    if (next.vector == VMXC_VECTOR_PF)
        delivery->cr2 = cr2;
    if (class_of(event) == DOUBLE_FAULT)
        return vmxsim_end_with_exit(walk, VMXSIM_RULE_EXIT_TRIPLE_FAULT,
                                    VMXC_EXIT_REASON_TRIPLE_FAULT, 0);
    *event = next;
    if (!doubled)
        return true;
    memset(walk->outcome, 0, sizeof(*walk->outcome));
    (void)vmxsim_end_with_exception(walk, VMXSIM_RULE_EXCEPTION, VMXC_VECTOR_DF, true, 0);
    *event = exception_of(walk->outcome);
    return walk->outcome->kind != VMXSIM_OUTCOME_VM_EXIT;
}

/* Blocking by NMI begins with the delivery of one. */
static uint32_t interruptibility(struct vmxsim_cpu *cpu, const struct deliver_event *event)
{
    const uint64_t state = field(cpu, VMXC_VMCS_ORDINAL_GUEST_INTERRUPTIBILITY_STATE) &
                           ~(VMXC_INTERRUPTIBILITY_STI | VMXC_INTERRUPTIBILITY_MOV_SS);

    return (uint32_t)(state |
                      (event->type == VMXC_INTERRUPTION_TYPE_NMI ? VMXC_INTERRUPTIBILITY_NMI : 0));
}

enum vmxc_status vmxsim_deliver(struct vmxsim_cpu *cpu, const struct deliver_event *event,
                                struct delivery *delivery, struct vmxsim_outcome *outcome)
{
    struct deliver_event current = *event;

    *delivery = (struct delivery){.interruptibility = interruptibility(cpu, event)};
    for (unsigned i = 0; i < MOST_EVENTS; i++) {
        struct arrival arrival = {.event = &current,
                                  .delivery = delivery,
                                  .status = VMXC_OK,
                                  .nested = i > 0,
                                  .ia32e = cpu->guest.efer & VMXC_EFER_LMA};
        VMXC_TRY(vmxsim_guest_start(&arrival.walk, cpu, outcome));
        if (!is_modelled(cpu))
            return VMXC_UNSUPPORTED;
        if (deliver_one(&arrival))
            return VMXC_OK;
        VMXC_TRY(arrival.status);
        if (outcome->kind == VMXSIM_OUTCOME_VM_EXIT) {
            set_vectoring(delivery, &current);
            return VMXC_OK;
        }
        if (!follow_fault(&arrival.walk, &current, delivery))
            return VMXC_OK;
    }
    return VMXC_UNSUPPORTED;
}
