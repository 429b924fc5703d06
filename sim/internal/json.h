/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Strict reading of JSON. Every failure is VMXC_BAD_FORMAT (VMXC_NO_MEMORY where the host has none left) and a text that
 * names the place:
 *
 *     access.jsonl:12: vmcs.long64.0x4000: must be a hexadecimal string such as "0x1e"
 *
 * A struct vmxsim_json is a value together with its place. Places are chained from the child to the root and live on
 * the reader's stack, so that nothing is allocated and a path becomes text only when something is wrong:
 *
 *     struct vmxsim_json header = vmxsim_json_root(value, "access.jsonl:1", NULL), cpu;
 *     VMXC_TRY(vmxsim_json_only_keys(&header, header_keys, header_key_count, error));
 *     VMXC_TRY(vmxsim_json_member(&header, "cpu", &cpu, error));
 *     VMXC_TRY(vmxsim_json_get_count(&cpu, "maxphyaddr", 32, 52, &maxphyaddr, error));
 *
 * Ownership: a place borrows its json_t, its parent and its strings; the root's owner keeps them alive.
 * Only this header, its users in sim/ and sim/cli/ know jansson.
 */
#ifndef VMXSIM_INTERNAL_JSON_H
#define VMXSIM_INTERNAL_JSON_H

#include <jansson.h>

#include "internal/writer.h"
#include "vmxsim/error.h"

struct vmxsim_json {
    json_t *value;
    const struct vmxsim_json *parent; /* NULL: the root */
    const char *key;      /* in the parent; NULL: an element of an array, or a root without name */
    size_t index;         /* element of an array */
    const char *document; /* root: "file:line" or "file"; NULL: not worth mentioning */
};

/* ---- Documents ---- */

/*
 * Parses text that holds exactly one object or array. Duplicate keys, NUL characters and anything behind the
 * value are errors; `document` (or NULL) starts the error text. On success the caller owns `*root`: json_decref.
 */
VMXC_MUST_CHECK enum vmxc_status vmxsim_json_parse(const char *text, size_t length,
                                                   const char *document, json_t **root,
                                                   struct vmxsim_error *error);

/*
 * Adds the value as text; `flags` are jansson's (JSON_COMPACT ...). Not json_dumps: of a key for which its buffer
 * cannot grow it leaves out the characters and goes on.
 */
void vmxsim_text_add_json(struct vmxsim_text *text, const json_t *value, size_t flags);

/* ---- Places ---- */

/* The root of a document; `name` (or NULL) is the first part of each path below it. */
struct vmxsim_json vmxsim_json_root(json_t *value, const char *document, const char *name);

/* A place below `parent`; for loops with json_object_foreach and json_array_foreach. */
struct vmxsim_json vmxsim_json_child(const struct vmxsim_json *parent, const char *key,
                                     json_t *value);
struct vmxsim_json vmxsim_json_element(const struct vmxsim_json *parent, size_t index);

/* Fills `error` with "document: path: " and the message; returns VMXC_BAD_FORMAT. */
enum vmxc_status vmxsim_json_fail(const struct vmxsim_json *at, struct vmxsim_error *error,
                                  const char *format, ...) VMXC_PRINTF(3, 4);

/* Writes "vmcs.long64[3].0x4000" into buffer[size], always NUL-terminated; cut at the end if need be. */
void vmxsim_json_path(const struct vmxsim_json *at, char *buffer, size_t size);

/* ---- Objects ---- */

/* The value is an object and has no key but these. */
VMXC_MUST_CHECK enum vmxc_status vmxsim_json_only_keys(const struct vmxsim_json *at,
                                                       const char *const keys[], size_t key_count,
                                                       struct vmxsim_error *error);

/* The value of a key that must be there. `at` must be an object, which is checked. */
VMXC_MUST_CHECK enum vmxc_status vmxsim_json_member(const struct vmxsim_json *at, const char *key,
                                                    struct vmxsim_json *child,
                                                    struct vmxsim_error *error);

/* The value of a key that may be there; false: it is not, or `at` is no object. */
bool vmxsim_json_find(const struct vmxsim_json *at, const char *key, struct vmxsim_json *child);

/* ---- Values: each checks the type and the bounds, which are inclusive ---- */

VMXC_MUST_CHECK enum vmxc_status vmxsim_json_is_object(const struct vmxsim_json *at,
                                                       struct vmxsim_error *error);
VMXC_MUST_CHECK enum vmxc_status vmxsim_json_is_array(const struct vmxsim_json *at,
                                                      struct vmxsim_error *error);

/* A hexadecimal string, see vmxsim_parse_hex. */
VMXC_MUST_CHECK enum vmxc_status vmxsim_json_hex(const struct vmxsim_json *at, uint64_t max,
                                                 uint64_t *value, struct vmxsim_error *error);
/* A JSON integer that is not negative. */
VMXC_MUST_CHECK enum vmxc_status vmxsim_json_count(const struct vmxsim_json *at, uint64_t min,
                                                   uint64_t max, uint64_t *value,
                                                   struct vmxsim_error *error);
VMXC_MUST_CHECK enum vmxc_status vmxsim_json_bool(const struct vmxsim_json *at, bool *value,
                                                  struct vmxsim_error *error);
/* A string; it lives as long as the document. */
VMXC_MUST_CHECK enum vmxc_status vmxsim_json_string(const struct vmxsim_json *at,
                                                    const char **value, struct vmxsim_error *error);

/* vmxsim_json_member followed by the value. */
VMXC_MUST_CHECK enum vmxc_status vmxsim_json_get_hex(const struct vmxsim_json *at, const char *key,
                                                     uint64_t max, uint64_t *value,
                                                     struct vmxsim_error *error);
VMXC_MUST_CHECK enum vmxc_status vmxsim_json_get_count(const struct vmxsim_json *at,
                                                       const char *key, uint64_t min, uint64_t max,
                                                       uint64_t *value, struct vmxsim_error *error);
VMXC_MUST_CHECK enum vmxc_status vmxsim_json_get_bool(const struct vmxsim_json *at, const char *key,
                                                      bool *value, struct vmxsim_error *error);
VMXC_MUST_CHECK enum vmxc_status vmxsim_json_get_string(const struct vmxsim_json *at,
                                                        const char *key, const char **value,
                                                        struct vmxsim_error *error);

/* ---- Hexadecimal ---- */

/* A key of `at` as a number: for objects whose keys are addresses, encodings or MSR indices. */
VMXC_MUST_CHECK enum vmxc_status vmxsim_json_hex_key(const struct vmxsim_json *child, uint64_t max,
                                                     uint64_t *value, struct vmxsim_error *error);

/*
 * Parses length characters that are lower-case hexadecimal digits without leading zeros ("0" itself is fine), at
 * most 16 of them. _hex: after the prefix "0x", up to the NUL.
 */
bool vmxsim_parse_hex_digits(const char *text, size_t length, uint64_t *value);
bool vmxsim_parse_hex(const char *text, uint64_t *value);

/* ---- Writing ---- */

/* A new JSON string "0x1e"; NULL: no memory. */
json_t *vmxsim_json_new_hex(uint64_t value);

#endif
