/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Everything of libvmxsim that takes host memory, with the n-th request failing, for every n until none is left to
 * fail: the operation says that there is no memory, gives back all it took, leaves the machine as it was, and works
 * when it is tried again.
 *
 * The program is linked with --wrap, so that malloc and its kin arrive here; jansson is told through its own hook.
 */
#define _GNU_SOURCE /* mkstemps */
#include "support/machine.h"
#include "support/require.h"
#include "support/suite.h"
#include "vmxcore/status.h"
#include "vmxsim/explain.h"
#include "vmxsim/hazard.h"
#include "vmxsim/insn.h"
#include "vmxsim/replay.h"
#include "vmxsim/snapshot.h"
#include "vmxsim/vmcs_read.h"

#include <check.h>
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* ---- Requests for host memory ---- */

static size_t requests; /* since the last arming */
static size_t failing;  /* the number of the request that fails, from 1; 0: none */
static size_t blocks;   /* in use */

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_aligned_alloc(size_t alignment, size_t size);
void *__real_realloc(void *block, size_t size);
char *__real_strdup(const char *text);
void __real_free(void *block);
void *__real_mmap(void *at, size_t length, int protection, int flags, int file, off_t offset);
int __real_munmap(void *at, size_t length);
ssize_t __real_getline(char **line, size_t *capacity, FILE *stream);

void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);
void *__wrap_realloc(void *block, size_t size);
char *__wrap_strdup(const char *text);
void __wrap_free(void *block);
void *__wrap_mmap(void *at, size_t length, int protection, int flags, int file, off_t offset);
int __wrap_munmap(void *at, size_t length);
ssize_t __wrap_getline(char **line, size_t *capacity, FILE *stream);

static bool fails(void)
{
    return ++requests == failing;
}

/* jansson's requests, which count only where they are what is tested. */
static bool jansson_fails;

static void *jansson_malloc(size_t size);

static void *counted(void *block)
{
    blocks += block != NULL;
    return block;
}

void *__wrap_malloc(size_t size)
{
    return fails() ? NULL : counted(__real_malloc(size));
}

void *__wrap_calloc(size_t count, size_t size)
{
    return fails() ? NULL : counted(__real_calloc(count, size));
}

void *__wrap_aligned_alloc(size_t alignment, size_t size)
{
    return fails() ? NULL : counted(__real_aligned_alloc(alignment, size));
}

void *__wrap_realloc(void *block, size_t size)
{
    if (fails())
        return NULL;
    return block != NULL ? __real_realloc(block, size) : counted(__real_realloc(NULL, size));
}

char *__wrap_strdup(const char *text)
{
    return fails() ? NULL : counted(__real_strdup(text));
}

void __wrap_free(void *block)
{
    blocks -= block != NULL;
    __real_free(block);
}

void *__wrap_mmap(void *at, size_t length, int protection, int flags, int file, off_t offset)
{
    if (fails()) {
        errno = ENOMEM;
        return MAP_FAILED;
    }
    void *const mapped = __real_mmap(at, length, protection, flags, file, offset);
    blocks += mapped != MAP_FAILED && !(flags & MAP_FIXED);
    return mapped;
}

int __wrap_munmap(void *at, size_t length)
{
    blocks--;
    return __real_munmap(at, length);
}

ssize_t __wrap_getline(char **line, size_t *capacity, FILE *stream)
{
    const bool makes = *line == NULL;
    if (makes && fails()) {
        errno = ENOMEM;
        return -1;
    }
    const ssize_t length = __real_getline(line, capacity, stream);
    if (makes)
        (void)counted(*line);
    return length;
}

static void *jansson_malloc(size_t size)
{
    return jansson_fails ? __wrap_malloc(size) : counted(__real_malloc(size));
}

static void arm(size_t number)
{
    requests = 0;
    failing = number;
}

/* ---- One operation, and what must be true of it ---- */

/* Does its work on what `set_up` has made, checks a result, gives back what it made. VMXC_NO_MEMORY: nothing was done. */
typedef enum vmxc_status operation(void);

