# SPDX-License-Identifier: Apache-2.0
"""
Experiments of kind `intercept` with an instruction that the file names and whose bytes are in the guest's memory: does it fault,
exit, or complete, and what does the exit say of it?

    instruction   name -> bytes, operands as an exit describes them, registers and fields that they need
    controls      those that make the instruction exit, guest/host masks and read shadows, CR3 targets: on and off
    state         what may make it fault: privilege, CR4, mode

An instruction that would complete and then change what the next one needs (paging, an activity state, tables) is made to exit.
"""
import generate_intercept
import header as templates
import vectors

CR0_MASK, CR4_MASK, CR0_SHADOW, CR4_SHADOW = 0x6000, 0x6002, 0x6004, 0x6006
CR3_TARGET_COUNT, CR3_TARGETS = 0x400A, [0x6008, 0x600A, 0x600C, 0x600E]
GUEST_CR0, GUEST_CR3, GUEST_CR4, GUEST_RSP, GUEST_RIP, GUEST_DR7 = 0x6800, 0x6802, 0x6804, 0x681C, 0x681E, 0x681A
PDPTES = templates.CODE_PAGE + 0x700
GUEST_FS_BASE, GUEST_GS_BASE = 0x680E, 0x6810
PRIMARY, SECONDARY = templates.PRIMARY, templates.SECONDARY
CODE_OFFSET = 0x300

HLT, INVLPG, MWAIT, RDPMC, RDTSC, CR3_LOAD, CR3_STORE = 1 << 7, 1 << 9, 1 << 10, 1 << 11, 1 << 12, 1 << 15, 1 << 16
CR8_LOAD, CR8_STORE, MOV_DR, MONITOR, PAUSE = 1 << 19, 1 << 20, 1 << 23, 1 << 29, 1 << 30
TABLES, RDTSCP, WBINVD, RDRAND, INVPCID, RDSEED = 1 << 2, 1 << 3, 1 << 6, 1 << 11, 1 << 12, 1 << 16
CR4_TSD, CR4_DE, CR4_PCE, CR4_UMIP, CR4_VMXE, CR4_OSXSAVE = 1 << 2, 1 << 3, 1 << 8, 1 << 11, 1 << 13, 1 << 18

RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI = range(8)
NAMES = ["rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi"] + [f"r{n}" for n in range(8, 16)]
ES, CS, SS, DS, FS, GS = range(6)
SEGMENT_PREFIX = {FS: 0x64, GS: 0x65}

GUESTS = ["long64"] * 5 + ["long64-user"] * 2 + ["pae"] * 2 + ["pae-user", "paging32", "unpaged32", "unpaged32", "unpaged32-user",
                                                                "real", "v86"]


class Experiment(generate_intercept.Experiment):
    """One case while it is made."""

    def __init__(self, header, random, guest):
        super().__init__(header, random, guest, "base")
        self.registers, self.length = {}, 0

    @property
    def is_64bit(self):
        return self.guest.startswith("long64")

    @property
    def is_user(self):
        return self.guest.endswith("-user") or self.guest == "v86"

    def cpuid(self, leaf, register):
        return vectors.number(self.header["cpu"]["cpuid"].get(leaf, ["0x0"] * 4)[register])

    def flip_controls(self, field, bits):
        """One of these on or off, as far as the processor lets it."""
        low, high = templates.control_limits(self.header["cpu"], field)
        if self.random.random() < 0.6:
            self.fields[field] |= bits & high
        else:
            self.fields[field] &= ~bits | low

    def has(self, field, bits):
        return self.fields.get(field, 0) & bits == bits

    def force(self, field, bits):
        """Where the instruction must not complete; False: the processor cannot."""
        if not self.may_set(field, bits):
            return False
        self.fields[field] |= bits
        return True

    def gpr(self, exclude=(RSP,)):
        return self.random.choice([n for n in range(16 if self.is_64bit else 8) if n not in exclude])

    def set_gpr(self, number, value):
        if number == RSP:
            self.fields[GUEST_RSP] = value
        else:
            self.registers[NAMES[number]] = hex(value)

    def put(self, code):
        """The bytes, with VMCALL behind them."""
        self.start_at(CODE_OFFSET)
        self.length = len(code)
        for index, byte in enumerate(code + bytes.fromhex(templates.VMCALL_BYTES)):
            address = templates.CODE_PAGE + CODE_OFFSET + index
            shift = 8 * (address & 7)
            self.words[address & ~7] = self.words.get(address & ~7, 0) & ~(0xFF << shift) | byte << shift

    def finish_named(self, identity, op, **more):
        case = self.finish(identity, {"op": op, "length": self.length, **more})
        return {**case, "registers": self.registers} if self.registers else case


