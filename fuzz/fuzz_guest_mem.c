/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guest memory access of libvmxcore, by guest-physical and (paging off) by linear address, against an array of bytes.
 *
 *     guest-physical pages 0 to 31:  nothing | the caller's memory | frames of the space, lazy or at once
 *
 *  - A range is accessed if each of its pages has an area with the right; otherwise the status says why, and nothing moves.
 *  - What is read is what was last written there; new frames are zeroed, the caller's memory outlives its mapping.
 *  - Texts of flags and areas fit where they say they do; at the end no frame is left.
 *
 * Input: steps: which (1), address (2), length (2), further operands.
 */
#include "harness.h"

#include <inttypes.h>
#include <string.h>

#include "vmxcore/addrspace.h"
#include "vmxcore/defs/paging.h"
#include "vmxcore/guest_mem.h"
#include "vmxsim/memory.h"

#define PAGES     32u
#define SIZE      (PAGES * UINT64_C(0x1000))
#define HOST_BASE UINT64_C(0x100000) /* of the caller's memory: page n of it is guest page n */

enum { MAX_STEPS = 128, MAX_LENGTH = 8192, MARGIN = 64 };

enum operation {
    MAP_LINEAR,
    MAP_ALLOC,
    UNMAP,
    PROTECT,
    READ,
    WRITE,
    FILL,
    COPY,
    READ_LINEAR,
    WRITE_LINEAR,
    OBJECT_8,
    OBJECT_16,
    OBJECT_32,
    OBJECT_64,
    EXCHANGE,
    FORMAT,
    OPERATIONS
};

enum page_kind { HOLE, LINEAR, ALLOC };

static struct vmxsim_memory *memory;
static struct vmxc_addrspace space;
static struct vmxsim_fuzz_loop loop;

/* What should be there. */
static struct {
    enum page_kind kind[PAGES];
    vmxc_map_flags flags[PAGES];
    bool written[PAGES];           /* of the caller's memory */
    uint8_t host[SIZE], own[SIZE]; /* the caller's memory; frames of the space */
} shadow;

static uint8_t buffer[MAX_LENGTH + MARGIN], other[MAX_LENGTH + MARGIN];

/* ---- The shadow ---- */

static uint8_t *byte_at(uint64_t gpa)
{
    return (shadow.kind[gpa >> 12] == LINEAR ? shadow.host : shadow.own) + gpa;
}

static enum vmxc_status expected(uint64_t gpa, uint64_t length, vmxc_map_flags access)
{
    if (length == 0 || gpa + length > SIZE)
        return VMXC_INVALID_INPUT;
    for (uint64_t page = gpa >> 12; page <= (gpa + length - 1) >> 12; page++) {
        if (shadow.kind[page] == HOLE)
            return VMXC_NOT_FOUND;
        if ((shadow.flags[page] & access) != access)
            return VMXC_DENIED;
    }
    return VMXC_OK;
}

/* Bytes from gpa on that lie in one page, at most `length`. */
static size_t piece(uint64_t gpa, uint64_t length)
{
    const uint64_t rest = VMXC_PAGE_SIZE - (gpa & VMXC_PAGE_MASK);

    return (size_t)(length < rest ? length : rest);
}

static void collect(uint64_t gpa, uint64_t length, uint8_t *bytes)
{
    while (length > 0) {
        const size_t size = piece(gpa, length);
        memcpy(bytes, byte_at(gpa), size);
        gpa += size, bytes += size, length -= size;
    }
}

static void store(uint64_t gpa, uint64_t length, const uint8_t *bytes)
{
    while (length > 0) {
        const size_t size = piece(gpa, length);
        memcpy(byte_at(gpa), bytes, size);
        shadow.written[gpa >> 12] = shadow.written[gpa >> 12] || shadow.kind[gpa >> 12] == LINEAR;
        gpa += size, bytes += size, length -= size;
    }
}

static void require_status(enum vmxc_status status, enum vmxc_status wanted, uint64_t gpa,
                           uint64_t length)
{
    REQUIRE(status == wanted, "[%#" PRIx64 ", +%#" PRIx64 "): status %d, not %d", gpa, length,
            status, wanted);
}

/* By linear address each page is looked at by itself: one that leaves the space may not be the first to be refused. */
static void require_linear_status(enum vmxc_status status, enum vmxc_status wanted, uint64_t gpa,
                                  uint64_t length)
{
    if (gpa + length > SIZE)
        REQUIRE(status != VMXC_OK, "[%#" PRIx64 ", +%#" PRIx64 ") leaves the space", gpa, length);
    else
        require_status(status, wanted, gpa, length);
}

