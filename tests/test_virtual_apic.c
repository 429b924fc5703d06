/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The virtual-APIC page as accesses see it: which offsets of the APIC-access page and which x2APIC MSRs it stands in for, and what
 * follows a write. Tables are those of the Intel SDM volume 3, "Virtualizing Memory-Mapped APIC Accesses", "Virtualizing
 * MSR-Based APIC Accesses". What becomes of virtual interrupts is in test_virtual_interrupts.c.
 */
#include "vmxsim/guest.h"
#include "vmxsim/intercept.h"

#include "support/entry_edge.h"
#include "support/guest_fixture.h"
#include "support/insn_machine.h"
#include "support/suite.h"

#define TPR_SHADOW       VMXC_BIT(21)
#define USE_MSR_BITMAPS  VMXC_BIT(28)
#define VIRTUALIZE       VMXC_BIT(0)
#define X2APIC           VMXC_BIT(4)
#define APIC_REGISTERS   VMXC_BIT(8)
#define VIRTUAL_DELIVERY VMXC_BIT(9)

#define ACCESS_PAGE  UINT64_C(0xfee000)
#define VIRTUAL_PAGE UINT64_C(0x60000)
#define MSR_BITMAPS  UINT64_C(0x62000)
#define FILL         0x9abcde5fu /* the class of VTPR is above any threshold that is not set */

static struct vmxsim_outcome outcome;

/* Linear addresses are physical ones; every register of the virtual-APIC page has the same content. */
static void enter(uint64_t primary, uint64_t secondary)
{
    set_primary(primary);
    set_secondary(secondary);
    VMXSIM_VMCS(&machine.vmcs, APIC_ACCESS_ADDRESS) = ACCESS_PAGE;
    VMXSIM_VMCS(&machine.vmcs, VIRTUAL_APIC_ADDRESS) = VIRTUAL_PAGE;
    VMXSIM_VMCS(&machine.vmcs, MSR_BITMAP_ADDRESS) = MSR_BITMAPS;
    for (uint64_t offset = 0; offset < VMXC_PAGE_SIZE; offset += 16)
        machine_write(&machine, VIRTUAL_PAGE + offset, FILL);
    load();
}

static uint32_t reg(uint64_t offset)
{
    return vmxsim_memory_read32(machine.memory, VIRTUAL_PAGE + offset);
}

static void access_at(enum vmxsim_access_type type, uint64_t offset, uint32_t size, uint32_t value)
{
    struct vmxsim_access access = {.type = type, .linear = ACCESS_PAGE + offset, .size = size};
    for (unsigned i = 0; i < 4; i++)
        access.data[i] = (uint8_t)(value >> 8 * i);
    ck_assert_int_eq(vmxsim_guest_access(machine.cpu, &access, &outcome, NULL), VMXC_OK);
}

static bool is_apic_access(uint64_t qualification)
{
    if (outcome.kind != VMXSIM_OUTCOME_VM_EXIT || outcome.exit_reason != 44)
        return false;
    ck_assert_uint_eq(outcome.qualification, qualification);
    ck_assert_int_eq(outcome.rule, VMXSIM_RULE_EXIT_APIC);
    return true;
}

static void set_up(void)
{
    guest_fixture_set_up();
    machine_set_mode(&machine, GUEST_NONE);
}

/* ---- Which offsets ---- */

/* First bytes of the registers that may be read and written with APIC-register virtualization. */
static const uint16_t readable[] = {
    0x020, 0x030, 0x080, 0x0b0, 0x0d0, 0x0e0, 0x0f0, 0x100, 0x110, 0x120, 0x130,
    0x140, 0x150, 0x160, 0x170, 0x180, 0x190, 0x1a0, 0x1b0, 0x1c0, 0x1d0, 0x1e0,
    0x1f0, 0x200, 0x210, 0x220, 0x230, 0x240, 0x250, 0x260, 0x270, 0x280, 0x300,
    0x310, 0x320, 0x330, 0x340, 0x350, 0x360, 0x370, 0x380, 0x3e0,
};
static const uint16_t writable[] = {
    0x020, 0x080, 0x0b0, 0x0d0, 0x0e0, 0x0f0, 0x280, 0x300, 0x310,
    0x320, 0x330, 0x340, 0x350, 0x360, 0x370, 0x380, 0x3e0,
};
/* The same without it. */
static const uint16_t with_delivery[] = {0x080, 0x0b0, 0x300};
static const uint16_t with_shadow[] = {0x080};

