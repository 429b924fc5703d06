/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Snapshots and clones of a machine with two processors, an address space and values of the client, against a full copy.
 *
 *  - What a restore brings back is, byte for byte, what was there when the snapshot was taken: memory, statistics, frames
 *    in use, the processors' VMX state, values that are registered.
 *  - A clone equals its original, and neither notices what happens to the other; nor does a clone of a clone when
 *    that one is gone. Memories of 64 pages and more share what they have in common: FILL.
 *  - Reports of frames fit where they say they do; every hazard can be explained.
 *
 * Input: steps: which (1), then what its operands take.
 */
#include "harness.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "vmxcore/addrspace.h"
#include "vmxcore/defs/msr.h"
#include "vmxsim/explain.h"
#include "vmxsim/hazard.h"
#include "vmxsim/insn.h"

#define RAM_SIZE  (UINT64_C(64) << 10)
#define HIGH_BASE (UINT64_C(1) << 40) /* a second range of RAM, without frames */
#define HIGH_SIZE (UINT64_C(320) << 10)
#define LOW_HIGH  (UINT64_C(8) << 10) /* of it, what is written before a FILL */
#define REGION(i) (UINT64_C(0x1000) * (1 + (i)))
#define FRAMES    UINT64_C(0x8000) /* frames are handed out from here on */

enum { MAX_STEPS = 128, REGIONS = 6, VALUES = 3, VALUE_SIZE = 40, LIVE = 32, SPACE_SIZE = 1 << 20 };

enum operation {
    WRITE,
    ALLOCATE,
    FREE,
    INJECT,
    MAP,
    UNMAP,
    INSTRUCTION,
    SET_VALUE,
    REGISTER,
    UNREGISTER,
    TAKE,
    RESTORE,
    DROP,
    CLONE,
    HAND_OUT,
    HAND_BACK,
    REPORT,
    HAZARDS,
    RESET,
    FILL,
    OPERATIONS
};

/* What can be seen of a machine. */
struct view {
    uint8_t ram[RAM_SIZE];
    struct vmxsim_memory_stats stats;
    struct vmxsim_vmx_state vmx[2];
    uint64_t in_use[LIVE];
    uint64_t in_use_count, hazards;
    uint64_t high_size; /* of `high`, what counts; the rest is zero in memory */
    uint8_t high[HIGH_SIZE];
};

/* A view, and what the client had registered. */
struct copy {
    bool taken;
    struct view view;
    struct vmxc_addrspace space;
    bool registered[VALUES];
    uint8_t value[VALUES][VALUE_SIZE];
};

static struct vmxsim_memory *memory;
static struct vmxsim_cpu *cpu[2];
static struct vmxc_addrspace space;
static uint32_t revision;
static uint8_t value[VALUES][VALUE_SIZE];
static bool registered[VALUES];
static bool is_filled; /* this input has written behind LOW_HIGH */
static struct copy at_snapshot;
static struct view before, after;
static struct {
    bool out;
    uint64_t hpa, length;
    uint8_t *bytes;
} handed;

/* ---- Set-up ---- */

static void must(enum vmxc_status status)
{
    REQUIRE(status == VMXC_OK, "status %d", status);
}

static void set_up(void)
{
    const struct vmxsim_range ram[] = {{0, RAM_SIZE}, {HIGH_BASE, HIGH_SIZE}};
    const struct vmxsim_memory_config config = {
        .ram = ram, .ram_count = 2, .frames = {FRAMES, RAM_SIZE - FRAMES}};
    const struct vmxsim_profile *const profile = vmxsim_profile_builtin("icelake");
    uint64_t basic = 0;

    must(vmxsim_memory_create(&config, &memory, NULL));
    must(vmxsim_cpu_create(memory, profile, &cpu[0]));
    must(vmxsim_cpu_create(memory, profile, &cpu[1]));
    must(vmxsim_profile_msr(profile, VMXC_MSR_VMX_BASIC, &basic));
    revision = (uint32_t)(basic & VMXC_VMX_BASIC_REVISION);
}

