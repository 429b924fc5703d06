/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hostile files for the vector reader and the replay behind it: each case agrees, differs or needs what the model does not
 * have; an error is one line.
 *
 * Input: the file.
 */
#include "harness.h"

#include <string.h>

#include "vmxsim/replay.h"

static void look_at(void *context, const struct vmxsim_case_result *result)
{
    (void)context;
    REQUIRE(result->id != NULL && result->line > 1, "a case is somewhere");
    REQUIRE((result->verdict == VMXSIM_CASE_AGREES) == (result->reason[0] == '\0'),
            "%s: a reason if it does not agree: \"%s\"", result->id, result->reason);
}

static uint64_t cases(const struct vmxsim_replay_summary *summary)
{
    uint64_t count = 0;
    for (int kind = 0; kind < VMXSIM_CASE_KIND_COUNT; kind++) {
        const struct vmxsim_replay_counts *counts = &summary->kind[kind];
        REQUIRE(counts->cases == counts->agree + counts->differ + counts->unsupported,
                "every case has a verdict");
        count += counts->cases;
    }
    return count;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct vmxsim_replay_summary summary = {0};
    struct vmxsim_error error = {.text = ""};

    if (vmxsim_replay_bytes(data, size, "/input", look_at, NULL, &summary, &error) == VMXC_OK)
        (void)cases(&summary);
    else
        REQUIRE(error.text[0] != '\0' && strchr(error.text, '\n') == NULL,
                "an error is one line: \"%s\"", error.text);
    return 0;
}
