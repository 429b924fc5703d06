# SPDX-License-Identifier: Apache-2.0
"""What the engine kvm-paging is known to do otherwise than the manual says: kvm_paging/deviations.json, by id.

An entry is a predicate over the experiment and the exact answer of the engine. Where the answer can be had from the
engine itself, it is: `manual` is an experiment that differs only in what the entry is about and that the engine
answers as the manual says for the original; `engine` is one whose answer is what the entry predicts.
"""

import copy

from generate_paging import (A, CR4_LA57, CR4_PAE, D, EFER_LMA, G, GUEST_CR3, GUEST_CR4, GUEST_EFER, P, PAGE, PS,
                             Tables, Unwanted, hexadecimal)

PAGE_FAULT = 14
PF_PRESENT, PF_WRITE, PF_RESERVED = 1, 2, 8
HYPERVISOR_SLOT = 256
SPLIT_STORE = "kvm-paging.emulated-split-store"


class Mispredicted(Exception):
    """An entry matches and the engine does something else."""


def number(text):
    return int(text, 16)


class Experiment(Tables):
    """A case of a vector file, as tables that can be followed."""

    def __init__(self, case, features, starts):
        fields = case["vmcs"][1]
        cr4, efer = (number(fields[hexadecimal(field)]) for field in (GUEST_CR4, GUEST_EFER))
        if not efer & EFER_LMA:
            mode = "PAE" if cr4 & CR4_PAE else "32-bit"
        else:
            mode = "5-level" if cr4 & CR4_LA57 else "4-level"
        super().__init__(mode, cr4, features, starts)
        self.case = case
        self.efer = efer
        self.user = case["vmcs"][0].endswith("user")
        self.root = number(fields[hexadecimal(GUEST_CR3)]) & ~(31 if mode == "PAE" else PAGE - 1)
        self.words = {number(key): number(value) for key, value in case["memory"][1].items()}
        self.accesses = [{**access, "linear": number(access["linear"])} for access in case["accesses"]]

    def pages(self, access):
        """First addresses of the parts of an access."""
        first, last = access["linear"], access["linear"] + access["size"] - 1
        return [first] if first // PAGE == last // PAGE else [first, last & ~(PAGE - 1)]

    def walked(self, accesses):
        """(level, address, value) of the entries that these accesses can come to."""
        for access in accesses:
            for linear in self.pages(access):
                try:
                    for level, address, value in self.entries(linear):
                        yield level, address, value
                        if not value & P:
                            break
                except Unwanted:
                    pass

    def variant(self, words):
        """The case with these words changed."""
        case = copy.deepcopy(self.case)
        for address, value in words.items():
            case["memory"][1][hexadecimal(address)] = hexadecimal(value)
        return case


# ---- Observations ----


def memory(expect, key="memory"):
    return {number(address): number(value) for address, value in expect.get(key, {}).items()}


def open_masks(expect):
    return memory(expect.get("open", {}))


def same(first, second, words):
    """Whether two observations of an experiment with this memory agree, but for what is open in either."""
    keys = ("result", "vector", "error_code", "cr2", "values")
    if any(first.get(key) != second.get(key) for key in keys):
        return False
    a, b = memory(first), memory(second)
    masks, more = open_masks(first), open_masks(second)
    for address in a.keys() | b.keys():
        initial = words.get(address, 0)
        closed = ~(masks.get(address, 0) | more.get(address, 0))
        if (a.get(address, initial) ^ b.get(address, initial)) & closed:
            return False
    return True


def with_memory(expect, values, words):
    """The observation with these words of memory afterwards."""
    changed = {**memory(expect), **values}
    differing = sorted((key, value) for key, value in changed.items() if value != words.get(key, 0))
    return {**expect, "memory": {hexadecimal(key): hexadecimal(value) for key, value in differing}}


# ---- Answers that the engine gives to a changed experiment ----


class Variants:
    """Two experiments for one, and how their answers translate back."""

    def __init__(self, manual, engine, restore_manual, restore_engine):
        self.manual, self.engine = manual, engine
        self.restore_manual, self.restore_engine = restore_manual, restore_engine


class GlobalInTable:
    identity = "kvm-paging.amd-global-in-table"

    @staticmethod
    def applies_to(source):
        return "AuthenticAMD" in source["model"]

    def variants(self, experiment):
        if not experiment.long:
            return None
        manual, engine = {}, {}
        for level, address, value in experiment.walked(experiment.accesses):
            if level >= 4 and value & P and value & G:
                manual[address] = value & ~G
                engine[address] = value & ~G | PS  # which both vendors reserve there
        if not manual:
            return None
        return Variants(experiment.variant(manual), experiment.variant(engine),
                        lambda expect: self.restore(experiment, manual, expect),
                        lambda expect: self.restore(experiment, engine, expect))

    @staticmethod
    def restore(experiment, words, expect):
        values = {address: value ^ words[address] ^ experiment.words[address]
                  for address, value in memory(expect).items() if address in words}
        return with_memory(expect, values, experiment.words)