/* Snapshots are what is tested, so that none resets the machine. */
static void start(void)
{
    const struct vmxc_ept_config ept = {.levels = 4,
                                        .maxphyaddr = 46,
                                        .largest_page = VMXC_PAGE_LEVEL_4K,
                                        .table_memory_type = VMXC_MEMORY_TYPE_WB};
    const struct vmxsim_root_state root = {.cr0 = 0x80000031, .cr4 = 0x2020, .efer = 0x500};

    vmxsim_memory_reset(memory);
    vmxsim_cpu_reset(cpu[0], &root);
    vmxsim_cpu_reset(cpu[1], &root);
    for (unsigned i = 0; i < REGIONS; i++)
        vmxsim_memory_write32(memory, REGION(i), revision);
    must(vmxc_addrspace_init(&space, vmxsim_memory_hal(memory), &ept, 0, SPACE_SIZE));
    must(vmxsim_snapshot_register(memory, &space, sizeof space));
    memset(value, 0, sizeof value);
    memset(registered, 0, sizeof registered);
    at_snapshot.taken = handed.out = is_filled = false;
}

static void end(void)
{
    if (handed.out)
        must(vmxsim_memory_hand_back(memory, handed.hpa, handed.length));
    vmxsim_snapshot_drop(memory);
    for (unsigned i = 0; i < VALUES; i++)
        vmxsim_snapshot_unregister(memory, value[i]);
    vmxc_addrspace_fini(&space);
    vmxsim_snapshot_unregister(memory, &space);
}

/* ---- Views ---- */

static void note_frame(void *context, uint64_t hpa, const char *label)
{
    struct view *const view = context;

    REQUIRE(label != NULL, "frame %#" PRIx64 " has no label", hpa);
    REQUIRE(view->in_use_count < LIVE, "too many frames");
    view->in_use[view->in_use_count++] = hpa;
}

static void look(struct vmxsim_memory *of, struct vmxsim_cpu *const processors[2],
                 struct view *view)
{
    memset(view, 0, offsetof(struct view, high));
    vmxsim_memory_read(of, 0, view->ram, sizeof view->ram);
    view->high_size = is_filled ? HIGH_SIZE : LOW_HIGH;
    vmxsim_memory_read(of, HIGH_BASE, view->high, view->high_size);
    view->stats = vmxsim_memory_stats(of);
    view->hazards = vmxsim_hazard_count(of);
    for (unsigned i = 0; i < 2; i++)
        view->vmx[i] = vmxsim_cpu_vmx_state(processors[i]);
    REQUIRE(vmxsim_memory_leaks(of, note_frame, view) == view->stats.frames_in_use,
            "%" PRIu64 " frames in use", view->stats.frames_in_use);
}

static bool same_high(const struct view *a, const struct view *b)
{
    const struct view *const longer = a->high_size > b->high_size ? a : b;
    const uint64_t common = a->high_size + b->high_size - longer->high_size;

    for (uint64_t i = common; i < longer->high_size; i++) {
        if (longer->high[i] != 0)
            return false;
    }
    return memcmp(a->high, b->high, common) == 0;
}

static void require_same(const struct view *a, const struct view *b, const char *what)
{
    REQUIRE(memcmp(a->ram, b->ram, sizeof a->ram) == 0 && same_high(a, b), "%s: other memory",
            what);
    REQUIRE(memcmp(&a->stats, &b->stats, sizeof a->stats) == 0, "%s: other statistics", what);
    for (unsigned i = 0; i < 2; i++)
        REQUIRE(a->vmx[i].mode == b->vmx[i].mode &&
                    a->vmx[i].current_vmcs == b->vmx[i].current_vmcs &&
                    a->vmx[i].vmxon_pointer == b->vmx[i].vmxon_pointer &&
                    a->vmx[i].launched == b->vmx[i].launched,
                "%s: processor %u differs", what, i);
    REQUIRE(a->in_use_count == b->in_use_count &&
                memcmp(a->in_use, b->in_use, sizeof a->in_use) == 0,
            "%s: other frames are in use", what);
}

/* ---- Snapshots ---- */

static void take(void)
{
    const bool exists = at_snapshot.taken;

    REQUIRE(vmxsim_snapshot_exists(memory) == exists, "there is a snapshot: %d", !exists);
    const enum vmxc_status status = vmxsim_snapshot_take(memory);
    REQUIRE(status == (exists ? VMXC_BUSY : VMXC_OK), "a snapshot: status %d", status);
    if (exists)
        return;
    at_snapshot.taken = true;
    look(memory, cpu, &at_snapshot.view);
    at_snapshot.space = space;
    memcpy(at_snapshot.registered, registered, sizeof registered);
    memcpy(at_snapshot.value, value, sizeof value);
}