static const struct {
    uint64_t primary, secondary;
    const uint16_t *reads, *writes;
    int read_count, write_count;
} selections[] = {
    {0, 0, NULL, NULL, 0, 0},
    {TPR_SHADOW, 0, with_shadow, with_shadow, 1, 1},
    {TPR_SHADOW, VIRTUAL_DELIVERY, with_delivery, with_delivery, 3, 3},
    {TPR_SHADOW, APIC_REGISTERS, readable, writable, COUNT(readable), COUNT(writable)},
    {TPR_SHADOW, APIC_REGISTERS | VIRTUAL_DELIVERY, readable, writable, COUNT(readable),
     COUNT(writable)},
};

static bool contains(const uint16_t *list, int count, uint64_t offset)
{
    for (int i = 0; i < count; i++) {
        if (list[i] == offset)
            return true;
    }
    return false;
}

START_TEST(the_controls_select_what_is_read_from_the_virtual_page)
{
    enter(selections[_i].primary, selections[_i].secondary | VIRTUALIZE);
    for (uint64_t offset = 0; offset < VMXC_PAGE_SIZE; offset += 4) {
        const uint32_t expected = reg(offset); /* VM entry may have written VPPR */
        access_at(VMXSIM_ACCESS_READ, offset, 4, 0);
        if (!contains(selections[_i].reads, selections[_i].read_count, offset)) {
            ck_assert_msg(is_apic_access(offset), "offset %x: %s", (unsigned)offset,
                          machine_outcome_text(&outcome));
            continue;
        }
        expect_guest_complete(&outcome);
        ck_assert_mem_eq(outcome.data, &expected, 4);
        ck_assert_uint_eq(outcome.page[0].hpa, VIRTUAL_PAGE + offset);
    }
}
END_TEST

START_TEST(the_controls_select_what_is_written_to_the_virtual_page)
{
    for (uint64_t offset = 0; offset < VMXC_PAGE_SIZE; offset += 4) {
        enter(selections[_i].primary, selections[_i].secondary | VIRTUALIZE);
        const uint32_t before = reg(offset);
        access_at(VMXSIM_ACCESS_WRITE, offset, 4, 0);
        const bool exits = is_apic_access(0x1000 | offset);
        ck_assert_msg(exits != contains(selections[_i].writes, selections[_i].write_count, offset),
                      "offset %x: %s", (unsigned)offset, machine_outcome_text(&outcome));
        ck_assert_uint_eq(reg(offset), exits ? before : 0);
        ck_assert_uint_eq(machine_read(&machine, ACCESS_PAGE + (offset & ~UINT64_C(7))), 0);
    }
}
END_TEST

/* Entirely within the low four of 16 bytes; without APIC-register virtualization the very offset. */
static const struct {
    uint64_t secondary, offset;
    uint32_t size;
    bool exits;
} extents[] = {
    {APIC_REGISTERS, 0x020, 1, false},  {APIC_REGISTERS, 0x021, 1, false},
    {APIC_REGISTERS, 0x023, 1, false},  {APIC_REGISTERS, 0x022, 2, false},
    {APIC_REGISTERS, 0x023, 2, true},   {APIC_REGISTERS, 0x020, 3, false},
    {APIC_REGISTERS, 0x021, 4, true},   {APIC_REGISTERS, 0x020, 5, true},
    {APIC_REGISTERS, 0x020, 8, true},   {APIC_REGISTERS, 0x01f, 2, true},
    {APIC_REGISTERS, 0x024, 1, true},   {APIC_REGISTERS, 0x02f, 1, true},
    {APIC_REGISTERS, 0x03f, 1, true},   {VIRTUAL_DELIVERY, 0x0b0, 1, false},
    {VIRTUAL_DELIVERY, 0x0b1, 1, true}, {VIRTUAL_DELIVERY, 0x300, 2, false},
    {VIRTUAL_DELIVERY, 0x302, 2, true}, {VIRTUAL_DELIVERY, 0x300, 8, true},
};

START_TEST(an_access_must_lie_in_one_register)
{
    enter(TPR_SHADOW, VIRTUALIZE | extents[_i].secondary);
    access_at(VMXSIM_ACCESS_READ, extents[_i].offset, extents[_i].size, 0);
    ck_assert_msg(is_apic_access(extents[_i].offset) == extents[_i].exits, "%s",
                  machine_outcome_text(&outcome));
}
END_TEST

