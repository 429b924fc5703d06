/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `vmxsim walk`, in three files: walk.c reads the command line, walk_vector.c shows the accesses of a recorded case,
 * walk_memory.c those that the command line describes, on memory images.
 */
#ifndef VMXSIM_CLI_WALK_H
#define VMXSIM_CLI_WALK_H

#include "cli.h"

#include "vmxsim/explain.h"

#define WALK_MAX_IMAGES 64u

/* A register that may be given. */
struct walk_value {
    bool given;
    uint64_t value;
};

struct walk_request {
    bool json;

    /* A recorded case. */
    const char *vector, *case_id;
    struct walk_value access_index;

    /* Memory images, FILE[@HPA]. */
    const char *images[WALK_MAX_IMAGES];
    size_t image_count;
    const char *profile;
    struct walk_value eptp, gpa, linear, cr0, cr3, cr4, efer, pkru, size, value;
    enum vmxsim_access_type type;
    bool user;
};

/* Prints accesses as they come: text at once, JSON as one array at the end. */
struct walk_output {
    bool json;
    json_t *accesses;
    uint64_t shown;
    enum cli_status status; /* CLI_FINDING as soon as one does not complete */
};
void walk_output_begin(struct walk_output *output, bool json);
void walk_output_add(struct walk_output *output, size_t index, const struct vmxsim_access *access,
                     const struct vmxsim_outcome *outcome, const struct vmxsim_trail *trail);
enum cli_status walk_output_end(struct walk_output *output);

enum cli_status walk_vector(const struct walk_request *request);
enum cli_status walk_memory(const struct walk_request *request);

#endif
