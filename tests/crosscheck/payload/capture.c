/* SPDX-License-Identifier: Apache-2.0 */
/* The profile of the machine: capability MSRs, CPUID, and the VMCS fields that VMREAD finds. */
#include "payload.h"

#include "vmxcore/insn_native.h"

#define FIELD_INDEX_COUNT 128

static void capture_msrs(void)
{
    static const uint32_t others[] = {0x3a, 0x1b, 0x9b, 0x10a, 0x277, 0x345, 0xc0000080};
    uint64_t value;

    for (uint32_t msr = 0x480; msr <= 0x493; msr++)
        if (msr_read(msr, &value))
            console_print(" msr:%x=%lx", (unsigned)msr, (unsigned long)value);
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
        if (msr_read(others[i], &value))
            console_print(" msr:%x=%lx", (unsigned)others[i], (unsigned long)value);
}

static void capture_cpuid(void)
{
    static const struct {
        uint32_t leaf, subleaf;
    } leaves[] = {
        {0, 0},          {1, 0},          {4, 0},          {6, 0},          {7, 0},
        {7, 1},          {7, 2},          {0xa, 0},        {0xd, 0},        {0xd, 1},
        {0x14, 0},       {0x14, 1},       {0x1c, 0},       {0x80000000, 0}, {0x80000001, 0},
        {0x80000002, 0}, {0x80000003, 0}, {0x80000004, 0}, {0x80000007, 0}, {0x80000008, 0},
    };
    uint32_t largest[4], registers[4];

    for (size_t i = 0; i < sizeof(leaves) / sizeof(leaves[0]); i++) {
        vmxc_insn_native.cpuid(NULL, leaves[i].leaf & 0x80000000, 0, largest);
        if (leaves[i].leaf > largest[0])
            continue;
        /* Leaves 7 and 14H say in EAX of subleaf 0 how many they have. */
        vmxc_insn_native.cpuid(NULL, leaves[i].leaf, 0, largest);
        if ((leaves[i].leaf == 7 || leaves[i].leaf == 0x14) && leaves[i].subleaf > largest[0])
            continue;
        vmxc_insn_native.cpuid(NULL, leaves[i].leaf, leaves[i].subleaf, registers);
        console_print(" cpuid:%x.%x=%x,%x,%x,%x", (unsigned)leaves[i].leaf,
                      (unsigned)leaves[i].subleaf, (unsigned)registers[0], (unsigned)registers[1],
                      (unsigned)registers[2], (unsigned)registers[3]);
    }
}

/* Encodings: width in bits 14:13, type in 11:10, index in 9:1; those with bit 0 are the same fields again. */
static void capture_fields(void)
{
    uint64_t value;

    for (uint32_t width = 0; width < 4; width++)
        for (uint32_t type = 0; type < 4; type++)
            for (uint32_t index = 0; index < FIELD_INDEX_COUNT; index++) {
                const uint32_t field = width << 13 | type << 10 | index << 1;
                if (vmxc_insn_native.vmread(NULL, field, &value) == VMXC_INSN_SUCCEEDED)
                    console_print(" field:%x", (unsigned)field);
            }
}

static void capture_body(void *argument)
{
    const struct batch *const batch = argument;

    if (vmcs_load(batch))
        capture_fields();
}

void capture_run(const struct batch *batch)
{
    capture_msrs();
    capture_cpuid();
    memory_use_template(0);
    root_state_set(&batch->roots[0]);
    (void)trap_run(capture_body, (void *)(uintptr_t)batch);
}
