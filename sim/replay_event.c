/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs a case of kind `event`: a VM entry that injects an event, its delivery through the guest's IDT, where it arrives.
 */
#include "internal/deliver.h"
#include "internal/replay.h"

#include "vmxcore/defs/exit_reason.h"

static struct deliver_event injected(const struct vmxsim_vmcs *vmcs)
{
    const uint64_t info = VMXSIM_VMCS(vmcs, VM_ENTRY_INTERRUPTION_INFO);

    return (struct deliver_event){
        .vector = (uint8_t)VMXC_FIELD_GET(info, VMXC_INTERRUPTION_VECTOR),
        .type = (enum vmxc_interruption_type)VMXC_FIELD_GET(info, VMXC_INTERRUPTION_TYPE),
        .has_error_code = info & VMXC_INTERRUPTION_ERROR_CODE,
        .error_code = (uint32_t)VMXSIM_VMCS(vmcs, VM_ENTRY_EXCEPTION_ERROR_CODE),
        .instruction_length = (uint32_t)VMXSIM_VMCS(vmcs, VM_ENTRY_INSTRUCTION_LENGTH),
    };
}

bool vmxsim_injects_event(const struct vmxsim_vmcs *vmcs)
{
    const uint64_t info = VMXSIM_VMCS(vmcs, VM_ENTRY_INTERRUPTION_INFO);

    return (info & VMXC_INTERRUPTION_VALID) &&
           VMXC_FIELD_GET(info, VMXC_INTERRUPTION_TYPE) != VMXC_INTERRUPTION_TYPE_OTHER;
}

/* The guest has been entered: what becomes of the event. */
static enum vmxc_status deliver(struct vmxsim_vector_file *file,
                                const struct vmxsim_vector_case *vector,
                                enum vmxsim_case_verdict *verdict)
{
    const struct deliver_event event = injected(&file->entry_vmcs);
    struct vmxsim_outcome outcome;
    struct delivery delivery;
    uint64_t matched;

    if (vmxsim_deliver(file->cpu, &event, &delivery, &outcome) != VMXC_OK) {
        vmxsim_text_add(&file->reason, "the delivery of this event is not modelled");
        return VMXC_OK;
    }
    vmxsim_collect_changes(file);
    file->delivery = &delivery;
    if (file->recording)
        vmxsim_answer_delivery(file, &outcome);
    *verdict = file->recording || vmxsim_access_matches(file, vector, &outcome, &matched)
                   ? VMXSIM_CASE_AGREES
                   : VMXSIM_CASE_DIFFERS;
    file->delivery = NULL;
    return VMXC_OK;
}

enum vmxc_status vmxsim_run_event(struct vmxsim_vector_file *file,
                                  const struct vmxsim_vector_case *vector,
                                  vmxsim_access_visit *visit, void *context,
                                  enum vmxsim_case_verdict *verdict, struct vmxsim_error *error)
{
    (void)visit;
    (void)context;
    *verdict = VMXSIM_CASE_UNSUPPORTED;
    vmxsim_prepare_memory(file, json_object_get(vector->value, "memory"));
    if (file->run.failed)
        return vmxsim_error_set(error, VMXC_NO_MEMORY, "%s: no host memory left", file->document);
    if (vmxsim_case_entry(file, vector).kind != VMXSIM_ENTRY_ENTERED) {
        *verdict = vmxsim_entry_verdict(file, vector);
        return VMXC_OK;
    }
    if (vmxsim_prepare_guest(file, vector))
        VMXC_TRY(deliver(file, vector, verdict));
    if (file->run.failed)
        return vmxsim_error_set(error, VMXC_NO_MEMORY, "%s: no host memory left", file->document);
    return VMXC_OK;
}
