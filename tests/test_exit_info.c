/* SPDX-License-Identifier: Apache-2.0 */
/* Decoding of exit information, event injection, skipping of instructions. Expected values are the manual's tables. */
#include "vmxcore/exit_info.h"

#include <check.h>
#include <stdlib.h>

#include "internal/guest.h"
#include "support/mock_ops.h"
#include "support/rng.h"
#include "support/suite.h"
#include "vmxcore/defs/controls.h"
#include "vmxcore/defs/guest_state.h"

static struct mock_ops mock;

static void setup(void)
{
    mock_ops_init(&mock);
}

static uint64_t *field(uint32_t encoding)
{
    return mock_field(&mock, encoding);
}

/* ---- Qualifications ---- */

START_TEST(numbers_that_no_processor_reports_are_refused)
{
    struct vmxc_exit_io io = {.port = 77};
    struct vmxc_exit_cr cr = {.cr = 77};
    struct vmxc_exit_apic_access apic = {.offset = 77};

    for (uint64_t i = 0; i < 16; i++) {
        const bool is_size = i == 0 || i == 1 || i == 3;
        const bool is_cr = i == 0 || i == 3 || i == 4 || i == 8;
        const bool is_apic = i <= 4 || i == 10 || i == 11 || i == 15;
        if (i < 8)
            ck_assert_int_eq(vmxc_exit_io(i, &io), is_size ? VMXC_OK : VMXC_BAD_FORMAT);
        ck_assert_int_eq(vmxc_exit_cr(i, &cr), is_cr ? VMXC_OK : VMXC_BAD_FORMAT);
        ck_assert_int_eq(vmxc_exit_apic_access(i << 12, &apic),
                         is_apic ? VMXC_OK : VMXC_BAD_FORMAT);
    }
    io.port = cr.cr = 77;
    ck_assert_int_ne(vmxc_exit_io(7, &io), VMXC_OK);
    ck_assert_int_ne(vmxc_exit_cr(2, &cr), VMXC_OK);
    ck_assert_uint_eq(io.port, 77);
    ck_assert_uint_eq(cr.cr, 77);
}
END_TEST

START_TEST(io_instructions)
{
    struct vmxc_exit_io io;

    /* REP INSD from DX = 1F0H; OUT 80H, AL with an immediate operand. */
    ck_assert_int_eq(vmxc_exit_io(0x1f0003b, &io), VMXC_OK);
    ck_assert(io.port == 0x1f0 && io.size == 4 && io.in && io.string && io.rep && !io.immediate);
    ck_assert_int_eq(vmxc_exit_io(0x800040, &io), VMXC_OK);
    ck_assert(io.port == 0x80 && io.size == 1 && !io.in && !io.string && !io.rep && io.immediate);
}
END_TEST

START_TEST(control_and_debug_registers)
{
    struct vmxc_exit_cr cr;

    ck_assert_int_eq(vmxc_exit_cr(0xb03, &cr), VMXC_OK); /* MOV CR3, R11 */
    ck_assert(cr.access == VMXC_CR_ACCESS_MOV_TO && cr.cr == 3 && cr.gpr == VMXC_GPR_R11);
    ck_assert_int_eq(vmxc_exit_cr(0x218, &cr), VMXC_OK); /* MOV RDX, CR8 */
    ck_assert(cr.access == VMXC_CR_ACCESS_MOV_FROM && cr.cr == 8 && cr.gpr == VMXC_GPR_RDX);
    ck_assert_int_eq(vmxc_exit_cr(0x20, &cr), VMXC_OK);
    ck_assert_int_eq(cr.access, VMXC_CR_ACCESS_CLTS);
    ck_assert_int_eq(vmxc_exit_cr(0xfff10070, &cr), VMXC_OK); /* LMSW of memory that holds FFF1H */
    ck_assert(cr.access == VMXC_CR_ACCESS_LMSW && cr.lmsw_memory && cr.lmsw_source == 0xfff1);

    ck_assert_int_eq(vmxc_exit_cr(0xfff10030, &cr), VMXC_OK); /* of a register */
    ck_assert(!cr.lmsw_memory && cr.lmsw_source == 0xfff1);
    ck_assert_int_eq(vmxc_exit_cr(0x40, &cr), VMXC_OK); /* of memory that holds 0 */
    ck_assert(cr.lmsw_memory && cr.lmsw_source == 0);

    const struct vmxc_exit_dr dr = vmxc_exit_dr(0x717); /* MOV RDI, DR7 */
    ck_assert(dr.dr == 7 && dr.from_dr && dr.gpr == VMXC_GPR_RDI);
}
END_TEST

