/* SPDX-License-Identifier: Apache-2.0 */
/*
 * I/O and MSR bitmaps: what libvmxcore writes, what it says it wrote, what the model decides, and a plain array agree
 * at both ends of every range that an operation touches.
 *
 * Input: operations of 6 bytes: which (1), first (2), length (2), how (1).
 */
#include "harness.h"

#include <string.h>

#include "vmxcore/defs/controls.h"
#include "vmxcore/defs/msr.h"
#include "vmxcore/io_bitmap.h"
#include "vmxcore/msr_bitmap.h"
#include "vmxsim/intercept.h"

#define RAM_SIZE (UINT64_C(1) << 20)

enum { PORTS = 0x10000, RANGE_MSRS = 0x2000, MSRS = 2 * RANGE_MSRS, AROUND = 3 };
enum operation { IO_PORT, IO_RANGE, IO_ALL, MSR_ONE, MSR_RANGE, MSR_ALL, OPERATIONS };

static struct vmxsim_memory *memory;
static struct vmxsim_cpu *cpu;
static struct vmxc_io_bitmap io;
static struct vmxc_msr_bitmap msrs;

static struct vmxsim_fuzz_loop loop;
static struct vmxsim_vmcs guest_vmcs;

/* What should exit: one byte, 0 or 1, for each. */
struct exits {
    uint8_t value[PORTS];
    unsigned end; /* what lies behind it was not set since the beginning */
};

static struct exits port_exits;
static struct exits msr_exits[2]; /* reads, writes */

static uint32_t msr_number(unsigned index)
{
    return index < RANGE_MSRS ? index : UINT32_C(0xc0000000) + index - RANGE_MSRS;
}

static void must(enum vmxc_status status)
{
    REQUIRE(status == VMXC_OK, "status %d", status);
}

/* ---- Set-up ---- */

static void load_guest(void)
{
    struct vmxsim_error error;
    vmxc_hpa_t a_hpa, b_hpa, msr_hpa;

    REQUIRE(vmxc_io_bitmap_hpa(&io, &a_hpa, &b_hpa) == VMXC_OK &&
                vmxc_msr_bitmap_hpa(&msrs, &msr_hpa) == VMXC_OK,
            "no bitmaps");
    VMXSIM_VMCS(&guest_vmcs, PRIMARY_PROCESSOR_BASED_CONTROLS) =
        VMXC_PRIMARY_USE_IO_BITMAPS | VMXC_PRIMARY_USE_MSR_BITMAPS;
    VMXSIM_VMCS(&guest_vmcs, IO_BITMAP_A_ADDRESS) = a_hpa;
    VMXSIM_VMCS(&guest_vmcs, IO_BITMAP_B_ADDRESS) = b_hpa;
    VMXSIM_VMCS(&guest_vmcs, MSR_BITMAP_ADDRESS) = msr_hpa;
    VMXSIM_VMCS(&guest_vmcs, GUEST_CR0) = 0x21; /* protected mode without paging */
    VMXSIM_VMCS(&guest_vmcs, GUEST_RFLAGS) = 2;
    REQUIRE(vmxsim_cpu_load_guest(cpu, &guest_vmcs, &error) == VMXC_OK, "%s", error.text);
}

static void set_up(void)
{
    const struct vmxsim_fuzz_value_at values[] = {{&io, sizeof io}, {&msrs, sizeof msrs}};

    memory = harness_memory(RAM_SIZE);
    cpu = harness_processor(memory, vmxsim_profile_builtin("icelake"));
    const struct vmxc_hal *const hal = vmxsim_memory_hal(memory);
    must(vmxc_io_bitmap_init(&io, hal, VMXC_PASSTHROUGH));
    must(vmxc_msr_bitmap_init(&msrs, hal, VMXC_PASSTHROUGH));
    load_guest();
    must(vmxsim_fuzz_loop_begin(&loop, memory, values, 2));
}

/* The set-up and the loading of the guest, as notes. */
static void note_set_up(void)
{
    reproduce_machine(RAM_SIZE, "icelake", true);
    reproduce_value("struct vmxc_io_bitmap", "io");
    reproduce_value("struct vmxc_msr_bitmap", "msrs");
    reproduce_value("struct vmxsim_vmcs", "vmcs");
    reproduce_value("struct vmxsim_io", "access");
    reproduce_value("struct vmxsim_outcome", "outcome");
    REPRODUCE_CALL(VMXC_OK, "vmxc_io_bitmap_init(&io, vmxsim_memory_hal(memory), %d)",
                   VMXC_PASSTHROUGH);
    REPRODUCE_CALL(VMXC_OK, "vmxc_msr_bitmap_init(&msrs, vmxsim_memory_hal(memory), %d)",
                   VMXC_PASSTHROUGH);
    reproduce_elements("vmcs", "value", guest_vmcs.value, VMXC_VMCS_FIELD_COUNT);
    REPRODUCE_CALL(VMXC_OK, "vmxsim_cpu_load_guest(cpu, &vmcs, NULL)");
}

