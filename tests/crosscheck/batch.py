# SPDX-License-Identifier: Apache-2.0
"""Batches for the payload, and answers out of what it prints.

encode(header, cases) makes the binary batch of a header and its cases (docs/vectors.md; payload/batch.c has the layout);
decode(header, case, line) makes an object in the shape of `expect` from the line that the payload printed for a case.
refuse(header, case) says why a case cannot be run on a machine as it stands, or None.
"""

import struct

MAGIC = b"vmxbatch"
VERSION = 1
KIND_GUEST, KIND_INSTRUCTIONS, KIND_CAPTURE = range(3)
FLAG_LAUNCHED, FLAG_RESUME, FLAG_REPORT_MEMORY = 1, 2, 4

PAGE = 0x1000
MASK64 = (1 << 64) - 1
FRAME = 0x000ffffffffff000
# The payload's own memory: itself; the batch and its heap (payload/boot.h).
RESERVED = [(0x200000, 0x300000), (0x60000000, 0x80000000), (0x9f000, 0x100000)]

FIELD_EPTP, FIELD_PML, FIELD_VE = 0x201a, 0x200e, 0x202a
FIELD_EXIT_STORE, FIELD_ENTRY_LOAD, FIELD_EXIT_LOAD = 0x2006, 0x200a, 0x2008
FIELD_PRIMARY, FIELD_SECONDARY, FIELD_ENTRY = 0x4002, 0x401e, 0x4012
FIELD_INJECT = 0x4016
FIELD_CR3, FIELD_RIP, FIELD_CS_BASE, FIELD_CS_ACCESS = 0x6802, 0x681e, 0x6808, 0x4816
FIELD_HOST_CR3, FIELD_HOST_RIP, FIELD_HOST_RSP = 0x6c02, 0x6c16, 0x6c14
PAGE_FIELDS = [FIELD_EPTP, FIELD_PML, FIELD_VE, FIELD_CR3, FIELD_EXIT_STORE, FIELD_ENTRY_LOAD, FIELD_EXIT_LOAD,
               0x2012, 0x2014, 0x2024, 0x280a, 0x280c, 0x280e, 0x2810]

GPRS = ["rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi"] + [f"r{i}" for i in range(8, 16)]
# Where the guest's code finds address and value of its first, second and third data access.
ACCESS_REGISTERS = [("rbx", "rax"), ("rsi", "rcx"), ("rdi", "rdx")]

STEPS = ["vmxon", "vmxoff", "vmclear", "vmptrld", "vmptrst", "vmread", "vmwrite", "vmlaunch", "vmresume", "vmcall",
         "vmfunc", "invept", "invvpid", "poke", "peek", "set_cr0", "set_cr4", "wrmsr", "rdmsr", "fill"]

RESULT_NOT_RUNNABLE = "not_runnable"


def number(text):
    """An integer of a vector: a hexadecimal string, or a JSON number."""
    return int(text, 16) if isinstance(text, str) else text


def numbers(mapping):
    return {number(key): number(value) for key, value in mapping.items()}


def hexadecimal(value):
    return f"{value:#x}"


def not_runnable(reason):
    return {"result": RESULT_NOT_RUNNABLE, "reason": reason}


# ---- What a case says, resolved ----

def vmcs_of(header, case):
    """All fields that the case gives a value: {encoding: value}."""
    template, changes = case["vmcs"]
    return {**numbers(header["vmcs"][template]), **numbers(changes)}


def memory_of(header, case):
    """All words that the case gives a value: {address: value}."""
    template, changes = case["memory"]
    return {**numbers(header["memory"][template]), **numbers(changes)}


def writable_fields(header):
    """Encodings that a template writes: all that exist, without the read-only ones (type 1) and host RSP."""
    fields = [number(field) for field in header["cpu"]["vmcs_fields"]]
    return [field for field in fields if field >> 10 & 3 != 1 and field != FIELD_HOST_RSP]


def is_reserved(address):
    return any(start <= address < end for start, end in RESERVED)


def in_ram(header, address):
    return any(number(start) <= address < number(start) + number(length) for start, length in header["ram"])


def landings(header):
    """HOST_RIP and HOST_CR3 of the templates: there the payload must be when the guest exits."""
    pairs = set()
    for template in header["vmcs"].values():
        fields = numbers(template)
        if FIELD_HOST_RIP in fields:
            pairs.add((fields[FIELD_HOST_RIP], fields.get(FIELD_HOST_CR3, 0)))
    return sorted(pairs)


