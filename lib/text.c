/* SPDX-License-Identifier: Apache-2.0 */
#include "internal/text.h"

struct vmxc_text vmxc_text_begin(char *buffer, size_t size)
{
    return (struct vmxc_text){.buffer = buffer, .size = size, .length = 0};
}

void vmxc_text_char(struct vmxc_text *text, char character)
{
    if (text->length < text->size)
        text->buffer[text->length] = character;
    text->length++;
}

void vmxc_text_string(struct vmxc_text *text, const char *string)
{
    for (; *string != '\0'; string++)
        vmxc_text_char(text, *string);
}

/* The digits of `value`, most significant first, at least one. */
static void digits(struct vmxc_text *text, uint64_t value, unsigned base)
{
    char reversed[20]; /* 2^64 - 1 has 20 decimal digits */
    size_t count = 0;

    do {
        reversed[count++] = "0123456789abcdef"[value % base];
        value /= base;
    } while (value != 0);
    while (count > 0)
        vmxc_text_char(text, reversed[--count]);
}

void vmxc_text_decimal(struct vmxc_text *text, uint64_t value)
{
    digits(text, value, 10);
}

void vmxc_text_hex(struct vmxc_text *text, uint64_t value)
{
    vmxc_text_string(text, "0x");
    digits(text, value, 16);
}

size_t vmxc_text_end(struct vmxc_text *text)
{
    if (text->size > 0)
        text->buffer[text->length < text->size ? text->length : text->size - 1] = '\0';
    return text->length;
}
