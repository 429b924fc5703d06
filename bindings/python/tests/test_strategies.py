# SPDX-License-Identifier: Apache-2.0
"""Strategies, and random sequences against an address space: a dict says what it must be, the walker what it is."""
from __future__ import annotations

import typing

import hypothesis
from hypothesis import stateful
from hypothesis import strategies as st

from vmxsim import (AddressSpace, EntryRule, EptPerm, EptViolation, FaultResult, Machine, MemType, PrimaryControls, Profile,
                    SecondaryControls, Translation, Vmcs, check, decode, errors)
from vmxsim import strategies as vmx

PAGE, PAGES = 4096, 1536  # three tables of the last level


@hypothesis.given(vmx.valid_vmcs())
def test_valid_states_enter(vmcs: Vmcs) -> None:
    assert check(vmcs).enters


@hypothesis.given(vmx.near_valid_vmcs())
def test_near_valid_states_break_just_those_rules(case: tuple[Vmcs, frozenset[EntryRule]]) -> None:
    vmcs, rules = case
    assert rules and check(vmcs).rules == rules


@hypothesis.given(vmx.vmcs(), vmx.vmcs())
def test_differences_are_symmetric(a: Vmcs, b: Vmcs) -> None:
    assert [(d.field, d.a, d.b) for d in a.diff(b)] == [(d.field, d.b, d.a) for d in b.diff(a)]
    assert (a == b) == (not a.diff(b))


@hypothesis.given(vmx.ept_entries())
def test_a_misconfigured_entry_is_what_the_decoder_calls_wrong(entry: int) -> None:
    with Machine(ram="16M") as machine, machine.ept() as ept:
        ept.map(0, 0, PAGE)
        ept.entries[0, 1] = entry
        vmcs = Vmcs({"EPT_POINTER": ept.eptp, "GUEST_CR0": 0x31})
        vmcs.control.primary_processor_based_controls = PrimaryControls.ACTIVATE_SECONDARY_CONTROLS
        vmcs.control.secondary_processor_based_controls = SecondaryControls.ENABLE_EPT
        with machine.cpu() as cpu:
            cpu.load_guest(vmcs)
            outcome = cpu.walk(0)
    present = entry & 7
    assert (type(outcome).__name__ == "EptMisconfiguration") == bool(present and not decode.ept_entry(entry, 1).valid)


class Expected(typing.NamedTuple):
    """What the dict says of a page."""

    perms: EptPerm
    memory_type: MemType
    hpa: int | None  # linear
    backed: bool