static struct machine machine;
static char *profile_text;

static void set_up(void)
{
    arm(0);
    json_set_alloc_funcs(jansson_malloc, __wrap_free);
    machine_init(&machine, &(struct profile_changes){.maxphyaddr = 0});
    for (uint64_t hpa = 0; hpa < 64 * VMXC_PAGE_SIZE; hpa += VMXC_PAGE_SIZE)
        machine_write(&machine, hpa, ~hpa);
    profile_text = vmxsim_profile_to_json(machine.profile);
    ck_assert_ptr_nonnull(profile_text);
}

static void tear_down(void)
{
    arm(0);
    free(profile_text);
    machine_fini(&machine);
}

/*
 * Fails the requests of the operation, every `stride`-th, until a try ends without a failure. The number of refusals.
 * Where jansson's requests fail while it reads, any status is right: it calls a token for which it lacks memory
 * invalid, or leaves out characters and goes on (CAVEATS.md), and nothing tells the two from a bad text.
 */
static size_t fail_each(operation *operate, size_t stride, const char *name)
{
    const struct vmxsim_digest before = vmxsim_memory_digest(machine.memory);
    size_t refusals = 0;

    require_uint(operate(), ==, VMXC_OK); /* what is made once and kept exists now */
    const size_t kept = blocks;
    for (size_t number = 1;; number += stride) {
        arm(number);
        const enum vmxc_status status = operate();
        const bool failed = requests >= number;
        arm(0);
        const struct vmxsim_digest after = vmxsim_memory_digest(machine.memory);
        require(blocks == kept, "%s, request %zu: %zu blocks instead of %zu", name, number, blocks,
                kept);
        require(memcmp(&before, &after, sizeof before) == 0, "%s, request %zu: memory changed",
                name, number);
        if (!failed) {
            require_uint(status, ==, VMXC_OK);
            return refusals;
        }
        require(jansson_fails || status == VMXC_NO_MEMORY, "%s, request %zu: %s", name, number,
                vmxc_status_name(status));
        refusals += status != VMXC_OK;
    }
}

/* ---- Operations ---- */

static enum vmxc_status make_memory(void)
{
    const struct vmxsim_range ram[] = {{0, 1 << 20}, {1 << 30, 1 << 20}};
    const struct vmxsim_memory_config config = {.ram = ram, .ram_count = 2};
    struct vmxsim_memory *created;

    VMXC_TRY(vmxsim_memory_create(&config, &created, NULL));
    require_uint(vmxsim_memory_read64(created, 0), ==, 0);
    vmxsim_memory_destroy(created);
    return VMXC_OK;
}

static enum vmxc_status make_processor(void)
{
    struct vmxsim_cpu *created;

    VMXC_TRY(vmxsim_cpu_create(machine.memory, machine.profile, &created));
    vmxsim_cpu_destroy(created);
    return VMXC_OK;
}

static enum vmxc_status read_profile(void)
{
    struct vmxsim_profile *profile;

    VMXC_TRY(vmxsim_profile_from_json(profile_text, strlen(profile_text), "copy", &profile, NULL));
    require_that(strcmp(vmxsim_profile_name(profile), "copy") == 0);
    vmxsim_profile_destroy(profile);
    return VMXC_OK;
}

static enum vmxc_status write_profile(void)
{
    char *const text = vmxsim_profile_to_json(machine.profile);

    if (text == NULL)
        return VMXC_NO_MEMORY;
    require_that(strcmp(text, profile_text) == 0);
    free(text);
    return VMXC_OK;
}

static enum vmxc_status read_vmcs(const char *path)
{
    struct vmxsim_vmcs_reading reading;

    VMXC_TRY(vmxsim_vmcs_read_file(path, VMXSIM_VMCS_FORMAT_AUTO, &reading, NULL));
    require_uint(reading.known_count, >, 50);
    vmxsim_vmcs_reading_free(&reading);
    return VMXC_OK;
}

