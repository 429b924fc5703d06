#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Generates guest page-walk experiments for a processor without EPT, as a vector file (docs/vectors.md).

Every case has paging structures of its own in pages that no earlier access of it shares by chance, one to three
accesses, and whatever control bits the processor offers. Entries are right at first; then some bits are changed.
What an access comes to is not known here: an engine observes it, the model predicts it.
"""

import argparse
import json
import random
import sys

PAGE = 4096
P, RW, US, PWT, PCD, A, D, PS, G = (1 << bit for bit in range(9))
NX = 1 << 63
LARGE_PAT = 1 << 12

CR0_WP, CR0_PG_PE_NE_ET = 1 << 16, 0x80000031
CR4_PSE, CR4_PAE, CR4_PGE, CR4_OSFXSR, CR4_LA57, CR4_VMXE = 1 << 4, 1 << 5, 1 << 7, 1 << 9, 1 << 12, 1 << 13
CR4_SMEP, CR4_SMAP, CR4_PKE = 1 << 20, 1 << 21, 1 << 22
EFER_LME, EFER_LMA, EFER_NXE = 1 << 8, 1 << 10, 1 << 11
RFLAGS_AC = 1 << 18

ENTRY_IA32E = 1 << 9

# VMCS fields by encoding.
ENTRY_CONTROLS, GUEST_EFER = 0x4012, 0x2806
GUEST_CR0, GUEST_CR3, GUEST_CR4, GUEST_RFLAGS = 0x6800, 0x6802, 0x6804, 0x6820

# What a VM entry into these guests needs of VMX. The engine itself has no VMX.
VMX_MSRS = {
    0x480: 0x5DA100000000001, 0x481: 0xFF00000016, 0x482: 0xFFFBFFFE0401E172, 0x483: 0xFFFFFFFF00036DFF,
    0x484: 0x1FFFFFF000011FF, 0x485: 0x7004C1E0, 0x486: 0x80000021, 0x487: 0xFFFFFFFF, 0x488: 0x2000,
    0x489: 0x11BFF7FFF, 0x48A: 0x52, 0x48B: 0xDFFFFFFF00000000, 0x48C: 0x340F0106F341C1, 0x48D: 0xFF00000016,
    0x48E: 0xFFFBFFFE04006172, 0x48F: 0xFFFFFFFF00036DFB, 0x490: 0x1FFFFFF000011FB, 0x491: 0x1,
    0x3A: 0x5, 0x277: 0x7040600070406, 0xC0000080: 0x500,
}

# Flat segments, a busy TSS, an unusable LDT; no exception exits; the host is 64-bit.
VMCS = {
    0x800: 0x10, 0x802: 0x8, 0x804: 0x10, 0x806: 0x10, 0x808: 0x10, 0x80A: 0x10, 0x80E: 0x18,
    0xC00: 0x10, 0xC02: 0x8, 0xC04: 0x10, 0xC06: 0x10, 0xC08: 0x10, 0xC0A: 0x10, 0xC0C: 0x18,
    0x2800: 0xFFFFFFFFFFFFFFFF, 0x2C00: 0x7040600070406, 0x2C02: 0x500,
    0x4000: 0x16, 0x4002: 0x4006172, 0x400C: 0x336FFB, 0x4012: 0x91FB,
    0x4800: 0xFFFFFFFF, 0x4802: 0xFFFFFFFF, 0x4804: 0xFFFFFFFF, 0x4806: 0xFFFFFFFF, 0x4808: 0xFFFFFFFF,
    0x480A: 0xFFFFFFFF, 0x480C: 0xFFFF, 0x480E: 0x67,
    0x4814: 0xC093, 0x4816: 0xC09B, 0x4818: 0xC093, 0x481A: 0xC093, 0x481C: 0xC093, 0x481E: 0xC093,
    0x4820: 0x10000, 0x4822: 0x8B, 0x2804: 0x7040600070406,
    GUEST_CR0: CR0_PG_PE_NE_ET, 0x6814: 0x400800, 0x681A: 0x400, 0x681C: 0x400F00, 0x681E: 0x1000, 0x6820: 0x2,
    0x6C00: 0x80000031, 0x6C02: 0x111000, 0x6C04: 0x2020, 0x6C0A: 0x10B750, 0x6C0C: 0x10BA50, 0x6C0E: 0x10B850,
    0x6C16: 0x10308,
}
USER = {0x800: 0x13, 0x802: 0xB, 0x804: 0x13, 0x806: 0x13, 0x808: 0x13, 0x80A: 0x13,
        0x4814: 0xC0F3, 0x4816: 0xC0FB, 0x4818: 0xC0F3, 0x481A: 0xC0F3, 0x481C: 0xC0F3, 0x481E: 0xC0F3}
LONG = {0x4816: 0xA09B, ENTRY_CONTROLS: 0x93FB}
LONG_USER = {**USER, **LONG, 0x4816: 0xA0FB}
TEMPLATES = {"legacy": VMCS, "legacy-user": {**VMCS, **USER},
             "long": {**VMCS, **LONG}, "long-user": {**VMCS, **LONG_USER}}

VMCS_FIELDS = sorted({*VMCS, GUEST_EFER, GUEST_CR3, GUEST_CR4, GUEST_RFLAGS, 0x4004, 0x4006, 0x4008, 0x400A, 0x400E,
                      0x4010, 0x4014, 0x4016, 0x4018, 0x401A, 0x401C, 0x80C, 0x4810, 0x4812, 0x4824, 0x4826, 0x482A,
                      0x2802, 0x6000, 0x6002, 0x6004, 0x6006, 0x6806, 0x6808, 0x680A, 0x680C, 0x680E, 0x6810, 0x6812,
                      0x6816, 0x6818, 0x6822, 0x6824, 0x6826, 0x6C06, 0x6C08, 0x6C10, 0x6C12, 0x6C14})

LOW_RAM = 0
RANGE = 1 << 30  # length of every range of RAM: an aligned page of any size is RAM or not as a whole
MODES = ("32-bit", "PAE", "4-level", "5-level")
PREFIXES = (0x26, 0x2E, 0x36, 0x3E, 0x64, 0x65)  # segment overrides, without effect on HLT and INT3
HLT, INT3 = 0xF4, 0xCC  # what stops the guest at CPL 0 and 3


def hexadecimal(value):
    return f"0x{value:x}"


def ram_starts(maxphyaddr):
    """Low memory, above 4 GBytes, at the top of what 32-bit paging reaches, and with the highest address bit set."""
    return sorted({LOW_RAM, 1 << 32, 1 << min(39, maxphyaddr - 1), 1 << maxphyaddr - 1})


class Features:
    """Which paging modes the engine runs, and what the guest's CPUID says about paging."""

    def __init__(self, probe):
        cpu = probe["cpu"]
        self.modes = [mode for mode in MODES if mode in probe["modes"]]
        leaves = {key: [int(register, 16) for register in value] for key, value in cpu["cpuid"].items()}
        none = [0, 0, 0, 0]
        self.maxphyaddr = cpu["maxphyaddr"]
        basic, structured = leaves.get("0x1.0", none), leaves.get("0x7.0", none)
        extended = leaves.get("0x80000001.0", none)
        self.pse36 = bool(basic[3] >> 17 & 1)
        self.smep = bool(structured[1] >> 7 & 1)
        self.smap = bool(structured[1] >> 20 & 1)
        self.pku = bool(structured[2] >> 3 & 1)
        self.la57 = bool(structured[2] >> 16 & 1)
        self.nx = bool(extended[3] >> 20 & 1)
        self.page_1g = bool(extended[3] >> 26 & 1)


