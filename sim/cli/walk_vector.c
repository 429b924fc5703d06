/* SPDX-License-Identifier: Apache-2.0 */
#include "walk.h"

#include "vmxsim/replay.h"

#include <inttypes.h>

struct shown_case {
    const struct walk_request *request;
    struct walk_output output;
};

static void show(void *context, size_t index, const struct vmxsim_access *access,
                 const struct vmxsim_outcome *outcome, const struct vmxsim_trail *trail)
{
    struct shown_case *const shown = context;
    const struct walk_value *const only = &shown->request->access_index;
    if (!only->given || only->value == index)
        walk_output_add(&shown->output, index, access, outcome, trail);
}

enum cli_status walk_vector(const struct walk_request *request)
{
    struct shown_case shown = {.request = request};
    struct vmxsim_error error;

    walk_output_begin(&shown.output, request->json);
    const enum vmxc_status status =
        vmxsim_replay_trace(request->vector, request->case_id, show, &shown, &error);
    if (status != VMXC_OK) {
        json_decref(shown.output.accesses);
        return cli_complain("%s", error.text);
    }
    if (shown.output.shown == 0) {
        json_decref(shown.output.accesses);
        return cli_complain("%s: access %" PRIu64 " of case \"%s\" does not exist or did not run",
                            request->vector, request->access_index.value, request->case_id);
    }
    return walk_output_end(&shown.output);
}