static void restore(void)
{
    uint8_t old[VALUES][VALUE_SIZE];
    uint64_t pages = 0;

    memcpy(old, value, sizeof old);
    const enum vmxc_status status = vmxsim_snapshot_restore(memory, &pages);
    REQUIRE(status == (at_snapshot.taken ? VMXC_OK : VMXC_BAD_STATE), "restoring: status %d",
            status);
    if (status != VMXC_OK)
        return;
    REQUIRE(pages <= (RAM_SIZE + HIGH_SIZE) / VMXC_PAGE_SIZE, "%" PRIu64 " pages", pages);
    look(memory, cpu, &after);
    require_same(&at_snapshot.view, &after, "restored");
    REQUIRE(at_snapshot.view.hazards == after.hazards, "other hazards");
    REQUIRE(memcmp(&space, &at_snapshot.space, sizeof space) == 0, "another address space");
    REQUIRE(vmxc_addrspace_is_valid(&space), "the address space does not fit its tables");
    for (unsigned i = 0; i < VALUES; i++) {
        const bool goes_along = registered[i] && at_snapshot.registered[i];
        REQUIRE(memcmp(value[i], goes_along ? at_snapshot.value[i] : old[i], VALUE_SIZE) == 0,
                "value %u, registered then %d and now %d", i, at_snapshot.registered[i],
                registered[i]);
    }
    must(vmxsim_snapshot_restore(memory, &pages));
    REQUIRE(handed.out || pages == 0, "%" PRIu64 " pages to restore at once", pages);
}

static void set_value(struct vmxsim_fuzz_input *input)
{
    const unsigned index = vmxsim_fuzz_below(input, VALUES);
    const unsigned offset = vmxsim_fuzz_below(input, VALUE_SIZE);

    value[index][offset] = (uint8_t)vmxsim_fuzz_take(input, 1);
}

/* A value that comes after the snapshot, or again, is none of it. */
static void register_value(unsigned index)
{
    const enum vmxc_status status = vmxsim_snapshot_register(memory, value[index], VALUE_SIZE);

    REQUIRE(status == (registered[index] ? VMXC_ALREADY_EXISTS : VMXC_OK), "value %u: status %d",
            index, status);
    registered[index] = true;
}

static void unregister_value(unsigned index)
{
    vmxsim_snapshot_unregister(memory, value[index]);
    registered[index] = false;
    at_snapshot.registered[index] = false;
}

/* ---- Clones ---- */

static struct vmxsim_memory *clone;
static struct vmxsim_cpu *clone_cpu[2];

/* A word in each of some pages behind those that are written otherwise. */
static void fill(struct vmxsim_memory *to, struct vmxsim_fuzz_input *input)
{
    const uint64_t pages = (HIGH_SIZE - LOW_HIGH) / VMXC_PAGE_SIZE;
    const uint64_t count = vmxsim_fuzz_below(input, (uint32_t)pages + 1);
    const uint64_t stride = 1 + vmxsim_fuzz_below(input, 4);
    const uint64_t word = vmxsim_fuzz_take(input, 2);

    is_filled = true;
    for (uint64_t i = 0; i < count && i * stride < pages; i++)
        vmxsim_memory_write64(to, HIGH_BASE + LOW_HIGH + i * stride * VMXC_PAGE_SIZE + 8 * i,
                              word + i);
}

/* Not to frames: tables may lie there. What would leave the low part of the high range leaves the range. */
static void write_somewhere(struct vmxsim_memory *to, struct vmxsim_fuzz_input *input)
{
    const uint32_t where = vmxsim_fuzz_below(input, 65536);
    uint64_t hpa = where % (uint32_t)(FRAMES - 8);

    if (where & 1)
        hpa = HIGH_BASE + where % (uint32_t)LOW_HIGH;
    if (hpa > HIGH_BASE + LOW_HIGH - 8) {
        hpa += HIGH_SIZE - LOW_HIGH;
        is_filled = true;
    }
    vmxsim_memory_write64(to, hpa, vmxsim_fuzz_value(input));
}

static void clone_machine(struct vmxsim_memory *of, struct vmxsim_cpu *const processors[2],
                          struct vmxsim_memory **to, struct vmxsim_cpu *to_processors[2])
{
    struct vmxsim_error error;

