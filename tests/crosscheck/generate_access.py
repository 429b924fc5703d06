# SPDX-License-Identifier: Apache-2.0
"""
Experiments of kind `access`: an instruction of the guest, fetched and executed, and the one memory access that it makes.

    guest paging      none, 32-bit, PAE, 4-level
    data              around one page boundary whose two sides share no paging-structure entry in any table
    mutations         0 to 4 of: one entry of the guest or of EPT, a control, a register that paging looks at
"""
import header as templates
import vectors

EPTP, PML_INDEX, EPTP_INDEX = 0x201A, 0x812, 0x4
EXCEPTION_BITMAP, PF_MASK, PF_MATCH = 0x4004, 0x4006, 0x4008
GUEST_CR0, GUEST_CR4, GUEST_RFLAGS, GUEST_RIP, GUEST_EFER = 0x6800, 0x6804, 0x6820, 0x681E, 0x2806
VE_AREA = 0x3209000

SECONDARY_PML, SECONDARY_VE, SECONDARY_MBEC = 1 << 17, 1 << 18, 1 << 22
EPTP_AD = 1 << 6
CR0_WP = 1 << 16
CR4_PSE, CR4_SMEP, CR4_SMAP, CR4_PKE, CR4_PGE = 1 << 4, 1 << 20, 1 << 21, 1 << 22, 1 << 7
EFER_NXE = 1 << 11
RFLAGS_AC = 1 << 18


class Mode:
    """A guest state, where its data is, and where its tables are in host-physical memory."""

    def __init__(self, guest, memory, code, boundary, entry_size, leaf_words, table_words, max_size):
        self.guest, self.memory, self.code, self.boundary = guest, memory, code, boundary
        self.entry_size, self.max_size = entry_size, max_size
        self.leaf_words, self.table_words = leaf_words, table_words

    @property
    def guest_words(self):
        return self.leaf_words + self.table_words


LONG_TABLES = [0x2002008, 0x2002010, 0x2003FF8, 0x2004FF8, 0x2006000, 0x2007000]
LONG_LEAVES = [0x2005FF8, 0x2008000]
PAE_TABLES = [0x2004FF8, 0x2007000]
PAGING32_TABLES = [0x200A7FC, 0x200A800]
PAGING32_LEAVES = [0x200CFFC, 0x200D000]

MODES = [
    Mode("unpaged32", "base", 0x2009000, 0x80000000, 0, [], [], 4),
    Mode("unpaged32-user", "base", 0x2009000, 0x80000000, 0, [], [], 4),
    Mode("long64", "base", 0x400000, 0x10000000000, 8, LONG_LEAVES, LONG_TABLES, 8),
    Mode("long64-user", "base", 0x400000, 0x10000000000, 8, LONG_LEAVES, LONG_TABLES, 8),
    Mode("pae", "base", 0x400000, 0x80000000, 8, LONG_LEAVES, PAE_TABLES, 4),
    Mode("pae-user", "base", 0x400000, 0x80000000, 8, LONG_LEAVES, PAE_TABLES, 4),
    Mode("paging32", "paging32", 0x400000, 0x80000000, 4, PAGING32_LEAVES, PAGING32_TABLES, 4),
    Mode("paging32-user", "paging32", 0x400000, 0x80000000, 4, PAGING32_LEAVES, PAGING32_TABLES, 4),
]
WEIGHTS = [2, 2, 6, 6, 3, 3, 3, 3]

# Host-physical memory that the payload keeps for itself (payload/boot.h), and low memory.
PAYLOAD_MEMORY = [(0x9F000, 0x300000), (0x60000000, 0x80000000)]

# EPT entries that translate the data's addresses and those of the tables above, by level of the table they are in.
EPT_DATA_LOW = [0x3000000, 0x3001008, 0x3010FF8, 0x3020FF8]
EPT_DATA_HIGH = [0x3000000, 0x3001010, 0x3011000, 0x3021000]
EPT_LONG_TABLES = [[0x3000008, 0x3002008 + 8 * i, 0x3012080 + 0x1000 * i, 0x3022010 + 0x1008 * i] for i in range(7)]
EPT_PAGING32 = [[0x3000000, 0x3001000, 0x3019080, 0x3029050 + 8 * i] for i in range(4)]


