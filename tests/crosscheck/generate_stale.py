# SPDX-License-Identifier: Apache-2.0
"""
Experiments of kind `access` with translations that change: an access, an entry of EPT or of the guest's tables changes, perhaps
an invalidation, the access again. The answer must be one of those that caches allow.

    one round     the guest itself changes the entry, through an alias of the table's page; INVLPG, MOV to CR3 or nothing
    more rounds   VMX root operation changes it between VM exit and VM entry; INVEPT, INVVPID or nothing; with a VPID or not

    the entry     one that the first access has read: no question of what a processor reads ahead
    the change    rights, present, where it leads, accessed and dirty flags, bits that are ignored, bits that are reserved
"""
import generate_access
import header as templates
import vectors
from generate_access import CR4_PGE, EPTP, EPTP_AD, GUEST_CR4, GUEST_EFER, GUEST_RIP, MODES, WEIGHTS

VPID, SECONDARY_VPID = 0x0, 1 << 5
GUEST_CR3 = 0x6802
CODE_OFFSET, CODE_ROOM = 0x300, 0x40
PTE_FLAGS, EPT_FLAGS = 0x60, 0x300

# The alias: a guest page whose EPT entry can be made to lead to any table.
ALIAS_EPT = 0x3029070
ALIAS_LINEAR = {0: 0x200E000, 4: 0x410000, 8: 0x410000}
ALIAS_PTE = {4: (0x200B040, 0x0200E067), 8: (0x200C080, 0x800200E067)}

# Guest entries on the way to the page below the boundary, from the leaf up, by size of the entry and guest.
GUEST_LOW = {"long64": [0x2005FF8, 0x2004FF8, 0x2003FF8, 0x2002008], "pae": [0x2005FF8, 0x2004FF8],
             "paging32": [0x200CFFC, 0x200A7FC], "unpaged32": []}
EPT_LOW = list(reversed(generate_access.EPT_DATA_LOW))
# EPT entries that translate the pages of those tables, leaves first.
EPT_TABLES = {"long64": [0x3025028, 0x3024020, 0x3023018, 0x3015080, 0x3014080],
              "pae": [0x3025028, 0x3024020, 0x3015080], "paging32": [0x3029060, 0x3029050], "unpaged32": []}
OTHER_PAGE = {8: 0x80000000, 4: 0x80000000}
PAGE_FRAME = 0x000FFFFFFFFFF000

REGISTERS = [("rbx", 3, 0), ("rsi", 6, 1), ("rdi", 7, 2)]  # address: its number; number of the value


def kind_of(mode):
    return mode.guest.removesuffix("-user")


# ---- Code ----

def data_code(kind, size, place):
    """The instruction that makes the `place`-th data access of a round."""
    _, address, value = REGISTERS[place]
    prefix = {1: "", 2: "66", 4: "", 8: "48"}[size]
    opcode = {"read": 0x8A, "write": 0x88, "rmw": 0x86}[kind] + (size != 1)
    return bytes.fromhex(prefix) + bytes([opcode, value << 3 | address])


def invlpg_code(place):
    return bytes([0x0F, 0x01, 7 << 3 | REGISTERS[place][1]])


CR3_FROM_RBP = bytes([0x0F, 0x22, 0xDD])


class Round:
    """Code of one round, and what it does."""

    def __init__(self, experiment, number):
        self.experiment = experiment
        self.start = CODE_OFFSET + CODE_ROOM * number
        self.code, self.elements, self.data = b"", [], 0

    def add(self, code, element):
        linear = self.experiment.mode.code + self.start + len(self.code)
        self.elements.append({"type": "fetch", "linear": hex(linear), "size": len(code)})
        self.elements.append(element)
        self.code += code

    def access(self, access):
        self.add(data_code(access["type"], access["size"], self.data), access)
        self.data += 1

    def invlpg(self, place, linear):
        self.add(invlpg_code(place), {"type": "invlpg", "linear": hex(linear)})

    def mov_to_cr3(self):
        self.add(CR3_FROM_RBP, {"type": "mov_to_cr3", "value": hex(self.experiment.fields.get(GUEST_CR3, 0))})

    def finish(self):
        """Puts the code into memory; the elements of `accesses`."""
        for index, byte in enumerate(self.code + bytes.fromhex(templates.VMCALL_BYTES)):
            self.experiment.store_word(templates.CODE_PAGE + self.start + index, 1, byte)
        return self.elements


# ---- Changes ----

class Entry:
    """
    An entry that is to change. EPT entries of the pages of guest tables stay writable: whether flags can be set there is left
    to the kind `access`.
    """

    def __init__(self, hpa, size, is_ept, is_leaf, is_table_page=False):
        self.hpa, self.size, self.is_ept, self.is_leaf, self.is_table_page = hpa, size, is_ept, is_leaf, is_table_page


