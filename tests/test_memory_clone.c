/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Clones: whole memories compared byte by byte with plain arrays, however they came about, and what they cost the host. A page
 * that a clone wrongly shares, or wrongly leaves out, differs from the array sooner or later.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "support/require.h"
#include "support/rng.h"
#include "support/suite.h"
#include "vmxsim/snapshot.h"

#define SEED UINT64_C(0x636c6f6e)
#define MB   (UINT64_C(1) << 20)
#define GB   (UINT64_C(1) << 30)
#define HIGH (UINT64_C(1) << 40)
#define PAGE VMXC_PAGE_SIZE

enum { MACHINES = 5, OPERATIONS = 150 };

/* A memory of two ranges, and what it should hold. */
struct machine {
    struct vmxsim_memory *memory; /* NULL: there is none at this place */
    uint8_t *ram, *ram_at_snapshot;
    void *handed_out; /* the whole second page; NULL: it is not */
};

#define RANGE (1 * MB)
#define RAM   (2 * RANGE)

static uint64_t hpa_of(uint64_t offset)
{
    return offset < RANGE ? offset : HIGH + (offset - RANGE);
}

static struct vmxsim_memory *new_memory(uint64_t length)
{
    const struct vmxsim_range ram[] = {{0, length}, {HIGH, length}};
    const struct vmxsim_memory_config config = {.ram = ram, .ram_count = 2, .no_poison = true};
    struct vmxsim_memory *created;

    require_that(vmxsim_memory_create(&config, &created, NULL) == VMXC_OK);
    return created;
}

static struct vmxsim_memory *clone_of(struct vmxsim_memory *memory)
{
    struct vmxsim_memory *created;

    ck_assert_int_eq(vmxsim_memory_clone(memory, &created, NULL), VMXC_OK);
    return created;
}

/* ---- Machines that do anything ---- */

static struct machine new_machine(struct vmxsim_memory *memory, const uint8_t *ram)
{
    struct machine machine = {
        .memory = memory, .ram = calloc(1, RAM), .ram_at_snapshot = calloc(1, RAM)};

    require_that(machine.ram != NULL && machine.ram_at_snapshot != NULL);
    if (ram != NULL)
        memcpy(machine.ram, ram, RAM);
    return machine;
}

static void destroy(struct machine *machine)
{
    vmxsim_memory_destroy(machine->memory);
    free(machine->ram);
    free(machine->ram_at_snapshot);
    *machine = (struct machine){.memory = NULL};
}

static void check(struct machine *machine)
{
    static uint8_t found[RAM];

    vmxsim_memory_read(machine->memory, 0, found, RANGE);
    vmxsim_memory_read(machine->memory, HIGH, found + RANGE, RANGE);
    for (uint64_t i = 0; i < RAM; i++)
        require(found[i] == machine->ram[i], "offset 0x%llx: 0x%x, should be 0x%x",
                (unsigned long long)i, found[i], machine->ram[i]);
}

static void write_somewhere(struct machine *machine, struct rng *rng)
{
    const uint64_t length = 1 + rng_below(rng, rng_chance(rng, 10) ? 64 * PAGE : 300);
    const uint64_t start = rng_below(rng, RANGE - length) + (rng_chance(rng, 50) ? RANGE : 0);

    memset(machine->ram + start, (int)rng_next(rng), length);
    vmxsim_memory_write(machine->memory, hpa_of(start), machine->ram + start, length);
}

static void hand_out_or_back(struct machine *machine)
{
    if (machine->handed_out == NULL) {
        ck_assert_int_eq(vmxsim_memory_hand_out(machine->memory, PAGE, PAGE, &machine->handed_out),
                         VMXC_OK);
        return;
    }
    ck_assert_int_eq(vmxsim_memory_hand_back(machine->memory, PAGE, PAGE), VMXC_OK);
    machine->handed_out = NULL;
}

/* Nobody is told. */
static void write_silently(struct machine *machine, struct rng *rng)
{
    if (machine->handed_out == NULL)
        return;
    const uint64_t at = rng_below(rng, PAGE);
    machine->ram[PAGE + at] = (uint8_t)rng_next(rng);
    ((uint8_t *)machine->handed_out)[at] = machine->ram[PAGE + at];
}

static void use_snapshot(struct machine *machine, struct rng *rng)
{
    if (!vmxsim_snapshot_exists(machine->memory)) {
        ck_assert_int_eq(vmxsim_snapshot_take(machine->memory), VMXC_OK);
        memcpy(machine->ram_at_snapshot, machine->ram, RAM);
    } else if (rng_chance(rng, 30)) {
        vmxsim_snapshot_drop(machine->memory);
    } else {
        ck_assert_int_eq(vmxsim_snapshot_restore(machine->memory, NULL), VMXC_OK);
        memcpy(machine->ram, machine->ram_at_snapshot, RAM);
    }
}

