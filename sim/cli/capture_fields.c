/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which VMCS fields a processor has, as far as its capability MSRs tell. Only VMREAD in VMX operation would know.
 * Source: Intel SDM volume 3, "VMX Capability Reporting Facility", "Field Encoding in VMCS" (appendices).
 */
#include "capture.h"

#include "vmxcore/defs/controls.h"
#include "vmxcore/defs/msr.h"
#include "vmxcore/defs/vmcs.h"

#include <stddef.h>

/* One member per name in the feature column of vmcs_fields.def. */
struct capture_features {
    bool ALWAYS, SMM, SEAM;
    bool POSTED_INTERRUPTS, PREEMPTION_TIMER;
    bool MSR_BITMAPS, TPR_SHADOW, SECONDARY_CONTROLS, TERTIARY_CONTROLS;
    bool VPID, EPT, VIRTUALIZE_APIC, VIRTUAL_INTERRUPT_DELIVERY, PAUSE_LOOP_EXITING, VM_FUNCTIONS,
        EPTP_SWITCHING, VMCS_SHADOWING, SGX, PML, EPT_VIOLATION_VE, XSAVES, PASID_TRANSLATION,
        SUB_PAGE_PERMISSIONS, TSC_SCALING, PCONFIG, INSTRUCTION_TIMEOUT;
    bool HLAT, IPI_VIRTUALIZATION, MSR_LIST, SPEC_CTRL_VIRTUALIZATION, APIC_TIMER_VIRTUALIZATION;
    bool SECONDARY_EXIT_CONTROLS;
    bool MPX, PROCESSOR_TRACE, LBR, PKS, CET, USER_INTERRUPTS, FRED;
};

static const struct {
    uint32_t encoding;
    size_t feature; /* offset in struct capture_features */
} fields[] = {
#define VMXC_VMCS_FIELD(encoding, width, type, name, feature) \
    {encoding, offsetof(struct capture_features, feature)},
#include "vmxcore/defs/vmcs_fields.def"
};

/* ---- Allowed 1-settings ---- */

/* An MSR; what a processor does not have reports nothing. */
static uint64_t msr(const struct vmxsim_profile *profile, uint32_t index)
{
    uint64_t value;
    return vmxsim_profile_msr(profile, index, &value) == VMXC_OK ? value : 0;
}

/* Of a control word with two halves; `true_index` counts where the processor has such MSRs. */
static uint64_t allowed(const struct vmxsim_profile *profile, uint32_t index, uint32_t true_index)
{
    const bool has_true = msr(profile, VMXC_MSR_VMX_BASIC) & VMXC_VMX_BASIC_TRUE_CONTROLS;
    return msr(profile, has_true ? true_index : index) >> 32;
}

/* ---- Features ---- */

static void secondary_features(struct capture_features *has, const struct vmxsim_profile *profile)
{
    const uint64_t on =
        has->SECONDARY_CONTROLS ? msr(profile, VMXC_MSR_VMX_PROCBASED_CTLS2) >> 32 : 0;
    has->VIRTUALIZE_APIC = on & VMXC_SECONDARY_VIRTUALIZE_APIC_ACCESSES;
    has->EPT = on & VMXC_SECONDARY_ENABLE_EPT;
    has->VPID = on & VMXC_SECONDARY_ENABLE_VPID;
    has->VIRTUAL_INTERRUPT_DELIVERY = on & VMXC_SECONDARY_VIRTUAL_INTERRUPT_DELIVERY;
    has->PAUSE_LOOP_EXITING = on & VMXC_SECONDARY_PAUSE_LOOP_EXITING;
    has->VM_FUNCTIONS = on & VMXC_SECONDARY_ENABLE_VM_FUNCTIONS;
    has->EPTP_SWITCHING = has->VM_FUNCTIONS && (msr(profile, VMXC_MSR_VMX_VMFUNC) & 1);
    has->VMCS_SHADOWING = on & VMXC_SECONDARY_VMCS_SHADOWING;
    has->SGX = on & VMXC_SECONDARY_ENABLE_ENCLS_EXITING;
    has->PML = on & VMXC_SECONDARY_ENABLE_PML;
    has->EPT_VIOLATION_VE = on & VMXC_SECONDARY_EPT_VIOLATION_VE;
    has->XSAVES = on & VMXC_SECONDARY_ENABLE_XSAVES_XRSTORS;
    has->PASID_TRANSLATION = on & VMXC_SECONDARY_PASID_TRANSLATION;
    has->SUB_PAGE_PERMISSIONS = on & VMXC_SECONDARY_SUB_PAGE_WRITE_PERMISSIONS;
    has->TSC_SCALING = on & VMXC_SECONDARY_USE_TSC_SCALING;
    has->PCONFIG = on & VMXC_SECONDARY_ENABLE_PCONFIG;
    has->INSTRUCTION_TIMEOUT = on & VMXC_SECONDARY_INSTRUCTION_TIMEOUT;
}