static enum vmxc_status read_vmcs_json(void)
{
    return read_vmcs(VMXSIM_SOURCE_DIR "/tests/data/check/three-mistakes.json");
}

static enum vmxc_status read_vmcs_linux(void)
{
    return read_vmcs(VMXSIM_SOURCE_DIR "/tests/data/check/linux-6.log");
}

/* What is registered, written and restored between taking and dropping. */
static enum vmxc_status use_snapshot(void)
{
    uint64_t pages = 0, handle = 1;
    enum vmxc_status status = vmxsim_snapshot_register(machine.memory, &handle, sizeof handle);

    if (status != VMXC_OK)
        return status;
    status = vmxsim_snapshot_take(machine.memory);
    if (status == VMXC_OK) {
        machine_write(&machine, 0x3000, 7);
        handle = 2;
        /* A restore may need memory; what it cannot do now it can do later. */
        status = vmxsim_snapshot_restore(machine.memory, &pages);
        if (status != VMXC_OK) {
            arm(0);
            require_uint(vmxsim_snapshot_restore(machine.memory, &pages), ==, VMXC_OK);
        }
        require_uint(handle, ==, 1);
        require_uint(pages, ==, 1);
    }
    vmxsim_snapshot_drop(machine.memory);
    vmxsim_snapshot_unregister(machine.memory, &handle);
    return status;
}

static enum vmxc_status clone_machine(void)
{
    struct vmxsim_memory *clone;
    struct vmxsim_cpu *cpu = NULL;

    VMXC_TRY(vmxsim_memory_clone(machine.memory, &clone, NULL));
    const enum vmxc_status status = vmxsim_cpu_clone(machine.cpu, clone, &cpu);
    require_uint(vmxsim_memory_read64(clone, 0x5000), ==, ~UINT64_C(0x5000));
    if (status == VMXC_OK)
        vmxsim_cpu_destroy(cpu);
    vmxsim_memory_destroy(clone);
    return status;
}

/* ---- Replay: the first cases of the recordings ---- */

#define CASES 3

static FILE *open_cases(const char *recording, char *path, size_t size)
{
    char *line = NULL;
    size_t capacity = 0;

    (void)snprintf(path, size, "/tmp/host-memory-XXXXXX.jsonl");
    FILE *const from = fopen(recording, "r");
    const int descriptor = mkstemps(path, 6);
    FILE *const to = descriptor < 0 ? NULL : fdopen(descriptor, "w");
    ck_assert(from != NULL && to != NULL);
    for (size_t i = 0; i <= CASES; i++) {
        ck_assert_int_gt(__real_getline(&line, &capacity, from), 0);
        ck_assert_int_ge(fputs(line, to), 0);
    }
    __real_free(line);
    (void)fclose(from);
    return to;
}

static char path[64];
static char *recorded; /* what an undisturbed recording holds; NULL until there was one */

static void set_up_replay(const char *recording)
{
    (void)fclose(open_cases(recording, path, sizeof path));
    recorded = NULL;
}

static void tear_down_replay(void)
{
    __real_free(recorded);
    (void)remove(path);
}

static enum vmxc_status replay(void)
{
    struct vmxsim_replay_summary summary = {0};
    uint64_t agree = 0;

    VMXC_TRY(vmxsim_replay_file(path, NULL, NULL, &summary, NULL));
    for (size_t kind = 0; kind < VMXSIM_CASE_KIND_COUNT; kind++)
        agree += summary.kind[kind].agree;
    require_that(jansson_fails || agree == CASES);
    return VMXC_OK;
}

static enum vmxc_status record(void)
{
    struct vmxsim_replay_summary summary = {0};
    char *text = NULL;
    size_t length;
    FILE *const stream = open_memstream(&text, &length);

    require_that(stream != NULL);
    const enum vmxc_status status = vmxsim_replay_record(path, stream, &summary, NULL);
    (void)fclose(stream);
    if (recorded == NULL) {
        recorded = text;
        return status;
    }
    if (status == VMXC_OK && !jansson_fails)
        require(strcmp(recorded, text) == 0, "the recording differs: %s", text);
    __real_free(text);
    return status;
}

