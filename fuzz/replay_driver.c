/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A harness without a fuzzer: runs each file that is named, and each file of each directory that is named, once.
 * It also makes inputs of its own, so that a build without a fuzzer can look for something too.
 */
#include "harness.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "minimize.h"
#include "support/rng.h"
#include "vmxsim/fuzz_engine.h"

enum { MAX_SIZE = 1 << 20, RANDOM_SIZE = 512, CHAIN = 16 };

static const char usage[] =
    "usage: %s [--random N] [--seed S] FILE|DIRECTORY...\n"
    "       %s --minimize FILE\n"
    "       %s --alone DIRECTORY\n"
    "\n"
    "Runs inputs through the harness; a property that does not hold aborts and names itself.\n"
    "\n"
    "  --random N       also N inputs, random and changed by the harness's mutators\n"
    "  --seed S         of the random inputs (default 1)\n"
    "  --minimize FILE  an input that fails: makes it smaller, writes FILE.min, and runs that\n"
    "  --alone DIR      each file in a process of its own and after all others: the machine ends "
    "in\n"
    "                   the same state, or the exit status is 1\n"
    "  --help           this text\n"
    "\n"
    "exit status: 0 all is well, 2 wrong usage or files; a property that does not hold aborts\n";

static uint8_t bytes[MAX_SIZE];
static uint64_t ran;

/* False: it cannot be read, and the complaint is printed. */
static bool read_file(const char *path, size_t *size)
{
    FILE *const file = fopen(path, "rb");
    if (file == NULL) {
        perror(path);
        return false;
    }
    *size = fread(bytes, 1, sizeof bytes, file);
    const bool whole = ferror(file) == 0 && feof(file) != 0;
    (void)fclose(file);
    if (!whole) {
        (void)fprintf(stderr, "%s: cannot be read, or is larger than 1 MByte\n", path);
        return false;
    }
    return true;
}

static bool run_file(const char *path)
{
    size_t size;

    if (!read_file(path, &size))
        return false;
    harness_file = path;
    (void)LLVMFuzzerTestOneInput(bytes, size);
    harness_file = NULL;
    ran++;
    return true;
}

static bool run_directory(const char *path)
{
    struct dirent **entries;
    const int count = scandir(path, &entries, NULL, alphasort);
    bool fine = count >= 0;

    if (!fine)
        perror(path);
    for (int i = 0; i < count; i++) {
        char name[4096];
        if (entries[i]->d_name[0] != '.' && fine) {
            fine =
                snprintf(name, sizeof name, "%s/%s", path, entries[i]->d_name) < (int)sizeof name &&
                run_file(name);
        }
        free(entries[i]);
    }
    if (count >= 0)
        free(entries);
    return fine;
}

static bool run_path(const char *path)
{
    struct stat status;
    return stat(path, &status) == 0 && S_ISDIR(status.st_mode) ? run_directory(path)
                                                               : run_file(path);
}

static size_t random_bytes(struct rng *rng)
{
    const size_t size = rng_next(rng) % RANDOM_SIZE;

    for (size_t i = 0; i < size; i++)
        bytes[i] = (uint8_t)rng_next(rng);
    return size;
}

/* Random bytes; what the mutators make of them; what they make of that, and so on for a while. */
static void run_random(uint64_t count, uint64_t seed)
{
    struct rng rng = rng_seeded(seed);
    size_t size = 0;

    (void)printf("seed %" PRIu64 "\n", seed);
    for (uint64_t i = 0; i < count; i++) {
        size = i % CHAIN == 0
                   ? random_bytes(&rng)
                   : LLVMFuzzerCustomMutator(bytes, size, RANDOM_SIZE, (unsigned)rng_next(&rng));
        (void)LLVMFuzzerTestOneInput(bytes, size);
        ran++;
    }
}

static bool write_file(const char *path, size_t size)
{
    FILE *const file = fopen(path, "wb");
    const bool written = file != NULL && fwrite(bytes, 1, size, file) == size;

    if (file == NULL || fclose(file) != 0 || !written) {
        perror(path);
        return false;
    }
    return true;
}

