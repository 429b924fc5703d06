/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a VM exit records, taken apart: the exit reason; exit qualification and instruction information, whose layout
 * follows from the exit reason (vmxcore/defs/exit_layouts.def). A layout is a row of parts; bits that belong to none
 * are cleared or undefined, which is not the same: undefined bits are shown and never wrong.
 *
 * Source: Intel SDM volume 3, "Basic VM-Exit Information", "Information for VM Exits Due to Instruction Execution".
 */
#include "internal/array.h"
#include "internal/explain.h"
#include "internal/rows.h"
#include "vmxcore/defs/exit_info.h"
#include "vmxcore/defs/exit_reason.h"
#include "vmxcore/defs/paging.h"

#include <inttypes.h>

#define MEMORY_FORM_ONLY                                                                 \
    (VMXC_INSTRUCTION_SCALE | VMXC_INSTRUCTION_ADDRESS_SIZE | VMXC_INSTRUCTION_SEGMENT | \
     VMXC_INSTRUCTION_INDEX | VMXC_INSTRUCTION_NO_INDEX | VMXC_INSTRUCTION_BASE |        \
     VMXC_INSTRUCTION_NO_BASE)

/* ---- Parts ---- */

/* Names by value: NULL is a value that is not in use, "" one that is not worth a line. */
struct names {
    const char *const *name;
    size_t count;
};
#define NAMES(...)                                                                         \
    {                                                                                      \
        (const char *const[]){__VA_ARGS__}, COUNT_OF(((const char *const[]){__VA_ARGS__})) \
    }

enum notation { NOTATION_NAMES, NOTATION_HEX, NOTATION_DECIMAL };

/* `names` by value; without them the number, after the prefix. */
struct part {
    uint64_t mask;
    const char *name;
    enum notation notation;
    const char *prefix;
    struct names names;
};

#define NAMED(mask, name, ...)                             \
    {                                                      \
        mask, name, NOTATION_NAMES, "", NAMES(__VA_ARGS__) \
    }
#define NUMBER(mask, name)            \
    {                                 \
        mask, name, NOTATION_HEX, "", \
        {                             \
            NULL, 0                   \
        }                             \
    }
#define DECIMAL(mask, name, prefix)           \
    {                                         \
        mask, name, NOTATION_DECIMAL, prefix, \
        {                                     \
            NULL, 0                           \
        }                                     \
    }
#define REGISTER_NAMES                                                                       \
    "RAX", "RCX", "RDX", "RBX", "RSP", "RBP", "RSI", "RDI", "R8", "R9", "R10", "R11", "R12", \
        "R13", "R14", "R15"
#define REGISTER(mask, name) NAMED(mask, name, REGISTER_NAMES)
#define NMI_UNBLOCKING                                                         \
    NAMED(VMXC_QUALIFICATION_NMI_UNBLOCKING, "NMI unblocking due to IRET", "", \
          "IRET unblocked NMIs")

static void add_part(struct vmxsim_decoded *decoded, const struct part *part)
{
    const uint64_t value = VMXC_FIELD_GET(decoded->raw, part->mask);

    if (part->notation == NOTATION_HEX)
        (void)vmxsim_row_add(decoded, part->mask, part->name, "0x%" PRIx64, value);
    else if (part->notation == NOTATION_DECIMAL)
        (void)vmxsim_row_add(decoded, part->mask, part->name, "%s%" PRIu64, part->prefix, value);
    else if (value >= part->names.count || part->names.name[value] == NULL)
        vmxsim_row_wrong(decoded, part->mask, part->name, "not in use");
    else if (part->names.name[value][0] != '\0')
        (void)vmxsim_row_add(decoded, part->mask, part->name, "%s", part->names.name[value]);
}

/* A layout without choices: its parts, and what the other bits are. */
struct layout {
    const struct part *parts;
    size_t count;
    uint64_t undefined;
};
#define LAYOUT(parts, undefined)          \
    {                                     \
        parts, COUNT_OF(parts), undefined \
    }

