/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libvmxcore's software walk of guest paging structures against the model's walk (tests/support/walk_trial.h).
 *
 * Input: processor (1 byte), paging mode (1), then the choices that registers, access and tables take; several walks if
 * there is more.
 */
#include "harness.h"

#include "support/walk_trial.h"

enum { MAX_WALKS = 16 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t nothing[1];
    struct walk_trial trial;
    struct rng rng = rng_from_bytes(size > 0 ? data : nothing, size);

    walk_trial_start((unsigned)rng_below(&rng, WALK_TRIAL_VARIANTS));
    for (unsigned i = 0; i < MAX_WALKS && (i == 0 || !rng_is_spent(&rng)); i++) {
        const enum guest_mode mode = (enum guest_mode)rng_below(&rng, GUEST_MODES);
        if (walk_trial_run(&trial, mode, &rng))
            continue;
        walk_trial_print(&trial);
        REQUIRE(false, "walk %u disagrees", i);
    }
    return 0;
}
