/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs a case of kind `access`: memory and VMCS from the templates, the guest's accesses in order up to the first
 * that does not complete, then what changed in memory. All that several times, where caches may answer in several ways.
 */
#include "internal/replay.h"
#include "internal/stale.h"

#include "vmxsim/explain.h"

#include <stdlib.h>
#include <string.h>

#define MOST_RUNS 4096u

/* ---- Buffers that grow ---- */

/* Makes room for element `count` of an array; false: no memory, and `run` is marked. */
static bool grow(struct vmxsim_access_run *run, void **array, size_t *capacity, size_t count,
                 size_t size)
{
    if (count < *capacity)
        return true;
    const size_t wanted = count < 16 ? 32 : 2 * count;
    void *const bigger = realloc(*array, wanted * size);
    if (bigger == NULL) {
        run->failed = true;
        return false;
    }
    *array = bigger;
    *capacity = wanted;
    return true;
}

void vmxsim_access_run_free(struct vmxsim_access_run *run)
{
    free(run->pages);
    free(run->changes);
    free(run->data);
}

/* ---- Memory before and after ---- */

static void remember_page(void *context, uint64_t hpa, const uint8_t *bytes)
{
    struct vmxsim_access_run *const run = context;
    void *array = run->pages;
    if (!grow(run, &array, &run->page_capacity, run->page_count, sizeof *run->pages))
        return;
    run->pages = array;
    struct vmxsim_page_image *const page = &run->pages[run->page_count++];
    page->hpa = hpa;
    memcpy(page->bytes, bytes, sizeof page->bytes);
}

static uint64_t load_word(const uint8_t *bytes)
{
    uint64_t value = 0;
    for (unsigned i = 8; i > 0; i--)
        value = value << 8 | bytes[i - 1];
    return value;
}

static void add_change(struct vmxsim_access_run *run, uint64_t hpa, const uint8_t *before,
                       const uint8_t *after)
{
    void *array = run->changes;
    if (!grow(run, &array, &run->change_capacity, run->change_count, sizeof *run->changes))
        return;
    run->changes = array;
    run->changes[run->change_count++] = (struct vmxsim_changed_word){
        .hpa = hpa, .before = load_word(before), .after = load_word(after)};
}

/* The pages that were remembered and those that are touched now are both ascending. */
struct change_search {
    struct vmxsim_access_run *run;
    size_t next; /* remembered page */
};

static void find_changes(void *context, uint64_t hpa, const uint8_t *bytes)
{
    static const uint8_t zero[VMXC_PAGE_SIZE];
    struct change_search *const search = context;
    struct vmxsim_access_run *const run = search->run;
    while (search->next < run->page_count && run->pages[search->next].hpa < hpa)
        search->next++;
    const bool known = search->next < run->page_count && run->pages[search->next].hpa == hpa;
    const uint8_t *const before = known ? run->pages[search->next].bytes : zero;
    if (memcmp(before, bytes, VMXC_PAGE_SIZE) == 0)
        return;
    for (size_t i = 0; i < VMXC_PAGE_SIZE; i += 8) {
        if (memcmp(before + i, bytes + i, 8) != 0)
            add_change(run, hpa + i, before + i, bytes + i);
    }
}

void vmxsim_prepare_memory(struct vmxsim_vector_file *file, const json_t *reference)
{
    vmxsim_build_memory(file, reference);
    file->run.page_count = 0;
    vmxsim_memory_touched_pages(file->memory, remember_page, &file->run);
}

void vmxsim_collect_changes(struct vmxsim_vector_file *file)
{
    struct change_search search = {.run = &file->run};
    file->run.change_count = 0;
    vmxsim_memory_touched_pages(file->memory, find_changes, &search);
}

/* ---- Accesses ---- */

static enum vmxsim_access_type access_type(const char *name)
{
    unsigned type = VMXSIM_ACCESS_FETCH;
    while (strcmp(vmxsim_access_type_name((enum vmxsim_access_type)type), name) != 0)
        type++;
    return (enum vmxsim_access_type)type;
}

static void read_access(const json_t *element, struct vmxsim_access *access)
{
    const char *const value = json_string_value(json_object_get(element, "value"));
    uint64_t size = 0;

    memset(access, 0, sizeof *access);
    access->type = access_type(json_string_value(json_object_get(element, "type")));
    (void)vmxsim_checked_find(element, "linear", &access->linear);
    (void)vmxsim_checked_find(element, "size", &size);
    access->size = (uint32_t)size;
    if (value != NULL)
        (void)vmxsim_parse_wide_hex(value, access->data, access->size);
}

/* The access that ended the case. */
struct last_access {
    struct vmxsim_outcome outcome;
    struct vmxsim_trail trail; /* empty unless somebody wants to see it */
    enum vmxsim_access_type type;
};

/* Room for what access `index` reads; false: no memory. */
static bool make_room(struct vmxsim_access_run *run, size_t index)
{
    void *array = run->data;

    if (!grow(run, &array, &run->data_capacity, index, sizeof *run->data))
        return false;
    run->data = array;
    return true;
}

static enum vmxc_status run_access(struct vmxsim_vector_file *file, const json_t *element,
                                   size_t index, vmxsim_access_visit *visit, void *context,
                                   struct last_access *last)
{
    struct vmxsim_outcome *const outcome = &last->outcome;
    struct vmxsim_access access;

