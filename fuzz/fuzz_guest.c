/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest acts and events arrive, after a VM entry; VM exits are made, and the guest is entered again.
 *
 *     VMLAUNCH --> action, event, boundary ... --> VM exit --> VMRESUME --> action ...
 *
 *  - A call that reports an error has changed nothing; neither has a fault, nor a VM exit that comes before an instruction.
 *  - A VM exit saves what the registers held, and the guest finds it again after VMRESUME.
 *  - PAUSE-loop exiting, posted interrupts and virtual interrupts do what a plain reading of the manual says.
 *
 * Input: profile (1), seed of the VMCS (4), controls to set (4 words of 4), flags (1), TPR threshold (1), virtual-APIC
 * registers (3), then steps: which (1), how a VM exit is completed (1), and what its operands take.
 */
#include "harness.h"

#include <inttypes.h>
#include <string.h>

#include "support/rng.h"
#include "vmxcore/defs/controls.h"
#include "vmxcore/defs/guest_state.h"
#include "vmxcore/defs/msr.h"
#include "vmxcore/defs/paging.h"
#include "vmxcore/defs/segments.h"
#include "vmxsim/entry_generate.h"
#include "vmxsim/exit.h"
#include "vmxsim/guest.h"
#include "vmxsim/insn.h"
#include "vmxsim/intercept.h"

#define RAM_SIZE     (UINT64_C(2) << 20)
#define PAGE_HPA(i)  (UINT64_C(0x1000) * (i))
#define VMXON_HPA    PAGE_HPA(1)
#define VMCS_HPA     PAGE_HPA(2)
#define VIRTUAL_APIC PAGE_HPA(3)
#define APIC_ACCESS  PAGE_HPA(4)
#define POSTED_HPA   PAGE_HPA(5)
#define BITMAPS      PAGE_HPA(6) /* MSR, I/O A, I/O B */
#define SPARE        PAGE_HPA(9) /* PML, #VE information, sub-page permissions, EPTP list, MSR areas */
#define EPT_ROOT     PAGE_HPA(16)
#define GUEST_ROOT   PAGE_HPA(24)
#define TABLE_BYTES  4096u

/* Offsets in the virtual-APIC page. */
#define VTPR 0x080u
#define VPPR 0x0a0u
#define VISR 0x100u
#define VIRR 0x200u

enum { PROFILES = 4, MAX_STEPS = 128, VECTORS = 256, ENTRIES = 512 };

enum operation {
    INSTRUCTION,
    INVLPG,
    MWAIT,
    PAUSE,
    XSAVES,
    XRSTORS,
    MOV_TO_CR,
    MOV_FROM_CR,
    CLTS,
    LMSW,
    SMSW,
    MOV_TO_DR,
    MOV_FROM_DR,
    IO,
    RDMSR,
    LAST_INSTRUCTION = RDMSR, /* up to here a fault, or a VM exit, comes before any change */
    WRMSR,
    ACCESS,
    PHYSICAL_ACCESS,
    EXCEPTION,
    NMI,
    EXTERNAL_INTERRUPT,
    TASK_SWITCH,
    TRIPLE_FAULT,
    INIT,
    SIPI,
    BOUNDARY,
    TIMER,
    SET_REGISTER,
    POKE,
    OPERATIONS
};

static struct machine {
    const struct vmxsim_profile *profile;
    struct vmxsim_memory *memory;
    struct vmxsim_cpu *cpu;
    struct vmxsim_fuzz_loop loop;
    bool has_field[VMXC_VMCS_FIELD_COUNT], writable[VMXC_VMCS_FIELD_COUNT];
} machines[PROFILES];

/* What an experiment knows besides the machine. */
struct experiment {
    struct machine *machine;
    struct vmxsim_cpu *cpu;
    uint64_t tsc;
    struct {
        bool started;
        uint64_t first, last;
    } pause; /* own account of PAUSE-loop exiting */
    bool
        meddled; /* registers, or memory of the virtual APIC, were set from outside since the VM entry */
    bool invalid; /* registers have been set to what no VM entry need accept */
};

/* All that a guest action can change but ordinary memory. */
struct snapshot {
    struct vmxsim_vmcs vmcs;
    uint64_t dr7, timer;
    uint8_t apic[TABLE_BYTES], posted[64];
};

static struct vmxsim_outcome outcome;
static struct snapshot before, after;

/* ---- Set-up ---- */

static void must_succeed(enum vmxc_status status, const struct vmxsim_insn_result *result)
{
    REQUIRE(status == VMXC_OK && result->kind == VMXSIM_INSN_SUCCEEDED, "status %d, kind %d",
            status, result->kind);
}

/* Tables of one kind, level 5 first: the first 2 MBytes are mapped to themselves by pages of 4 KBytes. */
static void map_all(struct vmxsim_memory *memory, uint64_t root_hpa, uint64_t table_bits,
                    uint64_t page_bits)
{
    uint64_t table[ENTRIES];

    for (unsigned level = 0; level < 4; level++)
        vmxsim_memory_write64(memory, root_hpa + PAGE_HPA(level),
                              (root_hpa + PAGE_HPA(level + 1)) | table_bits);
    for (unsigned i = 0; i < ENTRIES; i++)
        table[i] = PAGE_HPA(i) | page_bits;
    vmxsim_memory_write(memory, root_hpa + PAGE_HPA(4), table, sizeof table);
}

static void make_current(const struct machine *machine)
{
    const struct vmxsim_root_state root = {.cr0 = 0x80000031, .cr4 = 0x2020, .efer = 0x500};
    struct vmxsim_insn_result result;
    uint64_t basic = 0;

    REQUIRE(vmxsim_profile_msr(machine->profile, VMXC_MSR_VMX_BASIC, &basic) == VMXC_OK, "no VMX");
    const uint32_t revision = (uint32_t)(basic & VMXC_VMX_BASIC_REVISION);
    vmxsim_cpu_reset(machine->cpu, &root);
    vmxsim_memory_write32(machine->memory, VMXON_HPA, revision);
    vmxsim_memory_write32(machine->memory, VMCS_HPA, revision);
    must_succeed(vmxsim_insn_vmxon(machine->cpu, VMXON_HPA, &result), &result);
    must_succeed(vmxsim_insn_vmclear(machine->cpu, VMCS_HPA, &result), &result);
    must_succeed(vmxsim_insn_vmptrld(machine->cpu, VMCS_HPA, &result), &result);
}

static void find_fields(struct machine *machine)
{
    for (size_t i = 0; i < VMXC_VMCS_FIELD_COUNT; i++) {
        const uint32_t encoding = vmxsim_vmcs_encoding(i);
        machine->has_field[i] = vmxsim_profile_has_field(machine->profile, encoding);
        machine->writable[i] =
            machine->has_field[i] &&
            VMXC_FIELD_GET((uint64_t)encoding, VMXC_VMCS_ENCODING_TYPE) != VMXC_VMCS_TYPE_READ_ONLY;
    }
}

