/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the tests of known defects share: a simulated machine, an address space on it, and questions to both.
 */
#ifndef VMXSIM_TESTS_DEFECTS_H
#define VMXSIM_TESTS_DEFECTS_H

#include <check.h>

#include "support/machine.h"
#include "vmxcore/addrspace.h"

#define RW  (VMXC_MAP_READ | VMXC_MAP_WRITE)
#define RWX VMXC_MAP_RWX

#define K4 VMXC_PAGE_SIZE_4K
#define M2 VMXC_PAGE_SIZE_2M
#define G1 VMXC_PAGE_SIZE_1G

extern struct machine machine;
extern const struct vmxc_hal *hal;                  /* of the machine's memory */
extern struct vmxc_addrspace space;                 /* [0, 2^46), empty */
extern const struct vmxc_ept_config defects_config; /* what `space` was made with */

/* Checked fixture. Whatever a test did: no frame is left, none was given back twice. */
void set_up(void);
void tear_down(void);

/* A suite of these tests, each with the fixture. */
Suite *defects_suite(const char *name, const TTest *const *tests, size_t count);

/* What libvmxcore says of an address; the first two end the test if it is not mapped. */
uint64_t hpa_of(uint64_t gpa);
uint64_t page_size_of(uint64_t gpa);
void expect_unmapped(uint64_t gpa);

uint64_t frames_in_use(void);

/* What a processor with the space's tables makes of an access. */
struct vmxsim_outcome walk(uint64_t gpa, uint64_t right);

#endif