START_TEST(task_switches_and_apic_accesses)
{
    const struct vmxc_exit_task_switch task = vmxc_exit_task_switch(0xc0000028);
    struct vmxc_exit_apic_access apic;

    ck_assert(task.selector == 0x28 && task.source == VMXC_TASK_SOURCE_IDT_GATE);
    ck_assert_int_eq(vmxc_exit_apic_access(0x11300, &apic), VMXC_OK);
    ck_assert(apic.access == VMXC_APIC_ACCESS_LINEAR_WRITE && apic.offset == 0x300);
    ck_assert(apic.asynchronous);
}
END_TEST

/* ---- Instruction information ---- */

static const struct {
    uint16_t reason;
    uint32_t info;
    enum vmxc_status status;
} refused_information[] = {
    {VMXC_EXIT_REASON_CPUID, 0, VMXC_NOT_FOUND},
    {VMXC_EXIT_REASON_EPT_VIOLATION, 0x100, VMXC_NOT_FOUND},
    {35, 0x100, VMXC_NOT_FOUND}, /* no reason at all */
    {86, 0x100, VMXC_NOT_FOUND},
    {UINT16_MAX, 0x100, VMXC_NOT_FOUND},
    {VMXC_EXIT_REASON_VMCLEAR, 0x500, VMXC_BAD_FORMAT},        /* a register operand */
    {VMXC_EXIT_REASON_VMCLEAR, 0x180, VMXC_BAD_FORMAT},        /* address size 3 */
    {VMXC_EXIT_REASON_VMCLEAR, 0x380, VMXC_BAD_FORMAT},        /* address size 7 */
    {VMXC_EXIT_REASON_VMCLEAR, 0x30100, VMXC_BAD_FORMAT},      /* segment 6 */
    {VMXC_EXIT_REASON_INVEPT, 0x38100, VMXC_BAD_FORMAT},       /* segment 7 */
    {VMXC_EXIT_REASON_INVEPT, 0x500, VMXC_BAD_FORMAT},         /* a register operand */
    {VMXC_EXIT_REASON_VMREAD, 0x180, VMXC_BAD_FORMAT},         /* memory, address size 3 */
    {VMXC_EXIT_REASON_RDRAND, 0x1800, VMXC_BAD_FORMAT},        /* operand size 3 */
    {VMXC_EXIT_REASON_IO_INSTRUCTION, 0x180, VMXC_BAD_FORMAT}, /* address size 3 */
};

START_TEST(instruction_information_that_no_processor_gives_is_refused)
{
    for (int i = 0; i < COUNT(refused_information); i++) {
        struct vmxc_exit_instruction instruction = {.identity = 77};
        const enum vmxc_status status = vmxc_exit_instruction(
            refused_information[i].reason, refused_information[i].info, &instruction);
        ck_assert_msg(status == refused_information[i].status, "%d: %d", i, (int)status);
        ck_assert_uint_eq(instruction.identity, 77);
    }
}
END_TEST

