# SPDX-License-Identifier: Apache-2.0
"""
Experiments of kind `intercept`: RDMSR, WRMSR, IN, OUT, INS, OUTS as the guest's first instruction, against MSR bitmaps, I/O
bitmaps, and what comes before them (CPL, IOPL, the I/O permission bitmap of the TSS).

A bitmap has the bit in question or a neighbour of it: the one before, the one after, the same index in another quarter. Where
no VM exit may come, only registers and ports are used whose access does nothing.
"""
import header as templates
import vectors

GUEST_RFLAGS, GUEST_TR_LIMIT = 0x6820, 0x480E
USE_IO_BITMAPS, USE_MSR_BITMAPS, UNCONDITIONAL_IO = 1 << 25, 1 << 28, 1 << 24
IO_BITMAPS, MSR_BITMAPS, TSS = 0x3205000, 0x3207000, 0x2009800
MSR_LOW, MSR_HIGH, MSR_SPAN = 0, 0xC0000000, 0x2000

RDMSR_CODE, WRMSR_CODE = 0xD0, 0xE0
PORT_CODE = {
    ("in", False): {1: 0xF0, 2: 0x100, 4: 0x110}, ("out", False): {1: 0x120, 2: 0x130, 4: 0x140},
    ("in", True): {1: 0x150, 2: 0x160, 4: 0x170}, ("out", True): {1: 0x180, 2: 0x190, 4: 0x1A0},
}
STRING_CODE = {
    ("ins", False): {1: 0x1B0, 2: 0x1C0, 4: 0x1D0}, ("outs", False): {1: 0x1E0, 2: 0x1F0, 4: 0x200},
    ("ins", True): {1: 0x210, 2: 0x220, 4: 0x230}, ("outs", True): {1: 0x240, 2: 0x250, 4: 0x260},
}

# Exist on every processor with VMX and 64-bit mode; reading them, or writing the value, changes nothing that matters.
READABLE = [0x10, 0x1B, 0x3A, 0x174, 0x175, 0x176, 0x277, 0x2FF,
            0xC0000080, 0xC0000081, 0xC0000082, 0xC0000084, 0xC0000100, 0xC0000101, 0xC0000102]
WRITABLE = {0x174: 0, 0x175: 0, 0x176: 0, 0xC0000082: 0, 0xC0000084: 0, 0xC0000102: 0}
BOUNDARY_MSRS = [0, 1, 7, 8, 0x1FFE, 0x1FFF, 0x2000, 0x2001, 0xBFFFFFFF, 0xC0000000, 0xC0000001, 0xC0001FFE, 0xC0001FFF,
                 0xC0002000, 0xFFFFFFFF, 0x80000000, 0x40000000]
QUIET_PORTS = [0x80, 0x81, 0x84, 0x86, 0x300, 0x301, 0x302, 0x303, 0x3000, 0x7FF8, 0x7FFC, 0x7FFD, 0x7FFE, 0x7FFF,
               0x8000, 0x8001, 0x8002, 0xFFF8, 0xFFFC, 0xFFFD, 0xFFFE, 0xFFFF]
IMMEDIATE_PORTS = [0x80, 0x81, 0x84, 0x86]

GUESTS = ["long64", "long64-user", "pae", "pae-user", "unpaged32", "unpaged32-user", "paging32", "paging32-user",
          "real", "v86"]
CODE_BASE = {"unpaged32": 0x2009000, "real": 0, "v86": 0}
DATA = {"long64": 0xFFFFFFF100, "unpaged32": 0x7FFFF100, "pae": 0x7FFFF100, "paging32": 0x7FFFF100}


def kind_of(guest):
    return guest.removesuffix("-user")


def is_16bit(guest):
    return guest in ("real", "v86")


class Experiment:
    """One case while it is made. `ones`: the bitmaps are all ones, and bits are cleared."""

    def __init__(self, header, random, guest, memory):
        self.header, self.random, self.guest = header, random, guest
        self.case = {"kind": "intercept", "vmcs": [guest, {}], "memory": [memory, {}]}
        self.fields = vectors.fields(header, self.case)
        self.words = vectors.words(header, self.case)
        self.ones = memory.endswith("ones")
        if guest.startswith("paging32"):
            self.words.update(templates.PAGING32_WORDS)
        user = guest.endswith("-user") or guest == "v86"
        if user and guest.startswith("paging32"):
            self.words[0x200B000] |= 4
        elif user and not guest.startswith("unpaged32"):
            self.words[0x200C000] |= 4
        if guest == "v86":  # its code is at linear address 0: the table of the code page, once more
            self.words[0x200B000] = 0x800200C067

    def may_set(self, field, bits):
        return templates.control_limits(self.header["cpu"], field)[1] & bits == bits

    def start_at(self, code):
        self.fields[templates.GUEST_RIP] = CODE_BASE.get(kind_of(self.guest), 0x400000) + code

    def flip_bit(self, table, bit):
        """A bit of a bitmap becomes the exception."""
        address = table + bit // 64 * 8
        self.words[address] = self.words.get(address, 0) ^ 1 << bit % 64

    def finish(self, identity, instruction):
        case = vectors.with_memory(self.header, self.case, {key: word for key, word in self.words.items() if word})
        return {"id": identity, **vectors.with_fields(self.header, case, self.fields), "instruction": instruction}


# ---- MSRs ----

def msr_bit(msr, write):
    """Bit of the 4-KByte bitmap, None outside of both ranges."""
    for base, offset in ((MSR_LOW, 0), (MSR_HIGH, 0x2000)):
        if base <= msr < base + MSR_SPAN:
            return offset + (0x4000 if write else 0) + msr - base
    return None


