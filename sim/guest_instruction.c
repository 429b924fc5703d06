/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guest instructions whose VM exit depends on controls alone: guest_instructions.def decides.
 *
 *     #UD: it does not exist  ->  #GP, #UD: privilege  ->  VM exit  ->  completion
 *
 * Source: Intel SDM volume 3, "Instructions That Cause VM Exits Unconditionally", "Instructions That Cause VM Exits
 * Conditionally", "Information for VM Exits Due to Instruction Execution".
 */
#include "internal/guest.h"
#include "internal/insn.h"
#include "internal/tlb.h"
#include "vmxcore/defs/controls.h"

enum existence {
    EXISTS_ALWAYS,
    EXISTS_VMX_MODE,
    EXISTS_PROTECTED,
    EXISTS_SMXE,
    EXISTS_OSXSAVE,
    EXISTS_RDTSCP,
    EXISTS_WAITPKG,
    EXISTS_INVPCID,
    EXISTS_MONITOR,
    EXISTS_RDRAND,
    EXISTS_RDSEED,
};

enum privilege {
    PRIVILEGE_ANY,
    PRIVILEGE_CPL0,
    PRIVILEGE_CPL0_UD,
    PRIVILEGE_TSD,
    PRIVILEGE_PCE,
    PRIVILEGE_UMIP,
};

/* Control words; the bits that "always" has stand for none. */
enum word { WORD_ALWAYS, WORD_PRIMARY, WORD_SECONDARY };
#define VMXC_ALWAYS_0 0

static const struct instruction {
    uint16_t reason;
    enum existence existence;
    enum privilege privilege;
    enum word word;
    uint64_t control;
    enum vmxc_instruction_layout layout;
    uint8_t identity;
} instructions[VMXSIM_INSTRUCTION_COUNT] = {
#define VMXSIM_INSTRUCTION(name, reason, exists, privilege, word, bit, layout, identity) \
    [VMXSIM_INSTRUCTION_##name] = {VMXC_EXIT_REASON_##reason,                            \
                                   EXISTS_##exists,                                      \
                                   PRIVILEGE_##privilege,                                \
                                   WORD_##word,                                          \
                                   VMXC_##word##_##bit,                                  \
                                   VMXC_INSTRUCTION_LAYOUT_##layout,                     \
                                   identity},
#include "vmxsim/guest_instructions.def"
};

/* ---- Does the instruction exist? ---- */

enum cpuid_place { EBX = 1, ECX = 2 };

static bool has_cpuid(const struct vmxsim_cpu *cpu, uint32_t leaf, enum cpuid_place reg,
                      unsigned bit)
{
    uint32_t registers[4];

    return vmxsim_profile_cpuid(cpu->profile, leaf, 0, registers) == VMXC_OK &&
           (registers[reg] >> bit & 1);
}

static bool is_protected(const struct guest_state *guest)
{
    return (guest->cr0 & VMXC_CR0_PE) && !(guest->rflags & VMXC_RFLAGS_VM);
}

static bool exists(const struct vmxsim_cpu *cpu, enum existence existence)
{
    const uint64_t cr4 = cpu->guest.cr4;
    const uint64_t secondary = cpu->exits.secondary;

    switch (existence) {
    case EXISTS_ALWAYS:
        break;
    case EXISTS_VMX_MODE:
        return vmxsim_insn_mode_has_vmx(cpu);
    case EXISTS_PROTECTED:
        return is_protected(&cpu->guest);
    case EXISTS_SMXE:
        return cr4 & VMXC_CR4_SMXE;
    case EXISTS_OSXSAVE:
        return cr4 & VMXC_CR4_OSXSAVE;
    case EXISTS_RDTSCP:
        return secondary & VMXC_SECONDARY_ENABLE_RDTSCP;
    case EXISTS_WAITPKG:
        return secondary & VMXC_SECONDARY_ENABLE_USER_WAIT_AND_PAUSE;
    case EXISTS_INVPCID:
        return secondary & VMXC_SECONDARY_ENABLE_INVPCID;
    case EXISTS_MONITOR:
        return has_cpuid(cpu, 1, ECX, 3);
    case EXISTS_RDRAND:
        return has_cpuid(cpu, 1, ECX, 30);
    case EXISTS_RDSEED:
        return has_cpuid(cpu, 7, EBX, 18);
    }
    return true;
}

