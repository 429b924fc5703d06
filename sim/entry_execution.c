/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Source: Intel SDM volume 3, "VM-Execution Control Fields" (checks on VMX controls).
 *
 * Where a rule needs one control because of another, the smallest change switches the dependent control off.
 */
#include "internal/entry.h"

#define PAGE_ALIGNED VMXC_BITS(11, 0)

#define PRIMARY   F(PRIMARY_PROCESSOR_BASED_CONTROLS)
#define SECONDARY F(SECONDARY_PROCESSOR_BASED_CONTROLS)
#define TERTIARY  F(TERTIARY_PROCESSOR_BASED_CONTROLS)

/* An address that counts only while `on` says so. */
static void require_page_if(struct entry_check *check, enum vmxsim_entry_rule id,
                            uint64_t (*word)(struct entry_check *), uint64_t bit, uint16_t ordinal)
{
    rule(check, id);
    if (!(word(check) & bit))
        return;
    const uint64_t wrong = value(check, ordinal) & (PAGE_ALIGNED | check->beyond_width);
    if (wrong)
        violated(check, clear_bits(check, ordinal, wrong));
}

/* A secondary control that may be 1 only with EPT. */
static void require_ept_for(struct entry_check *check, enum vmxsim_entry_rule id, uint64_t bit)
{
    rule(check, id);
    if ((secondary(check) & bit) && !(secondary(check) & VMXC_SECONDARY_ENABLE_EPT))
        violated(check, clear_bits(check, SECONDARY, bit));
}

static void check_words(struct entry_check *check)
{
    require_capable(check, VMXSIM_ENTRY_CTL_PIN_RSVD, F(PIN_BASED_CONTROLS),
                    VMXC_MSR_VMX_PINBASED_CTLS, VMXC_MSR_VMX_TRUE_PINBASED_CTLS);
    require_capable(check, VMXSIM_ENTRY_CTL_PROC_RSVD, PRIMARY, VMXC_MSR_VMX_PROCBASED_CTLS,
                    VMXC_MSR_VMX_TRUE_PROCBASED_CTLS);

    rule(check, VMXSIM_ENTRY_CTL_PROC2_RSVD);
    if (primary(check) & VMXC_PRIMARY_ACTIVATE_SECONDARY_CONTROLS) {
        const uint64_t settings = capability(check, VMXC_MSR_VMX_PROCBASED_CTLS2);
        const uint64_t nearest = (secondary(check) | (settings & UINT32_MAX)) & (settings >> 32);
        if (secondary(check) != nearest)
            violated(check, change_to(check, SECONDARY, nearest));
    }

    rule(check, VMXSIM_ENTRY_CTL_PROC3_RSVD);
    const uint64_t excess = tertiary(check) & ~capability(check, VMXC_MSR_VMX_PROCBASED_CTLS3);
    if (excess)
        violated(check, clear_bits(check, TERTIARY, excess));
}

static void check_cr3_targets(struct entry_check *check)
{
    const uint64_t limit =
        VMXC_FIELD_GET(capability(check, VMXC_MSR_VMX_MISC), VMXC_VMX_MISC_CR3_TARGETS);

    rule(check, VMXSIM_ENTRY_CTL_CR3TGT_COUNT);
    if (value(check, F(CR3_TARGET_COUNT)) > limit)
        violated(check, change_to(check, F(CR3_TARGET_COUNT), limit));
}

static void check_bitmaps(struct entry_check *check)
{
    require_page_if(check, VMXSIM_ENTRY_CTL_IOBMP_A_ADDR, primary, VMXC_PRIMARY_USE_IO_BITMAPS,
                    F(IO_BITMAP_A_ADDRESS));
    require_page_if(check, VMXSIM_ENTRY_CTL_IOBMP_B_ADDR, primary, VMXC_PRIMARY_USE_IO_BITMAPS,
                    F(IO_BITMAP_B_ADDRESS));
    require_page_if(check, VMXSIM_ENTRY_CTL_MSRBMP_ADDR, primary, VMXC_PRIMARY_USE_MSR_BITMAPS,
                    F(MSR_BITMAP_ADDRESS));
}

