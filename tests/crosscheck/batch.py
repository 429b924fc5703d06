# SPDX-License-Identifier: Apache-2.0
"""Batches for the payload, and answers out of what it prints. docs/vectors.md has the experiments, payload/batch.c the layout.

    layout = Layout(header)
    refuse(layout, case)          why a case cannot be run on a machine, or None
    encode(layout, numbered)      the binary batch of (number, case) pairs
    decode(layout, case, line)    the answer in a line that the payload printed, in the shape of `expect`
"""

import collections
import copy
import struct

MAGIC = b"vmxbatch"
VERSION = 2
KIND_GUEST, KIND_INSTRUCTIONS, KIND_CAPTURE, KIND_EXAMPLE = range(4)
FLAG_LAUNCHED, FLAG_RESUME, FLAG_REPORT_MEMORY, FLAG_LANDING, FLAG_REPORT_REGISTERS = 1, 2, 4, 8, 16

PAGE = 0x1000
MASK64 = (1 << 64) - 1
FRAME = 0x000ffffffffff000
# The payload's own memory: itself; the batch and its heap (payload/boot.h).
RESERVED = [(0x200000, 0x300000), (0x60000000, 0x80000000), (0x9f000, 0x100000)]

FIELD_EPTP, FIELD_PML, FIELD_VE = 0x201a, 0x200e, 0x202a
FIELD_EXIT_STORE = 0x2006
FIELD_PRIMARY, FIELD_SECONDARY, FIELD_ENTRY = 0x4002, 0x401e, 0x4012
FIELD_INJECT = 0x4016
FIELD_CR3, FIELD_RIP, FIELD_CS_BASE, FIELD_CS_ACCESS = 0x6802, 0x681e, 0x6808, 0x4816
FIELD_GUEST_CR4, CR4_PAE = 0x6804, 0x20
FIELD_HOST_CR3, FIELD_HOST_RIP, FIELD_HOST_RSP = 0x6c02, 0x6c16, 0x6c14
# Pages that hardware writes: PML, virtualization exceptions, MSRs stored, virtual-APIC and APIC-access page.
PAGE_FIELDS = [FIELD_PML, FIELD_VE, FIELD_EXIT_STORE, 0x2012, 0x2014]

GPRS = ["rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi"] + [f"r{i}" for i in range(8, 16)]
# Where the guest's code finds address and value of its first, second and third data access.
ACCESS_REGISTERS = [("rbx", "rax"), ("rsi", "rcx"), ("rdi", "rdx")]

STEPS = ["vmxon", "vmxoff", "vmclear", "vmptrld", "vmptrst", "vmread", "vmwrite", "vmlaunch", "vmresume", "vmcall",
         "vmfunc", "invept", "invvpid", "poke", "peek", "set_cr0", "set_cr4", "wrmsr", "rdmsr", "fill"]

ACCESS_TYPES = ("fetch", "read", "write", "rmw")
ROUND_STEPS = ("poke", "invept", "invvpid")
GUEST_STEPS = ("invlpg", "mov_to_cr3")  # of the guest, between its accesses; the code is in memory like that of accesses
CR3_REGISTER = "rbp"

RESULT_NOT_RUNNABLE = "not_runnable"
NEVER_BACK = "the guest did not come back by itself"


def number(text):
    """An integer of a vector: a hexadecimal string, or a JSON number."""
    return int(text, 16) if isinstance(text, str) else text


def numbers(mapping):
    return {number(key): number(value) for key, value in mapping.items()}


def hexadecimal(value):
    return f"{value:#x}"


def not_runnable(reason):
    return {"result": RESULT_NOT_RUNNABLE, "reason": reason}


# ---- What a header says, once for all of its cases ----

