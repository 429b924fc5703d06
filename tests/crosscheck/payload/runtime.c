/* SPDX-License-Identifier: Apache-2.0 */
/* The four memory functions that a freestanding compiler may call anyway. */
#include "internal/string.h"

#include <stdint.h>

void *memcpy(void *restrict target, const void *restrict source, size_t length)
{
    void *const start = target;

    __asm__ volatile("rep movsb" : "+D"(target), "+S"(source), "+c"(length) : : "memory");
    return start;
}

void *memmove(void *target, const void *source, size_t length)
{
    if ((uintptr_t)target - (uintptr_t)source >= length)
        return memcpy(target, source, length);
    for (size_t i = length; i-- != 0;)
        ((volatile uint8_t *)target)[i] = ((const uint8_t *)source)[i];
    return target;
}

void *memset(void *target, int byte, size_t length)
{
    void *const start = target;

    __asm__ volatile("rep stosb" : "+D"(target), "+c"(length) : "a"(byte) : "memory");
    return start;
}

int memcmp(const void *left, const void *right, size_t length)
{
    const uint8_t *const a = left;
    const uint8_t *const b = right;

    for (size_t i = 0; i < length; i++)
        if (a[i] != b[i])
            return a[i] < b[i] ? -1 : 1;
    return 0;
}
