/* SPDX-License-Identifier: Apache-2.0 */
/* What a VM exit says. */
#include "vmxcore/exit_info.h"

#include "vmxcore/defs/ept.h"
#include "vmxcore/defs/vmcs.h"

/* ---- The exit ---- */

static enum vmxc_status read_32(const struct vmxc_insn_ops *ops, uint32_t field, uint32_t *value)
{
    uint64_t wide;

    VMXC_TRY(vmxc_insn_read(ops, field, &wide));
    *value = (uint32_t)wide;
    return VMXC_OK;
}

enum vmxc_status vmxc_exit_read(const struct vmxc_insn_ops *ops, struct vmxc_exit *exit)
{
    struct vmxc_exit fresh = {.reason = 0};
    uint64_t reason;

    VMXC_TRY(vmxc_insn_read(ops, VMXC_VMCS_EXIT_REASON, &reason));
    VMXC_TRY(vmxc_insn_read(ops, VMXC_VMCS_EXIT_QUALIFICATION, &fresh.qualification));
    VMXC_TRY(read_32(ops, VMXC_VMCS_VM_EXIT_INSTRUCTION_LENGTH, &fresh.instruction_length));
    VMXC_TRY(read_32(ops, VMXC_VMCS_VM_EXIT_INSTRUCTION_INFO, &fresh.instruction_info));
    VMXC_TRY(read_32(ops, VMXC_VMCS_VM_EXIT_INTERRUPTION_INFO, &fresh.interruption_info));
    VMXC_TRY(
        read_32(ops, VMXC_VMCS_VM_EXIT_INTERRUPTION_ERROR_CODE, &fresh.interruption_error_code));
    VMXC_TRY(read_32(ops, VMXC_VMCS_IDT_VECTORING_INFO, &fresh.idt_vectoring_info));
    VMXC_TRY(read_32(ops, VMXC_VMCS_IDT_VECTORING_ERROR_CODE, &fresh.idt_vectoring_error_code));
    fresh.reason = (uint16_t)VMXC_FIELD_GET(reason, VMXC_EXIT_REASON_BASIC);
    fresh.entry_failure = reason & VMXC_EXIT_REASON_ENTRY_FAILURE;
    fresh.enclave_mode = reason & VMXC_EXIT_REASON_ENCLAVE_MODE;
    fresh.bus_lock = reason & VMXC_EXIT_REASON_BUS_LOCK_ASSERTED;
    *exit = fresh;
    return VMXC_OK;
}

const char *vmxc_exit_reason_text(uint16_t reason)
{
    static const char *const texts[] = {
#define VMXC_EXIT_REASON(number, name, manual_name) [number] = manual_name,
#include "vmxcore/defs/exit_reasons.def"
    };

    return reason < sizeof(texts) / sizeof(texts[0]) ? texts[reason] : NULL;
}

/* ---- Exit qualifications ---- */

enum vmxc_status vmxc_exit_io(uint64_t qualification, struct vmxc_exit_io *io)
{
    const uint64_t size = VMXC_FIELD_GET(qualification, VMXC_QUALIFICATION_IO_SIZE) + 1;

    if (size != 1 && size != 2 && size != 4)
        return VMXC_BAD_FORMAT;
    *io = (struct vmxc_exit_io){
        .port = (uint16_t)VMXC_FIELD_GET(qualification, VMXC_QUALIFICATION_IO_PORT),
        .size = (uint8_t)size,
        .in = qualification & VMXC_QUALIFICATION_IO_IN,
        .string = qualification & VMXC_QUALIFICATION_IO_STRING,
        .rep = qualification & VMXC_QUALIFICATION_IO_REP,
        .immediate = qualification & VMXC_QUALIFICATION_IO_IMMEDIATE,
    };
    return VMXC_OK;
}

static bool is_control_register(uint64_t number)
{
    return number == 0 || number == 3 || number == 4 || number == 8;
}

enum vmxc_status vmxc_exit_cr(uint64_t qualification, struct vmxc_exit_cr *cr)
{
    const uint64_t number = VMXC_FIELD_GET(qualification, VMXC_QUALIFICATION_CR_NUMBER);

    if (!is_control_register(number))
        return VMXC_BAD_FORMAT;
    *cr = (struct vmxc_exit_cr){
        .access = (enum vmxc_cr_access)VMXC_FIELD_GET(qualification, VMXC_QUALIFICATION_CR_ACCESS),
        .cr = (uint8_t)number,
        .gpr = (enum vmxc_gpr)VMXC_FIELD_GET(qualification, VMXC_QUALIFICATION_CR_REGISTER),
        .lmsw_source = (uint16_t)VMXC_FIELD_GET(qualification, VMXC_QUALIFICATION_CR_LMSW_SOURCE),
        .lmsw_memory = qualification & VMXC_QUALIFICATION_CR_LMSW_MEMORY,
    };
    return VMXC_OK;
}

struct vmxc_exit_dr vmxc_exit_dr(uint64_t qualification)
{
    return (struct vmxc_exit_dr){
        .dr = (uint8_t)VMXC_FIELD_GET(qualification, VMXC_QUALIFICATION_DR_NUMBER),
        .from_dr = qualification & VMXC_QUALIFICATION_DR_FROM,
        .gpr = (enum vmxc_gpr)VMXC_FIELD_GET(qualification, VMXC_QUALIFICATION_DR_REGISTER),
    };
}

