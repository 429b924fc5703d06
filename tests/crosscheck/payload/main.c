/* SPDX-License-Identifier: Apache-2.0 */
#include "payload.h"

#include "internal/string.h"
#include "vmxcore/insn_native.h"
#include "vmxcore/percpu.h"

#define LARGEST_BATCH 0x10000000

void payload_main(uint32_t magic, uint32_t info);

/* The part of the multiboot information that is used. */
struct multiboot_info {
    uint32_t flags, mem_lower, mem_upper, boot_device, cmdline, mods_count, mods_addr;
};
struct multiboot_module {
    uint32_t start, end;
};

/* Length of the batch, which lies at BATCH_ADDRESS afterwards; 0: there is none. */
static size_t find_batch(uint32_t magic, uint32_t info)
{
    const struct multiboot_info *const loader = (const void *)(uintptr_t)info;

    if (magic == BOOT_MAGIC_RAW)
        return LARGEST_BATCH;
    if (magic != BOOT_MAGIC_LOADER || !(loader->flags & 8) || loader->mods_count == 0)
        return 0;
    const struct multiboot_module module =
        *(const struct multiboot_module *)(uintptr_t)loader->mods_addr;
    const size_t length = module.end - module.start;

    memmove((void *)(uintptr_t)BATCH_ADDRESS, (const void *)(uintptr_t)module.start, length);
    memset((void *)(uintptr_t)module.start, 0, length);
    return length;
}

struct enabling {
    struct vmxc_percpu percpu;
    struct vmxc_percpu_obstacle obstacle;
    enum vmxc_status status;
};

static void enable_body(void *argument)
{
    struct enabling *const enabling = argument;

    enabling->status = vmxc_percpu_enable(&enabling->percpu, &vmxc_insn_native, heap_hal(), false,
                                          &enabling->obstacle);
}

/* VMX operation can be entered: CPUID first, then capabilities, feature control, fixed bits, VMXON. */
static bool check_vmx(void)
{
    struct enabling enabling = {.status = VMXC_UNSUPPORTED};

    if (trap_run(enable_body, &enabling) != 0) {
        console_print("payload: no VMX: exception %u\n", (unsigned)trap_caught.vector);
        return false;
    }
    if (enabling.status != VMXC_OK) {
        console_print("payload: no VMX: %s\n", vmxc_percpu_obstacle_text(enabling.obstacle.kind));
        return false;
    }
    return vmxc_percpu_disable(&enabling.percpu) == VMXC_OK;
}

void payload_main(uint32_t magic, uint32_t info)
{
    trap_init();
    console_init();
    watchdog_init();
    console_print("payload: started\n");
    const size_t length = find_batch(magic, info);
    heap_init(BATCH_ADDRESS + LARGEST_BATCH);
    if (!check_vmx())
        machine_end(0x31);
    if (length == 0) {
        console_print("payload: there is no batch\n");
        machine_end(4);
    }
    batch_run((const uint8_t *)(uintptr_t)BATCH_ADDRESS, length);
    console_print("payload: end\n");
    machine_end(0);
}
