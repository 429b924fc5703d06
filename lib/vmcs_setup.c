/* SPDX-License-Identifier: Apache-2.0 */
/* Negotiation, the order of things, and what all parts of the set-up use. */
#include "vmxcore/vmcs_setup.h"

#include "internal/vmcs_setup.h"
#include "vmxcore/defs/controls.h"
#include "vmxcore/defs/msr.h"
#include "vmxcore/defs/paging.h"
#include "vmxcore/defs/vmcs.h"

enum vmxc_status vmxc_write_fields(const struct vmxc_insn_ops *ops,
                                   const struct vmxc_field_value *fields, size_t count)
{
    for (size_t i = 0; i < count; i++)
        VMXC_TRY(vmxc_insn_write(ops, fields[i].field, fields[i].value));
    return VMXC_OK;
}

enum vmxc_status vmxc_vmcs_miss(struct vmxc_vmcs_missing *missing, uint32_t field, uint64_t bits,
                                enum vmxc_status status)
{
    *missing = (struct vmxc_vmcs_missing){.field = field, .bits = bits};
    return status;
}

enum vmxc_status vmxc_vmcs_load(const struct vmxc_insn_ops *ops, const struct vmxc_region *region)
{
    vmxc_hpa_t region_hpa;

    VMXC_TRY(vmxc_region_hpa(region, &region_hpa));
    VMXC_TRY(vmxc_insn_status(ops, ops->vmclear(ops->context, region_hpa)));
    return vmxc_insn_status(ops, ops->vmptrld(ops->context, region_hpa));
}

/* ---- Negotiation ---- */

/* The words that another word activates. */
static const struct {
    enum vmxc_control_word word, parent;
    uint64_t activate;
} optional_words[] = {
    {VMXC_CONTROL_WORD_SECONDARY, VMXC_CONTROL_WORD_PRIMARY,
     VMXC_PRIMARY_ACTIVATE_SECONDARY_CONTROLS},
    {VMXC_CONTROL_WORD_TERTIARY, VMXC_CONTROL_WORD_PRIMARY,
     VMXC_PRIMARY_ACTIVATE_TERTIARY_CONTROLS},
    {VMXC_CONTROL_WORD_SECONDARY_EXIT, VMXC_CONTROL_WORD_EXIT,
     VMXC_EXIT_ACTIVATE_SECONDARY_CONTROLS},
};
#define OPTIONAL_WORDS (sizeof(optional_words) / sizeof(optional_words[0]))

static const enum vmxc_control_word basic_words[] = {
    VMXC_CONTROL_WORD_PIN, VMXC_CONTROL_WORD_PRIMARY, VMXC_CONTROL_WORD_EXIT,
    VMXC_CONTROL_WORD_ENTRY};
#define BASIC_WORDS (sizeof(basic_words) / sizeof(basic_words[0]))

/* One word, with the MSR that speaks for it. */
static enum vmxc_status negotiate_word(const struct vmxc_insn_ops *ops, uint64_t vmx_basic,
                                       enum vmxc_control_word word,
                                       const struct vmxc_caps_control_request *request,
                                       uint64_t *value, struct vmxc_vmcs_missing *missing)
{
    const struct vmxc_caps_control_word *const info = vmxc_caps_control_word(word);
    uint64_t capability;
    uint64_t absent = 0;

    if (vmxc_insn_read_msr(ops, vmxc_caps_control_msr(word, vmx_basic), &capability) != VMXC_OK)
        return vmxc_vmcs_miss(missing, info->encoding, request->required, VMXC_UNSUPPORTED);
    const enum vmxc_status status =
        info->wide ? vmxc_caps_negotiate_wide(capability, request, value, &absent)
                   : vmxc_caps_negotiate(capability, request, value, &absent);
    if (status == VMXC_UNSUPPORTED)
        return vmxc_vmcs_miss(missing, info->encoding, absent, status);
    return status;
}

static uint64_t asked_for(const struct vmxc_caps_control_request *request)
{
    return request->wanted | request->required;
}

/* A word that something is asked of should be activated. */
static struct vmxc_caps_control_request
with_activation(const struct vmxc_caps_control_request *requests, enum vmxc_control_word word)
{
    struct vmxc_caps_control_request request = requests[word];

    for (size_t i = 0; i < OPTIONAL_WORDS; i++) {
        if (optional_words[i].parent == word && asked_for(&requests[optional_words[i].word]) != 0)
            request.wanted |= optional_words[i].activate;
    }
    return request;
}

static enum vmxc_status negotiate_optional(const struct vmxc_insn_ops *ops, uint64_t vmx_basic,
                                           size_t index,
                                           const struct vmxc_caps_control_request *request,
                                           struct vmxc_vmcs_controls *controls,
                                           struct vmxc_vmcs_missing *missing)
{
    const enum vmxc_control_word word = optional_words[index].word;

    if (vmxc_has_control(controls, optional_words[index].parent, optional_words[index].activate))
        return negotiate_word(ops, vmx_basic, word, request, &controls->word[word], missing);
    if (request->required != 0)
        return vmxc_vmcs_miss(missing, vmxc_caps_control_word(word)->encoding, request->required,
                              VMXC_UNSUPPORTED);
    return VMXC_OK;
}

enum vmxc_status
vmxc_vmcs_negotiate(const struct vmxc_insn_ops *ops,
                    const struct vmxc_caps_control_request request[VMXC_CONTROL_WORD_COUNT],
                    struct vmxc_vmcs_controls *controls, struct vmxc_vmcs_missing *missing)
{
    struct vmxc_vmcs_controls fresh = {.word = {0}};
    uint64_t vmx_basic;