def landing_frames(header):
    return {value & 0xffffffff & ~(PAGE - 1) for pair in landings(header) for value in pair}


# ---- Which pages a guest may change ----

def access_frames(case):
    """Frame numbers' part of the linear addresses of the accesses."""
    frames = set()
    for access in case.get("accesses", []):
        start = number(access["linear"])
        frames |= {start & ~(PAGE - 1) & MASK64, (start + access["size"] - 1) & ~(PAGE - 1) & MASK64}
    return frames


def large(bases, offsets):
    """Addresses in large pages: every base with every offset, for 2 MBytes, 4 MBytes and 1 GByte."""
    found = set()
    for base in bases:
        for size in (1 << 21, 1 << 22, 1 << 30):
            found |= {(base & ~(size - 1)) | (offset & (size - 1) & ~(PAGE - 1)) for offset in offsets}
    return found


def touched_pages(header, case, words, fields):
    """A superset of the pages that hardware may write on behalf of the guest."""
    values = set(words.values()) | {fields.get(field, 0) for field in PAGE_FIELDS}
    frames = {value & FRAME for value in values}
    leaves = {value & FRAME for value in values if value & 0x80}
    linear = access_frames(case)
    first = frames | linear | large(leaves, linear)
    pages = {address & ~(PAGE - 1) for address in words} | first | large(leaves, first)
    return {page for page in pages if in_ram(header, page) and not is_reserved(page)}


# ---- Why a case cannot be run ----

def refuse_access(fields, case):
    first = case["accesses"][0]
    start = fields.get(FIELD_CS_BASE, 0) + fields.get(FIELD_RIP, 0)
    is_64 = fields.get(FIELD_ENTRY, 0) & 0x200 and fields.get(FIELD_CS_ACCESS, 0) & 0x2000
    start &= MASK64 if is_64 else 0xffffffff
    if first["type"] != "fetch" or number(first["linear"]) != start:
        return "the first access is not the fetch of the guest's first instruction"
    if sum(access["type"] != "fetch" for access in case["accesses"]) > len(ACCESS_REGISTERS):
        return "more data accesses than registers for them"
    if fields.get(FIELD_INJECT, 0) >> 31 & 1:
        return "the VM entry injects an event"
    return None


def refuse(header, case):
    """None, or why no machine can run this case in the payload."""
    if case["kind"] not in ("access", "entry", "intercept", "instructions"):
        return f"no such kind: {case['kind']}"
    busy = landing_frames(header)
    for address in memory_of(header, case):
        if is_reserved(address) or address & ~(PAGE - 1) in busy:
            return f"memory at {address:#x} belongs to the payload"
        if not in_ram(header, address):
            return f"there is no memory at {address:#x}"
    if case["kind"] == "access":
        return refuse_access(vmcs_of(header, case), case)
    return None


# ---- Encoding ----

class Tables:
    """What the cases of one batch share."""

    def __init__(self, header):
        self.header = header
        self.vmcs = list(header["vmcs"])
        self.memory = list(header["memory"])
        self.roots = list(header.get("root", {"default": None}))
        self.fields = writable_fields(header)
        self.pages = {}
        self.template_pages = {}

    def page(self, address):
        return self.pages.setdefault(address & ~(PAGE - 1), len(self.pages))

    def word(self, address):
        return self.page(address) << 9 | (address & (PAGE - 1)) >> 3

    def words(self, mapping):
        return b"".join(struct.pack("<IQ", self.word(address), value) for address, value in mapping.items())

    def page_list(self, pages):
        return struct.pack("<H", len(pages)) + b"".join(struct.pack("<H", self.page(page)) for page in sorted(pages))


def encode_fields(mapping):
    changes = [(number(field), number(value)) for field, value in mapping.items() if number(field) != FIELD_HOST_RSP]
    return struct.pack("<H", len(changes)) + b"".join(struct.pack("<IQ", *change) for change in changes)


