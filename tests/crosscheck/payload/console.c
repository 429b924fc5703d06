/* SPDX-License-Identifier: Apache-2.0 */
#include "payload.h"

#include <stdarg.h>

#include "internal/string.h"

#define DEBUG_PORT    0xe9
#define SERIAL_PORT   0x3f8
#define SERIAL_STATUS (SERIAL_PORT + 5)

static char line[65536];
static size_t length;
static bool serial;

void out8(uint16_t port, uint8_t value)
{
    __asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}

uint8_t in8(uint16_t port)
{
    uint8_t value;

    __asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}

/* 115200 baud, 8 data bits, no parity, 1 stop bit; if there is a serial port, which its scratch register tells. */
void console_init(void)
{
    out8(SERIAL_PORT + 7, 0x5a);
    if (in8(SERIAL_PORT + 7) != 0x5a)
        return;
    out8(SERIAL_PORT + 1, 0);
    out8(SERIAL_PORT + 3, 0x80);
    out8(SERIAL_PORT, 1);
    out8(SERIAL_PORT + 1, 0);
    out8(SERIAL_PORT + 3, 3);
    out8(SERIAL_PORT + 2, 7);
    serial = true;
}

static void serial_write(const char *text, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        while (!(in8(SERIAL_STATUS) & 0x20))
            ;
        out8(SERIAL_PORT, (uint8_t)text[i]);
    }
}

void console_show(void)
{
    const char *next = line;
    size_t count = length;

    if (serial)
        serial_write(line, length);
    __asm__ volatile("rep outsb" : "+S"(next), "+c"(count) : "d"(DEBUG_PORT) : "memory");
    length = 0;
}

static void put(char character)
{
    if (length == sizeof(line))
        console_show();
    line[length++] = character;
}

void console_text(const char *text)
{
    while (*text != '\0')
        put(*text++);
}

static void put_number(uint64_t value, unsigned base)
{
    char digits[20];
    size_t count = 0;

    do {
        digits[count++] = "0123456789abcdef"[value % base];
        value /= base;
    } while (value != 0);
    while (count != 0)
        put(digits[--count]);
}

void console_hex(uint64_t value)
{
    put_number(value, 16);
}

void console_number(uint64_t value)
{
    put_number(value, 10);
}

void console_key(const char *key, uint64_t value)
{
    if (value == 0)
        return;
    put(' ');
    console_text(key);
    put('=');
    console_hex(value);
}

void console_flush(void)
{
    put('\n');
    console_show();
}

/* ---- The part of printf that the example hypervisor uses: %s %.4s %c %x %u %d, 'l' and '#' ---- */

struct conversion {
    bool alternate, wide;
    size_t precision;
    char letter;
};

static const char *parse_conversion(const char *format, struct conversion *conversion)
{
    *conversion = (struct conversion){.precision = SIZE_MAX};
    for (; *format == '#'; format++)
        conversion->alternate = true;
    if (*format == '.') {
        conversion->precision = 0;
        for (format++; *format >= '0' && *format <= '9'; format++)
            conversion->precision = conversion->precision * 10 + (size_t)(*format - '0');
    }
    for (; *format == 'l'; format++)
        conversion->wide = true;
    conversion->letter = *format;
    return format + 1;
}

static void put_integer(const struct conversion *conversion, uint64_t value)
{
    if (conversion->letter == 'x' && conversion->alternate && value != 0)
        console_text("0x");
    put_number(value, conversion->letter == 'x' ? 16 : 10);
}

void console_print(const char *format, ...)
{
    struct conversion conversion;
    va_list arguments;

    va_start(arguments, format);
    while (*format != '\0') {
        if (*format != '%') {
            put(*format++);
            continue;
        }
        format = parse_conversion(format + 1, &conversion);
        if (conversion.letter == 's') {
            const char *text = va_arg(arguments, const char *);
            for (size_t i = 0; i < conversion.precision && text[i] != '\0'; i++)
                put(text[i]);
        } else if (conversion.letter == 'c') {
            put((char)va_arg(arguments, int));
        } else if (conversion.letter == '%') {
            put('%');
        } else if (conversion.wide) {
            put_integer(&conversion, va_arg(arguments, unsigned long));
        } else {
            put_integer(&conversion, va_arg(arguments, unsigned));
        }
    }
    va_end(arguments);
    console_show();
}

/* ---- The end of the machine ---- */

_Noreturn void machine_end(uint8_t code)
{
    for (const char *text = "Shutdown"; *text != '\0'; text++)
        out8(0x8900, (uint8_t)*text);
    out8(0xf4, code);
    for (;;)
        __asm__ volatile("cli; hlt");
}
