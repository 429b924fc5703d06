/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Breaking rules of a valid state by recipes: of the VMCS, and where the caller lets it, of the processor and of what the
 * VMCS points to in memory.
 *
 *   scratch area  +0     virtual-APIC page
 *                 +1000  VMCS region, for the link pointer
 *                 +2000  page-directory-pointer table
 *                 +3000  VM-entry MSR-load list
 */
#include <stddef.h>
#include <string.h>

#include "internal/entry_round.h"
#include "internal/random.h"
#include "vmxcore/defs/ept.h"

/* ---- Places ---- */

/* clang-format off */
/* Members of the processor that recipes are about. */
#define MEMBERS(ROW)        \
    ROW(cr0)                \
    ROW(efer)               \
    ROW(rflags)             \
    ROW(cpl)                \
    ROW(in_vmx)             \
    ROW(in_non_root)        \
    ROW(code_64bit)         \
    ROW(blocking_by_mov_ss) \
    ROW(in_smm)             \
    ROW(vmresume)           \
    ROW(launched)           \
    ROW(current_is_shadow)  \
    ROW(has_current)        \
    ROW(current_vmcs)

/* What lies where in the scratch area. */
enum {
    SCRATCH_VIRTUAL_APIC = 0x0000,
    SCRATCH_REGION = 0x1000,
    SCRATCH_PDPT = 0x2000,
    SCRATCH_MSR_LIST = 0x3000, /* to the end: the longest list there can be, and one entry */
    SCRATCH_ENTRIES = 8,       /* of a list of usual length */
};

