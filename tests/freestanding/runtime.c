/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Entry point, two Linux system calls, and the four memory functions that libvmxcore needs. The memory functions
 * are string instructions: a loop in C could be turned into a call of the very function it implements.
 */
#include "runtime.h"

enum { SYSCALL_WRITE = 1, SYSCALL_EXIT = 60, STANDARD_OUTPUT = 1 };

void *memcpy(void *restrict destination, const void *restrict source, size_t length);
void *memmove(void *destination, const void *source, size_t length);
void *memset(void *destination, int byte, size_t length);
int memcmp(const void *left, const void *right, size_t length);
_Noreturn void start(void);

/* The kernel enters with a stack that is aligned to 16 bytes; C code expects a return address on it. */
__asm__(".globl _start\n"
        "_start:\n"
        "    xorl %ebp, %ebp\n"
        "    call start\n");

static uint64_t system_call(uint64_t number, uint64_t first, uint64_t second, uint64_t third)
{
    uint64_t result;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "0"(number), "D"(first), "S"(second), "d"(third)
                     : "rcx", "r11", "memory");
    return result;
}

_Noreturn void start(void)
{
    const int result = freestanding_main();
    for (;;)
        system_call(SYSCALL_EXIT, (uint64_t)result, 0, 0);
}

void print(const char *text)
{
    size_t length = 0;
    while (text[length] != '\0')
        length++;
    system_call(SYSCALL_WRITE, STANDARD_OUTPUT, (uint64_t)(uintptr_t)text, length);
}

void print_number(uint64_t number)
{
    char digits[21];
    size_t at = sizeof(digits) - 1;
    digits[at] = '\0';
    do {
        digits[--at] = (char)('0' + number % 10);
        number /= 10;
    } while (number != 0);
    print(&digits[at]);
}

void *memcpy(void *restrict destination, const void *restrict source, size_t length)
{
    void *to = destination;
    __asm__ volatile("rep movsb" : "+D"(to), "+S"(source), "+c"(length) : : "memory");
    return destination;
}

void *memmove(void *destination, const void *source, size_t length)
{
    if ((uintptr_t)destination - (uintptr_t)source >= length)
        return memcpy(destination, source, length);

    /* The destination starts inside the source: copy from the last byte down. */
    uint8_t *to = (uint8_t *)destination + length - 1;
    const uint8_t *from = (const uint8_t *)source + length - 1;
    __asm__ volatile("std\n\trep movsb\n\tcld" : "+D"(to), "+S"(from), "+c"(length) : : "memory");
    return destination;
}

void *memset(void *destination, int byte, size_t length)
{
    void *to = destination;
    __asm__ volatile("rep stosb" : "+D"(to), "+c"(length) : "a"(byte) : "memory");
    return destination;
}

int memcmp(const void *left, const void *right, size_t length)
{
    const uint8_t *a = left;
    const uint8_t *b = right;
    for (; length > 0; a++, b++, length--) {
        if (*a != *b)
            return *a < *b ? -1 : 1;
    }
    return 0;
}