static enum vmxsim_walk_rule absence_rule(enum existence existence)
{
    return existence == EXISTS_VMX_MODE || existence == EXISTS_PROTECTED ? VMXSIM_RULE_UD_MODE
                                                                         : VMXSIM_RULE_UD_ABSENT;
}

/* ---- Who may execute it? ---- */

/* Ends the action if the CPL is not 0 and has to be. */
static bool check_privilege(struct walk *walk, enum privilege privilege)
{
    const uint64_t cr4 = walk->cpu->guest.cr4;
    bool restricted = false;

    switch (privilege) {
    case PRIVILEGE_ANY:
        return true;
    case PRIVILEGE_CPL0:
        return vmxsim_guest_require_cpl0(walk);
    case PRIVILEGE_CPL0_UD:
        return vmxsim_guest_require(walk, walk->cpu->guest.cpl == 0, VMXSIM_RULE_UD_PRIVILEGE);
    case PRIVILEGE_TSD:
        restricted = cr4 & VMXC_CR4_TSD;
        break;
    case PRIVILEGE_PCE:
        restricted = !(cr4 & VMXC_CR4_PCE);
        break;
    case PRIVILEGE_UMIP:
        restricted = cr4 & VMXC_CR4_UMIP;
        break;
    }
    if (!restricted || walk->cpu->guest.cpl == 0)
        return true;
    (void)vmxsim_guest_fault(walk, VMXSIM_RULE_GP_RESTRICTED, VMXC_VECTOR_GP);
    return false;
}

/* ---- Instruction information ---- */

static uint64_t memory_information(const struct vmxsim_operands *operands)
{
    return (operands->no_index ? VMXC_INSTRUCTION_NO_INDEX
                               : VMXC_FIELD_MAKE(operands->scale, VMXC_INSTRUCTION_SCALE) |
                                     VMXC_FIELD_MAKE(operands->index, VMXC_INSTRUCTION_INDEX)) |
           (operands->no_base ? VMXC_INSTRUCTION_NO_BASE
                              : VMXC_FIELD_MAKE(operands->base, VMXC_INSTRUCTION_BASE)) |
           VMXC_FIELD_MAKE(operands->address_size, VMXC_INSTRUCTION_ADDRESS_SIZE) |
           VMXC_FIELD_MAKE(operands->segment, VMXC_INSTRUCTION_SEGMENT);
}

static uint64_t memory_or_register(const struct vmxsim_operands *operands)
{
    return operands->register_form ? VMXC_INSTRUCTION_REGISTER_FORM |
                                         VMXC_FIELD_MAKE(operands->register1, VMXC_INSTRUCTION_REG1)
                                   : memory_information(operands);
}