class Experiment:
    """One case while it is made."""

    def __init__(self, header, mode, random):
        self.header, self.mode, self.random = header, mode, random
        self.case = {"kind": "access", "vmcs": [mode.guest, {}], "memory": [mode.memory, {}]}
        self.fields = vectors.fields(header, self.case)
        self.words = vectors.words(header, self.case)
        self.pkru = 0

    def has_field(self, encoding):
        return vectors.hexadecimal(encoding) in self.header["cpu"]["vmcs_fields"]

    def may_set(self, field, bits):
        return templates.control_limits(self.header["cpu"], field)[1] & bits == bits

    def cpuid(self, leaf, register):
        return vectors.number(self.header["cpu"]["cpuid"].get(leaf, ["0x0"] * 4)[register])

    def load_word(self, hpa, size):
        word = self.words.get(hpa & ~7, 0) >> (8 * (hpa & 7))
        return word & ((1 << (8 * size)) - 1)

    def store_word(self, hpa, size, value):
        shift, mask = 8 * (hpa & 7), (1 << (8 * size)) - 1
        word = self.words.get(hpa & ~7, 0) & ~(mask << shift)
        self.words[hpa & ~7] = word | (value & mask) << shift


# ---- Mutations ----

def ept_path(experiment):
    """Some EPT entries that the access goes through, from the top."""
    random, mode = experiment.random, experiment.mode
    paths = [EPT_DATA_LOW, EPT_DATA_HIGH]
    if mode.guest.startswith("paging32"):
        paths = paths + EPT_PAGING32
    elif mode.entry_size:
        paths = paths + EPT_LONG_TABLES
    return random.choice(paths)


def mutate_ept_bit(experiment):
    """One bit of an EPT entry at any level; bits that matter more often than addresses."""
    random = experiment.random
    entry = random.choice(ept_path(experiment))
    bit = random.choice([*range(0, 12), *range(0, 12), *range(12, 30), *range(30, 64)])
    experiment.store_word(entry, 8, experiment.load_word(entry, 8) ^ 1 << bit)


def mutate_ept_rights(experiment):
    random = experiment.random
    entry = random.choice(ept_path(experiment))
    value = experiment.load_word(entry, 8) & ~0x407
    experiment.store_word(entry, 8, value | random.randrange(8) | random.choice([0, 0x400]))


def mutate_ept_memory_type(experiment):
    random = experiment.random
    entry = ept_path(experiment)[3]
    value = experiment.load_word(entry, 8) & ~0x78
    experiment.store_word(entry, 8, value | random.randrange(8) << 3 | random.choice([0, 0x40]))


def mutate_ept_flags(experiment):
    random = experiment.random
    if experiment.fields.get(PML_INDEX, 511) < 2:
        return
    for entry in ept_path(experiment):
        value = experiment.load_word(entry, 8) & ~0x300
        experiment.store_word(entry, 8, value | random.choice([0, 0x100, 0x300]))


def mutate_ept_large(experiment):
    """A large page in place of a table: usually with the address that the page has, sometimes with bits below it."""
    random = experiment.random
    path, level = random.choice([(EPT_DATA_LOW, 1), (EPT_DATA_LOW, 2), (EPT_DATA_HIGH, 1), (EPT_DATA_HIGH, 2)])
    size = {1: 1 << 30, 2: 1 << 21}[level]
    address = 0x40000000 if path is EPT_DATA_HIGH else {1: 0, 2: 0x3FE00000}[level]
    value = address & ~(size - 1) | 0xB0 | random.choice([7, 7, 7, 1, 3, 4, 5])
    value |= random.choice([0, 0, 0, 1 << random.randrange(12, 30), 1 << 8, 3 << 8])
    experiment.store_word(path[level], 8, value)


def mutate_guest_bit(experiment):
    random, mode = experiment.random, experiment.mode
    if not mode.guest_words:
        return mutate_ept_bit(experiment)
    entry = random.choice(mode.guest_words)
    low, high = [*range(0, 12)] * 3, [*range(12, 8 * mode.entry_size)]
    bit = random.choice(low + high + ([63] * 4 if mode.entry_size == 8 else []))
    value = experiment.load_word(entry, mode.entry_size) ^ 1 << bit
    return experiment.store_word(entry, mode.entry_size, value)


def mutate_guest_rights(experiment):
    """P, R/W, U/S, A and D of one entry, and XD."""
    random, mode = experiment.random, experiment.mode
    if not mode.guest_words:
        return mutate_ept_rights(experiment)
    entry = random.choice(mode.guest_words)
    value = experiment.load_word(entry, mode.entry_size) & ~0x67
    value |= random.choice([7, 5, 3, 1, 6]) | random.choice([0, 0x20, 0x60])
    if mode.entry_size == 8 and random.random() < 0.2:
        value |= 1 << 63
    return experiment.store_word(entry, mode.entry_size, value)


def mutate_guest_supervisor(experiment):
    """The data becomes supervisor-mode."""
    mode = experiment.mode
    for entry in mode.leaf_words:
        experiment.store_word(entry, mode.entry_size, experiment.load_word(entry, mode.entry_size) & ~4)


