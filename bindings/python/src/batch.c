/* SPDX-License-Identifier: Apache-2.0 */
#include "batch.h"

#include <string.h>

static uint8_t rights_of(const struct vmxsim_page_translation *page)
{
    uint8_t rights = 0;
    if (page->ept_rights & VMXC_EPT_READ)
        rights |= (uint8_t)VMXC_MAP_READ;
    if (page->ept_rights & VMXC_EPT_WRITE)
        rights |= (uint8_t)VMXC_MAP_WRITE;
    if (page->ept_rights & VMXC_EPT_EXECUTE)
        rights |= (uint8_t)VMXC_MAP_EXECUTE;
    if (page->ept_user_execute)
        rights |= (uint8_t)VMXC_MAP_USER;
    return rights;
}

/* A page size of 0 means that this half of the translation is off. */
static uint64_t smaller_page(const struct vmxsim_page_translation *page)
{
    if (page->guest_page_size == 0)
        return page->ept_page_size;
    if (page->ept_page_size == 0 || page->guest_page_size < page->ept_page_size)
        return page->guest_page_size;
    return page->ept_page_size;
}

static void fill_row(struct vmxpy_row *row, uint64_t address, const struct vmxsim_outcome *outcome)
{
    memset(row, 0, sizeof(*row));
    row->address = address;
    row->kind = (uint8_t)outcome->kind;
    row->rule = (uint16_t)outcome->rule;
    row->vector = outcome->vector;
    row->error_code = outcome->error_code;
    row->exit_reason = outcome->exit_reason;
    row->qualification = outcome->qualification;
    row->gpa = outcome->guest_physical;
    if (outcome->kind != VMXSIM_OUTCOME_COMPLETE || outcome->page_count == 0)
        return;
    const struct vmxsim_page_translation *page = &outcome->page[0];
    row->gpa = page->gpa;
    row->hpa = page->hpa;
    row->page_size = smaller_page(page);
    row->rights = rights_of(page);
    row->memory_type = (uint8_t)page->memory_type;
}

enum vmxc_status vmxpy_walk_many(struct vmxsim_cpu *cpu, const struct vmxsim_access *access,
                                 const uint64_t *linear, size_t count, struct vmxpy_row *rows,
                                 size_t *done)
{
    struct vmxsim_access one = *access;
    struct vmxsim_outcome outcome;
    for (*done = 0; *done < count; (*done)++) {
        one.linear = linear[*done];
        VMXC_TRY(vmxsim_guest_access(cpu, &one, &outcome, NULL));
        fill_row(&rows[*done], one.linear, &outcome);
    }
    return VMXC_OK;
}

enum vmxc_status vmxpy_translate_many(struct vmxsim_cpu *cpu, uint64_t rights, const uint64_t *gpa,
                                      size_t count, struct vmxpy_row *rows, size_t *done)
{
    struct vmxsim_outcome outcome;
    for (*done = 0; *done < count; (*done)++) {
        VMXC_TRY(vmxsim_guest_physical_access(cpu, gpa[*done], rights, &outcome, NULL));
        fill_row(&rows[*done], gpa[*done], &outcome);
    }
    return VMXC_OK;
}

enum vmxc_status vmxpy_translate_one(struct vmxsim_cpu *cpu, uint64_t rights, uint64_t gpa,
                                     struct vmxpy_row *row)
{
    size_t done;
    return vmxpy_translate_many(cpu, rights, &gpa, 1, row, &done);
}

enum vmxc_status vmxpy_enter(struct vmxsim_cpu *cpu, struct vmxsim_insn_result *result)
{
    if (vmxsim_cpu_vmx_state(cpu).launched)
        return vmxsim_insn_vmresume(cpu, NULL, result);
    return vmxsim_insn_vmlaunch(cpu, NULL, result);
}

uint64_t vmxpy_hpa(const struct vmxc_addrspace *space, uint64_t gpa)
{
    struct vmxc_translation translation;
    if (vmxc_addrspace_translate(space, gpa, &translation) != VMXC_OK)
        return UINT64_MAX;
    return translation.hpa;
}

void vmxpy_hpa_many(const struct vmxc_addrspace *space, const uint64_t *gpa, size_t count,
                    uint64_t *hpa)
{
    for (size_t i = 0; i < count; i++)
        hpa[i] = vmxpy_hpa(space, gpa[i]);
}

void vmxpy_io_test_many(const struct vmxc_io_bitmap *bitmap, const uint16_t *port, size_t count,
                        uint32_t size, uint8_t *exits)
{
    for (size_t i = 0; i < count; i++)
        exits[i] = vmxc_io_bitmap_exits(bitmap, port[i], size);
}

void vmxpy_msr_test_many(const struct vmxc_msr_bitmap *bitmap, const uint32_t *msr, size_t count,
                         uint32_t access, uint8_t *exits)
{
    for (size_t i = 0; i < count; i++)
        exits[i] = vmxc_msr_bitmap_exits(bitmap, msr[i], access);
}