def registers_of(case):
    """General-purpose registers at the guest's first instruction; `registers` of the case overrides."""
    registers = {}
    data = [access for access in case.get("accesses", []) if access["type"] != "fetch"]
    for access, (address, value) in zip(data, ACCESS_REGISTERS):
        registers[address] = number(access["linear"])
        registers[value] = number(access.get("value", 0))
    registers.update(instruction_registers(case.get("instruction", {})) if case["kind"] == "intercept" else {})
    registers.update({name: number(value) for name, value in case.get("registers", {}).items()})
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


def encode_guest(tables, case):
    header = tables.header
    fields = vmcs_of(header, case)
    words = memory_of(header, case)
    flags = FLAG_REPORT_MEMORY if case["kind"] == "access" else 0
    flags |= FLAG_LAUNCHED if case.get("launch_state") == "launched" else 0
    flags |= FLAG_RESUME if case.get("instruction") == "vmresume" else 0
    registers = registers_of(case)
    own = {number(header["vmxon_pointer"]), number(header["vmcs_pointer"])}
    scan = touched_pages(header, case, words, fields) - own - landing_frames(header)
    changes = numbers(case["memory"][1])
    return b"".join([
        struct.pack("<BBBBBI", KIND_GUEST, flags, tables.vmcs.index(case["vmcs"][0]),
                    tables.memory.index(case["memory"][0]), tables.roots.index(case.get("root", "default")),
                    number(case.get("pkru", 0))),
        struct.pack("<B", len(registers)),
        b"".join(struct.pack("<BQ", GPRS.index(name), value & MASK64) for name, value in registers.items()),
        encode_fields(case["vmcs"][1]),
        tables.page_list(scan),
        struct.pack("<H", len(changes)), tables.words(changes),
    ])


def step_operands(tables, step):
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
        return tables.vmcs.index(step["vmcs"][0]), 0, 0
    if op == "vmfunc":
        return get("function"), get("index"), 0
    return get("address"), 0, 0


def encode_step(tables, step):
    changes = step["vmcs"][1] if step["op"] == "fill" else {}
    return struct.pack("<BQQQ", STEPS.index(step["op"]), *step_operands(tables, step)) + encode_fields(changes)


def encode_instructions(tables, case):
    header = tables.header
    words = memory_of(header, case)
    pages = {address & ~(PAGE - 1) for address in words}
    pages |= {number(header["vmxon_pointer"]), number(header["vmcs_pointer"])}
    for step in case["steps"]:
        for key in ("address", "value"):
            pages.add(number(step.get(key, 0)) & FRAME)
    pages = {page for page in pages if in_ram(header, page) and not is_reserved(page)} - landing_frames(header)
    changes = numbers(case["memory"][1])
    return b"".join([
        struct.pack("<BBB", KIND_INSTRUCTIONS, tables.roots.index(case.get("root", "default")),
                    tables.memory.index(case["memory"][0])),
        tables.page_list(pages),
        struct.pack("<H", len(changes)), tables.words(changes),
        struct.pack("<H", len(case["steps"])), b"".join(encode_step(tables, step) for step in case["steps"]),
    ])


def encode_case(tables, index, case):
    if case["kind"] == "capture":
        body = struct.pack("<B", KIND_CAPTURE)
    elif case["kind"] == "instructions":
        body = encode_instructions(tables, case)
    else:
        body = encode_guest(tables, case)
    body = struct.pack("<I", index) + body
    return struct.pack("<I", len(body)) + body


def encode_root(state):
    state = state or {"cr0": "0x80000031", "cr4": "0x2020", "efer": "0x500"}
    return struct.pack("<QQQ", *(number(state[key]) for key in ("cr0", "cr4", "efer")))