/* ---- Mapping ---- */

/* EPT has no right to write without one to read. */
static vmxc_map_flags take_flags(struct vmxsim_fuzz_input *input)
{
    static const vmxc_map_flags some[] = {VMXC_MAP_NONE, VMXC_MAP_READ, VMXC_MAP_EXECUTE,
                                          VMXC_MAP_READ | VMXC_MAP_EXECUTE};
    const unsigned choice = (unsigned)vmxsim_fuzz_take(input, 1);

    return choice < 192 ? VMXC_MAP_READ | VMXC_MAP_WRITE : some[choice % 4];
}

static bool any_page(uint64_t first, uint64_t count, bool mapped)
{
    for (uint64_t page = first; page < first + count; page++) {
        if ((shadow.kind[page] != HOLE) == mapped)
            return true;
    }
    return false;
}

static void set_pages(uint64_t first, uint64_t count, enum page_kind kind, vmxc_map_flags flags)
{
    for (uint64_t page = first; page < first + count; page++) {
        shadow.kind[page] = kind;
        shadow.flags[page] = flags;
    }
    if (kind == ALLOC)
        memset(shadow.own + (first << 12), 0, count << 12);
}

static void change_mapping(enum operation operation, struct vmxsim_fuzz_input *input)
{
    const uint64_t first = vmxsim_fuzz_below(input, PAGES);
    const uint64_t count = 1 + vmxsim_fuzz_below(input, (uint32_t)(PAGES - first));
    const vmxc_gpa_t gpa = first << 12;
    const vmxc_map_flags flags = take_flags(input);
    enum vmxc_status status;

    switch (operation) {
    case MAP_LINEAR:
        status = vmxc_addrspace_map_linear(&space, gpa, HOST_BASE + gpa, count << 12, flags);
        require_status(status, any_page(first, count, true) ? VMXC_ALREADY_EXISTS : VMXC_OK, gpa,
                       count << 12);
        break;
    case MAP_ALLOC:
        status = vmxc_addrspace_map_alloc(&space, gpa, count << 12, flags,
                                          vmxsim_fuzz_take(input, 1) & 1);
        require_status(status, any_page(first, count, true) ? VMXC_ALREADY_EXISTS : VMXC_OK, gpa,
                       count << 12);
        break;
    case UNMAP:
        status = vmxc_addrspace_unmap(&space, gpa, count << 12);
        require_status(status, any_page(first, count, true) ? VMXC_OK : VMXC_NOT_FOUND, gpa,
                       count << 12);
        break;
    default:
        status = vmxc_addrspace_protect(&space, gpa, count << 12, flags);
        require_status(status, any_page(first, count, false) ? VMXC_NOT_FOUND : VMXC_OK, gpa,
                       count << 12);
        for (uint64_t page = first; status == VMXC_OK && page < first + count; page++)
            shadow.flags[page] = flags;
        return;
    }
    if (status == VMXC_OK)
        set_pages(first, count,
                  operation == UNMAP        ? HOLE
                  : operation == MAP_LINEAR ? LINEAR
                                            : ALLOC,
                  flags);
}

/* ---- Buffers ---- */

static const struct vmxc_guest_walk_info *no_paging(void)
{
    static struct vmxc_guest_walk_info info;
    const struct vmxc_guest_registers registers = {.cr0 = VMXC_CR0_PE};
    const struct vmxc_guest_paging_caps caps = {.maxphyaddr = 40, .linear_width = 48};

    REQUIRE(vmxc_guest_walk_info_init(&registers, &caps, &info) == VMXC_OK, "no walk");
    return &info;
}

static void read_range(bool linear, uint64_t gpa, uint64_t length)
{
    struct vmxc_guest_fault fault;
    const enum vmxc_status wanted = expected(gpa, length, VMXC_MAP_READ);

    memset(buffer, 0xa5, length + MARGIN);
    memset(other, 0xa5, length + MARGIN);
    const enum vmxc_status status =
        linear ? vmxc_guest_mem_read_linear(&space, no_paging(), (struct vmxc_guest_access){0}, gpa,
                                            buffer, length, &fault)
               : vmxc_guest_mem_read(&space, gpa, buffer, length);
    (linear ? require_linear_status : require_status)(status, wanted, gpa, length);
    if (status == VMXC_OK)
        collect(gpa, length, other);
    REQUIRE(memcmp(buffer, other, length + MARGIN) == 0,
            "[%#" PRIx64 ", +%#" PRIx64 ") is read wrong", gpa, length);
}

