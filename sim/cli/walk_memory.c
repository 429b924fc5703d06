/* SPDX-License-Identifier: Apache-2.0 */
/* One access that the command line describes, on memory that consists of image files. */
#include "walk.h"

#include "vmxcore/defs/controls.h"
#include "vmxcore/defs/msr.h"
#include "vmxcore/defs/paging.h"
#include "vmxsim/entry.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define ADDRESS_MAX ((UINT64_C(1) << 52) - 1)

/* Segment access rights: present, code or data, accessed; DPL and L are added. */
#define RIGHTS_DATA UINT64_C(0xc093)
#define RIGHTS_CODE UINT64_C(0xc09b)
#define RIGHTS_DPL3 UINT64_C(0x60)
#define RIGHTS_L    UINT64_C(0x2000)

/* ---- Images ---- */

struct image {
    FILE *stream;
    char *path;
    uint64_t hpa, length; /* length: bytes of the file */
};

struct machine {
    struct image images[WALK_MAX_IMAGES];
    size_t image_count;
    struct vmxsim_memory *memory;
    struct vmxsim_cpu *cpu;
    struct cli_profile profile;
};

/* Splits FILE[@HPA]: what stands behind the last '@' is an address if it looks like one. */
static enum cli_status split_image(struct image *image, const char *argument)
{
    const char *const at = strrchr(argument, '@');
    const bool has_address = at != NULL && at[1] >= '0' && at[1] <= '9';

    image->path = strndup(argument, has_address ? (size_t)(at - argument) : strlen(argument));
    if (image->path == NULL)
        return cli_complain("no memory left");
    if (has_address && !cli_number("walk", "--memory", at + 1, ADDRESS_MAX, &image->hpa))
        return CLI_ERROR;
    if (image->hpa % VMXC_PAGE_SIZE != 0)
        return cli_usage("walk", "--memory: 0x%" PRIx64 " is not a multiple of 4096", image->hpa);
    return CLI_OK;
}

static enum cli_status open_image(struct image *image, const char *argument)
{
    struct stat about;
    const enum cli_status status = split_image(image, argument);
    if (status != CLI_OK)
        return status;
    image->stream = fopen(image->path, "rb");
    if (image->stream == NULL || fstat(fileno(image->stream), &about) != 0)
        return cli_complain("%s: %s", image->path, strerror(errno));
    if (!S_ISREG(about.st_mode))
        return cli_complain("%s: not a regular file", image->path);
    if (about.st_size == 0)
        return cli_complain("%s: empty file", image->path);
    image->length = (uint64_t)about.st_size;
    if (image->length > WALK_MAX_IMAGE_SIZE)
        return cli_complain("%s: %" PRIu64 " bytes, more than the %" PRIu64 " that are read",
                            image->path, image->length, WALK_MAX_IMAGE_SIZE);
    if (image->length > ADDRESS_MAX - image->hpa)
        return cli_complain("%s: ends above the highest physical address", image->path);
    return CLI_OK;
}

static enum cli_status read_image(const struct image *image, struct vmxsim_memory *memory)
{
    static const uint8_t zero[VMXC_PAGE_SIZE];
    uint8_t buffer[VMXC_PAGE_SIZE];
    uint64_t hpa = image->hpa;
    size_t count;

    while ((count = fread(buffer, 1, sizeof buffer, image->stream)) > 0) {
        if (hpa - image->hpa + count > image->length)
            return cli_complain("%s: grew while it was read", image->path);
        /* Pages of zeros cost nothing as long as they are not written. */
        if (count != sizeof buffer || memcmp(buffer, zero, sizeof buffer) != 0)
            vmxsim_memory_write(memory, hpa, buffer, count);
        hpa += count;
    }
    return ferror(image->stream) ? cli_complain("%s: %s", image->path, strerror(errno)) : CLI_OK;
}

/* ---- The machine ---- */

static enum cli_status create_memory(struct machine *machine)
{
    struct vmxsim_range ranges[WALK_MAX_IMAGES];
    struct vmxsim_error error;