/* Undefined bits are 1 wherever the manual allows it. */
static const struct {
    uint16_t reason;
    uint32_t info;
    struct vmxc_exit_instruction expected;
} information[] = {
    /* VMXON [RBX + RDI * 8], SS, 64-bit addresses */
    {VMXC_EXIT_REASON_VMXON,
     0xf19d797f,
     {.memory = true, .operand = {2, 8, true, true, VMXC_GPR_RBX, VMXC_GPR_RDI, 8}}},
    /* XSAVES [ESI] in DS */
    {VMXC_EXIT_REASON_XSAVES,
     0x0359f8ff,
     {.memory = true, .operand = {3, 4, true, false, VMXC_GPR_RSI, VMXC_GPR_RAX, 0}}},
    /* INVVPID R10, [disp16] in ES */
    {VMXC_EXIT_REASON_INVVPID,
     0xafc00000,
     {.memory = true,
      .operand = {0, 2, false, false, VMXC_GPR_RAX, VMXC_GPR_RAX, 0},
      .reg2 = VMXC_GPR_R10}},
    /* SIDT [EAX] in DS, 32-bit operands */
    {VMXC_EXIT_REASON_GDTR_IDTR_ACCESS,
     0xd041f880,
     {.memory = true,
      .operand = {3, 4, true, false, VMXC_GPR_RAX, VMXC_GPR_RAX, 0},
      .operand_size = 4,
      .identity = 1}},
    {VMXC_EXIT_REASON_GDTR_IDTR_ACCESS,
     0x20418080,
     {.memory = true,
      .operand = {3, 4, true, false, VMXC_GPR_RAX, VMXC_GPR_RAX, 0},
      .operand_size = 2,
      .identity = 2}},
    /* LTR R15; with everything that only memory operands have */
    {VMXC_EXIT_REASON_LDTR_TR_ACCESS, 0xffffffff, {.reg1 = VMXC_GPR_R15, .identity = 3}},
    /* STR [R13 + R14] in GS; bits 6:3 mean nothing */
    {VMXC_EXIT_REASON_LDTR_TR_ACCESS,
     0x16baf978,
     {.memory = true, .operand = {5, 8, true, true, VMXC_GPR_R13, VMXC_GPR_R14, 1}, .identity = 1}},
    /* VMREAD RBX, RCX; VMWRITE R9, [RSP] */
    {VMXC_EXIT_REASON_VMREAD, 0x10000418, {.reg1 = VMXC_GPR_RBX, .reg2 = VMXC_GPR_RCX}},
    {VMXC_EXIT_REASON_VMWRITE,
     0x92410100,
     {.memory = true,
      .operand = {2, 8, true, false, VMXC_GPR_RSP, VMXC_GPR_RAX, 0},
      .reg2 = VMXC_GPR_R9}},
    /* RDRAND R8D; UMWAIT RDX */
    {VMXC_EXIT_REASON_RDRAND, 0xffffefc7, {.reg1 = VMXC_GPR_R8, .operand_size = 4}},
    {VMXC_EXIT_REASON_UMWAIT, 0x1010, {.reg1 = VMXC_GPR_RDX, .operand_size = 8}},
    /* OUTS from FS with 32-bit addresses */
    {VMXC_EXIT_REASON_IO_INSTRUCTION,
     0xfffe7cff,
     {.memory = true, .operand = {4, 4, false, false, VMXC_GPR_RAX, VMXC_GPR_RAX, 0}}},
    /* RDMSR (immediate form) to R12; LOADIWKEY XMM2, XMM3 */
    {VMXC_EXIT_REASON_RDMSR_IMMEDIATE, 0xffffffe7, {.reg1 = VMXC_GPR_R12}},
    {VMXC_EXIT_REASON_LOADIWKEY, 0x3fffff97, {.reg1 = VMXC_GPR_RDX, .reg2 = VMXC_GPR_RBX}},
};

static bool same_operand(const struct vmxc_exit_operand *a, const struct vmxc_exit_operand *b)
{
    return a->segment == b->segment && a->address_size == b->address_size &&
           a->has_base == b->has_base && a->base == b->base && a->has_index == b->has_index &&
           a->index == b->index && a->scale == b->scale;
}

START_TEST(instruction_information)
{
    for (int i = 0; i < COUNT(information); i++) {
        const struct vmxc_exit_instruction *expected = &information[i].expected;
        struct vmxc_exit_instruction is = {.identity = 77};
        ck_assert_msg(vmxc_exit_instruction(information[i].reason, information[i].info, &is) ==
                          VMXC_OK,
                      "%d", i);
        ck_assert_msg(is.memory == expected->memory, "%d: memory", i);
        ck_assert_msg(same_operand(&is.operand, &expected->operand), "%d: operand", i);
        ck_assert_msg(is.reg1 == expected->reg1, "%d: reg1 %d", i, (int)is.reg1);
        ck_assert_msg(is.reg2 == expected->reg2, "%d: reg2 %d", i, (int)is.reg2);
        ck_assert_msg(is.operand_size == expected->operand_size, "%d: size %d", i, is.operand_size);
        ck_assert_msg(is.identity == expected->identity, "%d: identity", i);
    }
}
END_TEST

static struct vmxsim_operands random_operands(struct rng *rng)
{
    return (struct vmxsim_operands){
        .register_form = rng_below(rng, 2),
        .register1 = rng_below(rng, 16),
        .register2 = rng_below(rng, 16),
        .operand_size = rng_below(rng, 2),
        .scale = rng_below(rng, 4),
        .address_size = rng_below(rng, 3),
        .segment = rng_below(rng, 6),
        .index = rng_below(rng, 16),
        .base = rng_below(rng, 16),
        .no_index = rng_below(rng, 2),
        .no_base = rng_below(rng, 2),
    };
}

static void compare_memory(uint16_t reason, const struct vmxc_exit_operand *is,
                           const struct vmxsim_operands *was)
{
    const struct vmxc_exit_operand expected = {
        .segment = was->segment,
        .address_size = 2 << was->address_size,
        .has_base = !was->no_base,
        .has_index = !was->no_index,
        .base = was->no_base ? 0 : was->base,
        .index = was->no_index ? 0 : was->index,
        .scale = was->no_index ? 0 : 1 << was->scale,
    };

    ck_assert_msg(same_operand(is, &expected), "exit reason %u", reason);
}