/* Where every input begins: tables are there, and the current VMCS holds zeros. */
static struct machine *machine_at(unsigned index)
{
    struct machine *const machine = &machines[index];

    if (machine->cpu != NULL)
        return machine;
    machine->profile = vmxsim_profile_builtin(vmxsim_profile_builtin_name(index));
    machine->memory = harness_memory(RAM_SIZE);
    machine->cpu = harness_processor(machine->memory, machine->profile);
    find_fields(machine);
    map_all(machine->memory, EPT_ROOT, 7, 0x37);
    map_all(machine->memory, GUEST_ROOT, 7, 7);
    make_current(machine);
    REQUIRE(vmxsim_fuzz_loop_begin(&machine->loop, machine->memory, NULL, 0) == VMXC_OK,
            "no snapshot");
    return machine;
}

static void set_addresses(struct vmxsim_vmcs *vmcs, const struct vmxsim_features *features)
{
    VMXSIM_VMCS(vmcs, VIRTUAL_APIC_ADDRESS) = VIRTUAL_APIC;
    VMXSIM_VMCS(vmcs, APIC_ACCESS_ADDRESS) = APIC_ACCESS;
    VMXSIM_VMCS(vmcs, POSTED_INTERRUPT_DESCRIPTOR_ADDRESS) = POSTED_HPA;
    VMXSIM_VMCS(vmcs, MSR_BITMAP_ADDRESS) = BITMAPS;
    VMXSIM_VMCS(vmcs, IO_BITMAP_A_ADDRESS) = BITMAPS + PAGE_HPA(1);
    VMXSIM_VMCS(vmcs, IO_BITMAP_B_ADDRESS) = BITMAPS + PAGE_HPA(2);
    VMXSIM_VMCS(vmcs, PML_ADDRESS) = SPARE;
    VMXSIM_VMCS(vmcs, VIRTUALIZATION_EXCEPTION_INFO_ADDRESS) = SPARE + PAGE_HPA(1);
    VMXSIM_VMCS(vmcs, SUB_PAGE_PERMISSION_TABLE_POINTER) = SPARE + PAGE_HPA(2);
    VMXSIM_VMCS(vmcs, EPTP_LIST_ADDRESS) = SPARE + PAGE_HPA(3);
    VMXSIM_VMCS(vmcs, VM_EXIT_MSR_STORE_ADDRESS) = SPARE + PAGE_HPA(4);
    VMXSIM_VMCS(vmcs, VM_EXIT_MSR_LOAD_ADDRESS) = SPARE + PAGE_HPA(5);
    VMXSIM_VMCS(vmcs, EPT_POINTER) =
        (EPT_ROOT + (features->ept_walk_4 ? PAGE_HPA(1) : 0)) |
        (VMXSIM_VMCS(vmcs, EPT_POINTER) & VMXC_EPTP_ACCESSED_DIRTY) |
        VMXC_FIELD_MAKE(features->ept_walk_4 ? 3u : 4u, VMXC_EPTP_WALK_LENGTH) | 6;
}

/* Controls that are not modelled would end every experiment at its first access or VM exit. */
static void leave_out_unmodelled(struct vmxsim_vmcs *vmcs)
{
    VMXSIM_VMCS(vmcs, PRIMARY_PROCESSOR_BASED_CONTROLS) &= ~VMXC_PRIMARY_ACTIVATE_TERTIARY_CONTROLS;
    VMXSIM_VMCS(vmcs, PRIMARY_VM_EXIT_CONTROLS) &= ~VMXC_EXIT_ACTIVATE_SECONDARY_CONTROLS;
    VMXSIM_VMCS(vmcs, GUEST_CR4) &= ~(VMXC_CR4_LASS | VMXC_CR4_LAM_SUP | VMXC_CR4_UINTR);
    VMXSIM_VMCS(vmcs, VM_EXIT_MSR_STORE_COUNT) = 0;
    VMXSIM_VMCS(vmcs, VM_EXIT_MSR_LOAD_COUNT) = 0;
}

enum flags {
    NO_MASKS = 1,   /* the guest owns CR0 and CR4 */
    NO_EVENT = 2,   /* no event is injected, nothing is pending */
    ACTIVE = 4,     /* activity state */
    INTERRUPTS = 8, /* RFLAGS.IF, and nothing blocked */
    THRESHOLD = 16, /* TPR threshold above 0 */
    NO_TRAPS = 32,  /* exception bitmap 0 */
    STEPPING = 64,  /* RFLAGS.TF may be 1 */
};

static void simplify(struct vmxsim_vmcs *vmcs, unsigned flags)
{
    if (flags & NO_MASKS)
        VMXSIM_VMCS(vmcs, CR0_GUEST_HOST_MASK) = VMXSIM_VMCS(vmcs, CR4_GUEST_HOST_MASK) = 0;
    if (flags & NO_EVENT) {
        VMXSIM_VMCS(vmcs, VM_ENTRY_INTERRUPTION_INFO) = 0;
        if (!(VMXSIM_VMCS(vmcs, GUEST_RFLAGS) & VMXC_RFLAGS_TF))
            VMXSIM_VMCS(vmcs, GUEST_PENDING_DEBUG_EXCEPTIONS) = 0;
    }
    if (flags & ACTIVE)
        VMXSIM_VMCS(vmcs, GUEST_ACTIVITY_STATE) = VMXC_ACTIVITY_ACTIVE;
    if (flags & INTERRUPTS) {
        VMXSIM_VMCS(vmcs, GUEST_RFLAGS) |= VMXC_RFLAGS_IF;
        VMXSIM_VMCS(vmcs, GUEST_INTERRUPTIBILITY_STATE) = 0;
    }
    if (!(flags & STEPPING))
        VMXSIM_VMCS(vmcs, GUEST_RFLAGS) &= ~VMXC_RFLAGS_TF;
    if (flags & NO_TRAPS)
        VMXSIM_VMCS(vmcs, EXCEPTION_BITMAP) = 0;
}

static void decode_vmcs(struct vmxsim_fuzz_input *input, const struct machine *machine,
                        struct vmxsim_vmcs *vmcs)
{
    const struct vmxsim_entry_processor processor = vmxsim_entry_processor_default(VMCS_HPA);
    struct rng random = rng_seeded(vmxsim_fuzz_take(input, 4));

