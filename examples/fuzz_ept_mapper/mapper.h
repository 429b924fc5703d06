/* SPDX-License-Identifier: Apache-2.0 */
/* Someone's hypervisor: guest memory in 2-MByte pages, which are split when one 4-KByte page gets rights of its own. */
#ifndef MAPPER_H
#define MAPPER_H

#include <stdbool.h>
#include <stdint.h>

enum { MAPPER_READ = 1, MAPPER_WRITE = 2, MAPPER_EXECUTE = 4 };

struct mapper {
    uint64_t *(*table)(uint64_t hpa); /* where the hypervisor sees a table */
    uint64_t next_table_hpa, end_hpa; /* zeroed pages for tables */
    uint64_t root_hpa;
};

bool mapper_init(struct mapper *mapper, uint64_t *(*table)(uint64_t), uint64_t base, uint64_t end);
uint64_t mapper_eptp(const struct mapper *mapper);

/* Maps, or maps anew, the 2 MBytes at gpa. */
bool mapper_map(struct mapper *mapper, uint64_t gpa, uint64_t hpa, unsigned rights);

/* Changes the rights of one 4-KByte page. False: nothing is mapped there, or there is no page for a table. */
bool mapper_protect(struct mapper *mapper, uint64_t gpa, unsigned rights);

#endif