START_TEST(fetches_are_never_virtualized)
{
    enter(TPR_SHADOW, VIRTUALIZE | APIC_REGISTERS);
    access_at(VMXSIM_ACCESS_FETCH, 0x20, 4, 0);
    ck_assert(is_apic_access(0x2020));
}
END_TEST

/* Of a register that can only be read, the write exits; one that can be neither read nor written exits for the read. */
START_TEST(a_read_modify_write_needs_both)
{
    enter(TPR_SHADOW, VIRTUALIZE | APIC_REGISTERS);
    access_at(VMXSIM_ACCESS_RMW, 0x030, 4, 1);
    ck_assert(is_apic_access(0x1030));
    ck_assert_uint_eq(reg(0x30), FILL);
    access_at(VMXSIM_ACCESS_RMW, 0x390, 4, 1);
    ck_assert(is_apic_access(0x0390));
    access_at(VMXSIM_ACCESS_RMW, 0x0e0, 4, 1);
    expect_guest_exit(&outcome, 56);
    ck_assert_uint_eq(reg(0xe0), 1);
}
END_TEST

/* ---- What follows a write ---- */

#define BOTH (APIC_REGISTERS | VIRTUAL_DELIVERY)

/* Exit 0: the access completes. The content is that of the register at the offset rounded down to 16. */
static const struct {
    uint64_t secondary, offset;
    uint32_t size, value;
    unsigned exit;
    uint64_t qualification;
    uint32_t content;
} writes[] = {
    {APIC_REGISTERS, 0x020, 4, 0x11223344, 56, 0x020, 0x11223344},
    {APIC_REGISTERS, 0x022, 2, 0x3344, 56, 0x022, 0x3344de5f},
    {APIC_REGISTERS, 0x3e0, 1, 0x0b, 56, 0x3e0, 0x9abcde0b},
    {APIC_REGISTERS, 0x080, 4, 0x112233f7, 0, 0, 0xf7},
    {APIC_REGISTERS, 0x081, 1, 0x42, 56, 0x081, 0x9abc425f}, /* is not the offset of the TPR */
    {APIC_REGISTERS, 0x0b0, 4, 0x77, 56, 0x0b0, 0x77},
    {BOTH, 0x0b0, 4, 0x77, 0, 0, 0},
    {BOTH, 0x0b0, 1, 0x77, 0, 0, 0},
    {BOTH, 0x0b1, 1, 0x77, 56, 0x0b1, 0x9abc775f},
    {VIRTUAL_DELIVERY, 0x0b0, 4, 0x77, 0, 0, 0},
    {APIC_REGISTERS, 0x300, 4, 0x40041, 56, 0x300, 0x40041},
    {BOTH, 0x300, 4, 0x40041, 0, 0, 0x40041},
    {BOTH, 0x302, 1, 0x04, 56, 0x302, 0x9a04de5f},
    {APIC_REGISTERS, 0x310, 4, 0x11223344, 0, 0, 0x11000000},
    {APIC_REGISTERS, 0x310, 1, 0x44, 0, 0, 0x9a000000},
    {BOTH, 0x311, 2, 0x2233, 0, 0, 0x9a000000},
    {BOTH, 0x313, 1, 0x55, 0, 0, 0x55000000},
};

START_TEST(a_write_is_emulated_or_exits_afterwards)
{
    VMXSIM_VMCS(&machine.vmcs, GUEST_INTERRUPT_STATUS) = 0;
    enter(TPR_SHADOW, VIRTUALIZE | writes[_i].secondary);
    access_at(VMXSIM_ACCESS_WRITE, writes[_i].offset, writes[_i].size, writes[_i].value);
    if (writes[_i].exit) {
        expect_guest_exit(&outcome, writes[_i].exit);
        ck_assert_uint_eq(outcome.qualification, writes[_i].qualification);
        ck_assert_int_eq(outcome.rule, VMXSIM_RULE_EXIT_APIC_WRITE);
    } else {
        expect_guest_complete(&outcome);
    }
    ck_assert_uint_eq(reg(writes[_i].offset & ~UINT64_C(0xf)), writes[_i].content);
}
END_TEST