def mutate_guest_large(experiment):
    """PS in a directory entry: a large page where the table was, its reserved bits mostly clear."""
    random, mode = experiment.random, experiment.mode
    if not mode.table_words:
        return mutate_ept_large(experiment)
    high = mode.guest.startswith("paging32") and random.choice(PAGING32_TABLES) or random.choice([0x2004FF8, 0x2007000])
    address = 0x7FE00000 if mode.entry_size == 8 else 0x7FC00000
    if high in (0x2007000, 0x200A800):
        address = 0x80000000
    value = address | 0x80 | random.choice([7, 3, 5]) | random.choice([0, 0x20, 0x60])
    value |= random.choice([0, 0, 1 << random.randrange(12, 21), 1 << 12])
    experiment.fields[GUEST_CR4] |= CR4_PSE
    return experiment.store_word(high, mode.entry_size, value)


def mutate_guest_flags(experiment):
    random, mode = experiment.random, experiment.mode
    for entry in mode.guest_words:
        value = experiment.load_word(entry, mode.entry_size) & ~0x60
        experiment.store_word(entry, mode.entry_size, value | random.choice([0, 0x20, 0x60]))


def mutate_protection_key(experiment):
    random, mode = experiment.random, experiment.mode
    if not mode.guest.startswith("long64") or not experiment.cpuid("0x7.0", 2) & 1 << 3:
        return mutate_guest_rights(experiment)
    experiment.fields[GUEST_CR4] |= CR4_PKE
    experiment.pkru = random.getrandbits(32)
    for entry in mode.leaf_words:
        experiment.store_word(entry, 8, experiment.load_word(entry, 8) | random.randrange(16) << 59)
    return None


def mutate_eptp(experiment):
    experiment.fields[EPTP] ^= EPTP_AD


def mutate_pml(experiment):
    random = experiment.random
    if not experiment.may_set(templates.SECONDARY, SECONDARY_PML):
        return mutate_eptp(experiment)
    experiment.fields[templates.SECONDARY] |= SECONDARY_PML
    # Without paging nothing is walked twice, so that a log that fills up in between is decided by new flags alone.
    small = [0, 1] if experiment.mode.entry_size == 0 else []
    experiment.fields[PML_INDEX] = random.choice([511, 511, *small, 512, 0xFFFF, random.randrange(64, 512)])
    return None


def mutate_ve(experiment):
    random = experiment.random
    if not experiment.may_set(templates.SECONDARY, SECONDARY_VE):
        return mutate_ept_rights(experiment)
    experiment.fields[templates.SECONDARY] |= SECONDARY_VE
    for entry in random.choice([EPT_DATA_LOW, EPT_DATA_HIGH])[3:] + ept_path(experiment)[3:]:
        if random.random() < 0.3:
            experiment.store_word(entry, 8, experiment.load_word(entry, 8) | 1 << 63)
    if random.random() < 0.3:
        experiment.store_word(VE_AREA, 8, random.choice([0xFFFFFFFF00000000, 1 << 32, 0x30]))
    experiment.store_word(VE_AREA + 32, 8, random.choice([0, random.getrandbits(64)]))
    if experiment.has_field(EPTP_INDEX) and random.random() < 0.5:
        experiment.fields[EPTP_INDEX] = random.randrange(512)
    return mutate_ept_rights(experiment)


def mutate_mbec(experiment):
    if not experiment.may_set(templates.SECONDARY, SECONDARY_MBEC):
        return mutate_ept_rights(experiment)
    experiment.fields[templates.SECONDARY] |= SECONDARY_MBEC
    return mutate_ept_rights(experiment)


def mutate_registers(experiment):
    """What paging looks at besides its tables. CPUID says what the guest may turn on."""
    random, fields = experiment.random, experiment.fields
    extended = experiment.cpuid("0x7.0", 1)
    if random.random() < 0.5:
        fields[GUEST_CR0] ^= CR0_WP
    if random.random() < 0.5:
        fields[GUEST_EFER] = fields.get(GUEST_EFER, 0) ^ EFER_NXE
    if extended & 1 << 7 and random.random() < 0.4:
        fields[GUEST_CR4] |= CR4_SMEP
    if extended & 1 << 20 and random.random() < 0.4:
        fields[GUEST_CR4] |= CR4_SMAP
    if random.random() < 0.3:
        fields[GUEST_RFLAGS] |= RFLAGS_AC
    if experiment.mode.entry_size == 4 and random.random() < 0.5:
        fields[GUEST_CR4] |= CR4_PSE


def mutate_exceptions(experiment):
    """Which page faults and virtualization exceptions exit."""
    random, fields = experiment.random, experiment.fields
    fields[PF_MASK] = random.randrange(1, 32)
    # The guest has no IDT: delivery ends with a page fault of error code 0, which must exit.
    if random.random() < 0.5:
        fields[EXCEPTION_BITMAP] &= ~(1 << 14)
        fields[PF_MATCH] = random.choice([fields[PF_MASK], random.randrange(1, 32)])
    if random.random() < 0.3:
        fields[EXCEPTION_BITMAP] &= ~(1 << 20)