/* Quadwords of the scratch area that recipes are about. */
#define ENTRY_WORDS(ROW, number)                              \
    ROW(MSR_INDEX_##number, SCRATCH_MSR_LIST + 16 * (number)) \
    ROW(MSR_VALUE_##number, SCRATCH_MSR_LIST + 16 * (number) + 8)
#define WORDS(ROW)                          \
    ROW(VTPR, SCRATCH_VIRTUAL_APIC + 0x80)  \
    ROW(REGION_HEADER, SCRATCH_REGION)      \
    ROW(PDPTE0, SCRATCH_PDPT)               \
    ROW(PDPTE1, SCRATCH_PDPT + 8)           \
    ROW(PDPTE2, SCRATCH_PDPT + 16)          \
    ROW(PDPTE3, SCRATCH_PDPT + 24)          \
    ENTRY_WORDS(ROW, 0)                     \
    ENTRY_WORDS(ROW, 1)                     \
    ENTRY_WORDS(ROW, 2)                     \
    ENTRY_WORDS(ROW, 3)                     \
    ENTRY_WORDS(ROW, 4)                     \
    ENTRY_WORDS(ROW, 5)                     \
    ENTRY_WORDS(ROW, 6)                     \
    ENTRY_WORDS(ROW, 7)

/* Every word that a pin can be about has a number: a field of the VMCS its ordinal. */
enum place {
    PLACE_FIRST_MEMBER = VMXC_VMCS_FIELD_COUNT,
    PLACE_BEFORE_MEMBERS = PLACE_FIRST_MEMBER - 1,
#define MEMBER_PLACE(name) PLACE_##name,
    MEMBERS(MEMBER_PLACE)
    PLACE_FIRST_WORD,
    PLACE_BEFORE_WORDS = PLACE_FIRST_WORD - 1,
#define WORD_PLACE(name, offset) PLACE_##name,
    WORDS(WORD_PLACE)
    PLACE_COUNT,
    PLACE_NONE
};

#define MEMBER_SIZE(name) sizeof(((struct vmxsim_entry_processor *)NULL)->name)

static const struct {
    uint32_t offset, size;
} members[] = {
#define MEMBER_ROW(name) {offsetof(struct vmxsim_entry_processor, name), MEMBER_SIZE(name)},
    MEMBERS(MEMBER_ROW)
};

static const uint32_t word_offsets[] = {
#define WORD_ROW(name, offset) offset,
    WORDS(WORD_ROW)
};
/* clang-format on */

/* ---- Recipes ---- */

enum pin_kind {
    PIN_NONE,
    PIN_IS,
    PIN_TO,
    PIN_BEYOND,
    PIN_LAST,
    PIN_UNCANONICAL,
    PIN_UNEQUAL,
    PIN_AT,
    PIN_FOREIGN,
    PIN_TOO_MANY,
    PIN_MSR_IS
};

struct pin {
    enum pin_kind kind;
    uint16_t place; /* of the word it is about */
    uint32_t msr;   /* PIN_MSR_IS: of the profile */
    uint64_t mask, value;
};

#define MAX_PINS 12

struct recipe {
    enum vmxsim_entry_rule rule;
    bool forbidden; /* one of the pins is a bit the processor does not allow */
    struct pin pins[MAX_PINS];
};

/* clang-format off */
#define FIELD_PIN(kind, field, mask, value) {kind, VMXC_VMCS_ORDINAL_##field, 0, (mask), (value)}
#define IS(field, mask, value)        FIELD_PIN(PIN_IS, field, mask, value)
#define TO(field, mask, value)        FIELD_PIN(PIN_TO, field, mask, value)
#define ON(field, bits)               TO(field, bits, bits)
#define OFF(field, bits)              TO(field, bits, 0)
#define BEYOND(field)                 FIELD_PIN(PIN_BEYOND, field, 0, 0)
#define LAST(field)                   FIELD_PIN(PIN_LAST, field, 0, 0)
#define UNCANONICAL(field)            FIELD_PIN(PIN_UNCANONICAL, field, 0, 0)
#define UNEQUAL(field)                FIELD_PIN(PIN_UNEQUAL, field, 0, 0)
#define AT(field, mask, area)         FIELD_PIN(PIN_AT, field, mask, SCRATCH_##area)
#define TOO_MANY(field)               FIELD_PIN(PIN_TOO_MANY, field, UINT32_MAX, 0)
#define CPU_IS(member, mask, value)   {PIN_IS, PLACE_##member, 0, (mask), (value)}
#define CPU_TO(member, mask, value)   {PIN_TO, PLACE_##member, 0, (mask), (value)}
#define CPU_AT(member, area)          {PIN_AT, PLACE_##member, 0, UINT64_MAX, SCRATCH_##area}
#define MEM_TO(word, mask, value)     {PIN_TO, PLACE_##word, 0, (mask), (value)}
#define MEM_FOREIGN(word)             {PIN_FOREIGN, PLACE_##word, 0, VMXC_VMX_BASIC_REVISION, 0}
#define MSR_IS(name, mask, value)     {PIN_MSR_IS, PLACE_NONE, VMXC_MSR_##name, (mask), (value)}

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
    struct vmxsim_entry_state state;
    uint64_t owned[PLACE_COUNT]; /* bits that earlier recipes need as they are */
};

/* ---- Places: fields of the VMCS, members of the processor, words of the scratch area ---- */

static bool is_field(uint16_t place)
{
    return place < VMXC_VMCS_FIELD_COUNT;
}

static bool is_member(uint16_t place)
{
    return place >= PLACE_FIRST_MEMBER && place < PLACE_FIRST_WORD;
}

static char *member_at(const struct breaking *breaking, uint16_t place)
{
    return (char *)breaking->state.processor + members[place - PLACE_FIRST_MEMBER].offset;
}

static uint64_t word_hpa(const struct breaking *breaking, uint16_t place)
{
    return breaking->state.scratch_hpa + word_offsets[place - PLACE_FIRST_WORD];
}

static uint64_t get(const struct breaking *breaking, uint16_t place)
{
    if (is_field(place))
        return breaking->state.vmcs->value[place];
    if (!is_member(place))
        return vmxsim_memory_read64(breaking->state.memory, word_hpa(breaking, place));
    if (members[place - PLACE_FIRST_MEMBER].size == sizeof(uint8_t))
        return *(const uint8_t *)member_at(breaking, place);
    uint64_t value;
    memcpy(&value, member_at(breaking, place), sizeof(value));
    return value;
}

static void set(struct breaking *breaking, uint16_t place, uint64_t value)
{
    if (is_field(place))
        breaking->state.vmcs->value[place] = value;
    else if (!is_member(place))
        vmxsim_memory_write64(breaking->state.memory, word_hpa(breaking, place), value);
    else if (members[place - PLACE_FIRST_MEMBER].size == sizeof(uint8_t))
        *(uint8_t *)member_at(breaking, place) = (uint8_t)value;
    else
        memcpy(member_at(breaking, place), &value, sizeof(value));
}

/* Whether the caller lets the mutator look at, and change, what the pin is about. */
static bool is_there(const struct breaking *breaking, const struct pin *pin)
{
    const bool needs_memory = pin->kind == PIN_AT || pin->kind == PIN_TOO_MANY ||
                              (pin->place >= PLACE_FIRST_WORD && pin->place < PLACE_COUNT);

    return (breaking->state.memory || !needs_memory) &&
           (breaking->state.processor || !is_member(pin->place));
}

/* ---- The scratch area ---- */

/* An MSR-load list may have this many entries; more have no defined effect. */
static uint64_t most_entries(const struct vmxsim_profile *profile)
{
    const uint64_t misc = vmxsim_round_msr(profile, VMXC_MSR_VMX_MISC);

    return 512 * (VMXC_FIELD_GET(misc, VMXC_VMX_MISC_MSR_LIST_MAX) + 1);
}

/* Entries that every processor loads: IA32_SYSENTER_CS. */
static void fill_list(struct breaking *breaking, uint64_t count)
{
    const uint64_t list_hpa = breaking->state.scratch_hpa + SCRATCH_MSR_LIST;

    for (uint64_t i = 0; i < count; i++) {
        vmxsim_memory_write64(breaking->state.memory, list_hpa + 16 * i, VMXC_MSR_SYSENTER_CS);
        vmxsim_memory_write64(breaking->state.memory, list_hpa + 16 * i + 8, 0x10);
    }
}

static uint64_t revision(const struct breaking *breaking)
{
    return vmxsim_round_msr(breaking->profile, VMXC_MSR_VMX_BASIC) & VMXC_VMX_BASIC_REVISION;
}

/* A virtual-APIC page with VTPR 0, an ordinary VMCS region, PDPTEs that are not present, a list of MSRs. */
static void prepare_scratch(struct breaking *breaking)
{
    for (uint16_t place = PLACE_FIRST_WORD; place < PLACE_COUNT; place++)
        set(breaking, place, 0);
    set(breaking, PLACE_REGION_HEADER, revision(breaking));
    fill_list(breaking, SCRATCH_ENTRIES);
}

/* ---- What recipes need ---- */

/* The pins that depend on the profile, as masks and values. */
static struct pin resolve(const struct breaking *breaking, const struct pin *pin)
{
    const struct vmxsim_features *features = vmxsim_profile_features(breaking->profile);
    struct pin result = *pin;

    switch (pin->kind) {
    case PIN_BEYOND:
        result.mask = vmxsim_round_within_width(breaking->profile) + 1;
        result.value = result.mask;
        break;
    case PIN_LAST:
        result.mask = UINT64_MAX;
        result.value = vmxsim_round_within_width(breaking->profile) & ~UINT64_C(0xf);
        break;
    case PIN_UNCANONICAL:
        result.mask = ~UINT64_C(0) << (features->linear_width - 1);
        result.value = VMXC_BIT(features->linear_width - 1);
        break;
    case PIN_UNEQUAL:
        result.mask = ~UINT64_C(0) << features->linear_width;
        result.value = VMXC_BIT(features->linear_width);
        break;
    case PIN_AT:
        result.value = (breaking->state.scratch_hpa + pin->value) & pin->mask;
        break;
    case PIN_FOREIGN:
        result.value = revision(breaking) ^ 1;
        break;
    case PIN_TOO_MANY:
        result.value = most_entries(breaking->profile) + 1;
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

    return pin->place == VMXC_VMCS_ORDINAL_GUEST_ACTIVITY_STATE && pin->value >= 1 &&
           pin->value <= 3 && !(misc >> (5 + pin->value) & 1);
}

static bool is_allowed(const struct breaking *breaking, const struct pin *pin)
{
    if (is_missing_activity(breaking, pin))
        return false;
    const struct control_settings settings = settings_of(breaking, pin->place);

    return (pin->value & ~settings.may_be_1) == 0 &&
           (pin->mask & ~pin->value & settings.must_be_1) == 0;
}

static bool fits_here(const struct breaking *breaking, const struct pin *pin)
{
    if (pin->kind == PIN_MSR_IS)
        return ((vmxsim_round_msr(breaking->profile, pin->msr) ^ pin->value) & pin->mask) == 0;
    if (!is_there(breaking, pin))
        return false;
    const uint64_t current = get(breaking, pin->place);
    const uint64_t fixed =
        pin->kind == PIN_IS ? pin->mask : pin->mask & breaking->owned[pin->place];

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
        if (pin.kind == PIN_MSR_IS)
            continue;
        set(breaking, pin.place, (get(breaking, pin.place) & ~pin.mask) | pin.value);
        breaking->owned[pin.place] |= pin.mask;
        if (pin.kind == PIN_TOO_MANY)
            fill_list(breaking, pin.value);
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

/* The first recipe that fits, from a random row of the table on: of `only`, or with VMXSIM_ENTRY_RULE_COUNT of any rule. */
static const struct recipe *find_recipe(const struct breaking *breaking,
                                        enum vmxsim_entry_rule only, uint64_t *random,
                                        const struct vmxsim_entry_broken *broken)
{
    const size_t first = vmxsim_next_random(random) % RECIPES;

    for (size_t i = 0; i < RECIPES; i++) {
        const struct recipe *recipe = &recipes[(first + i) % RECIPES];
        if ((only == VMXSIM_ENTRY_RULE_COUNT || recipe->rule == only) &&
            !is_broken(broken, recipe->rule) && fits(breaking, recipe))
            return recipe;
    }
    return NULL;
}

/* A list of any length fits, and the address of a PDPT has 32 bits. */
static bool is_scratch(uint64_t scratch_hpa)
{
    return (scratch_hpa & VMXC_BITS(11, 0)) == 0 &&
           scratch_hpa <= VMXC_BIT(32) - VMXSIM_ENTRY_SCRATCH_SIZE;
}

static void break_rules(const struct vmxsim_profile *profile,
                        const struct vmxsim_entry_state *state, enum vmxsim_entry_rule only,
                        uint32_t count, uint64_t *random, struct vmxsim_entry_broken *broken)
{
    struct breaking breaking = {.profile = profile, .state = *state};

    if (!is_scratch(state->scratch_hpa))
        breaking.state.memory = NULL;
    if (breaking.state.memory)
        prepare_scratch(&breaking);
    broken->count = 0;
    while (broken->count < count && broken->count < VMXSIM_ENTRY_MAX_BROKEN) {
        const struct recipe *const recipe = find_recipe(&breaking, only, random, broken);
        if (recipe == NULL)
            return;
        apply(&breaking, recipe);
        broken->rule[broken->count++] = recipe->rule;
    }
}

void vmxsim_entry_break_state(const struct vmxsim_profile *profile,
                              const struct vmxsim_entry_state *state, uint32_t count,
                              uint64_t *random, struct vmxsim_entry_broken *broken)
{
    break_rules(profile, state, VMXSIM_ENTRY_RULE_COUNT, count, random, broken);
}

bool vmxsim_entry_break_rule(const struct vmxsim_profile *profile,
                             const struct vmxsim_entry_state *state, enum vmxsim_entry_rule rule,
                             uint64_t *random)
{
    struct vmxsim_entry_broken broken;

    if ((unsigned)rule >= VMXSIM_ENTRY_RULE_COUNT)
        return false;
    break_rules(profile, state, rule, 1, random, &broken);
    return broken.count != 0;
}

void vmxsim_entry_break(const struct vmxsim_profile *profile, struct vmxsim_vmcs *vmcs,
                        uint32_t count, uint64_t *random, struct vmxsim_entry_broken *broken)
{
    const struct vmxsim_entry_state state = {.vmcs = vmcs};

    vmxsim_entry_break_state(profile, &state, count, random, broken);
}