def entries(mode):
    """Entries that the access below the boundary reads; leaves more often."""
    kind, size = kind_of(mode), mode.entry_size
    guest = [Entry(hpa, size, False, index == 0) for index, hpa in enumerate(GUEST_LOW[kind])]
    shared = EPT_LOW[3:] if kind == "paging32" else []  # translates the tables as well
    data = [Entry(hpa, 8, True, index == 0, hpa in shared) for index, hpa in enumerate(EPT_LOW)]
    tables = [Entry(hpa, 8, True, hpa & 0x20000 != 0, True) for hpa in EPT_TABLES[kind]]
    return guest[:1] * 6 + guest[1:] * 2 + data[:1] * 6 + data[1:] * 2 + tables


def change_rights(random, entry, value):
    if entry.is_table_page:
        return value & ~7 | random.choice([7, 3])
    if entry.is_ept:
        return value & ~7 | random.choice([7, 5, 3, 1])
    value = value & ~6 | random.choice([6, 4, 2, 0])
    return value ^ 1 << 63 if entry.size == 8 and random.random() < 0.2 else value


def change_present(random, entry, value):
    return value & ~(0x407 if entry.is_ept else 1) if random.random() < 0.8 else 0


def change_target(random, entry, value):
    """Another page of data, or, for a table, none of its entries."""
    if not entry.is_leaf:
        return change_rights(random, entry, value)
    other = 0x40000000 if entry.is_ept else OTHER_PAGE[entry.size]
    return value & 0xFFF | (other if entry.is_ept and entry.hpa == EPT_LOW[0] or not entry.is_ept else value & PAGE_FRAME)


def change_flags(random, entry, value):
    flags = EPT_FLAGS if entry.is_ept else PTE_FLAGS
    return value & ~flags | random.choice([0, flags & -flags, flags])


def change_ignored(_random, entry, value):
    return value ^ (1 << 11 if entry.is_ept else 1 << 9)


def change_reserved(random, entry, value):
    if entry.is_ept:
        return value ^ (random.choice([1 << 3, 1 << 51]) if not entry.is_leaf else random.choice([1 << 51, 2 << 3]))
    return value ^ 1 << 51 if entry.size == 8 else value & ~1


CHANGES = [(change_rights, 8), (change_present, 3), (change_target, 4), (change_flags, 3), (change_ignored, 1),
           (change_reserved, 1)]


def changed(random, entry, value):
    functions, weights = zip(*CHANGES)
    return random.choices(functions, weights)[0](random, entry, value)


# ---- Steps of VMX root operation ----

def invept_step(experiment):
    random, eptp = experiment.random, experiment.fields[EPTP]
    scope = random.choice([1, 1, 1, 2])
    # The same root with other low bits is the same context; another root is another one.
    other = random.choice([eptp, eptp, eptp, eptp ^ EPTP_AD, eptp ^ 0x1000000, 0])
    return {"type": "invept", "scope": hex(scope), "descriptor": [hex(other), "0x0"]}


def invvpid_step(experiment, linear):
    random, own = experiment.random, experiment.fields.get(VPID, 0)
    vpid = random.choice([own, own, own, own ^ 1, 0])
    address = random.choice([linear, linear, linear ^ 0x1000, linear ^ 0x200000, 0])
    return {"type": "invvpid", "scope": hex(random.choice([0, 0, 1, 2, 3])), "descriptor": [hex(vpid), hex(address)]}


def poke_step(experiment, entry, value):
    """A quadword in memory with the entry in it."""
    before = experiment.load_word(entry.hpa & ~7, 8)
    shift, mask = 8 * (entry.hpa & 7), (1 << 8 * entry.size) - 1
    return {"type": "poke", "address": hex(entry.hpa & ~7), "value": hex(before & ~(mask << shift) | value << shift)}


# ---- The case ----

def data_access(experiment, kinds):
    """An access to the page below the boundary, now and then across it."""
    random, mode = experiment.random, experiment.mode
    size = random.choice([size for size in (1, 2, 4, 8) if size <= mode.max_size])
    offset = random.choice([0, 8, 0x10, 0xFF0])
    if size > 1 and random.random() < 0.05:
        offset = 0x1000 - random.randrange(1, size)
    kind = random.choice(kinds)
    access = {"type": kind, "linear": hex(mode.boundary - 0x1000 + offset), "size": size}
    return access if kind == "read" else {**access, "value": hex(random.getrandbits(8 * size))}


def put_flags(experiment):
    """Accessed and dirty flags: all, some, none."""
    random, mode = experiment.random, experiment.mode
    style = random.choice(["all", "all", "some", "none"])
    for entry in entries(mode):
        flags = EPT_FLAGS if entry.is_ept else PTE_FLAGS
        value = experiment.load_word(entry.hpa, entry.size)
        chosen = {"all": flags, "none": 0, "some": random.choice([0, flags & -flags, flags])}[style]
        experiment.store_word(entry.hpa, entry.size, value & ~flags | chosen)


def put_alias(experiment, entry):
    """The guest reaches the table of this entry; the address of the entry there."""
    mode = experiment.mode
    experiment.store_word(ALIAS_EPT, 8, entry.hpa & ~0xFFF | 0x337 | 0x400)
    if mode.entry_size:
        hpa, value = ALIAS_PTE[mode.entry_size]
        experiment.store_word(hpa, mode.entry_size, value)
    return ALIAS_LINEAR[mode.entry_size] + entry.hpa % 0x1000