class Layout:
    """A header with its templates as numbers, and the memory that is the payload's."""

    def __init__(self, header):
        self.header = header
        self.vmcs = {name: numbers(template) for name, template in header["vmcs"].items()}
        self.memory = {name: numbers(template) for name, template in header["memory"].items()}
        self.roots = list(header.get("root") or {"default": None})
        self.ram = [(number(start), number(start) + number(length)) for start, length in header["ram"]]
        self.fields = writable_fields(header)
        self.landings = self._landings()
        self.landing_frames = {value & 0xffffffff & ~(PAGE - 1) for pair in self.landings for value in pair}
        self.regions = {number(header["vmxon_pointer"]), number(header["vmcs_pointer"])}
        self.template_pages = {name: {address & ~(PAGE - 1) for address in words}
                               for name, words in self.memory.items()}

    def _landings(self):
        """HOST_RIP and HOST_CR3 of the templates: there the payload must be when the guest exits."""
        return sorted({(fields[FIELD_HOST_RIP], fields.get(FIELD_HOST_CR3, 0))
                       for fields in self.vmcs.values() if FIELD_HOST_RIP in fields})

    def in_ram(self, address):
        return any(start <= address < end for start, end in self.ram)

    def is_usable(self, address):
        """Memory, and not the payload's."""
        return self.in_ram(address) and not is_reserved(address) and address & ~(PAGE - 1) not in self.landing_frames

    def fields_of(self, case):
        """All fields that the case gives a value: {encoding: value}."""
        template, changes = case["vmcs"]
        return {**self.vmcs[template], **numbers(changes)}


def writable_fields(header):
    """Encodings that a template writes: all that exist, without the read-only ones (type 1) and host RSP."""
    fields = [number(field) for field in header["cpu"]["vmcs_fields"]]
    return [field for field in fields if field >> 10 & 3 != 1 and field != FIELD_HOST_RSP]


def is_reserved(address):
    return any(start <= address < end for start, end in RESERVED)


# ---- The accesses of a case, in rounds ----

def rounds_of(case):
    """[(steps before it, accesses)]: the guest makes the accesses of a round, VMX root operation the steps between two."""
    rounds, steps, accesses = [], [], []
    for entry in case.get("accesses", []):
        if entry["type"] in ACCESS_TYPES + GUEST_STEPS:
            accesses.append(entry)
            continue
        if accesses:
            rounds.append((steps, accesses))
            steps, accesses = [], []
        steps.append(entry)
    return rounds + [(steps, accesses)]


def data_of(accesses):
    return [access for access in accesses if access["type"] in ("read", "write", "rmw")]


# ---- Which pages a guest may change ----

class Reach:
    """
    Where an access of a case can end if nothing stops it: a walk that asks for no rights and sees no reserved bit.

        linear --guest's tables--> guest-physical --EPT--> host-physical
                     `-- each table's own address --EPT--'
    """

    def __init__(self, layout, case, changes, fields):
        self.layout, self.fields = layout, fields
        self.template, self.changes = layout.memory[case["memory"][0]], changes

    def field(self, encoding):
        return self.fields.get(encoding, 0)

    def word(self, hpa):
        return self.changes.get(hpa, self.template.get(hpa, 0))

    def byte(self, hpa):
        return self.word(hpa & ~7) >> 8 * (hpa & 7) & 0xff

    def ept(self, gpa):
        """Host-physical address, or None."""
        if not (self.field(FIELD_PRIMARY) >> 31 & 1 and self.field(FIELD_SECONDARY) >> 1 & 1):
            return gpa
        table = self.field(FIELD_EPTP)
        for level in range(table >> 3 & 7, -1, -1):
            shift = 12 + 9 * level
            entry = self.word((table & FRAME) + (gpa >> shift & 511) * 8)
            if level == 0 or level < 3 and entry & 0x80:
                return entry & FRAME & -(1 << shift) | gpa & (1 << shift) - 1
            if not entry & 0x407:
                return None
            table = entry
        return None

    def tables(self, linear, table, top, bits, size):
        """Guest-physical address by `top` + 1 levels of tables with 1 << bits entries of `size` bytes, or None."""
        for level in range(top, -1, -1):
            shift = 12 + bits * level
            hpa = self.ept((table & FRAME) + (linear >> shift & (1 << bits) - 1) * size)
            if hpa is None:
                return None
            entry = self.word(hpa & ~7) >> 8 * (hpa & 7) & (1 << 8 * size) - 1
            if not entry & 1:
                return None
            if level == 0 or entry & 0x80 and level < 3:
                high = (entry >> 13 & 0xff) << 32 if size == 4 and level else 0
                return (entry | high) & FRAME & -(1 << shift) | linear & (1 << shift) - 1
            table = entry
        return None

    def guest(self, linear):
        """Guest-physical address, or None."""
        cr0, cr3, cr4 = (self.field(encoding) for encoding in (0x6800, FIELD_CR3, FIELD_GUEST_CR4))
        if not cr0 >> 31 & 1:
            return linear & 0xffffffff
        if self.field(FIELD_ENTRY) & 0x200:
            return self.tables(linear, cr3, 4 if cr4 >> 12 & 1 else 3, 9, 8)
        linear &= 0xffffffff
        if not cr4 & CR4_PAE:
            return self.tables(linear, cr3, 1, 10, 4)
        return self.tables(linear & 0x3fffffff, self.field(0x280a + 2 * (linear >> 30)), 1, 9, 8)

    def after(self, changes):
        """The same with words changed."""
        other = copy.copy(self)
        other.changes = {**self.changes, **changes}
        return other

    def stored(self, access):
        """What a write that crosses no quadword stores: {address: quadword}."""
        gpa = self.guest(number(access["linear"]))
        hpa = None if gpa is None else self.ept(gpa)
        if hpa is None or (hpa & 7) + access["size"] > 8:
            return {}
        shift, mask = 8 * (hpa & 7), (1 << 8 * access["size"]) - 1
        return {hpa & ~7: self.word(hpa & ~7) & ~(mask << shift) | (number(access["value"]) & mask) << shift}

    def pages(self, linear, size):
        found = set()
        for address in (linear, linear + size - 1):
            gpa = self.guest(address & MASK64)
            hpa = None if gpa is None else self.ept(gpa)
            found |= set() if hpa is None else {hpa & ~(PAGE - 1)}
        return found


