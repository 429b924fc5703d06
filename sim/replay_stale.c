/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cases whose guest accesses memory while translations change: the steps between accesses, and the set of answers that
 * caches allow.
 *
 *     accesses --> step of the guest: INVLPG, MOV to CR3                        --> accesses
 *              '-> VM exit --> steps of root operation: memory, INVEPT, INVVPID --> VM entry --'
 */
#include "internal/array.h"
#include "internal/replay.h"
#include "internal/stale.h"

#include "vmxsim/guest.h"

#include <string.h>

enum { CR3 = 3, RBP = 5 };

static uint64_t number(const json_t *step, const char *key)
{
    uint64_t value = 0;

    (void)vmxsim_checked_find(step, key, &value);
    return value;
}

/* ---- Steps ---- */

typedef enum vmxc_status run_step(struct vmxsim_vector_file *file, const json_t *step,
                                  struct vmxsim_outcome *outcome);

static enum vmxc_status poke(struct vmxsim_vector_file *file, const json_t *step,
                             struct vmxsim_outcome *outcome)
{
    (void)outcome;
    vmxsim_stale_leave_guest(file->cpu->stale, &file->entry_vmcs);
    vmxsim_memory_write64(file->memory, number(step, "address"), number(step, "value"));
    return VMXC_OK;
}

static void read_descriptor(const json_t *step, uint64_t descriptor[2])
{
    const json_t *const quadwords = json_object_get(step, "descriptor");

    for (size_t i = 0; i < 2; i++)
        descriptor[i] = vmxsim_checked_hex(json_array_get(quadwords, i));
}

static enum vmxc_status invept(struct vmxsim_vector_file *file, const json_t *step,
                               struct vmxsim_outcome *outcome)
{
    uint64_t descriptor[2];

    (void)outcome;
    read_descriptor(step, descriptor);
    vmxsim_stale_leave_guest(file->cpu->stale, &file->entry_vmcs);
    vmxsim_stale_invept(file->cpu->stale, file->cpu, &file->entry_vmcs, number(step, "scope"),
                        descriptor);
    return VMXC_OK;
}

static enum vmxc_status invvpid(struct vmxsim_vector_file *file, const json_t *step,
                                struct vmxsim_outcome *outcome)
{
    uint64_t descriptor[2];

    (void)outcome;
    read_descriptor(step, descriptor);
    vmxsim_stale_leave_guest(file->cpu->stale, &file->entry_vmcs);
    vmxsim_stale_invvpid(file->cpu->stale, file->cpu, &file->entry_vmcs, number(step, "scope"),
                         descriptor);
    return VMXC_OK;
}

static enum vmxc_status invlpg(struct vmxsim_vector_file *file, const json_t *step,
                               struct vmxsim_outcome *outcome)
{
    VMXC_TRY(vmxsim_guest_invlpg(file->cpu, number(step, "linear"), outcome));
    if (outcome->kind == VMXSIM_OUTCOME_COMPLETE)
        vmxsim_stale_invlpg(file->cpu->stale, number(step, "linear"));
    return VMXC_OK;
}

static enum vmxc_status mov_to_cr3(struct vmxsim_vector_file *file, const json_t *step,
                                   struct vmxsim_outcome *outcome)
{
    VMXC_TRY(vmxsim_guest_mov_to_cr(file->cpu, CR3, RBP, number(step, "value"), outcome));
    if (outcome->kind == VMXSIM_OUTCOME_COMPLETE)
        vmxsim_stale_mov_to_cr3(file->cpu->stale);
    return VMXC_OK;
}

static const struct {
    const char *type;
    run_step *run;
} steps[] = {
    {"poke", poke},     {"invept", invept},         {"invvpid", invvpid},
    {"invlpg", invlpg}, {"mov_to_cr3", mov_to_cr3},
};

