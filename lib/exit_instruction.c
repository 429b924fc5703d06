/* SPDX-License-Identifier: Apache-2.0 */
/* VM-exit instruction information. */
#include "vmxcore/exit_info.h"

#define LARGEST_SEGMENT 5u /* GS */

/* What a layout has. A size is 0 where there is none. */
struct layout {
    bool memory;        /* a memory operand */
    bool register_form; /* a register may stand in its place */
    bool string;        /* address size and segment only */
    bool reg1, reg2, identity;
    uint64_t size;
};

static const struct layout layouts[VMXC_INSTRUCTION_LAYOUT_COUNT] = {
    [VMXC_INSTRUCTION_LAYOUT_STRING] = {.string = true},
    [VMXC_INSTRUCTION_LAYOUT_MEMORY] = {.memory = true},
    [VMXC_INSTRUCTION_LAYOUT_MEMORY_REG2] = {.memory = true, .reg2 = true},
    [VMXC_INSTRUCTION_LAYOUT_GDTR_IDTR] = {.memory = true,
                                           .identity = true,
                                           .size = VMXC_INSTRUCTION_TABLE_SIZE_32},
    [VMXC_INSTRUCTION_LAYOUT_LDTR_TR] = {.memory = true, .register_form = true, .identity = true},
    [VMXC_INSTRUCTION_LAYOUT_RANDOM] = {.reg1 = true, .size = VMXC_INSTRUCTION_RANDOM_SIZE},
    [VMXC_INSTRUCTION_LAYOUT_VMREAD] = {.memory = true, .register_form = true, .reg2 = true},
    [VMXC_INSTRUCTION_LAYOUT_REGISTER] = {.reg1 = true},
    [VMXC_INSTRUCTION_LAYOUT_XMM] = {.reg1 = true, .reg2 = true},
};

static const uint8_t layout_of[] = {
#define VMXC_EXIT_LAYOUT(reason, qualification, instruction) \
    [VMXC_EXIT_REASON_##reason] = VMXC_INSTRUCTION_LAYOUT_##instruction,
#include "vmxcore/defs/exit_layouts.def"
};

/* 0, 1, 2 are 16, 32, 64 bits; in bytes. 0: none of these. */
static uint8_t size_in_bytes(uint64_t code)
{
    static const uint8_t bytes[] = {2, 4, 8};

    return code < sizeof(bytes) ? bytes[code] : 0;
}

static enum vmxc_gpr gpr(uint32_t info, uint64_t mask)
{
    return (enum vmxc_gpr)VMXC_FIELD_GET(info, mask);
}

/* INS leaves the segment undefined, so it is no error what it says there. */
static enum vmxc_status decode_string(uint32_t info, struct vmxc_exit_operand *operand)
{
    operand->segment = (uint8_t)VMXC_FIELD_GET(info, VMXC_INSTRUCTION_SEGMENT);
    operand->address_size = size_in_bytes(VMXC_FIELD_GET(info, VMXC_INSTRUCTION_ADDRESS_SIZE));
    return operand->address_size != 0 ? VMXC_OK : VMXC_BAD_FORMAT;
}

static enum vmxc_status decode_memory(uint32_t info, struct vmxc_exit_operand *operand)
{
    VMXC_TRY(decode_string(info, operand));
    if (operand->segment > LARGEST_SEGMENT)
        return VMXC_BAD_FORMAT;
    if (!(info & VMXC_INSTRUCTION_NO_BASE)) {
        operand->has_base = true;
        operand->base = gpr(info, VMXC_INSTRUCTION_BASE);
    }
    if (!(info & VMXC_INSTRUCTION_NO_INDEX)) {
        operand->has_index = true;
        operand->index = gpr(info, VMXC_INSTRUCTION_INDEX);
        operand->scale = (uint8_t)(1u << VMXC_FIELD_GET(info, VMXC_INSTRUCTION_SCALE));
    }
    return VMXC_OK;
}

/* The operand that may be in memory. */
static enum vmxc_status decode_operand(const struct layout *layout, uint32_t info,
                                       struct vmxc_exit_instruction *instruction)
{
    if (layout->string) {
        instruction->memory = true;
        return decode_string(info, &instruction->operand);
    }
    if (!layout->memory)
        return VMXC_OK;
    if (!(info & VMXC_INSTRUCTION_REGISTER_FORM)) {
        instruction->memory = true;
        return decode_memory(info, &instruction->operand);
    }
    if (!layout->register_form)
        return VMXC_BAD_FORMAT;
    instruction->reg1 = gpr(info, VMXC_INSTRUCTION_REG1);
    return VMXC_OK;
}

enum vmxc_status vmxc_exit_instruction(uint16_t reason, uint32_t info,
                                       struct vmxc_exit_instruction *instruction)
{
    const bool known = reason < sizeof(layout_of) / sizeof(layout_of[0]);
    const uint8_t which = known ? layout_of[reason] : (uint8_t)VMXC_INSTRUCTION_LAYOUT_NONE;
    const struct layout *const layout = &layouts[which];
    struct vmxc_exit_instruction fresh = {.memory = false};

    if (which == VMXC_INSTRUCTION_LAYOUT_NONE)
        return VMXC_NOT_FOUND;
    VMXC_TRY(decode_operand(layout, info, &fresh));
    if (layout->size != 0) {
        fresh.operand_size = size_in_bytes(VMXC_FIELD_GET(info, layout->size));
        if (fresh.operand_size == 0)
            return VMXC_BAD_FORMAT;
    }
    if (layout->reg1)
        fresh.reg1 = gpr(info, VMXC_INSTRUCTION_REG1);
    if (layout->reg2)
        fresh.reg2 = gpr(info, VMXC_INSTRUCTION_REG2);
    if (layout->identity)
        fresh.identity = (uint8_t)VMXC_FIELD_GET(info, VMXC_INSTRUCTION_TABLE_IDENTITY);
    *instruction = fresh;
    return VMXC_OK;
}
