/* SPDX-License-Identifier: Apache-2.0 */
#include "vector.h"

#include "vmxcore/defs/controls.h"
#include "vmxcore/defs/paging.h"
#include "vmxcore/defs/vmcs.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ACCESS_RIGHTS_DPL VMXC_BITS(6, 5)
#define ACCESS_RIGHTS_L   VMXC_BIT(13)

/* ---- Numbers ---- */

struct vector_text vector_hex(uint64_t value)
{
    struct vector_text result;

    (void)snprintf(result.text, sizeof result.text, "0x%" PRIx64, value);
    return result;
}

static bool parse_hex(const char *text, uint64_t *value)
{
    char *end;

    if (!text || strncmp(text, "0x", 2) != 0 || text[2] == '\0' || strlen(text) > 18)
        return false;
    *value = strtoull(text, &end, 16);
    return *end == '\0';
}

uint64_t vector_number(const json_t *value)
{
    uint64_t number = 0;

    if (json_is_integer(value))
        return (uint64_t)json_integer_value(value);
    (void)parse_hex(json_string_value(value), &number);
    return number;
}

uint64_t vector_load(const uint8_t *bytes, unsigned size)
{
    uint64_t value = 0;

    for (unsigned i = size; i > 0; i--)
        value = value << 8 | bytes[i - 1];
    return value;
}

/* ---- RAM ---- */

bool vector_add_ram(struct machine *machine, const json_t *header, struct reason *why)
{
    const json_t *const ranges = json_object_get(header, "ram");

    for (size_t i = 0; i < json_array_size(ranges); i++) {
        const json_t *const range = json_array_get(ranges, i);
        const uint64_t start = vector_number(json_array_get(range, 0));
        const uint64_t size = vector_number(json_array_get(range, 1));
        if (size == 0 || start % PAGE_SIZE || size % PAGE_SIZE)
            return refuse(why, "ram: a range is empty or not whole pages");
        if (start < HARNESS_GPA + HARNESS_SIZE && start + size > HARNESS_GPA)
            return refuse(why, "ram: a range covers 0x%" PRIx64 ", which this engine needs",
                          HARNESS_GPA);
        if (!machine_add_ram(machine, start, size, why))
            return false;
    }
    return machine->ram_count > 0 || refuse(why, "ram: there is none");
}

/* ---- [template, changes] ---- */

/* The template with the changes made, as a new object; NULL: malformed. */
static json_t *resolve(const json_t *header, const json_t *line, const char *key)
{
    const json_t *const reference = json_object_get(line, key);
    const char *const name = json_string_value(json_array_get(reference, 0));
    json_t *const base = name ? json_object_get(json_object_get(header, key), name) : NULL;
    json_t *const changes = json_array_get(reference, 1);
    json_t *const all = json_copy(base);

    if (!json_is_object(all) || !json_is_object(changes) || json_object_update(all, changes) != 0) {
        json_decref(all);
        return NULL;
    }
    return all;
}

static int compare_words(const void *a, const void *b)
{
    const struct vector_word *const first = a, *const second = b;

    return (first->gpa > second->gpa) - (first->gpa < second->gpa);
}

static bool read_words(json_t *object, struct vector_case *vector, struct reason *why)
{
    const char *key;
    json_t *value;

    vector->words = calloc(json_object_size(object) + 1, sizeof *vector->words);
    if (!vector->words)
        return refuse(why, "no host memory left");
    json_object_foreach(object, key, value)
    {
        struct vector_word *const word = &vector->words[vector->word_count++];
        if (!parse_hex(key, &word->gpa) || !parse_hex(json_string_value(value), &word->value) ||
            word->gpa % 8)
            return refuse(why, "memory: %s is not a quadword", key);
    }
    qsort(vector->words, vector->word_count, sizeof *vector->words, compare_words);
    return true;
}

/* ---- State ---- */

static uint64_t field(const json_t *fields, enum vmxc_vmcs_field encoding)
{
    return vector_number(json_object_get(fields, vector_hex((uint64_t)encoding).text));
}

static bool uses_ept(const json_t *fields)
{
    return (field(fields, VMXC_VMCS_PRIMARY_PROCESSOR_BASED_CONTROLS) &
            VMXC_PRIMARY_ACTIVATE_SECONDARY_CONTROLS) &&
           (field(fields, VMXC_VMCS_SECONDARY_PROCESSOR_BASED_CONTROLS) &
            VMXC_SECONDARY_ENABLE_EPT);
}

/* Source: SDM, "Loading Guest Control Registers, Debug Registers, and MSRs". */
static uint64_t guest_efer(const json_t *fields, const json_t *root)
{
    const uint64_t entry = field(fields, VMXC_VMCS_VM_ENTRY_CONTROLS);
    const uint64_t mode = VMXC_EFER_LMA | VMXC_EFER_LME;
    const uint64_t host = vector_number(json_object_get(root, "efer"));

    if (entry & VMXC_ENTRY_LOAD_EFER)
        return field(fields, VMXC_VMCS_GUEST_IA32_EFER);
    return (host & ~mode) | ((entry & VMXC_ENTRY_IA32E_MODE_GUEST) ? mode : 0);
}

static enum paging_mode paging_mode(const struct state *state)
{
    if (!(state->cr4 & VMXC_CR4_PAE))
        return PAGING_32BIT;
    if (!(state->efer & VMXC_EFER_LMA))
        return PAGING_PAE;
    return (state->cr4 & VMXC_CR4_LA57) ? PAGING_5_LEVEL : PAGING_4_LEVEL;
}

