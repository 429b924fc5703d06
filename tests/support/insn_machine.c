/* SPDX-License-Identifier: Apache-2.0 */
#include "support/insn_machine.h"

#include <check.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* CF, PF, AF, ZF, SF, OF. */
#define STATUS_FLAGS UINT64_C(0x8d5)

/* ---- Profiles ---- */

static void change_msr(json_t *cpu, const char *name, const struct msr_change *change)
{
    char key[16], value[32];
    uint64_t old = 0;

    if (vmxsim_profile_msr(vmxsim_profile_builtin(name), change->msr, &old) != VMXC_OK)
        old = 0;
    snprintf(key, sizeof(key), "0x%" PRIx32, change->msr);
    snprintf(value, sizeof(value), "0x%" PRIx64, (old & ~change->clear) | change->set);
    json_object_set_new(json_object_get(cpu, "msr"), key, json_string(value));
}

static struct vmxsim_profile *change_profile(const char *name, const struct msr_change *changes,
                                             unsigned count)
{
    struct vmxsim_profile *profile = NULL;
    char *text = vmxsim_profile_to_json(vmxsim_profile_builtin(name));
    json_t *cpu = json_loads(text, 0, NULL);

    free(text);
    for (unsigned i = 0; i < count; i++)
        change_msr(cpu, name, &changes[i]);
    text = json_dumps(cpu, JSON_COMPACT);
    ck_assert_int_eq(vmxsim_profile_from_json(text, strlen(text), "changed", &profile, NULL),
                     VMXC_OK);
    free(text);
    json_decref(cpu);
    return profile;
}

/* ---- Machine ---- */

static void write_headers(struct insn_machine *machine)
{
    uint64_t basic = 0;

    ck_assert_int_eq(vmxsim_profile_msr(machine->profile, VMXC_MSR_VMX_BASIC, &basic), VMXC_OK);
    for (uint64_t hpa = REGION_VMXON; hpa <= REGION_LINK; hpa += 0x1000)
        vmxsim_memory_write32(machine->memory, hpa, (uint32_t)(basic & VMXC_VMX_BASIC_REVISION));
}

void insn_machine_init(struct insn_machine *machine, const char *profile,
                       const struct msr_change *change)
{
    insn_machine_init_changed(machine, profile, change, change ? 1 : 0);
}

void insn_machine_init_changed(struct insn_machine *machine, const char *profile,
                               const struct msr_change *changes, unsigned count)
{
    const struct vmxsim_range ram = {.base = 0, .length = UINT64_C(32) << 20};
    const struct vmxsim_memory_config config = {.ram = &ram, .ram_count = 1, .no_poison = true};

    memset(machine, 0, sizeof(*machine));
    if (count > 0)
        machine->owned = change_profile(profile, changes, count);
    machine->profile = count > 0 ? machine->owned : vmxsim_profile_builtin(profile);
    ck_assert_int_eq(vmxsim_memory_create(&config, &machine->memory, NULL), VMXC_OK);
    ck_assert_int_eq(vmxsim_cpu_create(machine->memory, machine->profile, &machine->cpu), VMXC_OK);
    write_headers(machine);
}

void insn_machine_fini(struct insn_machine *machine)
{
    vmxsim_cpu_destroy(machine->cpu);
    vmxsim_memory_destroy(machine->memory);
    vmxsim_profile_destroy(machine->owned);
}

void insn_machine_reset(struct insn_machine *machine)
{
    vmxsim_cpu_reset(machine->cpu,
                     &(struct vmxsim_root_state){.cr0 = 0x80000031, .cr4 = 0x2020, .efer = 0x500});
}

void insn_machine_vmxon(struct insn_machine *machine)
{
    EXECUTE(machine, vmxon, REGION_VMXON);
    expect_success(machine);
}

void insn_machine_current(struct insn_machine *machine)
{
    insn_machine_vmxon(machine);
    EXECUTE(machine, vmclear, REGION_A);
    expect_success(machine);
    EXECUTE(machine, vmptrld, REGION_A);
    expect_success(machine);
}

static bool is_read_only(uint32_t encoding)
{
    return VMXC_FIELD_GET((uint64_t)encoding, VMXC_VMCS_ENCODING_TYPE) == VMXC_VMCS_TYPE_READ_ONLY;
}

void insn_machine_fill(struct insn_machine *machine, const struct vmxsim_vmcs *vmcs)
{
    for (size_t i = 0; i < VMXC_VMCS_FIELD_COUNT; i++) {
        const uint32_t encoding = vmxsim_vmcs_encoding(i);
        if (vmxsim_profile_has_field(machine->profile, encoding) && !is_read_only(encoding))
            insn_machine_set_field(machine, encoding, vmcs->value[i]);
    }
}