/* Ends in the failure that is left, or with a complaint. */
static int minimize_file(const char *path)
{
    char name[4096];
    size_t size;

    if (!read_file(path, &size))
        return 2;
    if (!minimize(bytes, &size)) {
        (void)fprintf(stderr, "%s: does not fail\n", path);
        return 2;
    }
    if (snprintf(name, sizeof name, "%s.min", path) >= (int)sizeof name || !write_file(name, size))
        return 2;
    (void)fprintf(stderr, "%s\n", name);
    (void)LLVMFuzzerTestOneInput(bytes, size);
    return 2;
}

/* ---- Alone and after others ---- */

/* The state that a file ends in, in a process that has run nothing else. */
static bool digest_alone(const char *path, uint64_t *digest)
{
    int ends[2];

    (void)fflush(NULL);
    if (pipe(ends) != 0)
        return false;
    const pid_t child = fork();
    if (child == 0) {
        const bool fine = run_file(path);
        *digest = harness_digest();
        _exit(fine && write(ends[1], digest, sizeof *digest) == (ssize_t)sizeof *digest ? 0 : 2);
    }
    (void)close(ends[1]);
    const bool fine = child > 0 && read(ends[0], digest, sizeof *digest) == (ssize_t)sizeof *digest;
    (void)close(ends[0]);
    return child > 0 && waitpid(child, NULL, 0) == child && fine;
}

static bool ends_alike(const char *path, uint64_t alone)
{
    if (!run_file(path))
        return false;
    if (harness_digest() == alone)
        return true;
    (void)fprintf(stderr, "%s: ends in another state than alone\n", path);
    return false;
}

/* Every file alone first, while this process has run none; then all of them, 1000 random inputs, and all again. */
static int compare_alone(const char *folder)
{
    struct dirent **entries;
    const int count = scandir(folder, &entries, NULL, alphasort);
    uint64_t *const alone = calloc(count > 0 ? (size_t)count : 1, sizeof *alone);
    bool fine = count > 0 && alone != NULL && chdir(folder) == 0;

    for (int i = 0; i < count && fine; i++)
        fine = entries[i]->d_name[0] == '.' || digest_alone(entries[i]->d_name, &alone[i]);
    for (int round = 0; round < 2 && fine; round++) {
        for (int i = 0; i < count && fine; i++)
            fine = entries[i]->d_name[0] == '.' || ends_alike(entries[i]->d_name, alone[i]);
        run_random(1000, 1);
    }
    for (int i = 0; i < count; i++)
        free(entries[i]);
    if (count >= 0)
        free(entries);
    free(alone);
    (void)printf("%" PRIu64 " inputs\n", ran);
    return fine ? 0 : 1;
}

int main(int argc, char **argv)
{
    uint64_t count = 0, seed = 1;
    int at = 1;

    if (argc == 2 && strcmp(argv[1], "--help") == 0) {
        (void)printf(usage, argv[0], argv[0], argv[0]);
        return EXIT_SUCCESS;
    }
    if (argc == 3 && strcmp(argv[1], "--minimize") == 0)
        return minimize_file(argv[2]);
    if (argc == 3 && strcmp(argv[1], "--alone") == 0)
        return compare_alone(argv[2]);
    for (; at + 1 < argc && strncmp(argv[at], "--", 2) == 0; at += 2) {
        if (strcmp(argv[at], "--random") == 0) {
            count = strtoull(argv[at + 1], NULL, 0);
        } else if (strcmp(argv[at], "--seed") == 0) {
            seed = strtoull(argv[at + 1], NULL, 0);
        } else {
            break;
        }
    }
    if ((at == argc && count == 0) || (at < argc && argv[at][0] == '-')) {
        (void)fprintf(stderr, usage, argv[0], argv[0], argv[0]);
        return 2;
    }
    for (; at < argc; at++) {
        if (!run_path(argv[at]))
            return 2;
    }
    run_random(count, seed);
    (void)printf("%" PRIu64 " inputs\n", ran);
    return EXIT_SUCCESS;
}