def msr_is_quiet(msr, write):
    return msr in (WRITABLE if write else READABLE)


def flip_near_msr(experiment, msr, write):
    """The bit in question, or one that a mistake in the calculation would look at."""
    bit = msr_bit(msr, write)
    near = [bit, bit ^ 0x4000, bit ^ 0x2000, bit ^ 0x6000, bit ^ 1, max(bit - 1, 0), min(bit + 1, 0x7FFF), bit ^ 7, bit ^ 8]
    experiment.flip_bit(MSR_BITMAPS, experiment.random.choice([bit] * 4 + near))


def exits_for_msr(experiment, msr, write):
    """Only to keep guests off registers that may not exist."""
    if not experiment.fields[templates.PRIMARY] & USE_MSR_BITMAPS or msr_bit(msr, write) is None:
        return True
    bit = msr_bit(msr, write)
    return experiment.words.get(MSR_BITMAPS + bit // 64 * 8, 0) >> bit % 64 & 1


def generate_msr(header, random, identity):
    write = random.random() < 0.5
    guest = random.choice(GUESTS[:9] if random.random() < 0.9 else GUESTS)
    experiment = Experiment(header, random, guest, random.choice(["base", "msr-ones", "both-ones"]))
    msr = random.choice([random.choice(READABLE), random.choice(list(WRITABLE)), random.choice(BOUNDARY_MSRS)])
    if msr_bit(msr, write) is not None:
        flip_near_msr(experiment, msr, write)
    if random.random() < 0.1:
        experiment.fields[templates.PRIMARY] ^= USE_MSR_BITMAPS
    if not exits_for_msr(experiment, msr, write) and not msr_is_quiet(msr, write):
        bit = msr_bit(msr, write)
        experiment.flip_bit(MSR_BITMAPS, bit)
    experiment.start_at(WRMSR_CODE if write else RDMSR_CODE)
    instruction = {"op": "wrmsr" if write else "rdmsr", "msr": hex(msr)}
    if write:
        instruction["value"] = hex(WRITABLE.get(msr, 0))
    return experiment.finish(identity, instruction)


# ---- Ports ----

def flip_near_ports(experiment, port, size):
    random = experiment.random
    inside = [(port + i) & 0xFFFF for i in range(size)]
    near = [(port - 1) & 0xFFFF, (port + size) & 0xFFFF, port ^ 0x8000, port ^ 8]
    for _ in range(random.choice([1, 1, 2])):
        experiment.flip_bit(IO_BITMAPS, random.choice(inside * 3 + near))


def allow_ports(experiment):
    """IOPL, or the bitmap in the TSS: mostly so that the instruction may be executed."""
    random = experiment.random
    if random.random() < 0.6:
        experiment.fields[GUEST_RFLAGS] |= random.choice([0x1000, 0x2000, 0x3000, 0x3000])
    if random.random() < 0.5:
        experiment.words[TSS + 0x60] = 0x68 << 48
        experiment.fields[GUEST_TR_LIMIT] = random.choice([0x97, 0x68 + 0x11, 0x78, 0x79, 0x20FF if random.random() < 0.2 else 0x97])
        if random.random() < 0.5:
            experiment.words[TSS + 0x78] = 1 << random.randrange(16)


def port_instruction(experiment):
    random = experiment.random
    size = random.choice([1, 2, 4])
    op, immediate = random.choice(["in", "out"]), random.random() < 0.25
    port = random.choice(IMMEDIATE_PORTS if immediate or random.random() < 0.3 else QUIET_PORTS)
    encoded = {2: 4, 4: 2}.get(size, size) if is_16bit(experiment.guest) else size
    code = PORT_CODE[op, immediate][encoded]
    experiment.start_at(code)
    if immediate:
        address = templates.CODE_PAGE + code
        place = 8 * (2 if experiment.words[address] & 0xFF == 0x66 else 1)
        experiment.words[address] = experiment.words[address] & ~(0xFF << place) | port << place
    instruction = {"op": op, "port": hex(port), "size": size}
    return {**instruction, "immediate": True} if immediate else instruction


def string_instruction(experiment):
    random = experiment.random
    size, op = random.choice([1, 2, 4]), random.choice(["ins", "outs"])
    rep = random.random() < 0.3
    experiment.start_at(STRING_CODE[op, rep][size])
    instruction = {"op": op, "port": hex(random.choice(QUIET_PORTS)), "size": size,
                   "linear": hex(DATA[kind_of(experiment.guest)] + random.choice([0, 8, 0x10]))}
    return {**instruction, "rep": True, "count": random.choice([1, 2, 3])} if rep else instruction


def generate_ports(header, random, identity):
    experiment = Experiment(header, random, random.choice(GUESTS), random.choice(["base", "base", "io-ones", "both-ones"]))
    allow_ports(experiment)
    if not is_16bit(experiment.guest) and random.random() < 0.3:
        instruction = string_instruction(experiment)
    else:
        instruction = port_instruction(experiment)
    flip_near_ports(experiment, vectors.number(instruction["port"]), instruction["size"])
    if random.random() < 0.15:
        experiment.fields[templates.PRIMARY] ^= USE_IO_BITMAPS
    if random.random() < 0.15:
        experiment.fields[templates.PRIMARY] ^= UNCONDITIONAL_IO
    return experiment.finish(identity, instruction)


def generate(header, random, identity):
    """One case."""
    return (generate_msr if random.random() < 0.5 else generate_ports)(header, random, identity)