    must(vmxsim_memory_clone(of, to, &error));
    for (unsigned i = 0; i < 2; i++)
        must(vmxsim_cpu_clone(processors[i], *to, &to_processors[i]));
    REQUIRE(!vmxsim_snapshot_exists(*to), "a clone has a snapshot");
}

static void destroy_machine(struct vmxsim_memory *of, struct vmxsim_cpu *const processors[2])
{
    for (unsigned i = 0; i < 2; i++)
        vmxsim_cpu_destroy(processors[i]);
    vmxsim_memory_destroy(of);
}

/* What was written is a memory's own or in common, whichever way the clone was made. */
static void check_footprint(void)
{
    const struct vmxsim_memory_footprint a = vmxsim_memory_footprint(memory);
    const struct vmxsim_memory_footprint b = vmxsim_memory_footprint(clone);

    REQUIRE(b.shared <= a.shared && a.own % VMXC_PAGE_SIZE == 0 && b.own % VMXC_PAGE_SIZE == 0,
            "%#" PRIx64 " bytes in common, the clone has %#" PRIx64, a.shared, b.shared);
    REQUIRE(at_snapshot.taken || a.own + a.shared == b.own + b.shared,
            "%#" PRIx64 " bytes written, of the clone %#" PRIx64, a.own + a.shared,
            b.own + b.shared);
}

/* The second clone, of the first, outlives it. */
static void clone_again(void)
{
    struct vmxsim_memory *second;
    struct vmxsim_cpu *second_cpu[2];

    look(clone, clone_cpu, &before);
    clone_machine(clone, clone_cpu, &second, second_cpu);
    destroy_machine(clone, clone_cpu);
    look(second, second_cpu, &after);
    require_same(&before, &after, "a clone of a clone");
    destroy_machine(second, second_cpu);
}

static void double_machine(struct vmxsim_fuzz_input *input)
{
    look(memory, cpu, &before);
    clone_machine(memory, cpu, &clone, clone_cpu);
    look(clone, clone_cpu, &after);
    require_same(&before, &after, "a clone");
    const struct vmxsim_digest a = vmxsim_memory_digest(memory), b = vmxsim_memory_digest(clone);
    REQUIRE(a.low == b.low && a.high == b.high, "a clone has another digest");
    check_footprint();

    write_somewhere(clone, input);
    look(memory, cpu, &after);
    require_same(&before, &after, "the original of a clone that was written");
    look(clone, clone_cpu, &before);
    write_somewhere(memory, input);
    look(clone, clone_cpu, &after);
    require_same(&before, &after, "a clone whose original was written");
    clone_again();
}

/* ---- Frames ---- */

static void allocate(void)
{
    const struct vmxc_hal *const hal = vmxsim_memory_hal(memory);
    uint64_t hpa = 0;

    /* A machine has few frames: it runs out of them. */
    if (hal->alloc_frame(hal->context, "fuzz", &hpa) == VMXC_OK)
        REQUIRE(hpa >= FRAMES && hpa < RAM_SIZE && hpa % VMXC_PAGE_SIZE == 0, "frame %#" PRIx64,
                hpa);
}

struct owned {
    uint32_t wanted;
    uint64_t hpa;
};

static void find_own(void *context, uint64_t hpa, const char *label)
{
    struct owned *const owned = context;

    if (strcmp(label, "fuzz") == 0 && owned->wanted-- == 0)
        owned->hpa = hpa;
}

/* One of the harness's frames; or an address that is no such frame. */
static void give_back(struct vmxsim_fuzz_input *input)
{
    const struct vmxc_hal *const hal = vmxsim_memory_hal(memory);
    const unsigned choice = (unsigned)vmxsim_fuzz_take(input, 1);
    struct owned owned = {.wanted = choice % 8, .hpa = choice >= 240 ? RAM_SIZE + choice : 0};

    if (choice < 240)
        (void)vmxsim_memory_leaks(memory, find_own, &owned);
    const struct vmxsim_memory_stats old = vmxsim_memory_stats(memory);
    if (owned.hpa == 0)
        return;
    hal->dealloc_frame(hal->context, owned.hpa);
    if (choice >= 200 && choice < 240) /* use after free: reports and allocations find it */
        vmxsim_memory_write64(memory, owned.hpa + 8 * choice, 0);
    const struct vmxsim_memory_stats now = vmxsim_memory_stats(memory);
    REQUIRE(now.frees - old.frees == (choice < 240) &&
                now.foreign_frees - old.foreign_frees == (choice >= 240),
            "frame %#" PRIx64 " is given back", owned.hpa);
}

