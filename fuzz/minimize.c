/* SPDX-License-Identifier: Apache-2.0 */
#include "minimize.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness.h"

/* Where an input fails; empty: it does not. */
struct failure {
    char place[256];
};

static int to_parent;

/* In the child: a property does not hold. */
static void tell(const char *file, int line)
{
    struct failure failure = {.place = ""};

    (void)snprintf(failure.place, sizeof failure.place, "%s:%d", file, line);
    _exit(write(to_parent, &failure, sizeof failure) == (ssize_t)sizeof failure ? 1 : 2);
}

static void run_in_child(const uint8_t *bytes, size_t size)
{
    if (freopen("/dev/null", "w", stdout) == NULL || freopen("/dev/null", "w", stderr) == NULL)
        _exit(2);
    harness_on_failure = tell;
    (void)LLVMFuzzerTestOneInput(bytes, size);
    _exit(0);
}

/* A crash is known by its signal, or by the exit status that a sanitizer gives it. */
static struct failure run(const uint8_t *bytes, size_t size)
{
    struct failure failure = {.place = ""};
    int ends[2], status = 0;

    (void)fflush(NULL);
    REQUIRE(pipe(ends) == 0, "no pipe");
    to_parent = ends[1];
    const pid_t child = fork();
    REQUIRE(child >= 0, "no process");
    if (child == 0)
        run_in_child(bytes, size);
    (void)close(ends[1]);
    const bool told = read(ends[0], &failure, sizeof failure) == (ssize_t)sizeof failure;
    (void)close(ends[0]);
    REQUIRE(waitpid(child, &status, 0) == child, "no child");
    if (!told && status != 0)
        (void)snprintf(failure.place, sizeof failure.place, "status %d", status);
    return failure;
}

static bool fails_alike(const uint8_t *bytes, size_t size, const struct failure *wanted)
{
    const struct failure failure = run(bytes, size);
    return strcmp(failure.place, wanted->place) == 0;
}

/* Leaves out parts of this length, from the end on: what comes later matters less to what is before it. */
static bool cut(uint8_t *bytes, size_t *size, size_t length, const struct failure *wanted)
{
    uint8_t *const attempt = malloc(*size + 1);
    bool smaller = false;

    REQUIRE(attempt != NULL, "no memory");
    for (size_t at = *size; at >= length;) {
        at -= length;
        memcpy(attempt, bytes, at);
        memcpy(attempt + at, bytes + at + length, *size - at - length);
        if (fails_alike(attempt, *size - length, wanted)) {
            memcpy(bytes, attempt, *size - length);
            *size -= length;
            smaller = true;
        }
        if (at > *size)
            at = *size;
    }
    free(attempt);
    return smaller;
}

static void clear(uint8_t *bytes, size_t size, const struct failure *wanted)
{
    for (size_t i = 0; i < size; i++) {
        const uint8_t old = bytes[i];
        bytes[i] = 0;
        if (old != 0 && !fails_alike(bytes, size, wanted))
            bytes[i] = old;
    }
}

bool minimize(uint8_t *bytes, size_t *size)
{
    const struct failure wanted = run(bytes, *size);

    if (wanted.place[0] == '\0')
        return false;
    for (size_t length = *size > 1 ? *size / 2 : 1; length > 0; length /= 2) {
        while (cut(bytes, size, length, &wanted)) {
        }
    }
    clear(bytes, *size, &wanted);
    (void)fprintf(stderr, "fails at %s; %zu bytes are left\n", wanted.place, *size);
    return true;
}
