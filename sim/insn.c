/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the VMX instructions have in common: modes, beginnings, ends. Source: Intel SDM volume 3, "VMX Instruction Reference",
 * "Conventions" (VMsucceed, VMfail).
 */
#include "internal/insn.h"
#include "internal/exit.h"
#include "vmxcore/defs/controls.h"

/* CF, PF, AF, ZF, SF, OF. */
#define STATUS_FLAGS \
    (VMXC_RFLAGS_CF | VMXC_BIT(2) | VMXC_BIT(4) | VMXC_RFLAGS_ZF | VMXC_BIT(7) | VMXC_BIT(11))

/* VMLAUNCH, VMCALL and the others without a memory operand. Of those with one the model does not know the length. */
enum { BARE_INSTRUCTION_LENGTH = 3 };

const struct vmxsim_insn_rule_info *vmxsim_insn_rule_info(enum vmxsim_insn_rule rule)
{
    static const struct vmxsim_insn_rule_info rules[VMXSIM_INSN_RULE_COUNT] = {
        [VMXSIM_INSN_NONE] = {"", "", ""},
#define VMXSIM_INSN_RULE(name, id, section, sentence) \
    [VMXSIM_INSN_##name] = {id, section, sentence},
#include "vmxsim/insn_rules.def"
    };

    return (unsigned)rule < VMXSIM_INSN_RULE_COUNT ? &rules[rule] : &rules[VMXSIM_INSN_NONE];
}

/* ---- The processor ---- */

struct vmxsim_vmx_state vmxsim_cpu_vmx_state(const struct vmxsim_cpu *cpu)
{
    return (struct vmxsim_vmx_state){
        .mode = cpu->vmx.mode,
        .vmxon_pointer = cpu->vmx.vmxon_pointer,
        .current_vmcs = cpu->vmx.current,
        .launched = cpu->vmx.vmcs.launched,
        .aborted = cpu->vmx.aborted,
    };
}

struct vmxsim_execution_state vmxsim_cpu_execution_state(const struct vmxsim_cpu *cpu)
{
    return cpu->execution;
}

void vmxsim_cpu_set_execution_state(struct vmxsim_cpu *cpu,
                                    const struct vmxsim_execution_state *state)
{
    cpu->execution = *state;
}

struct vmxsim_root_state vmxsim_cpu_root_state(const struct vmxsim_cpu *cpu)
{
    return cpu->root;
}

static bool in_guest(const struct vmxsim_cpu *cpu)
{
    return cpu->vmx.mode == VMXSIM_VMX_NON_ROOT;
}

static uint64_t *rflags(struct vmxsim_cpu *cpu)
{
    return in_guest(cpu) ? &cpu->guest.rflags : &cpu->execution.rflags;
}

uint64_t vmxsim_cpu_rflags(const struct vmxsim_cpu *cpu)
{
    return in_guest(cpu) ? cpu->guest.rflags : cpu->execution.rflags;
}

struct insn_mode vmxsim_insn_mode(const struct vmxsim_cpu *cpu)
{
    if (in_guest(cpu)) {
        return (struct insn_mode){
            .cr0 = cpu->guest.cr0,
            .cr4 = cpu->guest.cr4,
            .efer = cpu->guest.efer,
            .rflags = cpu->guest.rflags,
            .cpl = cpu->guest.cpl,
            .code_64bit = cpu->guest.mode_64bit,
        };
    }
    return (struct insn_mode){
        .cr0 = cpu->root.cr0,
        .cr4 = cpu->root.cr4,
        .efer = cpu->root.efer,
        .rflags = cpu->execution.rflags,
        .cpl = cpu->execution.cpl,
        .code_64bit = (cpu->root.efer & VMXC_EFER_LMA) && cpu->execution.code_64bit,
    };
}

bool vmxsim_insn_mode_has_vmx(const struct vmxsim_cpu *cpu)
{
    const struct insn_mode mode = vmxsim_insn_mode(cpu);
    const bool compatibility = (mode.efer & VMXC_EFER_LMA) && !mode.code_64bit;

    return (mode.cr0 & VMXC_CR0_PE) && !(mode.rflags & VMXC_RFLAGS_VM) && !compatibility;
}

/* ---- Ends ---- */

static void set_flags(struct vmxsim_cpu *cpu, uint64_t flags)
{
    uint64_t *const current = rflags(cpu);

    *current = (*current & ~STATUS_FLAGS) | flags;
}

bool vmxsim_insn_is_decided(const struct vmxsim_insn_result *result)
{
    return result->kind != VMXSIM_INSN_UNDECIDED;
}

enum vmxc_status vmxsim_insn_complete(struct vmxsim_insn_result *result)
{
    result->kind = VMXSIM_INSN_SUCCEEDED;
    return VMXC_OK;
}

enum vmxc_status vmxsim_insn_succeed(struct vmxsim_cpu *cpu, struct vmxsim_insn_result *result)
{
    set_flags(cpu, 0);
    return vmxsim_insn_complete(result);
}

enum vmxc_status vmxsim_insn_fail_invalid(struct vmxsim_cpu *cpu, struct vmxsim_insn_result *result,
                                          enum vmxsim_insn_rule rule)
{
    set_flags(cpu, VMXC_RFLAGS_CF);
    result->kind = VMXSIM_INSN_FAIL_INVALID;
    result->rule = rule;
    return VMXC_OK;
}

enum vmxc_status vmxsim_insn_fail(struct vmxsim_cpu *cpu, struct vmxsim_insn_result *result,
                                  enum vmxc_vm_error error, enum vmxsim_insn_rule rule)
{
    if (cpu->vmx.current == VMXC_VMCS_POINTER_NONE)
        return vmxsim_insn_fail_invalid(cpu, result, rule);
    set_flags(cpu, VMXC_RFLAGS_ZF);
    VMXSIM_VMCS(&cpu->vmx.vmcs.fields, VM_INSTRUCTION_ERROR) = error;
    result->kind = VMXSIM_INSN_FAIL_VALID;
    result->error = error;
    result->rule = rule;
    return VMXC_OK;
}

enum vmxc_status vmxsim_insn_undefined(struct vmxsim_insn_result *result,
                                       enum vmxsim_insn_rule rule)
{
    result->kind = VMXSIM_INSN_EXCEPTION;
    result->vector = VMXC_VECTOR_UD;
    result->rule = rule;
    return VMXC_OK;
}

enum vmxc_status vmxsim_insn_protection(struct vmxsim_insn_result *result,
                                        enum vmxsim_insn_rule rule)
{
    result->kind = VMXSIM_INSN_EXCEPTION;
    result->vector = VMXC_VECTOR_GP;
    result->has_error_code = true;
    result->rule = rule;
    return VMXC_OK;
}

static uint8_t instruction_length(uint16_t exit_reason)
{
    switch (exit_reason) {
    case VMXC_EXIT_REASON_VMCALL:
    case VMXC_EXIT_REASON_VMFUNC:
    case VMXC_EXIT_REASON_VMLAUNCH:
    case VMXC_EXIT_REASON_VMRESUME:
    case VMXC_EXIT_REASON_VMXOFF:
        return BARE_INSTRUCTION_LENGTH;
    default:
        return 0;
    }
}

enum vmxc_status vmxsim_insn_exit(struct vmxsim_cpu *cpu, struct vmxsim_insn_result *result,
                                  uint16_t exit_reason, enum vmxsim_insn_rule rule)
{
    const struct vmxsim_outcome outcome = {
        .kind = VMXSIM_OUTCOME_VM_EXIT, .exit_reason = exit_reason, .qualification_defined = true};
    const struct vmxsim_exit_context context = {.instruction_length =
                                                    instruction_length(exit_reason)};
    enum vmxc_vmx_abort abort; /* noted in the processor's state */

    VMXC_TRY(vmxsim_exit_perform(cpu, &outcome, &context, &abort));
    result->kind = VMXSIM_INSN_VM_EXIT;
    result->exit_reason = exit_reason;
    result->rule = rule;
    return VMXC_OK;
}

/* ---- Beginnings ---- */

enum vmxc_status vmxsim_insn_start(const struct vmxsim_cpu *cpu, struct vmxsim_insn_result *result)
{
    *result = (struct vmxsim_insn_result){.entry_rule = VMXSIM_ENTRY_RULE_COUNT};
    return cpu->vmx.aborted ? VMXC_BAD_STATE : VMXC_OK;
}

void vmxsim_insn_require_vmx(const struct vmxsim_cpu *cpu, struct vmxsim_insn_result *result)
{
    if (cpu->vmx.mode == VMXSIM_VMX_OFF)
        (void)vmxsim_insn_undefined(result, VMXSIM_INSN_UD_OUTSIDE_VMX);
    else if (!vmxsim_insn_mode_has_vmx(cpu))
        (void)vmxsim_insn_undefined(result, VMXSIM_INSN_UD_MODE);
}

void vmxsim_insn_require_cpl0(const struct vmxsim_cpu *cpu, struct vmxsim_insn_result *result)
{
    if (vmxsim_insn_mode(cpu).cpl > 0)
        (void)vmxsim_insn_protection(result, VMXSIM_INSN_CPL);
}

enum vmxc_status vmxsim_insn_begin(struct vmxsim_cpu *cpu, uint16_t exit_reason,
                                   struct vmxsim_insn_result *result)
{
    VMXC_TRY(vmxsim_insn_start(cpu, result));
    vmxsim_insn_require_vmx(cpu, result);
    if (vmxsim_insn_is_decided(result))
        return VMXC_OK;
    if (in_guest(cpu))
        return vmxsim_insn_exit(cpu, result, exit_reason, VMXSIM_INSN_NON_ROOT);
    vmxsim_insn_require_cpl0(cpu, result);
    return VMXC_OK;
}

/* ---- What several instructions ask ---- */

bool vmxsim_insn_is_region_address(const struct vmxsim_cpu *cpu, uint64_t address)
{
    const bool narrow = vmxsim_cpu_capability(cpu, VMXC_MSR_VMX_BASIC) & VMXC_VMX_BASIC_ADDRESS_32;
    const unsigned width = narrow ? 32 : vmxsim_profile_features(cpu->profile)->maxphyaddr;

    return (address & VMXC_PAGE_MASK) == 0 && address >> width == 0;
}

bool vmxsim_insn_is_fixed(const struct vmxsim_cpu *cpu, uint64_t value, uint32_t fixed0_msr)
{
    const uint64_t must_be_1 = vmxsim_cpu_capability(cpu, fixed0_msr);
    const uint64_t may_be_1 = vmxsim_cpu_capability(cpu, fixed0_msr + 1);

    return (value & must_be_1) == must_be_1 && (value & ~may_be_1) == 0;
}

/* The VM-entry checks themselves answer, for a VMCS that has nothing but EPT. */
bool vmxsim_insn_is_eptp(const struct vmxsim_cpu *cpu, uint64_t eptp)
{
    const struct vmxsim_vmcs vmcs = {
        .value = {
            [VMXC_VMCS_ORDINAL_PRIMARY_PROCESSOR_BASED_CONTROLS] =
                VMXC_PRIMARY_ACTIVATE_SECONDARY_CONTROLS,
            [VMXC_VMCS_ORDINAL_SECONDARY_PROCESSOR_BASED_CONTROLS] = VMXC_SECONDARY_ENABLE_EPT,
            [VMXC_VMCS_ORDINAL_EPT_POINTER] = eptp,
        }};
    const struct vmxsim_entry_processor processor = vmxsim_entry_processor_default(0);
    const struct vmxsim_entry_input input = {
        .vmcs = &vmcs, .profile = cpu->profile, .processor = &processor};
    struct vmxsim_entry_report report;

    vmxsim_entry_check(&input, &report);
    for (uint32_t i = 0; i < report.violation_count; i++) {
        const enum vmxsim_entry_rule rule = report.violation[i].rule;
        if (rule >= VMXSIM_ENTRY_CTL_EPTP_MT && rule <= VMXSIM_ENTRY_CTL_EPTP_RSVD)
            return false;
    }
    return true;
}