/* What the model says of the operands of an instruction is what libvmxcore reads from it. */
START_TEST(instruction_information_of_the_model)
{
    static const struct {
        uint16_t reason;
        enum vmxc_instruction_layout layout;
    } reasons[] = {
#define VMXC_EXIT_LAYOUT(reason, qualification, instruction) \
    {VMXC_EXIT_REASON_##reason, VMXC_INSTRUCTION_LAYOUT_##instruction},
#include "vmxcore/defs/exit_layouts.def"
    };
    struct rng rng = rng_seeded(0x20240511);
    unsigned compared = 0;

    for (int i = 0; i < COUNT(reasons) * 100; i++) {
        const enum vmxc_instruction_layout layout = reasons[i / 100].layout;
        const struct vmxsim_operands operands = random_operands(&rng);
        struct vmxsim_outcome outcome = {.instruction_info = 0};
        struct vmxc_exit_instruction is;
        if (layout == VMXC_INSTRUCTION_LAYOUT_NONE || layout == VMXC_INSTRUCTION_LAYOUT_STRING ||
            layout == VMXC_INSTRUCTION_LAYOUT_REGISTER || layout == VMXC_INSTRUCTION_LAYOUT_XMM)
            continue;
        const bool in_register =
            operands.register_form &&
            (layout == VMXC_INSTRUCTION_LAYOUT_LDTR_TR || layout == VMXC_INSTRUCTION_LAYOUT_VMREAD);
        const bool random = layout == VMXC_INSTRUCTION_LAYOUT_RANDOM;
        vmxsim_guest_describe(&outcome, layout, i % 4, &operands);
        ck_assert_int_eq(
            vmxc_exit_instruction(reasons[i / 100].reason, outcome.instruction_info, &is), VMXC_OK);
        ck_assert(is.memory == !(in_register || random));
        if (is.memory)
            compare_memory(reasons[i / 100].reason, &is.operand, &operands);
        else
            ck_assert_int_eq(is.reg1, operands.register1);
        if (layout == VMXC_INSTRUCTION_LAYOUT_VMREAD ||
            layout == VMXC_INSTRUCTION_LAYOUT_MEMORY_REG2)
            ck_assert_int_eq(is.reg2, operands.register2);
        if (random || layout == VMXC_INSTRUCTION_LAYOUT_GDTR_IDTR)
            ck_assert_int_eq(is.operand_size, 2 << operands.operand_size);
        if (layout == VMXC_INSTRUCTION_LAYOUT_LDTR_TR ||
            layout == VMXC_INSTRUCTION_LAYOUT_GDTR_IDTR)
            ck_assert_int_eq(is.identity, i % 4);
        compared++;
    }
    ck_assert_uint_eq(compared, 17 * 100);
}
END_TEST

/* ---- EPT violations ---- */

static const struct {
    uint64_t qualification;
    struct vmxc_ept_mode mode;
    vmxc_map_flags access, allowed;
    bool linear_valid, paging_structure, user_unknown;
} violations[] = {
    /* Data read of a page that is not present; the same in a paging structure; without linear address. */
    {0x181, {false, false}, VMXC_MAP_READ, 0, true, false, false},
    {0x081, {false, false}, VMXC_MAP_READ, 0, true, true, false},
    {0x001, {false, false}, VMXC_MAP_READ, 0, false, false, false},
    /* Update of an accessed flag in a read-only paging structure: counted as read and write. */
    {0x08b, {false, false}, VMXC_MAP_READ | VMXC_MAP_WRITE, VMXC_MAP_READ, true, true, false},
    /* Write to a page with read and execute. */
    {0x1aa, {false, false}, VMXC_MAP_WRITE, VMXC_MAP_READ | VMXC_MAP_EXECUTE, true, false, false},
    /* Bit 6 without mode-based execute control means nothing. */
    {0x1dc, {false, true}, VMXC_MAP_EXECUTE, VMXC_MAP_READ | VMXC_MAP_WRITE, true, false, false},
    /* Fetches with it: from a supervisor-mode address, from a user-mode address, unknown. */
    {0x1dc,
     {true, true},
     VMXC_MAP_EXECUTE,
     VMXC_MAP_READ | VMXC_MAP_WRITE | VMXC_MAP_USER,
     true,
     false,
     false},
    {0x3ac, {true, true}, VMXC_MAP_USER, VMXC_MAP_READ | VMXC_MAP_EXECUTE, true, false, false},
    {0x3ac, {true, false}, VMXC_MAP_EXECUTE, VMXC_MAP_READ | VMXC_MAP_EXECUTE, true, false, true},
};

START_TEST(nested_faults)
{
    for (size_t i = 0; i < sizeof(violations) / sizeof(violations[0]); i++) {
        const struct vmxc_nested_fault fault = vmxc_exit_nested_fault(
            violations[i].qualification, 0x123456, 0xffff800000001000, violations[i].mode);
        ck_assert_msg(fault.access == violations[i].access, "%zu: access 0x%x", i, fault.access);
        ck_assert_msg(fault.allowed == violations[i].allowed, "%zu: allowed 0x%x", i,
                      fault.allowed);
        ck_assert_uint_eq(fault.gpa, 0x123456);
        ck_assert_int_eq(fault.linear_valid, violations[i].linear_valid);
        ck_assert_uint_eq(fault.linear, fault.linear_valid ? 0xffff800000001000 : 0);
        ck_assert_int_eq(fault.paging_structure, violations[i].paging_structure);
        ck_assert_int_eq(fault.user_unknown, violations[i].user_unknown);
    }
}
END_TEST

START_TEST(a_nested_fault_from_the_vmcs)
{
    const struct vmxc_ept_mode mode = {false, false};
    struct vmxc_nested_fault fault;

    *field(VMXC_VMCS_EXIT_QUALIFICATION) = 0x13182;
    *field(VMXC_VMCS_GUEST_PHYSICAL_ADDRESS) = 0x5008;
    *field(VMXC_VMCS_GUEST_LINEAR_ADDRESS) = 0x405008;
    ck_assert_int_eq(vmxc_exit_read_nested_fault(&mock.ops, mode, &fault), VMXC_OK);
    ck_assert(fault.gpa == 0x5008 && fault.linear == 0x405008 && fault.access == VMXC_MAP_WRITE);
    ck_assert(fault.nmi_unblocking && fault.shadow_stack && fault.asynchronous);
    for (unsigned bit = 12; bit <= 16; bit++) { /* each bit has its member */
        *field(VMXC_VMCS_EXIT_QUALIFICATION) = UINT64_C(1) << bit;
        ck_assert_int_eq(vmxc_exit_read_nested_fault(&mock.ops, mode, &fault), VMXC_OK);
        ck_assert_int_eq(fault.nmi_unblocking, bit == 12);
        ck_assert_int_eq(fault.shadow_stack, bit == 13);
        ck_assert_int_eq(fault.asynchronous, bit == 16);
    }
    mock.absent_field = VMXC_VMCS_GUEST_PHYSICAL_ADDRESS;
    ck_assert_int_eq(vmxc_exit_read_nested_fault(&mock.ops, mode, &fault), VMXC_UNSUPPORTED);
}
END_TEST

/* ---- The exit ---- */

START_TEST(an_exit_from_the_vmcs)
{
    struct vmxc_exit exit;

    *field(VMXC_VMCS_EXIT_REASON) = 0x8c000021;
    *field(VMXC_VMCS_EXIT_QUALIFICATION) = 4;
    *field(VMXC_VMCS_VM_EXIT_INSTRUCTION_LENGTH) = 3;
    *field(VMXC_VMCS_VM_EXIT_INSTRUCTION_INFO) = 0x12345678;
    *field(VMXC_VMCS_VM_EXIT_INTERRUPTION_INFO) = 0x80000b0e;
    *field(VMXC_VMCS_VM_EXIT_INTERRUPTION_ERROR_CODE) = 5;
    *field(VMXC_VMCS_IDT_VECTORING_INFO) = 0x80000020;
    *field(VMXC_VMCS_IDT_VECTORING_ERROR_CODE) = 6;
    ck_assert_int_eq(vmxc_exit_read(&mock.ops, &exit), VMXC_OK);
    ck_assert_uint_eq(exit.reason, VMXC_EXIT_REASON_ENTRY_FAILURE_GUEST_STATE);
    ck_assert(exit.entry_failure && exit.enclave_mode && exit.bus_lock);
    ck_assert(exit.qualification == 4 && exit.instruction_length == 3);
    ck_assert_uint_eq(exit.instruction_info, 0x12345678);
    ck_assert(exit.interruption_info == 0x80000b0e && exit.interruption_error_code == 5);
    ck_assert(exit.idt_vectoring_info == 0x80000020 && exit.idt_vectoring_error_code == 6);

    exit.reason = 77;
    mock.absent_field = VMXC_VMCS_IDT_VECTORING_ERROR_CODE;
    ck_assert_int_eq(vmxc_exit_read(&mock.ops, &exit), VMXC_UNSUPPORTED);
    ck_assert_uint_eq(exit.reason, 77);
}
END_TEST

START_TEST(names_of_reasons)
{
    ck_assert_str_eq(vmxc_exit_reason_text(48), "EPT violation");
    ck_assert_str_eq(vmxc_exit_reason_text(0), "Exception or non-maskable interrupt (NMI)");
    ck_assert_ptr_null(vmxc_exit_reason_text(35));
    ck_assert_ptr_null(vmxc_exit_reason_text(86));
    ck_assert_ptr_null(vmxc_exit_reason_text(UINT16_MAX));
}
END_TEST

/* ---- Events ---- */

START_TEST(events_that_no_vm_entry_takes_are_refused)
{
    static const struct vmxc_event refused[] = {
        {.type = (enum vmxc_interruption_type)1, .vector = 32},
        {.type = (enum vmxc_interruption_type)8},
        {.type = VMXC_INTERRUPTION_TYPE_NMI, .vector = 3},
        {.type = VMXC_INTERRUPTION_TYPE_HARDWARE_EXCEPTION, .vector = 32},
        {.type = VMXC_INTERRUPTION_TYPE_OTHER, .vector = 1},
        {.type = VMXC_INTERRUPTION_TYPE_EXTERNAL, .vector = 13, .has_error_code = true},
        {.type = VMXC_INTERRUPTION_TYPE_HARDWARE_EXCEPTION, .vector = 6, .has_error_code = true},
        {.type = VMXC_INTERRUPTION_TYPE_HARDWARE_EXCEPTION,
         .vector = 14,
         .has_error_code = true,
         .error_code = 0x10000},
        {.type = VMXC_INTERRUPTION_TYPE_SOFTWARE_INTERRUPT, .instruction_length = 16},
        {.type = VMXC_INTERRUPTION_TYPE_PRIVILEGED_SOFTWARE_EXCEPTION, .instruction_length = 16},
        {.type = VMXC_INTERRUPTION_TYPE_SOFTWARE_EXCEPTION, .instruction_length = 16},
    };
    uint32_t info = 77;

    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        ck_assert_msg(vmxc_event_encode(&refused[i], &info) == VMXC_INVALID_INPUT, "%zu", i);
        ck_assert_int_eq(vmxc_event_inject(&mock.ops, &refused[i]), VMXC_INVALID_INPUT);
    }
    ck_assert_uint_eq(info, 77);
    ck_assert_uint_eq(mock.calls[MOCK_VMWRITE], 0);
}
END_TEST