static void count_damaged(void *context, uint64_t hpa, const char *label)
{
    uint64_t *const count = context;

    REQUIRE(hpa >= FRAMES && hpa < RAM_SIZE && label != NULL, "frame %#" PRIx64, hpa);
    (*count)++;
}

static void report(size_t room)
{
    char whole[8192], part[8192];
    uint64_t damaged = 0;

    memset(part, 'x', sizeof part);
    const size_t length = vmxsim_memory_leak_report(memory, whole, sizeof whole);
    REQUIRE(length < sizeof whole && strlen(whole) == length, "a report of %zu bytes", length);
    REQUIRE((length == 0) == (vmxsim_memory_stats(memory).frames_in_use == 0), "frames in use");
    REQUIRE(vmxsim_memory_leak_report(memory, part, room) == length, "another length");
    REQUIRE(room == 0 || strncmp(part, whole, room - 1) == 0, "a cut report is another report");
    REQUIRE(part[room] == 'x', "a report leaves its buffer");
    REQUIRE(vmxsim_memory_damaged_frames(memory, count_damaged, &damaged) == damaged,
            "damaged frames");
}

/* ---- Other steps ---- */

static void explain_hazards(void)
{
    struct vmxsim_hazard hazards[VMXSIM_HAZARDS_KEPT];
    const uint32_t count = vmxsim_hazards_last(memory, hazards, VMXSIM_HAZARDS_KEPT);

    REQUIRE(count <= vmxsim_hazard_count(memory), "%" PRIu32 " hazards", count);
    for (uint32_t i = 0; i < count; i++) {
        const struct vmxsim_hazard_rule_info *const info = vmxsim_hazard_rule_info(hazards[i].rule);
        char *const text = vmxsim_explain_hazard(&hazards[i]);
        char *const json = vmxsim_explain_hazard_json(&hazards[i]);
        REQUIRE(text != NULL && strstr(text, info->id) != NULL, "hazard %s", info->id);
        REQUIRE(json != NULL && json[0] == '{', "hazard %s as JSON", info->id);
        free(text);
        free(json);
    }
}

/* VMX instructions that claim regions, and stores into them behind the processors' backs. */
static void execute(struct vmxsim_fuzz_input *input)
{
    const unsigned choice = (unsigned)vmxsim_fuzz_take(input, 1);
    const uint64_t region = REGION(vmxsim_fuzz_take(input, 1) % REGIONS);
    struct vmxsim_cpu *const processor = cpu[choice >> 7];
    struct vmxsim_insn_result result;
    enum vmxc_status status = VMXC_OK;

    switch (choice & 7) {
    case 0:
        status = vmxsim_insn_vmxon(processor, region, &result);
        break;
    case 1:
        status = vmxsim_insn_vmclear(processor, region, &result);
        break;
    case 2:
        status = vmxsim_insn_vmptrld(processor, region, &result);
        break;
    case 3:
        status = vmxsim_insn_vmwrite(processor, VMXC_VMCS_GUEST_RIP, vmxsim_fuzz_take(input, 1),
                                     &result);
        break;
    case 4:
        status = vmxsim_insn_vmxoff(processor, &result);
        break;
    case 5:
        vmxsim_memory_write64(memory, region + 8 * vmxsim_fuzz_below(input, 512), choice);
        break;
    case 6:
        (void)vmxsim_memory_read64(memory, region + 8 * vmxsim_fuzz_below(input, 512));
        break;
    default:
        *(uint8_t *)vmxsim_memory_pointer(memory, region + vmxsim_fuzz_below(input, 4096)) ^= 1;
    }
    REQUIRE(status == VMXC_OK || status == VMXC_BUSY, "instruction %u: status %d", choice, status);
}

