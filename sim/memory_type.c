/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The effective memory type of a guest access.
 * Source: Intel SDM volume 3, "EPT and Memory Typing", "Effective Page-Level Memory Types".
 */
#include "internal/walk.h"

/*
 * How an EPT memory type and a PAT memory type combine: rows are EPT types, columns PAT types, both by encoding.
 * The manual uses the table for MTRR and PAT types and puts the EPT type in the MTRR's place. Rows and columns of
 * reserved encodings are never looked up.
 */
#define UC VMXC_MEMORY_TYPE_UC
#define WC VMXC_MEMORY_TYPE_WC
#define WT VMXC_MEMORY_TYPE_WT
#define WP VMXC_MEMORY_TYPE_WP
#define WB VMXC_MEMORY_TYPE_WB
/* clang-format off */
static const uint8_t combined_type[7][8] = {
                         /* PAT: UC  WC  -   -   WT  WP  WB  UC- */
    [VMXC_MEMORY_TYPE_UC] =    { UC, WC, UC, UC, UC, UC, UC, UC },
    [VMXC_MEMORY_TYPE_WC] =    { UC, WC, UC, UC, UC, UC, WC, WC },
    [VMXC_MEMORY_TYPE_WT] =    { UC, WC, UC, UC, WT, WP, WT, UC },
    [VMXC_MEMORY_TYPE_WP] =    { UC, WC, UC, UC, WT, WP, WP, WC },
    [VMXC_MEMORY_TYPE_WB] =    { UC, WC, UC, UC, WT, WP, WB, UC },
};
/* clang-format on */

/* Without paging the PAT does not apply: as if it said WB. */
static uint64_t pat_type(const struct guest_state *guest, const struct linear_translation *linear)
{
    if (guest->mode == PAGING_NONE)
        return VMXC_MEMORY_TYPE_WB;
    return (guest->pat >> (8u * linear->rights.pat_index)) & 7u;
}

enum vmxc_memory_type vmxsim_effective_memory_type(const struct vmxsim_cpu *cpu,
                                                   const struct linear_translation *linear,
                                                   const struct ept_translation *ept)
{
    uint64_t ept_type =
        VMXC_MEMORY_TYPE_WB; /* EPT off: all memory counts as write-back, there are no MTRRs */

    if (cpu->guest.cr0 & VMXC_CR0_CD)
        return VMXC_MEMORY_TYPE_UC;
    if (cpu->ept.enabled) {
        ept_type = VMXC_FIELD_GET(ept->leaf, VMXC_EPT_MEMORY_TYPE);
        if (ept->leaf & VMXC_EPT_IGNORE_PAT)
            return (enum vmxc_memory_type)ept_type;
    }
    return (enum vmxc_memory_type)combined_type[ept_type][pat_type(&cpu->guest, linear)];
}
