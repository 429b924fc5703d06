/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reproducers: what a harness did before a property did not hold, as a C program over the public headers and as a Python
 * program over the package's C layer (vmxsim.raw).
 *
 * A harness notes the calls that it makes. Nothing is kept as long as all is well; when a property does not hold, the
 * input runs once more, and its notes become the programs. Each of them ends with the look at what is wrong,
 * and with exit status 1 as long as it is.
 *
 *     REPRODUCE_CALL(VMXC_OK, "vmxc_io_bitmap_set(&io, 0x%x, %u, %d)", port, size, intercept);
 *     C:        step("...", vmxc_io_bitmap_set(&io, 0x70, 1, 1), 0);
 *     Python:   step("...", lib.vmxc_io_bitmap_set(io, 0x70, 1, 1), 0)
 *
 * Notes are C, of which Python knows: calls of the libraries, their enumerators, assignments, members, &, NULL.
 */
#ifndef VMXSIM_FUZZ_REPRODUCE_H
#define VMXSIM_FUZZ_REPRODUCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The failing input runs again: notes are kept. */
extern bool reproducing;

/* A variable of this type, all zero; or a pointer to one, for objects that the libraries make. */
void reproduce_value(const char *type, const char *name);
void reproduce_pointer(const char *type, const char *name);

/* An array of them. */
void reproduce_array(const char *type, const char *name, unsigned count);

/* A machine with RAM [0, size) and a processor of this built-in profile: `memory` and `cpu`. */
void reproduce_machine(uint64_t ram_size, const char *profile, bool no_poison);

/* name.member[i] = numbers[i], but for zeros: they are there already. */
void reproduce_elements(const char *name, const char *member, const uint64_t *numbers,
                        size_t count);

/* A statement: an assignment, or a call without a result. */
__attribute__((format(printf, 1, 2))) void reproduce(const char *format, ...);

/* A number for a member of a value; for names that Python has other uses for, too. */
void reproduce_member(const char *name, const char *member, uint64_t value);

/* A call, and what it returned. */
__attribute__((format(printf, 2, 3))) void reproduce_call(int64_t result, const char *format, ...);

/*
 * What is looked at now, and what it should be: an expression. Takes the place of the looks before `reproduce_look_begin`; one
 * look may have several parts.
 */
void reproduce_look_begin(void);
__attribute__((format(printf, 1, 2))) void reproduce_look_do(const char *format,
                                                             ...); /* a statement */
__attribute__((format(printf, 2, 3))) void reproduce_look(uint64_t expected, const char *format,
                                                          ...);

/* Arguments are not looked at unless they are needed. */
#define REPRODUCE(...)              \
    do {                            \
        if (reproducing)            \
            reproduce(__VA_ARGS__); \
    } while (0)
#define REPRODUCE_CALL(...)              \
    do {                                 \
        if (reproducing)                 \
            reproduce_call(__VA_ARGS__); \
    } while (0)
#define REPRODUCE_LOOK_DO(...)              \
    do {                                    \
        if (reproducing)                    \
            reproduce_look_do(__VA_ARGS__); \
    } while (0)
#define REPRODUCE_LOOK(...)              \
    do {                                 \
        if (reproducing)                 \
            reproduce_look(__VA_ARGS__); \
    } while (0)

/* ---- For harness.c ---- */

/* Notes begin; `what` does not hold. */
void reproduce_begin(const char *what);

/* Prints both programs to stderr, if there is anything to print. */
void reproduce_print(void);

#endif
