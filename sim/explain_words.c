/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Words of a VMCS taken apart: controls, access rights, interruption information, guest non-register state, exception
 * bitmap, two exit qualifications. Source: Intel SDM volume 3, "VMX Capability Reporting Facility" (appendix), "Guest
 * Register State", "Guest Non-Register State", "Exception Bitmap", "VM-Entry Controls for Event Injection", "Exit
 * Qualification for Control-Register Accesses", "Exit Qualification for I/O Instructions".
 */
#include "internal/array.h"
#include "internal/explain.h"
#include "internal/rows.h"
#include "internal/words.h"
#include "vmxcore/defs/exit_info.h"
#include "vmxcore/defs/exit_reason.h"
#include "vmxcore/defs/guest_state.h"
#include "vmxcore/defs/msr.h"
#include "vmxcore/defs/paging.h"
#include "vmxcore/defs/segments.h"

#include <inttypes.h>

/* ---- Controls ---- */

static const struct {
    const char *name, *title;
    uint32_t msr, true_msr; /* halves of 32 bits; true_msr 0: one MSR of 64 allowed-1 bits */
    unsigned width;
} control_words[VMXC_CONTROL_WORD_COUNT] = {
    [VMXC_CONTROL_WORD_PIN] = {"pin", "pin-based VM-execution controls", VMXC_MSR_VMX_PINBASED_CTLS,
                               VMXC_MSR_VMX_TRUE_PINBASED_CTLS, 32},
    [VMXC_CONTROL_WORD_PRIMARY] = {"primary", "primary processor-based VM-execution controls",
                                   VMXC_MSR_VMX_PROCBASED_CTLS, VMXC_MSR_VMX_TRUE_PROCBASED_CTLS,
                                   32},
    [VMXC_CONTROL_WORD_SECONDARY] = {"secondary", "secondary processor-based VM-execution controls",
                                     VMXC_MSR_VMX_PROCBASED_CTLS2, VMXC_MSR_VMX_PROCBASED_CTLS2,
                                     32},
    [VMXC_CONTROL_WORD_TERTIARY] = {"tertiary", "tertiary processor-based VM-execution controls",
                                    VMXC_MSR_VMX_PROCBASED_CTLS3, 0, 64},
    [VMXC_CONTROL_WORD_EXIT] = {"exit", "primary VM-exit controls", VMXC_MSR_VMX_EXIT_CTLS,
                                VMXC_MSR_VMX_TRUE_EXIT_CTLS, 32},
    [VMXC_CONTROL_WORD_SECONDARY_EXIT] = {"secondary-exit", "secondary VM-exit controls",
                                          VMXC_MSR_VMX_EXIT_CTLS2, 0, 64},
    [VMXC_CONTROL_WORD_ENTRY] = {"entry", "VM-entry controls", VMXC_MSR_VMX_ENTRY_CTLS,
                                 VMXC_MSR_VMX_TRUE_ENTRY_CTLS, 32},
};

static uint64_t msr_or_zero(const struct vmxsim_profile *profile, uint32_t index)
{
    uint64_t value = 0;

    return vmxsim_profile_msr(profile, index, &value) == VMXC_OK ? value : 0;
}

/* Which bits must be 1 and which may be 1 on this processor. */
static void allowed_settings(enum vmxc_control_word word, const struct vmxsim_profile *profile,
                             uint64_t *must, uint64_t *may)
{
    const bool has_true =
        (msr_or_zero(profile, VMXC_MSR_VMX_BASIC) & VMXC_VMX_BASIC_TRUE_CONTROLS) != 0;
    const uint64_t settings = msr_or_zero(profile, has_true && control_words[word].true_msr != 0
                                                       ? control_words[word].true_msr
                                                       : control_words[word].msr);

    *must = control_words[word].true_msr != 0 ? settings & UINT32_MAX : 0;
    *may = control_words[word].true_msr != 0 ? settings >> 32 : settings;
}