    for (size_t i = 0; i < VMXC_VMCS_FIELD_COUNT; i++)
        vmcs->value[i] = random.state != 0 && machine->has_field[i] ? rng_next(&random) : 0;
    VMXSIM_VMCS(vmcs, PIN_BASED_CONTROLS) = vmxsim_fuzz_take(input, 4);
    VMXSIM_VMCS(vmcs, PRIMARY_PROCESSOR_BASED_CONTROLS) = vmxsim_fuzz_take(input, 4);
    VMXSIM_VMCS(vmcs, SECONDARY_PROCESSOR_BASED_CONTROLS) = vmxsim_fuzz_take(input, 4);
    VMXSIM_VMCS(vmcs, PRIMARY_VM_EXIT_CONTROLS) = vmxsim_fuzz_take(input, 4);
    const unsigned flags = (unsigned)vmxsim_fuzz_take(input, 1);
    simplify(vmcs, flags);
    leave_out_unmodelled(vmcs);
    set_addresses(vmcs, vmxsim_profile_features(machine->profile));
    VMXSIM_VMCS(vmcs, GUEST_CR3) = GUEST_ROOT + PAGE_HPA(1);
    vmxsim_entry_round(machine->profile, &processor, vmcs);
    simplify(vmcs, flags & NO_EVENT);
    leave_out_unmodelled(vmcs);
    const uint64_t threshold = vmxsim_fuzz_take(input, 1) & 0xf;
    VMXSIM_VMCS(vmcs, TPR_THRESHOLD) = flags & THRESHOLD ? threshold : 0;
}

static uint32_t apic_register(const struct machine *machine, uint64_t offset)
{
    return vmxsim_memory_read32(machine->memory, VIRTUAL_APIC + offset);
}

static void set_vector(const struct machine *machine, uint64_t bits, unsigned vector)
{
    const uint64_t offset = bits + 16 * (vector / 32);

    vmxsim_memory_write32(machine->memory, VIRTUAL_APIC + offset,
                          apic_register(machine, offset) | 1u << vector % 32);
}

static void decode_apic(struct vmxsim_fuzz_input *input, const struct machine *machine)
{
    vmxsim_memory_write32(machine->memory, VIRTUAL_APIC + VTPR,
                          (uint32_t)vmxsim_fuzz_take(input, 1));
    set_vector(machine, VIRR, (unsigned)vmxsim_fuzz_take(input, 1));
    set_vector(machine, VISR, (unsigned)vmxsim_fuzz_take(input, 1));
}

static void write_vmcs(const struct machine *machine, const struct vmxsim_vmcs *vmcs)
{
    struct vmxsim_insn_result result;

    for (size_t i = 0; i < VMXC_VMCS_FIELD_COUNT; i++) {
        if (machine->writable[i] && vmcs->value[i] != 0)
            must_succeed(
                vmxsim_insn_vmwrite(machine->cpu, vmxsim_vmcs_encoding(i), vmcs->value[i], &result),
                &result);
    }
}

/* ---- Snapshots ---- */

static uint64_t get(struct vmxsim_cpu *cpu, uint32_t encoding)
{
    uint64_t value = 0;

    REQUIRE(vmxsim_guest_get(cpu, encoding, &value) == VMXC_OK, "no field %#" PRIx32, encoding);
    return value;
}

/* Reading one register brings all of the guest-state area up to date. */
static void take(const struct experiment *experiment, struct snapshot *snapshot)
{
    struct vmxsim_memory *const memory = experiment->machine->memory;

    snapshot->dr7 = get(experiment->cpu, VMXC_VMCS_GUEST_DR7);
    snapshot->timer = get(experiment->cpu, VMXC_VMCS_PREEMPTION_TIMER_VALUE);
    (void)get(experiment->cpu, VMXC_VMCS_GUEST_CR0);
    snapshot->vmcs = *vmxsim_exit_vmcs(experiment->cpu);
    vmxsim_memory_read(memory, VIRTUAL_APIC, snapshot->apic, sizeof snapshot->apic);
    vmxsim_memory_read(memory, POSTED_HPA, snapshot->posted, sizeof snapshot->posted);
}

static void require_same(const char *what)
{
    for (size_t i = 0; i < VMXC_VMCS_FIELD_COUNT; i++)
        REQUIRE(before.vmcs.value[i] == after.vmcs.value[i],
                "%s changes %s from %#" PRIx64 " to %#" PRIx64, what, vmxsim_vmcs_name(i),
                before.vmcs.value[i], after.vmcs.value[i]);
    REQUIRE(before.dr7 == after.dr7 && before.timer == after.timer, "%s changes DR7 or the timer",
            what);
    REQUIRE(memcmp(before.apic, after.apic, sizeof before.apic) == 0 &&
                memcmp(before.posted, after.posted, sizeof before.posted) == 0,
            "%s changes the virtual APIC", what);
}

static uint32_t word_at(const uint8_t *bytes, unsigned offset)
{
    uint32_t word;

    memcpy(&word, bytes + offset, sizeof word);
    return word;
}

static bool has_vector(const struct snapshot *snapshot, unsigned bits, unsigned vector)
{
    return word_at(snapshot->apic, bits + 16 * (vector / 32)) >> vector % 32 & 1;
}

static bool is_posted(const struct snapshot *snapshot, unsigned vector)
{
    return snapshot->posted[vector / 8] >> vector % 8 & 1;
}

static unsigned requested(const struct snapshot *snapshot)
{
    return VMXSIM_VMCS(&snapshot->vmcs, GUEST_INTERRUPT_STATUS) & 0xff;
}

static unsigned in_service(const struct snapshot *snapshot)
{
    return VMXSIM_VMCS(&snapshot->vmcs, GUEST_INTERRUPT_STATUS) >> 8 & 0xff;
}

static uint64_t secondary(const struct snapshot *snapshot)
{
    return VMXSIM_VMCS(&snapshot->vmcs, PRIMARY_PROCESSOR_BASED_CONTROLS) &
                   VMXC_PRIMARY_ACTIVATE_SECONDARY_CONTROLS
               ? VMXSIM_VMCS(&snapshot->vmcs, SECONDARY_PROCESSOR_BASED_CONTROLS)
               : 0;
}

/* ---- Operands ---- */

static void decode_operands(struct vmxsim_fuzz_input *input, struct vmxsim_operands *operands)
{
    const uint32_t bits = (uint32_t)vmxsim_fuzz_take(input, 4);

    *operands = (struct vmxsim_operands){
        .register_form = bits & 1,
        .no_index = bits >> 1 & 1,
        .no_base = bits >> 2 & 1,
        .register1 = bits >> 3 & 0xf,
        .register2 = bits >> 7 & 0xf,
        .index = bits >> 11 & 0xf,
        .base = bits >> 15 & 0xf,
        .scale = bits >> 19 & 3,
        .operand_size = bits >> 21 & 3,
        .address_size = bits >> 23 & 3,
        .segment = bits >> 25 & 7,
        .displacement = bits >> 28,
    };
}

/* Of a control register: mostly one or two bits away from what it holds. */
static uint64_t new_value(struct vmxsim_fuzz_input *input, uint64_t old)
{
    const unsigned first = (unsigned)vmxsim_fuzz_take(input, 1);

    if (first < 64)
        return old ^ UINT64_C(1) << first;
    return first < 128 ? old : vmxsim_fuzz_value(input);
}