static uint64_t information(enum vmxc_instruction_layout layout, unsigned identity,
                            const struct vmxsim_operands *operands)
{
    const uint64_t reg2 = VMXC_FIELD_MAKE(operands->register2, VMXC_INSTRUCTION_REG2);
    const uint64_t which = VMXC_FIELD_MAKE(identity, VMXC_INSTRUCTION_TABLE_IDENTITY);

    switch (layout) {
    case VMXC_INSTRUCTION_LAYOUT_NONE:
    case VMXC_INSTRUCTION_LAYOUT_STRING:
    case VMXC_INSTRUCTION_LAYOUT_REGISTER:
    case VMXC_INSTRUCTION_LAYOUT_XMM:
    case VMXC_INSTRUCTION_LAYOUT_COUNT:
        break;
    case VMXC_INSTRUCTION_LAYOUT_MEMORY:
        return memory_information(operands);
    case VMXC_INSTRUCTION_LAYOUT_MEMORY_REG2:
        return memory_information(operands) | reg2;
    case VMXC_INSTRUCTION_LAYOUT_GDTR_IDTR:
        return memory_information(operands) | which |
               (operands->operand_size == 1 ? VMXC_INSTRUCTION_TABLE_SIZE_32 : 0);
    case VMXC_INSTRUCTION_LAYOUT_LDTR_TR:
        return memory_or_register(operands) | which;
    case VMXC_INSTRUCTION_LAYOUT_RANDOM:
        return VMXC_FIELD_MAKE(operands->register1, VMXC_INSTRUCTION_REG1) |
               VMXC_FIELD_MAKE(operands->operand_size, VMXC_INSTRUCTION_RANDOM_SIZE);
    case VMXC_INSTRUCTION_LAYOUT_VMREAD:
        return memory_or_register(operands) | reg2;
    }
    return 0;
}

/* ---- What of it is undefined ---- */

#define UNDEFINED_ADDRESS VMXC_BITS(6, 2)   /* between scale and address size */
#define UNDEFINED_MIDDLE  VMXC_BITS(14, 11) /* between operand size and segment */
#define MEMORY_ONLY                                                                      \
    (VMXC_INSTRUCTION_SCALE | VMXC_INSTRUCTION_ADDRESS_SIZE | VMXC_INSTRUCTION_SEGMENT | \
     VMXC_INSTRUCTION_INDEX | VMXC_INSTRUCTION_NO_INDEX | VMXC_INSTRUCTION_BASE |        \
     VMXC_INSTRUCTION_NO_BASE)

static uint64_t undefined_of_memory(const struct vmxsim_operands *operands)
{
    return (operands->no_index ? VMXC_INSTRUCTION_SCALE | VMXC_INSTRUCTION_INDEX : 0) |
           (operands->no_base ? VMXC_INSTRUCTION_BASE : 0);
}

static uint64_t undefined_of_either(const struct vmxsim_operands *operands)
{
    return VMXC_BIT(2) | UNDEFINED_MIDDLE |
           (operands->register_form ? MEMORY_ONLY
                                    : undefined_of_memory(operands) | VMXC_INSTRUCTION_REG1);
}

/* In 64-bit mode the operand size of LGDT and the like is undefined. */
static uint64_t undefined(enum vmxc_instruction_layout layout,
                          const struct vmxsim_operands *operands, bool mode_64bit)
{
    switch (layout) {
    case VMXC_INSTRUCTION_LAYOUT_NONE:
    case VMXC_INSTRUCTION_LAYOUT_STRING:
    case VMXC_INSTRUCTION_LAYOUT_REGISTER:
    case VMXC_INSTRUCTION_LAYOUT_XMM:
    case VMXC_INSTRUCTION_LAYOUT_COUNT:
        break;
    case VMXC_INSTRUCTION_LAYOUT_MEMORY:
        return undefined_of_memory(operands) | UNDEFINED_ADDRESS | UNDEFINED_MIDDLE |
               VMXC_BITS(31, 28);
    case VMXC_INSTRUCTION_LAYOUT_MEMORY_REG2:
        return undefined_of_memory(operands) | UNDEFINED_ADDRESS | UNDEFINED_MIDDLE;
    case VMXC_INSTRUCTION_LAYOUT_GDTR_IDTR:
        return undefined_of_memory(operands) | UNDEFINED_ADDRESS | VMXC_BITS(14, 12) |
               VMXC_BITS(31, 30) | (mode_64bit ? VMXC_INSTRUCTION_TABLE_SIZE_32 : 0);
    case VMXC_INSTRUCTION_LAYOUT_LDTR_TR:
        return undefined_of_either(operands) | VMXC_BITS(31, 30);
    case VMXC_INSTRUCTION_LAYOUT_RANDOM:
        return ~(VMXC_INSTRUCTION_REG1 | VMXC_INSTRUCTION_RANDOM_SIZE);
    case VMXC_INSTRUCTION_LAYOUT_VMREAD:
        return undefined_of_either(operands);
    }
    return 0;
}

