# SPDX-License-Identifier: Apache-2.0
"""
Experiments of kind `event`: VM entry injects an event, the guest's IDT says where it goes, and VMCALL stands there.

    events        all types that are delivered through the IDT, with and without error code
    mutations     0 to 3 of: the gate, its code segment, table limits, the stack, where the tables are, what is intercepted

One page has everything: code, handlers, stacks, TSS, GDT, IDT. Accessed and dirty flags are set before, so that nothing but the
frame is written.
"""
import generate_access
import header as templates
import vectors

ENTRY_INFO, ENTRY_ERROR, ENTRY_LENGTH = 0x4016, 0x4018, 0x401A
EXCEPTION_BITMAP, PF_MASK, PF_MATCH = 0x4004, 0x4006, 0x4008
GUEST_RFLAGS, GUEST_RSP, GUEST_TR_LIMIT = 0x6820, 0x681C, 0x480E
GDTR_BASE, GDTR_LIMIT, IDTR_BASE, IDTR_LIMIT, TR_BASE = 0x6816, 0x4810, 0x6818, 0x4812, 0x6814
RFLAGS_IF, EPTP_AD = 1 << 9, generate_access.EPTP_AD

# Offsets in the code page.
HANDLERS, STACK, KERNEL_STACK, IST_STACK, TSS, GDT, IDT = 0x400, 0x600, 0x700, 0x7C0, 0x800, 0x900, 0xA00
FIRST_VECTORS, EXCEPTIONS = 96, 20
# A page that the guest's tables map and EPT does not; one that the guest's tables do not map either.
NO_EPT_PTE, NO_EPT_GPA = 0x200C088, 0x800200F067
NO_EPT_LINEAR = {8: 0x411000, 0: 0x200F000}
NO_PAGE_LINEAR = {8: 0x4FF000, 0: 0x200F000}

GUESTS = [mode for mode in generate_access.MODES if not mode.guest.startswith("paging32")]
WEIGHTS = [2, 1, 6, 5, 2, 2]

CODE, DATA, TASK, USER_CODE, USER_DATA, CONFORMING, ABSENT, OTHER_SIZE, FREE_TASK, NOTHING = range(1, 11)
EXTERNAL, NMI, HARDWARE, SOFTWARE_INTERRUPT, INT1, SOFTWARE_EXCEPTION = 0, 2, 3, 4, 5, 6
WITH_ERROR_CODE = (8, 10, 11, 12, 13, 14, 17)
INTERRUPT_GATE, TRAP_GATE = 14, 15


class Experiment(generate_access.Experiment):
    """One case while it is made."""

    def __init__(self, header, mode, random):
        super().__init__(header, mode, random)
        self.case["kind"] = "event"
        self.is_64bit = mode.guest.startswith("long64")
        self.is_user = mode.guest.endswith("-user")

    def put(self, offset, size, value):
        for index in range(size):
            self.store_word(templates.CODE_PAGE + offset + index, 1, value >> 8 * index & 0xFF)

    def linear(self, offset):
        return self.mode.code + offset

    @property
    def gate_size(self):
        return 16 if self.is_64bit else 8


class Gate:
    """An IDT entry."""

    def __init__(self, offset, selector=CODE << 3, kind=INTERRUPT_GATE, dpl=3, present=1, ist=0):
        self.offset, self.selector, self.kind, self.dpl, self.present, self.ist = offset, selector, kind, dpl, present, ist

    def put(self, experiment, vector):
        low = self.offset & 0xFFFF | self.selector << 16 | (self.ist if experiment.is_64bit else 0) << 32
        low |= self.kind << 40 | self.dpl << 45 | self.present << 47 | (self.offset >> 16 & 0xFFFF) << 48
        experiment.put(IDT + vector * experiment.gate_size, 8, low)
        if experiment.is_64bit:
            experiment.put(IDT + vector * 16 + 8, 8, self.offset >> 32)