START_TEST(vectors_with_error_codes)
{
    const uint64_t expected = VMXC_BIT(8) | VMXC_BITS(14, 10) | VMXC_BIT(17) | VMXC_BIT(21);

    for (unsigned vector = 0; vector < 256; vector++) {
        const bool has = vector < 64 && (expected >> vector & 1);
        ck_assert_msg(vmxc_event_vector_has_error_code((uint8_t)vector) == has, "%u", vector);
    }
}
END_TEST

START_TEST(injected_events)
{
    struct vmxc_event fault = {.type = VMXC_INTERRUPTION_TYPE_HARDWARE_EXCEPTION,
                               .vector = 14,
                               .has_error_code = true,
                               .error_code = 7};
    struct vmxc_event call = {
        .type = VMXC_INTERRUPTION_TYPE_SOFTWARE_INTERRUPT, .vector = 0x80, .instruction_length = 2};

    ck_assert_int_eq(vmxc_event_inject(&mock.ops, &fault), VMXC_OK);
    ck_assert_uint_eq(*field(VMXC_VMCS_VM_ENTRY_INTERRUPTION_INFO), 0x80000b0e);
    ck_assert_uint_eq(*field(VMXC_VMCS_VM_ENTRY_EXCEPTION_ERROR_CODE), 7);
    ck_assert_int_eq(vmxc_event_inject(&mock.ops, &call), VMXC_OK);
    ck_assert_uint_eq(*field(VMXC_VMCS_VM_ENTRY_INTERRUPTION_INFO), 0x80000480);
    ck_assert_uint_eq(*field(VMXC_VMCS_VM_ENTRY_INSTRUCTION_LENGTH), 2);
    /* 0 is an error code, and a length, like any other. */
    fault.error_code = 0;
    call.instruction_length = 0;
    ck_assert_int_eq(vmxc_event_inject(&mock.ops, &fault), VMXC_OK);
    ck_assert_uint_eq(*field(VMXC_VMCS_VM_ENTRY_EXCEPTION_ERROR_CODE), 0);
    ck_assert_int_eq(vmxc_event_inject(&mock.ops, &call), VMXC_OK);
    ck_assert_uint_eq(*field(VMXC_VMCS_VM_ENTRY_INSTRUCTION_LENGTH), 0);

    *field(VMXC_VMCS_VM_ENTRY_INTERRUPTION_INFO) = 0;
    mock.absent_field = VMXC_VMCS_VM_ENTRY_EXCEPTION_ERROR_CODE;
    ck_assert_int_eq(vmxc_event_inject(&mock.ops, &fault), VMXC_UNSUPPORTED);
    ck_assert_uint_eq(*field(VMXC_VMCS_VM_ENTRY_INTERRUPTION_INFO), 0);
}
END_TEST