class HypervisorSlot:
    identity = "kvm-paging.pvm-user-slot"

    @staticmethod
    def applies_to(source):
        return "PVM" in source["model"]

    def variants(self, experiment):
        if experiment.mode != "4-level" or not experiment.user:
            return None
        indexes = {linear >> 12 + 9 * level & 511
                   for access in experiment.accesses for linear in experiment.pages(access) for level in range(4)}
        slots = {linear >> 39 & 511 for access in experiment.accesses for linear in experiment.pages(access)}
        if HYPERVISOR_SLOT not in slots:
            return None
        other = next(slot for slot in range(HYPERVISOR_SLOT + 1, 512) if slot not in indexes)
        return Variants(self.moved(experiment, other), experiment.variant({self.entry(experiment, HYPERVISOR_SLOT): 0}),
                        lambda expect: self.restore(experiment, other, expect), lambda expect: expect)

    @staticmethod
    def entry(experiment, slot):
        return experiment.root + 8 * slot

    def moved(self, experiment, other):
        """The same in another part of the address space."""
        old, new = self.entry(experiment, HYPERVISOR_SLOT), self.entry(experiment, other)
        case = experiment.variant({new: experiment.words.get(old, 0), old: 0})
        for access in case["accesses"]:
            if number(access["linear"]) >> 39 & 511 == HYPERVISOR_SLOT:
                access["linear"] = hexadecimal(number(access["linear"]) + (other - HYPERVISOR_SLOT << 39))
        return case

    def restore(self, experiment, other, expect):
        old, new = (hexadecimal(self.entry(experiment, slot)) for slot in (HYPERVISOR_SLOT, other))
        expect = copy.deepcopy(expect)
        for words in (expect["memory"], expect.get("open", {}).get("memory", {})):
            if new in words:
                words[old] = words.pop(new)
        cr2 = number(expect.get("cr2", "0x0"))
        if cr2 >> 39 & 511 == other:
            expect["cr2"] = hexadecimal(cr2 - (other - HYPERVISOR_SLOT << 39))
        return expect


BY_VARIANT = (GlobalInTable(), HypervisorSlot())


# ---- An answer that follows from the experiment ----


def split_access(experiment, expect):
    """The access whose second part is on the page that faulted; None if there is none."""
    if expect.get("vector") != PAGE_FAULT:
        return None
    for index, access in enumerate(experiment.accesses):
        parts = experiment.pages(access)
        stores = bool(number(expect["error_code"]) & PF_WRITE)
        if len(parts) == 2 and parts[1] == number(expect["cr2"]) and stores == ("value" in access):
            return index
    return None


ALWAYS, SOMETIMES, NEVER = range(3)


def emulation(experiment, source, index):
    """Whether KVM emulates the store.

    PVM does so for all of CPL 0. A store to a page that KVM knows as a paging structure is emulated, unless KVM chooses
    to forget the structure instead.
    """
    if "shadow" not in source["model"]:
        return NEVER
    if "PVM" in source["model"] and not experiment.user:
        return ALWAYS
    first = experiment.follow(experiment.accesses[index]["linear"])
    known = {address & ~(PAGE - 1) for _, address, _ in experiment.walked(experiment.accesses[:index + 1])}
    return SOMETIMES if first & ~(PAGE - 1) in known else NEVER


def stored_bytes(experiment, access, count):
    """Address -> byte of the first `count` bytes that the access stores."""
    data = number(access["value"]).to_bytes(access["size"], "little")
    return {experiment.follow(access["linear"] + i): data[i] for i in range(count)}


def overlay(words, stored):
    """The words that these bytes are in, afterwards."""
    changed = {}
    for address, byte in stored.items():
        word = changed.get(address & ~7, words.get(address & ~7, 0))
        shift = 8 * (address & 7)
        changed[address & ~7] = word & ~(0xFF << shift) | byte << shift
    return changed


def holds(expect, words, initial):
    """Whether memory has these words afterwards, but for flags that a walk may have set in them."""
    observed = memory(expect)
    return not any((observed.get(address, initial.get(address, 0)) ^ value) & ~(A | D | A << 32 | D << 32)
                   for address, value in words.items())


def manual_split_store(experiment, source, expect):
    """What the manual says instead, if the first part of a store has stayed behind; else None."""
    index = split_access(experiment, expect)
    stores = index is not None and "value" in experiment.accesses[index]
    emulated = emulation(experiment, source, index) if stores else NEVER
    if emulated == NEVER:
        return None
    access, code = experiment.accesses[index], number(expect["error_code"])
    # A read-modify-write is emulated as a read, then a write: only a fault of the write leaves something behind.
    if access["type"] == "rmw" and (code & PF_RESERVED or not code & PF_PRESENT):
        return None
    initial, before = experiment.words, {}
    for earlier in experiment.accesses[:index]:
        if "value" in earlier:
            before.update(stored_bytes(experiment, earlier, earlier["size"]))
    kept = overlay(initial, before)
    stored = overlay({**initial, **kept}, stored_bytes(experiment, access, PAGE - access["linear"] % PAGE))
    manual = {address: kept.get(address, initial.get(address, 0)) for address in stored}
    if not holds(expect, stored, initial):
        if emulated == SOMETIMES and holds(expect, manual, initial):
            return None
        predicted = ", ".join(f"{address:#x}: {value:#x}" for address, value in stored.items())
        raise Mispredicted(f"{SPLIT_STORE} predicts {predicted}")
    changed = with_memory(expect, manual, initial)
    return None if changed["memory"] == expect["memory"] else changed


# ---- Which of two pages faults ----


def second_part(experiment):
    """If a second page faulted: the case whose last access is the part on that page alone, else None.

    Where both pages of an access fault, the manual does not say which of them is reported.
    """
    expect = experiment.case.get("sdm", experiment.case["expect"])
    index = split_access(experiment, expect)
    if index is None:
        return None
    access = experiment.accesses[index]
    start = experiment.pages(access)[1]
    first = start - access["linear"]
    part = {"type": access["type"], "linear": hexadecimal(start), "size": access["size"] - first}
    if "value" in access:
        part["value"] = hexadecimal(number(access["value"]) >> 8 * first)
    case = {key: value for key, value in experiment.case.items() if key not in ("deviates", "sdm")}
    return {**case, "accesses": case["accesses"][:index] + [part], "expect": expect}