def put_tables(experiment, vector):
    """GDT, TSS; in the IDT the exceptions and this vector, with handlers."""
    wide = 0x00AF << 48 if experiment.is_64bit else 0x00CF << 48
    narrow = 0x00CF << 48 if experiment.is_64bit else 0x00AF << 48
    rights = {CODE: wide | 0x9B << 40, DATA: 0xCF << 48 | 0x93 << 40, TASK: 0x8B << 40, USER_CODE: wide | 0xFB << 40,
              USER_DATA: 0xCF << 48 | 0xF3 << 40, CONFORMING: wide | 0x9F << 40, ABSENT: wide | 0x1B << 40,
              OTHER_SIZE: narrow | 0x9B << 40, FREE_TASK: 0x89 << 40}
    for index, value in rights.items():
        experiment.put(GDT + 8 * index, 8, value | 0xFFFF)
    for number in {*range(EXCEPTIONS), vector}:
        experiment.put(HANDLERS + 4 * number, 3, int.from_bytes(bytes.fromhex(templates.VMCALL_BYTES), "little"))
        Gate(experiment.linear(HANDLERS + 4 * number)).put(experiment, number)
    experiment.put(TSS + 4, 8 if experiment.is_64bit else 4, experiment.linear(KERNEL_STACK))
    if experiment.is_64bit:
        experiment.put(TSS + 0x24, 8, experiment.linear(IST_STACK))
    else:
        experiment.put(TSS + 8, 2, DATA << 3)
    fields = experiment.fields
    fields.update({GDTR_BASE: experiment.linear(GDT), GDTR_LIMIT: 8 * 10 - 1, TR_BASE: experiment.linear(TSS), GUEST_TR_LIMIT: 0x67,
                   IDTR_BASE: experiment.linear(IDT), IDTR_LIMIT: FIRST_VECTORS * experiment.gate_size - 1,
                   GUEST_RSP: experiment.linear(STACK)})
    fields[generate_access.EPTP] &= ~EPTP_AD


def choose_event(experiment):
    """Its vector; an error code where there has to be one."""
    random, fields = experiment.random, experiment.fields
    kind = random.choice([EXTERNAL, NMI, HARDWARE, HARDWARE, HARDWARE, HARDWARE, SOFTWARE_INTERRUPT, SOFTWARE_EXCEPTION, INT1])
    vector = {EXTERNAL: random.randrange(32, FIRST_VECTORS), NMI: 2, INT1: 1,
              HARDWARE: random.choice([0, 1, 5, 6, 7, 8, 10, 11, 12, 13, 13, 14, 14, 16, 17, 18, 19]),
              SOFTWARE_INTERRUPT: random.choice([0x40, 0x41, 3, 13, 14, 0x20, 0x5F]),
              SOFTWARE_EXCEPTION: random.choice([3, 4])}[kind]
    fields[ENTRY_INFO] = 1 << 31 | kind << 8 | vector
    if kind == HARDWARE and vector in WITH_ERROR_CODE:
        fields[ENTRY_INFO] |= 1 << 11
        fields[ENTRY_ERROR] = 0 if vector in (8, 17) else random.choice([0, 4, 0x18, 0x7FF8])
    if kind in (SOFTWARE_INTERRUPT, SOFTWARE_EXCEPTION, INT1):
        fields[ENTRY_LENGTH] = random.randrange(1, 16)
    if kind == EXTERNAL or random.random() < 0.5:
        fields[GUEST_RFLAGS] |= RFLAGS_IF
    return vector


# ---- Mutations ----

def some_vector(experiment, vector):
    """The event's own gate, or that of a fault on the way."""
    return experiment.random.choice([vector] * 4 + [8, 13, 13, 11, 10, 14])


def mutate_gate(experiment, vector):
    random, chosen = experiment.random, some_vector(experiment, vector)
    gate = Gate(experiment.linear(HANDLERS + 4 * chosen))
    what = random.choice(["kind", "dpl", "present", "selector", "selector", "ist", "trap"])
    if what == "kind":
        gate.kind = random.choice([0, 5, 12, 2, 30, 13])
        if gate.kind == 5:
            gate.selector = random.choice([FREE_TASK << 3, FREE_TASK << 3 | 3, TASK << 3, 0, CODE << 3, NOTHING << 3])
            put_free_task(experiment)
    elif what == "dpl":
        gate.dpl = random.randrange(4)
    elif what == "present":
        gate.present = 0
    elif what == "selector":
        gate.selector = random.choice([0, 3, DATA << 3, TASK << 3, USER_CODE << 3 | 3, CONFORMING << 3, ABSENT << 3, NOTHING << 3,
                                       0x7FF8, CODE << 3 | 3, OTHER_SIZE << 3 if experiment.is_64bit else CODE << 3])
    elif what == "ist":
        gate.ist = random.choice([1, 1, 2, 7])
    else:
        gate.kind = TRAP_GATE
    gate.put(experiment, chosen)