static void add_named_control(struct vmxsim_decoded *decoded, uint64_t bit, const char *name,
                              uint64_t must, uint64_t may)
{
    const bool set = (decoded->raw & bit) != 0;

    if (set && !(may & bit))
        vmxsim_row_wrong(decoded, bit, name, "this processor does not offer it");
    else if (!set && (must & bit))
        vmxsim_row_wrong(decoded, bit, name, "must be 1 on this processor");
    else if (set)
        (void)vmxsim_row_add(decoded, bit, name, "on");
}

void vmxsim_decode_controls(enum vmxc_control_word word, uint64_t value,
                            const struct vmxsim_profile *profile, struct vmxsim_decoded *decoded)
{
    uint64_t must, may, unnamed = 0;

    allowed_settings(word, profile, &must, &may);
    vmxsim_rows_start(decoded, control_words[word].title, value);
    for (unsigned i = control_words[word].width; i > 0; i--) {
        const uint64_t bit = VMXC_BIT(i - 1);
        const char *const name = vmxsim_control_name(word, bit);
        if (name != NULL)
            add_named_control(decoded, bit, name, must, may);
        else if ((value & bit) == 0 && (must & bit) != 0)
            vmxsim_row_wrong(decoded, bit, "reserved", "must be 1");
        else
            unnamed |= bit;
    }
    vmxsim_rows_reserved(decoded, unnamed & ~may);
    vmxsim_rows_sort(decoded);
}

const char *vmxsim_control_word_name(enum vmxc_control_word word)
{
    return (unsigned)word < VMXC_CONTROL_WORD_COUNT ? control_words[word].name : NULL;
}

unsigned vmxsim_control_word_width(enum vmxc_control_word word)
{
    return (unsigned)word < VMXC_CONTROL_WORD_COUNT ? control_words[word].width : 0;
}

/* ---- Access rights ---- */

static const char *const system_types[16] = {
    [2] = "LDT",           [3] = "busy 16-bit TSS", [11] = "busy TSS", [1] = "available 16-bit TSS",
    [9] = "available TSS",
};

static void add_segment_type(struct vmxsim_decoded *decoded)
{
    const uint64_t type = VMXC_FIELD_GET(decoded->raw, VMXC_SEGMENT_TYPE);
    const char *const system = system_types[type];

    if (!(decoded->raw & VMXC_SEGMENT_S))
        (void)vmxsim_row_add(decoded, VMXC_SEGMENT_TYPE, "type", "%s",
                             system != NULL ? system : "a gate, or reserved");
    else if (type & VMXC_SEGMENT_CODE)
        (void)vmxsim_row_add(decoded, VMXC_SEGMENT_TYPE, "type", "code%s%s%s",
                             (type & VMXC_SEGMENT_CONFORMING) ? ", conforming" : "",
                             (type & VMXC_SEGMENT_READABLE) ? ", readable" : "",
                             (type & VMXC_SEGMENT_ACCESSED) ? ", accessed" : ", not accessed");
    else
        (void)vmxsim_row_add(decoded, VMXC_SEGMENT_TYPE, "type", "data%s%s%s",
                             (type & VMXC_SEGMENT_EXPANDS) ? ", expand-down" : "",
                             (type & VMXC_SEGMENT_WRITABLE) ? ", writable" : "",
                             (type & VMXC_SEGMENT_ACCESSED) ? ", accessed" : ", not accessed");
}