def extend(text, size):
    """Two's complement of a displacement in `size` bytes."""
    return (text & (1 << 8 * size) - 1).to_bytes(size, "little")


# ---- Encodings ----

class Encoding:
    """Prefixes, REX, ModRM and what follows, of an instruction with a register field and a register or memory operand."""

    def __init__(self, reg=0):
        self.rex, self.prefixes, self.reg = (reg >> 3) << 2, b"", reg & 7
        self.rm = b""
        self.operands = {}

    def join(self, opcode, wide=False):
        rex = self.rex | (8 if wide else 0)
        return self.prefixes + (bytes([0x40 | rex]) if rex else b"") + opcode + self.rm


def register_operand(number, reg=0):
    made = Encoding(reg)
    made.rex |= number >> 3
    made.rm = bytes([0xC0 | made.reg << 3 | number & 7])
    return made


def memory_operand(experiment, target, reg=0, exclude=(), code_length=0):
    """
    Any form of address that comes to `target`. `exclude`: registers with another use; `code_length`: bytes of the opcode,
    for an operand relative to RIP.
    """
    random, made = experiment.random, Encoding(reg)
    if generate_intercept.is_16bit(experiment.guest):
        made.rm = bytes([made.reg << 3 | 6]) + extend(target, 2)
        made.operands = {"address_size": 0, "segment": DS, "displacement": hex(sign(target, 2))}
        return made
    address_size = 1
    if experiment.is_64bit:
        address_size = 2
        if random.random() < 0.2 and target < 1 << 32:
            address_size, made.prefixes = 1, b"\x67"
    segment = choose_segment(experiment, made)
    if experiment.is_64bit and random.random() < 0.15 and abs(target) < 1 << 31:
        return relative_operand(experiment, made, target, address_size, segment, code_length)
    mask = (1 << (64 if address_size == 2 else 32)) - 1
    base, index = choose_base_and_index(experiment, exclude)
    scale = random.randrange(4) if index is not None else 0
    size = random.choice([0, 1, 4]) if base is not None else 4
    if size == 0 and base is not None and base & 7 == RBP:
        size = 1
    displacement = 0 if size == 0 else sign(random.getrandbits(8 * size), size)
    if base is None and index is None:
        if address_size == 2 and target >> 31 not in (0, (1 << 33) - 1):
            return memory_operand(experiment, target, reg, exclude, code_length)
        displacement = sign(target, 4)
    rest = target - displacement
    if index is not None:
        value = random.getrandbits(12) if base is not None else None
        if value is None:
            displacement = sign(target & (1 << scale) - 1, 4)
            value = (target - displacement & mask) >> scale
        experiment.set_gpr(index, value)
        rest = target - displacement - (value << scale)
    if base is not None:
        experiment.set_gpr(base, rest & mask)
    made.rm = address_bytes(made, base, index, scale, displacement, size)
    if segment is None:
        segment = SS if base in (RSP, RBP) else DS
    made.operands = {"address_size": address_size, "segment": segment, "displacement": hex(displacement & (1 << 64) - 1)}
    if base is not None:
        made.operands["base"] = base
    if index is not None:
        made.operands.update(index=index, scale=scale)
    return made


def sign(value, size):
    value &= (1 << 8 * size) - 1
    return value - (1 << 8 * size) if value >> 8 * size - 1 else value


def choose_segment(experiment, made):
    """FS or GS, whose bases are 0; the others are not looked at in 64-bit mode."""
    segment = experiment.random.choice([None] * 4 + [FS, GS])
    if segment is not None:
        made.prefixes += bytes([SEGMENT_PREFIX[segment]])
    return segment


