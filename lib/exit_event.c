/* SPDX-License-Identifier: Apache-2.0 */
/* What a hypervisor does to the guest between a VM exit and the next VM entry: events, skipped instructions. */
#include "vmxcore/defs/controls.h"
#include "vmxcore/defs/guest_state.h"
#include "vmxcore/defs/msr.h"
#include "vmxcore/defs/paging.h"
#include "vmxcore/defs/segments.h"
#include "vmxcore/defs/vmcs.h"
#include "vmxcore/exit_info.h"

#define RESERVED_TYPE          1u
#define MAX_TYPE               VMXC_INTERRUPTION_TYPE_OTHER
#define MAX_INSTRUCTION_LENGTH 15u
#define MAX_EXCEPTION          31u
#define MAX_ERROR_CODE         UINT32_C(0xffff)

#define BLOCKING_FOR_ONE_INSTRUCTION (VMXC_INTERRUPTIBILITY_STI | VMXC_INTERRUPTIBILITY_MOV_SS)

/* ---- Interruption information ---- */

enum vmxc_status vmxc_event_decode(uint32_t info, uint32_t error_code, bool *valid,
                                   struct vmxc_event *event)
{
    const uint64_t type = VMXC_FIELD_GET(info, VMXC_INTERRUPTION_TYPE);
    const bool has_error_code = info & VMXC_INTERRUPTION_ERROR_CODE;

    if (!(info & VMXC_INTERRUPTION_VALID)) {
        *valid = false;
        return VMXC_OK;
    }
    if (type == RESERVED_TYPE)
        return VMXC_BAD_FORMAT;
    *valid = true;
    *event = (struct vmxc_event){
        .type = (enum vmxc_interruption_type)type,
        .vector = (uint8_t)VMXC_FIELD_GET(info, VMXC_INTERRUPTION_VECTOR),
        .has_error_code = has_error_code,
        .error_code = has_error_code ? error_code : 0,
    };
    return VMXC_OK;
}

bool vmxc_event_vector_has_error_code(uint8_t vector)
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

/* Events that an instruction raises by itself: their delivery pushes the address behind it. */
static bool is_software_event(enum vmxc_interruption_type type)
{
    return type == VMXC_INTERRUPTION_TYPE_SOFTWARE_INTERRUPT ||
           type == VMXC_INTERRUPTION_TYPE_PRIVILEGED_SOFTWARE_EXCEPTION ||
           type == VMXC_INTERRUPTION_TYPE_SOFTWARE_EXCEPTION;
}

static bool is_vector_of(enum vmxc_interruption_type type, uint8_t vector)
{
    switch (type) {
    case VMXC_INTERRUPTION_TYPE_NMI:
        return vector == VMXC_VECTOR_NMI;
    case VMXC_INTERRUPTION_TYPE_HARDWARE_EXCEPTION:
        return vector <= MAX_EXCEPTION;
    case VMXC_INTERRUPTION_TYPE_OTHER:
        return vector == 0;
    default:
        return true;
    }
}

static bool is_error_code_of(const struct vmxc_event *event)
{
    return event->type == VMXC_INTERRUPTION_TYPE_HARDWARE_EXCEPTION &&
           vmxc_event_vector_has_error_code(event->vector) && event->error_code <= MAX_ERROR_CODE;
}

enum vmxc_status vmxc_event_encode(const struct vmxc_event *event, uint32_t *info)
{
    if ((unsigned)event->type > MAX_TYPE || (unsigned)event->type == RESERVED_TYPE)
        return VMXC_INVALID_INPUT;
    if (!is_vector_of(event->type, event->vector))
        return VMXC_INVALID_INPUT;
    if (event->has_error_code && !is_error_code_of(event))
        return VMXC_INVALID_INPUT;
    if (is_software_event(event->type) && event->instruction_length > MAX_INSTRUCTION_LENGTH)
        return VMXC_INVALID_INPUT;
    *info =
        (uint32_t)(VMXC_INTERRUPTION_VALID | VMXC_FIELD_MAKE(event->type, VMXC_INTERRUPTION_TYPE) |
                   event->vector | (event->has_error_code ? VMXC_INTERRUPTION_ERROR_CODE : 0));
    return VMXC_OK;
}

/* ---- Injection ---- */

/* The information comes last: until then nothing is injected. */
static enum vmxc_status write_event(const struct vmxc_insn_ops *ops, uint32_t info,
                                    const struct vmxc_event *event)
{
    if (event->has_error_code)
        VMXC_TRY(vmxc_insn_write(ops, VMXC_VMCS_VM_ENTRY_EXCEPTION_ERROR_CODE, event->error_code));
    if (is_software_event(event->type))
        VMXC_TRY(
            vmxc_insn_write(ops, VMXC_VMCS_VM_ENTRY_INSTRUCTION_LENGTH, event->instruction_length));
    return vmxc_insn_write(ops, VMXC_VMCS_VM_ENTRY_INTERRUPTION_INFO, info);
}

enum vmxc_status vmxc_event_inject(const struct vmxc_insn_ops *ops, const struct vmxc_event *event)
{
    uint32_t info;