def put_controls(experiment):
    random, fields = experiment.random, experiment.fields
    if random.random() < 0.5:
        fields[EPTP] ^= EPTP_AD
    if experiment.may_set(templates.SECONDARY, SECONDARY_VPID) and random.random() < 0.7:
        fields[templates.SECONDARY] |= SECONDARY_VPID
        fields[VPID] = random.choice([1, 2, 0xFFFF])
    if experiment.mode.entry_size == 8 and random.random() < 0.5:
        fields[GUEST_EFER] = fields.get(GUEST_EFER, 0) | generate_access.EFER_NXE
    if experiment.mode.guest.startswith("long64") and random.random() < 0.4:
        fields[GUEST_CR4] |= CR4_PGE
        leaf = GUEST_LOW["long64"][0]
        experiment.store_word(leaf, 8, experiment.load_word(leaf, 8) | random.choice([0, 1 << 8]))
    if random.random() < 0.3:
        fields[generate_access.GUEST_CR0] |= generate_access.CR0_WP


def lower_first(experiment, entry):
    """The entry begins with fewer rights, so that the change may give more."""
    random = experiment.random
    if random.random() < 0.3:
        value = experiment.load_word(entry.hpa, entry.size)
        rights = 4 if entry.is_table_page else random.choice([2, 4, 6]) if entry.is_ept else 2
        experiment.store_word(entry.hpa, entry.size, value & ~rights)


def one_round(experiment, entry):
    """access, change by the guest, INVLPG or MOV to CR3 or neither, access"""
    random, mode = experiment.random, experiment.mode
    alias = put_alias(experiment, entry)
    lower_first(experiment, entry)
    made = Round(experiment, 0)
    first, last = data_access(experiment, ["read", "read", "write", "rmw"]), data_access(experiment, ["read", "write", "rmw"])
    value = changed(random, entry, experiment.load_word(entry.hpa, entry.size))
    made.access(first)
    if entry.size == 8 and mode.max_size == 4:  # a guest without 64-bit operands changes one half
        half = 4 if (value ^ experiment.load_word(entry.hpa, 8)) >> 32 else 0
        made.access({"type": "write", "linear": hex(alias + half), "size": 4, "value": hex(value >> 8 * half & 0xFFFFFFFF)})
    else:
        made.access({"type": "write", "linear": hex(alias), "size": entry.size, "value": hex(value)})
    if not mode.guest.endswith("-user"):
        what = random.choice(["nothing", "nothing", "invlpg", "invlpg other", "cr3"])
        if what == "invlpg":
            made.invlpg(0, vectors.number(first["linear"]))
        elif what == "invlpg other":
            made.invlpg(1, vectors.number(made.elements[3]["linear"]))
        elif what == "cr3" and mode.entry_size:
            made.mov_to_cr3()
    made.access(last)
    return made.finish()


def more_rounds(experiment, entry):
    """access, VM exit, change and invalidations, VM entry, access; perhaps once more"""
    random = experiment.random
    lower_first(experiment, entry)
    first = Round(experiment, 0)
    first.access(data_access(experiment, ["read", "read", "write", "rmw"]))
    accesses = first.finish()
    value = experiment.load_word(entry.hpa, entry.size)
    for number in range(1, random.choice([2, 2, 2, 3])):
        if random.random() < 0.2:
            entry = random.choice(entries(experiment.mode))
            value = experiment.load_word(entry.hpa, entry.size)
        value = changed(random, entry, value)
        steps = [poke_step(experiment, entry, value)]
        for _ in range(random.choice([0, 0, 1, 1, 2])):
            vpids = experiment.has_field(VPID) and random.random() < 0.5
            linear = experiment.mode.boundary - 0x1000
            steps.append(invvpid_step(experiment, linear) if vpids else invept_step(experiment))
        made = Round(experiment, number)
        made.access(data_access(experiment, ["read", "write", "rmw"]))
        accesses += steps + made.finish()
    return accesses


def generate(header, random, identity):
    """One case."""
    mode = random.choices(MODES, WEIGHTS)[0]
    experiment = generate_access.Experiment(header, mode, random)
    generate_access.put_code(experiment)
    generate_access.put_data(experiment)
    put_flags(experiment)
    put_controls(experiment)
    if mode.guest.endswith("-user") and mode.entry_size:
        for hpa in GUEST_LOW[kind_of(mode)]:
            experiment.store_word(hpa, mode.entry_size, experiment.load_word(hpa, mode.entry_size) | 4)
    experiment.fields[GUEST_RIP] = mode.code + CODE_OFFSET
    entry = random.choice(entries(mode))
    accesses = (one_round if random.random() < 0.5 else more_rounds)(experiment, entry)
    case = vectors.with_memory(header, experiment.case, experiment.words)
    return {"id": identity, **vectors.with_fields(header, case, experiment.fields), "accesses": accesses}