/* VICR_LO: self-IPI of this vector, or software has to do it. 40041H: shorthand self, fixed, edge, vector 41H. */
static const struct {
    uint32_t command;
    bool self;
} commands[] = {
    {0x00040041, true},  {0x00040010, true},  {0x000400ff, true},
    {0x00040841, true},                       /* destination mode plays no part */
    {0x00044041, true},                       /* nor does the level */
    {0x0004000f, false}, {0x00040000, false}, /* vectors below 16 */
    {0x00000041, false}, {0x00080041, false}, {0x000c0041, false}, /* other shorthands */
    {0x00040141, false}, {0x00040241, false}, {0x00040441, false},
    {0x00040741, false}, {0x00041041, false},                      /* delivery status */
    {0x00042041, false}, {0x00050041, false}, {0x00060041, false}, /* reserved */
    {0x00140041, false}, {0x80040041, false}, {0x00048041, false}, /* the last: level-triggered */
};

START_TEST(a_command_is_a_self_ipi_or_exits)
{
    const unsigned vector = commands[_i].command & 0xff;
    enter(TPR_SHADOW, VIRTUALIZE | VIRTUAL_DELIVERY);
    for (uint64_t offset = 0x200; offset < 0x280; offset += 16)
        machine_write(&machine, VIRTUAL_PAGE + offset, 0);
    access_at(VMXSIM_ACCESS_WRITE, 0x300, 4, commands[_i].command);
    ck_assert_uint_eq(reg(0x300), commands[_i].command);
    ck_assert_uint_eq(reg(0x200 + vector / 32 * 16), commands[_i].self ? 1u << vector % 32 : 0);
    if (commands[_i].self) {
        expect_guest_complete(&outcome);
        return;
    }
    expect_guest_exit(&outcome, 56);
    ck_assert_uint_eq(outcome.qualification, 0x300);
}
END_TEST

/* Without virtual-interrupt delivery CR8 and the TPR are compared with the threshold, whatever else is virtualized. */
START_TEST(the_threshold_needs_no_register_virtualization)
{
    static const uint64_t secondary[] = {VIRTUALIZE, VIRTUALIZE | APIC_REGISTERS};
    VMXSIM_VMCS(&machine.vmcs, TPR_THRESHOLD) = 5;
    for (int i = 0; i < COUNT(secondary); i++) {
        enter(TPR_SHADOW, secondary[i]);
        access_at(VMXSIM_ACCESS_WRITE, 0x80, 4, 0x50);
        expect_guest_complete(&outcome);
        access_at(VMXSIM_ACCESS_WRITE, 0x80, 4, 0x4f);
        expect_guest_exit(&outcome, 43);
        ck_assert_uint_eq(reg(0x80), 0x4f);
    }
    enter(TPR_SHADOW, VIRTUALIZE | VIRTUAL_DELIVERY); /* where the threshold is not used */
    access_at(VMXSIM_ACCESS_WRITE, 0x80, 4, 0x4f);
    expect_guest_complete(&outcome);
}
END_TEST

/* ---- MSRs ---- */

#define X2 (X2APIC | VIRTUAL_DELIVERY)

static const struct {
    uint64_t secondary;
    uint32_t first, last; /* MSRs that are read from the page: none if 0 */
} msr_reads[] = {
    {0, 0, 0},
    {APIC_REGISTERS | VIRTUAL_DELIVERY, 0, 0},
    {X2APIC, 0x808, 0x808},
    {X2APIC | VIRTUAL_DELIVERY, 0x808, 0x808},
    {X2APIC | APIC_REGISTERS, 0x800, 0x8ff},
};

START_TEST(the_controls_select_the_msrs_that_are_read_from_the_page)
{
    enter(TPR_SHADOW | USE_MSR_BITMAPS, msr_reads[_i].secondary);
    for (uint32_t msr = 0x7f0; msr <= 0x910; msr++) {
        const uint64_t hpa = VIRTUAL_PAGE + (msr & 0xff) * 16;
        const bool virtualized = msr >= msr_reads[_i].first && msr <= msr_reads[_i].last;
        machine_write(&machine, hpa, UINT64_C(0x1122334400000000) | msr); /* all 64 bits are read */
        ck_assert_int_eq(vmxsim_guest_rdmsr(machine.cpu, msr, &outcome), VMXC_OK);
        expect_guest_complete(&outcome);
        ck_assert_uint_eq(outcome.value, virtualized ? machine_read(&machine, hpa) : 0);
    }
}
END_TEST

