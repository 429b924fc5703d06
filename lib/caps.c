/* SPDX-License-Identifier: Apache-2.0 */
#include "vmxcore/caps.h"

#include "vmxcore/defs/msr.h"
#include "vmxcore/defs/vmcs.h"

#define EPT_LEVELS_4   4u
#define EPT_LEVELS_5   5u
#define MAXPHYADDR_MIN 32u
#define WORD_32        VMXC_BITS(31, 0)

/* ---- Decoding ---- */

static bool has(uint64_t raw, uint64_t mask)
{
    return (raw & mask) == mask;
}

struct vmxc_caps_basic vmxc_caps_basic(uint64_t vmx_basic)
{
    return (struct vmxc_caps_basic){
        .revision = (uint32_t)VMXC_FIELD_GET(vmx_basic, VMXC_VMX_BASIC_REVISION),
        .region_size = (uint32_t)VMXC_FIELD_GET(vmx_basic, VMXC_VMX_BASIC_REGION_SIZE),
        .memory_type = (uint8_t)VMXC_FIELD_GET(vmx_basic, VMXC_VMX_BASIC_MEMORY_TYPE),
        .address_32 = has(vmx_basic, VMXC_VMX_BASIC_ADDRESS_32),
        .dual_monitor = has(vmx_basic, VMXC_VMX_BASIC_DUAL_MONITOR),
        .ins_outs_info = has(vmx_basic, VMXC_VMX_BASIC_INS_OUTS_INFO),
        .true_controls = has(vmx_basic, VMXC_VMX_BASIC_TRUE_CONTROLS),
        .any_error_code = has(vmx_basic, VMXC_VMX_BASIC_ANY_ERROR_CODE),
        .nested_exception = has(vmx_basic, VMXC_VMX_BASIC_NESTED_EXCEPTION),
    };
}

struct vmxc_caps_misc vmxc_caps_misc(uint64_t vmx_misc)
{
    const uint64_t list_max = VMXC_FIELD_GET(vmx_misc, VMXC_VMX_MISC_MSR_LIST_MAX);

    return (struct vmxc_caps_misc){
        .preemption_timer_rate =
            (uint8_t)VMXC_FIELD_GET(vmx_misc, VMXC_VMX_MISC_PREEMPTION_TIMER_RATE),
        .cr3_targets = (uint16_t)VMXC_FIELD_GET(vmx_misc, VMXC_VMX_MISC_CR3_TARGETS),
        .msr_list_max = (uint16_t)(512 * (list_max + 1)),
        .mseg_revision = (uint32_t)VMXC_FIELD_GET(vmx_misc, VMXC_VMX_MISC_MSEG_REVISION),
        .saves_lma = has(vmx_misc, VMXC_VMX_MISC_SAVES_LMA),
        .activity_hlt = has(vmx_misc, VMXC_VMX_MISC_ACTIVITY_HLT),
        .activity_shutdown = has(vmx_misc, VMXC_VMX_MISC_ACTIVITY_SHUTDOWN),
        .activity_wait_for_sipi = has(vmx_misc, VMXC_VMX_MISC_ACTIVITY_WAIT_FOR_SIPI),
        .pt_in_vmx = has(vmx_misc, VMXC_VMX_MISC_PT_IN_VMX),
        .smbase_msr = has(vmx_misc, VMXC_VMX_MISC_SMBASE_MSR),
        .smm_monitor_bit2 = has(vmx_misc, VMXC_VMX_MISC_SMM_MONITOR_BIT2),
        .vmwrite_any = has(vmx_misc, VMXC_VMX_MISC_VMWRITE_ANY),
        .zero_length_injection = has(vmx_misc, VMXC_VMX_MISC_ZERO_LENGTH_INJECTION),
    };
}