START_TEST(what_is_encoded_is_decoded)
{
    for (uint32_t type = 0; type < 8; type++) {
        const struct vmxc_event event = {
            .type = (enum vmxc_interruption_type)type,
            .vector = type == VMXC_INTERRUPTION_TYPE_OTHER ? 0 : 2,
        };
        struct vmxc_event back = {.vector = 77};
        uint32_t info = 0;
        bool valid = false;

        if (type == 1)
            continue;
        ck_assert_int_eq(vmxc_event_encode(&event, &info), VMXC_OK);
        ck_assert_int_eq(vmxc_event_decode(info, 5, &valid, &back), VMXC_OK);
        ck_assert(valid && back.type == event.type && back.vector == event.vector);
        ck_assert(!back.has_error_code && back.error_code == 0);
    }
}
END_TEST

START_TEST(no_event_and_no_such_event)
{
    struct vmxc_event event = {.vector = 77};
    bool valid = true;

    ck_assert_int_eq(vmxc_event_decode(0x80000120, 0, &valid, &event), VMXC_BAD_FORMAT);
    ck_assert(valid);
    ck_assert_int_eq(vmxc_event_decode(0x00000b0e, 0, &valid, &event), VMXC_OK);
    ck_assert(!valid);
    ck_assert_uint_eq(event.vector, 77);
}
END_TEST