/* Without EPT the PDPTEs come from memory. */
static void load_pdptes(struct vector_case *vector)
{
    const uint64_t table = state_root(&vector->state);

    for (size_t i = 0; i < vector->word_count; i++) {
        const uint64_t offset = vector->words[i].gpa - table;
        if (offset < sizeof vector->state.pdpte)
            vector->state.pdpte[offset / 8] = vector->words[i].value;
    }
}

static bool read_state(const json_t *header, const json_t *line, const json_t *fields,
                       struct vector_case *vector, struct reason *why)
{
    const char *const name = json_string_value(json_object_get(line, "root"));
    const json_t *const root =
        json_object_get(json_object_get(header, "root"), name ? name : "default");
    struct state *const state = &vector->state;

    *state = (struct state){
        .cr0 = field(fields, VMXC_VMCS_GUEST_CR0),
        .cr3 = field(fields, VMXC_VMCS_GUEST_CR3),
        .cr4 = field(fields, VMXC_VMCS_GUEST_CR4),
        .efer = guest_efer(fields, root),
        .mode_64bit = field(fields, VMXC_VMCS_GUEST_CS_ACCESS_RIGHTS) & ACCESS_RIGHTS_L,
        .user =
            VMXC_FIELD_GET(field(fields, VMXC_VMCS_GUEST_SS_ACCESS_RIGHTS), ACCESS_RIGHTS_DPL) == 3,
        .alignment_check = field(fields, VMXC_VMCS_GUEST_RFLAGS) & VMXC_RFLAGS_AC,
        .pkru = (uint32_t)vector_number(json_object_get(line, "pkru")),
    };
    state->mode = paging_mode(state);
    if (uses_ept(fields))
        return refuse(why, "the experiment uses EPT, which a plain guest does not have");
    if (!(state->cr0 & VMXC_CR0_PG))
        return refuse(why, "the experiment has no paging");
    if ((state->efer & VMXC_EFER_LMA) && !state->mode_64bit)
        return refuse(why, "compatibility mode has no room for the harness");
    if (state->mode == PAGING_PAE)
        load_pdptes(vector);
    return true;
}

/* ---- Accesses ---- */

static bool read_value(const char *text, unsigned size, uint8_t *bytes)
{
    const size_t digits = text && strncmp(text, "0x", 2) == 0 ? strlen(text + 2) : 0;

    if (digits == 0 || digits > 2u * size)
        return false;
    for (size_t i = 0; i < digits; i++) {
        const char digit[] = {text[2 + digits - 1 - i], '\0'};
        char *end;
        const unsigned long value = strtoul(digit, &end, 16);
        if (*end != '\0' || end == digit)
            return false;
        bytes[i / 2] |= (uint8_t)(value << 4 * (i % 2));
    }
    return true;
}

static bool read_access(const json_t *element, struct access *access, struct reason *why)
{
    static const char *const types[] = {[ACCESS_FETCH] = "fetch",
                                        [ACCESS_READ] = "read",
                                        [ACCESS_WRITE] = "write",
                                        [ACCESS_RMW] = "rmw"};
    const char *const name = json_string_value(json_object_get(element, "type"));
    const char *const value = json_string_value(json_object_get(element, "value"));
    unsigned type = ACCESS_FETCH;

    while (type <= ACCESS_RMW && (!name || strcmp(types[type], name) != 0))
        type++;
    if (type > ACCESS_RMW)
        return refuse(why, "accesses: unknown type");
    memset(access, 0, sizeof *access);
    access->type = type;
    access->linear = vector_number(json_object_get(element, "linear"));
    access->size = (unsigned)vector_number(json_object_get(element, "size"));
    if (access->size == 0 || access->size > sizeof access->value)
        return refuse(why, "no instruction makes an access of %u bytes", access->size);
    if (type >= ACCESS_WRITE && !read_value(value, access->size, access->value))
        return refuse(why, "accesses: a value is not a number of %u bytes", access->size);
    return true;
}

static bool read_accesses(const json_t *line, struct vector_case *vector, struct reason *why)
{
    const json_t *const accesses = json_object_get(line, "accesses");

    vector->access_count = json_array_size(accesses);
    if (vector->access_count == 0 || vector->access_count > MAX_ACCESSES)
        return refuse(why, "accesses: there must be 1 to %u", MAX_ACCESSES);
    for (size_t i = 0; i < vector->access_count; i++) {
        if (!read_access(json_array_get(accesses, i), &vector->accesses[i], why))
            return false;
        const uint64_t first = vector->accesses[i].linear;
        const uint64_t last = first + vector->accesses[i].size - 1;
        if (last < first || (!vector->state.mode_64bit && last > UINT32_MAX))
            return refuse(why, "an access beyond the end of the address space");
    }
    return true;
}

/* ---- The case ---- */

bool vector_read_case(const json_t *header, const json_t *line, struct vector_case *vector,
                      struct reason *why)
{
    json_t *const fields = resolve(header, line, "vmcs");
    json_t *const memory = resolve(header, line, "memory");
    bool done = false;

    *vector = (struct vector_case){.id = json_string_value(json_object_get(line, "id"))};
    if (!vector->id || !fields || !memory)
        (void)refuse(why, "a case needs `id`, `vmcs` and `memory`");
    else
        done = read_words(memory, vector, why) && read_state(header, line, fields, vector, why) &&
               read_accesses(line, vector, why);
    json_decref(fields);
    json_decref(memory);
    return done;
}

void vector_case_free(struct vector_case *vector)
{
    free(vector->words);
}