struct vmxc_caps_ept_vpid vmxc_caps_ept_vpid(uint64_t ept_vpid_cap)
{
    return (struct vmxc_caps_ept_vpid){
        .execute_only = has(ept_vpid_cap, VMXC_EPT_VPID_CAP_EXECUTE_ONLY),
        .walk_4 = has(ept_vpid_cap, VMXC_EPT_VPID_CAP_WALK_4),
        .walk_5 = has(ept_vpid_cap, VMXC_EPT_VPID_CAP_WALK_5),
        .memory_type_uc = has(ept_vpid_cap, VMXC_EPT_VPID_CAP_MEMORY_TYPE_UC),
        .memory_type_wb = has(ept_vpid_cap, VMXC_EPT_VPID_CAP_MEMORY_TYPE_WB),
        .page_2m = has(ept_vpid_cap, VMXC_EPT_VPID_CAP_PAGE_2M),
        .page_1g = has(ept_vpid_cap, VMXC_EPT_VPID_CAP_PAGE_1G),
        .accessed_dirty = has(ept_vpid_cap, VMXC_EPT_VPID_CAP_ACCESSED_DIRTY),
        .advanced_info = has(ept_vpid_cap, VMXC_EPT_VPID_CAP_ADVANCED_INFO),
        .shadow_stack = has(ept_vpid_cap, VMXC_EPT_VPID_CAP_SHADOW_STACK),
        .invept = has(ept_vpid_cap, VMXC_EPT_VPID_CAP_INVEPT),
        .invept_single = has(ept_vpid_cap, VMXC_EPT_VPID_CAP_INVEPT_SINGLE),
        .invept_all = has(ept_vpid_cap, VMXC_EPT_VPID_CAP_INVEPT_ALL),
        .invvpid = has(ept_vpid_cap, VMXC_EPT_VPID_CAP_INVVPID),
        .invvpid_address = has(ept_vpid_cap, VMXC_EPT_VPID_CAP_INVVPID_ADDRESS),
        .invvpid_single = has(ept_vpid_cap, VMXC_EPT_VPID_CAP_INVVPID_SINGLE),
        .invvpid_all = has(ept_vpid_cap, VMXC_EPT_VPID_CAP_INVVPID_ALL),
        .invvpid_single_globals = has(ept_vpid_cap, VMXC_EPT_VPID_CAP_INVVPID_SINGLE_GLOBALS),
        .hlat_prefix_max = (uint8_t)VMXC_FIELD_GET(ept_vpid_cap, VMXC_EPT_VPID_CAP_HLAT_PREFIX_MAX),
    };
}

struct vmxc_caps_feature_control vmxc_caps_feature_control(uint64_t feature_control)
{
    return (struct vmxc_caps_feature_control){
        .locked = has(feature_control, VMXC_FEATURE_CONTROL_LOCK),
        .vmx_in_smx = has(feature_control, VMXC_FEATURE_CONTROL_VMX_IN_SMX),
        .vmx_outside_smx = has(feature_control, VMXC_FEATURE_CONTROL_VMX_OUTSIDE_SMX),
        .senter_local = (uint8_t)VMXC_FIELD_GET(feature_control, VMXC_FEATURE_CONTROL_SENTER_LOCAL),
        .senter_global = has(feature_control, VMXC_FEATURE_CONTROL_SENTER_GLOBAL),
        .sgx_launch_control = has(feature_control, VMXC_FEATURE_CONTROL_SGX_LAUNCH_CONTROL),
        .sgx = has(feature_control, VMXC_FEATURE_CONTROL_SGX),
        .lmce = has(feature_control, VMXC_FEATURE_CONTROL_LMCE),
    };
}

/* ---- Predicates ---- */

bool vmxc_caps_allows_vmxon(uint64_t feature_control, bool in_smx)
{
    return has(feature_control,
               VMXC_FEATURE_CONTROL_LOCK | (in_smx ? VMXC_FEATURE_CONTROL_VMX_IN_SMX
                                                   : VMXC_FEATURE_CONTROL_VMX_OUTSIDE_SMX));
}

bool vmxc_caps_has_frame_sized_regions(uint64_t vmx_basic)
{
    return VMXC_FIELD_GET(vmx_basic, VMXC_VMX_BASIC_REGION_SIZE) <= VMXC_PAGE_SIZE;
}

bool vmxc_caps_has_invept(uint64_t ept_vpid_cap)
{
    return has(ept_vpid_cap, VMXC_EPT_VPID_CAP_INVEPT);
}

bool vmxc_caps_has_invept_single(uint64_t ept_vpid_cap)
{
    return has(ept_vpid_cap, VMXC_EPT_VPID_CAP_INVEPT | VMXC_EPT_VPID_CAP_INVEPT_SINGLE);
}

bool vmxc_caps_has_invept_all(uint64_t ept_vpid_cap)
{
    return has(ept_vpid_cap, VMXC_EPT_VPID_CAP_INVEPT | VMXC_EPT_VPID_CAP_INVEPT_ALL);
}

bool vmxc_caps_has_invvpid(uint64_t ept_vpid_cap)
{
    return has(ept_vpid_cap, VMXC_EPT_VPID_CAP_INVVPID);
}

