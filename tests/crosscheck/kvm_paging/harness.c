/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Source: Intel SDM volume 3, "Segment Descriptors", "64-Bit Mode Stack Frame", "Task-State Segment (TSS)",
 * "Interrupt and Exception Handling"; volume 2, the instructions by name.
 */
#include "harness.h"

#include "vmxcore/defs/paging.h"

#include <string.h>

enum page {
    PAGE_LEVEL_1,
    PAGE_LEVEL_2,
    PAGE_LEVEL_3,
    PAGE_LEVEL_4,
    PAGE_GDT,
    PAGE_IDT,
    PAGE_HANDLERS,
    PAGE_STACK,
    PAGE_CODE,
    PAGE_USER_CODE, /* maps PAGE_CODE */
};

enum selector {
    SELECTOR_CODE64 = 0x08,
    SELECTOR_DATA = 0x10,
    SELECTOR_CODE32 = 0x18,
    SELECTOR_USER_CODE64 = 0x23,
    SELECTOR_USER_DATA = 0x2b,
    SELECTOR_USER_CODE32 = 0x33,
    SELECTOR_TSS = 0x38,
};

#define GDT_LIMIT   0x47
#define TSS_OFFSET  0x800u
#define TSS_LIMIT   0x67
#define VECTORS     256u
#define OPCODE_HLT  0xf4
#define OPCODE_INT3 0xcc
#define TABLE_ENTRY (VMXC_PTE_PRESENT | VMXC_PTE_WRITE | VMXC_PTE_USER | VMXC_PTE_ACCESSED)
#define PAGE_ENTRY  (VMXC_PTE_PRESENT | VMXC_PTE_WRITE | VMXC_PTE_ACCESSED | VMXC_PTE_DIRTY)

static bool is_long(const struct state *state)
{
    return state->efer & VMXC_EFER_LMA;
}

static uint8_t *harness_page(struct machine *machine, enum page page)
{
    return machine->harness + (size_t)page * PAGE_SIZE;
}

static uint64_t page_gpa(enum page page)
{
    return HARNESS_GPA + (uint64_t)page * PAGE_SIZE;
}

static uint64_t page_linear(const struct harness_slot *slot, enum page page)
{
    return slot->linear + (uint64_t)page * PAGE_SIZE;
}

static void put(uint8_t *bytes, uint64_t value, unsigned size)
{
    memcpy(bytes, &value, size); /* the host is x86 too */
}

static uint64_t get(const uint8_t *bytes, unsigned size)
{
    uint64_t value = 0;

    memcpy(&value, bytes, size);
    return value;
}

/* ---- Descriptor tables ---- */

void harness_fill(struct machine *machine)
{
    static const uint64_t descriptors[] = {
        [SELECTOR_CODE64 / 8] = 0x00af9b000000ffff,
        [SELECTOR_DATA / 8] = 0x00cf93000000ffff,
        [SELECTOR_CODE32 / 8] = 0x00cf9b000000ffff,
        [SELECTOR_USER_CODE64 / 8] = 0x00affb000000ffff,
        [SELECTOR_USER_DATA / 8] = 0x00cff3000000ffff,
        [SELECTOR_USER_CODE32 / 8] = 0x00cffb000000ffff,
    };

    memset(machine->harness, 0, HARNESS_SIZE);
    memcpy(harness_page(machine, PAGE_GDT), descriptors, sizeof descriptors);
    memset(harness_page(machine, PAGE_HANDLERS), OPCODE_HLT, VECTORS);
}

/* The TSS descriptor, and in the TSS the stack for a change to CPL 0. */
static void fill_tss(struct machine *machine, const struct state *state,
                     const struct harness_slot *slot)
{
    uint8_t *const gdt = harness_page(machine, PAGE_GDT);
    const uint64_t base = page_linear(slot, PAGE_GDT) + TSS_OFFSET;
    const uint64_t stack = page_linear(slot, PAGE_STACK) + PAGE_SIZE;

    put(gdt + SELECTOR_TSS,
        TSS_LIMIT | (base & 0xffffff) << 16 | UINT64_C(0x8b) << 40 | (base >> 24 & 0xff) << 56, 8);
    put(gdt + SELECTOR_TSS + 8, is_long(state) ? base >> 32 : 0, 8);
    memset(gdt + TSS_OFFSET, 0, TSS_LIMIT + 1);
    put(gdt + TSS_OFFSET + 4, stack, is_long(state) ? 8 : 4);
    if (!is_long(state))
        put(gdt + TSS_OFFSET + 8, SELECTOR_DATA, 4);
    put(gdt + TSS_OFFSET + 0x66, TSS_LIMIT + 1, 2); /* no I/O permission bitmap */
}