    VMXC_TRY(vmxc_event_encode(event, &info));
    return write_event(ops, info, event);
}

/* What the processor reported goes back as it is, whatever this library knows of vectors and error codes. */
enum vmxc_status vmxc_event_reinject(const struct vmxc_insn_ops *ops, const struct vmxc_exit *exit,
                                     bool *injected)
{
    const uint64_t kept = VMXC_INTERRUPTION_VALID | VMXC_INTERRUPTION_ERROR_CODE |
                          VMXC_INTERRUPTION_TYPE | VMXC_INTERRUPTION_VECTOR;
    struct vmxc_event event;
    bool valid;

    VMXC_TRY(vmxc_event_decode(exit->idt_vectoring_info, exit->idt_vectoring_error_code, &valid,
                               &event));
    if (valid) {
        event.instruction_length = (uint8_t)exit->instruction_length;
        VMXC_TRY(write_event(ops, (uint32_t)(exit->idt_vectoring_info & kept), &event));
    }
    *injected = valid;
    return VMXC_OK;
}

/* ---- The guest ---- */

enum vmxc_status vmxc_guest_can_take_interrupt(const struct vmxc_insn_ops *ops, bool *can)
{
    uint64_t rflags;
    uint64_t interruptibility;
    uint64_t waiting;

    VMXC_TRY(vmxc_insn_read(ops, VMXC_VMCS_GUEST_RFLAGS, &rflags));
    VMXC_TRY(vmxc_insn_read(ops, VMXC_VMCS_GUEST_INTERRUPTIBILITY_STATE, &interruptibility));
    VMXC_TRY(vmxc_insn_read(ops, VMXC_VMCS_VM_ENTRY_INTERRUPTION_INFO, &waiting));
    *can = (rflags & VMXC_RFLAGS_IF) && !(interruptibility & BLOCKING_FOR_ONE_INSTRUCTION) &&
           !(waiting & VMXC_INTERRUPTION_VALID);
    return VMXC_OK;
}

/* Outside 64-bit code the instruction pointer has 32 bits. */
static enum vmxc_status advance_rip(const struct vmxc_insn_ops *ops, uint32_t length)
{
    uint64_t rip;
    uint64_t code_rights;
    uint64_t entry_controls;

    VMXC_TRY(vmxc_insn_read(ops, VMXC_VMCS_GUEST_RIP, &rip));
    VMXC_TRY(vmxc_insn_read(ops, VMXC_VMCS_GUEST_CS_ACCESS_RIGHTS, &code_rights));
    VMXC_TRY(vmxc_insn_read(ops, VMXC_VMCS_VM_ENTRY_CONTROLS, &entry_controls));
    rip += length;
    if (!(entry_controls & VMXC_ENTRY_IA32E_MODE_GUEST) || !(code_rights & VMXC_SEGMENT_L))
        rip &= UINT32_MAX;
    return vmxc_insn_write(ops, VMXC_VMCS_GUEST_RIP, rip);
}

/* With TF, a completed instruction is followed by a debug trap, unless it is branches that are stepped. */
static enum vmxc_status set_single_step_trap(const struct vmxc_insn_ops *ops, uint64_t rflags)
{
    uint64_t debugctl;
    uint64_t pending;

    VMXC_TRY(vmxc_insn_read(ops, VMXC_VMCS_GUEST_IA32_DEBUGCTL, &debugctl));
    if (!(rflags & VMXC_RFLAGS_TF) || (debugctl & VMXC_DEBUGCTL_BTF))
        return VMXC_OK;
    VMXC_TRY(vmxc_insn_read(ops, VMXC_VMCS_GUEST_PENDING_DEBUG_EXCEPTIONS, &pending));
    return vmxc_insn_write(ops, VMXC_VMCS_GUEST_PENDING_DEBUG_EXCEPTIONS,
                           pending | VMXC_PENDING_DEBUG_SINGLE_STEP);
}

enum vmxc_status vmxc_guest_skip(const struct vmxc_insn_ops *ops, const struct vmxc_exit *exit)
{
    uint64_t rflags;
    uint64_t interruptibility;

    if (exit->instruction_length == 0 || exit->instruction_length > MAX_INSTRUCTION_LENGTH)
        return VMXC_INVALID_INPUT;
    VMXC_TRY(vmxc_insn_read(ops, VMXC_VMCS_GUEST_RFLAGS, &rflags));
    VMXC_TRY(vmxc_insn_read(ops, VMXC_VMCS_GUEST_INTERRUPTIBILITY_STATE, &interruptibility));
    VMXC_TRY(advance_rip(ops, exit->instruction_length));
    VMXC_TRY(vmxc_insn_write(ops, VMXC_VMCS_GUEST_RFLAGS, rflags & ~VMXC_RFLAGS_RF));
    VMXC_TRY(vmxc_insn_write(ops, VMXC_VMCS_GUEST_INTERRUPTIBILITY_STATE,
                             interruptibility & ~BLOCKING_FOR_ONE_INSTRUCTION));
    return set_single_step_trap(ops, rflags);
}