static void write_range(bool linear, uint64_t gpa, uint64_t length, uint8_t first)
{
    struct vmxc_guest_fault fault;
    const enum vmxc_status wanted = expected(gpa, length, VMXC_MAP_WRITE);

    for (uint64_t i = 0; i < length; i++)
        buffer[i] = (uint8_t)(first + i * 7);
    const enum vmxc_status status =
        linear ? vmxc_guest_mem_write_linear(&space, no_paging(),
                                             (struct vmxc_guest_access){.write = true}, gpa, buffer,
                                             length, &fault)
               : vmxc_guest_mem_write(&space, gpa, buffer, length);
    (linear ? require_linear_status : require_status)(status, wanted, gpa, length);
    if (status == VMXC_OK)
        store(gpa, length, buffer);
}

static void fill_range(uint64_t gpa, uint64_t length, uint8_t byte)
{
    const enum vmxc_status status = vmxc_guest_mem_fill(&space, gpa, byte, length);

    require_status(status, expected(gpa, length, VMXC_MAP_WRITE), gpa, length);
    memset(buffer, byte, length);
    if (status == VMXC_OK)
        store(gpa, length, buffer);
}

static void copy_range(uint64_t to_gpa, uint64_t from_gpa, uint64_t length)
{
    const enum vmxc_status from = expected(from_gpa, length, VMXC_MAP_READ);
    const enum vmxc_status to = expected(to_gpa, length, VMXC_MAP_WRITE);
    const enum vmxc_status status = vmxc_guest_mem_copy(&space, to_gpa, from_gpa, length);

    require_status(status, from != VMXC_OK ? from : to, to_gpa, length);
    if (status != VMXC_OK)
        return;
    collect(from_gpa, length, buffer);
    store(to_gpa, length, buffer);
}

/* ---- Objects ---- */

