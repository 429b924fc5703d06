/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How an access ends when it does not complete: guest exceptions, VM exits, virtualization exceptions; and
 * the trail that leads there.
 *
 * Source: Intel SDM volume 3, "Exception Bitmap", "Exit Qualification for EPT Violations", "Convertible EPT
 * Violations", "Virtualization-Exception Information".
 */
#include "internal/walk.h"
#include "vmxcore/defs/exit_info.h"
#include "vmxcore/defs/exit_reason.h"

struct vmxsim_trail_entry *vmxsim_trail_add(struct walk *walk, enum vmxsim_trail_kind kind,
                                            uint64_t hpa, uint64_t gpa, uint64_t value)
{
    struct vmxsim_trail *trail = walk->trail;

    if (!trail || trail->count == VMXSIM_TRAIL_CAPACITY)
        return NULL;
    struct vmxsim_trail_entry *entry = &trail->entry[trail->count++];
    *entry = (struct vmxsim_trail_entry){
        .kind = kind,
        .page = walk->page,
        .hpa = hpa,
        .gpa = gpa,
        .value = value,
        .updated = value,
    };
    return entry;
}

void vmxsim_trail_verdict(struct walk *walk, enum vmxsim_walk_rule rule, uint64_t offending)
{
    struct vmxsim_trail *trail = walk->trail;

    if (!trail || trail->count == 0)
        return;
    trail->entry[trail->count - 1].verdict = rule;
    trail->entry[trail->count - 1].offending = offending;
}

/* A page fault exits if bit 14 of the bitmap says so and mask and match agree, or if neither is the case. */
static bool is_intercepted(const struct exit_controls *exits, uint8_t vector, uint32_t error_code)
{
    const bool bit = (exits->exception_bitmap >> vector) & 1u;

    if (vector != VMXC_VECTOR_PF)
        return bit;
    return bit == ((error_code & exits->page_fault_mask) == exits->page_fault_match);
}

static void exit_for_exception(struct vmxsim_outcome *outcome, uint64_t qualification)
{
    outcome->kind = VMXSIM_OUTCOME_VM_EXIT;
    outcome->exit_reason = VMXC_EXIT_REASON_EXCEPTION_OR_NMI;
    outcome->qualification_defined = true;
    outcome->qualification = qualification;
    outcome->interruption_info =
        (uint32_t)(VMXC_INTERRUPTION_VALID |
                   VMXC_FIELD_MAKE(VMXC_INTERRUPTION_TYPE_HARDWARE_EXCEPTION,
                                   VMXC_INTERRUPTION_TYPE) |
                   (outcome->has_error_code ? VMXC_INTERRUPTION_ERROR_CODE : 0) | outcome->vector);
    outcome->interruption_error_code = outcome->error_code;
}

bool vmxsim_end_with_exception(struct walk *walk, enum vmxsim_walk_rule rule, uint8_t vector,
                               bool has_error_code, uint32_t error_code)
{
    struct vmxsim_outcome *outcome = walk->outcome;
    const bool page_fault = vector == VMXC_VECTOR_PF;

    outcome->rule = rule;
    outcome->vector = vector;
    outcome->has_error_code = has_error_code;
    outcome->error_code = error_code;
    if (is_intercepted(&walk->cpu->exits, vector, error_code)) {
        exit_for_exception(outcome, page_fault ? walk->linear : 0);
    } else {
        outcome->kind = VMXSIM_OUTCOME_GUEST_EXCEPTION;
        outcome->cr2 = page_fault ? walk->linear : 0;
    }
    return false;
}

/* Bit 14 is bit 60 of the entry that maps the page; it is undefined, and 0 here, if the walk ended before. */
static uint64_t shadow_stack_qualification(const struct walk *walk,
                                           const struct ept_request *request, uint64_t entry)
{
    const struct ept_state *ept = &walk->cpu->ept;
    const uint64_t rights =
        ept->mode_based_execute ? VMXC_EPT_RWX | VMXC_EPT_USER_EXECUTE : VMXC_EPT_RWX;
    const bool page = ept->shadow_stack && (entry & rights);

    return (walk->shadow_stack && request->guest_level == 0 ? VMXC_EPT_VIOLATION_SHADOW_STACK : 0) |
           (page && (entry & VMXC_EPT_SUPERVISOR_SHADOW_STACK)
                ? VMXC_EPT_VIOLATION_ENTRY_SHADOW_STACK
                : 0);
}

/* Source: SDM, "Exit Qualification for EPT Violations". */
static uint64_t violation_qualification(const struct walk *walk, const struct ept_request *request,
                                        uint64_t rights)
{
    const struct ept_state *ept = &walk->cpu->ept;
    const struct linear_rights *linear = request->linear;
    uint64_t qualification =
        request->access |
        VMXC_FIELD_MAKE(rights & VMXC_EPT_RWX, VMXC_EPT_VIOLATION_ENTRY_READ |
                                                   VMXC_EPT_VIOLATION_ENTRY_WRITE |
                                                   VMXC_EPT_VIOLATION_ENTRY_EXECUTE);

    if (ept->mode_based_execute && (rights & VMXC_EPT_USER_EXECUTE))
        qualification |= VMXC_EPT_VIOLATION_ENTRY_USER_EXECUTE;
    if (!walk->linear_valid)
        return qualification;
    qualification |= VMXC_EPT_VIOLATION_LINEAR_VALID;
    if (!linear)
        return qualification;
    qualification |= VMXC_EPT_VIOLATION_LINEAR_TRANSLATION;
    if (!ept->advanced_info)
        return qualification;
    return qualification | (linear->user ? VMXC_EPT_VIOLATION_LINEAR_USER : 0) |
           (linear->writable ? VMXC_EPT_VIOLATION_LINEAR_WRITABLE : 0) |
           (linear->no_execute ? VMXC_EPT_VIOLATION_LINEAR_NO_EXECUTE : 0);
}