/* ---- Operations ---- */

static void set_exits(struct exits *all, unsigned first, unsigned last, bool exits)
{
    memset(all->value + first, exits, last + 1 - first);
    if (all->end <= last)
        all->end = last + 1;
}

static void forget_exits(struct exits *all)
{
    memset(all->value, 0, all->end);
    all->end = 0;
}

static void set_ports(unsigned first, unsigned last, bool exits)
{
    set_exits(&port_exits, first, last, exits);
}

static void set_msrs(unsigned first, unsigned last, uint32_t access, bool exits)
{
    for (unsigned write = 0; write < 2; write++) {
        if (access & (1u << write))
            set_exits(&msr_exits[write], first, last, exits);
    }
}

static void perform_io(enum operation operation, unsigned first, unsigned length, bool exits)
{
    const enum vmxc_intercept intercept = exits ? VMXC_INTERCEPT : VMXC_PASSTHROUGH;
    const uint32_t sizes[] = {1, 2, 4, 1};
    const uint32_t size = sizes[length & 3];
    const unsigned last = first + length < PORTS ? first + length : PORTS - 1;

    if (operation == IO_ALL) {
        REPRODUCE_CALL(VMXC_OK, "vmxc_io_bitmap_%s_all(&io)", exits ? "intercept" : "passthrough");
        must(exits ? vmxc_io_bitmap_intercept_all(&io) : vmxc_io_bitmap_passthrough_all(&io));
        set_ports(0, PORTS - 1, exits);
    } else if (operation == IO_RANGE) {
        REPRODUCE_CALL(VMXC_OK, "vmxc_io_bitmap_set_range(&io, 0x%x, 0x%x, %d)", first, last,
                       intercept);
        must(vmxc_io_bitmap_set_range(&io, (uint16_t)first, (uint16_t)last, intercept));
        set_ports(first, last, exits);
    } else if (first + size > PORTS) {
        REPRODUCE_CALL(VMXC_INVALID_INPUT, "vmxc_io_bitmap_set(&io, 0x%x, %u, %d)", first, size,
                       intercept);
        REQUIRE(vmxc_io_bitmap_set(&io, (uint16_t)first, size, intercept) != VMXC_OK,
                "ports %u to %u are set", first, first + size - 1);
    } else {
        REPRODUCE_CALL(VMXC_OK, "vmxc_io_bitmap_set(&io, 0x%x, %u, %d)", first, size, intercept);
        must(vmxc_io_bitmap_set(&io, (uint16_t)first, size, intercept));
        set_ports(first, first + size - 1, exits);
    }
}

static void perform_msr(enum operation operation, unsigned first, unsigned length, bool exits,
                        uint32_t access)
{
    const enum vmxc_intercept intercept = exits ? VMXC_INTERCEPT : VMXC_PASSTHROUGH;
    const unsigned limit = first < RANGE_MSRS ? RANGE_MSRS : MSRS;
    const unsigned last = first + length < limit ? first + length : limit - 1;

    if (operation == MSR_ALL) {
        REPRODUCE_CALL(VMXC_OK, "vmxc_msr_bitmap_%s_all(&msrs)",
                       exits ? "intercept" : "passthrough");
        must(exits ? vmxc_msr_bitmap_intercept_all(&msrs) : vmxc_msr_bitmap_passthrough_all(&msrs));
        set_msrs(0, MSRS - 1, 3, exits);
    } else if (operation == MSR_RANGE) {
        REPRODUCE_CALL(VMXC_OK, "vmxc_msr_bitmap_set_range(&msrs, 0x%x, 0x%x, %u, %d)",
                       msr_number(first), msr_number(last), access, intercept);
        must(vmxc_msr_bitmap_set_range(&msrs, msr_number(first), msr_number(last), access,
                                       intercept));
        set_msrs(first, last, access, exits);
    } else {
        REPRODUCE_CALL(VMXC_OK, "vmxc_msr_bitmap_set(&msrs, 0x%x, %u, %d)", msr_number(first),
                       access, intercept);
        must(vmxc_msr_bitmap_set(&msrs, msr_number(first), access, intercept));
        set_msrs(first, first, access, exits);
    }
}

/* ---- Comparison ---- */