/* A displacement has as many bits as the address. */
static uint64_t undefined_displacement(const struct vmxsim_operands *operands)
{
    static const uint64_t defined[] = {UINT16_MAX, UINT32_MAX, UINT64_MAX};

    return operands->register_form ? 0 : ~defined[operands->address_size];
}

void vmxsim_guest_describe(struct vmxsim_outcome *outcome, enum vmxc_instruction_layout layout,
                           unsigned identity, const struct vmxsim_operands *operands)
{
    const bool random = layout == VMXC_INSTRUCTION_LAYOUT_RANDOM;

    if (layout == VMXC_INSTRUCTION_LAYOUT_NONE)
        return;
    outcome->instruction_info_defined = true;
    outcome->instruction_info = (uint32_t)information(layout, identity, operands);
    outcome->qualification = random || operands->register_form ? 0 : operands->displacement;
    outcome->qualification_undefined = random ? 0 : undefined_displacement(operands);
}

/* ---- Instructions ---- */

static bool is_register_number(uint8_t number)
{
    return number < 16;
}

/* Which layouts have a register form at all is the encoding's business. */
static bool operands_are_valid(const struct instruction *instruction,
                               const struct vmxsim_operands *operands)
{
    const bool may_be_register = instruction->layout == VMXC_INSTRUCTION_LAYOUT_LDTR_TR ||
                                 instruction->layout == VMXC_INSTRUCTION_LAYOUT_VMREAD ||
                                 instruction->layout == VMXC_INSTRUCTION_LAYOUT_RANDOM;

    if (instruction->layout == VMXC_INSTRUCTION_LAYOUT_NONE)
        return true;
    return operands && (may_be_register || !operands->register_form) &&
           is_register_number(operands->register1) && is_register_number(operands->register2) &&
           is_register_number(operands->index) && is_register_number(operands->base) &&
           operands->operand_size < 3 && operands->address_size < 3 && operands->scale < 4 &&
           operands->segment < 6;
}

static bool is_intercepted(const struct vmxsim_cpu *cpu, const struct instruction *instruction)
{
    switch (instruction->word) {
    case WORD_ALWAYS:
        break;
    case WORD_PRIMARY:
        return cpu->exits.primary & instruction->control;
    case WORD_SECONDARY:
        return cpu->exits.secondary & instruction->control;
    }
    return true;
}

/* VMREAD and VMWRITE of a guest may be served from the shadow VMCS. */
static bool is_shadowed(const struct vmxsim_cpu *cpu, const struct instruction *instruction)
{
    return instruction->layout == VMXC_INSTRUCTION_LAYOUT_VMREAD &&
           (cpu->exits.secondary & VMXC_SECONDARY_VMCS_SHADOWING);
}

/* At CPL 0 and without PAUSE exiting, time decides about PAUSE. */
static bool is_timed_pause(const struct vmxsim_cpu *cpu)
{
    return (cpu->exits.secondary & VMXC_SECONDARY_PAUSE_LOOP_EXITING) &&
           !(cpu->exits.primary & VMXC_PRIMARY_PAUSE_EXITING) && cpu->guest.cpl == 0;
}

static bool needs_another_call(const struct vmxsim_cpu *cpu, enum vmxsim_instruction instruction)
{
    return is_shadowed(cpu, &instructions[instruction]) ||
           (instruction == VMXSIM_INSTRUCTION_PAUSE && is_timed_pause(cpu));
}

