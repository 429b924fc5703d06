/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The example hypervisor (examples/hypervisor.c, as it is) with the processor's own instructions, and a guest that the
 * processor executes.
 */
#include "payload.h"

#include "hypervisor_guest.h"
#include "vmxcore/insn_native.h"
#include "vmxcore/status.h"

static enum vmxc_status run(struct hypervisor *hv)
{
    VMXC_TRY(hypervisor_guest_load(&hv->space));
    VMXC_TRY(hypervisor_run(hv));
    const char *const wrong = hypervisor_guest_check(&hv->space);
    if (wrong != NULL) {
        console_print("example: not as told: %s\n", wrong);
        return VMXC_BAD_STATE;
    }
    return hypervisor_stop(hv);
}

void example_run(void)
{
    struct hypervisor hv = {.ops = &vmxc_insn_native, .hal = heap_hal(), .log = console_print};

    vmx_leave();
    console_print("\n");
    enum vmxc_status status = hypervisor_start(&hv, HYPERVISOR_GUEST_SIZE, &hypervisor_guest_start);
    if (status == VMXC_OK)
        status = run(&hv);
    console_print("example: %s", vmxc_status_text(status));
}