struct vmxc_exit_task_switch vmxc_exit_task_switch(uint64_t qualification)
{
    return (struct vmxc_exit_task_switch){
        .selector = (uint16_t)VMXC_FIELD_GET(qualification, VMXC_QUALIFICATION_TASK_SELECTOR),
        .source =
            (enum vmxc_task_source)VMXC_FIELD_GET(qualification, VMXC_QUALIFICATION_TASK_SOURCE),
    };
}

static bool is_apic_access(uint64_t type)
{
    return type <= VMXC_APIC_ACCESS_MONITORING || type == VMXC_APIC_ACCESS_PHYSICAL_EVENT ||
           type == VMXC_APIC_ACCESS_PHYSICAL_TRACE || type == VMXC_APIC_ACCESS_PHYSICAL;
}

enum vmxc_status vmxc_exit_apic_access(uint64_t qualification, struct vmxc_exit_apic_access *access)
{
    const uint64_t type = VMXC_FIELD_GET(qualification, VMXC_QUALIFICATION_APIC_TYPE);

    if (!is_apic_access(type))
        return VMXC_BAD_FORMAT;
    *access = (struct vmxc_exit_apic_access){
        .access = (enum vmxc_apic_access)type,
        .offset = (uint16_t)VMXC_FIELD_GET(qualification, VMXC_QUALIFICATION_APIC_OFFSET),
        .asynchronous = qualification & VMXC_QUALIFICATION_APIC_ASYNCHRONOUS,
    };
    return VMXC_OK;
}

/* ---- EPT violations ---- */

static vmxc_map_flags flag_if(uint64_t bit, vmxc_map_flags flag)
{
    return bit != 0 ? flag : VMXC_MAP_NONE;
}

/* The right a fetch needs: with mode-based execute control it depends on the linear address's mode. */
static vmxc_map_flags fetch_right(uint64_t qualification, struct vmxc_ept_mode mode)
{
    if (mode.mode_based_execute && mode.advanced_info &&
        (qualification & VMXC_EPT_VIOLATION_LINEAR_USER))
        return VMXC_MAP_USER;
    return VMXC_MAP_EXECUTE;
}

static vmxc_map_flags needed_rights(uint64_t qualification, struct vmxc_ept_mode mode)
{
    return flag_if(qualification & VMXC_EPT_VIOLATION_READ, VMXC_MAP_READ) |
           flag_if(qualification & VMXC_EPT_VIOLATION_WRITE, VMXC_MAP_WRITE) |
           flag_if(qualification & VMXC_EPT_VIOLATION_FETCH, fetch_right(qualification, mode));
}

static vmxc_map_flags allowed_rights(uint64_t qualification, struct vmxc_ept_mode mode)
{
    const uint64_t user = mode.mode_based_execute ? VMXC_EPT_VIOLATION_ENTRY_USER_EXECUTE : 0;

    return flag_if(qualification & VMXC_EPT_VIOLATION_ENTRY_READ, VMXC_MAP_READ) |
           flag_if(qualification & VMXC_EPT_VIOLATION_ENTRY_WRITE, VMXC_MAP_WRITE) |
           flag_if(qualification & VMXC_EPT_VIOLATION_ENTRY_EXECUTE, VMXC_MAP_EXECUTE) |
           flag_if(qualification & user, VMXC_MAP_USER);
}

/* Bits 9 to 11 mean something only for an access to the translation of a linear address. */
struct vmxc_nested_fault vmxc_exit_nested_fault(uint64_t qualification, vmxc_gpa_t gpa,
                                                vmxc_gva_t linear, struct vmxc_ept_mode mode)
{
    const bool linear_valid = qualification & VMXC_EPT_VIOLATION_LINEAR_VALID;
    const bool fetch = qualification & VMXC_EPT_VIOLATION_FETCH;

    return (struct vmxc_nested_fault){
        .gpa = gpa,
        .access = needed_rights(qualification, mode),
        .allowed = allowed_rights(qualification, mode),
        .linear_valid = linear_valid,
        .linear = linear_valid ? linear : 0,
        .paging_structure =
            linear_valid && !(qualification & VMXC_EPT_VIOLATION_LINEAR_TRANSLATION),
        .user_unknown = fetch && mode.mode_based_execute && !mode.advanced_info,
        .nmi_unblocking = qualification & VMXC_EPT_VIOLATION_NMI_UNBLOCKING,
        .shadow_stack = qualification & VMXC_EPT_VIOLATION_SHADOW_STACK,
        .asynchronous = qualification & VMXC_EPT_VIOLATION_ASYNCHRONOUS,
    };
}

enum vmxc_status vmxc_exit_read_nested_fault(const struct vmxc_insn_ops *ops,
                                             struct vmxc_ept_mode mode,
                                             struct vmxc_nested_fault *fault)
{
    uint64_t qualification;
    vmxc_gpa_t gpa;
    vmxc_gva_t linear;

    VMXC_TRY(vmxc_insn_read(ops, VMXC_VMCS_EXIT_QUALIFICATION, &qualification));
    VMXC_TRY(vmxc_insn_read(ops, VMXC_VMCS_GUEST_PHYSICAL_ADDRESS, &gpa));
    VMXC_TRY(vmxc_insn_read(ops, VMXC_VMCS_GUEST_LINEAR_ADDRESS, &linear));
    *fault = vmxc_exit_nested_fault(qualification, gpa, linear, mode);
    return VMXC_OK;
}