bool vmxc_caps_has_invvpid_address(uint64_t ept_vpid_cap)
{
    return has(ept_vpid_cap, VMXC_EPT_VPID_CAP_INVVPID | VMXC_EPT_VPID_CAP_INVVPID_ADDRESS);
}

bool vmxc_caps_has_invvpid_single(uint64_t ept_vpid_cap)
{
    return has(ept_vpid_cap, VMXC_EPT_VPID_CAP_INVVPID | VMXC_EPT_VPID_CAP_INVVPID_SINGLE);
}

bool vmxc_caps_has_invvpid_all(uint64_t ept_vpid_cap)
{
    return has(ept_vpid_cap, VMXC_EPT_VPID_CAP_INVVPID | VMXC_EPT_VPID_CAP_INVVPID_ALL);
}

bool vmxc_caps_has_invvpid_single_globals(uint64_t ept_vpid_cap)
{
    return has(ept_vpid_cap, VMXC_EPT_VPID_CAP_INVVPID | VMXC_EPT_VPID_CAP_INVVPID_SINGLE_GLOBALS);
}

bool vmxc_caps_has_ept_levels(uint64_t ept_vpid_cap, uint8_t levels)
{
    switch (levels) {
    case EPT_LEVELS_4:
        return has(ept_vpid_cap, VMXC_EPT_VPID_CAP_WALK_4);
    case EPT_LEVELS_5:
        return has(ept_vpid_cap, VMXC_EPT_VPID_CAP_WALK_5);
    default:
        return false;
    }
}

/* ---- EPT configuration ---- */

/* A configuration with 1-GByte pages has 2-MByte pages too; a processor without the latter gets neither. */
static uint8_t largest_page(const struct vmxc_caps_ept_vpid *ept)
{
    if (!ept->page_2m)
        return VMXC_PAGE_LEVEL_4K;
    return ept->page_1g ? VMXC_PAGE_LEVEL_1G : VMXC_PAGE_LEVEL_2M;
}

static bool is_ept_request(const struct vmxc_caps_ept_request *request)
{
    return request->maxphyaddr >= MAXPHYADDR_MIN && request->maxphyaddr <= VMXC_MAXPHYADDR_LIMIT &&
           (request->levels == EPT_LEVELS_4 || request->levels == EPT_LEVELS_5);
}

/* The secondary controls that the request cannot do without. */
static uint64_t needed_secondary_controls(const struct vmxc_caps_ept_request *request)
{
    return VMXC_SECONDARY_ENABLE_EPT |
           (request->mode_based_execute ? VMXC_SECONDARY_MODE_BASED_EXECUTE_CONTROL : 0);
}

enum vmxc_status vmxc_caps_ept_config(uint64_t ept_vpid_cap, uint32_t secondary_allowed1,
                                      const struct vmxc_caps_ept_request *request,
                                      struct vmxc_ept_config *config)
{
    const struct vmxc_caps_ept_vpid ept = vmxc_caps_ept_vpid(ept_vpid_cap);

    if (!is_ept_request(request))
        return VMXC_INVALID_INPUT;
    if (!has(secondary_allowed1, needed_secondary_controls(request)))
        return VMXC_UNSUPPORTED;
    if (!vmxc_caps_has_ept_levels(ept_vpid_cap, request->levels))
        return VMXC_UNSUPPORTED;
    if (!ept.memory_type_wb && !ept.memory_type_uc)
        return VMXC_UNSUPPORTED;
    if (request->accessed_dirty && !ept.accessed_dirty)
        return VMXC_UNSUPPORTED;
    *config = (struct vmxc_ept_config){
        .levels = request->levels,
        .maxphyaddr = request->maxphyaddr,
        .largest_page = largest_page(&ept),
        .execute_only = ept.execute_only,
        .mode_based_execute = request->mode_based_execute,
        .accessed_dirty = request->accessed_dirty,
        .table_memory_type = ept.memory_type_wb ? VMXC_MEMORY_TYPE_WB : VMXC_MEMORY_TYPE_UC,
    };
    return VMXC_OK;
}

/* ---- Controls ---- */

