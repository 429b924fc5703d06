/* SPDX-License-Identifier: Apache-2.0 */
#include "payload.h"

#include "internal/string.h"
#include "vmxcore/defs/msr.h"
#include "vmxcore/insn_native.h"

#define MSR_EFER UINT32_C(0xc0000080)

/* ---- MSRs, exceptions caught ---- */

struct msr_access {
    uint32_t msr;
    uint64_t value;
};

static void read_body(void *argument)
{
    struct msr_access *const access = argument;

    (void)vmxc_insn_native.rdmsr(NULL, access->msr, &access->value);
}

static void write_body(void *argument)
{
    const struct msr_access *const access = argument;

    (void)vmxc_insn_native.wrmsr(NULL, access->msr, access->value);
}

bool msr_read(uint32_t msr, uint64_t *value)
{
    struct msr_access access = {msr, 0};

    if (trap_run(read_body, &access) != 0)
        return false;
    *value = access.value;
    return true;
}

bool msr_write(uint32_t msr, uint64_t value)
{
    struct msr_access access = {msr, value};

    return trap_run(write_body, &access) == 0;
}

/*
 * MSRs that a guest, or a list of MSRs to load, may leave changed: every experiment starts from what the machine had
 * when it was started.
 */
static struct saved_msr {
    uint32_t msr;
    bool exists;
    uint64_t value;
} saved[] = {
    {.msr = 0x174},      {.msr = 0x175},      {.msr = 0x176},      {.msr = 0x1d9},
    {.msr = 0x277},      {.msr = 0x38f},      {.msr = 0x6a0},      {.msr = 0x6a2},
    {.msr = 0x6a4},      {.msr = 0x6a5},      {.msr = 0x6a6},      {.msr = 0x6a7},
    {.msr = 0x6a8},      {.msr = 0x6e1},      {.msr = 0xd90},      {.msr = 0xda0},
    {.msr = 0xc0000081}, {.msr = 0xc0000082}, {.msr = 0xc0000083}, {.msr = 0xc0000084},
    {.msr = 0xc0000100}, {.msr = 0xc0000101}, {.msr = 0xc0000102}, {.msr = 0xc0000103},
};
#define SAVED_COUNT (sizeof(saved) / sizeof(saved[0]))

void saved_msrs_read(void)
{
    for (size_t i = 0; i < SAVED_COUNT; i++)
        saved[i].exists = msr_read(saved[i].msr, &saved[i].value);
}

void saved_msrs_restore(void)
{
    uint64_t now;

    for (size_t i = 0; i < SAVED_COUNT; i++)
        if (saved[i].exists && msr_read(saved[i].msr, &now) && now != saved[i].value)
            (void)msr_write(saved[i].msr, saved[i].value);
}

/* ---- The state of VMX root operation ---- */

void root_state_set(const struct root_state *state)
{
    uint64_t efer;

    root_cr0 = state->cr0;
    root_cr4 = state->cr4;
    if (vmxc_insn_native.read_cr4(NULL) != state->cr4)
        (void)vmxc_insn_native.write_cr4(NULL, state->cr4);
    if (vmxc_insn_native.read_cr0(NULL) != state->cr0)
        (void)vmxc_insn_native.write_cr0(NULL, state->cr0);
    if (msr_read(MSR_EFER, &efer) && efer != state->efer)
        (void)msr_write(MSR_EFER, state->efer);
}

bool cpu_has_pku(void)
{
    uint32_t registers[4];

    vmxc_insn_native.cpuid(NULL, 0, 0, registers);
    if (registers[0] < 7)
        return false;
    vmxc_insn_native.cpuid(NULL, 7, 0, registers);
    return (registers[2] & 8) != 0;
}

/* ---- Landings ---- */

extern uint8_t landing_code[], landing_code_end[];

/* What was there before the last landing was placed. */
static uint8_t code_before[32], table_before[VMXC_PAGE_SIZE];

static bool is_free_memory(uint64_t address, uint64_t length)
{
    return address >= 0x1000 && address + length <= BATCH_ADDRESS &&
           !(address + length > PAYLOAD_ADDRESS && address < PAYLOAD_END) &&
           !(address + length > 0x9f000 && address < 0x100000);
}

struct landing {
    uint8_t *code, *table; /* NULL: there is no memory for it */
    size_t length;
};

static struct landing landing_at(uint64_t host_rip, uint64_t host_cr3)
{
    struct landing landing = {.length = (size_t)(landing_code_end - landing_code)};
    const uint64_t code = host_rip & UINT32_MAX; /* what start.S maps there */
    const uint64_t table = host_cr3 & ~VMXC_PAGE_MASK;

    if (is_free_memory(code, landing.length))
        landing.code = (uint8_t *)(uintptr_t)code;
    if (is_free_memory(table, VMXC_PAGE_SIZE))
        landing.table = (uint8_t *)(uintptr_t)table;
    return landing;
}

/* Those of the templates stay for good. */
static struct {
    uint64_t host_rip, host_cr3;
} permanent[32];
static size_t permanent_count;

void landing_keep(uint64_t host_rip, uint64_t host_cr3)
{
    landing_place(host_rip, host_cr3);
    if (permanent_count < sizeof(permanent) / sizeof(permanent[0])) {
        permanent[permanent_count].host_rip = host_rip;
        permanent[permanent_count++].host_cr3 = host_cr3;
    }
}

bool landing_is_kept(uint64_t host_rip, uint64_t host_cr3)
{
    for (size_t i = 0; i < permanent_count; i++)
        if (permanent[i].host_rip == host_rip && permanent[i].host_cr3 == host_cr3)
            return true;
    return false;
}

/* Makes the addresses in HOST_RIP and HOST_CR3 lead to guest_exit and to the payload's paging structures. */
void landing_place(uint64_t host_rip, uint64_t host_cr3)
{
    const struct landing landing = landing_at(host_rip, host_cr3);

    if (landing.code != NULL) {
        memcpy(code_before, landing.code, landing.length);
        memcpy(landing.code, landing_code, landing.length);
    }
    if (landing.table != NULL) {
        memcpy(table_before, landing.table, VMXC_PAGE_SIZE);
        memcpy(landing.table, page_root, VMXC_PAGE_SIZE);
    }
}

/* Gives back what the last landing has covered. */
void landing_remove(uint64_t host_rip, uint64_t host_cr3)
{
    const struct landing landing = landing_at(host_rip, host_cr3);

    if (landing.table != NULL)
        memcpy(landing.table, table_before, VMXC_PAGE_SIZE);
    if (landing.code != NULL)
        memcpy(landing.code, code_before, landing.length);
}