/* Interrupt gates of DPL 3, so that INT3 gets through at every CPL. */
static void fill_idt(struct machine *machine, const struct state *state,
                     const struct harness_slot *slot)
{
    const unsigned size = is_long(state) ? 16 : 8;
    const uint64_t selector = is_long(state) ? SELECTOR_CODE64 : SELECTOR_CODE32;

    for (unsigned vector = 0; vector < VECTORS; vector++) {
        uint8_t *const gate = harness_page(machine, PAGE_IDT) + (size_t)size * vector;
        const uint64_t handler = page_linear(slot, PAGE_HANDLERS) + vector;
        put(gate,
            (handler & 0xffff) | selector << 16 | UINT64_C(0xee00) << 32 |
                (handler >> 16 & 0xffff) << 48,
            8);
        if (is_long(state))
            put(gate + 8, handler >> 32, 8);
    }
}

/* ---- Paging structures ---- */

static void fill_tables(struct machine *machine, const struct state *state)
{
    const unsigned size = state_entry_size(state);
    uint8_t *const first = harness_page(machine, PAGE_LEVEL_1);

    memset(first, 0, (PAGE_LEVEL_4 + 1) * PAGE_SIZE);
    for (unsigned page = 0; page <= PAGE_CODE; page++)
        put(first + (size_t)size * page, page_gpa((enum page)page) | PAGE_ENTRY, size);
    put(first + (size_t)size * PAGE_USER_CODE, page_gpa(PAGE_CODE) | PAGE_ENTRY | VMXC_PTE_USER,
        size);
    for (unsigned level = 2; level < state_levels(state); level++)
        put(machine->harness + (size_t)(level - 1) * PAGE_SIZE,
            (HARNESS_GPA + (uint64_t)(level - 2) * PAGE_SIZE) | TABLE_ENTRY, size);
}

static uint64_t slot_entry(const struct state *state)
{
    const uint64_t table = HARNESS_GPA + (uint64_t)(state_levels(state) - 2) * PAGE_SIZE;

    return table | (state->mode == PAGING_PAE ? VMXC_PTE_PRESENT : TABLE_ENTRY);
}

/*
 * Whether an access could come across the `size` bytes at offset `offset` of any page: as an entry that a walk
 * reads, whichever page is its table, or as data.
 */
static bool touches(const struct state *state, const struct access *access, unsigned offset,
                    unsigned size)
{
    const uint64_t first = access->linear, last = access->linear + access->size - 1;
    const unsigned entry_size = state_entry_size(state);

    for (uint64_t linear = first;; linear = last) {
        for (unsigned level = 1; level <= state_levels(state); level++) {
            const uint64_t index = linear >> state_shift(state, level) &
                                   ((UINT64_C(1) << state_index_bits(state)) - 1);
            if (index == offset / entry_size)
                return true;
        }
        if (linear == last)
            break;
    }
    for (unsigned i = 0; i < access->size; i++) {
        const uint64_t in_page = (first + i) & (PAGE_SIZE - 1);
        if (in_page >= offset && in_page < offset + size)
            return true;
    }
    return false;
}

static bool slot_is_free(const struct state *state, const struct access *accesses, size_t count,
                         unsigned index)
{
    const unsigned size = state_entry_size(state);
    const unsigned offset = (unsigned)(state_root(state) & (PAGE_SIZE - 1)) + index * size;
    const unsigned shift = state_shift(state, state_levels(state));
    const uint64_t mask = state->mode == PAGING_PAE ? 3 : UINT64_MAX;

    for (size_t i = 0; i < count; i++) {
        const uint64_t last = accesses[i].linear + accesses[i].size - 1;
        if (touches(state, &accesses[i], offset, size))
            return false;
        if ((accesses[i].linear >> shift & mask) == index || (last >> shift & mask) == index)
            return false;
    }
    return true;
}