void vmxsim_decode_access_rights(uint32_t rights, struct vmxsim_decoded *decoded)
{
    static const struct vmxsim_row_flag upper[] = {
        {VMXC_SEGMENT_UNUSABLE, "unusable", "the segment is unusable; most of the rest is ignored",
         NULL},
        {VMXC_SEGMENT_G, "G", "limit in units of 4 KBytes", "limit in bytes"},
        {VMXC_SEGMENT_DB, "D/B", "32-bit", "16-bit, or 64-bit with L"},
        {VMXC_SEGMENT_L, "L", "64-bit code", NULL},
        {VMXC_SEGMENT_AVL, "AVL", "available for software", NULL},
    };
    static const struct vmxsim_row_flag lower[] = {
        {VMXC_SEGMENT_S, "S", "code or data", "system"},
    };

    vmxsim_rows_start(decoded, "segment access rights", rights);
    vmxsim_rows_flags(decoded, upper, COUNT_OF(upper));
    if (rights & VMXC_SEGMENT_P)
        (void)vmxsim_row_add(decoded, VMXC_SEGMENT_P, "P", "present");
    else if (rights & VMXC_SEGMENT_UNUSABLE)
        (void)vmxsim_row_add(decoded, VMXC_SEGMENT_P, "P", "not present");
    else
        vmxsim_row_wrong(decoded, VMXC_SEGMENT_P, "P", "not present, and not unusable");
    (void)vmxsim_row_add(decoded, VMXC_SEGMENT_DPL, "DPL", "descriptor privilege level");
    vmxsim_rows_flags(decoded, lower, COUNT_OF(lower));
    add_segment_type(decoded);
    if (!(rights & VMXC_SEGMENT_UNUSABLE))
        vmxsim_rows_reserved(decoded, VMXC_SEGMENT_RESERVED);
    vmxsim_rows_sort(decoded);
}

/* ---- Interruption information ---- */

static void add_vector(struct vmxsim_decoded *decoded)
{
    const uint64_t type = VMXC_FIELD_GET(decoded->raw, VMXC_INTERRUPTION_TYPE);
    const uint8_t vector = (uint8_t)(decoded->raw & VMXC_INTERRUPTION_VECTOR);
    const char *const name = vmxsim_vector_name(vector);
    const bool is_exception = type != VMXC_INTERRUPTION_TYPE_EXTERNAL &&
                              type != VMXC_INTERRUPTION_TYPE_SOFTWARE_INTERRUPT &&
                              type != VMXC_INTERRUPTION_TYPE_OTHER;

    if (type == VMXC_INTERRUPTION_TYPE_NMI && vector != VMXC_VECTOR_NMI)
        vmxsim_row_wrong(decoded, VMXC_INTERRUPTION_VECTOR, "vector", "an NMI has vector 2");
    else if (type == VMXC_INTERRUPTION_TYPE_HARDWARE_EXCEPTION && vector > 31)
        vmxsim_row_wrong(decoded, VMXC_INTERRUPTION_VECTOR, "vector",
                         "a hardware exception has a vector up to 31");
    else
        (void)vmxsim_row_add(decoded, VMXC_INTERRUPTION_VECTOR, "vector", "%u%s%s", vector,
                             is_exception && name != NULL ? ": " : "",
                             is_exception && name != NULL ? name : "");
}

/* What the three fields do not share. A type that is not in `types` is never reported, or not accepted. */
static const struct {
    const char *title;
    uint8_t types;
    uint64_t reserved, undefined;
} interruption_fields[VMXSIM_INTERRUPTION_FIELD_COUNT] = {
    [VMXSIM_INTERRUPTION_ANY] = {"interruption information", 0xfd, VMXC_BITS(30, 14), 0},
    [VMXSIM_INTERRUPTION_ENTRY] = {"VM-entry interruption information", 0xfd,
                                   VMXC_BITS(30, 14) | VMXC_INTERRUPTION_NMI_UNBLOCKING, 0},
    [VMXSIM_INTERRUPTION_EXIT] = {"VM-exit interruption information", 0x6d, VMXC_BITS(30, 14), 0},
    [VMXSIM_INTERRUPTION_IDT_VECTORING] = {"IDT-vectoring information", 0xfd, VMXC_BITS(30, 14),
                                           VMXC_INTERRUPTION_NMI_UNBLOCKING},
};

void vmxsim_decode_interruption_info(enum vmxsim_interruption_field field, uint32_t information,
                                     struct vmxsim_decoded *decoded)
{
    static const struct vmxsim_row_flag flags[] = {
        {VMXC_INTERRUPTION_NESTED, "nested exception", "with FRED", NULL},
        {VMXC_INTERRUPTION_ERROR_CODE, "error code", "valid, or to be delivered", "none"},
    };
    static const struct vmxsim_row_flag unblocking[] = {
        {VMXC_INTERRUPTION_NMI_UNBLOCKING, "NMI unblocking", "due to IRET (VM exits only)", NULL},
    };
    const uint64_t type = VMXC_FIELD_GET((uint64_t)information, VMXC_INTERRUPTION_TYPE);
    const uint64_t no_flag =
        interruption_fields[field].reserved | interruption_fields[field].undefined;