static const struct vmxc_caps_control_word control_words[VMXC_CONTROL_WORD_COUNT] = {
    [VMXC_CONTROL_WORD_PIN] =
        {
            .name = "pin-based VM-execution controls",
            .encoding = VMXC_VMCS_PIN_BASED_CONTROLS,
            .msr = VMXC_MSR_VMX_PINBASED_CTLS,
            .true_msr = VMXC_MSR_VMX_TRUE_PINBASED_CTLS,
            .default1 = VMXC_PIN_DEFAULT1,
        },
    [VMXC_CONTROL_WORD_PRIMARY] =
        {
            .name = "primary processor-based VM-execution controls",
            .encoding = VMXC_VMCS_PRIMARY_PROCESSOR_BASED_CONTROLS,
            .msr = VMXC_MSR_VMX_PROCBASED_CTLS,
            .true_msr = VMXC_MSR_VMX_TRUE_PROCBASED_CTLS,
            .default1 = VMXC_PRIMARY_DEFAULT1,
        },
    [VMXC_CONTROL_WORD_SECONDARY] =
        {
            .name = "secondary processor-based VM-execution controls",
            .encoding = VMXC_VMCS_SECONDARY_PROCESSOR_BASED_CONTROLS,
            .msr = VMXC_MSR_VMX_PROCBASED_CTLS2,
        },
    [VMXC_CONTROL_WORD_TERTIARY] =
        {
            .name = "tertiary processor-based VM-execution controls",
            .encoding = VMXC_VMCS_TERTIARY_PROCESSOR_BASED_CONTROLS,
            .msr = VMXC_MSR_VMX_PROCBASED_CTLS3,
            .wide = true,
        },
    [VMXC_CONTROL_WORD_EXIT] =
        {
            .name = "primary VM-exit controls",
            .encoding = VMXC_VMCS_PRIMARY_VM_EXIT_CONTROLS,
            .msr = VMXC_MSR_VMX_EXIT_CTLS,
            .true_msr = VMXC_MSR_VMX_TRUE_EXIT_CTLS,
            .default1 = VMXC_EXIT_DEFAULT1,
        },
    [VMXC_CONTROL_WORD_SECONDARY_EXIT] =
        {
            .name = "secondary VM-exit controls",
            .encoding = VMXC_VMCS_SECONDARY_VM_EXIT_CONTROLS,
            .msr = VMXC_MSR_VMX_EXIT_CTLS2,
            .wide = true,
        },
    [VMXC_CONTROL_WORD_ENTRY] =
        {
            .name = "VM-entry controls",
            .encoding = VMXC_VMCS_VM_ENTRY_CONTROLS,
            .msr = VMXC_MSR_VMX_ENTRY_CTLS,
            .true_msr = VMXC_MSR_VMX_TRUE_ENTRY_CTLS,
            .default1 = VMXC_ENTRY_DEFAULT1,
        },
};

const struct vmxc_caps_control_word *vmxc_caps_control_word(enum vmxc_control_word word)
{
    return (uint32_t)word < VMXC_CONTROL_WORD_COUNT ? &control_words[word] : NULL;
}

uint32_t vmxc_caps_control_msr(enum vmxc_control_word word, uint64_t vmx_basic)
{
    const struct vmxc_caps_control_word *info = vmxc_caps_control_word(word);

    if (info == NULL)
        return 0;
    return info->true_msr != 0 && has(vmx_basic, VMXC_VMX_BASIC_TRUE_CONTROLS) ? info->true_msr
                                                                               : info->msr;
}

static enum vmxc_status negotiate(uint64_t allowed0, uint64_t allowed1,
                                  const struct vmxc_caps_control_request *request, uint64_t *value,
                                  uint64_t *missing)
{
    const uint64_t impossible = request->required & ~allowed1;

    if (impossible != 0) {
        if (missing != NULL)
            *missing = impossible;
        return VMXC_UNSUPPORTED;
    }
    *value = (request->wanted | request->required | allowed0) & allowed1;
    return VMXC_OK;
}

enum vmxc_status vmxc_caps_negotiate(uint64_t capability,
                                     const struct vmxc_caps_control_request *request,
                                     uint64_t *value, uint64_t *missing)
{
    const uint64_t allowed0 = VMXC_FIELD_GET(capability, VMXC_VMX_CTLS_ALLOWED0);
    const uint64_t allowed1 = VMXC_FIELD_GET(capability, VMXC_VMX_CTLS_ALLOWED1);

    if (((request->wanted | request->required) & ~WORD_32) != 0 || (allowed0 & ~allowed1) != 0)
        return VMXC_INVALID_INPUT;
    return negotiate(allowed0, allowed1, request, value, missing);
}

enum vmxc_status vmxc_caps_negotiate_wide(uint64_t allowed1,
                                          const struct vmxc_caps_control_request *request,
                                          uint64_t *value, uint64_t *missing)
{
    return negotiate(0, allowed1, request, value, missing);
}
