/* SPDX-License-Identifier: Apache-2.0 */
/* Areas without a backend, and many of them in a set, for tests of the area set. */
#ifndef VMXSIM_TESTS_AREAS_H
#define VMXSIM_TESTS_AREAS_H

#include "vmxcore/area_set.h"

/* A readable area whose host addresses lie 4 GBytes above its own. */
struct vmxc_area area_at(vmxc_gpa_t base, uint64_t size);

/* The i-th of many areas: one page, and a hole of one page behind it. */
struct vmxc_area nth_area(uint64_t i);

/* Calls that must succeed; area_insert_many inserts the first `count` of nth_area. */
void area_insert(struct vmxc_area_set *set, const struct vmxc_area *area);
void area_insert_many(struct vmxc_area_set *set, uint64_t count);

/* Ends the test unless all members agree. */
void area_assert_same(const struct vmxc_area *a, const struct vmxc_area *b);

#endif