def encode(header, cases, serial=False):
    """The batch of `cases`, a list of (number, case); the payload begins each line with the case's number."""
    tables = Tables(header)
    tables.page(number(header["vmxon_pointer"]))
    tables.page(number(header["vmcs_pointer"]))
    memory = [tables.words(numbers(words)) for words in header["memory"].values()]
    bodies = [encode_case(tables, index, case) for index, case in cases]
    templates = [numbers(template) for template in header["vmcs"].values()]
    places = landings(header)
    return b"".join(
        [MAGIC, struct.pack("<II", VERSION, 1 if serial else 0),
         struct.pack("<QQ", number(header["vmxon_pointer"]), number(header["vmcs_pointer"])),
         struct.pack("<I", len(tables.fields)), struct.pack(f"<{len(tables.fields)}I", *tables.fields),
         struct.pack("<I", len(templates))]
        + [struct.pack("<Q", template.get(field, 0)) for template in templates for field in tables.fields]
        + [struct.pack("<I", len(tables.pages)), struct.pack(f"<{len(tables.pages)}Q", *tables.pages),
           struct.pack("<I", len(memory))]
        + [struct.pack("<I", len(words) // 12) + words for words in memory]
        + [struct.pack("<I", len(tables.roots))]
        + [encode_root(header.get("root", {}).get(name)) for name in tables.roots]
        + [struct.pack("<I", len(places))] + [struct.pack("<QQ", *place) for place in places]
        + [struct.pack("<I", len(bodies))] + bodies)


# ---- Decoding ----

def parse_line(line):
    """(number, word, {key: value}) of a line of a guest experiment."""
    first, *tokens = line.split()
    values = {}
    word = None
    for token in tokens:
        key, equals, value = token.partition("=")
        if not equals:
            word = key
        elif key == "m":
            pairs = (pair.split(":") for pair in value.split(","))
            values["m"] = {int(address, 16): int(word_value, 16) for address, word_value in pairs}
        else:
            values.setdefault(key, int(value, 16) if key != "refused" else value)
    return int(first), word, values


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


def decode_guest_exception(values):
    """What was being delivered when the guest exited."""
    vector = values["vi"] & 0xff
    answer = {"result": "guest_exception", "vector": vector}
    if values["vi"] >> 11 & 1:
        answer["error_code"] = hexadecimal(values["ve"])
    if vector == 14:
        answer["cr2"] = hexadecimal(values["cr2"])
    return answer


def read_values(case, values):
    data = [access for access in case["accesses"] if access["type"] != "fetch"]
    registers = {id(access): pair[1] for access, pair in zip(data, ACCESS_REGISTERS)}
    return [hexadecimal(values[registers[id(access)]] & ((1 << 8 * access["size"]) - 1))
            if access["type"] == "read" else None for access in case["accesses"]]


def decode_access_result(case, values):
    last = case["accesses"][-1]
    fetch = [access for access in case["accesses"] if access["type"] == "fetch"][-1]
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
    if last is not fetch and same(here, behind) and values["r"] & 0xffff not in (62,):
        return not_runnable("the guest did not reach the VMCALL behind its last access")
    return decode_exit(values)


def decode_access(header, case, word, values):
    failure = decode_failure(word, values)
    if failure:
        return failure
    answer = decode_access_result(case, values)
    if answer["result"] == RESULT_NOT_RUNNABLE:
        return answer
    fields = vmcs_of(header, case)
    answer["memory"] = {hexadecimal(address): hexadecimal(value) for address, value in sorted(values.get("m", {}).items())}
    if fields.get(FIELD_PRIMARY, 0) >> 31 & 1 and fields.get(FIELD_SECONDARY, 0) >> 17 & 1:
        answer["pml_index"] = values["pml"]
    return answer


def decode_entry(header, case, word, values):
    del header, case
    return decode_failure(word, values) or {"result": "entered"}


def decode_intercept(header, case, word, values):
    del header, case
    failure = decode_failure(word, values)
    if failure:
        return failure
    if values["vi"] >> 31 & 1:
        return decode_guest_exception(values)
    if values["r"] & 0xffff == 18:
        return {"result": "complete"}
    return decode_exit(values)


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
    reason, qualification = (int(text, 16) for text in rest)
    if reason >> 31:
        return {"status": "entry_failure", "exit_reason": reason & 0xffff, "qualification": hexadecimal(qualification)}
    return {"status": "ok", "exit_reason": reason & 0xffff}


DECODERS = {"access": decode_access, "entry": decode_entry, "intercept": decode_intercept}


def decode(header, case, line):
    """The answer in a line of the payload: an object in the shape of `expect`, for instructions a list of steps."""
    if case["kind"] == "instructions":
        return [decode_step(word) for word in line.split()[1:]]
    _, word, values = parse_line(line)
    if "refused" in values:
        return not_runnable(f"the payload could not prepare it: {values['refused']}")
    if "nofield" in values:
        return not_runnable(f"the machine has no VMCS field {values['nofield']:#x}")
    if word == "exception":
        return not_runnable(f"VMLAUNCH or VMRESUME raised exception {values['v']}")
    return DECODERS[case["kind"]](header, case, word, values)


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
