/* SPDX-License-Identifier: Apache-2.0 */
/* The guest may do with a page what the mapper was asked for last, and nothing else. */
#include <stdlib.h>
#include <string.h>

#include "machine.h"
#include "mapper.h"
#include "vmxsim/fuzz.h"

enum { PAGES = 1024, LARGE_PAGES = 512 }; /* two large pages */

static void check_page(unsigned page, unsigned rights)
{
    if (machine_allows(page, VMXSIM_ACCESS_READ) != ((rights & MAPPER_READ) != 0) ||
        machine_allows(page, VMXSIM_ACCESS_WRITE) != ((rights & MAPPER_WRITE) != 0) ||
        machine_allows(page, VMXSIM_ACCESS_FETCH) != ((rights & MAPPER_EXECUTE) != 0)) {
        machine_explain(page);
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct vmxsim_fuzz_input input = {.next = data, .left = size};
    struct mapper *const mapper = machine_start();
    uint8_t expected[PAGES] = {0};

    while (input.left > 0) {
        const bool large = vmxsim_fuzz_below(&input, 2) == 0;
        const unsigned page = vmxsim_fuzz_below(&input, PAGES);
        const unsigned rights = MAPPER_READ + 2 * vmxsim_fuzz_below(&input, 4);
        const unsigned first = page / LARGE_PAGES * LARGE_PAGES;
        const uint64_t gpa = (uint64_t)(large ? first : page) << 12;

        if (!large && mapper_protect(mapper, gpa, rights))
            expected[page] = (uint8_t)rights;
        else if (large && mapper_map(mapper, gpa, gpa + MACHINE_GUEST, rights))
            memset(expected + first, (int)rights, LARGE_PAGES);
        check_page(page, expected[page]);
        check_page(page ^ 1, expected[page ^ 1]);
    }
    return 0;
}