/* ---- Suites ---- */

static const struct {
    const char *name;
    operation *operate;
    size_t refusals_min; /* fewer would mean that the requests do not pass through this program */
    bool reads_json;
} operations[] = {
    {"memory", make_memory, 3, false},
    {"processor", make_processor, 1, false},
    {"profile from JSON", read_profile, 3, true},
    {"profile to JSON", write_profile, 1, false},
    {"VMCS from JSON", read_vmcs_json, 3, true},
    {"VMCS from a kernel log", read_vmcs_linux, 2, false},
    {"snapshot", use_snapshot, 2, false},
    {"clone", clone_machine, 3, false},
};

START_TEST(each_operation_says_that_there_is_no_memory)
{
    const size_t refusals = fail_each(operations[_i].operate, 1, operations[_i].name);

    printf("%s: %zu requests failed\n", operations[_i].name, refusals);
    ck_assert_uint_ge(refusals, operations[_i].refusals_min);
}
END_TEST

START_TEST(each_operation_survives_failures_of_jansson)
{
    jansson_fails = true;
    if (operations[_i].reads_json)
        ck_assert_uint_ge(fail_each(operations[_i].operate, 1, operations[_i].name), 100);
    jansson_fails = false;
}
END_TEST

/* Writing, on the other hand, is ours: a text is whole, or there is none. */
START_TEST(a_profile_is_written_whole_or_not_at_all)
{
    jansson_fails = true;
    for (size_t number = 1; number < 2000; number++) {
        arm(number);
        char *const text = vmxsim_profile_to_json(machine.profile);
        arm(0);
        require(text == NULL || strcmp(text, profile_text) == 0, "request %zu: %s", number, text);
        free(text);
    }
    jansson_fails = false;
}
END_TEST

static const char *const recordings[] = {
    VMXSIM_SOURCE_DIR "/tests/vectors/access-icelake.jsonl",
    VMXSIM_SOURCE_DIR "/tests/vectors/entry-icelake.jsonl",
    VMXSIM_SOURCE_DIR "/tests/vectors/instructions-icelake.jsonl",
    VMXSIM_SOURCE_DIR "/tests/vectors/intercept-icelake.jsonl",
};

START_TEST(replay_says_that_there_is_no_memory)
{
    set_up_replay(recordings[_i]);
    const size_t replayed = fail_each(replay, 1, recordings[_i]);
    const size_t written = fail_each(record, 1, recordings[_i]);
    printf("%s: %zu and %zu requests failed\n", recordings[_i], replayed, written);
    ck_assert_uint_ge(replayed, 10);
    ck_assert_uint_ge(written, 10);
    tear_down_replay();
}
END_TEST

/* A header alone takes jansson thousands of requests: a sample of them. */
START_TEST(replay_survives_failures_of_jansson)
{
    set_up_replay(recordings[_i]);
    jansson_fails = true;
    ck_assert_uint_ge(fail_each(replay, 37, recordings[_i]), 20);
    ck_assert_uint_ge(fail_each(record, 41, recordings[_i]), 20);
    jansson_fails = false;
    tear_down_replay();
}
END_TEST

int main(void)
{
    const int operation_count = sizeof operations / sizeof *operations;
    const int recording_count = sizeof recordings / sizeof *recordings;
    Suite *const suite = suite_create("host_memory");
    TCase *const single = suite_case(suite, "operations", set_up, tear_down);
    TCase *const files = suite_case(suite, "replay", set_up, tear_down);

    tcase_add_loop_test(single, each_operation_says_that_there_is_no_memory, 0, operation_count);
    tcase_add_loop_test(single, each_operation_survives_failures_of_jansson, 0, operation_count);
    tcase_add_test(single, a_profile_is_written_whole_or_not_at_all);
    tcase_add_loop_test(files, replay_says_that_there_is_no_memory, 0, recording_count);
    tcase_add_loop_test(files, replay_survives_failures_of_jansson, 0, recording_count);
    return run_suite(suite);
}