/* Content: of the 8 bytes at the MSR's place; those that are not written keep FILL. Vector: of a fault. */
static const struct {
    uint64_t secondary;
    uint32_t msr;
    uint64_t value;
    unsigned vector, exit;
    uint64_t qualification, content;
} msr_writes[] = {
    {0, 0x808, 0x42, 0, 0, 0, FILL},
    {VIRTUAL_DELIVERY | APIC_REGISTERS, 0x80b, 0, 0, 0, 0, FILL},
    {X2APIC, 0x808, 0x42, 0, 0, 0, 0x42},
    {X2APIC, 0x808, 0xff, 0, 0, 0, 0xff},
    {X2APIC, 0x808, 0x100, 13, 0, 0, FILL},
    {X2APIC, 0x808, UINT64_C(0x100000000), 13, 0, 0, FILL},
    {X2APIC, 0x80b, 0, 0, 0, 0, FILL}, /* only with virtual-interrupt delivery */
    {X2APIC, 0x83f, 0x41, 0, 0, 0, FILL},
    {X2APIC, 0x83f, 0x100, 0, 0, 0, FILL},
    {X2, 0x80b, 0, 0, 0, 0, 0},
    {X2, 0x80b, 1, 13, 0, 0, FILL},
    {X2, 0x80b, UINT64_C(0x8000000000000000), 13, 0, 0, FILL},
    {X2, 0x83f, 0x41, 0, 0, 0, 0x41},
    {X2, 0x83f, 0x10, 0, 0, 0, 0x10},
    {X2, 0x83f, 0x0f, 0, 56, 0x3f0, 0x0f},
    {X2, 0x83f, 0x141, 13, 0, 0, FILL},
    {X2, 0x83f, UINT64_C(0x100000041), 13, 0, 0, FILL},
    {X2 | APIC_REGISTERS, 0x80d, 0x41, 0, 0, 0, FILL}, /* writes of others never are */
    {X2 | APIC_REGISTERS, 0x830, 0x40041, 0, 0, 0, FILL},
};

START_TEST(the_controls_select_the_msrs_that_are_written_to_the_page)
{
    const uint64_t hpa = VIRTUAL_PAGE + (msr_writes[_i].msr & 0xff) * 16;
    enter(TPR_SHADOW | USE_MSR_BITMAPS, msr_writes[_i].secondary);
    machine_write(&machine, hpa, FILL);
    ck_assert_int_eq(
        vmxsim_guest_wrmsr(machine.cpu, msr_writes[_i].msr, msr_writes[_i].value, &outcome),
        VMXC_OK);
    if (msr_writes[_i].vector) {
        expect_guest_fault(&outcome, msr_writes[_i].vector);
        ck_assert_int_eq(outcome.rule, VMXSIM_RULE_X2APIC_VALUE);
    } else if (msr_writes[_i].exit) {
        expect_guest_exit(&outcome, msr_writes[_i].exit);
        ck_assert_uint_eq(outcome.qualification, msr_writes[_i].qualification);
    } else {
        expect_guest_complete(&outcome);
    }
    ck_assert_uint_eq(machine_read(&machine, hpa), msr_writes[_i].content);
}
END_TEST

/* Real-address mode has no error codes: neither the guest nor, in the interruption information, the hypervisor gets one. */
START_TEST(a_fault_in_real_address_mode_has_no_error_code)
{
    machine_set_mode(&machine, GUEST_NONE);
    VMXSIM_VMCS(&machine.vmcs, GUEST_CR0) &= ~VMXC_CR0_PE;
    VMXSIM_VMCS(&machine.vmcs, EXCEPTION_BITMAP) = _i ? VMXC_BIT(VMXC_VECTOR_GP) : 0;
    enter(TPR_SHADOW | USE_MSR_BITMAPS, X2APIC);
    ck_assert_int_eq(vmxsim_guest_wrmsr(machine.cpu, 0x808, 0x100, &outcome), VMXC_OK);
    ck_assert_int_eq(outcome.rule, VMXSIM_RULE_X2APIC_VALUE);
    ck_assert_int_eq(outcome.kind, _i ? VMXSIM_OUTCOME_VM_EXIT : VMXSIM_OUTCOME_GUEST_EXCEPTION);
    ck_assert(!outcome.has_error_code);
    ck_assert_uint_eq(outcome.interruption_info, _i ? 0x8000030d : 0);
}
END_TEST