static void add_layout(struct vmxsim_decoded *decoded, const struct layout *layout)
{
    uint64_t reserved = ~layout->undefined;

    for (size_t i = 0; i < layout->count; i++) {
        add_part(decoded, &layout->parts[i]);
        reserved &= ~layout->parts[i].mask;
    }
    vmxsim_rows_reserved(decoded, reserved);
    vmxsim_rows_undefined(decoded, layout->undefined);
}

/* ---- Which layout ---- */

static const char *const qualification_titles[] = {
#define VMXC_EXIT_REASON(number, name, manual_name) \
    [number] = "exit qualification (" #number ": " manual_name ")",
#include "vmxcore/defs/exit_reasons.def"
};

static const char *const information_titles[] = {
#define VMXC_EXIT_REASON(number, name, manual_name) \
    [number] = "instruction information (" #number ": " manual_name ")",
#include "vmxcore/defs/exit_reasons.def"
};

#define REASONS COUNT_OF(qualification_titles)

static const uint8_t qualification_layouts[REASONS] = {
#define VMXC_EXIT_LAYOUT(reason, qualification, instruction) \
    [VMXC_EXIT_REASON_##reason] = VMXC_QUALIFICATION_LAYOUT_##qualification,
#include "vmxcore/defs/exit_layouts.def"
};

static const uint8_t information_layouts[REASONS] = {
#define VMXC_EXIT_LAYOUT(reason, qualification, instruction) \
    [VMXC_EXIT_REASON_##reason] = VMXC_INSTRUCTION_LAYOUT_##instruction,
#include "vmxcore/defs/exit_layouts.def"
};

/* ---- Exit qualification ---- */

static const struct part debug_parts[] = {
    NAMED(VMXC_QUALIFICATION_DEBUG_RTM, "RTM", "", "in a transactional region"),
    NAMED(VMXC_QUALIFICATION_DEBUG_SINGLE_STEP, "BS", "", "single-stepping"),
    NAMED(VMXC_QUALIFICATION_DEBUG_REGISTER, "BD", "", "access to a debug register"),
    NAMED(VMXC_QUALIFICATION_DEBUG_BUS_LOCK, "BLD", "", "bus lock"),
    NAMED(VMXC_BIT(3), "B3", "", "condition of breakpoint 3 met"),
    NAMED(VMXC_BIT(2), "B2", "", "condition of breakpoint 2 met"),
    NAMED(VMXC_BIT(1), "B1", "", "condition of breakpoint 1 met"),
    NAMED(VMXC_BIT(0), "B0", "", "condition of breakpoint 0 met"),
};
static const struct part vector_parts[] = {
    DECIMAL(VMXC_QUALIFICATION_VECTOR, "vector", ""),
};
static const struct part task_switch_parts[] = {
    NAMED(VMXC_QUALIFICATION_TASK_SOURCE, "source", "CALL", "IRET", "JMP", "task gate in the IDT"),
    NUMBER(VMXC_QUALIFICATION_TASK_SELECTOR, "selector of the new TSS"),
};
static const struct part linear_parts[] = {NUMBER(VMXC_BITS(63, 0), "linear address")};
static const struct part displacement_parts[] = {
    NUMBER(VMXC_BITS(63, 0), "displacement"),
};
static const struct part dr_parts[] = {
    REGISTER(VMXC_QUALIFICATION_DR_REGISTER, "general register"),
    NAMED(VMXC_QUALIFICATION_DR_FROM, "direction", "MOV to DR", "MOV from DR"),
    DECIMAL(VMXC_QUALIFICATION_DR_NUMBER, "debug register", "DR"),
};
static const struct part wrmsr_parts[] = {
    NAMED(VMXC_QUALIFICATION_OTHER_FORM, "instruction", "WRMSR", "WRMSRNS"),
};
static const struct part wbinvd_parts[] = {
    NAMED(VMXC_QUALIFICATION_OTHER_FORM, "instruction", "WBINVD", "WBNOINVD"),
};
static const struct part guest_state_parts[] = {
    NAMED(VMXC_BITS(63, 0), "failed check", "none of the following", NULL, "PDPTEs",
          "NMI injection with blocking by STI", "VMCS link pointer"),
};
static const struct part msr_entry_parts[] = {
    DECIMAL(VMXC_BITS(63, 0), "MSR-load entry, from 1", ""),
};
static const struct part mwait_parts[] = {
    NAMED(VMXC_QUALIFICATION_MWAIT_ARMED, "monitoring hardware", "not armed", "armed"),
};
static const struct part apic_access_parts[] = {
    NAMED(VMXC_QUALIFICATION_APIC_ASYNCHRONOUS, "asynchronous", "",
          "not part of an instruction or of event delivery"),
    NAMED(VMXC_QUALIFICATION_APIC_TYPE, "access type", "linear, data read", "linear, data write",
          "linear, instruction fetch", "linear, during event delivery", "linear, for monitoring",
          NULL, NULL, NULL, NULL, NULL, "guest-physical, during event delivery",
          "guest-physical, for monitoring or trace", NULL, NULL, NULL,
          "guest-physical, fetch or execution of an instruction"),
    NUMBER(VMXC_QUALIFICATION_APIC_OFFSET, "offset (linear accesses)"),
};
static const struct part apic_write_parts[] = {
    NUMBER(VMXC_QUALIFICATION_APIC_OFFSET, "offset"),
};
static const struct part log_full_parts[] = {NMI_UNBLOCKING};
static const struct part spp_parts[] = {
    NMI_UNBLOCKING,
    NAMED(VMXC_QUALIFICATION_SPPT_MISS, "event", "SPPT misconfiguration", "SPPT miss"),
};
static const struct part timeout_parts[] = {
    NMI_UNBLOCKING,
    NAMED(VMXC_QUALIFICATION_CONTEXT_INVALID, "VM context", "valid", "not valid"),
};
static const struct part msr_parts[] = {NUMBER(VMXC_QUALIFICATION_MSR, "MSR")};

static const struct layout debug_layout = LAYOUT(debug_parts, 0);

/* Layouts that are decided by a vector, or taken apart elsewhere, are not here. */
static const struct layout qualifications[VMXC_QUALIFICATION_LAYOUT_COUNT] = {
    [VMXC_QUALIFICATION_LAYOUT_VECTOR] = LAYOUT(vector_parts, 0),
    [VMXC_QUALIFICATION_LAYOUT_TASK_SWITCH] = LAYOUT(task_switch_parts, 0),
    [VMXC_QUALIFICATION_LAYOUT_LINEAR_ADDRESS] = LAYOUT(linear_parts, 0),
    [VMXC_QUALIFICATION_LAYOUT_DISPLACEMENT] = LAYOUT(displacement_parts, 0),
    [VMXC_QUALIFICATION_LAYOUT_DR] = LAYOUT(dr_parts, 0),
    [VMXC_QUALIFICATION_LAYOUT_WRMSR] = LAYOUT(wrmsr_parts, 0),
    [VMXC_QUALIFICATION_LAYOUT_GUEST_STATE] = LAYOUT(guest_state_parts, 0),
    [VMXC_QUALIFICATION_LAYOUT_MSR_ENTRY] = LAYOUT(msr_entry_parts, 0),
    [VMXC_QUALIFICATION_LAYOUT_MWAIT] = LAYOUT(mwait_parts, 0),
    [VMXC_QUALIFICATION_LAYOUT_APIC_ACCESS] = LAYOUT(apic_access_parts, 0),
    [VMXC_QUALIFICATION_LAYOUT_APIC_WRITE] = LAYOUT(apic_write_parts, 0),
    [VMXC_QUALIFICATION_LAYOUT_WBINVD] = LAYOUT(wbinvd_parts, 0),
    [VMXC_QUALIFICATION_LAYOUT_LOG_FULL] =
        LAYOUT(log_full_parts, ~VMXC_QUALIFICATION_NMI_UNBLOCKING),
    [VMXC_QUALIFICATION_LAYOUT_SPP] = LAYOUT(spp_parts, 0),
    [VMXC_QUALIFICATION_LAYOUT_TIMEOUT] = LAYOUT(timeout_parts, 0),
    [VMXC_QUALIFICATION_LAYOUT_MSR] = LAYOUT(msr_parts, 0),
};

static const struct layout *event_layout(uint8_t vector)
{
    if (vector == VMXC_VECTOR_DB)
        return &debug_layout;
    return &qualifications[vector == VMXC_VECTOR_PF ? VMXC_QUALIFICATION_LAYOUT_LINEAR_ADDRESS
                                                    : VMXC_QUALIFICATION_LAYOUT_NONE];
}

bool vmxsim_decode_exit_qualification(uint32_t reason, uint8_t vector, uint64_t qualification,
                                      struct vmxsim_decoded *decoded)
{
    if (vmxsim_exit_reason_name(reason) == NULL)
        return false;
    switch ((enum vmxc_qualification_layout)qualification_layouts[reason]) {
    case VMXC_QUALIFICATION_LAYOUT_EPT_VIOLATION:
        vmxsim_decode_qualification(qualification, decoded);
        return true;
    case VMXC_QUALIFICATION_LAYOUT_IO:
        vmxsim_decode_io_qualification(qualification, decoded);
        return true;
    case VMXC_QUALIFICATION_LAYOUT_CR:
        vmxsim_decode_cr_qualification(qualification, decoded);
        return true;
    default:
        break;
    }
    const bool by_vector = qualification_layouts[reason] == VMXC_QUALIFICATION_LAYOUT_EVENT;
    vmxsim_rows_start(decoded, qualification_titles[reason], qualification);
    add_layout(decoded,
               by_vector ? event_layout(vector) : &qualifications[qualification_layouts[reason]]);
    if (decoded->count == 0)
        (void)vmxsim_row_add(decoded, VMXC_BITS(63, 0), "none", "it says nothing more");
    vmxsim_rows_sort(decoded);
    return true;
}

/* ---- VM-exit instruction information ---- */

static const struct part address_size =
    NAMED(VMXC_INSTRUCTION_ADDRESS_SIZE, "address size", "16-bit", "32-bit", "64-bit");
static const struct part segment =
    NAMED(VMXC_INSTRUCTION_SEGMENT, "segment register", "ES", "CS", "SS", "DS", "FS", "GS");
static const struct part scale =
    NAMED(VMXC_INSTRUCTION_SCALE, "scaling", "no scaling", "by 2", "by 4", "by 8");
static const struct part index_register = REGISTER(VMXC_INSTRUCTION_INDEX, "index register");
static const struct part base_register = REGISTER(VMXC_INSTRUCTION_BASE, "base register");
static const struct part register1 = REGISTER(VMXC_INSTRUCTION_REG1, "operand register");

static const struct part string_parts[] = {
    NAMED(VMXC_INSTRUCTION_ADDRESS_SIZE, "address size", "16-bit", "32-bit", "64-bit"),
    /* INS leaves it undefined, and the exit reason does not say which of the two it is. */
    NAMED(VMXC_INSTRUCTION_SEGMENT, "segment register", "ES (undefined for INS)",
          "CS (undefined for INS)", "SS (undefined for INS)", "DS (undefined for INS)",
          "FS (undefined for INS)", "GS (undefined for INS)", "undefined, for INS",
          "undefined, for INS"),
};
static const struct part reg2_parts[] = {REGISTER(VMXC_INSTRUCTION_REG2, "second operand")};
static const struct part gdtr_idtr_parts[] = {
    NAMED(VMXC_INSTRUCTION_TABLE_IDENTITY, "instruction", "SGDT", "SIDT", "LGDT", "LIDT"),
    NAMED(VMXC_INSTRUCTION_TABLE_SIZE_32, "operand size", "16-bit, or undefined (64-bit mode)",
          "32-bit, or undefined (64-bit mode)"),
};
static const struct part ldtr_tr_parts[] = {
    NAMED(VMXC_INSTRUCTION_TABLE_IDENTITY, "instruction", "SLDT", "STR", "LLDT", "LTR"),
};
static const struct part random_parts[] = {
    NAMED(VMXC_INSTRUCTION_RANDOM_SIZE, "operand size", "16-bit", "32-bit", "64-bit"),
    REGISTER(VMXC_INSTRUCTION_REG1, "operand register"),
};
static const struct part vmread_parts[] = {
    REGISTER(VMXC_INSTRUCTION_REG2, "field encoding is in"),
};
static const struct part register_parts[] = {REGISTER(VMXC_INSTRUCTION_REG1, "operand register")};
static const struct part xmm_parts[] = {
    DECIMAL(VMXC_INSTRUCTION_REG2, "second operand", "XMM"),
    DECIMAL(VMXC_INSTRUCTION_REG1, "first operand", "XMM"),
};

/* Whether there is a memory operand, which may be a register instead; what else there is. */
static const struct information {
    bool memory, or_register;
    const struct part *parts;
    size_t count;
    uint64_t undefined;
} informations[VMXC_INSTRUCTION_LAYOUT_COUNT] = {
#define INFORMATION(memory, or_register, parts, undefined)     \
    {                                                          \
        memory, or_register, parts, COUNT_OF(parts), undefined \
    }
    [VMXC_INSTRUCTION_LAYOUT_NONE] = {.undefined = VMXC_BITS(31, 0)},
    [VMXC_INSTRUCTION_LAYOUT_STRING] = INFORMATION(
        false, false, string_parts, VMXC_BITS(31, 18) | VMXC_BITS(14, 10) | VMXC_BITS(6, 0)),
    [VMXC_INSTRUCTION_LAYOUT_MEMORY] = {.memory = true,
                                        .undefined = VMXC_BITS(31, 28) | VMXC_BITS(14, 11) |
                                                     VMXC_BITS(6, 2)},
    [VMXC_INSTRUCTION_LAYOUT_MEMORY_REG2] =
        INFORMATION(true, false, reg2_parts, VMXC_BITS(14, 11) | VMXC_BITS(6, 2)),
    [VMXC_INSTRUCTION_LAYOUT_GDTR_IDTR] = INFORMATION(
        true, false, gdtr_idtr_parts, VMXC_BITS(31, 30) | VMXC_BITS(14, 12) | VMXC_BITS(6, 2)),
    [VMXC_INSTRUCTION_LAYOUT_LDTR_TR] =
        INFORMATION(true, true, ldtr_tr_parts, VMXC_BITS(31, 30) | VMXC_BITS(14, 11) | VMXC_BIT(2)),
    [VMXC_INSTRUCTION_LAYOUT_RANDOM] = INFORMATION(
        false, false, random_parts, VMXC_BITS(31, 13) | VMXC_BITS(10, 7) | VMXC_BITS(2, 0)),
    [VMXC_INSTRUCTION_LAYOUT_VMREAD] =
        INFORMATION(true, true, vmread_parts, VMXC_BITS(14, 11) | VMXC_BIT(2)),
    [VMXC_INSTRUCTION_LAYOUT_REGISTER] =
        INFORMATION(false, false, register_parts, VMXC_BITS(31, 7) | VMXC_BITS(2, 0)),
    [VMXC_INSTRUCTION_LAYOUT_XMM] =
        INFORMATION(false, false, xmm_parts, VMXC_BITS(27, 7) | VMXC_BITS(2, 0)),
};

/* Index (with its scale) and base each have a bit that says that there is none. */
static void add_memory_operand(struct vmxsim_decoded *decoded)
{
    add_part(decoded, &segment);
    add_part(decoded, &address_size);
    if (decoded->raw & VMXC_INSTRUCTION_NO_BASE) {
        (void)vmxsim_row_add(decoded, VMXC_INSTRUCTION_NO_BASE, "base register", "none");
        vmxsim_rows_undefined(decoded, VMXC_INSTRUCTION_BASE);
    } else {
        add_part(decoded, &base_register);
    }
    if (decoded->raw & VMXC_INSTRUCTION_NO_INDEX) {
        (void)vmxsim_row_add(decoded, VMXC_INSTRUCTION_NO_INDEX, "index register", "none");
        vmxsim_rows_undefined(decoded, VMXC_INSTRUCTION_INDEX | VMXC_INSTRUCTION_SCALE);
    } else {
        add_part(decoded, &index_register);
        add_part(decoded, &scale);
    }
}

static void add_memory_or_register(struct vmxsim_decoded *decoded, bool may_be_register)
{
    if (!may_be_register) {
        vmxsim_rows_reserved(decoded, VMXC_INSTRUCTION_REGISTER_FORM);
        add_memory_operand(decoded);
    } else if (decoded->raw & VMXC_INSTRUCTION_REGISTER_FORM) {
        (void)vmxsim_row_add(decoded, VMXC_INSTRUCTION_REGISTER_FORM, "operand", "register");
        add_part(decoded, &register1);
        vmxsim_rows_undefined(decoded, MEMORY_FORM_ONLY);
    } else {
        (void)vmxsim_row_add(decoded, VMXC_INSTRUCTION_REGISTER_FORM, "operand", "memory");
        add_memory_operand(decoded);
        vmxsim_rows_undefined(decoded, VMXC_INSTRUCTION_REG1);
    }
}

bool vmxsim_decode_instruction_info(uint32_t reason, uint32_t information,
                                    struct vmxsim_decoded *decoded)
{
    if (vmxsim_exit_reason_name(reason) == NULL)
        return false;
    const struct information *const row = &informations[information_layouts[reason]];
    vmxsim_rows_start(decoded, information_titles[reason], information);
    for (size_t i = 0; i < row->count; i++)
        add_part(decoded, &row->parts[i]);
    if (row->memory)
        add_memory_or_register(decoded, row->or_register);
    vmxsim_rows_undefined(decoded, row->undefined);
    if (decoded->count == 0)
        (void)vmxsim_row_add(decoded, VMXC_BITS(31, 0), "none", "this VM exit has none");
    vmxsim_rows_sort(decoded);
    return true;
}

/* ---- Exit reason ---- */

void vmxsim_decode_exit_reason(uint32_t reason, struct vmxsim_decoded *decoded)
{
    static const struct vmxsim_row_flag flags[] = {
        {VMXC_EXIT_REASON_ENTRY_FAILURE, "VM-entry failure", "the guest has not run", NULL},
        {VMXC_EXIT_REASON_FROM_ROOT, "from VMX root operation", "SMM VM exits only", NULL},
        {VMXC_EXIT_REASON_PENDING_MTF, "pending MTF VM exit", "SMM VM exits only", NULL},
        {VMXC_EXIT_REASON_ENCLAVE_MODE, "enclave mode", "the guest was in an enclave", NULL},
        {VMXC_EXIT_REASON_BUS_LOCK_ASSERTED, "bus lock", "asserted before the exit", NULL},
        {VMXC_EXIT_REASON_SHADOW_STACK_BUSY, "shadow stack", "prematurely busy", NULL},
    };
    const uint64_t basic = VMXC_FIELD_GET((uint64_t)reason, VMXC_EXIT_REASON_BASIC);
    const char *const name = vmxsim_exit_reason_name((uint32_t)basic);

    vmxsim_rows_start(decoded, "exit reason", reason);
    vmxsim_rows_flags(decoded, flags, COUNT_OF(flags));
    vmxsim_rows_reserved(decoded, VMXC_BIT(30) | VMXC_BITS(24, 16));
    if (name != NULL)
        (void)vmxsim_row_add(decoded, VMXC_EXIT_REASON_BASIC, "basic exit reason",
                             "%" PRIu64 ": %s", basic, name);
    else
        vmxsim_row_wrong(decoded, VMXC_EXIT_REASON_BASIC, "basic exit reason", "not in use");
    vmxsim_rows_sort(decoded);
}
