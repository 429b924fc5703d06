/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Loops over arrays for the Python package: one call per array instead of one per element, without the interpreter.
 * Rows of results have the layout that numpy gives structured arrays with these members ("align").
 */
#ifndef VMXPY_BATCH_H
#define VMXPY_BATCH_H

#include "vmxcore/addrspace.h"
#include "vmxcore/io_bitmap.h"
#include "vmxcore/msr_bitmap.h"
#include "vmxsim/insn.h"

/* What one guest access came to, without data and trail. Members that do not apply are zero. */
struct vmxpy_row {
    uint64_t address; /* as given */
    uint64_t gpa, hpa;
    uint64_t page_size; /* bytes: the smaller of guest and EPT page */
    uint64_t qualification;
    uint32_t error_code;  /* guest exception */
    uint16_t rule;        /* enum vmxsim_walk_rule */
    uint16_t exit_reason; /* VM exit */
    uint8_t kind;         /* enum vmxsim_outcome_kind */
    uint8_t vector;       /* guest exception */
    uint8_t rights;       /* EptPerm bits that EPT gives */
    uint8_t memory_type;  /* enum vmxc_memory_type */
};

/*
 * The guest accesses `size` bytes at each of `count` addresses. Stops at the first status that is not VMXC_OK; *done is
 * the number of rows filled.
 */
enum vmxc_status vmxpy_walk_many(struct vmxsim_cpu *cpu, const struct vmxsim_access *access,
                                 const uint64_t *linear, size_t count, struct vmxpy_row *rows,
                                 size_t *done);

/* The same for guest-physical addresses, by EPT alone; `rights` as vmxsim_guest_physical_access takes them. */
enum vmxc_status vmxpy_translate_many(struct vmxsim_cpu *cpu, uint64_t rights, const uint64_t *gpa,
                                      size_t count, struct vmxpy_row *rows, size_t *done);

enum vmxc_status vmxpy_translate_one(struct vmxsim_cpu *cpu, uint64_t rights, uint64_t gpa,
                                     struct vmxpy_row *row);

/* VMLAUNCH if the current VMCS is clear, VMRESUME if it is launched. */
enum vmxc_status vmxpy_enter(struct vmxsim_cpu *cpu, struct vmxsim_insn_result *result);

/* Host address behind a guest-physical address as the address space keeps it; UINT64_MAX: none. */
uint64_t vmxpy_hpa(const struct vmxc_addrspace *space, uint64_t gpa);
void vmxpy_hpa_many(const struct vmxc_addrspace *space, const uint64_t *gpa, size_t count,
                    uint64_t *hpa);

/* Whether accesses cause VM exits: 1 or 0 each. */
void vmxpy_io_test_many(const struct vmxc_io_bitmap *bitmap, const uint16_t *port, size_t count,
                        uint32_t size, uint8_t *exits);
void vmxpy_msr_test_many(const struct vmxc_msr_bitmap *bitmap, const uint32_t *msr, size_t count,
                         uint32_t access, uint8_t *exits);

#endif