static enum vmxc_status mov_to_cr(struct experiment *experiment, struct vmxsim_fuzz_input *input)
{
    static const uint8_t numbers[] = {0, 3, 4, 8, 2};
    const uint8_t cr = numbers[vmxsim_fuzz_below(input, sizeof numbers)];
    const uint64_t old = cr == 0   ? VMXSIM_VMCS(&before.vmcs, GUEST_CR0)
                         : cr == 3 ? VMXSIM_VMCS(&before.vmcs, GUEST_CR3)
                         : cr == 4 ? VMXSIM_VMCS(&before.vmcs, GUEST_CR4)
                                   : 0;

    const uint8_t gpr = (uint8_t)vmxsim_fuzz_below(input, 17);

    return vmxsim_guest_mov_to_cr(experiment->cpu, cr, gpr, new_value(input, old), &outcome);
}

static enum vmxc_status mov_from_cr(struct experiment *experiment, struct vmxsim_fuzz_input *input)
{
    const uint8_t cr = (uint8_t)vmxsim_fuzz_below(input, 9);
    const uint8_t gpr = (uint8_t)vmxsim_fuzz_below(input, 17);

    return vmxsim_guest_mov_from_cr(experiment->cpu, cr, gpr, &outcome);
}

static enum vmxc_status lmsw(struct experiment *experiment, struct vmxsim_fuzz_input *input)
{
    const uint16_t source = (uint16_t)vmxsim_fuzz_take(input, 1);
    const uint64_t linear = vmxsim_fuzz_take(input, 2);

    return vmxsim_guest_lmsw(experiment->cpu, source, linear & 1 ? &linear : NULL, &outcome);
}

static enum vmxc_status mov_dr(struct experiment *experiment, struct vmxsim_fuzz_input *input,
                               bool from)
{
    const uint8_t dr = (uint8_t)vmxsim_fuzz_below(input, 9);
    const uint8_t gpr = (uint8_t)vmxsim_fuzz_below(input, 17);

    return from ? vmxsim_guest_mov_from_dr(experiment->cpu, dr, gpr, &outcome)
                : vmxsim_guest_mov_to_dr(experiment->cpu, dr, gpr, vmxsim_fuzz_value(input),
                                         &outcome);
}

static enum vmxc_status io(struct experiment *experiment, struct vmxsim_fuzz_input *input)
{
    const uint32_t bits = (uint32_t)vmxsim_fuzz_take(input, 2);
    const struct vmxsim_io io = {
        .port = (uint16_t)vmxsim_fuzz_take(input, 2),
        .size = bits & 7,
        .in = bits >> 3 & 1,
        .immediate = bits >> 4 & 1,
        .string = bits >> 5 & 1,
        .rep = bits >> 6 & 1,
        .count = bits >> 7 & 1,
        .address_size = bits >> 8 & 3,
        .segment = bits >> 10 & 7,
    };

    return vmxsim_guest_io(experiment->cpu, &io, &outcome);
}

/* Mostly one of the x2APIC. */
static uint32_t msr(struct vmxsim_fuzz_input *input)
{
    const unsigned first = (unsigned)vmxsim_fuzz_take(input, 1);

    return first < 192 ? 0x800 + first % 64 : (uint32_t)vmxsim_fuzz_value(input);
}

/* Mostly a register of the APIC-access page. */
static enum vmxc_status access(struct experiment *experiment, struct vmxsim_fuzz_input *input)
{
    const uint64_t offset = vmxsim_fuzz_take(input, 2);
    const uint32_t bits = (uint32_t)vmxsim_fuzz_take(input, 2);
    struct vmxsim_access access = {
        .type = (enum vmxsim_access_type)(bits & 3),
        .linear = bits & 0x8000 ? vmxsim_fuzz_value(input)
                                : (bits & 0x4000 ? VIRTUAL_APIC : APIC_ACCESS) + (offset & 0xfff),
        .size = bits & 4 ? 4 : bits >> 3 & 0x7f,
        .implicit = bits >> 10 & 1,
        .event_delivery = bits >> 11 & 1,
        .shadow_stack = bits >> 12 & 1,
    };
    const uint64_t data = vmxsim_fuzz_take(input, 4);

    memcpy(access.data, &data, sizeof data);
    /* Ordinary memory, too, may be what the processor keeps its state in. */
    experiment->meddled = experiment->meddled || (bits & 0xc000) || access.size > 4;
    return vmxsim_guest_access(experiment->cpu, &access, &outcome, NULL);
}

static enum vmxc_status exception(struct experiment *experiment, struct vmxsim_fuzz_input *input)
{
    const uint32_t bits = (uint32_t)vmxsim_fuzz_take(input, 4);
    const struct vmxsim_event event = {
        .vector = bits & 0xff & (bits & 0x80000000 ? 0xff : 0x1f),
        .type = (enum vmxc_interruption_type)(bits >> 8 & 7),
        .has_error_code = bits >> 11 & 1,
        .error_code = bits >> 12 & 0x7fff,
        .detail = bits,
    };

    return vmxsim_guest_exception(experiment->cpu, &event, &outcome);
}

static enum vmxc_status boundary(struct experiment *experiment, struct vmxsim_fuzz_input *input)
{
    const uint32_t bits = (uint32_t)vmxsim_fuzz_take(input, 3);
    const struct vmxsim_pending pending = {
        .init = (bits & 15) == 1,
        .sipi = bits >> 4 & 1,
        .nmi = bits >> 5 & 1,
        .interrupt = bits >> 6 & 1,
        .instruction_done = bits >> 7 & 1,
        .sipi_vector = bits >> 8 & 0xff,
        .interrupt_vector =
            bits & 4 ? (uint8_t)VMXSIM_VMCS(&before.vmcs, POSTED_INTERRUPT_NOTIFICATION_VECTOR)
                     : bits >> 8 & 0xff,
        .debug_causes = bits >> 16 & 0xf,
    };

    return vmxsim_guest_boundary(experiment->cpu, &pending, &outcome);
}

static enum vmxc_status external_interrupt(struct experiment *experiment,
                                           struct vmxsim_fuzz_input *input)
{
    const uint8_t bits = (uint8_t)vmxsim_fuzz_take(input, 1);
    const uint64_t notification = VMXSIM_VMCS(&before.vmcs, POSTED_INTERRUPT_NOTIFICATION_VECTOR);

    return vmxsim_guest_external_interrupt(experiment->cpu, bits & 1 ? (uint8_t)notification : bits,
                                           &outcome);
}

