/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The four memory functions that a freestanding compiler may call anyway; the environment supplies them.
 */
#ifndef VMXC_INTERNAL_STRING_H
#define VMXC_INTERNAL_STRING_H

#include <stddef.h>

void *memcpy(void *restrict target, const void *restrict source, size_t length);
void *memmove(void *target, const void *source, size_t length);
void *memset(void *target, int byte, size_t length);
int memcmp(const void *left, const void *right, size_t length);

#endif
