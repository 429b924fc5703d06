/* SPDX-License-Identifier: Apache-2.0 */
/* An address space with one area of each kind, for tests of guest memory access. */
#ifndef VMXSIM_TESTS_GUEST_AREAS_H
#define VMXSIM_TESTS_GUEST_AREAS_H

#include <check.h>

#include "vmxcore/guest_mem.h"
#include "vmxsim/memory.h"

#define MB(n) ((uint64_t)(n) << 20)
#define RW    (VMXC_MAP_READ | VMXC_MAP_WRITE)

/*
 *     gpa       0      4000H    8000H    9000H  A000H  B000H  C000H  D000H  ...  100000H   200000H
 *     area      LINEAR | LAZY   | R/O    | hole | none | X/O  | dev. | hole      LONG (lazy)| hole
 */
#define LINEAR_GPA UINT64_C(0x0)
#define LAZY_GPA   UINT64_C(0x4000)
#define R_O_GPA    UINT64_C(0x8000)
#define HOLE_GPA   UINT64_C(0x9000)
#define NONE_GPA   UINT64_C(0xa000)
#define X_O_GPA    UINT64_C(0xb000)
#define DEVICE_GPA UINT64_C(0xc000)
#define LONG_GPA   UINT64_C(0x100000)
#define LONG_SIZE  UINT64_C(0x100000)
#define SPACE_SIZE (UINT64_C(1) << 32)

#define LINEAR_HPA MB(32)
#define R_O_HPA    MB(33)
#define X_O_HPA    MB(34)
#define DEVICE_HPA (UINT64_C(1) << 36) /* no RAM there */

extern struct vmxsim_memory *memory;
extern struct vmxc_addrspace space;
extern uint8_t buffer[LONG_SIZE];

/* Stores that libvmxcore announced, and what the last range held at that moment. */
struct dirty_log {
    uint64_t calls, bytes, first_word;
    vmxc_hpa_t hpa;
};
extern struct dirty_log dirty;

/* Checked fixture. */
void setup(void);
void teardown(void);

bool all_bytes_are(const uint8_t *bytes, size_t length, uint8_t byte);

#endif