    vmxsim_rows_start(decoded, interruption_fields[field].title, information);
    if (!(information & VMXC_INTERRUPTION_VALID)) {
        (void)vmxsim_row_add(decoded, VMXC_INTERRUPTION_VALID, "valid",
                             "no: the rest says nothing");
        return;
    }
    (void)vmxsim_row_add(decoded, VMXC_INTERRUPTION_VALID, "valid", "yes");
    vmxsim_rows_flags(decoded, flags, COUNT_OF(flags));
    if (!(no_flag & VMXC_INTERRUPTION_NMI_UNBLOCKING))
        vmxsim_rows_flags(decoded, unblocking, COUNT_OF(unblocking));
    if (!(interruption_fields[field].types >> type & 1))
        vmxsim_row_wrong(decoded, VMXC_INTERRUPTION_TYPE, "type",
                         type == 1 ? "reserved" : "not in use here");
    else
        (void)vmxsim_row_add(decoded, VMXC_INTERRUPTION_TYPE, "type", "%s",
                             vmxsim_interruption_type_name((unsigned)type));
    add_vector(decoded);
    vmxsim_rows_reserved(decoded, interruption_fields[field].reserved);
    vmxsim_rows_undefined(decoded, interruption_fields[field].undefined);
    vmxsim_rows_sort(decoded);
}

/* ---- Guest state that is no register ---- */

void vmxsim_decode_activity(uint32_t state, struct vmxsim_decoded *decoded)
{
    static const char *const names[] = {"active", "HLT", "shutdown", "wait-for-SIPI"};

    vmxsim_rows_start(decoded, "activity state", state);
    if (state < COUNT_OF(names))
        (void)vmxsim_row_add(decoded, VMXC_BITS(31, 0), "state", "%s", names[state]);
    else
        vmxsim_row_wrong(decoded, VMXC_BITS(31, 0), "state", "not in use");
}

void vmxsim_decode_interruptibility(uint32_t state, struct vmxsim_decoded *decoded)
{
    static const struct vmxsim_row_flag flags[] = {
        {VMXC_INTERRUPTIBILITY_ENCLAVE, "enclave interruption",
         "the VM exit was incident to enclave mode", NULL},
        {VMXC_INTERRUPTIBILITY_NMI, "blocking by NMI", "NMIs, or virtual NMIs, are blocked", NULL},
        {VMXC_INTERRUPTIBILITY_SMI, "blocking by SMI", "SMIs are blocked", NULL},
        {VMXC_INTERRUPTIBILITY_STI, "blocking by STI", "the instruction before was STI", NULL},
    };
    const bool sti = state & VMXC_INTERRUPTIBILITY_STI;

    vmxsim_rows_start(decoded, "interruptibility state", state);
    vmxsim_rows_reserved(decoded, VMXC_INTERRUPTIBILITY_RESERVED);
    vmxsim_rows_flags(decoded, flags, COUNT_OF(flags));
    if ((state & VMXC_INTERRUPTIBILITY_MOV_SS) && sti)
        vmxsim_row_wrong(decoded, VMXC_INTERRUPTIBILITY_MOV_SS, "blocking by MOV SS",
                         "not together with blocking by STI");
    else if (state & VMXC_INTERRUPTIBILITY_MOV_SS)
        (void)vmxsim_row_add(decoded, VMXC_INTERRUPTIBILITY_MOV_SS, "blocking by MOV SS",
                             "the instruction before loaded SS");
    if (state == 0)
        (void)vmxsim_row_add(decoded, VMXC_BITS(31, 0), "none", "nothing is blocked");
    vmxsim_rows_sort(decoded);
}

