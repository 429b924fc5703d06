/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Append-only text in a caller's buffer, truncated the way snprintf does it: what does not fit is counted,
 * not stored.
 *
 *     struct vmxc_text text = vmxc_text_begin(buffer, size);
 *     vmxc_text_string(&text, "frame ");
 *     vmxc_text_hex(&text, hpa);
 *     return vmxc_text_end(&text);
 */
#ifndef VMXC_INTERNAL_TEXT_H
#define VMXC_INTERNAL_TEXT_H

#include <stddef.h>
#include <stdint.h>

struct vmxc_text {
    char *buffer; /* may be NULL if size is 0 */
    size_t size;
    size_t length; /* of the whole text so far, stored or not */
};

struct vmxc_text vmxc_text_begin(char *buffer, size_t size);
void vmxc_text_char(struct vmxc_text *text, char character);
void vmxc_text_string(struct vmxc_text *text, const char *string);
/* Decimal digits, without sign or padding. */
void vmxc_text_decimal(struct vmxc_text *text, uint64_t value);
/* "0x" and lower-case digits, without leading zeros: "0x0", "0x3000000". */
void vmxc_text_hex(struct vmxc_text *text, uint64_t value);
/* Terminates the text with a NUL if there is any room; the length of the whole text without it. */
size_t vmxc_text_end(struct vmxc_text *text);

#endif
