/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hostile files for the vector reader and the replay behind it: each case agrees, differs or needs what the model does not
 * have; an error is one line. What the model answers, recorded, is what it agrees with.
 *
 * Input: the file.
 */
#define _GNU_SOURCE /* memfd_create */
#include "harness.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

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

/* ---- Recordings ---- */

/* The input as a file: recording reads one. Returns its path. */
static const char *as_file(const uint8_t *data, size_t size)
{
    static int file = -1;
    static char path[32];

    if (file < 0)
        file = memfd_create("fuzz", MFD_CLOEXEC);
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", file);
    REQUIRE(file >= 0 && ftruncate(file, 0) == 0 && pwrite(file, data, size, 0) == (ssize_t)size,
            "no file");
    return path;
}

static void compare_counts(const struct vmxsim_replay_summary *recorded,
                           const struct vmxsim_replay_summary *replayed)
{
    for (int kind = 0; kind < VMXSIM_CASE_KIND_COUNT; kind++) {
        const struct vmxsim_replay_counts *const wanted = &recorded->kind[kind];
        const struct vmxsim_replay_counts *const got = &replayed->kind[kind];
        REQUIRE(got->cases == wanted->cases && got->agree == wanted->agree,
                "%s: %" PRIu64 " of %" PRIu64 " cases have an answer, it agrees with %" PRIu64
                " of %" PRIu64,
                vmxsim_case_kind_name((enum vmxsim_case_kind)kind), wanted->agree, wanted->cases,
                got->agree, got->cases);
    }
}

static void check_recording(const uint8_t *data, size_t size)
{
    struct vmxsim_replay_summary recorded = {0}, replayed = {0};
    struct vmxsim_error error = {.text = ""};
    char *text = NULL;
    size_t length = 0;
    FILE *const stream = open_memstream(&text, &length);

    REQUIRE(stream != NULL, "no memory");
    REQUIRE(vmxsim_replay_record(as_file(data, size), stream, &recorded, &error) == VMXC_OK,
            "what can be replayed cannot be recorded: %s", error.text);
    REQUIRE(fclose(stream) == 0, "no memory");
    REQUIRE(vmxsim_replay_bytes(text, length, "/recording", look_at, NULL, &replayed, &error) ==
                VMXC_OK,
            "a recording is refused: %s", error.text);
    compare_counts(&recorded, &replayed);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct vmxsim_replay_summary summary = {0};
    struct vmxsim_error error = {.text = ""};
    bool accepted = false;

    if (vmxsim_replay_bytes(data, size, "/input", look_at, NULL, &summary, &error) == VMXC_OK)
        accepted = cases(&summary) > 0;
    else
        REQUIRE(error.text[0] != '\0' && strchr(error.text, '\n') == NULL,
                "an error is one line: \"%s\"", error.text);
    if (accepted)
        check_recording(data, size);
    return 0;
}