static enum vmxc_status set_register(struct experiment *experiment, struct vmxsim_fuzz_input *input)
{
    static const uint32_t fields[] = {
        VMXC_VMCS_GUEST_RFLAGS,           VMXC_VMCS_GUEST_INTERRUPTIBILITY_STATE,
        VMXC_VMCS_GUEST_ACTIVITY_STATE,   VMXC_VMCS_GUEST_INTERRUPT_STATUS,
        VMXC_VMCS_GUEST_SS_ACCESS_RIGHTS, VMXC_VMCS_GUEST_CS_ACCESS_RIGHTS,
        VMXC_VMCS_GUEST_TR_LIMIT,         VMXC_VMCS_GUEST_PENDING_DEBUG_EXCEPTIONS,
    };
    const uint32_t field = fields[vmxsim_fuzz_below(input, sizeof fields / sizeof fields[0])];
    const uint64_t value = new_value(input, get(experiment->cpu, field));

    experiment->meddled = experiment->invalid = true;
    const enum vmxc_status status = vmxsim_guest_set(experiment->cpu, field, value);
    REQUIRE(status == VMXC_OK || status == VMXC_INVALID_INPUT, "field %#" PRIx32 ": status %d",
            field, status);
    REQUIRE(status != VMXC_OK || get(experiment->cpu, field) == value, "field %#" PRIx32, field);
    return VMXC_BUSY; /* no action */
}

/* Memory that others write while the guest runs: posted requests, bitmaps, tables; now and then the virtual-APIC page. */
static enum vmxc_status poke(struct experiment *experiment, struct vmxsim_fuzz_input *input)
{
    const unsigned choice = (unsigned)vmxsim_fuzz_take(input, 1);
    const unsigned offset = (unsigned)vmxsim_fuzz_take(input, 2);
    const uint64_t hpa = choice < 128   ? POSTED_HPA + (choice & 63)
                         : choice < 192 ? BITMAPS + offset % 0x3000
                         : choice < 224 ? EPT_ROOT + offset % 0xd000
                                        : VIRTUAL_APIC + offset % 0xff0;

    experiment->meddled = experiment->meddled || choice >= 224;
    /* PAE paging without EPT loads PDPTEs from memory; VM entry may refuse what is there now. */
    experiment->invalid = experiment->invalid || choice >= 192;
    vmxsim_memory_write32(experiment->machine->memory, hpa, (uint32_t)vmxsim_fuzz_value(input));
    return VMXC_BUSY;
}

/* ---- PAUSE ---- */

/* PAUSE-loop exiting in the words of the manual: an exit if the loop has taken longer than the window. */
static bool loop_ends(struct experiment *experiment)
{
    const uint64_t gap = VMXSIM_VMCS(&before.vmcs, PLE_GAP);
    const uint64_t window = VMXSIM_VMCS(&before.vmcs, PLE_WINDOW);

    if (!experiment->pause.started || experiment->tsc - experiment->pause.last > gap) {
        experiment->pause.started = true;
        experiment->pause.first = experiment->tsc;
    }
    experiment->pause.last = experiment->tsc;
    return experiment->tsc - experiment->pause.first > window;
}

static enum vmxc_status pause_once(struct experiment *experiment, struct vmxsim_fuzz_input *input)
{
    const uint64_t rights = VMXSIM_VMCS(&before.vmcs, GUEST_SS_ACCESS_RIGHTS);
    const bool timed = (secondary(&before) & VMXC_SECONDARY_PAUSE_LOOP_EXITING) &&
                       !(VMXSIM_VMCS(&before.vmcs, PRIMARY_PROCESSOR_BASED_CONTROLS) &
                         VMXC_PRIMARY_PAUSE_EXITING) &&
                       VMXC_FIELD_GET(rights, VMXC_SEGMENT_DPL) == 0;

    experiment->tsc += vmxsim_fuzz_value(input) & UINT32_MAX;
    const enum vmxc_status status = vmxsim_guest_pause(experiment->cpu, experiment->tsc, &outcome);
    if (status == VMXC_OK && timed)
        REQUIRE((outcome.kind == VMXSIM_OUTCOME_VM_EXIT) == loop_ends(experiment),
                "PAUSE at %" PRIu64 ": kind %d", experiment->tsc, outcome.kind);
    return status;
}

/* ---- One action ---- */

static enum vmxc_status execute(struct experiment *experiment, enum operation operation,
                                struct vmxsim_fuzz_input *input)
{
    struct vmxsim_cpu *const cpu = experiment->cpu;
    struct vmxsim_operands operands;

    switch (operation) {
    case INSTRUCTION:
        decode_operands(input, &operands);
        return vmxsim_guest_instruction(
            cpu, (enum vmxsim_instruction)vmxsim_fuzz_below(input, VMXSIM_INSTRUCTION_COUNT + 1),
            &operands, &outcome);
    case INVLPG:
        return vmxsim_guest_invlpg(cpu, vmxsim_fuzz_value(input), &outcome);
    case MWAIT:
        return vmxsim_guest_mwait(cpu, vmxsim_fuzz_take(input, 1) & 1, &outcome);
    case PAUSE:
        return pause_once(experiment, input);
    case XSAVES:
        decode_operands(input, &operands);
        return vmxsim_guest_xsaves(cpu, vmxsim_fuzz_value(input), &operands, &outcome);
    case XRSTORS:
        decode_operands(input, &operands);
        return vmxsim_guest_xrstors(cpu, vmxsim_fuzz_value(input), &operands, &outcome);
    case MOV_TO_CR:
        return mov_to_cr(experiment, input);
    case MOV_FROM_CR:
        return mov_from_cr(experiment, input);
    case CLTS:
        return vmxsim_guest_clts(cpu, &outcome);
    case LMSW:
        return lmsw(experiment, input);
    case SMSW:
        return vmxsim_guest_smsw(cpu, &outcome);
    case MOV_TO_DR:
    case MOV_FROM_DR:
        return mov_dr(experiment, input, operation == MOV_FROM_DR);
    case IO:
        return io(experiment, input);
    case RDMSR:
        return vmxsim_guest_rdmsr(cpu, msr(input), &outcome);
    case WRMSR: {
        const uint32_t index = msr(input);
        return vmxsim_guest_wrmsr(cpu, index, vmxsim_fuzz_value(input), &outcome);
    }
    default:
        break;
    }
    return VMXC_NOT_FOUND;
}

static enum vmxc_status happen(struct experiment *experiment, enum operation operation,
                               struct vmxsim_fuzz_input *input)
{
    struct vmxsim_cpu *const cpu = experiment->cpu;
    uint32_t bits;