static void map(struct vmxsim_fuzz_input *input, bool unmap)
{
    const uint64_t gpa = vmxsim_fuzz_below(input, 16) * UINT64_C(0x1000);
    const uint64_t size = (1 + vmxsim_fuzz_below(input, 4)) * UINT64_C(0x1000);
    const enum vmxc_status status = unmap
                                        ? vmxc_addrspace_unmap(&space, gpa, size)
                                        : vmxc_addrspace_map_alloc(&space, gpa, size, VMXC_MAP_RWX,
                                                                   vmxsim_fuzz_take(input, 1) & 1);

    REQUIRE(status == VMXC_OK || status == VMXC_NO_MEMORY ||
                status == (unmap ? VMXC_NOT_FOUND : VMXC_ALREADY_EXISTS),
            "gpa %#" PRIx64 ": status %d", gpa, status);
}

static void hand_out(struct vmxsim_fuzz_input *input)
{
    void *pointer = NULL;
    const uint64_t hpa = vmxsim_fuzz_below(input, (uint32_t)FRAMES);
    const uint64_t length = vmxsim_fuzz_below(input, (uint32_t)(FRAMES - hpa));
    const bool fits = length != 0;

    if (handed.out) {
        handed.bytes[vmxsim_fuzz_below(input, (uint32_t)handed.length)] ^= 0xff;
        return;
    }
    const enum vmxc_status status = vmxsim_memory_hand_out(memory, hpa, length, &pointer);
    REQUIRE(status == (fits ? VMXC_OK : VMXC_INVALID_INPUT), "[%#" PRIx64 ", +%#" PRIx64 "): %d",
            hpa, length, status);
    if (status != VMXC_OK)
        return;
    handed.out = true;
    handed.hpa = hpa;
    handed.length = length;
    handed.bytes = pointer;
    handed.bytes[0] ^= 1;
}

static void hand_back(void)
{
    const enum vmxc_status status = vmxsim_memory_hand_back(memory, handed.hpa, handed.length);

    REQUIRE(status == (handed.out ? VMXC_OK : VMXC_NOT_FOUND), "handing back: status %d", status);
    handed.out = false;
}

/* A snapshot outlives a reset, and knows nothing of it. */
static void reset(void)
{
    vmxc_addrspace_fini(&space);
    vmxsim_memory_reset(memory);
    look(memory, cpu, &after);
    for (size_t i = 0; i < sizeof after.ram; i++)
        REQUIRE(after.ram[i] == 0, "byte %zu after a reset", i);
    REQUIRE(after.in_use_count == 0, "frames after a reset");
}

/* ---- The experiment ---- */

static void step(enum operation operation, struct vmxsim_fuzz_input *input)
{
    switch (operation) {
    case WRITE:
        write_somewhere(memory, input);
        break;
    case ALLOCATE:
        allocate();
        break;
    case FREE:
        give_back(input);
        break;
    case INJECT:
        vmxsim_memory_fail_nth(memory, vmxsim_fuzz_take(input, 1) & 7);
        vmxsim_memory_fail_randomly(memory, vmxsim_fuzz_take(input, 1),
                                    (uint32_t)vmxsim_fuzz_take(input, 2) * 8);
        break;
    case MAP:
    case UNMAP:
        map(input, operation == UNMAP);
        break;
    case INSTRUCTION:
        execute(input);
        break;
    case SET_VALUE:
        set_value(input);
        break;
    case REGISTER:
        register_value(vmxsim_fuzz_below(input, VALUES));
        break;
    case UNREGISTER:
        unregister_value(vmxsim_fuzz_below(input, VALUES));
        break;
    case TAKE:
        take();
        break;
    case RESTORE:
        restore();
        break;
    case DROP:
        vmxsim_snapshot_drop(memory);
        at_snapshot.taken = false;
        break;
    case CLONE:
        double_machine(input);
        break;
    case HAND_OUT:
        hand_out(input);
        break;
    case HAND_BACK:
        hand_back();
        break;
    case FILL:
        fill(memory, input);
        break;
    case REPORT:
        report(vmxsim_fuzz_below(input, 512));
        break;
    default:
        explain_hazards();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct vmxsim_fuzz_input input = {.next = data, .left = size};

    if (memory == NULL)
        set_up();
    start();
    for (unsigned i = 0; i < MAX_STEPS && input.left > 0; i++) {
        const enum operation operation = (enum operation)vmxsim_fuzz_below(&input, OPERATIONS);
        if (operation != RESET) {
            step(operation, &input);
            continue;
        }
        if (!at_snapshot.taken)
            continue;
        reset();
        restore();
    }
    end();
    return 0;
}
