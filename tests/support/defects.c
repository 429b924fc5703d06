/* SPDX-License-Identifier: Apache-2.0 */
#include "support/defects.h"

#include <check.h>
#include <inttypes.h>

struct machine machine;
const struct vmxc_hal *hal;
struct vmxc_addrspace space;

const struct vmxc_ept_config defects_config = {.levels = 4,
                                               .maxphyaddr = 46,
                                               .largest_page = VMXC_PAGE_LEVEL_1G,
                                               .accessed_dirty = true,
                                               .table_memory_type = VMXC_MEMORY_TYPE_WB};

void set_up(void)
{
    machine_init(&machine, NULL);
    hal = vmxsim_memory_hal(machine.memory);
    ck_assert_int_eq(vmxc_addrspace_init(&space, hal, &defects_config, 0, UINT64_C(1) << 46),
                     VMXC_OK);
}

void tear_down(void)
{
    vmxc_addrspace_fini(&space);
    const struct vmxsim_memory_stats stats = vmxsim_memory_stats(machine.memory);
    ck_assert_uint_eq(stats.frames_in_use, 0);
    ck_assert_uint_eq(stats.double_frees, 0);
    ck_assert_uint_eq(stats.foreign_frees, 0);
    machine_fini(&machine);
}

uint64_t hpa_of(uint64_t gpa)
{
    struct vmxc_translation translation;
    if (vmxc_addrspace_translate(&space, gpa, &translation) != VMXC_OK)
        ck_abort_msg("%#" PRIx64 " is not mapped", gpa);
    return translation.hpa;
}

uint64_t page_size_of(uint64_t gpa)
{
    struct vmxc_translation translation;
    if (vmxc_addrspace_translate(&space, gpa, &translation) != VMXC_OK)
        ck_abort_msg("%#" PRIx64 " is not mapped", gpa);
    return translation.page_size;
}

void expect_unmapped(uint64_t gpa)
{
    struct vmxc_translation translation;
    ck_assert_int_ne(vmxc_addrspace_translate(&space, gpa, &translation), VMXC_OK);
}

uint64_t frames_in_use(void)
{
    return vmxsim_memory_stats(machine.memory).frames_in_use;
}

struct vmxsim_outcome walk(uint64_t gpa, uint64_t right)
{
    struct vmxsim_outcome outcome;
    machine_set_mode(&machine, GUEST_NONE);
    VMXSIM_VMCS(&machine.vmcs, PRIMARY_PROCESSOR_BASED_CONTROLS) = CTL_SECONDARY;
    VMXSIM_VMCS(&machine.vmcs, SECONDARY_PROCESSOR_BASED_CONTROLS) = CTL2_EPT | CTL2_UNRESTRICTED;
    VMXSIM_VMCS(&machine.vmcs, EPT_POINTER) = vmxc_addrspace_eptp(&space);
    machine_load(&machine);
    ck_assert_int_eq(vmxsim_guest_physical_access(machine.cpu, gpa, right, &outcome, NULL),
                     VMXC_OK);
    return outcome;
}

Suite *defects_suite(const char *name, const TTest *const *tests, size_t count)
{
    Suite *s = suite_create(name);
    TCase *defects = tcase_create("defects");

    tcase_add_checked_fixture(defects, set_up, tear_down);
    tcase_set_timeout(defects, 120);
    for (size_t i = 0; i < count; i++)
        tcase_add_test(defects, tests[i]);
    suite_add_tcase(s, defects);
    return s;
}