def touched_pages(layout, case, changes, fields):
    """A superset of the pages that hardware may write on behalf of the guest."""
    reach = Reach(layout, case, dict(changes), fields)
    pages = layout.template_pages[case["memory"][0]] | {address & ~(PAGE - 1) for address in changes}
    pages |= {fields.get(field, 0) & FRAME for field in PAGE_FIELDS}
    # What was cached before a change may be used after it.
    seen = [reach]
    for steps, accesses in rounds_of(case):
        for poke in (step for step in steps if step["type"] == "poke"):
            pages |= {number(poke["address"]) & ~(PAGE - 1)}
            seen.append(seen[-1].after({number(poke["address"]): number(poke["value"])}))
        for access in (access for access in accesses if access["type"] in ACCESS_TYPES):
            for now in seen:
                pages |= now.pages(number(access["linear"]), access["size"])
            if access["type"] == "write" and len(rounds_of(case)[0][1]) > 2:
                seen.append(seen[-1].after(seen[-1].stored(access)))
    if "linear" in case.get("instruction", {}):
        pages |= reach.pages(number(case["instruction"]["linear"]), PAGE)
    return {page for page in pages if layout.is_usable(page)} - layout.regions


# ---- Why a case cannot be run ----

def refuse_round(layout, steps, accesses):
    if not accesses or accesses[0]["type"] != "fetch":
        return "a round of accesses does not begin with the fetch of an instruction"
    if len(data_of(accesses)) > len(ACCESS_REGISTERS):
        return "more data accesses than registers for them"
    for step in accesses:
        if step["type"] == "invlpg" and step["linear"] not in (access["linear"] for access in data_of(accesses)):
            return "INVLPG of an address that no access of its round has in a register"
    for step in steps:
        if step["type"] not in ROUND_STEPS:
            return f"no such access: {step['type']}"
        if step["type"] == "poke" and (number(step["address"]) & 7 or not layout.is_usable(number(step["address"]))):
            return f"no word that can be changed at {step['address']}"
    return None


def refuse_access(layout, fields, case):
    rounds = rounds_of(case)
    for steps, accesses in rounds:
        reason = refuse_round(layout, steps, accesses)
        if reason:
            return reason
    steps, accesses = rounds[0]
    start = fields.get(FIELD_CS_BASE, 0) + fields.get(FIELD_RIP, 0)
    is_64 = fields.get(FIELD_ENTRY, 0) & 0x200 and fields.get(FIELD_CS_ACCESS, 0) & 0x2000
    start &= MASK64 if is_64 else 0xffffffff
    if steps or number(accesses[0]["linear"]) != start:
        return "the first access is not the fetch of the guest's first instruction"
    if fields.get(FIELD_INJECT, 0) >> 31 & 1:
        return "the VM entry injects an event"
    return None