/* An EPT violation may become #VE unless the entry that decided says otherwise or the area is in use. */
static bool converts_to_ve(const struct walk *walk, uint64_t entry, bool entry_valid)
{
    const struct exit_controls *exits = &walk->cpu->exits;

    if (!exits->ve || !entry_valid || (entry & VMXC_EPT_SUPPRESS_VE))
        return false;
    if (!(walk->cpu->guest.cr0 & VMXC_CR0_PE))
        return false;
    return vmxsim_memory_read32(walk->cpu->memory, exits->ve_info_address + VMXC_VE_INFO_BUSY) == 0;
}

static void fill_ve_info(struct walk *walk, uint64_t qualification, uint64_t gpa)
{
    struct vmxsim_memory *memory = walk->cpu->memory;
    const struct exit_controls *exits = &walk->cpu->exits;
    const uint64_t area = exits->ve_info_address;
    const uint16_t eptp_index = exits->eptp_index;

    vmxsim_memory_write32(memory, area + VMXC_VE_INFO_EXIT_REASON, VMXC_EXIT_REASON_EPT_VIOLATION);
    vmxsim_memory_write32(memory, area + VMXC_VE_INFO_BUSY, UINT32_MAX);
    vmxsim_memory_write64(memory, area + VMXC_VE_INFO_QUALIFICATION, qualification);
    vmxsim_memory_write64(memory, area + VMXC_VE_INFO_GUEST_LINEAR, walk->linear);
    vmxsim_memory_write64(memory, area + VMXC_VE_INFO_GUEST_PHYSICAL, gpa);
    vmxsim_memory_write(memory, area + VMXC_VE_INFO_EPTP_INDEX,
                        (const uint8_t[]){(uint8_t)eptp_index, (uint8_t)(eptp_index >> 8)}, 2);
    (void)vmxsim_trail_add(walk, VMXSIM_TRAIL_VE_WRITE, area, gpa, qualification);
}

bool vmxsim_end_with_ept_violation(struct walk *walk, enum vmxsim_walk_rule rule,
                                   const struct ept_request *request, uint64_t rights,
                                   uint64_t entry, bool entry_valid)
{
    struct vmxsim_outcome *outcome = walk->outcome;
    const uint64_t qualification = violation_qualification(walk, request, rights) |
                                   shadow_stack_qualification(walk, request, entry);

    vmxsim_tlb_ept_violation(walk, request);
    if (converts_to_ve(walk, entry, entry_valid)) {
        outcome->ve_converted = true;
        outcome->ve_qualification = qualification;
        outcome->ve_guest_linear = walk->linear;
        outcome->ve_guest_physical = request->gpa;
        fill_ve_info(walk, qualification, request->gpa);
        return vmxsim_end_with_exception(walk, rule, VMXC_VECTOR_VE, false, 0);
    }
    outcome->guest_physical_valid = true;
    outcome->guest_physical = request->gpa;
    outcome->guest_linear_valid = walk->linear_valid;
    outcome->guest_linear = walk->linear;
    return vmxsim_end_with_exit(walk, rule, VMXC_EXIT_REASON_EPT_VIOLATION, qualification);
}

bool vmxsim_end_with_exit(struct walk *walk, enum vmxsim_walk_rule rule, uint16_t reason,
                          uint64_t qualification)
{
    struct vmxsim_outcome *outcome = walk->outcome;

    outcome->kind = VMXSIM_OUTCOME_VM_EXIT;
    outcome->rule = rule;
    outcome->exit_reason = reason;
    outcome->qualification_defined = true;
    outcome->qualification = qualification;
    return false;
}

bool vmxsim_end_with_ept_misconfiguration(struct walk *walk, enum vmxsim_walk_rule rule,
                                          uint64_t gpa)
{
    struct vmxsim_outcome *outcome = walk->outcome;

    outcome->kind = VMXSIM_OUTCOME_VM_EXIT;
    outcome->rule = rule;
    outcome->exit_reason = VMXC_EXIT_REASON_EPT_MISCONFIGURATION;
    outcome->guest_physical_valid = true;
    outcome->guest_physical = gpa;
    return false;
}

/* Source: SDM, "Exit Qualification for SPP-Induced VM Exits": a miss or, with the bit clear, a misconfiguration. */
bool vmxsim_end_with_spp_event(struct walk *walk, enum vmxsim_walk_rule rule, uint64_t gpa)
{
    walk->outcome->guest_physical_valid = true;
    walk->outcome->guest_physical = gpa;
    walk->outcome->guest_linear_valid = true;
    walk->outcome->guest_linear = walk->linear;
    return vmxsim_end_with_exit(walk, rule, VMXC_EXIT_REASON_SPP_RELATED,
                                rule == VMXSIM_RULE_EPT_SPP_MISS ? VMXC_QUALIFICATION_SPPT_MISS
                                                                 : 0);
}

bool vmxsim_end_with_log_full(struct walk *walk)
{
    vmxsim_trail_verdict(walk, VMXSIM_RULE_EPT_PML, 0);
    return vmxsim_end_with_exit(walk, VMXSIM_RULE_EPT_PML,
                                VMXC_EXIT_REASON_PAGE_MODIFICATION_LOG_FULL, 0);
}