    read_access(element, &access);
    const bool watched = visit != NULL || file->recording || file->cpu->stale != NULL;
    VMXC_TRY(vmxsim_guest_access(file->cpu, &access, outcome, watched ? &last->trail : NULL));
    last->type = access.type;
    if (file->cpu->stale != NULL && outcome->kind == VMXSIM_OUTCOME_COMPLETE)
        vmxsim_stale_note(file->cpu->stale, file->cpu, outcome, &last->trail);
    if (file->recording)
        vmxsim_trace_access(file, index, &last->trail);
    if (file->recording && access.type == VMXSIM_ACCESS_FETCH)
        vmxsim_trace_fetch(file, outcome, access.size);
    memcpy(file->run.data[index], outcome->data, sizeof outcome->data);
    if (visit != NULL)
        visit(context, index, &access, outcome, &last->trail);
    return VMXC_OK;
}

static enum vmxc_status run_accesses(struct vmxsim_vector_file *file,
                                     const struct vmxsim_vector_case *vector,
                                     vmxsim_access_visit *visit, void *context,
                                     struct last_access *last)
{
    const json_t *const accesses = json_object_get(vector->value, "accesses");

    for (size_t i = 0; i < json_array_size(accesses); i++) {
        const json_t *const element = json_array_get(accesses, i);
        if (!make_room(&file->run, i))
            return VMXC_NO_MEMORY;
        if (vmxsim_is_round_step(element))
            VMXC_TRY(vmxsim_run_round_step(file, element, &last->outcome));
        else
            VMXC_TRY(run_access(file, element, i, visit, context, last));
        if (last->outcome.kind != VMXSIM_OUTCOME_COMPLETE)
            break;
    }
    return VMXC_OK;
}

/* ---- The case ---- */

bool vmxsim_prepare_guest(struct vmxsim_vector_file *file, const struct vmxsim_vector_case *vector)
{
    struct vmxsim_error why;
    struct vmxsim_vmcs vmcs;
    uint64_t pkru;

    vmxsim_build_vmcs(file, json_object_get(vector->value, "vmcs"), &vmcs);
    vmxsim_cpu_set_root_state(file->cpu, vector->root);
    if (vmxsim_cpu_load_guest(file->cpu, &vmcs, &why) != VMXC_OK) {
        vmxsim_text_add(&file->reason, "%s", why.text);
        return false;
    }
    if (!vmxsim_checked_find(vector->value, "pkru", &pkru))
        pkru = 0;
    vmxsim_cpu_set_pkru(file->cpu, (uint32_t)pkru);
    return true;
}

/* Version 1 has nothing cached; one instruction and its access meet nothing that has changed. */
static bool may_change_translations(const struct vmxsim_vector_file *file,
                                    const struct vmxsim_vector_case *vector)
{
    return file->version >= 2 && json_array_size(json_object_get(vector->value, "accesses")) > 2;
}

/* Goes through the accesses once. `*supported` is false if the model does not have the guest's state. */
static enum vmxc_status run_once(struct vmxsim_vector_file *file,
                                 const struct vmxsim_vector_case *vector, struct stale *stale,
                                 vmxsim_access_visit *visit, void *context,
                                 struct last_access *last, bool *supported,
                                 struct vmxsim_error *error)
{
    enum vmxc_status status = VMXC_OK;

    vmxsim_prepare_memory(file, json_object_get(vector->value, "memory"));
    *supported = vmxsim_prepare_guest(file, vector);
    if (!*supported)
        return VMXC_OK;
    memset(last, 0, sizeof *last);
    if (may_change_translations(file, vector))
        vmxsim_stale_start(stale, file->cpu);
    if (!file->run.failed)
        status = run_accesses(file, vector, visit, context, last);
    file->cpu->stale = NULL;
    vmxsim_collect_changes(file);
    if (file->run.failed)
        return vmxsim_error_set(error, VMXC_NO_MEMORY, "%s: no host memory left", file->document);
    return status;
}

/* Every run, one for each way in which caches may answer; the first, in which nothing is cached, is shown. */
static enum vmxc_status run_all(struct vmxsim_vector_file *file,
                                const struct vmxsim_vector_case *vector, vmxsim_access_visit *visit,
                                void *context, struct stale *stale, struct vmxsim_answer_set *set,
                                bool *supported, struct vmxsim_error *error)
{
    struct last_access last;
    uint32_t tried = 0;

    vmxsim_stale_init(stale);
    do {
        VMXC_TRY(run_once(file, vector, stale, tried == 0 ? visit : NULL, context, &last, supported,
                          error));
        if (!*supported)
            return VMXC_OK;
        if (!stale->discarded)
            vmxsim_answer_set_add(set, file, vector, &last.outcome, last.type, &last.trail);
        stale->overflow = stale->overflow || ++tried == MOST_RUNS;
    } while (!stale->overflow && vmxsim_stale_next(stale));
    return VMXC_OK;
}

enum vmxc_status vmxsim_run_access(struct vmxsim_vector_file *file,
                                   const struct vmxsim_vector_case *vector,
                                   vmxsim_access_visit *visit, void *context,
                                   enum vmxsim_case_verdict *verdict, struct vmxsim_error *error)
{
    struct vmxsim_answer_set set = {.runs = 0};
    struct stale stale;
    bool supported = false;

    *verdict = VMXSIM_CASE_UNSUPPORTED;
    vmxsim_prepare_memory(file, json_object_get(vector->value, "memory"));
    if (vmxsim_case_entry(file, vector).kind != VMXSIM_ENTRY_ENTERED) {
        *verdict = vmxsim_entry_verdict(file, vector);
        return VMXC_OK;
    }
    const enum vmxc_status status =
        run_all(file, vector, visit, context, &stale, &set, &supported, error);
    if (status == VMXC_OK && supported && stale.overflow) {
        vmxsim_text_clear(&file->reason);
        vmxsim_text_add(&file->reason, "too many ways in which caches may answer");
    } else if (status == VMXC_OK && supported) {
        *verdict = vmxsim_answer_set_judge(&set, file, vector);
    }
    vmxsim_answer_set_free(&set);
    return status;
}
