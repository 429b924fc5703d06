/* SPDX-License-Identifier: Apache-2.0 */
#include "internal/fuzz_mutate.h"

#include <string.h>

#include "vmxcore/defs/msr.h"
#include "vmxcore/defs/vmcs.h"

enum group {
    OTHER,
    BITS,
    COUNT,
    ERROR_CODE,
    SELECTOR,
    LIMIT,
    RIGHTS,
    EVENT,
    STATE,
    DEBUG,
    RFLAGS,
    EFER,
    PAT,
    CR0,
    CR4,
    EPT_POINTER,
    ADDRESS,
    LINEAR
};

static const struct {
    const char *text;
    enum group group;
} groups[] = {
#define VMXSIM_FUZZ_GROUP(text, group) {text, group},
#include "fuzz_fields.def"
};

static const struct {
    enum group group;
    uint64_t value;
} boundaries[] = {
#define VMXSIM_FUZZ_BOUNDARY(group, value) {group, UINT64_C(value)},
#include "fuzz_fields.def"
};

enum { GROUPS = sizeof groups / sizeof groups[0] };
enum { BOUNDARIES = sizeof boundaries / sizeof boundaries[0] };

static const struct {
    const char *name;
    unsigned bits;
} fields[] = {
#define W16                                                   16
#define W32                                                   32
#define W64                                                   64
#define NATURAL                                               64
#define VMXC_VMCS_FIELD(encoding, width, type, name, feature) {#name, width},
#include "vmxcore/defs/vmcs_fields.def"
};

/* Writable MSRs, those that report VMX capabilities, and the ends of what MSR bitmaps cover. */
static const uint32_t msrs[] = {
#define WRMSR(first, last, feature, kind, reserved) first, last,
#include "internal/wrmsr.def"
    VMXC_MSR_VMX_BASIC,   VMXC_MSR_VMX_EXIT_CTLS2, UINT32_C(0x1fff),
    UINT32_C(0xc0000000), UINT32_C(0xc0001fff),
};

/* ---- Fields ---- */

static enum group group_of(const char *name)
{
    for (size_t i = 0; i < GROUPS; i++) {
        if (strstr(name, groups[i].text) != NULL)
            return groups[i].group;
    }
    return OTHER;
}

static size_t boundaries_of(enum group group, size_t *first)
{
    size_t count = 0;

    for (size_t i = 0; i < BOUNDARIES; i++) {
        if (boundaries[i].group != group)
            continue;
        if (count++ == 0)
            *first = i;
    }
    return count;
}

uint64_t vmxsim_fuzz_field_value(struct vmxsim_fuzz_edit *edit, size_t ordinal, uint64_t old)
{
    size_t first = 0;
    const unsigned bits = fields[ordinal % VMXC_VMCS_FIELD_COUNT].bits;
    const uint64_t mask = bits < 64 ? (UINT64_C(1) << bits) - 1 : UINT64_MAX;
    const size_t count =
        boundaries_of(group_of(fields[ordinal % VMXC_VMCS_FIELD_COUNT].name), &first);

    if (count == 0 || vmxsim_fuzz_pick(edit, 4) == 0)
        return vmxsim_fuzz_near(edit, old, bits);
    const uint64_t value = boundaries[first + vmxsim_fuzz_pick(edit, count)].value;
    switch (vmxsim_fuzz_pick(edit, 4)) {
    case 0:
        return value & mask;
    case 1:
        return (value - 1) & mask;
    case 2:
        return (value + 1) & mask;
    default:
        return (value ^ UINT64_C(1) << vmxsim_fuzz_pick(edit, bits)) & mask;
    }
}

uint32_t vmxsim_fuzz_msr(struct vmxsim_fuzz_edit *edit)
{
    const uint32_t msr = msrs[vmxsim_fuzz_pick(edit, sizeof msrs / sizeof msrs[0])];

    switch (vmxsim_fuzz_pick(edit, 4)) {
    case 0:
        return msr - 1;
    case 1:
        return msr + 1;
    default:
        return msr;
    }
}
