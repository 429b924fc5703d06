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

#include "support/rng.h"
#include "vmxsim/fuzz_engine.h"

enum { MAX_SIZE = 1 << 20, RANDOM_SIZE = 512, CHAIN = 16 };

static const char usage[] =
    "usage: %s [--random N] [--seed S] FILE|DIRECTORY...\n"
    "\n"
    "Runs inputs through the harness; a property that does not hold aborts and names itself.\n"
    "\n"
    "  --random N  also N inputs, random and changed by the harness's mutators\n"
    "  --seed S    of the random inputs (default 1)\n";

static uint8_t bytes[MAX_SIZE];
static uint64_t ran;

static bool run_file(const char *path)
{
    FILE *const file = fopen(path, "rb");
    if (file == NULL) {
        perror(path);
        return false;
    }
    const size_t size = fread(bytes, 1, sizeof bytes, file);
    const bool whole = ferror(file) == 0 && feof(file) != 0;
    (void)fclose(file);
    if (!whole) {
        (void)fprintf(stderr, "%s: cannot be read, or is larger than 1 MByte\n", path);
        return false;
    }
    (void)LLVMFuzzerTestOneInput(bytes, size);
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

int main(int argc, char **argv)
{
    uint64_t count = 0, seed = 1;
    int at = 1;

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
        (void)fprintf(stderr, usage, argv[0]);
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
