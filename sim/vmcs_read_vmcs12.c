/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The VMCS of a guest hypervisor as KVM keeps it ("vmcs12"), alone or inside of what KVM_GET_NESTED_STATE returns.
 * Its layout is part of the kernel's interface as long as the revision identifier is the one below.
 *
 *     struct kvm_nested_state           vmcs12
 *     0   flags (16 bits)               0   revision identifier; bit 31: shadow VMCS
 *     2   format: 0 is VMX              4   abort indicator
 *     4   size of the whole             8   launch state: 0 clear, 1 launched
 *     8   VMXON pointer                 40  fields, in the order of the table
 *     16  current-VMCS pointer
 *     128 vmcs12
 */
#include "internal/array.h"
#include "internal/vmcs_read.h"

#include "vmxcore/defs/guest_state.h"

#include <inttypes.h>

#define REVISION          UINT32_C(0x11e57ed0)
#define SIZE              998u /* bytes up to the end of the last field */
#define LAUNCH_STATE      8u
#define STATE_FORMAT      2u
#define STATE_SIZE        4u
#define STATE_CURRENT     16u
#define STATE_HEADER_SIZE 128u

/* Fields that follow each other without gaps, from `offset` on. */
struct run {
    uint16_t offset, count;
    const uint16_t *fields;
};

#define F(name) VMXC_VMCS_ORDINAL_##name

static const uint16_t fields64[] = {
    F(IO_BITMAP_A_ADDRESS),
    F(IO_BITMAP_B_ADDRESS),
    F(MSR_BITMAP_ADDRESS),
    F(VM_EXIT_MSR_STORE_ADDRESS),
    F(VM_EXIT_MSR_LOAD_ADDRESS),
    F(VM_ENTRY_MSR_LOAD_ADDRESS),
    F(TSC_OFFSET),
    F(VIRTUAL_APIC_ADDRESS),
    F(APIC_ACCESS_ADDRESS),
    F(POSTED_INTERRUPT_DESCRIPTOR_ADDRESS),
    F(EPT_POINTER),
    F(EOI_EXIT_BITMAP_0),
    F(EOI_EXIT_BITMAP_1),
    F(EOI_EXIT_BITMAP_2),
    F(EOI_EXIT_BITMAP_3),
    F(XSS_EXITING_BITMAP),
    F(GUEST_PHYSICAL_ADDRESS),
    F(VMCS_LINK_POINTER),
    F(GUEST_IA32_DEBUGCTL),
    F(GUEST_IA32_PAT),
    F(GUEST_IA32_EFER),
    F(GUEST_IA32_PERF_GLOBAL_CTRL),
    F(GUEST_PDPTE0),
    F(GUEST_PDPTE1),
    F(GUEST_PDPTE2),
    F(GUEST_PDPTE3),
    F(GUEST_IA32_BNDCFGS),
    F(HOST_IA32_PAT),
    F(HOST_IA32_EFER),
    F(HOST_IA32_PERF_GLOBAL_CTRL),
    F(VMREAD_BITMAP_ADDRESS),
    F(VMWRITE_BITMAP_ADDRESS),
    F(VM_FUNCTION_CONTROLS),
    F(EPTP_LIST_ADDRESS),
    F(PML_ADDRESS),
};

static const uint16_t fields_natural[] = {
    F(CR0_GUEST_HOST_MASK),
    F(CR4_GUEST_HOST_MASK),
    F(CR0_READ_SHADOW),
    F(CR4_READ_SHADOW),
    F(CR3_TARGET_VALUE_0),
    F(CR3_TARGET_VALUE_1),
    F(CR3_TARGET_VALUE_2),
    F(CR3_TARGET_VALUE_3),
    F(EXIT_QUALIFICATION),
    F(GUEST_LINEAR_ADDRESS),
    F(GUEST_CR0),
    F(GUEST_CR3),
    F(GUEST_CR4),
    F(GUEST_ES_BASE),
    F(GUEST_CS_BASE),
    F(GUEST_SS_BASE),
    F(GUEST_DS_BASE),
    F(GUEST_FS_BASE),
    F(GUEST_GS_BASE),
    F(GUEST_LDTR_BASE),
    F(GUEST_TR_BASE),
    F(GUEST_GDTR_BASE),
    F(GUEST_IDTR_BASE),
    F(GUEST_DR7),
    F(GUEST_RSP),
    F(GUEST_RIP),
    F(GUEST_RFLAGS),
    F(GUEST_PENDING_DEBUG_EXCEPTIONS),
    F(GUEST_SYSENTER_ESP),
    F(GUEST_SYSENTER_EIP),
    F(HOST_CR0),
    F(HOST_CR3),
    F(HOST_CR4),
    F(HOST_FS_BASE),
    F(HOST_GS_BASE),
    F(HOST_TR_BASE),
    F(HOST_GDTR_BASE),
    F(HOST_IDTR_BASE),
    F(HOST_SYSENTER_ESP),
    F(HOST_SYSENTER_EIP),
    F(HOST_RSP),
    F(HOST_RIP),
};

