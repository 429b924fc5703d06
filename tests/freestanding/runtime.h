/* SPDX-License-Identifier: Apache-2.0 */
/* What stands in for an operating system and a C library: a way to print, a way to end. */
#ifndef FREESTANDING_RUNTIME_H
#define FREESTANDING_RUNTIME_H

#include <stddef.h>
#include <stdint.h>

/* The program; _start calls it and exits with its result. */
int freestanding_main(void);

/* Writes to standard output. */
void print(const char *text);
void print_number(uint64_t number); /* decimal */

#endif