#define VTPR_OFFSET 0x80u

/* VTPR is read from memory, and only if the address of its page passed. */
static void check_threshold_against_vtpr(struct entry_check *check, bool page_is_valid)
{
    rule(check, VMXSIM_ENTRY_CTL_TPR_THRESH_VTPR);
    if (!(primary(check) & VMXC_PRIMARY_USE_TPR_SHADOW) || !page_is_valid ||
        (secondary(check) &
         (VMXC_SECONDARY_VIRTUAL_INTERRUPT_DELIVERY | VMXC_SECONDARY_VIRTUALIZE_APIC_ACCESSES)))
        return;
    const uint64_t threshold = value(check, F(TPR_THRESHOLD));
    if ((threshold & 0xf) == 0)
        return; /* not above any class: memory need not be known */
    const uint32_t vtpr = memory32(check, value(check, F(VIRTUAL_APIC_ADDRESS)) + VTPR_OFFSET);
    const uint64_t vtpr_class = (vtpr >> 4) & 0xf;
    if ((threshold & 0xf) > vtpr_class)
        violated(check,
                 change_to(check, F(TPR_THRESHOLD), (threshold & ~UINT64_C(0xf)) | vtpr_class));
}

static void check_tpr_shadow(struct entry_check *check)
{
    require_page_if(check, VMXSIM_ENTRY_CTL_TPR_VAPIC_ADDR, primary, VMXC_PRIMARY_USE_TPR_SHADOW,
                    F(VIRTUAL_APIC_ADDRESS));
    const bool page_is_valid = holds(check);

    rule(check, VMXSIM_ENTRY_CTL_TPR_THRESH_RSVD);
    if ((primary(check) & VMXC_PRIMARY_USE_TPR_SHADOW) &&
        !(secondary(check) & VMXC_SECONDARY_VIRTUAL_INTERRUPT_DELIVERY) &&
        (value(check, F(TPR_THRESHOLD)) & VMXC_BITS(31, 4)))
        violated(check, clear_bits(check, F(TPR_THRESHOLD), VMXC_BITS(31, 4)));

    check_threshold_against_vtpr(check, page_is_valid);
}

static void check_nmi(struct entry_check *check)
{
    rule(check, VMXSIM_ENTRY_CTL_NMI_VNMI);
    if ((pin(check) & VMXC_PIN_VIRTUAL_NMIS) && !(pin(check) & VMXC_PIN_NMI_EXITING))
        violated(check, set_bits(check, F(PIN_BASED_CONTROLS), VMXC_PIN_NMI_EXITING));

    rule(check, VMXSIM_ENTRY_CTL_NMI_WINDOW);
    if ((primary(check) & VMXC_PRIMARY_NMI_WINDOW_EXITING) && !(pin(check) & VMXC_PIN_VIRTUAL_NMIS))
        violated(check, clear_bits(check, PRIMARY, VMXC_PRIMARY_NMI_WINDOW_EXITING));
}

/* Everything that works on the virtual-APIC page needs the TPR shadow, which gives the page its address. */
static void check_tpr_shadow_users(struct entry_check *check)
{
    const uint64_t secondary_users = VMXC_SECONDARY_VIRTUALIZE_X2APIC_MODE |
                                     VMXC_SECONDARY_APIC_REGISTER_VIRTUALIZATION |
                                     VMXC_SECONDARY_VIRTUAL_INTERRUPT_DELIVERY;

    rule(check, VMXSIM_ENTRY_CTL_APICV_NEED_TPR);
    if (primary(check) & VMXC_PRIMARY_USE_TPR_SHADOW)
        return;
    if (secondary(check) & secondary_users)
        violated(check, clear_bits(check, SECONDARY, secondary_users));
    if (tertiary(check) & VMXC_TERTIARY_IPI_VIRTUALIZATION)
        violated(check, clear_bits(check, TERTIARY, VMXC_TERTIARY_IPI_VIRTUALIZATION));
}