class Unwanted(Exception):
    """The case came out as one that an engine or the model cannot decide."""


class Tables:
    """Paging structures in memory, and where they lead if nothing on the way is judged."""

    def __init__(self, mode, cr4, features, starts):
        self.mode, self.cr4, self.features, self.starts = mode, cr4, features, starts
        self.long = mode in ("4-level", "5-level")
        self.levels = {"32-bit": 2, "PAE": 3, "4-level": 4, "5-level": 5}[mode]
        self.linear_bits = {"4-level": 48, "5-level": 57}.get(mode, 32)
        self.entry_size, self.index_bits = (4, 10) if mode == "32-bit" else (8, 9)
        self.root = 0
        self.words = {}

    def load(self, address, size):
        return self.words.get(address & ~7, 0) >> 8 * (address & 7) & (1 << 8 * size) - 1

    def store(self, address, value, size):
        shift = 8 * (address & 7)
        mask = (1 << 8 * size) - 1 << shift
        self.words[address & ~7] = self.words.get(address & ~7, 0) & ~mask | value << shift & mask

    def is_ram(self, address):
        return any(start <= address < start + RANGE for start in self.starts)

    def shift(self, level):
        return 12 + self.index_bits * (level - 1)

    def maps_page(self, value, level):
        return level == 1 or bool(value & PS) and (
            level == 2 and (self.mode != "32-bit" or bool(self.cr4 & CR4_PSE)) or level == 3 and self.long)

    def page_address(self, value, level):
        if self.mode == "32-bit" and level == 2:
            return value & 0xFFC00000 | (value >> 13 & 0xFF) << 32 if self.features.pse36 else value & 0xFFC00000
        return self.next_table(value) & ~((1 << self.shift(level)) - 1)

    def next_table(self, value):
        return value & (1 << min(52, self.features.maxphyaddr)) - PAGE

    def entry_address(self, table, linear, level):
        index = linear >> self.shift(level) & (1 << self.index_bits) - 1
        if self.mode == "PAE" and level == 3:
            index &= 3
        return table + self.entry_size * index

    def make_entry(self, address, level):
        """For those who make entries when a walk first comes to them."""

    def entries(self, linear):
        """Yields (level, address, value) of each entry on the way."""
        table = self.root
        for level in range(self.levels, 0, -1):
            address = self.entry_address(table, linear, level)
            if not self.is_ram(address):
                raise Unwanted
            self.make_entry(address, level)
            value = self.load(address, self.entry_size)
            yield level, address, value
            if self.maps_page(value, level):
                return
            table = self.next_table(value)

    def follow(self, linear):
        """The physical address; None if an entry is not present."""
        for level, _, value in self.entries(linear):
            if not value & P:
                return None
        return self.page_address(value, level) + (linear & (1 << self.shift(level)) - 1)