static void tertiary_features(struct capture_features *has, const struct vmxsim_profile *profile)
{
    const uint64_t on = has->TERTIARY_CONTROLS ? msr(profile, VMXC_MSR_VMX_PROCBASED_CTLS3) : 0;
    has->HLAT = on & VMXC_TERTIARY_ENABLE_HLAT;
    has->IPI_VIRTUALIZATION = on & VMXC_TERTIARY_IPI_VIRTUALIZATION;
    has->MSR_LIST = on & VMXC_TERTIARY_ENABLE_MSR_LIST_INSTRUCTIONS;
    has->SPEC_CTRL_VIRTUALIZATION = on & VMXC_TERTIARY_VIRTUALIZE_SPEC_CTRL;
    has->APIC_TIMER_VIRTUALIZATION = on & VMXC_TERTIARY_APIC_TIMER_VIRTUALIZATION;
}

static void entry_features(struct capture_features *has, uint64_t on)
{
    has->MPX = on & VMXC_ENTRY_LOAD_BNDCFGS;
    has->PROCESSOR_TRACE = on & VMXC_ENTRY_LOAD_RTIT_CTL;
    has->USER_INTERRUPTS = on & VMXC_ENTRY_LOAD_UINV;
    has->CET = on & VMXC_ENTRY_LOAD_CET;
    has->LBR = on & VMXC_ENTRY_LOAD_LBR_CTL;
    has->PKS = on & VMXC_ENTRY_LOAD_PKRS;
    has->FRED = on & VMXC_ENTRY_LOAD_FRED;
}

/* SMM stays on: those fields are there without dual-monitor treatment too. Nothing reports SEAM, which stays off. */
static struct capture_features features_of(const struct vmxsim_profile *profile)
{
    struct capture_features has = {.ALWAYS = true, .SMM = true};
    const uint64_t pin =
        allowed(profile, VMXC_MSR_VMX_PINBASED_CTLS, VMXC_MSR_VMX_TRUE_PINBASED_CTLS);
    const uint64_t primary =
        allowed(profile, VMXC_MSR_VMX_PROCBASED_CTLS, VMXC_MSR_VMX_TRUE_PROCBASED_CTLS);

    has.POSTED_INTERRUPTS = pin & VMXC_PIN_PROCESS_POSTED_INTERRUPTS;
    has.PREEMPTION_TIMER = pin & VMXC_PIN_ACTIVATE_PREEMPTION_TIMER;
    has.MSR_BITMAPS = primary & VMXC_PRIMARY_USE_MSR_BITMAPS;
    has.TPR_SHADOW = primary & VMXC_PRIMARY_USE_TPR_SHADOW;
    has.SECONDARY_CONTROLS = primary & VMXC_PRIMARY_ACTIVATE_SECONDARY_CONTROLS;
    has.TERTIARY_CONTROLS = primary & VMXC_PRIMARY_ACTIVATE_TERTIARY_CONTROLS;
    has.SECONDARY_EXIT_CONTROLS =
        allowed(profile, VMXC_MSR_VMX_EXIT_CTLS, VMXC_MSR_VMX_TRUE_EXIT_CTLS) &
        VMXC_EXIT_ACTIVATE_SECONDARY_CONTROLS;
    secondary_features(&has, profile);
    tertiary_features(&has, profile);
    entry_features(&has, allowed(profile, VMXC_MSR_VMX_ENTRY_CTLS, VMXC_MSR_VMX_TRUE_ENTRY_CTLS));
    return has;
}

json_t *cli_capture_fields(const struct vmxsim_profile *profile)
{
    const struct capture_features has = features_of(profile);
    json_t *const list = json_array();

    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        const bool exists = *(const bool *)((const unsigned char *)&has + fields[i].feature);
        if (exists && json_array_append_new(list, cli_json_hex(fields[i].encoding)) != 0) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}