static void check_apic(struct entry_check *check)
{
    require_page_if(check, VMXSIM_ENTRY_CTL_APIC_ACCESS_ADDR, secondary,
                    VMXC_SECONDARY_VIRTUALIZE_APIC_ACCESSES, F(APIC_ACCESS_ADDRESS));
    check_tpr_shadow_users(check);

    rule(check, VMXSIM_ENTRY_CTL_APICV_X2_ACCESS);
    if ((secondary(check) & VMXC_SECONDARY_VIRTUALIZE_X2APIC_MODE) &&
        (secondary(check) & VMXC_SECONDARY_VIRTUALIZE_APIC_ACCESSES))
        violated(check, clear_bits(check, SECONDARY, VMXC_SECONDARY_VIRTUALIZE_APIC_ACCESSES));

    rule(check, VMXSIM_ENTRY_CTL_VID_EXTINT);
    if ((secondary(check) & VMXC_SECONDARY_VIRTUAL_INTERRUPT_DELIVERY) &&
        !(pin(check) & VMXC_PIN_EXTERNAL_INTERRUPT_EXITING))
        violated(check,
                 set_bits(check, F(PIN_BASED_CONTROLS), VMXC_PIN_EXTERNAL_INTERRUPT_EXITING));
}

static bool posts_interrupts(struct entry_check *check)
{
    return pin(check) & VMXC_PIN_PROCESS_POSTED_INTERRUPTS;
}

static void check_posted_interrupts(struct entry_check *check)
{
    rule(check, VMXSIM_ENTRY_CTL_PI_VID);
    if (posts_interrupts(check) && !(secondary(check) & VMXC_SECONDARY_VIRTUAL_INTERRUPT_DELIVERY))
        violated(check,
                 clear_bits(check, F(PIN_BASED_CONTROLS), VMXC_PIN_PROCESS_POSTED_INTERRUPTS));

    rule(check, VMXSIM_ENTRY_CTL_PI_ACK);
    if (posts_interrupts(check) && !(exit_controls(check) & VMXC_EXIT_ACKNOWLEDGE_INTERRUPT))
        violated(check,
                 set_bits(check, F(PRIMARY_VM_EXIT_CONTROLS), VMXC_EXIT_ACKNOWLEDGE_INTERRUPT));

    rule(check, VMXSIM_ENTRY_CTL_PI_VECTOR);
    if (posts_interrupts(check) &&
        (value(check, F(POSTED_INTERRUPT_NOTIFICATION_VECTOR)) & VMXC_BITS(15, 8)))
        violated(check,
                 clear_bits(check, F(POSTED_INTERRUPT_NOTIFICATION_VECTOR), VMXC_BITS(15, 8)));

    rule(check, VMXSIM_ENTRY_CTL_PI_DESC_ALIGN);
    if (posts_interrupts(check) &&
        (value(check, F(POSTED_INTERRUPT_DESCRIPTOR_ADDRESS)) & VMXC_BITS(5, 0)))
        violated(check, clear_bits(check, F(POSTED_INTERRUPT_DESCRIPTOR_ADDRESS), VMXC_BITS(5, 0)));

    rule(check, VMXSIM_ENTRY_CTL_PI_DESC_WIDTH);
    if (posts_interrupts(check) &&
        (value(check, F(POSTED_INTERRUPT_DESCRIPTOR_ADDRESS)) & check->beyond_width))
        violated(check,
                 clear_bits(check, F(POSTED_INTERRUPT_DESCRIPTOR_ADDRESS), check->beyond_width));
}

static void check_vpid(struct entry_check *check)
{
    rule(check, VMXSIM_ENTRY_CTL_VPID_ZERO);
    if ((secondary(check) & VMXC_SECONDARY_ENABLE_VPID) && value(check, F(VPID)) == 0)
        violated(check, change_to(check, F(VPID), 1));
}

/* ---- EPTP ---- */