def choose_base_and_index(experiment, exclude):
    random, count = experiment.random, 16 if experiment.is_64bit else 8
    base = random.choice([n for n in range(count) if n not in exclude]) if random.random() < 0.85 else None
    index = None
    if random.random() < 0.5:
        index = random.choice([n for n in range(count) if n not in exclude and n not in (RSP, base)])
    return base, index


def address_bytes(made, base, index, scale, displacement, size):
    """ModRM, SIB, displacement."""
    if base is None:
        tail = extend(displacement, 4)
        made.rex |= (index or 0) >> 3 << 1
        return bytes([made.reg << 3 | 4, scale << 6 | (RSP if index is None else index & 7) << 3 | 5]) + tail
    mod = {0: 0, 1: 1, 4: 2}[size]
    made.rex |= base >> 3
    tail = extend(displacement, size) if size else b""
    if index is None and base & 7 != RSP:
        return bytes([mod << 6 | made.reg << 3 | base & 7]) + tail
    made.rex |= (index or 0) >> 3 << 1
    middle = RSP if index is None else index & 7
    return bytes([mod << 6 | made.reg << 3 | 4, scale << 6 | middle << 3 | base & 7]) + tail


def relative_operand(experiment, made, target, address_size, segment, code_length):
    """Relative to RIP: the exit gives the sum."""
    length = len(made.prefixes) + bool(made.rex) + code_length + 5
    start = generate_intercept.CODE_BASE.get(generate_intercept.kind_of(experiment.guest), 0x400000) + CODE_OFFSET
    made.rm = bytes([made.reg << 3 | 5]) + extend(target - start - length, 4)
    made.operands = {"address_size": address_size, "segment": DS if segment is None else segment,
                     "displacement": hex(target & (1 << 64) - 1)}
    return made


# ---- Where operands are ----

def data_address(experiment, written=False):
    """Zeros that may be read, or written. The code page has some, and is near."""
    guest = generate_intercept.kind_of(experiment.guest)
    if guest in ("real", "v86"):
        return 0x600
    base = generate_intercept.CODE_BASE.get(guest, 0x400000)
    near = [base + 0x600, base + 0x610]
    return experiment.random.choice(near if written else [*near, generate_intercept.DATA[guest]])


def may_touch_memory(experiment):
    """The data of 16-bit guests has no page behind it."""
    return not generate_intercept.is_16bit(experiment.guest)


# ---- Instructions without operands ----

# op: bytes, control field and bit, must it exit if it does not fault?
SIMPLE = {
    "cpuid": ("0fa2", None, 0, False), "invd": ("0f08", None, 0, False), "xsetbv": ("0f01d1", None, 0, False),
    "vmcall": ("0f01c1", None, 0, False), "vmlaunch": ("0f01c2", None, 0, False), "vmresume": ("0f01c3", None, 0, False),
    "vmxoff": ("0f01c4", None, 0, False), "getsec": ("0f37", None, 0, False),
    "hlt": ("f4", PRIMARY, HLT, True), "rdpmc": ("0f33", PRIMARY, RDPMC, False), "rdtsc": ("0f31", PRIMARY, RDTSC, False),
    "rdtscp": ("0f01f9", PRIMARY, RDTSC, False), "monitor": ("0f01c8", PRIMARY, MONITOR, True),
    "mwait": ("0f01c9", PRIMARY, MWAIT, True), "pause": ("f390", PRIMARY, PAUSE, False),
    "wbinvd": ("0f09", SECONDARY, WBINVD, False),
}


def put_cr4(experiment, bits):
    """CR4 bits that make instructions exist, or fault."""
    for bit in bits:
        if experiment.random.random() < 0.5:
            experiment.fields[GUEST_CR4] |= bit


def simple(experiment, identity):
    op = experiment.random.choice(list(SIMPLE))
    code, field, bit, must_exit = SIMPLE[op]
    if op == "xsetbv" and experiment.cpuid("0x1.0", 2) & 1 << 26:
        put_cr4(experiment, [CR4_OSXSAVE])
    put_cr4(experiment, [CR4_TSD, CR4_PCE])
    if op == "rdtscp":
        experiment.flip_controls(SECONDARY, RDTSCP)
    if field is not None:
        experiment.flip_controls(field, bit)
        if must_exit and not experiment.force(field, bit):
            return None
    experiment.put(bytes.fromhex(code))
    return experiment.finish_named(identity, op)