    VMXC_TRY(vmxc_insn_read_msr(ops, VMXC_MSR_VMX_BASIC, &vmx_basic));
    for (size_t i = 0; i < BASIC_WORDS; i++) {
        const enum vmxc_control_word word = basic_words[i];
        const struct vmxc_caps_control_request full = with_activation(request, word);
        VMXC_TRY(negotiate_word(ops, vmx_basic, word, &full, &fresh.word[word], missing));
    }
    for (size_t i = 0; i < OPTIONAL_WORDS; i++)
        VMXC_TRY(negotiate_optional(ops, vmx_basic, i, &request[optional_words[i].word], &fresh,
                                    missing));
    *controls = fresh;
    return VMXC_OK;
}

/* ---- What a set-up asks for ---- */

static void require(struct vmxc_caps_control_request *request, enum vmxc_control_word word,
                    uint64_t bits)
{
    request[word].required |= bits;
}

static void want(struct vmxc_caps_control_request *request, enum vmxc_control_word word,
                 uint64_t bits)
{
    request[word].wanted |= bits;
}

static void request_mode(const struct vmxc_guest_start *start,
                         struct vmxc_caps_control_request *request)
{
    switch (start->mode) {
    case VMXC_GUEST_REAL:
    case VMXC_GUEST_PROTECTED:
        require(request, VMXC_CONTROL_WORD_SECONDARY,
                VMXC_SECONDARY_ENABLE_EPT | VMXC_SECONDARY_UNRESTRICTED_GUEST);
        break;
    case VMXC_GUEST_LONG_64:
        require(request, VMXC_CONTROL_WORD_ENTRY, VMXC_ENTRY_IA32E_MODE_GUEST);
        break;
    default:
        break;
    }
}

static bool is_64bit_host(const struct vmxc_insn_ops *ops)
{
    uint64_t efer;

    return vmxc_insn_read_msr(ops, VMXC_MSR_EFER, &efer) == VMXC_OK && (efer & VMXC_EFER_LMA);
}

void vmxc_vmcs_setup_request(const struct vmxc_insn_ops *ops, const struct vmxc_vmcs_setup *setup,
                             struct vmxc_caps_control_request request[VMXC_CONTROL_WORD_COUNT])
{
    for (int word = 0; word < VMXC_CONTROL_WORD_COUNT; word++)
        request[word] = setup->request[word];
    want(request, VMXC_CONTROL_WORD_EXIT,
         VMXC_EXIT_SAVE_PAT | VMXC_EXIT_LOAD_PAT | VMXC_EXIT_SAVE_EFER | VMXC_EXIT_LOAD_EFER);
    want(request, VMXC_CONTROL_WORD_ENTRY, VMXC_ENTRY_LOAD_PAT | VMXC_ENTRY_LOAD_EFER);
    if (is_64bit_host(ops))
        require(request, VMXC_CONTROL_WORD_EXIT, VMXC_EXIT_HOST_ADDRESS_SPACE_SIZE);
    if (setup->eptp != 0)
        require(request, VMXC_CONTROL_WORD_SECONDARY, VMXC_SECONDARY_ENABLE_EPT);
    if (setup->vpid != 0)
        require(request, VMXC_CONTROL_WORD_SECONDARY, VMXC_SECONDARY_ENABLE_VPID);
    if (setup->io_bitmap != NULL)
        require(request, VMXC_CONTROL_WORD_PRIMARY, VMXC_PRIMARY_USE_IO_BITMAPS);
    if (setup->msr_bitmap != NULL)
        require(request, VMXC_CONTROL_WORD_PRIMARY, VMXC_PRIMARY_USE_MSR_BITMAPS);
    request_mode(&setup->guest, request);
}

/* ---- The whole ---- */

/* Under "enable EPT", a guest without an EPT pointer would not be entered. */
static enum vmxc_status check_eptp(const struct vmxc_vmcs_setup *setup,
                                   const struct vmxc_vmcs_controls *controls,
                                   struct vmxc_vmcs_missing *missing)
{
    if (setup->eptp == 0 &&
        vmxc_has_control(controls, VMXC_CONTROL_WORD_SECONDARY, VMXC_SECONDARY_ENABLE_EPT))
        return vmxc_vmcs_miss(missing, VMXC_VMCS_EPT_POINTER, VMXC_EPTP_ADDRESS,
                              VMXC_INVALID_INPUT);
    return VMXC_OK;
}

enum vmxc_status vmxc_vmcs_setup(const struct vmxc_insn_ops *ops,
                                 const struct vmxc_vmcs_setup *setup,
                                 struct vmxc_vmcs_controls *controls,
                                 struct vmxc_vmcs_missing *missing)
{
    struct vmxc_caps_control_request request[VMXC_CONTROL_WORD_COUNT];
    struct vmxc_vmcs_controls negotiated;

    *missing = (struct vmxc_vmcs_missing){.field = 0};
    vmxc_vmcs_setup_request(ops, setup, request);
    VMXC_TRY(vmxc_vmcs_negotiate(ops, request, &negotiated, missing));
    VMXC_TRY(check_eptp(setup, &negotiated, missing));
    VMXC_TRY(vmxc_vmcs_setup_controls(ops, setup, &negotiated));
    VMXC_TRY(vmxc_vmcs_setup_host(ops, &negotiated, missing));
    VMXC_TRY(vmxc_vmcs_setup_guest(ops, &setup->guest, &negotiated, missing));
    *controls = negotiated;
    return VMXC_OK;
}