START_TEST(an_interrupted_event_is_delivered_again)
{
    struct vmxc_exit exit = {.idt_vectoring_info = 0x80001b0e, /* bit 12 is undefined there */
                             .idt_vectoring_error_code = 2,
                             .instruction_length = 5};
    bool injected = false;

    ck_assert_int_eq(vmxc_event_reinject(&mock.ops, &exit, &injected), VMXC_OK);
    ck_assert(injected);
    ck_assert_uint_eq(*field(VMXC_VMCS_VM_ENTRY_INTERRUPTION_INFO), 0x80000b0e);
    ck_assert_uint_eq(*field(VMXC_VMCS_VM_ENTRY_EXCEPTION_ERROR_CODE), 2);
    ck_assert(!mock.written[VMXC_VMCS_ORDINAL_VM_ENTRY_INSTRUCTION_LENGTH]);

    exit.idt_vectoring_info = 0x80000603; /* INT3 */
    ck_assert_int_eq(vmxc_event_reinject(&mock.ops, &exit, &injected), VMXC_OK);
    ck_assert_uint_eq(*field(VMXC_VMCS_VM_ENTRY_INSTRUCTION_LENGTH), 5);

    const uint32_t writes = mock.calls[MOCK_VMWRITE];
    exit.idt_vectoring_info = 0;
    ck_assert_int_eq(vmxc_event_reinject(&mock.ops, &exit, &injected), VMXC_OK);
    ck_assert(!injected);
    ck_assert_uint_eq(mock.calls[MOCK_VMWRITE], writes);
    exit.idt_vectoring_info = 0x80000120;
    ck_assert_int_eq(vmxc_event_reinject(&mock.ops, &exit, &injected), VMXC_BAD_FORMAT);
}
END_TEST

/* ---- The guest ---- */

START_TEST(when_a_guest_can_take_an_interrupt)
{
    static const struct {
        uint64_t rflags, interruptibility, waiting;
        bool can;
    } cases[] = {
        {0x202, 0, 0, true},
        {0x2, 0, 0, false},
        {0x202, VMXC_INTERRUPTIBILITY_STI, 0, false},
        {0x202, VMXC_INTERRUPTIBILITY_MOV_SS, 0, false},
        {0x202, VMXC_INTERRUPTIBILITY_NMI, 0, true},
        {0x202, 0, 0x80000020, false},
        {0x202, 0, 0x20, true},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        bool can = !cases[i].can;
        *field(VMXC_VMCS_GUEST_RFLAGS) = cases[i].rflags;
        *field(VMXC_VMCS_GUEST_INTERRUPTIBILITY_STATE) = cases[i].interruptibility;
        *field(VMXC_VMCS_VM_ENTRY_INTERRUPTION_INFO) = cases[i].waiting;
        ck_assert_int_eq(vmxc_guest_can_take_interrupt(&mock.ops, &can), VMXC_OK);
        ck_assert_msg(can == cases[i].can, "%zu", i);
    }
}
END_TEST