static void replace_by_clone(struct machine *machine, struct machine *of)
{
    if (machine == of)
        return;
    struct vmxsim_memory *const clone = clone_of(of->memory);
    if (machine->memory != NULL)
        destroy(machine);
    *machine = new_machine(clone, of->ram);
    const struct vmxsim_digest one = vmxsim_memory_digest(of->memory),
                               other = vmxsim_memory_digest(clone);
    ck_assert(one.low == other.low && one.high == other.high);
}

static void operate(struct machine *machines, struct rng *rng)
{
    struct machine *const machine = &machines[rng_below(rng, MACHINES)];
    if (machine->memory == NULL)
        return;
    switch (rng_below(rng, 12)) {
    case 0:
        hand_out_or_back(machine);
        break;
    case 1:
    case 2:
        use_snapshot(machine, rng);
        break;
    case 3:
    case 4:
        replace_by_clone(&machines[rng_below(rng, MACHINES)], machine);
        break;
    case 5:
        if (rng_chance(rng, 20)) {
            vmxsim_memory_reset(machine->memory);
            memset(machine->ram, 0, RAM);
        }
        break;
    case 6:
        write_silently(machine, rng);
        break;
    default:
        write_somewhere(machine, rng);
    }
}

START_TEST(memories_hold_what_was_written_to_them)
{
    struct machine machines[MACHINES] = {{.memory = NULL}};
    struct rng rng = rng_for_sequence(SEED, (uint64_t)_i);

    machines[0] = new_machine(new_memory(RANGE), NULL);
    for (unsigned i = 0; i < OPERATIONS; i++)
        operate(machines, &rng);
    for (unsigned i = 0; i < MACHINES; i++) {
        if (machines[i].memory != NULL) {
            check(&machines[i]);
            destroy(&machines[i]);
        }
    }
}
END_TEST

/* ---- What clones cost ---- */

/* Anonymous memory of this process, in bytes; false: the host does not say. */
static bool anonymous_memory(uint64_t *bytes)
{
    FILE *const file = fopen("/proc/self/status", "r");
    unsigned long long kilobytes;
    char line[200];
    bool found = false;

    while (file != NULL && !found && fgets(line, sizeof(line), file) != NULL)
        found = sscanf(line, "RssAnon: %llu", &kilobytes) == 1;
    if (file != NULL)
        (void)fclose(file);
    *bytes = found ? kilobytes << 10 : 0;
    return found;
}

static void populate(struct vmxsim_memory *memory, uint64_t length)
{
    for (uint64_t hpa = 0; hpa < length; hpa += PAGE)
        vmxsim_memory_write64(memory, hpa, hpa + 1);
}

/* Reads every page of it, which takes memory only where something is copied. */
static void expect_populated(struct vmxsim_memory *memory, uint64_t length)
{
    for (uint64_t hpa = 0; hpa < length; hpa += PAGE)
        require_uint(vmxsim_memory_read64(memory, hpa), ==, hpa + 1);
}

START_TEST(pages_that_nobody_writes_are_there_once)
{
    const uint64_t length = 64 * MB, slack = 8 * MB;
    struct vmxsim_memory *const memory = new_memory(length);
    struct vmxsim_memory *clone[4];
    uint64_t before, after;

    populate(memory, length);
    const bool known = anonymous_memory(&before);
    for (unsigned i = 0; i < 4; i++) {
        clone[i] = clone_of(i == 3 ? clone[2] : memory);
        expect_populated(clone[i], length);
        const struct vmxsim_memory_footprint footprint = vmxsim_memory_footprint(clone[i]);
        ck_assert_uint_eq(footprint.own, 0);
        ck_assert_uint_ge(footprint.shared, length);
    }
    ck_assert_uint_eq(vmxsim_memory_footprint(memory).own, 0);
    (void)anonymous_memory(&after);
    ck_assert_msg(!known || after <= before + slack, "%llu KiB more",
                  (unsigned long long)(after - before) >> 10);
    /* The owner's pages are in the file too: what was anonymous is given back. */
    ck_assert_msg(!known || before - after >= length - slack, "%llu KiB less",
                  (unsigned long long)(before - after) >> 10);

    for (uint64_t hpa = 0; hpa < 8 * PAGE; hpa += PAGE)
        vmxsim_memory_write64(clone[0], hpa, 0);
    ck_assert_uint_eq(vmxsim_memory_footprint(clone[0]).own, 8 * PAGE);
    expect_populated(memory, length);
    vmxsim_memory_destroy(memory);
    expect_populated(clone[1], length);
    expect_populated(clone[3], length);
    for (unsigned i = 0; i < 4; i++)
        vmxsim_memory_destroy(clone[i]);
}
END_TEST