    switch (operation) {
    case ACCESS:
        return access(experiment, input);
    case PHYSICAL_ACCESS:
        bits = (uint32_t)vmxsim_fuzz_take(input, 3);
        return vmxsim_guest_physical_access(cpu, bits >> 4, bits & 15, &outcome, NULL);
    case EXCEPTION:
        return exception(experiment, input);
    case NMI:
        return vmxsim_guest_nmi(cpu, &outcome);
    case EXTERNAL_INTERRUPT:
        return external_interrupt(experiment, input);
    case TASK_SWITCH:
        bits = (uint32_t)vmxsim_fuzz_take(input, 2);
        return vmxsim_guest_task_switch(cpu, (uint16_t)bits, (enum vmxc_task_source)(bits >> 13),
                                        &outcome);
    case TRIPLE_FAULT:
        return vmxsim_guest_triple_fault(cpu, &outcome);
    case INIT:
        return vmxsim_guest_init(cpu, &outcome);
    case SIPI:
        return vmxsim_guest_sipi(cpu, (uint8_t)vmxsim_fuzz_take(input, 1), &outcome);
    case BOUNDARY:
        return boundary(experiment, input);
    case TIMER:
        outcome = (struct vmxsim_outcome){.kind = VMXSIM_OUTCOME_COMPLETE};
        return vmxsim_guest_advance_timer(cpu, (uint32_t)vmxsim_fuzz_value(input));
    case SET_REGISTER:
        return set_register(experiment, input);
    default:
        return poke(experiment, input);
    }
}

/* ---- What came of it ---- */

/* Which errors the calls document. */
static void check_error(enum vmxc_status status, enum operation operation)
{
    const bool active = VMXSIM_VMCS(&before.vmcs, GUEST_ACTIVITY_STATE) == VMXC_ACTIVITY_ACTIVE;

    REQUIRE(status == VMXC_INVALID_INPUT || status == VMXC_UNSUPPORTED ||
                (status == VMXC_BAD_STATE &&
                 (!active || operation == TIMER || operation == PHYSICAL_ACCESS)),
            "operation %d: status %d", operation, status);
    require_same("an error");
}

static bool is_fault(const struct vmxsim_outcome *what)
{
    return what->kind == VMXSIM_OUTCOME_GUEST_EXCEPTION &&
           what->rule != VMXSIM_RULE_DR_DETECT; /* general detect is switched off by being taken */
}

/* An instruction that faults or exits has not happened; but for MOV to CR8, after which a VM exit may come. */
static void check_instruction(enum operation operation)
{
    const bool exits =
        outcome.kind == VMXSIM_OUTCOME_VM_EXIT && outcome.rule != VMXSIM_RULE_EXIT_TPR_THRESHOLD;

    if (operation <= LAST_INSTRUCTION && (is_fault(&outcome) || exits))
        require_same("an instruction that did not happen");
}

/* Blocking by STI and by MOV SS lasts for one instruction; error codes exist in protected mode only. */
static void check_architecture(enum operation operation)
{
    REQUIRE(operation > LAST_INSTRUCTION || outcome.kind != VMXSIM_OUTCOME_COMPLETE ||
                !(VMXSIM_VMCS(&after.vmcs, GUEST_INTERRUPTIBILITY_STATE) &
                  (VMXC_INTERRUPTIBILITY_STI | VMXC_INTERRUPTIBILITY_MOV_SS)),
            "operation %d completes and leaves interrupts blocked", operation);
    REQUIRE(!outcome.has_error_code || (VMXSIM_VMCS(&before.vmcs, GUEST_CR0) & VMXC_CR0_PE),
            "operation %d: an error code in real-address mode", operation);
}

static void check_kind(enum operation operation)
{
    switch (outcome.kind) {
    case VMXSIM_OUTCOME_COMPLETE:
        REQUIRE(outcome.exit_reason == 0 && outcome.interruption_info == 0 && outcome.vector == 0,
                "operation %d completes with an exit reason or an event", operation);
        break;
    case VMXSIM_OUTCOME_GUEST_EXCEPTION:
        REQUIRE(outcome.rule != VMXSIM_RULE_NONE && outcome.exit_reason == 0 &&
                    outcome.interruption_info == 0,
                "operation %d: an event of the guest with a VM exit", operation);
        break;
    case VMXSIM_OUTCOME_VM_EXIT:
        REQUIRE(outcome.rule != VMXSIM_RULE_NONE, "operation %d: a VM exit without a rule",
                operation);
        break;
    default:
        REQUIRE(false, "operation %d: no outcome", operation);
    }
}

/* ---- Virtual interrupts ---- */

static int highest(const bool set[VECTORS])
{
    for (int vector = VECTORS - 1; vector >= 0; vector--) {
        if (set[vector])
            return vector;
    }
    return -1;
}

/* The requests once what is posted has been taken over, if it has. */
static void collect(bool request[VECTORS], bool posted)
{
    for (unsigned vector = 0; vector < VECTORS; vector++)
        request[vector] =
            has_vector(&before, VIRR, vector) || (posted && is_posted(&before, vector));
}

static void require_requests(const bool request[VECTORS])
{
    for (unsigned vector = 0; vector < VECTORS; vector++)
        REQUIRE(has_vector(&after, VIRR, vector) == request[vector], "request %u", vector);
}

static int highest_posted(void)
{
    bool posted[VECTORS];

    for (unsigned vector = 0; vector < VECTORS; vector++)
        posted[vector] = is_posted(&before, vector);
    return highest(posted);
}

static int requested_with_posted(void)
{
    const int posted = highest_posted(), old = (int)requested(&before);

    return posted > old ? posted : old;
}

/* All of the descriptor's requests have gone; so has "outstanding notification", and nothing else. */
static void check_descriptor(void)
{
    for (unsigned i = 0; i < 32; i++)
        REQUIRE(after.posted[i] == 0, "byte %u of the descriptor", i);
    REQUIRE(after.posted[32] == (before.posted[32] & 0xfe) &&
                memcmp(after.posted + 33, before.posted + 33, 31) == 0,
            "the rest of the descriptor");
}

static void check_posting(void)
{
    bool request[VECTORS];

    collect(request, true);
    require_requests(request);
    check_descriptor();
    REQUIRE((int)requested(&after) == requested_with_posted(), "RVI %u", requested(&after));
    REQUIRE(in_service(&after) == in_service(&before), "SVI %u", in_service(&after));
}

/* Posting and delivery may happen at the same boundary; the descriptor tells. */
static void check_delivery(const struct experiment *experiment)
{
    const bool posted = memcmp(before.posted, after.posted, sizeof before.posted) != 0;
    const int vector = posted ? requested_with_posted() : (int)requested(&before);
    bool request[VECTORS];

    REQUIRE(outcome.vector == vector && (int)in_service(&after) == vector, "vector %d", vector);
    REQUIRE((VMXSIM_VMCS(&before.vmcs, GUEST_RFLAGS) & VMXC_RFLAGS_IF) &&
                !(VMXSIM_VMCS(&before.vmcs, GUEST_INTERRUPTIBILITY_STATE) & 3),
            "interrupts are blocked");
    REQUIRE(experiment->meddled || (unsigned)vector >> 4 > (word_at(before.apic, VPPR) >> 4 & 0xf),
            "vector %d at priority %#" PRIx32, vector, word_at(before.apic, VPPR));
    collect(request, posted);
    request[vector] = false;
    require_requests(request);
    REQUIRE((int)requested(&after) == (highest(request) < 0 ? 0 : highest(request)), "RVI %u",
            requested(&after));
    REQUIRE(has_vector(&after, VISR, (unsigned)vector), "vector %d is not in service", vector);
    REQUIRE(word_at(after.apic, VPPR) == ((uint32_t)vector & 0xf0), "VPPR");
}

