/* SPDX-License-Identifier: Apache-2.0 */
/* Source: Intel SDM volume 3, "Checks on Guest Page-Directory-Pointer-Table Entries", "PDPTE Registers". */
#include "internal/entry.h"

enum { QUALIFICATION_PDPTE = 2 };

static bool guest_uses_pae_paging(struct entry_check *check)
{
    return (value(check, F(GUEST_CR0)) & VMXC_CR0_PG) &&
           (value(check, F(GUEST_CR4)) & VMXC_CR4_PAE) &&
           !(entry_controls(check) & VMXC_ENTRY_IA32E_MODE_GUEST);
}

static bool uses_ept(struct entry_check *check)
{
    return secondary(check) & VMXC_SECONDARY_ENABLE_EPT;
}

/* Reserved bits that are 1; those of an entry that is not present do not matter. */
static uint64_t wrong_bits(const struct entry_check *check, uint64_t pdpte)
{
    const uint64_t reserved = VMXC_BITS(2, 1) | VMXC_BITS(8, 5) | beyond_physical(check);

    return (pdpte & VMXC_PTE_PRESENT) ? pdpte & reserved : 0;
}

static void check_table(struct entry_check *check)
{
    const uint64_t table_mask = VMXC_BITS(31, 5);
    bool wrong = false;

    rule(check, VMXSIM_ENTRY_PDPTE_CR3);
    if (!guest_uses_pae_paging(check) || uses_ept(check))
        return;
    const uint64_t table_hpa = value(check, F(GUEST_CR3)) & table_mask;
    for (unsigned i = 0; i < 4; i++) {
        if (wrong_bits(check, memory64(check, table_hpa + UINT64_C(8) * i)))
            wrong = true;
    }
    /* The table lies in memory: all that a field can do about it is not to use it. */
    if (wrong)
        violated_with(check, clear_bits(check, F(GUEST_CR4), VMXC_CR4_PAE), QUALIFICATION_PDPTE,
                      false);
}

static void check_fields(struct entry_check *check)
{
    rule(check, VMXSIM_ENTRY_PDPTE_FIELD);
    if (!guest_uses_pae_paging(check) || !uses_ept(check))
        return;
    for (uint16_t pdpte = F(GUEST_PDPTE0); pdpte <= F(GUEST_PDPTE3); pdpte++) {
        const uint64_t wrong = wrong_bits(check, value(check, pdpte));
        if (wrong)
            violated_with(check, clear_bits(check, pdpte, wrong), QUALIFICATION_PDPTE, false);
    }
}

void check_guest_pdptes(struct entry_check *check)
{
    check_table(check);
    check_fields(check);
}