def put_free_task(experiment):
    """Another TSS: available, not present, too short, 16-bit."""
    value = experiment.random.choice([0x0000890000000067] * 3 + [0x0000090000000067, 0x0000890000000066, 0x000081000000002B])
    experiment.put(GDT + 8 * FREE_TASK, 8, value)


def mutate_limits(experiment, vector):
    random, fields = experiment.random, experiment.fields
    what = random.choice(["idt", "idt", "gdt", "tss"])
    if what == "idt":
        size = experiment.gate_size
        fields[IDTR_LIMIT] = random.choice([vector * size - 1, vector * size + size - 2, vector * size + size - 1, 14 * size]) & 0xFFFF
    elif what == "gdt":
        fields[GDTR_LIMIT] = random.choice([7, 8, 14, 15, 0x17])
    else:
        fields[GUEST_TR_LIMIT] = 0x67  # a smaller one fails the VM entry


def mutate_stack(experiment, _vector):
    """Where the frame goes: unaligned, not mapped, not canonical."""
    random, entry_size = experiment.random, 8 if experiment.mode.entry_size else 0
    bad = [NO_PAGE_LINEAR[entry_size] + 0x800, NO_EPT_LINEAR[entry_size] + 0x800, experiment.linear(STACK) - 3]
    if experiment.is_64bit:
        bad += [(1 << 47) + 0x1000, 1 << 63]
    value = random.choice(bad)
    where = random.choice(["guest", "kernel", "ist"])
    if where == "guest":
        experiment.fields[GUEST_RSP] = value
    elif where == "kernel":
        experiment.put(TSS + 4, 8 if experiment.is_64bit else 4, value)
    elif experiment.is_64bit:
        experiment.put(TSS + 0x24, 8, value)


def mutate_stack_segment(experiment, _vector):
    if not experiment.is_64bit:
        experiment.put(TSS + 8, 2, experiment.random.choice([0, DATA << 3 | 3, USER_DATA << 3 | 3, CODE << 3, NOTHING << 3, TASK << 3]))


def mutate_table(experiment, _vector):
    """IDT or GDT in a page that is not there."""
    entry_size = 8 if experiment.mode.entry_size else 0
    page = experiment.random.choice([NO_PAGE_LINEAR, NO_EPT_LINEAR])[entry_size]
    if experiment.random.random() < 0.6:
        experiment.fields[IDTR_BASE] = page + (IDT & 0xFFF)
    else:
        experiment.fields[GDTR_BASE] = page + (GDT & 0xFFF)


def mutate_exceptions(experiment, _vector):
    """What is intercepted: all in the template, which no injected event minds."""
    random, fields = experiment.random, experiment.fields
    fields[EXCEPTION_BITMAP] = random.choice([0, 0, 1 << 8, 1 << 13, 1 << 14, ~(1 << 8) & 0xFFFFFFFF, random.getrandbits(32)])
    fields[PF_MASK], fields[PF_MATCH] = random.choice([(0, 0), (0, 0), (1, 1), (2, 0)])


MUTATIONS = [(mutate_gate, 8), (mutate_limits, 3), (mutate_stack, 4), (mutate_stack_segment, 2), (mutate_table, 2),
             (mutate_exceptions, 6)]


def generate(header, random, identity):
    """One case."""
    mode = random.choices(GUESTS, WEIGHTS)[0]
    experiment = Experiment(header, mode, random)
    generate_access.put_code(experiment)
    vector = choose_event(experiment)
    put_tables(experiment, vector)
    if mode.entry_size:
        experiment.store_word(NO_EPT_PTE, 8, NO_EPT_GPA)
    if random.random() < 0.7:
        mutate_exceptions(experiment, vector)
    functions, weights = zip(*MUTATIONS)
    for mutate in random.choices(functions, weights, k=random.choice([0, 1, 1, 2, 3])):
        mutate(experiment, vector)
    case = vectors.with_memory(header, experiment.case, experiment.words)
    return {"id": identity, **vectors.with_fields(header, case, experiment.fields)}