/* Slots of the lower half, so that addresses need no sign extension. */
static bool choose_slot(const struct state *state, const struct access *accesses, size_t count,
                        struct harness_slot *slot)
{
    const unsigned slots =
        state->mode == PAGING_PAE ? 4 : 1u << (state_index_bits(state) - (is_long(state) ? 1 : 0));

    for (unsigned index = slots; index-- > 0;) {
        if (!slot_is_free(state, accesses, count, index))
            continue;
        slot->index = index;
        slot->linear = (uint64_t)index << state_shift(state, state_levels(state));
        slot->entry_gpa = state_root(state) + (uint64_t)state_entry_size(state) * index;
        return true;
    }
    return false;
}

bool harness_install(struct machine *machine, const struct state *state,
                     const struct access *accesses, size_t count, struct harness_slot *slot,
                     struct reason *why)
{
    const unsigned size = state_entry_size(state);

    if (!choose_slot(state, accesses, count, slot))
        return refuse(why, "every entry of the top paging structure is in use");
    uint8_t *const entry = machine_ram(machine, slot->entry_gpa, size);
    if (!entry)
        return refuse(why, "CR3 does not point to RAM");
    slot->saved = get(entry, size);
    put(entry, slot_entry(state), size);
    fill_tables(machine, state);
    fill_tss(machine, state, slot);
    fill_idt(machine, state, slot);
    return true;
}

bool harness_remove(struct machine *machine, const struct state *state,
                    const struct harness_slot *slot, struct reason *why)
{
    const unsigned size = state_entry_size(state);
    uint8_t *const entry = machine_ram(machine, slot->entry_gpa, size);
    const uint64_t found = get(entry, size);

    put(entry, slot->saved, size);
    return found == slot_entry(state) || refuse(why, "the experiment changed the harness");
}

/* ---- Running ---- */

struct instruction {
    unsigned size;
    bool in_64bit, in_32bit; /* where it has this meaning */
    uint8_t length;
    uint8_t bytes[5];
};

/* The address is in RAX, data in RCX, or in XMM0 if that is wider. */
static const struct instruction reads[] = {
    {1, true, true, 2, {0x8a, 0x08}},              /* MOV CL, [RAX] */
    {2, true, true, 3, {0x66, 0x8b, 0x08}},        /* MOV CX, [RAX] */
    {4, true, true, 2, {0x8b, 0x08}},              /* MOV ECX, [RAX] */
    {8, true, false, 3, {0x48, 0x8b, 0x08}},       /* MOV RCX, [RAX] */
    {8, false, true, 4, {0xf3, 0x0f, 0x7e, 0x00}}, /* MOVQ XMM0, [EAX] */
    {16, true, true, 3, {0x0f, 0x10, 0x00}},       /* MOVUPS XMM0, [RAX] */
    {0},
};
static const struct instruction writes[] = {
    {1, true, true, 2, {0x88, 0x08}},              /* MOV [RAX], CL */
    {2, true, true, 3, {0x66, 0x89, 0x08}},        /* MOV [RAX], CX */
    {4, true, true, 2, {0x89, 0x08}},              /* MOV [RAX], ECX */
    {8, true, false, 3, {0x48, 0x89, 0x08}},       /* MOV [RAX], RCX */
    {8, false, true, 4, {0x66, 0x0f, 0xd6, 0x00}}, /* MOVQ [EAX], XMM0 */
    {16, true, true, 3, {0x0f, 0x11, 0x00}},       /* MOVUPS [RAX], XMM0 */
    {0},
};
static const struct instruction exchanges[] = {
    {1, true, true, 2, {0x86, 0x08}},        /* XCHG [RAX], CL */
    {2, true, true, 3, {0x66, 0x87, 0x08}},  /* XCHG [RAX], CX */
    {4, true, true, 2, {0x87, 0x08}},        /* XCHG [RAX], ECX */
    {8, true, false, 3, {0x48, 0x87, 0x08}}, /* XCHG [RAX], RCX */
    {0},
};
static const struct instruction wrpkru = {0, true, true, 3, {0x0f, 0x01, 0xef}};

