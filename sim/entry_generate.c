/* SPDX-License-Identifier: Apache-2.0 */
/* Generating states for VM entry: a valid one, and one with rules that are known to be broken. */
#include "vmxsim/entry_generate.h"

#include <string.h>

#include "internal/entry_round.h"
#include "vmxcore/defs/ept.h"

/* ---- Rounding ---- */

static uint64_t within_width(const struct vmxsim_profile *profile)
{
    const bool short_addresses =
        vmxsim_round_msr(profile, VMXC_MSR_VMX_BASIC) & VMXC_VMX_BASIC_ADDRESS_32;
    const unsigned width = short_addresses ? 32 : vmxsim_profile_features(profile)->maxphyaddr;

    return VMXC_BIT(width) - 1;
}

void vmxsim_entry_round(const struct vmxsim_profile *profile,
                        const struct vmxsim_entry_processor *processor, struct vmxsim_vmcs *vmcs)
{
    struct entry_round round = {
        .profile = profile,
        .features = vmxsim_profile_features(profile),
        .processor = processor,
        .vmcs = vmcs,
        .within_width = within_width(profile),
    };

    for (size_t i = 0; i < VMXC_VMCS_FIELD_COUNT; i++)
        vmcs->value[i] &= vmxsim_vmcs_width_mask(vmxsim_vmcs_encoding(i));
    vmxsim_round_controls(&round);
    vmxsim_round_host(&round);
    vmxsim_round_guest_registers(&round);
    vmxsim_round_guest_segments(&round);
    vmxsim_round_guest_events(&round);
}

/* ---- Recipes ---- */

enum pin_kind { PIN_NONE, PIN_IS, PIN_TO, PIN_BEYOND, PIN_LAST, PIN_UNCANONICAL, PIN_UNEQUAL };

struct pin {
    enum pin_kind kind;
    uint16_t ordinal;
    uint64_t mask, value;
};

#define MAX_PINS 10

struct recipe {
    enum vmxsim_entry_rule rule;
    bool forbidden; /* one of the pins is a bit the processor does not allow */
    struct pin pins[MAX_PINS];
};

/* clang-format off */
#define IS(field, mask, value) {PIN_IS, VMXC_VMCS_ORDINAL_##field, (mask), (value)}
#define TO(field, mask, value) {PIN_TO, VMXC_VMCS_ORDINAL_##field, (mask), (value)}
#define ON(field, bits)        TO(field, bits, bits)
#define OFF(field, bits)       TO(field, bits, 0)
#define BEYOND(field)          {PIN_BEYOND, VMXC_VMCS_ORDINAL_##field, 0, 0}
#define LAST(field)            {PIN_LAST, VMXC_VMCS_ORDINAL_##field, 0, 0}
#define UNCANONICAL(field)     {PIN_UNCANONICAL, VMXC_VMCS_ORDINAL_##field, 0, 0}
#define UNEQUAL(field)         {PIN_UNEQUAL, VMXC_VMCS_ORDINAL_##field, 0, 0}

static const struct recipe recipes[] = {
#define RECIPE(name, ...)    {VMXSIM_ENTRY_##name, false, {__VA_ARGS__}},
#define FORBIDDEN(name, ...) {VMXSIM_ENTRY_##name, true, {__VA_ARGS__}},
#include "entry_recipes.def"
};
/* clang-format on */

#define RECIPES (sizeof(recipes) / sizeof(recipes[0]))

bool vmxsim_entry_breakable(enum vmxsim_entry_rule rule)
{
    for (size_t i = 0; i < RECIPES; i++) {
        if (recipes[i].rule == rule)
            return true;
    }
    return false;
}

/* ---- Breaking ---- */

struct breaking {
    const struct vmxsim_profile *profile;
    struct vmxsim_vmcs *vmcs;
    uint64_t owned[VMXC_VMCS_FIELD_COUNT]; /* bits that earlier recipes need as they are */
};

/* The pins that depend on the profile, as masks and values. */
static struct pin resolve(const struct breaking *breaking, const struct pin *pin)
{
    const struct vmxsim_features *features = vmxsim_profile_features(breaking->profile);
    struct pin result = *pin;

    switch (pin->kind) {
    case PIN_BEYOND:
        result.mask = within_width(breaking->profile) + 1;
        result.value = result.mask;
        break;
    case PIN_LAST:
        result.mask = UINT64_MAX;
        result.value = within_width(breaking->profile) & ~UINT64_C(0xf);
        break;
    case PIN_UNCANONICAL:
        result.mask = ~UINT64_C(0) << (features->linear_width - 1);
        result.value = VMXC_BIT(features->linear_width - 1);
        break;
    case PIN_UNEQUAL:
        result.mask = ~UINT64_C(0) << features->linear_width;
        result.value = VMXC_BIT(features->linear_width);
        break;
    default:
        break;
    }
    return result;
}

/* Flags of the EPTP that not every processor has. */
static struct control_settings eptp_settings(const struct vmxsim_profile *profile)
{
    const uint64_t cap = vmxsim_round_msr(profile, VMXC_MSR_VMX_EPT_VPID_CAP);
    const uint64_t missing =
        ((cap & VMXC_EPT_VPID_CAP_ACCESSED_DIRTY) ? 0 : VMXC_EPTP_ACCESSED_DIRTY) |
        ((cap & VMXC_EPT_VPID_CAP_SHADOW_STACK) ? 0 : VMXC_EPTP_SHADOW_STACK);