def refuse_memory(layout, addresses):
    for address in addresses:
        if not layout.in_ram(address):
            return f"there is no memory at {address:#x}"
        if not layout.is_usable(address):
            return f"memory at {address:#x} belongs to the payload"
    return None


def refuse(layout, case):
    """None, or why no machine can run this case in the payload."""
    if case["kind"] not in ("access", "entry", "event", "intercept", "instructions"):
        return f"no such kind: {case['kind']}"
    template, changes = case["memory"]
    reason = refuse_memory(layout, layout.template_pages[template]) or refuse_memory(layout, numbers(changes))
    if reason is None and case["kind"] == "access":
        return refuse_access(layout, layout.fields_of(case), case)
    return reason


# ---- Encoding ----

class Pages:
    """The pages that the cases of one batch use; words are named by page and place in it."""

    def __init__(self, layout):
        self.layout = layout
        self.numbers = {}
        for region in sorted(layout.regions):
            self.page(region)

    def page(self, address):
        return self.numbers.setdefault(address & ~(PAGE - 1), len(self.numbers))

    def words(self, mapping):
        return b"".join(struct.pack("<IQ", self.page(address) << 9 | (address & (PAGE - 1)) >> 3, value)
                        for address, value in mapping.items())

    def list(self, pages):
        return struct.pack(f"<H{len(pages)}H", len(pages), *(self.page(page) for page in sorted(pages)))


def encode_fields(mapping):
    changes = [(number(field), number(value)) for field, value in mapping.items() if number(field) != FIELD_HOST_RSP]
    return struct.pack("<H", len(changes)) + b"".join(struct.pack("<IQ", *change) for change in changes)


def access_registers(accesses):
    registers = {}
    for access, (address, value) in zip(data_of(accesses), ACCESS_REGISTERS):
        registers[address] = number(access["linear"])
        registers[value] = number(access.get("value", 0))
    for step in accesses:
        if step["type"] == "mov_to_cr3":
            registers[CR3_REGISTER] = number(step["value"])
    return registers


def encode_registers(registers):
    return struct.pack("<B", len(registers)) + b"".join(
        struct.pack("<BQ", GPRS.index(name), value & MASK64) for name, value in registers.items())


def encode_round_step(step):
    if step["type"] == "poke":
        operands = number(step["address"]), number(step["value"]), 0
    else:
        operands = number(step["scope"]), *map(number, step["descriptor"])
    return struct.pack("<BQQQ", ROUND_STEPS.index(step["type"]), *operands)


def encode_round(layout, case, steps, accesses):
    rip = number(accesses[0]["linear"]) - layout.fields_of(case).get(FIELD_CS_BASE, 0)
    registers = {**access_registers(accesses), **numbers_of_names(case.get("registers", {}))}
    return b"".join([struct.pack("<B", len(steps)), *map(encode_round_step, steps),
                     struct.pack("<Q", rip & MASK64), encode_registers(registers)])


def numbers_of_names(mapping):
    return {name: number(value) for name, value in mapping.items()}


def registers_of(case):
    """General-purpose registers at the guest's first instruction; `registers` of the case overrides."""
    registers = access_registers(rounds_of(case)[0][1])
    registers.update(instruction_registers(case.get("instruction", {})) if case["kind"] == "intercept" else {})
    registers.update(numbers_of_names(case.get("registers", {})))
    return registers


def instruction_registers(instruction):
    op = instruction.get("op")
    if op in ("rdmsr", "wrmsr"):
        value = number(instruction.get("value", 0))
        return {"rcx": number(instruction["msr"]), "rax": value & 0xffffffff, "rdx": value >> 32}
    if op in ("in", "out"):
        return {"rdx": number(instruction["port"]), "rax": number(instruction.get("value", 0))}
    if op in ("ins", "outs"):
        linear = number(instruction["linear"])
        return {"rdx": number(instruction["port"]), "rdi": linear, "rsi": linear,
                "rcx": number(instruction.get("count", 1))}
    return {}


def with_immediate(layout, case, changes, fields):
    """The changes with the port in the guest's first instruction, if that is IN or OUT with an immediate port."""
    instruction = case.get("instruction")
    if case["kind"] != "intercept" or not instruction.get("immediate"):
        return changes
    reach = Reach(layout, case, changes, fields)
    gpa = reach.guest(fields.get(FIELD_CS_BASE, 0) + fields.get(FIELD_RIP, 0))
    hpa = None if gpa is None else reach.ept(gpa)
    if hpa is None:
        return changes
    place = hpa + 1 + (reach.byte(hpa) == 0x66)
    shift = 8 * (place & 7)
    word = reach.word(place & ~7) & ~(0xff << shift)
    return {**changes, place & ~7: word | number(instruction["port"]) << shift}


