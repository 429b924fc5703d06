/* SPDX-License-Identifier: Apache-2.0 */
#include "payload.h"

#define GATE_COUNT 32
#define GATE_SIZE  16 /* bytes of code per gate, in start.S */
#define GATE_TYPE  UINT64_C(0x8e)
#define WITH_ERROR_CODE                                                                     \
    (1u << 8 | 1u << 10 | 1u << 11 | 1u << 12 | 1u << 13 | 1u << 14 | 1u << 17 | 1u << 21 | \
     1u << 29 | 1u << 30)

extern uint8_t trap_gates[];
extern struct table_register {
    uint16_t limit;
    uint16_t base[4];
} idt_register;

static uint64_t idt[GATE_COUNT][2];

bool trap_has_error_code(uint64_t vector)
{
    return vector < GATE_COUNT && (WITH_ERROR_CODE >> vector & 1);
}

void trap_init(void)
{
    const uint64_t table = (uint64_t)(uintptr_t)idt;

    for (unsigned i = 0; i < GATE_COUNT; i++) {
        const uint64_t target = (uint64_t)(uintptr_t)trap_gates + i * GATE_SIZE;

        idt[i][0] = (target & 0xffff) | (uint64_t)SELECTOR_CODE << 16 | GATE_TYPE << 40 |
                    (target >> 16 & 0xffff) << 48;
        idt[i][1] = target >> 32;
    }
    idt_register.limit = sizeof(idt) - 1;
    for (unsigned i = 0; i < 4; i++)
        idt_register.base[i] = (uint16_t)(table >> 16 * i);
    __asm__ volatile("lidt %0" : : "m"(idt_register));
}

_Noreturn void trap_unexpected(void)
{
    console_text("payload: exception");
    console_key("vector", trap_caught.vector);
    console_key("error", trap_caught.error_code);
    console_key("rip", trap_caught.rip);
    console_flush();
    machine_end(3);
}