static const uint16_t fields32[] = {
    F(PIN_BASED_CONTROLS),
    F(PRIMARY_PROCESSOR_BASED_CONTROLS),
    F(EXCEPTION_BITMAP),
    F(PAGE_FAULT_ERROR_CODE_MASK),
    F(PAGE_FAULT_ERROR_CODE_MATCH),
    F(CR3_TARGET_COUNT),
    F(PRIMARY_VM_EXIT_CONTROLS),
    F(VM_EXIT_MSR_STORE_COUNT),
    F(VM_EXIT_MSR_LOAD_COUNT),
    F(VM_ENTRY_CONTROLS),
    F(VM_ENTRY_MSR_LOAD_COUNT),
    F(VM_ENTRY_INTERRUPTION_INFO),
    F(VM_ENTRY_EXCEPTION_ERROR_CODE),
    F(VM_ENTRY_INSTRUCTION_LENGTH),
    F(TPR_THRESHOLD),
    F(SECONDARY_PROCESSOR_BASED_CONTROLS),
    F(VM_INSTRUCTION_ERROR),
    F(EXIT_REASON),
    F(VM_EXIT_INTERRUPTION_INFO),
    F(VM_EXIT_INTERRUPTION_ERROR_CODE),
    F(IDT_VECTORING_INFO),
    F(IDT_VECTORING_ERROR_CODE),
    F(VM_EXIT_INSTRUCTION_LENGTH),
    F(VM_EXIT_INSTRUCTION_INFO),
    F(GUEST_ES_LIMIT),
    F(GUEST_CS_LIMIT),
    F(GUEST_SS_LIMIT),
    F(GUEST_DS_LIMIT),
    F(GUEST_FS_LIMIT),
    F(GUEST_GS_LIMIT),
    F(GUEST_LDTR_LIMIT),
    F(GUEST_TR_LIMIT),
    F(GUEST_GDTR_LIMIT),
    F(GUEST_IDTR_LIMIT),
    F(GUEST_ES_ACCESS_RIGHTS),
    F(GUEST_CS_ACCESS_RIGHTS),
    F(GUEST_SS_ACCESS_RIGHTS),
    F(GUEST_DS_ACCESS_RIGHTS),
    F(GUEST_FS_ACCESS_RIGHTS),
    F(GUEST_GS_ACCESS_RIGHTS),
    F(GUEST_LDTR_ACCESS_RIGHTS),
    F(GUEST_TR_ACCESS_RIGHTS),
    F(GUEST_INTERRUPTIBILITY_STATE),
    F(GUEST_ACTIVITY_STATE),
    F(GUEST_SYSENTER_CS),
    F(HOST_SYSENTER_CS),
    F(PREEMPTION_TIMER_VALUE),
};

static const uint16_t fields16[] = {
    F(VPID),
    F(POSTED_INTERRUPT_NOTIFICATION_VECTOR),
    F(GUEST_ES_SELECTOR),
    F(GUEST_CS_SELECTOR),
    F(GUEST_SS_SELECTOR),
    F(GUEST_DS_SELECTOR),
    F(GUEST_FS_SELECTOR),
    F(GUEST_GS_SELECTOR),
    F(GUEST_LDTR_SELECTOR),
    F(GUEST_TR_SELECTOR),
    F(GUEST_INTERRUPT_STATUS),
    F(HOST_ES_SELECTOR),
    F(HOST_CS_SELECTOR),
    F(HOST_SS_SELECTOR),
    F(HOST_DS_SELECTOR),
    F(HOST_FS_SELECTOR),
    F(HOST_GS_SELECTOR),
    F(HOST_TR_SELECTOR),
    F(PML_INDEX),
};

static const struct run runs[] = {
    {40, COUNT_OF(fields64), fields64},
    {344, COUNT_OF(fields_natural), fields_natural},
    {744, COUNT_OF(fields32), fields32},
    {960, COUNT_OF(fields16), fields16},
};

