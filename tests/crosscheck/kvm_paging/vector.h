/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Vector files (docs/vectors.md): what this engine reads of them. Keys that it does not need are not looked at;
 * `vmxsim replay` of what it writes checks them all.
 */
#ifndef KVM_PAGING_VECTOR_H
#define KVM_PAGING_VECTOR_H

#include "harness.h"
#include "machine.h"
#include "state.h"

#include <jansson.h>

#define MAX_ACCESSES 16u

struct vector_text {
    char text[sizeof "0x0123456789abcdef"];
};

struct vector_text vector_hex(uint64_t value);
/* A hexadecimal string or a count; anything else is 0. */
uint64_t vector_number(const json_t *value);
uint64_t vector_load(const uint8_t *bytes, unsigned size);

/* A case: its memory in ascending order, its state, its accesses. */
struct vector_word {
    uint64_t gpa, value;
};

struct vector_case {
    const char *id;
    struct vector_word *words;
    size_t word_count;
    struct state state;
    struct access accesses[MAX_ACCESSES];
    size_t access_count;
};

/* Gives the machine the RAM that the header lists. */
bool vector_add_ram(struct machine *machine, const json_t *header, struct reason *why);

/* Reads a case. vector_case_free in any case. False: it is malformed, or not for a plain guest. */
bool vector_read_case(const json_t *header, const json_t *line, struct vector_case *vector,
                      struct reason *why);
void vector_case_free(struct vector_case *vector);

#endif