static run_step *find_step(const json_t *element)
{
    const char *const type = json_string_value(json_object_get(element, "type"));

    for (size_t i = 0; i < COUNT_OF(steps); i++) {
        if (strcmp(steps[i].type, type) == 0)
            return steps[i].run;
    }
    return NULL;
}

bool vmxsim_is_round_step(const json_t *element)
{
    return find_step(element) != NULL;
}

enum vmxc_status vmxsim_run_round_step(struct vmxsim_vector_file *file, const json_t *element,
                                       struct vmxsim_outcome *outcome)
{
    return find_step(element)(file, element, outcome);
}

/* ---- The set of answers ---- */

static bool is_known(const json_t *answers, const json_t *answer)
{
    for (size_t i = 0; i < json_array_size(answers); i++) {
        if (json_equal(json_array_get(answers, i), answer))
            return true;
    }
    return false;
}

/* The trace is that of the first run. */
static void record_answer(struct vmxsim_answer_set *set, struct vmxsim_vector_file *file,
                          const struct vmxsim_vector_case *vector,
                          const struct vmxsim_outcome *outcome, enum vmxsim_access_type type,
                          const struct vmxsim_trail *trail)
{
    vmxsim_answer_outcome(file, vector, outcome, type, trail);
    if (set->runs == 0) {
        set->answers = json_array();
        set->trace = json_deep_copy(file->trace);
    }
    if (!is_known(set->answers, file->answer))
        (void)json_array_append(set->answers, file->answer);
    (void)json_object_clear(file->trace);
}

void vmxsim_answer_set_add(struct vmxsim_answer_set *set, struct vmxsim_vector_file *file,
                           const struct vmxsim_vector_case *vector,
                           const struct vmxsim_outcome *outcome, enum vmxsim_access_type type,
                           const struct vmxsim_trail *trail)
{
    uint64_t matched = 0;

    if (file->recording) {
        record_answer(set, file, vector, outcome, type, trail);
    } else if (vmxsim_access_matches(file, vector, outcome, &matched)) {
        set->agreed++;
        set->matched |= matched;
    }
    set->runs++;
}

static enum vmxsim_case_verdict judge_recorded(struct vmxsim_answer_set *set,
                                               struct vmxsim_vector_file *file)
{
    if (json_array_size(set->answers) == 1)
        vmxsim_answer(file, json_incref(json_array_get(set->answers, 0)));
    else
        vmxsim_answer(file, json_pack("{s:O}", "any_of", set->answers));
    (void)json_object_update(file->trace, set->trace);
    return VMXSIM_CASE_AGREES;
}

/* A set of answers against `any_of`: each has to be in the other. */
static bool is_same_set(const struct vmxsim_answer_set *set, struct vmxsim_vector_file *file,
                        size_t alternatives)
{
    if (set->agreed < set->runs) {
        vmxsim_text_add(&file->reason, "(a lawful answer is missing in any_of)\n");
        return false;
    }
    for (size_t i = 0; i < alternatives; i++) {
        if (set->matched >> i & 1)
            continue;
        vmxsim_text_add(&file->reason, "any_of[%zu]: caches do not allow this answer\n", i);
        return false;
    }
    return true;
}

enum vmxsim_case_verdict vmxsim_answer_set_judge(struct vmxsim_answer_set *set,
                                                 struct vmxsim_vector_file *file,
                                                 const struct vmxsim_vector_case *vector)
{
    const size_t alternatives = json_array_size(json_object_get(vector->verdict, "any_of"));

    if (file->recording)
        return judge_recorded(set, file);
    if (set->agreed == 0)
        return VMXSIM_CASE_DIFFERS;
    if (set->runs > 1 && alternatives != 0 && !is_same_set(set, file, alternatives))
        return VMXSIM_CASE_DIFFERS;
    vmxsim_text_clear(&file->reason);
    return VMXSIM_CASE_AGREES;
}

void vmxsim_answer_set_free(struct vmxsim_answer_set *set)
{
    json_decref(set->answers);
    json_decref(set->trace);
}