_Static_assert(40 + 8 * COUNT_OF(fields64) == 320, "the 64-bit fields end at byte 320");
_Static_assert(344 + 8 * COUNT_OF(fields_natural) == 680,
               "the natural-width fields end at byte 680");
_Static_assert(744 + 4 * COUNT_OF(fields32) == 932, "the 32-bit fields end at byte 932");
_Static_assert(960 + 2 * COUNT_OF(fields16) == SIZE, "the 16-bit fields end the structure");

/* ---- Reading ---- */

static uint64_t little_endian(const uint8_t *bytes, size_t size)
{
    uint64_t value = 0;

    for (size_t i = size; i > 0; i--)
        value = value << 8 | bytes[i - 1];
    return value;
}

static size_t size_of(size_t ordinal)
{
    const uint64_t mask = vmxsim_vmcs_width_mask(vmxsim_vmcs_encoding(ordinal));

    if (mask == UINT64_MAX)
        return 8;
    return mask == UINT32_MAX ? 4 : 2;
}

static void read_fields(struct vmxsim_vmcs_reader *reader, size_t start)
{
    for (size_t i = 0; i < COUNT_OF(runs); i++) {
        size_t offset = start + runs[i].offset;
        for (size_t k = 0; k < runs[i].count; k++) {
            const size_t ordinal = runs[i].fields[k], size = size_of(ordinal);
            vmxsim_reader_set(reader, ordinal, little_endian(reader->bytes + offset, size),
                              (uint32_t)offset);
            offset += size;
        }
    }
}

/* Nested state starts with its header; a vmcs12 with its revision. */
static bool has_revision(const struct vmxsim_vmcs_reader *reader, size_t start)
{
    return reader->length >= start + SIZE &&
           (little_endian(reader->bytes + start, 4) & ~VMXC_VMCS_REGION_SHADOW) == REVISION;
}

static bool is_nested_state(const struct vmxsim_vmcs_reader *reader)
{
    if (reader->length < STATE_HEADER_SIZE)
        return false;
    const uint64_t size = little_endian(reader->bytes + STATE_SIZE, 4);
    return size >= STATE_HEADER_SIZE && size <= reader->length &&
           little_endian(reader->bytes + STATE_FORMAT, 2) <= 1;
}

/* Why nothing can be read. */
static enum vmxc_status refuse(const struct vmxsim_vmcs_reader *reader, bool nested,
                               struct vmxsim_error *error)
{
    const size_t start = nested ? STATE_HEADER_SIZE : 0;

    if (nested && little_endian(reader->bytes + STATE_FORMAT, 2) != 0)
        return vmxsim_error_set(error, VMXC_UNSUPPORTED, "%s: nested state of AMD SVM, not of VMX",
                                reader->name);
    if (reader->length < start + SIZE)
        return vmxsim_error_set(
            error, VMXC_BAD_FORMAT, "%s: %zu bytes are too short for a vmcs12 (%u)%s", reader->name,
            reader->length, SIZE + (unsigned)start, nested ? ": the nested state holds none" : "");
    return vmxsim_error_set(error, VMXC_UNSUPPORTED,
                            "%s: revision identifier 0x%" PRIx64 " is not 0x%" PRIx32
                            ": no field of such a vmcs12 is known",
                            reader->name, little_endian(reader->bytes + start, 4), REVISION);
}

enum vmxc_status vmxsim_vmcs_read_vmcs12(struct vmxsim_vmcs_reader *reader,
                                         struct vmxsim_error *error)
{
    struct vmxsim_entry_processor *const processor = &reader->reading->processor;
    const bool nested = !has_revision(reader, 0) && is_nested_state(reader);
    const size_t start = nested ? STATE_HEADER_SIZE : 0;

    if ((nested && little_endian(reader->bytes + STATE_FORMAT, 2) != 0) ||
        !has_revision(reader, start))
        return refuse(reader, nested, error);
    read_fields(reader, start);
    reader->reading->processor_given = true;
    processor->launched = little_endian(reader->bytes + start + LAUNCH_STATE, 4) != 0;
    processor->vmresume = processor->launched;
    processor->current_is_shadow =
        (little_endian(reader->bytes + start, 4) & VMXC_VMCS_REGION_SHADOW) != 0;
    if (nested)
        processor->current_vmcs = little_endian(reader->bytes + STATE_CURRENT, 8);
    vmxsim_reader_note(reader,
                       "the VMCS of a guest hypervisor: its addresses are guest-physical, and the "
                       "profile must be that of its virtual processor");
    return VMXC_OK;
}