static void check_end_of_interrupt(void)
{
    const uint64_t bitmap[] = {
        VMXSIM_VMCS(&before.vmcs, EOI_EXIT_BITMAP_0), VMXSIM_VMCS(&before.vmcs, EOI_EXIT_BITMAP_1),
        VMXSIM_VMCS(&before.vmcs, EOI_EXIT_BITMAP_2), VMXSIM_VMCS(&before.vmcs, EOI_EXIT_BITMAP_3)};
    const unsigned vector = in_service(&before);

    REQUIRE(outcome.qualification == vector && (bitmap[vector / 64] >> vector % 64 & 1),
            "EOI of %u", vector);
    REQUIRE(!has_vector(&after, VISR, vector), "%u is still in service", vector);
}

static void check_threshold(void)
{
    REQUIRE((word_at(after.apic, VTPR) >> 4 & 0xf) <
                (VMXSIM_VMCS(&before.vmcs, TPR_THRESHOLD) & 0xf),
            "VTPR is not below the threshold");
    REQUIRE(!(secondary(&before) & VMXC_SECONDARY_VIRTUAL_INTERRUPT_DELIVERY),
            "a threshold with virtual-interrupt delivery");
}

static void check_virtual_apic(const struct experiment *experiment)
{
    switch (outcome.rule) {
    case VMXSIM_RULE_POSTED_INTERRUPT:
        check_posting();
        break;
    case VMXSIM_RULE_VIRTUAL_INTERRUPT:
        check_delivery(experiment);
        break;
    case VMXSIM_RULE_EXIT_VIRTUALIZED_EOI:
        check_end_of_interrupt();
        break;
    case VMXSIM_RULE_EXIT_TPR_THRESHOLD:
        check_threshold();
        break;
    default:
        break;
    }
}

/* ---- VM exits ---- */

/* Bits of a guest-state field that a VM exit may change. */
static uint64_t exit_may_change(size_t ordinal)
{
    switch (ordinal) {
    case VMXC_VMCS_ORDINAL_GUEST_RFLAGS:
        return VMXC_RFLAGS_RF;
    case VMXC_VMCS_ORDINAL_GUEST_INTERRUPTIBILITY_STATE:
        return VMXC_INTERRUPTIBILITY_SMI | VMXC_INTERRUPTIBILITY_RESERVED;
    case VMXC_VMCS_ORDINAL_GUEST_PENDING_DEBUG_EXCEPTIONS:
    case VMXC_VMCS_ORDINAL_GUEST_DR7:
    case VMXC_VMCS_ORDINAL_PREEMPTION_TIMER_VALUE:
        return UINT64_MAX;
    default:
        break;
    }
    if (ordinal >= VMXC_VMCS_ORDINAL_GUEST_ES_ACCESS_RIGHTS &&
        ordinal <= VMXC_VMCS_ORDINAL_GUEST_TR_ACCESS_RIGHTS)
        return VMXC_SEGMENT_RESERVED;
    return 0;
}

/* Fields that MSRs stand behind are not the guest's to read. */
static bool is_readable(const struct experiment *experiment, size_t ordinal)
{
    const uint32_t encoding = vmxsim_vmcs_encoding(ordinal);
    uint64_t value;

    return VMXC_FIELD_GET((uint64_t)encoding, VMXC_VMCS_ENCODING_TYPE) == VMXC_VMCS_TYPE_GUEST &&
           vmxsim_guest_get(experiment->cpu, encoding, &value) == VMXC_OK;
}

/* Bases of unusable segments are undefined. */
static bool is_unusable_base(size_t ordinal)
{
    const size_t rights =
        VMXC_VMCS_ORDINAL_GUEST_ES_ACCESS_RIGHTS - (size_t)VMXC_VMCS_ORDINAL_GUEST_ES_BASE;

    return ordinal >= VMXC_VMCS_ORDINAL_GUEST_ES_BASE &&
           ordinal <= VMXC_VMCS_ORDINAL_GUEST_TR_BASE &&
           (after.vmcs.value[rights + ordinal] & VMXC_SEGMENT_UNUSABLE);
}

static bool compared[VMXC_VMCS_FIELD_COUNT];

/* Which fields can be read depends on nothing but the field: it is asked once. */
static void note_compared(const struct experiment *experiment)
{
    static bool readable[VMXC_VMCS_FIELD_COUNT], known;

    for (size_t i = 0; i < VMXC_VMCS_FIELD_COUNT; i++) {
        if (!known)
            readable[i] = is_readable(experiment, i);
        compared[i] = readable[i] && !is_unusable_base(i);
    }
    known = true;
}

static void check_saved(const struct vmxsim_vmcs *saved)
{
    for (size_t i = 0; i < VMXC_VMCS_FIELD_COUNT; i++)
        REQUIRE(!compared[i] ||
                    ((saved->value[i] ^ after.vmcs.value[i]) & ~exit_may_change(i)) == 0,
                "a VM exit saves %s as %#" PRIx64 ", not %#" PRIx64, vmxsim_vmcs_name(i),
                saved->value[i], after.vmcs.value[i]);
    const uint64_t controls = VMXSIM_VMCS(saved, PRIMARY_VM_EXIT_CONTROLS);
    REQUIRE(!(controls & VMXC_EXIT_SAVE_DEBUG_CONTROLS) ||
                VMXSIM_VMCS(saved, GUEST_DR7) == after.dr7,
            "DR7");
    REQUIRE(!(controls & VMXC_EXIT_SAVE_PREEMPTION_TIMER) ||
                VMXSIM_VMCS(saved, PREEMPTION_TIMER_VALUE) == after.timer,
            "the timer");
}

static void check_host(const struct experiment *experiment, const struct vmxsim_vmcs *saved)
{
    const struct vmxsim_host_state *const host = vmxsim_cpu_host_state(experiment->cpu);

    REQUIRE(host->rip == VMXSIM_VMCS(saved, HOST_RIP) &&
                host->rsp == VMXSIM_VMCS(saved, HOST_RSP) &&
                host->cr3 == VMXSIM_VMCS(saved, HOST_CR3) && host->dr7 == 0x400,
            "host registers");
    REQUIRE(host->segment[VMXSIM_CS].selector == VMXSIM_VMCS(saved, HOST_CS_SELECTOR) &&
                host->segment[VMXSIM_TR].selector == VMXSIM_VMCS(saved, HOST_TR_SELECTOR) &&
                host->gdtr_base == VMXSIM_VMCS(saved, HOST_GDTR_BASE),
            "host segments");
}