START_TEST(a_tpr_msr_below_the_threshold_exits_after_the_write)
{
    VMXSIM_VMCS(&machine.vmcs, TPR_THRESHOLD) = 5;
    enter(TPR_SHADOW | USE_MSR_BITMAPS, X2APIC);
    ck_assert_int_eq(vmxsim_guest_wrmsr(machine.cpu, 0x808, 0x4f, &outcome), VMXC_OK);
    expect_guest_exit(&outcome, 43);
    ck_assert_uint_eq(reg(0x80), 0x4f);
}
END_TEST

START_TEST(privilege_and_the_bitmap_come_before_the_page)
{
    machine_write(&machine, MSR_BITMAPS + 0x800 + 0x808 / 64 * 8, UINT64_C(1) << 0x808 % 64);
    enter(TPR_SHADOW | USE_MSR_BITMAPS, X2APIC);
    ck_assert_int_eq(vmxsim_guest_wrmsr(machine.cpu, 0x808, 0x100, &outcome), VMXC_OK);
    expect_guest_exit(&outcome, 32);
    ck_assert_int_eq(vmxsim_guest_rdmsr(machine.cpu, 0x808, &outcome), VMXC_OK);
    expect_guest_complete(&outcome);
    ck_assert_uint_eq(outcome.value, FILL);
    machine_set_cpl(&machine, 3);
    load();
    ck_assert_int_eq(vmxsim_guest_wrmsr(machine.cpu, 0x808, 0x42, &outcome), VMXC_OK);
    expect_guest_fault(&outcome, 13);
    ck_assert_uint_eq(reg(0x80), FILL);
    enter(TPR_SHADOW, X2APIC); /* no bitmaps: all exit */
    machine_set_cpl(&machine, 0);
    load();
    ck_assert_int_eq(vmxsim_guest_rdmsr(machine.cpu, 0x808, &outcome), VMXC_OK);
    expect_guest_exit(&outcome, 31);
}
END_TEST

/* ---- Not modelled ---- */

/* A VM entry succeeds with these controls; what they change is refused then, and nothing else. */
static const struct {
    uint64_t tertiary;
    uint32_t msr;
    enum vmxc_status read, write;
} refusals[] = {
    {VMXC_TERTIARY_IPI_VIRTUALIZATION, 0x830, VMXC_OK, VMXC_UNSUPPORTED},
    {VMXC_TERTIARY_IPI_VIRTUALIZATION, 0x808, VMXC_OK, VMXC_OK},
    {VMXC_TERTIARY_APIC_TIMER_VIRTUALIZATION, 0x6e0, VMXC_UNSUPPORTED, VMXC_UNSUPPORTED},
    {VMXC_TERTIARY_APIC_TIMER_VIRTUALIZATION, 0x6e1, VMXC_OK, VMXC_OK},
    {VMXC_TERTIARY_ENABLE_HLAT, 0x830, VMXC_OK, VMXC_OK},
    {VMXC_TERTIARY_EPT_PAGING_WRITE_CONTROL, 0x830, VMXC_OK, VMXC_OK},
    {VMXC_TERTIARY_GUEST_PAGING_VERIFICATION, 0x830, VMXC_OK, VMXC_OK},
    {0, 0x830, VMXC_OK, VMXC_OK},
};

static void launch(struct insn_machine *host, uint64_t primary, uint64_t tertiary)
{
    struct vmxsim_vmcs vmcs = valid_vmcs(LONG64);
    vmcs.value[F(PIN_BASED_CONTROLS)] |= VMXC_PIN_EXTERNAL_INTERRUPT_EXITING;
    vmcs.value[F(PRIMARY_PROCESSOR_BASED_CONTROLS)] |= primary | VMXC_BIT(17) | VMXC_BIT(31);
    vmcs.value[F(SECONDARY_PROCESSOR_BASED_CONTROLS)] |=
        X2APIC | VIRTUAL_DELIVERY | VMXC_SECONDARY_ENABLE_EPT;
    vmcs.value[F(EPT_POINTER)] = 0x100001e;
    vmcs.value[F(TERTIARY_PROCESSOR_BASED_CONTROLS)] = tertiary;
    vmcs.value[F(VIRTUAL_APIC_ADDRESS)] = VIRTUAL_PAGE;
    vmcs.value[F(MSR_BITMAP_ADDRESS)] = MSR_BITMAPS;
    vmcs.value[F(PID_POINTER_TABLE_ADDRESS)] = 0x63000;
    vmcs.value[F(VIRTUAL_TIMER_VECTOR)] = 0x40;
    insn_machine_init(host, "everything", NULL);
    insn_machine_launch(host, &vmcs);
}

