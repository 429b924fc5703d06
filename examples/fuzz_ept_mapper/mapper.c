/* SPDX-License-Identifier: Apache-2.0 */
/* A mapper with a mistake, for a fuzzer to find. */
#include "mapper.h"

#include <stddef.h>

#define RIGHTS      UINT64_C(7)
#define WRITE_BACK  (UINT64_C(6) << 3)
#define LARGE       (UINT64_C(1) << 7)
#define ADDRESS     UINT64_C(0x000ffffffffff000)
#define FOUR_LEVELS UINT64_C(0x1e)

enum { ENTRIES = 512 };

static uint64_t new_table(struct mapper *mapper)
{
    if (mapper->next_table_hpa == mapper->end_hpa)
        return 0;
    mapper->next_table_hpa += 0x1000;
    return mapper->next_table_hpa - 0x1000;
}

bool mapper_init(struct mapper *mapper, uint64_t *(*table)(uint64_t), uint64_t base, uint64_t end)
{
    *mapper = (struct mapper){.table = table, .next_table_hpa = base, .end_hpa = end};
    mapper->root_hpa = new_table(mapper);
    return mapper->root_hpa != 0;
}

uint64_t mapper_eptp(const struct mapper *mapper)
{
    return mapper->root_hpa | FOUR_LEVELS;
}

/* The entry for a 2-MByte page; NULL if there is no page for a table above it. */
static uint64_t *large_entry(struct mapper *mapper, uint64_t gpa)
{
    uint64_t hpa = mapper->root_hpa;

    for (unsigned shift = 39; shift > 21; shift -= 9) {
        uint64_t *const entry = mapper->table(hpa) + (gpa >> shift) % ENTRIES;
        const uint64_t next = *entry ? *entry & ADDRESS : new_table(mapper);
        if (next == 0)
            return NULL;
        *entry = next | RIGHTS;
        hpa = next;
    }
    return mapper->table(hpa) + (gpa >> 21) % ENTRIES;
}

bool mapper_map(struct mapper *mapper, uint64_t gpa, uint64_t hpa, unsigned rights)
{
    uint64_t *const entry = large_entry(mapper, gpa);

    if (entry != NULL)
        *entry = (hpa & ADDRESS) | LARGE | WRITE_BACK | rights;
    return entry != NULL;
}

/* The mistake: the other 511 pages get all rights, whatever the large page had. */
static bool split(struct mapper *mapper, uint64_t *large)
{
    const uint64_t hpa = new_table(mapper);

    if (hpa == 0)
        return false;
    for (uint64_t i = 0; i < ENTRIES; i++)
        mapper->table(hpa)[i] = ((*large & ADDRESS) + (i << 12)) | WRITE_BACK | RIGHTS;
    *large = hpa | RIGHTS;
    return true;
}

bool mapper_protect(struct mapper *mapper, uint64_t gpa, unsigned rights)
{
    uint64_t *const large = large_entry(mapper, gpa);

    if (large == NULL || *large == 0 || ((*large & LARGE) && !split(mapper, large)))
        return false;
    uint64_t *const entry = mapper->table(*large & ADDRESS) + (gpa >> 12) % ENTRIES;
    *entry = (*entry & ~RIGHTS) | rights;
    return true;
}