    for (size_t i = 0; i < machine->image_count; i++) {
        const struct image *const image = &machine->images[i];
        ranges[i] = (struct vmxsim_range){
            .base = image->hpa,
            .length = (image->length + VMXC_PAGE_MASK) & ~VMXC_PAGE_MASK,
        };
    }
    const struct vmxsim_memory_config config = {
        .ram = ranges, .ram_count = machine->image_count, .no_poison = true};
    if (vmxsim_memory_create(&config, &machine->memory, &error) != VMXC_OK)
        return cli_complain("memory images: %s", error.text);
    for (size_t i = 0; i < machine->image_count; i++) {
        if (read_image(&machine->images[i], machine->memory) != CLI_OK)
            return CLI_ERROR;
    }
    return CLI_OK;
}

static enum cli_status build_machine(struct machine *machine, const struct walk_request *request)
{
    const char *const profile = request->profile != NULL ? request->profile : "everything";

    for (size_t i = 0; i < request->image_count; i++) {
        machine->image_count = i + 1;
        if (open_image(&machine->images[i], request->images[i]) != CLI_OK)
            return CLI_ERROR;
    }
    if (!cli_profile_open(profile, &machine->profile) || create_memory(machine) != CLI_OK)
        return CLI_ERROR;
    if (vmxsim_cpu_create(machine->memory, machine->profile.profile, &machine->cpu) != VMXC_OK)
        return cli_complain("no memory left");
    return CLI_OK;
}

static void free_machine(struct machine *machine)
{
    for (size_t i = 0; i < machine->image_count; i++) {
        if (machine->images[i].stream != NULL)
            (void)fclose(machine->images[i].stream);
        free(machine->images[i].path);
    }
    vmxsim_cpu_destroy(machine->cpu);
    vmxsim_memory_destroy(machine->memory);
    cli_profile_close(&machine->profile);
}

/* ---- Guest state ---- */

static uint64_t value_or(const struct walk_value *value, uint64_t otherwise)
{
    return value->given ? value->value : otherwise;
}

static void describe_guest(const struct walk_request *request, struct vmxsim_vmcs *vmcs)
{
    const uint64_t efer = value_or(&request->efer, VMXC_EFER_LME | VMXC_EFER_LMA);
    const bool ia32e = efer & VMXC_EFER_LMA;
    const uint64_t dpl = request->user ? RIGHTS_DPL3 : 0;

    memset(vmcs, 0, sizeof *vmcs);
    VMXSIM_VMCS(vmcs, GUEST_CR0) =
        value_or(&request->cr0, VMXC_CR0_PE | VMXC_CR0_ET | VMXC_CR0_NE | VMXC_CR0_PG);
    VMXSIM_VMCS(vmcs, GUEST_CR3) = value_or(&request->cr3, 0);
    VMXSIM_VMCS(vmcs, GUEST_CR4) = value_or(&request->cr4, VMXC_CR4_PAE);
    VMXSIM_VMCS(vmcs, GUEST_IA32_EFER) = efer;
    VMXSIM_VMCS(vmcs, GUEST_RFLAGS) = 2;
    VMXSIM_VMCS(vmcs, GUEST_SS_ACCESS_RIGHTS) = RIGHTS_DATA | dpl;
    VMXSIM_VMCS(vmcs, GUEST_CS_ACCESS_RIGHTS) = RIGHTS_CODE | dpl | (ia32e ? RIGHTS_L : 0);
    VMXSIM_VMCS(vmcs, VM_ENTRY_CONTROLS) =
        VMXC_ENTRY_LOAD_EFER | (ia32e ? VMXC_ENTRY_IA32E_MODE_GUEST : 0);
    if (!request->eptp.given)
        return;
    VMXSIM_VMCS(vmcs, EPT_POINTER) = request->eptp.value;
    VMXSIM_VMCS(vmcs, PRIMARY_PROCESSOR_BASED_CONTROLS) = VMXC_PRIMARY_ACTIVATE_SECONDARY_CONTROLS;
    VMXSIM_VMCS(vmcs, SECONDARY_PROCESSOR_BASED_CONTROLS) = VMXC_SECONDARY_ENABLE_EPT;
}

static uint64_t msr_or_zero(const struct vmxsim_profile *profile, uint32_t msr)
{
    uint64_t value = 0;
    return vmxsim_profile_msr(profile, msr, &value) == VMXC_OK ? value : 0;
}