class SpaceMachine(stateful.RuleBasedStateMachine):
    """Random operations on an address space and on a dict from page numbers to what must be there."""

    def __init__(self) -> None:
        super().__init__()
        self.machine = Machine(ram="64M", profile=PROFILE)
        self.space: AddressSpace = self.machine.address_space(0, PAGES * PAGE)
        self.pages: dict[int, Expected] = {}
        self.bytes: dict[int, int] = {}  # gpa of alloc memory -> byte written
        self.remembered: tuple[dict[int, Expected], dict[int, int], str] | None = None

    def teardown(self) -> None:
        self.space.close()
        assert self.machine.frames.leak_report() == "" and not self.machine.frames.damaged()
        self.machine.close()

    def _replace(self, gpa: int, size: int, new: typing.Callable[[int], Expected] | None) -> None:
        for page in range(gpa // PAGE, (gpa + size) // PAGE):
            self.pages.pop(page, None)
            for address in [address for address in self.bytes if address // PAGE == page]:
                del self.bytes[address]
            if new is not None:
                self.pages[page] = new(page)

    def _overlaps(self, gpa: int, size: int) -> bool:
        return any(page in self.pages for page in range(gpa // PAGE, (gpa + size) // PAGE))

    def _map(self, call: typing.Callable[[], None], gpa: int, size: int, replace: bool,
             new: typing.Callable[[int], Expected]) -> None:
        if self._overlaps(gpa, size) and not replace:
            try:
                call()
            except errors.AlreadyExists:
                return
            raise AssertionError("an overlapping map was accepted")
        call()
        self._replace(gpa, size, new)

    @stateful.rule(where=vmx.ranges(PAGES), offset=vmx.pages(512), perms=vmx.perms(), kind=vmx.memory_types(),
                   replace=st.booleans())
    def map_linear(self, where: tuple[int, int], offset: int, perms: EptPerm, kind: MemType, replace: bool) -> None:
        gpa, size = where
        hpa = (32 << 20) + offset
        self._map(lambda: self.space.map_linear(gpa, hpa, size, perms, kind, replace=replace), gpa, size, replace,
                  lambda page: Expected(perms, kind, hpa + page * PAGE - gpa, True))

    @stateful.rule(where=vmx.ranges(PAGES), perms=vmx.perms(), kind=vmx.memory_types(), lazy=st.booleans(),
                   replace=st.booleans())
    def map_alloc(self, where: tuple[int, int], perms: EptPerm, kind: MemType, lazy: bool, replace: bool) -> None:
        gpa, size = where
        self._map(lambda: self.space.map_alloc(gpa, size, perms, kind, lazy=lazy, replace=replace), gpa, size, replace,
                  lambda page: Expected(perms, kind, None, not lazy))

    @stateful.rule(where=vmx.ranges(PAGES))
    def unmap(self, where: tuple[int, int]) -> None:
        gpa, size = where
        if not self._overlaps(gpa, size):
            try:
                self.space.unmap(gpa, size)
            except errors.NotFound:
                return
            raise AssertionError("nothing was unmapped")
        self.space.unmap(gpa, size)
        self._replace(gpa, size, None)

    @stateful.rule(where=vmx.ranges(PAGES), perms=vmx.perms(), kind=vmx.memory_types())
    def protect(self, where: tuple[int, int], perms: EptPerm, kind: MemType) -> None:
        gpa, size = where
        touched = range(gpa // PAGE, (gpa + size) // PAGE)
        if not all(page in self.pages for page in touched):
            try:
                self.space.protect(gpa, size, perms, kind)
            except errors.NotFound:
                return
            raise AssertionError("a hole was protected")
        self.space.protect(gpa, size, perms, kind)
        for page in touched:
            self.pages[page] = self.pages[page]._replace(perms=perms, memory_type=kind)

    @stateful.rule(gpa=st.integers(0, PAGES * PAGE - 1), access=vmx.perms())
    def fault(self, gpa: int, access: EptPerm) -> None:
        found, got = self.pages.get(gpa // PAGE), self.space.handle_fault(gpa, access)
        if found is None:
            assert got == FaultResult.NO_AREA
        elif not access or access & ~found.perms:
            assert got == FaultResult.DENIED
        elif found.backed:
            assert got == FaultResult.ALREADY_BACKED
        else:
            assert got == FaultResult.MAPPED
            self.pages[gpa // PAGE] = found._replace(backed=True)

    @stateful.rule(gpa=st.integers(0, PAGES * PAGE - 1), byte=st.integers(0, 255))
    def write(self, gpa: int, byte: int) -> None:
        found = self.pages.get(gpa // PAGE)
        if found is None or not found.perms & EptPerm.W:
            try:
                self.space.write(gpa, bytes([byte]))
            except (errors.NotFound, errors.Denied):
                return
            raise AssertionError("a write was allowed")
        self.space.write(gpa, bytes([byte]))
        if found.hpa is None:
            self.pages[gpa // PAGE] = found._replace(backed=True)
            self.bytes[gpa] = byte

    @stateful.rule()
    def remember(self) -> None:
        self.machine.drop_snapshot()
        self.machine.snapshot()
        self.remembered = (dict(self.pages), dict(self.bytes), self.machine.digest())

    @stateful.precondition(lambda self: self.remembered is not None)
    @stateful.rule()
    def go_back(self) -> None:
        self.machine.restore()
        assert self.remembered is not None
        self.pages, self.bytes = dict(self.remembered[0]), dict(self.remembered[1])
        assert self.machine.digest() == self.remembered[2]

    @stateful.rule()
    def merge(self) -> None:
        self.space.merge(0, PAGES * PAGE)

    @stateful.invariant()
    def bytes_stay(self) -> None:
        for gpa, byte in self.bytes.items():
            if self.pages[gpa // PAGE].perms & EptPerm.R:
                assert self.space.read(gpa, 1) == bytes([byte])

    @stateful.invariant()
    def the_walker_agrees(self) -> None:
        assert self.space.is_valid()
        changes = {page for page in self.pages if page - 1 not in self.pages or self.pages[page - 1] != self.pages[page]}
        for page in changes | {page + 1 for page in changes} | {0, PAGES - 1}:
            if page < PAGES:
                for access in (EptPerm.R, EptPerm.W, EptPerm.X):
                    self._compare(page, access)

    def _compare(self, page: int, access: EptPerm) -> None:
        found, outcome = self.pages.get(page), self.space.translate(page * PAGE + 8, access)
        if found is None or not found.backed or access & ~found.perms:
            assert isinstance(outcome, EptViolation), (hex(page * PAGE), access, outcome)
            return
        assert isinstance(outcome, Translation), (hex(page * PAGE), access, outcome)
        assert (outcome.perms, outcome.memory_type) == (found.perms, found.memory_type)
        if found.hpa is not None:
            assert outcome.hpa == found.hpa + 8


PROFILE = Profile("icelake")
TestSpace = SpaceMachine.TestCase
TestSpace.settings = hypothesis.settings(max_examples=40, stateful_step_count=30, deadline=None)