void insn_machine_launch(struct insn_machine *machine, const struct vmxsim_vmcs *vmcs)
{
    struct vmxsim_entry_report report;

    insn_machine_current(machine);
    insn_machine_fill(machine, vmcs);
    EXECUTE(machine, vmlaunch, &report);
    ck_assert_msg(machine->result.kind == VMXSIM_INSN_ENTERED, "not entered: %s",
                  report.violation_count ? vmxsim_entry_rule_info(report.violation[0].rule)->id
                                         : "no rule is broken");
}

uint64_t insn_machine_field(struct insn_machine *machine, uint32_t encoding)
{
    EXECUTE(machine, vmread, encoding);
    expect_success(machine);
    return machine->result.value;
}

void insn_machine_set_field(struct insn_machine *machine, uint32_t encoding, uint64_t value)
{
    EXECUTE(machine, vmwrite, encoding, value);
    ck_assert_msg(machine->result.kind == VMXSIM_INSN_SUCCEEDED, "VMWRITE of 0x%" PRIx32, encoding);
}

/* ---- Results ---- */

static const char *const kinds[] = {"undecided", "success", "VMfailInvalid", "VMfailValid",
                                    "exception", "VM exit", "entered",       "entry failure"};

static void expect(const struct insn_machine *machine, enum vmxsim_insn_kind kind,
                   enum vmxsim_insn_rule rule)
{
    const struct vmxsim_insn_result *result = &machine->result;

    ck_assert_msg(result->kind == kind && result->rule == rule,
                  "expected %s by \"%s\", got %s by \"%s\" (error %u, vector %u, reason %u)",
                  kinds[kind], vmxsim_insn_rule_info(rule)->id, kinds[result->kind],
                  vmxsim_insn_rule_info(result->rule)->id, (unsigned)result->error,
                  (unsigned)result->vector, (unsigned)result->exit_reason);
}

static void expect_flags(const struct insn_machine *machine, uint64_t flags)
{
    ck_assert_uint_eq(vmxsim_cpu_rflags(machine->cpu), (machine->rflags & ~STATUS_FLAGS) | flags);
}

void expect_success(const struct insn_machine *machine)
{
    expect(machine, VMXSIM_INSN_SUCCEEDED, VMXSIM_INSN_NONE);
    expect_flags(machine, 0);
}

void expect_completion(const struct insn_machine *machine)
{
    expect(machine, VMXSIM_INSN_SUCCEEDED, VMXSIM_INSN_NONE);
    ck_assert_uint_eq(vmxsim_cpu_rflags(machine->cpu), machine->rflags);
}

void expect_invalid(const struct insn_machine *machine, enum vmxsim_insn_rule rule)
{
    expect(machine, VMXSIM_INSN_FAIL_INVALID, rule);
    expect_flags(machine, VMXC_RFLAGS_CF);
}

void expect_valid(struct insn_machine *machine, enum vmxc_vm_error error,
                  enum vmxsim_insn_rule rule)
{
    expect(machine, VMXSIM_INSN_FAIL_VALID, rule);
    expect_flags(machine, VMXC_RFLAGS_ZF);
    ck_assert_uint_eq(machine->result.error, error);
    if (vmxsim_cpu_vmx_state(machine->cpu).mode == VMXSIM_VMX_ROOT)
        ck_assert_uint_eq(insn_machine_field(machine, VMXC_VMCS_VM_INSTRUCTION_ERROR), error);
}

void expect_exception(const struct insn_machine *machine, unsigned vector,
                      enum vmxsim_insn_rule rule)
{
    expect(machine, VMXSIM_INSN_EXCEPTION, rule);
    ck_assert_uint_eq(machine->result.vector, vector);
    ck_assert_int_eq(machine->result.has_error_code, vector == VMXC_VECTOR_GP);
    ck_assert_uint_eq(machine->result.error_code, 0);
    ck_assert_uint_eq(vmxsim_cpu_rflags(machine->cpu), machine->rflags);
}

void expect_exit(const struct insn_machine *machine, unsigned reason, enum vmxsim_insn_rule rule)
{
    expect(machine, VMXSIM_INSN_VM_EXIT, rule);
    ck_assert_uint_eq(machine->result.exit_reason, reason);
    ck_assert_int_eq(vmxsim_cpu_vmx_state(machine->cpu).mode, VMXSIM_VMX_ROOT);
}