/*
 * Refuses registers that no VM entry gives: the checks on guest control registers and EFER decide. What VMX operation
 * adds to them is not asked of the user: fixed bits are 1, and an unrestricted guest may be without paging.
 */
static enum cli_status check_registers(const struct machine *machine,
                                       const struct vmxsim_vmcs *guest)
{
    const struct vmxsim_profile *const profile = machine->profile.profile;
    const struct vmxsim_entry_processor processor = vmxsim_entry_processor_default(0);
    struct vmxsim_vmcs vmcs = *guest;
    struct vmxsim_entry_report report;

    VMXSIM_VMCS(&vmcs, GUEST_CR0) |=
        msr_or_zero(profile, VMXC_MSR_VMX_CR0_FIXED0) & ~(VMXC_CR0_PE | VMXC_CR0_PG);
    VMXSIM_VMCS(&vmcs, GUEST_CR4) |= msr_or_zero(profile, VMXC_MSR_VMX_CR4_FIXED0);
    VMXSIM_VMCS(&vmcs, PRIMARY_PROCESSOR_BASED_CONTROLS) = VMXC_PRIMARY_ACTIVATE_SECONDARY_CONTROLS;
    VMXSIM_VMCS(&vmcs, SECONDARY_PROCESSOR_BASED_CONTROLS) =
        VMXC_SECONDARY_ENABLE_EPT | VMXC_SECONDARY_UNRESTRICTED_GUEST;
    vmxsim_entry_check(
        &(struct vmxsim_entry_input){.vmcs = &vmcs, .profile = profile, .processor = &processor},
        &report);
    for (uint32_t i = 0; i < report.violation_count; i++) {
        const struct vmxsim_entry_rule_info *const rule =
            vmxsim_entry_rule_info(report.violation[i].rule);
        if (rule->group == VMXSIM_ENTRY_GROUP_GUEST_REGISTERS)
            return cli_complain("no guest has these registers: %s: %s", rule->id, rule->sentence);
    }
    return CLI_OK;
}

static enum cli_status load_guest(struct machine *machine, const struct vmxsim_vmcs *vmcs)
{
    struct vmxsim_error error;
    if (vmxsim_cpu_load_guest(machine->cpu, vmcs, &error) != VMXC_OK)
        return cli_complain("%s", error.text);
    return CLI_OK;
}

static bool uses_pdpte_fields(const struct vmxsim_vmcs *vmcs, const struct walk_request *request)
{
    return request->linear.given && request->eptp.given &&
           (VMXSIM_VMCS(vmcs, GUEST_CR0) & VMXC_CR0_PG) != 0 &&
           (VMXSIM_VMCS(vmcs, GUEST_CR4) & VMXC_CR4_PAE) != 0 &&
           (VMXSIM_VMCS(vmcs, GUEST_IA32_EFER) & VMXC_EFER_LMA) == 0;
}

/*
 * With EPT, PAE paging takes its PDPTEs from VMCS fields. Fills them as MOV to CR3 does: by EPT, as reads. False:
 * EPT does not allow it, and that is the outcome.
 */
static enum cli_status load_pdptes(struct machine *machine, struct vmxsim_vmcs *vmcs,
                                   struct walk_output *output)
{
    const uint64_t gpa = VMXSIM_VMCS(vmcs, GUEST_CR3) & VMXC_BITS(31, 5);
    struct vmxsim_outcome outcome;
    struct vmxsim_trail trail;

    if (vmxsim_guest_physical_access(machine->cpu, gpa, VMXC_EPT_READ, &outcome, &trail) != VMXC_OK)
        return cli_complain("the PDPTEs cannot be read");
    if (outcome.kind != VMXSIM_OUTCOME_COMPLETE) {
        walk_output_add(output, 0, NULL, &outcome, &trail);
        return CLI_FINDING;
    }
    const uint64_t hpa = outcome.page[0].hpa;
    VMXSIM_VMCS(vmcs, GUEST_PDPTE0) = vmxsim_memory_read64(machine->memory, hpa);
    VMXSIM_VMCS(vmcs, GUEST_PDPTE1) = vmxsim_memory_read64(machine->memory, hpa + 8);
    VMXSIM_VMCS(vmcs, GUEST_PDPTE2) = vmxsim_memory_read64(machine->memory, hpa + 16);
    VMXSIM_VMCS(vmcs, GUEST_PDPTE3) = vmxsim_memory_read64(machine->memory, hpa + 24);
    return load_guest(machine, vmcs);
}

