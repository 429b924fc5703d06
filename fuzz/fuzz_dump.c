/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hostile files for the VMCS readers: JSON, a Linux kernel log, vmcs12, in every format and guessed. What is read goes
 * through the checks and the explanations; an error is one line, and says nothing of memory it does not own.
 *
 * Input: the file.
 */
#include "harness.h"

#include <stdlib.h>
#include <string.h>

#include "vmxsim/explain.h"
#include "vmxsim/vmcs_read.h"

static void explain(const struct vmxsim_vmcs_reading *reading)
{
    static struct vmxsim_entry_report report;
    const struct vmxsim_profile *profile =
        reading->profile ? reading->profile : vmxsim_profile_builtin("everything");
    const struct vmxsim_entry_input input = {.vmcs = &reading->vmcs,
                                             .known = reading->known,
                                             .profile = profile,
                                             .processor = &reading->processor,
                                             .memory = reading->memory};
    vmxsim_entry_check(&input, &report);
    char *const text = vmxsim_explain_entry(&input, &report);
    char *const json = vmxsim_explain_entry_json(&input, &report);
    REQUIRE(text != NULL && json != NULL, "no explanation");
    free(text);
    free(json);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    for (int format = 0; format < VMXSIM_VMCS_FORMAT_COUNT; format++) {
        struct vmxsim_vmcs_reading reading;
        struct vmxsim_error error = {.text = ""};
        const enum vmxc_status status = vmxsim_vmcs_read(
            data, size, (enum vmxsim_vmcs_format)format, "input", &reading, &error);
        if (status == VMXC_OK) {
            if (format != VMXSIM_VMCS_FORMAT_AUTO) /* what is guessed is one of the others */
                explain(&reading);
            vmxsim_vmcs_reading_free(&reading);
        } else {
            REQUIRE(error.text[0] != '\0' && strchr(error.text, '\n') == NULL,
                    "an error is one line: \"%s\"", error.text);
        }
    }
    return 0;
}