static const struct instruction *find_instruction(const struct state *state,
                                                  const struct access *access)
{
    static const struct instruction *const by_type[] = {
        [ACCESS_READ] = reads, [ACCESS_WRITE] = writes, [ACCESS_RMW] = exchanges};

    for (const struct instruction *found = by_type[access->type]; found->size; found++) {
        if (found->size == access->size && (state->mode_64bit ? found->in_64bit : found->in_32bit))
            return found;
    }
    return NULL;
}

static bool uses_xmm(const struct state *state, const struct access *access)
{
    return access->type != ACCESS_FETCH && access->size > (state->mode_64bit ? 8u : 4u);
}

static struct kvm_segment flat_segment(unsigned selector, unsigned type, const struct state *state)
{
    const bool code = type & 8;

    return (struct kvm_segment){
        .limit = UINT32_MAX,
        .selector = (uint16_t)selector,
        .type = (uint8_t)type,
        .present = 1,
        .dpl = state->user ? 3 : 0,
        .db = !(code && state->mode_64bit),
        .s = 1,
        .l = code && state->mode_64bit,
        .g = 1,
    };
}

static unsigned code_selector(const struct state *state)
{
    if (state->mode_64bit)
        return state->user ? SELECTOR_USER_CODE64 : SELECTOR_CODE64;
    return state->user ? SELECTOR_USER_CODE32 : SELECTOR_CODE32;
}

/* The experiment's registers. CR4.VMXE is what VM entry wants and a machine without VMX refuses. */
static void set_control_registers(const struct state *state, struct kvm_sregs2 *sregs)
{
    sregs->cr0 = state->cr0 & ~VMXC_CR0_AM;
    sregs->cr3 = state->cr3;
    sregs->cr4 = state->cr4 & ~VMXC_CR4_VMXE;
    sregs->efer = state->efer;
    sregs->cr2 = 0;
    if (state->mode != PAGING_PAE)
        return;
    sregs->flags = KVM_SREGS2_FLAGS_PDPTRS_VALID;
    memcpy(sregs->pdptrs, state->pdpte, sizeof state->pdpte);
}

static void set_segments(const struct state *state, const struct harness_slot *slot,
                         struct kvm_sregs2 *sregs)
{
    const struct kvm_segment data =
        flat_segment(state->user ? SELECTOR_USER_DATA : SELECTOR_DATA, 0x3, state);

    sregs->cs = flat_segment(code_selector(state), 0xb, state);
    sregs->ss = sregs->ds = sregs->es = sregs->fs = sregs->gs = data;
    sregs->tr = (struct kvm_segment){
        .base = page_linear(slot, PAGE_GDT) + TSS_OFFSET,
        .limit = TSS_LIMIT,
        .selector = SELECTOR_TSS,
        .type = 0xb,
        .present = 1,
    };
    sregs->ldt = (struct kvm_segment){.unusable = 1, .type = 2};
    sregs->gdt = (struct kvm_dtable){.base = page_linear(slot, PAGE_GDT), .limit = GDT_LIMIT};
    sregs->idt = (struct kvm_dtable){.base = page_linear(slot, PAGE_IDT), .limit = PAGE_SIZE - 1};
}

static uint64_t code_address(const struct state *state, const struct harness_slot *slot)
{
    return page_linear(slot, state->user ? PAGE_USER_CODE : PAGE_CODE);
}

static void make_registers(struct machine *machine, const struct state *state,
                           const struct harness_slot *slot, struct kvm_regs *regs,
                           struct kvm_sregs2 *sregs)
{
    /* At CPL 3 the flag is about alignment, which is no part of an experiment. */
    const bool smap_is_lifted = state->alignment_check && !state->user;

    *sregs = machine->reset;
    set_control_registers(state, sregs);
    set_segments(state, slot, sregs);
    if (state->mode == PAGING_PAE)
        sregs->pdptrs[slot->index] = slot_entry(state);
    *regs = (struct kvm_regs){
        .rip = code_address(state, slot),
        .rsp = page_linear(slot, PAGE_STACK) + PAGE_SIZE,
        .rflags = VMXC_RFLAGS_1 | (smap_is_lifted ? VMXC_RFLAGS_AC : 0),
    };
}

/*
 * Puts the instruction into the code page, and one behind it that stops: HLT, or INT3 where HLT is not allowed.
 * Returns the address behind that.
 */
