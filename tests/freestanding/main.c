/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libvmxcore without a C library: frames, EPT and an address space over a static arena. The suites of the
 * hosted build test the behaviour; this program shows that the library needs nothing else to work.
 */
#include "hal.h"
#include "runtime.h"
#include "vmxcore/addrspace.h"
#include "vmxcore/ept.h"
#include "vmxcore/frame.h"

static uint64_t checks;
static uint64_t failures;

#define CHECK(condition) check((condition), #condition, __LINE__)

static void check(bool holds, const char *condition, uint64_t line)
{
    checks++;
    if (holds)
        return;
    failures++;
    print("line ");
    print_number(line);
    print(": does not hold: ");
    print(condition);
    print("\n");
}

static const struct vmxc_ept_config config = {
    .levels = 4,
    .maxphyaddr = 46,
    .largest_page = VMXC_PAGE_LEVEL_1G,
    .accessed_dirty = true,
    .table_memory_type = VMXC_MEMORY_TYPE_WB,
};

static void check_frame(struct arena *arena, const struct vmxc_hal *hal)
{
    struct vmxc_frame frame = vmxc_frame_uninit();
    vmxc_hpa_t hpa = 0;
    void *pointer = NULL;
    char text[64];

    CHECK(vmxc_frame_hpa(&frame, &hpa) == VMXC_BAD_STATE);
    CHECK(vmxc_frame_alloc_zeroed(hal, "test", &frame) == VMXC_OK);
    CHECK(vmxc_frame_hpa(&frame, &hpa) == VMXC_OK && arena_pointer(hpa) != NULL);
    CHECK(vmxc_frame_ptr(&frame, &pointer) == VMXC_OK && pointer == arena_pointer(hpa));
    CHECK(arena_pointer(hpa)[0] == 0 && arena_pointer(hpa)[VMXC_PAGE_MASK] == 0);
    CHECK(vmxc_frame_fill(&frame, 0x5a) == VMXC_OK && arena_pointer(hpa)[7] == 0x5a);
    CHECK(vmxc_frame_format(&frame, text, sizeof(text)) > 0 && text[0] == 'f');
    vmxc_frame_fini(&frame);
    vmxc_frame_fini(&frame);
    CHECK(arena->free_count == ARENA_FRAMES && arena->bad_frees == 0);
}

static void check_ept(struct arena *arena, const struct vmxc_hal *hal)
{
    const vmxc_gpa_t gpa = 0x40000000;
    const vmxc_hpa_t hpa = 0x80000000;
    struct vmxc_ept_mapping mapping;
    struct vmxc_ept ept;

    CHECK(vmxc_ept_init(&ept, hal, &config) == VMXC_OK);
    CHECK(vmxc_ept_map(&ept, gpa, hpa, VMXC_PAGE_SIZE_2M, VMXC_MAP_WRITE) == VMXC_INVALID_INPUT);
    CHECK(vmxc_ept_map(&ept, gpa, hpa, VMXC_PAGE_SIZE_2M, VMXC_MAP_RWX) == VMXC_OK);
    CHECK(vmxc_ept_map(&ept, gpa, hpa, VMXC_PAGE_SIZE_4K, VMXC_MAP_RWX) == VMXC_ALREADY_EXISTS);
    CHECK(vmxc_ept_query(&ept, gpa + 0x12345, &mapping) == VMXC_OK &&
          mapping.page_size == VMXC_PAGE_SIZE_2M && mapping.hpa == hpa && mapping.gpa == gpa);
    CHECK(arena->invalidations == 0);

    /* Unmapping one 4-KByte page splits the large one, and invalidates once. */
    CHECK(vmxc_ept_unmap(&ept, gpa + 0x3000, VMXC_PAGE_SIZE_4K, NULL, NULL) == VMXC_OK);
    CHECK(arena->invalidations == 1 && arena->last_eptp == vmxc_ept_eptp(&ept));
    CHECK(vmxc_ept_query(&ept, gpa + 0x3000, &mapping) == VMXC_NOT_FOUND);
    CHECK(vmxc_ept_query(&ept, gpa + 0x4000, &mapping) == VMXC_OK && mapping.hpa == hpa + 0x4000);
    vmxc_ept_fini(&ept, NULL, NULL);
    CHECK(arena->free_count == ARENA_FRAMES && arena->bad_frees == 0);
}

static void check_addrspace(struct arena *arena, const struct vmxc_hal *hal)
{
    const vmxc_map_flags rw = VMXC_MAP_READ | VMXC_MAP_WRITE;
    struct vmxc_translation found;
    struct vmxc_addrspace space;

    CHECK(vmxc_addrspace_init(&space, hal, &config, 0, UINT64_C(1) << 32) == VMXC_OK);
    CHECK(vmxc_addrspace_map_linear(&space, 0xfee00000, 0xfee00000, VMXC_PAGE_SIZE,
                                    rw | VMXC_MAP_DEVICE) == VMXC_OK);
    CHECK(vmxc_addrspace_map_alloc(&space, 0x100000, 16 * VMXC_PAGE_SIZE, rw, false) == VMXC_OK);

    /* Lazy: nothing stands behind the page until the guest faults on it; then a zeroed frame does. */
    CHECK(vmxc_addrspace_translate(&space, 0x102abc, &found) == VMXC_NOT_BACKED);
    CHECK(vmxc_addrspace_handle_page_fault(&space, 0x102abc, VMXC_MAP_EXECUTE) ==
          VMXC_FAULT_DENIED);
    CHECK(vmxc_addrspace_handle_page_fault(&space, 0x102abc, VMXC_MAP_WRITE) == VMXC_FAULT_MAPPED);
    CHECK(vmxc_addrspace_translate(&space, 0x102abc, &found) == VMXC_OK);
    CHECK(arena_pointer(found.hpa) != NULL && *arena_pointer(found.hpa) == 0);
    CHECK(vmxc_addrspace_handle_page_fault(&space, 0x102abc, VMXC_MAP_READ) ==
          VMXC_FAULT_ALREADY_BACKED);
    CHECK(vmxc_addrspace_handle_page_fault(&space, 0x900000, VMXC_MAP_READ) == VMXC_FAULT_NO_AREA);

    CHECK(vmxc_addrspace_translate(&space, 0xfee00020, &found) == VMXC_OK &&
          found.hpa == 0xfee00020);
    CHECK(vmxc_addrspace_is_valid(&space));
    CHECK(vmxc_addrspace_unmap(&space, 0x102000, VMXC_PAGE_SIZE) == VMXC_OK);
    CHECK(vmxc_addrspace_translate(&space, 0x102abc, &found) == VMXC_NOT_FOUND);
    vmxc_addrspace_fini(&space);
    CHECK(arena->free_count == ARENA_FRAMES && arena->bad_frees == 0);
}

int freestanding_main(void)
{
    static struct arena arena;
    const struct vmxc_hal hal = arena_hal(&arena);

    arena_init(&arena);
    check_frame(&arena, &hal);
    check_ept(&arena, &hal);
    check_addrspace(&arena, &hal);

    print("freestanding: ");
    print_number(failures == 0 ? checks : failures);
    print(failures == 0 ? " checks passed\n" : " checks failed\n");
    return failures == 0 ? 0 : 1;
}