START_TEST(lengths_that_no_instruction_has_are_not_skipped)
{
    struct vmxc_exit exit = {.instruction_length = 0};

    ck_assert_int_eq(vmxc_guest_skip(&mock.ops, &exit), VMXC_INVALID_INPUT);
    exit.instruction_length = 16;
    ck_assert_int_eq(vmxc_guest_skip(&mock.ops, &exit), VMXC_INVALID_INPUT);
    ck_assert_uint_eq(mock.calls[MOCK_VMWRITE], 0);
}
END_TEST

START_TEST(a_skipped_instruction_has_completed)
{
    const struct vmxc_exit exit = {.instruction_length = 2};

    *field(VMXC_VMCS_GUEST_RIP) = 0xffffffff;
    *field(VMXC_VMCS_VM_ENTRY_CONTROLS) = VMXC_ENTRY_IA32E_MODE_GUEST;
    *field(VMXC_VMCS_GUEST_CS_ACCESS_RIGHTS) = 0xa09b;
    *field(VMXC_VMCS_GUEST_RFLAGS) = 0x10202;
    *field(VMXC_VMCS_GUEST_INTERRUPTIBILITY_STATE) = 0xb;
    ck_assert_int_eq(vmxc_guest_skip(&mock.ops, &exit), VMXC_OK);
    ck_assert_uint_eq(*field(VMXC_VMCS_GUEST_RIP), 0x100000001);
    ck_assert_uint_eq(*field(VMXC_VMCS_GUEST_RFLAGS), 0x202);
    ck_assert_uint_eq(*field(VMXC_VMCS_GUEST_INTERRUPTIBILITY_STATE), 0x8);
    ck_assert_uint_eq(*field(VMXC_VMCS_GUEST_PENDING_DEBUG_EXCEPTIONS), 0);

    /* In 32-bit code RIP has 32 bits; single-stepping gets its trap; stepping of branches does not. */
    *field(VMXC_VMCS_GUEST_RIP) = 0xffffffff;
    *field(VMXC_VMCS_GUEST_CS_ACCESS_RIGHTS) = 0xc09b;
    *field(VMXC_VMCS_GUEST_RFLAGS) = 0x102;
    ck_assert_int_eq(vmxc_guest_skip(&mock.ops, &exit), VMXC_OK);
    ck_assert_uint_eq(*field(VMXC_VMCS_GUEST_RIP), 1);
    ck_assert_uint_eq(*field(VMXC_VMCS_GUEST_PENDING_DEBUG_EXCEPTIONS), 0x4000);
    *field(VMXC_VMCS_GUEST_PENDING_DEBUG_EXCEPTIONS) = 0;
    *field(VMXC_VMCS_GUEST_IA32_DEBUGCTL) = 2;
    ck_assert_int_eq(vmxc_guest_skip(&mock.ops, &exit), VMXC_OK);
    ck_assert_uint_eq(*field(VMXC_VMCS_GUEST_PENDING_DEBUG_EXCEPTIONS), 0);
}
END_TEST

static Suite *exit_info_suite(void)
{
    Suite *suite = suite_create("exit_info");
    TCase *decoding = tcase_create("decoding");
    TCase *events = tcase_create("events");

    tcase_add_checked_fixture(decoding, setup, NULL);
    tcase_add_test(decoding, numbers_that_no_processor_reports_are_refused);
    tcase_add_test(decoding, io_instructions);
    tcase_add_test(decoding, control_and_debug_registers);
    tcase_add_test(decoding, task_switches_and_apic_accesses);
    tcase_add_test(decoding, instruction_information_that_no_processor_gives_is_refused);
    tcase_add_test(decoding, instruction_information);
    tcase_add_test(decoding, instruction_information_of_the_model);
    tcase_add_test(decoding, nested_faults);
    tcase_add_test(decoding, a_nested_fault_from_the_vmcs);
    tcase_add_test(decoding, an_exit_from_the_vmcs);
    tcase_add_test(decoding, names_of_reasons);
    suite_add_tcase(suite, decoding);

    tcase_add_checked_fixture(events, setup, NULL);
    tcase_add_test(events, events_that_no_vm_entry_takes_are_refused);
    tcase_add_test(events, vectors_with_error_codes);
    tcase_add_test(events, injected_events);
    tcase_add_test(events, what_is_encoded_is_decoded);
    tcase_add_test(events, no_event_and_no_such_event);
    tcase_add_test(events, an_interrupted_event_is_delivered_again);
    tcase_add_test(events, when_a_guest_can_take_an_interrupt);
    tcase_add_test(events, lengths_that_no_instruction_has_are_not_skipped);
    tcase_add_test(events, a_skipped_instruction_has_completed);
    suite_add_tcase(suite, events);
    return suite;
}

int main(void)
{
    return run_suite(exit_info_suite());
}