/* An access that wraps from port FFFFH exits whatever the bitmaps hold. */
static void compare_port(unsigned port, uint32_t size)
{
    struct vmxsim_outcome outcome;
    bool expected = port + size > PORTS;

    for (unsigned i = port; i < port + size && i < PORTS; i++)
        expected = expected || port_exits.value[i];
    const struct vmxsim_io access = {.port = (uint16_t)port, .size = (uint8_t)size, .in = true};
    reproduce_look_begin();
    reproduce_member("access", "port", port);
    reproduce_member("access", "size", size);
    reproduce_member("access", "in", true);
    REPRODUCE_LOOK(VMXC_OK, "vmxsim_guest_io(cpu, &access, &outcome)");
    REPRODUCE_LOOK(expected, "outcome.kind == %d", VMXSIM_OUTCOME_VM_EXIT);
    REPRODUCE_LOOK(expected, "vmxc_io_bitmap_exits(&io, 0x%x, %u)", port, size);
    REQUIRE(vmxsim_guest_io(cpu, &access, &outcome) == VMXC_OK, "the model refuses");
    REQUIRE((outcome.kind == VMXSIM_OUTCOME_VM_EXIT) == expected,
            "port %#x, %u bytes: expected %d, the model does not", port, size, expected);
    REQUIRE(vmxc_io_bitmap_exits(&io, (uint16_t)port, size) == expected,
            "port %#x, %u bytes: expected %d, libvmxcore says otherwise", port, size, expected);
}

static void compare_msr(unsigned index)
{
    struct vmxsim_outcome outcome;
    const uint32_t msr = msr_number(index);

    for (unsigned write = 0; write < 2; write++) {
        const bool expected = msr_exits[write].value[index];
        const enum vmxc_status status = write ? vmxsim_guest_wrmsr(cpu, msr, 0, &outcome)
                                              : vmxsim_guest_rdmsr(cpu, msr, &outcome);
        reproduce_look_begin();
        REPRODUCE_LOOK(VMXC_OK, "vmxsim_guest_%smsr(cpu, 0x%x, %s&outcome)", write ? "wr" : "rd",
                       msr, write ? "0, " : "");
        REPRODUCE_LOOK(expected, "outcome.kind == %d", VMXSIM_OUTCOME_VM_EXIT);
        REPRODUCE_LOOK(expected, "vmxc_msr_bitmap_exits(&msrs, 0x%x, %u)", msr, 1u << write);
        REQUIRE(status == VMXC_OK, "the model refuses");
        REQUIRE((outcome.kind == VMXSIM_OUTCOME_VM_EXIT) == expected,
                "MSR %#x, write %u: expected %d, the model does not", msr, write, expected);
        REQUIRE(vmxc_msr_bitmap_exits(&msrs, msr, 1u << write) == expected,
                "MSR %#x, write %u: expected %d, libvmxcore says otherwise", msr, write, expected);
    }
}

static void compare_around(bool is_io, unsigned middle)
{
    const unsigned end = is_io ? PORTS : MSRS;
    const unsigned first = middle < AROUND ? 0 : middle - AROUND;

    for (unsigned at = first; at <= middle + AROUND && at < end; at++) {
        if (is_io) {
            for (uint32_t size = 1; size <= 4; size *= 2)
                compare_port(at, size);
        } else {
            compare_msr(at);
        }
    }
}

static void step(struct vmxsim_fuzz_input *input)
{
    const enum operation operation = (enum operation)vmxsim_fuzz_below(input, OPERATIONS);
    const bool is_io = operation <= IO_ALL;
    const unsigned first = vmxsim_fuzz_below(input, is_io ? PORTS : MSRS);
    const unsigned length = (unsigned)vmxsim_fuzz_take(input, 2);
    const uint32_t how = (uint32_t)vmxsim_fuzz_take(input, 1);

    if (is_io)
        perform_io(operation, first, length, how & 1);
    else
        perform_msr(operation, first, length, how & 1, 1 + (how >> 1) % 3);
    compare_around(is_io, first);
    compare_around(is_io, (first + length) % (is_io ? PORTS : MSRS));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct vmxsim_fuzz_input input = {.next = data, .left = size};

    if (loop.memory == NULL)
        set_up();
    harness_next(&loop);
    harness_reproduces(data, size);
    if (reproducing)
        note_set_up();
    forget_exits(&port_exits);
    forget_exits(&msr_exits[0]);
    forget_exits(&msr_exits[1]);
    while (input.left > 0)
        step(&input);
    vmxc_io_bitmap_fini(&io);
    vmxc_msr_bitmap_fini(&msrs);
    REQUIRE(vmxsim_memory_stats(memory).frames_in_use == 0, "frames are left");
    return 0;
}
