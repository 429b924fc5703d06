/* SPDX-License-Identifier: Apache-2.0 */
/* An address space over a probed HAL, and its whole state as text, to compare before and after. */
#ifndef VMXSIM_TESTS_SPACE_H
#define VMXSIM_TESTS_SPACE_H

#include "support/probe_hal.h"
#include "vmxcore/addrspace.h"

#define SPACE_PAGE VMXC_PAGE_SIZE_4K
#define SPACE_2M   VMXC_PAGE_SIZE_2M
#define SPACE_1G   VMXC_PAGE_SIZE_1G
#define SPACE_RW   (VMXC_MAP_READ | VMXC_MAP_WRITE)

struct space {
    struct probe *probe;
    struct vmxc_addrspace space;
};

/* Four levels, MAXPHYADDR 46, pages up to 1 GByte, no execute-only, no mode-based execute. */
extern const struct vmxc_ept_config space_config;

/* [0, 2^40) over `frames` frames; see probe_create. */
struct space *space_create_with(const struct vmxc_ept_config *config, uint64_t frames, bool window);
struct space *space_create(uint64_t frames);

/* Ends the test if the space is inconsistent or anything leaks. */
void space_destroy(struct space *s);

/* Every area, every mapped page and the number of frames in use, as text for free(). */
char *space_dump(struct space *s);

/* Ends the test if the space differs from an earlier dump, which it frees. */
void space_assert_same(struct space *s, char *before, const char *what);

/* The host address behind `gpa`; ends the test if there is none. */
vmxc_hpa_t space_hpa(struct space *s, vmxc_gpa_t gpa);

/* Eight bytes of guest memory, past the library. */
uint64_t space_read(struct space *s, vmxc_gpa_t gpa);
void space_write(struct space *s, vmxc_gpa_t gpa, uint64_t value);

/*
 * True if no page or table was given back before the invalidation in the log, and there was at most one of those.
 * Exempt is what no processor could have reached: nodes of areas, and frames that the logged calls took themselves.
 */
bool space_freed_after_invalidation(const struct space *s);

#endif