def own_landing(layout, case, changes, fields):
    """(HOST_RIP, HOST_CR3) that are the case's own, 0 for what its template has; None: nothing is, or there is no room."""
    template = layout.vmcs[case["vmcs"][0]]
    pair = tuple(0 if fields.get(field, 0) == template.get(field, 0) else fields.get(field, 0) & MASK64
                 for field in (FIELD_HOST_RIP, FIELD_HOST_CR3))
    used = {address & ~(PAGE - 1) for address in changes} | layout.template_pages[case["memory"][0]] | layout.regions
    places = {value & 0xffffffff & ~(PAGE - 1) for value in pair if value}
    return pair if places and not places & used and all(map(layout.is_usable, places)) else None


def reports_registers(case):
    """Of an event, and of an instruction whose length is known, the answer says what has changed."""
    return case["kind"] == "event" or "length" in case.get("instruction", {})


def encode_guest(pages, case):
    layout = pages.layout
    fields = layout.fields_of(case)
    changes = with_immediate(layout, case, numbers(case["memory"][1]), fields)
    flags = FLAG_REPORT_MEMORY if case["kind"] in ("access", "event") else 0
    flags |= FLAG_REPORT_REGISTERS if reports_registers(case) else 0
    flags |= FLAG_LAUNCHED if case.get("launch_state") == "launched" else 0
    flags |= FLAG_RESUME if case.get("instruction") == "vmresume" else 0
    landing = own_landing(layout, case, changes, fields)
    flags |= FLAG_LANDING if landing else 0
    rounds = rounds_of(case)[1:]
    return b"".join([
        struct.pack("<BBBBBIQQ", KIND_GUEST, flags, list(layout.vmcs).index(case["vmcs"][0]),
                    list(layout.memory).index(case["memory"][0]), layout.roots.index(case.get("root", "default")),
                    number(case.get("pkru", 0)), *(landing or (0, 0))),
        encode_registers(registers_of(case)),
        encode_fields(case["vmcs"][1]),
        pages.list(touched_pages(layout, case, changes, fields)),
        struct.pack("<H", len(changes)), pages.words(changes),
        struct.pack("<B", len(rounds)), *(encode_round(layout, case, *one) for one in rounds),
    ])


def step_operands(layout, step):
    op = step["op"]
    get = lambda key: number(step.get(key, 0)) & MASK64
    if op in ("vmread", "vmwrite"):
        return get("field"), get("value"), 0
    if op in ("wrmsr", "rdmsr"):
        return get("msr"), get("value"), 0
    if op in ("invept", "invvpid"):
        low, high = map(number, step["descriptor"])
        return get("type"), low, high
    if op in ("poke", "peek"):
        return get("address"), step["size"], get("value")
    if op in ("set_cr0", "set_cr4"):
        return get("value"), 0, 0
    if op == "fill":
        return 0, 0, 0
    if op == "vmfunc":
        return get("function"), get("index"), 0
    return get("address"), 0, 0


def encode_step(layout, step):
    # Fields that the template does not name keep their values, unlike in a case that starts from a template.
    changes = layout.fields_of(step) if step["op"] == "fill" else {}
    return struct.pack("<BQQQ", STEPS.index(step["op"]), *step_operands(layout, step)) + encode_fields(changes)


def encode_instructions(pages, case):
    layout = pages.layout
    template, changes = case["memory"][0], numbers(case["memory"][1])
    used = layout.template_pages[template] | {address & ~(PAGE - 1) for address in changes} | layout.regions
    for step in case["steps"]:
        used |= {number(step.get(key, 0)) & FRAME for key in ("address", "value")}
    used = {page for page in used if layout.is_usable(page)}
    return b"".join([
        struct.pack("<BBB", KIND_INSTRUCTIONS, layout.roots.index(case.get("root", "default")),
                    list(layout.memory).index(template)),
        pages.list(used),
        struct.pack("<H", len(changes)), pages.words(changes),
        struct.pack("<H", len(case["steps"])), b"".join(encode_step(layout, step) for step in case["steps"]),
    ])


