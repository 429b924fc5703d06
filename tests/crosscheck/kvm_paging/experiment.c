/* SPDX-License-Identifier: Apache-2.0 */
#include "experiment.h"

#include "harness.h"
#include "open_flags.h"

#include "vmxcore/defs/paging.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A case while it runs. */
struct experiment {
    struct machine *machine;
    const struct vector_case *vector;
    struct harness_slot slot;
    json_t *expect;
    struct reason *why;
};

/* ---- Memory ---- */

static bool fill_memory(struct experiment *experiment)
{
    const struct vector_case *const vector = experiment->vector;

    if (!machine_clear(experiment->machine, experiment->why))
        return false;
    for (size_t i = 0; i < vector->word_count; i++) {
        uint8_t *const bytes = machine_ram(experiment->machine, vector->words[i].gpa, 8);
        if (!bytes)
            return refuse(experiment->why, "memory: 0x%" PRIx64 " is not RAM",
                          vector->words[i].gpa);
        memcpy(bytes, &vector->words[i].value, 8);
    }
    return true;
}

struct change_search {
    const struct vector_case *vector;
    json_t *changes;
};

static int compare_address(const void *key, const void *word)
{
    const uint64_t gpa = *(const uint64_t *)key;
    const struct vector_word *const found = word;

    return (gpa > found->gpa) - (gpa < found->gpa);
}

static uint64_t initial_word(const struct vector_case *vector, uint64_t gpa)
{
    const struct vector_word *const found =
        bsearch(&gpa, vector->words, vector->word_count, sizeof *found, compare_address);

    return found ? found->value : 0;
}

static bool add_changes(void *context, uint64_t gpa, const uint8_t *bytes)
{
    const struct change_search *const search = context;

    for (unsigned i = 0; i < PAGE_SIZE; i += 8) {
        const uint64_t now = vector_load(bytes + i, 8);
        if (now != initial_word(search->vector, gpa + i))
            (void)json_object_set_new(search->changes, vector_hex(gpa + i).text,
                                      json_string(vector_hex(now).text));
    }
    return true;
}

static void observe_memory(struct experiment *experiment)
{
    struct change_search search = {.vector = experiment->vector, .changes = json_object()};

    (void)machine_touched_pages(experiment->machine, add_changes, &search);
    (void)json_object_set_new(experiment->expect, "memory", search.changes);
}

/* ---- Accesses ---- */

static json_t *data_to_json(const uint8_t *data, unsigned size)
{
    char text[2 + 2 * 16 + 1] = "0x";
    unsigned last = size;
    int length = 2;

    while (last > 1 && data[last - 1] == 0)
        last--;
    length += snprintf(text + length, sizeof text - 2, "%x", data[last - 1]);
    for (unsigned i = last - 1; i > 0; i--)
        length += snprintf(text + length, sizeof text - (size_t)length, "%02x", data[i - 1]);
    return json_string(text);
}

static void observe_exception(struct experiment *experiment, const struct access *access,
                              const struct ending *ending)
{
    json_t *const expect = experiment->expect;
    json_t *const open = json_object();

    (void)json_object_set_new(expect, "result", json_string("guest_exception"));
    (void)json_object_set_new(expect, "vector", json_integer(ending->vector));
    if (harness_has_error_code(ending->vector))
        (void)json_object_set_new(expect, "error_code",
                                  json_string(vector_hex(ending->error_code).text));
    if (ending->vector == VECTOR_PF) {
        (void)json_object_set_new(expect, "cr2", json_string(vector_hex(ending->cr2).text));
        open_flags_add(experiment->machine, &experiment->vector->state, access, ending->cr2, open);
    }
    if (json_object_size(open) != 0)
        (void)json_object_set_new(expect, "open", json_pack("{s:O}", "memory", open));
    json_decref(open);
}

static bool run_access(struct experiment *experiment, const struct access *access, json_t *values,
                       bool *complete)
{
    uint8_t data[16] = {0};
    struct ending ending;

    if (!harness_access(experiment->machine, &experiment->vector->state, &experiment->slot, access,
                        &ending, data, experiment->why))
        return false;
    *complete = ending.complete;
    if (access->type == ACCESS_FETCH && !ending.complete && ending.vector != VECTOR_PF &&
        ending.vector != VECTOR_GP)
        return refuse(experiment->why, "vector %u: not an instruction that stops the guest",
                      ending.vector);
    if (*complete)
        (void)json_array_append_new(
            values, access->type == ACCESS_READ ? data_to_json(data, access->size) : json_null());
    else
        observe_exception(experiment, access, &ending);
    return true;
}

static bool run_accesses(struct experiment *experiment)
{
    const struct vector_case *const vector = experiment->vector;
    json_t *const values = json_array();
    bool complete = true, ran = true;

    for (size_t i = 0; ran && complete && i < vector->access_count; i++)
        ran = run_access(experiment, &vector->accesses[i], values, &complete);
    if (ran && complete) {
        (void)json_object_set_new(experiment->expect, "result", json_string("complete"));
        (void)json_object_set(experiment->expect, "values", values);
    }
    json_decref(values);
    return ran;
}

/* ---- The case ---- */

static bool run_guest(struct experiment *experiment)
{
    const struct vector_case *const vector = experiment->vector;
    struct machine *const machine = experiment->machine;
    struct reason *const why = experiment->why;

    if (!harness_install(machine, &vector->state, vector->accesses, vector->access_count,
                         &experiment->slot, why))
        return false;
    if ((vector->state.cr4 & VMXC_CR4_PKE) &&
        !harness_load_pkru(machine, &vector->state, &experiment->slot, why))
        return false;
    return run_accesses(experiment) &&
           harness_remove(machine, &vector->state, &experiment->slot, why);
}

bool experiment_run(struct machine *machine, const struct vector_case *vector, json_t **expect,
                    struct reason *why)
{
    struct experiment experiment = {
        .machine = machine, .vector = vector, .expect = json_object(), .why = why};

    if (!fill_memory(&experiment) || !run_guest(&experiment)) {
        json_decref(experiment.expect);
        return false;
    }
    observe_memory(&experiment);
    *expect = experiment.expect;
    return true;
}