static void check_left(const struct experiment *experiment)
{
    const struct vmxsim_vmcs *const saved = vmxsim_exit_vmcs(experiment->cpu);
    const struct vmxsim_vmx_state vmx = vmxsim_cpu_vmx_state(experiment->cpu);
    struct vmxsim_outcome nothing;

    REQUIRE(vmx.mode == VMXSIM_VMX_ROOT && vmx.current_vmcs == VMCS_HPA, "mode %d", vmx.mode);
    REQUIRE(vmxsim_guest_nmi(experiment->cpu, &nothing) == VMXC_BAD_STATE,
            "the guest is still there");
    REQUIRE(VMXSIM_VMCS(saved, EXIT_REASON) == outcome.exit_reason, "exit reason");
    REQUIRE(((VMXSIM_VMCS(saved, EXIT_QUALIFICATION) ^ outcome.qualification) &
             ~VMXC_QUALIFICATION_NMI_UNBLOCKING) == 0,
            "exit qualification");
    REQUIRE(!(VMXSIM_VMCS(saved, VM_ENTRY_INTERRUPTION_INFO) & VMXC_INTERRUPTION_VALID),
            "the event would be injected again");
    check_saved(saved);
    check_host(experiment, saved);
}

/* False if the processor has shut down. */
static bool leave(const struct experiment *experiment, uint32_t bits)
{
    const struct vmxsim_exit_context context = {
        .instruction_length = bits & 15,
        .nmi_unblocking = bits >> 4 & 1,
    };
    enum vmxc_vmx_abort abort;

    note_compared(experiment);
    const enum vmxc_status status =
        vmxsim_vm_exit(experiment->cpu, &outcome, bits & 0x80 ? NULL : &context, &abort);
    REQUIRE(status == VMXC_OK, "a VM exit: status %d", status);
    if (abort == VMXC_VMX_ABORT_NONE)
        check_left(experiment);
    return abort == VMXC_VMX_ABORT_NONE;
}

/* ---- VM entries ---- */

static const char *broken_rule(const struct vmxsim_entry_report *report)
{
    return report->violation_count > 0 ? vmxsim_entry_rule_info(report->violation[0].rule)->id
                                       : "none";
}

/* False if the VM entry fails. */
static bool enter(struct experiment *experiment, bool again)
{
    static struct vmxsim_entry_report report;
    struct vmxsim_insn_result result;

    const enum vmxc_status status = again ? vmxsim_insn_vmresume(experiment->cpu, &report, &result)
                                          : vmxsim_insn_vmlaunch(experiment->cpu, &report, &result);
    REQUIRE(status == VMXC_OK, "VM entry: status %d", status);
    REQUIRE((result.kind == VMXSIM_INSN_ENTERED) == (report.violation_count == 0),
            "VM entry: kind %d, first rule %s", result.kind, broken_rule(&report));
    experiment->pause.started = false;
    experiment->meddled = false;
    REQUIRE(!again || experiment->invalid || result.kind == VMXSIM_INSN_ENTERED,
            "what a VM exit saved is refused: %s", broken_rule(&report));
    return result.kind == VMXSIM_INSN_ENTERED;
}

/* What was saved is what is loaded. */
static void check_entered(const struct experiment *experiment)
{
    const struct vmxsim_vmcs saved = *vmxsim_exit_vmcs(experiment->cpu);

    take(experiment, &after);
    for (size_t i = 0; i < VMXC_VMCS_FIELD_COUNT; i++)
        REQUIRE(!compared[i] || saved.value[i] == after.vmcs.value[i],
                "a VM entry makes %s %#" PRIx64 ", not %#" PRIx64, vmxsim_vmcs_name(i),
                after.vmcs.value[i], saved.value[i]);
}

/* What a hypervisor does before it enters again: VM entry refuses a threshold that the virtual TPR is below. */
static void lower_threshold(const struct experiment *experiment)
{
    const uint64_t class = apic_register(experiment->machine, VTPR) >> 4 & 0xf;
    struct vmxsim_insn_result result;

    if ((VMXSIM_VMCS(&after.vmcs, TPR_THRESHOLD) & 0xf) > class)
        must_succeed(vmxsim_insn_vmwrite(experiment->cpu, VMXC_VMCS_TPR_THRESHOLD, class, &result),
                     &result);
}

/* ---- The experiment ---- */

/* False: the experiment is over. */
static bool step(struct experiment *experiment, struct vmxsim_fuzz_input *input)
{
    const enum operation operation = (enum operation)vmxsim_fuzz_below(input, OPERATIONS);
    const uint32_t leaving = (uint32_t)vmxsim_fuzz_take(input, 1);

    take(experiment, &before);
    enum vmxc_status status = execute(experiment, operation, input);
    if (status == VMXC_NOT_FOUND)
        status = happen(experiment, operation, input);
    if (status == VMXC_BUSY)
        return true;
    take(experiment, &after);
    if (status != VMXC_OK) {
        check_error(status, operation);
        return true;
    }
    check_kind(operation);
    check_architecture(operation);
    check_instruction(operation);
    check_virtual_apic(experiment);
    if (outcome.kind != VMXSIM_OUTCOME_VM_EXIT)
        return true;
    if (!leave(experiment, leaving))
        return false;
    lower_threshold(experiment);
    if (!enter(experiment, true))
        return false;
    check_entered(experiment);
    return true;
}

/*
 * States that a VM entry may refuse after a VM exit, on a processor too: the harness delivers no debug trap that is pending or
 * comes of single-stepping; EFER that is loaded and not saved does not follow the guest into and out of IA-32e mode.
 */
static bool may_be_refused(const struct vmxsim_vmcs *vmcs)
{
    const bool loads_efer = VMXSIM_VMCS(vmcs, VM_ENTRY_CONTROLS) & VMXC_ENTRY_LOAD_EFER;
    const bool saves_efer = VMXSIM_VMCS(vmcs, PRIMARY_VM_EXIT_CONTROLS) & VMXC_EXIT_SAVE_EFER;

    return (VMXSIM_VMCS(vmcs, GUEST_RFLAGS) & VMXC_RFLAGS_TF) ||
           VMXSIM_VMCS(vmcs, GUEST_PENDING_DEBUG_EXCEPTIONS) != 0 || (loads_efer && !saves_efer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct vmxsim_fuzz_input input = {.next = data, .left = size};
    struct machine *const machine = machine_at(vmxsim_fuzz_below(&input, PROFILES));
    struct experiment experiment = {.machine = machine, .cpu = machine->cpu};
    struct vmxsim_vmcs vmcs;

    harness_next(&machine->loop);
    decode_vmcs(&input, machine, &vmcs);
    decode_apic(&input, machine);
    write_vmcs(machine, &vmcs);
    experiment.invalid = may_be_refused(&vmcs);
    if (!enter(&experiment, false))
        return 0;
    for (unsigned i = 0; i < MAX_STEPS && input.left > 0; i++) {
        if (!step(&experiment, &input))
            return 0;
    }
    return 0;
}