static uint64_t put_code(struct machine *machine, const struct state *state,
                         const struct harness_slot *slot, const struct instruction *instruction)
{
    uint8_t *const code = harness_page(machine, PAGE_CODE);

    memcpy(code, instruction->bytes, instruction->length);
    code[instruction->length] = state->user ? OPCODE_INT3 : OPCODE_HLT;
    return code_address(state, slot) + instruction->length + 1;
}

bool harness_has_error_code(unsigned vector)
{
    return vector == 8 || (vector >= 10 && vector <= 14) || vector == 17 || vector == 21;
}

/* The handler that halted says which vector; the stack frame says the rest. */
static bool read_exception(struct machine *machine, const struct state *state,
                           const struct harness_slot *slot, const struct kvm_regs *regs,
                           struct ending *ending, uint64_t *return_rip, struct reason *why)
{
    const uint64_t handlers = page_linear(slot, PAGE_HANDLERS);
    const uint64_t stack = page_linear(slot, PAGE_STACK);
    const unsigned size = is_long(state) ? 8 : 4;

    if (regs->rip <= handlers || regs->rip > handlers + VECTORS)
        return refuse(why, "the guest halted at 0x%llx", (unsigned long long)regs->rip);
    if (regs->rsp < stack || regs->rsp > stack + PAGE_SIZE - 16)
        return refuse(why, "the guest's stack is at 0x%llx", (unsigned long long)regs->rsp);
    const uint8_t *frame = harness_page(machine, PAGE_STACK) + (regs->rsp - stack);
    ending->vector = (unsigned)(regs->rip - handlers - 1);
    if (harness_has_error_code(ending->vector)) {
        ending->error_code = (uint32_t)get(frame, 4);
        frame += size;
    }
    *return_rip = get(frame, size);
    return true;
}

/* Runs up to `stop`: the guest has halted there, or INT3 has brought it to its handler. */
static bool run(struct machine *machine, const struct state *state, const struct harness_slot *slot,
                uint64_t stop, struct kvm_regs *regs, struct kvm_sregs2 *sregs,
                struct ending *ending, struct reason *why)
{
    uint64_t return_rip = 0;

    *ending = (struct ending){.complete = true};
    if (!machine_set_state(machine, regs, sregs, why) || !machine_run(machine, why) ||
        !machine_get_state(machine, regs, sregs, why))
        return false;
    if (regs->rip == stop)
        return true;
    if (!read_exception(machine, state, slot, regs, ending, &return_rip, why))
        return false;
    ending->complete = ending->vector == VECTOR_BP && return_rip == stop;
    ending->cr2 = sregs->cr2;
    return true;
}

bool harness_access(struct machine *machine, const struct state *state,
                    const struct harness_slot *slot, const struct access *access,
                    struct ending *ending, uint8_t data[16], struct reason *why)
{
    struct kvm_sregs2 sregs;
    struct kvm_regs regs;

    make_registers(machine, state, slot, &regs, &sregs);
    if (access->type == ACCESS_FETCH) {
        regs.rip = access->linear;
        return run(machine, state, slot, access->linear + access->size, &regs, &sregs, ending, why);
    }
    const struct instruction *const instruction = find_instruction(state, access);
    if (!instruction)
        return refuse(why, "no instruction makes this access of %u bytes", access->size);
    const uint64_t stop = put_code(machine, state, slot, instruction);
    regs.rax = access->linear;
    memcpy(&regs.rcx, access->value, sizeof regs.rcx);
    if (uses_xmm(state, access) && !machine_set_xmm0(machine, access->value, why))
        return false;
    if (!run(machine, state, slot, stop, &regs, &sregs, ending, why))
        return false;
    if (uses_xmm(state, access))
        return machine_get_xmm0(machine, data, why);
    memcpy(data, &regs.rcx, sizeof regs.rcx);
    return true;
}

bool harness_load_pkru(struct machine *machine, const struct state *state,
                       const struct harness_slot *slot, struct reason *why)
{
    struct ending ending;
    struct kvm_sregs2 sregs;
    struct kvm_regs regs;

    make_registers(machine, state, slot, &regs, &sregs);
    const uint64_t stop = put_code(machine, state, slot, &wrpkru);
    regs.rax = state->pkru;
    return run(machine, state, slot, stop, &regs, &sregs, &ending, why) &&
           (ending.complete || refuse(why, "WRPKRU ended with vector %u", ending.vector));
}