static void check_eptp_memory_type(struct entry_check *check, uint64_t cap)
{
    const uint64_t type = VMXC_FIELD_GET(value(check, F(EPT_POINTER)), VMXC_EPTP_MEMORY_TYPE);
    const bool uc = cap & VMXC_EPT_VPID_CAP_MEMORY_TYPE_UC,
               wb = cap & VMXC_EPT_VPID_CAP_MEMORY_TYPE_WB;
    const uint64_t nearest = wb ? VMXC_MEMORY_TYPE_WB : VMXC_MEMORY_TYPE_UC;

    if ((type == VMXC_MEMORY_TYPE_UC && uc) || (type == VMXC_MEMORY_TYPE_WB && wb))
        return;
    violated(check, change_to(check, F(EPT_POINTER),
                              (value(check, F(EPT_POINTER)) & ~VMXC_EPTP_MEMORY_TYPE) | nearest));
}

static void check_eptp_walk_length(struct entry_check *check, uint64_t cap)
{
    const uint64_t length = VMXC_FIELD_GET(value(check, F(EPT_POINTER)), VMXC_EPTP_WALK_LENGTH);
    const bool walk_4 = cap & VMXC_EPT_VPID_CAP_WALK_4, walk_5 = cap & VMXC_EPT_VPID_CAP_WALK_5;
    const uint64_t nearest = VMXC_FIELD_MAKE(walk_4 ? 3u : 4u, VMXC_EPTP_WALK_LENGTH);

    if ((length == 3 && walk_4) || (length == 4 && walk_5))
        return;
    violated(check, change_to(check, F(EPT_POINTER),
                              (value(check, F(EPT_POINTER)) & ~VMXC_EPTP_WALK_LENGTH) | nearest));
}

static bool has_ept(struct entry_check *check, enum vmxsim_entry_rule id)
{
    rule(check, id);
    return secondary(check) & VMXC_SECONDARY_ENABLE_EPT;
}

static void require_eptp_zero(struct entry_check *check, enum vmxsim_entry_rule id, uint64_t bits)
{
    if (has_ept(check, id) && (value(check, F(EPT_POINTER)) & bits))
        violated(check, clear_bits(check, F(EPT_POINTER), bits));
}

static void check_eptp(struct entry_check *check)
{
    const uint64_t cap = capability(check, VMXC_MSR_VMX_EPT_VPID_CAP);

    if (has_ept(check, VMXSIM_ENTRY_CTL_EPTP_MT))
        check_eptp_memory_type(check, cap);
    if (has_ept(check, VMXSIM_ENTRY_CTL_EPTP_WALK))
        check_eptp_walk_length(check, cap);
    require_eptp_zero(check, VMXSIM_ENTRY_CTL_EPTP_AD,
                      (cap & VMXC_EPT_VPID_CAP_ACCESSED_DIRTY) ? 0 : VMXC_EPTP_ACCESSED_DIRTY);
    require_eptp_zero(check, VMXSIM_ENTRY_CTL_EPTP_SSS,
                      (cap & VMXC_EPT_VPID_CAP_SHADOW_STACK) ? 0 : VMXC_EPTP_SHADOW_STACK);
    require_eptp_zero(check, VMXSIM_ENTRY_CTL_EPTP_RSVD,
                      VMXC_EPTP_RESERVED_LOW | check->beyond_width);
}

static void check_ept_users(struct entry_check *check)
{
    require_ept_for(check, VMXSIM_ENTRY_CTL_PML_EPT, VMXC_SECONDARY_ENABLE_PML);
    require_page_if(check, VMXSIM_ENTRY_CTL_PML_ADDR, secondary, VMXC_SECONDARY_ENABLE_PML,
                    F(PML_ADDRESS));
    require_ept_for(check, VMXSIM_ENTRY_CTL_UG_EPT, VMXC_SECONDARY_UNRESTRICTED_GUEST);
    require_ept_for(check, VMXSIM_ENTRY_CTL_MBEC_EPT, VMXC_SECONDARY_MODE_BASED_EXECUTE_CONTROL);
    require_ept_for(check, VMXSIM_ENTRY_CTL_SPP_EPT, VMXC_SECONDARY_SUB_PAGE_WRITE_PERMISSIONS);
    require_page_if(check, VMXSIM_ENTRY_CTL_SPP_ADDR, secondary,
                    VMXC_SECONDARY_SUB_PAGE_WRITE_PERMISSIONS,
                    F(SUB_PAGE_PERMISSION_TABLE_POINTER));
}