void vmxsim_decode_pending_debug(uint64_t pending, struct vmxsim_decoded *decoded)
{
    static const struct vmxsim_row_flag flags[] = {
        {VMXC_PENDING_DEBUG_RTM, "RTM", "in a transactional region", NULL},
        {VMXC_PENDING_DEBUG_SINGLE_STEP, "BS", "single-stepping", NULL},
        {VMXC_PENDING_DEBUG_ENABLED_BREAKPOINT, "enabled breakpoint",
         "at least one breakpoint was met and enabled in DR7", NULL},
        {VMXC_PENDING_DEBUG_BUS_LOCK, "BLD", "bus lock", NULL},
        {VMXC_BIT(3), "B3", "condition of breakpoint 3 met", NULL},
        {VMXC_BIT(2), "B2", "condition of breakpoint 2 met", NULL},
        {VMXC_BIT(1), "B1", "condition of breakpoint 1 met", NULL},
        {VMXC_BIT(0), "B0", "condition of breakpoint 0 met", NULL},
    };

    vmxsim_rows_start(decoded, "pending debug exceptions", pending);
    vmxsim_rows_reserved(decoded, VMXC_PENDING_DEBUG_RESERVED);
    vmxsim_rows_flags(decoded, flags, COUNT_OF(flags));
    if (decoded->count == 0)
        (void)vmxsim_row_add(decoded, VMXC_BITS(63, 0), "none", "no debug exception is pending");
    vmxsim_rows_sort(decoded);
}

/* ---- Words of the VM-execution controls that hold no controls ---- */

void vmxsim_decode_vm_functions(uint64_t value, const struct vmxsim_profile *profile,
                                struct vmxsim_decoded *decoded)
{
    const uint64_t eptp_switching = VMXC_BIT(0);
    const uint64_t may = msr_or_zero(profile, VMXC_MSR_VMX_VMFUNC);

    vmxsim_rows_start(decoded, "VM-function controls", value);
    add_named_control(decoded, eptp_switching, "EPTP switching", 0, may);
    vmxsim_rows_reserved(decoded, ~(may | eptp_switching));
    vmxsim_rows_sort(decoded);
}

void vmxsim_decode_exception_bitmap(uint32_t bitmap, struct vmxsim_decoded *decoded)
{
    vmxsim_rows_start(decoded, "exception bitmap", bitmap);
    for (unsigned vector = 32; vector-- > 0;) {
        const char *const name = vmxsim_vector_name((uint8_t)vector);
        const bool set = bitmap >> vector & 1;
        if (vector == VMXC_VECTOR_PF)
            (void)vmxsim_row_add(decoded, VMXC_BIT(vector), name, "VM exit if its error code %s",
                                 set ? "matches" : "does not match");
        else if (set)
            (void)vmxsim_row_add(decoded, VMXC_BIT(vector), name != NULL ? name : "no exception",
                                 "VM exit");
    }
}

/* ---- Exit qualifications ---- */

void vmxsim_decode_io_qualification(uint64_t qualification, struct vmxsim_decoded *decoded)
{
    static const struct vmxsim_row_flag flags[] = {
        {VMXC_BIT(6), "operand encoding", "immediate", "DX"},
        {VMXC_BIT(5), "REP", "REP prefixed", NULL},
        {VMXC_BIT(4), "string", "INS or OUTS", NULL},
        {VMXC_BIT(3), "direction", "in", "out"},
    };
    const uint64_t size = qualification & VMXC_BITS(2, 0);

    vmxsim_rows_start(decoded, "exit qualification of an I/O instruction", qualification);
    (void)vmxsim_row_add(decoded, VMXC_BITS(31, 16), "port", "port 0x%" PRIx64,
                         VMXC_FIELD_GET(qualification, VMXC_BITS(31, 16)));
    vmxsim_rows_flags(decoded, flags, COUNT_OF(flags));
    if (size == 0 || size == 1 || size == 3)
        (void)vmxsim_row_add(decoded, VMXC_BITS(2, 0), "size", "%" PRIu64 " %s", size + 1,
                             size == 0 ? "byte" : "bytes");
    else
        vmxsim_row_wrong(decoded, VMXC_BITS(2, 0), "size", "not in use");
    vmxsim_rows_reserved(decoded, VMXC_BITS(63, 32) | VMXC_BITS(15, 7));
    vmxsim_rows_sort(decoded);
}