START_TEST(what_is_not_modelled_is_refused_after_vm_entry)
{
    struct insn_machine host;
    const struct vmxsim_access access = {.type = VMXSIM_ACCESS_READ, .size = 1};
    launch(&host, TPR_SHADOW | USE_MSR_BITMAPS, refusals[_i].tertiary);
    ck_assert_int_eq(vmxsim_guest_rdmsr(host.cpu, refusals[_i].msr, &outcome), refusals[_i].read);
    ck_assert_int_eq(vmxsim_guest_wrmsr(host.cpu, refusals[_i].msr, 0, &outcome),
                     refusals[_i].write);
    ck_assert_int_eq(vmxsim_guest_access(host.cpu, &access, &outcome, NULL),
                     refusals[_i].tertiary ? VMXC_UNSUPPORTED : VMXC_OK);
    insn_machine_fini(&host);
    launch(&host, TPR_SHADOW, refusals[_i].tertiary); /* every MSR exits */
    ck_assert_int_eq(vmxsim_guest_wrmsr(host.cpu, refusals[_i].msr, 0, &outcome), VMXC_OK);
    expect_guest_exit(&outcome, 32);
    insn_machine_fini(&host);
}
END_TEST

/* I/O that has to ask the permission map reads memory; what that comes to is not known, so neither is what the I/O comes to. */
START_TEST(io_that_needs_the_permission_map_is_refused_with_what_accesses_lack)
{
    const struct vmxsim_io io = {.port = 0x80, .size = 1};
    struct insn_machine host;
    launch(&host, TPR_SHADOW | USE_MSR_BITMAPS, VMXC_TERTIARY_ENABLE_HLAT);
    ck_assert_int_eq(vmxsim_guest_io(host.cpu, &io, &outcome), VMXC_OK);
    ck_assert_int_eq(vmxsim_guest_set(host.cpu, VMXC_VMCS_GUEST_SS_ACCESS_RIGHTS, 0xc0f3), VMXC_OK);
    ck_assert_int_eq(vmxsim_guest_set(host.cpu, VMXC_VMCS_GUEST_TR_LIMIT, 0xfff), VMXC_OK);
    ck_assert_int_eq(vmxsim_guest_io(host.cpu, &io, &outcome), VMXC_UNSUPPORTED);
    insn_machine_fini(&host);
}
END_TEST

int main(void)
{
    Suite *const suite = suite_create("virtual_apic");
    TCase *const tests = suite_case(suite, "tests", set_up, guest_fixture_tear_down);
    tcase_add_loop_test(tests, the_controls_select_what_is_read_from_the_virtual_page, 0,
                        COUNT(selections));
    tcase_add_loop_test(tests, the_controls_select_what_is_written_to_the_virtual_page, 0,
                        COUNT(selections));
    tcase_add_loop_test(tests, an_access_must_lie_in_one_register, 0, COUNT(extents));
    tcase_add_test(tests, fetches_are_never_virtualized);
    tcase_add_test(tests, a_read_modify_write_needs_both);
    tcase_add_loop_test(tests, a_write_is_emulated_or_exits_afterwards, 0, COUNT(writes));
    tcase_add_loop_test(tests, a_command_is_a_self_ipi_or_exits, 0, COUNT(commands));
    tcase_add_test(tests, the_threshold_needs_no_register_virtualization);
    tcase_add_loop_test(tests, the_controls_select_the_msrs_that_are_read_from_the_page, 0,
                        COUNT(msr_reads));
    tcase_add_loop_test(tests, the_controls_select_the_msrs_that_are_written_to_the_page, 0,
                        COUNT(msr_writes));
    tcase_add_loop_test(tests, a_fault_in_real_address_mode_has_no_error_code, 0, 2);
    tcase_add_test(tests, a_tpr_msr_below_the_threshold_exits_after_the_write);
    tcase_add_test(tests, privilege_and_the_bitmap_come_before_the_page);
    tcase_add_loop_test(tests, what_is_not_modelled_is_refused_after_vm_entry, 0, COUNT(refusals));
    tcase_add_test(tests, io_that_needs_the_permission_map_is_refused_with_what_accesses_lack);

    return run_suite(suite);
}
