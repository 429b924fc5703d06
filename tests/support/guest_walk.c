/* SPDX-License-Identifier: Apache-2.0 */
#include "support/guest_walk.h"

/* Indices 4 (level 1), 3, 2, 1 and 5 (level 5); entry addresses are worked out by hand. */
/* clang-format off */
const struct mode modes[MODES] = {
    {VMXC_GUEST_PAGING_32BIT, BIT(31) | BIT(0), BIT(4), 0,
     2, 4, 2, 0x00c04567, {0, 0x10010, 0x2000c}},
    {VMXC_GUEST_PAGING_PAE, BIT(31) | BIT(0), BIT(5), BIT(11),
     3, 8, 2, 0x80604567, {0, 0x10020, 0x20018}},
    {VMXC_GUEST_PAGING_4_LEVEL, BIT(31) | BIT(0), BIT(5), BIT(11) | BIT(10) | BIT(8),
     4, 8, 4, UINT64_C(0x8080604567), {0, 0x10020, 0x20018, 0x30010, 0x40008}},
    {VMXC_GUEST_PAGING_5_LEVEL, BIT(31) | BIT(0), BIT(5) | BIT(12), BIT(11) | BIT(10) | BIT(8),
     5, 8, 5, UINT64_C(0x5008080604567), {0, 0x10020, 0x20018, 0x30010, 0x40008, 0x50028}},
};
/* clang-format on */

struct vmxsim_memory *memory;
static struct vmxc_hal hal;
struct vmxc_addrspace space;
const struct mode *mode;
struct vmxc_guest_registers registers;
struct vmxc_guest_paging_caps caps;
struct vmxc_guest_translation translation;
struct vmxc_guest_fault fault;
uint64_t dirty_calls;
void (*on_dirty)(vmxc_hpa_t hpa);

const struct vmxc_guest_access s_read = {0};
const struct vmxc_guest_access s_write = {.write = true};
const struct vmxc_guest_access s_fetch = {.fetch = true};
const struct vmxc_guest_access u_read = {.user_mode = true};
const struct vmxc_guest_access u_write = {.user_mode = true, .write = true};
const struct vmxc_guest_access u_fetch = {.user_mode = true, .fetch = true};

static void count_dirty(void *context, vmxc_hpa_t hpa, uint64_t length)
{
    (void)context;
    (void)length;
    dirty_calls++;
    if (on_dirty != NULL)
        on_dirty(hpa);
}

void setup(void)
{
    const struct vmxsim_range ram = {0, RAM_SIZE};
    const struct vmxsim_memory_config config = {
        .ram = &ram, .ram_count = 1, .frames = {UINT64_C(1) << 20, UINT64_C(16) << 20}};
    const struct vmxc_ept_config ept = {.levels = 4,
                                        .maxphyaddr = 46,
                                        .largest_page = VMXC_PAGE_LEVEL_2M,
                                        .table_memory_type = VMXC_MEMORY_TYPE_WB};

    ck_assert_int_eq(vmxsim_memory_create(&config, &memory, NULL), VMXC_OK);
    hal = *vmxsim_memory_hal(memory);
    hal.mark_dirty = count_dirty;
    on_dirty = NULL;
    ck_assert_int_eq(vmxc_addrspace_init(&space, &hal, &ept, 0, UINT64_C(1) << 40), VMXC_OK);
    ck_assert_int_eq(
        vmxc_addrspace_map_linear(&space, 0, GUEST_HPA, GUEST_SIZE, VMXC_MAP_READ | VMXC_MAP_WRITE),
        VMXC_OK);
}

void teardown(void)
{
    vmxc_addrspace_fini(&space);
    ck_assert_uint_eq(vmxsim_memory_leaks(memory, NULL, NULL), 0);
    vmxsim_memory_destroy(memory);
}

uint64_t get_entry(unsigned level)
{
    const uint64_t hpa = GUEST_HPA + mode->entry_gpa[level];

    return mode->entry_size == 8 ? vmxsim_memory_read64(memory, hpa)
                                 : vmxsim_memory_read32(memory, hpa);
}

void set_entry(unsigned level, uint64_t value)
{
    const uint64_t hpa = GUEST_HPA + mode->entry_gpa[level];

    if (level > mode->memory_levels)
        registers.pdpte[2] = value;
    else if (mode->entry_size == 8)
        vmxsim_memory_write64(memory, hpa, value);
    else
        vmxsim_memory_write32(memory, hpa, (uint32_t)value);
}

void build(size_t index)
{
    mode = &modes[index];
    dirty_calls = 0;
    registers = (struct vmxc_guest_registers){.cr0 = mode->cr0 | VMXC_CR0_WP,
                                              .cr3 = TABLE_GPA(mode->levels),
                                              .cr4 = mode->cr4,
                                              .efer = mode->efer};
    caps = (struct vmxc_guest_paging_caps){
        .maxphyaddr = 46, .linear_width = 57, .page_1g = true, .pse36 = true, .pat = true};
    for (unsigned level = 1; level <= mode->levels; level++) {
        const uint64_t target = level == 1 ? PAGE_GPA : TABLE_GPA(level - 1);
        set_entry(level, target | (level > mode->memory_levels ? P : PWU));
    }
}

struct vmxc_guest_walk_info make_info(void)
{
    struct vmxc_guest_walk_info info;

    ck_assert_int_eq(vmxc_guest_walk_info_init(&registers, &caps, &info), VMXC_OK);
    return info;
}

enum vmxc_status walk_at(struct vmxc_guest_access access, vmxc_gva_t gva)
{
    const struct vmxc_guest_walk_info info = make_info();

    return vmxc_guest_walk(&space, &info, access, gva, &translation, &fault);
}

enum vmxc_status walk(struct vmxc_guest_access access)
{
    return walk_at(access, mode->gva);
}