# ---- Memory operands ----

# op: opcode, register field; whether it also has a second register
MEMORY = {"vmclear": ("66", "0fc7", 6), "vmptrld": ("", "0fc7", 6), "vmptrst": ("", "0fc7", 7), "vmxon": ("f3", "0fc7", 6)}
TABLE_OPS = {"sgdt": 0, "sidt": 1, "lgdt": 2, "lidt": 3}
SEGMENT_OPS = {"sldt": 0, "str": 1, "lldt": 2, "ltr": 3}
REG2_OPS = {"invept": ("66", "0f3880"), "invvpid": ("66", "0f3881"), "invpcid": ("66", "0f3882")}


def with_prefix(prefix, made, opcode, wide=False):
    return bytes.fromhex(prefix) + made.join(bytes.fromhex(opcode), wide)


def pointer_instruction(experiment, identity):
    op = experiment.random.choice(list(MEMORY))
    prefix, opcode, reg = MEMORY[op]
    made = memory_operand(experiment, data_address(experiment), reg, code_length=len(prefix) // 2 + 2)
    experiment.put(with_prefix(prefix, made, opcode))
    return experiment.finish_named(identity, op, operands=made.operands)


def table_instruction(experiment, identity):
    op = experiment.random.choice(list(TABLE_OPS))
    experiment.flip_controls(SECONDARY, TABLES)
    put_cr4(experiment, [CR4_UMIP] if experiment.cpuid("0x7.0", 2) & 4 else [])
    if not may_touch_memory(experiment) and not experiment.force(SECONDARY, TABLES):
        return None
    made = memory_operand(experiment, data_address(experiment, op in ("sgdt", "sidt")), TABLE_OPS[op], code_length=2)
    size = 2 if experiment.is_64bit else 0 if generate_intercept.is_16bit(experiment.guest) else 1
    experiment.put(made.join(b"\x0f\x01"))
    return experiment.finish_named(identity, op, operands={**made.operands, "operand_size": size})


def segment_instruction(experiment, identity):
    random = experiment.random
    op = random.choice(list(SEGMENT_OPS))
    experiment.flip_controls(SECONDARY, TABLES)
    put_cr4(experiment, [CR4_UMIP] if experiment.cpuid("0x7.0", 2) & 4 else [])
    if op in ("lldt", "ltr") and not experiment.is_user and not experiment.force(SECONDARY, TABLES):
        return None
    if random.random() < 0.5 or not may_touch_memory(experiment):
        register = experiment.gpr()
        made = register_operand(register, SEGMENT_OPS[op])
        made.operands = {"register_form": True, "register1": register}
    else:
        made = memory_operand(experiment, data_address(experiment, op in ("sldt", "str")), SEGMENT_OPS[op], code_length=2)
    experiment.put(made.join(b"\x0f\x00"))
    return experiment.finish_named(identity, op, operands=made.operands)


def invalidation(experiment, identity):
    op = experiment.random.choice(list(REG2_OPS))
    prefix, opcode = REG2_OPS[op]
    if op == "invpcid":
        experiment.flip_controls(SECONDARY, INVPCID)
        experiment.flip_controls(PRIMARY, INVLPG)
        if not may_touch_memory(experiment) and not experiment.force(PRIMARY, INVLPG):
            return None
    register = experiment.gpr()
    made = memory_operand(experiment, data_address(experiment), register, exclude=(register,), code_length=4)
    experiment.put(with_prefix(prefix, made, opcode))
    return experiment.finish_named(identity, op, operands={**made.operands, "register2": register})


def field_instruction(experiment, identity):
    random = experiment.random
    op, opcode = random.choice([("vmread", b"\x0f\x78"), ("vmwrite", b"\x0f\x79")])
    register = experiment.gpr()
    if random.random() < 0.5:
        other = experiment.gpr()
        made = register_operand(other, register)
        made.operands = {"register_form": True, "register1": other}
    else:
        made = memory_operand(experiment, data_address(experiment), register, exclude=(register,), code_length=2)
    experiment.put(made.join(opcode))
    return experiment.finish_named(identity, op, operands={**made.operands, "register2": register})


def random_number(experiment, identity):
    op = experiment.random.choice(["rdrand", "rdseed"])
    register, field = experiment.gpr(), {"rdrand": RDRAND, "rdseed": RDSEED}[op]
    experiment.flip_controls(SECONDARY, field)
    made = register_operand(register, {"rdrand": 6, "rdseed": 7}[op])
    size = experiment.random.choice([0, 1, 2] if experiment.is_64bit else [0, 1])
    prefix = (size == 0) != generate_intercept.is_16bit(experiment.guest)
    experiment.put((b"\x66" if prefix else b"") + made.join(b"\x0f\xc7", size == 2))
    operands = {"register_form": True, "register1": register, "operand_size": size}
    return experiment.finish_named(identity, op, operands=operands)


def invlpg(experiment, identity):
    experiment.flip_controls(PRIMARY, INVLPG)
    target = data_address(experiment)
    made = memory_operand(experiment, target, 7, code_length=2)
    experiment.put(made.join(b"\x0f\x01"))
    return experiment.finish_named(identity, "invlpg", linear=hex(target))


# ---- Control and debug registers ----

CR0_TOGGLES = [1 << 1, 1 << 2, 1 << 3, 1 << 4, 1 << 5, 1 << 6, 1 << 16, 1 << 17, 1 << 18, 1 << 19, 1 << 28, 1 << 29, 3 << 29]
CR4_TOGGLES = [1 << 0, 1 << 1, 1 << 2, 1 << 3, 1 << 6, 1 << 7, 1 << 8, 1 << 9, 1 << 10, 1 << 11, 1 << 13, 1 << 15, 1 << 16, 1 << 18,
               1 << 20, 1 << 21, 1 << 31]


def put_masks(experiment, mask, shadow, register):
    """Some bits belong to the host, and what the guest sees of them is right, or wrong in some."""
    random = experiment.random
    toggles = CR0_TOGGLES if mask == CR0_MASK else CR4_TOGGLES
    bits = 0
    for bit in toggles + [1, 1 << 31]:
        bits |= bit if random.random() < 0.25 else 0
    if random.random() < 0.6:
        experiment.fields[mask] = bits
    value = experiment.fields.get(register, 0)
    if random.random() < 0.4:
        value ^= random.choice(toggles)
    experiment.fields[shadow] = value


def visible(experiment, mask, shadow, register):
    host = experiment.fields.get(mask, 0)
    return experiment.fields.get(register, 0) & ~host | experiment.fields.get(shadow, 0) & host


def cr_code(opcode, cr, gpr):
    rex = (gpr >> 3) | (cr >> 3) << 2
    return (bytes([0x40 | rex]) if rex else b"") + bytes([0x0F, opcode, 0xC0 | (cr & 7) << 3 | gpr & 7])


def write_cr0_or_cr4(experiment, identity, cr):
    random = experiment.random
    mask, shadow, register = {0: (CR0_MASK, CR0_SHADOW, GUEST_CR0), 4: (CR4_MASK, CR4_SHADOW, GUEST_CR4)}[cr]
    put_masks(experiment, mask, shadow, register)
    value = visible(experiment, mask, shadow, register)
    for _ in range(random.choice([0, 1, 1, 2])):
        value ^= random.choice(CR0_TOGGLES if cr == 0 else CR4_TOGGLES)
    # Paging and protection stay as they are: the next instruction has to be found.
    keep = (1 | 1 << 31) if cr == 0 else (1 << 4 | 1 << 5 | 1 << 12 | 1 << 17 | 1 << 22 | 1 << 23)
    seen = experiment.fields.get(mask, 0)
    value = value & ~(keep & ~seen) | experiment.fields.get(register, 0) & keep & ~seen
    gpr = experiment.gpr()
    value &= (1 << 64) - 1 if experiment.is_64bit else 0xFFFFFFFF
    experiment.set_gpr(gpr, value)
    experiment.put(cr_code(0x22, cr, gpr))
    return experiment.finish_named(identity, "mov_to_cr", register=cr, gpr=gpr, value=hex(value))


def write_cr3(experiment, identity):
    random = experiment.random
    experiment.flip_controls(PRIMARY, CR3_LOAD)
    current = experiment.fields.get(GUEST_CR3, 0)
    value = random.choice([current, current ^ 8, current ^ 0x10, current ^ 0x18])
    if random.random() < 0.2 and experiment.is_64bit:
        value |= random.choice([1 << 51, 1 << 56, 1 << 63])
    targets = [random.choice([value, value ^ 8, value ^ 0x1000, 0]) for _ in CR3_TARGETS]
    experiment.fields[CR3_TARGET_COUNT] = random.choice([0, 1, 2, 3, 4])
    for field, target in zip(CR3_TARGETS, targets):
        experiment.fields[field] = target
    gpr = experiment.gpr()
    experiment.set_gpr(gpr, value)
    experiment.put(cr_code(0x22, 3, gpr))
    return experiment.finish_named(identity, "mov_to_cr", register=3, gpr=gpr, value=hex(value))


def cr8(experiment, identity):
    """Neither value nor effect of the TPR: it belongs to the machine."""
    gpr = experiment.gpr()
    if experiment.random.random() < 0.5:
        experiment.flip_controls(PRIMARY, CR8_LOAD)
        value = experiment.random.choice([0, 0, 0x10, 1 << 63])
        if experiment.has(PRIMARY, CR8_LOAD):
            value = experiment.random.getrandbits(64)
        experiment.set_gpr(gpr, value)
        experiment.put(cr_code(0x22, 8, gpr))
        return experiment.finish_named(identity, "mov_to_cr", register=8, gpr=gpr, value=hex(value))
    experiment.flip_controls(PRIMARY, CR8_STORE)
    experiment.put(cr_code(0x20, 8, gpr))
    return experiment.finish_named(identity, "mov_from_cr", register=8, gpr=gpr)


def put_pdptes(experiment):
    """Where CR3 leads is what the guest has, or no memory at all."""
    if experiment.guest.startswith("pae") and experiment.random.random() < 0.7:
        for index in range(4):
            experiment.words[PDPTES + 8 * index] = experiment.fields.get(0x280A + 2 * index, 0)
        experiment.fields[GUEST_CR3] = PDPTES


def write_cr(experiment, identity):
    put_pdptes(experiment)
    if generate_intercept.is_16bit(experiment.guest):
        return write_cr0_or_cr4(experiment, identity, experiment.random.choice([0, 4]))
    cr = experiment.random.choice([0, 0, 3, 3, 4, 4, 8] if experiment.is_64bit else [0, 3, 4])
    if cr == 8:
        return cr8(experiment, identity)
    return write_cr3(experiment, identity) if cr == 3 else write_cr0_or_cr4(experiment, identity, cr)


def read_cr(experiment, identity):
    cr = experiment.random.choice([0, 3, 4])
    put_masks(experiment, CR0_MASK, CR0_SHADOW, GUEST_CR0)
    put_masks(experiment, CR4_MASK, CR4_SHADOW, GUEST_CR4)
    experiment.flip_controls(PRIMARY, CR3_STORE)
    gpr = experiment.random.randrange(16 if experiment.is_64bit else 8)
    experiment.put(cr_code(0x20, cr, gpr))
    return experiment.finish_named(identity, "mov_from_cr", register=cr, gpr=gpr)


def machine_status(experiment, identity):
    """CLTS, LMSW, SMSW."""
    random = experiment.random
    put_masks(experiment, CR0_MASK, CR0_SHADOW, GUEST_CR0)
    put_pdptes(experiment)
    what = random.choice(["clts", "lmsw", "lmsw", "lmsw", "smsw"])
    if what == "clts":
        experiment.put(b"\x0f\x06")
        return experiment.finish_named(identity, what)
    gpr = experiment.gpr()
    if what == "smsw":
        if not experiment.is_64bit:  # otherwise the upper bits are undefined
            return None
        experiment.put(register_operand(gpr, 4).join(b"\x0f\x01", wide=True))
        return experiment.finish_named(identity, what, gpr=gpr)
    value = experiment.fields.get(GUEST_CR0, 0) & 0xE | random.choice([0, 1]) ^ random.choice([0, 0, 2, 4, 8])
    value |= random.choice([0, 0xFFF0])
    if generate_intercept.is_16bit(experiment.guest):
        value &= ~1  # the next instruction is one of real mode
    if random.random() < 0.5:
        experiment.set_gpr(gpr, value)
        experiment.put(register_operand(gpr, 6).join(b"\x0f\x01"))
        return experiment.finish_named(identity, what, value=hex(value))
    return lmsw_memory(experiment, identity, value)


def lmsw_memory(experiment, identity, value):
    base = {"unpaged32": 0x2009000, "real": 0, "v86": 0}.get(generate_intercept.kind_of(experiment.guest), 0x400000)
    if base == 0:
        return None
    experiment.words[templates.CODE_PAGE + 0x620] = value
    made = memory_operand(experiment, base + 0x620, 6, code_length=2)
    experiment.put(made.join(b"\x0f\x01"))
    return experiment.finish_named(identity, "lmsw", value=hex(value), linear=hex(base + 0x620))


def debug_register(experiment, identity):
    """The debug registers belong to the machine: what completes leaves them as they are after a reset."""
    random = experiment.random
    experiment.flip_controls(PRIMARY, MOV_DR)
    put_cr4(experiment, [CR4_DE])
    if random.random() < 0.2:
        experiment.fields[GUEST_DR7] = 0x2400
    dr, gpr, neutral = random.randrange(8), experiment.gpr(), {4: 0xFFFF0FF0, 6: 0xFFFF0FF0, 5: 0x400, 7: 0x400}
    if random.random() < 0.5:
        value = neutral.get(dr, 0)
        if dr >= 4 and experiment.is_64bit and random.random() < 0.3:
            value |= 1 << random.randrange(32, 64)
        experiment.set_gpr(gpr, value)
        experiment.put(cr_code(0x23, dr, gpr))
        return experiment.finish_named(identity, "mov_to_dr", register=dr, gpr=gpr, value=hex(value))
    experiment.put(cr_code(0x21, dr, gpr))
    return experiment.finish_named(identity, "mov_from_dr", register=dr, gpr=gpr)


# ---- What generate_intercept.py has, with length and information of the instruction ----

def ports_and_msrs(experiment, identity):
    random, header = experiment.random, experiment.header
    while True:
        case = generate_intercept.generate(header, random, identity)
        op = case["instruction"]["op"]
        if op in ("rdmsr", "wrmsr"):
            return {**case, "instruction": {**case["instruction"], "length": 2}}
        guest = generate_intercept.kind_of(case["vmcs"][0])
        if guest in ("real", "v86"):
            continue
        rip = vectors.fields(header, case)[GUEST_RIP] % 0x1000
        word = vectors.words(header, case).get(templates.CODE_PAGE + rip, 0).to_bytes(8, "little")
        length = word.index(bytes.fromhex(templates.VMCALL_BYTES))
        more = {"length": length}
        if op in ("ins", "outs"):
            more.update(address_size=2 if guest == "long64" else 1, segment=ES if op == "ins" else DS)
        return {**case, "instruction": {**case["instruction"], **more}}


MAKERS = [(simple, 6), (pointer_instruction, 3), (table_instruction, 4), (segment_instruction, 3), (invalidation, 4),
          (field_instruction, 3), (random_number, 3), (invlpg, 2), (write_cr, 6), (read_cr, 2), (machine_status, 4),
          (debug_register, 3), (ports_and_msrs, 3)]


def generate(header, random, identity):
    """One case."""
    functions, weights = zip(*MAKERS)
    while True:
        make = random.choices(functions, weights)[0]
        experiment = Experiment(header, random, random.choice(GUESTS))
        experiment.fields.pop(GUEST_FS_BASE, None)
        experiment.fields.pop(GUEST_GS_BASE, None)
        case = make(experiment, identity)
        if case is not None:
            return case