class Case(Tables):
    """One experiment while it is made."""

    def __init__(self, rng, features, starts):
        mode = rng.choice(features.modes)
        super().__init__(mode, self.choose_cr4(rng, mode, features), features, starts)
        self.rng = rng
        self.pages = set()  # of paging structures and of data, so that nothing coincides by chance
        self.tables = []
        self.written = None  # addresses of the entries, while entries are made
        self.choose_state()

    def chance(self, percent):
        return self.rng.randrange(100) < percent

    # ---- State ----

    @staticmethod
    def choose_cr4(rng, mode, features):
        cr4 = CR4_VMXE | CR4_OSFXSR | (0 if mode == "32-bit" else CR4_PAE) | (CR4_LA57 if mode == "5-level" else 0)
        offered = ((CR4_PGE, True), (CR4_PSE, True), (CR4_SMEP, features.smep), (CR4_SMAP, features.smap),
                   (CR4_PKE, features.pku))
        return cr4 | sum(bit for bit, exists in offered if exists and rng.randrange(100) < 55)

    def choose_state(self):
        rng = self.rng
        self.user = self.chance(50)
        self.cr0 = CR0_PG_PE_NE_ET | (CR0_WP if self.chance(60) else 0)
        self.efer = EFER_LME | EFER_LMA if self.long else 0
        self.efer |= EFER_NXE if self.features.nx and self.chance(60) else 0
        self.rflags = 2 | (RFLAGS_AC if self.chance(30) else 0)
        self.pkru = rng.getrandbits(32)
        self.root = self.new_table([LOW_RAM] if not self.long else self.starts)
        if self.mode == "PAE":
            self.root += 32 * rng.randrange(PAGE // 32)

    # ---- Memory ----

    def new_table(self, starts):
        while True:
            address = self.rng.choice(starts) + PAGE * self.rng.randrange(RANGE // PAGE)
            if address not in self.pages:
                self.pages.add(address)
                self.tables.append(address)
                return address

    # ---- Entries ----

    def may_map(self, level):
        """Whether a well-formed entry of this level can map a page."""
        if self.mode == "32-bit":
            return level == 1 or bool(self.cr4 & CR4_PSE)
        return level <= 2 or level == 3 and self.long and self.features.page_1g

    def starts_for(self, level):
        """RAM that an entry can lead to, if it maps a page of this level."""
        if self.mode != "32-bit":
            return self.starts
        width = min(40, self.features.maxphyaddr) if level == 2 and self.features.pse36 else 32
        return [start for start in self.starts if start < 1 << width]

    def page(self, level):
        """Where a new page begins: now and then one of the paging structures."""
        if level == 1 and self.chance(3):
            return self.rng.choice(self.tables)
        pages = RANGE >> self.shift(level)
        return self.rng.choice(self.starts_for(level)) + (self.rng.randrange(pages) << self.shift(level))

    def common_bits(self):
        """Rights, flags, and what a walk ignores."""
        value = (P if self.chance(97) else 0) | (RW if self.chance(80) else 0)
        value |= US if self.chance(90 if self.user else 70) else 0
        value |= (PWT if self.chance(10) else 0) | (PCD if self.chance(10) else 0)
        value |= (A if self.chance(40) else 0) | (D if self.chance(40) else 0)
        value |= self.rng.getrandbits(3) << 9
        if self.mode != "32-bit" and self.efer & EFER_NXE and self.chance(10):
            value |= NX
        if self.long and self.chance(50):
            value |= self.rng.getrandbits(11) << 52
        return value

    def suspects(self):
        """Bits that some entry of this mode reserves: bit 7, those beyond the physical addresses, and bit 63."""
        if self.mode == "32-bit":
            return [7]
        return [7, 63, *range(self.features.maxphyaddr, 52 if self.long else 63)]

    def spoil(self, value, percent):
        """Now and then one bit other than P is changed: this is where reserved bits come from."""
        if not self.chance(percent):
            return value
        bit = self.rng.choice(self.suspects()) if self.chance(50) else self.rng.randrange(1, 8 * self.entry_size)
        return value ^ 1 << bit

    def leaf(self, level):
        base = self.page(level)
        value = base if self.mode != "32-bit" else base & 0xFFFFFFFF | base >> 32 << 13
        value |= self.common_bits() | (G if self.chance(30) else 0)
        if level == 1:
            return self.spoil(value | (PS if self.chance(10) else 0), 5)  # bit 7 is PAT here
        value |= PS | (LARGE_PAT if self.chance(10) else 0)
        if self.chance(10):
            return value ^ 1 << self.rng.randrange(13, self.shift(level))
        return self.spoil(value, 5)

    def table_entry(self, level):
        child = self.rng.choice(self.tables) if self.chance(1) else self.new_table(self.starts_for(1))
        if self.mode == "PAE" and level == 3:  # reserved bits here are a matter of VM entry
            value = child | (P if self.chance(96) else 0) | self.rng.getrandbits(3) << 9
            return value | (PWT if self.chance(10) else 0) | (PCD if self.chance(10) else 0)
        value = child | self.common_bits() | (G if self.chance(2) else 0)
        return self.spoil(value, 5)

    def new_entry(self, level):
        if level == 1 or self.may_map(level) and self.chance(25):
            return self.leaf(level)
        return self.table_entry(level)

    def make_entry(self, address, level):
        if self.written is not None and address not in self.written:
            self.written.add(address)
            self.store(address, self.new_entry(level), self.entry_size)

    # ---- Accesses ----

    def choose_page(self, previous):
        """A page, or one that shares some levels with that of the previous access."""
        page = self.rng.getrandbits(self.linear_bits)
        if previous is not None and self.chance(70):
            low = (1 << self.shift(self.rng.randrange(1, self.levels + 1))) - 1
            page = previous & ~low | page & low
        page &= (1 << self.linear_bits) - PAGE
        if self.long and page >> self.linear_bits - 1:
            page |= (1 << 64) - (1 << self.linear_bits)
        return page

    def choose_linear(self, previous, kind, size):
        crossing = size > 1 and self.chance(25)
        offset = PAGE - self.rng.randrange(1, size) if crossing else self.rng.randrange(PAGE - size + 1)
        if self.long and kind != "fetch" and self.chance(2):
            return self.not_canonical(offset)
        return self.choose_page(previous) + offset

    def not_canonical(self, offset):
        """Between the two halves of the address space, mostly at their borders."""
        half = 1 << self.linear_bits - 1
        page = self.rng.choice((half - PAGE, half, (1 << 64) - half - PAGE, self.rng.randrange(half, (1 << 64) - half)))
        return (page & ~(PAGE - 1)) + offset

    def choose_access(self, previous):
        kind = self.rng.choice(("fetch", "read", "write", "rmw"))
        widest = {"fetch": 15, "rmw": 8 if self.long else 4}.get(kind, 16)
        size = self.rng.choice(range(1, 16) if kind == "fetch" else [n for n in (1, 2, 4, 8, 16) if n <= widest])
        access = {"type": kind, "linear": self.choose_linear(previous, kind, size), "size": size}
        if kind in ("write", "rmw"):
            access["value"] = self.rng.getrandbits(8 * size)
        return access

    def is_wanted(self, access):
        """Not across the end of the address space or of one of its halves; room for the engine's own code.

        Where an access begins canonical and ends otherwise, the manual does not say whether a page fault of its first
        part comes before #GP.
        """
        first, last = access["linear"], access["linear"] + access["size"] - 1
        if self.long:
            return last < 1 << 64 and first >> self.linear_bits - 1 == last >> self.linear_bits - 1
        if self.mode == "32-bit":
            return last < 1023 << 22
        return last < 3 << 30 and self.leaves_room(first, last)

    def leaves_room(self, first, last):
        """The engine uses the last PDPTE: no access may come across it as an entry or as data."""
        slot = (self.root & PAGE - 1) + 24
        indexes = [linear >> self.shift(level) & 511 for linear in (first, last) for level in (1, 2)]
        offsets = range(first & PAGE - 1, (first & PAGE - 1) + last - first + 1)
        return slot // 8 not in indexes and not any(slot <= offset % PAGE < slot + 8 for offset in offsets)

    def fill(self, access):
        """Data where the access leads: random bytes, or where it is executed, one instruction that stops."""
        size = access["size"]
        data = self.rng.randbytes(size)
        if access["type"] == "fetch":
            data = bytes(self.rng.choice(PREFIXES) for _ in range(size - 1)) + bytes([INT3 if self.user else HLT])
        for i, byte in enumerate(data):
            address = self.follow(access["linear"] + i)
            if address is None:
                continue
            if not self.is_ram(address):
                raise Unwanted
            if address & ~(PAGE - 1) not in self.pages:
                self.store(address, byte, 1)
        return data

    def check_fetch(self, access, data):
        """Later data, or the paging structures, must not have taken the place of the instruction."""
        for i, byte in enumerate(data):
            address = self.follow(access["linear"] + i)
            if address is not None and self.load(address, 1) != byte:
                raise Unwanted

    def make(self, identity):
        accesses, previous = [], None
        self.written = set()
        for _ in range(self.rng.choice((1, 1, 1, 2, 3))):
            access = self.choose_access(previous)
            if not self.is_wanted(access):
                raise Unwanted
            for linear in (access["linear"], access["linear"] + access["size"] - 1):
                for _ in self.entries(linear):
                    pass
            accesses.append(access)
            previous = access["linear"]
        entries = {address & ~7 for address in self.written}
        self.written = None
        filled = [(access, self.fill(access)) for access in accesses]
        self.check_fetches(filled)
        self.check_stores(accesses, entries)
        return self.to_json(identity, accesses)

    def check_fetches(self, filled):
        stores = set()
        for access, data in filled:
            if access["type"] == "fetch":
                self.check_fetch(access, data)
            reached = {self.follow(access["linear"] + i) for i in range(access["size"])}
            if access["type"] == "fetch" and stores & reached:
                raise Unwanted  # an earlier access of the case stores there
            if "value" in access:
                stores |= reached

    def check_stores(self, accesses, entries):
        """Whether a store to an entry counts for a walk that may have been made is open."""
        for access in accesses:
            reached = {self.follow(access["linear"] + i) for i in range(access["size"])} - {None}
            if "value" in access and entries & {address & ~7 for address in reached}:
                raise Unwanted

    # ---- The vector ----

    def to_json(self, identity, accesses):
        fields = {GUEST_CR0: self.cr0, GUEST_CR3: self.root, GUEST_CR4: self.cr4, GUEST_EFER: self.efer,
                  GUEST_RFLAGS: self.rflags}
        template = ("long" if self.long else "legacy") + ("-user" if self.user else "")
        case = {"id": identity, "kind": "access",
                "vmcs": [template, {hexadecimal(key): hexadecimal(value) for key, value in fields.items()}],
                "memory": ["zero", {hexadecimal(key): hexadecimal(value) for key, value in sorted(self.words.items())}]}
        if self.cr4 & CR4_PKE:
            case["pkru"] = hexadecimal(self.pkru)
        case["accesses"] = [{key: hexadecimal(value) if key in ("linear", "value") else value
                             for key, value in access.items()} for access in accesses]
        case["note"] = self.mode
        return case


def header(seed, probe):
    """`probe`: what `kvm_paging --probe` prints."""
    cpu = probe["cpu"]
    return {
        "format": "vmx-vectors", "version": 1, "source": {"engine": "kvm-paging", "seed": seed},
        "cpu": {**cpu, "msr": {hexadecimal(key): hexadecimal(value) for key, value in VMX_MSRS.items()},
                "vmcs_fields": [hexadecimal(field) for field in VMCS_FIELDS]},
        "ram": [[hexadecimal(start), hexadecimal(RANGE)] for start in ram_starts(cpu["maxphyaddr"])],
        "vmxon_pointer": "0x1000", "vmcs_pointer": "0x2000",
        "vmcs": {name: {hexadecimal(key): hexadecimal(value) for key, value in fields.items()}
                 for name, fields in TEMPLATES.items()},
        "memory": {"zero": {}},
        "root": {"default": {"cr0": "0x80000031", "cr4": "0x2020", "efer": "0x500"}},
    }


def cases(seed, count, probe):
    """`count` cases; the same for the same seed and processor."""
    rng = random.Random(seed)
    features, starts = Features(probe), ram_starts(probe["cpu"]["maxphyaddr"])
    made = 0
    while made < count:
        try:
            yield Case(rng, features, starts).make(f"paging-{seed}-{made}")
        except Unwanted:
            continue
        made += 1


def write(stream, seed, count, probe):
    for line in (header(seed, probe), *cases(seed, count, probe)):
        stream.write(json.dumps(line, separators=(",", ":")) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=1000, help="cases")
    parser.add_argument("--probe", required=True, metavar="FILE", help="what `kvm_paging --probe` printed")
    parser.add_argument("--output", metavar="FILE", help="standard output if not given")
    options = parser.parse_args()
    with open(options.probe, encoding="utf-8") as stream:
        probe = json.load(stream)
    if options.output is None:
        write(sys.stdout, options.seed, options.count, probe)
        return
    with open(options.output, "w", encoding="utf-8") as stream:
        write(stream, options.seed, options.count, probe)


if __name__ == "__main__":
    main()