static enum vmxc_status execute(struct walk *walk, const struct instruction *instruction,
                                const struct vmxsim_operands *operands)
{
    if (!vmxsim_guest_require(walk, exists(walk->cpu, instruction->existence),
                              absence_rule(instruction->existence)) ||
        !check_privilege(walk, instruction->privilege))
        return VMXC_OK;
    if (!is_intercepted(walk->cpu, instruction))
        return vmxsim_guest_complete(walk);
    (void)vmxsim_guest_exit(walk,
                            instruction->word == WORD_ALWAYS ? VMXSIM_RULE_EXIT_UNCONDITIONAL
                                                             : VMXSIM_RULE_EXIT_CONTROL,
                            instruction->reason, 0);
    if (operands == NULL)
        return VMXC_OK;
    vmxsim_guest_describe(walk->outcome, instruction->layout, instruction->identity, operands);
    if (walk->outcome->instruction_info_defined)
        walk->outcome->instruction_info_undefined =
            (uint32_t)undefined(instruction->layout, operands, walk->cpu->guest.mode_64bit);
    return VMXC_OK;
}

enum vmxc_status vmxsim_guest_instruction(struct vmxsim_cpu *cpu,
                                          enum vmxsim_instruction instruction,
                                          const struct vmxsim_operands *operands,
                                          struct vmxsim_outcome *outcome)
{
    struct walk walk;

    if ((unsigned)instruction >= VMXSIM_INSTRUCTION_COUNT ||
        !operands_are_valid(&instructions[instruction], operands))
        return VMXC_INVALID_INPUT;
    VMXC_TRY(vmxsim_guest_begin(&walk, cpu, outcome));
    if (needs_another_call(cpu, instruction))
        return VMXC_UNSUPPORTED;
    VMXC_TRY(execute(&walk, &instructions[instruction], operands));
    if (instruction == VMXSIM_INSTRUCTION_HLT && outcome->kind == VMXSIM_OUTCOME_COMPLETE)
        VMXSIM_VMCS(guest_vmcs(cpu), GUEST_ACTIVITY_STATE) = VMXC_ACTIVITY_HLT;
    if (instruction == VMXSIM_INSTRUCTION_INVPCID && outcome->kind == VMXSIM_OUTCOME_COMPLETE)
        vmxsim_tlb_invalidate(cpu, TLB_INVPCID, 0);
    return VMXC_OK;
}

/* ---- Instructions with an operand that the qualification or the decision needs ---- */

enum vmxc_status vmxsim_guest_invlpg(struct vmxsim_cpu *cpu, uint64_t linear,
                                     struct vmxsim_outcome *outcome)
{
    static const struct instruction invlpg = {
        .reason = VMXC_EXIT_REASON_INVLPG,
        .privilege = PRIVILEGE_CPL0,
        .word = WORD_PRIMARY,
        .control = VMXC_PRIMARY_INVLPG_EXITING,
    };
    struct walk walk;

    VMXC_TRY(vmxsim_guest_begin(&walk, cpu, outcome));
    VMXC_TRY(execute(&walk, &invlpg, NULL));
    if (outcome->exit_reason == VMXC_EXIT_REASON_INVLPG)
        outcome->qualification = linear;
    else if (outcome->kind == VMXSIM_OUTCOME_COMPLETE)
        vmxsim_tlb_invalidate(cpu, TLB_INVLPG, linear);
    return VMXC_OK;
}

enum vmxc_status vmxsim_guest_mwait(struct vmxsim_cpu *cpu, bool armed,
                                    struct vmxsim_outcome *outcome)
{
    static const struct instruction mwait = {
        .reason = VMXC_EXIT_REASON_MWAIT,
        .existence = EXISTS_MONITOR,
        .privilege = PRIVILEGE_CPL0_UD,
        .word = WORD_PRIMARY,
        .control = VMXC_PRIMARY_MWAIT_EXITING,
    };
    struct walk walk;