/* ---- VM functions, shadowing, #VE and the rest of the secondary controls ---- */

#define VM_FUNCTION_EPTP_SWITCHING VMXC_BIT(0)

static bool switches_eptp(struct entry_check *check)
{
    return (secondary(check) & VMXC_SECONDARY_ENABLE_VM_FUNCTIONS) &&
           (value(check, F(VM_FUNCTION_CONTROLS)) & VM_FUNCTION_EPTP_SWITCHING);
}

static void check_vm_functions(struct entry_check *check)
{
    rule(check, VMXSIM_ENTRY_CTL_VMFUNC_RSVD);
    if (secondary(check) & VMXC_SECONDARY_ENABLE_VM_FUNCTIONS) {
        const uint64_t excess =
            value(check, F(VM_FUNCTION_CONTROLS)) & ~capability(check, VMXC_MSR_VMX_VMFUNC);
        if (excess)
            violated(check, clear_bits(check, F(VM_FUNCTION_CONTROLS), excess));
    }

    rule(check, VMXSIM_ENTRY_CTL_VMFUNC_EPTPSW_EPT);
    if (switches_eptp(check) && !(secondary(check) & VMXC_SECONDARY_ENABLE_EPT))
        violated(check, clear_bits(check, F(VM_FUNCTION_CONTROLS), VM_FUNCTION_EPTP_SWITCHING));

    rule(check, VMXSIM_ENTRY_CTL_VMFUNC_EPTPLIST_ADDR);
    if (switches_eptp(check) &&
        (value(check, F(EPTP_LIST_ADDRESS)) & (PAGE_ALIGNED | check->beyond_width)))
        violated(check,
                 clear_bits(check, F(EPTP_LIST_ADDRESS), PAGE_ALIGNED | check->beyond_width));
}

static void check_intel_pt(struct entry_check *check)
{
    rule(check, VMXSIM_ENTRY_CTL_PT_GPA);
    if (!(secondary(check) & VMXC_SECONDARY_PT_USES_GUEST_PHYSICAL))
        return;
    if (!(secondary(check) & VMXC_SECONDARY_ENABLE_EPT) ||
        !(entry_controls(check) & VMXC_ENTRY_LOAD_RTIT_CTL) ||
        !(exit_controls(check) & VMXC_EXIT_CLEAR_RTIT_CTL))
        violated(check, clear_bits(check, SECONDARY, VMXC_SECONDARY_PT_USES_GUEST_PHYSICAL));
}

static void check_tsc_multiplier(struct entry_check *check)
{
    rule(check, VMXSIM_ENTRY_CTL_TSC_MULT);
    if ((secondary(check) & VMXC_SECONDARY_USE_TSC_SCALING) && value(check, F(TSC_MULTIPLIER)) == 0)
        violated(check, change_to(check, F(TSC_MULTIPLIER), VMXC_BIT(48))); /* a factor of 1 */
}

static void check_other_secondary(struct entry_check *check)
{
    require_page_if(check, VMXSIM_ENTRY_CTL_SHADOW_VMREAD_ADDR, secondary,
                    VMXC_SECONDARY_VMCS_SHADOWING, F(VMREAD_BITMAP_ADDRESS));
    require_page_if(check, VMXSIM_ENTRY_CTL_SHADOW_VMWRITE_ADDR, secondary,
                    VMXC_SECONDARY_VMCS_SHADOWING, F(VMWRITE_BITMAP_ADDRESS));
    require_page_if(check, VMXSIM_ENTRY_CTL_VE_ADDR, secondary, VMXC_SECONDARY_EPT_VIOLATION_VE,
                    F(VIRTUALIZATION_EXCEPTION_INFO_ADDRESS));
    check_intel_pt(check);
    check_tsc_multiplier(check);
    require_page_if(check, VMXSIM_ENTRY_CTL_PASID_LO, secondary, VMXC_SECONDARY_PASID_TRANSLATION,
                    F(LOW_PASID_DIRECTORY_ADDRESS));
    require_page_if(check, VMXSIM_ENTRY_CTL_PASID_HI, secondary, VMXC_SECONDARY_PASID_TRANSLATION,
                    F(HIGH_PASID_DIRECTORY_ADDRESS));
}

