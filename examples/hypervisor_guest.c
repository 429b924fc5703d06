/* SPDX-License-Identifier: Apache-2.0 */
#include "hypervisor_guest.h"

#include "vmxcore/defs/paging.h"
#include "vmxcore/guest_mem.h"

#define PDPT_GPA    UINT64_C(0x2000)
#define PD_GPA      UINT64_C(0x3000)
#define HANDLER_GPA (HYPERVISOR_GUEST_CODE + 0x800)

/*
 * Both descriptor tables are at 0, which is what the set-up gives: entries of the GDT are where vectors 0 and 1 would
 * be.
 */
#define CODE_SELECTOR   UINT64_C(0x8)
#define CODE_DESCRIPTOR UINT64_C(0x00af9b000000ffff)
#define DATA_DESCRIPTOR UINT64_C(0x00cf93000000ffff)
#define INTERRUPT_GATE  UINT64_C(0x8e0000000000)

#define SIGNATURE UINT64_C(0x63786d76) /* "vmxc" */
#define MSR_VALUE UINT64_C(0x10000002a)

const struct vmxc_guest_start hypervisor_guest_start = {
    .mode = VMXC_GUEST_LONG_64,
    .rip = HYPERVISOR_GUEST_CODE,
    .rsp = HYPERVISOR_GUEST_STACK,
    .cr3 = HYPERVISOR_GUEST_PML4,
};

static const uint8_t code[] = {
#define GUEST_INSTRUCTION(text, action, register, value, ...) __VA_ARGS__,
#include "hypervisor_guest.def"
#undef GUEST_INSTRUCTION
};

/* INC DWORD [400028H]; IRETQ */
static const uint8_t handler[] = {0xff, 0x04, 0x25, 0x28, 0x00, 0x40, 0x00, 0x48, 0xcf};

static enum vmxc_status load_paging(struct vmxc_addrspace *space)
{
    const uint64_t table = VMXC_PTE_PRESENT | VMXC_PTE_WRITE;

    VMXC_TRY(vmxc_guest_mem_write_u64(space, HYPERVISOR_GUEST_PML4, PDPT_GPA | table));
    VMXC_TRY(vmxc_guest_mem_write_u64(space, PDPT_GPA, PD_GPA | table));
    for (uint64_t i = 0; i < HYPERVISOR_GUEST_SIZE / VMXC_PAGE_SIZE_2M; i++)
        VMXC_TRY(vmxc_guest_mem_write_u64(space, PD_GPA + 8 * i,
                                          i * VMXC_PAGE_SIZE_2M | table | VMXC_PTE_PAGE_SIZE));
    return VMXC_OK;
}

static enum vmxc_status load_descriptors(struct vmxc_addrspace *space)
{
    const uint64_t gate = (HANDLER_GPA & 0xffff) | CODE_SELECTOR << 16 | INTERRUPT_GATE |
                          (HANDLER_GPA >> 16 & 0xffff) << 48;

    VMXC_TRY(vmxc_guest_mem_write_u64(space, CODE_SELECTOR, CODE_DESCRIPTOR));
    VMXC_TRY(vmxc_guest_mem_write_u64(space, CODE_SELECTOR + 8, DATA_DESCRIPTOR));
    VMXC_TRY(vmxc_guest_mem_write_u64(space, UINT64_C(16) * HYPERVISOR_GUEST_VECTOR, gate));
    return vmxc_guest_mem_write_u64(space, UINT64_C(16) * HYPERVISOR_GUEST_VECTOR + 8, 0);
}

enum vmxc_status hypervisor_guest_load(struct vmxc_addrspace *space)
{
    VMXC_TRY(load_paging(space));
    VMXC_TRY(load_descriptors(space));
    VMXC_TRY(vmxc_guest_mem_write_u64(space, HYPERVISOR_GUEST_STACK - 8, 0));
    VMXC_TRY(vmxc_guest_mem_write(space, HYPERVISOR_GUEST_CODE, code, sizeof(code)));
    return vmxc_guest_mem_write(space, HANDLER_GPA, handler, sizeof(handler));
}

const char *hypervisor_guest_check(struct vmxc_addrspace *space)
{
    const struct {
        vmxc_gpa_t gpa;
        uint64_t value;
        const char *what;
    } told[] = {
        {0x400010, UINT64_C(0x74736575672061), "the guest's store is in its memory"},
        {0x400018, SIGNATURE, "the guest has seen the hypervisor's CPUID leaf"},
        {0x400020, MSR_VALUE, "the guest reads back the MSR it wrote"},
        {HYPERVISOR_GUEST_COUNT, 1, "the guest has taken one interrupt"},
    };
    uint64_t value;

    for (size_t i = 0; i < sizeof(told) / sizeof(told[0]); i++)
        if (vmxc_guest_mem_read_u64(space, told[i].gpa, &value) != VMXC_OK ||
            value != told[i].value)
            return told[i].what;
    return NULL;
}