    VMXC_TRY(vmxsim_guest_begin(&walk, cpu, outcome));
    VMXC_TRY(execute(&walk, &mwait, NULL));
    if (outcome->exit_reason == VMXC_EXIT_REASON_MWAIT && armed)
        outcome->qualification = VMXC_QUALIFICATION_MWAIT_ARMED;
    return VMXC_OK;
}

/* More than PLE_Gap after the one before, a PAUSE is the first of a loop; so is the first after VM entry. */
static bool loop_exceeds_window(struct vmxsim_cpu *cpu, uint64_t tsc)
{
    struct pause_loop *const loop = &cpu->pause_loop;

    if (!loop->started || tsc - loop->last > cpu->exits.ple_gap)
        loop->first = tsc;
    loop->started = true;
    loop->last = tsc;
    return tsc - loop->first > cpu->exits.ple_window;
}

enum vmxc_status vmxsim_guest_pause(struct vmxsim_cpu *cpu, uint64_t tsc,
                                    struct vmxsim_outcome *outcome)
{
    struct walk walk;

    VMXC_TRY(vmxsim_guest_begin(&walk, cpu, outcome));
    if (!is_timed_pause(cpu))
        return execute(&walk, &instructions[VMXSIM_INSTRUCTION_PAUSE], NULL);
    if (cpu->pause_loop.started && tsc < cpu->pause_loop.last)
        return VMXC_INVALID_INPUT;
    if (!loop_exceeds_window(cpu, tsc))
        return vmxsim_guest_complete(&walk);
    return vmxsim_guest_exit(&walk, VMXSIM_RULE_EXIT_PAUSE_LOOP, VMXC_EXIT_REASON_PAUSE, 0);
}

static enum vmxc_status extended_state(struct vmxsim_cpu *cpu, uint16_t reason, uint64_t mask,
                                       const struct vmxsim_operands *operands,
                                       struct vmxsim_outcome *outcome)
{
    static const struct instruction shape = {.layout = VMXC_INSTRUCTION_LAYOUT_MEMORY};
    const bool enabled = (cpu->exits.secondary & VMXC_SECONDARY_ENABLE_XSAVES_XRSTORS) &&
                         (cpu->guest.cr4 & VMXC_CR4_OSXSAVE);
    struct walk walk;
    uint64_t xss = 0;

    if (!operands_are_valid(&shape, operands))
        return VMXC_INVALID_INPUT;
    VMXC_TRY(vmxsim_guest_begin(&walk, cpu, outcome));
    if (!vmxsim_guest_require(&walk, enabled, VMXSIM_RULE_UD_ABSENT) ||
        !vmxsim_guest_require_cpl0(&walk))
        return VMXC_OK;
    if (!vmxsim_cpu_read_msr(cpu, VMXC_MSR_XSS, &xss) ||
        !(mask & xss & VMXSIM_VMCS(guest_vmcs(cpu), XSS_EXITING_BITMAP)))
        return vmxsim_guest_complete(&walk);
    (void)vmxsim_guest_exit(&walk, VMXSIM_RULE_EXIT_XSS_BITMAP, reason, 0);
    vmxsim_guest_describe(outcome, shape.layout, 0, operands);
    outcome->instruction_info_undefined =
        (uint32_t)undefined(shape.layout, operands, cpu->guest.mode_64bit);
    return VMXC_OK;
}

enum vmxc_status vmxsim_guest_xsaves(struct vmxsim_cpu *cpu, uint64_t mask,
                                     const struct vmxsim_operands *operands,
                                     struct vmxsim_outcome *outcome)
{
    return extended_state(cpu, VMXC_EXIT_REASON_XSAVES, mask, operands, outcome);
}

enum vmxc_status vmxsim_guest_xrstors(struct vmxsim_cpu *cpu, uint64_t mask,
                                      const struct vmxsim_operands *operands,
                                      struct vmxsim_outcome *outcome)
{
    return extended_state(cpu, VMXC_EXIT_REASON_XRSTORS, mask, operands, outcome);
}
