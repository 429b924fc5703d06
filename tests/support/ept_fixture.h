/* SPDX-License-Identifier: Apache-2.0 */
/* One EPT hierarchy on a test_hal, and the assertions that most EPT tests end with. */
#ifndef VMXSIM_TESTS_EPT_FIXTURE_H
#define VMXSIM_TESTS_EPT_FIXTURE_H

#include "support/ept_check.h"
#include "support/test_hal.h"
#include "vmxcore/ept.h"

#define KB UINT64_C(0x400)
#define MB UINT64_C(0x100000)
#define GB UINT64_C(0x40000000)

#define RW  (VMXC_MAP_READ | VMXC_MAP_WRITE)
#define RWX VMXC_MAP_RWX
#define WB  VMXC_MAP_TYPE(VMXC_MEMORY_TYPE_WB) /* as a query reports it */

struct ept_fixture {
    struct test_hal *hal;
    struct vmxc_ept ept;
};

/* 4 levels, 46 address bits, all page sizes, accessed and dirty flags; nothing else. */
struct vmxc_ept_config ept_fixture_config(void);

/* A hierarchy with that configuration, or with `config`, on 2048 frames. */
struct ept_fixture ept_fixture_begin(void);
struct ept_fixture ept_fixture_begin_with(const struct vmxc_ept_config *config);
/* Checks the structure and that exactly its tables are in use, gives all back, and checks for leaks. */
void ept_fixture_end(struct ept_fixture *fixture);

/* Ends the test unless tables in use, tables counted and tables found agree. */
void ept_fixture_check(const struct ept_fixture *fixture);

/* Calls that must succeed. */
void ept_fixture_map(struct ept_fixture *fixture, uint64_t gpa, uint64_t hpa, uint64_t size,
                     vmxc_map_flags flags);
void ept_fixture_unmap(struct ept_fixture *fixture, uint64_t gpa, uint64_t size);
void ept_fixture_protect(struct ept_fixture *fixture, uint64_t gpa, uint64_t size,
                         vmxc_map_flags flags);

/* Ends the test unless the byte at gpa is mapped to hpa by such a page, for the query and for the processor. */
void ept_fixture_assert_mapped(const struct ept_fixture *fixture, uint64_t gpa, uint64_t hpa,
                               uint64_t page_size, vmxc_map_flags flags);
void ept_fixture_assert_unmapped(const struct ept_fixture *fixture, uint64_t gpa);

#endif