/* ---- Tertiary controls ---- */

#define HLAT_POINTER_RESERVED (VMXC_BITS(2, 0) | VMXC_BITS(11, 5))

static void check_hlat(struct entry_check *check)
{
    const uint64_t limit = VMXC_FIELD_GET(capability(check, VMXC_MSR_VMX_EPT_VPID_CAP),
                                          VMXC_EPT_VPID_CAP_HLAT_PREFIX_MAX);
    const uint64_t ept_users =
        VMXC_TERTIARY_EPT_PAGING_WRITE_CONTROL | VMXC_TERTIARY_GUEST_PAGING_VERIFICATION;

    rule(check, VMXSIM_ENTRY_CTL_HLAT_PTR);
    if ((tertiary(check) & VMXC_TERTIARY_ENABLE_HLAT) &&
        (value(check, F(HLAT_POINTER)) & (HLAT_POINTER_RESERVED | check->beyond_width)))
        violated(check,
                 clear_bits(check, F(HLAT_POINTER), HLAT_POINTER_RESERVED | check->beyond_width));

    rule(check, VMXSIM_ENTRY_CTL_HLAT_PREFIX);
    if ((tertiary(check) & VMXC_TERTIARY_ENABLE_HLAT) && value(check, F(HLAT_PREFIX_SIZE)) > limit)
        violated(check, change_to(check, F(HLAT_PREFIX_SIZE), limit));

    rule(check, VMXSIM_ENTRY_CTL_HLATSET_EPT);
    if ((tertiary(check) & ept_users) && !(secondary(check) & VMXC_SECONDARY_ENABLE_EPT))
        violated(check, clear_bits(check, TERTIARY, ept_users));
}

/* The table has one 8-byte pointer for each index up to the last. */
static void check_ipi_virtualization(struct entry_check *check)
{
    rule(check, VMXSIM_ENTRY_CTL_IPIV_TABLE);
    if (!(tertiary(check) & VMXC_TERTIARY_IPI_VIRTUALIZATION))
        return;
    const uint64_t wrong =
        value(check, F(PID_POINTER_TABLE_ADDRESS)) & (VMXC_BITS(2, 0) | check->beyond_width);
    if (wrong)
        violated(check, clear_bits(check, F(PID_POINTER_TABLE_ADDRESS), wrong));
    /* Put right, it may still be too close to the end of memory. */
    const uint64_t table = value(check, F(PID_POINTER_TABLE_ADDRESS)) & ~wrong;
    const uint64_t last_byte = table + 8 * value(check, F(LAST_PID_POINTER_INDEX)) + 7;
    if (last_byte & check->beyond_width)
        violated(check,
                 change_to(check, F(LAST_PID_POINTER_INDEX), (~check->beyond_width - table) / 8));
}

static void check_apic_timer(struct entry_check *check)
{
    rule(check, VMXSIM_ENTRY_CTL_ATIMER);
    if (!(tertiary(check) & VMXC_TERTIARY_APIC_TIMER_VIRTUALIZATION))
        return;
    const uint64_t vector = value(check, F(VIRTUAL_TIMER_VECTOR));
    if (!(secondary(check) & VMXC_SECONDARY_VIRTUAL_INTERRUPT_DELIVERY))
        violated(check, clear_bits(check, TERTIARY, VMXC_TERTIARY_APIC_TIMER_VIRTUALIZATION));
    else if (vector < 16 || vector > 255)
        violated(check, change_to(check, F(VIRTUAL_TIMER_VECTOR), vector < 16 ? 16 : 255));
}

void check_execution_controls(struct entry_check *check)
{
    check_words(check);
    check_cr3_targets(check);
    check_bitmaps(check);
    check_tpr_shadow(check);
    check_nmi(check);
    check_apic(check);
    check_posted_interrupts(check);
    check_vpid(check);
    check_eptp(check);
    check_ept_users(check);
    check_vm_functions(check);
    check_other_secondary(check);
    check_hlat(check);
    check_ipi_virtualization(check);
    check_apic_timer(check);
}