def encode_case(pages, index, case):
    if case["kind"] in ("capture", "example"):
        body = struct.pack("<B", KIND_CAPTURE if case["kind"] == "capture" else KIND_EXAMPLE)
    elif case["kind"] == "instructions":
        body = encode_instructions(pages, case)
    else:
        body = encode_guest(pages, case)
    return struct.pack("<II", len(body) + 4, index) + body


def encode_root(state):
    state = state or {"cr0": "0x80000031", "cr4": "0x2020", "efer": "0x500"}
    return struct.pack("<QQQ", *(number(state[key]) for key in ("cr0", "cr4", "efer")))


def encode(layout, cases):
    """The batch of `cases`, a list of (number, case); the payload begins each line with the case's number."""
    header = layout.header
    pages = Pages(layout)
    memory = [pages.words(words) for words in layout.memory.values()]
    bodies = [encode_case(pages, index, case) for index, case in cases]
    return b"".join(
        [MAGIC, struct.pack("<I", VERSION),
         struct.pack("<QQ", number(header["vmxon_pointer"]), number(header["vmcs_pointer"])),
         struct.pack(f"<I{len(layout.fields)}I", len(layout.fields), *layout.fields),
         struct.pack("<I", len(layout.vmcs))]
        + [struct.pack("<Q", template.get(field, 0)) for template in layout.vmcs.values() for field in layout.fields]
        + [struct.pack("<I", len(pages.numbers)), struct.pack(f"<{len(pages.numbers)}Q", *pages.numbers),
           struct.pack("<I", len(memory))]
        + [struct.pack("<I", len(words) // 12) + words for words in memory]
        + [struct.pack("<I", len(layout.roots))]
        + [encode_root((header.get("root") or {}).get(name)) for name in layout.roots]
        + [struct.pack("<I", len(layout.landings))] + [struct.pack("<QQ", *place) for place in layout.landings]
        + [struct.pack("<I", len(bodies))] + bodies)


# ---- Decoding ----

def parse_line(line):
    """(word, {key: value}, {address: changed bits}) of a line of a guest experiment. What is 0 is not printed."""
    values, memory = collections.defaultdict(int), {}
    word = None
    for token in line.split()[1:]:
        key, equals, value = token.partition("=")
        if not equals:
            word = key
        elif key == "m":
            pairs = (pair.split(":") for pair in value.split(","))
            memory = {int(word, 16) << 3: int(bits, 16) for word, bits in pairs}
        elif key == "g":
            values["g"] = [int(part, 16) for part in value.split(":")]
        elif key == "w":  # registers at the end of a round that another followed
            words = (int(part, 16) for part in value.split(":"))
            values.setdefault("w", []).append(dict(zip(("rax", "rcx", "rdx"), words)))
        else:
            values[key] = value if key == "refused" else int(value, 16)
    return word, values, memory


def event(answer, info_key, code_key, info, code):
    answer[info_key] = hexadecimal(info)
    if info >> 11 & 1:
        answer[code_key] = hexadecimal(code)


def decode_failure(word, values):
    """VM-entry failures of all sorts; None: the guest was entered."""
    if word == "invalid":
        return {"result": "vmfail", "kind": "invalid"}
    if word == "valid":
        return {"result": "vmfail", "kind": "valid", "error": values["e"]}
    if values["r"] >> 31:
        return {"result": "entry_failure", "exit_reason": values["r"] & 0xffff, "qualification": hexadecimal(values["q"])}
    return None


def decode_exit(values):
    reason = values["r"] & 0xffff
    if is_watchdog(values["ii"]) and reason == 0:
        return not_runnable(NEVER_BACK)
    answer = {"result": "exit", "exit_reason": reason}
    if reason != 49:
        answer["qualification"] = hexadecimal(values["q"])
    if reason == 0:
        event(answer, "intr_info", "intr_error_code", values["ii"], values["ie"])
    if reason in (48, 49):
        answer["guest_physical"] = hexadecimal(values["gp"])
    if reason == 48 and values["q"] & 0x80:
        answer["guest_linear"] = hexadecimal(values["gl"])
    return answer


def is_watchdog(info):
    """The event is an NMI: nothing but the payload's watchdog sends one."""
    return info >> 31 & 1 and info >> 8 & 7 == 2


def decode_guest_exception(values):
    """What was being delivered when the guest exited."""
    if is_watchdog(values["vi"]):
        return not_runnable(NEVER_BACK)
    vector = values["vi"] & 0xff
    answer = {"result": "guest_exception", "vector": vector}
    if values["vi"] >> 11 & 1:
        answer["error_code"] = hexadecimal(values["ve"])
    if vector == 14:
        answer["cr2"] = hexadecimal(values["cr2"])
    return answer


def read_values(case, values):
    """What each access read, null for those that read nothing."""
    found, ends = [], [*(values["w"] or []), values]
    for (steps, accesses), registers in zip(rounds_of(case), ends):
        names = {id(access): pair[1] for access, pair in zip(data_of(accesses), ACCESS_REGISTERS)}
        found += [None] * len(steps)
        found += [hexadecimal(registers[names[id(access)]] & (1 << 8 * access["size"]) - 1)
                  if access["type"] == "read" else None for access in accesses]
    return found


def decode_access_result(case, values):
    accesses = rounds_of(case)[values["n"]][1]
    last = accesses[-1]
    fetch = [access for access in accesses if access["type"] == "fetch"][-1]
    here = values["cs"] + values["rip"]
    behind = number(fetch["linear"]) + fetch["size"]
    end = number(fetch["linear"]) if last is fetch else behind
    same = lambda left, right: (left ^ right) & 0xffffffff == 0
    if values["vi"] >> 31 & 1:
        return decode_guest_exception(values)
    if values["r"] & 0xffff == 18 and (same(here, end) or same(here, behind)):
        answer = {"result": "complete"}
        if any(access["type"] == "read" for access in case["accesses"]):
            answer["values"] = read_values(case, values)
        return answer
    if last is not fetch and same(here, behind) and values["r"] & 0xffff != 62:
        return not_runnable("the guest did not reach the VMCALL behind its last access")
    return decode_exit(values)


def changed_words(layout, case, memory):
    initial = {**layout.memory[case["memory"][0]], **numbers(case["memory"][1])}
    return {hexadecimal(address): hexadecimal(initial.get(address, 0) ^ bits) for address, bits in sorted(memory.items())}


def decode_access(layout, case, word, values, memory):
    failure = decode_failure(word, values)
    if failure:
        return failure
    answer = decode_access_result(case, values)
    if answer["result"] == RESULT_NOT_RUNNABLE:
        return answer
    fields = layout.fields_of(case)
    answer["memory"] = changed_words(layout, case, memory)
    if fields.get(FIELD_PRIMARY, 0) >> 31 & 1 and fields.get(FIELD_SECONDARY, 0) >> 17 & 1:
        answer["pml_index"] = values["pml"]
    return answer


def decode_entry(layout, case, word, values, memory):
    del layout, case, memory
    return decode_failure(word, values) or {"result": "entered"}


READS_REGISTER = ("mov_from_cr", "mov_from_dr", "smsw")
# Exits that are not due to the execution of an instruction.
EVENT_EXITS = (0, 48, 49)


def decode_completion(instruction, values):
    answer = {"result": "complete", **{name: hexadecimal(values[name]) for name in ("cr0", "cr3", "cr4")}}
    if instruction["op"] in READS_REGISTER:
        answer["value"] = hexadecimal(values["rsp"] if instruction["gpr"] == 4 else values["g"][instruction["gpr"]])
    return answer


def has_information(layout, instruction):
    """Is the field with instruction information defined? Of bytes without a name it is not known."""
    if instruction["op"] in ("ins", "outs"):
        return number(layout.header["cpu"]["msr"]["0x480"]) >> 54 & 1
    return instruction["op"] == "code" or "operands" in instruction


def add_instruction(layout, instruction, answer, values):
    """What an exit says of the instruction."""
    if answer["exit_reason"] not in EVENT_EXITS:
        answer["instruction_length"] = values["il"]
        if has_information(layout, instruction):
            answer["instruction_info"] = hexadecimal(values["in"])
    if instruction["op"] in ("ins", "outs") and answer["exit_reason"] == 30 or \
            instruction["op"] == "lmsw" and "linear" in instruction and answer["exit_reason"] == 28:
        answer["guest_linear"] = hexadecimal(values["gl"])


def decode_intercept(layout, case, word, values, memory):
    del memory
    failure = decode_failure(word, values)
    if failure:
        return failure
    instruction = case["instruction"]
    if values["vi"] >> 31 & 1:
        return decode_guest_exception(values)
    if values["r"] & 0xffff == 18 and values["rip"] != layout.fields_of(case).get(FIELD_RIP, 0):
        # The VMCALL behind the instruction.
        return decode_completion(instruction, values) if "length" in instruction else {"result": "complete"}
    answer = decode_exit(values)
    if (instruction["op"] == "code" or "length" in instruction) and answer["result"] == "exit":
        add_instruction(layout, instruction, answer, values)
    return answer


ARRIVAL = {"rip": "rip", "rsp": "rsp", "rflags": "rfl", "cs": "sel", "ss": "ss", "interruptibility": "int", "cr2": "cr2"}


def decode_event(layout, case, word, values, memory):
    """Handlers are VMCALL: a VM exit for it says where the event has gone."""
    failure = decode_failure(word, values)
    if failure:
        return failure
    if values["r"] & 0xffff == 18:
        answer = {"result": "delivered", **{key: hexadecimal(values[name]) for key, name in ARRIVAL.items()}}
    else:
        answer = decode_exit(values)
        if answer["result"] == RESULT_NOT_RUNNABLE:
            return answer
        event(answer, "vectoring_info", "vectoring_error_code", values["vi"], values["ve"])
    return {**answer, "memory": changed_words(layout, case, memory)}


class NeverBack(Exception):
    """A guest did not come back by itself."""


def decode_step(word):
    status, *rest = word.split(":")
    if status == "ok":
        return {"status": "ok", "value": hexadecimal(int(rest[0], 16))} if rest else {"status": "ok"}
    if status == "invalid":
        return {"status": "vmfail_invalid"}
    if status == "valid":
        return {"status": "vmfail_valid", "error": int(rest[0], 16)}
    if status == "exception":
        answer = {"status": "exception", "vector": int(rest[0], 16)}
        return {**answer, "error_code": hexadecimal(int(rest[1], 16))} if len(rest) > 1 else answer
    reason, qualification, info, vectoring = (int(text, 16) for text in rest)
    if not reason >> 31 and (reason == 0 and is_watchdog(info) or is_watchdog(vectoring)):
        raise NeverBack
    if reason >> 31:
        return {"status": "entry_failure", "exit_reason": reason & 0xffff, "qualification": hexadecimal(qualification)}
    return {"status": "ok", "exit_reason": reason & 0xffff}


DECODERS = {"access": decode_access, "event": decode_event, "entry": decode_entry, "intercept": decode_intercept}


def decode(layout, case, line):
    """The answer in a line of the payload: an object in the shape of `expect`, for instructions a list of steps."""
    if case["kind"] == "instructions":
        try:
            return [decode_step(word) for word in line.split()[1:]]
        except NeverBack:
            return not_runnable(NEVER_BACK)
    word, values, memory = parse_line(line)
    if word == "waits":
        return {"result": "entered"} if case["kind"] == "entry" else not_runnable(NEVER_BACK)
    if "refused" in values:
        return not_runnable(f"the payload could not prepare it: {values['refused']}")
    if "nofield" in values:
        return not_runnable(f"the machine has no VMCS field {values['nofield']:#x}")
    if word == "exception":
        return not_runnable(f"VMLAUNCH or VMRESUME raised exception {values['v']}")
    return DECODERS[case["kind"]](layout, case, word, values, memory)


def decode_profile(line):
    """The header's `cpu` object from the line of a capture."""
    cpu = {"msr": {}, "cpuid": {}, "vmcs_fields": []}
    for token in line.split()[1:]:
        kind, _, rest = token.partition(":")
        key, _, value = rest.partition("=")
        if kind == "msr":
            cpu["msr"][f"0x{key}"] = f"0x{value}"
        elif kind == "cpuid":
            leaf, subleaf = key.split(".")
            cpu["cpuid"][f"0x{leaf}.{subleaf}"] = [f"0x{part}" for part in value.split(",")]
        elif kind == "field":
            cpu["vmcs_fields"].append(f"0x{key}")
    widths = int(cpu["cpuid"].get("0x80000008.0", ["0x3024"])[0], 16)
    return {"maxphyaddr": widths & 0xff, "linear_width": widths >> 8 & 0xff, **cpu}