MUTATIONS = [
    (mutate_ept_bit, 8), (mutate_ept_rights, 8), (mutate_ept_memory_type, 3), (mutate_ept_flags, 3), (mutate_ept_large, 4),
    (mutate_guest_bit, 8), (mutate_guest_rights, 8), (mutate_guest_supervisor, 2), (mutate_guest_large, 4),
    (mutate_guest_flags, 3), (mutate_protection_key, 4), (mutate_eptp, 4), (mutate_pml, 4), (mutate_ve, 4),
    (mutate_mbec, 3), (mutate_registers, 8), (mutate_exceptions, 4),
]


# ---- The access ----

def data_address(random, boundary, size):
    """Below the boundary, across it, or above."""
    if random.random() < 0.4 and size > 1:
        return boundary - random.randrange(1, size)
    low = random.random() < 0.5
    offset = random.choice([0, 8, 0xFF8 - size, random.randrange(0, 0xFF0)])
    return boundary - 0x1000 + offset if low else boundary + offset


def put_code(experiment):
    """The code page: kernel code for the kernel, user code for the user."""
    mode = experiment.mode
    if mode.guest.endswith("-user") and mode.entry_size:
        leaf = 0x200B000 if mode.entry_size == 4 else 0x200C000
        experiment.store_word(leaf, mode.entry_size, experiment.load_word(leaf, mode.entry_size) | 4)


def put_data(experiment):
    random = experiment.random
    for page in (0x3FFFF000, 0x40000000):
        for offset in (0, 8, 0xFF0, 0xFF8):
            experiment.words[page + offset] = random.getrandbits(64)


def put_fetch(experiment):
    """VMCALL at the data, nothing else: the only access is the fetch."""
    linear = data_address(experiment.random, experiment.mode.boundary, 3)
    for index, byte in enumerate(bytes.fromhex(templates.VMCALL_BYTES)):
        address = linear + index
        page = 0x3FFFF000 if address < experiment.mode.boundary else 0x40000000
        experiment.store_word(page + address % 0x1000, 1, byte)
    experiment.fields[GUEST_RIP] = linear
    return [{"type": "fetch", "linear": vectors.hexadecimal(linear), "size": 3}]


def put_access(experiment):
    random, mode = experiment.random, experiment.mode
    size = random.choice([size for size in (1, 2, 4, 8) if size <= mode.max_size])
    kind = random.choice(["read", "write", "rmw"])
    code = {"read": templates.READ_CODE, "write": templates.WRITE_CODE, "rmw": templates.RMW_CODE}[kind][size]
    linear = data_address(random, mode.boundary, size)
    experiment.fields[GUEST_RIP] = mode.code + code
    fetch = {"type": "fetch", "linear": vectors.hexadecimal(mode.code + code), "size": templates.CODE_LENGTH[size]}
    access = {"type": kind, "linear": vectors.hexadecimal(linear), "size": size}
    if kind != "read":
        access["value"] = vectors.hexadecimal(random.getrandbits(8 * size))
    return [fetch, access]


def reaches_payload(experiment):
    """Does a mutated EPT entry lead where the payload's own memory is?"""
    for entry in [*EPT_DATA_LOW, *EPT_DATA_HIGH, *sum(EPT_LONG_TABLES, []), *sum(EPT_PAGING32, [])]:
        value = experiment.words.get(entry, 0)
        address = value & 0xFFFFFFF000
        if entry in (0x3001008, 0x3010FF8) and value & 0x80:
            address |= {0x3001008: 0x3FFFF000, 0x3010FF8: 0x1FF000}[entry]
        if any(low <= address < high for low, high in PAYLOAD_MEMORY):
            return True
    return False


def generate(header, random, identity):
    """One case."""
    while True:
        experiment, accesses = build(header, random)
        if not reaches_payload(experiment):
            break
    if experiment.fields[GUEST_CR4] & CR4_PKE:
        experiment.case["pkru"] = vectors.hexadecimal(experiment.pkru)
    case = vectors.with_memory(header, experiment.case, experiment.words)
    case = vectors.with_fields(header, case, experiment.fields)
    return {"id": identity, **case, "accesses": accesses}


def build(header, random):
    """An experiment with its mutations."""
    mode = random.choices(MODES, WEIGHTS)[0]
    experiment = Experiment(header, mode, random)
    put_code(experiment)
    put_data(experiment)
    accesses = put_fetch(experiment) if random.random() < 0.25 else put_access(experiment)
    functions, weights = zip(*MUTATIONS)
    for mutate in random.choices(functions, weights, k=random.choice([0, 1, 1, 2, 2, 3, 4])):
        mutate(experiment)
    return experiment, accesses