    return (struct control_settings){.must_be_1 = 0, .may_be_1 = ~missing};
}

/* What a control word, the EPTP, or CR0 and CR4, may hold; anything for other fields. */
static struct control_settings settings_of(const struct breaking *breaking, uint16_t ordinal)
{
    const struct vmxsim_profile *profile = breaking->profile;

    if (ordinal == VMXC_VMCS_ORDINAL_HOST_CR4 || ordinal == VMXC_VMCS_ORDINAL_GUEST_CR4)
        return (struct control_settings){vmxsim_round_msr(profile, VMXC_MSR_VMX_CR4_FIXED0),
                                         vmxsim_round_msr(profile, VMXC_MSR_VMX_CR4_FIXED1)};
    if (ordinal == VMXC_VMCS_ORDINAL_HOST_CR0)
        return (struct control_settings){vmxsim_round_msr(profile, VMXC_MSR_VMX_CR0_FIXED0),
                                         vmxsim_round_msr(profile, VMXC_MSR_VMX_CR0_FIXED1)};
    if (ordinal == VMXC_VMCS_ORDINAL_EPT_POINTER)
        return eptp_settings(profile);
    /* Unrestricted guests are free to clear PE and PG. */
    if (ordinal == VMXC_VMCS_ORDINAL_GUEST_CR0)
        return (struct control_settings){vmxsim_round_msr(profile, VMXC_MSR_VMX_CR0_FIXED0) &
                                             ~(VMXC_CR0_PE | VMXC_CR0_PG),
                                         vmxsim_round_msr(profile, VMXC_MSR_VMX_CR0_FIXED1)};
    return vmxsim_round_settings(profile, ordinal);
}

/* An activity state that the manual names, but the processor does not offer. */
static bool is_missing_activity(const struct breaking *breaking, const struct pin *pin)
{
    const uint64_t misc = vmxsim_round_msr(breaking->profile, VMXC_MSR_VMX_MISC);

    return pin->ordinal == VMXC_VMCS_ORDINAL_GUEST_ACTIVITY_STATE && pin->value >= 1 &&
           pin->value <= 3 && !(misc >> (5 + pin->value) & 1);
}

static bool is_allowed(const struct breaking *breaking, const struct pin *pin)
{
    if (is_missing_activity(breaking, pin))
        return false;
    const struct control_settings settings = settings_of(breaking, pin->ordinal);

    return (pin->value & ~settings.may_be_1) == 0 &&
           (pin->mask & ~pin->value & settings.must_be_1) == 0;
}

static bool fits_here(const struct breaking *breaking, const struct pin *pin)
{
    const uint64_t current = breaking->vmcs->value[pin->ordinal];
    const uint64_t fixed =
        pin->kind == PIN_IS ? pin->mask : pin->mask & breaking->owned[pin->ordinal];

    return ((current ^ pin->value) & fixed) == 0;
}

static bool fits(const struct breaking *breaking, const struct recipe *recipe)
{
    bool all_allowed = true;

    for (size_t i = 0; i < MAX_PINS && recipe->pins[i].kind != PIN_NONE; i++) {
        const struct pin pin = resolve(breaking, &recipe->pins[i]);
        if (!fits_here(breaking, &pin))
            return false;
        all_allowed = all_allowed && is_allowed(breaking, &pin);
    }
    return all_allowed != recipe->forbidden;
}

static void apply(struct breaking *breaking, const struct recipe *recipe)
{
    for (size_t i = 0; i < MAX_PINS && recipe->pins[i].kind != PIN_NONE; i++) {
        const struct pin pin = resolve(breaking, &recipe->pins[i]);
        uint64_t *const value = &breaking->vmcs->value[pin.ordinal];
        *value = (*value & ~pin.mask) | pin.value;
        breaking->owned[pin.ordinal] |= pin.mask;
    }
}

static bool is_broken(const struct vmxsim_entry_broken *broken, enum vmxsim_entry_rule rule)
{
    for (uint32_t i = 0; i < broken->count; i++) {
        if (broken->rule[i] == rule)
            return true;
    }
    return false;
}

/* One step of a 64-bit counter, mixed. */
static uint64_t next_random(uint64_t *random)
{
    uint64_t mixed = *random += UINT64_C(0x9e3779b97f4a7c15);

    mixed = (mixed ^ mixed >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    mixed = (mixed ^ mixed >> 27) * UINT64_C(0x94d049bb133111eb);
    return mixed ^ mixed >> 31;
}

/* Takes the first recipe that fits, from a random row of the table on. */
static bool break_one(struct breaking *breaking, uint64_t *random,
                      struct vmxsim_entry_broken *broken)
{
    const size_t first = next_random(random) % RECIPES;

    for (size_t i = 0; i < RECIPES; i++) {
        const struct recipe *recipe = &recipes[(first + i) % RECIPES];
        if (is_broken(broken, recipe->rule) || !fits(breaking, recipe))
            continue;
        apply(breaking, recipe);
        broken->rule[broken->count++] = recipe->rule;
        return true;
    }
    return false;
}

void vmxsim_entry_break(const struct vmxsim_profile *profile, struct vmxsim_vmcs *vmcs,
                        uint32_t count, uint64_t *random, struct vmxsim_entry_broken *broken)
{
    struct breaking breaking = {.profile = profile, .vmcs = vmcs};

    broken->count = 0;
    while (broken->count < count && broken->count < VMXSIM_ENTRY_MAX_BROKEN) {
        if (!break_one(&breaking, random, broken))
            return;
    }
}