START_TEST(a_clone_that_is_reset_takes_no_memory)
{
    const uint64_t length = 64 * MB;
    struct vmxsim_memory *const memory = new_memory(length);

    populate(memory, length);
    struct vmxsim_memory *const clone = clone_of(memory);
    uint64_t before, after;
    const bool known = anonymous_memory(&before);
    vmxsim_memory_reset(clone);
    (void)anonymous_memory(&after);
    ck_assert(!known || after <= before + 8 * MB);
    ck_assert_uint_eq(vmxsim_memory_footprint(clone).shared, 0);
    for (uint64_t hpa = 0; hpa < length; hpa += PAGE)
        require_uint(vmxsim_memory_read64(clone, hpa), ==, 0);
    expect_populated(memory, length);
    vmxsim_memory_destroy(clone);
    vmxsim_memory_destroy(memory);
}
END_TEST

/* Copies that clones take are charged to the owner: at some point it is cheaper to freeze again. */
START_TEST(an_owner_that_goes_on_writing_is_frozen_again)
{
    const uint64_t length = 1 * MB, pages = length / PAGE;
    struct vmxsim_memory *const memory = new_memory(length);
    struct vmxsim_memory *clone;
    uint64_t most = 0, least = UINT64_MAX;

    populate(memory, length);
    vmxsim_memory_destroy(clone_of(memory));
    for (uint64_t hpa = 0; hpa < length / 4; hpa += PAGE)
        vmxsim_memory_write64(memory, hpa, hpa + 1);
    for (unsigned i = 0; i < 8; i++) {
        clone = clone_of(memory);
        expect_populated(clone, length);
        const uint64_t own = vmxsim_memory_footprint(clone).own / PAGE;
        most = own > most ? own : most;
        least = own < least ? own : least;
        vmxsim_memory_destroy(clone);
    }
    ck_assert_uint_eq(most, pages / 4);
    ck_assert_uint_eq(least, 0);
    vmxsim_memory_destroy(memory);
}
END_TEST

/* Far more runs of pages than the host would map one by one. */
START_TEST(pages_may_lie_anywhere)
{
    const uint64_t length = 64 * GB, steps = 20000;
    struct vmxsim_memory *const memory = new_memory(length);
    struct rng rng = rng_for_sequence(SEED, 1), again = rng;

    for (uint64_t i = 0; i < steps; i++)
        vmxsim_memory_write64(memory, rng_below(&rng, length / PAGE) * PAGE, i);
    struct vmxsim_memory *const clone = clone_of(memory);
    ck_assert_uint_eq(vmxsim_memory_footprint(clone).own, 0);
    for (uint64_t i = 0; i < steps; i++) {
        const uint64_t hpa = rng_below(&again, length / PAGE) * PAGE;
        require_uint(vmxsim_memory_read64(clone, hpa), ==, vmxsim_memory_read64(memory, hpa));
        require_uint(vmxsim_memory_read64(clone, hpa + 8), ==, 0);
    }
    const struct vmxsim_digest one = vmxsim_memory_digest(memory),
                               other = vmxsim_memory_digest(clone);
    ck_assert(one.low == other.low && one.high == other.high);
    vmxsim_memory_destroy(clone);
    vmxsim_memory_destroy(memory);
}
END_TEST

/* With no descriptor to be had, or with a limit on the length of files, clones are copies, and no signal comes. */
START_TEST(without_files_clones_are_copies)
{
    static const struct {
        int resource;
        rlim_t most;
    } limits[] = {{RLIMIT_NOFILE, 0}, {RLIMIT_FSIZE, 4096}};
    const uint64_t length = 1 * MB;
    struct vmxsim_memory *const memory = new_memory(length);
    struct rlimit limit;

    populate(memory, length);
    require_that(getrlimit(limits[_i].resource, &limit) == 0);
    const struct rlimit low = {.rlim_cur = limits[_i].most, .rlim_max = limit.rlim_max};
    require_that(setrlimit(limits[_i].resource, &low) == 0);
    struct vmxsim_memory *const clone = clone_of(memory);
    require_that(setrlimit(limits[_i].resource, &limit) == 0);
    ck_assert_uint_eq(vmxsim_memory_footprint(clone).shared, 0);
    ck_assert_uint_ge(vmxsim_memory_footprint(clone).own, length);
    expect_populated(clone, length);
    vmxsim_memory_write64(clone, 0, 7);
    ck_assert_uint_eq(vmxsim_memory_read64(memory, 0), 1);
    vmxsim_memory_destroy(clone);
    vmxsim_memory_destroy(memory);
}
END_TEST

int main(void)
{
    Suite *const suite = suite_create("memory_clone");
    TCase *const content = suite_case(suite, "content", NULL, NULL);
    TCase *const cost = suite_case(suite, "cost", NULL, NULL);

    tcase_add_loop_test(content, memories_hold_what_was_written_to_them, 0, 60);
    tcase_add_test(content, pages_may_lie_anywhere);
    tcase_add_loop_test(content, without_files_clones_are_copies, 0, 2);

    tcase_add_test(cost, pages_that_nobody_writes_are_there_once);
    tcase_add_test(cost, a_clone_that_is_reset_takes_no_memory);
    tcase_add_test(cost, an_owner_that_goes_on_writing_is_frozen_again);
    return run_suite(suite);
}