static const char *const general_registers[16] = {
    "RAX", "RCX", "RDX", "RBX", "RSP", "RBP", "RSI", "RDI",
    "R8",  "R9",  "R10", "R11", "R12", "R13", "R14", "R15",
};

#define LMSW_BITS (VMXC_QUALIFICATION_CR_LMSW_SOURCE | VMXC_QUALIFICATION_CR_LMSW_MEMORY)

/* Operands that this kind of access does not have are 0. */
static uint64_t absent_cr_operands(enum vmxc_cr_access access)
{
    switch (access) {
    case VMXC_CR_ACCESS_LMSW:
        return VMXC_QUALIFICATION_CR_REGISTER;
    case VMXC_CR_ACCESS_CLTS:
        return LMSW_BITS | VMXC_QUALIFICATION_CR_REGISTER;
    default:
        return LMSW_BITS;
    }
}

static void add_cr_operands(struct vmxsim_decoded *decoded, enum vmxc_cr_access access)
{
    const uint64_t raw = decoded->raw;

    if (access == VMXC_CR_ACCESS_LMSW) {
        (void)vmxsim_row_add(decoded, VMXC_QUALIFICATION_CR_LMSW_SOURCE, "LMSW source data",
                             "0x%" PRIx64, VMXC_FIELD_GET(raw, VMXC_QUALIFICATION_CR_LMSW_SOURCE));
        (void)vmxsim_row_add(decoded, VMXC_QUALIFICATION_CR_LMSW_MEMORY, "LMSW operand", "%s",
                             (raw & VMXC_QUALIFICATION_CR_LMSW_MEMORY) ? "memory" : "register");
    } else if (access != VMXC_CR_ACCESS_CLTS) {
        (void)vmxsim_row_add(
            decoded, VMXC_QUALIFICATION_CR_REGISTER, "general register", "%s",
            general_registers[VMXC_FIELD_GET(raw, VMXC_QUALIFICATION_CR_REGISTER)]);
    }
}

void vmxsim_decode_cr_qualification(uint64_t qualification, struct vmxsim_decoded *decoded)
{
    static const char *const accesses[] = {"MOV to CR", "MOV from CR", "CLTS", "LMSW"};
    const uint64_t number = VMXC_FIELD_GET(qualification, VMXC_QUALIFICATION_CR_NUMBER);
    const uint64_t access = VMXC_FIELD_GET(qualification, VMXC_QUALIFICATION_CR_ACCESS);

    vmxsim_rows_start(decoded, "exit qualification of a control-register access", qualification);
    add_cr_operands(decoded, (enum vmxc_cr_access)access);
    (void)vmxsim_row_add(decoded, VMXC_QUALIFICATION_CR_ACCESS, "access type", "%s",
                         accesses[access]);
    if (access >= VMXC_CR_ACCESS_CLTS && number != 0)
        vmxsim_row_wrong(decoded, VMXC_QUALIFICATION_CR_NUMBER, "control register",
                         "0 for CLTS and LMSW");
    else if (number == 0 || number == 3 || number == 4 || number == 8)
        (void)vmxsim_row_add(decoded, VMXC_QUALIFICATION_CR_NUMBER, "control register",
                             "CR%" PRIu64, number);
    else
        vmxsim_row_wrong(decoded, VMXC_QUALIFICATION_CR_NUMBER, "control register",
                         "accesses to it do not cause VM exits");
    vmxsim_rows_reserved(decoded, VMXC_BITS(63, 32) | VMXC_BITS(15, 12) | VMXC_BIT(7) |
                                      absent_cr_operands((enum vmxc_cr_access)access));
    vmxsim_rows_sort(decoded);
}