/* ---- The access ---- */

static uint64_t ept_rights(enum vmxsim_access_type type)
{
    switch (type) {
    case VMXSIM_ACCESS_FETCH:
        return VMXC_EPT_EXECUTE;
    case VMXSIM_ACCESS_READ:
        return VMXC_EPT_READ;
    case VMXSIM_ACCESS_WRITE:
        return VMXC_EPT_WRITE;
    case VMXSIM_ACCESS_RMW:
        break;
    }
    return VMXC_EPT_READ | VMXC_EPT_WRITE;
}

static enum cli_status access_physical(struct machine *machine, const struct walk_request *request,
                                       struct walk_output *output)
{
    struct vmxsim_outcome outcome;
    struct vmxsim_trail trail;
    if (vmxsim_guest_physical_access(machine->cpu, request->gpa.value, ept_rights(request->type),
                                     &outcome, &trail) != VMXC_OK)
        return cli_complain("the access cannot be made");
    walk_output_add(output, 0, NULL, &outcome, &trail);
    return CLI_OK;
}

static enum cli_status access_linear(struct machine *machine, const struct walk_request *request,
                                     struct walk_output *output)
{
    struct vmxsim_outcome outcome;
    struct vmxsim_trail trail;
    struct vmxsim_access access = {
        .type = request->type,
        .linear = request->linear.value,
        .size = (uint32_t)value_or(&request->size, 1),
    };
    for (unsigned i = 0; i < 8; i++)
        access.data[i] = (uint8_t)(request->value.value >> (8 * i));
    if (vmxsim_guest_access(machine->cpu, &access, &outcome, &trail) != VMXC_OK)
        return cli_complain("the access cannot be made");
    walk_output_add(output, 0, &access, &outcome, &trail);
    return CLI_OK;
}

/* A VM entry with an EPTP that the processor refuses would fail: there would be no access to show. */
static enum cli_status check_eptp(const struct machine *machine, const struct walk_request *request)
{
    struct vmxsim_decoded decoded;
    if (!request->eptp.given)
        return CLI_OK;
    vmxsim_decode_eptp(request->eptp.value, vmxsim_profile_features(machine->profile.profile),
                       &decoded);
    for (uint32_t i = 0; i < decoded.count; i++) {
        const struct vmxsim_decoded_field *const field = &decoded.field[i];
        if (field->wrong)
            return cli_complain("EPTP 0x%" PRIx64 ": bits %u:%u (%s): %s", decoded.raw, field->high,
                                field->low, field->name, field->meaning);
    }
    return CLI_OK;
}

/* CLI_FINDING: there is an outcome already. */
static enum cli_status enter_guest(struct machine *machine, const struct walk_request *request,
                                   struct walk_output *output)
{
    struct vmxsim_vmcs vmcs;
    enum cli_status status = build_machine(machine, request);
    if (status != CLI_OK)
        return status;
    status = check_eptp(machine, request);
    if (status != CLI_OK)
        return status;
    describe_guest(request, &vmcs);
    status = load_guest(machine, &vmcs);
    if (status == CLI_OK)
        status = check_registers(machine, &vmcs);
    if (status == CLI_OK && uses_pdpte_fields(&vmcs, request))
        status = load_pdptes(machine, &vmcs, output);
    vmxsim_cpu_set_pkru(machine->cpu, (uint32_t)request->pkru.value);
    return status;
}

enum cli_status walk_memory(const struct walk_request *request)
{
    struct machine machine = {.image_count = 0};
    struct walk_output output;

    walk_output_begin(&output, request->json);
    enum cli_status status = enter_guest(&machine, request, &output);
    if (status == CLI_OK)
        status = request->gpa.given ? access_physical(&machine, request, &output)
                                    : access_linear(&machine, request, &output);
    if (status == CLI_ERROR)
        json_decref(output.accesses);
    else
        status = walk_output_end(&output);
    free_machine(&machine);
    return status;
}
