/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guests that do not come back: halted, or in a loop. The timer reaches them as an NMI, in any activity
 * state but wait-for-SIPI.
 *
 *     PIT, one shot of 55 ms --> I/O APIC, pins 0 and 2 --> NMI
 *
 * The 8259 has all its lines masked. Where there is no I/O APIC a guest that hangs is found by who reads the lines.
 */
#include "payload.h"

#define IO_APIC          0xfec00000u
#define REDIRECTION(pin) (0x10u + 2 * (pin))
#define DELIVER_NMI      0x400u
#define MASKED           0x10000u

#define PIC_1_DATA  0x21
#define PIC_2_DATA  0xa1
#define PIT_COUNT   0x40
#define PIT_CONTROL 0x43

static bool has_io_apic;

static void io_apic_write(uint32_t index, uint32_t value)
{
    *(volatile uint32_t *)(uintptr_t)IO_APIC = index;
    *(volatile uint32_t *)(uintptr_t)(IO_APIC + 0x10) = value;
}

static uint32_t io_apic_read(uint32_t index)
{
    *(volatile uint32_t *)(uintptr_t)IO_APIC = index;
    return *(volatile uint32_t *)(uintptr_t)(IO_APIC + 0x10);
}

static void route(uint32_t entry)
{
    for (uint32_t pin = 0; pin <= 2; pin += 2) {
        io_apic_write(REDIRECTION(pin) + 1, 0);
        io_apic_write(REDIRECTION(pin), entry);
    }
}

void watchdog_init(void)
{
    out8(PIC_1_DATA, 0xff);
    out8(PIC_2_DATA, 0xff);
    const uint32_t version = io_apic_read(1);
    has_io_apic = version != UINT32_MAX && version != 0;
    if (has_io_apic)
        route(MASKED);
}

void watchdog_start(void)
{
    if (!has_io_apic)
        return;
    out8(PIC_1_DATA, 0xff); /* an experiment may have written there */
    out8(PIC_2_DATA, 0xff);
    out8(PIT_CONTROL, 0x30); /* counter 0, both bytes, mode 0 */
    route(DELIVER_NMI);
    out8(PIT_COUNT, 0xff);
    out8(PIT_COUNT, 0xff);
}

void watchdog_stop(void)
{
    if (has_io_apic)
        route(MASKED);
}