/* One access of each kind; `aligned` of those that must be. */
#define DEFINE_OBJECT(suffix, type)                                                                \
    static void object_##suffix(uint64_t gpa, type value)                                          \
    {                                                                                              \
        const enum vmxc_status write = expected(gpa, sizeof value, VMXC_MAP_WRITE);                \
        const enum vmxc_status read = expected(gpa, sizeof value, VMXC_MAP_READ);                  \
        const bool aligned = gpa % sizeof value == 0;                                              \
        type seen = 0, held = 0;                                                                   \
                                                                                                   \
        require_status(vmxc_guest_mem_write_##suffix(&space, gpa, value), write, gpa,              \
                       sizeof value);                                                              \
        if (write == VMXC_OK)                                                                      \
            store(gpa, sizeof value, (const uint8_t *)&value);                                     \
        value = (type)~value;                                                                      \
        require_status(vmxc_guest_mem_write_volatile_##suffix(&space, gpa, value),                 \
                       aligned ? write : VMXC_INVALID_INPUT, gpa, sizeof value);                   \
        if (aligned && write == VMXC_OK)                                                           \
            store(gpa, sizeof value, (const uint8_t *)&value);                                     \
        require_status(vmxc_guest_mem_read_##suffix(&space, gpa, &seen), read, gpa, sizeof value); \
        if (read == VMXC_OK)                                                                       \
            collect(gpa, sizeof held, (uint8_t *)&held);                                           \
        REQUIRE(seen == held, "object at %#" PRIx64, gpa);                                         \
        seen = held = 0;                                                                           \
        require_status(vmxc_guest_mem_read_volatile_##suffix(&space, gpa, &seen),                  \
                       aligned ? read : VMXC_INVALID_INPUT, gpa, sizeof value);                    \
        if (aligned && read == VMXC_OK)                                                            \
            collect(gpa, sizeof held, (uint8_t *)&held);                                           \
        REQUIRE(seen == held, "volatile object at %#" PRIx64, gpa);                                \
    }

DEFINE_OBJECT(u8, uint8_t)
DEFINE_OBJECT(u16, uint16_t)
DEFINE_OBJECT(u32, uint32_t)
DEFINE_OBJECT(u64, uint64_t)

static void exchange(uint64_t gpa, uint64_t desired, bool hit)
{
    const enum vmxc_status wanted =
        gpa % 8 != 0 ? VMXC_INVALID_INPUT : expected(gpa, 8, VMXC_MAP_READ | VMXC_MAP_WRITE);
    uint64_t held = 0;
    bool exchanged = false;

    if (wanted == VMXC_OK)
        collect(gpa, sizeof held, (uint8_t *)&held);
    require_status(
        vmxc_guest_mem_compare_exchange_u64(&space, gpa, hit ? held : ~held, desired, &exchanged),
        wanted, gpa, 8);
    REQUIRE(exchanged == (hit && wanted == VMXC_OK), "exchange at %#" PRIx64, gpa);
    if (exchanged)
        store(gpa, sizeof desired, (const uint8_t *)&desired);
}

/* ---- Texts ---- */

/* The length is that of the whole text, whatever the buffer holds of it. */
static void check_texts(vmxc_map_flags flags, size_t room)
{
    static char whole[16384], part[16384];

    memset(part, 'x', room + 1);
    const size_t length = vmxc_addrspace_format(&space, whole, sizeof whole);
    REQUIRE(length < sizeof whole && strlen(whole) == length, "text of %zu bytes", length);
    REQUIRE(vmxc_addrspace_format(&space, part, room) == length, "the length depends on the room");
    REQUIRE(room == 0 || strncmp(part, whole, room - 1) == 0, "a cut text is another text");
    REQUIRE(part[room] == 'x', "a text leaves its buffer");
    REQUIRE(vmxc_map_flags_format(flags, part, sizeof part) == strlen(part), "text of flags");
}

/* ---- The experiment ---- */

static void step(struct vmxsim_fuzz_input *input)
{
    const enum operation operation = (enum operation)vmxsim_fuzz_below(input, OPERATIONS);

    if (operation <= PROTECT) {
        change_mapping(operation, input);
        return;
    }
    const uint64_t gpa = vmxsim_fuzz_below(input, 65536) * UINT64_C(2) + (operation & 1);
    const uint64_t length = vmxsim_fuzz_below(input, MAX_LENGTH);
    const uint64_t value = vmxsim_fuzz_take(input, 2);

    switch (operation) {
    case READ:
    case READ_LINEAR:
        read_range(operation == READ_LINEAR, gpa, length);
        break;
    case WRITE:
    case WRITE_LINEAR:
        write_range(operation == WRITE_LINEAR, gpa, length, (uint8_t)value);
        break;
    case FILL:
        fill_range(gpa, length, (uint8_t)value);
        break;
    case COPY:
        copy_range(gpa, value * 2, length);
        break;
    case OBJECT_8:
        object_u8(gpa, (uint8_t)value);
        break;
    case OBJECT_16:
        object_u16(gpa, (uint16_t)value);
        break;
    case OBJECT_32:
        object_u32(gpa & ~(length & 3), (uint32_t)value);
        break;
    case OBJECT_64:
        object_u64(gpa & ~(length & 7), value);
        break;
    case EXCHANGE:
        exchange(gpa & ~(length & 7), value, length & 8);
        break;
    default:
        check_texts((vmxc_map_flags)value, length);
    }
}

static void set_up(void)
{
    const struct vmxsim_range ram = {.base = 0, .length = UINT64_C(4) << 20};
    const struct vmxsim_memory_config config = {
        .ram = &ram, .ram_count = 1, .frames = {UINT64_C(0x200000), UINT64_C(0x200000)}};
    const struct vmxsim_fuzz_value_at value = {&space, sizeof space};
    const struct vmxc_ept_config ept = {.levels = 4,
                                        .maxphyaddr = 40,
                                        .largest_page = VMXC_PAGE_LEVEL_4K,
                                        .execute_only = true,
                                        .table_memory_type = VMXC_MEMORY_TYPE_WB};

    REQUIRE(vmxsim_memory_create(&config, &memory, NULL) == VMXC_OK, "no memory");
    REQUIRE(vmxc_addrspace_init(&space, vmxsim_memory_hal(memory), &ept, 0, SIZE) == VMXC_OK,
            "no space");
    REQUIRE(vmxsim_fuzz_loop_begin(&loop, memory, &value, 1) == VMXC_OK, "no snapshot");
}

/* Of the frames' bytes nothing is known until a page is mapped. */
static void start(void)
{
    harness_next(&loop);
    for (unsigned page = 0; page < PAGES; page++) {
        shadow.kind[page] = HOLE;
        if (shadow.written[page])
            memset(shadow.host + page * VMXC_PAGE_SIZE, 0, VMXC_PAGE_SIZE);
        shadow.written[page] = false;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct vmxsim_fuzz_input input = {.next = data, .left = size};

    if (loop.memory == NULL)
        set_up();
    start();
    for (unsigned i = 0; i < MAX_STEPS && input.left > 0; i++)
        step(&input);
    REQUIRE(vmxc_addrspace_is_valid(&space), "the space is inconsistent");
    vmxc_addrspace_fini(&space);
    REQUIRE(vmxsim_memory_stats(memory).frames_in_use == 0, "frames are left");
    return 0;
}
